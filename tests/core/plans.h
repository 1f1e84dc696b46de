/* plans.h -- plans and their faults: what is refused leaves no trace. */

/* `change` must fail with `expected`, name (group, source), and leave no trace. */
static void refused(rw_store *s, int64_t n_del, const place *del, int64_t n_ins, const place *ins,
                    rw_status expected, int32_t group, int32_t source)
{
    snapshot shot = snapshot_take(s);
    rw_fault at = { -7, -7 };
    CHECK_STATUS(change(s, n_del, del, n_ins, ins, NULL, &at), expected);
    if (expected == RW_ERANGE || expected == RW_EEXIST || expected == RW_ENOENT) {
        CHECK(at.group == group);
        CHECK(at.source == source);
    }
    CHECK(snapshot_same(&shot, s));
    CHECK(is_sound(s));
    snapshot_free(&shot);
}

static void test_bad_pairs_change_nothing(void)
{
    for (int32_t group = 1; group <= 8; group *= 2) {
        rw_store *s = rw_store_new(5 * group - (group > 1), 10, group, RW_F32);
        for (int32_t g = 0; g < 5; g++)
            for (int32_t j = g; j < 10; j += 2)
                CHECK_STATUS(insert_one(s, g, j, 0.0), RW_OK);
        CHECK(is_sound(s)); /* group 2 listens to 2, 4, 6, 8 */
        refused(s, 0, NULL, 1, (place[]){ { 2, 4 } }, RW_EEXIST, 2, 4);
        refused(s, 0, NULL, 2, (place[]){ { 2, 5 }, { 2, 5 } }, RW_EEXIST, 2, 5);
        refused(s, 0, NULL, 3, (place[]){ { 0, 1 }, { 2, 5 }, { 2, 8 } }, RW_EEXIST, 2, 8);
        refused(s, 0, NULL, 1, (place[]){ { 5, 0 } }, RW_ERANGE, 5, 0);
        refused(s, 0, NULL, 1, (place[]){ { -1, 0 } }, RW_ERANGE, -1, 0);
        refused(s, 0, NULL, 1, (place[]){ { 0, 10 } }, RW_ERANGE, 0, 10);
        refused(s, 0, NULL, 1, (place[]){ { 0, -1 } }, RW_ERANGE, 0, -1);
        refused(s, 0, NULL, 2, (place[]){ { 0, 1 }, { INT32_MAX, 0 } }, RW_ERANGE, INT32_MAX, 0);
        refused(s, 0, NULL, 1, (place[]){ { 0, INT32_MIN } }, RW_ERANGE, 0, INT32_MIN);
        refused(s, 1, (place[]){ { 2, 5 } }, 0, NULL, RW_ENOENT, 2, 5);
        refused(s, 1, (place[]){ { 5, 5 } }, 0, NULL, RW_ERANGE, 5, 5);
        refused(s, 1, (place[]){ { 2, 10 } }, 0, NULL, RW_ERANGE, 2, 10);
        refused(s, 2, (place[]){ { 2, 4 }, { 3, 0 } }, 1, (place[]){ { 2, 4 } }, RW_ENOENT, 3, 0);
        refused(s, 1, (place[]){ { 2, 4 } }, 1, (place[]){ { 2, 6 } }, RW_EEXIST, 2, 6);
        refused(s, 0, NULL, 2, (place[]){ { 2, 5 }, { 2, 3 } }, RW_ESHAPE, 0, 0);
        refused(s, 0, NULL, 2, (place[]){ { 3, 2 }, { 2, 5 } }, RW_ESHAPE, 0, 0);
        refused(s, 2, (place[]){ { 2, 4 }, { 2, 2 } }, 0, NULL, RW_ESHAPE, 0, 0);
        rw_store_free(s);
    }
    CHECK(rw_mem_live == 0);
}

static void test_a_link_named_twice_for_removal(void)
{
    rw_store *s = random_store(3, 8, 1, RW_F32, 100);
    snapshot shot = snapshot_take(s);
    rw_fault at = { -7, -7 };
    rw_status status = change(s, 2, (place[]){ { 1, 4 }, { 1, 4 } }, 0, NULL, NULL, &at);
    CHECK(status == RW_EEXIST || status == RW_ENOENT);
    CHECK(at.group == 1 && at.source == 4);
    CHECK(snapshot_same(&shot, s));
    snapshot_free(&shot);
    rw_store_free(s);
}

/* Plans that rules, not rw_plan_pairs, would have made: check looks at each. */
static void test_plan_check(void)
{
    rw_store *s = rw_store_new(3, 10, 1, RW_F32);
    for (int32_t j = 0; j < 10; j += 2)
        CHECK_STATUS(insert_one(s, 1, j, 1.0), RW_OK); /* group 1: 0 2 4 6 8 */
    static const struct {
        const char *what;
        int n_del, n_ins;
        int32_t del[3][2], ins[3][2]; /* (group, position), (group, source) */
        rw_status expected;
    } cases[] = {
        { "nothing", 0, 0, { { 0 } }, { { 0 } }, RW_OK },
        { "good", 2, 2, { { 1, 0 }, { 1, 4 } }, { { 0, 3 }, { 1, 3 } }, RW_OK },
        { "into an emptied place", 1, 1, { { 1, 2 } }, { { 1, 4 } }, RW_OK },
        { "connected", 0, 1, { { 0 } }, { { 1, 4 } }, RW_EEXIST },
        { "connected, another removed", 1, 1, { { 1, 1 } }, { { 1, 4 } }, RW_EEXIST },
        { "last one connected", 0, 3, { { 0 } }, { { 1, 1 }, { 1, 3 }, { 1, 8 } }, RW_EEXIST },
        { "named twice", 0, 2, { { 0 } }, { { 2, 4 }, { 2, 4 } }, RW_EEXIST },
        { "group too high", 0, 1, { { 0 } }, { { 3, 4 } }, RW_ERANGE },
        { "group negative", 0, 1, { { 0 } }, { { -1, 4 } }, RW_ERANGE },
        { "source too high", 0, 1, { { 0 } }, { { 2, 10 } }, RW_ERANGE },
        { "source negative", 0, 1, { { 0 } }, { { 2, -1 } }, RW_ERANGE },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rw_plan *p = rw_plan_new(s);
        CHECK_STATUS(rw_plan_reserve(p, 3, 3), RW_OK);
        p->n_del = cases[i].n_del;
        p->n_ins = cases[i].n_ins;
        for (int k = 0; k < 3; k++) {
            p->del_group[k] = cases[i].del[k][0];
            p->del_position[k] = cases[i].del[k][1];
            p->ins_group[k] = cases[i].ins[k][0];
            p->ins_source[k] = cases[i].ins[k][1];
        }
        rw_fault at;
        rw_status status = rw_plan_check(p, &at);
        if (status != cases[i].expected) {
            printf("case \"%s\": %s\n", cases[i].what, rw_status_str(status));
            CHECK(status == cases[i].expected);
        }
        snapshot shot = snapshot_take(s);
        rw_edit *edit = NULL;
        CHECK_STATUS(rw_edit_reserve(s, p, 1, &edit, &at), cases[i].expected);
        if (edit)
            rw_edit_cancel(edit);
        CHECK(snapshot_same(&shot, s) && is_sound(s));
        snapshot_free(&shot);
        rw_plan_free(p);
    }

    /* Whatever the code, these never pass. */
    static const int32_t bad[][4] = { /* n_del, then a group and two positions */
        { 1, 1, 5, 0 }, { 1, 1, -1, 0 }, { 1, 3, 0, 0 }, { 1, -1, 0, 0 }, { 1, 0, 0, 0 },
        { 2, 1, 3, 3 }, { 2, 1, 3, 2 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rw_plan *p = rw_plan_new(s);
        CHECK_STATUS(rw_plan_reserve(p, 2, 0), RW_OK);
        p->n_del = bad[i][0];
        p->del_group[0] = p->del_group[1] = bad[i][1];
        p->del_position[0] = bad[i][2];
        p->del_position[1] = bad[i][3];
        rw_fault at;
        rw_edit *edit = NULL;
        CHECK(rw_plan_check(p, &at) != RW_OK);
        CHECK(rw_edit_reserve(s, p, 1, &edit, &at) != RW_OK && !edit);
        rw_plan_free(p);
    }
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

static void test_a_stale_plan(void)
{
    rw_store *s = random_store(4, 10, 1, RW_F32, 50);
    rw_store *other = rw_store_clone(s);
    rw_fault at;
    rw_edit *edit = NULL;
    for (int how = 0; how < 4; how++) {
        rw_plan *p = rw_plan_new(s);
        CHECK_STATUS(rw_plan_check(p, &at), RW_OK);
        uint64_t generation = s->generation;
        if (how == 0) {
            CHECK_STATUS(connected(s, 0, 0) ? remove_one(s, 0, 0) : insert_one(s, 0, 0, 1.0),
                         RW_OK);
        } else if (how == 1) {
            CHECK_STATUS(rw_store_compact(s), RW_OK);
        } else if (how == 2) { /* a link goes and comes: not the same slot any more */
            CHECK_STATUS(connected(s, 0, 0) ? remove_one(s, 0, 0) : RW_OK, RW_OK);
            CHECK_STATUS(insert_one(s, 0, 0, 1.0), RW_OK);
        } else {
            CHECK_STATUS(rw_plan_grow_random(p, 3, (rw_key){ 1, 2, 3 }, &ALONE), RW_OK);
            CHECK_STATUS(commit_plan(s, p), RW_OK); /* and again below: 3 links are taken */
        }
        CHECK(s->generation > generation);
        CHECK_STATUS(rw_plan_check(p, &at), RW_ESTALE);
        snapshot shot = snapshot_take(s);
        CHECK_STATUS(rw_edit_reserve(s, p, 1, &edit, &at), RW_ESTALE);
        CHECK(snapshot_same(&shot, s));
        snapshot_free(&shot);
        rw_plan_free(p);
    }
    /* The plan of another store. */
    rw_plan *p = rw_plan_new(other);
    CHECK(rw_edit_reserve(s, p, 1, &edit, &at) != RW_OK);
    rw_plan_free(p);
    rw_store_free(other);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

static void test_cancel_changes_nothing(void)
{
    rw_store *s = random_store(30, 60, 2, RW_F32, 30);
    for (int32_t count = 1; count <= 500; count += 166) {
        snapshot shot = snapshot_take(s);
        rw_plan *p = rw_plan_new(s);
        CHECK(rw_plan_bytes(p) >= sizeof *p);
        rw_key key = { 1, 1, (uint64_t)count };
        CHECK_STATUS(rw_plan_prune_smallest(p, rw_min64(count, s->slots), key, &ALONE), RW_OK);
        CHECK_STATUS(rw_plan_grow_random(p, count, key, &ALONE), RW_OK);
        rw_edit *edit = NULL;
        rw_fault at;
        CHECK_STATUS(rw_edit_reserve(s, p, 1, &edit, &at), RW_OK);
        CHECK(snapshot_same(&shot, s) && is_sound(s));
        rw_edit_cancel(edit);
        CHECK(snapshot_same(&shot, s) && is_sound(s));
        CHECK_STATUS(commit_plan(s, p), RW_OK); /* the plan is still good */
        CHECK(is_sound(s));
        rw_plan_free(p);
        snapshot_free(&shot);
    }
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

/* --- insertions beside removals ------------------------------------------------------ */

/* rw_plan_insert of places given as an array. */
static rw_status insert_into(rw_plan *p, int64_t n, const place *ins, const void *weight,
                             rw_fault *at)
{
    int32_t *group = malloc((size_t)(n + 1) * sizeof *group);
    int32_t *source = malloc((size_t)(n + 1) * sizeof *source);
    REQUIRE(group && source);
    for (int64_t i = 0; i < n; i++) {
        group[i] = ins[i].group;
        source[i] = ins[i].source;
    }
    rw_status status = rw_plan_insert(p, n, group, source, weight, at);
    free(source);
    free(group);
    return status;
}

/* Removals by one call and insertions by another are what rw_plan_pairs does in one. */
static void test_insertions_join_removals(void)
{
    for (int32_t group = 1; group <= 8; group *= 2)
        for (int dtype = RW_F32; dtype <= RW_F64; dtype++) {
            rw_store *s = random_store(6 * group - (group > 1), 30, group, (rw_dtype)dtype, 30);
            rw_store *t = rw_store_clone(s);
            rw_plan *p = rw_plan_new(s);
            rw_key key = { 1, 2, 3 };
            CHECK_STATUS(rw_plan_prune_smallest(p, s->slots / 2, key, &ALONE), RW_OK);
            place gone[180], come[180];
            double weight[180 * 8];
            char typed[180 * 8 * sizeof(double)];
            int64_t n_gone = p->n_del, n = 0, d = 0;
            for (; d < n_gone; d++)
                gone[d] = (place){ p->del_group[d],
                                   s->source[s->start[p->del_group[d]] + p->del_position[d]] };
            d = 0;
            for (int32_t g = 0; g < s->n_groups; g++)
                for (int32_t j = 0; j < 30; j++) {
                    bool goes = d < n_gone && gone[d].group == g && gone[d].source == j;
                    d += goes;
                    if ((connected(s, g, j) && !goes) || random_below(3))
                        continue;
                    for (int32_t r = 0; r < group; r++)
                        weight[n * group + r] = random_below(100);
                    come[n++] = (place){ g, j };
                }
            for (int64_t i = 0; i < n * group; i++)
                value_put((rw_dtype)dtype, typed, i, weight[i]);
            rw_fault at;
            CHECK_STATUS(insert_into(p, n, come, typed, &at), RW_OK);
            CHECK(p->n_del == n_gone && p->n_ins == n);
            CHECK_STATUS(insert_into(p, 1, come, NULL, &at), RW_ESHAPE); /* it has some */
            CHECK_STATUS(commit_plan(s, p), RW_OK);
            CHECK_STATUS(change(t, n_gone, gone, n, come, weight, &at), RW_OK);
            CHECK(same_contents(s, t) && is_sound(s));
            CHECK_STATUS(insert_into(p, 0, come, NULL, &at), RW_ESHAPE);
            rw_plan_free(p);
            rw_store_free(t);
            rw_store_free(s);
        }
    CHECK(rw_mem_live == 0);
}

static void test_bad_insertions_leave_the_plan_alone(void)
{
    rw_store *s = rw_store_new(3, 10, 1, RW_F32);
    for (int32_t j = 0; j < 10; j += 2)
        CHECK_STATUS(insert_one(s, 1, j, 1.0 + j), RW_OK); /* group 1: 0 2 4 6 8 */
    static const struct {
        const char *what;
        int n;
        place ins[3];
        rw_status expected;
        int32_t group, source;
    } cases[] = {
        { "connected", 2, { { 0, 1 }, { 1, 4 } }, RW_EEXIST, 1, 4 },
        { "named twice", 2, { { 2, 4 }, { 2, 4 } }, RW_EEXIST, 2, 4 },
        { "not sorted", 2, { { 2, 4 }, { 2, 3 } }, RW_ESHAPE, 2, 3 },
        { "group too high", 1, { { 3, 4 } }, RW_ERANGE, 3, 4 },
        { "source too high", 1, { { 2, 10 } }, RW_ERANGE, 2, 10 },
        { "source negative", 1, { { 2, -1 } }, RW_ERANGE, 2, -1 },
    };
    float weight[3] = { 1, 2, 3 };
    rw_plan *p = rw_plan_new(s);
    CHECK_STATUS(rw_plan_prune_smallest(p, 2, (rw_key){ 1, 1, 1 }, &ALONE), RW_OK); /* 0 and 2 go */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rw_fault at = { -7, -7 };
        rw_status status = insert_into(p, cases[i].n, cases[i].ins, weight, &at);
        if (status != cases[i].expected || at.group != cases[i].group
            || at.source != cases[i].source) {
            printf("case \"%s\": %s\n", cases[i].what, rw_status_str(status));
            CHECK(!"another error, or another place");
        }
        CHECK(p->n_del == 2 && p->n_ins == 0 && !p->ins_weight);
    }
    rw_fault at;
    CHECK_STATUS(insert_into(p, 0, NULL, NULL, &at), RW_OK);
    /* Source 0 is emptied by the plan. */
    CHECK_STATUS(insert_into(p, 2, (place[]){ { 1, 0 }, { 1, 3 } }, NULL, &at), RW_OK);
    CHECK_STATUS(commit_plan(s, p), RW_OK);
    CHECK(is_sound(s) && s->slots == 5 && connected(s, 1, 0) && !connected(s, 1, 2));
    rw_plan *q = rw_plan_new(s);
    CHECK_STATUS(insert_one(s, 0, 0, 1.0), RW_OK);
    CHECK_STATUS(insert_into(q, 1, (place[]){ { 2, 2 } }, NULL, &at), RW_ESTALE);
    CHECK_STATUS(rw_plan_keep_common(q), RW_ESTALE);
    rw_plan_free(q);
    rw_plan_free(p);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

/* What a plan removes, as sources and as marks in canonical order, against the plan's lists. */
static void test_removals_as_arrays(void)
{
    for (int32_t percent = 0; percent <= 100; percent += 25) {
        rw_store *s = random_store(21, 17, 2, RW_F32, percent);
        for (int64_t part = 0; part <= 4; part++) {
            rw_plan *p = rw_plan_new(s);
            REQUIRE(p);
            int64_t count = s->slots * part / 4;
            CHECK_STATUS(rw_plan_prune_smallest(p, count, (rw_key){ 1, 2, 3 }, &ALONE), RW_OK);
            int32_t source[11 * 17];
            uint8_t mark[11 * 17];
            memset(mark, 7, sizeof mark);
            CHECK_STATUS(rw_plan_removed_sources(p, source), RW_OK);
            CHECK_STATUS(rw_plan_removed_marks(p, mark), RW_OK);
            int64_t slot = 0, d = 0;
            for (int32_t g = 0; g < s->n_groups; g++)
                for (int32_t k = 0; k < s->len[g]; k++, slot++) {
                    bool goes = d < p->n_del && p->del_group[d] == g && p->del_position[d] == k;
                    CHECK(mark[slot] == goes);
                    CHECK(!goes || source[d] == s->source[s->start[g] + k]);
                    d += goes;
                }
            CHECK(slot == s->slots && d == count);
            CHECK(slot == 11 * 17 || mark[slot] == 7);
            s->generation++;
            CHECK_STATUS(rw_plan_removed_sources(p, source), RW_ESTALE);
            CHECK_STATUS(rw_plan_removed_marks(p, mark), RW_ESTALE);
            rw_plan_free(p);
        }
        rw_store_free(s);
    }
    CHECK(rw_mem_live == 0);
}

/* Links named on both sides stay, with all that they hold; the others go and come as said. */
static void test_common_links_stay(void)
{
    /* often / 4 of the emptied places are filled again */
    for (int32_t often = 0; often <= 4; often++) {
        rw_store *s = random_store(21, 17, 2, RW_F64, 40), *before = rw_store_clone(s);
        rw_plan *p = rw_plan_new(s);
        CHECK_STATUS(rw_plan_prune_smallest(p, s->slots / 2, (rw_key){ 1, 1, (uint64_t)often },
                                            &ALONE), RW_OK);
        bool goes[11][17] = { { false } }, comes[11][17] = { { false } };
        for (int64_t d = 0; d < p->n_del; d++)
            goes[p->del_group[d]][s->source[s->start[p->del_group[d]] + p->del_position[d]]] = true;
        place come[11 * 17];
        int64_t n = 0, back = 0;
        for (int32_t g = 0; g < s->n_groups; g++)
            for (int32_t j = 0; j < 17; j++) {
                comes[g][j] = goes[g][j] ? random_below(4) < often
                                         : !connected(s, g, j) && !random_below(3);
                back += goes[g][j] && comes[g][j];
                if (comes[g][j])
                    come[n++] = (place){ g, j };
            }
        rw_fault at;
        int64_t n_del = p->n_del;
        CHECK_STATUS(insert_into(p, n, come, NULL, &at), RW_OK);
        CHECK_STATUS(rw_plan_keep_common(p), RW_OK);
        CHECK(p->n_del == n_del - back && p->n_ins == n - back);
        CHECK_STATUS(rw_plan_check(p, &at), RW_OK);
        CHECK_STATUS(commit_plan(s, p), RW_OK);
        CHECK(is_sound(s));
        for (int32_t g = 0; g < s->n_groups; g++)
            for (int32_t j = 0; j < 17; j++) {
                int32_t was = rw_group_find(before, g, j), now = rw_group_find(s, g, j);
                CHECK((now >= 0) == (comes[g][j] || (was >= 0 && !goes[g][j])));
                for (int32_t r = 0; now >= 0 && r < 2; r++) {
                    double w = value_get(&s->field[0], (s->start[g] + now) * 2 + r);
                    int64_t index = (before->start[g] + was) * 2 + r;
                    CHECK(w == (was < 0 ? 0 : value_get(&before->field[0], index)));
                }
            }
        rw_plan_free(p);
        rw_store_free(before);
        rw_store_free(s);
    }
    rw_store *s = random_store(5, 9, 1, RW_F32, 30);
    rw_plan *p = rw_plan_new(s);
    CHECK_STATUS(rw_plan_keep_common(p), RW_OK); /* nothing in common */
    CHECK_STATUS(rw_plan_grow_random(p, 3, (rw_key){ 1, 1, 1 }, &ALONE), RW_OK);
    CHECK_STATUS(rw_plan_values(p, RW_VALUE_CONSTANT, 1.0, RW_FAN_NONE, (rw_key){ 1, 1, 1 }, NULL),
                 RW_OK);
    CHECK_STATUS(rw_plan_keep_common(p), RW_ESHAPE); /* they have weights */
    CHECK(p->n_ins == 3);
    rw_plan_free(p);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}
