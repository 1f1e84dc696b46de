"""The rows of `training.py`: one network at a grid of learning rates and some seeds, in a process of its own.

The rate is chosen with the first seed by accuracy on a sixth of the training samples that nobody trains on;
the test set is looked at after every epoch and never chosen by. Seconds are those of training and rewiring.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

SHAPES = {  # data set: hidden layers, batch, L2 decay (without it Madelon's 480 columns of noise win)
    "fashion-mnist": ([1000, 1000, 1000], 128, 0.0),
    "madelon": ([400, 400, 400], 32, 0.01),
    "wide": ([1000, 1000, 1000], 32, 0.0),
}
SLOPE, MOMENTUM, FRACTION = 0.6, 0.9, 0.3


def data(name: str, samples: int | None) -> tuple[np.ndarray, ...]:
    """Standardised features and labels: to train on, to choose by, to test on."""
    if name == "wide":  # as in expression data: one in ten of 5,000 features tells a little about the class
        rng = np.random.default_rng(0)
        means = 0.2 * rng.standard_normal((5, 5000)) * (np.arange(5000) % 10 == 0)
        y = rng.integers(0, 5, 3000)
        x = means[y] + rng.standard_normal((3000, 5000))
        x, y, x_test, y_test = x[:2000], y[:2000], x[2000:], y[2000:]
    else:
        from rewire.datasets import load

        found = load(name)
        x, y, x_test, y_test = found.X, found.y, found.X_test, found.y_test
    order = np.random.default_rng(0).permutation(len(x))[:samples]
    x, y = x[order].reshape(len(order), -1).astype(np.float32), y[order]
    held = len(x) // 6
    mean, scale = x[held:].mean(axis=0), x[held:].std(axis=0)
    scale[scale == 0] = 1
    x = (x - mean) / scale
    x_test = (x_test.reshape(len(x_test), -1).astype(np.float32) - mean) / scale
    return x[held:], y[held:], x[:held], y[:held], x_test, y_test


Epochs = Iterator[tuple[float, int, Any]]  # of an epoch: seconds, weights, a function that predicts classes


def rewire_run(
    sizes: list[int], batch: int, lr: float, decay: float, epochs: int, seed: int,
    x: Any, y: Any, threads: int,
    dense: bool = False, epsilon: float = 20, group: int = 1, rewiring: str = "set",
) -> Epochs:  # fmt: skip
    """Ours, epoch by epoch."""
    import rewire as rw
    from rewire.schedules import Cosine

    layers: list[Any] = []
    for depth, (n, m) in enumerate(pairwise(sizes)):
        last = depth == len(sizes) - 2
        act = "softmax" if last else rw.AllReLU(SLOPE)
        if dense:
            layers.append(rw.Dense(n, m, activation=act))
        else:
            layers.append(rw.Sparse(n, m, epsilon=epsilon, group=1 if last else group, activation=act))
    net = rw.Sequential(layers, seed=seed)
    trainer = rw.Trainer(
        net,
        loss="cross_entropy",
        optimizer=rw.SGD(
            lr=lr, momentum=MOMENTUM, weight_decay=decay, schedule=Cosine(length=epochs, floor=0.01)
        ),
        rewiring=rw.SET(FRACTION) if rewiring == "set" and not dense else None,
        threads=threads,
        seed=seed,
    )
    for _ in range(epochs):
        row = trainer.fit(x, y, epochs=1, batch_size=batch, verbose=0).epochs[-1]
        seconds = row["seconds_training"] + row["seconds_rewiring"]
        yield seconds, net.nnz, lambda a: net.predict(a).argmax(axis=1)


def torch_run(
    sizes: list[int], batch: int, lr: float, decay: float, epochs: int, seed: int,
    x: Any, y: Any, threads: int,
    masks: bool = False, epsilon: float = 20, device: str = "cpu",
) -> Epochs:  # fmt: skip
    """Dense layers in PyTorch; with `masks` SET is simulated: weights times a mask of zeros and ones."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(n, m, device=device) for n, m in pairwise(sizes)]
    kept: list[Any] = []
    for depth, layer in enumerate(layers):
        gain = (2 / (1 + SLOPE**2)) ** 0.5 if depth < len(layers) - 1 else 1.0
        torch.nn.init.zeros_(layer.bias)
        m, n = layer.weight.shape
        density = min(1.0, epsilon * (m + n) / (m * n)) if masks else 1.0
        kept.append((torch.rand(m, n, device=device) < density).float())
        torch.nn.init.normal_(layer.weight, std=gain / (n * density) ** 0.5)
        with torch.no_grad():
            layer.weight.mul_(kept[-1])
    optimizer = torch.optim.SGD(
        [{"params": [a.weight for a in layers], "weight_decay": decay}, {"params": [a.bias for a in layers]}],
        lr=lr,
        momentum=MOMENTUM,
    )
    steps = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: 0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * t / steps))
    )
    x, y = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)

    def forward(a: Any) -> Any:
        for depth, layer in enumerate(layers[:-1]):
            a = torch.nn.functional.leaky_relu(layer(a), -SLOPE if depth % 2 == 0 else SLOPE)
        return layers[-1](a)

    def predict(a: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return forward(torch.from_numpy(a).to(device)).argmax(dim=1).cpu().numpy()

    def quantile(values: Any, share: float) -> Any:
        return values.kthvalue(max(1, int(share * len(values)))).values

    @torch.no_grad()
    def evolve() -> None:
        for layer, mask, links in zip(layers, kept, counts, strict=True):
            if mask.all():
                continue
            w, moment = layer.weight, optimizer.state[layer.weight]["momentum_buffer"]
            for sign in (1, -1):
                values = (w * sign)[(mask > 0) & (w * sign > 0)]
                if len(values) == 0:
                    continue
                mask[(mask > 0) & (w * sign > 0) & (w * sign <= quantile(values, FRACTION))] = 0
            empty = torch.nonzero(mask.view(-1) == 0).view(-1)
            chosen = torch.randperm(len(empty), device=device)[: int(links - mask.sum())]
            mask.view(-1)[empty[chosen]] = 1
            w.mul_(mask)
            moment.mul_(mask)

    counts = [int(mask.sum()) for mask in kept]
    for epoch in range(epochs):
        begin = time.perf_counter()
        if masks and epoch:
            evolve()
        for rows in torch.randperm(len(x), device=device).split(batch):
            loss = torch.nn.functional.cross_entropy(forward(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            if masks:
                for layer, mask in zip(layers, kept, strict=True):
                    layer.weight.grad.mul_(mask)
            optimizer.step()
            schedule.step()
        if device != "cpu":
            torch.cuda.synchronize()
        yield time.perf_counter() - begin, sum(counts), predict


def row(
    *, threads: int, dataset: str, rates: list[float], seeds: int, epochs: int, samples: int | None,
    torch: bool = False, **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """All runs of a row.

    Returns
    -------
    dict
        ``lr``, ``weights``, ``runs``: for every seed ``accuracy`` (of the test set) and ``seconds`` by epoch.
        Of the rates at which no seed diverges, the one that is best on the held-out samples at the first
        seed; ``error`` where there is none.
    """
    x, y, x_held, y_held, x_test, y_test = data(dataset, samples)
    hidden, batch, decay = SHAPES[dataset]
    sizes = [x.shape[1], *hidden, int(y.max()) + 1]
    make = torch_run if torch else rewire_run

    def run(lr: float, seed: int) -> dict[str, Any]:
        accuracy, seconds, held, links = [], [], 0.0, 0
        try:
            for spent, links, predict in make(  # noqa: B007
                sizes, batch, lr, decay, epochs, seed, x, y, threads, **options
            ):
                seconds.append(spent)
                accuracy.append(float((predict(x_test) == y_test).mean()))
            held = float((predict(x_held) == y_held).mean())
        except ArithmeticError:  # it diverged: this rate is out
            held = -1.0
        return {"lr": lr, "accuracy": accuracy, "seconds": seconds, "held": held, "weights": links}

    firsts = sorted((run(lr, 0) for lr in rates), key=lambda found: found["held"], reverse=True)
    for first in firsts:
        runs = [first, *(run(first["lr"], seed) for seed in range(1, seeds) if first["held"] >= 0)]
        if all(found["held"] >= 0 for found in runs):
            return {"lr": first["lr"], "weights": first["weights"], "runs": runs}
    return {"error": f"diverges at every rate of {', '.join(f'{lr:g}' for lr in rates)}"}
