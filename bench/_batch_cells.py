"""One layer at large batches and at one with an odd end: the rate of its step beside those at 128 and 192."""

from __future__ import annotations

import numpy as np
from _measure import measure
from _report import Report

SHAPES = [(1000, 1000, 0.05), (2048, 2048, 0.1), (4000, 500, 0.1), (12288, 3072, 0.03)]
GROUPS = (1, 4, 8)
BESIDE = {512: 128, 1024: 128, 200: 192}
STEP = ("fwd", "dx", "dw")
SECONDS = 12  # of a cell


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


def _cell(report: Report, n_in: int, n_out: int, density: float, group: int) -> dict:
    import rewire as rw
    from rewire import _core

    network = rw.Sequential([rw.Sparse(n_in, n_out, density=density, group=group)], seed=0)
    layer = network.layers[0]
    layer.store.add_field("momentum", "float32")
    layer.weight.ready_mirror(128, 1)
    core, scratch, rng = layer.core, _core.Scratch(), np.random.default_rng(0)
    update = _core.Update("sgd", momentum=0.9, state=["momentum"])
    update.lr, update.step = 1e-9, 1
    contestants = {}
    for batch in sorted({*BESIDE, *BESIDE.values()}):
        tile = _core.tile_size(batch, "float32")
        x, dx = (_core.Tiles(n_in, batch, tile, "float32") for _ in range(2))
        y, dy = (_core.Tiles(n_out, batch, tile, "float32") for _ in range(2))
        x.pack(rng.standard_normal((batch, n_in), dtype=np.float32))
        dy.pack(rng.standard_normal((batch, n_out), dtype=np.float32))
        made = {
            "fwd": lambda x=x, y=y: _core.forward(core, x, None, "linear", 0.0, y, None, 1),
            "dx": lambda dy=dy, dx=dx: _core.backward_input(core, dy, dx, 1),
            "dw": lambda x=x, dy=dy: _core.backward_update(core, x, dy, update, scratch, 1),
        }
        contestants |= {f"{batch} {op}": call for op, call in made.items()}
    result = measure(contestants, budget=report.left if report.arguments.tiny else SECONDS)

    def ratio(batch: int, other: int) -> dict:
        ours, theirs = ([f"{b} {op}" for op in STEP] for b in (batch, other))
        return result.ratio(theirs, ours).scaled(batch / other).json()

    return {str(batch): ratio(batch, other) for batch, other in BESIDE.items()}
