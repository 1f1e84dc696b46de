/* winners.h -- k-winners: of every sample the k values with the largest scores stay.
 *
 *      y = x where sign * factor * x is among the k largest of the sample, 0 elsewhere
 *
 * Equal scores are in the order of their rows, the first one ahead; a NaN is ahead of everything, so
 * that a diverged network shows. A winner that is 0 becomes -0, a loser 0: that is how the way back
 * knows them apart, and for all other purposes they are equal.
 *
 * `factor` has n values, each > 0. `y` may have more rows than x has: winners are written to the
 * n rows from `row` on, so that two sets of them can stand in one.
 *
 * Ahmad, Scheinkman, How Can We Be So Dense? The Benefits of Using Highly Sparse Representations,
 * arXiv:1903.11257, section 3. */
#ifndef RW_WINNERS_H
#define RW_WINNERS_H

#include "ops/layer.h"

/* 1 <= k <= x->n. A tile is one task. */
rw_status rw_winners(const rw_kernels *k, const rw_tiles *x, const void *factor, double sign,
                     int32_t winners, rw_tiles *y, int32_t row, const rw_run *run);

/* dx = dy of winners, 0 elsewhere; with `add`, on top of what is there. Rows of y and dy as above. */
rw_status rw_winners_back(const rw_kernels *k, const rw_tiles *y, const rw_tiles *dy, int32_t row,
                          rw_tiles *dx, bool add, const rw_run *run);

/* counts[i]: in how many samples row i of y won. y->n values. */
rw_status rw_count_winners(const rw_kernels *k, const rw_tiles *y, double *counts,
                           const rw_run *run);

#endif
