/* rescale.h -- a layer whose inputs or outputs come in other units.
 *
 * With inputs x = u * gain + offset, the layer W x + b is (W * gain) u + (b + W offset):
 * columns are scaled, and W offset goes into the bias. With outputs in other units rows
 * are scaled. One pass over the slots each, on one thread: they are made where the units
 * move, between steps. */
#ifndef RW_RESCALE_H
#define RW_RESCALE_H

#include "store/store.h"

/* field[row, source] *= rows[row], then *= cols[source], factors and products in the
 * field's own type; NULL: all 1. `rows` has n_out, `cols` n_in values. A field of floating
 * numbers, one a weight. */
void rw_field_rescale(rw_store *s, int32_t field, const double *rows, const double *cols);

/* y[row] = the sum of weight[row, source] * x[source], by ascending source in float64. */
void rw_weight_times(const rw_store *s, const double *x, double *y);

#endif
