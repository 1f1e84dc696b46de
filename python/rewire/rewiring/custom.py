"""A rule of one's own: a function from a layer's links to the links to drop and the positions to grow at.

The function gets copies and returns positions; the plan made of them is checked like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import boolean, describe, integer, noted
from rewire._positions import groups_of
from rewire.parameters import Field, SparseParameter
from rewire.rewiring.base import KINDS, Rule
from rewire.rewiring.budgets import empty_slots
from rewire.rewiring.context import CUSTOM, RewiringContext
from rewire.rewiring.participation import Layers
from rewire.rewiring.schedule import Epochs, ScheduleLike, schedule_from

__all__ = ["Custom", "LayerLinks"]

GROWN = "grown_step"  # the birth step of a link: the step before which it was grown
_ASKED_FOR = ("gradient", "age")  # attributes of links that are there for rules that ask for them


@dataclass
class LayerLinks:
    """The links of one layer, in row-major order, all arrays copies.

    Attributes
    ----------
    rows, sources : ndarray of int64, shape (n,)
        Output neuron and input of each link; with groups, the group.
    weights : ndarray, shape (n,), or (n, group) with groups
    momentum : ndarray or None
        Likewise; Adam's first moment; None for an optimizer without.
    gradient : ndarray
        Likewise, of the next batch; for rules that ask for it, AttributeError for others.
    age : ndarray of int64
        Steps since the link was grown, shape (n,); for rules that ask for it, AttributeError for others.
    n_rows, n_in : int
        The bounds of ``rows`` and ``sources``.
    n_empty : int
        Positions that are not connected.
    parameter : SparseParameter
        For reading.
    context : RewiringContext
        Epoch and step are ``context.progress``.
    rng : numpy.random.Generator
        A function of seed, layer and rewiring.
    rule : str
        The function's name.
    """

    rows: NDArray[np.int64]
    sources: NDArray[np.int64]
    weights: NDArray[Any]
    momentum: NDArray[Any] | None
    gradient: NDArray[Any] = field(repr=False)
    age: NDArray[np.int64] = field(repr=False)
    n_rows: int
    n_in: int
    parameter: SparseParameter
    context: RewiringContext
    rng: np.random.Generator
    rule: str = "the rule"  # what messages call it

    def __post_init__(self) -> None:
        for name in _ASKED_FOR:
            if getattr(self, name) is None:
                delattr(self, name)

    if not TYPE_CHECKING:  # which would then take any name for an attribute

        def __getattr__(self, name):
            if name in _ASKED_FOR:
                way = f"ask for it with Custom({self.rule}, {name}=True)"
                raise AttributeError(f"links.{name} is only for rules that ask for it: {way}")
            raise AttributeError(f"LayerLinks has no attribute {name!r}")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_empty(self) -> int:
        """Positions that are not connected: 0 where the layer is full."""
        return empty_slots(self.parameter)

    def random_empty(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """``count`` different positions that are not connected, uniformly: rows and sources.

        Raises
        ------
        ValueError
            If there are not so many: see ``n_empty``.
        """
        count = integer("count", count, low=0)
        if count > self.n_empty:
            raise ValueError(
                f"{self.rule}, {self.parameter.label}: {self.n_empty} empty positions, and {count} were "
                "asked for; ask for min(count, links.n_empty), or return None to leave the layer as it is"
            )
        plan = _core.Plan(self.parameter.core)
        plan.grow_random(count, *self.context.key(self.parameter), self.context.threads)
        groups, sources = plan.inserted()
        return groups.astype(np.int64), sources.astype(np.int64)


class Custom(Rule):
    """A rule made of a function.

    Parameters
    ----------
    function : callable
        Takes the :class:`LayerLinks` of a layer. Returns None to leave it, or a pair ``drop, grow``: ``drop``
        names links, by indices or a mask of shape (n,); ``grow`` is ``(rows, sources)`` or ``(rows, sources,
        weights)``, zero without weights. A link that is dropped may be regrown, as a new link.
    every : int, str, Epochs, Steps or dict
        When to rewire: after every epoch. A bare number counts steps.
    gradient, age : bool
        Whether the function looks at them.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Raises
    ------
    TypeError, ValueError
        While training, when it returns something else; function, layer and the first bad position are named,
        and nothing has changed. What the function itself raises comes with a note that names it and the
        layer.

    Notes
    -----
    A function cannot be saved, nor a trainer with one; a function that stands in a module can be pickled. See
    ``docs/own_rule.md``.
    """

    name = "custom"

    def __init__(
        self,
        function: Callable[[LayerLinks], Any],
        *,
        every: ScheduleLike = Epochs(1),
        gradient: bool = False,
        age: bool = False,
        layers: Layers = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, got {describe(function)}")
        self.function = function
        self.gradient, self.age = boolean("gradient", gradient), boolean("age", age)
        self.fields = {GROWN: Field("int32", per_slot=True, ages=True)} if self.age else {}
        super().__init__(
            schedule_from(every),
            layers=layers,
        )

    @property
    def probe_batches(self) -> int:  # type: ignore[override]
        return int(self.gradient)

    def plans(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> list[_core.Plan]:
        return [self._plan(parameter, context) for parameter in parameters]

    def _links(self, parameter: SparseParameter, context: RewiringContext) -> LayerLinks:
        store = parameter.core

        def flat(a: NDArray[Any]) -> NDArray[Any]:
            return a[:, 0] if store.group == 1 else a

        kept = parameter.field_of_power(1)
        return LayerLinks(
            groups_of(store),
            store.sources().astype(np.int64),
            flat(store.get_field("weight")),
            None if kept is None else flat(store.get_field(kept)),
            flat(context.probe.live(parameter)) if self.gradient else cast("NDArray[Any]", None),
            context.progress.step - store.get_field(GROWN)[:, 0].astype(np.int64)
            if self.age
            else cast("NDArray[np.int64]", None),
            store.n_groups,
            store.n_in,
            parameter,
            context,
            context.generator(parameter, CUSTOM),
            getattr(self.function, "__name__", "the rule"),
        )

    def _plan(self, parameter: SparseParameter, context: RewiringContext) -> _core.Plan:
        plan = context.plan(parameter)
        links = self._links(parameter, context)
        where = f"{links.rule}, {parameter.label}"
        with noted(f"in the rule {where}"):
            answer = self.function(links)
        if answer is None:
            return plan
        if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[1], tuple):
            expected = "drop, (rows, sources) or drop, (rows, sources, weights)"
            raise TypeError(f"{where}: must return {expected}, got {describe(answer)}")
        drop, grow = self._drop(links, answer[0], where), self._grow(links, answer[1], where)
        store = parameter.core  # the function may have written into the arrays that it got
        try:
            plan.pairs(groups_of(store)[drop].astype(np.int32), store.sources()[drop], *grow)
        except _core.LinkError as error:
            position = f"(row {error.group}, source {error.source})"
            if isinstance(error, _core.LinkRange):
                raise ValueError(f"{where}: {position} lies outside the layer") from None
            raise ValueError(f"{where}: {position} is grown twice, or is connected and not dropped") from None
        return plan

    @staticmethod
    def _drop(links: LayerLinks, drop: Any, where: str) -> NDArray[np.int64]:
        """Ascending indices."""
        a = np.asarray(drop)
        if a.dtype == bool and a.shape == (len(links),):
            return np.flatnonzero(a)
        if a.size == 0:
            return np.zeros(0, np.int64)
        if a.ndim != 1 or a.dtype.kind not in "iu":
            raise TypeError(
                f"{where}: drop must be indices or a mask of shape ({len(links)},), got {describe(drop)}"
            )
        a = np.sort(a.astype(np.int64))
        if a[0] < 0 or a[-1] >= len(links):
            bad = a[0] if a[0] < 0 else a[-1]
            raise ValueError(f"{where}: drop must be indices in [0, {len(links)}), got {bad}")
        if (a[1:] == a[:-1]).any():
            raise ValueError(f"{where}: drop names link {a[1:][a[1:] == a[:-1]][0]} twice")
        return a

    @staticmethod
    def _grow(
        links: LayerLinks, grow: tuple[Any, ...], where: str
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any] | None]:
        """Sorted groups and sources, and weights."""
        if len(grow) not in (2, 3):
            raise TypeError(f"{where}: grow must be (rows, sources) or (rows, sources, weights)")
        rows, sources = (np.asarray(a) for a in grow[:2])
        if rows.size == 0 and sources.size == 0:
            rows = sources = np.zeros(0, np.int64)
        kinds = {rows.dtype.kind, sources.dtype.kind}
        if rows.ndim != 1 or rows.shape != sources.shape or kinds - {"i", "u"}:
            raise TypeError(
                f"{where}: rows and sources must be integers of equal length, "
                f"got {describe(grow[0])} and {describe(grow[1])}"
            )
        for name, a, end in (("rows", rows, links.n_rows), ("sources", sources, links.n_in)):
            if a.size and not (0 <= a.min() and a.max() < end):
                raise ValueError(f"{where}: {name} must lie in [0, {end}), got {a[(a < 0) | (a >= end)][0]}")
        order = np.lexsort((sources, rows))
        store, weights = links.parameter.core, None
        if len(grow) == 3:
            shape = (len(rows),) if store.group == 1 else (len(rows), store.group)
            weights, most = np.asarray(grow[2]), np.finfo(store.dtype).max
            if weights.dtype.kind not in "fiub":
                raise TypeError(f"{where}: weights must hold real numbers, got {describe(grow[2])}")
            if weights.shape != shape or not (np.abs(weights.astype(np.float64)) <= most).all():
                raise ValueError(
                    f"{where}: weights must be finite, of shape {shape} and in the range of {store.dtype}, "
                    f"got {describe(grow[2])}"
                )
            weights = np.array(weights[order].reshape(len(rows), store.group), store.dtype)
            beyond = rows[order][:, None] * store.group + np.arange(store.group) >= store.n_out
            weights[beyond] = 0.0  # rows beyond the last neuron of the last group
        return rows[order].astype(np.int32), sources[order].astype(np.int32), weights

    def config(self) -> dict[str, Any]:
        raise NotImplementedError(
            "a rule made of a function cannot be saved: subclass rewire.Rule under @register_rule "
            "(docs/own_rule.md), or pickle the trainer, for which the function must stand in a module"
        )

    def __repr__(self) -> str:
        return f"Custom({getattr(self.function, '__name__', self.function)!s})"


def is_function(value: Any) -> bool:
    """Whether this can be called, and is no class."""
    return callable(value) and not isinstance(value, type)


KINDS.adapt(is_function, Custom)
