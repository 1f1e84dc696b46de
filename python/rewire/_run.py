"""How long a run is, over all calls of ``fit``, and whether a rewiring rule fits into it.

Schedules may name a fraction of the run (``end=0.75``). A run is as long as the trainer's ``horizon`` says,
in epochs; without one it ends at the furthest end that a call of ``fit`` has had, so that a second call may
lengthen it. That changes the steps of all fractions, and a trainer warns once.
"""

from __future__ import annotations

from itertools import islice

from rewire._format import plural
from rewire._training import TrainerLike
from rewire._warn import warn
from rewire.rewiring import Epochs, Once, Rule, Steps, TrainingProgress, rewiring_names

__all__ = ["rewirings_within", "run_length"]

FEW = 2  # a rule that acts fewer times in a run has a period that does not fit it
MOST = 1_000  # rewirings of a period that are counted, in about 3 ms
SHOWN = 3  # steps outside of a period that one message names


def run_length(trainer: TrainerLike, count: int, steps: int) -> int:
    """The epochs of the run when ``count`` more are asked for, of so many steps; the trainer keeps them.

    Warns
    -----
    UserWarning
        Once for each trainer and rule: when the run grows although fractions of it count, and when it is too
        short for the rule's period.
    """
    end = trainer.epoch + count
    before, length = trainer.state.run_end, trainer.horizon
    if length is None:
        length = max(before, end)
        if 0 < before < length:
            _say_grown(trainer, before, length)
    _say_misfit(trainer, length, steps)
    trainer.state.run_end = max(before, end)
    return length


def _once(trainer: TrainerLike, what: str, rule: Rule, words: str) -> None:
    if (what, rule.name) not in trainer.state.told:
        warn(words, UserWarning)
        trainer.state.told = trainer.state.told | {(what, rule.name)}


def _say_grown(trainer: TrainerLike, before: int, length: int) -> None:
    for rule in trainer.rewiring.parts():
        if ("grown", rule.name) not in trainer.state.told and (found := _fractions(rule)):
            words = (
                f"rewiring {rule.label}: {found} is a fraction of the run, which was "
                f"{plural(before, 'epoch')} long and now is {length}; give its whole length, "
                f"horizon={length} or more, or an end in steps"
            )
            _once(trainer, "grown", rule, words)


def _say_misfit(trainer: TrainerLike, length: int, steps: int) -> None:
    if all(("misfit", rule.name) in trainer.state.told for rule in trainer.rewiring.parts()):
        return
    part = trainer.state.unfinished
    begun = trainer.step if part is None else part.first_step  # calls before may have had longer batches
    whole = begun + max(0, length - trainer.epoch) * steps
    run = f"the run has {plural(whole, 'step')} in {plural(length, 'epoch')}"
    for rule in trainer.rewiring.parts():
        if ("misfit", rule.name) in trainer.state.told:
            continue
        schedule = rule.every
        if isinstance(schedule, Once) and schedule.step >= whole:
            words = f"rewiring {rule.label} never acts: step={schedule.step}, and {run}"
            _once(trainer, "misfit", rule, words)
        elif isinstance(schedule, (Epochs, Steps)):
            period, unit = schedule.n, schedule.unit
            times = rewirings_within(rule, schedule, length, steps, (trainer.epoch, begun), trainer.rewirings)
            if times >= FEW:
                continue
            does = ("acts once" if times else "never acts") + _apart(rule, schedule, length, steps)
            better = max(1, (length if unit == "epochs" else whole) // 15)
            with_it = _with(rule, unit, better)
            shorter = f"give a shorter one, such as {with_it}, or " if better < period else ""
            fractions = f", and {found}" if (found := _fractions(rule)) else ""
            words = (
                f"rewiring {rule.label} {does}: its period is {period} {unit}, {run}{fractions}; {shorter}"
                f"if the run takes more calls, {'' if shorter else 'give '}its length: horizon=..."
            )
            _once(trainer, "misfit", rule, words)


def rewirings_within(
    rule: Rule,
    schedule: Epochs | Steps,
    epochs: int,
    steps: int,
    begun: tuple[int, int] = (0, 0),
    times: int = 0,
) -> int:
    """How often a rule acts by its period in a run of so many epochs, with those ``times`` that it has.

    No more than ``FEW`` are counted, and it is ``FEW`` where a shorter period would change nothing.
    """
    if times >= FEW or schedule.n == 1 or 0 in (schedule.stop, rule.rewiring_end):
        return FEW  # it has acted, or no period is shorter, or it is meant never to act
    looked = 0
    for progress in islice(schedule.rewirings(epochs, steps, begun), MOST):
        looked += 1
        times += rule.acts(progress)
        if times >= FEW:
            break
    return FEW if looked == MOST else times  # so many are due that it is not the period that keeps it


def _apart(rule: Rule, schedule: Epochs | Steps, length: int, steps: int) -> str:
    """Steps at which a rule acts whatever its period, such as its end."""
    whole, found = length * steps, []
    for step in range(min(whole, MOST)):
        progress = TrainingProgress(step // steps, step, step % steps == 0, length, whole)
        if rule.acts(progress) and not schedule.due(progress):
            found.append(str(step))
    if not found:
        return ""
    listed = " and ".join(found) if len(found) <= SHOWN else f"{', '.join(found[:SHOWN])} and more"
    return f" apart from step{'s' * (len(found) > 1)} {listed}"


def _fractions(rule: Rule) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in rule.run_fractions().items())


def _with(rule: Rule, unit: str, period: int) -> str:
    """How to ask for a rule with another period."""
    if rule.name in rewiring_names():
        return f"rewiring={{'name': {rule.name!r}, 'every': {({unit: period})!r}}}"
    return f"every={unit.capitalize()}({period})"
