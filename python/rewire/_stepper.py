"""One step of training: rewiring if it is due, forward, loss, backward, the optimizer's step.

`fit` and the steps that a trainer has for loops of one's own are loops over what stands here. It changes the
network, the trainer's state and the place in the epoch; whoever calls holds the network's gate and is in
charge of signals, which wait for the end of a step and of a rewiring as long as these are short.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import noted
from rewire._clipping import limit_gradients
from rewire._diverging import divergence
from rewire._inputs import Source
from rewire._moments import Weighed
from rewire._packing import Packing
from rewire._sharded import Helpers, Outcome, ShardRunner, outcome
from rewire._shards import task_of
from rewire._signals import Interrupts
from rewire._snapshot import KEPT_BYTES
from rewire._training import TrainerLike
from rewire._unfinished import Unfinished
from rewire.errors import DivergenceError
from rewire.layers.passing import Apply, Keep, Probe
from rewire.losses import Loss, Targets, Truth
from rewire.metrics import Metric
from rewire.rewiring import GradientProbe, RewiringRecord, Rule, TrainingProgress
from rewire.threads import resolve
from rewire.workspace import Workspace

__all__ = ["Stepper", "epoch_row"]


class Stepper:
    """Memory and constants for steps of one trainer, as long as its optimizer and rule stay the same.

    Attributes
    ----------
    source, targets : Source, Targets
        The data that rows are of.
    whole : bool
        Whether no step and no rewiring is half done.
    changes : bool
        Whether the step that is being made has begun to change the network.
    keeps : bool
        Whether all gradients must be there before the optimizer's step, which is not fused then.
    keep : Keep
        Gradients that wait for the optimizer.
    bases : tuple of int or None
        Where the rows of each shard begin, if each has samples of its own.
    helpers : Helpers or None
        Who computes shards of batches together with this process.
    exchange : context manager
        What an exchange with them is made in.
    """

    source: Source
    targets: Targets
    bases: tuple[int, ...] | None = None
    helpers: Helpers | None = None
    exchange: contextlib.AbstractContextManager[None] = contextlib.nullcontext()

    def __init__(self, trainer: TrainerLike, ws: Workspace, interrupts: Interrupts) -> None:
        self.step_whole, self.rewiring_whole = interrupts.section(), interrupts.section()
        self.trainer, self.net, self.state, self.ws = trainer, trainer.network, trainer.state, ws
        self.optimizer, self.rule = trainer.optimizer, trainer.rewiring
        self.updates = trainer.updates()
        self.apply, self.keep = Apply(self.updates), Keep()
        self.passing = self.net.passing(ws, fused=trainer.fused, training=True)
        self.linear = self.passing.linear
        self.follows = type(self.rule).stepped is not Rule.stepped
        self.promises = type(self.rule).overdue is not Rule.overdue
        self.threads = 1
        self.whole, self.changes = True, False
        self._runner: ShardRunner | None = None
        self._packing: tuple[list[tuple[int, int]], Packing] | None = None
        self.refresh()

    def refresh(self) -> None:
        """See what may be changed between steps."""
        self.shards = self.trainer.shards or 1
        clips, in_core = self.optimizer.clip_norm is not None, self.optimizer.in_core
        self.keeps = clips or not in_core or self.shards > 1

    def threads_for(self, batch: int) -> int:
        """How many threads pay for a step of so many samples: all there are, divided by the processes."""
        asked = self.trainer.threads
        if self.helpers is not None and asked is None:
            asked = max(1, resolve(None) // self.helpers.beside)
        return self.net.threads_for(-(-batch // self.shards), asked)

    def use_threads(self, threads: int) -> None:
        """As many threads from now on."""
        self.threads = self.passing.threads = threads

    def prepare(self) -> None:
        """Before the first step: the rule's fields, and memory for gradients that wait, have to be there."""
        for parameter in self.net.tree.parameters.values():
            parameter.hold_gradient(self.keeps or parameter.uses > 1)
        self.rule.prepare(self.net.sparse_parameters, self.net)

    def progress(self, epoch: int, epoch_begins: bool, run: tuple[int, int]) -> TrainingProgress:
        """Where training stands in a run of so many epochs and steps."""
        state = self.state
        rate = self.optimizer.rate(state.epoch, state.step)
        return TrainingProgress(epoch, state.step, epoch_begins, *run, rate)

    def due(self, progress: TrainingProgress) -> bool:
        """Whether a rewiring is due before the coming step."""
        rule = self.rule
        if rule.due(progress):
            return True
        return self.promises and rule.overdue(progress, self.trainer.rule_memory())

    # --- for those who are told -------------------------------------------------------------

    def told_of_rewiring(self, record: RewiringRecord) -> None:
        """A rewiring was carried out."""

    def told_of_step(self, part: Unfinished, loss: float) -> None:
        """A whole step was made by :meth:`train`."""

    # --- a whole step -----------------------------------------------------------------------

    def train(self, rows: NDArray[np.int64], weight: Weighed, part: Unfinished, run: tuple[int, int]) -> None:
        """Rewire if it is due, and learn from a batch."""
        begin = time.perf_counter()
        state, rule = self.state, self.rule
        progress = self.progress(state.epoch, state.step == part.first_step, run)
        due = self.due(progress)
        if due and not part.rewired:
            self.rewire(progress, part, rows, weight)
            begin = time.perf_counter()
        with self.step_whole:
            self.begin()
            learns = not (due and rule.skip_step)
            if self.shards > 1:
                found = self.in_shards(rows, weight, "learn" if learns else "look", part.metric)
                loss, truth = found.loss, Truth(self.targets, rows)
                apart = weight.apart
                looks = [
                    (seen, self.net.truth(self.targets, rows[run]), None if apart is None else apart[run])
                    for run, seen in found.seen
                ]
                if learns:
                    parameters = self.net.tree.parameters
                    self.keep.there = {name: parameters[name] for name in parameters if name in found.there}
                    self.optimize(progress.lr)
            else:
                tiles, loss, dz, truth = self.forward(rows, weight.near, self.trainer.loss)
                looks = [(part.look(tiles[-1], truth, weight.apart, self.threads), truth, weight.apart)]
            if learns and self.shards == 1:
                if self.keeps:
                    self.keep.clear()
                    self.net.backward(dz, tiles, self.passing, self.keep)
                    self.optimize(progress.lr)
                else:
                    self.place(progress.lr)
                    self.changes = True
                    self.net.backward(dz, tiles, self.passing, self.apply)
                    self.apply.finish(self.threads)
                    state.optimizer_step += 1
            state.step += 1
            amount = weight.amount * self.trainer.loss.counts(truth, weight.near)
            for look in looks:
                part.count(*look)
            part.learnt(loss, amount)
            self.close(part, len(rows), progress, begin)
            self.told_of_step(part, loss)

    def begin(self) -> None:
        """Before a step."""
        self.refresh()
        self.net.refuse_views("trained")
        self.whole, self.changes = False, False

    def close(self, part: Unfinished, samples: int, progress: TrainingProgress, begin: float) -> None:
        """After the optimizer's step: the rule follows, and the place in the epoch moves on."""
        following = self.follow(progress) if self.follows else 0.0
        part.done += samples
        part.rewired = False
        part.seconds_rewiring += following
        part.seconds_training += time.perf_counter() - begin - following
        self.whole, self.changes = True, False

    def follow(self, before: TrainingProgress) -> float:
        """Let the rule do what it does after every step; ``before`` is the moment before it. Seconds."""
        begin = time.perf_counter()
        progress = before._replace(step=self.state.step, epoch_begins=False)
        with noted(f"while rewiring {self.rule.label} followed step {progress.step}"):
            self.rule.stepped(
                self.net.sparse_parameters, progress, self.threads, seed=self.net.seed, network=self.net
            )
        return time.perf_counter() - begin

    # --- its parts --------------------------------------------------------------------------

    def outputs_of(self, source: Source, rows: NDArray[np.int64]) -> list[_core.Tiles]:
        """A forward pass, as training makes it: inputs of all layers, and the outputs."""
        x = self.net.load_batch(self.ws, source, rows, self.threads)
        self.passing.step, self.passing.epoch = self.state.step + 1, self.state.epoch
        return self.net.forward(x, self.passing)

    def forward(
        self, rows: NDArray[np.int64], weight: NDArray[np.float64] | None, loss: Loss
    ) -> tuple[list[_core.Tiles], float, _core.Tiles, Truth]:
        """Inputs of all layers and the outputs; loss; gradient for the outputs; targets.

        Raises
        ------
        DivergenceError
            If the loss is not finite.
        """
        tiles = self.outputs_of(self.source, rows)
        truth = self.net.truth(self.targets, rows)
        dz = self.ws.tiles("dz", self.net.n_out)
        value = loss.evaluate(tiles[-1], truth, weight, dz, self.threads)
        if not math.isfinite(value):
            raise self.find_divergence(tiles, value)
        return tiles, value, dz, truth

    def in_shards(
        self, rows: NDArray[np.int64], weight: Weighed, what: str, metric: Metric | None
    ) -> Outcome:
        """A batch that is cut into shards; the parameters keep its gradient where ``what`` is ``"learn"``.

        Raises
        ------
        DivergenceError
            If the loss of a shard is not finite.
        """
        task = task_of(
            rows, weight.near, weight.apart, self.targets, self.trainer.loss, self.shards,
            step=self.state.step + 1, epoch=self.state.epoch, what=what, bases=self.bases,
        )  # fmt: skip
        runner = self._runner
        if runner is None:
            runner = self._runner = ShardRunner(self.net, self.passing, self.trainer.loss, metric)
        runner.source, runner.targets, runner.metric = self.source, self.targets, metric
        runner.loss = self.trainer.loss
        self.keep_buffers()
        if self.helpers is not None:
            with self.exchange:
                found, there = self.helpers.compute(task, runner, self.packing())
        else:
            runner.begin(self.packing())
            runner.total(task, 0, self.shards)
            found, there = runner.found, runner.there
        return outcome(task, found, there, self.net, follows=what != "probe")

    def keep_buffers(self) -> None:
        """Buffers are about to change."""

    def packing(self) -> Packing:
        """Where gradients of the present links lie in one piece of memory."""
        now = self.generations()
        if self._packing is None or self._packing[0] != now:
            self._packing = now, Packing(self.net.tree.parameters.values())
        return self._packing[1]

    def place(self, rate: float) -> None:
        """Set the optimizer's constants for the coming step: they may have been changed since the last."""
        constants = self.optimizer.constants()
        if constants != self.updates.constants:
            self.refuse_other_fields()
            self.updates.renew(constants)
        self.updates.place(rate, self.optimizer.weight_decay, self.state.optimizer_step + 1)

    def refuse_other_fields(self) -> None:
        """RuntimeError if the optimizer was changed to one whose state is another."""
        if tuple(self.optimizer.fields) != self.state.optimizer_fields:
            raise RuntimeError(
                f"{self.optimizer!r} keeps other fields than in the step before: its state cannot begin "
                "anew in the middle of a call of fit"
            )

    def optimize(self, rate: float) -> None:
        """Scale all kept gradients down together if their joint norm is too large; then take the step."""
        self.place(rate)
        kept, optimizer = self.keep.in_order(self.net.tree.parameters), self.optimizer
        if optimizer.clip_norm is not None:
            try:
                limit_gradients(kept, optimizer.clip_norm)
            except ArithmeticError as error:
                raise self.diverged(None, str(error)) from None
        if optimizer.in_core:
            self.changes = True
            self.keep.apply(self.updates, self.threads)
        else:
            self.take_over(optimizer.stepped(kept, rate, self.state.optimizer_step + 1))
            self.keep.clear()
        self.state.optimizer_step += 1

    def take_over(self, steps: Iterator[Callable[[], None]]) -> None:
        """The steps of an optimizer in NumPy: one that raises leaves all parameters as they were.

        In a network that is not too large to be held twice.
        """
        if self.net.nbytes <= KEPT_BYTES:
            try:
                steps = iter(list(steps))
            except BaseException:
                self.forget()  # gradients may have been scaled
                raise
        self.changes = True
        for take in steps:
            take()

    def forget(self) -> None:
        """No gradients wait."""
        self.keep.clear()

    # --- rewiring ---------------------------------------------------------------------------

    def rewire(
        self,
        progress: TrainingProgress,
        part: Unfinished,
        rows: NDArray[np.int64] | None = None,
        weight: Weighed | None = None,
        *,
        regrow: bool = True,
    ) -> RewiringRecord:
        """Change the structure, and count what changed; ``rows`` are the coming ones, for rules that look."""
        trainer, rule, state = self.trainer, self.rule, self.state
        begin = time.perf_counter()
        probe = None
        if rows is not None and weight is not None and rule.probe_batches > 0:
            probe = self.probe(*self.probed(rows, weight, rule.probe_batches))
        with self.rewiring_whole:
            trainer.set_births()
            before = self.generations()
            try:
                self.whole, self.changes = False, True
                record = rule.rewire(
                    self.net.sparse_parameters, progress, state.rewirings + 1, self.threads,
                    seed=self.net.seed, network=self.net, regrow=regrow, memory=trainer.rule_memory(),
                    probe=probe,
                )  # fmt: skip
            except KeyboardInterrupt:
                self.whole = self.generations() == before  # it was still planning
                raise
            except (TypeError, ValueError):
                self.check_finite()  # scores of weights that are no numbers are refused: that is the cause
                raise
            state.rewirings += 1
            record.seconds = time.perf_counter() - begin
            part.counted(*record.by_layer(self.net.weight_names))
            part.seconds_rewiring += record.seconds
            part.rewired, part.closed = regrow, not regrow
            self.whole, self.changes = True, False
            self.told_of_rewiring(record)
        return record

    def generations(self) -> list[tuple[int, int]]:
        """Changes whenever links have changed."""
        return [(id(q.core), q.core.generation) for q in self.net.tree.sparse]

    def probed(
        self, rows: NDArray[np.int64], weight: Weighed, batches: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
        """The samples, and their weights, for a rule that looks at so many batches: the coming one first."""
        return rows, weight.near

    def probe(self, rows: NDArray[np.int64], weight: NDArray[np.float64] | None) -> GradientProbe:
        """Gradients that a rule may look at; nothing changes."""
        if self.shards > 1:
            pairs = self.in_shards(rows, Weighed(weight, None, 0.0), "probe", None).pairs
            return GradientProbe(pairs, self.threads)
        probe = Probe()
        self.passing.probing = True
        try:
            tiles, _, dz, _ = self.forward(rows, weight, self.trainer.loss)
            self.net.backward(dz, tiles, self.passing, probe)
        finally:
            self.passing.probing = False
        return GradientProbe(probe.kept, self.threads)

    # --- what is no longer finite -------------------------------------------------------------

    def check_finite(self) -> None:
        """DivergenceError naming the first layer that is not finite, or whose mean squares are not."""
        squares = [name for name, field in self.optimizer.fields.items() if (field.power or 0) > 1]
        if (fault := self.net.tree.fault()) is not None:
            raise self.diverged(*fault)
        for parameter in self.net.tree.parameters.values():
            if not all(parameter.finite_field(name) for name in squares):
                raise self.diverged(parameter.label, "squares of gradients that are not finite")

    def find_divergence(self, flow: list[_core.Tiles], value: float) -> DivergenceError:
        """Name the first layer that is no longer finite."""
        return divergence(self.net, flow, value, self.state.epoch, self.state.step + 1)

    def diverged(self, layer: str | None, what: str) -> DivergenceError:
        """The error for where training stands."""
        return DivergenceError(self.state.epoch, self.state.step + 1, layer, what)


def epoch_row(trainer: TrainerLike, part: Unfinished) -> dict[str, Any]:
    """What the history says of an epoch beside its figures."""
    return {
        "lr": trainer.optimizer.rate(trainer.epoch, trainer.step),
        "nnz": [sum(parameter.size for parameter in own) for own in trainer.network.tree.connecting],
        "links_removed": part.removed,
        "links_grown": part.grown,
        "seconds_training": part.seconds_training,
        "seconds_rewiring": part.seconds_rewiring,
    }
