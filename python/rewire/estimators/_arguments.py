"""What estimators say of arguments they do not take, methods they do not have, pickles of another version."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any, Self

from sklearn.base import BaseEstimator

from rewire import _checks
from rewire._version import __version__
from rewire._warn import warn

__all__ = ["Arguments", "Conditional", "without_early_stopping"]

# Words of other libraries, and what to say here. Slips of the pen are found by likeness.
INSTEAD = {
    "alpha": "weight_decay is the L2 penalty here",
    "solver": "it is called optimizer here",
    "learning_rate": "give learning_rate_init, or a schedule with optimizer=rewire.SGD(schedule=...)",
    "lr": "it is called learning_rate_init here",
    "power_t": "give a schedule with optimizer=rewire.SGD(schedule=...)",
    "nesterovs_momentum": "give optimizer=rewire.SGD(momentum=..., nesterov=True)",
    "nesterov": "give optimizer=rewire.SGD(momentum=..., nesterov=True)",
    "beta_1": "give optimizer=rewire.Adam(betas=...)",
    "beta_2": "give optimizer=rewire.Adam(betas=...)",
    "betas": "give optimizer=rewire.Adam(betas=...)",
    "clip_norm": "give it to an optimizer, optimizer=rewire.SGD(clip_norm=...)",
    "loss": "there is only one here; a rewire.Trainer takes any",
    "loss_function": "it is called loss where there are several",
    "callbacks": "a rewire.Trainer takes callbacks",
    "max_fun": "there is no L-BFGS here; max_iter counts epochs",
    "epochs": "it is called max_iter here",
    "n_epochs": "it is called max_iter here",
    "patience": "it is called n_iter_no_change here",
    "hidden": "it is called hidden_layer_sizes here",
    "seed": "it is called random_state here",
    "threads": "it is called n_jobs here",
    "n_threads": "it is called n_jobs here",
    "density": "epsilon says how many connections there are: epsilon * (n_in + n_out) in every layer",
    "sparsity": "epsilon says how many connections there are: epsilon * (n_in + n_out) in every layer",
    "normalize": "it is called standardize here",
    "device": "rewire runs on the CPU; n_jobs is its number of threads",
}

NO_CLASSES = {
    "class_weight": "there are no classes here; give fit a weight for each sample, sample_weight=...",
}

VERSION = "_rewire_version"  # in a pickle, of the package that wrote it
EXAMPLES = {"optimizer": "Adam()", "rewiring": "SET()"}  # parameters that may be objects with their own


class Arguments(BaseEstimator):
    """Names the public class and a way out when the constructor gets an argument it does not know.

    In ``__new__``, so that signatures, which scikit-learn reads parameters from, stay those of ``__init__``.
    Pickles know which version wrote them, as those of scikit-learn's own estimators do.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        parameters = inspect.signature(cls.__init__).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            known = [name for name in parameters if name != "self"]
            for name in kwargs:
                if name not in known:
                    instead = INSTEAD if hasattr(cls, "predict_proba") else INSTEAD | NO_CLASSES
                    raise _checks.unknown_argument(cls.__name__, name, known, instead)
        try:
            inspect.signature(cls).bind_partial(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{cls.__name__}: {error}") from None
        return super().__new__(cls)

    def set_params(self, **params: Any) -> Self:
        """Change parameters, those of parameters that are objects too: ``optimizer__lr=0.5``."""
        _refuse_parameters_of_names(params, self.get_params(deep=False))
        found: Self = super().set_params(**params)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), VERSION: __version__}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        written = state.get(VERSION)
        if written != __version__:
            by = f"rewire {written}" if written else "an unknown version of rewire"
            warn(
                f"a {type(self).__name__} that {by} has pickled is read by rewire {__version__}: it may fail "
                "or answer otherwise; fit it again, or read it with the version that wrote it",
                UserWarning,
            )
        super().__setstate__({name: value for name, value in state.items() if name != VERSION})


def _refuse_parameters_of_names(params: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """ValueError for ``optimizer__lr`` and the like where the optimizer is a name, without parameters."""
    for name in params:
        whole, inside, _ = name.partition("__")
        value = {**now, **params}.get(whole)
        if inside and whole in now and not hasattr(value, "set_params"):
            hint = EXAMPLES.get(whole)
            raise ValueError(
                f"{name} needs {whole} to be an object, "
                f"{f'such as {whole}=rewire.{hint}, ' if hint else ''}got {whole}={_checks.describe(value)}"
            )


class Conditional:
    """A method that is there as long as ``why_not`` gives no reason, as by scikit-learn's ``available_if``.

    That one's message names the method only.

    Parameters
    ----------
    method : function
    why_not : function
        From a model and the method's name to what the AttributeError says, or None.
    """

    def __init__(self, method: Callable[..., Any], why_not: Callable[[Any, str], str | None]) -> None:
        self.method, self.why_not = method, why_not

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        if model is None:
            return self.method
        words = self.why_not(model, self.method.__name__)
        if words is not None:
            raise AttributeError(f"{type(model).__name__} {words}")
        return MethodType(self.method, model)


def without_early_stopping(method: Callable[..., Any]) -> Any:
    """A method that is there unless ``early_stopping`` is set."""

    def why_not(model: Any, name: str) -> str | None:
        if not model.early_stopping:
            return None
        return (
            f"has no {name} with early_stopping=True: "
            "pieces of data leave nothing to hold out; set_params(early_stopping=False) brings it back"
        )

    return Conditional(method, why_not)
