/* r2.h -- the sums of R2 over a batch, output by output.
 *
 * Of samples of positive weight w, with targets t and outputs z:
 *
 *      ERROR       sum w (z - t)^2          LOW, HIGH   the least and the largest t
 *      MEAN        sum w t / sum w          LARGEST     the largest |t| and |z|
 *      DEVIATIONS  sum w (t - MEAN)^2
 *
 * A sample of weight 0 adds nothing, whatever its values are. Sums are in float64.
 *
 * Order: a batch is cut into strips of as many samples as a tile has, RW_TARGET_SAMPLES at most, and
 * these into spans of RW_SPAN samples. In a strip, sample b goes to sum b % RW_ROW_LANES and
 * lanes are folded by halves; deviations are taken from the strip's own mean. Strips are merged
 * in order, and then spans are, as in Chan, Golub, LeVeque (1983). So all numbers are the same
 * bits for any number of threads and every instruction set.
 *
 * With c = (batch / RW_SPAN + 40) * 2^-53, T the largest |t| and W the sum of weights: ERROR is
 * good to c of itself, MEAN to c T, and DEVIATIONS D to c D + 2 c T sqrt(W D) + W (c T)^2; where
 * numbers are so large or small that their squares are none, to nothing: LARGEST tells. */
#ifndef RW_R2_H
#define RW_R2_H

#include "kernels/kernels.h"
#include "ops/targets.h"
#include "ops/tiles.h"

/* Values of float64 that rw_r2 needs to work in. */
size_t rw_r2_scratch(const rw_tiles *z);

/* `weight`: batch float64 values >= 0, or NULL for all 1; `targets` are no labels. Quantity q of
 * output i goes to sums[q * n + i], and the sum of weights to `total`; if that is 0, `sums` is
 * left alone. */
rw_status rw_r2(const rw_kernels *k, const rw_tiles *z, const rw_targets *targets,
                const double *weight, double *scratch, double *sums, double *total, int threads);

#endif
