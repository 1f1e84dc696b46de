/* sides.c -- two-sided switching over a batch. See sides.h. */
#include "ops/sides.h"
#include "ops/tasks.h"

typedef struct {
    rw_op op;
    const rw_tiles *x, *from; /* from: what is read beside x, or NULL */
    rw_tiles *to;
} sides_op;

static void split_task(const void *arg, int64_t task)
{
    const sides_op *o = arg;
    rw_part p = rw_op_part(&o->op, task);
    o->op.k->two_sides(rw_tile_row(o->x, p.tile, p.first), rw_tile_row(o->to, p.tile, p.first),
                       rw_tile_row(o->to, p.tile, o->x->n + p.first),
                       (int64_t)(p.end - p.first) * o->x->tile);
}

static void join_task(const void *arg, int64_t task)
{
    const sides_op *o = arg;
    rw_part p = rw_op_part(&o->op, task);
    o->op.k->two_sides_back(rw_tile_row(o->x, p.tile, p.first),
                            rw_tile_row(o->from, p.tile, p.first),
                            rw_tile_row(o->from, p.tile, o->x->n + p.first),
                            rw_tile_row(o->to, p.tile, p.first),
                            (int64_t)(p.end - p.first) * o->x->tile);
}

/* Have `sides` the samples of x, and twice as many features? */
static bool are_sides(const rw_tiles *x, const rw_tiles *sides)
{
    return sides->n == 2 * (int64_t)x->n && sides->batch == x->batch && sides->tile == x->tile &&
           sides->dtype == x->dtype;
}

static rw_status run_sides(sides_op *o, const rw_kernels *k, const rw_run *run,
                           void (*task)(const void *, int64_t))
{
    int64_t work = RW_COST_SIDES_VALUE * o->x->n * o->x->batch;
    o->op = rw_op_cut(k, run, o->x->n, o->x->n_tiles, work);
    return rw_run_tasks(run, o->op.blocks * o->x->n_tiles, work, task, o);
}

rw_status rw_two_sides(const rw_kernels *k, const rw_tiles *x, rw_tiles *sides, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(sides) && rw_is_run(run));
    if (x->dtype != k->dtype || !are_sides(x, sides))
        return RW_ESHAPE;
    sides_op o = { .x = x, .to = sides };
    return run_sides(&o, k, run, split_task);
}

rw_status rw_two_sides_back(const rw_kernels *k, const rw_tiles *x, const rw_tiles *dsides,
                            rw_tiles *dx, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(dsides) && rw_is_tiles(dx) && rw_is_run(run));
    if (x->dtype != k->dtype || !are_sides(x, dsides) || !rw_tiles_alike(x, dx))
        return RW_ESHAPE;
    sides_op o = { .x = x, .from = dsides, .to = dx };
    return run_sides(&o, k, run, join_task);
}
