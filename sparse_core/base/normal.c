#include "base/normal.h"

#include <math.h>

/* Where the tail begins, and the area of a layer, for 256 of them. */
#define TAIL 3.6541528853610088
#define AREA 0.00492867323397465
/* The bits of a number that name its layer, and its layer and sign. */
enum { LAYER_BITS = RW_NORMAL_LAYERS - 1, STEP_BITS = 2 * RW_NORMAL_LAYERS - 1 };

void rw_normal_start(rw_normal *t)
{
    double x = TAIL, y = exp(-0.5 * TAIL * TAIL);
    t->edge[0] = AREA / y;
    t->height[0] = 0;
    for (int i = 1; i < RW_NORMAL_LAYERS; i++) {
        t->edge[i] = x;
        t->height[i] = y;
        y += AREA / x;
        x = y < 1 ? sqrt(-2 * log(y)) : 0;
    }
    t->edge[RW_NORMAL_LAYERS] = 0;
    t->height[RW_NORMAL_LAYERS] = 1;
    for (int i = 0; i < RW_NORMAL_LAYERS; i++) {
        t->step[i] = (float)(t->edge[i] * 0x1p-23);
        t->step[i + RW_NORMAL_LAYERS] = -t->step[i];
        t->below[i] = (uint32_t)(t->edge[i + 1] / t->edge[i] * 0x1p23);
    }
}

/* Uniform in (0, 1]: its logarithm is finite. */
static double positive_unit(rw_seq *s) { return 1.0 - rw_unit(rw_seq_next(s)); }

/* Beyond the last edge (Marsaglia 1964). */
static double tail(rw_seq *s)
{
    double x, y;
    do {
        x = -log(positive_unit(s)) / TAIL;
        y = -log(positive_unit(s));
    } while (2 * y < x * x);
    return TAIL + x;
}

/* The number that began with the 32 bits of `word`, of which the quick test was not sure. */
static double draw_again(const rw_normal *t, uint32_t word, rw_seq s)
{
    uint32_t layer = word & LAYER_BITS, left = word >> 8 & 1;
    double x = ((double)(word >> 9) + 0.5) * 0x1p-23 * t->edge[layer];
    for (;;) {
        if (x < t->edge[layer + 1])
            break;
        if (layer == 0) {
            x = tail(&s);
            break;
        }
        double low = t->height[layer], high = t->height[layer + 1];
        double y = low + rw_unit(rw_seq_next(&s)) * (high - low);
        if (y < exp(-0.5 * x * x))
            break;
        uint64_t again = rw_seq_next(&s); /* another layer, another place: a new number */
        layer = again & LAYER_BITS;
        left = again >> 8 & 1;
        x = rw_unit(again) * t->edge[layer];
    }
    return left ? -x : x;
}

void rw_normals(const rw_normal *t, rw_key key, uint64_t row, int64_t first, int64_t n, float *out)
{
    RW_ASSERT(first >= 0 && first % 2 == 0 && n >= 0);
    uint64_t drawn = rw_draw4(key, RW_DRAW_NORMAL, row, 0).v[0];
    for (int64_t i = 0; i < n; i += 2) {
        uint64_t two = rw_split_mix(drawn, (uint64_t)(first + i) / 2);
        for (int64_t lane = 0; lane < 2; lane++) {
            uint32_t word = (uint32_t)(two >> (32 * lane));
            out[i + lane] = ((float)(int32_t)(word >> 9) + 0.5f) * t->step[word & STEP_BITS];
            if (word >> 9 >= t->below[word & LAYER_BITS]) {
                rw_seq more = rw_seq_start(key, RW_DRAW_RETRY, row);
                more.index = (uint64_t)(first + i + lane) << 20; /* blocks for this number alone */
                out[i + lane] = (float)draw_again(t, word, more);
            }
        }
    }
}
