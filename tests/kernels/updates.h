/* updates.h -- optimizer steps, fields, and the checks of layer.h. */
#ifndef RW_TEST_UPDATES_H
#define RW_TEST_UPDATES_H

#include "elements.h"

enum { TABLE = 12, N_WEIGHTS = 203 }; /* ages with a correction; weights, no multiple of lanes */

static double corrections[2][TABLE];
static const char *const STATE[RW_STATE] = { "first", "second" }; /* names of the tests' own */

static rw_update update_of(int i)
{
    rw_update u = { .kind = i & 1 ? RW_OPT_ADAM : RW_OPT_SGD, .lr = 0.05, .step = 9,
                    .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8,
                    .decay_kind = (rw_decay)((i >> 1) % 3), .decay = i / 6 % 2 ? 0.01 : 0,
                    .momentum = i / 12 % 3 ? 0.9 : 0, .nesterov = i / 12 % 3 == 2,
                    .correction1 = corrections[0], .correction2 = corrections[1],
                    .n_correction = TABLE };
    for (int t = 0; t < TABLE; t++) {
        corrections[0][t] = t ? 1 / (1 - pow(u.beta1, t)) : NAN;
        corrections[1][t] = t ? 1 / (1 - pow(u.beta2, t)) : NAN;
    }
    if (i / 36 % 2)
        u.step = 1000; /* beyond the table: old slots need no correction */
    for (int32_t n = 0; n < rw_update_keeps(&u); n++)
        u.state[n] = STATE[n];
    if (u.kind == RW_OPT_ADAM && i % 4 == 1)
        u.age = "birth";
    return u;
}
enum { N_UPDATES = 72 };

/* kernels.h, line by line, in float64. */
static void step_of(const rw_update *u, int64_t age, double *w, double *m, double *v, double g)
{
    double before = *w;
    if (u->decay_kind == RW_DECAY_L2)
        g += u->decay * before;
    else
        *w -= (u->decay_kind == RW_DECAY_DECOUPLED ? u->lr : 1) * u->decay * before;
    if (u->kind == RW_OPT_SGD && u->momentum == 0) {
        *w -= u->lr * g;
    } else if (u->kind == RW_OPT_SGD) {
        *m = u->momentum * *m + g;
        *w -= u->lr * (u->nesterov ? g + u->momentum * *m : *m);
    } else {
        double c1 = age < TABLE ? 1 - pow(u->beta1, (double)age) : 1;
        double c2 = age < TABLE ? 1 - pow(u->beta2, (double)age) : 1;
        *m = u->beta1 * *m + (1 - u->beta1) * g;
        *v = u->beta2 * *v + (1 - u->beta2) * g * g;
        *w -= u->lr * (*m / c1) / (sqrt(*v / c2) + u->eps);
    }
}

static void test_updates_follow_their_formulas(void)
{
    double w[N_WEIGHTS], m[N_WEIGHTS], v[N_WEIGHTS], g[N_WEIGHTS], first[3][N_WEIGHTS];
    int32_t born[N_WEIGHTS];
    for (int i = 0; i < N_UPDATES; i++) {
        rw_update u = update_of(i);
        for (int width = 1; width <= 8; width *= 2) {
            int32_t n = N_WEIGHTS / width * width;
            const rw_kernels *last = NULL;
            FOR_EACH_KERNELS(k) {
                rw_dtype t = k->dtype;
                bool has_born = u.kind == RW_OPT_ADAM && width != 2;
                for (int j = 0; j < n; j++) {
                    put(t, w, j, value(20, j, 0));
                    put(t, m, j, value(21, j, 0));
                    put(t, v, j, fabs(value(22, j, 0)));
                    put(t, g, j, value(23, j, 0));
                    born[j / width] = (int32_t)u.step - (j / width) % (TABLE + 3);
                }
                bool has_m = u.kind == RW_OPT_ADAM || u.momentum != 0;
                k->update(&u, w, has_m ? (void *)m : NULL, u.kind == RW_OPT_ADAM ? (void *)v : NULL,
                          has_born ? born : NULL, width, g, n);
                bool good = true;
                for (int j = 0; j < n; j++) {
                    double w1 = value(20, j, 0), m1 = value(21, j, 0), v1 = fabs(value(22, j, 0));
                    int64_t age = has_born ? u.step - born[j / width] + 1 : u.step;
                    step_of(&u, age, &w1, &m1, &v1, value(23, j, 0));
                    good &= near(get(t, w, j), w1, t);
                    good &= !has_m || near(get(t, m, j), m1, t);
                    good &= u.kind != RW_OPT_ADAM || near(get(t, v, j), v1, t);
                }
                CHECK(good);
                /* And the same bits from every set of one precision. */
                size_t bytes = (size_t)n * rw_dtype_size(t);
                if (last && last->dtype == t)
                    CHECK(memcmp(first[0], w, bytes) == 0 && memcmp(first[1], m, bytes) == 0 &&
                          memcmp(first[2], v, bytes) == 0);
                memcpy(first[0], w, bytes);
                memcpy(first[1], m, bytes);
                memcpy(first[2], v, bytes);
                last = k;
            }
        }
    }
}

/* adam.h: corrections by age, until they are 1 to the last bit. */
static void test_corrections_by_age(void)
{
    static const double BETAS[][2] = { { 0.9, 0.999 }, { 0, 0.5 }, { 0.99, 0 }, { 0.999999, 0.5 } };
    for (size_t i = 0; i < sizeof BETAS / sizeof *BETAS; i++) {
        int64_t ages = rw_adam_ages(BETAS[i][0], BETAS[i][1]);
        double *table = malloc((size_t)ages * sizeof *table);
        REQUIRE(ages >= 2 && table);
        for (int b = 0; b < 2; b++) {
            rw_adam_corrections(BETAS[i][b], ages, table);
            for (int64_t t = 1; t < ages; t += 1 + t / 50)
                CHECK(fabs(table[t] * (1 - pow(BETAS[i][b], (double)t)) - 1) < 1e-15);
            CHECK(ages > 1 << 22 || table[ages - 1] == 1);
        }
        free(table);
    }
    CHECK(rw_adam_ages(0, 0) == 2);
    CHECK(rw_adam_ages(0.9, 1 - 1e-12) == (1 << 22) + 2);
}

/* A store with all that any optimizer keeps; with groups the last one is not whole. */
static rw_store *store_in_training(int32_t group, rw_dtype dtype)
{
    rw_store *s = store_of(N_LENGTHS * group - (group > 1), 65, group, group, dtype);
    for (int i = 0; i < RW_STATE; i++)
        add_field(s, STATE[i]);
    REQUIRE(rw_store_add_field(s, "birth", RW_I32, 1, 3.0) == RW_OK);
    return s;
}

static const int64_t STEP_BATCHES[] = { 1, 2, 50 };

static void test_fused_is_two_halves(void)
{
    FOR_EACH_KERNELS(k) {
        for (int i = 0; i < 3 * N_UPDATES; i += 5) {
            int which = i / N_UPDATES, kind = i % N_UPDATES;
            rw_update u = update_of(kind);
            int64_t batch = STEP_BATCHES[which];
            int32_t group = GROUPS[(kind / 10 + which) % 4], tile = (int32_t)rw_min64(batch, 16);
            rw_store *a = store_in_training(group, k->dtype);
            int32_t n_out = a->n_out, grad = add_field(a, "grad");
            rw_store *b = clone_of(a);
            rw_tiles *x = tiles_of(3, 65, batch, tile, k->dtype);
            rw_tiles *dy = tiles_of(4, n_out, batch, tile, k->dtype);
            rw_run three = { 3, NULL, NULL };
            size_t bytes = 3 * (size_t)rw_scratch_values(k, a, dy) * rw_dtype_size(k->dtype);
            CHECK(rw_scratch_values(k, a, dy) >= 65 * group);
            void *scratch = rw_alloc(bytes);
            REQUIRE(scratch);
            for (int step = 0; step < 3; step++, u.step++) {
                CHECK_STATUS(rw_backward_update(k, a, x, dy, &u, scratch, &three), RW_OK);
                CHECK_STATUS(rw_backward_weights(k, b, x, dy, grad, false, NULL, &ALONE), RW_OK);
                CHECK_STATUS(rw_update_from(k, b, grad, &u, &ALONE), RW_OK);
            }
            for (int32_t f = 0; f < a->n_fields; f++)
                if (f != grad && a->field[f].width == group && a->field[f].dtype == k->dtype)
                    CHECK(fields_same(a, b, f));
            const char *why = "";
            CHECK(rw_store_check(a, &why) == RW_OK);
            rw_free(scratch, bytes);
            rw_tiles_free(dy);
            rw_tiles_free(x);
            rw_store_free(b);
            rw_store_free(a);
        }
    }
}

/* The same step on the weights, and on a field that is a copy of them. */
static void test_a_step_may_have_another_target(void)
{
    FOR_EACH_KERNELS(k)
        for (int i = 0; i < N_UPDATES * 3; i += 5)
            for (int halves = 0; halves < 2; halves++) {
                rw_update u = update_of(i % N_UPDATES), on_target = u;
                on_target.target = "theta";
                int64_t batch = STEP_BATCHES[i % 3];
                int32_t group = GROUPS[i % 4], tile = (int32_t)rw_min64(batch, 16);
                rw_store *a = store_in_training(group, k->dtype);
                int32_t theta = add_field(a, "theta"), grad = add_field(a, "grad");
                for (int32_t g = 0; g < a->n_groups; g++) {
                    size_t size = rw_slot_bytes(&a->field[theta]), n = (size_t)a->len[g] * size;
                    size_t at = (size_t)a->start[g] * size;
                    memcpy(a->field[theta].data + at, a->field[RW_WEIGHT].data + at, n);
                }
                rw_store *b = clone_of(a), *before = clone_of(a);
                rw_tiles *x = tiles_of(3, 65, batch, tile, k->dtype);
                rw_tiles *dy = tiles_of(4, a->n_out, batch, tile, k->dtype);
                size_t bytes = (size_t)rw_scratch_values(k, a, dy) * rw_dtype_size(k->dtype);
                void *scratch = rw_alloc(bytes);
                REQUIRE(scratch);
                CHECK_STATUS(rw_backward_update(k, b, x, dy, &u, scratch, &ALONE), RW_OK);
                if (halves) {
                    CHECK_STATUS(rw_backward_weights(k, a, x, dy, grad, false, NULL, &ALONE),
                                 RW_OK);
                    CHECK_STATUS(rw_update_from(k, a, grad, &on_target, &ALONE), RW_OK);
                } else {
                    CHECK_STATUS(rw_backward_update(k, a, x, dy, &on_target, scratch, &ALONE),
                                 RW_OK);
                }
                CHECK(fields_same(a, before, RW_WEIGHT) && !fields_same(b, before, RW_WEIGHT));
                bool same = true;
                for (int32_t row = 0; row < a->n_out; row++)
                    for (int32_t s = 0; s < a->len[row / group]; s++)
                        same &= weight_at(a, theta, row, s) == weight_at(b, RW_WEIGHT, row, s);
                CHECK(same);
                for (int n = 0; n < RW_STATE; n++) {
                    int32_t f = rw_store_field(a, STATE[n]);
                    CHECK(fields_same(a, b, f));
                    CHECK(fields_same(a, before, f) == (n >= rw_update_keeps(&u)));
                }
                rw_free(scratch, bytes);
                rw_tiles_free(dy);
                rw_tiles_free(x);
                rw_store_free(before);
                rw_store_free(b);
                rw_store_free(a);
            }
}

/* old + new in one rounding, whatever the batch and its spans. */
static void check_added(rw_dtype t, const void *old, const void *new, const void *sum, int64_t n)
{
    bool good = true;
    for (int64_t i = 0; i < n; i++) {
        double v = get(t, old, i) + get(t, new, i);
        good &= get(t, sum, i) == (t == RW_F32 ? (double)(float)v : v);
    }
    CHECK(good);
}

static void test_gradients_add_up(void)
{
    static const struct { int64_t batch; int32_t tile; } CASES[] = {
        { 1, 1 }, { 7, 8 }, { 16, 16 }, { 50, 16 }, { 50, 64 }, { 512, 64 }, { 513, 64 }, { 1100, 32 }
    };
    FOR_EACH_KERNELS(k)
        for (size_t c = 0; c < 4 * sizeof CASES / sizeof *CASES; c++) {
            if ((c % 4 + c / 4) % NEXT_PAIR)
                continue;
            int32_t group = GROUPS[c % 4], n_in = 65, n_out = N_LENGTHS * group - (group > 1);
            rw_store *s = store_of(n_out, n_in, group, group, k->dtype);
            int32_t sum = add_field(s, "sum"), new = add_field(s, "new"), old = add_field(s, "old");
            int64_t batch = CASES[c / 4].batch;
            rw_tiles *x = tiles_of(3, n_in, batch, CASES[c / 4].tile, k->dtype);
            rw_tiles *dy = tiles_of(4, n_out, batch, CASES[c / 4].tile, k->dtype);
            rw_tiles *other = tiles_of(5, n_out, batch, CASES[c / 4].tile, k->dtype);
            size_t bytes = 3 * (size_t)rw_scratch_values(k, s, dy) * rw_dtype_size(k->dtype);
            void *scratch = rw_alloc(bytes), *bias[3];
            REQUIRE(scratch);
            for (int i = 0; i < 3; i++)
                bias[i] = bias_of(n_out, k->dtype);
            CHECK_STATUS(rw_backward_weights(k, s, x, dy, new, false, NULL, &ALONE), RW_OK);
            CHECK_STATUS(rw_backward_weights(k, s, x, other, old, false, NULL, &ALONE), RW_OK);
            CHECK_STATUS(rw_bias_gradient(k, dy, bias[1], false, &ALONE), RW_OK);
            for (int threads = 1; threads <= 3; threads += 2) {
                rw_run run = { threads, NULL, NULL };
                CHECK_STATUS(rw_backward_weights(k, s, x, other, sum, false, scratch, &run), RW_OK);
                CHECK_STATUS(rw_backward_weights(k, s, x, dy, sum, true, scratch, &run), RW_OK);
                for (int32_t g = 0; g < s->n_groups; g++) {
                    size_t at = (size_t)s->start[g] * rw_slot_bytes(&s->field[sum]);
                    check_added(k->dtype, s->field[old].data + at, s->field[new].data + at,
                                s->field[sum].data + at, (int64_t)s->len[g] * group);
                }
                memcpy(bias[2], bias[0], (size_t)n_out * rw_dtype_size(k->dtype));
                CHECK_STATUS(rw_bias_gradient(k, dy, bias[2], true, &run), RW_OK);
                check_added(k->dtype, bias[0], bias[1], bias[2], n_out);
            }
            for (int i = 0; i < 3; i++)
                bias_free(bias[i], n_out);
            rw_free(scratch, bytes);
            rw_tiles_free(other);
            rw_tiles_free(dy);
            rw_tiles_free(x);
            rw_store_free(s);
        }
}

/* One or two samples of which x is 0 and dy below it: a product of -0, which must
 * not show where momentum is -0 too (a subnormal one becomes that). */
static void test_zeros_of_few_samples_have_one_sign(void)
{
    FOR_EACH_KERNELS(k)
        for (int64_t batch = 1; batch <= 2; batch++) {
            rw_update u = { .kind = RW_OPT_SGD, .lr = 0.1, .momentum = 0.9, .step = 1,
                            .state = { "momentum" } };
            rw_store *a = store_of(8, 65, 1, 1, k->dtype);
            REQUIRE(rw_store_add_field(a, "momentum", k->dtype, 1, -0.0) == RW_OK);
            int32_t grad = add_field(a, "grad");
            rw_store *b = clone_of(a);
            rw_tiles *x = tiles_new(65, batch, (int32_t)batch, k->dtype);
            rw_tiles *dy = tiles_new(8, batch, (int32_t)batch, k->dtype);
            for (int32_t row = 0; row < 8; row++)
                for (int64_t i = 0; i < batch; i++)
                    put(k->dtype, dy->data, place_in(dy, row, i), -1.0);
            size_t bytes = (size_t)rw_scratch_values(k, a, dy) * rw_dtype_size(k->dtype);
            void *scratch = rw_alloc(bytes);
            REQUIRE(scratch);
            CHECK_STATUS(rw_backward_update(k, a, x, dy, &u, scratch, &ALONE), RW_OK);
            CHECK_STATUS(rw_backward_weights(k, b, x, dy, grad, false, NULL, &ALONE), RW_OK);
            CHECK_STATUS(rw_update_from(k, b, grad, &u, &ALONE), RW_OK);
            CHECK(fields_same(a, b, rw_store_field(a, "momentum")));
            rw_free(scratch, bytes);
            rw_tiles_free(dy);
            rw_tiles_free(x);
            rw_store_free(b);
            rw_store_free(a);
        }
}

static void test_state_must_be_there(void)
{
    const rw_kernels *k = rw_kernels_named(RW_F32, "scalar");
    rw_store *s = store_of(8, 40, 1, 4, RW_F32);
    rw_tiles *x = tiles_of(3, 40, 4, 4, RW_F32), *dy = tiles_of(4, 8, 4, 4, RW_F32);
    size_t bytes = (size_t)rw_scratch_values(k, s, dy) * sizeof(float);
    void *scratch = rw_alloc(bytes);
    REQUIRE(scratch);
    int32_t grad = add_field(s, "grad");
    rw_update sgd = update_of(12), adam = update_of(1);
    CHECK_STATUS(rw_update_from(k, s, grad, &sgd, &ALONE), RW_ENOENT);
    CHECK_STATUS(rw_backward_update(k, s, x, dy, &sgd, scratch, &ALONE), RW_ENOENT);
    sgd.momentum = 0;
    CHECK_STATUS(rw_backward_update(k, s, x, dy, &sgd, scratch, &ALONE), RW_OK);
    CHECK_STATUS(rw_update_from(k, s, grad, &adam, &ALONE), RW_ENOENT);
    add_field(s, STATE[0]);
    CHECK_STATUS(rw_update_from(k, s, grad, &adam, &ALONE), RW_ENOENT);
    REQUIRE(rw_store_add_field(s, STATE[1], RW_F32, 1, 0) == RW_OK);
    CHECK_STATUS(rw_update_from(k, s, grad, &adam, &ALONE), RW_ESHAPE); /* width */
    REQUIRE(rw_store_drop_field(s, STATE[1]) == RW_OK);
    add_field(s, STATE[1]);
    CHECK_STATUS(rw_update_from(k, s, grad, &adam, &ALONE), RW_ENOENT); /* ages */
    adam.age = NULL;
    CHECK_STATUS(rw_update_from(k, s, grad, &adam, &ALONE), RW_OK);
    adam.state[1] = NULL;
    CHECK_STATUS(rw_update_from(k, s, grad, &adam, &ALONE), RW_ENOENT);
    static const char *const TWICE[] = { "first", "weight", "grad" }; /* each has a use already */
    for (int i = 0; i < 3; i++) {
        adam.state[1] = TWICE[i];
        CHECK_STATUS(rw_update_from(k, s, rw_store_field(s, "grad"), &adam, &ALONE), RW_ESHAPE);
    }
    adam.state[1] = STATE[1];
    adam.target = STATE[0];
    CHECK_STATUS(rw_update_from(k, s, rw_store_field(s, "grad"), &adam, &ALONE), RW_ESHAPE);
    adam.target = "theta";
    CHECK_STATUS(rw_update_from(k, s, rw_store_field(s, "grad"), &adam, &ALONE), RW_ENOENT);
    adam.target = "weight";
    CHECK_STATUS(rw_update_from(k, s, rw_store_field(s, "grad"), &adam, &ALONE), RW_OK);
    REQUIRE(rw_store_add_field(s, "birth", RW_I64, 1, 0) == RW_OK);
    adam.age = "birth";
    CHECK_STATUS(rw_update_from(k, s, grad, &adam, &ALONE), RW_ESHAPE);
    rw_tiles_free(dy);
    rw_tiles_free(x);
    rw_free(scratch, bytes);
    rw_store_free(s);
}

static void test_fields_over_live_values(void)
{
    for (int d = 0; d < 2; d++) {
        rw_store *s = store_of(13, 40, 1, 8, DTYPES[d]);
        double sum = 0;
        for (int32_t row = 0; row < 13; row++)
            for (int32_t k = 0; k < s->len[row / 8]; k++)
                sum += weight_at(s, 0, row, k) * weight_at(s, 0, row, k);
        CHECK(fabs(rw_field_sumsq(s, 0) - sum) <= 1e-12 * sum);
        rw_field_scale(s, 0, 0.5);
        CHECK(fabs(rw_field_sumsq(s, 0) - sum / 4) <= 1e-12 * sum);
        size_t size = (size_t)s->slots * rw_slot_bytes(&s->field[0]);
        char *packed = rw_alloc(size);
        REQUIRE(packed);
        rw_csr_get(s, 0, packed);
        rw_field_add(s, 0, packed);
        CHECK(fabs(rw_field_sumsq(s, 0) - sum) <= 1e-12 * sum);
        rw_free(packed, size);
        CHECK(rw_field_finite(s, 0));
        /* Rows that do not exist count nowhere, whatever a field was born with. */
        REQUIRE(rw_store_add_field(s, "ones", DTYPES[d], 8, 1.0) == RW_OK);
        REQUIRE(rw_store_add_field(s, "born", RW_I32, 1, 2.0) == RW_OK);
        int32_t ones = rw_store_field(s, "ones"), born = rw_store_field(s, "born");
        CHECK(rw_field_sumsq(s, ones) == (double)rw_store_nnz(s));
        CHECK(rw_field_sumsq(s, born) == 4.0 * (double)s->slots);
        CHECK(rw_field_finite(s, born));
        int64_t last = (s->start[1] + s->len[1]) * 8;
        put(DTYPES[d], s->field[ones].data, last - 1, (double)NAN); /* row 15 */
        CHECK(rw_field_finite(s, ones));
        put(DTYPES[d], s->field[ones].data, last - 8, (double)NAN); /* row 8 */
        CHECK(!rw_field_finite(s, ones));
        put(DTYPES[d], s->field[ones].data, last - 8, -(double)INFINITY);
        CHECK(!rw_field_finite(s, ones));
        rw_store_free(s);
    }
}

/* Every weight and nothing else, in the field's own type. */
static void test_fields_in_other_units(void)
{
    double rows[13], cols[40], y[13];
    for (int i = 0; i < 40; i++)
        cols[i] = 1.0 / (i + 3);
    for (int i = 0; i < 13; i++)
        rows[i] = 0.1 * (i - 6);
    for (int d = 0; d < 2; d++)
        for (int g = 0; g < 4; g++)
            for (int how = 0; how < 4; how++) {
                rw_store *s = store_of(13, 40, 1, GROUPS[g], DTYPES[d]);
                rw_store *t = store_of(13, 40, 1, GROUPS[g], DTYPES[d]);
                rw_field_rescale(s, 0, how & 1 ? rows : NULL, how & 2 ? cols : NULL);
                rw_weight_times(t, cols, y);
                for (int32_t row = 0; row < s->n_groups * s->group; row++) {
                    double sum = 0;
                    for (int32_t k = 0; k < s->len[row / s->group]; k++) {
                        double w = weight_at(t, 0, row, k);
                        int32_t source = s->source[s->start[row / s->group] + k];
                        if (row >= 13) {
                            CHECK(weight_at(s, 0, row, k) == w);
                            continue;
                        }
                        sum += w * cols[source];
                        if (how & 1)
                            w = DTYPES[d] == RW_F32 ? (double)((float)w * (float)rows[row]) : w * rows[row];
                        if (how & 2)
                            w = DTYPES[d] == RW_F32 ? (double)((float)w * (float)cols[source])
                                                    : w * cols[source];
                        CHECK(weight_at(s, 0, row, k) == w);
                    }
                    CHECK(row >= 13 || y[row] == sum);
                }
                rw_store_free(t);
                rw_store_free(s);
            }
}

static void test_shapes_are_checked(void)
{
    const rw_kernels *k = rw_kernels_named(RW_F32, NULL);
    rw_store *s = store_of(9, 12, 1, 1, RW_F32);
    int32_t grad = add_field(s, "grad");
    rw_update u = { .kind = RW_OPT_SGD, .lr = 0.1, .step = 1 };
    rw_tiles *x = tiles_of(3, 12, 6, 4, RW_F32), *y = tiles_of(4, 9, 6, 4, RW_F32);
    rw_tiles *bad[] = { tiles_of(1, 11, 6, 4, RW_F32), tiles_of(1, 12, 7, 4, RW_F32),
                        tiles_of(1, 12, 6, 8, RW_F32), tiles_of(1, 12, 6, 4, RW_F64) };
    rw_tiles *bad_y[] = { tiles_of(1, 10, 6, 4, RW_F32), tiles_of(1, 9, 7, 4, RW_F32),
                          tiles_of(1, 9, 6, 8, RW_F32), tiles_of(1, 9, 6, 4, RW_F64) };
    float scratch[64];
    rw_key key = { 0, 0, 0 };
    for (int i = 0; i < 4; i++) {
        CHECK_STATUS(rw_forward(k, s, bad[i], NULL, RW_ACT_RELU, 0, y, NULL, &ALONE), RW_ESHAPE);
        CHECK_STATUS(rw_forward(k, s, x, NULL, RW_ACT_RELU, 0, bad_y[i], NULL, &ALONE), RW_ESHAPE);
        CHECK_STATUS(rw_forward(k, s, x, NULL, RW_ACT_RELU, 0, y, bad_y[i], &ALONE), RW_ESHAPE);
        CHECK_STATUS(rw_backward_input(k, s, y, bad[i], &ALONE), RW_ESHAPE);
        CHECK_STATUS(rw_backward_input(k, s, bad_y[i], x, &ALONE), RW_ESHAPE);
        CHECK_STATUS(rw_backward_update(k, s, bad[i], y, &u, scratch, &ALONE), RW_ESHAPE);
        CHECK_STATUS(rw_backward_weights(k, s, x, bad_y[i], grad, false, NULL, &ALONE), RW_ESHAPE);
        CHECK_STATUS(rw_dropout(k, x, bad[i], 0.5, key, 0, &ALONE), RW_ESHAPE);
        CHECK_STATUS(rw_activate_back(k, RW_ACT_LINEAR, 0, bad_y[i], y, &ALONE), RW_ESHAPE);
        CHECK_STATUS(rw_activate(k, NULL, RW_ACT_LINEAR, 0, y, bad_y[i], &ALONE), RW_ESHAPE);
    }
    const rw_kernels *other = rw_kernels_named(RW_F64, NULL);
    CHECK_STATUS(rw_forward(other, s, x, NULL, RW_ACT_RELU, 0, y, NULL, &ALONE), RW_ESHAPE);
    CHECK_STATUS(rw_bias_gradient(other, y, scratch, false, &ALONE), RW_ESHAPE);
    CHECK_STATUS(rw_activate(other, NULL, RW_ACT_RELU, 0, y, NULL, &ALONE), RW_ESHAPE);
    CHECK_STATUS(rw_update_from(other, s, grad, &u, &ALONE), RW_ESHAPE);
    /* The weights themselves are no place for a gradient. */
    CHECK_STATUS(rw_backward_weights(k, s, x, y, 0, false, NULL, &ALONE), RW_ESHAPE);
    CHECK_STATUS(rw_update_from(k, s, 7, &u, &ALONE), RW_ESHAPE);
    for (int i = 0; i < 4; i++) {
        rw_tiles_free(bad[i]);
        rw_tiles_free(bad_y[i]);
    }
    rw_tiles_free(y);
    rw_tiles_free(x);
    rw_store_free(s);
}

static int count_poll(void *arg)
{
    int *left = arg;
    return (*left)-- <= 0;
}

/* 1.4 * 10^8 multiply-adds: more than two polls lie apart. */
static void test_a_poll_can_stop_it(void)
{
    enum { WIDE = 1100 };
    const rw_kernels *k = rw_kernels_named(RW_F32, NULL);
    rw_store *s = store_of(3300, 1000, 1, 1, RW_F32);
    int32_t grad = add_field(s, "grad");
    rw_update u = { .kind = RW_OPT_SGD, .lr = 0.1, .step = 1 };
    rw_tiles *x = tiles_of(3, 1000, 256, 64, RW_F32), *dx = tiles_copy(x);
    rw_tiles *dy = tiles_of(4, 3300, 256, 64, RW_F32), *y = tiles_copy(dy);
    void *scratch = rw_alloc((size_t)rw_scratch_values(k, s, dy) * 2 * sizeof(float));
    REQUIRE(scratch);
    for (int i = 0; i < PATIENCES; i++) {
        int patience = PATIENCE[i];
        rw_status expected = patience ? RW_OK : RW_EINTR;
        int left = patience;
        rw_run run = { 1, count_poll, &left };
        CHECK_STATUS(rw_forward(k, s, x, NULL, RW_ACT_LINEAR, 0, y, NULL, &run), expected);
        left = patience;
        rw_store_drop_mirror(s);
        CHECK_STATUS(rw_backward_input(k, s, dy, dx, &run), expected);
        left = patience;
        REQUIRE(rw_mirror_build(s, 1) == RW_OK);
        CHECK_STATUS(rw_backward_input(k, s, dy, dx, &run), expected);
        left = patience;
        CHECK_STATUS(rw_backward_update(k, s, x, dy, &u, scratch, &run), expected);
        left = patience;
        CHECK_STATUS(rw_backward_weights(k, s, x, dy, grad, false, NULL, &run), expected);
        CHECK(patience == 0 || (left >= 90 && left < 99));
        /* One tile alone may take too long: then a scatter is cut into passes over groups. */
        rw_tiles *wide = tiles_of(4, 3300, WIDE, 1024, RW_F32), *dwide = tiles_of(3, 1000, WIDE, 1024, RW_F32);
        rw_tiles *usual = tiles_of(4, 3300, WIDE, 64, RW_F32), *dusual = tiles_of(3, 1000, WIDE, 64, RW_F32);
        left = patience;
        rw_store_drop_mirror(s);
        CHECK_STATUS(rw_backward_input(k, s, wide, dwide, &run), expected);
        CHECK(patience == 0 || (left >= 90 && left < 99));
        if (patience) {
            bool same = true;
            CHECK_STATUS(rw_backward_input(k, s, usual, dusual, &ALONE), RW_OK);
            for (int32_t j = 0; j < 1000; j++)
                for (int64_t b = 0; b < WIDE; b++)
                    same &= tile_get(wide, 0, b) == tile_get(usual, 0, b)
                            && tile_get(dwide, j, b) == tile_get(dusual, j, b);
            CHECK(same);
        }
        rw_tiles_free(dusual);
        rw_tiles_free(usual);
        rw_tiles_free(dwide);
        rw_tiles_free(wide);
    }
    rw_free(scratch, (size_t)rw_scratch_values(k, s, dy) * 2 * sizeof(float));
    rw_tiles_free(y);
    rw_tiles_free(dy);
    rw_tiles_free(dx);
    rw_tiles_free(x);
    rw_store_free(s);
}

#endif
