"""One epoch of Fashion-MNIST: rewire against dense PyTorch, interleaved, 1 and 2 threads.

Prints seconds for an epoch's 468 training steps (structure fixed, no dropout; scaled from blocks) and the
ratio to dense. A ratio below 1 means faster than dense. About a minute on 2 cores.
"""

from __future__ import annotations

from contextlib import ExitStack

from _measure import Side, SideError, measure
from _report import Report, options

STEPS = 468  # of an epoch
SIDES = {
    "torch-dense": ("torch_dense", {}),
    "rewire": ("rewire", {"group": 1, "rewiring": "static"}),
    "rewire-group4": ("rewire", {"group": 4, "rewiring": "static"}),
}
TARGET = 0.3  # of dense, group 1


def duel(threads: int, report: Report, budget: float) -> dict:
    contestants, weights, refused = {}, {}, {}
    with ExitStack() as stack:
        for name, (function, cell) in SIDES.items():
            side = stack.enter_context(Side(f"_epoch_sides:{function}", threads))
            cell = {**cell, "samples": 512} if report.arguments.tiny else cell
            try:
                contestants[name] = side.prepare(dropout=0.0, **cell)["step"]
                weights[name] = side.facts["weights"]
            except SideError as error:
                refused[name] = str(error)
        result = measure(contestants, budget=budget)
    return {
        "seconds": {name: result.figure({name: STEPS}) for name in contestants},
        "ratio": {name: result.ratio(name, "torch-dense") for name in contestants},
        "weights": weights,
        "refused": refused | result.left_out,
    }


def main() -> None:
    report = Report("quick", options(__doc__, share=75))
    counts = report.arguments.threads
    cells = {}
    for i, threads in enumerate(counts):
        # Loading the data and the libraries takes a third of the time.
        budget = 60.0 if report.arguments.full else 0.65 * report.left / (len(counts) - i)
        cells[threads] = report.cell(f"threads {threads}", lambda t=threads, b=budget: duel(t, report, b))
    table = report.table(
        "Fashion-MNIST 784-1000-1000-1000-10, epsilon 20, batch 128, float32",
        ["threads", "side", "weights", "seconds an epoch", "x dense"],
    )
    for threads, cell in cells.items():
        if cell:
            for name, seconds in cell["seconds"].items():
                table.row(threads, name, cell["weights"][name], seconds, cell["ratio"][name])
            for name, why in cell["refused"].items():
                report.note(f"{name} left out: {why}")
    ratios = [
        cell["ratio"]["rewire"]["median"] for cell in cells.values() if cell and "rewire" in cell["ratio"]
    ]
    met = None if not ratios or None in ratios else max(ratios) <= TARGET
    words = f"an epoch at most {TARGET} x dense at {' and '.join(map(str, counts))} threads"
    report.judge("quick", words, max(ratios) if met is not None else None, met)
    report.save()


if __name__ == "__main__":
    main()
