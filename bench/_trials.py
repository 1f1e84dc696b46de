"""Trials as data, and the ledger that keeps what came of them, so that none is ever run twice.

A `Trial` says everything that decides its result. `Ledger.result` gives what an earlier run found, or runs it
in a process of its own and appends one line of JSON to the ledger's file before it returns: a suite that is
interrupted or killed goes on where it was. A trial that fails (no memory, no PyTorch) is not kept.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import _clock
from _apart import apart
from _fingerprint import _cpuinfo, commit
from _trial_data import archive


@functools.cache
def package_defaults() -> str:
    """What `rewire train` builds where nothing is said: other defaults of the package make other trials.

    Of classes and of numbers, whose defaults differ.
    """
    from rewire.datasets import load
    from rewire.recipe import Recipe

    recipe, classes = Recipe({}), load("digits")
    numbers = replace(classes, y=classes.y.astype(float), y_test=None, X_test=None, classes=None)
    found = {
        kind: {
            "trainer": recipe.trainer(data, seed=0, epochs=10).config(),
            "fit": recipe.fit_options(data),
        }
        for kind, data in (("classes", classes), ("numbers", numbers))
    }
    return json.dumps(found, sort_keys=True, default=repr)


@dataclass(frozen=True)
class Trial:
    """One run.

    Attributes
    ----------
    side : {"dense", "sparse"}
        Which function of `_trial_runs.py`.
    data, part : str
        A data set of `_trial_data.py`; "validation" to choose by, "test" to report.
    epochs : float
        Whole for the sparse side.
    seed : int
    threads : int
    options : dict
        Of `_trial_runs.dense`, or of the `rewire train` command without its dashes.
    """

    side: str
    data: str
    part: str
    epochs: float
    seed: int
    threads: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The trial in words that are equal for equal trials."""
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "threads"}
        if self.side == "sparse":  # same bits for any number of threads; PyTorch's nearly so
            facts["defaults"] = hashlib.sha256(package_defaults().encode()).hexdigest()[:16]
        return json.dumps(facts, sort_keys=True)

    def with_seed(self, seed: int) -> Trial:
        """The same, from other draws."""
        return replace(self, seed=seed)

    def run(self) -> dict[str, Any]:
        """What `_trial_runs.py` says, with ``peak_bytes``; ``error`` where it failed."""
        return apart(
            f"_trial_runs:{self.side}", threads=self.threads, data=str(archive(self.data, self.part)),
            epochs=self.epochs, seed=self.seed, options=self.options, torch=self.side == "dense",
        )  # fmt: skip


class Ledger:
    """Results of trials in a file of JSON lines; see the module.

    Parameters
    ----------
    file : Path
    until : float
        `time.monotonic` after which no trial is begun.
    """

    def __init__(self, file: Path, until: float = float("inf")) -> None:
        self.file, self.until = file, until
        self._here = {"cpu": _cpuinfo("model name"), "commit": commit()}
        self._kept: dict[str, dict[str, Any]] = {}
        if file.exists():
            for line in file.read_text().splitlines():
                try:
                    entry = json.loads(line)
                    self._kept[entry["key"]] = entry["result"]
                except (ValueError, KeyError):
                    continue  # a line that was cut off when its writer was killed

    def get(self, key: str) -> dict[str, Any] | None:
        """What is kept under a key."""
        return self._kept.get(key)

    def keep(self, key: str, result: dict[str, Any]) -> dict[str, Any]:
        """Append a result; nothing that happens to this process later can lose it."""
        cut = self.file.exists() and not self.file.read_bytes().endswith(b"\n") and self.file.stat().st_size
        entry = {"key": key, "result": result, **self._here}
        with self.file.open("a") as out:
            out.write(("\n" if cut else "") + json.dumps(entry) + "\n")
        self._kept[key] = result
        return result

    def result(self, trial: Trial) -> dict[str, Any] | None:
        """What came of a trial, now or before; None where it failed or the time is over."""
        found = self.get(trial.key)
        if found is not None or time.monotonic() > self.until:
            return found
        begin = time.monotonic()
        with _clock.Clock() as clock:
            result = trial.run()
        if "error" in result:
            print(f"  {trial.side} {trial.options}: {result['error']}", flush=True)
            return None
        result["foreign"] = clock.block.foreign
        what = "diverged" if result["score"] is None else f"{result['score']:.4f}"
        print(
            f"  {trial.data} {trial.part} {trial.side} {trial.options or 'by default'}: {trial.epochs:g} "
            f"epochs, seed {trial.seed}: {what} ({time.monotonic() - begin:.0f} s)",
            flush=True,
        )
        return self.keep(trial.key, result)
