"""From a dense model to a sparse one, in place: which layers become sparse, and how sparse."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from rewire._checks import choice, describe, integer, number, one_of_types
from rewire.connectivity import Connectivity
from rewire.link_counts import erk_links
from rewire.parameters.initial import GROUPS
from rewire.torch._conv1d import SparseConv1D, is_conv1d
from rewire.torch._inherited import inherit, why_not_inherited
from rewire.torch._models import wrappers
from rewire.torch._ops import COMPUTED_IN
from rewire.torch.conv import SparseConv1x1, why_not_1x1
from rewire.torch.linear import SparseLinear

__all__ = ["Kept", "Replaced", "SparsifyReport", "sparsify"]

Densities = float | Mapping[str, float]
Layer: TypeAlias = Any  # nn.Linear, a convolution, or Conv1D of GPT-2


class Replaced(NamedTuple):
    """A layer that has become sparse."""

    name: str
    shape: tuple[int, int]  # (out_features, in_features), or channels
    density: float
    before: int  # weights
    after: int


class Kept(NamedTuple):
    """What was left as it is, and why: a linear layer, a convolution, a matrix of another module."""

    name: str
    shape: tuple[int, ...]  # (out_features, in_features), or channels; of a matrix its own
    why: str


@dataclass
class SparsifyReport:
    """What :func:`sparsify` changed; printed as a table.

    Attributes
    ----------
    replaced : list of Replaced
        Layers that are sparse now: name, shape, density, weights before and after.
    kept : list of Kept
        Linear layers and convolutions that were left alone: name, shape, and why.
    parameters_before, parameters_after : int
        Of the whole model.
    others : list of Kept
        Matrices in modules that are neither, and no embedding, such as ``in_proj_weight`` of
        ``nn.MultiheadAttention`` or the weights of ``nn.LSTM``: name, shape, and of which kind of module.
    """

    replaced: list[Replaced] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    parameters_before: int = 0
    parameters_after: int = 0
    others: list[Kept] = field(default_factory=list)

    def __str__(self) -> str:
        rows = [("layer", "shape", "density", "weights", "now")]
        for name, shape, density, before, after in self.replaced:
            rows.append((name, f"{shape[0]} x {shape[1]}", f"{density:.3g}", f"{before:,}", f"{after:,}"))
        before, after = sum(r.before for r in self.replaced), sum(r.after for r in self.replaced)
        rows.append(("together", "", f"{after / before:.3g}" if before else "", f"{before:,}", f"{after:,}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                word.ljust(width) if i < 2 else word.rjust(width)
                for i, (word, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines += [f"kept dense: {each}" for each in self.reasons()]
        lines.append(f"parameters of the model: {self.parameters_before:,} -> {self.parameters_after:,}")
        return "\n".join(lines)

    def reasons(self) -> list[str]:
        """What is dense, and why; matrices of others together, by kinds of modules."""
        kinds: dict[str, list[Kept]] = {}
        for each in self.others:
            kinds.setdefault(each.why, []).append(each)
        return [f"{name}: {why}" for name, _, why in self.kept] + [
            f"{found[0].name}{f' and {len(found) - 1} more' if found[1:] else ''}: {why} "
            f"({sum(math.prod(each.shape) for each in found):,} weights)"
            for why, found in kinds.items()
        ]


def sparsify(
    model: nn.Module,
    density: Densities = 0.1,
    group: int = 4,
    *,
    skip: Any = (),
    distribution: str = "uniform",
    connectivity: str | Connectivity = "random",
    seed: int | None = None,
) -> SparsifyReport:
    """Put a :class:`SparseLinear` in the place of every ``nn.Linear`` of a model.

    And a :class:`SparseConv1x1` in that of every ``nn.Conv2d`` whose kernel is 1 x 1. ``Conv1D`` of GPT-2, in
    the package transformers and copies of it, is a linear layer here.

    Call it before the optimizer is made, which must get the new parameters.

    Parameters
    ----------
    model : nn.Module
        Changed in place. On the CPU.
    density : float in (0, 1], or dict of str to float
        Of every layer; or by names of layers, as in ``skip``, the first that fits counts and layers that none
        fits stay dense: ``{"blocks.*.mlp.*": 0.05, "blocks.*": 0.2}``.
    group : {1, 2, 4, 8}
        Neighbouring outputs that share one list of inputs: see :class:`SparseLinear`.
    skip : str, type, nn.Module, callable, or several of these
        Layers that stay dense, such as the output head. A word is the name of a layer or of a part that it
        stands in, ``"head"``, ``"encoder.layers.0"``, or a pattern with ``*``; a function of name and module
        says True for those to be left.
    distribution : {"uniform", "erk"}
        ``"erk"``: ``density`` is that of all layers together, and small layers are denser
        (:func:`rewire.erk_links`).
    connectivity : str or Connectivity
        Where links are: ``"random"``, ``"magnitude"`` for a trained model, or others: see
        :meth:`SparseLinear.from_linear`, which also says what becomes of weights.
    seed : int, optional
        For positions that are drawn; by default torch's generator says.

    Returns
    -------
    SparsifyReport
        What changed, and which linear layers were left and why.

    Raises
    ------
    TypeError, ValueError
        For wrong arguments, for a word in ``skip`` or ``density`` that no such layer has, for a model that
        is itself one, or has none that could become sparse. The model is as it was then.

    Notes
    -----
    Left alone, each with its reason: subclasses of ``nn.Linear`` (``nn.MultiheadAttention`` reads the weights
    of its ``out_proj`` directly; lazy, quantized and parametrized layers compute theirs), tied weights or
    biases, layers on other devices or compiled by themselves, convolutions with larger kernels, or with
    channels in groups, and layers in ``DistributedDataParallel`` or FSDP, which go by the old parameters:
    unwrap the model, call this, and wrap it anew. Also layers on which somebody has put what would hide a
    part of a sparse layer, such as another ``forward`` or a buffer ``mask``, or a method bound to them. A
    layer that stands in several places stays one layer. The fast path of ``nn.TransformerEncoderLayer``,
    which would read dense weights, is turned off.

    Flags, dtypes, hooks of modules, and all else that has been put on layers and parameters are kept, but
    for tensors on parameters that have their shape. Hooks of weights and biases are not kept, with a warning
    (those of nodes of the graph cannot be seen): they may be for a matrix, or for an optimizer of the old
    parameters.

    Examples
    --------
    >>> import torch
    >>> from rewire.torch import sparsify
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    >>> print(sparsify(model, density=0.1, skip="2", seed=0))
    layer     shape     density  weights  now
    0         128 x 64      0.1    8,192  820
    together                0.1    8,192  820
    kept dense: 2: skipped
    parameters of the model: 9,610 -> 2,238
    """
    one_of_types("model", model, nn.Module, "an nn.Module")
    if isinstance(model, nn.Linear):
        raise ValueError("model is a linear layer itself: take SparseLinear.from_linear(model)")
    if isinstance(model, nn.Conv2d):
        raise ValueError("model is a convolution itself: take SparseConv1x1.from_conv2d(model)")
    group = choice("group", group, GROUPS)
    choice("distribution", distribution, ("uniform", "erk"))
    seed = (
        int(torch.randint(2**62, (), device="cpu"))
        if seed is None
        else integer("seed", seed, low=0, high=2**63 - 1)
    )
    occurrences = _occurrences(model)
    every = [name for _, name, _ in occurrences]
    names: dict[int, list[str]] = {}  # all of a layer, which goes by the first
    parents: dict[int, list[nn.Module]] = {}
    for linear, name, parent in occurrences:
        names.setdefault(id(linear), []).append(name)
        parents.setdefault(id(linear), []).append(parent)
    wanted = _densities(density, every, distribution)
    report = SparsifyReport(parameters_before=_count(model), others=_others(model))
    skips = _skips(skip, every + [other.name for other in report.others])
    shared, wrapped = _shared(model), wrappers(model)
    chosen: dict[int, tuple[Layer, float]] = {}
    for linear, name, _ in occurrences:
        own, own_parents = names[id(linear)], parents[id(linear)]
        if name != own[0]:
            continue
        found = next((value for value in map(wanted, own) if value is not None), None)
        why = (
            "skipped"
            if any(fits(each, linear) for fits in skips for each in own)
            else next(filter(None, (_unfit(linear, each, shared, wrapped) for each in own_parents)), None)
            or (None if found is not None else "density names no value for it")
        )
        if why is not None:
            report.kept.append(Kept(name, _shape(linear), why))
        else:
            chosen[id(linear)] = linear, found or 0.0
    if not chosen:
        already = any(isinstance(module, SparseLinear) for module in model.modules())
        raise ValueError(
            "model must have an nn.Linear, or an nn.Conv2d of 1 x 1, that can become sparse, got "
            + ("; ".join(report.reasons()) or "none at all")
            + (" (it has been made sparse already)" if already else "")
        )
    made: dict[int, SparseLinear] = {}
    for number_, (key, sizes) in enumerate(_sizes(chosen, distribution, density, group).items()):
        linear = chosen[key][0]
        sparse = _sparse_form(linear)._from_dense(
            linear.weight, linear.bias, (seed, number_), connectivity=connectivity, group=group, **sizes
        )
        n_out, n_in = _shape(linear)
        if sparse.nnz == 0:
            raise ValueError(
                f"density must leave every layer links, got {density!r}, by which {names[key][0]} "
                f"({n_out} x {n_in}) has none: give it {1 / n_in:.3g} (one for each output) or more by its "
                "name, or skip it"
            )
        made[key] = sparse
        before = linear.weight.numel()
        report.replaced.append(Replaced(names[key][0], (n_out, n_in), sparse.density, before, sparse.nnz))
    inherit({names[key][0]: (made[key], linear) for key, (linear, _) in chosen.items()})
    for linear, name, parent in occurrences:
        if id(linear) in made:
            owner = made.get(id(parent), parent)  # a layer can have others in it
            setattr(owner, name.rpartition(".")[2], made[id(linear)])
            if isinstance(parent, nn.TransformerEncoderLayer):
                parent.activation_relu_or_gelu = 0  # no fast path
                for encoder in model.modules():
                    if isinstance(encoder, nn.TransformerEncoder) and parent in encoder.layers:
                        encoder.use_nested_tensor = False
    report.parameters_after = _count(model)
    return report


def _occurrences(model: nn.Module) -> list[tuple[Layer, str, nn.Module]]:
    """Every linear layer and convolution with each of its names and the module that it stands in."""
    found = []
    for prefix, parent in model.named_modules(remove_duplicate=False):
        for name, child in parent._modules.items():  # named_children leaves out a second place
            if isinstance(child, nn.Linear | _ConvNd) or is_conv1d(child):
                found.append((child, f"{prefix}.{name}" if prefix else name, parent))
    return found


def _sparse_form(layer: Layer) -> type[SparseLinear]:
    if isinstance(layer, nn.Conv2d):
        return SparseConv1x1
    return SparseConv1D if is_conv1d(layer) else SparseLinear


def _shape(layer: Layer) -> tuple[int, int]:
    if is_conv1d(layer):
        return layer.weight.shape[1], layer.weight.shape[0]
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    return layer.out_channels, layer.in_channels


def _count(model: nn.Module) -> int:
    lazy = nn.parameter.UninitializedParameter
    return sum(p.numel() for p in model.parameters() if not isinstance(p, lazy))


def _others(model: nn.Module) -> list[Kept]:
    """Matrices that belong to no linear layer, convolution or embedding."""
    known = (
        nn.Linear, _ConvNd, SparseLinear, nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm,
        nn.modules.lazy.LazyModuleMixin,
    )  # fmt: skip
    theirs = {
        id(p)
        for module in model.modules()
        if isinstance(module, known) or is_conv1d(module)
        for p in module.parameters()
    }
    found = []
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            lazy = isinstance(parameter, nn.parameter.UninitializedParameter)
            if not lazy and id(parameter) not in theirs and sum(size > 1 for size in parameter.shape) > 1:
                why = f"of {type(module).__name__}, which is no nn.Linear"
                found.append(Kept(f"{prefix}.{name}" if prefix else name, tuple(parameter.shape), why))
    return found


def _shared(model: nn.Module) -> dict[int, list[str]]:
    """The names of every parameter that has several, by the parameter."""
    found: dict[int, list[str]] = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            found.setdefault(id(parameter), []).append(f"{prefix}.{name}" if prefix else name)
    return {key: names for key, names in found.items() if len(names) > 1}


def _unfit(
    linear: Layer, parent: nn.Module, shared: Mapping[int, list[str]], wrapped: Mapping[int, str]
) -> str | None:
    """Why a layer cannot become sparse; None if it can."""
    if id(linear) in wrapped:
        return f"in {wrapped[id(linear)]}, which goes by the old parameters: sparsify first, then wrap"
    if not isinstance(linear, nn.Linear | nn.Conv2d) and not is_conv1d(linear):
        return (
            f"it is of type {type(linear).__name__}: of convolutions only those of images can become sparse"
        )
    if isinstance(linear, nn.Conv2d) and (why := why_not_1x1(linear)) is not None:
        return why
    if isinstance(parent, nn.MultiheadAttention):
        return "nn.MultiheadAttention reads its weights directly"
    if hasattr(parent, "_orig_mod") or linear._compiled_call_impl is not None:
        return "compiled by itself: call torch.compile after sparsify"
    if isinstance(linear, nn.modules.lazy.LazyModuleMixin):
        return "lazy: run a batch through the model first"
    if nn.utils.parametrize.is_parametrized(linear):
        return "parametrized: its weights are computed from others"
    kind = nn.Conv2d if isinstance(linear, nn.Conv2d) else nn.Linear
    if type(linear) is not kind and not is_conv1d(linear):
        return f"a subclass of nn.{kind.__name__}: {type(linear).__module__}.{type(linear).__qualname__}"
    if not {"weight", "bias"} <= linear._parameters.keys():
        return "its weights are computed from others (pruning, weight norm)"
    for which, parameter in (("weights", linear.weight), ("bias", linear.bias)):
        if id(parameter) in shared:
            return f"tied {which}: {' and '.join(shared[id(parameter)])}"
    if type(linear.weight.data) is not torch.Tensor:
        return f"weights in a {type(linear.weight.data).__name__}, which is no plain tensor"
    if linear.weight.device.type != "cpu" or linear.weight.dtype not in COMPUTED_IN:
        return f"weights of {str(linear.weight.dtype)[6:]} on {linear.weight.device}"
    return why_not_inherited(linear)


# --- which ones, and how sparse -------------------------------------------------------------


def _fits(word: str, name: str) -> bool:
    """Whether a word is a layer's name, a pattern of it, or the name of a part that it stands in."""
    if any(letter in word for letter in "*?["):
        return fnmatch.fnmatchcase(name, word)
    return f".{word}." in f".{name}."


def _known(argument: str, word: str, names: list[str]) -> str:
    if not any(_fits(word, name) for name in names):
        known = ", ".join(names) or "there are none"
        raise ValueError(f"{argument} must name linear layers or convolutions ({known}), got {word!r}")
    return word


def _skips(skip: Any, names: list[str]) -> list[Callable[[str, nn.Module], bool]]:
    """Functions of name and module, one for each of what is to be skipped."""
    single = isinstance(skip, str | type | nn.Module) or not isinstance(skip, Iterable)
    found: list[Callable[[str, nn.Module], bool]] = []
    for each in [skip] if single else skip:
        if isinstance(each, str):
            word = _known("skip", each, names)
            found.append(lambda name, module, word=word: _fits(word, name))  # type: ignore[misc]
        elif isinstance(each, type):
            found.append(lambda name, module, kind=each: isinstance(module, kind))  # type: ignore[misc]
        elif isinstance(each, nn.Module):
            inside = {id(module) for module in each.modules()}
            found.append(lambda name, module, inside=inside: id(module) in inside)  # type: ignore[misc]
        elif callable(each):
            found.append(each)
        else:
            raise TypeError(f"skip must be names, types, modules or functions, got {describe(each)}")
    return found


def _densities(density: Any, names: list[str], distribution: str) -> Callable[[str], float | None]:
    """The density of a layer by its name; None for one that is to stay dense."""
    if isinstance(density, Mapping):
        if distribution == "erk":
            raise ValueError('density must be a number with distribution="erk", got densities by name')
        each = {
            _known("density", word, names): number(
                f"density[{word!r}]", value, low=0.0, high=1.0, open_low=True
            )
            for word, value in density.items()
        }
        return lambda name: next((value for word, value in each.items() if _fits(word, name)), None)
    value = number("density", density, low=0.0, high=1.0, open_low=True)
    return lambda name: value


def _sizes(
    chosen: Mapping[int, tuple[Layer, float]], distribution: str, density: Any, group: int
) -> dict[int, dict[str, Any]]:
    """How many links each layer gets, as an argument of `SparseLinear`."""
    if distribution == "uniform":
        return {key: {"density": value} for key, (_, value) in chosen.items()}
    shapes = [_shape(linear)[::-1] for linear, _ in chosen.values()]
    counts = erk_links(shapes, density, group=group)
    return {key: {"links": count} for key, count in zip(chosen, counts, strict=True)}
