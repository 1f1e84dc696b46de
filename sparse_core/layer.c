#include "layer.h"

#include <math.h>
#include <string.h>

/* Multiply-adds between two polls, for each thread: 20 ms at 10 GFLOP/s. */
static const int64_t POLL_WORK = 100000000;
/* Multiply-adds of a block: some 10 us, a hundred times what handing it out costs. */
static const int64_t BLOCK_WORK = 1 << 18;

/* All that any task below reads. A task is a block of groups, sources or rows,
 * of one tile or of all. */
typedef struct {
    const rw_kernels *k;
    const rw_store *s;
    rw_rows w;
    const rw_tiles *x;   /* inputs   */
    const rw_tiles *dy;  /* gradients of outputs */
    rw_tiles *y, *z;     /* what is written */
    const void *bias;
    rw_act act;
    double slope, p;
    rw_key key;
    const rw_update *u;
    char *m, *v;
    const int32_t *born;
    char *grad;          /* a field's array; or scratch, scratch_values a thread */
    int64_t scratch_values;
    char *sums;
    int32_t n;           /* what is cut: groups, sources or rows */
    int64_t blocks;      /* into how many blocks                 */
    int32_t first_group, end_group; /* of the groups that are scattered now */
} job;

/* Run tasks 0 .. n-1, `work` multiply-adds in all, polling between chunks.
 * Every output belongs to one task, so who runs it does not matter. */
static rw_status run_tasks(const rw_run *run, int64_t n, int64_t work,
                           void (*task)(const job *, int64_t), const job *j)
{
    int threads = rw_threads_for(run->threads, work);
    int64_t each = rw_max64(work / rw_max64(n, 1), 1);
    int64_t chunk = rw_max64(POLL_WORK * threads / each, threads);
    for (int64_t first = 0; first < n; first += chunk) {
        if (first > 0 && run->poll && run->poll(run->arg))
            return RW_EINTR;
        int64_t count = rw_min64(chunk, n - first);
        RW_PARALLEL_FOR(threads)
        for (int64_t i = 0; i < count; i++)
            task(j, first + i);
    }
    return RW_OK;
}

/* Blocks to cut n things of one tile (or of all: n_tiles = 1) into: of
 * BLOCK_WORK each, but enough for threads to share evenly. */
static int64_t blocks_for(const rw_run *run, int64_t n, int64_t n_tiles, int64_t work)
{
    int64_t blocks = work / n_tiles / BLOCK_WORK;
    if (rw_threads_for(run->threads, work) > 1)
        blocks = rw_max64(blocks, 4 * run->threads / n_tiles);
    return rw_max64(1, rw_min64(blocks, n));
}

/* Where block b of n things begins. */
static int32_t block_start(const job *j, int64_t b)
{
    return (int32_t)(b * j->n / j->blocks);
}

static rw_rows rows_of(const rw_store *s)
{
    return (rw_rows){ s->start, s->len, s->source, s->field[RW_WEIGHT].data, s->group };
}

/* Samples of a tile to compute: whole registers. */
static int32_t cols_of(const rw_kernels *k, const rw_tiles *t, int64_t tile)
{
    int32_t lanes = k->lanes < t->tile ? k->lanes : t->tile;
    return (rw_tile_live(t, tile) + lanes - 1) / lanes * lanes;
}

static char *row_at(const rw_tiles *t, int64_t tile, int32_t row)
{
    return rw_tile_at(t, tile) + (size_t)row * (size_t)t->tile * rw_dtype_size(t->dtype);
}

static bool same_shape(const rw_tiles *a, const rw_tiles *b)
{
    return a->n == b->n && a->batch == b->batch && a->tile == b->tile && a->dtype == b->dtype;
}

static bool fits(const rw_kernels *k, const rw_store *s, const rw_tiles *in, const rw_tiles *out)
{
    return in->n == s->n_in && out->n == s->n_out && in->batch == out->batch &&
           in->tile == out->tile && in->dtype == k->dtype && out->dtype == k->dtype &&
           s->field[RW_WEIGHT].dtype == k->dtype && in->batch > 0;
}

static int64_t products(const rw_store *s, const rw_tiles *t)
{
    return s->slots * s->group * t->batch;
}

/* --- forward ----------------------------------------------------------------- */

static void forward_task(const job *j, int64_t task)
{
    int64_t tile = task / j->blocks, block = task % j->blocks;
    int32_t g0 = block_start(j, block), g1 = block_start(j, block + 1);
    int32_t row0 = g0 * j->s->group;
    int32_t row1 = (int32_t)rw_min64((int64_t)g1 * j->s->group, j->s->n_out);
    char *out = row_at(j->y, tile, row0);
    j->k->forward(&j->w, g0, g1, rw_tile_at(j->x, tile), j->bias, rw_tile_at(j->y, tile),
                  j->x->tile, cols_of(j->k, j->x, tile));
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
              .slope = slope, .n = s->n_groups,
              .blocks = blocks_for(run, s->n_groups, x->n_tiles, work) };
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
              .blocks = blocks_for(run, y->n, y->n_tiles, work) };
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
              .blocks = blocks_for(run, dy->n, dy->n_tiles, work) };
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
    int32_t j0 = block_start(j, block), j1 = block_start(j, block + 1), g0 = j->first_group;
    rw_rows w = j->w;
    if (g0 == 0)
        memset(row_at(j->y, tile, j0), 0,
               (size_t)(j1 - j0) * (size_t)j->y->tile * rw_dtype_size(j->y->dtype));
    w.start += g0;
    w.len += g0;
    j->k->dx_scatter(&w, j->end_group - g0, j0, j1, row_at(j->dy, tile, g0 * w.group),
                     rw_tile_at(j->y, tile), j->dy->tile, cols_of(j->k, j->dy, tile));
}

static rw_status scatter(job *j, int64_t work, const rw_run *run)
{
    int64_t n_tiles = j->dy->n_tiles;
    int threads = rw_threads_for(run->threads, work);
    /* Tiles shared evenly need no more cuts: each costs a search in every group. */
    bool even = n_tiles % threads == 0 || n_tiles >= 8 * threads;
    j->n = j->s->n_in;
    j->blocks = even ? 1 : rw_min64(threads, j->n);
    int64_t passes = rw_max64(1, rw_min64(work / (POLL_WORK * threads), j->s->n_groups));
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

rw_status rw_backward_input(const rw_kernels *k, const rw_store *s, const rw_tiles *dy,
                            rw_tiles *dx, const rw_run *run)
{
    if (!fits(k, s, dx, dy))
        return RW_ESHAPE;
    int64_t work = products(s, dy) + dx->n * dx->batch;
    job j = { .k = k, .s = s, .w = rows_of(s), .dy = dy, .y = dx };
    if (!s->mirror.valid)
        return scatter(&j, work, run);
    j.n = s->n_in;
    j.blocks = blocks_for(run, j.n, dy->n_tiles, work);
    return run_tasks(run, j.blocks * dy->n_tiles, work, gather_task, &j);
}

/* --- dW and the optimizer step ----------------------------------------------- */

/* Rows beyond n_out: `count` slots of the last group, made zero again. They are
 * zero by arithmetic, except where 0 meets an infinity or Adam divides 0 by 0. */
static void clear_padding(const job *j, int32_t g, char *values)
{
    size_t size = rw_dtype_size(j->k->dtype), width = (size_t)j->s->group;
    size_t rows = (size_t)rw_group_rows(j->s, g);
    if (!values || rows == width)
        return;
    for (int32_t i = 0; i < j->s->len[g]; i++)
        memset(values + ((size_t)i * width + rows) * size, 0, (width - rows) * size);
}

static char *slice(const job *j, char *field, int32_t g)
{
    size_t bytes = rw_slot_bytes(&j->s->field[RW_WEIGHT]);
    return field ? field + (size_t)j->s->start[g] * bytes : NULL;
}

static void group_gradient(const job *j, int32_t g, char *grad)
{
    for (int64_t tile = 0; tile < j->x->n_tiles; tile++)
        j->k->dw(j->s->source + j->s->start[g], j->s->len[g], j->s->group,
                 rw_tile_at(j->x, tile), row_at(j->dy, tile, g * j->s->group), grad, j->x->tile,
                 cols_of(j->k, j->x, tile), tile > 0);
    clear_padding(j, g, grad);
}

static void group_update(const job *j, int32_t g, const char *grad)
{
    char *w = slice(j, j->s->field[RW_WEIGHT].data, g);
    char *m = slice(j, j->m, g), *v = slice(j, j->v, g);
    j->k->update(j->u, w, m, v, j->born ? j->born + j->s->start[g] : NULL, j->s->group, grad,
                 (int64_t)j->s->len[g] * j->s->group);
    clear_padding(j, g, w);
    clear_padding(j, g, m);
    clear_padding(j, g, v);
}

static void fused_task(const job *j, int64_t block)
{
    size_t mine = (size_t)rw_thread_index() * (size_t)j->scratch_values;
    char *grad = j->grad + mine * rw_dtype_size(j->k->dtype);
    int32_t end = block_start(j, block + 1);
    for (int32_t g = block_start(j, block); g < end; g++) {
        group_gradient(j, g, grad);
        group_update(j, g, grad);
    }
}

static void gradient_task(const job *j, int64_t block)
{
    int32_t end = block_start(j, block + 1);
    for (int32_t g = block_start(j, block); g < end; g++)
        group_gradient(j, g, slice(j, j->grad, g));
}

static void update_task(const job *j, int64_t block)
{
    int32_t end = block_start(j, block + 1);
    for (int32_t g = block_start(j, block); g < end; g++)
        group_update(j, g, slice(j, j->grad, g));
}

/* A field of `group` values of the weights' dtype: *data, or a status. */
static rw_status state_field(const rw_store *s, const char *name, char **data)
{
    int32_t i = rw_store_field(s, name);
    if (i < 0)
        return RW_ENOENT;
    if (s->field[i].dtype != s->field[RW_WEIGHT].dtype || s->field[i].width != s->group)
        return RW_ESHAPE;
    *data = s->field[i].data;
    return RW_OK;
}

/* The fields an update needs, into the job. */
static rw_status find_state(job *j, const rw_update *u)
{
    rw_status status = RW_OK;
    j->u = u;
    if (u->kind == RW_OPT_SGD)
        return u->momentum == 0 ? RW_OK : state_field(j->s, "momentum", &j->m);
    if ((status = state_field(j->s, "adam_m", &j->m)) != RW_OK)
        return status;
    if ((status = state_field(j->s, "adam_v", &j->v)) != RW_OK)
        return status;
    int32_t born = rw_store_field(j->s, "born");
    if (born < 0)
        return RW_OK;
    if (j->s->field[born].dtype != RW_I32 || j->s->field[born].width != 1)
        return RW_ESHAPE;
    j->born = (const int32_t *)(const void *)j->s->field[born].data;
    return RW_OK;
}

int64_t rw_scratch_values(const rw_store *s)
{
    int64_t longest = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        longest = rw_max64(longest, s->len[g]);
    return longest * s->group;
}

rw_status rw_backward_update(const rw_kernels *k, rw_store *s, const rw_tiles *x,
                             const rw_tiles *dy, const rw_update *u, void *scratch,
                             const rw_run *run)
{
    if (!fits(k, s, x, dy))
        return RW_ESHAPE;
    int64_t work = products(s, x);
    job j = { .k = k, .s = s, .x = x, .dy = dy, .grad = scratch,
              .scratch_values = rw_scratch_values(s), .n = s->n_groups,
              .blocks = blocks_for(run, s->n_groups, 1, work) };
    rw_status status = find_state(&j, u);
    if (status != RW_OK)
        return status;
    return run_tasks(run, j.blocks, work, fused_task, &j);
}

rw_status rw_backward_weights(const rw_kernels *k, rw_store *s, const rw_tiles *x,
                              const rw_tiles *dy, int32_t grad, const rw_run *run)
{
    if (grad <= RW_WEIGHT || grad >= s->n_fields || s->field[grad].dtype != k->dtype ||
        s->field[grad].width != s->group || !fits(k, s, x, dy))
        return RW_ESHAPE;
    int64_t work = products(s, x);
    job j = { .k = k, .s = s, .x = x, .dy = dy, .grad = s->field[grad].data, .n = s->n_groups,
              .blocks = blocks_for(run, s->n_groups, 1, work) };
    return run_tasks(run, j.blocks, work, gradient_task, &j);
}

rw_status rw_update_from(const rw_kernels *k, rw_store *s, int32_t grad, const rw_update *u,
                         const rw_run *run)
{
    if (grad <= RW_WEIGHT || grad >= s->n_fields || s->field[grad].dtype != k->dtype ||
        s->field[grad].width != s->group || s->field[RW_WEIGHT].dtype != k->dtype)
        return RW_ESHAPE;
    int64_t work = 4 * s->slots * s->group; /* memory traffic, in multiply-adds */
    job j = { .k = k, .s = s, .grad = s->field[grad].data, .n = s->n_groups,
              .blocks = blocks_for(run, s->n_groups, 1, work) };
    rw_status status = find_state(&j, u);
    if (status != RW_OK)
        return status;
    return run_tasks(run, j.blocks, work, update_task, &j);
}

/* --- fields ------------------------------------------------------------------- */

/* The values of group g that stand for rows that exist: `count` runs of `length`
 * values, `stride` apart. One run, but for the last group of a store it overhangs. */
typedef struct {
    char *at;
    int64_t count, length;
    size_t stride; /* bytes */
} runs;

static runs runs_of(const rw_store *s, const rw_field *f, int32_t g)
{
    size_t slot = rw_slot_bytes(f);
    char *at = f->data + (size_t)s->start[g] * slot;
    int32_t rows = rw_group_rows(s, g);
    if (f->width == 1 || f->width == rows)
        return (runs){ at, 1, (int64_t)s->len[g] * f->width, 0 };
    return (runs){ at, s->len[g], rows, slot };
}

/* Eight sums side by side, so that one addition need not wait for the last. */
#define SUMSQ(name, T)                                                         \
    static double name(const void *values, int64_t n)                          \
    {                                                                          \
        const T *v = values;                                                   \
        double sum[8] = { 0 };                                                 \
        int64_t i = 0;                                                         \
        for (; i + 8 <= n; i += 8)                                             \
            for (int l = 0; l < 8; l++)                                        \
                sum[l] += (double)v[i + l] * (double)v[i + l];                 \
        for (int l = 0; i < n; i++, l++)                                       \
            sum[l] += (double)v[i] * (double)v[i];                             \
        return ((sum[0] + sum[4]) + (sum[2] + sum[6])) +                       \
               ((sum[1] + sum[5]) + (sum[3] + sum[7]));                        \
    }
SUMSQ(sumsq_f32, float)
SUMSQ(sumsq_f64, double)
SUMSQ(sumsq_i32, int32_t)
SUMSQ(sumsq_i64, int64_t)
SUMSQ(sumsq_u8, uint8_t)

static double sumsq(rw_dtype dtype, const void *values, int64_t n)
{
    switch (dtype) {
    case RW_F32: return sumsq_f32(values, n);
    case RW_F64: return sumsq_f64(values, n);
    case RW_I32: return sumsq_i32(values, n);
    case RW_I64: return sumsq_i64(values, n);
    case RW_U8:  return sumsq_u8(values, n);
    }
    return 0;
}

double rw_field_sumsq(const rw_store *s, int32_t field)
{
    const rw_field *f = &s->field[field];
    double sum = 0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        runs r = runs_of(s, f, g);
        for (int64_t i = 0; i < r.count; i++, r.at += r.stride)
            sum += sumsq(f->dtype, r.at, r.length);
    }
    return sum;
}

void rw_field_scale(rw_store *s, int32_t field, double factor)
{
    const rw_field *f = &s->field[field];
    for (int32_t g = 0; g < s->n_groups; g++) {
        runs r = runs_of(s, f, g);
        for (int64_t i = 0; i < r.count; i++, r.at += r.stride) {
            float *f32 = (float *)(void *)r.at, by = (float)factor;
            double *f64 = (double *)(void *)r.at;
            if (f->dtype == RW_F32)
                for (int64_t k = 0; k < r.length; k++)
                    f32[k] *= by;
            else if (f->dtype == RW_F64)
                for (int64_t k = 0; k < r.length; k++)
                    f64[k] *= factor;
            /* counts and signs have no scale */
        }
    }
}

bool rw_field_finite(const rw_store *s, int32_t field)
{
    const rw_field *f = &s->field[field];
    if (f->dtype != RW_F32 && f->dtype != RW_F64)
        return true;
    for (int32_t g = 0; g < s->n_groups; g++) {
        runs r = runs_of(s, f, g);
        for (int64_t i = 0; i < r.count; i++, r.at += r.stride)
            for (int64_t k = 0; k < r.length; k++)
                if (f->dtype == RW_F32 ? !isfinite(((const float *)(const void *)r.at)[k])
                                       : !isfinite(((const double *)(const void *)r.at)[k]))
                    return false;
    }
    return true;
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
              .blocks = blocks_for(run, dy->n, 1, work) };
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
    int64_t work = 2 * x->n * x->batch;
    job j = { .k = k, .x = x, .y = y, .p = p, .key = key, .n = x->n,
              .blocks = blocks_for(run, x->n, x->n_tiles, work) };
    return run_tasks(run, j.blocks * x->n_tiles, work, dropout_task, &j);
}
