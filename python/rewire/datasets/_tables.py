"""Files other than archives: a table in CSV or Parquet, an array of NumPy, named arrays in HDF5.

Of a table one column may be y, by its name or its number; all others are features, in the order of the file.
What comes back are arrays by the names that an archive has, `X`, `y` and so on, and nobody has looked at
their values.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from rewire._checks import describe, integer
from rewire._fileio import FileError, open_regular
from rewire._format import plural
from rewire._inputs import say_size
from rewire.datasets._words import recipe
from rewire.streams.kinds import is_large
from rewire.streams.parquet import Tabled, columns_of, values_of

__all__ = [
    "ARRAYS", "TABLES", "Column", "columns_of_csv", "data_set", "kind_of", "missing", "position", "read_hdf5",
    "read_table", "readable", "refuse_twice",
]  # fmt: skip

ARRAYS = (".h5", ".hdf5")  # hold arrays by name, as archives do
TABLES = (".csv", ".tsv", ".parquet", ".npy")
Column = str | int

_ROWS = 1 << 16  # of a table of pyarrow that are made numbers together
_LOOKED_AT = 10_000  # rows of a table with words in it, to say what to do about them
_COUNTED = 10  # columns that a line counts which is no row of numbers, whatever is below
_NUMBER = re.compile(r"-?\d{1,9}", re.ASCII)  # of a column
_WHOLE = re.compile(r"\s*[+-]?\d+\s*")


def kind_of(path: str | os.PathLike[str]) -> str:
    """What the name of a file ends with, in small letters."""
    return os.path.splitext(os.fspath(path))[1].lower()


def read_table(
    path: str | os.PathLike[str], y: Column | None, width: int | None = None
) -> dict[str, NDArray[Any]]:
    """``X`` of a table, and ``y`` where a column is meant by its name or number.

    Parameters
    ----------
    path : str or path-like
    y : str, int or None
        A column; a number counts from 0, or from the end below 0, and may be written out where no column has
        that name. Of a single array it may also be the path of another one. With None all columns are
        features.
    width : int, optional
        Where a table has so many columns, and no column is called ``y``, all of them are features.

    Raises
    ------
    FileError
        For what is damaged, or holds no numbers where there should be some; the column is named.
    ValueError
        For a column that is not there.
    ImportError
        Where a package is not there that reads such files; it is named.
    """
    return _READERS[kind_of(path)](path, y, width)


# --- CSV --------------------------------------------------------------------------------


def _read_csv(path: Any, y: Column | None, width: int | None) -> dict[str, NDArray[Any]]:
    """Numbers between commas or tabs, below a line of names or without one."""
    with open_regular(path) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as text:
        size = os.fstat(raw.fileno()).st_size
        say_size(os.fspath(path), size, "numpy.save writes a file that is read in pieces")
        try:
            return _csv_table(path, text, y, width)
        except (UnicodeDecodeError, csv.Error) as error:
            raise FileError(path, f"is no text in UTF-8 that can be read: {error}") from None


def _csv_table(path: Any, text: TextIO, y: Column | None, width: int | None) -> dict[str, NDArray[Any]]:
    comma = _comma(path)
    rows = _rows(text, comma)
    _, first = next(rows, (1, []))
    line, second = next(rows, (1, []))
    if second:
        _refuse_width(path, line, second, len(first))
    named = _are_names(first, second)
    if not first or (named and not second):
        raise FileError(path, "holds no row of numbers")
    names = [cell.strip() if named else "" for cell in first]
    at = position(path, y, names, width)
    words: dict[str, int] = {}
    reading: dict[int | str, Callable[[str], Any]] = {}
    if at is not None:
        reading[at] = lambda cell: words.setdefault(cell.strip(), len(words))
    text.seek(0)
    try:
        found = np.loadtxt(
            text, delimiter=comma, quotechar='"', comments=None, ndmin=2, converters=reading or None,
            skiprows=line - 1 if named else 0, encoding=None,
        )  # fmt: skip
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        _refuse_cells(path, text, comma, names if named else None, len(first), at)
        raise FileError(path, f"is no table of numbers: {str(error).partition(';')[0]}") from None
    if at is None:
        return {"X": found}
    if "" in words:
        _refuse_cells(path, text, comma, names if named else None, len(first), at)
    return {"X": np.delete(found, at, axis=1), "y": _parsed(list(words))[found[:, at].astype(np.int64)]}


def columns_of_csv(path: str | os.PathLike[str]) -> list[str]:
    """The names of columns; empty ones where there is no line of names."""
    with open_regular(path) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as text:
        rows = _rows(text, _comma(path))
        (_, first), (_, second) = next(rows, (1, [])), next(rows, (1, []))
        return [cell.strip() if _are_names(first, second) else "" for cell in first]


def _comma(path: str | os.PathLike[str]) -> str:
    return "\t" if kind_of(path) == ".tsv" else ","


def _rows(text: TextIO, comma: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the number of the line that it begins in."""
    reader, line = csv.reader(text, delimiter=comma), 1
    for cells in reader:
        if cells:
            yield line, cells
        line = reader.line_num + 1


def _are_names(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether a first line is one of names: of words, or it counts, as columns do that have no names.

    A sample may have numbers that count, and words where a number is missing: names are above other numbers
    than whole ones, or are many; and more than half of the cells are different words above numbers.
    """
    numbers = [at for at, cell in enumerate(first) if _is_number(cell)]
    above = {cell.strip() for cell, below in zip(first, second, strict=False)
             if not _is_number(cell) and _is_number(below)} - {""}  # fmt: skip
    if not numbers or 2 * len(above) > len(first):
        return True
    if numbers != list(range(len(numbers))) or any(first[at].strip() != str(at) for at in numbers):
        return False
    whole = all(_WHOLE.fullmatch(second[at]) for at in numbers) if second else True
    return len(numbers) >= _COUNTED or (len(numbers) > 1 and not whole)


def _is_number(cell: str) -> bool:
    with contextlib.suppress(ValueError):
        float(cell)
        return "_" not in cell  # which Python's literals may have
    return False


def _refuse_width(path: Any, line: int, cells: Sequence[str], width: int) -> None:
    if len(cells) != width:
        raise FileError(
            path, f"has {plural(len(cells), 'cell')} in line {line}, where the first line has {width}"
        )


def _refuse_cells(
    path: Any, text: TextIO, comma: str, names: Sequence[str] | None, width: int, at: int | None
) -> None:
    """FileError for the first row that is no row of the table, in terms of the file."""
    text.seek(0)
    for line, cells in itertools.islice(_rows(text, comma), 0 if names is None else 1, None):
        _refuse_width(path, line, cells, width)
        for column, cell in enumerate(cells):
            if bool(cell.strip()) if column == at else _is_number(cell):
                continue
            name = f"{column}" if names is None else f"{column} ({names[column]!r})"
            where = f"has {cell!r} in column {name} of line {line}"
            if column == at:
                raise FileError(path, f"{where}, where y should be: leave samples without one out")
            how = "words or empty cells have to become some first"
            if names is not None and all(names):
                words, rows = _words_of(text, comma, len(names), at)
                how = recipe(path, names, words, None if at is None else names[at], rows)
            raise FileError(path, f"{where}, where a number should be: features are numbers; {how}")


def _words_of(text: TextIO, comma: str, width: int, at: int | None) -> tuple[list[tuple[str, ...]], int]:
    """Of every column but ``at`` the cells that are no numbers, below the names, and of how many rows."""
    text.seek(0)
    rows = [cells for _, cells in itertools.islice(_rows(text, comma), 1, _LOOKED_AT) if len(cells) == width]
    words = [
        () if column == at else tuple(cells[column] for cells in rows if not _is_number(cells[column]))
        for column in range(width)
    ]
    return words, len(rows)


def _parsed(words: list[str]) -> NDArray[Any]:
    """Targets as they are written: integers, numbers or words."""
    if all(map(_is_number, words)):
        for kind in (np.int64, np.float64):
            with contextlib.suppress(ValueError, OverflowError):
                return np.array([kind(word) for word in words])
    return np.array(words)


# --- Parquet ----------------------------------------------------------------------------


def _read_parquet(path: Any, y: Column | None, width: int | None) -> dict[str, NDArray[Any]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise missing("pyarrow", path) from error
    with open_regular(path) as file:
        try:
            stored = parquet.ParquetFile(file)
            groups = (stored.metadata.row_group(number) for number in range(stored.num_row_groups))
            say_size(
                os.fspath(path), sum(group.total_byte_size for group in groups),
                "cut into many files, which a pattern names for rewire train, it is read in pieces, and "
                "Trainer.fit reads pyarrow's Dataset so",
            )  # fmt: skip
            table = stored.read()
            there = readable(table.schema, y)
            table = table.select([i for i, name in enumerate(table.schema.names) if name in there])
        except Warning:  # who has made them errors
            raise
        except Exception as error:  # of pyarrow's own kinds
            raise FileError(path, f"is no Parquet file that can be read: {error}") from None
    names = table.schema.names
    refuse_twice(path, names)
    at = position(path, y, names, width)
    found = {}
    try:
        if at is not None:
            found["y"] = values_of(table.column(at), names[at])
            table = table.remove_column(at)
        rows = Tabled(table, None, None)
        if not rows.n_samples:
            raise ValueError(f"X must have at least one row, got {rows.described()}")
        units = range(0 if (sizes := rows.units(_ROWS)) is None else len(sizes))
        pieces = [piece.x for unit in units for piece in rows.read(unit, _ROWS, 0)]
    except (TypeError, ValueError) as error:
        raise FileError(path, str(error)) from None
    return {"X": np.concatenate(pieces), **found}


def readable(schema: Any, y: Column | None) -> list[str]:
    """Names of columns: labels of rows are among them where they are y."""
    there = columns_of(schema)
    return [name for name in schema.names if name == y or name in there]


def refuse_twice(path: Any, names: list[str]) -> None:
    """FileError for columns of one name."""
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise FileError(path, f"has {names.count(twice)} columns of the name {twice!r}")


# --- arrays -----------------------------------------------------------------------------


def _read_array(path: Any, y: Column | None, width: int | None) -> dict[str, NDArray[Any]]:
    """A single array: a table, or features with y in another file."""
    table = _load_array(path)
    if isinstance(y, str) and kind_of(y) == ".npy":
        return {"X": table, "y": _load_array(y)}
    if table.ndim != 2:
        if y is None:
            return {"X": table}
        raise FileError(path, f"must be a table where a column of it is y, got shape {table.shape}")
    at = position(path, y, [""] * table.shape[1], width)
    if at is None:
        return {"X": table}
    last = table.shape[1] - 1
    if 0 < at < last:
        say_size(os.fspath(path), table.nbytes, "with y in the first or last column it is read in pieces")
    X = table[:, :-1] if at == last else table[:, 1:] if at == 0 else np.delete(table, at, axis=1)
    return {"X": X, "y": np.array(table[:, at])}


def _load_array(path: Any) -> NDArray[Any]:
    """An array, mapped where it is large."""
    with open_regular(path) as file:
        if file.read(2) == b"PK":
            raise FileError(path, "holds several arrays, as an archive does, whose name ends in .npz")
    try:
        found = np.load(path, "r", allow_pickle=False)
    except (EOFError, OverflowError, ValueError) as error:
        raise FileError(path, f"is no array that can be read safely: {error}") from None
    return found if is_large(found) else np.array(found)


def read_hdf5(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """``X``, ``y``, ``X_test`` and ``y_test`` of an HDF5 file, and the names of all data sets beside them.

    What is stored in one piece and is large is mapped; what is in chunks is read.

    Raises
    ------
    FileError, ImportError
        As of :func:`read_table`.
    """
    try:
        import h5py
    except ImportError as error:
        raise missing("h5py", path) from error
    with open_regular(path):
        pass
    try:
        with h5py.File(path, "r") as file:
            held = [name for name, one in file.items() if isinstance(one, h5py.Dataset)]
            return {
                name: data_set(path, file[name]) for name in ("X", "y", "X_test", "y_test") if name in held
            }, held
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise FileError(path, f"is no HDF5 file that can be read: {error}") from None


def data_set(path: Any, one: Any) -> NDArray[Any]:
    if one.dtype.kind == "O":
        return np.asarray(one.asstr()[()]).astype(str)
    offset = one.id.get_offset()
    here = offset is not None and os.path.samefile(one.file.filename, path)  # and not behind a link
    if here and one.ndim > 1 and _is_as_stored(one):
        mapped = np.memmap(path, one.dtype, "r", offset, one.shape)
        if is_large(mapped.reshape(len(mapped), -1)):
            return mapped
    say_size(
        f"{one.name[1:]} of {os.fspath(path)}", one.size * one.dtype.itemsize,
        "data sets that are not in chunks are read in pieces, and Trainer.fit reads those of h5py so",
    )  # fmt: skip
    return np.asarray(one[()])


def _is_as_stored(one: Any) -> bool:
    """Whether bytes of the file are those of NumPy: h5py shows bfloat16, say, as float32."""
    from h5py import h5t

    return bool(one.id.get_type() == h5t.py_create(one.dtype))


# --- what they have in common -------------------------------------------------------------


_READERS: dict[str, Callable[[Any, Column | None, int | None], dict[str, NDArray[Any]]]] = {
    ".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet, ".npy": _read_array,
}  # fmt: skip


def position(path: Any, y: Column | None, names: list[str], width: int | None) -> int | None:
    """Where the column of y is; None where all are features."""
    if y is None:
        return None
    named = names.count(y) if isinstance(y, str) and y else 0
    if not named and width == len(names):
        return None
    if len(names) == 1:
        between = {".csv": ": cells are between commas", ".tsv": ": cells are between tabs"}
        raise FileError(path, f"has one column, which is y, and none for X{between.get(kind_of(path), '')}")
    if named > 1:
        raise ValueError(f"y must name one column of {os.fspath(path)}, got {y!r}, which {named} are called")
    if named:
        return names.index(str(y))
    if isinstance(y, str) and not _NUMBER.fullmatch(y):
        shown = ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")
        there = shown if any(names) else f"{len(names)} columns without names, which are numbered from 0"
        raise ValueError(f"y must name a column of {os.fspath(path)}, {there}, got {describe(y)}")
    at = integer("y", int(y) if isinstance(y, str) else y, low=-len(names), high=len(names) - 1)
    return at % len(names)


def missing(package: str, path: str | os.PathLike[str]) -> ImportError:
    """The error for a package that it takes to read a file."""
    return ImportError(f'{os.fspath(path)} needs {package} to be read: pip install "rewire[data]"')
