"""Optimizers: constants and their position; the arithmetic is in C, inside the backward pass.

An optimizer declares the fields that every value needs, and turns (lr, schedule,
step) into the core's terms before every step. Weight decay applies to parameters
that decay: to weights, not to biases. One that the core does not know is written in
NumPy: it defines :meth:`Optimizer.step`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

from numpy.typing import NDArray

from rewire import _core
from rewire._checks import boolean, choice, describe, number, refuse_shadowed
from rewire._params import CheckedAttribute, Parameters
from rewire._registry import Registry
from rewire.layers.passing import Updates
from rewire.parameters import Field, Parameter
from rewire.parameters.field import check_fields
from rewire.schedules import Schedule
from rewire.schedules import schedule as as_schedule

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "optimizer", "optimizer_names", "register_optimizer"]

DECAYS = ("l2", "decoupled", "per_step")
_above_0 = partial(number, low=0.0, open_low=True)
_below_1 = partial(number, low=0.0, high=1.0, open_high=True)


def _betas(name: str, value: Any) -> tuple[float, float]:
    try:
        first, second = value
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a pair of numbers, got {describe(value)}") from None
    return _below_1(f"{name}[0]", first), _below_1(f"{name}[1]", second)


class Optimizer(Parameters):
    """Base of all optimizers: constants only; what moves belongs to parameters and trainer.

    Attributes
    ----------
    lr, weight_decay, clip_norm, schedule
        May be changed between steps, as may the constants of a kind, such as ``momentum``.
    fields : dict of str to Field
        What is kept for every value, in the order in which the core takes it.
    usual_lr, usual_decay : float or None
        What estimators take for ``"auto"``. None: the constructor's default for the rate, and for the decay
        a penalty on the loss that depends on the number of rows.

    Notes
    -----
    An optimizer of your own is a subclass with ``name``, ``fields`` and :meth:`step`, in NumPy; decorated
    with ``rewire.optim.register_optimizer`` it is found by its name, in files too. It is slower than one of
    the core: gradients are kept for a whole step, and values are copied out of the stores and back.
    """

    name: ClassVar[str] = ""
    fields: Mapping[str, Field] = {}
    # Adam's usual 0.001 is for dense layers: a sparse neuron sums fewer inputs, and up to widths of 1000
    # three times as much learns faster at the same final accuracy.
    usual_lr: ClassVar[float | None] = None
    usual_decay: ClassVar[float | None] = None
    lr = CheckedAttribute(_above_0)
    weight_decay = CheckedAttribute(partial(number, low=0.0))
    clip_norm = CheckedAttribute(lambda name, value: None if value is None else _above_0(name, value))
    schedule = CheckedAttribute(lambda name, value: as_schedule(value))

    def __init__(
        self,
        lr: float,
        weight_decay: float = 0.0,
        decay: str = "l2",
        clip_norm: float | None = None,
        schedule: Schedule | str | dict[str, Any] | None = None,
    ) -> None:
        self.lr, self.weight_decay, self.clip_norm, self.schedule = lr, weight_decay, clip_norm, schedule
        self.decay = choice("decay", decay, DECAYS)

    def step(
        self,
        values: NDArray[Any],
        gradient: NDArray[Any],
        fields: dict[str, NDArray[Any]],
        *,
        rate: float,
        decay: float,
        count: int,
    ) -> None:
        """One step of one parameter, in place: the rule of an optimizer that the core does not know.

        Parameters
        ----------
        values, gradient : ndarray
            Of equal shape; (slots, group) for links.
        fields : dict of str to ndarray
            What :attr:`fields` declares; one value a slot has shape (slots, 1), and is left out where there
            are no links.
        rate : float
            The learning rate, the parameter's factor included.
        decay : float
            Weight decay; 0 for parameters that do not decay.
        count : int
            1 for the first step on fresh state.
        """
        raise NotImplementedError

    @property
    def in_core(self) -> bool:
        """Whether the core takes the steps, rather than :meth:`step`."""
        return type(self).step is Optimizer.step

    def constants(self) -> dict[str, Any]:
        """The core's constants as they are now, but for what :meth:`Updates.place` sets; none in NumPy."""
        return {}

    def updates(self) -> Updates:
        """Fresh constants in the core's terms; :meth:`Updates.place` sets what changes from step to step."""
        state = [name for name, field in self.fields.items() if not field.per_slot]
        age = next((name for name, field in self.fields.items() if field.ages), None)
        return Updates(lambda: _core.Update(state=state, age=age, **self.constants()), self.constants())

    def stepped(
        self, parameters: Iterable[Parameter], rate: float, count: int
    ) -> Iterator[Callable[[], None]]:
        """One step by :meth:`step` of all parameters that have a kept gradient, on copies.

        Each call of what comes lets one of them take over its own; nothing has changed before.
        """
        for q in parameters:
            given = {"rate": rate * q.rate, "decay": self.weight_decay if q.decays else 0.0, "count": count}
            yield q.stepped_in_numpy(self.fields, partial(self._step_in_place, given))

    def _step_in_place(
        self, given: dict[str, Any], values: NDArray[Any], gradient: NDArray[Any],
        fields: dict[str, NDArray[Any]],
    ) -> None:  # fmt: skip
        """:meth:`step`, which has to write; it gives nothing, or the values it was given."""
        found: Any = self.step(values, gradient, fields, **given)  # type: ignore[func-returns-value]
        if found is not None and found is not values:
            raise TypeError(
                f"step of {type(self).__name__} must write into values and fields in place, "
                f"values[...] = ..., and give nothing, got {describe(found)}"
            )

    def rate(self, epoch: int, step: int) -> float:
        """The learning rate after ``epoch`` whole epochs and ``step`` steps."""
        return self.lr * self.schedule.factor(epoch, step)

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`optimizer` reads it back: the constructor takes all but the name."""
        return {
            "name": KINDS.saved_as(self),
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "clip_norm": self.clip_norm,
            "schedule": self.schedule.config(),
        }


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum as in torch: m = momentum * m + g; w -= lr * m.

    Parameters
    ----------
    lr : float
    momentum : float in [0, 1)
    nesterov : bool
        Needs momentum.
    weight_decay : float
    decay : {"l2", "decoupled", "per_step"}
        What weight decay means: added to the gradient, g += wd * w; or w -= lr * wd * w beside it; or
        w -= wd * w at every step whatever lr is, as in the SET authors' code.
    clip_norm : float, optional
        Scale all gradients down together when their joint norm exceeds this.
    schedule : Schedule or dict, optional
        Factor on lr, such as ``rewire.Cosine(length=epochs)``. Of the names ``"constant"`` says enough.
    """

    name = "sgd"
    usual_lr = 0.05
    momentum = CheckedAttribute(_below_1)
    nesterov = CheckedAttribute(boolean)
    decay = CheckedAttribute(lambda name, value: choice(name, value, DECAYS))

    def __init__(
        self,
        lr: float = 0.01,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decay: str = "l2",
        clip_norm: float | None = None,
        schedule: Schedule | str | dict[str, Any] | None = None,
    ) -> None:
        self.momentum, self.nesterov = momentum, nesterov
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov needs momentum > 0, got momentum=0")
        super().__init__(lr, weight_decay, decay, clip_norm, schedule)

    @property
    def fields(self) -> Mapping[str, Field]:  # type: ignore[override]
        """One for the momentum, if there is any."""
        return {"momentum": Field(power=1)} if self.momentum > 0.0 else {}

    def constants(self) -> dict[str, Any]:
        return {
            "kind": "sgd", "decay_kind": self.decay, "momentum": self.momentum, "nesterov": self.nesterov,
        }  # fmt: skip

    def config(self) -> dict[str, Any]:
        return {
            **super().config(),
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "decay": self.decay,
        }


class Adam(Optimizer):
    """Adam with L2 decay in the gradient. A link that was born later is bias-corrected by its own age.

    Parameters
    ----------
    lr : float
    betas : pair of float in [0, 1)
    eps : float
    weight_decay, clip_norm, schedule
        As for :class:`SGD`; decay is added to the gradient.

    Notes
    -----
    Kingma, Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015.
    """

    name = "adam"
    usual_lr = 0.003
    fields = {
        "adam_m": Field(power=1),
        "adam_v": Field(power=2, low=0.0),
        "birth_step": Field("int32", per_slot=True, birth=1.0, low=1, ages=True),
    }
    betas = CheckedAttribute(_betas)
    eps = CheckedAttribute(_above_0)
    _decay = "l2"

    def __init__(
        self,
        lr: float = 0.001,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        schedule: Schedule | str | dict[str, Any] | None = None,
    ) -> None:
        self.betas, self.eps = betas, eps
        super().__init__(lr, weight_decay, self._decay, clip_norm, schedule)

    def constants(self) -> dict[str, Any]:
        beta1, beta2 = self.betas
        return {"kind": "adam", "decay_kind": self.decay, "beta1": beta1, "beta2": beta2, "eps": self.eps}

    def config(self) -> dict[str, Any]:
        return {**super().config(), "betas": list(self.betas), "eps": self.eps}


class AdamW(Adam):
    """Adam with decoupled decay, w -= lr * wd * w.

    Loshchilov, Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019.
    """

    name = "adamw"
    usual_decay = 0.01  # beside its steps decay is no penalty on the loss, so rows say nothing of it
    _decay = "decoupled"

    def __init__(
        self,
        lr: float = 0.001,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        clip_norm: float | None = None,
        schedule: Schedule | str | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            lr, betas=betas, eps=eps, weight_decay=weight_decay, clip_norm=clip_norm, schedule=schedule
        )


KINDS = Registry(
    "optimizer", Optimizer, "a dict or an Optimizer",
    to_save="give it a `name` of its own and decorate it with @rewire.optim.register_optimizer",
)  # fmt: skip
for _kind in (SGD, Adam, AdamW):
    KINDS.register(_kind)


def register_optimizer(cls: type[Optimizer]) -> type[Optimizer]:
    """Make an optimizer known to :func:`optimizer` under its ``name``; a decorator.

    From a file it is made by its constructor, from the entries of its ``config()``.

    Raises
    ------
    TypeError, ValueError
        For a class without a name, or with the name of another one.
    """
    return KINDS.register(cls)


def optimizer_names() -> list[str]:
    """The names that :func:`optimizer` knows, sorted; without aliases."""
    return KINDS.names()


def optimizer(what: str | Optimizer | dict[str, Any]) -> Optimizer:
    """The optimizer that ``what`` names: an object, a name (its defaults), or a ``config()``.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    found = KINDS.build(what)
    refuse_shadowed("optimizer", found)
    if found.in_core and type(found).constants is Optimizer.constants:
        raise TypeError(f"optimizer ({type(found).__name__}) must define step(): see rewire.optim.Optimizer")
    check_fields(found.fields, f"fields of {type(found).__name__}")
    _refuse_unread(found)
    return found


def _refuse_unread(found: Optimizer) -> None:
    """TypeError for one whose constructor does not take what its ``config()`` says: no file could bring it.

    One that is not registered cannot be saved anyway.
    """
    try:
        described = found.config()
    except NotImplementedError:
        return
    takes = inspect.signature(type(found)).parameters
    if any(each.kind is each.VAR_KEYWORD for each in takes.values()):
        return
    missing = [name for name in described if name != "name" and name not in takes]
    if missing:
        raise TypeError(
            f"optimizer ({type(found).__name__}) could not be read from a file: its config() says "
            f"{', '.join(missing)}, which its constructor must take (or its config() leave out); those of "
            "the base are lr, weight_decay, clip_norm and schedule"
        )
