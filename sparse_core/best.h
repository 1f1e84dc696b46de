/* best.h -- the k places of highest score in a stream of any length, in O(k) memory.
 *
 * Twice k candidates are collected; then the lower half goes and its best is the
 * FLOOR below which nobody needs to be looked at. So a candidate costs a
 * comparison, and those above the floor an amortised few more.
 *
 * The order is total: by score, then by a hash of (key, group, source), then by place.
 * So the k best do not depend on the order in which candidates come, and several
 * streams, each with its k best, merge to the k best of all. */
#ifndef RW_BEST_H
#define RW_BEST_H

#include "rng.h"

#include <string.h>

typedef struct {
    uint64_t score; /* bits of a double >= 0: they order alike */
    uint64_t tie;
    int32_t group, source;
} rw_candidate;

typedef struct {
    rw_key key;
    int64_t k, n, room;
    rw_candidate *at;    /* n of room                                       */
    rw_candidate floor;  /* worse than this is out; score 0 and tie 0 first */
} rw_best;

#define RW_NO_FLOOR ((rw_candidate){ 0, 0, INT32_MAX, INT32_MAX })

/* Memory for the best k of at most `most` candidates. */
rw_status rw_best_start(rw_best *b, int64_t k, int64_t most, rw_key key);
void rw_best_end(rw_best *b);

/* Is a better than b? */
static inline bool rw_better(const rw_candidate *a, const rw_candidate *b)
{
    if (a->score != b->score)
        return a->score > b->score;
    if (a->tie != b->tie)
        return a->tie > b->tie;
    return a->group != b->group ? a->group < b->group : a->source < b->source;
}

/* Room is short: keep the k best. */
void rw_best_cut(rw_best *b);

/* Offer a place. Scores that are not numbers count as 0. */
static inline void rw_best_offer(rw_best *b, double score, int32_t group, int32_t source)
{
    rw_candidate c = { 0, 0, group, source };
    if (score > 0)
        memcpy(&c.score, &score, sizeof score);
    if (c.score < b->floor.score || b->k == 0)
        return;
    c.tie = rw_draw4(b->key, RW_DRAW_TIE, (uint64_t)group, (uint64_t)source).v[0];
    if (!rw_better(&c, &b->floor))
        return;
    if (b->n == b->room)
        rw_best_cut(b);
    b->at[b->n++] = c;
}

/* Take over what another stream has kept. */
void rw_best_merge(rw_best *b, const rw_best *other);

/* The k best, or all if they are fewer, sorted by (group, source). */
void rw_best_sort(rw_best *b);

#endif
