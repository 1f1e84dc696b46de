"""How long a run is, over all calls of ``fit``, and whether a rewiring rule fits into it.

Schedules may name a share of the run (``end=0.75``). A run is as long as the trainer's ``horizon`` says, in
epochs; without one it ends at the furthest end that a call of ``fit`` has had, so that a second call may
lengthen it. That moves all shares, and a trainer says so once.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from rewire._warn import warn
from rewire.rewiring import Every, Moment, Once, Rewiring

if TYPE_CHECKING:
    from rewire.trainer import Trainer

__all__ = ["run_length"]

FEW = 2  # a rule that acts fewer times in a run has a period that does not fit it
TURNS = 10_000  # of a period that are looked at
SHOWN = 3  # steps outside of a period that one message names


def run_length(trainer: Trainer, count: int, steps: int) -> int:
    """The epochs of the run when ``count`` more are asked for, of so many steps; the trainer keeps them.

    Warns
    -----
    UserWarning
        Once for each trainer and rule: when the run grows although shares of it count, and when it is too
        short for the rule's period.
    """
    end = trainer.epoch + count
    before, length = trainer.reach, trainer.horizon
    if length is None:
        length = max(before, end)
        if 0 < before < length:
            _say_grown(trainer, before, length)
    _say_misfit(trainer, length, steps)
    trainer.reach = max(before, end)
    return length


def _once(trainer: Trainer, what: str, rule: Rewiring, words: str) -> None:
    if (what, rule.name) not in trainer.told:
        warn(words, UserWarning)
        trainer.told = trainer.told | {(what, rule.name)}


def _say_grown(trainer: Trainer, before: int, length: int) -> None:
    for rule in trainer.rewiring.parts():
        if found := _shares(rule):
            words = (
                f"rewiring {_name(rule)!r}: {found} is a share of the run, which was {_epochs(before)} long "
                f"and now is {length}; give its whole length, horizon={length} or more, or an end in steps"
            )
            _once(trainer, "grown", rule, words)


def _say_misfit(trainer: Trainer, length: int, steps: int) -> None:
    run = f"the run has {length * steps} steps in {_epochs(length)}"
    for rule in trainer.rewiring.parts():
        schedule = rule.when
        if isinstance(schedule, Once) and schedule.step >= length * steps:
            words = f"rewiring {_name(rule)!r} never acts: step={schedule.step}, and {run}"
            _once(trainer, "misfit", rule, words)
        elif isinstance(schedule, Every):
            period, unit = schedule.period
            if period == 1 or 0 in (schedule.stop, rule.until):
                continue  # as short as periods come; or it is meant never to act
            turns = filter(rule.acts, islice(schedule.turns(length, steps), TURNS))
            times = sum(1 for _ in islice(turns, FEW))
            if times == FEW or ("misfit", rule.name) in trainer.told:
                continue
            often = f"{'once' if times else 'never'}{_apart(rule, schedule, length, steps)}"
            better = {unit: max(1, (length if unit == "epochs" else length * steps) // 15)}
            words = (
                f"rewiring {_name(rule)!r} acts {often}: its period is {period} {unit}"
                f", {run}{', and ' if _shares(rule) else ''}{_shares(rule)}; give a shorter one, such as "
                f"rewiring={{'name': {_name(rule)!r}, 'every': {better!r}}}, or if the run takes more calls, "
                "its length: horizon=..."
            )
            _once(trainer, "misfit", rule, words)


def _apart(rule: Rewiring, schedule: Every, length: int, steps: int) -> str:
    """Steps at which a rule acts whatever its period: its end, say."""
    whole, found = length * steps, []
    for step in range(min(whole, TURNS)):
        moment = Moment(step // steps, step, step % steps == 0, length, whole)
        if rule.acts(moment) and not schedule.due(moment):
            found.append(str(step))
    if not found:
        return ""
    listed = " and ".join(found) if len(found) <= SHOWN else f"{', '.join(found[:SHOWN])} and more"
    return f" apart from step{'s' * (len(found) > 1)} {listed}"


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' if count > 1 else ''}"


def _shares(rule: Rewiring) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in rule.run_shares().items())


def _name(rule: Rewiring) -> str:
    return rule.name or type(rule).__name__
