"""Fixed orthonormal transforms: what mixes values without a single weight."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import MAX_NEURONS, boolean, choice, integer
from rewire._structure import Mask
from rewire.layers.affine import Affine
from rewire.layers.base import register_layer
from rewire.layers.dependence import Dependence, Narrower
from rewire.layers.mixing import Mixing
from rewire.layers.passing import Pass
from rewire.parameters import Buffer

__all__ = ["MIXES", "Mix"]

MIXES = ("wht", "dct", "hartley", "permutation")
_TAG = 0x313  # keeps the random numbers of permutations and signs apart from others


@register_layer
class Mix(Mixing):
    """y = T x, where T is a fixed orthonormal matrix that takes n log n operations, or none.

    Parameters
    ----------
    mix : {"wht", "dct", "hartley", "permutation"}
        ``"wht"``: Walsh-Hadamard. ``"dct"``: the cosine transform (DCT-II). ``"hartley"``: the Fourier
        transform of real numbers, real part less imaginary part. ``"permutation"``: the values in a random
        order, drawn from the network's seed and saved. DCT and Hartley need SciPy.
    n_in : int, optional
        Only needed if the layer is the first.
    width : int >= n_in, optional
        Outputs, if more than inputs: zeros follow the inputs. All is multiplied by sqrt(width / n_in), so
        that outputs are on average as large as inputs.
    flip : bool
        Whether inputs get random signs first, drawn from the network's seed and saved: without them a
        transform gathers in a few outputs what smooth inputs have in common.
    stages : int, optional
        Of ``"wht"``: the first so many stages, which mix blocks of 2^stages neighbours. All by default.
    skip : int
        Of ``"wht"``: leave out the first so many stages, after layers that have mixed blocks of 2^skip.

    Notes
    -----
    Stage s of the Walsh-Hadamard transform replaces values i and i + 2^s by their sum and difference over
    sqrt(2). Of n values that are no multiple of the block 2^stages (2^floor(log2 n) for all stages), let m be
    the largest multiple below n, A the transform of the first m values, B that of the last m: T = A B A. So T
    is orthonormal, symmetric and its own inverse for any n; for powers of two it is Hadamard's matrix over
    sqrt(n).

    Nothing is trained, no neuron can be removed before or after it; a permutation of as many values as it
    takes can be seen through. The layer is linear: `rewire.analysis.linear_at` takes it as it is.

    Examples
    --------
    >>> import numpy as np, rewire as rw
    >>> net = rw.Sequential([rw.Mix("wht", 64, flip=True), rw.Sparse(64, 10, activation="softmax")])
    >>> net.predict(np.ones((1, 64))).shape
    (1, 10)
    """

    keeps = True

    def __init__(
        self,
        mix: str = "wht",
        n_in: int | None = None,
        *,
        width: int | None = None,
        flip: bool = False,
        stages: int | None = None,
        skip: int = 0,
    ) -> None:
        self.mix = choice("mix", mix, MIXES)
        self.n_in = 0 if n_in is None else integer("n_in", n_in, low=1, high=MAX_NEURONS)
        least = max(1, self.n_in)
        self.width = None if width is None else integer("width", width, low=least, high=MAX_NEURONS)
        self.flip = boolean("flip", flip)
        self.stages = None if stages is None else integer("stages", stages, low=0, high=30)
        self.skip = integer("skip", skip, low=0, high=30)
        for name, given in (("stages", stages is not None), ("skip", skip != 0)):
            if given and self.mix != "wht":
                raise ValueError(f"{name} belongs to mix='wht', not to mix={self.mix!r}")
        if self.stages is not None and self.skip > self.stages:
            raise ValueError(f"skip must be at most the {self.stages} stages, got {self.skip}")

    def connect(self, n_in: int) -> None:
        width = n_in if self.width is None else self.width
        if width < n_in:
            raise ValueError(f"width must be at least the {n_in} values that there are, got {width}")
        most = width.bit_length() - 1
        for name, stage in (("stages", self.stages or 0), ("skip", self.skip)):
            if stage > most:
                raise ValueError(f"{name} must be at most {most} for {width} values, got {stage}")
        self.n_in, self.n_out = n_in, width
        if self.flip:
            self.flipped = Buffer(n_in, dtype="uint8", axes=("in",))
        if self.mix == "permutation":
            self.order = Buffer(width, dtype="int32", axes=("out",))
        self._last = most if self.stages is None else self.stages

    def start(self) -> None:
        rng = np.random.default_rng([self.network_seed, self.index, _TAG])
        if self.flip:
            self.flipped.values[...] = rng.integers(0, 2, self.n_in)
        if self.mix == "permutation":
            self.order.values[...] = rng.permutation(self.n_out)

    # --- forward, backward --------------------------------------------------------------

    @property
    def plain(self) -> bool:
        """Whether inputs are transformed as they are: neither signs nor zeros."""
        return not self.flip and self.n_in == self.n_out

    def factors(self, dtype: Any) -> NDArray[Any]:
        """What each input is multiplied by first."""
        signs = 1.0 - 2.0 * self.flipped.values if self.flip else np.ones(self.n_in)
        found: NDArray[Any] = (signs * np.sqrt(self.n_out / self.n_in)).astype(dtype)
        return found

    def _filled(self, x: _core.Tiles, to: _core.Tiles) -> _core.Tiles:
        """Inputs with their signs, and zeros after them."""
        a = to.array()
        np.multiply(x.array(), self.factors(x.dtype)[:, None], out=a[:, : self.n_in])
        a[:, self.n_in :] = 0
        return to

    def transform(self, x: _core.Tiles, y: _core.Tiles, threads: int, back: bool = False) -> None:
        """y = T x, or T' x; of full width. y may be x for the Walsh-Hadamard transform alone."""
        if self.mix == "wht":
            _core.wht(x, y, self.skip, self._last, threads)
        elif self.mix == "permutation":
            if back:
                y.array()[:, self.order.values] = x.array()
            else:
                y.array()[...] = x.array()[:, self.order.values]
        elif self.mix == "dct":
            fft = _fft()
            y.array()[...] = (fft.idct if back else fft.dct)(x.array(), axis=1, norm="ortho")
        else:
            _hartley(x.array(), y.array())

    # A network that diverges says so itself, with epoch and layer: NumPy need not warn as well.
    @np.errstate(over="ignore", invalid="ignore")
    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        y = p.output(self) if p.keeping else p.ws.other(self.n_out, x)
        if not self.plain:
            x = self._filled(x, y if self.mix == "wht" else p.tiles((self.index, "filled"), self.n_out))
        self.transform(x, y, p.threads)
        return y

    @np.errstate(over="ignore", invalid="ignore")
    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        if not need_dx:
            return None
        whole = p.ws.other(self.n_out, dy)
        self.transform(dy, whole, p.threads, back=True)
        if self.plain:
            return whole
        dx = p.ws.other(self.n_in, whole)
        np.multiply(whole.array()[:, : self.n_in], self.factors(dy.dtype)[:, None], out=dx.array())
        return dx

    def affine_at(self, x: NDArray[np.float64], *, final: bool = False) -> Affine:
        factors, none = self.factors("float64"), np.zeros(self.n_out)
        if self.mix == "permutation":
            rows, cols = self.connections()
            return Affine(rows, cols, factors[cols], none, np.zeros(0, np.int8))
        tile = _core.tile_size(self.n_in, "float64")
        columns, found = (_core.Tiles(self.n_out, self.n_in, tile, "float64") for _ in range(2))
        columns.pack(np.eye(self.n_in, self.n_out) * factors[:, None])
        self.transform(columns, found, 1)
        matrix = found.unpack().T
        rows, cols = np.nonzero(matrix)
        return Affine(rows, cols, matrix[rows, cols], none, np.zeros(0, np.int8))

    # --- paths, and neurons that are removed ----------------------------------------------

    @property
    def _moves(self) -> bool:
        """Whether neurons can be followed through it one by one."""
        return self.mix == "permutation" and self.n_in == self.n_out

    def _reached(self, mask: Mask) -> Mask:
        """Of full width: what depends on these values, in either direction."""
        if self.mix != "wht":
            return np.full(mask.size, mask.any())
        block = 1 << self._last
        whole = mask.size // block * block
        found = mask.copy()
        for begin in (0, mask.size - whole, 0)[: 1 if whole == mask.size else 3]:
            part = found[begin : begin + whole].reshape(-1, block >> self.skip, 1 << self.skip)
            part[...] = part.any(axis=1, keepdims=True)
        return found

    def live_outputs(self, inputs: Mask) -> Mask:
        filled = np.concatenate([inputs, np.zeros(self.n_out - self.n_in, bool)])
        return filled[self.order.values] if self.mix == "permutation" else self._reached(filled)

    def live_inputs(self, outputs: Mask) -> Mask:
        if self.mix != "permutation":
            return self._reached(outputs)[: self.n_in]
        found = np.zeros(self.n_out, bool)
        found[self.order.values[outputs]] = True
        return found[: self.n_in]

    def connections(self) -> tuple[NDArray[Any], NDArray[Any]]:
        if self.mix != "permutation":
            return Dependence.connections(self)
        rows = np.flatnonzero(self.order.values < self.n_in)
        return rows, self.order.values[rows]

    @property
    def absorbs(self) -> bool | None:
        return None if self._moves else False

    def constant(self, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
        return (values * self.factors("float64"))[self.order.values] if self._moves else None

    def keepable(self, inputs: Mask, outputs: Mask) -> tuple[Mask, Mask]:
        if not self._moves:
            return super().keepable(inputs, outputs)
        stays = inputs | self.live_inputs(outputs)
        return stays, self.live_outputs(stays)

    def keep(self, inputs: Mask, outputs: Mask, values: NDArray[np.float64]) -> Narrower:
        found = super().keep(inputs, outputs, values)
        if self._moves:
            found.config["width"] = None
            numbers = np.cumsum(inputs) - 1
            found.arrays["buffer.order"] = numbers[self.order.values[outputs]].astype(np.int32)
        return found


def _hartley(x: NDArray[Any], y: NDArray[Any]) -> None:
    """y = the Hartley transform along axis 1: its own inverse."""
    n = x.shape[1]
    found = _fft().rfft(x, axis=1, norm="ortho")
    half = found.shape[1]  # the other frequencies are these once more, with the other sign of the sine
    y[:, :half] = found.real - found.imag
    mirrored = found[:, 1 : n - half + 1][:, ::-1]
    y[:, half:] = mirrored.real + mirrored.imag


def _fft() -> Any:
    try:
        from scipy import fft
    except ImportError as error:
        raise ImportError(
            "mix='dct' and mix='hartley' need SciPy, which is not installed: pip install scipy; "
            "'wht' and 'permutation' do without"
        ) from error
    return fft
