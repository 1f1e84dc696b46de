"""A sparse Walsh-Hadamard transform beside the whole one: where it wins, by length and coefficients.

A signal of n = 2^m values has a spectrum with k coefficients that are not zero. The sparse transform reads
some of the values: on a random subgroup of B >= 1.5 k of them, and on m shifts of it. A transform of B values
puts every coefficient into one of B bins; in a bin with one coefficient, the signs over the shifts are the
bits of its index. What is found is taken out of the bins of two other subgroups, until nothing is left
(Scheibler, Haghighatshoar, Vetterli, IEEE Transactions on Information Theory 61:2115, 2015; Li, Bradley,
Pawar, Ramchandran, IEEE International Symposium on Information Theory 2014). It reads 3 B (m + 1) values.

The sparse one is NumPy here, the whole one is `rw.Mix("wht")`, in C: so additions are counted, too. Processor
time of one thread, in turns. The last table asks whether what networks are given has such spectra.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REWIRE_NUM_THREADS"), "1")

import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from _report import Report, options
from _turns import ratio, turns
from numpy.typing import NDArray

import rewire as rw
from rewire import _core

LENGTHS = (10, 14, 18, 20)  # m
COEFFICIENTS = (4, 32, 256)
SUBGROUPS, LOAD = 3, 1.5
TRIALS, LONG = 20, 14  # fewer from this m on
NOISE = (0.0, 1e-6, 1e-3)  # of every value, relative to the signal's deviation
TOLERANCE = 1e-3  # relative to the largest bin
PARTS = (0.01, 0.05, 0.1, 0.25)

Sampler = Callable[[NDArray[np.int64]], NDArray[np.float64]]  # indices -> values


def hadamard(x: NDArray[Any]) -> NDArray[Any]:
    """The transform along the last axis, without a factor."""
    y, step = x.astype(np.float64), 1
    while step < x.shape[-1]:
        pairs = y.reshape(*x.shape[:-1], -1, 2, step)
        y = np.stack([pairs[..., 0, :] + pairs[..., 1, :], pairs[..., 0, :] - pairs[..., 1, :]], axis=-2)
        y = y.reshape(x.shape)
        step *= 2
    return y


def parity(x: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whether the number of bits is odd."""
    return np.bitwise_count(x).astype(np.int64) & 1


def subgroup(m: int, b: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A random basis of b independent indices, and the 2^b sums of them."""
    while True:
        basis, sums = rng.integers(1, 1 << m, b), np.zeros(1, np.int64)
        for one in basis:
            sums = np.concatenate([sums, sums ^ one])
        if len(np.unique(sums)) == len(sums):
            return basis, sums


def sparse_wht(sample: Sampler, m: int, k: int, rng: np.random.Generator) -> dict[int, float] | None:
    """Index -> coefficient, of sum coefficient * (-1)^<index, position>; None where something is left."""
    b = min(m, math.ceil(math.log2(LOAD * k)))
    shifts = np.concatenate([[0], 1 << np.arange(m)])
    bits = 1 << np.arange(b)
    bases, bins = [], []
    for _ in range(SUBGROUPS):
        basis, sums = subgroup(m, b, rng)
        bases.append(basis)
        bins.append(hadamard(sample(shifts[:, None] ^ sums)) / len(sums))  # (shifts, bins)
    least = TOLERANCE * max(float(np.abs(each[0]).max()) for each in bins)
    found: dict[int, float] = {}
    for _ in range(k):
        before = len(found)
        for basis, u in zip(bases, bins, strict=True):
            size = np.abs(u)
            single = np.flatnonzero((size[0] > least) & (np.abs(size - size[0]).max(axis=0) <= least))
            index = ((u[1:, single] * u[0, single] < 0) << np.arange(m)[:, None]).sum(axis=0)
            there = (parity(basis[:, None] & index) * bits[:, None]).sum(axis=0)
            right = there == single
            index, values = index[right], u[0, single[right]].copy()
            for other, v in zip(bases, bins, strict=True):
                at = (parity(other[:, None] & index) * bits[:, None]).sum(axis=0)
                signs = 1 - 2 * parity(shifts[:, None] & index)
                np.subtract.at(v.T, at, (signs * values).T)
            for i, value in zip(index.tolist(), values.tolist(), strict=True):
                found[i] = found.get(i, 0.0) + value
        if len(found) == before:
            break
    left = max(float(np.abs(u).max()) for u in bins)
    return found if left <= least else None


def signal(m: int, k: int, noise: float, rng: np.random.Generator) -> tuple[NDArray[Any], dict[int, float]]:
    """Values of a spectrum with k coefficients between 1 and 2, of either sign, and these."""
    where = rng.choice(1 << m, k, replace=False)
    values = rng.uniform(1, 2, k) * rng.choice([-1, 1], k)
    spectrum = np.zeros(1 << m)
    spectrum[where] = values
    x = hadamard(spectrum)
    asked = dict(zip(where.tolist(), values.tolist(), strict=True))
    return x + noise * x.std() * rng.standard_normal(len(x)), asked


def agrees(found: dict[int, float] | None, asked: dict[int, float]) -> bool:
    """Whether all coefficients were found, and no others."""
    if found is None:
        return False
    kept = {i: v for i, v in found.items() if abs(v) > 0.1}
    return kept.keys() == asked.keys() and all(abs(kept[i] - asked[i]) < 0.1 for i in asked)


def whole(m: int, batch: int) -> Callable[[], None]:
    """The transform of so many samples, in C."""
    tile = _core.tile_size(batch, "float32")
    x, y = (_core.Tiles(1 << m, batch, tile) for _ in "xy")
    x.pack(np.random.default_rng(0).standard_normal((batch, 1 << m)).astype(np.float32))
    return lambda: _core.wht(x, y, 0, m, 1)


def speed(report: Report) -> None:
    """Tables of time and of what is found."""
    tiny = report.arguments.tiny
    columns = ["values", "coefficients", "read, %", "additions, part of the whole", "sparse, us", "whole, us",
               "sparse / whole", *(f"found with noise {noise:g}" for noise in NOISE)]  # fmt: skip
    table = report.table("Sparse beside whole", columns)
    for m, k in [(8, 4)] if tiny else [(m, k) for m in LENGTHS for k in COEFFICIENTS]:
        if LOAD * k > 1 << m:
            continue

        def one(m: int = m, k: int = k) -> dict[str, Any]:
            rng = np.random.default_rng([m, k])
            trials = 2 if tiny else max(5, TRIALS >> max(0, m - LONG))
            right = {}
            for noise in NOISE:
                count = 0
                for _ in range(trials):
                    x, asked = signal(m, k, noise, rng)
                    count += agrees(sparse_wht(x.__getitem__, m, k, rng), asked)
                right[f"{noise:g}"] = count / trials
            contestants = {"sparse": lambda: sparse_wht(x.__getitem__, m, k, rng), "whole": whole(m, 1)}
            x, _ = signal(m, k, 0.0, rng)
            found = turns(contestants, 3 if tiny else 9)
            seconds = {name: statistics.median(each) for name, each in found.items()}
            return {"right": right, "seconds": seconds, "ratio": ratio(found, "sparse", "whole")}

        cell = report.cell(f"{m} {k}", one)
        if cell:
            b = math.ceil(math.log2(LOAD * k))
            read = SUBGROUPS * (m + 1) << b
            table.row(
                1 << m, k, 100 * read / (1 << m), read * b / (m << m), 1e6 * cell["seconds"]["sparse"],
                1e6 * cell["seconds"]["whole"], cell["ratio"], *cell["right"].values(),
            )  # fmt: skip


def spectra(report: Report) -> None:
    """Whether data and what a network makes of them are sparse after a transform."""
    tiny = report.arguments.tiny
    data = rw.datasets.load("digits" if tiny else "fashion-mnist")
    samples, seen_of, epochs = (200, 50, 1) if tiny else (6000, 600, 5)
    X = data.X.reshape(len(data.X), -1)[:samples].astype(np.float32)
    X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-3)
    width = 1 << math.ceil(math.log2(X.shape[1]))
    net = rw.Sequential(
        [
            rw.Sparse(X.shape[1], width, epsilon=20, activation="relu"),
            rw.Sparse(width, len(data.classes), density=1.0, activation="softmax"),
        ],
        seed=0,
    )
    trainer = rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.03, momentum=0.9))
    trainer.fit(X, data.y[:samples], epochs=epochs, batch_size=64, verbose=0)
    X = X[:seen_of]
    hidden = net.layers[0].store.forward(X) + net.parameters()["layers.0.bias"].read()
    padded = np.pad(X, ((0, 0), (0, width - X.shape[1])))
    signs = np.random.default_rng(0).choice([-1, 1], width)
    seen = {
        "images": padded,
        "images with random signs": padded * signs,
        "values of a trained hidden layer, ReLU": np.maximum(hidden, 0),
        "normal numbers": np.random.default_rng(1).standard_normal(padded.shape),
    }
    table = report.table(
        f"Energy in the largest of {width:,} coefficients of a sample, % (mean of {len(X)})",
        ["of", *(f"{100 * part:g} % of them" for part in PARTS)],
    )
    for name, values in seen.items():
        energy = np.sort(hadamard(values) ** 2, axis=1)[:, ::-1].cumsum(axis=1)
        shares = [100 * (energy[:, round(part * width) - 1] / energy[:, -1]).mean() for part in PARTS]
        table.row(name, *map(float, shares))


def main() -> None:
    report = Report("sparse_wht", options(__doc__, 120))
    speed(report)
    spectra(report)
    report.save()


if __name__ == "__main__":
    main()
