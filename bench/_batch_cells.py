"""One layer at large batches, at one with an odd end, and at few samples: rates of its step beside others."""

from __future__ import annotations

import numpy as np
from _measure import measure
from _report import Report

SHAPES = [(1000, 1000, 0.05), (2048, 2048, 0.1), (4000, 500, 0.1), (12288, 3072, 0.03)]
GROUPS = (1, 4, 8)
BESIDE = {512: 128, 1024: 128, 200: 192}
FEW_SHAPES = [(1000, 1000, 0.05), (4000, 500, 0.15), (2048, 2048, 0.15), (784, 1000, 0.01)]
FEW, FEW_GROUPS = (1, 2, 4, 8, 16, 32, 64, 128), (1, 2, 4, 8)
STEP = ("fwd", "dx", "dw")
SECONDS, FEW_SECONDS = 12, 5  # of a cell


def batches(report: Report) -> dict[str, dict[str, dict]]:
    """Measure and print, on one thread: cell -> batch -> the rate of a step over that of another batch."""
    table = report.table(
        "A step's samples per second, one thread: batches beside others",
        ["shape", "density", "group", *(f"{batch} beside {other}" for batch, other in BESIDE.items())],
    )
    found = {}
    for n_in, n_out, density in [(48, 64, 0.1)] if report.arguments.tiny else SHAPES:
        for group in GROUPS:
            cell = n_in, n_out, density, group
            key = f"batches {n_in}x{n_out} {100 * density:g} % group {group}"
            ratios = report.cell(key, lambda c=cell: _cell(report, *c))
            if ratios:
                found[key] = ratios
                table.row(f"{n_in}x{n_out}", f"{100 * density:g} %", group, *ratios.values())
    return found


def few_samples(report: Report) -> None:
    """Measure and print, on one thread: a step at few samples, and groups of 8 beside groups of 4."""
    table = report.table(
        "A step's GFLOP/s with momentum by samples and group, one thread",
        ["shape", "density", "batch", *(f"group={g}" for g in FEW_GROUPS), "8 beside 4"],
    )
    shapes = FEW_SHAPES if report.arguments.full else FEW_SHAPES[:1]
    for n_in, n_out, density in [(48, 64, 0.1)] if report.arguments.tiny else shapes:
        for batch in FEW[:1] if report.arguments.tiny else FEW:
            key = f"few {n_in}x{n_out} {100 * density:g} % batch {batch}"
            rates = report.cell(key, lambda c=(n_in, n_out, density, batch): _few_cell(report, *c))
            if rates:
                table.row(f"{n_in}x{n_out}", f"{100 * density:g} %", batch, *rates.values())


def _few_cell(report: Report, n_in: int, n_out: int, density: float, batch: int) -> dict:
    contestants, flops = {}, {}
    for group in FEW_GROUPS:
        layer = _layer(n_in, n_out, density, group)
        flops[group] = 2.0 * len(STEP) * layer.store.nnz * batch
        contestants |= {f"{group} {op}": call for op, call in _operations(layer, batch).items()}
    result = measure(contestants, budget=report.left if report.arguments.tiny else FEW_SECONDS)
    steps = {group: [f"{group} {op}" for op in STEP] for group in FEW_GROUPS}
    rates = {f"group={g}": result.figure(steps[g]).inverse(flops[g] / 1e9).json() for g in FEW_GROUPS}
    return rates | {"8 beside 4": result.ratio(steps[4], steps[8]).json()}


def _layer(n_in: int, n_out: int, density: float, group: int):
    import rewire as rw

    network = rw.Sequential([rw.Sparse(n_in, n_out, density=density, group=group)], seed=0)
    layer = network.layers[0]
    layer.store.add_field("momentum", "float32")
    layer.weight.ready_mirror(128, 1)
    return layer


def _operations(layer, batch: int) -> dict:
    """Each product of a training step, on one thread."""
    from rewire import _core

    core, scratch, rng = layer.core, _core.Scratch(), np.random.default_rng(0)
    n_out, n_in = layer.store.shape
    update = _core.Update("sgd", momentum=0.9, state=["momentum"])
    update.lr, update.step = 1e-9, 1
    tile = _core.tile_size(batch, "float32")
    x, dx = (_core.Tiles(n_in, batch, tile, "float32") for _ in range(2))
    y, dy = (_core.Tiles(n_out, batch, tile, "float32") for _ in range(2))
    x.pack(rng.standard_normal((batch, n_in), dtype=np.float32))
    dy.pack(rng.standard_normal((batch, n_out), dtype=np.float32))
    return {
        "fwd": lambda: _core.forward(core, x, None, "linear", 0.0, y, None, 1),
        "dx": lambda: _core.backward_input(core, dy, dx, 1),
        "dw": lambda: _core.backward_update(core, x, dy, update, scratch, 1),
    }


def _cell(report: Report, n_in: int, n_out: int, density: float, group: int) -> dict:
    layer = _layer(n_in, n_out, density, group)
    contestants = {
        f"{batch} {op}": call
        for batch in sorted({*BESIDE, *BESIDE.values()})
        for op, call in _operations(layer, batch).items()
    }
    result = measure(contestants, budget=report.left if report.arguments.tiny else SECONDS)

    def ratio(batch: int, other: int) -> dict:
        ours, theirs = ([f"{b} {op}" for op in STEP] for b in (batch, other))
        return result.ratio(theirs, ours).scaled(batch / other).json()

    return {str(batch): ratio(batch, other) for batch, other in BESIDE.items()}
