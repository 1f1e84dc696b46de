"""Sparse layers in a row, run at once: from the inputs of the first to the outputs of the last in tiles.

This is the way of eager PyTorch, for one layer and for several. What compilers, exporters, transforms and
modes have to see goes through the operators of ``_ops.py`` instead, layer by layer.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from rewire.torch import _kernels
from rewire.torch._ops import NAMES, sparse_linear
from rewire.torch._structures import Structure

__all__ = ["KINDS", "Kind", "Link", "can_run", "run"]


class Kind(NamedTuple):
    """An activation: its name in the core, and in torch."""

    code: str
    slope: float
    inner: bool  # whether its derivative is that of its input, not of its output
    function: Callable[[torch.Tensor], torch.Tensor]


KINDS = {
    "relu": Kind("relu", 0.0, False, F.relu),
    "leaky_relu": Kind("leaky", 0.01, False, lambda x: F.leaky_relu(x, 0.01)),
    "gelu": Kind("gelu", 0.0, True, F.gelu),
    "gelu_tanh": Kind("gelu_tanh", 0.0, True, lambda x: F.gelu(x, approximate="tanh")),
    "silu": Kind("silu", 0.0, True, F.silu),
    "tanh": Kind("tanh", 0.0, False, torch.tanh),
    "sigmoid": Kind("sigmoid", 0.0, False, torch.sigmoid),
}


class Link(NamedTuple):
    """One layer of the row: its links, and its values of now."""

    structure: Structure
    weight: torch.Tensor
    bias: torch.Tensor | None


def can_run(x: torch.Tensor) -> bool:
    """Whether nothing needs to see the layers as operators, and the inputs are samples on the CPU."""
    return (
        not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None  # torch.jit.trace
        and isinstance(x, torch.Tensor)
        and type(x) in (torch.Tensor, torch.nn.Parameter)
        and x.dtype in NAMES
        and x.device.type == "cpu"
        and x.ndim > 0
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and torch._C._len_torch_dispatch_stack() == 0
    )


def run(x: torch.Tensor, links: Sequence[Link], kind: Kind) -> torch.Tensor:
    """The layers with an activation between each two; all of the dtype of the inputs, which fit the first."""
    first, last = links[0].structure, links[-1].structure
    values = [link.weight for link in links], [link.bias for link in links]
    structures = [link.structure for link in links]
    out = _Run.apply(structures, kind, x.reshape(-1, first.n_in), *values[0], *values[1])
    return out.view(*x.shape[:-1], last.n_out)


class _Run(torch.autograd.Function):
    """A forward pass in tiles, and its backward pass."""

    @staticmethod
    def forward(
        ctx: Any, structures: list[Structure], kind: Kind, rows: torch.Tensor, *given: Any
    ) -> torch.Tensor:
        n, needs = len(structures), ctx.needs_input_grad[2:]
        learns = any(needs)
        work = len(rows) * sum(weight.numel() for weight in given[:n])
        threads = _kernels.threads_for(torch.get_num_threads(), work)
        flow = [_kernels.packed(rows.detach().numpy(), threads)]
        inner: list[Any] = []
        for i, structure in enumerate(structures):
            weight, bias, last = given[i], given[n + i], i == n - 1
            with structure.lock:
                store = structure.store(NAMES[rows.dtype])
                store.set_field("weight", weight.detach().contiguous().numpy())
                y, z = _kernels.activated(
                    store, flow[-1], None if bias is None else bias.detach().numpy(),
                    "linear" if last else kind.code, kind.slope, kind.inner and learns and not last, threads,
                )  # fmt: skip
            flow.append(y)
            inner.append(z)
        out = torch.from_numpy(_kernels.unpacked(flow.pop(), threads))
        if learns:  # tiles as tensors, which autograd frees, and hooks of saved tensors see
            held = *flow, *inner
            ctx.kept = structures, [structure.version() for structure in structures], kind, threads
            ctx.held = [None if each is None else weakref.ref(each) for each in held]
            tiles = [None if each is None else torch.from_numpy(np.asarray(each)) for each in held]
            ctx.save_for_backward(rows, *given, *tiles)
        return out

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[Any, ...]:
        structures, versions, kind, threads = ctx.kept
        n = len(structures)
        rows, *saved = ctx.saved_tensors
        given = saved[: 2 * n]
        if versions != [structure.version() for structure in structures]:
            raise RuntimeError(
                "links have changed between the forward and the backward pass: rewire after backward()"
            )
        needs = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():  # somebody will differentiate this once more
            return (None, None, *_differentiable(structures, kind, rows, given, dy, needs))
        tiles = [_held(*pair, len(rows)) for pair in zip(saved[2 * n :], ctx.held, strict=True)]
        flow, inner = tiles[:n], tiles[n:]
        dw: list[Any] = [None] * n
        db: list[Any] = [None] * n
        d: Any = _kernels.packed(dy.detach().numpy(), threads)
        for i in reversed(range(n)):
            if i < n - 1:
                _kernels.activate_back(kind.code, kind.slope, inner[i] or flow[i + 1], d, threads)
            inputs = needs[0] or any(needs[1 : 1 + i]) or any(needs[1 + n : 1 + n + i])
            structure, weight = structures[i], given[i]
            with structure.lock:
                store = structure.store(NAMES[rows.dtype])
                if inputs:
                    store.set_field("weight", weight.detach().contiguous().numpy())
                    structure.ready_mirror(store, len(rows), threads)
                x = flow[i] if needs[1 + i] else None
                dx, w, b = _kernels.gradients(store, x, d, threads, inputs=inputs, bias=needs[1 + n + i])
                if structure.watched and x is not None:
                    structure.show(_kernels.copied(x, d))
            dw[i] = None if w is None else torch.from_numpy(w)
            db[i] = None if b is None else torch.from_numpy(b)
            d = dx
            if d is None:
                break
        of_rows = torch.from_numpy(_kernels.unpacked(d, threads)) if needs[0] else None
        return (None, None, of_rows, *dw, *db)


def _held(saved: Any, held: Any, batch: int) -> Any:
    """The tiles that a saved tensor is made of; a copy, where a hook has given back another tensor."""
    if saved is None:
        return None
    array, found = saved.numpy(), held()
    if found is not None and found.tiles.array().ctypes.data == array.ctypes.data:
        return found
    return _kernels.held_again(array, array.shape[1], batch)


def _differentiable(
    structures: Sequence[Structure],
    kind: Kind,
    rows: Any,
    given: Sequence[Any],
    dy: Any,
    needs: Sequence[bool],
) -> list[Any]:
    """The same gradients by the operators, which can be differentiated."""
    n = len(structures)
    with torch.enable_grad():
        x = rows
        for i, structure in enumerate(structures):
            x = x if i == 0 else kind.function(x)
            links = (*structure.tensors, structure.n_in, structure.n_out)
            x = sparse_linear(x, given[i], given[n + i], *links)
    wanted = [value for value, needed in zip((rows, *given), needs, strict=True) if needed]
    found = iter(torch.autograd.grad(x, wanted, dy, create_graph=True))
    return [next(found) if needed else None for needed in needs]
