"""The links that a sparse parameter begins with: how many of them, or which ones of a matrix."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._checks import choice, describe, detached, integer, number
from rewire._geometry import Geometry
from rewire.connectivity import Connectivity, EdgeList, Random
from rewire.link_counts import density_links, erdos_renyi_links, slots_for

__all__ = ["GROUPS", "Chosen", "Wanted", "links_of"]

GROUPS = (1, 2, 4, 8)


class Wanted(NamedTuple):
    """How many links are asked for, by the one argument that says so.

    Attributes
    ----------
    name : {"epsilon", "density", "fan_in", "links"}
    value : float
    given : bool
        Whether the caller said so; else it is the default.
    """

    name: str
    value: float
    given: bool

    @classmethod
    def of(
        cls,
        geometry: Geometry,
        connectivity: Connectivity,
        *,
        epsilon: float | None,
        density: float | None,
        fan_in: int | None,
        links: int | None,
    ) -> Wanted:
        """From the arguments, of which one may be given; an `EdgeList` says it, too.

        Raises
        ------
        TypeError, ValueError
            For more than one, and for one that is out of range or contradicts the connectivity.
        """
        every = {"epsilon": epsilon, "density": density, "fan_in": fan_in, "links": links}
        given = {name: value for name, value in every.items() if value is not None}
        most = geometry.n_in * geometry.n_out
        if len(given) > 1:
            raise ValueError(f"give one of epsilon, density, fan_in and links, got {' and '.join(given)}")
        if isinstance(connectivity, EdgeList):
            if given:
                raise ValueError(f"an EdgeList says how many links there are: leave {next(iter(given))} out")
            return cls("links", integer("links", connectivity.count, low=0, high=most), False)
        if fan_in is not None and not isinstance(connectivity, Random):
            raise ValueError(f"fan_in draws at random: leave it out with connectivity={connectivity!r}")
        if density is not None:
            return cls("density", number("density", density, low=0.0, high=1.0), True)
        if fan_in is not None:
            return cls("fan_in", integer("fan_in", fan_in, low=0, high=geometry.n_in), True)
        if links is not None:
            return cls("links", integer("links", links, low=0, high=most), True)
        value = 20.0 if epsilon is None else number("epsilon", epsilon, low=0.0, open_low=True)
        return cls("epsilon", value, epsilon is not None)

    @property
    def exact(self) -> bool:
        """Whether it is a number of links, or all of them."""
        return self.name in ("fan_in", "links") or (self.name == "density" and self.value == 1.0)

    def links(self, of: Geometry) -> float:
        """Links, before they are rounded to slots."""
        if self.name == "links":
            return float(self.value)
        if self.name == "fan_in":
            return float(self.value * of.n_out)
        count = density_links if self.name == "density" else erdos_renyi_links
        return count(of.n_in, of.n_out, self.value)

    def slots(self, of: Geometry) -> int:
        """Slots, exactly."""
        if self.name == "fan_in":
            return int(self.value) * of.n_groups
        return slots_for(of.n_in, of.n_out, of.group, self.links(of))


class Chosen(NamedTuple):
    """The links of a matrix that are kept, as a store takes them."""

    geometry: Geometry
    indptr: NDArray[np.int64]
    sources: NDArray[np.int32]
    weights: NDArray[Any]
    links: int


def links_of(weights: NDArray[Any], *, threshold: float | None, density: float | None, group: int) -> Chosen:
    """Those of a matrix (n_out, n_in) that are not zero, above a threshold, or largest in magnitude.

    Raises
    ------
    TypeError, ValueError
        If it does not hold finite real numbers; for both, a threshold and a density.
    """
    try:
        w = np.asarray(detached(weights, "weights"))
    except ValueError:
        raise TypeError(f"weights must be a 2-D array of real numbers, got {describe(weights)}") from None
    if w.dtype.kind not in "fiub":
        raise TypeError(f"weights must hold real numbers, got dtype {w.dtype}")
    if w.ndim != 2 or 0 in w.shape:
        raise ValueError(f"weights must be 2-D (n_out, n_in) and not empty, got shape {w.shape}")
    if not np.isfinite(w).all():
        row, column = divmod(int(np.argmin(np.isfinite(w))), w.shape[1])
        raise ValueError(f"weights must be finite, got {w[row, column]} at ({row}, {column})")
    if threshold is not None and density is not None:
        raise ValueError("give threshold or density, got both")
    n_out, n_in = w.shape
    group = choice("group", group, GROUPS)
    geometry = Geometry(n_in, n_out, group)
    padded = np.zeros((geometry.n_groups * group, n_in), dtype=np.result_type(w.dtype, np.float32))
    padded[:n_out] = w
    blocks = padded.reshape(geometry.n_groups, group, n_in)
    score = np.abs(blocks).sum(axis=1, dtype=np.float64)
    if density is None:
        keep = score > (0.0 if threshold is None else number("threshold", threshold, low=0.0))
    else:
        slots = slots_for(n_in, n_out, group, density_links(n_in, n_out, density))
        keep = np.zeros(score.size, dtype=bool)
        keep[np.argsort(-score, axis=None, kind="stable")[:slots]] = True
        keep = keep.reshape(score.shape)
    at, sources = np.nonzero(keep)
    indptr = np.concatenate(([0], np.cumsum(keep.sum(axis=1)))).astype(np.int64)
    kept = np.ascontiguousarray(blocks[at, :, sources])
    links = int(np.minimum(group, n_out - at * group).sum())
    return Chosen(geometry, indptr, sources.astype(np.int32), kept, links)
