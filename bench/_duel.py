"""Sides take turns, each in a process of its own that sleeps while another runs."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from _clock import Block

ENOUGH = 7  # clean blocks a figure needs
BLOCK_SECONDS = 0.8  # of a block: what others take is counted in ticks of 10 ms


@dataclass
class Side:
    """One contestant at work in its own process."""

    name: str
    threads: int
    blocks: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        script = Path(__file__).with_name("_sides.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), self.name, str(self.threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.facts = self._answer()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"side {self.name!r} died with exit code {self._process.wait()}")
        return json.loads(line)

    def run(self, steps: int) -> Block:
        """Time some steps; the block's seconds are those of one step."""
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        answer = self._answer()
        return Block(answer["seconds"] / steps, answer["foreign"])

    def warm_up(self) -> None:
        """Find how many steps make a block."""
        self.run(5)
        self.steps = max(5, min(468, round(BLOCK_SECONDS / self.run(20).seconds)))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


@dataclass
class Figure:
    """Median and spread over clean blocks; None where too few were clean."""

    median: float | None
    low: float = 0.0
    high: float = 0.0
    blocks: int = 0

    def __str__(self) -> str:
        if self.median is None:
            return f"not measurable ({self.blocks} clean blocks)"
        return f"{self.median:.2f} ({self.low:.2f}..{self.high:.2f}, n={self.blocks})"


def _figure(values: list[float]) -> Figure:
    if len(values) < ENOUGH:
        return Figure(None, blocks=len(values))
    return Figure(statistics.median(values), min(values), max(values), len(values))


def _ratios(first: list[Block], blocks: list[Block]) -> list[float]:
    rounds = zip(first, blocks, strict=True)
    return [b.seconds / a.seconds for a, b in rounds if a.clean and b.clean]


def duel(names: list[str], threads: int, rounds: int, max_rounds: int) -> dict:
    """Run the sides in turns until ``rounds`` rounds were clean, or ``max_rounds`` have passed.

    Returns
    -------
    dict
        ``seconds[name]``: Figure of one step over a side's clean blocks; ``ratio[name]``: Figure over the
        rounds in which both it and the first side were clean; ``facts[name]``.
    """
    sides = [Side(name, threads) for name in names]
    try:
        for side in sides:
            side.warm_up()
        done = 0
        for _ in range(max_rounds):
            for side in sides:
                side.blocks.append(side.run(side.steps))
            done += all(side.blocks[-1].clean for side in sides)
            if done >= rounds:
                break
    finally:
        for side in sides:
            side.close()
    first = sides[0].blocks
    return {
        "seconds": {s.name: _figure([b.seconds for b in s.blocks if b.clean]) for s in sides},
        "ratio": {s.name: _figure(_ratios(first, s.blocks)) for s in sides},
        "facts": {s.name: s.facts for s in sides},
    }
