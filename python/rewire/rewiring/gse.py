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
from rewire.rewiring.base import Rewiring, register_rewiring
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
from rewire.rewiring.redistribute import rebalance, split_links
from rewire.rewiring.schedule import ScheduleLike, schedule_from

__all__ = ["GSE", "GrowByCandidates", "candidates"]


def candidates(
    layer: SparseParameter, count: int, kind: str, context: RewiringContext
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Empty positions as candidates: ``count`` draws of (group, source), without duplicates and live links.

    Sources and groups are drawn independently, with chances as the docstring of :class:`GSE` says.

    Returns
    -------
    groups, sources : ndarray of int32
        Sorted by (group, source); at most ``count``.
    """
    store, rng = layer.core, context.generator(layer, CANDIDATES)
    if kind == "uniform":
        groups = rng.integers(store.n_groups, size=count)
        sources = rng.integers(store.n_in, size=count)
    else:
        x, dz = context.probe.pair(layer)
        # With graest both factors have the same signs, so that their product estimates the gradient.
        signs = rng.integers(0, 2, size=x.batch) * 2.0 - 1.0 if kind == "graest" else None
        of_row = np.zeros(layer.geometry.n_rows)
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


class GrowByCandidates(Grow):
    """Where |dL/dw| is largest among sampled candidates; at random where there are too few candidates."""

    probe_batches = 1
    refill = False

    def __init__(self, init: Initializer, kind: str, gamma: float) -> None:
        self.init, self.kind, self.gamma = init, kind, gamma

    def place(self, plan: _core.Plan, layer: SparseParameter, count: int, context: RewiringContext) -> None:
        positions, score = self.score_candidates(layer, context)
        self._fill(plan, layer, positions[_largest(score, count)], count, context)

    def place_links(
        self, plan: _core.Plan, layer: SparseParameter, links: int, context: RewiringContext
    ) -> _core.Plan:
        positions, score = self.score_candidates(layer, context)
        if each := slot_links(layer):
            best = _largest(score, links // each)
        else:
            best = np.argsort(-score, kind="stable")
            best = np.sort(best[: first_links(layer, positions[best] // layer.n_in, links)])
        self._fill_links(plan, layer, positions[best], links, context)
        return plan

    def place_all(
        self, plans: Sequence[_core.Plan], layers: Sequence[SparseParameter], context: RewiringContext
    ) -> None:
        """As many links as all layers drop, where |dL/dw| is largest among the candidates of all layers.

        Fewer, where that number of links is not a number of whole slots.
        """
        scored = [self.score_candidates(layer, context) for layer in layers]
        removed = [links_in(plan, removed=True) for plan in plans]
        total = sum(removed) + sum(map(context.owed, layers))
        scores = np.concatenate([score for _, score in scored])
        if each := common_slot(layers):
            best = _largest(scores, total // each)
        else:
            sizes = [slot_sizes(a, found // a.n_in) for a, (found, _) in zip(layers, scored, strict=True)]
            best = np.argsort(-scores, kind="stable")
            taken = np.cumsum(np.concatenate(sizes)[best])
            best = np.sort(best[: np.searchsorted(taken, total, side="right")])
        ends = np.cumsum([len(positions) for positions, _ in scored])
        parts = np.split(best, np.searchsorted(best, ends[:-1]))
        chosen = [
            positions[part - (end - len(positions))]
            for (positions, _), part, end in zip(scored, parts, ends, strict=True)
        ]
        took = [int(slot_sizes(a, own // a.n_in).sum()) for a, own in zip(layers, chosen, strict=True)]
        room = [empty_links(layer) - n for layer, n in zip(layers, took, strict=True)]
        more = split_links(total - sum(took), removed, room, layers)
        counts = [n + extra for n, extra in zip(took, more, strict=True)]
        for plan, layer, own, links in zip(plans, layers, chosen, counts, strict=True):
            self._fill_links(plan, layer, own, links, context)

    def score_candidates(
        self, layer: SparseParameter, context: RewiringContext
    ) -> tuple[Positions, NDArray[np.float64]]:
        """Candidates of a layer, ascending, and |gradient|, summed over the rows of a slot."""
        store = layer.core
        # In layers that are more than half full every empty position is a candidate.
        if 2 * store.slots > layer.geometry.n_positions:
            everywhere = np.arange(layer.geometry.n_positions)
            groups, sources = decode(difference(everywhere, positions_of(store))[0], store.n_in)
        else:
            count = int(np.ceil(self.gamma * store.slots))
            groups, sources = candidates(layer, count, self.kind, context)
        score = np.abs(context.probe.at(layer, groups, sources), dtype=np.float64).sum(axis=1)
        score[~np.isfinite(score)] = 0.0
        return encode(groups, sources, store.n_in), score

    def _fill_links(
        self,
        plan: _core.Plan,
        layer: SparseParameter,
        chosen: Positions,
        links: int,
        context: RewiringContext,
    ) -> None:
        """Plan the chosen positions, and others at random up to ``links`` links."""
        store = layer.core
        if each := slot_links(layer):
            self._fill(plan, layer, chosen, links // each, context)
            return
        missing = links - int(slot_sizes(layer, chosen // store.n_in).sum())
        taken = np.union1d(positions_of(store), chosen)
        enough = min(-(-missing // layer.geometry.last_rows), layer.geometry.n_positions - len(taken))
        if enough > 0:
            more = sample_excluding(store, taken, enough, context.key(layer), context.threads)
            more = more[context.generator(layer, WHOLE_SLOTS).permutation(enough)]
            chosen = np.union1d(chosen, more[: first_links(layer, more // store.n_in, missing)])
        self._fill(plan, layer, chosen, len(chosen), context)

    def _fill(
        self,
        plan: _core.Plan,
        layer: SparseParameter,
        chosen: Positions,
        count: int,
        context: RewiringContext,
    ) -> None:
        """Plan the chosen positions, and others at random up to ``count``."""
        store = layer.core
        if len(chosen) < count:
            taken = np.union1d(positions_of(store), chosen)
            missing = count - len(chosen)
            more = sample_excluding(store, taken, missing, context.key(layer), context.threads)
            chosen = np.union1d(chosen, more)
        plan.insert(*decode(chosen, store.n_in))
        self.weigh(plan, layer, context)

    def weigh(self, plan: _core.Plan, layer: SparseParameter, context: RewiringContext) -> None:
        draw(self.init, plan, layer, context)


@register_rewiring
class GSE(Rewiring):
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
    output_layer : bool
        Whether the output layer is rewired.

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
        output_layer: bool = True,
    ) -> None:
        schedule = decaying_fraction("fraction", fraction, "cosine", end)
        self.candidates = choice("candidates", candidates, ("graest", "grabo", "uniform"))
        self.gamma, self.init = number("gamma", gamma, low=0.0, open_low=True), initializer(init)
        drop = DropSmallest(scope)
        self.scope = drop.scope
        self.by_candidates = GrowByCandidates(self.init, self.candidates, self.gamma)
        super().__init__(
            schedule_from(every),
            schedule,
            drop,
            self.by_candidates,
            end=end,
            output_layer=output_layer,
        )
        self.fraction = schedule.value

    def plans(
        self, layers: Sequence[SparseParameter], context: RewiringContext, regrow: bool
    ) -> list[_core.Plan]:
        plans = [_core.Plan(layer.core) for layer in layers]
        self.drop.mark_all(plans, layers, self.fraction_schedule.at(context.progress), context)
        if regrow:
            for i, layer in enumerate(layers):
                room = empty_slots(layer)
                if plans[i].n_removed > room:  # nearly full: drop as many links as there are empty positions
                    plans[i] = _core.Plan(layer.core)
                    plans[i].prune_smallest(room, *context.key(layer), context.threads)
            if self.scope == "global" and layers:
                self.by_candidates.place_all(plans, layers, context)
                plans = rebalance(plans, layers, self.by_candidates, context)
            else:
                wanted = self.redistribute.counts(plans, layers, context)
                counts = [min(n, empty_links(layer)) for n, layer in zip(wanted, layers, strict=True)]
                plans = [self.regrow(*each, context) for each in zip(plans, layers, counts, strict=True)]
        return plans
