"""SwitchNet4: layers of small blocks of two-sided switches, joined by fast transforms."""

from __future__ import annotations

from rewire._checks import MAX_NEURONS, boolean, integer, number
from rewire.layers.base import Layer, register_layer
from rewire.layers.dropout import Dropout
from rewire.layers.mix import Mix
from rewire.layers.row import Row
from rewire.layers.switches import Switches

__all__ = ["SwitchNet4"]


@register_layer
class SwitchNet4(Row):
    """Random signs, a transform, and ``depth`` times: blocks of two-sided switches, a transform.

    A transform mixes all values without weights, so blocks of four values with their 8 weights an output are
    all that is trained: 2 * block * width * depth weights. What reads out the result is a layer of its own.

    Parameters
    ----------
    n_in : int, optional
        Only needed if the layer is the first.
    width : int, optional
        Values within, a multiple of ``block`` and at least as many as inputs, which zeros follow. By default
        the power of two that holds the inputs.
    depth : int >= 1
        Layers of switches.
    block : {1, 2, 4, 8}
        See `Switches`.
    mix : {"wht", "dct", "hartley", "permutation"}
        See `Mix`.
    flip : bool
        Whether inputs get random signs.
    start : {"he", "identity"}
        Of the switches.
    skip : bool
        Whether the transforms after switches leave out the stages within a block, which these have mixed
        already; for ``mix="wht"``.
    dropout : float in [0, 1)
        After every layer of switches, while training.

    Attributes
    ----------
    layers : list of Layer
        What it is made of.

    Notes
    -----
    S. O'Connor, *Switch Net 4* (blog, 2023; Numenta forum, topic 10747). Gradients here are exact; the
    published code multiplies by signs of slopes instead. Neurons inside are not removed, and rewiring leaves
    the blocks as they are.

    Examples
    --------
    >>> import rewire as rw
    >>> net = rw.Sequential([rw.SwitchNet4(64, depth=2), rw.Dense(64, 10, activation="softmax")])
    >>> net.layers[0].nnz
    1024
    """

    def __init__(
        self,
        n_in: int | None = None,
        *,
        width: int | None = None,
        depth: int = 3,
        block: int = 4,
        mix: str = "wht",
        flip: bool = True,
        start: str = "he",
        skip: bool = False,
        dropout: float = 0.0,
    ) -> None:
        self.width = None if width is None else integer("width", width, low=1, high=MAX_NEURONS)
        self.depth = integer("depth", depth, low=1)
        self.dropout = number("dropout", dropout, low=0.0, high=1.0, open_high=True)
        self.skip = boolean("skip", skip)
        first = Mix(mix, n_in, width=self.width, flip=flip)
        layers: list[Layer] = [first]
        for _ in range(self.depth):
            layers.append(switches := Switches(block, start=start))
            if self.dropout > 0.0:
                layers.append(Dropout(self.dropout))
            layers.append(Mix(mix, skip=switches.block.bit_length() - 1 if self.skip else 0))
        super().__init__(layers)
        self.block, self.mix, self.flip, self.start_weights = switches.block, first.mix, first.flip, start
        if self.width is not None and self.width % self.block:
            raise ValueError(f"width must be a multiple of block {self.block}, got {self.width}")

    def connect(self, n_in: int) -> None:
        if self.width is None:
            self.layers[0].width = max(1 << (n_in - 1).bit_length(), self.block)  # type: ignore[attr-defined]
        super().connect(n_in)

    def config(self) -> dict[str, object]:
        return {
            "type": "SwitchNet4", "n_in": self.n_in or None, "width": self.width, "depth": self.depth,
            "block": self.block, "mix": self.mix, "flip": self.flip, "start": self.start_weights,
            "skip": self.skip, "dropout": self.dropout,
        }  # fmt: skip

    def _said(self) -> dict[str, object]:
        return {**self.config(), "width": self.n_out or self.width}
