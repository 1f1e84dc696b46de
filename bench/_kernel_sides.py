"""The contestants of `kernels.py`, each library in a process of its own (`_measure.Side`).

Every function builds one layer, n_in -> n_out, for a batch, and returns its operations: ``fwd`` (Y = W X),
``dx`` (W' dY), ``dw`` (dY X' at the links), ``upd`` (the momentum step), or what comes closest. All work on
float32. Fairness, learned by measuring: everything is 64-byte aligned (NumPy's own memory costs MKL's
sparse kernels up to half their speed), and sparse libraries get activations feature-major, (n, batch) in C
order, which suits them five to seven times better than what a framework would hand them.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

LR, MOMENTUM = 1e-9, 0.9  # a rate that changes nothing, however often a block repeats a step

Operations = dict[str, Callable[[], object]]


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy that starts at a multiple of 64 bytes."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _normal(*shape: int) -> np.ndarray:
    return aligned(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))


@lru_cache(maxsize=8)
def _csr(n_in: int, n_out: int, density: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """indptr, indices, values of a random layer: the very one that rewire draws."""
    import rewire as rw

    store = rw.Sequential([rw.Sparse(n_in, n_out, density=density, init="he")], seed=0).layers[0].store
    rows, columns, values = store.to_arrays()
    start = np.zeros(n_out + 1, np.int32)
    np.cumsum(np.bincount(rows, minlength=n_out), out=start[1:])
    return aligned(start), aligned(columns.astype(np.int32)), aligned(values)


def transposed(
    start: np.ndarray, columns: np.ndarray, n_in: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """indptr and indices of the transposed matrix, and for each of its values the place in the original."""
    order = np.argsort(columns, kind="stable")
    rows = np.repeat(np.arange(len(start) - 1, dtype=np.int32), np.diff(start))
    turned = np.zeros(n_in + 1, np.int32)
    np.cumsum(np.bincount(columns, minlength=n_in), out=turned[1:])
    return turned, rows[order], order


@lru_cache(maxsize=8)
def _csr_transposed(n_in: int, n_out: int, density: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    start, columns, _ = _csr(n_in, n_out, density)
    return transposed(start, columns, n_in)


# --- rewire --------------------------------------------------------------------------------

_STORES: dict[tuple, object] = {}  # of one shape: drawn once, used for every batch and thread count


def rewire(threads: int, n_in: int, n_out: int, batch: int, layers: list, counts: list) -> dict:
    """Layers of several densities and groups.

    Operations are called ``"rewire t2 g4 0.05 fwd"``. At batch 1 ``read`` streams once over the sources and
    weights that ``fwd`` reads. Facts: name of a layer -> connections and the bytes of its sources and
    weights.
    """
    import rewire as rw
    from rewire import _core

    for key in [key for key in _STORES if key[:2] != (n_in, n_out)]:
        del _STORES[key]
    tile = _core.tile_size(batch, "float32")
    x, dx = (_core.Tiles(n_in, batch, tile, "float32") for _ in range(2))
    y, dy = (_core.Tiles(n_out, batch, tile, "float32") for _ in range(2))
    x.pack(_normal(batch, n_in))
    dy.pack(_normal(batch, n_out))
    update, scratch = _core.Update("sgd", momentum=MOMENTUM, state=["momentum"]), _core.Scratch()
    update.lr, update.step = LR, 1
    made: dict = {"facts": {}}
    for density, group in layers:
        key = (n_in, n_out, density, group)
        if key not in _STORES:
            network = rw.Sequential([rw.Sparse(n_in, n_out, density=density, group=group, init="he")], seed=0)
            network.layers[0].store.add_field("momentum", "float32")
            _STORES[key] = network.layers[0]
        layer = _STORES[key]
        layer.weight.ready_mirror(batch, max(counts))  # as in training: built where it pays
        store, core = layer.store, layer.core
        with store.view() as view:
            arrays = view.source, view.weight
        read = sum(array.nbytes for array in arrays)
        made["facts"][f"g{group} {density:g}"] = {"nnz": store.nnz, "bytes": read}
        for t in counts:
            name = f"rewire t{t} g{group} {density:g}"
            made[f"{name} fwd"] = lambda s=core, t=t: _core.forward(s, x, None, "linear", 0.0, y, None, t)
            made[f"{name} dx"] = lambda s=core, t=t: _core.backward_input(s, dy, dx, t)
            made[f"{name} dw"] = lambda s=core, t=t: _core.backward_update(s, x, dy, update, scratch, t)
            if batch == 1:
                made[f"{name} read"] = lambda a=arrays, t=t: [_core.measure_read(array, t) for array in a]
    return made


# --- dense ---------------------------------------------------------------------------------


def torch_dense(threads: int, n_in: int, n_out: int, batch: int) -> Operations:
    """PyTorch's products, which are MKL's.

    Two ways to update, and the faster one counts: a gradient and torch.optim.SGD, fused; or the product
    adds into the decayed momentum (``dw+m``, by sgemm's beta) and one pass over the weights follows
    (``w``).
    """
    import torch

    torch.set_num_threads(threads)
    x, g = torch.from_numpy(_normal(batch, n_in)), torch.from_numpy(_normal(batch, n_out))
    w = torch.nn.Parameter(torch.from_numpy(_normal(n_out, n_in)))
    w.grad, m = torch.zeros(n_out, n_in), torch.zeros(n_out, n_in)
    y, dx = torch.empty(batch, n_out), torch.empty(batch, n_in)
    matrix, gradient = w.data, w.grad
    optimizer = torch.optim.SGD([w], lr=LR, momentum=MOMENTUM, fused=True)
    return {
        "torch fwd": lambda: torch.mm(x, matrix.t(), out=y),
        "torch dx": lambda: torch.mm(g, matrix, out=dx),
        "torch dw": lambda: torch.mm(g.t(), x, out=gradient),
        "torch upd": optimizer.step,
        "torch dw+m": lambda: torch.addmm(m, g.t(), x, beta=MOMENTUM, out=m),
        "torch w": lambda: matrix.add_(m, alpha=-LR),
    }


def torch_bf16(threads: int, n_in: int, n_out: int, batch: int) -> Operations:
    """PyTorch's products of bfloat16, with weights of float32: the steps that autocast makes of a layer.

    Activations are of bfloat16 from one layer to the next, so that only weights and their gradient are cast.
    """
    import torch

    torch.set_num_threads(threads)
    x, g = (torch.from_numpy(_normal(batch, n)).bfloat16() for n in (n_in, n_out))
    w = torch.nn.Parameter(torch.from_numpy(_normal(n_out, n_in)))
    w.grad = torch.zeros(n_out, n_in)
    narrow, matrix, gradient = w.detach().bfloat16(), w.data, w.grad
    y, dx, dw = torch.empty_like(g), torch.empty_like(x), torch.empty_like(narrow)
    optimizer = torch.optim.SGD([w], lr=LR, momentum=MOMENTUM, fused=True)

    def backward() -> None:
        torch.mm(g.t(), x, out=dw)
        gradient.copy_(dw)

    return {
        "torch16 cast": lambda: narrow.copy_(matrix),
        "torch16 fwd": lambda: torch.mm(x, narrow.t(), out=y),
        "torch16 dx": lambda: torch.mm(g, narrow, out=dx),
        "torch16 dw": backward,
        "torch16 upd": optimizer.step,
    }


def numpy_dense(threads: int, n_in: int, n_out: int, batch: int) -> Operations:
    """NumPy's products, which are OpenBLAS's in NumPy's own wheels."""
    x, g, w = _normal(batch, n_in), _normal(batch, n_out), _normal(n_out, n_in)
    y, dx, dw, m = (aligned(np.zeros_like(a)) for a in (g, x, w, w))

    def update() -> None:
        np.multiply(m, MOMENTUM, out=m)
        np.add(m, dw, out=m)
        np.multiply(m, LR, out=dw)
        np.subtract(w, dw, out=w)

    return {
        "numpy fwd": lambda: np.matmul(x, w.T, out=y),
        "numpy dx": lambda: np.matmul(g, w, out=dx),
        "numpy dw": lambda: np.matmul(g.T, x, out=dw),
        "numpy upd": update,
    }


# --- sparse libraries ----------------------------------------------------------------------


def scipy_csr(threads: int, n_in: int, n_out: int, batch: int, densities: list) -> Operations:
    """SciPy's forward product, on one thread. It has no gradient at the links."""
    from scipy.sparse import csr_array

    x = _normal(n_in, batch)
    if batch == 1:
        x = x[:, 0]
    made: Operations = {}
    for density in densities:
        start, columns, values = _csr(n_in, n_out, density)
        w = csr_array((values, columns, start), shape=(n_out, n_in))
        made[f"scipy {density:g} fwd"] = lambda w=w: w @ x
    return made


def torch_csr(threads: int, n_in: int, n_out: int, batch: int, densities: list) -> Operations:
    """torch.sparse_csr with gradients by hand: dX through a transposed copy whose values follow W's."""
    import warnings

    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    x, g = torch.from_numpy(_normal(n_in, batch)), torch.from_numpy(_normal(n_out, batch))
    by_sample = x.t().contiguous()
    made: Operations = {}
    for density in densities:
        start, columns, values = map(torch.from_numpy, _csr(n_in, n_out, density))
        t_start, t_columns, order = map(torch.from_numpy, _csr_transposed(n_in, n_out, density))
        w = torch.sparse_csr_tensor(start, columns, values, (n_out, n_in))
        pattern = torch.sparse_csr_tensor(start, columns, torch.zeros_like(values), (n_out, n_in))
        weights = torch.nn.Parameter(values)
        weights.grad = torch.zeros_like(values)
        optimizer = torch.optim.SGD([weights], lr=LR, momentum=MOMENTUM, fused=True)

        def backward(values=values, t_start=t_start, t_columns=t_columns, order=order) -> object:
            return torch.sparse_csr_tensor(t_start, t_columns, values[order], (n_in, n_out)) @ g

        def gradient(pattern=pattern) -> object:
            return torch.sparse.sampled_addmm(pattern, g, by_sample, beta=0.0)

        made[f"torch-csr {density:g} fwd"] = lambda w=w: w @ x
        made[f"torch-csr {density:g} dx"] = backward
        made[f"torch-csr {density:g} dw"] = gradient
        made[f"torch-csr {density:g} upd"] = optimizer.step
    return made


class Descriptor(ctypes.Structure):
    """MKL's matrix_descr of a general matrix."""

    _fields_ = [("type", ctypes.c_int), ("mode", ctypes.c_int), ("diag", ctypes.c_int)]


def mkl_sparse(threads: int, n_in: int, n_out: int, batch: int, densities: list) -> Operations:
    """MKL's sparse products through handles it has optimized for the very calls that follow.

    A handle owns a copy: refreshing it after every update is not counted, in MKL's favour. It has no
    gradient at the links.
    """
    found = sorted(Path(sys.prefix, "lib").glob("libmkl_rt.so*"))
    if not found:
        raise ImportError("libmkl_rt.so is not here: pip install mkl")
    mkl = ctypes.CDLL(str(found[0]), mode=ctypes.RTLD_GLOBAL)
    mkl.MKL_Set_Threading_Layer(0)
    mkl.MKL_Set_Num_Threads(threads)
    plain, transposed, row_major, general = 10, 11, 101, Descriptor(20, 42, 50)
    x, g = _normal(n_in, batch), _normal(n_out, batch)
    y, dx = aligned(np.zeros_like(g)), aligned(np.zeros_like(x))
    calls = 100_000  # expected, for the optimizer

    def at(array: np.ndarray, offset: int = 0) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data + offset)

    def checked(status: int) -> None:
        if status:
            raise RuntimeError(f"MKL status {status}")

    class Handle:
        """Owns the arrays that MKL keeps pointers to."""

        def __init__(self, density: float) -> None:
            self.arrays = start, columns, values = _csr(n_in, n_out, density)
            self.handle = ctypes.c_void_p()
            checked(
                mkl.mkl_sparse_s_create_csr(
                    ctypes.byref(self.handle),
                    0,
                    n_out,
                    n_in,
                    at(start),
                    at(start, 4),
                    at(columns),
                    at(values),
                )
            )
            for operation in (plain, transposed):
                checked(mkl.mkl_sparse_set_mm_hint(self.handle, operation, general, row_major, batch, calls))
            mkl.mkl_sparse_set_memory_hint(self.handle, 81)  # may take memory for it
            checked(mkl.mkl_sparse_optimize(self.handle))

        def product(self, operation: int, right: np.ndarray, out: np.ndarray) -> None:
            checked(
                mkl.mkl_sparse_s_mm(
                    operation, ctypes.c_float(1), self.handle, general, row_major, at(right), batch, batch,
                    ctypes.c_float(0), at(out), batch,
                )
            )  # fmt: skip

        def __del__(self) -> None:
            mkl.mkl_sparse_destroy(self.handle)

    made: Operations = {}
    for density in densities:
        handle = Handle(density)
        made[f"mkl {density:g} fwd"] = lambda h=handle: h.product(plain, x, y)
        made[f"mkl {density:g} dx"] = lambda h=handle: h.product(transposed, g, dx)
    return made


def sparseprop(threads: int, n_in: int, n_out: int, batch: int, densities: list) -> Operations:
    """SparseProp's own kernels, without the transposes its layer does around them; backward is dX and dW."""
    import torch
    from sparseprop import backend  # linked with the system's OpenMP: threads come from the environment

    torch.set_num_threads(threads)
    x, g = torch.from_numpy(_normal(n_in, batch)), torch.from_numpy(_normal(n_out, batch))
    y, dx = torch.zeros_like(g), torch.zeros_like(x)
    made: Operations = {}
    for density in densities:
        start, columns, values = map(torch.from_numpy, _csr(n_in, n_out, density))
        weights = torch.nn.Parameter(values)
        weights.grad = torch.zeros_like(values)
        optimizer = torch.optim.SGD([weights], lr=LR, momentum=MOMENTUM, fused=True)

        def forward(start=start, columns=columns, values=values) -> None:
            y.zero_()
            backend.sparse_linear_vectorized_forward(x, start, columns, values, y)

        def backward(start=start, columns=columns, values=values, dw=weights.grad) -> None:
            dx.zero_()
            dw.zero_()
            backend.sparse_linear_vectorized_backward(x, start, columns, values, g, dx, dw)

        made[f"sparseprop {density:g} fwd"] = forward
        made[f"sparseprop {density:g} bwd"] = backward
        made[f"sparseprop {density:g} upd"] = optimizer.step
    return made


def sparselab(threads: int, n_in: int, n_out: int, batch: int, densities: list) -> Operations:
    """SparseLab's autograd function on feature-major activations; ``fwd+bwd`` makes both gradients."""
    import warnings

    import torch
    from sparselab import PaddedCSR
    from sparselab.ops import _SpMMFunction

    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    x, g = torch.from_numpy(_normal(n_in, batch)), torch.from_numpy(_normal(n_out, batch))
    x.requires_grad_()
    made: Operations = {}
    for density in densities:
        start, columns, values = map(torch.from_numpy, _csr(n_in, n_out, density))
        w = PaddedCSR.from_torch_sparse_csr(torch.sparse_csr_tensor(start, columns, values, (n_out, n_in)))
        weights = torch.nn.Parameter(torch.from_numpy(np.asarray(w.values)))  # w's own memory
        optimizer = torch.optim.SGD([weights], lr=LR, momentum=MOMENTUM)

        def both(w=w, weights=weights) -> None:
            x.grad = weights.grad = None
            _SpMMFunction.apply(weights, w, x, "simd").backward(g)

        made[f"sparselab {density:g} fwd+bwd"] = both
        made[f"sparselab {density:g} upd"] = optimizer.step
    return made
