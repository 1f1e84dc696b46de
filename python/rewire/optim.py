"""Optimizers: constants and their position; the arithmetic is in C, inside the backward pass.

An optimizer says which fields a weight needs, and turns (lr, schedule, step)
into the core's terms before every step. Weight decay applies to weights, never
to biases.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rewire import _core
from rewire._checks import boolean, choice, describe, number
from rewire._params import Parameters
from rewire._registry import Registry
from rewire.layers.base import Updates
from rewire.schedules import Schedule, schedule

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "optimizer"]

DECAYS = ("l2", "decoupled", "per_step")


class Optimizer(Parameters):
    """Base of all optimizers: constants only; what moves (state, steps taken) belongs to layers and trainer.

    Attributes
    ----------
    lr, weight_decay : float
        May be changed between steps.
    """

    name: ClassVar[str] = ""
    state_names: tuple[str, ...] = ()  # fields of every weight
    needs_age: ClassVar[bool] = False  # whether links are corrected by their own age
    _core_options: dict[str, Any]

    def __init__(
        self,
        lr: float,
        weight_decay: float,
        decay: str,
        clip_norm: float | None,
        schedule_: Schedule | dict[str, Any] | None,
    ) -> None:
        self.lr = number("lr", lr, low=0.0, open_low=True)
        self.weight_decay = number("weight_decay", weight_decay, low=0.0)
        self.decay = choice("decay", decay, DECAYS)
        self.clip_norm = None if clip_norm is None else number("clip_norm", clip_norm, low=0.0, open_low=True)
        self.schedule = schedule(schedule_)

    def updates(self) -> Updates:
        """Fresh constants in the core's terms; :meth:`place` sets what changes from step to step."""
        weights, biases = (_core.Update(decay_kind=self.decay, **self._core_options) for _ in range(2))
        biases.decay = 0.0
        return Updates(weights, biases, {})

    def rate(self, epoch: int, step: int) -> float:
        """The learning rate after ``epoch`` whole epochs and ``step`` steps."""
        return self.lr * self.schedule.factor(epoch, step)

    def place(self, updates: Updates, rate: float, count: int) -> None:
        """Set learning rate and ``count``, 1 for the first step on fresh state."""
        updates.penalties.clear()
        for update in (updates.weights, updates.biases):
            update.lr = rate
            update.step = count
        updates.weights.decay = self.weight_decay

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`optimizer` reads it back."""
        return {
            "name": KINDS.saved_as(self),
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "clip_norm": self.clip_norm,
            "schedule": self.schedule.config(),
        }


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum as in torch: m = momentum * m + g; w -= lr * m.

    Parameters
    ----------
    lr : float
    momentum : float in [0, 1)
    nesterov : bool
        Needs momentum.
    weight_decay : float
    decay : {"l2", "decoupled", "per_step"}
        What weight decay means: added to the gradient, g += wd * w; or w -= lr * wd * w beside it; or
        w -= wd * w at every step whatever lr is, as in the SET authors' code.
    clip_norm : float, optional
        Scale all gradients down together when their joint norm exceeds this.
    schedule : Schedule, optional
        Factor on lr.
    """

    name = "sgd"

    def __init__(
        self,
        lr: float = 0.01,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decay: str = "l2",
        clip_norm: float | None = None,
        schedule: Schedule | dict[str, Any] | None = None,
    ) -> None:
        self.momentum = number("momentum", momentum, low=0.0, high=1.0, open_high=True)
        self.nesterov = boolean("nesterov", nesterov)
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov needs momentum > 0, got momentum=0")
        self.state_names = ("momentum",) if self.momentum > 0.0 else ()
        self._core_options = {"kind": "sgd", "momentum": self.momentum, "nesterov": self.nesterov}
        super().__init__(lr, weight_decay, decay, clip_norm, schedule)

    def config(self) -> dict[str, Any]:
        return {
            **super().config(), "momentum": self.momentum, "nesterov": self.nesterov, "decay": self.decay,
        }


class Adam(Optimizer):
    """Adam with L2 decay in the gradient. A link that was born later is bias-corrected by its own age.

    Parameters
    ----------
    lr : float
    betas : pair of float in [0, 1)
    eps : float
    weight_decay, clip_norm, schedule
        As for :class:`SGD`; decay is added to the gradient.

    Notes
    -----
    Kingma, Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015.
    """

    name = "adam"
    state_names = ("adam_m", "adam_v")
    needs_age = True
    _decay = "l2"

    def __init__(
        self,
        lr: float = 0.001,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        schedule: Schedule | dict[str, Any] | None = None,
    ) -> None:
        try:
            beta1, beta2 = betas
        except (TypeError, ValueError):
            raise TypeError(f"betas must be a pair of numbers, got {describe(betas)}") from None
        self.betas = (
            number("betas[0]", beta1, low=0.0, high=1.0, open_high=True),
            number("betas[1]", beta2, low=0.0, high=1.0, open_high=True),
        )
        self.eps = number("eps", eps, low=0.0, open_low=True)
        self._core_options = {
            "kind": "adam", "beta1": self.betas[0], "beta2": self.betas[1], "eps": self.eps,
        }
        super().__init__(lr, weight_decay, self._decay, clip_norm, schedule)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "betas": list(self.betas), "eps": self.eps}


class AdamW(Adam):
    """Adam with decoupled decay, w -= lr * wd * w.

    Loshchilov, Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019.
    """

    name = "adamw"
    _decay = "decoupled"

    def __init__(
        self,
        lr: float = 0.001,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        clip_norm: float | None = None,
        schedule: Schedule | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            lr, betas=betas, eps=eps, weight_decay=weight_decay, clip_norm=clip_norm, schedule=schedule
        )


KINDS = Registry("optimizer", Optimizer, "a dict or an Optimizer")
for _kind in (SGD, Adam, AdamW):
    KINDS.register(_kind)


def optimizer(what: str | Optimizer | dict[str, Any]) -> Optimizer:
    """The optimizer that ``what`` names: an object, a name (its defaults), or a ``config()``.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    return KINDS.build(what)
