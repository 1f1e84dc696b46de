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
from rewire._carried import check, check_descriptions, check_same
from rewire._fileio import FileError, foreign
from rewire._version import __version__
from rewire.callbacks import checked_callbacks
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

    Callbacks that cannot be saved are left out, and fields of the stores that nobody declares: see
    `Callback.fields`. What `load_trainer` would refuse is not written. Parameters and errors as for
    `save_network`, and TypeError or ValueError for a trainer that does not fit together.
    """
    with trainer.network.gate.reading("save"):
        check_descriptions(trainer)
        check(trainer)
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
        config, arrays = dict(contents.network_config), contents.arrays
        _check_layers(config)
        state = [name for name in arrays if any(part in name for part in _STATE)]
        if contents.kind == "network" and state:
            raise ValueError(f"array {state[0]!r} is unknown")
        if contents.kind == "trainer":
            config["layers"] = [
                {key: value for key, value in layer.items() if key != "fields"} for layer in config["layers"]
            ]
            arrays = {
                name: array
                for name, array in arrays.items()
                if name.startswith(("layers.", "standardizer.")) and name not in state
            }
        _check_sizes(config, arrays)
        network = Sequential.from_config(config, arrays)
        check_same(config, network.config(), "network")
        return network


def build_trainer(contents: Contents, callbacks: Iterable[Any] | None = None) -> Trainer:
    """The trainer of what `read` gave. Errors as for `load`."""
    if callbacks is not None:
        callbacks = checked_callbacks(callbacks)  # a wrong one is no fault of the file
    if contents.kind != "trainer":
        raise FileError(contents.path, "holds a network without its trainer: rewire.load reads it")
    with _refusing(contents.path):
        config = contents.config["network"]
        _check_layers(config)
        _check_sizes(config, contents.arrays)
        return Trainer.from_config(contents.config, contents.arrays, callbacks)


@contextlib.contextmanager
def _refusing(path: str) -> Iterator[None]:
    """Turn what the checks of a configuration raise into a FileError.

    All else passes through, what a signal handler of the user's raises as well.
    """
    try:
        yield
    except FileError:
        raise
    except KeyError as error:
        if foreign(error):
            raise
        raise FileError(path, f"lacks the entry {error}") from error
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        if foreign(error):
            raise
        raise FileError(path, f"does not hold what it should: {error}") from error


def _check_layers(config: Any) -> None:
    """The descriptions of layers are dicts in a list."""
    layers = _checks.one_of_types("network", config, Mapping, "a dict")["layers"]
    for layer in _checks.one_of_types("layers", layers, list, "a list"):
        _checks.one_of_types("a layer", layer, Mapping, "a dict")


def _check_sizes(config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Compare the shapes of layers with their arrays, before layers take memory for them."""
    for index, layer in enumerate(config["layers"]):
        kind = layer["type"]
        if kind == "Sparse":
            group = _checks.choice("group", layer["group"], (1, 2, 4, 8))
            n_out = _checks.integer("n_out", layer["n_out"], low=1)
            name, shape = "indptr", [-(-n_out // group) + 1]
        elif kind == "Dense":
            name, shape = "weights", [layer["n_out"], layer["n_in"]]
        else:
            continue
        name = f"layers.{index}.{name}"
        if arrays[name].shape != tuple(shape):
            raise ValueError(
                f"array {name!r} has shape {arrays[name].shape}, its layer needs {tuple(shape)}"
            )


def _write(
    path: Path,
    kind: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    notes: Mapping[str, Any] | None,
) -> None:
    path = _checks.path("path", path)
    _container.write(path, kind, {kind: config, "notes": dict(notes or {})}, arrays, __version__)
