/* limits.h -- the machine's limits: what is timed is what was said. */
#ifndef RW_TEST_LIMITS_H
#define RW_TEST_LIMITS_H

#include "setup.h"
#include "kernels/machine.h"

static void test_multiply_adds_are_counted(void)
{
    FOR_EACH_KERNELS(k) {
        double one = rw_measure_fma(k, 64, &(rw_run){ .threads = 1 });
        CHECK(one > 0 && fmod(one, 2.0 * 64 * k->lanes) == 0);
        CHECK(rw_measure_fma(k, 1000, &(rw_run){ .threads = 3 }) == one * 1000 / 64 * 3);
    }
}

static void test_reads_reach_every_word(void)
{
    static uint64_t words[1000];
    uint64_t all = 0;
    for (size_t i = 0; i < 1000; i++)
        words[i] = 0x9E3779B97F4A7C15u * (i + 1);
    FOR_EACH_KERNELS(k) {
        all = 0;
        for (size_t n = 0; n < 1000; n++) {
            for (int threads = 1; threads <= 4; threads += 3)
                CHECK(rw_measure_read(k, words, 8 * n + 7, &(rw_run){ .threads = threads }) == all);
            all ^= words[n];
        }
    }
}

#endif
