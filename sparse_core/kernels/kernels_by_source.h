/* kernels_by_source.h -- one sample through weights that are kept by source (predictor.h).
 *
 * Included by kernels_body.h for every register type. Sources that are zero are left out: the
 * caller lists the others, ascending. So every row adds its terms in the canonical order, and a
 * term that is left out would have added 0: the bits are those of forward, but for the sign of a
 * sum that is zero. */

/* The rows of a group are the lanes of `regs` registers. No group has two slots of one source, so
 * what four slots add to is read before any of it is written. */
RW_INLINE void RW_V(links_of)(const rw_by_source *s, const int32_t *at, int32_t n, const RW_T *x,
                              RW_T *y, const int regs)
{
    const int32_t *row = s->row;
    const RW_T *weight = s->weight;
    const int width = regs * RW_LANES;
    for (int32_t i = 0; i < n; i++) {
        int64_t k = s->start[at[i]], end = s->start[at[i] + 1];
        RW_VEC in = RW_V(set1)(x[at[i]]);
        for (; k + 4 <= end; k += 4) {
            RW_VEC acc[32];
            RW_UNROLL
            for (int j = 0; j < 4; j++) {
                RW_UNROLL
                for (int r = 0; r < regs; r++)
                    acc[j * regs + r] =
                        RW_V(fma)(RW_V(load)(weight + (k + j) * width + r * RW_LANES), in,
                                  RW_V(load)(y + row[k + j] + r * RW_LANES));
            }
            RW_UNROLL
            for (int j = 0; j < 4; j++) {
                RW_UNROLL
                for (int r = 0; r < regs; r++)
                    RW_V(store)(y + row[k + j] + r * RW_LANES, acc[j * regs + r]);
            }
        }
        for (; k < end; k++) {
            RW_UNROLL
            for (int r = 0; r < regs; r++) {
                RW_T *to = y + row[k] + r * RW_LANES;
                RW_V(store)(to, RW_V(fma)(RW_V(load)(weight + k * width + r * RW_LANES), in,
                                          RW_V(load)(to)));
            }
        }
    }
}

/* For groups of whole registers of this type, the largest that there are for so many rows. */
RW_KERNEL void RW_V(links_by_source)(const rw_by_source *s, const int32_t *at, int32_t n,
                                     const void *x, void *y)
{
    const int32_t regs = s->group / RW_LANES; /* 0 where no register of this type is filled */
    if (RW_LANES <= 8 && regs == 1)
        RW_V(links_of)(s, at, n, x, y, 1);
    if (RW_LANES <= 4 && regs == 2)
        RW_V(links_of)(s, at, n, x, y, 2);
    if (RW_LANES <= 2 && regs == 4)
        RW_V(links_of)(s, at, n, x, y, 4);
    if (RW_LANES == 1 && regs == 8)
        RW_V(links_of)(s, at, n, x, y, 8);
}

/* All weights: rows are the lanes, and `regs` registers of sums stay where they are while all
 * sources pass. */
RW_INLINE void RW_V(matrix_block)(const RW_T *w, size_t pitch, const int32_t *at, int32_t n,
                                  const RW_T *x, RW_T *y, const int regs)
{
    RW_VEC acc[8];
    RW_UNROLL
    for (int r = 0; r < regs; r++)
        acc[r] = RW_V(load)(y + r * RW_LANES);
    for (int32_t i = 0; i < n; i++) {
        const RW_T *from = w + (size_t)at[i] * pitch;
        RW_VEC in = RW_V(set1)(x[at[i]]);
        RW_UNROLL
        for (int r = 0; r < regs; r++)
            acc[r] = RW_V(fma)(RW_V(load)(from + r * RW_LANES), in, acc[r]);
    }
    RW_UNROLL
    for (int r = 0; r < regs; r++)
        RW_V(store)(y + r * RW_LANES, acc[r]);
}

RW_KERNEL void RW_V(matrix_by_source)(const void *weights, int32_t pitch, const int32_t *at,
                                      int32_t n, const void *x, void *y)
{
    const RW_T *w = weights;
    RW_T *to = y;
    int32_t row = 0;
    for (; row + 8 * RW_LANES <= pitch; row += 8 * RW_LANES)
        RW_V(matrix_block)(w + row, (size_t)pitch, at, n, x, to + row, 8);
    for (; row + 4 * RW_LANES <= pitch; row += 4 * RW_LANES)
        RW_V(matrix_block)(w + row, (size_t)pitch, at, n, x, to + row, 4);
    for (; row + RW_LANES <= pitch; row += RW_LANES)
        RW_V(matrix_block)(w + row, (size_t)pitch, at, n, x, to + row, 1);
}
