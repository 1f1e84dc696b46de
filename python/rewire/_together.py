"""What a trainer hands to its like in other processes at the end of a call of ``fit``: how far it is."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from rewire._training import TrainerLike

__all__ = ["handed_on", "taken_over"]


def handed_on(trainer: TrainerLike) -> dict[str, Any]:
    """Network, optimizer state, counters and history, as arrays and plain values."""
    rule, (config, arrays) = trainer.rewiring, trainer.network_state()
    return {
        "config": config,
        "arrays": arrays,
        "state": trainer.state.config(rule.remembers_as, owns_state=trainer.owns_state()),
        "state_arrays": trainer.state.arrays(rule.remembers_as),
        "shards": trainer.shards,
        "interrupted": trainer.history.interrupted,
        "told": trainer.state.told,
    }


def taken_over(trainer: TrainerLike, handed: Mapping[str, Any]) -> None:
    """Let a trainer be as far as the one that has handed this on; the objects stay the same."""
    network, state = trainer.network, trainer.state
    network.restore(handed["config"], handed["arrays"])
    state.unfinished = None
    state.restore(
        handed["state"], handed["state_arrays"], metric=trainer.training_metric(),
        layers=len(network.weight_layers), n_out=network.n_out,
    )  # fmt: skip
    rule = trainer.rewiring
    state.memory_of = state.rule_fields_of = rule.remembers_as
    state.rule_fields, state.optimizer_fields = tuple(rule.fields), tuple(trainer.optimizer.fields)
    state.told, state.history.interrupted = handed["told"], handed["interrupted"]
    trainer.shards = handed["shards"]
    network.trained_by = weakref.ref(trainer)
