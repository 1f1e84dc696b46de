/* mirror.h -- the fan-out mirror of a store: the slots of each source.
 *
 * Derived from the rows, so it may be dropped at any time. Every edit makes it
 * invalid; it is built again when somebody asks for it. */
#ifndef RW_MIRROR_H
#define RW_MIRROR_H

#include "store/store.h"

/* Build the mirror if it is not valid. RW_ENOMEM leaves the store without one:
 * callers then scatter, which gives the same bits. */
rw_status rw_mirror_build(rw_store *s, int threads);
/* Give the mirror's memory back. */
void rw_mirror_drop(rw_store *s);

#endif
