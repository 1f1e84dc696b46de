/* failing.h -- every allocation fails once, every invariant is broken once. */

/* --- malloc ------------------------------------------------------------------
 *
 * For each operation: its first allocation fails, then its second, and so on
 * until it succeeds. After each failure it has said RW_ENOMEM, the store is the
 * one it was, and nothing has leaked. */

typedef rw_status (*operation)(rw_store *);

static rw_store *setting(int which)
{
    rw_store *s;
    random_state = 42;
    switch (which) {
    case 0: /* empty */
        s = rw_store_new(20, 30, 1, RW_F32);
        break;
    case 1: /* packed */
        s = random_store(40, 50, 4, RW_F64, 40);
        break;
    default: /* scattered: windows not in the order of groups, free windows between */
        s = random_store(40, 50, 1, RW_F32, 10);
        for (int i = 0; i < 300; i++) {
            int32_t g = random_below(40), j = random_below(50);
            REQUIRE((connected(s, g, j) ? remove_one(s, g, j) : insert_one(s, g, j, 2.0)) == RW_OK);
        }
        REQUIRE(rw_store_add_field(s, "age", RW_I32, 1, 1.0) == RW_OK);
    }
    REQUIRE(s);
    return s;
}

static void fail_each_allocation(const char *name, operation run)
{
    for (int which = 0; which < 3; which++)
        for (int64_t n = 0;; n++) {
            if (n > 200) {
                CHECK(!"an operation that never succeeds");
                break;
            }
            int64_t live = rw_mem_live;
            rw_store *s = setting(which);
            snapshot shot = snapshot_take(s);
            int64_t of_store = rw_mem_live;
            rw_mem_fail_after = n;
            rw_status status = run(s);
            bool failed = rw_mem_fail_after < 0;
            rw_mem_fail_after = -1;
            const char *why = "";
            if (failed) {
                if (status != RW_ENOMEM) {
                    printf("%s, allocation %d: %s\n", name, (int)n, rw_status_str(status));
                    CHECK(status == RW_ENOMEM);
                }
                CHECK(snapshot_same(&shot, s));
                /* Arrays of the store may have grown; they go down with it. */
                CHECK(rw_mem_live <= of_store + 2);
            } else {
                CHECK_STATUS(status, RW_OK);
            }
            CHECK_STATUS(rw_store_check(s, &why), RW_OK);
            snapshot_free(&shot);
            rw_store_free(s);
            CHECK(rw_mem_live == live);
            if (!failed)
                break;
        }
}

static rw_status op_new(rw_store *s)
{
    (void)s;
    rw_store *t = rw_store_new(10, 10, 2, RW_F32);
    rw_store_free(t);
    return t ? RW_OK : RW_ENOMEM;
}

static rw_status op_clone(rw_store *s)
{
    rw_store *t = rw_store_clone(s);
    if (t)
        CHECK(same_contents(s, t));
    rw_store_free(t);
    return t ? RW_OK : RW_ENOMEM;
}

static rw_status op_add_field(rw_store *s)
{
    return rw_store_add_field(s, "extra", RW_F64, 1, 2.5);
}
static rw_status op_compact(rw_store *s) { return rw_store_compact(s); }
static rw_status op_reserve(rw_store *s) { return rw_arena_reserve(s, s->arena + 1000); }

static rw_status op_mirror(rw_store *s)
{
    rw_status status = rw_mirror_build(s, 1);
    CHECK(s->mirror.valid == (status == RW_OK));
    if (status)
        CHECK(!s->mirror.start && !s->mirror.len && !s->mirror.group && !s->mirror.position);
    return status;
}

static rw_status op_check(rw_store *s)
{
    const char *why = "";
    return rw_store_check(s, &why);
}

static rw_status op_insert(rw_store *s)
{
    int32_t j = 0;
    while (connected(s, 3, j))
        j++;
    place at = { 3, j };
    double w[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    rw_fault fault;
    return change(s, 0, NULL, 1, &at, w, &fault);
}

/* Among a few others, and carried into the mirror. */
static rw_status op_few(rw_store *s)
{
    place at[3] = { { 3, 0 }, { 3, 0 }, { 5, 0 } };
    for (at[0].source = 0; connected(s, 3, at[0].source);)
        at[0].source++;
    for (at[1].source = at[0].source + 1; connected(s, 3, at[1].source);)
        at[1].source++;
    while (connected(s, 5, at[2].source))
        at[2].source++;
    rw_fault fault;
    return change(s, 0, NULL, 3, at, NULL, &fault);
}

static rw_status op_insert_one(rw_store *s)
{
    int32_t j = 0;
    while (connected(s, 3, j))
        j++;
    return insert_one(s, 3, j, 2.0);
}

/* A few of many: either way they are found, and only the last way needs memory. */
static rw_status op_prune_below(rw_store *s)
{
    rw_plan *p = rw_plan_new(s);
    if (!p)
        return RW_ENOMEM;
    rw_status status = rw_plan_prune_below(p, 1e9, &ALONE);
    CHECK(p->n_del == (status ? 0 : s->slots));
    rw_plan_free(p);
    return status;
}

static rw_status op_fill_a_row(rw_store *s)
{
    place all[64];
    int64_t n = 0;
    for (int32_t j = 0; j < s->n_in; j++)
        if (!connected(s, 2, j))
            all[n++] = (place){ 2, j };
    rw_fault fault;
    return change(s, 0, NULL, n, all, NULL, &fault);
}

static rw_status op_remove(rw_store *s)
{
    if (s->slots == 0)
        return RW_OK;
    int32_t g = 0;
    while (!s->len[g])
        g++;
    return remove_one(s, g, s->source[s->start[g]]);
}

static rw_status with_plan(rw_store *s, int64_t prune, int64_t grow, bool set)
{
    rw_key key = { 1, 2, 3 };
    rw_plan *p = rw_plan_new(s);
    if (!p)
        return RW_ENOMEM;
    rw_status status = set ? rw_plan_prune_set(p, 0.5, key, &ALONE)
                           : rw_plan_prune_smallest(p, rw_min64(prune, s->slots), key, &ALONE);
    if (status)
        CHECK(p->n_del == 0 && p->n_ins == 0);
    if (!status) {
        status = grow < 0 ? rw_plan_grow_fan_in(p, s->n_in / 2, key, &ALONE)
                          : rw_plan_grow_random(p, grow, key, &ALONE);
        if (status)
            CHECK(p->n_ins == 0);
    }
    if (!status)
        status = rw_plan_values(p, RW_VALUE_NORMAL, 1.0, RW_FAN_REAL, key, NULL);
    if (!status)
        status = commit_plan(s, p);
    rw_plan_free(p);
    return status;
}

static rw_status op_rewire(rw_store *s) { return with_plan(s, 0, s->slots / 2 + 3, true); }
static rw_status op_prune(rw_store *s) { return with_plan(s, s->slots / 2, 0, false); }
static rw_status op_fan_in(rw_store *s) { return with_plan(s, 5, -1, false); }
static rw_status op_nothing(rw_store *s) { return with_plan(s, 0, 0, false); }

static rw_status op_prune_scores(rw_store *s)
{
    double *score = calloc((size_t)s->slots + 1, sizeof *score);
    rw_plan *p = rw_plan_new(s);
    REQUIRE(score);
    rw_key key = { 1, 2, 3 };
    rw_status status = p ? rw_plan_prune_scores(p, score, s->slots / 2, key, &ALONE) : RW_ENOMEM;
    if (p && status)
        CHECK(p->n_del == 0);
    rw_plan_free(p);
    free(score);
    return status;
}

/* Insertions into a plan that has removals. */
static rw_status op_plan_insert(rw_store *s)
{
    int32_t group[64], source[64], n = 0;
    double weight[64 * 8] = { 0 };
    for (int32_t j = 0; j < s->n_in; j++)
        if (!connected(s, 2, j)) {
            group[n] = 2;
            source[n++] = j;
        }
    rw_plan *p = rw_plan_new(s);
    rw_fault at;
    if (!p)
        return RW_ENOMEM;
    rw_status status = rw_plan_prune_smallest(p, s->slots / 2, (rw_key){ 1, 2, 3 }, &ALONE);
    int64_t n_del = p->n_del;
    if (!status)
        status = rw_plan_insert(p, n, group, source, weight, &at);
    CHECK(p->n_del == n_del && p->n_ins == (status ? 0 : n) && (!p->ins_weight || !status));
    if (!status)
        status = commit_plan(s, p);
    rw_plan_free(p);
    return status;
}

static rw_status op_paths(rw_store *s)
{
    rw_plan *p = rw_plan_new(s);
    if (!p)
        return RW_ENOMEM;
    rw_status status =
        rw_plan_grow_paths(p, 30, RW_CH2, true, (rw_key){ 1, 2, 3 }, &(rw_run){ 3, NULL, NULL });
    CHECK(p->n_ins == (status ? 0 : 30));
    if (!status)
        status = commit_plan(s, p);
    rw_plan_free(p);
    return status;
}

static rw_status op_plan_reserve(rw_store *s)
{
    rw_plan *p = rw_plan_new(s);
    if (!p)
        return RW_ENOMEM;
    rw_status status = rw_plan_reserve(p, 100, 200);
    if (!status)
        status = rw_plan_reserve(p, 300, 200);
    CHECK(p->n_del == 0 && p->n_ins == 0);
    rw_plan_free(p);
    return status;
}

static rw_status op_reserve_and_cancel(rw_store *s)
{
    rw_key key = { 1, 2, 3 };
    rw_plan *p = rw_plan_new(s);
    rw_edit *edit = NULL;
    rw_fault at;
    if (!p)
        return RW_ENOMEM;
    snapshot shot = snapshot_take(s);
    rw_status status = rw_plan_grow_random(p, 290, key, &ALONE);
    if (!status)
        status = rw_edit_reserve(s, p, 1, &edit, &at);
    if (!status)
        rw_edit_cancel(edit);
    CHECK(snapshot_same(&shot, s));
    snapshot_free(&shot);
    rw_plan_free(p);
    return status;
}

static rw_status op_load(rw_store *s)
{
    int64_t indptr[] = { 0, 2, 2, 5 };
    int32_t sources[] = { 1, 4, 0, 2, 3 };
    float weights[] = { 1, 2, 3, 4, 5 };
    rw_fault at;
    (void)s;
    rw_store *t = rw_store_new(3, 5, 1, RW_F32);
    if (!t)
        return RW_ENOMEM;
    rw_status status = rw_csr_load(t, indptr, sources, weights, &at);
    CHECK(t->slots == (status ? 0 : 5));
    rw_store_free(t);
    return status;
}

static rw_status op_load_in_blocks(rw_store *s)
{
    static const int64_t indptr[] = { 0, 2, 2, 5 };
    rw_loader l;
    rw_fault at;
    (void)s;
    rw_store *t = rw_store_new(3, 5, 1, RW_F32);
    if (!t)
        return RW_ENOMEM;
    rw_status status = rw_loader_begin(&l, t, 5);
    if (!status)
        status = rw_loader_indptr(&l, indptr, 4, &at);
    CHECK(t->slots == (status ? 0 : 5));
    rw_store_free(t);
    return status;
}

static rw_status op_merge(rw_store *s)
{
    const rw_store *twice[2] = { s, s };
    rw_store *out = NULL;
    rw_status status = rw_store_merge(twice, 2, RW_BLEND_SUM, s->slots / 2, &ALONE, &out);
    CHECK(status ? !out : out->slots == s->slots / 2);
    rw_store_free(out);
    return status;
}

static rw_status op_blend(rw_store *s)
{
    rw_store *other = rw_store_clone(s);
    const rw_store *twice[2] = { other, other };
    const int32_t weights[2] = { 0, 0 };
    rw_status status = other ? rw_field_blend(s, 0, twice, weights, 2, RW_BLEND_HOLDERS, 0.0, &ALONE)
                             : RW_ENOMEM;
    rw_store_free(other);
    return status;
}

static rw_status op_structure(rw_store *s)
{
    size_t n = rw_structure_size(s);
    char *bytes = malloc(n);
    REQUIRE(bytes);
    rw_structure_write(s, bytes);
    rw_store *t = rw_store_new(s->n_out, s->n_in, s->group, RW_F32);
    rw_status status = t ? rw_structure_load(t, bytes, n) : RW_ENOMEM;
    if (t)
        CHECK(t->slots == (status ? 0 : s->slots));
    rw_store_free(t);
    free(bytes);
    return status;
}

static void test_every_allocation_may_fail(void)
{
    static const struct { const char *name; operation run; } operations[] = {
        { "new", op_new }, { "clone", op_clone }, { "add_field", op_add_field },
        { "compact", op_compact }, { "arena_reserve", op_reserve }, { "mirror", op_mirror },
        { "check", op_check }, { "insert", op_insert }, { "fill a row", op_fill_a_row },
        { "remove", op_remove }, { "rewire", op_rewire }, { "prune", op_prune },
        { "fan_in", op_fan_in }, { "paths", op_paths }, { "nothing", op_nothing },
        { "plan_reserve", op_plan_reserve },
        { "reserve and cancel", op_reserve_and_cancel }, { "load", op_load },
        { "load in blocks", op_load_in_blocks },
        { "few", op_few }, { "insert one", op_insert_one }, { "prune_below", op_prune_below },
        { "prune_scores", op_prune_scores }, { "plan_insert", op_plan_insert },
        { "merge", op_merge }, { "blend", op_blend }, { "structure", op_structure },
    };
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        fail_each_allocation(operations[i].name, operations[i].run);
    CHECK(rw_mem_live == 0);
}

/* Sizes that no machine holds are refused, quickly and without a trace. */
static void test_sizes_that_overflow(void)
{
    rw_store *s = random_store(4, 10, 8, RW_F64, 50);
    snapshot shot = snapshot_take(s);
    CHECK_STATUS(rw_arena_reserve(s, INT64_MAX), RW_ENOMEM);
    CHECK_STATUS(rw_arena_reserve(s, INT64_MAX / 8), RW_ENOMEM);
    CHECK_STATUS(rw_arena_reserve(s, (int64_t)1 << 59), RW_ENOMEM);
    CHECK_STATUS(rw_arena_reserve(s, ((int64_t)1 << 62) + 1000), RW_ENOMEM); /* times 4 is 4000 */
    CHECK(snapshot_same(&shot, s) && is_sound(s));
    rw_plan *p = rw_plan_new(s);
    CHECK_STATUS(rw_plan_reserve(p, INT64_MAX, 0), RW_ENOMEM);
    CHECK_STATUS(rw_plan_reserve(p, 0, INT64_MAX / 2), RW_ENOMEM);
    CHECK_STATUS(rw_plan_reserve(p, 0, (int64_t)1 << 62), RW_ENOMEM); /* times 4 is 0 */
    CHECK_STATUS(rw_plan_grow_random(p, 3, (rw_key){ 1, 1, 1 }, &ALONE), RW_OK);
    CHECK_STATUS(commit_plan(s, p), RW_OK);
    rw_plan_free(p);
    CHECK(!rw_alloc_array(SIZE_MAX / 4 + 2, 4)); /* wraps to 4 bytes */
    CHECK(!rw_calloc_array((size_t)1 << 40, (size_t)1 << 40));
    snapshot_free(&shot);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

/* --- the checker checks ---------------------------------------------------------
 *
 * Each way to break a store, and the number the checker must give it. */

static rw_store *sound_store(void)
{
    random_state = 7;
    rw_store *s = random_store(22, 40, 4, RW_F32, 50); /* 6 groups, 2 rows in the last */
    for (int32_t j = 0; j < 40 && !s->pooled; j++) /* group 0 outgrows its window */
        if (!connected(s, 0, j))
            REQUIRE(insert_one(s, 0, j, 1.0) == RW_OK);
    REQUIRE(rw_store_add_field(s, "age", RW_I32, 1, 0.0) == RW_OK);
    REQUIRE(s->pooled > 0 && s->len[1] > 3 && s->len[5] > 3);
    REQUIRE(rw_mirror_build(s, 1) == RW_OK);
    return s;
}

static int a_class(const rw_store *s)
{
    int c = 0;
    while (s->pool[c] < 0)
        c++;
    return c;
}

static void free_window_put(rw_store *s, int64_t start, int which, int64_t value)
{
    memcpy((char *)(s->source + start) + (size_t)which * sizeof value, &value, sizeof value);
}

static void break_store(rw_store *s, int how)
{
    int32_t *row = s->source + s->start[1];
    int64_t last_slot = s->start[5];
    float nine = 9.0f;
    switch (how) {
    case 0: s->group = 3; break;
    case 1: s->n_in = 0; break;
    case 2: s->n_out = -1; break;
    case 3: s->n_groups++; break;
    case 4: s->len[1] = s->cap[1] + 1; break;
    case 5: s->len[1] = -1; break;
    case 6: s->cap[1] = s->n_in + 1; break;
    case 7: s->start[1] = -1; break;
    case 8: s->start[1] = s->top - s->cap[1] + 1; break;
    case 9: s->top = s->arena + 1; break;
    case 10: s->slots -= s->len[1]; s->len[1] = s->cap[1] = 0; break; /* start left behind */
    case 11: s->start[1] = s->start[2]; s->start[2]++; s->start[2]--; break;
    case 12: row[1] = row[0]; break;
    case 13: row[0] = row[1] + 1; break;
    case 14: row[0] = -1; break;
    case 15: row[s->len[1] - 1] = s->n_in; break;
    case 16: s->slots++; break;
    case 17: s->slots = 0; break;
    case 18: s->lost++; break;
    case 19: s->pooled--; break;
    case 20: free_window_put(s, s->pool[a_class(s)], 0, s->pool[a_class(s)]); break; /* to itself */
    case 21: s->pool[0] = s->pool[a_class(s)]; break; /* of another class */
    case 22: free_window_put(s, s->pool[a_class(s)], 0, s->top); break;
    case 23: free_window_put(s, s->pool[a_class(s)], 0, -5); break;
    case 24: free_window_put(s, s->pool[a_class(s)], 1, 0); break;
    case 25: free_window_put(s, s->pool[a_class(s)], 1, INT64_MAX); break;
    case 26: s->pooled = 0; s->pool[a_class(s)] = -1; break; /* a window forgotten */
    case 27: strcpy(s->field[0].name, "waits"); break;
    case 28: strcpy(s->field[1].name, "weight"); break;
    case 29: s->field[1].room = s->arena - 1; break;
    case 30: s->field[0].width = 2; break;
    case 31: value_put(RW_F32, s->field[0].data, last_slot * 4 + 2, nine); break;
    case 32: value_put(RW_F32, s->field[0].data, (last_slot + 3) * 4 + 3, nine); break;
    case 33: s->mirror.position[0]++; break;
    case 34: s->mirror.group[s->mirror.start[5]] = 1000; break;
    case 35: s->mirror.start[3] = s->mirror.start[4] - s->mirror.len[3] + 1; break;
    case 36: s->mirror.start[s->n_in]--; break;
    case 37: { /* two listeners of one source in the wrong order */
        int32_t j = 0;
        while (s->mirror.len[j] < 2)
            j++;
        int64_t e = s->mirror.start[j];
        int32_t g = s->mirror.group[e], k = s->mirror.position[e];
        s->mirror.group[e] = s->mirror.group[e + 1];
        s->mirror.position[e] = s->mirror.position[e + 1];
        s->mirror.group[e + 1] = g;
        s->mirror.position[e + 1] = k;
        break;
    }
    case 38: s->source_room = s->arena - 1; break;
    case 39: s->mirror.len[2]--; break;
    case 40: s->mirror.len[2] = -1; break;
    case 41: s->digest++; break;
    }
}

static void test_every_broken_invariant_is_named(void)
{
    static const int invariant[] = {
        1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 5, 5, 6, 6, 7, 7, 8, 8, 8, 8, 8, 8, 8, 8, 8,
        9, 9, 9, 9, 10, 10, 11, 11, 11, 11, 11, 3, 11, 11, 12,
    };
    unsigned named = 0;
    for (int how = 0; how < (int)(sizeof invariant / sizeof *invariant); how++) {
        rw_store *s = sound_store();
        CHECK(is_sound(s));
        /* Put everything back before freeing: sizes say how much is freed. */
        rw_store before = *s;
        const char *why = "nothing";
        break_store(s, how);
        rw_status status = rw_store_check(s, &why);
        int number = 0;
        if (why[0] == 'I')
            number = atoi(why + 1);
        if (status != RW_ECORRUPT || number != invariant[how]) {
            printf("break %d: expected I%d, got \"%s\" (%s)\n", how, invariant[how],
                   rw_status_str(status), why);
            CHECK(number == invariant[how]);
        }
        named |= 1u << number;
        memcpy(s, &before, sizeof before);
        rw_store_free(s);
    }
    CHECK(named == 0x1ffe); /* I1 to I12, each at least once */
    CHECK(rw_mem_live == 0);
}
