"""Layers of a model as eager PyTorch runs them: one over rows, several in a row in tiles.

What compilers, exporters, transforms and modes have to see goes through the operators of ``_ops.py`` instead,
layer by layer.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch

from rewire._checks import describe
from rewire.torch import _kernels
from rewire.torch._kernels import Held
from rewire.torch._ops import COMPUTED_IN, NAMES, sparse_linear, transformed
from rewire.torch._steps import Linear, Pass, Step
from rewire.torch._structures import Structure

__all__ = ["CHANGED", "bare", "checked", "differentiated", "entered", "learns", "operators", "run", "run_one"]

CHANGED = "links have changed between the forward and the backward pass: rewire after backward()"


def checked(x: Any) -> None:
    """TypeError for what is no dense tensor."""
    if not isinstance(x, torch.Tensor):
        if isinstance(x, torch.fx.Proxy):
            return
        raise TypeError(f"x must be a tensor, got {describe(x)}")
    if x.layout is not torch.strided or x.is_nested:
        layout = "nested" if x.is_nested else str(x.layout)[6:].lstrip("_")
        raise TypeError(f"x must be a dense tensor, got one of layout {layout}")


def entered(x: torch.Tensor) -> tuple[torch.Tensor, torch.dtype | None] | None:
    """Inputs as they are computed with, and the dtype that autocast wants of layers, if it is on.

    None where something needs to see the layers as operators, or inputs are no samples on the CPU.
    """
    if torch.compiler.is_compiling():
        return None
    checked(x)
    if (
        torch._C._get_tracing_state() is not None  # torch.jit.trace
        or type(x) not in (torch.Tensor, torch.nn.Parameter)
        or not x.is_cpu
        or x.ndim == 0
        or x.numel() == 0
        or transformed()
        or torch._C._len_torch_dispatch_stack() != 0
    ):
        return None
    if not torch.is_autocast_enabled("cpu"):
        return (x, None) if x.dtype in NAMES else None
    if x.dtype is torch.float64 or x.dtype not in COMPUTED_IN:
        return None
    return x.float(), torch.get_autocast_dtype("cpu")


def bare(module: torch.nn.Module) -> bool:
    """Whether calling a module does nothing but run its own ``forward``."""
    fields = module.__dict__
    return not (
        fields["_forward_hooks"]
        or fields["_forward_pre_hooks"]
        or fields["_backward_hooks"]
        or fields["_backward_pre_hooks"]
        or "forward" in fields
        or torch.nn.modules.module._has_any_global_hook()
    )


def learns(x: torch.Tensor, values: Sequence[Any]) -> bool:
    """Whether there will be a backward pass."""
    return torch.is_grad_enabled() and (
        x.requires_grad or any(value is not None and value.requires_grad for value in values)
    )


def operators(dy: torch.Tensor) -> bool:
    """Whether a backward pass goes by operators: to be differentiated again, or over mapped gradients."""
    return torch.is_grad_enabled() or transformed() or torch._C._functorch.is_legacy_batchedtensor(dy)


# --- one layer ----------------------------------------------------------------------------------


def run_one(
    x: torch.Tensor, structure: Structure, weight: torch.Tensor, bias: torch.Tensor | None, bf16: bool
) -> torch.Tensor:
    """One layer over inputs (*, n_in) that fit it, all of one dtype; of bfloat16 outputs with ``bf16``."""
    if learns(x, (weight, bias)):
        found: torch.Tensor = _SparseLinear.apply(structure, bf16, x, weight, bias)
        return found
    return _forward_one(structure, bf16, x, weight, bias)[0]


def _forward_one(structure: Structure, bf16: bool, x: torch.Tensor, weight: torch.Tensor, bias: Any) -> Any:
    rows = x.detach().resolve_neg().reshape(-1, structure.n_in)
    out = x.new_empty((len(rows), structure.n_out), dtype=torch.bfloat16 if bf16 else x.dtype)
    threads = _kernels.threads_for(torch.get_num_threads(), len(rows) * weight.numel())
    with structure.lock:
        store, mark = structure.filled(NAMES[x.dtype], weight)
        biases = None if bias is None else bias.detach().resolve_neg().contiguous().numpy()
        if bf16:
            _kernels.rounded_linear(store, rows.numpy(), biases, out, threads)
        else:
            _kernels.linear(store, rows.numpy(), biases, out.numpy(), threads)
    return out if x.ndim == 2 else out.view(*x.shape[:-1], structure.n_out), mark, threads


class _SparseLinear(torch.autograd.Function):
    """A layer over rows: one call of the core a direction, and nothing kept but what was given."""

    @staticmethod
    def forward(
        ctx: Any, structure: Structure, bf16: bool, x: torch.Tensor, weight: torch.Tensor, bias: Any
    ) -> torch.Tensor:
        out, mark, threads = _forward_one(structure, bf16, x, weight, bias)
        ctx.kept = structure, structure.version(), bf16, mark, threads
        ctx.save_for_backward(x, weight, bias)
        return out

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[Any, ...]:
        structure, version, bf16, mark, threads = ctx.kept
        given = ctx.saved_tensors
        if version != structure.version():
            raise RuntimeError(CHANGED)
        needs = ctx.needs_input_grad[2:]
        if operators(dy):
            links = *structure.tensors, structure.n_in, structure.n_out, bf16

            def by_operator(own: Sequence[Any]) -> torch.Tensor:
                return sparse_linear(*own, *links).to(dy.dtype)

            return (None, None, *differentiated(by_operator, given, dy, needs))
        x, weight, _ = given
        dtype = NAMES[x.dtype]
        with structure.lock:
            store = structure.again(dtype, weight, mark) if needs[0] else structure.store(dtype)
            gradients = _kernels.widened(dy.resolve_neg().reshape(-1, structure.n_out))
            if needs[0]:
                structure.ready_mirror(store, len(gradients), threads)
            rows = x.detach().resolve_neg().reshape(-1, structure.n_in).numpy() if needs[1] else None
            found = _kernels.linear_backward(
                store, gradients, rows, threads, inputs=needs[0], bias=needs[2],
                keep=needs[1] and bool(structure.watched), bf16=bf16,
            )  # fmt: skip
            if found.tiles is not None:
                structure.show(found.tiles)
        return (
            None,
            None,
            None if found.dx is None else torch.from_numpy(found.dx).view(x.shape),
            None if found.dw is None else torch.from_numpy(found.dw),
            None if found.db is None else torch.from_numpy(found.db),
        )


def differentiated(
    compute: Callable[[Sequence[Any]], torch.Tensor],
    given: Sequence[Any],
    dy: torch.Tensor,
    needs: Sequence[bool],
) -> list[Any]:
    """Gradients of what ``compute`` makes of values; where gradients are on, they can be differentiated.

    They are taken for an alias of each value, because a value can be made of another one, or be there twice:
    layers stand in a graph more than once. Paths between values are for the pass around this one to follow.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        own = [None if value is None else value.view_as(value) for value in given]
        y = compute(own)
    wanted = [value for value, needed in zip(own, needs, strict=True) if needed]
    found = iter(torch.autograd.grad(y, wanted, dy, create_graph=again, allow_unused=True))
    return [next(found) if needed else None for needed in needs]


# --- several, in tiles --------------------------------------------------------------------------


def run(x: torch.Tensor, steps: Sequence[Step], bf16: bool) -> torch.Tensor:
    """Steps in a row, from inputs (*, features) that fit the first; all of one dtype."""
    values: list[Any] = []
    for step in steps:
        step.first = len(values)
        values += step.values
    if learns(x, values):
        found: torch.Tensor = _SparseTiles.apply(steps, bf16, x, *values)
        return found
    return _forward(steps, bf16, x, values, False)[0]


def _forward(
    steps: Sequence[Step], bf16: bool, x: torch.Tensor, given: Sequence[Any], learns: bool
) -> tuple[torch.Tensor, Pass]:
    shape = x.shape
    rows = x.detach().resolve_neg().reshape(-1, shape[-1]).numpy()
    work = len(rows) * sum(step.work for step in steps)
    one = Pass(x.dtype, bf16, _kernels.threads_for(torch.get_num_threads(), work), learns)
    flow = _kernels.packed(rows, one.threads)
    for step in steps:
        flow = step.forward(one, flow, given)
    out = torch.from_numpy(_kernels.unpacked(flow, one.threads))
    return out if len(shape) == 2 else out.view(*shape[:-1], out.shape[1]), one


class _SparseTiles(torch.autograd.Function):
    """A forward pass in tiles, and its backward pass."""

    @staticmethod
    def forward(ctx: Any, steps: Sequence[Step], bf16: bool, x: torch.Tensor, *given: Any) -> torch.Tensor:
        out, one = _forward(steps, bf16, x, given, True)
        # Tiles are saved as tensors, which autograd frees, and hooks of saved tensors see.
        held = [weakref.ref(each) if type(each) is Held else None for each in one.kept]
        ctx.kept = steps, bf16, one.threads, held
        tiles = [each.tensor() if type(each) is Held else each for each in one.kept]
        ctx.save_for_backward(x, *given, *tiles)
        return out

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[Any, ...]:
        steps, bf16, threads, held = ctx.kept
        saved = ctx.saved_tensors
        needs, n = ctx.needs_input_grad[2:], len(saved) - len(held)
        x, given = saved[0], saved[1:n]
        for step in steps:
            if type(step) is Linear and step.version != step.structure.version():
                raise RuntimeError(CHANGED)
        one = Pass(x.dtype, bf16, threads, False)
        if operators(dy):
            return (None, None, *differentiated(lambda own: _plain(steps, one, own), saved[:n], dy, needs))
        batch = math.prod(x.shape[:-1])
        one.kept = [_restored(*pair, batch) for pair in zip(saved[n:], held, strict=True)]
        found: list[Any] = [None] * len(given)
        d: Any = _kernels.packed(dy.resolve_neg().reshape(-1, dy.shape[-1]).numpy(), threads)
        for step, more in zip(reversed(steps), reversed(_wanted(steps, needs)), strict=True):
            d = step.backward(one, d, given, needs[1:], more, found)
            if not more:
                break
        dx = torch.from_numpy(_kernels.unpacked(d, threads)).view(x.shape) if needs[0] else None
        return (None, None, dx, *found)


def _plain(steps: Sequence[Step], one: Pass, given: Sequence[Any]) -> torch.Tensor:
    """The same outputs by operators, of inputs and values."""
    y: torch.Tensor = given[0]
    for step in steps:
        y = step.plain(one, y, given[1:])
    return y


def _wanted(steps: Sequence[Step], needs: Sequence[bool]) -> list[bool]:
    """Of which steps gradients of the inputs are needed: where something before them learns."""
    found, wanted = [], needs[0]
    for step in steps:
        found.append(wanted)
        wanted = wanted or any(needs[1 + step.first : 1 + step.first + len(step.values)])
    return found


def _restored(saved: torch.Tensor, held: Any, batch: int) -> Any:
    """The tiles that a saved tensor is made of; a copy, where a hook has given back another tensor."""
    if held is None:
        return saved
    found = held()
    if found is not None and found.address == saved.data_ptr():
        return found
    return _kernels.held_again(saved, batch)
