/* kernels_loss.h -- losses on runs of values, with an exp and a log1p that compilers vectorise.
 *
 * Included by kernels_element.h, once for every precision. No operation here is fused and no
 * library is asked, so all instruction sets and machines give the same bits.
 *
 * Of the result, where eps is 2^-23 or 2^-52:
 *      exp             2 eps; below 2^-125 (float32) or 2^-1021 (float64) it is 0
 *      log1p of [0,1]  4 eps
 * A term of a loss is computed in the precision of the outputs, or in float64 where that is as
 * fast (MSE, Huber, squared hinge), and has no differences of numbers that lie close: it is good
 * to 8 eps of the sum of the magnitudes of what it adds. Sums are in float64. */

#if RW_DTYPE_BITS == 32
#define RW_BITS uint32_t
#define RW_FRACTION 23
#define RW_SHIFTER 0x1.8p23f            /* added to a number, leaves it rounded to an integer */
#define RW_EXP_LOW (-0x1.5a92d6p6f)     /* ln of 2^-125 */
#define RW_EXP_HIGH 0x1.62e42ep6f       /* ln of the largest number */
#define RW_LN2_HIGH 0x1.63p-1f          /* few bits: times an exponent it is exact */
#define RW_LN2_LOW (-0x1.bd0106p-13f)
#else
#define RW_BITS uint64_t
#define RW_FRACTION 52
#define RW_SHIFTER 0x1.8p52
#define RW_EXP_LOW (-0x1.61da04cbafe44p9) /* ln of 2^-1021 */
#define RW_EXP_HIGH 0x1.62e42fefa39efp9
#define RW_LN2_HIGH 0x1.62e4p-1
#define RW_LN2_LOW 0x1.7f7d1cf79abcap-20
#endif

/* Terms of a series, two by two: a chain of single terms would take twice as long as its
 * operations do. */
#define RW_PAIR(a, b, x) ((RW_T)(a) + (RW_T)(b) * (x))

/* Choices by masks of bits: a compiler makes branches of those that leave work undone, and no
 * vectors of a loop with branches. */
RW_INLINE RW_T RW_E(loss_pick)(RW_BITS mask, RW_T a, RW_T b)
{
    RW_BITS x, y;
    RW_T picked;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    x = (x & mask) | (y & ~mask);
    memcpy(&picked, &x, sizeof picked);
    return picked;
}

RW_INLINE double RW_E(loss_keep)(uint64_t mask, double a)
{
    uint64_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits &= mask;
    memcpy(&a, &bits, sizeof bits);
    return a;
}

/* Flags are constants at the call. Without them a positive number, or a NaN, gives anything. */
RW_INLINE RW_T RW_E(loss_exp)(RW_T x, const bool positive, const bool nans)
{
    /* What comes of such numbers below is not used. */
    RW_BITS below = x < RW_EXP_LOW ? ~(RW_BITS)0 : 0;
    RW_BITS above = positive && x > RW_EXP_HIGH ? ~(RW_BITS)0 : 0;
    RW_BITS nan = nans && x != x ? ~(RW_BITS)0 : 0; /* all ones are one too */
    RW_T shifted = x * (RW_T)0x1.71547652b82fep+0 + RW_SHIFTER; /* log2 of e */
    RW_T n = shifted - RW_SHIFTER;
    RW_T r = (x - n * RW_LN2_HIGH) - n * RW_LN2_LOW; /* within ln(2) / 2 */
    /* Taylor's series: the first term left out is below eps / 20. */
    RW_T r2 = r * r, r4 = r2 * r2;
    RW_T q = RW_PAIR(1.0 / 2, 1.0 / 6, r) + r2 * RW_PAIR(1.0 / 24, 1.0 / 120, r);
#if RW_DTYPE_BITS == 32
    q += r4 * RW_PAIR(1.0 / 720, 1.0 / 5040, r);
#else
    q += r4 * (RW_PAIR(1.0 / 720, 1.0 / 5040, r) + r2 * RW_PAIR(1.0 / 40320, 1.0 / 362880, r));
    q += r4 * r4 * (RW_PAIR(1.0 / 3628800, 1.0 / 39916800, r) +
                    r2 * RW_PAIR(1.0 / 479001600, 1.0 / 6227020800, r));
#endif
    RW_T y = 1 + (r + r2 * q);
    RW_BITS bits, exponent, infinity;
    RW_T inf = (RW_T)INFINITY;
    memcpy(&infinity, &inf, sizeof infinity);
    memcpy(&bits, &y, sizeof bits);
    memcpy(&exponent, &shifted, sizeof exponent);
    bits += exponent << RW_FRACTION;
    bits = (bits & ~(below | above)) | (infinity & above) | nan;
    memcpy(&y, &bits, sizeof y);
    return y;
}

/* log(1 + e) for e in [0, 1]: 2 atanh(w) with w = e / (2 + e), at most 1/3. */
RW_INLINE RW_T RW_E(loss_log1p)(RW_T e)
{
    RW_T w = e / (2 + e), v = w * w, v2 = v * v, v4 = v2 * v2;
    RW_T q = RW_PAIR(1.0 / 3, 1.0 / 5, v) + v2 * RW_PAIR(1.0 / 7, 1.0 / 9, v);
#if RW_DTYPE_BITS == 32
    q += v4 * (RW_PAIR(1.0 / 11, 1.0 / 13, v) + v2 * (RW_T)(1.0 / 15));
#else
    RW_T v8 = v4 * v4;
    q += v4 * (RW_PAIR(1.0 / 11, 1.0 / 13, v) + v2 * RW_PAIR(1.0 / 15, 1.0 / 17, v));
    RW_T far = RW_PAIR(1.0 / 19, 1.0 / 21, v) + v2 * RW_PAIR(1.0 / 23, 1.0 / 25, v);
    far += v4 * (RW_PAIR(1.0 / 27, 1.0 / 29, v) + v2 * RW_PAIR(1.0 / 31, 1.0 / 33, v));
    q += v8 * (far + v8 * (RW_T)(1.0 / 35));
#endif
    RW_T half = w + w * v * q;
    return half + half;
}

/* Each gives the loss of one output, and its derivative. */

/* With |z| and the distance u of the target from the side that z is on, nothing cancels. */
RW_INLINE RW_T RW_E(term_bce)(RW_T z, RW_T t, RW_T *slope)
{
    RW_BITS positive = z >= 0 ? ~(RW_BITS)0 : 0;
    RW_T size = RW_FABS(z), u = RW_E(loss_pick)(positive, 1 - t, t);
    RW_T e = RW_E(loss_exp)(-size, false, false); /* of NaN, the product with u is one */
    RW_T away = u - e / (1 + e);
    *slope = RW_E(loss_pick)(positive, away, -away);
    return size * u + RW_E(loss_log1p)(e);
}

RW_INLINE double RW_E(term_mse)(RW_T z, double t, double delta, double *slope)
{
    (void)delta;
    double error = (double)z - t;
    *slope = 2 * error;
    return error * error;
}

RW_INLINE double RW_E(term_huber)(RW_T z, double t, double delta, double *slope)
{
    double error = (double)z - t;
    double within = error > delta ? delta : error;
    within = within < -delta ? -delta : within;
    *slope = within;
    return within * (error - 0.5 * within);
}

RW_INLINE double RW_E(term_poisson)(RW_T z, double t, double delta, double *slope)
{
    (void)delta;
    double rate = (double)RW_E(loss_exp)(z, true, true);
    *slope = rate - t;
    return rate - t * (double)z;
}

RW_INLINE double RW_E(term_hinge)(RW_T z, double t, double delta, double *slope)
{
    (void)delta;
    double side = 2 * t - 1, gap = 1 - side * (double)z;
    gap = RW_E(loss_keep)(gap < 0 ? 0 : ~UINT64_C(0), gap); /* a NaN stays one */
    *slope = -2 * side * gap;
    return gap * gap;
}

/* A loop for each. The one without a gradient adds the same terms. */
#define RW_LOSS_LOOP(name)                                                                     \
    RW_KERNEL void RW_E(loss_##name)(double delta, const RW_T *z, const double *t,             \
                                     const double *scale, RW_T *dz, double *sum, int32_t n)    \
    {                                                                                          \
        double slope;                                                                          \
        if (!dz) {                                                                             \
            RW_IVDEP                                                                           \
            for (int32_t k = 0; k < n; k++)                                                    \
                sum[k] += RW_E(term_##name)(z[k], t[k], delta, &slope);                        \
            return;                                                                            \
        }                                                                                      \
        RW_IVDEP                                                                               \
        for (int32_t k = 0; k < n; k++) {                                                      \
            sum[k] += RW_E(term_##name)(z[k], t[k], delta, &slope);                            \
            dz[k] = (RW_T)(scale[k] * slope);                                                  \
        }                                                                                      \
    }
RW_LOSS_LOOP(mse)
RW_LOSS_LOOP(huber)
RW_LOSS_LOOP(poisson)
RW_LOSS_LOOP(hinge)
#undef RW_LOSS_LOOP

/* Terms of the working precision wait in the first-level cache for the sums of float64, so that
 * either loop has vectors of one width. */
#define RW_TERMS 256

RW_INLINE void RW_E(add_terms)(double *restrict sum, const RW_T *restrict term, int32_t n)
{
    for (int32_t k = 0; k < n; k++)
        sum[k] += (double)term[k];
}

/* Loops begin at 0: where signed numbers may wrap (-fwrapv, which Python's builds add), compilers
 * make no vectors of those that index by a sum. */
RW_KERNEL void RW_E(loss_bce)(const RW_T *z, const RW_T *t, const RW_T *scale, RW_T *dz,
                              double *sum, int32_t n)
{
    RW_T term[RW_TERMS], slope;
    for (int32_t left = n, m; left > 0; left -= m, z += m, t += m, scale += m, sum += m) {
        m = left < RW_TERMS ? left : RW_TERMS;
        if (dz) {
            RW_IVDEP
            for (int32_t k = 0; k < m; k++) {
                term[k] = RW_E(term_bce)(z[k], t[k], &slope);
                dz[k] = scale[k] * slope;
            }
            dz += m;
        } else {
            for (int32_t k = 0; k < m; k++)
                term[k] = RW_E(term_bce)(z[k], t[k], &slope);
        }
        RW_E(add_terms)(sum, term, m);
    }
}

RW_KERNEL void RW_E(loss)(rw_loss kind, double delta, const void *outputs, const void *targets,
                          const void *scale, void *gradient, double *sum, int32_t n,
                          int32_t period)
{
    const RW_T *z = outputs, *t_own = targets;
    const double *t = targets;
    RW_T *dz = gradient;
    for (int32_t at = 0; at < n; at += period, z += period, t += period, t_own += period) {
        int32_t m = n - at < period ? n - at : period;
        switch (kind) {
        case RW_LOSS_SOFTMAX_CE: /* looks at all outputs of a sample: below */
            break;
        case RW_LOSS_SIGMOID_BCE:
            RW_E(loss_bce)(z, t_own, scale, dz, sum, m);
            break;
        case RW_LOSS_MSE:
            RW_E(loss_mse)(delta, z, t, scale, dz, sum, m);
            break;
        case RW_LOSS_HUBER:
            RW_E(loss_huber)(delta, z, t, scale, dz, sum, m);
            break;
        case RW_LOSS_POISSON:
            RW_E(loss_poisson)(delta, z, t, scale, dz, sum, m);
            break;
        case RW_LOSS_SQUARED_HINGE:
            RW_E(loss_hinge)(delta, z, t, scale, dz, sum, m);
            break;
        }
        if (dz)
            dz += period;
    }
}

RW_KERNEL void RW_E(largest)(const void *outputs, double *most, int32_t n, int32_t period)
{
    const RW_T *z = outputs;
    for (int32_t at = 0; at < n; at += period, z += period) {
        int32_t m = n - at < period ? n - at : period;
        for (int32_t k = 0; k < m; k++) /* not of NaN */
            most[k] = (double)z[k] > most[k] ? (double)z[k] : most[k];
    }
}

RW_INLINE void RW_E(exponentials_of)(const RW_T *z, const RW_T *most, RW_T *e, double *sum,
                                     int32_t n)
{
    RW_T term[RW_TERMS];
    for (int32_t left = n, m; left > 0; left -= m, z += m, most += m, sum += m) {
        m = left < RW_TERMS ? left : RW_TERMS;
        RW_T *to = e ? e : term;
        RW_IVDEP
        for (int32_t k = 0; k < m; k++)
            to[k] = RW_E(loss_exp)(z[k] - most[k], false, true);
        RW_E(add_terms)(sum, to, m);
        if (e)
            e += m;
    }
}

RW_KERNEL void RW_E(exponentials)(const void *outputs, const void *most, void *result,
                                  double *sum, int32_t n, int32_t period)
{
    const RW_T *z = outputs;
    RW_T *e = result;
    for (int32_t at = 0; at < n; at += period, z += period) {
        RW_E(exponentials_of)(z, most, e, sum, n - at < period ? n - at : period);
        if (e)
            e += period;
    }
}

/* A class that cannot be (t = 0) may have z = -inf. */
RW_KERNEL void RW_E(distances)(const void *outputs, const double *most, const double *t,
                               double *sum, double *mass, int32_t n, int32_t period)
{
    const RW_T *z = outputs;
    for (int32_t at = 0; at < n; at += period, z += period, t += period) {
        int32_t m = n - at < period ? n - at : period;
        for (int32_t k = 0; k < m; k++) {
            double part = t[k] * (most[k] - (double)z[k]);
            sum[k] += RW_E(loss_keep)(t[k] != 0 ? ~UINT64_C(0) : 0, part);
            mass[k] += t[k];
        }
    }
}

RW_KERNEL void RW_E(softmax_back)(const double *times, const double *t, const double *scale,
                                  void *exponentials, int32_t n, int32_t period)
{
    RW_T *e = exponentials;
    for (int32_t at = 0; at < n; at += period, e += period, t = t ? t + period : NULL) {
        int32_t m = n - at < period ? n - at : period;
        if (!t) {
            for (int32_t k = 0; k < m; k++)
                e[k] = (RW_T)(scale[k] * (times[k] * (double)e[k]));
            continue;
        }
        for (int32_t k = 0; k < m; k++)
            e[k] = (RW_T)(scale[k] * (times[k] * (double)e[k] - t[k]));
    }
}

/* The other half of accuracy: a yes or no that is right. */
RW_KERNEL void RW_E(agree)(const void *outputs, double threshold, const void *targets, double *sum,
                           int32_t n, int32_t period)
{
    const RW_T *z = outputs, *t = targets;
    RW_T above = (RW_T)threshold, half = (RW_T)0.5;
    for (int32_t at = 0; at < n; at += period, z += period, t += period) {
        int32_t m = n - at < period ? n - at : period;
        for (int32_t k = 0; k < m; k++)
            sum[k] += (z[k] > above) == (t[k] > half) ? 1 : 0;
    }
}

#undef RW_TERMS
#undef RW_PAIR
#undef RW_BITS
#undef RW_FRACTION
#undef RW_SHIFTER
#undef RW_EXP_LOW
#undef RW_EXP_HIGH
#undef RW_LN2_HIGH
#undef RW_LN2_LOW
