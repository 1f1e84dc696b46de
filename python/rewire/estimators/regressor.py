"""The regressor: linear outputs and squared error, targets standardised inside."""

from __future__ import annotations

import contextlib
import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import column_or_1d

from rewire._checks import describe, detached
from rewire._moments import Moments, levels, near_one, quiet, shifted
from rewire._targets import refuse_where
from rewire.estimators import _parameters
from rewire.estimators._arguments import without_early_stopping
from rewire.estimators._base import BaseSparseMLP
from rewire.estimators._naming import named_values
from rewire.estimators._units import OutputUnits, elsewhere, followed, fraction_of, moments_of, near_enough
from rewire.losses import MSE, ArrayLoss, Huber, Loss, Poisson

__all__ = ["SparseMLPRegressor"]


class SparseMLPRegressor(RegressorMixin, BaseSparseMLP):
    """Regressor: a multilayer perceptron that is truly sparse while it trains.

    It minimises the squared error of one or several outputs, or another ``loss``. Parameters that are not
    named here are those of :class:`~rewire.SparseMLPClassifier`.

    Parameters
    ----------
    hidden_layer_sizes, activation, layers, epsilon, density, links, distribution, group, init, \
bias_init, connectivity, rewiring, drop_fraction, optimizer, learning_rate_init, momentum, weight_decay, \
dropout, average, batch_size, max_iter, horizon, shuffle, tol, n_iter_no_change
        See :class:`~rewire.SparseMLPClassifier`.
    loss : "auto", "mse", "huber", "poisson", dict or Loss
        Auto is the mean squared error. ``Huber(delta)`` counts outliers less, in the units of standardised
        targets. ``"poisson"`` is for counts and other targets >= 0: the network gives logarithms of rates,
        and predictions are rates. An own :class:`~rewire.losses.ArrayLoss` is taken too.
    early_stopping : bool
        Hold out ``validation_fraction`` of the samples, watch R2 on them (of an own loss without a metric,
        the loss) and bring back the best network. There is no ``partial_fit`` then.
    standardize : bool or "scale"
        Bring features *and targets* to mean 0 and deviation 1 by what the training sets say; see
        :class:`~rewire.Trainer`. Targets in the hundreds would otherwise make SGD diverge at the usual
        learning rates. With ``loss="poisson"`` targets are divided by their mean, which does not change what
        is minimised. Predictions are in the units of y, and finite. ``"scale"`` subtracts no mean from
        features.
    validation_fraction, warm_start, random_state, n_jobs, shards, workers, strategy, verbose,
    dtype
        See :class:`~rewire.SparseMLPClassifier`.

    Attributes
    ----------
    target_mean_, target_scale_ : ndarray of float64, shape (n_outputs,)
        A prediction is what the network gives, times scale, plus mean (0 and 1 without ``standardize``). In a
        stream they follow the moments of all targets within 5 %. With ``loss="poisson"`` it is exp of what
        the network gives, times scale: the mean of all targets so far, within 5 %.
    out_activation_ : "identity"
    loss_, loss_curve_, best_loss_ : float, list of float, float
        Mean loss over training batches, of standardised targets.
    validation_scores_, best_validation_score_ : list of float, float
        R2 on what was held out, or the loss with its sign changed; None without early stopping.
    n_features_in_, feature_names_in_, n_iter_, t_, n_layers_, n_outputs_, feature_importances_, coefs_, \
intercepts_, nnz_, density_, history_, topology_history_, network_, trainer_
        See :class:`~rewire.SparseMLPClassifier`. ``network_`` works on standardised targets.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from rewire import SparseMLPRegressor
    >>> X, y = make_regression(500, 10, random_state=0)
    >>> SparseMLPRegressor((100, 100), max_iter=30, random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """

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

        Notes
        -----
        With ``standardize``, predictions first move by a fraction of the mean residual on this data (of n
        rows n / (n + 50), less by as much as fewer than 50 came before): steps of a fixed size are slow to
        find another level. Where the means of targets, those before and these, are more than 5 deviations of
        either apart, it is the whole residual; in ``fit`` with ``warm_start`` as well, which then learns the
        latest set as a new one. Targets that have been constant so far, or varied next to nothing, tell
        nothing of a scale. Those that are far and vary far less than all before a stream learns slowly: its
        units stay those of all rows.
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
            out = self.trainer_.loss.predictions(self._raw_predict(network, X).astype(np.float64))
            mean, scale = self.target_mean_, self.target_scale_
            one_dimensional = self._one_dimensional
        with quiet():
            y = out * scale + mean
            far = ~np.isfinite(y)
            if far.any():  # product and sum may have been out of range where the result is not
                most = np.finfo(np.float64).max / 8
                y[far] = np.clip(out * (scale / 8) + mean / 8, -most, most)[far] * 8
        return y[:, 0] if one_dimensional else y

    @quiet()
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2 of the predictions, scikit-learn's ``r2_score``.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like, shape (n_samples,), optional

        Returns
        -------
        float
            At most 1. Not defined (NaN, and scikit-learn warns) for a single sample.
        """
        found, y = self.predict(X), detached(y, "y")
        _refuse_dates(y)
        with named_values(y=y):
            try:
                truth = np.asarray(y, np.float64)
            except (TypeError, ValueError):
                truth = np.zeros(0)  # r2_score says what is wrong
        if truth.shape == found.shape and np.isfinite(truth).all():
            # Squares of numbers far from 1 overflow or vanish; a power of two changes nothing else.
            by = levels(np.maximum(np.abs(truth).max(axis=0), np.abs(found).max(axis=0)))
            y, found = shifted(truth, -by), shifted(found, -by)
        return float(r2_score(y, found, sample_weight=_parameters.score_weight(sample_weight)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    # --- targets ----------------------------------------------------------------------------

    def _encode(
        self, y: Any, first: bool, weight: Any, classes: Any, stream: bool
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        flat = y.ndim == 1
        _refuse_dates(y)
        given = y.reshape(len(y), -1)
        with named_values(y=y):
            y = given.astype(np.float64)
        top = np.abs(y).max(axis=0)
        if not all(map(math.isfinite, top.tolist())):  # a long double, say
            row, column = divmod(int(np.argmin(np.isfinite(y))), y.shape[1])
            raise ValueError(
                f"y must be finite in float64, got {given[row, column]} in row {row}, column {column}"
            )
        if not first and (y.shape[1] != self.n_outputs_ or flat != self._one_dimensional):
            raise ValueError(f"y must have {self.n_outputs_} outputs as in the first call, got {y.shape[1]}")
        fitted: dict[str, Any] = {}
        if first:
            fitted = {"n_outputs_": y.shape[1], "_one_dimensional": flat}
        counts = isinstance(
            _parameters.loss_of(self.loss, MSE.name, self._fitting(MSE.name))
            if first
            else self.trainer_.loss,
            Poisson,
        )
        if counts:
            refuse_where(y < 0, y, "y", "hold counts >= 0 for loss 'poisson'")
        if first and not self.standardize:
            none = np.zeros(y.shape[1])
            fitted |= {"target_mean_": none, "target_scale_": none + 1, "_target_moments": None}
        elif counts and (first or self._target_moments is not None):
            fitted |= self._learn_counts(y, weight, None if first else self._target_moments, stream)
        elif first or self._target_moments is not None:
            fitted |= self._learn_targets(y, weight, None if first else self._target_moments, stream)
        mean = fitted["target_mean_"] if "target_mean_" in fitted else self.target_mean_
        scale = fitted["target_scale_"] if "target_scale_" in fitted else self.target_scale_
        largest = np.maximum(top, np.abs(mean))
        if near_one(largest):
            return (y - mean) / scale, fitted
        by = levels(largest)
        y = shifted(y, -by)
        y -= shifted(mean, -by)
        y /= shifted(scale, -by)
        return y, fitted

    def _learn_targets(
        self, y: NDArray[np.float64], weight: NDArray[np.float64] | None, before: Moments | None, stream: bool
    ) -> dict[str, Any]:
        """Attributes for targets of which these are some more."""
        if weight is not None and not weight.any():
            return {}
        found = moments_of(y, weight)
        if before is not None and found.same_as(self._target_latest):
            return {}  # the same set again, as in a loop of warm starts
        if before is None:
            scale = np.where(found.deviation == 0, 1.0, found.deviation)
            return {
                "target_mean_": found.mean.copy(),
                "target_scale_": scale,
                "_target_moments": found,
                "_target_latest": found,
            }
        new = followed(before, found, self.target_mean_, self.target_scale_, stream=stream)
        fitted: dict[str, Any] = {"_target_moments": new.moments, "_target_latest": found}
        if new.shift is not None:
            fitted |= {"target_mean_": new.moments.mean, "target_scale_": new.scale}
        fitted["_begin"] = OutputUnits(new.gain, new.shift, new.fraction)
        return fitted

    def _learn_counts(
        self, y: NDArray[np.float64], weight: NDArray[np.float64] | None, before: Moments | None, stream: bool
    ) -> dict[str, Any]:
        """The same where outputs are logarithms of rates, in units of the mean of all counts."""
        if weight is not None and not weight.any():
            none = np.zeros(y.shape[1])
            return {"target_mean_": none, "target_scale_": none + 1} if before is None else {}
        found = moments_of(y, weight)
        if before is not None and found.same_as(self._target_latest):
            return {}
        moments = found if before is None else before.merged(found)
        scale = np.where(moments.mean > 0, moments.mean, 1.0)  # 0 is no unit
        fitted: dict[str, Any] = {"_target_moments": moments, "_target_latest": found}
        if before is None:
            return fitted | {"target_mean_": np.zeros(y.shape[1]), "target_scale_": scale}
        zeros = (before.mean == 0) & (found.mean > 0)  # alone they tell no level
        fraction = fraction_of(before, found, elsewhere(before, found) | zeros, stream)
        shift = np.log(self.target_scale_) - np.log(scale)
        if near_enough(scale / self.target_scale_):
            return fitted | {"_begin": OutputUnits(None, None, fraction, logs=True)}
        return fitted | {"target_scale_": scale, "_begin": OutputUnits(None, shift, fraction, logs=True)}

    def _output(self, fitted: dict[str, Any]) -> tuple[str, str, str]:
        return "identity", "linear", MSE.name

    def _fitting(self, usual: str) -> str:
        return "'auto', 'mse', 'huber', 'poisson' or an ArrayLoss"

    def _check_loss(self, loss: Loss, usual: str) -> None:
        if not isinstance(loss, MSE | Huber | Poisson | ArrayLoss):
            raise ValueError(f"loss must be {self._fitting(usual)}, got {describe(self.loss)}")


def _refuse_dates(y: Any) -> None:
    """TypeError for dates and spans of time: a missing one would be a number like any other."""
    with contextlib.suppress(ValueError):  # what is no array is refused in other words
        dtype = np.asarray(y).dtype
        if dtype.kind in "mM":
            raise TypeError(f"y must hold real numbers, got dtype {dtype}")
