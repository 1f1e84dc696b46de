/* vec_scalar.h -- registers of one value.
 *
 * The whole of the scalar set, and the narrowest width of the others: with
 * RW_FUSED (set where the fma instruction exists) one sample's sum has the same
 * bits as a lane of a wide register.
 *
 * Every vec_<isa>.h gives, for each type:
 *   load store zero set1   as they say; addresses need no alignment
 *   fma(w, x, acc)         w * x + acc
 *   add mul sub sqrt       lane by lane
 *   sum(a)                 lanes in halves: l and l + lanes/2, and so on
 *   sum8(a, out, more)     the same of eight registers: out[i] = sum(a[i]),
 *                          or out[i] += sum(a[i]) if more
 *   turn(from, to)         a square of values turned over: value c after from[r]
 *                          goes to place r after to[c]; addresses need no alignment */
#ifndef RW_VEC_SCALAR_H
#define RW_VEC_SCALAR_H

#include "kernels/kernels_isa.h"

#include <math.h>

typedef float f32x1;
typedef double f64x1;

RW_INLINE f32x1 f32x1_load(const float *p) { return *p; }
RW_INLINE f64x1 f64x1_load(const double *p) { return *p; }
RW_INLINE void f32x1_store(float *p, f32x1 a) { *p = a; }
RW_INLINE void f64x1_store(double *p, f64x1 a) { *p = a; }
RW_INLINE f32x1 f32x1_zero(void) { return 0.0f; }
RW_INLINE f64x1 f64x1_zero(void) { return 0.0; }
RW_INLINE f32x1 f32x1_set1(float a) { return a; }
RW_INLINE f64x1 f64x1_set1(double a) { return a; }
RW_INLINE f32x1 f32x1_add(f32x1 a, f32x1 b) { return a + b; }
RW_INLINE f64x1 f64x1_add(f64x1 a, f64x1 b) { return a + b; }
RW_INLINE f32x1 f32x1_mul(f32x1 a, f32x1 b) { return a * b; }
RW_INLINE f64x1 f64x1_mul(f64x1 a, f64x1 b) { return a * b; }
RW_INLINE f32x1 f32x1_sub(f32x1 a, f32x1 b) { return a - b; }
RW_INLINE f64x1 f64x1_sub(f64x1 a, f64x1 b) { return a - b; }
RW_INLINE f32x1 f32x1_sqrt(f32x1 a) { return sqrtf(a); }
RW_INLINE f64x1 f64x1_sqrt(f64x1 a) { return sqrt(a); }
#ifdef RW_FUSED
RW_INLINE f32x1 f32x1_fma(f32x1 w, f32x1 x, f32x1 acc) { return fmaf(w, x, acc); }
RW_INLINE f64x1 f64x1_fma(f64x1 w, f64x1 x, f64x1 acc) { return fma(w, x, acc); }
#else
RW_INLINE f32x1 f32x1_fma(f32x1 w, f32x1 x, f32x1 acc) { return w * x + acc; }
RW_INLINE f64x1 f64x1_fma(f64x1 w, f64x1 x, f64x1 acc) { return w * x + acc; }
#endif
RW_INLINE float f32x1_sum(f32x1 a) { return a; }
RW_INLINE double f64x1_sum(f64x1 a) { return a; }

RW_INLINE void f32x1_turn(char *const *from, char *const *to)
{
    memcpy(to[0], from[0], sizeof(float));
}

RW_INLINE void f64x1_turn(char *const *from, char *const *to)
{
    memcpy(to[0], from[0], sizeof(double));
}

RW_INLINE void f32x1_sum8(const f32x1 *a, float *out, bool more)
{
    for (int i = 0; i < 8; i++)
        out[i] = more ? out[i] + a[i] : a[i];
}

RW_INLINE void f64x1_sum8(const f64x1 *a, double *out, bool more)
{
    for (int i = 0; i < 8; i++)
        out[i] = more ? out[i] + a[i] : a[i];
}

#endif
