/* arrays.h -- packing, unpacking and losses. */
#ifndef RW_TEST_ARRAYS_H
#define RW_TEST_ARRAYS_H

#include "elements.h"

static void test_tile_sizes(void)
{
    CHECK(rw_tile_size(128, RW_F32) == 64 && rw_tile_size(128, RW_F64) == 32);
    CHECK(rw_tile_size(1, RW_F32) == 1 && rw_tile_size(2, RW_F32) == 2);
    CHECK(rw_tile_size(3, RW_F32) == 4 && rw_tile_size(33, RW_F32) == 64);
}

static void test_tiles_are_shaped_and_zeroed(void)
{
    CHECK(rw_tiles_new(0, 1, 1, RW_F32) == NULL && rw_tiles_new(1, 0, 1, RW_F32) == NULL);
    CHECK(rw_tiles_new(1, 1, 2 * RW_MAX_TILE, RW_F32) == NULL);
    CHECK(rw_tiles_new(1, 1, 3, RW_F32) == NULL && rw_tiles_new(1, 1, 1, RW_I32) == NULL);
    CHECK(rw_tiles_new(INT32_MAX, 1, 1, RW_F32) == NULL);
    CHECK(rw_tiles_new(1 << 30, INT64_MAX / 2, 64, RW_F64) == NULL);
    for (int i = 0; i < 2; i++) {
        rw_mem_fail_after = i;
        CHECK(rw_tiles_new(5, 5, 4, RW_F32) == NULL);
        rw_mem_fail_after = -1;
    }
    rw_tiles *t = tiles_of(1, 13, 100, 32, RW_F32);
    CHECK(t->rows == 16 && t->n_tiles == 4 && (uintptr_t)t->data % 64 == 0);
    CHECK(rw_tile_live(t, 3) == 4 && rw_tile_live(t, 0) == 32);
    double kept = tile_get(t, 12, 99);
    CHECK_STATUS(rw_tiles_shape(t, 100, 32), RW_OK);
    CHECK(kept != 0 && tile_get(t, 12, 99) == kept); /* the same shape: contents stay */
    CHECK_STATUS(rw_tiles_shape(t, 129, 32), RW_ESHAPE);
    CHECK_STATUS(rw_tiles_shape(t, 100, 24), RW_ESHAPE);
    CHECK_STATUS(rw_tiles_shape(t, 0, 32), RW_ESHAPE);
    CHECK(t->batch == 100 && tile_get(t, 12, 99) == kept);
    CHECK_STATUS(rw_tiles_shape(t, 37, 8), RW_OK);
    CHECK(t->n_tiles == 5 && t->batch == 37 && t->tile == 8);
    double sum = 0;
    for (int32_t i = 0; i < 13; i++)
        for (int64_t b = 0; b < 37; b++)
            sum += fabs(tile_get(t, i, b));
    CHECK(sum == 0);
    CHECK_STATUS(rw_tiles_shape(t, 128, 32), RW_OK);
    rw_tiles_free(t);
    rw_tiles_free(NULL);
}

static const size_t INPUT_SIZE[] = { 4, 8, 1, 1, 2, 2, 4, 8, 1 }; /* by rw_input */

/* Write a number of that kind (whatever its alignment); returns what it is. */
static double write_input(rw_input kind, char *to, uint64_t word)
{
    float f32 = (float)((double)(int32_t)word * 0x1p-31);
    double f64 = (double)(int64_t)word * 0x1p-63;
    uint16_t u16 = (uint16_t)word;
    int16_t i16 = (int16_t)(word & 0x7fff) - 0x3000;
    int32_t i32 = (int32_t)(word % 1000001) - 500000;
    int64_t i64 = (int64_t)(word % 2000003) - 1000000;
    switch (kind) {
    case RW_IN_F32: memcpy(to, &f32, 4); return (double)f32;
    case RW_IN_F64: memcpy(to, &f64, 8); return f64;
    case RW_IN_U8:  *(unsigned char *)to = (unsigned char)word; return (double)(unsigned char)word;
    case RW_IN_I8:  *(signed char *)to = (signed char)(word % 128) - 64;
                    return (double)(word % 128) - 64;
    case RW_IN_U16: memcpy(to, &u16, 2); return (double)u16;
    case RW_IN_I16: memcpy(to, &i16, 2); return (double)i16;
    case RW_IN_I32: memcpy(to, &i32, 4); return (double)i32;
    case RW_IN_I64: memcpy(to, &i64, 8); return (double)i64;
    case RW_IN_BOOL: *to = (char)(word % 3); return word % 3 != 0;
    }
    return NAN;
}

static void test_packing_every_kind(void)
{
    enum { ROWS = 150 };
    double *mean = malloc(300 * sizeof *mean), *scale = malloc(300 * sizeof *scale);
    int64_t *rows = malloc(ROWS * sizeof *rows);
    REQUIRE(mean && scale && rows);
    for (int i = 0; i < 300; i++) {
        mean[i] = value(30, i, 0);
        scale[i] = value(31, i, 0);
    }
    for (int b = 0; b < ROWS; b++)
        rows[b] = (b * 37) % ROWS;
    for (int i = 0; i < 9 * 32; i++) {
        rw_input kind = (rw_input)(i % 9);
        int way = i / 9;
        rw_dtype dtype = DTYPES[way % 2];
        int32_t n = way % 3 ? 29 : 300, batch = LENGTHS[(i * 5) % N_LENGTHS], tile = 1 << (i % 7);
        ptrdiff_t size = (ptrdiff_t)INPUT_SIZE[kind];
        /* C order with a gap, Fortran order, unaligned, or backwards. */
        ptrdiff_t column = size, row = (n + 3) * size, start = 0;
        if (way / 2 % 4 == 1) {
            row = size;
            column = ROWS * size;
        } else if (way / 2 % 4 == 2) {
            row = n * size + 1;
            start = 1;
        } else if (way / 2 % 4 == 3) {
            start = (ROWS - 1) * row + (n - 1) * size;
            row = -row;
            column = -column;
        }
        char *array = malloc((size_t)(ROWS * (n + 4) * size));
        REQUIRE(array);
        rw_tiles *t = tiles_new(n, batch, tile, dtype), *model = tiles_copy(t);
        bool indexed = way / 8 % 2, standard = way / 16 % 2;
        for (int32_t b = 0; b < ROWS; b++)
            for (int32_t j = 0; j < n; j++) {
                double v = write_input(kind, array + start + b * row + j * column,
                                       hash(32, (uint64_t)b, (uint64_t)j));
                for (int32_t at = 0; at < batch; at++) /* rows is a permutation */
                    if ((indexed ? rows[at] : at) == b)
                        put(dtype, model->data, place_in(model, j, at),
                            standard ? (v - mean[j]) * scale[j] : v);
            }
        rw_tiles_pack(t, kind, array + start, row, column, indexed ? rows : NULL,
                      standard ? mean : NULL, standard ? scale : NULL, 1 + i % 3);
        CHECK(tiles_same(t, model));
        if (kind == RW_IN_F32) { /* and back */
            ptrdiff_t width = n * (ptrdiff_t)rw_dtype_size(dtype) + 5;
            char *out = malloc((size_t)(batch * width));
            REQUIRE(out);
            rw_tiles_unpack(t, out, width, 1 + i % 3);
            bool same = true;
            for (int32_t b = 0; b < batch; b++)
                for (int32_t j = 0; j < n; j++) {
                    double v[1];
                    memcpy(v, out + b * width + j * (ptrdiff_t)rw_dtype_size(dtype),
                           rw_dtype_size(dtype));
                    same &= get(dtype, v, 0) == tile_get(t, j, b);
                }
            CHECK(same);
            free(out);
        }
        rw_tiles_free(model);
        rw_tiles_free(t);
        free(array);
    }
    free(rows);
    free(scale);
    free(mean);
}

/* CSR rows -- sorted, in any order, with duplicates -- give what the array gives. */
static void test_packing_csr(void)
{
    enum { ROWS = 40, N = 700, ENTRIES = 60 };
    int64_t indptr[ROWS + 1] = { 0 }, rows[ROWS];
    int32_t *columns = malloc(ROWS * ENTRIES * sizeof *columns);
    double *values = malloc(ROWS * ENTRIES * sizeof *values);
    double *array = calloc(ROWS * N, sizeof *array);
    double *mean = malloc(N * sizeof *mean), *scale = malloc(N * sizeof *scale);
    REQUIRE(columns && values && array && mean && scale);
    for (int i = 0; i < N; i++) {
        mean[i] = value(30, i, 0);
        scale[i] = value(31, i, 0);
    }
    for (int d = 0; d < 2; d++) {
        memset(array, 0, ROWS * N * sizeof *array);
        for (int b = 0; b < ROWS; b++) {
            int64_t e = indptr[b];
            rows[b] = (b * 3) % ROWS;
            for (int i = 0; i < (b * 7) % ENTRIES; i++, e++) {
                int32_t j = i * N / ENTRIES; /* sorted; every fifth row has duplicates, */
                if (b % 5 == 1)
                    j = i / 3 * 3 * N / ENTRIES;
                if (b % 5 >= 3)              /* and some are in no order at all */
                    j = (int32_t)(hash(40, (uint64_t)b, (uint64_t)i) % (b % 5 == 3 ? N : 9));
                columns[e] = j;
                double v = value(41, b, i);
                put(DTYPES[d], values, e, v);
                array[b * N + j] += v; /* few terms of 22 bits: exact in float64 */
            }
            indptr[b + 1] = e;
        }
        for (int i = 0; i < 32; i++) {
            rw_dtype dtype = DTYPES[i % 2];
            int32_t tile = 1 << (i % 7), batch = i % 3 ? ROWS : 17;
            const int64_t *chosen = i / 2 % 2 ? rows : NULL;
            bool standard = i / 4 % 2;
            rw_tiles *t = tiles_of(9, N, batch, tile, dtype);
            rw_tiles *model = tiles_new(N, batch, tile, dtype);
            rw_tiles_pack(model, RW_IN_F64, (const char *)array, N * 8, 8, chosen,
                          standard ? mean : NULL, standard ? scale : NULL, 1);
            rw_tiles_pack_csr(t, DTYPES[d], indptr, columns, (const char *)values, chosen,
                              standard ? mean : NULL, standard ? scale : NULL, 1 + i % 3);
            CHECK(tiles_same(t, model));
            rw_tiles_free(model);
            rw_tiles_free(t);
        }
    }
    free(scale);
    free(mean);
    free(array);
    free(values);
    free(columns);
}

static void test_csr_in_range(void)
{
    int64_t indptr[] = { 0, 2, 2, 3 }, rows[] = { 0, 1 };
    int32_t columns[] = { 0, 4, 5 };
    CHECK(rw_csr_in_range(indptr, columns, 3, NULL, 3, 6));
    CHECK(!rw_csr_in_range(indptr, columns, 2, NULL, 3, 6));
    CHECK(!rw_csr_in_range(indptr, columns, 3, NULL, 3, 5));
    CHECK(rw_csr_in_range(indptr, columns, 2, rows, 2, 5)); /* of the rows that are read */
    columns[0] = -1;
    CHECK(!rw_csr_in_range(indptr, columns, 3, NULL, 3, 6));
    columns[0] = 0;
    indptr[0] = -1;
    CHECK(!rw_csr_in_range(indptr, columns, 3, NULL, 3, 6));
}

/* --- losses -------------------------------------------------------------------- */

static double naive_loss(rw_loss kind, const rw_tiles *z, const double *targets,
                         const double *weight)
{
    double total = 0, total_weight = 0;
    for (int64_t b = 0; b < z->batch; b++) {
        double l = 0, sum = 0;
        for (int32_t i = 0; i < z->n; i++)
            sum += exp(tile_get(z, i, b));
        for (int32_t i = 0; i < z->n; i++) {
            double v = tile_get(z, i, b), t = targets[b * z->n + i], p = 1 / (1 + exp(-v));
            if (kind == RW_LOSS_SOFTMAX_CE)
                l -= t * log(exp(v) / sum);
            else if (kind == RW_LOSS_SIGMOID_BCE)
                l -= (t * log(p) + (1 - t) * log(1 - p)) / z->n;
            else
                l += (v - t) * (v - t) / z->n;
        }
        total += (weight ? weight[b] : 1) * l;
        total_weight += weight ? weight[b] : 1;
    }
    return total / total_weight;
}

static void test_losses_and_gradients(void)
{
    for (int i = 0; i < 3 * 2 * 8; i++) {
        rw_loss kind = (rw_loss)(i % 3);
        rw_dtype dtype = DTYPES[i / 3 % 2];
        int32_t n = i % 4 + 1, batch = LENGTHS[(i * 7) % N_LENGTHS], tile = 1 << (i % 8);
        rw_tiles *z = tiles_of(50, n, batch, tile, dtype), *dz = tiles_copy(z);
        double *targets = malloc((size_t)(n * batch) * sizeof *targets);
        double *weight = malloc((size_t)batch * sizeof *weight);
        int64_t *labels = malloc((size_t)batch * sizeof *labels);
        REQUIRE(targets && weight && labels);
        bool weighted = i / 6 % 2, labelled = kind == RW_LOSS_SOFTMAX_CE && i / 12 % 2;
        for (int64_t b = 0; b < batch; b++) {
            weight[b] = b % 4 == 1 ? 0 : fabs(value(51, b, 0)) + 0.1;
            labels[b] = (int64_t)(hash(52, (uint64_t)b, 0) % (uint64_t)n);
            for (int32_t j = 0; j < n; j++)
                targets[b * n + j] = labelled ? labels[b] == j : fabs(value(53, b, j));
        }
        const double *w = weighted ? weight : NULL;
        double loss = NAN, alone = NAN;
        CHECK_STATUS(rw_loss_eval(kind, z, labelled ? labels : NULL, labelled ? NULL : targets, w,
                                  dz, &loss), RW_OK);
        CHECK_STATUS(rw_loss_eval(kind, z, labelled ? labels : NULL, labelled ? NULL : targets, w,
                                  NULL, &alone), RW_OK);
        CHECK(loss == alone);
        CHECK(fabs(loss - naive_loss(kind, z, targets, w)) <= 1e-12 * (1 + fabs(loss)));
        CHECK(padding_is_zero(dz));
        double h = dtype == RW_F32 ? 0x1p-9 : 0x1p-17; /* exact steps, central differences */
        for (int64_t b = 0; b < batch; b += 3)
            for (int32_t j = 0; j < n; j++) {
                double v = tile_get(z, j, b);
                put(dtype, z->data, place_in(z, j, b), v + h);
                double above = naive_loss(kind, z, targets, w);
                put(dtype, z->data, place_in(z, j, b), v - h);
                double slope = (above - naive_loss(kind, z, targets, w)) / (2 * h);
                put(dtype, z->data, place_in(z, j, b), v);
                CHECK(fabs(tile_get(dz, j, b) - slope) <= (dtype == RW_F32 ? 1e-6 : 1e-9));
            }
        rw_tiles *soft = tiles_copy(z);
        rw_softmax(soft);
        CHECK(padding_is_zero(soft));
        for (int64_t b = 0; b < batch; b++) {
            double sum = 0;
            for (int32_t j = 0; j < n; j++)
                sum += exp(tile_get(z, j, b));
            for (int32_t j = 0; j < n; j++)
                CHECK(near(tile_get(soft, j, b), exp(tile_get(z, j, b)) / sum, dtype));
        }
        rw_tiles_free(soft);
        CHECK_STATUS(rw_loss_eval(kind, z, labelled ? labels : NULL, labelled ? NULL : targets, w,
                                  z, &loss), RW_OK);
        CHECK(tiles_same(z, dz)); /* in place */
        free(labels);
        free(weight);
        free(targets);
        rw_tiles_free(dz);
        rw_tiles_free(z);
    }
}

static void test_losses_stay_finite(void)
{
    double huge[] = { 1e4, -1e4, 88.8, -745.0, 0.0 }, targets[] = { 1, 0, 0, 0, 0 }, loss;
    for (int d = 0; d < 2; d++) {
        rw_tiles *z = tiles_new(5, 1, 1, DTYPES[d]), *dz = tiles_copy(z);
        for (int32_t i = 0; i < 5; i++)
            put(DTYPES[d], z->data, i, huge[i]);
        for (int64_t label = 0; label < 5; label++) {
            CHECK_STATUS(rw_loss_eval(RW_LOSS_SOFTMAX_CE, z, &label, NULL, NULL, dz, &loss), RW_OK);
            CHECK(fabs(loss - (huge[0] - tile_get(z, (int32_t)label, 0))) < 1e-9);
            CHECK(fabs(tile_get(dz, 0, 0) - (label == 0 ? 0 : 1)) < 1e-9);
        }
        CHECK_STATUS(rw_loss_eval(RW_LOSS_SIGMOID_BCE, z, NULL, targets, NULL, dz, &loss), RW_OK);
        CHECK(isfinite(loss) && fabs(loss - (tile_get(z, 2, 0) + log(2.0)) / 5) < 1e-9);
        for (int32_t i = 0; i < 5; i++)
            CHECK(isfinite(tile_get(dz, i, 0)));
        rw_softmax(z);
        CHECK(tile_get(z, 0, 0) == 1 && tile_get(z, 1, 0) == 0);
        put(DTYPES[d], z->data, 1, -(double)INFINITY); /* a class that cannot be */
        CHECK_STATUS(rw_loss_eval(RW_LOSS_SOFTMAX_CE, z, NULL, targets, NULL, dz, &loss), RW_OK);
        CHECK(isfinite(loss) && tile_get(dz, 1, 0) == 0);
        put(DTYPES[d], z->data, 1, (double)NAN);
        CHECK_STATUS(rw_loss_eval(RW_LOSS_SOFTMAX_CE, z, NULL, targets, NULL, dz, &loss), RW_OK);
        CHECK(isnan(loss));
        rw_tiles_free(dz);
        rw_tiles_free(z);
    }
}

/* A sample of weight 0 adds nothing to the loss and has no gradient, even where it is NaN. */
static void test_samples_without_weight(void)
{
    double targets[] = { 0.25, 0.75, (double)NAN, 1 }, weight[] = { 2, 0 }, loss;
    for (int i = 0; i < 6; i++) {
        rw_tiles *z = tiles_of(51, 2, 2, 2, DTYPES[i % 2]), *dz = tiles_copy(z);
        put(DTYPES[i % 2], z->data, 3, (double)NAN); /* feature 1 of sample 1 */
        CHECK_STATUS(rw_loss_eval((rw_loss)(i / 2), z, NULL, targets, weight, dz, &loss), RW_OK);
        CHECK(isfinite(loss) && tile_get(dz, 0, 0) != 0 && isfinite(tile_get(dz, 1, 0)));
        CHECK(tile_get(dz, 0, 1) == 0 && tile_get(dz, 1, 1) == 0);
        rw_tiles_free(dz);
        rw_tiles_free(z);
    }
}

static void test_loss_arguments(void)
{
    rw_tiles *z = tiles_of(50, 3, 4, 4, RW_F32), *dz = tiles_copy(z);
    rw_tiles *other = tiles_of(50, 3, 4, 2, RW_F32);
    int64_t labels[] = { 0, 1, 2, 3 };
    double targets[12] = { 0 }, nothing[4] = { 0 }, loss = 7;
    CHECK_STATUS(rw_loss_eval(RW_LOSS_SOFTMAX_CE, z, labels, NULL, NULL, dz, &loss), RW_ERANGE);
    labels[3] = -1;
    CHECK_STATUS(rw_loss_eval(RW_LOSS_SOFTMAX_CE, z, labels, NULL, NULL, dz, &loss), RW_ERANGE);
    labels[3] = 0;
    CHECK_STATUS(rw_loss_eval(RW_LOSS_SOFTMAX_CE, z, labels, targets, NULL, dz, &loss), RW_ESHAPE);
    CHECK_STATUS(rw_loss_eval(RW_LOSS_SOFTMAX_CE, z, NULL, NULL, NULL, dz, &loss), RW_ESHAPE);
    CHECK_STATUS(rw_loss_eval(RW_LOSS_MSE, z, labels, NULL, NULL, dz, &loss), RW_ESHAPE);
    CHECK_STATUS(rw_loss_eval(RW_LOSS_MSE, z, NULL, targets, NULL, other, &loss), RW_ESHAPE);
    CHECK_STATUS(rw_loss_eval(RW_LOSS_MSE, z, NULL, targets, nothing, dz, &loss), RW_ERANGE);
    CHECK(loss == 7 && tiles_same(z, dz));
    rw_tiles_free(other);
    rw_tiles_free(dz);
    rw_tiles_free(z);
}

#endif
