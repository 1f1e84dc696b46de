/* deepr.h -- the noise, the signs and the steps of DEEP R. */

#include "base/normal.h"
#include "rules/deepr.h"

/* --- normal numbers ------------------------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double normal_below(double x) { return 0.5 * erfc(-x / sqrt(2.0)); }

static void test_the_ziggurat_covers_the_curve(void)
{
    rw_normal t;
    rw_normal_start(&t);
    double tail = t.edge[1];
    double area = tail * t.height[1] + sqrt(acos(-1.0) / 2) * erfc(tail / sqrt(2.0));
    CHECK(fabs(t.edge[0] * t.height[1] / area - 1) < 1e-12);
    for (int i = 1; i < RW_NORMAL_LAYERS; i++) {
        CHECK(t.edge[i] > t.edge[i + 1] && t.height[i] < t.height[i + 1]);
        CHECK(fabs(t.height[i] / exp(-0.5 * t.edge[i] * t.edge[i]) - 1) < 1e-12);
        /* layer by layer, up to the top */
        CHECK(fabs(t.edge[i] * (t.height[i + 1] - t.height[i]) / area - 1) < 1e-9);
    }
}

/* Kolmogorov and Smirnov: with a million numbers sqrt(n) * distance is above 1.95 once
 * in a thousand times. The tail by itself, which that test does not see. */
static void test_normal_numbers_are_normal(void)
{
    enum { ROW = 1000, ROWS = 1000, N = ROW * ROWS };
    rw_normal t;
    rw_normal_start(&t);
    float *z = malloc((size_t)N * sizeof *z);
    REQUIRE(z);
    double sum = 0, squares = 0, fourth = 0, neighbours = 0, worst = 0;
    for (int64_t r = 0; r < ROWS; r++)
        rw_normals(&t, (rw_key){ 5, 6, 7 }, (uint64_t)r, 0, ROW, z + r * ROW);
    for (int64_t i = 0; i < N; i++) {
        double x = (double)z[i];
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
        neighbours += i ? x * (double)z[i - 1] : 0;
    }
    CHECK(fabs(sum) < 4 * sqrt(N));
    CHECK(fabs(squares - N) < 4 * sqrt(2.0 * N));
    CHECK(fabs(fourth - 3.0 * N) < 4 * sqrt(96.0 * N));
    CHECK(fabs(neighbours) < 4 * sqrt(N));
    qsort(z, N, sizeof *z, by_value);
    for (int64_t i = 0; i < N; i++)
        worst = fmax(worst, fabs(normal_below((double)z[i]) - ((double)i + 0.5) / N));
    CHECK(worst * sqrt(N) < 1.95);
    for (int side = -1; side <= 1; side += 2)
        for (double far = 3.0; far < 4.3; far += 0.25) { /* 3.65 is where the tail begins */
            double n = 0, expected = N * normal_below(-far);
            for (int64_t i = 0; i < N; i++)
                n += side * (double)z[i] > far;
            CHECK(fabs(n - expected) < 4 * sqrt(expected));
        }
    free(z);
}

/* A number is named by (key, row, index), however many are asked for. */
static void test_normal_numbers_have_names(void)
{
    rw_normal t;
    rw_normal_start(&t);
    enum { N = 4001 };
    float all[N + 1], part[N + 1], other[N + 1];
    rw_normals(&t, (rw_key){ 1, 2, 3 }, 4, 0, N, all);
    for (int64_t first = 0; first < N; first += 250) {
        int64_t n = rw_min64(37, N - first);
        rw_normals(&t, (rw_key){ 1, 2, 3 }, 4, first, n, part);
        CHECK(memcmp(part, all + first, (size_t)n * sizeof *part) == 0);
    }
    static const struct { rw_key key; uint64_t row; } names[] = {
        { { 2, 2, 3 }, 4 }, { { 1, 3, 3 }, 4 }, { { 1, 2, 4 }, 4 }, { { 1, 2, 3 }, 5 },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        double product = 0;
        rw_normals(&t, names[i].key, names[i].row, 0, N, other);
        for (int k = 0; k < N; k++)
            product += (double)all[k] * (double)other[k];
        CHECK(fabs(product) < 4 * sqrt(N));
    }
}

/* Density 1 - Phi: moments sqrt(2 pi) / 4 and 2 / 3, and its distribution at a few places. */
static void test_overshoots(void)
{
    rw_store *s = rw_store_new(500, 500, 1, RW_F64);
    rw_plan *p = rw_plan_new(s);
    rw_key key = { 4, 4, 4 };
    CHECK_STATUS(rw_plan_grow_random(p, 200000, key, &ALONE), RW_OK);
    CHECK_STATUS(rw_plan_values(p, RW_VALUE_OVERSHOOT, 0.5, RW_FAN_NONE, key, &ALONE), RW_OK);
    const double *w = (const double *)(const void *)p->ins_weight;
    double n = (double)p->n_ins, mean = 0, square = 0, plus = 0, root = sqrt(2 * acos(-1.0));
    for (int64_t i = 0; i < p->n_ins; i++) {
        CHECK(w[i] != 0);
        mean += fabs(w[i]) / 0.5 / n;
        square += w[i] * w[i] / 0.25 / n;
        plus += w[i] > 0;
    }
    CHECK(fabs(mean - root / 4) < 4 / sqrt(n) && fabs(square - 2.0 / 3) < 6 / sqrt(n));
    CHECK(fabs(plus - n / 2) < 2 * sqrt(n));
    for (double x = 0.25; x < 3; x += 0.25) {
        double below = 0; /* the integral of root * (1 - Phi) up to x */
        double expected = 1 + root * x * normal_below(-x) - exp(-0.5 * x * x);
        for (int64_t i = 0; i < p->n_ins; i++)
            below += fabs(w[i]) / 0.5 < x;
        CHECK(fabs(below / n - expected) < 2 / sqrt(n));
    }
    rw_plan_free(p);
    rw_store_free(s);
}

/* --- one step -------------------------------------------------------------------------- */

/* A store whose weights are near zero on both sides, some at it, with a field of signs
 * of which some are not known and some are not the weight's. */
static rw_store *store_of_weights(int32_t n_out, int32_t n_in, int32_t group, rw_dtype dtype)
{
    rw_store *s = random_store(n_out, n_in, group, dtype, 30);
    REQUIRE(rw_store_add_field(s, "sign", RW_U8, group, 0.0) == RW_OK);
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int64_t i = 0; i < (int64_t)s->len[g] * group; i++) {
            int64_t at = s->start[g] * group + i;
            bool real = i % group < rw_group_rows(s, g);
            double w = (double)random_below(2001) / 1000.0 - 1.0;
            value_put(dtype, s->field[0].data, at, real && random_below(20) ? w : 0.0);
            s->field[1].data[at] = (char)random_below(3);
        }
    return s;
}

/* One weight's step, as the header says it. */
static double stepped(double w, int sign, double drift, double noise, double z)
{
    double s = sign == 2 || (sign == 0 && w < 0) ? -1.0 : 1.0, theta = s * w;
    if (theta <= 0)
        return 0.0;
    theta = theta - drift + noise * z;
    return theta <= 0 ? 0.0 : s * theta;
}

static void check_step(const rw_store *before, const rw_store *after, double drift, double noise,
                       rw_key key)
{
    rw_normal t;
    rw_normal_start(&t);
    bool f32 = before->field[0].dtype == RW_F32;
    double bound = f32 ? 1e-7 * (2 + drift + 5 * noise) : 1e-15;
    int64_t crossed = 0;
    for (int32_t g = 0; g < before->n_groups; g++) {
        int64_t first = before->start[g] * before->group;
        int64_t n = (int64_t)before->len[g] * before->group;
        float *z = malloc((size_t)(n + 2) * sizeof *z);
        REQUIRE(z);
        rw_normals(&t, key, (uint64_t)g, 0, n, z);
        for (int64_t i = 0; i < n; i++) {
            double was = value_get(&before->field[0], first + i);
            double is = value_get(&after->field[0], first + i);
            int sign = (unsigned char)before->field[1].data[first + i];
            double should = stepped(was, sign, drift, noise, (double)z[i]);
            if (fabs(should) > bound) /* nearer than that, rounding decides on which side */
                CHECK(fabs(is - should) <= bound);
            else
                CHECK(fabs(is) <= 2 * bound);
            CHECK(after->field[1].data[first + i] == (sign ? sign : was < 0 ? 2 : 1));
            CHECK(is != 0 || !signbit(is));
            crossed += was != 0 && is == 0;
        }
        free(z);
    }
    CHECK(crossed > before->slots / 10);
}

static void test_one_step_of_deepr(void)
{
    rw_normal t;
    rw_normal_start(&t);
    for (int32_t group = 1; group <= 8; group *= 2)
        for (int dtype = RW_F32; dtype <= RW_F64; dtype++)
            for (int noisy = 0; noisy < 2; noisy++) {
                rw_store *s = store_of_weights(101, 700, group, (rw_dtype)dtype);
                rw_store *base = rw_store_clone(s);
                rw_key key = { 1, 2, (uint64_t)group };
                double drift = noisy ? 0.01 : 0.3, noise = noisy ? 0.4 : 0.0;
                rw_store *packed = rw_store_clone(base); /* the same places as what is compared */
                CHECK_STATUS(rw_deepr_step(packed, 1, drift, noise, &t, key, &ALONE), RW_OK);
                check_step(base, packed, drift, noise, key);
                CHECK(is_sound(packed));
                for (int threads = 2; threads <= 8; threads *= 2) {
                    rw_store *shared = rw_store_clone(s);
                    rw_run run = { threads, NULL, NULL };
                    CHECK_STATUS(rw_deepr_step(shared, 1, drift, noise, &t, key, &run), RW_OK);
                    CHECK(same_contents(shared, packed));
                    rw_store_free(shared);
                }
                rw_store_free(packed);
                rw_store_free(base);
                rw_store_free(s);
            }
    CHECK(rw_mem_live == 0);
}

static void test_signs_are_taken_once(void)
{
    static const double weights[] = { 1.5, -2.5, 0.0, -0.0, 1e-30, -1e-30, NAN, INFINITY };
    static const int seen[] = { 1, 2, 0, 0, 1, 2, 0, 1 }, stepped[] = { 1, 2, 1, 1, 1, 2, 1, 1 };
    for (int dtype = RW_F32; dtype <= RW_F64; dtype++) {
        rw_store *s = store_of(8, weights, 1, (rw_dtype)dtype);
        rw_normal t;
        rw_normal_start(&t);
        REQUIRE(rw_store_add_field(s, "sign", RW_U8, 1, 0.0) == RW_OK);
        REQUIRE(rw_store_add_field(s, "other", RW_I32, 1, 0.0) == RW_OK);
        const unsigned char *sign = (const unsigned char *)s->field[1].data + s->start[0];
        CHECK_STATUS(rw_deepr_signs(s, 1), RW_OK);
        for (int j = 0; j < 8; j++)
            CHECK(sign[j] == seen[j]);
        value_put((rw_dtype)dtype, s->field[0].data, s->start[0], -1.0); /* known signs stay */
        CHECK_STATUS(rw_deepr_signs(s, 1), RW_OK);
        CHECK(sign[0] == 1);
        CHECK_STATUS(rw_deepr_step(s, 1, 0.0, 0.0, &t, (rw_key){ 0, 0, 0 }, &ALONE), RW_OK);
        for (int j = 0; j < 8; j++)
            CHECK(sign[j] == stepped[j]);
        CHECK(value_get(&s->field[0], s->start[0]) == 0.0); /* it had crossed */
        CHECK(value_get(&s->field[0], s->start[0] + 1) == -2.5);
        CHECK(isnan(value_get(&s->field[0], s->start[0] + 6))); /* for others to notice */
        for (int32_t field = -1; field < 4; field++) /* only field 1 is one of signs */
            if (field != 1) {
                CHECK_STATUS(rw_deepr_signs(s, field), RW_ESHAPE);
                CHECK_STATUS(rw_deepr_step(s, field, 0, 0, &t, (rw_key){ 0, 0, 0 }, &ALONE),
                             RW_ESHAPE);
            }
        rw_store_free(s);
    }
}

/* --- zeros ----------------------------------------------------------------------------- */

static void test_slots_of_zeros_go(void)
{
    for (int32_t group = 1; group <= 8; group *= 2)
        for (int dtype = RW_F32; dtype <= RW_F64; dtype++)
            for (int threads = 1; threads <= 4; threads *= 2) {
                rw_store *s =
                    random_store(150 * group - (group > 1), 1000, group, (rw_dtype)dtype, 40);
                int64_t zeros = 0, d = 0;
                for (int32_t g = 0; g < s->n_groups; g++)
                    for (int64_t i = 0; i < (int64_t)s->len[g] * group; i++)
                        if (random_below(10) < (group == 1 ? 1 : 7))
                            value_put((rw_dtype)dtype, s->field[0].data, s->start[g] * group + i,
                                      random_below(2) ? 0.0 : -0.0);
                rw_plan *p = rw_plan_new(s);
                rw_run run = { threads, NULL, NULL };
                CHECK_STATUS(rw_plan_prune_zeros(p, &run), RW_OK);
                for (int32_t g = 0; g < s->n_groups; g++)
                    for (int32_t k = 0; k < s->len[g]; k++) {
                        bool zero = true;
                        for (int32_t r = 0; r < group; r++)
                            zero = zero
                                && value_get(&s->field[0], (s->start[g] + k) * group + r) == 0.0;
                        bool goes = d < p->n_del && p->del_group[d] == g && p->del_position[d] == k;
                        CHECK(goes == zero);
                        d += goes;
                        zeros += zero;
                    }
                CHECK(d == p->n_del && zeros == d && zeros > 0);
                CHECK_STATUS(rw_plan_prune_zeros(p, &run), RW_ESHAPE); /* not empty any more */
                CHECK_STATUS(commit_plan(s, p), RW_OK);
                CHECK(is_sound(s));
                rw_plan *stale = rw_plan_new(s), *none = rw_plan_new(s);
                CHECK_STATUS(rw_plan_prune_zeros(none, &run), RW_OK);
                CHECK(none->n_del == 0);
                REQUIRE(remove_one(s, 0, s->source[s->start[0]]) == RW_OK);
                CHECK_STATUS(rw_plan_prune_zeros(stale, &run), RW_ESTALE);
                rw_plan_free(none);
                rw_plan_free(stale);
                rw_plan_free(p);
                rw_store_free(s);
            }
    CHECK(rw_mem_live == 0);
}

static void test_zeros_without_memory(void)
{
    rw_store *s = random_store(40, 50, 2, RW_F32, 40);
    for (int32_t g = 0; g < s->n_groups; g++)
        memset(s->field[0].data + (size_t)s->start[g] * rw_slot_bytes(&s->field[0]), 0,
               rw_slot_bytes(&s->field[0]));
    rw_plan *p = rw_plan_new(s);
    int64_t live = rw_mem_live;
    for (int64_t n = 0; n < 3; n++) { /* counts, then the two arrays of the list */
        rw_mem_fail_after = n;
        CHECK_STATUS(rw_plan_prune_zeros(p, &ALONE), RW_ENOMEM);
        rw_mem_fail_after = -1;
        CHECK(p->n_del == 0 && rw_mem_live == live);
    }
    CHECK_STATUS(rw_plan_prune_zeros(p, &ALONE), RW_OK);
    CHECK(p->n_del == s->n_groups);
    rw_plan_free(p);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

/* --- interruption -------------------------------------------------------------------------- */

static void test_passes_can_be_interrupted(void)
{
    rw_store *s = rw_store_new(40000, 125, 8, RW_F32); /* five million weights */
    rw_plan *p = rw_plan_new(s);
    rw_key key = { 1, 1, 1 };
    rw_normal t;
    rw_normal_start(&t);
    rw_run run = { 1, poll_says_stop, NULL };
    CHECK_STATUS(rw_plan_grow_fan_in(p, 125, key, &ALONE), RW_OK);
    CHECK_STATUS(commit_plan(s, p), RW_OK);
    REQUIRE(rw_store_add_field(s, "sign", RW_U8, 8, 0.0) == RW_OK);
    poll_calls = 0;
    CHECK_STATUS(rw_deepr_step(s, 1, 0.0, 1.0, &t, key, &run), RW_EINTR);
    CHECK(poll_calls == 1 && is_sound(s));
    rw_plan_free(p);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}
