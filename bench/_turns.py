"""Processor seconds of calls that take turns, on one thread: other work on the machine hardly moves them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

BLOCK = 0.01  # processor seconds of a turn, at least


def turns(contestants: Mapping[str, Callable[[], Any]], rounds: int = 15) -> dict[str, list[float]]:
    """Seconds a call of everybody in every round; a warm-up is not counted.

    Import this, and set the threads of what is called to one, before anything else: the processor time of all
    threads of the process counts.
    """
    calls = {name: _calls(contestant) for name, contestant in contestants.items()}
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            contestant()
            begin = time.process_time()
            for _ in range(calls[name]):
                contestant()
            found[name].append((time.process_time() - begin) / calls[name])
    return found


def _calls(contestant: Callable[[], Any]) -> int:
    """How many of them make a block."""
    contestant()
    count = 1
    while True:
        begin = time.process_time()
        for _ in range(count):
            contestant()
        spent = time.process_time() - begin
        if spent >= BLOCK:
            return count
        count = max(2 * count, min(100 * count, int(count * BLOCK / max(spent, 1e-9))))


def ratio(found: Mapping[str, list[float]], above: str, below: str) -> float:
    """The median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(found[above], found[below], strict=True))
