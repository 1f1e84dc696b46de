/* grow_gradient.c -- see grow_gradient.h. */
#include "rules/grow_gradient.h"
#include "base/mem.h"
#include "base/topk.h"
#include "base/tuning.h"
#include "ops/gradient_rows.h"
#include "ops/tasks.h"
#include "rules/prune.h"

enum {
    SEGMENT = RW_REACH, /* places scored at a time, on the stack                      */
    SAMPLE = RW_GROW_SAMPLE,
    MARGIN = RW_GROW_MARGIN,
    FIRST = 64        /* the lowest rank that a row is asked for: a bound of the stack */
};

/* Gradients are made of BLOCKS of rows: as many as the kernel likes, and whole groups. */
typedef struct {
    rw_gradient_rows all;        /* whose gradients are made                           */
    rw_plan *plan;
    bool returns;
    int32_t block, n_blocks;
    int32_t together;     /* blocks whose gradients a task makes                */
    int32_t stride;       /* from one task's first block to the next one's      */
    size_t grad_bytes;
    char *grad;           /* grad_bytes a thread                                */
    rw_topk *best;        /* one a thread                                       */
    int threads, n_best;  /* how many of them have been started                 */
    const int32_t *each;  /* wanted of every group of the store, or NULL        */
    int64_t *at;          /* with `each`: where a group's go in the plan        */
    /* Or all places that compete are noted and judged together, as the slots of a store. */
    rw_store rivals;
    int64_t *rival_start;
    int32_t *rival_len, *rival_source;
    double *rival_score;
} gradient_growth;

/* --- offers --------------------------------------------------------------------------- */

/* Some places of a group side by side, and where the walk through the group stands. */
typedef struct {
    int32_t group, from, n;
    const char *grad;     /* of the first                                               */
    int32_t position;     /* of the group's next link,                                  */
    int64_t d;            /* the plan's next removal,                                   */
    int64_t noted;        /* and, where all are noted, the next place in those arrays   */
    uint8_t empty[SEGMENT]; /* does it compete? Those do that are empty, or emptied       */
} segment;

static void find_empty(const gradient_growth *w, segment *c)
{
    const rw_plan *p = w->plan;
    int32_t g = c->group, end = c->from + c->n, len = p->store->len[g];
    const int32_t *row = p->store->source + p->store->start[g];
    memset(c->empty, 1, (size_t)c->n);
    for (; c->position < len && row[c->position] < end; c->position++)
        c->empty[row[c->position] - c->from] = 0;
    for (; w->returns && c->d < p->n_del && p->del_group[c->d] == g; c->d++) {
        int32_t j = row[p->del_position[c->d]];
        if (j >= end)
            break;
        c->empty[j - c->from] = 1;
    }
}

static void offer_segment(const gradient_growth *w, const segment *c, int32_t rows, rw_topk *best)
{
    double score[SEGMENT];
    int32_t high[SEGMENT];
    int32_t n_high = rw_gradient_rows_at_least(&w->all, c->grad, c->n, rows, rw_topk_threshold(best), score, high);
    for (int32_t i = 0; i < n_high; i++)
        if (c->empty[high[i]])
            rw_topk_offer(best, score[high[i]], c->group, c->from + high[i]);
}

static void note_segment(const gradient_growth *w, segment *c, int32_t rows)
{
    double score[SEGMENT];
    int32_t source[SEGMENT], kept = 0;
    rw_gradient_rows_score(&w->all, c->grad, c->n, 1, rows, score);
    for (int32_t i = 0; i < c->n; i++) { /* every place is written, few are kept */
        score[kept] = score[i];
        source[kept] = c->from + i;
        kept += c->empty[i];
    }
    memcpy(w->rival_score + c->noted, score, (size_t)kept * sizeof *score);
    memcpy(w->rival_source + c->noted, source, (size_t)kept * sizeof *source);
    c->noted += kept;
}

/* Offer the places of group g that compete, or note them in order; its first gradient is at `grad`. */
static void offer_group(const gradient_growth *w, int32_t g, const char *grad, rw_topk *best)
{
    const rw_store *s = w->plan->store;
    int32_t rows = rw_group_rows(s, g);
    segment c = { .group = g, .d = rw_first_of_group(w->plan->del_group, w->plan->n_del, g),
                .noted = w->rival_score ? w->rival_start[g] : 0 };
    for (; c.from < s->n_in; c.from += c.n) {
        c.n = s->n_in - c.from < SEGMENT ? s->n_in - c.from : SEGMENT;
        c.grad = grad + (size_t)c.from * rw_dtype_size(w->all.k->dtype);
        find_empty(w, &c);
        if (w->rival_score)
            note_segment(w, &c, rows);
        else
            offer_segment(w, &c, rows, best);
    }
}

/* Where the floor will be for the best k of group g: the score of about as high a rank among
 * a few of its places; 0 where that is no help. */
static double guess_alone(const gradient_growth *w, int32_t g, const char *grad, int64_t k)
{
    const rw_store *s = w->plan->store;
    int32_t step = (s->n_in + SEGMENT - 1) / SEGMENT, n = s->n_in / step;
    int64_t rank = MARGIN * k / step + 4;
    if (rank > FIRST || rank > n / 2)
        return 0;
    double score[SEGMENT], high[FIRST] = { 0 }; /* the highest so far, in order */
    rw_gradient_rows_score(&w->all, grad, n, step, rw_group_rows(s, g), score);
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
static void offer_alone(const gradient_growth *w, int32_t g, const char *grad, rw_topk *best)
{
    int64_t wanted = w->each[g];
    double guess = wanted ? guess_alone(w, g, grad, wanted) : 0;
    rw_topk_again(best, wanted, guess);
    offer_group(w, g, grad, best);
    if (best->n < wanted) {
        rw_topk_again(best, wanted, 0);
        offer_group(w, g, grad, best);
    }
    rw_topk_sort(best);
    for (int64_t i = 0; i < best->n; i++) {
        w->plan->ins_group[w->at[g] + i] = g;
        w->plan->ins_source[w->at[g] + i] = best->at[i].source;
    }
}

static void grow_task(const void *arg, int64_t task)
{
    const gradient_growth *w = arg;
    const rw_store *s = w->plan->store;
    rw_topk *best = &w->best[rw_thread_index()];
    char *grad = w->grad + (size_t)rw_thread_index() * w->grad_bytes;
    int64_t first = task * w->stride, end = rw_min64(first + w->together, w->n_blocks);
    int32_t row0 = (int32_t)(first * w->block), row1 = (int32_t)rw_min64(end * w->block, s->n_out);
    rw_gradient_rows_make(&w->all, row0, row1 - row0, grad);
    for (int32_t row = row0; row < row1; row += s->group) {
        const char *mine = grad + (size_t)(row - row0) * w->all.row_bytes;
        if (w->each)
            offer_alone(w, row / s->group, mine, best);
        else
            offer_group(w, row / s->group, mine, best);
    }
}

/* --- a growth -------------------------------------------------------------------------- */

/* Multiply-adds. */
static int64_t growth_work(const gradient_growth *w)
{
    return (int64_t)w->plan->store->n_out * w->plan->store->n_in * w->all.x->batch;
}

/* Memory and terms of one growth; `most`: wanted of one selection. */
static rw_status gradient_growth_start(gradient_growth *w, int64_t most, const rw_kernels *k, const rw_tiles *x,
                              const rw_tiles *dy, rw_key key, const rw_run *run)
{
    const rw_store *s = w->plan->store;
    rw_status st = rw_gradient_rows_start(&w->all, k, x, dy, run);
    if (st)
        return st;
    bool near = (int64_t)w->all.row_bytes <= k->tuning->grow_bytes / k->outer_rows;
    w->block = near && s->group < k->outer_rows ? k->outer_rows : s->group;
    w->n_blocks = (int32_t)(((int64_t)s->n_out + w->block - 1) / w->block);
    w->together = (int32_t)rw_max64(1, k->tuning->scratch / ((int64_t)w->all.pitch * w->block));
    w->threads = rw_threads_for(run->threads, (int64_t)s->n_groups * s->group * s->n_in);
    if (!rw_mul_size(w->all.row_bytes, (size_t)w->together * (size_t)w->block, &w->grad_bytes))
        return RW_ENOMEM;
    w->grad = rw_alloc_array((size_t)w->threads, w->grad_bytes);
    w->best = rw_alloc_array((size_t)w->threads, sizeof *w->best);
    if (!w->grad || !w->best)
        return RW_ENOMEM;
    for (; w->n_best < w->threads; w->n_best++) {
        int64_t places = w->each ? s->n_in : (int64_t)s->n_groups * s->n_in;
        if (rw_topk_start(&w->best[w->n_best], most, places, key))
            return RW_ENOMEM;
    }
    return RW_OK;
}

static void gradient_growth_end(gradient_growth *w)
{
    while (w->best && w->n_best > 0)
        rw_topk_end(&w->best[--w->n_best]);
    rw_free(w->best, (size_t)w->threads * sizeof *w->best);
    rw_free(w->grad, (size_t)w->threads * w->grad_bytes);
    rw_gradient_rows_end(&w->all);
    rw_free(w->at, ((size_t)w->plan->store->n_groups + 1) * sizeof *w->at);
    rw_free(w->rival_start, (size_t)w->rivals.n_groups * sizeof *w->rival_start);
    rw_free(w->rival_len, (size_t)w->rivals.n_groups * sizeof *w->rival_len);
    rw_free(w->rival_source, (size_t)w->rivals.slots * sizeof *w->rival_source);
    rw_free(w->rival_score, (size_t)w->rivals.slots * sizeof *w->rival_score);
}

/* Offer the places of the first `together` blocks in every `stride`: the best `k` of all of them,
 * none with a score below `floor`, or of every group as many as w->each says. */
static rw_status gradient_growth_run(gradient_growth *w, int64_t k, double floor, int32_t together, int32_t stride,
                            const rw_run *run)
{
    for (int t = 0; t < w->threads; t++)
        rw_topk_again(&w->best[t], k, floor);
    w->together = together;
    w->stride = stride;
    int64_t tasks = ((int64_t)w->n_blocks + stride - 1) / stride;
    rw_run here = { w->threads, run->poll, run->arg };
    return rw_run_tasks(&here, tasks, growth_work(w) / stride * together, grow_task, w);
}

/* All threads' best together in the first selection: how many. */
static int64_t growth_merge(gradient_growth *w)
{
    RW_PARALLEL_FOR(w->threads)
    for (int64_t t = 0; t < w->threads; t++)
        rw_topk_cut(&w->best[t]);
    for (int t = 1; t < w->threads; t++)
        rw_topk_merge(&w->best[0], &w->best[t]);
    rw_topk_cut(&w->best[0]);
    return w->best[0].n;
}

/* The best `count` of all places. A few blocks are asked first where the floor will be;
 * were they wrong, all is done again without one. */
static rw_status growth_all(gradient_growth *w, int64_t count, const rw_run *run)
{
    int32_t together = w->together;
    int64_t few = MARGIN * count / SAMPLE + SAMPLE;
    double floor = 0;
    rw_status st = RW_OK;
    if (few < count) {
        st = gradient_growth_run(w, few, 0, 1, SAMPLE, run);
        if (!st && growth_merge(w) == few)
            floor = rw_topk_threshold(&w->best[0]);
    }
    if (!st)
        st = gradient_growth_run(w, count, floor, together, together, run);
    if (!st && growth_merge(w) < count) {
        st = gradient_growth_run(w, count, 0, together, together, run);
        growth_merge(w);
    }
    if (!st) {
        rw_topk *best = &w->best[0];
        rw_topk_sort(best);
        for (int64_t i = 0; i < best->n; i++) {
            w->plan->ins_group[i] = best->at[i].group;
            w->plan->ins_source[i] = best->at[i].source;
        }
        w->plan->n_ins = best->n;
    }
    return st;
}

/* Memory for all places that compete, `n` of them, and where each group's begin. */
static rw_status rivals_start(gradient_growth *w, int64_t n)
{
    const rw_plan *p = w->plan;
    const rw_store *s = p->store;
    size_t groups = (size_t)s->n_groups;
    w->rivals = (rw_store){ .n_out = s->n_groups, .n_in = s->n_in, .group = 1,
                            .n_groups = s->n_groups, .slots = n, .source_room = n };
    w->rival_start = rw_alloc_array(groups, sizeof *w->rival_start);
    w->rival_len = rw_alloc_array(groups, sizeof *w->rival_len);
    w->rival_source = rw_alloc_array((size_t)n, sizeof *w->rival_source);
    w->rival_score = rw_alloc_array((size_t)n, sizeof *w->rival_score);
    if (!w->rival_start || !w->rival_len || !w->rival_source || !w->rival_score)
        return RW_ENOMEM;
    int64_t before = 0, d = 0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        w->rival_start[g] = before;
        w->rival_len[g] = s->n_in - s->len[g];
        for (; w->returns && d < p->n_del && p->del_group[d] == g; d++)
            w->rival_len[g]++;
        before += w->rival_len[g];
    }
    w->rivals.start = w->rival_start;
    w->rivals.len = w->rival_len;
    w->rivals.source = w->rival_source;
    return RW_OK;
}

/* The best `count` of all places, where many of them are wanted: they are noted, and none
 * goes through a selection. */
static rw_status growth_noted(gradient_growth *w, int64_t count, rw_key key, const rw_run *run)
{
    rw_plan *p = w->plan, *best = rw_plan_new(&w->rivals);
    rw_status st = best ? gradient_growth_run(w, 0, 0, w->together, w->together, run) : RW_ENOMEM;
    if (!st)
        st = rw_plan_prune_largest(best, w->rival_score, count, key, run);
    for (int64_t i = 0; i < count && !st; i++) {
        int32_t g = p->ins_group[i] = best->del_group[i];
        p->ins_source[i] = w->rival_source[w->rival_start[g] + best->del_position[i]];
    }
    p->n_ins = st ? 0 : count;
    rw_plan_free(best);
    return st;
}

static rw_status refusal(const rw_plan *p, const rw_kernels *k, const rw_tiles *x, const rw_tiles *dy)
{
    if (p->n_ins || !rw_layer_fits(k, p->store, x, dy))
        return RW_ESHAPE;
    return p->generation == p->store->generation ? RW_OK : RW_ESTALE;
}

rw_status rw_plan_grow_gradient(rw_plan *p, int64_t count, const rw_kernels *k, const rw_tiles *x,
                           const rw_tiles *dy, bool returns, rw_key key, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(dy) && rw_is_run(run));
    const rw_store *s = p->store;
    gradient_growth w = { .plan = p, .returns = returns };
    rw_status st = refusal(p, k, x, dy);
    int64_t empty = (int64_t)s->n_groups * s->n_in - s->slots + (returns ? p->n_del : 0);
    if (!st && (count < 0 || count > empty))
        st = count < 0 ? RW_ESHAPE : RW_EFULL;
    if (!st)
        st = rw_plan_reserve(p, p->n_del, count);
    if (st || count == 0)
        return st;
    bool noted = empty <= RW_GROW_CANDIDATES * count;
    st = gradient_growth_start(&w, noted ? 0 : count, k, x, dy, key, run);
    if (!st && noted)
        st = rivals_start(&w, empty);
    if (!st)
        st = noted ? growth_noted(&w, count, key, run) : growth_all(&w, count, run);
    gradient_growth_end(&w);
    return st;
}

rw_status rw_plan_grow_gradient_each(rw_plan *p, const int32_t *each, const rw_kernels *k,
                                const rw_tiles *x, const rw_tiles *dy, bool returns, rw_key key,
                                const rw_run *run)
{
    RW_ASSERT(each && rw_is_tiles(x) && rw_is_tiles(dy) && rw_is_run(run));
    const rw_store *s = p->store;
    gradient_growth w = { .plan = p, .returns = returns, .each = each };
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
        st = gradient_growth_start(&w, most, k, x, dy, key, run);
        if (!st)
            st = gradient_growth_run(&w, most, 0, w.together, w.together, run);
        if (!st)
            p->n_ins = total;
    }
    gradient_growth_end(&w);
    return st;
}
