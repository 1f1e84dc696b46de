"""Test accuracy over seconds: one run for each length, dense PyTorch beside sparse.

Four sides, all with the same number of threads: dense networks at the best setting of a stated grid; the
default command of `rewire train` with only `--epochs` changed; sparse networks at the best of as many
settings as that grid has; and narrow dense networks of as many weights as the default command's, at their
best of it.

Settings are chosen by successive halving on a sixth of the training samples (`_grids.py`), the same for all;
a rung is a time, the same for all. Then every length is trained anew on all training samples, for some seeds,
and tested at its end. Lengths are shares of the time of ten epochs at the dense setting that won.

Every trial is kept (`_trials.py`): stopped at any moment, it goes on where it was. Hours for Fashion-MNIST,
minutes for the other data sets. `--rungs` and `--lengths` make it shorter, and the page says what they were.
"""

from __future__ import annotations

import math
import time
from argparse import Namespace
from typing import Any

import _time_page
import numpy as np
from _grids import DENSE, SPARSE, Setting, UnfinishedError, best, drawn, grid, halving, rates_for, speed_class
from _paces import paces
from _report import Report, numbers, parser, results, settle
from _time_page import Point, Study
from _trial_data import LOADERS, archive
from _trials import Ledger, Trial

TEN = 10  # epochs of the dense run whose time is the unit of all lengths
SIDES = ("dense", "default", "sparse", "narrow")
TORCH = ("dense", "narrow")
PACE_ROUNDS, CLOCK_ROUNDS = 2, 9


def arguments(argv: list[str] | None = None) -> Namespace:
    """The options of every script, and those of this one."""
    made = parser(__doc__, share=math.inf)
    made.set_defaults(threads="1")
    made.add_argument("--data", default=",".join(LOADERS), metavar="NAME,NAME", help="data sets (all)")
    made.add_argument(
        "--sides", default=",".join(SIDES), metavar="SIDE,SIDE", help="of dense, default, sparse, narrow"
    )
    made.add_argument(
        "--rungs", type=numbers, default=(2.5, 5, 10), metavar="N,N",
        help="times at which half of the settings go, in epochs of a dense float32 network (2.5,5,10)",
    )  # fmt: skip
    made.add_argument(
        "--sparse-rungs", type=numbers, metavar="N,N", help="the same for the sparse grid (as --rungs)"
    )
    made.add_argument(
        "--lengths", type=numbers, default=(0.25, 0.5, 1, 2), metavar="X,X",
        help="of runs, in times of ten dense epochs (0.25,0.5,1,2)",
    )  # fmt: skip
    made.add_argument("--seeds", type=int, default=3, help="runs for each length (3)")
    made.add_argument(
        "--clock", action="store_true", help="measure seconds an epoch of what was chosen again"
    )
    made.add_argument(
        "--apart", action="store_true",
        help="results go into a file by the names of the data, which the page has beside over_time.json's",
    )  # fmt: skip
    return settle(made.parse_args(argv))


def fitting(side: str, epochs: float) -> float:
    """So many epochs, or as many as there can be without more: the sparse side has whole ones."""
    return round(epochs, 2) if side in TORCH else max(1, math.floor(epochs + 1e-6))


class Course:
    """One data set: paces, the best settings, runs, the clock."""

    def __init__(self, report: Report, ledger: Ledger, data: str) -> None:
        self.report, self.ledger, self.data = report, ledger, data
        self.args = report.arguments
        self.sides = [side for side in SIDES if side in self.args.sides.split(",")]
        self.rounds = (1, 1) if self.args.tiny else (PACE_ROUNDS, CLOCK_ROUNDS)
        self.notes: list[str] = []

    def trial(
        self, side: str, setting: Setting, part: str = "test", epochs: float = 1, seed: int = 0
    ) -> Trial:
        """A trial of this data set."""
        return Trial(
            "dense" if side in TORCH else "sparse", self.data, part, epochs, seed,
            self.args.threads[-1], setting,
        )  # fmt: skip

    def note(self, words: str) -> None:
        """A sentence for the page."""
        self.notes.append(words)
        print(f"  {words}", flush=True)

    # --- how long an epoch takes, as far as planning needs it

    def plan(self) -> None:
        """Grids, and seconds an epoch of every class of settings."""
        from rewire.recipe import HIDDEN

        with np.load(archive(self.data, "test")) as found:
            self.regression = found["y"].dtype.kind == "f"
        if self.regression:
            self.note("A regression: learning rates are a tenth of the grid's, with which most runs diverge.")
        self.grids: dict[str, list[Setting]] = {}
        self.pace: dict[str, float] = {}
        if "dense" in self.sides:
            self._plan_dense("dense", list(HIDDEN))
        if "narrow" in self.sides:
            self._plan_dense("narrow", [self.narrow(len(HIDDEN))] * len(HIDDEN))
        count = len(self.grids.get("dense", ())) or len(grid(DENSE))
        classes: dict[str, Trial] = {}
        if "sparse" in self.sides:
            settings = grid(rates_for(SPARSE, self.regression))
            self.grids["sparse"] = drawn(settings, 2 if self.args.tiny else count)
            for setting in self.grids["sparse"]:
                typical = {**setting, "dropout": 0.2}
                classes.setdefault(speed_class(setting), self.trial("sparse", typical))
        if "dense" not in self.sides or "default" in self.sides:
            classes["default"] = self.trial("default", {})
        self.pace |= paces(self.ledger, classes, self.rounds[0])["seconds"]
        first = next((s for s in self.grids.get("dense", ()) if s["dtype"] == "float32"), None)
        self.reference = self.pace["default" if first is None else speed_class(first)]

    def narrow(self, depth: int) -> int:
        """The width at which a dense network has as many weights as the default command's."""
        from rewire import Sequential, datasets
        from rewire.recipe import Recipe, outputs_of

        found = datasets.load(archive(self.data, "test"))
        weights = Sequential(Recipe({}).layers(found)).nnz
        # (depth - 1) w^2 + (n_in + n_out) w = weights
        half = (found.X.shape[1] + outputs_of(found, Recipe({}).loss(found))) / 2
        if depth == 1:
            return max(1, round(weights / (2 * half)))
        return max(1, round((math.sqrt(half**2 + (depth - 1) * weights) - half) / (depth - 1)))

    def _plan_dense(self, side: str, hidden: list[int]) -> None:
        """The grid of a dense side, without types of number that only cost time here."""
        settings = grid(rates_for(DENSE, self.regression), hidden=hidden)
        typical = {speed_class(s): self.trial(side, {**s, "dropout": 0.2}) for s in settings}
        found = paces(self.ledger, typical, self.rounds[0])
        if found["failed"]:
            self.note(f"{side} left out: {next(iter(found['failed'].values()))}")
            self.sides.remove(side)
            return
        self.pace |= found["seconds"]
        kept = []
        for setting in settings:
            single = speed_class({**setting, "dtype": "float32"})
            if self.pace[speed_class(setting)] <= self.pace[single]:
                kept.append(setting)
        dropped = {(s["dtype"], s["batch-size"]) for s in settings if s not in kept}
        for dtype, batch in sorted(dropped):
            slow, single = (
                self.pace[speed_class({"hidden": hidden, "batch-size": batch, "dtype": d})]
                for d in (dtype, "float32")
            )
            self.note(
                f"{dtype} autocast at batch {batch} is not in the {side} grid: an epoch takes {slow:.3g} s "
                f"here, {single:.3g} s in float32; slower and less exact, it has nothing to win."
            )
        self.grids[side] = drawn(kept, 2) if self.args.tiny else kept

    def epochs(self, side: str, setting: Setting, seconds: float) -> float:
        """How many fit into a time; the sparse side has whole ones, never more than fit."""
        pace = self.pace["default" if side == "default" else speed_class(setting)]
        return fitting(side, seconds / pace)

    # --- choosing

    def choose(self) -> None:
        """The best settings of each grid."""
        self.rungs = {side: self.args.rungs for side in self.grids}
        if "sparse" in self.grids and self.args.sparse_rungs:
            self.rungs["sparse"] = self.args.sparse_rungs
        self.scores: dict[str, list[list[tuple[float, Setting]]]] = {}
        for side, settings in self.grids.items():
            print(f"\n{self.data}: {len(settings)} settings of the {side} side", flush=True)

            def trial_of(setting: Setting, rung: float, side: str = side) -> Trial:
                epochs = self.epochs(side, setting, rung * self.reference)
                return self.trial(side, setting, "validation", epochs)

            try:
                self.scores[side] = halving(self.ledger, settings, self.rungs[side], trial_of)
            except UnfinishedError as error:
                self.note(f"The {side} grid has no best setting: {error}.")
        unit = self.reference
        if "dense" in self.scores:
            unit = self.pace[speed_class(self.scores["dense"][-1][0][1])]
        self.unit = TEN * unit

    # --- the runs that are reported

    def lengths(self) -> list[Point]:
        """A point for every length of every side; the dense ones know their epochs."""
        if "dense" in self.sides and "dense" not in self.scores:
            return []  # nothing has said how long the runs are
        found = []
        for side in self.sides:
            for length in self.args.lengths:
                setting: Setting = {}
                if side in self.scores:
                    in_rungs = length * self.unit / self.reference
                    setting = best(self.rungs[side], self.scores[side], in_rungs)
                elif side != "default":
                    continue
                epochs = self.epochs(side, setting, length * self.unit) if side == "dense" else math.nan
                found.append(Point(side, length, setting, epochs))
        return found

    def clock(self, points: list[Point]) -> dict[str, Any]:
        """Seconds an epoch of every setting that was chosen, in turns: what decides how long sparse runs are.

        A sparse run has as many whole epochs as fit into the seconds of the dense one. A clock that was read
        again (`--clock`) changes the seconds that are reported, and no run.
        """
        trials = {point.name: self.trial(point.side, point.setting) for point in points}
        first = paces(self.ledger, trials, self.rounds[1])
        latest = paces(self.ledger, trials, self.rounds[1], again=True, anew=self.args.clock) or first
        for name, why in {**first["failed"], **latest["failed"]}.items():
            self.note(f"{name} left out: {why}")
            points[:] = [point for point in points if point.name != name]
        seconds = {p.length: p.epochs * first["seconds"][p.name] for p in points if p.side == "dense"}
        for point in points:
            if point.side != "dense":
                fit = seconds.get(point.length, point.length * self.unit) / first["seconds"][point.name]
                point.epochs = fitting(point.side, fit)
            point.seconds = point.epochs * latest["seconds"][point.name]
        return latest

    def run(self, points: list[Point]) -> None:
        """Seed by seed all lengths of all sides, so that what is there at any moment can be compared."""
        print(f"\n{self.data}: runs of {', '.join(f'{n:g}' for n in self.args.lengths)} units", flush=True)
        for seed in range(1 if self.args.tiny else self.args.seeds):
            for point in sorted(points, key=lambda p: p.length):
                found = self.ledger.result(self.trial(point.side, point.setting, "test", point.epochs, seed))
                if found is not None:
                    point.runs.append(found)

    def study(self) -> Study:
        """All of it."""
        self.plan()
        self.choose()
        points = self.lengths()
        clock = self.clock(points)
        self.run(points)
        return Study(
            data=self.data, points=[point for point in points if point.runs], clock=clock, unit=self.unit,
            notes=self.notes, threads=self.args.threads[-1],
            grids={side: len(settings) for side, settings in self.grids.items()},
            rungs=self.rungs, scores=self.scores,
        )  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    args = arguments(argv)
    if args.tiny:
        args.data, args.rungs, args.lengths = "digits", (0.3,), (0.1,)
    report = Report(f"over_time-{args.data.replace(',', '-')}" if args.apart else "over_time", args)
    until = math.inf if args.full or args.tiny else time.monotonic() + args.budget
    ledger = Ledger(results() / "trials.jsonl", until)
    studies = []
    for data in args.data.split(","):
        try:
            studies.append(Course(report, ledger, data).study())
        except (ImportError, FileNotFoundError) as error:
            report.note(f"{data} left out: {error}")
    _time_page.write(report, studies)
    report.save()


if __name__ == "__main__":
    main()
