/* merge.h -- several stores of one shape become one.
 *
 * Workers that have trained alone come back with structures of their own. Their MERGE has every
 * slot that one of them has, or the `slots` best of these by the sum of |w|. A group is one K-way
 * merge of ascending lists, and what cannot be among the best is dropped before it or after it.
 *
 *      worker 0   | 4 .2 | 9 -.7 |       | 17 .1 |         sum      | 4 .5 | 9 -.7 | 12 .4 | 17 .2 |
 *      worker 1   | 4 .3 |       | 12 .4 | 17 .1 |    ->   2 best   | 4 .5 | 9 -.7 |
 *
 * Weights are blended as in blend.h. Of slots with equal scores those that come first in canonical
 * order stay; scores that are no numbers count as the highest.
 *
 * Cost of a slot that comes in, four stores of a hundred a row: 4.5 to 7 ns where float32 are summed, one
 * to a slot, and hardly any scores are equal; 6 to 10 where processors do not count bits; some 15 for the
 * smallest or largest of float32, for rows of few slots in wide layers, and where scales differ from row to
 * row; 20 where slots have four weights. To keep the best costs 13 ns of less than 64 groups, and three times
 * as much as else where many score like the last one that stays.
 *
 * Memory of the result: as store.h says after small edits. Windows of the best have been closed up, and
 * keep what that left free up to a tenth: 5 % more than packed ones, as a rule. Beside it: 36 bytes and a
 * weight for each slot that may stay and does not; 8 bytes for each that scores nearly as the last one that
 * stays; some blocks of slots; for each thread at most 4 bytes a source and 16 a slot of the fullest group;
 * and a copy of the result, where too much of it would be free. */
#ifndef RW_MERGE_H
#define RW_MERGE_H

#include "store/blend.h"

enum { RW_MERGE_ALL = -1 /* slots: all that there are */ };

/* A new store with the weights of k >= 1 stores of one shape and dtype (RW_ESHAPE), blended, and no
 * other field. It has exactly `slots` slots: RW_EFULL if all together have fewer. Also RW_ENOMEM,
 * RW_EINTR. */
rw_status rw_store_merge(const rw_store *const *from, int32_t k, rw_blend how, int64_t slots,
                         const rw_run *run, rw_store **out);

#endif
