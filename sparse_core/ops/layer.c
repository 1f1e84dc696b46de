#include "ops/layer.h"
#include "kernels/panels.h"
#include "ops/tasks.h"

#include <string.h>

/* --- forward ----------------------------------------------------------------- */

static void forward_task(const job *j, int64_t task)
{
    int64_t tile = task / j->blocks, block = task % j->blocks;
    int32_t g0 = block_start(j, block), g1 = block_start(j, block + 1);
    int32_t row0 = g0 * j->s->group;
    int32_t row1 = (int32_t)rw_min64((int64_t)g1 * j->s->group, j->s->n_out);
    char *out = row_at(j->y, tile, row0);
    int32_t at[RW_TASK_GROUPS];
    memset(at, 0, (size_t)(g1 - g0) * sizeof *at);
    for (int32_t i = 0; i < j->cut.panels; i++) {
        rw_panel p = panel_of(j, i, 0, j->s->n_in, at, false);
        j->k->forward(&j->w, g0, g1, &p, rw_tile_at(j->x, tile), j->bias, rw_tile_at(j->y, tile),
                      j->x->tile, cols_of(j->k, j->x, tile));
    }
    j->k->activate(j->act, j->slope, out, j->z ? row_at(j->z, tile, row0) : NULL, row1 - row0,
                   j->y->tile, rw_tile_live(j->y, tile));
    if (row1 < g1 * j->s->group) { /* rows nobody has: 0 even where x is not finite */
        size_t row = (size_t)j->y->tile * rw_dtype_size(j->y->dtype);
        memset(row_at(j->y, tile, row1), 0, (size_t)(g1 * j->s->group - row1) * row);
    }
}

rw_status rw_forward(const rw_kernels *k, const rw_store *s, const rw_tiles *x, const void *bias,
                     rw_act act, double slope, rw_tiles *y, rw_tiles *z, const rw_run *run)
{
    if (!fits(k, s, x, y) || (z && !same_shape(y, z)))
        return RW_ESHAPE;
    int64_t work = products(s, x) + y->n * y->batch;
    job j = { .k = k, .s = s, .w = rows_of(s), .x = x, .y = y, .z = z, .bias = bias, .act = act,
              .slope = slope, .cut = rw_cut_sources(s, row_bytes(x), k->tuning, &k->tuning->forward) };
    cut_groups(&j, run, x->n_tiles, work);
    return run_tasks(run, j.blocks * x->n_tiles, work, forward_task, &j);
}

#define ADD_BIAS(name, T)                                                      \
    static void name(void *data, const void *bias, int32_t row0, int32_t n, int32_t tile) \
    {                                                                          \
        T *y = data;                                                           \
        for (int32_t i = 0; i < n; i++, y += tile)                             \
            for (int32_t b = 0; b < tile; b++)                                 \
                y[b] += ((const T *)bias)[row0 + i];                           \
    }
ADD_BIAS(add_bias_f32, float)
ADD_BIAS(add_bias_f64, double)

static void activate_task(const job *j, int64_t task)
{
    int64_t tile = task / j->blocks, block = task % j->blocks;
    int32_t i0 = block_start(j, block), n = block_start(j, block + 1) - i0;
    void *y = row_at(j->y, tile, i0);
    if (j->bias && j->k->dtype == RW_F32)
        add_bias_f32(y, j->bias, i0, n, j->y->tile);
    else if (j->bias)
        add_bias_f64(y, j->bias, i0, n, j->y->tile);
    j->k->activate(j->act, j->slope, y, j->z ? row_at(j->z, tile, i0) : NULL, n, j->y->tile,
                   rw_tile_live(j->y, tile));
}

rw_status rw_activate(const rw_kernels *k, const void *bias, rw_act act, double slope, rw_tiles *y,
                      rw_tiles *z, const rw_run *run)
{
    if (y->dtype != k->dtype || (z && !same_shape(y, z)))
        return RW_ESHAPE;
    int64_t work = y->n * y->batch;
    job j = { .k = k, .y = y, .z = z, .bias = bias, .act = act, .slope = slope, .n = y->n,
              .blocks = blocks_for(k, run, y->n, y->n_tiles, work) };
    return run_tasks(run, j.blocks * y->n_tiles, work, activate_task, &j);
}

static void activate_back_task(const job *j, int64_t task)
{
    int64_t tile = task / j->blocks, block = task % j->blocks;
    int32_t i0 = block_start(j, block), n = block_start(j, block + 1) - i0;
    j->k->activate_back(j->act, j->slope, row_at(j->x, tile, i0), row_at(j->y, tile, i0), n,
                        j->y->tile, rw_tile_live(j->y, tile));
}

rw_status rw_activate_back(const rw_kernels *k, rw_act act, double slope, const rw_tiles *y,
                           rw_tiles *dy, const rw_run *run)
{
    if (dy->dtype != k->dtype || !same_shape(y, dy))
        return RW_ESHAPE;
    if (act == RW_ACT_LINEAR)
        return RW_OK;
    int64_t work = dy->n * dy->batch;
    job j = { .k = k, .x = y, .y = dy, .act = act, .slope = slope, .n = dy->n,
              .blocks = blocks_for(k, run, dy->n, dy->n_tiles, work) };
    return run_tasks(run, j.blocks * dy->n_tiles, work, activate_back_task, &j);
}

/* --- dX ---------------------------------------------------------------------- */

static void gather_task(const job *j, int64_t task)
{
    int64_t tile = task / j->blocks, block = task % j->blocks;
    j->k->dx_gather(&j->w, &j->s->mirror, block_start(j, block), block_start(j, block + 1),
                    rw_tile_at(j->dy, tile), rw_tile_at(j->y, tile), j->dy->tile,
                    cols_of(j->k, j->dy, tile));
}

/* Groups [first_group, end_group) into the sources of one block: the first
 * groups find dx zeroed. Groups come in order because chunks of them do. */
static void scatter_task(const job *j, int64_t task)
{
    int64_t tile = task / j->blocks, block = task % j->blocks;
    int32_t j0 = block_start(j, block), j1 = block_start(j, block + 1);
    if (j->first_group == 0)
        memset(row_at(j->y, tile, j0), 0,
               (size_t)(j1 - j0) * (size_t)j->y->tile * rw_dtype_size(j->y->dtype));
    int32_t at[RW_TASK_GROUPS], counted = j->k->tuning->counted;
    for (int32_t g0 = j->first_group, g1; g0 < j->end_group; g0 = g1) {
        g1 = (int32_t)rw_min64((int64_t)g0 + RW_TASK_GROUPS, j->end_group);
        for (int32_t g = g0; g < g1; g++)
            at[g - g0] = j0 ? rw_lower_bound(j->w.source + j->w.start[g], j->w.len[g], j0, counted) : 0;
        for (int32_t i = 0; i < j->cut.panels; i++) {
            rw_panel p = panel_of(j, i, j0, j1, at, true);
            j->k->dx_scatter(&j->w, g0, g1, &p, rw_tile_at(j->dy, tile), rw_tile_at(j->y, tile),
                             j->dy->tile, cols_of(j->k, j->dy, tile));
        }
    }
}

static rw_status scatter(job *j, int64_t work, const rw_run *run)
{
    int64_t n_tiles = j->dy->n_tiles;
    int threads = rw_threads_for(run->threads, work);
    /* Tiles shared evenly need no more cuts: each costs a search in every group. */
    bool even = n_tiles % threads == 0 || n_tiles >= 8 * threads;
    j->n = j->s->n_in;
    j->blocks = even ? 1 : rw_min64(threads, j->n);
    j->cut = rw_cut_sources(j->s, row_bytes(j->y), j->k->tuning, &j->k->tuning->scatter);
    j->cut.panels = (int32_t)rw_max64(1, j->cut.panels / j->blocks);
    int64_t passes = rw_max64(1, rw_min64(work / ((int64_t)RW_POLL_WORK * threads), j->s->n_groups));
    for (int64_t pass = 0; pass < passes; pass++) {
        if (pass > 0 && run->poll && run->poll(run->arg))
            return RW_EINTR;
        j->first_group = (int32_t)(pass * j->s->n_groups / passes);
        j->end_group = (int32_t)((pass + 1) * j->s->n_groups / passes);
        rw_status status = run_tasks(run, n_tiles * j->blocks, work / passes, scatter_task, j);
        if (status != RW_OK)
            return status;
    }
    return RW_OK;
}

bool rw_gather_pays(const rw_kernels *k, const rw_store *s, int64_t batch)
{
    const rw_tuning *t = k->tuning;
    rw_dtype dtype = s->field[RW_WEIGHT].dtype;
    int64_t bytes = rw_tile_size(batch, dtype) * (int64_t)rw_dtype_size(dtype);
    int64_t panel = t->scatter.bytes / bytes; /* sources */
    double row = (double)s->slots / s->n_groups;
    double piece = row * (double)rw_min64(panel, s->n_in) / s->n_in;
    return s->group == 1 && s->slots <= t->gather_slots && piece < t->gather_piece;
}

rw_status rw_backward_input(const rw_kernels *k, const rw_store *s, const rw_tiles *dy,
                            rw_tiles *dx, const rw_run *run)
{
    if (!fits(k, s, dx, dy))
        return RW_ESHAPE;
    int64_t work = products(s, dy) + dx->n * dx->batch;
    job j = { .k = k, .s = s, .w = rows_of(s), .dy = dy, .y = dx };
    if (!s->mirror.valid || !rw_gather_pays(k, s, dy->batch))
        return scatter(&j, work, run);
    j.n = s->n_in;
    j.blocks = blocks_for(k, run, j.n, dy->n_tiles, work);
    return run_tasks(run, j.blocks * dy->n_tiles, work, gather_task, &j);
}

/* --- rows of gradients and activations ----------------------------------------- */

static void bias_task(const job *j, int64_t block)
{
    int32_t i0 = block_start(j, block), n = block_start(j, block + 1) - i0;
    char *out = j->sums + (size_t)i0 * rw_dtype_size(j->k->dtype);
    for (int64_t tile = 0; tile < j->dy->n_tiles; tile++)
        j->k->row_sum(row_at(j->dy, tile, i0), n, out, j->dy->tile, cols_of(j->k, j->dy, tile),
                      tile > 0);
}

rw_status rw_bias_gradient(const rw_kernels *k, const rw_tiles *dy, void *out, const rw_run *run)
{
    if (dy->dtype != k->dtype)
        return RW_ESHAPE;
    int64_t work = dy->n * dy->batch;
    job j = { .k = k, .dy = dy, .sums = out, .n = dy->n,
              .blocks = blocks_for(k, run, dy->n, 1, work) };
    return run_tasks(run, j.blocks, work, bias_task, &j);
}

static void dropout_task(const job *j, int64_t task)
{
    int64_t tile = task / j->blocks, block = task % j->blocks;
    int32_t i0 = block_start(j, block), n = block_start(j, block + 1) - i0;
    j->k->dropout(row_at(j->x, tile, i0), row_at(j->y, tile, i0), n, i0, tile * j->x->tile, j->p,
                  j->key, j->x->tile, rw_tile_live(j->x, tile));
}

rw_status rw_dropout(const rw_kernels *k, const rw_tiles *x, rw_tiles *y, double p, rw_key key,
                     const rw_run *run)
{
    if (x->dtype != k->dtype || !same_shape(x, y))
        return RW_ESHAPE;
    int64_t work = RW_COST_DROPOUT_VALUE * x->n * x->batch;
    job j = { .k = k, .x = x, .y = y, .p = p, .key = key, .n = x->n,
              .blocks = blocks_for(k, run, x->n, x->n_tiles, work) };
    return run_tasks(run, j.blocks * x->n_tiles, work, dropout_task, &j);
}
