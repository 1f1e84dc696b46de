/* arrays.h -- packing and unpacking. */
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
    if (word % 50 == 0) /* a double has it, but kernels have two ways to make one */
        i64 = (int64_t)(word >> 11) - (INT64_C(1) << 52);
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

/* And back: into C order with a gap, Fortran order, unaligned, and with gaps both ways. */
static bool unpacked_is_the_same(const rw_kernels *k, const rw_tiles *t, int threads)
{
    ptrdiff_t size = (ptrdiff_t)rw_dtype_size(t->dtype), n = t->n, batch = (ptrdiff_t)t->batch;
    const struct { ptrdiff_t row, column, start; } ways[] = {
        { (n + 2) * size, size, 0 }, { n * size + 1, size, 1 }, { size, (batch + 1) * size, 0 },
        { size + 1, (batch + 1) * (size + 1), 0 }, { -3 * n * size, 3 * size, 3 * n * size * (batch - 1) }
    };
    size_t bytes = (size_t)(3 * (n + 2) * (batch + 2) * (size + 1));
    char *out = malloc(bytes);
    REQUIRE(out);
    bool same = true;
    for (int w = 0; w < 5; w++) {
        memset(out, 0x5a, bytes);
        rw_tiles_unpack(k, t, out + ways[w].start, ways[w].row, ways[w].column, threads);
        int64_t touched = 0; /* nothing between the values is written */
        for (size_t i = 0; i < bytes; i++)
            touched += out[i] != 0x5a;
        same &= touched <= n * batch * size;
        for (int64_t b = 0; b < batch; b++)
            for (int32_t j = 0; j < n; j++) {
                double v[1];
                memcpy(v, out + ways[w].start + b * ways[w].row + j * ways[w].column, (size_t)size);
                same &= get(t->dtype, v, 0) == tile_get(t, j, b);
            }
    }
    free(out);
    return same;
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
        const rw_user_rows in = { kind, array + start, row, column, indexed ? rows : NULL,
                                  standard ? mean : NULL, standard ? scale : NULL };
        int sets;
        const rw_kernels *const *set = rw_kernels_list(dtype, &sets);
        for (int k = 0; k < sets; k++) {
            memset(t->data, 0, t->bytes);
            rw_tiles_pack(set[k], t, &in, 1 + i % 3);
            CHECK(tiles_same(t, model));
            if (kind == RW_IN_F32)
                CHECK(unpacked_is_the_same(set[k], t, 1 + i % 3));
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
            const rw_user_rows in = { RW_IN_F64, (const char *)array, N * 8, 8, chosen,
                                      standard ? mean : NULL, standard ? scale : NULL };
            rw_tiles_pack(rw_kernels_named(dtype, NULL), model, &in, 1);
            rw_tiles_pack_csr(t, DTYPES[d], indptr, columns, (const char *)values, indptr[ROWS], chosen,
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

/* Whoever lent the rows may write to them after they were looked at: nothing is read beyond the
 * entries, and nothing written beyond the tiles. */
static void test_csr_that_is_out_of_range_is_left_out(void)
{
    enum { N = 300, BATCH = 3 };
    const int32_t STRANGE[] = { INT32_MIN, -1, N, 511, INT32_MAX };
    for (size_t i = 0; i < sizeof STRANGE / sizeof *STRANGE; i++) {
        for (int sorted = 0; sorted < 2; sorted++) {
            int64_t indptr[] = { 0, 3, 5, 5 }, beyond[] = { 0, 3, 6, INT64_MIN };
            int32_t columns[] = { 7, STRANGE[i], 2, 0, STRANGE[i] };
            if (sorted) {
                columns[0] = STRANGE[i] < 0 ? STRANGE[i] : 2;
                columns[1] = STRANGE[i] < 0 ? 2 : 7;
                columns[2] = STRANGE[i] < 0 ? 7 : STRANGE[i];
            }
            double values[] = { 1, 1, 1, 1, 1 };
            rw_tiles *t = tiles_of(9, N, BATCH, 4, RW_F64);
            rw_tiles_pack_csr(t, RW_F64, indptr, columns, (const char *)values, 5, NULL, NULL, NULL, 1);
            for (int32_t j = 0; j < N; j++) {
                CHECK(tile_get(t, j, 0) == (j == 2 || j == 7));
                CHECK(tile_get(t, j, 1) == (j == 0));
            }
            rw_tiles_pack_csr(t, RW_F64, beyond, columns, (const char *)values, 5, NULL, NULL, NULL, 1);
            for (int32_t j = 0; j < N; j++)
                CHECK(tile_get(t, j, 0) == (j == 2 || j == 7) && tile_get(t, j, 1) == 0);
            rw_targets rows = { .indptr = beyond, .columns = columns, .n_entries = 5 };
            rw_some_targets some = rw_targets_from(&rows, 0, BATCH, 4, 0);
            double gathered[N * 4];
            rw_targets_gather(&some, 0, N, RW_F64, gathered);
            for (int32_t j = 0; j < N; j++)
                CHECK(gathered[4 * j + 1] == 0 && gathered[4 * j + 2] == 0);
            rw_tiles_free(t);
        }
    }
}

/* Sizes around registers, squares and tiles, one by one, and tiles of any size: what overlaps at
 * an end is written by nobody else. */
static void test_squares_of_every_size(void)
{
    enum { MOST = 70 };
    FOR_EACH_KERNELS(k) {
        size_t size = rw_dtype_size(k->dtype);
        for (int32_t n = 1; n <= MOST; n += n < 40 ? 1 : 13)
            for (int32_t batch = 1; batch <= MOST; batch += batch < 36 ? 3 : 17)
                for (int32_t tile = 1; tile <= 256; tile *= 4) {
                    rw_tiles *t = tiles_new(n, batch, tile, k->dtype);
                    char *x = malloc((size_t)(n * batch) * size), *y = malloc((size_t)(n * batch) * size);
                    REQUIRE(x && y);
                    for (int64_t i = 0; i < n * batch; i++)
                        put(k->dtype, x, i, (double)(i + 1));
                    const rw_user_rows in = { k->dtype == RW_F32 ? RW_IN_F32 : RW_IN_F64, x,
                                              n * (ptrdiff_t)size, (ptrdiff_t)size, NULL, NULL, NULL };
                    rw_tiles_pack(k, t, &in, 1);
                    bool right = padding_is_zero(t);
                    for (int32_t b = 0; b < batch; b++)
                        for (int32_t i = 0; i < n; i++)
                            right &= tile_get(t, i, b) == (double)(b * n + i + 1);
                    CHECK(right);
                    rw_tiles_unpack(k, t, y, n * (ptrdiff_t)size, (ptrdiff_t)size, 1);
                    CHECK(memcmp(x, y, (size_t)(n * batch) * size) == 0);
                    free(y);
                    free(x);
                    rw_tiles_free(t);
                }
    }
}

static void test_tiles_in_memory_of_somebody_else(void)
{
    rw_tiles over, *own = tiles_of(5, 13, 100, 32, RW_F32);
    size_t bytes = rw_tiles_bytes(13, 100, 32, RW_F32);
    CHECK(bytes == own->bytes && bytes == 16 * 128 * sizeof(float));
    CHECK(rw_tiles_bytes(0, 1, 1, RW_F32) == 0 && rw_tiles_bytes(1, 0, 1, RW_F32) == 0);
    CHECK(rw_tiles_bytes(1, 1, 3, RW_F32) == 0 && rw_tiles_bytes(1, 1, 1, RW_I32) == 0);
    CHECK(rw_tiles_bytes(INT32_MAX, 1, 1, RW_F32) == 0);
    CHECK(rw_tiles_bytes(1 << 30, INT64_MAX / 2, 64, RW_F64) == 0);
    char *memory = rw_alloc(bytes + 64);
    REQUIRE(memory);
    memset(memory, 0x33, bytes + 64);
    CHECK_STATUS(rw_tiles_over(&over, 13, 100, 32, RW_F32, memory + 4, bytes), RW_ESHAPE);
    CHECK_STATUS(rw_tiles_over(&over, 13, 100, 32, RW_F32, memory, bytes - 1), RW_ESHAPE);
    CHECK_STATUS(rw_tiles_over(&over, 13, 100, 24, RW_F32, memory, bytes), RW_ESHAPE);
    CHECK_STATUS(rw_tiles_over(&over, 13, 100, 32, RW_F32, NULL, bytes), RW_ESHAPE);
    CHECK_STATUS(rw_tiles_over(&over, 13, 100, 32, RW_F32, memory, bytes), RW_OK);
    CHECK(rw_is_tiles(&over) && over.foreign && !own->foreign && !rw_tiles_padding_is_clear(&over));
    double there = tile_get(&over, 12, 99);
    rw_tiles_clear_padding(&over);
    CHECK(padding_is_zero(&over) && rw_tiles_padding_is_clear(&over) && there != 0);
    CHECK(tile_get(&over, 12, 99) == there && tile_get(&over, 0, 0) == there);
    put(RW_F32, memory, place_in(&over, 13, 0), 1); /* a row too many, a sample too many */
    CHECK(!rw_tiles_padding_is_clear(&over));
    put(RW_F32, memory, place_in(&over, 13, 0), 0);
    put(RW_F32, memory, place_in(&over, 12, 100), 1);
    CHECK(!rw_tiles_padding_is_clear(&over));
    put(RW_F32, memory, place_in(&over, 12, 100), 0);
    CHECK(rw_tiles_padding_is_clear(&over) && memory[bytes] == 0x33);
    CHECK_STATUS(rw_tiles_shape(&over, 100, 32), RW_OK);
    CHECK_STATUS(rw_tiles_shape(&over, 99, 32), RW_ESHAPE); /* that would clear it */
    CHECK(tile_get(&over, 0, 0) == there && over.batch == 100);
    rw_free(memory, bytes + 64);
    rw_tiles_free(own);
}

#endif
