"""Sums over parameters, of a layer or of a network: connections, trained values, bytes."""

from __future__ import annotations

from collections.abc import Iterable

from rewire.parameters.base import Parameter
from rewire.parameters.buffer import Buffer

__all__ = ["connections", "full_connections", "held_bytes", "trained_values"]


def connections(parameters: Iterable[Parameter]) -> int:
    """The connections that are there."""
    return sum(q.size for q in parameters if q.connects)


def full_connections(parameters: Iterable[Parameter]) -> int:
    """The connections there would be if all were there."""
    return sum(q.full for q in parameters if q.connects)


def trained_values(parameters: Iterable[Parameter]) -> int:
    """Connections, biases and all else that is trained."""
    return sum(q.size for q in parameters)


def held_bytes(parts: Iterable[Parameter | Buffer]) -> int:
    """Bytes of values, structure and fields."""
    return sum(part.nbytes for part in parts)
