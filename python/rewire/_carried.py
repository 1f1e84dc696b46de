"""What a trainer carries from one call of ``fit`` to the next, and into files.

Everything has an owner. Fields of the stores belong to the optimizer, to the
rewiring rule or to a callback that names them in its ``fields``; only those are
saved and brought back. A rule's memory belongs to the rule. ``check`` asks every
owner whether what is there fits: when a trainer is saved, so that ``resume`` can
read what was written, and when one is resumed, because a file may hold anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from rewire._checks import describe, one_of_types
from rewire._container import Array
from rewire._params import lost_object
from rewire._saving import check_same
from rewire._training import TrainerLike
from rewire._warn import warn
from rewire.callbacks import callback_config, fields_of_kind
from rewire.losses import loss as as_loss
from rewire.network import Sequential
from rewire.optim import Optimizer
from rewire.optim import optimizer as as_optimizer
from rewire.rewiring import rewiring as as_rewiring

__all__ = [
    "check", "check_descriptions", "check_rule", "give_up", "lacks", "network_arrays", "network_config",
    "network_parts", "refresh_rule", "saved_fields",
]  # fmt: skip


def lacks(network: Sequential, optimizer: Optimizer) -> str | None:
    """The first thing of the optimizer's state that a layer has not; None if the next step finds all."""
    for parameter in network.tree.parameters.values():
        missing = parameter.lacks(optimizer.fields)
        if missing is not None:
            return f"{parameter.label} lacks {missing}, which the optimizer needs"
    return None


def saved_fields(trainer: TrainerLike) -> list[str]:
    """Names of the fields that go into a file: those that somebody declares who is there."""
    names: list[str] = []
    if trainer.owns_state():
        names += trainer.optimizer.fields
    if trainer.state.rule_fields_of == trainer.rewiring.remembers_as:
        names += trainer.rewiring.fields
    for callback in trainer.callbacks:
        if callback_config(callback) is not None:
            names += getattr(callback, "fields", ())
    return names


def network_config(trainer: TrainerLike) -> dict[str, Any]:
    """``config()`` of the network, with the fields that are carried and no others."""
    return trainer.network.config(saved_fields(trainer))


def network_arrays(trainer: TrainerLike) -> dict[str, NDArray[Any]]:
    """Copies of the arrays that belong to :func:`network_config`."""
    return trainer.network.arrays(saved_fields(trainer))


def network_parts(trainer: TrainerLike) -> dict[str, Array]:
    """:func:`network_arrays` for a file, of which no copies are made."""
    return trainer.network.parts(saved_fields(trainer))


def check_rule(trainer: TrainerLike) -> None:
    """TypeError or ValueError, before anything changes, for a rule that cannot train this network."""
    net, rule = trainer.network, trainer.rewiring
    rule.check_declarations()
    rule.check_network(net)
    _check_layers(trainer)
    both = [name for name in rule.fields if name in trainer.optimizer.fields]
    if both:
        raise ValueError(
            f"rewiring {rule.label}: fields must have other names than the optimizer's, got {both[0]!r}"
        )


def refresh_rule(trainer: TrainerLike) -> None:
    """Before a rule trains that is of another kind than the last one: no field is left of either."""
    state, rule = trainer.state, trainer.rewiring
    if state.rule_fields_of == rule.remembers_as:
        return
    for parameter in trainer.network.sparse_parameters:
        for name in (*state.rule_fields, *rule.fields):
            parameter.drop_field(name)
    state.rule_fields_of, state.rule_fields = rule.remembers_as, tuple(rule.fields)


def give_up(
    trainer: TrainerLike, network: Mapping[str, Any], left: Sequence[tuple[Any, Mapping[str, Any]]]
) -> dict[str, Any]:
    """Drop the fields of callbacks that were saved and are not there.

    Parameters
    ----------
    network : dict
        Its description in the file.
    left : sequence of (dict, dict of arrays)
        What these callbacks have saved.

    Returns
    -------
    dict
        ``network`` without these fields.

    Raises
    ------
    ValueError
        For fields that nobody declares who is there, where it is not known whose they are.

    Warns
    -----
    UserWarning
        Naming the callbacks that had a state.
    """
    if not left:
        return dict(network)
    configs = [one_of_types("a callback", config, Mapping, "a dict") for config, _ in left]
    words = [config.get("name") for config in configs]
    names = [word if isinstance(word, str) and word.isidentifier() else describe(word) for word in words]
    parts, here = network["parameters"], set(saved_fields(trainer))
    known = {name for config in configs for name in fields_of_kind(config)} - here
    unknown = {name for part in parts.values() for name in part["fields"]} - here - known
    if unknown:
        raise ValueError(
            f"callbacks must take up the fields {', '.join(sorted(unknown))} of the weights: they were saved,"
            f" and so was the state of {', '.join(names)}, which none of callbacks is like"
        )
    for parameter in trainer.network.tree.parameters.values():
        for name in known:
            parameter.drop_field(name)
    for name, (config, arrays) in zip(names, left, strict=True):
        state = config.get("state", True)
        if arrays or (any(state.values()) if isinstance(state, Mapping) else state):
            had = ", ".join(f for f in fields_of_kind(config) if f in known)
            warn(
                f"the state of {name} was saved and none of callbacks takes it up: it is given up"
                f"{f', and its fields of the weights ({had}) are' if had else ''}; give callbacks=[..., a "
                f"{name}], or leave callbacks out for all that were saved",
                UserWarning,
            )
    left_fields = {
        q: {**part, "fields": {name: kind for name, kind in part["fields"].items() if name not in known}}
        for q, part in parts.items()
    }
    return {**network, "parameters": left_fields}


# --- whether it fits ------------------------------------------------------------------------


def _check_layers(trainer: TrainerLike) -> None:
    """ValueError if the rule, or one that it holds, names layers that are not there."""
    net = trainer.network
    for part in trainer.rewiring.parts():
        part.participants(net.sparse_parameters, net)


def check(trainer: TrainerLike) -> None:
    """ValueError, TypeError or KeyError unless everything that is carried fits everything else."""
    net = trainer.network
    net.tree.refuse_faults()
    _check_layers(trainer)
    metric = trainer.training_metric()
    trainer.state.check(metric=metric, layers=len(net.weight_layers), n_out=net.n_out)
    check_network(trainer, net, trainer.state.optimizer_step)


def check_network(trainer: TrainerLike, network: Sequential, optimizer_step: int) -> None:
    """ValueError unless a network's fields fit their owners, after so many steps on the optimizer's state."""
    there = trainer.owns_state() if network is trainer.network else lacks(network, trainer.optimizer) is None
    if there:
        _check_optimizer_state(network, trainer.optimizer, optimizer_step)
    if trainer.state.rule_fields_of == trainer.rewiring.remembers_as:
        trainer.rewiring.check_state(network.sparse_parameters, trainer.rule_memory(), trainer.step)
    for callback in trainer.callbacks:
        if callback_config(callback) is not None and hasattr(callback, "check"):
            callback.check(trainer, network)


def _check_optimizer_state(network: Sequential, optimizer: Optimizer, optimizer_step: int) -> None:
    """Moments have their signs, links were not born in the future."""
    age = optimizer_step + 1
    for parameter in network.tree.parameters.values():
        for name, field in optimizer.fields.items():
            births = (1.0, float(age)) if field.ages else (field.birth, field.birth)
            parameter.check_field(name, field, high=age if field.ages else None, birth=births)


def check_descriptions(trainer: TrainerLike) -> None:
    """ValueError, NotImplementedError unless loss, optimizer and rule come out of a file as they are."""
    for name, again in (("loss", as_loss), ("optimizer", as_optimizer), ("rewiring", as_rewiring)):
        thing = getattr(trainer, name)
        config = thing.config()
        try:
            twin = again(config)
            check_same(config, twin.config(), name)
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(f"{name} cannot be saved, it could not be read again: {error}") from error
        lost = lost_object(thing, twin)
        if lost is not None:
            raise NotImplementedError(
                f"{name} cannot be saved: a file would give the constructor of {type(thing).__name__} the "
                f"dict of a config() as {lost!r}, in the place of {describe(getattr(thing, lost))}; let it "
                "make the object of the dict"
            )
