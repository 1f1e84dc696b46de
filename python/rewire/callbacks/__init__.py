"""Callbacks: code that runs between epochs and steps; checkpoints, early stopping, logs of what links do."""

from rewire._training import TrainerLike
from rewire.callbacks.base import (
    EVENTS,
    Callback,
    State,
    brings_network,
    callback_config,
    callback_from_config,
    checked_callbacks,
    fields_of_kind,
    handlers,
    has_state,
    register_callback,
    taken_up,
)
from rewire.callbacks.checkpoint import Checkpoint
from rewire.callbacks.early_stopping import EarlyStopping
from rewire.callbacks.link_log import LinkLog
from rewire.callbacks.map_log import MapLog
from rewire.callbacks.weight_average import WeightAverage, weight_average

__all__ = [
    "EVENTS", "Callback", "Checkpoint", "EarlyStopping", "LinkLog", "MapLog", "State", "TrainerLike",
    "WeightAverage", "brings_network", "callback_config", "callback_from_config", "checked_callbacks",
    "fields_of_kind", "handlers", "has_state", "register_callback", "taken_up", "weight_average",
]  # fmt: skip
