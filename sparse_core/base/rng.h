/* rng.h -- random numbers by counter, not by state.
 *
 * Philox4x64-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3",
 * SC 2011): a bijection of a 256-bit counter under a 128-bit key. A draw is
 * named by what it is for -- (seed, stream) and (step, row, index, purpose) --
 * so it does not matter which thread asks first, or whether anybody asked before.
 * Agrees bit for bit with numpy.random.Philox(key=..., counter=...).
 *
 * A STREAM (key.stream) is the number of a parameter or layer in its low 32 bits, and the number
 * of a worker in the others (rw_stream). Worker 0 draws what all workers have to agree on, such
 * as a structure; the same holds for what is named by the sample, such as dropout's masks, where
 * a worker says which samples of the step it has (rw_dropout). Other workers draw what is to
 * differ between copies of one network. */
#ifndef RW_RNG_H
#define RW_RNG_H

#include "base/base.h"

/* What a number is drawn for: the last word of the counter, so that no two
 * uses of one (step, row) ever see the same numbers. */
typedef enum {
    RW_DRAW_SPLIT = 1,   /* how many new links a stretch gets      */
    RW_DRAW_PLACE = 2,   /* which empty places of a stretch       */
    RW_DRAW_VALUE = 3,   /* the weight of a new link              */
    RW_DRAW_TIE = 4,     /* order among links of equal score      */
    RW_DRAW_DROPOUT = 5,
    RW_DRAW_NORMAL = 6,  /* a normal number, at the first try     */
    RW_DRAW_RETRY = 7,   /* and for the one in eighty that fails  */
    RW_DRAW_SAMPLE = 8   /* the choice among places of unequal chances */
} rw_draw;

typedef struct {
    uint64_t seed;
    uint64_t stream; /* the parameter or layer, and the worker: rw_stream */
    uint64_t step;   /* the rewiring, or the training step */
} rw_key;

static inline uint64_t rw_stream(uint32_t number, uint32_t worker)
{
    return (uint64_t)worker << 32 | number;
}

typedef struct { uint64_t v[4]; } rw_philox;

/* The constants of Philox4x64 and of SplitMix64, as published. */
#define RW_PHILOX_FIRST 0xD2E7470EE14C6C93u
#define RW_PHILOX_SECOND 0xCA5A826395121157u
#define RW_GOLDEN 0x9E3779B97F4A7C15u /* 2^64 / golden ratio     */
#define RW_ROOT_3 0xBB67AE8584CAA73Bu /* 2^64 * (sqrt(3) - 1)    */
#define RW_SPLIT_MIX_FIRST 0xBF58476D1CE4E5B9u
#define RW_SPLIT_MIX_SECOND 0x94D049BB133111EBu

#ifdef __SIZEOF_INT128__
__extension__ typedef unsigned __int128 rw_u128;
#endif

static inline uint64_t rw_mulhilo(uint64_t a, uint64_t b, uint64_t *hi)
{
#ifdef __SIZEOF_INT128__ /* one instruction, where both halves come from one variable */
    rw_u128 product = (rw_u128)a * b;
    *hi = (uint64_t)(product >> 64);
    return (uint64_t)product;
#else /* five times as slow */
    uint64_t a0 = a & UINT32_MAX, a1 = a >> 32, b0 = b & UINT32_MAX, b1 = b >> 32;
    uint64_t low = a0 * b0, mid1 = a1 * b0, mid2 = a0 * b1;
    uint64_t carry = (low >> 32) + (mid1 & UINT32_MAX) + (mid2 & UINT32_MAX);
    *hi = a1 * b1 + (mid1 >> 32) + (mid2 >> 32) + (carry >> 32);
    return a * b;
#endif
}

static inline rw_philox rw_philox_block(uint64_t key0, uint64_t key1, rw_philox counter)
{
    for (int round = 0; round < 10; round++) {
        uint64_t hi0, hi1;
        uint64_t lo0 = rw_mulhilo(RW_PHILOX_FIRST, counter.v[0], &hi0);
        uint64_t lo1 = rw_mulhilo(RW_PHILOX_SECOND, counter.v[2], &hi1);
        rw_philox next = { { hi1 ^ counter.v[1] ^ key0, lo1, hi0 ^ counter.v[3] ^ key1, lo0 } };
        counter = next;
        key0 += RW_GOLDEN;
        key1 += RW_ROOT_3;
    }
    return counter;
}

/* Four words for (row, index) of one purpose. */
static inline rw_philox rw_draw4(rw_key key, rw_draw purpose, uint64_t row, uint64_t index)
{
    rw_philox counter = { { index, row, key.step, (uint64_t)purpose } };
    return rw_philox_block(key.seed, key.stream, counter);
}

/* A sequence of words for one row: a cursor over rw_draw4's indices. */
typedef struct {
    rw_key key;
    rw_draw purpose;
    uint64_t row, index;
    rw_philox block;
    int left;
} rw_seq;

static inline rw_seq rw_seq_start(rw_key key, rw_draw purpose, uint64_t row)
{
    rw_seq s = { key, purpose, row, 0, { { 0, 0, 0, 0 } }, 0 };
    return s;
}

static inline uint64_t rw_seq_next(rw_seq *s)
{
    if (s->left == 0) {
        s->block = rw_draw4(s->key, s->purpose, s->row, s->index++);
        s->left = 4;
    }
    return s->block.v[4 - s->left--];
}

/* Word `index` of a sequence that begins where `drawn` says: SplitMix64 (Steele, Lea,
 * Flood 2014), for many small draws under one name. A block for each would take five
 * times as long. */
static inline uint64_t rw_split_mix(uint64_t drawn, uint64_t index)
{
    uint64_t z = drawn + (index + 1) * RW_GOLDEN;
    z = (z ^ z >> 30) * RW_SPLIT_MIX_FIRST;
    z = (z ^ z >> 27) * RW_SPLIT_MIX_SECOND;
    return z ^ z >> 31;
}

/* Uniform in [0, 1), 53 bits. */
static inline double rw_unit(uint64_t word) { return (double)(word >> 11) * 0x1p-53; }

/* Uniform in [0, bound), exactly (Lemire 2019: multiply, reject the short end). */
static inline uint64_t rw_seq_below(rw_seq *s, uint64_t bound)
{
    uint64_t hi, lo = rw_mulhilo(rw_seq_next(s), bound, &hi);
    if (lo < bound) {
        uint64_t rejected = (0 - bound) % bound;
        while (lo < rejected)
            lo = rw_mulhilo(rw_seq_next(s), bound, &hi);
    }
    return hi;
}

#endif
