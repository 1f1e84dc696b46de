/* setup.h -- what the chapters of test_kernels.c share: checks, stores, tiles.
 *
 * Values are hashes of what they belong to -- (row, source), (feature, sample) --
 * so that the same network can be cut into other tiles, batches and groups and
 * must give the same bits. */
#ifndef RW_TEST_SETUP_H
#define RW_TEST_SETUP_H

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../check.h"
#include "base/mem.h"
#include "store/csr.h"
#include "store/mirror.h"
#include "store/store.h"
#include "ops/adam.h"
#include "ops/fields.h"
#include "ops/moments.h"
#include "ops/target_units.h"
#include "ops/rescale.h"
#include "ops/gradient.h"
#include "ops/layer.h"
#include "ops/norm.h"
#include "ops/sides.h"
#include "ops/srelu.h"
#include "ops/winners.h"
#include "ops/switches.h"
#include "ops/wht.h"
#include "ops/loss.h"
#include "ops/r2.h"

static void run_test(const char *name, void (*test)(void))
{
    if (test_filter && !strstr(name, test_filter))
        return;
    int before = checks_failed;
    int64_t blocks = rw_mem_live;
    test();
    if (rw_mem_live != blocks) {
        checks_failed++;
        printf("%s: %lld blocks leaked\n", name, (long long)(rw_mem_live - blocks));
    }
    if (checks_failed == before) {
        tests_passed++;
        printf("ok      %s\n", name);
    } else {
        tests_failed++;
        printf("FAILED  %s\n", name);
    }
    fflush(stdout);
}
#define RUN(test) run_test(#test, test)

static const rw_run ALONE = { 1, NULL, NULL };
static const rw_dtype DTYPES[] = { RW_F32, RW_F64 };
static const int32_t GROUPS[] = { 1, 2, 4, 8 };

/* Sanitizers are slow. They get every third number of threads, from one on; every second pair of
 * two sizes, in such a way that each of both occurs; and of calls that may be stopped only those
 * that are, for the others do what other tests do. */
#ifdef __SANITIZE_ADDRESS__
enum { NEXT_THREADS = 3, NEXT_PAIR = 2, PATIENCES = 1 };
#else
enum { NEXT_THREADS = 1, NEXT_PAIR = 1, PATIENCES = 2 };
#endif
static const int PATIENCE[] = { 0, 99 };

/* Around the lanes, the registers in flight and the tiles. */
static const int32_t LENGTHS[] = { 1,  2,  3,  5,  7,  8,  9,  15, 16,  17,
                                   31, 32, 33, 63, 64, 65, 100, 128, 130 };
enum { N_LENGTHS = (int)(sizeof LENGTHS / sizeof *LENGTHS), LONGEST = 130 };

/* The table of a precision with number *i or the next one, but for those that differ from it in bfloat16
 * alone, which bf16.h has; NULL behind the last. */
static const rw_kernels *kernels_from(rw_dtype dtype, int *i)
{
    int n;
    const rw_kernels *const *list = rw_kernels_list(dtype, &n);
    while (*i < n && list[*i]->bf16)
        ++*i;
    return *i < n ? list[*i] : NULL;
}

/* For every table of both precisions that runs here. */
#define FOR_EACH_KERNELS(k)                                                             \
    for (int d_ = 0, i_ = 0; d_ < 2; d_++, i_ = 0)                                       \
        for (const rw_kernels *k; (k = kernels_from(DTYPES[d_], &i_)) != NULL; i_++)

/* --- values ----------------------------------------------------------------- */

static uint64_t hash(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t z = a * 0x9E3779B97F4A7C15u + b * 0xD1342543DE82EF95u + c * 0xA0761D6478BD642Fu + 1;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* In [-1, 1), exact in float32, named by what it is for. */
static double value(uint64_t purpose, int64_t a, int64_t b)
{
    return (double)(hash(purpose, (uint64_t)a, (uint64_t)b) >> 41) * 0x1p-22 - 1.0;
}

static double get(rw_dtype dtype, const void *array, int64_t i)
{
    return dtype == RW_F32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

static void put(rw_dtype dtype, void *array, int64_t i, double v)
{
    if (dtype == RW_F32)
        ((float *)array)[i] = (float)v;
    else
        ((double *)array)[i] = v;
}

static double epsilon(rw_dtype dtype)
{
    return dtype == RW_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
}

/* --- tiles ------------------------------------------------------------------ */

static int64_t place_in(const rw_tiles *t, int32_t i, int64_t b)
{
    return ((b / t->tile) * t->rows + i) * t->tile + b % t->tile;
}

static double tile_get(const rw_tiles *t, int32_t i, int64_t b)
{
    return get(t->dtype, t->data, place_in(t, i, b));
}

static rw_tiles *tiles_new(int32_t n, int64_t batch, int32_t tile, rw_dtype dtype)
{
    rw_tiles *t = rw_tiles_new(n, batch, tile, dtype);
    REQUIRE(t);
    return t;
}

static rw_tiles *tiles_of(uint64_t purpose, int32_t n, int64_t batch, int32_t tile, rw_dtype dtype)
{
    rw_tiles *t = tiles_new(n, batch, tile, dtype);
    for (int32_t i = 0; i < n; i++)
        for (int64_t b = 0; b < batch; b++)
            put(dtype, t->data, place_in(t, i, b), value(purpose, i, b));
    return t;
}

static rw_tiles *tiles_copy(const rw_tiles *t)
{
    rw_tiles *copy = tiles_new(t->n, t->batch, t->tile, t->dtype);
    memcpy(copy->data, t->data, t->bytes);
    return copy;
}

static bool tiles_same(const rw_tiles *a, const rw_tiles *b)
{
    return a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

/* The invariant of tiles.h, and no -0 either. */
static bool padding_is_zero(const rw_tiles *t)
{
    for (int64_t b = 0; b < t->n_tiles * t->tile; b++)
        for (int32_t i = 0; i < t->rows; i++)
            if ((i >= t->n || b >= t->batch) &&
                (tile_get(t, i, b) != 0 || signbit(tile_get(t, i, b))))
                return false;
    return true;
}

/* Are the samples both have the same bits, whatever the tiles are? */
static bool samples_same(const rw_tiles *a, const rw_tiles *b)
{
    size_t size = rw_dtype_size(a->dtype);
    for (int32_t i = 0; i < a->n; i++)
        for (int64_t s = 0; s < rw_min64(a->batch, b->batch); s++)
            if (memcmp(a->data + (size_t)place_in(a, i, s) * size,
                       b->data + (size_t)place_in(b, i, s) * size, size) != 0)
                return false;
    return true;
}

/* --- stores ------------------------------------------------------------------ */

/* Rows come in families of `family`, which listen to the same sources: family f
 * to LENGTHS[f mod N_LENGTHS] of them, scaled to n_in. So the same network can be
 * stored with group = family and with group = 1. */
static rw_store *store_of(int32_t n_out, int32_t n_in, int32_t family, int32_t group,
                          rw_dtype dtype)
{
    rw_store *s = rw_store_new(n_out, n_in, group, dtype);
    REQUIRE(s);
    int64_t *indptr = malloc(((size_t)s->n_groups + 1) * sizeof *indptr), n = 0;
    int32_t *sources = malloc((size_t)s->n_groups * (size_t)n_in * sizeof *sources);
    void *weights = malloc((size_t)s->n_groups * (size_t)n_in * (size_t)group * sizeof(double));
    REQUIRE(indptr && sources && weights);
    indptr[0] = 0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        int32_t f = g * group / family;
        int64_t most = (int64_t)LENGTHS[f % N_LENGTHS] * n_in / LONGEST;
        for (int32_t j = 0; j < n_in; j++) {
            if (((int64_t)j * 7 + f * 3) % n_in >= most)
                continue;
            for (int32_t r = 0; r < group; r++) {
                int32_t row = g * group + r;
                put(dtype, weights, n * group + r, row < n_out ? value(1, row, j) : 0);
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

static double weight_at(const rw_store *s, int32_t field, int32_t row, int32_t position)
{
    int32_t g = row / s->group;
    return get(s->field[field].dtype, s->field[field].data,
               (s->start[g] + position) * s->group + row % s->group);
}

/* Two stores with the same rows, whatever their groups: same bits in a field? */
static bool fields_same(const rw_store *a, const rw_store *b, int32_t field)
{
    for (int32_t row = 0; row < a->n_out; row++)
        for (int32_t k = 0; k < a->len[row / a->group]; k++) {
            double x = weight_at(a, field, row, k), y = weight_at(b, field, row, k);
            if (memcmp(&x, &y, sizeof x) != 0)
                return false;
        }
    return true;
}

static rw_store *clone_of(const rw_store *s)
{
    rw_store *copy = rw_store_clone(s);
    REQUIRE(copy);
    return copy;
}

static int32_t add_field(rw_store *s, const char *name)
{
    REQUIRE(rw_store_add_field(s, name, s->field[0].dtype, s->group, 0.0) == RW_OK);
    return rw_store_field(s, name);
}

/* Bias, padded as layer.h wants it. */
static void *bias_of(int32_t n, rw_dtype dtype)
{
    void *bias = rw_calloc((size_t)(n + RW_ROW_PAD) * sizeof(double));
    REQUIRE(bias);
    for (int32_t i = 0; i < n; i++)
        put(dtype, bias, i, value(2, i, 0));
    return bias;
}

static void bias_free(void *bias, int32_t n)
{
    rw_free(bias, (size_t)(n + RW_ROW_PAD) * sizeof(double));
}

#endif
