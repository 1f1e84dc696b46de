/* prune_below.c -- removal of slots whose weights are small, or zero: first every block counts
 * its own, then, once it is known where each block's begin, all are listed. */
#include "base/mem.h"
#include "store/blocks.h"
#include "rules/prune.h"

#include <float.h>
#include <math.h>

/* All that a block reads. */
typedef struct {
    const rw_store *s;
    int64_t blocks;
    double limit;       /* the largest sum of |w| that goes              */
    rw_plan *plan;
    int64_t *found;     /* of each block; then: of all before it         */
} scan;

/* How many of n values are at most `limit` in magnitude; which of n slots are, in the sum over
 * their rows: `at` has room for n. */
#define BELOW(type, magnitude)                                                \
    static int32_t count_##type(const type *w, int32_t n, type limit)         \
    {                                                                         \
        int32_t found = 0;                                                    \
        for (int32_t k = 0; k < n; k++)                                       \
            found += magnitude(w[k]) <= limit;                                \
        return found;                                                         \
    }                                                                         \
    static int32_t find_##type(const type *w, int32_t n, int32_t group, double limit, int32_t *at) \
    {                                                                         \
        int32_t found = 0;                                                    \
        for (int32_t k = 0; k < n; k++) {                                     \
            double sum = 0;                                                   \
            for (int32_t r = 0; r < group; r++)                               \
                sum += fabs((double)w[(int64_t)k * group + r]);               \
            at[found] = k; /* every position is written, few are kept */      \
            found += sum <= limit;                                            \
        }                                                                     \
        return found;                                                         \
    }
BELOW(float, fabsf)
BELOW(double, fabs)

/* The largest float that is not above a limit. */
static float float_limit(double limit)
{
    float near = (float)limit;
    return (double)near > limit ? nextafterf(near, 0.0f) : near;
}

int32_t rw_slots_up_to(const rw_store *s, int64_t slot, int32_t n, double limit, int32_t *at)
{
    RW_ASSERT(slot >= 0 && n >= 0 && slot + n <= s->top && limit >= 0);
    const char *data = s->field[RW_WEIGHT].data;
    if (s->field[RW_WEIGHT].dtype == RW_F32) {
        const float *w = (const float *)(const void *)data + slot * s->group;
        bool none = count_float(w, n * s->group, float_limit(limit)) < s->group;
        return none ? 0 : find_float(w, n, s->group, limit, at);
    }
    const double *w = (const double *)(const void *)data + slot * s->group;
    bool none = count_double(w, n * s->group, limit) < s->group;
    return none ? 0 : find_double(w, n, s->group, limit, at);
}

/* The slots of a block that go: counted, or, once it is known where they belong, listed. */
static void scan_block(const scan *p, int64_t block, bool list)
{
    const rw_store *s = p->s;
    int32_t at[RW_SLOTS_AT_ONCE], end = rw_block_group(s, p->blocks, block + 1);
    int64_t found = list ? p->found[block] : 0;
    for (int32_t g = rw_block_group(s, p->blocks, block); g < end; g++)
        for (int32_t k = 0; k < s->len[g]; k += RW_SLOTS_AT_ONCE) {
            int32_t left = s->len[g] - k;
            int32_t most = left < RW_SLOTS_AT_ONCE ? left : RW_SLOTS_AT_ONCE;
            int32_t n = rw_slots_up_to(s, s->start[g] + k, most, p->limit, at);
            for (int32_t i = 0; list && i < n; i++) {
                p->plan->del_group[found + i] = g;
                p->plan->del_position[found + i] = k + at[i];
            }
            found += n;
        }
    if (!list)
        p->found[block] = found;
}

static void count_block(const void *arg, int64_t block) { scan_block(arg, block, false); }
static void list_block(const void *arg, int64_t block) { scan_block(arg, block, true); }

/* Remove the slots whose sum of |w| is at most `limit`, or none if that is negative. */
static rw_status prune_up_to(rw_plan *p, double limit, const rw_run *run)
{
    RW_ASSERT(rw_is_run(run));
    const rw_store *s = p->store;
    if (p->n_del || p->n_ins)
        return RW_ESHAPE;
    if (p->generation != s->generation)
        return RW_ESTALE;
    if (limit < 0)
        return RW_OK;
    scan x = { .s = s, .blocks = rw_block_count(s), .limit = limit, .plan = p };
    x.found = rw_alloc_array((size_t)x.blocks, sizeof *x.found);
    if (!x.found)
        return RW_ENOMEM;
    rw_status st = rw_each_block(s, count_block, &x, RW_COST_ZEROS_VALUE, run);
    int64_t total = 0;
    for (int64_t b = 0; b < x.blocks && !st; b++) {
        int64_t here = x.found[b];
        x.found[b] = total;
        total += here;
    }
    if (!st)
        st = rw_plan_reserve(p, total, 0);
    if (!st)
        st = rw_each_block(s, list_block, &x, RW_COST_ZEROS_VALUE, run);
    if (!st) {
        p->n_del = total;
        p->checked = true;
    }
    rw_free(x.found, (size_t)x.blocks * sizeof *x.found);
    return st;
}

rw_status rw_plan_prune_zeros(rw_plan *p, const rw_run *run) { return prune_up_to(p, 0, run); }

rw_status rw_plan_prune_below(rw_plan *p, double threshold, const rw_run *run)
{
    if (!(threshold >= 0))
        return RW_ESHAPE;
    /* Numbers below DBL_MIN count as zero while tasks run. */
    double limit = threshold > DBL_MIN ? nextafter(threshold, 0) : threshold > 0 ? 0 : -1;
    return prune_up_to(p, limit, run);
}
