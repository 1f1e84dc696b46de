"""Data that are read in pieces take the memory of windows, and not of themselves."""

import os
import subprocess
import sys

import numpy as np
import pytest

from small import HANG_SECONDS

# One process imports and trains once; for every case a fork of it, whose peak begins where the fork began.
PEAKS = """
import os, sys
import numpy as np
import rewire as rw
from rewire.estimators import SparseMLPClassifier
FEATURES, ROWS = 512, int(sys.argv[2])
def kib(name):
    with open("/proc/self/status") as file:
        return int(file.read().split(name + ":")[1].split()[0])
def new():
    net = rw.Sequential([rw.Sparse(FEATURES, 20, density=0.1, activation="relu"),
                         rw.Sparse(20, 3, density=1.0, activation="softmax")])
    return rw.Trainer(net, loss="cross_entropy", standardize=True, threads=1)
def fit(x, y):
    new().fit(x, y, epochs=1, validation_data=(x, y), verbose=0)
def predict(x, y):
    new().network.predict(x)
def batches(x, y):
    given = ((np.array(x[at : at + 500]), y[at : at + 500]) for at in range(0, 3000, 500))
    made = new()
    made.learn_inputs(np.array(x[:500]))
    made.fit(given, steps_per_epoch=6, verbose=0)
def estimator(x, y):
    options = dict(hidden_layer_sizes=(20,), epsilon=2, max_iter=1, early_stopping=True, n_jobs=1,
                   standardize=False)
    SparseMLPClassifier(**options).fit(x, y).predict(x)
def weighted(x, y):
    made = SparseMLPClassifier((20,), epsilon=2, max_iter=1, n_jobs=1, standardize=False)
    made.fit(x, y, np.arange(len(y)) % 2)
def whole(x, y):
    fit(np.array(x), y)
def opened(rows):
    return np.memmap(sys.argv[1], "f4", "r", shape=(rows, FEATURES)), np.arange(rows) % 3
for case in (fit, predict, estimator, weighted):
    case(*[np.array(a) for a in opened(600)])  # whatever is imported late
for case in (fit, predict, batches, estimator, weighted, whole):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        before, data = kib("VmRSS"), opened(ROWS)
        case(*data)
        print(case.__name__, kib("VmHWM") - before, flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise SystemExit(f"{case.__name__} failed")
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the peak from /proc")
def test_memory_is_that_of_windows(tmp_path):
    rows = 100_000  # 195 MiB, mostly a hole in the file
    with open(tmp_path / "x", "wb") as file:
        np.random.default_rng(0).normal(size=(600, 512)).astype("f4").tofile(file)
        file.truncate(rows * 512 * 4)
    done = subprocess.run(
        [sys.executable, "-c", PEAKS, str(tmp_path / "x"), str(rows)], capture_output=True, text=True,
        timeout=HANG_SECONDS, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    taken = {name: int(kib) / 1024 for name, kib in map(str.split, done.stdout.splitlines())}
    assert taken.pop("whole") > 195
    assert len(taken) == 5 and all(mib < 130 for mib in taken.values()), taken
