/* kernels_dropout.h -- dropout by a hash of feature and sample (included by kernels_element.h). */

/* Samples whose numbers are spread at a time: a bound of the stack, 256 bytes. */
#define RW_DROPOUT_SAMPLES 64

/* What all rows of a call share. */
typedef struct {
    uint64_t drawn;
    int32_t below; /* of 2^16: a unit whose 16 bits are less is dropped */
    RW_T scale;
    uint32_t spread[RW_DROPOUT_SAMPLES];
} RW_E(dropping);

/* n samples of features 2 `pair` and 2 `pair` + 1. */
RW_INLINE void RW_E(drop_pair)(const RW_E(dropping) *d, uint64_t pair, const RW_T *x0, const RW_T *x1,
                               RW_T *y0, RW_T *y1, int32_t n)
{
    uint64_t word = rw_split_mix(d->drawn, pair);
    uint32_t base = (uint32_t)word, twist = (uint32_t)(word >> 32);
    int32_t below = d->below;
    RW_T scale = d->scale;
    RW_IVDEP
    for (int32_t b = 0; b < n; b++) {
        uint32_t hash = rw_dropout_hash(base, twist, d->spread[b]);
        y0[b] = x0[b] * ((int32_t)(hash & RW_LOW_HALF) >= below ? scale : 0);
        y1[b] = x1[b] * ((int32_t)(hash >> 16) >= below ? scale : 0);
    }
}

/* n samples of one feature of a pair, the first or the second. */
RW_INLINE void RW_E(drop_row)(const RW_E(dropping) *d, uint64_t pair, bool second, const RW_T *x, RW_T *y,
                              int32_t n)
{
    uint64_t word = rw_split_mix(d->drawn, pair);
    uint32_t base = (uint32_t)word, twist = (uint32_t)(word >> 32);
    int32_t below = d->below, shift = second ? 16 : 0;
    RW_T scale = d->scale;
    RW_IVDEP
    for (int32_t b = 0; b < n; b++) {
        uint32_t hash = rw_dropout_hash(base, twist, d->spread[b]);
        y[b] = x[b] * ((int32_t)(hash >> shift & RW_LOW_HALF) >= below ? scale : 0);
    }
}

RW_KERNEL void RW_E(dropout)(const void *from, void *to, int32_t n, int32_t row0, int64_t sample0,
                             double p, rw_key key, int32_t tile, int32_t live)
{
    RW_E(dropping) d = { .drawn = rw_draw4(key, RW_DRAW_DROPOUT, 0, 0).v[0],
                         .below = (int32_t)(p * 0x1p16 + 0.5), .scale = (RW_T)(p < 1 ? 1 / (1 - p) : 0) };
    for (int32_t b0 = 0; b0 < tile; b0 += RW_DROPOUT_SAMPLES) {
        int32_t m = (int32_t)rw_min64(RW_DROPOUT_SAMPLES, tile - b0);
        for (int32_t b = 0; b < m; b++)
            d.spread[b] = ((uint32_t)sample0 + (uint32_t)(b0 + b)) * RW_GOLDEN_32;
        const RW_T *x = (const RW_T *)from + b0;
        RW_T *y = (RW_T *)to + b0;
        for (int32_t i = 0; i < n;) {
            uint64_t pair = (uint64_t)((row0 + i) / 2);
            bool second = (row0 + i) % 2;
            int32_t rows = second || i + 1 == n ? 1 : 2;
            if (rows == 2)
                RW_E(drop_pair)(&d, pair, x, x + tile, y, y + tile, m);
            else
                RW_E(drop_row)(&d, pair, second, x, y, m);
            i += rows;
            x += (size_t)rows * (size_t)tile;
            y += (size_t)rows * (size_t)tile;
        }
    }
    RW_E(clear_tail)((RW_T *)to, n, tile, live);
}

#undef RW_DROPOUT_SAMPLES
