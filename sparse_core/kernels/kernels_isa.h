/* kernels_isa.h -- what the instruction-set files share: names, attributes, tables.
 *
 * kernels_<isa>.c sets RW_TARGET (the target attribute of every function it
 * compiles), includes its vec_<isa>.h, then includes kernels_body.h once for
 * every register width and kernels_element.h once for every precision:
 *
 *      RW_T     float                  the values
 *      RW_VEC   f32x16                 a register of them; f32x16_load and so on
 *      RW_F     f32                    the precision, for elementwise kernels
 *
 * Template functions are forced inline and called with constants, so that their
 * inner loops unroll and their small arrays become registers. What they are
 * called from, a function for each group, stays a function of its own: in a
 * large one compilers keep loop counters on the stack. */
#ifndef RW_KERNELS_ISA_H
#define RW_KERNELS_ISA_H

#include "base/order.h"
#include "kernels/kernels.h"

#include <string.h>

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#define RW_X86 1
#else
#define RW_X86 0
#endif

/* Compilers that know products of bfloat16, and how to ask a processor for them. */
#if RW_X86 && (defined(__clang__) ? __clang_major__ >= 10 : __GNUC__ >= 11)
#define RW_X86_BF16 1
#else
#define RW_X86_BF16 0
#endif

#if defined(__aarch64__) && defined(__ARM_NEON)
#define RW_NEON 1
#else
#define RW_NEON 0
#endif

#define RW_CAT_(a, b) a##_##b
#define RW_CAT(a, b) RW_CAT_(a, b)
#define RW_V(name) RW_CAT(RW_VEC, name)
#define RW_E(name) RW_CAT(RW_F, name)

#if defined(__GNUC__)
#define RW_INLINE static inline __attribute__((always_inline)) RW_TARGET
#define RW_KERNEL static RW_TARGET
#define RW_OUTLINE static __attribute__((noinline)) RW_TARGET
#else
#define RW_INLINE static inline
#define RW_KERNEL static
#define RW_OUTLINE static
#endif

/* Before a loop of constant length: all of it, so that arrays indexed in it
 * become registers. Before an elementwise loop in place: iterations do not
 * depend on each other although x may be y. */
#if defined(__clang__)
#define RW_UNROLL _Pragma("clang loop unroll(full)")
#define RW_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define RW_UNROLL _Pragma("GCC unroll 16")
#define RW_IVDEP _Pragma("GCC ivdep")
#else
#define RW_UNROLL
#define RW_IVDEP
#endif

/* Bytes of a cache line; how many slots ahead what they point to is asked for (8
 * slots take about as long as memory), and how many rows ahead a row's piece. */
enum { RW_LINE = 64, RW_AHEAD = 8, RW_ROWS_AHEAD = 2 };
_Static_assert(RW_AHEAD >= 8,
               "dW fetches the next 8 slots, which rw_can_look_ahead must vouch for");
#if defined(__GNUC__)
#define RW_PREFETCH(address) __builtin_prefetch(address)
#else
#define RW_PREFETCH(address) ((void)(address))
#endif

/* May sources up to RW_AHEAD behind `stop` be read? Not in the last row of all. */
static inline bool rw_can_look_ahead(const rw_rows *w, int32_t g, int32_t stop)
{
    return w->start[g] + stop + RW_AHEAD <= w->room;
}

/* A hash for a pair of features and a sample, from the two words of 32 bits that rw_split_mix gives the
 * pair, and `spread`, the sample's number times RW_GOLDEN_32. The sample goes through two rounds of
 * multiply and xor-shift (the constants of Wellons's "lowbias32"), with the pair's second word between them
 * so that two pairs whose first words lie close do not share a shifted mask. The last xor-shift, by 16, is
 * left to rw_bits_of_first, for it changes nothing in the upper half. The top bit is inverted, so that
 * signed numbers compare as the unsigned ones did: not every instruction set compares those. */
#define RW_GOLDEN_32 0x9E3779B9u
#define RW_SIGN_32 0x80000000u
#define RW_UNIT_BITS 16 /* of each of the two features */
#define RW_LOWBIAS_FIRST 0x7FEB352Du
#define RW_LOWBIAS_SECOND 0x846CA68Bu
static inline uint32_t rw_dropout_hash(uint32_t base, uint32_t twist, uint32_t spread)
{
    uint32_t h = base + spread;
    h ^= h >> 16;
    h *= RW_LOWBIAS_FIRST;
    h ^= h >> 15;
    h += twist ^ RW_SIGN_32; /* times an odd number it is the top bit alone */
    return h * RW_LOWBIAS_SECOND;
}

/* The bits of each feature of the pair are the upper RW_UNIT_BITS. What is below them changes no
 * comparison with rw_dropout_below. */
static inline int32_t rw_bits_of_first(uint32_t hash) { return (int32_t)(hash ^ hash << RW_UNIT_BITS); }
static inline int32_t rw_bits_of_second(uint32_t hash) { return (int32_t)hash; }

/* What bits are less with probability p, a multiple of 2^-16; of 1, which has no such number, that of 0. */
static inline int32_t rw_dropout_below(double p)
{
    return (int32_t)((uint32_t)(p * 0x1p16 + 0.5) << RW_UNIT_BITS ^ RW_SIGN_32);
}

extern const rw_kernels rw_kernels_scalar_f32, rw_kernels_scalar_f64;
#if RW_X86
extern const rw_kernels rw_kernels_avx2_f32, rw_kernels_avx2_f64;
extern const rw_kernels rw_kernels_avx512_f32, rw_kernels_avx512_f64;
#endif
#if RW_X86_BF16
extern const rw_bf16_kernels rw_bf16_avx512;
extern const rw_kernels rw_kernels_avx512bf16_f32;
#endif
#if RW_NEON
extern const rw_kernels rw_kernels_neon_f32, rw_kernels_neon_f64;
#endif

#endif
