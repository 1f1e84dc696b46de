/* bf16.h -- products of a layer whose operands are rounded to bfloat16.
 *
 * What goes into a product, be it a weight, an activation or a gradient, is rounded to bfloat16 (8 bits of
 * precision, the range of float32) to nearest even; a sum is float32. All that is kept stays float32: weights,
 * an optimizer's state, biases, what layers hand on. So each function is the one of layer.h or gradient.h
 * whose name it carries, of rounded operands, and that is what it calls: the definition on every
 * machine, to the bit. The product of two such numbers is exact in float32, so that a multiply-add has one
 * rounding whether an instruction set fuses it or not, while it lies above 1e-38.
 *
 * Rounded copies are made anew in every call, in memory of the caller: O(links + activations)
 * beside O(links * batch), and no copy can ever be older than what it was made of.
 *
 * All is of float32: RW_ESHAPE for a store or tiles of float64. Long calls poll as layer.h says. */
#ifndef RW_BF16_H
#define RW_BF16_H

#include "ops/gradient.h"
#include "ops/layer.h"

/* Bytes of room, from rw_alloc, that a call works in with batches as `tiles` has them, of any number of
 * features; 0 when they are too many. */
size_t rw_bf16_room(const rw_store *s, const rw_tiles *tiles);

rw_status rw_bf16_forward(const rw_kernels *k, const rw_store *s, const rw_tiles *x,
                          const void *bias, rw_act act, double slope, rw_tiles *y, rw_tiles *z,
                          void *room, const rw_run *run);

rw_status rw_bf16_backward_input(const rw_kernels *k, const rw_store *s, const rw_tiles *dy,
                                 rw_tiles *dx, void *room, const rw_run *run);

rw_status rw_bf16_backward_weights(const rw_kernels *k, rw_store *s, const rw_tiles *x,
                                   const rw_tiles *dy, int32_t grad, bool add, void *scratch,
                                   void *room, const rw_run *run);

rw_status rw_bf16_backward_update(const rw_kernels *k, rw_store *s, const rw_tiles *x,
                                  const rw_tiles *dy, const rw_update *u, void *scratch,
                                  void *room, const rw_run *run);

#endif
