/* nonzeros.h -- a batch of inputs of which few are not zero: text, clicks, genes, one-hot codes.
 *
 * Rows of a CSR matrix, turned over: in each span of samples (RW_SPAN, the span of weight
 * gradients) the sources that have any value are numbered in ascending order, and each has its
 * samples and values side by side. A source with many is a row of all samples, zeros included:
 *
 *      source   ...  |  4  |  9  |  17 |      of a span, ascending
 *      first    ...  |  0  |  2  |  2  |  3   values of each; none where there is a row
 *      sample   ...  |  3    40  |  8  |
 *      value    ...  | .5    1.2 | 2.  |
 *      full     ...  | -1  |  0  | -1  |      row 0 of `rows` is that of source 9
 *
 * A layer of n_out x n_in links then looks at the slots alone whose source has a value: those that
 * the batch REACHES, by group. They are found through the mirror where the store has a valid one, in
 * time that follows their number, else by a look at the source of every slot: the same list.
 *
 * MEANS. Standardised inputs are (x - mean) * scale, and no zero stays one. So zeros are left out as
 * long as they are near: an input is `value + zero[source]`, where zero = -mean * scale is that of
 * a feature that is 0, and value = x * scale. The layer adds W zero to its biases, and
 * zero[j] times the sum of dy to dW, both in O(links). Sums stay as exact as with inputs that
 * were centred first while |zero| is small; where it is more than 1, the caller says so: such a WHOLE
 * source is stored in most rows anyway, and is centred as it is listed: it has a row and no `zero`.
 *
 * A batch with many values is packed into tiles instead, values as above: same bits, see
 * nonzero_layer.h. Which of the two it is, is a matter of cost alone.
 *
 * Memory grows with what is loaded and is used again; it is the only thing in ops/ that allocates. */
#ifndef RW_NONZEROS_H
#define RW_NONZEROS_H

#include "base/par.h"
#include "ops/tiles.h"

/* Rows of a CSR matrix, as rw_tiles_pack_csr takes them, but that columns ascend strictly in a
 * row. Arrays of n float64, or NULL: value v of source j is taken as (v - shift[j]) * scale[j].
 * `whole` names, ascending, the sources whose shift is not 0. */
typedef struct {
    rw_dtype kind; /* of the values: RW_F32 or RW_F64 */
    const int64_t *indptr;
    const int32_t *columns;
    const char *values;
    int64_t entries;     /* that columns and values have */
    const int64_t *rows; /* batch of them, or NULL: the first ones */
    const double *shift, *scale;
    const int32_t *whole;
    int32_t n_whole;
} rw_csr_input;

/* Memory that grows. */
typedef struct {
    void *data;
    size_t bytes;
} rw_room;

/* A span, and where its parts begin. */
typedef struct {
    int64_t sample;  /* the first of the batch         */
    int64_t sources; /* in `source` and `full`         */
    int64_t first;   /* in `first`: one more a span    */
    int64_t rows;    /* values, in `rows`              */
    int32_t n_sources, samples;
} rw_nonzero_part;

typedef struct {
    int32_t n, tile;
    int64_t batch, n_tiles; /* 0: nothing is loaded */
    rw_dtype dtype;
    const void *zero;       /* n values of the dtype, or NULL: all 0; the caller keeps them */
    int64_t values;         /* how many there are, those of rows included */

    /* Of the rows as they were lent: those of sample b are column[begin[b]] to that before begin[b + 1],
     * and their values follow each other from entry[b] on. */
    rw_room begin, entry, column;

    bool packed;            /* in `tiles`, else in lists */
    rw_tiles tiles;
    int64_t n_parts;        /* spans */
    rw_room part, source, first, full, sample, value, rows, cursor, packing;

    int32_t *seen;          /* n: 0 between calls */
    uint64_t *seen_bits;    /* n bits: 0 between calls */

    /* The slots of one store that are reached: those of group g in span p are
     * reached[from[p * (n_groups + 1) + g]] to that before the next one. */
    int64_t n_reached, most_groups;
    rw_room from, reached, entries, begins, counts;
    rw_room work;           /* of each thread: `work_values` values */
    int64_t work_values;
    rw_room folded;         /* n_out values, padded, of a layer: biases, then sums of dy */
} rw_nonzeros;

/* Room for batches of n sources; nothing is loaded. NULL when there is no memory or a number is
 * out of range. `dtype` is RW_F32 or RW_F64. */
rw_nonzeros *rw_nonzeros_new(int64_t n, rw_dtype dtype);
void rw_nonzeros_free(rw_nonzeros *x);
/* Bytes held. */
size_t rw_nonzeros_bytes(const rw_nonzeros *x);

/* Load `batch` rows, in lists where there is at most one value for `part` inputs, else in tiles; with a
 * part of 0 where that pays, by tuning.h. `zero`: see above. RW_ERANGE: a row or column lies outside;
 * RW_ESHAPE: the columns of a row do not ascend, or a number is out of range; RW_ENOMEM. Then nothing
 * is loaded. */
rw_status rw_nonzeros_load(rw_nonzeros *x, const rw_kernels *k, const rw_csr_input *in,
                           int64_t batch, int32_t tile, int64_t part, const void *zero,
                           int threads);

/* Find what the batch reaches of a store, and take memory for products with it on `threads` threads.
 * It holds until the structure changes or another batch is loaded. RW_ESHAPE, RW_ENOMEM: nothing is
 * reached then. */
rw_status rw_nonzeros_reach(rw_nonzeros *x, const rw_store *s, int threads);

/* The inputs as an array (batch, n), contiguous, `zero` added. */
void rw_nonzeros_unpack(const rw_nonzeros *x, void *out);

/* Is every value finite? */
bool rw_nonzeros_finite(const rw_nonzeros *x);

/* What kernels are told of span p. */
rw_nonzero_span rw_nonzeros_span(const rw_nonzeros *x, const rw_kernels *k, int64_t p);

static inline const rw_nonzero_part *rw_nonzeros_part(const rw_nonzeros *x, int64_t p)
{
    RW_ASSERT(!x->packed && p >= 0 && p < x->n_parts);
    return (const rw_nonzero_part *)x->part.data + p;
}

/* The sources of span p that have values. */
static inline const int32_t *rw_nonzeros_sources(const rw_nonzeros *x, int64_t p)
{
    return (const int32_t *)x->source.data + rw_nonzeros_part(x, p)->sources;
}

/* The slots of group g that span p reaches, of a store of n_groups. */
static inline const void *rw_nonzeros_reached(const rw_nonzeros *x, int64_t p, int32_t g,
                                              int32_t n_groups, int64_t *n)
{
    const int64_t *from = (const int64_t *)x->from.data + p * ((int64_t)n_groups + 1) + g;
    *n = from[1] - from[0];
    if (x->dtype == RW_F32)
        return (const rw_reached_f32 *)x->reached.data + from[0];
    return (const rw_reached_f64 *)x->reached.data + from[0];
}

#endif
