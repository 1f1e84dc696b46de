/* asserting.h -- a call whose precondition does not hold ends a test build. */
#ifndef RW_TEST_ASSERTING_H
#define RW_TEST_ASSERTING_H

#include "harness.h"

#if defined(__unix__)
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Does `call` abort? It runs in a child that says nothing. */
#define ABORTS(call) (fork_says_nothing() == 0 ? ((void)(call), _exit(0), false) : child_aborted())

static pid_t child;

static pid_t fork_says_nothing(void)
{
    fflush(NULL);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        REQUIRE(freopen("/dev/null", "w", stderr));
    }
    return child;
}

static bool child_aborted(void)
{
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_preconditions_are_asserted(void)
{
    rw_store *s = rw_store_new(5, 9, 2, RW_F32);
    REQUIRE(s);
    rw_plan *p = rw_plan_new(s);
    REQUIRE(p);
    rw_fault at;
    rw_edit *e;
    rw_run none = { 0, NULL, NULL };
    int32_t cap;
    CHECK(!ABORTS(rw_group_find(s, 0, 3)));
    CHECK(ABORTS(rw_group_find(s, 3, 3)));
    CHECK(ABORTS(rw_group_find(s, 0, 9)));
    CHECK(ABORTS(rw_store_unpin(s)));
    CHECK(ABORTS(rw_window_room(s, 10)));
    CHECK(ABORTS(rw_window_take(s, 3, &cap))); /* nothing has been reserved */
    CHECK(ABORTS(rw_window_give(s, 0, 4)));
    CHECK(ABORTS(rw_plan_reserve(p, -1, 0)));
    CHECK(ABORTS(rw_edit_reserve(s, p, 0, &e, &at)));
    CHECK(ABORTS(rw_plan_prune_zeros(p, &none)));
    CHECK(ABORTS(rw_mirror_build(s, 0)));

    CHECK(rw_plan_grow_random(p, 4, (rw_key){ 1, 2, 3 }, NULL) == RW_OK);
    REQUIRE(rw_edit_reserve(s, p, 1, &e, &at) == RW_OK);
    s->generation++; /* an edit between reserve and commit */
    CHECK(ABORTS(rw_edit_commit(e)));
    s->generation--;
    rw_edit_cancel(e);
    rw_plan_free(p);
    rw_store_free(s);
}
#else
static void test_preconditions_are_asserted(void) {}
#endif

#endif
