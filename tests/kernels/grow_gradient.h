/* grow_gradient.h -- growth by gradient, against the gradients of all places, sorted. */
#ifndef RW_TEST_GROWING_H
#define RW_TEST_GROWING_H

#include "setup.h"
#include "rules/grow_gradient.h"
#include "order.h"
#include "ops/gradient_rows.h"
#include "rules/prune.h"
#include "updates.h"

/* The gradient of a place: kernels.h promises that samples are added in order. */
static double place_gradient(const rw_kernels *k, const rw_tiles *x, int32_t j, const rw_tiles *dy,
                             int32_t row)
{
    double sum = 0;
    for (int64_t b = 0; b < x->batch; b++)
        sum = multiply_add(k, tile_get(dy, row, b), tile_get(x, j, b), sum);
    return sum;
}

static void test_all_gradients_in_order(void)
{
    static const int64_t batches[] = { 1, 2, 9, 64, 65, 200, 700 };
    FOR_EACH_KERNELS(k)
        for (int c = 0; c < 7; c++) { /* n_in around the panels, rows around the blocks */
            int64_t batch = batches[c];
            int32_t n_in = k->panel * (1 + c % 2) + c % 3 - 1, n_out = 3 + c;
            int32_t tile = rw_tile_size(batch, k->dtype);
            n_in = n_in > 0 ? n_in : 1;
            rw_tiles *x = tiles_of(3, n_in, batch, tile, k->dtype);
            rw_tiles *dy = tiles_of(4, n_out, batch, tile, k->dtype);
            rw_gradient_rows all;
            REQUIRE(rw_gradient_rows_start(&all, k, x, NULL, dy, &ALONE) == RW_OK);
            CHECK(all.pitch >= (size_t)n_in && all.pitch < (size_t)(n_in + k->panel));
            char *grad = malloc((size_t)n_out * all.row_bytes);
            REQUIRE(grad);
            for (int32_t first = 0; first < 2; first++) {
                rw_gradient_rows_make(&all, first, n_out - first, grad);
                bool same = true;
                for (int32_t row = first; row < n_out; row++)
                    for (int32_t j = 0; j < n_in; j++) {
                        int64_t at = (row - first) * (int64_t)all.pitch + j;
                        same &= get(k->dtype, grad, at) == place_gradient(k, x, j, dy, row);
                    }
                CHECK(same);
            }
            free(grad);
            rw_gradient_rows_end(&all);
            rw_tiles_free(dy);
            rw_tiles_free(x);
        }
}

static void test_threshold_scan(void)
{
    double values[RW_SCAN_VALUES];
    int32_t at[RW_SCAN_VALUES];
    FOR_EACH_KERNELS(k)
        for (int32_t n = 0; n <= RW_SCAN_VALUES; n += n < 20 ? 1 : 27)
            for (int share = 1; share <= 100; share *= 10) { /* one in so many */
                for (int32_t i = 0; i < n; i++)
                    put(k->dtype, values, i,
                        (hash(40, (uint64_t)i, (uint64_t)share) % (uint64_t)share ? 0.25 : 1)
                                                 * (i % 2 ? 1 : -1));
                if (n > 4) {
                    put(k->dtype, values, 2, (double)NAN);
                    put(k->dtype, values, 3, -(double)INFINITY);
                }
                int32_t found = k->at_least(values, n, 0.5, at), expected = 0;
                for (int32_t i = 0; i < n; i++)
                    if (fabs(get(k->dtype, values, i)) >= 0.5) {
                        CHECK(expected < found && at[expected] == i);
                        expected++;
                    }
                CHECK(found == expected);
            }
}

static const rw_key GROW_KEY = { 7, 1, 5 };

/* A place that competes. */
typedef struct {
    double score;
    uint64_t tie;
    int32_t group, source;
} candidate;

static int highest_first(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->tie < y->tie) - (x->tie > y->tie);
}

static int by_group(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    return x->group != y->group ? (x->group > y->group) - (x->group < y->group)
                                : (x->source > y->source) - (x->source < y->source);
}

/* All places that may grow in the plan, in order. */
static candidate *candidates_of(const rw_plan *p, const rw_kernels *k, const rw_tiles *x,
                                const rw_tiles *dy, bool returns, int64_t *n)
{
    const rw_store *s = p->store;
    candidate *found = malloc(((size_t)s->n_groups * (size_t)s->n_in + 1) * sizeof *found);
    REQUIRE(found);
    *n = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int32_t j = 0; j < s->n_in; j++) {
            int32_t position = rw_group_find(s, g, j);
            bool goes = false;
            for (int64_t d = rw_first_of_group(p->del_group, p->n_del, g); d < p->n_del; d++) {
                if (p->del_group[d] != g)
                    break;
                goes = goes || p->del_position[d] == position;
            }
            if (position >= 0 && !(goes && returns))
                continue;
            double sum = 0;
            for (int32_t r = 0; r < rw_group_rows(s, g); r++)
                sum += fabs(place_gradient(k, x, j, dy, g * s->group + r));
            uint64_t tie = rw_draw4(GROW_KEY, RW_DRAW_TIE, (uint64_t)g, (uint64_t)j).v[0];
            found[(*n)++] = (candidate){ isfinite(sum) ? sum : 0, tie, g, j };
        }
    return found;
}

/* The best `count` of `all`, or, with `each`, those of every group; in order, `kept` of them. */
static candidate *top_of(const rw_store *s, const candidate *all, int64_t n, int64_t count,
                         const int32_t *each, int64_t *kept)
{
    candidate *sorted = malloc((size_t)(n + 1) * sizeof *sorted);
    int32_t *got = calloc((size_t)s->n_groups, sizeof *got);
    REQUIRE(sorted && got);
    memcpy(sorted, all, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, highest_first);
    *kept = 0;
    for (int64_t i = 0; i < n; i++) {
        bool comes = each ? got[sorted[i].group] < each[sorted[i].group] : *kept < count;
        if (comes) {
            got[sorted[i].group]++;
            sorted[(*kept)++] = sorted[i];
        }
    }
    qsort(sorted, (size_t)*kept, sizeof *sorted, by_group);
    free(got);
    return sorted;
}

/* Does the plan insert exactly these? */
static bool grows(const rw_plan *p, const candidate *expected, int64_t kept)
{
    bool same = p->n_ins == kept;
    for (int64_t i = 0; same && i < kept; i++)
        same = p->ins_group[i] == expected[i].group && p->ins_source[i] == expected[i].source;
    return same;
}

static bool grows_top(const rw_plan *p, const candidate *all, int64_t n, int64_t count,
                      const int32_t *each)
{
    int64_t kept;
    candidate *expected = top_of(p->store, all, n, count, each, &kept);
    bool same = grows(p, expected, kept);
    free(expected);
    return same;
}

static rw_plan *plan_of(rw_store *s, int64_t gone)
{
    rw_plan *p = rw_plan_new(s);
    REQUIRE(p);
    REQUIRE(rw_plan_prune_smallest(p, gone, GROW_KEY, &ALONE) == RW_OK);
    return p;
}

static void test_growth_by_gradient_is_exact(void)
{
    FOR_EACH_KERNELS(k) {
        /* groups, whether places return, dy that are equal or zero */
        for (int c = 0; c < 16; c++) {
            int32_t group = GROUPS[c % 4], n_out = 5 * group - (group > 1), n_in = LONGEST;
            int64_t batch = LENGTHS[(3 * c + 1) % N_LENGTHS];
            bool returns = c / 4 % 2;
            rw_store *s = store_of(n_out, n_in, group, group, k->dtype);
            int32_t tile = rw_tile_size(batch, k->dtype);
            rw_tiles *x = tiles_of(3, n_in, batch, tile, k->dtype);
            rw_tiles *dy = c < 8 || c % 3 == 0 ? tiles_of(4, n_out, batch, tile, k->dtype)
                                               : tiles_new(n_out, batch, tile, k->dtype);
            if (c % 3 == 0) /* sources in threes share their activations: ties above zero */
                for (int32_t j = 0; j < n_in; j++)
                    for (int64_t b = 0; b < batch; b++)
                        put(k->dtype, x->data, place_in(x, j, b), value(3, j / 3, b));
            int64_t n, gone = s->slots / 3;
            rw_plan *p = plan_of(s, gone);
            candidate *all = candidates_of(p, k, x, dy, returns, &n);
            CHECK(n == (int64_t)s->n_groups * n_in - s->slots + (returns ? gone : 0));
            const int64_t counts[] = { 0, 1, n / 20, n / 3, n - 1, n };
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                rw_plan_free(p);
                p = plan_of(s, gone);
                CHECK_STATUS(rw_plan_grow_gradient(p, counts[i], k, x, NULL, dy, returns, GROW_KEY,
                                                   &ALONE), RW_OK);
                CHECK(grows_top(p, all, n, counts[i], NULL) && p->n_del == gone);
                rw_fault at;
                CHECK_STATUS(rw_plan_check(p, &at), RW_OK);
            }
            int32_t each[40] = { 0 };
            for (int kind = 0; kind < 3; kind++) { /* some, none or all of a group's places */
                for (int64_t i = 0; i < n; i++)
                    if (kind == 2 || (kind == 1 && hash(9, (uint64_t)i, 0) % 4 == 0))
                        each[all[i].group] += all[i].group % 3 != 1 || kind == 2;
                rw_plan_free(p);
                p = plan_of(s, gone);
                CHECK_STATUS(rw_plan_grow_gradient_each(p, each, k, x, NULL, dy, returns, GROW_KEY,
                                                        &ALONE), RW_OK);
                CHECK(grows_top(p, all, n, 0, each) && p->n_del == gone);
                memset(each, 0, sizeof each);
            }
            rw_plan_free(p);
            free(all);
            rw_tiles_free(dy);
            rw_tiles_free(x);
            rw_store_free(s);
        }
    }
}

/* Large enough for threads, and for blocks that estimate the threshold: about right, far
 * too high (where the gradients are large is what they see) and far too low. */
static void test_growth_does_not_depend_on_threads(void)
{
    enum { N_OUT = 701, N_IN = 600, BATCH = 9 };
    const rw_kernels *k = rw_kernels_named(RW_F32, NULL);
    for (int kind = 0; kind < 4; kind++) {
        int32_t group = GROUPS[kind];
        rw_store *s = store_of(N_OUT, N_IN, group, group, RW_F32);
        rw_tiles *x = tiles_of(3, N_IN, BATCH, 16, RW_F32);
        rw_tiles *dy = tiles_of(4, N_OUT, BATCH, 16, RW_F32);
        for (int32_t row = 0; row < N_OUT && kind > 1; row++)
            for (int64_t b = 0; b < BATCH; b++)
                put(RW_F32, dy->data, place_in(dy, row, b),
                    value(4, row, b)
                        * ((row / (4 * (kind - 1)) % 16 == 0) == (kind == 2) ? 1 : 1e-9));
        int64_t n, gone = s->slots / 4, count = 30000 / group;
        rw_plan *p = plan_of(s, gone), *first = plan_of(s, gone);
        candidate *all = candidates_of(p, k, x, dy, true, &n);
        int32_t each[N_OUT];
        for (int32_t g = 0; g < s->n_groups; g++)
            each[g] = (int32_t)(hash(5, (uint64_t)g, 0) % 60);
        int64_t most = n / 3, some_kept, most_kept, each_kept; /* so many that all are noted */
        candidate *some = top_of(s, all, n, count, NULL, &some_kept);
        candidate *many = top_of(s, all, n, most, NULL, &most_kept);
        candidate *of_each = top_of(s, all, n, 0, each, &each_kept);
        for (int threads = 1; threads <= 8; threads += NEXT_THREADS) {
            rw_run run = { threads, NULL, NULL };
            p->n_ins = 0;
            CHECK_STATUS(rw_plan_grow_gradient(p, count, k, x, NULL, dy, true, GROW_KEY, &run), RW_OK);
            CHECK(grows(p, some, some_kept));
            p->n_ins = 0;
            CHECK_STATUS(rw_plan_grow_gradient(p, most, k, x, NULL, dy, true, GROW_KEY, &run), RW_OK);
            CHECK(grows(p, many, most_kept));
            p->n_ins = 0;
            CHECK_STATUS(rw_plan_grow_gradient_each(p, each, k, x, NULL, dy, true, GROW_KEY, &run),
                         RW_OK);
            CHECK(grows(p, of_each, each_kept));
        }
        free(of_each);
        free(many);
        free(some);
        free(all);
        rw_plan_free(first);
        rw_plan_free(p);
        rw_tiles_free(dy);
        rw_tiles_free(x);
        rw_store_free(s);
    }
}

/* An infinite input gives its places a score of 0, not the highest; rows beyond n_out add
 * nothing to a score. */
static void test_gradients_that_are_not_finite(void)
{
    FOR_EACH_KERNELS(k) {
        for (int g = 0; g < 4; g++) {
            rw_store *s = rw_store_new(3, 20, GROUPS[g], k->dtype); /* empty */
            rw_tiles *x = tiles_of(3, 20, 5, 8, k->dtype), *dy = tiles_of(4, 3, 5, 8, k->dtype);
            put(k->dtype, x->data, place_in(x, 6, 2), INFINITY);
            put(k->dtype, x->data, place_in(x, 11, 0), NAN);
            rw_plan *p = rw_plan_new(s);
            int64_t worthy = (int64_t)s->n_groups * 18;
            CHECK_STATUS(rw_plan_grow_gradient(p, worthy, k, x, NULL, dy, false, GROW_KEY, &ALONE),
                         RW_OK);
            CHECK(p->n_ins == worthy);
            for (int64_t i = 0; i < p->n_ins; i++)
                CHECK(p->ins_source[i] != 6 && p->ins_source[i] != 11);
            rw_plan_free(p);
            rw_tiles_free(dy);
            rw_tiles_free(x);
            rw_store_free(s);
        }
    }
}

static void test_growth_that_is_refused(void)
{
    const rw_kernels *k = rw_kernels_named(RW_F64, NULL);
    rw_store *s = store_of(11, 40, 2, 2, RW_F64);
    rw_tiles *x = tiles_of(3, 40, 5, 8, RW_F64), *dy = tiles_of(4, 11, 5, 8, RW_F64);
    int64_t gone = s->slots / 2, empty = (int64_t)s->n_groups * 40 - s->slots;
    int32_t each[6] = { 0 };
    rw_plan *p = plan_of(s, gone);
    CHECK_STATUS(rw_plan_grow_gradient(p, empty + 1, k, x, NULL, dy, false, GROW_KEY, &ALONE), RW_EFULL);
    CHECK_STATUS(rw_plan_grow_gradient(p, empty + gone + 1, k, x, NULL, dy, true, GROW_KEY, &ALONE),
                 RW_EFULL);
    CHECK_STATUS(rw_plan_grow_gradient(p, -1, k, x, NULL, dy, true, GROW_KEY, &ALONE), RW_ESHAPE);
    CHECK_STATUS(rw_plan_grow_gradient(p, 1, k, dy, NULL, x, true, GROW_KEY, &ALONE), RW_ESHAPE);
    each[5] = 40 - s->len[5] + 1;
    CHECK_STATUS(rw_plan_grow_gradient_each(p, each, k, x, NULL, dy, false, GROW_KEY, &ALONE), RW_EFULL);
    each[5] = -1;
    CHECK_STATUS(rw_plan_grow_gradient_each(p, each, k, x, NULL, dy, true, GROW_KEY, &ALONE), RW_ESHAPE);
    each[5] = 1;
    CHECK_STATUS(rw_plan_grow_gradient_each(p, each, k, dy, NULL, x, true, GROW_KEY, &ALONE), RW_ESHAPE);
    CHECK(p->n_del == gone && p->n_ins == 0);
    CHECK_STATUS(rw_plan_grow_gradient_each(p, each, k, x, NULL, dy, true, GROW_KEY, &ALONE), RW_OK);
    CHECK(p->n_del == gone && p->n_ins == 1 && p->ins_group[0] == 5);
    /* the plan has insertions already */
    CHECK_STATUS(rw_plan_grow_gradient(p, 1, k, x, NULL, dy, true, GROW_KEY, &ALONE), RW_ESHAPE);
    rw_plan *stale = rw_plan_new(s);
    REQUIRE(rw_store_compact(s) == RW_OK);
    CHECK_STATUS(rw_plan_grow_gradient(stale, 1, k, x, NULL, dy, true, GROW_KEY, &ALONE), RW_ESTALE);
    CHECK_STATUS(rw_plan_grow_gradient_each(stale, each, k, x, NULL, dy, true, GROW_KEY, &ALONE),
                 RW_ESTALE);
    rw_plan_free(stale);
    rw_plan_free(p);
    rw_tiles_free(dy);
    rw_tiles_free(x);
    rw_store_free(s);
}

/* Every allocation fails once: nothing leaks, and the plan is what it was. */
static void test_growth_without_memory(void)
{
    const rw_kernels *k = rw_kernels_named(RW_F32, NULL);
    rw_store *s = store_of(700, 600, 1, 1, RW_F32);
    rw_tiles *x = tiles_of(3, 600, 2, 2, RW_F32), *dy = tiles_of(4, 700, 2, 2, RW_F32);
    int32_t each[700];
    for (int32_t g = 0; g < 700; g++)
        each[g] = (int32_t)rw_min64(g % 3, 600 - s->len[g]);
    int64_t empty = (int64_t)s->n_groups * 600 - s->slots;
    for (int kind = 0; kind < 3; kind++) { /* selected, all noted, each group by itself */
        int64_t n = 0, count = kind ? empty / 3 : 900;
        for (bool failed = true; failed; n++) {
            REQUIRE(n < 100);
            rw_plan *p = plan_of(s, 300);
            int64_t blocks = rw_mem_live;
            rw_run run = { 3, NULL, NULL };
            rw_mem_fail_after = n;
            rw_status status =
                kind == 2 ? rw_plan_grow_gradient_each(p, each, k, x, NULL, dy, true, GROW_KEY, &run)
                          : rw_plan_grow_gradient(p, count, k, x, NULL, dy, true, GROW_KEY, &run);
            failed = rw_mem_fail_after < 0;
            rw_mem_fail_after = -1;
            CHECK_STATUS(status, failed ? RW_ENOMEM : RW_OK);
            CHECK(p->n_del == 300 && (p->n_ins == 0) == failed);
            CHECK(rw_mem_live <= blocks + 2); /* the plan's own arrays may have grown */
            rw_plan_free(p);
        }
        CHECK(n > 8); /* they were asked for */
    }
    rw_tiles_free(dy);
    rw_tiles_free(x);
    rw_store_free(s);
}

static void test_growth_can_be_stopped(void)
{
    const rw_kernels *k = rw_kernels_named(RW_F32, NULL);
    rw_store *s = store_of(2000, 1000, 4, 4, RW_F32);
    rw_tiles *x = tiles_of(3, 1000, 128, 64, RW_F32), *dy = tiles_of(4, 2000, 128, 64, RW_F32);
    int32_t each[500];
    for (int32_t g = 0; g < 500; g++)
        each[g] = s->len[g] < 1000;
    int64_t empty = (int64_t)s->n_groups * 1000 - s->slots;
    for (int kind = 0; kind < 3; kind++)
        for (int i = 0; i < PATIENCES; i++) {
            int patience = PATIENCE[i], left = patience;
            rw_run run = { 1, count_poll, &left };
            rw_plan *p = plan_of(s, 300);
            int64_t count = kind ? empty / 3 : 900;
            rw_status status =
                kind == 2 ? rw_plan_grow_gradient_each(p, each, k, x, NULL, dy, true, GROW_KEY, &run)
                          : rw_plan_grow_gradient(p, count, k, x, NULL, dy, true, GROW_KEY, &run);
            CHECK_STATUS(status, patience ? RW_OK : RW_EINTR);
            CHECK(p->n_del == 300 && (p->n_ins > 0) == (patience > 0));
            CHECK(patience == 0 || (left >= 90 && left < 99));
            rw_plan_free(p);
        }
    rw_tiles_free(dy);
    rw_tiles_free(x);
    rw_store_free(s);
}

#endif
