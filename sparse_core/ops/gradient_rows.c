/* gradient_rows.c -- see gradient_rows.h. */
#include "ops/gradient_rows.h"
#include "base/mem.h"
#include "ops/layer.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* One panel of x: sample by sample. What lies beyond the last source is zero. */
#define PACK_PANEL(type)                                                                        \
    for (int64_t b = 0; b < x->batch; b++) {                                              \
        const type *from = (const type *)(const void *)rw_tile_at(x, b / x->tile) + b % x->tile; \
        type *to = (type *)(void *)out + b * width;                                       \
        for (int32_t i = 0; i < width; i++)                                               \
            to[i] = first + i < x->n ? from[(size_t)(first + i) * (size_t)x->tile] : 0;   \
    }

static void pack_panel_task(const void *arg, int64_t panel)
{
    const rw_gradient_rows *a = arg;
    const rw_tiles *x = a->x;
    char *out = a->panels + (size_t)panel * a->panel_bytes;
    int32_t width = a->k->panel, first = (int32_t)panel * width;
    if (x->dtype == RW_F32)
        PACK_PANEL(float)
    else
        PACK_PANEL(double)
}

rw_status rw_gradient_rows_start(rw_gradient_rows *a, const rw_kernels *k, const rw_tiles *x,
                                 const rw_nonzeros *few, const rw_tiles *dy, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(dy) && dy->dtype == k->dtype && rw_is_run(run) && !x == (few != NULL));
    RW_ASSERT(!few || (few->batch == dy->batch && few->tile == dy->tile));
    if (few && few->packed)
        x = &few->tiles;
    RW_ASSERT(!x || (rw_is_tiles(x) && x->batch == dy->batch && x->tile == dy->tile));
    size_t size = rw_dtype_size(k->dtype);
    int32_t n = x ? x->n : few->n;
    *a = (rw_gradient_rows){ .k = k, .x = x, .few = few, .dy = dy };
    a->n_panels = (int32_t)(((int64_t)n + k->panel - 1) / k->panel);
    a->pitch = (size_t)a->n_panels * (size_t)k->panel;
    if (!rw_mul_size((size_t)k->panel * size, (size_t)dy->batch, &a->panel_bytes)
        || !rw_mul_size(a->pitch, size, &a->row_bytes))
        return RW_ENOMEM;
    if (x)
        a->panels = rw_alloc_array((size_t)a->n_panels, a->panel_bytes);
    if (few && few->zero)
        a->sums = rw_alloc_array((size_t)dy->rows, size);
    rw_status st = (x && !a->panels) || (few && few->zero && !a->sums) ? RW_ENOMEM : RW_OK;
    if (!st && a->sums)
        st = rw_bias_gradient(k, dy, a->sums, false, run);
    if (!st && x)
        st = rw_run_tasks(run, a->n_panels, (int64_t)a->pitch * x->batch, pack_panel_task, a);
    if (st)
        rw_gradient_rows_end(a);
    return st;
}

void rw_gradient_rows_end(rw_gradient_rows *a)
{
    rw_free(a->panels, (size_t)a->n_panels * a->panel_bytes);
    rw_free(a->sums, a->dy ? (size_t)a->dy->rows * rw_dtype_size(a->k->dtype) : 0);
    a->panels = a->sums = NULL;
}

/* One row from lists. */
static void make_few(const rw_gradient_rows *a, int32_t row, char *grad)
{
    const rw_tiles *dy = a->dy;
    size_t line = (size_t)dy->tile * rw_dtype_size(dy->dtype);
    double outs[RW_SPAN]; /* or floats */
    memset(grad, 0, a->row_bytes);
    for (int64_t p = 0; p < a->few->n_parts; p++) {
        const rw_nonzero_part *part = rw_nonzeros_part(a->few, p);
        rw_nonzero_span span = rw_nonzeros_span(a->few, a->k, p);
        for (int64_t t = 0; t < part->samples / dy->tile; t++)
            memcpy((char *)outs + (size_t)t * line,
                   rw_tile_at(dy, part->sample / dy->tile + t) + (size_t)row * line, line);
        a->k->nonzero_outer(&span, rw_nonzeros_sources(a->few, p), part->n_sources, outs, grad);
    }
}

#define ADD_ZERO(T)                                                                             \
    do {                                                                                        \
        const T *zero = a->few->zero;                                                           \
        T sum = ((const T *)(const void *)a->sums)[row], *to = (T *)(void *)grad;               \
        for (int32_t j = 0; j < a->few->n; j++)                                                 \
            to[j] += zero[j] * sum;                                                             \
    } while (0)

static void add_zero(const rw_gradient_rows *a, int32_t row, char *grad)
{
    if (a->k->dtype == RW_F32)
        ADD_ZERO(float);
    else
        ADD_ZERO(double);
}

void rw_gradient_rows_make(const rw_gradient_rows *a, int32_t first_row, int32_t rows, char *grad)
{
    RW_ASSERT(first_row >= 0 && rows >= 1 && first_row + rows <= a->dy->rows);
    const rw_tiles *dy = a->dy;
    const char *from = dy->data + (size_t)first_row * (size_t)dy->tile * rw_dtype_size(dy->dtype);
    if (a->x)
        a->k->outer(a->panels, a->n_panels, from, (size_t)dy->rows * (size_t)dy->tile, dy->tile,
                    dy->batch, rows, grad, a->pitch);
    for (int32_t r = 0; a->few && r < rows; r++) {
        char *mine = grad + (size_t)r * a->row_bytes;
        if (!a->x)
            make_few(a, first_row + r, mine);
        if (a->sums)
            add_zero(a, first_row + r, mine);
    }
}

/* `step` is a constant where that makes the loops vector loops. */
#define SCORE_PLACES(type, step)                                                                 \
    do {                                                                                  \
        const type *g = (const type *)(const void *)grad;                                 \
        for (int32_t i = 0; i < n; i++)                                                   \
            score[i] = fabs((double)g[i * (step)]);                                       \
        for (int32_t r = 1; r < rows; r++) {                                              \
            g += a->pitch;                                                                \
            for (int32_t i = 0; i < n; i++)                                               \
                score[i] += fabs((double)g[i * (step)]);                                  \
        }                                                                                 \
        for (int32_t i = 0; i < n; i++)                                                   \
            score[i] = score[i] <= DBL_MAX ? score[i] : 0;                                \
    } while (0)

void rw_gradient_rows_score(const rw_gradient_rows *a, const char *grad, int32_t n, int32_t step,
                            int32_t rows, double *score)
{
    RW_ASSERT(n >= 0 && step >= 1 && rows >= 1);
    if (a->k->dtype == RW_F64)
        SCORE_PLACES(double, step);
    else if (step == 1)
        SCORE_PLACES(float, 1);
    else
        SCORE_PLACES(float, step);
}

int32_t rw_gradient_rows_at_least(const rw_gradient_rows *a, const char *grad, int32_t n,
                                  int32_t rows, double threshold, double *score, int32_t *high)
{
    RW_ASSERT(n >= 0 && n <= RW_SCAN_VALUES && rows >= 1);
    int32_t n_high = 0;
    if (rows == 1 && threshold > 0) { /* a score is one |gradient|: the scan needs no scores */
        n_high = a->k->at_least(grad, n, threshold, high);
        for (int32_t i = 0; i < n_high; i++) {
            const char *one = grad + (size_t)high[i] * rw_dtype_size(a->k->dtype);
            rw_gradient_rows_score(a, one, 1, 1, 1, &score[high[i]]);
        }
        return n_high;
    }
    rw_gradient_rows_score(a, grad, n, 1, rows, score);
    for (int32_t i = 0; i < n; i++) { /* each is written, and overwritten unless it is kept */
        high[n_high] = i;
        n_high += score[i] >= threshold;
    }
    return n_high;
}
