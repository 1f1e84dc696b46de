/* nonzeros.h -- inputs of which few are not zero give the bits of tiles. */
#ifndef RW_TEST_NONZEROS_H
#define RW_TEST_NONZEROS_H

#include "rules/grow_gradient.h"
#include "setup.h"

/* Rows of a CSR matrix: source 5 in every row, source 9 in most, others in about one of `part`. */
typedef struct {
    int64_t *indptr, *rows;
    int32_t *columns;
    double *values;
    int64_t batch;
    int32_t n;
} few_rows;

static few_rows few_new(int64_t batch, int32_t n, uint64_t part)
{
    few_rows f = { .batch = batch, .n = n };
    f.indptr = malloc(((size_t)batch + 1) * sizeof *f.indptr);
    f.rows = malloc((size_t)batch * sizeof *f.rows);
    f.columns = malloc((size_t)batch * (size_t)n * sizeof *f.columns);
    f.values = malloc((size_t)batch * (size_t)n * sizeof *f.values);
    REQUIRE(f.indptr && f.rows && f.columns && f.values);
    int64_t e = 0;
    for (int64_t b = 0; b < batch; b++) {
        f.indptr[b] = e;
        f.rows[b] = (b * 7 + 3) % batch;
        for (int32_t j = 0; j < n; j++)
            if (j == 5 || (j == 9 && b % 4) || hash(40, (uint64_t)b, (uint64_t)j) % part == 0) {
                f.columns[e] = j;
                f.values[e++] = value(41, b, j);
            }
    }
    f.indptr[batch] = e;
    return f;
}

static void few_free(few_rows f)
{
    free(f.values);
    free(f.columns);
    free(f.rows);
    free(f.indptr);
}

static rw_csr_input few_input(const few_rows *f)
{
    return (rw_csr_input){ .kind = RW_F64, .indptr = f->indptr, .columns = f->columns,
                           .values = (const char *)f->values, .entries = f->indptr[f->batch],
                           .rows = f->rows };
}

static rw_nonzeros *few_loaded(const rw_kernels *k, const few_rows *f, bool lists)
{
    rw_nonzeros *x = rw_nonzeros_new(f->n, k->dtype);
    REQUIRE(x);
    rw_csr_input in = few_input(f);
    int32_t tile = rw_tile_size(f->batch, k->dtype);
    CHECK_STATUS(rw_nonzeros_load(x, k, &in, f->batch, tile, lists ? 1 : INT64_MAX, NULL, 2), RW_OK);
    CHECK(x->packed == !lists);
    return x;
}

/* What a layer makes of a batch, from tiles where `few` is NULL. */
typedef struct {
    rw_store *s; /* gradients in a field, twice added, and a step */
    rw_tiles *y, *z;
    rw_plan *grown;
} few_written;

static few_written few_write(const rw_kernels *k, int32_t group, const few_rows *f, int how,
                             bool mirror, const rw_run *run)
{
    int32_t n_out = 2 * N_LENGTHS + 1, tile = rw_tile_size(f->batch, k->dtype);
    rw_update u = { .kind = RW_OPT_SGD, .lr = 0.1, .momentum = 0.9, .step = 1,
                    .state = { "momentum" } };
    few_written out = { .s = store_of(n_out, f->n, group, group, k->dtype),
                        .y = tiles_new(n_out, f->batch, tile, k->dtype),
                        .z = tiles_new(n_out, f->batch, tile, k->dtype) };
    int32_t grad = add_field(out.s, "grad"), twice = add_field(out.s, "twice");
    (void)add_field(out.s, "momentum");
    if (mirror)
        REQUIRE(rw_mirror_build(out.s, 1) == RW_OK);
    rw_tiles *dy = tiles_of(4, n_out, f->batch, tile, k->dtype);
    void *bias = bias_of(n_out, k->dtype);
    size_t bytes = (size_t)run->threads * (size_t)rw_scratch_values(k, out.s, dy) * rw_dtype_size(k->dtype);
    void *scratch = rw_alloc(bytes);
    REQUIRE(scratch);
    out.grown = rw_plan_new(out.s);
    REQUIRE(out.grown);
    rw_key key = { 1, 2, 3 };
    if (how < 0) {
        rw_tiles *x = tiles_new(f->n, f->batch, tile, k->dtype);
        rw_tiles_pack_csr(x, RW_F64, f->indptr, f->columns, (const char *)f->values,
                          f->indptr[f->batch], f->rows, NULL, NULL, 1);
        CHECK_STATUS(rw_forward(k, out.s, x, bias, RW_ACT_TANH, 0, out.y, out.z, run), RW_OK);
        CHECK_STATUS(rw_backward_weights(k, out.s, x, dy, grad, false, NULL, run), RW_OK);
        for (int i = 0; i < 2; i++)
            CHECK_STATUS(rw_backward_weights(k, out.s, x, dy, twice, i > 0, scratch, run), RW_OK);
        CHECK_STATUS(rw_plan_grow_gradient(out.grown, 20, k, x, NULL, dy, false, key, run), RW_OK);
        CHECK_STATUS(rw_backward_update(k, out.s, x, dy, &u, scratch, run), RW_OK);
        rw_tiles_free(x);
    } else {
        rw_nonzeros *x = few_loaded(k, f, how > 0);
        CHECK_STATUS(rw_nonzeros_reach(x, out.s, run->threads), RW_OK);
        CHECK_STATUS(rw_nonzero_forward(k, out.s, x, bias, RW_ACT_TANH, 0, out.y, out.z, run), RW_OK);
        CHECK_STATUS(rw_nonzero_backward_weights(k, out.s, x, dy, grad, false, NULL, run), RW_OK);
        for (int i = 0; i < 2; i++)
            CHECK_STATUS(rw_nonzero_backward_weights(k, out.s, x, dy, twice, i > 0, scratch, run),
                         RW_OK);
        CHECK_STATUS(rw_plan_grow_gradient(out.grown, 20, k, NULL, x, dy, false, key, run), RW_OK);
        CHECK_STATUS(rw_nonzero_backward_update(k, out.s, x, dy, &u, scratch, run), RW_OK);
        rw_nonzeros_free(x);
    }
    rw_free(scratch, bytes);
    bias_free(bias, n_out);
    rw_tiles_free(dy);
    return out;
}

static void few_written_free(few_written w)
{
    rw_plan_free(w.grown);
    rw_tiles_free(w.z);
    rw_tiles_free(w.y);
    rw_store_free(w.s);
}

static void test_few_inputs_give_the_bits_of_tiles(void)
{
    static const int64_t BATCHES[] = { 1, 2, 5, 16, 100, RW_SPAN + 70 };
    FOR_EACH_KERNELS(k)
        for (int g = 0; g < 4; g++)
            for (int i = g % NEXT_PAIR; i < 6; i += NEXT_PAIR) {
                few_rows f = few_new(BATCHES[i], 150, i % 2 ? 40 : 12);
                few_written usual = few_write(k, GROUPS[g], &f, -1, false, &ALONE);
                for (int how = 0; how < 4; how++) { /* tiles; lists, with a mirror, with threads */
                    rw_run run = { how == 3 ? 3 : 1, NULL, NULL };
                    few_written other = few_write(k, GROUPS[g], &f, how > 0, how >= 2, &run);
                    CHECK(tiles_same(usual.y, other.y));
                    CHECK(tiles_same(usual.z, other.z));
                    for (int32_t field = 0; field < usual.s->n_fields; field++)
                        CHECK(fields_same(usual.s, other.s, field));
                    REQUIRE(usual.grown->n_ins == 20 && other.grown->n_ins == 20);
                    size_t n = 20 * sizeof(int32_t);
                    CHECK(memcmp(usual.grown->ins_group, other.grown->ins_group, n) == 0);
                    CHECK(memcmp(usual.grown->ins_source, other.grown->ins_source, n) == 0);
                    few_written_free(other);
                }
                few_written_free(usual);
                few_free(f);
            }
}

/* What is left out of inputs comes in by the biases, and by the sums of dy. */
static void test_few_inputs_with_means(void)
{
    enum { N_OUT = 13, N_IN = 60 };
    static const int32_t WHOLE[] = { 5, 9 };
    FOR_EACH_KERNELS(k)
        for (int g = 0; g < 4; g++) {
            double mean[N_IN], shift[N_IN] = { 0 }, scale[N_IN], zero[N_IN];
            few_rows f = few_new(90, N_IN, 12);
            for (int32_t j = 0; j < N_IN; j++) {
                mean[j] = value(50, j, 0) / 2;
                scale[j] = 1 + value(51, j, 0) / 2;
                bool whole = j == WHOLE[0] || j == WHOLE[1];
                shift[j] = whole ? mean[j] : 0;
                put(k->dtype, zero, j, whole ? 0 : -mean[j] * scale[j]);
            }
            int32_t tile = rw_tile_size(f.batch, k->dtype);
            rw_store *s = store_of(N_OUT, N_IN, GROUPS[g], GROUPS[g], k->dtype);
            int32_t first = add_field(s, "first"), grad = add_field(s, "grad");
            rw_tiles *y = tiles_new(N_OUT, f.batch, tile, k->dtype), *before = NULL;
            rw_tiles *dy = tiles_of(4, N_OUT, f.batch, tile, k->dtype);
            rw_tiles *inputs = tiles_new(N_IN, f.batch, tile, k->dtype);
            void *bias = bias_of(N_OUT, k->dtype), *rows = malloc(90 * N_IN * sizeof(double));
            REQUIRE(rows);
            for (int lists = 0; lists < 2; lists++) {
                rw_nonzeros *x = rw_nonzeros_new(N_IN, k->dtype);
                REQUIRE(x);
                rw_csr_input in = few_input(&f);
                in.shift = shift;
                in.scale = scale;
                in.whole = WHOLE;
                in.n_whole = 2;
                CHECK_STATUS(rw_nonzeros_load(x, k, &in, f.batch, tile, lists ? 1 : INT64_MAX, zero, 1),
                             RW_OK);
                CHECK(x->packed == !lists && rw_nonzeros_finite(x));
                rw_nonzeros_unpack(x, rows);
                for (int64_t b = 0; b < f.batch; b++)
                    for (int32_t j = 0; j < N_IN; j++) {
                        int64_t e = f.indptr[f.rows[b]], end = f.indptr[f.rows[b] + 1];
                        while (e < end && f.columns[e] != j)
                            e++;
                        double v = ((e < end ? f.values[e] : 0) - mean[j]) * scale[j];
                        double got = get(k->dtype, rows, b * N_IN + j);
                        CHECK(fabs(got - v) <= 4 * epsilon(k->dtype));
                        put(k->dtype, inputs->data, place_in(inputs, j, b), got);
                    }
                CHECK_STATUS(rw_nonzeros_reach(x, s, 1), RW_OK);
                CHECK_STATUS(rw_nonzero_forward(k, s, x, bias, RW_ACT_LINEAR, 0, y, NULL, &ALONE), RW_OK);
                CHECK_STATUS(rw_nonzero_backward_weights(k, s, x, dy, lists ? grad : first, false, NULL,
                                                         &ALONE), RW_OK);
                if (lists) {
                    CHECK(tiles_same(before, y));
                    for (int32_t row = 0; row < N_OUT; row++)
                        for (int32_t i = 0; i < s->len[row / s->group]; i++)
                            CHECK(weight_at(s, grad, row, i) == weight_at(s, first, row, i));
                } else {
                    before = tiles_copy(y);
                }
                for (int32_t row = 0; row < N_OUT; row++) {
                    int32_t n = s->len[row / s->group];
                    for (int64_t b = 0; b < f.batch; b++) {
                        double sum = get(k->dtype, bias, row), size = 2 + fabs(sum);
                        for (int32_t i = 0; i < n; i++) {
                            int32_t j = s->source[s->start[row / s->group] + i];
                            sum += weight_at(s, 0, row, i) * tile_get(inputs, j, b);
                            size += 2 * fabs(weight_at(s, 0, row, i));
                        }
                        CHECK(fabs(tile_get(y, row, b) - sum) <= (n + 6) * epsilon(k->dtype) * size);
                    }
                    for (int32_t i = 0; i < n; i++) {
                        int32_t j = s->source[s->start[row / s->group] + i];
                        double sum = 0, size = 0;
                        for (int64_t b = 0; b < f.batch; b++) {
                            sum += tile_get(inputs, j, b) * tile_get(dy, row, b);
                            size += 3 * fabs(tile_get(dy, row, b));
                        }
                        double got = weight_at(s, lists ? grad : first, row, i);
                        CHECK(fabs(got - sum) <= ((double)f.batch + 6) * epsilon(k->dtype) * size);
                    }
                }
                rw_nonzeros_free(x);
            }
            free(rows);
            bias_free(bias, N_OUT);
            rw_tiles_free(inputs);
            rw_tiles_free(before);
            rw_tiles_free(dy);
            rw_tiles_free(y);
            rw_store_free(s);
            few_free(f);
        }
}

static void test_few_inputs_that_are_refused(void)
{
    const rw_kernels *k = rw_kernels_named(RW_F32, "scalar"), *other = rw_kernels_named(RW_F64, "scalar");
    rw_store *s = store_of(8, 40, 1, 1, RW_F32), *wide = store_of(8, 41, 1, 1, RW_F32);
    few_rows f = few_new(6, 40, 8);
    rw_csr_input in = few_input(&f);
    rw_nonzeros *x = rw_nonzeros_new(40, RW_F32);
    rw_tiles *y = tiles_new(8, 6, 8, RW_F32);
    REQUIRE(x && !rw_nonzeros_new(0, RW_F32) && !rw_nonzeros_new(4, RW_I32));
    CHECK_STATUS(rw_nonzero_forward(k, s, x, NULL, RW_ACT_LINEAR, 0, y, NULL, &ALONE), RW_ESHAPE);
    CHECK_STATUS(rw_nonzeros_load(x, other, &in, 6, 8, 1, NULL, 1), RW_ESHAPE);
    CHECK_STATUS(rw_nonzeros_load(x, k, &in, 6, 2 * RW_SPAN, 1, NULL, 1), RW_ESHAPE);
    CHECK_STATUS(rw_nonzeros_load(x, k, &in, 6, 8, 1, NULL, 1), RW_OK);
    CHECK_STATUS(rw_nonzero_forward(k, s, x, NULL, RW_ACT_LINEAR, 0, y, NULL, &ALONE), RW_ESHAPE);
    CHECK_STATUS(rw_nonzeros_reach(x, wide, 1), RW_ESHAPE);
    CHECK_STATUS(rw_nonzeros_reach(x, s, 1), RW_OK);
    CHECK_STATUS(rw_nonzero_forward(k, s, x, NULL, RW_ACT_LINEAR, 0, y, NULL, &ALONE), RW_OK);
    int32_t right = f.columns[3];
    f.columns[3] = 40;
    CHECK_STATUS(rw_nonzeros_load(x, k, &in, 6, 8, 1, NULL, 1), RW_ERANGE);
    f.columns[3] = -1;
    CHECK_STATUS(rw_nonzeros_load(x, k, &in, 6, 8, 1, NULL, 1), RW_ERANGE);
    CHECK(x->batch == 0);
    f.columns[3] = f.columns[2];
    CHECK_STATUS(rw_nonzeros_load(x, k, &in, 6, 8, 1, NULL, 1), RW_ESHAPE);
    f.columns[3] = right;
    in.entries--;
    CHECK_STATUS(rw_nonzeros_load(x, k, &in, 6, 8, 1, NULL, 1), RW_ERANGE);
    in.entries++;
    int32_t backwards[] = { 9, 5 }, beyond[] = { 40 };
    double one[40];
    for (int i = 0; i < 40; i++)
        one[i] = 1;
    in.shift = in.scale = one;
    in.whole = backwards;
    in.n_whole = 2;
    CHECK_STATUS(rw_nonzeros_load(x, k, &in, 6, 8, 1, NULL, 1), RW_ESHAPE);
    in.whole = beyond;
    in.n_whole = 1;
    CHECK_STATUS(rw_nonzeros_load(x, k, &in, 6, 8, 1, NULL, 1), RW_ERANGE);
    rw_tiles_free(y);
    rw_nonzeros_free(x);
    few_free(f);
    rw_store_free(wide);
    rw_store_free(s);
}

/* Every allocation fails once; what failed leaves nothing loaded, and works the next time. */
static void test_few_inputs_without_memory(void)
{
    const rw_kernels *k = rw_kernels_named(RW_F32, "scalar");
    few_rows f = few_new(RW_SPAN + 20, 60, 30);
    rw_csr_input in = few_input(&f);
    for (int how = 0; how < 3; how++) { /* tiles; lists; lists through a mirror */
        rw_store *s = store_of(8, 60, 1, 2, RW_F32);
        if (how == 2)
            REQUIRE(rw_mirror_build(s, 1) == RW_OK);
        bool done = false;
        for (int64_t n = 0; !done; n++) {
            REQUIRE(n < 100);
            rw_mem_fail_after = n;
            rw_nonzeros *x = rw_nonzeros_new(60, RW_F32);
            rw_status st = x ? rw_nonzeros_load(x, k, &in, f.batch, 64, how ? 1 : INT64_MAX, NULL, 1)
                             : RW_ENOMEM;
            if (x && st)
                CHECK(x->batch == 0);
            if (!st && (st = rw_nonzeros_reach(x, s, 1)))
                CHECK(x->most_groups == 0);
            CHECK(!st || st == RW_ENOMEM);
            done = !st;
            rw_mem_fail_after = -1;
            if (x && st) {
                CHECK_STATUS(rw_nonzeros_load(x, k, &in, f.batch, 64, how ? 1 : INT64_MAX, NULL, 1), RW_OK);
                CHECK_STATUS(rw_nonzeros_reach(x, s, 1), RW_OK);
            }
            rw_nonzeros_free(x);
        }
        rw_store_free(s);
    }
    few_free(f);
}

#endif
