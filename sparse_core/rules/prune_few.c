/* prune_few.c -- the few smallest slots of many.
 *
 * A sample of slots, all over the layer, says below which score a few times as many lie as are
 * wanted. One pass over the weights lists those, and the smallest of them are chosen by the
 * order of prune.c: by score, then by the hash, then by the slot. Who is listed does not matter,
 * as long as they are enough. */
#include "base/mem.h"
#include "base/tuning.h"
#include "rules/prune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    double score;
    uint64_t tie;
    int32_t group, position;
} few_candidate;

static double few_score(const rw_store *s, int64_t slot)
{
    const rw_field *w = &s->field[RW_WEIGHT];
    double sum = 0;
    for (int64_t i = slot * s->group; i < (slot + 1) * s->group; i++)
        sum += fabs(w->dtype == RW_F32 ? (double)((const float *)(const void *)w->data)[i]
                                       : ((const double *)(const void *)w->data)[i]);
    return sum;
}

/* The n-th smallest score of the sample, n <= RW_FEW_RANK; infinity if it has fewer. */
static double few_limit(const rw_store *s, int32_t n)
{
    double least[RW_FEW_RANK];
    for (int32_t i = 0; i < n; i++)
        least[i] = INFINITY;
    /* Runs of neighbours: a line of the cache is fetched for all of it. */
    int64_t far = (s->slots / RW_FEW_SAMPLE - 1) * RW_FEW_RUN, next = far / 2, before = 0, nth = 0;
    for (int32_t g = 0; g < s->n_groups; before += s->len[g++])
        for (; next < before + s->len[g]; next += ++nth % RW_FEW_RUN ? 1 : 1 + far) {
            double score = few_score(s, s->start[g] + (next - before));
            if (!(score < least[n - 1]))
                continue;
            int32_t at = n - 1;
            for (; at > 0 && score < least[at - 1]; at--)
                least[at] = least[at - 1];
            least[at] = score;
        }
    return least[n - 1];
}

/* All slots whose score is at most `limit`, in canonical order: how many, or -1 if `room` is
 * too small for them. */
static int32_t list_few(const rw_store *s, double limit, few_candidate *list, int32_t room)
{
    int32_t at[RW_SLOTS_AT_ONCE], found = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int32_t k = 0; k < s->len[g]; k += RW_SLOTS_AT_ONCE) {
            int32_t left = s->len[g] - k;
            int32_t n = rw_slots_up_to(s, s->start[g] + k,
                                       left < RW_SLOTS_AT_ONCE ? left : RW_SLOTS_AT_ONCE, limit, at);
            if (n > room - found)
                return -1;
            for (int32_t i = 0; i < n; i++)
                list[found++] = (few_candidate){ .group = g, .position = k + at[i] };
        }
    return found;
}

static int few_by_place(const void *a, const void *b)
{
    const few_candidate *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

static int few_by_order(const void *a, const void *b)
{
    const few_candidate *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    if (x->tie != y->tie)
        return x->tie < y->tie ? -1 : 1;
    return few_by_place(a, b);
}

bool rw_plan_prune_few(rw_plan *p, int64_t count, rw_key key)
{
    const rw_store *s = p->store;
    RW_ASSERT(count >= 0 && !p->n_del && !p->n_ins && p->generation == s->generation);
    if (count == 0 || s->slots < RW_FEW_SAMPLE || s->slots > RW_FEW_SLOTS)
        return false;
    /* Twice the rank that is wanted, and some more where that is small. */
    int64_t rank = 4 + 2 * (count * RW_FEW_SAMPLE / s->slots + 1);
    if (rank > RW_FEW_RANK || rank * s->slots / RW_FEW_SAMPLE > RW_FEW_LISTED / 2)
        return false;
    double limit = few_limit(s, (int32_t)rank);
    few_candidate *list = limit < INFINITY ? rw_alloc_array(RW_FEW_LISTED, sizeof *list) : NULL;
    int32_t n = list ? list_few(s, limit, list, RW_FEW_LISTED) : -1;
    bool enough = n >= count && rw_plan_reserve(p, count, 0) == RW_OK;
    if (enough) {
        for (int32_t i = 0; i < n; i++) {
            int64_t slot = s->start[list[i].group] + list[i].position;
            list[i].score = few_score(s, slot);
            list[i].tie = rw_draw4(key, RW_DRAW_TIE, (uint64_t)list[i].group,
                                   (uint64_t)s->source[slot]).v[0];
        }
        qsort(list, (size_t)n, sizeof *list, few_by_order);
        qsort(list, (size_t)count, sizeof *list, few_by_place);
        for (int64_t i = 0; i < count; i++) {
            p->del_group[i] = list[i].group;
            p->del_position[i] = list[i].position;
        }
        p->n_del = count;
        p->checked = true;
    }
    rw_free(list, RW_FEW_LISTED * sizeof *list);
    return enough;
}
