"""Losses: nanoseconds an output with the gradient, and what a step takes beside its passes or products.

``--beside FOLDER`` names the ``python`` folder of another checkout, built: two versions then take turns.
"""

from __future__ import annotations

from contextlib import ExitStack

from _loss_sides import steps_of
from _measure import Side, measure
from _report import Report, parser, settle

WIDE, ROWS = 670_091, 8
LOSSES = (
    ("cross_entropy", "labels", 10, 128), ("cross_entropy", "labels", 10_000, 128),
    ("binary_cross_entropy", "dense", WIDE, ROWS), ("binary_cross_entropy", "sparse", WIDE, ROWS),
    ("binary_cross_entropy", "sparse", 20_000, 256), ("mse", "dense", 2048, 1024),
    ("huber", "dense", 2048, 1024), ("poisson", "dense", 2048, 1024),
    ("squared_hinge", "dense", 2048, 1024),
)  # fmt: skip
STEPS = {
    "mse": "2048-2048-2048, 3 %, batch 1024, MSE",
    "labels": "670,091 outputs, batch 8, binary cross entropy",
    "images": "784-1000-1000-1000-10, groups of 4, batch 128, dropout, SET: beside its products",
    "small": "64-16-16-16-10, groups of 4, batch 16, dropout, SET: all of it",
}
TARGET = 1.5  # ns an output on one thread with AVX-512
OF_BEFORE = {"mse": 0.5, "labels": 0.5, "images": 0.65}  # of the other version's time, by step


def main() -> None:
    made = parser(__doc__, 120)
    made.add_argument("--beside", metavar="FOLDER", help="the python folder of another version's checkout")
    report = Report("losses", settle(made.parse_args()))
    tiny, beside = report.arguments.tiny, report.arguments.beside
    threads = sorted({1, *report.arguments.threads})
    table = report.table(
        "A loss and its gradient, ns an output", ["loss", "targets", "outputs", "batch", "threads", "ns"]
    )
    cells = [(*cell, t) for cell in (LOSSES[:1] if tiny else LOSSES) for t in threads]
    for i, (kind, targets, n, batch, t) in enumerate(cells):
        budget = max(1.0, 0.5 * report.left / (len(cells) - i))

        def one(kind=kind, targets=targets, n=n, batch=batch, t=t, budget=budget) -> dict:
            with Side("_loss_sides:rewire_loss", t) as side:
                contestants = side.prepare(kind=kind, targets=targets, n=n, batch=batch)
                return {"ns": measure(contestants, budget=budget).figure({"loss": 1e9 / n / batch})}

        cell = report.cell(f"{kind} {targets} {n} {batch} {t}", one)
        if cell:
            table.row(kind, targets, n, batch, t, cell["ns"])
            if kind == "binary_cross_entropy" and n == WIDE and t == 1 and cell["ns"]["median"] is not None:
                asked = f"{targets} targets: at most {TARGET} ns an output on one thread with AVX-512"
                report.judge("losses", asked, cell["ns"]["median"], cell["ns"]["median"] <= TARGET)
    table = report.table(
        "A step beside its passes, ms", ["step", "threads", "here", "the other version", "here / other"]
    )
    versions = {"here": {}} | ({"other": {"PYTHONPATH": beside}} if beside else {})
    for (kind, name), t in ((s, t) for s in STEPS.items() for t in threads):

        def two(kind=kind, t=t) -> dict:
            with ExitStack() as stack:
                sides = {
                    v: stack.enter_context(Side("_loss_sides:rewire_step", t, **env))
                    for v, env in versions.items()
                }
                contestants = {v: side.prepare(kind=kind, tiny=tiny)["beside"] for v, side in sides.items()}
                result = measure(contestants, budget=max(2.0, report.left / 4))
                found = {v: result.figure({v: 1000 / steps_of(kind, tiny)}) for v in contestants}
                return found | ({"ratio": result.ratio("here", "other")} if beside else {})

        cell = report.cell(f"step {kind} {t}", two)
        if cell:
            table.row(name, t, cell["here"], cell.get("other"), cell.get("ratio"))
            if beside and kind in OF_BEFORE and cell["ratio"]["median"] is not None:
                most, ratio = OF_BEFORE[kind], cell["ratio"]["median"]
                asked = f"{name}, {t} threads: at most {most} of the other version's time"
                report.judge("losses", asked, ratio, ratio <= most)
    report.save()


if __name__ == "__main__":
    main()
