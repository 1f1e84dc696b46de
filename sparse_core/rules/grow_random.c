#include "rules/grow_random.h"
#include "base/hypergeometric.h"
#include "base/mem.h"
#include "base/order.h"
#include "base/par.h"
#include "base/tuning.h"

#include <string.h>

/* --- distinct places within one stretch --------------------------------------- */

enum {
    DRAWS = 8,                 /* in one Philox block: a draw takes 32 bits */
    DIGIT_BITS = RW_DIGIT_BITS /* of a pass of sorting, at most             */
};

/* The scratch memory of one thread. */
typedef struct {
    int32_t *rank;   /* distinct values drawn so far, ascending              */
    int32_t *fresh;  /* values drawn since                                   */
    int32_t *buffer; /* target of a merge of the two, or of sorting `fresh`  */
    int32_t room;    /* values of these three; DRAWS more have memory        */
    int32_t bucket[1 << DIGIT_BITS];
    int32_t *below;  /* for each source that stays: empty places below it    */
    uint8_t *stays;  /* for each source of a group: does it stay?            */
    int32_t longest; /* values of these two                                  */
} drawer;

static void drawer_free(drawer *d)
{
    size_t n = (size_t)d->room + DRAWS, longest = (size_t)d->longest;
    rw_free(d->rank, n * sizeof *d->rank);
    rw_free(d->fresh, n * sizeof *d->fresh);
    rw_free(d->buffer, n * sizeof *d->buffer);
    rw_free(d->below, longest * sizeof *d->below);
    rw_free(d->stays, longest);
    *d = (drawer){ 0 };
}

/* Room for stretches with up to `room` new links and groups of up to `longest` sources. */
static rw_status drawer_new(drawer *d, int32_t room, int32_t longest)
{
    size_t n = (size_t)room + DRAWS;
    d->room = room;
    d->longest = longest;
    d->rank = rw_alloc_array(n, sizeof *d->rank);
    d->fresh = rw_alloc_array(n, sizeof *d->fresh);
    d->buffer = rw_alloc_array(n, sizeof *d->buffer);
    d->below = rw_alloc_array((size_t)longest, sizeof *d->below);
    d->stays = rw_alloc_array((size_t)longest, sizeof *d->stays);
    if (d->rank && d->fresh && d->buffer && d->below && d->stays)
        return RW_OK;
    drawer_free(d);
    return RW_ENOMEM;
}

/* Sort n values of d->fresh below `bound`: by digits, from the lowest, so that no
 * branch depends on the values; a few by insertion. */
static void sort_fresh(drawer *d, int32_t n, int32_t bound)
{
    if (n <= RW_INSERTION_SORT) {
        int32_t *a = d->fresh;
        for (int32_t i = 1; i < n; i++) {
            int32_t v = a[i], k = i;
            for (; k > 0 && a[k - 1] > v; k--)
                a[k] = a[k - 1];
            a[k] = v;
        }
        return;
    }
    int bits = 1, passes = 1;
    while ((bound - 1) >> bits)
        bits++;
    while (passes * DIGIT_BITS < bits)
        passes++;
    int digit = (bits + passes - 1) / passes;
    for (int shift = 0; shift < bits; shift += digit) {
        int32_t *from = d->fresh, *to = d->buffer, before = 0;
        uint32_t mask = (1u << digit) - 1;
        memset(d->bucket, 0, ((size_t)mask + 1) * sizeof *d->bucket);
        for (int32_t i = 0; i < n; i++)
            d->bucket[(uint32_t)from[i] >> shift & mask]++;
        for (uint32_t b = 0; b <= mask; b++) {
            int32_t here = d->bucket[b];
            d->bucket[b] = before;
            before += here;
        }
        for (int32_t i = 0; i < n; i++)
            to[d->bucket[(uint32_t)from[i] >> shift & mask]++] = from[i];
        d->fresh = to;
        d->buffer = from;
    }
}

/* n values uniform in [0, bound), exactly, into d->fresh (Lemire 2019: multiply,
 * reject the short end). `block` counts the Philox blocks of the stretch. */
static void draw_fresh(drawer *d, int32_t n, int32_t bound, rw_key key, uint64_t stretch,
                       uint64_t *block)
{
    uint32_t wide = (uint32_t)bound, rejected = (0 - wide) % wide;
    for (int32_t have = 0; have < n;) {
        rw_philox words = rw_draw4(key, RW_DRAW_PLACE, stretch, (*block)++);
        for (int i = 0; i < DRAWS; i++) {
            uint64_t product = (words.v[i / 2] >> (i % 2 * 32) & UINT32_MAX) * wide;
            d->fresh[have] = (int32_t)(product >> 32);
            have += (uint32_t)product >= rejected;
        }
    }
}

/* Add n values of d->fresh, ascending, to the `have` of d->rank; repeats drop out. */
static int32_t merge_fresh(drawer *d, int32_t have, int32_t n)
{
    int32_t *out = d->buffer, k = 0, m = 0;
    for (int32_t i = 0; i < n; i++) {
        while (k < have && d->rank[k] < d->fresh[i])
            out[m++] = d->rank[k++];
        bool there = k < have && d->rank[k] == d->fresh[i];
        out[m] = d->fresh[i];
        m += !there && (m == 0 || out[m - 1] != d->fresh[i]);
    }
    memcpy(out + m, d->rank + k, (size_t)(have - k) * sizeof *out);
    d->buffer = d->rank;
    d->rank = out;
    return m + have - k;
}

/* n distinct values of [0, bound), ascending, into d->rank: draw, sort, drop
 * repeats, draw as many again. The first n distinct values of a uniform sequence
 * are a uniform set. */
static void draw_distinct(drawer *d, int32_t n, int32_t bound, rw_key key, uint64_t stretch)
{
    uint64_t block = 0;
    for (int32_t have = 0; have < n;) {
        int32_t missing = n - have;
        draw_fresh(d, missing, bound, key, stretch, &block);
        sort_fresh(d, missing, bound);
        have = merge_fresh(d, have, missing);
    }
}

/* n distinct values of [0, bound), ascending, into d->rank. If n is above bound / 2, the values
 * to leave out are drawn instead. */
static void draw_ranks(drawer *d, int32_t n, int32_t bound, rw_key key, uint64_t stretch)
{
    if (n <= bound / 2) {
        draw_distinct(d, n, bound, key, stretch);
        return;
    }
    int32_t out = bound - n, k = 0, have = 0;
    draw_distinct(d, out, bound, key, stretch);
    for (int32_t v = 0; v < bound; v++) {
        if (k < out && d->rank[k] == v)
            k++;
        else
            d->buffer[have++] = v;
    }
    int32_t *ranks = d->buffer;
    d->buffer = d->rank;
    d->rank = ranks;
}

/* --- stretches of empty places -------------------------------------------------- */

/* The empty places of a layer (those that the plan empties among them), group after
 * group in ascending order, are cut into stretches. A stretch is what one thread
 * works on at a time, and its index names its random numbers. */
typedef struct {
    int32_t group;           /* where it begins: in this group,                */
    int32_t rank;            /* this many of the group's empty places before it */
    int64_t del, del_end;    /* the group's removals in the plan               */
    int32_t n_places;        /* empty places, in this group and the next       */
    int32_t count;           /* new links: places to be filled                 */
    uint64_t index;
    int64_t first;           /* its first insertion in the plan                */
} stretch;

/* Cuts a layer into stretches, one after the other. */
typedef struct {
    const rw_plan *p;
    rw_key key;
    int32_t fan_in;          /* every group is filled up to this; or -1: the   */
    int64_t empty, count;    /* empty places and new links that are left       */
    int32_t width;           /* empty places of a stretch                      */
    stretch next;            /* where the next one begins                      */
} cutter;

static int64_t removals_end(const rw_plan *p, int64_t del, int32_t group)
{
    while (del < p->n_del && p->del_group[del] == group)
        del++;
    return del;
}

static int32_t count_empty(const rw_plan *p, int32_t group, int64_t removals)
{
    return p->store->n_in - p->store->len[group] + (int32_t)removals;
}

/* Move on to the next group. */
static void next_group(const rw_plan *p, stretch *x)
{
    x->group++;
    x->rank = 0;
    x->del = x->del_end;
    x->del_end = removals_end(p, x->del, x->group);
}

static cutter cutter_new(const rw_plan *p, rw_key key)
{
    cutter c = { .p = p, .key = key, .fan_in = -1 };
    c.next.del_end = removals_end(p, 0, 0);
    return c;
}

/* The next group with fewer than fan_in sources, as a stretch that gets what it lacks. */
static bool next_of_group(cutter *c, stretch *x)
{
    const rw_store *s = c->p->store;
    while (c->next.group < s->n_groups) {
        *x = c->next;
        int32_t gone = (int32_t)(x->del_end - x->del);
        x->n_places = count_empty(c->p, x->group, gone);
        x->count = c->fan_in - (s->len[x->group] - gone);
        x->index = (uint64_t)x->group;
        next_group(c->p, &c->next);
        if (x->count > 0) {
            c->next.first += x->count;
            return true;
        }
    }
    return false;
}

/* The next stretch of the layer. It gets as many of the `count` new links as drawing without
 * replacement would have given it: one hypergeometric draw after the other. */
static bool next_of_layer(cutter *c, stretch *x)
{
    if (c->count == 0)
        return false;
    *x = c->next;
    x->n_places = (int32_t)rw_min64(c->width, c->empty);
    double u = rw_unit(rw_draw4(c->key, RW_DRAW_SPLIT, x->index, 0).v[0]);
    x->count = (int32_t)rw_hypergeometric(c->empty, x->n_places, c->count, u);
    c->count -= x->count;
    c->empty -= x->n_places;

    c->next.index++;
    c->next.first += x->count;
    int64_t left = (int64_t)x->n_places + c->next.rank;
    for (;;) {
        int32_t here = count_empty(c->p, c->next.group, c->next.del_end - c->next.del);
        if (left < here || c->empty == 0)
            break;
        left -= here;
        next_group(c->p, &c->next);
    }
    c->next.rank = (int32_t)left;
    return true;
}

static bool next_stretch(cutter *c, stretch *x)
{
    return c->fan_in < 0 ? next_of_layer(c, x) : next_of_group(c, x);
}

/* --- placing -------------------------------------------------------------------- */

/* The first position of a group whose source has more than `rank` empty places
 * below it; its removals del..del_end are empty. */
static int32_t position_above(const rw_plan *p, const stretch *x, int32_t rank)
{
    const int32_t *row = p->store->source + p->store->start[x->group];
    const int32_t *gone = p->del_position + x->del;
    int32_t low = 0, high = p->store->len[x->group];
    while (low < high) {
        int32_t k = low + (high - low) / 2;
        int32_t gone_below = rw_count_up_to(gone, (int32_t)(x->del_end - x->del), k - 1);
        if (row[k] - (k - gone_below) > rank)
            high = k;
        else
            low = k + 1;
    }
    return low;
}

/* Place n new links of one group. The r-th empty place is r plus the number of
 * staying sources that have at most r empty places below them; `rank` counts from
 * `base`, which is the group's empty place 0. */
static void place(rw_plan *p, drawer *d, const stretch *x, int64_t base, const int32_t *rank,
                  int32_t n, bool ends_here, int64_t at)
{
    const rw_store *s = p->store;
    const int32_t *row = s->source + s->start[x->group];
    /* Positions that matter: of a long group cut into many stretches only a part. */
    int32_t from = x->rank ? position_above(p, x, x->rank) : 0;
    int32_t to = ends_here ? position_above(p, x, (int32_t)(rank[n - 1] - base)) : s->len[x->group];
    int64_t del = x->del;
    if (from)
        del += rw_count_up_to(p->del_position + x->del, (int32_t)(x->del_end - x->del), from - 1);

    int32_t *below = d->below, *group = p->ins_group + at, *source = p->ins_source + at;
    uint8_t *stays = d->stays;
    memset(stays, 1, (size_t)(to - from));
    int32_t before = from - (int32_t)(del - x->del), kept = 0; /* sources that stay */
    for (; del < x->del_end && p->del_position[del] < to; del++)
        stays[p->del_position[del] - from] = 0;
    for (int32_t k = from; k < to; k++) {
        below[kept] = row[k] - before - kept;
        kept += stays[k - from];
    }
    for (int32_t i = 0; i < n; i++) {
        int32_t r = (int32_t)(rank[i] - base);
        group[i] = x->group;
        source[i] = r + before + rw_count_up_to(below, kept, r);
    }
}

/* Draw and place the new links of a stretch. */
static void fill_stretch(rw_plan *p, drawer *d, stretch x, rw_key key)
{
    draw_ranks(d, x.count, x.n_places, key, x.index);
    int64_t base = -(int64_t)x.rank; /* the group's first empty place, in ranks of the stretch */
    for (int32_t i = 0; i < x.count;) {
        int32_t here = count_empty(p, x.group, x.del_end - x.del), n = 0;
        while (i + n < x.count && d->rank[i + n] - base < here)
            n++;
        if (n)
            place(p, d, &x, base, d->rank + i, n, x.n_places - base < here, x.first + i);
        i += n;
        base += here;
        if (i < x.count)
            next_group(p, &x);
    }
}

/* --- growing ---------------------------------------------------------------------- */

enum {
    ROUND = 1024 /* stretches between two polls at most: a bound, 64 KB (see RW_GROW_POLL_LINKS) */
};

typedef struct {
    rw_plan *p;
    drawer *drawers;    /* one for each thread */
    int threads;
    stretch round[ROUND];
    int32_t n;
} grower;

/* Longest group, for the drawers. */
static int32_t longest_group(const rw_store *s)
{
    int32_t longest = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        longest = s->len[g] > longest ? s->len[g] : longest;
    return longest;
}

/* Room in every drawer for the stretches of a round. */
static rw_status ready(grower *g, int32_t longest)
{
    int32_t most = 0;
    for (int32_t i = 0; i < g->n; i++)
        most = g->round[i].count > most ? g->round[i].count : most;
    for (int t = 0; t < g->threads; t++) {
        if (g->drawers[t].room >= most)
            continue;
        drawer_free(&g->drawers[t]);
        int32_t room = (int32_t)rw_min64((int64_t)most + most / 4, INT32_MAX - DRAWS);
        rw_status st = drawer_new(&g->drawers[t], room, longest);
        if (st)
            return st;
    }
    return RW_OK;
}

/* Fill every stretch that the cutter yields, `total` new links in all. */
static rw_status grow(rw_plan *p, cutter *c, int64_t total, const rw_run *run)
{
    grower *g = rw_calloc(sizeof *g);
    if (!g)
        return RW_ENOMEM;
    g->p = p;
    int threads = g->threads = rw_threads_each(run ? run->threads : 1, total, RW_GROW_LINKS);
    g->drawers = rw_calloc_array((size_t)threads, sizeof *g->drawers);
    rw_status st = g->drawers ? rw_plan_reserve(p, p->n_del, total) : RW_ENOMEM;
    int32_t longest = longest_group(p->store);
    bool more = true;
    while (more && !st) {
        int64_t links = 0;
        for (g->n = 0; g->n < ROUND && links < (int64_t)RW_GROW_POLL_LINKS * threads; g->n++) {
            more = next_stretch(c, &g->round[g->n]);
            if (!more)
                break;
            links += g->round[g->n].count;
        }
        st = ready(g, longest);
        if (st)
            break;
        RW_PARALLEL_FOR(threads)
        for (int64_t i = 0; i < g->n; i++)
            fill_stretch(p, &g->drawers[rw_thread_index()], g->round[i], c->key);
        if (run && run->poll && run->poll(run->arg))
            st = RW_EINTR;
    }
    for (int t = 0; t < threads && g->drawers; t++)
        drawer_free(&g->drawers[t]);
    rw_free(g->drawers, (size_t)threads * sizeof *g->drawers);
    rw_free(g, sizeof *g);
    if (!st) {
        p->checked = p->checked || p->n_del == 0;
        p->n_ins = total;
    }
    return st;
}

rw_status rw_plan_grow_random(rw_plan *p, int64_t count, rw_key key, const rw_run *run)
{
    RW_ASSERT(!run || rw_is_run(run));
    const rw_store *s = p->store;
    int64_t empty = rw_store_places(s) - s->slots + p->n_del;
    if (p->n_ins || count < 0)
        return RW_ESHAPE;
    if (p->generation != s->generation)
        return RW_ESTALE;
    if (count > empty)
        return RW_EFULL;
    cutter c = cutter_new(p, key);
    c.empty = empty;
    c.count = count;
    /* Ranks within a stretch are 32-bit numbers. */
    if (count)
        c.width = (int32_t)rw_min64(empty / count, INT32_MAX / RW_STRETCH_LINKS) * RW_STRETCH_LINKS;
    return grow(p, &c, count, run);
}

rw_status rw_plan_grow_fan_in(rw_plan *p, int32_t fan_in, rw_key key, const rw_run *run)
{
    RW_ASSERT(!run || rw_is_run(run));
    const rw_store *s = p->store;
    if (p->n_ins || fan_in < 0)
        return RW_ESHAPE;
    if (p->generation != s->generation)
        return RW_ESTALE;
    if (fan_in > s->n_in)
        return RW_EFULL;
    cutter c = cutter_new(p, key);
    c.fan_in = fan_in;
    cutter ahead = c;
    int64_t total = 0;
    for (stretch x; next_of_group(&ahead, &x);)
        total += x.count;
    return grow(p, &c, total, run);
}
