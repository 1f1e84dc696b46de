"""Tables of pyarrow: a Dataset (of Parquet files, say), a ParquetFile, a Table. Columns become features.

Nothing of pyarrow is imported here: what comes has its methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._checks import describe
from rewire._targets import class_numbers
from rewire.streams.pieces import Piece, Pieces

__all__ = ["ClassColumn", "Tabled", "columns_of", "is_table", "values_of", "width_of"]


def is_table(x: Any) -> bool:
    """Whether it is a Dataset, a ParquetFile or a Table of pyarrow's."""
    return type(x).__module__.partition(".")[0] == "pyarrow" and (
        hasattr(x, "schema_arrow") or (hasattr(x, "schema") and hasattr(x, "to_batches"))
    )


def columns_of(schema: Any) -> list[str]:
    """Names of columns, but for labels of rows, which pandas has stored for itself."""
    index = (schema.pandas_metadata or {}).get("index_columns", ())
    return [name for name in schema.names if name not in index]


def values_of(column: Any, name: str) -> NDArray[Any]:
    """Targets of a column: numbers or words; ValueError for nulls."""
    if column.null_count:
        raise ValueError(f"column {name!r} holds {column.null_count} nulls, where a target should be")
    found = np.asarray(column.to_numpy(zero_copy_only=False))
    return found.astype(str) if found.dtype == object else found


def width_of(schema: Any, name: str) -> int:
    """How many features a column is: those of lists of one length are as many."""
    return int(getattr(schema.field(name).type, "list_size", 1))


class ClassColumn(NamedTuple):
    """A column that is y, whose labels are learnt as their places among sorted classes."""

    name: str
    classes: NDArray[Any]


class _Unit(NamedTuple):
    """What can be read by itself."""

    table: Any  # a fragment of a Dataset, a Dataset, a ParquetFile or a Table
    number: int | None  # of the row group
    samples: int


class Tabled(Pieces):
    """Row groups, each a unit: X is of all columns but those of y and the weights.

    Parameters
    ----------
    x : pyarrow Dataset, ParquetFile or Table
    y, weight : str, list of str, ClassColumn or None
        Names of columns.
    which : str
        What stands before ``X`` and ``y`` in errors.
    """

    def __init__(self, x: Any, y: Any, weight: Any, which: str = "") -> None:
        self._table, self._which, self._classes = x, which, None
        if isinstance(y, ClassColumn):
            y, self._classes = y
        schema = x.schema_arrow if hasattr(x, "schema_arrow") else x.schema
        self._schema = schema
        self._y, self._weight = self._names(y, "y"), self._names(weight, "sample_weight")
        self._single = isinstance(y, str)
        taken = {*self._y, *self._weight}
        self._x = [name for name in columns_of(schema) if name not in taken]
        self._units = [unit for unit in _units(x) if unit.samples]
        self.groups = np.array([unit.samples for unit in self._units], np.int64)
        self.n_samples, self.columns = int(self.groups.sum()), tuple(columns_of(schema))

    def _names(self, asked: Any, name: str) -> list[str]:
        found = [] if asked is None else [asked] if isinstance(asked, str) else asked
        there = self._schema.names
        if not isinstance(found, (list, tuple)) or not all(isinstance(one, str) for one in found):
            raise TypeError(
                f"{self._which}{name} must name columns of the table that X is, got {describe(asked)}"
            )
        for one in found:
            if one not in there:
                raise ValueError(
                    f"{self._which}{name} must name columns of the table that X is, "
                    f"{', '.join(map(repr, there))}, got {one!r}"
                )
        return list(found)

    def read(self, unit: int, rows: int, epoch: int) -> Iterator[Piece]:
        names, at = [*self._x, *self._y, *self._weight], sum(one.samples for one in self._units[:unit])
        for batch in _batches(self._units[unit], self._schema, names, rows):
            if not batch.num_rows:
                continue
            place = f"[{at}:{at + batch.num_rows}]"
            columns = {name: self._column(batch, name, place) for name in names}
            at += batch.num_rows
            y = _beside([columns[name] for name in self._y])
            if y is not None and self._single:
                y = y[:, 0] if y.shape[1] == 1 else y
            weight = _beside([columns[name] for name in self._weight])
            x = _beside([columns[name] for name in self._x])
            yield Piece(x, y, None if weight is None else weight[:, 0], place)

    def _column(self, batch: Any, name: str, place: str) -> NDArray[Any]:
        """A column as numbers, (rows, 1) or, of lists of one length, (rows, length)."""
        column = batch.column(batch.schema.get_field_index(name))
        where = f"column {name!r} of {self._which}X{place}"
        if self._classes is not None and name in self._y:
            return class_numbers(values_of(column, name), self._classes, where).reshape(-1, 1)
        if column.null_count:
            raise ValueError(f"{where} must hold numbers, got {column.null_count} nulls")
        width = getattr(column.type, "list_size", None)
        if width is not None:
            column = column.flatten()
            if column.null_count:
                raise ValueError(f"{where} must hold numbers, got nulls in lists")
        found = np.asarray(column.to_numpy(zero_copy_only=False))
        if found.dtype.kind not in "fiub":
            raise TypeError(f"{where} must hold real numbers, got {column.type}")
        return found.reshape(-1, 1 if width is None else width)

    def described(self) -> str:
        return f"pyarrow.{type(self._table).__name__} of {self.n_samples} rows, {self._schema.names}"


def _beside(columns: list[NDArray[Any]]) -> NDArray[Any] | None:
    """Columns beside each other."""
    if not columns:
        return None
    return columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)


def _units(x: Any) -> Iterator[_Unit]:
    """Row groups of Parquet files; fragments of other data sets; all of what is filtered, or a Table."""
    if hasattr(x, "schema_arrow"):  # a ParquetFile
        for number in range(x.num_row_groups):
            yield _Unit(x, number, x.metadata.row_group(number).num_rows)
    elif not hasattr(x, "get_fragments"):
        yield _Unit(x, None, x.num_rows)
    elif getattr(x, "_scan_options", None):  # fragments know nothing of a filter
        yield _Unit(x, None, x.count_rows())
    else:
        for fragment in x.get_fragments():
            if hasattr(fragment, "split_by_row_group"):
                for group in fragment.split_by_row_group():
                    yield _Unit(group, None, sum(one.num_rows for one in group.row_groups))
            else:
                yield _Unit(fragment, None, fragment.count_rows())


def _batches(unit: _Unit, schema: Any, names: list[str], rows: int) -> Iterator[Any]:
    """Record batches of a unit, in order, of at most so many rows."""
    table = unit.table
    if unit.number is not None:
        yield from table.iter_batches(rows, row_groups=[unit.number], columns=names, use_threads=False)
    elif hasattr(table, "num_rows"):
        yield from table.select(names).to_batches(max_chunksize=rows)
    else:
        said = {} if hasattr(table, "get_fragments") else {"schema": schema}
        yield from table.to_batches(
            columns=names, batch_size=rows, batch_readahead=0, fragment_readahead=0, use_threads=False, **said
        )
