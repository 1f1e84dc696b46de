/* kernels_transform.h -- the Walsh-Hadamard transform over the rows of a tile.
 *
 * Included by kernels_element.h. A stage turns rows i and i + 2^s into their sum and their
 * difference. Three stages are carried out on eight rows at once, which stay in registers
 * between them; that rounds as three sweeps would, so how stages are taken together changes no
 * bit, and all instruction sets agree. */

/* Stages of a block of rows that stays in the first-level cache while they are carried out: 16 KB
 * of a full tile. */
#define RW_NEAR_STAGES 6

#define RW_BUTTERFLY(a, b)    \
    do {                      \
        RW_T less_ = (a) - (b); \
        (a) += (b);           \
        (b) = less_;          \
    } while (0)

/* One, two or three stages of 2, 4 or 8 runs of `count` values, `step` apart; times scale. */
RW_INLINE void RW_E(butterflies_2)(const RW_T *x, RW_T *y, size_t step, size_t count, RW_T scale)
{
    RW_IVDEP
    for (size_t b = 0; b < count; b++) {
        RW_T a0 = x[b], a1 = x[step + b];
        RW_BUTTERFLY(a0, a1);
        y[b] = a0 * scale;
        y[step + b] = a1 * scale;
    }
}

RW_INLINE void RW_E(butterflies_4)(const RW_T *x, RW_T *y, size_t step, size_t count, RW_T scale)
{
    RW_IVDEP
    for (size_t b = 0; b < count; b++) {
        RW_T a0 = x[b], a1 = x[step + b], a2 = x[2 * step + b], a3 = x[3 * step + b];
        RW_BUTTERFLY(a0, a1);
        RW_BUTTERFLY(a2, a3);
        RW_BUTTERFLY(a0, a2);
        RW_BUTTERFLY(a1, a3);
        y[b] = a0 * scale;
        y[step + b] = a1 * scale;
        y[2 * step + b] = a2 * scale;
        y[3 * step + b] = a3 * scale;
    }
}

RW_INLINE void RW_E(butterflies_8)(const RW_T *x, RW_T *y, size_t step, size_t count, RW_T scale)
{
    RW_IVDEP
    for (size_t b = 0; b < count; b++) {
        RW_T a0 = x[b], a1 = x[step + b], a2 = x[2 * step + b], a3 = x[3 * step + b];
        RW_T a4 = x[4 * step + b], a5 = x[5 * step + b], a6 = x[6 * step + b], a7 = x[7 * step + b];
        RW_BUTTERFLY(a0, a1);
        RW_BUTTERFLY(a2, a3);
        RW_BUTTERFLY(a4, a5);
        RW_BUTTERFLY(a6, a7);
        RW_BUTTERFLY(a0, a2);
        RW_BUTTERFLY(a1, a3);
        RW_BUTTERFLY(a4, a6);
        RW_BUTTERFLY(a5, a7);
        RW_BUTTERFLY(a0, a4);
        RW_BUTTERFLY(a1, a5);
        RW_BUTTERFLY(a2, a6);
        RW_BUTTERFLY(a3, a7);
        y[b] = a0 * scale;
        y[step + b] = a1 * scale;
        y[2 * step + b] = a2 * scale;
        y[3 * step + b] = a3 * scale;
        y[4 * step + b] = a4 * scale;
        y[5 * step + b] = a5 * scale;
        y[6 * step + b] = a6 * scale;
        y[7 * step + b] = a7 * scale;
    }
}

RW_OUTLINE void RW_E(butterflies)(const RW_T *x, RW_T *y, size_t step, size_t count, int32_t stages,
                                  RW_T scale)
{
    if (stages == 3)
        RW_E(butterflies_8)(x, y, step, count, scale);
    else if (stages == 2)
        RW_E(butterflies_4)(x, y, step, count, scale);
    else
        RW_E(butterflies_2)(x, y, step, count, scale);
}

/* Stages [first, last) of n rows, from x to y; without any, nothing. */
RW_KERNEL void RW_E(wht_stages)(const RW_T *x, RW_T *y, int64_t n, int32_t tile, int32_t width,
                                int32_t first, int32_t last, RW_T scale)
{
    for (int32_t now; first < last; first += now, x = y) {
        int32_t left = last - first;
        now = left == 4 ? 2 : left < 3 ? left : 3; /* four are two and two, not three and one */
        RW_T factor = first + now == last ? scale : 1;
        int64_t half = (int64_t)1 << first;
        size_t step = (size_t)half * (size_t)tile;
        for (int64_t base = 0; base < n; base += half << now) {
            const RW_T *from = x + (size_t)base * (size_t)tile;
            RW_T *to = y + (size_t)base * (size_t)tile;
            if (width == tile) { /* rows beside each other are one run */
                RW_E(butterflies)(from, to, step, step, now, factor);
                continue;
            }
            for (int64_t i = 0; i < half; i++, from += tile, to += tile)
                RW_E(butterflies)(from, to, step, (size_t)width, now, factor);
        }
    }
}

RW_KERNEL void RW_E(wht)(const void *from, void *to, int64_t n, int32_t tile, int32_t width,
                         int32_t first, int32_t last, double scale)
{
    const RW_T *x = from;
    RW_T *y = to;
    int32_t near = last < RW_NEAR_STAGES ? last : RW_NEAR_STAGES;
    if (first < near) { /* block by block, before the rows leave the cache */
        int64_t block = (int64_t)1 << near;
        for (int64_t base = 0; base < n; base += block)
            RW_E(wht_stages)(x + (size_t)base * (size_t)tile, y + (size_t)base * (size_t)tile,
                             block, tile, width, first, near, near == last ? (RW_T)scale : 1);
        first = near;
        x = y;
    }
    RW_E(wht_stages)(x, y, n, tile, width, first, last, (RW_T)scale);
}

#undef RW_BUTTERFLY
#undef RW_NEAR_STAGES
