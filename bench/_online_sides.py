"""The contestants of a stream in pieces of ten rows, each in a process of its own (`_measure.Side`).

Both are as they come but for the hidden layers: Adam, ReLU or All-ReLU, and with ours features (and a
regressor's targets) standardised and SET, which moves links before every call. An operation ``call`` is one
``partial_fit`` of the next ten rows of `load_digits` or `load_diabetes`, in an order drawn once.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from _measure import Batch

PIECE, PIECES = 10, 60


def rewire(threads: int, kind: str, **cell: Any) -> dict[str, Batch]:
    """Our estimators."""
    import rewire as rw

    made = rw.SparseMLPClassifier if kind == "classifier" else rw.SparseMLPRegressor
    return _stream(made(tuple(cell["hidden"]), n_jobs=threads, random_state=0), kind, cell["data"])


def scikit_learn(threads: int, kind: str, **cell: Any) -> dict[str, Batch]:
    """The multilayer perceptrons of scikit-learn; `threads` is what the environment says."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    made = MLPClassifier if kind == "classifier" else MLPRegressor
    return _stream(made(hidden_layer_sizes=tuple(cell["hidden"]), random_state=0), kind, cell["data"])


def _stream(model: Any, kind: str, data: str) -> dict[str, Batch]:
    """The calls after the first, round and round."""
    from scipy.sparse import csr_array
    from sklearn.datasets import load_diabetes, load_digits

    warnings.simplefilter("ignore")  # of networks that are too small to be sparse
    X, y = (load_digits if kind == "classifier" else load_diabetes)(return_X_y=True)
    order = np.random.default_rng(0).integers(0, len(X), PIECE * PIECES)
    X = X[order].astype("float32" if data == "float32" else "float64")
    X, y = csr_array(X) if data == "CSR" else X, y[order]
    pieces = [(X[start : start + PIECE], y[start : start + PIECE]) for start in range(0, len(y), PIECE)]
    model.partial_fit(*pieces[0], **({"classes": np.unique(y)} if kind == "classifier" else {}))
    calls = 0

    def run(n: int) -> None:
        nonlocal calls
        for _ in range(n):
            calls += 1
            model.partial_fit(*pieces[calls % PIECES])

    return {"call": Batch(run)}
