"""What several estimators make of equal parameters: samples, the parts of a trainer, and what they say.

Most of it serves those that learn without targets; the others have more to choose from.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data

from rewire import _checks, _warn
from rewire._inputs import Source
from rewire.estimators import _parameters
from rewire.estimators._naming import named_values
from rewire.initializers import Initializer, Normal, initializer
from rewire.losses.values import LARGEST_TARGET
from rewire.optim import SGD, Optimizer
from rewire.rewiring import SET, Rule, rewiring
from rewire.rewiring.schedule import RewiringSchedule
from rewire.standardizer import Standardizer

__all__ = [
    "chooses_set", "dense", "initial_weights", "own_sgd", "refuse_far", "rule", "samples", "set_rates",
    "tell_interrupted", "units", "verbosity",
]  # fmt: skip

TYPES = (np.float64, np.float32)
TOGETHER = 1000  # rows that are looked at


def samples(model: Any, X: Any, *, reset: bool, least: int = 1) -> Any:
    """Checked samples, an array or CSR, at least so many; with ``reset`` those that say what features are."""
    with named_values(X=X):
        return validate_data(
            model,
            _parameters.features(X),
            reset=reset,
            accept_sparse="csr",
            dtype=TYPES,
            ensure_min_samples=least,
        )


def refuse_far(source: Source, dtype: str, expected: str, by: Standardizer | None = None) -> None:
    """ValueError naming row and column of the first value, as ``by`` standardises it, whose sums overflow.

    What was expected is said with the range in the place of ``{most}``.
    """
    most = LARGEST_TARGET[dtype]
    if source.largest <= most if by is None else by.fits(source.largest, most):
        return
    for first in range(0, source.n_samples, TOGETHER):
        x = source.rows(np.arange(first, min(first + TOGETHER, source.n_samples)))
        bad = np.abs(x if by is None else by.apply(x)) > most
        if bad.any():
            row, column = divmod(int(np.argmax(bad)), source.n_features)
            raise ValueError(
                f"{source.name} must {expected.format(most=f'{most:.2g} in {dtype}')}, "
                f"got {x[row, column]:g} in row {first + row}, column {column}"
            )


def dense(X: Any) -> NDArray[Any]:
    """Samples as an array."""
    found: NDArray[Any] = X.toarray() if issparse(X) else X
    return found


def units(model: Any, dtypes: Sequence[str]) -> tuple[int, str]:
    """Hidden units, and the dtype that they are computed in, one of these."""
    n = _checks.integer("n_components", model.n_components, low=1, high=_checks.MAX_NEURONS)
    return n, _checks.choice("dtype", model.dtype, dtypes)


def initial_weights(model: Any, deviation: float) -> Initializer:
    """What ``init`` says; "auto" are normal ones of this deviation."""
    auto = isinstance(model.init, str) and model.init == "auto"
    return Normal(deviation) if auto else initializer(model.init)


def own_sgd(model: Any, name: str, factor: float = 1.0, **given: Any) -> Optimizer:
    """A copy of the optimizer that was given, or SGD by the rates among the parameters."""
    if model.optimizer is not None:
        expected = "an Optimizer or None"
        return copy.deepcopy(_checks.one_of_types("optimizer", model.optimizer, Optimizer, expected))
    found = SGD(**given)
    set_rates(model, found, name, factor)
    return found


def set_rates(model: Any, optimizer: SGD, name: str, factor: float = 1.0) -> None:
    """Give SGD the rates that the parameters say; ``name`` is that of the learning rate, times ``factor``."""
    rate = _checks.number(name, getattr(model, name), low=0.0, open_low=True)
    momentum = _checks.number("momentum", model.momentum, low=0.0, high=1.0, open_high=True)
    decay = _checks.number("weight_decay", model.weight_decay, low=0.0)
    optimizer.lr, optimizer.momentum, optimizer.weight_decay = rate * factor, momentum, decay


def chooses_set(model: Any) -> bool:
    """Whether SET was given by its name: its period and new weights are then chosen here."""
    return isinstance(model.rewiring, str) and model.rewiring == "set"


def rule(model: Any, init: Initializer, every: RewiringSchedule) -> Rule:
    """SET with new weights as the first ones where it was given by its name; a copy of any other rule."""
    fraction = _checks.number("drop_fraction", model.drop_fraction, low=0.0, high=1.0)
    if chooses_set(model):
        return SET(fraction, every=every, init=init)
    return copy.deepcopy(rewiring(model.rewiring))


def verbosity(model: Any) -> int:
    """How much a trainer says."""
    asked = int(model.verbose) if isinstance(model.verbose, (bool, np.bool_)) else model.verbose
    found: int = _checks.choice("verbose", asked, (0, 1, 2))
    return found


def tell_interrupted(model: Any, method: str, done: str) -> None:
    """Warn that Ctrl-C has ended a call."""
    _warn.tell_interrupted(f"{type(model).__name__}.{method}", done)
