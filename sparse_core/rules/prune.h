/* prune.h -- drop criteria: which slots a plan removes.
 *
 * A rule scores links, and these functions add the slots to remove to its plan. The files
 * grow_*.h add new links to it, and edit.h carries both out. */
#ifndef RW_PRUNE_H
#define RW_PRUNE_H

#include "store/plan.h"

/* SET (Mocanu et al., Nature Communications 9:2383, 2018): remove the
 * floor(zeta * n+) positive weights nearest zero and the floor(zeta * n-)
 * negative ones. +0 and -0 count as positive and go first; ties go in the order
 * of a hash of (key, group, source). With group > 1 a slot's score is the sum
 * of |w| over its rows, without the split by sign (ours: the paper has no groups).
 * 0 <= zeta <= 1. NaN scores last. The plan must be empty. */
rw_status rw_plan_prune_set(rw_plan *p, double zeta, rw_key key, const rw_run *run);

/* Remove the `count` slots of smallest sum of |w|, ties as above.
 * RW_ESHAPE if the store has fewer. */
rw_status rw_plan_prune_smallest(rw_plan *p, int64_t count, rw_key key, const rw_run *run);

/* The same by scores that the caller has made: one a slot, in canonical order, none
 * negative (RW_ESHAPE); NaN scores last. */
rw_status rw_plan_prune_scores(rw_plan *p, const double *score, int64_t count, rw_key key,
                               const rw_run *run);

/* Remove the `count` slots of largest score: those that rw_plan_prune_scores would leave if it
 * removed all but `count`. */
rw_status rw_plan_prune_largest(rw_plan *p, const double *score, int64_t count, rw_key key,
                                const rw_run *run);

/* Remove the slots all of whose weights are zero. */
rw_status rw_plan_prune_zeros(rw_plan *p, const rw_run *run);

/* Remove the slots whose sum of |w| is below `threshold` >= 0 (else RW_ESHAPE). */
rw_status rw_plan_prune_below(rw_plan *p, double threshold, const rw_run *run);

/* --- for prune.c and prune_few.c --------------------------------------------------- */

enum { RW_SLOTS_AT_ONCE = 256 /* a bound of the stack, 1 KB */ };

/* Which of n slots from `slot` on have a sum of |w| of at most `limit`: their numbers, from 0, to
 * `at`, which has room for n; returns how many. */
int32_t rw_slots_up_to(const rw_store *s, int64_t slot, int32_t n, double limit, int32_t *at);

/* rw_plan_prune_smallest for few slots of many, in one quick pass, with the same result. False
 * if that will not do (too many, no threshold found, no memory): the plan is as it was. The
 * plan is empty and not stale. */
bool rw_plan_prune_few(rw_plan *p, int64_t count, rw_key key);

#endif
