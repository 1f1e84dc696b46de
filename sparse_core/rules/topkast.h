/* topkast.h -- links that learn and are not used: Top-KAST (Jayakumar et al., NeurIPS 2020).
 *
 * The links of a layer are the paper's backward set; those that forward uses are its FORWARD
 * SET. A field of uint8, the MASK, is 1 for slots of the forward set and 0 for others. A field of
 * the weights' shape, the MASTER, holds theta: the value of every link of the backward set. A step
 * of the optimizer changes it in place of the weights (rw_update.target), with the gradients
 * of the network whose weights are
 *
 *      weight = mask ? theta : 0
 *
 * so that forward and dX pass over what is not in the forward set, and dW gives it gradients like
 * all others. After a step the penalty of the exploration loss is applied to theta, and the
 * weights follow from it again. All this is elementwise: threads change nothing, and there are
 * no instruction sets to differ.
 *
 * Cost: some 0.6 ns a value. */
#ifndef RW_TOPKAST_H
#define RW_TOPKAST_H

#include "base/base.h"
#include "store/store.h"

/* A penalty on theta, carried out: v <- v - v * rate (squares: L2) or, to zero and
 * not across it, v <- v - sign(v) * rate (magnitudes: L1). */
typedef struct {
    double forward, backward; /* rates in the forward set, and outside it */
    bool magnitudes;
} rw_topkast_penalty;

/* After a step: the penalty, and then the weights. What is no number stays none, so that training
 * notices it. RW_ESHAPE if a field is not of its kind; RW_EINTR leaves some groups as they were. */
rw_status rw_topkast_derive(rw_store *s, int32_t master, int32_t mask, const rw_topkast_penalty *by,
                            const rw_run *run);

/* n slots, each named once and in ascending order, are in the forward set from now on where up[i]
 * is 1, and outside it where it is 0; their weights follow. RW_ENOENT if a slot is not there,
 * RW_ESHAPE if a field is not of its kind: nothing has changed. */
rw_status rw_topkast_select(rw_store *s, int32_t master, int32_t mask, int64_t n,
                            const int32_t *group, const int32_t *source, const uint8_t *up);

#endif
