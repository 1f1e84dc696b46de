"""Which connections a layer has when it is built.

Their number is given by ``epsilon``, ``density`` or ``links``, their positions by a connectivity. Its unit is
the slot: with groups, a group of neighbouring outputs counts as one output. Every connectivity takes O(links)
memory, gives exactly as many links as were asked for, none twice, and depends on seed and layer alone.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire import _core
from rewire._checks import describe, detached, number
from rewire._links import check_finite, connections, slots_of
from rewire._moments import levels, quiet, shifted
from rewire._positions import Positions, difference, encode, sample_excluding, weighted
from rewire._registry import Registry

__all__ = [
    "Correlated",
    "EdgeList",
    "Random",
    "ScaleFree",
    "SmallWorld",
    "Connectivity",
    "connectivity",
    "connectivity_names",
]

ROUNDS = 64  # rounds of redrawing positions that were taken, before the rest is drawn from the free ones

STREAM = b"start"  # names the random stream; its bytes are part of the seed


class Request(NamedTuple):
    """What a layer asks of its connectivity."""

    store: _core.Store  # empty; for its sizes
    slots: int
    key: tuple[int, int, int]  # seed, layer, 0
    threads: int

    def generator(self) -> np.random.Generator:
        """A function of seed and layer alone."""
        words = np.random.SeedSequence([*self.key[:2], *STREAM])
        return np.random.Generator(np.random.Philox(words))


class Connectivity:
    """Base of all connectivities."""

    name: ClassVar[str] = ""

    def draw(self, request: Request) -> tuple[Positions, NDArray[Any] | None]:
        """``request.slots`` different positions, ascending; and their weights, shape (slots, group), or None.

        A position is group * n_in + source. None leaves weights to the layer's ``init``.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Random(Connectivity):
    """Uniformly over all positions (Erdos-Renyi), drawn in C. The default."""

    name = "random"

    def draw(self, request: Request) -> tuple[Positions, None]:
        store = request.store
        plan = _core.Plan(store)
        plan.grow_random(request.slots, *request.key, request.threads)
        return encode(*plan.inserted(), store.n_in), None


class SmallWorld(Connectivity):
    """Bipartite Watts-Strogatz: outputs are connected to their nearest inputs, some links anywhere.

    Outputs and inputs lie evenly on one ring. Every output begins with the same number of nearest inputs (the
    first outputs with one more where links do not divide evenly); then each link moves, with probability
    ``beta``, to an input drawn uniformly from those that its output is not connected to.

    Parameters
    ----------
    beta : float in [0, 1]
        0 is a ring lattice, 1 is random with equal fan-in.

    Notes
    -----
    Watts, Strogatz, *Collective dynamics of 'small-world' networks*, Nature 393 (1998); bipartite, as the
    initial connectivity of sparse training (BSW), by Zhang et al. in the work on CHT.
    """

    name = "small-world"

    def __init__(self, beta: float = 0.25) -> None:
        self.beta = number("beta", beta, low=0.0, high=1.0)

    def draw(self, request: Request) -> tuple[Positions, None]:
        store, slots, rng = request.store, request.slots, request.generator()
        groups, n = store.n_groups, store.n_in
        fan = np.full(groups, slots // groups)
        fan[: slots % groups] += 1
        group = np.repeat(np.arange(groups, dtype=np.int64), fan)
        ends = np.cumsum(fan)
        along = np.arange(slots, dtype=np.int64) - np.repeat(ends - fan, fan)
        first = np.floor((np.arange(groups) + 0.5) * n / groups - fan / 2 + 0.5).astype(np.int64)
        positions = encode(group, (first[group] + along) % n, n)
        moves = rng.random(slots) < self.beta
        # A full output has no input left to move to.
        moves &= fan[group] < n
        return _redraw(positions, moves, n, rng), None

    def __repr__(self) -> str:
        return f"SmallWorld({self.beta:g})"


class ScaleFree(Connectivity):
    """Bipartite scale-free: some inputs and some outputs have far more links than most.

    Pairs are drawn with chances p(input) * p(output), until as many different ones are there as are wanted;
    p of the node of rank r is proportional to r ** (-1 / (exponent - 1)), ranks at random. Degrees then
    follow a power law of that exponent, as far as a layer has room for it.

    Parameters
    ----------
    exponent : float > 2

    Notes
    -----
    The static model of Goh, Kahng, Kim, *Universal behavior of load distribution in scale-free networks*, PRL
    87 (2001), on two sets of nodes. The BSF connectivity of the work on CHT grows a Barabasi-Albert graph,
    whose exponent is 3, and resorts its links into a bipartite one; this model meets any count exactly.
    """

    name = "scale-free"

    def __init__(self, exponent: float = 3.0) -> None:
        self.exponent = number("exponent", exponent, low=2.0, open_low=True)

    def draw(self, request: Request) -> tuple[Positions, None]:
        store, slots, rng = request.store, request.slots, request.generator()
        outputs, inputs = (
            rng.permutation(np.arange(1, size + 1) ** (-1.0 / (self.exponent - 1.0)))
            for size in (store.n_groups, store.n_in)
        )
        found = np.zeros(0, np.int64)
        for _ in range(ROUNDS):
            missing = slots - len(found)
            if missing <= 0:
                break
            group = weighted(outputs, missing, rng)
            source = rng.permutation(weighted(inputs, missing, rng))
            new, at = difference(np.unique(encode(group, source, store.n_in)), found)
            found = np.insert(found, at, new)
        if len(found) < slots:  # hubs are full, or nearly: the rest is drawn alike
            rest = sample_excluding(store, found, slots - len(found), request.key, request.threads)
            found = np.union1d(found, rest)
        return found, None

    def __repr__(self) -> str:
        return f"ScaleFree({self.exponent:g})"


class Correlated(Connectivity):
    """Links between the most correlated input features of given data.

    Every output stands for one input feature (in turn, from an order drawn at random); the links with the
    largest |Pearson correlation| between their source and the feature of their output are made, of equals the
    first positions. A feature that never changes correlates with nothing.

    Parameters
    ----------
    X : array-like, shape (m, n_in)
        Samples of the layer's inputs. Used when the layer is built; not saved.

    Notes
    -----
    The CSTI of Zhang et al. (CHT, ICLR 2024), for the first layer. O(n_in * n_out * m) operations, one
    output at a time in O(links + n_in) memory beside a standardised copy of X.
    """

    name = "correlated"

    def __init__(self, X: ArrayLike) -> None:
        if X is None:
            raise ValueError(
                "connectivity 'correlated' needs samples of the layer's inputs: connectivity.Correlated(X)"
            )
        given = detached(X, "X")
        try:
            with quiet():
                x = np.asarray(given, np.float64)
        except (TypeError, ValueError, OverflowError):
            raise TypeError(f"X must be an array of real numbers, got {describe(X)}") from None
        if x.ndim != 2:
            raise ValueError(f"X must be 2-D (samples, features), got shape {x.shape}")
        if x.shape[0] < 2:
            raise ValueError(
                "connectivity 'correlated' needs an X of at least 2 samples, whose features can be "
                f"correlated, got {x.shape[0]} sample(s)"
            )
        if not np.isfinite(x).all():
            raise ValueError("X must be finite")
        with quiet():
            x = shifted(x, -levels(np.abs(x).max(axis=0)))  # correlations are the same in any units
            largest = np.abs(x).max(axis=0)
            x = x - x.mean(axis=0)
            length = np.sqrt((x * x).sum(axis=0))
            self._unit = np.divide(x, length, out=np.zeros_like(x), where=length > 1e-12 * largest)

    def draw(self, request: Request) -> tuple[Positions, None]:
        store, slots, rng = request.store, request.slots, request.generator()
        n = store.n_in
        if self._unit.shape[1] != n:
            raise ValueError(f"X must have a column for each of {n} inputs, got {self._unit.shape[1]}")
        order = rng.permutation(n)
        score, position = np.zeros(0), np.zeros(0, np.int64)
        block = max(1, slots // n + 1)
        for first in range(0, store.n_groups, block):
            groups = np.arange(first, min(first + block, store.n_groups), dtype=np.int64)
            found = np.abs(self._unit[:, order[groups % n]].T @ self._unit)
            score = np.concatenate([score, found.ravel()])
            position = np.concatenate([position, (groups[:, None] * n + np.arange(n)).ravel()])
            best = np.argsort(-score, kind="stable")[:slots]
            best.sort()
            score, position = score[best], position[best]
        return position, None


class EdgeList(Connectivity):
    """Exactly these links.

    Parameters
    ----------
    rows, cols : array-like of int, shape (m,)
        Outputs and inputs. With groups all rows of a group must be named.
    values : array-like of float, shape (m,), optional
        Their weights; drawn by the layer's ``init`` by default.
    """

    name = "edge-list"

    def __init__(self, rows: ArrayLike, cols: ArrayLike, values: ArrayLike | None = None) -> None:
        self._rows, self._cols, self._values = rows, cols, values
        self.count = max(int(np.size(rows)), int(np.size(cols)))

    def draw(self, request: Request) -> tuple[Positions, NDArray[Any] | None]:
        store = request.store
        shape = (store.n_out, store.n_in)
        rows, cols, form = connections(self._rows, self._cols, shape)
        if len(form) > 1:
            raise ValueError(f"rows and cols must have one dimension, got shape {form}")
        slots, weights = slots_of(rows, cols, shape, store.group), None
        if self._values is not None:
            values = np.asarray(self._values, store.dtype)
            if values.shape != rows.shape:
                raise ValueError(
                    f"values must have one value for each of {rows.size} links, got {describe(values)}"
                )
            check_finite(values, rows, cols)
            weights = slots.weights(values, store.group)
        return encode(slots.group, slots.source, store.n_in), weights


def _redraw(positions: Positions, moves: NDArray[np.bool_], n_in: int, rng: np.random.Generator) -> Positions:
    """Each position that moves gets a source that its group neither had nor has, uniformly."""
    taken = np.sort(positions)
    moving = positions[moves] // n_in
    kept = [positions[~moves]]
    for _ in range(ROUNDS):
        if not moving.size:
            break
        tries, first = np.unique(
            encode(moving, rng.integers(n_in, size=moving.size), n_in), return_index=True
        )
        new, at = difference(tries, taken)
        kept.append(new)
        taken = np.insert(taken, at, new)
        moving = np.delete(moving, first[np.isin(tries, new, assume_unique=True)])
    for group in moving.tolist():  # nearly full; at last what was left behind is free again
        all_ = np.arange(group * n_in, (group + 1) * n_in)
        free, _ = difference(all_, taken)
        if not free.size:
            free, _ = difference(all_, np.sort(np.concatenate(kept)))
        chosen = free[rng.integers(free.size, size=1)]
        kept.append(chosen)
        taken = np.union1d(taken, chosen)
    return np.sort(np.concatenate(kept))


KINDS = Registry("connectivity", Connectivity, "a dict or a Connectivity")
for _kind in (Random, SmallWorld, ScaleFree, Correlated):
    KINDS.register(_kind)


def connectivity_names() -> list[str]:
    """The names that :func:`connectivity` knows, sorted."""
    return KINDS.names()


def connectivity(what: str | dict[str, Any] | Connectivity, X: ArrayLike | None = None) -> Connectivity:
    """The connectivity that ``what`` names: an object, a name, or a dict of ``name`` and options.

    Parameters
    ----------
    what : str, dict or Connectivity
        ``"random"``, ``"small-world"``, ``"scale-free"``, ``"correlated"``; or for example
        ``{"name": "small-world", "beta": 0.5}``.
    X : array-like, shape (m, n_in), optional
        Samples of the layer's inputs, which ``"correlated"`` needs.

    Raises
    ------
    TypeError, ValueError
        If it is none of these; if an option is none that the connectivity takes.
    """
    return KINDS.build(what, X=X)
