/* plan.c -- plans: making them, checking them, drawing their weights. */
#include "edit.h"
#include "mem.h"

#include <math.h>
#include <string.h>

static size_t weight_bytes(const rw_store *s) { return rw_slot_bytes(&s->field[RW_WEIGHT]); }

rw_plan *rw_plan_new(const rw_store *s)
{
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
    return RW_OK;
}

rw_status rw_plan_check(const rw_plan *p, rw_fault *at)
{
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

/* --- weights of newcomers --------------------------------------------------- */

static double draw_value(rw_value kind, double scale, rw_key key, uint64_t row, uint64_t source)
{
    if (kind == RW_VALUE_CONSTANT)
        return scale;
    rw_philox words = rw_draw4(key, RW_DRAW_VALUE, row, source);
    if (kind == RW_VALUE_UNIFORM)
        return scale * (2.0 * rw_unit(words.v[0]) - 1.0);
    /* Box-Muller; 1 - u lies in (0, 1], so its logarithm is finite. */
    double radius = sqrt(-2.0 * log(1.0 - rw_unit(words.v[0])));
    return scale * radius * cos(6.283185307179586 * rw_unit(words.v[1]));
}

/* Slots of group g once the plan is carried out; cursors move forward. */
static int32_t planned_len(const rw_plan *p, int32_t g, int64_t *d, int64_t *i)
{
    int64_t first_d, first_i;
    while (*d < p->n_del && p->del_group[*d] < g)
        ++*d;
    for (first_d = *d; *d < p->n_del && p->del_group[*d] == g;)
        ++*d;
    while (*i < p->n_ins && p->ins_group[*i] < g)
        ++*i;
    for (first_i = *i; *i < p->n_ins && p->ins_group[*i] == g;)
        ++*i;
    return p->store->len[g] - (int32_t)(*d - first_d) + (int32_t)(*i - first_i);
}

rw_status rw_plan_values(rw_plan *p, rw_value kind, double scale, rw_fan fan, rw_key key)
{
    const rw_store *s = p->store;
    bool f32 = s->field[RW_WEIGHT].dtype == RW_F32;
    if (!p->ins_weight && p->n_ins) {
        p->ins_weight = rw_alloc_array((size_t)p->n_ins, weight_bytes(s));
        if (!p->ins_weight)
            return RW_ENOMEM;
    }
    int64_t d = 0, end = 0;
    double scaled = scale;
    for (int64_t i = 0; i < p->n_ins; i++) {
        int32_t g = p->ins_group[i], rows = rw_group_rows(s, g);
        if (i == end) { /* first link of its group */
            int32_t len = planned_len(p, g, &d, &end);
            scaled = fan == RW_FAN_REAL ? scale / sqrt((double)len) : scale;
        }
        for (int32_t r = 0; r < s->group; r++) {
            uint64_t row = (uint64_t)g * (uint64_t)s->group + (uint64_t)r;
            double v = r < rows ? draw_value(kind, scaled, key, row, (uint64_t)p->ins_source[i]) : 0.0;
            int64_t at = i * s->group + r;
            if (f32)
                ((float *)(void *)p->ins_weight)[at] = (float)v;
            else
                ((double *)(void *)p->ins_weight)[at] = v;
        }
    }
    return RW_OK;
}
