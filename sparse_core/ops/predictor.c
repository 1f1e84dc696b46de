#include "ops/predictor.h"

#include "base/par.h"
#include "base/tuning.h"
#include "ops/layer.h"
#include "ops/loss.h"

#include <string.h>

typedef struct {
    int32_t n_in, n_out;
    int32_t pitch;         /* n_out rounded up to RW_MATRIX_PAD: rows that one sample computes */
    rw_act act;
    double slope;
    const rw_store *s;     /* or NULL: of a matrix                                            */
    void *bias;            /* pitch values, zeros behind n_out                                */
    rw_by_source links;    /* links.weight is NULL where there is no such copy                */
    void *matrix;          /* n_in * pitch values, or NULL                                    */
    size_t bias_bytes, start_bytes, row_bytes, weight_bytes, matrix_bytes;
} frozen_layer;

struct rw_predictor {
    rw_dtype dtype;
    int32_t n_in;
    frozen_layer *layer;
    int32_t n;
    bool softmax, batches;
};

/* --- making ---------------------------------------------------------------------- */

rw_predictor *rw_predictor_new(rw_dtype dtype, int64_t n_in)
{
    if (n_in < 1 || n_in > RW_MAX_WIDTH || (dtype != RW_F32 && dtype != RW_F64))
        return NULL;
    rw_predictor *p = rw_calloc(sizeof *p);
    if (p)
        *p = (rw_predictor){ .dtype = dtype, .n_in = (int32_t)n_in, .batches = true };
    return p;
}

static void free_layer(frozen_layer *l)
{
    rw_free(l->bias, l->bias_bytes);
    rw_free((void *)(uintptr_t)l->links.start, l->start_bytes);
    rw_free((void *)(uintptr_t)l->links.row, l->row_bytes);
    rw_free((void *)(uintptr_t)l->links.weight, l->weight_bytes);
    rw_free(l->matrix, l->matrix_bytes);
}

void rw_predictor_free(rw_predictor *p)
{
    if (!p)
        return;
    for (int32_t i = 0; i < p->n; i++)
        free_layer(&p->layer[i]);
    rw_free(p->layer, (size_t)p->n * sizeof *p->layer);
    rw_free(p, sizeof *p);
}

static int32_t layer_width(const rw_predictor *p)
{
    return p->n ? p->layer[p->n - 1].n_out : p->n_in;
}

/* count * size bytes, zeroed; their number too. */
static void *hold(size_t count, size_t size, size_t *bytes)
{
    if (!rw_mul_size(count ? count : 1, size, bytes))
        return NULL;
    void *found = rw_calloc(*bytes);
    if (!found)
        *bytes = 0;
    return found;
}

static bool hold_bias(frozen_layer *l, const void *bias, size_t size)
{
    l->bias = hold((size_t)l->pitch, size, &l->bias_bytes);
    if (l->bias && bias)
        memcpy(l->bias, bias, (size_t)l->n_out * size);
    return l->bias != NULL;
}

/* Append, or free what the layer holds. */
static rw_status append(rw_predictor *p, frozen_layer *l)
{
    size_t had = (size_t)p->n * sizeof *l, bytes;
    frozen_layer *more = NULL;
    if (p->n < INT32_MAX && rw_add_size(had, sizeof *l, &bytes))
        more = rw_resize(p->layer, had, bytes);
    if (!more) {
        free_layer(l);
        return RW_ENOMEM;
    }
    p->layer = more;
    p->layer[p->n++] = *l;
    p->batches = p->batches && l->s;
    return RW_OK;
}

static int32_t padded_rows(int64_t n_out)
{
    return (int32_t)((n_out + RW_MATRIX_PAD - 1) / RW_MATRIX_PAD * RW_MATRIX_PAD);
}

/* Slots by source, groups ascending: a counting sort. */
static bool copy_links(frozen_layer *l, size_t size)
{
    const rw_store *s = l->s;
    size_t width = (size_t)s->group * size;
    int64_t *start = hold((size_t)l->n_in + 1, sizeof *start, &l->start_bytes);
    l->links.start = start;
    int32_t *row = hold((size_t)s->slots, sizeof *row, &l->row_bytes);
    l->links.row = row;
    char *weight = hold((size_t)s->slots, width, &l->weight_bytes);
    l->links.weight = weight;
    if (!start || !row || !weight)
        return false;
    l->links.group = s->group;
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int32_t k = 0; k < s->len[g]; k++)
            start[s->source[s->start[g] + k]]++;
    int64_t before = 0;
    for (int32_t j = 0; j <= l->n_in; j++) { /* from numbers to where each source begins */
        int64_t here = start[j];
        start[j] = before;
        before += here;
    }
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int32_t k = 0; k < s->len[g]; k++) {
            int64_t at = s->start[g] + k, to = start[s->source[at]]++;
            row[to] = g * s->group;
            memcpy(weight + (size_t)to * width, s->field[RW_WEIGHT].data + (size_t)at * width,
                   width);
        }
    for (int32_t j = l->n_in; j > 0; j--) /* each is now where the next one begins */
        start[j] = start[j - 1];
    start[0] = 0;
    return true;
}

/* A store's weights as a matrix by source. */
static bool copy_matrix(frozen_layer *l, size_t size)
{
    const rw_store *s = l->s;
    size_t values;
    if (!rw_mul_size((size_t)l->n_in, (size_t)l->pitch, &values))
        return false;
    size_t width = (size_t)s->group * size;
    char *matrix = l->matrix = hold(values, size, &l->matrix_bytes);
    if (!matrix)
        return false;
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int32_t k = 0; k < s->len[g]; k++) {
            int64_t at = s->start[g] + k;
            size_t to = (size_t)s->source[at] * (size_t)l->pitch + (size_t)g * (size_t)s->group;
            memcpy(matrix + to * size, s->field[RW_WEIGHT].data + (size_t)at * width, width);
        }
    return true;
}

/* Does a matrix pay for one sample? A slot by rows takes as long as some of its values, whatever
 * the group. */
static bool matrix_pays(const frozen_layer *l, size_t size)
{
    double values = (double)l->n_in * l->pitch, bytes = values * (double)size;
    int beside = bytes <= RW_MATRIX_NEAR ? RW_MATRIX_NEAR_VALUES : RW_MATRIX_VALUES;
    return bytes <= RW_MATRIX_MOST && values <= (double)l->s->slots * beside;
}

/* Does a copy by source? */
static bool source_pays(const frozen_layer *l)
{
    return l->s->slots >= (int64_t)l->n_in * RW_SOURCE_SLOTS;
}

rw_status rw_predictor_add_store(rw_predictor *p, const rw_store *s, const void *bias, rw_act act,
                                 double slope, bool zeros)
{
    if (s->n_in != layer_width(p) || s->field[RW_WEIGHT].dtype != p->dtype)
        return RW_ESHAPE;
    size_t size = rw_dtype_size(p->dtype);
    frozen_layer l = { .n_in = s->n_in, .n_out = s->n_out, .pitch = padded_rows(s->n_out),
                       .act = act, .slope = slope, .s = s };
    bool done = hold_bias(&l, bias, size);
    if (done && matrix_pays(&l, size))
        done = copy_matrix(&l, size);
    else if (done && zeros && source_pays(&l))
        done = copy_links(&l, size);
    if (!done) {
        free_layer(&l);
        return RW_ENOMEM;
    }
    return append(p, &l);
}

/* All weights, (n_out, n_in), by source: in squares, so that what is read and what is written stay in
 * the nearest cache. */
#define BY_SOURCE(name, T)                                                               \
    static void name(const frozen_layer *l, const void *weights)                         \
    {                                                                                    \
        enum { SIDE = 16 };                                                              \
        const T *from = weights;                                                         \
        T *to = l->matrix;                                                               \
        for (int32_t i0 = 0; i0 < l->n_out; i0 += SIDE)                                  \
            for (int32_t j0 = 0; j0 < l->n_in; j0 += SIDE) {                             \
                int64_t i1 = rw_min64(i0 + SIDE, l->n_out);                              \
                int64_t j1 = rw_min64(j0 + SIDE, l->n_in);                               \
                for (int64_t j = j0; j < j1; j++)                                        \
                    for (int64_t i = i0; i < i1; i++)                                    \
                        to[j * l->pitch + i] = from[i * l->n_in + j];                    \
            }                                                                            \
    }
BY_SOURCE(by_source_f32, float)
BY_SOURCE(by_source_f64, double)

rw_status rw_predictor_add_matrix(rw_predictor *p, int64_t n_out, const void *weights,
                                  const void *bias, rw_act act, double slope)
{
    if (n_out < 1 || n_out > RW_MAX_WIDTH)
        return RW_ESHAPE;
    size_t size = rw_dtype_size(p->dtype), values;
    frozen_layer l = { .n_in = layer_width(p), .n_out = (int32_t)n_out, .pitch = padded_rows(n_out),
                       .act = act, .slope = slope };
    bool done = hold_bias(&l, bias, size) && rw_mul_size((size_t)l.n_in, (size_t)l.pitch, &values);
    if (done)
        l.matrix = hold(values, size, &l.matrix_bytes);
    if (!l.matrix) {
        free_layer(&l);
        return RW_ENOMEM;
    }
    if (p->dtype == RW_F32)
        by_source_f32(&l, weights);
    else
        by_source_f64(&l, weights);
    return append(p, &l);
}

void rw_predictor_softmax(rw_predictor *p, bool softmax) { p->softmax = softmax; }

/* --- telling --------------------------------------------------------------------- */

int64_t rw_predictor_most(const rw_predictor *p) { return p->batches ? INT32_MAX : 1; }

int32_t rw_predictor_outputs(const rw_predictor *p) { return layer_width(p); }

size_t rw_predictor_bytes(const rw_predictor *p)
{
    size_t all = sizeof *p + (size_t)p->n * sizeof *p->layer;
    for (int32_t i = 0; i < p->n; i++) {
        const frozen_layer *l = &p->layer[i];
        all += l->bias_bytes + l->start_bytes + l->row_bytes + l->weight_bytes + l->matrix_bytes;
    }
    return all;
}

int rw_predictor_way(const rw_predictor *p, int32_t i)
{
    if (i < 0 || i >= p->n)
        return -1;
    return p->layer[i].matrix ? 2 : p->layer[i].links.weight ? 1 : 0;
}

/* --- scratch ----------------------------------------------------------------------- */

/* Two tiles of the widest layer, between which activations go to and fro; the sources that are not
 * zero; and what softmax works in. */
typedef struct {
    size_t tiles, sources, softmax, all;
} scratch_cut;

static bool aligned_bytes(size_t count, size_t size, size_t *bytes)
{
    if (!rw_mul_size(count, size, bytes) || !rw_add_size(*bytes, RW_ALIGNMENT - 1, bytes))
        return false;
    *bytes -= *bytes % RW_ALIGNMENT;
    return true;
}

static bool cut_scratch(const rw_predictor *p, int64_t batch, scratch_cut *cut)
{
    if (batch < 1 || batch > rw_predictor_most(p) || p->n < 1)
        return false;
    int32_t tile = rw_tile_size(batch, p->dtype), widest = padded_rows(p->n_in);
    for (int32_t i = 0; i < p->n; i++)
        widest = (int32_t)rw_max64(widest, p->layer[i].pitch);
    size_t bytes = rw_tiles_bytes(widest, batch, tile, p->dtype);
    if (!bytes)
        return false;
    int32_t n = layer_width(p);
    rw_tiles last = { .n = n, .rows = (n + RW_ROW_PAD - 1) / RW_ROW_PAD * RW_ROW_PAD, .tile = tile,
                      .batch = batch, .n_tiles = (batch + tile - 1) / tile, .dtype = p->dtype,
                      .bytes = bytes }; /* as the last layer's will be; nothing is read there */
    *cut = (scratch_cut){ 0 };
    return aligned_bytes(bytes, 1, &cut->tiles)
        && aligned_bytes((size_t)widest, sizeof(int32_t), &cut->sources)
        && aligned_bytes(p->softmax ? rw_loss_scratch(&last) : 0, sizeof(double), &cut->softmax)
        && rw_mul_size(cut->tiles, 2, &cut->all) && rw_add_size(cut->all, cut->sources, &cut->all)
        && rw_add_size(cut->all, cut->softmax, &cut->all);
}

size_t rw_predictor_scratch(const rw_predictor *p, int64_t batch)
{
    scratch_cut cut;
    return cut_scratch(p, batch, &cut) ? cut.all : 0;
}

/* --- one sample -------------------------------------------------------------------- */

/* Which values are not zero, ascending: every place is written, some are kept. */
#define NOT_ZERO(name, T)                                                    \
    static int32_t name(const void *values, int32_t n, int32_t *at)         \
    {                                                                       \
        const T *x = values;                                                \
        int32_t found = 0;                                                  \
        for (int32_t i = 0; i < n; i++) {                                   \
            at[found] = i;                                                  \
            found += x[i] != 0;                                             \
        }                                                                   \
        return found;                                                       \
    }
NOT_ZERO(not_zero_f32, float)
NOT_ZERO(not_zero_f64, double)

/* By source, or by matrix. */
static void one_layer(const rw_kernels *k, const frozen_layer *l, const rw_tiles *x, rw_tiles *y,
                      const int32_t *at, int32_t n)
{
    uint64_t mode = rw_tiny_is_zero();
    memcpy(y->data, l->bias, (size_t)l->pitch * rw_dtype_size(y->dtype));
    if (l->matrix)
        k->matrix_by_source(l->matrix, l->pitch, at, n, x->data, y->data);
    else
        k->links_by_source(&l->links, at, n, x->data, y->data);
    k->activate(l->act, l->slope, y->data, NULL, l->n_out, 1, 1);
    rw_tiny_restore(mode);
}

/* Do so many sources out of all make it quicker to take the layer by source than by rows? */
static bool few_enough(const frozen_layer *l, int32_t n, const rw_run *run)
{
    int threads = rw_threads_for(run->threads, l->s->slots * l->s->group);
    return (int64_t)n * 10 * threads <= (int64_t)l->n_in * RW_SOURCE_TENTHS;
}

static rw_status one_step(const rw_kernels *k, const frozen_layer *l, const rw_tiles *x,
                          rw_tiles *y, int32_t *at, const rw_run *run)
{
    if (l->matrix || l->links.weight) {
        int32_t n = x->dtype == RW_F32 ? not_zero_f32(x->data, l->n_in, at)
                                       : not_zero_f64(x->data, l->n_in, at);
        if (l->matrix || few_enough(l, n, run)) {
            one_layer(k, l, x, y, at, n);
            return RW_OK;
        }
    }
    return rw_forward(k, l->s, x, l->bias, l->act, l->slope, y, NULL, run);
}

/* --- any number -------------------------------------------------------------------- */

rw_status rw_predictor_run(const rw_kernels *k, const rw_predictor *p, const rw_user_rows *in,
                           int64_t batch, char *out, ptrdiff_t row_stride, ptrdiff_t column_stride,
                           void *scratch, size_t bytes, rw_numbers *found, const rw_run *run)
{
    RW_ASSERT(rw_is_run(run) && (!in->mean == !in->scale));
    scratch_cut cut;
    if (k->dtype != p->dtype || !cut_scratch(p, batch, &cut) || bytes < cut.all
        || !rw_is_aligned(scratch))
        return RW_ESHAPE;
    char *at = scratch;
    int32_t tile = rw_tile_size(batch, p->dtype);
    rw_tiles turn[2];
    rw_status st = rw_tiles_over(&turn[0], p->n_in, batch, tile, p->dtype, at, cut.tiles);
    if (st != RW_OK)
        return st;
    int32_t *sources = (int32_t *)(void *)(at + 2 * cut.tiles);
    double *softmax = (double *)(void *)(at + 2 * cut.tiles + cut.sources);
    int threads = batch == 1 ? 1 : run->threads;
    *found = RW_NUMBERS_FINE;
    rw_tiles_clear_padding(&turn[0]);
    rw_tiles_pack(k, &turn[0], in, threads);
    if (!rw_tiles_finite(&turn[0], threads)) {
        *found = RW_NUMBERS_IN;
        return RW_OK;
    }
    for (int32_t i = 0; i < p->n; i++) {
        const frozen_layer *l = &p->layer[i];
        rw_tiles *x = &turn[i % 2], *y = &turn[(i + 1) % 2];
        st = rw_tiles_over(y, l->n_out, batch, tile, p->dtype,
                           at + (size_t)((i + 1) % 2) * cut.tiles, cut.tiles);
        if (st == RW_OK)
            st = batch == 1 ? one_step(k, l, x, y, sources, run)
                            : rw_forward(k, l->s, x, l->bias, l->act, l->slope, y, NULL, run);
        if (st != RW_OK)
            return st;
    }
    rw_tiles *y = &turn[p->n % 2];
    if (p->softmax && (st = rw_softmax(k, y, softmax, run)) != RW_OK)
        return st;
    if (!rw_tiles_finite(y, threads))
        *found = RW_NUMBERS_OUT;
    else
        rw_tiles_unpack(k, y, out, row_stride, column_stride, threads);
    return RW_OK;
}
