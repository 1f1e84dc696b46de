"""What rules and criteria give back, checked before anything changes: they may be somebody's own.

Each function takes ``who``, the words by which a message names the rule or criterion that gave it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rewire import _core
from rewire._checks import describe, integer
from rewire.parameters import SparseParameter

__all__ = ["check_wanted", "counts_of", "members", "plain", "plans_of", "stores"]


def stores(who: str, parameters: Any) -> list[SparseParameter]:
    """Sparse parameters with a name of their own each, in a list; TypeError or ValueError for others."""
    if isinstance(parameters, str | Mapping) or not isinstance(parameters, Sequence):
        raise TypeError(f"{who} must be a list of SparseParameter, got {describe(parameters)}")
    for i, parameter in enumerate(parameters):
        if not isinstance(parameter, SparseParameter):
            raise TypeError(f"{who}[{i}] must be a SparseParameter, got {describe(parameter)}")
    names = [parameter.name for parameter in parameters]
    if "" in names or len({*names}) < len(names):
        raise ValueError(f"{who} must have a name each, by build(name=...), got {names}")
    return list(parameters)


def members(who: str, found: Any, parameters: Sequence[SparseParameter]) -> list[SparseParameter]:
    """Some of these parameters, each once; TypeError or ValueError for anything else."""
    names = [parameter.name for parameter in parameters]
    expected = f"{who} must be a list of some of {names}, each once"
    if not isinstance(found, list | tuple) or not all(isinstance(q, SparseParameter) for q in found):
        raise TypeError(f"{expected}, got {describe(found)}")
    there = {id(parameter) for parameter in parameters}
    if len({id(q) for q in found}) < len(found) or any(id(q) not in there for q in found):
        raise ValueError(f"{expected}, got {[q.name for q in found]}")
    return list(found)


def plans_of(who: str, found: Any, parameters: Sequence[SparseParameter]) -> list[_core.Plan]:
    """The plans of these parameters, in their order and of the links that they have now.

    Raises
    ------
    TypeError
        For anything but a list or tuple of plans.
    ValueError
        For too few or too many, for a plan of another parameter, and for one whose store has changed since it
        was made.
    """
    names = [parameter.name for parameter in parameters]
    expected = f"{who} must be a list of plans, one for each of {names} in this order"
    if not isinstance(found, list | tuple):
        raise TypeError(f"{expected}, got {describe(found)}")
    for i, plan in enumerate(found):
        if not isinstance(plan, _core.Plan):
            raise TypeError(f"{expected}, got {describe(plan)} at position {i}")
    if len(found) != len(names):
        raise ValueError(f"{expected}, got {len(found)} of them")
    for parameter, plan in zip(parameters, found, strict=True):
        if plan.store is not parameter.core:
            owner = next((q.name for q in parameters if plan.store is q.core), "a store that takes no part")
            raise ValueError(f"{expected}, got that of {owner} in the place of {parameter.name}")
        if plan.stale:
            raise ValueError(
                f"{who} must be plans of the links that there are now: that of {parameter.name} was made "
                "before its links changed"
            )
    return list(found)


def counts_of(who: str, found: Any, parameters: Sequence[SparseParameter]) -> list[int]:
    """A number of links >= 0 for each of these parameters; TypeError or ValueError for anything else."""
    names = [parameter.name for parameter in parameters]
    given = found.tolist() if isinstance(found, np.ndarray) else found
    if not isinstance(given, list | tuple) or len(given) != len(names):
        kind = ValueError if isinstance(given, list | tuple) else TypeError
        raise kind(
            f"{who} must be a list of numbers of links, one for each of {names}, got {describe(given)}"
        )
    return [integer(f"{who}: that of {name}", n, low=0) for name, n in zip(names, given, strict=True)]


def check_wanted(who: str, wanted: Any, names: Sequence[str]) -> None:
    """TypeError or ValueError unless it is a dict of numbers of links, by names of parameters."""
    if not isinstance(wanted, dict):
        raise TypeError(f"{who}: context.wanted must be a dict, got {describe(wanted)}")
    for name, links in wanted.items():
        if name not in names:
            raise ValueError(f"{who}: context.wanted must be of {list(names)}, got {describe(name)}")
        integer(f"{who}: context.wanted[{name!r}]", links, low=0, high=2**62)


def plain(name: str, value: Any) -> Any:
    """A copy of a value as files hold it: numbers, words, lists and dicts by words of these; or an array.

    TypeError for anything else.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return value.copy()
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(name, each) for each in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(name, each) for key, each in value.items()}
    raise TypeError(
        f"{name} must be numbers, words, lists and dicts by words of these, or an array, "
        f"got {describe(value)}"
    )
