/* edit.c -- carrying out a plan.
 *
 * Two ways, chosen by cost alone, since where windows lie never shows:
 *
 * - IN PLACE: each group the plan touches is rewritten in its own window, or in
 *   a larger one from the pool or the top of the arena if it has outgrown it. A few
 *   edits of a group move what lies between them; with more, the group is merged anew.
 * - REPACK: when groups outgrow their windows and half of the layer is touched
 *   anyway, or when a tenth of the layer would be waste, all groups are written
 *   anew from the start of the arena, in the order of their addresses, with the plan
 *   merged in. The old slots go through small buffers, a WAVE ahead of the writing:
 *
 *      [ new windows | ->   wave w, buffered | wave w+1, buffered | old windows ... ]
 *
 *   so groups may grow and shrink without running into what has not been read.
 *   Should they run further ahead than a wave, all is moved up by `shift` first.
 *   A wave is one chunk for each thread: reading it is one parallel loop, writing it
 *   another, and all that is kept beside the store are the buffers.
 *
 * Merging one group has no branch that depends on the data: removals and new links
 * are random, and a mispredicted branch costs as much as moving five slots. */
#include "store/edit.h"
#include "base/mem.h"
#include "store/mirror.h"
#include "store/shift.h"
#include "base/par.h"
#include "base/tuning.h"

#include <stdlib.h>
#include <string.h>

enum {
    MOST_ARRAYS = 1 + RW_MAX_FIELDS,
    WORTH = 64        /* slots: below this bound nothing is worth a pass over the layer */
};

typedef struct { int64_t start; int32_t group; } placed;

/* Some slots of every array: sources first, then the fields. */
typedef struct { char *array[MOST_ARRAYS]; } buffer;

/* Groups n to n_end, in the order of their addresses. */
typedef struct {
    int32_t n, n_end;
    int64_t to;       /* start of the first of their new windows */
} chunk;

/* The scratch memory of one thread. Two waves are in work at a time: a chunk of the one is read
 * while that of the other waits to be written. */
typedef struct {
    chunk of[2];      /* the thread's chunks of the two waves                 */
    buffer old[2];    /* the old slots of these chunks                        */
    int32_t *kept;    /* old positions of the slots that stay                 */
    int32_t *source;  /* sources of the slots that stay                       */
    int32_t *map;     /* old position of the slot at each new position        */
    int32_t *born;    /* new positions of the new links                       */
    uint8_t *flag;    /* by old position, then by new position: does the slot there stay? */
} edit_scratch;

struct rw_edit {
    rw_store *s;
    const rw_plan *p;
    bool repack;
    bool mirrored;     /* is the change carried into the mirror?              */
    int threads;
    int64_t shift;     /* repack: how far all slots are moved up first        */
    int64_t end;       /* repack: slots that must have memory during it       */
    int64_t packed;    /* repack: slots that must have memory after it        */
    bool trims;        /* repack: is the arena cut to `packed` slots?         */
    void *smaller[MOST_ARRAYS]; /* repack: shorter copies of small arrays     */
    placed *order;     /* repack: groups by address; NULL if they are in that order */
    int32_t *planned;  /* repack: every group's length after the plan         */
    edit_scratch *scratch;      /* one for each thread                        */
    int32_t longest_old, longest_new; /* lengths of groups that scratch can take */
    int64_t room;      /* slots of a buffer                                   */
    char birth[RW_MAX_FIELDS][RW_WIDEST_SLOT]; /* the birth values of one slot, by field */
};

/* What a plan does to one group: removals [d, d_end) and insertions [i, i_end) of its lists. */
typedef struct {
    int32_t group;
    int32_t new_len;
    int64_t d, d_end, i, i_end;
} touch;

static void measure_touch(const rw_plan *p, touch *t)
{
    while (t->d_end < p->n_del && p->del_group[t->d_end] == t->group)
        t->d_end++;
    while (t->i_end < p->n_ins && p->ins_group[t->i_end] == t->group)
        t->i_end++;
    t->new_len = p->store->len[t->group] - (int32_t)(t->d_end - t->d) + (int32_t)(t->i_end - t->i);
}

/* So few edits that what lies between them moves. */
static bool is_few(const touch *t)
{
    return t->d_end - t->d + t->i_end - t->i <= RW_EDIT_FEW;
}

/* Move *t, which starts as zeroes, to the next group that the plan touches. False at the end. */
static bool next_touch(const rw_plan *p, touch *t)
{
    t->d = t->d_end;
    t->i = t->i_end;
    if (t->d == p->n_del && t->i == p->n_ins)
        return false;
    t->group = t->d < p->n_del ? p->del_group[t->d] : INT32_MAX;
    if (t->i < p->n_ins && p->ins_group[t->i] < t->group)
        t->group = p->ins_group[t->i];
    measure_touch(p, t);
    return true;
}

/* Set *t to what the plan does to group g, which may be nothing. Quick if *t holds group g - 1;
 * at first its group is -2. */
static void touch_group(const rw_plan *p, touch *t, int32_t g)
{
    if (t->group + 1 != g) {
        t->d_end = rw_first_of_group(p->del_group, p->n_del, g);
        t->i_end = rw_first_of_group(p->ins_group, p->n_ins, g);
    }
    t->group = g;
    t->d = t->d_end;
    t->i = t->i_end;
    measure_touch(p, t);
}

/* --- arrays of slots ---------------------------------------------------------- */

/* An array moves to a block of `room` slots. */
static void array_move(rw_store *s, int32_t a, void *block, int64_t room)
{
    size_t bytes = rw_array_bytes(s, a);
    int64_t *had = a == 0 ? &s->source_room : &s->field[a - 1].room;
    memcpy(block, rw_array_data(s, a), (size_t)room * bytes);
    rw_free(rw_array_data(s, a), (size_t)*had * bytes);
    *had = room;
    if (a == 0)
        s->source = block;
    else
        s->field[a - 1].data = block;
}

/* Most slots have one of these sizes, and `bytes` is a constant in each case. */
#define FOR_EACH_SIZE(call)     \
    switch (bytes) {            \
    case 1: call(1); break;     \
    case 4: call(4); break;     \
    case 8: call(8); break;     \
    case 16: call(16); break;   \
    case 32: call(32); break;   \
    default: call(bytes); break; \
    }

/* dst[n] = row[map[n]] */
static void gather(char *dst, const char *row, const int32_t *map, int32_t n, size_t bytes)
{
#define GATHER(size)                \
    for (int32_t k = 0; k < n; k++) \
        memcpy(dst + (size_t)k * (size), row + (size_t)map[k] * (size), (size))
    FOR_EACH_SIZE(GATHER)
}

/* dst[at[i]] = value[i * step] */
static void scatter(char *dst, const int32_t *at, int32_t n, const char *value, size_t step,
                    size_t bytes)
{
#define SCATTER(size)               \
    for (int32_t i = 0; i < n; i++) \
        memcpy(dst + (size_t)at[i] * (size), value + (size_t)i * step, (size))
    FOR_EACH_SIZE(SCATTER)
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

/* The chunk after `before`, which is zero for the first chunk. Empty after the last. */
static chunk next_chunk(const rw_edit *e, chunk before)
{
    const rw_store *s = e->s;
    chunk next = { before.n_end, before.n_end, before.to };
    for (int32_t n = before.n; n < before.n_end; n++)
        next.to += rw_window_room(s, e->planned[nth_group(e, n)]);
    int64_t slots = 0;
    for (; next.n_end < s->n_groups; next.n_end++) {
        int32_t g = nth_group(e, next.n_end);
        slots += rw_max64(s->len[g], e->planned[g]);
        if (slots > e->room && next.n < next.n_end)
            break;
    }
    return next;
}

static bool is_empty(chunk c) { return c.n == c.n_end; }

/* Where the first live slot of a chunk lies, or INT64_MAX if there is none. */
static int64_t first_slot(const rw_edit *e, chunk c)
{
    for (int32_t n = c.n; n < c.n_end; n++) {
        int32_t g = nth_group(e, n);
        if (e->s->len[g])
            return e->s->start[g];
    }
    return INT64_MAX;
}

/* Plan where groups will lie. That gives how far the writing would run ahead of the reading,
 * and how much memory the arrays need. */
static rw_status reserve_repack(rw_edit *e)
{
    rw_store *s = e->s;
    rw_status st = sort_groups(e);
    if (st)
        return st;
    e->planned = rw_alloc_array((size_t)s->n_groups, sizeof *e->planned);
    if (!e->planned)
        return RW_ENOMEM;
    memcpy(e->planned, s->len, (size_t)s->n_groups * sizeof *e->planned);
    for (int64_t i = 0; i < e->p->n_del; i++)
        e->planned[e->p->del_group[i]]--;
    for (int64_t i = 0; i < e->p->n_ins; i++)
        e->planned[e->p->ins_group[i]]++;

    /* When a chunk is written, at least it and the chunk behind it have been read. Its writing
     * must not touch the slots of the chunks after those. */
    chunk c = next_chunk(e, (chunk){ 0 }), behind = next_chunk(e, c);
    while (!is_empty(c)) {
        chunk unread = next_chunk(e, behind);
        e->shift = rw_max64(e->shift, behind.to - first_slot(e, unread));
        c = behind;
        behind = unread;
    }
    e->packed = c.to;
    e->end = rw_max64(c.to, s->top + e->shift);
    return rw_arena_reserve(s, e->end);
}

/* A layer that shrinks gives memory back. Large arrays are cut where they lie; small arrays are
 * copied to shorter ones, which are allocated here because commit must not fail. */
static rw_status reserve_smaller(rw_edit *e, int64_t slots)
{
    rw_store *s = e->s;
    e->trims = s->arena > rw_packed_slots(slots, s->n_groups);
    for (int32_t a = 0; e->trims && a < rw_n_arrays(s); a++) {
        size_t bytes = (size_t)e->packed * rw_array_bytes(s, a);
        if (rw_is_small(bytes) && !(e->smaller[a] = rw_alloc(bytes)))
            return RW_ENOMEM;
    }
    return RW_OK;
}

static void edit_scratch_free(const rw_edit *e, edit_scratch *d)
{
    for (int b = 0; b < 2; b++)
        for (int32_t a = 0; a < rw_n_arrays(e->s); a++)
            rw_free(d->old[b].array[a], (size_t)e->room * rw_array_bytes(e->s, a));
    rw_free(d->kept, ((size_t)e->longest_old + 1) * sizeof *d->kept);
    rw_free(d->source, ((size_t)e->longest_old + 1) * sizeof *d->source);
    rw_free(d->map, (size_t)e->longest_new * sizeof *d->map);
    rw_free(d->born, (size_t)e->longest_new * sizeof *d->born);
    rw_free(d->flag, (size_t)rw_max64(e->longest_old, e->longest_new));
}

static rw_status edit_scratch_new(const rw_edit *e, edit_scratch *d)
{
    bool ok = true;
    for (int b = 0; b < (e->repack ? 2 : 1); b++)
        for (int32_t a = 0; a < rw_n_arrays(e->s); a++) {
            d->old[b].array[a] = rw_alloc_array((size_t)e->room, rw_array_bytes(e->s, a));
            ok = ok && d->old[b].array[a];
        }
    d->kept = rw_alloc_array((size_t)e->longest_old + 1, sizeof *d->kept);
    d->source = rw_alloc_array((size_t)e->longest_old + 1, sizeof *d->source);
    d->map = rw_alloc_array((size_t)e->longest_new, sizeof *d->map);
    d->born = rw_alloc_array((size_t)e->longest_new, sizeof *d->born);
    d->flag = rw_alloc((size_t)rw_max64(e->longest_old, e->longest_new));
    ok = ok && d->kept && d->source && d->map && d->born && d->flag;
    return ok ? RW_OK : RW_ENOMEM;
}

static rw_status reserve_scratch(rw_edit *e)
{
    e->scratch = rw_calloc_array((size_t)e->threads, sizeof *e->scratch);
    rw_status st = e->scratch ? RW_OK : RW_ENOMEM;
    for (int t = 0; t < e->threads && !st; t++)
        st = edit_scratch_new(e, &e->scratch[t]);
    return st;
}

/* Give back what a change has reserved, but for *e itself. */
static void let_go(rw_edit *e)
{
    for (int t = 0; t < e->threads && e->scratch; t++)
        edit_scratch_free(e, &e->scratch[t]);
    rw_free(e->scratch, (size_t)e->threads * sizeof *e->scratch);
    rw_free(e->order, (size_t)e->s->n_groups * sizeof *e->order);
    rw_free(e->planned, (size_t)e->s->n_groups * sizeof *e->planned);
    for (int32_t a = 0; e->trims && a < rw_n_arrays(e->s); a++)
        rw_free(e->smaller[a], (size_t)e->packed * rw_array_bytes(e->s, a));
}

/* Fill *e. On failure nothing stays reserved. */
static rw_status reserve(rw_edit *e, rw_store *s, const rw_plan *p, int threads, rw_fault *at)
{
    if (s->pins)
        return RW_EPINNED;
    if (p->store != s)
        return RW_ESTALE;
    if (p->checked && p->generation != s->generation)
        return RW_ESTALE;
#ifdef RW_TEST /* test builds check plans that are marked as checked, too */
    rw_status st = rw_plan_check(p, at);
#else
    rw_status st = p->checked ? RW_OK : rw_plan_check(p, at);
#endif
    if (st)
        return st;

    int32_t longest_old = 0, longest_new = 0;
    int64_t fresh = 0, touched = 0;
    bool merges = false; /* has a group more than a few edits? */
    for (touch t = { 0 }; next_touch(p, &t);) {
        longest_old = s->len[t.group] > longest_old ? s->len[t.group] : longest_old;
        longest_new = t.new_len > longest_new ? t.new_len : longest_new;
        touched += t.new_len;
        merges = merges || !is_few(&t);
        if (t.new_len > s->cap[t.group])
            fresh += rw_window_room(s, t.new_len);
    }

    e->s = s;
    e->p = p;
    e->threads = 1;
    e->longest_old = longest_old;
    e->longest_new = longest_new;
    e->room = longest_old;
    e->mirrored = s->mirror.valid && touched <= rw_max64(s->slots / RW_MIRROR_CARRY_PART, WORTH);
    int64_t slots = s->slots - p->n_del + p->n_ins;
    int64_t packed = rw_packed_slots(slots, s->n_groups);
    e->repack = (fresh && touched > rw_max64(slots / 2, WORTH))
             || s->top + fresh - packed > rw_max64(packed / RW_WASTE_PART, WORTH);
    if (e->repack) {
        int64_t most = rw_max64(s->slots, slots);
        for (int32_t g = 0; g < s->n_groups; g++)
            e->room = rw_max64(e->room, s->len[g]);
        /* Every thread has buffers that hold the longest group. Only so many threads are used that
         * all buffers together are no larger than the layer. */
        int64_t worth_buffers = most / (RW_COMMIT_CHUNKS * rw_max64(e->room, 1));
        int useful = rw_threads_each(threads, slots, RW_COMMIT_SLOTS);
        e->threads = (int)rw_max64(1, rw_min64(useful, worth_buffers));
        int64_t piece = most / (RW_COMMIT_CHUNKS * e->threads) + 1;
        e->room = rw_max64(e->room, rw_min64(RW_COMMIT_CHUNK, piece));
    }
    for (int32_t f = 0; f < s->n_fields; f++) {
        rw_field one = s->field[f];
        one.data = e->birth[f];
        rw_field_bear(&one, 0, 1);
    }
    if (e->repack || merges)
        st = reserve_scratch(e);
    if (!st && e->repack) {
        st = reserve_repack(e);
        if (!st)
            st = reserve_smaller(e, slots);
    } else if (!st && s->top + fresh > s->arena)
        st = rw_arena_reserve(s, s->top + fresh + (s->top + fresh) / RW_RESERVE_PART);
    if (st)
        let_go(e);
    return st;
}

rw_status rw_edit_reserve(rw_store *s, const rw_plan *p, int threads, rw_edit **out, rw_fault *at)
{
    RW_ASSERT(threads >= 1 && threads <= RW_MAX_THREADS && out && at);
    rw_edit *e = rw_calloc(sizeof *e);
    if (!e)
        return RW_ENOMEM;
    rw_status st = reserve(e, s, p, threads, at);
    if (st)
        rw_free(e, sizeof *e);
    else
        *out = e;
    return st;
}

void rw_edit_cancel(rw_edit *e)
{
    if (!e)
        return;
    let_go(e);
    rw_free(e, sizeof *e);
}

/* --- commit: one group -------------------------------------------------------- */

/* Copy a group's live slots, which lie at slot `from`, into a buffer. */
static void read_group(const rw_store *s, int64_t from, int32_t len, const buffer *old, int64_t at)
{
    for (int32_t a = 0; a < rw_n_arrays(s) && len; a++) {
        size_t bytes = rw_array_bytes(s, a);
        memcpy(old->array[a] + (size_t)at * bytes, rw_array_data(s, a) + (size_t)from * bytes,
               (size_t)len * bytes);
    }
}

/* Work out the new order of a group's slots. d->map gets the old position of the slot at each
 * new position (any number where a new link comes), d->born the new positions of the new links.
 * Returns how many slots stay. */
static int32_t merge(const edit_scratch *d, const rw_plan *p, const touch *t, const int32_t *old)
{
    const int32_t *goes = p->del_position + t->d, *comes = p->ins_source + t->i;
    int32_t len = p->store->len[t->group], new_len = t->new_len, stay = 0;
    int32_t n_goes = (int32_t)(t->d_end - t->d), n_comes = (int32_t)(t->i_end - t->i);
    int32_t *kept = d->kept, *source = d->source, *map = d->map, *born = d->born;
    uint8_t *flag = d->flag;
    if (len)
        memset(flag, 1, (size_t)len);
    for (int32_t i = 0; i < n_goes; i++)
        flag[goes[i]] = 0;
    for (int32_t k = 0; k < len; k++) {
        kept[stay] = k;
        source[stay] = old[k];
        stay += flag[k];
    }
    kept[stay] = 0; /* read when only new links are left */

    if (new_len)
        memset(flag, 1, (size_t)new_len);
    for (int32_t i = 0; i < n_comes; i++) {
        born[i] = i + rw_count_up_to(source, stay, comes[i]);
        flag[born[i]] = 0;
    }
    for (int32_t n = 0, k = 0; n < new_len; n++) {
        map[n] = kept[k];
        k += flag[n];
    }
    return stay;
}

/* Write a group, whose old slots begin at slot `at` of a buffer, to slot `to` of the arena. */
static void write_group(const rw_edit *e, const edit_scratch *d, const touch *t, const buffer *old,
                        int64_t at, int64_t to)
{
    rw_store *s = e->s;
    const rw_plan *p = e->p;
    bool touched = t->d < t->d_end || t->i < t->i_end;
    int32_t comes = (int32_t)(t->i_end - t->i), stay = 0;
    bool fresh = comes && comes == t->new_len; /* no slot stays, as in an empty layer */
    if (touched && !fresh)
        stay = merge(d, p, t, (const int32_t *)(const void *)old->array[0] + at);
    for (int32_t a = 0; a < rw_n_arrays(s); a++) {
        size_t bytes = rw_array_bytes(s, a);
        char *dst = rw_array_data(s, a) + (size_t)to * bytes;
        const char *row = old->array[a] + (size_t)at * bytes;
        /* The values of the new links, or NULL if all get the field's birth value. */
        const char *born = a == 0 ? (const char *)(p->ins_source + t->i)
                         : a - 1 == RW_WEIGHT && p->ins_weight
                             ? p->ins_weight + (size_t)t->i * bytes
                         : NULL;
        if (!touched || (fresh && born)) {
            if (t->new_len)
                memcpy(dst, touched ? born : row, (size_t)t->new_len * bytes);
        } else if (fresh) {
            rw_field_bear(&s->field[a - 1], to, comes);
        } else {
            if (stay)
                gather(dst, row, d->map, t->new_len, bytes);
            scatter(dst, d->born, comes, born ? born : e->birth[a - 1], born ? bytes : 0, bytes);
        }
    }
    if (touched)
        rw_weights_clip(s, t->group, to, t->new_len); /* whatever weights the plan gave them */
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
        if (is_few(&t)) {
            if (to != from)
                rw_group_copy(s, g, to);
            s->start[g] = to;
            rw_group_shift(s, e->p, g, t.d, t.d_end, t.i, t.i_end, e->birth);
        } else {
            const edit_scratch *d = &e->scratch[0];
            read_group(s, from, s->len[g], &d->old[0], 0);
            write_group(e, d, &t, &d->old[0], 0, to);
            s->start[g] = to;
        }
        if (to != from)
            rw_window_give(s, from, cap);
    }
}

/* --- commit: the whole layer ---------------------------------------------------- */

/* Move all slots below `top` up by `shift`, used or not. */
static void move_up(rw_store *s, int64_t shift)
{
    for (int32_t a = 0; a < rw_n_arrays(s); a++) {
        size_t bytes = rw_array_bytes(s, a);
        char *data = rw_array_data(s, a);
        memmove(data + (size_t)shift * bytes, data, (size_t)s->top * bytes);
    }
}

static void read_chunk(const rw_edit *e, chunk c, const buffer *old)
{
    const rw_store *s = e->s;
    int64_t at = 0;
    for (int32_t n = c.n; n < c.n_end; n++) {
        int32_t g = nth_group(e, n);
        read_group(s, s->start[g] + e->shift, s->len[g], old, at);
        at += s->len[g];
    }
}

static void write_chunk(const rw_edit *e, chunk c, const edit_scratch *d, const buffer *old)
{
    rw_store *s = e->s;
    touch t = { .group = -2 };
    int64_t at = 0, to = c.to;
    for (int32_t n = c.n; n < c.n_end; n++) {
        int32_t g = nth_group(e, n), len = s->len[g];
        touch_group(e->p, &t, g);
        write_group(e, d, &t, old, at, to);
        int32_t room = rw_window_room(s, t.new_len);
        s->start[g] = room ? to : 0;
        s->cap[g] = room;
        to += room;
        at += len;
    }
}

/* Read the next chunk of every thread into its buffer b. Returns the last of the chunks. */
static chunk read_wave(rw_edit *e, chunk last, int b)
{
    for (int t = 0; t < e->threads; t++)
        e->scratch[t].of[b] = last = next_chunk(e, last);
    RW_PARALLEL_FOR(e->threads)
    for (int64_t t = 0; t < e->threads; t++)
        read_chunk(e, e->scratch[t].of[b], &e->scratch[t].old[b]);
    return last;
}

static void write_wave(rw_edit *e, int b)
{
    RW_PARALLEL_FOR(e->threads)
    for (int64_t t = 0; t < e->threads; t++)
        write_chunk(e, e->scratch[t].of[b], &e->scratch[t], &e->scratch[t].old[b]);
}

static void commit_repack(rw_edit *e)
{
    rw_store *s = e->s;
    if (e->shift)
        move_up(s, e->shift);
    chunk last = read_wave(e, (chunk){ 0 }, 0);
    for (int b = 0; !is_empty(e->scratch[0].of[b]); b = !b) {
        last = read_wave(e, last, !b);
        write_wave(e, b);
    }
    s->top = last.to;
    rw_pool_reset(s);
    if (!e->trims)
        return;
    for (int32_t a = 0; a < rw_n_arrays(s); a++)
        if (e->smaller[a]) {
            array_move(s, a, e->smaller[a], s->top);
            e->smaller[a] = NULL;
        }
    rw_arena_trim(s, s->top);
}

#ifdef RW_TEST
/* Check every invariant of a small store, and of a large store now and then. The check's own
 * allocations must not fail in tests that let allocations fail. A store of more memory than the
 * machine has (rw_mem_lazy) is not checked, because a test has put its windows there. */
static void check_after_commit(const rw_store *s)
{
    enum { SMALL = 4096, NOW_AND_THEN = 64 }; /* bounds: what tests have time for */
    if (rw_mem_lazy || (s->slots > SMALL && s->generation % NOW_AND_THEN))
        return;
    const char *why = NULL;
    int64_t fail_after = rw_mem_fail_after;
    rw_mem_fail_after = -1;
    rw_status st = rw_store_check(s, &why);
    rw_mem_fail_after = fail_after;
    RW_ASSERT(st == RW_OK || st == RW_ENOMEM);
}
#else
#define check_after_commit(s) ((void)0)
#endif

static void carry_out(rw_edit *e)
{
    rw_store *s = e->s;
    RW_ASSERT(e->p->generation == s->generation && !s->pins); /* nothing has changed since */
    if (!e->p->n_del && !e->p->n_ins)
        return;
    s->digest += rw_plan_digest(e->p, e->threads);
    s->mirror.valid = e->mirrored;
    if (e->mirrored)
        rw_mirror_forget_removed(s, e->p);
    if (e->repack)
        commit_repack(e);
    else
        commit_in_place(e);
    s->slots += e->p->n_ins - e->p->n_del;
    if (e->mirrored)
        rw_mirror_note_changes(s, e->p);
    int64_t slots = s->mirror.valid ? rw_with_slack(s->slots) : s->slots;
    if (s->mirror.room > rw_mirror_room(slots)) /* the rebuilt mirror will be shorter */
        rw_store_drop_mirror(s);
    s->generation++;
    check_after_commit(s);
}

void rw_edit_commit(rw_edit *e)
{
    carry_out(e);
    rw_edit_cancel(e);
}

/* --- one link ------------------------------------------------------------------------ */

/* A plan of one entry, made on the stack. */
static rw_status carry_out_one(rw_store *s, const rw_plan *p, rw_fault *at)
{
    rw_edit e = { .s = NULL };
    rw_status st = reserve(&e, s, p, 1, at);
    if (st)
        return st;
    carry_out(&e);
    let_go(&e);
    return RW_OK;
}

rw_status rw_edit_insert(rw_store *s, int32_t group, int32_t source, const void *weight,
                         rw_fault *at)
{
    RW_ASSERT(at);
    rw_plan p = { .store = s, .generation = s->generation, .n_ins = 1, .ins_group = &group,
                  .ins_source = &source, .ins_weight = (char *)(uintptr_t)weight };
    return carry_out_one(s, &p, at);
}

rw_status rw_edit_remove(rw_store *s, int32_t group, int32_t source, rw_fault *at)
{
    RW_ASSERT(at);
    if (!rw_has_group(s, group) || source < 0 || source >= s->n_in)
        return rw_fault_at(RW_ERANGE, at, group, source);
    int32_t position = rw_group_find(s, group, source);
    if (position < 0)
        return rw_fault_at(RW_ENOENT, at, group, source);
    rw_plan p = { .store = s, .generation = s->generation, .n_del = 1, .del_group = &group,
                  .del_position = &position };
    return carry_out_one(s, &p, at);
}
