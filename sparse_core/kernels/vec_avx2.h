/* vec_avx2.h -- registers of 8 and 4 floats, 4 and 2 doubles; see vec_scalar.h. */
#ifndef RW_VEC_AVX2_H
#define RW_VEC_AVX2_H

#define RW_FUSED 1
#include "kernels/vec_scalar.h"

#include <immintrin.h>

typedef __m256 f32x8;
typedef __m128 f32x4;
typedef __m256d f64x4;
typedef __m128d f64x2;

RW_INLINE f32x8 f32x8_load(const float *p) { return _mm256_loadu_ps(p); }
RW_INLINE f32x4 f32x4_load(const float *p) { return _mm_loadu_ps(p); }
RW_INLINE f64x4 f64x4_load(const double *p) { return _mm256_loadu_pd(p); }
RW_INLINE f64x2 f64x2_load(const double *p) { return _mm_loadu_pd(p); }
RW_INLINE void f32x8_store(float *p, f32x8 a) { _mm256_storeu_ps(p, a); }
RW_INLINE void f32x4_store(float *p, f32x4 a) { _mm_storeu_ps(p, a); }
RW_INLINE void f64x4_store(double *p, f64x4 a) { _mm256_storeu_pd(p, a); }
RW_INLINE void f64x2_store(double *p, f64x2 a) { _mm_storeu_pd(p, a); }
RW_INLINE f32x8 f32x8_zero(void) { return _mm256_setzero_ps(); }
RW_INLINE f32x4 f32x4_zero(void) { return _mm_setzero_ps(); }
RW_INLINE f64x4 f64x4_zero(void) { return _mm256_setzero_pd(); }
RW_INLINE f64x2 f64x2_zero(void) { return _mm_setzero_pd(); }
RW_INLINE f32x8 f32x8_set1(float a) { return _mm256_set1_ps(a); }
RW_INLINE f32x4 f32x4_set1(float a) { return _mm_set1_ps(a); }
RW_INLINE f64x4 f64x4_set1(double a) { return _mm256_set1_pd(a); }
RW_INLINE f64x2 f64x2_set1(double a) { return _mm_set1_pd(a); }
RW_INLINE f32x8 f32x8_fma(f32x8 w, f32x8 x, f32x8 acc) { return _mm256_fmadd_ps(w, x, acc); }
RW_INLINE f32x4 f32x4_fma(f32x4 w, f32x4 x, f32x4 acc) { return _mm_fmadd_ps(w, x, acc); }
RW_INLINE f64x4 f64x4_fma(f64x4 w, f64x4 x, f64x4 acc) { return _mm256_fmadd_pd(w, x, acc); }
RW_INLINE f64x2 f64x2_fma(f64x2 w, f64x2 x, f64x2 acc) { return _mm_fmadd_pd(w, x, acc); }
RW_INLINE f32x8 f32x8_add(f32x8 a, f32x8 b) { return _mm256_add_ps(a, b); }
RW_INLINE f32x4 f32x4_add(f32x4 a, f32x4 b) { return _mm_add_ps(a, b); }
RW_INLINE f64x4 f64x4_add(f64x4 a, f64x4 b) { return _mm256_add_pd(a, b); }
RW_INLINE f64x2 f64x2_add(f64x2 a, f64x2 b) { return _mm_add_pd(a, b); }
RW_INLINE f32x8 f32x8_mul(f32x8 a, f32x8 b) { return _mm256_mul_ps(a, b); }
RW_INLINE f32x4 f32x4_mul(f32x4 a, f32x4 b) { return _mm_mul_ps(a, b); }
RW_INLINE f64x4 f64x4_mul(f64x4 a, f64x4 b) { return _mm256_mul_pd(a, b); }
RW_INLINE f64x2 f64x2_mul(f64x2 a, f64x2 b) { return _mm_mul_pd(a, b); }
RW_INLINE f32x8 f32x8_sub(f32x8 a, f32x8 b) { return _mm256_sub_ps(a, b); }
RW_INLINE f32x4 f32x4_sub(f32x4 a, f32x4 b) { return _mm_sub_ps(a, b); }
RW_INLINE f64x4 f64x4_sub(f64x4 a, f64x4 b) { return _mm256_sub_pd(a, b); }
RW_INLINE f64x2 f64x2_sub(f64x2 a, f64x2 b) { return _mm_sub_pd(a, b); }
RW_INLINE f32x8 f32x8_sqrt(f32x8 a) { return _mm256_sqrt_ps(a); }
RW_INLINE f64x4 f64x4_sqrt(f64x4 a) { return _mm256_sqrt_pd(a); }

/* Two floats: the lower half of a register; what the upper one holds is nobody's. */
typedef struct { __m128 v; } f32x2;

RW_INLINE f32x2 f32x2_load(const float *p)
{
    return (f32x2){ _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(const void *)p)) };
}
RW_INLINE void f32x2_store(float *p, f32x2 a) { _mm_storel_pi((__m64 *)(void *)p, a.v); }
RW_INLINE f32x2 f32x2_zero(void) { return (f32x2){ _mm_setzero_ps() }; }
RW_INLINE f32x2 f32x2_set1(float a) { return (f32x2){ _mm_set1_ps(a) }; }
RW_INLINE f32x2 f32x2_fma(f32x2 w, f32x2 x, f32x2 acc)
{
    return (f32x2){ _mm_fmadd_ps(w.v, x.v, acc.v) };
}
RW_INLINE f32x2 f32x2_add(f32x2 a, f32x2 b) { return (f32x2){ _mm_add_ps(a.v, b.v) }; }
RW_INLINE f32x2 f32x2_mul(f32x2 a, f32x2 b) { return (f32x2){ _mm_mul_ps(a.v, b.v) }; }
RW_INLINE f32x2 f32x2_sub(f32x2 a, f32x2 b) { return (f32x2){ _mm_sub_ps(a.v, b.v) }; }

/* --- sums of one register: halve until one lane is left ------------------- */

RW_INLINE f32x4 f32x8_fold(f32x8 a)
{
    return _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
}

RW_INLINE f64x2 f64x4_fold(f64x4 a)
{
    return _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
}

RW_INLINE float f32x4_sum(f32x4 a)
{
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)));
}

RW_INLINE float f32x2_sum(f32x2 a)
{
    return _mm_cvtss_f32(_mm_add_ss(a.v, _mm_movehdup_ps(a.v)));
}

RW_INLINE double f64x2_sum(f64x2 a)
{
    return _mm_cvtsd_f64(_mm_add_sd(a, _mm_unpackhi_pd(a, a)));
}

RW_INLINE float f32x8_sum(f32x8 a) { return f32x4_sum(f32x8_fold(a)); }
RW_INLINE double f64x4_sum(f64x4 a) { return f64x2_sum(f64x4_fold(a)); }

/* --- sums of eight registers: two in one ---------------------------------- */

/* A halving leaves half of a register idle, so it takes two: where bit h of the
 * lane is 0 the result is x[l] + x[l + h], where it is 1 it is y[l - h] + y[l].
 * A blend brings the lanes that stay, one shuffle those that move. Registers i
 * and i + h are paired, so that in the end lane l holds the sum of register l. */

RW_INLINE f32x8 f32x8_fold4(f32x8 x, f32x8 y)
{
    return _mm256_add_ps(_mm256_blend_ps(x, y, 0xF0), _mm256_permute2f128_ps(x, y, 0x21));
}

RW_INLINE f32x8 f32x8_fold2(f32x8 x, f32x8 y)
{
    return _mm256_add_ps(_mm256_blend_ps(x, y, 0xCC), _mm256_shuffle_ps(x, y, 0x4E));
}

RW_INLINE f32x8 f32x8_fold1(f32x8 x, f32x8 y)
{
    f32x8 moves = _mm256_blend_ps(y, x, 0xAA);
    return _mm256_add_ps(_mm256_blend_ps(x, y, 0xAA), _mm256_permute_ps(moves, 0xB1));
}

RW_INLINE f32x4 f32x4_fold2(f32x4 x, f32x4 y)
{
    return _mm_add_ps(_mm_blend_ps(x, y, 0xC), _mm_shuffle_ps(x, y, 0x4E));
}

RW_INLINE f32x4 f32x4_fold1(f32x4 x, f32x4 y)
{
    return _mm_add_ps(_mm_blend_ps(x, y, 0xA), _mm_permute_ps(_mm_blend_ps(y, x, 0xA), 0xB1));
}

RW_INLINE f64x4 f64x4_fold2(f64x4 x, f64x4 y)
{
    return _mm256_add_pd(_mm256_blend_pd(x, y, 0xC), _mm256_permute2f128_pd(x, y, 0x21));
}

RW_INLINE f64x4 f64x4_fold1(f64x4 x, f64x4 y)
{
    return _mm256_add_pd(_mm256_blend_pd(x, y, 0xA), _mm256_shuffle_pd(x, y, 0x5));
}

RW_INLINE f64x2 f64x2_fold1(f64x2 x, f64x2 y)
{
    return _mm_add_pd(_mm_blend_pd(x, y, 0x2), _mm_shuffle_pd(x, y, 0x1));
}

RW_INLINE void f32x8_sum8(const f32x8 *a, float *out, bool more)
{
    f32x8 s0 = f32x8_fold4(a[0], a[4]), s1 = f32x8_fold4(a[1], a[5]);
    f32x8 s2 = f32x8_fold4(a[2], a[6]), s3 = f32x8_fold4(a[3], a[7]);
    f32x8 sum = f32x8_fold1(f32x8_fold2(s0, s2), f32x8_fold2(s1, s3));
    _mm256_storeu_ps(out, more ? _mm256_add_ps(_mm256_loadu_ps(out), sum) : sum);
}

RW_INLINE void f32x4_sum8(const f32x4 *a, float *out, bool more)
{
    for (int i = 0; i < 8; i += 4) {
        f32x4 sum = f32x4_fold1(f32x4_fold2(a[i], a[i + 2]), f32x4_fold2(a[i + 1], a[i + 3]));
        _mm_storeu_ps(out + i, more ? _mm_add_ps(_mm_loadu_ps(out + i), sum) : sum);
    }
}

RW_INLINE void f32x2_sum8(const f32x2 *a, float *out, bool more)
{
    for (int i = 0; i < 8; i += 4) {
        __m128 low = _mm_movelh_ps(a[i].v, a[i + 1].v);
        __m128 high = _mm_movelh_ps(a[i + 2].v, a[i + 3].v);
        __m128 sum = _mm_add_ps(_mm_shuffle_ps(low, high, 0x88), _mm_shuffle_ps(low, high, 0xDD));
        _mm_storeu_ps(out + i, more ? _mm_add_ps(_mm_loadu_ps(out + i), sum) : sum);
    }
}

RW_INLINE void f64x4_sum8(const f64x4 *a, double *out, bool more)
{
    for (int i = 0; i < 8; i += 4) {
        f64x4 sum = f64x4_fold1(f64x4_fold2(a[i], a[i + 2]), f64x4_fold2(a[i + 1], a[i + 3]));
        _mm256_storeu_pd(out + i, more ? _mm256_add_pd(_mm256_loadu_pd(out + i), sum) : sum);
    }
}

RW_INLINE void f64x2_sum8(const f64x2 *a, double *out, bool more)
{
    for (int i = 0; i < 8; i += 2) {
        f64x2 sum = f64x2_fold1(a[i], a[i + 1]);
        _mm_storeu_pd(out + i, more ? _mm_add_pd(_mm_loadu_pd(out + i), sum) : sum);
    }
}

/* --- squares turned over ---------------------------------------------------- */

/* Halves of registers are loaded where they belong: an insertion from memory costs a load, one
 * between registers a shuffle. Half h of register k is what comes of row k + h * lanes / 2. */

RW_INLINE __m128 f32x4_at(const char *p) { return _mm_loadu_ps((const float *)(const void *)p); }
RW_INLINE __m128d f64x2_at(const char *p) { return _mm_loadu_pd((const double *)(const void *)p); }

RW_INLINE void f32x8_turn(char *const *from, char *const *to)
{
    RW_UNROLL
    for (int c = 0; c < 2; c++) { /* columns 4 c to 4 c + 3 */
        __m256 r[4], t[4];
        RW_UNROLL
        for (int k = 0; k < 4; k++)
            r[k] = _mm256_insertf128_ps(_mm256_castps128_ps256(f32x4_at(from[k] + 16 * c)),
                                        f32x4_at(from[k + 4] + 16 * c), 1);
        t[0] = _mm256_unpacklo_ps(r[0], r[1]);
        t[1] = _mm256_unpackhi_ps(r[0], r[1]);
        t[2] = _mm256_unpacklo_ps(r[2], r[3]);
        t[3] = _mm256_unpackhi_ps(r[2], r[3]);
        RW_UNROLL
        for (int k = 0; k < 2; k++) {
            __m256 even = _mm256_shuffle_ps(t[k], t[k + 2], _MM_SHUFFLE(1, 0, 1, 0));
            __m256 odd = _mm256_shuffle_ps(t[k], t[k + 2], _MM_SHUFFLE(3, 2, 3, 2));
            _mm256_storeu_ps((float *)(void *)to[4 * c + 2 * k], even);
            _mm256_storeu_ps((float *)(void *)to[4 * c + 2 * k + 1], odd);
        }
    }
}

RW_INLINE void f64x4_turn(char *const *from, char *const *to)
{
    RW_UNROLL
    for (int c = 0; c < 2; c++) { /* columns 2 c and 2 c + 1 */
        __m256d r[2];
        RW_UNROLL
        for (int k = 0; k < 2; k++)
            r[k] = _mm256_insertf128_pd(_mm256_castpd128_pd256(f64x2_at(from[k] + 16 * c)),
                                        f64x2_at(from[k + 2] + 16 * c), 1);
        _mm256_storeu_pd((double *)(void *)to[2 * c], _mm256_unpacklo_pd(r[0], r[1]));
        _mm256_storeu_pd((double *)(void *)to[2 * c + 1], _mm256_unpackhi_pd(r[0], r[1]));
    }
}

RW_INLINE void f32x4_turn(char *const *from, char *const *to)
{
    __m128 a = f32x4_at(from[0]), b = f32x4_at(from[1]), c = f32x4_at(from[2]);
    __m128 d = f32x4_at(from[3]);
    __m128 ab = _mm_unpacklo_ps(a, b), cd = _mm_unpacklo_ps(c, d);
    __m128 ab_high = _mm_unpackhi_ps(a, b), cd_high = _mm_unpackhi_ps(c, d);
    _mm_storeu_ps((float *)(void *)to[0], _mm_movelh_ps(ab, cd));
    _mm_storeu_ps((float *)(void *)to[1], _mm_movehl_ps(cd, ab));
    _mm_storeu_ps((float *)(void *)to[2], _mm_movelh_ps(ab_high, cd_high));
    _mm_storeu_ps((float *)(void *)to[3], _mm_movehl_ps(cd_high, ab_high));
}

RW_INLINE void f64x2_turn(char *const *from, char *const *to)
{
    __m128d a = f64x2_at(from[0]), b = f64x2_at(from[1]);
    _mm_storeu_pd((double *)(void *)to[0], _mm_unpacklo_pd(a, b));
    _mm_storeu_pd((double *)(void *)to[1], _mm_unpackhi_pd(a, b));
}

RW_INLINE void f32x2_turn(char *const *from, char *const *to)
{
    __m128 both = _mm_unpacklo_ps(f32x2_load((const float *)(const void *)from[0]).v,
                                  f32x2_load((const float *)(const void *)from[1]).v);
    _mm_storel_pi((__m64 *)(void *)to[0], both);
    _mm_storeh_pi((__m64 *)(void *)to[1], both);
}

#endif
