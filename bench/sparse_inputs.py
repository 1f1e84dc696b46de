"""A step on a sparse X: a first layer whose time follows what is stored in X, and not the number of features.

Networks of many features, 1000 hidden neurons and 10 classes, batches of 128, SGD with momentum: `fit` over
some batches of a CSR matrix, with features as they are and brought to mean 0. Where it fits into memory, the
same data as an array. One thread, processor time, all that `fit` does included. Columns of X are uniform at
random, so that hardly any feature comes twice in a batch: the worst case for caches.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REWIRE_NUM_THREADS"), "1")

import statistics
from typing import Any

import numpy as np
import scipy.sparse as sp
from _report import Report, options
from _turns import turns

import rewire as rw

BATCH, HIDDEN, CLASSES, STEPS = 128, 1000, 10, 6
SHAPES = [  # features, stored a row, links of the first layer
    (5_000, 100, 120_000),
    (50_000, 10, 510_000),
    (50_000, 100, 510_000),
    (500_000, 100, 5_010_000),
]
LARGEST_ARRAY = 1 << 28  # bytes of X as an array
TARGETS = {(50_000, 100): 5.0, (500_000, 100): 20.0}  # milliseconds, group 1, features as they are
PLAIN, CENTRED, ARRAY = "as they are", "mean 0", "as they are, an array"


def data(n_in: int, stored: int) -> tuple[Any, Any]:
    """CSR rows with values around 1, and classes."""
    rng = np.random.default_rng(0)
    rows = STEPS * BATCH
    columns = rng.integers(n_in, size=rows * stored, dtype=np.int32)
    values = rng.random(rows * stored, dtype=np.float32) + 0.5
    X = sp.csr_matrix((values, columns, np.arange(rows + 1) * stored), shape=(rows, n_in))
    X.sum_duplicates()
    return X, rng.integers(CLASSES, size=rows)


def epoch(X: Any, y: Any, links: int, group: int, standardize: bool) -> Any:
    """A call that trains for `STEPS` steps; structure, moments and memory are there."""
    first = rw.Sparse(X.shape[1], HIDDEN, links=links, activation="relu", group=group)
    network = rw.Sequential([first, rw.Sparse(HIDDEN, CLASSES, density=0.2)], seed=0)
    trainer = rw.Trainer(
        network, loss="cross_entropy", optimizer=rw.SGD(0.01, momentum=0.9), standardize=standardize
    )
    trainer.fit(X, y, epochs=2, batch_size=BATCH, verbose=0)
    trainer.standardize = False  # the moments of X are those of the call before
    return lambda: trainer.fit(X, y, epochs=1, batch_size=BATCH, verbose=0)


def main() -> None:
    arguments = options(__doc__, 120)
    report = Report("sparse_inputs", arguments)
    columns = ["features", "stored a row", "links", "group", PLAIN, CENTRED, ARRAY]
    table = report.table("Milliseconds a step of 128 samples, one thread", columns)
    for n_in, stored, links in [(300, 3, 2000)] if arguments.tiny else SHAPES:
        X, y = data(n_in, stored)
        for group in (1, 4):

            def one(X: Any = X, y: Any = y, links: int = links, group: int = group) -> dict[str, Any]:
                sides = {PLAIN: epoch(X, y, links, group, False), CENTRED: epoch(X, y, links, group, True)}
                if X.shape[0] * X.shape[1] * 4 <= LARGEST_ARRAY:
                    sides[ARRAY] = epoch(X.toarray(), y, links, group, False)
                found = turns(sides, 3 if arguments.tiny else 7)
                return {name: 1e3 * statistics.median(each) / STEPS for name, each in found.items()}

            cell = report.cell(f"{n_in} {stored} {group}", one)
            if not cell:
                continue
            table.row(n_in, stored, links, group, *(cell.get(name, "-") for name in (PLAIN, CENTRED, ARRAY)))
            most = TARGETS.get((n_in, stored))
            if most is not None and group == 1:
                asked = (
                    f"{n_in:,} features, {stored} stored a row, {links:,} links: at most {most:g} ms a step"
                )
                report.judge("Sparse X", asked, f"{cell[PLAIN]:.1f} ms", cell[PLAIN] <= most)
    report.save()


if __name__ == "__main__":
    main()
