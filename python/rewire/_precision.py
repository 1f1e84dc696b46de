"""What numbers a network computes in: the dtype asked for, and the one that its values are kept in."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["DTYPES", "KEPT", "LARGEST", "bf16_rounded", "variable_dtype"]

KEPT = ("float32", "float64")  # that values are kept in
DTYPES = (*KEPT, "bfloat16")  # that products are of
_BF16_EPS = 2.0**-7  # from 1 to the next number
_DROPPED = 16  # bits that float32 has more

LARGEST = {
    **{kind: float(np.finfo(kind).max) for kind in KEPT},
    "bfloat16": (2.0 - _BF16_EPS) * 2.0**127,
}


def variable_dtype(dtype: str) -> str:
    """The dtype that values are kept in: float32 where products round their operands to bfloat16."""
    return "float32" if dtype == "bfloat16" else dtype


def bf16_rounded(x: ArrayLike) -> NDArray[np.float64]:
    """Numbers as products of bfloat16 take them: to the nearest, ties to even, subnormal ones to zero."""
    with np.errstate(over="ignore"):
        single = np.atleast_1d(np.array(x, np.float32))
    bits = single.view(np.uint32)
    half = np.uint32((1 << (_DROPPED - 1)) - 1) + (bits >> _DROPPED & 1)  # rounds ties to even
    kept = (bits + half >> _DROPPED << _DROPPED).view(np.float32)
    kept[np.abs(single) < np.finfo(np.float32).tiny] = 0.0
    found = np.where(np.isfinite(single), kept, single)
    with np.errstate(invalid="ignore"):  # of a NaN that signals
        return found.astype(np.float64).reshape(np.shape(x))
