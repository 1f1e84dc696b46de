"""What a loss is to a trainer, and the register of all kinds."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._params import Parameters, parameters_of
from rewire._registry import Registry
from rewire._targets import Targets, Truth
from rewire.activations import Activation
from rewire.metrics import Metric

__all__ = ["KINDS", "Loss", "loss", "loss_names", "register_loss", "unfit"]


class Loss(Parameters):
    """Base of all losses."""

    name: ClassVar[str] = ""
    kind: ClassVar[str] = ""  # the core's name
    offered: ClassVar[bool] = True  # whether messages name it beside others that a name may stand for
    # Whether outputs are numbers in the units of targets, so that both may be standardised.
    of_numbers: ClassVar[bool] = False
    finds_right: ClassVar[bool] = False  # whether it says of labels by the way which samples are right

    def fused(self, final: Activation) -> bool:
        """Whether the final activation is part of the loss.

        Raises
        ------
        ValueError
            If the pair makes no sense.
        """
        raise NotImplementedError

    def check_outputs(self, n_out: int) -> None:
        """ValueError if the loss makes no sense for ``n_out`` outputs."""

    def metric(self, final: Activation) -> Metric | None:
        """What is reported beside the loss."""
        return None

    def predictions(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """What a network's outputs say of targets: by default they are in the units of these themselves."""
        return outputs

    def targets(self, y: Any, n_out: int, name: str = "y") -> Targets:
        """Check y and wrap it; TypeError or ValueError with value and position."""
        raise NotImplementedError

    def check_range(self, targets: Targets, dtype: str, name: str) -> None:
        """ValueError naming row and column of a target whose loss would be out of range."""

    def evaluate(
        self,
        z: _core.Tiles,
        truth: Truth,
        weight: NDArray[np.float64] | None,
        dz: _core.Tiles | None,
        threads: int = 1,
    ) -> float:
        """Loss of a batch; its gradient goes into ``dz``. The bits are the same for any number of threads."""
        return _core.loss(self.kind, z, truth.targets.core, truth.rows, weight, dz, threads)

    def counts(self, truth: Truth, weight: NDArray[np.float64] | None) -> float:
        """What part of the samples' weight a batch has in the mean over batches."""
        return 1.0

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`loss` reads it back.

        By default the name and the constructor's arguments, from attributes of their names.
        """
        return {"name": KINDS.saved_as(self), **parameters_of(self)}


def unfit(loss: Loss, final: Activation, expected: str, reason: str) -> ValueError:
    """The error for a final activation that makes no sense with a loss."""
    return ValueError(
        f"loss {loss.name!r} needs a final layer that is {expected}, got {final.name!r}: {reason}"
    )


def loss_names() -> list[str]:
    """Names of all losses, those of one's own that are registered among them."""
    return KINDS.names()


KINDS = Registry("loss", Loss, "a dict or a Loss", to_save="register_loss makes it one that can be")


def register_loss(cls: type[Loss]) -> type[Loss]:
    """Make a loss known to :func:`loss` under its ``name``; a decorator.

    From a file it is made by its constructor, from the entries of its ``config()``.

    Raises
    ------
    TypeError, ValueError
        For a class without a name, or with the name of another one.
    """
    return KINDS.register(cls)


def loss(what: str | Loss | dict[str, Any]) -> Loss:
    """The loss that ``what`` names: an object, a name or a ``config()``.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    return KINDS.build(what)
