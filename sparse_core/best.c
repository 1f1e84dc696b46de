/* best.c -- see best.h. */
#include "best.h"
#include "mem.h"

#include <stdlib.h>

rw_status rw_best_start(rw_best *b, int64_t k, int64_t most, rw_key key)
{
    /* With fewer, cuts come too often. */
    enum { LEAST = 64 };
    *b = (rw_best){ .key = key, .k = rw_min64(k, most) };
    b->room = rw_min64(most, 2 * rw_max64(b->k, LEAST));
    b->at = rw_alloc_array((size_t)rw_max64(b->room, 1), sizeof *b->at);
    return b->at ? RW_OK : RW_ENOMEM;
}

void rw_best_end(rw_best *b)
{
    rw_free(b->at, (size_t)rw_max64(b->room, 1) * sizeof *b->at);
    b->at = NULL;
}

static void swap(rw_candidate *a, rw_candidate *b)
{
    rw_candidate c = *a;
    *a = *b;
    *b = c;
}

/* Bring the k best of n to the front (Hoare's selection). Ties are hashes, so equal scores
 * do no harm, and the pivot is the middle one of three. */
static void select_best(const rw_best *b)
{
    rw_candidate *a = b->at;
    int64_t low = 0, high = b->n - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (rw_better(b, &a[middle], &a[low]))
            swap(&a[middle], &a[low]);
        if (rw_better(b, &a[high], &a[low]))
            swap(&a[high], &a[low]);
        if (rw_better(b, &a[high], &a[middle]))
            swap(&a[high], &a[middle]);
        rw_candidate pivot = a[middle];
        /* Invariance: a[< i] are no worse than the pivot, a[> j] no better. */
        int64_t i = low, j = high;
        while (i <= j) {
            while (rw_better(b, &a[i], &pivot))
                i++;
            while (rw_better(b, &pivot, &a[j]))
                j--;
            if (i <= j)
                swap(&a[i++], &a[j--]);
        }
        if (b->k - 1 <= j)
            high = j;
        else if (b->k - 1 >= i)
            low = i;
        else
            break;
    }
}

void rw_best_cut(rw_best *b)
{
    if (b->n <= b->k)
        return;
    select_best(b);
    b->n = b->k;
    b->floor = b->at[0];
    for (int64_t i = 1; i < b->n; i++)
        if (rw_better(b, &b->floor, &b->at[i]))
            b->floor = b->at[i];
    b->cut = true;
}

void rw_best_merge(rw_best *b, const rw_best *other)
{
    for (int64_t i = 0; i < other->n; i++)
        rw_best_take(b, &other->at[i]);
}

static int by_place(const void *a, const void *b)
{
    const rw_candidate *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return (x->source > y->source) - (x->source < y->source);
}

void rw_best_sort(rw_best *b)
{
    rw_best_cut(b);
    qsort(b->at, (size_t)b->n, sizeof *b->at, by_place);
}
