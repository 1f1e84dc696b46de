"""One training run of either side, in a process of its own (`_apart.py`).

The sparse side is one `rewire train` command, as a user would type it. The dense side is what a PyTorch user
would write: ReLU, He's initial weights, SGD with momentum 0.9 whose rate falls along a cosine over the steps
of the run, dropout behind every hidden layer, the fused optimizer.

Both give ``score`` (accuracy or R2 at the end; None: it diverged), ``weights``, ``seconds`` (of training and
rewiring, nothing else), ``cpu_seconds`` (of all threads, for the same) and ``per_epoch`` (seconds an epoch,
as they came). Both standardise features by their training samples.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

MOMENTUM = 0.9
PIECES = 8  # of an epoch: the dense side's shortest span that is timed by itself


def sparse(
    *, threads: int, data: str, epochs: int, seed: int, options: dict[str, Any], torch: bool = False
) -> dict[str, Any]:
    """``rewire train`` with these options."""
    from rewire.cli import main

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.json")
        command = ["train", "--data", data, "--epochs", str(epochs), "--seed", str(seed), "--quiet"]
        command += ["--threads", str(threads), "--json", str(out)]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        said = io.StringIO()
        with contextlib.redirect_stderr(said), _cpu_of_fit() as cpu:
            code = main(command)
        if code:
            words = (said.getvalue().strip().splitlines() or ["no word"])[-1]
            if "diverged" not in words:
                raise RuntimeError(f"exit code {code}: {words}")
            return {"score": None, "diverged": words}
        record = json.loads(out.read_text())
    spans = record["seconds"]["per_epoch"]
    per_epoch = [a + b for a, b in zip(spans["training"], spans["rewiring"], strict=True)]
    return {
        "score": record.get("accuracy", record.get("r2"))["test"],
        "weights": record["nnz"],
        "seconds": sum(per_epoch),
        # CPU time is divided between training and following the test set as wall time is.
        "cpu_seconds": sum(cpu) * sum(per_epoch) / record["seconds"]["total"],
        "rewiring_seconds": sum(spans["rewiring"]),
        "per_epoch": per_epoch,
        "took": {name: record[name] for name in ("optimizer", "rewiring", "dropout", "batch_size")},
        "layers": [layer["nnz"] for layer in record["layers"]],
    }


@contextlib.contextmanager
def _cpu_of_fit() -> Iterator[list[float]]:
    """CPU seconds of every `Trainer.fit` in this block: the command's record knows wall time only."""
    from rewire import Trainer

    found: list[float] = []
    fit = Trainer.fit

    def timed(self: Any, *args: Any, **keywords: Any) -> Any:
        begin = time.process_time()
        try:
            return fit(self, *args, **keywords)
        finally:
            found.append(time.process_time() - begin)

    with mock.patch.object(Trainer, "fit", timed):
        yield found


def _standardised(data: str) -> tuple[Any, ...]:
    """Features and targets to train on and to score by."""
    with np.load(data) as found:
        x, y, x_test, y_test = (found[name] for name in ("X", "y", "X_test", "y_test"))
    x, x_test = (a.reshape(len(a), -1).astype(np.float32) for a in (x, x_test))
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale == 0] = 1
    return (x - mean) / scale, y, (x_test - mean) / scale, y_test


def dense(
    *, threads: int, data: str, epochs: float, seed: int, options: dict[str, Any], torch: bool = True
) -> dict[str, Any]:
    """A dense PyTorch network: ``hidden``, ``lr``, ``dropout``, ``batch-size``, ``dtype``.

    A part of an epoch is so many steps of one; the rate falls over these.
    """
    import torch as t

    lr, batch, drop = options["lr"], options["batch-size"], options["dropout"]
    half = options["dtype"] == "bfloat16"
    t.set_num_threads(threads)
    arrays = _standardised(data)
    classes = arrays[1].dtype.kind != "f"
    x, y, x_test, y_test = (t.from_numpy(np.ascontiguousarray(a)) for a in arrays)
    if classes:
        loss_of, outputs = t.nn.functional.cross_entropy, int(y.max()) + 1
        y, y_test = y.long(), y_test.long()
    else:
        loss_of, outputs = t.nn.functional.mse_loss, 1
        y, y_test = y.reshape(len(y), 1), y_test.reshape(len(y_test), 1)
    t.manual_seed(seed)
    sizes = [x.shape[1], *options["hidden"], outputs]
    layers: list[Any] = []
    for n, m in pairwise(sizes):
        layer = t.nn.Linear(n, m)
        t.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        t.nn.init.zeros_(layer.bias)
        layers += [layer, t.nn.ReLU(), t.nn.Dropout(drop)] if len(layers) < 3 * len(sizes) - 6 else [layer]
    model = t.nn.Sequential(*layers)
    optimizer = t.optim.SGD(model.parameters(), lr=lr, momentum=MOMENTUM, fused=True)

    def backward(rows: Any) -> Any:
        with t.autocast("cpu", t.bfloat16, enabled=half):
            loss = loss_of(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        return loss

    backward(t.arange(min(batch, len(x))))  # the first one allocates and chooses kernels: nobody's training
    in_epoch = -(-len(x) // batch)
    steps = max(1, round(epochs * in_epoch))
    piece, order = max(1, in_epoch // PIECES), iter(())
    per_epoch: list[float] = []
    begin, timed = time.perf_counter(), 0
    first, cpu = begin, time.process_time()
    for step in range(steps):
        rows = next(order, None)
        if rows is None:
            order = iter(t.randperm(len(x)).split(batch))
            rows = next(order)
        for parameters in optimizer.param_groups:
            parameters["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = backward(rows)
        optimizer.step()
        if (step + 1) % piece == 0 or step + 1 == steps:
            end = time.perf_counter()
            per_epoch.append((end - begin) / (step + 1 - timed) * in_epoch)
            begin, timed = end, step + 1
            if not math.isfinite(loss.item()):
                return {"score": None, "diverged": f"loss {loss.item()} in step {step + 1} of {steps}"}
    spent, cpu = time.perf_counter() - first, time.process_time() - cpu
    model.eval()
    with t.no_grad(), t.autocast("cpu", t.bfloat16, enabled=half):
        found = t.cat([model(rows) for rows in x_test.split(1000)]).float()
    if classes:
        score = float((found.argmax(dim=1) == y_test).float().mean())
    else:
        score = float(1 - ((found - y_test) ** 2).sum() / ((y_test - y_test.mean()) ** 2).sum())
    if not math.isfinite(float(found.sum())):
        return {"score": None, "diverged": "not finite at the end"}
    return {
        "score": score,
        "weights": sum(p.numel() for p in model.parameters() if p.dim() == 2),
        "seconds": spent,
        "cpu_seconds": cpu,
        "rewiring_seconds": 0.0,
        "per_epoch": per_epoch,
    }
