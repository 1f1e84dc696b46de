"""What all tests share: how hard Hypothesis tries, and which tests wait for `make soak`."""

import gc
import os
import signal
from collections import Counter
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings

# Tests leave max_examples and stateful_step_count to these, so that one word changes how
# long the suite searches. The everyday search is the same in every run: a change that
# turns it red has itself to blame. The soak draws afresh each time.
_COMMON = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("everyday", max_examples=50, stateful_step_count=40, derandomize=True, **_COMMON)
settings.register_profile("soak", max_examples=20_000, stateful_step_count=100, **_COMMON)

# `make test` gives whole files to its processes; a long one that came last would keep the others waiting.
LONGEST = {
    "test_sklearn_contract", "test_store_machine", "test_bench", "test_estimators", "test_rule_properties",
    "test_checkpoint", "test_cli", "test_mutants", "test_python_mutants", "test_analysis", "test_types",
    "test_file_memory", "test_outside", "test_carried", "test_forged_files", "test_links", "test_horizon",
    "test_rules", "test_threads", "test_workers", "test_wassp", "test_readme",
}  # fmt: skip

# These have an environment of their own: `make test-torch`.
collect_ignore = [] if find_spec("torch") else ["with_torch"]


def pytest_addoption(parser):
    parser.addoption("--soak", action="store_true", help="soak tests too, and hours of Hypothesis")


# A shell starts what it runs in the background with Ctrl-C ignored, and nohup ignores SIGHUP. Programs that
# tests start would inherit that, and wait for ever for the signal that a test sends.
for ignored, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, handler)


def pytest_configure(config):
    soak = config.getoption("--soak")
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("soak" if soak else "everyday"))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect all tests without the garbage collector, and keep it from looking at them again.

    They and the libraries stay to the end: a million objects, through which it would go whenever a test calls
    it or makes much.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--soak"):
        later = {item for item in items if "soak" in item.keywords}
        later.update(not_today([item for item in items if item not in later]))
        config.hook.pytest_deselected(items=[*later])
        items[:] = [item for item in items if item not in later]
    # Tests that measure time go first, while nothing else of this process has left threads or warm caches
    # behind; then the longest files; the order among the others stays.
    items.sort(key=lambda item: ("serial" not in item.keywords, item.path.stem not in LONGEST))


def not_today(items):
    """Of tests that are marked ``in_turn(n)`` all cases but one of n in a row, each time another of the n.

    What the topmost decorators vary (groups, dtypes, optimizers) takes turns over what those below vary, of
    which every value comes up. A case that is asked for by its name, alone, runs.
    """
    seen = Counter()
    for item in items:
        mark = item.get_closest_marker("in_turn")
        if mark is not None:
            n, test = mark.args[0], (item.path, item.originalname)
            i = seen[test]
            seen[test] += 1
            if i % n != i // n % n:
                yield item
