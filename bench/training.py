"""Accuracy and time to it: dense, masks, static and SET, single rows and groups, at equal weights.

Every row is at its best of a small grid of learning rates, chosen by samples that nobody trains on; the
figures are those of the test set after the last epoch, mean and lowest..highest over seeds. "s to" is the
mean of training seconds until an epoch ends at 98 % of the best row's accuracy. The short run trains few
epochs on a part of Fashion-MNIST and says so; `--full` trains on all of it, for longer and with more rates.
"""

from __future__ import annotations

import statistics
from typing import Any

from _apart import apart
from _report import Report, options

SEEDS = 3
SETTINGS = {  # data set: (epochs, samples, rates) of the short run and of --full
    "fashion-mnist": ((6, 30_000, [0.02, 0.05, 0.1]), (15, None, [0.01, 0.02, 0.05, 0.1])),
    "madelon": ((60, None, [0.01, 0.02]), (200, None, [0.003, 0.01, 0.03, 0.1])),
    "wide": ((8, None, [0.01, 0.05]), (20, None, [0.003, 0.01, 0.03, 0.1])),
}
SHARE_OF_BEST = 0.98


def rows(full: bool, tiny: bool) -> dict[str, dict[str, Any]]:
    """Name of a row -> options of `_training_runs.row`."""
    if tiny:
        return {"SET, eps 20": {"epsilon": 20}, "SET, eps 20, group 4": {"epsilon": 20, "group": 4}}
    found: dict[str, dict[str, Any]] = {
        "dense (rw.Dense)": {"dense": True},
        "dense (torch)": {"torch": True},
        "dense (torch, GPU)": {"torch": True, "device": "cuda"},
        "SET by masks (torch), eps 20": {"torch": True, "masks": True},
    }
    for epsilon in (20, 4):
        for rewiring in ("static", "set"):
            for group in (1, 4, 8):
                name = f"{'SET' if rewiring == 'set' else 'static'}, eps {epsilon}"
                found[name + (f", group {group}" if group > 1 else "")] = {
                    "epsilon": epsilon, "group": group, "rewiring": rewiring,
                }  # fmt: skip
    if not full:
        del found["dense (torch)"]  # the same network, and about the same time, as rw.Dense
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


def table(report: Report, dataset: str) -> None:
    """All rows on one data set."""
    args = report.arguments
    epochs, samples, rates = SETTINGS[dataset][args.full]
    if args.tiny:
        epochs, samples, rates = 1, 200, [0.01]
    threads = args.threads[-1]
    no_gpu = gpu()
    cells: dict[str, Any] = {}
    for name, how in rows(args.full, args.tiny).items():
        if how.get("device") == "cuda" and no_gpu:
            cells[name] = {"error": no_gpu}
            continue
        if report.left < 5 and not args.tiny:
            cells[name] = {"error": "no time left for it: --full"}
            continue
        cell = report.cell(
            f"{dataset}/{name}",
            lambda how=how: apart(
                "_training_runs:row", threads=threads, dataset=dataset, rates=rates,
                seeds=2 if args.tiny else SEEDS, epochs=epochs, samples=samples, **how,
            ),
        )  # fmt: skip
        if cell is not None:
            cells[name] = cell
            print(f"  {dataset}, {name}: {cell.get('error', 'done')}", flush=True)
    done = {name: cell for name, cell in cells.items() if "error" not in cell}
    ends = {name: [run["accuracy"][-1] for run in cell["runs"]] for name, cell in done.items()}
    if not ends:
        return
    level = SHARE_OF_BEST * max(statistics.mean(values) for values in ends.values())
    part = f"{samples:,} of its samples" if samples else "all samples"
    page = report.table(
        f"{dataset}: {epochs} epochs, {part}, {SEEDS} seeds, {threads} threads",
        ["", "accuracy, %", "lowest..highest", "weights", "lr", "s/epoch",
         f"s to {100 * level:.1f} %", "peak, MiB"],
    )  # fmt: skip
    for name, cell in cells.items():
        if "error" in cell:
            page.row(name, cell["error"], *["-"] * 6)
            continue
        values = [100 * v for v in ends[name]]
        times = [reached(run, level) for run in cell["runs"]]
        per_epoch = statistics.median(s for run in cell["runs"] for s in run["seconds"])
        page.row(
            name, f"{statistics.mean(values):.2f}", f"{min(values):.2f}..{max(values):.2f}", cell["weights"],
            f"{cell['lr']:g}", per_epoch, "not reached" if None in times else statistics.mean(times),
            cell["peak_bytes"] / 2**20,
        )  # fmt: skip


def main() -> None:
    report = Report("training", options(__doc__, share=480))
    if not report.arguments.full:
        report.note("The short run: few epochs, two rates. Accuracy at the end of long training: --full.")
    for dataset in ("wide",) if report.arguments.tiny else SETTINGS:
        try:
            table(report, dataset)
        except FileNotFoundError as error:
            report.note(f"{dataset}: {error}")
    report.save()


if __name__ == "__main__":
    main()
