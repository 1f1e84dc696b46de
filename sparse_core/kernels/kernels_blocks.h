/* kernels_blocks.h -- how the samples of a tile are cut into blocks of registers (included by
 * kernels_body.h, which takes these macros back at its end). */

/* Registers of a tile that products of single rows take along with the full tile before it, at most:
 * alone they would leave too few sums in flight. Groups gain nothing (docs/tried.md). */
#if RW_REGS == 1
#define RW_REST 0
#elif RW_REGS == 32
#define RW_REST 3
#else
#define RW_REST 4
#endif
enum { RW_V(rest) = RW_REST * RW_LANES };

/* Cut [0, cols) into blocks of `most` registers, then of fewer: `call` sees
 * the block's first sample `c` and its registers `regs`, and `more`: none. */
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
    for (; c + (n) * RW_LANES <= (end); c += (n) * RW_LANES) {             \
        const int regs = (n);                                              \
        call;                                                              \
    }

/* The same of a full tile and the `rest` behind it, for single rows: one block of `regs`, which is all of
 * the tile or its last part, has `more` of the rest. */
#define RW_BLOCKS_AND_REST(rest, call)                                     \
    do {                                                                   \
        int32_t c = 0;                                                     \
        {                                                                  \
            const int more = 0;                                            \
            RW_BLOCKS_OF(RW_REGS_1, RW_FULL - RW_REGS_1 * RW_LANES, call)  \
        }                                                                  \
        const int regs = RW_REGS_1;                                        \
        switch ((rest) / RW_LANES) {                                       \
        case 1: RW_WITH_REST(1, call) break;                               \
        case 2: RW_WITH_REST(2, call) break;                               \
        case 3: RW_WITH_REST(3, call) break;                               \
        default: RW_WITH_REST(4, call)                                     \
        }                                                                  \
    } while (0)
#define RW_WITH_REST(n, call)                                              \
    if ((n) <= RW_REST) {                                                  \
        const int more = (n);                                              \
        call;                                                              \
    }

/* Which function serves a call: the group, or 0 for a tile with a rest behind it. */
#define RW_SERVES(w, strip) (RW_REST && (strip)->rest ? 0 : (w)->group)

/* Where register i of a block is, of `regs` at `here` and then others at `behind`. */
#define RW_REGISTER(here, behind, i) \
    ((i) < regs ? (here) + (i) * RW_LANES : (behind) + ((i) - regs) * RW_LANES)
