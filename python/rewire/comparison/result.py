"""What a comparison found: rows, columns, a summary, a table."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from rewire._checks import path as as_path
from rewire._fileio import write_json
from rewire._format import percent, plural
from rewire._format import seconds as spent
from rewire.comparison.record import read_record
from rewire.link_counts import readable

__all__ = ["Comparison"]

_OFF = 0.15  # part of the seconds that were given, from which on a row is said to have missed them


class Comparison:
    """Runs of several contenders from several seeds.

    ``len(found)`` counts runs and ``for row in found`` walks through them, so that
    ``pandas.DataFrame(found)`` is a table of all runs; ``found["test_accuracy"]`` is a column;
    ``print(found)`` shows the table of means.

    Attributes
    ----------
    runs : list of dict
        One for every run: ``contender``, ``seed``, ``epochs``; ``validation_accuracy`` or ``validation_r2``
        and ``validation_loss`` (with samples held out), ``test_accuracy`` or ``test_r2`` and ``test_loss``
        (with a test set), all after the last epoch; ``weights`` (connections at the end),
        ``weights_at_first``, ``density``, ``parameters`` (biases and all others too), ``network_bytes``
        (weights, structure, optimizer state); ``seconds`` and its parts ``seconds_training``,
        ``seconds_rewiring``, ``seconds_callbacks``, ``seconds_per_epoch`` (the median); ``peak_memory`` of
        the process and ``memory_before`` it had a network, in bytes; ``rewirings``; ``curve``, a dict of
        columns over epochs. A run that failed has ``error`` instead, and ``traceback``.
    asked : dict
        What was asked, JSON-able.
    contenders : dict of str to dict
        The options of each.
    measured : dict of str to dict
        With equal time: measured ``seconds_per_epoch`` of each, and the ``epochs`` that follow.
    notes : list of str
        What was done for equal weights or time.
    interrupted : bool
        Whether Ctrl-C ended it; all rows there are are whole.
    """

    def __init__(
        self,
        runs: Sequence[Mapping[str, Any]],
        *,
        asked: Mapping[str, Any],
        contenders: Mapping[str, Any],
        measured: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        interrupted: bool = False,
    ) -> None:
        self.runs = [dict(row) for row in runs]
        self.asked, self.contenders, self.measured = dict(asked), dict(contenders), dict(measured or {})
        self.notes, self.interrupted = list(notes), interrupted

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Comparison:
        """All that a file holds that ``save=`` has written.

        Raises
        ------
        FileNotFoundError, FileError
        """
        found = read_record(as_path("path", path))
        runs = [{"contender": name, **row} for (name, _), row in found["runs"].items()]
        return cls(runs, asked=found["asked"], contenders=found["contenders"], measured=found["measured"])

    # --- rows and columns ---------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.runs)

    @overload
    def __getitem__(self, key: str) -> list[Any]: ...

    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...

    def __getitem__(self, key: str | int) -> Any:
        if not isinstance(key, str):
            return self.runs[key]
        if key not in self.columns:
            raise KeyError(f"no column {key!r}; there are {', '.join(self.columns) or 'no rows yet'}")
        return [row.get(key) for row in self.runs]

    def __contains__(self, key: object) -> bool:
        return key in self.columns

    @property
    def columns(self) -> list[str]:
        """Names of all columns, in order of appearance."""
        return list(dict.fromkeys(name for row in self.runs for name in row))

    @property
    def metric(self) -> str:
        """``"accuracy"`` or ``"r2"``, as the losses have it; ``"loss"`` where they do not agree."""
        found = {row["metric"] for row in self.runs if "metric" in row}
        return found.pop() if len(found) == 1 else "loss"

    @property
    def chosen_by(self) -> str:
        """The column that rows are sorted by: of samples that were held out, else of the test set."""
        name = f"validation_{self.metric}"
        return name if name in self or f"test_{self.metric}" not in self else f"test_{self.metric}"

    def of(self, contender: str, column: str) -> NDArray[np.float64]:
        """A column of one contender's runs that did not fail.

        Raises
        ------
        KeyError
            If there is no such contender or column.
        """
        if contender not in self.contenders:
            raise KeyError(f"no contender {contender!r}; there are {', '.join(self.contenders)}")
        rows = [row for row in self.runs if row["contender"] == contender and "error" not in row]
        if rows and not any(column in row for row in rows):
            raise KeyError(f"no column {column!r}; there are {', '.join(self.columns)}")
        return np.array([_number(row.get(column)) for row in rows])

    def summary(self) -> list[dict[str, Any]]:
        """One row a contender, best first, with means over its seeds; those without a run come last.

        Returns
        -------
        list of dict
            ``contender``; ``seeds`` and ``failed``, numbers of runs; for losses and metrics ``NAME_mean``,
            ``NAME_sd`` (of the sample, NaN for one seed), ``NAME_lowest``, ``NAME_highest``; means of
            ``epochs``, ``weights``, ``density``, ``parameters``, ``network_bytes``, ``seconds``,
            ``seconds_per_epoch``; ``peak_memory``, the largest; ``error``, the first of the failed ones, or
            None.
        """
        rows = [self._summary(name) for name in self.contenders]
        key, sign = f"{self.chosen_by}_mean", -1.0 if self.metric == "loss" else 1.0
        return sorted(
            rows, key=lambda row: -sign * row.get(key, math.nan) if _known(row.get(key)) else math.inf
        )

    def _summary(self, name: str) -> dict[str, Any]:
        rows = [row for row in self.runs if row["contender"] == name]
        fine = [row for row in rows if "error" not in row]
        failed = [row["error"] for row in rows if "error" in row]
        found: dict[str, Any] = {"contender": name, "seeds": len(fine), "failed": len(failed)}
        if fine:
            for column in self.columns:
                if column.startswith(("validation_", "test_")):
                    values = [_number(row.get(column)) for row in fine]
                    found |= {
                        f"{column}_mean": statistics.fmean(values),
                        f"{column}_sd": statistics.stdev(values) if len(values) > 1 else math.nan,
                        f"{column}_lowest": min(values), f"{column}_highest": max(values),
                    }  # fmt: skip
            for column in (
                "epochs", "weights", "density", "parameters", "network_bytes", "seconds", "seconds_per_epoch",
            ):  # fmt: skip
                found[column] = statistics.fmean(_number(row.get(column)) for row in fine)
            peaks = [row["peak_memory"] for row in fine if row.get("peak_memory")]
            found["peak_memory"] = max(peaks) if peaks else None
        return {**found, "error": failed[0] if failed else None}

    @property
    def best(self) -> str:
        """The contender with the best mean: on samples that were held out, where there are some.

        Raises
        ------
        ValueError
            If no run has ended well.
        """
        first = self.summary()[0]
        if not first["seeds"]:
            raise ValueError(f"no run has ended well; the first error is: {first['error'] or 'none ran'}")
        return str(first["contender"])

    # --- table --------------------------------------------------------------------------

    def table(self) -> str:
        """Means over seeds, best first, as text."""
        held, tested = (f"{part}_{self.metric}" in self for part in ("validation", "test"))
        by = self.metric + (", %" if self.metric == "accuracy" else "")
        parts = [part for part, there in (("test", tested), ("validation", held)) if there]
        heads = [""]
        heads += [f"{part} {by}" for part in parts]
        heads += ["weights", "density", "epochs", "seconds", "network", "peak"]
        rows = [heads]
        for found in self.summary():
            rows.append([found["contender"], *self._cells(found, parts)])
        widths = [max(len(row[i]) for row in rows if len(row) == len(heads)) for i in range(len(heads))]
        widths[0] = max(len(row[0]) for row in rows)
        lines = []
        for row in rows:
            if len(row) == 2:  # a failure
                lines.append(f"{row[0].ljust(widths[0])}  {row[1]}")
                continue
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:], rule, *self._footnotes(held, tested)])

    def _cells(self, found: Mapping[str, Any], parts: Sequence[str]) -> list[str]:
        if not found["seeds"]:
            return [f"failed: {found['error']}" if found["error"] else "no run yet"]
        factor, digits = (100.0, 2) if self.metric == "accuracy" else (1.0, 4)
        cells = []
        for part in parts:
            name = f"{part}_{self.metric}"
            mean, sd = factor * found[f"{name}_mean"], factor * found[f"{name}_sd"]
            cells.append(f"{mean:.{digits}f}" + (f" +- {sd:.{digits}f}" if found["seeds"] > 1 else ""))
        peak = found["peak_memory"]
        failed = f" ({found['failed']} failed)" if found["failed"] else ""
        return [
            *cells, f"{found['weights']:,.0f}", percent(found["density"], 3), f"{found['epochs']:g}",
            f"{found['seconds']:.{2 if found['seconds'] < 10 else 1}f}", readable(found["network_bytes"]),
            (readable(peak) if peak else "-") + failed,
        ]  # fmt: skip

    def _footnotes(self, held: bool, tested: bool) -> list[str]:
        seeds = sorted({row["seed"] for row in self.runs})
        data = self.asked.get("data", {})
        lines = [
            f"{data.get('name', 'data')}: {data.get('train', 0):,} samples to train on, "
            f"{data.get('validation', 0):,} held out, {data.get('test', 0):,} for the test; "
            f"{plural(len(seeds), 'seed')}, mean +- standard deviation"
        ]
        if held and tested:
            lines.append(
                "sorted by the samples held out; the test set was looked at once, after the last epoch"
            )
        lines += [
            "weights: connections at the end. seconds: training and rewiring. network: weights, structure,",
            "optimizer state. peak: of the process, data included",
        ]
        lines += [f"{name}: {row['error']}" for name, row in self._failures() if self._fine(name)]
        lines += self.notes + self._missed()
        lines += [f"{name}: warning: {words}" for name, words in self._warnings()]
        return lines + (["interrupted: not all runs are there"] if self.interrupted else [])

    def _failures(self) -> list[tuple[str, dict[str, Any]]]:
        return [(f"{row['contender']}", row) for row in self.runs if "error" in row]

    def _fine(self, name: str) -> bool:
        return any(row["contender"] == name and "error" not in row for row in self.runs)

    def _missed(self) -> list[str]:
        """Contenders whose runs took another time than they were given."""
        lines = []
        for name, found in self.measured.items():
            given = found.get("seconds_given")
            took = self.of(name, "seconds") if given and name in self.contenders else np.zeros(0)
            if took.size and abs(took.mean() / given - 1.0) > _OFF:
                one = spent(found["seconds_per_epoch"])
                lines.append(
                    f"{name}: took {spent(took.mean())} of {spent(given)} that it was given: epochs are "
                    f"whole, and measured beforehand one took {one}"
                )
        return lines

    def _warnings(self) -> list[tuple[str, str]]:
        found = {(row["contender"], words): None for row in self.runs for words in row.get("warnings", ())}
        return list(found)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        failed = len(self._failures())
        return (
            f"Comparison({plural(len(self.contenders), 'contender')}, {plural(len(self), 'run')}"
            f"{f', {failed} failed' if failed else ''}{', interrupted' if self.interrupted else ''})"
        )

    # --- files --------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: everything, the summary too."""
        return {
            "asked": self.asked, "contenders": self.contenders, "measured": self.measured,
            "notes": self.notes, "interrupted": self.interrupted, "summary": self.summary(),
            "runs": [dict(row) for row in self.runs],
        }  # fmt: skip

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_dict` to a file, whole or not at all."""
        write_json(path, self.to_dict())


def _number(value: Any) -> float:
    """A figure; NaN where JSON had none."""
    return math.nan if value is None else float(value)


def _known(value: Any) -> bool:
    return value is not None and math.isfinite(value)
