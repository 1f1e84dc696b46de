/* transforms.h -- the Walsh-Hadamard transform and blocks of switches, beside their definitions
 * in float64. */
#ifndef RW_TEST_TRANSFORMS_H
#define RW_TEST_TRANSFORMS_H

#include "setup.h"

enum { WHT_MOST = 520 }; /* more than nine stages, and rows beside them */

/* Stages [first, last) of `n` values, a multiple of 2^last, as matrices of 2 x 2. */
static void wht_slowly(double *v, int32_t n, int32_t first, int32_t last)
{
    for (int32_t s = first; s < last; s++)
        for (int32_t i = 0; i < n; i++)
            if (!(i >> s & 1)) {
                double a = v[i], b = v[i + (1 << s)];
                v[i] = (a + b) / sqrt(2);
                v[i + (1 << s)] = (a - b) / sqrt(2);
            }
}

static void wht_defined(double *v, int32_t n, int32_t first, int32_t last)
{
    int32_t whole = n >> last << last;
    wht_slowly(v, whole, first, last);
    if (whole < n) {
        wht_slowly(v + (n - whole), whole, first, last);
        wht_slowly(v, whole, first, last);
    }
}

/* Widths around powers of two, all ranges of stages of some. */
static const int32_t WHT_N[] = { 1, 2, 3, 5, 8, 9, 12, 16, 31, 64, 100, 130, 512, WHT_MOST };
enum { N_WHT = (int)(sizeof WHT_N / sizeof *WHT_N) };

static bool wht_right(const rw_kernels *k, int32_t n, int32_t batch, int32_t tile, int32_t first,
                      int32_t last)
{
    rw_tiles *x = tiles_of(5, n, batch, tile, k->dtype);
    rw_tiles *y = tiles_new(n, batch, tile, k->dtype), *best = tiles_new(n, batch, tile, k->dtype);
    rw_tiles *both[] = { x, y, best };
    double v[WHT_MOST];
    CHECK_STATUS(rw_wht(k, x, y, first, last, &ALONE), RW_OK);
    CHECK_STATUS(rw_wht(rw_kernels_named(k->dtype, NULL), x, best, first, last, &ALONE), RW_OK);
    bool good = padding_is_zero(y) && tiles_same(y, best); /* the bits of every set */
    for (int32_t b = 0; b < batch; b++) {
        double size = 0;
        for (int32_t i = 0; i < n; i++) {
            v[i] = tile_get(x, i, b);
            size += v[i] * v[i];
        }
        wht_defined(v, n, first, last);
        double bound = 3 * (last + 1) * epsilon(k->dtype) * sqrt(size);
        for (int32_t i = 0; i < n; i++)
            good &= fabs(tile_get(y, i, b) - v[i]) <= bound;
    }
    CHECK_STATUS(rw_wht(k, x, x, first, last, &ALONE), RW_OK);
    good &= tiles_same(x, y); /* in place */
    for (int j = 0; j < 3; j++)
        rw_tiles_free(both[j]);
    return good;
}

static void test_wht_is_its_definition(void)
{
    FOR_EACH_KERNELS(k) {
        for (int i = 0; i < N_WHT; i++)
            for (int32_t last = 0; 1 << last <= WHT_N[i]; last++)
                for (int32_t first = 0; first <= last; first += 1 + (WHT_N[i] > 16)) {
                    int32_t tile = 1 << ((i + last) % 7);
                    CHECK(wht_right(k, WHT_N[i], tile + 1 + i % 3, tile, first, last));
                }
    }
}

static void test_wht_is_its_own_inverse(void)
{
    FOR_EACH_KERNELS(k) {
        for (int i = 0; i < N_WHT; i++) {
            int32_t n = WHT_N[i], last = 0;
            while (2 << last <= n)
                last++;
            rw_tiles *x = tiles_of(5, n, 9, 8, k->dtype), *y = tiles_new(n, 9, 8, k->dtype);
            CHECK_STATUS(rw_wht(k, x, y, 0, last, &ALONE), RW_OK);
            CHECK_STATUS(rw_wht(k, y, y, 0, last, &ALONE), RW_OK);
            bool good = true;
            for (int32_t j = 0; j < n; j++)
                for (int32_t b = 0; b < 9; b++)
                    good &= fabs(tile_get(x, j, b) - tile_get(y, j, b)) <=
                            6 * (last + 1) * epsilon(k->dtype) * sqrt(n);
            CHECK(good);
            rw_tiles *bad = tiles_new(n + 1, 9, 8, k->dtype);
            CHECK_STATUS(rw_wht(k, x, bad, 0, last, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_wht(k, x, y, 0, last + 1, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_wht(k, x, y, 1, 0, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_wht(k, x, y, -1, last, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_wht(k, x, y, 0, 63, &ALONE), RW_ESHAPE);
            rw_tiles *all[] = { x, y, bad };
            for (int j = 0; j < 3; j++)
                rw_tiles_free(all[j]);
        }
    }
}

/* Threads take parts of tiles: large enough that several of them are worth it. */
static void test_wht_by_parts_of_tiles(void)
{
    FOR_EACH_KERNELS(k) {
        for (int32_t n = 1000; n <= 1024; n += 24) {
            rw_tiles *x = tiles_of(5, n, 70, 64, k->dtype), *y = tiles_new(n, 70, 64, k->dtype);
            CHECK_STATUS(rw_wht(k, x, y, 0, 9, &ALONE), RW_OK);
            for (int threads = 2; threads <= 8; threads += NEXT_THREADS) {
                rw_run run = { threads, NULL, NULL };
                rw_tiles *z = tiles_new(n, 70, 64, k->dtype);
                CHECK_STATUS(rw_wht(k, x, z, 0, 9, &run), RW_OK);
                CHECK(tiles_same(y, z));
                rw_tiles_free(z);
            }
            rw_tiles_free(x);
            rw_tiles_free(y);
        }
    }
}

/* --- blocks of two-sided switches ---------------------------------------------- */

typedef struct {
    rw_tiles *x, *y, *dy, *dx;
    double weight[16 * 24], gradient[16 * 24]; /* or floats */
} switch_case;

enum { SWITCH_N = 24 };

static switch_case switch_new(const rw_kernels *k, int32_t batch, int32_t tile, int32_t width)
{
    switch_case c = { .x = tiles_of(5, SWITCH_N, batch, tile, k->dtype),
                      .y = tiles_new(SWITCH_N, batch, tile, k->dtype),
                      .dy = tiles_of(6, SWITCH_N, batch, tile, k->dtype),
                      .dx = tiles_new(SWITCH_N, batch, tile, k->dtype) };
    put(k->dtype, c.x->data, 0, 0.0); /* on the lower side */
    for (int32_t i = 0; i < 2 * width * SWITCH_N; i++)
        put(k->dtype, c.weight, i, value(7, i, width));
    return c;
}

static void switch_free(switch_case *c)
{
    rw_tiles *all[] = { c->x, c->y, c->dy, c->dx };
    for (int j = 0; j < 4; j++)
        rw_tiles_free(all[j]);
}

static bool switch_right(const rw_kernels *k, const switch_case *c, int32_t width)
{
    bool good = padding_is_zero(c->y) && padding_is_zero(c->dx);
    double bound = (2 * width + 2) * epsilon(k->dtype);
    for (int32_t i = 0; i < SWITCH_N; i++) {
        int32_t first = i / width * width;
        for (int32_t b = 0; b < c->x->batch; b++) {
            double y = 0, dx = 0;
            int lower = tile_get(c->x, i, b) <= 0;
            for (int32_t j = 0; j < width; j++) {
                double x = tile_get(c->x, first + j, b);
                y += x * get(k->dtype, c->weight, 2 * width * i + (x > 0 ? 0 : width) + j);
                dx += tile_get(c->dy, first + j, b) *
                      get(k->dtype, c->weight, 2 * width * (first + j) + lower * width + i - first);
            }
            good &= fabs(y - tile_get(c->y, i, b)) <= bound * width;
            good &= fabs(dx - tile_get(c->dx, i, b)) <= bound * width;
        }
        for (int32_t j = 0; j < 2 * width; j++) {
            double sum = 0;
            for (int32_t b = 0; b < c->x->batch; b++) {
                double x = tile_get(c->x, first + j % width, b);
                sum += tile_get(c->dy, i, b) * (j < width ? fmax(x, 0) : fmin(x, 0));
            }
            good &= fabs(sum - get(k->dtype, c->gradient, 2 * width * i + j)) <=
                    (double)(c->x->batch + 2) * epsilon(k->dtype) * (double)c->x->batch;
        }
    }
    return good;
}

static void test_switches(void)
{
    static const int32_t widths[] = { 1, 2, 4, 8 };
    FOR_EACH_KERNELS(k) {
        for (int i = 0; i < 4 * N_LENGTHS; i++) {
            int32_t width = widths[i % 4], tile = 1 << (i % 8);
            switch_case c = switch_new(k, LENGTHS[i / 4], tile, width);
            CHECK_STATUS(rw_switches(k, c.x, c.weight, width, c.y, &ALONE), RW_OK);
            CHECK_STATUS(rw_switches_back(k, c.x, c.weight, width, c.dy, c.dx, &ALONE), RW_OK);
            CHECK_STATUS(rw_switches_gradient(k, c.x, c.dy, width, c.gradient, &ALONE), RW_OK);
            CHECK(switch_right(k, &c, width));
            CHECK_STATUS(rw_switches_back(k, c.x, c.weight, width, c.dy, c.dy, &ALONE), RW_OK);
            CHECK(tiles_same(c.dx, c.dy));
            CHECK_STATUS(rw_switches(k, c.x, c.weight, 3, c.y, &ALONE), RW_ESHAPE);
            rw_tiles *bad = tiles_new(SWITCH_N + 1, LENGTHS[i / 4], tile, k->dtype);
            CHECK_STATUS(rw_switches(k, bad, c.weight, 2, bad, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_switches_back(k, c.x, c.weight, 2, bad, c.dx, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_switches_gradient(k, c.x, bad, 2, c.gradient, &ALONE), RW_ESHAPE);
            rw_tiles_free(bad);
            switch_free(&c);
        }
    }
}

#endif
