"""The steps of a trainer one by one, for loops of one's own: several losses, accumulation, workers.

All of them do what `fit` does between two batches, by the same code. Callbacks belong to `fit`: nobody is
told of these steps but whoever calls. An epoch begins with the first step after the last one has ended.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire import _checks
from rewire._checked import checked_inputs
from rewire._evaluating import refuse_unscalable
from rewire._inputs import as_source
from rewire._moments import quiet
from rewire._own_stepper import Learnt, WaitingFlow, took
from rewire._own_steps import OwnSteps
from rewire._precision import LARGEST
from rewire._stepper import epoch_row
from rewire._training import TrainerLike
from rewire.history import check_row
from rewire.losses import Loss
from rewire.losses import loss as as_loss
from rewire.parameters.base import GRADIENT
from rewire.rewiring import RewiringRecord
from rewire.streams.ahead import Ahead
from rewire.streams.kinds import pieces_of
from rewire.streams.stream import in_order, seen

__all__ = ["OwnLoop", "StepResult"]


class StepResult(NamedTuple):
    """What :meth:`Trainer.train_step` did.

    Attributes
    ----------
    loss : float
        Of the batch, before the optimizer's step.
    lr : float
        The learning rate.
    rewired : RewiringRecord or None
        The rewiring before the step, if there was one.
    """

    loss: float
    lr: float
    rewired: RewiringRecord | None


class OwnLoop(OwnSteps):
    """Base of `rewire.Trainer`: its steps one by one."""

    # --- whole steps ------------------------------------------------------------------------

    def train_step(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> StepResult:
        """Learn from one batch, as ``fit`` does: a rewiring if it is due, then one step of the optimizer.

        Parameters
        ----------
        X, y, sample_weight
            One batch, as for :meth:`fit`.

        Returns
        -------
        StepResult
            ``loss``, ``lr``, ``rewired``.

        Raises
        ------
        TypeError, ValueError
            For wrong arguments; for a trainer that has callbacks, which ``fit`` alone tells of anything; if a
            rule counts by fractions of a run whose length nobody has said (``horizon``,
            ``steps_per_epoch``).
        DivergenceError
            When outputs or weights are no longer finite.
        BufferError
            If a store is viewed; the layer is named.
        RuntimeError
            If this network is used elsewhere; while gradients wait for :meth:`apply`.

        Notes
        -----
        A call that is refused changes nothing, nor does one that diverges (but the rewiring before it stays).
        If something else raises in the middle of a step (memory, a layer of your own), the network is valid,
        with part of the step, and the epoch begins anew. A step in which an optimizer of your own raises is
        undone, in a network of at most 256 MiB.

        Ctrl-C waits for the end of the step as in :meth:`fit`, and is then raised.

        From the same batches come the same bits as from :meth:`fit`.
        """
        data = self._check_data(X, y, sample_weight, "")
        with self._stepping("train_step", kept=False) as stepper:
            part, stepper.rewired = stepper.part(), None
            progress, batch = stepper.before(part), stepper.take(data)
            if not part.rewired and stepper.due(progress):
                if self.rewiring.probe_batches > 1:
                    batches = self.rewiring.probe_batches
                    raise ValueError(
                        f"rewiring {self.rewiring.name!r} looks at {batches} batches, and train_step has "
                        f"one: call rewire_if_due(X, y) with {batches} of them before it"
                    )
                self._rewire(stepper, progress, part, batch)
            stepper.train(*batch, part, (progress.epochs, progress.steps))
            self.set_births()
        return StepResult(stepper.loss, progress.lr, stepper.rewired)

    def rewire_if_due(
        self, X: Any = None, y: Any = None, *, sample_weight: Any = None
    ) -> RewiringRecord | None:
        """Rewire if that is due before the coming step; a loop with :meth:`apply` begins each step with it.

        :meth:`train_step` does so by itself. Once before a step is enough, a second call does nothing.

        Parameters
        ----------
        X, y, sample_weight : optional
            The coming batch, for rules that look at its gradients, such as RigL; all of it, where it is cut
            into parts afterwards. For a rule that looks at several batches: as many, of one size, the coming
            one first.

        Returns
        -------
        RewiringRecord or None
            What was dropped and grown in each layer; None if nothing was due.

        Raises
        ------
        TypeError, ValueError, RuntimeError, BufferError, DivergenceError
            As for :meth:`train_step`; and if the rule looks at gradients, and there is no batch.

        Notes
        -----
        Whatever raises, nothing has changed; of a large network as after :meth:`fit`.
        """
        data = None if X is None else self._check_data(X, y, sample_weight, "")
        with self._stepping("rewire_if_due", kept=False) as stepper:
            part = stepper.part()
            progress = stepper.before(part)
            if part.rewired or not stepper.due(progress):
                return None
            if data is None and self.rewiring.probe_batches:
                raise ValueError(
                    f"rewiring {self.rewiring.name!r} looks at gradients: give rewire_if_due the coming batch"
                )
            return self._rewire(stepper, progress, part, () if data is None else stepper.take(data))

    # --- gradients first, the optimizer later -----------------------------------------------

    def gradients(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        loss: str | Loss | dict[str, Any] | None = None,
        scale: float = 1.0,
        first_sample: int = 0,
    ) -> float:
        """Forward and backward; gradients are added to those that wait for :meth:`apply`.

        Parameters
        ----------
        X, y, sample_weight
            Samples, as for :meth:`fit`.
        loss : str or Loss, optional
            Another one than the trainer's. Only the trainer's counts in loss and metric of the epoch.
        scale : float
            Factor on the gradient. The loss is a mean over samples, so a part of n samples of a batch of m
            has ``scale=n/m``.
        first_sample : int
            Number of the first sample in its step, where a batch is cut into parts: they get the same dropout
            masks as the whole.

        Returns
        -------
        float
            The loss, without ``scale``.

        Raises
        ------
        TypeError, ValueError, RuntimeError, BufferError, DivergenceError
            As for :meth:`train_step`. RuntimeError also if links have changed since the first of the
            gradients that wait.

        Notes
        -----
        ``network.get_vector("gradient")`` is their sum so far as one vector, and
        ``network.set_vector(v, "gradient")`` writes it, as workers do that average their gradients.

        A call that is refused changes nothing. If something raises in the middle, no gradients are left.
        """
        other, fused = None, self.fused
        if loss is not None:
            other = as_loss(loss)
            fused = other.fused(self.network.final)
            other.check_outputs(self.network.n_out)
        data = self._check_data(X, y, sample_weight, "", other)
        scale = _checks.number("scale", scale)
        first_sample = _checks.integer("first_sample", first_sample, low=0, high=2**62)
        begin = time.perf_counter()
        with self._stepping("gradients") as stepper, stepper.step_whole:
            self.network.refuse_views("trained")
            stepper.same_links()
            (rows, weight), passing, stepper.flow = stepper.take(data), stepper.passing, None
            passing.first_sample = first_sample
            passing.linear = self.network.layers[-1] if fused else None
            try:
                own = self.loss if other is None else other
                tiles, value, dz, truth = stepper.forward(rows, weight.near, own)
                metric = self.training_metric() if other is None else None
                seen = None
                if metric is not None:
                    seen = metric.look(tiles[-1], truth, weight.apart, stepper.threads)
                kept = stepper.add(tiles, dz, scale)
            finally:
                passing.linear = stepper.linear
            if other is None:
                amount = weight.amount * own.counts(truth, weight.near)
                kept.learnt.append(Learnt(seen, truth, value, weight.apart, amount))
            took(kept, len(rows) if other is None else 0, begin)
        return value

    def forward(self, X: Any, *, first_sample: int = 0) -> NDArray[Any]:
        """Outputs as they are while training, for a loss of one's own; :meth:`backward` takes its gradient.

        Parameters
        ----------
        X : array-like or SciPy CSR, shape (m, n_in)
        first_sample : int
            As for :meth:`gradients`.

        Returns
        -------
        ndarray of the network's dtype, shape (m, n_out)
            With dropout. Where the trainer's loss has the final activation in it (softmax or sigmoid with a
            cross entropy), the sums before it: logits. Of standardised targets, in the units of these.

        Raises
        ------
        TypeError, ValueError, RuntimeError, DivergenceError
            As for :meth:`train_step`.
        """
        source = as_source(X, self.network.n_in)
        first_sample = _checks.integer("first_sample", first_sample, low=0, high=2**62)
        begin = time.perf_counter()
        with self._stepping("forward") as stepper, stepper.step_whole:
            stepper.take_samples(source.n_samples, first_sample)
            stepper.flow = None
            tiles = stepper.outputs_of(source, np.arange(source.n_samples))
            outputs = tiles[-1].unpack(None, stepper.threads)
            if not np.isfinite(outputs).all():
                raise stepper.find_divergence(tiles, float("nan"))
            seconds = time.perf_counter() - begin
            stepper.flow = WaitingFlow(tiles, stepper.generations(), source.n_samples, seconds)
        return outputs

    def backward(self, dY: Any, *, scale: float = 1.0) -> None:
        """Add the gradients that follow from ``dY`` to those that wait for :meth:`apply`.

        Parameters
        ----------
        dY : array-like, shape (m, n_out)
            The gradient of a loss for what the last :meth:`forward` gave. Finite.
        scale : float
            Factor on it.

        Raises
        ------
        TypeError, ValueError, BufferError
            For wrong arguments; if a store is viewed.
        RuntimeError
            Without a :meth:`forward` of its own right before, with the same links.
        """
        source = as_source(dY, self.network.n_out, "dY")
        scale, limit = _checks.number("scale", scale), LARGEST[self.network.dtype]
        if source.largest > limit:
            raise ValueError(f"dY must lie within {limit:.2g}, the range of {self.network.dtype}")
        begin = time.perf_counter()
        with self._stepping("backward") as stepper, stepper.step_whole:
            flow = stepper.flow
            self.network.refuse_views("trained")
            stepper.same_links()
            if flow is None or flow.links != stepper.generations():
                raise RuntimeError("backward needs a forward of its own right before it, with the same links")
            if source.n_samples != flow.samples:
                raise ValueError(f"dY must have {flow.samples} rows, as X had, got {source.n_samples}")
            dz = stepper.ws.tiles("dz", self.network.n_out)
            source.pack(dz, np.arange(flow.samples), None, None, stepper.threads)
            took(stepper.add(flow.tiles, dz, scale), flow.samples, begin - flow.seconds)
            stepper.flow = None

    def apply(self, *, scale: float = 1.0, gradient: ArrayLike | None = None) -> None:
        """One step of the optimizer from the gradients that wait: clipped together, and given up afterwards.

        Parameters
        ----------
        scale : float > 0
            Factor on all of them, before they are clipped.
        gradient : array-like, shape (n_params,), optional
            What is taken instead of them, in the order of ``network.get_vector("gradient")``. Finite.

        Raises
        ------
        TypeError, ValueError, BufferError
            As for :meth:`train_step`.
        DivergenceError
            If their norm is not finite, and the optimizer clips.
        RuntimeError
            If there are none, or of other links; if a rewiring is due before this step and there was none,
            see :meth:`rewire_if_due`.

        Notes
        -----
        A call that is refused changes nothing, and the gradients still wait.
        """
        scale = _checks.number("scale", scale, low=0.0, open_low=True)
        if gradient is not None:
            gradient = _checks.float_vector("gradient", gradient, self.network.n_params)
        begin = time.perf_counter()
        with self._stepping("apply") as stepper:
            if stepper.kept is None and gradient is None:
                raise RuntimeError("apply needs gradients: call gradients, or forward and backward")
            stepper.same_links()
            part = stepper.part()
            progress = stepper.before(part)
            due = stepper.due(progress)
            if due and not part.rewired:
                raise RuntimeError(
                    f"a rewiring is due before step {self.state.step + 1}, and there was none: begin each "
                    "step with rewire_if_due(); now zero_gradients() comes before it"
                )
            with stepper.step_whole:
                stepper.begin()
                if gradient is not None:
                    self.network.set_vector(gradient, GRADIENT)
                    stepper.keep.there.update(self.network.tree.parameters)
                learns = not (due and self.rewiring.skip_step)
                if learns and scale != 1.0:
                    stepper.scale(scale)
                stepper.use(part, progress, learns, begin)
                self.set_births()

    def zero_gradients(self) -> None:
        """Give up the gradients that wait for :meth:`apply`, and a :meth:`forward` that waits."""
        with self.network.gate.writing("zero_gradients"):
            if self._stepper is not None:
                self._stepper.forget()

    # --- epochs -------------------------------------------------------------------------------

    def end_epoch(self, *, last: bool = False, **figures: Any) -> dict[str, Any]:
        """End an epoch of one's own loop: its row goes to the history, and ``epoch`` is one more.

        Epochs are what ``Epochs(n)`` of a rewiring rule and schedules of the learning rate count. A run that
        is saved and resumed before goes on in the middle, after ``trainer.step_in_epoch`` steps of it.

        Parameters
        ----------
        last : bool
            Whether the run ends: a rule with ``last_epoch="remove"`` then removes links without regrowth.
        **figures
            More columns for the row, such as ``val_loss=...``: numbers or words.

        Returns
        -------
        dict
            The row. ``loss`` and metric are those of :meth:`train_step` and of :meth:`gradients` with the
            trainer's loss.

        Raises
        ------
        RuntimeError
            If no step was made since the last epoch; while gradients wait.
        DivergenceError
            If weights are not finite.
        TypeError, ValueError
            For figures that no history holds.
        """
        last = _checks.boolean("last", last)
        with self._stepping("end_epoch", kept=False) as stepper:
            part, state = self.state.unfinished, self.state
            if part is None or not part.in_own_loop or part.first_step == state.step:
                raise RuntimeError("end_epoch needs a step before it that is of the epoch")
            row = {"epoch": state.epoch, **part.figures(), **epoch_row(cast(TrainerLike, self), part)}
            for name in figures:
                if name in row:
                    raise ValueError(f"figures must have names of their own, got {name!r}")
            check_row("figures", {**row, **figures}, len(self.network.weight_layers))
            stepper.check_finite()
            if last and self.rewiring.last_epoch == "remove" and not part.closed:
                progress = stepper.progress(state.epoch + 1, True, stepper.run(part))
                self._rewire(stepper, progress, part, (), regrow=False)
                row.update(epoch_row(cast(TrainerLike, self), part))
            with stepper.rewiring_whole:
                row.update(figures)
                state.history.epochs.append(row)
                state.epoch += 1
                state.run_end = max(state.run_end, state.epoch)
                state.unfinished = None
                self.set_births()
        return row

    def learn_inputs(self, X: Any, *, sample_weight: Any = None) -> None:
        """Take mean and deviation of every feature from a training set, as ``fit`` does with ``standardize``.

        Parameters
        ----------
        X : array-like or SciPy CSR, shape (m, n_in), or data that are read in pieces
            As for ``fit``; of batches ``(X, y)`` only X counts, and weights.
        sample_weight : array-like, shape (m,), optional

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As for :meth:`train_step`.
        """
        pieces = pieces_of(X, None, sample_weight)
        if pieces is None:
            source = as_source(X, self.network.n_in)
            weight = self._check_weight(sample_weight, source.n_samples, "sample_weight")
        else:
            n_in = self.network.n_in
            with Ahead(checked_inputs(piece, n_in) for piece in in_order(pieces, n_in)) as parts:
                source, weight = seen(parts), None
        with self.network.gate.writing("learn_inputs"), quiet():
            self._refuse_kept("learn_inputs")
            self.network.learn_inputs(source, weight, center=self.standardize != "scale")

    def learn_targets(self, y: Any, *, sample_weight: Any = None) -> None:
        """Take mean and deviation of every target, as the first ``fit`` does with ``standardize_targets``.

        Parameters
        ----------
        y : array-like, shape (m,) or (m, n_out)
            As for ``fit``: those of the training set, or of a sample of it.
        sample_weight : array-like, shape (m,), optional

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As for :meth:`train_step`; ValueError for a loss that is not of numbers, an output that is not
            linear, and a trainer without ``standardize_targets``.

        Notes
        -----
        A network that has its ``target_standardizer`` keeps it, for its weights go by that. One that has been
        trained on targets as they are has its last layer rescaled, as by ``fit``.
        """
        if not self.standardize_targets:
            raise ValueError(
                "learn_targets is for a trainer that standardises targets, Trainer(..., "
                "standardize_targets=True), got False"
            )
        refuse_unscalable(self.loss, self.network)
        targets = self._check_targets(y, "y")
        weight = self._check_weight(sample_weight, targets.n_samples, "sample_weight")
        with self.network.gate.writing("learn_targets"), quiet():
            self._refuse_kept("learn_targets")
            self.network.learn_targets(targets.source(), weight)
