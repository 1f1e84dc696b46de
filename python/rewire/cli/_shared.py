"""What several commands do: data for a saved network, results as text and JSON."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rewire import _core, datasets, files, info
from rewire._checks import describe, printable
from rewire._fileio import is_stream, open_regular, writable_target
from rewire._saving import Contents
from rewire._signals import terminating
from rewire.callbacks import WeightAverage
from rewire.datasets import Dataset
from rewire.datasets._parts import files_of
from rewire.datasets._pattern import is_pattern, load_pattern
from rewire.datasets._samples import Samples
from rewire.datasets._tables import TABLES, kind_of
from rewire.layers import Layer
from rewire.losses import MSE, Contrast, CrossEntropy, Huber, Poisson
from rewire.losses.base import KINDS as LOSSES
from rewire.network import Sequential
from rewire.progress import print_beside, print_now
from rewire.threads import BLAS_VARIABLES, get_num_threads, resolve, set_num_threads
from rewire.trainer import Trainer

__all__ = [
    "INTERRUPTED", "STANDARDISED", "UsageError", "align", "archive", "check_outputs", "data_file",
    "data_record", "environment", "known_column", "known_data", "layer_rows", "load_data",
    "load_whole_or_parts", "loss_name",
    "network_record", "read_json", "refuse_data", "refuse_untargeted", "rerun_with_blas_threads",
    "saved_network", "sized", "tell", "until_signal", "usage", "use_threads",
]  # fmt: skip

STANDARDISED = "losses are of targets brought to mean 0 and deviation 1, predictions in their own units"


INTERRUPTED = 130  # exit code after Ctrl-C; after another signal 128 and its number


class UsageError(Exception):
    """What was typed makes no sense."""


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """Turn errors of objects that are built from the command line into usage errors."""
    try:
        yield
    except files.FileError:
        raise
    except (ValueError, TypeError) as error:
        raise UsageError(error) from error


def saved_network(contents: Contents) -> Sequential:
    """The network of a file to predict with: the averages, where a trainer has kept some of its weights."""
    callbacks = contents.config.get("callbacks") if contents.kind == "trainer" else None
    if isinstance(callbacks, list) and any(
        isinstance(one, dict) and one.get("name") == WeightAverage.__name__ for one in callbacks
    ):
        return Trainer.from_contents(contents).evaluated_network()
    return Sequential.from_contents(contents)


def refuse_untargeted(contents: Contents) -> None:
    """UsageError for what learns without targets: it would take a data set's for signs, or for features."""
    said = contents.config.get("loss") if contents.kind == "trainer" else None
    energies = isinstance(said, dict) and said.get("name") == Contrast.name
    for model, estimator, found in (
        ("a Boltzmann machine", "SparseBernoulliRBM", energies),
        ("an autoencoder", "SparseDenoisingAutoencoder", contents.notes.get("model") == "autoencoder"),
    ):
        if found:
            raise UsageError(
                f"{contents.path} holds {model}, which learns without targets: rewire.{estimator} trains and "
                "measures it"
            )


def use_threads(threads: int | None) -> None:
    """Set the number of threads of this process."""
    with usage():
        resolve(threads)  # names a wrong --threads or REWIRE_NUM_THREADS
        if threads is not None:
            set_num_threads(threads)


def rerun_with_blas_threads(command: list[str]) -> int | None:
    """Run `command` in a process whose BLAS uses as many threads as we do; None if this one is such.

    Sparse and dense are compared on equal terms only then; left alone, BLAS takes every processor and, on a
    busy machine, loses most of its time waiting for them.
    """
    threads = str(get_num_threads())
    if all(os.environ.get(name) == threads for name in BLAS_VARIABLES):
        return None
    environment = {**os.environ, **dict.fromkeys(BLAS_VARIABLES, threads)}
    return subprocess.call([sys.executable, "-m", "rewire", *command, "--threads", threads], env=environment)


def read_json(option: str, path: str) -> Any:
    """What a file holds that an option names; UsageError for one that is no JSON."""
    with open_regular(path) as file:
        try:
            return json.load(file)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{option} {path} is no JSON: {error}") from None


def check_outputs(
    path: str | None,
    text: str | None = None,
    *,
    inputs: Sequence[str | None] = (),
    replaces: str | None = None,
) -> None:
    """Complain now, not after an hour of training, about files that could not be written.

    Parameters
    ----------
    path : str, optional
        Where a regular file is to be written.
    text : str, optional
        Where text is to be written, to a device or a pipe as well.
    inputs : sequence of str
        What is read: nothing is written over it.
    replaces : str, optional
        What is read too, and what ``path`` may take the place of.

    Raises
    ------
    UsageError
        Also for an empty name, and for a file that is named twice.
    """
    read = [name for name in (*inputs, replaces) if name is not None]
    if "" in read:
        raise UsageError("cannot read: the file name is empty")
    # Each output, with what else it must not be and whether it may be a stream.
    for output, others, stream in ((path, inputs, False), (text, (*inputs, replaces, path), True)):
        if output is None:
            continue
        try:
            target = writable_target(output, text=stream)
        except OSError as error:
            raise UsageError(error) from error
        if stream and is_stream(output):
            continue
        if target in {os.path.realpath(name) for name in others if name is not None}:
            raise UsageError(f"cannot write {output}: this file is named for something else too")


def archive(data: str | None) -> str | None:
    """The NumPy archive that an option names, if it names one."""
    return data if data is not None and data.endswith(".npz") else None


def tell(text: object) -> None:
    """Print lines that may hold what a file says, without the characters that steer a terminal."""
    print_now("\n".join(map(printable, str(text).split("\n"))))


def data_file(data: str | None) -> str | None:
    """The file that --data names, or --y, if it names one."""
    return data if data is not None and str(data).lower().endswith(datasets.FILES) else None


def data_files(data: str | None) -> list[str]:
    """The same, one by one where a pattern names many."""
    name = data_file(data)
    return [] if name is None else files_of(name) if is_pattern(name) else [name]


def load_data(name: str, loss: Any = None, y: str | int | None = None) -> Dataset:
    """`datasets.load`; an unknown name is wrong usage. A loss, if it is known, says how y is read."""
    refuse_data(name, y)
    return datasets.load(name, targets=_targets_of(loss), y=y)


def load_whole_or_parts(name: str, loss: Any, y: str | int | None, classes: list[Any] | None) -> Dataset:
    """The same, with the classes of before, for who takes data in parts: files that a pattern names."""
    if not is_pattern(name):
        return align(load_data(name, loss, y), classes)
    refuse_data(name, y, parts=True)
    with usage():
        return load_pattern(name, _targets_of(loss), -1 if y is None else y, classes)


def refuse_data(name: Any, y: str | int | None = None, *, parts: bool = False) -> None:
    """UsageError for what is neither a data set's name nor that of a file, and for a column of no table.

    With ``parts`` it may be a pattern of many files.
    """
    if not isinstance(name, str) or (name not in datasets.NAMES and data_file(name) is None):
        raise UsageError(
            f"--data must be one of {', '.join(datasets.NAMES)} or FILE.npz, .h5, .csv, "
            f".tsv, .parquet or .npy, got {name}{_converting(name)}"
        )
    if is_pattern(name) and not parts:
        raise UsageError(f"--data {name} is a pattern of files, which train and eval read, and no others")
    if y is not None and kind_of(name) not in TABLES:
        raise UsageError(f"--y does nothing with --data {name}: it names a column of a table")


def _converting(name: Any) -> str:
    """How a table becomes an archive, or which tables there are."""
    stem, dot, kind = str(name).rpartition(".")
    if not dot or kind not in ("txt", "arff", "xlsx"):
        return ""
    if kind != "txt":
        return f"; numpy.savez('{stem}.npz', X=X, y=y) writes one; tables end in {', '.join(TABLES)}"
    return (
        f"; two lines of Python make one, here with a header and y in the last column: "
        f"table = numpy.loadtxt('{name}', skiprows=1); "
        f"numpy.savez('{stem}.npz', X=table[:, :-1], y=table[:, -1]), with .astype(int) after y's where it "
        f"holds classes; tables end in {', '.join(TABLES)}"
    )


def _targets_of(loss: Any) -> str:
    """How y is read for a loss, or its name or description: what it says goes before what y looks like."""
    name = loss.get("name") if isinstance(loss, Mapping) else loss
    kind: Any = type(loss)
    if isinstance(name, str):
        with contextlib.suppress(ValueError):  # who builds the loss says what is wrong
            kind = LOSSES.find(name)
    if not isinstance(kind, type):
        return "auto"
    numbers, classes = issubclass(kind, (MSE, Huber, Poisson)), issubclass(kind, CrossEntropy)
    return "numbers" if numbers else "classes" if classes else "auto"


def known_data(contents: files.Contents) -> str:
    """The data set a file says it was trained on, if it is one that we know.

    Raises
    ------
    UsageError
        For a path: which files are opened says who types the command, not who wrote the file.
    """
    name = contents.notes.get("data")
    if name is None:
        raise UsageError(f"--data is needed: {contents.path} does not say what it was trained on")
    if name not in datasets.NAMES:
        raise UsageError(
            f"--data is needed: {contents.path} was trained on {describe(name)}, and no path that a file "
            "names is opened unasked; if you trust it, repeat it by --data"
        )
    return str(name)


def known_column(
    contents: files.Contents, data: str, y: str | None, *, needed: bool = True
) -> str | int | None:
    """The column that is y where ``data`` is a table: as asked for, or as in training.

    Raises
    ------
    UsageError
        Where y is needed and was in a file of its own: no path that a file names is opened unasked.
    """
    noted = contents.notes.get("y")
    if y is not None or not isinstance(noted, (str, int)) or isinstance(noted, bool):
        return y
    if kind_of(str(noted)) != ".npy":
        return noted if kind_of(data) in TABLES else None
    if needed and kind_of(data) == ".npy":
        raise UsageError(
            f"--y is needed: {contents.path} was trained with y of {describe(noted)}, and no path that a "
            "file names is opened unasked; if you trust it, repeat it by --y"
        )
    return None


def align(data: Dataset, classes: list[Any] | None) -> Dataset:
    """`data` with its classes numbered as in training.

    Raises
    ------
    ValueError
        If it has a class that was not there in training.
    """
    if classes is None or data.classes is None or list(data.classes) == classes:
        return data
    positions = {label: number for number, label in enumerate(classes)}
    unknown = [label for label in data.classes if label not in positions]
    if unknown:
        raise ValueError(f"the data has the class {unknown[0]!r}, which was not there in training")
    renumber = np.array([positions[label] for label in data.classes], dtype=np.int64)
    y_test = None if data.y_test is None else renumber[data.y_test]
    return Dataset(
        data.name,
        data.X,
        renumber[data.y],
        data.X_test,
        y_test,
        tuple(classes),
        data.feature_shape,
        data.source,
    )


def loss_name(network: Sequential, classes: bool) -> str:
    """The loss that fits a network's outputs."""
    final = network.final.name
    if final == "softmax" or (final == "linear" and classes):
        return "cross_entropy"
    return "binary_cross_entropy" if final == "sigmoid" and classes else "mse"


# --- signals


def until_signal(command: str, run: Callable[[Namespace], int], arguments: Namespace) -> int:
    """Run a command; SIGTERM and SIGHUP end it as Ctrl-C does, with 128 and their number as exit code."""
    with terminating() as terminated:
        try:
            code = run(arguments)
        except KeyboardInterrupt:
            if not terminated.received:
                raise
            print_beside(f"rewire {command}: terminated")
            code = INTERRUPTED
    return 128 + terminated.received if code == INTERRUPTED and terminated.received else code


# --- records


def data_record(data: Dataset | Samples) -> dict[str, Any]:
    """What was learnt from."""
    return {
        "name": data.name,
        "source": data.source,
        "features": data.X.shape[1],
        "train": data.X.shape[0],
        "test": 0 if data.X_test is None else data.X_test.shape[0],
    }


def network_record(trainer: Trainer) -> dict[str, Any]:
    """What has learnt, and by what."""
    network, config = trainer.network, trainer.config()
    return {
        "dtype": network.dtype,
        "optimizer": config["optimizer"],
        "rewiring": config["rewiring"],
        "nnz": network.nnz,
        "density": network.density,
        "bytes": network.nbytes,
        "layers": layer_rows(network),
    }


def layer_rows(network: Sequential) -> list[dict[str, Any]]:
    """One dict per layer with weights."""
    return [_layer_row(layer) for layer in network.weight_layers]


def _layer_row(layer: Layer) -> dict[str, Any]:
    return {
        "layer": layer.index,
        "type": type(layer).__name__,
        "n_in": layer.n_in,
        "n_out": layer.n_out,
        "activation": layer.activation.name,
        "group": max(q.group for q in layer.parameters().values() if q.connects),
        "nnz": layer.nnz,
        "density": layer.density,
        "bytes": layer.nbytes,
    }


def environment() -> dict[str, Any]:
    """What ran it, for a record that is to be understood next year."""
    return {
        "threads": get_num_threads(),
        "instruction_set": _core.isa(),
        "openmp": _core.openmp(),
        "processor": info.processor(),
        "peak_memory_bytes": info.peak_memory(),
        "versions": info.versions(),
    }


def sized(n_bytes: float) -> str:
    """Bytes for people: 1.5 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000 or unit == "GB":
            break
        n_bytes /= 1000
    return f"{n_bytes:.0f} {unit}" if n_bytes >= 100 or unit == "B" else f"{n_bytes:.1f} {unit}"
