"""Numbers by the default command: how much of it is dropout, units of their own, and the first weights.

Networks are those of `rewire train` (hidden 1000, 1000, 1000, 20 epochs), on public sets of R's packages,
the diabetes of scikit-learn, and two of Friedman's made-up sets. A quarter of the rows is for the test.
"Before" is dropout 0.2, targets as they are and weights by He, as the default command was; each column
after it takes a step more. R2 on the test rows, by seed.

A second table has hidden layers of 100 one after the other, and activations that saturate or bend: first
weights that shrink signals in every layer leave nothing of them in the end.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REWIRE_NUM_THREADS"), "1")

from collections.abc import Callable
from typing import Any

import numpy as np
from _report import Report, options
from _small_sets import SETS as SMALL
from _small_sets import Task, _from_r

SEEDS = 3
VARIANTS: dict[str, dict[str, Any]] = {
    "before": {"dropout": 0.2, "standardize_targets": False, "init": "he"},
    "no dropout": {"standardize_targets": False, "init": "he"},
    "targets standardised": {"init": "he"},
    "weights within 1 / sqrt(fan-in): the default": {},
    "weights by Xavier": {"init": "xavier"},
}
FIRST_WEIGHTS: dict[str, dict[str, Any]] = {
    "He's": {"init": "he"},
    "within 1 / sqrt(fan-in) in every layer": {"init": "fan-in"},
    "the default": {},
}
DEPTHS = (1, 2, 3, 5, 8, 12, 20)
CURVED = ("sigmoid", "tanh", "gelu", "silu")


def _friedman(number: int, rows: int = 8000, **shape: Any) -> Callable[[], Task]:
    def load() -> Task:
        from sklearn import datasets

        X, y = getattr(datasets, f"make_friedman{number}")(rows, random_state=0, **shape)
        return Task(X, y, True)

    return load


SETS: dict[str, Callable[[], Task]] = {
    "Hedonic": _from_r("Hedonic", "mv", True, package="Ecdat"),
    "diabetes": SMALL["diabetes"],
    "Housing": _from_r("Housing", "price", True, package="Ecdat"),
    "Wages": _from_r("Wages", "lwage", True, package="Ecdat"),
    "Males": _from_r("Males", "wage", True, package="Ecdat"),
    "Computers": _from_r("Computers", "price", True, package="Ecdat"),
    "Friedman's first": _friedman(1, n_features=20, noise=1.0),
    "Friedman's second": _friedman(2, noise=50.0),
}

DEEP: dict[str, Callable[[], Task]] = {
    "Friedman's first, 1,500 rows": _friedman(1, rows=2000, n_features=10, noise=1.0),
    "diabetes": SMALL["diabetes"],
}


def run(
    name: str,
    load: Callable[[], Task],
    variants: dict[str, dict[str, Any]],
    seeds: int,
    epochs: int,
    **common: Any,
) -> dict[str, Any]:
    """R2 on the test rows by variant and seed."""
    from sklearn.model_selection import train_test_split

    from rewire.datasets import Dataset
    from rewire.recipe import Recipe

    task = load()
    X, X_test, y, y_test = train_test_split(task.X, task.y, test_size=0.25, random_state=0)
    data = Dataset(name, X, y, X_test, y_test, None, X.shape[1:], "bench")
    found: dict[str, Any] = {"shape": X.shape}
    for variant, given in variants.items():
        recipe = Recipe({**common, **given, "epochs": epochs})
        found[variant] = []
        for seed in range(seeds):
            trainer = recipe.trainer(data, seed=seed, threads=1)
            trainer.fit(X, y, epochs=epochs, verbose=0, **recipe.fit_options)
            found[variant].append(trainer.evaluate(X_test, y_test)["r2"])
    return found


def main() -> None:
    report = Report("regressions", options(__doc__, share=600))
    tiny = report.arguments.tiny
    table = report.table("R2 of the default command", ["set", "rows x features", "deviation", *VARIANTS])
    length = (1, 1) if tiny else (SEEDS, 20)
    for name in list(SETS)[-1:] if tiny else SETS:
        cell = report.cell(name, lambda name=name: run(name, SETS[name], VARIANTS, *length))
        if cell is not None:
            table.row(
                name,
                " x ".join(map(str, cell["shape"])),
                f"{np.std(SETS[name]().y):.3g}",
                *_by_seed(cell, VARIANTS),
            )
    deep = report.table(
        "R2 by depth and activation", ["set", "hidden layers of 100", "activation", *FIRST_WEIGHTS]
    )
    shapes = [(depth, "all-relu") for depth in DEPTHS] + [(3, kind) for kind in CURVED]
    for name in DEEP:
        for depth, kind in shapes[:1] if tiny else shapes:
            shape = {"hidden": [100] * depth, "activation": kind}
            cell = report.cell(
                f"{name}, {depth} of {kind}",
                lambda name=name, shape=shape: run(name, DEEP[name], FIRST_WEIGHTS, *length, **shape),
            )
            if cell is not None:
                deep.row(name, depth, kind, *_by_seed(cell, FIRST_WEIGHTS))
    report.save()


def _by_seed(cell: dict[str, Any], variants: dict[str, dict[str, Any]]) -> list[str]:
    return [", ".join(f"{r2:.2f}" for r2 in cell[variant]) for variant in variants]


if __name__ == "__main__":
    main()
