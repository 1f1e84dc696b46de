#include "ops/layer.h"
#include "kernels/panels.h"
#include "ops/tasks.h"

#include <math.h>
#include <string.h>

/* --- forward ----------------------------------------------------------------- */

typedef struct {
    rw_slots_op o;
    const rw_tiles *x;
    rw_tiles *y, *z;
    const void *bias;
    rw_act act;
    double slope;
    bool streams; /* is a tile read in the order of memory first? */
    rw_stop *stop;
} forward_op;

static void forward_task(const void *arg, int64_t task)
{
    const forward_op *f = arg;
    const rw_store *s = f->o.s;
    const rw_kernels *k = f->o.op.k;
    rw_part p = rw_op_part(&f->o.op, task);
    int32_t row0 = p.first * s->group;
    int32_t row1 = (int32_t)rw_min64((int64_t)p.end * s->group, s->n_out);
    int32_t at[RW_TASK_GROUPS];
    memset(at, 0, (size_t)(p.end - p.first) * sizeof *at);
    rw_strip strip = rw_strip_of(k, f->x, f->y, s->group, p.tile);
    if (f->streams && p.first == 0)
        rw_read_rows(k, f->x, p.tile, 0, s->n_in);
    int64_t slots = s->slots * (p.end - p.first) / s->n_groups, done = 0;
    int64_t work_of_panel = slots * s->group * (strip.cols + strip.rest) / f->o.cut.panels;
    for (int32_t i = 0; i < f->o.cut.panels; i++) {
        rw_panel panel = rw_slots_op_panel(&f->o, i, 0, s->n_in, at, false);
        int32_t begin = rw_panel_begin(0, s->n_in, i, f->o.cut.panels);
        for (int64_t tile = p.tile; f->o.cut.fills && tile < rw_strip_end(&strip, p.tile); tile++)
            rw_read_rows(k, f->x, tile, begin, panel.end);
        k->forward(&f->o.w, p.first, p.end, &panel, &strip, f->bias);
        if (rw_stop_after(f->stop, &done, work_of_panel))
            return;
    }
    for (int64_t tile = p.tile; tile < rw_strip_end(&strip, p.tile); tile++) {
        k->activate(f->act, f->slope, rw_tile_row(f->y, tile, row0),
                    f->z ? rw_tile_row(f->z, tile, row0) : NULL, row1 - row0, f->y->tile,
                    rw_tile_live(f->y, tile));
        if (row1 < p.end * s->group) /* rows beyond n_out: 0 even where x is not finite */
            memset(rw_tile_row(f->y, tile, row1), 0,
                   (size_t)(p.end * s->group - row1) * (size_t)rw_tile_row_bytes(f->y));
    }
}

rw_status rw_forward(const rw_kernels *k, const rw_store *s, const rw_tiles *x, const void *bias,
                     rw_act act, double slope, rw_tiles *y, rw_tiles *z, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(y) && (!z || rw_is_tiles(z)) && rw_is_run(run));
    if (!rw_layer_fits(k, s, x, y) || (z && !rw_tiles_alike(y, z)))
        return RW_ESHAPE;
    int64_t work = rw_layer_work(s, x) + y->n * y->batch;
    rw_stop stop = rw_stop_of(run);
    forward_op f = { .x = x, .y = y, .z = z, .bias = bias, .act = act, .slope = slope, .stop = &stop };
    int64_t strips = rw_strips(k, x, s->group);
    rw_cut cut = rw_cut_strips(k, s, x, &k->tuning->forward);
    f.o = rw_slots_op_cut(k, s, run, cut, cut.fills, strips, work);
    if (cut.fills && !rw_reading_pays(k, s, s->n_groups / f.o.op.blocks / 2)) { /* two tiles are read */
        cut = rw_cut_sources(s, rw_tile_row_bytes(x), k->tuning, &k->tuning->forward);
        f.o = rw_slots_op_cut(k, s, run, cut, false, strips, work);
    }
    f.streams = f.o.cut.panels == 1 /* panels are near soon enough */
             && rw_streams(s, rw_line_bytes(x), k->tuning);
    return rw_run_stoppable(&stop, f.o.op.blocks * strips, work, forward_task, &f);
}

/* --- activations ------------------------------------------------------------- */

typedef struct {
    rw_op op;
    rw_tiles *y, *z;
    const void *bias;
    rw_act act;
    double slope;
} activate_op;

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

static void activate_task(const void *arg, int64_t task)
{
    const activate_op *a = arg;
    rw_part p = rw_op_part(&a->op, task);
    int32_t n = p.end - p.first;
    void *y = rw_tile_row(a->y, p.tile, p.first);
    if (a->bias && a->op.k->dtype == RW_F32)
        add_bias_f32(y, a->bias, p.first, n, a->y->tile);
    else if (a->bias)
        add_bias_f64(y, a->bias, p.first, n, a->y->tile);
    a->op.k->activate(a->act, a->slope, y, a->z ? rw_tile_row(a->z, p.tile, p.first) : NULL, n,
                      a->y->tile, rw_tile_live(a->y, p.tile));
}

rw_status rw_activate(const rw_kernels *k, const void *bias, rw_act act, double slope, rw_tiles *y,
                      rw_tiles *z, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(y) && (!z || rw_is_tiles(z)) && rw_is_run(run));
    if (y->dtype != k->dtype || (z && !rw_tiles_alike(y, z)))
        return RW_ESHAPE;
    int64_t work = y->n * y->batch;
    activate_op a = { .op = rw_op_cut(k, run, y->n, y->n_tiles, work), .y = y, .z = z, .bias = bias,
                      .act = act, .slope = slope };
    return rw_run_tasks(run, a.op.blocks * y->n_tiles, work, activate_task, &a);
}

typedef struct {
    rw_op op;
    const rw_tiles *y;
    rw_tiles *dy;
    rw_act act;
    double slope;
} activate_back_op;

static void activate_back_task(const void *arg, int64_t task)
{
    const activate_back_op *a = arg;
    rw_part p = rw_op_part(&a->op, task);
    a->op.k->activate_back(a->act, a->slope, rw_tile_row(a->y, p.tile, p.first),
                           rw_tile_row(a->dy, p.tile, p.first), p.end - p.first, a->dy->tile,
                           rw_tile_live(a->dy, p.tile));
}

rw_status rw_activate_back(const rw_kernels *k, rw_act act, double slope, const rw_tiles *y,
                           rw_tiles *dy, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(y) && rw_is_tiles(dy) && rw_is_run(run));
    if (dy->dtype != k->dtype || !rw_tiles_alike(y, dy))
        return RW_ESHAPE;
    if (act == RW_ACT_LINEAR)
        return RW_OK;
    int64_t work = dy->n * dy->batch;
    activate_back_op a = { .op = rw_op_cut(k, run, dy->n, dy->n_tiles, work), .y = y, .dy = dy,
                           .act = act, .slope = slope };
    return rw_run_tasks(run, a.op.blocks * dy->n_tiles, work, activate_back_task, &a);
}

/* --- dX by gathering ---------------------------------------------------------- */

typedef struct {
    rw_op op;
    const rw_store *s;
    rw_rows w;
    const rw_tiles *dy;
    rw_tiles *dx;
} gather_op;

static void gather_task(const void *arg, int64_t task)
{
    const gather_op *d = arg;
    rw_part p = rw_op_part(&d->op, task);
    rw_strip strip = rw_strip_of(d->op.k, d->dy, d->dx, d->s->group, p.tile);
    d->op.k->dx_gather(&d->w, &d->s->mirror, p.first, p.end, &strip);
}

/* --- dX by scattering --------------------------------------------------------- */

typedef struct {
    rw_slots_op o;   /* cut into blocks of sources */
    const rw_tiles *dy;
    rw_tiles *dx;
    int64_t first_tile;             /* of the strips, */
    int32_t first_group, end_group; /* and of the groups that are scattered now */
} scatter_op;

/* Rows [j0, j1) of tiles [tile, end). */
static void zero_rows(const rw_tiles *dx, int64_t tile, int64_t end, int32_t j0, int32_t j1)
{
    for (; tile < end; tile++)
        memset(rw_tile_row(dx, tile, j0), 0, (size_t)(j1 - j0) * (size_t)rw_tile_row_bytes(dx));
}

/* Bring sources [j0, j1) near for groups [g0, g1): zeroing does it, too, and comes first of all. */
static void fill_panel(const scatter_op *d, const rw_strip *strip, int64_t tile, int32_t j0, int32_t j1,
                       int32_t g0, int32_t g1)
{
    int64_t end = rw_strip_end(strip, tile);
    if (g0 == 0)
        zero_rows(d->dx, tile, end, j0, j1);
    else if (rw_reading_pays(d->o.op.k, d->o.s, g1 - g0))
        for (; tile < end; tile++)
            rw_read_rows(d->o.op.k, d->dx, tile, j0, j1);
}

/* Groups [first_group, end_group) into the sources of one block: the first
 * groups find dx zeroed. Groups come in order because passes over them do. */
static void scatter_task(const void *arg, int64_t task)
{
    const scatter_op *d = arg;
    const rw_kernels *k = d->o.op.k;
    const rw_rows *w = &d->o.w;
    rw_part p = rw_op_part(&d->o.op, task + d->first_tile * d->o.op.blocks);
    rw_strip strip = rw_strip_of(k, d->dy, d->dx, d->o.s->group, p.tile);
    if (d->first_group == 0 && !d->o.cut.fills)
        zero_rows(d->dx, p.tile, rw_strip_end(&strip, p.tile), p.first, p.end);
    int32_t at[RW_TASK_GROUPS], counted = k->tuning->counted;
    for (int32_t g0 = d->first_group, g1; g0 < d->end_group; g0 = g1) {
        g1 = (int32_t)rw_min64((int64_t)g0 + RW_TASK_GROUPS, d->end_group);
        for (int32_t g = g0; g < g1; g++)
            at[g - g0] =
                p.first ? rw_lower_bound(w->source + w->start[g], w->len[g], p.first, counted) : 0;
        for (int32_t i = 0; i < d->o.cut.panels; i++) {
            rw_panel panel = rw_slots_op_panel(&d->o, i, p.first, p.end, at, true);
            if (d->o.cut.fills)
                fill_panel(d, &strip, p.tile, rw_panel_begin(p.first, p.end, i, d->o.cut.panels), panel.end,
                           g0, g1);
            k->dx_scatter(w, g0, g1, &panel, &strip);
        }
    }
}

/* Into how many passes over its groups the work of a task is cut, so that somebody is asked in between.
 * Each goes through all panels again, so none has fewer groups than a panel wants to be read by. */
static int64_t scatter_passes(const rw_kernels *k, const rw_store *s, const rw_cut *cut, int64_t work)
{
    int64_t least = cut->panels > 1 ? rw_panel_groups(s, k->tuning, false) : 1;
    return rw_max64(1, rw_min64(work / RW_POLL_WORK, s->n_groups / least));
}

/* Tile after tile: only where the work on one alone is too long for one go is it cut further. */
static rw_status scatter_all(const rw_kernels *k, const rw_store *s, const rw_tiles *dy,
                             rw_tiles *dx, int64_t work, const rw_run *run)
{
    int64_t strips = rw_strips(k, dy, s->group);
    int threads = rw_threads_for(run->threads, work);
    /* Tiles shared evenly need no more cuts: each costs a search in every group. */
    bool even = strips % threads == 0 || strips >= 8 * threads;
    scatter_op d = { .o = { .op = { k, s->n_in, even ? 1 : rw_min64(threads, s->n_in) }, .s = s,
                            .w = rw_rows_of(s) }, .dy = dy, .dx = dx };
    d.o.cut = rw_cut_strips(k, s, dx, &k->tuning->scatter);
    d.o.cut.panels = (int32_t)rw_max64(1, d.o.cut.panels / d.o.op.blocks);
    int64_t each = work / (strips * d.o.op.blocks);
    int64_t passes = scatter_passes(k, s, &d.o.cut, each);
    int64_t at_once = passes == 1 ? strips : even ? threads : 1;
    for (int64_t first = 0, n; first < strips; first += n) {
        n = rw_min64(at_once, strips - first);
        for (int64_t pass = 0; pass < passes; pass++) {
            if (first + pass > 0 && run->poll && run->poll(run->arg))
                return RW_EINTR;
            d.first_tile = first;
            d.first_group = (int32_t)(pass * s->n_groups / passes);
            d.end_group = (int32_t)((pass + 1) * s->n_groups / passes);
            rw_status status = rw_run_tasks(run, n * d.o.op.blocks,
                                            n * d.o.op.blocks * each / passes, scatter_task, &d);
            if (status != RW_OK)
                return status;
        }
    }
    return RW_OK;
}

bool rw_gather_pays(const rw_kernels *k, const rw_store *s, int64_t batch)
{
    RW_ASSERT(batch >= 1);
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
    RW_ASSERT(rw_is_tiles(dy) && rw_is_tiles(dx) && rw_is_run(run));
    if (!rw_layer_fits(k, s, dx, dy))
        return RW_ESHAPE;
    int64_t work = rw_layer_work(s, dy) + dx->n * dx->batch;
    if (!s->mirror.valid || !rw_gather_pays(k, s, dy->batch))
        return scatter_all(k, s, dy, dx, work, run);
    int64_t strips = rw_strips(k, dy, s->group);
    gather_op d = { .op = rw_op_cut(k, run, s->n_in, strips, work), .s = s, .w = rw_rows_of(s),
                    .dy = dy, .dx = dx };
    return rw_run_tasks(run, d.op.blocks * strips, work, gather_task, &d);
}

/* --- dropout and bias gradient ------------------------------------------------- */

typedef struct {
    rw_op op;
    const rw_tiles *x;
    rw_tiles *y;
    rw_drop drop;
} dropout_op;

static inline bool is_drop(const rw_drop *drop)
{
    return drop->p >= 0 && drop->p <= 1 && drop->first_sample >= 0;
}

static void dropout_task(const void *arg, int64_t task)
{
    const dropout_op *d = arg;
    rw_part p = rw_op_part(&d->op, task);
    d->op.k->dropout(rw_tile_row(d->x, p.tile, p.first), rw_tile_row(d->y, p.tile, p.first),
                     p.end - p.first, p.first, d->drop.first_sample + p.tile * d->x->tile, d->drop.p,
                     d->drop.key, d->x->tile, rw_tile_live(d->x, p.tile));
}

enum { UNIT_DRAWS = 1 << 16 }; /* what the 16 bits of a hash that a unit has can be */

/* The kernel knows multiples of 2^-16: it scales what it keeps by how much that is, and so the mean
 * stays. For p < 1 something is kept. */
static rw_drop in_16_bits(rw_drop drop)
{
    double all = UNIT_DRAWS, dropped = floor(drop.p * all + 0.5);
    drop.p = (drop.p < 1 ? fmin(dropped, all - 1) : dropped) / all;
    return drop;
}

rw_status rw_dropout(const rw_kernels *k, const rw_tiles *x, rw_tiles *y, double p, rw_key key,
                     int64_t first_sample, const rw_run *run)
{
    rw_drop drop = { p, key, first_sample };
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(y) && is_drop(&drop) && rw_is_run(run));
    if (x->dtype != k->dtype || !rw_tiles_alike(x, y))
        return RW_ESHAPE;
    int64_t work = RW_COST_DROPOUT_VALUE * x->n * x->batch;
    dropout_op d = { .op = rw_op_cut(k, run, x->n, x->n_tiles, work), .x = x, .y = y,
                     .drop = in_16_bits(drop) };
    return rw_run_tasks(run, d.op.blocks * x->n_tiles, work, dropout_task, &d);
}

typedef struct {
    rw_op op;
    const rw_tiles *dy;
    char *out;
    bool add;
    const rw_drop *drop; /* NULL, or what becomes of dy first */
    rw_act act;          /* by whose f' of y dy is multiplied then */
    const rw_tiles *y;
    double slope;
} bias_gradient_op;

/* Rows of a tile that are summed while the first-level cache has them still. */
enum { NEAR_ROWS = 32 };

/* The sums of rows [first, end) over all tiles. */
static void sum_rows(const bias_gradient_op *b, int32_t first, int32_t end, char *out, bool add)
{
    const rw_kernels *k = b->op.k;
    for (int32_t i = first, n; i < end; i += n, out += (size_t)n * rw_dtype_size(k->dtype)) {
        n = (int32_t)rw_min64(NEAR_ROWS, end - i);
        for (int64_t tile = 0; tile < b->dy->n_tiles; tile++) {
            char *dy = rw_tile_row(b->dy, tile, i);
            const char *y = rw_tile_row(b->y, tile, i);
            int32_t width = b->dy->tile, live = rw_tile_live(b->dy, tile);
            if (b->drop)
                k->dropout_back(b->act, b->slope, y, dy, n, i, b->drop->first_sample + tile * width,
                                b->drop->p, b->drop->key, width, live);
            else if (b->act != RW_ACT_LINEAR)
                k->activate_back(b->act, b->slope, y, dy, n, width, live);
            k->row_sum(dy, n, out, width, rw_tile_cols(k, b->dy, tile), add || tile > 0);
        }
    }
}

/* Rows whose sums are made before they are added: a bound of the stack. */
enum { SUMMED_ROWS = 64 };

static void add_sums(rw_dtype dtype, const void *sums, int32_t n, void *out)
{
    if (dtype == RW_F32)
        for (int32_t i = 0; i < n; i++)
            ((float *)out)[i] += ((const float *)sums)[i];
    else
        for (int32_t i = 0; i < n; i++)
            ((double *)out)[i] += ((const double *)sums)[i];
}

static void bias_gradient_task(const void *arg, int64_t task)
{
    const bias_gradient_op *b = arg;
    rw_dtype dtype = b->op.k->dtype;
    rw_part p = rw_op_part(&b->op, task);
    char *out = b->out + (size_t)p.first * rw_dtype_size(dtype);
    if (!b->add || b->dy->n_tiles == 1) { /* of one tile, the kernel adds the whole */
        sum_rows(b, p.first, p.end, out, b->add);
        return;
    }
    double sums[SUMMED_ROWS]; /* or floats */
    for (int32_t i = p.first, end; i < p.end; i = end) {
        end = (int32_t)rw_min64((int64_t)i + SUMMED_ROWS, p.end);
        sum_rows(b, i, end, (char *)sums, false);
        add_sums(dtype, sums, end - i, b->out + (size_t)i * rw_dtype_size(dtype));
    }
}

static rw_status sums_of(bias_gradient_op b, const rw_kernels *k, const rw_run *run)
{
    int64_t work = (b.drop ? RW_COST_DROPOUT_VALUE : 1) * b.dy->n * b.dy->batch;
    b.op = rw_op_cut(k, run, b.dy->n, 1, work);
    return rw_run_tasks(run, b.op.blocks, work, bias_gradient_task, &b);
}

rw_status rw_bias_gradient(const rw_kernels *k, const rw_tiles *dy, void *out, bool add,
                           const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(dy) && out && rw_is_run(run));
    if (dy->dtype != k->dtype)
        return RW_ESHAPE;
    return sums_of((bias_gradient_op){ .dy = dy, .out = out, .add = add, .act = RW_ACT_LINEAR, .y = dy }, k,
                   run);
}

rw_status rw_activate_back_sums(const rw_kernels *k, const rw_drop *drop, rw_act act, double slope,
                                const rw_tiles *y, rw_tiles *dy, void *out, bool add,
                                const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(y) && rw_is_tiles(dy) && out && (!drop || is_drop(drop)) && rw_is_run(run));
    if (dy->dtype != k->dtype || !rw_tiles_alike(y, dy))
        return RW_ESHAPE;
    rw_drop dropping;
    if (drop)
        dropping = in_16_bits(*drop);
    bias_gradient_op b = { .dy = dy, .out = out, .add = add, .drop = drop ? &dropping : NULL,
                           .act = act, .y = y, .slope = slope };
    return sums_of(b, k, run);
}
