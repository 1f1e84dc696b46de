"""Where the links of a matrix lie, in bins of neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["fractions_in_bins"]


def fractions_in_bins(
    rows: NDArray[Any], cols: NDArray[Any], shape: tuple[int, int], bins: int
) -> NDArray[np.float64]:
    """The fraction of connected positions in each bin, shape (min(bins, n_out), min(bins, n_in))."""
    height, width = (min(bins, n) for n in shape)
    at = (rows.astype(np.int64) * height // shape[0]) * width + cols.astype(np.int64) * width // shape[1]
    counts = np.bincount(at, minlength=height * width).reshape(height, width)
    tall, wide = (
        np.bincount(np.arange(n, dtype=np.int64) * parts // n, minlength=parts)
        for n, parts in zip(shape, (height, width), strict=True)
    )
    found: NDArray[np.float64] = counts / np.outer(tall, wide)
    return found
