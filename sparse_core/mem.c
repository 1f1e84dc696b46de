/* mremap and MAP_ANONYMOUS are outside POSIX; this is the one file that wants them. */
#define _GNU_SOURCE
#include "mem.h"

#include <stdlib.h>
#include <string.h>

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
#define COUNT(n) (rw_mem_live += (n))
#else
#define refuse() false
#define COUNT(n) ((void)0)
#endif

enum { ALIGNMENT = 64 };
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
    if (!rw_add_size(bytes, ALIGNMENT - 1, &rounded))
        return NULL;
    return aligned_alloc(ALIGNMENT, rounded / ALIGNMENT * ALIGNMENT);
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
        COUNT(1);
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
        return moved == MAP_FAILED ? NULL : moved;
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
    COUNT(-1);
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
        && mremap(block, old_bytes, new_bytes, 0) != MAP_FAILED)
        return new_bytes;
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
