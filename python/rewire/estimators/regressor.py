"""The regressor: linear outputs and squared error, targets standardised inside."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import column_or_1d

from rewire.estimators._arguments import without_early_stopping
from rewire.estimators._base import BaseSparseMLP
from rewire.losses import MSE, Loss

__all__ = ["SparseMLPRegressor"]


class SparseMLPRegressor(RegressorMixin, BaseSparseMLP):
    """Regressor: a multilayer perceptron that is truly sparse while it trains.

    It minimises the squared error of one or several outputs. Parameters that are not named here are those
    of :class:`~rewire.SparseMLPClassifier`.

    Parameters
    ----------
    hidden_layer_sizes, activation, epsilon, group, init, start, rewiring, zeta, optimizer, \
learning_rate_init, momentum, weight_decay, dropout, batch_size, max_iter, shuffle, tol, n_iter_no_change
        See :class:`~rewire.SparseMLPClassifier`.
    early_stopping : bool
        Hold out ``validation_fraction`` of the samples, watch R2 on them and bring back the best network.
        There is no ``partial_fit`` then.
    standardize : bool
        Bring features *and targets* to mean 0 and deviation 1 by what the first training set says. Targets
        in the hundreds would otherwise make SGD diverge at the usual learning rates. Predictions are in the
        units of y.
    validation_fraction, warm_start, random_state, n_jobs, verbose, dtype
        See :class:`~rewire.SparseMLPClassifier`.

    Attributes
    ----------
    target_mean_, target_scale_ : ndarray of float64, shape (n_outputs,)
        A prediction is what the network gives, times scale, plus mean (0 and 1 without ``standardize``).
    out_activation_ : "identity"
    loss_, loss_curve_, best_loss_ : float, list of float, float
        Mean squared error over training batches, of standardised targets.
    validation_scores_, best_validation_score_ : list of float, float
        R2 on what was held out; None without early stopping.
    n_features_in_, feature_names_in_, n_iter_, t_, n_layers_, n_outputs_, coefs_, intercepts_, nnz_, \
density_, history_, topology_history_, network_, trainer_
        See :class:`~rewire.SparseMLPClassifier`. ``network_`` works on standardised targets.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from rewire import SparseMLPRegressor
    >>> X, y = make_regression(500, 10, random_state=0)
    >>> SparseMLPRegressor((100, 100), max_iter=30, random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train a new network, or with ``warm_start`` the one there is.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Real and finite.
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            Real and finite.
        sample_weight : array-like, shape (n_samples,), optional
            At least 0.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For wrong data or parameters; the argument is named.
        DivergenceError
            When a value is no longer finite. The estimator stays as it was; with ``warm_start`` its network
            is the one that diverged.
        RuntimeError
            While another thread predicts or fits.

        Warns
        -----
        DensityWarning
            When no hidden layer is sparse, or one has no connections.
        """
        return self._fit(X, y, sample_weight)

    @without_early_stopping
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train one epoch on this data. See the notes of :meth:`SparseMLPClassifier.partial_fit`.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predicted values.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,) or (n_samples, n_outputs)
            As y was.
        """
        with self._fitted_network() as network:
            out = self._raw_predict(network, X).astype(np.float64)
            out *= self.target_scale_
            out += self.target_mean_
            return out[:, 0] if self._one_dimensional else out

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    # --- targets ----------------------------------------------------------------------------

    def _encode(self, y: Any, first: bool, weight: Any, classes: Any) -> tuple[NDArray[Any], dict[str, Any]]:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        flat = y.ndim == 1
        y = y.reshape(len(y), -1).astype(np.float64)
        fitted: dict[str, Any] = {}
        if first:
            mean, scale = np.zeros(y.shape[1]), np.ones(y.shape[1])
            if self.standardize:
                mean = np.average(y, axis=0, weights=weight)
                deviation = np.sqrt(np.average(np.square(y - mean), axis=0, weights=weight))
                # A target that never changes has nothing but rounding noise as its deviation.
                scale = np.where(deviation > 1e-12 * np.abs(mean), deviation, 1.0)
            fitted = {
                "target_mean_": mean,
                "target_scale_": scale,
                "n_outputs_": y.shape[1],
                "_one_dimensional": flat,
            }
        elif y.shape[1] != self.n_outputs_ or flat != self._one_dimensional:
            raise ValueError(f"y must have {self.n_outputs_} outputs as in the first call, got {y.shape[1]}")
        y -= fitted["target_mean_"] if first else self.target_mean_
        y /= fitted["target_scale_"] if first else self.target_scale_
        return y, fitted

    def _output(self, fitted: dict[str, Any]) -> tuple[str, str, Loss]:
        return "identity", "linear", MSE()
