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

#if RW_REGS == 32
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

/* Cut [0, cols) into blocks of `most` registers, then of fewer: `call` sees
 * the block's first sample `c` and its registers `regs`. */
#define RW_BLOCKS(most, call)                                              \
    do {                                                                   \
        int32_t c = 0;                                                     \
        RW_BLOCKS_OF(most, most, call)                                     \
        if ((most) > 4)                                                    \
            RW_BLOCKS_OF(most, 4, call)                                    \
        if ((most) > 2)                                                    \
            RW_BLOCKS_OF(most, 2, call)                                    \
        RW_BLOCKS_OF(most, 1, call)                                        \
    } while (0)
#define RW_BLOCKS_OF(most, n, call)                                        \
    for (; c + (n) * RW_LANES <= cols; c += (n) * RW_LANES) {              \
        const int regs = (n);                                              \
        call;                                                              \
    }

/* --- forward ------------------------------------------------------------- */

RW_INLINE void RW_V(forward_block)(const int32_t *source, const RW_T *w, int32_t len,
                                   const RW_T *x, const RW_T *bias, RW_T *y, int32_t tile,
                                   const int rows, const int regs)
{
    RW_VEC acc[16];
    RW_UNROLL
    for (int r = 0; r < rows; r++) {
        RW_VEC first = bias ? RW_V(set1)(bias[r]) : RW_V(zero)();
        RW_UNROLL
        for (int i = 0; i < regs; i++)
            acc[r * regs + i] = first;
    }
    for (int32_t k = 0; k < len; k++) {
        const RW_T *from = x + (size_t)source[k] * (size_t)tile;
        RW_VEC in[8];
        RW_UNROLL
        for (int i = 0; i < regs; i++)
            in[i] = RW_V(load)(from + i * RW_LANES);
        RW_UNROLL
        for (int r = 0; r < rows; r++) {
            RW_VEC weight = RW_V(set1)(w[(size_t)k * (size_t)rows + (size_t)r]);
            RW_UNROLL
            for (int i = 0; i < regs; i++)
                acc[r * regs + i] = RW_V(fma)(weight, in[i], acc[r * regs + i]);
        }
    }
    RW_UNROLL
    for (int r = 0; r < rows; r++) {
        RW_UNROLL
        for (int i = 0; i < regs; i++)
            RW_V(store)(y + (size_t)r * (size_t)tile + i * RW_LANES, acc[r * regs + i]);
    }
}

/* Few samples: one register holds them all, so one row would wait for its own
 * additions. Four rows go side by side as far as the shortest reaches. */
RW_INLINE void RW_V(forward_four)(const rw_rows *s, int32_t row, const RW_T *x, const RW_T *bias,
                                  RW_T *y, int32_t tile)
{
    const int32_t *source[4];
    const RW_T *w[4];
    RW_VEC acc[4];
    int32_t shortest = INT32_MAX;
    RW_UNROLL
    for (int i = 0; i < 4; i++) {
        source[i] = s->source + s->start[row + i];
        w[i] = (const RW_T *)s->weight + s->start[row + i];
        acc[i] = bias ? RW_V(set1)(bias[row + i]) : RW_V(zero)();
        if (s->len[row + i] < shortest)
            shortest = s->len[row + i];
    }
    for (int32_t k = 0; k < shortest; k++) {
        RW_UNROLL
        for (int i = 0; i < 4; i++) {
            RW_VEC in = RW_V(load)(x + (size_t)source[i][k] * (size_t)tile);
            acc[i] = RW_V(fma)(RW_V(set1)(w[i][k]), in, acc[i]);
        }
    }
    RW_UNROLL
    for (int i = 0; i < 4; i++) {
        for (int32_t k = shortest; k < s->len[row + i]; k++) {
            RW_VEC in = RW_V(load)(x + (size_t)source[i][k] * (size_t)tile);
            acc[i] = RW_V(fma)(RW_V(set1)(w[i][k]), in, acc[i]);
        }
        RW_V(store)(y + (size_t)(row + i) * (size_t)tile, acc[i]);
    }
}

RW_INLINE void RW_V(forward_rows)(const rw_rows *s, int32_t g0, int32_t g1, const RW_T *x,
                                  const RW_T *bias, RW_T *y, int32_t tile, int32_t cols,
                                  const int rows, const int most)
{
    if (rows == 1 && cols == RW_LANES)
        for (; g0 + 4 <= g1; g0 += 4)
            RW_V(forward_four)(s, g0, x, bias, y, tile);
    for (int32_t g = g0; g < g1; g++) {
        const int32_t *source = s->source + s->start[g];
        const RW_T *w = (const RW_T *)s->weight + s->start[g] * rows;
        const RW_T *b = bias ? bias + (size_t)g * (size_t)rows : NULL;
        RW_T *out = y + (size_t)g * (size_t)rows * (size_t)tile;
        int32_t len = s->len[g];
        RW_BLOCKS(most,
                  RW_V(forward_block)(source, w, len, x + c, b, out + c, tile, rows, regs));
    }
}

RW_KERNEL void RW_V(forward)(const rw_rows *w, int32_t g0, int32_t g1, const void *x,
                             const void *bias, void *y, int32_t tile, int32_t cols)
{
    switch (w->group) {
    case 1: RW_V(forward_rows)(w, g0, g1, x, bias, y, tile, cols, 1, RW_REGS_1); break;
    case 2: RW_V(forward_rows)(w, g0, g1, x, bias, y, tile, cols, 2, RW_REGS_2); break;
    case 4: RW_V(forward_rows)(w, g0, g1, x, bias, y, tile, cols, 4, RW_REGS_4); break;
    default: RW_V(forward_rows)(w, g0, g1, x, bias, y, tile, cols, 8, RW_REGS_8); break;
    }
}

/* --- dX by gathering ------------------------------------------------------ */

RW_INLINE void RW_V(gather_block)(const rw_rows *s, const rw_mirror *mirror, int32_t j,
                                  const RW_T *dy, RW_T *dx, int32_t tile, const int rows,
                                  const int regs)
{
    RW_VEC acc[8];
    RW_UNROLL
    for (int i = 0; i < regs; i++)
        acc[i] = RW_V(zero)();
    for (int64_t e = mirror->start[j]; e < mirror->start[j + 1]; e++) {
        int32_t group = mirror->group[e];
        const RW_T *w = (const RW_T *)s->weight + (s->start[group] + mirror->position[e]) * rows;
        const RW_T *from = dy + (size_t)group * (size_t)rows * (size_t)tile;
        RW_UNROLL
        for (int r = 0; r < rows; r++) {
            RW_VEC weight = RW_V(set1)(w[r]);
            RW_UNROLL
            for (int i = 0; i < regs; i++) {
                RW_VEC in = RW_V(load)(from + (size_t)r * (size_t)tile + i * RW_LANES);
                acc[i] = RW_V(fma)(weight, in, acc[i]);
            }
        }
    }
    RW_UNROLL
    for (int i = 0; i < regs; i++)
        RW_V(store)(dx + (size_t)j * (size_t)tile + i * RW_LANES, acc[i]);
}

RW_INLINE void RW_V(gather_rows)(const rw_rows *s, const rw_mirror *mirror, int32_t j0,
                                 int32_t j1, const RW_T *dy, RW_T *dx, int32_t tile, int32_t cols,
                                 const int rows)
{
    for (int32_t j = j0; j < j1; j++)
        RW_BLOCKS(RW_REGS_1,
                  RW_V(gather_block)(s, mirror, j, dy + c, dx + c, tile, rows, regs));
}

RW_KERNEL void RW_V(dx_gather)(const rw_rows *w, const rw_mirror *mirror, int32_t j0, int32_t j1,
                               const void *dy, void *dx, int32_t tile, int32_t cols)
{
    switch (w->group) {
    case 1: RW_V(gather_rows)(w, mirror, j0, j1, dy, dx, tile, cols, 1); break;
    case 2: RW_V(gather_rows)(w, mirror, j0, j1, dy, dx, tile, cols, 2); break;
    case 4: RW_V(gather_rows)(w, mirror, j0, j1, dy, dx, tile, cols, 4); break;
    default: RW_V(gather_rows)(w, mirror, j0, j1, dy, dx, tile, cols, 8); break;
    }
}

/* --- dX by scattering ------------------------------------------------------ */

/* dy stays in registers; every slot costs a load, `rows` multiply-adds and a store. */
RW_INLINE void RW_V(scatter_block)(const int32_t *source, const RW_T *w, int32_t len,
                                   const RW_T *dy, RW_T *dx, int32_t tile, const int rows,
                                   const int regs)
{
    RW_VEC in[16];
    RW_UNROLL
    for (int r = 0; r < rows; r++) {
        RW_UNROLL
        for (int i = 0; i < regs; i++)
            in[r * regs + i] = RW_V(load)(dy + (size_t)r * (size_t)tile + i * RW_LANES);
    }
    for (int32_t k = 0; k < len; k++) {
        RW_T *to = dx + (size_t)source[k] * (size_t)tile;
        RW_VEC acc[8];
        RW_UNROLL
        for (int i = 0; i < regs; i++)
            acc[i] = RW_V(load)(to + i * RW_LANES);
        RW_UNROLL
        for (int r = 0; r < rows; r++) {
            RW_VEC weight = RW_V(set1)(w[(size_t)k * (size_t)rows + (size_t)r]);
            RW_UNROLL
            for (int i = 0; i < regs; i++)
                acc[i] = RW_V(fma)(weight, in[r * regs + i], acc[i]);
        }
        RW_UNROLL
        for (int i = 0; i < regs; i++)
            RW_V(store)(to + i * RW_LANES, acc[i]);
    }
}

RW_INLINE void RW_V(scatter_rows)(const rw_rows *s, int32_t n_groups, int32_t j0, int32_t j1,
                                  const RW_T *dy, RW_T *dx, int32_t tile, int32_t cols,
                                  const int rows, const int most)
{
    for (int32_t g = 0; g < n_groups; g++) {
        const int32_t *source = s->source + s->start[g];
        int32_t k0 = rw_lower_bound(source, s->len[g], j0);
        int32_t len = rw_lower_bound(source, s->len[g], j1) - k0;
        const RW_T *w = (const RW_T *)s->weight + (s->start[g] + k0) * rows;
        const RW_T *from = dy + (size_t)g * (size_t)rows * (size_t)tile;
        source += k0;
        RW_BLOCKS(most,
                  RW_V(scatter_block)(source, w, len, from + c, dx + c, tile, rows, regs));
    }
}

RW_KERNEL void RW_V(dx_scatter)(const rw_rows *w, int32_t n_groups, int32_t j0, int32_t j1,
                                const void *dy, void *dx, int32_t tile, int32_t cols)
{
    switch (w->group) {
    case 1: RW_V(scatter_rows)(w, n_groups, j0, j1, dy, dx, tile, cols, 1, RW_REGS_1); break;
    case 2: RW_V(scatter_rows)(w, n_groups, j0, j1, dy, dx, tile, cols, 2, RW_REGS_2); break;
    case 4: RW_V(scatter_rows)(w, n_groups, j0, j1, dy, dx, tile, cols, 4, RW_REGS_4); break;
    default: RW_V(scatter_rows)(w, n_groups, j0, j1, dy, dx, tile, cols, 8, RW_REGS_8); break;
    }
}

/* --- dW -------------------------------------------------------------------- */

/* `slots` slots of `rows` rows at once: slots * rows is a multiple of 8, or slots is 1. */
RW_INLINE void RW_V(dw_block)(const int32_t *source, const RW_T *x, const RW_T *dy, RW_T *grad,
                              int32_t tile, int32_t cols, bool add, const int rows,
                              const int slots)
{
    RW_VEC acc[16];
    const RW_T *from[8];
    RW_UNROLL
    for (int i = 0; i < slots * rows; i++)
        acc[i] = RW_V(zero)();
    RW_UNROLL
    for (int k = 0; k < slots; k++)
        from[k] = x + (size_t)source[k] * (size_t)tile;
    for (int32_t c = 0; c < cols; c += RW_LANES) {
        RW_VEC out[8];
        RW_UNROLL
        for (int r = 0; r < rows; r++)
            out[r] = RW_V(load)(dy + (size_t)r * (size_t)tile + c);
        RW_UNROLL
        for (int k = 0; k < slots; k++) {
            RW_VEC in = RW_V(load)(from[k] + c);
            RW_UNROLL
            for (int r = 0; r < rows; r++)
                acc[k * rows + r] = RW_V(fma)(in, out[r], acc[k * rows + r]);
        }
    }
    if (slots * rows % 8 == 0) {
        RW_UNROLL
        for (int i = 0; i < slots * rows; i += 8)
            RW_V(sum8)(acc + i, grad + i, add);
    } else {
        RW_UNROLL
        for (int i = 0; i < slots * rows; i++)
            grad[i] = add ? grad[i] + RW_V(sum)(acc[i]) : RW_V(sum)(acc[i]);
    }
}

RW_INLINE void RW_V(dw_rows)(const int32_t *source, int32_t len, const RW_T *x, const RW_T *dy,
                             RW_T *grad, int32_t tile, int32_t cols, bool add, const int rows,
                             const int slots)
{
    int32_t k = 0;
    for (; k + slots <= len; k += slots)
        RW_V(dw_block)(source + k, x, dy, grad + (size_t)k * (size_t)rows, tile, cols, add, rows,
                       slots);
    if (slots > 1)
        for (; k < len; k++)
            RW_V(dw_block)(source + k, x, dy, grad + (size_t)k * (size_t)rows, tile, cols, add,
                           rows, 1);
}

RW_KERNEL void RW_V(dw)(const int32_t *source, int32_t len, int32_t group, const void *x,
                        const void *dy, void *grad, int32_t tile, int32_t cols, bool add)
{
    switch (group) {
    case 1: RW_V(dw_rows)(source, len, x, dy, grad, tile, cols, add, 1, RW_SLOTS_1); break;
    case 2: RW_V(dw_rows)(source, len, x, dy, grad, tile, cols, add, 2, RW_SLOTS_2); break;
    case 4: RW_V(dw_rows)(source, len, x, dy, grad, tile, cols, add, 4, RW_SLOTS_4); break;
    default: RW_V(dw_rows)(source, len, x, dy, grad, tile, cols, add, 8, RW_SLOTS_8); break;
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

#undef RW_BLOCKS
#undef RW_BLOCKS_OF
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
