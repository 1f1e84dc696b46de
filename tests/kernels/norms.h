/* norms.h -- layer and batch normalisation, beside the definition in float64. */
#ifndef RW_TEST_NORMS_H
#define RW_TEST_NORMS_H

#include "setup.h"

enum { NORM_N = 150 }; /* more rows than are summed at a time, and not a multiple of them */

/* A right value, and one that rounding may have moved by so many parts of `scale`. */
static bool norm_near(double a, double b, double scale, rw_dtype dtype)
{
    return fabs(a - b) <= 400 * epsilon(dtype) * (1 + scale);
}

typedef struct {
    rw_tiles *x, *z, *y, *dy, *dx;
    double gain[NORM_N + 8], shift[NORM_N + 8], dgain[NORM_N + 8], dshift[NORM_N + 8]; /* or floats */
} norm_case;

static norm_case norm_new(const rw_kernels *k, int32_t batch, int32_t tile)
{
    norm_case c = { .x = tiles_of(5, NORM_N, batch, tile, k->dtype),
                    .z = tiles_new(NORM_N, batch, tile, k->dtype),
                    .y = tiles_new(NORM_N, batch, tile, k->dtype),
                    .dy = tiles_of(6, NORM_N, batch, tile, k->dtype) };
    c.dx = tiles_copy(c.dy);
    for (int32_t i = 0; i < NORM_N; i++) {
        put(k->dtype, c.gain, i, 0.5 + 0.01 * i);
        put(k->dtype, c.shift, i, 0.3 - 0.02 * i);
    }
    return c;
}

static void norm_free(norm_case *c)
{
    rw_tiles *all[] = { c->x, c->z, c->y, c->dy, c->dx };
    for (int j = 0; j < 5; j++)
        rw_tiles_free(all[j]);
}

/* y, dgain and dshift follow from z. */
static bool norm_outputs_right(const rw_kernels *k, const norm_case *c)
{
    bool good = padding_is_zero(c->z) && padding_is_zero(c->y) && padding_is_zero(c->dx);
    for (int32_t i = 0; i < NORM_N; i++) {
        double gain = get(k->dtype, c->gain, i), shift = get(k->dtype, c->shift, i);
        double dgain = 0, dshift = 0, size = 0;
        for (int32_t b = 0; b < c->x->batch; b++) {
            double z = tile_get(c->z, i, b), dy = tile_get(c->dy, i, b);
            good &= norm_near(tile_get(c->y, i, b), gain * z + shift, fabs(z), k->dtype);
            dgain += dy * z;
            dshift += dy;
            size += fabs(dy) * (1 + fabs(z));
        }
        good &= norm_near(get(k->dtype, c->dgain, i), dgain, size, k->dtype);
        good &= norm_near(get(k->dtype, c->dshift, i), dshift, size, k->dtype);
    }
    return good;
}

static void test_layer_norm(void)
{
    FOR_EACH_KERNELS(k) {
        for (int t = 0; t < 2 * N_LENGTHS; t++) {
            int32_t batch = LENGTHS[t % N_LENGTHS], tile = 1 << (t % 8);
            bool centered = t < N_LENGTHS; /* or root mean squares */
            norm_case c = norm_new(k, batch, tile);
            size_t bytes = (size_t)(c.x->n_tiles * tile) * sizeof(double);
            double eps = 1e-3, *inverse = rw_alloc(bytes);
            CHECK_STATUS(rw_layer_norm(k, c.x, c.gain, c.shift, eps, centered, c.z, inverse, c.y, &ALONE),
                         RW_OK);
            CHECK_STATUS(rw_norm_gradient(k, c.z, c.dy, c.dgain, c.dshift, &ALONE), RW_OK);
            CHECK_STATUS(rw_layer_norm_back(k, c.z, inverse, c.gain, centered, c.dy, c.dx, &ALONE),
                         RW_OK);
            bool good = norm_outputs_right(k, &c);
            for (int32_t b = 0; b < batch; b++) {
                double mean = 0, variance = 0, d_mean = 0, along = 0;
                for (int32_t i = 0; i < NORM_N; i++)
                    mean += centered ? tile_get(c.x, i, b) / NORM_N : 0;
                for (int32_t i = 0; i < NORM_N; i++)
                    variance += pow(tile_get(c.x, i, b) - mean, 2) / NORM_N;
                double inv = 1 / sqrt(variance + eps);
                for (int32_t i = 0; i < NORM_N; i++) {
                    double d = get(k->dtype, c.gain, i) * tile_get(c.dy, i, b);
                    double z = (tile_get(c.x, i, b) - mean) * inv;
                    good &= norm_near(tile_get(c.z, i, b), z, fabs(z), k->dtype);
                    d_mean += centered ? d / NORM_N : 0;
                    along += d * z / NORM_N;
                }
                for (int32_t i = 0; i < NORM_N; i++) {
                    double d = get(k->dtype, c.gain, i) * tile_get(c.dy, i, b);
                    double z = (tile_get(c.x, i, b) - mean) * inv;
                    good &= norm_near(tile_get(c.dx, i, b), inv * (d - d_mean - z * along),
                                     inv * (fabs(d) + fabs(z)), k->dtype);
                }
            }
            CHECK(good);
            rw_tiles *bad = tiles_new(NORM_N + 1, batch, tile, k->dtype);
            CHECK_STATUS(rw_layer_norm(k, c.x, c.gain, c.shift, eps, true, bad, inverse, c.y, &ALONE),
                         RW_ESHAPE);
            CHECK_STATUS(rw_layer_norm_back(k, c.z, inverse, c.gain, true, bad, c.dx, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_norm_gradient(k, c.z, bad, c.dgain, c.dshift, &ALONE), RW_ESHAPE);
            rw_tiles_free(bad);
            rw_free(inverse, bytes);
            norm_free(&c);
        }
    }
}

static void test_batch_norm(void)
{
    FOR_EACH_KERNELS(k) {
        for (int t = 0; t < N_LENGTHS; t++) {
            int32_t batch = LENGTHS[t], tile = 1 << (t % 8);
            norm_case c = norm_new(k, batch, tile);
            double eps = 1e-3, mean[NORM_N + 8], variance[NORM_N + 8], inverse[NORM_N + 8];
            CHECK_STATUS(rw_batch_moments(k, c.x, eps, mean, variance, inverse, &ALONE), RW_OK);
            CHECK_STATUS(rw_batch_norm(k, c.x, mean, inverse, c.gain, c.shift, c.z, c.y, &ALONE), RW_OK);
            CHECK_STATUS(rw_norm_gradient(k, c.z, c.dy, c.dgain, c.dshift, &ALONE), RW_OK);
            rw_tiles *given = tiles_copy(c.dy), *without_z = tiles_copy(c.y);
            CHECK_STATUS(rw_batch_norm_back(k, c.z, inverse, c.gain, c.dgain, c.dshift, batch, c.dy,
                                            c.dx, &ALONE), RW_OK);
            CHECK_STATUS(rw_batch_norm_back(k, c.z, inverse, c.gain, c.dgain, c.dshift, INFINITY,
                                            given, given, &ALONE), RW_OK);
            CHECK_STATUS(rw_batch_norm(k, c.x, mean, inverse, c.gain, c.shift, NULL, without_z, &ALONE),
                         RW_OK);
            CHECK(tiles_same(c.y, without_z));
            bool good = norm_outputs_right(k, &c) && padding_is_zero(given);
            for (int32_t i = 0; i < NORM_N; i++) {
                double m = 0, v = 0, d_mean = 0, along = 0;
                for (int32_t b = 0; b < batch; b++)
                    m += tile_get(c.x, i, b) / batch;
                for (int32_t b = 0; b < batch; b++)
                    v += pow(tile_get(c.x, i, b) - m, 2) / batch;
                double inv = 1 / sqrt(v + eps), gain = get(k->dtype, c.gain, i);
                good &= norm_near(get(k->dtype, mean, i), m, 1, k->dtype);
                good &= norm_near(get(k->dtype, variance, i), v, v, k->dtype);
                for (int32_t b = 0; b < batch; b++) {
                    double dy = tile_get(c.dy, i, b), z = (tile_get(c.x, i, b) - m) * inv;
                    good &= norm_near(tile_get(c.z, i, b), z, inv, k->dtype);
                    d_mean += dy / batch;
                    along += dy * z / batch;
                }
                for (int32_t b = 0; b < batch; b++) {
                    double dy = tile_get(c.dy, i, b), z = (tile_get(c.x, i, b) - m) * inv;
                    double scale = fabs(gain) * inv * (1 + inv + fabs(dy) + fabs(z));
                    good &= norm_near(tile_get(c.dx, i, b), gain * inv * (dy - d_mean - z * along),
                                     scale, k->dtype);
                    good &= norm_near(tile_get(given, i, b), gain * inv * dy, scale, k->dtype);
                }
            }
            CHECK(good);
            rw_tiles *bad = tiles_new(NORM_N + 1, batch, tile, k->dtype);
            CHECK_STATUS(rw_batch_norm(k, c.x, mean, inverse, c.gain, c.shift, bad, c.y, &ALONE),
                         RW_ESHAPE);
            CHECK_STATUS(rw_batch_norm(k, c.x, mean, inverse, c.gain, c.shift, c.z, bad, &ALONE),
                         RW_ESHAPE);
            CHECK_STATUS(rw_batch_norm_back(k, c.z, inverse, c.gain, c.dgain, c.dshift, batch, bad,
                                            c.dx, &ALONE), RW_ESHAPE);
            rw_tiles *all[] = { bad, given, without_z };
            for (int j = 0; j < 3; j++)
                rw_tiles_free(all[j]);
            norm_free(&c);
        }
    }
}

#endif
