/* rank.h -- where each of some sources lies among them, in ascending order.
 *
 * The sources are bits, 64 to a word, and beside each word stands how many lie before it. So the RANK of a
 * source takes one count of bits, and no list is merged or sorted. That pays where processors count bits by
 * one instruction, and where there are not many more words than sources. */
#ifndef RW_RANK_H
#define RW_RANK_H

#include <stdbool.h>
#include <stdint.h>

/* What is always inlined into a function with RW_RANK_TARGET counts bits as that one may. */
#if defined(__x86_64__) && defined(__GNUC__)
#define RW_RANK_TARGET __attribute__((target("popcnt,bmi,bmi2")))
#define RW_RANK_INLINE static inline __attribute__((always_inline))
static inline bool rw_ranks_pay(void)
{
    return __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi")
        && __builtin_cpu_supports("bmi2");
}
#else
#define RW_RANK_TARGET
#define RW_RANK_INLINE static inline
static inline bool rw_ranks_pay(void) { return false; } /* nobody has measured it */
#endif

enum { RW_RANK_BITS = 64 };

typedef struct {
    uint64_t bits;
    uint64_t before; /* the rank of its first source, less one: it wraps */
} rw_rank_word;

static inline int64_t rw_rank_words(int32_t n_in)
{
    return ((int64_t)n_in + RW_RANK_BITS - 1) / RW_RANK_BITS;
}

RW_RANK_INLINE uint64_t rw_count_bits(uint64_t bits)
{
#if defined(__GNUC__)
    return (uint64_t)__builtin_popcountll(bits);
#else
    uint64_t n = 0;
    for (; bits; bits &= bits - 1)
        n++;
    return n;
#endif
}

RW_RANK_INLINE void rw_rank_mark(rw_rank_word *words, const int32_t *source, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        uint32_t at = (uint32_t)source[i];
        words[at / RW_RANK_BITS].bits |= (uint64_t)1 << at % RW_RANK_BITS;
    }
}

/* After all are marked; how many there are. */
RW_RANK_INLINE int64_t rw_rank_count(rw_rank_word *words, int64_t n)
{
    uint64_t before = UINT64_MAX;
    for (int64_t i = 0; i < n; i++) {
        words[i].before = before;
        before += rw_count_bits(words[i].bits);
    }
    return (int64_t)(before + 1);
}

/* The rank of a source that is marked. */
RW_RANK_INLINE int64_t rw_rank(const rw_rank_word *words, int32_t source)
{
    uint32_t at = (uint32_t)source;
    const rw_rank_word *word = &words[at / RW_RANK_BITS];
    return (int64_t)(word->before + rw_count_bits(word->bits << (RW_RANK_BITS - 1 - at % RW_RANK_BITS)));
}

#endif
