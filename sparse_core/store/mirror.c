/* mirror.c -- the slots of each source, by a counting sort; and carried along by edits. */
#include "store/mirror.h"
#include "base/mem.h"
#include "base/par.h"
#include "base/tuning.h"

#include <string.h>

/* --- building ------------------------------------------------------------------- */

static int64_t with_slack(int64_t slots) { return slots + slots / RW_MIRROR_SLACK_PART; }

int64_t rw_mirror_room(int64_t slots)
{
    RW_ASSERT(slots >= 0);
    return with_slack(slots) + RW_MIRROR_SPARE;
}

bool rw_mirror_pays(const rw_store *s)
{
    return s->n_in <= RW_MIRROR_SOURCES * (s->slots + s->n_groups) + RW_MIRROR_ALWAYS;
}

static bool mirror_reserve(rw_store *s)
{
    rw_mirror *m = &s->mirror;
    int64_t room = rw_mirror_room(s->slots);
    if (m->start && m->room >= room)
        return true;
    rw_store_drop_mirror(s);
    m->start = rw_alloc_array((size_t)s->n_in + 1, sizeof *m->start);
    m->len = rw_alloc_array((size_t)s->n_in, sizeof *m->len);
    m->group = rw_alloc_array((size_t)room, sizeof *m->group);
    m->position = rw_alloc_array((size_t)room, sizeof *m->position);
    m->room = room;
    if (m->start && m->len && m->group && m->position)
        return true;
    rw_store_drop_mirror(s);
    return false;
}

/* Every thread sorts the slots of a range of sources, in the order of the groups. */
typedef struct {
    int32_t first, end; /* sources                             */
    int64_t slots;      /* slots of this range; then: of those before it */
} source_range;

/* The positions of group g with sources of the range. */
static const int32_t *range_positions(const rw_store *s, const source_range *r, int32_t g,
                                      int32_t *k, int32_t *end)
{
    const int32_t *row = s->source + s->start[g];
    *k = r->first ? rw_count_up_to(row, s->len[g], r->first - 1) : 0;
    *end = r->end < s->n_in ? rw_count_up_to(row, s->len[g], r->end - 1) : s->len[g];
    return row;
}

/* len[j] becomes the number of slots with source j. */
static void count_sources(rw_store *s, source_range *r)
{
    int32_t *n = s->mirror.len;
    memset(n + r->first, 0, (size_t)(r->end - r->first) * sizeof *n);
    for (int32_t g = 0; g < s->n_groups; g++) {
        int32_t k, end;
        const int32_t *row = range_positions(s, r, g, &k, &end);
        r->slots += end - k;
        for (; k < end; k++)
            n[row[k]]++;
    }
}

/* Windows of the range, each with its share of the slack, and their entries. */
static void file_slots(rw_store *s, const source_range *r)
{
    rw_mirror *m = &s->mirror;
    int64_t before = r->slots;
    for (int32_t j = r->first; j < r->end; j++) {
        m->start[j] = with_slack(before);
        before += m->len[j];
        m->len[j] = 0;
    }
    for (int32_t g = 0; g < s->n_groups; g++) {
        int32_t k, end;
        const int32_t *row = range_positions(s, r, g, &k, &end);
        for (; k < end; k++) {
            int64_t e = m->start[row[k]] + m->len[row[k]]++;
            m->group[e] = g;
            m->position[e] = k;
        }
    }
}

rw_status rw_mirror_build(rw_store *s, int threads)
{
    RW_ASSERT(threads >= 1 && threads <= RW_MAX_THREADS);
    enum { MOST_RANGES = 64 }; /* a bound: more threads than that share ranges */
    rw_mirror *m = &s->mirror;
    if (m->valid)
        return RW_OK;
    if (!mirror_reserve(s))
        return RW_ENOMEM;

    source_range ranges[MOST_RANGES];
    int useful = rw_threads_each(threads, s->slots, RW_MIRROR_SLOTS);
    int n = (int)rw_min64(useful, rw_min64(MOST_RANGES, s->n_in));
    for (int i = 0; i < n; i++)
        ranges[i] = (source_range){ (int32_t)((int64_t)s->n_in * i / n),
                                    (int32_t)((int64_t)s->n_in * (i + 1) / n), 0 };
    RW_PARALLEL_FOR(n)
    for (int64_t i = 0; i < n; i++)
        count_sources(s, &ranges[i]);
    int64_t before = 0;
    for (int i = 0; i < n; i++) {
        int64_t here = ranges[i].slots;
        ranges[i].slots = before;
        before += here;
    }
    RW_PARALLEL_FOR(n)
    for (int64_t i = 0; i < n; i++)
        file_slots(s, &ranges[i]);
    m->start[s->n_in] = m->room;
    m->valid = true;
    return RW_OK;
}

/* --- carrying edits along ---------------------------------------------------------- */

/* Entries [from, from + n) move to `to`. */
static void move_entries(rw_mirror *m, int64_t to, int64_t from, int64_t n)
{
    if (n == 0)
        return;
    memmove(m->group + to, m->group + from, (size_t)n * sizeof *m->group);
    memmove(m->position + to, m->position + from, (size_t)n * sizeof *m->position);
}

static int64_t window_end(const rw_mirror *m, int32_t j) { return m->start[j] + m->len[j]; }
static bool window_full(const rw_mirror *m, int32_t j) { return window_end(m, j) == m->start[j + 1]; }

/* What window i can give: half of its free entries. */
static int64_t spare_of(const rw_mirror *m, int32_t i)
{
    return (m->start[i + 1] - window_end(m, i) + 1) / 2;
}

/* Windows j + 1 to `right` move up, each by what those from it on give. */
static void take_from_right(rw_mirror *m, int32_t j, int32_t right)
{
    int64_t taken = 0, next = m->start[right + 1]; /* where the window behind this one began */
    for (int32_t i = right; i > j; i--) {
        int64_t from = m->start[i];
        taken += (next - (from + m->len[i]) + 1) / 2;
        move_entries(m, from + taken, from, m->len[i]);
        m->start[i] = from + taken;
        next = from;
    }
}

/* Windows left + 1 to j move down, each by what those before it give. */
static void take_from_left(rw_mirror *m, int32_t j, int32_t left)
{
    int64_t taken = 0, begin = m->start[left]; /* where the window before this one began */
    for (int32_t i = left + 1; i <= j; i++) {
        int64_t from = m->start[i];
        taken += (from - (begin + m->len[i - 1]) + 1) / 2;
        move_entries(m, from - taken, from, m->len[i]);
        m->start[i] = from - taken;
        begin = from;
    }
}

/* Free entries at the end of source j's window, from the nearest windows on one side that have
 * some: a share of its length, because taken one by one each would move again all that lies
 * between. */
static bool make_room(rw_mirror *m, int32_t n_in, int32_t j)
{
    int64_t wanted = 1 + m->len[j] / RW_MIRROR_ROOM_PART, on_left = 0, on_right = 0;
    int32_t left = j, right = j;
    while (on_left < wanted && on_right < wanted && (left > 0 || right < n_in - 1)) {
        if (left > 0)
            on_left += spare_of(m, --left);
        if (right < n_in - 1)
            on_right += spare_of(m, ++right);
    }
    if (on_right > 0 && on_right >= on_left)
        take_from_right(m, j, right);
    else if (on_left > 0)
        take_from_left(m, j, left);
    return on_left > 0 || on_right > 0;
}

/* Where group g stands, or belongs, among the entries of source j. */
static int32_t entry_of(const rw_mirror *m, int32_t j, int32_t g)
{
    return rw_count_up_to(m->group + m->start[j], m->len[j], g - 1);
}

void rw_mirror_forget(rw_store *s, int32_t g, int32_t source)
{
    RW_ASSERT(rw_has_group(s, g) && source >= 0 && source < s->n_in);
    rw_mirror *m = &s->mirror;
    if (!m->valid)
        return;
    int64_t e = m->start[source] + entry_of(m, source, g);
    move_entries(m, e, e + 1, window_end(m, source) - (e + 1));
    m->len[source]--;
}

void rw_mirror_note(rw_store *s, int32_t g, int32_t from)
{
    RW_ASSERT(rw_has_group(s, g) && from >= 0 && from <= s->len[g]);
    rw_mirror *m = &s->mirror;
    const int32_t *row = s->source + s->start[g];
    for (int32_t k = from; k < s->len[g] && m->valid; k++) {
        int32_t j = row[k], at = entry_of(m, j, g);
        if (at == m->len[j] || m->group[m->start[j] + at] != g) {
            m->valid = !window_full(m, j) || make_room(m, s->n_in, j);
            if (!m->valid)
                return;
            int64_t e = m->start[j] + at;
            move_entries(m, e + 1, e, m->len[j] - at);
            m->group[e] = g;
            m->len[j]++;
        }
        m->position[m->start[j] + at] = k;
    }
}
