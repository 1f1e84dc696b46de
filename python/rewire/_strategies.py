"""How workers train one network: together in every step, or alone for some steps and then averaged."""

from __future__ import annotations

import copy
from typing import Any

from rewire import _checks
from rewire._shards import MOST
from rewire._training import TrainerLike
from rewire.callbacks import handlers
from rewire.rewiring import Rule

__all__ = [
    "WASAP", "WASSP", "LocalSGD", "Strategy", "Sync", "check_strategy", "settled", "strategy", "trainings_of",
]  # fmt: skip

_FOLLOWING = ("on_epoch_begin", "on_step_end", "on_rewire", "on_epoch_end")


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
        many as with the ``LocalSGD`` before, in a saved run too; at first as many as there are processes.

    Notes
    -----
    Zinkevich et al., *Parallelized Stochastic Gradient Descent*, NIPS 2010; Stich, *Local SGD Converges Fast
    and Communicates Little*, ICLR 2019, equation (2). What is averaged beside the weights is ours.

    The history's step, and ``on_step_end``, which comes once a round with the mean loss of it, count steps of
    one worker: ``state.multiples(100)`` says whether a multiple of 100 was reached. A rule that looks at
    gradients looks at the first batch of the first worker, which is learnt from afterwards whatever
    ``skip_step`` says. Batches are not cut into shards. Of data in parts (``rewire.datasets.parts``) each
    worker has its own, every n-th of them, and such rules are refused.
    """

    def __init__(self, every: int = 32, *, workers: int | None = None) -> None:
        self.every = _checks.integer("every", every, low=1)
        self.workers = None if workers is None else _checks.integer("workers", workers, low=1, high=MOST)


class WASSP(Strategy):
    """Every step together at first; in the last epochs each alone, with links of its own; then a merge.

    In the last epochs every training has a part of the samples, drawn for the whole of them (of data in parts
    those of some shards, which its process has had before), and rewires by itself. At the end their links are
    merged, and pruned back to as many as a layer of each training had: those whose merged weights are
    smallest in magnitude are given up. Where these numbers differ, since a rule moves links between layers, a
    layer gets their mean. Dense layers, biases and buffers become their means.

    Parameters
    ----------
    alone : float in (0, 1]
        The fraction of the epochs of a call of ``fit``, its last ones, rounded; at least one.
    how : {"mean", "holders"}
        What becomes of a link's weights: their sum divided by the number of trainings, as published, so that
        a link of few of them is weak; or their mean over those that have the link.
    momentum : {"mean", "holders", "zero"}
        What becomes of the optimizer's state: as of weights, or nothing is left of it, as published.
    workers : int, optional
        How many trainings there are, at least 2, in however many processes: bits depend on this number. By
        default as many as there are processes. A training whose part has no samples, or none with a weight,
        is left out.

    Notes
    -----
    Curci, Mocanu and Pechenizkiy, *Truly Sparse Neural Networks at Scale*, arXiv:2102.01732, section 4: the
    synchronous variant of WASAP-SGD. There the learning rate of the first part is the rate times the number
    of workers; here a batch is what ``batch_size`` says, and the rate is the optimizer's. Pruning there is by
    magnitude within each sign, here by magnitude alone.

    Callbacks are told nothing during the last epochs, whose rows of the history are means over trainings.
    After the merge come validation, ``on_epoch_end`` with the last row, and ``on_fit_end``. So what has to
    see every epoch, step or rewiring is refused by name; a :class:`~rewire.Checkpoint` saves nothing between.
    Rules are refused that keep a pattern of links, or something for every link, that a merge would break.
    Ctrl-C in the last epochs goes back to before them.
    """

    def __init__(
        self, alone: float = 0.3, *, how: str = "mean", momentum: str = "mean", workers: int | None = None
    ) -> None:
        self.alone = _checks.number("alone", alone, low=0.0, high=1.0, open_low=True)
        self.how = str(_checks.choice("how", how, ("mean", "holders")))
        self.momentum = str(_checks.choice("momentum", momentum, ("mean", "holders", "zero")))
        self.workers = None if workers is None else _checks.integer("workers", workers, low=2, high=MOST)

    def epochs_alone(self, epochs: int) -> int:
        """How many of the epochs of a call of ``fit`` each makes alone."""
        return max(1, int(self.alone * epochs + 0.5))


class WASAP(WASSP):
    """At first gradients are learnt from as they come, of links of before too; then as :class:`WASSP`.

    The process that calls ``fit`` keeps the network, and computes no gradient in this part. Each of the
    others gets weights and a batch, hands a gradient back, and gets the next; nobody waits for another. So
    this is for ``workers=3`` and more: with 2 one computes gradients, on its share of the threads. The
    gradient that comes first is learnt from first, though others have moved the weights meanwhile. Where a
    rewiring lies between, values for links that are no longer there are dropped, and links that have been
    grown since have none. An epoch is as many steps as it has batches. A batch that a worker still has
    counts in the next epoch; after the last one of this part it is given up. After Ctrl-C an epoch goes on
    from where it had come to, so that batches that were out then may be learnt from twice, or not at all.

    **Not reproducible**: which gradient comes first is decided by chance, and no seed brings it back.

    Parameters
    ----------
    alone, how, momentum, workers
        As of :class:`WASSP`: the last epochs are the same, in which the first process trains as well.

    Notes
    -----
    Curci, Mocanu and Pechenizkiy, *Truly Sparse Neural Networks at Scale*, arXiv:2102.01732, section 4:
    WASAP-SGD, with its filter of stale gradients. There each worker has a fixed part of the samples from the
    start; here batches are those of training together, in its order, until the last epochs; and rank 0 only
    keeps the network.

    It needs ``workers=2`` or more, which ``fit`` starts; mpiexec, srun and torchrun are refused. Batches are
    not cut into shards. Where all epochs are the last ones, ``epochs=1`` say, it is :class:`WASSP`.
    """


def strategy(given: Any) -> Strategy:
    """What ``fit`` was given, or :class:`Sync`."""
    what = "rewire.Sync(), rewire.LocalSGD(every=32), rewire.WASSP() or rewire.WASAP()"
    return Sync() if given is None else _checks.one_of_types("strategy", given, Strategy, what)


def settled(given: Strategy, before: int | None, processes: int) -> Strategy:
    """The same with a number of trainings, where several learn alone: by default that of processes.

    A :class:`LocalSGD` that says no number goes on with that of the ``LocalSGD`` before, which a saved
    trainer knows; ValueError for more processes. Others begin anew in every call.
    """
    several = processes
    if isinstance(given, LocalSGD) and given.workers is None and before is not None and before > 1:
        several = before
        if processes > before:
            raise ValueError(
                f"strategy {given!r} cannot be used with {processes} processes: there are {before} trainings,"
                " as many as in the call before, which decide bits; LocalSGD(workers=) says another number"
            )
    if isinstance(given, (LocalSGD, WASSP)) and given.workers is None and several > 1:
        given = copy.copy(given)
        given.workers = several
    return given


def trainings_of(given: Strategy, processes: int) -> int:
    """How many batches a step takes: one of every training that learns alone."""
    return (given.workers or processes) if isinstance(given, LocalSGD) else 1


def check_strategy(trainer: TrainerLike, given: Strategy, processes: int) -> None:
    """ValueError for a trainer that cannot train like this; the part is named."""
    what = f"strategy {given!r} cannot be used with"
    if isinstance(given, WASSP):
        _check_wassp(trainer, given, processes, what)
        return
    if not isinstance(given, LocalSGD):
        return
    if not trainer.optimizer.in_core:
        raise ValueError(f"{what} {trainer.optimizer!r}, whose steps other processes do not know")
    if type(trainer.rewiring).stepped is not Rule.stepped:
        raise ValueError(f"{what} {trainer.rewiring.label}, which has to follow every step")
    _check_shards(trainer, what)
    if given.workers is not None and processes > given.workers:
        raise ValueError(f"{what} {processes} processes: there are {given.workers} trainings")


def _check_shards(trainer: TrainerLike, what: str) -> None:
    if (trainer.shards or 1) > 1:
        raise ValueError(
            f"{what} shards={trainer.shards}: workers that train alone have whole batches; set "
            "trainer.shards = None"
        )


def _check_wassp(trainer: TrainerLike, given: WASSP, processes: int, what: str) -> None:
    if (given.workers or processes) < processes:
        raise ValueError(f"{what} {processes} processes: there are {given.workers} trainings")
    if given.workers is None and processes < 2:
        raise ValueError(f"{what} 1 training, which has nobody to merge with: workers=, or WASSP(workers=)")
    if isinstance(given, WASAP):
        _check_shards(trainer, what)
        if processes < 2:
            raise ValueError(f"{what} 1 process, which has nobody to hear of: fit(workers=2) or more")
    for callback in trainer.callbacks:
        told = handlers([callback])
        own = next((event for event in _FOLLOWING if told[event]), None)
        if own is not None and not getattr(callback, "saves", False):
            raise ValueError(
                f"{what} {type(callback).__name__}, which has to be told of every epoch: it has {own}"
            )
    for rule in trainer.rewiring.parts():
        if rule.unmergeable:
            raise ValueError(f"{what} {rule.label}, which {rule.unmergeable}")
        kept = next((name for name, field in rule.fields.items() if not field.ages), None)
        if kept is not None:
            raise ValueError(f"{what} {rule.label}, which keeps {kept!r} for every link")
