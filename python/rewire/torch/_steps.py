"""What can be done to activations in tiles, forward and backward: the steps of a pass.

A step is made for one pass. It has the values that it computes with by their place in a list, keeps what its
backward pass needs in the pass, and can do the same to rows of PyTorch for derivatives of higher order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from rewire import _core
from rewire.torch import _kernels
from rewire.torch._kernels import Held, taken
from rewire.torch._norms import Norm as NormTerms
from rewire.torch._ops import NAMES, sparse_linear
from rewire.torch._structures import Structure

__all__ = [
    "Activation", "Add", "Dropout", "Fork", "KINDS", "Kind", "LINEAR", "Linear", "Multiply", "Norm", "Pass",
    "Pointwise", "Step", "Turn", "autocast_dtype", "kind_of", "leaky",
]  # fmt: skip

Values = Sequence[Any]
BLOCK = 1 << 15  # values below which torch wakes no other thread


class Kind(NamedTuple):
    """An activation: its name in the core, and in torch."""

    code: str
    slope: float
    needs_z: bool  # as in `Bound`
    function: Callable[[torch.Tensor], torch.Tensor]


def leaky(slope: float) -> Kind:
    """A leaky ReLU. The core asks outputs on which side they were, so the slope is positive."""
    return Kind("leaky", slope, False, lambda x: F.leaky_relu(x, slope))


LINEAR = Kind("linear", 0.0, False, lambda x: x)
KINDS = {
    "relu": Kind("relu", 0.0, False, F.relu),
    "leaky_relu": leaky(0.01),
    "gelu": Kind("gelu", 0.0, True, F.gelu),
    "gelu_tanh": Kind("gelu_tanh", 0.0, True, lambda x: F.gelu(x, approximate="tanh")),
    "silu": Kind("silu", 0.0, True, F.silu),
    "tanh": Kind("tanh", 0.0, False, torch.tanh),
    "sigmoid": Kind("sigmoid", 0.0, False, torch.sigmoid),
}


def autocast_dtype(steps: Sequence[Step], x: torch.dtype, lower: torch.dtype) -> torch.dtype:
    """That of the outputs that the modules would give one by one."""
    branches: list[torch.dtype] = []
    for step in steps:
        x = step.dtype(x, lower, branches)
    return x


_NAMES: dict[type[nn.Module], str] = {
    nn.ReLU: "relu", nn.SiLU: "silu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid",
}  # fmt: skip


def kind_of(module: nn.Module) -> Kind | None:
    """The core's activation for a module; None where it has none."""
    kind = type(module)
    if kind is nn.GELU:
        return KINDS["gelu" if module.approximate == "none" else "gelu_tanh"]
    if kind is nn.LeakyReLU and module.negative_slope > 0.0:
        return leaky(float(module.negative_slope))
    return KINDS[_NAMES[kind]] if kind in _NAMES else None


class Pass:
    """A forward pass, and what it leaves for its backward pass.

    Attributes
    ----------
    dtype : str
    bf16 : bool
        Whether products round their operands to bfloat16.
    threads : int
    learns : bool
        Whether there will be a backward pass.
    kept : list of Held or Tensor
        What that needs; tensors, and tiles, which become some.
    branches : list of Held or Tensor
        What is to be added or multiplied where a branch ends, the innermost last: what it began with, or
        what the first of two gave. On the way back, gradients of these.
    """

    __slots__ = ("bf16", "branches", "dtype", "kept", "learns", "threads")

    def __init__(self, dtype: torch.dtype, bf16: bool, threads: int, learns: bool) -> None:
        self.dtype, self.bf16, self.threads, self.learns = NAMES[dtype], bf16, threads, learns
        self.kept: list[Any] = []
        self.branches: list[Any] = []

    def keep(self, held: Any) -> int:
        """Let the backward pass have a tensor, or tiles, which nobody then writes to; under this number."""
        if isinstance(held, Held):
            held.shared = True
            if self.kept and self.kept[-1] is held:  # outputs of an activation, which a layer takes in
                return len(self.kept) - 1
        self.kept.append(held)
        return len(self.kept) - 1

    def own(self, held: Held) -> Held:
        """Tiles with these values that may be written to."""
        if not held.shared:
            return held
        copy = taken(held)
        copy.tensor().copy_(held.tensor())
        return copy


class Step:
    """One step of a pass; without values of its own unless it says so."""

    __slots__ = ("first",)
    values: tuple[torch.Tensor | None, ...] = ()  # parameters
    work = 0  # multiply-adds a sample, roughly

    def __init__(self) -> None:
        self.first = 0  # where its values begin

    def forward(self, run: Pass, x: Held, given: Values) -> Held:
        """The tiles that come of these."""
        raise NotImplementedError

    def backward(self, run: Pass, d: Held, given: Values, needs: Values, more: bool, found: list[Any]) -> Any:
        """The gradient of its inputs, if ``more``, from that of its outputs; of values, into ``found``."""
        raise NotImplementedError

    def plain(self, run: Pass, x: torch.Tensor, given: Values) -> torch.Tensor:
        """The same on rows, by operators of torch, which can be differentiated again."""
        raise NotImplementedError

    def widths(self, width: int) -> tuple[int, int]:
        """How many features it takes and gives, after a step that gives so many."""
        return width, width

    def dtype(self, x: torch.dtype, lower: torch.dtype, branches: list[torch.dtype]) -> torch.dtype:
        """Of its outputs, by that of its inputs, under autocast to ``lower``."""
        return x


class Linear(Step):
    """f(x W' + b)."""

    __slots__ = ("inner", "kind", "mark", "structure", "values", "version", "work", "x")

    def __init__(
        self, structure: Structure, weight: torch.Tensor, bias: torch.Tensor | None, kind: Kind = LINEAR
    ) -> None:
        super().__init__()
        self.structure, self.kind, self.values = structure, kind, (weight, bias)
        self.work = weight.numel()
        self.x = self.inner = -1

    def forward(self, run: Pass, x: Held, given: Values) -> Held:
        structure, kind, weight = self.structure, self.kind, given[self.first]
        y = taken(x, structure.n_out)
        z = taken(y) if kind.needs_z and run.learns else None
        with structure.lock:
            store, self.mark = structure.filled(run.dtype, weight)
            bias = structure.padded(run.dtype, given[self.first + 1])
            _kernels.forward(
                store, x.tiles, bias, y.tiles, run.threads, run.bf16, code=kind.code, slope=kind.slope,
                z=None if z is None else z.tiles,
            )  # fmt: skip
        if run.learns:
            self.version = structure.version()
            if weight.requires_grad:
                self.x = run.keep(x)
            if z is not None:
                self.inner = run.keep(z)
            elif kind is not LINEAR:
                self.inner = run.keep(y)
        return y

    def backward(self, run: Pass, d: Held, given: Values, needs: Values, more: bool, found: list[Any]) -> Any:
        structure, kind, at = self.structure, self.kind, self.first
        if kind is not LINEAR:
            d = run.own(d)
            _core.activate_back(kind.code, kind.slope, run.kept[self.inner].tiles, d.tiles, run.threads)
        with structure.lock:
            if more:
                store = structure.again(run.dtype, given[at], self.mark)
                structure.ready_mirror(store, d.tiles.batch, run.threads)
            else:
                store = structure.store(run.dtype)
            x = run.kept[self.x] if needs[at] else None
            dx, dw, db = _kernels.gradients(
                store, x, d, run.threads, inputs=more, bias=needs[at + 1], bf16=run.bf16
            )
            if structure.watched and x is not None:
                structure.show(_kernels.copied(x.tiles, d.tiles))
        if dw is not None:
            found[at] = torch.from_numpy(dw)
        if db is not None:
            found[at + 1] = torch.from_numpy(db)
        return dx

    def plain(self, run: Pass, x: torch.Tensor, given: Values) -> torch.Tensor:
        structure = self.structure
        links = *structure.tensors, structure.n_in, structure.n_out, run.bf16
        return self.kind.function(sparse_linear(x, given[self.first], given[self.first + 1], *links))

    def widths(self, width: int) -> tuple[int, int]:
        return self.structure.n_in, self.structure.n_out

    def dtype(self, x: torch.dtype, lower: torch.dtype, branches: list[torch.dtype]) -> torch.dtype:
        return lower


class Activation(Step):
    """f(x), of the functions that the core knows."""

    __slots__ = ("inner", "kind")

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, run: Pass, x: Held, given: Values) -> Held:
        y, kind = run.own(x), self.kind
        z = taken(y) if kind.needs_z and run.learns else None
        _core.activate(None, kind.code, kind.slope, y.tiles, None if z is None else z.tiles, run.threads)
        if run.learns:
            self.inner = run.keep(y if z is None else z)
        return y

    def backward(self, run: Pass, d: Held, given: Values, needs: Values, more: bool, found: list[Any]) -> Any:
        d = run.own(d)
        kept = run.kept[self.inner].tiles
        _core.activate_back(self.kind.code, self.kind.slope, kept, d.tiles, run.threads)
        return d

    def plain(self, run: Pass, x: torch.Tensor, given: Values) -> torch.Tensor:
        return self.kind.function(x)


class Pointwise(Step):
    """f(x), of other functions that take each value by itself and have no parameters: by torch, in tiles."""

    __slots__ = ("function", "inner")

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, run: Pass, x: Held, given: Values) -> Held:
        y = taken(x)
        for of, to in _parts(x, y):
            to.copy_(self.function(of))
        y.tiles.clear_padding()
        if run.learns:
            self.inner = run.keep(x)
        return y

    def backward(self, run: Pass, d: Held, given: Values, needs: Values, more: bool, found: list[Any]) -> Any:
        dx = taken(d)
        for x, dy, to in _parts(run.kept[self.inner], d, dx):
            with torch.enable_grad():
                dz = torch.autograd.grad(self.function(x.requires_grad_()), x, dy)[0]
            to.copy_(dz)
        dx.tiles.clear_padding()
        return dx

    def plain(self, run: Pass, x: torch.Tensor, given: Values) -> torch.Tensor:
        return self.function(x)


def _parts(*tiles: Held) -> Iterator[tuple[torch.Tensor, ...]]:
    """All values, in parts that torch can only cut between threads at whole blocks.

    Its functions round the last few values of a cut otherwise than those before them. In blocks the bits are
    the same for any number of threads.
    """
    flat = [each.flat() for each in tiles]
    blocks, threads = len(flat[0]) // BLOCK, torch.get_num_threads()
    begin = 0
    for end in ((blocks - blocks % threads) * BLOCK, blocks * BLOCK, len(flat[0])):
        if end > begin:
            yield tuple(values[begin:end] for values in flat)
        begin = end


class Dropout(Step):
    """x times 0 or 1 / (1 - p), p to 16 bits. The draws are named by a number of torch's generator."""

    __slots__ = ("p", "seed")

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p, self.seed = p, 0

    def _drop(self, x: Held, threads: int) -> None:
        if self.p < 1.0:
            _core.dropout(x.tiles, x.tiles, self.p, self.seed, 0, 0, threads)
        else:
            x.tiles.zero()

    def forward(self, run: Pass, x: Held, given: Values) -> Held:
        self.seed = int(torch.randint(2**62, (), device="cpu"))
        y = run.own(x)
        self._drop(y, run.threads)
        return y

    def backward(self, run: Pass, d: Held, given: Values, needs: Values, more: bool, found: list[Any]) -> Any:
        d = run.own(d)
        self._drop(d, run.threads)
        return d

    def plain(self, run: Pass, x: torch.Tensor, given: Values) -> torch.Tensor:
        ones = x.new_ones((x.numel() // x.shape[-1], x.shape[-1]))
        factor = _kernels.packed(ones.numpy(), run.threads)
        self._drop(factor, run.threads)
        return x * torch.from_numpy(_kernels.unpacked(factor, run.threads)).view(x.shape)


class Norm(Step):
    """Layer normalization over all features, or by their root mean square."""

    __slots__ = ("eps", "inverse", "n", "norm", "values", "z")

    def __init__(self, norm: NormTerms, eps: float) -> None:
        super().__init__()
        self.norm, self.n, self.eps, self.values = norm, norm.shape[0], eps, (norm.gain, norm.shift)

    def widths(self, width: int) -> tuple[int, int]:
        return self.n, self.n

    def _gain(self, run: Pass, n: int, gain: torch.Tensor | None) -> Any:
        padded = _core.aligned_zeros((n + 7) // 8 * 8, run.dtype)
        padded[:n] = 1.0 if gain is None else gain.detach().resolve_neg().numpy()
        return padded

    def forward(self, run: Pass, x: Held, given: Values) -> Held:
        tiles, n = x.tiles, x.tiles.n
        gain, shift = self._gain(run, n, given[self.first]), _core.aligned_zeros((n + 7) // 8 * 8, run.dtype)
        if given[self.first + 1] is not None:
            shift[:n] = given[self.first + 1].detach().resolve_neg().numpy()
        y, z = taken(x), taken(x)
        inverse = torch.empty(tiles.n_tiles * tiles.tile, dtype=getattr(torch, run.dtype), device="cpu")
        _core.layer_norm(
            tiles, gain, shift, self.eps, z.tiles, inverse.numpy(), y.tiles, run.threads, self.norm.centered
        )  # fmt: skip
        if run.learns:
            self.z, self.inverse = run.keep(z), run.keep(inverse)
        return y

    def backward(self, run: Pass, d: Held, given: Values, needs: Values, more: bool, found: list[Any]) -> Any:
        z, n, at = run.kept[self.z], d.tiles.n, self.first
        if needs[at] or needs[at + 1]:
            sums = [_core.aligned_zeros((n + 7) // 8 * 8, run.dtype) for _ in range(2)]
            _core.norm_gradient(z.tiles, d.tiles, sums[0], sums[1], run.threads)
            for i in range(2):
                if needs[at + i]:
                    found[at + i] = torch.from_numpy(sums[i][:n])
        if not more:
            return None
        d, inverse = run.own(d), run.kept[self.inverse].numpy()
        gain = self._gain(run, n, given[at])
        _core.layer_norm_back(z.tiles, inverse, gain, d.tiles, d.tiles, run.threads, self.norm.centered)
        return d

    def plain(self, run: Pass, x: torch.Tensor, given: Values) -> torch.Tensor:
        gain, shift = given[self.first], given[self.first + 1]
        if not self.norm.centered:
            return F.rms_norm(x, x.shape[-1:], gain, self.eps)
        return F.layer_norm(x, x.shape[-1:], gain, shift, self.eps)

    def dtype(self, x: torch.dtype, lower: torch.dtype, branches: list[torch.dtype]) -> torch.dtype:
        gain = self.norm.gain
        return torch.promote_types(x, gain.dtype) if self.norm.widens and gain is not None else x


class Fork(Step):
    """Where a branch begins: x goes on, and is there again later."""

    __slots__ = ()

    def forward(self, run: Pass, x: Held, given: Values) -> Held:
        x.shared = True
        run.branches.append(x)
        return x

    def backward(self, run: Pass, d: Held, given: Values, needs: Values, more: bool, found: list[Any]) -> Any:
        skip = run.branches.pop()
        out = d if not d.shared else taken(d)
        torch.add(d.tensor(), skip.tensor(), out=out.tensor())
        return out

    def plain(self, run: Pass, x: torch.Tensor, given: Values) -> torch.Tensor:
        run.branches.append(x)
        return x

    def dtype(self, x: torch.dtype, lower: torch.dtype, branches: list[torch.dtype]) -> torch.dtype:
        branches.append(x)
        return x


class Add(Step):
    """Where a residual branch ends."""

    __slots__ = ()

    def forward(self, run: Pass, x: Held, given: Values) -> Held:
        before = run.branches.pop()
        y = x if not x.shared else taken(x)
        torch.add(x.tensor(), before.tensor(), out=y.tensor())
        return y

    def backward(self, run: Pass, d: Held, given: Values, needs: Values, more: bool, found: list[Any]) -> Any:
        d.shared = True
        run.branches.append(d)
        return d

    def plain(self, run: Pass, x: torch.Tensor, given: Values) -> torch.Tensor:
        return x + run.branches.pop()

    def dtype(self, x: torch.dtype, lower: torch.dtype, branches: list[torch.dtype]) -> torch.dtype:
        return torch.promote_types(branches.pop(), x)


class Turn(Step):
    """Where the first of two branches ends and the second begins, with the same x."""

    __slots__ = ()

    def forward(self, run: Pass, x: Held, given: Values) -> Held:
        before = run.branches.pop()
        run.branches.append(x)
        return before

    def backward(self, run: Pass, d: Held, given: Values, needs: Values, more: bool, found: list[Any]) -> Any:
        of_first = run.branches.pop()
        d.shared = True
        run.branches.append(d)
        return of_first

    def plain(self, run: Pass, x: torch.Tensor, given: Values) -> torch.Tensor:
        before = run.branches.pop()
        run.branches.append(x)
        return before

    def dtype(self, x: torch.dtype, lower: torch.dtype, branches: list[torch.dtype]) -> torch.dtype:
        before = branches.pop()
        branches.append(x)
        return before


class Multiply(Step):
    """Where both end, in their product."""

    __slots__ = ("factors",)

    def forward(self, run: Pass, x: Held, given: Values) -> Held:
        first = run.branches.pop()
        if run.learns:
            self.factors = run.keep(first), run.keep(x)
        y = x if not x.shared else taken(x)
        torch.mul(first.tensor(), x.tensor(), out=y.tensor())
        return y

    def backward(self, run: Pass, d: Held, given: Values, needs: Values, more: bool, found: list[Any]) -> Any:
        first, second = (run.kept[factor] for factor in self.factors)
        of_first, of_second = taken(d), taken(d)
        torch.mul(d.tensor(), second.tensor(), out=of_first.tensor())
        torch.mul(d.tensor(), first.tensor(), out=of_second.tensor())
        run.branches.append(of_first)
        return of_second

    def plain(self, run: Pass, x: torch.Tensor, given: Values) -> torch.Tensor:
        return run.branches.pop() * x

    def dtype(self, x: torch.dtype, lower: torch.dtype, branches: list[torch.dtype]) -> torch.dtype:
        return torch.promote_types(branches.pop(), x)
