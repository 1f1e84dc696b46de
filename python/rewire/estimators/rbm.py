"""The sparse Bernoulli RBM: scikit-learn's BernoulliRBM with links that exist and move."""

from __future__ import annotations

import time
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from rewire import _checks
from rewire._inputs import CsrSource, DenseSource, Source, as_source
from rewire._moments import quiet
from rewire._precision import KEPT
from rewire._snapshot import AllOrNothing, AttributesUndone
from rewire._warn import warn
from rewire.boltzmann import LogPartition, Machine
from rewire.connectivity import Connectivity, connectivity
from rewire.errors import DivergenceError
from rewire.estimators import _auto, _parameters, _parts
from rewire.estimators._arguments import Arguments
from rewire.initializers import Initializer
from rewire.layers import FreeEnergy
from rewire.losses import Contrast
from rewire.network import Sequential
from rewire.optim import SGD, Optimizer
from rewire.progress import print_now
from rewire.rewiring import Rule, TrainingProgress
from rewire.trainer import Trainer

__all__ = ["SparseBernoulliRBM"]

SCALE = 0.05  # standard deviation of initial weights
WATCHED = 1000  # samples whose pseudo-likelihood is printed
RANGE = "hold 0 and 1, or probabilities in [0, 1], and lie within {most}"  # what samples must do
BEYOND = 1e-6  # of [0, 1], which rounding may bring samples
_ORDER, _CHAINS, _ASKED = range(3)  # what random numbers are for


class SparseBernoulliRBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Arguments):
    """Restricted Boltzmann machine with binary units whose links are sparse while it trains.

    The interface is that of scikit-learn's ``BernoulliRBM``. Of the weights between visible and hidden units
    only those exist that belong to a link, and links move while training, as in SET-RBM.

    Parameters
    ----------
    n_components : int
        Hidden units.
    learning_rate : float > 0
        Of SGD, for the mean over a batch.
    batch_size : int
        Samples a step, and persistent chains.
    n_iter : int
        Passes over the samples.
    horizon : int, optional
        Passes that a whole run takes, where a call of ``partial_fit`` is one as well: what fractions of the
        run, such as ``end=0.75`` of ``rewiring="rigl"``, count by. By default ``n_iter``.
    verbose : int
        Whether the pseudo-likelihood is printed after every pass (of the first 1000 samples).
    random_state : int, RandomState, Generator, SeedSequence or None
        Of links, weights, chains, and the order of samples.
    epsilon, density, links : optional
        How many links there are: see :class:`~rewire.Sparse`. By density or number where one of these is
        given, else by epsilon.
    group : {1, 2, 4, 8}
        Neighbouring hidden units that share one list of visible ones.
    init : "auto", str, float or Initializer
        Initial weights; auto is ``Normal(0.05)``.
    connectivity : str, dict or Connectivity
        Where the first links are.
    rewiring : str, dict, Rule or None
        Any rule that works on one layer, by name or as an object; None keeps the first links. ``"set"`` is
        SET after every pass, or after every 100 steps where passes are shorter; new links get weights as the
        first ones.
    drop_fraction : float in [0, 1]
        SET's zeta, where it is given by its name.
    gibbs_steps : int
        k of CD-k: steps of Gibbs sampling between the data, or the chains as they are, and the samples that
        data are compared with.
    persistent : bool
        Chains go on from step to step (persistent contrastive divergence, what scikit-learn does). Else they
        begin at the data in every step (contrastive divergence).
    momentum : float in [0, 1)
    weight_decay : float >= 0
        Added to the gradient of weights: weight_decay * w.
    optimizer : Optimizer, optional
        Instead of SGD with learning_rate, momentum and weight_decay.
    n_jobs : int, optional
        Threads; results do not depend on it.
    dtype : {"float32", "float64"}
        Not bfloat16: free energies and likelihoods are told apart by less than it rounds.

    Attributes
    ----------
    components_ : csr_array, shape (n_components, n_features)
        Weights, made anew at every access.
    intercept_hidden_, intercept_visible_ : ndarray, shape (n_components,), (n_features,)
        Biases, copies. Visible ones start at the log odds of the first samples' means.
    h_samples_ : ndarray, shape (batch_size, n_components)
        Hidden units of persistent chains, as many as ``batch_size`` was in the first call. Zeros as long as
        none have run: without ``persistent`` chains begin at the data in every step, and nothing is kept.
    nnz_, density_ : int, float
        Links, and what part they are of all pairs of units.
    network_, trainer_ : Sequential, Trainer
        One :class:`~rewire.layers.FreeEnergy` layer. ``network_.save`` writes it to a file, ``network_``'s
        predictions are free energies.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Notes
    -----
    Inputs are 0 or 1, or probabilities of 1 in [0, 1]. scikit-learn's machine takes all others without a
    word; here ``fit`` and ``partial_fit`` take them with a ``UserWarning``, once for a machine. Sparse inputs
    are made dense batch by batch. Samples are shuffled in every pass, which scikit-learn's does not do.

    SET for RBMs: Mocanu et al., *Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science*, Nature Communications 9:2383 (2018). CD: Hinton, Neural
    Computation 14 (2002). PCD: Tieleman, ICML 2008. Initial visible biases: Hinton, *A Practical Guide to
    Training Restricted Boltzmann Machines* (2010).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from rewire import SparseBernoulliRBM
    >>> X = load_digits().data / 16.0
    >>> rbm = SparseBernoulliRBM(100, n_iter=5, random_state=0).fit(X)
    >>> rbm.nnz_, rbm.transform(X).shape, rbm.score(X) > -25
    (1804, (1797, 100), True)
    """

    trainer_: Trainer
    h_samples_: NDArray[Any]
    _own_sgd: bool
    _warned: bool
    n_features_in_: int

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: float = 0.05,
        batch_size: int = 10,
        n_iter: int = 10,
        horizon: int | None = None,
        verbose: bool | int = 0,
        random_state: Any = None,
        epsilon: float = 11.0,
        density: float | None = None,
        links: int | None = None,
        group: int = 1,
        init: str | float | Initializer = "auto",
        connectivity: str | dict[str, Any] | Connectivity = "random",
        rewiring: str | dict[str, Any] | Rule | None = "set",
        drop_fraction: float = 0.3,
        gibbs_steps: int = 1,
        persistent: bool = False,
        momentum: float = 0.9,
        weight_decay: float = 2e-4,
        optimizer: Optimizer | None = None,
        n_jobs: int | None = None,
        dtype: str = "float32",
    ) -> None:
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.horizon = horizon
        self.verbose = verbose
        self.random_state = random_state
        self.epsilon = epsilon
        self.density = density
        self.links = links
        self.group = group
        self.init = init
        self.connectivity = connectivity
        self.rewiring = rewiring
        self.drop_fraction = drop_fraction
        self.gibbs_steps = gibbs_steps
        self.persistent = persistent
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.n_jobs = n_jobs
        self.dtype = dtype

    # --- fit ----------------------------------------------------------------------------

    @quiet()
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train a new machine.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            In [0, 1].
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
        UserWarning
            For values beyond [0, 1].

        Notes
        -----
        Whatever raises leaves the estimator as it was. What Ctrl-C ends after a pass is kept, with a warning.
        """
        with _parameters.DrawsUndone(self.random_state), AttributesUndone(self):
            X = _parts.samples(self, X, reset=True)
            n_iter = _checks.integer("n_iter", self.n_iter, low=1)
            steps = self._steps_of(X)
            self._begin(X, steps)
            self._check_range(X)
            self.trainer_.horizon, self.trainer_.steps_per_epoch = self._length(), steps
            done, interrupted = 0, False
            try:
                for done in range(n_iter):
                    self._one_pass(X, last=done + 1 == n_iter)
            except KeyboardInterrupt:
                if done == 0:
                    raise
                self.trainer_.state.unfinished = None  # the steps of the last pass stay, and are of no epoch
                interrupted = True
        if interrupted:
            _parts.tell_interrupted(self, "fit", f"{done} passes")
        return self

    @quiet()
    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Learn from some samples, once and in their order; a step for each ``batch_size`` of them.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            In [0, 1].
        y : object
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError, DivergenceError
            As for :meth:`fit`. Whatever raises leaves the estimator as it was, but for Ctrl-C, which keeps
            the steps that were made; a machine of more than 256 MiB is not copied, and keeps them too.

        Notes
        -----
        A call counts as an epoch of the rewiring rule; ``"set"`` acts after every 100 steps. Rules that count
        by a fraction of the run take ``horizon`` calls of as many samples, or ``n_iter``, for the run: state
        how many there will be. The first call builds the machine and its trainer. Afterwards
        ``learning_rate``, ``momentum`` and ``weight_decay`` (of the SGD that the machine was built with, if
        it was), ``batch_size``, ``gibbs_steps``, ``persistent``, ``n_iter``, ``horizon`` and ``n_jobs`` may
        be changed; other parameters say nothing then. There are as many persistent chains as the
        ``batch_size`` of the first call says, whatever it is later.
        """
        first = not hasattr(self, "trainer_")
        kept = () if first else (KeyboardInterrupt,)
        with _parameters.DrawsUndone(self.random_state), AttributesUndone(self, kept=kept):
            X = _parts.samples(self, X, reset=first)
            if first:
                self._begin(X, None)
                self._check_range(X)
                self._piece(X)
            else:
                self._check_steps()
                self._check_range(X)
                n_jobs, trainer = _parameters.n_jobs(self.n_jobs), self.trainer_
                with AllOrNothing(trainer, trainer._interrupts):
                    if self._own_sgd and isinstance(trainer.optimizer, SGD):
                        _parts.set_rates(self, trainer.optimizer, "learning_rate")
                    trainer.threads = n_jobs
                    trainer.state.unfinished = None  # of a call that Ctrl-C has ended
                    self._piece(X)
        return self

    def _piece(self, X: Any) -> None:
        """These samples once, in their order: an epoch of a stream."""
        trainer = self.trainer_
        trainer.horizon = max(self._length(), trainer.epoch + 1)
        trainer.steps_per_epoch = self._steps_of(X)
        self._steps(X, np.arange(X.shape[0]))
        trainer.end_epoch()

    def _length(self) -> int:
        """Passes of the whole run."""
        name = "n_iter" if self.horizon is None else "horizon"
        return _checks.integer(name, getattr(self, name), low=1)

    def _steps_of(self, X: Any) -> int:
        """Steps of a pass."""
        steps: int = -(-X.shape[0] // _checks.integer("batch_size", self.batch_size, low=1))
        return steps

    def _begin(self, X: Any, steps: int | None) -> None:
        """A new machine; ``steps`` is how many a pass has, None in a stream."""
        self._check_steps()
        if not isinstance(self.verbose, (bool, np.bool_)):
            _checks.integer("verbose", self.verbose, low=0)
        hidden, dtype = _parts.units(self, KEPT)
        n_jobs = _parameters.n_jobs(self.n_jobs)
        init = _parts.initial_weights(self, SCALE)
        layer = FreeEnergy(
            X.shape[1], hidden, init=init, connectivity=connectivity(self.connectivity), group=self.group,
            **self._link_count(),
        )  # fmt: skip
        optimizer = _parts.own_sgd(self, "learning_rate")
        rule = _parts.rule(self, init, _auto.period(_auto.Amount(0, steps)))
        network = Sequential([layer], seed=_parameters.seed(self.random_state), dtype=dtype)
        means = (np.asarray(X.sum(axis=0), np.float64).reshape(-1) + 1.0) / (X.shape[0] + 2.0)
        means = np.clip(means, 1e-6, 1.0 - 1e-6)
        layer.visible.write(np.log(means) - np.log1p(-means))
        trainer = Trainer(network, loss=Contrast(), optimizer=optimizer, rewiring=rule, threads=n_jobs)
        chains = np.zeros((self.batch_size, hidden), network.variable_dtype)
        own = self.optimizer is None
        self.__dict__.update(trainer_=trainer, h_samples_=chains, _asked=0, _own_sgd=own, _warned=False)

    def _source(self, X: Any) -> Source:
        """Samples that a machine is asked of, checked."""
        source = as_source(_parts.samples(self, X, reset=False), self.n_features_in_)
        _parts.refuse_far(source, self.network_.dtype, RANGE)
        return source

    def _check_range(self, X: Any) -> None:
        """Refuse samples whose sums overflow; warn, once for a machine, of what is no probability."""
        source = as_source(X, self.n_features_in_)  # what stands at one place is summed up in a copy
        _parts.refuse_far(source, self.network_.dtype, RANGE)
        if self._warned or (farthest := _beyond(source)) is None:
            return
        self._warned = True
        warn(
            f"{type(self).__name__}: X should hold 0 and 1, or probabilities in [0, 1], got {farthest:.3g}: "
            "what is learnt of other values makes no sense; scale them, with MinMaxScaler say",
            UserWarning,
        )

    def _check_steps(self) -> None:
        _checks.integer("batch_size", self.batch_size, low=1)
        _checks.integer("gibbs_steps", self.gibbs_steps, low=1)
        _checks.boolean("persistent", self.persistent)

    def _link_count(self) -> dict[str, Any]:
        if self.density is not None and self.links is not None:
            raise ValueError(f"give density or links, got density={self.density} and links={self.links}")
        if self.density is not None:
            return {"density": self.density}
        return {"epsilon": self.epsilon} if self.links is None else {"links": self.links}

    def _one_pass(self, X: Any, *, last: bool) -> None:
        """All samples once, in a new order; the epoch ends."""
        began, epoch = time.perf_counter(), self.trainer_.epoch
        order = self._rng(_ORDER, epoch).permutation(X.shape[0])
        self._steps(X, order)
        self.trainer_.end_epoch(last=last)
        if self.verbose:
            seen = as_source(X[:WATCHED], self.n_features_in_)  # checked, and without the names of a frame
            found = self._machine().pseudo_likelihood(seen).mean()
            print_now(
                f"[{type(self).__name__}] Iteration {epoch + 1}, pseudo-likelihood = {found:.2f}, "
                f"time = {time.perf_counter() - began:.2f}s"
            )

    def _steps(self, X: Any, order: NDArray[np.int64]) -> None:
        """A step for each batch of these rows."""
        machine, trainer = self._machine(), self.trainer_
        rng = self._rng(_CHAINS, trainer.step)
        for first in range(0, len(order), self.batch_size):
            rows = X[order[first : first + self.batch_size]]
            data = _parts.dense(rows)
            samples, chains = self._samples(machine, data, rng)
            batch, signs = np.concatenate([data, samples]), Contrast.signs(len(data), len(samples))
            wanted = trainer.rewiring.probe_batches
            if wanted > 1 and trainer.rewiring.due(self._progress()):
                batches = [batch]
                for _ in range(wanted - 1):
                    rows = X[rng.integers(X.shape[0], size=len(data))]
                    more = _parts.dense(rows)
                    batches.append(np.concatenate([more, self._samples(machine, more, rng)[0]]))
                trainer.rewire_if_due(np.concatenate(batches), np.tile(signs, wanted))
            # Where links are rewired before the step, the samples are those of the machine before.
            trainer.train_step(batch, signs)
            self.h_samples_ = chains

    def _progress(self) -> TrainingProgress:
        """Where training stands before the coming step."""
        trainer = self.trainer_
        epochs, steps = trainer.horizon or 0, trainer.steps_per_epoch or 0
        done = trainer.step_in_epoch
        whole = trainer.step - done + (epochs - trainer.epoch) * steps  # calls before may have had others
        return TrainingProgress(trainer.epoch, trainer.step, done == 0, epochs, whole)

    def _samples(
        self, machine: Machine, data: NDArray[Any], rng: np.random.Generator
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """What data are compared with, and hidden units from which persistent chains go on."""
        if self.persistent:
            return machine.gibbs(self.h_samples_, self.gibbs_steps, rng)
        h = machine.draw(machine.hidden(data), rng)
        if self.gibbs_steps > 1:
            h = machine.gibbs(h, self.gibbs_steps - 1, rng)[1]
        # Probabilities instead of units in the last step: less noise, and data may be probabilities too.
        found = machine.visible(h)
        if not np.isfinite(found).all():  # the trainer would take them for data of the user's
            state, layer = self.trainer_, machine.layer
            where, what = layer.fault() or (layer.label, "samples that are not finite")
            raise DivergenceError(state.epoch, state.step + 1, where, what)
        return found, self.h_samples_

    def _rng(self, purpose: int, number: int) -> np.random.Generator:
        """Random numbers that have a name, so that nothing has to be kept of a generator."""
        key = [self.trainer_.seed, purpose]
        return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, number]))

    def _machine(self) -> Machine:
        return Machine(self.network_, _parameters.n_jobs(self.n_jobs))

    # --- what a machine tells ---------------------------------------------------------------

    @quiet()
    def transform(self, X: Any) -> NDArray[Any]:
        """Probabilities of the hidden units, P(h = 1 | v = X).

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray of the machine's dtype, shape (n_samples, n_components)
        """
        check_is_fitted(self)
        source = self._source(X)
        with self.network_.gate.reading("transform"):
            return self._machine().hidden(source)

    @quiet()
    def gibbs(self, v: Any, n_steps: int = 1) -> NDArray[np.bool_]:
        """Visible units after some steps of Gibbs sampling.

        Parameters
        ----------
        v : array-like or sparse matrix, shape (n_samples, n_features)
            Where the chains begin.
        n_steps : int

        Returns
        -------
        ndarray of bool, shape (n_samples, n_features)
            Other ones with each call: calls are counted from ``fit`` on.
        """
        check_is_fitted(self)
        source, n_steps = self._source(v), _checks.integer("n_steps", n_steps, low=1)
        with self.network_.gate.reading("gibbs"):
            machine, rng = self._machine(), self._rng(_ASKED, self._asked)
            h = machine.draw(machine.hidden(source), rng)
            self._asked += 1
            found, _ = machine.gibbs(h, n_steps, rng)
        return found.astype(bool)

    @quiet()
    def free_energy(self, X: Any) -> NDArray[np.float64]:
        """Free energies: X has the probability exp(-F(X)) / Z.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        check_is_fitted(self)
        source = self._source(X)
        with self.network_.gate.reading("free_energy"):
            return self._machine().free_energy(source)

    @quiet()
    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Pseudo-likelihoods: the sum over all visible units of log P(unit | all others).

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)

        Notes
        -----
        scikit-learn's takes one unit at random, times their number: an estimate of this, which moves by
        nats from call to call. Of a unit that is a probability p, the other state is 1 - p, as there.
        """
        check_is_fitted(self)
        source = self._source(X)
        with self.network_.gate.reading("score_samples"):
            return self._machine().pseudo_likelihood(source)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of :meth:`score_samples`, which a grid search maximises.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : object
            Ignored.

        Returns
        -------
        float
        """
        return float(self.score_samples(X).mean())

    @quiet()
    def log_partition(
        self, method: str = "auto", *, n_chains: int = 100, n_temperatures: int = 1000, random_state: Any = 0
    ) -> LogPartition:
        """log Z: minus it and the free energy, ``-free_energy(X) - log_partition().value`` is log P(X).

        Parameters
        ----------
        method : {"auto", "exact", "ais"}
            All states of the smaller side, which may have at most 24 units; or annealed importance sampling.
            Auto is exact where that is possible up to 16 units.
        n_chains, n_temperatures : int
            Of annealed importance sampling; from one temperature to the next is a step of Gibbs sampling.
        random_state : int, RandomState, Generator or SeedSequence
            Of the chains.

        Returns
        -------
        LogPartition
            ``value`` and its standard ``error``, 0 where it is exact.

        Notes
        -----
        Salakhutdinov, Murray, *On the Quantitative Analysis of Deep Belief Networks*, ICML 2008.
        """
        check_is_fitted(self)
        method = _checks.choice("method", method, ("auto", "exact", "ais"))
        n_chains = _checks.integer("n_chains", n_chains, low=1)
        n_temperatures = _checks.integer("n_temperatures", n_temperatures, low=1)
        few = min(self.n_features_in_, self._n_features_out) <= 16
        with self.network_.gate.reading("log_partition"):
            if method == "exact" or (method == "auto" and few):
                return self._machine().log_partition()
            words = np.random.SeedSequence([_parameters.seed(random_state), *b"ais"])
            rng = np.random.Generator(np.random.Philox(words))
            return self._machine().annealed(n_chains, n_temperatures, rng)

    # --- fitted attributes ------------------------------------------------------------------

    @property
    def network_(self) -> Sequential:
        """The machine, as a network of one layer."""
        check_is_fitted(self)
        return self.trainer_.network

    @property
    def components_(self) -> csr_array:
        """Weights, shape (n_components, n_features)."""
        return self.network_.layers[0].store.to_csr()

    @property
    def intercept_hidden_(self) -> NDArray[Any]:
        """Biases of the hidden units, a copy."""
        return self.network_.layers[0].parameters()["bias"].read()

    @property
    def intercept_visible_(self) -> NDArray[Any]:
        """Biases of the visible units, a copy."""
        return self.network_.layers[0].parameters()["visible"].read()

    @property
    def nnz_(self) -> int:
        """Links."""
        return self.network_.nnz

    @property
    def density_(self) -> float:
        """Links over all pairs of a visible and a hidden unit."""
        return self.network_.density

    @property
    def _n_features_out(self) -> int:
        return int(self.network_.layers[0].parameters()["bias"].size)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = []  # it is that of the machine
        return tags


def _beyond(source: Source) -> float | None:
    """The value that is farthest from [0, 1]; None if none is beyond it."""
    values = source.values if isinstance(source, CsrSource) else cast(DenseSource, source).x
    low, high = float(values.min(initial=0.0)), float(values.max(initial=1.0))
    farthest = low if -low > high - 1.0 else high
    return farthest if max(-low, high - 1.0) > BEYOND else None
