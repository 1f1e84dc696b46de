"""Batches through a network: packed, forward, backward, and outputs that are numbers.

It does no arithmetic of its own: it hands tiles from one layer to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray

from rewire import _checks, _core
from rewire._assembled import Assembled
from rewire._geometry import item_bytes
from rewire._inputs import CsrSource, Source, as_source
from rewire._moments import quiet
from rewire._precision import KEPT, LARGEST
from rewire._targets import Targets, Truth
from rewire.activations import Softmax
from rewire.layers import Pass
from rewire.layers.passing import Learner
from rewire.layers.row import backward_through, forward_through
from rewire.standardizer import Standardizer
from rewire.streams.ahead import Ahead
from rewire.streams.kinds import pieces_of
from rewire.streams.pieces import Pieces
from rewire.streams.stream import in_order
from rewire.threads import resolve
from rewire.workspace import Workspace

__all__ = ["Computing", "check_inputs"]

ALONE = 1 << 20  # multiplications of a step, had all layers every link, below which one thread does it all
PREDICT_BYTES = 32 << 20  # activations of one batch of predict, when the caller does not say
RARE = 128  # inputs of which at most one is not 0 in a row, for which no batch is ever packed into tiles
FEWEST = 32  # samples at a time, whatever they take
SPARE_BYTES = 64 << 20  # workspaces larger than this are not kept for the next predict
SPARES = 4


class Computing(Assembled):
    """Base of `rewire.Sequential`: what it does with batches."""

    # --- forward, backward (for the trainer) --------------------------------------------

    def workspace(self) -> Workspace:
        """Memory for batches, empty until used."""
        return Workspace(self.variable_dtype)

    def load_batch(self, ws: Workspace, source: Source, rows: NDArray[np.int64], threads: int) -> _core.Tiles:
        """Shape ``ws`` for these rows and pack them, standardised.

        Of CSR rows only what is stored is loaded, where the first layer takes that: into a
        ``_core.SparseInputs``.
        """
        ws.shape(len(rows))
        s = self.standardizer
        if self._takes_few(source):
            few = ws.few(self.n_in)
            shift, zero, whole = (None, None, None) if s is None else s.folded(self.variable_dtype)
            source.load(few, rows, s.scale if s else None, shift, zero, whole, threads)
            return cast(_core.Tiles, few)  # in the place of tiles: that layer knows
        x = ws.tiles("input", self.n_in)
        if self._takes_all(source):
            source.pack(x, rows, s.mean if s else None, s.scale if s else None, threads)
        else:
            x.pack(self._inputs(source, rows), None, None, None, threads)
        return x

    def _takes_few(self, source: Source) -> TypeGuard[CsrSource]:
        """Whether only what is stored is loaded."""
        return isinstance(source, CsrSource) and self.layers[0].takes_few and self._takes_all(source)

    def _stays_listed(self, source: Source) -> bool:
        """Whether no batch is ever packed into tiles: inputs take no memory to speak of then."""
        if not self._takes_few(source):
            return False
        whole = None if self.standardizer is None else self.standardizer.folded(self.variable_dtype).whole
        stored = source.longest + (0 if whole is None else len(whole))
        return stored * RARE <= self.n_in

    # --- numbers out of range -----------------------------------------------------------

    def _takes_all(self, source: Source) -> bool:
        """Whether no value can be out of range: then nobody has to look."""
        return _takes_all(source, self.standardizer, self.dtype)

    def _inputs(self, source: Source, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Inputs for these rows, the slow and careful way; ValueError if one is no number in our dtype."""
        return _in_range(source, rows, self.standardizer, self.dtype)

    def check_inputs(self, source: Source) -> None:
        """ValueError naming row and column of the first value that is out of the network's range."""
        check_inputs(source, self.standardizer, self.dtype)

    def check_outputs(self, source: Source, rows: NDArray[np.int64], outputs: NDArray[Any]) -> None:
        """ValueError for outputs that are not finite: of the first such row, or of what is wrong inside."""
        finite = np.isfinite(outputs)
        if finite.all():
            return
        if (fault := self.tree.fault()) is not None:
            raise ValueError(f"{fault[0]} has {fault[1]}: there is no prediction")
        row = rows[finite.all(axis=1).argmin() :][:1]
        column = int(np.abs(self._inputs(source, row)[0]).argmax())
        raise ValueError(
            f"{source.name} makes outputs overflow {outputs.dtype} in row {row[0]}, "
            f"whose largest value is {source.rows(row)[0, column]:g} in column {column}"
        )

    def passing(
        self, ws: Workspace, *, fused: bool = False, training: bool = False, step: int = 0, threads: int = 1
    ) -> Pass:
        """A pass through this network; ``fused``: the last activation is part of the loss."""
        linear = self.layers[-1] if fused else None
        return Pass(
            ws, training=training, step=step, threads=threads, linear=linear, rounds_once=self.tree.own
        )

    def forward(self, x: _core.Tiles, p: Pass) -> list[_core.Tiles]:
        """Inputs of every layer, and the outputs of the last one at the end; softmax is left out.

        Unless training, inner results share their memory and only the last one is valid. Layers may compute
        with NumPy: whoever calls says by ``np.errstate`` what becomes of numbers that overflow.
        """
        return forward_through(self.layers, x, p)

    def backward(self, dy: _core.Tiles, flow: Sequence[_core.Tiles], p: Pass, learner: Learner) -> None:
        """Gradients from ``dy`` (overwritten) for the outputs; ``flow`` is what forward gave.

        The learner gets those of parameters; gradients for the inputs of the network are not taken.
        """
        p.learner = learner
        backward_through(self.layers, dy, flow, p, self._first_learning, need_dx=False)
        p.warn_of_missing(self._tree.uses, self._tree.parameters)

    def truth(self, targets: Targets, rows: NDArray[np.int64]) -> Truth:
        """The targets of a batch, in the units that its outputs have in a loss: standardised or as given."""
        if self.target_standardizer is None:
            return Truth(targets, rows)
        standardised = self.target_standardizer.apply(targets.array(rows))
        return Truth(Targets(values=standardised), np.arange(len(rows)))

    # --- predicting ---------------------------------------------------------------------

    def in_target_units(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Outputs in the units of the targets: as they are, or those of standardised targets as float64.

        In float32 what varies around a large mean, such as a time in seconds, would be rounded away.
        """
        by = self.target_standardizer
        return outputs if by is None else by.restored(outputs)

    def predict(self, X: Any, *, batch_size: int | None = None, threads: int | None = None) -> NDArray[Any]:
        """Outputs for X, the final activation applied, in the units of the targets.

        Parameters
        ----------
        X : array-like or SciPy CSR, shape (m, n_in), or data that are read in pieces
            Real and finite; converted batch by batch. What is not in memory is read in pieces, as by
            `Trainer.fit`; of batches ``(X, y)`` only X counts.
        batch_size : int, optional
            Samples at a time; changes memory and time, not the outputs.
        threads : int, optional

        Returns
        -------
        ndarray of the network's dtype (of float32 for bfloat16), shape (m, n_out)
            Of float64 where the network has a ``target_standardizer``: the units of the targets may have a
            mean that float32 cannot tell deviations from.

        Raises
        ------
        TypeError, ValueError
            For a wrong X; row and column of a value that is not finite are named, and so are those of one
            that the network's dtype cannot hold once it is standardised. Outputs are always finite.
        RuntimeError
            If another thread trains this network.

        Notes
        -----
        Any number of threads may call this at a time.
        """
        if (pieces := pieces_of(X)) is not None:
            with self.gate.reading("predict"):
                return self._outputs_of(pieces, resolve(threads), batch_size)
        source = as_source(X, self.n_in)
        with self.gate.reading("predict"):
            return self.outputs(source, np.arange(source.n_samples), resolve(threads), batch_size)

    def _outputs_of(self, pieces: Pieces, threads: int, batch_size: int | None) -> NDArray[Any]:
        """:meth:`predict` for data that are read in pieces, one ahead."""
        checked = (as_source(p.x, self.n_in, f"X{p.place}") for p in in_order(pieces, self.n_in, 64))
        found = [self.in_target_units(np.empty((0, self.n_out), self.variable_dtype))]
        with Ahead(checked) as sources:
            for source in sources:
                found.append(self.outputs(source, np.arange(source.n_samples), threads, batch_size))
        return np.concatenate(found)

    @quiet()
    def outputs(
        self,
        source: Source,
        rows: NDArray[np.int64],
        threads: int,
        batch_size: int | None = None,
        *,
        refuse: bool = True,
    ) -> NDArray[Any]:
        """:meth:`predict` for rows of what has been checked and wrapped; whoever calls is in the gate.

        Without ``refuse`` outputs may have overflowed.
        """
        raw = np.empty((len(rows), self.n_out), self.variable_dtype)
        softmax = isinstance(self.final, Softmax)
        ws = self._take_spare()
        p = self.passing(ws, threads=threads)
        size = self.batch_for(len(rows), batch_size, source)
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            y = self.forward(self.load_batch(ws, source, some, threads), p)[-1]
            if softmax:
                _core.softmax(y, threads)
            found = y.unpack(raw[start : start + len(some)], threads)
            if refuse:  # what overflows is refused by name
                self.check_outputs(source, some, found)
        self._keep_spare(ws)
        out = self.in_target_units(raw)
        if refuse and out is not raw:
            self.check_outputs(source, rows, out)
        return out

    def copy_to_predict(self) -> Self:
        """A checked copy that nobody else has, for a `Predictor`; see `Sequential.compile`."""
        raise NotImplementedError

    def threads_for(self, batch: int, threads: int | None) -> int:
        """How many threads to use for a step of so many samples when ``threads`` were asked for.

        To wake the others takes longer than so little work takes one; the bits are the same.
        """
        return 1 if threads == 1 or batch * self.size < ALONE else resolve(threads)

    def batch_for(self, n_samples: int, batch_size: int | None, source: Source | None = None) -> int:
        """Samples at a time when nothing is learnt: what was asked for, or what keeps memory small.

        Inputs of a ``source`` most of which are 0 take no memory to speak of. What is summed over batches,
        a loss, leaves the source out: its last bits would depend on whether X is sparse.
        """
        if batch_size is not None:
            return _checks.integer("batch_size", batch_size, low=1)
        if n_samples <= FEWEST:
            return n_samples
        widths = self.n_in, self.width
        if source is not None and self._stays_listed(source):
            widths = 0, max(layer.n_out for layer in self.tree.layers.values())
        fits = PREDICT_BYTES // (item_bytes(self.variable_dtype) * (widths[0] + 2 * widths[1]))
        return min(n_samples, max(FEWEST, min(1024, fits // 64 * 64)))

    def _take_spare(self) -> Workspace:
        try:  # one step, because several threads predict at a time
            return self._spares.pop()
        except IndexError:
            return self.workspace()

    def _keep_spare(self, ws: Workspace) -> None:
        if ws.nbytes <= SPARE_BYTES and len(self._spares) < SPARES:
            self._spares.append(ws)


def _takes_all(source: Source, standardizer: Standardizer | None, dtype: str) -> bool:
    """Whether no value can be out of range."""
    s, limit = standardizer, LARGEST[dtype]
    return source.largest <= limit if s is None else s.fits(source.largest, limit)


def check_inputs(source: Source, standardizer: Standardizer | None, dtype: str) -> None:
    """ValueError naming row and column of the first value that is out of the range of a dtype."""
    if not _takes_all(source, standardizer, dtype):
        step = max(1, 2**20 // max(1, source.n_features))
        for start in range(0, source.n_samples, step):
            _in_range(source, np.arange(start, min(start + step, source.n_samples)), standardizer, dtype)


def _in_range(
    source: Source, rows: NDArray[np.int64], standardizer: Standardizer | None, dtype: str
) -> NDArray[np.float64]:
    """Some rows, standardised; ValueError if a value is no number of a dtype."""
    x, s, limit = source.rows(rows), standardizer, LARGEST[dtype]
    z = x if s is None else s.apply(x)
    bad = ~(np.abs(z) <= limit)
    if bad.any():
        at, column = divmod(int(np.argmax(bad)), source.n_features)
        value, what = x[at, column], "" if s is None else " once it is standardised,"
        more = next((kind for kind in KEPT if np.abs(z[at, column]) <= LARGEST[kind]), None)
        cure = "" if more is None else f"; a network of {more} takes more"
        digits = 2 if f"{limit:.2g}" != f"{abs(z[at, column]):.2g}" else 6  # as many as tell them apart
        raise ValueError(
            f"{source.name} must lie within {limit:.{digits}g}, the range of {dtype},{what} "
            f"got {value:.6g} in row {rows[at]}, column {column}{cure}"
        )
    return z
