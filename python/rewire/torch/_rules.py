"""Rules of rewire in a loop of torch: whether one can act there, and what it remembers, as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import torch

from rewire import _checks
from rewire._run import rewirings_within
from rewire._warn import warn
from rewire.rewiring import Rule, rewiring
from rewire.rewiring.answers import plain
from rewire.rewiring.schedule import Epochs, Steps

__all__ = ["apart", "check_rule", "rule_of", "warn_of_misfit", "with_arrays", "with_tensors"]


def rule_of(what: Any, options: dict[str, Any]) -> Rule:
    """The rule that is meant; options are for one given by name."""
    if not options:
        return rewiring(what)
    if not isinstance(what, str):
        raise TypeError(
            f"{', '.join(options)} must be given to the rule itself, where it is not given by name, got "
            f"{_checks.describe(what)}"
        )
    return rewiring({"name": what, **options})


def check_rule(rule: Rule, total_steps: int | None, epochs: int | None, *, wired: bool) -> None:
    """Refuse a rule that makes layers narrower, or that needs to be told what nobody has said.

    Raises
    ------
    NotImplementedError
        For ``ImportancePruning(variant="corrected")``.
    ValueError
        Without a wiring that the rule follows, a length that it takes fractions of, epochs that it counts.
    """
    need = rule.needs_network
    if need and getattr(rule, "variant", None) == "corrected":
        raise NotImplementedError(
            f"rewiring {rule.label} makes layers narrower, which a model of torch cannot: "
            'take variant="published"'
        )
    if need and not wired:
        raise ValueError(
            f"rewiring {rule.label} follows paths from layer to layer, for {need}: say which layers feed "
            "each other, wiring=[names in a row], or choose the rule's options so that it does not "
            "(chain_removal=False)"
        )
    fractions: dict[str, Any] = {}
    for part in rule.parts():
        fractions |= part.run_fractions()
    if fractions and total_steps is None:
        listed = ", ".join(f"{name}={value!r}" for name, value in fractions.items())
        raise ValueError(
            f"rewiring {rule.label}: {listed} is a fraction of the run, whose length must be said: give "
            "total_steps"
        )
    counting = [part for part in rule.parts() if isinstance(part.every, Epochs)]
    if counting and epochs is None:
        label, instead = rule.label, "every=100"
        if counting[0] is not rule:
            label, instead = f"{label}, for its part {counting[0].label},", 'rule={"name": ..., "every": 100}'
        raise ValueError(
            f"rewiring {label} counts epochs (every {counting[0].every}), and step() does not: say {instead} "
            "for a number of steps, or give epochs and call end_epoch() after each"
        )


def warn_of_misfit(rule: Rule, total_steps: int | None, epochs: int | None) -> None:
    """Warn of a period so long that the rule never acts in a run whose length is known.

    Warns
    -----
    UserWarning
        For each such part of the rule.
    """
    for part in rule.parts():
        schedule = part.every
        if isinstance(schedule, Steps) and total_steps is not None:
            run, times = total_steps, rewirings_within(part, schedule, 1, total_steps)
        elif isinstance(schedule, Epochs) and epochs is not None:
            steps = max(1, (total_steps or epochs) // epochs)
            run, times = epochs, rewirings_within(part, schedule, epochs, steps)
        else:
            continue
        shorter = max(1, run // 15)
        if not times and shorter < schedule.n:
            fractions = "".join(f", {name}={value!r}" for name, value in part.run_fractions().items())
            warn(
                f"rewiring {part.label} never acts: its period is {schedule.n} {schedule.unit}, the run has "
                f"{run}{fractions}; give a shorter one, such as every={{{schedule.unit!r}: {shorter}}}",
                UserWarning,
            )


# --- what a rule remembers --------------------------------------------------------------------------


def apart(absent: Set[str], memory: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A rule's memory without some layers, and that of these alone."""
    here, aside = {}, {}
    for entry, value in memory.items():
        if isinstance(value, dict) and absent & value.keys():
            aside[entry] = {name: kept for name, kept in value.items() if name in absent}
            value = {name: kept for name, kept in value.items() if name not in absent}
        elif isinstance(value, list):
            value = [each for each in value if each not in absent]
        here[entry] = value
    return here, aside


def with_tensors(value: Any) -> Any:
    """A copy with tensors in the place of arrays."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, Mapping):
        return {key: with_tensors(each) for key, each in value.items()}
    return plain("memory", value)


def with_arrays(value: Any) -> Any:
    """The opposite."""
    if torch.is_tensor(value):
        return value.numpy().copy()
    if isinstance(value, Mapping):
        return {key: with_arrays(each) for key, each in value.items()}
    return plain("memory", value)
