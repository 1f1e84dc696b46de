/* kernels_element.h -- elementwise kernels and the table of one precision.
 *
 * Included with RW_T, RW_F (f32 or f64), RW_DTYPE, RW_WIDE (the widest register)
 * and RW_WIDE_LANES, RW_ISA (avx2), RW_TUNED (its rw_tuning), and
 * RW_DISPATCH(tile, kernel, arguments), which picks the register width for a tile.
 * RW_SMALL_BATCH_SGD, where defined, is that kernel; RW_BF16_ISA names the set that has RW_BF16_KERNELS
 * beside it. The loops are plain C that compilers
 * turn into vector code; nothing here fuses, so every instruction set gives the same
 * bits (but for differences between versions of libm's exp and tanh). */

#define RW_VEC RW_WIDE

/* --- activations ----------------------------------------------------------- */

/* Whole rows were computed, padding included: make samples [live, tile) zero again. Where there is room
 * for a register the last one overlaps: compilers would call memset for every row. */
RW_INLINE void RW_E(clear_tail)(RW_T *y, int32_t n, int32_t tile, int32_t live)
{
    for (int32_t i = 0; i < n && live < tile; i++, y += tile) {
        int32_t b = live;
        if (tile - live >= RW_WIDE_LANES)
            RW_V(store)(y + tile - RW_WIDE_LANES, RW_V(zero)());
        for (; b + RW_WIDE_LANES <= tile; b += RW_WIDE_LANES)
            RW_V(store)(y + b, RW_V(zero)());
        for (; b < tile && tile - live < RW_WIDE_LANES; b++)
            y[b] = 0;
    }
}

/* libm in the working precision; what is asked of no library is in kernels_exp.h. */
#if RW_DTYPE_BITS == 32
#define RW_EXP expf
#define RW_TANH tanhf
#define RW_FABS fabsf
#else
#define RW_EXP exp
#define RW_TANH tanh
#define RW_FABS fabs
#endif

#include "kernels/kernels_exp.h"

/* GELU and SiLU: z times a probability, and the derivatives. Each is good to 8 eps of itself, GELU
 * left of zero to (8 + 2 a) eps where its probability is about exp(-a): a is rounded. Each derivative
 * is good to 8 eps of the larger of 1 and itself. */

/* |z|, but not further out than where every tail is 0. Of NaN, anything. By a mask: of a choice
 * compilers make a branch, because one side is a constant with which all else is known. */
RW_INLINE RW_T RW_E(near_zero)(RW_T z)
{
    RW_T size = RW_FABS(z);
    return RW_E(pick)(size < RW_TAIL_END ? ~(RW_BITS)0 : 0, size, RW_TAIL_END);
}

RW_INLINE RW_T RW_E(gelu)(RW_T z)
{
    RW_BITS positive = z > 0 ? ~(RW_BITS)0 : 0;
    RW_T e, tail = RW_E(tail)(RW_E(near_zero)(z), &e);
    return z * RW_E(pick)(positive, 1 - tail, tail);
}

RW_INLINE RW_T RW_E(gelu_slope)(RW_T z)
{
    RW_BITS positive = z > 0 ? ~(RW_BITS)0 : 0;
    RW_T t = RW_E(near_zero)(z), e, tail = RW_E(tail)(t, &e);
    RW_T density = t * (e * (RW_T)0.398942280401432678); /* 1 / sqrt(2 pi) */
    return RW_E(pick)(positive, 1 - tail + density, tail - density);
}

/* The argument of the tanh, twice: 1 + tanh(a) is twice the sigmoid of 2 a. */
#define RW_GELU_SCALE 1.59576912160573072 /* 2 sqrt(2 / pi) */
#define RW_GELU_CUBE 0.044715

RW_INLINE RW_T RW_E(gelu_tanh)(RW_T z)
{
    RW_BITS positive = z > 0 ? ~(RW_BITS)0 : 0;
    RW_T t = RW_E(near_zero)(z);
    RW_T a = (RW_T)RW_GELU_SCALE * t * (1 + (RW_T)RW_GELU_CUBE * (t * t));
    return z * RW_E(sigmoid)(RW_E(pick)(positive, a, -a));
}

RW_INLINE RW_T RW_E(gelu_tanh_slope)(RW_T z)
{
    RW_BITS positive = z > 0 ? ~(RW_BITS)0 : 0;
    RW_T t = RW_E(near_zero)(z), t2 = t * t;
    RW_T a = (RW_T)RW_GELU_SCALE * t * (1 + (RW_T)RW_GELU_CUBE * t2);
    RW_T slope = (RW_T)RW_GELU_SCALE * (1 + (RW_T)(3 * RW_GELU_CUBE) * t2);
    RW_T e = RW_E(exp)(-a, false, false), part = 1 / (1 + e);
    RW_T steep = t * (e * part * part * slope);
    return RW_E(pick)(positive, part + steep, e * part - steep);
}

RW_INLINE RW_T RW_E(silu)(RW_T z) { return z * RW_E(sigmoid)(z); }

RW_INLINE RW_T RW_E(silu_slope)(RW_T z)
{
    RW_BITS positive = z > 0 ? ~(RW_BITS)0 : 0;
    RW_T size = RW_FABS(z), e = RW_E(exp)(-size, false, false), part = 1 / (1 + e);
    RW_T steep = size * (e * part * part);
    return RW_E(pick)(positive, part + steep, e * part - steep);
}

/* f and, where somebody asks, f' of the same argument: both take the same exponential. */
#define RW_WITH_SLOPE(f, y, slopes, count)        \
    if (slopes) {                                 \
        for (size_t i = 0; i < (count); i++) {    \
            RW_T at = (y)[i];                     \
            (slopes)[i] = RW_E(f##_slope)(at);    \
            (y)[i] = RW_E(f)(at);                 \
        }                                         \
    } else {                                      \
        for (size_t i = 0; i < (count); i++)      \
            (y)[i] = RW_E(f)((y)[i]);             \
    }

RW_KERNEL void RW_E(activate)(rw_act act, double slope, void *data, void *for_back, int32_t n,
                              int32_t tile, int32_t live)
{
    RW_T *restrict y = data, *restrict z = for_back;
    size_t count = (size_t)n * (size_t)tile;
    bool by_slope = act == RW_ACT_GELU || act == RW_ACT_GELU_TANH || act == RW_ACT_SILU;
    if (z && !by_slope)
        memcpy(z, y, count * sizeof(RW_T));
    RW_T s = (RW_T)slope;
    switch (act) {
    case RW_ACT_LINEAR:
        break;
    case RW_ACT_RELU: /* written so that a NaN stays one */
        for (size_t i = 0; i < count; i++)
            y[i] = y[i] < 0 ? 0 : y[i];
        break;
    case RW_ACT_LEAKY:
        for (size_t i = 0; i < count; i++) { /* a sum of halves: compilers vectorise it */
            RW_T above = y[i] > 0 ? y[i] : 0, below = y[i] > 0 ? 0 : y[i];
            y[i] = above + s * below;
        }
        break;
    case RW_ACT_SIGMOID:
        for (size_t i = 0; i < count; i++)
            y[i] = 1 / (1 + RW_EXP(-y[i]));
        break;
    case RW_ACT_TANH:
        for (size_t i = 0; i < count; i++)
            y[i] = RW_TANH(y[i]);
        break;
    case RW_ACT_THRESHOLDED: /* a NaN stays one */
        for (size_t i = 0; i < count; i++)
            y[i] = y[i] <= s ? 0 : y[i];
        break;
    case RW_ACT_GELU:
        RW_WITH_SLOPE(gelu, y, z, count)
        break;
    case RW_ACT_GELU_TANH:
        RW_WITH_SLOPE(gelu_tanh, y, z, count)
        break;
    case RW_ACT_SILU:
        RW_WITH_SLOPE(silu, y, z, count)
        break;
    }
    RW_E(clear_tail)(y, n, tile, live);
    if (z)
        RW_E(clear_tail)(z, n, tile, live);
}

/* dy times f'(y), of RELU and LEAKY. */
RW_INLINE RW_T RW_E(bent_back)(const rw_act act, RW_T slope, RW_T y, RW_T dy)
{
    if (act == RW_ACT_RELU)
        return RW_E(pick)(0 - (RW_BITS)(y <= 0), 0, dy);
    return dy * RW_E(pick)(0 - (RW_BITS)(y > 0), 1, slope);
}

RW_KERNEL void RW_E(activate_back)(rw_act act, double slope, const void *output, void *data,
                                   int32_t n, int32_t tile, int32_t live)
{
    const RW_T *restrict y = output;
    RW_T *restrict dy = data;
    size_t count = (size_t)n * (size_t)tile;
    RW_T s = (RW_T)slope;
    switch (act) {
    case RW_ACT_LINEAR:
        break;
    case RW_ACT_RELU:
        for (size_t i = 0; i < count; i++)
            dy[i] = RW_E(bent_back)(RW_ACT_RELU, s, y[i], dy[i]);
        break;
    case RW_ACT_LEAKY:
        for (size_t i = 0; i < count; i++)
            dy[i] = RW_E(bent_back)(RW_ACT_LEAKY, s, y[i], dy[i]);
        break;
    case RW_ACT_SIGMOID:
        for (size_t i = 0; i < count; i++)
            dy[i] *= y[i] * (1 - y[i]);
        break;
    case RW_ACT_TANH:
        for (size_t i = 0; i < count; i++)
            dy[i] *= 1 - y[i] * y[i];
        break;
    case RW_ACT_THRESHOLDED: /* what is above a threshold >= 0 is not 0 */
        for (size_t i = 0; i < count; i++)
            dy[i] = y[i] == 0 ? 0 : dy[i];
        break;
    case RW_ACT_GELU:
    case RW_ACT_GELU_TANH:
    case RW_ACT_SILU: /* y is f', see activate */
        for (size_t i = 0; i < count; i++)
            dy[i] *= y[i];
        break;
    }
    RW_E(clear_tail)(dy, n, tile, live);
}

#undef RW_EXP
#undef RW_TANH
#undef RW_TAIL_END
#undef RW_GELU_SCALE
#undef RW_GELU_CUBE
#undef RW_WITH_SLOPE

#include "kernels/kernels_dropout.h"

/* --- two-sided switching ----------------------------------------------------- */

RW_KERNEL void RW_E(two_sides)(const void *from, void *positive, void *negative, int64_t n)
{
    const RW_T *restrict x = from;
    RW_T *restrict up = positive, *restrict down = negative;
    for (int64_t i = 0; i < n; i++) { /* written so that a NaN stays one */
        up[i] = x[i] < 0 ? 0 : x[i];
        down[i] = x[i] > 0 ? 0 : x[i];
    }
}

RW_KERNEL void RW_E(two_sides_back)(const void *from, const void *positive, const void *negative,
                                    void *to, int64_t n)
{
    const RW_T *x = from, *up = positive, *down = negative;
    RW_T *dx = to;
    RW_IVDEP
    for (int64_t i = 0; i < n; i++)
        dx[i] = x[i] > 0 ? up[i] : down[i];
}

/* --- trained S-shapes -------------------------------------------------------- */

/* One row's shape, with the right knee not left of the left one. */
typedef struct {
    RW_T tl, al, tr, ar;
    bool apart; /* else the knees have met, and both are tl */
} RW_E(knees);

RW_INLINE RW_E(knees) RW_E(knees_of)(const RW_T *shape, size_t pitch)
{
    RW_E(knees) k = { shape[0], shape[pitch], shape[2 * pitch], shape[3 * pitch], true };
    if (k.tr < k.tl)
        k.tr = k.tl, k.apart = false;
    return k;
}

RW_KERNEL void RW_E(srelu)(const void *from, const void *shape, size_t pitch, void *to, int32_t n,
                           int32_t tile, int32_t live)
{
    const RW_T *restrict x = from;
    RW_T *restrict y = to;
    for (int32_t i = 0; i < n; i++, x += tile, y += tile) {
        RW_E(knees) k = RW_E(knees_of)((const RW_T *)shape + i, pitch);
        for (int32_t b = 0; b < tile; b++) {
            RW_T left = k.tl + k.al * (x[b] - k.tl), right = k.tr + k.ar * (x[b] - k.tr);
            RW_T inner = x[b] <= k.tl ? left : x[b];
            y[b] = x[b] > k.tl && x[b] >= k.tr ? right : inner;
        }
    }
    RW_E(clear_tail)(to, n, tile, live);
}

RW_KERNEL void RW_E(srelu_back)(const void *from, const void *shape, size_t pitch,
                                const void *given, void *to, int32_t n, int32_t tile, int32_t live)
{
    const RW_T *x = from, *dy = given;
    RW_T *dx = to;
    for (int32_t i = 0; i < n; i++, x += tile, dy += tile, dx += tile) {
        RW_E(knees) k = RW_E(knees_of)((const RW_T *)shape + i, pitch);
        RW_IVDEP
        for (int32_t b = 0; b < tile; b++) {
            RW_T slope = x[b] <= k.tl ? k.al : 1;
            dx[b] = dy[b] * (x[b] > k.tl && x[b] >= k.tr ? k.ar : slope);
        }
    }
    RW_E(clear_tail)(to, n, tile, live);
}

/* The sums over one row: of dy, and of dy times the distance from the knee, left and right. */
typedef struct {
    RW_T left[RW_ROW_LANES], left_far[RW_ROW_LANES];
    RW_T right[RW_ROW_LANES], right_far[RW_ROW_LANES];
} RW_E(shape_sums);

RW_INLINE RW_T RW_E(fold)(RW_T *lanes)
{
    for (int half = RW_ROW_LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0];
}

RW_INLINE void RW_E(shape_add)(RW_E(shape_sums) *s, const RW_E(knees) *k, int l, RW_T x, RW_T dy)
{
    RW_T left = x <= k->tl ? dy : 0, right = x > k->tl && x >= k->tr ? dy : 0;
    s->left[l] += left;
    s->left_far[l] += left * (x - k->tl);
    s->right[l] += right;
    s->right_far[l] += right * (x - k->tr);
}

RW_KERNEL void RW_E(srelu_gradient)(const void *from, const void *shape, size_t pitch,
                                    const void *given, void *to, int32_t n, int32_t tile,
                                    int32_t live, bool add)
{
    const RW_T *x = from, *dy = given;
    RW_T *gradient = to;
    for (int32_t i = 0; i < n; i++, x += tile, dy += tile) {
        RW_E(knees) k = RW_E(knees_of)((const RW_T *)shape + i, pitch);
        RW_E(shape_sums) s = { .left = { 0 } };
        int32_t b = 0;
        for (; b + RW_ROW_LANES <= live; b += RW_ROW_LANES)
            for (int l = 0; l < RW_ROW_LANES; l++)
                RW_E(shape_add)(&s, &k, l, x[b + l], dy[b + l]);
        for (int l = 0; b < live; b++, l++)
            RW_E(shape_add)(&s, &k, l, x[b], dy[b]);
        RW_T left = (1 - k.al) * RW_E(fold)(s.left), right = (1 - k.ar) * RW_E(fold)(s.right);
        RW_T of[] = { left + (k.apart ? 0 : right), RW_E(fold)(s.left_far), k.apart ? right : 0,
                      RW_E(fold)(s.right_far) };
        for (int kind = 0; kind < 4; kind++) {
            RW_T *at = gradient + (size_t)kind * pitch + i;
            *at = add ? *at + of[kind] : of[kind];
        }
    }
}

#include "kernels/kernels_norm.h"
#include "kernels/kernels_winners.h"
#include "kernels/kernels_transform.h"
#include "kernels/kernels_switch.h"

/* --- losses ---------------------------------------------------------------- */

#include "kernels/kernels_loss.h"

#include "kernels/kernels_step.h"

/* --- gradients of all places ------------------------------------------------- */

#define RW_BESIDE 2     /* registers of sources, */
#define RW_OUTER_ROWS 4 /* and rows: eight sums hide the latency of a multiply-add */
#define RW_PANEL (RW_BESIDE * RW_WIDE_LANES)

/* `rows` rows with a panel's sources, over samples [b0, b1): x begins at b0. */
RW_INLINE void RW_E(outer_block)(const RW_T *x, const RW_T *dy, size_t dy_step, int32_t tile,
                                 int64_t b0, int64_t b1, RW_T *grad, size_t pitch, const int rows)
{
    RW_WIDE acc[RW_OUTER_ROWS * RW_BESIDE];
    RW_UNROLL
    for (int r = 0; r < rows; r++) {
        RW_UNROLL
        for (int i = 0; i < RW_BESIDE; i++)
            acc[r * RW_BESIDE + i] =
                b0 ? RW_V(load)(grad + (size_t)r * pitch + i * RW_WIDE_LANES) : RW_V(zero)();
    }
    for (int64_t t = b0 / tile; t * tile < b1; t++) {
        const RW_T *outs = dy + (size_t)t * dy_step;
        int32_t n = (int32_t)rw_min64(tile, b1 - t * tile);
        for (int32_t b = 0; b < n; b++, x += RW_PANEL) {
            RW_WIDE in[RW_BESIDE];
            RW_UNROLL
            for (int i = 0; i < RW_BESIDE; i++)
                in[i] = RW_V(load)(x + i * RW_WIDE_LANES);
            RW_UNROLL
            for (int r = 0; r < rows; r++) {
                RW_WIDE out = RW_V(set1)(outs[(size_t)r * (size_t)tile + (size_t)b]);
                RW_UNROLL
                for (int i = 0; i < RW_BESIDE; i++)
                    acc[r * RW_BESIDE + i] = RW_V(fma)(out, in[i], acc[r * RW_BESIDE + i]);
            }
        }
    }
    RW_UNROLL
    for (int r = 0; r < rows; r++) {
        RW_UNROLL
        for (int i = 0; i < RW_BESIDE; i++)
            RW_V(store)(grad + (size_t)r * pitch + i * RW_WIDE_LANES, acc[r * RW_BESIDE + i]);
    }
}

/* A panel's samples stay near while all rows meet them: as many at a time as do. */
RW_KERNEL void RW_E(outer)(const void *sources, int32_t panels, const void *outs, size_t dy_step,
                           int32_t tile, int64_t batch, int32_t rows, void *out, size_t pitch)
{
    const RW_T *x = sources, *dy = outs;
    RW_T *grad = out;
    int64_t span = rw_max64(tile, RW_TUNED.outer_span / tile * tile);
    for (int32_t p = 0; p < panels; p++, x += RW_PANEL * batch, grad += RW_PANEL)
        for (int64_t b0 = 0; b0 < batch; b0 += span) {
            int64_t b1 = rw_min64(b0 + span, batch);
            const RW_T *in = x + RW_PANEL * b0;
            int32_t r = 0;
            for (; r + RW_OUTER_ROWS <= rows; r += RW_OUTER_ROWS)
                RW_E(outer_block)(in, dy + (size_t)r * (size_t)tile, dy_step, tile, b0, b1,
                                  grad + (size_t)r * pitch, pitch, RW_OUTER_ROWS);
            for (; r < rows; r++)
                RW_E(outer_block)(in, dy + (size_t)r * (size_t)tile, dy_step, tile, b0, b1,
                                  grad + (size_t)r * pitch, pitch, 1);
        }
}

/* Most values lie below the threshold, so eight are skipped at once. NaN is never at least
 * anything. */
RW_KERNEL int32_t RW_E(at_least)(const void *values, int32_t n, double threshold, int32_t *at)
{
    const RW_T *v = values;
    RW_T least = (RW_T)threshold;
    uint8_t passes[RW_SCAN_VALUES] = { 0 };
    int32_t found = 0;
    for (int32_t i = 0; i < n; i++)
        passes[i] = RW_FABS(v[i]) >= least;
    for (int32_t i = 0; i < n; i += 8) {
        uint64_t eight;
        memcpy(&eight, passes + i, sizeof eight);
        if (eight == 0)
            continue;
        for (int32_t k = i; k < i + 8; k++) { /* every place is written, some are kept */
            at[found] = k;
            found += passes[k];
        }
    }
    return found;
}

/* --- users' arrays ------------------------------------------------------------ */

#if RW_DTYPE_BITS == 32
#define RW_OWN_INPUT RW_IN_F32
#else
#define RW_OWN_INPUT RW_IN_F64
#endif

#include "kernels/kernels_pack.h"
#include "kernels/kernels_nonzeros.h"
#include "kernels/kernels_limits.h"
#if RW_DTYPE_BITS == 32
#include "kernels/kernels_round.h"
#define RW_ROUND_BF16 RW_E(round_bf16)
#else
#define RW_ROUND_BF16 NULL
#endif

/* --- the table --------------------------------------------------------------- */

RW_KERNEL void RW_E(forward)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                             const rw_strip *s, const void *bias)
{
    /* A register of every such width exists. */
    if (s->tile == 1 && w->group > 1 && w->group <= RW_WIDE_LANES)
        RW_DISPATCH(w->group, forward_one, (w, g0, g1, p, s->in, bias, s->out));
    else
        RW_DISPATCH(s->tile, forward, (w, g0, g1, p, s, bias));
}

RW_KERNEL void RW_E(links_by_source)(const rw_by_source *w, const int32_t *at, int32_t n,
                                     const void *x, void *y)
{
    RW_DISPATCH(w->group, links_by_source, (w, at, n, x, y));
}

RW_KERNEL void RW_E(matrix_by_source)(const void *w, int32_t pitch, const int32_t *at, int32_t n,
                                      const void *x, void *y)
{
    RW_DISPATCH(RW_WIDE_LANES, matrix_by_source, (w, pitch, at, n, x, y));
}

RW_KERNEL void RW_E(dx_gather)(const rw_rows *w, const rw_mirror *mirror, int32_t j0, int32_t j1,
                               const rw_strip *s)
{
    RW_DISPATCH(s->tile, dx_gather, (w, mirror, j0, j1, s));
}

RW_KERNEL void RW_E(dx_scatter)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                                const rw_strip *s)
{
    RW_DISPATCH(s->tile, dx_scatter, (w, g0, g1, p, s));
}

RW_KERNEL void RW_E(dw)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                        const rw_span *span, const int64_t *first, void *grad)
{
    /* As many samples as rows, or one register of them for each half of the widest one that rows fill. */
    int halves = w->group * (int)sizeof(RW_T) / (RW_LINE / 2);
    bool few = span->n_tiles == 1
            && (span->tile <= w->group || span->tile <= RW_WIDE_LANES * halves);
    if (few && w->group >= 4 && w->group <= RW_WIDE_LANES) /* a register of every such width exists */
        RW_DISPATCH(w->group, dw_by_rows, (w, g0, g1, p, span, first, grad));
    else
        RW_DISPATCH(span->tile, dw, (w, g0, g1, p, span, first, grad));
}

RW_KERNEL void RW_E(sgd_by_rows)(const rw_rows *w, int32_t g0, int32_t g1, const rw_span *span,
                                 const rw_update *u, void *weight, void *m)
{
    RW_DISPATCH(w->group, sgd_by_rows, (w, g0, g1, span, u, weight, m));
}

RW_KERNEL void RW_E(row_sum)(const void *dy, int32_t n, void *out, int32_t tile, int32_t cols,
                             bool add)
{
    RW_DISPATCH(tile, row_sum, (dy, n, out, tile, cols, add));
}

#ifndef RW_SMALL_BATCH_SGD
#define RW_SMALL_BATCH_SGD NULL
#endif
#define RW_TABLE_OF(isa, f) RW_TABLE_OF_(isa, f)
#define RW_TABLE_OF_(isa, f) rw_kernels_##isa##_##f
#define RW_TEXT(isa) RW_TEXT_(isa)
#define RW_TEXT_(isa) #isa

#define RW_TABLE_ENTRIES                                                                           \
    .dtype = RW_DTYPE, .operands = RW_DTYPE, .lanes = RW_WIDE_LANES, .panel = RW_PANEL,            \
    .outer_rows = RW_OUTER_ROWS, .tuning = &RW_TUNED,                                              \
    .rest = RW_V(rest), .rest_of_group = RW_V(rest_of_group), .step = RW_V(step),                  \
    .forward = RW_E(forward), .links_by_source = RW_E(links_by_source),                            \
    .matrix_by_source = RW_E(matrix_by_source), .dx_gather = RW_E(dx_gather), .dx_scatter = RW_E(dx_scatter),\
    .dw = RW_E(dw), .nonzero_forward = RW_E(nonzero_forward), .nonzero_dw = RW_E(nonzero_dw),      \
    .nonzero_outer = RW_E(nonzero_outer), .outer = RW_E(outer), .at_least = RW_E(at_least),        \
    .small_batch_sgd = RW_SMALL_BATCH_SGD, .sgd_by_rows = RW_E(sgd_by_rows),                       \
    .widest_group = RW_WIDE_LANES,                                                                 \
    .row_sum = RW_E(row_sum), .activate = RW_E(activate), .activate_back = RW_E(activate_back),    \
    .dropout = RW_E(dropout), .dropout_back = RW_E(dropout_back),                                  \
    .two_sides = RW_E(two_sides), .two_sides_back = RW_E(two_sides_back),                          \
    .layer_norm = RW_E(layer_norm), .layer_norm_back = RW_E(layer_norm_back),                      \
    .row_norm = RW_E(row_norm), .row_norm_back = RW_E(row_norm_back), .row_dot = RW_E(row_dot),    \
    .winners = RW_E(winners), .winners_back = RW_E(winners_back),                                  \
    .count_winners = RW_E(count_winners),                                                          \
    .srelu = RW_E(srelu), .srelu_back = RW_E(srelu_back), .srelu_gradient = RW_E(srelu_gradient),  \
    .wht = RW_E(wht),                                                                              \
    .switches = RW_E(switches), .switches_back = RW_E(switches_back),                              \
    .switches_gradient = RW_E(switches_gradient),                                                  \
    .loss = RW_E(loss), .largest = RW_E(largest), .exponentials = RW_E(exponentials),              \
    .distances = RW_E(distances), .softmax_back = RW_E(softmax_back), .agree = RW_E(agree),        \
    .r2 = RW_E(r2),                                                                                \
    .update = RW_E(update), .pack = RW_E(pack), .unpack = RW_E(unpack), .round_bf16 = RW_ROUND_BF16,\
    .multiply_add = RW_E(multiply_add), .read = RW_E(read)

const rw_kernels RW_TABLE_OF(RW_ISA, RW_F) = { .name = RW_TEXT(RW_ISA), RW_TABLE_ENTRIES };
#ifdef RW_BF16_ISA /* the same set with products of bfloat16 */
const rw_kernels RW_TABLE_OF(RW_BF16_ISA, RW_F) = { .name = RW_TEXT(RW_BF16_ISA), .bf16 = &RW_BF16_KERNELS,
                                                    RW_TABLE_ENTRIES };
#undef RW_BF16_ISA
#undef RW_BF16_KERNELS
#endif

#undef RW_TABLE_ENTRIES
#undef RW_ROUND_BF16
#undef RW_PAIR
#undef RW_BITS
#undef RW_FRACTION
#undef RW_SHIFTER
#undef RW_EXP_LOW
#undef RW_EXP_HIGH
#undef RW_LN2_HIGH
#undef RW_LN2_LOW
#undef RW_FABS
#undef RW_OWN_INPUT
#undef RW_BESIDE
#undef RW_OUTER_ROWS
#undef RW_TUNED
#undef RW_PANEL
#undef RW_SMALL_BATCH_SGD
#undef RW_TABLE_OF
#undef RW_TABLE_OF_
#undef RW_TEXT
#undef RW_TEXT_
#undef RW_VEC
#undef RW_T
#undef RW_F
#undef RW_DTYPE
#undef RW_DTYPE_BITS
#undef RW_WIDE
#undef RW_WIDE_LANES
#undef RW_DISPATCH
