"""One layer's training step: rewire beside dense products and beside every sparse library we know.

Forward, backprop to the inputs, weight gradient with momentum step, and their sum; densities, groups,
batches, threads; what share of the machine's limits that is, and below which density sparse wins. GFLOP/s
count connections only, 2 * nnz * batch an operation. "x dense" is seconds over the seconds of the fastest
dense step: below 1 sparse wins. Dense gets for each operation whichever is faster, PyTorch (MKL) or NumPy
(OpenBLAS).
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product

import numpy as np
from _array_cells import arrays
from _batch_cells import batches, few_samples
from _bf16_cells import bf16, judge_bf16
from _measure import Result, Side, SideError, measure
from _report import Report, parser, settle

SHAPES = [(784, 1000), (1000, 1000), (3000, 3000), (8192, 8192)]
BATCHES = [128, 1, 32, 512, 2]  # the most important first
DENSITIES = [0.01, 0.05, 0.2, 0.33]
PEER_DENSITIES, PEER_BATCHES = [0.01, 0.05, 0.2], [32, 128, 512]
STEP = ("fwd", "dx", "dw")
PEERS = {"mkl": "mkl_sparse", "torch-csr": "torch_csr", "sparseprop": "sparseprop", "sparselab": "sparselab"}


def shape_name(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"


@dataclass(frozen=True)
class Cell:
    """What is measured together: everything for one shape, batch and number of threads."""

    shape: tuple[int, int]
    batch: int
    threads: int

    @property
    def key(self) -> str:
        return f"{shape_name(self.shape)} batch {self.batch} threads {self.threads}"

    @property
    def weight(self) -> float:
        """Its share of the time: wide layers and large batches take longer."""
        n, m = self.shape
        own = (1.6 if n <= 1000 else 2 if n <= 3000 else 2.5) + min(12.0, 0.9e-9 * n * m * self.batch)
        return own * (1.7 if self.with_peers(False) else 1)

    def with_peers(self, full: bool) -> bool:
        """Whether sparse libraries take part."""
        return self.batch in PEER_BATCHES and (self.threads == 1 or full)

    def layers(self, full: bool) -> list[tuple[float, int]]:
        """(density, group) of rewire's layers, the most important first."""
        if self in TINY:
            return [(0.05, 1), (0.2, 1), (0.2, 4)]
        wide = self.shape[0] > 3000
        found = [(d, g) for g in (1, 4) for d in DENSITIES]
        if self.batch == 128:
            # What S1 asks for, and densities on both sides of where dense overtakes.
            if wide:
                found = [(0.05, 1), (0.25, 1), (0.05, 4), (0.5, 4), (0.5, 8), *found]
            else:
                found += [(0.65, 4), (0.65, 8), (0.5, 1)]
            if full:
                found += [(0.5, 1), (0.65, 4), (0.65, 8)] if wide else [(0.8, 4), (0.8, 8)]
        if full or not wide:
            found += [(d, 8) for d in DENSITIES]
        return list(dict.fromkeys(found))


TINY = [Cell((48, 64), 128, 1), Cell((48, 64), 128, 2), Cell((48, 64), 1, 1)]


class Libraries:
    """The sides, started when first asked for; one that refuses is asked no more and says why."""

    def __init__(self, stack: ExitStack, wanted: list[str]) -> None:
        self._stack, self._wanted = stack, wanted
        self._sides: dict[tuple[str, int], Side] = {}
        self.refused: dict[str, str] = {}

    def operations(self, function: str, threads: int, **cell: object) -> dict:
        """The operations of one library for a cell; none where it cannot."""
        wanted = function == "rewire" or any(word in function for word in self._wanted)
        if function in self.refused or not wanted:
            return {}
        key = function, threads
        if key not in self._sides:
            self._sides[key] = self._stack.enter_context(Side(f"_kernel_sides:{function}", threads))
        try:
            return self._sides[key].prepare(**cell)
        except SideError as error:
            self.refused[function] = str(error)
            return {}

    def facts(self, function: str, threads: int) -> dict:
        return self._sides[function, threads].facts

    def clear(self) -> None:
        for (function, _), side in self._sides.items():
            if function not in self.refused:
                side.clear()


# --- one cell ------------------------------------------------------------------------------


def run_cell(cell: Cell, libraries: Libraries, budget: float, full: bool) -> dict:
    """Measure one cell; figures and ratios by name."""
    (n_in, n_out), batch, t = cell.shape, cell.batch, cell.threads
    where = {"n_in": n_in, "n_out": n_out, "batch": batch}
    layers = cell.layers(full)
    contestants: dict = {}
    for dense in ("torch_dense", "numpy_dense"):
        contestants |= libraries.operations(dense, t, **where)
    # One process of ours serves both thread counts, so that a layer is drawn once.
    counts = [t, 1] if t > 1 else [1]
    ours = libraries.operations("rewire", 1, **where, layers=layers, counts=counts)
    made = libraries.facts("rewire", 1)
    # At one thread too: what the second one brings.
    kept_single = {f"g{g} {d}" for g in (1, 4) for d in ((0.05,) if n_in > 3000 else (0.05, 0.2))}
    first, last = {}, {}
    for name, operation in ours.items():
        _, threads, group, density, op = name.split()
        if threads == f"t{t}" or op == "read" or f"{group} {density}" in kept_single:
            late = group == "g8" and float(density) in DENSITIES
            (last if late else first)[name] = operation
    contestants |= first
    if cell.with_peers(full):
        for function in PEERS.values():
            contestants |= libraries.operations(function, t, **where, densities=PEER_DENSITIES)
    if t == 1 and (batch == 1 or full):
        contestants |= libraries.operations("scipy_csr", t, **where, densities=DENSITIES)
    contestants |= last
    result = measure(contestants, budget=budget)
    libraries.clear()
    return {
        "dense": dense_figures(result),
        "layers": {name: layer_figures(result, name, t, batch, facts) for name, facts in made.items()},
        "peers": peer_figures(result),
        "versus": versus(result, made, t),
        "left_out": result.left_out,
        "rounds": len(result.rounds),
        "seconds": result.seconds,
    }


def dense_step(result: Result) -> list[str] | None:
    """The fastest operations that make a dense step."""
    names: list[str] = []
    parts = [
        {"torch": ("torch fwd",), "numpy": ("numpy fwd",)},
        {"torch": ("torch dx",), "numpy": ("numpy dx",)},
        {
            "torch": ("torch dw", "torch upd"),
            "torch, into the momentum": ("torch dw+m", "torch w"),
            "numpy": ("numpy dw", "numpy upd"),
        },
    ]
    for options in parts:
        best = result.fastest(options)
        if best is None:
            return None
        names += options[best]
    return names


def dense_figures(result: Result) -> dict:
    step = dense_step(result)
    names = [f"{library} {op}" for library in ("torch", "numpy") for op in ("fwd", "dx", "dw", "upd")]
    names += ["torch dw+m", "torch w"]
    figures = {name: result.figure(name).json() for name in names if name in result}
    return {"step": step and result.figure(step).json(), "from": step, "operations": figures}


def layer_figures(result: Result, name: str, t: int, batch: int, facts: dict) -> dict:
    """Seconds of one of our layers, and its ratios."""
    ours = [f"rewire t{t} {name} {op}" for op in STEP]
    single = [f"rewire t1 {name} {op}" for op in STEP]
    dense = dense_step(result)
    found = {**facts, "flops": 2.0 * facts["nnz"] * batch}
    if ours not in result:
        return found
    found |= {op: result.figure(full).json() for op, full in zip(STEP, ours, strict=True)}
    found["step"] = result.figure(ours).json()
    if dense:
        found["x_dense"] = result.ratio(ours, dense).json()
    if t > 1 and single in result:
        found["speedup"] = result.ratio(single, ours).json()
    # A second thread may cost more than it brings: what counts is how fast it can be read.
    read = result.fastest({k: k for k in (f"rewire t{t} {name} read", f"rewire t1 {name} read")})
    if read:
        found["read"] = result.figure(read).json()
        found["share_of_read"] = result.ratio(read, ours[0]).json()
    return found


def peer_figures(result: Result) -> dict:
    names = {
        name for row in result.rounds for name in row if not name.startswith(("rewire", "torch ", "numpy"))
    }
    return {name: result.figure(name).json() for name in sorted(names)}


def versus(result: Result, made: dict, t: int) -> dict:
    """How many times longer others take than each of our layers, by density."""
    found: dict = {}
    for name in made:
        density = name.split()[1]
        ours = {op: f"rewire t{t} {name} {op}" for op in STEP}
        forward = result.fastest({k: f"{k} {density} fwd" for k in ("mkl", "torch-csr")})
        backward = result.fastest({k: f"{k} {density} dx" for k in ("mkl", "torch-csr")})
        steps = {
            "sparseprop": [f"sparseprop {density} {op}" for op in ("fwd", "bwd", "upd")],
            "sparselab": [f"sparselab {density} {op}" for op in ("fwd+bwd", "upd")],
        }
        if forward and backward:
            best = [f"{forward} {density} fwd", f"{backward} {density} dx"]
            steps["combination"] = [*best, f"torch-csr {density} dw", f"torch-csr {density} upd"]
        for peer, names in steps.items():
            if [*names, *ours.values()] in result:
                found[f"{name} {peer}"] = result.ratio(names, list(ours.values())).json()
        for peer in ("mkl", "scipy"):
            if [f"{peer} {density} fwd", ours["fwd"]] in result:
                found[f"{name} {peer} fwd"] = result.ratio(f"{peer} {density} fwd", ours["fwd"]).json()
    return found


# --- the machine's limits ------------------------------------------------------------------


def limits(report: Report, counts: tuple[int, ...]) -> dict:
    """GFLOP/s of multiply-adds in registers, GB/s of reads from L2 and memory; at each number of threads."""
    from rewire import _core

    tiny = report.arguments.tiny
    near = np.ones(3 << 18, np.uint8)  # 768 KiB a thread: well past L1, well inside L2
    far = np.ones((1 if tiny else 512) << 20, np.uint8)
    rounds = 1000 if tiny else 100_000
    found = {}
    for t in counts:
        here = np.tile(near, t)

        def one(t: int = t, here: np.ndarray = here) -> dict:
            result = measure(
                {
                    "fma": lambda: _core.measure_fma(rounds, t),
                    "L2": lambda: _core.measure_read(here, t),
                    "memory": lambda: _core.measure_read(far, t),
                },
                budget=report.left if tiny else 5,
            )
            flops = _core.measure_fma(rounds, t)
            return {
                "fma": result.figure("fma").inverse(flops / 1e9).json(),
                "L2": result.figure("L2").inverse(here.nbytes / 1e9).json(),
                "memory": result.figure("memory").inverse(far.nbytes / 1e9).json(),
            }

        found[t] = report.cell(f"limits threads {t}", one)
    table = report.table(
        "Limits of this machine", ["threads", "FMA, GFLOP/s", "L2 read, GB/s", "memory read, GB/s"]
    )
    for t, limit in found.items():
        if limit:
            table.row(t, limit["fma"], limit["L2"], limit["memory"])
    return found


# --- tables --------------------------------------------------------------------------------


def median(figure: dict | None) -> float:
    """The median of a stored figure; NaN where there is none."""
    return math.nan if not figure or figure["median"] is None else figure["median"]


def rate(layer: dict, op: str) -> float:
    """GFLOP/s of one operation, or of the step."""
    return layer["flops"] * (3 if op == "step" else 1) / median(layer.get(op)) / 1e9


def each_layer(cells: dict[Cell, dict]) -> Iterator[tuple[Cell, str, float, dict]]:
    for cell, data in cells.items():
        for name, layer in data["layers"].items():
            group, density = name.split()
            yield cell, group, float(density), layer


def crossover(points: dict[float, float]) -> str:
    """The density at which "x dense" reaches 1, interpolated between the measured ones on both sides."""
    known = sorted((d, x) for d, x in points.items() if x == x)
    for (d0, x0), (d1, x1) in zip(known, known[1:], strict=False):
        if x0 < 1 <= x1:
            return f"{100 * (d0 + (d1 - d0) * (1 - x0) / (x1 - x0)):.0f} %"
    if not known:
        return "not measurable"
    return f"above {100 * known[-1][0]:.0f} %" if known[-1][1] < 1 else f"below {100 * known[0][0]:.0f} %"


def tables(report: Report, cells: dict[Cell, dict], machine: dict) -> None:
    table = report.table(
        "A layer's operations, batch 128: GFLOP/s on connections",
        [
            "shape",
            "threads",
            "group",
            "density",
            "forward",
            "dX",
            "dW and update",
            "step",
            "of FMA peak",
            "x dense",
        ],
    )
    for cell, group, density, layer in each_layer(cells):
        if cell.batch == 128:
            peak = median((machine.get(cell.threads) or {}).get("fma"))
            rates = [rate(layer, op) for op in (*STEP, "step")]
            share = f"{100 * rates[-1] / peak:.0f} %" if rates[-1] / peak == rates[-1] / peak else "-"
            table.row(
                shape_name(cell.shape), cell.threads, group[1:], f"{100 * density:g} %", *rates, share,
                layer.get("x_dense"),
            )  # fmt: skip

    columns = sorted({(int(g[1:]), d) for _, g, d, _ in each_layer(cells)})
    densities = sorted({d for _, d in columns})
    table = report.table(
        "A whole step, x dense (below 1 sparse wins)",
        ["shape", "batch", "threads", "group", *(f"{100 * d:g} %" for d in densities), "overtaken at"],
    )
    for cell, data in sorted(cells.items(), key=lambda c: (c[0].shape, c[0].batch, c[0].threads)):
        for group in sorted({g for g, _ in columns}):
            points = {d: median(data["layers"].get(f"g{group} {d:g}", {}).get("x_dense")) for d in densities}
            if any(x == x for x in points.values()):
                row = [f"{x:.2f}" if x == x else "-" for x in points.values()]
                over = crossover(points)
                table.row(shape_name(cell.shape), cell.batch, cell.threads, group, *row, over)

    table = report.table(
        "Others' seconds over ours",
        ["shape", "batch", "threads", "density", "group", "best combination", "SparseProp", "SparseLab",
         "MKL forward", "SciPy forward"],
    )  # fmt: skip
    for cell, group, density, _ in each_layer(cells):
        found = cells[cell]["versus"]
        name = f"{group} {density:g}"
        row = [
            median(found.get(f"{name} {peer}"))
            for peer in ("combination", "sparseprop", "sparselab", "mkl fwd", "scipy fwd")
        ]
        if any(x == x for x in row):
            where = shape_name(cell.shape), cell.batch, cell.threads, f"{100 * density:g} %", group[1:]
            table.row(*where, *row)

    table = report.table(
        "Batch 1: time of reading the same bytes once, over the time of the forward product",
        ["shape", "threads", "group", "density", "bytes", "read, GB/s", "forward, GFLOP/s", "share"],
    )
    for cell, group, density, layer in each_layer(cells):
        if "share_of_read" in layer:
            speed = layer["bytes"] / median(layer["read"]) / 1e9
            table.row(
                shape_name(cell.shape), cell.threads, group[1:], f"{100 * density:g} %", layer["bytes"],
                speed, rate(layer, "fwd"), layer["share_of_read"],
            )  # fmt: skip


# --- verdicts ------------------------------------------------------------------------------


def verdict(values: Iterable[float], keeps: Callable[[float], bool]) -> bool | None:
    """Whether all values keep to a target; None where it cannot be said for want of figures."""
    values = list(values)
    if any(v == v and not keeps(v) for v in values):
        return False
    return None if not values or any(v != v for v in values) else True


def at_least(least: float) -> Callable[[float], bool]:
    return lambda value: value >= least


def worst(values: dict[str, float], largest: bool) -> str:
    """The figure that decides, and where it was."""
    known = {k: v for k, v in values.items() if v == v}
    if not known:
        return "nothing measurable"
    where = (max if largest else min)(known, key=known.__getitem__)
    missing = (
        f"; {len(values) - len(known)} of {len(values)} not measurable" if len(known) < len(values) else ""
    )
    return f"{known[where]:.2f} ({where}){missing}"


def judge(report: Report, cells: dict[Cell, dict]) -> None:
    judge_dense(report, cells)
    judge_peers(report, cells)
    judge_threads(report, cells)
    judge_batch_one(report, cells)


def judge_dense(report: Report, cells: dict[Cell, dict]) -> None:
    """S1."""
    for groups, narrow, wide in (("g1",), 0.33, 0.25), (("g4", "g8"), 0.65, 0.5):
        ratios: dict[str, float] = {}
        for cell, data in cells.items():
            n = cell.shape[0]
            if cell.batch != 128 or n < 1000:
                continue
            for density in [*DENSITIES, 0.25, 0.5, 0.65]:
                found = [data["layers"].get(f"{g} {density:g}") for g in groups]
                if density <= (wide if n > 3000 else narrow) and any(found):
                    # Groups of 4 or 8: whichever is faster.
                    known = [median(layer.get("x_dense")) for layer in found if layer]
                    best = min((x for x in known if x == x), default=math.nan)
                    ratios[f"{shape_name(cell.shape)}, {cell.threads} threads, {100 * density:g} %"] = best
        asked = (
            f"group {' or '.join(g[1:] for g in groups)}: a step beats dense up to {100 * narrow:g} %, "
            f"{100 * wide:g} % at 8192: x dense below 1"
        )
        report.judge("S1", asked, worst(ratios, True), verdict(ratios.values(), lambda x: x < 1))


def judge_peers(report: Report, cells: dict[Cell, dict]) -> None:
    """S2."""

    def ratios(
        group: str, peer: str, shapes: list | None = None, batches: list = PEER_BATCHES
    ) -> dict[str, float]:
        found = {}
        for cell, density in product(cells, PEER_DENSITIES):
            if cell.batch in batches and (shapes is None or cell.shape in shapes):
                figure = cells[cell]["versus"].get(f"{group} {density:g} {peer}")
                if figure:
                    found[f"{cell.key}, {100 * density:g} %"] = median(figure)
        return found

    asked_for = len(PEER_DENSITIES) * sum(cell.with_peers(report.arguments.full) for cell in cells)
    asked = [
        ("g1", "combination", "the best combination of libraries: 1.5x on geometric mean, no cell under 1.2x",
         1.5, 1.2),
        ("g1", "sparseprop", "SparseProp: 2x on geometric mean", 2.0, 0.0),
        ("g1", "sparselab", "SparseLab: 3x on geometric mean", 3.0, 0.0),
        ("g4", "combination", "the best combination of libraries: 2.5x on geometric mean", 2.5, 0.0),
        ("g4", "mkl fwd", "MKL's forward: 2x on geometric mean", 2.0, 0.0),
    ]  # fmt: skip
    for group, peer, words, mean, least in asked:
        found = ratios(group, peer)
        known = [v for v in found.values() if v == v]
        average = math.exp(sum(map(math.log, known)) / len(known)) if known else math.nan
        measured = f"{average:.2f} over {len(known)} of {asked_for} cells; least {worst(found, False)}"
        met = verdict([average, *known], at_least(least)) and average >= mean
        report.judge("S2", f"group {group[1:]} against {words}", measured, met)
    for words, found, least in (
        ("MKL's forward: 0.95x in every cell", ratios("g1", "mkl fwd"), 0.95),
        ("MKL's forward: 1.5x at 8192 from batch 128", ratios("g1", "mkl fwd", SHAPES[3:], [128, 512]), 1.5),
    ):
        met = verdict(found.values(), at_least(least))
        report.judge("S2", f"group 1 against {words}", worst(found, False), met)


def judge_threads(report: Report, cells: dict[Cell, dict]) -> None:
    """S4."""
    found = {
        f"{cell.key}, group {group[1:]}, {100 * density:g} %": median(layer["speedup"])
        for cell, group, density, layer in each_layer(cells)
        if cell.threads == 2 and cell.batch == 128 and cell.shape[0] >= 1000 and "speedup" in layer
    }
    asked = "two threads at least 1.85x one at widths from 1000, batch 128"
    report.judge("S4", asked, worst(found, False), verdict(found.values(), at_least(1.85)))


def judge_batch_one(report: Report, cells: dict[Cell, dict]) -> None:
    """S6."""
    shares: dict[str, dict[str, float]] = {}
    for cell, group, density, layer in each_layer(cells):
        if "share_of_read" in layer:
            name = f"{shape_name(cell.shape)}, {cell.threads} threads, {100 * density:g} %"
            shares.setdefault(group[1:], {})[name] = median(layer["share_of_read"])
    for group, found in shares.items():
        report.judge(
            "S6", f"batch 1, group {group}: the forward product at 60 % of a read of the same bytes",
            worst(found, False), verdict(found.values(), at_least(0.6)),
        )  # fmt: skip
    scipy = {
        f"{cell.key}, {name}": median(figure)
        for cell, data in cells.items()
        for name, figure in data["versus"].items()
        if cell.batch == 1 and name.endswith("scipy fwd")
    }
    asked = "batch 1: never slower than SciPy (its seconds over ours)"
    report.judge("S6", asked, worst(scipy, False), verdict(scipy.values(), at_least(1)))


def judge_batches(report: Report, cells: dict[str, dict]) -> None:
    """What a batch costs beside another one."""
    for batch, asked, least in (
        ("1024", "batch 1024: a step at 0.9x its rate at batch 128, in every cell", 0.9),
        ("512", "batch 512: a step at 0.9x its rate at batch 128, in every cell", 0.9),
        ("200", "batch 200: a step at 0.95x its rate at batch 192, in every cell", 0.95),
    ):
        found = {key.removeprefix("batches "): median(ratios[batch]) for key, ratios in cells.items()}
        report.judge("Batches", asked, worst(found, False), verdict(found.values(), at_least(least)))


# --- pictures ------------------------------------------------------------------------------


def plots(report: Report, cells: dict[Cell, dict], machine: dict) -> None:
    plot_crossover(report, cells)
    if machine.get(1):
        plot_roofline(report, cells, machine[1])


def plot_roofline(report: Report, cells: dict[Cell, dict], limit: dict) -> None:
    """Rates against what an activation read from L2 is good for: a multiply-add for each row of its group."""
    with report.plot("roofline") as axes:
        if axes is None:
            return
        peak, near, far = (median(limit[key]) for key in ("fma", "L2", "memory"))
        work = np.geomspace(0.25, 8, 50)  # floating-point operations for a byte of activations
        axes.loglog(work, np.minimum(peak, near * work), "k-", label="L2 reads, multiply-adds")
        axes.loglog(work, np.minimum(peak, far * work), "k:", label="memory reads")
        for op, mark in zip(STEP, "o^s", strict=True):
            points = [
                (int(group[1:]) / 2, rate(layer, op))
                for cell, group, _, layer in each_layer(cells)
                if cell.batch == 128 and cell.threads == 1 and layer.get(op)
            ]
            if points:
                axes.loglog(*zip(*points, strict=True), mark, alpha=0.6, label=op)
        axes.set(
            xlabel="floating-point operations for a byte of activations",
            ylabel="GFLOP/s", title="batch 128, one thread",
        )  # fmt: skip
        axes.set_xticks([0.5, 2, 4], ["0.5 (group 1)", "2 (group 4)", "4 (group 8)"])
        axes.set_xticks([], minor=True)
        axes.legend(fontsize="small")


def plot_crossover(report: Report, cells: dict[Cell, dict]) -> None:
    with report.plot("crossover") as axes:
        if axes:
            for shape, group in product(sorted({cell.shape for cell in cells}), ("g1", "g4")):
                points = sorted(
                    (density, median(layer.get("x_dense")))
                    for cell, g, density, layer in each_layer(cells)
                    if cell.batch == 128 and cell.threads == 1 and cell.shape == shape and g == group
                )
                if points:
                    style = {"g1": "o-", "g4": "s--"}[group]
                    axes.plot(
                        *zip(*points, strict=True), style, label=f"{shape_name(shape)}, group {group[1:]}"
                    )
            axes.axhline(1, color="gray", linewidth=0.8)
            axes.set(xlabel="density", ylabel="seconds of a step, x dense", title="batch 128, one thread")
            if axes.has_data():
                axes.legend(fontsize="small")


# --- the script ----------------------------------------------------------------------------


def wanted(arguments: Namespace) -> list[Cell]:
    cells = (
        TINY if arguments.tiny else [Cell(*where) for where in product(SHAPES, BATCHES, arguments.threads)]
    )
    return [cell for cell in cells if cell.threads in arguments.threads and arguments.only in cell.key]


def run(report: Report) -> dict[Cell, dict]:
    arguments, cells = report.arguments, {}
    with ExitStack() as stack:
        libraries = Libraries(stack, arguments.peers.split(","))
        todo = wanted(arguments)
        for i, cell in enumerate(todo):
            share = cell.weight / sum(rest.weight for rest in todo[i:])
            seconds = 40 * cell.weight if arguments.full else max(2.0, 0.8 * share * report.left)
            data = report.cell(cell.key, lambda c=cell, s=seconds: run_cell(c, libraries, s, arguments.full))
            if data:
                cells[cell] = data
                print(f"{cell.key}: {data['seconds']:.0f} s, {data['rounds']} rounds", flush=True)
        for function, why in libraries.refused.items():
            report.note(f"{function} left out: {why}")
    for cell, data in cells.items():
        slow = ", ".join(name for name, why in data["left_out"].items() if why.startswith("too slow"))
        if slow:
            report.note(f"{cell.key}: too slow for the budget, so not measured: {slow}")
        for name, why in data["left_out"].items():
            if not why.startswith("too slow"):
                report.note(f"{cell.key}: {name} left out: {why}")
    return cells


def main() -> None:
    made = parser(__doc__, share=600)
    everybody = "rewire,torch_dense,numpy_dense,scipy,mkl,torch_csr,sparseprop,sparselab"
    made.add_argument(
        "--peers", default=everybody, help="libraries to measure beside rewire, by a part of their names"
    )
    arguments = settle(made.parse_args())
    report = Report("kernels", arguments)
    machine = limits(report, arguments.threads)
    arrays(report)
    large = batches(report)
    few_samples(report)
    narrow = bf16(report, crossover)
    cells = run(report)
    tables(report, cells, machine)
    judge(report, cells)
    judge_batches(report, large)
    judge_bf16(report, narrow)
    plots(report, cells, machine)
    report.save()


if __name__ == "__main__":
    main()
