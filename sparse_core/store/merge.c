/* merge.c -- see merge.h; what is done with one group stands in merge_group.h.
 *
 * To keep `slots` of the links, a sample of the groups says below which score hardly any can be among
 * the best. What lies below this FLOOR is dropped; if fewer are left than wanted, all is done again
 * without a floor. The sample also says above which score, the CEILING, hardly any can be the last one
 * that stays. Scores between both are ordered exactly; if it is not one of them, all are counted in bins,
 * and those of one bin are ordered. So the sample changes the time and nothing else.
 *
 * Blocks of groups are merged a ROUND at a time, into memory that stays in the cache, and what is
 * left of them gets windows of the result, where it is closed up when it is known which slots
 * stay: memory that nobody has touched yet is the most expensive part of all. */
#include "store/merge.h"
#include "base/mem.h"
#include "base/topk.h"
#include "store/blocks.h"
#include "store/digest.h"
#include "store/merge_group.h"

/* --- blocks of groups --------------------------------------------------------------- */

static int32_t merge_block_group(const merging *m, int64_t b)
{
    return (int32_t)(b * m->n_groups / m->n_blocks);
}

static size_t merged_bytes(const merging *m)
{
    return (size_t)m->width * rw_dtype_size(m->dtype);
}

static char *merged_weights(const merging *m, int32_t g)
{
    const rw_store *out = m->out;
    return out->field[RW_WEIGHT].data + (size_t)out->start[g] * merged_bytes(m);
}

static void merge_block(const void *arg, int64_t b)
{
    const merging *m = arg;
    merge_scratch *t = &m->of[rw_thread_index()];
    size_t bytes = merged_bytes(m);
    int64_t at = m->before[merge_block_group(m, b)] - m->first;
    for (int32_t g = merge_block_group(m, b); g < merge_block_group(m, b + 1); g++) {
        char *weight = m->round_weight + (size_t)at * bytes;
        int32_t n = merge_group(m, t, g, m->round_source + at, weight);
        m->out->len[g] = n;
        at += n;
    }
}

/* Windows for what is left of blocks [b, end). */
static rw_status lay_round(merging *m, int64_t b, int64_t end)
{
    rw_store *out = m->out;
    int32_t first = merge_block_group(m, b), after = merge_block_group(m, end);
    int64_t slots = 0;
    for (int32_t g = first; g < after; g++)
        slots += out->len[g];
    int64_t top = out->top + rw_packed_slots(slots, after - first);
    if (top > out->arena) {
        int64_t want = out->arena ? out->arena + out->arena / 2 : rw_packed_slots(m->expected, m->n_groups);
        rw_status st = rw_arena_reserve(out, rw_max64(top, want));
        if (st)
            return st;
    }
    for (int32_t g = first; g < after; g++)
        rw_window_append(out, g, out->len[g]);
    return RW_OK;
}

/* What is left of a block into its windows. */
static void place_block(const void *arg, int64_t b)
{
    const merging *m = arg;
    rw_store *out = m->out;
    size_t bytes = merged_bytes(m);
    int64_t at = m->before[merge_block_group(m, b)] - m->first;
    uint64_t come = 0;
    for (int32_t g = merge_block_group(m, b); g < merge_block_group(m, b + 1); g++) {
        size_t n = (size_t)out->len[g];
        if (!n)
            continue;
        memcpy(out->source + out->start[g], m->round_source + at, n * sizeof *out->source);
        memcpy(merged_weights(m, g), m->round_weight + (size_t)at * bytes, n * bytes);
        come += rw_slots_hash(out, g, out->start[g], out->len[g]);
        at += out->len[g];
    }
    m->of[rw_thread_index()].digest += come;
}

/* --- which stay ---------------------------------------------------------------------- */

/* What a count hardly ever exceeds. */
static double deviated(double count) { return count + 4 * sqrt(count) + 1; }

/* From a sample of the groups: how many slots there will be, a floor for `slots` of them, which is 0
 * if it says nothing, and a ceiling. */
static void look_at_sample(merging *m, int64_t slots)
{
    merge_scratch *t = &m->of[0];
    int64_t bins[SCORE_BINS] = { 0 }, in = 0, n = 0, all = m->before[m->n_groups];
    int64_t step = rw_max64(RW_MERGE_SAMPLE_PART, m->n_groups / RW_MERGE_SAMPLE_MOST);
    m->expected = all;
    if (m->n_groups < RW_MERGE_SAMPLE_LEAST)
        return;
    for (int64_t g = step / 2; g < m->n_groups; g += step) {
        int32_t here = blend_links(m, t, (int32_t)g);
        in += m->before[g + 1] - m->before[g];
        n += here;
        for (int32_t i = 0; i < here; i++)
            bins[score_bin(m, score_of_sums(m, t->sum + (int64_t)i * m->width))]++;
        clear_sums(m, t, here);
    }
    double there = (double)all * ((double)n / (double)rw_max64(in, 1));
    m->expected = rw_min64(all, (int64_t)deviated(there));
    if (slots == RW_MERGE_ALL)
        return;
    double best = (double)n * (double)slots / fmax(there, 1.0), wanted = deviated(best);
    int64_t above = 0;
    m->ceiling = UINT64_MAX;
    for (int bin = SCORE_BINS - 1; bin > 0 && !m->floor; bin--) {
        above += bins[bin];
        if (deviated((double)above) <= best)
            m->ceiling = score_bin_begin(m, bin);
        if ((double)above >= wanted)
            m->floor = score_bin_begin(m, bin);
    }
    if (m->floor) /* counted in the sample, so with its deviation */
        m->expected = rw_min64(m->expected, (int64_t)(there * deviated((double)above) / (double)n));
    m->drops = m->plain && m->floor && 4 * n > 3 * in; /* few have several stores */
}

/* Take out of group g what scores lower than the last that stays, and all but the first `m->ties[g]` of
 * those that score like it; how many of these stay becomes m->ties[g]. The hash of what goes. */
static uint64_t close_up(const merging *m, int32_t g)
{
    rw_store *out = m->out;
    uint64_t scored[MERGE_CHUNK], hash = 0;
    size_t bytes = merged_bytes(m);
    int32_t *source = out->source + out->start[g], to = 0, ties = 0;
    const int32_t len = out->len[g], most = m->ties[g];
    const uint64_t last = m->last;
    char *weight = merged_weights(m, g);
#define CLOSE_UP(first, count, score_of_j, each)                                                    \
    for (int32_t j = 0; j < (count); j++) {                                                         \
        uint64_t score = (score_of_j);                                                              \
        if (score <= last) { /* seldom, where there was a floor */                                  \
            if (score < last || ties == most) {                                                     \
                hash += rw_place_hash(out, g, source[(first) + j]);                                 \
                continue;                                                                           \
            }                                                                                       \
            ties++;                                                                                 \
        }                                                                                           \
        source[to] = source[(first) + j];                                                           \
        memmove(weight + (size_t)to * (each), weight + (size_t)((first) + j) * (each), each);       \
        to++;                                                                                       \
    }
    if (m->plain) { /* in one instruction, not a call */
        CLOSE_UP(0, len, plain_score(weight, j), sizeof(float))
    } else {
        for (int32_t i = 0; i < len; i += MERGE_CHUNK) {
            int32_t here = (int32_t)rw_min64(MERGE_CHUNK, len - i);
            merge_scores(m, weight, i, here, scored);
            CLOSE_UP(i, here, scored[j], bytes)
        }
    }
    m->ties[g] = ties;
    out->len[g] = to;
    return hash;
}

static void close_up_block(const void *arg, int64_t b)
{
    const merging *m = arg;
    uint64_t gone = 0;
    for (int32_t g = merge_block_group(m, b); g < merge_block_group(m, b + 1); g++)
        if (m->ties[g] != CLOSED_UP)
            gone += close_up(m, g);
    m->of[rw_thread_index()].digest -= gone;
}

static rw_status each_merge_block(const merging *m, rw_task task)
{
    return rw_blocks_exactly(m->run, m->threads, m->n_blocks, task, m);
}

static void count_merged_block(const void *arg, int64_t b)
{
    const merging *m = arg;
    int64_t *bins = m->of[rw_thread_index()].bins;
    uint64_t score[MERGE_CHUNK];
    for (int32_t g = merge_block_group(m, b); g < merge_block_group(m, b + 1); g++) {
        const char *weight = merged_weights(m, g);
        for (int32_t i = 0; i < m->out->len[g]; i += MERGE_CHUNK) {
            int32_t here = (int32_t)rw_min64(MERGE_CHUNK, m->out->len[g] - i);
            merge_scores(m, weight, i, here, score);
            for (int32_t j = 0; j < here; j++)
                bins[score_bin(m, score[j])]++;
        }
    }
}

/* Scores of [least, least + width) into `scores`, which has room for `most` and those of one group more. How
 * many; if there are more than `most`, some number above that. */
static int64_t scores_within(const merging *m, uint64_t least, uint64_t width, int64_t most, uint64_t *scores)
{
    uint64_t scored[MERGE_CHUNK];
    int64_t n = 0;
    for (int32_t g = 0; g < m->n_groups && n <= most; g++) {
        const char *weight = merged_weights(m, g);
        int32_t len = m->out->len[g];
#define TAKE_WITHIN(count, score)                  \
    for (int32_t j = 0; j < (count); j++) {        \
        scores[n] = (score);                       \
        n += scores[n] - least < width;            \
    }
        if (m->plain) {
            TAKE_WITHIN(len, plain_score(weight, j))
            continue;
        }
        for (int32_t i = 0; i < len; i += MERGE_CHUNK) {
            int32_t here = (int32_t)rw_min64(MERGE_CHUNK, len - i);
            merge_scores(m, weight, i, here, scored);
            TAKE_WITHIN(here, scored[j])
        }
    }
    return n;
}

/* The score of the last one that stays: of those in [least, least + width), the lowest but for `worse` of
 * them. RW_ENOENT if there are more than `most`, or it is not one of them; RW_ENOMEM. */
static rw_status find_last_within(merging *m, uint64_t least, uint64_t width, int64_t most, int64_t worse)
{
    size_t room = (size_t)most + (size_t)m->room;
    uint64_t *scores = rw_alloc_array(room, sizeof *scores);
    if (!scores)
        return RW_ENOMEM;
    int64_t n = scores_within(m, least, width, most, scores);
    bool found = worse < n && n <= most;
    if (found)
        m->last = rw_kth_largest(scores, n, n - worse);
    rw_free(scores, room * sizeof *scores);
    return found ? RW_OK : RW_ENOENT;
}

/* The score of the `slots`-th best. RW_ENOMEM. */
static rw_status find_last(merging *m, int64_t slots)
{
    int64_t surplus = m->out->slots - slots;
    if (m->floor) { /* below which none is left */
        int64_t most = rw_min64(RW_MERGE_NEAR * surplus, m->out->slots);
        rw_status st = find_last_within(m, m->floor, m->ceiling - m->floor, most, surplus);
        if (st == RW_OK)
            return st;
    }
    rw_status st = each_merge_block(m, count_merged_block);
    if (st)
        return st;
    int64_t bins[SCORE_BINS] = { 0 }, better = 0;
    for (int t = 0; t < m->threads; t++)
        for (int bin = 0; bin < SCORE_BINS; bin++)
            bins[bin] += m->of[t].bins[bin];
    int bin = SCORE_BINS - 1;
    for (; better + bins[bin] < slots; bin--)
        better += bins[bin];
    uint64_t least = score_bin_begin(m, bin);
    uint64_t width = (bin < SCORE_BINS - 1 ? score_bin_begin(m, bin + 1) : UINT64_MAX) - least;
    return find_last_within(m, least, width, bins[bin], better + bins[bin] - slots);
}

/* Leave the `slots` best. */
static rw_status keep_best(merging *m, int64_t slots)
{
    rw_status st = find_last(m, slots);
    if (st)
        return st;
    for (int32_t g = 0; g < m->n_groups; g++)
        m->ties[g] = INT32_MAX;
    st = each_merge_block(m, close_up_block);
    if (st)
        return st;
    int64_t rest = slots;
    m->out->slots = slots;
    for (int32_t g = 0; g < m->n_groups; g++)
        rest -= m->out->len[g] - m->ties[g];
    bool surplus = false;
    for (int32_t g = 0; g < m->n_groups; g++) {
        int32_t stay = (int32_t)rw_min64(m->ties[g], rest);
        rest -= stay;
        bool more = stay < m->ties[g];
        m->ties[g] = more ? stay : CLOSED_UP;
        surplus |= more;
    }
    return surplus ? each_merge_block(m, close_up_block) : RW_OK;
}

/* Give back what the result does not need: by a copy if windows keep more than a tenth of what was
 * closed up in them, or if the memory of small arrays, which cannot be cut, was laid out for more. */
static rw_status give_back(rw_store *out)
{
    rw_arena_trim(out, out->top);
    int64_t packed = rw_packed_slots(out->slots, out->n_groups);
    int64_t room = rw_max64(out->source_room, out->field[RW_WEIGHT].room);
    return room > packed + packed / RW_WASTE_PART ? rw_store_compact(out) : RW_OK;
}

/* --- the whole -------------------------------------------------------------------------- */

static bool merge_scratch_new(const merging *m, merge_scratch *t)
{
    size_t room = (size_t)m->room, values = room * (size_t)m->width, k = (size_t)m->k;
    size_t n_in = (size_t)m->from[0]->n_in;
    t->of.base = 1;
    t->stamp = STAMP_FIRST;
    if (m->plain) {
        t->seen = rw_calloc_array(m->places, sizeof *t->seen);
        t->rank = m->words ? rw_calloc_array((size_t)m->words, sizeof *t->rank) : NULL;
    } else {
        t->of.entry = rw_calloc_array(n_in, sizeof *t->of.entry);
    }
    for (int i = 0; i < 2; i++)
        t->keys[i] = rw_alloc_array(room + 2 * k, sizeof *t->keys[i]);
    t->begin = rw_alloc_array(k, sizeof *t->begin);
    t->length = rw_alloc_array(k, sizeof *t->length);
    t->value = rw_alloc_array(values, sizeof *t->value);
    t->sum = rw_alloc_array(values, sizeof *t->sum);
    t->source = rw_alloc_array(room, sizeof *t->source);
    t->holders = rw_alloc_array(room, sizeof *t->holders);
    t->bins = rw_calloc_array(SCORE_BINS, sizeof *t->bins);
    for (size_t i = 0; i < values && t->sum; i++)
        t->sum[i] = rw_blend_start(m->how);
    bool found = m->plain ? t->seen && (t->rank || !m->words) : t->of.entry != NULL;
    return found && t->keys[0] && t->keys[1] && t->begin && t->length && t->value && t->sum && t->source
        && t->holders && t->bins;
}

static void merge_scratch_free(const merging *m, merge_scratch *t)
{
    size_t room = (size_t)m->room, values = room * (size_t)m->width, k = (size_t)m->k;
    rw_free(t->of.entry, (size_t)m->from[0]->n_in * sizeof *t->of.entry);
    rw_free(t->seen, m->places * sizeof *t->seen);
    rw_free(t->rank, (size_t)m->words * sizeof *t->rank);
    for (int i = 0; i < 2; i++)
        rw_free(t->keys[i], (room + 2 * k) * sizeof *t->keys[i]);
    rw_free(t->begin, k * sizeof *t->begin);
    rw_free(t->length, k * sizeof *t->length);
    rw_free(t->value, values * sizeof *t->value);
    rw_free(t->sum, values * sizeof *t->sum);
    rw_free(t->source, room * sizeof *t->source);
    rw_free(t->holders, room * sizeof *t->holders);
    rw_free(t->bins, SCORE_BINS * sizeof *t->bins);
}

static void merging_end(merging *m)
{
    size_t n_groups = (size_t)m->n_groups, bytes = merged_bytes(m);
    for (int t = 0; t < m->threads && m->of; t++)
        merge_scratch_free(m, &m->of[t]);
    rw_free(m->of, (size_t)m->threads * sizeof *m->of);
    rw_free(m->round_source, (size_t)m->round_room * sizeof *m->round_source);
    rw_free(m->round_weight, (size_t)m->round_room * bytes);
    rw_free(m->ties, n_groups * sizeof *m->ties);
    rw_free(m->before, (n_groups + 1) * sizeof *m->before);
}

/* Memory for everything but the slots of the result. */
static rw_status merging_start(merging *m)
{
    size_t n_groups = (size_t)m->n_groups;
    m->before = rw_alloc_array(n_groups + 1, sizeof *m->before);
    if (!m->before)
        return RW_ENOMEM;
    m->before[0] = 0;
    for (int32_t g = 0; g < m->n_groups; g++) {
        int64_t here = 0;
        for (int32_t i = 0; i < m->k; i++)
            here += m->from[i]->len[g];
        m->before[g + 1] = m->before[g] + here;
        m->room = rw_max64(m->room, here);
    }
    int64_t all = m->before[m->n_groups];
    if (m->room > INT32_MAX / 2) /* places in tables and keys */
        return RW_ENOMEM;
    m->room = rw_max64(m->room, 1);
    int64_t words = rw_rank_words(m->from[0]->n_in);
    bool pays = m->plain && m->k > 1 && words <= m->room && rw_ranks_pay();
    m->words = pays ? words : 0;
    for (m->places = SEEN_LEAST; m->places < SEEN_MOST && m->places < SEEN_A_LINK * m->room;)
        m->places *= 2;
    m->threads = rw_threads_for(m->run->threads, all * m->width * RW_COST_MERGE_SLOT);
    m->n_blocks = rw_max64(1, rw_min64(m->n_groups, all * m->width / RW_BLOCK_VALUES));
    m->round = (int64_t)RW_MERGE_ROUND_BLOCKS * m->threads;
    for (int64_t b = 0; b < m->n_blocks; b += m->round) {
        int64_t end = rw_min64(b + m->round, m->n_blocks);
        int64_t here = m->before[merge_block_group(m, end)] - m->before[merge_block_group(m, b)];
        m->round_room = rw_max64(m->round_room, here);
    }
    m->of = rw_calloc_array((size_t)m->threads, sizeof *m->of);
    bool ok = m->of;
    for (int t = 0; t < m->threads && ok; t++)
        ok = merge_scratch_new(m, &m->of[t]);
    m->round_source = rw_alloc_array((size_t)m->round_room, sizeof *m->round_source);
    m->round_weight = rw_alloc_array((size_t)m->round_room, merged_bytes(m));
    m->ties = rw_alloc_array(n_groups, sizeof *m->ties);
    ok = ok && m->round_source && m->round_weight && m->ties;
    return ok ? RW_OK : RW_ENOMEM;
}

/* Merge all groups into m->out, which may be what a merge with a floor has left. */
static rw_status merge_all(merging *m)
{
    rw_status st = RW_OK;
    m->out->top = m->out->slots = 0;
    for (int t = 0; t < m->threads; t++)
        m->of[t].digest = 0;
    for (int64_t b = 0; b < m->n_blocks && !st; b += m->round) {
        int64_t end = rw_min64(b + m->round, m->n_blocks);
        m->first = m->before[merge_block_group(m, b)];
        RW_PARALLEL_FOR(m->threads)
        for (int64_t i = b; i < end; i++)
            merge_block(m, i);
        st = lay_round(m, b, end);
        if (st)
            break;
        RW_PARALLEL_FOR(m->threads)
        for (int64_t i = b; i < end; i++)
            place_block(m, i);
        if (m->run->poll && m->run->poll(m->run->arg))
            st = RW_EINTR;
    }
    return st;
}

/* All slots, or the best, in m->out. */
static rw_status merge_into(merging *m, int64_t slots)
{
    rw_status st = merging_start(m);
    if (st)
        return st;
    if (slots > m->before[m->n_groups])
        return RW_EFULL;
    look_at_sample(m, slots);
    m->alone = m->drops ? least_alone(m) : 0;
    st = merge_all(m);
    if (!st && m->floor && m->out->slots < slots) {
        m->floor = 0;
        m->drops = false;
        st = merge_all(m);
    }
    if (st)
        return st;
    if (m->out->slots < slots)
        return RW_EFULL;
    if (slots != RW_MERGE_ALL && m->out->slots > slots)
        st = keep_best(m, slots);
    return st;
}

rw_status rw_store_merge(const rw_store *const *from, int32_t k, rw_blend how, int64_t slots,
                         const rw_run *run, rw_store **out)
{
    RW_ASSERT(from && k >= 1 && k <= RW_BLEND_MOST && rw_is_run(run) && out);
    RW_ASSERT(slots >= RW_MERGE_ALL);
    const rw_store *like = from[0];
    merging m = { .from = from, .k = k, .width = like->group, .n_groups = like->n_groups,
                  .dtype = like->field[RW_WEIGHT].dtype, .how = how, .run = run };
    for (int32_t i = 1; i < k; i++)
        if (!rw_same_sizes(like, from[i]) || from[i]->field[RW_WEIGHT].dtype != m.dtype)
            return RW_ESHAPE;
    m.plain = m.width == 1 && m.dtype == RW_F32 && how <= RW_BLEND_HOLDERS;
    m.bin_base = m.plain ? FLOAT_BIN_BASE : SCORE_BIN_BASE;
    m.bin_shift = m.plain ? FLOAT_BIN_SHIFT : SCORE_BIN_SHIFT;
    m.out = rw_store_new(like->n_out, like->n_in, like->group, m.dtype);
    if (!m.out)
        return RW_ENOMEM;
    m.out->field[RW_WEIGHT].birth = like->field[RW_WEIGHT].birth;
    rw_status st = slots ? merge_into(&m, slots) : RW_OK;
    for (int t = 0; t < m.threads && m.of; t++)
        m.out->digest += m.of[t].digest;
    merging_end(&m);
    if (!st)
        st = give_back(m.out);
    if (st) {
        rw_store_free(m.out);
        return st;
    }
    m.out->generation++;
    *out = m.out;
    return RW_OK;
}
