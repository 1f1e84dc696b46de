#include "rules/prune.h"
#include "base/mem.h"
#include "base/par.h"
#include "base/tuning.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Choosing the n smallest of up to 2^40 scored slots, in a few passes that stream
 * the weights:
 *
 *   count  a histogram of scores says in which bin the n-th smallest lies; that
 *          bin is cut into bins in the next pass, until at most MAX_CANDIDATES slots share
 *          it (one pass is enough for most layers, two for nearly all);
 *   mark   a byte a slot says whether it goes. Slots outside the last bin are decided by
 *          their scores; those inside are collected, sorted by (score, tie, slot), and the
 *          first of them marked;
 *   list   the marked slots, in canonical order.
 *
 * Scores are doubles read as integers, which order alike; ties are hashes, drawn for the
 * candidates in the last bin alone. All passes go over PIECES of the store: equally many
 * slots each, in canonical order, wherever groups begin and end. So threads share the
 * work evenly, and polling does not wait for a single huge group. */
enum {
    BIN_BITS = 12,        /* what FIRST_BASE and FIRST_SHIFT cover: 64 octaves of 64 bins */
    BINS = 1 << BIN_BITS,
    MAX_CANDIDATES = RW_PRUNE_SORTED,
    PIECE = RW_PRUNE_PIECE,
    SCORE_CHUNK = 256           /* slots scored at a time: a bound of the stack, 2 KB   */
};

/* Classes of weights; a threshold is found for each by itself. */
enum { POSITIVE = 0, NEGATIVE = 1, CLASSES = 2 };

/* A slot's class is the top bit of its score; NaN comes after everything. */
#define CLASS_BIT ((uint64_t)1 << 63)
#define LAST_SCORE (CLASS_BIT - 1)

/* The first histogram has 64 bins for each octave from 2^-40 to 2^24: this is its
 * lower end as the bits of a double. What lies outside goes to the bins at the ends. */
#define FIRST_BASE ((uint64_t)(1023 - 40) << 52)
enum { FIRST_SHIFT = 52 - 6 };

typedef struct {
    uint64_t score, tie;
    int64_t slot; /* the slot's number in canonical order */
} scored;

/* Where the threshold of a class lies: among the scores low..high or, once these
 * are one, among the ties tie_low..tie_high of that score. */
typedef struct {
    uint64_t low, high, tie_low, tie_high;
    uint64_t base; /* bin of a value: (value - base) >> shift, cut to the bins */
    int shift;
    int64_t sharing; /* slots within the range                                */
    int64_t rest;    /* how many of these go; slots below the range go anyway */
} score_range;

/* What one thread has counted or collected in a pass. */
typedef struct {
    int64_t bins[CLASSES][BINS];
    int32_t n_candidates[CLASSES];
    scored candidates[CLASSES][MAX_CANDIDATES];
} pass_counts;

typedef struct { int32_t group, position; } spot;

typedef struct {
    const rw_store *s;
    rw_key key;
    bool by_sign;
    bool others;         /* list the slots that are not marked            */
    const double *given; /* the caller's scores, by slot; or NULL         */
    const rw_run *run;
    int threads;
    score_range of[CLASSES];
    bool counting[CLASSES]; /* the pass cuts this class's range into bins  */
    int64_t n_pieces;
    spot *begin;            /* first slot of each piece                    */
    int64_t *marked;        /* marked slots of each piece; then of all pieces before it */
    uint8_t *mark;          /* one for each slot, in canonical order       */
    pass_counts *seen;      /* one for each thread                         */
    rw_plan *plan;
} prune;

/* --- scores ------------------------------------------------------------------- */

/* Positive doubles order like their bits. */
static inline uint64_t order_bits(double magnitude)
{
    uint64_t bits;
    memcpy(&bits, &magnitude, sizeof bits);
    return magnitude == magnitude ? bits : LAST_SCORE;
}

/* `group` and `by_sign` are constants where this is called, so each call becomes
 * a vector loop of its own. */
#define SCORE_SLOTS(type, group, by_sign)                                      \
    do {                                                                 \
        const type *w = (const type *)(const void *)field->data + slot * (group); \
        for (int32_t i = 0; i < n; i++) {                                \
            double sum = 0;                                              \
            for (int32_t r = 0; r < (group); r++)                        \
                sum += fabs((double)w[i * (group) + r]);                 \
            bool negative = (by_sign) && w[i] < 0;                       \
            score[i] = order_bits(sum) | (negative ? CLASS_BIT : 0);     \
        }                                                                \
    } while (0)

#define SCORE_TYPE(type)                          \
    do {                                          \
        switch (pr->s->group) {                   \
        case 1:                                   \
            if (pr->by_sign)                      \
                SCORE_SLOTS(type, 1, true);             \
            else                                  \
                SCORE_SLOTS(type, 1, false);            \
            break;                                \
        case 2: SCORE_SLOTS(type, 2, false); break;     \
        case 4: SCORE_SLOTS(type, 4, false); break;     \
        default: SCORE_SLOTS(type, 8, false); break;    \
        }                                         \
    } while (0)

static void score_slots(const prune *pr, int64_t slot, int32_t n, uint64_t *score)
{
    const rw_field *field = &pr->s->field[RW_WEIGHT];
    if (field->dtype == RW_F32)
        SCORE_TYPE(float);
    else
        SCORE_TYPE(double);
}

static int by_order(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    if (x->tie != y->tie)
        return x->tie < y->tie ? -1 : 1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

/* --- pieces ------------------------------------------------------------------- */

/* Walks the slots of a piece. */
typedef struct {
    int32_t group, position;
    int64_t slot, end; /* in canonical order */
} cursor;

static cursor piece_start(const prune *pr, int64_t piece)
{
    int64_t slot = piece * PIECE;
    return (cursor){ pr->begin[piece].group, pr->begin[piece].position, slot,
                     rw_min64(slot + PIECE, pr->s->slots) };
}

/* Slots of this group from here on, at most `most`; not 0 before the end of the piece. */
static int32_t run_here(const prune *pr, cursor *x, int64_t most)
{
    const int32_t *len = pr->s->len;
    most = rw_min64(most, x->end - x->slot);
    while (most && x->position == len[x->group]) {
        x->group++;
        x->position = 0;
    }
    return most ? (int32_t)rw_min64(most, len[x->group] - x->position) : 0;
}

static void advance(cursor *x, int32_t n)
{
    x->position += n;
    x->slot += n;
}

/* Scores of up to SCORE_CHUNK slots from the cursor on, across groups: how many. Loops over
 * scores are long, then, however short the groups. */
static int32_t score_chunk(const prune *pr, cursor *x, uint64_t *score)
{
    int32_t n = 0;
    for (int32_t here; (here = run_here(pr, x, SCORE_CHUNK - n)) > 0; n += here) {
        if (pr->given)
            for (int32_t i = 0; i < here; i++)
                score[n + i] = order_bits(pr->given[x->slot + i] + 0.0); /* -0 is 0 */
        else
            score_slots(pr, pr->s->start[x->group] + x->position, here, score + n);
        advance(x, here);
    }
    return n;
}

/* The tie of the slot that lies i behind a cursor. For a few slots only. */
static uint64_t tie_behind(const prune *pr, cursor x, int32_t i)
{
    for (int32_t here; here = run_here(pr, &x, i), here > 0; i -= here)
        advance(&x, here);
    (void)run_here(pr, &x, 1);
    uint64_t source = (uint64_t)pr->s->source[pr->s->start[x.group] + x.position];
    return rw_draw4(pr->key, RW_DRAW_TIE, (uint64_t)x.group, source).v[0];
}

static void find_pieces(prune *pr)
{
    int64_t before = 0, piece = 0;
    for (int32_t g = 0; g < pr->s->n_groups; g++) {
        int64_t after = before + pr->s->len[g];
        for (; piece * PIECE < after; piece++)
            pr->begin[piece] = (spot){ g, (int32_t)(piece * PIECE - before) };
        before = after;
    }
}

/* Do `work` for every piece; poll now and then. */
static rw_status each_piece(prune *pr, void (*work)(prune *, int64_t piece, pass_counts *))
{
    const rw_run *run = pr->run;
    int64_t round = (int64_t)RW_PRUNE_POLL_PIECES * pr->threads;
    for (int64_t first = 0; first < pr->n_pieces; first += round) {
        int64_t n = rw_min64(round, pr->n_pieces - first);
        RW_PARALLEL_FOR(pr->threads)
        for (int64_t i = 0; i < n; i++)
            work(pr, first + i, &pr->seen[rw_thread_index()]);
        if (run && run->poll && run->poll(run->arg))
            return RW_EINTR;
    }
    return RW_OK;
}

/* --- count -------------------------------------------------------------------- */

/* The first pass: all slots count. */
static void count_all(prune *pr, int64_t piece, pass_counts *t)
{
    uint64_t score[SCORE_CHUNK];
    cursor x = piece_start(pr, piece);
    for (int32_t n; (n = score_chunk(pr, &x, score)) > 0;)
        for (int32_t i = 0; i < n; i++) {
            uint64_t value = score[i] & LAST_SCORE;
            uint64_t bin = value < FIRST_BASE ? 0 : (value - FIRST_BASE) >> FIRST_SHIFT;
            t->bins[score[i] >> 63][bin < BINS ? bin : BINS - 1]++;
        }
}

/* Later ones: those in the ranges that are to be cut. */
static void count_some(prune *pr, int64_t piece, pass_counts *t)
{
    uint64_t score[SCORE_CHUNK];
    cursor x = piece_start(pr, piece), first = x;
    for (int32_t n; (n = score_chunk(pr, &x, score)) > 0; first = x)
        for (int32_t i = 0; i < n; i++) {
            int class = (int)(score[i] >> 63);
            const score_range *c = &pr->of[class];
            uint64_t value = score[i] & LAST_SCORE;
            if (value < c->low || value > c->high || !pr->counting[class])
                continue;
            if (c->low == c->high) {
                value = tie_behind(pr, first, i);
                if (value < c->tie_low || value > c->tie_high)
                    continue;
            }
            uint64_t bin = (value - c->base) >> c->shift;
            t->bins[class][bin]++;
        }
}

/* Bins for the values from `low` to `high`. */
static void cut_range(score_range *c, uint64_t low, uint64_t high)
{
    c->base = low;
    for (c->shift = 0; (high - low) >> c->shift >= BINS; c->shift++)
        continue;
}

/* From the bins of a pass: the one in which the threshold lies. */
static void narrow(score_range *c, const int64_t *bins)
{
    int64_t below = 0, bin = 0;
    while (below + bins[bin] < c->rest)
        below += bins[bin++];
    c->rest -= below;
    c->sharing = bins[bin];

    bool ties = c->low == c->high;
    uint64_t *low = ties ? &c->tie_low : &c->low, *high = ties ? &c->tie_high : &c->high;
    uint64_t first = c->base + ((uint64_t)bin << c->shift), span = ((uint64_t)1 << c->shift) - 1;
    if (bin < BINS - 1 && *high - first > span)
        *high = first + span;
    if (bin > 0)
        *low = first;
    if (c->low == c->high)
        cut_range(c, c->tie_low, c->tie_high);
    else
        cut_range(c, c->low, c->high);
}

/* One pass: bins of both classes, summed over threads into those of the first thread. */
static rw_status count_bins(prune *pr, void (*count_piece)(prune *, int64_t piece, pass_counts *))
{
    for (int t = 0; t < pr->threads; t++)
        memset(pr->seen[t].bins, 0, sizeof pr->seen[t].bins);
    rw_status st = each_piece(pr, count_piece);
    for (int t = 1; t < pr->threads && !st; t++)
        for (int class = 0; class < CLASSES; class++)
            for (int b = 0; b < BINS; b++)
                pr->seen[0].bins[class][b] += pr->seen[t].bins[class][b];
    return st;
}

/* --- mark --------------------------------------------------------------------- */

/* Does a slot in the range of its class, i behind a cursor, go? Where only some do,
 * it is noted. */
static bool goes(const prune *pr, const cursor *x, int32_t i, uint64_t score, pass_counts *t)
{
    int class = (int)(score >> 63);
    const score_range *c = &pr->of[class];
    if (c->rest == 0)
        return false;
    /* If ties are cut, `sharing` counts the slots of these ties. */
    bool ties_cut = c->tie_low > 0 || c->tie_high < UINT64_MAX;
    if (c->rest == c->sharing && !ties_cut)
        return true;
    uint64_t tie = tie_behind(pr, *x, i);
    if (tie < c->tie_low || tie > c->tie_high)
        return tie < c->tie_low;
    if (c->rest == c->sharing)
        return true;
    t->candidates[class][t->n_candidates[class]++] = (scored){ score, tie, x->slot + i };
    return false;
}

static void mark_piece(prune *pr, int64_t piece, pass_counts *t)
{
    uint64_t score[SCORE_CHUNK], low[CLASSES], width[CLASSES];
    int64_t marked = 0;
    for (int class = 0; class < CLASSES; class++) {
        low[class] = pr->of[class].low;
        width[class] = pr->of[class].high - low[class];
    }
    cursor x = piece_start(pr, piece), first = x;
    for (int32_t n; (n = score_chunk(pr, &x, score)) > 0; first = x) {
        uint8_t *mark = pr->mark + first.slot;
        for (int32_t i = 0; i < n; i++) {
            uint64_t class = score[i] >> 63, value = score[i] & LAST_SCORE;
            bool marks = value < low[class];
            if (value - low[class] <= width[class])
                marks = goes(pr, &first, i, score[i], t);
            mark[i] = marks;
            marked += marks;
        }
    }
    pr->marked[piece] = marked;
}

/* Of those that were noted, the first `rest` go. */
static void mark_candidates(prune *pr, int class)
{
    scored *candidates = pr->seen[0].candidates[class];
    int32_t n = pr->seen[0].n_candidates[class];
    for (int t = 1; t < pr->threads; t++) {
        const pass_counts *seen = &pr->seen[t];
        memcpy(candidates + n, seen->candidates[class],
               (size_t)seen->n_candidates[class] * sizeof *candidates);
        n += pr->seen[t].n_candidates[class];
    }
    qsort(candidates, (size_t)n, sizeof *candidates, by_order);
    for (int64_t i = 0; i < n && i < pr->of[class].rest; i++) {
        pr->mark[candidates[i].slot] = 1;
        pr->marked[candidates[i].slot / PIECE]++;
    }
}

static rw_status mark(prune *pr)
{
    for (int t = 0; t < pr->threads; t++)
        for (int class = 0; class < CLASSES; class++)
            pr->seen[t].n_candidates[class] = 0;
    rw_status st = each_piece(pr, mark_piece);
    for (int class = 0; class < CLASSES && !st; class++)
        mark_candidates(pr, class);
    return st;
}

/* --- list --------------------------------------------------------------------- */

static void list_piece(prune *pr, int64_t piece, pass_counts *unused)
{
    (void)unused;
    int32_t chosen[SCORE_CHUNK];
    int64_t at = pr->marked[piece];
    cursor x = piece_start(pr, piece);
    for (int32_t here; (here = run_here(pr, &x, SCORE_CHUNK)) > 0; advance(&x, here)) {
        const uint8_t *mark = pr->mark + x.slot;
        int32_t n = 0;
        for (int32_t i = 0; i < here; i++) { /* each is written, and overwritten unless listed */
            chosen[n] = x.position + i;
            n += mark[i] != pr->others;
        }
        for (int32_t i = 0; i < n; i++) {
            pr->plan->del_group[at + i] = x.group;
            pr->plan->del_position[at + i] = chosen[i];
        }
        at += n;
    }
}

static rw_status list(prune *pr)
{
    int64_t total = 0;
    for (int64_t piece = 0; piece < pr->n_pieces; piece++) {
        int64_t here = pr->marked[piece];
        if (pr->others)
            here = rw_min64(PIECE, pr->s->slots - piece * PIECE) - here;
        pr->marked[piece] = total;
        total += here;
    }
    rw_status st = rw_plan_reserve(pr->plan, total, 0);
    if (!st)
        st = each_piece(pr, list_piece);
    if (!st) {
        pr->plan->n_del = total;
        pr->plan->checked = true;
    }
    return st;
}

/* --- the whole ------------------------------------------------------------------ */

static void prune_end(prune *pr)
{
    size_t n = (size_t)pr->n_pieces;
    rw_free(pr->begin, n * sizeof *pr->begin);
    rw_free(pr->marked, n * sizeof *pr->marked);
    rw_free(pr->mark, (size_t)pr->s->slots);
    rw_free(pr->seen, (size_t)pr->threads * sizeof *pr->seen);
}

/* The plan must be empty. The first histogram is there on success. */
static rw_status prune_start(prune *pr, rw_plan *p, bool by_sign, const double *given, rw_key key,
                             const rw_run *run)
{
    RW_ASSERT(!run || rw_is_run(run));
    const rw_store *s = p->store;
    *pr = (prune){ .s = s, .key = key, .by_sign = by_sign && s->group == 1, .given = given,
                   .run = run, .plan = p };
    if (p->n_del || p->n_ins)
        return RW_ESHAPE;
    if (p->generation != s->generation)
        return RW_ESTALE;
    pr->threads = rw_threads_each(run ? run->threads : 1, s->slots, RW_PRUNE_SLOTS);
    pr->n_pieces = (s->slots + PIECE - 1) / PIECE;
    pr->begin = rw_alloc_array((size_t)pr->n_pieces, sizeof *pr->begin);
    pr->marked = rw_alloc_array((size_t)pr->n_pieces, sizeof *pr->marked);
    pr->mark = rw_alloc((size_t)s->slots);
    pr->seen = rw_alloc_array((size_t)pr->threads, sizeof *pr->seen);
    if (!pr->begin || !pr->marked || !pr->mark || !pr->seen)
        return RW_ENOMEM;
    find_pieces(pr);
    for (int class = 0; class < CLASSES; class++) {
        pr->of[class] =
            (score_range){ 0, LAST_SCORE, 0, UINT64_MAX, FIRST_BASE, FIRST_SHIFT, 0, 0 };
    }
    return count_bins(pr, count_all);
}

static int64_t slots_in(const prune *pr, int class)
{
    int64_t n = 0;
    for (int64_t b = 0; b < BINS; b++)
        n += pr->seen[0].bins[class][b];
    return n;
}

/* Is the range of a class narrow enough to mark? */
static bool settled(const score_range *c)
{
    return c->rest == 0 || c->rest == c->sharing || c->sharing <= MAX_CANDIDATES;
}

/* After the first histogram: narrow both ranges, then list what lies below them. */
static rw_status prune_run(prune *pr, const int64_t wanted[CLASSES])
{
    rw_status st = RW_OK;
    for (int class = 0; class < CLASSES; class++) {
        score_range *c = &pr->of[class];
        c->rest = wanted[class];
        pr->counting[class] = c->rest > 0;
        if (c->rest == 0)
            c->high = 0; /* nothing lies below, and goes() lets nothing go */
    }
    do {
        for (int class = 0; class < CLASSES; class++)
            if (pr->counting[class])
                narrow(&pr->of[class], pr->seen[0].bins[class]);
        bool all = true;
        for (int class = 0; class < CLASSES; class++) {
            pr->counting[class] = !settled(&pr->of[class]);
            all = all && !pr->counting[class];
        }
        if (all)
            break;
        st = count_bins(pr, count_some);
    } while (!st);
    if (!st)
        st = mark(pr);
    return st ? st : list(pr);
}

rw_status rw_plan_prune_set(rw_plan *p, double zeta, rw_key key, const rw_run *run)
{
    prune pr;
    if (!(zeta >= 0 && zeta <= 1))
        return RW_ESHAPE;
    rw_status st = prune_start(&pr, p, true, NULL, key, run);
    if (!st) {
        int64_t wanted[CLASSES];
        for (int class = 0; class < CLASSES; class++) {
            int64_t n = slots_in(&pr, class);
            wanted[class] = rw_min64((int64_t)floor(zeta * (double)n), n);
        }
        st = prune_run(&pr, wanted);
    }
    prune_end(&pr);
    return st;
}

/* The n slots of smallest score, or all but them. */
static rw_status prune_count(rw_plan *p, const double *given, int64_t n, bool others, rw_key key,
                             const rw_run *run)
{
    prune pr;
    if (n < 0 || n > p->store->slots)
        return RW_ESHAPE;
    bool fresh = !p->n_del && !p->n_ins && p->generation == p->store->generation;
    if (!given && fresh && rw_plan_prune_few(p, n, key))
        return RW_OK;
    rw_status st = prune_start(&pr, p, false, given, key, run);
    pr.others = others;
    if (!st)
        st = prune_run(&pr, (const int64_t[CLASSES]){ n, 0 });
    prune_end(&pr);
    return st;
}

rw_status rw_plan_prune_smallest(rw_plan *p, int64_t n, rw_key key, const rw_run *run)
{
    return prune_count(p, NULL, n, false, key, run);
}

rw_status rw_plan_prune_scores(rw_plan *p, const double *score, int64_t n, rw_key key,
                               const rw_run *run)
{
    RW_ASSERT(score || !p->store->slots);
    for (int64_t i = 0; i < p->store->slots; i++)
        if (score[i] < 0)
            return RW_ESHAPE;
    return prune_count(p, score, n, false, key, run);
}

rw_status rw_plan_prune_largest(rw_plan *p, const double *score, int64_t count, rw_key key,
                                const rw_run *run)
{
    RW_ASSERT(score || !p->store->slots);
    return prune_count(p, score, p->store->slots - count, true, key, run);
}
