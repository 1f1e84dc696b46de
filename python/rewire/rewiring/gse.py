"""GSE: guided stochastic exploration, growth by gradient among sampled candidates.

Heddes, Srinivasa, Givargis, Nicolau, *Always-Sparse Training by Growing Connections with Guided Stochastic
Exploration*, arXiv:2401.06898 (2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import choice, number
from rewire._positions import Positions, decode, difference, encode, positions_of, sample_excluding, weighted
from rewire.initializers import Initializer, initializer
from rewire.parameters import SparseParameter
from rewire.rewiring.base import register_rule
from rewire.rewiring.budgets import (
    common_slot,
    empty_links,
    empty_slots,
    first_links,
    links_in,
    slot_links,
    slot_sizes,
)
from rewire.rewiring.context import CANDIDATES, WHOLE_SLOTS, RewiringContext
from rewire.rewiring.drop import DropSmallest
from rewire.rewiring.fraction import decaying_fraction
from rewire.rewiring.grow import Grow, draw
from rewire.rewiring.participation import Layers
from rewire.rewiring.redistribute import split_links
from rewire.rewiring.schedule import ScheduleLike, schedule_from
from rewire.rewiring.swap import Swap

__all__ = ["GSE", "GrowByCandidates", "candidates"]


def candidates(
    parameter: SparseParameter, count: int, kind: str, context: RewiringContext
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Empty positions as candidates: ``count`` draws of (group, source), without duplicates and live links.

    Sources and groups are drawn independently, with chances as the docstring of :class:`GSE` says.

    Returns
    -------
    groups, sources : ndarray of int32
        Sorted by (group, source); at most ``count``.
    """
    store, rng = parameter.core, context.generator(parameter, CANDIDATES)
    if kind == "uniform":
        groups = rng.integers(store.n_groups, size=count)
        sources = rng.integers(store.n_in, size=count)
    else:
        x, dz = context.probe.tiles(parameter)
        # With graest both factors have the same signs, so that their product estimates the gradient.
        signs = rng.integers(0, 2, size=x.batch) * 2.0 - 1.0 if kind == "graest" else None
        of_row = np.zeros(parameter.geometry.n_rows)
        of_row[: store.n_out] = _strength(dz, signs)
        of_group = of_row.reshape(store.n_groups, store.group).sum(axis=1)
        groups = weighted(of_group, count, rng)
        sources = rng.permutation(weighted(_strength(x, signs), count, rng))
    found = np.sort(encode(groups, sources, store.n_in))
    found = found[np.diff(found, prepend=-1) > 0]
    found, _ = difference(found, positions_of(store))
    return decode(found, store.n_in)


def _strength(tiles: _core.Tiles, signs: NDArray[np.floating] | None) -> NDArray[np.float64]:
    """For every feature the sum of |value| over the batch, or with signs |the sum of sign * value|."""
    total = np.zeros(tiles.n)
    for i, tile in enumerate(tiles.array()):
        if signs is None:
            total += np.abs(tile).sum(axis=1, dtype=np.float64)
        else:
            mine = signs[i * tiles.tile : (i + 1) * tiles.tile]
            total += np.einsum("fs,s->f", tile[:, : len(mine)], mine)
    return np.abs(total)


def _largest(score: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The indices of the ``count`` largest scores, ascending; of equal scores the first ones."""
    if count >= len(score):
        return np.arange(len(score))
    least = np.partition(score, len(score) - count)[len(score) - count] if count else np.inf
    among = score > least
    among[np.flatnonzero(score == least)[: count - np.count_nonzero(among)]] = True
    return np.flatnonzero(among)


class DropWithinRoom(DropSmallest):
    """The smallest, but no more of a layer than it has empty positions: none that is dropped regrows."""

    def mark_all(
        self,
        plans: Sequence[_core.Plan],
        parameters: Sequence[SparseParameter],
        fraction: float,
        context: RewiringContext,
    ) -> list[_core.Plan]:
        plans = super().mark_all(plans, parameters, fraction, context)
        for i, parameter in enumerate(parameters):
            room = empty_slots(parameter)
            if context.regrow and plans[i].n_removed > room:
                plans[i] = context.plan(parameter)
                plans[i].prune_smallest(room, *context.key(parameter), context.threads)
        return plans


class GrowByCandidates(Grow):
    """Where |dL/dw| is largest among sampled candidates; at random where there are too few candidates.

    Parameters
    ----------
    init : Initializer
        Weights of new links.
    kind : {"graest", "grabo", "uniform"}
        How candidates are drawn: see :class:`GSE`.
    gamma : float
        Candidates for every live link.
    scope : {"layer", "global"}
        Whether the candidates of each layer compete, or those of all layers.
    """

    probe_batches = 1
    refill = False

    def __init__(self, init: Initializer, kind: str, gamma: float, scope: str) -> None:
        self.init, self.kind, self.gamma, self.scope = init, kind, gamma, scope
        self.moves = scope == "global"

    def place(
        self, plan: _core.Plan, parameter: SparseParameter, count: int, context: RewiringContext
    ) -> None:
        positions, score = self.score_candidates(parameter, context)
        self._fill(plan, parameter, positions[_largest(score, count)], count, context)

    def place_links(
        self, plan: _core.Plan, parameter: SparseParameter, links: int, context: RewiringContext
    ) -> _core.Plan:
        positions, score = self.score_candidates(parameter, context)
        if each := slot_links(parameter):
            best = _largest(score, links // each)
        else:
            best = np.argsort(-score, kind="stable")
            best = np.sort(best[: first_links(parameter, positions[best] // parameter.n_in, links)])
        self._fill_links(plan, parameter, positions[best], links, context)
        return plan

    def place_all(
        self,
        plans: Sequence[_core.Plan],
        parameters: Sequence[SparseParameter],
        counts: Sequence[int],
        context: RewiringContext,
    ) -> list[_core.Plan]:
        """With one scope for all: where |dL/dw| is largest among the candidates of all layers.

        Fewer links, where their number is not one of whole slots.
        """
        if not self.moves:
            return super().place_all(plans, parameters, counts, context)
        scored = [self.score_candidates(parameter, context) for parameter in parameters]
        removed = [links_in(plan, removed=True) for plan in plans]
        total = sum(counts)
        scores = np.concatenate([score for _, score in scored])
        if each := common_slot(parameters):
            best = _largest(scores, total // each)
        else:
            sizes = [slot_sizes(a, found // a.n_in) for a, (found, _) in zip(parameters, scored, strict=True)]
            best = np.argsort(-scores, kind="stable")
            taken = np.cumsum(np.concatenate(sizes)[best])
            best = np.sort(best[: np.searchsorted(taken, total, side="right")])
        ends = np.cumsum([len(positions) for positions, _ in scored])
        parts = np.split(best, np.searchsorted(best, ends[:-1]))
        chosen = [
            positions[part - (end - len(positions))]
            for (positions, _), part, end in zip(scored, parts, ends, strict=True)
        ]
        took = [int(slot_sizes(a, own // a.n_in).sum()) for a, own in zip(parameters, chosen, strict=True)]
        room = [empty_links(parameter) - n for parameter, n in zip(parameters, took, strict=True)]
        more = split_links(total - sum(took), removed, room, parameters)
        own_links = [n + extra for n, extra in zip(took, more, strict=True)]
        for plan, parameter, own, links in zip(plans, parameters, chosen, own_links, strict=True):
            self._fill_links(plan, parameter, own, links, context)
        return list(plans)

    def score_candidates(
        self, parameter: SparseParameter, context: RewiringContext
    ) -> tuple[Positions, NDArray[np.float64]]:
        """Candidates of a layer, ascending, and |gradient|, summed over the rows of a slot."""
        store = parameter.core
        # In layers that are more than half full every empty position is a candidate.
        if 2 * store.slots > parameter.geometry.n_positions:
            everywhere = np.arange(parameter.geometry.n_positions)
            groups, sources = decode(difference(everywhere, positions_of(store))[0], store.n_in)
        else:
            count = int(np.ceil(self.gamma * store.slots))
            groups, sources = candidates(parameter, count, self.kind, context)
        score = np.abs(context.probe.at(parameter, groups, sources), dtype=np.float64).sum(axis=1)
        score[~np.isfinite(score)] = 0.0
        return encode(groups, sources, store.n_in), score

    def _fill_links(
        self,
        plan: _core.Plan,
        parameter: SparseParameter,
        chosen: Positions,
        links: int,
        context: RewiringContext,
    ) -> None:
        """Plan the chosen positions, and others at random up to ``links`` links."""
        store = parameter.core
        if each := slot_links(parameter):
            self._fill(plan, parameter, chosen, links // each, context)
            return
        missing = links - int(slot_sizes(parameter, chosen // store.n_in).sum())
        taken = np.union1d(positions_of(store), chosen)
        enough = min(-(-missing // parameter.geometry.last_rows), parameter.geometry.n_positions - len(taken))
        if enough > 0:
            more = sample_excluding(store, taken, enough, context.key(parameter), context.threads)
            more = more[context.generator(parameter, WHOLE_SLOTS).permutation(enough)]
            chosen = np.union1d(chosen, more[: first_links(parameter, more // store.n_in, missing)])
        self._fill(plan, parameter, chosen, len(chosen), context)

    def _fill(
        self,
        plan: _core.Plan,
        parameter: SparseParameter,
        chosen: Positions,
        count: int,
        context: RewiringContext,
    ) -> None:
        """Plan the chosen positions, and others at random up to ``count``."""
        store = parameter.core
        if len(chosen) < count:
            taken = np.union1d(positions_of(store), chosen)
            missing = count - len(chosen)
            more = sample_excluding(store, taken, missing, context.key(parameter), context.threads)
            chosen = np.union1d(chosen, more)
        plan.insert(*decode(chosen, store.n_in))
        self.weigh(plan, parameter, context)

    def weigh(self, plan: _core.Plan, parameter: SparseParameter, context: RewiringContext) -> None:
        draw(self.init, plan, parameter, context)


@register_rule
class GSE(Swap):
    """The smallest links are dropped; as many grow where the gradient is largest among sampled candidates.

    As many candidates are sampled as there are links. This makes growth by gradient affordable in layers of
    any size: O(links * batch) operations.

    Parameters
    ----------
    fraction : float in [0, 1]
        Fraction of each layer's links that is dropped at the beginning (0.2); it falls along a cosine until
        ``end``.
    candidates : {"graest", "grabo", "uniform"}
        How the sources and outputs of candidates are drawn. "uniform": alike; "grabo": by sum ``|x|``
        and sum ``|dz|`` over the batch, whose product bounds ``|gradient|``; "graest": by ``|sum s x|`` and
        ``|sum s dz|`` with one random sign s for each sample, whose product estimates the gradient without
        bias.
    gamma : float > 0
        Candidates drawn for every live link (1).
    every : int, str, Epochs, Steps or dict
        When to rewire: after every 1000 steps.
    end : int or float
        No rewiring from this step on; a float is a fraction of the run (120 of 200 epochs).
    scope : {"global", "layer"}
        Whether the smallest links and the largest gradients are those of all layers together, so that
        budgets move between layers, or those of each layer. Global by default, as in the paper.
    init : str, float or Initializer
        Weights of new links; zero in the paper.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    Duplicates and live links among the draws are discarded, also links that are being dropped, as in the
    authors' code, which grows first. Where fewer candidates are left than links are dropped, others grow at
    random, in layers that have room, in proportion to the links that these drop. In layers that are more than
    half full every empty position is a candidate. The authors take gradients of ten samples a class; here
    they are those of the next batch. Their signs come from a four-wise independent hash; here from a
    counter-based generator.
    """

    name = "gse"

    def __init__(
        self,
        fraction: float = 0.2,
        *,
        candidates: str = "graest",
        gamma: float = 1.0,
        every: ScheduleLike = 1000,
        end: int | float = 0.6,
        scope: str = "global",
        init: str | float | Initializer | dict[str, Any] = "zeros",
        layers: Layers = None,
    ) -> None:
        schedule = decaying_fraction("fraction", fraction, "cosine", end)
        self.candidates = choice("candidates", candidates, ("graest", "grabo", "uniform"))
        self.gamma, self.init = number("gamma", gamma, low=0.0, open_low=True), initializer(init)
        drop = DropWithinRoom(scope)
        self.scope = drop.scope
        super().__init__(
            schedule_from(every),
            schedule,
            drop,
            GrowByCandidates(self.init, self.candidates, self.gamma, self.scope),
            end=end,
            layers=layers,
        )
        self.fraction = schedule.value
