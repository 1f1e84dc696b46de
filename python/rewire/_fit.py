"""One call of ``fit``: the loop over epochs and batches; what a step is stands in ``_stepper.py``.

The order of things in an epoch: callbacks (begin), shuffle (of all samples, or of
one window after the other where data come in pieces), then for every batch
rewiring if due (after a look at gradients, where the rule asks for it),
forward, loss, backward with the optimizer's step; removal if this is the last
epoch and the rule asks for it; validation; the row of the history; callbacks
(end).

How far the epoch is stands in ``trainer.unfinished`` at any time, and signals
wait for the end of a step, a rewiring, an event. So a trainer that was saved
between any two of these, or interrupted there, goes on as if nothing had been.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._alone import Batch, NetworkState, Round, RoundRunner, Stepped, state_fields
from rewire._moments import SampleWeights, Weighed, quiet
from rewire._parted import PartedStream
from rewire._ready import Ready
from rewire._run import run_length
from rewire._sharded import Helpers
from rewire._shards import cut, runs_of, shard_of
from rewire._signals import Interrupts
from rewire._stepper import Stepper, epoch_row
from rewire._strategies import LocalSGD, Strategy
from rewire._training import TrainerLike
from rewire._unfinished import Unfinished
from rewire.callbacks import State, handlers
from rewire.metrics import Metric
from rewire.progress import Silent
from rewire.rewiring import RewiringRecord
from rewire.streams.joining import Samples
from rewire.streams.stream import Stream
from rewire.streams.windows import SHUFFLE, Cut, Window, permutation
from rewire.workspace import Workspace

__all__ = ["Fit"]

_PROBE = 0x50726F62  # "Prob": the samples a rule looks at beside the coming batch


class Fit(Stepper):
    """Data, memory and counters of one call of ``fit``."""

    def __init__(
        self,
        trainer: TrainerLike,
        ws: Workspace,
        data: Samples | Stream,
        validation: Samples | Stream | None,
        cut: Cut,
        interrupts: Interrupts,
        helpers: Helpers | None = None,
        strategy: Strategy | None = None,
    ) -> None:
        super().__init__(trainer, ws, interrupts)
        self.helpers = helpers
        self.trainings = 0  # that learn alone and are averaged; 0: all learn together
        if isinstance(strategy, LocalSGD):
            self.every = strategy.every
            self.trainings = strategy.workers or (1 if helpers is None else helpers.size)
        self._rounds: tuple[list[tuple[int, int]], NetworkState] | None = None
        if helpers is not None and helpers.patient:
            self.step_whole = self.exchange = interrupts.wait_long
        self.event_whole = interrupts.section()
        if isinstance(data, PartedStream):
            cut = data.settled(cut, helpers, self.exchange)
        self.data, self.cut, self.validation = data, cut, validation
        self.shuffle, self.batch, self.first = cut.shuffle, cut.batch, 0
        if isinstance(data, Samples):
            self.source, self.targets = data.source, data.targets
            self.weight, self.samples = SampleWeights(data.weight), data.source.n_samples
        else:
            self.samples = data.n_samples or 0
        self.together = self.trainings * cut.batch  # samples of a step of all trainings
        self.use_threads(self.threads_for(max(1, cut.batch)))
        self.seen = State(trainer, self.net, validates=validation is not None)
        self.seconds_callbacks = 0.0
        self.errors = np.geterr()  # the caller's, for his callbacks; ours do not depend on it
        self.handlers = handlers(trainer.callbacks)

    # --- callbacks ------------------------------------------------------------------------

    def tell(self, event: str) -> None:
        """Run one event's callbacks."""
        if not self.handlers[event]:
            return
        self.seen.epoch, self.seen.step = self.state.epoch, self.state.step
        begin = time.perf_counter()
        with self.event_whole, np.errstate(**self.errors):
            for handler in self.handlers[event]:
                handler(self.seen)
        self.seconds_callbacks += time.perf_counter() - begin

    def told_of_rewiring(self, record: RewiringRecord) -> None:
        self.seen.rewired = record
        self.tell("on_rewire")

    def told_of_step(self, part: Unfinished, loss: float) -> None:
        self.seen.loss = loss
        self.tell("on_step_end")
        part.seconds_callbacks = self.seconds_callbacks

    def prepare(self) -> None:
        if self.keeps or self.trainer._fit_ready is None:
            super().prepare()
            self.trainer._fit_ready = Ready.of(self.trainer)

    # --- the loop over epochs ---------------------------------------------------------------

    @quiet()
    def epochs(
        self, count: int, show: Silent, alone: int = 0, finish: Callable[[], None] | None = None
    ) -> None:
        """Train ``count`` epochs, or until somebody stops or interrupts it.

        Then ``finish`` makes ``alone`` more, of which callbacks see the end.
        """
        trainer, net, state = self.trainer, self.net, self.state
        end = state.epoch + count
        self.seen.last_epoch = end + alone
        steps = self.steps_of_epoch()
        self.run_epochs = run_length(trainer, count + alone, steps)
        part = state.unfinished
        if part is not None and not (part.continues(self.fresh()) and self.has_weight(part)):
            part = state.unfinished = None
        try:
            if trainer.standardize:
                self.learn_inputs(part is not None)
            if trainer.standardize_targets and net.target_standardizer is None:
                self.learn_targets()
                for name, some in (("y", self.data), ("validation y", self.validation)):
                    if isinstance(some, Samples):
                        trainer.check_range(some.targets, trainer.loss, name)
            for data in (self.data, self.validation):
                if isinstance(data, Samples):
                    net.check_inputs(data.source)
            self.prepare()
            self.tell("on_fit_begin")
            show.begin(self.seen.last_epoch, state.epoch, steps)
            while state.epoch < end and not self.seen.stop:
                row = self.one_epoch(show, last=state.epoch + 1 == self.seen.last_epoch)
                with self.event_whole:
                    state.history.epochs.append(row)
                    state.epoch += 1
                    state.unfinished = None
                    self.seen.row = row
                    show.epoch(row)
                    self.tell("on_epoch_end")
                    row["seconds_callbacks"] = self.seconds_callbacks
                    if state.epoch < self.seen.last_epoch:  # else it comes anyway
                        trainer.set_births()
        except KeyboardInterrupt:
            state.history.interrupted = True
            if not self.whole:
                state.unfinished = None  # cut in the middle of a step: where it stands has no name
        finally:
            show.end()
            trainer.set_births()
            for parameter in net.tree.sparse:
                # A view that is still alive keeps the field; it is never saved and does no harm.
                with contextlib.suppress(BufferError):
                    parameter.hold_gradient(False)
        if finish is not None and not (self.seen.stop or state.history.interrupted):
            try:
                finish()
            except KeyboardInterrupt:
                state.history.interrupted = True
                if self.helpers is not None:  # they may still be at work
                    self.tell("on_fit_end")
                    raise
            if not state.history.interrupted:
                self.tell_of_epochs_alone()
        self.tell("on_fit_end")

    def tell_of_epochs_alone(self) -> None:
        """Callbacks see the network that these epochs end with, and the last row."""
        row = self.seen.row = self.state.history.epochs[-1]
        self.seconds_callbacks = row["seconds_callbacks"]
        self.tell("on_epoch_end")
        row["seconds_callbacks"] = self.seconds_callbacks

    def learn_inputs(self, resumes: bool) -> None:
        """Let the network learn mean and deviation of the features.

        That is a pass over all, where they come in pieces: not for an epoch that is gone on with.
        """
        center, known = self.trainer.standardize != "scale", self.net.standardizer is not None
        if isinstance(self.data, Samples):
            self.net.learn_inputs(self.data.source, self.data.weight, center=center)
        elif not known or (self.data.lasts and not resumes):
            self.net.learn_inputs(self.data.seen(self.cut), None, center=center)

    def learn_targets(self) -> None:
        """Let the network learn mean and deviation of the targets, once: a pass over all."""
        if isinstance(self.data, Samples):
            self.net.learn_targets(self.data.targets.source(), self.data.weight)
        else:
            self.net.learn_targets(self.data.seen_targets(self.cut), None)

    # --- an epoch -----------------------------------------------------------------------

    def steps_of_epoch(self) -> int:
        """Steps in a row, with those that are passed over: each takes a batch of every training."""
        return self.cut.steps or -(-self.samples // (self.batch * max(1, self.trainings)))

    def fresh(self) -> Unfinished:
        """The coming epoch, of which nothing is done yet."""
        none, cut, state = [0] * len(self.net.tree.weighted), self.cut, self.state
        metric = self.trainer.training_metric()
        return Unfinished(
            self.samples, cut.batch, cut.window, cut.steps, self.shuffle, state.epoch, state.step, metric,
            none, list(none),
        )  # fmt: skip

    def has_weight(self, part: Unfinished) -> bool:
        """Whether an epoch that is gone on with has any weight at its end, which its loss is a mean by."""
        if part.weights > 0.0 or not isinstance(self.data, Samples):
            return True
        return self.weight.of(self.order()[part.done :]).amount > 0.0

    def begin_epoch(self) -> Unfinished:
        """The epoch begins."""
        with self.event_whole:
            part = self.state.unfinished = self.fresh()
            self.seconds_callbacks = 0.0
            self.tell("on_epoch_begin")
            part.seconds_callbacks = self.seconds_callbacks
        return part

    def one_epoch(self, show: Silent, last: bool) -> dict[str, Any]:
        """All batches once, or those that are left; returns the epoch's row."""
        trainer, state = self.trainer, self.state
        part = state.unfinished or self.begin_epoch()
        self.seconds_callbacks = part.seconds_callbacks
        run = self.run_epochs, part.first_step + (self.run_epochs - state.epoch) * self.steps_of_epoch()
        if isinstance(self.data, Samples):
            self.learn(self.order(), part, run, show)
        else:
            made = state.step - part.first_step + part.passed
            with self.data.reading(self.cut, state.epoch, part.done, made) as windows:
                for window in windows:
                    self.look_at(window)
                    self.learn(window.order, part, run, show)
        if part.weights == 0.0 and (self.cut.steps or not isinstance(self.data, Samples)):
            raise ValueError(f"sample_weight must have a positive sum, got 0 in epoch {state.epoch}")
        begin = time.perf_counter()
        self.check_finite()
        part.seconds_training += time.perf_counter() - begin
        if last and trainer.rewiring.last_epoch == "remove" and not part.closed:
            self.rewire(self.progress(state.epoch + 1, True, run), part, regrow=False)

        row: dict[str, Any] = {"epoch": state.epoch, **part.figures()}
        begin = time.perf_counter()
        if self.validation is not None:
            found = trainer.evaluate_checked(self.validation)
            row.update({f"val_{name}": value for name, value in found.items()})
        row.update(epoch_row(trainer, part))
        row.update(
            seconds_evaluation=time.perf_counter() - begin,
            seconds_callbacks=self.seconds_callbacks,
        )
        return row

    def look_at(self, window: Window) -> None:
        """The coming batches are of this window."""
        self.source, self.targets, _ = window.samples
        self.weight, self.first, self.bases = window.weight, window.first, window.bases
        self.together = window.step or self.trainings * window.batch
        self.net.check_inputs(self.source)
        if window.batch != self.batch:
            self.batch = window.batch
            self.use_threads(self.threads_for(window.batch))

    def learn(self, order: NDArray[np.int64], part: Unfinished, run: tuple[int, int], show: Silent) -> None:
        """Learn from the samples that are in memory, in this order, but for what is done of them."""
        while self.trainings and part.done - self.first < len(order):
            steps = self.train_round(order, part, run)
            show.step(self.seen.loss, steps)
        while (at := part.done - self.first) < len(order):
            rows = order[at : at + self.batch]
            weight = self.weight.of(rows)
            if weight.amount > 0.0:
                self.train(rows, weight, part, run)
            else:
                part.done += len(rows)
                part.passed += 1
            show.step(self.seen.loss)

    def train_round(self, order: NDArray[np.int64], part: Unfinished, run: tuple[int, int]) -> int:
        """Rewire if it is due; let all trainings make their steps, and take the mean of their ends.

        Returns
        -------
        int
            How many steps of the epoch are behind it now.
        """
        begin, state, at = time.perf_counter(), self.state, part.done - self.first
        self.refuse_other_fields()
        each = self.together
        batches = self.parts_of_round(order[at : at + each])
        if not any(batches):  # of weight 0: no step
            part.done += min(each, len(order) - at)
            part.passed += 1
            return 1
        progress = self.progress(state.epoch, state.step == part.first_step, run)
        if self.due(progress) and not part.rewired:
            self.rewire(progress, part, *next(own[0] for own in batches if own))
            begin = time.perf_counter()
        most = min(self.every, -(-(len(order) - at) // each))
        planned, after = 1, progress._replace(epoch_begins=False)
        while planned < most and not self.due(after._replace(step=state.step + planned)):
            planned += 1
        rows = order[at : at + each * planned]
        parts = self.parts_of_round(rows)
        steps = max(map(len, parts))
        rates = [self.optimizer.rate(state.epoch, state.step + i) for i in range(steps)]
        task = Round(parts, rates, state.step, state.epoch, state.optimizer_step, self.batch, self.bases)
        with self.step_whole:
            self.begin()
            now = self.generations()
            if self._rounds is None or self._rounds[0] != now:
                self._rounds = now, NetworkState(self.net, state_fields(self.optimizer))
            found = self.learn_round(task, self._rounds[1], part.metric)
            state.step += steps
            state.optimizer_step += steps
            part.passed += planned - steps
            loss = self.count_round(task, found, part)
            self.close(part, len(rows), progress, begin)
            self.seen.steps = steps
            self.told_of_step(part, loss)
        return planned

    def parts_of_round(self, rows: NDArray[np.int64]) -> list[list[Batch]]:
        """Samples of a round by training: those of a step are shared by all, as equally as can be.

        Where each has samples of its own it gets no others.
        """
        found: list[list[Batch]] = [[] for _ in range(self.trainings)]
        for first in range(0, len(rows), self.together):
            step = rows[first : first + self.together]
            runs = cut(len(step), self.trainings) if self.bases is None else runs_of(step, self.bases)
            for own, (a, b) in zip(found, runs, strict=True):
                batch = Batch(step[a:b], self.weight.of(step[a:b]))
                if b > a and batch.weight.amount > 0.0:
                    own.append(batch)
        return found

    def learn_round(
        self, task: Round, state: NetworkState, metric: Metric | None
    ) -> dict[int, list[Stepped]]:
        """Make a round; a network that is interrupted meanwhile is what it was before."""
        runner = RoundRunner(self.net, self.passing, self.trainer.loss, self.optimizer)
        runner.source, runner.targets, runner.metric = self.source, self.targets, metric
        begin = state.take()
        self.changes = True
        try:
            if self.helpers is not None:
                with self.exchange:
                    return self.helpers.round(task, runner, state, begin)
            total = runner.total(task, state, begin, 0, len(task.parts))
            assert total is not None
            state.divide(total, len(runner.found))
            state.put(total)
        except BaseException:
            state.put(begin)
            self.whole = True
            raise
        return runner.found

    def count_round(self, task: Round, found: dict[int, list[Stepped]], part: Unfinished) -> float:
        """Count what the steps of a round gave, training by training; their mean loss."""
        total = weights = 0.0
        for number in sorted(found):
            for batch, stepped in zip(task.parts[number], found[number], strict=True):
                part.count(stepped.seen, self.net.truth(self.targets, batch.rows), batch.weight.apart)
                part.learnt(stepped.loss, stepped.amount)
                total += stepped.amount * stepped.loss
                weights += stepped.amount
        return total / weights if weights else 0.0

    def order(self) -> NDArray[np.int64]:
        """The order of samples in this epoch."""
        return self.order_of(self.state.epoch)

    def order_of(self, epoch: int) -> NDArray[np.int64]:
        """The order of samples in an epoch: a function of seed and epoch alone."""
        n = self.source.n_samples
        if not self.shuffle or self.batch >= n:  # within a batch the order is nothing but rounding
            order = np.arange(n)
        else:
            order = permutation(n, self.trainer.seed, epoch, SHUFFLE)
        return order[: self.cut.steps * self.cut.step] if self.cut.steps else order

    def probed(
        self, rows: NDArray[np.int64], weight: Weighed, batches: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
        if batches == 1:
            return rows, weight.near
        n = self.targets.n_samples
        if self.bases is None and self.batch == n != self.samples:
            raise ValueError(
                f"rewiring {self.rule.name!r} looks at {batches} batches, and X gives one after the other: "
                "give window=... of more than one batch, from which they are chosen"
            )
        words = np.random.SeedSequence([self.trainer.seed, self.state.step, _PROBE])
        others = np.random.Generator(np.random.Philox(words)).integers(n, size=(batches - 1) * len(rows))
        of_batches = np.repeat(self.rule.weights_of_probe(batches), len(rows))
        rows = np.concatenate([rows, others])
        if self.bases is not None:
            by_shard = np.argsort(shard_of(rows, self.bases), kind="stable")
            rows, of_batches = rows[by_shard], of_batches[by_shard]
        own = self.weight.of(rows).near
        return rows, of_batches if own is None else of_batches * own
