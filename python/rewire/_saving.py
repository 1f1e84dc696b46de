"""Writing and reading one file: a description, arrays, and what is checked before anything is built of them.

Known here are configurations and arrays, and nothing of the objects that they describe: networks and trainers
stand on this file, and save and load themselves. `_container.py` lays out the file and finds damage by
digests. These are no signature, so a file that somebody made up must not do harm either: nothing in it
is ever run, classes are looked up by name in fixed tables, sizes are compared with the arrays before memory
is taken for them, and every store verifies its invariants.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewire import _checks, _container
from rewire._container import Array
from rewire._fileio import FileError, foreign, open_regular
from rewire._record import record
from rewire._version import __version__

__all__ = [
    "Contents", "Path", "check_same", "network_parts", "opened", "read", "refusing", "trainer_parts", "write",
]  # fmt: skip

Path = str | os.PathLike[str]

_STATE = ".field."  # in the names of arrays that only a trainer needs


@record
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
    arrays : dict of str to ndarray, or to what is read piece by piece (`opened`)
    """

    path: str
    kind: str
    rewire: str
    config: dict[str, Any]
    notes: dict[str, Any]
    arrays: dict[str, Array]

    @property
    def network_config(self) -> dict[str, Any]:
        """The network's part of `config`."""
        return self.config if self.kind == "network" else self.config["network"]


def write(
    path: Path,
    kind: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, Array],
    notes: Mapping[str, Any] | None,
) -> None:
    """Replace a file as a whole or not at all, whatever happens meanwhile; its permissions are kept.

    Parameters
    ----------
    path : path-like
    kind : {"network", "trainer"}
    config : mapping
    arrays : mapping of str to Array
    notes : mapping, optional
        JSON-able remarks that are kept beside them.

    Raises
    ------
    OSError
        If the file cannot be written; an older one is then untouched.
    """
    path = _checks.path("path", path)
    _container.write(path, kind, {kind: config, "notes": dict(notes or {})}, arrays, __version__)


def read(path: Path) -> Contents:
    """Read and verify a file without building anything from it. Errors as for `rewire.load`."""
    path = _checks.path("path", path)
    return _contents(path, *_container.read(path))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Contents]:
    """What :func:`read` gives, with arrays that are read and verified as they are used, a little at a time.

    What is built of them then takes no memory beside it. At the end what nobody has used is verified as well;
    once the file is closed none can be used.
    """
    path = _checks.path("path", path)
    with open_regular(path) as file:
        reader = _container.Reader(path, file)
        arrays = {name: reader.parts(name) for name in sorted(reader.entries)}
        yield _contents(path, reader.metadata, reader.config, arrays)
        reader.check_rest()


def _contents(
    path: Path, metadata: dict[str, str], config: dict[str, Any], arrays: Mapping[str, Array]
) -> Contents:
    kind = metadata["kind"]
    if kind not in ("network", "trainer"):
        raise FileError(path, f"holds a {kind!r}, expected a network or a trainer")
    parts = [config.get(name) for name in (kind, "notes")]
    if set(config) != {kind, "notes"} or not all(isinstance(part, dict) for part in parts):
        found = ", ".join(config) or "nothing"
        raise FileError(path, f"has a configuration of {found}, expected the objects {kind}, notes")
    return Contents(os.fspath(path), kind, metadata["rewire"], config[kind], config["notes"], dict(arrays))


# --- the parts of what was read


def network_parts(contents: Contents) -> tuple[dict[str, Any], dict[str, Array]]:
    """Configuration and arrays of the network, without what only its trainer needs."""
    config, arrays = dict(contents.network_config), contents.arrays
    _check_parts(config)
    state = [name for name in arrays if _STATE in name]
    if contents.kind == "network" and state:
        raise ValueError(f"array {state[0]!r} is unknown")
    if contents.kind == "trainer":
        config["parameters"] = {name: {**part, "fields": {}} for name, part in config["parameters"].items()}
        arrays = {
            name: array
            for name, array in arrays.items()
            if name.startswith(("layers.", "standardizer.", "target_standardizer.")) and name not in state
        }
    return config, arrays


def trainer_parts(contents: Contents) -> tuple[dict[str, Any], dict[str, Array]]:
    """Configuration and arrays of the trainer and of its network."""
    if contents.kind != "trainer":
        raise FileError(contents.path, "holds a network without its trainer: rewire.load reads it")
    _check_parts(contents.config["network"])
    return contents.config, contents.arrays


@contextlib.contextmanager
def refusing(path: str) -> Iterator[None]:
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


def check_same(said: Any, built: Any, where: str) -> None:
    """ValueError where a file says something else than what was built from it would say again.

    So nothing that a file holds is passed over in silence.
    """
    if isinstance(built, Mapping):
        for name in _checks.entries(where, said, built):
            check_same(said[name], built[name], f"{where}.{name}")
    elif isinstance(built, Sequence) and not isinstance(built, str):
        if not isinstance(said, Sequence) or isinstance(said, str) or len(said) != len(built):
            raise ValueError(f"{where} must be {len(built)} entries, got {_checks.describe(said)}")
        for i, (a, b) in enumerate(zip(said, built, strict=True)):
            check_same(a, b, f"{where}[{i}]")
    elif said != built and not (_is_nan(said) and _is_nan(built)):
        raise ValueError(f"{where} must be {_checks.describe(built)}, got {_checks.describe(said)}")


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _check_parts(config: Any) -> None:
    """The descriptions of layers are dicts in a list, those of parameters dicts in a dict."""
    layers = _checks.one_of_types("network", config, Mapping, "a dict")["layers"]
    for layer in _checks.one_of_types("layers", layers, list, "a list"):
        _checks.one_of_types("a layer", layer, Mapping, "a dict")
    parts = _checks.one_of_types("parameters", config["parameters"], Mapping, "a dict")
    for part in parts.values():
        _checks.one_of_types("a parameter", part, Mapping, "a dict")
