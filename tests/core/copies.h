/* copies.h -- flat arrays in and out, clones, and that history leaves no trace. */

/* --- flat arrays --------------------------------------------------------------------- */

static void test_flat_arrays_go_round(void)
{
    for (int32_t group = 1; group <= 8; group *= 2) {
        rw_store *s = random_store(21, 30, group, RW_F32, 35);
        CHECK_STATUS(rw_store_add_field(s, "momentum", RW_F64, group, 0.0), RW_OK);
        tag_everything(s);
        size_t n = (size_t)s->slots;
        int64_t *indptr = malloc(((size_t)s->n_groups + 1) * sizeof *indptr);
        int32_t *sources = malloc(n * sizeof *sources);
        float *weights = malloc(n * (size_t)group * sizeof *weights);
        double *momentum = malloc(n * (size_t)group * sizeof *momentum);
        REQUIRE(indptr && sources && weights && momentum);
        rw_csr_indptr(s, indptr);
        rw_csr_sources(s, sources);
        rw_csr_get(s, RW_WEIGHT, weights);
        rw_csr_get(s, 1, momentum);
        CHECK(indptr[0] == 0 && indptr[s->n_groups] == s->slots);
        rw_store *copy = rw_store_new(21, 30, group, RW_F32);
        CHECK_STATUS(rw_store_add_field(copy, "momentum", RW_F64, group, 0.0), RW_OK);
        rw_fault at;
        uint64_t generation = copy->generation;
        CHECK_STATUS(rw_csr_load(copy, indptr, sources, weights, &at), RW_OK);
        CHECK(copy->generation > generation);
        rw_csr_set(copy, 1, momentum);
        CHECK(is_sound(copy) && same_contents(s, copy));
        CHECK(waste(copy) <= copy->slots / 16 + 2 * copy->n_groups);
        CHECK_STATUS(rw_csr_load(copy, indptr, sources, weights, &at), RW_ESHAPE); /* not empty */
        CHECK(same_contents(s, copy));
        rw_store_free(copy);
        free(momentum);
        free(weights);
        free(sources);
        free(indptr);
        rw_store_free(s);
    }
    CHECK(rw_mem_live == 0);
}

/* Hand the arrays of s over `step` entries at a time. */
static rw_status load_in_blocks(rw_loader *l, const rw_store *s, int64_t step, const int64_t *indptr,
                                const int32_t *sources, const float *weights, const double *momentum)
{
    rw_fault at;
    rw_status st = RW_OK;
    for (int64_t k = 0; k <= s->n_groups && !st; k += step)
        st = rw_loader_indptr(l, indptr + k, step < s->n_groups + 1 - k ? step : s->n_groups + 1 - k,
                              &at);
    for (int32_t array = 0; array < 3 && !st; array++) {
        CHECK(!rw_loader_complete(l));
        for (int64_t k = 0; k < s->slots && !st; k += step) {
            int64_t n = step < s->slots - k ? step : s->slots - k;
            st = !array       ? rw_loader_sources(l, sources + k, n, &at)
                 : array == 1 ? rw_loader_values(l, 1, momentum + k * s->group, n)
                              : rw_loader_values(l, RW_WEIGHT, weights + k * s->group, n);
        }
    }
    return st;
}

static void test_blocks_make_the_same_store(void)
{
    for (int32_t group = 1; group <= 8; group *= 2) {
        rw_store *s = random_store(21, 30, group, RW_F32, 35);
        CHECK_STATUS(rw_store_add_field(s, "momentum", RW_F64, group, 0.0), RW_OK);
        tag_everything(s);
        size_t n = (size_t)s->slots;
        int64_t *indptr = malloc(((size_t)s->n_groups + 1) * sizeof *indptr);
        int32_t *sources = malloc(n * sizeof *sources);
        float *weights = malloc(n * (size_t)group * sizeof *weights);
        double *momentum = malloc(n * (size_t)group * sizeof *momentum);
        REQUIRE(indptr && sources && weights && momentum);
        rw_csr_indptr(s, indptr);
        rw_csr_sources(s, sources);
        rw_csr_get(s, RW_WEIGHT, weights);
        rw_csr_get(s, 1, momentum);
        if (group > 1)
            weights[n * (size_t)group - 1] = 7.0f; /* of a row that is not there: I10 wants zero */
        for (int64_t step = 1; step <= 1000; step *= 10) {
            rw_store *copy = rw_store_new(21, 30, group, RW_F32);
            CHECK_STATUS(rw_store_add_field(copy, "momentum", RW_F64, group, 0.0), RW_OK);
            rw_loader l;
            rw_fault at;
            CHECK_STATUS(rw_loader_begin(&l, copy, s->slots), RW_OK);
            CHECK_STATUS(rw_loader_sources(&l, sources, 1, &at), RW_ESHAPE); /* too early */
            CHECK_STATUS(load_in_blocks(&l, s, step, indptr, sources, weights, momentum), RW_OK);
            CHECK(rw_loader_complete(&l));
            CHECK(is_sound(copy) && same_contents(s, copy));
            CHECK_STATUS(rw_loader_values(&l, RW_WEIGHT, weights, 1), RW_ESHAPE); /* too many */
            CHECK_STATUS(rw_loader_sources(&l, sources, 1, &at), RW_ESHAPE);      /* too late */
            CHECK_STATUS(rw_loader_begin(&l, copy, 1), RW_ESHAPE);                /* not empty */
            rw_store_free(copy);
        }
        free(momentum);
        free(weights);
        free(sources);
        free(indptr);
        rw_store_free(s);
    }
    CHECK(rw_mem_live == 0);
}

/* csr.h: rows ascend, and in a row sources do; no values for rows that do not exist. */
static void test_links_one_by_one(void)
{
    static const rw_dtype KINDS[] = { RW_F32, RW_F64, RW_U8 };
    static const char *const NAMES[] = { "weight", "wide", "byte" };
    for (int32_t group = 1; group <= 8; group *= 2) {
        rw_store *s = random_store(21, 30, group, RW_F32, 35);
        for (int i = 1; i < 3; i++)
            CHECK_STATUS(rw_store_add_field(s, NAMES[i], KINDS[i], group, 0.0), RW_OK);
        tag_everything(s);
        rw_store *copy = rw_store_clone(s);
        int64_t nnz = rw_store_nnz(s);
        char *all = malloc((size_t)nnz * sizeof(double));
        REQUIRE(copy && all);
        for (int32_t f = 0; f < 3; f++) {
            size_t size = rw_dtype_size(KINDS[f]), slot = size * (size_t)group;
            rw_csr_get_links(s, f, all);
            const char *next = all;
            for (int32_t row = 0; row < s->n_out; row++)
                for (int64_t k = 0; k < s->len[row / group]; k++, next += size) {
                    size_t at = (size_t)(s->start[row / group] + k) * slot;
                    CHECK(memcmp(next, s->field[f].data + at + (size_t)(row % group) * size, size)
                          == 0);
                }
            CHECK(next == all + (size_t)nnz * size);
            for (int32_t g = 0; g < s->n_groups; g++) /* rows beyond n_out keep what they have */
                for (int64_t k = 0; k < s->len[g]; k++)
                    memset(copy->field[f].data + (size_t)(s->start[g] + k) * slot, 77,
                           (size_t)rw_group_rows(s, g) * size);
            CHECK(!same_contents(s, copy));
            rw_csr_set_links(copy, f, all);
            CHECK(is_sound(copy) && same_contents(s, copy));
        }
        free(all);
        rw_store_free(copy);
        rw_store_free(s);
    }
    CHECK(rw_mem_live == 0);
}

static void test_garbage_is_not_loaded(void)
{
    static const float weights[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    static const struct {
        int64_t indptr[4];
        int32_t sources[4];
        rw_status expected;
        int64_t group, source;
    } cases[] = {
        { { 0, 2, 2, 4 }, { 1, 4, 0, 2 }, RW_OK, 0, 0 },
        { { 0, 0, 0, 0 }, { 0 }, RW_OK, 0, 0 },
        { { 1, 2, 3, 4 }, { 1, 4, 0, 2 }, RW_ECORRUPT, -1, 0 },
        { { -1, 2, 3, 4 }, { 1, 4, 0, 2 }, RW_ECORRUPT, -1, 0 },
        { { 0, 3, 2, 4 }, { 1, 4, 0, 2 }, RW_ECORRUPT, -1, 0 },
        { { 0, 2, 4, 3 }, { 1, 4, 0, 2 }, RW_ECORRUPT, -1, 0 },
        { { 0, INT64_MIN, 2, 4 }, { 1, 4, 0, 2 }, RW_ECORRUPT, -1, 0 },
        { { 0, INT64_MAX, 2, 4 }, { 1, 4, 0, 2 }, RW_ECORRUPT, -1, 0 },
        { { 0, 2, 2, INT64_MAX }, { 1, 4, 0, 2 }, RW_ECORRUPT, -1, 0 },
        { { 0, 2, 4, 10 }, { 1, 4, 0, 2 }, RW_ECORRUPT, -1, 0 },
        { { 0, 2, 2, 4 }, { 1, 1, 0, 2 }, RW_EEXIST, 0, 1 },
        { { 0, 2, 2, 4 }, { 1, 4, 2, 0 }, RW_EEXIST, 2, 0 },
        { { 0, 2, 2, 4 }, { 1, 5, 0, 2 }, RW_ERANGE, 0, 5 },
        { { 0, 2, 2, 4 }, { 1, 4, -1, 2 }, RW_ERANGE, 2, -1 },
        { { 0, 2, 2, 4 }, { 1, 4, 0, INT32_MAX }, RW_ERANGE, 2, INT32_MAX },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t slots = cases[i].expected ? 4 : cases[i].indptr[3];
        for (int64_t step = 1; step <= 4; step += 3) { /* the same, block by block */
            rw_store *s = rw_store_new(3, 5, 1, RW_F32);
            rw_loader l;
            rw_fault at = { -7, -7 };
            rw_status st = rw_loader_begin(&l, s, slots);
            for (int64_t k = 0; k < 4 && !st; k += step)
                st = rw_loader_indptr(&l, cases[i].indptr + k, step, &at);
            for (int64_t k = 0; k < slots && !st; k += step)
                st = rw_loader_sources(&l, cases[i].sources + k, step, &at);
            CHECK_STATUS(st, cases[i].expected);
            if (st && cases[i].group >= 0)
                CHECK(at.group == cases[i].group && at.source == cases[i].source);
            CHECK(!rw_loader_complete(&l) == (st || slots)); /* values have not come */
            rw_store_free(s);
        }
        rw_store *s = rw_store_new(3, 5, 1, RW_F32);
        snapshot shot = snapshot_take(s);
        rw_fault at = { -7, -7 };
        CHECK_STATUS(rw_csr_load(s, cases[i].indptr, cases[i].sources, weights, &at),
                     cases[i].expected);
        if (cases[i].expected == RW_OK) {
            CHECK(s->slots == cases[i].indptr[3]);
        } else {
            CHECK(snapshot_same(&shot, s));
            if (cases[i].group >= 0)
                CHECK(at.group == cases[i].group && at.source == cases[i].source);
        }
        CHECK(is_sound(s));
        snapshot_free(&shot);
        rw_store_free(s);
    }
    /* More slots than a group has places. */
    rw_store *narrow = rw_store_new(1, 2, 1, RW_F32);
    rw_fault at;
    CHECK(rw_csr_load(narrow, (int64_t[]){ 0, 3 }, (int32_t[]){ 0, 1, 1 }, weights, &at) != RW_OK);
    CHECK(narrow->slots == 0 && is_sound(narrow));
    rw_store_free(narrow);
    CHECK(rw_mem_live == 0);
}

/* --- clones ------------------------------------------------------------------------- */

static void test_clones_are_equal_and_independent(void)
{
    for (int32_t group = 1; group <= 8; group *= 2) {
        rw_store *s = random_store(19, 25, group, RW_F64, 40);
        CHECK_STATUS(rw_store_add_field(s, "age", RW_I32, 1, 2.0), RW_OK);
        s->field[1].birth = 11.0;
        tag_everything(s);
        rw_store_pin(s);
        rw_store *copy = rw_store_clone(s);
        REQUIRE(copy);
        CHECK(copy->pins == 0 && copy->field[1].birth == 11.0);
        rw_store_unpin(s);
        CHECK(is_sound(copy) && same_contents(s, copy));
        snapshot shot = snapshot_take(s);
        for (int32_t g = 0; g < copy->n_groups; g++)
            while (copy->len[g])
                CHECK_STATUS(remove_one(copy, g, copy->source[copy->start[g]]), RW_OK);
        CHECK(is_sound(copy) && copy->slots == 0);
        CHECK(snapshot_same(&shot, s));
        snapshot_free(&shot);
        rw_store_free(copy);
        rw_store_free(s);
    }
    CHECK(rw_mem_live == 0);
}

/* Back to a clone: where the structure is the same, values are copied, which views allow; else
 * the arrays are swapped. */
static void test_reverting(void)
{
    for (int32_t group = 1; group <= 8; group *= 2)
        for (int change_links = 0; change_links < 2; change_links++)
            for (int change_fields = 0; change_fields < 2; change_fields++) {
                rw_store *s = random_store(19, 25, group, RW_F32, 40);
                CHECK_STATUS(rw_store_add_field(s, "age", RW_I32, 1, 2.0), RW_OK);
                tag_everything(s);
                rw_store *then = rw_store_clone(s), *before = rw_store_clone(s);
                REQUIRE(then && before);
                int32_t g = 0;
                while (!s->len[g])
                    g++;
                if (change_links)
                    CHECK_STATUS(remove_one(s, g, s->source[s->start[g]]), RW_OK);
                if (change_fields)
                    CHECK_STATUS(rw_store_add_field(s, "more", RW_F32, group, 0.0), RW_OK);
                float *weight = (float *)(void *)s->field[RW_WEIGHT].data;
                for (int32_t h = 0; h < s->n_groups; h++)
                    for (int64_t i = s->start[h] * group;
                         i < (s->start[h] + s->len[h]) * group; i++)
                        weight[i] *= 3.0f;
                s->field[1].birth = 5.0;
                uint64_t generation = s->generation;

                rw_store_pin(s);
                rw_status st = rw_store_revert(s, then);
                CHECK_STATUS(st, change_links || change_fields ? RW_EPINNED : RW_OK);
                if (st) {
                    CHECK(s->generation == generation && s->field[1].birth == 5.0);
                    rw_store_unpin(s);
                    CHECK_STATUS(rw_store_revert(s, then), RW_OK);
                    CHECK(s->generation > generation);
                } else {
                    CHECK((void *)weight == (void *)s->field[RW_WEIGHT].data);
                    rw_store_unpin(s);
                }
                CHECK(is_sound(s) && is_sound(then) && same_contents(s, before));
                CHECK(s->n_fields == 2 && s->field[1].birth == 2.0 && s->pins == 0);
                rw_store_free(before);
                rw_store_free(then);
                rw_store_free(s);
            }
    rw_store *wide = random_store(19, 26, 1, RW_F32, 40);
    rw_store *narrow = random_store(19, 25, 1, RW_F32, 40);
    CHECK_STATUS(rw_store_revert(wide, narrow), RW_ESHAPE);
    rw_store_free(narrow);
    rw_store_free(wide);
    CHECK(rw_mem_live == 0);
}

/* Two edits of one story, told in different orders, end in one store. */
static void test_history_leaves_no_trace(void)
{
    rw_store *all_at_once = random_store(12, 40, 2, RW_F32, 40);
    rw_store *one_by_one = rw_store_new(12, 40, 2, RW_F32);
    for (int32_t j = 39; j >= 0; j--)
        for (int32_t g = 5; g >= 0; g--) {
            place at = { g, j };
            rw_fault fault;
            if (connected(all_at_once, g, j)) {
                double w[2] = { default_weight(2 * g, j), default_weight(2 * g + 1, j) };
                CHECK_STATUS(change(one_by_one, 0, NULL, 1, &at, w, &fault), RW_OK);
            } else if ((j + g) % 3 == 0) { /* a guest */
                CHECK_STATUS(change(one_by_one, 0, NULL, 1, &at, NULL, &fault), RW_OK);
                CHECK_STATUS(remove_one(one_by_one, g, j), RW_OK);
            }
        }
    CHECK(is_sound(one_by_one) && same_contents(all_at_once, one_by_one));
    for (uint64_t step = 0; step < 5; step++) {
        rw_key key = { 11, 2, step };
        rw_store *both[2] = { all_at_once, one_by_one };
        for (int i = 0; i < 2; i++) {
            rw_plan *p = rw_plan_new(both[i]);
            CHECK_STATUS(rw_plan_prune_smallest(p, 40, key, &ALONE), RW_OK);
            CHECK_STATUS(rw_plan_grow_random(p, 50, key, &(rw_run){ 1 + 2 * i, NULL, NULL }),
                         RW_OK);
            CHECK_STATUS(rw_plan_values(p, RW_VALUE_UNIFORM, 1.0, RW_FAN_REAL, key, NULL), RW_OK);
            CHECK_STATUS(commit_plan(both[i], p), RW_OK);
            rw_plan_free(p);
        }
        CHECK(same_contents(all_at_once, one_by_one));
    }
    rw_store_free(one_by_one);
    rw_store_free(all_at_once);
    CHECK(rw_mem_live == 0);
}
