"""When a network is rewired, and how large a fraction of its links goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from rewire._checks import integer, number

__all__ = [
    "AUTO", "Auto", "CosineFraction", "Epochs", "Steps", "TrainingProgress", "Once", "PowerFraction", "Fraction", "end_of", "in_steps",
    "decaying_fraction", "run_fractions_among", "schedule_from",
]  # fmt: skip


class TrainingProgress(NamedTuple):
    """Where training stands: whole epochs and steps behind it, and whether an epoch is about to begin.

    ``epochs`` and ``steps`` are the counts at which the run ends: schedules that name a fraction of the run go
    by them. A run may take many calls of ``fit``; its length is the trainer's ``horizon``, see
    :class:`rewire.Trainer`. Steps are counted on from where the epoch began, as many an epoch as it has.
    """

    epoch: int
    step: int
    epoch_begins: bool
    epochs: int = 0
    steps: int = 0
    lr: float = 0.0  # of the coming step; after a step (`Rewiring.stepped`), of that step


def end_of(name: str, value: Any, low: int = 1) -> int | float:
    """A checked end: an int counts, a float in [0, 1] is a fraction of the run."""
    if isinstance(value, float):
        return number(name, value, low=0.0, high=1.0)
    return integer(name, value, low=low)


def in_steps(end: int | float, progress: TrainingProgress) -> int | float:
    """An end in steps: itself, or (a float) that fraction of the run."""
    return end * progress.steps if isinstance(end, float) else end


def run_fractions_among(**ends: Any) -> dict[str, Any]:
    """Those that are fractions of the run and no counts, by the names of their parameters."""
    return {name: end for name, end in ends.items() if isinstance(end, float)}


# --- when -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Every:
    """When: every so many epochs, or every so many steps.

    Parameters
    ----------
    epochs, steps : int, optional
        Exactly one; ``Epochs()`` is every epoch.
    stop : int or float, optional
        No rewiring from this epoch (or step) on; a float in [0, 1] is a fraction of the run.
    """

    epochs: int | None = None
    steps: int | None = None
    stop: int | float | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None and self.steps is not None:
            raise ValueError(f"give epochs or steps, got epochs={self.epochs!r} and steps={self.steps!r}")
        if self.steps is None:
            epochs = 1 if self.epochs is None else integer("epochs", self.epochs, low=1)
            object.__setattr__(self, "epochs", epochs)
        else:
            object.__setattr__(self, "steps", integer("steps", self.steps, low=1))
        if self.stop is not None:
            object.__setattr__(self, "stop", end_of("stop", self.stop, low=0))

    def due(self, progress: TrainingProgress) -> bool:
        """Whether to rewire now."""
        if self.steps is not None:
            count, period, whole, now = progress.step, self.steps, progress.steps, True
        else:
            count, period, whole, now = (
                progress.epoch,
                self.epochs or 1,
                progress.epochs,
                progress.epoch_begins,
            )
        stop = self.stop * whole if isinstance(self.stop, float) else self.stop
        return now and count > 0 and count % period == 0 and (stop is None or count < stop)

    @property
    def period(self) -> tuple[int, str]:
        """Its length and the unit of that."""
        return (self.epochs or 1, "epochs") if self.steps is None else (self.steps, "steps")

    def turns(self, epochs: int, steps: int, begun: tuple[int, int] = (0, 0)) -> Iterator[TrainingProgress]:
        """When it comes round in a run of so many epochs, from an epoch and its first step on.

        From there on an epoch has so many steps.
        """
        epoch, first = begun
        whole = first + max(0, epochs - epoch) * steps
        if self.steps is None:
            period = self.epochs or 1
            for n in range(max(1, -(-epoch // period)) * period, epochs, period):
                yield TrainingProgress(n, first + (n - epoch) * steps, True, epochs, whole)
        else:
            for step in range(max(1, -(-first // self.steps)) * self.steps, whole, self.steps):
                done, rest = divmod(step - first, steps)
                yield TrainingProgress(epoch + done, step, rest == 0, epochs, whole)

    def run_fractions(self) -> dict[str, Any]:
        """The parameters that are fractions of the run."""
        return run_fractions_among(stop=self.stop)

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`schedule_from` reads it back."""
        return {"epochs": self.epochs, "steps": self.steps, "stop": self.stop}


@dataclass(frozen=True)
class Once:
    """When: before one step, 0 being the first; for rules that cut a network once, such as SNIP."""

    step: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", integer("step", self.step, low=0))

    def due(self, progress: TrainingProgress) -> bool:
        """Whether to rewire now."""
        return progress.step == self.step

    def run_fractions(self) -> dict[str, Any]:
        """The parameters that are fractions of the run: none."""
        return {}

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`schedule_from` reads it back."""
        return {"step": self.step}


@dataclass(frozen=True)
class Auto:
    """When: every 100 steps, or oftener where a schedule between two steps would not act 20 times so.

    For rules that come down to a density by a schedule: it asks them where that begins and ends.
    """

    steps: ClassVar[int] = 100  # as published
    times: ClassVar[int] = 20

    def period(self, begin: int, end: int) -> int:
        """Steps between rewirings."""
        return max(1, min(self.steps, (end - begin) // self.times))

    def due(self, progress: TrainingProgress) -> bool:
        """Never by itself: the rule, which knows begin and end, says when."""
        return False

    def run_fractions(self) -> dict[str, Any]:
        """The parameters that are fractions of the run: none."""
        return {}

    def config(self) -> str:
        """What a rule's parameter ``every`` calls it."""
        return "auto"


AUTO = Auto()


def when(what: ScheduleLike, unit: str = "epochs") -> Every | Once:
    """The schedule that ``what`` names: an object, a period in ``unit``, a ``config()``.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    if isinstance(what, (Every, Once)):
        return what
    if isinstance(what, dict):
        return Once(**what) if "step" in what else Epochs(**what)
    return Epochs(**{unit: integer("every", what, low=1)})


# --- how many ---------------------------------------------------------------------------
