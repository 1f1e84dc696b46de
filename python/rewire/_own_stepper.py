"""What a loop of one's own has between two of its steps: the place in the epoch, and gradients that wait."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._clipping import limit_gradients
from rewire._inputs import Source
from rewire._moments import SampleWeights, Weighed
from rewire._precision import LARGEST
from rewire._signals import Interrupts
from rewire._stepper import Stepper
from rewire._training import TrainerLike
from rewire._unfinished import Unfinished
from rewire.losses import Targets, Truth
from rewire.parameters import Buffer
from rewire.parameters.base import GRADIENT
from rewire.rewiring import RewiringRecord, TrainingProgress
from rewire.threads import settings
from rewire.workspace import Workspace

__all__ = ["Checked", "Kept", "Learnt", "OwnStepper", "WaitingFlow", "took"]

Checked = tuple[Source, Targets, NDArray[np.float64] | None]
Links = list[tuple[int, int]]  # of all stores; another one when links have changed


class Learnt(NamedTuple):
    """A batch whose gradients wait: what `Unfinished` is to count."""

    seen: Any
    truth: Truth
    loss: float
    apart: NDArray[np.float64] | None
    amount: float


@dataclass
class Kept:
    """Gradients that wait for the optimizer: of which links they are, and of which batches."""

    links: Links
    learnt: list[Learnt] = field(default_factory=list)
    samples: int = 0
    seconds: float = 0.0


class WaitingFlow(NamedTuple):
    """A forward pass that waits for its backward pass."""

    tiles: list[_core.Tiles]
    links: Links
    samples: int
    seconds: float


class OwnStepper(Stepper):
    """Steps of a loop of one's own.

    Attributes
    ----------
    kept : Kept or None
        Gradients that wait.
    flow : WaitingFlow or None
        A forward pass that waits.
    loss : float
        Of the last whole step.
    rewired : RewiringRecord or None
        The last rewiring.
    """

    def __init__(self, trainer: TrainerLike, ws: Workspace, interrupts: Interrupts) -> None:
        super().__init__(trainer, ws, interrupts)
        self.stores = [id(q.core) for q in self.net.tree.sparse]
        self.kept: Kept | None = None
        self.flow: WaitingFlow | None = None
        self.loss = 0.0
        self.rewired: RewiringRecord | None = None
        self._buffers: list[tuple[Buffer, NDArray[Any]]] = []
        self._threads_of: dict[Any, int] = {}
        self._fractions: dict[str, Any] = {}  # of the run, that the rule counts by
        for rule in self.rule.parts():
            self._fractions |= rule.run_fractions()

    def serves(self, trainer: TrainerLike) -> bool:
        """Whether optimizer, rule and stores are still the same."""
        same = self.optimizer is trainer.optimizer and self.rule is trainer.rewiring
        return same and self.stores == [id(q.core) for q in self.net.tree.sparse]

    def told_of_rewiring(self, record: RewiringRecord) -> None:
        self.rewired = record

    def told_of_step(self, part: Unfinished, loss: float) -> None:
        self.loss = loss

    def outputs_of(self, source: Source, rows: NDArray[np.int64]) -> list[_core.Tiles]:
        self.keep_buffers()
        return super().outputs_of(source, rows)

    def keep_buffers(self) -> None:
        self._buffers = [(buffer, buffer.values.copy()) for buffer in self.net.tree.buffers.values()]

    def restore_buffers(self) -> None:
        """Give buffers what they had before the forward pass of this call, if there was one."""
        for buffer, values in self._buffers:
            buffer.values = values

    def done(self) -> None:
        """A call is over."""
        self.whole, self.changes, self._buffers = True, False, []

    # --- where it stands ----------------------------------------------------------------------

    def part(self) -> Unfinished:
        """The place in the epoch; that of an unfinished ``fit`` is given up."""
        state, found = self.state, self.state.unfinished
        if found is None or not found.in_own_loop:
            metric, layers = self.trainer.training_metric(), len(self.net.weight_layers)
            found = state.unfinished = Unfinished.of_own_loop(state.epoch, state.step, metric, layers)
        return found

    def run(self, part: Unfinished) -> tuple[int, int]:
        """Epochs and steps of the whole run; 0 where nobody has said them, and the rule needs none."""
        epochs, steps = self.trainer.horizon, self.trainer.steps_per_epoch
        if epochs is not None and steps is not None:
            return epochs, part.first_step + (epochs - self.state.epoch) * steps
        if self._fractions:
            found = ", ".join(f"{name}={value!r}" for name, value in self._fractions.items())
            raise ValueError(
                f"rewiring {self.rule.name!r}: {found} is a fraction of the run, whose length an own loop "
                "has to say: Trainer(horizon=<epochs>, steps_per_epoch=<steps>), or give an end in steps"
            )
        return 0, 0

    def before(self, part: Unfinished) -> TrainingProgress:
        """Where training stands before the coming step."""
        return self.progress(self.state.epoch, self.state.step == part.first_step, self.run(part))

    def take(self, data: Checked) -> tuple[NDArray[np.int64], Weighed]:
        """Rows and weights of checked data, which are all of the coming batch."""
        self.source, self.targets, weight = data
        n = self.source.n_samples
        self.take_samples(n)
        rows = np.arange(n)
        return rows, SampleWeights(weight).of(rows)

    def take_samples(self, samples: int, first: int = 0) -> None:
        """The coming pass has so many samples; ``first`` is the first one's number in its step."""
        key = samples, self.shards, self.trainer.threads, settings()
        threads = self._threads_of.get(key)
        if threads is None:
            threads = self._threads_of[key] = self.threads_for(samples)
        self.use_threads(threads)
        self.passing.first_sample = first

    def probed(
        self, rows: NDArray[np.int64], weight: Weighed, batches: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
        if batches == 1:
            return rows, weight.near
        size, rest = divmod(len(rows), batches)
        if rest:
            raise ValueError(
                f"rewiring {self.rule.name!r} looks at {batches} batches: rewire_if_due must get as many, of "
                f"one size, the coming one first, got {len(rows)} samples"
            )
        of_batches = np.repeat(self.rule.weights_of_probe(batches), size)
        return rows, of_batches if weight.near is None else of_batches * weight.near

    # --- gradients that wait --------------------------------------------------------------------

    def same_links(self) -> None:
        """RuntimeError unless the gradients that wait are still those of the network's links."""
        if self.kept is None:
            return
        if self.net.gradients_of is not self.kept:
            raise RuntimeError(
                "another trainer has used this network since these gradients were taken: call "
                "zero_gradients()"
            )
        if self.kept.links != self.generations():
            raise RuntimeError("links have changed since these gradients were taken: call zero_gradients()")

    def add(self, tiles: list[_core.Tiles], dz: _core.Tiles, scale: float) -> Kept:
        """Add the gradients of a backward pass to those that wait."""
        parameters = self.net.tree.parameters
        if scale != 1.0:
            values = dz.array()
            self._fits("scale", scale, [values])
            values *= scale
        try:
            if self.kept is None:
                self.keep.clear()
                for parameter in parameters.values():
                    parameter.hold_gradient(True)
                self.kept = self.net.gradients_of = Kept(self.generations())
            self.net.backward(dz, tiles, self.passing, self.keep)
            for name, parameter in parameters.items():
                if name not in self.keep.there:  # of a layer that learns nothing now
                    parameter.write(np.zeros(parameter.size), GRADIENT)
        except BaseException:
            self.forget()  # some have been added
            raise
        return self.kept

    def scale(self, factor: float) -> None:
        """Multiply the gradients that wait; if they are to be clipped, not before their norm is known.

        ValueError, with nothing changed, if that is more than their dtype holds.
        """
        kept = self.keep.in_order(self.net.tree.parameters)
        if self.optimizer.clip_norm is not None:
            try:
                limit_gradients(kept, float("inf"))
            except ArithmeticError as error:
                raise self.diverged(None, str(error)) from None
        self._fits("scale", factor, (parameter.read(GRADIENT) for parameter in kept))
        for parameter in kept:
            parameter.scale_gradient(factor)

    def _fits(self, name: str, factor: float, arrays: Iterable[NDArray[Any]]) -> None:
        """ValueError unless the values times a factor are in the range of the network's dtype."""
        limit = LARGEST[self.net.dtype]
        if abs(factor) <= 1.0:
            return
        most = max(max(float(a.max(initial=0.0)), -float(a.min(initial=0.0))) for a in arrays)
        if not (abs(factor) <= limit and (abs(factor) * most <= limit or not math.isfinite(most))):
            raise ValueError(
                f"{name} must leave gradients, of up to {most:.3g}, within {limit:.2g}, the range of "
                f"{self.net.dtype}, got {factor:g}"
            )

    def forget(self) -> None:
        """No gradients wait, and no forward pass."""
        if self.kept is not None and self.net.gradients_of is self.kept:
            self.net.gradients_of = None
        self.keep.clear()
        self.apply.shared.clear()  # of a step that was cut
        self.kept = self.flow = None

    def use(self, part: Unfinished, progress: TrainingProgress, learns: bool, begin: float) -> None:
        """One step of the optimizer from the gradients that wait, if it ``learns``."""
        kept = self.kept
        if learns:
            self.optimize(progress.lr)
        self.state.step += 1
        for learnt in () if kept is None else kept.learnt:
            part.count(learnt.seen, learnt.truth, learnt.apart)
            part.learnt(learnt.loss, learnt.amount)
        self.forget()
        before = 0.0 if kept is None else kept.seconds
        self.close(part, 0 if kept is None else kept.samples, progress, begin - before)


def took(kept: Kept, samples: int, begin: float) -> None:
    """Count the samples and the time of gradients that were added."""
    kept.samples += samples
    kept.seconds += time.perf_counter() - begin
