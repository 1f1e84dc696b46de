"""What `over_time.py` found, as tables, in words and as a picture: losses as well as wins."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from _paces import WAYS
from _report import Report, results

NAMES = {
    "dense": "dense PyTorch, best of its grid",
    "default": "sparse, the default command",
    "sparse": "sparse, best of as many settings",
    "narrow": "narrow dense PyTorch of as many weights, best of its grid",
}
RIVALS = {"dense": "dense", "narrow": "a narrow dense network of as many weights"}
MARGIN, UP_TO = 0.5, 1.0  # what is asked of the default command: so many points, up to this length
ASKED = (0.25, 0.5, 1.0, 2.0)  # at these lengths
SEEDS = 3


@dataclass
class Point:
    """One length of one side: its setting, and one run for each seed.

    Attributes
    ----------
    length : float
        In times of ten dense epochs.
    seconds : float
        Its epochs times the seconds that an epoch took in turns with the other sides'.
    """

    side: str
    length: float
    setting: dict[str, Any]
    epochs: float
    runs: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = math.nan

    @property
    def name(self) -> str:
        """Of what decides the time of an epoch."""
        return f"{self.side} {worded(self.setting)}"

    @property
    def points(self) -> list[float]:
        """Scores in percent, seed by seed; what diverged has none."""
        return [100 * run["score"] for run in self.runs if run["score"] is not None]

    @property
    def mean(self) -> float:
        return statistics.mean(self.points) if self.points else math.nan


@dataclass
class Study:
    """One data set.

    Attributes
    ----------
    clock : dict
        From `_paces.paces`.
    unit : float
        Seconds of ten dense epochs, as the plan had it.
    grids : dict
        Side -> how many settings were tried.
    rungs : dict
        Side -> times, in epochs of a dense float32 network.
    scores : dict
        Side -> validation scores and settings by rung, best first.
    """

    data: str
    points: list[Point]
    clock: dict[str, Any]
    unit: float
    threads: int
    notes: list[str] = field(default_factory=list)
    grids: dict[str, int] = field(default_factory=dict)
    rungs: dict[str, Sequence[float]] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)

    def at(self, side: str, length: float) -> Point | None:
        return next((p for p in self.points if (p.side, p.length) == (side, length)), None)


def worded(setting: dict[str, Any]) -> str:
    """A setting in a few words."""
    widths = {name: "-".join(map(str, v)) if isinstance(v, list) else v for name, v in setting.items()}
    return ", ".join(f"{name} {value}" for name, value in widths.items()) or "nothing said"


# --- what it says


@dataclass
class Lead:
    """A sparse side against the dense, or the narrow dense, run of the same length, in points."""

    length: float
    seconds: float
    points: float
    error: float  # standard error over seeds; NaN with fewer than two on a side
    seeds: int

    @property
    def who(self) -> str:
        """Who is ahead; nobody within two standard errors."""
        if abs(self.points) <= (0.0 if math.isnan(self.error) else 2 * self.error):
            return "level"
        return "sparse ahead" if self.points > 0 else "dense ahead"

    def __str__(self) -> str:
        return f"{self.points:+.2f}" + ("" if math.isnan(self.error) else f" +- {self.error:.2f}")


def leads(study: Study, side: str, rival: str = "dense") -> list[Lead]:
    """At every length that both sides have, shortest first."""
    found = []
    for length in sorted({point.length for point in study.points}):
        ours, dense = study.at(side, length), study.at(rival, length)
        if ours is None or dense is None or not ours.points or not dense.points:
            continue
        errors = [_error(point.points) for point in (ours, dense)]
        seeds = min(len(ours.points), len(dense.points))
        found.append(Lead(length, dense.seconds, ours.mean - dense.mean, math.hypot(*errors), seeds))
    return found


def _error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _threads(study: Study) -> str:
    return f"{study.threads} thread" + "s" * (study.threads > 1)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"


def verdict(found: Sequence[Lead]) -> str:
    """Who is ahead, and where dense wins: at which times, or from which time on."""
    said = []
    for who, group in itertools.groupby(found, key=lambda lead: lead.who):
        times = [_seconds(lead.seconds) for lead in group]
        if who == "dense ahead" and times[-1] == _seconds(found[-1].seconds):
            span = f"from {times[0]} on"
        else:
            span = f"at {times[0]}" if len(times) == 1 else f"from {times[0]} to {times[-1]}"
        said.append(f"{who} {span}")
    if not any(lead.who == "dense ahead" for lead in found):
        said[-1] += "; dense is nowhere ahead in what was measured"
    return ", ".join(said)


def asked_for(found: Sequence[Lead]) -> bool | None:
    """Whether the default command does what is asked of it; None where too little was measured."""
    known = {lead.length: lead for lead in found if lead.seeds >= SEEDS}
    if not all(length in known for length in ASKED):
        return None
    return all(known[n].points >= (MARGIN if n <= UP_TO else 0.0) and known[n].points > 0 for n in ASKED)


# --- the page


def table(report: Report, study: Study) -> None:
    """Every length of every side."""
    score = "100 R2" if study.data == "diamonds" else "test accuracy, %"
    page = report.table(
        f"{study.data}: {score} over seconds, {_threads(study)}",
        ["x ten dense epochs", "side", "seconds", "epochs", score, "lowest..highest", "runs", "weights",
         "ahead of dense by", "peak, MiB"],
    )  # fmt: skip
    for point in sorted(study.points, key=lambda p: (p.length, list(NAMES).index(p.side))):
        lead = next((x for x in leads(study, point.side) if x.length == point.length), "-")
        values = point.points or [math.nan]
        kept = [run for run in point.runs if run["score"] is not None]
        page.row(
            f"{point.length:g}", NAMES[point.side], point.seconds, f"{point.epochs:g}",
            f"{point.mean:.2f}" if kept else "diverged",
            f"{min(values):.2f}..{max(values):.2f}" if kept else "-",
            str(len(point.points)) + ("" if len(kept) == len(point.runs) else f" of {len(point.runs)}"),
            kept[0]["weights"] if kept else "-", "-" if point.side == "dense" else str(lead),
            max((run["peak_bytes"] / 2**20 for run in kept), default=math.nan),
        )  # fmt: skip


def choices(report: Report, study: Study) -> None:
    """Which settings were chosen for which lengths."""
    chosen: dict[tuple[str, str], list[float]] = {}
    for point in study.points:
        if point.side in study.scores:
            chosen.setdefault((point.side, worded(point.setting)), []).append(point.length)
    if not chosen:
        return
    page = report.table(
        f"{study.data}: settings, chosen on held-out samples",
        ["side", "settings tried", "rungs, in epochs of a dense float32 network", "at lengths", "chosen"],
    )
    for (side, setting), lengths in chosen.items():
        rungs = ", ".join(f"{rung:g}" for rung in study.rungs[side])
        page.row(NAMES[side], study.grids[side], rungs, ", ".join(f"{n:g}" for n in sorted(lengths)), setting)


def words(study: Study) -> list[str]:
    """The sentences under the tables, which README repeats."""
    said = []
    for side, (rival, name) in itertools.product(("default", "sparse"), RIVALS.items()):
        found = leads(study, side, rival)
        if found:
            listed = ", ".join(f"{lead} at {_seconds(lead.seconds)}" for lead in found)
            said.append(f"{study.data}, {NAMES[side]}, beside {name}: {verdict(found)} (points: {listed}).")
    return said


def write(report: Report, studies: Iterable[Study]) -> None:
    """Tables, words, the judgement, the picture; what the docs need is kept under the data set's name."""
    studies = [study for study in studies if study.points]
    for study in studies:
        table(report, study)
        choices(report, study)
        sentences = words(study)
        for line in (*sentences, *study.notes):
            report.note(line)
        quiet, turns = study.clock["blocks"]
        report.note(
            f"{study.data}: seconds are epochs x seconds an epoch, all sides in turns "
            f"({WAYS[study.clock['way']]}; {turns} turns, {quiet} of them quiet)."
        )
        if study.data == "fashion-mnist":
            found = leads(study, "default")
            measured = ", ".join(f"{lead.points:+.2f} at {lead.length:g}x" for lead in found) or None
            asked = (
                f"the default command, only --epochs changed, beside the best dense: {MARGIN} points ahead"
                f" at {', '.join(f'{n:g}' for n in ASKED[:-1])} and ahead at {ASKED[-1]:g} x ten dense epochs"
            )
            report.judge("over time", asked, measured, asked_for(found))
        report.cells[study.data] = {
            "words": sentences,
            "points": [
                {
                    **{k: v for k, v in vars(p).items() if k != "runs"},
                    "scores": p.points,
                    "weights": next((r["weights"] for r in p.runs if r["score"] is not None), None),
                }
                for p in study.points
            ],
            "clock": study.clock,
            "unit": study.unit,
        }
        picture(report, study)


def picture(report: Report, study: Study) -> None:
    """Score over seconds: means as lines, seeds as dots."""
    from rewire.plots._style import COLOURS, GREY, available, canvas, save

    if not available():
        return
    colours = {"dense": GREY, "default": COLOURS[0], "sparse": COLOURS[1], "narrow": COLOURS[2]}
    with canvas(None, 7.0, 4.2) as (figure, axes):
        for side, colour in colours.items():
            line = sorted((p for p in study.points if p.side == side and p.points), key=lambda p: p.seconds)
            if not line:
                continue
            axes.plot([p.seconds for p in line], [p.mean for p in line], color=colour, linewidth=2.2)
            for p in line:
                axes.plot([p.seconds] * len(p.points), p.points, "o", color=colour, alpha=0.45, ms=4, mew=0)
            weights = next(run["weights"] for p in line for run in p.runs if run["score"] is not None)
            axes.plot([], [], color=colour, linewidth=2.2, label=f"{NAMES[side]}: {weights:,} weights")
        axes.set_xscale("log")
        axes.set_xlabel(f"seconds of training, {_threads(study)}; one run for each length")
        ticks = sorted({round(p.seconds, 3) for p in study.points if p.side == "dense"})
        if ticks:
            axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
            axes.minorticks_off()
        axes.set_title(f"{study.data}: " + ("100 R2" if study.data == "diamonds" else "test accuracy, %"))
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.legend(loc="lower right", frameon=False)
        file = f"over_time-{study.data}.png"
        save(figure, results() / file)
    report.plots.append(file)
