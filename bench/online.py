"""A stream in pieces of ten rows: `partial_fit` of ours and of scikit-learn's MLP in turns, one thread each.

Prints milliseconds of a call and the ratio to scikit-learn's. A ratio below 1 means that ours takes less.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from itertools import product

from _measure import Side, SideError, measure
from _report import Report, options

KINDS, HIDDEN, DATA = ("classifier", "regressor"), ([30], [100], [1000, 1000]), ("float64", "float32", "CSR")
SIDES = {"rewire": "rewire", "scikit-learn": "scikit_learn"}
TARGET = 1.0  # of scikit-learn's time


def duel(sides: Mapping[str, Side], budget: float, **cell: object) -> dict:
    contestants, refused = {}, {}
    for name, side in sides.items():
        try:
            contestants[name] = side.prepare(**cell)["call"]
        except SideError as error:
            refused[name] = str(error)
    result = measure(contestants, budget=budget)
    return {
        "milliseconds": {name: result.figure({name: 1000}) for name in contestants},
        "ratio": result.ratio("rewire", "scikit-learn"),
        "refused": refused | result.left_out,
    }


def main() -> None:
    report = Report("online", options(__doc__, share=150))
    table = report.table(
        "partial_fit of ten rows, Adam, 1 thread",
        ["estimator", "hidden layers", "data", "rewire, ms", "scikit-learn, ms", "x scikit-learn"],
    )
    cells = list(product(KINDS, *((HIDDEN[:1], DATA[:1]) if report.arguments.tiny else (HIDDEN, DATA))))
    ratios: dict[str, list[float]] = {}
    with ExitStack() as stack:
        sides = {name: stack.enter_context(Side(f"_online_sides:{f}")) for name, f in SIDES.items()}
        for i, (kind, hidden, data) in enumerate(cells):
            widths, budget = "-".join(map(str, hidden)), max(4.5, report.left / (len(cells) - i))
            what = {"kind": kind, "hidden": hidden, "data": data}
            cell = report.cell(f"{kind} {widths} {data}", lambda b=budget, o=what: duel(sides, b, **o))
            if not cell:
                continue
            table.row(kind, widths, data, *(cell["milliseconds"].get(name) for name in SIDES), cell["ratio"])
            for name, why in cell["refused"].items():
                report.note(f"{name} left out: {why}")
            if cell["ratio"]["median"] is not None:
                ratios.setdefault(kind, []).append(cell["ratio"]["median"])
    for kind, found in ratios.items():
        asked = f"a {kind}'s partial_fit of ten rows: at most {TARGET} x scikit-learn's"
        report.judge("online", asked, max(found), max(found) <= TARGET)
    report.save()


if __name__ == "__main__":
    main()
