"""Networks and trainers on disk: one safetensors file each, checked piece by piece when it is read.

`_container.py` lays out the file and finds damage by a checksum. A checksum is no signature, so a file
that somebody made up must not do harm either: nothing in it is ever run, classes are looked up by name in
fixed tables, sizes are compared with the arrays before memory is taken for them, and every store verifies
its invariants.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from rewire import _checks, _container
from rewire._fileio import FileError
from rewire.callbacks import checked_callbacks
from rewire.layers import Dense, Sparse
from rewire.network import Sequential
from rewire.trainer import Trainer

__all__ = [
    "Contents", "FileError", "build_network", "build_trainer", "load", "load_trainer", "read", "save_network",
    "save_trainer",
]  # fmt: skip

Path = str | os.PathLike[str]

_STATE = (".field.", ".bias_state.", ".weight_state.")  # arrays that only a trainer needs


@dataclass(frozen=True)
class Contents:
    """What a file holds, before anything is built from it.

    Attributes
    ----------
    path : str
    kind : {"network", "trainer"}
    rewire : str
        Version of the package that wrote it.
    config : dict
        ``config()`` of the network or the trainer.
    notes : dict
        What the writer has put beside it.
    arrays : dict of str to ndarray
    """

    path: str
    kind: str
    rewire: str
    config: dict[str, Any]
    notes: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    @property
    def network_config(self) -> dict[str, Any]:
        """The network's part of `config`."""
        return self.config if self.kind == "network" else self.config["network"]


def save_network(network: Sequential, path: Path, *, notes: Mapping[str, Any] | None = None) -> None:
    """Write structure, weights, biases and standardiser of a network.

    The file is replaced as a whole or not at all, whatever happens meanwhile; its permissions are kept.

    Parameters
    ----------
    network : Sequential
    path : path-like
    notes : mapping, optional
        JSON-able remarks that are kept beside it.

    Raises
    ------
    OSError
        If the file cannot be written; an older one is then untouched.
    RuntimeError
        If another thread trains the network.
    """
    with network.gate.reading("save"):
        _write(path, "network", network.config(), network.arrays(), notes)


def save_trainer(trainer: Trainer, path: Path, *, notes: Mapping[str, Any] | None = None) -> None:
    """Write all that training goes on from: the network, optimizer state, counters, history.

    Callbacks that cannot be saved are left out. Parameters and errors as for `save_network`.
    """
    with trainer.network.gate.reading("save"):
        _write(path, "trainer", trainer.config(), trainer.arrays(), notes)


def load(path: Path) -> Sequential:
    """The network in a file that `Sequential.save` or `Trainer.save` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Sequential
        With structure, weights and standardiser. Optimizer state is left behind: see `Trainer.resume`.

    Raises
    ------
    FileNotFoundError
    FileError
        (a ValueError) If the file is damaged, was not written by rewire, or does not hold a valid network.
        The message names the file and what is wrong.
    MemoryError
        If the network does not fit into this machine.
    """
    return build_network(read(path))


def load_trainer(path: Path, callbacks: Iterable[Any] | None = None) -> Trainer:
    """The trainer in a file that `Trainer.save` wrote; see `Trainer.resume`. Errors as for `load`."""
    return build_trainer(read(path), callbacks)


def read(path: Path) -> Contents:
    """Read and verify a file without building anything from it. Errors as for `load`."""
    path = _checks.path("path", path)
    metadata, config, arrays = _container.read(path)
    kind = metadata["kind"]
    if kind not in ("network", "trainer"):
        raise FileError(path, f"holds a {kind!r}, expected a network or a trainer")
    parts = [config.get(name) for name in (kind, "notes")]
    if set(config) != {kind, "notes"} or not all(isinstance(part, dict) for part in parts):
        found = ", ".join(config) or "nothing"
        raise FileError(path, f"has a configuration of {found}, expected the objects {kind}, notes")
    return Contents(os.fspath(path), kind, metadata["rewire"], config[kind], config["notes"], arrays)


# --- building what was read


def build_network(contents: Contents) -> Sequential:
    """The network of what `read` gave. Errors as for `load`."""
    with _refusing(contents.path):
        config = dict(contents.network_config)
        config["layers"] = [
            {key: value for key, value in layer.items() if key != "fields"} for layer in config["layers"]
        ]
        arrays = {
            name: array
            for name, array in contents.arrays.items()
            if name.startswith(("layers.", "standardizer.")) and not any(part in name for part in _STATE)
        }
        _check_sizes(config, arrays)
        return Sequential.from_config(config, arrays)


def build_trainer(contents: Contents, callbacks: Iterable[Any] | None = None) -> Trainer:
    """The trainer of what `read` gave. Errors as for `load`."""
    if callbacks is not None:
        callbacks = checked_callbacks(callbacks)  # a wrong one is no fault of the file
    if contents.kind != "trainer":
        raise FileError(contents.path, "holds a network without its trainer: rewire.load reads it")
    with _refusing(contents.path):
        _check_sizes(contents.network_config, contents.arrays)
        trainer = Trainer.from_config(contents.config, contents.arrays, callbacks)
        if contents.config["optimizer_step"]:
            _check_state(trainer)
        return trainer


@contextlib.contextmanager
def _refusing(path: str) -> Iterator[None]:
    """Turn whatever a configuration provokes into a FileError; memory that is short stays a MemoryError."""
    try:
        yield
    except (FileError, MemoryError):
        raise
    except KeyError as error:
        raise FileError(path, f"lacks the entry {error}") from error
    except Exception as error:
        raise FileError(path, f"does not hold what it should: {error}") from error


def _check_sizes(config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Compare the shapes of layers with their arrays, before layers take memory for them."""
    for index, layer in enumerate(config["layers"]):
        kind = layer["type"]
        if kind == "Sparse":
            name, shape = "indptr", [-(-layer["n_out"] // layer["group"]) + 1]
        elif kind == "Dense":
            name, shape = "weights", [layer["n_out"], layer["n_in"]]
        else:
            continue
        name = f"layers.{index}.{name}"
        if arrays[name].shape != tuple(shape):
            raise ValueError(
                f"array {name!r} has shape {arrays[name].shape}, its layer needs {tuple(shape)}"
            )


def _check_state(trainer: Trainer) -> None:
    """Every layer has what the optimizer keeps, so that the next step finds it."""
    optimizer, network = trainer.optimizer, trainer.network
    wanted = list(optimizer.state_names)
    for layer in network.weight_layers:
        found = [("bias", layer.bias_state)] if layer.has_bias else []
        if isinstance(layer, Sparse):
            fields = layer.store.fields
            expected: dict[str, Any] = {name: (network.dtype, layer.group) for name in wanted}
            if optimizer.needs_age:
                expected["born"] = ("int32", 1)
            for name, wants in expected.items():
                if name not in fields or fields[name][:2] != wants:
                    raise ValueError(f"{layer.label} lacks the optimizer's field {name!r} of {wants[0]}")
        elif isinstance(layer, Dense):
            found.append(("weights", layer.weight_state))
        for what, state in found:
            if list(state) != wanted:
                raise ValueError(
                    f"{layer.label} keeps {', '.join(state) or 'nothing'} for its {what}, "
                    f"the optimizer needs {', '.join(wanted) or 'nothing'}"
                )


def _write(
    path: Path,
    kind: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    notes: Mapping[str, Any] | None,
) -> None:
    from rewire import __version__

    path = _checks.path("path", path)
    _container.write(path, kind, {kind: config, "notes": dict(notes or {})}, arrays, __version__)
