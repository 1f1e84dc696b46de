"""Seconds an epoch of several settings, measured in turns: what a run of so many epochs would take.

Contestants are the trials themselves, made short: the code that is timed is the code that trains. They take
turns, each in a process of its own, and only seconds of training and rewiring count, not the start. What is
believed, in this order: wall seconds, the median of the blocks in which others took next to nothing of the
machine, if every contestant has enough of those; CPU seconds, the median of all blocks, with one thread; the
lowest wall seconds. All contestants are judged in the same way, and the way is kept with the figures.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import _clock
import numpy as np
from _clock import Clock
from _fingerprint import _cpuinfo
from _measure import ENOUGH
from _trial_data import archive
from _trials import Ledger, Trial

SAFE_RATE = 1e-4  # takes the same time as any other, and nothing diverges
SAMPLES = 2560  # that a short run trains on, at least: 20 steps of 128
WAYS = {
    "quiet": "wall seconds, median of quiet blocks",
    "cpu": "CPU seconds of one thread, median of all blocks: others used the machine",
    "lowest": "wall seconds, the lowest of all blocks: others used the machine",
}


def shortened(trial: Trial, samples: int) -> Trial:
    """The trial with as few epochs as can be timed, whole ones on the sparse side, at a rate that is safe."""
    epochs = SAMPLES / samples
    return replace(
        trial,
        epochs=math.ceil(epochs) if trial.side == "sparse" else epochs,
        seed=0,
        options={**trial.options, "lr": SAFE_RATE},
    )


def paces(
    ledger: Ledger, trials: Mapping[str, Trial], rounds: int, *, again: bool = False, anew: bool = False
) -> dict[str, Any]:
    """Measure, or take what the ledger has of this machine.

    Parameters
    ----------
    trials : mapping
        Name -> trial, all of one data set; their epochs and seeds do not matter.
    rounds : int
        Turns of everybody.
    again : bool
        The later measurement of the same, beside the first one: none (an empty dict) until there is one.
    anew : bool
        Measure even if the ledger has it.

    Returns
    -------
    dict
        ``seconds``: name -> seconds an epoch; ``way``: a key of `WAYS`; ``blocks``: quiet ones and all;
        ``failed``: name -> why.
    """
    if not trials:
        return {"seconds": {}, "way": "quiet", "blocks": (0, 0), "failed": {}}
    with np.load(archive(next(iter(trials.values())).data, "test")) as found:
        samples = len(found["y"])
    short = {name: shortened(trial, samples) for name, trial in trials.items()}
    threads = next(iter(short.values())).threads
    facts = {
        "paces": {name: trial.key for name, trial in short.items()},
        "rounds": rounds,
        "threads": threads,
    }
    key = json.dumps(
        facts | {"cpu": _cpuinfo("model name")} | ({"again": True} if again else {}), sort_keys=True
    )
    if not anew:
        kept = ledger.get(key)
        if kept is not None or again:
            return kept or {}
    blocks: dict[str, list[dict[str, float]]] = {name: [] for name in short}
    failed: dict[str, str] = {}
    for turn in range(rounds):
        for name, trial in short.items():
            if name in failed:
                continue
            with Clock() as clock:
                found = trial.run()
            if "error" in found or found.get("score") is None:
                failed[name] = found.get("error", found.get("diverged", "no result"))
                continue
            blocks[name].append({
                "wall": statistics.median(found["per_epoch"]),
                "cpu": found["cpu_seconds"] / trial.epochs,
                "lowest": min(found["per_epoch"]),
                "foreign": clock.block.foreign,
            })  # fmt: skip
        print(f"  turn {turn + 1} of {rounds}: {', '.join(short)}", flush=True)
    result = {
        **judged({n: b for n, b in blocks.items() if n not in failed}, rounds, threads),
        "failed": failed,
    }
    return ledger.keep(key, result)


def judged(blocks: Mapping[str, list[dict[str, float]]], rounds: int, threads: int) -> dict[str, Any]:
    """Seconds an epoch from all blocks, in the best way that they allow."""
    quiet = {
        name: [block["wall"] for block in found if block["foreign"] <= _clock.FOREIGN_LIMIT]
        for name, found in blocks.items()
    }
    least = min(map(len, quiet.values()), default=0)
    if least >= min(rounds, ENOUGH):
        way, seconds = "quiet", {name: statistics.median(values) for name, values in quiet.items()}
    elif threads == 1:
        way, seconds = "cpu", {n: statistics.median(b["cpu"] for b in found) for n, found in blocks.items()}
    else:
        way, seconds = "lowest", {n: min(b["lowest"] for b in found) for n, found in blocks.items()}
    return {"seconds": seconds, "way": way, "blocks": (least, rounds)}
