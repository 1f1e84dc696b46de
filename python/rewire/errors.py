"""Errors and warnings that have a name of their own."""

from __future__ import annotations

__all__ = ["DensityWarning", "DivergenceError", "InterruptedWarning", "WorkerError"]


class DivergenceError(ArithmeticError):
    """Training produced a value that is not finite.

    The call of ``fit`` that raises it changes nothing: its epochs are lost (but a network of more than
    256 MiB, which is not copied, keeps its weights that are not finite). :class:`rewire.Checkpoint` keeps the
    last good epoch in a file; ``Trainer.resume`` goes back to it.

    Attributes
    ----------
    epoch : int
        Counted from 0.
    step : int
        The training step over all epochs, counted from 1.
    layer : str or None
        The first layer whose weights or outputs are not finite; None when only the loss is.
    """

    def __init__(self, epoch: int, step: int, layer: str | None, what: str) -> None:
        self.epoch, self.step, self.layer, self.what = epoch, step, layer, what
        where = f"{layer} has {what}" if layer else what
        super().__init__(
            f"training diverged in epoch {epoch} at step {step}: {where}; "
            "try a smaller lr, standardised features or clip_norm"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.epoch, self.step, self.layer, self.what)


class WorkerError(RuntimeError):
    """A process that trains together with others has died, or gives no sign of life.

    The call of ``fit`` that raises it has ended all others; it changes nothing, as with any other error.
    Number and place of workers leave no trace in bits: ``Trainer.resume`` of the last
    :class:`rewire.Checkpoint` goes on with as many, fewer, or none.
    """


class InterruptedWarning(UserWarning):
    """Ctrl-C has ended ``fit`` of an estimator or of a Trainer, which returns as at its end.

    What was learnt until then is kept and can be used. In a loop over fits it is one of them that has ended;
    ``warnings.simplefilter("error", InterruptedWarning)`` ends the loop as well.
    """


class DensityWarning(UserWarning):
    """A network to be trained is sparse in name only, or has a layer without connections.

    ``warnings.simplefilter("ignore", DensityWarning)`` silences it where that is meant.
    """
