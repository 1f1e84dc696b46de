"""How workers train, as options say it and files keep it: ``--strategy wassp --strategy-opt alone=0.3``."""

from __future__ import annotations

import argparse
import copy
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from rewire import _checks
from rewire._registry import folded
from rewire._strategies import WASAP, WASSP, LocalSGD, Strategy, Sync
from rewire.cli._shared import UsageError, usage
from rewire.cli._types import assignment, whole

__all__ = ["add_strategy", "has_whole_batches", "noted", "of_this_call", "strategy_of"]

KINDS: dict[str, type[Strategy]] = {"sync": Sync, "local-sgd": LocalSGD, "wassp": WASSP, "wasap": WASAP}
_SHORT = "local"  # local:3x2 is what local-sgd with every=3 and workers=2 is


def add_strategy(training: Any) -> None:
    """``--strategy`` and ``--strategy-opt``."""
    training.add_argument(
        "--strategy", type=strategy_word, metavar="NAME",
        help="what workers do: sync, every step together (default); local-sgd, 32 steps alone, and then the "
        "mean of all weights, in short local:N or local:NxM for N steps of M trainings; wassp, the last 0.3 "
        "of the epochs each with links of its own, and then a merge; wasap, the same after gradients that "
        "are learnt from as they come, which no seed brings back. Bits depend on the number of trainings, by "
        "default that of workers; --resume goes on with all of it, with fewer workers too",
    )  # fmt: skip
    training.add_argument(
        "--strategy-opt", type=assignment, action="append", metavar="NAME=VALUE",
        help="option of the strategy: every of local-sgd; alone (a fraction of --epochs), how or momentum of "
        "wassp and wasap; workers, the number of trainings, of all three; with --resume alone, of the "
        "strategy that the file has; may be repeated",
    )  # fmt: skip


def strategy_word(text: str) -> dict[str, Any]:
    """What a word says of a strategy: its name, and the numbers of ``local:N`` and ``local:NxM``."""
    word, colon, numbers = text.partition(":")
    names = {folded(name): name for name in KINDS}
    if folded(word) in names and not colon:
        return {"name": names[folded(word)]}
    if word == _SHORT:
        every, by, trainings = numbers.partition("x")
        try:
            found: dict[str, Any] = {"name": "local-sgd"}
            if colon:
                found["every"] = whole(1)(every)
            if by:
                found["workers"] = whole(1)(trainings)
            return found
        except (ValueError, argparse.ArgumentTypeError):
            pass
    raise argparse.ArgumentTypeError(
        f"must be {', '.join(KINDS)}, local, local:N or local:NxM with N and M >= 1, got {text}"
    )


def strategy_of(described: Mapping[str, Any]) -> Strategy:
    """The strategy of a name and options; ValueError or TypeError for what is none."""
    name, options = _checks.named("strategy", described)
    kind = KINDS[str(_checks.choice("strategy", name, tuple(KINDS)))]
    _checks.options(f"strategy {name!r}", options, kind)
    return kind(**options)


def noted(arguments: Namespace, notes: dict[str, Any], processes: int) -> Strategy | None:
    """The strategy that was asked for, or that of the file; a note of it with the number of trainings.

    Raises
    ------
    UsageError
        For options that do not go together.
    """
    before = notes.pop("strategy", None)
    options = dict(arguments.strategy_opt or ())
    if "name" in options:
        raise UsageError("--strategy-opt takes options of a strategy, got name: --strategy says which")
    described = arguments.strategy
    if described is None:
        if before is None:
            if options:
                raise UsageError("--strategy-opt does nothing without --strategy")
            return None
        try:
            described = strategy_word(before) if isinstance(before, str) else before
            strategy_of(described)
        except (argparse.ArgumentTypeError, ValueError, TypeError) as error:
            raise UsageError(f"the strategy of the file: {error}: give --strategy") from None
    with usage():
        plan = strategy_of({**described, **options})
    if isinstance(plan, Sync):
        return plan
    name = next(word for word, kind in KINDS.items() if type(plan) is kind)
    options = dict(vars(plan))
    if options["workers"] is None and processes > 1:
        options["workers"] = processes
    if arguments.shards is not None and has_whole_batches(plan):
        raise UsageError(f"--shards does nothing with --strategy {name}: who trains alone has whole batches")
    _refuse_contradictions(arguments, name, options["workers"], processes)
    notes["strategy"] = {"name": name, **options}
    return strategy_of(notes["strategy"])


def _refuse_contradictions(arguments: Namespace, name: str, trainings: int | None, processes: int) -> None:
    """Options that this strategy has no use for, and too few who would use it."""
    if name == "wasap" and processes < 2:
        raise UsageError("--strategy wasap needs --workers 2 or more: one keeps the network, others compute")
    if name == "wassp" and trainings is None:
        raise UsageError(
            "--strategy wassp needs --workers 2 or more, or --strategy-opt workers=N: one training has "
            "nobody to merge with"
        )
    if name != "local-sgd" and arguments.average:
        raise UsageError(f"--average does nothing with --strategy {name}, whose last epochs nobody sees")


def has_whole_batches(plan: Strategy | None) -> bool:
    """Whether nobody cuts batches into shards, whatever the trainer of a file did before."""
    return isinstance(plan, (LocalSGD, WASAP))


def of_this_call(plan: Strategy | None, epochs: int, remaining: int) -> Strategy | None:
    """The same for a call of ``fit`` with the epochs that are left: the last ones of the run are alone."""
    if not isinstance(plan, WASSP) or epochs == remaining:
        return plan
    plan = copy.copy(plan)
    plan.alone = min(1.0, plan.epochs_alone(epochs) / remaining)
    return plan
