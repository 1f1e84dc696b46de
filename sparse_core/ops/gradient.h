/* gradient.h -- dW at the slots of a layer, and the optimizer's step that follows.
 *
 * Shapes are checked as in layer.h. Nothing here allocates. */
#ifndef RW_GRADIENT_H
#define RW_GRADIENT_H

#include "ops/layer.h"
#include "ops/nonzero_layer.h"

/* dW at the slots, straight into one optimizer step on the fields that the update names:
 * target and state of `group` values of the store's dtype, age one int32 a slot. RW_ENOENT if
 * one is not there or has no name, RW_ESHAPE if it is of another kind or has two uses.
 * `scratch` holds rw_scratch_values() values of the dtype for every thread of run. */
rw_status rw_backward_update(const rw_kernels *k, rw_store *s, const rw_tiles *x,
                             const rw_tiles *dy, const rw_update *u, void *scratch,
                             const rw_run *run);
/* Values of scratch one thread needs for a batch as that of dy: what tuning says, or the longest
 * group's slots * group. */
int64_t rw_scratch_values(const rw_kernels *k, const rw_store *s, const rw_tiles *dy);

/* The same in two halves, with equal bits: gradients into field `grad` (width
 * group, the store's dtype), then a step from there. `add`: the field holds old + new after it,
 * in one rounding, where new is what it would hold without; then scratch is as above, and NULL
 * will do otherwise. */
rw_status rw_backward_weights(const rw_kernels *k, rw_store *s, const rw_tiles *x,
                              const rw_tiles *dy, int32_t grad, bool add, void *scratch,
                              const rw_run *run);
rw_status rw_update_from(const rw_kernels *k, rw_store *s, int32_t grad, const rw_update *u,
                         const rw_run *run);

/* Both from inputs of which few are not zero (nonzero_layer.h); each writes into the work areas of x. */
rw_status rw_nonzero_backward_update(const rw_kernels *k, rw_store *s, const rw_nonzeros *x,
                                     const rw_tiles *dy, const rw_update *u, void *scratch,
                                     const rw_run *run);
rw_status rw_nonzero_backward_weights(const rw_kernels *k, rw_store *s, const rw_nonzeros *x,
                                      const rw_tiles *dy, int32_t grad, bool add, void *scratch,
                                      const rw_run *run);

/* The gradients alone, of equal bits, for who only reads the store: packed into `out`, in the order
 * of csr.h, slots * group values. `before` is what rw_csr_indptr() writes. */
rw_status rw_packed_gradients(const rw_kernels *k, const rw_store *s, const rw_tiles *x,
                              const rw_tiles *dy, const int64_t *before, void *out,
                              const rw_run *run);

#endif
