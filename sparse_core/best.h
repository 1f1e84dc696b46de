/* best.h -- the k places of highest score in a stream of any length, in O(k) memory.
 *
 * Twice k candidates are collected; then the lower half goes, and the last of those
 * that stay is the FLOOR: nobody who is worse needs to be looked at. So a candidate
 * costs a comparison, and those above the floor an amortised few more.
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
    int32_t group, source;
} rw_candidate;

typedef struct {
    rw_key key;
    int64_t k, n, room;
    rw_candidate *at;    /* n of room                                               */
    rw_candidate floor;  /* the worst of k after a cut; before, a score to begin with */
    bool cut;
} rw_best;

/* Memory for the best k of at most `most` candidates; RW_ENOMEM. */
rw_status rw_best_start(rw_best *b, int64_t k, int64_t most, rw_key key);
void rw_best_end(rw_best *b);

/* Begin another stream in the same memory, for a k that is not larger. Scores below
 * `floor` are out from the beginning: where fewer than k lie above, fewer are found. */
static inline void rw_best_again(rw_best *b, int64_t k, double floor)
{
    b->k = k;
    b->n = 0;
    b->cut = false;
    memcpy(&b->floor.score, &floor, sizeof floor);
}

static inline uint64_t rw_tie(const rw_best *b, const rw_candidate *c)
{
    return rw_draw4(b->key, RW_DRAW_TIE, (uint64_t)c->group, (uint64_t)c->source).v[0];
}

/* Is x better than y? Ties are drawn where scores are equal, which most are not. */
static inline bool rw_better(const rw_best *b, const rw_candidate *x, const rw_candidate *y)
{
    if (x->score != y->score)
        return x->score > y->score;
    uint64_t of_x = rw_tie(b, x), of_y = rw_tie(b, y);
    if (of_x != of_y)
        return of_x > of_y;
    return x->group != y->group ? x->group < y->group : x->source < y->source;
}

/* Keep the k best. */
void rw_best_cut(rw_best *b);

/* Scores below this are out: who has many to offer looks here first. */
static inline double rw_best_floor(const rw_best *b)
{
    double score;
    memcpy(&score, &b->floor.score, sizeof score);
    return score;
}

/* Keep a candidate unless it is worse than the floor. */
static inline void rw_best_take(rw_best *b, const rw_candidate *c)
{
    if (b->k == 0 || c->score < b->floor.score || (b->cut && !rw_better(b, c, &b->floor)))
        return;
    if (b->n == b->room)
        rw_best_cut(b);
    b->at[b->n++] = *c;
}

/* Offer a place. A score that is not a number counts as 0. */
static inline void rw_best_offer(rw_best *b, double score, int32_t group, int32_t source)
{
    rw_candidate c = { 0, group, source };
    if (score > 0)
        memcpy(&c.score, &score, sizeof score);
    rw_best_take(b, &c);
}

/* Take over what another stream has kept. */
void rw_best_merge(rw_best *b, const rw_best *other);

/* The k best, or all if they are fewer, sorted by (group, source). */
void rw_best_sort(rw_best *b);

#endif
