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
RW_INLINE f32x16 f32x16_sqrt(f32x16 a) { return _mm512_sqrt_ps(a); }
RW_INLINE f64x8 f64x8_sqrt(f64x8 a) { return _mm512_sqrt_pd(a); }

/* The first halving goes through half registers: cheaper than merging two
 * registers where a 512-bit operation occupies two 256-bit units. */
RW_INLINE f32x8 f32x16_fold(f32x16 a)
{
    __m256d high = _mm512_extractf64x4_pd(_mm512_castps_pd(a), 1);
    return _mm256_add_ps(_mm512_castps512_ps256(a), _mm256_castpd_ps(high));
}

RW_INLINE f64x4 f64x8_fold(f64x8 a)
{
    return _mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1));
}

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

#endif
