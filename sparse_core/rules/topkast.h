/* topkast.h -- links that learn and are not used: Top-KAST (Jayakumar et al., NeurIPS 2020).
 *
 * The links of a layer are the paper's backward set; those that forward uses are its FORWARD
 * SET. A field "mask" of uint8, one value a slot, is 1 in the forward set. Links outside it are
 * MASKED: their weights are zero, so that forward and dX pass them over, but dW gives them
 * gradients like all others. The value that a masked weight would have is kept in a field
 * "masked_weight" of the weights' shape, which is zero in the forward set.
 *
 * A step of the optimizer moves masked weights away from zero. So it ends with a pass over each
 * row while that is in the cache (rw_update.penalty and apply_mask, in kernels.h): the change of
 * a masked weight is added to "masked_weight", the weight is zero again, and the penalty of the
 * exploration loss is applied to the links of both sets. */
#ifndef RW_TOPKAST_H
#define RW_TOPKAST_H

#include "store/store.h"

/* n slots, each named once and in ascending order, are in the forward set from now on where up[i]
 * is 1, and masked where it is 0; values move between the weights and the field `masked`, so none
 * is lost. RW_ENOENT if a slot is not there, RW_ESHAPE if a field is not of its kind. */
rw_status rw_topkast_select(rw_store *s, int32_t masked, int32_t mask, int64_t n,
                            const int32_t *group, const int32_t *source, const uint8_t *up);

#endif
