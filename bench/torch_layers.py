"""Steps of PyTorch models: `rewire.torch` beside dense float32 and bf16 autocast, torch CSR, SparseLab.

Single layers and a gated half of a block (forward and all gradients), an MLP with SGD, character
transformers with AdamW, convolutions of 1 x 1. `plain`: sparse layers one by one; `tiled`: handed on in
tiles. Ratios are the dense side's time over that of the row, taken within a round.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from _measure import Side, SideError, measure
from _report import Report, options

LAYERS = [(1024, 1024, 256, 0.1), (512, 2048, 1024, 0.1), (512, 2048, 1024, 0.05), (4096, 4096, 64, 0.05)]
MLP = {"widths": [784, 1000, 1000, 1000, 10], "batch": 128}
GATED = {"width": 512, "hidden": 1408, "batch": 1024, "density": 0.1}
TRANSFORMERS = [(256, 2, 8, 128), (512, 4, 8, 128)]  # width, blocks, texts, characters
POINTWISE = [(64, 256, 16, 32), (256, 256, 16, 16), (512, 512, 32, 8), (192, 64, 16, 28), (512, 128, 128, 1)]
ASKED = {"mlp 0.045": ("tiled", 8.0), "transformer 512x4 0.1": ("tiled", 4.2)}

DENSE, BF16 = "dense", "dense, bf16"


def cells(tiny: bool) -> dict[str, tuple[str, dict[str, Any], tuple[str, ...]]]:
    """What is measured: name -> model, its sizes, kinds of sparse layers."""
    found: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {}
    for n, m, batch, density in [(16, 24, 4, 0.5)] if tiny else LAYERS:
        sizes = {"n_in": n, "n_out": m, "batch": batch, "density": density}
        found[f"layer {n}x{m} {batch} {density:g}"] = "layer", sizes, ("plain",)
    for density in (0.5,) if tiny else (0.1, 0.045):
        sizes = {"widths": [16, 24, 3], "batch": 4} if tiny else MLP
        found[f"mlp {density:g}"] = "mlp", {**sizes, "density": density}, ("plain", "tiled")
    sizes = {"width": 16, "hidden": 24, "batch": 4, "density": 0.5} if tiny else GATED
    name = f"gated {sizes['width']}x{sizes['hidden']} {sizes['density']:g}"
    found[name] = "gated", sizes, ("plain", "tiled")
    for width, depth, batch, length in [(16, 1, 2, 8)] if tiny else TRANSFORMERS:
        sizes = {"width": width, "depth": depth, "batch": batch, "length": length, "density": 0.1}
        found[f"transformer {width}x{depth} 0.1"] = "transformer", sizes, ("plain", "tiled")
    for n, m, batch, side in [(16, 24, 2, 8)] if tiny else POINTWISE:
        sizes = {"n_in": n, "n_out": m, "batch": batch, "side": side, "density": 0.1, "last": False}
        found[f"pointwise {n}x{m} {side}x{side} 0.1"] = "pointwise", sizes, ("plain",)
    return found


class Sides:
    """A process of each library, for all cells of a number of threads."""

    def __init__(self, threads: int, stack: ExitStack) -> None:
        self.threads, self._stack = threads, stack
        self._sides: dict[str, Side] = {}

    def prepare(self, function: str, **cell: Any) -> tuple[dict[str, Any], dict[str, int]]:
        """Contestants of a cell, and how many parameters they have."""
        if function not in self._sides:
            side = Side(f"_torch_sides:{function}", self.threads)
            self._sides[function] = self._stack.enter_context(side)
        side = self._sides[function]
        return side.prepare(**cell), side.facts


def steps(sides: Sides, of: str, sizes: dict[str, Any], kinds: tuple[str, ...], budget: float) -> dict:
    """Everybody's seconds of a step, and the ratios of dense steps to them."""
    asked: dict[str, dict[str, Any]] = {
        "dense": {"of": of, "sizes": sizes},
        "rewire": {"of": of, "sizes": sizes, "kinds": [*kinds, f"{kinds[-1]}, bf16"]},
    }
    if of == "layer":
        asked |= {"csr": sizes, "sparselab": sizes}
    contestants: dict[str, Any] = {}
    parameters: dict[str, int] = {}
    refused: dict[str, str] = {}
    for function, cell in asked.items():
        try:
            made, facts = sides.prepare(function, **cell)
        except SideError as error:
            refused[function] = str(error)
            continue
        contestants |= made
        parameters |= facts
    result = measure(contestants, budget=budget)
    names = [name for name in contestants if name in result]
    return {
        "seconds": {name: result.figure(name) for name in names},
        "float32": {name: result.ratio(DENSE, name) for name in names},
        "bf16": {name: result.ratio(BF16, name) for name in names if "bf16" in name},
        "parameters": parameters,
        "refused": refused | result.left_out,
    }


def main() -> None:
    report = Report("torch_layers", options(__doc__, share=900))
    measured = cells(report.arguments.tiny)
    left = len(measured) * len(report.arguments.threads)
    for threads in report.arguments.threads:
        with ExitStack() as stack:
            sides = Sides(threads, stack)
            for name, cell in measured.items():
                budget, left = 60.0 if report.arguments.full else 0.8 * report.left / left, left - 1
                key = f"{name}, {threads} thread{'s' if threads > 1 else ''}"
                found = report.cell(key, lambda c=cell, s=sides, b=budget: steps(s, *c, b))
                if found:
                    tell(report, key, found)
                    if threads == 1 and name in ASKED:
                        judge(report, key, found, *ASKED[name])
    report.save()


def tell(report: Report, key: str, cell: dict) -> None:
    """A cell as a table."""
    table = report.table(
        key, ["", "parameters", "seconds a step", "dense float32 over it", "dense bf16 over it"]
    )
    for side, seconds in cell["seconds"].items():
        table.row(side, cell["parameters"][side], seconds, cell["float32"][side], cell["bf16"].get(side, ""))
    for side, why in cell["refused"].items():
        report.note(f"{key}: {side} left out: {why}")


def judge(report: Report, key: str, cell: dict, kind: str, least: float) -> None:
    """What was asked for, on machines with AVX-512."""
    ratio = cell["float32"].get(kind)
    got = "nothing" if not ratio or ratio["median"] is None else f"{ratio['median']:.3g}"
    report.note(f"{key}: {kind} is asked for {least:g} times dense float32 with AVX-512, got {got}")


if __name__ == "__main__":
    main()
