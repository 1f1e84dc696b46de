"""What all steps of a loop of one's own do around themselves: the gate, signals, and what waits."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any, cast

from rewire import _carried, _checks
from rewire._density import warn_of_density
from rewire._holding import Holding
from rewire._moments import quiet
from rewire._own_stepper import OwnStepper
from rewire._signals import Interrupts
from rewire._snapshot import KEPT_BYTES, AllOrNothing
from rewire._training import TrainerLike
from rewire._unfinished import Unfinished
from rewire.rewiring import RewiringRecord, Static, TrainingProgress
from rewire.workspace import Workspace

__all__ = ["OwnSteps"]


class OwnSteps(Holding):
    """Base of `rewire.Trainer`: what its steps one by one have in common."""

    callbacks: list[Any]
    standardize: bool | str
    standardize_targets: bool
    _workspace: Workspace | None
    _interrupts: Interrupts
    _stepper: OwnStepper | None

    @contextlib.contextmanager
    def _stepping(self, what: str, *, kept: bool = True) -> Iterator[OwnStepper]:
        """Hold the gate and be in charge of signals; ``kept``: gradients may wait.

        A step that raises before it has changed anything leaves no trace; one that is cut has no place.
        """
        state = self.state
        with self.network.gate.writing(what), self._interrupts, quiet(), self._undone():
            if not kept:
                self._refuse_kept(what)
                self._overwrite_gradients()
            stepper = self._ready(what)
            part, done = state.unfinished, (state.step, state.rewirings)
            try:
                yield stepper
            except BaseException:
                if not stepper.whole and stepper.changes:
                    state.unfinished = None
                    stepper.forget()
                else:
                    stepper.restore_buffers()
                    if (state.step, state.rewirings) == done:
                        state.unfinished = part
                raise
            finally:
                stepper.done()

    def _undone(self) -> contextlib.AbstractContextManager[None]:
        """A step before which fresh state is taken gives back what was there, another trainer's say.

        So does an optimizer in NumPy with what it keeps itself; parameters then take over all, or nothing.
        """
        trainer, once = cast(TrainerLike, self), self.is_trained_here()
        if once and not self.optimizer.in_core:
            return AllOrNothing(trainer, self._interrupts, self.optimizer)
        if once or self.network.nbytes > KEPT_BYTES:
            return contextlib.nullcontext()
        return AllOrNothing(trainer, self._interrupts)

    def _ready(self, what: str) -> OwnStepper:
        """What steps are made with; the optimizer's state and the rule's fields are there."""
        net, found, me = self.network, self._stepper, cast(TrainerLike, self)
        if self.callbacks:
            raise ValueError(
                f"{what} tells no callbacks of anything, as fit does: trainer.callbacks must be empty, "
                f"got {_checks.describe(self.callbacks)}"
            )
        if self.standardize and net.standardizer is None:
            raise ValueError(f"{what} does not know the training set: call learn_inputs(X) before it")
        if self.standardize_targets and net.target_standardizer is None:
            raise ValueError(f"{what} does not know the targets: call learn_targets(y) before it")
        if found is not None and found.serves(me) and self.holds_state():
            found.refresh()
            return found
        if found is not None and found.kept is not None:
            found.same_links()
            raise RuntimeError(
                f"{what} has another optimizer, rule or network than the gradients that wait: call "
                "zero_gradients() before it"
            )
        if self.state.step == 0:
            static = isinstance(self.rewiring, Static)
            warn_of_density(net, starts_full=self.rewiring.starts_full, static=static)
        _carried.check_rule(me)
        self.take_state()
        _carried.refresh_rule(me)
        self.rewiring.prepare(net.sparse_parameters, net)
        if self._workspace is None:
            self._workspace = net.workspace()
        # By a proxy, so that a trainer that nobody holds any more is gone at once, with its network.
        found = OwnStepper(cast(TrainerLike, weakref.proxy(self)), self._workspace, self._interrupts)
        self._stepper = found
        return found

    def _refuse_kept(self, what: str) -> None:
        """RuntimeError while gradients of this trainer wait."""
        kept = None if self._stepper is None else self._stepper.kept
        if kept is not None and self.network.gradients_of is kept:
            raise RuntimeError(
                f"{what} cannot run while gradients wait for the optimizer: call apply() or zero_gradients()"
            )

    def _overwrite_gradients(self) -> None:
        """Whatever waits, here or with another trainer of the network, is no longer there."""
        if self._stepper is not None:
            self._stepper.forget()
        self.network.gradients_of = None

    def _rewire(
        self, stepper: OwnStepper, progress: TrainingProgress, part: Unfinished, batch: tuple[Any, ...],
        *, regrow: bool = True,
    ) -> RewiringRecord:  # fmt: skip
        """A rewiring that happens whole or not at all, in a network that is small enough to be copied."""
        copied = self.network.nbytes <= KEPT_BYTES
        try:
            with AllOrNothing(cast(TrainerLike, self), self._interrupts):
                return stepper.rewire(progress, part, *batch, regrow=regrow)
        except BaseException as error:
            if copied and not isinstance(error, KeyboardInterrupt):
                stepper.whole, stepper.changes = True, False
            raise
