/* norm.h -- layer and batch normalisation over a batch.
 *
 *      z = (x - mean) / sqrt(variance + eps),   y = gain * z + shift
 *
 * with mean and variance over the n values of a sample (layer), or over the samples of a
 * feature (batch); or with 0 for the mean, and the mean square for the variance (RMS). gain, shift and
 * whatever else goes by feature have n values, padded with zeros to a multiple of RW_ROW_PAD. z is kept for
 * the way back.
 *
 * Ba, Kiros, Hinton, Layer Normalization, arXiv:1607.06450; Zhang, Sennrich, Root
 * Mean Square Layer Normalization, arXiv:1910.07467; Ioffe, Szegedy, Batch Normalization, ICML
 * 2015. */
#ifndef RW_NORM_H
#define RW_NORM_H

#include "ops/layer.h"

/* inverse: 1 / deviation by sample, x->n_tiles * x->tile values. Not `centered`: RMS. A tile is
 * one task. */
rw_status rw_layer_norm(const rw_kernels *k, const rw_tiles *x, const void *gain, const void *shift,
                        double eps, bool centered, rw_tiles *z, void *inverse, rw_tiles *y,
                        const rw_run *run);
rw_status rw_layer_norm_back(const rw_kernels *k, const rw_tiles *z, const void *inverse,
                             const void *gain, bool centered, const rw_tiles *dy, rw_tiles *dx,
                             const rw_run *run);

/* The gradients of gain and shift: sums of dy * z and of dy over the batch. */
rw_status rw_norm_gradient(const rw_kernels *k, const rw_tiles *z, const rw_tiles *dy, void *dgain,
                           void *dshift, const rw_run *run);

/* mean, variance (over the samples, not one less) and inverse = 1 / sqrt(variance + eps). */
rw_status rw_batch_moments(const rw_kernels *k, const rw_tiles *x, double eps, void *mean,
                           void *variance, void *inverse, const rw_run *run);

/* z and y with these moments; z may be NULL. */
rw_status rw_batch_norm(const rw_kernels *k, const rw_tiles *x, const void *mean,
                        const void *inverse, const void *gain, const void *shift, rw_tiles *z,
                        rw_tiles *y, const rw_run *run);

/* dx = gain * inverse * (dy - dshift / count - z * dgain / count). Infinite `count`: the moments
 * were given, and do not depend on x. */
rw_status rw_batch_norm_back(const rw_kernels *k, const rw_tiles *z, const void *inverse,
                             const void *gain, const void *dgain, const void *dshift, double count,
                             const rw_tiles *dy, rw_tiles *dx, const rw_run *run);

#endif
