/* products.h -- forward, dX, dW: right, and the same bits however they are cut. */
#ifndef RW_TEST_PRODUCTS_H
#define RW_TEST_PRODUCTS_H

#include "setup.h"

static bool close_to(double got, long double exact, long double scale, int64_t terms,
                     rw_dtype dtype)
{
    return fabsl((long double)got - exact) <=
           (long double)(terms + 2) * (long double)epsilon(dtype) * scale;
}

static void check_forward(const rw_store *s, const rw_tiles *x, const void *bias, const rw_tiles *y)
{
    for (int32_t row = 0; row < s->n_out; row++) {
        int32_t g = row / s->group;
        for (int64_t b = 0; b < x->batch; b++) {
            long double sum = bias ? (long double)get(x->dtype, bias, row) : 0, scale = fabsl(sum);
            for (int32_t k = 0; k < s->len[g]; k++) {
                long double term = (long double)weight_at(s, 0, row, k) *
                                   (long double)tile_get(x, s->source[s->start[g] + k], b);
                sum += term;
                scale += fabsl(term);
            }
            if (!close_to(tile_get(y, row, b), sum, scale, s->len[g] + 1, x->dtype)) {
                CHECK(!"forward is off");
                return;
            }
        }
    }
}

static void check_dx(const rw_store *s, const rw_tiles *dy, const rw_tiles *dx)
{
    long double *sum = malloc((size_t)s->n_in * sizeof *sum);
    long double *scale = malloc((size_t)s->n_in * sizeof *scale);
    REQUIRE(sum && scale);
    for (int64_t b = 0; b < dy->batch; b++) {
        for (int32_t j = 0; j < s->n_in; j++)
            sum[j] = scale[j] = 0;
        for (int32_t row = 0; row < s->n_out; row++)
            for (int32_t k = 0; k < s->len[row / s->group]; k++) {
                int32_t j = s->source[s->start[row / s->group] + k];
                long double term = (long double)weight_at(s, 0, row, k) *
                                   (long double)tile_get(dy, row, b);
                sum[j] += term;
                scale[j] += fabsl(term);
            }
        for (int32_t j = 0; j < s->n_in; j++)
            CHECK(close_to(tile_get(dx, j, b), sum[j], scale[j], s->n_out, dy->dtype));
    }
    free(scale);
    free(sum);
}

static void check_dw(const rw_store *s, const rw_tiles *x, const rw_tiles *dy, int32_t grad)
{
    for (int32_t row = 0; row < s->n_out; row++)
        for (int32_t k = 0; k < s->len[row / s->group]; k++) {
            long double sum = 0, scale = 0;
            for (int64_t b = 0; b < x->batch; b++) {
                long double term =
                    (long double)tile_get(x, s->source[s->start[row / s->group] + k], b) *
                    (long double)tile_get(dy, row, b);
                sum += term;
                scale += fabsl(term);
            }
            CHECK(close_to(weight_at(s, grad, row, k), sum, scale, x->batch, x->dtype));
        }
}

static void check_row_sums(const rw_tiles *dy, const void *sums)
{
    for (int32_t row = 0; row < dy->n; row++) {
        long double sum = 0, scale = 0;
        for (int64_t b = 0; b < dy->batch; b++) {
            sum += (long double)tile_get(dy, row, b);
            scale += fabsl((long double)tile_get(dy, row, b));
        }
        CHECK(close_to(get(dy->dtype, sums, row), sum, scale, dy->batch, dy->dtype));
    }
}

/* Families of every length against float64 (long double for float64 itself). */
static void test_products_are_right(void)
{
    FOR_EACH_KERNELS(k) {
        for (int g = 0; g < 4; g++) {
            /* The last group lacks a row. */
            int32_t group = GROUPS[g], n_out = N_LENGTHS * group - (group > 1), n_in = LONGEST;
            rw_store *s = store_of(n_out, n_in, group, group, k->dtype);
            int32_t grad = add_field(s, "grad");
            void *bias = bias_of(n_out, k->dtype);
            for (int i = g; i < N_LENGTHS; i += 2) { /* between the groups every batch occurs */
                int64_t batch = LENGTHS[i];
                int32_t tile = rw_tile_size(batch, k->dtype);
                if (i % 3 == 0)
                    tile = 1 << (i % 7);
                rw_tiles *x = tiles_of(3, n_in, batch, tile, k->dtype);
                rw_tiles *dy = tiles_of(4, n_out, batch, tile, k->dtype);
                rw_tiles *y = tiles_of(6, n_out, batch, tile, k->dtype);
                rw_tiles *dx = tiles_of(5, n_in, batch, tile, k->dtype); /* is overwritten */
                bool with_bias = i % 4 != 0;
                CHECK_STATUS(rw_forward(k, s, x, with_bias ? bias : NULL, RW_ACT_LINEAR, 0, y, NULL,
                                        &ALONE), RW_OK);
                check_forward(s, x, with_bias ? bias : NULL, y);
                CHECK(padding_is_zero(y));
                rw_store_drop_mirror(s);
                CHECK_STATUS(rw_backward_input(k, s, dy, dx, &ALONE), RW_OK);
                check_dx(s, dy, dx);
                CHECK(padding_is_zero(dx));
                rw_tiles *scattered = tiles_copy(dx);
                REQUIRE(rw_mirror_build(s, 1) == RW_OK);
                CHECK_STATUS(rw_backward_input(k, s, dy, dx, &ALONE), RW_OK);
                CHECK(tiles_same(dx, scattered));
                CHECK_STATUS(rw_backward_weights(k, s, x, dy, grad, false, NULL, &ALONE), RW_OK);
                check_dw(s, x, dy, grad);
                void *sums = bias_of(n_out, k->dtype);
                CHECK_STATUS(rw_bias_gradient(k, dy, sums, false, &ALONE), RW_OK);
                check_row_sums(dy, sums);
                bias_free(sums, n_out);
                rw_tiles_free(scattered);
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

/* A sample's outputs and input gradients, in any batch and any tile. */
static void test_a_sample_does_not_see_its_batch(void)
{
    FOR_EACH_KERNELS(k) {
        for (int g = 0; g < 4; g++) {
            int32_t group = GROUPS[g], n_out = N_LENGTHS * group - 1 - (group > 1), n_in = LONGEST;
            rw_store *s = store_of(n_out, n_in, group, group, k->dtype);
            void *bias = bias_of(n_out, k->dtype);
            rw_tiles *x = tiles_of(3, n_in, LONGEST, 64, k->dtype);
            rw_tiles *dy = tiles_of(4, n_out, LONGEST, 64, k->dtype);
            rw_tiles *y = tiles_new(n_out, LONGEST, 64, k->dtype);
            rw_tiles *dx = tiles_new(n_in, LONGEST, 64, k->dtype);
            CHECK_STATUS(rw_forward(k, s, x, bias, RW_ACT_LEAKY, -0.6, y, NULL, &ALONE), RW_OK);
            CHECK_STATUS(rw_backward_input(k, s, dy, dx, &ALONE), RW_OK);
            for (int i = 0; i < N_LENGTHS; i++) {
                int64_t batch = LENGTHS[i];
                int32_t tile = 1 << ((i * 5 + g) % 8);
                rw_tiles *x2 = tiles_of(3, n_in, batch, tile, k->dtype);
                rw_tiles *dy2 = tiles_of(4, n_out, batch, tile, k->dtype);
                rw_tiles *y2 = tiles_new(n_out, batch, tile, k->dtype);
                rw_tiles *dx2 = tiles_new(n_in, batch, tile, k->dtype);
                CHECK_STATUS(rw_forward(k, s, x2, bias, RW_ACT_LEAKY, -0.6, y2, NULL, &ALONE),
                             RW_OK);
                CHECK(samples_same(y, y2));
                CHECK(padding_is_zero(y2));
                for (int mirror = 0; mirror < 2; mirror++) {
                    if (mirror)
                        REQUIRE(rw_mirror_build(s, 1) == RW_OK);
                    CHECK_STATUS(rw_backward_input(k, s, dy2, dx2, &ALONE), RW_OK);
                    CHECK(samples_same(dx, dx2));
                    CHECK(padding_is_zero(dx2));
                    rw_store_drop_mirror(s);
                }
                rw_tiles_free(dx2);
                rw_tiles_free(y2);
                rw_tiles_free(dy2);
                rw_tiles_free(x2);
            }
            rw_tiles_free(dx);
            rw_tiles_free(y);
            rw_tiles_free(dy);
            rw_tiles_free(x);
            bias_free(bias, n_out);
            rw_store_free(s);
        }
    }
}

static void test_a_group_is_its_rows(void)
{
    FOR_EACH_KERNELS(k) {
        for (int g = 1; g < 4; g++) {
            int32_t group = GROUPS[g], n_out = N_LENGTHS * group - 1, n_in = LONGEST;
            rw_store *s = store_of(n_out, n_in, group, group, k->dtype);
            rw_store *one = store_of(n_out, n_in, group, 1, k->dtype);
            int32_t grad = add_field(s, "grad");
            REQUIRE(add_field(one, "grad") == grad);
            for (int i = g % NEXT_PAIR; i < N_LENGTHS; i += NEXT_PAIR) {
                int64_t batch = LENGTHS[i];
                int32_t tile = 1 << ((i * 3 + g) % 7);
                rw_tiles *x = tiles_of(3, n_in, batch, tile, k->dtype);
                rw_tiles *dy = tiles_of(4, n_out, batch, tile, k->dtype);
                rw_tiles *y = tiles_new(n_out, batch, tile, k->dtype), *y1 = tiles_copy(y);
                rw_tiles *dx = tiles_new(n_in, batch, tile, k->dtype), *dx1 = tiles_copy(dx);
                CHECK_STATUS(rw_forward(k, s, x, NULL, RW_ACT_LINEAR, 0, y, NULL, &ALONE), RW_OK);
                CHECK_STATUS(rw_forward(k, one, x, NULL, RW_ACT_LINEAR, 0, y1, NULL, &ALONE),
                             RW_OK);
                CHECK(tiles_same(y, y1));
                CHECK_STATUS(rw_backward_input(k, s, dy, dx, &ALONE), RW_OK);
                CHECK_STATUS(rw_backward_input(k, one, dy, dx1, &ALONE), RW_OK);
                CHECK(tiles_same(dx, dx1));
                CHECK_STATUS(rw_backward_weights(k, s, x, dy, grad, false, NULL, &ALONE), RW_OK);
                CHECK_STATUS(rw_backward_weights(k, one, x, dy, grad, false, NULL, &ALONE), RW_OK);
                CHECK(fields_same(s, one, grad));
                rw_tiles_free(dx1);
                rw_tiles_free(dx);
                rw_tiles_free(y1);
                rw_tiles_free(y);
                rw_tiles_free(dy);
                rw_tiles_free(x);
            }
            rw_store_free(one);
            rw_store_free(s);
        }
    }
}

/* The samples of a batch, of which the first of another one are the same. */
static bool begins_alike(const rw_tiles *whole, const rw_tiles *part)
{
    bool same = true;
    for (int32_t i = 0; i < part->n; i++)
        for (int64_t b = 0; b < part->batch; b++)
            same &= tile_get(whole, i, b) == tile_get(part, i, b);
    return same && padding_is_zero(part);
}

/* What is behind the last full tile may be computed along with it: the same bits, wherever a batch
 * ends, and zeros behind it. */
static void test_the_end_of_a_batch(void)
{
    FOR_EACH_KERNELS(k)
        for (int g = 0; g < 4; g++) {
            int32_t full = rw_tile_size(INT64_MAX, k->dtype), n_out = 67, n_in = 150;
            rw_run run = { 1 + g % 3, NULL, NULL };
            rw_store *s = store_of(n_out, n_in, GROUPS[g], GROUPS[g], k->dtype);
            rw_tiles *x = tiles_of(3, n_in, 3 * full, full, k->dtype);
            rw_tiles *dy = tiles_of(4, n_out, 3 * full, full, k->dtype);
            rw_tiles *y = tiles_of(5, n_out, 3 * full, full, k->dtype);
            rw_tiles *dx = tiles_of(6, n_in, 3 * full, full, k->dtype);
            void *bias = bias_of(n_out, k->dtype);
            CHECK_STATUS(rw_forward(k, s, x, bias, RW_ACT_TANH, 0, y, NULL, &run), RW_OK);
            CHECK_STATUS(rw_backward_input(k, s, dy, dx, &run), RW_OK);
            for (int32_t rest = 1; rest <= full; rest += 1 + rest / 2) {
                int64_t batch = (1 + rest % 2) * full + rest;
                rw_tiles *xs = tiles_new(n_in, batch, full, k->dtype);
                rw_tiles *dys = tiles_new(n_out, batch, full, k->dtype);
                rw_tiles *ys = tiles_of(5, n_out, batch, full, k->dtype);
                rw_tiles *zs = tiles_of(5, n_out, batch, full, k->dtype);
                rw_tiles *dxs = tiles_of(6, n_in, batch, full, k->dtype);
                for (int64_t b = 0; b < batch; b++) {
                    for (int32_t i = 0; i < n_in; i++)
                        put(k->dtype, xs->data, place_in(xs, i, b), tile_get(x, i, b));
                    for (int32_t i = 0; i < n_out; i++)
                        put(k->dtype, dys->data, place_in(dys, i, b), tile_get(dy, i, b));
                }
                CHECK_STATUS(rw_forward(k, s, xs, bias, RW_ACT_TANH, 0, ys, zs, &run), RW_OK);
                CHECK(begins_alike(y, ys) && padding_is_zero(zs));
                CHECK_STATUS(rw_activate(k, NULL, RW_ACT_TANH, 0, zs, NULL, &run), RW_OK);
                CHECK(tiles_same(ys, zs));
                for (int gathers = 0; gathers < 2; gathers++) {
                    if (gathers)
                        REQUIRE(rw_mirror_build(s, 1) == RW_OK);
                    CHECK_STATUS(rw_backward_input(k, s, dys, dxs, &run), RW_OK);
                    CHECK(begins_alike(dx, dxs));
                    memset(dxs->data, 1, (size_t)full * rw_dtype_size(k->dtype));
                    rw_store_drop_mirror(s);
                }
                rw_tiles_free(dxs);
                rw_tiles_free(zs);
                rw_tiles_free(ys);
                rw_tiles_free(dys);
                rw_tiles_free(xs);
            }
            bias_free(bias, n_out);
            rw_tiles_free(dx);
            rw_tiles_free(y);
            rw_tiles_free(dy);
            rw_tiles_free(x);
            rw_store_free(s);
        }
}

/* Large enough for every thread to be woken; three tiles, so that a scatter
 * has to split sources. */
static void test_threads_change_nothing(void)
{
    rw_key key = { 1, 2, 3 };
    FOR_EACH_KERNELS(k) {
        for (int g = 0; g < 4; g += 2) {
            int32_t group = GROUPS[g], n_out = 403, n_in = 131;
            rw_store *s = store_of(n_out, n_in, group, group, k->dtype);
            int32_t grad = add_field(s, "grad");
            rw_tiles *x = tiles_of(3, n_in, 180, 64, k->dtype);
            rw_tiles *dy = tiles_of(4, n_out, 180, 64, k->dtype);
            rw_tiles *y[5], *dx[5], *dropped[5];
            rw_store *after[5];
            void *sums[5];
            for (int threads = 1; threads <= 4; threads += NEXT_THREADS) {
                rw_run run = { threads, NULL, NULL };
                y[threads] = tiles_new(n_out, 180, 64, k->dtype);
                dx[threads] = tiles_new(n_in, 180, 64, k->dtype);
                dropped[threads] = tiles_new(n_out, 180, 64, k->dtype);
                sums[threads] = bias_of(n_out, k->dtype);
                after[threads] = clone_of(s);
                CHECK_STATUS(rw_forward(k, s, x, sums[threads], RW_ACT_TANH, 0, y[threads], NULL,
                                        &run), RW_OK);
                CHECK_STATUS(rw_backward_input(k, s, dy, dx[threads], &run), RW_OK);
                CHECK_STATUS(rw_dropout(k, dy, dropped[threads], 0.3, key, 0, &run), RW_OK);
                CHECK_STATUS(rw_bias_gradient(k, dy, sums[threads], false, &run), RW_OK);
                CHECK_STATUS(rw_backward_weights(k, after[threads], x, dy, grad, false, NULL, &run),
                             RW_OK);
                CHECK(tiles_same(y[1], y[threads]));
                CHECK(tiles_same(dx[1], dx[threads]));
                CHECK(tiles_same(dropped[1], dropped[threads]));
                CHECK(memcmp(sums[1], sums[threads], (size_t)n_out * sizeof(float)) == 0);
                CHECK(fields_same(after[1], after[threads], grad));
                REQUIRE(rw_mirror_build(s, 1) == RW_OK);
                /* Gathering overwrites. */
                memset(dx[threads]->data, 1, (size_t)n_in * sizeof(float));
                CHECK_STATUS(rw_backward_input(k, s, dy, dx[threads], &run), RW_OK);
                CHECK(tiles_same(dx[1], dx[threads]));
                rw_store_drop_mirror(s);
            }
            for (int threads = 1; threads <= 4; threads += NEXT_THREADS) {
                rw_tiles_free(y[threads]);
                rw_tiles_free(dx[threads]);
                rw_tiles_free(dropped[threads]);
                bias_free(sums[threads], n_out);
                rw_store_free(after[threads]);
            }
            rw_tiles_free(dy);
            rw_tiles_free(x);
            rw_store_free(s);
        }
    }
}

/* Rows that only the last group has stay zero even where inputs are not finite. */
static void test_padding_survives_infinity(void)
{
    FOR_EACH_KERNELS(k) {
        int32_t n_out = 13, n_in = LONGEST;
        rw_store *s = store_of(n_out, n_in, 1, 8, k->dtype);
        int32_t grad = add_field(s, "grad");
        int32_t moment = add_field(s, "momentum");
        rw_tiles *x = tiles_of(3, n_in, 20, 16, k->dtype), *y = tiles_new(n_out, 20, 16, k->dtype);
        rw_tiles *dy = tiles_of(4, n_out, 20, 16, k->dtype);
        int32_t heard = s->source[s->start[1]];
        put(k->dtype, x->data, place_in(x, heard, 19), (double)INFINITY);
        CHECK_STATUS(rw_forward(k, s, x, NULL, RW_ACT_SIGMOID, 0, y, NULL, &ALONE), RW_OK);
        CHECK(padding_is_zero(y));
        rw_update u = { .kind = RW_OPT_SGD, .lr = 0.1, .momentum = 0.9, .step = 1,
                        .state = { "momentum" } };
        CHECK_STATUS(rw_backward_weights(k, s, x, dy, grad, false, NULL, &ALONE), RW_OK);
        CHECK_STATUS(rw_update_from(k, s, grad, &u, &ALONE), RW_OK);
        CHECK(!rw_field_finite(s, grad) && !rw_field_finite(s, 0));
        for (int32_t slot = 0; slot < s->len[1]; slot++)
            for (int32_t row = n_out; row < 16; row++) {
                CHECK(weight_at(s, 0, row, slot) == 0);
                CHECK(weight_at(s, grad, row, slot) == 0);
                CHECK(weight_at(s, moment, row, slot) == 0);
            }
        /* Adam without eps divides 0 by 0 there. */
        add_field(s, "adam_m");
        add_field(s, "adam_v");
        rw_update adam = { .kind = RW_OPT_ADAM, .lr = 0.1, .beta1 = 0.9, .beta2 = 0.9, .step = 1,
                           .state = { "adam_m", "adam_v" } };
        CHECK_STATUS(rw_update_from(k, s, grad, &adam, &ALONE), RW_OK);
        for (int32_t slot = 0; slot < s->len[1]; slot++)
            for (int32_t row = n_out; row < 16; row++)
                CHECK(weight_at(s, 0, row, slot) == 0);
        rw_tiles_free(dy);
        rw_tiles_free(y);
        rw_tiles_free(x);
        rw_store_free(s);
    }
}

#endif
