/* prune_zeros.c -- removal of slots all of whose weights are zero: first every block
 * counts its own, then, once it is known where each block's begin, all are listed. */
#include "base/mem.h"
#include "store/blocks.h"
#include "rules/prune.h"

enum {
    ZEROS_CHUNK = 256 /* slots searched at a time: a bound of the stack, 1 KB */
};

/* All that a block reads. */
typedef struct {
    const rw_store *s;
    int64_t blocks;
    rw_plan *plan;
    int64_t *zeros;     /* of each block; then: of all before it         */
} scan;

/* How many of n slots have zeros alone, and which: `at` has room for n. */
#define ZEROS(type)                                                           \
    static int32_t count_##type(const type *w, int32_t n)                     \
    {                                                                         \
        int32_t found = 0;                                                    \
        for (int32_t k = 0; k < n; k++)                                       \
            found += w[k] == 0;                                               \
        return found;                                                         \
    }                                                                         \
    static int32_t find_##type(const type *w, int32_t n, int32_t group, int32_t *at) \
    {                                                                         \
        int32_t found = 0;                                                    \
        for (int32_t k = 0; k < n; k++) {                                     \
            bool zero = true;                                                 \
            for (int32_t r = 0; r < group; r++)                               \
                zero = zero && w[(int64_t)k * group + r] == 0;                \
            at[found] = k; /* every position is written, few are kept */      \
            found += zero;                                                    \
        }                                                                     \
        return found;                                                         \
    }
ZEROS(float)
ZEROS(double)

/* At most ZEROS_CHUNK slots from `slot` on. */
static int32_t find(const rw_store *s, int64_t slot, int32_t n, int32_t *at)
{
    const char *data = s->field[RW_WEIGHT].data;
    if (s->field[RW_WEIGHT].dtype == RW_F32) {
        const float *w = (const float *)(const void *)data + slot * s->group;
        return count_float(w, n * s->group) < s->group ? 0 : find_float(w, n, s->group, at);
    }
    const double *w = (const double *)(const void *)data + slot * s->group;
    return count_double(w, n * s->group) < s->group ? 0 : find_double(w, n, s->group, at);
}

/* The zeros of a block: counted, or, once it is known where they go, listed. */
static void zeros_of_block(const scan *p, int64_t block, bool list)
{
    const rw_store *s = p->s;
    int32_t at[ZEROS_CHUNK], end = rw_block_group(s, p->blocks, block + 1);
    int64_t found = list ? p->zeros[block] : 0;
    for (int32_t g = rw_block_group(s, p->blocks, block); g < end; g++)
        for (int32_t k = 0; k < s->len[g]; k += ZEROS_CHUNK) {
            int32_t left = s->len[g] - k;
            int32_t n = find(s, s->start[g] + k, left < ZEROS_CHUNK ? left : ZEROS_CHUNK, at);
            for (int32_t i = 0; list && i < n; i++) {
                p->plan->del_group[found + i] = g;
                p->plan->del_position[found + i] = k + at[i];
            }
            found += n;
        }
    if (!list)
        p->zeros[block] = found;
}

static void count_block(const void *arg, int64_t block) { zeros_of_block(arg, block, false); }
static void list_block(const void *arg, int64_t block) { zeros_of_block(arg, block, true); }

rw_status rw_plan_prune_zeros(rw_plan *p, const rw_run *run)
{
    RW_ASSERT(rw_is_run(run));
    const rw_store *s = p->store;
    if (p->n_del || p->n_ins)
        return RW_ESHAPE;
    if (p->generation != s->generation)
        return RW_ESTALE;
    scan x = { .s = s, .blocks = rw_block_count(s), .plan = p };
    x.zeros = rw_alloc_array((size_t)x.blocks, sizeof *x.zeros);
    if (!x.zeros)
        return RW_ENOMEM;
    rw_status st = rw_each_block(s, count_block, &x, RW_COST_ZEROS_VALUE, run);
    int64_t total = 0;
    for (int64_t b = 0; b < x.blocks && !st; b++) {
        int64_t here = x.zeros[b];
        x.zeros[b] = total;
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
    rw_free(x.zeros, (size_t)x.blocks * sizeof *x.zeros);
    return st;
}
