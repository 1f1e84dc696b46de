/* switches.h -- blocks of two-sided switches.
 *
 * Features come in blocks of `width` (1, 2, 4 or 8) neighbours. Each block has two matrices: one
 * takes the values above zero, the other those below,
 *
 *      y = U max(x, 0) + L min(x, 0)       for the features x of a block,
 *
 * as a sparse layer after sides.h does with these links, bit for bit; but nothing is stored
 * between, and there is no list of sources.
 *
 * Weights are rows of 2 width values, by output: its row of U, and then its row of L. */
#ifndef RW_SWITCHES_H
#define RW_SWITCHES_H

#include "ops/layer.h"

/* Can a block have this width? */
static inline bool rw_is_switch_width(int32_t width)
{
    return width == 1 || width == 2 || width == 4 || width == 8;
}

/* The features of x are a multiple of the width, else RW_ESHAPE. */
rw_status rw_switches(const rw_kernels *k, const rw_tiles *x, const void *weight, int32_t width,
                      rw_tiles *y, const rw_run *run);

/* dx; at zero a value is on the lower side. dx may be dy. */
rw_status rw_switches_back(const rw_kernels *k, const rw_tiles *x, const void *weight,
                           int32_t width, const rw_tiles *dy, rw_tiles *dx, const rw_run *run);

/* The gradients of the weights, laid out alike. Sums over samples have the lanes of the widest
 * register. */
rw_status rw_switches_gradient(const rw_kernels *k, const rw_tiles *x, const rw_tiles *dy,
                               int32_t width, void *gradient, const rw_run *run);

#endif
