/* machine.c -- what `rewire bench` and bench/ hold the products against. */
#include "kernels/machine.h"

#include "base/par.h"

double rw_measure_fma(const rw_kernels *k, int64_t rounds, const rw_run *run)
{
    RW_ASSERT(rounds >= 64 && rw_is_run(run));
    double sum[RW_MAX_THREADS], lanes = 0;
    RW_PARALLEL_FOR(run->threads)
    for (int64_t t = 0; t < run->threads; t++)
        sum[t] = k->multiply_add(rounds, 0.5, 1.0);
    /* Every lane has come to rest at term / (1 - factor) = 2, so a sum says how many there were. */
    for (int t = 0; t < run->threads; t++)
        lanes += sum[t] / 2.0;
    return 2.0 * (double)rounds * lanes;
}

uint64_t rw_measure_read(const rw_kernels *k, const void *data, size_t bytes, const rw_run *run)
{
    RW_ASSERT((uintptr_t)data % sizeof(uint64_t) == 0 && rw_is_run(run));
    uint64_t parts[RW_MAX_THREADS], all = 0;
    int64_t words = (int64_t)(bytes / sizeof(uint64_t)), share = words / run->threads + 1;
    RW_PARALLEL_FOR(run->threads)
    for (int64_t t = 0; t < run->threads; t++) {
        int64_t first = t * share, left = words - first;
        const uint64_t *from = (const uint64_t *)data + (left > 0 ? first : 0);
        parts[t] = k->read(from, left < 0 ? 0 : left < share ? left : share);
    }
    for (int t = 0; t < run->threads; t++)
        all ^= parts[t];
    return all;
}
