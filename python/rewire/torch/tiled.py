"""A container whose parts hand tiles to each other: layers, activations, dropout, norms, branches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from rewire._checks import describe
from rewire._format import plural
from rewire.torch import _steps
from rewire.torch._chain import bare, entered, run
from rewire.torch._norms import norm_of
from rewire.torch._ops import rounds
from rewire.torch._steps import Step, kind_of
from rewire.torch.branches import Gated, Residual
from rewire.torch.linear import SparseLinear
from rewire.torch.mlp import SparseMLP

__all__ = ["Tiled"]

# What takes each value by itself and has no parameters, and the core does not know.
_POINTWISE = (
    nn.CELU, nn.ELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid,
    nn.Mish, nn.ReLU6, nn.SELU, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
_LAYERS = SparseLinear.forward, SparseMLP.forward
KNOWN = (
    "SparseLinear, SparseMLP, activations of single values, nn.Dropout, norms over the features, "
    "nn.Identity, Residual, Gated, and nn.Sequential of these"
)


class Tiled(nn.Sequential):
    """Modules in a row that hand tiles to each other, the layout of the kernels, and not rows.

    It computes what ``nn.Sequential`` of the same modules computes, to rounding, and has the same state.
    Inputs and outputs are turned over, and nothing in between.

    Parameters
    ----------
    *modules : nn.Module
        :class:`SparseLinear`, :class:`SparseMLP`, activations that take each value by itself (``nn.ReLU``,
        ``nn.GELU``, ``nn.ELU``, ...), ``nn.Dropout``, ``nn.LayerNorm`` and ``nn.RMSNorm`` over the features,
        RMS norms of other packages, which are asked what they compute, ``nn.Identity``, :class:`Residual`,
        :class:`Gated`, and ``nn.Sequential`` of these. Modules are shared, not copied.

    Raises
    ------
    TypeError, ValueError
        For modules that cannot stay in tiles, by name, and for such whose widths do not fit.

    Notes
    -----
    ``nn.Dropout`` draws other numbers than it does alone; they follow ``torch.manual_seed`` all the same.

    Under autocast to bfloat16 products round their operands; sums, and all that is between two products, are
    of float32, and outputs have the dtype that the modules would give.
    Under ``torch.compile``, ``torch.export`` and ``torch.func``, with weights of half precision, and where a
    module has hooks or a norm has weights that are computed from others, the modules are run one by one.

    Examples
    --------
    The feed-forward half of a transformer's block:

    >>> import torch
    >>> from torch import nn
    >>> from rewire.torch import Residual, SparseLinear, Tiled
    >>> half = Tiled(
    ...     Residual(
    ...         nn.LayerNorm(64),
    ...         SparseLinear(64, 256),
    ...         nn.GELU(),
    ...         SparseLinear(256, 64),
    ...         nn.Dropout(0.1),
    ...     )
    ... )
    >>> half(torch.randn(2, 10, 64)).shape
    torch.Size([2, 10, 64])
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__(*modules)
        if not len(self):
            raise ValueError("modules must be one or more, got none")
        _checked(_parts(self), "modules")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (*, features), for inputs of shape (*, features)."""
        found = entered(input)
        if found is None:
            return super().forward(input)
        x, lower = found
        steps: list[Step] = []
        if not _planned(self._modules.values(), x.dtype, steps):
            _checked(_parts(self), "modules")
            return super().forward(input)
        if _fits(steps, x.shape[-1]):
            y = run(x, steps, rounds(lower))
            return y if lower is None else y.to(_steps.autocast_dtype(steps, input.dtype, lower))
        return super().forward(input)  # which says what does not fit


# --- what can be in one -------------------------------------------------------------------------


Parts = Sequence[tuple[str, nn.Module]]  # modules in a row, by their names


def _parts(module: nn.Module) -> Parts:
    return [(name, part) for name, part in module._modules.items() if part is not None]


def _is(part: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a module is of these types, or of one that parametrizations have made of them."""
    return type(part) in kinds or (nn.utils.parametrize.is_parametrized(part) and isinstance(part, kinds))


def _is_row(part: nn.Module) -> bool:
    """Whether a module does nothing but call its parts one after the other."""
    return type(part).forward in (nn.Sequential.forward, Tiled.forward)


def _checked(parts: Parts, where: str, width: int | None = None) -> int | None:
    """The width after modules in a row; TypeError and ValueError for what cannot stay in tiles."""
    for name, part in parts:
        here = f"{where}[{name}]"
        if type(part) is Residual:
            inner = _checked(_parts(part), here, width)
            before = _first_width(_parts(part)) if width is None else width
            if before is not None and inner is not None and inner != before:
                raise ValueError(f"{here} must give as many features as it takes, got {inner} for {before}")
            width = inner
        elif type(part) is Gated:
            before = _first_width(_parts(part)) if width is None else width
            gate, value = (_checked([each], here, before) for each in _parts(part))
            if gate is not None and value is not None and gate != value:
                raise ValueError(f"{here} must have a gate as wide as its value, got {gate} for {value}")
            width = gate
        elif _is_row(part):
            width = _checked(_parts(part), here, width)
        elif type(part).forward in _LAYERS:
            sizes = _widths(part)
            if width is not None and width != sizes[0]:
                raise ValueError(f"{here} takes {plural(sizes[0], 'feature')}, and gets {width}")
            width = sizes[1]
        elif (norm := norm_of(part)) is not None:
            if len(norm.shape) != 1:
                raise ValueError(f"{here} must be over the features alone, got normalized_shape {norm.shape}")
            if width is not None and width != norm.shape[0]:
                raise ValueError(f"{here} takes {plural(norm.shape[0], 'feature')}, and gets {width}")
            width = norm.shape[0]
        elif kind_of(part) is None and not _is(part, nn.Dropout, nn.Identity, *_POINTWISE):
            hint = ": sparsify it first" if isinstance(part, nn.Linear) else ""
            raise TypeError(f"{where} must be {KNOWN}, got {describe(part)} at {name}{hint}")
    return width


def _widths(part: Any) -> tuple[int, int]:
    if isinstance(part, SparseLinear):
        return part.in_features, part.out_features
    return part.layers[0].in_features, part.layers[-1].out_features


def _first_width(parts: Parts) -> int | None:
    """What the first module with a width takes."""
    for _, part in parts:
        if type(part).forward in _LAYERS:
            return _widths(part)[0]
        norm = norm_of(part)
        found = _first_width(_parts(part)) if norm is None else norm.shape[0]
        if found is not None:
            return found
    return None


# --- what a pass is made of ---------------------------------------------------------------------


def _planned(parts: Iterable[nn.Module | None], dtype: torch.dtype, steps: list[Step]) -> bool:
    """Add the steps of modules in a row, with their values of now; False where they are to run one by one."""
    for part in parts:
        if part is None:
            continue
        kind = type(part)
        if not bare(part):
            return False
        if kind.forward is SparseLinear.forward:
            found = part._parts(dtype)
            if found is None:
                return False
            steps.append(_steps.Linear(*found))
        elif kind is nn.Dropout:
            if part.training and part.p > 0.0:
                steps.append(_steps.Dropout(part.p))
        elif kind is Residual:
            steps.append(_steps.Fork())
            if not _planned(part._modules.values(), dtype, steps):
                return False
            steps.append(_steps.Add())
        elif kind is Gated:
            steps.append(_steps.Fork())
            if not _planned([part.gate], dtype, steps):
                return False
            steps.append(_steps.Turn())
            if not _planned([part.value], dtype, steps):
                return False
            steps.append(_steps.Multiply())
        elif _is_row(part):
            if not _planned(part._modules.values(), dtype, steps):
                return False
        elif kind.forward is SparseMLP.forward:
            rows = part._steps_of(dtype)
            if rows is None:
                return False
            steps += rows
        elif kind is nn.Identity:
            continue
        elif (function := kind_of(part)) is not None:
            last = steps[-1] if steps else None
            if type(last) is _steps.Linear and last.kind is _steps.LINEAR:
                last.kind = function
            else:
                steps.append(_steps.Activation(function))
        elif kind in _POINTWISE:
            steps.append(_steps.Pointwise(_out_of_place(part) if getattr(part, "inplace", False) else part))
        elif (norm := norm_of(part)) is not None and not nn.utils.parametrize.is_parametrized(part):
            eps = torch.finfo(dtype).eps if norm.eps is None else norm.eps
            if not eps > 0.0 or len(norm.shape) != 1:
                return False
            if any(
                value is not None
                and not (value.dtype is dtype and value.is_cpu and value.shape == norm.shape)
                for value in (norm.gain, norm.shift)
            ):
                return False
            steps.append(_steps.Norm(norm, eps))
        else:
            return False
    return True


def _out_of_place(module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """What a module computes that would write over its inputs, which others may have to read."""
    return lambda x: module(x.clone())


def _fits(steps: list[Step], width: int) -> bool:
    """Whether steps take inputs of so many features, and fit each other."""
    branches = []
    for step in steps:
        takes, gives = step.widths(width)
        if takes != width:
            return False
        if type(step) is _steps.Fork:
            branches.append(width)
        elif type(step) is _steps.Turn:
            branches[-1], gives = width, branches[-1]
        elif type(step) in (_steps.Add, _steps.Multiply) and branches.pop() != width:
            return False
        width = gives
    return True
