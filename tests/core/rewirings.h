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
    hash = hash_bytes(hash, m->start, ((size_t)s->n_in + 1) * sizeof *m->start);
    hash = hash_bytes(hash, m->group, (size_t)s->slots * sizeof *m->group);
    return hash_bytes(hash, m->position, (size_t)s->slots * sizeof *m->position);
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
    CHECK_STATUS(rw_prune_set(p, 0.3, key, &run), RW_OK);
    check_set(s, p, 0.3);
    CHECK_STATUS(rw_grow_random(p, p->n_del, key, &run), RW_OK);
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
        rw_store *base = random_store(shapes[i].n_out, shapes[i].n_in, shapes[i].group, RW_F32, shapes[i].percent);
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

/* A layer of one group is cut into stretches like any other: every place as likely. */
static void test_growth_within_one_long_group(void)
{
    enum { N = 60000, DRAWS = 60, BINS = 20 };
    rw_store *s = random_store(1, N, 1, RW_F32, 50);
    double hits[BINS] = { 0 }, places[BINS] = { 0 };
    int64_t total = s->slots;
    for (int32_t j = 0; j < N; j++)
        places[(int64_t)j * BINS / N] += rw_group_find(s, 0, j) < 0;
    for (uint64_t step = 0; step < DRAWS; step++) {
        rw_plan *p = rw_plan_new(s);
        rw_fault at;
        CHECK_STATUS(rw_grow_random(p, total / 4, (rw_key){ 8, 8, step }, &ALONE), RW_OK);
        CHECK_STATUS(rw_plan_check(p, &at), RW_OK);
        for (int64_t i = 0; i < p->n_ins; i++)
            hits[(int64_t)p->ins_source[i] * BINS / N]++;
        rw_plan_free(p);
    }
    for (int b = 0; b < BINS; b++) { /* hypergeometric */
        double all = (double)(N - total), n = (double)(total / 4);
        double mean = n * places[b] / all;
        double variance = mean * (1 - places[b] / all) * (all - n) / (all - 1);
        CHECK(fabs(hits[b] / DRAWS - mean) < 4.5 * sqrt(variance / DRAWS));
    }
    rw_store_free(s);
}
