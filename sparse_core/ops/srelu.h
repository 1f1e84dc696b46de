/* srelu.h -- S-shaped rectifiers, whose knees and slopes are trained for each neuron.
 *
 *      f(x) = tl + al (x - tl)   for x <= tl
 *             x                  between the knees
 *             tr + ar (x - tr)   for x >= tr
 *
 * `shape` is four rows of n values: all tl, al, tr, ar. A right knee left of the left one
 * counts as lying on it, so f is continuous whatever was learned.
 *
 * Jin, Xu, Feng, Wei, Xiong, Yan, Deep Learning with S-shaped Rectified Linear Activation
 * Units, AAAI 2016, equation 2; gradients are its equation 4. */
#ifndef RW_SRELU_H
#define RW_SRELU_H

#include "ops/layer.h"

/* y = f(x). */
rw_status rw_srelu(const rw_kernels *k, const rw_tiles *x, const void *shape, rw_tiles *y,
                   const rw_run *run);

/* dx = f'(x) dy; dx may be dy. At a knee the outer slope counts. */
rw_status rw_srelu_back(const rw_kernels *k, const rw_tiles *x, const void *shape,
                        const rw_tiles *dy, rw_tiles *dx, const rw_run *run);

/* The gradient of the shapes, laid out alike, summed over the batch tile by tile. */
rw_status rw_srelu_gradient(const rw_kernels *k, const rw_tiles *x, const void *shape,
                            const rw_tiles *dy, void *gradient, const rw_run *run);

#endif
