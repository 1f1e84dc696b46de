/* merge_group.h -- what merge.c does with one group, and all that a merge knows.
 *
 * Where float32 are summed, one to a slot, which is what nearly all merges are, a link goes to the RANK of
 * its source among all that the stores have in this group. Where ranks do not pay, a KEY is a source and a
 * weight. Runs of keys, one of each store, are merged two by two, and neighbours of one source are
 * added up in the order of stores. If so many links stay that those below a FLOOR cannot be among
 * them, they are left out before anything is merged, unless several stores have them: few keys are left.
 *
 * All else is looked up in a TABLE by source, store by store, and either adds to a link that is
 * there or begins one: so new links come in runs of ascending sources, whose keys are merged. */
#ifndef RW_MERGE_GROUP_H
#define RW_MERGE_GROUP_H

#include "base/mem.h"
#include "store/blend_parts.h"
#include "store/rank.h"

#include <math.h>
#include <string.h>

enum {
    SCORE_BIN_BITS = 12, /* 64 octaves of 64 bins, as in prune.c */
    SCORE_BINS = 1 << SCORE_BIN_BITS,
    SCORE_BIN_SHIFT = 52 - 6,
    FLOAT_BIN_SHIFT = 23 - 6, /* the same bins of a float's bits */
    MERGE_CHUNK = 256,   /* slots scored at a time: a bound of the stack, 2 KB */
    SEEN_LEAST = 64,
    SEEN_MOST = 16384,   /* places for sources that were seen: half a first-level cache */
    SEEN_A_LINK = 64,    /* for each link, so that hardly any share one */
    STAMP_FIRST = 2,     /* what a group begins with in such a place: even; one more is seen twice */
    STAMP_END = 256,
    CLOSED_UP = -1       /* of `ties`: this group has what stays */
};
#define SCORE_BIN_BASE ((uint64_t)(1023 - 40) << 52)
#define FLOAT_BIN_BASE ((uint64_t)(127 - 40) << 23)
#define HIGHEST_SCORE (UINT64_MAX >> 1)
#define NO_NUMBER 0x7f800001u /* a float's bits, one more than infinity */

/* What one thread needs for a group. */
typedef struct {
    rw_link_table of;  /* unless it is plain                              */
    int64_t had;       /* links of the group before                       */
    uint8_t *seen;     /* m->places, if it is: the stamp of the last group that has the source */
    int stamp;         /* of this group                                   */
    rw_rank_word *rank; /* m->words: zero between two groups */
    int32_t *source;   /* room: of each link, in the order of coming      */
    double *sum;       /* room * width: between two groups the start of the blend */
    double *value;     /* room * width: of the slots of one store         */
    int32_t *holders;  /* room                                            */
    uint64_t *keys[2]; /* room + 2 k: runs, with a sentinel at both ends  */
    int64_t *begin;    /* k: where a run begins                           */
    int64_t *length;   /* k: and its keys                                 */
    int64_t *bins;     /* BINS                                            */
    uint64_t digest;   /* of what this thread has put into windows        */
} merge_scratch;

typedef struct {
    const rw_store *const *from;
    int32_t k, width, n_groups;
    rw_dtype dtype;
    rw_blend how;
    const rw_run *run;
    int threads;
    bool plain;           /* are float32 summed, one to a slot? Then the weight is a part of the key */
    bool drops;           /* is it worth while to look at links of one store before a merge? */
    uint32_t alone;       /* the least magnitude, as bits, that is not below the floor where one store
                             has the link                                   */
    int64_t words;        /* of bits for all sources; 0 where ranks do not pay */
    uint32_t places;      /* for sources that were seen, a power of two    */
    int64_t room;         /* slots that a group has in all stores, at most */
    int64_t *before;      /* n_groups + 1: slots of the groups before, in all stores */
    int64_t n_blocks, round; /* blocks, and of these in a round            */
    merge_scratch *of;          /* one for each thread                           */
    uint64_t floor;       /* scores below it are dropped                   */
    uint64_t ceiling;     /* the last one that stays scores less, most likely */
    uint64_t bin_base;    /* the least score of bin 1, but for what lies below all */
    int bin_shift;
    int64_t first;        /* slots in all stores before the present round  */
    int64_t round_room;   /* slots of a round, at most                     */
    int32_t *round_source;
    char *round_weight;
    int64_t expected;     /* slots that there will be above the floor, more or less */
    uint64_t last;        /* the score of the last one that stays          */
    int32_t *ties;        /* n_groups: of that score, how many may stay, and then how many were there;
                             or CLOSED_UP                                   */
    rw_store *out;        /* what lies above the floor, and in the end what stays */
} merging;

/* Positive doubles order like their bits. */
static inline uint64_t magnitude_bits(double magnitude)
{
    uint64_t bits;
    memcpy(&bits, &magnitude, sizeof bits);
    return magnitude == magnitude ? bits : HIGHEST_SCORE;
}

static inline int score_bin(const merging *m, uint64_t score)
{
    uint64_t bin = score < m->bin_base ? 0 : (score - m->bin_base) >> m->bin_shift;
    return bin < SCORE_BINS ? (int)bin : SCORE_BINS - 1;
}

static uint64_t score_bin_begin(const merging *m, int bin)
{
    return bin ? m->bin_base + ((uint64_t)bin << m->bin_shift) : 0;
}

/* The score of weight i where all is plain: its magnitude as bits, which order like the numbers; what
 * is not a number is the highest. */
static inline uint32_t plain_score(const char *weight, int64_t i)
{
    uint32_t bits;
    memcpy(&bits, weight + (size_t)i * sizeof bits, sizeof bits);
    bits &= INT32_MAX;
    return bits < NO_NUMBER ? bits : NO_NUMBER;
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
    if (m->plain) {
        for (int32_t i = 0; i < n; i++)
            out[i] = plain_score(weight, first + i);
    } else if (m->dtype == RW_F32) {
        SCORE_MERGED(float);
    } else {
        SCORE_MERGED(double);
    }
}

/* --- one group ------------------------------------------------------------------- */

/* One step of a merge from its front on, or from its end: of one source the first run's key comes
 * first. Selected without a branch, which would be mispredicted every other time: the sign of a
 * difference says which key it is. */
#define TAKE_FIRST(a, b, to)                                                      \
    do {                                                                          \
        uint64_t x = *(a), y = *(b), later = ((y | UINT32_MAX) - x) >> 63;        \
        *(to) = x ^ ((x ^ y) & (0 - later));                                      \
        (a) += 1 - later;                                                         \
        (b) += later;                                                             \
    } while (0)
#define TAKE_LAST(a, b, to)                                                       \
    do {                                                                          \
        uint64_t x = *(a), y = *(b), later = ((y | UINT32_MAX) - x) >> 63;        \
        *(to) = y ^ ((x ^ y) & (0 - later));                                      \
        (a) -= later;                                                             \
        (b) -= 1 - later;                                                         \
    } while (0)

/* How many of the first `n` keys of two merged runs come from the first. */
static int64_t split_runs(const uint64_t *a, int64_t n_a, const uint64_t *b, int64_t n_b, int64_t n)
{
    int64_t low = rw_max64(0, n - n_b), left = rw_min64(n, n_a) - low;
    while (left > 0) { /* a[low + half] is among them if it precedes what would be the last of b */
        int64_t half = left / 2;
        int64_t among = (int64_t)(a[low + half] <= (b[n - low - half - 1] | UINT32_MAX));
        low += (half + 1) & (0 - among);
        left = half + ((left - 2 * half - 1) & (0 - among));
    }
    return low;
}

/* Two runs into one, in the order of sources. Each has a sentinel before it, below all keys, and one
 * behind, above all. A step waits for the one before, so there are four rows of steps beside each
 * other: from both ends, and from the middle to both sides. */
static void merge_two(const uint64_t *a, int64_t n_a, const uint64_t *b, int64_t n_b, uint64_t *out)
{
    int64_t n = n_a + n_b, middle = n / 2, quarter = n / 4;
    int64_t of_a = split_runs(a, n_a, b, n_b, middle);
    const uint64_t *a_middle = a + of_a, *b_middle = b + (middle - of_a);
    const uint64_t *a_back = a_middle - 1, *b_back = b_middle - 1;
    const uint64_t *a_last = a + n_a - 1, *b_last = b + n_b - 1;
    uint64_t *from_middle = out + middle;
    for (int64_t i = 0; i < quarter; i++) {
        TAKE_FIRST(a, b, out + i);
        TAKE_LAST(a_back, b_back, from_middle - 1 - i);
        TAKE_FIRST(a_middle, b_middle, from_middle + i);
        TAKE_LAST(a_last, b_last, out + n - 1 - i);
    }
    for (int64_t i = quarter; i < middle - quarter; i++)
        TAKE_FIRST(a, b, out + i);
    for (int64_t i = quarter; i < n - middle - quarter; i++)
        TAKE_FIRST(a_middle, b_middle, from_middle + i);
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
            other[begin + length] = INT64_MAX;
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
#define LOOK_UP(in, width, holds, two)                                       \
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
            double value = (in)[(int64_t)p * (width) + r];                   \
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
        if (len) {
            rw_values_read(&s->field[RW_WEIGHT], s->start[g], len, t->value);
            if (adds) {
                LOOK_UP(t->value, width, holds, have + value)
            } else {
                LOOK_UP(t->value, width, false, rw_blend_two(m->how, have, value))
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
    if (m->plain) {
        float value = (float)*sum;
        return plain_score((const char *)&value, 0);
    }
    double all = 0;
    for (int32_t r = 0; r < m->width; r++)
        all += fabs(m->dtype == RW_F32 ? (double)(float)sum[r] : sum[r]);
    return magnitude_bits(all);
}

/* Slot p of a plain store as a key. */
static inline uint64_t weight_key(const int32_t *source, const char *weight, int32_t p)
{
    uint32_t bits;
    memcpy(&bits, weight + (size_t)p * sizeof bits, sizeof bits);
    return ((uint64_t)(uint32_t)source[p] + 1) << 32 | bits;
}

/* Stamp the sources of group g, so that the last bit says which of them come more than once, or share
 * a place with another one. */
static void note_sources(const merging *m, merge_scratch *t, int32_t g)
{
    uint8_t *seen = t->seen;
    const uint32_t mask = m->places - 1;
    t->stamp += 2;
    if (t->stamp >= STAMP_END) {
        memset(seen, 0, m->places);
        t->stamp = STAMP_FIRST;
    }
    const int stamp = t->stamp;
    for (int32_t i = 0; i < m->k; i++) {
        const rw_store *s = m->from[i];
        const int32_t *source = s->source + s->start[g], *end = source + s->len[g];
        if (i == 0) /* nothing was seen before */
            while (source < end)
                seen[(uint32_t)*source++ & mask] = (uint8_t)stamp;
        while (source < end) {
            uint8_t *of = seen + ((uint32_t)*source++ & mask);
            *of = (uint8_t)(stamp + (*of >= stamp));
        }
    }
}

/* The runs of keys of group g: without those links that lie below the floor and that one store alone
 * has. How many keys. */
static int64_t gather_keys(const merging *m, merge_scratch *t, int32_t g)
{
    const uint32_t alone = m->alone, mask = m->places - 1;
    const uint8_t *seen = t->seen;
    int64_t at = 0, n = 0;
    if (m->drops)
        note_sources(m, t, g);
    for (int32_t i = 0; i < m->k; i++) {
        const rw_store *s = m->from[i];
        const int32_t *source = s->source + s->start[g];
        const char *weight = s->field[RW_WEIGHT].data + (size_t)s->start[g] * sizeof(uint32_t);
        uint64_t *key = t->keys[0] + at;
        int32_t len = s->len[g];
        *key++ = 0;
        t->begin[i] = at + 1;
        if (m->drops) {
            for (int32_t p = 0; p < len; p++) {
                *key = weight_key(source, weight, p);
                key += (seen[(uint32_t)source[p] & mask] & 1) | (((uint32_t)*key & INT32_MAX) >= alone);
            }
        } else {
            for (int32_t p = 0; p < len; p++)
                key[p] = weight_key(source, weight, p);
            key += len;
        }
        t->length[i] = key - t->keys[0] - (at + 1);
        n += t->length[i];
        *key++ = INT64_MAX;
        at = key - t->keys[0];
    }
    return n;
}

/* The links of group g in the order of their ranks: sources and sums of weights, in t. How many. */
RW_RANK_TARGET static int64_t add_by_rank(const merging *m, merge_scratch *t, int32_t g)
{
    rw_rank_word *words = t->rank;
    for (int32_t i = 0; i < m->k; i++)
        rw_rank_mark(words, m->from[i]->source + m->from[i]->start[g], m->from[i]->len[g]);
    int64_t n = rw_rank_count(words, m->words);
    int32_t *place = t->source, *holders = t->holders;
    double *sum = t->sum;
    const bool holds = m->how == RW_BLEND_HOLDERS;
    if (holds)
        memset(holders, 0, (size_t)n * sizeof *holders);
    for (int32_t i = 0; i < m->k; i++) {
        const rw_store *s = m->from[i];
        const int32_t *source = s->source + s->start[g];
        const float *weight = (const float *)(const void *)s->field[RW_WEIGHT].data + s->start[g];
        int32_t len = s->len[g];
        for (int32_t p = 0; p < len; p++) {
            int64_t at = rw_rank(words, source[p]);
            place[at] = source[p];
            sum[at] += (double)weight[p];
            if (holds)
                holders[at]++;
        }
    }
    memset(words, 0, (size_t)m->words * sizeof *words);
    return n;
}

/* The same from runs of keys, but for those that gather_keys drops. */
static int64_t add_by_runs(const merging *m, merge_scratch *t, int32_t g)
{
    int64_t n = gather_keys(m, t, g), at = -1;
    const uint64_t *key = merge_all_runs(t, m->k);
    int32_t *place = t->source, *holders = t->holders;
    double *sum = t->sum;
    const bool holds = m->how == RW_BLEND_HOLDERS;
    uint32_t before = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)key[i], source = (uint32_t)(key[i] >> 32);
        float value;
        memcpy(&value, &bits, sizeof value);
        int32_t fresh = source != before;
        before = source;
        at += fresh;
        place[at] = (int32_t)(source - 1);
        sum[at] += (double)value;
        if (holds)
            holders[at] = fresh ? 1 : holders[at] + 1;
    }
    return at + 1;
}

/* Weights are read after all sources of the group: asked for now, they are there by then. */
static void ask_for_weights(const merging *m, int32_t g)
{
#if defined(__GNUC__)
    for (int32_t i = 0; i < m->k; i++) {
        const rw_store *s = m->from[i];
        const char *weight = s->field[RW_WEIGHT].data + (size_t)s->start[g] * sizeof(float);
        for (size_t at = 0; at < (size_t)s->len[g] * sizeof(float); at += RW_ALIGNMENT)
            __builtin_prefetch(weight + at);
    }
#else
    (void)m;
    (void)g;
#endif
}

/* The blended links of group g, in t; t->sum has to be cleared of as many. How many. */
static int32_t merge_plain(const merging *m, merge_scratch *t, int32_t g)
{
    ask_for_weights(m, g);
    bool dense = m->words && m->words <= m->before[g + 1] - m->before[g];
    int64_t n = dense && !m->drops ? add_by_rank(m, t, g) : add_by_runs(m, t, g);
    rw_blend_finish(m->how, m->k, 1, n, t->holders, t->sum);
    return (int32_t)n;
}

/* m->alone for m->floor: rounding and dividing keep the order of magnitudes. */
static uint32_t least_alone(const merging *m)
{
    uint32_t low = 0, high = NO_NUMBER; /* that is the highest, and stays */
    while (low < high) {
        uint32_t bits = low + (high - low) / 2;
        float value;
        memcpy(&value, &bits, sizeof value);
        double alone = m->how == RW_BLEND_MEAN ? (double)value / m->k : (double)value;
        if (score_of_sums(m, &alone) < m->floor)
            low = bits + 1;
        else
            high = bits;
    }
    return low;
}

/* The same for what is not plain, from `links` that collect_links found: pairs of source and place
 * in order, of which none lies below the floor. How many; the first of them in *first. */
static int32_t order_links(const merging *m, merge_scratch *t, const uint64_t **first)
{
    int64_t at = 0;
    int32_t n = 0;
    for (int32_t i = 0; i < m->k; i++) {
        int64_t from = t->begin[i], end = from + t->length[i];
        uint64_t *key = t->keys[0] + at;
        *key++ = 0;
        for (int64_t p = from; p < end; p++) {
            *key = ((uint64_t)t->source[p] + 1) << 32 | (uint64_t)p;
            key += score_of_sums(m, t->sum + p * m->width) >= m->floor;
        }
        t->begin[i] = at + 1;
        t->length[i] = key - t->keys[0] - (at + 1);
        *key++ = INT64_MAX;
        at = key - t->keys[0];
        n += (int32_t)t->length[i];
    }
    *first = merge_all_runs(t, m->k);
    return n;
}

/* All links of group g, in t; in the order of coming unless it is plain, where some that lie below
 * the floor are left out. */
static int32_t blend_links(const merging *m, merge_scratch *t, int32_t g)
{
    return m->plain ? merge_plain(m, t, g) : collect_links(m, t, g);
}

static void clear_sums(const merging *m, const merge_scratch *t, int32_t links)
{
    double start = rw_blend_start(m->how);
    for (int64_t i = 0; i < (int64_t)links * m->width; i++)
        t->sum[i] = start;
}

/* The slots of group g that do not lie below the floor, in order: sources and weights; how many. */
static int32_t merge_group(const merging *m, merge_scratch *t, int32_t g, int32_t *source,
                           char *weight)
{
    int32_t links = blend_links(m, t, g), n = 0;
    if (m->plain) {
        const uint32_t least = (uint32_t)m->floor;
        const double none = rw_blend_start(m->how);
        for (int32_t i = 0; i < links; i++) { /* each is written, and overwritten unless it stays */
            float value = (float)t->sum[i];
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            t->sum[i] = none;
            source[n] = t->source[i];
            memcpy(weight + (size_t)n * sizeof bits, &bits, sizeof bits);
            n += (bits & INT32_MAX) >= least;
        }
    } else {
        const uint64_t *key;
        n = order_links(m, t, &key);
        for (int32_t i = 0; i < n; i++) {
            source[i] = (int32_t)(key[i] >> 32) - 1;
            rw_values_write(m->dtype, weight, (int64_t)i * m->width, m->width,
                            t->sum + (int64_t)(key[i] & UINT32_MAX) * m->width);
        }
        clear_sums(m, t, links);
    }
    return n;
}

#endif
