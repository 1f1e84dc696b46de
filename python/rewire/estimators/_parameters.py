"""What users write for sizes, randomness and weights, turned into what networks take."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix
from sklearn.utils import check_random_state

from rewire import _checks, threads
from rewire._inputs import is_lazy, numbers_of, say_whole
from rewire._moments import balanced
from rewire._precision import DTYPES
from rewire.activations import activation
from rewire.connectivity import Correlated, connectivity
from rewire.initializers import initializer
from rewire.layers import Layer
from rewire.losses import Loss, loss
from rewire.losses.base import KINDS as LOSSES
from rewire.streams.kinds import is_large
from rewire.streams.parts import Parts

__all__ = [
    "alike", "built_with", "DrawsUndone", "features", "features_pass", "fixed", "hidden_sizes", "link_counts",
    "loss_of", "n_jobs", "passes", "plain_values", "sample_weight", "score_weight", "seed",
    "values_of",
]  # fmt: skip


def alike(some: list[Any], others: list[Any]) -> bool:
    """Whether averages of weights have the same options."""
    return [one.options() for one in some] == [one.options() for one in others]


def features(X: Any) -> Any:
    """X for scikit-learn's checks, once what they would not speak of in our words is refused."""
    _checks.refuse_iterables("X", X)
    if isinstance(X, Parts):
        np.asarray(X)  # an error that says who takes them, where there may be no y to speak of
    shape = getattr(X, "shape", ())
    if isinstance(shape, tuple) and len(shape) == 2 and shape[1] > _checks.MAX_NEURONS:
        raise ValueError(f"X must have at most {_checks.MAX_NEURONS} features, got shape {shape}")
    if is_lazy(X):
        say_whole(X, "X")
    return _checks.detached(X, "X")


def passes(model: Any, X: Any, y: Any) -> bool:
    """Whether data for a fitted model are what scikit-learn's checks would let through as they are.

    Only plain arrays and CSR of numbers are looked at; for all others that is False. It takes a tenth of the
    time of those checks, which is as much as a small ``partial_fit`` takes to learn.
    """
    return (
        type(y) is np.ndarray
        and features_pass(model, X)
        and X.shape[0] == len(y)
        and (y.ndim == 1 or (y.ndim == 2 and y.shape[1] > 0))
        and _finite(y)
    )


def features_pass(model: Any, X: Any) -> bool:
    """The same of X alone. Call it :func:`rewire._moments.quiet`."""
    sparse = type(X) in (csr_array, csr_matrix)
    return (
        (sparse or type(X) is np.ndarray)
        and not is_large(X)
        and X.ndim == 2
        and X.shape[0] > 0
        and X.shape[1] == model.n_features_in_
        and not hasattr(model, "feature_names_in_")
        and _finite(X.data if sparse else X)
    )


def _finite(a: NDArray[Any]) -> bool:
    """Whether these are real numbers that are surely finite: a sum may overflow where no number does."""
    return a.dtype.kind in "iub" or (a.dtype.kind == "f" and math.isfinite(a.sum()))


def hidden_sizes(value: Any) -> list[int]:
    """``hidden_layer_sizes`` as a list: an integer, or several.

    What can be walked through once, such as a generator, would give another network in the next ``fit``.
    """
    if isinstance(value, Iterable) and not isinstance(value, (str, Sequence, np.ndarray)):
        raise TypeError(
            f"hidden_layer_sizes must be an integer or a tuple of integers, got {_checks.describe(value)}"
        )
    if isinstance(value, str) or not isinstance(value, Iterable):
        return [_checks.integer("hidden_layer_sizes", value, low=1, high=_checks.MAX_NEURONS)]
    return [
        _checks.integer(f"hidden_layer_sizes[{i}]", n, low=1, high=_checks.MAX_NEURONS)
        for i, n in enumerate(value)
    ]


BUILDS = (
    "activation", "layers", "epsilon", "density", "links", "distribution", "group", "init", "bias_init",
    "connectivity", "dropout", "loss", "standardize", "dtype",
)  # fmt: skip
_PLAIN = (bool, int, float, str)
_FIXED = frozenset([type(None), *_PLAIN])


def values_of(model: Any) -> list[Any]:
    """All parameters, in the order of their names."""
    kind: Any = type(model)
    return list(map(vars(model).get, _names(kind)))


@functools.cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(kind._get_param_names())


def fixed(value: Any) -> bool:
    """Whether a value stays what it is: an object may be changed inside."""
    return type(value) in _FIXED or (type(value) is tuple and all(map(fixed, value)))


def plain_values(model: Any) -> dict[str, Any] | None:
    """The parameters that a network is built with, with their types; None if one may be changed inside."""
    values = {name: getattr(model, name) for name in BUILDS}
    if not all(value is None or type(value) in _PLAIN for value in values.values()):
        return None
    return {name: (type(value), value) for name, value in values.items()}


def built_with(model: Any) -> dict[str, tuple[str, Any]]:
    """Checked parameters that a network is built with once: what to say of them, and what to compare.

    Of objects that is their kind and their plain attributes, so that equal ones are equal, and samples which
    a correlated start has looked at are not kept.
    """
    chosen = model.connectivity
    named = chosen.get("name") if isinstance(chosen, dict) else chosen
    checked = {
        "activation": activation(model.activation),
        "layers": _said(model.layers),
        **_checked_counts(model),
        "group": _checks.choice("group", model.group, (1, 2, 4, 8)),
        "init": initializer(model.init),
        "bias_init": initializer(model.bias_init, "bias_init"),
        "connectivity": named if named == Correlated.name else connectivity(chosen),
        "dropout": _checks.number("dropout", model.dropout, low=0.0, high=1.0, open_high=True),
        "loss": loss_of(model.loss, "mse"),
        "standardize": _checks.standardizing("standardize", model.standardize),
        "dtype": _checks.choice("dtype", model.dtype, (*DTYPES, "auto")),
    }
    return {name: (_checks.describe(getattr(model, name)), _plain(value)) for name, value in checked.items()}


def link_counts(model: Any) -> dict[str, Any]:
    """How many links there are to be, in the words of `mlp_layers`: by epsilon where nothing else says it."""
    found = _checked_counts(model)
    if found["density"] is not None or found["links"] is not None:
        found["epsilon"] = None
    return found


def _checked_counts(model: Any) -> dict[str, Any]:
    density, links = model.density, model.links
    if density is not None and links is not None:
        raise ValueError(f"give density or links, got density={density} and links={links}")
    return {
        "epsilon": _checks.number("epsilon", model.epsilon, low=0.0, open_low=True),
        "density": None if density is None else _checks.number(
            "density", density, low=0.0, high=1.0, open_low=True
        ),
        "links": None if links is None else _checks.integer("links", links, low=1),
        "distribution": _checks.choice("distribution", model.distribution, ("erk", "uniform")),
    }  # fmt: skip


def _said(layers: Any) -> str | None:
    """What tells descriptions of layers from others."""
    if not isinstance(layers, (list, tuple)):
        return None if layers is None else repr(layers)
    return repr([one.config() if isinstance(one, Layer) else one for one in layers])


def loss_of(what: Any, usual: str, fitting: str = "") -> Loss:
    """The loss that a parameter names, a copy of an object; ``usual`` is that of "auto".

    ``fitting`` says in words which losses there are, for the error about a name that is none.
    """
    if fitting and isinstance(what, str) and what != "auto":
        try:
            LOSSES.find(what)
        except ValueError:
            raise ValueError(f"loss must be {fitting}, got {_checks.describe(what)}") from None
    return copy.deepcopy(loss(usual if isinstance(what, str) and what == "auto" else what))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, _PLAIN):
        return value
    found = {name: v for name, v in getattr(value, "__dict__", {}).items() if isinstance(v, (*_PLAIN, list))}
    return type(value).__name__, found


def n_jobs(value: Any) -> int | None:
    """A checked number of threads."""
    if value is not None:
        if _checks.integer("n_jobs", value) == 0:
            raise ValueError("n_jobs must be >= 1, negative to count from the end, or None, got 0")
        threads.resolve(value, warn=False)
    found: int | None = value
    return found


def seed(random_state: Any) -> int:
    """A network's seed.

    An integer is the seed itself; None follows NumPy's global state, as everywhere in scikit-learn.
    """
    if isinstance(random_state, np.random.SeedSequence):
        return int(random_state.generate_state(1, np.uint64)[0])
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63))
    if random_state is None or isinstance(random_state, np.random.RandomState):
        return int(check_random_state(random_state).randint(0, 2**63, dtype=np.int64))
    try:
        return _checks.integer("random_state", random_state, low=0, high=2**64 - 1)
    except TypeError:
        raise TypeError(
            "random_state must be None, an integer, a RandomState, a Generator or a SeedSequence, "
            f"got {_checks.describe(random_state)}"
        ) from None


class DrawsUndone:
    """A generator that is drawn from inside stands where it stood if something raises."""

    def __init__(self, random_state: Any) -> None:
        self._generator: Any = random_state
        self._before: Any = None

    def __enter__(self) -> None:
        if isinstance(self._generator, np.random.RandomState):
            self._before = self._generator.get_state(legacy=False)
        elif isinstance(self._generator, np.random.Generator):
            self._before = self._generator.bit_generator.state

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and isinstance(self._generator, np.random.RandomState):
            self._generator.set_state(self._before)
        elif kind is not None and isinstance(self._generator, np.random.Generator):
            self._generator.bit_generator.state = self._before


def sample_weight(value: Any, n_samples: int, *, some: bool = True) -> NDArray[np.float64] | None:
    """One number >= 0 a sample, with ``some`` not all of them zero; None stays None."""
    if value is None:
        return None
    weight = _checks.float_vector("sample_weight", _numbers(value), n_samples, low=0.0)
    if some and not weight.any():
        raise ValueError("sample_weight must hold at least one weight > 0, got only zero weights")
    return weight


def score_weight(value: Any) -> Any:
    """Weights of a score, brought near 1 so that their sum is a number; TypeError for what are no numbers.

    The rest of what is strange scikit-learn refuses.
    """
    if value is None:
        return None
    value = _numbers(value)
    try:
        weight = np.asarray(value)
    except ValueError:
        return value  # a ragged list
    if weight.ndim == 1 and weight.dtype.kind not in "fiub":
        strange = next(item for item in weight.tolist() if not isinstance(item, Real))
        raise TypeError(f"sample_weight must hold real numbers, got {_checks.describe(strange)}")
    if weight.dtype.kind == "f" and weight.size and np.isfinite(weight).all():
        return balanced(weight.astype(np.float64))[0]
    return value


def _numbers(value: Any) -> Any:
    """Objects that are real numbers, such as decimals and large integers, as float64; the rest as it is."""
    try:
        found = np.asarray(_checks.detached(value, "sample_weight"))
    except ValueError:
        return value  # a ragged list, which whoever checks refuses by name
    if found.dtype != object or any(item is None for item in found.flat):
        return value
    return numbers_of(found, "sample_weight")
