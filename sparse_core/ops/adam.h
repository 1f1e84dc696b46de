/* adam.h -- Adam's bias corrections, by the age of a link.
 *
 * Links of one layer are of different ages, so the corrections 1 / (1 - beta^t) are
 * tables over t rather than two numbers a step. They depend on the betas alone: one
 * pair serves every layer and every run, and rw_update (kernels.h) points to it. */
#ifndef RW_ADAM_H
#define RW_ADAM_H

#include "base/base.h"

/* How long tables for these betas, both in [0, 1), have to be: past that age both
 * corrections are 1 to the last bit of a float64. For betas so near 1 that this would
 * be millions of ages, the first four million. */
int64_t rw_adam_ages(double beta1, double beta2);

/* table[t] = 1 / (1 - beta^t) for 1 <= t < ages. table[0] is 1 and has no meaning. */
void rw_adam_corrections(double beta, int64_t ages, double *table);

#endif
