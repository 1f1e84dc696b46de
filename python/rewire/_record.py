"""Small values that do not change: frozen dataclasses that are quick to make."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar, dataclass_transform

__all__ = ["record"]

Class = TypeVar("Class")


def _named(self: Any) -> str:
    shown = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)
    return f"{type(self).__qualname__}({shown})"


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, f.name) for f in fields(self) if f.compare)


def _equal(self: Any, other: object) -> bool:
    if type(other) is not type(self):
        return NotImplemented
    return _compared(self) == _compared(other)


def _hashed(self: Any) -> int:
    return hash(_compared(self))


_SHARED = {"__repr__": _named, "__eq__": _equal, "__hash__": _hashed}


@dataclass_transform(frozen_default=True)
def record(cls: type[Class]) -> type[Class]:
    """Make ``cls`` what ``dataclass(frozen=True)`` makes of it, in less time.

    A dataclass compiles a method of each kind for every class: with some forty of them that was a quarter of
    what `import rewire` took. Here all share one ``repr``, one comparison and one hash.
    """
    for name, shared in _SHARED.items():
        if name not in vars(cls):
            setattr(cls, name, shared)
    return dataclass(frozen=True, eq=False, repr=False)(cls)
