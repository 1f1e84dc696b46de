"""Programs that torchrun has started (gloo): all ranks end with the bits of one process, or all end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

import rewire as rw

sys.path.insert(0, str(Path(__file__).parent.parent))
from ranks import digests  # noqa: E402

pytestmark = [
    pytest.mark.skipif(
        not dist.is_available() or not dist.is_gloo_available(), reason="PyTorch without gloo"
    ),
    pytest.mark.filterwarnings("ignore:rewiring '[^']*' (acts once|never acts)"),
]
HANG_SECONDS = 900  # as in tests/small.py


def ranks_of(count, what, folder, given):
    """What `ranks.py` wrote in each of so many ranks; its exit code, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
         str(count), Path(__file__).parent.parent / "ranks.py", what, folder, given],
        capture_output=True, text=True, timeout=HANG_SECONDS,
        env={**os.environ, "PYTHONPATH": str(Path(rw.__file__).parent.parent), "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    files = [folder / f"{rank}-of-{count}.json" for rank in range(count)]
    return [json.loads(f.read_text()) for f in files if f.exists()], done.returncode, done.stderr


@pytest.mark.parametrize(
    "count, table", [(2, "small"), *(pytest.param(n, "whole", marks=pytest.mark.soak) for n in (2, 3, 4))]
)
def test_every_strategy_has_the_bits_of_one_process(tmp_path, count, table):
    found, code, wrong = ranks_of(count, "train", tmp_path, table)
    assert code == 0, wrong
    assert found == [digests(table, workers=1)] * count


@pytest.mark.soak
def test_a_rank_that_reads_for_long_is_not_given_up(tmp_path):
    found, code, wrong = ranks_of(2, "slow", tmp_path, "static")
    assert code == 0 and len(found) == 2 and found[0] == found[1], wrong


@pytest.mark.soak
@pytest.mark.parametrize("strategy", ["local", "wassp"])
def test_a_death_ends_every_strategy(tmp_path, strategy):
    found, code, _ = ranks_of(2, "die", tmp_path, strategy)
    assert code != 0 and not found
