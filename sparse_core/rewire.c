#include "rewire.h"
#include "mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Choosing the n smallest of up to 2^40 scored slots without an array as long
 * as the store. Slots are ordered by (score, tie, place in the store); score and
 * tie are 64-bit words, read as digits of 12 bits from the top. One pass over
 * the slots counts a digit of those that still share the threshold's prefix;
 * a few passes leave so few that they can be collected and sorted. (More than
 * FEW slots equal in all 128 bits do not happen: ties are 64 random bits.) */
enum {
    DIGIT_BITS = 12,
    BINS = 1 << DIGIT_BITS,
    WORD_DIGITS = 6,               /* of a 64-bit word: 12 bits, the last one 4 */
    DIGITS = 2 * WORD_DIGITS,
    FEW = 4096,                    /* collect and sort from here on             */
    SLOTS_BETWEEN_POLLS = 4000000  /* about 20 ms at 5 ns a slot                */
};

/* Weights of a class compete with each other only. */
enum { POSITIVE = 0, NEGATIVE = 1, CLASSES = 2 };

typedef struct {
    uint64_t score, tie;
    int64_t place;
} scored;

typedef struct {
    int64_t wanted;    /* how many of the class go                             */
    bool done;         /* the threshold is known                               */
    int digit;         /* digits of the threshold known so far                 */
    uint64_t score, tie; /* those digits, zeros behind                         */
    int64_t rest;      /* how many go among the slots that share them          */
    int64_t sharing;   /* and how many share them                              */
    uint64_t least, most; /* scores seen among them in the last pass           */
    int64_t bins[BINS];
    scored few[FEW];
    int64_t n_few;
    scored last;       /* the greatest that goes                               */
} selection;

typedef struct {
    const rw_store *s;
    rw_key key;
    bool by_sign;
    selection of[CLASSES];
} prune;

static uint64_t digit_of(uint64_t score, uint64_t tie, int digit)
{
    uint64_t word = digit < WORD_DIGITS ? score : tie;
    int shift = 64 - DIGIT_BITS * (digit % WORD_DIGITS + 1);
    /* The last digit of a word has the 4 bits that are left. */
    return (shift >= 0 ? word >> shift : word << -shift) & (BINS - 1);
}

/* Do the first `digits` digits agree with the threshold's? */
static bool shares(const selection *c, uint64_t score, uint64_t tie)
{
    int in_score = c->digit < WORD_DIGITS ? c->digit : WORD_DIGITS;
    int in_tie = c->digit - in_score;
    int rest_score = 64 - DIGIT_BITS * in_score, rest_tie = 64 - DIGIT_BITS * in_tie;
    if (in_score && (rest_score > 0 ? (score ^ c->score) >> rest_score : score ^ c->score))
        return false;
    return !in_tie || !(rest_tie > 0 ? (tie ^ c->tie) >> rest_tie : tie ^ c->tie);
}

/* Positive doubles order like their bits; NaN comes after all of them. */
static uint64_t order_bits(double magnitude)
{
    uint64_t bits;
    if (isnan(magnitude))
        return UINT64_MAX;
    memcpy(&bits, &magnitude, sizeof bits);
    return bits;
}

/* What a pass sees of one live slot. */
typedef struct {
    uint64_t score;
    int class;
    int32_t group, position;
    int64_t slot;
    int64_t place; /* its number in canonical order */
} seen;

static inline seen look_at(const prune *pr, int32_t g, int32_t k, int64_t place)
{
    const rw_field *w = &pr->s->field[RW_WEIGHT];
    int32_t group = pr->s->group;
    seen one = { 0, POSITIVE, g, k, pr->s->start[g] + k, place };
    double sum = 0;
    for (int32_t r = 0; r < group; r++) {
        int64_t at = one.slot * group + r;
        double v = w->dtype == RW_F32 ? (double)((const float *)(const void *)w->data)[at]
                                      : ((const double *)(const void *)w->data)[at];
        if (group == 1 && pr->by_sign && v < 0)
            one.class = NEGATIVE;
        sum += fabs(v);
    }
    one.score = order_bits(sum);
    return one;
}

static inline uint64_t tie_of(const prune *pr, const seen *one)
{
    uint64_t source = (uint64_t)pr->s->source[one->slot];
    return rw_draw4(pr->key, RW_DRAW_TIE, (uint64_t)one->group, source).v[0];
}

/* Show every live slot to `visit`, in canonical order; poll now and then. */
static inline rw_status each_slot(prune *pr, const rw_run *run, void *data,
                                  void (*visit)(prune *, const seen *, void *))
{
    int64_t place = 0, polled = 0;
    for (int32_t g = 0; g < pr->s->n_groups; g++) {
        for (int32_t k = 0; k < pr->s->len[g]; k++) {
            seen one = look_at(pr, g, k, place++);
            visit(pr, &one, data);
        }
        if (place - polled > SLOTS_BETWEEN_POLLS) {
            polled = place;
            if (run && run->poll && run->poll(run->arg))
                return RW_EINTR;
        }
    }
    return RW_OK;
}

static int by_order(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    if (x->tie != y->tie)
        return x->tie < y->tie ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

/* From the bins of a pass: the next digit of the threshold. */
static void narrow(selection *c)
{
    int64_t below = 0;
    int bin = 0;
    while (below + c->bins[bin] < c->rest)
        below += c->bins[bin++];
    c->rest -= below;
    c->sharing = c->bins[bin];
    int digit = c->digit++;
    int shift = 64 - DIGIT_BITS * (digit % WORD_DIGITS + 1);
    uint64_t bits = shift >= 0 ? (uint64_t)bin << shift : (uint64_t)bin >> -shift;
    if (digit < WORD_DIGITS)
        c->score |= bits;
    else
        c->tie |= bits;
    /* All sharers equal in score: only ties can tell them apart. */
    if (c->least == c->most && c->digit < WORD_DIGITS) {
        c->score = c->least;
        c->digit = WORD_DIGITS;
    }
}

/* Count one digit of a slot that shares the threshold's prefix, or collect the
 * slot where few do. */
static void count_or_collect(prune *pr, const seen *one, void *unused)
{
    (void)unused;
    selection *c = &pr->of[one->class];
    if (c->done || !shares(c, one->score, c->tie))
        return;
    bool collect = c->sharing <= FEW;
    uint64_t tie = 0;
    if (collect || c->digit >= WORD_DIGITS) {
        tie = tie_of(pr, one);
        if (!shares(c, one->score, tie))
            return;
    }
    if (collect) {
        c->few[c->n_few++] = (scored){ one->score, tie, one->place };
        return;
    }
    c->least = one->score < c->least ? one->score : c->least;
    c->most = one->score > c->most ? one->score : c->most;
    c->bins[digit_of(one->score, tie, c->digit)]++;
}

static rw_status pass(prune *pr, const rw_run *run)
{
    for (int i = 0; i < CLASSES; i++) {
        selection *c = &pr->of[i];
        memset(c->bins, 0, sizeof c->bins);
        c->n_few = 0;
        c->least = UINT64_MAX;
        c->most = 0;
    }
    rw_status st = each_slot(pr, run, NULL, count_or_collect);
    for (int i = 0; i < CLASSES && !st; i++) {
        selection *c = &pr->of[i];
        if (c->done)
            continue;
        if (c->n_few) {
            qsort(c->few, (size_t)c->n_few, sizeof c->few[0], by_order);
            c->last = c->few[c->rest - 1];
            c->done = true;
        } else {
            narrow(c);
        }
    }
    return st;
}

static void count_class(prune *pr, const seen *one, void *count)
{
    (void)pr;
    ((int64_t *)count)[one->class]++;
}

/* List a slot for removal if it is among those that go. */
static void list_removal(prune *pr, const seen *one, void *plan)
{
    const selection *c = &pr->of[one->class];
    if (!c->wanted || one->score > c->last.score)
        return;
    if (one->score == c->last.score) {
        uint64_t tie = tie_of(pr, one);
        if (tie > c->last.tie || (tie == c->last.tie && one->place > c->last.place))
            return;
    }
    rw_plan *p = plan;
    p->del_group[p->n_del] = one->group;
    p->del_position[p->n_del] = one->position;
    p->n_del++;
}

/* Find both thresholds, then list what lies below them. */
static rw_status prune_run(prune *pr, rw_plan *p, const int64_t count[CLASSES],
                           const int64_t wanted[CLASSES], const rw_run *run)
{
    for (int i = 0; i < CLASSES; i++) {
        selection *c = &pr->of[i];
        c->wanted = c->rest = wanted[i];
        c->sharing = count[i];
        c->done = wanted[i] == 0;
    }
    rw_status st = rw_plan_reserve(p, wanted[POSITIVE] + wanted[NEGATIVE], 0);
    while (!st && !(pr->of[POSITIVE].done && pr->of[NEGATIVE].done))
        st = pass(pr, run);
    if (!st)
        st = each_slot(pr, run, p, list_removal);
    if (st)
        p->n_del = 0;
    return st;
}

static rw_status prune_start(prune **pr, const rw_plan *p, bool by_sign, rw_key key)
{
    if (p->n_del || p->n_ins)
        return RW_ESHAPE;
    *pr = rw_calloc(sizeof **pr);
    if (!*pr)
        return RW_ENOMEM;
    (*pr)->s = p->store;
    (*pr)->key = key;
    (*pr)->by_sign = by_sign;
    return RW_OK;
}

rw_status rw_prune_set(rw_plan *p, double zeta, rw_key key, const rw_run *run)
{
    prune *pr;
    if (!(zeta >= 0 && zeta <= 1))
        return RW_ESHAPE;
    rw_status st = prune_start(&pr, p, true, key);
    if (st)
        return st;
    int64_t count[CLASSES] = { 0, 0 }, wanted[CLASSES];
    st = each_slot(pr, run, count, count_class);
    for (int i = 0; i < CLASSES; i++)
        wanted[i] = rw_min64((int64_t)floor(zeta * (double)count[i]), count[i]);
    if (!st)
        st = prune_run(pr, p, count, wanted, run);
    rw_free(pr, sizeof *pr);
    return st;
}

rw_status rw_prune_smallest(rw_plan *p, int64_t n, rw_key key, const rw_run *run)
{
    prune *pr;
    if (n < 0 || n > p->store->slots)
        return RW_ESHAPE;
    rw_status st = prune_start(&pr, p, false, key);
    if (st)
        return st;
    int64_t count[CLASSES] = { p->store->slots, 0 }, wanted[CLASSES] = { n, 0 };
    st = prune_run(pr, p, count, wanted, run);
    rw_free(pr, sizeof *pr);
    return st;
}
