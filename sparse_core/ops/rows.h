/* rows.h -- a layer on users' arrays: samples in rows, any strides, one call a direction.
 *
 * For who keeps activations elsewhere, as PyTorch does. Tiles exist only within a call, in scratch
 * that the caller has; nothing here allocates. Products have the bits that they have on tiles.
 * Samples of a forward pass or of dX do not depend on each other, so these go through a few tiles at
 * a time, which stay in the cache; dW sums over the batch in the order of gradient.h, and has all
 * tiles beside each other.
 *
 * RW_ESHAPE where store, kernels and scratch do not fit each other; long operations poll. */
#ifndef RW_ROWS_H
#define RW_ROWS_H

#include "ops/gradient.h"

/* An array to be written, of the store's dtype: value (b, i) is b row_strides and i column_strides
 * behind `data`, in bytes, at any address. No two values overlap. */
typedef struct {
    char *data;
    ptrdiff_t row_stride, column_stride;
} rw_user_out;

/* Does every value of a (rows, columns) array have a place of its own? Where one of the strides
 * steps over all that the other one reaches; what else there is counts as overlapping. */
bool rw_out_is_plain(const rw_user_out *out, int64_t rows, int64_t columns, size_t size);

/* Bytes of scratch, aligned as rw_alloc does, for a batch; 0 if that is more than there can be. */
size_t rw_rows_forward_scratch(const rw_store *s, int64_t batch, int threads);
size_t rw_rows_backward_scratch(const rw_store *s, int64_t batch);

/* y = W x + bias. bias: n_out values beside each other, at any address, or NULL. */
rw_status rw_rows_forward(const rw_kernels *k, const rw_store *s, const rw_user_rows *x,
                          int64_t batch, const void *bias, const rw_user_out *y, void *scratch,
                          size_t bytes, const rw_run *run);

/* From g, the gradients of the outputs, what is not NULL: dw, packed as rw_packed_gradients does, from
 * x, which is read for nothing else; dbias, n_out values, the sum of g over the batch; dx = W^T g.
 * dw and dbias are aligned as their dtype is. */
rw_status rw_rows_backward(const rw_kernels *k, const rw_store *s, const rw_user_rows *x,
                           const rw_user_rows *g, int64_t batch, const rw_user_out *dx, void *dw,
                           void *dbias, void *scratch, size_t bytes, const rw_run *run);

#endif
