"""A layer's step in bfloat16: beside the peak of float32 multiply-adds, and beside dense in both dtypes.

What a layer multiplies is rounded within the step, as in training: x before forward, for the gradient too; dy
before dX, for both products of the way back; the weights in each product. Dense in bfloat16 is torch's, with
weights of float32 that are cast once a step and updated by a gradient that is cast back, as under autocast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
from _measure import Result, Side, SideError, measure
from _report import Report

BATCH = 128
LEAST = {"g4": 1.15, "g8": 1.3}  # of the peak, at width 1000 and 5 %
OVERTAKEN = {"g4": 0.7, "g8": 0.8}  # the density below which a step beats dense in bfloat16
GROUPS = (1, 2, 4, 8)
DENSITIES = (0.5, 0.65, 0.8, 0.9)
STEP = ("fwd", "dx", "dw")
DENSE = {
    "float32": ["torch fwd", "torch dx", "torch dw", "torch upd"],
    "bfloat16": ["torch16 cast", "torch16 fwd", "torch16 dx", "torch16 dw", "torch16 upd"],
}
SECONDS = 20  # of a cell
ROUNDS = 50_000  # of multiply-adds in registers


def bf16(report: Report, crossover: Callable[[dict[float, float]], str]) -> dict[str, dict]:
    """Measure and print, on one thread; what :func:`judge_bf16` judges."""
    tiny = report.arguments.tiny
    found: dict[str, dict] = {}
    table = report.table(
        "A step in bfloat16, one thread, batch 128: GFLOP/s on connections, conversions included",
        ["width", "density", "group", "forward", "dX", "dW and update", "step", "of FMA peak", "x float32"],
    )
    for width, density in ((64, 0.2),) if tiny else ((1000, 0.05), (3000, 0.05)):
        key = f"bf16 {width} {100 * density:g} %"
        cell = report.cell(key, lambda w=width, d=density: _beside_peak(report, w, d))
        for name, layer in (cell or {}).items():
            found[f"peak {width} {name}"] = layer
            rates = [layer[op]["median"] for op in (*STEP, "step")]
            table.row(width, f"{100 * density:g} %", name[1:], *rates, layer["of_peak"], layer["x_float32"])
    table = report.table(
        "A step of float32 and of bfloat16, x dense in float32 and in bfloat16, one thread, batch 128",
        ["width", "dtype", "group", "dense in", *(f"{100 * d:g} %" for d in DENSITIES), "overtaken at"],
    )
    for width in (64,) if tiny else (1000, 3000):
        cell = report.cell(f"bf16 dense {width}", lambda w=width: _beside_dense(report, w))
        for name, ratios in (cell or {}).items():
            dtype, group, dense = name.split()
            points = {float(d): _median(x) for d, x in ratios.items()}
            over = crossover(points)
            found[f"dense {width} {name}"] = {"points": points, "over": over}
            table.row(width, dtype, group[1:], dense, *(f"{x:.2f}" for x in points.values()), over)
    return found


def judge_bf16(report: Report, found: dict[str, dict]) -> None:
    """bfloat16."""
    for group, least in LEAST.items():
        layer = found.get(f"peak 1000 {group}")
        share = math.nan if layer is None else _median(layer["of_peak"])
        asked = f"bfloat16, group {group[1:]}, width 1000, 5 %: a step at {least} x the float32 peak"
        report.judge("bfloat16", asked, f"{share:.2f}", None if share != share else share >= least)
    for group, density in OVERTAKEN.items():
        for width in (1000, 3000):
            cell = found.get(f"dense {width} bfloat16 {group} bfloat16")
            at = {} if cell is None else cell["points"]
            known = [x for x in at.values() if x == x]
            value = float(np.interp(density, list(at), list(at.values()))) if known else math.nan
            asked = f"bfloat16, group {group[1:]}, width {width}: beats dense bfloat16 up to {density:g}"
            measured = f"{value:.2f} x dense there; overtaken at {cell['over'] if cell else '-'}"
            report.judge("bfloat16", asked, measured, None if value != value else value <= 1)


def _median(figure: dict | None) -> float:
    return math.nan if not figure or figure["median"] is None else figure["median"]


def _layers(width: int, density: float, groups: tuple[int, ...]) -> tuple[dict, dict[str, float]]:
    """Operations by ``"bfloat16 g4 0.05 fwd"``, and the floating-point operations of each layer's product."""
    import rewire as rw
    from rewire import _core

    tile = _core.tile_size(BATCH, "float32")
    x, y, dy, dx = (_core.Tiles(width, BATCH, tile, "float32") for _ in range(4))
    rng = np.random.default_rng(0)
    for tiles in (x, dy):
        tiles.pack(rng.standard_normal((BATCH, width), dtype=np.float32))
    update, scratch = _core.Update("sgd", momentum=0.9, state=["momentum"]), _core.Scratch()
    update.lr, update.step = 1e-9, 1
    x16, dy16 = _core.Rounded(), _core.Rounded()
    made, flops = {}, {}
    for group in groups:
        network = rw.Sequential([rw.Sparse(width, width, density=density, group=group)], seed=0)
        layer = network.layers[0]
        layer.store.add_field("momentum", "float32")
        layer.weight.ready_mirror(BATCH, 1)
        name = f"g{group} {density:g}"
        flops[name] = 2.0 * layer.store.nnz * BATCH

        def forward(s=layer.core) -> None:
            x16.load(x, 1)
            _core.forward(s, x, None, "linear", 0.0, y, None, 1, True, scratch, x16)

        def backward(s=layer.core) -> None:
            dy16.load(dy, 1)
            _core.backward_input(s, dy, dx, 1, True, scratch, dy16)

        def gradient(s=layer.core) -> None:
            _core.backward_update(s, x, dy, update, scratch, 1, True, (x16, dy16))

        def forward_32(s=layer.core) -> None:
            _core.forward(s, x, None, "linear", 0.0, y, None, 1)

        def backward_32(s=layer.core) -> None:
            _core.backward_input(s, dy, dx, 1)

        def gradient_32(s=layer.core) -> None:
            _core.backward_update(s, x, dy, update, scratch, 1)

        narrow, wide = (forward, backward, gradient), (forward_32, backward_32, gradient_32)
        for dtype, calls in (("bfloat16", narrow), ("float32", wide)):
            made |= {f"{dtype} {name} {op}": call for op, call in zip(STEP, calls, strict=True)}
    return made, flops


def _step(dtype: str, name: str) -> list[str]:
    return [f"{dtype} {name} {op}" for op in STEP]


def _beside_peak(report: Report, width: int, density: float) -> dict[str, dict]:
    from rewire import _core

    made, flops = _layers(width, density, GROUPS)
    peak = _core.measure_fma(ROUNDS, 1)
    contestants = {"fma": lambda: _core.measure_fma(ROUNDS, 1), **made}
    result = measure(contestants, budget=report.left if report.arguments.tiny else SECONDS)
    found = {}
    for name, product in flops.items():
        ours = _step("bfloat16", name)
        if [*ours, *_step("float32", name), "fma"] not in result:
            continue
        layer = {
            op: result.figure(full).inverse(product / 1e9).json() for op, full in zip(STEP, ours, strict=True)
        }
        layer["step"] = result.figure(ours).inverse(3 * product / 1e9).json()
        layer["of_peak"] = result.ratio("fma", ours).scaled(3 * product / peak).json()
        layer["x_float32"] = result.ratio(_step("float32", name), ours).json()
        found[name.split()[0]] = layer
    return found


def _beside_dense(report: Report, width: int) -> dict[str, dict[str, dict]]:
    found: dict[str, dict[str, dict]] = {}
    with ExitStack() as stack:
        contestants: dict = {}
        for function in ("torch_dense", "torch_bf16"):
            side = stack.enter_context(Side(f"_kernel_sides:{function}", 1))
            try:
                contestants |= side.prepare(n_in=width, n_out=width, batch=BATCH)
            except SideError as error:
                print(f"  {function} left out: {error}", flush=True)
                return {}
        for density in DENSITIES:
            contestants |= _layers(width, density, (4, 8))[0]
        result = measure(contestants, budget=report.left if report.arguments.tiny else 2 * SECONDS)
    for dtype in ("float32", "bfloat16"):
        for group in ("g4", "g8"):
            for dense, names in DENSE.items():
                ratios = {f"{d:g}": _ratio(result, _step(dtype, f"{group} {d:g}"), names) for d in DENSITIES}
                found[f"{dtype} {group} {dense}"] = ratios
    return found


def _ratio(result: Result, ours: list[str], dense: list[str]) -> dict | None:
    return result.ratio(ours, dense).json() if [*ours, *dense] in result else None
