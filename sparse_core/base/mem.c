/* mremap and MAP_ANONYMOUS are outside POSIX; this is the one file that wants them. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#ifdef RW_TEST
#include <stdatomic.h>
#endif

#if defined(__linux__)
#include <sys/mman.h>
#define RW_HAVE_MMAP 1
#else
#define RW_HAVE_MMAP 0
#endif

#ifdef RW_TEST
int64_t rw_mem_live = 0;
int64_t rw_mem_fail_after = -1;
bool rw_mem_lazy = false;

static bool refuse(void)
{
    if (rw_mem_fail_after < 0)
        return false;
    return rw_mem_fail_after-- == 0;
}

/* Every block with its size, so that whoever frees a block with another size is found:
 * above MAPPED_FROM that would unmap other memory, below it nobody would notice. The
 * table has a lock, since threads of Python allocate side by side. */
typedef struct {
    const void *block; /* NULL: free entry */
    size_t bytes;
} known;

static known *known_blocks;
static size_t known_room;
static atomic_flag known_busy = ATOMIC_FLAG_INIT;

static void lock(void)
{
    while (atomic_flag_test_and_set(&known_busy))
        ;
}

static void unlock(void) { atomic_flag_clear(&known_busy); }

static known *known_at(const void *block)
{
    for (size_t i = 0; i < known_room; i++)
        if (known_blocks[i].block == block)
            return &known_blocks[i];
    return NULL;
}

static void remember(const void *block, size_t bytes)
{
    lock();
    known *at = known_at(NULL);
    if (!at) {
        size_t room = 2 * known_room + 64;
        known *more = realloc(known_blocks, room * sizeof *more);
        if (!more)
            abort();
        memset(more + known_room, 0, (room - known_room) * sizeof *more);
        at = more + known_room;
        known_blocks = more;
        known_room = room;
    }
    *at = (known){ block, bytes };
    rw_mem_live++;
    unlock();
}

static void forget(const void *block, size_t bytes)
{
    lock();
    known *at = known_at(block);
    RW_ASSERT(at && at->bytes == bytes);
    at->block = NULL;
    if (--rw_mem_live == 0) { /* so that the leak checker finds nothing of ours */
        free(known_blocks);
        known_blocks = NULL;
        known_room = 0;
    }
    unlock();
}
#else
#define refuse() false
#define remember(block, bytes) ((void)0)
#define forget(block, bytes) ((void)0)
#endif

/* From here on a block is mapped: two huge pages, so that at least one of them
 * lies whole inside the block wherever it starts. */
static const size_t MAPPED_FROM = (size_t)4 << 20;

static bool mapped(size_t bytes) { return RW_HAVE_MMAP && bytes >= MAPPED_FROM; }

#if RW_HAVE_MMAP
static void *map_block(size_t bytes)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#ifdef RW_TEST
    if (rw_mem_lazy)
        flags |= MAP_NORESERVE;
#endif
    void *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (block == MAP_FAILED)
        return NULL;
    (void)madvise(block, bytes, MADV_HUGEPAGE); /* a wish: failing is fine */
    return block;
}
#endif

static void *heap_block(size_t bytes)
{
    size_t rounded;
    if (!rw_add_size(bytes, RW_ALIGNMENT - 1, &rounded))
        return NULL;
    return aligned_alloc(RW_ALIGNMENT, rounded / RW_ALIGNMENT * RW_ALIGNMENT);
}

void *rw_alloc(size_t bytes)
{
    if (refuse())
        return NULL;
    if (bytes == 0)
        bytes = 1;
    void *block;
#if RW_HAVE_MMAP
    if (mapped(bytes))
        block = map_block(bytes);
    else
#endif
        block = heap_block(bytes);
    if (block)
        remember(block, bytes);
    return block;
}

void *rw_calloc(size_t bytes)
{
    void *block = rw_alloc(bytes);
    if (block && !mapped(bytes)) /* mapped pages are zero already */
        memset(block, 0, bytes ? bytes : 1);
    return block;
}

void *rw_resize(void *block, size_t old_bytes, size_t new_bytes)
{
#if RW_HAVE_MMAP
    if (block && mapped(old_bytes) && mapped(new_bytes)) {
        if (refuse())
            return NULL;
        void *moved = mremap(block, old_bytes, new_bytes, MREMAP_MAYMOVE);
        if (moved == MAP_FAILED)
            return NULL;
        forget(block, old_bytes);
        remember(moved, new_bytes);
        return moved;
    }
#endif
    void *fresh = rw_alloc(new_bytes);
    if (!fresh)
        return NULL;
    if (block)
        memcpy(fresh, block, old_bytes < new_bytes ? old_bytes : new_bytes);
    rw_free(block, old_bytes);
    return fresh;
}

void rw_free(void *block, size_t bytes)
{
    if (!block)
        return;
    forget(block, bytes ? bytes : 1);
#if RW_HAVE_MMAP
    if (mapped(bytes)) {
        (void)munmap(block, bytes);
        return;
    }
#else
    (void)bytes;
#endif
    free(block);
}

size_t rw_shrink(void *block, size_t old_bytes, size_t new_bytes)
{
#if RW_HAVE_MMAP
    if (block && new_bytes < old_bytes && mapped(new_bytes)
        && mremap(block, old_bytes, new_bytes, 0) != MAP_FAILED) {
        forget(block, old_bytes);
        remember(block, new_bytes);
        return new_bytes;
    }
#else
    (void)block;
    (void)new_bytes;
#endif
    return old_bytes;
}

bool rw_is_small(size_t bytes) { return bytes < MAPPED_FROM; }

void *rw_alloc_array(size_t count, size_t size)
{
    size_t bytes;
    return rw_mul_size(count, size, &bytes) ? rw_alloc(bytes) : NULL;
}

void *rw_calloc_array(size_t count, size_t size)
{
    size_t bytes;
    return rw_mul_size(count, size, &bytes) ? rw_calloc(bytes) : NULL;
}
