"""Contestants take turns, and a figure is believed only when enough rounds were quiet.

One call does a comparison::

    result = measure({"sparse": f, "dense": g}, budget=5)
    result.figure("sparse")              # Figure: median seconds of a call, lowest..highest, rounds kept
    result.ratio("sparse", "dense")      # Figure: the median over rounds of the ratio within a round
    result.ratio(("fwd", "dx", "dw"), "dense step")      # sums of several contestants
    result.figure({"step": 468, "rewire": 1})            # weighted sums

How it measures:

- A **round** runs one block of every contestant, one after the other; a block is one untimed call and then
  as many timed ones as fill some milliseconds. A ratio is taken within a round, so that a host that drifts
  slows both sides.
- What others took of the machine is judged over **spans** of at least half a second (`_clock.py` says why):
  a whole round, or parts of a long one. Blocks of a span in which others took more than 5 % of a core are
  dropped. A figure with fewer than seven kept blocks has no median and prints as "not measurable".
- A **budget** is seconds for all of it. Contestants are admitted in the order given while seven rounds of
  them fit; what does not fit is named in `result.left_out` instead of being measured badly.

A contestant is a callable without arguments, a `Call` (something untimed before every call), a `Batch` (makes
n calls itself), or an operation of a `Side`: a process of its own, which sleeps while others run. Libraries
with threads of their own go into sides, since two OpenMP runtimes that wait in one process spin against
each other.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import _clock
from _clock import Clock

ENOUGH = 7  # kept blocks a figure needs
ROUNDS = 9  # kept rounds after which a measurement stops
BLOCK = 0.025  # seconds of one block: at least one call
SHORTEST = 0.001  # seconds of a block where many contestants share a small budget
PATIENCE = 2.0  # budgets that a measurement on a busy machine may take before it gives up


class Contestant(Protocol):
    """Something that can be timed."""

    def time(self, calls: int, warm: bool = True) -> float:
        """Seconds that this many calls took together, after an untimed one if `warm`."""
        ...


@dataclass
class Call:
    """A callable of this process, with something untimed before every call if need be."""

    call: Callable[[], object]
    before: Callable[[], object] | None = None

    def time(self, calls: int, warm: bool = True) -> float:
        if self.before is None:
            if warm:
                self.call()
            begin = time.perf_counter()
            for _ in range(calls):
                self.call()
            return time.perf_counter() - begin
        total = 0.0
        for _ in range(calls):
            self.before()
            begin = time.perf_counter()
            self.call()
            total += time.perf_counter() - begin
        return total


@dataclass
class Batch:
    """A function that makes `n` calls itself, such as a trainer that runs n steps: ``run(n)``."""

    run: Callable[[int], object]

    def time(self, calls: int, warm: bool = True) -> float:
        if warm:
            self.run(1)
        begin = time.perf_counter()
        self.run(calls)
        return time.perf_counter() - begin


# --- sides: contestants in processes of their own ------------------------------------------


def quiet_threads(threads: int) -> dict[str, str]:
    """The environment for a library with `threads` threads that go to sleep within a millisecond.

    Calls of one block follow each other within microseconds, so this costs nobody anything; left to
    themselves some runtimes spin for 200 ms and would disturb whoever comes next.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {
        **{name: str(threads) for name in names},
        "KMP_BLOCKTIME": "1",
        "GOMP_SPINCOUNT": "20000",
        "OPENBLAS_THREAD_TIMEOUT": "20",
    }


class SideError(RuntimeError):
    """A side could not be started, or could not do what it was asked for; the message says why."""


class Side:
    """A process that prepares operations on request and times them; see `_sides.py` for its other end.

    Parameters
    ----------
    target : str
        ``"module:function"`` of this folder. The function gets `threads` and the keywords of `prepare`, and
        returns a dict of callables (operations) and, under ``"facts"``, whatever should come back to us.
    threads : int
    **environment : str
        Variables for the process.
    """

    def __init__(self, target: str, threads: int = 1, **environment: str) -> None:
        self.target, self.threads = target, threads
        variables = {**os.environ, **quiet_threads(threads)}
        if target.partition(":")[2].startswith("rewire"):
            del variables["GOMP_SPINCOUNT"]  # rewire brings its own, the one its users get
        variables |= environment
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("_sides.py")), target, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables,
        )  # fmt: skip
        self.pid = self._process.pid

    def _ask(self, **question: Any) -> Any:
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise SideError(f"{self.target} died with exit code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise SideError(answer["error"])
        return answer["answer"]

    def prepare(self, **cell: Any) -> dict[str, Remote]:
        """Build what a cell needs, in place of the cell before.

        Returns
        -------
        dict
            Operation name -> contestant; `self.facts` holds what else the function said.

        Raises
        ------
        SideError
            When the library is missing or refuses; the message is for the reader of the table.
        """
        names, self.facts = self._ask(prepare=cell)
        return {name: Remote(self, name) for name in names}

    def clear(self) -> None:
        """Let go of what the last cell needed."""
        self._ask(clear=True)

    def time(self, name: str, calls: int, warm: bool) -> float:
        return self._ask(time=name, calls=calls, warm=warm)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass
class Remote:
    """An operation of a side."""

    side: Side
    name: str

    def time(self, calls: int, warm: bool = True) -> float:
        return self.side.time(self.name, calls, warm)


# --- figures -------------------------------------------------------------------------------


@dataclass
class Figure:
    """Median and spread over kept rounds; the median is None where too few were kept."""

    median: float | None
    low: float = 0.0
    high: float = 0.0
    kept: int = 0

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        if len(values) < ENOUGH:
            return cls(None, kept=len(values))
        return cls(statistics.median(values), min(values), max(values), len(values))

    def __str__(self) -> str:
        if self.median is None:
            return f"not measurable ({self.kept} clean blocks)"
        return f"{self.median:.3g} ({self.low:.3g}..{self.high:.3g}, n={self.kept})"

    def scaled(self, factor: float) -> Figure:
        """The same in another unit."""
        if self.median is None:
            return self
        return Figure(self.median * factor, self.low * factor, self.high * factor, self.kept)

    def inverse(self, numerator: float = 1.0) -> Figure:
        """A rate from seconds: ``numerator / self``."""
        if self.median is None:
            return self
        return Figure(numerator / self.median, numerator / self.high, numerator / self.low, self.kept)

    def json(self) -> dict[str, float | int | None]:
        return asdict(self)


Names = str | Sequence[str] | Mapping[str, float]  # one contestant, or a sum of several, or a weighted sum


@dataclass
class Result:
    """What came out of one comparison: for every round, the kept contestants' seconds per call."""

    rounds: list[dict[str, float]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def __contains__(self, names: Names) -> bool:
        """Whether all of these took part."""
        return all(any(name in row for row in self.rounds) for name in _weights(names))

    def _sums(self, names: Names) -> list[float | None]:
        terms = _weights(names)
        return [
            sum(factor * row[name] for name, factor in terms.items()) if row.keys() >= terms.keys() else None
            for row in self.rounds
        ]

    def figure(self, names: Names) -> Figure:
        """Seconds of one call, or of one call of each of several contestants together."""
        return Figure.of([s for s in self._sums(names) if s is not None])

    def ratio(self, names: Names, base: Names) -> Figure:
        """Seconds of the first over seconds of the second, within rounds."""
        pairs = zip(self._sums(names), self._sums(base), strict=True)
        return Figure.of([a / b for a, b in pairs if a is not None and b is not None])

    def fastest(self, options: Mapping[str, Names]) -> str | None:
        """The key of the option that takes least; None where none is measurable."""
        medians = {key: self.figure(names).median for key, names in options.items() if names in self}
        known = {key: m for key, m in medians.items() if m is not None}
        return min(known, key=known.__getitem__) if known else None


def _weights(names: Names) -> dict[str, float]:
    if isinstance(names, str):
        return {names: 1.0}
    return dict(names) if isinstance(names, Mapping) else dict.fromkeys(names, 1.0)


# --- measuring -----------------------------------------------------------------------------


@dataclass
class _Turn:
    """A contestant, how many calls make its block, and the seconds that the block takes of the round."""

    runner: Contestant
    calls: int
    seconds: float


def measure(
    contestants: Mapping[str, Contestant | Callable[[], object]],
    *,
    budget: float = 10.0,
    rounds: int = ROUNDS,
    pids: Sequence[int] = (),
) -> Result:
    """Run the contestants in turns.

    Parameters
    ----------
    contestants : mapping
        Name -> callable, `Call` or operation of a `Side`; the most important first.
    budget : float
        Seconds it may take, 4 at least: seven rounds of half a second. Stops earlier after `rounds` kept
        rounds; a machine that others use gets twice as long.
    rounds : int
        Kept rounds wanted. Figures need seven.
    pids : sequence of int
        Other processes that work for the contestants (those of sides are known).

    Returns
    -------
    Result
    """
    begin = time.perf_counter()
    runners = {k: c if hasattr(c, "time") else Call(c) for k, c in contestants.items()}
    ours = [*{c.side.pid for c in runners.values() if isinstance(c, Remote)}, *pids]
    # Ten rounds fill the budget; few contestants get longer turns, so that a round is worth judging.
    count = max(1, len(runners))
    block = max(SHORTEST, _clock.SPAN_SECONDS / count, min(BLOCK, budget / (10 * count)))
    result = Result()
    turns = _admit(runners, block, budget, result)
    kept = dict.fromkeys(turns, 0)
    longest = 0.0
    while kept and min(kept.values()) < rounds:
        passed = time.perf_counter() - begin
        enough = min(kept.values()) >= ENOUGH
        if passed + longest > (budget if enough else PATIENCE * budget):
            break
        row = _round(turns, ours)
        result.rounds.append(row)
        for name in row:
            kept[name] += 1
        longest = max(longest, time.perf_counter() - begin - passed)
    result.seconds = time.perf_counter() - begin
    return result


def _admit(
    runners: Mapping[str, Contestant], block: float, budget: float, result: Result
) -> dict[str, _Turn]:
    """Warm everybody up; the contestants of whom seven rounds fit into the budget."""
    turns: dict[str, _Turn] = {}
    left = budget
    for name, runner in runners.items():
        begin = time.perf_counter()
        try:
            once = runner.time(1, warm=False)
            if once <= left:  # first calls are slow: they load, allocate and start threads
                once = runner.time(1, warm=False)
            if once < block / 20:  # too short to time one by one
                once = runner.time(10) / 10
        except SideError as error:
            result.left_out[name] = str(error)
            continue
        calls = max(1, round(block / max(once, 1e-7)))
        spent = time.perf_counter() - begin
        # What comes before every call is not timed, but takes its time all the same.
        prepared = isinstance(runner, Call) and runner.before is not None
        turn = _Turn(runner, calls, calls * spent / 2 if prepared else (calls + (calls > 1)) * once)
        if ENOUGH * turn.seconds + spent > left:
            result.left_out[name] = f"too slow for the budget: a call takes {once:.2g} s"
            continue
        left -= ENOUGH * turn.seconds + spent
        turns[name] = turn
    return turns


def _round(turns: Mapping[str, _Turn], pids: Sequence[int]) -> dict[str, float]:
    """One block of everybody; seconds a call in the blocks of quiet spans."""
    row: dict[str, float] = {}
    waiting = list(turns)
    while waiting:
        span: dict[str, float] = {}
        with Clock(pids) as clock:
            begin = time.perf_counter()
            while waiting:
                name = waiting.pop(0)
                turn = turns[name]
                span[name] = turn.runner.time(turn.calls, warm=turn.calls > 1) / turn.calls
                # A rest too short to be judged alone stays with what went before it.
                rest = sum(turns[name].seconds for name in waiting)
                if min(time.perf_counter() - begin, rest) >= _clock.SPAN_SECONDS:
                    break
        if clock.block.clean:
            row |= span
    return row
