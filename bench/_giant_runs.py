"""The parts of `giant.py`, each made for a process of its own (see `_apart.py`)."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import rewire as rw
from rewire._container import blocks
from rewire.info import peak_memory

CLASSES = 10
OUTPUT_LINKS = 1_000_000
MOST_WAIT = 600.0  # seconds after its last checkpoint in which a process is killed for certain


@contextmanager
def stage(into: dict[str, Any], name: str) -> Iterator[None]:
    """Seconds of a part, and the most memory that the process had meanwhile."""
    try:  # the peak begins anew, where the kernel can do that
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass
    begin = time.perf_counter()
    yield
    into[name] = {"seconds": time.perf_counter() - begin, "peak": peak_memory()}


def images(data: str, first: int, end: int, *, test: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Some images of a set, of those for tests or the others, in [0, 1]."""
    found = rw.datasets.load(data)
    X, y = (found.X_test, found.y_test) if test else (found.X, found.y)
    return (X[first:end] / X[:1000].max()).astype(np.float32), y[first:end]


def digest(trainer: rw.Trainer) -> str:
    """Of all links, weights, biases and momenta, and of where training stands."""
    found = hashlib.blake2b(f"{trainer.epoch} {trainer.step} {trainer.rewirings}".encode(), digest_size=16)
    for name, array in trainer.network.parts(None).items():
        found.update(name.encode())
        for block in blocks(array):
            found.update(block)
    return found.hexdigest()


def steps_before_the_kill(samples: int, batch: int) -> int:
    """Half of those of the epoch in which a process is killed."""
    return -(-samples // batch) // 2


def train(
    *,
    threads: int,
    width: int,
    fan_in: int,
    samples: int,
    batch: int,
    shards: int,
    file: str,
    data: str = "fashion-mnist",
) -> dict[str, Any]:
    """Build a network of three such layers, train it on both halves of the samples, SET between, save it."""
    parts: dict[str, Any] = {}
    links = min(OUTPUT_LINKS, CLASSES * width)
    half = samples // 2
    halves = images(data, 0, half), images(data, half, samples)
    sizes = halves[0][0].shape[1], width, width
    with stage(parts, "build"):
        layers: list[Any] = [rw.Sparse(n, width, fan_in=fan_in, activation="relu") for n in sizes]
        net = rw.Sequential([*layers, rw.Sparse(width, CLASSES, links=links, activation="softmax")], seed=0)
    trainer = rw.Trainer(
        net, loss="cross_entropy", optimizer=rw.SGD(lr=1e-3, momentum=0.9), rewiring=rw.SET(0.3),
        threads=threads, shards=shards,
    )  # fmt: skip
    needs = trainer.memory(batch)
    with stage(parts, "train"):
        for X, y in halves:
            row = trainer.fit(X, y, batch_size=batch, verbose=0).epochs[-1]
    parts["train"]["rewiring"] = row["seconds_rewiring"]
    with stage(parts, "save"):
        trainer.save(file)
    parts["save"]["disk"] = os.path.getsize(file)
    return {
        "parts": parts, "neurons": 3 * width + CLASSES, "links": net.nnz, "bytes": net.nbytes,
        "counted": needs.total, "loss": row["loss"],
    }  # fmt: skip


def evaluate(
    *, threads: int, file: str, samples: int, micro: int, data: str = "fashion-mnist"
) -> dict[str, Any]:
    """Load the network alone, and evaluate it on images of the test set."""
    parts: dict[str, Any] = {}
    X, y = images(data, 0, samples, test=True)
    with stage(parts, "load"):
        net = rw.load(file)
    trainer = rw.Trainer(net, loss="cross_entropy", threads=threads)
    with stage(parts, "evaluate"):
        found = trainer.evaluate(X, y, batch_size=micro)
    return {"parts": parts, **found}


def go_on(
    *,
    threads: int,
    file: str,
    first: int,
    samples: int,
    batch: int,
    stop: bool = False,
    data: str = "fashion-mnist",
) -> dict[str, Any]:
    """Resume the run and learn from more images; with ``stop`` save it half way there and be killed.

    ``begun``: steps of the epoch that had been made when it was resumed.
    """
    parts: dict[str, Any] = {}
    callbacks = [Stopping(file, steps_before_the_kill(samples, batch))] if stop else None
    with stage(parts, "resume"):
        trainer = rw.Trainer.resume(file, callbacks=callbacks)
    begun = trainer.step_in_epoch
    trainer.threads = threads
    X, y = images(data, first, first + samples)
    with stage(parts, "go on"):
        trainer.fit(X, y, batch_size=batch, verbose=0)
    return {"parts": parts, "digest": digest(trainer), "step": trainer.step, "begun": begun}


class Stopping(rw.Callback):
    """Saves the run after some steps of an epoch, and has the process killed in the middle of the next."""

    def __init__(self, file: str, steps: int) -> None:
        self.file, self.steps = file, steps
        self.begin = time.perf_counter()

    def on_epoch_begin(self, state: Any) -> None:
        self.begin = time.perf_counter()

    def on_step_end(self, state: Any) -> None:
        done = state.trainer.step_in_epoch
        if done >= self.steps:  # more than that where an earlier process has been killed before this was told
            state.trainer.save(self.file)
            step = (time.perf_counter() - self.begin) / done
            kill = threading.Timer(min(step / 2, MOST_WAIT), os.kill, (os.getpid(), signal.SIGKILL))
            kill.daemon = True
            kill.start()
