/* topk.h -- the k places of highest score in a stream of any length, in O(k) memory.
 *
 * Twice k candidates are collected; then the lower half goes, and the last of those that
 * stay is the FLOOR below which nobody needs to be looked at. So a candidate costs a
 * comparison, and those above the floor an amortised few more. Of n candidates in no
 * order some k * log(n / k) lie above it when they come; a caller who can guess where
 * the floor will be begins with that, and begins again without when too few were found.
 *
 * The order is total: by score, then by a hash of (key, group, source), then by place.
 * So the k best do not depend on the order in which candidates come, and several
 * streams, each with its k best, merge to the k best of all. The hash is drawn only
 * for candidates whose score is that of the k-th best: elsewhere it decides nothing.
 *
 * Candidates stay in the order of the stream, which is often that of places. */
#ifndef RW_TOPK_H
#define RW_TOPK_H

#include "base/rng.h"

#include <string.h>

typedef struct {
    uint64_t score; /* bits of a double >= 0: they order alike */
    int32_t group, source;
} rw_candidate;

typedef struct {
    rw_key key;
    int64_t k, n, room;
    rw_candidate *at;   /* n of room                                        */
    rw_candidate *work; /* room more, for cutting and sorting               */
    bool full;          /* has it been cut? Then who is worse than floor is out;  */
    rw_candidate floor; /* before that, whose score is lower                      */
} rw_topk;

/* Memory for the best k of at most `most` candidates. */
rw_status rw_topk_start(rw_topk *b, int64_t k, int64_t most, rw_key key);
void rw_topk_end(rw_topk *b);

/* Begin again with another k, at most that of the start, and a floor. */
static inline void rw_topk_again(rw_topk *b, int64_t k, double floor)
{
    RW_ASSERT(k >= 0 && k <= b->room && floor >= 0);
    b->k = k;
    b->n = 0;
    b->full = false;
    memcpy(&b->floor.score, &floor, sizeof floor);
}

/* The score below which nobody needs to be offered. */
static inline double rw_topk_threshold(const rw_topk *b)
{
    double score;
    memcpy(&score, &b->floor.score, sizeof score);
    return score;
}

/* Does a come before b, whose score it has? */
bool rw_topk_tie(const rw_topk *s, const rw_candidate *a, const rw_candidate *b);

/* Room is short: keep the k best. */
void rw_topk_cut(rw_topk *b);

static inline void rw_topk_take(rw_topk *b, const rw_candidate *c)
{
    if (b->k == 0 || c->score < b->floor.score)
        return;
    if (b->full && c->score == b->floor.score && !rw_topk_tie(b, c, &b->floor))
        return;
    if (b->n == b->room)
        rw_topk_cut(b);
    /* Field by field: 16 bytes at once would wait for the three that c was just written as. */
    rw_candidate *to = &b->at[b->n++];
    to->score = c->score;
    to->group = c->group;
    to->source = c->source;
}

/* Offer a place. Scores that are not numbers count as 0. */
static inline void rw_topk_offer(rw_topk *b, double score, int32_t group, int32_t source)
{
    RW_ASSERT(group >= 0 && source >= 0);
    rw_candidate c = { 0, group, source };
    if (score > 0)
        memcpy(&c.score, &score, sizeof score);
    rw_topk_take(b, &c);
}

/* Take over what another stream has kept. */
void rw_topk_merge(rw_topk *b, const rw_topk *other);

/* The k best, or all if they are fewer, sorted by (group, source). */
void rw_topk_sort(rw_topk *b);

#endif
