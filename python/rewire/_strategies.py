"""How workers train one network: together in every step, or alone for some steps and then averaged."""

from __future__ import annotations

from typing import Any

from rewire import _checks
from rewire._shards import MOST
from rewire._training import TrainerLike
from rewire.rewiring import Rule

__all__ = ["LocalSGD", "Strategy", "Sync", "check_strategy", "strategy"]


class Strategy:
    """What workers do between two exchanges."""

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({said})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class Sync(Strategy):
    """Every step is made together: each worker computes gradients of some shards of a batch.

    The bits are those of one process with as many shards. This is the default.
    """


class LocalSGD(Strategy):
    """Each worker takes some steps by itself, on batches of its own; then weights and momentum are averaged.

    A *round* is up to ``every`` steps of each worker, all from the same weights and links, with the same
    learning rates. Then weights, biases, the optimizer's state and buffers become their means, added in a
    fixed tree. Rewiring is decided by the first process, after an average: a round ends before a step at
    which it is due. An epoch goes through all samples once, so it has fewer steps in a row than with one
    worker, by the number of workers.

    Parameters
    ----------
    every : int
        Steps of a worker between two averages.
    workers : int, optional
        How many trainings there are, in however many processes: bits depend on this number. By default as
        many as there are processes.

    Notes
    -----
    Zinkevich et al., *Parallelized Stochastic Gradient Descent*, NIPS 2010; Stich, *Local SGD Converges Fast
    and Communicates Little*, ICLR 2019, equation (2). What is averaged beside the weights is ours.

    The history's step, and ``on_step_end``, which comes once a round with the mean loss of it, count steps of
    one worker. A rule that looks at gradients looks at the first batch of the first worker, which is learnt
    from afterwards whatever ``skip_step`` says. Batches are not cut into shards.
    """

    def __init__(self, every: int = 32, *, workers: int | None = None) -> None:
        self.every = _checks.integer("every", every, low=1)
        self.workers = None if workers is None else _checks.integer("workers", workers, low=1, high=MOST)


def strategy(given: Any) -> Strategy:
    """What ``fit`` was given, or :class:`Sync`."""
    return Sync() if given is None else _checks.one_of_types("strategy", given, Strategy, "a strategy")


def check_strategy(trainer: TrainerLike, given: Strategy, processes: int) -> None:
    """ValueError for a trainer that cannot train like this; the part is named."""
    if not isinstance(given, LocalSGD):
        return
    what = f"strategy {given!r} cannot be used with"
    if not trainer.optimizer.in_core:
        raise ValueError(f"{what} {trainer.optimizer!r}, whose steps other processes do not know")
    if type(trainer.rewiring).stepped is not Rule.stepped:
        raise ValueError(f"{what} {trainer.rewiring.label}, which changes the network after every step")
    if (trainer.shards or 1) > 1:
        raise ValueError(f"{what} shards={trainer.shards}: workers that train alone have whole batches")
    if given.workers is not None and processes > given.workers:
        raise ValueError(f"{what} {processes} processes: there are {given.workers} trainings")
