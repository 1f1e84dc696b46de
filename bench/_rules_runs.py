"""The runs of `rules.py`, `parts.py` and `published.py`, each in a process of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

HIDDEN, BATCH, LR, MOMENTUM = [1000, 1000, 1000], 128, 0.05, 0.9
SPLIT = 20240601  # which samples `part` holds out


def standardised(dataset: str, samples: int | None) -> tuple[np.ndarray, ...]:
    """Standardised features and labels, to train on and to test on."""
    from rewire.datasets import load

    found = load(dataset)
    x, y = found.X[:samples].reshape(len(found.X[:samples]), -1).astype(np.float32), found.y[:samples]
    x_test = found.X_test.reshape(len(found.X_test), -1).astype(np.float32)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale == 0] = 1
    return (x - mean) / scale, y, (x_test - mean) / scale, found.y_test


def row(
    *, threads: int, rule: dict[str, Any] | None, density: float, start: float | None, seed: int,
    epochs: int, samples: int | None,
) -> dict[str, Any]:  # fmt: skip
    """Train 784-1000-1000-1000-10 at a density of the whole network (ERK over its layers).

    Parameters
    ----------
    rule : dict
        ``config()`` of the rule; None trains a dense network.
    start : float, optional
        The density of the start, for rules that come down to ``density``.

    Returns
    -------
    dict
        ``accuracy`` (of the test set, by epoch), ``links`` (at the end), ``explored`` (share of all places
        that were ever connected), ``rewirings``, ``training`` and ``rewiring`` (seconds).
    """
    import rewire as rw
    from rewire.presets import mlp_layers
    from rewire.schedules import Cosine

    x, y, x_test, y_test = standardised("fashion-mnist", samples)
    sizes = [x.shape[1], *HIDDEN, int(y.max()) + 1]
    dense = rule is None
    if dense:
        layers = mlp_layers(sizes, dense=True)
    elif rule is not None and rule.get("name") == "srigl":  # every neuron of a layer has as many inputs
        links = rw.erk_links(list(zip(sizes, sizes[1:], strict=False)), density)
        layers = [
            rw.Sparse(n, m, fan_in=max(1, min(n, round(k / m))), activation=act)
            for n, m, k, act in zip(
                sizes, sizes[1:], links, [rw.AllReLU(0.6)] * len(HIDDEN) + ["softmax"], strict=False
            )
        ]
    else:
        layers = mlp_layers(sizes, density=density if start is None else start)
    trainer = rw.Trainer(
        rw.Sequential(layers, seed=seed),
        loss="cross_entropy",
        optimizer=rw.SGD(
            lr=0.01 if dense or (start or 0.0) >= 0.5 else LR,
            momentum=MOMENTUM,
            schedule=Cosine(length=epochs, floor=0.01),
        ),
        rewiring=rule,
        callbacks=[] if dense else [rw.LinkLog()],
        threads=threads,
    )
    history = trainer.fit(x, y, epochs=epochs, batch_size=BATCH, validation_data=(x_test, y_test), verbose=0)
    return {
        "accuracy": history["val_accuracy"],
        "links": sum(history["nnz"][-1]),
        "explored": None if dense else history["exploration_rate"][-1],
        "rewirings": trainer.rewirings,
        "training": sum(history["seconds_training"]),
        "rewiring": sum(history["seconds_rewiring"]),
    }


def part(
    *, threads: int, rule: dict[str, Any], dropout: float, seed: int, epochs: int, samples: int | None,
    density: float | None = None, group: int = 1, warmup: int = 0, average: str | None = None,
    annealed: bool = True, label_smoothing: float = 0.0, dataset: str = "fashion-mnist",
) -> dict[str, Any]:  # fmt: skip
    """Train a network with three hidden layers of 1000 on part of a training set, judge on another part.

    Parameters
    ----------
    samples : int, optional
        To train on; all that are not held out without.
    rule : dict
        ``config()`` of the rule; with ``"grow": "random"`` it grows at random instead of by its criterion.
    density : float, optional
        Of the whole network, Erdos-Renyi over its layers; epsilon 20 without.
    warmup : int
        Epochs.
    annealed : bool
        Whether the learning rate falls along a cosine to 0; it stays what it is without.

    Returns
    -------
    dict
        ``accuracy`` (of 10,000 samples that were held out, or a quarter of fewer, after the last epoch),
        ``links``, ``seconds``.
    """
    import rewire as rw
    from rewire.callbacks import weight_average
    from rewire.datasets import load
    from rewire.presets import mlp_layers

    found = load(dataset)
    order = np.random.default_rng(SPLIT).permutation(len(found.y))
    held, kept = np.split(order, [min(10_000, len(order) // 4)])
    kept = kept[:samples]
    steps = -(-len(kept) // BATCH)
    mine = weight_average(average)
    made = rw.rewiring.rewiring({name: value for name, value in rule.items() if name != "grow"})
    if rule.get("grow") == "random":
        made.grow = rw.rewiring.GrowRandom(rw.Zeros())
    layers = mlp_layers(
        [found.X.shape[1], *HIDDEN, int(found.y.max()) + 1], density=density, dropout=dropout, group=group
    )
    trainer = rw.Trainer(
        rw.Sequential(layers, seed=seed),
        loss=rw.losses.CrossEntropy(label_smoothing=label_smoothing),
        optimizer=rw.SGD(
            lr=LR, momentum=MOMENTUM,
            schedule=rw.Cosine((epochs - warmup) * steps, warmup=warmup * steps, unit="step")
            if annealed
            else None,
        ),
        rewiring=made,
        callbacks=[] if mine is None else [mine],
        threads=threads,
        standardize=True,
    )  # fmt: skip
    history = trainer.fit(found.X[kept], found.y[kept], epochs=epochs, batch_size=BATCH, verbose=0)
    return {
        "accuracy": trainer.evaluate(found.X[held], found.y[held])["accuracy"],
        "links": trainer.network.nnz,
        "seconds": sum(history["seconds_training"]) + sum(history["seconds_rewiring"]),
    }


def published(
    *, threads: int, dataset: str, hidden: list[int], epsilon: float, batch: int, lr: float, dropout: float,
    seed: int, epochs: int, samples: int | None = None, slope: float | None = None, rule: str | None = None,
    new_init: str | None = None, dense: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """One run at published settings: weights and new links by He's uniform draw over the dense fan-in.

    Returns
    -------
    dict
        ``accuracy`` of the test set by epoch, ``links``.
    """
    import rewire as rw
    from rewire.presets import mlp_layers, preset

    x, y, x_test, y_test = standardised(dataset, samples)
    init = preset("tsnn-2021").init
    sizes = [x.shape[1], *hidden, int(y.max()) + 1]
    net = rw.Sequential(
        mlp_layers(
            sizes, hidden="relu" if slope is None else rw.AllReLU(slope), dropout=dropout, dense=dense,
            **({} if dense else {"epsilon": epsilon, "init": init}),
        ),
        seed=seed,
    )  # fmt: skip
    trainer = rw.Trainer(
        net,
        loss="cross_entropy",
        optimizer=rw.SGD(lr, momentum=0.9),
        rewiring=rw.SET(init=new_init or init, layers="hidden") if rule == "set" else rule,
        threads=threads,
    )
    history = trainer.fit(x, y, epochs=epochs, batch_size=batch, validation_data=(x_test, y_test), verbose=0)
    return {"accuracy": history["val_accuracy"], "links": net.nnz}


def growth(*, threads: int, width: int, density: float, batch: int, how: str) -> dict[str, Any]:
    """Peak memory before and after one growth by gradient over a wide layer.

    Returns
    -------
    dict
        ``before`` and ``after``: peak bytes; ``links`` and ``grown``, how many of them came; ``dense``: what
        an n x n gradient takes; ``seconds``.
    """
    import time

    from _apart import peak_bytes

    import rewire as rw

    net = rw.Sequential(
        [rw.Sparse(width, width, density=density, activation="relu"), rw.Sparse(width, 10, fan_in=20)]
    )
    rule = {"name": how, "every": {"steps": 1}, "end": 1.0}
    trainer = rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.01, momentum=0.9), threads=threads)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((batch, width), dtype=np.float32), rng.integers(0, 10, batch)
    trainer.fit(x, y, epochs=2, batch_size=batch, verbose=0)
    trainer.rewiring = rw.rewiring.rewiring("set")
    trainer.fit(x, y, epochs=1, batch_size=batch, verbose=0)
    before = peak_bytes()
    trainer.rewiring = rw.rewiring.rewiring(rule)
    begin = time.perf_counter()
    trainer.fit(x, y, epochs=1, batch_size=batch, verbose=0)
    return {
        "before": before, "after": peak_bytes(), "dense": 4 * width * width, "links": net.nnz,
        "grown": sum(trainer.history.epochs[-1]["links_grown"]), "seconds": time.perf_counter() - begin,
    }  # fmt: skip
