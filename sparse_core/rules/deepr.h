/* deepr.h -- the random walk of DEEP R (Bellec et al., ICLR 2018, Algorithm 1).
 *
 * A weight is s * theta with a sign s that it keeps and theta > 0. After every
 * step of the optimizer, which may have taken it across zero already,
 *
 *      theta  <-  theta - drift + noise * N(0, 1)
 *
 * and a weight whose theta is no longer positive RESTS: it is zero, and stays so
 * until an optimizer's step takes it back to the side of its sign. A slot all of whose
 * weights are zero is one that DEEP R replaces.
 *
 * Signs are a field of uint8, `group` values a slot: 1 is plus, 2 minus, 0 not
 * seen yet. Noise is named by (key, group, the value's number in the group), so it
 * follows from the structure, and threads change nothing.
 *
 * Cost: some 4 ns a value. */
#ifndef RW_DEEPR_H
#define RW_DEEPR_H

#include "base/normal.h"
#include "store/store.h"

/* Weights that have no sign yet, and are not zero, take that of their value. RW_ESHAPE
 * if `sign` is not such a field. */
rw_status rw_deepr_signs(rw_store *s, int32_t sign);

/* One step of the walk for all weights. One without a sign takes that of its value
 * first, zero being positive. RW_ESHAPE as above; RW_EINTR leaves some weights where
 * they were. */
rw_status rw_deepr_step(rw_store *s, int32_t sign, double drift, double noise,
                        const rw_normal *normal, rw_key key, const rw_run *run);

#endif
