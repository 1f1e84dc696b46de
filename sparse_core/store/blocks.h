/* blocks.h -- the groups of a store in blocks, for passes that do little to each value.
 *
 * A block belongs to one thread, and what it writes is its own groups', so who runs
 * it does not matter. */
#ifndef RW_BLOCKS_H
#define RW_BLOCKS_H

#include "base/par.h"
#include "base/tuning.h"
#include "store/store.h"

/* Into how many blocks of about RW_BLOCK_VALUES. */
static inline int64_t rw_block_count(const rw_store *s)
{
    return rw_max64(1, rw_min64(s->n_groups, s->slots * s->group / RW_BLOCK_VALUES));
}

/* First group of block b of n. */
static inline int32_t rw_block_group(const rw_store *s, int64_t n, int64_t b)
{
    RW_ASSERT(n >= 1 && b >= 0 && b <= n);
    return (int32_t)(b * s->n_groups / n);
}

/* task(arg, b) for every block; a value takes `work` units of rw_threads_for. */
static inline rw_status rw_each_block(const rw_store *s, rw_task task, const void *arg,
                                      int64_t work, const rw_run *run)
{
    return rw_run_tasks(run, rw_block_count(s), s->slots * s->group * work, task, arg);
}

#endif
