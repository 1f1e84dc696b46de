/* mirror.c -- for every source, who listens: a counting sort of the slots. */
#include "mem.h"
#include "store.h"

#include <string.h>

void rw_mirror_drop(rw_store *s)
{
    rw_mirror *m = &s->mirror;
    rw_free(m->start, ((size_t)s->n_in + 1) * sizeof *m->start);
    rw_free(m->group, (size_t)m->room * sizeof *m->group);
    rw_free(m->position, (size_t)m->room * sizeof *m->position);
    memset(m, 0, sizeof *m);
}

static bool reserve(rw_store *s)
{
    rw_mirror *m = &s->mirror;
    if (m->start && m->room >= s->slots)
        return true;
    rw_mirror_drop(s);
    m->start = rw_alloc_array((size_t)s->n_in + 1, sizeof *m->start);
    m->group = rw_alloc_array((size_t)s->slots, sizeof *m->group);
    m->position = rw_alloc_array((size_t)s->slots, sizeof *m->position);
    m->room = s->slots;
    if (m->start && m->group && m->position)
        return true;
    rw_mirror_drop(s);
    return false;
}

rw_status rw_mirror_build(rw_store *s)
{
    rw_mirror *m = &s->mirror;
    if (m->valid)
        return RW_OK;
    if (!reserve(s))
        return RW_ENOMEM;

    /* Count at j + 1, sum up, then let start[j] run while slots are filed... */
    memset(m->start, 0, ((size_t)s->n_in + 1) * sizeof *m->start);
    for (int32_t g = 0; g < s->n_groups; g++) {
        const int32_t *row = s->source + s->start[g];
        for (int32_t k = 0; k < s->len[g]; k++)
            m->start[row[k] + 1]++;
    }
    for (int32_t j = 0; j < s->n_in; j++)
        m->start[j + 1] += m->start[j];
    for (int32_t g = 0; g < s->n_groups; g++) {
        const int32_t *row = s->source + s->start[g];
        for (int32_t k = 0; k < s->len[g]; k++) {
            int64_t e = m->start[row[k]]++;
            m->group[e] = g;
            m->position[e] = k;
        }
    }
    /* ... and push the run values back by one. */
    memmove(m->start + 1, m->start, (size_t)s->n_in * sizeof *m->start);
    m->start[0] = 0;
    m->valid = true;
    return RW_OK;
}
