/* par.h -- the only place that knows OpenMP.
 *
 * Work is split into blocks of rows or tiles, and every output is written by
 * one block alone in an order that does not depend on who runs it. So results
 * are the same bits for any number of threads, and blocks may be handed out as
 * threads come free. Without OpenMP the same loops run on one thread. */
#ifndef RW_PAR_H
#define RW_PAR_H

#include "base.h"
#include "tuning.h"

#ifdef _OPENMP
#include <omp.h>
#define RW_PRAGMA(text) _Pragma(#text)
/* Put before `for (int64_t i = 0; i < n; i++)`: blocks of one, as threads come free. */
#define RW_PARALLEL_FOR(threads) \
    RW_PRAGMA(omp parallel for num_threads(threads) schedule(dynamic, 1) if ((threads) > 1))
static inline int rw_thread_index(void) { return omp_get_thread_num(); }
static inline int rw_openmp(void) { return 1; }
static inline int rw_openmp_max_threads(void) { return omp_get_max_threads(); }
#else
#define RW_PARALLEL_FOR(threads)
static inline int rw_thread_index(void) { return 0; }
static inline int rw_openmp(void) { return 0; }
static inline int rw_openmp_max_threads(void) { return 1; }
#endif

/* Threads worth waking for `work` units (multiply-adds or so), at most `threads`. */
static inline int rw_threads_for(int threads, int64_t work)
{
    int64_t useful = work / RW_WORK_PER_THREAD;
    if (useful < 1)
        return 1;
    return useful < threads ? (int)useful : threads;
}

#endif
