/* kernels_blocks.h -- how the samples of a tile are cut into blocks of registers (included by
 * kernels_body.h, which takes these macros back at its end). */

/* Registers of a tile that products take along with the full tile before it, at most: of single rows, whose
 * few sums in flight would wait for each other alone, and of groups, for which 16 registers are too few. */
#if RW_REGS == 1
#define RW_REST 0
#define RW_REST_OF_GROUP 0
#elif RW_REGS == 32
#define RW_REST 3
#define RW_REST_OF_GROUP (RW_LANES >= 8)
#else
#define RW_REST 4
#define RW_REST_OF_GROUP 0
#endif

/* Samples that products go by: half a register, where that is quicker than a whole one. */
#ifdef RW_HALF
#define RW_STEP (RW_LANES / 2)
#else
#define RW_STEP RW_LANES
#endif
enum {
    RW_V(rest) = RW_REST * RW_LANES,
    RW_V(rest_of_group) = RW_REST_OF_GROUP * RW_LANES,
    RW_V(step) = RW_STEP
};

/* A register of which, where `half`, the lower half alone is in use: the upper one is never looked at. */
RW_INLINE RW_VEC RW_V(load_part)(const RW_T *p, const bool half)
{
#ifdef RW_HALF
    if (half)
        return RW_V(widen)(RW_H(load)(p));
#endif
    (void)half;
    return RW_V(load)(p);
}

RW_INLINE void RW_V(store_part)(RW_T *p, RW_VEC a, const bool half)
{
#ifdef RW_HALF
    if (half) {
        RW_H(store)(p, RW_V(low)(a));
        return;
    }
#endif
    (void)half;
    RW_V(store)(p, a);
}

RW_INLINE RW_VEC RW_V(fma_part)(RW_VEC w, RW_VEC x, RW_VEC acc, const bool half)
{
#ifdef RW_HALF
    if (half)
        return RW_V(widen)(RW_H(fma)(RW_V(low)(w), RW_V(low)(x), RW_V(low)(acc)));
#endif
    (void)half;
    return RW_V(fma)(w, x, acc);
}

/* Cut [0, cols) into blocks of `most` registers, then of fewer: `call` sees
 * the block's first sample `c`, its registers `regs`, whether of the last of them a `half` is
 * in use, and `more`: none. */
#define RW_BLOCKS(most, call)                                              \
    do {                                                                   \
        int32_t c = 0;                                                     \
        const int more = 0;                                                \
        RW_BLOCKS_OF(most, cols, call)                                     \
        if ((most) > 4)                                                    \
            RW_BLOCKS_OF(4, cols, call)                                    \
        if ((most) > 3)                                                    \
            RW_BLOCKS_OF(3, cols, call)                                    \
        if ((most) > 2)                                                    \
            RW_BLOCKS_OF(2, cols, call)                                    \
        RW_BLOCKS_OF(1, cols, call)                                        \
    } while (0)
#define RW_BLOCKS_OF(n, end, call)                                         \
    {                                                                      \
        const int regs = (n);                                              \
        for (; c + regs * RW_LANES <= (end); c += regs * RW_LANES) {       \
            const bool half = false;                                       \
            call;                                                          \
        }                                                                  \
        if (RW_STEP < RW_LANES && c + regs * RW_LANES - RW_STEP == (end)) { \
            const bool half = true;                                        \
            call;                                                          \
            c = (end);                                                     \
        }                                                                  \
    }

/* The same of a full tile and the rest of a `strip` behind it: one block of `most`, which is all of
 * the tile or its last part, has `more` of the rest. */
#define RW_BLOCKS_AND_REST(most, call)                                     \
    do {                                                                   \
        int32_t c = 0;                                                     \
        {                                                                  \
            const int more = 0;                                            \
            RW_BLOCKS_OF(most, RW_FULL - (most) * RW_LANES, call)          \
        }                                                                  \
        const int regs = (most);                                           \
        switch ((strip->rest + RW_LANES - 1) / RW_LANES) {                      \
        case 1: RW_WITH_REST(1, call) break;                               \
        case 2: RW_WITH_REST(2, call) break;                               \
        case 3: RW_WITH_REST(3, call) break;                               \
        default: RW_WITH_REST(4, call)                                     \
        }                                                                  \
    } while (0)
#define RW_WITH_REST(n, call)                                              \
    if ((n) <= (rows == 1 ? RW_REST : RW_REST_OF_GROUP)) {                 \
        const int more = (n);                                              \
        if (RW_STEP < RW_LANES && strip->rest % RW_LANES) {                \
            const bool half = true;                                        \
            call;                                                          \
        } else {                                                           \
            const bool half = false;                                       \
            call;                                                          \
        }                                                                  \
    }

/* Of a kernel the function for a strip: by the rows of a group, and whether a rest lies behind the tile. */
#define RW_SERVE(kernel, group, strip, arguments)                          \
    do {                                                                   \
        if (RW_REST && (strip)->rest)                                      \
            RW_SERVE_OF(kernel##_rest, group, arguments)                   \
        else                                                               \
            RW_SERVE_OF(kernel, group, arguments)                          \
    } while (0)
#define RW_SERVE_OF(kernel, group, arguments)                              \
    switch (group) {                                                       \
    case 1: RW_V(kernel##_1) arguments; break;                             \
    case 2: RW_V(kernel##_2) arguments; break;                             \
    case 4: RW_V(kernel##_4) arguments; break;                             \
    default: RW_V(kernel##_8) arguments; break;                            \
    }

/* Where register i of a block is, of `regs` at `here` and then others at `behind`, and is it in part use? */
#define RW_REGISTER(here, behind, i) \
    ((i) < regs ? (here) + (i) * RW_LANES : (behind) + ((i) - regs) * RW_LANES)
#define RW_IN_PART(i) (half && (i) == regs + more - 1)
