"""What both estimators share: parameters, building, fitting, fitted attributes.

An estimator is a thin coat over a :class:`~rewire.Trainer`. ``fit`` turns
parameters into objects, the trainer does the work and is kept as ``trainer_``;
everything else that is fitted is read off it, so that nothing is kept twice.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin, is_regressor
from sklearn.utils.validation import validate_data

from rewire import _checks
from rewire._foreign import hinted
from rewire._inputs import Source, as_source, numbers_of
from rewire._moments import quiet
from rewire._precision import DTYPES, KEPT
from rewire._snapshot import KEPT_BYTES, AttributesUndone
from rewire._strategies import WASSP, Strategy, trainings_of
from rewire._strategies import strategy as as_strategy
from rewire._warn import says_interrupted
from rewire.activations import Activation
from rewire.callbacks import EarlyStopping, WeightAverage, weight_average
from rewire.connectivity import Connectivity
from rewire.estimators import _auto, _parameters, _parts
from rewire.estimators._auto import Amount
from rewire.estimators._fitted import Fitted
from rewire.estimators._naming import named_values
from rewire.estimators._network import new_network
from rewire.estimators._split import hold_out
from rewire.initializers import Initializer
from rewire.layers import Layer
from rewire.losses import Loss
from rewire.network import Sequential
from rewire.optim import Optimizer
from rewire.presets import Preset, preset
from rewire.rewiring import SET, Rule, rewiring
from rewire.streams.kinds import is_large, rows_of, stays_in_file
from rewire.trainer import Trainer
from rewire.workers.joining import processes_of

__all__ = ["BaseSparseMLP"]

BATCH = 128  # batch_size="auto"


class Checked(NamedTuple):
    """What came of an estimator's parameters in a call that went well: nothing has to be checked again."""

    values: list[Any]
    incremental: bool
    steps: int | None  # of an epoch, by which SET's schedule was chosen
    options: dict[str, Any]
    made: list[tuple[Any, dict[str, Any]]]  # the trainer's optimizer and rule, with their attributes

    @classmethod
    def of(
        cls, model: BaseSparseMLP, trainer: Trainer, amount: Amount, options: dict[str, Any]
    ) -> Checked | None:
        """None if a parameter is an object, which may change inside."""
        values = _parameters.values_of(model)
        if not all(map(_parameters.fixed, values)):
            return None
        made = [(thing, dict(vars(thing))) for thing in (trainer.optimizer, trainer.rewiring)]
        return cls(values, amount.steps is None, amount.steps, options, made)

    def holds(self, model: BaseSparseMLP, trainer: Trainer, incremental: bool) -> bool:
        """Whether all is as it was."""
        there = (trainer.optimizer, trainer.rewiring)
        return (
            incremental == self.incremental
            and all(map(operator.is_, _parameters.values_of(model), self.values))
            and all(
                thing is made and vars(thing) == kept
                for thing, (made, kept) in zip(there, self.made, strict=True)
            )
            and (trainer.horizon, trainer.threads) == (model.horizon, model.n_jobs)
            and (model.shards is None or trainer.shards == model.shards)
        )

    def set_decay(self, decay: float) -> None:
        """Another weight decay of the trainer's optimizer, which depends on how many rows there are."""
        optimizer, kept = self.made[0]
        optimizer.weight_decay = kept["weight_decay"] = decay


class AtEnd:
    """A callback that acts at the end of ``fit``, where Ctrl-C waits; ``done`` says whether it has."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act, self.done = act, False

    def on_fit_end(self, state: Any) -> None:
        """Act."""
        self.act()
        self.done = True


class BaseSparseMLP(Fitted):
    """Base of both estimators. A subclass encodes targets and decodes outputs."""

    _checked: Checked | None = None
    _input_size: float  # of the first call
    _built_from: dict[str, Any] | None = None  # of the network; None where parameters are objects

    n_iter_: int
    t_: int
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    best_loss_: float | None

    def __init__(
        self,
        hidden_layer_sizes: int | tuple[int, ...] = (1000, 1000),
        activation: str | Activation = "all-relu",
        *,
        layers: Sequence[Any] | Callable[[int, int], Sequence[Layer]] | None = None,
        epsilon: float = 20.0,
        density: float | None = None,
        links: int | None = None,
        distribution: str = "erk",
        group: int = 1,
        init: str | float | Initializer = "he",
        bias_init: str | float | Initializer = "fan-in",
        connectivity: str | dict[str, Any] | Connectivity = "random",
        rewiring: str | dict[str, Any] | Rule | None = "set",
        drop_fraction: float = 0.3,
        optimizer: str | Optimizer = "adam",
        learning_rate_init: float | str = "auto",
        momentum: float = 0.9,
        weight_decay: float | str = "auto",
        dropout: float = 0.0,
        loss: str | dict[str, Any] | Loss = "auto",
        average: str | dict[str, Any] | WeightAverage | None = None,
        batch_size: int | str = "auto",
        max_iter: int | str = "auto",
        horizon: int | None = None,
        shuffle: bool = True,
        tol: float = 1e-4,
        n_iter_no_change: int | float | str | None = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        standardize: bool | str = True,
        warm_start: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        shards: int | None = None,
        workers: int | None = None,
        strategy: Strategy | None = None,
        verbose: bool | int = False,
        dtype: str = "float32",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.layers = layers
        self.epsilon = epsilon
        self.density = density
        self.links = links
        self.distribution = distribution
        self.group = group
        self.init = init
        self.bias_init = bias_init
        self.connectivity = connectivity
        self.rewiring = rewiring
        self.drop_fraction = drop_fraction
        self.optimizer = optimizer
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.loss = loss
        self.average = average
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.horizon = horizon
        self.shuffle = shuffle
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.standardize = standardize
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.shards = shards
        self.workers = workers
        self.strategy = strategy
        self.verbose = verbose
        self.dtype = dtype

    @classmethod
    def from_preset(cls, name: str | Preset, **parameters: Any) -> Self:
        """An estimator with the hyperparameters of a preset.

        Parameters
        ----------
        name : {"default", "set-2018", "tsnn-2021"} or Preset
            The last two are published settings, which suit some 500 epochs.
        **parameters
            Further parameters of the estimator, which go before the preset's.

        Returns
        -------
        estimator
            Not fitted. ``get_params`` shows every value.
        """
        # These go into the preset's optimizer and rewiring, beside which the estimator's own are unused.
        same = ("momentum", "weight_decay", "drop_fraction")
        ours = {"learning_rate_init": "lr"} | {key: key for key in same}
        given = {ours[key]: value for key, value in parameters.items() if key in ours and value != "auto"}
        p = preset(name).replace(**given)
        epochs = _auto.epochs(parameters.get("max_iter", "auto"), None)
        options: dict[str, Any] = {
            "activation": p.hidden,
            "epsilon": cls().epsilon if p.epsilon is None else p.epsilon,
            "density": p.density,
            "links": p.links,
            "distribution": p.distribution,
            "group": p.group,
            "init": p.init,
            "bias_init": "zeros",
            "rewiring": p.rewiring(),
            "drop_fraction": p.drop_fraction,
            "optimizer": p.optimizer(epochs=epochs),
            "dropout": p.dropout,
            "batch_size": p.batch_size,
            "max_iter": epochs,
        }
        return cls(**{**options, **parameters})

    # --- for subclasses ------------------------------------------------------------

    def _encode(
        self, y: Any, first: bool, weight: Any, classes: Any, stream: bool
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Targets for the trainer, and the attributes that describe them (``n_outputs_`` among them).

        ``stream``: these are a piece of one, not a set of their own.
        """
        raise NotImplementedError

    def _weigh_classes(
        self, targets: NDArray[Any], weight: NDArray[np.float64] | None, fitted: dict[str, Any], some: bool
    ) -> NDArray[np.float64] | None:
        """How much samples count where they do by their class, too.

        ``some``: these may be a piece of a stream in which nothing counts.
        """
        return weight

    def _output(self, fitted: dict[str, Any]) -> tuple[str, str, str]:
        """scikit-learn's name of the final activation, ours, and the name of the loss that is "auto"."""
        raise NotImplementedError

    def _fitting(self, usual: str) -> str:
        """In words, which losses there are."""
        raise NotImplementedError

    def _check_loss(self, loss: Loss, usual: str) -> None:
        """ValueError if predictions would make no sense."""

    def _stratify(self, targets: NDArray[Any]) -> NDArray[Any] | None:
        """What a validation split keeps the proportions of."""
        return None

    # --- fit ----------------------------------------------------------------------------

    @hinted
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train a new network, or with ``warm_start`` the one there is.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Real and finite.
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            Classes of any kind or 0-1 indicators of labels; of a regressor real and finite.
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
            When a value is no longer finite.
        RuntimeError
            While another thread predicts or fits.

        Warns
        -----
        DensityWarning
            When no hidden layer is sparse, or one has no connections.

        Notes
        -----
        Whatever raises leaves the estimator as it was, fitted or not; with ``warm_start`` its network too, if
        that takes at most 256 MiB with the optimizer's state (see :meth:`rewire.Trainer.fit`). Only what
        Ctrl-C ends is kept.
        """
        return self._fit(X, y, sample_weight)

    @quiet()
    def _fit(
        self, X: Any, y: Any, sample_weight: Any, *, incremental: bool = False, classes: Any = None
    ) -> Self:
        with _parameters.DrawsUndone(self.random_state):
            interrupted = self._fit_or_nothing(X, y, sample_weight, incremental, classes)
        if interrupted:
            _parts.tell_interrupted(self, "fit", f"{self.n_iter_} epochs")
        return self

    def _fit_or_nothing(self, X: Any, y: Any, sample_weight: Any, incremental: bool, classes: Any) -> bool:
        """Whether it was interrupted; whatever raises leaves the estimator as it was."""
        going_on = hasattr(self, "trainer_") and (incremental or self.warm_start)
        known = self._known(incremental) if going_on else None
        options = self._fit_options(incremental) if known is None else dict(known.options)
        gate: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if hasattr(self, "trainer_") and not going_on:
            # A new network is trained, but the old one is still what other threads predict with.
            gate = self.trainer_.network.gate.writing("fit")
        with gate, AttributesUndone(*() if going_on else (self,)):
            X, y = self._validate_X_y(X, y, reset=not going_on)
            own = _parameters.sample_weight(sample_weight, X.shape[0], some=not (incremental and going_on))
            targets, fitted = self._encode(y, not going_on, own, classes, incremental)
            begin = fitted.pop("_begin", None)
            weight = self._weigh_classes(targets, own, fitted, incremental and going_on)
            if weight is not None and not weight.any():
                return False  # a piece of a stream in which nothing counts
            if weight is not None and not weight.all():
                # A sample without weight must leave no trace, in the batches neither.
                keep = np.flatnonzero(weight)
                X, targets, weight = X[keep] if incremental else rows_of(X, keep), targets[keep], weight[keep]
                own = None if own is None else own[keep]
            X, targets, weight, own, validation = self._split(X, targets, weight, own, incremental)
            if not is_large(targets):  # X itself, say
                # joblib makes maps of arrays, which must leave no trace in the order of samples.
                X = stays_in_file(X)
                if validation is not None:
                    validation = (stays_in_file(validation[0]), *validation[1:])
            if begin is not None and incremental:
                X = as_source(X, self.n_features_in_)  # checked and wrapped once, for both who look at it
                begin.see(X, targets, weight)
            elif begin is not None and begin.fraction.any():
                begin.see(as_source(X, self.n_features_in_), targets, weight)
            n_samples = X.n_samples if isinstance(X, Source) else X.shape[0]
            undone = not going_on or self.trainer_.network.nbytes <= KEPT_BYTES
            # Not what Ctrl-C ends: counters must stay those of the network and the history.
            things: tuple[Any, ...] = ()
            if going_on and undone:  # the optimizer too: its weight decay goes by how many rows there are
                things = self, self.trainer_, self.trainer_.state, self.trainer_.optimizer
            with AttributesUndone(*things, kept=(KeyboardInterrupt,)):
                size = self._input_size if going_on else _auto.size_of(X, self.standardize)
                outputs = (vars(self) if going_on else fitted)["n_outputs_"]
                amount = self._amount(targets, own, outputs, options, going_on, incremental)
                amount = amount._replace(size=size)
                fitted["_input_size"] = size
                if going_on:
                    trainer = self.trainer_
                    self._take_up(trainer, amount, known)
                else:
                    trainer = self._new_trainer(X, fitted, amount)
                metric = trainer.loss.metric(trainer.network.final)
                monitor = "val_loss" if metric is None else f"val_{metric.name}"
                if incremental and self.horizon is None:
                    # A call is an epoch of a run that is taken to have max_iter. A period that is longer says
                    # nothing, for a stream may go on for ever, unless fractions of the run end it.
                    trainer.state.run_end = max(trainer.state.run_end, _auto.epochs(self.max_iter, None))
                    if known is None:
                        parts = [rule for rule in trainer.rewiring.parts() if not rule.run_fractions()]
                        trainer.state.told = trainer.state.told | {("misfit", rule.name) for rule in parts}
                if known is None and self._chooses_period:
                    trainer.state.told = trainer.state.told | {("misfit", trainer.rewiring.name)}
                recorded = functools.partial(self._record, trainer, n_samples, going_on, monitor)
                checked = dict(options)
                if not incremental:
                    options["epochs"] = _auto.epochs(self.max_iter, amount.steps)
                    options["patience"] = _auto.patience(self.n_iter_no_change, amount.steps)

                def finish() -> None:
                    """Set all attributes at once, so that Ctrl-C leaves no half of them."""
                    if begin is not None and not begin.done:
                        fitted.clear()  # interrupted before the network was put into the new units
                    self.__dict__.update({**fitted, "trainer_": trainer, **recorded()})

                end = AtEnd(finish)
                try:
                    options |= {"begin": begin, "end": end}
                    interrupted = self._train(trainer, X, targets, weight, validation, monitor, options)
                except BaseException:
                    if begin is not None and begin.done and not undone:
                        self.__dict__.update(fitted)  # the network stays in the new units
                    raise
            if not end.done:  # interrupted before the first epoch
                finish()
            if known is None:
                self._checked = Checked.of(self, trainer, amount, checked)
        return interrupted

    def _train(
        self,
        trainer: Trainer,
        X: Any,
        targets: NDArray[Any],
        weight: NDArray[np.float64] | None,
        validation: tuple[Any, ...] | None,
        monitor: str,
        options: dict[str, Any],
    ) -> bool:
        """Run the trainer; whether it was interrupted."""
        patience, begin, end = (options.pop(name) for name in ("patience", "begin", "end"))
        if isinstance(options["strategy"], WASSP):
            if validation is not None:
                raise ValueError(
                    f"early_stopping must be False with strategy {options['strategy']!r}, whose last epochs "
                    "nobody sees before their end, got True"
                )
            patience = None  # likewise
        averages = trainer.callbacks  # nothing else stays between calls
        trainer.callbacks = [*averages] if begin is None else [*averages, begin]
        if patience is not None or validation is not None:
            trainer.callbacks += [
                EarlyStopping(
                    patience or options["epochs"],  # that many cannot be in vain: it never stops
                    monitor=monitor if validation is not None else "loss",
                    min_delta=float(self.tol),
                    restore_best=validation is not None,
                )
            ]
        trainer.callbacks += [end]
        try:
            with says_interrupted():
                trainer.fit(X, targets, sample_weight=weight, validation_data=validation, **options)
            return trainer.history.interrupted
        except KeyboardInterrupt:  # before the first epoch or after the last one
            trainer.history.interrupted = True
            return True
        except ArithmeticError as error:
            error.add_note(
                f"{type(self).__name__} has learning_rate_init={self.learning_rate_init!r} "
                f"and standardize={self.standardize!r}"
            )
            raise
        finally:
            trainer.callbacks = averages  # early stopping holds a copy of the best network

    def _record(self, trainer: Trainer, n_samples: int, going_on: bool, monitor: str) -> dict[str, Any]:
        """Attributes that say how training went."""
        rows, epochs_before = trainer.history.epochs, self.n_iter_ if going_on else 0
        # Not all rows again: a stream may bring a hundred thousand calls of an epoch each.
        losses = [row["loss"] for row in rows[epochs_before:]]
        found: dict[str, Any] = {
            "n_iter_": len(rows),
            "t_": (self.t_ if epochs_before else 0) + n_samples * len(losses),
            "loss_": rows[-1]["loss"] if rows else math.nan,
            "n_layers_": len(trainer.network.weight_layers) + 1,
        }
        scores = [row[monitor] for row in rows if monitor in row] if self.early_stopping else None
        if scores is not None and monitor == "val_loss":
            scores = [-score for score in scores]  # a score is better when larger
        found["validation_scores_"] = scores
        found["best_validation_score_"] = None if scores is None else max(scores, default=math.nan)
        known = self.best_loss_ if epochs_before else None
        since = [row["loss"] for row in rows] if known is None else [known, *losses]
        found["best_loss_"] = min(since, default=math.nan) if scores is None else None
        return found

    def _new_trainer(self, X: Any, fitted: dict[str, Any], amount: Amount) -> Trainer:
        hidden = _parameters.hidden_sizes(self.hidden_layer_sizes)
        fitted["_hidden_sizes"] = tuple(hidden)  # as asked for; neurons may go
        sizes = [X.shape[1], *hidden, fitted["n_outputs_"]]
        fitted["out_activation_"], final, usual = self._output(fitted)
        loss = _parameters.loss_of(self.loss, usual, self._fitting(usual))
        self._check_loss(loss, usual)
        fitted["_built_with"] = _parameters.built_with(self)
        fitted["_built_from"] = _parameters.plain_values(self)
        dtype = _checks.choice("dtype", self.dtype, (*DTYPES, "auto"))
        if dtype == "auto":
            dtype = "float64" if X.dtype == np.float64 else "float32"
        network = new_network(self, sizes, final, X, dtype)
        return Trainer(
            network,
            loss=loss,
            optimizer=self._make_optimizer(amount),
            rewiring=self._make_rewiring(amount),
            callbacks=self._make_average(),
            threads=self.n_jobs,
            standardize=_checks.standardizing("standardize", self.standardize),
            horizon=self.horizon,
            shards=self.shards,
        )

    def _known(self, incremental: bool) -> Checked | None:
        """What came of the parameters in the last call, if neither they nor that have changed since."""
        known = self._checked
        return known if known is not None and known.holds(self, self.trainer_, incremental) else None

    def _take_up(self, trainer: Trainer, amount: Amount, known: Checked | None) -> None:
        """Go on with a trainer, under parameters that may have changed."""
        incremental = amount.steps is None
        if known is not None and known.steps == amount.steps:
            if isinstance(self.optimizer, str):
                decay = _auto.decay(self.weight_decay, type(trainer.optimizer), amount)
                if decay is not None:
                    known.set_decay(decay)
            if incremental and trainer.state.unfinished is not None:
                with trainer.network.gate.writing("fit"):
                    trainer.state.unfinished = None  # other rows than those of the epoch that was interrupted
            return
        sizes = tuple(_parameters.hidden_sizes(self.hidden_layer_sizes))
        if sizes != self._hidden_sizes:
            raise ValueError(
                f"hidden_layer_sizes must stay {self._hidden_sizes} while the same network is trained on, "
                f"got {sizes}"
            )
        kept = getattr(self, "_built_with", {})  # an older version has kept none
        if self._built_from is None or self._built_from != _parameters.plain_values(self):
            for name, (words, now) in _parameters.built_with(self).items():
                was, before = kept.get(name, (words, now))
                if now != before and not (name == "dtype" and _has_dtype(trainer.network, now)):
                    raise ValueError(
                        f"{name} must stay {was} while the same network is trained on, got {words}"
                    )
        if self.random_state is not None:
            _parameters.seed(copy.deepcopy(self.random_state))  # another one may choose what is held out
        new, rule, averages = self._make_optimizer(amount), self._make_rewiring(amount), self._make_average()
        kept = [one for one in trainer.callbacks if isinstance(one, WeightAverage)]
        with trainer.network.gate.writing("fit"):
            trainer.horizon = self.horizon  # the first, for it may be refused
            if self.shards is not None:  # else it stays what it is, of workers there were before, say
                trainer.shards = self.shards
            trainer.optimizer, trainer.rewiring, trainer.threads = new, rule, self.n_jobs
            trainer.callbacks = kept if _parameters.alike(kept, averages) else averages
            if incremental:
                trainer.state.unfinished = None  # other rows than those of the epoch that was interrupted

    # --- parameters -----------------------------------------------------------------------

    def _amount(
        self,
        targets: NDArray[Any],
        weight: NDArray[np.float64] | None,
        outputs: int,
        options: dict[str, Any],
        going_on: bool,
        incremental: bool,
    ) -> Amount:
        """How much there is to learn from: in a stream all calls, of which the same set again counts once."""
        rows = _auto.counted(targets.shape[0], weight)  # they may be sparse
        if going_on:
            standardizer = self.trainer_.network.standardizer
            if standardizer is not None and standardizer.moments is not None:
                rows = max(rows, standardizer.moments.rows)
            elif incremental:
                rows = max(rows, self.t_)
        each = 1 if targets.ndim == 1 else targets.shape[1]
        kinds = outputs if targets.ndim == 1 else 1 if isinstance(self, RegressorMixin) else 2
        precision = _auto.precision(self.n_features_in_, kinds)
        if incremental:
            return Amount(rows * each, None, precision)
        _, processes = processes_of(options["workers"])
        batch = options["batch_size"] * trainings_of(options["strategy"], processes)
        return Amount(rows * each, -(-targets.shape[0] // batch), precision)

    def _fit_options(self, incremental: bool) -> dict[str, Any]:
        """Checked arguments of ``Trainer.fit``, and the patience."""
        for name in ("early_stopping", "warm_start"):
            _checks.boolean(name, getattr(self, name))
        _auto.epochs(self.max_iter, None)
        _auto.patience(self.n_iter_no_change, None)
        if isinstance(self.batch_size, str):
            _checks.refuse_word("batch_size", self.batch_size, "an integer >= 1")
        else:
            _checks.integer("batch_size", self.batch_size, low=1)
        _checks.number("tol", self.tol, low=0.0)
        _parameters.n_jobs(self.n_jobs)
        return {
            "epochs": 1 if incremental else _auto.epochs(self.max_iter, None),
            "batch_size": BATCH if self.batch_size == "auto" else self.batch_size,
            "shuffle": _checks.boolean("shuffle", self.shuffle),
            "verbose": _parts.verbosity(self),
            "workers": None if self.workers is None else _checks.integer("workers", self.workers, low=1),
            "strategy": as_strategy(self.strategy),
            "patience": None,
        }

    def _make_optimizer(self, amount: Amount) -> Optimizer:
        what = self.optimizer
        if isinstance(what, Optimizer):
            return copy.deepcopy(what)
        kind = _auto.kind(what)
        decay = _auto.decay(self.weight_decay, kind, amount)
        return _auto.make(kind, self.learning_rate_init, self.momentum, decay)

    @property
    def _chooses_period(self) -> bool:
        """Whether the rule's period is chosen here; a run that is too short for it needs no warning then."""
        return isinstance(self.rewiring, str) and self.rewiring == "set"

    def _make_rewiring(self, amount: Amount) -> Rule:
        fraction = _checks.number("drop_fraction", self.drop_fraction, low=0.0, high=1.0)
        rule = SET(fraction, every=_auto.period(amount)) if self._chooses_period else rewiring(self.rewiring)
        if amount.steps is None and rule.last_epoch == "remove":
            # No call of partial_fit is known to be the last; removal in every call would eat the network.
            rule = copy.copy(rule)
            rule.last_epoch = "skip"
        return rule

    def _make_average(self) -> list[Any]:
        found = weight_average(copy.deepcopy(self.average))
        return [] if found is None else [found]

    # --- data ---------------------------------------------------------------------------------

    def _validate_X_y(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        if not reset and _parameters.passes(self, X, y):
            return X, y
        # No dtype asked for: what is real is packed batch by batch, so that uint8 stays what it is.
        _checks.refuse_iterables("y", y, "(samples,)")
        numbers = {"X": X}
        if is_regressor(self):
            _checks.refuse_sparse("y", y, "y.toarray() is dense")
            numbers["y"] = y
        with named_values(**numbers):
            X, y = validate_data(
                self,
                _parameters.features(X),
                _checks.detached(y, "y"),
                reset=reset,
                accept_sparse="csr",
                dtype="numeric",
                multi_output=True,
                y_numeric=is_regressor(self),
                ensure_all_finite=not is_large(X),  # else it is looked at when it is learnt from
            )
            # Columns of categories come through as objects.
            return numbers_of(X, "X") if X.dtype == object else X, y

    def _split(
        self,
        X: Any,
        targets: NDArray[Any],
        weight: NDArray[np.float64] | None,
        own: NDArray[np.float64] | None,
        incremental: bool,
    ) -> tuple[
        Any, NDArray[Any], NDArray[np.float64] | None, NDArray[np.float64] | None, tuple[Any, ...] | None
    ]:
        """Training data, and with early stopping (X, targets, weight) to validate on.

        ``own`` are the weights of samples without those of their classes.
        """
        if not self.early_stopping:
            return X, targets, weight, own, None
        fraction = _checks.number(
            "validation_fraction", self.validation_fraction, low=0.0, high=1.0, open_low=True, open_high=True
        )
        # Not from random_state itself: one that is consumed would give the network another seed.
        seed = _parameters.seed(copy.deepcopy(self.random_state))
        numbers = targets if is_regressor(self) else None
        train, held = hold_out(X.shape[0], fraction, seed, self._stratify(targets), numbers)
        pieces = [None if weight is None else weight[rows] for rows in (train, held)]
        parts = [X[rows] if incremental else rows_of(X, rows) for rows in (train, held)]
        validation = parts[1], targets[held], pieces[1]
        return parts[0], targets[train], pieces[0], None if own is None else own[train], validation

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_checked"}  # it is of these objects

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _has_dtype(network: Sequential, asked: Any) -> bool:
    """Whether a network is of the dtype that a parameter asks for; "auto" never asks for bfloat16."""
    return bool(asked == network.dtype or (asked == "auto" and network.dtype in KEPT))
