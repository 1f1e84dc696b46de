/* topk.h -- the k places of highest score in a stream of any length, in O(k) memory.
 *
 * Twice k candidates are collected; then the lower half goes, and the lowest candidate that
 * stays becomes the THRESHOLD: no candidate below it can be among the top k. So a candidate
 * costs a comparison, and one above the threshold an amortised few more. Of n candidates in
 * random order about k * log(n / k) lie above the threshold of their time. A caller who can
 * estimate the final threshold begins with the estimate, and begins again without it when
 * fewer than k candidates passed.
 *
 * The order is total: by score, then by a hash of (key, group, source), then by place.
 * So the top k do not depend on the order in which candidates come, and several
 * streams, each with its top k, merge to the top k of all. The hash is drawn only for
 * candidates whose score is the k-th highest: no other choice depends on it.
 *
 * Candidates stay in the order of the stream, which is often the order of their places. */
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
    bool full;          /* it has been cut: a candidate of the threshold's score is taken
                           only if its hash comes first                     */
    rw_candidate threshold; /* a candidate of a lower score is never taken  */
} rw_topk;

/* Memory for the top k of at most `most` candidates. */
rw_status rw_topk_start(rw_topk *b, int64_t k, int64_t most, rw_key key);
void rw_topk_end(rw_topk *b);

/* Begin again with another k, at most that of the start, and a threshold. */
static inline void rw_topk_again(rw_topk *b, int64_t k, double threshold)
{
    RW_ASSERT(k >= 0 && k <= b->room && threshold >= 0);
    b->k = k;
    b->n = 0;
    b->full = false;
    memcpy(&b->threshold.score, &threshold, sizeof threshold);
}

/* Threshold below which no candidate can be among the top k. */
static inline double rw_topk_threshold(const rw_topk *b)
{
    double score;
    memcpy(&score, &b->threshold.score, sizeof score);
    return score;
}

/* Does candidate a come before candidate b, which has the same score? */
bool rw_topk_tie(const rw_topk *s, const rw_candidate *a, const rw_candidate *b);

/* Keep the top k of the candidates collected so far, which makes room. */
void rw_topk_cut(rw_topk *b);

static inline void rw_topk_take(rw_topk *b, const rw_candidate *c)
{
    if (b->k == 0 || c->score < b->threshold.score)
        return;
    if (b->full && c->score == b->threshold.score && !rw_topk_tie(b, c, &b->threshold))
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

/* Offer every candidate that another stream has kept. */
void rw_topk_merge(rw_topk *b, const rw_topk *other);

/* The k-th largest, 1 <= k <= n, of n scores, whose array is overwritten. */
uint64_t rw_kth_largest(uint64_t *a, int64_t n, int64_t k);

/* Cut to the top k, or leave all if they are fewer, and sort by (group, source). */
void rw_topk_sort(rw_topk *b);

#endif
