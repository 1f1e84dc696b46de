/* predictor.h -- frozen layers give what layers give, whichever way one sample goes through them. */
#ifndef RW_TEST_PREDICTOR_H
#define RW_TEST_PREDICTOR_H

#include "setup.h"
#include "ops/predictor.h"

/* Links where a hash is a multiple of `every`; by group, of all its rows. */
static rw_store *hashed_store(int32_t n_out, int32_t n_in, int32_t group, uint64_t every,
                              rw_dtype dtype)
{
    rw_store *s = rw_store_new(n_out, n_in, group, dtype);
    REQUIRE(s);
    size_t most = (size_t)s->n_groups * (size_t)n_in;
    int64_t *indptr = malloc(((size_t)s->n_groups + 1) * sizeof *indptr), n = 0;
    int32_t *sources = malloc(most * sizeof *sources);
    void *weights = malloc(most * (size_t)group * sizeof(double));
    REQUIRE(indptr && sources && weights);
    indptr[0] = 0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        for (int32_t j = 0; j < n_in; j++) {
            if (hash(5, (uint64_t)g, (uint64_t)j) % every)
                continue;
            for (int32_t r = 0; r < group; r++) {
                int32_t row = g * group + r;
                put(dtype, weights, n * group + r, row < n_out ? value(6, row, j) : 0);
            }
            sources[n++] = j;
        }
        indptr[g + 1] = n;
    }
    rw_fault at;
    REQUIRE(rw_csr_load(s, indptr, sources, weights, &at) == RW_OK);
    free(weights);
    free(sources);
    free(indptr);
    return s;
}

enum { FROZEN_LAYERS = 3, FROZEN_BATCH = 70 };

/* Layers, and inputs of which a part is zero: none in sample 0, all in the last one. */
typedef struct {
    rw_dtype dtype;
    int32_t width[FROZEN_LAYERS + 1];
    rw_store *s[FROZEN_LAYERS];
    void *bias[FROZEN_LAYERS];
    rw_tiles *x;
    double *rows; /* (batch, n_in) as users have them */
} frozen_net;

static const rw_act FROZEN_ACTS[FROZEN_LAYERS] = { RW_ACT_RELU, RW_ACT_SIGMOID, RW_ACT_LINEAR };

static frozen_net frozen_new(rw_dtype dtype, int32_t group, uint64_t every)
{
    frozen_net f = { .dtype = dtype, .width = { 61, 77, 45, 11 } };
    for (int i = 0; i < FROZEN_LAYERS; i++) {
        f.s[i] = hashed_store(f.width[i + 1], f.width[i], group, every, dtype);
        f.bias[i] = bias_of(f.width[i + 1], dtype);
    }
    f.x = tiles_new(f.width[0], FROZEN_BATCH, rw_tile_size(FROZEN_BATCH, dtype), dtype);
    f.rows = malloc(FROZEN_BATCH * (size_t)f.width[0] * sizeof(double));
    REQUIRE(f.rows);
    for (int64_t b = 0; b < FROZEN_BATCH; b++)
        for (int32_t j = 0; j < f.width[0]; j++) {
            bool zero = (int64_t)(hash(7, (uint64_t)b, (uint64_t)j) % (FROZEN_BATCH - 1)) < b;
            f.rows[b * f.width[0] + j] = zero ? 0 : value(8, b, j);
            put(dtype, f.x->data, place_in(f.x, j, b), f.rows[b * f.width[0] + j]);
        }
    return f;
}

static void frozen_free(frozen_net *f)
{
    for (int i = 0; i < FROZEN_LAYERS; i++) {
        rw_store_free(f->s[i]);
        bias_free(f->bias[i], f->width[i + 1]);
    }
    rw_tiles_free(f->x);
    free(f->rows);
}

static rw_predictor *predictor_of(const frozen_net *f, bool zeros)
{
    rw_predictor *p = rw_predictor_new(f->dtype, f->width[0]);
    REQUIRE(p);
    for (int i = 0; i < FROZEN_LAYERS; i++)
        CHECK_STATUS(rw_predictor_add_store(p, f->s[i], f->bias[i], FROZEN_ACTS[i], 0, zeros), RW_OK);
    return p;
}

static rw_tiles *through_layers(const rw_kernels *k, const frozen_net *f, bool softmax)
{
    rw_tiles *x = tiles_copy(f->x);
    for (int i = 0; i < FROZEN_LAYERS; i++) {
        rw_tiles *y = tiles_new(f->width[i + 1], FROZEN_BATCH, x->tile, f->dtype);
        CHECK_STATUS(rw_forward(k, f->s[i], x, f->bias[i], FROZEN_ACTS[i], 0, y, NULL, &ALONE), RW_OK);
        rw_tiles_free(x);
        x = y;
    }
    if (softmax) {
        size_t bytes = rw_loss_scratch(x) * sizeof(double);
        double *scratch = rw_alloc(bytes);
        REQUIRE(scratch);
        CHECK_STATUS(rw_softmax(k, x, scratch, &ALONE), RW_OK);
        rw_free(scratch, bytes);
    }
    return x;
}

/* Outputs of samples [first, first + batch), read backwards from float64 rows of users'. */
static rw_numbers predict(const rw_kernels *k, const rw_predictor *p, const double *rows,
                          int64_t first, int64_t batch, int threads, void *out)
{
    int64_t name[FROZEN_BATCH];
    int32_t n_in = 61, n_out = rw_predictor_outputs(p);
    for (int64_t b = 0; b < batch; b++)
        name[b] = first + b;
    rw_user_rows in = { .kind = RW_IN_F64, .x = (const char *)rows, .column_stride = sizeof(double),
                        .row_stride = n_in * (ptrdiff_t)sizeof(double), .rows = name };
    size_t bytes = rw_predictor_scratch(p, batch);
    REQUIRE(bytes > 0);
    void *scratch = rw_alloc(bytes);
    REQUIRE(scratch);
    memset(scratch, 0xff, bytes); /* what is read before it is written is no number */
    rw_run run = { threads, NULL, NULL };
    rw_numbers found = RW_NUMBERS_IN;
    ptrdiff_t size = (ptrdiff_t)rw_dtype_size(k->dtype);
    CHECK_STATUS(rw_predictor_run(k, p, &in, batch, out, n_out * size, size, scratch, bytes, &found,
                                  &run), RW_OK);
    rw_free(scratch, bytes);
    return found;
}

/* Equal numbers; zeros may have either sign. */
static bool outputs_same(const rw_tiles *t, int64_t first, int64_t batch, const void *out)
{
    for (int64_t b = 0; b < batch; b++)
        for (int32_t i = 0; i < t->n; i++)
            if (get(t->dtype, out, b * t->n + i) != tile_get(t, i, first + b))
                return false;
    return true;
}

/* Sparse to dense: by rows or by source, by source, by matrix. */
static void test_a_predictor_has_the_values_of_its_layers(void)
{
    static const uint64_t EVERY[] = { 40, 15, 2 };
    bool met[3] = { false };
    FOR_EACH_KERNELS(k)
        for (int g = 0; g < 4; g++)
            for (int e = 0; e < 3; e++) {
                frozen_net f = frozen_new(k->dtype, GROUPS[g], EVERY[e]);
                double out[FROZEN_BATCH * 11];
                for (int softmax = 0; softmax < 2; softmax++) {
                    rw_tiles *y = through_layers(k, &f, softmax);
                    rw_predictor *p = predictor_of(&f, (g + softmax) % 2 == 0 || e == 1);
                    rw_predictor_softmax(p, softmax);
                    for (int32_t i = 0; i < FROZEN_LAYERS; i++)
                        met[rw_predictor_way(p, i)] = true;
                    CHECK(rw_predictor_way(p, FROZEN_LAYERS) == -1 && rw_predictor_way(p, -1) == -1);
                    for (int64_t b = 0; b < FROZEN_BATCH; b++) {
                        CHECK(predict(k, p, f.rows, b, 1, 1 + (int)(b % 2), out) == RW_NUMBERS_FINE);
                        CHECK(outputs_same(y, b, 1, out));
                    }
                    static const int64_t BATCHES[] = { 2, 3, 17, 64, FROZEN_BATCH };
                    for (int i = 0; i < 5; i++) {
                        CHECK(predict(k, p, f.rows, FROZEN_BATCH - BATCHES[i], BATCHES[i], 1 + i % 3, out)
                              == RW_NUMBERS_FINE);
                        CHECK(outputs_same(y, FROZEN_BATCH - BATCHES[i], BATCHES[i], out));
                    }
                    rw_predictor_free(p);
                    rw_tiles_free(y);
                }
                frozen_free(&f);
            }
    CHECK(met[0] && met[1] && met[2]);
}

/* All weights of a store as a matrix of users'. */
static void *matrix_of(const rw_store *s)
{
    rw_dtype dtype = s->field[RW_WEIGHT].dtype;
    void *m = calloc((size_t)s->n_out * (size_t)s->n_in, rw_dtype_size(dtype));
    REQUIRE(m);
    for (int32_t row = 0; row < s->n_out; row++)
        for (int32_t k = 0; k < s->len[row / s->group]; k++) {
            int32_t j = s->source[s->start[row / s->group] + k];
            put(dtype, m, (int64_t)row * s->n_in + j, weight_at(s, RW_WEIGHT, row, k));
        }
    return m;
}

static void test_a_predictor_of_matrices(void)
{
    FOR_EACH_KERNELS(k) {
        frozen_net f = frozen_new(k->dtype, 1, 3);
        rw_tiles *y = through_layers(k, &f, false);
        rw_predictor *p = rw_predictor_new(k->dtype, f.width[0]);
        REQUIRE(p);
        for (int i = 0; i < FROZEN_LAYERS; i++) {
            void *m = matrix_of(f.s[i]);
            CHECK_STATUS(rw_predictor_add_matrix(p, f.width[i + 1], m, f.bias[i], FROZEN_ACTS[i], 0),
                         RW_OK);
            free(m);
        }
        double out[11];
        for (int64_t b = 0; b < FROZEN_BATCH; b += 7) {
            CHECK(predict(k, p, f.rows, b, 1, 1, out) == RW_NUMBERS_FINE);
            CHECK(outputs_same(y, b, 1, out));
        }
        CHECK(rw_predictor_most(p) == 1 && rw_predictor_scratch(p, 2) == 0);
        rw_predictor_free(p);
        rw_tiles_free(y);
        frozen_free(&f);
    }
}

static void test_a_predictor_tells_of_strange_numbers(void)
{
    FOR_EACH_KERNELS(k) {
        frozen_net f = frozen_new(k->dtype, 1, 2);
        rw_predictor *p = predictor_of(&f, true);
        double out[2 * 11], large = k->dtype == RW_F32 ? 3e38 : 1.7e308;
        static const double STRANGE[] = { (double)NAN, (double)INFINITY, -(double)INFINITY };
        for (int64_t batch = 1; batch <= 2; batch++) {
            for (int i = 0; i < 3; i++) {
                f.rows[40] = STRANGE[i];
                CHECK(predict(k, p, f.rows, 0, batch, 1, out) == RW_NUMBERS_IN);
            }
            f.rows[40] = 0;
            CHECK(predict(k, p, f.rows, 0, batch, 1, out) == RW_NUMBERS_FINE);
        }
        rw_predictor_free(p);
        p = rw_predictor_new(k->dtype, f.width[0]); /* one layer, whose sums overflow */
        REQUIRE(p);
        CHECK_STATUS(rw_predictor_add_store(p, f.s[0], f.bias[0], RW_ACT_LINEAR, 0, true), RW_OK);
        double wide[2 * 77];
        for (int32_t j = 0; j < f.width[0]; j++)
            f.rows[j] = value(6, 0, j) < 0 ? -large : large;
        CHECK(predict(k, p, f.rows, 0, 1, 1, wide) == RW_NUMBERS_OUT);
        CHECK(predict(k, p, f.rows, 0, 2, 1, wide) == RW_NUMBERS_OUT);
        rw_predictor_free(p);
        frozen_free(&f);
    }
}

static void test_a_predictor_refuses(void)
{
    const rw_kernels *k = rw_kernels_named(RW_F32, "scalar");
    CHECK(!rw_predictor_new(RW_I32, 4) && !rw_predictor_new(RW_F32, 0));
    CHECK(!rw_predictor_new(RW_F32, (int64_t)RW_MAX_WIDTH + 1));
    rw_predictor_free(NULL);
    frozen_net f = frozen_new(RW_F32, 2, 3);
    rw_predictor *p = rw_predictor_new(RW_F32, f.width[0]);
    REQUIRE(p);
    CHECK(rw_predictor_scratch(p, 1) == 0); /* no layers */
    CHECK_STATUS(rw_predictor_add_store(p, f.s[1], NULL, RW_ACT_LINEAR, 0, true), RW_ESHAPE);
    rw_store *other = hashed_store(5, f.width[0], 1, 2, RW_F64);
    CHECK_STATUS(rw_predictor_add_store(p, other, NULL, RW_ACT_LINEAR, 0, true), RW_ESHAPE);
    CHECK_STATUS(rw_predictor_add_matrix(p, 0, f.rows, NULL, RW_ACT_LINEAR, 0), RW_ESHAPE);
    CHECK_STATUS(rw_predictor_add_store(p, f.s[0], NULL, RW_ACT_LINEAR, 0, true), RW_OK);
    CHECK(rw_predictor_outputs(p) == f.width[1] && rw_predictor_bytes(p) > 0);
    CHECK(rw_predictor_scratch(p, 0) == 0 && rw_predictor_scratch(p, INT64_MAX) == 0);

    size_t bytes = rw_predictor_scratch(p, 1);
    void *scratch = rw_alloc(bytes);
    float out[77];
    rw_user_rows in = { .kind = RW_IN_F64, .x = (const char *)f.rows, .column_stride = sizeof(double) };
    rw_numbers found;
    REQUIRE(scratch);
    CHECK_STATUS(rw_predictor_run(k, p, &in, 1, (char *)out, 0, sizeof(float), scratch, bytes - 1,
                                  &found, &ALONE), RW_ESHAPE);
    CHECK_STATUS(rw_predictor_run(rw_kernels_named(RW_F64, "scalar"), p, &in, 1, (char *)out, 0,
                                  sizeof(float), scratch, bytes, &found, &ALONE), RW_ESHAPE);
    rw_free(scratch, bytes);
    rw_store_free(other);
    rw_predictor_free(p);
    frozen_free(&f);
}

static void test_a_predictor_without_memory(void)
{
    const rw_kernels *k = rw_kernels_named(RW_F32, "scalar");
    for (uint64_t every = 2; every <= 16; every += 14) { /* matrices; by source */
        frozen_net f = frozen_new(RW_F32, 1, every);
        void *m = matrix_of(f.s[1]);
        rw_predictor *p = NULL;
        for (int64_t n = 0; !p; n++) {
            REQUIRE(n < 100);
            rw_mem_fail_after = n;
            p = rw_predictor_new(RW_F32, f.width[0]);
            rw_status st = p ? rw_predictor_add_store(p, f.s[0], f.bias[0], RW_ACT_RELU, 0, true)
                             : RW_ENOMEM;
            if (st == RW_OK)
                st = rw_predictor_add_matrix(p, f.width[2], m, f.bias[1], RW_ACT_LINEAR, 0);
            rw_mem_fail_after = -1;
            CHECK(st == RW_OK || st == RW_ENOMEM);
            if (st == RW_ENOMEM) {
                rw_predictor_free(p);
                p = NULL;
            }
        }
        double out[45];
        CHECK(predict(k, p, f.rows, 3, 1, 1, out) == RW_NUMBERS_FINE);
        rw_predictor_free(p);
        free(m);
        frozen_free(&f);
    }
}

#endif
