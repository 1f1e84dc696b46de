"""Callbacks: code that runs between epochs and steps; checkpoints, early stopping, logs of what links do."""

from rewire._training import TrainerLike
from rewire.callbacks.base import (
    EVENTS,
    Callback,
    State,
    callback_config,
    callback_from_config,
    checked_callbacks,
    handlers,
    has_state,
    register_callback,
    restorable,
)
from rewire.callbacks.checkpoint import Checkpoint
from rewire.callbacks.early_stopping import EarlyStopping
from rewire.callbacks.link_log import LinkLog
from rewire.callbacks.map_log import MapLog

__all__ = [
    "EVENTS", "Callback", "Checkpoint", "EarlyStopping", "LinkLog", "MapLog", "State", "TrainerLike",
    "callback_config", "callback_from_config", "checked_callbacks", "handlers", "has_state",
    "register_callback", "restorable",
]  # fmt: skip
