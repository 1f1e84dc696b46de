/* grow_paths.h -- new links where many short paths lead, against the definition. */

#include "base/topk.h"
#include "rules/grow_paths.h"

/* The graph that a plan leaves, as a table: groups first, then sources. */
typedef struct {
    int32_t groups, nodes;
    bool *joined; /* nodes * nodes */
} table;

static table table_of(const rw_plan *p)
{
    const rw_store *s = p->store;
    table t = { s->n_groups, s->n_groups + s->n_in, NULL };
    t.joined = calloc((size_t)t.nodes * (size_t)t.nodes, sizeof *t.joined);
    REQUIRE(t.joined);
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int32_t k = 0; k < s->len[g]; k++) {
            int32_t v = t.groups + s->source[s->start[g] + k];
            t.joined[g * t.nodes + v] = t.joined[v * t.nodes + g] = true;
        }
    for (int64_t d = 0; d < p->n_del; d++) {
        int32_t g = p->del_group[d];
        int32_t v = t.groups + s->source[s->start[g] + p->del_position[d]];
        t.joined[g * t.nodes + v] = t.joined[v * t.nodes + g] = false;
    }
    return t;
}

/* What a node gives, the local community being `inner`. */
static double gives(const table *t, const bool *inner, int32_t node, int32_t u, int32_t v,
                    rw_path_score score)
{
    int32_t internal = 0, external = 0;
    for (int32_t x = 0; x < t->nodes; x++)
        if (t->joined[node * t->nodes + x] && x != u && x != v) {
            internal += inner[x];
            external += !inner[x];
        }
    return (score == RW_CH2 ? sqrt(1.0 + internal) : 1.0) * (1.0 / sqrt(1.0 + external));
}

static double path_score(const table *t, int32_t u, int32_t v, rw_path_score score)
{
    bool *inner = calloc((size_t)t->nodes, sizeof *inner);
    REQUIRE(inner);
#define ON_A_PATH(a, b) \
    (t->joined[u * t->nodes + (a)] && t->joined[(a) * t->nodes + (b)] && \
     t->joined[(b) * t->nodes + v])
    for (int32_t a = t->groups; a < t->nodes; a++)
        for (int32_t b = 0; b < t->groups; b++)
            if (ON_A_PATH(a, b))
                inner[a] = inner[b] = true;
    double sum = 0;
    for (int32_t a = t->groups; a < t->nodes; a++) {
        double of_a = 0;
        for (int32_t b = 0; b < t->groups; b++)
            if (ON_A_PATH(a, b))
                of_a += gives(t, inner, b, u, v, score);
        if (of_a > 0)
            sum += of_a * gives(t, inner, a, u, v, score);
    }
#undef ON_A_PATH
    free(inner);
    return sum;
}

/* The top `count` empty places, sorted; returns how many places have a path. */
static int64_t top_by_table(const rw_plan *p, int64_t count, rw_path_score score, bool sample,
                            rw_key key, rw_topk *top)
{
    table t = table_of(p);
    int64_t n_in = t.nodes - t.groups, reached = 0;
    REQUIRE(rw_topk_start(top, count, t.groups * n_in, key) == RW_OK);
    for (int32_t u = 0; u < t.groups; u++)
        for (int32_t v = t.groups; v < t.nodes; v++) {
            if (t.joined[u * t.nodes + v])
                continue;
            double x = path_score(&t, u, v, score);
            uint64_t word =
                rw_draw4(key, RW_DRAW_SAMPLE, (uint64_t)u, (uint64_t)(v - t.groups)).v[0];
            reached += x > 0;
            rw_topk_offer(top, sample ? x / -log1p(-rw_unit(word)) : x, u, v - t.groups);
        }
    rw_topk_sort(top);
    free(t.joined);
    return reached;
}

static void test_paths_by_definition(void)
{
    static const struct { int32_t n_out, n_in, group, percent; } shapes[] = {
        { 17, 23, 1, 30 }, { 23, 17, 1, 12 }, { 40, 60, 4, 25 }, { 25, 130, 1, 2 },
        { 12, 12, 1, 95 }, { 1, 9, 1, 50 }, { 9, 1, 1, 50 }, { 8, 8, 1, 0 },
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int how = 0; how < 4; how++) {
            rw_path_score score = how & 1 ? RW_CH2 : RW_CH3;
            bool sample = how & 2;
            rw_key key = { 3, 1, i };
            rw_store *s = random_store(shapes[i].n_out, shapes[i].n_in, shapes[i].group, RW_F32,
                                       shapes[i].percent);
            rw_plan *cut = rw_plan_new(s);
            CHECK_STATUS(rw_plan_prune_smallest(cut, s->slots / 3, key, &ALONE), RW_OK);
            int64_t room = count_empty(s) + cut->n_del;
            int64_t counts[] = { 0, 1, room / 5, room - 1, room };
            for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
                if (counts[c] < 0)
                    continue;
                rw_plan *p = rw_plan_new(s);
                rw_topk top;
                CHECK_STATUS(rw_plan_prune_smallest(p, s->slots / 3, key, &ALONE), RW_OK);
                top_by_table(p, counts[c], score, sample, key, &top);
                CHECK_STATUS(rw_plan_grow_paths(p, counts[c], score, sample, key, &ALONE), RW_OK);
                CHECK(p->n_ins == counts[c] && top.n == counts[c]);
                for (int64_t e = 0; e < p->n_ins; e++)
                    CHECK(p->ins_group[e] == top.at[e].group
                          && p->ins_source[e] == top.at[e].source);
                rw_topk_end(&top);
                rw_plan_free(p);
            }
            rw_plan_free(cut);
            rw_store_free(s);
        }
    CHECK(rw_mem_live == 0);
}

/* Two of some places without replacement: as often as chances in proportion to the scores give. */
static void test_paths_are_drawn_by_score(void)
{
    enum { DRAWS = 30000, PLACES = 6 * 7 };
    random_state = 5;
    rw_store *s = random_store(6, 7, 1, RW_F32, 55);
    rw_plan *none = rw_plan_new(s);
    table t = table_of(none);
    double x[PLACES], all = 0, chi2 = 0;
    int64_t hits[PLACES * PLACES] = { 0 };
    int pairs = 0, reached = 0;
    for (int i = 0; i < PLACES; i++) {
        x[i] = connected(s, i / 7, i % 7) ? 0 : path_score(&t, i / 7, 6 + i % 7, RW_CH3);
        all += x[i];
        reached += x[i] > 0;
    }
    for (uint64_t step = 0; step < DRAWS; step++) {
        rw_plan *p = rw_plan_new(s);
        CHECK_STATUS(rw_plan_grow_paths(p, 2, RW_CH3, true, (rw_key){ 8, 1, step }, &ALONE), RW_OK);
        int i = p->ins_group[0] * 7 + p->ins_source[0], j = p->ins_group[1] * 7 + p->ins_source[1];
        hits[i * PLACES + j]++;
        rw_plan_free(p);
    }
    for (int i = 0; i < PLACES; i++)
        for (int j = i + 1; j < PLACES; j++) {
            double expected =
                DRAWS * (x[i] * x[j] / (all - x[i]) + x[j] * x[i] / (all - x[j])) / all;
            double far = (double)hits[i * PLACES + j] - expected;
            if (expected > 0) {
                chi2 += far * far / expected;
                pairs++;
            } else {
                CHECK(far == 0);
            }
        }
    CHECK(reached > 10 && pairs == reached * (reached - 1) / 2);
    /* Mean pairs - 1, variance twice that: 1 in 10,000. */
    CHECK(chi2 < pairs - 1 + 3.9 * sqrt(2.0 * (pairs - 1)));
    free(t.joined);
    rw_plan_free(none);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

/* Places on no path are taken when no others are left, and not in the order of places. */
static void test_places_on_no_path_come_last(void)
{
    for (int sample = 0; sample < 2; sample++) {
        rw_store *s = rw_store_new(20, 30, 1, RW_F32);
        CHECK_STATUS(insert_one(s, 4, 7, 1.0), RW_OK);
        CHECK_STATUS(insert_one(s, 4, 9, 1.0), RW_OK);
        CHECK_STATUS(insert_one(s, 2, 9, 1.0), RW_OK); /* one path: 2 - 9 - 4 - 7 */
        rw_plan *p = rw_plan_new(s);
        CHECK_STATUS(rw_plan_grow_paths(p, 61, RW_CH3, sample, (rw_key){ 1, 1, 1 }, &ALONE), RW_OK);
        bool found = false;
        int low = 0;
        for (int64_t e = 0; e < p->n_ins; e++) {
            found = found || (p->ins_group[e] == 2 && p->ins_source[e] == 7);
            low += p->ins_group[e] < 10;
        }
        CHECK(found && low > 20 && low < 42);
        CHECK_STATUS(commit_plan(s, p), RW_OK);
        CHECK(is_sound(s));
        rw_plan_free(p);
        rw_store_free(s);
    }
    CHECK(rw_mem_live == 0);
}

static void test_paths_are_the_same_on_many_threads(void)
{
    rw_store *s = random_store(300, 400, 1, RW_F32, 6);
    rw_store *packed = rw_store_clone(s);
    for (int how = 0; how < 4; how++) {
        rw_key key = { 9, 2, (uint64_t)how };
        rw_path_score score = how & 1 ? RW_CH2 : RW_CH3;
        rw_plan *p = rw_plan_new(s);
        CHECK_STATUS(rw_plan_prune_smallest(p, 1000, key, &ALONE), RW_OK);
        CHECK_STATUS(rw_plan_grow_paths(p, 1000, score, how & 2, key, &ALONE), RW_OK);
        for (int threads = 2; threads <= 8; threads *= 2) {
            rw_run run = { threads, NULL, NULL };
            rw_plan *q = rw_plan_new(packed);
            CHECK_STATUS(rw_plan_prune_smallest(q, 1000, key, &run), RW_OK);
            CHECK_STATUS(rw_plan_grow_paths(q, 1000, score, how & 2, key, &run), RW_OK);
            CHECK(p->n_ins == 1000 && q->n_ins == 1000);
            CHECK(!memcmp(p->ins_group, q->ins_group, 1000 * sizeof *p->ins_group));
            CHECK(!memcmp(p->ins_source, q->ins_source, 1000 * sizeof *p->ins_source));
            rw_plan_free(q);
        }
        rw_plan_free(p);
    }
    rw_store_free(packed);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

static void test_growth_by_paths_refuses(void)
{
    rw_store *s = random_store(10, 12, 2, RW_F32, 40);
    rw_plan *p = rw_plan_new(s);
    rw_key key = { 1, 1, 1 };
    int64_t room = count_empty(s);
    CHECK_STATUS(rw_plan_grow_paths(p, -1, RW_CH3, false, key, &ALONE), RW_ESHAPE);
    CHECK_STATUS(rw_plan_grow_paths(p, room + 1, RW_CH3, false, key, &ALONE), RW_EFULL);
    CHECK_STATUS(rw_plan_grow_paths(p, 3, RW_CH3, false, key, &(rw_run){ 1, poll_says_stop, NULL }),
                 RW_EINTR);
    CHECK(p->n_ins == 0);
    CHECK_STATUS(rw_plan_grow_paths(p, 3, RW_CH3, false, key, &ALONE), RW_OK);
    CHECK_STATUS(rw_plan_grow_paths(p, 3, RW_CH3, false, key, &ALONE), RW_ESHAPE);
    CHECK(p->n_ins == 3);
    rw_plan *late = rw_plan_new(s);
    CHECK_STATUS(commit_plan(s, p), RW_OK);
    CHECK_STATUS(rw_plan_grow_paths(late, 3, RW_CH3, false, key, &ALONE), RW_ESTALE);
    rw_plan_free(late);
    rw_plan_free(p);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}
