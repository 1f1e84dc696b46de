/* nonzero_layer.h -- a layer on inputs of which few are not zero.
 *
 * The sum of a (row, sample) starts from the bias and takes the row's slots in ascending order of
 * sources, and a weight gradient adds samples in the lanes and spans of kernels.h: as products with
 * tiles do, where each zero takes part and changes no sum. So bits are those of tiles that hold the same
 * values, wherever weights and gradients are finite; but a sum that is zero may have the other sign.
 *
 * With `zero` (nonzeros.h), the biases are those of the layer plus W zero, added up in float64, slot k
 * of a row in sum k % RW_SUM_LANES, and rounded once; and to a weight gradient zero[j] * (sum of dy) is
 * added in the end, rounded twice.
 *
 * Shapes are checked as in layer.h, and rw_nonzeros_reach must have been called for the store as it is. */
#ifndef RW_NONZERO_LAYER_H
#define RW_NONZERO_LAYER_H

#include "ops/layer.h"
#include "ops/nonzeros.h"

/* y = f(W x + bias) as rw_forward. Writes into the work areas of x. */
rw_status rw_nonzero_forward(const rw_kernels *k, const rw_store *s, const rw_nonzeros *x,
                             const void *bias, rw_act act, double slope, rw_tiles *y, rw_tiles *z,
                             const rw_run *run);

/* Do x and outputs fit the store? */
bool rw_nonzero_fits(const rw_kernels *k, const rw_store *s, const rw_nonzeros *x,
                     const rw_tiles *out);

/* Multiply-adds of a product, about. */
int64_t rw_nonzero_work(const rw_store *s, const rw_nonzeros *x);

/* For gradient.c, whose tasks have one thread each. The sums of dy, before any task: */
rw_status rw_nonzero_sum(const rw_kernels *k, const rw_nonzeros *x, const rw_tiles *dy,
                         const rw_run *run);
/* The gradients of group g, of its slots in order, from lists; but for `zero`. */
void rw_nonzero_gradients(const rw_kernels *k, const rw_store *s, const rw_nonzeros *x,
                          const rw_tiles *dy, int32_t g, char *grad);
/* What `zero` adds to the gradients of group g; nothing where there is none. */
void rw_nonzero_add_means(const rw_store *s, const rw_nonzeros *x, int32_t g, char *grad);

#endif
