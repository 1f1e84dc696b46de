#include "topology.h"
#include "mem.h"

#include <math.h>
#include <string.h>

/* --- the hypergeometric distribution ----------------------------------------
 *
 * Masses come from Loader's "Fast and accurate computation of binomial
 * probabilities" (2000): Stirling's error and the deviance are computed apart,
 * so nothing cancels, however large the counts. */

static double stirling_error(double n) /* log n! - log(sqrt(2 pi n) (n / e)^n) */
{
    if (n < 16)
        return lgamma(n + 1) - (n + 0.5) * log(n) + n - 0.9189385332046727;
    double n2 = n * n;
    return (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - (1.0 / 1680 - 1.0 / 1188 / n2) / n2) / n2) / n2) / n;
}

static double deviance(double x, double mean) /* x log(x / mean) + mean - x */
{
    if (fabs(x - mean) >= 0.1 * (x + mean))
        return x * log(x / mean) + mean - x;
    /* Near the mean the terms cancel: a series in v = (x - mean) / (x + mean). */
    double v = (x - mean) / (x + mean), sum = (x - mean) * v, term = 2 * x * v;
    for (int j = 1; j < 1000; j++) {
        term *= v * v;
        double next = sum + term / (2 * j + 1);
        if (next == sum)
            break;
        sum = next;
    }
    return sum;
}

static double log_binomial_mass(double x, double n, double p, double q)
{
    if (x == 0)
        return n == 0 ? 0 : p < 0.1 ? -deviance(n, n * q) - n * p : n * log(q);
    if (x == n)
        return q < 0.1 ? -deviance(n, n * p) - n * q : n * log(p);
    return stirling_error(n) - stirling_error(x) - stirling_error(n - x) - deviance(x, n * p)
         - deviance(n - x, n * q) - 0.5 * (1.8378770664093453 + log(x) + log1p(-x / n));
}

static double mass(double x, double total, double marked, double draws)
{
    double p = draws / total, q = (total - draws) / total;
    return exp(log_binomial_mass(x, marked, p, q)
               + log_binomial_mass(draws - x, total - marked, p, q)
               - log_binomial_mass(draws, total, p, q));
}

int64_t rw_hypergeometric(int64_t total, int64_t marked, int64_t draws, double u)
{
    int64_t low = rw_max64(0, draws - (total - marked)), high = rw_min64(draws, marked);
    if (low == high)
        return low;
    double t = (double)total, m = (double)marked, d = (double)draws;
    int64_t mode = (int64_t)((d + 1) * ((m + 1) / (t + 2)));
    mode = rw_min64(rw_max64(mode, low), high);

    /* Inversion over the order mode, mode + 1, mode - 1, mode + 2, ...: most of
     * the mass comes first, and neighbours follow by a ratio. */
    double at_mode = mass((double)mode, t, m, d), up = at_mode, down = at_mode;
    if (u < at_mode)
        return mode;
    u -= at_mode;
    for (int64_t right = mode, left = mode; right < high || left > low;) {
        if (up + down < 1e-30) /* far below the step of u: nothing is left */
            break;
        if (right < high) {
            double x = (double)right++;
            up *= (m - x) / (x + 1) * ((d - x) / (t - m - d + x + 1));
            if (u < up)
                return right;
            u -= up;
        }
        if (left > low) {
            double x = (double)left--;
            down *= x / (m - x + 1) * ((t - m - d + x) / (d - x + 1));
            if (u < down)
                return left;
            u -= down;
        }
    }
    return mode; /* u within rounding of 1 */
}

/* --- distinct places within one group ---------------------------------------- */

typedef struct {
    int32_t *rank;   /* the draws, ascending          */
    int32_t *spare;  /* sorting scratch               */
    int32_t *bucket; /* room + 1 counters             */
    int32_t room;
} drawer;

static void drawer_free(drawer *d)
{
    size_t n = (size_t)d->room;
    rw_free(d->rank, n * sizeof *d->rank);
    rw_free(d->spare, n * sizeof *d->spare);
    rw_free(d->bucket, (n + 1) * sizeof *d->bucket);
    memset(d, 0, sizeof *d);
}

static rw_status drawer_new(drawer *d, int32_t room)
{
    size_t n = (size_t)room;
    *d = (drawer){ .room = room };
    d->rank = rw_alloc_array(n, sizeof *d->rank);
    d->spare = rw_alloc_array(n, sizeof *d->spare);
    d->bucket = rw_alloc_array(n + 1, sizeof *d->bucket);
    if (d->rank && d->spare && d->bucket)
        return RW_OK;
    drawer_free(d);
    return RW_ENOMEM;
}

static void insertion_sort(int32_t *a, int32_t n)
{
    for (int32_t i = 1; i < n; i++) {
        int32_t v = a[i], k = i;
        for (; k > 0 && a[k - 1] > v; k--)
            a[k] = a[k - 1];
        a[k] = v;
    }
}

/* Values drawn uniformly from [0, bound) spread evenly over buckets: file them
 * by a counting sort and put the near-sorted result right. Linear on average. */
static void sort_uniform(drawer *d, int32_t n, int32_t bound)
{
    if (n > 32) {
        uint64_t scale = ((uint64_t)n << 32) / (uint64_t)bound;
        memset(d->bucket, 0, ((size_t)n + 1) * sizeof *d->bucket);
        for (int32_t i = 0; i < n; i++)
            d->bucket[(((uint64_t)d->rank[i] * scale) >> 32) + 1]++;
        for (int32_t b = 0; b < n; b++)
            d->bucket[b + 1] += d->bucket[b];
        for (int32_t i = 0; i < n; i++)
            d->spare[d->bucket[((uint64_t)d->rank[i] * scale) >> 32]++] = d->rank[i];
        memcpy(d->rank, d->spare, (size_t)n * sizeof *d->rank);
    }
    insertion_sort(d->rank, n);
}

/* n distinct values of [0, bound), ascending, into d->rank: draw, sort, drop
 * repeats, draw as many again. The first n distinct values of a uniform sequence
 * are a uniform set. */
static void draw_distinct(drawer *d, int32_t n, int32_t bound, rw_seq *seq)
{
    int32_t have = 0;
    while (have < n) {
        for (; have < n; have++)
            d->rank[have] = (int32_t)rw_seq_below(seq, (uint64_t)bound);
        sort_uniform(d, n, bound);
        have = 0;
        for (int32_t i = 0; i < n; i++)
            if (i == 0 || d->rank[i] != d->rank[have - 1])
                d->rank[have++] = d->rank[i];
    }
}

/* The same for n above bound / 2: draw the ones to leave out. d->rank must
 * have room for bound - n and for n. */
static void draw_places(drawer *d, int32_t n, int32_t bound, rw_seq *seq)
{
    if (n <= bound / 2) {
        draw_distinct(d, n, bound, seq);
        return;
    }
    int32_t out = bound - n, k = 0, have = 0;
    draw_distinct(d, out, bound, seq);
    memcpy(d->spare, d->rank, (size_t)out * sizeof *d->rank);
    for (int32_t v = 0; v < bound; v++) {
        if (k < out && d->spare[k] == v)
            k++;
        else
            d->rank[have++] = v;
    }
}

/* --- growing ------------------------------------------------------------------ */

/* Removals of group g in a plan, by a cursor that moves forward. */
static int32_t removals_of(const rw_plan *p, int32_t g, int64_t *cursor)
{
    int64_t first = *cursor;
    while (*cursor < p->n_del && p->del_group[*cursor] == g)
        ++*cursor;
    return (int32_t)(*cursor - first);
}

/* The r-th empty place of a group is r plus the number of kept sources below
 * it. Ranks ascend, so one walk over the group's sources turns all into
 * insertions. `first_del` is where the group's removals begin in the plan. */
static void place(rw_plan *p, int32_t g, int64_t first_del, const int32_t *rank, int32_t n)
{
    const rw_store *s = p->store;
    const int32_t *row = s->source + s->start[g];
    int32_t k = 0, kept = 0;
    int64_t d = first_del;
    for (int32_t i = 0; i < n; i++) {
        for (; k < s->len[g]; k++) {
            if (d < p->n_del && p->del_group[d] == g && p->del_position[d] == k) {
                d++;
                continue;
            }
            if (row[k] - kept > rank[i])
                break;
            kept++;
        }
        p->ins_group[p->n_ins] = g;
        p->ins_source[p->n_ins] = rank[i] + kept;
        p->n_ins++;
    }
}

/* Insertions of counts[g] links into every group; `counts` is freed here. */
static rw_status grow_counts(rw_plan *p, int32_t *counts, rw_key key, const rw_run *run)
{
    enum { LINKS_BETWEEN_POLLS = 200000 }; /* about 20 ms at 100 ns a link */
    const rw_store *s = p->store;
    int64_t total = 0, since = 0, cursor = 0;
    int32_t most = 0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        total += counts[g];
        most = counts[g] > most ? counts[g] : most;
    }
    drawer d = { 0 };
    rw_status st = rw_plan_reserve(p, p->n_del, total);
    if (!st)
        st = drawer_new(&d, most);
    for (int32_t g = 0; g < s->n_groups && !st; g++) {
        int64_t first_del = cursor;
        int32_t gone = removals_of(p, g, &cursor);
        if (!counts[g])
            continue;
        rw_seq seq = rw_seq_start(key, RW_DRAW_PLACE, (uint64_t)g);
        draw_places(&d, counts[g], s->n_in - s->len[g] + gone, &seq);
        place(p, g, first_del, d.rank, counts[g]);
        since += counts[g];
        if (since > LINKS_BETWEEN_POLLS) {
            since = 0;
            if (run && run->poll && run->poll(run->arg))
                st = RW_EINTR;
        }
    }
    drawer_free(&d);
    rw_free(counts, (size_t)s->n_groups * sizeof *counts);
    if (st)
        p->n_ins = 0;
    return st;
}

rw_status rw_grow_random(rw_plan *p, int64_t count, rw_key key, const rw_run *run)
{
    const rw_store *s = p->store;
    int64_t empty = (int64_t)s->n_groups * s->n_in - s->slots + p->n_del, cursor = 0;
    if (p->n_ins || count < 0)
        return RW_ESHAPE;
    if (count > empty)
        return RW_EFULL;
    int32_t *counts = rw_alloc_array((size_t)s->n_groups, sizeof *counts);
    if (!counts)
        return RW_ENOMEM;
    for (int32_t g = 0; g < s->n_groups; g++) {
        int64_t here = s->n_in - s->len[g] + removals_of(p, g, &cursor);
        double u = rw_unit(rw_draw4(key, RW_DRAW_SPLIT, (uint64_t)g, 0).v[0]);
        counts[g] = count ? (int32_t)rw_hypergeometric(empty, here, count, u) : 0;
        count -= counts[g];
        empty -= here;
    }
    return grow_counts(p, counts, key, run);
}

rw_status rw_grow_fan_in(rw_plan *p, int32_t fan_in, rw_key key, const rw_run *run)
{
    const rw_store *s = p->store;
    int64_t cursor = 0;
    if (p->n_ins || fan_in < 0)
        return RW_ESHAPE;
    if (fan_in > s->n_in)
        return RW_EFULL;
    int32_t *counts = rw_alloc_array((size_t)s->n_groups, sizeof *counts);
    if (!counts)
        return RW_ENOMEM;
    for (int32_t g = 0; g < s->n_groups; g++) {
        int32_t kept = s->len[g] - removals_of(p, g, &cursor);
        counts[g] = kept < fan_in ? fan_in - kept : 0;
    }
    return grow_counts(p, counts, key, run);
}
