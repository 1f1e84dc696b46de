"""SET: sparse evolutionary training.

Mocanu, Mocanu, Stone, Nguyen, Gibescu, Liotta, *Scalable training of artificial
neural networks with adaptive sparse connectivity inspired by network science*,
Nature Communications 9:2383 (2018).
"""

from __future__ import annotations

from typing import Any

from rewire import _core
from rewire._checks import integer
from rewire.initializers import Initializer, initializer
from rewire.layers import Sparse
from rewire.rewiring.base import Comes, Every, Goes, Key, Rewiring, Share, register_rewiring

__all__ = ["SET", "AtRandom", "NearestZeroBySign"]


class NearestZeroBySign(Goes):
    """floor(share * n+) of the positive links and floor(share * n-) of the negative ones, nearest zero first.

    +-0 counts as positive and goes first; ties are broken by a hash of (seed, rewiring, row, source). With
    groups a slot goes by the sum of |w| over its rows, without the split by sign.
    """

    def mark(self, plan: _core.Plan, share: float, key: Key, threads: int) -> None:
        plan.prune_set(share, key.seed, key.stream, key.step, threads)


class AtRandom(Comes):
    """As many links as went, uniformly over the empty places; a place just emptied may be filled again."""

    def __init__(self, init: Initializer) -> None:
        self.init = init

    def place(self, plan: _core.Plan, layer: Sparse, key: Key, threads: int) -> None:
        plan.grow_random(plan.n_removed, key.seed, key.stream, key.step, threads)
        self.init.draw(
            plan,
            layer.nnz,
            layer.activation.gain,
            seed=key.seed,
            stream=key.stream,
            step=key.step,
            threads=threads,
        )


@register_rewiring
class SET(Rewiring):
    """After every epoch the links nearest zero go and as many come at random places.

    Parameters
    ----------
    zeta : float in [0, 1]
        Share of the positive and of the negative links that go (0.3 in the paper).
    every : int or Every
        Epochs between rewirings, or a schedule such as ``Every(steps=500)``.
    init : str, float or Initializer
        Weights of newcomers. ``"zeros"`` by default: newcomers at full He scale cost accuracy in short
        runs. The authors draw them like the start.
    output_layer : bool
        Whether the output layer is rewired (the first release does, later ones do not).
    last_epoch : {"skip", "remove"}
        After the last epoch of ``fit``: nothing (the authors' code), or removal without regrowth (the paper).

    Notes
    -----
    Momentum and Adam's moments stay with the links that survive; newcomers start without. The number of
    links never changes, except by ``last_epoch="remove"``. A layer that is full is left alone.
    Cost: one pass over the links, about that of one or two training steps.
    """

    name = "set"

    def __init__(
        self,
        zeta: float = 0.3,
        *,
        every: int | Every | dict[str, Any] = 1,
        init: str | float | Initializer | dict[str, Any] = "zeros",
        output_layer: bool = True,
        last_epoch: str = "skip",
    ) -> None:
        if isinstance(every, dict):
            every = Every(**every)
        elif not isinstance(every, Every):
            every = Every(epochs=integer("every", every, low=1))
        share = Share(zeta)
        self.zeta, self.init = share.value, initializer(init)
        super().__init__(
            every,
            share,
            NearestZeroBySign(),
            AtRandom(self.init),
            output_layer=output_layer,
            last_epoch=last_epoch,
        )

    def config(self) -> dict[str, Any]:
        assert self.when is not None
        return {
            "name": self.name,
            "zeta": self.zeta,
            "every": {"epochs": self.when.epochs, "steps": self.when.steps, "stop": self.when.stop},
            "init": self.init.config(),
            "output_layer": self.output_layer,
            "last_epoch": self.last_epoch,
        }
