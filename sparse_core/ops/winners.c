/* winners.c -- k-winners over a batch. See winners.h. */
#include "ops/winners.h"
#include "ops/tasks.h"

typedef struct {
    rw_op op;
    const rw_tiles *x, *y;
    const void *factor;
    double sign;
    int32_t winners, row;
    rw_tiles *to;
    double *counts;
    bool add;
} winners_op;

static void winners_task(const void *arg, int64_t tile)
{
    const winners_op *o = arg;
    o->op.k->winners(rw_tile_at(o->x, tile), o->factor, o->sign, o->winners,
                     rw_tile_row(o->to, tile, o->row), o->x->n, o->x->tile,
                     rw_tile_live(o->x, tile));
}

static void winners_back_task(const void *arg, int64_t task)
{
    const winners_op *o = arg;
    rw_part p = rw_op_part(&o->op, task);
    o->op.k->winners_back(rw_tile_row(o->y, p.tile, o->row + p.first),
                          rw_tile_row(o->x, p.tile, o->row + p.first),
                          rw_tile_row(o->to, p.tile, p.first),
                          (int64_t)(p.end - p.first) * o->to->tile, o->add);
}

static void count_task(const void *arg, int64_t task)
{
    const winners_op *o = arg;
    rw_part p = rw_op_part(&o->op, task); /* of all tiles */
    for (int64_t tile = 0; tile < o->y->n_tiles; tile++)
        o->op.k->count_winners(rw_tile_row(o->y, tile, p.first), o->counts + p.first,
                               p.end - p.first, o->y->tile, rw_tile_live(o->y, tile), tile > 0);
}

/* Has `wide` room for the rows of `narrow` from `row` on, and the same samples? */
static bool holds(const rw_tiles *wide, const rw_tiles *narrow, int32_t row)
{
    return row >= 0 && (int64_t)row + narrow->n <= wide->n && wide->batch == narrow->batch &&
           wide->tile == narrow->tile && wide->dtype == narrow->dtype;
}

rw_status rw_winners(const rw_kernels *k, const rw_tiles *x, const void *factor, double sign,
                     int32_t winners, rw_tiles *y, int32_t row, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(y) && factor && rw_is_run(run));
    if (x->dtype != k->dtype || !holds(y, x, row) || winners < 1 || winners > x->n)
        return RW_ESHAPE;
    int64_t work = RW_COST_WINNERS_VALUE * x->n * x->batch;
    winners_op o = { .op = { k, x->n, 1 }, .x = x, .factor = factor, .sign = sign,
                     .winners = winners, .row = row, .to = y };
    return rw_run_tasks(run, x->n_tiles, work, winners_task, &o);
}

rw_status rw_winners_back(const rw_kernels *k, const rw_tiles *y, const rw_tiles *dy, int32_t row,
                          rw_tiles *dx, bool add, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(y) && rw_is_tiles(dy) && rw_is_tiles(dx) && rw_is_run(run));
    if (dx->dtype != k->dtype || !holds(y, dx, row) || !rw_tiles_alike(y, dy))
        return RW_ESHAPE;
    int64_t work = RW_COST_SIDES_VALUE * dx->n * dx->batch;
    winners_op o = { .op = rw_op_cut(k, run, dx->n, dx->n_tiles, work), .x = dy, .y = y,
                     .row = row, .to = dx, .add = add };
    return rw_run_tasks(run, o.op.blocks * dx->n_tiles, work, winners_back_task, &o);
}

rw_status rw_count_winners(const rw_kernels *k, const rw_tiles *y, double *counts,
                           const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(y) && counts && rw_is_run(run));
    if (y->dtype != k->dtype)
        return RW_ESHAPE;
    int64_t work = RW_COST_SIDES_VALUE * y->n * y->batch;
    winners_op o = { .op = rw_op_cut(k, run, y->n, 1, work), .y = y, .counts = counts };
    return rw_run_tasks(run, o.op.blocks, work, count_task, &o);
}
