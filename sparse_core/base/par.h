/* par.h -- the only place that knows OpenMP.
 *
 * Work is split into blocks of rows or tiles, and every output is written by
 * one block alone in an order that does not depend on who runs it. So results
 * are the same bits for any number of threads, and blocks may be handed out as
 * threads come free. Without OpenMP the same loops run on one thread.
 *
 * A batch goes through a dozen loops a layer, and what one core has written is
 * far from another: fetching it costs as much as computing with it. So a thread
 * first takes the tasks of its own share, which is the same part of a batch in
 * every loop, and helps others when it is done. */
#ifndef RW_PAR_H
#define RW_PAR_H

#include "base/base.h"
#include "base/tuning.h"

#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

#ifdef _OPENMP
#include <omp.h>
#define RW_PRAGMA(text) _Pragma(#text)
/* Put before `for (int64_t i = 0; i < n; i++)`: blocks of one, as threads come free. */
#define RW_PARALLEL_FOR(threads) \
    RW_PRAGMA(omp parallel for num_threads(threads) schedule(dynamic, 1) if ((threads) > 1))
/* Put before a block: every thread runs it. */
#define RW_PARALLEL(threads) RW_PRAGMA(omp parallel num_threads(threads))
#define RW_ATOMIC_CAPTURE RW_PRAGMA(omp atomic capture)
#define RW_ATOMIC_READ RW_PRAGMA(omp atomic read)
#define RW_ATOMIC_WRITE RW_PRAGMA(omp atomic write)
static inline int rw_thread_index(void) { return omp_get_thread_num(); }
static inline int rw_openmp(void) { return 1; }
static inline int rw_openmp_max_threads(void) { return omp_get_max_threads(); }
#else
#define RW_PARALLEL_FOR(threads)
#define RW_PARALLEL(threads)
#define RW_ATOMIC_CAPTURE
#define RW_ATOMIC_READ
#define RW_ATOMIC_WRITE
static inline int rw_thread_index(void) { return 0; }
static inline int rw_openmp(void) { return 0; }
static inline int rw_openmp_max_threads(void) { return 1; }
#endif

/* While tasks run, a subnormal number (below 1e-38 in float32) is zero. The momentum of a link
 * to a neuron that has fallen silent shrinks to such numbers and stays there for
 * ever, and processors that take 4 cycles for an addition take 150 for one of
 * those. Returns what rw_tiny_restore puts back: users' code keeps its own mode. */
static inline uint64_t rw_tiny_is_zero(void)
{
#if defined(__SSE__) || defined(_M_X64)
    unsigned mode = _mm_getcsr();
    enum { RESULTS = 0x8000, OPERANDS = 0x40 };
    _mm_setcsr(mode | RESULTS | OPERANDS);
    return mode;
#elif defined(__aarch64__) && defined(__GNUC__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode) : : "memory");
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | (UINT64_C(1) << 24)) : "memory");
    return mode;
#else
    return 0;
#endif
}
static inline void rw_tiny_restore(uint64_t mode)
{
#if defined(__SSE__) || defined(_M_X64)
    _mm_setcsr((unsigned)mode);
#elif defined(__aarch64__) && defined(__GNUC__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory");
#else
    (void)mode;
#endif
}

/* A share of a loop's tasks: the next one to take, and the end. Each share has a cache line of
 * its own, so that taking a task does not slow other threads. */
typedef struct {
    int64_t next, end;
    char padding[48];
} rw_share;
enum { RW_SHARES = 64 }; /* a bound of the stack: of more threads, some begin with one share */

typedef void (*rw_task)(const void *arg, int64_t task);

/* Run task(arg, i) for i = 0 .. n-1, each once, on up to `threads` threads. */
static inline void rw_parallel_tasks(int threads, int64_t n, rw_task task, const void *arg)
{
    if (threads <= 1 || n <= 1 || !rw_openmp()) {
        uint64_t mode = rw_tiny_is_zero();
        for (int64_t i = 0; i < n; i++)
            task(arg, i);
        rw_tiny_restore(mode);
        return;
    }
    rw_share share[RW_SHARES];
    int shares = threads < RW_SHARES ? threads : RW_SHARES;
    for (int k = 0; k < shares; k++)
        share[k] = (rw_share){ n * k / shares, n * (k + 1) / shares, { 0 } };
    RW_PARALLEL(threads)
    {
        uint64_t mode = rw_tiny_is_zero();
        for (int tried = 0; tried < shares; tried++) {
            rw_share *mine = &share[(rw_thread_index() + tried) % shares];
            for (;;) {
                int64_t i;
                RW_ATOMIC_CAPTURE
                i = mine->next++;
                if (i >= mine->end)
                    break;
                task(arg, i);
            }
        }
        rw_tiny_restore(mode);
    }
}

/* Threads worth starting for n things of which so many are worth one, at most `threads`. */
static inline int rw_threads_each(int threads, int64_t n, int64_t worth)
{
    int64_t useful = n / worth;
    if (useful < 1)
        return 1;
    return useful < threads ? (int)useful : threads;
}

/* Threads worth starting for `work` units (multiply-adds or so), at most `threads`. */
static inline int rw_threads_for(int threads, int64_t work)
{
    return rw_threads_each(threads, work, RW_WORK_PER_THREAD);
}

/* Tasks `first` and on, as rw_parallel_tasks counts them. */
typedef struct {
    rw_task task;
    const void *arg;
    int64_t first;
} rw_task_from;

static inline void rw_run_from(const void *arg, int64_t i)
{
    const rw_task_from *from = arg;
    from->task(from->arg, from->first + i);
}

/* Run tasks 0 .. n-1, `work` multiply-adds in all, polling between chunks. */
static inline rw_status rw_run_tasks(const rw_run *run, int64_t n, int64_t work, rw_task task,
                                     const void *arg)
{
    RW_ASSERT(rw_is_run(run) && n >= 0 && work >= 0);
    int threads = rw_threads_for(run->threads, work);
    int64_t each = rw_max64(work / rw_max64(n, 1), 1);
    int64_t chunk = rw_max64((int64_t)RW_POLL_WORK * threads / each, threads);
    for (int64_t first = 0; first < n; first += chunk) {
        if (first > 0 && run->poll && run->poll(run->arg))
            return RW_EINTR;
        rw_task_from from = { task, arg, first };
        rw_parallel_tasks(threads, rw_min64(chunk, n - first), rw_run_from, &from);
    }
    return RW_OK;
}

/* What tasks share that may take longer than RW_POLL_WORK: they ask in between whether to stop. Only
 * the calling thread, the first of all, may poll; the others look at what it was told. */
typedef struct {
    const rw_run *run;
    uint64_t mode; /* the caller's for subnormal numbers, in which it is asked */
    int stop;
} rw_stop;

static inline rw_stop rw_stop_of(const rw_run *run)
{
    rw_stop s = { .run = run, .mode = rw_tiny_is_zero() };
    rw_tiny_restore(s.mode);
    return s;
}

/* Within a task: after `work` more, of *done since it last asked, is it to end without a result? */
static inline bool rw_stop_after(rw_stop *s, int64_t *done, int64_t work)
{
    *done += work;
    if (*done < RW_POLL_WORK)
        return false;
    *done = 0;
    int stop;
    RW_ATOMIC_READ
    stop = s->stop;
    if (stop || rw_thread_index() > 0 || !s->run->poll)
        return stop;
    rw_tiny_restore(s->mode);
    stop = s->run->poll(s->run->arg) != 0;
    s->mode = rw_tiny_is_zero();
    if (stop) {
        RW_ATOMIC_WRITE
        s->stop = 1;
    }
    return stop;
}

/* Between tasks: who was told to stop is not asked again. */
static inline int rw_stop_poll(void *arg)
{
    rw_stop *s = arg;
    if (!s->stop && s->run->poll)
        s->stop = s->run->poll(s->run->arg) != 0;
    return s->stop;
}

/* rw_run_tasks for tasks that use s. */
static inline rw_status rw_run_stoppable(rw_stop *s, int64_t n, int64_t work, rw_task task,
                                         const void *arg)
{
    rw_run run = { s->run->threads, rw_stop_poll, s };
    rw_status st = rw_run_tasks(&run, n, work, task, arg);
    return s->stop ? RW_EINTR : st;
}

#endif
