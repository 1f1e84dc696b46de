/* loss.h -- losses on tiles: value and gradient in one pass.
 *
 * The loss of a batch is sum_b weight_b * l_b / sum_b weight_b; the gradient is
 * with respect to the tiles passed in. A sample of weight 0 adds nothing to either,
 * whatever its values are. MSE and binary cross
 * entropy average over the outputs of a sample too, as torch does: MSE is the mean
 * of (y - t)^2, without a factor 1/2.
 * Sums run in float64 over tiles and samples in order. */
#ifndef RW_LOSS_H
#define RW_LOSS_H

#include "ops/tiles.h"

typedef enum {
    RW_LOSS_SOFTMAX_CE = 0,  /* z: logits. l = -sum_i t_i log softmax(z)_i           */
    RW_LOSS_SIGMOID_BCE = 1, /* z: logits. l = mean_i of binary cross entropy of sigmoid(z)_i */
    RW_LOSS_MSE = 2          /* z: outputs                                            */
} rw_loss;

/* Exactly one of `labels` (batch class indices, checked: RW_ERANGE; SOFTMAX_CE
 * only) and `targets` (batch rows of n float64 values) is not NULL. `weight`:
 * batch float64 values >= 0 with a positive sum, or NULL for all 1. `dz` receives
 * the gradient, unless NULL (then only the loss is computed). dz may be z. */
rw_status rw_loss_eval(rw_loss kind, const rw_tiles *z, const int64_t *labels,
                       const double *targets, const double *weight, rw_tiles *dz, double *loss);

/* z = softmax over features, in place. */
void rw_softmax(rw_tiles *z);

#endif
