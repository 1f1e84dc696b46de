/* kernels_body.h -- the products, written once: forward, dX, dW, row sums.
 *
 * Included for every register type with RW_T (float or double), RW_VEC, RW_LANES
 * and RW_REGS: 32 or 16 registers to plan for, or 1 where the type is narrow,
 * which serves only tiles as wide as itself. Defines <RW_VEC>_forward and so on.
 *
 * `rows` and `regs` are constants at every call: how many rows share a source
 * list, and how many registers of samples one row has in flight. rows * regs
 * sums hide the latency of a multiply-add (4 cycles, at 1 or 2 a cycle: 4 or 8)
 * and leave registers for the weights and one load. Splitting a tile's samples
 * into such blocks changes no sum: every sample has its own lane. */

#if RW_REGS == 32 && RW_LANES < 8 /* registers of 16 bytes */
#define RW_REGS_1 8 /* read off gcc's code, not timed: nothing spills, with 16 it does */
#define RW_REGS_2 8
#define RW_REGS_4 4
#define RW_REGS_8 2
#define RW_SLOTS_1 8
#define RW_SLOTS_2 8
#define RW_SLOTS_4 4
#define RW_SLOTS_8 2
#elif RW_REGS == 32
#define RW_REGS_1 4 /* a whole tile of 64 floats: one source list, one pass */
#define RW_REGS_2 4
#define RW_REGS_4 4
#define RW_REGS_8 2
#define RW_SLOTS_1 8
#define RW_SLOTS_2 8
#define RW_SLOTS_4 4
#define RW_SLOTS_8 1 /* measured: 71 GFLOP/s, with two slots 60 */
#else
#if RW_REGS == 16
#define RW_REGS_1 8
#define RW_REGS_2 4
#define RW_REGS_4 2
#else
#define RW_REGS_1 1
#define RW_REGS_2 1
#define RW_REGS_4 1
#endif
#define RW_REGS_8 1
#define RW_SLOTS_1 8
#define RW_SLOTS_2 4
#define RW_SLOTS_4 2
#define RW_SLOTS_8 1
#endif

#include "kernels/kernels_blocks.h"

/* A full tile of the usual size (rw_tile_size) is a case of its own: a compiler
 * that knows the size needs no multiplication for an address. */
#if RW_REGS == 1
#define RW_FULL RW_LANES
#else
#define RW_FULL (RW_TILE_BYTES / (int)sizeof(RW_T))
#endif

/* Ask for `values` of a source's row, some slots before they are read. What
 * `source` says may be stale behind a row's last slot: an address, not a place. */
RW_INLINE void RW_V(fetch)(const RW_T *x, int32_t source, int32_t tile, const int values)
{
    uintptr_t at = (uintptr_t)x + (uintptr_t)source * (uintptr_t)tile * sizeof(RW_T);
    RW_UNROLL
    for (int i = 0; i < values * (int)sizeof(RW_T); i += RW_LINE)
        RW_PREFETCH((const void *)(at + (uintptr_t)i));
}

/* Ask for a row's next piece, its sources from slot `at` on and the `values` of these
 * slots: a panel visits rows in jumps that no hardware foresees. */
RW_INLINE void RW_V(fetch_piece)(const rw_rows *s, int32_t g, int32_t at, int32_t slots,
                                 const RW_T *values, const int rows)
{
    uintptr_t source = (uintptr_t)(s->source + s->start[g] + at), value = (uintptr_t)values;
    for (int32_t i = 0; i < slots * (int)sizeof(int32_t); i += RW_LINE)
        RW_PREFETCH((const void *)(source + (uintptr_t)i));
    for (int32_t i = 0; i < slots * rows * (int)sizeof(RW_T); i += RW_LINE)
        RW_PREFETCH((const void *)(value + (uintptr_t)i));
}

/* The same, the values being the weights. */
RW_INLINE void RW_V(fetch_weights)(const rw_rows *s, int32_t g, int32_t at, int32_t slots,
                                   const int rows)
{
    RW_V(fetch_piece)(s, g, at, slots, (const RW_T *)s->weight + (s->start[g] + at) * rows, rows);
}

/* --- forward ------------------------------------------------------------- */

/* One group's slots of a panel, from k on; sums start from the bias, or go on where p says so. x and y
 * have `more` registers further on, in_step and out_step values away. Returns the first slot not taken. */
RW_INLINE int32_t RW_V(forward_block)(const int32_t *source, const RW_T *w, int32_t k, int32_t len,
                                      const rw_panel *p, bool far, const RW_T *x, size_t in_step,
                                      const RW_T *bias, RW_T *y, size_t out_step, int32_t tile,
                                      const int rows, const int regs, const int more,
                                      const bool half)
{
    const int all = regs + more;
    RW_VEC acc[24];
    RW_UNROLL
    for (int r = 0; r < rows; r++) {
        RW_VEC first = bias ? RW_V(set1)(bias[r]) : RW_V(zero)();
        RW_T *to = y + (size_t)r * (size_t)tile;
        RW_UNROLL
        for (int i = 0; i < all; i++)
            acc[r * all + i] =
                p->more ? RW_V(load_part)(RW_REGISTER(to, to + out_step, i), RW_IN_PART(i)) : first;
    }
    for (int32_t end = p->end; k < len && source[k] < end; k++) {
        const RW_T *from = x + (size_t)source[k] * (size_t)tile;
        if (far) {
            RW_V(fetch)(x, source[k + RW_AHEAD], tile, regs * RW_LANES);
            if (more)
                RW_V(fetch)(x + in_step, source[k + RW_AHEAD], tile, more * RW_LANES);
        }
        RW_VEC in[16];
        RW_UNROLL
        for (int i = 0; i < all; i++)
            in[i] = RW_V(load_part)(RW_REGISTER(from, from + in_step, i), RW_IN_PART(i));
        RW_UNROLL
        for (int r = 0; r < rows; r++) {
            RW_VEC weight = RW_V(set1)(w[(size_t)k * (size_t)rows + (size_t)r]);
            RW_UNROLL
            for (int i = 0; i < all; i++)
                acc[r * all + i] = RW_V(fma_part)(weight, in[i], acc[r * all + i], RW_IN_PART(i));
        }
    }
    RW_UNROLL
    for (int r = 0; r < rows; r++) {
        RW_T *to = y + (size_t)r * (size_t)tile;
        RW_UNROLL
        for (int i = 0; i < all; i++)
            RW_V(store_part)(RW_REGISTER(to, to + out_step, i), acc[r * all + i], RW_IN_PART(i));
    }
    return k;
}

RW_INLINE void RW_V(forward_rows)(const rw_rows *s, int32_t g0, int32_t g1, const rw_panel *p,
                                  const rw_strip *strip, const RW_T *bias, int32_t tile,
                                  int32_t cols, const int rows, const int most, const bool rest)
{
    const RW_T *x = strip->in;
    RW_T *y = strip->out;
    size_t in_step = strip->in_step, out_step = strip->out_step;
    int32_t *at = p->at;
    for (int32_t g = g0; g < g1; g++, at++) {
        const int32_t *source = s->source + s->start[g];
        const RW_T *w = (const RW_T *)s->weight + s->start[g] * rows;
        const RW_T *b = bias ? bias + (size_t)g * (size_t)rows : NULL;
        RW_T *out = y + (size_t)g * (size_t)rows * (size_t)tile;
        int32_t first = *at, len = s->len[g];
        bool far = p->far && rw_can_look_ahead(s, g, len);
        if (p->slots && g + RW_ROWS_AHEAD < g1)
            RW_V(fetch_weights)(s, g + RW_ROWS_AHEAD, at[RW_ROWS_AHEAD], p->slots, rows);
#define RW_FORWARD_BLOCK                                                                           \
    *at = RW_V(forward_block)(source, w, first, len, p, far, x + c, in_step - (size_t)c, b, out + c, \
                              out_step - (size_t)c, tile, rows, regs, more, half)
        if (rest)
            RW_BLOCKS_AND_REST(most, RW_FORWARD_BLOCK);
        else
            RW_BLOCKS(most, RW_FORWARD_BLOCK);
    }
}

#define RW_FORWARD_OF(group, most)                                                              \
    RW_OUTLINE void RW_V(forward_##group)(const rw_rows *w, int32_t g0, int32_t g1,             \
                                          const rw_panel *p, const rw_strip *s, const void *bias) \
    {                                                                                           \
        if (s->tile == RW_FULL && s->cols == RW_FULL)                                           \
            RW_V(forward_rows)(w, g0, g1, p, s, bias, RW_FULL, RW_FULL, group, most, false);    \
        else                                                                                    \
            RW_V(forward_rows)(w, g0, g1, p, s, bias, s->tile, s->cols, group, most, false);    \
    }                                                                                           \
    RW_OUTLINE void RW_V(forward_rest_##group)(const rw_rows *w, int32_t g0, int32_t g1,        \
                                               const rw_panel *p, const rw_strip *s,            \
                                               const void *bias)                                \
    {                                                                                           \
        RW_V(forward_rows)(w, g0, g1, p, s, bias, RW_FULL, RW_FULL, group, most, true);         \
    }
RW_FORWARD_OF(1, RW_REGS_1)
RW_FORWARD_OF(2, RW_REGS_2)
RW_FORWARD_OF(4, RW_REGS_4)
RW_FORWARD_OF(8, RW_REGS_8)

#include "kernels/kernels_beside.h"

RW_KERNEL void RW_V(forward)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                             const rw_strip *s, const void *bias)
{
    if (RW_V(pays_beside)(p, s, w->group))
        RW_V(forward_small_batch)(w, g0, g1, p, s, bias);
    else
        RW_SERVE(forward, w->group, s, (w, g0, g1, p, s, bias));
}

#include "kernels/kernels_gather.h"

/* --- dX by scattering ------------------------------------------------------ */

/* dy stays in registers; every slot costs a load, `rows` multiply-adds and a store.
 * Returns the first slot not taken. */
RW_INLINE int32_t RW_V(scatter_block)(const int32_t *source, const RW_T *w, int32_t k, int32_t len,
                                      int32_t end, bool far, const RW_T *dy, size_t in_step,
                                      RW_T *dx, size_t out_step, int32_t tile, const int rows,
                                      const int regs, const int more, const bool half)
{
    const int all = regs + more;
    RW_VEC in[24];
    RW_UNROLL
    for (int r = 0; r < rows; r++) {
        const RW_T *from = dy + (size_t)r * (size_t)tile;
        RW_UNROLL
        for (int i = 0; i < all; i++)
            in[r * all + i] = RW_V(load_part)(RW_REGISTER(from, from + in_step, i), RW_IN_PART(i));
    }
    for (; k < len && source[k] < end; k++) {
        RW_T *to = dx + (size_t)source[k] * (size_t)tile;
        if (far) {
            RW_V(fetch)(dx, source[k + RW_AHEAD], tile, regs * RW_LANES);
            if (more)
                RW_V(fetch)(dx + out_step, source[k + RW_AHEAD], tile, more * RW_LANES);
        }
        if (more && RW_REGS < 32) { /* one sum at a time: there are registers for no more beside dy */
            RW_UNROLL
            for (int i = 0; i < all; i++) {
                RW_VEC sum = RW_V(load)(RW_REGISTER(to, to + out_step, i));
                RW_UNROLL
                for (int r = 0; r < rows; r++)
                    sum = RW_V(fma)(RW_V(set1)(w[(size_t)k * (size_t)rows + (size_t)r]),
                                    in[r * all + i], sum);
                RW_V(store)(RW_REGISTER(to, to + out_step, i), sum);
            }
            continue;
        }
        RW_VEC acc[8];
        RW_UNROLL
        for (int i = 0; i < all; i++)
            acc[i] = RW_V(load_part)(RW_REGISTER(to, to + out_step, i), RW_IN_PART(i));
        RW_UNROLL
        for (int r = 0; r < rows; r++) {
            RW_VEC weight = RW_V(set1)(w[(size_t)k * (size_t)rows + (size_t)r]);
            RW_UNROLL
            for (int i = 0; i < all; i++)
                acc[i] = RW_V(fma_part)(weight, in[r * all + i], acc[i], RW_IN_PART(i));
        }
        RW_UNROLL
        for (int i = 0; i < all; i++)
            RW_V(store_part)(RW_REGISTER(to, to + out_step, i), acc[i], RW_IN_PART(i));
    }
    return k;
}

/* How many of a row's sources lie below `end`: counted, not searched. */
RW_INLINE int32_t RW_V(count_below)(const int32_t *source, int32_t n, int32_t end)
{
    int32_t below = 0;
    for (int32_t i = 0; i < n; i++)
        below += source[i] < end;
    return below;
}

/* A small batch: one register holds all samples of a source, and these are far, or there is but one
 * sample. The work of a row is short then. Where it ends must not depend on its sources, because a
 * machine that waits for them to arrive cannot fetch the next rows meanwhile. So the slots of each
 * row in this panel are counted first, without a branch. Fetched ahead are the values that the
 * next row's slots in this panel write; those of other panels are being written by another core. */
RW_INLINE void RW_V(scatter_small_batch)(const rw_rows *s, int32_t g0, int32_t g1,
                                         const rw_panel *p, const RW_T *dy, RW_T *dx, int32_t tile)
{
    enum { GROUPS_AT_ONCE = 64 }; /* a bound of the stack, 256 bytes */
    int32_t stop[GROUPS_AT_ONCE];
    for (int32_t first = g0; first < g1; first += GROUPS_AT_ONCE) {
        int32_t n = g1 - first < GROUPS_AT_ONCE ? g1 - first : GROUPS_AT_ONCE;
        int32_t *at = p->at + (first - g0);
        for (int32_t i = 0; i < n; i++) {
            const int32_t *source = s->source + s->start[first + i];
            int32_t k = at[i], len = s->len[first + i];
            stop[i] = p->all ? len : k + RW_V(count_below)(source + k, len - k, p->end);
        }
        for (int32_t i = 0; i < n; i++) {
            const int32_t *source = s->source + s->start[first + i];
            const RW_T *w = (const RW_T *)s->weight + s->start[first + i];
            RW_VEC in = RW_V(load)(dy + (size_t)(first + i) * (size_t)tile);
            int32_t k = at[i], next = i + 1 < n ? stop[i + 1] - at[i + 1] : 0;
            const int32_t *ahead =
                next > 0 ? s->source + s->start[first + i + 1] + at[i + 1] : source;
            for (int32_t j = 0; k < stop[i]; k++, j++) {
                RW_T *to = dx + (size_t)source[k] * (size_t)tile;
                if (p->far)
                    RW_V(fetch)(dx, ahead[j < next ? j : 0], tile, RW_LANES);
                RW_V(store)(to, RW_V(fma)(RW_V(set1)(w[k]), in, RW_V(load)(to)));
            }
            at[i] = stop[i];
        }
    }
}

RW_INLINE void RW_V(scatter_rows)(const rw_rows *s, int32_t g0, int32_t g1, const rw_panel *p,
                                  const rw_strip *strip, int32_t tile, int32_t cols,
                                  const int rows, const int most, const bool rest)
{
    const RW_T *dy = strip->in;
    RW_T *dx = strip->out;
    size_t in_step = strip->in_step, out_step = strip->out_step;
    if (!rest && rows == 1 && cols == RW_LANES && (p->far || RW_LANES == 1)) {
        RW_V(scatter_small_batch)(s, g0, g1, p, dy, dx, tile);
        return;
    }
    for (int32_t g = g0; g < g1; g++) {
        const int32_t *source = s->source + s->start[g];
        const RW_T *w = (const RW_T *)s->weight + s->start[g] * rows;
        const RW_T *from = dy + (size_t)g * (size_t)rows * (size_t)tile;
        int32_t *at = p->at + (g - g0), first = *at, len = s->len[g];
        bool far = p->far && rw_can_look_ahead(s, g, len);
        if (p->slots && g + RW_ROWS_AHEAD < g1)
            RW_V(fetch_weights)(s, g + RW_ROWS_AHEAD, at[RW_ROWS_AHEAD], p->slots, rows);
#define RW_SCATTER_BLOCK                                                                         \
    *at = RW_V(scatter_block)(source, w, first, len, p->end, far, from + c, in_step - (size_t)c, \
                              dx + c, out_step - (size_t)c, tile, rows, regs, more, half)
        if (rest)
            RW_BLOCKS_AND_REST(most, RW_SCATTER_BLOCK);
        else
            RW_BLOCKS(most, RW_SCATTER_BLOCK);
    }
}

#define RW_SCATTER_OF(group, most)                                                             \
    RW_OUTLINE void RW_V(scatter_##group)(const rw_rows *w, int32_t g0, int32_t g1,            \
                                          const rw_panel *p, const rw_strip *s)                \
    {                                                                                          \
        if (s->tile == RW_FULL && s->cols == RW_FULL)                                          \
            RW_V(scatter_rows)(w, g0, g1, p, s, RW_FULL, RW_FULL, group, most, false);         \
        else                                                                                   \
            RW_V(scatter_rows)(w, g0, g1, p, s, s->tile, s->cols, group, most, false);         \
    }                                                                                          \
    RW_OUTLINE void RW_V(scatter_rest_##group)(const rw_rows *w, int32_t g0, int32_t g1,       \
                                               const rw_panel *p, const rw_strip *s)           \
    {                                                                                          \
        RW_V(scatter_rows)(w, g0, g1, p, s, RW_FULL, RW_FULL, group, most, true);              \
    }
RW_SCATTER_OF(1, RW_REGS_1)
RW_SCATTER_OF(2, RW_REGS_2)
RW_SCATTER_OF(4, RW_REGS_4)
RW_SCATTER_OF(8, RW_REGS_8)

RW_KERNEL void RW_V(dx_scatter)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                                const rw_strip *s)
{
    RW_SERVE(scatter, w->group, s, (w, g0, g1, p, s));
}

/* --- dW -------------------------------------------------------------------- */

/* Samples [0, cols) of a tile of `slots` slots, whose sources' samples lie at + from[k]. */
RW_INLINE void RW_V(dw_tile)(const RW_T *const *from, size_t at, const RW_T *outs, size_t tile,
                             size_t cols, RW_VEC *acc, const int rows, const int slots)
{
    for (size_t c = 0; c < cols; c += RW_LANES) {
        RW_VEC out[8];
        RW_UNROLL
        for (int r = 0; r < rows; r++)
            out[r] = RW_V(load)(outs + (size_t)r * tile + c);
        RW_UNROLL
        for (int k = 0; k < slots; k++) {
            RW_VEC in = RW_V(load)(from[k] + at + c);
            RW_UNROLL
            for (int r = 0; r < rows; r++)
                acc[k * rows + r] = RW_V(fma)(in, out[r], acc[k * rows + r]);
        }
    }
}

/* `slots` slots of `rows` rows at once, over all samples of a span; `once`: of one register.
 * slots * rows is a multiple of 8, or slots is 1. */
RW_INLINE void RW_V(dw_block)(const int32_t *source, const rw_span *s, const RW_T *dy, RW_T *grad,
                              size_t tile, const int rows, const int slots, const bool once)
{
    RW_VEC acc[16];
    const RW_T *x = s->x, *from[8];
    int32_t whole = once ? 1 : s->n_tiles - ((size_t)s->cols < tile), t = 0;
    RW_UNROLL
    for (int i = 0; i < slots * rows; i++)
        acc[i] = RW_V(zero)();
    RW_UNROLL
    for (int k = 0; k < slots; k++)
        from[k] = x + (size_t)source[k] * tile;
    for (; t < whole; t++)
        RW_V(dw_tile)(from, (size_t)t * s->x_step, dy + (size_t)t * s->dy_step, tile, tile, acc,
                      rows, slots);
    if (!once && t < s->n_tiles)
        RW_V(dw_tile)(from, (size_t)t * s->x_step, dy + (size_t)t * s->dy_step, tile, (size_t)s->cols, acc,
                      rows, slots);
    if (slots * rows % 8 == 0) {
        RW_UNROLL
        for (int i = 0; i < slots * rows; i += 8)
            RW_V(sum8)(acc + i, grad + i, s->add);
    } else {
        RW_UNROLL
        for (int i = 0; i < slots * rows; i++)
            grad[i] = s->add ? grad[i] + RW_V(sum)(acc[i]) : RW_V(sum)(acc[i]);
    }
}

/* The samples of the next slots: asked for while these are computed. */
RW_INLINE void RW_V(fetch_span)(const int32_t *source, const rw_span *s, const int slots)
{
    for (int32_t t = 0; t < s->n_tiles; t++)
        for (int k = 0; k < slots; k++)
            for (int32_t c = 0; c < s->tile; c += RW_LINE / (int)sizeof(RW_T))
                RW_V(fetch)((const RW_T *)s->x + (size_t)t * s->x_step + c, source[k], s->tile, 1);
}

RW_INLINE void RW_V(dw_rows)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                             const rw_span *span, const int64_t *first, RW_T *grad, size_t tile,
                             const int rows, const int slots, const bool once)
{
    for (int32_t g = g0; g < g1; g++) {
        const int32_t *source = w->source + w->start[g];
        const RW_T *dy = (const RW_T *)span->dy + (size_t)g * (size_t)rows * tile;
        RW_T *out = grad + first[g - g0] * rows;
        int32_t *at = p->at + (g - g0), k = *at, len = w->len[g], end = p->end;
        bool far = p->far && rw_can_look_ahead(w, g, len);
        if (p->slots && g + RW_ROWS_AHEAD < g1) {
            int32_t next = at[RW_ROWS_AHEAD];
            const RW_T *values = grad + (first[g - g0 + RW_ROWS_AHEAD] + next) * rows;
            RW_V(fetch_piece)(w, g + RW_ROWS_AHEAD, next, p->slots, values, rows);
        }
#define RW_DW_BLOCK(slots) \
    RW_V(dw_block)(source + k, span, dy, out + (size_t)k * (size_t)rows, tile, rows, slots, once)
        for (; k + slots <= len && source[k + slots - 1] < end; k += slots) {
            if (far)
                RW_V(fetch_span)(source + k + slots, span, slots);
            RW_DW_BLOCK(slots);
        }
        if (once && slots > 1 && len >= slots && !span->add && k < len && source[len - 1] < end) {
            k = len - slots; /* some slots a second time, sooner than the last ones one by one */
            RW_DW_BLOCK(slots);
            k = len;
        }
        if (slots > 1)
            for (; k < len && source[k] < end; k++)
                RW_DW_BLOCK(1);
        *at = k;
    }
}

/* One register of samples, and tiles of usual sizes, are cases of their own: as above. */
#define RW_DW_OF(rows, slots)                                                                  \
    RW_OUTLINE void RW_V(dw_##rows)(const rw_rows *w, int32_t g0, int32_t g1,                  \
                                    const rw_panel *p, const rw_span *span,                    \
                                    const int64_t *first, void *grad)                          \
    {                                                                                          \
        if (span->n_tiles == 1 && span->tile == RW_LANES)                                      \
            RW_V(dw_rows)(w, g0, g1, p, span, first, grad, RW_LANES, rows, slots, true);       \
        else if (RW_REGS > 1 && span->tile == RW_FULL)                                         \
            RW_V(dw_rows)(w, g0, g1, p, span, first, grad, RW_FULL, rows, slots, false);       \
        else if (RW_REGS > 1 && span->tile == RW_FULL / 2)                                     \
            RW_V(dw_rows)(w, g0, g1, p, span, first, grad, RW_FULL / 2, rows, slots, false);   \
        else if (RW_FULL / 4 > RW_LANES && span->tile == RW_FULL / 4)                          \
            RW_V(dw_rows)(w, g0, g1, p, span, first, grad, RW_FULL / 4, rows, slots, false);   \
        else                                                                                   \
            RW_V(dw_rows)(w, g0, g1, p, span, first, grad, (size_t)span->tile, rows, slots,    \
                          false);                                                              \
    }
RW_DW_OF(1, RW_SLOTS_1)
RW_DW_OF(2, RW_SLOTS_2)
RW_DW_OF(4, RW_SLOTS_4)
RW_DW_OF(8, RW_SLOTS_8)

RW_KERNEL void RW_V(dw)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                        const rw_span *span, const int64_t *first, void *grad)
{
    switch (w->group) {
    case 1: RW_V(dw_1)(w, g0, g1, p, span, first, grad); break;
    case 2: RW_V(dw_2)(w, g0, g1, p, span, first, grad); break;
    case 4: RW_V(dw_4)(w, g0, g1, p, span, first, grad); break;
    default: RW_V(dw_8)(w, g0, g1, p, span, first, grad); break;
    }
}

/* --- sums over samples ----------------------------------------------------- */

RW_KERNEL void RW_V(row_sum)(const void *dy, int32_t n, void *out, int32_t tile, int32_t cols,
                             bool add)
{
    const RW_T *row = dy;
    RW_T *sums = out;
    int32_t i = 0;
    for (; i + 8 <= n; i += 8, row += 8 * (size_t)tile) {
        RW_VEC acc[8];
        RW_UNROLL
        for (int r = 0; r < 8; r++)
            acc[r] = RW_V(zero)();
        for (int32_t c = 0; c < cols; c += RW_LANES) {
            RW_UNROLL
            for (int r = 0; r < 8; r++)
                acc[r] = RW_V(add)(acc[r], RW_V(load)(row + (size_t)r * (size_t)tile + c));
        }
        RW_V(sum8)(acc, sums + i, add);
    }
    for (; i < n; i++, row += tile) {
        RW_VEC acc = RW_V(zero)();
        for (int32_t c = 0; c < cols; c += RW_LANES)
            acc = RW_V(add)(acc, RW_V(load)(row + c));
        sums[i] = add ? sums[i] + RW_V(sum)(acc) : RW_V(sum)(acc);
    }
}

#include "kernels/kernels_by_source.h"
#include "kernels/kernels_dw_rows.h"
#include "kernels/kernels_turn.h"

#undef RW_FULL
#undef RW_BY_ROWS_OF_16
#undef RW_FORWARD_BLOCK
#undef RW_FORWARD_OF
#undef RW_SCATTER_BLOCK
#undef RW_SCATTER_OF
#undef RW_DW_OF
#undef RW_DW_BLOCK
#undef RW_BLOCKS
#undef RW_BLOCKS_OF
#undef RW_BLOCKS_AND_REST
#undef RW_WITH_REST
#undef RW_SERVE
#undef RW_SERVE_OF
#undef RW_REGISTER
#undef RW_IN_PART
#undef RW_REST
#undef RW_REST_OF_GROUP
#undef RW_STEP
#undef RW_HALF
#undef RW_H
#undef RW_REGS_1
#undef RW_REGS_2
#undef RW_REGS_4
#undef RW_REGS_8
#undef RW_SLOTS_1
#undef RW_SLOTS_2
#undef RW_SLOTS_4
#undef RW_SLOTS_8
#undef RW_VEC
#undef RW_LANES
#undef RW_REGS
