/* kernels_dropout.h -- dropout by a hash of feature and sample (included by kernels_element.h). */

/* Samples whose numbers are spread at a time: a bound of the stack, 256 bytes. */
#define RW_DROPOUT_SAMPLES 64

/* What all rows of a call share. */
typedef struct {
    uint64_t drawn;
    int32_t below; /* a unit whose bits are less is dropped; at p = 1 none is, and the scale is 0 */
    RW_T scale, slope;
    uint32_t spread[RW_DROPOUT_SAMPLES];
} RW_E(dropping);

/* x, dropped or scaled; then, unless `act` is LINEAR, times f'(y). Beside a derivative the first choice is
 * by a mask too: compilers make no vectors of it else. */
RW_INLINE RW_T RW_E(drop_value)(const rw_act act, RW_T slope, RW_T y, bool kept, RW_T scale, RW_T x)
{
    if (act == RW_ACT_LINEAR)
        return x * (kept ? scale : 0);
    return RW_E(bent_back)(act, slope, y, x * RW_E(pick)(0 - (RW_BITS)kept, scale, 0));
}

/* n samples of features 2 `pair` and 2 `pair` + 1. */
RW_INLINE void RW_E(drop_pair)(const RW_E(dropping) *d, const rw_act act, uint64_t pair, const RW_T *y0,
                               const RW_T *y1, const RW_T *x0, const RW_T *x1, RW_T *to0, RW_T *to1,
                               int32_t n)
{
    uint64_t word = rw_split_mix(d->drawn, pair);
    uint32_t base = (uint32_t)word, twist = (uint32_t)(word >> 32);
    int32_t below = d->below;
    RW_T scale = d->scale, slope = d->slope;
    RW_IVDEP
    for (int32_t b = 0; b < n; b++) {
        uint32_t hash = rw_dropout_hash(base, twist, d->spread[b]);
        bool kept0 = rw_bits_of_first(hash) >= below, kept1 = rw_bits_of_second(hash) >= below;
        to0[b] = RW_E(drop_value)(act, slope, y0[b], kept0, scale, x0[b]);
        to1[b] = RW_E(drop_value)(act, slope, y1[b], kept1, scale, x1[b]);
    }
}

/* n samples of one feature of a pair, the first or the second. */
RW_INLINE void RW_E(drop_row)(const RW_E(dropping) *d, const rw_act act, uint64_t pair, bool second,
                              const RW_T *y, const RW_T *x, RW_T *to, int32_t n)
{
    uint64_t word = rw_split_mix(d->drawn, pair);
    uint32_t base = (uint32_t)word, twist = (uint32_t)(word >> 32);
    RW_IVDEP
    for (int32_t b = 0; b < n; b++) {
        uint32_t hash = rw_dropout_hash(base, twist, d->spread[b]);
        bool kept = (second ? rw_bits_of_second(hash) : rw_bits_of_first(hash)) >= d->below;
        to[b] = RW_E(drop_value)(act, d->slope, y[b], kept, d->scale, x[b]);
    }
}

/* n rows of a tile, the first of which is feature row0; `y` is not looked at where `act` is LINEAR. */
RW_INLINE void RW_E(drop_rows)(const rw_act act, double slope, const RW_T *y, const RW_T *from, RW_T *to,
                               int32_t n, int32_t row0, int64_t sample0, double p, rw_key key, int32_t tile,
                               int32_t live)
{
    RW_E(dropping) d = { .drawn = rw_draw4(key, RW_DRAW_DROPOUT, 0, 0).v[0],
                         .below = rw_dropout_below(p), .scale = (RW_T)(p < 1 ? 1 / (1 - p) : 0),
                         .slope = (RW_T)slope };
    for (int32_t b0 = 0; b0 < tile; b0 += RW_DROPOUT_SAMPLES) {
        int32_t m = (int32_t)rw_min64(RW_DROPOUT_SAMPLES, tile - b0);
        for (int32_t b = 0; b < m; b++)
            d.spread[b] = ((uint32_t)sample0 + (uint32_t)(b0 + b)) * RW_GOLDEN_32;
        size_t at = (size_t)b0, pitch = (size_t)tile;
        for (int32_t i = 0, rows; i < n; i += rows, at += (size_t)rows * pitch) {
            uint64_t pair = (uint64_t)((row0 + i) / 2);
            bool second = (row0 + i) % 2;
            rows = second || i + 1 == n ? 1 : 2;
            if (rows == 2)
                RW_E(drop_pair)(&d, act, pair, y + at, y + at + pitch, from + at, from + at + pitch, to + at,
                                to + at + pitch, m);
            else
                RW_E(drop_row)(&d, act, pair, second, y + at, from + at, to + at, m);
        }
    }
    RW_E(clear_tail)(to, n, tile, live);
}

RW_KERNEL void RW_E(dropout)(const void *from, void *to, int32_t n, int32_t row0, int64_t sample0,
                             double p, rw_key key, int32_t tile, int32_t live)
{
    RW_E(drop_rows)(RW_ACT_LINEAR, 0, from, from, to, n, row0, sample0, p, key, tile, live);
}

RW_KERNEL void RW_E(dropout_back)(rw_act act, double slope, const void *y, void *dy, int32_t n,
                                  int32_t row0, int64_t sample0, double p, rw_key key, int32_t tile,
                                  int32_t live)
{
    if (act == RW_ACT_RELU) {
        RW_E(drop_rows)(RW_ACT_RELU, 0, y, dy, dy, n, row0, sample0, p, key, tile, live);
    } else if (act == RW_ACT_LEAKY) {
        RW_E(drop_rows)(RW_ACT_LEAKY, slope, y, dy, dy, n, row0, sample0, p, key, tile, live);
    } else {
        RW_E(dropout)(dy, dy, n, row0, sample0, p, key, tile, live);
        if (act != RW_ACT_LINEAR)
            RW_E(activate_back)(act, slope, y, dy, n, tile, live);
    }
}

#undef RW_DROPOUT_SAMPLES
