"""What those who work for a trainer see of it: callbacks, and the helpers of ``fit``.

The trainer stands on all of them, so they cannot name its class; they name this protocol.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from rewire import _core
from rewire._targets import Targets
from rewire._unfinished import Unfinished
from rewire.history import History
from rewire.layers.passing import Updates
from rewire.losses import Loss
from rewire.metrics import Metric
from rewire.network import Sequential
from rewire.optim import Optimizer
from rewire.rewiring import Rule
from rewire.streams.joining import Samples
from rewire.streams.stream import Stream
from rewire.training_state import TrainingState

__all__ = ["TrainerLike"]


class TrainerLike(Protocol):
    """A trainer: its parts, its counters, saving; attributes and methods are those of `rewire.Trainer`."""

    network: Sequential
    loss: Loss
    optimizer: Optimizer
    rewiring: Rule
    callbacks: list[Any]
    threads: int | None
    seed: int
    standardize: bool | str
    standardize_targets: bool

    @property
    def horizon(self) -> int | None:
        """Epochs of the whole run."""

    @property
    def steps_per_epoch(self) -> int | None:
        """Steps of an epoch of an own loop."""

    shards: int | None  # into how many a batch is cut

    state: TrainingState
    _kept_rows: list[dict[str, Any]] | None
    _kept: dict[int, _core.Kept] | None
    _fit_ready: Any  # a `Ready`, which looks at trainers

    @property
    def history(self) -> History:
        """Rows of numbers, one an epoch."""

    @property
    def epoch(self) -> int:
        """Completed epochs."""

    @property
    def step(self) -> int:
        """Completed steps."""

    @property
    def rewirings(self) -> int:
        """Completed rewirings."""

    @property
    def unfinished(self) -> Unfinished | None:
        """The place in an epoch that has begun."""

    def check_range(self, targets: Targets, loss: Loss, name: str) -> None:
        """ValueError for targets out of the loss's range, in the units that the loss sees."""

    def evaluated_network(self) -> Sequential:
        """The network that :meth:`evaluate` looks at."""

    def evaluate(
        self, X: Any, y: Any = None, *, sample_weight: Any = None, batch_size: int | None = None,
        steps: int | None = None,
    ) -> dict[str, float]:  # fmt: skip
        """Loss and metric on data."""

    def config(self) -> dict[str, Any]:
        """JSON-able description with all counters and the history."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays that belong to :meth:`config`."""

    def save(self, path: str | os.PathLike[str], *, notes: Mapping[str, Any] | None = None) -> None:
        """Write all that training goes on from."""

    # --- a network that is kept and brought back --------------------------------------------

    def network_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """``config()`` and copies of all arrays of the network."""

    def bring_back(
        self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], optimizer_step: int
    ) -> None:
        """Put the network back to a :meth:`network_state`."""

    def check_descriptions(self) -> None:
        """ValueError or NotImplementedError if loss, optimizer or rule cannot be saved."""

    def check_network(self, network: Sequential, optimizer_step: int) -> None:
        """ValueError if fields of a network do not fit their owners."""

    # --- the helpers of fit -----------------------------------------------------------------

    fused: bool  # whether the last activation is part of the loss

    def owns_state(self) -> bool:
        """Whether the layers hold state of this trainer's optimizer."""

    def training_metric(self) -> Metric | None:
        """A fresh metric for the batches that are learnt from."""

    def updates(self) -> Updates:
        """The optimizer's constants in the core's terms."""

    def rule_memory(self) -> dict[str, Any]:
        """What the rewiring rule keeps from one rewiring to the next."""

    def set_births(self) -> None:
        """Links that come from now on have seen no step yet."""

    def evaluate_checked(self, data: Samples | Stream, batch_size: int | None = None) -> dict[str, float]:
        """:meth:`evaluate` on data that has been checked and wrapped."""
