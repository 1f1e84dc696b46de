"""The sizes of a store: groups, rows of the last one, positions that a slot may have, bytes of a value."""

from __future__ import annotations

from typing import NamedTuple, Protocol, Self

import numpy as np

__all__ = ["Geometry", "item_bytes", "padded"]

ROW_PAD = 8  # rows of a bias: the last group of a store may reach over n_out (RW_ROW_PAD of the core)


class Sized(Protocol):
    """A store of the core, a ``WeightStore`` or a sparse layer."""

    @property
    def n_in(self) -> int: ...
    @property
    def n_out(self) -> int: ...
    @property
    def group(self) -> int: ...


class Geometry(NamedTuple):
    """Inputs, outputs, and rows that share one list of inputs; what follows from these."""

    n_in: int
    n_out: int
    group: int

    @classmethod
    def of(cls, thing: Sized) -> Self:
        """That of a store or a layer."""
        return cls(thing.n_in, thing.n_out, thing.group)

    @property
    def n_groups(self) -> int:
        """Groups of rows, the last one included where it is not whole."""
        return -(-self.n_out // self.group)

    @property
    def n_positions(self) -> int:
        """Slots of a full store: a slot's position is group * n_in + source."""
        return self.n_groups * self.n_in

    @property
    def n_rows(self) -> int:
        """Rows of all groups, those beyond n_out included."""
        return self.n_groups * self.group

    @property
    def missing_rows(self) -> int:
        """Rows that the last group lacks to be whole."""
        return self.n_rows - self.n_out

    @property
    def last_rows(self) -> int:
        """Rows of the last group."""
        return self.group - self.missing_rows

    @property
    def slot_links(self) -> int:
        """The links of every slot; 0 where the last group is not whole and there are others."""
        return self.last_rows if self.n_groups == 1 else 0 if self.missing_rows else self.group


def item_bytes(dtype: str) -> int:
    """Bytes of one value."""
    return np.dtype(dtype).itemsize


def padded(rows: int) -> int:
    """``rows``, and as many more as make whole blocks of ROW_PAD."""
    return -(-rows // ROW_PAD) * ROW_PAD
