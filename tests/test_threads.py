"""How many threads: who decides, limits, and what a forked child does."""

import os
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

import rewire as rw
from rewire import _core, _resources, info, threads
from small import HANG_SECONDS

needs_openmp = pytest.mark.skipif(not _core.openmp(), reason="built without OpenMP")


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing set, eight processors, nobody limits."""
    for name in ("REWIRE_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "cpu_count", lambda: 8)
    monkeypatch.setattr(threads, "_chosen", None)


@needs_openmp
def test_order_of_precedence(monkeypatch):
    assert rw.get_num_threads() == 8
    monkeypatch.setenv("OMP_NUM_THREADS", "7,2")
    assert rw.get_num_threads() == 7
    monkeypatch.setenv("REWIRE_NUM_THREADS", "6")
    assert rw.get_num_threads() == 6
    rw.set_num_threads(5)
    assert rw.get_num_threads() == 5
    assert threads.resolve(4) == 4
    rw.set_num_threads(None)
    assert rw.get_num_threads() == 6


@needs_openmp
@pytest.mark.parametrize(("asked", "found"), [(-1, 8), (-2, 7), (-8, 1), (-100, 1), (1, 1), (30, 30)])
def test_negative_counts_from_the_end(asked, found):
    assert threads.resolve(asked) == found


@pytest.mark.parametrize("value", [0, 1.5, "2", True, 5000, None.__class__])
def test_wrong_numbers(value):
    for call in (rw.set_num_threads, threads.resolve):
        with pytest.raises((TypeError, ValueError), match="must be"):
            call(value)


def test_environment_that_makes_no_sense(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "many")  # not ours: ignored
    threads.resolve(None)
    assert "many" not in info.thread_count()[1]
    monkeypatch.setenv("REWIRE_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="REWIRE_NUM_THREADS must be an integer, got 'many'"):
        threads.resolve(None)
    monkeypatch.setenv("REWIRE_NUM_THREADS", "0")
    with pytest.raises(ValueError, match="REWIRE_NUM_THREADS must be >= 1"):
        threads.resolve(None)


@needs_openmp
def test_threadpool_limits_are_followed():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    if _core.openmp_max_threads() < 2:
        pytest.skip("nothing to limit")
    with threadpoolctl.threadpool_limits(1):
        assert threads.resolve(None) == threads.resolve(4) == 1
    assert threads.resolve(4) == 4


def test_quota_of_a_control_group(tmp_path, monkeypatch):
    (tmp_path / "job").mkdir()
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "job" / "cpu.max").write_text("150000 100000\n")
    monkeypatch.setattr(_resources, "_own_groups", lambda controller: iter([tmp_path / "job", tmp_path]))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    assert _resources.cpu_count() == 2
    (tmp_path / "job" / "cpu.max").write_text("what\n")
    assert _resources.cpu_count() == 16


def test_memory_of_a_control_group(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 50000\n")
    monkeypatch.setattr(_resources, "_own_groups", lambda controller: iter([tmp_path]))
    assert _resources.memory_available() == 150_000
    (tmp_path / "memory.max").write_text("max\n")
    assert _resources.memory_available() != 150_000


# --- fork -------------------------------------------------------------------------------

FORK = """
import os, sys, warnings
import numpy as np
import rewire as rw
net = rw.Sequential([rw.Sparse(300, 400, activation="relu"), rw.Sparse(400, 3, activation="softmax")])
X, y = np.random.default_rng(0).normal(size=(300, 300)), np.arange(300) % 3
trainer = rw.Trainer(net, loss="cross_entropy", threads=2)
trainer.fit(X, y, verbose=0)
sys.stdout.flush()
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, newer Pythons
    pid = os.fork()
if pid == 0:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        trainer.fit(X, y, verbose=0)
        net.predict(X, threads=2)
        trainer.fit(X, y, verbose=0)
    print(len(seen), rw.get_num_threads(), seen[0].category.__name__, seen[0].message, flush=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
trainer.fit(X, y, verbose=0)
print("parent", rw.threads.resolve(2), flush=True)
"""


@needs_openmp
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_works_on_one_thread_and_says_so_once():
    env = {**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=HANG_SECONDS, env=env
    )
    assert done.returncode == 0, done.stderr
    child, parent = done.stdout.strip().splitlines()
    assert child.startswith("1 1 RuntimeWarning this process was forked: rewire works on one thread here")
    assert parent == "parent 2"


def test_asking_does_not_warn(monkeypatch):
    monkeypatch.setattr(threads, "_forked", True)
    monkeypatch.setattr(threads, "_warned", False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rw.get_num_threads() == 1
        assert threads.resolve(1) == 1


def test_setting_is_used():
    rw.set_num_threads(2)
    net = rw.Sequential([rw.Sparse(10, 3)])
    assert net.predict(np.zeros((4, 10))).shape == (4, 3)


def test_threads_sleep_and_the_environment_is_left_alone():
    code = "import os; before = dict(os.environ); import rewire; assert dict(os.environ) == before"
    for extra in ({}, {"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}):
        subprocess.run(
            [sys.executable, "-c", code], check=True, timeout=HANG_SECONDS, env={**os.environ, **extra}
        )


LATE = """
import ctypes
ctypes.CDLL("libgomp.so.1")
import rewire.info
print(rewire.info.describe()["parallel code"])
"""


@needs_openmp
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="libgomp is Linux's")
@pytest.mark.parametrize("code, extra, words", [
    (LATE, {}, "import rewire first, or set GOMP_SPINCOUNT=3000"),
    (LATE, {"GOMP_SPINCOUNT": "3000"}, "as GOMP_SPINCOUNT said"),
    (LATE.replace("ctypes.CDLL", "str"), {}, "for 3000 turns"),
])  # fmt: skip
def test_info_says_how_threads_wait(code, extra, words):
    """A library that others have loaded first waits as they wish."""
    env = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | extra
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=HANG_SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert words in done.stdout


def test_a_child_forked_while_a_network_is_trained_says_so():
    """Its copy of the weights may be half changed: it predicts, or says that it was forked meanwhile."""
    net = rw.Sequential([rw.Sparse(300, 2000, density=0.2), rw.Sparse(2000, 2, density=1.0)])
    trainer = rw.Trainer(net, loss="cross_entropy", threads=1)
    X = np.random.default_rng(0).normal(size=(256, 300)).astype(np.float32)
    y = np.arange(256) % 2
    stop = threading.Event()

    def train():
        while not stop.is_set():
            trainer.fit(X, y, epochs=1, batch_size=256, verbose=0)

    thread = threading.Thread(target=train)
    thread.start()
    ends = []
    try:
        while len(ends) < 60 and ends.count(7) < 2:
            time.sleep(0.003)
            child = os.fork()
            if not child:
                try:
                    net.predict(X[:2], threads=1)
                    os._exit(0)
                except RuntimeError as error:
                    os._exit(7 if "this process was forked while" in str(error) else 1)
                except BaseException:
                    os._exit(2)
            ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    finally:
        stop.set()
        thread.join()
    assert set(ends) <= {0, 7} and 7 in ends, ends
