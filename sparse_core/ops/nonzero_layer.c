#include "ops/nonzero_layer.h"

#include "ops/tasks.h"

#include <string.h>

/* --- shapes --------------------------------------------------------------------- */

bool rw_nonzero_fits(const rw_kernels *k, const rw_store *s, const rw_nonzeros *x,
                     const rw_tiles *out)
{
    return x->batch > 0 && x->n == s->n_in && out->n == s->n_out && x->batch == out->batch
        && x->tile == out->tile && x->dtype == k->dtype && out->dtype == k->dtype
        && s->field[RW_WEIGHT].dtype == k->dtype && x->most_groups == s->n_groups;
}

int64_t rw_nonzero_work(const rw_store *s, const rw_nonzeros *x)
{
    if (x->packed)
        return rw_layer_work(s, &x->tiles);
    double part = (double)x->values / ((double)x->n * (double)x->batch);
    double values = part * (double)s->slots * s->group * (double)x->batch;
    return (int64_t)((double)RW_COST_NONZERO_VALUE * (values + (double)x->n_reached));
}

/* Values of one thread, which does one task at a time. */
static char *nonzero_work_of(const rw_nonzeros *x)
{
    size_t size = rw_dtype_size(x->dtype);
    return (char *)x->work.data + (size_t)rw_thread_index() * (size_t)x->work_values * size;
}

/* --- biases with W zero ------------------------------------------------------------ */

typedef struct {
    rw_op op;
    const rw_store *s;
    const rw_nonzeros *x;
    const void *bias;
} fold_bias_op;

#define FOLD_BIASES(name, T)                                                                     \
    static void name(const fold_bias_op *f, int32_t g)                                                \
    {                                                                                            \
        const rw_store *s = f->s;                                                                \
        const int32_t *source = s->source + s->start[g];                                         \
        const T *zero = f->x->zero, *bias = f->bias;                                             \
        int32_t width = s->group;                                                                \
        const T *w = (const T *)(const void *)s->field[RW_WEIGHT].data + s->start[g] * width;    \
        T *out = (T *)f->x->folded.data + (int64_t)g * width;                                    \
        for (int32_t r = 0; r < width; r++) {                                                    \
            double sum[RW_SUM_LANES] = { 0 }, all = 0;                                           \
            int32_t k = 0, whole = s->len[g] / RW_SUM_LANES * RW_SUM_LANES;                      \
            for (; k < whole; k += RW_SUM_LANES)                                                 \
                for (int32_t l = 0; l < RW_SUM_LANES; l++)                                       \
                    sum[l] += (double)w[(int64_t)(k + l) * width + r] * (double)zero[source[k + l]];\
            for (; k < s->len[g]; k++)                                                           \
                sum[k - whole] += (double)w[(int64_t)k * width + r] * (double)zero[source[k]];   \
            for (int32_t l = 0; l < RW_SUM_LANES; l++)                                           \
                all += sum[l];                                                                   \
            out[r] = (T)((bias ? (double)bias[(int64_t)g * width + r] : 0.0) + all);             \
        }                                                                                        \
    }
FOLD_BIASES(fold_biases_f32, float)
FOLD_BIASES(fold_biases_f64, double)

static void fold_bias_task(const void *arg, int64_t task)
{
    const fold_bias_op *f = arg;
    rw_part p = rw_op_part(&f->op, task);
    for (int32_t g = p.first; g < p.end; g++)
        if (f->x->dtype == RW_F32)
            fold_biases_f32(f, g);
        else
            fold_biases_f64(f, g);
}

static rw_status fold_biases(const rw_kernels *k, const rw_store *s, const rw_nonzeros *x,
                             const void *bias, const rw_run *run)
{
    int64_t work = RW_COST_UPDATE_VALUE * s->slots * s->group;
    fold_bias_op f = { .op = rw_op_cut(k, run, s->n_groups, 1, work), .s = s, .x = x, .bias = bias };
    rw_status st = rw_run_tasks(run, f.op.blocks, work, fold_bias_task, &f);
    size_t size = rw_dtype_size(x->dtype);
    memset((char *)x->folded.data + (size_t)s->n_out * size, 0, RW_ROW_PAD * size);
    return st;
}

/* --- forward ------------------------------------------------------------------------- */

typedef struct {
    rw_op op;
    const rw_store *s;
    const rw_nonzeros *x;
    const char *bias;
    rw_tiles *y, *z;
    rw_act act;
    double slope;
} nonzero_op;

static void fill_sums(rw_dtype dtype, void *to, const void *value, int32_t n)
{
    if (dtype == RW_F32)
        for (int32_t i = 0; i < n; i++)
            ((float *)to)[i] = value ? *(const float *)value : 0;
    else
        for (int32_t i = 0; i < n; i++)
            ((double *)to)[i] = value ? *(const double *)value : 0;
}

/* Samples of a span in contiguous rows of memory, and in a row of its tiles. */
typedef struct {
    int64_t tile0, tiles;
    size_t row; /* bytes of a tile's row */
} tile_span;

static tile_span tiles_of_part(const rw_nonzeros *x, int64_t p)
{
    const rw_nonzero_part *part = rw_nonzeros_part(x, p);
    return (tile_span){ part->sample / x->tile, part->samples / x->tile,
                       (size_t)x->tile * rw_dtype_size(x->dtype) };
}

static void nonzero_forward_group(const nonzero_op *f, int64_t p, int32_t g)
{
    const rw_store *s = f->s;
    const rw_nonzeros *x = f->x;
    const rw_kernels *k = f->op.k;
    rw_nonzero_span span = rw_nonzeros_span(x, k, p);
    size_t size = rw_dtype_size(x->dtype), row = (size_t)span.samples * size;
    char *sums = nonzero_work_of(x);
    for (int32_t r = 0; r < s->group; r++) {
        size_t at = ((size_t)g * (size_t)s->group + (size_t)r) * size;
        fill_sums(x->dtype, sums + (size_t)r * row, f->bias ? f->bias + at : NULL, span.samples);
    }
    int64_t n;
    const void *at = rw_nonzeros_reached(x, p, g, s->n_groups, &n);
    const char *w = s->field[RW_WEIGHT].data + (size_t)s->start[g] * (size_t)s->group * size;
    k->nonzero_forward(&span, at, n, w, s->group, sums);
    tile_span run = tiles_of_part(x, p);
    for (int32_t r = 0; r < s->group; r++)
        for (int64_t t = 0; t < run.tiles; t++)
            memcpy(rw_tile_row(f->y, run.tile0 + t, g * s->group + r),
                   sums + (size_t)r * row + (size_t)t * run.row, run.row);
}

static void nonzero_forward_task(const void *arg, int64_t task)
{
    const nonzero_op *f = arg;
    const rw_store *s = f->s;
    rw_part p = rw_op_part(&f->op, task);
    int32_t row0 = p.first * s->group;
    int32_t row1 = (int32_t)rw_min64((int64_t)p.end * s->group, s->n_out);
    for (int64_t part = 0; part < f->x->n_parts; part++)
        for (int32_t g = p.first; g < p.end; g++)
            nonzero_forward_group(f, part, g);
    for (int64_t tile = 0; tile < f->y->n_tiles; tile++) {
        f->op.k->activate(f->act, f->slope, rw_tile_row(f->y, tile, row0),
                          f->z ? rw_tile_row(f->z, tile, row0) : NULL, row1 - row0, f->y->tile,
                          rw_tile_live(f->y, tile));
        if (row1 < p.end * s->group) /* rows beyond n_out */
            memset(rw_tile_row(f->y, tile, row1), 0,
                   (size_t)(p.end * s->group - row1) * (size_t)rw_tile_row_bytes(f->y));
    }
}

rw_status rw_nonzero_forward(const rw_kernels *k, const rw_store *s, const rw_nonzeros *x,
                             const void *bias, rw_act act, double slope, rw_tiles *y, rw_tiles *z,
                             const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(y) && (!z || rw_is_tiles(z)) && rw_is_run(run));
    if (!rw_nonzero_fits(k, s, x, y) || (z && !rw_tiles_alike(y, z)))
        return RW_ESHAPE;
    if (x->zero) {
        rw_status st = fold_biases(k, s, x, bias, run);
        if (st)
            return st;
        bias = x->folded.data;
    }
    if (x->packed)
        return rw_forward(k, s, &x->tiles, bias, act, slope, y, z, run);
    int64_t work = rw_nonzero_work(s, x) + y->n * y->batch;
    nonzero_op f = { .op = rw_op_cut(k, run, s->n_groups, 1, work), .s = s, .x = x, .bias = bias,
                     .y = y, .z = z, .act = act, .slope = slope };
    return rw_run_tasks(run, f.op.blocks, work, nonzero_forward_task, &f);
}

/* --- gradients -------------------------------------------------------------------------- */

rw_status rw_nonzero_sum(const rw_kernels *k, const rw_nonzeros *x, const rw_tiles *dy,
                         const rw_run *run)
{
    return x->zero ? rw_bias_gradient(k, dy, x->folded.data, false, run) : RW_OK;
}

void rw_nonzero_gradients(const rw_kernels *k, const rw_store *s, const rw_nonzeros *x,
                          const rw_tiles *dy, int32_t g, char *grad)
{
    if (s->len[g] == 0)
        return;
    size_t size = rw_dtype_size(x->dtype);
    memset(grad, 0, (size_t)s->len[g] * (size_t)s->group * size);
    char *outs = nonzero_work_of(x);
    for (int64_t p = 0; p < x->n_parts; p++) {
        int64_t n;
        const void *at = rw_nonzeros_reached(x, p, g, s->n_groups, &n);
        if (n == 0)
            continue;
        rw_nonzero_span span = rw_nonzeros_span(x, k, p);
        tile_span run = tiles_of_part(x, p);
        for (int32_t r = 0; r < s->group; r++)
            for (int64_t t = 0; t < run.tiles; t++)
                memcpy(outs + ((size_t)r * (size_t)run.tiles + (size_t)t) * run.row,
                       rw_tile_row(dy, run.tile0 + t, g * s->group + r), run.row);
        k->nonzero_dw(&span, at, n, outs, s->group, grad);
    }
}

#define ADD_MEANS(T)                                                                             \
    do {                                                                                         \
        const T *zero = x->zero, *sum = (const T *)x->folded.data + (int64_t)g * width;          \
        T *to = (T *)(void *)grad;                                                               \
        for (int32_t k = 0; k < s->len[g]; k++)                                                  \
            for (int32_t r = 0; r < width; r++)                                                  \
                to[(size_t)k * (size_t)width + (size_t)r] += zero[source[k]] * sum[r];           \
    } while (0)

void rw_nonzero_add_means(const rw_store *s, const rw_nonzeros *x, int32_t g, char *grad)
{
    if (!x->zero)
        return;
    const int32_t *source = s->source + s->start[g];
    int32_t width = s->group;
    if (x->dtype == RW_F32)
        ADD_MEANS(float);
    else
        ADD_MEANS(double);
}
