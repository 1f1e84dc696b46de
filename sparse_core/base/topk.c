/* topk.c -- see topk.h. */
#include "base/topk.h"
#include "base/mem.h"

#include <stdlib.h>

rw_status rw_topk_start(rw_topk *b, int64_t k, int64_t most, rw_key key)
{
    RW_ASSERT(k >= 0 && most >= 0);
    enum { LEAST = 64 }; /* a bound: with room for fewer, cuts would come too often */
    *b = (rw_topk){ .key = key, .k = rw_min64(k, most) };
    b->room = rw_max64(1, rw_min64(most, 2 * rw_max64(b->k, LEAST)));
    b->at = rw_alloc_array((size_t)b->room, sizeof *b->at);
    b->work = rw_alloc_array((size_t)b->room, sizeof *b->work);
    if (b->at && b->work)
        return RW_OK;
    rw_topk_end(b);
    return RW_ENOMEM;
}

void rw_topk_end(rw_topk *b)
{
    rw_free(b->at, (size_t)b->room * sizeof *b->at);
    rw_free(b->work, (size_t)b->room * sizeof *b->work);
    b->at = b->work = NULL;
}

/* --- order ---------------------------------------------------------------------- */

static bool before(const rw_candidate *a, const rw_candidate *b)
{
    return a->group != b->group ? a->group < b->group : a->source < b->source;
}

static uint64_t tie_of(const rw_topk *b, const rw_candidate *c)
{
    return rw_draw4(b->key, RW_DRAW_TIE, (uint64_t)c->group, (uint64_t)c->source).v[0];
}

bool rw_topk_tie(const rw_topk *s, const rw_candidate *a, const rw_candidate *b)
{
    uint64_t mine = tie_of(s, a), other = tie_of(s, b);
    return mine != other ? mine > other : before(a, b);
}

/* --- cutting --------------------------------------------------------------------- */

/* Byte by byte from the top, the scores that share a byte with it are counted and kept. */
uint64_t rw_kth_largest(uint64_t *a, int64_t n, int64_t k)
{
    for (int shift = 56; shift >= 0 && n > 1; shift -= 8) {
        int64_t counts[UINT8_MAX + 1] = { 0 }, kept = 0;
        for (int64_t i = 0; i < n; i++)
            counts[a[i] >> shift & UINT8_MAX]++;
        uint64_t byte = UINT8_MAX;
        for (; counts[byte] < k; byte--)
            k -= counts[byte];
        if (counts[byte] == n)
            continue;
        for (int64_t i = 0; i < n; i++) { /* each is written, and overwritten unless it is kept */
            uint64_t score = a[i];
            a[kept] = score;
            kept += (score >> shift & UINT8_MAX) == byte;
        }
        n = kept;
    }
    return a[0];
}

/* A candidate whose score is the k-th highest: its hash and its place. */
typedef struct {
    uint64_t tie;
    int32_t group, source;
} tied;

static int by_tie(const void *a, const void *b)
{
    const tied *x = a, *y = b;
    if (x->tie != y->tie)
        return x->tie > y->tie ? -1 : 1;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return (x->source > y->source) - (x->source < y->source);
}

void rw_topk_cut(rw_topk *b)
{
    if (b->n <= b->k)
        return;
    uint64_t *score = (uint64_t *)(void *)b->work;
    for (int64_t i = 0; i < b->n; i++)
        score[i] = b->at[i].score;
    uint64_t least = rw_kth_largest(score, b->n, b->k);

    tied *equal = (tied *)(void *)b->work;
    int64_t n_equal = 0, rest = b->k;
    for (int64_t i = 0; i < b->n; i++) {
        const rw_candidate *c = &b->at[i];
        rest -= c->score > least;
        if (c->score == least)
            equal[n_equal++] = (tied){ tie_of(b, c), c->group, c->source };
    }
    qsort(equal, (size_t)n_equal, sizeof *equal, by_tie);
    b->full = true;
    b->threshold = (rw_candidate){ least, equal[rest - 1].group, equal[rest - 1].source };

    int64_t kept = 0;
    for (int64_t i = 0; i < b->n; i++) {
        rw_candidate c = b->at[i];
        bool stays = c.score > least;
        if (c.score == least)
            stays = rest == n_equal || !rw_topk_tie(b, &b->threshold, &c);
        b->at[kept] = c;
        kept += stays;
    }
    b->n = kept;
}

void rw_topk_merge(rw_topk *b, const rw_topk *other)
{
    for (int64_t i = 0; i < other->n; i++)
        rw_topk_take(b, &other->at[i]);
}

/* --- sorting ---------------------------------------------------------------------- */

/* Where the run that begins at i ends. */
static int64_t run_end(const rw_topk *b, int64_t i)
{
    for (i++; i < b->n && before(&b->at[i - 1], &b->at[i]); i++)
        continue;
    return i < b->n ? i : b->n;
}

/* Merge two sorted runs of candidates into one, in the other array. */
static void merge_runs(const rw_topk *b, int64_t low, int64_t middle, int64_t end)
{
    int64_t i = low, j = middle;
    for (int64_t to = low; to < end; to++) {
        bool second = i == middle || (j < end && before(&b->at[j], &b->at[i]));
        b->work[to] = b->at[second ? j++ : i++];
    }
}

void rw_topk_sort(rw_topk *b)
{
    rw_topk_cut(b);
    /* A merge sort that starts from the runs already in order: streams often offer places
     * in ascending order, and then the runs are long. */
    while (run_end(b, 0) < b->n) {
        for (int64_t low = 0; low < b->n;) {
            int64_t middle = run_end(b, low), end = middle < b->n ? run_end(b, middle) : middle;
            merge_runs(b, low, middle, end);
            low = end;
        }
        rw_candidate *sorted = b->work;
        b->work = b->at;
        b->at = sorted;
    }
}
