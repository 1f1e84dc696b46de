"""The runs of `scale.py`, each made for a process of its own (see `_apart.py`)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
from _apart import peak_bytes
from _clock import Clock

import rewire as rw
from rewire.presets import mlp_layers

FEATURES, CLASSES, SAMPLES, BATCH = 3312, 5, 135, 2  # the lung data of the SET authors' large runs
EPSILON = 20


def _lung_data() -> tuple[np.ndarray, np.ndarray]:
    """The shape of the lung data: class means some way apart, and noise."""
    rng = np.random.default_rng(0)
    y = np.arange(SAMPLES) % CLASSES
    means = rng.standard_normal((CLASSES, FEATURES))
    x = 0.3 * means[y] + rng.standard_normal((SAMPLES, FEATURES))
    return x.astype(np.float32), y


def _trainer(layers: list[Any], threads: int, rewiring: Any, momentum: float = 0.9) -> rw.Trainer:
    net = rw.Sequential(layers, seed=0)
    optimizer = rw.SGD(lr=1e-3, momentum=momentum)
    return rw.Trainer(net, loss="cross_entropy", optimizer=optimizer, rewiring=rewiring, threads=threads)


def lung(*, threads: int, width: int, group: int = 1, batch: int = BATCH, epochs: int = 2) -> dict[str, Any]:
    """Epochs of SET on 3312-width-width-width-5, after a first one."""
    x, y = _lung_data()
    sizes = [FEATURES, width, width, width, CLASSES]
    begin = time.perf_counter()
    layers = mlp_layers(sizes, epsilon=EPSILON, hidden=rw.AllReLU(0.6), group=group, output="softmax")
    trainer = _trainer(layers, threads, rw.SET(0.3))
    start = time.perf_counter() - begin
    trainer.fit(x, y, epochs=1, batch_size=batch, verbose=0)  # takes memory, rewires nothing
    rows = []
    for _ in range(epochs):
        with Clock() as clock:
            row = trainer.fit(x, y, epochs=1, batch_size=batch, verbose=0).epochs[-1]
        kept = {name: row[f"seconds_{name}"] for name in ("training", "rewiring")}
        rows.append({**kept, "clean": clock.block.clean, "loss": row["loss"]})
    net = trainer.network
    return {"nnz": net.nnz, "bytes": net.nbytes, "start": start, "epochs": rows}


def start(*, threads: int, width: int, links: int) -> dict[str, Any]:
    """A random start of so many connections with He weights."""
    rw.set_num_threads(threads)
    before, times = peak_bytes(), []
    for _ in range(2):
        begin = time.perf_counter()
        net = rw.Sequential([rw.Sparse(width, width, links=links, init="he")], seed=0)
        times.append(time.perf_counter() - begin)
        assert net.nnz == links
        kept = net.nbytes
        del net
    return {"seconds": min(times), "kept": kept, "grown": peak_bytes() - before}


def giant(
    *, threads: int, width: int, fan_in: int, batch: int, steps: int, momentum: float
) -> dict[str, Any]:
    """A few steps of a network three such layers deep, from 1000 inputs to 10 classes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch * steps, 1000), dtype=np.float32)
    y = rng.integers(0, 10, batch * steps)
    layers: list[Any] = [
        rw.Sparse(n, width, fan_in=fan_in, activation="relu", init="he") for n in (1000, width, width)
    ]
    layers.append(rw.Sparse(width, 10, links=min(1_000_000, 10 * width), activation="softmax"))
    begin = time.perf_counter()
    trainer = _trainer(layers, threads, rw.Static(), momentum)
    start = time.perf_counter() - begin
    row = trainer.fit(x, y, epochs=1, batch_size=batch, verbose=0).epochs[-1]
    net = trainer.network
    return {
        "nnz": net.nnz, "neurons": 3 * width + 10, "bytes": net.nbytes, "start": start,
        "step": row["seconds_training"] / steps, "loss": row["loss"],
    }  # fmt: skip


def beside_a_busy_core(*, threads: int, samples: int = 12_800, rounds: int = 5) -> dict[str, Any]:
    """An epoch of the Fashion-MNIST network, alone and beside an endless loop on the last processor."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((samples, 784), dtype=np.float32), rng.integers(0, 10, samples)
    sizes = [784, 1000, 1000, 1000, 10]
    layers = mlp_layers(sizes, epsilon=EPSILON, hidden=rw.AllReLU(0.6), output="softmax")
    trainer = _trainer(layers, threads, rw.Static())

    def seconds() -> float:
        begin = time.perf_counter()
        trainer.fit(x, y, epochs=1, batch_size=128, verbose=0)
        return time.perf_counter() - begin

    seconds()
    alone = sorted(seconds() for _ in range(rounds))[rounds // 2]
    last = max(os.sched_getaffinity(0))
    loop = f"import os\nos.sched_setaffinity(0, [{last}])\nwhile True: pass"
    busy = subprocess.Popen([sys.executable, "-c", loop])
    try:
        time.sleep(0.3)
        beside = sorted(seconds() for _ in range(rounds))[rounds // 2]
    finally:
        busy.kill()
        busy.wait()
    return {"alone": alone, "beside": beside}
