"""Published directions with one code: All-ReLU against ReLU in static nets, SET against static and dense.

What is compared with: Mocanu et al. (2018) and the result files of their repositories (SET above static, and
at or above dense), and Curci et al. (arXiv:2102.01732) with a rerun of their code by others (All-ReLU above
ReLU in static nets, by 0.4 points on Fashion-MNIST after 500 epochs). The short run trains for fewer epochs.
"""

from __future__ import annotations

import statistics
from typing import Any

from _apart import apart
from _report import Report, options

# Table -> what all of its rows share; (epochs of the short run, of --full).
FASHION = {
    "dataset": "fashion-mnist", "hidden": [1000, 1000, 1000], "epsilon": 20.0, "batch": 128, "lr": 0.01,
    "dropout": 0.3,
}  # fmt: skip
SMALL = {
    "dataset": "fashion-mnist", "samples": 2000, "hidden": [1000, 1000, 1000], "epsilon": 13.0, "batch": 40,
    "lr": 0.01, "dropout": 0.2,
}  # fmt: skip
MADELON = {
    "dataset": "madelon", "hidden": [400, 100, 400], "epsilon": 10.0, "batch": 32, "lr": 0.01, "dropout": 0.3,
}  # fmt: skip
TABLES: dict[str, tuple[dict[str, Any], tuple[int, int], dict[str, dict[str, Any]]]] = {
    "All-ReLU and ReLU, static, Fashion-MNIST, epsilon 20, the authors' settings": (
        FASHION, (60, 500),
        {"All-ReLU 0.6": {"slope": 0.6}, "ReLU": {}},
    ),
    "All-ReLU and ReLU, static, Madelon, epsilon 10": (
        MADELON, (200, 500),
        {"All-ReLU 0.5": {"slope": 0.5}, "ReLU": {}},
    ),
    "SET, static and dense, 2,000 samples of Fashion-MNIST, epsilon 13, ReLU": (
        SMALL, (400, 400),
        {"SET": {"rule": "set"}, "SET, new links zero": {"rule": "set", "new_init": "zeros"}, "static": {},
         "dense": {"dense": True}},
    ),
}  # fmt: skip
SEEDS = 3


def main() -> None:
    report = Report("published", options(__doc__, share=1200))
    args, threads = report.arguments, report.arguments.threads[-1]
    for title, (shared, lengths, rows) in TABLES.items():
        epochs = 2 if args.tiny else lengths[args.full]
        seeds = range(1 if args.tiny else SEEDS)
        page = report.table(
            f"{title}: {epochs} epochs, {len(seeds)} seeds",
            ["", "last, %", "lowest..highest", "best epoch, %", "weights"],
        )
        for name, how in rows.items():
            cells = [
                report.cell(
                    f"{title}/{name}/{seed}",
                    lambda how=how, shared=shared, seed=seed, epochs=epochs: apart(
                        "_rules_runs:published", threads=threads, seed=seed, epochs=epochs, **shared, **how
                    ),
                )
                for seed in seeds
            ]
            runs = [cell for cell in cells if cell is not None]
            errors = [run["error"] for run in runs if "error" in run]
            if errors or not runs:
                page.row(name, *(errors[:1] or ["left out"]), *["-"] * 3)
                continue
            last = [100 * run["accuracy"][-1] for run in runs]
            page.row(
                name, f"{statistics.mean(last):.2f}", f"{min(last):.2f}..{max(last):.2f}",
                f"{statistics.mean(100 * max(run['accuracy']) for run in runs):.2f}", runs[0]["links"],
            )  # fmt: skip
    report.note("The best epoch is chosen on the test set, as in the published tables; the last one is not.")
    report.save()


if __name__ == "__main__":
    main()
