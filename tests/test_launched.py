"""Programs that mpiexec has started: all ranks end with the bits of one process, or with one error.

In an environment of its own, which `make` sets up: MPI's wheel brings programs that others may not expect.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import rewire as rw
from ranks import digest, digests, fitted, go_on, made
from rewire.workers import world
from rewire.workers.gloo import Gloo
from small import DEEP_X, DEEP_Y, HANG_SECONDS, deep

ENVIRONMENT = Path(os.environ.get("REWIRE_MPI_ENV", Path(__file__).parent.parent / ".venv-mpi"))
MPIEXEC = ENVIRONMENT / "bin" / "mpiexec"

needs_mpi = pytest.mark.skipif(
    not MPIEXEC.exists(), reason=f"no MPI in {ENVIRONMENT}: make test sets it up, where its wheels can be had"
)

PROGRAM = """
import hashlib, os, signal, sys
import numpy as np
import rewire as rw

def digest(trainer):
    arrays = trainer.network.get_vector(), trainer.network.get_vector("momentum"), trainer.history["loss"]
    return hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in arrays)).hexdigest()[:16]

what, folder = sys.argv[1:]
trainer = rw.Trainer.resume(f"{folder}/start")
data = np.load(f"{folder}/data.npz")
X, y = data["X"], data["y"]
rank = int(os.environ["PMI_RANK"])
if what == "raise" and rank == 1:
    raise ValueError("rank 1 has had enough")
if what == "rows" and rank == 1:
    X, y = X[:-1], y[:-1]

class Act(rw.Callback):
    def on_step_end(self, state):
        if state.step == 2 and what == "die":
            os._exit(3)
        if state.step == 2 and what == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)

trainer.callbacks = [Act()] if what in ("die", "interrupt") else []
trainer.fit(X, y, epochs=2, batch_size=24, verbose=0)
trainer.fit(X, y, epochs=1, batch_size=24, verbose=0)
with open(f"{folder}/rank-{rank}-of-{os.environ.get('PMI_SIZE', 1)}", "w") as file:
    print(trainer.epoch, trainer.step, digest(trainer), file=file)
"""


@pytest.fixture
def launched(tmp_path):
    """Runs the program on so many ranks; gives exit code, what it printed, and seconds."""
    trainer = rw.Trainer(
        deep(), loss="cross_entropy", optimizer=rw.SGD(0.1, momentum=0.9, clip_norm=0.5),
        rewiring={"name": "rigl", "every": 2, "fraction": 0.4}, shards=8, horizon=3,
    )  # fmt: skip
    trainer.save(tmp_path / "start")
    np.savez(tmp_path / "data.npz", X=DEEP_X, y=DEEP_Y)
    (tmp_path / "program.py").write_text(PROGRAM)
    package = str(Path(rw.__file__).parent.parent)

    def run(ranks, what="train"):
        begin = time.monotonic()
        done = subprocess.run(
            [MPIEXEC, "-n", str(ranks), ENVIRONMENT / "bin" / "python", "-W", "ignore",
             tmp_path / "program.py", what, tmp_path],
            capture_output=True, text=True, timeout=HANG_SECONDS,
            env={**os.environ, "PYTHONPATH": package, "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr, time.monotonic() - begin

    return run


@needs_mpi
def test_all_ranks_have_the_bits_of_one(launched, tmp_path):
    """Three ranks, which eight shards are not divided by; a second call goes on from the first."""
    code, _, wrong, _ = launched(3)
    assert code == 0, wrong
    ranks = [(tmp_path / f"rank-{rank}-of-3").read_text().split() for rank in range(3)]
    assert ranks[0][:2] == ["3", "9"] and ranks[1] == ranks[2] == ranks[0]
    subprocess.run(
        [sys.executable, "-W", "ignore", tmp_path / "program.py", "train", tmp_path], text=True,
        capture_output=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(rw.__file__).parent.parent), "PMI_RANK": "0"},
    )  # fmt: skip
    assert (tmp_path / "rank-0-of-1").read_text().split() == ranks[0]


@needs_mpi
def test_ctrl_c_ends_the_call_in_all_and_the_next_goes_on(launched, tmp_path):
    code, _, wrong, _ = launched(2, "interrupt")
    assert code == 0, wrong
    ranks = [(tmp_path / f"rank-{rank}-of-2").read_text().split() for rank in range(2)]
    assert ranks[0][:2] == ["1", "3"] and ranks[1] == ranks[0]


@needs_mpi
@pytest.mark.parametrize(
    "what, words",
    (("raise", "rank 1 has had enough"), ("rows", "rank 1 has another X than rank 0"), ("die", "")),
)
def test_what_goes_wrong_in_one_ends_all(launched, what, words):
    code, _, wrong, seconds = launched(2, what)
    assert code != 0 and words in wrong
    assert seconds < HANG_SECONDS / 2


@needs_mpi
def test_an_error_of_the_command_line_in_one_ends_all(tmp_path):
    """Rank 1 does not find its data; rank 0 waits for it. The exit code is that of the command line."""
    np.savez(tmp_path / "0.npz", X=DEEP_X, y=DEEP_Y)
    code = (
        "import os, sys; from rewire.cli import main; data = sys.argv[1] + os.environ['PMI_RANK'] + '.npz'; "
        "sys.exit(main(['train', '--data', data, '--hidden', '20', '--epochs', '1', '--shards', '2']))"
    )
    done = subprocess.run(
        [MPIEXEC, "-n", "2", ENVIRONMENT / "bin" / "python", "-W", "ignore", "-c", code, f"{tmp_path}/"],
        capture_output=True, text=True, timeout=HANG_SECONDS,
        env={**os.environ, "PYTHONPATH": str(Path(rw.__file__).parent.parent), "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode != 0 and "1.npz" in done.stderr


# --- ways of working, which tests/with_torch/test_ranks.py has under torchrun


def ranks_of(count, what, folder, given):
    """What `ranks.py` wrote in each of so many ranks; its exit code; seconds."""
    begin = time.monotonic()
    done = subprocess.run(
        [MPIEXEC, "-n", str(count), ENVIRONMENT / "bin" / "python", "-W", "ignore",
         Path(__file__).with_name("ranks.py"), what, folder, given],
        capture_output=True, text=True, timeout=HANG_SECONDS,
        env={**os.environ, "PYTHONPATH": str(Path(rw.__file__).parent.parent), "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    found = [
        json.loads(file.read_text())
        for rank in range(count)
        if (file := folder / f"{rank}-of-{count}.json").exists()
    ]
    return found, done.returncode, done.stderr, time.monotonic() - begin


@needs_mpi
@pytest.mark.filterwarnings("ignore:rewiring '[^']*' (acts once|never acts)")
@pytest.mark.parametrize(
    "count, table", [(2, "small"), *(pytest.param(n, "whole", marks=pytest.mark.soak) for n in (2, 3, 4))]
)
def test_every_strategy_has_the_bits_of_one_process(tmp_path, count, table):
    found, code, wrong, _ = ranks_of(count, "train", tmp_path, table)
    assert code == 0, wrong
    assert found == [digests(table, workers=1)] * count


@needs_mpi
@pytest.mark.parametrize("strategy", ["local", "wassp"])
def test_a_death_ends_every_strategy(tmp_path, strategy):
    found, code, _, seconds = ranks_of(2, "die", tmp_path, strategy)
    assert code != 0 and not found
    assert seconds < HANG_SECONDS / 2


@needs_mpi
@pytest.mark.filterwarnings("ignore:rewiring '[^']*' (acts once|never acts)")
@pytest.mark.parametrize(
    "count, fewer", [(2, None), pytest.param(4, 3, marks=pytest.mark.soak)], ids=["2-here", "4-3"]
)
def test_fewer_ranks_go_on(tmp_path, count, fewer):
    """Rank 0's file; the strategy is said anew, without the number of trainings, which the file knows."""
    _, code, wrong, _ = ranks_of(count, "half", tmp_path, "")
    assert code == 0, wrong
    whole = digest(fitted(made("local", "set", 0.3, None), "local", workers=1))
    if fewer is None:
        assert digest(go_on(tmp_path, workers=1)) == whole
    else:
        found, code, wrong, _ = ranks_of(fewer, "rest", tmp_path, "")
        assert code == 0, wrong
        assert found == [whole] * fewer


# --- two hosts: network namespaces with a wire between them, and nothing else


@pytest.fixture
def two_hosts(tmp_path):
    """Names of two, and the words that run something on the first of them."""
    if not hasattr(os, "geteuid") or os.geteuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces need the superuser, and the program ip")
    hosts = [f"rw{os.getpid()}{side}" for side in "ab"]
    folders = [Path("/etc/netns", host) for host in hosts]

    def ip(*words):
        done = subprocess.run(["ip", *words], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no network namespaces here: ip {' '.join(words)}: {done.stderr.strip()}")

    launch = tmp_path / "launch.sh"
    launch.write_text(
        '#!/bin/sh\nwhile [ "$1" = -x ]; do shift; done\n'
        f'host=$1; shift; echo "$host" >>{tmp_path}/asked; exec ip netns exec "$host" sh -c "$*"\n'
    )
    launch.chmod(0o755)
    known = "127.0.0.1 localhost\n" + "".join(f"10.99.7.{i} {host}\n" for i, host in enumerate(hosts, 1))
    try:
        for host, folder in zip(hosts, folders, strict=True):
            ip("netns", "add", host)
            folder.mkdir(parents=True)
            (folder / "hosts").write_text(f"{known}10.99.7.1 {socket.gethostname()}\n")
        ip("link", "add", hosts[0], "type", "veth", "peer", "name", hosts[1])
        for i, host in enumerate(hosts, 1):
            ip("link", "set", host, "netns", host)
            ip("-n", host, "addr", "add", f"10.99.7.{i}/24", "dev", host)
            for device in ("lo", host):
                ip("-n", host, "link", "set", device, "up")
        yield hosts, ["ip", "netns", "exec", hosts[0]], launch
    finally:
        for host, folder in zip(hosts, folders, strict=True):
            subprocess.run(["ip", "netns", "del", host], capture_output=True)
            shutil.rmtree(folder, ignore_errors=True)


@needs_mpi
@pytest.mark.filterwarnings("ignore:rewiring '[^']*' (acts once|never acts)")
def test_two_hosts_have_the_bits_of_one_process(two_hosts, tmp_path):
    hosts, on_first, launch = two_hosts
    done = subprocess.run(
        [*on_first, MPIEXEC, "-launcher", "ssh", "-launcher-exec", launch, "-hosts", ",".join(hosts),
         "-n", "2", "-ppn", "1", ENVIRONMENT / "bin" / "python", "-W", "ignore",
         Path(__file__).with_name("ranks.py"), "train", tmp_path, "small"],
        capture_output=True, text=True, timeout=HANG_SECONDS,
        env={**os.environ, "PYTHONPATH": str(Path(rw.__file__).parent.parent), "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads((tmp_path / f"{rank}-of-2.json").read_text()) for rank in range(2)]
    assert found == [digests("small", workers=1)] * 2
    assert hosts[1] in (tmp_path / "asked").read_text().split()


# --- who is one of several


@pytest.fixture
def one_of_two(monkeypatch):
    """As mpiexec would have started this process."""
    monkeypatch.setattr(world, "_found", None)
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setenv("REWIRE_RANK_PROCESS", str(os.getpid()))


@pytest.mark.parametrize("said, size", [
    ({"PMI_SIZE": "4", "PMI_RANK": "1"}, 4),  # mpiexec of MPICH
    ({"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "0", "PMIX_RANK": "0"}, 3),  # of Open MPI
    ({"MPI_LOCALNRANKS": "2"}, 2),  # of MPICH on one machine
    ({"PMI_RANK": "0", "SLURM_STEP_NUM_TASKS": "3", "SLURM_NTASKS": "8"}, 3),  # srun -n 3 in a job of 8
    ({"PMIX_RANK": "2", "SLURM_NTASKS": "8"}, 8),  # srun --mpi=pmix
    ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, 0),  # a script of sbatch
    ({"PMI_RANK": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "8"}, 1),  # srun -n 1 in that job
    ({"PMI_RANK": "0", "SLURM_NTASKS": "many"}, 0),
    ({}, 0),
])  # fmt: skip
def test_how_many_ranks_launchers_and_schedulers_say(monkeypatch, said, size):
    for name in (*world._LAUNCHED, *world._MAYBE, *world._SCHEDULED):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert world._mpi_size() == size


@pytest.mark.parametrize("error", (ImportError("no mpi4py"), RuntimeError("cannot load MPI library")))
def test_without_mpi_it_says_what_to_do(one_of_two, monkeypatch, error):
    """mpi4py raises the second where it finds no MPI."""

    def none():
        raise error

    monkeypatch.setattr(world, "Mpi", none)
    with pytest.raises(ImportError, match=rf"{error}.*rewire\[mpi\].*workers=1"):
        deep_trainer().fit(DEEP_X, DEEP_Y, verbose=0)
    assert deep_trainer().fit(DEEP_X, DEEP_Y, verbose=0, workers=1)


def test_ranks_end_when_torchrun_has_ended(monkeypatch):
    """Killed, or by a signal that it does not know, SIGUSR1 say: nobody would see that ranks go on."""
    rank = Gloo.__new__(Gloo)
    rank.rank, rank.size, rank._launcher = 0, 2, os.getppid()
    monkeypatch.setattr(os, "getppid", lambda: 1)
    with pytest.raises(rw.WorkerError, match="the launcher of these 2 ranks has ended; go on from the last"):
        rank.gather([])


def test_what_a_rank_has_started_is_no_rank(one_of_two, monkeypatch):
    """A process of loky or of Dask inherits all that a launcher has said."""
    monkeypatch.setenv("REWIRE_RANK_PROCESS", str(os.getppid()))
    assert world.world() is None and not world.launched()


def deep_trainer():
    return rw.Trainer(deep(), loss="cross_entropy", rewiring=None)
