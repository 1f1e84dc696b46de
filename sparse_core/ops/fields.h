/* fields.h -- sums, scalings and checks over all live values of a field. */
#ifndef RW_FIELDS_H
#define RW_FIELDS_H

#include "store/store.h"

/* Sum of squares of a field over all live values, rows in order: float64. */
double rw_field_sumsq(const rw_store *s, int32_t field);
/* field *= factor over all live values. */
void rw_field_scale(rw_store *s, int32_t field, double factor);
/* field += values, packed in canonical order as csr.h has them; floats and doubles, others stay. */
void rw_field_add(rw_store *s, int32_t field, const void *values);
/* Is every live value finite? */
bool rw_field_finite(const rw_store *s, int32_t field);
/* Zero all fields in the slots of the arena that are not live: what somebody computes with whole
 * arrays then finds there. RW_ENOMEM: nothing has changed. */
rw_status rw_free_slots_zero(rw_store *s);

#endif
