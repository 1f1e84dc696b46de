/* elements.h -- activations and dropout. */
#ifndef RW_TEST_ELEMENTS_H
#define RW_TEST_ELEMENTS_H

#include "setup.h"

static const struct { rw_act act; double slope; } ACTIVATIONS[] = {
    { RW_ACT_LINEAR, 0 }, { RW_ACT_RELU, 0 }, { RW_ACT_LEAKY, 0.25 }, { RW_ACT_LEAKY, -0.6 },
    { RW_ACT_LEAKY, 0 }, { RW_ACT_SIGMOID, 0 }, { RW_ACT_TANH, 0 }, { RW_ACT_THRESHOLDED, 0.125 },
    { RW_ACT_GELU, 0 }, { RW_ACT_GELU_TANH, 0 }, { RW_ACT_SILU, 0 },
};
enum { N_ACTIVATIONS = (int)(sizeof ACTIVATIONS / sizeof *ACTIVATIONS) };

/* sqrt(1 / 2) and so on, to more digits than float64 has. */
static const long double ROOT_HALF = 0.707106781186547524400844L;
static const long double DENSITY_AT_0 = 0.398942280401432677939946L; /* of normal numbers */
static const long double GELU_SCALE = 0.797884560802865355879892L, GELU_CUBE = 0.044715L;

static long double normal_below(long double z) { return erfcl(-z * ROOT_HALF) / 2; }
static long double sigmoid_of(long double z) { return 1 / (1 + expl(-z)); }

static long double gelu_tanh_argument(long double z)
{
    return 2 * GELU_SCALE * (z + GELU_CUBE * z * z * z);
}

/* Whether `activate` leaves the derivative for `activate_back`. */
static bool by_slope(rw_act act)
{
    return act == RW_ACT_GELU || act == RW_ACT_GELU_TANH || act == RW_ACT_SILU;
}

/* Whether backward reads what `activate` leaves beside its output. */
static bool reads_beside(rw_act act, double slope)
{
    return by_slope(act) || (act == RW_ACT_LEAKY && slope <= 0);
}

static double activated(rw_act act, double slope, double z)
{
    switch (act) {
    case RW_ACT_LINEAR:  return z;
    case RW_ACT_RELU:    return z > 0 ? z : 0;
    case RW_ACT_LEAKY:   return z > 0 ? z : slope * z;
    case RW_ACT_SIGMOID: return 1 / (1 + exp(-z));
    case RW_ACT_TANH:    return tanh(z);
    case RW_ACT_THRESHOLDED: return z > slope ? z : 0;
    case RW_ACT_GELU:    return (double)(z * normal_below(z));
    case RW_ACT_GELU_TANH: return (double)(z * sigmoid_of(gelu_tanh_argument(z)));
    case RW_ACT_SILU:    return (double)(z * sigmoid_of(z));
    }
    return NAN;
}

static double derivative(rw_act act, double slope, double z)
{
    double y = activated(act, slope, z);
    switch (act) {
    case RW_ACT_LINEAR:  return 1;
    case RW_ACT_RELU:    return z > 0 ? 1 : 0;
    case RW_ACT_LEAKY:   return z > 0 ? 1 : slope;
    case RW_ACT_SIGMOID: return y * (1 - y);
    case RW_ACT_TANH:    return 1 - y * y;
    case RW_ACT_THRESHOLDED: return z > slope ? 1 : 0;
    case RW_ACT_GELU:
        return (double)(normal_below(z) + z * DENSITY_AT_0 * expl(-(long double)z * z / 2));
    case RW_ACT_GELU_TANH: {
        long double a = gelu_tanh_argument(z), far = sigmoid_of(-a);
        long double steep = 2 * GELU_SCALE * (1 + 3 * GELU_CUBE * z * z);
        return (double)(sigmoid_of(a) * (1 + z * far * steep));
    }
    case RW_ACT_SILU: return (double)(sigmoid_of(z) * (1 + z * sigmoid_of(-z)));
    }
    return NAN;
}

static bool near(double a, double b, rw_dtype dtype)
{
    return fabs(a - b) <= 8 * epsilon(dtype) * (1 + fabs(b));
}

static void test_activations(void)
{
    FOR_EACH_KERNELS(k) {
        for (int i = 0; i < N_LENGTHS * N_ACTIVATIONS; i++) {
            rw_act act = ACTIVATIONS[i % N_ACTIVATIONS].act;
            double slope = ACTIVATIONS[i % N_ACTIVATIONS].slope;
            int32_t batch = LENGTHS[i / N_ACTIVATIONS], tile = 1 << (i % 7), n = 11;
            rw_tiles *x = tiles_of(5, n, batch, tile, k->dtype), *y = tiles_copy(x);
            rw_tiles *z = tiles_new(n, batch, tile, k->dtype);
            rw_tiles *dy = tiles_of(6, n, batch, tile, k->dtype), *back = tiles_copy(dy);
            put(k->dtype, x->data, 0, 0.0); /* the corner of three of them */
            memcpy(y->data, x->data, x->bytes);
            CHECK_STATUS(rw_activate(k, NULL, act, slope, y, z, &ALONE), RW_OK);
            CHECK(by_slope(act) || tiles_same(x, z));
            CHECK(padding_is_zero(y) && padding_is_zero(z));
            bool beside = reads_beside(act, slope);
            CHECK_STATUS(rw_activate_back(k, act, slope, beside ? z : y, back, &ALONE), RW_OK);
            CHECK(padding_is_zero(back));
            rw_tiles *both = tiles_copy(dy); /* and with the sums of what comes of it, in one pass */
            void *sums[2] = { bias_of(n, k->dtype), bias_of(n, k->dtype) };
            for (int add = 0; add < 2; add++) {
                CHECK_STATUS(rw_bias_gradient(k, back, sums[0], add, &ALONE), RW_OK);
                memcpy(both->data, dy->data, dy->bytes);
                CHECK_STATUS(rw_activate_back_sums(k, NULL, act, slope, beside ? z : y, both, sums[1],
                                                   add, &ALONE), RW_OK);
                CHECK(tiles_same(back, both));
                CHECK(memcmp(sums[0], sums[1], (size_t)n * rw_dtype_size(k->dtype)) == 0);
            }
            bias_free(sums[1], n);
            bias_free(sums[0], n);
            rw_tiles_free(both);
            bool good = true;
            for (int32_t j = 0; j < n; j++)
                for (int32_t b = 0; b < batch; b++) {
                    double at = tile_get(x, j, b);
                    good &= near(tile_get(y, j, b), activated(act, slope, at), k->dtype);
                    good &= near(tile_get(back, j, b),
                                 derivative(act, slope, at) * tile_get(dy, j, b), k->dtype);
                }
            CHECK(good);
            if (tile > 1) { /* kernels alone: whatever was beyond the live samples goes */
                double rows[2 * 64], outputs[2 * 64];
                for (int j = 0; j < 2 * tile; j++) {
                    put(k->dtype, rows, j, 0.5);
                    put(k->dtype, outputs, j, 0.25);
                }
                k->activate_back(act, slope, outputs, rows, 2, tile, tile - 1);
                CHECK(get(k->dtype, rows, tile - 1) == 0 && get(k->dtype, rows, 2 * tile - 1) == 0);
                CHECK(get(k->dtype, rows, tile - 2) != 0 && get(k->dtype, rows, tile) != 0);
                k->activate(act, slope, outputs, rows, 2, tile, tile - 1);
                CHECK(get(k->dtype, rows, tile - 1) == 0);
                CHECK(by_slope(act) || get(k->dtype, rows, 2 * tile - 2) == 0.25);
                CHECK(get(k->dtype, outputs, tile - 1) == 0 && get(k->dtype, outputs, tile) != 0);
            }
            rw_tiles_free(back);
            rw_tiles_free(dy);
            rw_tiles_free(z);
            rw_tiles_free(y);
            rw_tiles_free(x);
        }
        double extreme[] = { -1e4, 1e4, (double)INFINITY, -(double)INFINITY, (double)NAN };
        for (int i = 0; i < 5; i++) {
            rw_tiles *y = tiles_new(1, 1, 1, k->dtype);
            put(k->dtype, y->data, 0, extreme[i]);
            CHECK_STATUS(rw_activate(k, NULL, RW_ACT_SIGMOID, 0, y, NULL, &ALONE), RW_OK);
            double got = tile_get(y, 0, 0);
            CHECK(isnan(extreme[i]) ? isnan(got) : got == (extreme[i] > 0 ? 1 : 0));
            put(k->dtype, y->data, 0, (double)NAN); /* a diverged network shows */
            CHECK_STATUS(rw_activate(k, NULL, RW_ACT_RELU, 0, y, NULL, &ALONE), RW_OK);
            CHECK(isnan(tile_get(y, 0, 0)));
            CHECK_STATUS(rw_activate(k, NULL, RW_ACT_LEAKY, 0.1, y, NULL, &ALONE), RW_OK);
            CHECK(isnan(tile_get(y, 0, 0)));
            rw_tiles_free(y);
        }
    }
}

/* What is computed without a library: to the bounds of kernels_element.h, far out as well, and in
 * the same bits everywhere. */
static void test_smooth_activations(void)
{
    enum { N = 1024 };
    static const rw_act SMOOTH[] = { RW_ACT_GELU, RW_ACT_GELU_TANH, RW_ACT_SILU };
    FOR_EACH_KERNELS(k) {
        const rw_kernels *scalar = rw_kernels_named(k->dtype, "scalar");
        bool is_float = k->dtype == RW_F32;
        double eps = epsilon(k->dtype), least = is_float ? 0x1p-120 : 0x1p-1000;
        for (int i = 0; i < 3; i++) {
            double y[N], dy[N], z[N], slopes[N]; /* or floats */
            double alone[N], other[N], other_slopes[N]; /* made without slopes, and by the scalar kernels */
            bool good = true;
            for (int j = 0; j < N; j++) {
                double far = j % 2 ? 1.0 : is_float ? 20.0 : 60.0;
                double at = far * (2.0 * j / (N - 1) - 1);
                put(k->dtype, z, j, at);
                put(k->dtype, y, j, at);
                put(k->dtype, other, j, at);
                put(k->dtype, alone, j, at);
                put(k->dtype, dy, j, 1.0);
            }
            k->activate(SMOOTH[i], 0, alone, NULL, N / 64, 64, 64);
            k->activate(SMOOTH[i], 0, y, slopes, N / 64, 64, 64);
            good &= memcmp(y, alone, (size_t)N * rw_dtype_size(k->dtype)) == 0;
            scalar->activate(SMOOTH[i], 0, other, other_slopes, N / 64, 64, 64);
            good &= memcmp(y, other, (size_t)N * rw_dtype_size(k->dtype)) == 0;
            good &= memcmp(slopes, other_slopes, (size_t)N * rw_dtype_size(k->dtype)) == 0;
            k->activate_back(SMOOTH[i], 0, slopes, dy, N / 64, 64, 64);
            for (int j = 0; j < N; j++) {
                double at = get(k->dtype, z, j), f = activated(SMOOTH[i], 0, at);
                double slope = derivative(SMOOTH[i], 0, at);
                double exponents[] = { at * at / 2, (double)-gelu_tanh_argument(at), 0 };
                double lost = 8 + (at < 0 ? 2 * exponents[i] : 0);
                good &= fabs(get(k->dtype, y, j) - f) <= lost * eps * fabs(f) + least;
                good &= fabs(get(k->dtype, dy, j) - slope) <= 8 * eps * fmax(1, fabs(slope));
            }
            CHECK(good);
            double extreme[] = { 1e30, -1e30, (double)INFINITY, (double)NAN };
            for (int j = 0; j < 4; j++) {
                put(k->dtype, y, 0, extreme[j]);
                k->activate(SMOOTH[i], 0, y, NULL, 1, 1, 1);
                double got = get(k->dtype, y, 0);
                CHECK(j == 3 ? isnan(got) : j == 1 ? got == 0 : got >= 0.99e30);
            }
        }
        double wrong[1];
        put(k->dtype, wrong, 0, (double)NAN);
        k->activate(RW_ACT_THRESHOLDED, 0.5, wrong, NULL, 1, 1, 1);
        CHECK(isnan(get(k->dtype, wrong, 0)));
    }
}

/* rw_activate with a bias does what rw_forward does at its end. */
static void test_activation_after_a_dense_layer(void)
{
    FOR_EACH_KERNELS(k) {
        int32_t n = 13;
        void *bias = bias_of(n, k->dtype);
        rw_tiles *x = tiles_of(5, n, 37, 16, k->dtype), *y = tiles_copy(x), *z = tiles_copy(x);
        CHECK_STATUS(rw_activate(k, bias, RW_ACT_RELU, 0, y, z, &ALONE), RW_OK);
        for (int32_t i = 0; i < n; i++)
            for (int64_t b = 0; b < 37; b++) {
                double sum = tile_get(x, i, b) + get(k->dtype, bias, i);
                CHECK(near(tile_get(z, i, b), sum, k->dtype));
                CHECK(near(tile_get(y, i, b), fmax(sum, 0), k->dtype));
            }
        CHECK(padding_is_zero(y) && padding_is_zero(z));
        rw_tiles_free(z);
        rw_tiles_free(y);
        rw_tiles_free(x);
        bias_free(bias, n);
    }
}

/* Both sides of zero, and back: every set gives the bits of the definition. */
static void test_two_sides(void)
{
    FOR_EACH_KERNELS(k) {
        for (int i = 0; i < N_LENGTHS; i++) {
            int32_t batch = LENGTHS[i], tile = 1 << (i % 7), n = 11;
            rw_tiles *x = tiles_of(5, n, batch, tile, k->dtype);
            rw_tiles *sides = tiles_new(2 * n, batch, tile, k->dtype);
            rw_tiles *dsides = tiles_of(6, 2 * n, batch, tile, k->dtype);
            rw_tiles *dx = tiles_new(n, batch, tile, k->dtype);
            put(k->dtype, x->data, 0, 0.0); /* neither positive nor negative */
            put(k->dtype, x->data, place_in(x, 1, batch - 1), NAN);
            CHECK_STATUS(rw_two_sides(k, x, sides, &ALONE), RW_OK);
            CHECK_STATUS(rw_two_sides_back(k, x, dsides, dx, &ALONE), RW_OK);
            CHECK(padding_is_zero(sides) && padding_is_zero(dx));
            bool good = true;
            for (int32_t j = 0; j < n; j++)
                for (int32_t b = 0; b < batch; b++) {
                    double at = tile_get(x, j, b), up = tile_get(sides, j, b);
                    double down = tile_get(sides, n + j, b);
                    good &= isnan(at) ? isnan(up) && isnan(down)
                                      : up == fmax(at, 0) && down == fmin(at, 0);
                    good &= tile_get(dx, j, b) == tile_get(dsides, at > 0 ? j : n + j, b);
                }
            CHECK(good);
            rw_tiles *bad = tiles_new(2 * n + 1, batch, tile, k->dtype);
            CHECK_STATUS(rw_two_sides(k, x, bad, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_two_sides_back(k, x, bad, dx, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_two_sides_back(k, x, dsides, sides, &ALONE), RW_ESHAPE);
            rw_tiles *all[] = { x, sides, dsides, dx, bad };
            for (int j = 0; j < 5; j++)
                rw_tiles_free(all[j]);
        }
    }
}

/* f, f' and the derivatives by tl, al, tr, ar of one S-shape at x. */
static double srelu_at(const double shape[4], double x, double *slope, double by[4])
{
    double tl = shape[0], al = shape[1], tr = shape[2] < tl ? tl : shape[2], ar = shape[3];
    bool met = shape[2] < tl;
    memset(by, 0, 4 * sizeof *by);
    if (x <= tl) {
        by[0] = 1 - al;
        by[1] = x - tl;
        *slope = al;
        return tl + al * (x - tl);
    }
    if (x >= tr) {
        by[met ? 0 : 2] = 1 - ar;
        by[3] = x - tr;
        *slope = ar;
        return tr + ar * (x - tr);
    }
    *slope = 1;
    return x;
}

static void test_srelu(void)
{
    enum { N = 11 };
    FOR_EACH_KERNELS(k) {
        for (int i = 0; i < N_LENGTHS; i++) {
            int32_t batch = LENGTHS[i], tile = 1 << (i % 7);
            double shape[4 * N], gradient[4 * N], want[4 * N] = { 0 }, of[4 * N]; /* or floats */
            for (int j = 0; j < N; j++) { /* the knees of some have met, or lie on a sample */
                of[j] = j % 3 ? -0.5 : 0;
                of[N + j] = 0.1 * j - 0.6;
                of[2 * N + j] = j % 4 ? 0.5 : -1;
                of[3 * N + j] = 1 - 0.15 * j;
            }
            for (int j = 0; j < 4 * N; j++)
                put(k->dtype, shape, j, of[j]);
            rw_tiles *x = tiles_of(5, N, batch, tile, k->dtype);
            put(k->dtype, x->data, 0, 0.0);
            rw_tiles *y = tiles_new(N, batch, tile, k->dtype);
            rw_tiles *dy = tiles_of(6, N, batch, tile, k->dtype), *dx = tiles_copy(dy);
            CHECK_STATUS(rw_srelu(k, x, shape, y, &ALONE), RW_OK);
            CHECK_STATUS(rw_srelu_gradient(k, x, shape, dy, gradient, &ALONE), RW_OK);
            CHECK_STATUS(rw_srelu_back(k, x, shape, dx, dx, &ALONE), RW_OK);
            CHECK(padding_is_zero(y) && padding_is_zero(dx));
            bool good = true;
            for (int32_t j = 0; j < N; j++)
                for (int32_t b = 0; b < batch; b++) {
                    double one[4], slope, by[4], g = tile_get(dy, j, b);
                    for (int kind = 0; kind < 4; kind++)
                        one[kind] = get(k->dtype, shape, kind * N + j);
                    double f = srelu_at(one, tile_get(x, j, b), &slope, by);
                    good &= near(tile_get(y, j, b), f, k->dtype);
                    good &= near(tile_get(dx, j, b), slope * g, k->dtype);
                    for (int kind = 0; kind < 4; kind++)
                        want[kind * N + j] += g * by[kind];
                }
            for (int j = 0; j < 4 * N; j++)
                good &= fabs(get(k->dtype, gradient, j) - want[j])
                        <= 16 * epsilon(k->dtype) * (1 + 4 * batch);
            CHECK(good);
            rw_tiles *bad = tiles_new(N + 1, batch, tile, k->dtype);
            CHECK_STATUS(rw_srelu(k, x, shape, bad, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_srelu_back(k, x, shape, bad, dx, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_srelu_gradient(k, x, shape, bad, gradient, &ALONE), RW_ESHAPE);
            rw_tiles *all[] = { x, y, dy, dx, bad };
            for (int j = 0; j < 5; j++)
                rw_tiles_free(all[j]);
        }
    }
}

/* Against sorting by hand, with ties in the order of rows, zeros of both signs and a NaN. */
static void test_winners(void)
{
    enum { N = 23 };
    FOR_EACH_KERNELS(k) {
        for (int i = 0; i < 3 * N_LENGTHS; i++) {
            int32_t batch = LENGTHS[i % N_LENGTHS], tile = 1 << (i % 7), row = i % 3;
            int32_t most = i % 5 == 4 ? N : 1 + (5 * i) % N;
            double factor[N], counts[N + 2], sign = i % 2 ? -1 : 1; /* or floats */
            rw_tiles *x = tiles_of(5, N, batch, tile, k->dtype);
            rw_tiles *y = tiles_of(7, N + row, batch, tile, k->dtype);
            rw_tiles *dy = tiles_of(6, N + row, batch, tile, k->dtype);
            rw_tiles *dx = tiles_of(8, N, batch, tile, k->dtype), *sum = tiles_copy(dx);
            for (int32_t j = 0; j < N; j++) {
                put(k->dtype, factor, j, j % 4 ? 1 : 1 + j / 8.0);
                for (int32_t b = 0; b < batch; b++)
                    if ((j + b) % 3 == 0) /* many are the same */
                        put(k->dtype, x->data, place_in(x, j, b),
                            b % 7 == 0 ? 0.25 : j % 2 ? -0.0 : 0.0);
            }
            if (i % 4 == 0)
                put(k->dtype, x->data, place_in(x, 3, batch - 1), (double)NAN);
            CHECK_STATUS(rw_winners(k, x, factor, sign, most, y, row, &ALONE), RW_OK);
            CHECK_STATUS(rw_winners_back(k, y, dy, row, dx, false, &ALONE), RW_OK);
            CHECK_STATUS(rw_winners_back(k, y, dy, row, sum, true, &ALONE), RW_OK);
            CHECK_STATUS(rw_count_winners(k, y, counts, &ALONE), RW_OK);
            CHECK(padding_is_zero(dx));
            bool good = true;
            double won[N] = { 0 };
            for (int32_t b = 0; b < batch; b++)
                for (int32_t j = 0; j < N; j++) {
                    double at = tile_get(x, j, b), mine = sign * get(k->dtype, factor, j) * at;
                    int32_t ahead = 0;
                    for (int32_t other = 0; other < N; other++) {
                        double its = sign * get(k->dtype, factor, other) * tile_get(x, other, b);
                        ahead += isnan(its) ? !isnan(mine) : its > mine;
                        ahead += other < j && its == mine;
                    }
                    bool wins = ahead < most;
                    double got = tile_get(y, row + j, b), g = tile_get(dy, row + j, b);
                    won[j] += wins;
                    good &= wins && isnan(at) ? isnan(got) : got == (wins ? at : 0);
                    good &= tile_get(dx, j, b) == (wins ? g : 0);
                    good &= near(tile_get(sum, j, b), tile_get(dx, j, b)
                                 + value(8, j, b), k->dtype);
                }
            for (int32_t j = 0; j < N; j++)
                good &= counts[row + j] == won[j];
            CHECK(good);
            CHECK_STATUS(rw_winners(k, x, factor, 1, 0, y, row, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_winners(k, x, factor, 1, N + 1, y, row, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_winners(k, x, factor, 1, 1, y, row + 1, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_winners_back(k, y, dy, row + 1, dx, false, &ALONE), RW_ESHAPE);
            rw_tiles *all[] = { x, y, dy, dx, sum };
            for (int j = 0; j < 5; j++)
                rw_tiles_free(all[j]);
        }
    }
}

/* Counts over rows, columns and neighbours: within 5 deviations of a fair coin. */
static void test_dropout_rate(void)
{
    int32_t n = 512, batch = 2048;
    rw_tiles *x = tiles_new(n, batch, 64, RW_F32), *y = tiles_new(n, batch, 64, RW_F32);
    for (int32_t i = 0; i < n; i++)
        for (int64_t b = 0; b < batch; b++)
            put(RW_F32, x->data, place_in(x, i, b), 1.0);
    const rw_kernels *k = rw_kernels_named(RW_F32, NULL);
    double rates[] = { 0.0, 0.01, 0.3, 0.5, 0.9 };
    for (int r = 0; r < 5; r++) {
        double p = rates[r], kept = 0, beside = 0, below = 0, both = (double)n * batch;
        rw_key key = { 7, 1, (uint64_t)r };
        CHECK_STATUS(rw_dropout(k, x, y, p, key, 0, &ALONE), RW_OK);
        for (int32_t i = 0; i < n; i++)
            for (int64_t b = 0; b < batch; b++) {
                double v = tile_get(y, i, b);
                CHECK(v == 0 || near(v, 0x1p16 / (0x1p16 - floor(p * 0x1p16 + 0.5)), RW_F32));
                kept += v != 0;
                beside += v != 0 && b + 1 < batch && tile_get(y, i, b + 1) != 0;
                below += v != 0 && i + 1 < n && tile_get(y, i + 1, b) != 0;
            }
        double q = 1 - p, q2 = q * q, off = sqrt(both * p * q);
        CHECK(fabs(kept - both * q) <= 5 * off);
        double pairs = (double)n * (batch - 1), pair_off = sqrt(3 * pairs * q2 * (1 - q2));
        CHECK(fabs(beside - pairs * q2) <= 5 * pair_off);
        pairs = (double)(n - 1) * batch;
        CHECK(fabs(below - pairs * q2) <= 5 * sqrt(3 * pairs * q2 * (1 - q2)));
        /* No row and no sample is much off. */
        for (int32_t i = 0; i < n; i++) {
            double row = 0;
            for (int64_t b = 0; b < batch; b++)
                row += tile_get(y, i, b) != 0;
            CHECK(fabs(row - batch * q) <= 5.5 * sqrt(batch * p * q));
        }
    }
    CHECK_STATUS(rw_dropout(k, x, y, 1.0, (rw_key){ 1, 1, 1 }, 0, &ALONE), RW_OK);
    double left = 0;
    for (int32_t i = 0; i < n; i++)
        left += fabs(tile_get(y, i, i));
    CHECK(left == 0);
    rw_tiles_free(y);
    rw_tiles_free(x);
}

/* What is kept is scaled by how much is kept, in 2^-16, and some is for every p < 1. */
static void test_dropout_keeps_the_mean(void)
{
    int32_t n = 512, batch = 2048;
    rw_tiles *x = tiles_new(n, batch, 64, RW_F64), *y = tiles_new(n, batch, 64, RW_F64);
    for (int32_t i = 0; i < n; i++)
        for (int64_t b = 0; b < batch; b++)
            put(RW_F64, x->data, place_in(x, i, b), 1.0);
    double rates[] = { 1e-6, 0.1, 0.25, 0.999, 0.9999, 0.99999, 1 - 0x1p-50 };
    double kept_of[] = { 65536, 58982, 49152, 66, 7, 1, 1 };
    FOR_EACH_KERNELS(k) {
        if (k->dtype != RW_F64)
            continue;
        for (int r = 0; r < 7; r++) {
            double scale = 65536 / kept_of[r], sum = 0, all = (double)n * batch;
            rw_key key = { 7, 2, (uint64_t)r };
            CHECK_STATUS(rw_dropout(k, x, y, rates[r], key, 0, &ALONE), RW_OK);
            bool same = true;
            for (int32_t i = 0; i < n; i++)
                for (int64_t b = 0; b < batch; b++) {
                    double v = tile_get(y, i, b);
                    same &= v == 0 || v == scale;
                    sum += v;
                }
            CHECK(same && sum > 0);
            CHECK(fabs(sum / all - 1) <= 5 * sqrt((scale - 1) / all));
        }
    }
    rw_tiles_free(y);
    rw_tiles_free(x);
}

/* One mask for a key: every set, precision, tile and batch; in place too. */
static void test_dropout_mask_is_one_mask(void)
{
    rw_key key = { 11, 4, 9 };
    rw_tiles *x = tiles_of(8, 37, LONGEST, 64, RW_F64), *model = tiles_copy(x);
    const rw_kernels *scalar = rw_kernels_named(RW_F64, "scalar");
    CHECK_STATUS(rw_dropout(scalar, x, model, 0.4, key, 0, &ALONE), RW_OK);
    FOR_EACH_KERNELS(k) {
        for (int i = 0; i < N_LENGTHS; i++) {
            int32_t batch = LENGTHS[i], tile = 1 << (i % 7);
            rw_tiles *from = tiles_of(8, 37, batch, tile, k->dtype), *y = tiles_copy(from);
            CHECK_STATUS(rw_dropout(k, from, y, 0.4, key, 0, &ALONE), RW_OK);
            bool same = true;
            for (int32_t j = 0; j < 37; j++)
                for (int32_t b = 0; b < batch; b++)
                    same &= (tile_get(y, j, b) != 0) == (tile_get(model, j, b) != 0)
                            && near(tile_get(y, j, b), tile_get(model, j, b), k->dtype);
            CHECK(same);
            CHECK(padding_is_zero(y));
            CHECK_STATUS(rw_dropout(k, from, from, 0.4, key, 0, &ALONE), RW_OK);
            CHECK(tiles_same(from, y));
            key.step++;
            CHECK_STATUS(rw_dropout(k, y, from, 0.4, key, 0, &ALONE), RW_OK);
            CHECK(batch < 7 || !tiles_same(from, y));
            key.step--;
            rw_tiles_free(y);
            rw_tiles_free(from);
        }
    }
    rw_tiles_free(model);
    rw_tiles_free(x);
}

/* In one pass with a derivative and its sums, 32 rows at a time, on threads: the bits of three calls. */
static void test_dropout_derivative_and_sums_in_one_pass(void)
{
    enum { N = 71, FIRST = 5 };
    const rw_act ACTS[] = { RW_ACT_LEAKY, RW_ACT_RELU, RW_ACT_TANH, RW_ACT_LINEAR };
    const double SLOPE = 0.25;
    rw_drop drop = { 0.4, { 11, 4, 9 }, FIRST };
    FOR_EACH_KERNELS(k) {
        for (int i = 0; i < N_LENGTHS; i++) {
            int32_t batch = LENGTHS[i], tile = 1 << (i % 7);
            rw_act act = ACTS[i % 4];
            rw_run run = { 1 + i % 3, NULL, NULL };
            rw_tiles *y = tiles_of(5, N, batch, tile, k->dtype);
            rw_tiles *apart = tiles_of(6, N, batch, tile, k->dtype), *once = tiles_copy(apart);
            void *sums[2] = { bias_of(N, k->dtype), bias_of(N, k->dtype) };
            for (int add = 0; add < 2; add++) {
                CHECK_STATUS(rw_dropout(k, apart, apart, drop.p, drop.key, FIRST, &ALONE), RW_OK);
                CHECK_STATUS(rw_activate_back(k, act, SLOPE, y, apart, &ALONE), RW_OK);
                CHECK_STATUS(rw_bias_gradient(k, apart, sums[0], add, &ALONE), RW_OK);
                CHECK_STATUS(rw_activate_back_sums(k, &drop, act, SLOPE, y, once, sums[1], add, &run),
                             RW_OK);
                CHECK(tiles_same(apart, once) && padding_is_zero(once));
                CHECK(memcmp(sums[0], sums[1], N * rw_dtype_size(k->dtype)) == 0);
            }
            bias_free(sums[1], N);
            bias_free(sums[0], N);
            rw_tiles_free(once);
            rw_tiles_free(apart);
            rw_tiles_free(y);
        }
    }
}

/* A batch in parts, each of which knows where it begins: the masks of the whole, in any tiles. */
static void test_dropout_of_a_batch_in_parts(void)
{
    enum { N = 13, FIRST = 1000 }; /* the whole begins somewhere too */
    rw_key key = { 11, rw_stream(4, 2), 9 };
    FOR_EACH_KERNELS(k) {
        rw_tiles *x = tiles_of(8, N, LONGEST, 64, k->dtype), *whole = tiles_copy(x);
        CHECK_STATUS(rw_dropout(k, x, whole, 0.4, key, FIRST, &ALONE), RW_OK);
        for (int32_t part = 1, i = 0; part <= LONGEST; part += 1 + part / 3, i++)
            for (int32_t first = 0; first < LONGEST; first += part) {
                int32_t batch = (int32_t)rw_min64(part, LONGEST - first);
                int32_t tile = 1 << (i + first) % 7;
                rw_tiles *y = tiles_new(N, batch, tile, k->dtype);
                for (int32_t j = 0; j < N; j++)
                    for (int32_t b = 0; b < batch; b++)
                        put(k->dtype, y->data, place_in(y, j, b), tile_get(x, j, first + b));
                CHECK_STATUS(rw_dropout(k, y, y, 0.4, key, FIRST + first, &ALONE), RW_OK);
                bool same = true;
                for (int32_t j = 0; j < N; j++)
                    for (int32_t b = 0; b < batch; b++)
                        same &= tile_get(y, j, b) == tile_get(whole, j, first + b);
                CHECK(same && padding_is_zero(y));
                rw_tiles_free(y);
            }
        rw_tiles_free(whole);
        rw_tiles_free(x);
    }
}

#endif
