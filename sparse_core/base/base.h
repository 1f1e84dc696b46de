/* base.h -- what every file of the core shares: statuses, types, checked sizes.
 *
 * The core is plain C11. It knows nothing of Python, holds no mutable state at
 * file scope and never prints, exits or aborts: a function that can fail
 * returns a status, and a failed call leaves its arguments as they were. */
#ifndef RW_BASE_H
#define RW_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    RW_OK = 0,
    RW_ENOMEM = -1,  /* an allocation failed                                     */
    RW_ERANGE = -2,  /* an index lies outside the store                          */
    RW_EEXIST = -3,  /* the connection is already there, or named twice          */
    RW_ENOENT = -4,  /* the connection, or the field, is not there               */
    RW_ESHAPE = -5,  /* sizes that do not fit each other                         */
    RW_EPINNED = -6, /* somebody views the arrays: the structure may not change  */
    RW_ESTALE = -7,  /* the store has changed since the plan was made            */
    RW_EFULL = -8,   /* fewer empty places than links to place                   */
    RW_ECORRUPT = -9,/* arrays that break an invariant of the store              */
    RW_EINTR = -10   /* the caller's poll asked to stop                          */
} rw_status;

/* One sentence for each status; never NULL. */
const char *rw_status_str(rw_status status);

/* RW_BF16, the upper half of a float32, is of rounded copies alone (ops/bf16.h): no field has it. */
typedef enum { RW_F32 = 0, RW_F64 = 1, RW_I32 = 2, RW_I64 = 3, RW_U8 = 4, RW_BF16 = 5 } rw_dtype;

/* Bytes of one value, or 0 if `dtype` is none of the above. */
size_t rw_dtype_size(rw_dtype dtype);

/* What must hold where it stands, because callers see to it. Checked in the test builds
 * (-DRW_TEST, the sanitizers among them); in a release it is a comment. RW_TEST also
 * counts blocks of memory (mem.h), checks plans that are marked as checked (store/edit.c), and shares small
 * rewirings among threads (tuning.h). */
#ifdef RW_TEST
#define RW_ASSERT(condition) \
    ((condition) ? (void)0 : rw_assert_failed(#condition, __FILE__, __LINE__))
_Noreturn void rw_assert_failed(const char *condition, const char *file, int line);
#else
#define RW_ASSERT(condition) ((void)0)
#endif

/* Where an edit went wrong: the group and source of the first offending link
 * (or the group alone, source -1). Written only when a call fails. */
typedef struct {
    int64_t group;
    int64_t source;
} rw_fault;

/* Note the place and hand the status on. */
static inline rw_status rw_fault_at(rw_status status, rw_fault *at, int64_t group, int64_t source)
{
    *at = (rw_fault){ group, source };
    return status;
}

/* Sizes are products and sums of numbers that users choose: every one of them
 * goes through these two. They return false, and leave *out alone, on overflow. */
static inline bool rw_mul_size(size_t a, size_t b, size_t *out)
{
    if (b != 0 && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

static inline bool rw_add_size(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b)
        return false;
    *out = a + b;
    return true;
}

/* Beyond this a number of threads is a mistake, and OpenMP would end the process
 * over threads that it cannot start. */
enum { RW_MAX_THREADS = 1024 };

/* How a long operation runs: on how many threads, and whom it asks now and
 * then (about every 20 ms of work, from the calling thread and outside any
 * parallel region) whether to go on. A poll that returns non-zero makes the
 * operation return RW_EINTR; what it had written to its outputs is unspecified. */
typedef struct {
    int threads;          /* 1 .. RW_MAX_THREADS */
    int (*poll)(void *);  /* may be NULL */
    void *arg;
} rw_run;

static inline bool rw_is_run(const rw_run *run)
{
    return run && run->threads >= 1 && run->threads <= RW_MAX_THREADS;
}

/* What a user has lent and another thread may write to meanwhile, read once: what was found to be in
 * range does not become another number before it is used. */
static inline int32_t rw_read_int32(const int32_t *x) { return *(const volatile int32_t *)x; }
static inline int64_t rw_read_int64(const int64_t *x) { return *(const volatile int64_t *)x; }

static inline int64_t rw_min64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t rw_max64(int64_t a, int64_t b) { return a > b ? a : b; }

#endif
