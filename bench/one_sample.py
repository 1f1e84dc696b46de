"""One sample: layers whose inputs are partly zero, and whole networks beside dense ONNX Runtime and SciPy.

A layer in training keeps its links by output, so every link is looked at: ``store @ x``. A predictor
(`Sequential.compile`) has a copy by source, or a matrix, and leaves out the sources that are zero; how it
takes a layer stands in the table. Beside it stands what groups of four do with as many links.

Whole networks: `predict`, the predictor, a chain of SciPy's CSR products, and the same widths dense in ONNX
Runtime where that is installed (`pip install onnxruntime onnx`). One thread, processor time, in turns.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REWIRE_NUM_THREADS"), "1")

import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from _report import Report, options
from _turns import ratio, turns

import rewire as rw

SHAPES = [(1000, 0.045), (1000, 0.3), (4096, 0.01), (4096, 0.1)]  # neurons on both sides, density
NOT_ZERO = (1.0, 0.5, 0.3, 0.1, 0.02)
ALL, SOME = "by output", "compiled"
NETWORKS = {  # widths; density of hidden layers, or epsilon 20
    "digits, 64-500-500-10": ((64, 500, 500, 10), None),
    "Fashion, 784-1000-1000-1000-10": ((784, 1000, 1000, 1000, 10), None),
    "wide, 4096-4096-4096-10": ((4096, 4096, 4096, 10), 0.02),
}
PREDICT, COMPILED, SCIPY, ONNX = "predict", "compiled", "SciPy CSR", "ONNX Runtime, dense"
MOST = {1: 13.0, 4: 8.0, 8: 8.0}  # microseconds of the first network, by group


def layer(n: int, density: float, group: int) -> rw.Sequential:
    """A network of one layer."""
    return rw.Sequential([rw.Sparse(n, n, density=density, group=group, bias=False)], seed=0)


def network(widths: tuple[int, ...], density: float | None, group: int) -> rw.Sequential:
    """ReLU between layers, softmax at the end."""
    layers = []
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        last = i == len(widths) - 2
        links = {"epsilon": 20} if density is None else {"density": 1.0 if last else density}
        layers.append(rw.Sparse(n_in, n_out, activation="softmax" if last else "relu", group=group, **links))
    return rw.Sequential(layers, seed=0)


def scipy_chain(net: rw.Sequential) -> Callable[[Any], Any]:
    """The same outputs by SciPy, up to the softmax."""
    parts = [(each.store.to_csr(), each.bias) for each in net.weight_layers]

    def run(x: Any) -> Any:
        for i, (matrix, bias) in enumerate(parts):
            x = matrix @ x + bias
            if i < len(parts) - 1:
                x = np.maximum(x, 0)
        return x

    return run


def onnx_dense(widths: tuple[int, ...]) -> Callable[[Any], Any] | None:
    """A session with dense layers of these widths; None where ONNX Runtime is not installed."""
    try:
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        return None
    rng, nodes, weights, last = np.random.default_rng(0), [], [], "x"
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        matrix = (rng.standard_normal((n_in, n_out)) / np.sqrt(n_in)).astype("f4")
        weights += [numpy_helper.from_array(matrix, f"w{i}")]
        weights += [numpy_helper.from_array(np.zeros(n_out, "f4"), f"b{i}")]
        nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"b{i}"], [f"z{i}"]))
        kind = "Softmax" if i == len(widths) - 2 else "Relu"
        nodes.append(helper.make_node(kind, [f"z{i}"], [f"y{i}"]))
        last = f"y{i}"
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, widths[0]])]
    outputs = [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, widths[-1]])]
    graph = helper.make_graph(nodes, "dense", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = chosen.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), chosen, ["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x[None]})[0]


def layers(report: Report, tiny: bool) -> None:
    """The first table."""
    columns = [
        "neurons", "density", "links", "not zero", ALL, SOME, "its way", f"{SOME} / {ALL}",
        f"{ALL}, groups of 4", f"{SOME}, groups of 4",
    ]  # fmt: skip
    table = report.table("One sample through a layer, microseconds of one thread", columns)
    for n, density in [(64, 0.1)] if tiny else SHAPES:
        single, grouped = (layer(n, density, group) for group in (1, 4))
        ours, theirs = single.compile(), grouped.compile()
        rng = np.random.default_rng(0)
        for part in NOT_ZERO[:2] if tiny else NOT_ZERO:
            x = np.where(rng.permutation(n) < round(part * n), rng.standard_normal(n), 0).astype(np.float32)
            store, four = single.layers[0].store, grouped.layers[0].store
            np.testing.assert_array_equal(ours(x), store @ x)
            contestants = {
                ALL: lambda x=x, store=store: store @ x,
                SOME: lambda x=x, ours=ours: ours(x),
                f"{ALL}, groups of 4": lambda x=x, four=four: four @ x,
                f"{SOME}, groups of 4": lambda x=x, theirs=theirs: theirs(x),
            }

            def one(contestants: Any = contestants) -> dict[str, Any]:
                found = turns(contestants, 3 if tiny else 15)
                seconds = {name: statistics.median(each) for name, each in found.items()}
                return {"seconds": seconds, "ratio": ratio(found, SOME, ALL)}

            cell = report.cell(f"{n} {density} {part}", one)
            if cell:
                us = [1e6 * cell["seconds"][name] for name in contestants]
                way = ours._core.ways[0]
                table.row(
                    n,
                    f"{100 * density:g} %",
                    store.nnz,
                    f"{100 * part:g} %",
                    *us[:2],
                    way,
                    cell["ratio"],
                    *us[2:],
                )


def networks(report: Report, tiny: bool) -> None:
    """The second table, and the targets."""
    columns = ["network", "links", "group", PREDICT, COMPILED, SCIPY, ONNX, "held, bytes a link"]
    table = report.table("One sample through a network, microseconds of one thread", columns)
    ahead: dict[str, float] = {}
    for name, (widths, density) in list(NETWORKS.items())[: 1 if tiny else None]:
        dense = onnx_dense(widths)
        for group in (1, 4, 8):
            net = network(widths, density, group)
            predictor, x = net.compile(), np.random.default_rng(1).standard_normal(widths[0]).astype("f4")
            rows, chain = x[None], scipy_chain(net)
            np.testing.assert_array_equal(predictor(x), net.predict(rows)[0])
            contestants = {
                PREDICT: lambda net=net, rows=rows: net.predict(rows),
                COMPILED: lambda predictor=predictor, x=x: predictor(x),
                SCIPY: lambda chain=chain, x=x: chain(x),
            }
            if dense is not None:
                contestants[ONNX] = lambda dense=dense, x=x: dense(x)

            def one(contestants: Any = contestants) -> dict[str, Any]:
                found = turns(contestants, 3 if tiny else 15)
                seconds = {side: statistics.median(each) for side, each in found.items()}
                return {"seconds": seconds, "ahead": ratio(found, ONNX, COMPILED) if ONNX in found else None}

            cell = report.cell(f"{name} {group}", one)
            if not cell:
                continue
            us = {side: 1e6 * seconds for side, seconds in cell["seconds"].items()}
            sides = [us.get(side, "-") for side in (PREDICT, COMPILED, SCIPY, ONNX)]
            table.row(name, net.nnz, group, *sides, predictor.nbytes / net.nnz)
            if name == next(iter(NETWORKS)):
                asked = f"{name}, group {group}: at most {MOST[group]:g} us a sample"
                report.judge("One sample", asked, f"{us[COMPILED]:.1f} us", us[COMPILED] <= MOST[group])
            if cell["ahead"] is not None:
                ahead[f"{name}, group {group}"] = cell["ahead"]
    least = min(ahead, key=ahead.__getitem__) if ahead else None
    measured = "ONNX Runtime is not installed" if least is None else f"{ahead[least]:.2f} ({least})"
    met = None if least is None else ahead[least] >= 1
    report.judge(
        "One sample", "ahead of dense ONNX Runtime at every size (its time over ours)", measured, met
    )


def main() -> None:
    arguments = options(__doc__, 90)
    report = Report("one_sample", arguments)
    layers(report, arguments.tiny)
    networks(report, arguments.tiny)
    report.save()


if __name__ == "__main__":
    main()
