"""One run: a contender is built from a seed, trained for its epochs, and measured.

The test set is looked at once, after the last epoch, and nothing follows from what is seen there. Seconds are
those of training, of rewiring and of callbacks, which may be part of a method; evaluation does not count.
"""

from __future__ import annotations

import itertools
import statistics
import warnings
from typing import Any

from rewire import info
from rewire._warn import says_interrupted
from rewire.comparison.contender import Contender
from rewire.comparison.task import Task
from rewire.history import History

__all__ = ["SPENT", "Interrupted", "measure", "run"]

SPENT = ("training", "rewiring", "callbacks")


class Interrupted(Exception):
    """Training was ended by a signal: there is nothing to report."""


def run(
    task: Task, contender: Contender, *, seed: int, epochs: int | None = None, threads: int | None = None
) -> dict[str, Any]:
    """Train once and measure.

    Returns
    -------
    dict
        JSON-able: see `rewire.comparison.Comparison.runs`.

    Raises
    ------
    Interrupted
        After Ctrl-C.
    """
    recipe, data = contender.recipe, task.data
    before = info.peak_memory()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        trainer = contender.trainer(data, seed=seed, epochs=epochs, threads=threads)
        network, began = trainer.network, trainer.network.nnz
        contender.check_weights(began)
        with says_interrupted():
            history = trainer.fit(
                data.X, data.y, epochs=epochs or recipe.epochs, validation_data=task.validation, verbose=0,
                workers=1, **recipe.fit_options(data),
            )  # fmt: skip
        if history.interrupted:
            raise Interrupted
        peak = info.peak_memory()
        found: dict[str, float] = {}
        last = history[-1]
        if task.validation is not None:
            found |= {
                name.replace("val_", "validation_", 1): v for name, v in last.items() if name[:4] == "val_"
            }
        if data.X_test is not None:
            tested = trainer.evaluate(data.X_test, data.y_test)
            found |= {f"test_{name}": value for name, value in tested.items()}
    seconds = {part: sum(history[f"seconds_{part}"]) for part in SPENT}
    metric = trainer.loss.metric(network.final)
    assert metric is not None, "compare has looked"
    return {
        "seed": seed,
        "epochs": len(history),
        **found,
        "metric": metric.name,
        "weights": network.nnz,
        "weights_at_first": began,
        "density": network.density,
        "parameters": network.n_params,
        "network_bytes": network.nbytes,
        "seconds": sum(seconds.values()),
        **{f"seconds_{part}": spent for part, spent in seconds.items()},
        "seconds_per_epoch": statistics.median(_spent(history)),
        "peak_memory": peak,
        "memory_before": before,
        "rewirings": trainer.rewirings,
        "curve": _curve(history),
        "warnings": sorted({" ".join(str(w.message).split()) for w in warned}),
    }


def measure(task: Task, contender: Contender, *, epochs: int, threads: int | None = None) -> dict[str, Any]:
    """Seconds an epoch, by a run of few epochs from its beginning to its end.

    Of a rule that thins the network out it has all densities; what happens between epochs happens less often
    than in a long run.
    """
    recipe, data = contender.recipe, task.data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a run that short is nobody's wish
        trainer = contender.trainer(data, seed=0, epochs=epochs, threads=threads)
        history = trainer.fit(data.X, data.y, epochs=epochs, verbose=0, workers=1, **recipe.fit_options(data))
    if history.interrupted:
        raise Interrupted
    return {"seconds_per_epoch": statistics.fmean(_spent(history))}


def _spent(history: History) -> list[float]:
    """Seconds of every epoch."""
    return [sum(row[f"seconds_{part}"] for part in SPENT) for row in history]


def _curve(history: History) -> dict[str, list[float]]:
    """What is followed over epochs: seconds so far, losses, and the metric on samples that are held out."""
    found = {"seconds": list(itertools.accumulate(_spent(history))), "loss": history["loss"]}
    for name in history.columns:
        if name.startswith("val_"):
            found[name.replace("val_", "validation_", 1)] = history[name]
    return found
