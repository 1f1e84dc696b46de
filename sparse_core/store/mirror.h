/* mirror.h -- the fan-out mirror of a store: the slots of each source.
 *
 * Derived from the rows, so it may be dropped at any time (rw_store_drop_mirror).
 * Every edit makes it invalid; a later call builds it again. */
#ifndef RW_MIRROR_H
#define RW_MIRROR_H

#include "store/store.h"

/* Build the mirror if it is not valid. RW_ENOMEM leaves the store without one:
 * callers then scatter, which gives the same bits. */
rw_status rw_mirror_build(rw_store *s, int threads);

#endif
