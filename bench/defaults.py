"""The default command by its parts: dropout, units of targets, first weights, batches of few samples.

Networks are those of `rewire train` (hidden 1000, 1000, 1000, 20 epochs), on public sets of R's packages and
of scikit-learn, and on made-up ones. Each column takes a step more than the one before it, from what the
default command was once.

Numbers: "before" is dropout 0.2, targets as they are and weights by He. A quarter of the rows is for the
test; R2 on it, by seed. A second table has hidden layers of 100 one after the other, and activations that
saturate or bend: first weights that shrink signals in every layer leave nothing of them in the end.

Classes: "before" is weights by He and batches of 128. Every seed has a split of its own, three fifths to
train on, one for validation, by which the defaults were chosen, one for the test: accuracy on these two, in
percent, mean +- deviation over seeds. Networks of other depths and activations follow. Smaller batches are
those of the preset at any depth, though the default takes them up to three hidden layers of ReLUs only.
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
NUMBERS: dict[str, dict[str, Any]] = {
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
CLASSES: dict[str, dict[str, Any]] = {
    "before": {"init": "he", "batch_size": 128},
    "smaller batches": {"init": "he"},
    "and weights by Xavier: the default up to 3 layers": {},
    "batches of 128, weights by Xavier": {"batch_size": 128},
    "weights within 1 / sqrt(fan-in)": {"init": "fan-in"},
}
SEEDS_OF_CLASSES = 5
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


def _classes(rows: int, features: int, informative: int, **shape: Any) -> Callable[[], Task]:
    def load() -> Task:
        from sklearn import datasets

        X, y = datasets.make_classification(
            rows, features, n_informative=informative, random_state=0, **{"n_redundant": 0, **shape}
        )
        return Task(X, y, False)

    return load


def _moons() -> Task:
    from sklearn import datasets

    return Task(*datasets.make_moons(400, noise=0.25, random_state=0), False)


def _fashion() -> Task:
    """The first 10,000 images of Fashion-MNIST, where they are found."""
    from rewire.datasets import load

    data = load("fashion-mnist")
    return Task(data.X[:10_000].reshape(10_000, -1), data.y[:10_000], False)


_PUBLIC = (
    "biopsy", "breast_cancer", "digits", "fair", "iris", "mnist", "penguins", "pima.tr", "spector", "titanic",
    "wine",
)  # fmt: skip
SETS_OF_CLASSES: dict[str, Callable[[], Task]] = {
    **{name: SMALL[name] for name in _PUBLIC},
    "Fashion-MNIST": _fashion,
    "moons": _moons,
    "made up, 5 features": _classes(500, 5, 4, n_classes=3, flip_y=0.02),
    "made up, 20 features": _classes(800, 20, 6, n_redundant=2, n_classes=4, flip_y=0.02),
    "made up, 100 features": _classes(600, 100, 10, n_clusters_per_class=3, flip_y=0.02),
    "made up, 500 features": _classes(1500, 500, 5, n_redundant=15, n_clusters_per_class=8),
    "made up, 1,000 features": _classes(200, 1000, 20, n_classes=3, flip_y=0.02),
}
DEEP_OF_CLASSES = ("digits", "made up, 20 features", "moons", "pima.tr", "wine")


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
            trainer.fit(X, y, epochs=epochs, verbose=0, **recipe.fit_options(data))
            found[variant].append(trainer.evaluate(X_test, y_test)["r2"])
    return found


def run_classes(
    name: str,
    load: Callable[[], Task],
    variants: dict[str, dict[str, Any]],
    seeds: int,
    epochs: int,
    **common: Any,
) -> dict[str, Any]:
    """Accuracy on validation and test rows by variant and seed, each with a split of its own."""
    from sklearn.model_selection import train_test_split

    from rewire.datasets import Dataset
    from rewire.presets import PRESETS
    from rewire.recipe import Recipe

    task = load()
    found: dict[str, Any] = {"shape": task.X.shape, **{variant: [] for variant in variants}}
    for seed in range(seeds):
        X, X_held, y, y_held = train_test_split(
            task.X, task.y, test_size=0.4, random_state=seed, stratify=task.y
        )
        parts = train_test_split(X_held, y_held, test_size=0.5, random_state=seed, stratify=y_held)
        followed, tested = parts[::2], parts[1::2]
        data = Dataset(name, X, y, *tested, tuple(range(int(task.y.max()) + 1)), X.shape[1:], "bench")
        for variant, given in variants.items():
            smaller = PRESETS["default"].batch_for(len(X))
            recipe = Recipe({"batch_size": smaller, **common, **given, "epochs": epochs})
            trainer = recipe.trainer(data, seed=seed, threads=1)
            trainer.fit(X, y, epochs=epochs, verbose=0, **recipe.fit_options(data))
            found[variant].append([trainer.evaluate(*part)["accuracy"] for part in (followed, tested)])
    return found


def classes(report: Report) -> None:
    """The tables of classes."""
    tiny = report.arguments.tiny
    length = (2, 1) if tiny else (SEEDS_OF_CLASSES, 20)
    table = report.table(
        "Accuracy of the default command: validation, test", ["set", "rows x features", *CLASSES]
    )
    for name in ("wine",) if tiny else SETS_OF_CLASSES:
        cell = report.cell(name, lambda name=name: run_classes(name, SETS_OF_CLASSES[name], CLASSES, *length))
        if cell is not None:
            table.row(name, " x ".join(map(str, cell["shape"])), *_by_part(cell, CLASSES))
    deep = report.table(
        "The same by depth and activation", ["set", "hidden layers of 100", "activation", *CLASSES]
    )
    shapes = [(depth, "all-relu") for depth in (1, 5, 12)] + [(3, kind) for kind in ("relu", "tanh", "gelu")]
    for name in () if tiny else DEEP_OF_CLASSES:
        for depth, kind in shapes:
            shape = {"hidden": [100] * depth, "activation": kind}
            cell = report.cell(
                f"{name}, {depth} of {kind}",
                lambda name=name, shape=shape: run_classes(
                    name, SETS_OF_CLASSES[name], CLASSES, *length, **shape
                ),
            )
            if cell is not None:
                deep.row(name, depth, kind, *_by_part(cell, CLASSES))


def main() -> None:
    report = Report("defaults", options(__doc__, share=600))
    tiny = report.arguments.tiny
    table = report.table("R2 of the default command", ["set", "rows x features", "deviation", *NUMBERS])
    length = (1, 1) if tiny else (SEEDS, 20)
    for name in list(SETS)[-1:] if tiny else SETS:
        cell = report.cell(name, lambda name=name: run(name, SETS[name], NUMBERS, *length))
        if cell is not None:
            table.row(
                name,
                " x ".join(map(str, cell["shape"])),
                f"{np.std(SETS[name]().y):.3g}",
                *_by_seed(cell, NUMBERS),
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
    classes(report)
    report.save()


def _by_part(cell: dict[str, Any], variants: dict[str, dict[str, Any]]) -> list[str]:
    """Mean +- deviation over seeds, of validation and test."""
    found = []
    for variant in variants:
        mean, off = 100 * np.mean(cell[variant], axis=0), 100 * np.std(cell[variant], axis=0, ddof=1)
        found.append(", ".join(f"{m:.1f} +- {d:.1f}" for m, d in zip(mean, off, strict=True)))
    return found


def _by_seed(cell: dict[str, Any], variants: dict[str, dict[str, Any]]) -> list[str]:
    return [", ".join(f"{r2:.2f}" for r2 in cell[variant]) for variant in variants]


if __name__ == "__main__":
    main()
