"""The contestants of `losses.py`, each in a process of its own (`_measure.Side`).

A step is one of `Trainer.fit`; what is timed of it is what it does beside its forward pass and its backward
pass with the optimizer's step: packing inputs, targets, loss, metric. Of a step on images it is what it does
beside its products: dropout, derivatives, biases and Python too; of a small one, of which Python takes most,
all of it. It needs nothing that older versions do not have, so that two versions can take turns.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

DENSITY, BATCH = 0.03, 1024
LABELS, ROWS, POSITIVES = 670_091, 8, 5
SHAPES = {  # pixels, neurons of each of three layers, images, and enough steps of an epoch to hide its begin
    "images": (784, 1000, 128, 120),
    "small": (64, 16, 16, 400),
}
PRODUCTS = ("forward", "backward_input", "backward_update")


class Beside:
    """Steps of a trainer, less what functions take of them: those of these names of an object."""

    def __init__(self, trainer: Any, X: Any, y: Any, batch: int, of: Any, names: tuple[str, ...]) -> None:
        self.trainer, self.data, self.batch, self.passes = trainer, (X, y), batch, 0.0
        for name in names:
            setattr(of, name, self.timed(getattr(of, name)))

    def timed(self, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.passes += time.perf_counter() - begin

        return call

    def time(self, calls: int, warm: bool = True) -> float:
        """Seconds of `calls` epochs."""
        total = 0.0
        for i in range(calls + warm):
            before = self.passes
            history = self.trainer.fit(*self.data, epochs=1, batch_size=self.batch, verbose=0)
            if i >= warm:
                total += history["seconds_training"][-1] - self.passes + before
        return total


def steps_of(kind: str, tiny: bool) -> int:
    """Steps of an epoch."""
    return SHAPES[kind][-1] if kind in SHAPES and not tiny else 2


def rewire_step(threads: int, kind: str, tiny: bool = False) -> dict[str, Any]:
    """``mse``: 2048-2048-2048, batch 1024. ``labels``: 670,091 outputs. Those of `SHAPES`: see `_images`."""
    import rewire as rw

    rng = np.random.default_rng(0)
    if kind in SHAPES:
        return {"beside": _images(rng, threads, kind, steps_of(kind, tiny))}
    if kind == "mse":
        n, batch = (64, 32) if tiny else (2048, BATCH)
        layers = [
            rw.Sparse(n, n, density=DENSITY, activation="relu"),
            rw.Sparse(n, n, density=DENSITY, activation="linear"),
        ]
        X, y = (rng.standard_normal((2 * batch, n)).astype(np.float32) for _ in "Xy")
        loss = "mse"
    else:
        n, batch = (1000 if tiny else LABELS), ROWS
        layers = [
            rw.Sparse(64, 256, density=0.2, activation="relu"),
            rw.Sparse(256, n, fan_in=4, activation="sigmoid"),
        ]
        X = rng.standard_normal((2 * batch, 64)).astype(np.float32)
        y = np.zeros((2 * batch, n), np.float32)
        y[np.arange(2 * batch)[:, None], rng.integers(0, n, (2 * batch, POSITIVES))] = 1
        loss = "binary_cross_entropy"
    network = rw.Sequential(layers, seed=0)
    trainer = rw.Trainer(network, loss=loss, optimizer=rw.SGD(lr=1e-4), threads=threads)
    return {"beside": Beside(trainer, X, y, batch, network, ("forward", "backward"))}


def _images(rng: np.random.Generator, threads: int, kind: str, steps: int) -> Beside:
    """A network as for Fashion-MNIST, on bytes half of which are 0."""
    import rewire as rw
    from rewire import _core

    pixels, hidden, batch, _ = SHAPES[kind]
    few = {"density": 0.5} if kind == "small" else {"epsilon": 20}
    layers: list[Any] = []
    for n_in in (pixels, hidden, hidden):
        layers.append(rw.Sparse(n_in, hidden, **few, activation=rw.AllReLU(0.6), group=4))
        layers.append(rw.Dropout(0.3))
    layers.append(rw.Sparse(hidden, 10, **few, activation="softmax"))
    X = rng.integers(0, 256, (steps * batch, pixels), dtype=np.uint8)
    X *= rng.integers(0, 2, X.shape, dtype=np.uint8)
    trainer = rw.Trainer(
        rw.Sequential(layers, seed=0), loss="cross_entropy", optimizer=rw.SGD(lr=0.01, momentum=0.9),
        rewiring=rw.SET(0.3), standardize=True, threads=threads,
    )  # fmt: skip
    names = () if kind == "small" else PRODUCTS
    return Beside(trainer, X, rng.integers(0, 10, len(X)), batch, _core, names)


def rewire_loss(threads: int, kind: str, targets: str, n: int, batch: int) -> dict[str, Any]:
    """One evaluation with gradient, on tiles; targets are ``dense`` float32, ``sparse`` or ``labels``."""
    import rewire as rw
    from rewire import _core
    from rewire.losses import Truth

    rng = np.random.default_rng(0)
    loss = rw.losses.loss(kind)
    z, dz = (_core.Tiles(n, batch, _core.tile_size(batch, "float32")) for _ in "zd")
    z.pack((3 * rng.standard_normal((batch, n))).astype(np.float32))
    if targets == "labels":
        y = rng.integers(0, n, batch)
    elif targets == "sparse":
        from scipy.sparse import random_array

        y = random_array((batch, n), density=min(1.0, POSITIVES / n), format="csr", rng=rng)
    else:
        y = (rng.random((batch, n)) < 0.3).astype(np.float32)
    truth = Truth(loss.targets(y, n), rng.permutation(batch))
    return {"loss": lambda: loss.evaluate(z, truth, None, dz, threads)}
