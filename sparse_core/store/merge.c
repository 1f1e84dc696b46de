/* merge.c -- see merge.h; what is done with one group stands in merge_group.h.
 *
 * To keep `slots` of the links, a sample of the groups says below which score hardly any can be among
 * the best. What lies below this FLOOR is dropped, and the rest is counted in bins; if fewer are
 * left than wanted, all is done again without a floor. In the bin of the last one that stays,
 * scores are ordered exactly. So the floor changes the time and nothing else.
 *
 * Blocks of groups are merged a ROUND at a time, into memory that stays in the cache, and what is
 * left of them is appended to the candidates: memory that nobody has touched yet is the most
 * expensive part of all. */
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

static void count_merged(const merging *m, merge_scratch *t, const char *weight, int32_t n)
{
    uint64_t score[MERGE_CHUNK];
    if (m->plain) {
        for (int32_t i = 0; i < n; i++)
            t->bins[plain_bin(plain_score(weight, i))]++;
        return;
    }
    for (int32_t i = 0; i < n; i += MERGE_CHUNK) {
        int32_t here = (int32_t)rw_min64(MERGE_CHUNK, n - i);
        merge_scores(m, weight, i, here, score);
        for (int32_t j = 0; j < here; j++)
            t->bins[score_bin(score[j])]++;
    }
}

static void merge_block(const void *arg, int64_t b)
{
    const merging *m = arg;
    merge_scratch *t = &m->of[rw_thread_index()];
    size_t bytes = merged_bytes(m);
    int64_t at = m->before[merge_block_group(m, b)] - m->first;
    for (int32_t g = merge_block_group(m, b); g < merge_block_group(m, b + 1); g++) {
        char *weight = m->round_weight + (size_t)at * bytes;
        m->kept[g] = merge_group(m, t, g, m->round_source + at, weight);
        if (m->counts)
            count_merged(m, t, weight, m->kept[g]);
        at += m->kept[g];
    }
}

/* Append what is left of blocks [b, end) to the candidates. */
static rw_status append_round(merging *m, int64_t b, int64_t end)
{
    size_t bytes = merged_bytes(m);
    for (int64_t i = b; i < end; i++) {
        m->at[i + 1] = m->at[i];
        for (int32_t g = merge_block_group(m, i); g < merge_block_group(m, i + 1); g++)
            m->at[i + 1] += m->kept[g];
    }
    if (m->at[end] > m->have) {
        int64_t want = rw_max64(m->at[end], m->have ? m->have + m->have / 2 : m->expected);
        void *source = rw_resize(m->source, (size_t)m->have * sizeof *m->source,
                                 (size_t)want * sizeof *m->source);
        if (!source)
            return RW_ENOMEM;
        m->source = source;
        void *weight = rw_resize(m->weight, (size_t)m->have * bytes, (size_t)want * bytes);
        if (!weight) { /* both have the same room, whatever happens */
            rw_free(m->source, (size_t)want * sizeof *m->source);
            m->source = NULL;
            rw_free(m->weight, (size_t)m->have * bytes);
            m->weight = NULL;
            m->have = 0;
            return RW_ENOMEM;
        }
        m->weight = weight;
        m->have = want;
    }
    for (int64_t i = b; i < end; i++) {
        int64_t from = m->before[merge_block_group(m, i)] - m->first;
        size_t n = (size_t)(m->at[i + 1] - m->at[i]);
        if (!n)
            continue;
        memcpy(m->source + m->at[i], m->round_source + from, n * sizeof *m->source);
        memcpy(m->weight + (size_t)m->at[i] * bytes, m->round_weight + (size_t)from * bytes,
               n * bytes);
    }
    return RW_OK;
}

/* Of n plain slots: how many score higher than the last that stays, and how many as high. */
static void count_plain(const merging *m, const char *weight, int32_t n, int32_t *better, int32_t *ties)
{
    uint32_t last = (uint32_t)m->last;
    int32_t above = 0, equal = 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t score = (int32_t)plain_score(weight, i); /* below 2^31 */
        above += score > (int32_t)last;
        equal += score == (int32_t)last;
    }
    *better = above;
    *ties = equal;
}

static void count_merged_block(const void *arg, int64_t b)
{
    const merging *m = arg;
    uint64_t score[MERGE_CHUNK];
    int64_t at = m->at[b];
    for (int32_t g = merge_block_group(m, b); g < merge_block_group(m, b + 1); at += m->kept[g++]) {
        int32_t better = 0, ties = 0;
        if (m->plain)
            count_plain(m, m->weight + (size_t)at * sizeof(float), m->kept[g], &better, &ties);
        for (int32_t i = 0; i < m->kept[g] && !m->plain; i += MERGE_CHUNK) {
            int32_t here = (int32_t)rw_min64(MERGE_CHUNK, m->kept[g] - i);
            merge_scores(m, m->weight, at + i, here, score);
            for (int32_t j = 0; j < here; j++) {
                better += score[j] > m->last;
                ties += score[j] == m->last;
            }
        }
        m->len[g] = better;
        m->ties[g] = ties;
    }
}

/* Write what stays of n plain slots from `at` on, with so many of those that score like the last. */
static void write_plain(const merging *m, int64_t at, int32_t n, int32_t ties, int32_t *source,
                        char *weight)
{
    const int32_t *in = m->source + at;
    const char *in_weight = m->weight + (size_t)at * sizeof(float);
    uint64_t last = m->last;
    int32_t to = 0, equal = 0;
    for (int32_t i = 0; i < n; i++) {
        uint64_t score = plain_score(in_weight, i);
        bool tie = score == last, stays = (score > last) | (tie & (equal < ties));
        equal += tie;
        if (stays) {
            source[to] = in[i];
            memcpy(weight + (size_t)to * sizeof(float), in_weight + (size_t)i * sizeof(float),
                   sizeof(float));
            to++;
        }
    }
}

static void write_merged_block(const void *arg, int64_t b)
{
    const merging *m = arg;
    rw_store *out = m->out;
    uint64_t score[MERGE_CHUNK];
    int32_t stays[MERGE_CHUNK];
    size_t bytes = merged_bytes(m);
    int64_t at = m->at[b];
    for (int32_t g = merge_block_group(m, b); g < merge_block_group(m, b + 1); at += m->kept[g++]) {
        int64_t to = out->start[g];
        int32_t ties = 0;
        if (m->plain) {
            write_plain(m, at, m->kept[g], m->ties[g], out->source + to,
                        out->field[RW_WEIGHT].data + (size_t)to * bytes);
            continue;
        }
        for (int32_t i = 0; i < m->kept[g]; i += MERGE_CHUNK) {
            int32_t here = (int32_t)rw_min64(MERGE_CHUNK, m->kept[g] - i), n = 0;
            merge_scores(m, m->weight, at + i, here, score);
            for (int32_t j = 0; j < here; j++) {
                int32_t tie = score[j] == m->last;
                stays[n] = j; /* each is noted, and overwritten unless it stays */
                n += (score[j] > m->last) | (tie & (ties < m->ties[g]));
                ties += tie;
            }
            const char *weight = m->weight + (size_t)(at + i) * bytes;
            char *out_weight = out->field[RW_WEIGHT].data + (size_t)to * bytes;
            for (int32_t j = 0; j < n; j++)
                out->source[to + j] = m->source[at + i + stays[j]];
            if (bytes == sizeof(float))
                for (int32_t j = 0; j < n; j++)
                    memcpy(out_weight + (size_t)j * sizeof(float),
                           weight + (size_t)stays[j] * sizeof(float), sizeof(float));
            else
                for (int32_t j = 0; j < n; j++)
                    memcpy(out_weight + (size_t)j * bytes, weight + (size_t)stays[j] * bytes,
                           bytes);
            to += n;
        }
        RW_ASSERT(to - out->start[g] == m->len[g]);
    }
}

static rw_status each_merge_block(const merging *m, rw_task task)
{
    return rw_blocks_exactly(m->run, m->threads, m->n_blocks, task, m);
}

/* --- which stay ---------------------------------------------------------------------- */

/* A floor for `slots` slots, from a sample of the groups: 0 if it says nothing. */
static uint64_t estimate_floor(merging *m, int64_t slots)
{
    merge_scratch *t = &m->of[0];
    int64_t bins[SCORE_BINS] = { 0 }, in = 0, n = 0;
    int64_t step = rw_max64(RW_MERGE_SAMPLE_PART, m->n_groups / RW_MERGE_SAMPLE_MOST);
    if (m->n_groups < RW_MERGE_SAMPLE_LEAST)
        return 0;
    for (int64_t g = step / 2; g < m->n_groups; g += step) {
        int32_t here = blend_links(m, t, (int32_t)g);
        in += m->before[g + 1] - m->before[g];
        n += here;
        for (int32_t i = 0; i < here; i++)
            bins[score_bin(score_of_sums(m, t->sum + (int64_t)i * m->width))]++;
        clear_sums(m, t, here);
    }
    m->drops = m->plain && 4 * n > 3 * in; /* few have several stores */
    double all = (double)m->before[m->n_groups] * ((double)n / (double)rw_max64(in, 1));
    double wanted = (double)n * (double)slots / fmax(all, 1.0);
    wanted += 4 * sqrt(wanted) + 1; /* deviations of a count */
    int64_t above = 0;
    for (int bin = SCORE_BINS - 1; bin >= 0; bin--) {
        above += bins[bin];
        if ((double)above >= wanted)
            return bin > 0 ? score_bin_begin(bin - 1) : 0;
    }
    return 0;
}

/* Set m->last to the score of the `slots`-th best, and m->ties and m->len: how many stay in each
 * group, and how many of them have that score. */
static rw_status choose_best(merging *m, int64_t slots)
{
    int64_t bins[SCORE_BINS] = { 0 }, better = 0;
    for (int t = 0; t < m->threads; t++)
        for (int bin = 0; bin < SCORE_BINS; bin++)
            bins[bin] += m->of[t].bins[bin];
    int bin = SCORE_BINS - 1;
    for (; better + bins[bin] < slots; bin--)
        better += bins[bin];

    uint64_t *sharing = rw_alloc_array((size_t)bins[bin], sizeof *sharing), score[MERGE_CHUNK];
    if (!sharing)
        return RW_ENOMEM;
    int64_t n = 0;
    for (int64_t i = 0, all = m->at[m->n_blocks]; i < all; i += MERGE_CHUNK) {
        int32_t here = (int32_t)rw_min64(MERGE_CHUNK, all - i);
        merge_scores(m, m->weight, i, here, score);
        for (int32_t j = 0; j < here; j++)
            if ((m->plain ? plain_bin((uint32_t)score[j]) : score_bin(score[j])) == bin)
                sharing[n++] = score[j];
    }
    m->last = rw_kth_largest(sharing, n, slots - better);
    rw_free(sharing, (size_t)bins[bin] * sizeof *sharing);

    rw_status st = each_merge_block(m, count_merged_block);
    if (st)
        return st;
    int64_t rest = slots;
    for (int32_t g = 0; g < m->n_groups; g++)
        rest -= m->len[g];
    for (int32_t g = 0; g < m->n_groups; g++) {
        m->ties[g] = (int32_t)rw_min64(m->ties[g], rest);
        m->len[g] += m->ties[g];
        rest -= m->ties[g];
    }
    return RW_OK;
}

/* --- the whole -------------------------------------------------------------------------- */

static bool merge_scratch_new(const merging *m, merge_scratch *t)
{
    size_t room = (size_t)m->room, values = room * (size_t)m->width, k = (size_t)m->k;
    size_t n_in = (size_t)m->from[0]->n_in;
    t->of.base = 1;
    if (m->plain)
        t->seen = rw_alloc_array(SEEN_MOST, sizeof *t->seen);
    else
        t->of.entry = rw_calloc_array(n_in, sizeof *t->of.entry);
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
    return (m->plain ? t->seen != NULL : t->of.entry != NULL) && t->keys[0] && t->keys[1] && t->begin
        && t->length && t->value && t->sum && t->source && t->holders && t->bins;
}

static void merge_scratch_free(const merging *m, merge_scratch *t)
{
    size_t room = (size_t)m->room, values = room * (size_t)m->width, k = (size_t)m->k;
    rw_free(t->of.entry, (size_t)m->from[0]->n_in * sizeof *t->of.entry);
    rw_free(t->seen, SEEN_MOST * sizeof *t->seen);
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
    rw_free(m->source, (size_t)m->have * sizeof *m->source);
    rw_free(m->weight, (size_t)m->have * bytes);
    rw_free(m->at, ((size_t)m->n_blocks + 1) * sizeof *m->at);
    rw_free(m->kept, n_groups * sizeof *m->kept);
    rw_free(m->ties, n_groups * sizeof *m->ties);
    rw_free(m->len, n_groups * sizeof *m->len);
    rw_free(m->before, (n_groups + 1) * sizeof *m->before);
}

/* Memory for everything but the candidates. */
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
    m->at = rw_calloc_array((size_t)m->n_blocks + 1, sizeof *m->at);
    m->kept = rw_alloc_array(n_groups, sizeof *m->kept);
    m->ties = rw_calloc_array(n_groups, sizeof *m->ties);
    m->len = rw_alloc_array(n_groups, sizeof *m->len);
    ok = ok && m->round_source && m->round_weight && m->at && m->kept && m->ties && m->len;
    return ok ? RW_OK : RW_ENOMEM;
}

/* Merge all groups; how many slots lie above the floor: *n. */
static rw_status merge_all(merging *m, int64_t *n)
{
    rw_status st = RW_OK;
    for (int t = 0; t < m->threads; t++)
        memset(m->of[t].bins, 0, SCORE_BINS * sizeof *m->of[t].bins);
    for (int64_t b = 0; b < m->n_blocks && !st; b += m->round) {
        int64_t end = rw_min64(b + m->round, m->n_blocks);
        m->first = m->before[merge_block_group(m, b)];
        RW_PARALLEL_FOR(m->threads)
        for (int64_t i = 0; i < end - b; i++)
            merge_block(m, b + i);
        st = append_round(m, b, end);
        if (!st && m->run->poll && m->run->poll(m->run->arg))
            st = RW_EINTR;
    }
    *n = m->at[m->n_blocks];
    return st;
}

/* The store of the chosen slots. */
static rw_status build_merged(merging *m)
{
    const rw_store *like = m->from[0];
    size_t n_groups = (size_t)m->n_groups;
    int64_t *indptr = rw_alloc_array(n_groups + 1, sizeof *indptr);
    m->out = rw_store_new(like->n_out, like->n_in, like->group, m->dtype);
    rw_status st = indptr && m->out ? RW_OK : RW_ENOMEM;
    if (!st) {
        m->out->field[RW_WEIGHT].birth = like->field[RW_WEIGHT].birth;
        indptr[0] = 0;
        for (int32_t g = 0; g < m->n_groups; g++)
            indptr[g + 1] = indptr[g] + m->len[g];
        st = rw_windows_lay(m->out, indptr);
    }
    if (!st)
        st = each_merge_block(m, write_merged_block);
    rw_free(indptr, (n_groups + 1) * sizeof *indptr);
    if (!st)
        m->out->digest = rw_digest_count(m->out);
    if (st)
        rw_store_free(m->out);
    return st;
}

rw_status rw_store_merge(const rw_store *const *from, int32_t k, rw_blend how, int64_t slots,
                         const rw_run *run, rw_store **out)
{
    RW_ASSERT(from && k >= 1 && k <= RW_BLEND_MOST && rw_is_run(run) && out);
    RW_ASSERT(slots >= RW_MERGE_ALL);
    merging m = { .from = from, .k = k, .width = from[0]->group, .n_groups = from[0]->n_groups,
                  .dtype = from[0]->field[RW_WEIGHT].dtype, .how = how, .run = run };
    m.plain = m.width == 1 && m.dtype == RW_F32 && how <= RW_BLEND_HOLDERS;
    for (int32_t i = 1; i < k; i++)
        if (!rw_same_sizes(from[0], from[i]) || from[i]->field[RW_WEIGHT].dtype != m.dtype)
            return RW_ESHAPE;
    int64_t n = 0;
    rw_status st = merging_start(&m);
    if (!st && slots > m.before[m.n_groups])
        st = RW_EFULL;
    m.counts = slots > 0;
    if (!st && slots > 0 && slots < m.before[m.n_groups])
        m.floor = estimate_floor(&m, slots);
    m.drops = m.drops && m.floor;
    m.alone = least_alone(&m);
    m.expected = m.floor ? slots + slots / 16 : 0;
    if (!st)
        st = merge_all(&m, &n);
    if (!st && m.floor && n < slots) {
        m.floor = 0;
        m.drops = false;
        st = merge_all(&m, &n);
    }
    if (!st && n < slots)
        st = RW_EFULL;
    if (!st && slots != RW_MERGE_ALL && n > slots && slots > 0) {
        st = choose_best(&m, slots);
    } else if (!st) {
        m.last = slots == 0 ? UINT64_MAX : 0;
        for (int32_t g = 0; g < m.n_groups; g++)
            m.len[g] = m.ties[g] = slots == 0 ? 0 : m.kept[g];
    }
    if (!st)
        st = build_merged(&m);
    merging_end(&m);
    if (!st)
        *out = m.out;
    return st;
}
