/* plan.c -- plans: making them, checking them, drawing their weights. */
#include "store/plan.h"
#include "base/mem.h"
#include "base/par.h"
#include "base/tuning.h"
#include "store/digest.h"

#include <math.h>
#include <string.h>

#define TWO_PI 6.283185307179586

static size_t weight_bytes(const rw_store *s) { return rw_slot_bytes(&s->field[RW_WEIGHT]); }

rw_plan *rw_plan_new(const rw_store *s)
{
    RW_ASSERT(s);
    rw_plan *p = rw_calloc(sizeof *p);
    if (!p)
        return NULL;
    p->store = s;
    p->generation = s->generation;
    return p;
}

void rw_plan_free(rw_plan *p)
{
    if (!p)
        return;
    rw_free(p->del_group, (size_t)p->room_del * sizeof *p->del_group);
    rw_free(p->del_position, (size_t)p->room_del * sizeof *p->del_position);
    rw_free(p->ins_group, (size_t)p->room_ins * sizeof *p->ins_group);
    rw_free(p->ins_source, (size_t)p->room_ins * sizeof *p->ins_source);
    rw_free(p->ins_weight, (size_t)p->n_ins * weight_bytes(p->store));
    rw_free(p, sizeof *p);
}

size_t rw_plan_bytes(const rw_plan *p)
{
    size_t weights = p->ins_weight ? (size_t)p->n_ins * weight_bytes(p->store) : 0;
    return sizeof *p + (size_t)(p->room_del + p->room_ins) * 2 * sizeof(int32_t) + weights;
}

/* Two int32 arrays to `want` entries, both or neither. */
static rw_status grow_pair(int32_t **a, int32_t **b, int64_t *room, int64_t want)
{
    size_t bytes;
    if (want <= *room)
        return RW_OK;
    if ((uint64_t)want > SIZE_MAX || !rw_mul_size((size_t)want, sizeof **a, &bytes))
        return RW_ENOMEM;
    int32_t *x = rw_alloc(bytes), *y = rw_alloc(bytes);
    if (!x || !y) {
        rw_free(x, bytes);
        rw_free(y, bytes);
        return RW_ENOMEM;
    }
    size_t old = (size_t)*room * sizeof **a;
    if (old) {
        memcpy(x, *a, old);
        memcpy(y, *b, old);
    }
    rw_free(*a, old);
    rw_free(*b, old);
    *a = x;
    *b = y;
    *room = want;
    return RW_OK;
}

rw_status rw_plan_reserve(rw_plan *p, int64_t n_del, int64_t n_ins)
{
    RW_ASSERT(n_del >= 0 && n_ins >= 0);
    rw_status st = grow_pair(&p->del_group, &p->del_position, &p->room_del, n_del);
    return st ? st : grow_pair(&p->ins_group, &p->ins_source, &p->room_ins, n_ins);
}

/* Pairs in range and strictly ascending. */
static rw_status check_pairs(const rw_store *s, int64_t n, const int32_t *group,
                             const int32_t *source, rw_fault *at)
{
    for (int64_t i = 0; i < n; i++) {
        if (group[i] < 0 || group[i] >= s->n_groups || source[i] < 0 || source[i] >= s->n_in)
            return rw_fault_at(RW_ERANGE, at, group[i], source[i]);
        if (i == 0 || group[i - 1] < group[i]
            || (group[i - 1] == group[i] && source[i - 1] < source[i]))
            continue;
        bool twice = group[i - 1] == group[i] && source[i - 1] == source[i];
        return rw_fault_at(twice ? RW_EEXIST : RW_ESHAPE, at, group[i], source[i]);
    }
    return RW_OK;
}

/* Is position k of group g among the plan's removals? `d` is a cursor that
 * only moves forward, so calls must ascend. */
static bool removed(const rw_plan *p, int64_t *d, int32_t g, int32_t k)
{
    while (*d < p->n_del
           && (p->del_group[*d] < g || (p->del_group[*d] == g && p->del_position[*d] < k)))
        ++*d;
    return *d < p->n_del && p->del_group[*d] == g && p->del_position[*d] == k;
}

/* Insertions fall on places that are empty, or emptied by the plan. */
static rw_status check_empty(const rw_plan *p, rw_fault *at)
{
    const rw_store *s = p->store;
    int64_t d = 0;
    for (int64_t i = 0; i < p->n_ins; i++) {
        int32_t k = rw_group_find(s, p->ins_group[i], p->ins_source[i]);
        if (k >= 0 && !removed(p, &d, p->ins_group[i], k))
            return rw_fault_at(RW_EEXIST, at, p->ins_group[i], p->ins_source[i]);
    }
    return RW_OK;
}

rw_status rw_plan_pairs(rw_plan *p, int64_t n_del, const int32_t *del_group,
                        const int32_t *del_source, int64_t n_ins, const int32_t *ins_group,
                        const int32_t *ins_source, const void *weight, rw_fault *at)
{
    RW_ASSERT(n_del >= 0 && n_ins >= 0 && at);
    const rw_store *s = p->store;
    rw_status st = p->n_del || p->n_ins ? RW_ESHAPE : RW_OK;
    if (!st)
        st = check_pairs(s, n_del, del_group, del_source, at);
    if (!st)
        st = check_pairs(s, n_ins, ins_group, ins_source, at);
    if (!st)
        st = rw_plan_reserve(p, n_del, n_ins);
    if (st)
        return st;

    char *copy = NULL;
    if (weight && n_ins) {
        copy = rw_alloc_array((size_t)n_ins, weight_bytes(s));
        if (!copy)
            return RW_ENOMEM;
        memcpy(copy, weight, (size_t)n_ins * weight_bytes(s));
    }
    for (int64_t i = 0; i < n_del && !st; i++) {
        int32_t k = rw_group_find(s, del_group[i], del_source[i]);
        if (k < 0)
            st = rw_fault_at(RW_ENOENT, at, del_group[i], del_source[i]);
        p->del_group[i] = del_group[i];
        p->del_position[i] = k;
    }
    if (!st) {
        if (n_ins) {
            memcpy(p->ins_group, ins_group, (size_t)n_ins * sizeof *ins_group);
            memcpy(p->ins_source, ins_source, (size_t)n_ins * sizeof *ins_source);
        }
        p->n_del = n_del;
        p->n_ins = n_ins;
        st = check_empty(p, at);
    }
    if (st) {
        p->n_del = p->n_ins = 0;
        rw_free(copy, (size_t)n_ins * weight_bytes(s));
        return st;
    }
    p->ins_weight = copy;
    p->checked = true;
    return RW_OK;
}

rw_status rw_plan_insert(rw_plan *p, int64_t n, const int32_t *group, const int32_t *source,
                         const void *weight, rw_fault *at)
{
    RW_ASSERT(n >= 0 && at);
    const rw_store *s = p->store;
    if (p->n_ins)
        return RW_ESHAPE;
    if (p->generation != s->generation)
        return RW_ESTALE;
    rw_status st = check_pairs(s, n, group, source, at);
    if (!st)
        st = rw_plan_reserve(p, p->n_del, n);
    if (st || n == 0)
        return st;
    char *copy = NULL;
    if (weight) {
        copy = rw_alloc_array((size_t)n, weight_bytes(s));
        if (!copy)
            return RW_ENOMEM;
        memcpy(copy, weight, (size_t)n * weight_bytes(s));
    }
    memcpy(p->ins_group, group, (size_t)n * sizeof *group);
    memcpy(p->ins_source, source, (size_t)n * sizeof *source);
    p->n_ins = n;
    st = check_empty(p, at);
    if (st) {
        p->n_ins = 0;
        rw_free(copy, (size_t)n * weight_bytes(s));
        return st;
    }
    p->ins_weight = copy;
    return RW_OK;
}

/* A place as one number, which orders as (group, source). */
static uint64_t place_number(int32_t group, int32_t source)
{
    return (uint64_t)(uint32_t)group << 32 | (uint32_t)source;
}

rw_status rw_plan_keep_common(rw_plan *p)
{
    const rw_store *s = p->store;
    if (p->ins_weight)
        return RW_ESHAPE;
    if (p->generation != s->generation)
        return RW_ESTALE;
    /* Both lists ascend by (group, source), so one pass merges them, and entries that stay move
     * up. Which list has the smaller entry is random, so both are written and no branch decides.
     * The sources of the next removals are looked up first, so that a step of the merge waits for
     * nothing but the step before. */
    uint64_t gone[RW_MERGE_AHEAD];
    int64_t d = 0, i = 0, del = 0, ins = 0;
    while (d < p->n_del && i < p->n_ins) {
        int64_t from = d, end = rw_min64(d + RW_MERGE_AHEAD, p->n_del);
        for (int64_t e = from; e < end; e++) {
            int32_t g = p->del_group[e];
            gone[e - from] = place_number(g, s->source[s->start[g] + p->del_position[e]]);
        }
        while (d < end && i < p->n_ins) {
            int32_t dg = p->del_group[d], dk = p->del_position[d];
            int32_t ig = p->ins_group[i], ij = p->ins_source[i];
            uint64_t out = gone[d - from], in = place_number(ig, ij);
            p->del_group[del] = dg;
            p->del_position[del] = dk;
            p->ins_group[ins] = ig;
            p->ins_source[ins] = ij;
            del += out < in;
            ins += in < out;
            d += out <= in;
            i += in <= out;
        }
    }
    for (; d < p->n_del; d++, del++) {
        p->del_group[del] = p->del_group[d];
        p->del_position[del] = p->del_position[d];
    }
    for (; i < p->n_ins; i++, ins++) {
        p->ins_group[ins] = p->ins_group[i];
        p->ins_source[ins] = p->ins_source[i];
    }
    p->n_del = del;
    p->n_ins = ins;
    return RW_OK;
}

rw_status rw_plan_removed_sources(const rw_plan *p, int32_t *source)
{
    const rw_store *s = p->store;
    if (p->generation != s->generation)
        return RW_ESTALE;
    for (int64_t d = 0; d < p->n_del; d++)
        source[d] = s->source[s->start[p->del_group[d]] + p->del_position[d]];
    return RW_OK;
}

rw_status rw_plan_removed_marks(const rw_plan *p, uint8_t *mark)
{
    const rw_store *s = p->store;
    if (p->generation != s->generation)
        return RW_ESTALE;
    if (s->slots)
        memset(mark, 0, (size_t)s->slots);
    int64_t before = 0, d = 0; /* slots of the groups before g; the next removal */
    for (int32_t g = 0; g < s->n_groups && d < p->n_del; g++) {
        for (; d < p->n_del && p->del_group[d] == g; d++)
            mark[before + p->del_position[d]] = 1;
        before += s->len[g];
    }
    return RW_OK;
}

/* Slots [k, k_end) of a group, the first of which is slot `first` of the store; returns the end. */
static int64_t *note_slots(int64_t *old, int64_t first, int32_t k, int32_t k_end)
{
    for (; k < k_end; k++)
        *old++ = first + k;
    return old;
}

rw_status rw_plan_mapping(const rw_plan *p, int64_t *old, rw_fault *at)
{
    const rw_store *s = p->store;
    rw_status st = p->checked && p->generation == s->generation ? RW_OK : rw_plan_check(p, at);
    if (st)
        return st;
    int64_t first = 0, d = 0, i = 0; /* slots of the groups before g; the next of both lists */
    for (int32_t g = 0; g < s->n_groups; g++) {
        const int32_t *row = s->source + s->start[g];
        int32_t k = 0;
        while ((d < p->n_del && p->del_group[d] == g) || (i < p->n_ins && p->ins_group[i] == g)) {
            int32_t goes = d < p->n_del && p->del_group[d] == g ? p->del_position[d] : s->len[g];
            int32_t comes = s->len[g] + 1; /* the slot before which the next link comes */
            if (i < p->n_ins && p->ins_group[i] == g)
                comes = rw_count_up_to(row, s->len[g], p->ins_source[i] - 1);
            if (comes <= goes) {
                old = note_slots(old, first, k, comes);
                *old++ = -1;
                k = comes;
                i++;
            } else {
                old = note_slots(old, first, k, goes);
                k = goes + 1;
                d++;
            }
        }
        old = note_slots(old, first, k, s->len[g]);
        first += s->len[g];
    }
    return RW_OK;
}

void rw_plan_mapping_after(const rw_plan *p, int64_t *old)
{
    const rw_store *s = p->store;
    int64_t first = 0, d = 0, i = 0; /* slots of the groups before g, as they were; as above */
    for (int32_t g = 0; g < s->n_groups; g++) {
        const int32_t *row = s->source + s->start[g];
        int32_t was = 0;
        for (int32_t k = 0; k <= s->len[g]; k++) {
            if (k < s->len[g] && i < p->n_ins && p->ins_group[i] == g && p->ins_source[i] == row[k]) {
                *old++ = -1;
                i++;
                continue;
            }
            for (; d < p->n_del && p->del_group[d] == g && p->del_position[d] == was; d++)
                was++;
            if (k < s->len[g])
                *old++ = first + was++;
        }
        first += was;
    }
}

rw_status rw_plan_check(const rw_plan *p, rw_fault *at)
{
    RW_ASSERT(at);
    const rw_store *s = p->store;
    if (p->generation != s->generation)
        return RW_ESTALE;
    for (int64_t i = 0; i < p->n_del; i++) {
        int32_t g = p->del_group[i], k = p->del_position[i];
        if (g < 0 || g >= s->n_groups || k < 0 || k >= s->len[g])
            return rw_fault_at(RW_ERANGE, at, g, -1);
        if (i == 0 || p->del_group[i - 1] < g
            || (p->del_group[i - 1] == g && p->del_position[i - 1] < k))
            continue;
        return rw_fault_at(RW_EEXIST, at, g, s->source[s->start[g] + k]);
    }
    rw_status st = check_pairs(s, p->n_ins, p->ins_group, p->ins_source, at);
    return st ? st : check_empty(p, at);
}

/* --- weights of new links --------------------------------------------------- */

static double draw_value(rw_value kind, double scale, rw_key key, uint64_t row, uint64_t source)
{
    if (kind == RW_VALUE_CONSTANT)
        return scale;
    rw_philox words = rw_draw4(key, RW_DRAW_VALUE, row, source);
    if (kind == RW_VALUE_SIGN)
        return words.v[0] >> 63 ? scale : -scale;
    if (kind == RW_VALUE_UNIFORM)
        return scale * (2.0 * rw_unit(words.v[0]) - 1.0);
    /* Box-Muller; 1 - u lies in (0, 1], so its logarithm is finite. */
    double radius = sqrt(-2.0 * log(1.0 - rw_unit(words.v[0])));
    if (kind == RW_VALUE_OVERSHOOT) /* the integral of (1 / r) over the density of radii above x */
        return (words.v[2] >> 63 ? scale : -scale) * radius * (1.0 - rw_unit(words.v[1]));
    return scale * radius * cos(TWO_PI * rw_unit(words.v[1]));
}

/* First entry behind a group's in a list of groups; `from` is the group's first. */
static int64_t end_of_group(const int32_t *groups, int64_t n, int64_t from, int32_t g)
{
    while (from < n && groups[from] == g)
        from++;
    return from;
}

/* The same value for all, but zero in rows beyond n_out. */
static void fill_constant(rw_plan *p, double value)
{
    rw_field weights = p->store->field[RW_WEIGHT];
    weights.data = p->ins_weight;
    weights.birth = value;
    rw_field_bear(&weights, 0, p->n_ins);
    int32_t last = p->store->n_groups - 1;
    size_t bytes = rw_slot_bytes(&weights);
    size_t kept = (size_t)rw_group_rows(p->store, last) * rw_dtype_size(weights.dtype);
    int64_t first = rw_first_of_group(p->ins_group, p->n_ins, last);
    for (int64_t i = first; i < p->n_ins && kept < bytes; i++)
        memset(p->ins_weight + (size_t)i * bytes + kept, 0, bytes - kept);
}

/* A run of new links, drawn by one thread. */
typedef struct {
    rw_plan *p;
    rw_value kind;
    double scale;
    rw_fan fan;
    rw_key key;
} value_draw;

static void draw_run(const value_draw *v, int64_t first, int64_t end)
{
    rw_plan *p = v->p;
    const rw_store *s = p->store;
    bool f32 = s->field[RW_WEIGHT].dtype == RW_F32;
    /* The group's entries in the plan: d..d_end go, from..to come. */
    int64_t d = 0, d_end = 0, from = 0, to = 0;
    double scaled = v->scale;
    for (int64_t i = first; i < end; i++) {
        int32_t g = p->ins_group[i], rows = rw_group_rows(s, g);
        if (i == first) { /* it may be in the middle of a group that is long */
            d = rw_first_of_group(p->del_group, p->n_del, g);
            d_end = rw_first_of_group(p->del_group, p->n_del, g + 1);
            from = rw_first_of_group(p->ins_group, p->n_ins, g);
            to = rw_first_of_group(p->ins_group, p->n_ins, g + 1);
        } else if (i == to) {
            from = to;
            to = end_of_group(p->ins_group, p->n_ins, from, g);
            for (d = d_end; d < p->n_del && p->del_group[d] < g; d++)
                continue;
            d_end = end_of_group(p->del_group, p->n_del, d, g);
        }
        if (i == first || i == from) {
            int64_t len = s->len[g] - (d_end - d) + (to - from);
            scaled = v->fan == RW_FAN_REAL ? v->scale / sqrt((double)len) : v->scale;
        }
        for (int32_t r = 0; r < s->group; r++) {
            uint64_t row = (uint64_t)g * (uint64_t)s->group + (uint64_t)r;
            uint64_t source = (uint64_t)p->ins_source[i];
            double w = r < rows ? draw_value(v->kind, scaled, v->key, row, source) : 0.0;
            int64_t at = i * s->group + r;
            if (f32)
                ((float *)(void *)p->ins_weight)[at] = (float)w;
            else
                ((double *)(void *)p->ins_weight)[at] = w;
        }
    }
}

rw_status rw_plan_values(rw_plan *p, rw_value kind, double scale, rw_fan fan, rw_key key,
                         const rw_run *run)
{
    RW_ASSERT(kind >= RW_VALUE_CONSTANT && kind <= RW_VALUE_OVERSHOOT && scale == scale);
    RW_ASSERT(!run || rw_is_run(run));
    enum { RUN = RW_VALUES_RUN };
    const rw_store *s = p->store;
    bool fresh = !p->ins_weight;
    if (p->generation != s->generation)
        return RW_ESTALE;
    if (fresh && p->n_ins) {
        p->ins_weight = rw_alloc_array((size_t)p->n_ins, weight_bytes(s));
        if (!p->ins_weight)
            return RW_ENOMEM;
    }
    if (kind == RW_VALUE_CONSTANT && fan == RW_FAN_NONE) {
        fill_constant(p, scale);
        return RW_OK;
    }
    value_draw v = { p, kind, scale, fan, key };
    int threads = rw_threads_for(run ? run->threads : 1, p->n_ins * s->group * RW_COST_DRAW_VALUE);
    int64_t n_runs = (p->n_ins + RUN - 1) / RUN, round = (int64_t)RW_VALUES_POLL_RUNS * threads;
    for (int64_t begin = 0; begin < n_runs; begin += round) {
        int64_t end = rw_min64(begin + round, n_runs);
        RW_PARALLEL_FOR(threads)
        for (int64_t i = begin; i < end; i++)
            draw_run(&v, i * RUN, rw_min64((i + 1) * RUN, p->n_ins));
        if (run && run->poll && run->poll(run->arg)) {
            if (fresh) { /* never half drawn */
                rw_free(p->ins_weight, (size_t)p->n_ins * weight_bytes(s));
                p->ins_weight = NULL;
            }
            return RW_EINTR;
        }
    }
    return RW_OK;
}

/* --- the digest --------------------------------------------------------------------- */

/* Of the entries [n * b / of, n * (b + 1) / of) of both lists. */
static uint64_t digest_part(const rw_plan *p, int64_t b, int64_t of)
{
    const rw_store *s = p->store;
    uint64_t sum = 0;
    for (int64_t i = p->n_ins * b / of; i < p->n_ins * (b + 1) / of; i++)
        sum += rw_place_hash(s, p->ins_group[i], p->ins_source[i]);
    for (int64_t i = p->n_del * b / of; i < p->n_del * (b + 1) / of; i++) {
        int32_t g = p->del_group[i];
        sum -= rw_place_hash(s, g, s->source[s->start[g] + p->del_position[i]]);
    }
    return sum;
}

typedef struct {
    const rw_plan *p;
    int64_t parts;
    uint64_t *sum; /* of each */
} digest_op;

static void digest_task(const void *arg, int64_t b)
{
    const digest_op *d = arg;
    d->sum[b] = digest_part(d->p, b, d->parts);
}

uint64_t rw_plan_digest(const rw_plan *p, int threads)
{
    RW_ASSERT(p->generation == p->store->generation && threads >= 1);
    uint64_t sum[RW_SHARES], all = 0;
    int64_t n = rw_min64(RW_SHARES, 1 + (p->n_ins + p->n_del) / RW_COMMIT_CHUNK);
    digest_op d = { .p = p, .parts = n, .sum = sum };
    /* One part goes without OpenMP, whose region would take two thirds of an edit. */
    rw_parallel_tasks(threads, n, digest_task, &d);
    for (int64_t b = 0; b < n; b++)
        all += sum[b];
    return all;
}
