/* grow.c -- see grow.h. */
#include "grow.h"
#include "best.h"
#include "mem.h"
#include "panels.h"
#include "tasks.h"

#include <float.h>
#include <math.h>

enum {
    CHUNK = 128, /* places scored at a time, on the stack                       */
    SAMPLE = 16, /* of so many blocks one says where the floor will be          */
    MARGIN = 2,  /* how far that may be off: so many times as many are expected */
    FIRST = 64   /* the lowest rank that a row is asked for                     */
};

typedef struct {
    job j;                /* first: run_tasks hands this on */
    rw_plan *plan;
    bool returns;
    /* Every place as a slot: what the kernel is shown. Here all rows share a list of
     * sources, so they go in groups as the fastest kernel likes them (RW_GROW_ROWS),
     * whatever the store's: the bits are the same. */
    rw_store all;
    int64_t *start;       /* of every group of `all`: 0, for they share one list */
    int32_t *len;         /* n_in                                            */
    int32_t *source;      /* 0, 1, 2, ...                                    */
    int32_t together;     /* groups of `all` whose gradients a task makes    */
    int32_t stride;       /* from one task's first group to the next one's   */
    size_t grad_bytes;
    char *grad;           /* grad_bytes a thread                             */
    rw_best *best;        /* one a thread                                    */
    int threads, n_best;  /* how many of them have been started              */
    const int32_t *each;  /* wanted of every group of the store, or NULL     */
    int64_t *at;          /* with `each`: where a group's go in the plan     */
} growth;

/* score[i] = sum over `rows` rows of |gradient|, where that is a number. `wide` values
 * lie between one place and the next. */
#define SCORE_ROWS(type, rows)                                    \
    for (int32_t i = 0; i < n; i++) {                             \
        const type *g = (const type *)grad + (int64_t)i * wide;   \
        double sum = 0;                                           \
        for (int32_t r = 0; r < (rows); r++)                      \
            sum += fabs((double)g[r]);                            \
        score[i] = sum <= DBL_MAX ? sum : 0;                      \
    }

#define SCORE(type)                                               \
    switch (rows) {                                               \
    case 1: SCORE_ROWS(type, 1) break;                            \
    case 2: SCORE_ROWS(type, 2) break;                            \
    case 4: SCORE_ROWS(type, 4) break;                            \
    case 8: SCORE_ROWS(type, 8) break;                            \
    default: SCORE_ROWS(type, rows)                               \
    }

static void score_places(rw_dtype dtype, const void *grad, int32_t n, int32_t wide, int32_t rows,
                         double *score)
{
    if (dtype == RW_F32)
        SCORE(float)
    else
        SCORE(double)
}

/* Offer the empty places of group g, whose first gradient is at `grad`. */
static void offer(const growth *w, int32_t g, const char *grad, rw_best *best)
{
    const rw_plan *p = w->plan;
    const rw_store *s = p->store;
    const int32_t *row = s->source + s->start[g];
    int32_t position = 0, wide = w->all.group, rows = rw_group_rows(s, g);
    size_t stride = (size_t)wide * rw_dtype_size(w->j.k->dtype);
    int64_t d = rw_first_of_group(p->del_group, p->n_del, g);
    double score[CHUNK];
    uint8_t empty[CHUNK];
    int32_t high[CHUNK];
    for (int32_t from = 0; from < s->n_in; from += CHUNK) {
        int32_t n = s->n_in - from < CHUNK ? s->n_in - from : CHUNK, n_high = 0;
        score_places(w->j.k->dtype, grad + (size_t)from * stride, n, wide, rows, score);
        memset(empty, 1, (size_t)n);
        for (; position < s->len[g] && row[position] < from + n; position++)
            empty[row[position] - from] = 0;
        for (; w->returns && d < p->n_del && p->del_group[d] == g; d++) {
            int32_t j = row[p->del_position[d]];
            if (j >= from + n)
                break;
            empty[j - from] = 1;
        }
        double floor = rw_best_floor(best);
        for (int32_t i = 0; i < n; i++) { /* every place is written, few are kept */
            high[n_high] = i;
            n_high += empty[i] & (score[i] >= floor);
        }
        for (int32_t i = 0; i < n_high; i++)
            rw_best_offer(best, score[high[i]], g, from + high[i]);
    }
}

/* Where the floor will be for the best k of group g: the score of about as high a rank among
 * a few of its places; 0 where that is no help. */
static double guess_alone(const growth *w, int32_t g, const char *grad, int64_t k)
{
    int32_t step = (w->all.n_in + CHUNK - 1) / CHUNK, n = w->all.n_in / step;
    int64_t rank = MARGIN * k / step + 4;
    if (rank > FIRST || rank > n / 2)
        return 0;
    double score[CHUNK], high[FIRST] = { 0 }; /* the highest so far, in order */
    score_places(w->j.k->dtype, grad, n, w->all.group * step, rw_group_rows(w->plan->store, g), score);
    for (int32_t i = 0; i < n; i++) {
        int64_t at = rank;
        for (; at > 0 && high[at - 1] < score[i]; at--)
            if (at < rank)
                high[at] = high[at - 1];
        if (at < rank)
            high[at] = score[i];
    }
    return high[rank - 1];
}

/* The best of group g alone go into the plan. */
static void offer_alone(const growth *w, int32_t g, const char *grad, rw_best *best)
{
    int64_t wanted = w->each[g];
    double guess = wanted ? guess_alone(w, g, grad, wanted) : 0;
    rw_best_again(best, wanted, guess);
    offer(w, g, grad, best);
    if (best->n < wanted) {
        rw_best_again(best, wanted, 0);
        offer(w, g, grad, best);
    }
    rw_best_sort(best);
    for (int64_t i = 0; i < best->n; i++) {
        w->plan->ins_group[w->at[g] + i] = g;
        w->plan->ins_source[w->at[g] + i] = best->at[i].source;
    }
}

static void grow_task(const job *j, int64_t task)
{
    const growth *w = (const growth *)(const void *)j;
    const rw_store *s = w->plan->store;
    rw_best *best = &w->best[rw_thread_index()];
    char *grad = w->grad + (size_t)rw_thread_index() * w->grad_bytes;
    int32_t g0 = (int32_t)task * w->stride, rows = w->all.group;
    int32_t g1 = (int32_t)rw_min64((int64_t)g0 + w->together, w->all.n_groups);
    int64_t first[RW_TASK_GROUPS] = { 0 };
    for (int32_t g = g0; g < g1; g++)
        first[g - g0] = (int64_t)(g - g0) * w->all.n_in;
    rw_gradients(j, g0, g1, first, grad);

    int32_t of = rows / s->group; /* groups of the store in one of `all` */
    int32_t end = (int32_t)rw_min64((int64_t)g1 * of, s->n_groups);
    for (int32_t g = g0 * of; g < end; g++) {
        int64_t at = first[g / of - g0] * rows + g % of * s->group;
        const char *mine = grad + (size_t)at * rw_dtype_size(j->k->dtype);
        if (w->each)
            offer_alone(w, g, mine, best);
        else
            offer(w, g, mine, best);
    }
}

/* Memory and terms of one growth; `most`: wanted of one selection. */
static rw_status growth_start(growth *w, rw_plan *p, int64_t most, const rw_kernels *k,
                              const rw_tiles *x, const rw_tiles *dy, rw_key key, const rw_run *run)
{
    const rw_store *s = p->store;
    bool near = (size_t)s->n_in * RW_GROW_ROWS * rw_dtype_size(k->dtype) <= RW_GROW_BYTES;
    int32_t wide = near && s->group < RW_GROW_ROWS ? RW_GROW_ROWS : s->group;
    int32_t n_groups = (int32_t)(((int64_t)s->n_out + wide - 1) / wide);
    size_t groups = (size_t)n_groups, width = (size_t)wide * rw_dtype_size(k->dtype);
    w->all = (rw_store){ .n_out = s->n_out, .n_in = s->n_in, .group = wide, .n_groups = n_groups,
                         .slots = (int64_t)n_groups * s->n_in, .source_room = s->n_in };
    w->together = (int32_t)rw_max64(1, RW_SCRATCH / ((int64_t)s->n_in * wide));
    w->together = (int32_t)rw_min64(w->together, RW_TASK_GROUPS);
    w->threads = rw_threads_for(run->threads, (int64_t)s->n_groups * s->group * s->n_in);
    if (!rw_mul_size((size_t)w->together * (size_t)s->n_in, width, &w->grad_bytes))
        return RW_ENOMEM;
    w->start = rw_calloc(groups * sizeof *w->start);
    w->len = rw_alloc_array(groups, sizeof *w->len);
    w->source = rw_alloc_array((size_t)s->n_in, sizeof *w->source);
    w->grad = rw_alloc_array((size_t)w->threads, w->grad_bytes);
    w->best = rw_alloc_array((size_t)w->threads, sizeof *w->best);
    if (!w->start || !w->len || !w->source || !w->grad || !w->best)
        return RW_ENOMEM;
    for (; w->n_best < w->threads; w->n_best++) {
        int64_t places = w->each ? s->n_in : (int64_t)s->n_groups * s->n_in;
        if (rw_best_start(&w->best[w->n_best], most, places, key))
            return RW_ENOMEM;
    }
    for (int32_t g = 0; g < n_groups; g++)
        w->len[g] = s->n_in;
    for (int32_t j = 0; j < s->n_in; j++)
        w->source[j] = j;
    w->all.start = w->start;
    w->all.len = w->len;
    w->all.source = w->source;
    w->j = (job){ .k = k, .s = &w->all, .w = rows_of(&w->all), .x = x, .dy = dy };
    w->j.cut = rw_cut_sources(&w->all, span_bytes(x), RW_PANELS_DW);
    return RW_OK;
}

static void growth_end(growth *w, const rw_store *s)
{
    while (w->best && w->n_best > 0)
        rw_best_end(&w->best[--w->n_best]);
    rw_free(w->best, (size_t)w->threads * sizeof *w->best);
    rw_free(w->grad, (size_t)w->threads * w->grad_bytes);
    rw_free(w->source, (size_t)s->n_in * sizeof *w->source);
    rw_free(w->len, (size_t)w->all.n_groups * sizeof *w->len);
    rw_free(w->start, (size_t)w->all.n_groups * sizeof *w->start);
    rw_free(w->at, ((size_t)s->n_groups + 1) * sizeof *w->at);
}

/* Offer the places of the first `together` groups in every `stride`: the best `k` of all of them,
 * none with a score below `floor`, or of every group as many as w->each says. */
static rw_status growth_run(growth *w, int64_t k, double floor, int32_t together, int32_t stride,
                            const rw_run *run)
{
    for (int t = 0; t < w->threads; t++)
        rw_best_again(&w->best[t], k, floor);
    w->together = together;
    w->stride = stride;
    int64_t tasks = ((int64_t)w->all.n_groups + stride - 1) / stride;
    rw_run here = { w->threads, run->poll, run->arg };
    return run_tasks(&here, tasks, products(&w->all, w->j.x) / stride * together, grow_task, &w->j);
}

/* All threads' best together in the first selection: how many. */
static int64_t growth_merge(growth *w)
{
    RW_PARALLEL_FOR(w->threads)
    for (int64_t t = 0; t < w->threads; t++)
        rw_best_cut(&w->best[t]);
    for (int t = 1; t < w->threads; t++)
        rw_best_merge(&w->best[0], &w->best[t]);
    rw_best_cut(&w->best[0]);
    return w->best[0].n;
}

/* The best `count` of all places. A few groups are asked first where the floor will be;
 * were they wrong, all is done again without one. */
static rw_status growth_all(growth *w, int64_t count, const rw_run *run)
{
    int32_t together = w->together;
    int64_t few = MARGIN * count / SAMPLE + SAMPLE;
    double floor = 0;
    rw_status st = RW_OK;
    if (few < count) {
        st = growth_run(w, few, 0, 1, SAMPLE, run);
        if (!st && growth_merge(w) == few)
            floor = rw_best_floor(&w->best[0]);
    }
    if (!st)
        st = growth_run(w, count, floor, together, together, run);
    if (!st && growth_merge(w) < count) {
        st = growth_run(w, count, 0, together, together, run);
        growth_merge(w);
    }
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
    if (!st) {
        rw_best *best = &w.best[0];
        rw_best_sort(best);
        for (int64_t i = 0; i < best->n; i++) {
            p->ins_group[i] = best->at[i].group;
            p->ins_source[i] = best->at[i].source;
        }
        p->n_ins = best->n;
    }
    growth_end(&w, s);
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
    w.at = rw_alloc_array((size_t)s->n_groups + 1, sizeof *w.at);
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
    growth_end(&w, s);
    return st;
}
