"""The 1,797 handwritten digits of 8 x 8 pixels that ship with the package (licence: data/digits.txt)."""

from importlib import resources

import numpy as np

from rewire.datasets._dataset import Dataset


def load_digits(*, download: bool = True) -> Dataset:
    """Handwritten digits: 1,200 images to train on, 597 to test on, 64 pixels of 0 to 16, ten classes.

    The split is stratified and fixed: it is stored, not drawn. `download` is accepted and not needed.
    """
    with (resources.files("rewire.datasets") / "data" / "digits.npz").open("rb") as file:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("X", "y", "X_test", "y_test")}
    return Dataset(
        name="digits",
        X=arrays["X"],
        y=arrays["y"].astype(np.int64),
        X_test=arrays["X_test"],
        y_test=arrays["y_test"].astype(np.int64),
        classes=tuple(str(digit) for digit in range(10)),
        feature_shape=(8, 8),
        source="test set of UCI's Optical Recognition of Handwritten Digits (Alpaydin and Kaynak), CC BY 4.0",
    )
