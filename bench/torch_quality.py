"""Test loss over seconds of a character transformer: dense, dense with as few weights, and three sparse ones.

Width 256, two blocks, on the text of Python's manual. Of the sparse sides all linear layers but the head have
a tenth of their links, in groups of four and in `Tiled`: fixed, moved by RigL, moved by CHTs. A point is a
run of its own, whose learning rate rises and falls within it, for so many processor seconds of one thread.
Every side has the best of the same learning rates, by text that is neither trained on nor tested on. All of
them are tried in short runs and the better half again in long ones; a length takes the best of those that are
nearest to it. Then it is trained from every seed on that text too, and tested once, at the end.

Seconds become steps by what a step and a rewiring take, measured once, in turns. So other work on the machine
changes no run. Runs are kept in `torch_quality.jsonl` and none is made twice: stopped at any moment, it goes
on where it was; `--budget 0` prints what there is.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from argparse import Namespace
from dataclasses import asdict
from itertools import product
from typing import Any

from _apart import apart
from _networks_readme import above
from _report import Report, numbers, parser, results, settle
from _text_runs import SIDES, Sizes, text_facts
from _trials import Ledger

RATES = (0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008)
DENSE = "dense"
TURNS = 15
Losses = dict[str, list[dict[float, float]]]  # of every side, rung by rung, by rate
Rates = dict[str, dict[str, float]]  # of every side, by length
Runs = dict[str, dict[str, list[dict[str, Any]]]]  # of every side, by length
TINY = Sizes(width=16, depth=1, length=16, batch=2, rewirings=1)


def arguments(argv: list[str] | None = None) -> Namespace:
    """The options of every script, and those of this one."""
    made = parser(__doc__, math.inf)
    made.add_argument("--seconds", type=float, default=50.0, help="the unit of all lengths (50)")
    made.add_argument(
        "--lengths", type=numbers, default=(0.25, 0.5, 1, 2, 4), metavar="X,X",
        help="of runs, in times of --seconds (0.25,0.5,1,2,4)",
    )  # fmt: skip
    made.add_argument(
        "--rungs", type=numbers, default=(0.5, 2), metavar="X,X",
        help="lengths at which rates are chosen, each time among the better half (0.5,2)",
    )  # fmt: skip
    made.add_argument("--seeds", type=int, default=3, help="runs of each length (3)")
    return settle(made.parse_args(argv))


class Study:
    """What is compared, and how much of it."""

    def __init__(self, args: Namespace) -> None:
        self.tiny = args.tiny
        self.seconds, self.lengths, self.seeds = args.seconds, args.lengths, args.seeds
        self.rungs = args.rungs
        self.sizes, self.rates, self.turns = asdict(Sizes()), RATES, TURNS
        if self.tiny:
            self.sizes, self.rates, self.turns = asdict(TINY), RATES[1:2], 1
            self.lengths, self.rungs, self.seeds = (2,), (0.5,), 1
        until = math.inf if args.full or self.tiny else time.monotonic() + args.budget
        self.ledger = Ledger(results() / "torch_quality.jsonl", until)
        self.text = self._same_text()

    def _same_text(self) -> dict[str, Any]:
        """What the ledger's runs have read, kept once in it: SystemExit if this Python has another text."""
        here = text_facts()
        kept = self.ledger.get("text") or self.ledger.keep("text", here)
        if kept["sha256"] != here["sha256"]:
            raise SystemExit(
                f"{self.ledger.file} has runs on another text, that of Python {kept['python']} and not of "
                f"{here['python']}: set REWIRE_BENCH_RESULTS to another folder"
            )
        return kept

    def made(self, function: str, **facts: Any) -> dict[str, Any] | None:
        """What came of a run, now or before; None where it failed or the time is over."""
        key = json.dumps({"function": function, "sizes": self.sizes, **facts}, sort_keys=True)
        found = self.ledger.get(key)
        if found is not None or time.monotonic() > self.ledger.until:
            return found
        found = apart(f"_text_runs:{function}", sizes=self.sizes, **facts)
        words = " ".join(f"{name} {value}" for name, value in facts.items())
        if "error" in found:
            print(f"  {function} {words}: {found['error']}", flush=True)
            return None
        print(f"  {function} {words}: {found.get('loss', 'done')}", flush=True)
        return self.ledger.keep(key, found)

    def steps(self, pace: dict[str, Any], length: float) -> int:
        """How many fit into a time, beside the rewirings; enough for a schedule to be one."""
        if self.tiny:
            return 4
        left = length * self.seconds - self.sizes["rewirings"] * pace["rewiring"]
        return max(10, int(left / pace["step"]))

    def losses(self, paces: dict[str, Any]) -> Losses:
        """The validation loss of every rate of every side, rung by rung; infinite where it diverges."""
        found: Losses = {side: [] for side in SIDES}
        left = dict.fromkeys(SIDES, self.rates)
        for rung in self.rungs:
            for by_rung in found.values():
                by_rung.append({})
            for rate, side in product(self.rates, SIDES):
                if rate in left[side]:
                    run = self.made(
                        "train", side=side, steps=self.steps(paces[side], rung), rate=rate, seed=0,
                        judged_by="validation",
                    )  # fmt: skip
                    if run is not None:
                        found[side][-1][rate] = math.inf if run["loss"] is None else run["loss"]
            for side in SIDES:
                left[side] = better_half(found[side][-1], len(left[side]))
        return found

    def chosen(self, losses: Losses) -> Rates:
        """The best rate of every side at each length: that of the rung nearest to it, as a ratio."""
        found: Rates = {}
        for (side, by_rung), length in product(losses.items(), sorted(self.lengths)):
            nearest = min(range(len(self.rungs)), key=lambda i: abs(math.log(self.rungs[i] / length)))
            best = better_half(by_rung[nearest], math.ceil(len(self.rates) / 2**nearest))
            if best:
                found.setdefault(side, {})[f"{length:g}"] = best[0]
        return found

    def tested(self, paces: dict[str, Any], rates: Rates) -> Runs:
        """Runs of every side at every length, seed by seed: what is there can be compared."""
        found: Runs = {side: {} for side in rates}
        for seed in range(self.seeds):
            for length in sorted(self.lengths):
                of_length = f"{length:g}"
                for side in (side for side in rates if of_length in rates[side]):
                    run = self.made(
                        "train", side=side, steps=self.steps(paces[side], length), seed=seed,
                        rate=rates[side][of_length], judged_by="test",
                    )  # fmt: skip
                    if run is not None:
                        loss = math.inf if run["loss"] is None else run["loss"]
                        found[side].setdefault(of_length, []).append({**run, "loss": loss})
        return found


def better_half(by_rate: dict[float, float], tried: int) -> tuple[float, ...]:
    """The better half of the rates that were tried, best first; none while runs are missing, or diverge."""
    if len(by_rate) < tried:
        return ()
    half = sorted(by_rate, key=by_rate.__getitem__)[: math.ceil(tried / 2)]
    return tuple(rate for rate in half if by_rate[rate] < math.inf)


def each(runs: Runs, fact: str) -> dict[str, dict[str, list[float]]]:
    """A fact of every run."""
    return {
        side: {length: [run[fact] for run in made] for length, made in by_length.items()}
        for side, by_length in runs.items()
    }


def said(values: list[float]) -> str:
    """Mean, deviation, and every seed."""
    spread = f" +- {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    each = " ".join(f"{value:.3f}" for value in values)
    return f"{statistics.mean(values):.3f}{spread} ({each})" if values else "not run"


def show(report: Report, study: Study, paces: dict[str, Any], losses: Losses, runs: Runs) -> None:
    """The tables, and a picture."""
    tested, spent = (each(runs, fact) for fact in ("loss", "cpu_seconds"))
    table = report.table("Sides", ["side", "width", "parameters", "ms a step", "ms a rewiring"])
    for side, pace in paces.items():
        rewiring = 1000 * pace["rewiring"] if pace["rewiring"] > 0 else "-"
        table.row(side, pace["width"], pace["parameters"], 1000 * pace["step"], rewiring)
    rungs = [f"after {rung * study.seconds:g} s" for rung in study.rungs]
    table = report.table("Validation loss by rate, the best first", ["side", *rungs])
    for side, by_rung in losses.items():
        ordered = (sorted(by_rate.items(), key=lambda pair: pair[1]) for by_rate in by_rung)
        cells = (", ".join(f"{rate:g}: {loss:.3f}" for rate, loss in pairs) for pairs in ordered)
        table.row(side, *(cell or "-" for cell in cells))
    seconds = [f"{length * study.seconds:g} s" for length in study.lengths]
    table = report.table("Test loss, nats a character", ["side", *seconds])
    for side in tested:
        cells = []
        for length in study.lengths:
            values, seconds_of = (of[side].get(f"{length:g}", []) for of in (tested, spent))
            took = f", {statistics.median(seconds_of):.1f} s" if seconds_of else ""
            cells.append(f"{said(values)}; {study.steps(paces[side], length):,} steps{took}")
        table.row(side, *cells)
    table = report.table("Test loss less that of the dense side, seed by seed", ["side", *seconds])
    for side, by_length in tested.items():
        if side == DENSE:
            continue
        differences = [
            above(by_length.get(length, []), tested[DENSE].get(length, []))
            for length in (f"{length:g}" for length in study.lengths)
        ]
        table.row(side, *("-" if d is None else "{:+.3f} +- {:.3f}".format(*d) for d in differences))
    with report.plot("loss") as axes:
        if axes is not None and tested:
            for side, by_length in tested.items():
                points = [(float(length) * study.seconds, by) for length, by in by_length.items() if by]
                axes.plot([x for x, _ in points], [statistics.mean(y) for _, y in points], "o-", label=side)
            axes.set(xscale="log", xlabel="processor seconds of one thread", ylabel="test loss, nats")
            axes.legend()


def main(argv: list[str] | None = None) -> None:
    args = arguments(argv)
    report = Report("torch_quality", args)
    study = Study(args)
    paces = study.made("paces", sides=list(SIDES), turns=study.turns)
    if paces is None:
        report.note("Nobody has measured what a step takes.")
        return report.save()
    paces.pop("peak_bytes", None)
    losses = study.losses(paces)
    rates = study.chosen(losses)
    runs = study.tested(paces, rates)
    show(report, study, paces, losses, runs)
    report.cells = {
        "paces": paces, "validation": losses, "rates": rates, "test": each(runs, "loss"),
        "cpu_seconds": each(runs, "cpu_seconds"), "sizes": study.sizes, "text": study.text,
    }  # fmt: skip
    report.note(
        "A loss is a mean over seeds +- their deviation, in brackets every seed; a rate was chosen by runs "
        "from one seed, of the length that is nearest as a ratio. A difference has its standard error; below "
        "0 is better. Seconds at the head of a column are what steps and rewirings were measured to take; "
        "those in a cell are the median of what its runs took, other work on the machine included."
    )
    text = study.text
    report.note(
        f"The text is of Python {text['python']}: {text['training']:,} characters to train on, "
        f"{text['test']:,} to test on, SHA-256 {text['sha256'][:16]}."
    )
    ends = [side for side, by in rates.items() if {*by.values()} & {study.rates[0], study.rates[-1]}]
    if ends and len(study.rates) > 1:
        report.note(f"Best at an end of the rates, where others may be better still: {', '.join(ends)}.")
    report.save()


if __name__ == "__main__":
    main()
