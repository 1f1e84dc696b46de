/* rewirings.h -- whole rewirings of layers that are large enough to be cut into
 * pieces: the same bits on any number of threads, and every value where it was. */

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t n)
{
    const unsigned char *byte = data;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ byte[i]) * 0x100000001B3u;
    return hash;
}

/* Everything that a result depends on, and the mirror. */
static uint64_t hash_store(const rw_store *s)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (int32_t g = 0; g < s->n_groups; g++) {
        size_t len = (size_t)s->len[g];
        hash = hash_bytes(hash, s->len + g, sizeof *s->len);
        hash = hash_bytes(hash, s->source + s->start[g], len * sizeof *s->source);
        for (int32_t f = 0; f < s->n_fields; f++) {
            size_t bytes = rw_slot_bytes(&s->field[f]);
            hash = hash_bytes(hash, s->field[f].data + (size_t)s->start[g] * bytes, len * bytes);
        }
    }
    const rw_mirror *m = &s->mirror;
    for (int32_t j = 0; j < s->n_in; j++) {
        size_t bytes = (size_t)m->len[j] * sizeof *m->group;
        hash = hash_bytes(hash, m->len + j, sizeof *m->len);
        hash = hash_bytes(hash, m->group + m->start[j], bytes);
        hash = hash_bytes(hash, m->position + m->start[j], bytes);
    }
    return hash;
}

/* Slots whose momentum is what it was; the others must be newborn, at 0. */
static int64_t count_survivors(const rw_store *s)
{
    int64_t survivors = 0;
    const rw_field *momentum = &s->field[1];
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int32_t k = 0; k < s->len[g]; k++) {
            int64_t slot = s->start[g] + k;
            bool old = value_get(momentum, slot * s->group) != 0.0;
            survivors += old;
            for (int32_t r = 0; r < rw_group_rows(s, g); r++) {
                double was = default_weight(g * s->group + r, s->source[slot]);
                CHECK(value_get(momentum, slot * s->group + r) == (old ? was : 0.0));
            }
        }
    return survivors;
}

static void rewire_once(rw_store *s, int threads, uint64_t step)
{
    rw_run run = { threads, NULL, NULL };
    rw_key key = { 11, 5, step };
    rw_plan *p = rw_plan_new(s);
    rw_edit *edit = NULL;
    rw_fault at;
    int64_t before = s->slots;
    CHECK_STATUS(rw_plan_prune_set(p, 0.3, key, &run), RW_OK);
    check_set(s, p, 0.3);
    CHECK_STATUS(rw_plan_grow_random(p, p->n_del, key, &run), RW_OK);
    CHECK_STATUS(rw_plan_values(p, RW_VALUE_NORMAL, 2.0, RW_FAN_REAL, key, &run), RW_OK);
    CHECK_STATUS(rw_edit_reserve(s, p, threads, &edit, &at), RW_OK);
    int64_t newborn = p->n_ins;
    rw_edit_commit(edit);
    rw_plan_free(p);
    CHECK_STATUS(rw_mirror_build(s, threads), RW_OK);
    CHECK(is_sound(s) && s->slots == before);
    if (step == 1)
        CHECK(count_survivors(s) == before - newborn);
}

static void test_rewirings_on_many_threads(void)
{
    static const struct { int32_t n_out, n_in, group, percent; } shapes[] = {
        { 300, 500, 1, 30 }, { 6, 40000, 1, 60 }, { 6, 40000, 2, 95 }, { 3001, 60, 4, 50 },
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        rw_store *base = random_store(shapes[i].n_out, shapes[i].n_in, shapes[i].group, RW_F32,
                                      shapes[i].percent);
        REQUIRE(rw_store_add_field(base, "momentum", RW_F32, shapes[i].group, 0.0) == RW_OK);
        for (int32_t g = 0; g < base->n_groups; g++) /* a copy of the weights */
            memcpy(base->field[1].data + (size_t)base->start[g] * rw_slot_bytes(&base->field[1]),
                   base->field[0].data + (size_t)base->start[g] * rw_slot_bytes(&base->field[0]),
                   (size_t)base->len[g] * rw_slot_bytes(&base->field[0]));
        uint64_t alone = 0;
        for (int threads = 1; threads <= 8; threads *= 2) {
            rw_store *s = rw_store_clone(base);
            for (uint64_t step = 1; step <= 3; step++)
                rewire_once(s, threads, step);
            uint64_t hash = hash_store(s);
            alone = threads == 1 ? hash : alone;
            CHECK(hash == alone);
            rw_store_free(s);
        }
        rw_store_free(base);
    }
    CHECK(rw_mem_live == 0);
}

/* A layer of one group is cut into stretches like any other: every place as likely,
 * and the counts of the stretches vary as they should. */
static void test_growth_within_one_long_group(void)
{
    enum { N = 200000, DRAWS = 60, BINS = 20 };
    rw_store *s = random_store(1, N, 1, RW_F32, 50);
    double hits[BINS] = { 0 }, places[BINS] = { 0 };
    int64_t total = s->slots;
    double below = 0, spread = 0; /* the lower half of the places */
    for (int32_t j = 0; j < N; j++)
        places[(int64_t)j * BINS / N] += rw_group_find(s, 0, j) < 0;
    for (int b = 0; b < BINS / 2; b++)
        below += places[b];
    double all = (double)(N - total), n = floor(all / 2); /* hypergeometric */
    for (uint64_t step = 0; step < DRAWS; step++) {
        rw_plan *p = rw_plan_new(s);
        rw_fault at;
        CHECK_STATUS(rw_plan_grow_random(p, (int64_t)n, (rw_key){ 8, 8, step }, &ALONE), RW_OK);
        CHECK_STATUS(rw_plan_check(p, &at), RW_OK);
        double here = 0;
        for (int64_t i = 0; i < p->n_ins; i++) {
            hits[(int64_t)p->ins_source[i] * BINS / N]++;
            here += p->ins_source[i] < N / 2;
        }
        double off = here - n * below / all;
        spread += off * off / (n * below / all * (1 - below / all) * (all - n) / (all - 1));
        rw_plan_free(p);
    }
    CHECK(spread / DRAWS > 0.4 && spread / DRAWS < 1.8);
    for (int b = 0; b < BINS; b++) {
        double mean = n * places[b] / all;
        double variance = mean * (1 - places[b] / all) * (all - n) / (all - 1);
        CHECK(fabs(hits[b] / DRAWS - mean) < 4.5 * sqrt(variance / DRAWS));
    }
    rw_store_free(s);
}

/* A rewiring of many chunks in which the first groups (by address) grow and the last
 * shrink, so that writing would overtake reading, with windows in either order. */
static void test_repacking_that_runs_ahead(void)
{
    enum { GROUPS = 40, N_IN = 4000, OLD = 600, MORE = 1500, LESS = 300 };
    place *del = malloc((size_t)GROUPS * LESS * sizeof *del);
    place *ins = malloc((size_t)GROUPS * MORE * sizeof *ins);
    REQUIRE(del && ins);
    for (int reversed = 0; reversed < 2; reversed++) {
        rw_store *s = rw_store_new(GROUPS, N_IN, 1, RW_F32);
        REQUIRE(rw_store_add_field(s, "momentum", RW_F32, 1, 0.0) == RW_OK);
        rw_fault at;
        for (int32_t n = 0; n < GROUPS; n++) { /* sources 0, 2, 4, ... */
            int32_t g = reversed ? GROUPS - 1 - n : n;
            for (int32_t k = 0; k < OLD; k++)
                ins[k] = (place){ g, 2 * k };
            REQUIRE(change(s, 0, NULL, OLD, ins, NULL, &at) == RW_OK);
        }
        CHECK((s->start[0] > s->start[GROUPS - 1]) == reversed);
        for (int32_t g = 0; g < GROUPS; g++)
            for (int32_t k = 0; k < OLD; k++)
                for (int32_t f = 0; f < 2; f++)
                    value_put(RW_F32, s->field[f].data, s->start[g] + k,
                              default_weight(g, 2 * k) + f);

        int64_t n_del = 0, n_ins = 0;
        for (int32_t g = 0; g < GROUPS; g++) {
            bool grows = (g < GROUPS / 2) != reversed;
            for (int32_t k = 0; grows && k < MORE; k++)
                ins[n_ins++] = (place){ g, 2 * k + 1 };
            for (int32_t k = 0; !grows && k < LESS; k++)
                del[n_del++] = (place){ g, 4 * k };
        }
        REQUIRE(change(s, n_del, del, n_ins, ins, NULL, &at) == RW_OK);
        CHECK(is_sound(s) && s->slots == GROUPS * OLD + n_ins - n_del);
        for (int32_t g = 0; g < GROUPS; g++)
            for (int32_t k = 0; k < s->len[g]; k++) {
                int32_t source = s->source[s->start[g] + k];
                for (int32_t f = 0; f < 2; f++) {
                    double is = value_get(&s->field[f], s->start[g] + k);
                    CHECK(is == (source % 2 ? 0.0 : default_weight(g, source) + f));
                }
            }
        rw_store_free(s);
    }
    free(del);
    free(ins);
    CHECK(rw_mem_live == 0);
}
