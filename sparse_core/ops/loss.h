/* loss.h -- losses on tiles: value and gradient.
 *
 * The loss of a batch is sum_b weight_b * l_b / sum_b weight_b; the gradient is
 * with respect to the tiles passed in. A sample of weight 0 adds nothing to either,
 * whatever its values are. All losses but cross entropy average over the outputs of a
 * sample too, as torch does: MSE is the mean of (y - t)^2, without a factor 1/2.
 *
 * Order of the sums, all in float64: a sample's outputs are cut into blocks of
 * RW_LOSS_FEATURES; output i of a block goes to sum i % RW_SUM_LANES, these are added in
 * halves, and blocks in order; then samples in order. So a sample's loss and gradient are
 * the same bits for any tile, batch, number of threads and instruction set. */
#ifndef RW_LOSS_H
#define RW_LOSS_H

#include "kernels/kernels.h"
#include "ops/targets.h"
#include "ops/tiles.h"

typedef struct {
    rw_loss kind;
    double delta;               /* HUBER: errors beyond it count linearly                   */
    double smoothing;           /* SOFTMAX_CE: t becomes (1 - smoothing) * t + smoothing / n */
    const double *class_weight; /* SOFTMAX_CE: n factors >= 0 of the terms; NULL for all 1   */
} rw_loss_spec;

/* Values of float64 that the functions below need to work in. */
size_t rw_loss_scratch(const rw_tiles *z);

/* `weight`: batch float64 values >= 0 with a positive sum, or NULL for all 1. `dz` receives the
 * gradient, unless NULL (then only the loss is computed). dz may be z. `right`, with labels of
 * SOFTMAX_CE: batch flags, whether the first of the largest outputs is the label's; or NULL.
 * Where labels have class weights, the weights of a batch are its samples' times their labels',
 * and if all are 0 so are loss and gradient. */
rw_status rw_loss_eval(const rw_kernels *k, const rw_loss_spec *spec, const rw_tiles *z,
                       const rw_targets *targets, const double *weight, rw_tiles *dz,
                       double *scratch, uint8_t *right, double *loss, const rw_run *run);

/* Of each sample, how many outputs are above the threshold just as their targets, which are no
 * labels, are above 1/2. */
rw_status rw_agreement(const rw_kernels *k, const rw_tiles *z, const rw_targets *targets,
                       double threshold, double *scratch, double *counts, const rw_run *run);

/* z = softmax over features, in place. */
rw_status rw_softmax(const rw_kernels *k, rw_tiles *z, double *scratch, const rw_run *run);

#endif
