"""What all tests share: how hard Hypothesis tries, and which tests wait for `make soak`."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# Tests leave max_examples and stateful_step_count to these, so that one word changes how
# long the suite searches. The everyday search is the same in every run: a change that
# turns it red has itself to blame. The soak draws afresh each time.
_COMMON = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("everyday", max_examples=100, stateful_step_count=50, derandomize=True, **_COMMON)
settings.register_profile("soak", max_examples=20_000, stateful_step_count=100, **_COMMON)

# `make test` gives whole files to its processes; a long one that came last would keep the others waiting.
LONGEST = {
    "test_sklearn_contract", "test_store_machine", "test_bench", "test_estimators", "test_rule_properties",
    "test_checkpoint", "test_cli", "test_mutants", "test_python_mutants", "test_analysis", "test_types",
    "test_file_memory", "test_outside", "test_carried", "test_forged_files",
}  # fmt: skip


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


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--soak"):
        skip = pytest.mark.skip(reason="takes minutes to hours: make soak")
        for item in items:
            if "soak" in item.keywords:
                item.add_marker(skip)
    # Tests that measure time go first, while nothing else of this process has left threads or warm caches
    # behind; then the longest files; the order among the others stays.
    items.sort(key=lambda item: ("serial" not in item.keywords, item.path.stem not in LONGEST))
