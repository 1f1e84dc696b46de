/* topk.h -- the top k of a stream, against sorting all of it. */

#include "base/topk.h"

/* A candidate with its tie: what rw_better would say of it. */
typedef struct {
    double score;
    uint64_t tie;
    int32_t group, source;
} entry;

static int better_first(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->tie != y->tie)
        return x->tie > y->tie ? -1 : 1;
    return x->group != y->group ? (x->group > y->group) - (x->group < y->group)
                                : (x->source > y->source) - (x->source < y->source);
}

static int place_first(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    return x->group != y->group ? (x->group > y->group) - (x->group < y->group)
                                : (x->source > y->source) - (x->source < y->source);
}

static const rw_key TOPK_KEY = { 11, 2, 3 };

/* n distinct places in random order; their scores have few values, or one. */
static entry *entries(int64_t n, int32_t values)
{
    entry *all = malloc((size_t)(n + 1) * sizeof *all);
    REQUIRE(all);
    for (int64_t i = 0; i < n; i++) {
        all[i] =
            (entry){ (double)random_below(values) / 8, 0, (int32_t)(i / 50), (int32_t)(i % 50) };
        all[i].tie =
            rw_draw4(TOPK_KEY, RW_DRAW_TIE, (uint64_t)all[i].group, (uint64_t)all[i].source).v[0];
    }
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = random_below((int32_t)i + 1);
        entry e = all[i];
        all[i] = all[j];
        all[j] = e;
    }
    return all;
}

/* Does b hold the first k of `all` (of n, which this sorts)? */
static bool holds_top_k(const rw_topk *b, entry *all, int64_t n, int64_t k)
{
    qsort(all, (size_t)n, sizeof *all, better_first);
    n = rw_min64(n, k);
    qsort(all, (size_t)n, sizeof *all, place_first);
    if (b->n != n)
        return false;
    for (int64_t i = 0; i < n; i++)
        if (b->at[i].group != all[i].group || b->at[i].source != all[i].source)
            return false;
    return true;
}

static void test_top_k_of_a_stream(void)
{
    static const int64_t lengths[] = { 0, 1, 2, 63, 64, 65, 128, 129, 130, 700, 3000 };
    static const int32_t values[] = { 1, 2, 9, 1000000 };
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            int64_t n = lengths[l], ks[] = { 0, 1, 2, n / 10, n / 2, n - 1, n, n + 5 };
            for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
                int64_t k = rw_max64(0, ks[i]);
                entry *all = entries(n, values[v]);
                rw_topk b;
                REQUIRE(rw_topk_start(&b, k, n, TOPK_KEY) == RW_OK);
                CHECK(b.room <= 2 * rw_max64(k, 64));
                for (int64_t e = 0; e < n; e++)
                    rw_topk_offer(&b, all[e].score, all[e].group, all[e].source);
                rw_topk_sort(&b);
                CHECK(holds_top_k(&b, all, n, k));
                rw_topk_end(&b);
                free(all);
            }
        }
    CHECK(rw_mem_live == 0);
}

static void test_streams_merge(void)
{
    enum { STREAMS = 3, N = 2000 };
    for (int64_t k = 0; k <= N; k += 399) {
        entry *all = entries(N, 20);
        rw_topk b[STREAMS];
        for (int t = 0; t < STREAMS; t++)
            REQUIRE(rw_topk_start(&b[t], k, N, TOPK_KEY) == RW_OK);
        for (int64_t e = 0; e < N; e++) /* the streams differ in length */
            rw_topk_offer(&b[e % 7 ? 0 : e % 2 + 1], all[e].score, all[e].group, all[e].source);
        for (int t = 1; t < STREAMS; t++)
            rw_topk_merge(&b[0], &b[t]);
        rw_topk_sort(&b[0]);
        CHECK(holds_top_k(&b[0], all, N, k));
        for (int t = 0; t < STREAMS; t++)
            rw_topk_end(&b[t]);
        free(all);
    }
    CHECK(rw_mem_live == 0);
}

/* Nobody whose score is lower; and the same memory serves stream after stream. */
static void test_a_stream_with_a_threshold(void)
{
    enum { N = 1500, K = 100 };
    rw_topk b;
    REQUIRE(rw_topk_start(&b, K, N, TOPK_KEY) == RW_OK);
    for (int64_t k = K; k > 0; k -= 33)
        for (double threshold = 0; threshold < 14; threshold += 1.625) { /* scores end at 12.375 */
            entry *all = entries(N, 100);
            rw_topk_again(&b, k, threshold);
            CHECK(rw_topk_threshold(&b) == threshold);
            for (int64_t e = 0; e < N; e++)
                /* A caller may or may not look at the threshold first. */
                if (e % 2 || all[e].score >= rw_topk_threshold(&b))
                    rw_topk_offer(&b, all[e].score, all[e].group, all[e].source);
            rw_topk_sort(&b);
            int64_t above = 0;
            qsort(all, N, sizeof *all, better_first);
            while (above < N && all[above].score >= threshold)
                above++;
            CHECK(holds_top_k(&b, all, above, k));
            free(all);
        }
    rw_topk_end(&b);
    CHECK(rw_mem_live == 0);
}

static void test_scores_that_are_no_numbers(void)
{
    const double scores[] = { NAN, -1, INFINITY, 5e-324, -INFINITY, 0, -0.0, 1e308, -NAN };
    enum { N = (int)(sizeof scores / sizeof *scores) };
    rw_topk b;
    REQUIRE(rw_topk_start(&b, 3, N, TOPK_KEY) == RW_OK);
    for (int32_t i = 0; i < N; i++)
        rw_topk_offer(&b, scores[i], 0, i);
    rw_topk_sort(&b);
    CHECK(b.n == 3 && b.at[0].source == 2 && b.at[1].source == 3 && b.at[2].source == 7);
    rw_topk_end(&b);
    rw_mem_fail_after = 0;
    CHECK_STATUS(rw_topk_start(&b, 3, N, TOPK_KEY), RW_ENOMEM);
    rw_mem_fail_after = -1;
    CHECK(rw_mem_live == 0);
}
