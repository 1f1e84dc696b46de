"""Which parts of a rewiring rule make it good: each left out, or given to another rule; and defaults.

Fashion-MNIST, 784-1000-1000-1000-10, Erdos-Renyi over the network, batch 128, SGD 0.05 with momentum 0.9 and
a cosine to 0. A validation split of 10,000 of the training samples judges, after the last epoch: the test set
is never looked at. Two tables: rules and their parts at 0.3 and 1 % of the weights, and what else the default
settings might have (dropout, averages, label smoothing, warm-up, groups) at epsilon 20.
"""

from __future__ import annotations

import statistics
from typing import Any

from _apart import apart
from _report import Report, options

SEEDS = 3
# Density, dropout, samples, epochs.
SPARSE = ((0.003, 0.0, 12_000, 20), (0.01, 0.1, 12_000, 20))
LONG = ((0.003, 0.0, None, 60), (0.01, 0.1, None, 60))
HALF = {"fraction": 0.5}
ANNEALED = {"decay": "cosine", "end": 0.75}
# Name of a row -> the rule's config.
RULES: dict[str, dict[str, Any]] = {
    "static": {"name": "static"},
    "SET": {"name": "set"},
    "SET, cosine until 75 %": {"name": "set", **ANNEALED},
    "- and momentum redistributes": {"name": "set", **ANNEALED, "redistribute": "momentum"},
    "SET, half, cosine until 75 %": {"name": "set", **HALF, **ANNEALED},
    "- half, and momentum redistributes": {"name": "set", **HALF, **ANNEALED, "redistribute": "momentum"},
    "RigL": {"name": "rigl"},
    "RigL, four batches": {"name": "rigl", "batches": 4, "beta": 0.9},
    "RigL, momentum redistributes": {"name": "rigl", "redistribute": "momentum"},
    "RigL, half": {"name": "rigl", **HALF},
    "RigL, half, momentum redistributes": {"name": "rigl", **HALF, "redistribute": "momentum"},
    "SNFS": {"name": "snfs"},
    "SNFS without redistribution": {"name": "snfs", "redistribute": None},
    "SNFS with the next batch alone": {"name": "snfs", "batches": 1},
    "SNFS every 100 steps until 75 %": {"name": "snfs", "every": 100, "end": 0.75},
    "SNFS from a fraction of 0.3": {"name": "snfs", "fraction": 0.3},
    "SNFS that grows at random": {"name": "snfs", "grow": "random"},
}
# Name of a row -> what differs from dropout 0.2, group 4, the static rule.
SETTINGS: dict[str, dict[str, Any]] = {
    "dropout 0": {"dropout": 0.0},
    "dropout 0.1": {"dropout": 0.1},
    "dropout 0.2": {},
    "dropout 0.3": {"dropout": 0.3},
    "group 1": {"group": 1},
    "warm-up of an epoch": {"warmup": 1},
    "label smoothing 0.05": {"label_smoothing": 0.05},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "EMA": {"average": "ema"},
    "SWA": {"average": "swa"},
    "a constant rate": {"annealed": False},
    "a constant rate, EMA": {"annealed": False, "average": "ema"},
    "a constant rate, SWA": {"annealed": False, "average": "swa"},
    "SET": {"rule": {"name": "set"}},
    "SET, cosine until 75 %": {"rule": {"name": "set", **ANNEALED}},
}


def add(report: Report, page: Any, name: str, key: str, **run: Any) -> None:
    """One row: mean over seeds and spread."""
    runs = []
    for seed in range(1 if report.arguments.tiny else SEEDS):
        if report.left < 5 and not report.arguments.tiny:
            break
        cell = report.cell(
            f"{key}/{name}/{seed}",
            lambda seed=seed: apart(
                "_rules_runs:part",
                threads=report.arguments.threads[-1],
                seed=seed,
                dataset="digits" if report.arguments.tiny else "fashion-mnist",
                **run,
            ),
        )
        if cell is not None:
            runs.append(cell)
    good = [run for run in runs if "error" not in run]
    if not good:
        page.row(
            name, runs[0]["error"] if runs else "no time left for it: --full", *["-"] * (len(page.header) - 2)
        )
        return
    ends = [100 * run["accuracy"] for run in good]
    failed = f" ({len(runs) - len(good)} diverged)" if len(good) < len(runs) else ""
    page.row(
        name, f"{statistics.mean(ends):.2f}{failed}", f"{min(ends):.2f}..{max(ends):.2f}", good[0]["links"],
        statistics.mean(run["seconds"] for run in good),
    )  # fmt: skip


def main() -> None:
    report = Report("parts", options(__doc__, share=3000))
    tiny, full = report.arguments.tiny, report.arguments.full
    header = ["", "validation accuracy, %", "lowest..highest", "links", "s"]
    for density, dropout, samples, epochs in SPARSE[:1] if tiny else LONG if full else SPARSE:
        samples, epochs = (400, 2) if tiny else (samples, epochs)
        page = report.table(
            f"Rules and their parts, {100 * density:g} % of the weights, dropout {dropout:g}: "
            f"{epochs} epochs, {samples or 50_000:,} samples",
            header,
        )
        for name, rule in list(RULES.items())[-4:-2] if tiny else RULES.items():
            common = {"density": density, "dropout": dropout, "samples": samples, "epochs": epochs}
            add(report, page, name, f"{100 * density:g}", rule=rule, **common)
    epochs, samples = (1, 400) if tiny else (40, None) if full else (20, 12_000)
    page = report.table(
        f"Settings, epsilon 20, dropout 0.2, group 4, static: {epochs} epochs, {samples or 50_000:,} samples",
        header,
    )
    for name, differs in list(SETTINGS.items())[:2] if tiny else SETTINGS.items():
        run = {"rule": {"name": "static"}, "dropout": 0.2, "group": 4, **differs}
        add(report, page, name, "settings", epochs=epochs, samples=samples, **run)
    report.note("Judged on 10,000 of the training samples, which no run trains on, after the last epoch.")
    report.save()


if __name__ == "__main__":
    main()
