"""Sparse layers in a row that stay in tiles: what they hand to each other is never turned over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import nn
from torch.nn import functional as F

from rewire._checks import describe
from rewire._format import plural
from rewire.torch import _kernels
from rewire.torch._ops import NAMES
from rewire.torch._structures import Structure
from rewire.torch.linear import SparseLinear

__all__ = ["SparseMLP"]


class _Kind(NamedTuple):
    """An activation: its name in the core, and in torch."""

    code: str
    slope: float
    inner: bool  # whether its derivative is that of its input, not of its output
    function: Callable[[torch.Tensor], torch.Tensor]


KINDS = {
    "relu": _Kind("relu", 0.0, False, F.relu),
    "leaky_relu": _Kind("leaky", 0.01, False, lambda x: F.leaky_relu(x, 0.01)),
    "gelu": _Kind("gelu", 0.0, True, F.gelu),
    "gelu_tanh": _Kind("gelu_tanh", 0.0, True, lambda x: F.gelu(x, approximate="tanh")),
    "silu": _Kind("silu", 0.0, True, F.silu),
    "tanh": _Kind("tanh", 0.0, False, torch.tanh),
    "sigmoid": _Kind("sigmoid", 0.0, False, torch.sigmoid),
}


def _named(module: nn.Module) -> str | None:
    """The name of an activation module; None for another."""
    if isinstance(module, nn.GELU):
        return "gelu" if module.approximate == "none" else "gelu_tanh"
    if isinstance(module, nn.LeakyReLU):
        return "leaky_relu" if module.negative_slope == 0.01 else None
    names = {nn.ReLU: "relu", nn.SiLU: "silu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}
    return names.get(type(module))


class SparseMLP(nn.Module):
    """Sparse linear layers with an activation between each two, computed without leaving the kernels' layout.

    Parameters
    ----------
    widths : sequence of int
        Inputs, hidden widths, outputs: at least two numbers.
    activation : {"relu", "leaky_relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid"}
        After every layer but the last. The slope of ``"leaky_relu"`` is 0.01.
    bias : bool
    **options
        Of every :class:`SparseLinear`: ``density``, ``group``, ``connectivity``, ``dtype``, ...

    Attributes
    ----------
    layers : nn.ModuleList of SparseLinear
        Ordinary layers: :class:`Rewirer`, states and optimizers see them as they see others.
    activation : str

    Notes
    -----
    It computes what ``nn.Sequential`` of these layers computes, to rounding. Inputs and outputs are
    converted, and nothing in between; so it is the faster the more layers there are. Hooks of the inner
    layers are not called. Under ``torch.compile``, ``torch.export``, autocast and ``torch.func``, and with
    weights of half precision, the layers are run one by one.

    Examples
    --------
    >>> import torch
    >>> from rewire.torch import SparseMLP
    >>> mlp = SparseMLP([784, 1000, 1000, 10], "relu", density=0.05)
    >>> mlp(torch.randn(32, 784)).shape
    torch.Size([32, 10])
    """

    layers: nn.ModuleList

    def __init__(
        self, widths: Sequence[int], activation: str = "relu", bias: bool = True, **options: Any
    ) -> None:
        super().__init__()
        if isinstance(widths, str) or not isinstance(widths, Sequence) or len(widths) < 2:
            raise ValueError(f"widths must be two numbers or more, inputs to outputs, got {describe(widths)}")
        pairs = zip(widths, widths[1:], strict=False)
        self._begin([SparseLinear(n, m, bias, **options) for n, m in pairs], activation)

    def _begin(self, layers: Sequence[SparseLinear], activation: str) -> None:
        if activation not in KINDS:
            known = ", ".join(map(repr, KINDS))
            raise ValueError(f"activation must be one of {known}, got {describe(activation)}")
        for first, second in zip(layers, layers[1:], strict=False):
            if first.out_features != second.in_features:
                raise ValueError(
                    f"layers must fit together: one has {plural(first.out_features, 'output')} and the next "
                    f"{plural(second.in_features, 'input')}"
                )
        self.layers, self.activation = nn.ModuleList(layers), activation

    @classmethod
    def from_sequential(cls, modules: Sequence[nn.Module] | nn.Sequential) -> Self:
        """One of the layers of an ``nn.Sequential``, which it shares: sparse, with one activation between.

        Raises
        ------
        TypeError, ValueError
            For anything else in it.
        """
        parts = list(modules)
        layers = [part for part in parts[::2] if isinstance(part, SparseLinear)]
        names = {_named(part) for part in parts[1::2]}
        if len(parts) % 2 == 0 or len(layers) != (len(parts) + 1) // 2 or len(names) > 1 or None in names:
            found = ", ".join(type(part).__name__ for part in parts)
            raise ValueError(
                "modules must be SparseLinear layers with one and the same activation "
                f"({', '.join(KINDS)}) between each two, got {found}"
            )
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._begin(layers, str(names.pop()) if names else "relu")
        return made.train(all(part.training for part in parts))

    def _apart(self, x: torch.Tensor) -> torch.Tensor:
        """The layers one by one."""
        function = KINDS[self.activation].function
        for i, layer in enumerate(self.layers):
            x = layer(x if i == 0 else function(x))
        return x

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (*, last width), for inputs of shape (*, first width)."""
        if torch.compiler.is_compiling() or not self._together(input):
            return self._apart(input)
        given: list[Any] = [layer.effective_weight() for layer in self._sparse()]
        given += [layer.bias for layer in self._sparse()]
        rows = input.reshape(-1, self.layers[0].in_features)
        return _Run.apply(self, rows, *given).reshape(*input.shape[:-1], self.layers[-1].out_features)

    def _sparse(self) -> list[SparseLinear]:
        return list(self.layers)

    def _together(self, x: torch.Tensor) -> bool:
        """Whether nothing needs to see the layers one by one."""
        return (
            type(x) in (torch.Tensor, nn.Parameter)
            and x.device.type == "cpu"
            and x.dtype in NAMES
            and x.ndim > 0
            and x.shape[-1] == self.layers[0].in_features
            and x.numel() > 0
            and all(type(layer) is SparseLinear and layer.weight.dtype == x.dtype for layer in self.layers)
            and not torch.is_autocast_enabled("cpu")
            and not torch._C._are_functorch_transforms_active()
        )

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"


class _Run(torch.autograd.Function):
    """A forward pass in tiles, and its backward pass."""

    @staticmethod
    def forward(ctx: Any, module: SparseMLP, rows: torch.Tensor, *given: Any) -> torch.Tensor:
        layers, kind = module._sparse(), KINDS[module.activation]
        weights, biases = given[: len(layers)], given[len(layers) :]
        needs = ctx.needs_input_grad
        work = len(rows) * sum(weight.numel() for weight in weights)
        threads = _kernels.threads_for(torch.get_num_threads(), work)
        flow = [_kernels.packed(rows.detach().numpy(), threads)]
        inner: list[Any] = []
        for i, (layer, weight, bias) in enumerate(zip(layers, weights, biases, strict=True)):
            last = i == len(layers) - 1
            values = None if bias is None else bias.detach().numpy()
            structure = _structure(layer)
            with structure.lock:
                store = structure.store(NAMES[weight.dtype])
                store.set_field("weight", weight.detach().contiguous().numpy())
                y, z = _kernels.activated(
                    store, flow[-1], values, "linear" if last else kind.code, kind.slope,
                    kind.inner and not last and any(needs), threads,
                )  # fmt: skip
            flow.append(y)
            inner.append(z)
        out = torch.from_numpy(_kernels.unpacked(flow.pop(), threads))
        if any(needs):
            ctx.kept = module, layers, kind, flow, inner, threads
            ctx.links = [_state_of_links(layer) for layer in layers]
            ctx.save_for_backward(rows, *given)
        return out

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[Any, ...]:
        rows, *given = ctx.saved_tensors
        module, layers, kind, flow, inner, threads = ctx.kept
        if torch.is_grad_enabled():  # somebody will differentiate this once more
            return (None, *_differentiable(module, rows, given, dy, ctx.needs_input_grad[1:]))
        n, needs = len(layers), ctx.needs_input_grad[1:]
        dw: list[Any] = [None] * n
        db: list[Any] = [None] * n
        d = _kernels.packed(dy.detach().numpy(), threads)
        for i in reversed(range(n)):
            layer, weight = layers[i], given[i]
            if _state_of_links(layer) != ctx.links[i]:
                raise RuntimeError("links have changed between the forward and the backward pass")
            if i < n - 1:
                _kernels.activate_back(kind.code, kind.slope, inner[i] or flow[i + 1], d, threads)
            inputs = any(needs[:1]) or any(needs[1 : 1 + i]) or any(needs[1 + n : 1 + n + i])
            structure = _structure(layer)
            with structure.lock:
                store = structure.store(NAMES[weight.dtype])
                if inputs:
                    store.set_field("weight", weight.detach().contiguous().numpy())
                    structure.ready_mirror(store, len(rows), threads)
                wanted = flow[i] if needs[1 + i] else None
                dx, w, b = _kernels.gradients(store, wanted, d, threads, inputs=inputs, bias=needs[1 + n + i])
                if structure.seen is not None and wanted is not None:
                    structure.show(_kernels.copied(flow[i], d))
            dw[i] = None if w is None else torch.from_numpy(w)
            db[i] = None if b is None else torch.from_numpy(b)
            if dx is None:
                break
            d = dx
        dx_ = torch.from_numpy(_kernels.unpacked(d, threads)) if needs[0] else None
        return (None, dx_, *dw, *db)


def _state_of_links(layer: SparseLinear) -> tuple[int, ...]:
    """Another one once the links have changed."""
    tensors = layer.indptr, layer.sources
    counted = [0 if tensor.is_inference() else tensor._version for tensor in tensors]
    return (*map(id, tensors), *counted)


def _structure(layer: SparseLinear) -> Structure:
    """What is kept of a layer's links."""
    if layer._structure is None:
        layer._hold()
    assert layer._structure is not None
    return layer._structure


def _differentiable(
    module: SparseMLP, rows: torch.Tensor, given: Sequence[Any], dy: torch.Tensor, needs: Sequence[bool]
) -> list[Any]:
    """The same gradients, by layers one by one, which can be differentiated."""
    inputs = [rows, *given]
    n = len(module.layers)
    with torch.enable_grad():
        x = rows
        for i, layer in enumerate(module._sparse()):
            x = x if i == 0 else KINDS[module.activation].function(x)
            x = layer._computed(x, given[i], given[n + i])
    wanted = [value for value, needed in zip(inputs, needs, strict=True) if needed]
    found = iter(torch.autograd.grad(x, wanted, dy, create_graph=True))
    return [next(found) if needed else None for needed in needs]
