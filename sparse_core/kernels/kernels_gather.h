/* kernels_gather.h -- dX by gathering through the mirror (included by kernels_body.h for every register
 * type). */

RW_INLINE void RW_V(gather_block)(const rw_rows *s, const rw_mirror *mirror, int32_t j,
                                  const RW_T *dy, size_t in_step, RW_T *dx, size_t out_step,
                                  int32_t tile, const int rows, const int regs, const int more,
                                  const bool half)
{
    RW_VEC acc[16];
    RW_UNROLL
    for (int i = 0; i < regs + more; i++)
        acc[i] = RW_V(zero)();
    const int64_t end = mirror->start[j] + mirror->len[j];
    for (int64_t e = mirror->start[j]; e < end; e++) {
        int32_t group = mirror->group[e];
        const RW_T *w = (const RW_T *)s->weight + (s->start[group] + mirror->position[e]) * rows;
        const RW_T *from = dy + (size_t)group * (size_t)rows * (size_t)tile;
        RW_UNROLL
        for (int r = 0; r < rows; r++) {
            RW_VEC weight = RW_V(set1)(w[r]);
            if (r > 0)
                from += tile; /* of from + r * tile gcc would compute every address anew */
            RW_UNROLL
            for (int i = 0; i < regs + more; i++) {
                RW_VEC in = RW_V(load_part)(RW_REGISTER(from, from + in_step, i), RW_IN_PART(i));
                acc[i] = RW_V(fma_part)(weight, in, acc[i], RW_IN_PART(i));
            }
        }
    }
    RW_T *to = dx + (size_t)j * (size_t)tile;
    RW_UNROLL
    for (int i = 0; i < regs + more; i++)
        RW_V(store_part)(RW_REGISTER(to, to + out_step, i), acc[i], RW_IN_PART(i));
}

RW_INLINE void RW_V(gather_rows)(const rw_rows *s, const rw_mirror *mirror, int32_t j0,
                                 int32_t j1, const rw_strip *strip, int32_t tile, int32_t cols,
                                 const int rows, const bool rest)
{
    const RW_T *dy = strip->in;
    RW_T *dx = strip->out;
    size_t in_step = strip->in_step, out_step = strip->out_step;
#define RW_GATHER_BLOCK                                                                          \
    RW_V(gather_block)(s, mirror, j, dy + c, in_step - (size_t)c, dx + c, out_step - (size_t)c,  \
                       tile, rows, regs, more, half)
    for (int32_t j = j0; j < j1; j++)
        if (rest)
            RW_BLOCKS_AND_REST(RW_REGS_1, RW_GATHER_BLOCK);
        else
            RW_BLOCKS(RW_REGS_1, RW_GATHER_BLOCK);
}

#define RW_GATHER_OF(rows)                                                                     \
    RW_OUTLINE void RW_V(gather_##rows)(const rw_rows *w, const rw_mirror *mirror, int32_t j0, \
                                        int32_t j1, const rw_strip *s)                         \
    {                                                                                          \
        if (s->tile == RW_FULL && s->cols == RW_FULL)                                          \
            RW_V(gather_rows)(w, mirror, j0, j1, s, RW_FULL, RW_FULL, rows, false);            \
        else                                                                                   \
            RW_V(gather_rows)(w, mirror, j0, j1, s, s->tile, s->cols, rows, false);            \
    }                                                                                          \
    RW_OUTLINE void RW_V(gather_rest_##rows)(const rw_rows *w, const rw_mirror *mirror,        \
                                             int32_t j0, int32_t j1, const rw_strip *s)        \
    {                                                                                          \
        RW_V(gather_rows)(w, mirror, j0, j1, s, RW_FULL, RW_FULL, rows, true);                 \
    }
RW_GATHER_OF(1)
RW_GATHER_OF(2)
RW_GATHER_OF(4)
RW_GATHER_OF(8)

RW_KERNEL void RW_V(dx_gather)(const rw_rows *w, const rw_mirror *mirror, int32_t j0, int32_t j1,
                               const rw_strip *s)
{
    RW_SERVE(gather, w->group, s, (w, mirror, j0, j1, s));
}

#undef RW_GATHER_BLOCK
#undef RW_GATHER_OF
