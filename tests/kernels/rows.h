/* rows.h -- a layer on users' arrays gives what it gives on tiles. */
#ifndef RW_TEST_ROWS_H
#define RW_TEST_ROWS_H

#include "arrays.h"
#include "ops/rows.h"

/* An array of some layout, in the middle of memory that nobody else may write. */
typedef struct {
    char *memory, *first;
    size_t bytes;
    ptrdiff_t row, column;
    int64_t m, n;
    rw_dtype dtype;
} array2;

enum { LAYOUTS = 5 };

static array2 array_new(int64_t m, int64_t n, rw_dtype dtype, int layout)
{
    ptrdiff_t size = (ptrdiff_t)rw_dtype_size(dtype), rows = (ptrdiff_t)m, columns = (ptrdiff_t)n;
    array2 a = { .m = m, .n = n, .dtype = dtype, .row = columns * size, .column = size };
    a.bytes = (size_t)(4 * rows * columns * size + 64);
    a.memory = malloc(a.bytes);
    REQUIRE(a.memory);
    memset(a.memory, 0x5a, a.bytes);
    a.first = a.memory;
    if (layout == 1) { /* Fortran order */
        a.row = size;
        a.column = rows * size;
    } else if (layout == 2) { /* gaps both ways */
        a.row = 4 * columns * size;
        a.column = 2 * size;
    } else if (layout == 3) { /* unaligned */
        a.first++;
        a.row++;
    } else if (layout == 4) { /* backwards */
        a.first += (rows * columns - 1) * size;
        a.row = -a.row;
        a.column = -a.column;
    }
    return a;
}

static void array_free(array2 *a) { free(a->memory); }

static double array_get(const array2 *a, int64_t b, int64_t i)
{
    double v[1];
    memcpy(v, a->first + b * a->row + i * a->column, rw_dtype_size(a->dtype));
    return get(a->dtype, v, 0);
}

static void array_fill(const array2 *a, uint64_t purpose)
{
    for (int64_t b = 0; b < a->m; b++)
        for (int64_t i = 0; i < a->n; i++) {
            double v[1];
            put(a->dtype, v, 0, value(purpose, i, b));
            memcpy(a->first + b * a->row + i * a->column, v, rw_dtype_size(a->dtype));
        }
}

static bool array_is(const array2 *a, const rw_tiles *t)
{
    for (int64_t b = 0; b < a->m; b++)
        for (int32_t i = 0; i < a->n; i++) {
            double x = array_get(a, b, i), y = tile_get(t, i, b);
            if (memcmp(&x, &y, sizeof x) != 0)
                return false;
        }
    return true;
}

/* Bytes that are no longer as they were made: at most those of the values. */
static bool array_alone(const array2 *a)
{
    size_t touched = 0;
    for (size_t i = 0; i < a->bytes; i++)
        touched += a->memory[i] != 0x5a;
    return touched <= (size_t)(a->m * a->n) * rw_dtype_size(a->dtype);
}

static rw_user_rows rows_in(const array2 *a)
{
    rw_input kind = a->dtype == RW_F32 ? RW_IN_F32 : RW_IN_F64;
    return (rw_user_rows){ kind, a->first, a->row, a->column, NULL, NULL, NULL };
}

static void rows_are_tiles(const rw_kernels *k, int32_t group, int64_t batch, int layout,
                           int threads)
{
    int32_t n_in = 45, n_out = 21, tile = rw_tile_size(batch, k->dtype);
    size_t size = rw_dtype_size(k->dtype);
    rw_store *s = store_of(n_out, n_in, 4, group, k->dtype);
    rw_run run = { threads, NULL, NULL };
    rw_tiles *x = tiles_of(3, n_in, batch, tile, k->dtype), *dx = tiles_new(n_in, batch, tile, k->dtype);
    rw_tiles *g = tiles_of(4, n_out, batch, tile, k->dtype), *y = tiles_new(n_out, batch, tile, k->dtype);
    array2 in = array_new(batch, n_in, k->dtype, layout), back = array_new(batch, n_in, k->dtype, layout);
    array2 out = array_new(batch, n_out, k->dtype, (layout + 1) % LAYOUTS);
    array2 grad = array_new(batch, n_out, k->dtype, (layout + 2) % LAYOUTS);
    array_fill(&in, 3);
    array_fill(&grad, 4);
    void *bias = bias_of(n_out, k->dtype);
    char *loose = malloc((size_t)n_out * size + 1); /* at any address */
    int64_t *before = malloc(((size_t)s->n_groups + 1) * sizeof *before);
    size_t values = (size_t)s->slots * (size_t)group * size + 8;
    char *dw = malloc(values), *dw_model = malloc(values);
    double db[21], db_model[24];
    size_t bytes = rw_rows_forward_scratch(s, batch, threads);
    void *scratch = rw_alloc(bytes);
    REQUIRE(loose && before && dw && dw_model && scratch);
    memcpy(loose + 1, bias, (size_t)n_out * size);
    rw_user_rows xs = rows_in(&in), gs = rows_in(&grad);
    rw_user_out ys = { out.first, out.row, out.column }, dxs = { back.first, back.row, back.column };
    CHECK(rw_out_is_plain(&ys, batch, n_out, size) && rw_out_is_plain(&dxs, batch, n_in, size));

    for (int biased = 0; biased < 2; biased++) {
        memset(scratch, 0xff, bytes); /* nothing is read there that was not written: those are NaN */
        CHECK_STATUS(rw_forward(k, s, x, biased ? bias : NULL, RW_ACT_LINEAR, 0, y, NULL, &run), RW_OK);
        CHECK_STATUS(rw_rows_forward(k, s, &xs, batch, biased ? loose + 1 : NULL, &ys, scratch, bytes,
                                     &run), RW_OK);
        CHECK(array_is(&out, y) && array_alone(&out));
    }
    CHECK_STATUS(rw_rows_forward(k, s, &xs, batch, NULL, &ys, scratch, bytes - 64, &run), RW_ESHAPE);
    rw_free(scratch, bytes);

    bytes = rw_rows_backward_scratch(s, batch);
    scratch = rw_alloc(bytes);
    REQUIRE(scratch);
    memset(scratch, 0xff, bytes);
    rw_csr_indptr(s, before);
    CHECK_STATUS(rw_packed_gradients(k, s, x, g, before, dw_model, &run), RW_OK);
    CHECK_STATUS(rw_bias_gradient(k, g, db_model, false, &run), RW_OK);
    CHECK_STATUS(rw_backward_input(k, s, g, dx, &run), RW_OK);
    CHECK_STATUS(rw_rows_backward(k, s, &xs, &gs, batch, &dxs, dw, db, scratch, bytes, &run), RW_OK);
    CHECK(array_is(&back, dx) && array_alone(&back));
    CHECK(memcmp(dw, dw_model, values - 8) == 0);
    CHECK(memcmp(db, db_model, (size_t)n_out * size) == 0);
    memset(dw, 0, values);
    CHECK_STATUS(rw_rows_backward(k, s, &xs, &gs, batch, NULL, dw, NULL, scratch, bytes, &run), RW_OK);
    CHECK(memcmp(dw, dw_model, values - 8) == 0);
    memset(back.memory, 0x5a, back.bytes);
    CHECK_STATUS(rw_rows_backward(k, s, NULL, &gs, batch, &dxs, NULL, NULL, scratch, bytes, &run), RW_OK);
    CHECK(array_is(&back, dx));
    CHECK_STATUS(rw_rows_backward(k, s, &xs, &gs, batch, &dxs, dw, db, scratch, bytes - 64, &run),
                 RW_ESHAPE);
    rw_free(scratch, bytes);

    free(dw_model);
    free(dw);
    free(before);
    free(loose);
    bias_free(bias, n_out);
    array_free(&grad);
    array_free(&out);
    array_free(&back);
    array_free(&in);
    rw_tiles_free(y);
    rw_tiles_free(g);
    rw_tiles_free(dx);
    rw_tiles_free(x);
    rw_store_free(s);
}

static void test_a_layer_on_users_arrays(void)
{
    static const int64_t BATCHES[] = { 1, 2, 7, 64, 65, 200, 1500 };
    int round = 0;
    FOR_EACH_KERNELS(k)
        for (int g = 0; g < 4; g++)
            for (int b = 0; b < 7; b++, round++)
                rows_are_tiles(k, GROUPS[g], BATCHES[b], round % LAYOUTS, 1 + round % 3);
}

static void test_arrays_that_overlap_themselves(void)
{
    const struct { ptrdiff_t row, column; int64_t m, n; bool plain; } cases[] = {
        { 40, 4, 7, 10, true },   { 39, 4, 7, 10, false },  { -40, -4, 7, 10, true },
        { 4, 28, 7, 10, true },   { 4, 27, 7, 10, false },  { 0, 4, 1, 10, true },
        { 0, 4, 2, 10, false },   { 4, 0, 7, 1, true },     { 4, 0, 7, 2, false },
        { 0, 0, 1, 1, true },     { 3, 99, 7, 10, false },  { 4, 3, 1, 10, false },
        { PTRDIFF_MIN, 4, 2, 10, true }, { PTRDIFF_MAX, PTRDIFF_MAX, 3, 3, false },
        { 8, 4, INT64_MAX, INT64_MAX, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rw_user_out out = { NULL, cases[i].row, cases[i].column };
        CHECK(rw_out_is_plain(&out, cases[i].m, cases[i].n, 4) == cases[i].plain);
    }
}

static int stop_at_once(void *arg)
{
    (*(int *)arg)++;
    return 1;
}

/* Scratch that no machine has, other dtypes, and a caller who wants to stop. */
static void test_passes_over_arrays_refuse(void)
{
    rw_store *s = store_of(RW_MAX_WIDTH / 4096, 8, 1, 1, RW_F32);
    CHECK(rw_rows_forward_scratch(s, INT64_MAX / 2, 1) != 0); /* a few tiles at a time */
    CHECK(rw_rows_backward_scratch(s, INT64_MAX / 2) == 0);
    int64_t batch = 20000;
    float *x = calloc(8 * (size_t)batch, sizeof *x), *y = NULL;
    size_t bytes = rw_rows_forward_scratch(s, batch, 1);
    void *scratch = rw_alloc(bytes);
    y = calloc((size_t)s->n_out, sizeof *y);
    REQUIRE(x && y && scratch);
    int asked = 0;
    rw_run run = { 1, stop_at_once, &asked };
    rw_user_rows in = { RW_IN_F32, (const char *)x, 8 * 4, 4, NULL, NULL, NULL };
    rw_user_out out = { (char *)y, 0, 4 }; /* every sample over the one before: nobody looks */
    CHECK_STATUS(rw_rows_forward(rw_kernels_named(RW_F64, NULL), s, &in, batch, NULL, &out, scratch,
                                 bytes, &run), RW_ESHAPE);
    CHECK_STATUS(rw_rows_backward(rw_kernels_named(RW_F64, NULL), s, &in, &in, 1, NULL, NULL, NULL,
                                  scratch, bytes, &run), RW_ESHAPE);
    CHECK_STATUS(rw_rows_forward(rw_kernels_named(RW_F32, NULL), s, &in, batch, NULL, &out, scratch,
                                 bytes, &run), RW_EINTR);
    CHECK(asked == 1);
    rw_free(scratch, bytes);
    free(y);
    free(x);
    rw_store_free(s);
}

#endif
