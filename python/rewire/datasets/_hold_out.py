"""Which training samples are held out to follow an accuracy on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewire.datasets._dataset import Dataset

__all__ = ["hold_out"]

_VALIDATION = 0x56616C69  # "Vali": held-out samples depend on the data alone, so that seeds can be compared


def hold_out(data: Dataset, fraction: float) -> NDArray[np.bool_]:
    """A mask of the training samples that are held out, of each class the same fraction.

    Raises
    ------
    ValueError
        If nothing would be left on one of the two sides.
    """
    n = int(data.y.shape[0])
    held = np.zeros(n, dtype=bool)
    rng = np.random.default_rng([n, _VALIDATION])
    groups = [np.arange(n)] if data.classes is None else [
        np.flatnonzero(data.y == number) for number in range(len(data.classes))
    ]  # fmt: skip
    for members in groups:
        held[rng.permutation(members)[: round(fraction * len(members))]] = True
    if held.all() or not held.any():
        raise ValueError(
            f"validation {fraction:g} of {len(held)} samples leaves nothing on one of the two sides"
        )
    return held
