/* links.h -- the mirror as edits go on, links one at a time, and links by name. */

/* The mirror as it would be if it were built now. */
static bool mirror_is_fresh(const rw_store *s)
{
    rw_store *again = rw_store_clone(s);
    REQUIRE(again && rw_mirror_build(again, 1) == RW_OK);
    const rw_mirror *m = &s->mirror, *n = &again->mirror;
    bool same = m->valid;
    for (int32_t j = 0; j < s->n_in && same; j++) {
        size_t bytes = (size_t)m->len[j] * sizeof *m->group;
        same = m->len[j] == n->len[j]
            && (!bytes || (!memcmp(m->group + m->start[j], n->group + n->start[j], bytes)
                           && !memcmp(m->position + m->start[j], n->position + n->start[j], bytes)));
    }
    rw_store_free(again);
    return same;
}

/* A few removals and insertions at random places, some of them the same. */
static rw_status change_some(rw_store *s, int32_t edits)
{
    place del[16], ins[16];
    int64_t n_del = 0, n_ins = 0;
    int32_t g = random_below(s->n_groups);
    for (int32_t i = 0; i < edits; i++) {
        if (g >= s->n_groups)
            break;
        int32_t j = random_below(s->n_in);
        bool there = connected(s, g, j);
        bool both = there && random_below(3) == 0;
        if (there)
            del[n_del++] = (place){ g, j };
        if (!there || both)
            ins[n_ins++] = (place){ g, j };
        if (random_below(2) && j + 1 < s->n_in && !connected(s, g, j + 1))
            ins[n_ins++] = (place){ g, j + 1 };
        g += 1 + random_below(3);
    }
    rw_fault at;
    return change(s, n_del, del, n_ins, ins, NULL, &at);
}

static void test_the_mirror_follows_edits(void)
{
    random_state = 77;
    for (int32_t group = 1; group <= 4; group *= 4) {
        rw_store *s = random_store(60 * group - (group > 1), 50, group, RW_F32, 30);
        REQUIRE(rw_store_add_field(s, "age", RW_I32, 1, 1.0) == RW_OK);
        int followed = 0;
        for (int round = 0; round < 1500; round++) {
            CHECK_STATUS(rw_mirror_build(s, 1), RW_OK);
            CHECK_STATUS(change_some(s, 1 + random_below(4)), RW_OK);
            followed += s->mirror.valid;
            CHECK(is_sound(s) && (!s->mirror.valid || mirror_is_fresh(s)));
        }
        CHECK(followed > 1300);
        /* Many edits of one group are merged, and carried along all the same. */
        for (int round = 0; round < 60; round++) {
            place ins[50];
            int64_t n = 0;
            int32_t g = round;
            for (int32_t j = 0; j < 50; j++)
                if (!connected(s, g, j) && n < 20)
                    ins[n++] = (place){ g, j };
            CHECK_STATUS(rw_mirror_build(s, 1), RW_OK);
            rw_fault at;
            CHECK_STATUS(change(s, 0, NULL, n, ins, NULL, &at), RW_OK);
            CHECK(s->mirror.valid ? mirror_is_fresh(s) : is_sound(s));
            CHECK_STATUS(change(s, n, ins, 0, NULL, NULL, &at), RW_OK);
            CHECK(s->mirror.valid ? mirror_is_fresh(s) : is_sound(s));
        }
        /* A row loses its first link and gains one behind the others: all between them move. */
        for (int32_t g = 0; g < 60; g++) {
            int32_t first = 0, last = 49;
            while (first < 50 && !connected(s, g, first))
                first++;
            while (last > first && connected(s, g, last))
                last--;
            place gone = { g, first }, born = { g, last };
            rw_fault at;
            if (last <= first + 1)
                continue;
            CHECK_STATUS(rw_mirror_build(s, 1), RW_OK);
            CHECK_STATUS(change(s, 1, &gone, 1, &born, NULL, &at), RW_OK);
            CHECK(s->mirror.valid ? mirror_is_fresh(s) : is_sound(s));
        }
        rw_store_free(s);
    }
    CHECK(rw_mem_live == 0);
}

/* All links go to one source, then to the next: its window takes room from both sides, and
 * when there is none left the mirror is no longer valid. */
static void test_a_mirror_that_is_full(void)
{
    for (int32_t first = 0; first < 40; first += 13) {
        random_state = 5;
        rw_store *s = random_store(300, 40, 1, RW_F32, 30);
        CHECK_STATUS(rw_mirror_build(s, 1), RW_OK);
        int64_t room = s->mirror.room - s->slots;
        CHECK(room > 100);
        for (int32_t i = 0; i < 40 && s->mirror.valid; i++)
            for (int32_t g = 0; g < 300 && s->mirror.valid; g++) {
                int32_t j = (first + i) % 40;
                if (connected(s, g, j))
                    continue;
                CHECK_STATUS(insert_one(s, g, j, 1.0), RW_OK);
                CHECK(s->mirror.valid == (room > 0));
                CHECK(s->mirror.valid ? mirror_is_fresh(s) : is_sound(s));
                room--;
            }
        CHECK(room == -1);
        CHECK_STATUS(rw_mirror_build(s, 1), RW_OK);
        CHECK(mirror_is_fresh(s));
        rw_store_free(s);
    }
    CHECK(rw_mem_live == 0);
}

static void test_one_link_at_a_time(void)
{
    rw_fault at;
    random_state = 3;
    for (int32_t group = 1; group <= 8; group *= 2) {
        rw_store *s = rw_store_new(9 * group - (group > 1), 30, group, RW_F64);
        rw_store *other = rw_store_new(9 * group - (group > 1), 30, group, RW_F64);
        for (int which = 0; which < 2; which++)
            REQUIRE(rw_store_add_field(which ? s : other, "age", RW_I32, 1, 7.0) == RW_OK);
        for (int round = 0; round < 800; round++) {
            /* One call, and the same by a plan. */
            place here = { random_below(s->n_groups), random_below(30) };
            double w[8];
            for (int r = 0; r < 8; r++)
                w[r] = random_below(9);
            uint64_t generation = s->generation;
            bool there = connected(s, here.group, here.source);
            bool none = random_below(4) == 0; /* no weights: the birth value */
            if (there) {
                CHECK_STATUS(rw_edit_insert(s, here.group, here.source, w, &at), RW_EEXIST);
                CHECK(at.group == here.group && at.source == here.source);
                CHECK(s->generation == generation);
                CHECK_STATUS(rw_edit_remove(s, here.group, here.source, &at), RW_OK);
                CHECK_STATUS(change(other, 1, &here, 0, NULL, NULL, &at), RW_OK);
            } else {
                CHECK_STATUS(rw_edit_remove(s, here.group, here.source, &at), RW_ENOENT);
                CHECK(at.group == here.group && at.source == here.source);
                CHECK(s->generation == generation);
                CHECK_STATUS(rw_edit_insert(s, here.group, here.source, none ? NULL : w, &at), RW_OK);
                CHECK_STATUS(change(other, 0, NULL, 1, &here, none ? NULL : w, &at), RW_OK);
            }
            CHECK(s->generation == generation + 1);
            CHECK(is_sound(s) && same_contents(s, other));
        }
        CHECK_STATUS(rw_edit_insert(s, -1, 0, NULL, &at), RW_ERANGE);
        CHECK_STATUS(rw_edit_insert(s, 0, 30, NULL, &at), RW_ERANGE);
        CHECK_STATUS(rw_edit_remove(s, s->n_groups, 0, &at), RW_ERANGE);
        CHECK_STATUS(rw_edit_remove(s, 0, -1, &at), RW_ERANGE);
        rw_store_pin(s);
        int32_t j = 0;
        while (connected(s, 0, j))
            j++;
        CHECK_STATUS(rw_edit_insert(s, 0, j, NULL, &at), RW_EPINNED);
        rw_store_unpin(s);
        rw_store_free(other);
        rw_store_free(s);
    }
    CHECK(rw_mem_live == 0);
}

/* Sorted lists are looked through from the last link on, any others from the first. */
static void test_links_in_any_order(void)
{
    rw_store *s = random_store(7, 40, 1, RW_F64, 30);
    for (int step = 0; step < 200; step++) {
        int64_t rows[50], sources[50], was_row[50], was_source[50], from[50];
        uint8_t there[50];
        for (int32_t i = 0; i < 50; i++) {
            rows[i] = was_row[i] = random_below(7);
            sources[i] = was_source[i] = random_below(40);
        }
        if (step % 2) {
            CHECK_STATUS(rw_links_sort(50, rows, sources, from), RW_OK);
            for (int32_t i = 0; i < 50; i++) {
                CHECK(rows[i] == was_row[from[i]] && sources[i] == was_source[from[i]]);
                CHECK(i == 0 || rows[i] > rows[i - 1]
                      || (rows[i] == rows[i - 1]
                          && (sources[i] > sources[i - 1]
                              || (sources[i] == sources[i - 1] && from[i] > from[i - 1]))));
            }
        }
        rw_links_get(s, 50, rows, sources, NULL, there);
        for (int32_t i = 0; i < 50; i++)
            CHECK((there[i] != 0) == connected(s, (int32_t)rows[i], (int32_t)sources[i]));
    }
    rw_store_free(s);
    CHECK(rw_mem_live == 0);
}

static void test_links_by_name(void)
{
    for (int32_t group = 1; group <= 4; group *= 2)
        for (int dtype = RW_F32; dtype <= RW_F64; dtype++) {
            rw_store *s = random_store(11, 17, group, (rw_dtype)dtype, 40);
            int64_t rows[11 * 17], sources[11 * 17], n = 0, links = 0;
            double weights[11 * 17];
            uint8_t there[11 * 17];
            for (int32_t i = 0; i < 11; i++)
                for (int32_t j = 0; j < 17; j++, n++) {
                    rows[n] = i;
                    sources[n] = j;
                }
            rw_links_get(s, n, rows, sources, weights, there);
            for (int64_t i = 0; i < n; i++) {
                int32_t row = (int32_t)rows[i], j = (int32_t)sources[i];
                bool is = connected(s, row / group, j);
                double found;
                CHECK((there[i] != 0) == is && (rw_link_slot(s, row, j) >= 0) == is);
                if (dtype == RW_F32)
                    found = (double)((const float *)(const void *)weights)[i];
                else
                    found = weights[i];
                CHECK(found == (is ? default_weight(row, j) : 0.0));
                if (is)
                    CHECK(rw_slot_weight(s, rw_link_slot(s, row, j), row) == found);
                links += is;
            }
            CHECK(links == rw_store_nnz(s));
            for (int32_t i = 0; i < 11; i++) { /* a row */
                int32_t source[17], len = s->len[i / group];
                rw_row_links(s, i, source, weights);
                for (int32_t k = 0; k < len; k++)
                    CHECK(value_get(&(rw_field){ .dtype = (rw_dtype)dtype, .data = (char *)weights },
                                    k) == default_weight(i, source[k]));
            }
            for (int32_t i = 0; i < 2 * 17; i++) { /* a source, without the mirror and with it */
                int32_t row[12], j = i % 17;
                if (i == 17)
                    REQUIRE(rw_mirror_build(s, 1) == RW_OK);
                int64_t k = 0, len = rw_source_count(s, j);
                CHECK(len <= 11);
                rw_source_links(s, j, row, weights);
                for (int32_t r = 0; r < 11; r++)
                    if (connected(s, r / group, j)) {
                        CHECK(row[k] == r);
                        CHECK(value_get(&(rw_field){ .dtype = (rw_dtype)dtype,
                                                     .data = (char *)weights }, k)
                              == default_weight(r, j));
                        k++;
                    }
                CHECK(k == len);
            }
            /* Written: those that are there. */
            for (int64_t i = 0; i < n; i++)
                value_put((rw_dtype)dtype, weights, i, (double)i);
            rw_links_put(s, n, rows, sources, weights);
            for (int64_t i = 0; i < n; i++)
                if (there[i]) {
                    int64_t slot = rw_link_slot(s, (int32_t)rows[i], (int32_t)sources[i]);
                    CHECK(rw_slot_weight(s, slot, (int32_t)rows[i]) == (double)i);
                    rw_slot_put(s, slot, (int32_t)rows[i], 0.5);
                    CHECK(rw_slot_weight(s, slot, (int32_t)rows[i]) == 0.5);
                }
            CHECK(is_sound(s));
            rw_store_free(s);
        }
    CHECK(rw_mem_live == 0);
}
