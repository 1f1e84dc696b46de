/* merge.c -- see merge.h.
 *
 * Of a group, the slots of one store after the other are looked up in a TABLE by source, and either
 * add to a link that is there or begin one: so new links come in runs of ascending sources, one
 * for each store. What cannot be among the best is dropped. The runs of what is left are merged
 * two by two, from both ends at once and without a branch on what they hold; sentinels at both
 * ends of every run make that safe.
 *
 * To keep `slots` of them, a sample of the groups says below which score hardly any can be among
 * the best. What lies below this FLOOR is dropped, and the rest is counted in bins; if fewer are
 * left than wanted, all is done again without a floor. In the bin of the last one that stays,
 * scores are ordered exactly. So the floor changes the time and nothing else.
 *
 * Blocks of groups are merged a ROUND at a time, into memory that stays in the cache, and what is
 * left of them is appended to the candidates: memory that nobody has touched yet is the most
 * expensive part of all. */
#include "store/merge.h"
#include "base/mem.h"
#include "store/blend_parts.h"
#include "store/blocks.h"
#include "store/digest.h"

#include <math.h>
#include <string.h>

enum {
    SCORE_BIN_BITS = 12, /* 64 octaves of 64 bins, as in prune.c */
    SCORE_BINS = 1 << SCORE_BIN_BITS,
    SCORE_BIN_SHIFT = 52 - 6,
    MERGE_CHUNK = 256    /* slots scored at a time: a bound of the stack, 2 KB */
};
#define SCORE_BIN_BASE ((uint64_t)(1023 - 40) << 52)
#define HIGHEST_SCORE (UINT64_MAX >> 1)

/* What one thread needs for a group. */
typedef struct {
    rw_link_table of;
    int64_t had;       /* links of the group before                       */
    int32_t *source;   /* room: of each link, in the order of coming      */
    double *sum;       /* room * width: between two groups the start of the blend */
    double *value;     /* room * width: of the slots of one store         */
    int32_t *holders;  /* room                                            */
    uint64_t *keys[2]; /* room + 2 k: runs, with a sentinel at both ends  */
    int64_t *begin;    /* k: where a run begins                           */
    int64_t *length;   /* k: and its keys                                 */
    int64_t *bins;     /* BINS                                            */
} merge_scratch;

typedef struct {
    const rw_store *const *from;
    int32_t k, width, n_groups;
    rw_dtype dtype;
    rw_blend how;
    const rw_run *run;
    int threads;
    int64_t room;         /* slots that a group has in all stores, at most */
    int64_t *before;      /* n_groups + 1: slots of the groups before, in all stores */
    int64_t n_blocks, round; /* blocks, and of these in a round            */
    merge_scratch *of;          /* one for each thread                           */
    uint64_t floor;       /* scores below it are dropped                   */
    bool counts;          /* are scores counted in bins?                   */
    int32_t *kept;        /* n_groups: slots that are not dropped          */
    int64_t first;        /* slots in all stores before the present round  */
    int64_t round_room;   /* slots of a round, at most                     */
    int32_t *round_source;
    char *round_weight;
    int64_t *at;          /* n_blocks + 1: where the candidates of a block begin */
    int64_t have;         /* candidates there is memory for                */
    int32_t *source;
    char *weight;
    uint64_t last;        /* the score of the last one that stays          */
    int32_t *ties;        /* n_groups: of that score, how many are there; then, how many stay */
    int32_t *len;         /* n_groups: those that stay                     */
    rw_store *out;
} merging;

/* Positive doubles order like their bits. */
static inline uint64_t magnitude_bits(double magnitude)
{
    uint64_t bits;
    memcpy(&bits, &magnitude, sizeof bits);
    return magnitude == magnitude ? bits : HIGHEST_SCORE;
}

static inline int score_bin(uint64_t score)
{
    uint64_t bin = score < SCORE_BIN_BASE ? 0 : (score - SCORE_BIN_BASE) >> SCORE_BIN_SHIFT;
    return bin < SCORE_BINS ? (int)bin : SCORE_BINS - 1;
}

static uint64_t score_bin_begin(int bin)
{
    return bin ? SCORE_BIN_BASE + ((uint64_t)bin << SCORE_BIN_SHIFT) : 0;
}

/* Scores of n slots from `first` on, as their weights are rounded. */
static void merge_scores(const merging *m, const char *weight, int64_t first, int32_t n,
                         uint64_t *out)
{
#define SCORE_MERGED(type)                                                        \
    do {                                                                   \
        const type *w = (const type *)(const void *)weight + first * m->width; \
        for (int32_t i = 0; i < n; i++) {                                  \
            double sum = 0;                                                \
            for (int32_t r = 0; r < m->width; r++)                         \
                sum += fabs((double)w[(int64_t)i * m->width + r]);         \
            out[i] = magnitude_bits(sum);                                      \
        }                                                                  \
    } while (0)
    if (m->dtype == RW_F32 && m->width == 1) {
        const float *w = (const float *)(const void *)weight + first;
        for (int32_t i = 0; i < n; i++)
            out[i] = magnitude_bits(fabs((double)w[i]));
    } else if (m->dtype == RW_F32) {
        SCORE_MERGED(float);
    } else {
        SCORE_MERGED(double);
    }
}

/* --- one group ------------------------------------------------------------------- */

/* Two runs into one. Each has a sentinel before it, below all keys, and one behind, above all. */
static void merge_two(const uint64_t *a, int64_t n_a, const uint64_t *b, int64_t n_b, uint64_t *out)
{
    const uint64_t *a_last = a + n_a - 1, *b_last = b + n_b - 1;
    uint64_t *end = out + n_a + n_b;
    for (int64_t half = (n_a + n_b) / 2; half > 0; half--) {
        uint64_t x = *a, y = *b, first = (uint64_t)(x < y);
        *out++ = y ^ ((x ^ y) & (0 - first));
        a += first;
        b += 1 - first;
        x = *a_last, y = *b_last;
        uint64_t last = (uint64_t)(x > y);
        *--end = y ^ ((x ^ y) & (0 - last));
        a_last -= last;
        b_last -= 1 - last;
    }
    if (out < end)
        *out = *a < *b ? *a : *b;
}

/* Merge k runs of keys; returns the first key of all. */
static const uint64_t *merge_all_runs(merge_scratch *t, int32_t k)
{
    uint64_t *keys = t->keys[0], *other = t->keys[1];
    for (int32_t runs = k; runs > 1; runs = (runs + 1) / 2) {
        for (int32_t i = 0; i < runs; i += 2) {
            int64_t begin = t->begin[i], length = t->length[i];
            if (i + 1 < runs) {
                merge_two(keys + begin, length, keys + t->begin[i + 1], t->length[i + 1],
                          other + begin);
                length += t->length[i + 1];
            } else if (length) {
                memcpy(other + begin, keys + begin, (size_t)length * sizeof *keys);
            }
            other[begin - 1] = 0;
            other[begin + length] = UINT64_MAX;
            t->begin[i / 2] = begin;
            t->length[i / 2] = length;
        }
        uint64_t *swap = keys;
        keys = other;
        other = swap;
    }
    return keys + t->begin[0];
}

/* Look up the slots of one store, and blend their values with those that are there. */
#define LOOK_UP(type, in, width, holds, two)                                 \
    for (int32_t p = 0; p < len; p++) {                                      \
        uint32_t found = entry[source[p]];                                   \
        int32_t known = found >= base, fresh = 1 - known;                    \
        uint32_t next = (uint32_t)n;  /* differences of places may wrap */       \
        int32_t at = (int32_t)(next + (found - base - next) * (uint32_t)known); \
        entry[source[p]] = base + (uint32_t)at;                              \
        place[at] = source[p];                                               \
        if (holds)                                                           \
            holders[at] = known ? holders[at] + 1 : 1;                       \
        for (int32_t r = 0; r < (width); r++) {                              \
            double have = sum[(int64_t)at * (width) + r];                    \
            double value = (double)(in)[(int64_t)p * (width) + r];           \
            sum[(int64_t)at * (width) + r] = (two);                          \
        }                                                                    \
        n += fresh;                                                          \
    }

/* The links that the stores have in group g, in t, store by store: t->begin and t->length say which
 * of them began with which store. How many. */
static int32_t collect_links(const merging *m, merge_scratch *t, int32_t g)
{
    rw_table_next(&t->of, m->from[0]->n_in, t->had, m->room);
    uint32_t *entry = t->of.entry, base = t->of.base;
    int32_t *place = t->source, *holders = t->holders;
    double *sum = t->sum;
    const int32_t width = m->width;
    const bool adds = m->how <= RW_BLEND_HOLDERS, holds = m->how == RW_BLEND_HOLDERS;
    int32_t n = 0;
    for (int32_t i = 0; i < m->k; i++) {
        const rw_store *s = m->from[i];
        int32_t len = s->len[g];
        t->begin[i] = n;
        const int32_t *source = len ? s->source + s->start[g] : NULL;
        if (adds && !holds && width == 1 && m->dtype == RW_F32 && len) {
            const float *in = (const float *)(const void *)s->field[RW_WEIGHT].data + s->start[g];
            LOOK_UP(float, in, 1, false, have + value)
        } else if (len) {
            rw_values_read(&s->field[RW_WEIGHT], s->start[g], len, t->value);
            if (adds) {
                LOOK_UP(double, t->value, width, holds, have + value)
            } else {
                LOOK_UP(double, t->value, width, false, rw_blend_two(m->how, have, value))
            }
        }
        t->length[i] = n - t->begin[i];
    }
    t->had = n;
    rw_blend_finish(m->how, m->k, width, n, t->holders, t->sum);
    return n;
}

/* The score of a link, from its weights as they will be rounded. */
static uint64_t score_of_sums(const merging *m, const double *sum)
{
    double all = 0;
    for (int32_t r = 0; r < m->width; r++)
        all += fabs(m->dtype == RW_F32 ? (double)(float)sum[r] : sum[r]);
    return magnitude_bits(all);
}

/* The slots of group g that do not lie below the floor, in order: sources and weights; how many. */
static int32_t merge_group(const merging *m, merge_scratch *t, int32_t g, int32_t *source,
                           char *weight)
{
    int32_t links = collect_links(m, t, g), n = 0;
    int64_t at = 0;
    const bool plain = m->width == 1 && m->dtype == RW_F32; /* the weight is a part of the key */
    double floor, start = rw_blend_start(m->how);
    memcpy(&floor, &m->floor, sizeof floor);
    for (int32_t i = 0; i < m->k; i++) {
        int64_t first = t->begin[i], end = first + t->length[i];
        uint64_t *key = t->keys[0] + at;
        *key++ = 0;
        if (plain)
            for (int64_t p = first; p < end; p++) {
                float value = (float)t->sum[p];
                uint32_t bits;
                memcpy(&bits, &value, sizeof bits);
                *key = ((uint64_t)t->source[p] + 1) << 32 | bits;
                key += !((double)fabsf(value) < floor); /* not a number is not below */
            }
        else
            for (int64_t p = first; p < end; p++) {
                *key = ((uint64_t)t->source[p] + 1) << 32 | (uint64_t)p;
                key += score_of_sums(m, t->sum + p * m->width) >= m->floor;
            }
        t->begin[i] = at + 1;
        t->length[i] = key - t->keys[0] - (at + 1);
        *key++ = UINT64_MAX;
        at = key - t->keys[0];
        n += (int32_t)t->length[i];
    }
    const uint64_t *key = merge_all_runs(t, m->k);
    for (int32_t i = 0; i < n; i++)
        source[i] = (int32_t)(key[i] >> 32) - 1;
    if (plain)
        for (int32_t i = 0; i < n; i++) {
            uint32_t bits = (uint32_t)key[i];
            memcpy(weight + (size_t)i * sizeof bits, &bits, sizeof bits);
        }
    else
        for (int32_t i = 0; i < n; i++)
            rw_values_write(m->dtype, weight, (int64_t)i * m->width, m->width,
                         t->sum + (int64_t)(key[i] & UINT32_MAX) * m->width);
    for (int64_t i = 0; i < (int64_t)links * m->width; i++)
        t->sum[i] = start;
    return n;
}

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
        int64_t want = rw_max64(m->at[end], m->have + m->have / 2);
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

static void count_merged_block(const void *arg, int64_t b)
{
    const merging *m = arg;
    uint64_t score[MERGE_CHUNK];
    int64_t at = m->at[b];
    for (int32_t g = merge_block_group(m, b); g < merge_block_group(m, b + 1); at += m->kept[g++]) {
        int32_t better = 0, ties = 0;
        for (int32_t i = 0; i < m->kept[g]; i += MERGE_CHUNK) {
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
static uint64_t estimate_floor(const merging *m, int64_t slots)
{
    merge_scratch *t = &m->of[0];
    int64_t bins[SCORE_BINS] = { 0 }, in = 0, n = 0;
    int64_t step = rw_max64(RW_MERGE_SAMPLE_PART, m->n_groups / RW_MERGE_SAMPLE_MOST);
    if (m->n_groups < RW_MERGE_SAMPLE_LEAST)
        return 0;
    for (int64_t g = step / 2; g < m->n_groups; g += step) {
        int32_t here = collect_links(m, t, (int32_t)g);
        in += m->before[g + 1] - m->before[g];
        n += here;
        for (int32_t i = 0; i < here; i++)
            bins[score_bin(score_of_sums(m, t->sum + (int64_t)i * m->width))]++;
        for (int64_t i = 0; i < (int64_t)here * m->width; i++)
            t->sum[i] = rw_blend_start(m->how);
    }
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

/* The k-th largest of n scores, which are overwritten: byte by byte from the top. */
static uint64_t kth_best(uint64_t *a, int64_t n, int64_t k)
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
        for (int64_t i = 0; i < n; i++) {
            uint64_t score = a[i];
            a[kept] = score;
            kept += (score >> shift & UINT8_MAX) == byte;
        }
        n = kept;
    }
    return a[0];
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
            if (score_bin(score[j]) == bin)
                sharing[n++] = score[j];
    }
    m->last = kth_best(sharing, n, slots - better);
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
    t->of.entry = rw_calloc_array((size_t)m->from[0]->n_in, sizeof *t->of.entry);
    t->of.base = 1;
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
    return t->of.entry && t->keys[0] && t->keys[1] && t->begin && t->length && t->value && t->sum
        && t->source && t->holders && t->bins;
}

static void merge_scratch_free(const merging *m, merge_scratch *t)
{
    size_t room = (size_t)m->room, values = room * (size_t)m->width, k = (size_t)m->k;
    rw_free(t->of.entry, (size_t)m->from[0]->n_in * sizeof *t->of.entry);
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
    if (!st)
        st = merge_all(&m, &n);
    if (!st && m.floor && n < slots) {
        m.floor = 0;
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
