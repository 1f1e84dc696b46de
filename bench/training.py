"""Accuracy and time to it: dense, masks, static and SET, single rows and groups, at equal weights.

Every row is at its best of a small grid of learning rates, chosen by samples that nobody trains on; the
figures are those of the test set after the last epoch, mean and lowest..highest over seeds. "s to" is the
mean of training seconds until an epoch ends at 98 % of the best row's accuracy. "At equal time": every row is
trained anew at its rate, for as many whole epochs as fit into the seconds that `CLOCK` takes for all of its
own, so that its learning rate falls over just these. The short run trains few epochs on a part of
Fashion-MNIST and says so; `--full` trains on all of it, for longer and with more rates.
"""

from __future__ import annotations

import statistics
from argparse import Namespace
from typing import Any

from _apart import apart
from _report import Report, options

SEEDS = 3
SETTINGS = {  # data set: (epochs, samples, rates) of the short run and of --full
    "madelon": ((60, None, [0.01, 0.02]), (200, None, [0.003, 0.01, 0.03, 0.1])),
    "wide": ((8, None, [0.01, 0.05]), (20, None, [0.003, 0.01, 0.03, 0.1])),
    "fashion-mnist": ((5, 24_000, [0.02, 0.1]), (15, None, [0.01, 0.02, 0.05, 0.1])),
}
LEFT_FOR_OTHERS = {"madelon": 0.75, "wide": 0.5, "fashion-mnist": 0.01}  # share of the budget, as they come
SHARE_OF_BEST = 0.98
CLOCK = "SET, eps 20"  # the row whose time the others are given


def rows(full: bool, tiny: bool) -> dict[str, dict[str, Any]]:
    """Name of a row -> options of `_training_runs.row`; what takes longest comes last."""
    if tiny:
        return {CLOCK: {"epsilon": 20}, "SET, eps 20, group 4": {"epsilon": 20, "group": 4}}
    found: dict[str, dict[str, Any]] = {}
    for epsilon in (20, 4):
        for rewiring in ("set", "static"):
            for group in (1, 4, 8):
                name = f"{'SET' if rewiring == 'set' else 'static'}, eps {epsilon}"
                found[name + (f", group {group}" if group > 1 else "")] = {
                    "epsilon": epsilon, "group": group, "rewiring": rewiring,
                }  # fmt: skip
    found["dense (rw.Dense)"] = {"dense": True}
    if full:  # the same network, and about the same time, as rw.Dense
        found["dense (torch)"] = {"torch": True}
    found["dense (torch, GPU)"] = {"torch": True, "device": "cuda"}
    found["SET by masks (torch), eps 20"] = {"torch": True, "masks": True}
    return found


def gpu() -> str | None:
    """None where PyTorch has a GPU, else what to print in its place."""
    try:
        import torch
    except ImportError:
        return "no PyTorch here"
    return None if torch.cuda.is_available() else "no GPU here"


def reached(run: dict[str, Any], level: float) -> float | None:
    """Seconds until an epoch of a run ended at this accuracy."""
    spent = 0.0
    for seconds, accuracy in zip(run["seconds"], run["accuracy"], strict=True):
        spent += seconds
        if accuracy >= level:
            return spent
    return None


def settings(args: Namespace, dataset: str) -> tuple[int, int | None, list[float]]:
    """Epochs, samples, rates."""
    return (1, 200, [0.01]) if args.tiny else SETTINGS[dataset][args.full]


def per_epoch(cell: dict[str, Any]) -> float:
    """Median seconds of an epoch."""
    return statistics.median(s for run in cell["runs"] for s in run["seconds"])


def trained(report: Report, dataset: str, until: float) -> dict[str, Any]:
    """Row -> what `_training_runs.row` found, with ``equal`` where it was trained for the time of `CLOCK`."""
    args = report.arguments
    epochs, samples, rates = settings(args, dataset)
    no_gpu = gpu()
    cells: dict[str, Any] = {}
    for name, how in rows(args.full, args.tiny).items():
        if how.get("device") == "cuda" and no_gpu:
            cells[name] = {"error": no_gpu}
            continue
        if report.left < until and not args.tiny:
            cells[name] = {"error": "no time left for it: --full"}
            continue

        def run(epochs: int, rates: list[float], how: dict[str, Any] = how) -> dict[str, Any]:
            return apart(
                "_training_runs:row", threads=args.threads[-1], dataset=dataset, rates=rates,
                seeds=2 if args.tiny else SEEDS, epochs=epochs, samples=samples, **how,
            )  # fmt: skip

        cell = report.cell(f"{dataset}/{name}", lambda run=run: run(epochs, rates))
        if cell is None:
            continue
        cells[name] = cell = dict(cell)
        clock = cells.get(CLOCK, {"error": "not among the rows asked for"})
        if "error" not in cell and "error" not in clock:
            fit = round(epochs * per_epoch(clock) / per_epoch(cell) - 0.4)  # a tenth of an epoch is noise
            if fit == epochs:
                cell["equal"] = cell
            elif fit:
                key, rate = f"{dataset}/{name}/in {fit} epochs", [cell["lr"]]
                cell["equal"] = report.cell(key, lambda run=run, fit=fit, rate=rate: run(fit, rate))
        print(f"  {dataset}, {name}: {cell.get('error', 'done')}", flush=True)
    return cells


def at_the_end(cell: dict[str, Any]) -> list[float]:
    """Accuracy after the last epoch, seed by seed, in percent."""
    return [100 * run["accuracy"][-1] for run in cell["runs"]]


def equal_time(cell: dict[str, Any]) -> str:
    """A row's accuracy in the time of `CLOCK`, and in how many epochs."""
    equal = cell.get("equal")
    if equal is None:
        return "not one epoch"
    if "error" in equal:
        return str(equal["error"])
    return f"{statistics.mean(at_the_end(equal)):.2f} in {len(equal['runs'][0]['accuracy'])}"


def table(report: Report, dataset: str, until: float = 0.0) -> None:
    """All rows on one data set, begun while more than `until` seconds of the budget are left."""
    args = report.arguments
    epochs, samples, _ = settings(args, dataset)
    cells = trained(report, dataset, until)
    done = {name: cell for name, cell in cells.items() if "error" not in cell}
    if not done:
        return
    level = SHARE_OF_BEST * max(statistics.mean(at_the_end(cell)) for cell in done.values())
    time = f"{epochs * per_epoch(done[CLOCK]):.3g} s" if CLOCK in done else "equal time"
    part = f"{samples:,} of its samples" if samples else "all samples"
    page = report.table(
        f"{dataset}: {epochs} epochs, {part}, {SEEDS} seeds, {args.threads[-1]} threads",
        ["", "accuracy, %", "lowest..highest", f"in {time}, % in epochs", "weights", "lr", "s/epoch",
         f"s to {level:.1f} %", "peak, MiB"],
    )  # fmt: skip
    for name, cell in cells.items():
        if "error" in cell:
            page.row(name, cell["error"], *["-"] * 7)
            continue
        values = at_the_end(cell)
        times = [reached(run, level / 100) for run in cell["runs"]]
        page.row(
            name, f"{statistics.mean(values):.2f}", f"{min(values):.2f}..{max(values):.2f}", equal_time(cell),
            cell["weights"], f"{cell['lr']:g}", per_epoch(cell),
            "not reached" if None in times else statistics.mean(times), cell["peak_bytes"] / 2**20,
        )  # fmt: skip


def main() -> None:
    report = Report("training", options(__doc__, share=480))
    if not report.arguments.full:
        report.note("The short run: few epochs, two rates. Accuracy at the end of long training: --full.")
    report.note(
        f'Accuracy at equal time: the seconds are those of "{CLOCK}" for all its epochs. Every other row '
        "is trained anew, at its rate, for as many whole epochs as fit into them; its rate falls over these."
    )
    for dataset in ("wide",) if report.arguments.tiny else SETTINGS:
        try:
            table(report, dataset, until=LEFT_FOR_OTHERS[dataset] * report.arguments.budget)
        except FileNotFoundError as error:
            report.note(f"{dataset}: {error}")
    report.save()


if __name__ == "__main__":
    main()
