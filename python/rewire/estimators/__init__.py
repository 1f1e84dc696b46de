"""scikit-learn estimators over networks and trainers.

Imported by ``rewire.SparseMLPClassifier`` and its like when somebody asks for one: ``import rewire`` does not
need scikit-learn.
"""

from rewire.estimators.autoencoder import SparseDenoisingAutoencoder
from rewire.estimators.classifier import SparseMLPClassifier
from rewire.estimators.quick_selection import QuickSelection
from rewire.estimators.rbm import SparseBernoulliRBM
from rewire.estimators.regressor import SparseMLPRegressor

__all__ = [
    "QuickSelection", "SparseBernoulliRBM", "SparseDenoisingAutoencoder", "SparseMLPClassifier",
    "SparseMLPRegressor",
]  # fmt: skip
