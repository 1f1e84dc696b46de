/* wht.c -- the Walsh-Hadamard transform over a batch. See wht.h. */
#include "ops/wht.h"
#include "ops/tasks.h"

#include <math.h>
#include <string.h>

typedef struct {
    const rw_kernels *k;
    const rw_tiles *x;
    rw_tiles *y;
    int32_t first, last;
    int32_t whole;  /* the largest multiple of the block, in features */
    int32_t width;  /* samples of a task: less than a tile where threads outnumber tiles */
    double scale;
} wht_op;

static void copy_rows(const char *from, char *to, int32_t n, size_t row, size_t bytes)
{
    for (int32_t i = 0; i < n && from != to; i++, from += row, to += row)
        memcpy(to, from, bytes);
}

static void wht_task(const void *arg, int64_t task)
{
    const wht_op *o = arg;
    int64_t parts = o->x->tile / o->width;
    size_t size = rw_dtype_size(o->k->dtype), row = (size_t)rw_tile_row_bytes(o->x);
    size_t at = (size_t)(task % parts) * (size_t)o->width * size, bytes = (size_t)o->width * size;
    const char *x = rw_tile_at(o->x, task / parts) + at;
    char *y = rw_tile_at(o->y, task / parts) + at;
    if (o->first == o->last) {
        copy_rows(x, y, o->x->n, row, bytes);
        return;
    }
    o->k->wht(x, y, o->whole, o->x->tile, o->width, o->first, o->last, o->scale);
    int32_t rest = o->x->n - o->whole;
    if (rest > 0) {
        char *shifted = y + (size_t)rest * row;
        copy_rows(x + (size_t)o->whole * row, y + (size_t)o->whole * row, rest, row, bytes);
        o->k->wht(shifted, shifted, o->whole, o->x->tile, o->width, o->first, o->last, o->scale);
        o->k->wht(y, y, o->whole, o->x->tile, o->width, o->first, o->last, o->scale);
    }
}

/* 2^(-stages / 2), the same on every machine. */
static double scale_of(int32_t stages)
{
    const double root = 0.70710678118654752440;
    return ldexp(stages % 2 ? root : 1, -(stages / 2));
}

/* Samples of a task: a whole tile, or less of it where threads would have nothing to do, but
 * never less than a cache line. */
static int32_t task_width(const rw_tiles *x, int threads)
{
    int32_t width = x->tile, line = RW_WHT_BYTES / (int32_t)rw_dtype_size(x->dtype);
    while (width > line && x->n_tiles * (x->tile / width) % threads != 0)
        width /= 2;
    return width;
}

rw_status rw_wht(const rw_kernels *k, const rw_tiles *x, rw_tiles *y, int32_t first, int32_t last,
                 const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(y) && rw_is_run(run));
    if (x->dtype != k->dtype || !rw_tiles_alike(x, y) || first < 0 || last < first || last > 30 ||
        (int32_t)1 << last > x->n)
        return RW_ESHAPE;
    int64_t work = RW_COST_WHT_VALUE * (int64_t)x->n * x->batch;
    wht_op o = { .k = k, .x = x, .y = y, .first = first, .last = last,
                 .whole = x->n >> last << last,
                 .width = task_width(x, rw_threads_for(run->threads, work)),
                 .scale = scale_of(last - first) };
    return rw_run_tasks(run, x->n_tiles * (x->tile / o.width), work, wht_task, &o);
}
