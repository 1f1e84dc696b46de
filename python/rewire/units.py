"""Hidden units by name that take a layer of their own: what stands between matrices of weights.

Most activations are computed by the layer with the weights before them. Those that have parameters, or
another width, are layers; here they get a name that `rewire.presets.mlp_layers`, the estimators, the command
line and comparisons take in an activation's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import ClassVar

from rewire._record import record
from rewire.activations import KINDS, Activation, Bound
from rewire.layers import KWinners, Layer, PReLU, SReLU, SwitchNet4, TwoSided

__all__ = [
    "KWinnersUnit", "PReLUUnit", "SReLUUnit", "SwitchNet4Unit", "TwoSidedUnit", "TwoSidedWinnersUnit", "Unit",
    "hidden_names",
]  # fmt: skip


@record
class Unit(Activation):
    """Base of hidden units that are layers."""

    def layer(self) -> Layer:
        """A new layer to stand after the one with the weights."""
        raise NotImplementedError

    def bind(self, depth: int | None) -> Bound:
        made = type(self.layer()).__name__
        raise ValueError(
            f"activation must not be {self.name!r} in a layer with weights: it is a layer of its own; "
            f"put rewire.{made}() after one without an activation"
        )


@record
class SReLUUnit(Unit):
    """:class:`rewire.SReLU`."""

    start: str = "all-relu"
    slope: float = 0.6
    name: ClassVar[str] = "srelu"

    def __post_init__(self) -> None:
        self.layer()  # checks the arguments

    def layer(self) -> Layer:
        return SReLU(self.start, slope=self.slope)


@record
class PReLUUnit(Unit):
    """:class:`rewire.PReLU`."""

    start: float | str = 0.25
    name: ClassVar[str] = "prelu"

    def __post_init__(self) -> None:
        self.layer()

    def layer(self) -> Layer:
        return PReLU(self.start)


@record
class TwoSidedUnit(Unit):
    """:class:`rewire.TwoSided`."""

    name: ClassVar[str] = "two-sided"
    outputs_a_neuron: ClassVar[int] = 2

    def layer(self) -> Layer:
        return TwoSided()


@record
class KWinnersUnit(Unit):
    """:class:`rewire.KWinners`."""

    fraction: float | None = None
    k: int | None = None
    k_inference_factor: float = 1.5
    boost: float = 1.5
    boost_factor: float = 0.85
    duty_cycle_period: int = 1000
    name: ClassVar[str] = "k-winners"

    def __post_init__(self) -> None:
        self.layer()

    def layer(self) -> Layer:
        return KWinners(**asdict(self), two_sided=self.outputs_a_neuron == 2)


@record
class TwoSidedWinnersUnit(KWinnersUnit):
    """:class:`rewire.KWinners` of the largest and of the smallest values."""

    name: ClassVar[str] = "two-sided-winners"
    outputs_a_neuron: ClassVar[int] = 2


@record
class SwitchNet4Unit(Unit):
    """:class:`rewire.SwitchNet4`, with a layer of switches for every hidden layer; these are equally wide."""

    block: int = 4
    mix: str = "wht"
    flip: bool = True
    start: str = "he"
    skip: bool = False
    name: ClassVar[str] = "switchnet4"

    def __post_init__(self) -> None:
        self.layer()

    def layer(self) -> SwitchNet4:
        return self._made()

    def _made(
        self, n_in: int | None = None, width: int | None = None, depth: int = 1, dropout: float = 0.0
    ) -> SwitchNet4:
        return SwitchNet4(
            n_in, width=width, depth=depth, block=self.block, mix=self.mix, flip=self.flip, start=self.start,
            skip=self.skip, dropout=dropout,
        )  # fmt: skip

    def body(self, sizes: Sequence[int], dropout: float) -> list[Layer]:
        first, *hidden = sizes
        if not hidden:
            return []
        if len({*hidden}) > 1 or hidden[0] < first:
            raise ValueError(
                f"hidden layers of switchnet4 must be equally wide, and at least as wide as the {first} "
                f"inputs, got {hidden}"
            )
        if hidden[0] % self.block:
            raise ValueError(
                f"hidden layers of switchnet4 must have widths that are multiples of block {self.block}, "
                f"got {hidden}"
            )
        return [self._made(first, hidden[0], len(hidden), dropout)]

    def width(self, wanted: int, n_in: int) -> int:
        least = -(-n_in // self.block)
        return self.block * max(least, wanted // self.block)


def hidden_names() -> list[str]:
    """The names of what may stand between matrices of weights: units, and activations of hidden layers."""
    return [name for name in KINDS.names() if KINDS.named(name).hidden]


for _kind in (SReLUUnit, PReLUUnit, TwoSidedUnit, KWinnersUnit, TwoSidedWinnersUnit, SwitchNet4Unit):
    KINDS.register(_kind)
