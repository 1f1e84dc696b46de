"""What numbers a network computes in: the dtype asked for, and the one that its values are kept in."""

from __future__ import annotations

import numpy as np

__all__ = ["BF16_EPS", "DTYPES", "KEPT", "LARGEST", "variable_dtype"]

KEPT = ("float32", "float64")  # that values are kept in
DTYPES = (*KEPT, "bfloat16")  # that products are of
BF16_EPS = 2.0**-7  # from 1 to the next number

LARGEST = {
    **{kind: float(np.finfo(kind).max) for kind in KEPT},
    "bfloat16": (2.0 - BF16_EPS) * 2.0**127,
}


def variable_dtype(dtype: str) -> str:
    """The dtype that values are kept in: float32 where products round their operands to bfloat16."""
    return "float32" if dtype == "bfloat16" else dtype
