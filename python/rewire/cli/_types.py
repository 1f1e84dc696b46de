"""What an option takes: functions that make a value of a word, or say what it must be.

The function's name is what argparse shows in its error.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from rewire._registry import folded

__all__ = [
    "assignment", "count_or_part", "dotted_assignment", "in_unit", "number", "seeds", "value_of", "whole",
    "widths", "word",
]  # fmt: skip


def whole(low: int) -> Callable[[str], int]:
    def integer(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"must be a whole number >= {low}, got {text}")
        return value

    return integer


def number(low: float | None = None) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not abs(value) < float("inf") or (low is not None and value < low):
            bound = "" if low is None else f" >= {low:g}"
            raise argparse.ArgumentTypeError(f"must be a number{bound}, got {text}")
        return value

    return number


def count_or_part(text: str) -> int | float:
    """``20``, or ``0.1`` of all."""
    with contextlib.suppress(ValueError):
        if (count := int(text)) >= 1:
            return count
    with contextlib.suppress(ValueError):
        if 0.0 < (part := float(text)) < 1.0:
            return part
    raise argparse.ArgumentTypeError(
        f"must be a whole number >= 1, or a part between 0 and 1 such as 0.1, got {text}"
    )


def in_unit(*, below_one: bool = False, above_zero: bool = False) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not (0 < value < 1 or (value == 1 and not below_one) or (value == 0 and not above_zero)):
            begin, end = "(" if above_zero else "[", ")" if below_one else "]"
            raise argparse.ArgumentTypeError(f"must be a number in {begin}0, 1{end}, got {text}")
        return value

    return number


def widths(text: str) -> list[int]:
    try:
        widths = [int(part) for part in text.split(",")]
    except ValueError:
        widths = [0]
    if min(widths) < 1:
        raise argparse.ArgumentTypeError(f"must be whole numbers >= 1 separated by commas, got {text!r}")
    return widths


def word(known: Sequence[str]) -> Callable[[str], str]:
    """The word that is meant, whatever the case, hyphens and underscores; any other as it is."""
    words = {folded(name): name for name in known}
    return lambda text: words.get(folded(text), text)


def assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals and value):
        raise argparse.ArgumentTypeError(f"must look like fraction=0.3, got {text!r}")
    return name, value_of(value)


def dotted_assignment(text: str) -> tuple[str, Any]:
    """``rewiring.fraction=0.3``."""
    name, equals, value = text.partition("=")
    if not (all(part.isidentifier() for part in name.split(".")) and equals and value):
        raise argparse.ArgumentTypeError(f"must look like rewiring.fraction=0.3, got {text!r}")
    return name, value_of(value)


def seeds(text: str) -> int | list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = [-1]
    if min(found) < 0 or found == [0]:
        raise argparse.ArgumentTypeError(f"must be a number >= 1, or seeds between commas, got {text!r}")
    return found[0] if len(found) == 1 else found


def value_of(text: str) -> Any:
    """A number, several of them between commas, in brackets or not, True, False or None; else the words."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    inner = text[1:-1] if text[0] + text[-1] in ("()", "[]") else text
    parts = [_number_or_text(part.strip()) for part in inner.split(",")]
    if parts[-1] == "":
        parts.pop()
    if ("," in text or inner != text) and not any(isinstance(part, str) for part in parts):
        return parts
    return _number_or_text(text)


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text
