"""``rewire demo``: dense, static sparse and SET side by side on the built-in digits, in seconds and offline.

Three networks of one shape, 64-500-500-10, each trained from the same seeds: with all connections; with 1
% of them at random positions that stay; with 1 % of them that SET rewires. Printed: accuracy, weights,
seconds, memory. Drawn, with matplotlib: which pixels the networks are connected to before and after, and the
accuracy after every epoch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rewire import plots
from rewire._format import percent
from rewire._warn import says_interrupted
from rewire.datasets import Dataset, load
from rewire.link_counts import readable
from rewire.network import Sequential
from rewire.optim import SGD
from rewire.presets import mlp_layers
from rewire.rewiring import SET
from rewire.standardizer import Standardizer
from rewire.trainer import Trainer

__all__ = ["Result", "main", "measure"]

SIZES = (64, 500, 500, 10)
DENSITY = 0.01
EPOCHS = 40
SEEDS = 3
KINDS = ("dense", "static sparse", "SET")


@dataclass
class Result:
    """One kind of network, trained from several seeds.

    Attributes
    ----------
    kind : str
    accuracy : list of list of float
        On the test set after every epoch, for each seed.
    links, nbytes : int
        Connections, and bytes of weights, structure and momentum, at the end.
    seconds : list of float
        Training and rewiring, without evaluation, for each seed.
    before, after : list of ndarray, shape (64,)
        How strongly the network is connected to each pixel, for each seed; empty for the dense one.
    """

    kind: str
    accuracy: list[list[float]] = field(default_factory=list)
    links: int = 0
    nbytes: int = 0
    seconds: list[float] = field(default_factory=list)
    before: list[NDArray[np.float64]] = field(default_factory=list)
    after: list[NDArray[np.float64]] = field(default_factory=list)

    @property
    def final(self) -> NDArray[np.float64]:
        """Accuracy after the last epoch, for each seed."""
        return np.array([curve[-1] for curve in self.accuracy])


def measure(
    data: Dataset, *, seed: int = 0, epochs: int = EPOCHS, tell: Callable[[str], None] = lambda _: None
) -> list[Result]:
    """Train every kind from every seed, the kinds taking turns, so that a busy machine is unfair to none."""
    results = [Result(kind) for kind in KINDS]
    for number in range(seed, seed + SEEDS):
        for result in results:
            tell(f"{result.kind}, seed {number}")
            _train(result, data, number, epochs)
    return results


def _train(result: Result, data: Dataset, seed: int, epochs: int) -> None:
    dense = result.kind == "dense"
    layers = mlp_layers(SIZES, hidden="relu", density=None if dense else DENSITY, dense=dense)
    network = Sequential(layers, seed=seed)
    # One scale for all pixels, as images have: standardising each would make the empty margin shout.
    network.standardizer = Standardizer(data.X.mean(axis=0), np.full(SIZES[0], 1 / data.X.std()))
    trainer = Trainer(
        network,
        loss="cross_entropy",
        optimizer=SGD(lr=0.05, momentum=0.9, weight_decay=0.003),
        rewiring=SET() if result.kind == "SET" else None,
    )
    if not dense:
        result.before.append(plots.input_strength(network.weight_layers[0]))
    test = (data.X_test, data.y_test)
    with says_interrupted():
        history = trainer.fit(data.X, data.y, epochs=epochs, batch_size=32, validation_data=test, verbose=0)
    if history.interrupted:
        raise KeyboardInterrupt
    if not dense:
        result.after.append(plots.input_strength(network.weight_layers[0]))
    result.accuracy.append(history["val_accuracy"])
    result.seconds.append(sum(history["seconds_training"]) + sum(history["seconds_rewiring"]))
    result.links, result.nbytes = network.nnz, network.nbytes


def main(path: str | os.PathLike[str] = "rewire-demo.png", *, seed: int = 0) -> None:
    """Run the demonstration: print the table, write the picture, say where it is.

    Parameters
    ----------
    path : path-like
        The picture.
    seed : int
        The first of three seeds.
    """
    data = load("digits")
    assert data.X_test is not None
    shape = "-".join(map(str, SIZES))
    print(f"{len(data.X):,} handwritten digits of 8 x 8 pixels to train on, {len(data.X_test)} to test on.")
    print(f"A {shape} network, {EPOCHS} epochs, seeds {seed} to {seed + SEEDS - 1}.\n", flush=True)
    results = measure(data, seed=seed, tell=_progress)
    _progress("")
    print(table(results))
    print()
    print(verdict(results))
    print()
    print(picture(data, results, path))


def table(results: list[Result]) -> str:
    """The results as a table of text."""
    full = results[0].links
    rows = [("", "test accuracy", "weights", "", "seconds", "memory")]
    for r in results:
        accuracy = f"{100 * r.final.mean():.1f} % +- {100 * r.final.std(ddof=1):.1f}"
        fraction = percent(r.links / full, 3)
        rows.append(
            (r.kind, accuracy, f"{r.links:,}", fraction, f"{np.mean(r.seconds):.2f}", readable(r.nbytes))
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    rule = "-" * max(map(len, lines))
    note = f"mean of {SEEDS} seeds, +- standard deviation; memory of weights, structure and momentum"
    return "\n".join([lines[0], rule, *lines[1:], rule, note])


def verdict(results: list[Result]) -> str:
    """The result in two sentences that depend on the figures."""
    dense, static, rewired = results
    gain = 100 * (rewired.final.mean() - static.final.mean())
    loss = 100 * (dense.final.mean() - rewired.final.mean())
    ratio = float(np.mean(dense.seconds) / np.mean(rewired.seconds))
    above, below = ("above" if gain >= 0 else "below"), ("below" if loss >= 0 else "above")
    fraction = percent(rewired.links / dense.links)
    first = (
        f"With {fraction} of the weights, SET ends {abs(gain):.1f} points {above} fixed links "
        f"and {abs(loss):.1f} {below} all the weights."
    )
    if ratio < 1.3:
        second = (
            "At this size dense is as fast: everything fits into the cache. Sparse pays off when nets grow."
        )
    else:
        second = f"It trains {ratio:.1f} times as fast as the dense network."
    return f"{first}\n{second}"


def picture(data: Dataset, results: list[Result], path: str | os.PathLike[str]) -> str:
    """Draw and save; returns the sentence to print."""
    if not plots.available():
        return 'No picture: matplotlib is not installed (pip install "rewire[plot]").'
    means = np.stack([data.X[data.y == digit].mean(axis=0) for digit in range(10)])
    rewired = results[-1]
    figure = plots.demo(
        means.reshape(10, 8, 8),
        np.mean(rewired.before, axis=0),
        np.mean(rewired.after, axis=0),
        {r.kind: r.accuracy for r in results},
        {r.kind: r.links for r in results},
    )
    plots.save(figure, path)
    return f"Picture: {os.path.abspath(path)}"


def _progress(words: str) -> None:
    """What is being trained, on a terminal only, in a line that is overwritten."""
    if sys.stderr.isatty():
        print(f"\r\033[K{words and '... ' + words}", end="", file=sys.stderr, flush=True)
