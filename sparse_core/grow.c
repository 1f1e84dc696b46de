/* grow.c -- see grow.h. */
#include "grow.h"
#include "best.h"
#include "mem.h"
#include "panels.h"
#include "tasks.h"

#include <float.h>
#include <math.h>

enum {
    CHUNK = 256, /* places scored at a time, on the stack             */
    SAMPLE = 16, /* one block of so many says where the floor will be */
    MARGIN = 2   /* by how much it may be wrong                       */
};
#define TAKEN (-1.0) /* the score of a place that does not compete */

/* What one thread has found; apart, so that its counts disturb nobody. */
typedef struct {
    rw_best best;
    char apart[64];
} selection;

typedef struct {
    job j;                /* first: run_tasks hands this on */
    rw_plan *plan;
    bool returns;
    rw_store all;         /* every place as a slot: what the kernel is shown. Its
                             groups, here called blocks, have RW_GROW_ROWS rows or more */
    int64_t *start;       /* of every block: 0, for all share one list       */
    int32_t *len;         /* n_in                                            */
    int32_t *source;      /* 0, 1, 2, ...                                    */
    int32_t together;     /* blocks whose gradients a task makes             */
    int32_t stride;       /* from one task's first block to the next one's   */
    size_t grad_bytes;
    char *grad;           /* grad_bytes a thread                             */
    selection *of;        /* one a thread                                    */
    int threads, started; /* how many of these have memory                   */
    const int32_t *each;  /* wanted of every group, or NULL                  */
    int64_t *at;          /* with `each`: where a group's go in the plan     */
} growth;

/* Scores of n places of a group from its gradients on, which lie `rows` apart. `rows` and
 * `group` are constants where this is called. Rows beyond n_out have no gradient (their dy is
 * zero); where 0 meets an infinity, the rows that exist are not finite either. */
#define SCORE(type, rows, group)                                     \
    do {                                                             \
        const type *g = (const type *)grad;                          \
        for (int32_t i = 0; i < n; i++) {                            \
            double sum = 0;                                          \
            for (int32_t r = 0; r < (group); r++)                    \
                sum += fabs((double)g[(int64_t)i * (rows) + r]);     \
            score[i] = sum <= DBL_MAX ? sum : 0;                     \
        }                                                            \
    } while (0)

#define SCORE_TYPE(type)                              \
    do {                                              \
        switch (w->plan->store->group) {              \
        case 1: SCORE(type, RW_GROW_ROWS, 1); break;  \
        case 2: SCORE(type, RW_GROW_ROWS, 2); break;  \
        case 4: SCORE(type, RW_GROW_ROWS, 4); break;  \
        default: SCORE(type, 8, 8); break;            \
        }                                             \
    } while (0)

static void score_places(const growth *w, const void *grad, int32_t n, double *score)
{
    if (w->j.k->dtype == RW_F32)
        SCORE_TYPE(float);
    else
        SCORE_TYPE(double);
}

/* Offer the empty places of group g: CHUNK of them are scored together, those that
 * are taken get a score that nobody wants, and those above the floor are listed before
 * anybody looks at one, so that no branch depends on a score. */
static void offer(const growth *w, int32_t g, const char *grad, rw_best *best)
{
    const rw_plan *p = w->plan;
    const rw_store *s = p->store;
    const int32_t *row = s->source + s->start[g];
    size_t step = rw_dtype_size(w->j.k->dtype) * (size_t)w->all.group;
    double score[CHUNK];
    int32_t listed[CHUNK], position = 0;
    int64_t d = rw_first_of_group(p->del_group, p->n_del, g);
    for (int32_t j0 = 0; j0 < s->n_in; j0 += CHUNK) {
        int32_t n = (int32_t)rw_min64(CHUNK, s->n_in - j0), n_listed = 0;
        score_places(w, grad + (size_t)j0 * step, n, score);
        for (; position < s->len[g] && row[position] < j0 + n; position++) {
            bool goes = d < p->n_del && p->del_group[d] == g && p->del_position[d] == position;
            d += goes;
            if (!(goes && w->returns))
                score[row[position] - j0] = TAKEN;
        }
        double floor = rw_best_floor(best);
        for (int32_t i = 0; i < n; i++) { /* every place is written, few are kept */
            listed[n_listed] = i;
            n_listed += score[i] >= floor;
        }
        for (int32_t i = 0; i < n_listed; i++)
            rw_best_offer(best, score[listed[i]], g, j0 + listed[i]);
    }
}

static void grow_task(const job *j, int64_t task)
{
    const growth *w = (const growth *)(const void *)j;
    const rw_store *s = w->plan->store;
    rw_best *best = &w->of[rw_thread_index()].best;
    char *grad = w->grad + (size_t)rw_thread_index() * w->grad_bytes;
    int32_t rows = w->all.group, b0 = (int32_t)task * w->stride;
    int32_t b1 = (int32_t)rw_min64((int64_t)b0 + w->together, w->all.n_groups);
    int64_t first[RW_TASK_GROUPS] = { 0 };
    for (int32_t b = b0; b < b1; b++)
        first[b - b0] = (int64_t)(b - b0) * s->n_in;
    rw_gradients(j, b0, b1, first, grad);
    int32_t g1 = (int32_t)rw_min64((int64_t)b1 * (rows / s->group), s->n_groups);
    for (int32_t g = b0 * (rows / s->group); g < g1; g++) {
        int32_t row = g * s->group; /* the group's first, in block row / rows */
        int64_t at = first[row / rows - b0] * rows + row % rows;
        const char *mine = grad + (size_t)at * rw_dtype_size(j->k->dtype);
        if (!w->each) {
            offer(w, g, mine, best);
            continue;
        }
        rw_best_again(best, w->each[g], 0);
        offer(w, g, mine, best);
        rw_best_sort(best);
        for (int64_t i = 0; i < best->n; i++) {
            w->plan->ins_group[w->at[g] + i] = g;
            w->plan->ins_source[w->at[g] + i] = best->at[i].source;
        }
    }
}

/* Memory and terms of one growth; `most`: wanted of one selection. */
static rw_status growth_start(growth *w, rw_plan *p, int64_t most, const rw_kernels *k,
                              const rw_tiles *x, const rw_tiles *dy, rw_key key, const rw_run *run)
{
    const rw_store *s = p->store;
    int32_t rows = s->group > RW_GROW_ROWS ? s->group : RW_GROW_ROWS;
    int32_t blocks = (int32_t)(((int64_t)s->n_out + rows - 1) / rows);
    size_t width = (size_t)rows * rw_dtype_size(k->dtype);
    w->all = (rw_store){ .n_out = s->n_out, .n_in = s->n_in, .group = rows, .n_groups = blocks,
                         .slots = (int64_t)blocks * s->n_in, .source_room = s->n_in };
    w->together = (int32_t)rw_max64(1, RW_SCRATCH / ((int64_t)s->n_in * rows));
    w->together = (int32_t)rw_min64(w->together, RW_TASK_GROUPS);
    w->threads = rw_threads_for(run->threads, w->all.slots * rows);
    if (!rw_mul_size((size_t)w->together * (size_t)s->n_in, width, &w->grad_bytes))
        return RW_ENOMEM;
    w->start = rw_calloc((size_t)blocks * sizeof *w->start);
    w->len = rw_alloc_array((size_t)blocks, sizeof *w->len);
    w->source = rw_alloc_array((size_t)s->n_in, sizeof *w->source);
    w->grad = rw_alloc_array((size_t)w->threads, w->grad_bytes);
    w->of = rw_alloc_array((size_t)w->threads, sizeof *w->of);
    if (!w->start || !w->len || !w->source || !w->grad || !w->of)
        return RW_ENOMEM;
    for (; w->started < w->threads; w->started++) {
        int64_t places = w->each ? s->n_in : (int64_t)s->n_groups * s->n_in;
        if (rw_best_start(&w->of[w->started].best, most, places, key))
            return RW_ENOMEM;
    }
    for (int32_t b = 0; b < blocks; b++)
        w->len[b] = s->n_in;
    for (int32_t j = 0; j < s->n_in; j++)
        w->source[j] = j;
    w->all.start = w->start;
    w->all.len = w->len;
    w->all.source = w->source;
    w->j = (job){ .k = k, .s = &w->all, .w = rows_of(&w->all), .x = x, .dy = dy };
    w->j.cut = rw_cut_sources(&w->all, span_bytes(x), RW_PANELS_DW);
    return RW_OK;
}

static void growth_end(growth *w)
{
    while (w->of && w->started > 0)
        rw_best_end(&w->of[--w->started].best);
    size_t blocks = (size_t)w->all.n_groups;
    rw_free(w->of, (size_t)w->threads * sizeof *w->of);
    rw_free(w->grad, (size_t)w->threads * w->grad_bytes);
    rw_free(w->source, (size_t)w->all.n_in * sizeof *w->source);
    rw_free(w->len, blocks * sizeof *w->len);
    rw_free(w->start, blocks * sizeof *w->start);
    rw_free(w->at, (size_t)w->plan->store->n_groups * sizeof *w->at);
}

/* Offer the places of `together` blocks in every `stride`; `k` wanted, or as many as w->each
 * says, none of them with a score below `floor`. */
static rw_status growth_run(growth *w, int64_t k, double floor, int32_t together, int32_t stride,
                            const rw_run *run)
{
    for (int t = 0; t < w->threads; t++)
        rw_best_again(&w->of[t].best, k, floor);
    w->together = together;
    w->stride = stride;
    int64_t tasks = ((int64_t)w->all.n_groups + stride - 1) / stride;
    rw_run here = { w->threads, run->poll, run->arg };
    return run_tasks(&here, tasks, products(&w->all, w->j.x) / stride * together, grow_task, &w->j);
}

/* The best of all threads' in the first of them, unsorted: how many. */
static int64_t growth_merge(growth *w)
{
    rw_best *best = &w->of[0].best;
    for (int t = 1; t < w->threads; t++)
        rw_best_merge(best, &w->of[t].best);
    rw_best_cut(best);
    return best->n;
}

/* The best `count` of all places, unsorted, in the first selection. Without a floor a stream of n
 * places has k * log(n / k) candidates; so a few blocks are asked first where it will be.
 * Were they wrong, too few are found, and all is done again without. */
static rw_status growth_all(growth *w, int64_t count, const rw_run *run)
{
    int32_t together = w->together;
    int64_t few = MARGIN * count / SAMPLE + SAMPLE;
    double floor = 0;
    if (few < count) {
        rw_status st = growth_run(w, few, 0, 1, SAMPLE, run);
        if (st)
            return st;
        if (growth_merge(w) == few)
            floor = rw_best_floor(&w->of[0].best);
    }
    rw_status st = growth_run(w, count, floor, together, together, run);
    if (!st && growth_merge(w) < count) {
        st = growth_run(w, count, 0, together, together, run);
        growth_merge(w);
    }
    return st;
}

/* The selected places, sorted by (group, source), into the plan: by source, then by group,
 * each time counting how many come before. */
static rw_status growth_list(const growth *w)
{
    const rw_store *s = w->plan->store;
    const rw_best *best = &w->of[0].best;
    int32_t *group = w->plan->ins_group, *source = w->plan->ins_source;
    size_t n = (size_t)best->n, keys = (size_t)rw_max64(s->n_groups, s->n_in) + 1;
    int64_t *before = rw_calloc_array(keys, sizeof *before);
    rw_candidate *sorted = rw_alloc_array(n, sizeof *sorted);
    if (before && sorted) {
        for (size_t i = 0; i < n; i++)
            before[best->at[i].source + 1]++;
        for (int32_t j = 0; j < s->n_in; j++)
            before[j + 1] += before[j];
        for (size_t i = 0; i < n; i++)
            sorted[before[best->at[i].source]++] = best->at[i];
        memset(before, 0, keys * sizeof *before);
        for (size_t i = 0; i < n; i++)
            before[sorted[i].group + 1]++;
        for (int32_t g = 0; g < s->n_groups; g++)
            before[g + 1] += before[g];
        for (size_t i = 0; i < n; i++) {
            int64_t at = before[sorted[i].group]++;
            group[at] = sorted[i].group;
            source[at] = sorted[i].source;
        }
        w->plan->n_ins = best->n;
    }
    rw_status st = before && sorted ? RW_OK : RW_ENOMEM;
    rw_free(sorted, n * sizeof *sorted);
    rw_free(before, keys * sizeof *before);
    return st;
}

static rw_status refusal(const rw_plan *p, const rw_kernels *k, const rw_tiles *x, const rw_tiles *dy)
{
    if (p->n_ins || !fits(k, p->store, x, dy))
        return RW_ESHAPE;
    return p->generation == p->store->generation ? RW_OK : RW_ESTALE;
}

rw_status rw_grow_gradient(rw_plan *p, int64_t count, const rw_kernels *k, const rw_tiles *x,
                           const rw_tiles *dy, bool returns, rw_key key, const rw_run *run)
{
    const rw_store *s = p->store;
    growth w = { .plan = p, .returns = returns };
    rw_status st = refusal(p, k, x, dy);
    int64_t empty = (int64_t)s->n_groups * s->n_in - s->slots + (returns ? p->n_del : 0);
    if (!st && (count < 0 || count > empty))
        st = count < 0 ? RW_ESHAPE : RW_EFULL;
    if (!st)
        st = rw_plan_reserve(p, p->n_del, count);
    if (st || count == 0)
        return st;
    st = growth_start(&w, p, count, k, x, dy, key, run);
    if (!st)
        st = growth_all(&w, count, run);
    if (!st)
        st = growth_list(&w);
    growth_end(&w);
    return st;
}

rw_status rw_grow_gradient_each(rw_plan *p, const int32_t *each, const rw_kernels *k,
                                const rw_tiles *x, const rw_tiles *dy, bool returns, rw_key key,
                                const rw_run *run)
{
    const rw_store *s = p->store;
    growth w = { .plan = p, .returns = returns, .each = each };
    rw_status st = refusal(p, k, x, dy);
    if (st)
        return st;
    int64_t total = 0, most = 0, d = 0;
    w.at = rw_alloc_array((size_t)s->n_groups, sizeof *w.at);
    if (!w.at)
        return RW_ENOMEM;
    for (int32_t g = 0; g < s->n_groups && !st; g++) {
        int64_t gone = 0;
        for (; d < p->n_del && p->del_group[d] == g; d++)
            gone++;
        if (each[g] < 0 || each[g] > s->n_in - s->len[g] + (returns ? gone : 0))
            st = each[g] < 0 ? RW_ESHAPE : RW_EFULL;
        w.at[g] = total;
        total += each[g];
        most = rw_max64(most, each[g]);
    }
    if (!st)
        st = rw_plan_reserve(p, p->n_del, total);
    if (!st && total > 0) {
        st = growth_start(&w, p, most, k, x, dy, key, run);
        if (!st)
            st = growth_run(&w, most, 0, w.together, w.together, run);
        if (!st)
            p->n_ins = total;
    }
    growth_end(&w);
    return st;
}
