"""``rewire select``: the columns of a data set that a sparse autoencoder leans on; targets are not asked."""

from __future__ import annotations

import csv
import datetime
import time
from argparse import Namespace
from typing import Any

import numpy as np

import rewire
from rewire._fileio import write_json, write_text
from rewire._format import plural
from rewire._format import seconds as spent
from rewire.cli._coders import coder_parameters, heading, learning, load
from rewire.cli._shared import (
    UsageError,
    archive,
    check_outputs,
    data_file,
    data_record,
    environment,
    network_record,
    tell,
    until_signal,
    usage,
    use_threads,
)
from rewire.datasets._samples import Samples, write_samples

SHOWN = 20  # columns that are printed where a file has them all


def run(arguments: Namespace) -> int:
    """Select; returns the exit code."""
    return until_signal("select", _run, arguments)


def _run(arguments: Namespace) -> int:
    _check_outputs(arguments)
    use_threads(arguments.threads)
    started = datetime.datetime.now(datetime.UTC)
    kind = rewire.SparseDenoisingAutoencoder
    samples = load(arguments.data, arguments.y)
    _check_count(arguments.features, samples)
    coder = kind(**coder_parameters(kind, arguments))
    selector = rewire.QuickSelection(arguments.features, estimator=coder, random_state=arguments.seed or 0)
    if arguments.runs is not None:
        selector.set_params(n_runs=arguments.runs)
    tell(heading(samples))
    begin = time.perf_counter()
    with usage(), learning():
        selector.fit(samples.X)
    seconds = time.perf_counter() - begin

    columns = np.flatnonzero(selector.support_)
    _write(arguments.out, samples, columns, selector.strengths_)
    record = {
        "started": started.isoformat(timespec="seconds"),
        "data": data_record(samples),
        "runs": selector.n_runs,
        "epochs": coder.max_iter,
        "batch_size": coder.batch_size,
        "seed": selector.random_state,
        "columns": columns.tolist(),
        "strengths": selector.strengths_.tolist(),
        "seconds": {"total": seconds},
        **network_record(selector.estimators_[0].trainer_),
        **environment(),
    }
    if arguments.json is not None:
        write_json(arguments.json, record)
    _report(record, samples, arguments)
    return 0


def _check_outputs(arguments: Namespace) -> None:
    packed, data = archive(arguments.out), data_file(arguments.data)
    if not (packed or arguments.out is None or arguments.out.endswith((".csv", ".json"))):
        raise UsageError(
            f"--out must end in .npz, .csv or .json, got {arguments.out}; without it columns are printed"
        )
    check_outputs(packed, arguments.json, inputs=[data])
    if packed is None:
        check_outputs(None, arguments.out, inputs=[data, arguments.json])


def _check_count(asked: int | float | None, samples: Samples) -> None:
    there = samples.X.shape[1]
    if isinstance(asked, int) and asked > there:
        raise UsageError(f"--features must be at most {there}, which {samples.name} has, got {asked}")


def _by_strength(columns: Any, strengths: Any) -> list[int]:
    """Columns, the strongest first."""
    return sorted(columns, key=lambda column: (-strengths[column], column))


def _write(out: str | None, samples: Samples, columns: Any, strengths: Any) -> None:
    """The columns of all samples into an archive, or their numbers into a text."""
    if out is None:
        return
    if archive(out):
        X_test = None if samples.X_test is None else samples.X_test[:, columns]
        write_samples(out, samples.X[:, columns], X_test, samples, columns=columns)
    elif out.endswith(".json"):
        write_json(out, columns.tolist())
    else:
        with write_text(out, newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["column", "strength"])
            writer.writerows((c, strengths[c]) for c in _by_strength(columns.tolist(), strengths))


def _report(record: dict[str, Any], samples: Samples, arguments: Namespace) -> None:
    """The columns as a table, the strongest first, and what it took."""
    columns, strengths = record["columns"], record["strengths"]
    shown = _by_strength(columns, strengths)[: None if arguments.out is None else SHOWN]
    images = len(samples.feature_shape) > 1
    print(f"{'column':>6}  {'strength':>8}{'  position' if images else ''}")
    for column in shown:
        where = np.unravel_index(column, samples.feature_shape) if images else ()
        words = ",".join(str(index) for index in where)
        print(f"{column:>6}  {strengths[column]:>8.4g}{words and f'  {words}'}")
    others = [strengths[column] for column in set(range(len(strengths))) - set(columns)]
    if len(shown) < len(columns):
        print(f"{'...':>6}  {len(columns) - len(shown):,} more in {arguments.out}")
    print(
        f"selected  {len(columns):,} of {plural(len(strengths), 'feature')}"
        + (f"; the strongest of the others has {max(others):.4g}" if others else "")
    )
    runs = plural(record["runs"], "run")
    print(f"time      {spent(record['seconds']['total'])}, {runs} of {plural(record['epochs'], 'epoch')}")
    if arguments.out is not None:
        print(f"written   {arguments.out}")
    if arguments.json is not None:
        print(f"record    {arguments.json}")
