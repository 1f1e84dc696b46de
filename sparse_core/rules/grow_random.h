/* grow_random.h -- grow at random: exactly k of the empty places, uniformly.
 *
 * The empty places of a layer, numbered group after group, are cut into stretches
 * of equal length, for about a thousand new links each. k links are split over the
 * stretches by sequential hypergeometric draws (each gets what k balls without
 * replacement would have given it) and then placed among each stretch's places. The
 * count is exact, every set of k empty places is equally likely, nothing is ever
 * n_out x n_in, and it works as well when the layer is nearly full. A random start is
 * the same draw on an empty store. Draws are keyed by (key, stretch), and where
 * stretches lie follows from the structure and k: threads change nothing. */
#ifndef RW_GROW_RANDOM_H
#define RW_GROW_RANDOM_H

#include "store/plan.h"

/* Add exactly `count` random insertions to a plan that has none. Places the
 * plan empties count as empty. RW_EFULL when there are fewer empty places. */
rw_status rw_plan_grow_random(rw_plan *p, int64_t count, rw_key key, const rw_run *run);

/* Add insertions until every group has exactly `fan_in` sources (its removals
 * counted off). RW_EFULL if fan_in > n_in; groups that have more get none. */
rw_status rw_plan_grow_fan_in(rw_plan *p, int32_t fan_in, rw_key key, const rw_run *run);

#endif
