"""The history of links: how many were grown, removed, survived, their age, and how many positions were tried.

METHOD. Every store gets one more field, ``cohort``: the number of the rewiring that grew a link, 0 for
initial links. The store itself writes it into new slots and moves it with all other fields, so that counts
are exact whatever a rule does -- a link that is dropped and regrown in the same rewiring is new -- and
nothing has to be compared. Beside it the log keeps, for each layer, the ascending positions that were ever
connected.

COST. 4 bytes a slot, 8 bytes a slot ever connected, one pass over the field a rewiring. The weights that
training gives are the same with and without a log.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._checks import choice, describe, entries, integer, one_of_types
from rewire._format import plural
from rewire._geometry import Geometry
from rewire._positions import decode, difference, encode, positions_of
from rewire._training import TrainerLike
from rewire.callbacks.base import Callback, State, register_callback
from rewire.network import Sequential
from rewire.neurons import RemovedNeurons
from rewire.parameters import Field
from rewire.parameters.base import take

__all__ = ["LinkLog"]

FIELD = "cohort"
SINCE = Field("int32", per_slot=True, low=0)
COUNTS = ("grown", "removed", "survived", "explored")
MISSED = 2000  # epochs that it may have missed in a file: they take memory, and nothing is known of them
_STRANGE = "these are not the layers whose links it has followed; use a new one"
COLUMNS = (*COUNTS, "age_mean", "age_median")  # of one rewiring and layer; whole numbers first


class _Shape(NamedTuple):
    """Weights as the log found them: of which layer with weights; ``group`` 0: they are all there."""

    layer: int
    n_out: int
    n_in: int
    group: int


class _Weights(NamedTuple):
    """The shape, and what it is the shape of."""

    shape: _Shape
    parameter: Any


@register_callback
class LinkLog(Callback):
    """Writes down what rewiring does to links, for every layer with weights.

    It begins with the first ``fit`` it takes part in, whose links are the *initial* ones, and is
    to take part in all that follow. Saved and resumed with its trainer, with the same figures as without a
    break.

    At every rewiring: ``log["grown"]``, ``log["removed"]`` (links), ``log["survived"]`` (initial links that
    are still there), ``log["explored"]`` (positions that have ever been connected), all int64, and
    ``log["age_mean"]``, ``log["age_median"]``, float64, of shape (n_rewirings, n_layers). The age of a link
    counts rewirings: 0 right after the one that grew it. ``log["epoch"]`` and ``log["step"]``, shape
    (n_rewirings,), say when: complete ones at that time.

    At the end of every epoch, in the trainer's history: columns ``links_survived``, ``links_explored``,
    ``link_age_mean``, ``link_age_median`` (a list, layer by layer) and ``exploration_rate``: positions of
    the sparse layers that have ever been connected, over all of their positions.

    Notes
    -----
    The exploration rate is the in-time over-parameterisation rate R_s of Liu et al., *Do we actually need
    dense over-parameterization?*, ICML 2021. Dense layers have all their links from the start.

    When neurons are removed (``rewire.ImportancePruning``), only positions between those that are left count
    as explored; when early stopping restores such neurons, counting begins anew with the links of then. A
    layer that is put in another's place, or another trainer, ends the log: ``fit`` then raises RuntimeError,
    ``save`` ValueError. Survival is kept by epochs and takes 8 bytes a layer for every pair of epochs.

    Examples
    --------
    >>> import rewire as rw
    >>> log = rw.LinkLog()
    >>> net = rw.Sequential([rw.Sparse(64, 10, density=0.1, activation="softmax")])
    >>> trainer = rw.Trainer(net, loss="cross_entropy", rewiring="set", callbacks=[log])
    >>> data = rw.datasets.load("digits")
    >>> history = trainer.fit(data.X / 16.0, data.y, epochs=5, verbose=0)
    >>> log["grown"].shape, log.survival().shape
    ((4, 1), (5, 6))
    """

    fields = (FIELD,)

    def __init__(self) -> None:
        self._shapes: list[_Shape] = []
        self._first_epoch = 0
        self._initial = np.zeros(0, np.int64)  # links of each layer when the log began
        self._layers = 0  # with weights
        # By the place of weights among `_shapes`: numbers of slots, ascending.
        self._explored: dict[int, NDArray[np.int64]] = {}
        self._when: list[tuple[int, int]] = []  # epoch and step of each rewiring
        self._rows: list[NDArray[np.float64]] = []  # (n_layers, COLUMNS) for each rewiring
        self._alive: list[NDArray[np.int64]] = []  # (n_layers, cohorts by epoch) for each epoch

    @property
    def rewirings(self) -> int:
        """Rewirings written down."""
        return len(self._rows)

    def __getitem__(self, name: str) -> NDArray[Any]:
        choice("name", name, (*COLUMNS, "epoch", "step"))
        if name in ("epoch", "step"):
            when = np.array(self._when, np.int64).reshape(-1, 2)
            return when[:, ("epoch", "step").index(name)]
        rows = np.array(self._rows).reshape(len(self._rows), self._layers, len(COLUMNS))
        column = rows[:, :, COLUMNS.index(name)]
        return column.astype(np.int64) if name in COUNTS else column

    def survival(self, layer: int | None = None) -> NDArray[np.float64]:
        """What fraction of the links that were grown in the same epoch is left.

        Parameters
        ----------
        layer : int, optional
            Position among the layers with weights; by default links of all of them.

        Returns
        -------
        ndarray of float64, shape (n_epochs, n_epochs + 1)
            Row t: at the end of the t-th epoch of the log. Column 0: fraction of the initial links that is
            left. Column k: fraction that is left of the links that were grown in the k-th epoch; nan before
            that, where none was, and in the row of an epoch whose end another callback broke off.
        """
        chosen = slice(None)
        if layer is not None:
            chosen = slice(integer("layer", layer, low=0, high=max(self._layers - 1, 0)), layer + 1)
        n = len(self._alive)
        grown = np.zeros((self._layers, n + 1), np.int64)
        grown[:, 0] = self._initial
        for (epoch, _), row in zip(self._when, self._rows, strict=True):
            if epoch - self._first_epoch < n:
                grown[:, epoch - self._first_epoch + 1] += row[:, 0].astype(np.int64)
        total = grown[chosen].sum(axis=0)
        left = np.full((n, n + 1), np.nan)
        for t, alive in enumerate(self._alive):
            known = np.flatnonzero(total[: t + 2] * (alive[0] >= 0))
            left[t, known] = alive[chosen].sum(axis=0)[known] / total[known]
        return left

    # --- events -------------------------------------------------------------------------

    def on_fit_begin(self, state: State) -> None:
        if sum(isinstance(callback, LinkLog) for callback in state.trainer.callbacks) > 1:
            raise ValueError(
                "callbacks must hold at most one LinkLog: they would share a field of the stores"
            )
        if not self._shapes:
            self._begin(state)
        elif not self._knows(state.trainer, state.network):
            raise RuntimeError(f"LinkLog cannot go on: {_STRANGE}")
        elif self._shapes != _shapes(state.network):  # neurons that had gone came back
            self._shapes = _shapes(state.network)
            self._explored = _connected(state.network)
        self._announce(state.network)

    def on_rewire(self, state: State) -> None:
        now, record = len(self._rows) + 1, state.rewired
        assert record is not None  # what this event is about
        if record.neurons is not None:
            self._shrink(state.network, record.neurons)
        removed, grown = record.by_layer(state.network.weight_names)
        rows = np.zeros((self._layers, len(COLUMNS)))
        self._explore(state.network, now)
        tried = self._tried(state.network)
        for i, cohorts in enumerate(_cohorts(state.network, now)):
            survived, *ages = _figures(cohorts, now)
            rows[i] = grown[i], removed[i], survived, tried[i], *ages
        self._rows.append(rows)
        self._when.append((state.epoch, state.step))
        self._announce(state.network)

    def on_epoch_end(self, state: State) -> None:
        now = len(self._rows)
        epoch = state.row["epoch"] - self._first_epoch
        # The epoch each rewiring belongs to; what was edited in since the last one belongs to this epoch.
        grown_in = [0, *(e - self._first_epoch + 1 for e, _ in self._when), epoch + 1]
        cohorts = _cohorts(state.network, now)
        alive = [np.bincount(grown_in, weights=c, minlength=epoch + 2) for c in cohorts]
        while len(self._alive) < epoch:  # an epoch whose end was broken off by Ctrl-C in another callback
            self._alive.append(np.full((self._layers, len(self._alive) + 2), -1))
        self._alive.append(np.array(alive).astype(np.int64))
        survived, mean, median = (list(f) for f in zip(*(_figures(c, now) for c in cohorts), strict=True))
        tried = self._tried(state.network)
        found = sum(self._tried_of(k, shape) for k, shape in enumerate(self._shapes) if shape.group)
        positions = sum(shape.n_in * shape.n_out for shape in self._shapes if shape.group)
        state.row.update(
            links_survived=survived,
            links_explored=tried,
            link_age_mean=mean,
            link_age_median=median,
            exploration_rate=found / positions if positions else 1.0,
        )

    # --- pieces -------------------------------------------------------------------------

    def _begin(self, state: State) -> None:
        for parameter in state.network.sparse_parameters:
            parameter.add_field(FIELD, SINCE)  # and not that of another log, which came to its end
        self._explored = _connected(state.network)
        self._first_epoch = state.trainer.epoch
        self._shapes, self._layers = _shapes(state.network), len(state.network.weight_names)
        self._initial = np.array([counts.sum() for counts in _cohorts(state.network, 0)], np.int64)

    def _knows(self, trainer: TrainerLike, network: Sequential) -> bool:
        """Whether the layers are still those that were logged, perhaps of other widths."""
        now = len(self._rows)
        kept, found = ([(s.layer, s.group) for s in shapes] for shapes in (self._shapes, _shapes(network)))
        if kept != found or self._first_epoch + len(self._alive) > trainer.epoch:
            return False
        ends, now_ends = ((s[0].n_in, s[-1].n_out) for s in (self._shapes, _shapes(network)))
        if ends != now_ends:
            return False
        try:
            for parameter in network.sparse_parameters:
                parameter.check_field(FIELD, SINCE, high=now + 1, birth=(0, now + 1))
        except ValueError:
            return False
        return all(parameter.has(FIELD) for parameter in network.sparse_parameters)

    def check(self, trainer: TrainerLike, network: Sequential) -> None:
        """The trainer's layers are those that were logged, and nothing was logged that is still to come."""
        if not self._shapes:
            return
        if not self._knows(trainer, network):
            raise ValueError(f"LinkLog: {_STRANGE}")
        missed = trainer.epoch - self._first_epoch - len(self._alive)
        integer("LinkLog: epochs without it", missed, low=0, high=MISSED)
        for epoch, step in self._when:
            integer("LinkLog: epoch", epoch, low=self._first_epoch, high=trainer.epoch)
            integer("LinkLog: step", step, low=0, high=trainer.step)

    def _announce(self, network: Sequential) -> None:
        """Mark links that are grown from now on as those of the next rewiring."""
        for parameter in network.sparse_parameters:
            parameter.set_birth(FIELD, len(self._rows) + 1)

    def _shrink(self, network: Sequential, neurons: RemovedNeurons) -> None:
        """Forget the positions of removed neurons, and number the others anew."""
        for k, shape in enumerate(self._shapes):
            if shape.group:
                kept_rows, kept_cols = neurons.kept[shape.layer], neurons.kept_inputs[shape.layer]
                kept_groups = np.unique(kept_rows // shape.group)
                groups, sources = decode(self._explored[k], shape.n_in)
                left = np.isin(groups, kept_groups) & np.isin(sources, kept_cols)
                self._explored[k] = encode(
                    np.searchsorted(kept_groups, groups[left]),
                    np.searchsorted(kept_cols, sources[left]),
                    kept_cols.size,
                )
        self._shapes = _shapes(network)

    def _explore(self, network: Sequential, now: int) -> None:
        """Add the positions of new links to those that have been tried."""
        for k, (shape, parameter) in enumerate(_weights(network)):
            if shape.group:
                store, tried = parameter.core, self._explored[k]
                slots = np.flatnonzero(store.get_field(FIELD)[:, 0] == now)
                groups = np.searchsorted(store.indptr(), slots, side="right") - 1
                positions = encode(groups, store.sources()[slots], store.n_in)
                new, at = difference(positions, tried)
                self._explored[k] = np.insert(tried, at, new)

    def _tried(self, network: Sequential) -> list[int]:
        """Positions of every layer that have ever been connected."""
        found = [0] * self._layers
        for k, (shape, _) in enumerate(_weights(network)):
            found[shape.layer] += self._tried_of(k, shape)
        return found

    def _tried_of(self, k: int, shape: _Shape) -> int:
        """Positions of some weights that have ever been connected."""
        if not shape.group:
            return shape.n_out * shape.n_in
        geometry, tried = Geometry(shape.n_in, shape.n_out, shape.group), self._explored[k]
        last = tried.size - int(np.searchsorted(tried, (geometry.n_groups - 1) * shape.n_in))
        return tried.size * shape.group - last * geometry.missing_rows

    # --- saving -------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        return {"name": "LinkLog", "state": {"first_epoch": self._first_epoch, "shapes": self._shapes}}

    def arrays(self) -> dict[str, NDArray[Any]]:
        n, layers = len(self._alive), self._layers
        alive = np.zeros((n, layers, n + 1), np.int64)
        for t, counts in enumerate(self._alive):
            alive[t, :, : t + 2] = counts
        return {
            "initial": self._initial,
            "when": np.array(self._when, np.int64).reshape(-1, 2),
            "rows": np.array(self._rows).reshape(len(self._rows), layers, len(COLUMNS)),
            "alive": alive,
            **{f"explored.{k}": tried for k, tried in self._explored.items()},
        }

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        where = "LinkLog"
        entries(where, config, ("name", "state"))
        state = entries(f"{where}: state", config["state"], ("first_epoch", "shapes"))
        self._first_epoch = integer("first_epoch", state["first_epoch"], low=0)
        self._shapes = [_shape(found) for found in one_of_types("shapes", state["shapes"], list, "a list")]
        numbers = [shape.layer for shape in self._shapes]
        if any(later - before not in (0, 1) for before, later in pairwise([-1, *numbers])):
            raise ValueError(f"{where}: shapes must name layers in order, got {numbers}")
        self._layers = len(set(numbers))
        explored = [f"explored.{k}" for k, shape in enumerate(self._shapes) if shape.group]
        entries(f"{where}: arrays", arrays, ("initial", "when", "rows", "alive", *explored))
        layers = self._layers
        n, m = (len(np.atleast_1d(arrays[name])) for name in ("alive", "rows"))
        if not layers and (n or m):
            raise ValueError(f"{where} holds figures of no layers")
        self._initial = take(arrays, "initial", (layers,), "int64", where)
        when = take(arrays, "when", (m, 2), "int64", where)
        self._when = [(int(epoch), int(step)) for epoch, step in when]
        self._rows = list(take(arrays, "rows", (m, layers, len(COLUMNS)), "float64", where))
        alive = take(arrays, "alive", (n, layers, n + 1), "int64", where)
        self._alive = [counts[:, : t + 2] for t, counts in enumerate(alive)]
        rows = np.array(self._rows)
        if not np.isfinite(rows).all() or any((a < low).any() for a, low in ((rows, 0), (alive, -1))):
            raise ValueError(f"{where}: counts and ages must be finite and >= 0")
        if (self._initial < 0).any() or (np.diff(when, axis=0) < 0).any():
            raise ValueError(f"{where}: rewirings come one after the other, and links are >= 0")
        self._explored = {}
        for k, shape in enumerate(self._shapes):
            if shape.group:
                name = f"explored.{k}"
                tried = np.asarray(arrays[name])
                take(arrays, name, (tried.size,), "int64", where)
                positions = Geometry(shape.n_in, shape.n_out, shape.group).n_positions
                inside = not tried.size or (tried[0] >= 0 and tried[-1] < positions)
                if not inside or not np.all(np.diff(tried) > 0):
                    raise ValueError(f"{where}: array {name!r} must ascend within [0, {positions})")
                self._explored[k] = tried

    def __repr__(self) -> str:
        return f"LinkLog({plural(self.rewirings, 'rewiring')}, {plural(len(self._alive), 'epoch')})"


def _shape(found: Any) -> _Shape:
    """Weights as ``config()`` has them."""
    if not isinstance(found, list | tuple) or len(found) != 4:
        raise ValueError(f"shapes must be lists of 4 integers, got {describe(found)}")
    layer, n_out, n_in = (integer("shapes", n, low=0) for n in found[:3])
    return _Shape(layer, n_out, n_in, choice("group", found[3], (0, 1, 2, 4, 8)))


def _weights(network: Sequential) -> list[_Weights]:
    """All weights of connections, by layer."""
    parameters, sparse = network.parameters(), {q.name for q in network.sparse_parameters}
    found = []
    for layer, names in enumerate(network.weight_names):
        for name in names:
            q = parameters[name]
            shape = _Shape(layer, q.shape[0], q.shape[1], q.group if name in sparse else 0)
            found.append(_Weights(shape, q))
    return found


def _shapes(network: Sequential) -> list[_Shape]:
    return [weights.shape for weights in _weights(network)]


def _connected(network: Sequential) -> dict[int, NDArray[np.int64]]:
    """The positions that are connected now, by the place of weights among all."""
    return {k: positions_of(q.core) for k, (shape, q) in enumerate(_weights(network)) if shape.group}


def _cohorts(network: Sequential, now: int) -> list[NDArray[np.int64]]:
    """For every layer, links by the rewiring that grew them, shape (now + 2,).

    0: initial ones, now + 1: those grown since.
    """
    found = [np.zeros(now + 2, np.int64) for _ in network.weight_names]
    for shape, parameter in _weights(network):
        counts = found[shape.layer]
        if not shape.group:
            counts[0] += parameter.size
            continue
        store, missing = parameter.core, Geometry.of(parameter.core).missing_rows
        cohort = store.get_field(FIELD)[:, 0]
        counts += np.bincount(cohort, minlength=now + 2) * store.group
        if missing:
            counts -= np.bincount(cohort[store.indptr()[-2] :], minlength=now + 2) * missing
    return found


def _figures(cohorts: NDArray[np.int64], now: int) -> tuple[int, float, float]:
    """Initial links that are left; mean and median age in rewirings (0 without links)."""
    total = int(cohorts.sum())
    if not total:
        return 0, 0.0, 0.0
    ages = np.maximum(now - np.arange(cohorts.size), 0)
    youngest = np.cumsum(cohorts[::-1])
    middle = np.searchsorted(youngest, [(total - 1) // 2, total // 2], side="right")
    return int(cohorts[0]), int(cohorts @ ages) / total, float(ages[::-1][middle].mean())
