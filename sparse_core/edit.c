/* edit.c -- carrying out a plan.
 *
 * Two ways, chosen by cost alone, since where windows lie never shows:
 *
 * - IN PLACE: each group the plan touches is rewritten in its own window, or in
 *   a larger one from the pool or the top of the arena if it has outgrown it.
 * - REPACK: when groups outgrow their windows and half of the layer is touched
 *   anyway, or when a tenth of the layer would be waste, all groups are slid to the
 *   end of the arena and then, in the order of their addresses, written back from
 *   its start with the plan merged in. `end` is chosen so large that a group is never written
 *   over one that has not been read:
 *
 *      [ group 0 new | group 1 new | ->  free  <- | group 2 old | group 3 old ] end
 */
#include "edit.h"
#include "mem.h"

#include <stdlib.h>
#include <string.h>

typedef struct { int64_t start; int32_t group; } placed;

struct rw_edit {
    rw_store *s;
    const rw_plan *p;
    bool repack;
    int64_t end;       /* repack: where the slid groups end                   */
    placed *order;     /* repack: groups by address; NULL if that is their order */
    int32_t *map;      /* for one group: new position -> old, or ~j: newborn j */
    int32_t map_room;
    char *row;         /* one array's slots of one group, as they were        */
    size_t row_room;
};

/* What a plan does to one group: runs of its sorted lists. */
typedef struct {
    int32_t group;
    int32_t new_len;
    int64_t d, d_end, i, i_end;
} touch;

/* The next group the plan touches after the one in *t; start with zeroes.
 * False at the end. */
static bool next_touch(const rw_plan *p, touch *t)
{
    t->d = t->d_end;
    t->i = t->i_end;
    if (t->d == p->n_del && t->i == p->n_ins)
        return false;
    int32_t g = t->d < p->n_del ? p->del_group[t->d] : INT32_MAX;
    if (t->i < p->n_ins && p->ins_group[t->i] < g)
        g = p->ins_group[t->i];
    while (t->d_end < p->n_del && p->del_group[t->d_end] == g)
        t->d_end++;
    while (t->i_end < p->n_ins && p->ins_group[t->i_end] == g)
        t->i_end++;
    t->group = g;
    t->new_len = p->store->len[g] - (int32_t)(t->d_end - t->d) + (int32_t)(t->i_end - t->i);
    return true;
}

/* --- reserve ---------------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (x->group > y->group) - (x->group < y->group); /* groups without a window */
}

static bool in_address_order(const rw_store *s)
{
    int64_t previous = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        if (s->cap[g]) {
            if (s->start[g] < previous)
                return false;
            previous = s->start[g];
        }
    return true;
}

static rw_status sort_groups(rw_edit *e)
{
    rw_store *s = e->s;
    if (in_address_order(s))
        return RW_OK;
    e->order = rw_alloc_array((size_t)s->n_groups, sizeof *e->order);
    if (!e->order)
        return RW_ENOMEM;
    for (int32_t g = 0; g < s->n_groups; g++)
        e->order[g] = (placed){ s->start[g], g };
    qsort(e->order, (size_t)s->n_groups, sizeof *e->order, by_address);
    return RW_OK;
}

static int32_t nth_group(const rw_edit *e, int32_t n) { return e->order ? e->order[n].group : n; }

/* Lengths after the plan, for every group: s->len, then the plan's changes. */
static int32_t *planned_lengths(const rw_edit *e)
{
    const rw_store *s = e->s;
    int32_t *len = rw_alloc_array((size_t)s->n_groups, sizeof *len);
    if (!len)
        return NULL;
    memcpy(len, s->len, (size_t)s->n_groups * sizeof *len);
    for (touch t = { 0 }; next_touch(e->p, &t);)
        len[t.group] = t.new_len;
    return len;
}

static rw_status reserve_repack(rw_edit *e)
{
    rw_store *s = e->s;
    rw_status st = sort_groups(e);
    if (st)
        return st;
    int32_t *len = planned_lengths(e);
    if (!len)
        return RW_ENOMEM;
    /* After group n is written, the old groups behind it must still lie beyond:
     * end >= room of groups 0..n + len of groups n+1.. for every n. */
    int64_t written = 0, unread = s->slots, end = s->top;
    for (int32_t n = 0; n < s->n_groups; n++) {
        int32_t g = nth_group(e, n);
        written += rw_window_room(s, len[g]);
        unread -= s->len[g];
        end = rw_max64(end, written + unread);
    }
    rw_free(len, (size_t)s->n_groups * sizeof *len);
    e->end = end;
    return rw_arena_reserve(s, end);
}

static rw_status reserve_scratch(rw_edit *e, int32_t longest_old, int32_t longest_new)
{
    const rw_store *s = e->s;
    size_t widest = sizeof *s->source;
    for (int32_t f = 0; f < s->n_fields; f++) {
        size_t bytes = rw_slot_bytes(&s->field[f]);
        widest = bytes > widest ? bytes : widest;
    }
    e->map_room = longest_new;
    e->map = rw_alloc_array((size_t)longest_new, sizeof *e->map);
    if (!rw_mul_size((size_t)longest_old, widest, &e->row_room))
        return RW_ENOMEM;
    e->row = rw_alloc(e->row_room);
    return e->map && e->row ? RW_OK : RW_ENOMEM;
}

rw_status rw_edit_reserve(rw_store *s, const rw_plan *p, rw_edit **out, rw_fault *at)
{
    if (s->pins)
        return RW_EPINNED;
    if (p->store != s)
        return RW_ESTALE;
    rw_status st = rw_plan_check(p, at);
    if (st)
        return st;

    int32_t longest_old = 0, longest_new = 0;
    int64_t fresh = 0, touched = 0;
    for (touch t = { 0 }; next_touch(p, &t);) {
        longest_old = s->len[t.group] > longest_old ? s->len[t.group] : longest_old;
        longest_new = t.new_len > longest_new ? t.new_len : longest_new;
        touched += t.new_len;
        if (t.new_len > s->cap[t.group])
            fresh += rw_window_room(s, t.new_len);
    }

    rw_edit *e = rw_calloc(sizeof *e);
    if (!e)
        return RW_ENOMEM;
    e->s = s;
    e->p = p;
    /* Below a few cache lines nothing is worth a pass over the layer. */
    int64_t worth = 64, slots = s->slots - p->n_del + p->n_ins;
    int64_t packed = slots + slots / 16 + s->n_groups; /* or less */
    e->repack = (fresh && touched > rw_max64(slots / 2, worth))
             || s->top + fresh - packed > rw_max64(packed / 10, worth);
    st = reserve_scratch(e, longest_old, longest_new);
    if (!st && e->repack)
        st = reserve_repack(e);
    else if (!st && s->top + fresh > s->arena)
        /* An eighth more than asked for, so that many small edits copy little. */
        st = rw_arena_reserve(s, s->top + fresh + (s->top + fresh) / 8);
    if (st) {
        rw_edit_cancel(e);
        return st;
    }
    *out = e;
    return RW_OK;
}

void rw_edit_cancel(rw_edit *e)
{
    if (!e)
        return;
    rw_free(e->order, (size_t)e->s->n_groups * sizeof *e->order);
    rw_free(e->map, (size_t)e->map_room * sizeof *e->map);
    rw_free(e->row, e->row_room);
    rw_free(e, sizeof *e);
}

/* --- commit ----------------------------------------------------------------- */

/* map[new position] = old position, or ~j for the group's j-th newborn: one
 * merge of what stays with what comes. `old` are the group's sources. */
static void merge(rw_edit *e, const touch *t, const int32_t *old)
{
    const rw_plan *p = e->p;
    int32_t len = e->s->len[t->group], n = 0, k = 0;
    int64_t d = t->d, i = t->i;
    for (;;) {
        while (d < t->d_end && p->del_position[d] == k) {
            d++;
            k++;
        }
        bool stays = k < len, comes = i < t->i_end;
        if (!stays && !comes)
            return;
        if (comes && (!stays || p->ins_source[i] < old[k]))
            e->map[n++] = ~(int32_t)(i++ - t->i);
        else
            e->map[n++] = k++;
    }
}

/* dst[n] = row[map[n]] where that is an old slot. */
static void gather(char *dst, const char *row, const int32_t *map, int32_t n, size_t bytes)
{
    if (bytes == sizeof(uint32_t)) {
        uint32_t *to = (uint32_t *)(void *)dst;
        const uint32_t *from = (const uint32_t *)(const void *)row;
        for (int32_t k = 0; k < n; k++)
            if (map[k] >= 0)
                to[k] = from[map[k]];
        return;
    }
    for (int32_t k = 0; k < n; k++)
        if (map[k] >= 0)
            memcpy(dst + (size_t)k * bytes, row + (size_t)map[k] * bytes, bytes);
}

/* Rewrite one array's slots of a group: from `row_start` (where they lie) to
 * `to`. The old slots are copied out first, so the two may overlap. */
static void rewrite_field(const rw_edit *e, const touch *t, const rw_field *f, bool weight,
                          int64_t row_start, int64_t to)
{
    size_t bytes = rw_slot_bytes(f);
    char *dst = f->data + (size_t)to * bytes;
    memcpy(e->row, f->data + (size_t)row_start * bytes, (size_t)e->s->len[t->group] * bytes);
    gather(dst, e->row, e->map, t->new_len, bytes);
    if (t->i == t->i_end)
        return;
    for (int32_t k = 0; k < t->new_len; k++)
        if (e->map[k] < 0) {
            int64_t born = t->i + ~e->map[k];
            if (weight && e->p->ins_weight)
                memcpy(dst + (size_t)k * bytes, e->p->ins_weight + (size_t)born * bytes, bytes);
            else
                rw_field_bear(f, to + k, 1);
        }
}

static void rewrite_group(rw_edit *e, const touch *t, int64_t from, int64_t to)
{
    rw_store *s = e->s;
    int32_t *dst = s->source + to;
    size_t old_bytes = (size_t)s->len[t->group] * sizeof *s->source;

    merge(e, t, s->source + from);
    if (old_bytes)
        memcpy(e->row, s->source + from, old_bytes);
    gather((char *)dst, e->row, e->map, t->new_len, sizeof *dst);
    for (int32_t k = 0; k < t->new_len; k++)
        if (e->map[k] < 0)
            dst[k] = e->p->ins_source[t->i + ~e->map[k]];
    for (int32_t f = 0; f < s->n_fields; f++)
        rewrite_field(e, t, &s->field[f], f == RW_WEIGHT, from, to);
    rw_weights_clip(s, t->group, to, t->new_len); /* whatever the plan said */
    s->len[t->group] = t->new_len;
}

static void commit_in_place(rw_edit *e)
{
    rw_store *s = e->s;
    for (touch t = { 0 }; next_touch(e->p, &t);) {
        int32_t g = t.group, cap = s->cap[g];
        int64_t from = s->start[g], to = from;
        if (t.new_len > cap)
            to = rw_window_take(s, rw_window_room(s, t.new_len), &s->cap[g]);
        rewrite_group(e, &t, from, to);
        s->start[g] = to;
        if (to != from)
            rw_window_give(s, from, cap);
    }
}

static void slide(rw_store *s, int64_t from, int64_t to, int32_t len)
{
    memmove(s->source + to, s->source + from, (size_t)len * sizeof *s->source);
    for (int32_t f = 0; f < s->n_fields; f++) {
        size_t bytes = rw_slot_bytes(&s->field[f]);
        char *data = s->field[f].data;
        memmove(data + (size_t)to * bytes, data + (size_t)from * bytes, (size_t)len * bytes);
    }
}

/* First entry of an ascending list of groups that is not below g. */
static int64_t lower_bound(const int32_t *groups, int64_t n, int32_t g)
{
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t mid = low + (high - low) / 2;
        if (groups[mid] < g)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* What the plan does to group g, which may be nothing. */
static touch touch_of(const rw_edit *e, int32_t g)
{
    const rw_plan *p = e->p;
    touch t = { .group = g };
    t.d = lower_bound(p->del_group, p->n_del, g);
    t.d_end = t.d + lower_bound(p->del_group + t.d, p->n_del - t.d, g + 1);
    t.i = lower_bound(p->ins_group, p->n_ins, g);
    t.i_end = t.i + lower_bound(p->ins_group + t.i, p->n_ins - t.i, g + 1);
    t.new_len = e->s->len[g] - (int32_t)(t.d_end - t.d) + (int32_t)(t.i_end - t.i);
    return t;
}

static void commit_repack(rw_edit *e)
{
    rw_store *s = e->s;
    int64_t slid = e->end;
    for (int32_t n = s->n_groups - 1; n >= 0; n--) {
        int32_t g = nth_group(e, n);
        if (!s->len[g])
            continue;
        slid -= s->len[g];
        slide(s, s->start[g], slid, s->len[g]);
        s->start[g] = slid;
    }

    int64_t top = 0;
    for (int32_t n = 0; n < s->n_groups; n++) {
        int32_t g = nth_group(e, n);
        touch t = touch_of(e, g);
        int32_t room = rw_window_room(s, t.new_len);
        if (t.d == t.d_end && t.i == t.i_end) {
            if (s->len[g])
                slide(s, s->start[g], top, s->len[g]);
        } else {
            rewrite_group(e, &t, s->len[g] ? s->start[g] : 0, top);
        }
        s->start[g] = room ? top : 0;
        s->cap[g] = room;
        top += room;
    }
    s->top = top;
    rw_pool_reset(s);
    if (s->arena > top + top / 32)
        rw_arena_trim(s, top);
}

void rw_edit_commit(rw_edit *e)
{
    rw_store *s = e->s;
    if (e->p->n_del || e->p->n_ins) {
        if (e->repack)
            commit_repack(e);
        else
            commit_in_place(e);
        s->slots += e->p->n_ins - e->p->n_del;
        s->mirror.valid = false;
        s->generation++;
    }
    rw_edit_cancel(e);
}
