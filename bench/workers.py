"""What shards and worker processes cost in time: steps after start-up, on the same shards.

784-1000-1000-1000-10, epsilon 20, All-ReLU, SET, momentum 0.9, random images. A contestant is a call of `fit`
of some steps, without its first ones: processes have started then. They take turns, and calls in which others
took more than 5 % of a core do not count, as everywhere in bench/. Seconds are those of the wall: who waits
for another takes no processor.

- `shards=8` beside `shards=1` in one process, at batch 1024.
- Two workers of one thread beside one of two threads, both on eight shards, at batch 1024.
- Steps a second of two and three workers at batch 128: together, 32 steps alone and an average, and gradients
  as they come (WASAP, where one of them keeps the network), each worker with one thread.
"""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np
from _clock import Clock
from _measure import ROUNDS, Result
from _report import Report, options, text

import rewire as rw

LARGE, USUAL = 1024, 128  # samples of a batch
TINY = 16
FIRST = 5  # steps that are not counted: processes start, caches fill
COUNTED, COUNTED_TINY = 25, 6
TARGETS = {
    "shards=8": ("one process, 8 shards", "one process, 1 shard", 1.1),
    "2 workers of 1 thread": ("2 workers of 1 thread, 8 shards", "one process of 2 threads, 8 shards", 1.15),
}


class Steps(rw.Callback):
    """When a step was over, and how many steps that makes."""

    saves = True  # WASAP tells nobody else of steps

    def __init__(self) -> None:
        self.at: list[tuple[int, float]] = []

    def on_step_end(self, state: Any) -> None:
        self.at.append((state.step, time.perf_counter()))

    def seconds(self) -> float:
        """Of one step, after the first ones."""
        known = [one for one in self.at if one[0] >= FIRST] or self.at[:1]
        (first, begin), (last, end) = known[0], known[-1]
        return (end - begin) / (last - first) if last > first else float("nan")


@functools.cache
def images(count: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.random((count, 784), "f4"), rng.integers(0, 10, count)


def call(
    hidden: int, batch: int, steps: int, *, workers: int, threads: int, shards: int | None = None,
    strategy: Any = None, trainings: int = 1,
) -> float:  # fmt: skip
    """Seconds of a step of one call of `fit`."""
    X, y = images(batch * trainings * (FIRST + steps))
    layers: list[rw.Layer] = [
        rw.Sparse(a, hidden, epsilon=20, activation=rw.AllReLU(0.6)) for a in (784, hidden, hidden)
    ]
    layers.append(rw.Sparse(hidden, 10, epsilon=20, activation="softmax"))
    seen = Steps()
    trainer = rw.Trainer(
        rw.Sequential(layers, seed=0), loss="cross_entropy", optimizer=rw.SGD(lr=0.01, momentum=0.9),
        rewiring="set", shards=shards, threads=threads, callbacks=[seen],
    )  # fmt: skip
    alone_at_last = isinstance(strategy, rw.WASSP)  # epochs that nobody sees
    trainer.fit(
        X, y, epochs=1 + alone_at_last, batch_size=batch, verbose=0, workers=workers, strategy=strategy
    )
    return seen.seconds()


def taking_turns(contestants: dict[str, dict[str, Any]], budget: float, rounds: int, **common: Any) -> Result:
    """Rounds of calls of all contestants, until enough are clean or the budget is spent."""
    result, begin, clean = Result(), time.monotonic(), 0
    while clean < rounds and time.monotonic() - begin < budget:
        row = {}
        for name, own in contestants.items():
            with Clock() as clock:
                seconds = call(**common, **own)
            if clock.block.clean:
                row[name] = seconds
        result.rounds.append(row)
        clean += len(row) == len(contestants)
    result.seconds = time.monotonic() - begin
    return result


def large(report: Report, **common: Any) -> dict[str, Any]:
    """Seconds of a step at batch 1024, and ratios."""
    sides = {
        "one process, 1 shard": {"workers": 1, "threads": 1, "shards": 1},
        "one process, 8 shards": {"workers": 1, "threads": 1, "shards": 8},
        "one process of 2 threads, 8 shards": {"workers": 1, "threads": 2, "shards": 8},
        "2 workers of 1 thread, 8 shards": {"workers": 2, "threads": 1, "shards": 8},
    }
    result = taking_turns(sides, report.left / 2, **common)
    return {
        "seconds": {name: result.figure(name) for name in sides},
        "ratios": {name: result.ratio(of, by) for name, (of, by, _) in TARGETS.items()},
    }


def usual(report: Report, most: int, **common: Any) -> dict[str, Any]:
    """Batches a second of every way of working, up to ``most`` workers of one thread."""
    sides: dict[str, dict[str, Any]] = {"one process": {"workers": 1}}
    for workers in range(2, most + 1):
        sides |= {
            f"{workers} workers, every step together": {"workers": workers, "shards": 8},
            f"{workers} workers, 32 steps alone": {
                "workers": workers, "trainings": workers, "strategy": rw.LocalSGD(32),
            },
            f"{workers} workers, as they come (WASAP)": {"workers": workers, "strategy": rw.WASAP(0.1)},
        }  # fmt: skip
    result = taking_turns(sides, report.left, threads=1, **common)
    return {name: result.figure(name).inverse(own.get("trainings", 1)) for name, own in sides.items()}


def main() -> None:
    report = Report("workers", options(__doc__, share=240))
    tiny = report.arguments.tiny
    hidden, steps = (50, COUNTED_TINY) if tiny else (1000, COUNTED)
    common = {"hidden": hidden, "rounds": 1 if tiny else ROUNDS}
    batch, smaller = (TINY, TINY) if tiny else (LARGE, USUAL)
    found = report.cell(f"batch {LARGE}", lambda: large(report, batch=batch, steps=steps, **common))
    if found:
        table = report.table(f"784-{hidden}x3-10, batch {batch}: a step", ["", "seconds"])
        for name, seconds in found["seconds"].items():
            table.row(name, seconds)
        for name, (of, by, limit) in TARGETS.items():
            median = found["ratios"][name]["median"]
            met = None if median is None else median <= limit
            report.note(f"{of}: {text(found['ratios'][name])} x {by}")
            report.judge(
                f"16 {name}", f"at most {limit:g} times {by}", median if met is not None else "-", met
            )
    speeds = report.cell(
        f"batch {USUAL}",
        lambda: usual(report, 2 if tiny else 3, batch=smaller, steps=steps if tiny else 5 * steps, **common),
    )
    if speeds:
        table = report.table(
            f"784-{hidden}x3-10, batches of {smaller}, each worker with one thread", ["", "batches a second"]
        )
        for name, figure in speeds.items():
            table.row(name, figure)
    report.save()


if __name__ == "__main__":
    main()
