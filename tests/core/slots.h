/* slots.h -- values, fields, groups, pins and the mirror: what belongs to a slot. */

/* --- values and fields -------------------------------------------------------- */

/* Field value of a link, by its place: moves must not mix them up. */
static double tag(int32_t field, int32_t group, int32_t source, int32_t r)
{
    return (double)(((field * 50 + group) * 100 + source) * 8 + r);
}

static void tag_everything(rw_store *s)
{
    for (int32_t f = 1; f < s->n_fields; f++)
        for (int32_t g = 0; g < s->n_groups; g++)
            for (int32_t k = 0; k < s->len[g]; k++)
                for (int32_t r = 0; r < s->field[f].width; r++)
                    value_put(s->field[f].dtype, s->field[f].data,
                              (s->start[g] + k) * s->field[f].width + r,
                              tag(f, g, s->source[s->start[g] + k], r));
}

static void test_fields_follow_their_slots(void)
{
    for (int32_t group = 1; group <= 8; group *= 2) {
        rw_store *s = random_store(6 * group, 40, group, RW_F32, 40);
        CHECK_STATUS(rw_store_add_field(s, "momentum", RW_F32, group, 0.5), RW_OK);
        CHECK_STATUS(rw_store_add_field(s, "born", RW_I32, 1, 7.0), RW_OK);
        CHECK_STATUS(rw_store_add_field(s, "wide", RW_F64, group, -1.0), RW_OK);
        CHECK_STATUS(rw_store_add_field(s, "stamp", RW_I64, 1, 4e9), RW_OK);
        for (int32_t f = 1; f < 5; f++)
            for (int32_t g = 0; g < s->n_groups; g++)
                for (int64_t i = 0; i < (int64_t)s->len[g] * s->field[f].width; i++)
                    CHECK(value_get(&s->field[f], s->start[g] * s->field[f].width + i)
                          == s->field[f].birth);
        /* Edits of every size: in place, out of the window, over the whole layer. */
        for (uint64_t step = 0; step < 12; step++) {
            tag_everything(s);
            rw_store *before = rw_store_clone(s);
            int64_t count = step % 3 == 0 ? 1 : step % 3 == 1 ? s->slots / 8 : s->slots / 2;
            rw_key key = { 9, 0, step };
            rw_plan *p = rw_plan_new(s);
            CHECK_STATUS(rw_plan_prune_smallest(p, count, key, &ALONE), RW_OK);
            CHECK_STATUS(rw_plan_grow_random(p, count + (step % 4 == 0), key, &ALONE), RW_OK);
            CHECK_STATUS(rw_plan_values(p, RW_VALUE_CONSTANT, 42.0, RW_FAN_NONE, key, NULL), RW_OK);
            unsigned char *newborn = calloc((size_t)s->n_groups * 40, 1);
            REQUIRE(newborn);
            for (int64_t i = 0; i < p->n_ins; i++)
                newborn[p->ins_group[i] * 40 + p->ins_source[i]] = 1;
            CHECK_STATUS(commit_plan(s, p), RW_OK);
            rw_plan_free(p);
            CHECK(is_sound(s));
            for (int32_t g = 0; g < s->n_groups; g++)
                for (int32_t k = 0; k < s->len[g]; k++) {
                    int64_t slot = s->start[g] + k;
                    int32_t j = s->source[slot];
                    bool fresh = newborn[g * 40 + j];
                    for (int32_t f = 1; f < s->n_fields; f++)
                        for (int32_t r = 0; r < s->field[f].width; r++)
                            CHECK(value_get(&s->field[f], slot * s->field[f].width + r)
                                  == (fresh ? s->field[f].birth : tag(f, g, j, r)));
                    for (int32_t r = 0; r < group; r++) {
                        double w = value_get(&s->field[0], slot * group + r);
                        if (fresh) {
                            CHECK(w == 42.0);
                        } else {
                            int32_t old = rw_group_find(before, g, j);
                            CHECK(old >= 0 && w == value_get(&before->field[0],
                                                             (before->start[g] + old) * group + r));
                        }
                    }
                }
            free(newborn);
            rw_store_free(before);
        }
        CHECK_STATUS(rw_store_drop_field(s, "born"), RW_OK);
        CHECK(rw_store_field(s, "born") == -1 && rw_store_field(s, "stamp") == 3);
        CHECK(is_sound(s));
        rw_store_free(s);
    }
    CHECK(rw_mem_live == 0);
}

/* A field that numbers the slots says after a commit where each has come from: what the plan's
 * mapping said before it. Small edits in place, of many to a group, and of the whole layer. */
static void test_slots_come_from_where_the_mapping_says(void)
{
    for (int32_t group = 1; group <= 8; group *= 2)
        for (int32_t percent = 0; percent <= 100; percent += 20) {
            rw_store *s = random_store(9 * group - (group > 1), 23, group, RW_F32, percent);
            CHECK_STATUS(rw_store_add_field(s, "number", RW_I64, 1, -1.0), RW_OK);
            for (uint64_t step = 0; step < 9; step++) {
                int64_t number[9 * 23], old[2 * 9 * 23], now[9 * 23];
                for (int64_t i = 0; i < s->slots; i++)
                    number[i] = i;
                rw_csr_set(s, 1, number);
                int64_t goes = step % 3 == 0 ? rw_min64(2, s->slots) : s->slots * (int64_t)step / 9;
                int64_t comes = rw_min64(step % 2 ? goes + 3 : goes, 9 * 23 - s->slots + goes);
                rw_key key = { 5, 0, step };
                rw_fault at = { -7, -7 };
                rw_plan *p = rw_plan_new(s);
                REQUIRE(p);
                CHECK_STATUS(rw_plan_prune_smallest(p, goes, key, &ALONE), RW_OK);
                CHECK_STATUS(rw_plan_grow_random(p, comes, key, &ALONE), RW_OK);
                CHECK_STATUS(rw_plan_mapping(p, old, &at), RW_OK);
                int64_t slots = s->slots - goes + comes;
                CHECK_STATUS(commit_plan(s, p), RW_OK);
                CHECK(s->slots == slots && is_sound(s));
                rw_csr_get(s, 1, now);
                CHECK(memcmp(old, now, (size_t)slots * sizeof *old) == 0);
                old[0] = -7;
                if (goes || comes) {
                    CHECK_STATUS(rw_plan_mapping(p, old, &at), RW_ESTALE);
                    CHECK(old[0] == -7);
                }
                rw_plan_mapping_after(p, old);
                CHECK(memcmp(old, now, (size_t)slots * sizeof *old) == 0);
                rw_plan_free(p);
            }
            rw_store_free(s);
        }
    CHECK(rw_mem_live == 0);
}

/* A link that takes the place of a removed one is new; a plan that commit would refuse has no
 * mapping. */
static void test_the_mapping_of_a_place_filled_again(void)
{
    rw_store *s = rw_store_new(2, 6, 1, RW_F32);
    for (int32_t j = 0; j < 6; j += 2)
        CHECK_STATUS(insert_one(s, 1, j, 1.0), RW_OK); /* group 1: 0 2 4 */
    rw_fault at = { -7, -7 };
    rw_plan *p = rw_plan_new(s);
    REQUIRE(p);
    int32_t del_group[] = { 1 }, del_source[] = { 2 };
    int32_t ins_group[] = { 0, 1, 1 }, ins_source[] = { 5, 2, 5 };
    CHECK_STATUS(rw_plan_pairs(p, 1, del_group, del_source, 3, ins_group, ins_source, NULL, &at),
                 RW_OK);
    int64_t old[16]; /* more than there are: broken variants write on */
    CHECK_STATUS(rw_plan_mapping(p, old, &at), RW_OK);
    CHECK(old[0] == -1 && old[1] == 0 && old[2] == -1 && old[3] == 2 && old[4] == -1);
    p->checked = false;
    p->ins_source[1] = 4; /* connected */
    old[0] = -7;
    CHECK_STATUS(rw_plan_mapping(p, old, &at), RW_EEXIST);
    CHECK(old[0] == -7 && at.group == 1 && at.source == 4);
    rw_plan_free(p);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

static void test_field_names_and_limits(void)
{
    rw_store *s = random_store(4, 10, 2, RW_F32, 50);
    snapshot shot = snapshot_take(s);
    CHECK_STATUS(rw_store_add_field(s, "", RW_F32, 1, 0.0), RW_ESHAPE);
    CHECK_STATUS(rw_store_add_field(s, "abcdefghijklmnopqrstuvwx", RW_F32, 1, 0.0), RW_ESHAPE);
    CHECK_STATUS(rw_store_add_field(s, "x", RW_F32, 3, 0.0), RW_ESHAPE);
    CHECK_STATUS(rw_store_add_field(s, "x", RW_F32, 0, 0.0), RW_ESHAPE);
    CHECK_STATUS(rw_store_add_field(s, "x", (rw_dtype)9, 1, 0.0), RW_ESHAPE);
    CHECK_STATUS(rw_store_add_field(s, "weight", RW_F32, 2, 0.0), RW_EEXIST);
    CHECK_STATUS(rw_store_drop_field(s, "weight"), RW_ESHAPE);
    CHECK_STATUS(rw_store_drop_field(s, "nobody"), RW_ENOENT);
    CHECK(snapshot_same(&shot, s));
    for (int i = 1; i < RW_MAX_FIELDS; i++) {
        char name[RW_NAME_BYTES];
        snprintf(name, sizeof name, "field%d", i);
        CHECK_STATUS(rw_store_add_field(s, name, RW_U8, 1, (double)i), RW_OK);
    }
    CHECK_STATUS(rw_store_add_field(s, "one too many", RW_U8, 1, 0.0), RW_ESHAPE);
    CHECK(is_sound(s));
    rw_store_pin(s);
    CHECK_STATUS(rw_store_drop_field(s, "field1"), RW_EPINNED);
    rw_store_unpin(s);
    CHECK_STATUS(rw_store_drop_field(s, "field1"), RW_OK);
    rw_store_pin(s);
    CHECK_STATUS(rw_store_add_field(s, "again", RW_F32, 1, 0.0), RW_EPINNED);
    rw_store_unpin(s);
    snapshot_free(&shot);
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

/* One link for each group goes where the slots lie; twelve are merged. */
static void test_a_new_link_without_weights_gets_the_birth_value(void)
{
    for (int32_t group = 1; group <= 8; group *= 2)
        for (int32_t count = 1; count <= 12; count += 11) {
            rw_store *s = rw_store_new(2 * group - (group > 1), 12, group, RW_F64);
            s->field[RW_WEIGHT].birth = 0.25;
            rw_fault at;
            place born[24];
            for (int32_t i = 0; i < 2 * count; i++)
                born[i] = (place){ i / count, i % count };
            CHECK_STATUS(change(s, 0, NULL, 2 * count, born, NULL, &at), RW_OK);
            CHECK(is_sound(s)); /* I10: also with a birth value the padding is zero */
            for (int32_t g = 0; g < 2; g++)
                for (int32_t i = 0; i < count * group; i++) {
                    double w = value_get(&s->field[0], s->start[g] * group + i);
                    CHECK(w == (g * group + i % group < s->n_out ? 0.25 : 0.0));
                }
            rw_store_free(s);
        }
    CHECK(rw_mem_live == 0);
}

static void test_stored_zeros_are_connections(void)
{
    rw_store *s = rw_store_new(2, 5, 1, RW_F32);
    CHECK_STATUS(insert_one(s, 0, 1, 0.0), RW_OK);
    CHECK_STATUS(insert_one(s, 0, 2, -0.0), RW_OK);
    CHECK(rw_store_nnz(s) == 2 && connected(s, 0, 1) && connected(s, 0, 2));
    CHECK(signbit(value_get(&s->field[0], s->start[0] + 1)));
    CHECK_STATUS(insert_one(s, 0, 1, 1.0), RW_EEXIST);
    rw_store_free(s);
}

/* --- groups --------------------------------------------------------------------- */

static void test_groups_that_do_not_divide(void)
{
    for (int32_t group = 2; group <= 8; group *= 2)
        for (int32_t n_out = 1; n_out <= 17; n_out++) {
            rw_store *s = rw_store_new(n_out, 6, group, RW_F32);
            int32_t last = s->n_groups - 1, rows = rw_group_rows(s, last);
            CHECK(rows >= 1 && rows <= group && last * group + rows == n_out);
            /* Weights are given for all rows of a group, those beyond n_out too. */
            rw_fault at;
            double w[3 * 8];
            place links[3] = { { last, 0 }, { last, 2 }, { last, 5 } };
            for (int i = 0; i < 3 * group; i++)
                w[i] = 1.0 + i;
            CHECK_STATUS(change(s, 0, NULL, 3, links, w, &at), RW_OK);
            CHECK(is_sound(s));
            CHECK(s->slots == 3 && rw_store_nnz(s) == 3 * rows);
            if (last > 0) {
                CHECK_STATUS(insert_one(s, 0, 3, 1.0), RW_OK);
                CHECK(rw_store_nnz(s) == 3 * rows + group);
            }
            /* The same through the flat arrays. */
            double *flat = malloc((size_t)(s->slots * group) * sizeof *flat);
            float *values = malloc((size_t)(s->slots * group) * sizeof *values);
            REQUIRE(flat && values);
            for (int64_t i = 0; i < s->slots * group; i++)
                values[i] = 9.0f;
            rw_csr_set(s, RW_WEIGHT, values);
            CHECK(is_sound(s));
            free(values);
            free(flat);
            rw_store_free(s);
        }
    CHECK(rw_mem_live == 0);
}

/* --- pins ------------------------------------------------------------------------- */

static void test_a_pinned_store_refuses_edits(void)
{
    rw_store *s = random_store(5, 20, 1, RW_F32, 40);
    rw_plan *p = rw_plan_new(s);
    CHECK_STATUS(rw_plan_grow_random(p, 5, (rw_key){ 1, 1, 1 }, &ALONE), RW_OK);
    int64_t indptr[6] = { 0, 0, 0, 0, 0, 0 };
    rw_store_pin(s);
    rw_store_pin(s);
    CHECK(s->pins == 2 && is_sound(s));
    snapshot shot = snapshot_take(s);
    rw_fault at;
    for (int round = 0; round < 2; round++) { /* one pin is as good as two */
        rw_edit *edit = NULL;
        CHECK_STATUS(rw_edit_reserve(s, p, 1, &edit, &at), RW_EPINNED);
        CHECK_STATUS(rw_store_compact(s), RW_EPINNED);
        CHECK_STATUS(rw_store_add_field(s, "f", RW_F32, 1, 0.0), RW_EPINNED);
        CHECK_STATUS(remove_one(s, 4, s->source[s->start[4]]), RW_EPINNED);
        rw_status loading = rw_csr_load(s, indptr, NULL, NULL, &at);
        CHECK(loading == RW_EPINNED || loading == RW_ESHAPE);
        CHECK_STATUS(rw_mirror_build(s, 1), RW_OK); /* derived: no structure changes */
        if (round == 0) {
            CHECK(snapshot_same(&shot, s));
            rw_store_unpin(s);
        }
    }
    rw_store_unpin(s);
    CHECK(s->pins == 0);
    CHECK_STATUS(commit_plan(s, p), RW_OK);
    CHECK(is_sound(s));
    snapshot_free(&shot);
    rw_plan_free(p);
    rw_store_free(s);
}

/* --- mirror ------------------------------------------------------------------------ */

static void test_the_mirror(void)
{
    for (int32_t group = 1; group <= 4; group *= 4) {
        rw_store *s = random_store(23, 31, group, RW_F32, 30);
        for (int round = 0; round < 4; round++) {
            CHECK(!s->mirror.valid);
            CHECK_STATUS(rw_mirror_build(s, 1), RW_OK);
            CHECK(s->mirror.valid && is_sound(s));
            const rw_mirror *m = &s->mirror;
            int64_t slots = 0;
            for (int32_t j = 0; j < 31; j++) {
                int64_t e = m->start[j];
                for (int32_t g = 0; g < s->n_groups; g++) {
                    int32_t k = rw_group_find(s, g, j);
                    if (k >= 0) {
                        CHECK(m->group[e] == g && m->position[e] == k);
                        e++;
                    }
                }
                CHECK(e == m->start[j] + m->len[j] && e <= m->start[j + 1]);
                slots += m->len[j];
            }
            CHECK(slots == s->slots);
            size_t with = rw_store_bytes(s);
            if (round == 0) {
                rw_store_drop_mirror(s);
                CHECK(rw_store_bytes(s) < with);
            } else if (round == 1) {
                CHECK_STATUS(rw_store_compact(s), RW_OK);
            } else if (round == 2) {
                int32_t j = 0;
                while (connected(s, 1, j))
                    j++;
                CHECK_STATUS(insert_one(s, 1, j, 1.0), RW_OK);
            } else {
                CHECK_STATUS(remove_one(s, 1, s->source[s->start[1]]), RW_OK);
            }
            CHECK(s->mirror.valid == (round >= 2) && is_sound(s)); /* small edits are carried in */
            s->mirror.valid = false;
        }
        rw_store_free(s);
    }
    rw_store *empty = rw_store_new(3, 4, 1, RW_F32);
    CHECK_STATUS(rw_mirror_build(empty, 1), RW_OK);
    CHECK(empty->mirror.valid && is_sound(empty) && empty->mirror.start[3] == 0 && empty->mirror.len[3] == 0);
    rw_store_free(empty);
    CHECK(rw_mem_live == 0);
}
