"""Clipping: all gradients of a step are scaled down together when their joint norm is too large.

Squares of float64 gradients beyond 1e154 overflow and those below 1e-162 vanish, and the factor itself may be
no number of the gradients' dtype. Then gradients are brought near 1 by a power of two before they are
squared, and are scaled in several steps; all others get the same bits as ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from rewire._moments import quiet
from rewire.parameters import Parameter
from rewire.parameters.base import GRADIENT

__all__ = ["limit_gradients"]

LEAST_SQUARES = 2.0**-960  # a sum of squares beside which all squares that vanish are nothing
STEP = 100  # both dtypes hold 2**-100


def limit_gradients(parameters: Iterable[Parameter], limit: float) -> None:
    """Scale the kept gradients of all parameters so that their joint norm is at most ``limit``.

    Raises
    ------
    ArithmeticError
        If a gradient is not finite; nothing has changed.
    """
    parameters = list(parameters)
    with quiet():
        norm, exponent = _norm(parameters)
        if not math.isfinite(norm):
            raise ArithmeticError(f"a gradient of norm {norm}")
        if norm > np.ldexp(limit, -exponent):
            _scale(parameters, limit, norm, exponent)


def _norm(parameters: list[Parameter]) -> tuple[float, int]:
    """The joint norm of all kept gradients: a number, and the exponent of 2 that goes with it."""
    total = sum(parameter.gradient_sumsq() for parameter in parameters)
    if LEAST_SQUARES <= total < math.inf:
        return math.sqrt(total), 0
    parts = [q.values_of(GRADIENT).astype(np.float64) for q in parameters if q.size]
    largest = float(np.max([np.abs(part).max() for part in parts], initial=0.0))  # NaN if there is one
    if not math.isfinite(largest) or largest == 0.0:
        return largest, 0
    _, exponent = math.frexp(largest)
    total = math.fsum(float(np.square(np.ldexp(part, -exponent)).sum()) for part in parts)
    return math.sqrt(total), exponent


def _scale(parameters: list[Parameter], limit: float, norm: float, exponent: int) -> None:
    """Multiply all kept gradients by limit / (norm * 2**exponent), which is less than 1."""
    (a, p), (b, q) = math.frexp(limit), math.frexp(norm)
    exponent = p - q - exponent
    if exponent > -STEP:
        factors = [math.ldexp(limit / norm, exponent - (p - q))]
    else:
        whole, rest = divmod(-exponent, STEP)
        factors = [2.0**-STEP] * whole + [math.ldexp(a / b, -rest)]
    for parameter in parameters:
        for factor in factors:
            parameter.scale_gradient(factor)
