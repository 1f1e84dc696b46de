"""The store as a tool: what one edit, a row, a product and a rewiring cost, beside what else people use.

A matrix of 1000 x 1000 with 50,000 connections, float32, one thread: the thread's first question ("which
data structure?") as figures. Then products beside SciPy's CSR alone, at other densities.

Where others use the machine, `--cpu` takes CPU seconds of all blocks instead of wall seconds of quiet ones.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before NumPy is loaded

from collections.abc import Callable, Mapping  # noqa: E402

import numpy as np  # noqa: E402
import scipy.sparse as sp  # noqa: E402
from _measure import Result, measure  # noqa: E402
from _report import Report, parser, settle  # noqa: E402
from _store_sides import EDITS, STRUCTURES, Csr, Store  # noqa: E402
from _turns import turns  # noqa: E402

WIDTH, LINKS = 1000, 50_000
# Operation -> its words in the table.
OPERATIONS = {
    "one_edit": "one edit",
    "thousand": "a thousand edits",
    "edit_and_column": "an edit, then a column",
    "row": "a row",
    "column": "a column",
    "product": "a product with a vector",
    "products": "a product with 16 vectors",
    "few": "20 pruned, 20 grown",
    "rewiring": "30 % pruned and grown",
}
SHAPES = ((1000, 0.01), (1000, 0.05), (1000, 0.2), (10_000, 0.001))
ROUNDS = 9  # with --cpu


def matrix(width: int, density: float) -> sp.csr_array:
    rng = np.random.default_rng(0)
    found = sp.random_array((width, width), density=density, format="csr", dtype=np.float32, rng=rng)
    found.data[:] = rng.standard_normal(found.nnz, dtype=np.float32)
    return found


def timed(contestants: Mapping[str, Callable[[], object]], budget: float, cpu: bool) -> Result:
    """Wall seconds of quiet blocks, within the budget, or CPU seconds of any."""
    if not cpu:
        return measure(contestants, budget=budget)
    found = turns(contestants, ROUNDS)
    return Result([dict(zip(found, each, strict=True)) for each in zip(*found.values(), strict=True)])


def operation(csr: sp.csr_array, name: str, budget: float, cpu: bool) -> dict:
    """Microseconds of one operation in every structure that has it."""
    contestants, refused = {}, {}
    for kind in STRUCTURES:
        if getattr(kind, name) is None:
            continue
        try:
            contestants[kind.name] = getattr(kind(csr, np.random.default_rng(2)), name)
        except ImportError as error:
            refused[kind.name] = str(error)
    result = timed(contestants, budget, cpu)
    scale = 1e6 / EDITS.get(OPERATIONS[name], 2 if name == "edit_and_column" else 1)
    figures = {each: result.figure({each: scale}) for each in contestants}
    return {"us": figures, "refused": refused | result.left_out}


def duel(width: int, density: float, name: str, budget: float, cpu: bool) -> dict:
    """A product of ours and of SciPy's CSR."""
    csr = matrix(width, density)
    sides = {kind.name: getattr(kind(csr, np.random.default_rng(2)), name) for kind in (Store, Csr)}
    result = timed(sides, budget, cpu)
    return {
        "us": {each: result.figure({each: 1e6}) for each in sides},
        "ratio": result.ratio(Store.name, Csr.name),
    }


def main() -> None:
    made = parser(__doc__, share=120)
    made.add_argument("--cpu", action="store_true", help="CPU seconds, of all blocks: others use the machine")
    report = Report("store", settle(made.parse_args()))
    tiny, cpu = report.arguments.tiny, report.arguments.cpu
    csr = matrix(100, 0.05) if tiny else matrix(WIDTH, LINKS / WIDTH**2)
    names = [kind.name for kind in STRUCTURES]
    title = f"{csr.shape[0]:,} x {csr.shape[1]:,}, {csr.nnz:,} connections, float32: microseconds"
    table = report.table(title, ["", *names])
    shapes = SHAPES[:1] if tiny else SHAPES
    share = report.left / (len(OPERATIONS) + 2 * len(shapes))
    found = {}
    refused: dict[str, str] = {}
    for name, words in OPERATIONS.items():
        cell = report.cell(words, lambda n=name: operation(csr, n, share, cpu))
        if cell:
            found[words] = cell["us"].get(Store.name)
            refused |= cell["refused"]
            table.row(words, *(cell["us"].get(each, "-") for each in names))

    def sizes() -> dict:
        known = {}
        for kind in STRUCTURES:
            try:
                known[kind.name] = kind(csr, np.random.default_rng(2)).nbytes / csr.nnz
            except ImportError:
                continue
        return known

    cell = report.cell("bytes", sizes)
    if cell:
        table.row("bytes a connection", *(cell.get(each, "-") for each in names))
    for each, why in refused.items():
        report.note(f"{each} absent: {why}")

    duels = report.table(
        "Products beside SciPy's CSR, microseconds", ["matrix", "vectors", "store", "SciPy", "x SciPy"]
    )
    ratios = []
    for width, density in shapes:
        for name, count in (("product", 1), ("products", 16)):
            key = f"{width:,} x {width:,}, {density:.1%}"
            cell = report.cell(f"{key} {name}", lambda w=width, d=density, n=name: duel(w, d, n, share, cpu))
            if cell:
                duels.row(key, count, cell["us"][Store.name], cell["us"][Csr.name], cell["ratio"])
                ratios.append(cell["ratio"]["median"])
    asked = {
        "S11": ("one edit", 1.0),
        "S12": ("an edit, then a column", 5.0),
        "S13": ("20 pruned, 20 grown", 100.0),
    }
    for target, (words, limit) in asked.items():
        figure = found.get(words)
        if figure is not None:
            median = figure["median"]
            met = None if median is None else median <= limit
            report.judge(target, f"{words}: at most {limit:g} us", median if median is not None else "-", met)
    if cpu:
        report.note("CPU seconds of one thread, median of all blocks: others used the machine.")
    if ratios:
        known = [r for r in ratios if r is not None]
        met = max(known) <= 1.0 if len(known) == len(ratios) else None
        report.judge("S14", "store @ x: at most SciPy's CSR's time", max(known, default=float("nan")), met)
    report.save()


if __name__ == "__main__":
    main()
