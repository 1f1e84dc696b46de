/* mirror.c -- the slots of each source, by a counting sort. */
#include "store/mirror.h"
#include "base/mem.h"
#include "base/par.h"
#include "base/tuning.h"

#include <string.h>

static bool mirror_reserve(rw_store *s)
{
    rw_mirror *m = &s->mirror;
    if (m->start && m->room >= s->slots)
        return true;
    rw_store_drop_mirror(s);
    m->start = rw_alloc_array((size_t)s->n_in + 1, sizeof *m->start);
    m->group = rw_alloc_array((size_t)s->slots, sizeof *m->group);
    m->position = rw_alloc_array((size_t)s->slots, sizeof *m->position);
    m->room = s->slots;
    if (m->start && m->group && m->position)
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

/* start[j + 1] becomes the number of slots with source j. */
static void count_sources(rw_store *s, source_range *r)
{
    int64_t *n = s->mirror.start + 1;
    memset(n + r->first, 0, (size_t)(r->end - r->first) * sizeof *n);
    for (int32_t g = 0; g < s->n_groups; g++) {
        int32_t k, end;
        const int32_t *row = range_positions(s, r, g, &k, &end);
        r->slots += end - k;
        for (; k < end; k++)
            n[row[k]]++;
    }
}

/* start[j + 1] becomes where source j begins, and runs to its end while the slots
 * are filed: which is where j + 1 begins. */
static void file_slots(rw_store *s, const source_range *r)
{
    rw_mirror *m = &s->mirror;
    int64_t *next = m->start + 1, before = r->slots;
    for (int32_t j = r->first; j < r->end; j++) {
        int64_t here = next[j];
        next[j] = before;
        before += here;
    }
    for (int32_t g = 0; g < s->n_groups; g++) {
        int32_t k, end;
        const int32_t *row = range_positions(s, r, g, &k, &end);
        for (; k < end; k++) {
            int64_t e = next[row[k]]++;
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
    int useful = rw_threads_for(threads, s->slots * RW_COST_MIRROR_SLOT);
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
    m->start[0] = 0;
    m->valid = true;
    return RW_OK;
}
