/* wht.h -- the Walsh-Hadamard transform of the features of every sample.
 *
 * Stage s turns features i and i + 2^s (bit s of i being 0) into their sum and their difference.
 * Stages 0 .. L-1 of 2^L features are the transform in the order of Hadamard; scaled by 2^(-L/2)
 * it is orthonormal, symmetric, and its own inverse. So are stages [first, last) alone, scaled
 * by 2^(-(last - first) / 2): they mix blocks of 2^last neighbours, and of these every
 * 2^first-th.
 *
 * Of n features that are no multiple of the block 2^last, let m be the largest multiple below n,
 * A the transform of the first m features and B that of the last m; others stay. Then y = A B A x,
 * which is orthonormal, symmetric and its own inverse as well:
 *
 *      x  [ A A A A A A A . . ]      (A B A)(A B A) = A B (A A) B A = A A = 1
 *         [ . . B B B B B B B ]
 *         [ A A A A A A A . . ]  y
 *
 * Every sum is made of the same terms in the same order on every machine and for any number of
 * threads: results are the same bits. */
#ifndef RW_WHT_H
#define RW_WHT_H

#include "ops/layer.h"

/* y = the transform of x, by stages [first, last). y may be x. RW_ESHAPE unless
 * 0 <= first <= last and 2^last <= n. */
rw_status rw_wht(const rw_kernels *k, const rw_tiles *x, rw_tiles *y, int32_t first, int32_t last,
                 const rw_run *run);

#endif
