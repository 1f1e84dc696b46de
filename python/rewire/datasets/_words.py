"""What to do about a table whose features are no numbers: a line of pandas to copy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

__all__ = ["is_gap", "recipe"]

# What stands in tables for a value that nobody knows; pandas takes all but the last two for that, too.
_GAPS = frozenset(["", "na", "n/a", "nan", "null", "none", "?", "-"])
_FEW = 20  # different words of a column that become columns of their own, however few rows there are


def is_gap(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.strip().lower() in _GAPS


def recipe(
    path: str | os.PathLike[str], names: Sequence[str], words: Iterable[tuple[str, ...]], y: str | None
) -> str:
    """Words become columns of 0 and 1, rows with gaps are left out, and names of a single row each dropped.

    Parameters
    ----------
    path : str or path-like
        Of the table, in CSV or separated by tabs.
    names : sequence of str
        Of its columns.
    words : iterable of tuple of str
        Of every column, features or not, the cells that are no numbers, up to some number of rows; none of y.
    y : str or None
        The name of the column of targets, if it has one.
    """
    file = os.fspath(path)
    tabs = os.path.splitext(file)[1].lower() == ".tsv"
    coded, dropped, marks = [], [], set[str]()
    for name, cells in zip(names, words, strict=True):
        there = [cell.strip() for cell in cells if not is_gap(cell)]
        marks |= {cell.strip() for cell in cells if is_gap(cell)}
        if there:
            many = len({*there}) > max(_FEW, len(there) // 2)
            (dropped if many else coded).append(name)
    given = ", sep='\\t'" if tabs else ""
    strange = sorted(marks & {"?", "-"})
    given += f", na_values={strange}" if strange else ""
    made = f"pandas.read_csv({file!r}{given})"
    if dropped:
        made += f".drop(columns={dropped})"
    if marks:
        made += ".dropna()"
    if coded:
        made = f"pandas.get_dummies({made}, columns={coded}, dtype=int)"
    aims = [
        *(["turn words into columns of 0 and 1"] if coded else []),
        *(["leave out columns of nothing but different words"] if dropped else []),
        *(["leave out rows with gaps"] if marks else []),
    ]
    then = f"; y is {y!r} there" if y else ""
    return f"to {' and '.join(aims)}: import pandas; {made}.to_csv('numbers.csv', index=False){then}"
