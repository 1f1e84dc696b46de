"""The sparse denoising autoencoder, whose input neurons tell which features matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from rewire import _checks
from rewire._checks import describe
from rewire._inputs import DenseSource, Source, as_source
from rewire._moments import Moments, quiet
from rewire._precision import DTYPES
from rewire._snapshot import KEPT_BYTES, AttributesUndone
from rewire._targets import refuse_where
from rewire._warn import says_interrupted
from rewire.activations import Activation, activation
from rewire.estimators import _auto, _parameters, _parts
from rewire.estimators._arguments import Arguments
from rewire.initializers import Initializer
from rewire.layers import Dropout, Layer, Pass, Sparse
from rewire.layers.row import forward_through
from rewire.losses.values import LARGEST_TARGET
from rewire.network import Sequential
from rewire.optim import SGD, Optimizer
from rewire.rewiring import SET, Epochs, Rule
from rewire.standardizer import Standardizer
from rewire.trainer import Trainer
from rewire.units import Unit

__all__ = ["SparseDenoisingAutoencoder"]

ROWS = 1024  # samples that transform computes together
RANGE = "lie within {most}, or be standardised (standardize=True)"  # what samples must do
SCALE = 0.1  # standard deviation of initial weights


class SparseDenoisingAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Arguments):
    """Autoencoder with one hidden layer, sparse while it trains, that takes noise out of its inputs.

    Features get noise, and the network learns what they were without it. Where links are rewired, they gather
    at the inputs that help to reconstruct others: the sum of |w| over the links of an input, its strength,
    ranks the features, times the deviation that the input has in the network. That is 1, or less for features
    that standardising leaves small, and 0 for constant ones: what hardly varies has hardly a gradient, and
    keeps its first links and weights. :class:`~rewire.QuickSelection` selects by it.

    Parameters
    ----------
    n_components : int
        Hidden neurons.
    activation : str or Activation
        Of these; outputs are linear. Those that are layers, such as ``"srelu"``, ``"k-winners"`` and
        ``"two-sided"``, go by name or as :mod:`rewire.units`.
    epsilon, density : float, optional
        How many links each of the two layers has: see :class:`~rewire.Sparse`. Give density instead of
        epsilon, not beside it: where both are given density counts.
    group : {1, 2, 4, 8}
        Neighbouring neurons that share one list of inputs.
    init : "auto", str, float or Initializer
        Initial weights; auto is ``Normal(0.1)``, as published.
    rewiring : str, dict, Rule or None
        By name, or an object; None keeps the first links. ``"set"`` is SET after every epoch, which gives new
        links weights as ``init`` does. Rules that grow links by their gradients, such as RigL, have chosen
        noise in trials.
    drop_fraction : float in [0, 1]
        SET's zeta, where it is given by its name.
    noise : float >= 0
        Standard deviation of the Gaussian noise, in standard deviations of each feature. It is drawn once.
    dropout : float in [0, 1)
        Of hidden neurons.
    learning_rate_init : float > 0
        Of SGD, for the squared error summed over features and halved: rates of papers are of that loss.
        The trainer's mean squared error is a mean over features, and its rate ``n_features / 2`` times this.
    momentum : float in [0, 1)
    weight_decay : float >= 0
        w -= weight_decay * w in every step, whatever the learning rate is.
    optimizer : Optimizer, optional
        Instead of SGD with the three parameters above; its rate is that of a mean squared error.
    batch_size, max_iter : int
        Samples a step, and epochs.
    horizon : int, optional
        Epochs that a whole run takes, where a call of ``partial_fit`` is one as well: what fractions of the
        run, such as ``end=0.75`` of ``rewiring="rigl"``, count by. By default ``max_iter``.
    standardize : bool or "scale"
        Bring features to mean 0 and deviation 1, or less where a value would be further than 5 from 0; with
        ``"scale"`` without subtracting the mean. Without it strengths depend on units.
    random_state : int, RandomState, Generator, SeedSequence or None
        Of links, weights, noise, and the order of samples.
    n_jobs : int, optional
        Threads; results do not depend on it.
    verbose : {0, 1, 2}
        Silent, a line an epoch, a bar.
    dtype : {"float32", "float64", "bfloat16"}
        As of a :class:`SparseMLPClassifier`.

    Attributes
    ----------
    strengths_ : ndarray of float64, shape (n_features,)
        Sum of |w| over the links that leave each input, times the deviation of ``(X - mean_) / scale_``.
    feature_importances_ : ndarray of float64, shape (n_features,)
        The same, with a sum of 1: what scikit-learn's ``SelectFromModel`` and ``RFE`` ask for.
    components_ : csr_array, shape (n_components, n_features)
        Weights of the hidden neurons, made anew at every access.
    mean_, scale_ : ndarray of float64, shape (n_features,)
        The network works on ``(X - mean_) / scale_``.
    loss_curve_ : list of float
        Mean squared error over training batches, by epoch.
    n_iter_ : int
    nnz_, density_ : int, float
        Connections, and what part they are of a dense network's.
    network_, trainer_ : Sequential, Trainer
        ``network_`` reconstructs standardised features.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Notes
    -----
    Defaults are those of Atashgahi et al., *Quick and Robust Feature Selection: the Strength of
    Energy-efficient Sparse Training for Autoencoders*, Machine Learning 111 (2022), but for two things: there
    is no dropout (0.2 there), and biases do not decay. Denoising autoencoders: Vincent et al., ICML 2008.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from rewire import SparseDenoisingAutoencoder
    >>> X, _ = load_digits(return_X_y=True)
    >>> coder = SparseDenoisingAutoencoder(100, epsilon=10, max_iter=20, random_state=0).fit(X)
    >>> coder.transform(X).shape, coder.score(X) > 0.5
    ((1797, 100), True)
    """

    trainer_: Trainer
    _own_sgd: bool
    _units_of: Standardizer
    _moments: Moments  # of all samples so far
    n_features_in_: int

    def __init__(
        self,
        n_components: int = 1000,
        activation: str | Activation = "sigmoid",
        *,
        epsilon: float = 13.0,
        density: float | None = None,
        group: int = 1,
        init: str | float | Initializer = "auto",
        rewiring: str | dict[str, Any] | Rule | None = "set",
        drop_fraction: float = 0.2,
        noise: float = 0.2,
        dropout: float = 0.0,
        learning_rate_init: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 1e-5,
        optimizer: Optimizer | None = None,
        batch_size: int = 100,
        max_iter: int = 100,
        horizon: int | None = None,
        standardize: bool | str = True,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool | int = False,
        dtype: str = "float32",
    ) -> None:
        self.n_components = n_components
        self.activation = activation
        self.epsilon = epsilon
        self.density = density
        self.group = group
        self.init = init
        self.rewiring = rewiring
        self.drop_fraction = drop_fraction
        self.noise = noise
        self.dropout = dropout
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.horizon = horizon
        self.standardize = standardize
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.dtype = dtype

    # --- fit ----------------------------------------------------------------------------

    @quiet()
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train a new network to take noise out of these samples.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Real and finite; two samples or more. Sparse ones are made dense, once as a whole.
        y : object
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For wrong data or parameters; the argument is named.
        DivergenceError
            When a value is no longer finite.

        Warns
        -----
        DensityWarning
            When the first layer is not sparse, or has no connections.

        Notes
        -----
        Whatever raises leaves the estimator as it was. What Ctrl-C ends after an epoch is kept, with a
        warning.
        """
        with _parameters.DrawsUndone(self.random_state), AttributesUndone(self):
            X = _parts.dense(_parts.samples(self, X, reset=True, least=2))
            trainer, by = self._new_trainer(X.shape[1], stream=False), self._units(X)
            trainer.horizon = self.horizon
            moments = DenseSource(X).moments(None)
            self._learn(trainer, by, moments, X, _checks.integer("max_iter", self.max_iter, low=1))
        if self.trainer_.history.interrupted:
            _parts.tell_interrupted(self, "fit", f"{self.n_iter_} epochs")
        return self

    @quiet()
    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Learn from some samples, once.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Real and finite.
        y : object
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError, DivergenceError
            As for :meth:`fit`. Whatever raises leaves the estimator as it was, but for Ctrl-C, which keeps
            the steps that were made; a network of more than 256 MiB is not copied, and keeps them too.

        Notes
        -----
        The first call builds the network, and takes the units of features, ``mean_`` and ``scale_``, from its
        samples, of which there must be two or more. They stay: begin with samples that are like the others,
        or standardise them yourself (``standardize=False``). Every call draws noise of its own, and counts as
        an epoch of the rewiring rule; ``"set"`` acts after every 100 steps. Rules that count by a fraction of
        the run take ``horizon`` calls for it, or ``max_iter``. After the first call, ``noise``,
        ``learning_rate_init``, ``momentum`` and ``weight_decay`` (of the SGD that the network was built
        with, if it was), ``batch_size``, ``max_iter``, ``horizon``, ``n_jobs`` and ``verbose`` may be
        changed; other parameters say nothing then.
        """
        first = not hasattr(self, "trainer_")
        things: list[Any] = [self]
        if not first and self.network_.nbytes <= KEPT_BYTES:
            things += [self.trainer_, self.trainer_.state, self.trainer_.optimizer]
        kept = () if first else (KeyboardInterrupt,)
        with _parameters.DrawsUndone(self.random_state), AttributesUndone(*things, kept=kept):
            X = _parts.dense(_parts.samples(self, X, reset=first, least=2 if first else 1))
            if first:
                trainer, by = self._new_trainer(X.shape[1], stream=True), self._units(X)
            else:
                trainer, by = self.trainer_, self._units_of
                self._take_up(trainer)
            name = "max_iter" if self.horizon is None else "horizon"
            trainer.horizon = max(_checks.integer(name, getattr(self, name), low=1), trainer.epoch + 1)
            # A stream may go on for ever: that no period ends before `max_iter` calls says nothing, unless
            # fractions of the run end it.
            own = _parts.chooses_set(self)
            for rule in trainer.rewiring.parts():
                if own or (self.horizon is None and not rule.run_fractions()):
                    trainer.state.told = trainer.state.told | {("misfit", rule.name)}
            found = DenseSource(X).moments(None)
            self._learn(trainer, by, found if first else self._moments.merged(found), X, 1)
        if self.trainer_.history.interrupted:
            _parts.tell_interrupted(self, "partial_fit", f"{self.n_iter_} epochs")
        return self

    def _learn(
        self, trainer: Trainer, by: Standardizer, moments: Moments, X: NDArray[Any], epochs: int
    ) -> None:
        """Some epochs on these samples; what is learnt becomes the estimator's.

        ``moments`` are those of all samples so far.
        """
        options: dict[str, Any] = {
            "batch_size": _checks.integer("batch_size", self.batch_size, low=1),
            "verbose": _parts.verbosity(self),
        }
        clean, dtype = by.apply(X.astype(np.float64)), trainer.network.dtype
        most = LARGEST_TARGET[dtype]
        expected = RANGE.format(most=f"{most:.2g} in {dtype}")
        refuse_where(np.abs(clean) > most, X, "X", expected)
        clean = clean.astype(trainer.network.variable_dtype)
        noise = _checks.number("noise", self.noise, low=0.0)
        noisy = clean if noise == 0.0 else _with_noise(clean, noise, _noise_of(trainer))
        try:
            with says_interrupted():
                trainer.fit(noisy, clean, epochs=epochs, **options)
        except ArithmeticError as error:
            error.add_note(
                f"{type(self).__name__} has learning_rate_init={self.learning_rate_init!r} and "
                f"standardize={self.standardize!r}"
            )
            raise
        self.__dict__.update(
            trainer_=trainer, mean_=by.mean, scale_=1.0 / by.scale, _units_of=by, _moments=moments
        )

    def _new_trainer(self, n_features: int, *, stream: bool) -> Trainer:
        """A trainer of a new network."""
        hidden, dtype = _parts.units(self, DTYPES)
        kind, init = activation(self.activation), _parts.initial_weights(self, SCALE)
        if type(kind).body is not Activation.body:
            raise ValueError(
                f"activation must be one of hidden neurons that have links, got {describe(self.activation)}, "
                "which stands for whole layers"
            )
        links: dict[str, Any] = {
            "init": init, "group": _checks.choice("group", self.group, (1, 2, 4, 8)),
        }  # fmt: skip
        if self.density is None:
            links["epsilon"] = _checks.number("epsilon", self.epsilon, low=0.0, open_low=True)
        else:
            links["density"] = _checks.number("density", self.density, low=0.0, high=1.0, open_low=True)
        dropout = _checks.number("dropout", self.dropout, low=0.0, high=1.0, open_high=True)
        n_jobs, unit = _parameters.n_jobs(self.n_jobs), kind.layer() if isinstance(kind, Unit) else None
        layers: list[Layer] = [
            Sparse(n_features, hidden, activation=kind if unit is None else "linear", **links)
        ]
        if unit is not None:
            layers.append(unit)
        if dropout:
            layers.append(Dropout(dropout))
        layers.append(Sparse(hidden * kind.outputs_a_neuron, n_features, activation="linear", **links))
        optimizer, rule = self._new_optimizer(n_features), self._new_rule(stream)
        network = Sequential(layers, seed=_parameters.seed(self.random_state), dtype=dtype)
        self._own_sgd = self.optimizer is None
        return Trainer(network, loss="mse", optimizer=optimizer, rewiring=rule, threads=n_jobs)

    def _take_up(self, trainer: Trainer) -> None:
        """Go on with a trainer, under parameters that may have changed."""
        n_jobs = _parameters.n_jobs(self.n_jobs)
        with trainer.network.gate.writing("partial_fit"):
            if self._own_sgd and isinstance(trainer.optimizer, SGD):
                _parts.set_rates(self, trainer.optimizer, *self._rate(self.n_features_in_))
            if _parts.chooses_set(self) and isinstance(trainer.rewiring, SET):
                trainer.rewiring = self._new_rule(stream=True)  # `fit` has another period
            trainer.threads = n_jobs
            trainer.state.unfinished = None  # of a call that Ctrl-C has ended

    def _rate(self, n_features: int) -> tuple[str, float]:
        """The learning rate's name, and what SGD has it times."""
        return "learning_rate_init", n_features / 2.0

    def _new_optimizer(self, n_features: int) -> Optimizer:
        # A mean over features has gradients 2 / n_features times those of half their sum.
        return _parts.own_sgd(self, *self._rate(n_features), decay="per_step")

    def _new_rule(self, stream: bool) -> Rule:
        every = _auto.period(_auto.Amount(0, None)) if stream else Epochs(1)
        return _parts.rule(self, _parts.initial_weights(self, SCALE), every)

    def _units(self, X: NDArray[Any]) -> Standardizer:
        """What brings features to mean 0 and deviation 1, or leaves them as they are."""
        by = _checks.standardizing("standardize", self.standardize)
        if not by:
            return Standardizer(np.zeros(X.shape[1]), np.ones(X.shape[1]))
        return Standardizer.fit(DenseSource(X), center=by != "scale")

    # --- there and back ---------------------------------------------------------------------

    @quiet()
    def transform(self, X: Any) -> NDArray[Any]:
        """Activations of the hidden neurons; without noise and dropout.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray of the network's dtype, shape (n_samples, n_components)
            Twice as many columns where the activation gives two values a neuron.
        """
        check_is_fitted(self)
        source = as_source(_parts.samples(self, X, reset=False), self.n_features_in_)
        _parts.refuse_far(source, self.network_.dtype, RANGE, self._units_of)
        return self._through(self.network_.layers[:-1], source, self._units_of)

    @quiet()
    def inverse_transform(self, X: Any) -> NDArray[np.float64]:
        """Features as they follow from activations of the hidden neurons, in their own units.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_components)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_features)
        """
        check_is_fitted(self)
        source = as_source(X, self._n_features_out)
        _parts.refuse_far(source, self.network_.dtype, "lie within {most}")
        found = self._through(self.network_.layers[-1:], source)
        return found * self.scale_ + self.mean_

    @quiet()
    def score(self, X: Any, y: Any = None) -> float:
        """What part of the features' variation is reconstructed from the features without noise.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : object
            Ignored.

        Returns
        -------
        float
            1 - sum of squared errors / sum of squared distances to the training means, of standardised
            features. At most 1; 0 for a network that always gives the means.
        """
        check_is_fitted(self)
        X = _parts.dense(_parts.samples(self, X, reset=False))
        source, layers = as_source(X, self.n_features_in_), self.network_.layers
        _parts.refuse_far(source, self.network_.dtype, RANGE, self._units_of)
        hidden = self._through(layers[:-1], source, self._units_of)  # `transform` may give a frame
        clean = self._units_of.apply(X.astype(np.float64))
        errors = np.square(clean - self._through(layers[-1:], DenseSource(hidden))).sum()
        whole = np.square(clean).sum()
        return float(1.0 - errors / whole) if whole > 0.0 else float(errors == 0.0)

    def _through(
        self, layers: Sequence[Layer], source: Source, by: Standardizer | None = None
    ) -> NDArray[Any]:
        """Outputs of some layers of the network, some rows at a time."""
        network = self.network_
        n_jobs = _parameters.n_jobs(self.n_jobs)
        mean, scale = (None, None) if by is None else (by.mean, by.scale)
        found = np.empty((source.n_samples, layers[-1].n_out), network.variable_dtype)
        with network.gate.reading("transform"):
            ws = network.workspace()
            for first in range(0, len(found), ROWS):
                rows = np.arange(first, min(first + ROWS, len(found)))
                n_threads = network.threads_for(len(rows), n_jobs)
                ws.shape(len(rows))
                x = ws.tiles("input", layers[0].n_in)
                source.pack(x, rows, mean, scale, n_threads)
                y = forward_through(layers, x, Pass(ws, threads=n_threads))[-1]
                y.unpack(found[rows[0] : rows[-1] + 1], n_threads)
        return found

    # --- fitted attributes ------------------------------------------------------------------

    @property
    def network_(self) -> Sequential:
        """The trained network."""
        check_is_fitted(self)
        return self.trainer_.network

    @property
    def strengths_(self) -> NDArray[np.float64]:
        """What each input moves hidden neurons by: the sum of |w| over its links, times its deviation."""
        _, inputs, weights = self.network_.layers[0].store.to_arrays()
        sizes = np.abs(weights, dtype=np.float64)
        sums = np.bincount(inputs, sizes, self.n_features_in_)
        found: NDArray[np.float64] = sums * (self._moments.deviation / self.scale_)
        return found

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """Strengths with a sum of 1."""
        strengths = self.strengths_
        total = strengths.sum()
        return strengths / total if total > 0.0 else strengths

    @property
    def components_(self) -> csr_array:
        """Weights of the hidden neurons."""
        return self.network_.layers[0].store.to_csr()

    @property
    def loss_curve_(self) -> list[float]:
        """Mean squared error by epoch."""
        check_is_fitted(self)
        return [row["loss"] for row in self.trainer_.history.epochs]

    @property
    def n_iter_(self) -> int:
        """Epochs."""
        check_is_fitted(self)
        return len(self.trainer_.history.epochs)

    @property
    def nnz_(self) -> int:
        """Connections."""
        return self.network_.nnz

    @property
    def density_(self) -> float:
        """Connections over those of a dense network of the same sizes."""
        return self.network_.density

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = []  # it is that of the network
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.network_.layers[-1].n_in


def _with_noise(clean: NDArray[Any], noise: float, rng: np.random.Generator) -> NDArray[Any]:
    """Standardised features plus Gaussian noise."""
    found: NDArray[Any] = clean + noise * rng.standard_normal(clean.shape, dtype=clean.dtype.type)
    return found.astype(clean.dtype, copy=False)


def _noise_of(trainer: Trainer) -> np.random.Generator:
    """Random numbers for the noise of the coming call, so that nothing has to be kept of a generator."""
    earlier = [trainer.epoch] if trainer.epoch else []
    words = np.random.SeedSequence([trainer.seed, *b"noise", *earlier])
    return np.random.Generator(np.random.Philox(words))
