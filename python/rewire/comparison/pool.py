"""Runs in processes of their own, some at a time; one that dies costs its own run and no other.

A process is started anew for every run: its peak of memory is its own, and nothing is left over from the run
before. It ends when the process that has started it ends, in whatever way. Its standard input is the sign of
life; what it prints is shown where it dies.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from rewire._elsewhere import foreign_kinds, how_it_ended
from rewire.comparison.child import COMMAND, failure
from rewire.comparison.contender import Contender
from rewire.comparison.run import Interrupted, measure, run
from rewire.comparison.task import Task
from rewire.threads import BLAS_VARIABLES

__all__ = ["Here", "Job", "Processes"]

HERE = "give jobs=0, which runs everything in this process"
_PAUSE = 0.02  # seconds between two looks at the processes
_PATIENCE = 5.0  # seconds that a process gets to end by itself
_SHOWN = 200  # characters of what a process has said last


class Job(NamedTuple):
    """One run to be done, or one measurement."""

    contender: Contender
    options: dict[str, Any]  # of `run` or `measure`
    measure: bool = False


class Here:
    """Runs in this process, one after the other: functions of any kind, no peak of memory of their own."""

    def __init__(self, task: Task, threads: int | None) -> None:
        self.task, self.threads = task, threads

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def do(self, jobs: Sequence[Job], done: Callable[[Job, dict[str, Any]], None]) -> None:
        """Do all jobs and tell of each as it ends; KeyboardInterrupt after Ctrl-C."""
        for job in jobs:
            work = measure if job.measure else run
            try:
                answer = work(self.task, job.contender, **job.options, threads=self.threads)
            except Interrupted:
                raise KeyboardInterrupt from None
            except Exception as error:
                answer = failure(error)
            answer.pop("peak_memory", None)
            answer.pop("memory_before", None)
            done(job, answer)


class Processes:
    """Runs in processes, at most so many at a time.

    Raises
    ------
    TypeError
        For a contender that cannot be taken into another process, before one is started.
    """

    def __init__(
        self, task: Task, contenders: Iterable[Contender], threads: int, count: int, said: str
    ) -> None:
        self.task, self.threads, self.count = task, threads, count
        self.contenders = list(contenders)
        self._pickled = [_named(contender) for contender in self.contenders]
        self._kinds = foreign_kinds(said, HERE)
        self._running: dict[str, tuple[Job, subprocess.Popen[bytes]]] = {}
        self._number = 0

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="rewire-compare-")
        self.folder = Path(self._folder.name)
        try:
            self.task.store(self.folder)
            (self.folder / "kinds.pickle").write_bytes(pickle.dumps(self._kinds))
            for i, pickled in enumerate(self._pickled):
                (self.folder / f"contender-{i}.pickle").write_bytes(pickled)
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, process in self._running.values():
            process.terminate()
        until = time.monotonic() + _PATIENCE
        for _, process in self._running.values():
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _close(process)
        self._running.clear()
        self._folder.cleanup()

    def do(self, jobs: Sequence[Job], done: Callable[[Job, dict[str, Any]], None]) -> None:
        """Do all jobs and tell of each as it ends; KeyboardInterrupt after Ctrl-C."""
        waiting = deque(jobs)
        while waiting or self._running:
            while waiting and len(self._running) < self.count:
                self._start(waiting.popleft())
            ended = [name for name, (_, process) in self._running.items() if process.poll() is not None]
            for name in ended:
                job, process = self._running.pop(name)
                _close(process)
                done(job, self._answer(name, process.returncode))
            if not ended:
                time.sleep(_PAUSE)

    def _start(self, job: Job) -> None:
        self._number += 1
        name = f"job-{self._number}"
        contender = next(i for i, one in enumerate(self.contenders) if one is job.contender)
        said = {
            "contender": contender,
            "options": job.options,
            "measure": job.measure,
            "threads": self.threads,
        }
        (self.folder / f"{name}.json").write_text(json.dumps(said))
        number = str(self.threads)
        environment = {**os.environ, **dict.fromkeys((*BLAS_VARIABLES, "REWIRE_NUM_THREADS"), number)}
        with open(self.folder / f"{name}.said", "wb") as said_file:
            process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, json.dumps([*map(str, sys.path)]), str(self.folder), name],
                stdin=subprocess.PIPE, stdout=said_file, stderr=said_file, env=environment,
                process_group=0 if os.name == "posix" else None,  # Ctrl-C is for the one who has started it
            )  # fmt: skip
        self._running[name] = (job, process)

    def _answer(self, name: str, code: int) -> dict[str, Any]:
        """What a process has found, or how it ended."""
        try:
            found: dict[str, Any] = json.loads((self.folder / f"{name}.answer").read_text())
            return found
        except FileNotFoundError:
            pass
        last = (self.folder / f"{name}.said").read_text(errors="replace").strip().splitlines()[-1:]
        words = f": {last[0][-_SHOWN:]}" if last else ""
        return {"error": f"the process {how_it_ended(code)}{words}"}


def _named(contender: Contender) -> bytes:
    try:
        return contender.pickled()
    except TypeError as error:
        raise TypeError(f"contender {contender.name!r}: {error}") from error


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
