/* losses.h -- losses and softmax: values, gradients, orders of sums, bounds. */
#ifndef RW_TEST_LOSSES_H
#define RW_TEST_LOSSES_H

#include "arrays.h"

static rw_targets dense_targets(const rw_tiles *z, const int64_t *labels, const double *targets)
{
    return (rw_targets){ .labels = labels, .values = (const char *)targets, .kind = RW_IN_F64,
                         .row_stride = (ptrdiff_t)sizeof(double) * z->n,
                         .column_stride = sizeof(double) };
}

static rw_status loss_with(const rw_kernels *k, const rw_loss_spec *spec, const rw_tiles *z,
                           const rw_targets *targets, const double *weight, rw_tiles *dz,
                           uint8_t *right, double *loss, int threads)
{
    size_t bytes = rw_loss_scratch(z) * sizeof(double);
    double *scratch = rw_alloc(bytes);
    REQUIRE(scratch);
    rw_run run = { threads, NULL, NULL };
    rw_status st = rw_loss_eval(k, spec, z, targets, weight, dz, scratch, right, loss, &run);
    rw_free(scratch, bytes);
    return st;
}

static rw_status loss_on(const rw_kernels *k, const rw_loss_spec *spec, const rw_tiles *z,
                         const int64_t *labels, const double *targets, const double *weight,
                         rw_tiles *dz, double *loss, int threads)
{
    rw_targets t = dense_targets(z, labels, targets);
    return loss_with(k, spec, z, &t, weight, dz, NULL, loss, threads);
}

static rw_status loss_of(rw_loss kind, const rw_tiles *z, const int64_t *labels,
                         const double *targets, const double *weight, rw_tiles *dz, double *loss)
{
    rw_loss_spec spec = { .kind = kind, .delta = 0.7 };
    return loss_on(rw_kernels_named(z->dtype, NULL), &spec, z, labels, targets, weight, dz, loss, 1);
}

static void softmax_on(const rw_kernels *k, rw_tiles *z, int threads)
{
    size_t bytes = rw_loss_scratch(z) * sizeof(double);
    double *scratch = rw_alloc(bytes);
    REQUIRE(scratch);
    rw_run run = { threads, NULL, NULL };
    CHECK_STATUS(rw_softmax(k, z, scratch, &run), RW_OK);
    rw_free(scratch, bytes);
}

enum { N_LOSSES = 6 };

static double naive_term(const rw_loss_spec *spec, double v, double t)
{
    double p = 1 / (1 + exp(-v)), error = v - t, gap = fmax(0, 1 - (2 * t - 1) * v);
    switch (spec->kind) {
    case RW_LOSS_SOFTMAX_CE:    break;
    case RW_LOSS_SIGMOID_BCE:   return -t * log(p) - (1 - t) * log(1 - p);
    case RW_LOSS_MSE:           return error * error;
    case RW_LOSS_HUBER:
        return fabs(error) <= spec->delta ? error * error / 2
                                          : spec->delta * (fabs(error) - spec->delta / 2);
    case RW_LOSS_POISSON:       return exp(v) - t * v;
    case RW_LOSS_SQUARED_HINGE: return gap * gap;
    }
    return NAN;
}

static double naive_loss(const rw_loss_spec *spec, const rw_tiles *z, const int64_t *labels,
                         const double *targets, const double *weight)
{
    double total = 0, total_weight = 0;
    for (int64_t b = 0; b < z->batch; b++) {
        double l = 0, sum = 0;
        for (int32_t i = 0; i < z->n; i++)
            sum += exp(tile_get(z, i, b));
        for (int32_t i = 0; i < z->n; i++) {
            double v = tile_get(z, i, b), t = targets[b * z->n + i];
            if (spec->kind == RW_LOSS_SOFTMAX_CE) {
                t = (1 - spec->smoothing) * t + spec->smoothing / z->n;
                l -= (spec->class_weight ? spec->class_weight[i] : 1) * t * log(exp(v) / sum);
            } else {
                l += naive_term(spec, v, t) / z->n;
            }
        }
        double of_class = labels && spec->class_weight ? spec->class_weight[labels[b]] : 1;
        total += (weight ? weight[b] : 1) * l;
        total_weight += (weight ? weight[b] : 1) * of_class;
    }
    return total_weight == 0 ? 0 : total / total_weight;
}

/* Of each loss: the value against the plain formula, and the gradient against differences. */
static void test_losses_and_gradients(void)
{
    for (int i = 0; i < N_LOSSES * 2 * 16; i++) {
        rw_loss kind = (rw_loss)(i % N_LOSSES);
        rw_dtype dtype = DTYPES[i / N_LOSSES % 2];
        int round = i / N_LOSSES / 2;
        int32_t n = round % 4 + 1, batch = LENGTHS[(i * 7) % N_LENGTHS], tile = 1 << (i % 8);
        rw_tiles *z = tiles_of(50, n, batch, tile, dtype), *dz = tiles_copy(z);
        double *targets = malloc((size_t)(n * batch) * sizeof *targets);
        double *weight = malloc((size_t)batch * sizeof *weight);
        int64_t *labels = malloc((size_t)batch * sizeof *labels);
        REQUIRE(targets && weight && labels);
        double classes[] = { 0.5, 2, 0, 1.25 };
        bool entropy = kind == RW_LOSS_SOFTMAX_CE, hinge = kind == RW_LOSS_SQUARED_HINGE;
        bool weighted = round % 2, labelled = (entropy || hinge) && round / 2 % 2;
        rw_loss_spec spec = { .kind = kind, .delta = 0.7 };
        if (entropy && round / 4 % 2)
            spec.smoothing = 0.1;
        if (entropy && round / 8 % 2)
            spec.class_weight = classes;
        for (int64_t b = 0; b < batch; b++) {
            weight[b] = b % 4 == 1 ? 0 : fabs(value(51, b, 0)) + 0.1;
            labels[b] = (int64_t)(hash(52, (uint64_t)b, 0) % (uint64_t)n);
            for (int32_t j = 0; j < n; j++)
                targets[b * n + j] = labelled ? labels[b] == j
                                     : hinge  ? value(53, b, j) > 0
                                              : fabs(value(53, b, j));
        }
        const rw_kernels *k = rw_kernels_named(dtype, NULL);
        const double *w = weighted ? weight : NULL, *t = labelled ? NULL : targets;
        const int64_t *l = labelled ? labels : NULL;
        double loss = NAN, alone = NAN;
        CHECK_STATUS(loss_on(k, &spec, z, l, t, w, dz, &loss, 1), RW_OK);
        CHECK_STATUS(loss_on(k, &spec, z, l, t, w, NULL, &alone, 1), RW_OK);
        CHECK(loss == alone);
        double expected = naive_loss(&spec, z, l, targets, w);
        CHECK(fabs(loss - expected) <= 8 * epsilon(dtype) * (1 + fabs(loss)));
        CHECK(padding_is_zero(dz));
        double h = dtype == RW_F32 ? 0x1p-9 : 0x1p-17; /* exact steps, central differences */
        for (int64_t b = 0; b < batch; b += 3)
            for (int32_t j = 0; j < n; j++) {
                double v = tile_get(z, j, b), target = targets[b * n + j];
                bool corner = (kind == RW_LOSS_HUBER && fabs(fabs(v - target) - 0.7) <= 2 * h) ||
                              (hinge && fabs(1 - (2 * target - 1) * v) <= 2 * h);
                put(dtype, z->data, place_in(z, j, b), v + h);
                double above = naive_loss(&spec, z, l, targets, w);
                put(dtype, z->data, place_in(z, j, b), v - h);
                double slope = (above - naive_loss(&spec, z, l, targets, w)) / (2 * h);
                put(dtype, z->data, place_in(z, j, b), v);
                CHECK(corner || fabs(tile_get(dz, j, b) - slope) <= (dtype == RW_F32 ? 2e-6 : 1e-9));
            }
        rw_tiles *soft = tiles_copy(z);
        softmax_on(k, soft, 1);
        CHECK(padding_is_zero(soft));
        for (int64_t b = 0; b < batch; b++) {
            double sum = 0;
            for (int32_t j = 0; j < n; j++)
                sum += exp(tile_get(z, j, b));
            for (int32_t j = 0; j < n; j++)
                CHECK(near(tile_get(soft, j, b), exp(tile_get(z, j, b)) / sum, dtype));
        }
        rw_tiles_free(soft);
        CHECK_STATUS(loss_on(k, &spec, z, l, t, w, z, &loss, 1), RW_OK);
        CHECK(tiles_same(z, dz)); /* in place */
        free(labels);
        free(weight);
        free(targets);
        rw_tiles_free(dz);
        rw_tiles_free(z);
    }
}

/* Many outputs: blocks, runs and odd ends. A sample's loss and gradient are the same bits for any
 * threads, tile, and instruction set, and alone in its batch. */
static void test_losses_have_one_order(void)
{
    enum { BATCH = 70, MOST = 1300 };
    static const int32_t WIDTHS[] = { 3, 512, 1300 };
    double *targets = malloc((size_t)MOST * BATCH * sizeof *targets);
    int64_t *labels = malloc(BATCH * sizeof *labels);
    REQUIRE(targets && labels);
    for (int i = 0; i < N_LOSSES * 2 * 3 * 2; i++) {
        rw_loss_spec spec = { .kind = (rw_loss)(i % N_LOSSES), .delta = 0.7 };
        rw_dtype dtype = DTYPES[i / N_LOSSES % 2];
        int32_t n = WIDTHS[i / N_LOSSES / 2 % 3];
        bool labelled = i / N_LOSSES / 6;
        if (labelled && spec.kind != RW_LOSS_SOFTMAX_CE)
            continue; /* the same once more */
        for (int64_t b = 0; b < BATCH; b++) {
            labels[b] = (int64_t)(hash(55, (uint64_t)b, 0) % (uint64_t)n);
            for (int32_t j = 0; j < n; j++)
                targets[b * n + j] = fabs(value(56, b, j)) > 0.5;
        }
        const int64_t *l = labelled ? labels : NULL;
        const double *t = labelled ? NULL : targets;
        rw_tiles *z = tiles_of(57, n, BATCH, rw_tile_size(BATCH, dtype), dtype);
        rw_tiles *dz = tiles_copy(z), *other = tiles_copy(z), *soft = tiles_copy(z);
        double first, again;
        const rw_kernels *best = rw_kernels_named(dtype, NULL);
        CHECK_STATUS(loss_on(best, &spec, z, l, t, NULL, dz, &first, 1), RW_OK);
        softmax_on(best, soft, 1);
        CHECK(padding_is_zero(dz) && padding_is_zero(soft));
        double expected = labelled ? first : naive_loss(&spec, z, NULL, targets, NULL);
        CHECK(fabs(first - expected) <= 64 * epsilon(dtype) * (1 + fabs(first)));
        int count;
        const rw_kernels *const *list = rw_kernels_list(dtype, &count);
        for (int s = 0; s < count; s++)
            for (int threads = 1; threads <= 8; threads *= 2) {
                CHECK_STATUS(loss_on(list[s], &spec, z, l, t, NULL, other, &again, threads), RW_OK);
                CHECK(first == again && tiles_same(dz, other));
                memcpy(other->data, z->data, z->bytes);
                softmax_on(list[s], other, threads);
                CHECK(tiles_same(soft, other));
            }
        for (int32_t tile = 1; tile <= 256; tile *= 4) { /* the last one is several strips wide */
            rw_tiles *to = tiles_of(57, n, BATCH, tile, dtype), *back = tiles_copy(to);
            CHECK_STATUS(loss_on(best, &spec, to, l, t, NULL, back, &again, 2), RW_OK);
            CHECK(first == again && samples_same(dz, back));
            rw_tiles_free(back);
            rw_tiles_free(to);
        }
        double parts = 0; /* the batch as its samples */
        for (int64_t b = 0; b < BATCH; b++) {
            rw_tiles *one = tiles_new(n, 1, 1, dtype);
            for (int32_t j = 0; j < n; j++)
                put(dtype, one->data, place_in(one, j, 0), tile_get(z, j, b));
            CHECK_STATUS(loss_on(best, &spec, one, l ? l + b : NULL, t ? t + b * n : NULL, NULL,
                                 NULL, &again, 1), RW_OK);
            parts += again;
            rw_tiles_free(one);
        }
        CHECK(parts / BATCH == first);
        rw_tiles_free(soft);
        rw_tiles_free(other);
        rw_tiles_free(dz);
        rw_tiles_free(z);
    }
    free(labels);
    free(targets);
}

/* Targets of any type, strides and order of rows, and the same as CSR rows: the same bits. */
static void test_targets_as_they_come(void)
{
    enum { N = 1100, BATCH = 70, ROWS = 90 };
    int64_t *rows = malloc(BATCH * sizeof *rows), *indptr = malloc((ROWS + 1) * sizeof *indptr);
    int64_t *labels = malloc(ROWS * sizeof *labels), *own = malloc(BATCH * sizeof *own);
    int32_t *columns = malloc((size_t)ROWS * N * sizeof *columns);
    double *dense = malloc((size_t)ROWS * N * sizeof *dense);
    double *gathered = malloc((size_t)BATCH * N * sizeof *gathered);
    float *single = malloc((size_t)ROWS * N * sizeof *single);
    float *entries = malloc((size_t)ROWS * N * sizeof *entries);
    uint8_t *across = malloc((size_t)ROWS * N);
    REQUIRE(rows && indptr && labels && own && columns && dense && gathered && single && entries);
    REQUIRE(across);
    indptr[0] = 0;
    for (int64_t r = 0; r < ROWS; r++) {
        int64_t e = indptr[r];
        labels[r] = (int64_t)(hash(60, (uint64_t)r, 0) % N);
        for (int32_t i = 0; i < N; i++) {
            /* Row 5 has no entry; entries at either end of a block. */
            bool one = r != 5 && (hash(61, (uint64_t)r, (uint64_t)i) % 97 == 0 || i % 512 == 511 || !i);
            dense[r * N + i] = one;
            single[r * N + i] = one;
            across[i * ROWS + r] = one; /* columns first */
            if (one) {
                entries[e] = 1;
                columns[e++] = i;
            }
        }
        indptr[r + 1] = e;
    }
    for (int64_t b = 0; b < BATCH; b++) {
        rows[b] = (b * 37 + 5) % ROWS;
        own[b] = labels[rows[b]];
        memcpy(gathered + b * N, dense + rows[b] * N, N * sizeof *dense);
    }
    for (int i = 0; i < N_LOSSES * 2; i++) {
        rw_loss_spec spec = { .kind = (rw_loss)(i % N_LOSSES), .delta = 0.7 };
        rw_dtype dtype = DTYPES[i / N_LOSSES];
        const rw_kernels *k = rw_kernels_named(dtype, NULL);
        rw_tiles *z = tiles_of(62, N, BATCH, rw_tile_size(BATCH, dtype), dtype);
        rw_tiles *dz = tiles_copy(z), *other = tiles_copy(z);
        double loss, again;
        CHECK_STATUS(loss_on(k, &spec, z, NULL, gathered, NULL, dz, &loss, 1), RW_OK);
        rw_targets as[] = {
            { .rows = rows, .values = (const char *)dense, .kind = RW_IN_F64,
              .row_stride = N * (ptrdiff_t)sizeof(double), .column_stride = sizeof(double) },
            { .rows = rows, .values = (const char *)single, .kind = RW_IN_F32,
              .row_stride = N * (ptrdiff_t)sizeof(float), .column_stride = sizeof(float) },
            { .rows = rows, .values = (const char *)across, .kind = RW_IN_BOOL, .row_stride = 1,
              .column_stride = ROWS },
            { .rows = rows, .indptr = indptr, .columns = columns, .n_entries = indptr[ROWS] },
            { .rows = rows, .indptr = indptr, .columns = columns, .n_entries = indptr[ROWS],
              .entries = (const char *)entries, .entry_dtype = RW_F32 },
        };
        for (int t = 0; t < 5; t++) {
            CHECK_STATUS(loss_with(k, &spec, z, &as[t], NULL, other, NULL, &again, 1 + t), RW_OK);
            CHECK(loss == again && tiles_same(dz, other));
        }
        if (spec.kind == RW_LOSS_SOFTMAX_CE || spec.kind == RW_LOSS_SQUARED_HINGE) {
            rw_targets numbered = { .rows = rows, .labels = labels };
            CHECK_STATUS(loss_on(k, &spec, z, own, NULL, NULL, dz, &loss, 1), RW_OK);
            CHECK_STATUS(loss_with(k, &spec, z, &numbered, NULL, other, NULL, &again, 1), RW_OK);
            CHECK(loss == again && tiles_same(dz, other));
        }
        rw_tiles_free(other);
        rw_tiles_free(dz);
        rw_tiles_free(z);
    }
    free(across);
    free(entries);
    free(single);
    free(gathered);
    free(dense);
    free(columns);
    free(own);
    free(labels);
    free(indptr);
    free(rows);
}

/* The first of the largest outputs is the class, in whichever block it lies; z may become dz. */
static void test_right_outputs(void)
{
    enum { N = 1300, BATCH = 70 };
    int64_t *labels = malloc(BATCH * sizeof *labels);
    REQUIRE(labels);
    for (int i = 0; i < 2 * 2 * 2; i++) {
        int32_t n = i % 2 ? N : 7;
        rw_dtype dtype = DTYPES[i / 2 % 2];
        rw_loss_spec spec = { .kind = RW_LOSS_SOFTMAX_CE, .smoothing = i / 4 ? 0.1 : 0 };
        rw_tiles *z = tiles_of(63, n, BATCH, rw_tile_size(BATCH, dtype), dtype);
        uint8_t right[BATCH], wanted[BATCH];
        double loss;
        for (int64_t b = 0; b < BATCH; b++) {
            /* Ties, within a block and beyond it, of which the label is the first or not. */
            int32_t first = (int32_t)(hash(64, (uint64_t)b, 0) % (uint64_t)n);
            int32_t other = (int32_t)(hash(65, (uint64_t)b, 0) % (uint64_t)n);
            put(dtype, z->data, place_in(z, first, b), 9);
            if (b % 3 == 0)
                put(dtype, z->data, place_in(z, other, b), 9);
            labels[b] = b % 4 == 0 ? other : first;
            int32_t best = 0;
            for (int32_t o = 1; o < n; o++)
                if (tile_get(z, o, b) > tile_get(z, best, b))
                    best = o;
            wanted[b] = labels[b] == best;
        }
        rw_targets t = { .labels = labels };
        memset(right, 7, sizeof right);
        CHECK_STATUS(loss_with(rw_kernels_named(dtype, NULL), &spec, z, &t, NULL, z, right, &loss, 3),
                     RW_OK);
        CHECK(memcmp(right, wanted, BATCH) == 0);
        rw_tiles_free(z);
    }
    free(labels);
}

/* A batch of classes that do not count teaches nothing. */
static void test_classes_without_weight(void)
{
    double classes[] = { 0, 1, 0 }, loss = 7;
    int64_t labels[] = { 0, 2, 0 };
    rw_loss_spec spec = { .kind = RW_LOSS_SOFTMAX_CE, .class_weight = classes };
    rw_tiles *z = tiles_of(66, 3, 3, 4, RW_F32), *dz = tiles_copy(z);
    const rw_kernels *k = rw_kernels_named(RW_F32, NULL);
    CHECK_STATUS(loss_on(k, &spec, z, labels, NULL, NULL, dz, &loss, 1), RW_OK);
    CHECK(loss == 0);
    for (int32_t i = 0; i < 9; i++)
        CHECK(tile_get(dz, i / 3, i % 3) == 0);
    labels[1] = 1;
    CHECK_STATUS(loss_on(k, &spec, z, labels, NULL, NULL, dz, &loss, 1), RW_OK);
    CHECK(loss > 0 && tile_get(dz, 1, 1) < 0 && tile_get(dz, 1, 0) == 0);
    rw_tiles_free(dz);
    rw_tiles_free(z);
}

/* exp and log1p over their whole range, through losses of one output that are nothing else. */
static void test_exp_and_log1p_to_their_bounds(void)
{
    enum { BATCH = 4096 };
    double *targets = calloc(BATCH, sizeof *targets);
    REQUIRE(targets);
    for (int d = 0; d < 2; d++) {
        rw_dtype dtype = DTYPES[d];
        double low = dtype == RW_F32 ? -86.6 : -707.6, high = dtype == RW_F32 ? 88.72 : 709.78;
        double worst_exp = 0, worst_log1p = 0;
        for (int32_t i = 0; i < BATCH; i++) {
            double x = i % 4 == 3 ? ldexp(value(58, i, 0), -(i % 60))
                                  : low + (high - low) * (i + 0.5) / BATCH, loss;
            rw_tiles *z = tiles_new(1, 1, 1, dtype), *dz = tiles_copy(z);
            put(dtype, z->data, 0, x);
            x = tile_get(z, 0, 0);
            CHECK_STATUS(loss_of(RW_LOSS_POISSON, z, NULL, targets, NULL, dz, &loss), RW_OK);
            double rate = exp(x);
            worst_exp = fmax(worst_exp, fabs(loss - rate) / rate);
            CHECK(fabs(tile_get(dz, 0, 0) - loss) <= epsilon(dtype) * loss);
            put(dtype, z->data, 0, -fabs(x));
            CHECK_STATUS(loss_of(RW_LOSS_SIGMOID_BCE, z, NULL, targets, NULL, dz, &loss), RW_OK);
            if (-fabs(x) >= low) {
                double e = exp(-fabs(x)), exact = log1p(e);
                worst_log1p = fmax(worst_log1p, fabs(loss - exact) / exact);
                CHECK(fabs(tile_get(dz, 0, 0) - e / (1 + e)) <= 4 * epsilon(dtype) * e);
            }
            rw_tiles_free(dz);
            rw_tiles_free(z);
        }
        CHECK(worst_exp <= 2 * epsilon(dtype));
        CHECK(worst_log1p <= 4 * epsilon(dtype));
        double ends[] = { low - 1, -1e30, -(double)INFINITY, high + 1, 1e30, (double)INFINITY };
        for (int i = 0; i < 6; i++) {
            rw_tiles *z = tiles_new(1, 1, 1, dtype);
            double loss, none = 0;
            put(dtype, z->data, 0, ends[i]);
            CHECK_STATUS(loss_of(RW_LOSS_SIGMOID_BCE, z, NULL, &none, NULL, NULL, &loss), RW_OK);
            CHECK(ends[i] > 0 ? loss == (dtype == RW_F32 ? (double)(float)ends[i] : ends[i])
                              : !isfinite(ends[i]) || loss <= 1e-37);
            rw_tiles_free(z);
        }
    }
    free(targets);
}

static void test_losses_stay_finite(void)
{
    double huge[] = { 1e4, -1e4, 88.8, -745.0, 0.0 }, targets[] = { 1, 0, 0, 0, 0 }, loss;
    for (int d = 0; d < 2; d++) {
        rw_tiles *z = tiles_new(5, 1, 1, DTYPES[d]), *dz = tiles_copy(z);
        for (int32_t i = 0; i < 5; i++)
            put(DTYPES[d], z->data, i, huge[i]);
        for (int64_t label = 0; label < 5; label++) {
            CHECK_STATUS(loss_of(RW_LOSS_SOFTMAX_CE, z, &label, NULL, NULL, dz, &loss), RW_OK);
            CHECK(fabs(loss - (huge[0] - tile_get(z, (int32_t)label, 0))) < 1e-9);
            CHECK(fabs(tile_get(dz, 0, 0) - (label == 0 ? 0 : 1)) < 1e-9);
        }
        CHECK_STATUS(loss_of(RW_LOSS_SIGMOID_BCE, z, NULL, targets, NULL, dz, &loss), RW_OK);
        CHECK(isfinite(loss) && fabs(loss - (tile_get(z, 2, 0) + log(2.0)) / 5) < 1e-9);
        for (int32_t i = 0; i < 5; i++)
            CHECK(isfinite(tile_get(dz, i, 0)));
        softmax_on(rw_kernels_named(z->dtype, NULL), z, 1);
        CHECK(tile_get(z, 0, 0) == 1 && tile_get(z, 1, 0) == 0);
        put(DTYPES[d], z->data, 1, -(double)INFINITY); /* a class that cannot be */
        CHECK_STATUS(loss_of(RW_LOSS_SOFTMAX_CE, z, NULL, targets, NULL, dz, &loss), RW_OK);
        CHECK(isfinite(loss) && tile_get(dz, 1, 0) == 0);
        put(DTYPES[d], z->data, 1, (double)NAN);
        CHECK_STATUS(loss_of(RW_LOSS_SOFTMAX_CE, z, NULL, targets, NULL, dz, &loss), RW_OK);
        CHECK(isnan(loss));
        rw_tiles_free(dz);
        rw_tiles_free(z);
    }
}

/* A sample of weight 0 adds nothing to the loss and has no gradient, even where it is NaN. */
static void test_samples_without_weight(void)
{
    double targets[] = { 0.25, 0.75, (double)NAN, 1 }, weight[] = { 2, 0 }, loss;
    for (int i = 0; i < 2 * N_LOSSES; i++) {
        rw_tiles *z = tiles_of(51, 2, 2, 2, DTYPES[i % 2]), *dz = tiles_copy(z);
        put(DTYPES[i % 2], z->data, 3, (double)NAN); /* feature 1 of sample 1 */
        CHECK_STATUS(loss_of((rw_loss)(i / 2), z, NULL, targets, weight, dz, &loss), RW_OK);
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
    CHECK_STATUS(loss_of(RW_LOSS_SOFTMAX_CE, z, labels, NULL, NULL, dz, &loss), RW_ERANGE);
    labels[3] = -1;
    CHECK_STATUS(loss_of(RW_LOSS_SOFTMAX_CE, z, labels, NULL, NULL, dz, &loss), RW_ERANGE);
    labels[3] = 0;
    CHECK_STATUS(loss_of(RW_LOSS_SOFTMAX_CE, z, labels, targets, NULL, dz, &loss), RW_ESHAPE);
    CHECK_STATUS(loss_of(RW_LOSS_SOFTMAX_CE, z, NULL, NULL, NULL, dz, &loss), RW_ESHAPE);
    CHECK_STATUS(loss_of(RW_LOSS_MSE, z, labels, NULL, NULL, dz, &loss), RW_ESHAPE);
    CHECK_STATUS(loss_of(RW_LOSS_MSE, z, NULL, targets, NULL, other, &loss), RW_ESHAPE);
    CHECK_STATUS(loss_of(RW_LOSS_MSE, z, NULL, targets, nothing, dz, &loss), RW_ERANGE);
    CHECK(loss == 7 && tiles_same(z, dz));
    rw_tiles_free(other);
    rw_tiles_free(dz);
    rw_tiles_free(z);
}

#endif
