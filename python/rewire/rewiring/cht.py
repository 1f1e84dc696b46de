"""CHT: Cannistraci-Hebb training, in which the shape of the network says where links grow.

Zhang, Zhao, Wu, Muscoloni, Cannistraci, *Epitopological learning and Cannistraci-Hebb network shape
intelligence brain-inspired theory for ultra-sparse advantage in deep learning*, ICLR 2024. The soft rules:
Zhang et al., *Brain network science modelling of sparse neural networks enables Transformers and LLMs to
perform as fully connected*, 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import boolean, choice, float_vector, number
from rewire._positions import groups_of
from rewire.network import Sequential
from rewire.parameters import SparseParameter
from rewire.reachability import refuse_opaque
from rewire.rewiring.base import register_rule
from rewire.rewiring.chains import without_chains
from rewire.rewiring.context import SOFT_DROP, RewiringContext
from rewire.rewiring.drop import Drop, magnitudes
from rewire.rewiring.fraction import decaying_fraction
from rewire.rewiring.grow import Grow
from rewire.rewiring.memory import Entry
from rewire.rewiring.participation import Layers
from rewire.rewiring.redistribute import RedistributeLike
from rewire.rewiring.schedule import Epochs, ScheduleLike, schedule_from
from rewire.rewiring.swap import Swap

__all__ = ["CHT", "GrowByPaths", "DropWeakest"]


class DropWeakest(Drop):
    """floor(fraction * n) of the links, the weakest or mostly the weak.

    Parameters
    ----------
    removal : {"magnitude", "importance"}
        Strength of a link: |w|, or its relative importance |w| / (sum over the links of its source) +
        |w| / (sum over the links of its neuron). Of a slot the sum over its rows.
    soft : bool
        Draw the links that stay, without replacement, with chances in proportion to strength ** T.
    temperature : (float, float)
        T at the beginning and at the end of the run.
    chains : bool
        Whether links that are then on no path from an input of the network to an output are dropped too:
        only for rules that have a network.
    """

    def __init__(
        self,
        removal: str = "magnitude",
        *,
        soft: bool = False,
        temperature: Sequence[float] = (1.0, 3.0),
        chains: bool = False,
    ) -> None:
        self.chains = boolean("chains", chains)
        self.needs_network = "the removal of chains" if self.chains else ""
        self.removal = choice("removal", removal, ("magnitude", "importance"))
        self.soft = boolean("soft", soft)
        self.temperature = float_vector("temperature", temperature, 2, low=0.0).tolist()

    def run_fractions(self) -> dict[str, Any]:
        return {"temperature": self.temperature} if self.soft else {}

    def scores(self, parameter: SparseParameter, context: RewiringContext) -> NDArray[np.float64]:
        """What every slot has to lose its link last, canonical order: its strength, or a draw by that."""
        strength = magnitudes(parameter) if self.removal == "magnitude" else importances(parameter)
        if self.soft:
            begin, end = self.temperature
            progress = context.progress
            done = progress.step / progress.steps if progress.steps > 0 else 0.0
            luck = context.generator(parameter, SOFT_DROP).standard_exponential(len(strength))
            # The k largest p / e, e exponential, are k draws with chances p: Efraimidis and Spirakis, 2006.
            strength = _ratio(strength, strength.max(initial=0.0)) ** (begin + (end - begin) * done)
            strength = _ratio(strength, luck)
        return strength

    def mark(
        self, plan: _core.Plan, parameter: SparseParameter, fraction: float, context: RewiringContext
    ) -> None:
        scores = self.scores(parameter, context)
        plan.prune_scores(scores, int(fraction * len(scores)), *context.key(parameter), context.threads)

    def mark_all(
        self,
        plans: Sequence[_core.Plan],
        parameters: Sequence[SparseParameter],
        fraction: float,
        context: RewiringContext,
    ) -> list[_core.Plan]:
        marked = super().mark_all(plans, parameters, fraction, context)
        if not self.chains:
            return marked
        assert context.network is not None
        return without_chains(context.network, marked)


def importances(parameter: SparseParameter) -> NDArray[np.float64]:
    """Relative importance of every slot in canonical order, summed over its rows: shape (slots,)."""
    store = parameter.core
    w = np.abs(store.get_field("weight"), dtype=np.float64)
    groups, sources = groups_of(store), store.sources()
    by_source = np.bincount(sources, w.sum(axis=1), minlength=store.n_in)[sources]
    found = np.zeros(len(w))
    for r in range(store.group):
        by_neuron = np.bincount(groups, w[:, r], minlength=store.n_groups)[groups]
        found += _ratio(w[:, r], by_source) + _ratio(w[:, r], by_neuron)
    return found


def _ratio(a: NDArray[np.float64], b: Any) -> NDArray[np.float64]:
    """a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=np.asarray(b) > 0.0)


class GrowByPaths(Grow):
    """Where many paths of three links exist: Cannistraci-Hebb link prediction, CH2-L3p or CH3-L3p.

    Group u and source v are connected by the paths u - a - b - v over links that stay. Their inner nodes are
    a community; such a node has i links to others of it and e to nodes that are neither u, v nor of it. The
    score of a position is the sum over its paths of 1 / sqrt((1 + e_a) (1 + e_b)), for CH2 times
    sqrt((1 + i_a) (1 + i_b)).

    Parameters
    ----------
    score : {"ch3", "ch2"}
    soft : bool
        Draw positions without replacement with chances in proportion to their scores, instead of taking the
        highest.
    overlap : float in [0, 1], optional
        Once more than this fraction of its dropped links was regrown, a layer's name is put into the rule's
        memory as one of those that have ``"stopped"``.

    Notes
    -----
    Exact, in O(links) memory: nothing of the size n_out x n_in is made. Time is in proportion to the number
    of paths, links * fan-in * fan-out, and to n_out * n_in. Positions on no path come last, at random; ties
    are broken by a hash of (seed, rewiring, row, source). Links that are being dropped are candidates too:
    one that is chosen stays as it was. Others start at zero.
    """

    def __init__(self, score: str = "ch3", *, soft: bool = False, overlap: float | None = None) -> None:
        self.score = choice("score", score, ("ch3", "ch2"))
        self.soft = boolean("soft", soft)
        self.overlap = None if overlap is None else number("overlap", overlap, low=0.0, high=1.0)

    def place(
        self, plan: _core.Plan, parameter: SparseParameter, count: int, context: RewiringContext
    ) -> None:
        plan.grow_paths(count, self.score, self.soft, *context.key(parameter), context.threads)
        plan.keep_common()

    def regrow(
        self, plan: _core.Plan, parameter: SparseParameter, links: int, context: RewiringContext
    ) -> _core.Plan:
        removed = plan.n_removed
        plan = super().regrow(plan, parameter, links, context)
        if self.overlap is not None and removed - plan.n_removed > self.overlap * removed:
            context.remember("stopped", sorted({*context.recall("stopped", ()), parameter.name}))
        return plan


@register_rule
class CHT(Swap):
    """After every epoch the weakest links are dropped, and as many grow where many short paths exist.

    Parameters
    ----------
    fraction : float in [0, 1]
        Fraction of each layer's links that is dropped (zeta in the paper: 0.3).
    every : int, str, Epochs, Steps or dict
        When to rewire: after every epoch. A bare number counts steps.
    decay : {"constant", "cosine", "power"}
        How the fraction falls over the run; the authors' commands use "cosine".
    redistribute : str, dict, Redistribute or None
        How links move between layers: see :class:`~rewire.rewiring.Swap`. None, as in the paper: not at all.
    score : {"ch3", "ch2"}
        The score of :class:`~rewire.rewiring.GrowByPaths` by which new links are chosen.
    removal : {"magnitude", "importance"}
        What weak means: see :class:`~rewire.rewiring.DropWeakest`.
    soft_removal, soft_growth : bool
        Draw the links that stay, and those that grow, instead of taking the best; both: the soft rule (CHTs).
    temperature : (float, float)
        How sharp soft removal is, at the beginning and at the end of the run: chances in proportion to
        strength ** T. The authors use 1 to 3 for networks like these, 1 to 9 for language models.
    chain_removal : bool
        Whether links that are on no path from an input of the network to an output any more are removed too;
        as many more grow in the same layer.
    overlap : float in [0, 1] or None
        A layer is not rewired any more once more than this fraction of its dropped links was regrown. The
        paper's early stop; the authors' code rewires all layers until each has reached it once. None: never.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    The authors score all pairs of nodes in a dense table; here scores are computed row by row, the top k of
    them are kept, and no table is made. They add 1e-5 to every entry of the sums that relative importance
    divides by, also to entries without links; here 0 / 0 counts as 0. With groups, the nodes on the output
    side are groups.

    A rewiring takes fan-in * fan-out additions for every link, an epoch of training three multiply-adds a
    sample: with tens of links a neuron rewiring takes little time, with hundreds more than training.
    """

    name = "cht"
    memory = {"stopped": Entry.names()}

    def __init__(
        self,
        fraction: float = 0.3,
        *,
        every: ScheduleLike = Epochs(1),
        decay: str = "constant",
        redistribute: RedistributeLike = None,
        score: str = "ch3",
        removal: str = "magnitude",
        soft_removal: bool = False,
        soft_growth: bool = False,
        temperature: Sequence[float] = (1.0, 3.0),
        chain_removal: bool = True,
        overlap: float | None = 0.9,
        layers: Layers = None,
    ) -> None:
        self.soft_removal = boolean("soft_removal", soft_removal)
        self.soft_growth = boolean("soft_growth", soft_growth)
        self.chain_removal = boolean("chain_removal", chain_removal)
        weakest = DropWeakest(
            removal, soft=self.soft_removal, temperature=temperature, chains=self.chain_removal
        )
        by_paths = GrowByPaths(score, soft=self.soft_growth, overlap=overlap)
        self.removal, self.temperature = weakest.removal, weakest.temperature
        self.score, self.overlap = by_paths.score, by_paths.overlap
        schedule = decaying_fraction("fraction", fraction, decay, 1.0)
        super().__init__(
            schedule_from(every), schedule, weakest, by_paths, redistribute=redistribute, layers=layers
        )
        self.fraction, self.decay = schedule.value, decay

    def workable(
        self, parameters: Sequence[SparseParameter], context: RewiringContext
    ) -> list[SparseParameter]:
        stopped = context.memory.get("stopped", ())
        return [q for q in super().workable(parameters, context) if q.name not in stopped]

    def prepare(self, parameters: Sequence[SparseParameter], network: Sequential | None = None) -> None:
        super().prepare(parameters, network)
        if self.chain_removal and network is not None:
            refuse_opaque(network.layers)
