"""The comparison itself: what is asked is checked, then measured and run, and everything found is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rewire._checks import choice, describe, integer, number, seed
from rewire._checks import path as as_path
from rewire._format import percent, plural
from rewire._format import seconds as spent
from rewire._resources import cpu_count
from rewire.comparison.contender import Contender, contenders_of, naming
from rewire.comparison.pool import Here, Job, Processes
from rewire.comparison.record import Record
from rewire.comparison.result import Comparison
from rewire.comparison.sizing import resized
from rewire.comparison.task import Task
from rewire.progress import print_now
from rewire.threads import MAX_THREADS, get_num_threads, resolve

__all__ = ["compare"]

ROUNDS, SHORT = 3, 2  # measurements of every contender, which take turns; epochs of each


def compare(
    data: Any,
    contenders: Mapping[str, Any],
    *,
    seeds: int | Iterable[int] = 3,
    validation: float = 0.1,
    seconds: float | str | None = None,
    weights: int | str | None = None,
    jobs: int = 1,
    threads: int | None = None,
    save: str | os.PathLike[str] | None = None,
    verbose: int = 1,
    **common: Any,
) -> Comparison:
    """Train several networks on one data set, each from several seeds, and put them into one table.

    Parameters
    ----------
    data : str, path-like, Dataset, or (X, y) or (X, y, X_test, y_test)
        The name of a data set, the path of an ``.npz`` file, or arrays; X may be SciPy CSR. Integers and
        words in y are classes, floating-point numbers are targets of a regression.
    contenders : dict of str to dict or callable
        Names, each with options as ``rewire train`` has them: ``{"SET": {"rewiring": "set"}, "dense":
        {"dense": True, "lr": 0.01}}``. An option of an option has a dot, ``"rewiring.fraction"``; values may
        be objects, such as ``rw.RigL(every=50)``. ``"layers"`` is a list of descriptions of layers, or a
        function of the numbers of inputs and outputs that gives layers. In the place of options there may be
        a function of (data, seed) that gives a Trainer, a Sequential or a list of layers; parameters of it
        that are called ``epochs`` and ``weights`` are given too. `rewire.grid` makes combinations.
    seeds : int or iterable of int
        How many, from 0 on, or which ones: of networks, of the order of samples, of rewiring. The samples
        that are held out are the same for all.
    validation : float in [0, 1)
        Fraction of the training set that is held out, and that rows are sorted by. 0: all is trained on, and
        the test set is all there is to go by.
    seconds : float or str, optional
        Equal time: as many whole epochs for each contender as fit into so many seconds of training, at least
        one. A name stands for the time that this contender takes for its epochs. How long an epoch takes is
        measured beforehand by short runs, so that learning rates and rules know the length of their run.
    weights : int or str, optional
        Equal weights: each contender gets as many connections as it can have, at most so many; a name stands
        for as many as this contender has. Densities are changed, epsilon, widths of dense networks, the
        density at which a pruning rule ends, sizes in lists of layers.
    jobs : int
        Runs that go on at a time, each in a process of its own; -1 for as many as there are processors.
        0 runs everything in this process, one after the other.
    threads : int, optional
        Of each run; by default processors are divided among the jobs.
    save : path-like, optional
        A file of JSON lines that keeps every run as it ends. Where it is there, the comparison goes on from
        it: what it holds is not run again, unless it failed for another reason than divergence. More seeds
        and contenders may be asked for; a file that was made by another question is refused.
    verbose : {0, 1}
        Silent, or a line for every run.
    **common
        Options that all contenders have, where they mean something and nothing else is said:
        ``epochs=10, hidden=[1000, 1000], rewiring__fraction=0.3``.

    Returns
    -------
    Comparison
        After Ctrl-C its ``interrupted`` is True and it has the runs that were done.

    Raises
    ------
    TypeError, ValueError
        For wrong arguments, and for a contender that cannot be built or taken into a process, before anything
        is trained; it is named. `rewire.FileError` for a file of another question.
    OSError
        If the file cannot be written.

    Notes
    -----
    A run that fails, or whose process dies, is a row with an ``error``; the others go on. The same seed gives
    the same figures, but for times and memory, whatever the jobs and threads; not so with ``seconds``, where
    epochs depend on what was measured (and is kept in the file).

    Examples
    --------
    >>> import rewire as rw
    >>> found = rw.compare(
    ...     "digits", rw.grid(rewiring=["static", "set"]), hidden=[100], density=0.1, epochs=2, seeds=1,
    ...     jobs=0, verbose=0,
    ... )
    >>> len(found), found.metric
    (2, 'accuracy')
    """
    chosen = _seeds(seeds)
    jobs, threads = _jobs(jobs, threads)
    choice("verbose", verbose, (0, 1))
    given_seconds = _limit("seconds", seconds, contenders)
    given_weights = _limit("weights", weights, contenders)
    all_of_them = contenders_of(contenders, common)
    _check_epochs(all_of_them, given_seconds)
    task = Task.of(data, validation)
    if given_weights is not None:
        all_of_them = _at_equal_weights(all_of_them, task, given_weights, chosen[0])
    metrics = {one.name: _checked(one, task, chosen[0]) for one in all_of_them}
    if len(set(metrics.values())) > 1:
        first, other = (
            next(n for n, m in metrics.items() if m == metric) for metric in sorted({*metrics.values()})[:2]
        )
        raise ValueError(
            f"contenders must be measured by one metric, got {metrics[first]} of {first!r} and "
            f"{metrics[other]} of {other!r}: their losses are of different kinds"
        )
    said = {one.name: one.description() for one in all_of_them}
    asked = {
        "validation": task.fraction, "seconds": given_seconds, "weights": given_weights,
        "data": task.description(),
    }  # fmt: skip
    kept = None if save is None else Record(as_path("save", save), asked)
    with contextlib.closing(kept) if kept is not None else contextlib.nullcontext():
        study = _Study(task, all_of_them, chosen, given_seconds, kept, verbose, said)
        pool = _pool(task, all_of_them, said, jobs, threads)
        interrupted = False
        try:
            with pool:
                study.measure(pool)
                study.run(pool)
        except KeyboardInterrupt:
            interrupted = True
    rows = [
        {"contender": name, **study.runs[name, k]} for k in chosen for name in said if (name, k) in study.runs
    ]
    notes = [f"{one.name}: {one.note} for equal weights" for one in all_of_them if one.note]
    return Comparison(
        rows, asked=json.loads(json.dumps(asked)), contenders=said, measured=study.measured, notes=notes,
        interrupted=interrupted,
    )  # fmt: skip


class _Study:
    """What is done so far, and what is left to do."""

    def __init__(
        self,
        task: Task,
        contenders: Sequence[Contender],
        seeds: Sequence[int],
        seconds: float | str | None,
        kept: Record | None,
        verbose: int,
        said: Mapping[str, Any],
    ) -> None:
        self.task, self.contenders, self.seeds, self.seconds = task, contenders, seeds, seconds
        self.kept, self.verbose = kept, verbose
        self.runs: dict[tuple[str, int], dict[str, Any]] = {}
        self.measured: dict[str, dict[str, Any]] = {}
        if kept is not None:
            for name in said:
                kept.add_contender(name, said[name])
            self.measured = {name: kept.measured[name] for name in said if name in kept.measured}
            self.runs = {key: row for key, row in kept.runs.items() if key[0] in said and key[1] in seeds}

    @property
    def left(self) -> list[tuple[int, Contender]]:
        """Seeds and contenders of runs that are not done; contenders take turns, so that a busy hour is
        unfair to none."""
        return [(k, one) for k in self.seeds for one in self.contenders if not self._done(one.name, k)]

    def _done(self, name: str, k: int) -> bool:
        row = self.runs.get((name, k))
        return row is not None and ("error" not in row or row["error"].startswith("DivergenceError"))

    # --- equal time ---------------------------------------------------------------------

    def measure(self, pool: Here | Processes) -> None:
        """Find the epochs that fit into the seconds, of contenders for which that is not known."""
        if self.seconds is None or not self.left:
            return
        new = [one for one in self.contenders if one.name not in self.measured]
        found: dict[str, list[float]] = {one.name: [] for one in new}
        failed: dict[str, dict[str, Any]] = {}

        def done(job: Job, answer: dict[str, Any]) -> None:
            name = job.contender.name
            if "error" in answer:
                failed[name] = answer
            else:
                found[name].append(answer["seconds_per_epoch"])

        if new and self.verbose:
            print_now(f"measuring seconds an epoch, by {ROUNDS} short runs each")
        short = {one.name: max(SHORT, one.recipe.warmup + 1) for one in new}
        each: dict[str, float] = {}
        left = new
        for _ in range(ROUNDS):
            pool.do([Job(one, {"epochs": short[one.name]}, True) for one in left], done)
            each = {name: statistics.median(values) for name, values in found.items() if values}
            given = self._given(each, failed)
            # Who has been measured for as long as it is given needs no more of it.
            so_far = {name: len(found[name]) * short[name] * pace for name, pace in each.items()}
            left = [one for one in left if so_far.get(one.name, given) < given]
        for one in new:
            if one.name not in each:
                for k in self.seeds:
                    self._keep(one.name, k, failed[one.name])
                continue
            epochs = max(1, int(given / each[one.name]))
            if one.name == self.seconds:
                epochs = one.recipe.epochs
            row = {
                "seconds_given": given, "seconds_per_epoch": each[one.name], "each": found[one.name],
                "epochs": epochs,
            }  # fmt: skip
            self.measured[one.name] = row
            if self.verbose:
                print_now(f"{one.name}: {spent(each[one.name])} an epoch, so {plural(epochs, 'epoch')}")
            if self.kept is not None:
                self.kept.add_measured(one.name, row)

    def _given(self, each: Mapping[str, float], failed: Mapping[str, Mapping[str, Any]]) -> float:
        """Seconds for every contender."""
        if not isinstance(self.seconds, str):
            assert self.seconds is not None
            return self.seconds
        if self.seconds in self.measured:
            return float(self.measured[self.seconds]["seconds_given"])
        if self.seconds not in each:
            raise RuntimeError(
                f"seconds cannot be those of {self.seconds!r}, whose measurement failed: "
                f"{failed[self.seconds]['error']}"
            )
        clock = next(one for one in self.contenders if one.name == self.seconds)
        return each[self.seconds] * clock.recipe.epochs

    # --- runs ---------------------------------------------------------------------------

    def run(self, pool: Here | Processes) -> None:
        """Do all runs that are left."""
        jobs = []
        for k, one in self.left:
            if self.seconds is not None and one.name not in self.measured:
                continue  # its measurement failed
            epochs = self.measured[one.name]["epochs"] if self.seconds is not None else one.recipe.epochs
            jobs.append(Job(one, {"seed": k, "epochs": epochs}))
        total = len(self.seeds) * len(self.contenders)
        count = total - len(jobs)
        if (there := total - len(self.left)) and self.verbose:
            print_now(f"{there} of {total} runs are there already")

        def done(job: Job, answer: dict[str, Any]) -> None:
            nonlocal count
            count += 1
            k = job.options["seed"]
            self._keep(job.contender.name, k, answer)
            if self.verbose:
                print_now(
                    f"[{count:>{len(str(total))}}/{total}] {job.contender.name}, seed {k}: {_line(answer)}"
                )

        pool.do(jobs, done)

    def _keep(self, name: str, k: int, answer: Mapping[str, Any]) -> None:
        row = {**answer, "seed": k}
        self.runs[name, k] = row
        if self.kept is not None:
            self.kept.add_run(name, row)


def _line(answer: Mapping[str, Any]) -> str:
    """What a run has found, in a line."""
    if "error" in answer:
        return str(answer["error"])
    metric = answer["metric"]
    name = next(f"{part}_{metric}" for part in ("validation", "test") if f"{part}_{metric}" in answer)
    value = answer[name]
    words = percent(value, 4) if metric == "accuracy" and value is not None else f"{value}"
    return (
        f"{name.replace('_', ' ')} {words}, {answer['weights']:,} weights, "
        f"{plural(answer['epochs'], 'epoch')} in {spent(answer['seconds'])}"
    )


# --- what was asked


def _seeds(seeds: Any) -> list[int]:
    if isinstance(seeds, Iterable) and not isinstance(seeds, str):
        found = [seed(f"seeds[{i}]", value) for i, value in enumerate(seeds)]
        if not found or len({*found}) < len(found):
            raise ValueError(f"seeds must differ, and be at least one, got {describe(found)}")
        return found
    return list(range(integer("seeds", seeds, low=1)))


def _jobs(jobs: Any, threads: Any) -> tuple[int, int]:
    """Processes at a time, and threads of each."""
    jobs = integer("jobs", jobs, low=-MAX_THREADS, high=MAX_THREADS)
    if jobs < 0:
        jobs = max(1, cpu_count() + 1 + jobs)
    if threads is not None:
        return jobs, resolve(threads)
    return jobs, max(1, get_num_threads() // max(1, jobs))


def _limit(name: str, value: Any, contenders: Any) -> Any:
    """A number, or the name of a contender that it is taken from."""
    if value is None:
        return None
    if isinstance(value, str):
        if isinstance(contenders, Mapping):
            choice(name, value, contenders)
        return value
    return number(name, value, low=0.0, open_low=True) if name == "seconds" else integer(name, value, low=1)


def _check_epochs(contenders: Iterable[Contender], seconds: Any) -> None:
    """TypeError for epochs that nobody would go by."""
    for one in contenders if seconds is not None else ():
        given = one.options.get("epochs") is not None
        if given and one.name != seconds and (not isinstance(seconds, str) or "epochs" in one.own):
            raise TypeError(
                f"contender {one.name!r}: epochs does nothing beside seconds, by which they are found"
            )


def _at_equal_weights(
    contenders: Sequence[Contender], task: Task, weights: int | str, first: int
) -> list[Contender]:
    if isinstance(weights, str):
        one = next(one for one in contenders if one.name == weights)
        with naming(one.name):
            most = one.trainer(task.data, seed=first).network.nnz
    else:
        most = weights
    found = []
    for one in contenders:
        with naming(one.name):
            found.append(one if one.name == weights else resized(one, task.data, most))
    return [dataclasses.replace(one, weights=most) for one in found]


def _checked(contender: Contender, task: Task, first: int) -> str:
    """Build it once, so that what is wrong is said before anything runs; the name of its metric."""
    data = task.data
    with naming(contender.name):
        recipe = contender.recipe
        _ = recipe.epochs, recipe.fit_options(data)
        trainer = contender.trainer(data, seed=first)
        network = trainer.network
        if network.n_in != data.X.shape[1]:
            raise ValueError(f"its network must take {data.X.shape[1]} features, got {network.n_in}")
        contender.check_weights(network.nnz)
        trainer.loss.targets(data.y, network.n_out)
        metric = trainer.loss.metric(network.final)
        if metric is None:
            raise ValueError(f"loss must have a metric to compare by, got {trainer.loss.name!r}")
        return metric.name


def _pool(
    task: Task, contenders: Sequence[Contender], said: Mapping[str, Any], jobs: int, threads: int
) -> Here | Processes:
    if jobs == 0:
        return Here(task, threads)
    return Processes(task, contenders, threads, jobs, json.dumps(said))
