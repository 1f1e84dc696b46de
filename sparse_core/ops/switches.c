/* switches.c -- blocks of two-sided switches over a batch. See switches.h. */
#include "ops/switches.h"
#include "ops/tasks.h"

typedef struct {
    rw_op op; /* cut into runs of blocks */
    const rw_tiles *x, *dy;
    const char *weight;
    rw_tiles *to; /* y or dx */
    char *gradient;
    int32_t width;
} switches_op;

/* Bytes of the weights, or gradients, before block `first`. */
static size_t bytes_before(const switches_op *o, int32_t first)
{
    return (size_t)first * (size_t)(2 * o->width * o->width) * rw_dtype_size(o->op.k->dtype);
}

static void switches_task(const void *arg, int64_t task)
{
    const switches_op *o = arg;
    rw_part p = rw_op_part(&o->op, task);
    int32_t row = p.first * o->width;
    o->op.k->switches(rw_tile_row(o->x, p.tile, row), o->weight + bytes_before(o, p.first),
                      rw_tile_row(o->to, p.tile, row), p.end - p.first, o->width, o->x->tile,
                      rw_tile_live(o->x, p.tile));
}

static void switches_back_task(const void *arg, int64_t task)
{
    const switches_op *o = arg;
    rw_part p = rw_op_part(&o->op, task);
    int32_t row = p.first * o->width;
    o->op.k->switches_back(rw_tile_row(o->x, p.tile, row), o->weight + bytes_before(o, p.first),
                           rw_tile_row(o->dy, p.tile, row), rw_tile_row(o->to, p.tile, row),
                           p.end - p.first, o->width, o->x->tile, rw_tile_live(o->x, p.tile));
}

static size_t tile_values(const rw_tiles *t)
{
    return (size_t)t->rows * (size_t)t->tile;
}

static void switches_gradient_task(const void *arg, int64_t task)
{
    const switches_op *o = arg;
    rw_part p = rw_op_part(&o->op, task); /* of all tiles */
    int32_t row = p.first * o->width;
    rw_span span = { .x = rw_tile_row(o->x, 0, row), .dy = rw_tile_row(o->dy, 0, row),
                     .x_step = tile_values(o->x), .dy_step = tile_values(o->dy),
                     .n_tiles = (int32_t)o->x->n_tiles, .tile = o->x->tile };
    o->op.k->switches_gradient(&span, o->gradient + bytes_before(o, p.first),
                               p.end - p.first, o->width);
}

/* Multiply-adds, and the passes over the values. */
static int64_t switches_work(const rw_tiles *x, int32_t width)
{
    return (2 * width + RW_COST_SIDES_VALUE) * (int64_t)x->n * x->batch;
}

static bool switches_fit(const rw_kernels *k, const rw_tiles *x, int32_t width)
{
    return x->dtype == k->dtype && rw_is_switch_width(width) && x->n % width == 0 &&
           x->n_tiles <= INT32_MAX;
}

static rw_op switches_cut(const rw_kernels *k, const rw_tiles *x, int32_t width, int64_t n_tiles,
                          const rw_run *run)
{
    return rw_op_cut(k, run, x->n / width, n_tiles, switches_work(x, width));
}

rw_status rw_switches(const rw_kernels *k, const rw_tiles *x, const void *weight, int32_t width,
                      rw_tiles *y, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(y) && weight && rw_is_run(run));
    if (!switches_fit(k, x, width) || !rw_tiles_alike(x, y))
        return RW_ESHAPE;
    switches_op o = { .op = switches_cut(k, x, width, x->n_tiles, run), .x = x, .weight = weight,
                      .to = y, .width = width };
    return rw_run_tasks(run, o.op.blocks * x->n_tiles, switches_work(x, width), switches_task, &o);
}

rw_status rw_switches_back(const rw_kernels *k, const rw_tiles *x, const void *weight,
                           int32_t width, const rw_tiles *dy, rw_tiles *dx, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(dy) && rw_is_tiles(dx) && weight && rw_is_run(run));
    if (!switches_fit(k, x, width) || !rw_tiles_alike(x, dy) || !rw_tiles_alike(x, dx))
        return RW_ESHAPE;
    switches_op o = { .op = switches_cut(k, x, width, x->n_tiles, run), .x = x, .dy = dy,
                      .weight = weight, .to = dx, .width = width };
    int64_t work = 2 * switches_work(x, width); /* both sides' sums are made */
    return rw_run_tasks(run, o.op.blocks * x->n_tiles, work, switches_back_task, &o);
}

rw_status rw_switches_gradient(const rw_kernels *k, const rw_tiles *x, const rw_tiles *dy,
                               int32_t width, void *gradient, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(dy) && gradient && rw_is_run(run));
    if (!switches_fit(k, x, width) || !rw_tiles_alike(x, dy))
        return RW_ESHAPE;
    switches_op o = { .op = switches_cut(k, x, width, 1, run), .x = x, .dy = dy,
                      .gradient = gradient, .width = width };
    return rw_run_tasks(run, o.op.blocks, switches_work(x, width), switches_gradient_task, &o);
}
