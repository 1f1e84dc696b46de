/* vec_neon.h -- registers of 4 or 2 floats, 2 doubles; every aarch64 has them (vec_scalar.h). */
#ifndef RW_VEC_NEON_H
#define RW_VEC_NEON_H

#define RW_FUSED 1
#include "kernels/vec_scalar.h"

#include <arm_neon.h>

typedef float32x4_t f32x4;
typedef float32x2_t f32x2;
typedef float64x2_t f64x2;

RW_INLINE f32x4 f32x4_load(const float *p) { return vld1q_f32(p); }
RW_INLINE f32x2 f32x2_load(const float *p) { return vld1_f32(p); }
RW_INLINE f64x2 f64x2_load(const double *p) { return vld1q_f64(p); }
RW_INLINE void f32x4_store(float *p, f32x4 a) { vst1q_f32(p, a); }
RW_INLINE void f32x2_store(float *p, f32x2 a) { vst1_f32(p, a); }
RW_INLINE void f64x2_store(double *p, f64x2 a) { vst1q_f64(p, a); }
RW_INLINE f32x4 f32x4_zero(void) { return vdupq_n_f32(0); }
RW_INLINE f32x2 f32x2_zero(void) { return vdup_n_f32(0); }
RW_INLINE f64x2 f64x2_zero(void) { return vdupq_n_f64(0); }
RW_INLINE f32x4 f32x4_set1(float a) { return vdupq_n_f32(a); }
RW_INLINE f32x2 f32x2_set1(float a) { return vdup_n_f32(a); }
RW_INLINE f64x2 f64x2_set1(double a) { return vdupq_n_f64(a); }
RW_INLINE f32x4 f32x4_fma(f32x4 w, f32x4 x, f32x4 acc) { return vfmaq_f32(acc, x, w); }
RW_INLINE f32x2 f32x2_fma(f32x2 w, f32x2 x, f32x2 acc) { return vfma_f32(acc, x, w); }
RW_INLINE f64x2 f64x2_fma(f64x2 w, f64x2 x, f64x2 acc) { return vfmaq_f64(acc, x, w); }
RW_INLINE f32x4 f32x4_add(f32x4 a, f32x4 b) { return vaddq_f32(a, b); }
RW_INLINE f32x2 f32x2_add(f32x2 a, f32x2 b) { return vadd_f32(a, b); }
RW_INLINE f64x2 f64x2_add(f64x2 a, f64x2 b) { return vaddq_f64(a, b); }
RW_INLINE f32x4 f32x4_mul(f32x4 a, f32x4 b) { return vmulq_f32(a, b); }
RW_INLINE f32x2 f32x2_mul(f32x2 a, f32x2 b) { return vmul_f32(a, b); }
RW_INLINE f64x2 f64x2_mul(f64x2 a, f64x2 b) { return vmulq_f64(a, b); }
RW_INLINE f32x4 f32x4_sub(f32x4 a, f32x4 b) { return vsubq_f32(a, b); }
RW_INLINE f32x2 f32x2_sub(f32x2 a, f32x2 b) { return vsub_f32(a, b); }
RW_INLINE f64x2 f64x2_sub(f64x2 a, f64x2 b) { return vsubq_f64(a, b); }
RW_INLINE f32x4 f32x4_sqrt(f32x4 a) { return vsqrtq_f32(a); }
RW_INLINE f64x2 f64x2_sqrt(f64x2 a) { return vsqrtq_f64(a); }

/* --- sums of one register: halve until one lane is left ------------------- */

RW_INLINE float f32x4_sum(f32x4 a)
{
    return vpadds_f32(vadd_f32(vget_low_f32(a), vget_high_f32(a)));
}

RW_INLINE float f32x2_sum(f32x2 a) { return vpadds_f32(a); }
RW_INLINE double f64x2_sum(f64x2 a) { return vpaddd_f64(a); }

/* --- sums of eight registers: two in one ---------------------------------- */

/* The first halving of two registers fills one: x[0] + x[2], x[1] + x[3], and
 * the same of y. The second is a pairwise addition, and leaves sums in the order
 * of their registers. */
RW_INLINE f32x4 f32x4_fold2(f32x4 x, f32x4 y)
{
    float64x2_t a = vreinterpretq_f64_f32(x), b = vreinterpretq_f64_f32(y);
    return vaddq_f32(vreinterpretq_f32_f64(vzip1q_f64(a, b)),
                     vreinterpretq_f32_f64(vzip2q_f64(a, b)));
}

RW_INLINE f32x4 f32x4_fold1(f32x4 x, f32x4 y) { return vpaddq_f32(x, y); }
RW_INLINE f64x2 f64x2_fold1(f64x2 x, f64x2 y) { return vpaddq_f64(x, y); }

RW_INLINE void f32x4_sum8(const f32x4 *a, float *out, bool more)
{
    RW_UNROLL
    for (int i = 0; i < 8; i += 4) {
        f32x4 sum = f32x4_fold1(f32x4_fold2(a[i], a[i + 1]), f32x4_fold2(a[i + 2], a[i + 3]));
        vst1q_f32(out + i, more ? vaddq_f32(vld1q_f32(out + i), sum) : sum);
    }
}

RW_INLINE void f32x2_sum8(const f32x2 *a, float *out, bool more)
{
    RW_UNROLL
    for (int i = 0; i < 8; i += 2) {
        f32x2 sum = vpadd_f32(a[i], a[i + 1]);
        vst1_f32(out + i, more ? vadd_f32(vld1_f32(out + i), sum) : sum);
    }
}

RW_INLINE void f64x2_sum8(const f64x2 *a, double *out, bool more)
{
    RW_UNROLL
    for (int i = 0; i < 8; i += 2) {
        f64x2 sum = f64x2_fold1(a[i], a[i + 1]);
        vst1q_f64(out + i, more ? vaddq_f64(vld1q_f64(out + i), sum) : sum);
    }
}

/* --- squares turned over ---------------------------------------------------- */

RW_INLINE float32x4_t f32x4_at(const char *p) { return vld1q_f32((const float *)(const void *)p); }
RW_INLINE float64x2_t f64x2_at(const char *p) { return vld1q_f64((const double *)(const void *)p); }

RW_INLINE void f32x4_turn(char *const *from, char *const *to)
{
    float32x4_t a = f32x4_at(from[0]), b = f32x4_at(from[1]);
    float32x4_t c = f32x4_at(from[2]), d = f32x4_at(from[3]);
    float32x4_t ac = vzip1q_f32(a, c), bd = vzip1q_f32(b, d);
    float32x4_t ac_high = vzip2q_f32(a, c), bd_high = vzip2q_f32(b, d);
    vst1q_f32((float *)(void *)to[0], vzip1q_f32(ac, bd));
    vst1q_f32((float *)(void *)to[1], vzip2q_f32(ac, bd));
    vst1q_f32((float *)(void *)to[2], vzip1q_f32(ac_high, bd_high));
    vst1q_f32((float *)(void *)to[3], vzip2q_f32(ac_high, bd_high));
}

RW_INLINE void f32x2_turn(char *const *from, char *const *to)
{
    float32x2_t a = vld1_f32((const float *)(const void *)from[0]);
    float32x2_t b = vld1_f32((const float *)(const void *)from[1]);
    vst1_f32((float *)(void *)to[0], vzip1_f32(a, b));
    vst1_f32((float *)(void *)to[1], vzip2_f32(a, b));
}

RW_INLINE void f64x2_turn(char *const *from, char *const *to)
{
    float64x2_t a = f64x2_at(from[0]), b = f64x2_at(from[1]);
    vst1q_f64((double *)(void *)to[0], vzip1q_f64(a, b));
    vst1q_f64((double *)(void *)to[1], vzip2q_f64(a, b));
}

#endif
