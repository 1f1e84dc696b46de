"""``rewire train``: build a network from options, train it, save it, record what was measured."""

from __future__ import annotations

import contextlib
import datetime
import inspect
import signal
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType
from typing import Any

import numpy as np

from rewire import files, presets
from rewire._checks import printable
from rewire._fileio import write_json
from rewire._format import percent, plural
from rewire._format import seconds as spent
from rewire._registry import Registry
from rewire._shards import shards_of_parts
from rewire._signals import Interrupts
from rewire._strategies import WASSP, Strategy, trainings_of
from rewire._targets import is_whole
from rewire._warn import says_interrupted
from rewire.activations import KINDS as ACTIVATIONS
from rewire.callbacks import Checkpoint, State, WeightAverage
from rewire.cli._shared import (
    INTERRUPTED,
    STANDARDISED,
    UsageError,
    check_outputs,
    data_file,
    data_files,
    data_record,
    environment,
    known_column,
    known_data,
    load_whole_or_parts,
    network_record,
    refuse_untargeted,
    sized,
    tell,
    until_signal,
    usage,
    use_threads,
)
from rewire.cli._strategy import has_whole_batches, noted, of_this_call
from rewire.cli.options import recipe_options
from rewire.datasets import Dataset, hold_out
from rewire.datasets._pattern import FileParts, beside
from rewire.optim import KINDS as OPTIMIZERS
from rewire.optim import optimizer_names
from rewire.progress import print_beside
from rewire.recipe import EPOCHS, Recipe
from rewire.rewiring import Epochs
from rewire.schedules import Cosine, Schedule, Warmup
from rewire.streams.kinds import rows_of
from rewire.threads import get_num_threads
from rewire.trainer import Trainer
from rewire.units import hidden_names
from rewire.workers.world import alone, world

FEW = 20  # different whole numbers that may be classes, though y is of floating point

# With --resume these are in the file.
_FIXED = (
    "hidden", "layers", "epsilon", "density", "links", "distribution", "dense", "activation",
    "activation_opt", "slope", "dropout", "init", "connectivity", "connectivity_opt", "group", "dtype",
    "rewiring", "rewiring_opt", "preset", "optimizer", "lr", "momentum", "nesterov", "weight_decay", "decay",
    "schedule", "warmup", "warmup_to", "average", "average_opt", "clip_norm", "standardize",
    "standardize_targets", "validation", "seed", "loss", "loss_opt", "shards",
)  # fmt: skip


def run(arguments: Namespace) -> int:
    """Train; returns the exit code."""
    return until_signal("train", _run, arguments)


def _run(arguments: Namespace) -> int:
    """Train, save, report; returns the exit code."""
    if arguments.workers is not None:
        alone()
    comm = world() if arguments.workers is None else None
    follows = comm is not None and comm.rank > 0
    if follows:  # rank 0 prints and writes
        silent = {"save": None, "save_every": None, "json": None, "quiet": True}
        arguments = Namespace(**{**vars(arguments), **silent})
    if arguments.save_every and arguments.save is None:
        raise UsageError("--save-every needs --save: say where to")
    if arguments.shards is not None and (arguments.workers or 1) > arguments.shards:
        raise UsageError(f"--workers {arguments.workers} needs --shards {arguments.workers} or more")
    inputs = [*data_files(arguments.data), data_file(arguments.y), arguments.layers]
    check_outputs(arguments.save, arguments.json, inputs=inputs, replaces=arguments.resume)
    use_threads(arguments.threads)
    started = datetime.datetime.now(datetime.UTC)
    processes = arguments.workers or (1 if comm is None else comm.size)
    made = _fresh if arguments.resume is None else _resumed
    trainer, data, notes, plan = made(arguments, processes)
    remaining = notes["epochs"] - trainer.epoch
    if remaining < 1:
        raise UsageError(
            f"--epochs counts all epochs and {arguments.resume} has {trainer.epoch} behind it: give more"
        )

    unsharded = ""
    if trainer.shards is not None and has_whole_batches(plan):  # of a file: --shards beside it is refused
        unsharded, trainer.shards = f"; no shards, of which {arguments.resume} has {trainer.shards}", None
    train, followed = _split(data, notes)
    if isinstance(train[0], FileParts) and len(train[0]) < (trainer.shards or 1):  # of a file
        raise UsageError(
            f"--data {notes['data']} leaves {plural(len(train[0]), 'file')} to learn from, and batches are "
            f"cut into {trainer.shards} shards, each of which has one or more: give as many"
        )
    if not arguments.quiet:
        tell(_heading(trainer, data, train, notes))
        if plan is not None:
            tell(f"{plan!r}, {plural(processes, 'process', 'processes')}{unsharded}")
    if arguments.save_every:
        trainer.callbacks.append(_SaveEvery(arguments.save, arguments.save_every, notes))
    if arguments.save is not None and hasattr(signal, "SIGUSR1"):
        trainer.callbacks.append(_SaveWhenAsked(arguments.save, 1, notes))
    with _blas_threads(trainer, arguments.threads), says_interrupted():
        trainer.fit(
            *train,
            epochs=remaining,
            batch_size=notes["batch_size"],
            validation_data=followed,
            verbose=0 if arguments.quiet else 2,
            workers=arguments.workers,
            strategy=of_this_call(plan, notes["epochs"], remaining),
            timeout=arguments.timeout,
        )
        interrupted = trainer.history.interrupted
        if follows:
            return INTERRUPTED if interrupted else 0
        trainer.callbacks = [one for one in trainer.callbacks if not isinstance(one, _SaveEvery)]
        if arguments.save is not None:
            with Interrupts() as interrupts, interrupts.wait_long:
                trainer.save(arguments.save, notes=notes)
        # Evaluated after saving, so that an impatient Ctrl-C here costs nothing.
        held = followed if notes["validation"] else None
        final = {} if interrupted else _final(trainer, train, held, data)

    record = _record(trainer, data, notes, final, started)
    if arguments.json is not None:
        write_json(arguments.json, record)
    _report(record, trainer, arguments)
    return INTERRUPTED if interrupted else 0


class _SaveEvery(Checkpoint):
    """Checkpoints with what the command line keeps beside a trainer. Not saved: the options say it anew."""

    def __init__(self, path: str, every: int, notes: dict[str, Any]) -> None:
        super().__init__(path, Epochs(every))
        self.notes = notes

    def write(self, state: State, target: str) -> None:
        state.trainer.save(target, notes=self.notes)

    def on_fit_end(self, state: State) -> None:
        """Nothing: ``run`` saves then."""

    def config(self) -> None:
        return None


class _SaveWhenAsked(_SaveEvery):
    """SIGUSR1, as a scheduler sends it before time is up, saves after the step; training goes on."""

    asked = False

    def on_fit_begin(self, state: State) -> None:
        super().on_fit_begin(state)
        self._before = signal.signal(signal.SIGUSR1, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def on_step_end(self, state: State) -> None:
        if self.asked:
            self.asked = False
            self._save(state)

    def on_epoch_end(self, state: State) -> None:
        """Nothing: it saves after steps."""

    def on_fit_end(self, state: State) -> None:
        signal.signal(signal.SIGUSR1, self._before)


# --- building


Made = tuple[Trainer, Dataset, dict[str, Any], Strategy | None]


def _fresh(arguments: Namespace, processes: int) -> Made:
    """A new trainer, its data, what a file must remember beside the trainer itself, and what workers do."""
    if arguments.data is None:
        raise UsageError("--data is needed: say what to train on")
    with usage():
        presets.preset(arguments.preset or "default")
        _refuse_contradictions(arguments)
    data = load_whole_or_parts(arguments.data, arguments.loss, arguments.y, None)
    notes = {
        "data": arguments.data,
        "y": arguments.y,
        "classes": None if data.classes is None else list(data.classes),
        "epochs": arguments.epochs or EPOCHS,
        "batch_size": None,  # by the samples to learn from, below
        "validation": arguments.validation,
        "preset": arguments.preset,
    }
    plan = noted(arguments, notes, processes)
    with usage():
        learnt = _to_learn(data, notes["validation"])
        apart = 1 if plan is None else trainings_of(plan, processes)  # trainings with batches of their own
        recipe = Recipe(recipe_options(arguments))
        samples = learnt.shape[0] if isinstance(learnt, FileParts) else learnt
        notes["batch_size"] = recipe.fit_options(data, samples // apart)["batch_size"]
        shards = apart
        if isinstance(learnt, FileParts) and not has_whole_batches(plan):
            most = max(processes, (plan.workers or 1) if isinstance(plan, WASSP) else 1)
            shards = arguments.shards or shards_of_parts(most, len(learnt), arguments.batch_size)
            if arguments.batch_size is None:  # as many samples of each
                notes["batch_size"] = -(-notes["batch_size"] // shards) * shards
        together = notes["batch_size"] * apart
        if isinstance(learnt, FileParts):
            steps = learnt.steps(-(-together // shards), shards)
        else:
            steps = -(-learnt // together)
        trainer = recipe.trainer(data, seed=arguments.seed or 0, threads=arguments.threads, steps=steps)
        trainer.metrics = True  # a line for each epoch tells it
    return trainer, data, notes, plan


def _resumed(arguments: Namespace, processes: int) -> Made:
    """The trainer of a file; data, epochs and batch size as they were unless given anew.

    A path is no such data: it is given anew (see `known_data`).
    """
    given = [name for name in _FIXED if getattr(arguments, name) is not None]
    if given:
        raise UsageError(f"--{given[0].replace('_', '-')} cannot be changed with --resume: the file has it")
    with files.opened(arguments.resume) as contents:
        refuse_untargeted(contents)
        trainer = Trainer.from_contents(contents)
    trainer.threads = arguments.threads
    notes = {"validation": None, "preset": None, "classes": None, "batch_size": 128, **contents.notes}
    notes |= {
        name: getattr(arguments, name)
        for name in ("epochs", "batch_size")
        if getattr(arguments, name) is not None
    }
    notes["data"] = known_data(contents) if arguments.data is None else arguments.data
    notes["y"] = known_column(contents, notes["data"], arguments.y)
    notes.setdefault("epochs", trainer.epoch + EPOCHS)
    implied = trainer.horizon in (None, contents.notes.get("epochs"))  # fractions of the run follow --epochs
    trainer.horizon = arguments.horizon or (notes["epochs"] if implied else trainer.horizon)
    optimizer = trainer.optimizer
    optimizer.schedule = _lengthened(optimizer.schedule, contents.notes.get("epochs"), notes["epochs"])
    data = load_whole_or_parts(notes["data"], trainer.loss, notes["y"], notes["classes"])
    return trainer, data, notes, noted(arguments, notes, processes)


def _lengthened(schedule: Schedule, before: Any, epochs: int) -> Schedule:
    """The schedule of a run that is to be longer: a cosine has come down to 0, or would on the way."""
    if isinstance(schedule, Warmup) and schedule.decay is not None:
        return replace(schedule, decay=_lengthened(schedule.decay, before, epochs))
    if isinstance(schedule, Cosine) and schedule.unit == "epoch":
        whole = schedule.warmup + schedule.length
        if whole == before != epochs > schedule.warmup:
            return replace(schedule, length=epochs - schedule.warmup)
    return schedule


def _refuse_contradictions(arguments: Namespace) -> None:
    """Options that would silently do nothing."""
    if arguments.dense and arguments.rewiring not in (None, "static"):
        raise UsageError(
            f"--rewiring {arguments.rewiring} does nothing with --dense: there is nothing to rewire"
        )
    if arguments.dense and arguments.group:
        raise UsageError("--group does nothing with --dense")
    if arguments.dense and arguments.connectivity:
        raise UsageError("--connectivity does nothing with --dense")
    if arguments.dense and arguments.dtype == "bfloat16":
        raise UsageError("--dtype bfloat16 does nothing with --dense, whose products are of float32")
    if arguments.distribution and arguments.density is None and arguments.links is None:
        raise UsageError("--distribution does nothing without --density or --links: say how many to divide")
    if arguments.average_opt and not arguments.average:
        raise UsageError("--average-opt does nothing without --average")
    if arguments.connectivity_opt and not arguments.connectivity:
        raise UsageError("--connectivity-opt does nothing without --connectivity")
    if arguments.rewiring_opt and (arguments.dense or arguments.rewiring == "static"):
        raise UsageError("--rewiring-opt does nothing without rewiring")
    if arguments.optimizer is not None:
        for name in ("lr", "momentum", "nesterov", "weight_decay", "decay", "clip_norm"):
            if getattr(arguments, name) is not None and not _takes(OPTIMIZERS, arguments.optimizer, name):
                takes = " and ".join(word for word in optimizer_names() if _takes(OPTIMIZERS, word, name))
                raise UsageError(
                    f"--{name.replace('_', '-')} belongs to {takes}, not to {arguments.optimizer}"
                )
    if arguments.slope is not None and "slope" in dict(arguments.activation_opt or ()):
        raise UsageError("--slope and --activation-opt slope are the same: give one of them")
    if arguments.slope is not None and arguments.activation is not None:
        if not _takes(ACTIVATIONS, arguments.activation, "slope"):
            takes = " and ".join(name for name in hidden_names() if _takes(ACTIVATIONS, name, "slope"))
            raise UsageError(f"--slope belongs to {takes}, not to {arguments.activation}")


def _takes(kinds: Registry[Any], name: str, option: str) -> bool:
    """Whether what is registered under a name has an option; UsageError if nothing is."""
    with usage():
        return option in inspect.signature(kinds.find(name)).parameters


# --- data


def _split(data: Dataset, notes: dict[str, Any]) -> tuple[tuple[Any, Any], tuple[Any, Any] | None]:
    """Training samples, and those whose accuracy is followed: held out, else the test set, else none."""
    fraction = notes["validation"]
    if not fraction:
        return (data.X, beside(data.X, data.y)), None if data.X_test is None else (data.X_test, data.y_test)
    if isinstance(data.X, FileParts):
        with usage():
            files, followed = data.X.held_out(fraction)
        return (files, None), (followed, None)
    with usage():
        held = hold_out(data, fraction)
    (train,), (rest,) = (~held).nonzero(), held.nonzero()
    return (rows_of(data.X, train), data.y[train]), (rows_of(data.X, rest), data.y[rest])


def _to_learn(data: Dataset, fraction: float | None) -> FileParts | int:
    """The files that are not held out, or how many samples."""
    if isinstance(data.X, FileParts):
        return data.X.held_out(fraction)[0] if fraction else data.X
    return int(np.count_nonzero(~hold_out(data, fraction)) if fraction else data.X.shape[0])


@contextlib.contextmanager
def _blas_threads(trainer: Trainer, threads: int | None) -> Iterator[None]:
    """Dense layers compute in BLAS, which has threads of its own: hold it to the number asked for."""
    if threads is None or len(trainer.network.sparse_parameters) == len(trainer.network.weight_layers):
        yield
        return
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        print_beside(
            "rewire train: without threadpoolctl --threads does not hold for dense layers: BLAS has its own"
        )
        yield
        return
    with threadpool_limits(get_num_threads(), user_api="blas"):
        yield


def _final(
    trainer: Trainer, train: tuple[Any, Any], held: tuple[Any, Any] | None, data: Dataset
) -> dict[str, dict[str, float]]:
    """Loss and metric after the last epoch, without dropout."""
    found = {"train": trainer.evaluate(*train)}
    if held is not None:
        found["validation"] = trainer.evaluate(*held)
    if data.X_test is not None:
        found["test"] = trainer.evaluate(data.X_test, data.y_test)
    return found


# --- telling


def _heading(trainer: Trainer, data: Dataset, train: tuple[Any, Any], notes: dict[str, Any]) -> str:
    network = trainer.network
    tested = 0 if data.X_test is None else data.X_test.shape[0]
    rule = trainer.rewiring.name if network.sparse_parameters else "dense"
    sizes = "-".join(str(n) for n in [network.n_in, *(layer.n_out for layer in network.weight_layers)])
    return (
        f"{data.name}: {train[0].shape[0]:,} samples, {tested:,} for the test, {_read_as(data)}, "
        f"from {data.source}\n"
        f"{sizes}, {rule}: {network.nnz:,} connections, {percent(network.density)} of {network.size:,}"
        + (f"\n{STANDARDISED}" if trainer.standardize_targets else "")
    )


def _read_as(data: Dataset) -> str:
    """What y is taken for, and how to have it otherwise where it might be something else."""
    if data.classes is None and data.y.size == len(data.y) and is_whole(data.y):
        different = len(np.unique(data.y))
        if different <= FEW:
            return (
                f"regression on {different} different whole numbers (y is {data.y.dtype}: for classes store "
                "y.astype(int), or give --loss cross_entropy)"
            )
    return data.kind


def _record(
    trainer: Trainer,
    data: Dataset,
    notes: dict[str, Any],
    final: dict[str, dict[str, float]],
    started: datetime.datetime,
) -> dict[str, Any]:
    """What --json writes."""
    network, rows = trainer.network, trainer.history.epochs
    followed = "validation" if notes["validation"] else "test"
    found = trainer.loss.metric(trainer.network.final)
    metric = None if found is None else found.name  # of a loss of one's own

    def figures(name: str) -> dict[str, Any]:
        per_epoch = {"train": [row[name] for row in rows]}
        if any(f"val_{name}" in row for row in rows):
            per_epoch[followed] = [row.get(f"val_{name}") for row in rows]
        ends = {part: found[name] for part, found in final.items()}
        held = {"validation": ends.get("validation")} if notes["validation"] else {}
        return {"train": ends.get("train"), **held, "test": ends.get("test"), "per_epoch": per_epoch}

    seconds = {
        part: [row[f"seconds_{part}"] for row in rows]
        for part in ("training", "rewiring", "evaluation", "callbacks")
    }
    return {
        "started": started.isoformat(timespec="seconds"),
        "data": {**data_record(data), "classes": notes["classes"]},
        "preset": notes["preset"],
        "strategy": notes.get("strategy"),
        "epochs": trainer.epoch,
        "epochs_asked": notes["epochs"],
        "interrupted": trainer.history.interrupted,
        "batch_size": notes["batch_size"],
        "seed": trainer.seed,
        "standardize_targets": trainer.standardize_targets,
        "average": next((one.options() for one in trainer.callbacks if isinstance(one, WeightAverage)), None),
        "dropout": next((p for layer in network.layers if (p := layer.config().get("p")) is not None), 0.0),
        **({} if metric is None else {metric: figures(metric)}),
        "loss": figures("loss"),
        "seconds": {"total": sum(map(sum, seconds.values())), "per_epoch": seconds},
        **network_record(trainer),
        "links_grown_per_epoch": [sum(row["links_grown"]) for row in rows],
        **environment(),
    }


def _report(record: dict[str, Any], trainer: Trainer, arguments: Namespace) -> None:
    """The last lines on standard output."""
    found = trainer.loss.metric(trainer.network.final)
    metric = "loss" if found is None else found.name
    parts = [
        f"{part} {record[metric][part]:.4f}"
        for part in ("train", "validation", "test")
        if record[metric].get(part) is not None
    ]
    seconds = {part: sum(each) for part, each in record["seconds"]["per_epoch"].items()}
    if parts:
        tell(f"{metric}  {'  '.join(parts)}")
    tell(
        f"time      {spent(record['seconds']['total'])}: training {spent(seconds['training'])}, "
        f"rewiring {spent(seconds['rewiring'])}, evaluation {spent(seconds['evaluation'])}"
        + (f", callbacks {spent(seconds['callbacks'])}" if seconds["callbacks"] else "")
    )
    peak = record["peak_memory_bytes"]
    tell(
        f"memory    network {sized(record['bytes'])}"
        + (f", peak of the process {sized(peak)}" if peak else "")
    )
    if arguments.save is not None:
        tell(f"saved     {printable(arguments.save)}")
    if arguments.json is not None:
        tell(f"record    {printable(arguments.json)}")
    if record["interrupted"]:
        where = "; nothing saved, for want of --save"
        if arguments.save is not None:
            paths = {"data": data_file(arguments.data), "y": data_file(arguments.y)}
            again = "".join(f" --{option} {path}" for option, path in paths.items() if path)
            where = f"; go on with --resume {arguments.save}{again}"
        print_beside(f"rewire train: interrupted after {trainer.epoch} epochs{printable(where)}")
