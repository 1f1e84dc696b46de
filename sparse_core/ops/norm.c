/* norm.c -- layer and batch normalisation over a batch. See norm.h. */
#include <math.h>

#include "ops/norm.h"
#include "ops/tasks.h"

static int64_t norm_work(const rw_tiles *x)
{
    return RW_COST_NORM_VALUE * x->n * x->batch;
}

/* A value of an array of the kernels' precision. */
static double norm_value(const rw_kernels *k, const void *array, int64_t i)
{
    return k->dtype == RW_F32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

static void put_norm_value(const rw_kernels *k, void *array, int64_t i, double value)
{
    if (k->dtype == RW_F32)
        ((float *)array)[i] = (float)value;
    else
        ((double *)array)[i] = value;
}

/* --- by sample ------------------------------------------------------------- */

typedef struct {
    const rw_kernels *k;
    const rw_tiles *x, *dy; /* x: on the way back, z */
    const void *gain, *shift;
    double eps;
    bool centered;
    char *inverse;
    rw_tiles *z, *to;       /* to: y or dx */
} layer_norm_op;

static char *inverse_at(const layer_norm_op *o, int64_t tile)
{
    return o->inverse + (size_t)tile * (size_t)o->x->tile * rw_dtype_size(o->k->dtype);
}

static void layer_norm_task(const void *arg, int64_t tile)
{
    const layer_norm_op *o = arg;
    o->k->layer_norm(rw_tile_at(o->x, tile), o->gain, o->shift, o->eps, o->centered,
                     rw_tile_at(o->z, tile), inverse_at(o, tile), rw_tile_at(o->to, tile), o->x->n,
                     o->x->tile, rw_tile_live(o->x, tile));
}

static void layer_norm_back_task(const void *arg, int64_t tile)
{
    const layer_norm_op *o = arg;
    o->k->layer_norm_back(rw_tile_at(o->x, tile), inverse_at(o, tile), o->gain, o->centered,
                          rw_tile_at(o->dy, tile), rw_tile_at(o->to, tile), o->x->n, o->x->tile);
}

rw_status rw_layer_norm(const rw_kernels *k, const rw_tiles *x, const void *gain, const void *shift,
                        double eps, bool centered, rw_tiles *z, void *inverse, rw_tiles *y,
                        const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(z) && rw_is_tiles(y) && rw_is_run(run));
    RW_ASSERT(gain && shift && inverse && eps > 0);
    if (x->dtype != k->dtype || !rw_tiles_alike(x, z) || !rw_tiles_alike(x, y))
        return RW_ESHAPE;
    layer_norm_op o = { .k = k, .x = x, .gain = gain, .shift = shift, .eps = eps,
                        .centered = centered, .inverse = inverse, .z = z, .to = y };
    return rw_run_tasks(run, x->n_tiles, norm_work(x), layer_norm_task, &o);
}

rw_status rw_layer_norm_back(const rw_kernels *k, const rw_tiles *z, const void *inverse,
                             const void *gain, bool centered, const rw_tiles *dy, rw_tiles *dx,
                             const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(z) && rw_is_tiles(dy) && rw_is_tiles(dx) && rw_is_run(run));
    RW_ASSERT(gain && inverse);
    if (z->dtype != k->dtype || !rw_tiles_alike(z, dy) || !rw_tiles_alike(z, dx))
        return RW_ESHAPE;
    layer_norm_op o = { .k = k, .x = z, .dy = dy, .gain = gain, .centered = centered,
                        .inverse = (char *)inverse, .to = dx };
    return rw_run_tasks(run, z->n_tiles, norm_work(z), layer_norm_back_task, &o);
}

/* --- by feature ------------------------------------------------------------ */

typedef struct {
    rw_op op;
    const rw_tiles *x, *dy; /* x: on the way back, z */
    const char *mean, *inverse, *gain, *shift;
    char *dgain, *dshift, *out_mean, *variance, *out_inverse;
    double eps, count;
    rw_tiles *z, *to;
} row_norm_op;

enum { NORM_ROWS = 64 }; /* rows whose terms are made before they are used: a bound of the stack */

static size_t norm_offset(const row_norm_op *o, int32_t row)
{
    return (size_t)row * rw_dtype_size(o->op.k->dtype);
}

static void norm_gradient_task(const void *arg, int64_t task)
{
    const row_norm_op *o = arg;
    const rw_kernels *k = o->op.k;
    rw_part p = rw_op_part(&o->op, task); /* of all tiles */
    int32_t n = p.end - p.first;
    size_t at = norm_offset(o, p.first);
    for (int64_t tile = 0; tile < o->x->n_tiles; tile++) {
        const char *dy = rw_tile_row(o->dy, tile, p.first);
        k->row_dot(dy, NULL, rw_tile_row(o->x, tile, p.first), NULL,
                   o->dgain + at, n, o->x->tile, rw_tile_live(o->x, tile), tile > 0);
        k->row_sum(dy, n, o->dshift + at, o->x->tile, rw_tile_cols(k, o->dy, tile), tile > 0);
    }
}

rw_status rw_norm_gradient(const rw_kernels *k, const rw_tiles *z, const rw_tiles *dy, void *dgain,
                           void *dshift, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(z) && rw_is_tiles(dy) && dgain && dshift && rw_is_run(run));
    if (z->dtype != k->dtype || !rw_tiles_alike(z, dy))
        return RW_ESHAPE;
    row_norm_op o = { .op = rw_op_cut(k, run, z->n, 1, norm_work(z)), .x = z, .dy = dy,
                      .dgain = dgain, .dshift = dshift };
    return rw_run_tasks(run, o.op.blocks, norm_work(z), norm_gradient_task, &o);
}

static void batch_moments_task(const void *arg, int64_t task)
{
    const row_norm_op *o = arg;
    const rw_kernels *k = o->op.k;
    rw_part p = rw_op_part(&o->op, task); /* of all tiles */
    int32_t n = p.end - p.first;
    size_t at = norm_offset(o, p.first);
    char *mean = o->out_mean + at, *variance = o->variance + at;
    for (int64_t tile = 0; tile < o->x->n_tiles; tile++)
        k->row_sum(rw_tile_row(o->x, tile, p.first), n, mean, o->x->tile,
                   rw_tile_cols(k, o->x, tile), tile > 0);
    for (int32_t i = 0; i < n; i++)
        put_norm_value(k, mean, i, norm_value(k, mean, i) / (double)o->x->batch);
    for (int64_t tile = 0; tile < o->x->n_tiles; tile++) {
        const char *x = rw_tile_row(o->x, tile, p.first);
        k->row_dot(x, mean, x, mean, variance, n, o->x->tile, rw_tile_live(o->x, tile), tile > 0);
    }
    for (int32_t i = 0; i < n; i++) {
        double found = norm_value(k, variance, i) / (double)o->x->batch;
        put_norm_value(k, variance, i, found);
        put_norm_value(k, o->out_inverse, p.first + i, 1 / sqrt(found + o->eps));
    }
}

rw_status rw_batch_moments(const rw_kernels *k, const rw_tiles *x, double eps, void *mean,
                           void *variance, void *inverse, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && mean && variance && inverse && eps > 0 && rw_is_run(run));
    if (x->dtype != k->dtype)
        return RW_ESHAPE;
    row_norm_op o = { .op = rw_op_cut(k, run, x->n, 1, norm_work(x)), .x = x, .out_mean = mean,
                      .variance = variance, .out_inverse = inverse, .eps = eps };
    return rw_run_tasks(run, o.op.blocks, norm_work(x), batch_moments_task, &o);
}

static void batch_norm_task(const void *arg, int64_t task)
{
    const row_norm_op *o = arg;
    rw_part p = rw_op_part(&o->op, task);
    size_t at = norm_offset(o, p.first);
    o->op.k->row_norm(rw_tile_row(o->x, p.tile, p.first), o->mean + at, o->inverse + at,
                      o->gain + at, o->shift + at,
                      o->z ? rw_tile_row(o->z, p.tile, p.first) : NULL,
                      rw_tile_row(o->to, p.tile, p.first), p.end - p.first, o->x->tile,
                      rw_tile_live(o->x, p.tile));
}

rw_status rw_batch_norm(const rw_kernels *k, const rw_tiles *x, const void *mean,
                        const void *inverse, const void *gain, const void *shift, rw_tiles *z,
                        rw_tiles *y, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && (!z || rw_is_tiles(z)) && rw_is_tiles(y) && rw_is_run(run));
    RW_ASSERT(mean && inverse && gain && shift);
    if (x->dtype != k->dtype || !rw_tiles_alike(x, y) || (z && !rw_tiles_alike(x, z)))
        return RW_ESHAPE;
    row_norm_op o = { .op = rw_op_cut(k, run, x->n, x->n_tiles, norm_work(x)), .x = x, .mean = mean,
                      .inverse = inverse, .gain = gain, .shift = shift, .z = z, .to = y };
    return rw_run_tasks(run, o.op.blocks * x->n_tiles, norm_work(x), batch_norm_task, &o);
}

static void batch_norm_back_task(const void *arg, int64_t task)
{
    const row_norm_op *o = arg;
    const rw_kernels *k = o->op.k;
    rw_part p = rw_op_part(&o->op, task);
    double scale[NORM_ROWS], mean[NORM_ROWS], along[NORM_ROWS]; /* or floats */
    for (int32_t first = p.first, end; first < p.end; first = end) {
        end = (int32_t)rw_min64((int64_t)first + NORM_ROWS, p.end);
        for (int32_t i = first; i < end; i++) {
            put_norm_value(k, scale, i - first,
                           norm_value(k, o->gain, i) * norm_value(k, o->inverse, i));
            put_norm_value(k, mean, i - first, norm_value(k, o->dshift, i) / o->count);
            put_norm_value(k, along, i - first, norm_value(k, o->dgain, i) / o->count);
        }
        k->row_norm_back(rw_tile_row(o->x, p.tile, first), scale, mean, along,
                         rw_tile_row(o->dy, p.tile, first), rw_tile_row(o->to, p.tile, first),
                         end - first, o->x->tile, rw_tile_live(o->x, p.tile));
    }
}

rw_status rw_batch_norm_back(const rw_kernels *k, const rw_tiles *z, const void *inverse,
                             const void *gain, const void *dgain, const void *dshift, double count,
                             const rw_tiles *dy, rw_tiles *dx, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(z) && rw_is_tiles(dy) && rw_is_tiles(dx) && rw_is_run(run));
    RW_ASSERT(inverse && gain && dgain && dshift && count >= 1);
    if (z->dtype != k->dtype || !rw_tiles_alike(z, dy) || !rw_tiles_alike(z, dx))
        return RW_ESHAPE;
    row_norm_op o = { .op = rw_op_cut(k, run, z->n, z->n_tiles, norm_work(z)), .x = z, .dy = dy,
                      .inverse = inverse, .gain = gain, .dgain = (char *)dgain,
                      .dshift = (char *)dshift, .count = count, .to = dx };
    return rw_run_tasks(run, o.op.blocks * z->n_tiles, norm_work(z), batch_norm_back_task, &o);
}
