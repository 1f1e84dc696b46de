"""scikit-learn estimators over networks and trainers.

Imported by ``rewire.SparseMLPClassifier`` and ``rewire.SparseMLPRegressor``
when somebody asks for one: ``import rewire`` does not need scikit-learn.
"""

from rewire.estimators.classifier import SparseMLPClassifier
from rewire.estimators.regressor import SparseMLPRegressor

__all__ = ["SparseMLPClassifier", "SparseMLPRegressor"]
