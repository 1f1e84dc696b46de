"""``rewire encode``: what hidden neurons make of a data set, learnt without a look at its targets."""

from __future__ import annotations

import datetime
import time
from argparse import Namespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rewire
from rewire._fileio import write_json
from rewire._format import percent
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
    sized,
    tell,
    until_signal,
    usage,
    use_threads,
)
from rewire.datasets._samples import write_samples
from rewire.standardizer import Standardizer

RBM = "rbm"


def run(arguments: Namespace) -> int:
    """Encode; returns the exit code."""
    return until_signal("encode", _run, arguments)


def _run(arguments: Namespace) -> int:
    if archive(arguments.out) is None:
        raise UsageError(f"--out must end in .npz, got {arguments.out}")
    data = data_file(arguments.data)
    check_outputs(arguments.save, arguments.json, inputs=[data])
    check_outputs(arguments.out, inputs=[data, arguments.save, arguments.json])
    use_threads(arguments.threads)
    started = datetime.datetime.now(datetime.UTC)
    machine = arguments.model == RBM
    kind = rewire.SparseBernoulliRBM if machine else rewire.SparseDenoisingAutoencoder
    verbose = 0 if arguments.quiet else 2
    parameters = coder_parameters(kind, arguments)
    model = kind(**parameters, random_state=arguments.seed or 0, verbose=verbose)
    samples = load(arguments.data, arguments.y)
    if not arguments.quiet:
        tell(heading(samples))
    scaler = _scaler(samples.X) if machine else None
    parts = {"train": samples.X, "test": samples.X_test}
    parts = {part: _scaled(X, scaler) for part, X in parts.items() if X is not None}
    cut = 0
    if machine and "test" in parts:
        parts["test"], cut = _cut(parts["test"])

    begin = time.perf_counter()
    with usage(), learning():
        model.fit(parts["train"])
    trained = time.perf_counter()
    codes = {part: model.transform(X) for part, X in parts.items()}
    encoded = time.perf_counter()
    measured = {part: model.score(X) for part, X in parts.items()}
    if arguments.save is not None:
        # Whoever loads the file gives it features as they come.
        model.network_.standardizer = scaler if machine else _units(model)
        model.trainer_.save(arguments.save, notes={"data": arguments.data, "model": arguments.model})
    write_samples(arguments.out, codes["train"], codes.get("test"), samples)

    rows = model.trainer_.history.epochs
    record = {
        "started": started.isoformat(timespec="seconds"),
        "data": data_record(samples),
        "model": arguments.model,
        "epochs": len(rows),
        "batch_size": model.batch_size,
        "seed": model.random_state,
        "scaled": scaler is not None,
        "cut": cut,
        "codes": codes["train"].shape[1],
        "pseudo_likelihood" if machine else "reconstructed": measured,
        "loss": {"per_epoch": {"train": [row["loss"] for row in rows]}},
        "seconds": {"total": encoded - begin, "training": trained - begin, "encoding": encoded - trained},
        **network_record(model.trainer_),
        **environment(),
    }
    if arguments.json is not None:
        write_json(arguments.json, record)
    _report(record, arguments)
    return 0


# --- the units of features


def _scaler(X: Any) -> Standardizer | None:
    """What brings every feature to [0, 1] by its least and largest value; None if all are there already."""
    low, high = _row(X.min(axis=0)), _row(X.max(axis=0))
    if low.min() >= 0.0 and high.max() <= 1.0:
        return None
    with usage():
        return Standardizer(low, 1.0 / np.where(high > low, high - low, 1.0))


def _row(found: Any) -> NDArray[np.float64]:
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found, np.float64).reshape(-1)


def _scaled(X: Any, scaler: Standardizer | None) -> Any:
    """Samples in the units that are learnt from."""
    if scaler is None:
        return X
    return scaler.apply(np.asarray(X.toarray() if hasattr(X, "toarray") else X, np.float64))


def _cut(X: Any) -> tuple[Any, int]:
    """Samples within [0, 1], and how many of their values were beyond: no training has seen such."""
    beyond = int((X < 0).sum() + (X > 1).sum())
    if not beyond:
        return X, 0
    return np.clip(X.toarray() if hasattr(X, "toarray") else X, 0.0, 1.0), beyond


def _units(model: Any) -> Standardizer | None:
    """How an autoencoder has standardised its inputs; None if it has left them alone."""
    return Standardizer(model.mean_, 1.0 / model.scale_) if model.standardize else None


# --- telling


def _report(record: dict[str, Any], arguments: Namespace) -> None:
    if record["scaled"]:
        print("inputs    every feature brought to 0 to 1 by its least and largest value in training")
    if record["cut"]:
        print(f"cut       {record['cut']:,} values of the test set that lie beyond 0 to 1")
    for name, label in (("pseudo_likelihood", "pseudo-likelihood"), ("reconstructed", "reconstructed")):
        if name in record:
            figures = (f"{part} {value:.4f}" for part, value in record[name].items())
            print(f"{label}  {'  '.join(figures)}")
    print(f"weights   {record['nnz']:,}, {percent(record['density'])} of a dense network's")
    seconds = {part: spent(value) for part, value in record["seconds"].items()}
    print(f"time      {seconds['total']}: training {seconds['training']}, encoding {seconds['encoding']}")
    print(f"memory    network {sized(record['bytes'])}")
    print(f"written   {arguments.out}, {record['codes']:,} features")
    if arguments.save is not None:
        print(f"saved     {arguments.save}")
    if arguments.json is not None:
        print(f"record    {arguments.json}")
