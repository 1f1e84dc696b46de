"""A frozen copy of a network that predicts: checked once, kept for speed, used by any number of threads.

Layers of weights in a row are handed to the core, which takes a sample or a batch through all of them in one
call. Any other network predicts as `Sequential.predict` does, by a copy of its own.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import describe, detached, one_of_types
from rewire._computing import Computing
from rewire._geometry import item_bytes
from rewire._inputs import PACKED, DenseSource, Source, as_source
from rewire._moments import quiet
from rewire._precision import LARGEST
from rewire._products import ONE_THREAD, threads_for
from rewire.activations import Softmax
from rewire.layers import Dense, Dropout, Layer, Sparse
from rewire.streams.kinds import pieces_of
from rewire.threads import resolve

__all__ = ["Predictor"]

# Bytes of the weights of a Dense layer up to which the core takes one sample through it, at the pace of one
# thread and of the memory: BLAS shares a larger one among threads.
WIDEST = 1 << 20
# Samples up to which Dense layers take one after the other: up to so many, and with so many multiply-adds.
FEW, LITTLE = 16, 500_000
NEAR = 1 << 20  # activations of the samples that one thread takes at a time: they stay in a cache of its own
# What a network may not do in its own way to be handed to the core.
_OWN = "forward", "outputs", "load_batch", "passing", "predict"


class Predictor:
    """A network that only predicts; what :meth:`rewire.Sequential.compile` gives.

    Parameters
    ----------
    network : Sequential
        Copied, so that nothing that becomes of it matters.

    Attributes
    ----------
    n_in, n_out : int
    dtype : str
        Of the outputs: the network's, but float64 where targets were standardised.
    nbytes : int
        Bytes held: a copy of all weights, and of some of them a second one in the order that is best for one
        sample. Without the memory that calls work in.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        For what is no network, and as from :meth:`rewire.Sequential.compile`.

    Notes
    -----
    Frozen: whatever becomes of the network afterwards, training, rewiring, or its end, changes nothing here.
    It holds no optimizer state.

    Any number of threads may call it at the same time. The core works without Python's lock, and each call
    in memory of its own, which the next one finds again. Results do not depend on threads, nor on the calls
    before.

    Networks of `Sparse`, `Dense` and `Dropout` layers alone are run by the core in one call. Their outputs
    have the bits of `Sequential.predict`, but for the sign of a zero and for biases that are not normal
    numbers, and do not depend on the other rows. Only `Dense` layers differ by rounding: batches go through
    BLAS, as in `predict`, one sample and a few through the core.

    All other networks are run as in `predict`, by a `predict` of their own where they have one, and so are
    those of bfloat16, and those with a `Dense` layer of more than 1 MiB of weights, for which BLAS is as
    fast.
    """

    n_in: int
    n_out: int
    dtype: str

    def __init__(self, network: Computing) -> None:
        one_of_types("network", network, Computing, "a rewire.Sequential")
        self._hold(network.copy_to_predict())

    def _hold(self, network: Computing) -> None:
        """Be a predictor of a network that nobody else has."""
        self._network = network
        self.n_in, self.n_out, self._computed_in = network.n_in, network.n_out, network.variable_dtype
        self.dtype = network.in_target_units(np.empty((0, network.n_out), self._computed_in)).dtype.name
        self._links = network.nnz
        self._asks = _has_its_own(network, "predict")
        widest = max(network.n_in, network.width)
        self._near = max(64, NEAR // (2 * item_bytes(self._computed_in) * widest) // 64 * 64)
        self._core = _handed_over(network)
        # For a plain vector, on one thread; None says that it is none, and the long way finds the words.
        self._lone = _nothing if self._core is None else self._core.one
        if self._core is not None and network.target_standardizer is not None:
            self._lone = partial(_restored_one, self._core, network)
        self._one = self._lone if self._links <= ONE_THREAD else _nothing

    @property
    def nbytes(self) -> int:
        held: int = self._network.nbytes
        return held + (0 if self._core is None else self._core.nbytes)

    def __repr__(self) -> str:
        return (
            f"Predictor({self.n_in} -> {self.n_out}, {self._links:,} connections, {self.dtype}, "
            f"{'in one call' if self._core is not None else 'layer by layer'})"
        )

    # --- copies: nothing in it changes -----------------------------------------------------

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"network": self._network, "extras": self._network.extras}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(state["network"]).update(state["extras"])
        self._hold(state["network"])

    # --- predicting ------------------------------------------------------------------------

    def predict(self, X: Any, *, out: NDArray[Any] | None = None, threads: int | None = None) -> NDArray[Any]:
        """Outputs for X, the final activation applied. ``predictor(X)`` is the same.

        Parameters
        ----------
        X : array-like or SciPy sparse, shape (m, n_in) or (n_in,), or data that are read in pieces
            Real and finite. One sample may be a vector, and its outputs are one then. What is not in memory
            is read in pieces, as by `Sequential.predict`.
        out : ndarray of ``dtype``, shape (m, n_out) or (n_out,), optional
            Where outputs go, with any strides; returned. May overlap X. An error leaves it as it was.
        threads : int, optional
            See :func:`rewire.get_num_threads`; small calls use one. Outputs do not depend on it.

        Returns
        -------
        ndarray of ``dtype``, shape (m, n_out) or (n_out,)

        Raises
        ------
        TypeError, ValueError
            For a wrong X, as from `Sequential.predict`, and a wrong ``out``. Outputs are always finite.
        """
        one = (
            self._one
            if threads is None
            else self._lone
            if type(threads) is int and threads == 1
            else _nothing
        )
        found = one(X, out)
        return self._any(X, out, threads) if found is None else found

    __call__ = predict

    def _any(self, X: Any, out: NDArray[Any] | None, threads: int | None) -> NDArray[Any]:
        options = {} if threads is None else {"threads": threads}
        if type(X) is not np.ndarray and pieces_of(X) is not None:
            return self._asked(X, False, out, options)
        rows, alone = self._rows(X)
        if self._asks:
            return self._asked(rows, alone, out, options)
        source = None if self._is_plain(rows) else as_source(rows, self.n_in)
        samples = len(rows) if source is None else source.n_samples
        if out is not None:
            _check_out(out, (self.n_out,) if alone else (samples, self.n_out), self.dtype)
        found = self._found(rows, source, samples, threads)
        return _given(found[0] if alone else found, out)

    def _asked(
        self, rows: Any, alone: bool, out: NDArray[Any] | None, options: dict[str, Any]
    ) -> NDArray[Any]:
        """What `predict` gives; somebody's own may give any shape and dtype."""
        found = np.asarray(self._network.predict(rows, **options))
        found = found[0] if alone else found
        if out is not None:
            _check_out(out, np.shape(found), found.dtype)
        return _given(found, out)

    def _found(self, rows: Any, source: Source | None, samples: int, threads: int | None) -> NDArray[Any]:
        """Outputs by the core if it can, or else by the network."""
        x = rows if source is None else source.x if isinstance(source, DenseSource) else None
        found = np.empty((samples, self.n_out), self._computed_in)
        if x is not None and self._through(x, found, threads_for(threads, self._links * samples)):
            given = _restored(self._network, found)
            if given is not None:
                return given
        source = as_source(rows, self.n_in) if source is None else source
        return self._network.outputs(source, np.arange(samples), resolve(threads))

    def _rows(self, X: Any) -> tuple[Any, bool]:
        """X with samples in rows, and whether it was one sample alone."""
        if isinstance(X, list | tuple):
            X = _as_array(X)
        try:
            alone = (X.ndim if hasattr(X, "tocsr") else np.ndim(X)) == 1
        except ValueError:  # lists of lists of different lengths: refused by name
            alone = False
        if not alone:
            return X, False
        x = X if hasattr(X, "tocsr") else np.asarray(detached(X, "X"))
        if x.shape != (self.n_in,) and x.dtype.kind in "fiub":  # all else is refused as rows are
            raise ValueError(f"X must have {self.n_in} features, got shape {x.shape}")
        return x.reshape(1, -1), True

    def _is_plain(self, x: Any) -> bool:
        """Whether the core takes this array as it is."""
        return (
            type(x) is np.ndarray and x.ndim == 2 and x.dtype in _PLAIN
            and x.shape[1] == self.n_in and len(x) > 0
        )  # fmt: skip

    def _through(self, x: NDArray[Any], to: NDArray[Any], threads: int) -> bool:
        """Whether the core could take all samples to finite outputs."""
        core, samples = self._core, len(x)
        if core is None:
            return False
        size = self._network.batch_for(samples, None)
        if not core.batches:  # BLAS is quicker with many
            size = 1
            if samples > 1 and (samples > FEW or samples * self._links > LITTLE):
                return False
        elif threads == 1:
            size = min(size, self._near)
        return all(core.run(x, to[start : start + size], start, threads) for start in range(0, samples, size))


_PLAIN = frozenset(np.dtype(name) for name in PACKED)


def _as_array(X: Any) -> Any:
    """An array of a list of numbers, made once; all else is refused as it came."""
    try:
        a = np.asarray(detached(X, "X"))
    except (TypeError, ValueError):
        return X
    return a if a.dtype.kind in "fiub" else X


def _check_out(out: Any, shape: tuple[int, ...], dtype: Any) -> None:
    masked = isinstance(out, np.ma.MaskedArray)
    if not isinstance(out, np.ndarray) or masked or out.dtype != dtype or not out.dtype.isnative:
        raise TypeError(f"out must be a {dtype} array, got {describe(out)}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out must be writable, got an array that is only read")
    if _core.overlaps_itself(out):
        raise ValueError(f"out must not overlap itself, got strides {out.strides}")


def _given(found: NDArray[Any], out: NDArray[Any] | None) -> NDArray[Any]:
    if out is None:
        return found
    out[...] = found
    return out


@quiet()
def _restored(network: Computing, outputs: NDArray[Any]) -> NDArray[Any] | None:
    """Outputs of the core in the units of the targets; None if they are not finite there."""
    found = network.in_target_units(outputs)
    return found if found is outputs or np.isfinite(found).all() else None


def _restored_one(
    core: _core.Frozen, network: Computing, x: Any, out: NDArray[Any] | None = None
) -> NDArray[Any] | None:
    """What the core makes of a plain vector, in the units of the targets; None as from the core."""
    if out is not None:  # the long way knows what it may be
        return None
    found: NDArray[Any] | None = core.one(x, None)
    return None if found is None else _restored(network, found)


def _nothing(x: Any, out: Any = None) -> NDArray[Any] | None:
    return None


def _has_its_own(network: Computing, name: str) -> bool:
    """Whether a subclass, or the network itself, does in its own way what that method does."""
    return name in vars(network) or getattr(type(network), name) is not getattr(Computing, name)


def _handed_over(network: Computing) -> _core.Frozen | None:
    """The layers of a network in the core's hands; None where one is of another kind."""
    s = network.standardizer
    if any(_has_its_own(network, name) for name in _OWN) or (
        s is not None and not s.fits(0.0, LARGEST[network.dtype])
    ):
        return None
    if network.dtype != network.variable_dtype:  # whose products round in the way of `predict` alone
        return None
    found = _core.Frozen(
        network.n_in, network.dtype, None if s is None else s.mean, None if s is None else s.scale
    )
    zeros = s is None or not s.mean.any()  # users' zeros stay zeros
    for layer in network.layers:
        if type(layer) is Dropout:
            continue
        if not isinstance(layer, Sparse | Dense) or not _is_plain_layer(layer, network.dtype):
            return None
        bias = None if layer.bias_parameter is None else layer.bias_parameter.padded
        code, slope = layer.bound.code, layer.bound.slope
        if isinstance(layer, Sparse):
            found.add_store(layer.core, bias, code, slope, zeros)
        elif layer.weights.nbytes > WIDEST:
            return None
        else:
            found.add_matrix(np.ascontiguousarray(layer.weights), bias, code, slope)
        zeros = code in ("relu", "thresholded")
    found.finish(isinstance(network.final, Softmax))
    return found


def _is_plain_layer(layer: Layer, dtype: str) -> bool:
    """Whether a layer is a `Sparse` or `Dense` one itself, and all of the network's dtype."""
    parameters = layer.parameters().values()
    return type(layer) in (Sparse, Dense) and all(q.dtype == dtype for q in parameters)
