/* merge.h -- stores merged, values carried over, structures as bytes and as a number; each beside
 * the slow way to say the same. */
#include "store/digest.h"
#include "store/merge.h"
#include "store/structure.h"

enum { MERGED_MOST = 9 };

/* Weights with ties, zeros of both signs, and no numbers, and some whose sum depends on the order. */
static double odd_weight(int odd)
{
    static const double SPECIAL[] = { 0.0, -0.0, 1.0, -1.0, 1e-42, NAN, 1e30, -1e30 };
    int which = random_below(odd ? 16 : 1000000);
    return which < 8 ? SPECIAL[which] : (double)random_below(1 << 20) / (1 << 21) - 0.2;
}

static rw_store *odd_store(int32_t n_out, int32_t n_in, int32_t group, rw_dtype dtype, int odd)
{
    rw_store *s = random_store(n_out, n_in, group, dtype, 5 + random_below(60));
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int64_t i = s->start[g] * group; i < (s->start[g] + s->len[g]) * group; i++)
            value_put(dtype, s->field[RW_WEIGHT].data, i, odd_weight(odd));
    rw_weights_clip(s, s->n_groups - 1, s->start[s->n_groups - 1], s->len[s->n_groups - 1]);
    return s;
}

/* The blend for row r of a place, by definition; how many stores have it: *holders. */
static double slow_blend(rw_store *const *from, const int32_t *of, int32_t k, rw_blend how,
                         int32_t g, int32_t j, int32_t r, int *holders)
{
    double found = how == RW_BLEND_MIN ? INFINITY : how == RW_BLEND_MAX ? -INFINITY : -0.0;
    *holders = 0;
    for (int32_t i = 0; i < k; i++) {
        int32_t at = rw_group_find(from[i], g, j);
        if (at < 0)
            continue;
        const rw_field *f = &from[i]->field[of[i]];
        double v = value_get(f, (from[i]->start[g] + at) * f->width + r);
        ++*holders;
        if (how == RW_BLEND_MIN)
            found = v < found || isnan(v) ? v : found;
        else if (how == RW_BLEND_MAX)
            found = v > found || isnan(v) ? v : found;
        else
            found += v;
    }
    if (k > 1 && how == RW_BLEND_MEAN)
        found /= k;
    if (k > 1 && how == RW_BLEND_HOLDERS)
        found /= *holders;
    return found;
}

typedef struct {
    double score;
    int32_t group, source;
    double value[8];
} candidate;

static int by_score(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    double p = isnan(x->score) ? INFINITY : x->score, q = isnan(y->score) ? INFINITY : y->score;
    if (p != q)
        return p > q ? -1 : 1;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return (x->source > y->source) - (x->source < y->source);
}

/* Is `out` the merge of the stores, with `slots` slots? */
static bool is_merge(const rw_store *out, rw_store *const *from, int32_t k, rw_blend how,
                     int64_t slots)
{
    static const int32_t WEIGHTS[MERGED_MOST] = { 0 };
    const rw_store *s = from[0];
    candidate *all = malloc((size_t)rw_store_places(s) * sizeof *all);
    REQUIRE(all);
    int64_t n = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int32_t j = 0; j < s->n_in; j++) {
            candidate c = { 0.0, g, j, { 0 } };
            int holders = 0;
            for (int32_t r = 0; r < s->group; r++) {
                double v = slow_blend(from, WEIGHTS, k, how, g, j, r, &holders);
                c.value[r] = s->field[RW_WEIGHT].dtype == RW_F32 ? (double)(float)v : v;
                c.score += fabs(c.value[r]);
            }
            if (holders)
                all[n++] = c;
        }
    if (slots != RW_MERGE_ALL) {
        qsort(all, (size_t)n, sizeof *all, by_score);
        n = rw_min64(n, slots);
    }
    bool same = is_sound(out) && out->slots == n && (slots == RW_MERGE_ALL || n == slots);
    for (int64_t i = 0; i < n && same; i++) {
        int32_t at = rw_group_find(out, all[i].group, all[i].source);
        same = at >= 0;
        for (int32_t r = 0; r < s->group && same; r++)
            same = same_value(all[i].value[r],
                              value_get(&out->field[RW_WEIGHT],
                                        (out->start[all[i].group] + at) * s->group + r));
    }
    free(all);
    return same;
}

static void test_merges_by_definition(void)
{
    static const int32_t SIZES[][2] = { { 21, 30 }, { 1, 7 }, { 150, 60 }, { 700, 20 } };
    random_state = 31;
    for (int run = 0; run < 240; run++) {
        int32_t group = 1 << random_below(4), k = 1 + random_below(MERGED_MOST);
        const int32_t *size = SIZES[random_below(4)];
        rw_dtype dtype = random_below(2) ? RW_F64 : RW_F32;
        rw_store *from[MERGED_MOST];
        int64_t all = 0;
        int odd = random_below(3) == 0;
        for (int32_t i = 0; i < k; i++) {
            from[i] = odd_store(size[0], size[1], group, dtype, odd);
            all += from[i]->slots;
        }
        rw_blend how = (rw_blend)random_below(5);
        rw_run threads = { 1 + random_below(4), NULL, NULL };
        rw_store *out = NULL, *whole = NULL;
        CHECK_STATUS(rw_store_merge((const rw_store *const *)from, k, how, RW_MERGE_ALL, &threads,
                                    &whole), RW_OK);
        CHECK(is_merge(whole, from, k, how, RW_MERGE_ALL));
        int64_t slots = random_below(4) ? random_below((int32_t)whole->slots + 1) : whole->slots;
        CHECK_STATUS(rw_store_merge((const rw_store *const *)from, k, how, slots, &threads, &out),
                     RW_OK);
        CHECK(is_merge(out, from, k, how, slots));
        rw_store_free(out);
        out = NULL;
        CHECK_STATUS(rw_store_merge((const rw_store *const *)from, k, how, whole->slots + 1,
                                    &threads, &out), RW_EFULL);
        CHECK(!out);
        rw_store_free(whole);
        for (int32_t i = 0; i < k; i++)
            rw_store_free(from[i]);
    }
    CHECK(rw_mem_live == 0);
}

/* Links so few among so many sources that they are merged in runs of keys, not by the ranks of sources; most
 * stores have the same few, and the sums depend on their order. */
static void test_merges_of_few_links_in_wide_rows(void)
{
    enum { WIDE = 1200, ROWS = 3, STORES = 5, MOST = 3 };
    random_state = 36;
    for (int run = 0; run < 120; run++) {
        rw_blend how = (rw_blend)(run % (RW_BLEND_HOLDERS + 1));
        rw_store *from[STORES];
        for (int32_t i = 0; i < STORES; i++) {
            int64_t indptr[ROWS + 1] = { 0 };
            int32_t sources[ROWS * MOST];
            float weights[ROWS * MOST];
            int32_t n = 0;
            for (int32_t g = 0; g < ROWS; g++) {
                for (int32_t p = 0; p < MOST; p++)
                    if (random_below(4)) {
                        sources[n] = p * WIDE / MOST + random_below(2);
                        weights[n++] = (float)odd_weight(1);
                    }
                indptr[g + 1] = n;
            }
            from[i] = rw_store_new(ROWS, WIDE, 1, RW_F32);
            REQUIRE(from[i]);
            rw_fault at;
            CHECK_STATUS(rw_csr_load(from[i], indptr, sources, weights, &at), RW_OK);
        }
        int slots = run % 2 ? RW_MERGE_ALL : 2;
        rw_store *out = NULL;
        CHECK_STATUS(rw_store_merge((const rw_store *const *)from, STORES, how, slots, &ALONE, &out), RW_OK);
        CHECK(is_merge(out, from, STORES, how, slots));
        rw_store_free(out);
        for (int32_t i = 0; i < STORES; i++)
            rw_store_free(from[i]);
    }
    CHECK(rw_mem_live == 0);
}

/* The groups that are looked at (RW_MERGE_SAMPLE_PART) have other weights than the rest: they say a floor
 * that is too high, or a ceiling that is too low. */
static void test_a_sample_that_misleads(void)
{
    static const float LOOKED_AT[] = { 1e-3f, 1e6f, 1e-6f };
    for (int which = 0; which < 3; which++) {
        rw_store *s = random_store(800, 24, 1, RW_F32, 60), *out = NULL;
        float *weight = (float *)(void *)s->field[RW_WEIGHT].data;
        for (int32_t g = 0; g < s->n_groups; g++)
            for (int64_t i = s->start[g]; i < s->start[g] + s->len[g]; i++)
                weight[i] = (float)(1 + random_below(1000)) * (g % 8 == 4 ? LOOKED_AT[which] : 1e-3f);
        rw_store *from[1] = { s };
        CHECK_STATUS(rw_store_merge((const rw_store *const *)from, 1, RW_BLEND_SUM, s->slots / 2,
                                    &ALONE, &out), RW_OK);
        CHECK(is_merge(out, from, 1, RW_BLEND_SUM, s->slots / 2));
        rw_store_free(out);
        rw_store_free(s);
    }
    CHECK(rw_mem_live == 0);
}

/* What store.h promises of its arrays: with a floor, and where so few groups tell none that all slots
 * get windows; where the system can cut the memory of both arrays, of one, and of none. */
static void test_a_merge_takes_what_it_keeps(void)
{
    static const struct { int32_t n_out, n_in, group; rw_dtype dtype; } SIZES[] = {
        { 40, 30000, 2, RW_F32 }, { 500, 1000, 1, RW_F32 }, { 1000, 500, 1, RW_F32 }, { 640, 4000, 8, RW_F64 },
    };
    static const int32_t THREADS[] = { 1, 2, 8 };
    random_state = 33;
    for (int i = 0; i < 4; i++) {
        rw_store *s = odd_store(SIZES[i].n_out, SIZES[i].n_in, SIZES[i].group, SIZES[i].dtype, 0);
        rw_store *from[1] = { s };
        int64_t slots = s->slots / (i ? 4 : 10);
        int64_t most = rw_packed_slots(slots, s->n_groups) * (RW_WASTE_PART + 1) / RW_WASTE_PART;
        for (int t = 0; t < 3; t++) {
            rw_run threads = { THREADS[t], NULL, NULL };
            rw_store *out = NULL;
            CHECK_STATUS(rw_store_merge((const rw_store *const *)from, 1, RW_BLEND_SUM, slots, &threads, &out),
                         RW_OK);
            CHECK(out->source_room <= most && out->field[RW_WEIGHT].room <= most);
            CHECK(is_sound(out) && out->slots == slots);
            CHECK(t || i > 1 || is_merge(out, from, 1, RW_BLEND_SUM, slots));
            rw_store_free(out);
        }
        rw_store_free(s);
    }
    CHECK(rw_mem_live == 0);
}

static void test_merges_refuse_what_does_not_fit(void)
{
    rw_store *s[5] = { random_store(9, 12, 2, RW_F32, 50), random_store(10, 12, 2, RW_F32, 50),
                       random_store(9, 13, 2, RW_F32, 50), random_store(9, 12, 4, RW_F32, 50),
                       random_store(9, 12, 2, RW_F64, 50) };
    for (int i = 1; i < 5; i++) {
        const rw_store *two[2] = { s[0], s[i] };
        rw_store *out = NULL;
        CHECK_STATUS(rw_store_merge(two, 2, RW_BLEND_MEAN, RW_MERGE_ALL, &ALONE, &out), RW_ESHAPE);
        CHECK(!out);
        int32_t weights[2] = { 0, 0 };
        snapshot shot = snapshot_take(s[0]);
        CHECK_STATUS(rw_field_blend(s[0], 0, two + 1, weights, 1, RW_BLEND_MEAN, 0.0, &ALONE),
                     RW_ESHAPE);
        CHECK(snapshot_same(&shot, s[0]));
        snapshot_free(&shot);
    }
    for (int i = 0; i < 5; i++)
        rw_store_free(s[i]);
    CHECK(rw_mem_live == 0);
}

static void test_interrupted_merges_change_nothing(void)
{
    rw_store *s = random_store(3200, 800, 8, RW_F32, 90), *other = random_store(3200, 800, 8, RW_F32, 10);
    const rw_store *one[1] = { other }, *two[2] = { s, other };
    const int32_t weights[1] = { RW_WEIGHT };
    snapshot shot = snapshot_take(s);
    rw_run run = { 1, poll_says_stop, NULL };
    rw_store *out = NULL;
    poll_calls = 0;
    CHECK_STATUS(rw_field_blend(s, RW_WEIGHT, one, weights, 1, RW_BLEND_MEAN, 9.0, &run), RW_EINTR);
    CHECK(poll_calls == 1 && snapshot_same(&shot, s));
    CHECK_STATUS(rw_store_merge(two, 2, RW_BLEND_SUM, RW_MERGE_ALL, &run, &out), RW_EINTR);
    CHECK(!out);
    snapshot_free(&shot);
    rw_store_free(s);
    rw_store_free(other);
    CHECK(rw_mem_live == 0);
}

static void test_blends_by_definition(void)
{
    static const rw_dtype KINDS[] = { RW_F32, RW_F64, RW_I32, RW_U8, RW_I64 };
    random_state = 32;
    for (int run = 0; run < 240; run++) {
        int32_t group = 1 << random_below(4), k = 1 + random_below(5);
        rw_dtype kind = KINDS[random_below(5)];
        int32_t width = random_below(2) ? 1 : group, n_out = random_below(2) ? 21 : 400;
        rw_store *from[MERGED_MOST], *to = odd_store(n_out, 30, group, RW_F32, 0);
        int32_t of[MERGED_MOST];
        CHECK_STATUS(rw_store_add_field(to, "other", RW_I32, 1, 4.0), RW_OK);
        CHECK_STATUS(rw_store_add_field(to, "field", kind, width, 3.0), RW_OK);
        for (int32_t i = 0; i < k; i++) {
            from[i] = odd_store(n_out, 30, group, RW_F32, 0);
            if (i % 2)
                CHECK_STATUS(rw_store_add_field(from[i], "before", RW_U8, 1, 0.0), RW_OK);
            CHECK_STATUS(rw_store_add_field(from[i], "field", kind, width, 0.0), RW_OK);
            of[i] = from[i]->n_fields - 1;
            for (int64_t v = 0; v < from[i]->top * width; v++)
                value_put(kind, from[i]->field[of[i]].data, v,
                          kind <= RW_F64 ? odd_weight(1) : random_below(200));
        }
        rw_blend how = (rw_blend)random_below(5);
        bool weights = random_below(3) == 0, floats = kind == RW_F32 || kind == RW_F64;
        for (int32_t i = 0; i < k && weights; i++)
            of[i] = 0;
        rw_run threads = { 1 + random_below(4), NULL, NULL };
        bool may = weights || k == 1 || floats || (how >= RW_BLEND_MIN && kind != RW_I64);
        CHECK_STATUS(rw_field_blend(to, weights ? 0 : 2, (const rw_store *const *)from, of, k, how,
                                    7.0, &threads), may ? RW_OK : RW_ESHAPE);
        CHECK(is_sound(to));
        const rw_field *f = &to->field[weights ? 0 : 2];
        for (int32_t g = 0; g < to->n_groups && may; g++)
            for (int32_t p = 0; p < to->len[g]; p++)
                for (int32_t r = 0; r < f->width; r++) {
                    int holders;
                    double v = slow_blend(from, of, k, how, g, to->source[to->start[g] + p], r,
                                          &holders);
                    v = holders ? v : 7.0;
                    if (weights && g * group + r >= n_out)
                        v = 0.0;
                    v = f->dtype == RW_F32 ? (double)(float)v : v;
                    CHECK(same_value(v, value_get(f, (to->start[g] + p) * f->width + r)));
                    CHECK(value_get(&to->field[1], to->start[g] + p) == 4.0);
                }
        for (int32_t i = 0; i < k; i++)
            rw_store_free(from[i]);
        rw_store_free(to);
    }
    CHECK(rw_mem_live == 0);
}

/* --- a structure as bytes ---------------------------------------------------------------- */

static void test_structures_go_round(void)
{
    static const int32_t WIDTHS[] = { 30, 300, 70000, 3000000 };
    for (int32_t group = 1; group <= 8; group *= 2)
        for (int w = 0; w < 5; w++) {
            rw_store *s = rw_store_new(21, w < 4 ? WIDTHS[w] : 9, group, RW_F32);
            for (int i = 0; i < 60 && w < 4; i++) {
                int32_t g = random_below(s->n_groups), j = random_below(s->n_in);
                if (g && !connected(s, g, j)) /* the first is empty */
                    CHECK_STATUS(insert_one(s, g, j, 2.0), RW_OK);
            }
            size_t n = rw_structure_size(s);
            char *bytes = malloc(n);
            REQUIRE(bytes);
            memset(bytes, 77, n);
            rw_structure_write(s, bytes);
            rw_structure_head head;
            CHECK_STATUS(rw_structure_read_head(bytes, n, &head), RW_OK);
            CHECK(head.n_out == 21 && head.n_in == s->n_in && head.group == group
                  && head.slots == s->slots && head.digest == rw_store_digest(s));
            rw_store *copy = rw_store_new(21, s->n_in, group, RW_F64);
            CHECK_STATUS(rw_store_add_field(copy, "age", RW_I32, 1, 5.0), RW_OK);
            copy->field[RW_WEIGHT].birth = 2.5;
            CHECK_STATUS(rw_structure_load(copy, bytes, n), RW_OK);
            CHECK(is_sound(copy) && copy->slots == s->slots && copy->digest == s->digest);
            for (int32_t g = 0; g < s->n_groups; g++)
                for (int32_t p = 0; p < s->len[g]; p++) {
                    int64_t at = copy->start[g] + p;
                    CHECK(copy->source[at] == s->source[s->start[g] + p]);
                    CHECK(value_get(&copy->field[RW_WEIGHT], at * group) == 2.5);
                    CHECK(value_get(&copy->field[1], at) == 5.0);
                }
            CHECK_STATUS(rw_structure_load(copy, bytes, n), copy->slots ? RW_ESHAPE : RW_OK);
            rw_store_free(copy);
            free(bytes);
            rw_store_free(s);
        }
    CHECK(rw_mem_live == 0);
}

/* Whatever is done to the bytes is seen, and nothing else happens. */
static void test_forged_structures(void)
{
    rw_store *s = random_store(9, 300, 2, RW_F32, 10), *to = rw_store_new(9, 300, 2, RW_F32);
    size_t n = rw_structure_size(s);
    char *bytes = malloc(n + 8), *forged = malloc(n + 8);
    REQUIRE(bytes && forged);
    rw_structure_write(s, bytes);
    snapshot shot = snapshot_take(to);
    for (size_t cut = 0; cut < n; cut++) {
        char *exact = malloc(cut + 1); /* reading beyond is seen by the sanitizers */
        REQUIRE(exact);
        memcpy(exact, bytes, cut);
        CHECK_STATUS(rw_structure_load(to, exact, cut), RW_ECORRUPT);
        free(exact);
    }
    memset(bytes + n, 0, 8);
    CHECK_STATUS(rw_structure_load(to, bytes, n + 1), RW_ECORRUPT);
    CHECK_STATUS(rw_structure_load(to, bytes, n + 8), RW_ECORRUPT);
    for (size_t at = 0; at < n; at++)
        for (int bit = 0; bit < 8; bit++) {
            memcpy(forged, bytes, n);
            forged[at] = (char)(forged[at] ^ 1 << bit);
            rw_status st = rw_structure_load(to, forged, n);
            CHECK(st == RW_ECORRUPT || st == RW_ESHAPE);
        }
    for (int i = 0; i < 3000; i++) {
        memcpy(forged, bytes, n);
        for (int j = random_below(4); j >= 0; j--) {
            int32_t value = (int32_t)random_word();
            memcpy(forged + sizeof(rw_structure_head) + 4 * random_below(5), &value, sizeof value);
            forged[(size_t)random_below((int32_t)n)] = (char)random_word();
        }
        CHECK(rw_structure_load(to, forged, n) != RW_OK);
    }
    /* A source outside whose digest is right. */
    rw_store *wide = rw_store_new(9, 301, 2, RW_F32);
    CHECK_STATUS(insert_one(wide, 2, 300, 1.0), RW_OK);
    size_t n_wide = rw_structure_size(wide);
    REQUIRE(n_wide <= n);
    rw_structure_write(wide, forged);
    rw_structure_head head;
    memcpy(&head, forged, sizeof head);
    head.n_in = 300;
    head.digest = rw_structure_digest(to, rw_hash(2 * 300 + 300));
    memcpy(forged, &head, sizeof head);
    CHECK_STATUS(rw_structure_load(to, forged, n_wide), RW_ECORRUPT);
    rw_store_free(wide);

    CHECK(snapshot_same(&shot, to));
    rw_store_pin(to);
    CHECK_STATUS(rw_structure_load(to, bytes, n), RW_EPINNED);
    rw_store_unpin(to);
    CHECK_STATUS(rw_structure_load(to, bytes, n), RW_OK);
    CHECK(to->digest == s->digest);
    snapshot_free(&shot);
    free(forged);
    free(bytes);
    rw_store_free(to);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

/* --- the digest ----------------------------------------------------------------------------- */

/* That it follows every edit is I12, which all tests check. Here: structures that are alike. */
static void test_digests_tell_structures_apart(void)
{
    enum { N = 4096 };
    static uint64_t seen[N * 2];
    int n = 0;
    for (int32_t width = 8; width <= 64; width *= 8)
        for (int32_t i = 0; i < N / 2; i++) { /* two links, far and near, in two rows */
            rw_store *s = rw_store_new(64, width == 8 ? 64 : 65, 1, RW_F32);
            CHECK_STATUS(insert_one(s, i / 64, i % 64, 1.0), RW_OK);
            if (!connected(s, 63, 63 - i % 64))
                CHECK_STATUS(insert_one(s, 63, 63 - i % 64, 1.0), RW_OK);
            seen[n++] = rw_store_digest(s);
            rw_store_free(s);
        }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            CHECK(seen[i] != seen[j]);
    rw_store *a = random_store(30, 40, 2, RW_F32, 30), *b = rw_store_clone(a);
    CHECK(rw_store_digest(a) == rw_store_digest(b));
    rw_store *wide = rw_store_new(30, 41, 2, RW_F32), *flat = rw_store_new(60, 40, 4, RW_F32);
    rw_store *none = rw_store_new(30, 40, 2, RW_F64);
    CHECK(rw_store_digest(wide) != rw_store_digest(none));
    CHECK(rw_store_digest(flat) != rw_store_digest(none));
    rw_store_free(none);
    rw_store_free(flat);
    rw_store_free(wide);
    rw_store_free(b);
    rw_store_free(a);
    CHECK(rw_mem_live == 0);
}
