/* structure.h -- a structure as bytes: what another process or a file needs of it, without values.
 *
 *      head | len of each group, int32 | width of each group, uint8 | steps of all groups
 *
 * The sources of a group ascend strictly, so they are kept as STEPS: how many places lie between
 * one and the next, in 1, 2 or 4 bytes, as the longest step of the group needs. That is 1 or 2
 * bytes a slot in most layers. The head holds the sizes and the digest of digest.h.
 *
 * Bytes are read as if somebody had made them up: every source is checked as it is written, and a
 * store that does not get all of them is empty again. Numbers are little-endian, as on every machine this runs on; on another one the first
 * of them is not what it should be. */
#ifndef RW_STRUCTURE_H
#define RW_STRUCTURE_H

#include "store/store.h"

typedef struct {
    uint64_t magic;
    int32_t n_out, n_in, group;
    uint32_t zero;
    int64_t slots;
    uint64_t digest;
} rw_structure_head;

/* How many bytes rw_structure_write writes. */
size_t rw_structure_size(const rw_store *s);
void rw_structure_write(const rw_store *s, void *out);

/* The head of n bytes. RW_ECORRUPT: they are no structure, or sizes in there are impossible. */
rw_status rw_structure_read_head(const void *bytes, size_t n, rw_structure_head *head);

/* Fill an empty store of the head's sizes; every field, the weights too, gets its birth value.
 * RW_ECORRUPT (cut short or too long, or not what was written), RW_ESHAPE (not empty, or other
 * sizes), RW_EPINNED, RW_ENOMEM. */
rw_status rw_structure_load(rw_store *s, const void *bytes, size_t n);

#endif
