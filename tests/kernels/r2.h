/* r2.h -- the sums of R2: their order, and their bounds. */
#ifndef RW_TEST_R2_H
#define RW_TEST_R2_H

#include "losses.h"

static rw_status r2_on(const rw_kernels *k, const rw_tiles *z, const rw_targets *t,
                       const double *weight, double *sums, double *total, int threads)
{
    size_t bytes = rw_r2_scratch(z) * sizeof(double);
    double *scratch = rw_alloc(bytes);
    REQUIRE(scratch);
    rw_status st = rw_r2(k, z, t, weight, scratch, sums, total, threads);
    rw_free(scratch, bytes);
    return st;
}

/* Against long double, to the bounds of r2.h: targets far from 0, others as outputs are, weights
 * of 0 whose samples hold no numbers. */
static void test_r2_to_its_bounds(void)
{
    static const int32_t BATCHES[] = { 1, 2, 7, 8, 33, 64, 70, 511, 1100 };
    for (int i = 0; i < 2 * 2 * 2 * 9; i++) {
        rw_dtype dtype = DTYPES[i % 2];
        bool weighted = i / 2 % 2, far = i / 4 % 2;
        int32_t batch = BATCHES[i / 8], n = i / 8 % 3 ? 5 : 37;
        rw_tiles *z = tiles_of(70, n, batch, rw_tile_size(batch, dtype), dtype);
        double *t = malloc((size_t)n * (size_t)batch * sizeof *t);
        double *w = malloc((size_t)batch * sizeof *w), *sums = malloc((size_t)n * 6 * sizeof *sums);
        REQUIRE(t && w && sums);
        for (int64_t b = 0; b < batch; b++) {
            w[b] = b % 5 == 3 || (b >= 64 && b < 128) ? 0 : fabs(value(71, b, 0)) + 0.01;
            for (int32_t j = 0; j < n; j++) {
                t[b * n + j] = value(72, b, j) + (far ? 1e6 + j : 0);
                if (weighted && w[b] == 0) {
                    t[b * n + j] = j % 2 ? (double)NAN : 1e9;
                    put(dtype, z->data, place_in(z, j, b), j % 3 ? (double)NAN : -1e9);
                }
            }
        }
        rw_targets targets = dense_targets(z, NULL, t);
        double total;
        CHECK_STATUS(r2_on(rw_kernels_named(dtype, NULL), z, &targets, weighted ? w : NULL, sums,
                           &total, 2), RW_OK);
        long double c = (long double)(batch / RW_SPAN + 40) * 0x1p-53L;
        for (int32_t j = 0; j < n; j++) {
            long double all = 0, error = 0, mean = 0, apart = 0;
            double low = INFINITY, high = -(double)INFINITY, most = 0, largest = 0;
            for (int64_t b = 0; b < batch; b++) {
                long double of = weighted ? w[b] : 1, v = t[b * n + j];
                if (of == 0)
                    continue;
                all += of;
                mean += of * v;
                error += of * (v - tile_get(z, j, b)) * (v - tile_get(z, j, b));
                low = fmin(low, (double)v);
                high = fmax(high, (double)v);
                most = fmax(most, fabs((double)v));
                largest = fmax(largest, fmax(most, fabs(tile_get(z, j, b))));
            }
            mean /= all;
            for (int64_t b = 0; b < batch; b++)
                if (!weighted || w[b] != 0)
                    apart += (weighted ? w[b] : 1) * (t[b * n + j] - mean) * (t[b * n + j] - mean);
            CHECK(fabsl(total - all) <= c * all);
            CHECK(fabsl(sums[RW_R2_ERROR * n + j] - error) <= c * error);
            CHECK(fabsl(sums[RW_R2_MEAN * n + j] - mean) <= c * most);
            CHECK(fabsl(sums[RW_R2_DEVIATIONS * n + j] - apart) <=
                  c * apart + 2 * c * most * sqrtl(all * apart) + all * (c * most) * (c * most));
            CHECK(sums[RW_R2_LOW * n + j] == low && sums[RW_R2_HIGH * n + j] == high);
            CHECK(sums[RW_R2_LARGEST * n + j] == largest);
        }
        free(sums);
        free(w);
        free(t);
        rw_tiles_free(z);
    }
}

/* The same bits for any threads and instruction set, and from CSR rows. */
static void test_r2_has_one_order(void)
{
    enum { BATCH = 1100, MOST = 300 };
    static const int32_t WIDTHS[] = { 1, 33, 300 };
    double *t = calloc((size_t)BATCH * MOST, sizeof *t), *w = malloc(BATCH * sizeof *w);
    int64_t *indptr = malloc((BATCH + 1) * sizeof *indptr);
    int32_t *columns = malloc((size_t)BATCH * MOST * sizeof *columns);
    double *entries = malloc((size_t)BATCH * MOST * sizeof *entries);
    double *first = malloc(6 * MOST * sizeof *first), *again = malloc(6 * MOST * sizeof *again);
    REQUIRE(t && w && indptr && columns && entries && first && again);
    for (int i = 0; i < 2 * 3 * 2; i++) {
        rw_dtype dtype = DTYPES[i % 2];
        int32_t n = WIDTHS[i / 2 % 3];
        size_t bytes = (size_t)n * 6 * sizeof *first;
        double *weight = i / 6 ? w : NULL, total, other;
        indptr[0] = 0;
        for (int64_t b = 0; b < BATCH; b++) {
            w[b] = b % 7 ? fabs(value(73, b, 0)) : 0;
            indptr[b + 1] = indptr[b];
            for (int32_t j = 0; j < n; j++) {
                t[b * n + j] = hash(74, (uint64_t)b, (uint64_t)j) % 5 ? 0 : value(75, b, j);
                if (t[b * n + j] == 0)
                    continue;
                columns[indptr[b + 1]] = j;
                entries[indptr[b + 1]++] = t[b * n + j];
            }
        }
        rw_tiles *z = tiles_of(76, n, BATCH, rw_tile_size(BATCH, dtype), dtype);
        rw_targets dense = dense_targets(z, NULL, t);
        rw_targets sparse = { .indptr = indptr, .columns = columns, .n_entries = indptr[BATCH],
                              .entries = (const char *)entries, .entry_dtype = RW_F64 };
        const rw_kernels *best = rw_kernels_named(dtype, NULL);
        CHECK_STATUS(r2_on(best, z, &dense, weight, first, &total, 1), RW_OK);
        int count;
        const rw_kernels *const *list = rw_kernels_list(dtype, &count);
        for (int s = 0; s < count; s++)
            for (int threads = 1; threads <= 8; threads *= 2) {
                CHECK_STATUS(r2_on(list[s], z, threads == 4 ? &sparse : &dense, weight, again, &other,
                                   threads), RW_OK);
                CHECK(total == other && memcmp(first, again, bytes) == 0);
            }
        rw_tiles_free(z);
    }
    free(again);
    free(first);
    free(entries);
    free(columns);
    free(indptr);
    free(w);
    free(t);
}

/* Strips of tiles that are wider than they are: the bits are those of tiles of one strip. */
static void test_r2_of_wide_tiles(void)
{
    enum { N = 5, BATCH = 700 };
    double *t = malloc((size_t)N * BATCH * sizeof *t), first[6 * N], again[6 * N], total, other;
    REQUIRE(t);
    for (int64_t i = 0; i < N * BATCH; i++)
        t[i] = value(79, i, 0);
    rw_tiles *z = tiles_of(80, N, BATCH, 64, RW_F32), *wide = tiles_of(80, N, BATCH, 256, RW_F32);
    rw_targets targets = dense_targets(z, NULL, t);
    const rw_kernels *k = rw_kernels_named(RW_F32, NULL);
    CHECK_STATUS(r2_on(k, z, &targets, NULL, first, &total, 1), RW_OK);
    CHECK_STATUS(r2_on(k, wide, &targets, NULL, again, &other, 1), RW_OK);
    CHECK(total == other && memcmp(first, again, sizeof first) == 0);
    rw_tiles_free(wide);
    rw_tiles_free(z);
    free(t);
}

static void test_r2_arguments(void)
{
    rw_tiles *z = tiles_of(77, 2, 3, 4, RW_F32);
    double t[6] = { 1, 2, 3, 4, 5, 5e-324 }, none[3] = { 0 }, sums[12] = { 7 }, total = 7;
    int64_t labels[3] = { 0 };
    const rw_kernels *k = rw_kernels_named(RW_F32, NULL);
    rw_targets targets = dense_targets(z, NULL, t), of_labels = { .labels = labels }, nothing = { 0 };
    CHECK_STATUS(r2_on(k, z, &of_labels, NULL, sums, &total, 1), RW_ESHAPE);
    CHECK_STATUS(r2_on(k, z, &nothing, NULL, sums, &total, 1), RW_ESHAPE);
    CHECK_STATUS(r2_on(rw_kernels_named(RW_F64, NULL), z, &targets, NULL, sums, &total, 1), RW_ESHAPE);
    CHECK(total == 7);
    CHECK_STATUS(r2_on(k, z, &targets, none, sums, &total, 1), RW_OK);
    CHECK(total == 0 && sums[0] == 7);
    CHECK_STATUS(r2_on(k, z, &targets, NULL, sums, &total, 1), RW_OK);
    CHECK(total == 3 && sums[RW_R2_LOW * 2 + 1] == 5e-324); /* no task that takes it for 0 */
    rw_tiles_free(z);
}

/* One infinity or NaN among many numbers, wherever it stands. */
static void test_tiles_finite(void)
{
    for (int i = 0; i < 2 * 3; i++) {
        rw_dtype dtype = DTYPES[i % 2];
        double strange[] = { INFINITY, -(double)INFINITY, NAN };
        rw_tiles *z = tiles_of(78, 300, 1000, rw_tile_size(1000, dtype), dtype);
        for (int64_t b = 0; b < 1000; b += 333)
            for (int32_t j = 0; j < 300; j += 299) {
                double was = tile_get(z, j, b);
                CHECK(rw_tiles_finite(z, 4));
                put(dtype, z->data, place_in(z, j, b), strange[i / 2]);
                CHECK(!rw_tiles_finite(z, 1) && !rw_tiles_finite(z, 4));
                put(dtype, z->data, place_in(z, j, b), dtype == RW_F32 ? (double)FLT_MAX : DBL_MAX);
                CHECK(rw_tiles_finite(z, 2));
                put(dtype, z->data, place_in(z, j, b), was);
            }
        rw_tiles_free(z);
    }
}

#endif
