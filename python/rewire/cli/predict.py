"""``rewire predict``: outputs of a saved network for data."""

from __future__ import annotations

import csv
import sys
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
    labels,
    load_data,
    saved_network,
    use_threads,
)
from rewire.losses import loss as as_loss
from rewire.losses import loss_names


def run(arguments: Namespace) -> int:
    """Predict; to standard output, .csv or .npz."""
    packed = archive(arguments.out)
    check_outputs(
        packed,
        None if packed else arguments.out,
        inputs=[arguments.file, archive(arguments.data)],
    )
    if arguments.out is not None:
        if not (packed or arguments.out.endswith(".csv") or is_stream(arguments.out)):
            raise UsageError(f"--out must end in .csv or .npz, got {arguments.out}")
    use_threads(arguments.threads)
    contents = files.read(arguments.file)
    network = saved_network(contents)
    X = _features(arguments.data)
    outputs = network.predict(X, batch_size=arguments.batch_size, threads=arguments.threads)
    classes = contents.notes.get("classes")
    if classes is None and network.final.name == "softmax":
        classes = list(range(network.n_out))
    predictions = labels(outputs, classes) if classes else _predictions(contents, outputs)

    if arguments.out is None:
        for prediction in predictions:
            line = prediction if classes else " ".join(f"{value:.7g}" for value in prediction)
            print(printable(str(line)))
        return 0
    if packed:
        with atomic_write(packed) as temporary, open(temporary, "wb") as file:
            np.savez(file, prediction=np.array(predictions), output=outputs)
    else:
        with write_text(arguments.out, newline="") as table:
            _write_csv(table, predictions, outputs, classes)
    print(f"{len(outputs):,} predictions in {arguments.out}", file=sys.stderr)
    return 0


def _predictions(contents: files.Contents, outputs: NDArray[Any]) -> NDArray[Any]:
    """Outputs in the units of targets, as far as the loss is known that the file was trained by."""
    said = contents.config.get("loss")
    if not isinstance(said, dict) or said.get("name") not in loss_names():
        return outputs
    with refusing(contents.path):
        return as_loss(said).predictions(outputs)


def _features(name: str) -> Any:
    if name.endswith(".npz"):
        return datasets.load_features(name)
    data = load_data(name)
    return data.X if data.X_test is None else data.X_test


def _write_csv(file: TextIO, predictions: Any, outputs: NDArray[Any], classes: list[Any] | None) -> None:
    writer = csv.writer(file)
    if classes and len(classes) == outputs.shape[1]:
        names = [str(label) for label in classes]
    else:
        names = [f"output_{number}" for number in range(outputs.shape[1])]
    writer.writerow([*(["prediction"] if classes else []), *names])
    for prediction, row in zip(predictions, (outputs if classes else predictions).tolist(), strict=True):
        writer.writerow([*([prediction] if classes else []), *row])
