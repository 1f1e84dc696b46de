"""What a layer prints as: the call that made it, without arguments that have their defaults."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

__all__ = ["shown"]


def shown(layer: Any, said: Mapping[str, Any]) -> str:
    """A layer as the call of its constructor.

    Parameters
    ----------
    layer : Layer
    said : mapping
        Arguments by name, as `Layer.config` describes them. Objects and lists, of which it has
        descriptions, are shown as they are where the layer has an attribute of that name.

    Returns
    -------
    str
        With the first argument, if something was given for it, and those that differ from their defaults.
    """
    kind: Any = type(layer)
    words, in_order = [], True
    for i, (name, default, positional) in enumerate(_parameters(kind)):
        value = said.get(name, default)
        unsaid = value is None or value is inspect.Parameter.empty or (name == "n_in" and not value)
        if isinstance(value, dict | list):
            value = getattr(layer, name, value)
        if unsaid or (i > 0 and _same(value, default)):
            in_order = False
            continue
        in_order = in_order and positional
        words.append(repr(value) if in_order else f"{name}={value!r}")
    return f"{kind.__name__}({', '.join(words)})"


def _same(value: Any, default: Any) -> bool:
    """Whether an argument has its default, which may be an object's name."""
    if isinstance(default, str) and getattr(value, "name", None) == default:
        return bool(value == type(value)())
    return type(value) is type(default) and bool(value == default)


@lru_cache(maxsize=256)
def _parameters(kind: Any) -> tuple[tuple[str, Any, bool], ...]:
    """Of a class's constructor: names, defaults, and whether they may be given by their order."""
    if kind.__init__ is object.__init__:
        return ()
    every = list(inspect.signature(kind.__init__).parameters.values())[1:]
    order = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(
        (p.name, p.default, p.kind in order) for p in every if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    )
