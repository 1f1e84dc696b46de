"""Words of other libraries, and what to say here to the same end.

Who comes from Keras, PyTorch or scikit-learn gives arguments by the names that they have there, and asks
objects for what these have there. All such words stand in the tables below, by class or by method; slips of
the pen are found by likeness. Estimators have more of them, in `rewire.estimators._arguments`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from rewire._checks import unknown_argument

__all__ = ["ForeignAttributes", "HintedArguments", "hinted"]

P = ParamSpec("P")
T = TypeVar("T")

_LR = "it is called lr here"
_BETAS = "give both decay rates, betas=(0.9, 0.999)"
_CLIP = "clip_norm scales all gradients down together"
_SCHEDULE = "give schedule=rewire.Cosine(length=...) or rewire.Step(every=...)"
_SAMPLE_WEIGHT = (
    "give sample_weight, one number for each sample, or rewire.losses.CrossEntropy(class_weight=[...])"
)
_HELD_OUT = "hold samples out yourself and give validation_data=(X, y)"
_STOPPING = "give the Trainer callbacks=[rewire.EarlyStopping(patience)]"
_OF_TRAINER = "a rewire.Trainer has it"

# By class, or class and method: what stands there instead. Bases count for their subclasses.
ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "Optimizer": {
        "learning_rate": _LR,
        "learning_rate_init": _LR,
        "eta": _LR,
        "eta0": _LR,
        "params": "a Trainer knows the parameters",
        "beta_1": _BETAS,
        "beta_2": _BETAS,
        "beta1": _BETAS,
        "beta2": _BETAS,
        "epsilon": "it is called eps here",
        "nesterovs_momentum": "give momentum and nesterov=True",
        "clipnorm": _CLIP,
        "global_clipnorm": _CLIP,
        "clipvalue": _CLIP,
        "max_grad_norm": _CLIP,
        "lr_scheduler": _SCHEDULE,
        "scheduler": _SCHEDULE,
        "learning_rate_schedule": _SCHEDULE,
        "alpha": "weight_decay is the L2 penalty",
        "l2": "weight_decay is the L2 penalty",
        "dampening": "there is none here",
        "amsgrad": "there is none here",
    },
    "EarlyStopping": {
        "restore_best_weights": "it is called restore_best here",
        "n_iter_no_change": "it is called patience here",
        "tol": "it is called min_delta here",
        "verbose": "fit has verbose",
        "baseline": "there is none here",
        "start_from_epoch": "there is none here; patience counts from the first epoch",
    },
    "Checkpoint": {
        "filepath": "it is called path here",
        "save_best_only": "give monitor, a column of the history",
        "save_freq": "it is called every here: rewire.rewiring.Epochs(n) or Steps(n)",
        "save_weights_only": "all of the trainer is saved; network.save saves the network alone",
    },
    "WeightLayer": {
        "units": "it is called n_out here",
        "out_features": "it is called n_out here",
        "output_dim": "it is called n_out here",
        "in_features": "it is called n_in here",
        "input_dim": "it is called n_in here",
        "input_shape": "it is called n_in here, a number",
        "use_bias": "it is called bias here",
        "kernel_initializer": "it is called init here",
        "sparsity": "give density, 1 - sparsity",
        "device": "rewire runs on the CPU",
        "kernel_regularizer": "weight_decay of the optimizer is the L2 penalty",
    },
    "Dropout": {"rate": "it is called p here"},
    "Rule": {
        "zeta": "it is called fraction here",
        "alpha": "it is called fraction here",
        "drop_fraction": "it is called fraction here",
        "prune_rate": "it is called fraction here",
        "death_rate": "it is called fraction here",
        "delta": "it is called every here",
        "delta_t": "it is called every here",
        "update_freq": "it is called every here",
        "update_frequency": "it is called every here",
        "t_end": "it is called end here",
    },
    "CrossEntropy": {
        "weight": "it is called class_weight here",
        "weights": "it is called class_weight here",
        "from_logits": "a final layer that is linear gives logits, one that is softmax probabilities",
        "reduction": "the loss is the mean over samples",
    },
    "Huber": {"beta": "it is called delta here", "epsilon": "it is called delta here"},
    "Sequential.compile": dict.fromkeys(
        ("optimizer", "loss", "metrics"),
        "this compiles a network for predictions; a rewire.Trainer takes loss and optimizer",
    ),
    "Trainer": {
        "device": "rewire runs on the CPU; threads is how many of its cores",
        "model": "it is called network here",
        "criterion": "it is called loss here",
        "n_jobs": "it is called threads here",
        "random_state": "it is called seed here",
        "lr": "give it to the optimizer, optimizer=rewire.SGD(lr)",
        "learning_rate": "give it to the optimizer, optimizer=rewire.SGD(lr)",
        "epochs": "give it to fit",
        "batch_size": "give it to fit",
        "verbose": "give it to fit",
        "normalize": "it is called standardize here",
        "rule": "it is called rewiring here",
        "early_stopping": _STOPPING,
        "class_weight": _SAMPLE_WEIGHT + ", as the loss",
    },
    "Trainer.fit": {
        "validation_split": _HELD_OUT,
        "validation_fraction": _HELD_OUT,
        "class_weight": _SAMPLE_WEIGHT,
        "callbacks": "give them to the Trainer",
        "early_stopping": _STOPPING,
        "n_epochs": "it is called epochs here",
        "max_iter": "it is called epochs here",
        "nb_epoch": "it is called epochs here",
        "x": "it is called X here",
        "lr": "give it to the Trainer's optimizer",
        "metrics": "give it to the Trainer",
        "initial_epoch": "fit goes on where the last call has ended",
        "n_jobs": "give the Trainer threads",
        "random_state": "give the Trainer a seed",
    },
    "BaseSparseMLP.fit": {
        "epochs": "give the constructor max_iter",
        "max_iter": "give it to the constructor",
        "batch_size": "give it to the constructor",
        "verbose": "give it to the constructor",
        "callbacks": "a rewire.Trainer takes callbacks",
        "validation_data": "early_stopping=True of the constructor holds some samples out",
        "validation_split": "give the constructor early_stopping=True and validation_fraction",
        "class_weight": "a classifier's constructor takes it",
        "weights": "it is called sample_weight here",
        "x": "it is called X here",
    },
}

# By class: what to do where arguments are missing, or there are too many.
MISSING: Mapping[str, str] = {
    "WeightLayer": 'a layer that is an object says both of its widths; in descriptions, {"type": "Sparse", '
    '"n_out": 10}, as estimators and rewire.compare take them, n_in follows from the layer before',
}

_CPU = dict.fromkeys(("to", "cuda", "cpu", "device"), "rewire runs on the CPU")
_EXPORT = dict.fromkeys(
    ("to_onnx", "export"),
    "files are rewire's own; elsewhere a network is made of store.to_csr() and bias of each layer of weights",
)

ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "Sequential": {
        "fit": f"{_OF_TRAINER}: Trainer(network, loss=...).fit(X, y)",
        "evaluate": f"{_OF_TRAINER}: Trainer(network, loss=...).evaluate(X, y)",
        "train_step": _OF_TRAINER,
        "count_params": "n_params is their number, nnz that of connections",
        "predict_proba": "predict gives probabilities where the last activation is softmax or sigmoid",
        "add": "layers are given as one list",
        **_EXPORT,
        **_CPU,
        "get_weights": "get_vector gives all values, parameters() each",
        "set_weights": "set_vector writes all values",
        "weights": "parameters() has them by name",
        "trainable_weights": "parameters() has them by name",
        "state_dict": "save and rewire.Sequential.load keep a network",
        "save_weights": "save keeps all",
        "load_weights": "rewire.Sequential.load reads what save has written",
        "train": "a rewire.Trainer trains; predict is never in training mode",
        "eval": "predict is never in training mode",
    },
    "Trainer": {
        "predict": "trainer.network.predict(X) gives outputs",
        "model": "it is called network here",
        "score": "evaluate gives loss and metric",
        "compile": "the constructor takes all",
        "summary": "print(trainer.network)",
        "partial_fit": "every call of fit goes on: fit(X, y, epochs=1)",
        "train": "fit trains",
        "train_on_batch": "it is called train_step here",
    },
    "Fitted": {
        "save": "pickle or joblib.dump keeps it whole, network_.save the network alone",
        "coef_": "coefs_ has the weights of every layer",
        "intercept_": "intercepts_ has the biases of every layer",
        "loss_history_": "it is called loss_curve_ here",
        "summary": "print(network_)",
        **_EXPORT,
        **_CPU,
    },
    "Dataset": {
        "X_train": "it is called X here",
        "y_train": "it is called y here",
        "data": "it is called X here",
        "target": "it is called y here",
        "target_names": "it is called classes here",
    },
    "History": {
        "history": 'history["loss"] is a column, history.columns has their names',
        "epoch": "rows are history.epochs",
    },
}


def _words(table: Mapping[str, Mapping[str, str]], kind: type, suffix: str = "") -> dict[str, str]:
    """What a table says of a class: of itself, and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        found |= table.get(base.__name__ + suffix, {})
    return found


@functools.lru_cache(maxsize=256)
def _signature(kind: Any) -> inspect.Signature | None:
    """What a constructor takes; None if it takes any name, or if nobody knows."""
    try:
        found = inspect.signature(kind)
    except (TypeError, ValueError):
        return None
    return None if any(p.kind is p.VAR_KEYWORD for p in found.parameters.values()) else found


class HintedArguments:
    """Says what to give instead when the constructor gets an argument that it does not know.

    In ``__new__``, so that constructors stay as they are. Nothing is looked at where nothing is given: so
    copies and pickles make their objects.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        kind: Any = cls
        if (args or kwargs) and (signature := _signature(kind)) is not None:
            for name in kwargs:
                if name not in signature.parameters:
                    known = signature.parameters
                    raise unknown_argument(cls.__name__, name, known, _words(ARGUMENTS, cls))
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{cls.__name__}: {error}: {cls._takes(signature)}") from None
        return super().__new__(cls)

    # What a class without a constructor of its own takes: nothing.
    __new__.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter("cls", inspect.Parameter.POSITIONAL_ONLY)]
    )

    @classmethod
    def _takes(cls, signature: inspect.Signature) -> str:
        """What a message says that is to be given."""
        plain = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
        also = next((f"; {MISSING[base.__name__]}" for base in cls.__mro__ if base.__name__ in MISSING), "")
        return f"it is {cls.__name__}{inspect.Signature(plain)}{also}"


def hinted(method: Callable[P, T]) -> Callable[P, T]:
    """A method that says what to give instead when it gets an argument that it does not know."""
    known = list(inspect.signature(method).parameters)[1:]
    among = frozenset(known)
    owner, _, name = method.__qualname__.rpartition(".")

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if not among.issuperset(kwargs):
            word = next(word for word in kwargs if word not in among)
            public = type(args[0]).__name__ if args else owner
            raise unknown_argument(f"{public}.{name}", word, known, ARGUMENTS.get(method.__qualname__, {}))
        return method(*args, **kwargs)

    return call


class ForeignAttributes:
    """Says what to ask for instead when an object is asked for what it has in other libraries."""

    if not TYPE_CHECKING:  # else no attribute would be unknown to a type checker

        def __getattr__(self, name: str) -> Any:
            hint = _words(ATTRIBUTES, type(self)).get(name)
            if hint is None:
                return object.__getattribute__(self, name)  # which says what there is to say
            raise AttributeError(f"{type(self).__name__} has no {name!r}: {hint}", name=name, obj=self)
