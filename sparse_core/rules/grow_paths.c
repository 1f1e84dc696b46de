/* grow_paths.c -- see grow_paths.h. */
#include "rules/grow_paths.h"
#include "base/mem.h"
#include "base/par.h"
#include "base/topk.h"
#include "base/tuning.h"

#include <math.h>

/* Sums over the paths u - a - b - v of one group u and one source a, for one v. */
typedef struct {
    double sum;   /* of f(i(b, u), degree b) over the groups b passed */
    double count; /* of these groups: i(a, v). A double, so that both are added at once */
} path_sum;

/* The scratch memory of a thread. `sums`, `score` and `common` are zero between two groups. */
typedef struct {
    path_sum *sums;  /* n_in, by v                       */
    double *score;   /* n_in, by v                       */
    double *factor;  /* by i: f(i, degree) of source a   */
    int32_t *common; /* n_groups, by b: i(b, u)          */
    rw_topk top;
} path_scratch;

typedef struct {
    rw_plan *plan;
    bool sample;
    rw_key key;
    /* The graph: what the plan's removals leave, in both directions. */
    int64_t links;
    int64_t *row;     /* n_groups + 1: where a group's sources begin */
    int32_t *source;  /* links                                       */
    int64_t *column;  /* n_in + 1: where a source's groups begin     */
    int32_t *group;   /* links                                       */
    /* f(i, degree) = internal[i] * external[degree - 1 - i]. */
    int32_t terms;    /* of each: the highest degree                 */
    double *internal, *external;
    int64_t *steps;   /* n_in: the links of a source's groups         */
    path_scratch *scratch;      /* one a thread                                 */
    int threads, n_scratch;
    int64_t first;    /* group of task 0                              */
} path_growth;

static int32_t degree(const int64_t *start, int32_t node)
{
    return (int32_t)(start[node + 1] - start[node]);
}

/* --- before ------------------------------------------------------------------------ */

/* Rows without what the plan removes. */
static void file_rows(path_growth *w)
{
    const rw_plan *p = w->plan;
    const rw_store *s = p->store;
    int64_t n = 0, d = 0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        const int32_t *row = s->source + s->start[g];
        w->row[g] = n;
        for (int32_t k = 0; k < s->len[g]; k++) {
            bool goes = d < p->n_del && p->del_group[d] == g && p->del_position[d] == k;
            if (goes)
                d++;
            else
                w->source[n++] = row[k];
        }
    }
    w->row[s->n_groups] = n;
}

/* Columns: a counting sort of the rows. column[j + 1] counts source j's links, then
 * is where they begin, and runs to their end while they are filed. */
static void file_columns(path_growth *w)
{
    const rw_store *s = w->plan->store;
    int64_t *next = w->column + 1, before = 0;
    for (int64_t e = 0; e < w->links; e++)
        next[w->source[e]]++;
    for (int32_t j = 0; j < s->n_in; j++) {
        int64_t here = next[j];
        next[j] = before;
        before += here;
    }
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int64_t e = w->row[g]; e < w->row[g + 1]; e++)
            w->group[next[w->source[e]]++] = g;
}

/* Finds the highest degree, and how many paths a source has to other sources by way of one
 * group. Returns the approximate number of additions in all. */
static int64_t measure_degrees(path_growth *w)
{
    const rw_store *s = w->plan->store;
    int64_t work = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        w->terms = (int32_t)rw_max64(w->terms, degree(w->row, g));
    for (int32_t j = 0; j < s->n_in; j++) {
        w->terms = (int32_t)rw_max64(w->terms, degree(w->column, j));
        w->steps[j] = 0;
        for (int64_t e = w->column[j]; e < w->column[j + 1]; e++)
            w->steps[j] += degree(w->row, w->group[e]);
        work += w->steps[j] * degree(w->column, j);
    }
    return work + rw_store_places(s);
}

static rw_status path_growth_start(path_growth *w, int64_t count, rw_path_score score,
                                   const rw_run *run)
{
    const rw_store *s = w->plan->store;
    size_t n_in = (size_t)s->n_in, n_groups = (size_t)s->n_groups;
    w->row = rw_alloc_array(n_groups + 1, sizeof *w->row);
    w->column = rw_calloc_array(n_in + 1, sizeof *w->column);
    w->source = rw_alloc_array((size_t)w->links, sizeof *w->source);
    w->group = rw_alloc_array((size_t)w->links, sizeof *w->group);
    w->steps = rw_alloc_array(n_in, sizeof *w->steps);
    if (!w->row || !w->column || !w->source || !w->group || !w->steps)
        return RW_ENOMEM;
    file_rows(w);
    file_columns(w);
    w->threads = rw_threads_for(run->threads, measure_degrees(w));

    w->internal = rw_alloc_array((size_t)w->terms, sizeof *w->internal);
    w->external = rw_alloc_array((size_t)w->terms, sizeof *w->external);
    w->scratch = rw_calloc_array((size_t)w->threads, sizeof *w->scratch);
    if (!w->internal || !w->external || !w->scratch)
        return RW_ENOMEM;
    for (int32_t k = 0; k < w->terms; k++) {
        w->internal[k] = score == RW_CH2 ? sqrt(1.0 + k) : 1.0;
        w->external[k] = 1.0 / sqrt(1.0 + k);
    }
    for (; w->n_scratch < w->threads; w->n_scratch++) {
        path_scratch *d = &w->scratch[w->n_scratch];
        if (rw_topk_start(&d->top, count, rw_store_places(s), w->key))
            return RW_ENOMEM;
        d->sums = rw_calloc_array(n_in, sizeof *d->sums);
        d->score = rw_calloc_array(n_in, sizeof *d->score);
        d->factor = rw_alloc_array((size_t)w->terms, sizeof *d->factor);
        d->common = rw_calloc_array(n_groups, sizeof *d->common);
        if (!d->sums || !d->score || !d->factor || !d->common) {
            w->n_scratch++;
            return RW_ENOMEM;
        }
    }
    return RW_OK;
}

static void path_growth_end(path_growth *w)
{
    size_t n_in = (size_t)w->plan->store->n_in, n_groups = (size_t)w->plan->store->n_groups;
    while (w->n_scratch > 0) {
        path_scratch *d = &w->scratch[--w->n_scratch];
        rw_topk_end(&d->top);
        rw_free(d->sums, n_in * sizeof *d->sums);
        rw_free(d->score, n_in * sizeof *d->score);
        rw_free(d->factor, (size_t)w->terms * sizeof *d->factor);
        rw_free(d->common, n_groups * sizeof *d->common);
    }
    rw_free(w->scratch, (size_t)w->threads * sizeof *w->scratch);
    rw_free(w->external, (size_t)w->terms * sizeof *w->external);
    rw_free(w->internal, (size_t)w->terms * sizeof *w->internal);
    rw_free(w->steps, n_in * sizeof *w->steps);
    rw_free(w->group, (size_t)w->links * sizeof *w->group);
    rw_free(w->source, (size_t)w->links * sizeof *w->source);
    rw_free(w->column, (n_in + 1) * sizeof *w->column);
    rw_free(w->row, (n_groups + 1) * sizeof *w->row);
}

/* --- one group --------------------------------------------------------------------- */

/* Follow the paths u - a - b - v of all b and v, and add to each v's sum and count. */
static void follow_paths(const path_growth *w, const path_scratch *d, int32_t a)
{
    for (int64_t e = w->column[a]; e < w->column[a + 1]; e++) {
        int32_t b = w->group[e], i = d->common[b], n = degree(w->row, b);
        if (i == n) /* b is u, or all its sources are u's: it leads to no empty place */
            continue;
        const int32_t *row = w->source + w->row[b];
        double f = w->internal[i] * w->external[n - 1 - i];
        for (int32_t k = 0; k < n; k++) {
            path_sum *t = &d->sums[row[k]];
            t->sum += f;
            t->count += 1.0;
        }
    }
}

static void add_score(const path_scratch *d, int32_t v)
{
    path_sum *t = &d->sums[v];
    d->score[v] += d->factor[(int32_t)t->count] * t->sum;
    t->sum = t->count = 0;
}

/* Add the sums of source a to the scores, and clear them. */
static void collect(const path_growth *w, const path_scratch *d, int32_t a)
{
    int32_t n_in = w->plan->store->n_in, n = degree(w->column, a);
    for (int32_t i = 0; i < n; i++)
        d->factor[i] = w->internal[i] * w->external[n - 1 - i];
    if (2 * w->steps[a] >= n_in) {
        for (int32_t v = 0; v < n_in; v++)
            add_score(d, v);
        return;
    }
    for (int64_t e = w->column[a]; e < w->column[a + 1]; e++)
        for (int64_t k = w->row[w->group[e]]; k < w->row[w->group[e] + 1]; k++)
            add_score(d, w->source[k]); /* a second time adds nothing */
}

/* Count the sources that group u shares with every other group, or clear the counts. */
static void count_common(const path_growth *w, const path_scratch *d, int32_t u, bool forget)
{
    for (int64_t e = w->row[u]; e < w->row[u + 1]; e++)
        for (int64_t k = w->column[w->source[e]]; k < w->column[w->source[e] + 1]; k++)
            d->common[w->group[k]] = forget ? 0 : d->common[w->group[k]] + 1;
}

/* Offer the empty places of group u, and clear its scores. */
static void offer_row(const path_growth *w, path_scratch *d, int32_t u)
{
    const int32_t *row = w->source + w->row[u];
    int32_t n_in = w->plan->store->n_in, n = degree(w->row, u), k = 0;
    for (int32_t v = 0; v < n_in; v++) {
        double score = d->score[v];
        d->score[v] = 0;
        if (k < n && row[k] == v) {
            k++;
            continue;
        }
        if (w->sample && score > 0) {
            rw_philox word = rw_draw4(w->key, RW_DRAW_SAMPLE, (uint64_t)u, (uint64_t)v);
            score /= -log1p(-rw_unit(word.v[0]));
        }
        rw_topk_offer(&d->top, score, u, v);
    }
}

static void grow_group(const void *arg, int64_t task)
{
    const path_growth *w = arg;
    path_scratch *d = &w->scratch[rw_thread_index()];
    int32_t u = (int32_t)(w->first + task);
    count_common(w, d, u, false);
    for (int64_t e = w->row[u]; e < w->row[u + 1]; e++) {
        follow_paths(w, d, w->source[e]);
        collect(w, d, w->source[e]);
    }
    count_common(w, d, u, true);
    offer_row(w, d, u);
}

/* --- all --------------------------------------------------------------------------- */

/* Additions of group u, about. */
static int64_t row_work(const path_growth *w, int32_t u)
{
    int64_t work = w->plan->store->n_in;
    for (int64_t e = w->row[u]; e < w->row[u + 1]; e++)
        work += w->steps[w->source[e]] + rw_min64(w->steps[w->source[e]], w->plan->store->n_in);
    return work;
}

static rw_status path_growth_run(path_growth *w, const rw_run *run)
{
    int32_t n_groups = w->plan->store->n_groups, end = 0;
    while (end < n_groups) {
        int64_t work = 0;
        for (w->first = end; end < n_groups && work < (int64_t)RW_POLL_WORK * w->threads; end++)
            work += row_work(w, end);
        rw_parallel_tasks(w->threads, end - w->first, grow_group, w);
        if (run->poll && run->poll(run->arg))
            return RW_EINTR;
    }
    return RW_OK;
}

rw_status rw_plan_grow_paths(rw_plan *p, int64_t count, rw_path_score score, bool sample,
                             rw_key key, const rw_run *run)
{
    RW_ASSERT((score == RW_CH2 || score == RW_CH3) && rw_is_run(run));
    const rw_store *s = p->store;
    path_growth w = { .plan = p, .sample = sample, .key = key, .links = s->slots - p->n_del };
    int64_t empty = rw_store_places(s) - w.links;
    if (p->n_ins || count < 0)
        return RW_ESHAPE;
    if (p->generation != s->generation)
        return RW_ESTALE;
    if (count > empty)
        return RW_EFULL;
    rw_status st = rw_plan_reserve(p, p->n_del, count);
    if (st || count == 0)
        return st;
    st = path_growth_start(&w, count, score, run);
    if (!st)
        st = path_growth_run(&w, run);
    if (!st) {
        rw_topk *top = &w.scratch[0].top;
        for (int t = 1; t < w.n_scratch; t++)
            rw_topk_merge(top, &w.scratch[t].top);
        rw_topk_sort(top);
        for (int64_t i = 0; i < top->n; i++) {
            p->ins_group[i] = top->at[i].group;
            p->ins_source[i] = top->at[i].source;
        }
        p->n_ins = top->n;
    }
    path_growth_end(&w);
    return st;
}
