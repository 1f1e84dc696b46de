"""What to do about a table whose features are no numbers: a line of pandas to copy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

__all__ = ["is_gap", "recipe"]

# What stands in tables for a value that nobody knows, in small letters, and what pandas takes for that.
_GAPS = frozenset(["", "na", "n/a", "nan", "null", "none", "?", "-"])
_OF_PANDAS = frozenset(["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None"])
_FEW = 20  # different words of a column that become columns of their own, however few rows there are


def is_gap(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.strip().lower() in _GAPS


def recipe(
    path: str | os.PathLike[str],
    names: Sequence[str],
    words: Iterable[tuple[str, ...]],
    y: str | None,
    rows: int,
) -> str:
    """Words become columns of 0 and 1, rows with gaps are left out.

    Columns of names of a single row each are dropped, and those that are mostly gaps, which would take most
    rows along.

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
    rows : int
        How many were looked at for words.
    """
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        return (
            "words or empty cells have to become some first, and columns need names of their own: "
            f"{twice!r} is twice there"
        )
    file = os.fspath(path)
    tabs = os.path.splitext(file)[1].lower() == ".tsv"
    coded, different, empty, marks = list[str](), list[str](), list[str](), set[str]()
    for name, cells in zip(names, words, strict=True):
        there = [cell.strip() for cell in cells if not is_gap(cell)]
        if 2 * (len(cells) - len(there)) > rows:
            empty.append(name)
            continue
        many = len({*there}) > max(_FEW, len(there) // 2)
        if there:
            (different if many else coded).append(name)
        if not many:  # the gaps of a column that is dropped cost no rows
            marks |= {cell for cell in cells if is_gap(cell)}
    given = ", sep='\\t'" if tabs else ""
    strange = sorted(mark for mark in marks if mark not in _OF_PANDAS)
    given += f", na_values={strange}" if strange else ""
    made = f"pandas.read_csv({file!r}{given})"
    if different or empty:
        made += f".drop(columns={[*different, *empty]})"
    if marks:
        made += ".dropna()"
    if coded:
        made = f"pandas.get_dummies({made}, columns={coded}, dtype=int)"
    aims = [
        *(["turn words into columns of 0 and 1"] if coded else []),
        *(["leave out columns of nothing but different words"] if different else []),
        *(["leave out columns that are mostly empty"] if empty else []),
        *(["leave out rows with gaps"] if marks else []),
    ]
    then = f"; y is {y!r} there" if y else ""
    return f"to {' and '.join(aims)}: import pandas; {made}.to_csv('numbers.csv', index=False){then}"
