"""Every rewiring rule at the same budget: accuracy, links explored, time, time spent rewiring, peak memory.

Fashion-MNIST, 784-1000-1000-1000-10, ERK densities of 1, 2 and 5 % over the whole network, batch 128, SGD
0.05 with momentum 0.9 and a cosine, the same for all; every rule with its defaults. Rules that come down from
a denser start (Top-KAST, GMP, GraNet, SNIP) end at the same budget. A second table says what growth by
gradient adds to peak memory where a dense gradient would not fit.
"""

from __future__ import annotations

import statistics
from typing import Any

from _apart import apart
from _report import Report, options

DENSITIES = (0.01, 0.02, 0.05)
SEEDS = 3
SHORT, LONG = (6, None), (30, None)  # epochs, samples
# Name of a row -> the rule's config, and the density it starts from where that is not the budget. "=" stands
# for the budget.
TWICE = "twice the budget"
RULES: dict[str, tuple[dict[str, Any], float | str | None]] = {
    "static": ({"name": "static"}, None),
    "SET": ({"name": "set"}, None),
    "magnitude, random": ({"name": "magnitude"}, None),
    "DEEP R": ({"name": "deepr"}, None),
    "soft DEEP R": ({"name": "soft-deepr"}, None),
    "DSR": ({"name": "dsr"}, None),
    "SNFS": ({"name": "snfs"}, None),
    "RigL": ({"name": "rigl"}, None),
    "SRigL": ({"name": "srigl"}, None),
    "GSE, uniform": ({"name": "gse", "candidates": "uniform"}, None),
    "GSE, GraBo": ({"name": "gse", "candidates": "grabo"}, None),
    "GSE, GraEst": ({"name": "gse", "candidates": "graest"}, None),
    # Their periods (1500 and 4000 steps, 5 epochs) are made for runs of 160 epochs.
    "ITOP, SET": ({"name": "itop", "mode": "set", "every": 400}, None),
    "ITOP, RigL": ({"name": "itop", "mode": "rigl", "every": 400}, None),
    "MEST, EM": ({"name": "mest", "every": {"epochs": 1}}, None),
    "MEST, EM&S": ({"name": "mest", "mode": "em&s", "every": {"epochs": 1}}, None),
    "CHT, CH2": ({"name": "cht", "score": "ch2"}, None),
    "CHT, CH3": ({"name": "cht", "score": "ch3"}, None),
    # A period of 10 epochs is for long runs, too. What goes is gone, so that it ends below the budget.
    "importance, SET": ({"name": "importance", "every": {"epochs": 1}}, None),
    "importance as published, SET": (
        {"name": "importance", "every": {"epochs": 1}, "variant": "published"},
        None,
    ),
    "Top-KAST": ({"name": "top-kast", "forward_fraction": 0.5}, TWICE),  # half of it is in the forward pass
    "GMP": ({"name": "gmp", "density": "="}, 0.5),
    "GraNet": ({"name": "granet", "density": "="}, 0.5),
    "SNIP": ({"name": "snip", "density": "="}, 1.0),
}


def config(rule: dict[str, Any], density: float) -> dict[str, Any]:
    """A rule's config with the budget filled in."""
    return {name: density if value == "=" else value for name, value in rule.items()}


def accuracy_table(
    report: Report, density: float, dense: list[dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """All rules at one density; returns their runs."""
    args, threads = report.arguments, report.arguments.threads[-1]
    epochs, samples = LONG if args.full else SHORT
    seeds = range(1 if args.tiny else SEEDS)
    if args.tiny:
        epochs, samples = 1, 500
    page = report.table(
        f"Density {100 * density:g} %: {epochs} epochs, {samples or 60_000:,} samples, {len(seeds)} seeds, "
        f"{threads} threads",
        ["rule", "accuracy, %", "lowest..highest", "links", "explored, %", "rewirings", "s",
         "rewiring / training, %", "peak, MiB"],
    )  # fmt: skip
    found: dict[str, list[dict[str, Any]]] = {}
    for name, (rule, start) in RULES.items():
        runs = []
        for seed in seeds:
            if report.left < 5 and not args.tiny:
                runs.append({"error": "no time left for it: --full"})
                break
            cell = report.cell(
                f"{100 * density:g}/{name}/{seed}",
                lambda rule=rule, start=start, seed=seed: apart(
                    "_rules_runs:row", threads=threads, rule=config(rule, density), density=density,
                    start=2 * density if start == TWICE else start, seed=seed, epochs=epochs,
                    samples=samples,
                ),
            )  # fmt: skip
            if cell is None:
                break
            runs.append(cell)
            if "error" in cell:
                break
        if not runs:
            continue
        if "error" in runs[-1]:
            page.row(name, runs[-1]["error"], *["-"] * 7)
            continue
        found[name] = runs
        add(page, name, runs)
    if dense:
        add(page, "dense", dense)
    return found


def add(page: Any, name: str, runs: list[dict[str, Any]]) -> None:
    """One row: means over seeds, the spread of accuracy."""
    ends = [100 * run["accuracy"][-1] for run in runs]

    def mean(what: str) -> float:
        return statistics.mean(run[what] for run in runs)

    seconds = mean("training") + mean("rewiring")
    explored = "-" if runs[0]["explored"] is None else f"{100 * mean('explored'):.1f}"
    page.row(
        name, f"{statistics.mean(ends):.2f}", f"{min(ends):.2f}..{max(ends):.2f}", runs[0]["links"], explored,
        runs[0]["rewirings"], seconds, f"{100 * mean('rewiring') / mean('training'):.1f}",
        mean("peak_bytes") / 2**20,
    )  # fmt: skip


def growth_table(report: Report) -> None:
    """Peak memory of growth by gradient over a wide layer."""
    args = report.arguments
    width, density = (500, 0.05) if args.tiny else (30_000, 0.001)
    page = report.table(
        f"One growth by gradient, {width:,} x {width:,} at {100 * density:g} %, batch 32",
        ["rule", "links", "of them new", "peak before, MiB", "after, MiB", "a dense gradient, MiB", "s"],
    )
    for how in ("rigl", "gse"):
        cell = report.cell(
            f"growth/{how}",
            lambda how=how: apart(
                "_rules_runs:growth",
                threads=args.threads[-1],
                width=width,
                density=density,
                batch=32,
                how=how,
            ),
        )
        if cell is None:
            continue
        if "error" in cell:
            page.row(how, cell["error"], *["-"] * 5)
            continue
        page.row(
            how, cell["links"], cell["grown"], *(cell[k] / 2**20 for k in ("before", "after", "dense")),
            cell["seconds"],
        )  # fmt: skip


def plot(
    report: Report, found: dict[float, dict[str, list[dict[str, Any]]]], dense: list[dict[str, Any]]
) -> None:
    """Mean accuracy of each rule, a mark for each density, its spread as a line."""
    with report.plot("accuracy", 8.0, 6.5) as axes:
        if axes is None or not any(found.values()):
            return
        names = [name for name in RULES if any(name in runs for runs in found.values())][::-1]
        for i, (density, runs) in enumerate(found.items()):
            for y, name in enumerate(names):
                if name not in runs:
                    continue
                ends = [100 * run["accuracy"][-1] for run in runs[name]]
                height, colour = y + 0.22 * (1 - i), f"C{i}"
                axes.plot([min(ends), max(ends)], [height, height], color=colour, linewidth=1.5)
                axes.plot(
                    statistics.mean(ends), height, "o", color=colour, markersize=4,
                    label=f"{100 * density:g} %" if y == len(names) - 1 else None,
                )  # fmt: skip
        if dense:
            axes.axvline(
                statistics.mean(100 * run["accuracy"][-1] for run in dense),
                color="0.6",
                linewidth=1,
                label="dense",
            )
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("test accuracy, %")
        axes.grid(axis="x", color="0.9")
        axes.legend(loc="lower left", frameon=False)


def main() -> None:
    report = Report("rules", options(__doc__, share=3000))
    args, threads = report.arguments, report.arguments.threads[-1]
    epochs, samples = (1, 500) if args.tiny else LONG if args.full else SHORT
    dense = []
    for seed in range(1 if args.tiny else SEEDS):
        cell = report.cell(
            f"dense/{seed}",
            lambda seed=seed: apart(
                "_rules_runs:row", threads=threads, rule=None, density=1.0, start=None, seed=seed,
                epochs=epochs, samples=samples,
            ),
        )  # fmt: skip
        if cell is not None and "error" not in cell:
            dense.append(cell)
    found = {}
    for density in (DENSITIES[-1],) if args.tiny else DENSITIES:
        found[density] = accuracy_table(report, density, dense)
    growth_table(report)
    plot(report, found, dense)
    report.note("Dense networks, and starts at half of all links or more, run at 0.01: 0.05 diverges.")
    report.note("links: at the end. s: training and rewiring of a whole run, without evaluation.")
    report.save()


if __name__ == "__main__":
    main()
