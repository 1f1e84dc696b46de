/* check.h -- what both C test programs check with.
 *
 * CHECK notes a failure and goes on, so that one run shows everything that broke. */
#ifndef RW_TEST_CHECK_H
#define RW_TEST_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

static int tests_passed, tests_failed, checks_failed;
static const char *test_filter; /* run only the tests whose name holds this */

#define CHECK(condition)                                                             \
    do {                                                                             \
        if (!(condition)) {                                                          \
            checks_failed++;                                                         \
            printf("%s:%d: %s: failed: %s\n", __FILE__, __LINE__, __func__, #condition); \
        }                                                                            \
    } while (0)

/* The status a call returns, by name when it is another. */
#define CHECK_STATUS(call, expected)                                                     \
    do {                                                                                 \
        rw_status got_ = (call);                                                         \
        if (got_ != (expected)) {                                                        \
            checks_failed++;                                                             \
            printf("%s:%d: %s: %s gave \"%s\", expected \"%s\"\n", __FILE__, __LINE__, __func__, \
                   #call, rw_status_str(got_), rw_status_str(expected));                 \
        }                                                                                \
    } while (0)

/* After a step without which the rest of a test makes no sense. */
#define REQUIRE(condition)                                                             \
    do {                                                                               \
        if (!(condition)) {                                                            \
            printf("%s:%d: %s: cannot go on: %s\n", __FILE__, __LINE__, __func__, #condition); \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

#endif
