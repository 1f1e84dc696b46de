"""What an estimator knows once it is fitted, read off its trainer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.utils.validation import check_is_fitted, validate_data

from rewire._foreign import ForeignAttributes
from rewire._moments import quiet
from rewire.estimators import _parameters
from rewire.estimators._arguments import Arguments
from rewire.estimators._naming import named_values
from rewire.estimators._network import coefficients, path_strengths
from rewire.history import History
from rewire.network import Sequential
from rewire.streams.kinds import is_large
from rewire.trainer import Trainer

__all__ = ["Fitted"]


class Fitted(ForeignAttributes, Arguments):
    """Attributes of both estimators, and the network that predicts."""

    trainer_: Trainer
    n_iter_: int
    n_jobs: int | None

    @contextlib.contextmanager
    def _fitted_network(self) -> Iterator[Sequential]:
        """The network, and nobody may fit meanwhile."""
        check_is_fitted(self)
        network = self.network_
        with network.gate.reading("predict"):
            yield network

    def _raw_predict(self, network: Sequential, X: Any) -> NDArray[Any]:
        with quiet():
            if not _parameters.features_pass(self, X):
                X = self._validated(X)
        return network.predict(X, threads=self.n_jobs)

    def _validated(self, X: Any) -> Any:
        X = _parameters.features(X)
        with named_values(X=X):
            return validate_data(
                self, X, reset=False, accept_sparse="csr", dtype="numeric", ensure_all_finite=not is_large(X)
            )

    # --- fitted attributes ------------------------------------------------------------------

    @property
    def network_(self) -> Sequential:
        """The network that predicts: the trained one, or with ``average`` a copy that has the averages."""
        check_is_fitted(self)
        return self.trainer_.evaluated_network()

    @property
    def history_(self) -> History:
        """One row an epoch, over all calls."""
        check_is_fitted(self)
        return self.trainer_.history

    @property
    def loss_curve_(self) -> list[float]:
        """The loss of every epoch."""
        return [row["loss"] for row in self.history_.epochs[: self.n_iter_]]

    @property
    def topology_history_(self) -> list[dict[str, Any]]:
        """One dict for every epoch with a rewiring: epoch, links removed, links grown and links by layer."""
        return [
            {
                "epoch": row["epoch"],
                "removed": row["links_removed"],
                "grown": row["links_grown"],
                "nnz": row["nnz"],
            }
            for row in self.history_.epochs
            if any(row["links_removed"]) or any(row["links_grown"])
        ]

    @property
    def coefs_(self) -> list[csr_array]:
        """Weights of every layer, shape (n_in, n_out), made anew at every access.

        Blocks of switches stand as weights of [max(x, 0), min(x, 0)], shape (2 * n_in, n_out).
        """
        return list(map(coefficients, self.network_.weight_layers))

    @property
    def intercepts_(self) -> list[NDArray[Any]]:
        """Biases of every layer, copies."""
        found = [layer.parameters().get("bias") for layer in self.network_.weight_layers]
        return [bias.read() for bias in found if bias is not None]

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """How strongly the outputs are connected to each feature; the sum is 1.

        The product of |w| along a path from the feature to an output, summed over all paths, times the
        feature's deviation as the network sees it: 1 with ``standardize`` (less where far values are brought
        nearer), 0 for a constant. It is what ``SelectFromModel`` and ``RFE`` of scikit-learn ask for. Without
        ``standardize`` it depends on the units of features. First weights are random: after few epochs it
        tells little.

        Raises
        ------
        AttributeError
            With layers whose weights are not told by paths, such as `Mix`, `Residual`, `Concat`.

        Notes
        -----
        After Garson, *Interpreting neural-network connection weights*, AI Expert 6 (1991), without shares.
        """
        network = self.network_
        try:
            found = path_strengths(network)
        except TypeError as error:
            raise AttributeError(f"{type(self).__name__} has no feature_importances_: {error}") from None
        standardizer = network.standardizer
        if standardizer is not None and standardizer.moments is not None:
            found *= standardizer.moments.deviation * standardizer.scale
        total = found.sum()
        return found / total if total > 0.0 else found

    @property
    def nnz_(self) -> int:
        """Connections."""
        return self.network_.nnz

    @property
    def density_(self) -> float:
        """Connections over those of a dense network of the same sizes."""
        return self.network_.density
