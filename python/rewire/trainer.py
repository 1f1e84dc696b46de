"""The trainer: epochs, batches, rewiring, validation, in an order that can be repeated.

It does no arithmetic of its own. All that moves while training is either in the
network (weights, structure, optimizer state, the rule's fields) or in its
`TrainingState`, so that saving both and going on later gives the same bits as
never having stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from rewire import _carried, _checks
from rewire._density import warn_of_density, warn_of_lost_links
from rewire._evaluating import refuse_unscalable
from rewire._fit import Fit
from rewire._foreign import ForeignAttributes, HintedArguments, hinted
from rewire._inputs import CsrSource
from rewire._keeping import Keeping
from rewire._memory import Basis, Call, Needs, basis, needs, refuse_if_short
from rewire._own_loop import StepResult
from rewire._parted import PartedStream
from rewire._signals import Interrupts
from rewire._snapshot import AllOrNothing
from rewire._strategies import WASAP, WASSP, LocalSGD, Strategy, settled, trainings_of
from rewire._strategies import strategy as as_strategy
from rewire._warn import tell_interrupted
from rewire._wasap import AsyncFit
from rewire._wassp import finish
from rewire.callbacks import checked_callbacks
from rewire.history import History
from rewire.losses import Loss
from rewire.losses import loss as as_loss
from rewire.network import Sequential
from rewire.optim import SGD, Optimizer
from rewire.optim import optimizer as as_optimizer
from rewire.progress import progress
from rewire.rewiring import Rule, Static
from rewire.rewiring import rewiring as as_rewiring
from rewire.streams.iterated import is_iterated
from rewire.streams.joining import Samples
from rewire.streams.kinds import pieces_of, refuse_beside
from rewire.streams.parts import Parts
from rewire.streams.stream import BATCH, Stream
from rewire.streams.windows import Cut, steps_of
from rewire.threads import resolve
from rewire.training_state import TrainingState
from rewire.workers.joining import cut_for, following, helpers, processes_of
from rewire.workspace import Workspace

__all__ = ["StepResult", "Trainer"]


class Trainer(HintedArguments, ForeignAttributes, Keeping):
    """Trains a network.

    Parameters
    ----------
    network : Sequential
    loss : str or Loss
        ``"cross_entropy"``, ``"binary_cross_entropy"``, ``"mse"``, ``"huber"``, ``"poisson"``,
        ``"squared_hinge"``; an object such as ``CrossEntropy(label_smoothing=0.1)``.
    optimizer : str or Optimizer, optional
        ``SGD(lr=0.05, momentum=0.9)`` by default.
    rewiring : str, Rule or None
        ``SET()``, ``"set"``; None keeps the structure.
    callbacks : iterable
        See :class:`rewire.callbacks.Callback`.
    threads : int, optional
        Results do not depend on it.
    seed : int, optional
        Of the order of samples; the network's by default.
    horizon : int, optional
        How many epochs the whole run takes, over all calls of ``fit``: what fractions of the run, such as
        ``end=0.75`` of a rewiring rule, count by. With it a run in many calls gives the bits of one call. By
        default the run ends where the furthest call of ``fit`` ends or was to end; a second call then makes
        it longer, and where a rule uses fractions of the run a warning says so, once in a process (a trainer
        that was resumed or pickled warns again). Beyond it all fractions have passed. ``last_epoch="remove"``
        of a rule means the last epoch of a call of ``fit``, whatever the horizon.
    steps_per_epoch : int, optional
        How many steps an epoch of an own loop has (:meth:`train_step`, :meth:`apply`), for rules that count
        by fractions of the run; they need ``horizon`` as well there. ``fit`` counts its batches.
    standardize : bool or "scale"
        Bring every feature to mean 0 and deviation 1, or less where a training value would be further than 5
        from 0, by what the training sets say (:class:`~rewire.Standardizer`). Mean and scale belong to the
        network. Every call of ``fit`` adds to what they are taken from, unless its data are those of the
        call before; the first layer is rescaled when they move, so that what was learnt stays. A first
        layer without biases keeps the mean of the first call. Every call of ``fit`` takes two passes over X
        for it, unless it goes on with an unfinished epoch. With ``"scale"`` no mean is subtracted: features
        keep their zeros, and are divided by what they would be otherwise.
    standardize_targets : bool
        Bring every target to mean 0 and deviation 1 before the loss sees it, by what the first call of
        ``fit`` is given (sample weights count; a constant target has deviation 1). For losses of numbers,
        ``"mse"`` and ``"huber"``, and a linear output. Losses, and what they are counted in, such as
        ``delta`` of Huber's, are then of standardised targets, and R2 is the same; whatever the network
        predicts is in the units of the targets. Mean and scale belong to the network, which keeps them:
        ``network.target_standardizer``. By default targets are taken as they are, but for a network that
        has such. Where a network has been trained on targets as they are, which biases of the last layer
        tell that began as 0 and are so no more, that layer is rescaled so that predictions stay; nothing
        tells it of one without biases: give these only new networks. A target that is constant in the first
        call keeps deviation 1 for ever: call :meth:`learn_targets` before with targets that vary.
    metrics : bool, optional
        Whether rows of the history tell the loss's metric (accuracy, R2) over training batches too, which
        takes a look at all outputs after every step. By default only the accuracy of a cross entropy is
        told, which costs nothing where targets are labels. :meth:`evaluate` and validation data always tell
        it. Which metric that is follows from the loss.
    shards : int, optional
        Cut every batch into so many parts: each goes forward and backward by itself, and their gradients are
        added in a fixed order. Bits depend on this number, and not on who computes which shard. In one
        process it is gradient accumulation: activations take the memory of a shard, not of a batch. What a
        shard is, and what is not the same as without: see "Workers and shards" in the documentation. By
        default batches are not cut, which is what 1 means.

    Attributes
    ----------
    network, loss, optimizer, rewiring, callbacks, horizon, steps_per_epoch, metrics, shards
    history : History
    epoch, step, rewirings : int
        Completed, over all calls.
    step_in_epoch : int
        Steps of the epoch that has begun.
    exchanged_bytes : int
        What the last call of ``fit`` handed to other processes and got from them. Not saved.
    state : TrainingState
        These, and all else that moves beside the network.
    unfinished : object or None
        How far an epoch is that was interrupted, or saved in a callback before its end. The next ``fit`` with
        as many samples, the same ``batch_size`` and ``shuffle`` begins with what is left of it; and an own
        loop goes on in it.

    Raises
    ------
    TypeError, ValueError
        For wrong arguments, and for a loss that makes no sense with the network's final activation.
    """

    def __init__(
        self,
        network: Sequential,
        *,
        loss: str | Loss | dict[str, Any],
        optimizer: str | Optimizer | dict[str, Any] | None = None,
        rewiring: str | Rule | dict[str, Any] | None = None,
        callbacks: Iterable[Any] = (),
        threads: int | None = None,
        seed: int | None = None,
        standardize: bool | str = False,
        standardize_targets: bool = False,
        horizon: int | None = None,
        steps_per_epoch: int | None = None,
        metrics: bool | None = None,
        shards: int | None = None,
    ) -> None:
        self.network = _checks.one_of_types("network", network, Sequential, "a Sequential")
        self.loss = as_loss(loss)
        self.fused = self.loss.fused(network.final)
        self.loss.check_outputs(network.n_out)
        self.optimizer = SGD(lr=0.05, momentum=0.9) if optimizer is None else as_optimizer(optimizer)
        self.rewiring = as_rewiring(rewiring)
        self.callbacks = checked_callbacks(callbacks)
        self.threads = threads
        if threads is not None:
            resolve(threads)
        self.seed = network.seed if seed is None else _checks.seed("seed", seed)
        self.standardize = _checks.standardizing("standardize", standardize)
        self.standardize_targets = _checks.boolean("standardize_targets", standardize_targets)
        if standardize_targets or network.target_standardizer is not None:
            refuse_unscalable(self.loss, network)
        self.metrics = None if metrics is None else _metrics(metrics)
        self.horizon, self.steps_per_epoch = horizon, steps_per_epoch  # checked by the properties
        self.shards = shards
        rule = self.rewiring
        self.state = TrainingState(
            tuple(self.optimizer.fields), rule.remembers_as, rule.remembers_as, tuple(rule.fields)
        )
        self.exchanged_bytes = 0
        self._workspace: Workspace | None = None
        self._affordable: Basis | None = None  # what calls have in common that take little memory
        self._interrupts, self._stepper = Interrupts(), None  # the latter of steps one by one

    def _kind(self) -> type[Trainer]:
        return Trainer

    # --- fit ----------------------------------------------------------------------------

    @hinted
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int | None = None,
        validation_data: Any = None,
        sample_weight: Any = None,
        shuffle: bool = True,
        window: int | None = None,
        steps_per_epoch: int | None = None,
        verbose: int = 1,
        workers: int | None = None,
        strategy: Strategy | None = None,
        timeout: float = 300.0,
    ) -> History:
        """Train for some more epochs.

        Parameters
        ----------
        X : array-like or SciPy CSR, shape (m, n_in), or data that are read in pieces
            Any real dtype and strides; converted batch by batch. Finite. What is not in memory is never there
            as a whole: anything with a shape and slices (h5py, zarr, dask, a large `numpy.memmap`), a
            Dataset, ParquetFile or Table of pyarrow, whatever gives batches ``(X, y)`` or
            ``(X, y, sample_weight)`` (a DataLoader, a list, a generator, a function of the epoch that
            gives an iterable of these; they run in a thread of their own), and ``rewire.datasets.parts`` of
            these, of which every worker reads its own: see "Data that do not fit into memory" in the
            documentation.
        y : array-like
            Class labels (m,), or targets (m, n_out): see the loss. Names of columns, for a table; none beside
            batches, which have their own.
        epochs : int
            How many more. What is left of one that was interrupted counts as one.
        batch_size : int, optional
            128 by default. At most m counts; the last batch of an epoch may be smaller. Batches that X gives
            stay as they are, unless this or ``window`` is given.
        validation_data : (X, y) or (X, y, sample_weight), or what gives batches of these, optional
            Evaluated after every epoch.
        sample_weight : array-like, shape (m,), optional
            At least 0. A batch whose weights are all zero is passed over.
        shuffle : bool
            A new order every epoch, from (seed, epoch), where an epoch has more than one batch. Batches that
            X gives stay in their order, unless ``window`` is given.
        window : int, optional
            How many samples are in memory, and are shuffled together, where data are read in pieces, which
            come from all over X; rounded up to whole batches. By default those of 2^23 values, which is 32
            MiB of float32; there may be two of them at a time. What is known to fit into one window has the
            order, and the bits, of an array in memory, which is one window itself unless this is given.
        steps_per_epoch : int, optional
            Batches of an epoch: less than there are, and needed where nobody can know how many there are.
        verbose : {0, 1, 2}
            Silent, a line an epoch, a bar.
        workers : int, optional
            Processes that train together, this one included; at most as many as there are shards. They share
            a copy of the data in memory, and leave no trace in the bits. Where nobody has said a number of
            shards it becomes 8 (or the next power of two that is enough), is said, and stays. Each has
            ``threads`` threads, by default the processors divided among them. Starting them takes about a
            second. By default there is one, unless mpiexec, srun or torchrun has started several: then these
            train together, and each calls ``fit`` with the same data.
        strategy : Sync, LocalSGD, WASSP or WASAP, optional
            What workers do between two exchanges: ``rewire.Sync()``, every step together;
            ``rewire.LocalSGD(every=32)``, some steps alone and then the mean; ``rewire.WASSP(alone=0.3)``,
            the last epochs alone, with links of their own, and then a merge; ``rewire.WASAP()``, before that
            gradients learnt from as they come, which no seed brings back.
        timeout : float > 0
            Seconds without a sign of life after which a worker is given up; reading and computing may last
            longer.

        Returns
        -------
        History
            The trainer's, over all calls. After Ctrl-C its ``interrupted`` is True and the network is valid;
            the epoch that was cut off leaves no row, and the next ``fit`` goes on with it.

        Raises
        ------
        TypeError, ValueError
            For wrong arguments; for layers and a loss that workers cannot import, before one is started.
        WorkerError
            If a worker dies, or is silent for too long. All others are ended.
        DivergenceError
            When a value is no longer finite; epoch and layer are named. The epochs of this call are lost:
            :class:`rewire.Checkpoint` keeps the last good one.
        BufferError
            If a store is viewed when a step begins; the layer is named.
        RuntimeError
            If this network is used elsewhere.
        MemoryError
            Before training, if it cannot fit into what there is (:meth:`memory`); the largest batch size
            that could is named.

        Warns
        -----
        DensityWarning
            In the first call, when hidden layers are over 0.95 full, unless that was asked for
            (``density=1.0``) or the rule prunes; when a layer has no connections.
        InterruptedWarning
            After Ctrl-C.

        Notes
        -----
        Whatever raises, a callback too: trainer, network, history, and callbacks that can be saved, are
        afterwards what they were before the call. For that a copy of the network and its optimizer's state is
        kept meanwhile, if they have at most 256 MiB. A larger network stays valid, after the last whole step
        (an error in the middle of one leaves part of it), with the rows of the epochs that it completed.

        After Ctrl-C it returns the history, whose ``interrupted`` is True, and warns: in a loop over fits it
        has ended one of them. It takes effect after the step, if that ends within 0.1 s. Else the step is cut
        in the middle: the network is valid, but the epoch cannot be gone on with, and begins anew. Threads
        other than the main one, and a process with a SIGINT handler of its own, are never waited for.
        """
        epochs = _checks.integer("epochs", epochs, low=1)
        if batch_size is not None:
            batch_size = _checks.integer("batch_size", batch_size, low=1)
        if window is not None:
            window = _checks.integer("window", window, low=1)
        if steps_per_epoch is not None:
            steps_per_epoch = _checks.integer("steps_per_epoch", steps_per_epoch, low=1)
        verbose = _checks.choice("verbose", verbose, (0, 1, 2))
        shuffle = _checks.boolean("shuffle", shuffle)
        plan = as_strategy(strategy)
        comm, count = processes_of(workers)
        timeout = _checks.number("timeout", timeout, low=0.0, open_low=True)
        data = self._training_data(X, y, sample_weight, window, steps_per_epoch, plan)
        validation = None if validation_data is None else self._validation_data(validation_data)
        interrupts = self._interrupts
        with self.network.gate.writing("fit"), interrupts, AllOrNothing(self, interrupts):
            self._refuse_kept("fit")
            self._overwrite_gradients()
            self.network.refuse_views("trained")
            if self.step == 0:
                static = isinstance(self.rewiring, Static)
                warn_of_density(self.network, starts_full=self.rewiring.starts_full, static=static)
            linked = [parameter.name for parameter in self.network.sparse_parameters if parameter.nnz]
            self.history.interrupted = False
            ready = self._fit_ready is not None and self._fit_ready.holds(self)
            if not ready:
                self._fit_ready = None
                _carried.check_rule(self)
            plan = settled(plan, self.state.trainings, count)
            if isinstance(plan, LocalSGD):
                self.state.trainings = plan.workers or self.state.trainings
            say = verbose > 0 and (comm is None or comm.rank == 0)
            cut_for(self, count, say, plan, launched=comm is not None, data=data, batch=batch_size)
            cut = self._cut(data, batch_size, window, steps_per_epoch, shuffle, plan, count)
            self._refuse_if_short(data, validation, cut, epochs)
            if not ready:
                self.take_state()
                _carried.refresh_rule(self)
            if self._workspace is None:
                self._workspace = self.network.workspace()
            call = {"epochs": epochs, "cut": cut, "strategy": plan}
            self.exchanged_bytes = 0
            if comm is not None and comm.rank > 0:
                following(comm, self, data, call, timeout)
                return self.history
            try:
                with helpers(self, comm, count, data, call, timeout) as others:
                    kind = AsyncFit if isinstance(plan, WASAP) else Fit
                    run = kind(self, self._workspace, data, validation, cut, interrupts, others, plan)
                    try:
                        if isinstance(plan, WASSP) and isinstance(data, (Samples, PartedStream)):
                            alone = plan.epochs_alone(epochs)
                            last = partial(
                                finish, self, plan, others, data, validation, cut, alone, run.threads,
                                whole=interrupts.wait_long, say=verbose > 0,
                            )  # fmt: skip
                            run.epochs(epochs - alone, progress(verbose), alone, last)
                        else:
                            run.epochs(epochs, progress(verbose))
                    finally:
                        self.exchanged_bytes = 0 if others is None else others.exchanged
            except KeyboardInterrupt:
                if comm is not None or count == 1:
                    raise
                self.history.interrupted = True  # while workers were started
            lost = ("lost links", "")
            if lost not in self.state.told and warn_of_lost_links(self.network, linked):
                self.state.told = self.state.told | {lost}
        if self.history.interrupted:
            tell_interrupted("Trainer.fit", f"{self.epoch} epochs and {self.step} steps in all")
        return self.history

    def memory(self, batch_size: int = 128, *, n_validation: int = 0) -> Needs:
        """What ``fit`` would take of memory beside the network, at the least; nothing is taken.

        Parameters
        ----------
        batch_size : int
        n_validation : int
            Samples of ``validation_data``; 0: there are none.

        Returns
        -------
        Needs
            Bytes of ``state``, ``gradients``, ``activations``, ``evaluation`` and ``copies``, and their
            ``total``. What the network itself holds is ``network.nbytes``. Scratch, rewiring, and layers of
            your own that keep something for a step come on top.

        Raises
        ------
        TypeError, ValueError
            For what are no such numbers.

        Examples
        --------
        >>> import rewire as rw
        >>> net = rw.Sequential([rw.Sparse(784, 1000), rw.Sparse(1000, 10, activation="softmax")])
        >>> trainer = rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.1, momentum=0.9))
        >>> trainer.memory(batch_size=64).activations
        717824
        """
        batch_size = _checks.integer("batch_size", batch_size, low=1, high=2**53)
        validation = _checks.integer("n_validation", n_validation, low=0, high=2**53)
        return needs(self, batch_size, Call(validation))

    def _refuse_if_short(
        self, data: Samples | Stream, validation: Samples | Stream | None, cut: Cut, epochs: int
    ) -> None:
        """MemoryError if a call of ``fit`` is certain to need more memory than there is.

        Calls of a stream of small batches are all alike, and only the first ones are counted.
        """
        samples = 0 if validation is None else 1
        if isinstance(validation, Samples):
            samples = validation.source.n_samples
        call = Call(samples, _may_be_listed(data), _may_be_listed(validation), epochs > 1)
        batch, tiles = cut.batch or 1, 0 if self._workspace is None else self._workspace.nbytes
        known = basis(self, batch, call, tiles)
        if not known.same(self._affordable):
            self._affordable = known if refuse_if_short(self, batch, call, tiles=tiles) else None

    def _training_data(
        self, X: Any, y: Any, sample_weight: Any, window: int | None, steps: int | None, plan: Strategy
    ) -> Samples | Stream:
        """What ``fit`` learns from."""
        whole = isinstance(plan, WASSP)
        for name, value in (("window", window), ("steps_per_epoch", steps)):
            if whole and value is not None:
                raise ValueError(
                    f"{name} must not be given with {plan!r}, whose trainings learn from parts of all "
                    f"samples by themselves, got {value}"
                )
        if isinstance(X, Parts):
            refuse_beside(X, y, sample_weight)
            return PartedStream(X, self)
        if not whole:
            return self._data(X, y, sample_weight, "", window=window)
        pieces = pieces_of(X, y, sample_weight, window=2**62)
        if pieces is not None:
            raise ValueError(
                f"{plan!r} needs all samples in memory, or in a file that is mapped (numpy.memmap), because "
                f"its trainings learn from parts of them by themselves, got {pieces.described()} in pieces"
            )
        return self._check_data(X, y, sample_weight, "")

    def _validation_data(self, given: Any) -> Samples | Stream:
        """What ``fit`` evaluates after every epoch."""
        if isinstance(given, Sequence) and len(given) in (2, 3) and not is_iterated(given):
            X, y, weight = (*given, None)[:3]
        elif is_iterated(given) or isinstance(given, Parts):
            X, y, weight = given, None, None
        else:
            raise TypeError(
                f"validation_data must be (X, y) or (X, y, sample_weight), or give batches of these, "
                f"got {_checks.describe(given)}"
            )
        found = self._data(X, y, weight, "validation ")
        if isinstance(found, Stream) and not found.lasts:
            raise TypeError(
                f"validation_data must be something that can be read after every epoch, got "
                f"{_checks.describe(X)}: a function that makes it can"
            )
        return found

    def _cut(
        self, data: Samples | Stream, batch_size: int | None, window: int | None, steps: int | None,
        shuffle: bool, plan: Strategy, processes: int,
    ) -> Cut:  # fmt: skip
        """How an epoch is cut into batches."""
        trainings, every = 1, 1
        if isinstance(plan, LocalSGD):
            trainings, every = trainings_of(plan, processes), plan.every
        if isinstance(data, Samples):
            n = data.source.n_samples
            batch = min(BATCH if batch_size is None else batch_size, n)
            step = batch * trainings
            return Cut(batch, step, 0, shuffle, steps_of(steps, -(-n // step)) if steps else 0, self.seed)
        return data.cut(batch_size, window, steps, shuffle, self.seed, trainings=trainings, every=every)

    # --- a network that is kept and brought back ----------------------------------------

    def network_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """``config()`` and copies of all arrays of the network, with the fields that somebody here owns."""
        fields = _carried.saved_fields(self)
        return self.network.restorable_config(fields), self.network.arrays(fields)

    def bring_back(
        self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], optimizer_step: int
    ) -> None:
        """Put the network back to a :meth:`network_state` of ``optimizer_step``, as it was then.

        If its optimizer state is not of the present optimizer, the next ``fit`` begins with a fresh one.
        """
        self.network.restore(config, arrays)
        self.state.optimizer_step = optimizer_step
        self.state.unfinished = None  # that was an epoch of another network

    def check_descriptions(self) -> None:
        """ValueError or NotImplementedError if loss, optimizer or rule cannot be saved."""
        _carried.check_descriptions(self)

    def check_network(self, network: Sequential, optimizer_step: int) -> None:
        """ValueError if fields of a network, this or one to be brought back, do not fit their owners."""
        _carried.check_network(self, network, optimizer_step)


def _may_be_listed(data: Samples | Stream | None) -> bool:
    """Whether inputs may be sparse, so that they are not packed into tiles."""
    return not isinstance(data, Samples) or isinstance(data.source, CsrSource)


def _metrics(given: Any) -> bool:
    """Whether rows tell the metric; TypeError that says what to do instead of naming one."""
    if isinstance(given, str | Sequence):
        raise TypeError(
            f"metrics must be True or False, got {_checks.describe(given)}: which metric there is follows "
            "from the loss (accuracy, or R2), evaluate and validation data always tell it, and metrics=True "
            "tells it of training batches too"
        )
    return _checks.boolean("metrics", given)
