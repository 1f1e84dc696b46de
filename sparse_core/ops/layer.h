/* layer.h -- a layer over a whole batch: the loops and threads around kernels.
 *
 * Shapes are checked by every function: RW_ESHAPE when tiles, store and arrays
 * do not fit (features, batch, tile, dtype). Long operations poll (rw_run) and
 * may return RW_EINTR. Nothing here allocates. */
#ifndef RW_LAYER_H
#define RW_LAYER_H

#include "base/par.h"
#include "kernels/kernels.h"
#include "ops/tiles.h"

/* y = f(W x + bias). bias: n_out values padded with zeros to a multiple of
 * RW_ROW_PAD, or NULL. z, if not NULL, receives what rw_kernels.activate leaves for backward: f'(W x + bias)
 * or W x + bias. */
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
bool rw_gather_pays(const rw_kernels *k, const rw_store *s, int64_t batch);

/* out (n_out values) = sum of dy over the batch; with `add`, out = out + sum, in one rounding. */
rw_status rw_bias_gradient(const rw_kernels *k, const rw_tiles *dy, void *out, bool add,
                           const rw_run *run);

/* y = dropout(x): forward and backward alike, p taken as the nearest multiple of 2^-16 and as 1 only if
 * it is. first_sample: the number of x's first sample in its step, so that a batch in parts has the
 * masks of the whole. */
rw_status rw_dropout(const rw_kernels *k, const rw_tiles *x, rw_tiles *y, double p, rw_key key,
                     int64_t first_sample, const rw_run *run);

/* What rw_dropout is asked, for passes that do more. */
typedef struct {
    double p;
    rw_key key;
    int64_t first_sample;
} rw_drop;

/* dy = dropout(dy), unless drop is NULL; dy *= f'(y or z); then its sums: in one pass, the same bits. */
rw_status rw_activate_back_sums(const rw_kernels *k, const rw_drop *drop, rw_act act, double slope,
                                const rw_tiles *y, rw_tiles *dy, void *out, bool add,
                                const rw_run *run);

#endif
