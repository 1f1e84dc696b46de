"""Layers of torch as rules of rewire see them: a `SparseParameter` for each, the twin of a module's weight.

A twin has a store with the module's links and weights, the fields that a rule keeps beside them, and while a
rewiring is made two kinds of fields more: what the optimizer has of moments, for rules that look at these,
and the number of each slot, which tells afterwards where every slot was before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewire.parameters import Field, SparseParameter
from rewire.torch._ops import COMPUTED_IN, NAMES
from rewire.torch._optimizers import POWERS
from rewire.torch.linear import SparseLinear

__all__ = ["Twin"]

SLOT = "torch slot"  # the field of slot numbers


class Twin:
    """One layer, and what rules see of it.

    Attributes
    ----------
    name : str
    module : SparseLinear
    parameter : SparseParameter
    """

    def __init__(self, name: str, module: SparseLinear, number: int) -> None:
        self.name, self.module = name, module
        self.dtype = COMPUTED_IN[module.weight.dtype]
        self.parameter = SparseParameter(
            module.in_features, module.out_features, links=0, group=module.group, init=module.init
        )
        self.parameter.build(name=name, seed=0, stream=number, dtype=NAMES[self.dtype], draw=False)
        links = module.indptr.numpy(), module.sources.numpy()
        self.parameter.core.load(*links, self._weights(module.effective_weight()))
        self._moments: list[str] = []

    def _weights(self, weight: torch.Tensor) -> NDArray[Any]:
        return weight.detach().to(self.dtype).contiguous().numpy()

    def fits(self) -> bool:
        """Whether the module still has these links."""
        core, module = self.parameter.core, self.module
        return (
            core.group == module.group
            and core.dtype == NAMES[COMPUTED_IN[module.weight.dtype]]
            and core.slots == len(module.sources)
            and np.array_equal(core.indptr(), module.indptr.numpy())
            and np.array_equal(core.sources(), module.sources.numpy())
        )

    def read_weights(self) -> None:
        """Take over the weights of the module; where a rule trains others in their place, as these."""
        parameter, module = self.parameter, self.module
        if parameter.master is not None:
            parameter.core.set_field(parameter.master, self._weights(module.weight))
        else:
            parameter.core.set_field("weight", self._weights(module.weight))
        parameter.touch()

    def trained(self) -> torch.Tensor:
        """What the optimizer trains, in the dtype of the module."""
        name = self.parameter.master or "weight"
        return torch.from_numpy(self.parameter.core.get_field(name)).to(self.module.weight.dtype)

    def mask(self) -> torch.Tensor | None:
        """Which trained weights the forward pass uses; None for all."""
        core, master = self.parameter.core, self.parameter.master
        if master is None:
            return None
        return torch.from_numpy(core.get_field("weight") == core.get_field(master))

    def write_weights(self) -> None:
        """Give the module the weights, where links have stayed."""
        with torch.no_grad():
            self.module.weight.copy_(self.trained())
        self.module.mask = self.mask()

    # --- during a rewiring ----------------------------------------------------------------

    def number_slots(self, state: dict[str, Any]) -> None:
        """Add the number of each slot, and the moments that the optimizer has."""
        core = self.parameter.core
        core.add_field(SLOT, "int64", per_slot=True, birth=-1)
        core.set_field(SLOT, np.arange(core.slots, dtype=np.int64)[:, None])
        for key, power in POWERS.items():
            value = state.get(key)
            if isinstance(value, torch.Tensor) and value.shape == self.module.weight.shape:
                self.parameter.add_field(key, Field(power=power))
                core.set_field(key, self._weights(value))
                self._moments.append(key)

    def take_numbers(self) -> NDArray[np.int64]:
        """Where every slot was before, -1 for new ones; the fields of `number_slots` are dropped."""
        core = self.parameter.core
        found = core.get_field(SLOT)[:, 0] if SLOT in core.fields else np.arange(core.slots)
        for key in (SLOT, *self._moments):
            self.parameter.drop_field(key)
        self._moments = []
        return found

    # --- what a rule keeps ------------------------------------------------------------------

    def fields(self) -> dict[str, dict[str, Any]]:
        """The fields of the rule, as tensors, with what new links have."""
        core = self.parameter.core
        return {
            name: {"values": torch.from_numpy(core.get_field(name)), "birth": self.parameter.birth_of(name)}
            for name in self.parameter.fields
        }

    def restore(self, name: str, kind: Field, kept: dict[str, Any]) -> None:
        """Take over a field. ValueError if it does not fit the links."""
        core, values = self.parameter.core, kept["values"]
        wanted = (core.slots, 1 if kind.per_slot else core.group)
        if tuple(values.shape) != wanted:
            raise ValueError(f"{name!r} of {self.name} must have shape {wanted}, got {tuple(values.shape)}")
        self.parameter.add_field(name, kind._replace(birth=float(kept["birth"])))
        core.set_field(name, values.numpy())
