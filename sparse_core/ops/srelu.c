/* srelu.c -- trained S-shapes over a batch. See srelu.h. */
#include "ops/srelu.h"
#include "ops/tasks.h"

typedef struct {
    rw_op op;
    const rw_tiles *x, *dy;
    const char *shape;
    rw_tiles *to;   /* y or dx */
    char *gradient;
} srelu_op;

/* Four rows of values: where those of neuron `first` begin. */
static const char *shape_at(const srelu_op *o, int32_t first)
{
    return o->shape + (size_t)first * rw_dtype_size(o->op.k->dtype);
}

static void srelu_task(const void *arg, int64_t task)
{
    const srelu_op *o = arg;
    rw_part p = rw_op_part(&o->op, task);
    o->op.k->srelu(rw_tile_row(o->x, p.tile, p.first), shape_at(o, p.first), (size_t)o->x->n,
                   rw_tile_row(o->to, p.tile, p.first), p.end - p.first, o->x->tile,
                   rw_tile_live(o->x, p.tile));
}

static void srelu_back_task(const void *arg, int64_t task)
{
    const srelu_op *o = arg;
    rw_part p = rw_op_part(&o->op, task);
    o->op.k->srelu_back(rw_tile_row(o->x, p.tile, p.first), shape_at(o, p.first),
                        (size_t)o->x->n, rw_tile_row(o->dy, p.tile, p.first),
                        rw_tile_row(o->to, p.tile, p.first), p.end - p.first, o->x->tile,
                        rw_tile_live(o->x, p.tile));
}

static void srelu_gradient_task(const void *arg, int64_t task)
{
    const srelu_op *o = arg;
    rw_part p = rw_op_part(&o->op, task); /* of all tiles */
    char *gradient = o->gradient + (size_t)p.first * rw_dtype_size(o->op.k->dtype);
    for (int64_t tile = 0; tile < o->x->n_tiles; tile++)
        o->op.k->srelu_gradient(rw_tile_row(o->x, tile, p.first), shape_at(o, p.first),
                                (size_t)o->x->n, rw_tile_row(o->dy, tile, p.first), gradient,
                                p.end - p.first, o->x->tile, rw_tile_live(o->x, tile), tile > 0);
}

static int64_t srelu_work(const rw_tiles *x)
{
    return RW_COST_SRELU_VALUE * x->n * x->batch;
}

rw_status rw_srelu(const rw_kernels *k, const rw_tiles *x, const void *shape, rw_tiles *y,
                   const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(y) && shape && rw_is_run(run));
    if (x->dtype != k->dtype || !rw_tiles_alike(x, y))
        return RW_ESHAPE;
    srelu_op o = { .op = rw_op_cut(k, run, x->n, x->n_tiles, srelu_work(x)), .x = x, .shape = shape,
                   .to = y };
    return rw_run_tasks(run, o.op.blocks * x->n_tiles, srelu_work(x), srelu_task, &o);
}

rw_status rw_srelu_back(const rw_kernels *k, const rw_tiles *x, const void *shape,
                        const rw_tiles *dy, rw_tiles *dx, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(dy) && rw_is_tiles(dx) && shape && rw_is_run(run));
    if (x->dtype != k->dtype || !rw_tiles_alike(x, dy) || !rw_tiles_alike(x, dx))
        return RW_ESHAPE;
    srelu_op o = { .op = rw_op_cut(k, run, x->n, x->n_tiles, srelu_work(x)), .x = x, .dy = dy,
                   .shape = shape, .to = dx };
    return rw_run_tasks(run, o.op.blocks * x->n_tiles, srelu_work(x), srelu_back_task, &o);
}

rw_status rw_srelu_gradient(const rw_kernels *k, const rw_tiles *x, const void *shape,
                            const rw_tiles *dy, void *gradient, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(dy) && shape && gradient && rw_is_run(run));
    if (x->dtype != k->dtype || !rw_tiles_alike(x, dy))
        return RW_ESHAPE;
    srelu_op o = { .op = rw_op_cut(k, run, x->n, 1, srelu_work(x)), .x = x, .dy = dy,
                   .shape = shape, .gradient = gradient };
    return rw_run_tasks(run, o.op.blocks, srelu_work(x), srelu_gradient_task, &o);
}
