/* sides.h -- both sides of zero: what a layer of two-sided switching multiplies.
 *
 * A ReLU switches a neuron's outgoing weights on for x > 0. Here each side of zero has
 * weights of its own: tiles of n values become tiles of 2 n, of which the first n are
 * max(x, 0) and the others min(x, 0). */
#ifndef RW_SIDES_H
#define RW_SIDES_H

#include "ops/layer.h"

/* sides = [max(x, 0), min(x, 0)], by feature. */
rw_status rw_two_sides(const rw_kernels *k, const rw_tiles *x, rw_tiles *sides, const rw_run *run);

/* dx = the gradient of the side that x is on; at zero, that of the lower one. */
rw_status rw_two_sides_back(const rw_kernels *k, const rw_tiles *x, const rw_tiles *dsides,
                            rw_tiles *dx, const rw_run *run);

#endif
