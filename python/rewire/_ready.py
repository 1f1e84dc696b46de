"""What a call of ``fit`` finds fit to train, so that the next one need not look at it again.

Before the first step of a call the rule's declarations are checked, and every parameter is asked whether it
has the fields of optimizer and rule. In a stream of small batches that takes as long as a step, and in all
calls but the first finds what was found before. So a trainer keeps the facts that these checks go by, as they
were when all was in place: as long as they are the same, so is what the checks would say.
"""

from __future__ import annotations

import operator
import weakref
from typing import Any, NamedTuple

from rewire._checks import shadowed
from rewire._signals import of_handler
from rewire._training import TrainerLike
from rewire.rewiring import Rule

__all__ = ["Ready"]


class Ready(NamedTuple):
    """The facts, as they were found."""

    values: tuple[Any, ...]
    objects: tuple[Any, ...]  # nothing large is held: of what others may give up there are weak references

    @classmethod
    def of(cls, trainer: TrainerLike) -> Ready | None:
        """Those of now; None where somebody's own code says what is fit, which may go by anything.

        None as well where they cannot be told: then the checks say what is wrong.
        """
        net, rule, state = trainer.network, trainer.rewiring, trainer.state
        try:
            kind = type(rule)
            if any(getattr(kind, name) is not getattr(Rule, name) for name in _CHECKS):
                return None
            if rule.layers is not None or shadowed(rule):
                return None
            values = (
                state.optimizer_fields, tuple(trainer.optimizer.fields.items()),
                state.rule_fields_of, rule.remembers_as, rule.probe_batches,
                tuple(rule.fields.items()), tuple(rule.memory.items()),
                tuple(parameter.master for parameter in net.sparse_parameters),
            )  # fmt: skip
            objects = [weakref.ref(net.tree), net.trained_by]
            for parameter in net.tree.parameters.values():
                objects += parameter.storage()
        except Exception as error:  # whatever somebody's own attributes are
            if of_handler(error):
                raise
            return None
        return cls(values, tuple(objects))

    def holds(self, trainer: TrainerLike) -> bool:
        """Whether a call that begins now would find the same."""
        now = Ready.of(trainer)
        return (
            now is not None
            and trainer.state.optimizer_step > 0  # else it would take fresh state, whatever is there
            and self.values == now.values
            and len(self.objects) == len(now.objects)
            and all(map(operator.is_, self.objects, now.objects))
        )


# Whoever has rules within it has checks of its own as well.
_CHECKS = ("prepare", "check_network", "check_declarations", "participants", "parts")
