"""Seconds of a span of work, and how much of the machine others took meanwhile.

What others take is what `/proc/stat` counts for everybody, less what we took ourselves. It counts in ticks
of 10 ms on every core, so a span must last half a second before 5 % of a core means something: `_measure.py`
judges short blocks together.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

FOREIGN_LIMIT = 0.05  # cores; spans above it do not count (--foreign sets it)
SPAN_SECONDS = 0.5  # the shortest span that is worth judging


@dataclass
class Block:
    """Wall seconds, and cores that others (processes, hypervisor) took."""

    seconds: float
    foreign: float

    @property
    def clean(self) -> bool:
        return self.foreign <= FOREIGN_LIMIT


def _machine_busy() -> float:
    """Core-seconds that anybody has used since boot, stolen time included; NaN where nobody says."""
    try:
        with open("/proc/stat") as file:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    except OSError:
        return float("nan")
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _process_seconds(pid: int) -> float:
    """Core-seconds that a living process has used: Linux numbers every process's clock after its pid."""
    return time.clock_gettime((~pid << 3) | 2)


def _ended_children() -> float:
    """Core-seconds of the processes that we have started and waited for."""
    times = os.times()
    return times.children_user + times.children_system


class Clock:
    """``with Clock() as clock: ...`` then ``clock.block``.

    Parameters
    ----------
    pids : iterable of int
        Living processes that work for us and are no strangers; those that end within the span are known.
    """

    def __init__(self, pids: Iterable[int] = ()) -> None:
        self._pids = list(pids)

    def _ours(self) -> float:
        return time.process_time() + _ended_children() + sum(map(_process_seconds, self._pids))

    def __enter__(self) -> Clock:
        self._busy = _machine_busy()
        # No /proc/stat (NaN): nothing is known, so nothing is held against the block.
        self._knows = self._busy == self._busy
        self._own = self._ours() if self._knows else 0.0
        self._wall = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        wall = time.perf_counter() - self._wall
        foreign = (_machine_busy() - self._busy - (self._ours() - self._own)) / wall if self._knows else 0.0
        self.block = Block(wall, max(0.0, foreign))
