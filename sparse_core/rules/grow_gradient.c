/* grow_gradient.c -- see grow_gradient.h. */
#include "rules/grow_gradient.h"
#include "base/mem.h"
#include "base/topk.h"
#include "base/tuning.h"
#include "ops/gradient_rows.h"
#include "ops/tasks.h"
#include "rules/prune.h"

enum {
    SEGMENT = RW_SCAN_VALUES, /* places scored at a time, on the stack */
    SAMPLE = RW_GROW_SAMPLE,
    MARGIN = RW_GROW_MARGIN,
    MAX_RANK = 64 /* highest scores kept to estimate a group's threshold: a bound of the stack */
};

/* Gradients are made of BLOCKS of rows: as many as the kernel likes, and whole groups. */
typedef struct {
    rw_gradient_rows all;   /* makes the gradients                                     */
    rw_plan *plan;
    bool returns;           /* places that the plan empties are candidates too         */
    int32_t block;          /* rows of a block                                         */
    int32_t n_blocks;
    int32_t blocks_at_once; /* blocks whose gradients a task makes                     */
    int32_t stride;         /* from the first block of a task to that of the next task */
    size_t grad_bytes;
    char *grad;             /* grad_bytes a thread                                     */
    rw_topk *top;           /* one selection a thread                                  */
    int threads;
    int n_top;              /* selections that have been started                       */
    const int32_t *each;    /* new links wanted in each group of the store, or NULL    */
    int64_t *at;            /* with `each`: a group's first insertion in the plan      */
    /* Where many of the candidates are wanted, all are noted first, as the slots of a store. */
    rw_store candidates;
    int64_t *candidate_start;
    int32_t *candidate_len, *candidate_source;
    double *candidate_score;
} gradient_growth;

/* --- offers --------------------------------------------------------------------------- */

/* A segment is n adjacent places of a group, from source `from` on. Segments of a group are
 * visited in order, so the three cursors only move forward. */
typedef struct {
    int32_t group, from, n;
    const char *grad;       /* gradients of the first place                           */
    int32_t position;       /* cursor: position of the group's next link              */
    int64_t d;              /* cursor: the plan's next removal                        */
    int64_t noted;          /* cursor: the next free entry of candidate_source, _score */
    uint8_t empty[SEGMENT]; /* 1: the place is empty, or emptied, and so a candidate  */
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

static void offer_segment(const gradient_growth *w, const segment *c, int32_t rows, rw_topk *top)
{
    double score[SEGMENT];
    int32_t high[SEGMENT];
    int32_t n_high = rw_gradient_rows_at_least(&w->all, c->grad, c->n, rows,
                                               rw_topk_threshold(top), score, high);
    for (int32_t i = 0; i < n_high; i++)
        if (c->empty[high[i]])
            rw_topk_offer(top, score[high[i]], c->group, c->from + high[i]);
}

static void note_segment(const gradient_growth *w, segment *c, int32_t rows)
{
    double score[SEGMENT];
    int32_t source[SEGMENT], kept = 0;
    rw_gradient_rows_score(&w->all, c->grad, c->n, 1, rows, score);
    for (int32_t i = 0; i < c->n; i++) { /* each is written, and overwritten unless it is empty */
        score[kept] = score[i];
        source[kept] = c->from + i;
        kept += c->empty[i];
    }
    memcpy(w->candidate_score + c->noted, score, (size_t)kept * sizeof *score);
    memcpy(w->candidate_source + c->noted, source, (size_t)kept * sizeof *source);
    c->noted += kept;
}

/* Offer the candidates of group g to `top`, or note them in order. The group's first gradient
 * lies at `grad`. */
static void offer_group(const gradient_growth *w, int32_t g, const char *grad, rw_topk *top)
{
    const rw_store *s = w->plan->store;
    int32_t rows = rw_group_rows(s, g);
    segment c = { .group = g, .d = rw_first_of_group(w->plan->del_group, w->plan->n_del, g),
                  .noted = w->candidate_score ? w->candidate_start[g] : 0 };
    for (; c.from < s->n_in; c.from += c.n) {
        c.n = s->n_in - c.from < SEGMENT ? s->n_in - c.from : SEGMENT;
        c.grad = grad + (size_t)c.from * rw_dtype_size(w->all.k->dtype);
        find_empty(w, &c);
        if (w->candidate_score)
            note_segment(w, &c, rows);
        else
            offer_segment(w, &c, rows, top);
    }
}

/* Estimates the k-th largest score of group g from a sample of its places, on the low side;
 * 0 if the sample is too small for an estimate. */
static double estimate_threshold(const gradient_growth *w, int32_t g, const char *grad, int64_t k)
{
    const rw_store *s = w->plan->store;
    int32_t step = (s->n_in + SEGMENT - 1) / SEGMENT, n = s->n_in / step;
    int64_t rank = MARGIN * k / step + 4;
    if (rank > MAX_RANK || rank > n / 2)
        return 0;
    double score[SEGMENT], high[MAX_RANK] = { 0 }; /* the highest scores so far, descending */
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

/* Insert the top candidates of group g by itself into the plan. */
static void grow_group_alone(const gradient_growth *w, int32_t g, const char *grad, rw_topk *top)
{
    int64_t wanted = w->each[g];
    double estimate = wanted ? estimate_threshold(w, g, grad, wanted) : 0;
    rw_topk_again(top, wanted, estimate);
    offer_group(w, g, grad, top);
    if (top->n < wanted) {
        rw_topk_again(top, wanted, 0);
        offer_group(w, g, grad, top);
    }
    rw_topk_sort(top);
    for (int64_t i = 0; i < top->n; i++) {
        w->plan->ins_group[w->at[g] + i] = g;
        w->plan->ins_source[w->at[g] + i] = top->at[i].source;
    }
}

static void grow_task(const void *arg, int64_t task)
{
    const gradient_growth *w = arg;
    const rw_store *s = w->plan->store;
    rw_topk *top = &w->top[rw_thread_index()];
    char *grad = w->grad + (size_t)rw_thread_index() * w->grad_bytes;
    int64_t first = task * w->stride, end = rw_min64(first + w->blocks_at_once, w->n_blocks);
    int32_t row0 = (int32_t)(first * w->block), row1 = (int32_t)rw_min64(end * w->block, s->n_out);
    rw_gradient_rows_make(&w->all, row0, row1 - row0, grad);
    for (int32_t row = row0; row < row1; row += s->group) {
        const char *mine = grad + (size_t)(row - row0) * w->all.row_bytes;
        if (w->each)
            grow_group_alone(w, row / s->group, mine, top);
        else
            offer_group(w, row / s->group, mine, top);
    }
}

/* --- a growth -------------------------------------------------------------------------- */

/* Multiply-adds. */
static int64_t growth_work(const gradient_growth *w)
{
    const rw_store *s = w->plan->store;
    if (w->all.x)
        return (int64_t)s->n_out * s->n_in * w->all.x->batch;
    return (int64_t)s->n_out * (RW_COST_NONZERO_VALUE * w->all.few->values + s->n_in);
}

/* Takes the memory of one growth; `most` is the largest k that a selection will be asked for. */
static rw_status gradient_growth_start(gradient_growth *w, int64_t most, const rw_kernels *k,
                                       const rw_tiles *x, const rw_nonzeros *few,
                                       const rw_tiles *dy, rw_key key, const rw_run *run)
{
    const rw_store *s = w->plan->store;
    rw_status st = rw_gradient_rows_start(&w->all, k, x, few, dy, run);
    if (st)
        return st;
    bool near = (int64_t)w->all.row_bytes <= k->tuning->grow_bytes / k->outer_rows;
    w->block = near && s->group < k->outer_rows ? k->outer_rows : s->group;
    w->n_blocks = (int32_t)(((int64_t)s->n_out + w->block - 1) / w->block);
    int64_t block_values = (int64_t)w->all.pitch * w->block;
    w->blocks_at_once = (int32_t)rw_max64(1, k->tuning->scratch / block_values);
    w->threads = rw_threads_for(run->threads, rw_store_rows(s) * s->n_in);
    size_t rows_at_once = (size_t)w->blocks_at_once * (size_t)w->block;
    if (!rw_mul_size(w->all.row_bytes, rows_at_once, &w->grad_bytes))
        return RW_ENOMEM;
    w->grad = rw_alloc_array((size_t)w->threads, w->grad_bytes);
    w->top = rw_alloc_array((size_t)w->threads, sizeof *w->top);
    if (!w->grad || !w->top)
        return RW_ENOMEM;
    for (; w->n_top < w->threads; w->n_top++) {
        int64_t n_places = w->each ? s->n_in : rw_store_places(s);
        if (rw_topk_start(&w->top[w->n_top], most, n_places, key))
            return RW_ENOMEM;
    }
    return RW_OK;
}

static void gradient_growth_end(gradient_growth *w)
{
    while (w->top && w->n_top > 0)
        rw_topk_end(&w->top[--w->n_top]);
    rw_free(w->top, (size_t)w->threads * sizeof *w->top);
    rw_free(w->grad, (size_t)w->threads * w->grad_bytes);
    rw_gradient_rows_end(&w->all);
    rw_free(w->at, ((size_t)w->plan->store->n_groups + 1) * sizeof *w->at);
    rw_free(w->candidate_start, (size_t)w->candidates.n_groups * sizeof *w->candidate_start);
    rw_free(w->candidate_len, (size_t)w->candidates.n_groups * sizeof *w->candidate_len);
    rw_free(w->candidate_source, (size_t)w->candidates.slots * sizeof *w->candidate_source);
    rw_free(w->candidate_score, (size_t)w->candidates.slots * sizeof *w->candidate_score);
}

/* Run every thread's selection of the top k, from `threshold` on, over the candidates of the
 * first `blocks` blocks in every `stride`. With w->each, groups are selected by themselves. */
static rw_status gradient_growth_run(gradient_growth *w, int64_t k, double threshold,
                                     int32_t blocks, int32_t stride, const rw_run *run)
{
    for (int t = 0; t < w->threads; t++)
        rw_topk_again(&w->top[t], k, threshold);
    w->blocks_at_once = blocks;
    w->stride = stride;
    int64_t tasks = ((int64_t)w->n_blocks + stride - 1) / stride;
    rw_run here = { w->threads, run->poll, run->arg };
    return rw_run_tasks(&here, tasks, growth_work(w) / stride * blocks, grow_task, w);
}

/* Merge the selections of all threads into the first. Returns how many candidates it holds. */
static int64_t growth_merge(gradient_growth *w)
{
    RW_PARALLEL_FOR(w->threads)
    for (int64_t t = 0; t < w->threads; t++)
        rw_topk_cut(&w->top[t]);
    for (int t = 1; t < w->threads; t++)
        rw_topk_merge(&w->top[0], &w->top[t]);
    rw_topk_cut(&w->top[0]);
    return w->top[0].n;
}

/* Insert the top `count` candidates of the layer. A sample of the blocks gives an estimate of
 * the final threshold; if it was too high, the selection runs again without it. */
static rw_status growth_all(gradient_growth *w, int64_t count, const rw_run *run)
{
    int32_t blocks = w->blocks_at_once;
    int64_t n_sample = MARGIN * count / SAMPLE + SAMPLE;
    double threshold = 0;
    rw_status st = RW_OK;
    if (n_sample < count) {
        st = gradient_growth_run(w, n_sample, 0, 1, SAMPLE, run);
        if (!st && growth_merge(w) == n_sample)
            threshold = rw_topk_threshold(&w->top[0]);
    }
    if (!st)
        st = gradient_growth_run(w, count, threshold, blocks, blocks, run);
    if (!st && growth_merge(w) < count) {
        st = gradient_growth_run(w, count, 0, blocks, blocks, run);
        growth_merge(w);
    }
    if (!st) {
        rw_topk *top = &w->top[0];
        rw_topk_sort(top);
        for (int64_t i = 0; i < top->n; i++) {
            w->plan->ins_group[i] = top->at[i].group;
            w->plan->ins_source[i] = top->at[i].source;
        }
        w->plan->n_ins = top->n;
    }
    return st;
}

/* Takes memory for all n candidates, and lays out each group's entries in it. */
static rw_status candidates_start(gradient_growth *w, int64_t n)
{
    const rw_plan *p = w->plan;
    const rw_store *s = p->store;
    size_t groups = (size_t)s->n_groups;
    w->candidates = (rw_store){ .n_out = s->n_groups, .n_in = s->n_in, .group = 1,
                                .n_groups = s->n_groups, .slots = n, .source_room = n };
    w->candidate_start = rw_alloc_array(groups, sizeof *w->candidate_start);
    w->candidate_len = rw_alloc_array(groups, sizeof *w->candidate_len);
    w->candidate_source = rw_alloc_array((size_t)n, sizeof *w->candidate_source);
    w->candidate_score = rw_alloc_array((size_t)n, sizeof *w->candidate_score);
    if (!w->candidate_start || !w->candidate_len || !w->candidate_source || !w->candidate_score)
        return RW_ENOMEM;
    int64_t before = 0, d = 0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        w->candidate_start[g] = before;
        w->candidate_len[g] = s->n_in - s->len[g];
        for (; w->returns && d < p->n_del && p->del_group[d] == g; d++)
            w->candidate_len[g]++;
        before += w->candidate_len[g];
    }
    w->candidates.start = w->candidate_start;
    w->candidates.len = w->candidate_len;
    w->candidates.source = w->candidate_source;
    return RW_OK;
}

/* Insert the top `count` candidates where that is a large part of them all: every candidate is
 * noted, and those to keep are chosen as if they were links to be pruned. */
static rw_status growth_noted(gradient_growth *w, int64_t count, rw_key key, const rw_run *run)
{
    rw_plan *p = w->plan, *chosen = rw_plan_new(&w->candidates);
    int32_t blocks = w->blocks_at_once;
    rw_status st = chosen ? gradient_growth_run(w, 0, 0, blocks, blocks, run) : RW_ENOMEM;
    if (!st)
        st = rw_plan_prune_largest(chosen, w->candidate_score, count, key, run);
    for (int64_t i = 0; i < count && !st; i++) {
        int32_t g = p->ins_group[i] = chosen->del_group[i];
        p->ins_source[i] = w->candidate_source[w->candidate_start[g] + chosen->del_position[i]];
    }
    p->n_ins = st ? 0 : count;
    rw_plan_free(chosen);
    return st;
}

static rw_status refusal(const rw_plan *p, const rw_kernels *k, const rw_tiles *x,
                         const rw_nonzeros *few, const rw_tiles *dy)
{
    const rw_store *s = p->store;
    bool fits = few ? few->batch > 0 && few->n == s->n_in && few->batch == dy->batch
                          && few->tile == dy->tile && dy->n == s->n_out && few->dtype == k->dtype
                          && dy->dtype == k->dtype && s->field[RW_WEIGHT].dtype == k->dtype
                    : rw_layer_fits(k, s, x, dy);
    if (p->n_ins || !fits)
        return RW_ESHAPE;
    return p->generation == p->store->generation ? RW_OK : RW_ESTALE;
}

rw_status rw_plan_grow_gradient(rw_plan *p, int64_t count, const rw_kernels *k, const rw_tiles *x,
                                const rw_nonzeros *few, const rw_tiles *dy, bool returns,
                                rw_key key, const rw_run *run)
{
    RW_ASSERT((few || rw_is_tiles(x)) && rw_is_tiles(dy) && rw_is_run(run));
    const rw_store *s = p->store;
    gradient_growth w = { .plan = p, .returns = returns };
    rw_status st = refusal(p, k, x, few, dy);
    int64_t empty = rw_store_places(s) - s->slots + (returns ? p->n_del : 0);
    if (!st && (count < 0 || count > empty))
        st = count < 0 ? RW_ESHAPE : RW_EFULL;
    if (!st)
        st = rw_plan_reserve(p, p->n_del, count);
    if (st || count == 0)
        return st;
    bool noted = empty <= RW_GROW_CANDIDATES * count;
    st = gradient_growth_start(&w, noted ? 0 : count, k, x, few, dy, key, run);
    if (!st && noted)
        st = candidates_start(&w, empty);
    if (!st)
        st = noted ? growth_noted(&w, count, key, run) : growth_all(&w, count, run);
    gradient_growth_end(&w);
    return st;
}

rw_status rw_plan_grow_gradient_each(rw_plan *p, const int32_t *each, const rw_kernels *k,
                                     const rw_tiles *x, const rw_nonzeros *few,
                                     const rw_tiles *dy, bool returns, rw_key key,
                                     const rw_run *run)
{
    RW_ASSERT(each && (few || rw_is_tiles(x)) && rw_is_tiles(dy) && rw_is_run(run));
    const rw_store *s = p->store;
    gradient_growth w = { .plan = p, .returns = returns, .each = each };
    rw_status st = refusal(p, k, x, few, dy);
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
        st = gradient_growth_start(&w, most, k, x, few, dy, key, run);
        if (!st)
            st = gradient_growth_run(&w, most, 0, w.blocks_at_once, w.blocks_at_once, run);
        if (!st)
            p->n_ins = total;
    }
    gradient_growth_end(&w);
    return st;
}
