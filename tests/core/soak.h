/* soak.h -- random edits, with a table of all places telling the same story. */

enum { SOAK_FIELDS = 3 }; /* weight, one of `group` width, one of width 1 */

typedef struct {
    int32_t n_groups, n_in, group, n_out;
    bool *there;                    /* [group][source]             */
    double *value[SOAK_FIELDS];     /* [group][source][width]      */
    int64_t links;
} model;

static int32_t model_width(const model *m, int f) { return f == 2 ? 1 : m->group; }
static const double model_birth[SOAK_FIELDS] = { 0.0, 0.5, 7.0 };

static double *model_at(const model *m, int f, int32_t g, int32_t j)
{
    return m->value[f] + ((int64_t)g * m->n_in + j) * model_width(m, f);
}

static model model_new(const rw_store *s)
{
    model m = { s->n_groups, s->n_in, s->group, s->n_out, NULL, { NULL }, 0 };
    size_t places = (size_t)s->n_groups * (size_t)s->n_in;
    m.there = calloc(places, sizeof *m.there);
    for (int f = 0; f < SOAK_FIELDS; f++)
        m.value[f] = calloc(places * (size_t)s->group, sizeof *m.value[f]);
    REQUIRE(m.there && m.value[0] && m.value[1] && m.value[2]);
    return m;
}

static void model_free(model *m)
{
    free(m->there);
    for (int f = 0; f < SOAK_FIELDS; f++)
        free(m->value[f]);
}

static void model_remove(model *m, int32_t g, int32_t j)
{
    m->there[g * m->n_in + j] = false;
    m->links--;
}

static void model_insert(model *m, int32_t g, int32_t j, const double *weight)
{
    m->there[g * m->n_in + j] = true;
    m->links++;
    for (int f = 0; f < SOAK_FIELDS; f++)
        for (int32_t r = 0; r < model_width(m, f); r++)
            model_at(m, f, g, j)[r] = f == 0 && weight ? weight[r] : model_birth[f];
    for (int32_t r = 0; r < m->group; r++)
        if (g * m->group + r >= m->n_out)
            model_at(m, 0, g, j)[r] = 0.0;
}

static void agree(const model *m, const rw_store *s)
{
    CHECK(is_sound(s));
    CHECK(s->slots == m->links);
    for (int32_t g = 0; g < m->n_groups; g++) {
        int32_t k = 0;
        for (int32_t j = 0; j < m->n_in; j++) {
            if (!m->there[g * m->n_in + j])
                continue;
            CHECK(k < s->len[g] && s->source[s->start[g] + k] == j);
            if (k >= s->len[g])
                return;
            for (int f = 0; f < SOAK_FIELDS; f++) {
                int32_t width = model_width(m, f);
                for (int32_t r = 0; r < width; r++)
                    CHECK(value_get(&s->field[f], (s->start[g] + k) * width + r)
                          == model_at(m, f, g, j)[r]);
            }
            k++;
        }
        CHECK(k == s->len[g]);
    }
}

static int by_place(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return (x->source > y->source) - (x->source < y->source);
}

static int64_t without_repeats(place *all, int64_t n)
{
    int64_t kept = 0;
    qsort(all, (size_t)n, sizeof *all, by_place);
    for (int64_t i = 0; i < n; i++)
        if (kept == 0 || by_place(&all[i], &all[kept - 1]) != 0)
            all[kept++] = all[i];
    return kept;
}

/* A few random pairs: those connected go, of the rest some come; some of those
 * that go come back. */
static int64_t soak_pairs(model *m, rw_store *s, int64_t want)
{
    enum { MOST = 400 };
    place all[MOST], del[MOST], ins[MOST];
    double weight[MOST * 8];
    int64_t n = 0, n_del = 0, n_ins = 0;
    bool filling = (s->generation >> 9) % 2 == 0; /* tides: the store grows, then shrinks */
    while (n < want && n < MOST)
        all[n++] = (place){ random_below(m->n_groups), random_below(m->n_in) };
    n = without_repeats(all, n);
    for (int64_t i = 0; i < n; i++) {
        bool there = m->there[all[i].group * m->n_in + all[i].source];
        bool goes = there && random_below(4) < (filling ? 1 : 3);
        bool comes = there ? goes && random_below(8) == 0 : random_below(4) < (filling ? 3 : 1);
        if (goes)
            del[n_del++] = all[i];
        if (comes)
            ins[n_ins++] = all[i];
    }
    for (int64_t i = 0; i < n_ins * m->group; i++)
        weight[i] = (double)random_below(1 << 20) - (1 << 19);
    bool given = random_below(4) != 0;
    rw_fault at;
    CHECK_STATUS(change(s, n_del, del, n_ins, ins, given ? weight : NULL, &at), RW_OK);
    for (int64_t i = 0; i < n_del; i++)
        model_remove(m, del[i].group, del[i].source);
    for (int64_t i = 0; i < n_ins; i++)
        model_insert(m, ins[i].group, ins[i].source, given ? weight + i * m->group : NULL);
    return n_del + n_ins;
}

/* Whatever a rule planned, carried out in both. */
static int64_t soak_rule(model *m, rw_store *s, uint64_t step)
{
    rw_key key = { 1, 1, step };
    rw_plan *p = rw_plan_new(s);
    int64_t room = (int64_t)m->n_groups * m->n_in - s->slots;
    int64_t some = random_below(2) ? s->slots / 3 : rw_min64(s->slots, 5);
    if (random_below(2))
        CHECK_STATUS(rw_plan_prune_set(p, random_below(11) / 10.0, key, &ALONE), RW_OK);
    else
        CHECK_STATUS(rw_plan_prune_smallest(p, some, key, &ALONE), RW_OK);
    if (random_below(3) == 0)
        CHECK_STATUS(rw_plan_grow_fan_in(p, random_below(m->n_in / 2), key, &ALONE), RW_OK);
    else
        CHECK_STATUS(rw_plan_grow_random(p, rw_min64(p->n_del + random_below(4), p->n_del + room),
                                         key,
                                    &ALONE), RW_OK);
    CHECK_STATUS(rw_plan_values(p, RW_VALUE_UNIFORM, 1.0, RW_FAN_REAL, key, NULL), RW_OK);
    rw_field drawn = { .dtype = s->field[0].dtype, .width = m->group, .data = p->ins_weight };
    for (int64_t i = 0; i < p->n_del; i++)
        model_remove(m, p->del_group[i],
                     s->source[s->start[p->del_group[i]] + p->del_position[i]]);
    for (int64_t i = 0; i < p->n_ins; i++) {
        double w[8];
        for (int32_t r = 0; r < m->group; r++)
            w[r] = value_get(&drawn, i * m->group + r);
        model_insert(m, p->ins_group[i], p->ins_source[i], w);
    }
    int64_t edits = p->n_del + p->n_ins;
    CHECK_STATUS(commit_plan(s, p), RW_OK);
    rw_plan_free(p);
    return edits;
}

/* New values in every field of every slot, through the flat arrays. */
static void soak_values(model *m, rw_store *s)
{
    for (int32_t f = 0; f < SOAK_FIELDS; f++) {
        int32_t width = model_width(m, f);
        size_t n = (size_t)(s->slots * width);
        void *flat = malloc(n * sizeof(double) + 1);
        REQUIRE(flat);
        int64_t i = 0;
        for (int32_t g = 0; g < m->n_groups; g++)
            for (int32_t j = 0; j < m->n_in; j++)
                for (int32_t r = 0; m->there[g * m->n_in + j] && r < width; r++) {
                    double v = (double)random_below(1 << 20) - (1 << 19);
                    value_put(s->field[f].dtype, flat, i++, v);
                    bool padding = f == 0 && g * m->group + r >= m->n_out;
                    model_at(m, f, g, j)[r] = padding ? 0.0 : v;
                }
        rw_csr_set(s, f, flat);
        free(flat);
    }
}

static rw_store *soak_reload(const rw_store *s)
{
    rw_store *t = rw_store_new(s->n_out, s->n_in, s->group, s->field[0].dtype);
    REQUIRE(t);
    for (int32_t f = 1; f < s->n_fields; f++)
        CHECK_STATUS(rw_store_add_field(t, s->field[f].name, s->field[f].dtype, s->field[f].width,
                                        s->field[f].birth), RW_OK);
    size_t n = (size_t)s->slots + 1;
    int64_t *indptr = malloc(((size_t)s->n_groups + 1) * sizeof *indptr);
    int32_t *sources = malloc(n * sizeof *sources);
    void *values = malloc(n * 8 * sizeof(double));
    REQUIRE(indptr && sources && values);
    rw_csr_indptr(s, indptr);
    rw_csr_sources(s, sources);
    rw_csr_get(s, RW_WEIGHT, values);
    rw_fault at;
    CHECK_STATUS(rw_csr_load(t, indptr, sources, values, &at), RW_OK);
    for (int32_t f = 1; f < s->n_fields; f++) {
        rw_csr_get(s, f, values);
        rw_csr_set(t, f, values);
    }
    free(values);
    free(sources);
    free(indptr);
    return t;
}

static void soak(int32_t n_out, int32_t n_in, int32_t group, rw_dtype dtype, int64_t edits,
                 int64_t between_checks)
{
    rw_store *s = rw_store_new(n_out, n_in, group, dtype);
    REQUIRE(s);
    REQUIRE(rw_store_add_field(s, "momentum", RW_F32, group, model_birth[1]) == RW_OK);
    REQUIRE(rw_store_add_field(s, "born", RW_I32, 1, model_birth[2]) == RW_OK);
    model m = model_new(s);
    int64_t done = 0, checked = 0;
    int failures = checks_failed;
    for (uint64_t step = 0; done < edits && checks_failed == failures; step++) {
        int32_t dice = random_below(100);
        int64_t before = done;
        if (dice < 86) {
            /* Most edits are small. */
            int32_t most = random_below(30) ? 6 : 300;
            done += soak_pairs(&m, s, 1 + random_below(most));
        } else if (dice < 90) {
            done += soak_rule(&m, s, step);
        } else if (dice < 92) {
            CHECK_STATUS(rw_store_compact(s), RW_OK);
        } else if (dice < 94) {
            soak_values(&m, s);
        } else if (dice < 95) {
            rw_store *copy = dice % 2 ? rw_store_clone(s) : soak_reload(s);
            REQUIRE(copy);
            rw_store_free(s);
            s = copy;
        } else if (dice < 96) {
            rw_store *copy = soak_reload(s);
            CHECK(same_contents(s, copy));
            rw_store_free(s);
            s = copy;
        } else if (dice < 98) {
            CHECK_STATUS(rw_mirror_build(s, 1), RW_OK);
        } else {
            rw_plan *p = rw_plan_new(s); /* reserved, and thought better of */
            rw_edit *edit = NULL;
            rw_fault at;
            int64_t room = (int64_t)m.n_groups * m.n_in - s->slots;
            CHECK_STATUS(rw_plan_grow_random(p, room / 2, (rw_key){ 2, 2, step }, &ALONE), RW_OK);
            CHECK_STATUS(rw_edit_reserve(s, p, 1, &edit, &at), RW_OK);
            rw_edit_cancel(edit);
            rw_plan_free(p);
        }
        done += done == before; /* never for ever */
        if (done - checked >= between_checks) {
            agree(&m, s);
            checked = done;
        }
    }
    agree(&m, s);
    model_free(&m);
    rw_store_free(s);
}

static int64_t soak_edits = 25000; /* in each of four stores */
static uint64_t soak_seed = 2026;

static void test_soak(void)
{
    int64_t between = soak_edits / 300 + 1;
    random_state = soak_seed;
    soak(40, 60, 1, RW_F32, soak_edits, between);
    soak(7, 200, 1, RW_F64, soak_edits, between);
    soak(61, 30, 4, RW_F32, soak_edits, between);
    soak(90, 25, 8, RW_F64, soak_edits, between);
    CHECK(rw_mem_live == 0);
}
