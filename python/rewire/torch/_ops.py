"""The operators ``rewire::linear`` and ``rewire::linear_backward``: what PyTorch knows of a sparse layer.

Both are functions of tensors alone, links included, so that compiled and exported programs hold all they
need. Each is the other's derivative: y = x W' + b is linear in x and in W, and so are its gradients in
everything that they are made of. Hence gradients of any order.

float16 is computed in float32 and rounded once, as are float32 tensors under autocast to it. In bfloat16, and
under autocast to it, operands of products are rounded to bfloat16, sums are of float32, and the result is
rounded once (``bf16``). Derivatives are products as well, and round in the same way: they are those of the
operands that were multiplied.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import library
from torch.autograd import forward_ad
from torch.utils.flop_counter import register_flop_formula

from rewire._format import plural
from rewire.torch import _kernels
from rewire.torch._structures import structure_of

__all__ = ["COMPUTED_IN", "NAMES", "rounds", "sparse_linear", "transformed"]

COMPUTED_IN = {
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.bfloat16: torch.float32,
    torch.float16: torch.float32,
}
NAMES = {torch.float32: "float32", torch.float64: "float64"}


def rounds(dtype: torch.dtype | None) -> bool:
    """Whether products round their operands to bfloat16, in tensors of a dtype or under autocast to it."""
    return dtype is torch.bfloat16


def _check(
    name: str, x: torch.Tensor, features: int, weight: torch.Tensor | None, group: int | None = None
) -> None:
    """TypeError or ValueError unless ``x`` are samples of so many features, of the weights' dtype."""
    if x.dtype not in COMPUTED_IN:
        raise TypeError(
            f"{name} must be of dtype float32, float64, bfloat16 or float16, got {str(x.dtype)[6:]}"
        )
    if x.ndim == 0 or x.shape[-1] != features:
        shape = tuple(x.shape)
        raise ValueError(
            f"{name} must have {plural(features, 'feature')} in its last dimension, got shape {shape}"
        )
    if weight is not None and weight.dtype != x.dtype:
        raise TypeError(
            f"{name} must have the dtype of the weights, {str(weight.dtype)[6:]}, got {str(x.dtype)[6:]}"
        )


def _check_bias(bias: torch.Tensor | None, features: int, weight: torch.Tensor) -> None:
    """TypeError or ValueError unless there is one bias for every output, of the weights' dtype."""
    if bias is not None and tuple(bias.shape) != (features,):
        raise ValueError(f"bias must have shape {(features,)}, got {tuple(bias.shape)}")
    if bias is not None and bias.dtype != weight.dtype:
        raise TypeError(
            f"bias must have the dtype of the weights, {str(weight.dtype)[6:]}, got {str(bias.dtype)[6:]}"
        )


def _on_cpu(name: str, *tensors: torch.Tensor | None) -> None:
    """NotImplementedError for tensors elsewhere."""
    for tensor in tensors:
        if tensor is not None and tensor.device.type != "cpu":
            raise NotImplementedError(
                f"{name} must be on the CPU, where sparse layers compute, got one on {tensor.device}"
            )


def _rows(tensor: torch.Tensor, features: int, dtype: torch.dtype) -> Any:
    """An array (samples, features); a view, where there is one."""
    return tensor.detach().resolve_neg().reshape(-1, features).to(dtype).numpy()


# --- y = x W' + b ---------------------------------------------------------------------------


@library.custom_op(
    "rewire::linear",
    mutates_args=(),
    schema="(Tensor x, Tensor weight, Tensor? bias, Tensor indptr, Tensor sources, "
    "SymInt in_features, SymInt out_features, bool bf16=False) -> Tensor",
)
def linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    indptr: torch.Tensor,
    sources: torch.Tensor,
    in_features: int,
    out_features: int,
    bf16: bool = False,
) -> torch.Tensor:
    """x W' + bias, for the links that ``indptr`` and ``sources`` name.

    With ``bf16`` operands are rounded to bfloat16, as those of this dtype are.
    """
    _on_cpu("inputs and parameters", x, weight, bias)
    _check("x", x, in_features, weight)
    _check_bias(bias, out_features, weight)
    dtype = COMPUTED_IN[x.dtype]
    out = x.new_empty((*x.shape[:-1], out_features), dtype=dtype)
    samples = math.prod(x.shape[:-1])
    if samples:
        structure = structure_of(indptr, sources, in_features, out_features, weight.shape[1])
        threads = _kernels.threads_for(torch.get_num_threads(), samples * weight.numel())
        rows = _rows(x, in_features, dtype)
        biases = None if bias is None else _rows(bias, out_features, dtype)[0]
        with structure.lock:
            store, _ = structure.filled(NAMES[dtype], weight.to(dtype))
            to = out.view(-1, out_features)
            if bf16 or rounds(x.dtype):
                _kernels.rounded_linear(store, rows, biases, to, threads)
            else:
                _kernels.linear(store, rows, biases, to.numpy(), threads)
    return out.to(x.dtype)


@linear.register_fake
def _(
    x: Any, weight: Any, bias: Any, indptr: Any, sources: Any, in_features: Any, out_features: Any,
    bf16: Any = False,
) -> Any:  # fmt: skip
    _check("x", x, in_features, weight)
    _check_bias(bias, out_features, weight)
    return x.new_empty((*x.shape[:-1], out_features))


# --- its gradients --------------------------------------------------------------------------


@library.custom_op(
    "rewire::linear_backward",
    mutates_args=(),
    schema="(Tensor dy, Tensor? x, Tensor? weight, Tensor indptr, Tensor sources, SymInt in_features, "
    "SymInt out_features, SymInt group, bool bias, bool first, bool bf16=False) -> (Tensor, Tensor, Tensor)",
)
def linear_backward(
    dy: torch.Tensor,
    x: torch.Tensor | None,
    weight: torch.Tensor | None,
    indptr: torch.Tensor,
    sources: torch.Tensor,
    in_features: int,
    out_features: int,
    group: int,
    bias: bool,
    first: bool,
    bf16: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients for the inputs (if there are weights), the links (if there are inputs), and the biases.

    What is not asked for is empty. ``first``: this is the backward pass itself, not one of higher order.
    For biases alone the links say nothing, and ``out_features`` may be those of several layers.
    """
    _on_cpu("inputs and parameters", dy, x, weight)
    _check("dy", dy, out_features, weight if x is None else x)
    dtype, samples = COMPUTED_IN[dy.dtype], math.prod(dy.shape[:-1])
    shapes = _shapes(dy, x, weight, sources, in_features, out_features, group, bias)
    if not samples:
        none = [dy.new_zeros(shape) for shape in shapes]
        return none[0], none[1], none[2]
    rows = _rows(dy, out_features, dtype)
    if x is None and weight is None:  # no links are needed
        threads = _kernels.threads_for(torch.get_num_threads(), rows.size)
        sums = _kernels.bias_gradient(_kernels.packed(rows, threads).tiles, threads)
        return dy.new_empty(0), dy.new_empty(0), torch.from_numpy(sums).to(dy.dtype)
    structure = structure_of(indptr, sources, in_features, out_features, group)
    threads = _kernels.threads_for(torch.get_num_threads(), samples * sources.numel() * group)
    with structure.lock:
        store = structure.store(NAMES[dtype])
        if weight is not None:
            store, _ = structure.filled(NAMES[dtype], weight.to(dtype))
            structure.ready_mirror(store, samples, threads)
        keep = first and x is not None and bool(structure.watched)
        found = _kernels.linear_backward(
            store, rows, None if x is None else _rows(x, in_features, dtype), threads,
            inputs=weight is not None, bias=bias, keep=keep, bf16=bf16 or rounds(dy.dtype),
        )  # fmt: skip
        if found.tiles is not None:
            structure.show(found.tiles)
    made = []
    for array, shape in zip((found.dx, found.dw, found.db), shapes, strict=True):
        empty = array is None
        made.append(dy.new_empty(0) if empty else torch.from_numpy(array).view(shape).to(dy.dtype))
    return made[0], made[1], made[2]


def _shapes(
    dy: torch.Tensor,
    x: Any,
    weight: Any,
    sources: torch.Tensor,
    n_in: int,
    n_out: int,
    group: int,
    bias: bool,
) -> list[tuple[int, ...]]:
    """The shapes of the three gradients."""
    return [
        (*dy.shape[:-1], n_in) if weight is not None else (0,),
        (sources.shape[0], group) if x is not None else (0,),
        (n_out,) if bias else (0,),
    ]


@linear_backward.register_fake
def _(
    dy: Any, x: Any, weight: Any, indptr: Any, sources: Any, in_features: Any, out_features: Any, group: Any,
    bias: Any, first: Any, bf16: Any = False,
) -> Any:  # fmt: skip
    shapes = _shapes(dy, x, weight, sources, in_features, out_features, group, bias)
    return tuple(dy.new_empty(shape) for shape in shapes)


# --- derivatives ----------------------------------------------------------------------------


def transformed() -> bool:
    """Whether transforms of ``torch.func`` or the forward mode are on, which custom operators lack."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def sparse_linear(*given: Any) -> torch.Tensor:
    """``rewire::linear``, also where custom operators have nothing."""
    if not torch.compiler.is_compiling() and transformed():
        if torch.is_autocast_enabled("cpu"):  # which knows the operator, and comes after transforms
            return _autocast(*given)
        return _Linear.apply(*given)
    return torch.ops.rewire.linear(*given)


def _gradients(*given: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``rewire::linear_backward``, in the same way."""
    if not torch.compiler.is_compiling() and transformed():
        return _Backward.apply(*given)
    return torch.ops.rewire.linear_backward(*given)


class _Linear(torch.autograd.Function):
    """y = x W' + b."""

    @staticmethod
    def forward(*given: Any) -> torch.Tensor:
        if torch._C._are_functorch_transforms_active():  # others around this one
            return _Linear.apply(*given)
        with forward_ad._set_fwd_grad_enabled(False):
            return torch.ops.rewire.linear(*given)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, weight, bias, indptr, sources, ctx.n_in, ctx.n_out, ctx.bf16 = inputs
        ctx.group = weight.shape[1]
        needs = ctx.needs_input_grad
        ctx.bias = bias is not None and needs[2]
        ctx.save_for_backward(x if needs[1] else None, weight if needs[0] else None, indptr, sources)
        if hasattr(ctx, "save_for_forward"):  # operators have no forward mode
            ctx.save_for_forward(x, weight, indptr, sources)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[Any, ...]:
        x, weight, indptr, sources = ctx.saved_tensors
        dx, dw, db = _gradients(
            dy, x, weight, indptr, sources, ctx.n_in, ctx.n_out, ctx.group, ctx.bias, True, ctx.bf16
        )
        found = None if weight is None else dx, None if x is None else dw, db if ctx.bias else None
        return (*found, None, None, None, None, None)

    @staticmethod
    def jvp(ctx: Any, dx: Any, dweight: Any, dbias: Any, *_: Any) -> torch.Tensor:
        """The derivative in a direction."""
        x, weight, *tensors = ctx.saved_tensors
        links = (*tensors, ctx.n_in, ctx.n_out, ctx.bf16)
        return _sum(
            None if dx is None else sparse_linear(dx, weight, None, *links),
            None if dweight is None else sparse_linear(x, dweight, None, *links),
            None if dbias is None else dbias.expand(*x.shape[:-1], ctx.n_out),
        )

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, x: Any, weight: Any, bias: Any, *links: Any
    ) -> tuple[torch.Tensor, int]:
        """One layer of more samples, or several layers of equal links."""
        _same_links(in_dims[3:])
        if in_dims[1] is None and in_dims[2] is None:
            return sparse_linear(x.movedim(in_dims[0], 0), weight, bias, *links), 0
        if not info.batch_size:
            one = x if in_dims[0] is None else x.sum(in_dims[0])
            return x.new_zeros(0, *one.shape[:-1], links[3]), 0
        each = [_taken((x, weight, bias), in_dims[:3], i) for i in range(info.batch_size)]
        return torch.stack([sparse_linear(*own, *links) for own in each]), 0


class _Backward(torch.autograd.Function):
    """dx = dy W, dw = dy' x at the links, db = sum of dy: each is linear in all that it is made of."""

    @staticmethod
    def forward(*given: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if torch._C._are_functorch_transforms_active():
            return _Backward.apply(*given)
        with forward_ad._set_fwd_grad_enabled(False):
            return torch.ops.rewire.linear_backward(*given)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        dy, x, weight, indptr, sources, ctx.n_in, ctx.n_out, ctx.group, ctx.bias, _, ctx.bf16 = inputs
        ctx.save_for_backward(dy, x, weight, indptr, sources)
        if hasattr(ctx, "save_for_forward"):
            ctx.save_for_forward(dy, x, weight, indptr, sources)

    @staticmethod
    def backward(ctx: Any, ddx: torch.Tensor, ddw: torch.Tensor, ddb: torch.Tensor) -> tuple[Any, ...]:
        dy, x, weight, indptr, sources = ctx.saved_tensors
        links, needs, bf16 = (indptr, sources, ctx.n_in, ctx.n_out), ctx.needs_input_grad, ctx.bf16
        of_dy = of_x = of_weight = None
        if needs[0]:
            parts = []
            if weight is not None:
                parts.append(sparse_linear(ddx, weight, None, *links, bf16))
            if x is not None:
                parts.append(sparse_linear(x, ddw, None, *links, bf16))
            if ctx.bias:
                parts.append(ddb.expand_as(dy))
            of_dy = _sum(*parts) if parts else None
        if x is not None and needs[1]:
            of_x = _gradients(dy, None, ddw, *links, ctx.group, False, False, bf16)[0]
        if weight is not None and needs[2]:
            of_weight = _gradients(dy, ddx, None, *links, ctx.group, False, False, bf16)[1]
        return (of_dy, of_x, of_weight, *[None] * 8)

    @staticmethod
    def jvp(ctx: Any, ddy: Any, dx: Any, dweight: Any, *_: Any) -> tuple[torch.Tensor, ...]:
        """The derivatives in a direction."""
        dy, x, weight, indptr, sources = ctx.saved_tensors
        rest = indptr, sources, ctx.n_in, ctx.n_out, ctx.group, False, False, ctx.bf16
        found = [dy.new_zeros(0)] * 3
        if weight is not None:
            found[0] = _sum(
                None if ddy is None else _gradients(ddy, None, weight, *rest)[0],
                None if dweight is None else _gradients(dy, None, dweight, *rest)[0],
            )
        if x is not None:
            found[1] = _sum(
                None if ddy is None else _gradients(ddy, x, None, *rest)[1],
                None if dx is None else _gradients(dy, dx, None, *rest)[1],
            )
        if ctx.bias:
            found[2] = dy.new_zeros(ctx.n_out) if ddy is None else ddy.reshape(-1, ctx.n_out).sum(0)
        return tuple(found)

    @staticmethod
    def vmap(info: Any, in_dims: Any, dy: Any, x: Any, weight: Any, *rest: Any) -> tuple[Any, Any]:
        """Those for inputs of one layer and for biases all at once; for links, one pass after the other."""
        _same_links(in_dims[3:])
        *links, bias, first, bf16 = rest
        n = info.batch_size
        dy = dy.expand(n, *dy.shape) if in_dims[0] is None else dy.movedim(in_dims[0], 0)
        if not n:
            _, sources, n_in, n_out, group = links
            shapes = _shapes(dy.sum(0), x, weight, sources, n_in, n_out, group, bias)
            return tuple(dy.new_zeros(0, *shape) for shape in shapes), (0, 0, 0)
        found, dims = [dy.new_empty(0)] * 3, cast("list[int | None]", [None] * 3)
        if bias:
            found[2], dims[2] = _bias_gradients(dy, links, bf16), 0
        if weight is not None and in_dims[2] is None:
            found[0], dims[0] = _gradients(dy, None, weight, *links, False, False, bf16)[0], 0
            weight = None
        if x is not None or weight is not None:
            each = [_taken((dy, x, weight), (0, *in_dims[1:3]), i) for i in range(n)]
            passes = zip(*(_gradients(*own, *links, False, first, bf16) for own in each), strict=True)
            for i, (asked, parts) in enumerate(zip((weight, x, None), passes, strict=True)):
                if asked is not None:
                    found[i], dims[i] = torch.stack(parts), 0
        return tuple(found), tuple(dims)


def _bias_gradients(dy: torch.Tensor, links: Any, bf16: bool) -> torch.Tensor:
    """Those of stacked ``dy``, made as if they were of one layer with so many times the outputs."""
    *rest, n_out, group = links
    n, samples = len(dy), math.prod(dy.shape[1:-1])
    beside = dy.reshape(n, samples, n_out).movedim(0, 1).reshape(samples, n * n_out)
    return _gradients(beside, None, None, *rest, n * n_out, group, True, False, bf16)[2].view(n, n_out)


def _sum(*parts: torch.Tensor | None) -> torch.Tensor:
    """Of those that are there; at least one is."""
    found = [part for part in parts if part is not None]
    return sum(found[1:], found[0])


for _operator, _function in ((linear, _Linear), (linear_backward, _Backward)):
    _operator.register_autograd(_function.backward, setup_context=_function.setup_context)
    _operator.register_vmap(_function.vmap)


def _same_links(dims: Any) -> None:
    """NotImplementedError for links that vmap has stacked."""
    if any(dim is not None for dim in dims):
        raise NotImplementedError(
            "vmap over the links of sparse layers is not possible: give those of one model, with "
            "in_dims=None for the buffers of torch.func.stack_module_state"
        )


def _taken(tensors: Any, dims: Any, i: int) -> list[Any]:
    """One of each of the tensors that vmap has stacked."""
    pairs = zip(tensors, dims, strict=True)
    return [tensor if dim is None else tensor.select(dim, i) for tensor, dim in pairs]


# --- how much they compute ------------------------------------------------------------------
# A counter of FLOPs gives shapes, so that links which slots hold for outputs that are not there count too.


@register_flop_formula(torch.ops.rewire.linear)
def _(x: Any, weight: Any, *_: Any, **__: Any) -> int:
    return 2 * math.prod(x[:-1]) * math.prod(weight)


@register_flop_formula(torch.ops.rewire.linear_backward)
def _(dy: Any, x: Any, weight: Any, indptr: Any, sources: Any, *sizes: Any, **options: Any) -> int:
    _, _, group, *_ = sizes
    products = (x is not None) + (weight is not None)
    return 2 * products * math.prod(dy[:-1]) * math.prod(sources) * group


# --- autocast -------------------------------------------------------------------------------

_library = library.Library("rewire", "FRAGMENT")


def _autocast(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, indptr: Any, sources: Any, n_in: Any,
    n_out: Any, bf16: bool = False,
) -> torch.Tensor:  # fmt: skip
    """Sums of float32, given in autocast's dtype; float64 stays as it is, as everywhere in torch."""
    lower, links = torch.get_autocast_dtype("cpu"), (indptr, sources, n_in, n_out)
    with torch.autocast("cpu", enabled=False):
        if torch.float64 in (x.dtype, weight.dtype):
            return sparse_linear(x, weight, bias, *links, bf16)
        bias = None if bias is None else bias.float()
        narrow = bf16 or rounds(lower)
        return sparse_linear(x.float(), weight.float(), bias, *links, narrow).to(lower)


_library.impl("linear", _autocast, "AutocastCPU")
