"""What a person sees while training: nothing, a line an epoch, or a bar."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from typing import Any

from rewire._format import seconds

__all__ = ["Lines", "Silent", "bar", "print_beside", "print_now", "progress"]


def line(row: dict[str, Any], epochs: int) -> str:
    """One epoch in one line: ``epoch  3/10  loss 0.4312  accuracy 0.8431  ...  1.24 s``."""
    width = len(str(epochs))
    parts = [f"epoch {row['epoch'] + 1:>{width}}/{epochs}"]
    for key in ("loss", "accuracy", "r2", "val_loss", "val_accuracy", "val_r2"):
        if key in row:
            parts.append(f"{key} {row[key]:.4f}")
    parts.append(f"{sum(row['nnz']):,} links")
    if sum(row["links_grown"]):
        parts.append(f"{sum(row['links_grown']):,} new")
    spent = ("training", "rewiring", "evaluation", "callbacks")
    parts.append(seconds(sum(row[f"seconds_{part}"] for part in spent)))
    return "  ".join(parts)


def print_now(text: str) -> None:
    """Print a line at once.

    Where that cannot be (nobody reads any more, as with ``| head``; the terminal is closed; the disk is full)
    training is not what should end.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        silence_stdout()
    except OSError as error:
        _tell_unwritable(error.strerror or str(error))


def print_beside(text: str) -> None:
    """Print a line to standard error; where that cannot be written there is nobody to tell."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


@functools.cache  # once is enough
def _tell_unwritable(why: str) -> None:
    """Say it beside, and not by a warning: where those are errors it would end training after all."""
    print_beside(f"standard output cannot be written ({why}); training goes on")


def silence_stdout() -> None:
    """Let standard output go nowhere from now on, what its buffer still holds too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class Silent:
    """Says nothing."""

    def begin(self, epochs: int, first: int, steps: int) -> None:
        """``epochs`` is the count at which training ends, ``first`` that at which it starts."""

    def step(self, loss: float, steps: int = 1) -> None:
        """A step is done, or several whose mean loss this is."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is done."""

    def end(self) -> None:
        """Training is over, or was interrupted."""


class Lines(Silent):
    """One line an epoch, to standard output."""

    def begin(self, epochs: int, first: int, steps: int) -> None:
        self.epochs = epochs

    def epoch(self, row: dict[str, Any]) -> None:
        print_now(line(row, self.epochs))


class TqdmBar(Lines):
    """A bar over the steps of an epoch, by tqdm."""

    def __init__(self, tqdm: Any) -> None:
        self._tqdm = tqdm
        self._bar: Any = None

    def begin(self, epochs: int, first: int, steps: int) -> None:
        super().begin(epochs, first, steps)
        self._bar = self._tqdm(total=steps, unit="step", leave=False, file=sys.stderr)

    def step(self, loss: float, steps: int = 1) -> None:
        self._bar.update(steps)

    def epoch(self, row: dict[str, Any]) -> None:
        self._bar.clear()
        super().epoch(row)
        self._bar.reset()

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()


class RichBar(Lines):
    """A bar over the steps of an epoch, by rich."""

    def __init__(self, module: Any, console: Any) -> None:
        self._progress = module.Progress(console=console(stderr=True), transient=True)

    def begin(self, epochs: int, first: int, steps: int) -> None:
        super().begin(epochs, first, steps)
        self._progress.start()
        self._task = self._progress.add_task("training", total=steps)

    def step(self, loss: float, steps: int = 1) -> None:
        self._progress.advance(self._task, steps)

    def epoch(self, row: dict[str, Any]) -> None:
        self._progress.stop()
        super().epoch(row)
        self._progress.reset(self._task)
        self._progress.start()

    def end(self) -> None:
        self._progress.stop()


def _shows_bars(stream: Any) -> bool:
    """Whether a carriage return goes back on this stream: in a terminal, and in a notebook, which is none."""
    if stream is None:
        return False
    return stream.isatty() or type(stream).__module__.partition(".")[0] == "ipykernel"


def bar() -> Silent:
    """A bar by tqdm or rich where one is installed and standard error can show one; lines otherwise."""
    if _shows_bars(sys.stderr):
        try:
            from tqdm import tqdm

            return TqdmBar(tqdm)
        except ImportError:
            pass
        try:
            from rich import progress as rich_progress
            from rich.console import Console

            return RichBar(rich_progress, Console)
        except ImportError:
            pass
    return Lines()


def progress(verbose: int) -> Silent:
    """0: silent; 1: a line an epoch; 2: a bar as well."""
    return (Silent, Lines, bar)[verbose]()
