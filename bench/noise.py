"""Accuracy under added noise, by which k-winners are judged: dense and sparse, with and without winners.

The protocol of Ahmad and Scheinkman 2019 (arXiv:1903.11257, section 4): networks are trained without noise.
Then a fraction of the features of every test sample, 0 to 50 % in steps of 5 %, drawn anew, is set to the
mean of all training values plus two standard deviations. The noise score is the number of right answers over
all eleven levels, here as a percentage. Their settings for MNIST: SGD without momentum, a learning rate that
shrinks to 0.9 of itself every epoch, batches of 4 in the first epoch and of 16 after it, a tenth of winners,
weights of 30 % density, boost 1.5 times 0.85 an epoch, duty cycles over 1000 samples, 1.5 times as many
winners after training. The networks are perceptrons with two hidden layers, not theirs of convolutions, and
the learning rate (0.01 there) is the best of four for each contestant, by the score on a validation split.
"""

from __future__ import annotations

import argparse
import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REWIRE_NUM_THREADS"), "1")

import statistics
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rewire as rw

LEVELS = [0.05 * step for step in range(11)]
RATES = (0.03, 0.1, 0.3, 1.0)
WINNERS = 0.1
DENSITY = 0.3
ALTERED = 77  # apart from other random numbers

CONTESTANTS: dict[str, dict[str, Any]] = {
    "dense, ReLU": {"dense": True, "hidden": "relu"},
    "dense, ReLU, dropout 0.5": {"dense": True, "hidden": "relu", "dropout": 0.5},
    "dense, k-winners": {"dense": True, "hidden": {"name": "k-winners", "fraction": WINNERS}},
    "sparse, ReLU": {"density": DENSITY, "hidden": "relu"},
    "sparse, k-winners": {"density": DENSITY, "hidden": {"name": "k-winners", "fraction": WINNERS}},
    "sparse, k-winners without boosting": {
        "density": DENSITY,
        "hidden": {"name": "k-winners", "fraction": WINNERS, "boost": 0.0},
    },
    "sparse, twice as many k-winners": {
        "density": DENSITY,
        "hidden": {"name": "k-winners", "fraction": 2 * WINNERS},
    },
    "sparse, winners on both sides": {
        "density": DENSITY,
        "hidden": {"name": "two-sided-winners", "fraction": WINNERS / 2},
    },
}


def altered(X: NDArray[Any], level: float, value: float, seed: int) -> NDArray[Any]:
    """X with this fraction of the features of every sample set to ``value``."""
    count, rng = round(level * X.shape[1]), np.random.default_rng([seed, ALTERED, round(level * 100)])
    found = X.copy()
    if count:
        where = np.argpartition(rng.random(X.shape), count - 1, axis=1)[:, :count]
        np.put_along_axis(found, where, value, axis=1)
    return found


def trained(given: dict[str, Any], X: NDArray[Any], y: NDArray[Any], rate: float, seed: int, how: Any) -> Any:
    """A network after all epochs."""
    n_out = int(y.max()) + 1
    given = {"output": "softmax", "dropout": 0.0, **given}
    layers = rw.presets.mlp_layers([X.shape[1], *how.hidden, n_out], **given)
    optimizer = rw.SGD(rate, momentum=0.0, schedule=rw.schedules.Step(1, 0.9))
    trainer = rw.Trainer(rw.Sequential(layers, seed=seed), loss="cross_entropy", optimizer=optimizer)
    trainer.fit(X, y, epochs=1, batch_size=4, verbose=0)
    if how.epochs > 1:
        trainer.fit(X, y, epochs=how.epochs - 1, batch_size=16, verbose=0)
    return trainer.network


def accuracies(net: Any, X: NDArray[Any], y: NDArray[Any], value: float, seed: int) -> list[float]:
    """One for each level of noise."""
    return [
        float((net.predict(altered(X, level, value, seed)).argmax(axis=1) == y).mean()) for level in LEVELS
    ]


def chosen_rate(given: dict[str, Any], X: NDArray[Any], y: NDArray[Any], value: float, how: Any) -> float:
    """The best one on a fifth of the training set."""
    held = np.random.default_rng(0).permutation(len(X)) < len(X) // 5
    scores = {}
    for rate in RATES:
        try:
            net = trained(given, X[~held], y[~held], rate, 0, how)
        except rw.DivergenceError:
            continue
        scores[rate] = statistics.mean(accuracies(net, X[held], y[held], value, 0))
    return max(scores, key=lambda rate: scores[rate])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="digits", choices=("digits", "fashion-mnist"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--hidden", type=int, nargs="+", default=[200, 200])
    parser.add_argument("--samples", type=int, help="to train on (all)")
    parser.add_argument("--tested", type=int, help="samples of the test set that are altered (all)")
    parser.add_argument("--only", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS, metavar="NAME")
    parser.add_argument("--tiny", action="store_true", help="does the script work?")
    how = parser.parse_args()
    if how.tiny:
        how.seeds, how.epochs, how.hidden = 1, 1, [20]
    data = rw.datasets.load(how.data)
    X, X_test = (part.reshape(len(part), -1).astype(np.float32) for part in (data.X, data.X_test))
    scale = float(X.max())
    X, y = X[: how.samples] / scale, data.y[: how.samples]
    X_test, y_test = X_test[: how.tested] / scale, data.y_test[: how.tested]
    value = float(X.mean() + 2 * X.std())
    print("| | rate | clean | at 25 % | at 50 % | noise score |\n|---|---|---|---|---|---|", flush=True)
    for name in how.only:
        given = CONTESTANTS[name]
        rate = RATES[0] if how.tiny else chosen_rate(given, X, y, value, how)
        runs = []
        for seed in range(how.seeds):
            net = trained(given, X, y, rate, seed, how)
            found = accuracies(net, X_test, y_test, value, seed)
            runs.append([found[0], found[5], found[10], statistics.mean(found)])
        cells = []
        for column in zip(*runs, strict=True):
            off = f" +- {100 * statistics.stdev(column):.1f}" if len(column) > 1 else ""
            cells.append(f"{100 * statistics.mean(column):.1f}{off}")
        print(f"| {name} | {rate} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
