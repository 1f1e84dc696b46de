/* bf16.h -- products of a layer whose operands are rounded to bfloat16.
 *
 * What goes into a product, be it a weight, an activation or a gradient, is rounded to bfloat16 (8 bits of
 * precision, the range of float32) to nearest even, subnormal numbers to zero; a sum is float32. All that
 * is kept stays float32: weights, an optimizer's state, biases, what layers hand on. So each function is
 * the one of layer.h or gradient.h whose name it carries, of rounded operands. That is what it calls, and
 * the definition on every machine; where an instruction set has products of its own for bfloat16
 * (kernels_bf16.h), results have the same bits, but for the sign of a zero in a weight gradient. The
 * product of two such numbers is exact in float32: a multiply-add has one rounding whether a set fuses it
 * or not, as long as it lies above 1e-38.
 *
 * Rounded copies are made anew in every call, in `room` of the caller's: O(links + activations) beside
 * O(links * batch). No copy of weights can ever be older than what it was made of. Copies of activations
 * may be made once for several calls (rw_bf16_round), by a caller who knows that these have not changed.
 *
 * All is of float32: RW_ESHAPE for a store or tiles of float64. Long calls poll as layer.h says. */
#ifndef RW_BF16_H
#define RW_BF16_H

#include "ops/gradient.h"
#include "ops/layer.h"

/* Does the set have products of its own for such tiles? If not, there is nothing to gain by rw_bf16_round. */
bool rw_bf16_has_kernels(const rw_kernels *k, const rw_tiles *t);

/* to = from, rounded: RW_BF16 tiles of the same shape, as rw_bf16_has_kernels wants them. */
rw_status rw_bf16_round(const rw_kernels *k, const rw_tiles *from, rw_tiles *to, const rw_run *run);

/* Bytes of room, from rw_alloc, that a call works in with batches as `tiles` has them, of any number of
 * features; 0 when they are too many. `rounded`: a call is given what rw_bf16_round has made of its tiles. */
size_t rw_bf16_room(const rw_kernels *k, const rw_store *s, const rw_tiles *tiles, bool rounded);

/* As rw_scratch_values. */
int64_t rw_bf16_scratch_values(const rw_kernels *k, const rw_store *s, const rw_tiles *dy);

/* `rounded`, and those of x and dy, may be NULL: rw_bf16_round of what they are named after, used where that
 * pays. */
rw_status rw_bf16_forward(const rw_kernels *k, const rw_store *s, const rw_tiles *x,
                          const rw_tiles *rounded, const void *bias, rw_act act, double slope,
                          rw_tiles *y, rw_tiles *z, void *room, const rw_run *run);

rw_status rw_bf16_backward_input(const rw_kernels *k, const rw_store *s, const rw_tiles *dy,
                                 const rw_tiles *rounded, rw_tiles *dx, void *room,
                                 const rw_run *run);

/* The tiles of a weight gradient. */
typedef struct {
    const rw_tiles *x, *dy;
    const rw_tiles *rounded_x, *rounded_dy;
} rw_bf16_operands;

rw_status rw_bf16_backward_weights(const rw_kernels *k, rw_store *s, const rw_bf16_operands *of,
                                   int32_t grad, bool add, void *scratch, void *room,
                                   const rw_run *run);

rw_status rw_bf16_backward_update(const rw_kernels *k, rw_store *s, const rw_bf16_operands *of,
                                  const rw_update *u, void *scratch, void *room,
                                  const rw_run *run);

rw_status rw_bf16_packed_gradients(const rw_kernels *k, const rw_store *s,
                                   const rw_bf16_operands *of, const int64_t *before, void *out,
                                   void *room, const rw_run *run);

#endif
