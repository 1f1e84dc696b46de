"""Small values that do not change: frozen dataclasses that are quick to make."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, fields
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


def _fixed(self: Any, name: str) -> bool:
    """Whether this is a field, or no attribute that a record has; a class derived from it may have some."""
    kind = type(self)
    return name in kind.__dataclass_fields__ or "__dataclass_fields__" in vars(kind)


def _set_once(self: Any, name: str, value: Any) -> None:
    """Let the constructor set each field, and nobody anything afterwards."""
    unset = name in type(self).__dataclass_fields__ and name not in vars(self)
    if _fixed(self, name) and not unset:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)


def _never_delete(self: Any, name: str) -> None:
    if _fixed(self, name):
        raise FrozenInstanceError(f"cannot delete field {name!r}")
    object.__delattr__(self, name)


_SAID = "__dataclass_params__"  # what a dataclass says of itself to those derived from it
_SHARED = {
    "__repr__": _named, "__eq__": _equal, "__hash__": _hashed, "__setattr__": _set_once,
    "__delattr__": _never_delete,
}  # fmt: skip


@dataclass_transform(frozen_default=True)
def record(cls: type[Class]) -> type[Class]:
    """Make ``cls`` what ``dataclass(frozen=True)`` makes of it, in less time.

    A dataclass compiles a method of each kind for every class: with some forty of them that was a quarter of
    what `import rewire` took. Here all share one ``repr``, one comparison and one hash, and what refuses
    changes; a constructor is all that is compiled.
    """
    for name, shared in _SHARED.items():
        if name not in vars(cls):
            setattr(cls, name, shared)
    above: list[Any] = [vars(base)[_SAID] for base in cls.__mro__[1:] if _SAID in vars(base)]
    for said in above:
        said.frozen = False  # or it would insist on compiling what refuses changes
    made = dataclass(eq=False, repr=False)(cls)
    for said in (*above, vars(made)[_SAID]):
        said.frozen = True  # to dataclasses that somebody derives from it
    return made
