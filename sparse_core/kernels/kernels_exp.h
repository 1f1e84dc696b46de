/* kernels_exp.h -- exp, log1p and the normal distribution, for loops that compilers vectorise.
 *
 * Included by kernels_element.h, once for every precision. No operation here is fused and no
 * library is asked, so all instruction sets and machines give the same bits.
 *
 * Of the result, where eps is 2^-23 or 2^-52:
 *      exp             2 eps; below 2^-125 (float32) or 2^-1021 (float64) it is 0
 *      log1p of [0,1]  4 eps
 *      sigmoid         4 eps
 *      tail at t       (4 + t^2 / 2) eps: that much of it is the rounding of t^2 */

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
RW_INLINE RW_T RW_E(pick)(RW_BITS mask, RW_T a, RW_T b)
{
    RW_BITS x, y;
    RW_T picked;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    x = (x & mask) | (y & ~mask);
    memcpy(&picked, &x, sizeof picked);
    return picked;
}

/* Flags are constants at the call. Without them a positive number, or a NaN, gives anything. */
RW_INLINE RW_T RW_E(exp)(RW_T x, const bool positive, const bool nans)
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
RW_INLINE RW_T RW_E(log1p)(RW_T e)
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

/* 1 / (1 + exp(-z)); of NaN, anything. */
RW_INLINE RW_T RW_E(sigmoid)(RW_T z)
{
    RW_BITS positive = z >= 0 ? ~(RW_BITS)0 : 0;
    RW_T e = RW_E(exp)(-RW_FABS(z), false, false);
    return RW_E(pick)(positive, 1, e) / (1 + e);
}

/* Where the tail is 0, and exp(-2 t) too. */
#if RW_DTYPE_BITS == 32
#define RW_TAIL_END 13.5f
#else
#define RW_TAIL_END 38.0
#endif

/* The probability that a standard normal number exceeds t, for t in [0, RW_TAIL_END]; *e is
 * exp(-t^2 / 2). The tail is e / (t + 5) times a polynomial in (t - 5) / (t + 5), which
 * interpolates at Chebyshev's points: off by 0.15 eps. */
RW_INLINE RW_T RW_E(tail)(RW_T t, RW_T *e)
{
    RW_T s = 1 / (t + 5), u = 1 - 10 * s, u2 = u * u, u4 = u2 * u2;
#if RW_DTYPE_BITS == 32
    RW_T p = RW_PAIR(0.7691930426, -0.6653824185, u) + u2 * RW_PAIR(0.4953063725, -0.3135360172, u);
    p += u4 * (RW_PAIR(0.1650059648, -0.06909889824, u) +
               u2 * RW_PAIR(0.02089468732, -0.002997823835, u));
    p += u4 * u4 * RW_PAIR(-0.001039385784, 0.0003758523287, u);
#else
    RW_T u8 = u4 * u4;
    RW_T p = RW_PAIR(0.769193049750062965, -0.665382502890056806, u) +
             u2 * RW_PAIR(0.495305615969974399, -0.313533156671294999, u);
    p += u4 * (RW_PAIR(0.165020366170489505, -0.0691186387065472565, u) +
               u2 * RW_PAIR(0.0207950667977415062, -0.0029933767681178934, u));
    p += u8 * (RW_PAIR(-0.000797869376049696463, 0.000544899055101220813, u) +
               u2 * RW_PAIR(-0.0000593758631936976702, -0.0000497628189448596767, u));
    RW_T far = RW_PAIR(0.0000166817080194476976, 3.9810916716527454e-6, u) +
               u2 * RW_PAIR(-2.770367409722471e-6, -3.37358975154460059e-7, u);
    far += u4 * (RW_PAIR(4.34555514520170261e-7, 4.36587844708032864e-8, u) +
                 u2 * RW_PAIR(-6.68060839493075966e-8, -1.06086969301079215e-8, u));
    p += u8 * u4 * far;
    p += u8 * u8 * u4 * RW_PAIR(7.68714292694208486e-9, 2.24328476507427636e-9, u);
#endif
    *e = RW_E(exp)(-(t * t) / 2, false, false);
    return *e * (p * s);
}
