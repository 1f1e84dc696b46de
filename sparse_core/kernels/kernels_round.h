/* kernels_round.h -- float32 rounded to bfloat16 (included by kernels_element.h).
 *
 * To nearest, ties to even, by integer arithmetic that compilers turn into vector code; as the
 * instructions for it do: a subnormal number becomes a zero of its sign, and a NaN stays one. */

#define RW_BF16_DROPPED 16 /* bits of the fraction that go */
#define RW_BF16_HALF 0x7fffu /* with the last bit that stays: what rounds half to even */
#define RW_BF16_QUIET 0x00400000u
#define RW_BF16_SIGN 0x80000000u
#define RW_BF16_EXPONENT 0x7f800000u

RW_KERNEL void RW_E(round_bf16)(const void *x, void *y, int64_t n)
{
    const float *from = x;
    float *to = y;
    RW_IVDEP
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, from + i, sizeof bits);
        uint32_t size = bits & ~RW_BF16_SIGN;
        uint32_t kept = bits + RW_BF16_HALF + ((bits >> RW_BF16_DROPPED) & 1);
        kept = size > RW_BF16_EXPONENT ? bits | RW_BF16_QUIET : kept;
        kept = !(size & RW_BF16_EXPONENT) ? bits & RW_BF16_SIGN : kept;
        kept = kept >> RW_BF16_DROPPED << RW_BF16_DROPPED;
        memcpy(to + i, &kept, sizeof kept);
    }
}

#undef RW_BF16_DROPPED
#undef RW_BF16_HALF
#undef RW_BF16_QUIET
#undef RW_BF16_SIGN
#undef RW_BF16_EXPONENT
