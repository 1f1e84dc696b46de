/* kernels_beside.h -- forward where one register holds a batch, or one sample of a group's rows (included by
 * kernels_body.h for every register type).
 *
 * A group of few rows would wait for its own additions. So groups are computed side by side, as many as a
 * multiply-add takes cycles, each sum in its own order as always. */

/* Not where four rows of wide registers have enough to do; and what is far is better fetched ahead. */
RW_INLINE bool RW_V(pays_beside)(const rw_panel *p, const rw_strip *s, int32_t rows)
{
    return !s->rest && s->cols == RW_LANES && rows <= (RW_LANES < 16 ? 4 : 2) && (rows == 1 || !p->far);
}

/* One sample: two rows side by side, all of whose slots lie in the panel. Rows of a few slots
 * spend their time on where they end, so no slot is asked for more than that. */
RW_INLINE void RW_V(forward_pair)(const rw_rows *s, int32_t row, int32_t *at, const RW_T *x,
                                  RW_VEC a, RW_VEC b, RW_T *y)
{
    const int32_t *source = s->source;
    const RW_T *w = s->weight;
    int64_t k = s->start[row] + at[0], stop = s->start[row] + s->len[row];
    int64_t q = s->start[row + 1] + at[1], end = s->start[row + 1] + s->len[row + 1];
    for (; k < stop && q < end; k++, q++) {
        a = RW_V(fma)(RW_V(set1)(w[k]), RW_V(load)(x + source[k]), a);
        b = RW_V(fma)(RW_V(set1)(w[q]), RW_V(load)(x + source[q]), b);
    }
    for (; k < stop; k++)
        a = RW_V(fma)(RW_V(set1)(w[k]), RW_V(load)(x + source[k]), a);
    for (; q < end; q++)
        b = RW_V(fma)(RW_V(set1)(w[q]), RW_V(load)(x + source[q]), b);
    at[0] = s->len[row];
    at[1] = s->len[row + 1];
    RW_V(store)(y + row, a);
    RW_V(store)(y + row + 1, b);
}

/* One more term of the sums of a group's rows. The lanes are samples, or, `by_rows`, the rows of a group,
 * of one sample: then a slot's weights are one load, and `rows` is 1. */
RW_INLINE void RW_V(forward_slot)(const int32_t *source, const RW_T *w, int64_t k, const RW_T *x,
                                  int32_t tile, RW_VEC *acc, const int rows, const bool by_rows)
{
    if (by_rows) {
        acc[0] = RW_V(fma)(RW_V(load)(w + k * RW_LANES), RW_V(set1)(x[source[k]]), acc[0]);
        return;
    }
    RW_VEC in = RW_V(load)(x + (size_t)source[k] * (size_t)tile);
    RW_UNROLL
    for (int r = 0; r < rows; r++)
        acc[r] = RW_V(fma)(RW_V(set1)(w[k * rows + r]), in, acc[r]);
}

/* `beside` groups, each sum in its own order, side by side as far as the shortest goes. By rows, a group is
 * a row of y that has RW_LANES values, as it is where lanes are samples. */
RW_INLINE void RW_V(forward_beside)(const rw_rows *s, int32_t g, int32_t *at, const rw_panel *p,
                                    const RW_T *x, const RW_T *bias, RW_T *y, int32_t tile,
                                    const int rows, const int beside, const bool by_rows)
{
    const int32_t *source = s->source, end = p->end;
    const RW_T *w = s->weight;
    int64_t k[4], stop[4], common = INT64_MAX;
    bool whole = true; /* do all slots lie in the panel? */
    RW_VEC acc[8];
    RW_UNROLL
    for (int i = 0; i < beside; i++) {
        k[i] = s->start[g + i] + at[i];
        stop[i] = s->start[g + i] + s->len[g + i];
        common = stop[i] - k[i] < common ? stop[i] - k[i] : common;
        whole = whole && (stop[i] == k[i] || source[stop[i] - 1] < end);
    }
    RW_UNROLL
    for (int r = 0; r < beside * rows; r++) {
        size_t row = (size_t)g * (size_t)rows + (size_t)r;
        acc[r] = p->more ? RW_V(load)(y + row * (size_t)tile)
                 : !bias ? RW_V(zero)()
                 : by_rows ? RW_V(load)(bias + row * RW_LANES) : RW_V(set1)(bias[row]);
    }
    if (!by_rows && whole && beside == 4 && rows == 1 && RW_LANES == 1 && tile == 1) {
        RW_V(forward_pair)(s, g, at, x, acc[0], acc[1], y);
        RW_V(forward_pair)(s, g + 2, at + 2, x, acc[2], acc[3], y);
        return;
    }
    for (; whole && common > 0; common--) {
        RW_UNROLL
        for (int i = 0; i < beside; i++)
            RW_V(forward_slot)(source, w, k[i]++, x, tile, acc + i * rows, rows, by_rows);
    }
    for (bool past = false; common > 0; common--) {
        RW_UNROLL
        for (int i = 0; i < beside; i++)
            past |= source[k[i]] >= end;
        if (past)
            break;
        RW_UNROLL
        for (int i = 0; i < beside; i++)
            RW_V(forward_slot)(source, w, k[i]++, x, tile, acc + i * rows, rows, by_rows);
    }
    RW_UNROLL
    for (int i = 0; i < beside; i++) {
        for (; k[i] < stop[i] && source[k[i]] < end; k[i]++)
            RW_V(forward_slot)(source, w, k[i], x, tile, acc + i * rows, rows, by_rows);
        at[i] = (int32_t)(k[i] - s->start[g + i]);
        RW_UNROLL
        for (int r = 0; r < rows; r++)
            RW_V(store)(y + ((size_t)(g + i) * (size_t)rows + (size_t)r) * (size_t)tile,
                        acc[i * rows + r]);
    }
}

RW_INLINE void RW_V(forward_all_beside)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                                        const rw_strip *s, const RW_T *bias, int32_t tile, const int rows)
{
    const int beside = rows == 4 ? 2 : 4;
    int32_t *at = p->at;
    for (; g0 + beside <= g1; g0 += beside, at += beside)
        RW_V(forward_beside)(w, g0, at, p, s->in, bias, s->out, tile, rows, beside, false);
    for (; g0 < g1; g0++, at++)
        RW_V(forward_beside)(w, g0, at, p, s->in, bias, s->out, tile, rows, 1, false);
}

#define RW_BESIDE_OF(group)                                                                     \
    RW_OUTLINE void RW_V(forward_beside_##group)(const rw_rows *w, int32_t g0, int32_t g1,      \
                                                 const rw_panel *p, const rw_strip *s,          \
                                                 const void *bias)                              \
    {                                                                                           \
        if (s->tile == RW_LANES)                                                                \
            RW_V(forward_all_beside)(w, g0, g1, p, s, bias, RW_LANES, group);                   \
        else                                                                                    \
            RW_V(forward_all_beside)(w, g0, g1, p, s, bias, s->tile, group);                    \
    }
RW_BESIDE_OF(1)
RW_BESIDE_OF(2)
RW_BESIDE_OF(4)

RW_KERNEL void RW_V(forward_small_batch)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                                         const rw_strip *s, const void *bias)
{
    switch (w->group) {
    case 1: RW_V(forward_beside_1)(w, g0, g1, p, s, bias); break;
    case 2: RW_V(forward_beside_2)(w, g0, g1, p, s, bias); break;
    default: RW_V(forward_beside_4)(w, g0, g1, p, s, bias); break;
    }
}

/* forward for tiles of one sample, where a group has RW_LANES rows. */
RW_KERNEL void RW_V(forward_one)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                                 const void *x, const void *bias, void *y)
{
    int32_t *at = p->at;
    for (; g0 + 4 <= g1; g0 += 4, at += 4)
        RW_V(forward_beside)(w, g0, at, p, x, bias, y, RW_LANES, 1, 4, true);
    for (; g0 < g1; g0++, at++)
        RW_V(forward_beside)(w, g0, at, p, x, bias, y, RW_LANES, 1, 1, true);
}

#undef RW_BESIDE_OF
