"""How many connections, and whether they fit into memory.

Counts only; *where* links go is drawn in C in O(connections). Every count is
exact: what a function here promises is what the layer then has. The unit of
placing is the slot, ``group`` links that share a source, so a wanted number of
links is rounded to whole slots once, in :func:`slots_for`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from rewire import _core
from rewire._checks import MAX_NEURONS, choice, integer, number
from rewire._geometry import Geometry, item_bytes
from rewire._resources import memory_available

__all__ = [
    "density_links",
    "erdos_renyi_links",
    "erk_links",
    "refuse_if_too_large",
    "slots_for",
    "sparse_bytes",
]


def erdos_renyi_links(n_in: int, n_out: int, epsilon: float) -> float:
    """Links of SET's Erdos-Renyi start: epsilon * (n_in + n_out), at most n_in * n_out.

    Mocanu et al., Nature Communications 9:2383 (2018). Their code draws pairs with replacement and loses
    the duplicates; here the count is met exactly (after rounding to slots).
    """
    n_in, n_out = _sizes(n_in, n_out)
    epsilon = number("epsilon", epsilon, low=0.0, open_low=True)
    return min(epsilon * (n_in + n_out), float(n_in * n_out))


def density_links(n_in: int, n_out: int, density: float) -> float:
    """Links of a share ``density`` in [0, 1] of all n_in * n_out."""
    n_in, n_out = _sizes(n_in, n_out)
    return number("density", density, low=0.0, high=1.0) * n_in * n_out


def erk_links(
    shapes: Sequence[tuple[int, int]],
    density: float | None = None,
    power: float = 1.0,
    *,
    links: int | None = None,
    group: int = 1,
) -> list[int]:
    """Erdos-Renyi-kernel counts: one density for a whole network, denser where layers are small.

    A layer's density is proportional to ((n_in + n_out) / (n_in * n_out)) ** power; layers that would
    exceed 1 are full and the others share what is left. The counts sum to ``links``, or to
    round(density * all weights); they are rounded by largest remainder, ties to the lower layer.

    Parameters
    ----------
    shapes : sequence of (n_in, n_out)
    density : float in (0, 1], optional
        Over the whole network.
    power : float >= 0
        1 as published; 0 gives every layer the same density.
    links : int, optional
        Instead of ``density``: the links of the whole network, at least 1 and at most all.
    group : {1, 2, 4, 8}
        Of all layers: counts are whole slots then, so that their sum is within half a slot. Where a last
        group is not whole a slot counts as the mean of all: n_out over groups.

    Returns
    -------
    list of int
        Links of each layer, for ``Sparse(..., links=)``.

    Notes
    -----
    Evci et al., *Rigging the Lottery*, ICML 2020 (ERK), after Mocanu et al. (2018).
    """
    if not isinstance(shapes, Iterable):
        raise TypeError(f"shapes must be a list of pairs (n_in, n_out), got {shapes!r}")
    pairs = [_sizes(*_pair(f"shapes[{i}]", shape)) for i, shape in enumerate(shapes)]
    if not pairs:
        raise ValueError("shapes must name at least one layer, got none")
    power = number("power", power, low=0.0)
    group = choice("group", group, (1, 2, 4, 8))
    sizes = [n * m for n, m in pairs]
    raw = [((n + m) / (n * m)) ** power for n, m in pairs]
    if (density is None) == (links is None):
        raise ValueError(f"give density or links, got density={density} and links={links}")
    if links is None:
        density = number("density", density, low=0.0, high=1.0, open_low=True)
        total = math.floor(density * sum(sizes) + 0.5)
    else:
        total = integer("links", links, low=1, high=sum(sizes))
    full: set[int] = set()
    while True:
        rest = total - sum(sizes[i] for i in full)
        weight = sum(raw[i] * sizes[i] for i in range(len(pairs)) if i not in full)
        scale = rest / weight if weight > 0.0 else 0.0
        over = {i for i in range(len(pairs)) if i not in full and raw[i] * scale > 1.0}
        if not over:
            break
        full |= over
    wanted = [float(sizes[i]) if i in full else scale * raw[i] * sizes[i] for i in range(len(pairs))]
    if group == 1:
        return largest_remainder(wanted, total, sizes)
    layers = [Geometry(n, m, group) for n, m in pairs]
    each = [layer.n_out / layer.n_groups for layer in layers]
    slots = [min(int(w / k), layer.n_positions) for w, k, layer in zip(wanted, each, layers, strict=True)]
    left = total - sum(count * k for count, k in zip(slots, each, strict=True))
    for i in sorted(range(len(slots)), key=lambda i: (slots[i] - wanted[i] / each[i], i)):
        if 2 * left >= each[i] and slots[i] < layers[i].n_positions:
            slots[i] += 1
            left -= each[i]
    return [min(round(count * k), size) for count, k, size in zip(slots, each, sizes, strict=True)]


def largest_remainder(
    wanted: Sequence[float], total: int, most: Sequence[int], *, over: int = 1
) -> list[int]:
    """Whole numbers near ``wanted / over`` with the sum ``total``, none above ``most``; ties to the lower.

    Exact for whole numbers ``wanted``, however large.
    """
    counts = [min(int(w // over), m) for w, m in zip(wanted, most, strict=True)]
    order = sorted(range(len(counts)), key=lambda i: (-(wanted[i] - counts[i] * over), i))
    left = total - sum(counts)
    while left > 0:
        before = left
        for i in order:
            if left > 0 and counts[i] < most[i]:
                counts[i] += 1
                left -= 1
        if left == before:
            raise ValueError(f"cannot place {total} links in layers of {list(most)}")
    return counts


def _pair(name: str, value: Any) -> tuple[int, int]:
    try:
        n_in, n_out = value
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a pair (n_in, n_out), got {value!r}") from None
    return n_in, n_out


def _sizes(n_in: int, n_out: int) -> tuple[int, int]:
    return integer("n_in", n_in, low=1, high=MAX_NEURONS), integer("n_out", n_out, low=1, high=MAX_NEURONS)


def slots_for(n_in: int, n_out: int, group: int, links: float) -> int:
    """Slots for ``links`` connections: round(links * groups / n_out), halves up; all when all are wanted.

    A slot holds ``group`` links, and fewer in the last group when n_out is no multiple of it: n_out over
    groups in the mean, which is what slots at random positions hold.
    """
    layer = Geometry(n_in, n_out, group)
    if links >= n_in * n_out:
        return layer.n_positions
    return min(layer.n_positions, math.floor(links * layer.n_groups / n_out + 0.5))


def sparse_bytes(
    n_in: int, n_out: int, slots: int, group: int, dtype: str, *, states: int = 0, mirror: bool = False
) -> int:
    """Bytes a sparse layer takes, see ``store.h``.

    A slot holds its source (4), ``group`` weights and as many values for each optimizer state, all with the
    slack of packed windows, and 8 more in the mirror, with less slack and 12 bytes an input; a group holds 16
    bytes, a neuron its bias.
    """
    item, groups = item_bytes(dtype), Geometry(n_in, n_out, group).n_groups
    room = _core.packed_slots(slots, groups)
    total = room * (4 + group * item * (1 + states)) + 16 * groups + (1 + states) * item * n_out
    return total + (8 * _core.mirror_room(slots) + 12 * n_in + 8 if mirror else 0)


def plan_bytes(slots: int, group: int, dtype: str) -> int:
    """Bytes a plan takes that brings ``slots`` new ones with their weights."""
    return slots * (8 + group * item_bytes(dtype))


def readable(n_bytes: float) -> str:
    """``1.5 GiB`` and so on."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.4g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.4g} TiB"


def refuse_if_too_large(n_bytes: int, what: str, *, swap: bool = False) -> None:
    """Raise before anything is allocated when ``what`` cannot fit, as `memory_available` counts.

    Raises
    ------
    MemoryError
        Naming what is needed and what there is.
    """
    available = memory_available(swap=swap)
    if available is not None and n_bytes > available:
        raise MemoryError(
            f"{what} needs about {readable(n_bytes)} and {readable(available)} are available; "
            "use fewer connections (epsilon, density) or smaller layers"
        )


def plant(
    store: _core.Store, *, slots: int | None, fan_in: int | None, seed: int, stream: int, threads: int
) -> _core.Plan:
    """A plan with a random start for an empty store: exactly ``slots``, or ``fan_in`` sources a group."""
    plan = _core.Plan(store)
    if fan_in is not None:
        plan.grow_fan_in(fan_in, seed, stream, 0, threads)
    else:
        plan.grow_random(slots or 0, seed, stream, 0, threads)
    return plan
