"""What an optimizer, a rule or a callback keeps for every weight of a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from rewire._checks import boolean, choice, describe, entries, integer, number

__all__ = ["Field", "check_fields"]

DTYPES = ("float32", "float64", "int32", "uint8")
MOST_BYTES = 23  # RW_NAME_BYTES of sparse_core/store/store.h, without the final 0


class Field(NamedTuple):
    """The kind of values that an owner keeps beside the weights; moved with the links when these are rewired.

    Attributes
    ----------
    dtype : {None, "float32", "float64", "int32", "uint8"}
        None: that of the weights.
    per_slot : bool
        One value for all weights of a group that share a source, instead of one a weight. A parameter without
        links has no such values.
    birth : float
        What a new link has.
    power : int or None
        How the values change with units: 0, as weights do; n, as the n-th power of a gradient; None, not.
    low, high : float or None
        Where values must lie, in a file as well.
    ages : bool
        Whether values are the step at which a link was born: the birth value is set before every rewiring.
    state : bool
        Whether it is an optimizer's; set by :meth:`Parameter.prepare`, which drops those of the one before.
    """

    dtype: str | None = None
    per_slot: bool = False
    birth: float = 0.0
    power: int | None = None
    low: float | None = None
    high: float | None = None
    ages: bool = False
    state: bool = False

    def check(self, name: str) -> None:
        """TypeError or ValueError unless it can be kept, and read from a file, under this name."""
        if name in ("", "weight", "gradient"):
            raise ValueError(f"a field must have a name of its own, got {name!r}")
        if len(name.encode()) > MOST_BYTES or "\0" in name:
            raise ValueError(f"a field must have a name of at most {MOST_BYTES} bytes, got {describe(name)}")
        where = f"field {name!r}"
        dtype = None if self.dtype is None else choice(f"{where}: dtype", self.dtype, DTYPES)
        boolean(f"{where}: per_slot", self.per_slot)
        low = None if self.low is None else number(f"{where}: low", self.low)
        high = None if self.high is None else number(f"{where}: high", self.high, low=low)
        number(f"{where}: birth", self.birth, low=low, high=high)
        if dtype in ("int32", "uint8"):
            info = np.iinfo(dtype)
            integer(f"{where}: birth", int(self.birth), low=int(info.min), high=int(info.max))
            if self.birth != int(self.birth):
                raise ValueError(f"{where}: birth must be an integer, got {self.birth}")
        if self.power is not None:
            integer(f"{where}: power", self.power, low=0, high=8)

    def of(self, dtype: str) -> str:
        """The dtype of the values beside weights of ``dtype``."""
        return dtype if self.dtype is None else self.dtype

    def config(self, birth: float) -> dict[str, Any]:
        """JSON-able description, with the birth value of the moment."""
        return {
            "dtype": self.dtype, "per_slot": self.per_slot, "birth": birth, "power": self.power,
            "state": self.state,
        }  # fmt: skip

    @classmethod
    def from_config(cls, name: str, config: Any) -> Self:
        """The field that :meth:`config` described; TypeError or ValueError if there is none such."""
        where = f"field {name!r}"
        if not isinstance(config, Mapping):
            raise TypeError(f"{where} must be a dict as a file describes a field, got {describe(config)}")
        entries(where, config, ("dtype", "per_slot", "birth", "power", "state"))
        dtype, power = config["dtype"], config["power"]
        return cls(
            None if dtype is None else choice(f"{where}: dtype", dtype, DTYPES),
            boolean(f"{where}: per_slot", config["per_slot"]),
            number(f"{where}: birth", config["birth"]),
            None if power is None else integer(f"{where}: power", power, low=0, high=8),
            state=boolean(f"{where}: state", config["state"]),
        )


def check_fields(fields: Any, name: str = "fields") -> None:
    """TypeError or ValueError unless it is a dict of names and fields that can be kept."""
    if not isinstance(fields, Mapping):
        raise TypeError(f"{name} must be a dict of names and Fields, got {describe(fields)}")
    for key, field in fields.items():
        if not isinstance(key, str) or not isinstance(field, Field):
            raise TypeError(f"{name} must be a dict of names and Fields, got {key!r}: {describe(field)}")
        try:
            field.check(key)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from None
