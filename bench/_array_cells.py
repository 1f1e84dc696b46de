"""Users' arrays into tiles and back, in GB/s read and written, and as times of a copy of as many bytes."""

from __future__ import annotations

import numpy as np
from _measure import measure
from _report import Report

SHAPES = [(128, 784), (1024, 512), (1024, 2048)]
KINDS = ["float32", "float64", "uint8", "int32", "int64", "bool"]


def arrays(report: Report) -> None:
    """Measure and print: each kind of array in C order, and in Fortran order, on one thread."""
    table = report.table(
        "Users' arrays into float32 tiles and back, one thread: GB/s read and written",
        ["samples x features", "array", "C order", "x copy", "Fortran order", "x copy"],
    )
    for batch, n in [(70, 40)] if report.arguments.tiny else SHAPES:
        found = report.cell(f"arrays {batch}x{n}", lambda b=batch, m=n: _cell(report, b, m))
        for name, (c_order, x_copy, fortran, x_copy_fortran) in (found or {}).items():
            table.row(f"{batch} x {n}", name, c_order, x_copy, fortran, x_copy_fortran)


def _cell(report: Report, batch: int, n: int) -> dict:
    from rewire import _core

    rng = np.random.default_rng(0)
    tiles = _core.Tiles(n, batch, _core.tile_size(batch, "float32"))
    numbers, out = rng.integers(0, 100, (batch, n)), np.empty((batch, n), "f4")
    contestants, bytes_moved = {}, {}
    for kind in KINDS:
        given = numbers.astype(kind)
        for order in "CF":
            array, name = np.array(given, order=order), f"{kind} {order}"
            contestants[name] = lambda array=array: tiles.pack(array)
            bytes_moved[name] = given.nbytes + out.nbytes
        # A copy within NumPy of as many bytes as the packing moves.
        half, to = np.zeros((2, (given.nbytes + out.nbytes) // 2), "u1")
        contestants[f"{kind} copy"] = lambda half=half, to=to: np.copyto(to, half)
    contestants["back C"] = lambda: tiles.unpack(out)
    bytes_moved["back C"] = 2 * out.nbytes
    copy = np.zeros_like(out)
    contestants["back copy"] = lambda: np.copyto(copy, out)
    result = measure(contestants, budget=report.left if report.arguments.tiny else 6)

    def row(kind: str, order: str) -> tuple:
        name = f"{kind} {order}"
        if name not in contestants:
            return None, None
        rate = result.figure(name).inverse(bytes_moved[name] / 1e9).json()
        return rate, result.ratio(name, f"{kind} copy").json()

    return {kind: [*row(kind, "C"), *row(kind, "F")] for kind in [*KINDS, "back"]}
