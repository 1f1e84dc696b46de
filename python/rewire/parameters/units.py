"""A change of units: inputs or targets are measured otherwise, and weights follow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rescale"]


class Rescale(NamedTuple):
    """A change of units: w becomes w * rows * cols, b becomes (b + W offset) * rows + shift.

    None stands for what would change nothing.

    Attributes
    ----------
    rows : ndarray of float64, shape (n_out,)
    cols : ndarray of float64, shape (n_in,)
    offset : ndarray of float64, shape (n_in,)
    shift : ndarray of float64, shape (n_out,)
    slope : ndarray of float64, shape (n_out,) or ()
        What the gradient of the loss for a row's sum is multiplied by; what optimizers keep follows.
    """

    rows: NDArray[np.float64] | None = None
    cols: NDArray[np.float64] | None = None
    offset: NDArray[np.float64] | None = None
    shift: NDArray[np.float64] | None = None
    slope: NDArray[np.float64] | None = None

    def factors(self, power: int | None) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """By row and by column, for values of a field that changes so (see :class:`Field`)."""
        if power is None:
            return None, None
        if power == 0:
            return self.rows, self.cols
        return None if self.slope is None else self.slope**power, (
            None if self.cols is None else self.cols**-power
        )
