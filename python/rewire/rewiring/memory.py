"""What a rule keeps from one rewiring to the next: it declares the entries, and everybody can check them.

Memory is saved with a trainer, and a file may hold anything: an entry that no rule
declares is refused, and every value goes through the check of its entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rewire import _checks
from rewire._checks import describe
from rewire._record import record

__all__ = ["LINKS_OWED", "OWED", "Entry", "Facts", "check_declared", "check_memory"]

OWED = "owed"  # by parameter: links that are owed, and links that the parameter has


class Facts(NamedTuple):
    """What there is to compare an entry with."""

    names: Sequence[str]  # of the parameters
    step: int  # steps the trainer has taken


@record
class Entry:
    """One entry of a rule's memory.

    Parameters
    ----------
    check : callable
        ``check(name, value, facts)`` raises TypeError or ValueError, which name ``name``, for a value that
        the rule never wrote; ``facts`` are a :class:`Facts`.
    """

    check: Callable[[str, Any, Facts], object]

    @classmethod
    def number(cls, **bounds: Any) -> Entry:
        """A number; ``low``, ``high``, ``open_low`` and ``open_high`` say in which range."""
        return cls(lambda name, value, facts: _checks.number(name, value, **bounds))

    @classmethod
    def integer(cls, *, low: int = 0, high: int = 2**62) -> Entry:
        """An integer in [low, high]."""
        return cls(lambda name, value, facts: _checks.integer(name, value, low=low, high=high))

    @classmethod
    def flag(cls) -> Entry:
        """True or False."""
        return cls(lambda name, value, facts: _checks.boolean(name, value))

    @classmethod
    def step(cls) -> Entry:
        """A step that the trainer has taken."""
        return cls(lambda name, value, facts: _checks.integer(name, value, low=0, high=facts.step))

    @classmethod
    def names(cls) -> Entry:
        """A list of names of parameters."""

        def check(name: str, value: Any, facts: Facts) -> None:
            for each in _checks.one_of_types(name, value, list, "a list"):
                _checks.choice(f"a parameter of {name}", each, facts.names)

        return cls(check)

    def by_parameter(self) -> Entry:
        """Such an entry for each parameter: a dict, by name; some may be left out."""

        def check(name: str, value: Any, facts: Facts) -> None:
            for of, each in _checks.one_of_types(name, value, dict, "a dict of parameters").items():
                _checks.choice(f"a parameter of {name}", of, facts.names)
                self.check(f"{name} of {of}", each, facts)

        return Entry(check)


def _owed_and_has(name: str, value: Any, facts: Facts) -> None:
    if _checks.one_of_types(name, value, list, "a list") and len(value) != 2:
        raise ValueError(f"{name} must be two numbers of links, got {describe(value)}")
    for links in value:
        _checks.integer(name, links, low=0, high=2**62)


LINKS_OWED = Entry(_owed_and_has).by_parameter()


def check_declared(entries: Any, name: str = "memory") -> None:
    """TypeError or ValueError unless it is a dict of names and entries, as a rule declares its memory."""
    if not isinstance(entries, Mapping):
        raise TypeError(f"{name} must be a dict of names and Entries, got {describe(entries)}")
    for key, entry in entries.items():
        if not isinstance(key, str) or not isinstance(entry, Entry):
            raise TypeError(f"{name} must be a dict of names and Entries, got {key!r}: {describe(entry)}")
        if key == OWED:
            raise ValueError(f"{name} must have other names than {OWED!r}, which every rule has")


def check_memory(memory: Mapping[str, Any], entries: Mapping[str, Entry], facts: Facts) -> None:
    """ValueError or TypeError for an entry that is not declared, or whose value cannot be."""
    for name, value in memory.items():
        if not isinstance(name, str) or name not in entries:
            known = ", ".join(map(repr, entries)) or "none, for the rule declares none"
            raise ValueError(f"memory: an entry must be one of {known}, got {describe(name)}")
        entries[name].check(f"memory: {name}", value, facts)
