"""Forged checkpoints with a right checksum: each is refused with a FileError, or loads and does everything.

That is: it predicts, trains an epoch, saves, loads again and gives the same outputs. DivergenceError is no
fault where the file holds numbers that diverge by themselves (``forging.huge``); any other exception is, and
so is a crash, a hang, or memory that grows with the number of files.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import forging
from small import GROWN, SELDOM

CHUNK, GROWTH, SECONDS = 500, 256, 900  # files of a process, the MiB it may grow by, and when it hangs


@SELDOM
@GROWN
def test_a_few_hundred_forged_files(tmp_path):
    found, faults = forging.run(20, 160, 12, tmp_path)
    assert not faults, "\n".join(faults)
    # The changes are neither so rough that everything is refused, nor so mild that nothing is.
    assert found["fine"] > 20 and found["refused"] + found["refused, network loads"] > 60


@pytest.mark.soak
def test_twenty_thousand_forged_files(tmp_path):
    total, faults = Counter(), []
    start = time.time_ns() // 1_000_000 % 10**9
    for seed in range(start, start + 20_000 // CHUNK):
        command = [sys.executable, forging.__file__, str(seed), str(CHUNK), str(tmp_path)]
        path = os.pathsep.join([str(Path(forging.__file__).parent), *sys.path])
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, env={**os.environ, "PYTHONPATH": path}
        )
        assert done.returncode == 0, f"chunk {seed} ended with {done.returncode}: {done.stderr[-2000:]}"
        said = json.loads(done.stdout)
        total += Counter(said["found"])
        faults += said["faults"]
        assert said["MiB grown"] < GROWTH, f"chunk {seed} grew by {said['MiB grown']} MiB"
    print(dict(total))
    assert not faults, "\n".join(faults)
