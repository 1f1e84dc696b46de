/* topkast.h -- links that learn and are not used: Top-KAST (Jayakumar et al., NeurIPS 2020).
 *
 * Slots are AWAKE or not: a field "awake" of uint8, one value a slot. Those that are not
 * have weights of zero, so that forward and dX pass them over, but dW gives them
 * gradients like all others. What they would weigh is in a field "asleep" of the weights'
 * shape, which is zero where slots are awake. A step of the optimizer moves their weights
 * away from zero. So it SETTLES (rw_update.settle, in kernels.h), row by row while that
 * is in the cache: what the step did to them goes to the field, weights are zero again,
 * and a penalty shrinks both kinds. */
#ifndef RW_TOPKAST_H
#define RW_TOPKAST_H

#include "store/store.h"

/* n slots, named once each and in ascending order, are awake from now on where up[i] is 1, and not
 * where it is 0; what they would weigh stays. RW_ENOENT if one is not there, RW_ESHAPE if a field is
 * not of its kind. */
rw_status rw_topkast_select(rw_store *s, int32_t asleep, int32_t awake, int64_t n,
                            const int32_t *group, const int32_t *source, const uint8_t *up);

#endif
