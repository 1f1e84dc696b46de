"""When a network is rewired, and how large a share of its links goes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from rewire._checks import choice, integer, number

__all__ = [
    "AUTO", "Auto", "CosineShare", "Every", "Moment", "Once", "PowerShare", "Share", "end_of", "in_steps",
    "share", "shares_among", "when",
]  # fmt: skip


class Moment(NamedTuple):
    """Where training stands: whole epochs and steps behind it, and whether an epoch is about to begin.

    ``epochs`` and ``steps`` are the counts at which the run ends: schedules that name a share of the run go
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
    """A checked end: an int counts, a float in [0, 1] is a share of the run."""
    if isinstance(value, float):
        return number(name, value, low=0.0, high=1.0)
    return integer(name, value, low=low)


def in_steps(end: int | float, moment: Moment) -> int | float:
    """An end in steps: itself, or (a float) that share of the run."""
    return end * moment.steps if isinstance(end, float) else end


def shares_among(**ends: Any) -> dict[str, Any]:
    """Those that are shares of the run and no counts, by the names of their parameters."""
    return {name: end for name, end in ends.items() if isinstance(end, float)}


# --- when -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Every:
    """When: every so many epochs, or every so many steps.

    Parameters
    ----------
    epochs, steps : int, optional
        Exactly one; ``Every()`` is every epoch.
    stop : int or float, optional
        No rewiring from this epoch (or step) on; a float in [0, 1] is a share of the run.
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

    def due(self, moment: Moment) -> bool:
        """Whether to rewire now."""
        if self.steps is not None:
            count, period, whole, now = moment.step, self.steps, moment.steps, True
        else:
            count, period, whole, now = moment.epoch, self.epochs or 1, moment.epochs, moment.epoch_begins
        stop = self.stop * whole if isinstance(self.stop, float) else self.stop
        return now and count > 0 and count % period == 0 and (stop is None or count < stop)

    @property
    def period(self) -> tuple[int, str]:
        """Its length and the unit of that."""
        return (self.epochs or 1, "epochs") if self.steps is None else (self.steps, "steps")

    def turns(self, epochs: int, steps: int, begun: tuple[int, int] = (0, 0)) -> Iterator[Moment]:
        """When it comes round in a run of so many epochs, from an epoch and its first step on.

        From there on an epoch has so many steps.
        """
        epoch, first = begun
        whole = first + max(0, epochs - epoch) * steps
        if self.steps is None:
            period = self.epochs or 1
            for n in range(max(1, -(-epoch // period)) * period, epochs, period):
                yield Moment(n, first + (n - epoch) * steps, True, epochs, whole)
        else:
            for step in range(max(1, -(-first // self.steps)) * self.steps, whole, self.steps):
                done, rest = divmod(step - first, steps)
                yield Moment(epoch + done, step, rest == 0, epochs, whole)

    def run_shares(self) -> dict[str, Any]:
        """The parameters that are shares of the run."""
        return shares_among(stop=self.stop)

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`when` reads it back."""
        return {"epochs": self.epochs, "steps": self.steps, "stop": self.stop}


@dataclass(frozen=True)
class Once:
    """When: before one step, 0 being the first; for rules that cut a network once, such as SNIP."""

    step: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", integer("step", self.step, low=0))

    def due(self, moment: Moment) -> bool:
        """Whether to rewire now."""
        return moment.step == self.step

    def run_shares(self) -> dict[str, Any]:
        """The parameters that are shares of the run: none."""
        return {}

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`when` reads it back."""
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

    def due(self, moment: Moment) -> bool:
        """Never by itself: the rule, which knows begin and end, says when."""
        return False

    def run_shares(self) -> dict[str, Any]:
        """The parameters that are shares of the run: none."""
        return {}

    def config(self) -> str:
        """What a rule's parameter ``every`` calls it."""
        return "auto"


AUTO = Auto()


def when(what: int | Every | Once | dict[str, Any], unit: str = "epochs") -> Every | Once:
    """The schedule that ``what`` names: an object, a period in ``unit``, a ``config()``.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    if isinstance(what, (Every, Once)):
        return what
    if isinstance(what, dict):
        return Once(**what) if "step" in what else Every(**what)
    return Every(**{unit: integer("every", what, low=1)})


# --- how many ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """How many: a fixed share of the links, in [0, 1]."""

    value: float = 0.3
    name: str = "zeta"  # what messages call it

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", number(self.name, self.value, low=0.0, high=1.0))

    def at(self, moment: Moment) -> float:
        """The share at a moment."""
        return self.value

    def run_shares(self) -> dict[str, Any]:
        """The parameters that are shares of the run."""
        return {}


@dataclass(frozen=True)
class _Falling(Share):
    """A share that falls from ``value`` until ``end``: steps, or (float) a share of the run."""

    end: int | float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "end", end_of("end", self.end))

    def progress(self, moment: Moment) -> float:
        """0 at the beginning, 1 from the end on."""
        end = in_steps(self.end, moment)
        return min(moment.step / end, 1.0) if end > 0 else 1.0

    def run_shares(self) -> dict[str, Any]:
        return shares_among(end=self.end)


@dataclass(frozen=True)
class CosineShare(_Falling):
    """How many: floor + (value - floor) / 2 * (1 + cos(pi * t / end)), ``floor`` from ``end`` on.

    Parameters
    ----------
    value, floor : float in [0, 1]
    end : int or float
        Steps, or a share of the run in [0, 1].

    Notes
    -----
    With ``floor=0`` the decay of RigL (Evci et al., *Rigging the Lottery*, ICML 2020, section 3).
    """

    floor: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "floor", number("floor", self.floor, low=0.0, high=1.0))

    def at(self, moment: Moment) -> float:
        half = (1.0 + math.cos(math.pi * self.progress(moment))) / 2.0
        return self.floor + (self.value - self.floor) * half


@dataclass(frozen=True)
class PowerShare(_Falling):
    """How many: value * (1 - t / end) ** power, 0 from ``end`` on (RigL's inverse power).

    Parameters
    ----------
    value : float in [0, 1]
    end : int or float
        Steps, or a share of the run in [0, 1].
    power : float > 0
    """

    power: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "power", number("power", self.power, low=0.0, open_low=True))

    def at(self, moment: Moment) -> float:
        return self.value * (1.0 - self.progress(moment)) ** self.power


def share(name: str, value: float, decay: str, end: int | float, floor: float = 0.0) -> Share:
    """``value`` with a decay: "constant", "cosine" (down to ``floor``) or "power", until ``end``.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; ``name`` is what the message calls the value.
    """
    kind = choice("decay", decay, ("constant", "cosine", "power"))
    if kind == "constant":
        return Share(value, name)
    if kind == "power":
        return PowerShare(value, name, end)
    return CosineShare(value, name, end, floor)
