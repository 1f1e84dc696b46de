"""``rewire predict``: outputs of a saved network for data."""

from __future__ import annotations

import csv
import math
from argparse import Namespace
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from rewire import datasets, files
from rewire._checks import printable
from rewire._fileio import atomic_write, is_stream, write_text
from rewire._saving import refusing
from rewire.cli._shared import (
    UsageError,
    archive,
    check_outputs,
    data_file,
    known_column,
    load_data,
    refuse_data,
    saved_network,
    use_threads,
)
from rewire.losses import Loss, loss_names
from rewire.losses import loss as as_loss
from rewire.metrics import Accuracy
from rewire.network import Sequential
from rewire.progress import print_beside


def run(arguments: Namespace) -> int:
    """Predict; to standard output, .csv or .npz."""
    packed = archive(arguments.out)
    check_outputs(
        packed,
        None if packed else arguments.out,
        inputs=[arguments.file, data_file(arguments.data)],
    )
    if arguments.out is not None:
        if not (packed or arguments.out.endswith(".csv") or is_stream(arguments.out)):
            raise UsageError(
                f"--out must end in .csv or .npz, got {arguments.out}; without it predictions are printed, "
                "one a line"
            )
    use_threads(arguments.threads)
    with files.opened(arguments.file) as contents:
        network = saved_network(contents)
    y = known_column(contents, arguments.data, arguments.y, needed=False)
    X = _features(arguments.data, y, network.n_in)
    outputs = network.predict(X, batch_size=arguments.batch_size, threads=arguments.threads)
    loss = _loss(contents)
    classes, cut = _decision(contents.notes.get("classes"), network, loss)
    predictions: Any
    if classes:
        chosen = outputs.argmax(axis=1) if cut is None else outputs[:, 0] > cut
        predictions = [classes[number] for number in chosen.astype(np.int64).tolist()]
    else:
        predictions = outputs if loss is None else loss.predictions(outputs)

    if arguments.out is None:
        digits = np.finfo(outputs.dtype).precision + 1
        for prediction in predictions:
            line = prediction if classes else " ".join(f"{value:.{digits}g}" for value in prediction)
            print(printable(str(line)))
        return 0
    if packed:
        with atomic_write(packed) as temporary, open(temporary, "wb") as file:
            np.savez(file, prediction=np.array(predictions), output=outputs)
    else:
        with write_text(arguments.out, newline="") as table:
            _write_csv(table, predictions, outputs, classes)
    print_beside(f"{len(outputs):,} predictions in {printable(arguments.out)}")
    return 0


def _loss(contents: files.Contents) -> Loss | None:
    """What the file was trained by, as far as that is known."""
    said = contents.config.get("loss")
    if not isinstance(said, dict) or said.get("name") not in loss_names():
        return None
    with refusing(contents.path):
        return as_loss(said)


def _decision(known: Any, network: Sequential, loss: Loss | None) -> tuple[list[Any] | None, float | None]:
    """The classes of a network, None if it gives numbers, and of one output above what it is the second.

    Without a cut the largest output says the class. A loss of numbers makes one output a number, whatever a
    file notes of classes; where no loss is known, one output that is no probability is a number too.
    """
    if network.n_out > 1:
        if known is None and network.final.name == "softmax":
            known = list(range(network.n_out))
        return (known if isinstance(known, list) and len(known) == network.n_out else None), None
    if not (isinstance(known, list) and len(known) == 2):
        return None, None
    cut, is_probability = None, network.final.name == "sigmoid"
    if loss is None:
        cut = 0.5 if is_probability else None
    elif isinstance(metric := loss.metric(network.final), Accuracy):
        at = metric.threshold or 0.0  # of what goes into the final activation
        cut = 1.0 / (1.0 + math.exp(-at)) if is_probability else at
    return (None if cut is None else known), cut


def _features(name: str, y: str | int | None, width: int) -> Any:
    refuse_data(name, y)
    if data_file(name) is not None:
        return datasets.load_features(name, -1 if y is None else y, width)
    data = load_data(name)
    return data.X if data.X_test is None else data.X_test


def _write_csv(file: TextIO, predictions: Any, outputs: NDArray[Any], classes: list[Any] | None) -> None:
    writer = csv.writer(file)
    if classes and len(classes) == outputs.shape[1]:
        names = [str(label) for label in classes]
    else:
        names = [f"prediction_{number}" for number in range(outputs.shape[1])]
        if len(names) == 1 and not classes:
            names = ["prediction"]
    writer.writerow([*(["prediction"] if classes else []), *names])
    for prediction, row in zip(predictions, (outputs if classes else predictions).tolist(), strict=True):
        writer.writerow([*([prediction] if classes else []), *row])
