"""Networks beside each other, at equal weights and at equal time: rules, activations, switches, winners.

The first 12,000 samples of Fashion-MNIST; three hidden layers of 500. Whatever is not said is a default of
the package: groups of four, dropout 0.2, SGD with momentum whose rate falls along a cosine. Every network has
the best of five learning rates, chosen from one seed by 10,000 other training samples; then it is trained
from every seed, and the test set is looked at once, after the last epoch.

Equal weights: as many connections as SwitchNet4 has with width 1024 and depth 3, in 20 epochs; the dense
network is made narrower. Equal time: the networks are the same, but for the dense one, which has its full
width, and a rate of its own; each has the processor seconds of one thread that the dense one takes for
five epochs. Epochs follow from measured paces, so other work on the machine changes nothing. Where PyTorch is
there and quicker than our dense layers, its five epochs are what counts.

Runs are kept in `networks_*.jsonl`, paces in `networks_paces*.json`, and nothing is done twice: stopped by
Ctrl-C or killed, it goes on where it was. Other defaults of the package have other files.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REWIRE_NUM_THREADS"), "1")

import hashlib
import json
import math
import statistics
import sys
import time
from typing import Any

import numpy as np
from _apart import apart
from _networks_readme import ENDS, above
from _report import Report, parser, results, settle
from _trials import package_defaults

import rewire as rw
from rewire.comparison.task import Task
from rewire.recipe import Recipe

SAMPLES, JUDGES = 12_000, 10_000
HIDDEN, SWITCHES, DEPTH = 500, 1024, 3
EPOCHS, DENSE_EPOCHS, SEEDS = 20, 5, 5
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
TURNS, SHORT = 3, 3  # measurements of every pace; epochs of each
DENSE, BASELINE = "dense, ReLU", "static, ReLU"

NETWORKS: dict[str, dict[str, Any]] = {
    DENSE: {"dense": True, "activation": "relu"},
    BASELINE: {"rewiring": "static", "activation": "relu"},
    "SET, ReLU": {"rewiring": "set", "activation": "relu"},
    "RigL, ReLU": {"rewiring": "rigl", "activation": "relu"},
    "SET, All-ReLU": {"rewiring": "set", "activation": "all-relu"},
    "SET, SReLU": {"rewiring": "set", "activation": "srelu"},
    "SET, two-sided": {"rewiring": "set", "activation": "two-sided"},
    "SwitchNet4": {"rewiring": "static", "activation": "switchnet4"},
    "SET, k-winners": {"rewiring": "set", "activation": "k-winners"},
}


class Study:
    """What is compared, on which samples, and how much of it."""

    def __init__(self, arguments: Any) -> None:
        tiny = arguments.tiny
        self.seeds = 1 if tiny else arguments.seeds
        self.epochs, self.dense_epochs, self.turns = (1, 1, 1) if tiny else (EPOCHS, DENSE_EPOCHS, TURNS)
        self.rates = RATES[1:2] if tiny else RATES
        self.defaults = "" if tiny else "-" + hashlib.sha256(package_defaults().encode()).hexdigest()[:8]
        data = rw.datasets.load("digits" if tiny else "fashion-mnist")
        X, y = data.X.reshape(len(data.X), -1), data.y
        samples, judges = (600, 200) if tiny else (SAMPLES, JUDGES)
        self.train, self.judges = (X[:samples], y[:samples]), (X[-judges:], y[-judges:])
        self.test = data.X_test.reshape(len(data.X_test), -1), data.y_test
        width, switches = (32, 64) if tiny else (HIDDEN, SWITCHES)
        self.weights = switches * (8 * DEPTH + len(data.classes))
        self.networks = {name: {"hidden": [width] * DEPTH, **one} for name, one in NETWORKS.items()}
        self.networks["SwitchNet4"]["hidden"] = [switches] * DEPTH

    def compare(self, kept: str, networks: Any, against: Any, **options: Any) -> rw.Comparison:
        """Runs, kept in a file; the whole script ends where they were interrupted."""
        found = rw.compare(
            (*self.train, *against), networks, validation=0, jobs=0, threads=1,
            save=results() / f"networks_{kept}{self.defaults}.jsonl", **options,
        )  # fmt: skip
        if found.interrupted:
            sys.exit("stopped; the same command goes on")
        return found

    def rates_of(self, kept: str, networks: Any, **options: Any) -> dict[str, float]:
        """The best rate of every network, by other training samples than it has learned from."""
        names = {(name, rate): f"{name}, rate {rate:g}" for name in networks for rate in self.rates}
        one_each = {word: {**networks[name], "lr": rate} for (name, rate), word in names.items()}
        found = self.compare(f"{kept}_rates", one_each, self.judges, seeds=1, **options)
        best = {}
        for name in networks:
            scores = {rate: _scores(found, names[name, rate]) for rate in self.rates}
            scores = {rate: each for rate, each in scores.items() if each}
            if not scores:
                raise RuntimeError(f"{name} diverged at every rate")
            best[name] = max(scores, key=lambda rate: scores[rate][0])
        return best

    def tested(self, kept: str, networks: Any, rates: dict[str, float], **options: Any) -> rw.Comparison:
        """Every network at its rate, from all seeds, on the test set."""
        at_best = {name: {**one, "lr": rates[name]} for name, one in networks.items()}
        return self.compare(kept, at_best, self.test, seeds=self.seeds, **options)

    def paces(self, networks: Any) -> dict[str, float]:
        """Processor seconds an epoch, measured in turns, or as they were measured before; PyTorch's too."""
        file = results() / f"networks_paces{self.defaults}.json"
        if file.exists():
            return dict(json.loads(file.read_text()))
        data = Task.of((*self.train, *self.judges), 0.0).data
        spent: dict[str, list[float]] = {name: [] for name in networks}
        for _ in range(self.turns):
            for name, options in networks.items():
                trainer = Recipe({**options, "lr": 1e-4}).trainer(data, seed=0, epochs=SHORT, threads=1)
                begin = time.process_time()
                trainer.fit(data.X, data.y, epochs=SHORT, batch_size=128, verbose=0)
                spent[name].append((time.process_time() - begin) / SHORT)
            torch = self._of_torch(networks[DENSE]["hidden"])
            if torch is not None:
                spent.setdefault("PyTorch", []).append(torch)
        found = {name: statistics.median(values) for name, values in spent.items()}
        file.write_text(json.dumps(found))
        return found

    def _of_torch(self, hidden: list[int]) -> float | None:
        """Of the dense network in PyTorch; None where there is no PyTorch."""
        file = results() / "networks_data.npz"
        np.savez(file, X=self.train[0], y=self.train[1], X_test=self.train[0], y_test=self.train[1])
        options = {"hidden": hidden, "lr": 1e-4, "batch-size": 128, "dropout": 0.2, "dtype": "float32"}
        found = apart("_trial_runs:dense", data=str(file), epochs=1, seed=0, options=options, torch=True)
        file.unlink()
        return found.get("cpu_seconds")


def _scores(found: rw.Comparison, name: str) -> list[float]:
    """Accuracy in percent, by seed, of runs that did not diverge."""
    runs = sorted((run for run in found if run["contender"] == name), key=lambda run: run["seed"])
    values = [run.get("test_accuracy") for run in runs]
    return [100 * value for value in values if value is not None and math.isfinite(value)]


def _row(found: rw.Comparison, name: str, rate: float) -> dict[str, Any]:
    runs = [run for run in found if run["contender"] == name and "error" not in run]
    if not runs:
        return {"scores": [], "rate": rate, "weights": 0, "epochs": 0}
    facts = {key: runs[0][key] for key in ("weights", "epochs")}
    return {**facts, "scores": _scores(found, name), "rate": rate}


def show(report: Report, title: str, rows: dict[str, dict[str, Any]]) -> None:
    """One table; every network beside the static one, seed by seed."""
    columns = ["network", "weights", "epochs", "rate", "test accuracy, %", "by seed", "points above static"]
    table = report.table(title, columns)
    for name, row in rows.items():
        scores, base = row["scores"], rows[BASELINE]["scores"]
        if not scores:
            table.row(name, "-", "-", row["rate"], "diverged", "-", "-")
            continue
        difference = above(scores, base) if name != BASELINE else None
        points = "-" if difference is None else "{:+.2f} +- {:.2f}".format(*difference)
        spread = f" +- {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
        listed = " ".join(f"{score:.2f}" for score in scores)
        mean = f"{statistics.mean(scores):.2f}{spread}"
        table.row(name, row["weights"], row["epochs"], row["rate"], mean, listed, points)


def main() -> None:
    made = parser(__doc__, math.inf)
    made.add_argument("--seeds", type=int, default=SEEDS)
    arguments = settle(made.parse_args())
    report = Report("networks", arguments)
    study = Study(arguments)
    limits = {"epochs": study.epochs, "weights": study.weights}
    rates = study.rates_of("weights", study.networks, **limits)
    equal = study.tested("weights", study.networks, rates, **limits)
    by_weights = {name: _row(equal, name, rates[name]) for name in study.networks}
    # The same networks, but for the dense one.
    same = {name: {**equal.contenders[name]} for name in study.networks}
    same[DENSE] = {**study.networks[DENSE]}
    for one in same.values():
        one.pop("lr", None), one.pop("epochs", None)
    paces = study.paces(same)
    seconds = study.dense_epochs * min(paces[name] for name in (DENSE, "PyTorch") if name in paces)
    for name, one in same.items():
        one["epochs"] = study.dense_epochs if name == DENSE else max(1, int(seconds / paces[name]))
    rates = {**rates, **study.rates_of("time", {DENSE: same[DENSE]})}
    timed = study.tested("time", same, rates)
    by_time = {name: _row(timed, name, rates[name]) | {"pace": paces[name]} for name in same}
    show(report, f"At equal weights, {study.epochs} epochs", by_weights)
    show(report, f"At equal time, {seconds:.3g} s of one thread", by_time)
    report.cells = {
        "weights": by_weights, "time": by_time, "seconds": seconds, "paces": paces, "baseline": BASELINE,
        "samples": len(study.train[1]), "seeds": study.seeds,
    }  # fmt: skip
    report.note(
        f"The rate is the best of {', '.join(f'{rate:g}' for rate in study.rates)} at equal weights, and for "
        "the dense network in each table by itself; +- is the deviation over seeds, and in the last column "
        "the standard error of the difference."
    )
    ends = [name for name, row in by_weights.items() if row["rate"] in (study.rates[0], study.rates[-1])]
    if ends and len(study.rates) > 1:
        grid = ", ".join(f"{rate:g}" for rate in study.rates)
        report.note(f"{ENDS} of the rates {grid}, where others may be better still: {', '.join(ends)}.")
    each = ", ".join(f"{name} {pace:.3f}" for name, pace in paces.items())
    report.note(f"Processor seconds an epoch, medians of {study.turns} turns: {each}.")
    report.save()


if __name__ == "__main__":
    main()
