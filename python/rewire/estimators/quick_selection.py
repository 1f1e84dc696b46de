"""Feature selection by the strength of a sparse autoencoder's input neurons."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.validation import check_is_fitted

from rewire import _checks
from rewire._moments import quiet
from rewire._snapshot import AttributesUndone
from rewire.estimators import _parameters, _parts
from rewire.estimators._arguments import Arguments
from rewire.estimators.autoencoder import SparseDenoisingAutoencoder

__all__ = ["QuickSelection"]


class QuickSelection(SelectorMixin, Arguments):
    """Selects the features that a sparse denoising autoencoder leans on: no targets are needed.

    The autoencoder is trained several times from other random links; strengths of its input neurons (the sum
    of |w| over their links, times the deviation of what comes in) are averaged, and the features of largest
    strength are kept. Constant features have none: one is selected only where there is nothing else.

    Parameters
    ----------
    n_features_to_select : int, float in (0, 1) or None
        How many, or what part of all, rounded down, at least one. None: half.
    estimator : SparseDenoisingAutoencoder, optional
        What is trained; a new one with its defaults if None. A copy is trained in each run: this one stays as
        it is. ``estimator__noise=0.5`` changes its parameters, as everywhere in scikit-learn.
    n_runs : int
        Runs from other random links, whose strengths are averaged: single ones swing.
    random_state : int, RandomState, Generator, SeedSequence or None
        Of all runs. The estimator's own is not used.

    Attributes
    ----------
    strengths_ : ndarray of float64, shape (n_features,)
        Mean over the runs.
    ranking_ : ndarray of int, shape (n_features,)
        1 for each feature that is selected, 2 for the strongest of the others, and so on.
    support_ : ndarray of bool, shape (n_features,)
        Which features are selected; of equal strengths the first.
    n_features_ : int
        How many.
    estimators_ : list of SparseDenoisingAutoencoder
        The runs.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Notes
    -----
    Atashgahi, Sokar, van der Lee, Mocanu, Mocanu, Veldhuis, Pechenizkiy, *Quick and Robust Feature Selection:
    the Strength of Energy-efficient Sparse Training for Autoencoders*, Machine Learning 111 (2022), takes
    one run of 10 to 100 epochs. There strengths are those between the removal and the growth of links in the
    last rewiring; here they are those at the end, where training has had the last word, and inputs that vary
    by less than 1 count less. What takes time are steps and rewirings, an epoch of each at least: many for
    few rows. ``estimator=SparseDenoisingAutoencoder(verbose=1)`` shows the epochs.

    Features that no other feature helps to reconstruct are not selected, however much a target depends on
    them: for those a method that looks at targets is the better one.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from rewire import QuickSelection, SparseDenoisingAutoencoder
    >>> X, _ = make_classification(
    ...     400, 100, n_informative=5, n_redundant=15, shuffle=False, random_state=0
    ... )
    >>> coder = SparseDenoisingAutoencoder(100, max_iter=40, learning_rate_init=0.02)
    >>> selector = QuickSelection(20, estimator=coder, random_state=0).fit(X)
    >>> selector.get_support()[:20].sum() >= 16  # the others are noise
    True
    """

    strengths_: NDArray[np.float64]
    support_: NDArray[np.bool_]
    n_features_in_: int

    def __init__(
        self,
        n_features_to_select: int | float | None = None,
        *,
        estimator: SparseDenoisingAutoencoder | None = None,
        n_runs: int = 3,
        random_state: Any = None,
    ) -> None:
        self.n_features_to_select = n_features_to_select
        self.estimator = estimator
        self.n_runs = n_runs
        self.random_state = random_state

    @quiet()
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the autoencoders, and rank the features.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Real and finite; two samples or more, that are not all alike. Sparse ones are made dense, once as
            a whole.
        y : object
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError, DivergenceError
            As for :meth:`SparseDenoisingAutoencoder.fit`; if more features are to be selected than there are.
        KeyboardInterrupt
            Whatever raises leaves the estimator as it was.
        """
        with _parameters.DrawsUndone(self.random_state), AttributesUndone(self):
            X = _parts.samples(self, X, reset=True, least=2)
            varies = _varying(X)
            if not varies.any():
                raise ValueError("X must hold features that vary, got samples that are all alike")
            count, runs = self._count(X.shape[1]), _checks.integer("n_runs", self.n_runs, low=1)
            kind = SparseDenoisingAutoencoder
            given = kind() if self.estimator is None else self.estimator
            given = _checks.one_of_types("estimator", given, kind, "a SparseDenoisingAutoencoder or None")
            words = np.random.SeedSequence(_parameters.seed(self.random_state))
            estimators = []
            for seed in words.generate_state(runs, np.uint64).tolist():
                found = clone(given).set_params(random_state=seed).fit(X)
                if found.trainer_.history.interrupted:
                    raise KeyboardInterrupt  # fewer runs, or shorter ones, would be another selection
                estimators.append(found)
            strengths = np.mean([found.strengths_ for found in estimators], axis=0)
            order = np.lexsort((~varies, -strengths))  # stable, so that of equals the first comes first
            ranking = np.ones(X.shape[1], np.int64)
            ranking[order[count:]] = np.arange(2, 2 + X.shape[1] - count)
            self.__dict__.update(
                strengths_=strengths, ranking_=ranking, support_=ranking == 1, n_features_=count,
                estimators_=estimators,
            )  # fmt: skip
        return self

    def _count(self, n_features: int) -> int:
        """How many features to select."""
        asked = self.n_features_to_select
        if asked is None:
            return max(1, n_features // 2)
        if isinstance(asked, (float, np.floating)):
            _checks.number("n_features_to_select", asked, low=0.0, high=1.0, open_low=True, open_high=True)
            # As the number is written: 0.29 is a little less in binary, and 0.29 * 100 rounds down to 28.
            return max(1, int(Fraction(str(asked)) * n_features))
        return _checks.integer("n_features_to_select", asked, low=1, high=n_features)

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self.support_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _varying(X: Any) -> NDArray[np.bool_]:
    """Which features have more than one value."""
    if issparse(X):
        return (X.max(axis=0) != X.min(axis=0)).toarray().reshape(-1)
    found: NDArray[np.bool_] = (X != X[0]).any(axis=0)
    return found
