/* order.h -- the canonical order of kernels.h told a second time, one value after
 * the other: every kernel must give exactly these bits.
 *
 * Multiply-adds round once in every set but "scalar". So whatever machine the
 * test runs on, forward and dX of all other sets are the same bits. */
#ifndef RW_TEST_ORDER_H
#define RW_TEST_ORDER_H

#include "setup.h"
#include "base/tuning.h"

static double multiply_add(const rw_kernels *k, double w, double x, double acc)
{
    bool fused = strcmp(k->name, "scalar") != 0;
    if (k->dtype == RW_F32)
        return fused ? fmaf((float)w, (float)x, (float)acc) : (float)w * (float)x + (float)acc;
    return fused ? fma(w, x, acc) : w * x + acc;
}

static double plus(const rw_kernels *k, double a, double b)
{
    return k->dtype == RW_F32 ? (float)a + (float)b : a + b;
}

/* Of the widest register that a tile fills. */
static int32_t lanes_of(const rw_kernels *k, int32_t tile)
{
    int32_t lanes = k->lanes;
    while (lanes > tile)
        lanes /= 2;
    return lanes;
}

static bool forward_in_order(const rw_kernels *k, const rw_store *s, const rw_tiles *x,
                             const void *bias, const rw_tiles *y)
{
    for (int32_t row = 0; row < s->n_out; row++)
        for (int64_t b = 0; b < x->batch; b++) {
            double sum = bias ? get(k->dtype, bias, row) : 0;
            int32_t g = row / s->group;
            for (int32_t i = 0; i < s->len[g]; i++)
                sum = multiply_add(k, weight_at(s, 0, row, i),
                                   tile_get(x, s->source[s->start[g] + i], b), sum);
            if (tile_get(y, row, b) != sum)
                return false;
        }
    return true;
}

static bool dx_in_order(const rw_kernels *k, const rw_store *s, const rw_tiles *dy,
                        const rw_tiles *dx)
{
    rw_tiles *sums = tiles_new(s->n_in, dy->batch, dy->tile, k->dtype);
    for (int32_t row = 0; row < s->n_out; row++)
        for (int32_t i = 0; i < s->len[row / s->group]; i++) {
            int32_t j = s->source[s->start[row / s->group] + i];
            for (int64_t b = 0; b < dy->batch; b++)
                put(k->dtype, sums->data, place_in(sums, j, b),
                    multiply_add(k, weight_at(s, 0, row, i), tile_get(dy, row, b),
                                 tile_get(sums, j, b)));
        }
    bool same = samples_same(sums, dx);
    rw_tiles_free(sums);
    return same;
}

static double gradient_in_order(const rw_kernels *k, const rw_tiles *x, int32_t j,
                                const rw_tiles *dy, int32_t row)
{
    int32_t lanes = lanes_of(k, x->tile);
    double sum = 0, lane[64];
    for (int64_t from = 0; from < x->batch; from += RW_SPAN) {
        int64_t to = rw_min64(from + RW_SPAN, x->batch);
        memset(lane, 0, sizeof lane);
        for (int64_t b = from; b < to; b++)
            lane[b % lanes] = multiply_add(k, tile_get(x, j, b), tile_get(dy, row, b),
                                           lane[b % lanes]);
        for (int32_t half = lanes / 2; half > 0; half /= 2)
            for (int32_t l = 0; l < half; l++)
                lane[l] = plus(k, lane[l], lane[l + half]);
        sum = from > 0 ? plus(k, sum, lane[0]) : lane[0];
    }
    return sum;
}

static bool dw_in_order(const rw_kernels *k, const rw_store *s, const rw_tiles *x,
                        const rw_tiles *dy, int32_t grad)
{
    for (int32_t row = 0; row < s->n_out; row++)
        for (int32_t i = 0; i < s->len[row / s->group]; i++) {
            int32_t j = s->source[s->start[row / s->group] + i];
            if (weight_at(s, grad, row, i) != gradient_in_order(k, x, j, dy, row))
                return false;
        }
    return true;
}

static void test_the_canonical_order(void)
{
    static const int64_t BATCHES[] = { 1,  2,  3,  4,  5,  7,   8,   12,  15,
                                       16, 20, 32, 33, 64, 100, 130, 200, RW_SPAN + 70 };
    enum { N_BATCHES = (int)(sizeof BATCHES / sizeof *BATCHES) };
    FOR_EACH_KERNELS(k) {
        for (int g = 0; g < 4; g++) {
            int32_t n_out = 2 * N_LENGTHS + 1, n_in = 40;
            rw_store *s = store_of(n_out, n_in, GROUPS[g], GROUPS[g], k->dtype);
            int32_t grad = add_field(s, "grad");
            void *bias = bias_of(n_out, k->dtype);
            for (int i = 0; i < 2 * N_BATCHES; i++) {
                int64_t batch = BATCHES[i % N_BATCHES];
                int32_t tile =
                    i < N_BATCHES ? rw_tile_size(batch, k->dtype) : 1 << (i + g) % 7;
                rw_tiles *x = tiles_of(3, n_in, batch, tile, k->dtype);
                rw_tiles *dy = tiles_of(4, n_out, batch, tile, k->dtype);
                rw_tiles *y = tiles_new(n_out, batch, tile, k->dtype);
                rw_tiles *dx = tiles_new(n_in, batch, tile, k->dtype);
                const void *from = i % 3 ? bias : NULL;
                CHECK_STATUS(rw_forward(k, s, x, from, RW_ACT_LINEAR, 0, y, NULL, &ALONE), RW_OK);
                CHECK(forward_in_order(k, s, x, from, y));
                CHECK_STATUS(rw_backward_input(k, s, dy, dx, &ALONE), RW_OK);
                CHECK(dx_in_order(k, s, dy, dx));
                CHECK_STATUS(rw_backward_weights(k, s, x, dy, grad, false, NULL, &ALONE), RW_OK);
                CHECK(dw_in_order(k, s, x, dy, grad));
                rw_tiles_free(dx);
                rw_tiles_free(y);
                rw_tiles_free(dy);
                rw_tiles_free(x);
            }
            bias_free(bias, n_out);
            rw_store_free(s);
        }
    }
}

#endif
