"""Which of a layer's outputs depend on which of its inputs, and what follows when neurons are removed.

Whoever follows paths through a network (``rewire.reachability``, chain removal, ``rewire.analysis``) or
removes neurons asks every layer these questions. A layer that does not say how its outputs depend on its
inputs is refused by name: a guess would remove what is in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._structure import Mask

__all__ = ["Dependence", "Narrower", "Passage"]


class Passage(Protocol):
    """What paths lead through: a layer, or a layer as it will be after a plan."""

    @property
    def n_in(self) -> int:
        """Number of inputs."""

    @property
    def n_out(self) -> int:
        """Number of outputs."""

    def live_outputs(self, inputs: Mask) -> Mask:
        """Outputs that depend on one of these inputs, shape (n_out,)."""

    def live_inputs(self, outputs: Mask) -> Mask:
        """Inputs that one of these outputs depends on, shape (n_in,)."""


class Narrower(NamedTuple):
    """What a layer is made of once some of its neurons are gone.

    Attributes
    ----------
    config : dict
        ``config()`` of the narrower layer.
    parts : dict of str to dict
        ``config()`` of its parameters, and of its buffers under names such as ``"buffer.mean"``.
    arrays : dict of str to ndarray
        Such as ``"weight.values"`` and ``"buffer.mean"``.
    """

    config: dict[str, Any]
    parts: dict[str, dict[str, Any]]
    arrays: dict[str, NDArray[Any]]


class Dependence:
    """The answers of a layer.

    Notes
    -----
    A layer must define ``live_outputs`` and ``live_inputs``; everything else has a default that is right for
    any layer, and keeps all of its neurons. ``Elementwise`` answers for layers whose output i is a function
    of input i alone.
    """

    n_in: int
    n_out: int

    @property
    def label(self) -> str:
        """The layer's name in messages."""
        raise NotImplementedError

    # --- paths --------------------------------------------------------------------------

    def live_outputs(self, inputs: Mask) -> Mask:
        """Which outputs depend on at least one of these inputs.

        Parameters
        ----------
        inputs : ndarray of bool, shape (n_in,)

        Returns
        -------
        ndarray of bool, shape (n_out,)
        """
        raise self._opaque("live_outputs")

    def live_inputs(self, outputs: Mask) -> Mask:
        """Which inputs at least one of these outputs depends on.

        Parameters
        ----------
        outputs : ndarray of bool, shape (n_out,)

        Returns
        -------
        ndarray of bool, shape (n_in,)
        """
        raise self._opaque("live_inputs")

    def sources_of(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """:meth:`live_inputs` as ascending numbers, from the ascending numbers of outputs.

        For layers with far more inputs than links: memory for a mask of all inputs may be out of proportion.
        """
        chosen = np.zeros(self.n_out, bool)
        chosen[outputs] = True
        return np.flatnonzero(self.live_inputs(chosen))

    def connections(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """All pairs of an output and an input that it depends on: rows and columns, sorted by both.

        The default asks :meth:`live_inputs` for every output in turn.
        """
        found = [self.sources_of(np.array([row])) for row in range(self.n_out)]
        return np.repeat(np.arange(self.n_out), [len(columns) for columns in found]), np.concatenate(found)

    def planned(self, plans: Mapping[_core.Store, _core.Plan]) -> Passage | None:
        """The layer as it will be once these plans are carried out; None if none is of a store of its own."""
        return None

    def answers(self) -> None:
        """TypeError if the layer does not say which outputs depend on which inputs."""
        for name in ("live_outputs", "live_inputs"):
            if getattr(type(self), name) is getattr(Dependence, name):
                raise self._opaque(name)

    def _opaque(self, method: str) -> TypeError:
        return TypeError(
            f"{self.label} cannot be seen through: it does not define {method}, which says how its outputs "
            "depend on its inputs (see rewire.Layer)"
        )

    # --- neurons that are removed -------------------------------------------------------

    @property
    def absorbs(self) -> bool | None:
        """Whether inputs that are the same for every sample can go, what they add being kept in the layer.

        None: the layer hands them on (see :meth:`constant`), and the next one decides.
        """
        return False

    def constant(self, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """What the outputs are where all they depend on is the same for every sample.

        Parameters
        ----------
        values : ndarray of float64, shape (n_in,)
            The inputs; nan for one that varies.

        Returns
        -------
        ndarray of float64, shape (n_out,), or None
            nan for an output that varies; None if all may: constants do not pass.
        """
        return None

    def keepable(self, inputs: Mask, outputs: Mask) -> tuple[Mask, Mask]:
        """The neurons that must stay if these stay: both masks, with what :meth:`keep` needs beside them.

        Whole groups, say. The default keeps everything.
        """
        return np.ones(self.n_in, bool), np.ones(self.n_out, bool)

    def keep(self, inputs: Mask, outputs: Mask, values: NDArray[np.float64]) -> Narrower:
        """The layer with these inputs and outputs alone.

        Parameters
        ----------
        inputs, outputs : ndarray of bool
            As :meth:`keepable` gave them.
        values : ndarray of float64, shape (n_in,)
            What inputs that go are for every sample, to be absorbed; 0 for all others.

        Returns
        -------
        Narrower
        """
        raise NotImplementedError
