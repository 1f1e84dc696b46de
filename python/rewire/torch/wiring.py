"""Which layers feed which: what rules that follow paths ask of a network, declared for a model of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rewire import _core
from rewire._checks import describe
from rewire._structure import Mask, Structure
from rewire.parameters import SparseParameter

__all__ = ["Wiring", "checked_wiring"]


def checked_wiring(wiring: Any, names: Sequence[str]) -> list[list[str]]:
    """Chains of names of layers: one list of names, or several."""
    if isinstance(wiring, str) or not isinstance(wiring, Sequence):
        raise TypeError(
            f"wiring must be a list of names of layers, or several of these, got {describe(wiring)}"
        )
    chains = [wiring] if all(isinstance(each, str) for each in wiring) else list(wiring)
    found: list[list[str]] = []
    for chain in chains:
        if isinstance(chain, str) or not all(isinstance(each, str) for each in chain):
            raise TypeError(
                f"wiring must be a list of names of layers, or several of these, got {describe(wiring)}"
            )
        found.append(list(chain))
    listed = [name for chain in found for name in chain]
    for name in listed:
        if name not in names or listed.count(name) > 1:
            raise ValueError(f"wiring must name sparse layers, each once ({', '.join(names)}), got {name!r}")
    return found


class _Wired:
    """A sparse layer in its place."""

    def __init__(self, parameter: SparseParameter) -> None:
        self.parameter, self.label = parameter, parameter.name
        self.n_in, self.n_out = parameter.n_in, parameter.n_out
        parameter.owner, parameter.uses = self, 1

    @property
    def nnz(self) -> int:
        """Connections."""
        return self.parameter.nnz

    def planned(self, plans: Mapping[_core.Store, _core.Plan]) -> Any:
        """Its links once a plan is committed; None without a plan for it."""
        plan = plans.get(self.parameter.core)
        return None if plan is None else Structure.after(plan)

    def live_outputs(self, inputs: Mask) -> Mask:
        """Outputs with a link from one of these inputs."""
        return self.parameter.live_outputs(inputs)

    def live_inputs(self, outputs: Mask) -> Mask:
        """Inputs with a link into one of these outputs."""
        return self.parameter.live_inputs(outputs)

    def answers(self) -> None:
        """It says which outputs depend on which inputs."""


class _Gap:
    """Between two chains: whatever is there, all its outputs are used, and so are all its inputs."""

    nnz = 0
    label = "what lies between two chains"

    def __init__(self, n_in: int, n_out: int) -> None:
        self.n_in, self.n_out = n_in, n_out

    def planned(self, plans: Any) -> None:
        """Nothing in it changes."""

    def live_outputs(self, inputs: Mask) -> Mask:
        """All."""
        return np.ones(self.n_out, bool)

    def live_inputs(self, outputs: Mask) -> Mask:
        """All."""
        return np.ones(self.n_in, bool)

    def answers(self) -> None:
        """It says which outputs depend on which inputs."""


class Wiring:
    """Chains of layers in a row, as rules see a network; a layer that no chain names is one by itself.

    Between two layers of a chain stands nothing but what hands values on one by one: activations, dropout,
    norms. ValueError if the outputs of one are not as many as the inputs of the next.
    """

    def __init__(self, chains: Sequence[Sequence[str]], parameters: Sequence[SparseParameter]) -> None:
        self.sparse_parameters = list(parameters)
        by_name = {q.name: q for q in parameters}
        named = {name for chain in chains for name in chain}
        rows = [[by_name[name] for name in chain] for chain in chains]
        rows += [[q] for q in parameters if q.name not in named]
        self.layers: list[Any] = []
        self._position: dict[int, int] = {}
        for row in rows:
            if self.layers:
                self.layers.append(_Gap(self.layers[-1].n_out, row[0].n_in))
            for q in row:
                before = self.layers[-1] if q is not row[0] else None
                if before is not None and before.n_out != q.n_in:
                    raise ValueError(
                        f"wiring must name layers that fit together: {before.label} has {before.n_out} "
                        f"outputs and {q.name} has {q.n_in} inputs"
                    )
                self._position[id(q)] = len(self.layers)
                self.layers.append(_Wired(q))

    def position_of(self, parameter: SparseParameter) -> int:
        """Where a layer stands in the row."""
        return self._position[id(parameter)]
