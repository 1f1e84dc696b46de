"""Shapes of arrays that belong to a layer, and which of their axes go along its inputs or outputs."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rewire._checks import choice, describe, integer
from rewire._structure import Mask

__all__ = ["Axis", "checked_axes", "checked_shape", "cut"]

Axis = Literal["in", "out"] | None


def checked_shape(shape: Any) -> tuple[int, ...]:
    """A shape, from a number or a tuple of numbers; of one value, from ``()``."""
    parts = shape if isinstance(shape, tuple | list) else (shape,)
    return tuple(integer(f"shape[{i}]", n, low=1, high=2**31 - 1) for i, n in enumerate(parts))


def checked_axes(axes: Any, shape: tuple[int, ...]) -> tuple[Axis, ...] | None:
    """One of "in", "out" or None for each axis; None where nobody says, and there is more than one value."""
    if axes is None:
        return (None,) * len(shape) if set(shape) <= {1} else None
    if not isinstance(axes, tuple | list) or len(axes) != len(shape):
        raise ValueError(f"axes must be {len(shape)} of 'in', 'out' or None, got {describe(axes)}")
    return tuple(choice(f"axes[{i}]", axis, ("in", "out", None)) for i, axis in enumerate(axes))


def cut(values: NDArray[Any], axes: tuple[Axis, ...] | None, inputs: Mask, outputs: Mask) -> NDArray[Any]:
    """A copy of what belongs to these inputs and outputs of the layer. TypeError if nobody said what does."""
    if axes is None:
        raise TypeError("does not say which of its axes go along inputs and outputs")
    for at, axis in enumerate(axes):
        if axis is not None:
            values = values.compress(inputs if axis == "in" else outputs, axis=at)
    return np.array(values, order="C")
