"""Features brought to mean 0 and deviation 1, by what the training set says.

Applied while a batch is packed into tiles, so neither a converted copy of X nor
a pass over it is ever made. It belongs to the network: ``predict`` applies it
and files keep it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._checks import float_vector
from rewire._inputs import CsrSource, DenseSource, as_source

__all__ = ["Standardizer"]


class Standardizer:
    """x -> (x - mean) * scale.

    Parameters
    ----------
    mean, scale : array_like of float, shape (n_features,)
        ``scale`` is 1 / standard deviation, and 1 where the feature is constant.
    """

    def __init__(self, mean: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
        self.mean = float_vector("mean", mean, np.size(mean))
        self.scale = float_vector("scale", scale, len(self.mean))

    @classmethod
    def fit(cls, X: Any, weight: Any = None) -> Standardizer:
        """Mean and deviation (that of the population, as scikit-learn's) of every feature.

        Parameters
        ----------
        X : array-like or SciPy sparse, shape (m, n_features)
            Real and finite.
        weight : array-like, shape (m,), optional
            How often each sample counts.
        """
        source = X if isinstance(X, (DenseSource, CsrSource)) else as_source(X, None)
        if weight is not None:
            weight = float_vector("weight", weight, source.n_samples, low=0.0)
        mean, variance = source.moments(weight)
        n, eps = source.n_samples, np.finfo(np.float64).eps
        # A constant feature keeps rounding noise as its variance; dividing by that would make noise huge.
        constant = variance <= n * eps * variance + (n * mean * eps) ** 2
        return cls(mean, 1.0 / np.sqrt(np.where(constant, 1.0, variance)))
