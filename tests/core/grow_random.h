/* grow_random.h -- where new links come, and their weights. */

static int64_t count_empty(const rw_store *s)
{
    return rw_store_places(s) - s->slots;
}

static void test_random_growth_is_exact(void)
{
    for (int32_t percent = 0; percent <= 100; percent += 20) {
        rw_store *s = random_store(31, 43, 2, RW_F32, percent);
        int64_t room = count_empty(s);
        int64_t counts[] = { 0, 1, room / 3, room - 1, room };
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            if (counts[i] < 0 || counts[i] > room)
                continue;
            rw_store *copy = rw_store_clone(s);
            rw_plan *p = rw_plan_new(copy);
            rw_fault at;
            CHECK_STATUS(rw_plan_grow_random(p, counts[i], (rw_key){ 3, 1, i }, &ALONE), RW_OK);
            CHECK(p->n_ins == counts[i] && p->n_del == 0);
            CHECK_STATUS(rw_plan_check(p, &at), RW_OK);
            CHECK_STATUS(commit_plan(copy, p), RW_OK);
            CHECK(is_sound(copy) && copy->slots == s->slots + counts[i]);
            rw_plan_free(p);
            rw_store_free(copy);
        }
        rw_plan *p = rw_plan_new(s);
        snapshot shot = snapshot_take(s);
        CHECK_STATUS(rw_plan_grow_random(p, room + 1, (rw_key){ 3, 1, 9 }, &ALONE), RW_EFULL);
        CHECK(p->n_ins == 0 && snapshot_same(&shot, s));
        CHECK_STATUS(rw_plan_grow_random(p, INT64_MAX, (rw_key){ 3, 1, 9 }, &ALONE), RW_EFULL);
        /* Places the plan count_empty are empty. */
        int64_t gone = s->slots / 4;
        CHECK_STATUS(rw_plan_prune_smallest(p, gone, (rw_key){ 3, 1, 9 }, &ALONE), RW_OK);
        CHECK_STATUS(rw_plan_grow_random(p, room + gone + 1, (rw_key){ 3, 1, 9 }, &ALONE),
                     RW_EFULL);
        CHECK(p->n_del == gone && p->n_ins == 0);
        CHECK_STATUS(rw_plan_grow_random(p, room + gone, (rw_key){ 3, 1, 9 }, &ALONE), RW_OK);
        CHECK_STATUS(commit_plan(s, p), RW_OK);
        CHECK(is_sound(s) && count_empty(s) == 0);
        rw_plan_free(p);
        snapshot_free(&shot);
        rw_store_free(s);
    }
    CHECK(rw_mem_live == 0);
}

/* Every set of 3 of the 10 empty places equally often: chi-square over 120 sets.
 * One link of the three there goes by the same plan; its place is empty. */
static void test_random_growth_is_uniform(void)
{
    rw_store *s = rw_store_new(3, 4, 1, RW_F32);
    CHECK_STATUS(insert_one(s, 0, 1, 3.0), RW_OK);
    CHECK_STATUS(insert_one(s, 0, 3, 2.0), RW_OK);
    CHECK_STATUS(insert_one(s, 2, 0, 1.0), RW_OK);
    int64_t *count = calloc((size_t)1 << 12, sizeof *count);
    REQUIRE(count);
    enum { DRAWS = 36000 };
    int32_t group = 2, source = 0;
    for (uint64_t step = 0; step < DRAWS; step++) {
        rw_key key = { 77, 0, step };
        rw_plan *p = rw_plan_new(s);
        rw_fault at;
        CHECK_STATUS(rw_plan_pairs(p, 1, &group, &source, 0, NULL, NULL, NULL, &at), RW_OK);
        CHECK_STATUS(rw_plan_grow_random(p, 3, key, &ALONE), RW_OK);
        unsigned set = 0;
        for (int64_t i = 0; i < p->n_ins; i++)
            set |= 1u << (p->ins_group[i] * 4 + p->ins_source[i]);
        count[set & 0xfff]++;
        rw_plan_free(p);
    }
    int sets = 0;
    double chi2 = 0.0, expected = DRAWS / 120.0;
    for (unsigned set = 0; set < 1u << 12; set++)
        if (count[set]) {
            sets++;
            chi2 += ((double)count[set] - expected) * ((double)count[set] - expected) / expected;
            CHECK(!(set & (1u << 1 | 1u << 3))); /* taken */
        }
    CHECK(sets == 120);
    CHECK(chi2 < 185.0); /* 119 degrees of freedom: 1 in 10,000 */
    free(count);
    rw_store_free(s);
}

/* How k links fall on rows of unequal room: the mean of each is k * room / all. */
static void test_random_growth_splits_in_proportion(void)
{
    enum { ROWS = 6, DRAWS = 3000, K = 40 };
    rw_store *s = rw_store_new(ROWS, 60, 1, RW_F32);
    for (int32_t g = 0; g < ROWS; g++) /* row g: 10 * g links, 60 - 10 * g empty */
        for (int32_t j = 0; j < 10 * g; j++)
            CHECK_STATUS(insert_one(s, g, (j * 7) % 60, 1.0), RW_OK);
    double sum[ROWS] = { 0 }, squares[ROWS] = { 0 };
    for (uint64_t step = 0; step < DRAWS; step++) {
        int got[ROWS] = { 0 };
        rw_plan *p = rw_plan_new(s);
        CHECK_STATUS(rw_plan_grow_random(p, K, (rw_key){ 5, 5, step }, &ALONE), RW_OK);
        for (int64_t i = 0; i < p->n_ins; i++)
            got[p->ins_group[i]]++;
        for (int g = 0; g < ROWS; g++) {
            sum[g] += got[g];
            squares[g] += (double)got[g] * got[g];
        }
        rw_plan_free(p);
    }
    for (int g = 0; g < ROWS; g++) {
        double room = 60.0 - 10.0 * g, all = 210.0;
        double mean = K * room / all, variance = mean * (all - room) / all * (all - K) / (all - 1);
        double got = sum[g] / DRAWS;
        CHECK(fabs(got - mean) < 4.5 * sqrt(variance / DRAWS));
        CHECK(fabs((squares[g] / DRAWS - got * got) / variance - 1.0) < 0.15);
    }
    rw_store_free(s);
}

/* The stretches that threads work on draw their shares by themselves: how many of
 * many links fall on half of a layer varies as much as it should, and no more. */
static void test_stretches_draw_their_own_share(void)
{
    enum { ROWS = 64, WIDTH = 1000, DRAWS = 600, K = 16384 }; /* some twenty stretches */
    rw_store *s = rw_store_new(ROWS, WIDTH, 1, RW_F32);
    double sum = 0.0, squares = 0.0;
    for (uint64_t step = 0; step < DRAWS; step++) {
        rw_plan *p = rw_plan_new(s);
        CHECK_STATUS(rw_plan_grow_random(p, K, (rw_key){ 6, 5, step }, &ALONE), RW_OK);
        double here = 0.0;
        for (int64_t i = 0; i < p->n_ins; i++)
            here += p->ins_group[i] < ROWS / 2;
        sum += here;
        squares += here * here;
        rw_plan_free(p);
    }
    double all = ROWS * WIDTH, mean = sum / DRAWS, variance = 0.25 * K * (all - K) / (all - 1);
    CHECK(fabs(mean - K / 2) < 4.5 * sqrt(variance / DRAWS));
    CHECK(fabs((squares / DRAWS - mean * mean) / variance - 1.0) < 0.28);
    rw_store_free(s);
}

static void test_growth_does_not_depend_on_threads_or_layout(void)
{
    rw_store *s = random_store(200, 300, 1, RW_F32, 20);
    rw_store *packed = rw_store_clone(s);
    rw_key key = { 1, 2, 3 };
    for (int kind = 0; kind < 2; kind++) {
        rw_plan *p = rw_plan_new(s), *q = rw_plan_new(packed);
        rw_run many = { 4, NULL, NULL };
        if (kind == 0) {
            CHECK_STATUS(rw_plan_grow_random(p, 5000, key, &ALONE), RW_OK);
            CHECK_STATUS(rw_plan_grow_random(q, 5000, key, &many), RW_OK);
        } else {
            CHECK_STATUS(rw_plan_grow_fan_in(p, 80, key, &ALONE), RW_OK);
            CHECK_STATUS(rw_plan_grow_fan_in(q, 80, key, &many), RW_OK);
        }
        CHECK(p->n_ins == q->n_ins);
        for (int64_t i = 0; i < p->n_ins; i++)
            CHECK(p->ins_group[i] == q->ins_group[i] && p->ins_source[i] == q->ins_source[i]);
        rw_plan_free(p);
        rw_plan_free(q);
    }
    rw_store_free(packed);
    rw_store_free(s);
}

static void test_fan_in(void)
{
    rw_store *s = random_store(40, 50, 2, RW_F32, 30);
    int64_t longest = 0, before = s->slots;
    for (int32_t g = 0; g < s->n_groups; g++)
        longest = rw_max64(longest, s->len[g]);
    rw_key key = { 4, 4, 4 };
    rw_plan *p = rw_plan_new(s);
    CHECK_STATUS(rw_plan_grow_fan_in(p, 51, key, &ALONE), RW_EFULL);
    CHECK(p->n_ins == 0);
    CHECK_STATUS(rw_plan_prune_smallest(p, 60, key, &ALONE), RW_OK);
    CHECK_STATUS(rw_plan_grow_fan_in(p, 15, key, &ALONE), RW_OK);
    int32_t *left = malloc((size_t)s->n_groups * sizeof *left);
    REQUIRE(left);
    for (int32_t g = 0; g < s->n_groups; g++)
        left[g] = s->len[g];
    for (int64_t d = 0; d < p->n_del; d++)
        left[p->del_group[d]]--;
    CHECK_STATUS(commit_plan(s, p), RW_OK);
    for (int32_t g = 0; g < s->n_groups; g++)
        CHECK(s->len[g] == (left[g] > 15 ? left[g] : 15));
    CHECK(is_sound(s) && before != s->slots && longest > 15);
    rw_plan_free(p);
    p = rw_plan_new(s);
    CHECK_STATUS(rw_plan_grow_fan_in(p, 50, key, &ALONE), RW_OK);
    CHECK_STATUS(commit_plan(s, p), RW_OK);
    CHECK(count_empty(s) == 0 && is_sound(s));
    rw_plan_free(p);
    free(left);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

/* --- weights of new links ------------------------------------------------------------ */

static void test_values_of_new_links(void)
{
    for (int32_t group = 1; group <= 4; group *= 2)
        for (int dtype = RW_F32; dtype <= RW_F64; dtype++) {
            rw_store *s = rw_store_new(200 * group - (group > 1), 400, group, (rw_dtype)dtype);
            rw_key key = { 8, 3, 1 };
            rw_plan *p = rw_plan_new(s);
            CHECK_STATUS(rw_plan_grow_fan_in(p, 100, key, &ALONE), RW_OK);
            rw_field values = { .dtype = (rw_dtype)dtype, .width = group };
            int64_t n = p->n_ins * group;
            int32_t last = s->n_groups - 1;
            for (int kind = RW_VALUE_CONSTANT; kind <= RW_VALUE_NORMAL; kind++)
                for (int fan = RW_FAN_NONE; fan <= RW_FAN_REAL; fan++) {
                    CHECK_STATUS(rw_plan_values(p, (rw_value)kind, 3.0, (rw_fan)fan, key, NULL),
                                 RW_OK);
                    values.data = p->ins_weight;
                    double sum = 0.0, squares = 0.0, largest = 0.0, live = 0.0;
                    for (int64_t i = 0; i < n; i++) {
                        double w = value_get(&values, i);
                        int32_t g = p->ins_group[i / group], r = (int32_t)(i % group);
                        if (r >= rw_group_rows(s, g)) {
                            CHECK(g == last && w == 0.0);
                            continue;
                        }
                        live += 1.0;
                        sum += w;
                        squares += w * w;
                        largest = fmax(largest, fabs(w));
                    }
                    double scale = fan == RW_FAN_REAL ? 3.0 / 10.0 : 3.0;
                    double mean = sum / live, deviation = sqrt(squares / live);
                    if (kind == RW_VALUE_CONSTANT) {
                        CHECK(fabs(mean / scale - 1.0) < 1e-6
                              && fabs(largest / scale - 1.0) < 1e-6);
                    } else if (kind == RW_VALUE_UNIFORM) {
                        CHECK(fabs(mean) < 0.03 * scale && largest <= scale
                              && largest > 0.99 * scale);
                        CHECK(fabs(deviation / (scale / sqrt(3.0)) - 1.0) < 0.03);
                    } else {
                        CHECK(fabs(mean) < 0.04 * scale && largest > 3.0 * scale);
                        CHECK(fabs(deviation / scale - 1.0) < 0.03);
                    }
                }
            rw_plan_free(p);
            rw_store_free(s);
        }
    CHECK(rw_mem_live == 0);
}

static void test_a_new_link_s_value_does_not_depend_on_company(void)
{
    rw_store *s = rw_store_new(6, 20, 2, RW_F64);
    rw_key key = { 8, 3, 1 };
    rw_fault at;
    int32_t group[3] = { 0, 1, 2 }, source[3] = { 4, 7, 19 };
    rw_plan *three = rw_plan_new(s), *one = rw_plan_new(s);
    CHECK_STATUS(rw_plan_pairs(three, 0, NULL, NULL, 3, group, source, NULL, &at), RW_OK);
    CHECK_STATUS(rw_plan_pairs(one, 0, NULL, NULL, 1, group + 1, source + 1, NULL, &at), RW_OK);
    CHECK_STATUS(rw_plan_values(three, RW_VALUE_NORMAL, 1.0, RW_FAN_NONE, key, NULL), RW_OK);
    CHECK_STATUS(rw_plan_values(one, RW_VALUE_NORMAL, 1.0, RW_FAN_NONE, key, NULL), RW_OK);
    const double *a = (const double *)(const void *)three->ins_weight;
    const double *b = (const double *)(const void *)one->ins_weight;
    CHECK(a[2] == b[0] && a[3] == b[1]);
    CHECK(a[0] != a[1] && a[0] != a[2] && a[2] != a[3]);
    rw_plan_free(three);
    rw_plan_free(one);
    rw_store_free(s);
}
