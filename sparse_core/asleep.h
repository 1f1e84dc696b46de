/* asleep.h -- links that learn and are not used: Top-KAST (Jayakumar et al., NeurIPS 2020).
 *
 * Slots are AWAKE or not: a field of uint8, one value a slot. Those that are not have
 * weights of zero, so that forward and dX pass them over, but dW gives them
 * gradients like all others. What they would weigh is in a field of the weights' shape,
 * which is zero where slots are awake. A step of the optimizer moves their weights
 * away from zero: rw_settle adds this to what they would weigh, and the weights are
 * zero again.
 *
 * Cost: a pass over three fields, about 1 ns a value. */
#ifndef RW_ASLEEP_H
#define RW_ASLEEP_H

#include "store.h"

/* A penalty on weights, carried out: v <- v - v * rate (squares: L2) or, to zero and
 * not across it, v <- v - sign(v) * rate (magnitudes: L1). */
typedef struct {
    double awake, asleep; /* the two rates */
    bool magnitudes;
} rw_penalty;

/* After a step of the optimizer. RW_ESHAPE if a field is not of its kind; RW_EINTR
 * leaves some slots as the optimizer left them. */
rw_status rw_settle(rw_store *s, int32_t asleep, int32_t awake, rw_penalty by, const rw_run *run);

/* n slots, named once each and in ascending order, are awake from now on where up[i] is 1, and not
 * where it is 0; what they would weigh stays. RW_ENOENT if one is not there, RW_ESHAPE as above. */
rw_status rw_wake(rw_store *s, int32_t asleep, int32_t awake, int64_t n, const int32_t *group,
                  const int32_t *source, const uint8_t *up);

#endif
