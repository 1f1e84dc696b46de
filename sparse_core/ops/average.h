/* average.h -- a field that is a running mean of another one. */
#ifndef RW_AVERAGE_H
#define RW_AVERAGE_H

#include "base/base.h"
#include "store/store.h"

/* Every slot's `count` goes up by one, to n, and its values of `mean` go towards those of `of` by
 * max(least, 1 / n) of the distance: with n = 1 all the way, to the bit. So each slot has a mean over
 * the steps that it has lived through, which forgets as fast as `least` says.
 *
 * `of` and `mean` are two fields of one floating dtype with a number for each weight, `count` is int32
 * with one for each slot, else RW_ESHAPE; 0 <= least <= 1. */
rw_status rw_field_average(rw_store *s, int32_t of, int32_t mean, int32_t count, double least,
                           const rw_run *run);

#endif
