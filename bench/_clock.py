"""A block's seconds, and how much of the machine others took meanwhile."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

FOREIGN_LIMIT = 0.05  # cores; blocks above it do not count


@dataclass
class Block:
    """One timed block: wall seconds, and cores that others (processes, hypervisor) took."""

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


class Clock:
    """``with Clock() as clock: ...`` then ``clock.block``."""

    def __enter__(self) -> Clock:
        self._busy = _machine_busy()
        self._own = time.process_time()
        self._wall = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        wall = time.perf_counter() - self._wall
        own = time.process_time() - self._own
        foreign = (_machine_busy() - self._busy - own) / wall
        # No /proc/stat (NaN): nothing is known, so nothing is held against the block.
        self.block = Block(wall, max(0.0, foreign) if foreign == foreign else 0.0)
