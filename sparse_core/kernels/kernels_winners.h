/* kernels_winners.h -- the k largest values of each sample, by bisection for all samples side by side.
 *
 * Included by kernels_element.h, once for every precision. A score becomes an integer of the same
 * order, so that halving an interval of them ends after as many passes over the rows as the
 * precision has bits; it ends sooner, after 20 or so, where scores differ. Comparisons do not
 * round: every instruction set finds the same winners. */

#if RW_DTYPE_BITS == 32
#define RW_KEY int32_t
#define RW_KEY_MAX INT32_MAX
#else
#define RW_KEY int64_t
#define RW_KEY_MAX INT64_MAX
#endif

/* Samples whose winners are looked for at a time: a cache line of them, or two. */
#define RW_WINNER_SAMPLES 16

/* Keys of equal scores are equal, -0 and 0 included; that of a NaN is above all others. */
RW_INLINE RW_KEY RW_E(key_of)(RW_T score)
{
    RW_KEY key, all_but_sign = RW_KEY_MAX;
    score += 0; /* -0 becomes 0 */
    memcpy(&key, &score, sizeof key);
    key ^= key < 0 ? all_but_sign : 0;
    return score != score ? RW_KEY_MAX - 1 : key;
}

/* How many keys of each sample are at least `least`. */
RW_INLINE void RW_E(count_keys)(const char *keys, const RW_KEY *least, RW_KEY *count, int32_t n,
                                int32_t tile, const int32_t width)
{
    for (int32_t b = 0; b < width; b++)
        count[b] = 0;
    for (int32_t i = 0; i < n; i++, keys += (size_t)tile * sizeof(RW_KEY))
        for (int32_t b = 0; b < width; b++) {
            RW_KEY key;
            memcpy(&key, keys + (size_t)b * sizeof key, sizeof key);
            count[b] += key >= least[b];
        }
}

/* Of one sample: the k-th largest key lies in [low, high); `above` keys are at least `high`. */
typedef struct {
    RW_KEY low[RW_WINNER_SAMPLES], high[RW_WINNER_SAMPLES], above[RW_WINNER_SAMPLES];
} RW_E(interval);

/* Narrow the intervals until each holds one key, or until all keys from `low` on are k. Then
 * winners are the keys above `low`, and as many of those equal to it as `spare` says. */
RW_INLINE void RW_E(bisect)(const char *keys, int32_t k, RW_E(interval) *in, RW_KEY *spare,
                            int32_t n, int32_t tile, const int32_t width)
{
    RW_KEY middle[RW_WINNER_SAMPLES], count[RW_WINNER_SAMPLES];
    bool open = true;
    while (open) {
        open = false;
        for (int32_t b = 0; b < width; b++) { /* without a sum that overflows */
            RW_BITS apart = (RW_BITS)in->high[b] - (RW_BITS)in->low[b];
            middle[b] = (RW_KEY)((RW_BITS)in->low[b] + apart / 2);
        }
        RW_E(count_keys)(keys, middle, count, n, tile, width);
        for (int32_t b = 0; b < width; b++) {
            if (count[b] >= k) {
                in->low[b] = middle[b];
                in->high[b] = count[b] == k ? middle[b] + 1 : in->high[b];
            } else {
                in->high[b] = middle[b];
                in->above[b] = count[b];
            }
            spare[b] = count[b] == k ? RW_KEY_MAX : k - in->above[b];
            open |= (RW_BITS)in->high[b] - (RW_BITS)in->low[b] > 1;
        }
    }
}

/* The winners of `width` samples. `y` holds keys until the end. */
RW_INLINE void RW_E(winners_of)(const RW_T *restrict x, const RW_T *restrict factor, RW_T sign,
                                int32_t k, char *restrict y, int32_t n, int32_t tile,
                                const int32_t width)
{
    size_t step = (size_t)tile * sizeof(RW_T);
    RW_E(interval) in;
    RW_KEY spare[RW_WINNER_SAMPLES];
    for (int32_t b = 0; b < width; b++) {
        in.low[b] = RW_KEY_MAX;
        in.high[b] = -RW_KEY_MAX - 1;
        in.above[b] = 0;
    }
    for (int32_t i = 0; i < n; i++) {
        const RW_T *from = x + (size_t)i * (size_t)tile;
        char *to = y + (size_t)i * step;
        RW_T by = sign * factor[i];
        for (int32_t b = 0; b < width; b++) {
            RW_KEY key = RW_E(key_of)(from[b] * by);
            in.low[b] = key < in.low[b] ? key : in.low[b];
            in.high[b] = key > in.high[b] ? key : in.high[b];
            memcpy(to + (size_t)b * sizeof key, &key, sizeof key);
        }
    }
    for (int32_t b = 0; b < width; b++)
        in.high[b] += 1;
    RW_E(bisect)(y, k, &in, spare, n, tile, width);
    for (int32_t i = 0; i < n; i++) {
        const RW_T *from = x + (size_t)i * (size_t)tile;
        char *to = y + (size_t)i * step;
        for (int32_t b = 0; b < width; b++) {
            RW_KEY key;
            memcpy(&key, to + (size_t)b * sizeof key, sizeof key);
            RW_BITS ties = key == in.low[b], wins = (key > in.low[b]) | (ties & (spare[b] > 0));
            spare[b] -= (RW_KEY)ties;
            RW_T stays = from[b] == 0 ? -(RW_T)0 : from[b], value = RW_E(pick)(0 - wins, stays, 0);
            memcpy(to + (size_t)b * sizeof value, &value, sizeof value);
        }
    }
}

RW_KERNEL void RW_E(winners)(const void *from, const void *factors, double sign, int32_t k, void *to,
                             int32_t n, int32_t tile, int32_t live)
{
    const RW_T *x = from;
    for (int32_t b = 0; b < live; b += RW_WINNER_SAMPLES) {
        char *y = (char *)to + (size_t)b * sizeof(RW_T);
        if (tile >= RW_WINNER_SAMPLES)
            RW_E(winners_of)(x + b, factors, (RW_T)sign, k, y, n, tile, RW_WINNER_SAMPLES);
        else
            RW_E(winners_of)(x + b, factors, (RW_T)sign, k, y, n, tile, tile);
    }
    RW_E(clear_tail)(to, n, tile, live);
}

/* A winner is what is not the positive zero. */
RW_INLINE bool RW_E(won)(RW_T y)
{
    RW_BITS bits;
    memcpy(&bits, &y, sizeof bits);
    return bits != 0;
}

RW_KERNEL void RW_E(winners_back)(const void *won, const void *given, void *to, int64_t n, bool add)
{
    const RW_T *y = won, *dy = given;
    RW_T *dx = to;
    if (add) {
        RW_IVDEP
        for (int64_t i = 0; i < n; i++)
            dx[i] += RW_E(won)(y[i]) ? dy[i] : 0;
        return;
    }
    RW_IVDEP
    for (int64_t i = 0; i < n; i++)
        dx[i] = RW_E(won)(y[i]) ? dy[i] : 0;
}

RW_KERNEL void RW_E(count_winners)(const void *won, double *counts, int32_t n, int32_t tile,
                                   int32_t live, bool add)
{
    const RW_T *y = won;
    for (int32_t i = 0; i < n; i++, y += tile) {
        int32_t found = 0;
        for (int32_t b = 0; b < live; b++)
            found += RW_E(won)(y[b]);
        counts[i] = add ? counts[i] + found : found;
    }
}

#undef RW_KEY
#undef RW_KEY_MAX
#undef RW_WINNER_SAMPLES
