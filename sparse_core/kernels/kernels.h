/* kernels.h -- the contract of every vector kernel; siblings keep it per
 * instruction set and precision.
 *
 * CANONICAL ORDER. The sum of one (row, sample) starts from the bias and adds
 * slots in order into one accumulator, w * x + acc with one rounding (fused)
 * where the instruction set has it. The sum of one (source, sample) in a
 * backward product adds rows in ascending order, the same way. So a sample's
 * result does not depend on its neighbours in the batch, on the tile, on
 * threads, on the mirror, or on how links were stored; within one instruction
 * set results are the same bits, and forward and dX also across all sets that
 * fuse (every one but scalar). Across instruction sets the rest agrees to
 *
 *      |result - exact| <= (k + 2) * eps * sum |w| * |x|       (k links)
 *
 * A weight gradient is a sum over samples: lane l of the accumulator takes
 * samples l, l + lanes, ... of a span of tiles in order, lanes are then added in
 * halves (l and l + lanes/2, and so on: a fixed tree), and spans in order. Lanes
 * are those of the widest register that a tile fills; a span is RW_SPAN samples (order.h).
 * Where all places have their gradient taken (outer), one sum takes samples in order.
 *
 * `cols` is how many samples of a tile to compute, and `rest` of the tile behind it: multiples of the
 * lanes, or for forward and dX of rw_kernels.step, that cover the live ones (the rest of a tile is zero on
 * input; outputs past them are not written). When tile < lanes the kernels use narrower
 * registers, in the same canonical order.
 *
 * Tasks take subnormal numbers (below 1e-38 in float32) for zero, and par.h says why:
 * a kernel called outside of one differs from that by such numbers.
 *
 * Kernels never allocate, never start threads and cannot fail. All tables are
 * const. Outputs do not alias inputs unless said. */
#ifndef RW_KERNELS_H
#define RW_KERNELS_H

#include "base/rng.h"
#include "kernels/kernels_tuning.h"
#include "store/store.h"

/* What a kernel may know of a store. */
typedef struct {
    const int64_t *start;
    const int32_t *len;
    const int32_t *source;
    const void *weight;
    int32_t group;
    int64_t room;  /* slots that have memory: sources before it may be read */
} rw_rows;

/* Which slots a product takes: of every group those whose source lies below
 * `end`, from where the panel before stopped. Panels of ascending sources keep
 * what is read again and again (x, dx) in a near cache, and add the same terms
 * in the same order as one pass over whole rows. */
typedef struct {
    int32_t *at;  /* by group of the call: the first slot to take; then the first not taken */
    int32_t end;
    bool more;     /* not the first panel: outputs hold the sums of those before */
    bool far;      /* activations lie beyond the near caches: fetch them ahead   */
    bool all;      /* from `at` on, every slot's source lies below `end`         */
    int32_t slots; /* of a row, to fetch ahead: what a panel takes, or 0 for none */
} rw_panel;

/* What a product goes through: samples of a tile, and of the one behind it, which would be too few to
 * keep a processor busy. `in` and `out` begin with the tile's first value. */
typedef struct {
    const void *in;
    void *out;
    size_t in_step, out_step; /* values from a tile to the one behind it */
    int32_t tile, cols;
    int32_t rest;             /* samples of the tile behind, in whole registers and at most as many
                                 as the kernels take (rw_kernels.rest), or 0; else the tile is full */
} rw_strip;

/* Tiles of a span, for weight gradients: tile i of x begins i * x_step values
 * after x (dy likewise). */
typedef struct {
    const void *x, *dy;
    size_t x_step, dy_step;
    int32_t n_tiles, tile;
    int32_t cols;  /* of the last tile; the others are computed whole */
    bool add;      /* to the gradients of the spans before */
} rw_span;

/* Inputs of a span of samples of which few are not zero (nonzeros.h), by the sources that have any,
 * which are numbered in ascending order. */
typedef struct {
    const int64_t *first;  /* source i has values [first[i], first[i + 1]) of the two arrays below, */
    const int32_t *sample; /* their samples ascending, counted from the span's first,               */
    const void *value;
    const int32_t *full;   /* or, where this is not -1, this one of the rows below                  */
    const void *rows;      /* of `samples` values each, zeros included                              */
    int32_t samples;       /* of the span, in whole tiles                                           */
    int32_t lanes;         /* of the accumulators of a weight gradient                              */
} rw_nonzero_span;

/* A slot of a group, by its position, that reads a source with values in a span: the only value and its
 * sample, or, where `sample` is less than 0, the source's number as -1 - number. */
typedef struct {
    int32_t slot, sample;
    float value;
} rw_reached_f32;
typedef struct {
    int32_t slot, sample;
    double value;
} rw_reached_f64;

/* Links by source (predictor.h): those of source j are the slots [start[j], start[j + 1]), groups
 * ascending. A slot has a weight for each row of its group, whose first row is row[slot]. */
typedef struct {
    const int64_t *start;
    const int32_t *row;
    const void *weight;
    int32_t group;
} rw_by_source;

enum { RW_MATRIX_PAD = 16 };   /* rows of a register of the widest set, or two                */
enum { RW_SCAN_VALUES = 128 }; /* values of one call of `at_least`: a bound of its stack */

typedef enum {
    RW_ACT_LINEAR = 0,
    RW_ACT_RELU = 1,
    RW_ACT_LEAKY = 2,    /* z > 0 ? z : slope * z; slope may be negative (All-ReLU's odd layers) */
    RW_ACT_SIGMOID = 3,
    RW_ACT_TANH = 4,
    RW_ACT_THRESHOLDED = 5, /* z > slope ? z : 0; here `slope` is the threshold, >= 0 */
    RW_ACT_GELU = 6,        /* z P(z), P of the standard normal distribution          */
    RW_ACT_GELU_TANH = 7,   /* z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2      */
    RW_ACT_SILU = 8         /* z / (1 + exp(-z))                                      */
} rw_act;

/* Losses of an output z (logits, but for MSE and HUBER) and its target t. */
typedef enum {
    RW_LOSS_SOFTMAX_CE = 0,   /* -sum_i t_i log softmax(z)_i: of all outputs of a sample          */
    RW_LOSS_SIGMOID_BCE = 1,  /* binary cross entropy of sigmoid(z); t in [0, 1]                  */
    RW_LOSS_MSE = 2,          /* (z - t)^2                                                        */
    RW_LOSS_HUBER = 3,        /* (z - t)^2 / 2, beyond delta the tangent: delta (|z - t| - delta/2) */
    RW_LOSS_POISSON = 4,      /* exp(z) - t z: z is the logarithm of the rate                     */
    RW_LOSS_SQUARED_HINGE = 5 /* max(0, 1 - s z)^2 with s = 2 t - 1; t is 0 or 1                  */
} rw_loss;

/* What R2 is made of (r2.h), output by output. */
enum {
    RW_R2_ERROR, RW_R2_MEAN, RW_R2_DEVIATIONS, RW_R2_LOW, RW_R2_HIGH, RW_R2_LARGEST,
    RW_R2_QUANTITIES
};

/* The optimizers. `g` below is the gradient after the decay convention:
 *   L2:         g += decay * w           (part of the gradient, as in torch)
 *   DECOUPLED:  w -= lr * decay * w      (as in AdamW)
 *   PER_STEP:   w -= decay * w           (as in SET's code: not scaled by lr)
 * the latter two with w before the step.
 *   SGD:        m = momentum * m + g;  w -= lr * (nesterov ? g + momentum * m : m)
 *               (torch's form; without momentum w -= lr * g and there is no m)
 *   ADAM:       m = b1 * m + (1 - b1) * g;  v = b2 * v + (1 - b2) * g * g;
 *               w -= lr * (m / c1) / (sqrt(v / c2) + eps)
 * where c1 = 1 - b1^t, c2 = 1 - b2^t and t is the slot's own age: steps since it
 * was born, this one included (t = step - born + 1; t = step where born is NULL).
 *
 * A line each: the constant, the kernel (step_sgd in kernels_step.h) and name, and how many
 * values it keeps beside a weight, of which m is the first and v the second. */
#define RW_OPTIMIZERS(LINE)          \
    LINE(SGD, sgd, u->momentum != 0) \
    LINE(ADAM, adam, 2)

#define RW_OPT_CONSTANT(CONSTANT, name, keeps) RW_OPT_##CONSTANT,
typedef enum { RW_OPTIMIZERS(RW_OPT_CONSTANT) RW_OPT_COUNT } rw_opt;
#undef RW_OPT_CONSTANT
typedef enum { RW_DECAY_L2 = 0, RW_DECAY_DECOUPLED = 1, RW_DECAY_PER_STEP = 2 } rw_decay;

enum { RW_STATE = 2 }; /* values that an optimizer may keep beside a weight */

typedef struct {
    rw_opt kind;
    rw_decay decay_kind;
    /* The fields of a store that a step works on, by name. The core knows none of these names. */
    const char *target;          /* w above: what the step changes; NULL: the weights            */
    const char *state[RW_STATE]; /* m and v, as many as the optimizer keeps                      */
    const char *age;             /* the step each slot was born at (int32); NULL: all at step 1  */
    double lr, decay, momentum;
    bool nesterov;
    double beta1, beta2, eps;
    int64_t step;              /* 1 for the first step; the tables: adam.h     */
    const double *correction1; /* [t] = 1 / (1 - beta1^t) for t < n_correction, */
    const double *correction2; /*       and 1 from there on; [0] unused        */
    int64_t n_correction;
} rw_update;

/* Can the kernels take this step? */
static inline bool rw_is_update(const rw_update *u)
{
    bool tables = u->n_correction == 0 || (u->correction1 && u->correction2);
    return u->kind < RW_OPT_COUNT && u->step >= 1 && tables;
}

/* How many values the step keeps beside a weight: at most RW_STATE. */
static inline int32_t rw_update_keeps(const rw_update *u)
{
#define RW_OPT_KEEPS(CONSTANT, name, keeps) keeps,
    const int32_t all[] = { RW_OPTIMIZERS(RW_OPT_KEEPS) };
#undef RW_OPT_KEEPS
    return all[u->kind];
}

/* "sgd" and so on; NULL for RW_OPT_COUNT. */
static inline const char *rw_opt_name(rw_opt kind)
{
#define RW_OPT_NAME(CONSTANT, name, keeps) #name,
    static const char *const all[] = { RW_OPTIMIZERS(RW_OPT_NAME) NULL };
#undef RW_OPT_NAME
    return all[kind];
}

/* What users hand over: any of these, converted while they are packed. */
typedef enum {
    RW_IN_F32, RW_IN_F64, RW_IN_U8, RW_IN_I8, RW_IN_U16, RW_IN_I16, RW_IN_I32, RW_IN_I64, RW_IN_BOOL
} rw_input;

/* Rows of a (m, n) array with byte strides, at any address. Sample b is row rows[b], or b when rows
 * is NULL. With `mean` and `scale` (n float64 each, or both NULL) value v becomes (v - mean) * scale. */
typedef struct {
    rw_input kind;
    const char *x;
    ptrdiff_t row_stride, column_stride;
    const int64_t *rows;
    const double *mean, *scale;
} rw_user_rows;

typedef struct rw_bf16_kernels rw_bf16_kernels;

typedef struct {
    const char *name;  /* "scalar", "avx2", "avx512", "avx512bf16", "neon" */
    rw_dtype dtype;    /* RW_F32 or RW_F64: what void * below points to, */
    rw_dtype operands; /* but for what goes into forward, dx_scatter and dw: RW_BF16 in ops/bf16.c */
    const rw_bf16_kernels *bf16; /* kernels_bf16.h; NULL where the set has no such instruction */
    int32_t lanes;     /* of the widest register */
    int32_t panel;     /* sources that `outer` takes beside each other, */
    int32_t outer_rows; /* and rows */
    int32_t step;       /* of the samples of forward and dX: lanes, or half as many */
    int32_t rest;       /* samples behind a full tile that products of single rows take along, at most, */
    int32_t rest_of_group; /* and those of groups */
    const rw_tuning *tuning;

    /* y[row] = bias[row] + sum of weight * x[source], for the rows of groups
     * [g0, g1) of a strip and the slots of a panel. bias: by row, padded to whole groups, or
     * NULL for zero. */
    void (*forward)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p, const rw_strip *s,
                    const void *bias);

    /* One sample, weights by source: y[row] += sum of weight * x[source] over the n sources that `at`
     * names, ascending. Bits of forward where the others are zero and y holds the bias, but for the
     * sign of a zero. */
    void (*links_by_source)(const rw_by_source *w, const int32_t *at, int32_t n, const void *x,
                            void *y);
    /* The same for all weights: that of (row, source) is w[source * pitch + row]. All `pitch` rows
     * are computed, a multiple of RW_MATRIX_PAD. */
    void (*matrix_by_source)(const void *w, int32_t pitch, const int32_t *at, int32_t n,
                             const void *x, void *y);

    /* dx[source] = sum of weight * dy[row] over the mirror's entries of sources
     * [j0, j1): overwrites. */
    void (*dx_gather)(const rw_rows *w, const rw_mirror *mirror, int32_t j0, int32_t j1,
                      const rw_strip *s);

    /* dx[source] += weight * dy[row] for groups [g0, g1) in order and the slots
     * of a panel. The caller has zeroed dx. Same bits as dx_gather. */
    void (*dx_scatter)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                       const rw_strip *s);

    /* grad[(first[g - g0] + k) * group + r] (+)= x[source[k]] . dy[r] over the
     * samples of a span, for groups [g0, g1) and the slots k of a panel. */
    void (*dw)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p, const rw_span *span,
               const int64_t *first, void *grad);

    /* Products of one group's slots with a span of inputs of which few are not zero; `at` names, in
     * ascending order, the n slots whose source has values (rw_reached_f32 or _f64). Bits are those of
     * forward and dw.
     * sums[r * samples + b] += weight * x, on top of what is there. w: the group's weights. */
    void (*nonzero_forward)(const rw_nonzero_span *x, const void *at, int64_t n, const void *w,
                            int32_t group, void *sums);
    /* grad[slot * group + r] += x . dy[r]; dy: `samples` values of each row of the group. */
    void (*nonzero_dw)(const rw_nonzero_span *x, const void *at, int64_t n, const void *dy,
                       int32_t group, void *grad);
    /* grad[sources[i]] += x[i] . dy for one row and the n sources that have values, sample by
     * sample in order: the bits of outer. */
    void (*nonzero_outer)(const rw_nonzero_span *x, const int32_t *sources, int32_t n,
                          const void *dy, void *grad);

    /* Gradients of all places, of the rows from dy on: grad[r * pitch + j] = sum of x[j] . dy[r]
     * over a batch, sample by sample in order. x: in panels of `panel` sources, and there
     * sample by sample: source j's value of sample b at x[(j / panel * batch + b) * panel
     * + j % panel]. dy: by tiles of `tile` samples, dy_step values apart. Gradients of
     * whole panels are written. */
    void (*outer)(const void *x, int32_t panels, const void *dy, size_t dy_step, int32_t tile,
                  int64_t batch, int32_t rows, void *grad, size_t pitch);

    /* The threshold scan: which of n values, at most RW_SCAN_VALUES, have a magnitude of
     * `threshold` (> 0) or more. Returns how many, and writes their indices to `at`, in
     * ascending order; `at` has room for RW_SCAN_VALUES. */
    int32_t (*at_least)(const void *values, int32_t n, double threshold, int32_t *at);

    /* dw and update (SGD) in one go, for groups [g0, g1) of one row each and a span
     * of one tile of 1 or 2 samples: the same bits. NULL where it would not pay. */
    void (*small_batch_sgd)(const rw_rows *w, int32_t g0, int32_t g1, const rw_span *span,
                    const rw_update *u, void *weight, void *m);
    /* The same for groups of 4 rows or more, at most widest_group. */
    void (*sgd_by_rows)(const rw_rows *w, int32_t g0, int32_t g1, const rw_span *span,
                        const rw_update *u, void *weight, void *m);
    int32_t widest_group;

    /* out[i] (+)= sum of dy[i] over the samples of one tile, rows [0, n): the bias gradient. */
    void (*row_sum)(const void *dy, int32_t n, void *out, int32_t tile, int32_t cols, bool add);

    /* In place over n values: y = f(y). `z`, if not NULL, receives f'(y) of GELU, GELU_TANH and SILU,
     * which costs least where f is computed, and else y as it was.
     * Rows of a tile: `n` rows, samples [live, tile) of each set to zero in y (and z). */
    void (*activate)(rw_act act, double slope, void *y, void *z, int32_t n, int32_t tile,
                     int32_t live);
    /* dy *= f'. RELU, SIGMOID, TANH, THRESHOLDED and LEAKY with slope > 0 read the output y; GELU,
     * GELU_TANH, SILU and LEAKY with slope <= 0 read the z of `activate` instead (pass it as y). */
    void (*activate_back)(rw_act act, double slope, const void *y, void *dy, int32_t n,
                          int32_t tile, int32_t live);

    /* y = x * (keep ? 1 / (1 - p) : 0) for `n` rows of a tile whose first row is
     * feature `row0` and first sample `sample0`; the mask is a hash of (key,
     * feature, sample), so the backward pass calls this again on gradients.
     * x may be y. Each unit has 16 bits of it, so p should be a multiple of 2^-16, as rw_dropout's is. */
    void (*dropout)(const void *x, void *y, int32_t n, int32_t row0, int64_t sample0, double p,
                    rw_key key, int32_t tile, int32_t live);
    /* The same on gradients, in place, and then `activate_back`: the same bits, in one pass where that is
     * simple. */
    void (*dropout_back)(rw_act act, double slope, const void *y, void *dy, int32_t n, int32_t row0,
                         int64_t sample0, double p, rw_key key, int32_t tile, int32_t live);

    /* The two sides of n values: up = max(x, 0), down = min(x, 0). A NaN is on both. */
    void (*two_sides)(const void *x, void *up, void *down, int64_t n);
    /* dx = x > 0 ? up : down, from the gradients for the two sides. dx may be up or down. */
    void (*two_sides_back)(const void *x, const void *up, const void *down, void *dx, int64_t n);

    /* Trained S-shapes (srelu.h) for n rows of a tile. `shape`: four values a row, each kind
     * `pitch` values after the one before. y = f(x); samples from `live` on become zero. */
    void (*srelu)(const void *x, const void *shape, size_t pitch, void *y, int32_t n,
                  int32_t tile, int32_t live);
    /* dx = f'(x) dy. dx may be dy. */
    void (*srelu_back)(const void *x, const void *shape, size_t pitch, const void *dy, void *dx,
                       int32_t n, int32_t tile, int32_t live);
    /* The gradients of the shapes, laid out alike, from one tile: RW_ROW_LANES sums a value,
     * of samples l, l + lanes, ..., folded by halves. With `add`, on top of what is there. */
    void (*srelu_gradient)(const void *x, const void *shape, size_t pitch, const void *dy,
                           void *gradient, int32_t n, int32_t tile, int32_t live, bool add);

    /* The winners of each sample (winners.h), of one tile of n rows: y = x where sign * factor * x is
     * among the k largest of the rows, 0 elsewhere. y must not be x. Samples from `live` on are zero. */
    void (*winners)(const void *x, const void *factor, double sign, int32_t k, void *y, int32_t n,
                    int32_t tile, int32_t live);
    /* dx (+)= dy where y won, 0 elsewhere, for n values. dx may be dy. */
    void (*winners_back)(const void *y, const void *dy, void *dx, int64_t n, bool add);
    /* counts[i] (+)= how many live samples of row i won, for n rows of a tile. */
    void (*count_winners)(const void *y, double *counts, int32_t n, int32_t tile, int32_t live,
                          bool add);

    /* Normalisation by sample (norm.h), of one tile of n rows: z = (x - mean) / deviation over
     * the rows, inverse[b] = 1 / deviation, y = gain * z + shift. The mean is 0 unless `centered`.
     * Samples from `live` on are zero. */
    void (*layer_norm)(const void *x, const void *gain, const void *shift, double eps,
                       bool centered, void *z, void *inverse, void *y, int32_t n, int32_t tile,
                       int32_t live);
    /* dx from dy; dx may be dy. */
    void (*layer_norm_back)(const void *z, const void *inverse, const void *gain, bool centered,
                            const void *dy, void *dx, int32_t n, int32_t tile);

    /* Normalisation by row, for n rows of a tile: z = (x - mean) * inverse,
     * y = gain * z + shift; mean, inverse, gain, shift by row. z may be NULL. */
    void (*row_norm)(const void *x, const void *mean, const void *inverse, const void *gain,
                     const void *shift, void *z, void *y, int32_t n, int32_t tile, int32_t live);
    /* dx = scale * (dy - mean - z * along), by row; dx may be dy. */
    void (*row_norm_back)(const void *z, const void *scale, const void *mean, const void *along,
                          const void *dy, void *dx, int32_t n, int32_t tile, int32_t live);
    /* out[i] (+)= the sum over live samples of (a - a_mean) * (b - b_mean), for n rows of a tile;
     * means by row, or NULL for 0. RW_ROW_LANES sums a row, folded by halves. */
    void (*row_dot)(const void *a, const void *a_mean, const void *b, const void *b_mean, void *out,
                    int32_t n, int32_t tile, int32_t live, bool add);

    /* Stages [first, last) of the Walsh-Hadamard transform (wht.h) of n rows, a multiple of 2^last,
     * times `scale`; of `width` samples, the rows being `tile` values apart. At least one stage.
     * y may be x. Every set gives the same bits. */
    void (*wht)(const void *x, void *y, int64_t n, int32_t tile, int32_t width, int32_t first,
                int32_t last, double scale);

    /* Blocks of two-sided switches (switches.h), `width` rows each, of one tile. Samples from
     * `live` on become zero. */
    void (*switches)(const void *x, const void *weight, void *y, int32_t blocks, int32_t width,
                     int32_t tile, int32_t live);
    /* dx from dy; dx may be dy. */
    void (*switches_back)(const void *x, const void *weight, const void *dy, void *dx,
                          int32_t blocks, int32_t width, int32_t tile, int32_t live);
    /* The gradients of the weights, over all tiles of a span (`cols` and `add` are not read):
     * lane l takes samples l, l + lanes, ... of every tile, and lanes are added in halves. */
    void (*switches_gradient)(const rw_span *span, void *gradient, int32_t blocks, int32_t width);

    /* Losses of a run of n values, whose targets are t. Value k belongs to place k % period:
     * its loss is added to sum[place], and dz, unless NULL, becomes scale[place] times the
     * derivative. dz may be z. t and scale are of float64, those of SIGMOID_BCE of the precision
     * of z. SOFTMAX_CE is not one of them. */
    void (*loss)(rw_loss kind, double delta, const void *z, const void *t, const void *scale,
                 void *dz, double *sum, int32_t n, int32_t period);

    /* The parts of softmax, with the same places. The largest z so far; e = exp(z - most), and
     * their sums (e may be z, or NULL; here most is of the precision of z); sums of
     * t * (most - z) and of t; and e = scale * (times * e - t), where t is NULL for zeros. */
    void (*largest)(const void *z, double *most, int32_t n, int32_t period);
    void (*exponentials)(const void *z, const void *most, void *e, double *sum, int32_t n,
                         int32_t period);
    void (*distances)(const void *z, const double *most, const double *t, double *sum,
                      double *mass, int32_t n, int32_t period);
    void (*softmax_back)(const double *times, const double *t, const double *scale, void *e,
                         int32_t n, int32_t period);

    /* sum[place] counts where z is above the threshold just as t is above 1/2; t as z. */
    void (*agree)(const void *z, double threshold, const void *t, double *sum, int32_t n,
                  int32_t period);

    /* The sums of R2 (r2.h) over a strip of `width` samples, of n rows. Those of z are `tile` values
     * apart, those of t `width`; weights, by sample, sum to `total` > 0. Where one is 0, z is not
     * read and t is that of a sample that counts. Quantities are `pitch` values apart. RW_ROW_LANES
     * sums a row, folded by halves. */
    void (*r2)(const void *z, int32_t tile, const double *t, const double *weight, double total,
               double *sums, size_t pitch, int32_t n, int32_t width);

    /* One optimizer step over n weights with gradient g. m, v: NULL where the optimizer
     * keeps none. born: one int32 for every `width` weights, or NULL. */
    void (*update)(const rw_update *u, void *w, void *m, void *v, const int32_t *born,
                   int32_t width, const void *g, int64_t n);

    /* Features [i0, i1) of `live` samples from `sample` on: the value of feature i and sample b goes
     * to place (i - i0) * tile + b - sample. Every set gives the same bits. */
    void (*pack)(const rw_user_rows *in, int64_t sample, int32_t live, int32_t i0, int32_t i1,
                 void *to, int32_t tile);
    /* The reverse: n features of `live` samples, to a user's array of the same precision whose
     * first value is at `out`, with byte strides, at any address. */
    void (*unpack)(const void *from, int32_t tile, int32_t live, int32_t n, char *out,
                   ptrdiff_t row_stride, ptrdiff_t column_stride);

    /* y = x rounded to bfloat16 (bf16.h), n values; y may be x. NULL in float64. */
    void (*round_bf16)(const void *x, void *y, int64_t n);

    /* The limits that the products above are measured against (machine.h).
     * multiply_add: as many registers as keep the units busy take acc = acc * factor + term
     * `rounds` times, each from another start; returns the sum of all their lanes.
     * read: the exclusive or of so many words of 8 bytes. */
    double (*multiply_add)(int64_t rounds, double factor, double term);
    uint64_t (*read)(const void *data, int64_t words);
} rw_kernels;

/* The tables, best first, scalar last; `n` receives how many. Only sets that
 * this machine can run (CPU and operating system) are listed. */
const rw_kernels *const *rw_kernels_list(rw_dtype dtype, int *n);

/* By name, or NULL when unknown here. NULL or "" gives the best; so does, of float64, the name of a set that
 * float32 alone has. */
const rw_kernels *rw_kernels_named(rw_dtype dtype, const char *name);

#endif
