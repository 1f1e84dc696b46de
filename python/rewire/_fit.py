"""One call of ``fit``: the loop over epochs and batches.

The order of things in an epoch: callbacks (begin), shuffle, then for every
batch rewiring if due (after a look at gradients, where the rule asks for it),
forward, loss, backward with the optimizer's step; removal if this is the last
epoch and the rule asks for it; validation; the row of the history; callbacks
(end).

How far the epoch is stands in ``trainer.unfinished`` at any time, and signals
wait for the end of a step, a rewiring, an event. So a trainer that was saved
between any two of these, or interrupted there, goes on as if nothing had been.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._clipping import limit_gradients
from rewire._inputs import Source
from rewire._moments import SampleWeights, quiet
from rewire._run import run_length
from rewire._signals import Interrupts
from rewire._training import TrainerLike
from rewire._unfinished import Unfinished
from rewire.callbacks import EVENTS, State, handlers
from rewire.errors import DivergenceError
from rewire.layers.passing import Apply, Keep, Probe
from rewire.losses import Targets
from rewire.metrics import Metric
from rewire.progress import Silent
from rewire.rewiring import GradientProbe, Rule, TrainingProgress
from rewire.workspace import Workspace

__all__ = ["Fit"]

_SHUFFLE = 0x53687566  # "Shuf": keeps the order of samples apart from other uses of the seed
_PROBE = 0x50726F62  # "Prob": the samples a rule looks at beside the coming batch


class Fit:
    """Data, memory and counters of one call of ``fit``."""

    def __init__(
        self,
        trainer: TrainerLike,
        ws: Workspace,
        source: Source,
        targets: Targets,
        weight: NDArray[np.float64] | None,
        validation: tuple[Source, Targets, NDArray[np.float64] | None] | None,
        batch: int,
        shuffle: bool,
        interrupts: Interrupts,
    ) -> None:
        # Signals wait for the end of a step, a rewiring, an event, as long as these are short.
        self.step_whole, self.rewiring_whole, self.event_whole = (interrupts.section() for _ in range(3))
        self.trainer, self.net, self.ws = trainer, trainer.network, ws
        self.source, self.targets, self.validation = source, targets, validation
        self.weight = SampleWeights(weight)
        self.batch, self.shuffle = batch, shuffle
        self.threads = self.net.threads_for(batch, trainer.threads)
        self.updates = trainer.optimizer.updates()
        self.clip_norm = trainer.optimizer.clip_norm
        self.keeps = self.clip_norm is not None or not trainer.optimizer.in_core
        self.apply, self.keep = Apply(self.updates), Keep()
        self.passing = self.net.passing(ws, fused=trainer.fused, training=True, threads=self.threads)
        self.follows = type(trainer.rewiring).stepped is not Rule.stepped
        self.final = self.net.final
        self.outputs = np.empty((batch, self.net.n_out), self.net.dtype)
        self.state = State(trainer, self.net, validates=validation is not None)
        self.seconds_callbacks = 0.0
        self.errors = np.geterr()  # the caller's, for his callbacks; ours do not depend on it
        self.handlers = {event: handlers(trainer.callbacks, event) for event in EVENTS}

    def tell(self, event: str) -> None:
        """Run one event's callbacks."""
        if not self.handlers[event]:
            return
        self.state.epoch, self.state.step = self.trainer.epoch, self.trainer.step
        begin = time.perf_counter()
        with self.event_whole, np.errstate(**self.errors):
            for handler in self.handlers[event]:
                handler(self.state)
        self.seconds_callbacks += time.perf_counter() - begin

    @quiet()
    def epochs(self, count: int, show: Silent) -> None:
        """Train ``count`` epochs, or until somebody stops or interrupts it."""
        trainer, net = self.trainer, self.net
        self.state.last_epoch = trainer.epoch + count
        steps = -(-self.source.n_samples // self.batch)
        self.run_epochs = run_length(trainer, count, steps)
        part = trainer.unfinished
        if part is not None and not (part.continues(*self.kind()) and self.has_weight(part)):
            part = trainer.unfinished = None
        self.whole = True
        try:
            if trainer.standardize:
                net.learn_inputs(self.source, self.weight.values)
            for source in (self.source, *(self.validation or ())[:1]):
                net.check_inputs(source)
            for parameter in net.tree.parameters.values():
                parameter.hold_gradient(self.keeps or parameter.uses > 1)
            trainer.rewiring.prepare(net.sparse_parameters, net)
            self.tell("on_fit_begin")
            show.begin(self.state.last_epoch, trainer.epoch, steps)
            while trainer.epoch < self.state.last_epoch and not self.state.stop:
                row = self.one_epoch(show, last=trainer.epoch + 1 == self.state.last_epoch)
                with self.event_whole:
                    trainer.history.epochs.append(row)
                    trainer.epoch += 1
                    trainer.unfinished = None
                    self.state.row = row
                    show.epoch(row)
                    self.tell("on_epoch_end")
                    row["seconds_callbacks"] = self.seconds_callbacks
                    if trainer.epoch < self.state.last_epoch:  # else it comes anyway
                        trainer.set_births()
        except KeyboardInterrupt:
            trainer.history.interrupted = True
            if not self.whole:
                trainer.unfinished = None  # cut in the middle of a step: where it stands has no name
        finally:
            show.end()
            trainer.set_births()
            for parameter in net.tree.sparse:
                # A view that is still alive keeps the field; it is never saved and does no harm.
                with contextlib.suppress(BufferError):
                    parameter.hold_gradient(False)
        self.tell("on_fit_end")

    # --- an epoch -----------------------------------------------------------------------

    def kind(self) -> tuple[int, int, int, bool, Metric]:
        """What an unfinished epoch must have in common with the coming one, to be that."""
        metric = self.trainer.loss.metric(self.final)
        return self.trainer.epoch, self.source.n_samples, self.batch, self.shuffle, metric

    def has_weight(self, part: Unfinished) -> bool:
        """Whether an epoch that is gone on with has any weight at its end, which its loss is a mean by."""
        return part.weights > 0.0 or self.weight.of(self.order()[part.done :]).amount > 0.0

    def begin_epoch(self) -> Unfinished:
        """Nothing of the epoch is done yet."""
        trainer = self.trainer
        epoch, n_samples, batch, shuffle, metric = self.kind()
        none = [0] * len(self.net.weight_layers)
        with self.event_whole:
            part = Unfinished(n_samples, batch, shuffle, epoch, trainer.step, metric, none, list(none))
            trainer.unfinished = part
            self.seconds_callbacks = 0.0
            self.tell("on_epoch_begin")
            part.seconds_callbacks = self.seconds_callbacks
        return part

    def one_epoch(self, show: Silent, last: bool) -> dict[str, Any]:
        """All batches once, or those that are left; returns the epoch's row."""
        trainer, net = self.trainer, self.net
        part = trainer.unfinished or self.begin_epoch()
        self.seconds_callbacks = part.seconds_callbacks
        steps = -(-self.source.n_samples // self.batch)
        self.run_steps = part.first_step + (self.run_epochs - trainer.epoch) * steps
        order = self.order()
        while part.done < len(order):
            begin = time.perf_counter()
            rows = order[part.done : part.done + self.batch]
            weight, apart, amount = self.weight.of(rows)
            if amount > 0.0:
                progress = self.progress(trainer.epoch, part.weights == 0.0)
                due = trainer.rewiring.due(progress) or trainer.rewiring.overdue(
                    progress, trainer.rule_memory()
                )
                if due and not part.rewired:
                    self.rewire(progress, part, rows, weight)
                    begin = time.perf_counter()
                learns = not (due and trainer.rewiring.skip_step)
                with self.step_whole:
                    self.whole = False
                    self.state.loss, truth = self.one_step(rows, weight, progress.lr if learns else None)
                    part.metric.update(self.outputs[: len(rows)], truth, apart)
                    part.total += amount * self.state.loss
                    part.weights += amount
                    following = self.follow(progress) if self.follows else 0.0
                    part.done += len(rows)
                    part.rewired = False
                    part.seconds_rewiring += following
                    part.seconds_training += time.perf_counter() - begin - following
                    self.whole = True
                    self.tell("on_step_end")
                    part.seconds_callbacks = self.seconds_callbacks
            else:
                part.done += len(rows)
            show.step(self.state.loss)
        begin = time.perf_counter()
        squares = [name for name, field in trainer.optimizer.fields.items() if (field.power or 0) > 1]
        for parameter in net.tree.parameters.values():
            if not parameter.finite():
                raise self.diverged(parameter.label, "weights that are not finite")
            if not all(parameter.finite_field(name) for name in squares):
                raise self.diverged(parameter.label, "squares of gradients that are not finite")
        part.seconds_training += time.perf_counter() - begin
        if last and trainer.rewiring.last_epoch == "remove" and not part.closed:
            self.rewire(self.progress(trainer.epoch + 1, True), part)

        row: dict[str, Any] = {
            "epoch": trainer.epoch,
            "loss": part.total / part.weights,
            part.metric.name: part.metric.value(),
        }
        begin = time.perf_counter()
        if self.validation is not None:
            found = trainer.evaluate_checked(*self.validation)
            row.update({f"val_{name}": value for name, value in found.items()})
        row.update(
            lr=trainer.optimizer.rate(trainer.epoch, trainer.step),
            nnz=[layer.nnz for layer in net.weight_layers],
            links_removed=part.removed,
            links_grown=part.grown,
            seconds_training=part.seconds_training,
            seconds_rewiring=part.seconds_rewiring,
            seconds_evaluation=time.perf_counter() - begin,
            seconds_callbacks=self.seconds_callbacks,
        )
        return row

    def order(self) -> NDArray[np.int64]:
        """The order of samples in this epoch: a function of seed and epoch alone."""
        n = self.source.n_samples
        if not self.shuffle or self.batch >= n:  # within a batch the order is nothing but rounding
            return np.arange(n)
        words = np.random.SeedSequence([self.trainer.seed, self.trainer.epoch, _SHUFFLE])
        return np.random.Generator(np.random.Philox(words)).permutation(n)

    def progress(self, epoch: int, epoch_begins: bool) -> TrainingProgress:
        """Where training stands."""
        trainer = self.trainer
        rate = trainer.optimizer.rate(trainer.epoch, trainer.step)
        return TrainingProgress(epoch, trainer.step, epoch_begins, self.run_epochs, self.run_steps, rate)

    def rewire(
        self,
        progress: TrainingProgress,
        part: Unfinished,
        rows: NDArray[np.int64] | None = None,
        weight: NDArray[np.float64] | None = None,
    ) -> None:
        """Change the structure, count what changed, tell callbacks. Without ``rows`` nothing regrows."""
        trainer, rule = self.trainer, self.trainer.rewiring
        begin = time.perf_counter()
        probe = None
        if rows is not None and rule.probe_batches > 0:
            probe = self.probe_gradients(rows, weight)
        with self.rewiring_whole:
            trainer.set_births()
            before = self.generations()
            try:
                self.whole = False
                record = rule.rewire(
                    self.net.sparse_parameters, progress, trainer.rewirings + 1, self.threads,
                    seed=self.net.seed, network=self.net, regrow=rows is not None,
                    memory=trainer.rule_memory(), probe=probe,
                )  # fmt: skip
            except KeyboardInterrupt:
                self.whole = self.generations() == before  # it was still planning
                raise
            trainer.rewirings += 1
            record.seconds = time.perf_counter() - begin
            removed, grown = record.by_layer(self.net.weight_names)
            part.removed = [a + b for a, b in zip(part.removed, removed, strict=True)]
            part.grown = [a + b for a, b in zip(part.grown, grown, strict=True)]
            part.seconds_rewiring += record.seconds
            part.rewired, part.closed = rows is not None, rows is None
            self.whole = True
            self.state.rewired = record
            self.tell("on_rewire")

    def generations(self) -> list[tuple[int, int]]:
        """Changes whenever a rewiring is carried out."""
        return [(id(q.core), q.core.generation) for q in self.net.tree.sparse]

    def follow(self, before: TrainingProgress) -> float:
        """Let the rule do what it does after every step; ``before`` is the moment before it. Seconds."""
        begin = time.perf_counter()
        progress = before._replace(step=self.trainer.step, epoch_begins=False)
        self.trainer.rewiring.stepped(
            self.net.sparse_parameters, progress, self.threads, seed=self.net.seed, network=self.net
        )
        return time.perf_counter() - begin

    def probe_gradients(self, rows: NDArray[np.int64], weight: NDArray[np.float64] | None) -> GradientProbe:
        """Gradients for the coming batch, and for more at random where the rule asks for them."""
        trainer, net = self.trainer, self.net
        batches = trainer.rewiring.probe_batches
        if batches > 1:
            words = np.random.SeedSequence([trainer.seed, trainer.step, _PROBE])
            others = np.random.Generator(np.random.Philox(words)).integers(
                self.source.n_samples, size=(batches - 1) * len(rows)
            )
            weights_of_batches = np.repeat(trainer.rewiring.probe_weights(batches), len(rows))
            rows = np.concatenate([rows, others])
            own = self.weight.of(rows).near
            weight = weights_of_batches if own is None else weights_of_batches * own
        probe = Probe()
        self.passing.probing = True
        try:
            flow, _, dz, _ = self.forward(rows, weight)
            net.backward(dz, flow, self.passing, probe)
        finally:
            self.passing.probing = False
        return GradientProbe(probe.kept, self.threads)

    # --- a step -------------------------------------------------------------------------

    def forward(
        self, rows: NDArray[np.int64], weight: NDArray[np.float64] | None
    ) -> tuple[list[_core.Tiles], float, _core.Tiles, NDArray[Any]]:
        """Inputs of all layers and the outputs; loss; gradient of the outputs; targets."""
        trainer, net, ws = self.trainer, self.net, self.ws
        x = net.load_batch(ws, self.source, rows, self.threads)
        self.passing.step = trainer.step + 1
        flow = net.forward(x, self.passing)
        truth = self.targets.gather(rows)
        dz = ws.tiles("dz", net.n_out)
        value = trainer.loss.evaluate(flow[-1], truth, weight, dz)
        if not math.isfinite(value):
            raise self.find_divergence(flow, value)
        return flow, value, dz, truth

    def one_step(
        self, rows: NDArray[np.int64], weight: NDArray[np.float64] | None, rate: float | None
    ) -> tuple[float, NDArray[Any]]:
        """Forward, loss and, with a ``rate``, backward and the optimizer's step; loss and targets."""
        trainer, net = self.trainer, self.net
        net.refuse_views("trained")
        flow, value, dz, truth = self.forward(rows, weight)
        flow[-1].unpack(self.outputs[: len(rows)], self.threads)
        if rate is not None:
            self.updates.place(rate, trainer.optimizer.weight_decay, trainer.optimizer_step + 1)
            if self.keeps:
                self.keep.clear()
                net.backward(dz, flow, self.passing, self.keep)
                self.clip_and_apply()
            else:
                net.backward(dz, flow, self.passing, self.apply)
                self.apply.finish(self.threads)
            trainer.optimizer_step += 1
        trainer.step += 1
        return value, truth

    def clip_and_apply(self) -> None:
        """Scale all gradients down together if their joint norm is too large; then take the step."""
        kept = self.keep.in_order(self.net.tree.parameters)
        if self.clip_norm is not None:
            try:
                limit_gradients(kept, self.clip_norm)
            except ArithmeticError as error:
                raise self.diverged(None, str(error)) from None
        optimizer = self.trainer.optimizer
        if optimizer.in_core:
            self.keep.apply(self.updates, self.threads)
        else:
            optimizer.apply(kept, self.updates.rate, self.trainer.optimizer_step + 1)

    def find_divergence(self, flow: list[_core.Tiles], value: float) -> DivergenceError:
        """Name the first layer that is no longer finite."""
        for layer, y in zip(self.net.layers, flow[1:], strict=True):
            if not layer.finite():
                return self.diverged(layer.label, "weights that are not finite")
            if not np.isfinite(y.array()).all():
                return self.diverged(layer.label, "outputs that are not finite")
        return self.diverged(None, f"a loss of {value}")

    def diverged(self, layer: str | None, what: str) -> DivergenceError:
        """The error for where training stands."""
        return DivergenceError(self.trainer.epoch, self.trainer.step + 1, layer, what)
