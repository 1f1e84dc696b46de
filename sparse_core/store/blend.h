/* blend.h -- values of one store, or of several, for the links of another one.
 *
 * What a link holds in a field (a weight, a momentum) becomes a BLEND of what the same link holds
 * in other stores. Floats are summed as doubles in the order of the list of stores, and rounded
 * once. So bits depend on that order, and not on threads or on edit history. All is blended into
 * memory that takes as much as the field, and copied at the end: a blend that is interrupted, or
 * has no memory, changes nothing.
 *
 * Cost: some 5 to 10 ns a slot of the other stores: each is looked up in a table of the group's links. */
#ifndef RW_BLEND_H
#define RW_BLEND_H

#include "store/store.h"

/* What becomes of the values that several stores have for one link. */
typedef enum {
    RW_BLEND_SUM = 0,
    RW_BLEND_MEAN = 1,    /* the sum divided by the number of stores: a link that few have is weak */
    RW_BLEND_HOLDERS = 2, /* the mean over the stores that have the link                         */
    RW_BLEND_MIN = 3,     /* over these                                                          */
    RW_BLEND_MAX = 4
} rw_blend;

enum { RW_BLEND_MOST = 4096 /* stores: a bound */ };

/* Each value of a field of `to` becomes the blend of those that k >= 1 stores have for its link in
 * their field `of[i]`; `none` where no store has the link. RW_ESHAPE: stores of other sizes, fields
 * of other dtypes or widths; and, with k > 1, integers that are to be summed, or int64. With k = 1
 * values are copied bit by bit. None of the stores is `to`. Also RW_ENOMEM, RW_EINTR.
 * Whatever it returns but RW_OK, nothing is changed. */
rw_status rw_field_blend(rw_store *to, int32_t field, const rw_store *const *from,
                         const int32_t *of, int32_t k, rw_blend how, double none,
                         const rw_run *run);

#endif
