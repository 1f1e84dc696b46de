"""Objects whose constructor's arguments can be read and changed by name, as scikit-learn's tools do.

That is what makes ``set_params(optimizer__lr=0.5)`` and grids over ``rewiring__fraction`` work. scikit-learn
itself is not needed.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from rewire import _checks
from rewire._foreign import HintedArguments

__all__ = ["CheckedAttribute", "Parameters", "lost_object", "parameters_of", "shown"]

T = TypeVar("T")


class CheckedAttribute(Generic[T]):
    """An attribute that is checked whenever it is set, by the constructor or between two steps.

    Parameters
    ----------
    check : callable
        ``check(name, value)`` gives the value, or raises TypeError or ValueError.
    """

    def __init__(self, check: Callable[[str, Any], T]) -> None:
        self._check = check

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    def __get__(self, thing: Any, kind: Any = None) -> T:
        if thing is None:
            return self  # type: ignore[return-value]
        try:
            found: T = vars(thing)[self._name]
        except KeyError:
            words = f"{type(thing).__name__} has no {self._name!r}: its constructor must call its base's"
            raise AttributeError(words, name=self._name, obj=thing) from None
        return found

    def __set__(self, thing: Any, value: Any) -> None:
        vars(thing)[self._name] = self._check(self._name, value)


def parameters_of(thing: Any) -> dict[str, Any]:
    """The constructor's arguments, as they are now: those that are kept as attributes of their names."""
    names = list(inspect.signature(type(thing).__init__).parameters)[1:]
    return {name: getattr(thing, name) for name in names if hasattr(thing, name)}


def lost_object(thing: Any, twin: Any) -> str | None:
    """The first of the constructor's arguments whose object is none in a twin that was made of a description.

    Meant are objects that are described by their ``config()``, in lists and dicts as well.
    """
    for name, value in parameters_of(thing).items():
        if _objects(value) != _objects(getattr(twin, name, None)):
            return name
    return None


def _objects(value: Any) -> Any:
    """Where objects with a ``config()`` stand."""
    if isinstance(value, list | tuple):
        return [_objects(each) for each in value]
    if isinstance(value, dict):
        return {key: _objects(each) for key, each in value.items()}
    return callable(getattr(value, "config", None))


def shown(thing: Any) -> str:
    """A ``repr`` of the constructor's arguments; it asks for no ``config()``, which may not be there."""
    words = ", ".join(f"{name}={value!r}" for name, value in parameters_of(thing).items())
    return f"{type(thing).__name__}({words})"


class Parameters(HintedArguments):
    """``get_params`` and ``set_params`` for a class that keeps each argument as an attribute of its name."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments, as they are now.

        Parameters
        ----------
        deep : bool
            As in scikit-learn; there is nothing deeper.

        Returns
        -------
        dict of str to object
        """
        return parameters_of(self)

    def set_params(self, **params: Any) -> Self:
        """Change arguments; everything is checked as by the constructor before anything changes.

        Parameters
        ----------
        **params
            By the names of the constructor.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For a name that the constructor does not have, or a wrong value.
        """
        now = self.get_params()
        for name in params:
            if name not in now:
                raise _checks.unknown_argument(type(self).__name__, name, now, {})
        if params:
            self.__dict__.update(type(self)(**{**now, **params}).__dict__)
        return self

    def __repr__(self) -> str:
        return shown(self)

    def __sklearn_clone__(self) -> Self:
        return copy.deepcopy(self)
