"""What every script of the suite shares beside measuring: options, the printed page, files, verdicts.

A script is a function from a `Report` to nothing::

    def main() -> None:
        report = Report("rewiring", options(__doc__, share=90))
        table = report.table("A SET step over one layer", ["shape", "ns per connection", "steps"])
        for shape in SHAPES:
            cell = report.cell(f"set/{shape}", lambda: one(shape))     # measured, or kept from an earlier run
            table.row(shape, cell["ns"], cell["steps"])
        report.judge("S5", "a rewiring costs at most 2 training steps", "1.4 steps", met=True)
        report.save()

Everything is printed as it comes, and `save` leaves `bench/results/NAME.json` and `NAME.md`, which
`targets.py` and `_docs.py` read.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _clock
import _measure
from _fingerprint import fingerprint
from _measure import Figure

OTHERS = _clock.FOREIGN_LIMIT  # as it is when nobody asks for another
VERDICTS = {True: "met", False: "NOT met", None: "not measurable"}


def results() -> Path:
    """The folder of results: `bench/results`, or `$REWIRE_BENCH_RESULTS`."""
    folder = Path(os.environ.get("REWIRE_BENCH_RESULTS") or Path(__file__).with_name("results"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def parser(description: str | None, share: float) -> ArgumentParser:
    """The options of every script, for scripts that add their own."""
    made = ArgumentParser(description=(description or "").split("\n\n")[0])
    made.add_argument(
        "--budget", type=float, default=share, metavar="SECONDS", help=f"seconds it may take ({share:g})"
    )
    made.add_argument("--full", action="store_true", help="measure everything, however long it takes")
    made.add_argument("--resume", action="store_true", help="keep cells that this commit has measured before")
    made.add_argument("--only", default="", metavar="TEXT", help="only cells with this text in their name")
    made.add_argument("--tiny", action="store_true", help="the smallest shapes: shows that the script works")
    made.add_argument(
        "--foreign",
        type=float,
        default=_clock.FOREIGN_LIMIT,
        metavar="CORES",
        help=f"what others may take of the machine before a block is dropped ({_clock.FOREIGN_LIMIT:g})",
    )
    made.add_argument("--threads", default="1,2", metavar="N,N", help="thread counts, where it matters (1,2)")
    return made


def numbers(text: str) -> tuple[float, ...]:
    """Numbers between commas, as options have them."""
    return tuple(float(part) for part in text.split(","))


def options(description: str | None, share: float, argv: Sequence[str] | None = None) -> Namespace:
    """Parse the common options.

    Parameters
    ----------
    description : str
        The script's docstring; its first paragraph becomes the help.
    share : float
        Seconds of `make bench` that this script gets.

    Returns
    -------
    Namespace
        ``budget``, ``full``, ``resume``, ``only``, ``tiny`` and ``threads`` (a tuple of ints).
    """
    return settle(parser(description, share).parse_args(argv))


def settle(arguments: Namespace) -> Namespace:
    """Turn what `parser` read into what scripts use."""
    if arguments.tiny:
        # Nothing is judged: a number of short rounds, however long they take and whatever else goes on.
        arguments.budget = arguments.foreign = math.inf
        _clock.SPAN_SECONDS = _measure.BLOCK = _measure.SHORTEST
    _clock.FOREIGN_LIMIT = arguments.foreign
    arguments.threads = tuple(int(n) for n in arguments.threads.split(","))
    return arguments


def text(value: object) -> str:
    """A value as a cell of a table."""
    if value is None:
        return "not measurable"
    if isinstance(value, Figure):
        return str(value)
    if isinstance(value, dict) and "median" in value and "kept" in value:
        return str(Figure(**value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if math.isnan(value):
            return "-"
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


def markdown(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A titled Markdown table."""
    lines = [f"### {title}", ""] if title else []
    lines += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


@dataclass
class Table:
    """Rows under a title; prints itself as it grows."""

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        print("\n" + markdown(self.title, self.header, []), end="", flush=True)

    def row(self, *cells: object) -> None:
        """Add and print a row: figures, numbers, strings, or None for "not measurable"."""
        if len(cells) != len(self.header):
            raise ValueError(f"{self.title}: {len(self.header)} columns, got {len(cells)} cells")
        self.rows.append([text(cell) for cell in cells])
        print("| " + " | ".join(self.rows[-1]) + " |", flush=True)


class Report:
    """One script's run.

    Parameters
    ----------
    name : str
        Of the script, and so of its files in `bench/results/`.
    arguments : Namespace
        From `options`.
    """

    def __init__(self, name: str, arguments: Namespace) -> None:
        self.name, self.arguments = name, arguments
        self.machine = fingerprint()
        self.cells: dict[str, Any] = {}
        self.tables: list[Table] = []
        self.judgements: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.plots: list[str] = []
        self._begin = time.perf_counter()
        self._kept = self._earlier() if arguments.resume else {}
        if arguments.foreign > OTHERS:
            self.notes.append(
                f"Made while others could take up to {arguments.foreign:g} cores: not to be believed."
            )
        print(f"# {name}\n\n" + "  ".join(f"{k} {v}" for k, v in self.machine.items() if v), flush=True)

    def _earlier(self) -> dict[str, Any]:
        """Cells of an earlier run of this very commit."""
        try:
            saved = json.loads((results() / f"{self.name}.json").read_text())
        except (OSError, ValueError):
            return {}
        if saved["machine"] != self.machine or self.machine["commit"].endswith(("dirty", "unknown")):
            print(f"{self.name}: another commit or machine, or changes since: everything is measured anew")
            return {}
        return saved["cells"]

    # --- time ---

    @property
    def left(self) -> float:
        """Seconds left of the budget; endless with ``--full``."""
        if self.arguments.full:
            return math.inf
        return self.arguments.budget - (time.perf_counter() - self._begin)

    # --- content ---

    def cell(self, key: str, measure: Callable[[], Any]) -> Any:
        """The result of one measurement, made now or kept from a run to be resumed.

        What `measure` returns must survive JSON (figures do: `Figure.json()`). With ``--full`` it is on disk
        before the next one starts. None when ``--only`` leaves it out.
        """
        if self.arguments.only not in key:
            return None
        if key in self._kept:
            self.cells[key] = self._kept[key]
        else:
            self.cells[key] = json.loads(json.dumps(measure(), default=_plain))
            if self.arguments.full:
                self._write({**self._kept, **self.cells})
        return self.cells[key]

    def table(self, title: str, header: Sequence[str]) -> Table:
        """Start a table; its rows print as they come."""
        self.tables.append(Table(title, list(header)))
        return self.tables[-1]

    def note(self, line: str) -> None:
        """A sentence under the tables: what was skipped and why, how to read a figure."""
        self.notes.append(line)
        print(f"\n{line}", flush=True)

    def judge(self, target: str, asked: str, measured: object, met: bool | None) -> None:
        """Say how a target fared.

        Parameters
        ----------
        target : str
            "S1" to "S10". A target may be judged in several parts, which must all be met.
        asked, measured : str
            In words with figures, for the table of `targets.py`.
        met : bool or None
            None: not measurable in this run.
        """
        line = {"target": target, "asked": asked, "measured": text(measured), "met": met}
        self.judgements.append(line)
        print(f"\n{target}: {asked}: {text(measured)}: {VERDICTS[met]}", flush=True)

    @contextmanager
    def plot(self, name: str, width: float = 7.0, height: float = 4.5) -> Any:
        """``with report.plot("roofline") as axes: axes and axes.plot(...)``; None without matplotlib."""
        try:
            import matplotlib

            matplotlib.use("Agg")
            from matplotlib import pyplot
        except ImportError:
            yield None
            return
        figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
        yield axes
        file = f"{self.name}-{name}.png"
        figure.savefig(results() / file, dpi=120)
        pyplot.close(figure)
        self.plots.append(file)

    # --- files ---

    def _write(self, cells: dict[str, Any]) -> None:
        saved = {
            "script": self.name,
            "machine": self.machine,
            "seconds": time.perf_counter() - self._begin,
            "options": {k: v for k, v in vars(self.arguments).items() if not callable(v)},
            "judgements": self.judgements,
            "tables": [vars(table) for table in self.tables],
            "notes": self.notes,
            "plots": self.plots,
            "cells": cells,
        }
        file = results() / f"{self.name}.json"
        fresh = file.with_suffix(".tmp")
        fresh.write_text(json.dumps(saved, indent=1, default=_plain) + "\n")
        fresh.replace(file)

    def save(self) -> None:
        """Write the JSON and Markdown files."""
        self._write(self.cells)
        machine = ", ".join(f"{k} {v}" for k, v in self.machine.items() if v)
        parts = [f"# {self.name}\n", f"{machine}\n"]
        parts += [markdown(table.title, table.header, table.rows) for table in self.tables]
        parts += [f"{note}\n" for note in self.notes]
        parts += [f"![{file}]({file})\n" for file in self.plots]
        if self.judgements:
            parts.append(verdicts(self.judgements))
        (results() / f"{self.name}.md").write_text("\n".join(parts))
        print(f"\n{self.name}: {time.perf_counter() - self._begin:.0f} s", file=sys.stderr)


def verdicts(judgements: Sequence[dict[str, Any]]) -> str:
    """Judgements as a Markdown table."""
    rows = [[j["target"], j["asked"], j["measured"], VERDICTS[j["met"]]] for j in judgements]
    return markdown("", ["target", "asked", "measured", ""], rows)


def _plain(value: object) -> object:
    """What JSON does not know: figures and NumPy scalars."""
    if isinstance(value, Figure):
        return value.json()
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept as JSON")
