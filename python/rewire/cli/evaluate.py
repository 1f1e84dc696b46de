"""``rewire eval``: measure a saved network on data."""

from __future__ import annotations

import time
from argparse import Namespace

from rewire import files
from rewire._fileio import write_json
from rewire._format import seconds as spent
from rewire.cli._shared import (
    STANDARDISED,
    check_outputs,
    data_file,
    data_files,
    environment,
    known_column,
    known_data,
    layer_rows,
    load_whole_or_parts,
    loss_name,
    refuse_untargeted,
    saved_network,
    use_threads,
)
from rewire.datasets._pattern import beside
from rewire.trainer import Trainer


def run(arguments: Namespace) -> int:
    """Print loss and accuracy of the training and the test set."""
    inputs = [arguments.file, *data_files(arguments.data), data_file(arguments.y)]
    check_outputs(None, arguments.json, inputs=inputs)
    use_threads(arguments.threads)
    with files.opened(arguments.file) as contents:
        refuse_untargeted(contents)
        network = saved_network(contents)
    name = known_data(contents) if arguments.data is None else arguments.data
    loss = contents.config["loss"] if contents.kind == "trainer" else None
    column = known_column(contents, name, arguments.y)
    data = load_whole_or_parts(name, loss, column, contents.notes.get("classes"))
    if loss is None:
        loss = loss_name(network, data.classes is not None)
    trainer = Trainer(network, loss=loss, threads=arguments.threads)

    if network.target_standardizer is not None:
        print(STANDARDISED)
    record = {"file": arguments.file, "data": name, "layers": layer_rows(network)}
    for part, X, y in (("train", data.X, data.y), ("test", data.X_test, data.y_test)):
        if X is None:
            continue
        begin = time.perf_counter()
        found = trainer.evaluate(X, beside(X, y), batch_size=arguments.batch_size)
        seconds = time.perf_counter() - begin
        record[part] = {"samples": X.shape[0], **found, "seconds": seconds}
        figures = "  ".join(f"{metric} {value:.4f}" for metric, value in found.items())
        print(f"{part:<5}  {figures}  {X.shape[0]:,} samples in {spent(seconds)}")
    if arguments.json is not None:
        write_json(arguments.json, {**record, **environment()})
    return 0
