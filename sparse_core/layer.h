/* layer.h -- a layer over a whole batch: the loops and threads around kernels.
 *
 * Shapes are checked by every function: RW_ESHAPE when tiles, store and arrays
 * do not fit (features, batch, tile, dtype). Long operations poll (rw_run) and
 * may return RW_EINTR. Nothing here allocates. */
#ifndef RW_LAYER_H
#define RW_LAYER_H

#include "kernels.h"
#include "par.h"
#include "tiles.h"

/* y = f(W x + bias). bias: n_out values padded with zeros to a multiple of
 * RW_ROW_PAD, or NULL. z, if not NULL, receives W x + bias. */
rw_status rw_forward(const rw_kernels *k, const rw_store *s, const rw_tiles *x, const void *bias,
                     rw_act act, double slope, rw_tiles *y, rw_tiles *z, const rw_run *run);

/* y = f(y + bias), z as above: the second half of rw_forward, for dense layers. */
rw_status rw_activate(const rw_kernels *k, const void *bias, rw_act act, double slope, rw_tiles *y,
                      rw_tiles *z, const rw_run *run);

/* dy *= f'(y or z), see rw_kernels.activate_back. */
rw_status rw_activate_back(const rw_kernels *k, rw_act act, double slope, const rw_tiles *y,
                           rw_tiles *dy, const rw_run *run);

/* dx = W^T dy. Gathers through the mirror where there is one and that pays, else
 * scatters: same bits. */
rw_status rw_backward_input(const rw_kernels *k, const rw_store *s, const rw_tiles *dy,
                            rw_tiles *dx, const rw_run *run);

/* Is a mirror worth its memory for rw_backward_input? A pure matter of cost. */
bool rw_gather_pays(const rw_store *s, int64_t batch);

/* dW at the slots, straight into one optimizer step (fields "momentum", or
 * "adam_m", "adam_v" and "born", and "asleep" and "awake", as the update needs
 * them: RW_ENOENT). `scratch`
 * holds rw_scratch_values() values of the dtype for every thread of run. */
rw_status rw_backward_update(const rw_kernels *k, rw_store *s, const rw_tiles *x,
                             const rw_tiles *dy, const rw_update *u, void *scratch,
                             const rw_run *run);
/* Values of scratch one thread needs: RW_SCRATCH, or the longest group's slots * group. */
int64_t rw_scratch_values(const rw_store *s);

/* The same in two halves, with equal bits: gradients into field `grad` (width
 * group, the store's dtype), then a step from there. */
rw_status rw_backward_weights(const rw_kernels *k, rw_store *s, const rw_tiles *x,
                              const rw_tiles *dy, int32_t grad, const rw_run *run);
rw_status rw_update_from(const rw_kernels *k, rw_store *s, int32_t grad, const rw_update *u,
                         const rw_run *run);

/* Sum of squares of a field over all live values, rows in order: float64. */
double rw_field_sumsq(const rw_store *s, int32_t field);
/* field *= factor over all live values. */
void rw_field_scale(rw_store *s, int32_t field, double factor);
/* Is every live value finite? */
bool rw_field_finite(const rw_store *s, int32_t field);

/* out (n_out values) = sum of dy over the batch. */
rw_status rw_bias_gradient(const rw_kernels *k, const rw_tiles *dy, void *out, const rw_run *run);

/* y = dropout(x): forward and backward alike. */
rw_status rw_dropout(const rw_kernels *k, const rw_tiles *x, rw_tiles *y, double p, rw_key key,
                     const rw_run *run);

#endif
