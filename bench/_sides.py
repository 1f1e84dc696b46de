"""The contestants. Run as a script: `_sides.py NAME THREADS` answers every number of
steps on standard input with the seconds they took, as a line of JSON.

All train the same network on the same data in the same way: Fashion-MNIST, standardised,
784-1000-1000-1000-10, All-ReLU(0.6), cross entropy, SGD with momentum 0.9, lr 0.01, batch 128,
shuffled; float32. The seconds are those of the training steps alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from _clock import Clock

SIZES = [784, 1000, 1000, 1000, 10]
SLOPES = [-0.6, 0.6, -0.6]  # All-ReLU: the left slope alternates
BATCH, LR, MOMENTUM, EPSILON = 128, 0.01, 0.9, 20

Run = Callable[[int], None]


def _data() -> tuple[np.ndarray, np.ndarray]:
    from rewire.datasets import load

    data = load("fashion-mnist")
    return data.X, data.y


def _standardised() -> tuple[np.ndarray, np.ndarray]:
    x, y = _data()
    x = x.reshape(len(x), -1).astype(np.float32)
    deviation = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(deviation > 0, deviation, 1), y.astype(np.int64)


def torch_dense(threads: int) -> tuple[Run, dict]:
    """nn.Linear and torch.optim.SGD, as most people write it."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x, y = map(torch.from_numpy, _standardised())
    layers = [torch.nn.Linear(n, m) for n, m in pairwise(SIZES)]
    optimizer = torch.optim.SGD([p for layer in layers for p in layer.parameters()], lr=LR, momentum=MOMENTUM)

    def batches() -> Iterator[torch.Tensor]:
        while True:
            yield from torch.randperm(len(x))[: len(x) // BATCH * BATCH].view(-1, BATCH)

    order = batches()

    def run(steps: int) -> None:
        for _ in range(steps):
            rows = next(order)
            a = x[rows]
            for layer, slope in zip(layers[:-1], SLOPES, strict=True):
                a = torch.nn.functional.leaky_relu(layer(a), slope)
            loss = torch.nn.functional.cross_entropy(layers[-1](a), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run, {"weights": sum(layer.weight.numel() for layer in layers)}


def _rewire(threads: int, group: int) -> tuple[Run, dict]:
    import rewire as rw

    x, y = _data()
    x = x.reshape(len(x), -1)
    widths = pairwise(SIZES[:-1])
    net = rw.Sequential(
        [rw.Sparse(n, m, epsilon=EPSILON, activation=rw.AllReLU(0.6), group=group) for n, m in widths]
        + [rw.Sparse(SIZES[-2], SIZES[-1], epsilon=EPSILON, activation="softmax")],
        seed=0,
    )
    net.standardizer = rw.Standardizer.fit(x)  # of all images, as on the other sides
    optimizer = rw.SGD(lr=LR, momentum=MOMENTUM)
    trainer = rw.Trainer(
        net, loss="cross_entropy", optimizer=optimizer, rewiring=rw.Static(), threads=threads
    )

    def run(steps: int) -> None:
        samples = steps * BATCH
        trainer.fit(x[:samples], y[:samples], epochs=1, batch_size=BATCH, verbose=0)

    return run, {"weights": net.nnz}


SIDES = {
    "torch-dense": torch_dense,
    "rewire": lambda threads: _rewire(threads, 1),
    "rewire-group4": lambda threads: _rewire(threads, 4),
}


def main() -> None:
    name, threads = sys.argv[1], int(sys.argv[2])
    run, facts = SIDES[name](threads)
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        with Clock() as clock:
            run(int(line))
        print(json.dumps({"seconds": clock.block.seconds, "foreign": clock.block.foreign}), flush=True)


if __name__ == "__main__":
    main()
