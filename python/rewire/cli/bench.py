"""``rewire bench``: how fast the kernels of one sparse layer are on this machine, in ten seconds.

For one layer: forward, backprop to the inputs, gradient with update, each beside NumPy's dense product of
the same shape, and the machine's own limits, both in float32. GFLOP/s count connections only, 2 * nnz * batch
an operation, and are the median over repetitions.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable

import numpy as np

from rewire import _core
from rewire._fileio import write_json
from rewire._format import percent, plural
from rewire.cli._shared import UsageError, check_outputs, environment, rerun_with_blas_threads, use_threads
from rewire.layers import Sparse
from rewire.network import Sequential
from rewire.threads import get_num_threads

HINT = "Figures against other libraries: `make bench-quick` and `make bench` in a clone of the repository."


def run(arguments: Namespace) -> int:
    """Measure and print."""
    check_outputs(None, arguments.json)
    use_threads(arguments.threads)
    if arguments.density == 0:
        raise UsageError("--density must be > 0 to measure anything, got 0")
    names = ("width", "density", "batch_size", "group", "dtype", "seconds", "json")
    given = [(f"--{name.replace('_', '-')}", getattr(arguments, name)) for name in names]
    code = rerun_with_blas_threads(
        ["bench", *(str(w) for pair in given if pair[1] is not None for w in pair)]
    )
    if code is not None:
        return code
    n, batch, threads = arguments.width, arguments.batch_size, get_num_threads()
    layer = Sparse(n, n, density=arguments.density, group=arguments.group)
    Sequential([layer], seed=0, dtype=arguments.dtype)
    print(
        f"{n} -> {n}, {layer.nnz:,} connections ({percent(layer.density, 3)}), group {arguments.group}, "
        f"batch {batch}, {arguments.dtype}, {plural(threads, 'thread')}, {_core.isa()}"
    )

    operations = _operations(layer, n, batch, threads)
    each = arguments.seconds / len(operations)
    record = {}
    print(f"{'':<28}{'ms':>9}{'GFLOP/s':>10}")
    for name, (flops, call) in operations.items():
        seconds = _median(call, each)
        record[name] = {"seconds": seconds, "gflops": flops / seconds / 1e9}
        print(f"{name:<28}{1e3 * seconds:>9.3f}{flops / seconds / 1e9:>10.1f}")
    timed = [of["seconds"] for of in record.values()]
    step, dense = sum(timed[:3]), sum(timed[3:])
    print(f"step {1e3 * step:.3f} ms; dense, without its update, {1e3 * dense:.3f} ms")
    limits = _limits(threads, arguments.seconds / 12)
    fma, read = limits["fma_gflops"], limits["read_gbytes"]
    print(f"this machine: {fma:.0f} GFLOP/s in registers, {read:.0f} GB/s of memory")
    print(HINT)
    if arguments.json is not None:
        layer_record = {
            "width": n, "nnz": layer.nnz, "group": arguments.group, "batch_size": batch,
            "dtype": arguments.dtype,
        }  # fmt: skip
        write_json(arguments.json, {**layer_record, "operations": record, "limits": limits, **environment()})
    return 0


def _operations(
    layer: Sparse, n: int, batch: int, threads: int
) -> dict[str, tuple[float, Callable[[], object]]]:
    """Name -> (floating-point operations, call): three sparse ones, then the three dense ones."""
    rng = np.random.default_rng(0)
    tile = _core.tile_size(batch, "float32")
    x, y, dy, dx = (_core.Tiles(n, batch, tile) for _ in range(4))
    x.pack(rng.standard_normal((batch, n), dtype=np.float32))
    dy.pack(rng.standard_normal((batch, n), dtype=np.float32))
    store, scratch, rounds = layer.core, _core.Scratch(), layer.weight.rounds
    update = _core.Update("sgd")
    update.lr, update.step = 1e-9, 1
    if layer.group == 1:
        store.build_mirror()

    dense = rng.standard_normal((n, n), dtype=np.float32)
    full, gradient, out = dense.copy(), np.empty_like(dense), np.empty((n, batch), np.float32)
    # Two arrays: of one with itself NumPy computes half a product, which BLAS calls SYRK.
    activations, errors = (rng.standard_normal((n, batch), dtype=np.float32) for _ in range(2))
    sparse_flops, dense_flops = 2.0 * layer.nnz * batch, 2.0 * n * n * batch
    return {
        "forward": (
            sparse_flops,
            lambda: _core.forward(store, x, None, "linear", 0.0, y, None, threads, rounds, scratch),
        ),
        "backward to inputs": (
            sparse_flops, lambda: _core.backward_input(store, dy, dx, threads, rounds, scratch)
        ),
        "gradient and update": (
            sparse_flops, lambda: _core.backward_update(store, x, dy, update, scratch, threads, rounds)
        ),
        "dense forward (BLAS)": (dense_flops, lambda: np.matmul(full, activations, out=out)),
        "dense to inputs (BLAS)": (dense_flops, lambda: np.matmul(full.T, errors, out=out)),
        "dense gradient (BLAS)": (dense_flops, lambda: np.matmul(errors, activations.T, out=gradient)),
    }  # fmt: skip


def _limits(threads: int, seconds: float) -> dict[str, float]:
    """What no kernel can exceed: multiply-adds in registers, and a stream of reads past every cache."""
    rounds, far = 100_000, np.ones(1 << 28, np.uint8)
    flops = _core.measure_fma(rounds, threads)
    return {
        "fma_gflops": flops / _median(lambda: _core.measure_fma(rounds, threads), seconds) / 1e9,
        "read_gbytes": far.nbytes / _median(lambda: _core.measure_read(far, threads), seconds) / 1e9,
    }


def _median(call: Callable[[], object], seconds: float) -> float:
    """Median time of a call over `seconds`, warmed up, at least three times."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))
