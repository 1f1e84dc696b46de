/* vec_avx512.h -- registers of 16 floats and 8 doubles; narrower ones as in AVX2. */
#ifndef RW_VEC_AVX512_H
#define RW_VEC_AVX512_H

#include "kernels/vec_avx2.h"

typedef __m512 f32x16;
typedef __m512d f64x8;

RW_INLINE f32x16 f32x16_load(const float *p) { return _mm512_loadu_ps(p); }
RW_INLINE f64x8 f64x8_load(const double *p) { return _mm512_loadu_pd(p); }
RW_INLINE void f32x16_store(float *p, f32x16 a) { _mm512_storeu_ps(p, a); }
RW_INLINE void f64x8_store(double *p, f64x8 a) { _mm512_storeu_pd(p, a); }
RW_INLINE f32x16 f32x16_zero(void) { return _mm512_setzero_ps(); }
RW_INLINE f64x8 f64x8_zero(void) { return _mm512_setzero_pd(); }
RW_INLINE f32x16 f32x16_set1(float a) { return _mm512_set1_ps(a); }
RW_INLINE f64x8 f64x8_set1(double a) { return _mm512_set1_pd(a); }
RW_INLINE f32x16 f32x16_fma(f32x16 w, f32x16 x, f32x16 acc) { return _mm512_fmadd_ps(w, x, acc); }
RW_INLINE f64x8 f64x8_fma(f64x8 w, f64x8 x, f64x8 acc) { return _mm512_fmadd_pd(w, x, acc); }
RW_INLINE f32x16 f32x16_add(f32x16 a, f32x16 b) { return _mm512_add_ps(a, b); }
RW_INLINE f64x8 f64x8_add(f64x8 a, f64x8 b) { return _mm512_add_pd(a, b); }
RW_INLINE f32x16 f32x16_mul(f32x16 a, f32x16 b) { return _mm512_mul_ps(a, b); }
RW_INLINE f64x8 f64x8_mul(f64x8 a, f64x8 b) { return _mm512_mul_pd(a, b); }
RW_INLINE f32x16 f32x16_sub(f32x16 a, f32x16 b) { return _mm512_sub_ps(a, b); }
RW_INLINE f64x8 f64x8_sub(f64x8 a, f64x8 b) { return _mm512_sub_pd(a, b); }
RW_INLINE f32x16 f32x16_sqrt(f32x16 a) { return _mm512_sqrt_ps(a); }
RW_INLINE f64x8 f64x8_sqrt(f64x8 a) { return _mm512_sqrt_pd(a); }

/* Halves of a register, and a register whose upper half is anything. */
RW_INLINE f32x8 f32x16_low(f32x16 a) { return _mm512_castps512_ps256(a); }
RW_INLINE f64x4 f64x8_low(f64x8 a) { return _mm512_castpd512_pd256(a); }
RW_INLINE f64x4 f64x8_high(f64x8 a) { return _mm512_extractf64x4_pd(a, 1); }
RW_INLINE f32x8 f32x16_high(f32x16 a)
{
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
}
RW_INLINE f32x16 f32x16_widen(f32x8 a) { return _mm512_castps256_ps512(a); }
RW_INLINE f64x8 f64x8_widen(f64x4 a) { return _mm512_castpd256_pd512(a); }

/* The first halving goes through half registers: cheaper than merging two
 * registers where a 512-bit operation occupies two 256-bit units. */
RW_INLINE f32x8 f32x16_fold(f32x16 a) { return _mm256_add_ps(f32x16_low(a), f32x16_high(a)); }
RW_INLINE f64x4 f64x8_fold(f64x8 a) { return _mm256_add_pd(f64x8_low(a), f64x8_high(a)); }

RW_INLINE float f32x16_sum(f32x16 a) { return f32x8_sum(f32x16_fold(a)); }
RW_INLINE double f64x8_sum(f64x8 a) { return f64x4_sum(f64x8_fold(a)); }

RW_INLINE void f32x16_sum8(const f32x16 *a, float *out, bool more)
{
    f32x8 half[8];
    RW_UNROLL
    for (int i = 0; i < 8; i++)
        half[i] = f32x16_fold(a[i]);
    f32x8_sum8(half, out, more);
}

RW_INLINE void f64x8_sum8(const f64x8 *a, double *out, bool more)
{
    f64x4 half[8];
    RW_UNROLL
    for (int i = 0; i < 8; i++)
        half[i] = f64x8_fold(a[i]);
    f64x4_sum8(half, out, more);
}

/* --- squares turned over ---------------------------------------------------- */

/* A square of four by four values in each quarter of the registers, then the quarters, as if they
 * were single values. */

RW_INLINE __m512 f32x16_evens(__m512 a, __m512 b)
{
    return _mm512_shuffle_f32x4(a, b, _MM_SHUFFLE(2, 0, 2, 0));
}

RW_INLINE __m512 f32x16_odds(__m512 a, __m512 b)
{
    return _mm512_shuffle_f32x4(a, b, _MM_SHUFFLE(3, 1, 3, 1));
}

RW_INLINE void f32x16_turn(char *const *from, char *const *to)
{
    __m512 q[16]; /* q[4 k + c]: column 4 h + c of rows 4 k and on, in quarter h */
    RW_UNROLL
    for (int k = 0; k < 16; k += 4) {
        __m512 a = _mm512_loadu_ps(from[k]), b = _mm512_loadu_ps(from[k + 1]);
        __m512 c = _mm512_loadu_ps(from[k + 2]), d = _mm512_loadu_ps(from[k + 3]);
        __m512 ab = _mm512_unpacklo_ps(a, b), cd = _mm512_unpacklo_ps(c, d);
        __m512 ab_high = _mm512_unpackhi_ps(a, b), cd_high = _mm512_unpackhi_ps(c, d);
        q[k] = _mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0));
        q[k + 1] = _mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2));
        q[k + 2] = _mm512_shuffle_ps(ab_high, cd_high, _MM_SHUFFLE(1, 0, 1, 0));
        q[k + 3] = _mm512_shuffle_ps(ab_high, cd_high, _MM_SHUFFLE(3, 2, 3, 2));
    }
    RW_UNROLL
    for (int c = 0; c < 4; c++) {
        __m512 e0 = f32x16_evens(q[c], q[4 + c]), e1 = f32x16_evens(q[8 + c], q[12 + c]);
        __m512 o0 = f32x16_odds(q[c], q[4 + c]), o1 = f32x16_odds(q[8 + c], q[12 + c]);
        _mm512_storeu_ps(to[c], f32x16_evens(e0, e1));
        _mm512_storeu_ps(to[4 + c], f32x16_evens(o0, o1));
        _mm512_storeu_ps(to[8 + c], f32x16_odds(e0, e1));
        _mm512_storeu_ps(to[12 + c], f32x16_odds(o0, o1));
    }
}

RW_INLINE __m512d f64x8_evens(__m512d a, __m512d b)
{
    return _mm512_shuffle_f64x2(a, b, _MM_SHUFFLE(2, 0, 2, 0));
}

RW_INLINE __m512d f64x8_odds(__m512d a, __m512d b)
{
    return _mm512_shuffle_f64x2(a, b, _MM_SHUFFLE(3, 1, 3, 1));
}

RW_INLINE void f64x8_turn(char *const *from, char *const *to)
{
    __m512d q[8]; /* q[2 k + c]: column 2 h + c of rows 2 k and 2 k + 1, in quarter h */
    RW_UNROLL
    for (int k = 0; k < 8; k += 2) {
        __m512d a = _mm512_loadu_pd(from[k]), b = _mm512_loadu_pd(from[k + 1]);
        q[k] = _mm512_unpacklo_pd(a, b);
        q[k + 1] = _mm512_unpackhi_pd(a, b);
    }
    RW_UNROLL
    for (int c = 0; c < 2; c++) {
        __m512d e0 = f64x8_evens(q[c], q[2 + c]), e1 = f64x8_evens(q[4 + c], q[6 + c]);
        __m512d o0 = f64x8_odds(q[c], q[2 + c]), o1 = f64x8_odds(q[4 + c], q[6 + c]);
        _mm512_storeu_pd(to[c], f64x8_evens(e0, e1));
        _mm512_storeu_pd(to[2 + c], f64x8_evens(o0, o1));
        _mm512_storeu_pd(to[4 + c], f64x8_odds(e0, e1));
        _mm512_storeu_pd(to[6 + c], f64x8_odds(o0, o1));
    }
}

#endif
