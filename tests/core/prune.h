/* prune.h -- which slots are dropped; and that long rules can be interrupted. */

/* Scores of one class, removed or kept. */
typedef struct {
    int64_t n, gone;
    double largest_gone, smallest_kept;
} tally;

static void count_score(tally *t, double score, bool gone)
{
    t->n++;
    t->gone += gone;
    if (isnan(score))
        score = INFINITY;
    if (gone)
        t->largest_gone = fmax(t->largest_gone, score);
    else
        t->smallest_kept = fmin(t->smallest_kept, score);
}

/* Does the plan's list say what SET says? */
static void check_set(const rw_store *s, const rw_plan *p, double zeta)
{
    tally positive = { 0, 0, -INFINITY, INFINITY }, negative = positive;
    int64_t d = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int32_t k = 0; k < s->len[g]; k++) {
            bool gone = d < p->n_del && p->del_group[d] == g && p->del_position[d] == k;
            d += gone;
            const rw_field *w = &s->field[RW_WEIGHT];
            double score = 0.0;
            for (int32_t r = 0; r < s->group; r++)
                score += fabs(value_get(w, (s->start[g] + k) * s->group + r));
            bool minus = s->group == 1 && value_get(w, s->start[g] + k) < 0.0;
            count_score(minus ? &negative : &positive, score, gone);
        }
    CHECK(d == p->n_del); /* the list was in order */
    CHECK(positive.gone == (int64_t)floor(zeta * (double)positive.n));
    CHECK(negative.gone == (int64_t)floor(zeta * (double)negative.n));
    CHECK(positive.largest_gone <= positive.smallest_kept);
    CHECK(negative.largest_gone <= negative.smallest_kept);
}

static rw_store *store_of(int32_t n, const double *weight, int32_t group, rw_dtype dtype)
{
    rw_store *s = rw_store_new(group, n / group, group, dtype);
    rw_fault at;
    REQUIRE(s);
    place *all = malloc((size_t)n * sizeof *all);
    REQUIRE(all);
    for (int32_t j = 0; j < n / group; j++)
        all[j] = (place){ 0, j };
    REQUIRE(change(s, 0, NULL, n / group, all, weight, &at) == RW_OK);
    free(all);
    return s;
}

static void test_set_counts(void)
{
    static const struct {
        const char *what;
        int n;
        double weight[12], zeta;
        int64_t expected;
    } cases[] = {
        { "each class rounded down", 7, { 1, 2, 3, -1, -2, -3, -4 }, 0.5, 1 + 2 },
        { "below one of each", 6, { 1, 2, 3, -1, -2, -3 }, 0.3, 0 },
        { "zero counts as positive", 4, { 0.0, -0.0, 5, -5 }, 0.5, 1 },
        { "zeros alone", 4, { 0.0, -0.0, 0.0, -0.0 }, 0.5, 2 },
        { "negatives alone", 5, { -1, -2, -3, -4, -5 }, 0.4, 2 },
        { "positives alone", 5, { 1, 2, 3, 4, 5 }, 0.4, 2 },
        { "everything", 5, { 1, -2, 0, -4, 5 }, 1.0, 5 },
        { "nothing", 5, { 1, -2, 0, -4, 5 }, 0.0, 0 },
        { "subnormals", 6, { 1.5e-45, -1.5e-45, 1e-40, -1e-40, 1, -1 }, 0.34, 2 },
        { "infinite", 4, { INFINITY, -INFINITY, 1, -1 }, 0.5, 2 },
        { "ten times 0.3", 10, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, 0.3, 3 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int dtype = RW_F32; dtype <= RW_F64; dtype++) {
            rw_store *s = store_of(cases[i].n, cases[i].weight, 1, (rw_dtype)dtype);
            rw_plan *p = rw_plan_new(s);
            CHECK_STATUS(rw_plan_prune_set(p, cases[i].zeta, (rw_key){ 1, 2, 3 }, &ALONE), RW_OK);
            if (p->n_del != cases[i].expected) {
                printf("case \"%s\": %lld go\n", cases[i].what, (long long)p->n_del);
                CHECK(p->n_del == cases[i].expected);
            }
            if (dtype == RW_F64)
                check_set(s, p, cases[i].zeta);
            rw_plan_free(p);
            rw_store_free(s);
        }
    rw_store *s = rw_store_new(3, 3, 1, RW_F32); /* an empty layer */
    rw_plan *p = rw_plan_new(s);
    CHECK_STATUS(rw_plan_prune_set(p, 0.3, (rw_key){ 1, 2, 3 }, &ALONE), RW_OK);
    CHECK(p->n_del == 0);
    CHECK_STATUS(rw_plan_prune_smallest(p, 0, (rw_key){ 1, 2, 3 }, &ALONE), RW_OK);
    CHECK_STATUS(rw_plan_prune_smallest(p, 1, (rw_key){ 1, 2, 3 }, &ALONE), RW_ESHAPE);
    rw_plan_free(p);
    rw_store_free(s);
}

static void test_set_takes_the_smallest(void)
{
    static const double zetas[] = { 0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 1.0 };
    for (int32_t group = 1; group <= 8; group *= 2)
        for (size_t z = 0; z < sizeof zetas / sizeof *zetas; z++) {
            rw_store *s = random_store(37, 61, group, z % 2 ? RW_F64 : RW_F32, 40);
            for (int32_t g = 0; g < s->n_groups; g++)
                for (int64_t i = 0; i < (int64_t)s->len[g] * group; i++)
                    if (i % group < rw_group_rows(s, g)) {
                        int32_t kind = random_below(20);
                        double w = kind == 0 ? 0.0 : kind == 1 ? -0.0
                                 : (double)(random_below(41) - 20) / 16.0; /* many ties */
                        value_put(s->field[0].dtype, s->field[0].data, s->start[g] * group + i, w);
                    }
            rw_plan *p = rw_plan_new(s);
            CHECK_STATUS(rw_plan_prune_set(p, zetas[z], (rw_key){ 6, 0, z }, &ALONE), RW_OK);
            check_set(s, p, zetas[z]);
            rw_fault at;
            CHECK_STATUS(rw_plan_check(p, &at), RW_OK);
            rw_plan_free(p);
            rw_store_free(s);
        }
}

static void test_nan_goes_last(void)
{
    const double weight[8] = { NAN, 1, INFINITY, 2, -NAN, 3, NAN, 4 };
    for (int64_t count = 0; count <= 8; count++) {
        rw_store *s = store_of(8, weight, 1, RW_F32);
        rw_plan *p = rw_plan_new(s);
        CHECK_STATUS(rw_plan_prune_smallest(p, count, (rw_key){ 1, 1, 1 }, &ALONE), RW_OK);
        CHECK(p->n_del == count);
        int64_t nans = 0;
        for (int64_t d = 0; d < p->n_del; d++)
            nans += isnan(weight[p->del_position[d]]) != 0;
        CHECK(nans == rw_max64(0, count - 5));
        rw_plan_free(p);
        rw_store_free(s);
    }
    for (int percent = 0; percent <= 100; percent += 25) { /* SET: counts hold, nothing hangs */
        rw_store *s = store_of(8, weight, 1, RW_F64);
        rw_plan *p = rw_plan_new(s);
        CHECK_STATUS(rw_plan_prune_set(p, percent / 100.0, (rw_key){ 1, 1, 1 }, &ALONE), RW_OK);
        for (int64_t d = 0; percent <= 50 && d < p->n_del; d++)
            CHECK(!isnan(weight[p->del_position[d]]));
        rw_plan_free(p);
        rw_store_free(s);
    }
}

static void test_ties_go_by_hash(void)
{
    double equal[40];
    for (int i = 0; i < 40; i++)
        equal[i] = i % 2 ? 1.0 : -1.0;
    rw_store *s = store_of(40, equal, 1, RW_F32);
    int often[40] = { 0 }, changed = 0;
    int32_t last[10] = { 0 };
    for (uint64_t step = 0; step < 1000; step++) {
        rw_key key = { 3, 1, step };
        rw_plan *p = rw_plan_new(s), *again = rw_plan_new(s);
        CHECK_STATUS(rw_plan_prune_smallest(p, 10, key, &ALONE), RW_OK);
        CHECK_STATUS(rw_plan_prune_smallest(again, 10, key, &(rw_run){ 3, NULL, NULL }), RW_OK);
        CHECK(p->n_del == 10 && again->n_del == 10);
        for (int d = 0; d < 10; d++) {
            CHECK(p->del_position[d] == again->del_position[d]);
            often[p->del_position[d]]++;
            changed += p->del_position[d] != last[d];
            last[d] = p->del_position[d];
        }
        rw_plan_free(p);
        rw_plan_free(again);
    }
    CHECK(changed > 5000);
    for (int i = 0; i < 40; i++) /* 250 expected, deviation 14 */
        CHECK(often[i] > 180 && often[i] < 320);
    /* Who ties is named by place, not by position: a link with a smaller source
     * that does not tie changes positions, not the choice. */
    rw_key key = { 3, 1, 4 };
    rw_store *t = rw_store_new(1, 100, 1, RW_F32), *u = rw_store_new(1, 100, 1, RW_F32);
    for (int32_t j = 10; j < 100; j += 2) {
        CHECK_STATUS(insert_one(t, 0, j, 1.0), RW_OK);
        CHECK_STATUS(insert_one(u, 0, j, 1.0), RW_OK);
    }
    CHECK_STATUS(insert_one(u, 0, 3, 50.0), RW_OK);
    rw_plan *p = rw_plan_new(t), *q = rw_plan_new(u);
    CHECK_STATUS(rw_plan_prune_smallest(p, 12, key, &ALONE), RW_OK);
    CHECK_STATUS(rw_plan_prune_smallest(q, 12, key, &ALONE), RW_OK);
    for (int d = 0; d < 12; d++)
        CHECK(p->del_position[d] + 1 == q->del_position[d]);
    rw_plan_free(p);
    rw_plan_free(q);
    rw_store_free(t);
    rw_store_free(u);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

/* Large enough for whatever shortcut selection takes. */
/* More equal weights than a last bin may hold, as in a layer of new links: the ties alone say
 * which slots go, and exactly so many. */
static int by_tie(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_ties_of_many(void)
{
    enum { ROWS = 90, WIDE = 70, N = ROWS * WIDE };
    rw_store *s = rw_store_new(ROWS, WIDE, 1, RW_F64);
    rw_plan *p = rw_plan_new(s);
    rw_key key = { 5, 1, 0 };
    CHECK_STATUS(rw_plan_grow_fan_in(p, WIDE, key, &ALONE), RW_OK); /* all weights are zero */
    CHECK_STATUS(commit_plan(s, p), RW_OK);
    rw_plan_free(p);
    static uint64_t tie[N];
    static const int64_t counts[] = { 0, 1, 2, 700, 3149, 3150, 5796, N - 1, N };
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (key.step = 1; key.step <= 5; key.step++) {
            for (int i = 0; i < N; i++)
                tie[i] =
                    rw_draw4(key, RW_DRAW_TIE, (uint64_t)(i / WIDE), (uint64_t)(i % WIDE)).v[0];
            qsort(tie, N, sizeof *tie, by_tie);
            p = rw_plan_new(s);
            CHECK_STATUS(rw_plan_prune_smallest(p, counts[c], key, &ALONE), RW_OK);
            CHECK(p->n_del == counts[c]);
            for (int64_t d = 0; d < p->n_del; d++) {
                uint64_t source =
                    (uint64_t)s->source[s->start[p->del_group[d]] + p->del_position[d]];
                uint64_t mine = rw_draw4(key, RW_DRAW_TIE, (uint64_t)p->del_group[d], source).v[0];
                CHECK(mine <= tie[counts[c] - 1]);
            }
            rw_plan_free(p);
        }
    rw_store_free(s);
}

static void test_pruning_many(void)
{
    rw_store *s = random_store(300, 800, 1, RW_F32, 50);
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int64_t i = s->start[g]; i < s->start[g] + s->len[g]; i++) {
            double w = (double)(int64_t)(random_word() >> 20) / 1e13 - 0.5;
            value_put(RW_F32, s->field[0].data, i, random_below(10) ? w : w < 0 ? -0.25 : 0.25);
        }
    static const double zetas[] = { 0.001, 0.3, 0.5, 0.55, 0.999 };
    for (size_t z = 0; z < sizeof zetas / sizeof *zetas; z++) {
        rw_plan *p = rw_plan_new(s), *q = rw_plan_new(s);
        rw_key key = { 1, 2, z };
        CHECK_STATUS(rw_plan_prune_set(p, zetas[z], key, &ALONE), RW_OK);
        check_set(s, p, zetas[z]);
        CHECK_STATUS(rw_plan_prune_set(q, zetas[z], key, &(rw_run){ 4, NULL, NULL }), RW_OK);
        CHECK(p->n_del == q->n_del
              && memcmp(p->del_group, q->del_group, (size_t)p->n_del * 4) == 0
              && memcmp(p->del_position, q->del_position, (size_t)p->n_del * 4) == 0);
        rw_plan_free(p);
        rw_plan_free(q);
    }
    rw_store_free(s);
}

/* --- by scores made elsewhere --------------------------------------------------------- */

static bool same_removals(const rw_plan *p, const rw_plan *q)
{
    return p->n_del == q->n_del && (p->n_del == 0
        || (memcmp(p->del_group, q->del_group, (size_t)p->n_del * 4) == 0
            && memcmp(p->del_position, q->del_position, (size_t)p->n_del * 4) == 0));
}

/* Scores that are |w| give what rw_plan_prune_smallest gives, for any count and threads. */
static void test_pruning_by_scores(void)
{
    for (int32_t group = 1; group <= 8; group *= 2)
        for (int kind = 0; kind < 3; kind++) { /* different; of four values; all zero */
            rw_store *s = random_store(90, 500, group, RW_F64, 30);
            double *score = malloc((size_t)s->slots * sizeof *score);
            REQUIRE(score);
            int64_t slot = 0;
            for (int32_t g = 0; g < s->n_groups; g++)
                for (int32_t k = 0; k < s->len[g]; k++, slot++) {
                    double w = kind == 0   ? (double)(random_word() >> 12)
                               : kind == 1 ? random_below(4)
                                           : 0;
                    for (int32_t r = 0; r < group; r++) /* the sum over rows is w */
                        value_put(RW_F64, s->field[0].data, (s->start[g] + k) * group + r,
                                  r ? 0 : -w);
                    score[slot] = kind == 2 && slot % 2 ? -0.0 : w;
                }
            const int64_t counts[] = { 0, 1, s->slots / 3, s->slots - 1, s->slots };
            for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
                rw_plan *q = rw_plan_new(s);
                rw_key key = { 4, 1, c };
                CHECK_STATUS(rw_plan_prune_smallest(q, counts[c], key, &ALONE), RW_OK);
                for (int threads = 1; threads <= 8; threads++) {
                    rw_plan *p = rw_plan_new(s);
                    CHECK_STATUS(rw_plan_prune_scores(p, score, counts[c], key,
                                                      &(rw_run){ threads, NULL, NULL }),
                                 RW_OK);
                    CHECK(p->n_del == counts[c] && same_removals(p, q));
                    rw_plan *rest = rw_plan_new(s);
                    rw_run run = { threads, NULL, NULL };
                    CHECK_STATUS(rw_plan_prune_largest(rest, score, s->slots - counts[c], key,
                                                       &run), RW_OK);
                    CHECK(rest->n_del == s->slots - counts[c]);
                    int64_t d = 0, l = 0; /* together they are all slots, in order */
                    for (int32_t g = 0; g < s->n_groups; g++)
                        for (int32_t k = 0; k < s->len[g]; k++) {
                            bool goes = d < p->n_del && p->del_group[d] == g
                                && p->del_position[d] == k;
                            bool stays = l < rest->n_del && rest->del_group[l] == g
                                && rest->del_position[l] == k;
                            CHECK(goes != stays);
                            d += goes;
                            l += stays;
                        }
                    rw_plan_free(rest);
                    rw_plan_free(p);
                }
                rw_plan_free(q);
            }
            free(score);
            rw_store_free(s);
        }
    CHECK(rw_mem_live == 0);
}

static void test_bad_scores(void)
{
    const double weight[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    double score[8] = { 3, NAN, INFINITY, 0, 5e-324, -NAN, 1e300, 1 };
    static const int order[8] = { 3, 4, 7, 0, 6, 2, 1, 5 }; /* the last two are one */
    rw_store *s = store_of(8, weight, 1, RW_F32);
    for (int64_t count = 0; count <= 8; count++) {
        rw_plan *p = rw_plan_new(s);
        CHECK_STATUS(rw_plan_prune_scores(p, score, count, (rw_key){ 1, 1, 1 }, &ALONE), RW_OK);
        CHECK(p->n_del == count);
        for (int64_t i = 0; i < count && count != 7; i++) {
            bool found = false;
            for (int64_t d = 0; d < count; d++)
                found = found || p->del_position[d] == order[i];
            CHECK(found);
        }
        CHECK_STATUS(rw_plan_prune_scores(p, score, 1, (rw_key){ 1, 1, 1 }, &ALONE),
                     count ? RW_ESHAPE : RW_OK);
        rw_plan_free(p);
    }
    rw_plan *p = rw_plan_new(s);
    CHECK_STATUS(rw_plan_prune_scores(p, score, 9, (rw_key){ 1, 1, 1 }, &ALONE), RW_ESHAPE);
    CHECK_STATUS(rw_plan_prune_scores(p, score, -1, (rw_key){ 1, 1, 1 }, &ALONE), RW_ESHAPE);
    score[7] = -5e-324;
    CHECK_STATUS(rw_plan_prune_scores(p, score, 1, (rw_key){ 1, 1, 1 }, &ALONE), RW_ESHAPE);
    CHECK(p->n_del == 0);
    CHECK_STATUS(remove_one(s, 0, 0), RW_OK);
    CHECK_STATUS(rw_plan_prune_scores(p, score, 1, (rw_key){ 1, 1, 1 }, &ALONE), RW_ESTALE);
    rw_plan_free(p);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

/* --- interruption ------------------------------------------------------------------- */

static int poll_calls;
static int poll_says_stop(void *arg)
{
    (void)arg;
    poll_calls++;
    return 1;
}

static void test_rules_can_be_interrupted(void)
{
    rw_store *s = random_store(2000, 2000, 1, RW_F32, 20); /* 800,000 links */
    snapshot shot = snapshot_take(s);
    rw_run run = { 1, poll_says_stop, NULL };
    rw_key key = { 1, 1, 1 };
    rw_plan *p = rw_plan_new(s), *q = rw_plan_new(s);
    for (int i = 0; i < 2; i++) {
        poll_calls = 0; /* short work need not ask; an answer counts */
        rw_status got = i == 0 ? rw_plan_prune_set(p, 0.3, key, &run)
                               : rw_plan_grow_random(q, 2000000, key, &run);
        CHECK(got == (poll_calls ? RW_EINTR : RW_OK));
        CHECK(poll_calls <= 1 && (i == 0 || poll_calls == 1));
    }
    CHECK(snapshot_same(&shot, s));
    rw_plan_free(p);
    rw_plan_free(q);
    snapshot_free(&shot);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

/* The quick way gives what the general one gives, by the order of prune.c: told apart by scores,
 * of which the caller's are the same numbers. */
static void test_pruning_a_few_of_many(void)
{
    for (int32_t group = 1; group <= 4; group *= 4)
        for (int levels = 5; levels <= 5000; levels *= 1000) { /* many ties, and hardly any */
            rw_store *s = random_store(100 * group, 300, group, group == 1 ? RW_F32 : RW_F64, 30);
            const rw_field *f = &s->field[RW_WEIGHT];
            double *score = malloc((size_t)s->slots * sizeof *score);
            REQUIRE(score);
            int64_t n = 0;
            for (int32_t g = 0; g < s->n_groups; g++)
                for (int32_t k = 0; k < s->len[g]; k++, n++) {
                    score[n] = 0;
                    for (int32_t r = 0; r < group; r++) {
                        double w = random_below(levels) * (random_below(2) ? 1.0 : -1.0);
                        value_put(f->dtype, f->data, (s->start[g] + k) * group + r, w);
                        score[n] += fabs(w);
                    }
                }
            for (int64_t count = 1; count <= 60; count += count < 4 ? 1 : 28)
                for (uint64_t step = 0; step < 4; step++) {
                    rw_key key = { 1, 4, step };
                    rw_plan *quick = rw_plan_new(s), *plain = rw_plan_new(s);
                    bool found = rw_plan_prune_few(quick, count, key);
                    CHECK(found || levels == 5);
                    CHECK_STATUS(rw_plan_prune_scores(plain, score, count, key, &ALONE), RW_OK);
                    size_t bytes = (size_t)count * sizeof *plain->del_group;
                    if (found)
                        CHECK(quick->n_del == count && quick->checked
                              && !memcmp(quick->del_group, plain->del_group, bytes)
                              && !memcmp(quick->del_position, plain->del_position, bytes));
                    else
                        CHECK(quick->n_del == 0);
                    rw_plan_free(plain);
                    rw_plan_free(quick);
                }
            rw_plan *none = rw_plan_new(s);
            CHECK(!rw_plan_prune_few(none, 0, (rw_key){ 0, 0, 0 }));
            CHECK(!rw_plan_prune_few(none, s->slots / 2, (rw_key){ 0, 0, 0 }));
            rw_mem_fail_after = 0; /* no memory: the general way is tried */
            CHECK(!rw_plan_prune_few(none, 3, (rw_key){ 0, 0, 0 }) && none->n_del == 0);
            rw_mem_fail_after = -1;
            rw_plan_free(none);
            free(score);
            rw_store_free(s);
        }
    rw_store *small = random_store(10, 10, 1, RW_F32, 50);
    rw_plan *p = rw_plan_new(small);
    CHECK(!rw_plan_prune_few(p, 2, (rw_key){ 0, 0, 0 }));
    rw_plan_free(p);
    rw_store_free(small);
    CHECK(rw_mem_live == 0);
}

static void test_pruning_below(void)
{
    static const double thresholds[] = { 0.0, 1.0, 2.5, 3.0, 1e300, INFINITY };
    for (int32_t group = 1; group <= 4; group *= 4)
        for (int dtype = RW_F32; dtype <= RW_F64; dtype++) {
            rw_store *s = random_store(40 * group - (group > 1), 700, group, (rw_dtype)dtype, 45);
            const rw_field *f = &s->field[RW_WEIGHT];
            for (int32_t g = 0; g < s->n_groups; g++)
                for (int64_t i = 0; i < (int64_t)s->len[g] * rw_group_rows(s, g); i++) {
                    int64_t rows = rw_group_rows(s, g), at = s->start[g] * group + i / rows * group;
                    value_put(f->dtype, f->data, at + i % rows, (random_below(13) - 6) / 2.0);
                }
            value_put(f->dtype, f->data, s->start[1] * group, NAN);
            for (size_t i = 0; i < sizeof thresholds / sizeof *thresholds; i++) {
                rw_plan *p = rw_plan_new(s);
                CHECK_STATUS(rw_plan_prune_below(p, thresholds[i], &ALONE), RW_OK);
                int64_t d = 0;
                for (int32_t g = 0; g < s->n_groups; g++)
                    for (int32_t k = 0; k < s->len[g]; k++) {
                        double sum = 0;
                        for (int32_t r = 0; r < group; r++)
                            sum += fabs(value_get(f, (s->start[g] + k) * group + r));
                        bool goes = d < p->n_del && p->del_group[d] == g && p->del_position[d] == k;
                        CHECK(goes == (sum < thresholds[i]));
                        d += goes;
                    }
                CHECK(d == p->n_del && (d > 0) == (i > 0));
                rw_plan_free(p);
            }
            rw_plan *p = rw_plan_new(s);
            CHECK_STATUS(rw_plan_prune_below(p, -1.0, &ALONE), RW_ESHAPE);
            CHECK_STATUS(rw_plan_prune_below(p, NAN, &ALONE), RW_ESHAPE);
            rw_plan_free(p);
            rw_store_free(s);
        }
    CHECK(rw_mem_live == 0);
}
