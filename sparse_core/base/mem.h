/* mem.h -- the only allocator of the core.
 *
 * Blocks are 64-byte aligned: a vector load never splits a cache line (measured:
 * 1.75-2x on sparse kernels). Large blocks come straight from the kernel, so
 * that growing one moves page tables and not bytes, and freeing one gives the
 * memory back; they ask for huge pages, which halves the cost of a random access
 * in layers that no cache holds.
 *
 * Built with -DRW_TEST the allocator counts live blocks and fails on demand:
 * the tests let the n-th allocation of an operation fail, for every n. */
#ifndef RW_MEM_H
#define RW_MEM_H

#include "base/base.h"

enum { RW_ALIGNMENT = 64 }; /* a line of the cache */

/* A block of `bytes` (at least 1), uninitialised; NULL when there is none.
 * Free it with rw_free and the same number of bytes. */
void *rw_alloc(size_t bytes);

/* The same block, zeroed. */
void *rw_calloc(size_t bytes);

/* Grow or shrink, contents kept up to the smaller size. NULL leaves the old
 * block as it was. `block` may be NULL when old_bytes is 0. */
void *rw_resize(void *block, size_t old_bytes, size_t new_bytes);

/* Release. NULL is fine. */
void rw_free(void *block, size_t bytes);

/* Give back the end of a block where that takes no memory and no copying: where
 * it is mapped. Returns the bytes the block has now. The block stays where it is. */
size_t rw_shrink(void *block, size_t old_bytes, size_t new_bytes);

/* Is a block of so many bytes small: never mapped, and copied in no time? */
bool rw_is_small(size_t bytes);

/* Does a block begin where those of rw_alloc do? */
static inline bool rw_is_aligned(const void *block) { return (uintptr_t)block % RW_ALIGNMENT == 0; }

/* count * size bytes, or NULL on overflow too. */
void *rw_alloc_array(size_t count, size_t size);
void *rw_calloc_array(size_t count, size_t size);

#ifdef RW_TEST
/* State of the test build only; the release object has none. */
extern int64_t rw_mem_live;       /* blocks allocated and not freed          */
extern int64_t rw_mem_fail_after; /* allocations left before one fails; < 0 never */
extern bool rw_mem_lazy;          /* promise more than the machine has       */
#endif

#endif
