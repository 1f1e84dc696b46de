"""The sparse linear layer: truly sparse from its first step to its last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import float_vector
from rewire._structure import Mask, Structure, whole_groups
from rewire.activations import Activation
from rewire.activations import activation as as_activation
from rewire.connectivity import Connectivity
from rewire.initializers import Initializer
from rewire.layers.base import register_layer
from rewire.layers.dependence import Narrower, Passage
from rewire.layers.passing import AS_THEY_ARE, Pass
from rewire.layers.weighted import WeightLayer
from rewire.parameters import SparseParameter
from rewire.store import WeightStore

__all__ = ["Sparse"]


@register_layer
class Sparse(WeightLayer):
    """y = f(W x + b), where W has only the connections that exist.

    Give at most one of ``epsilon``, ``density``, ``fan_in``, ``links``.

    Parameters
    ----------
    n_in, n_out : int
        Reads like torch; the store's shape is (n_out, n_in).
    epsilon : float, optional
        Erdos-Renyi: epsilon * (n_in + n_out) links at random positions (20 by default, as in SET).
        A value that asks for more than n_in * n_out gives a full layer.
    density : float in [0, 1], optional
        Fraction of all n_in * n_out links.
    fan_in : int, optional
        Every neuron gets exactly this many sources.
    links : int, optional
        The number of links itself (see :func:`rewire.link_counts.erk_links`).
    activation : str or Activation
    bias : bool
    init : str, float or Initializer
        Initial weights; ``"he"`` over the fan-in a neuron really has.
    bias_init : str, float or Initializer
        What biases begin as: zero, or ``"fan-in"`` for uniform values within +-1 / sqrt(fan-in).
        With all of them 0, neurons behind inputs of mean 0 that have a kink at 0 have it where the means
        are: few inputs and a curved target want them elsewhere.
    connectivity : str or Connectivity
        Where the links are: ``"random"``, ``"small-world"``, ``"scale-free"``, or an object of
        ``rewire.connectivity``. An ``EdgeList`` says how many, too. Not with ``fan_in``. The links are
        saved, not the connectivity.
    group : {1, 2, 4, 8}
        Neighbouring outputs that share one list of sources. Links are dropped and grown ``group`` at a time,
        so a wanted number of links is rounded to whole slots.

    Attributes
    ----------
    store : WeightStore
        The connections, once the layer stands in a network.
    bias : ndarray or None
        The biases, live; None for a layer without, and before it stands in a network.
    weight : SparseParameter
        The connections as optimizers and rules see them.
    bias_parameter : DenseParameter or None
        The biases as optimizers see them.

    Notes
    -----
    The number of links is exact, positions are uniform without replacement, all in O(links) time and memory.
    """

    weight: SparseParameter

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        epsilon: float | None = None,
        density: float | None = None,
        fan_in: int | None = None,
        links: int | None = None,
        activation: str | Activation | dict[str, Any] = "linear",
        bias: bool = True,
        init: str | float | Initializer | dict[str, Any] = "he",
        bias_init: str | float | Initializer | dict[str, Any] = "zeros",
        connectivity: str | Connectivity = "random",
        group: int = 1,
    ) -> None:
        super().__init__(n_in, n_out, activation, bias, bias_init)
        self.weight = SparseParameter(
            n_in,
            n_out,
            epsilon=epsilon,
            density=density,
            fan_in=fan_in,
            links=links,
            init=init,
            connectivity=connectivity,
            group=group,
            gain=self.activation.gain,
        )
        self._first_bias: NDArray[Any] | None = None

    @classmethod
    def from_dense(
        cls,
        weights: NDArray[Any],
        bias: NDArray[Any] | None = None,
        *,
        threshold: float | None = None,
        density: float | None = None,
        activation: str | Activation = "linear",
        group: int = 1,
        init: str | float | Initializer = "he",
    ) -> Sparse:
        """A layer from a dense or pruned matrix.

        Parameters
        ----------
        weights : array_like, shape (n_out, n_in)
            In torch's order. Not kept.
        bias : array_like, shape (n_out,), optional
            Without it the layer has none.
        threshold : float >= 0, optional
            Keep |w| > threshold; 0, the default, keeps what is not zero.
        density : float in [0, 1], optional
            Instead: keep this fraction, the largest in magnitude; of equals the first.
        activation, group, init
            As for :class:`Sparse`. With groups a slot is judged by the sum of |w| over its rows and kept
            whole.

        Raises
        ------
        TypeError, ValueError
            If an array does not hold finite real numbers of the right shape.
        """
        kind = as_activation(activation)
        weight = SparseParameter.from_dense(
            weights, threshold=threshold, density=density, group=group, init=init, gain=kind.gain
        )
        layer = cls(
            weight.n_in,
            weight.n_out,
            density=0.0,
            activation=kind,
            bias=bias is not None,
            group=group,
            init=init,
        )
        layer.weight = weight
        if bias is not None:
            layer._first_bias = float_vector("bias", bias, weight.n_out)
        return layer

    def start(self) -> None:
        super().start()
        if self._first_bias is not None and self.bias is not None:
            self.bias[...] = self._first_bias
            self._first_bias = None

    @property
    def store(self) -> WeightStore:
        """The connections."""
        if not self.weight.built:
            raise AttributeError("a Sparse layer has no store until it stands in a Sequential")
        return self.weight.store

    @property
    def core(self) -> _core.Store:
        """The core's store under `store`: what plans and kernels take."""
        return self.weight.core

    @property
    def group(self) -> int:
        """Neighbouring outputs that share one list of sources."""
        return self.weight.group

    @property
    def init(self) -> Initializer:
        """The initial weights."""
        return self.weight.init

    def _fan_in(self) -> NDArray[Any]:
        return self.store.fan_in()

    @property
    def takes_few(self) -> bool:
        """Of a class that computes as this one does, with weights of its own."""
        kind, weight = type(self), self.weight
        names = "forward", "backward", "_output"  # what reads inputs
        own = all(getattr(kind, name) is getattr(Sparse, name) for name in names)
        return own and weight.uses == 1 and weight.compute_dtype == self.dtype

    # --- forward, backward --------------------------------------------------------------

    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        code, slope, y, z = self._output(x, p)
        if p.keeping and isinstance(x, _core.SparseInputs):
            self.weight.ready_for_few(x, p.threads)
        bias = None if self.bias_parameter is None else self.bias_parameter.padded
        scratch, rounds = p.ws.scratch, self.weight.rounds
        rounded = p.round_inputs(self, x) if rounds else None
        _core.forward(self.weight.core, x, bias, code, slope, y, z, p.threads, rounds, scratch, rounded)
        return y

    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        self._derive(dy, p)
        dx = None
        rounded = p.round_gradient(self, dy) if self.weight.rounds else AS_THEY_ARE
        if need_dx:
            dx = p.ws.other(self.n_in, dy)
            self.weight.backward_input(dy, dx, p.ws.batch, p.threads, p.ws.scratch, rounded[1])
        p.taker(self.weight).sparse(self.weight, x, dy, p, rounded)
        return dx

    # --- paths, and neurons that are removed ----------------------------------------------

    def live_outputs(self, inputs: Mask) -> Mask:
        return self.weight.structure().live_outputs(inputs)

    def live_inputs(self, outputs: Mask) -> Mask:
        return self.weight.structure().live_inputs(outputs)

    def sources_of(self, outputs: NDArray[Any]) -> NDArray[Any]:
        return self.weight.structure().sources_of(outputs)

    def connections(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.store.to_arrays()[:2]

    def planned(self, plans: Mapping[_core.Store, _core.Plan]) -> Passage | None:
        plan = plans.get(self.core)
        return None if plan is None else Structure.after(plan)

    def keepable(self, inputs: Mask, outputs: Mask) -> tuple[Mask, Mask]:
        return inputs, whole_groups(outputs, self.group)

    def keep(self, inputs: Mask, outputs: Mask, values: NDArray[np.float64]) -> Narrower:
        found = super().keep(inputs, outputs, values)
        # The links there are: what was asked for in the beginning may be more than fits now.
        for name in self.weight.sizes():
            del found.config[name]
        found.config["links"] = self.weight.links_kept(found.arrays["weight.indptr"], outputs)
        return found

    # --- saving -------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        return {
            "type": "Sparse", **super().config(), "init": self.init.config(), "group": self.group,
            **self.weight.sizes(),
        }  # fmt: skip

    def _said(self) -> dict[str, Any]:
        return {**self.config(), **self.weight.said()}
