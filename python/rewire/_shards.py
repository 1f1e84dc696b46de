"""How a batch is cut into shards, and the tree in which their gradients are added.

What a training step gives is a function of the number of shards alone. Each shard is a run of samples with
a gradient of its own; these are added in pairs, the sums in pairs again, as drawn here for eight of them:

      0   1   2   3   4   5   6   7
       \\ /     \\ /     \\ /     \\ /
        \\-------/       \\-------/
            \\---------------/

A node is a run of shards [first, end). It is halved at the largest power of two below its length, so that
every number of shards has one tree. Who computes a node leaves no trace: one process goes through the shards
in order, several take a run of shards each, and hand on the sums of the largest nodes inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rewire._moments import balanced
from rewire.losses import Loss, Targets, Truth

__all__ = [
    "MOST", "Shard", "Task", "cut", "halved", "levels_of", "nodes_of", "runs_of", "shard_of",
    "shards_for", "shards_of_parts", "summed", "task_of", "usual_shards",
]  # fmt: skip

_USUAL = 8  # where several processes train together, and nobody has said a number
MOST = 4096

T = TypeVar("T")


class Shard(NamedTuple):
    """Samples [first, end) of a batch, and the fraction of its mean that they have.

    ``weighs`` says whether one of them has weight: if not, all are passed over.
    """

    first: int
    end: int
    fraction: float
    weighs: bool


class Task(NamedTuple):
    """What is done with a batch, by whoever has some of its shards.

    Attributes
    ----------
    rows : ndarray of int64
    weight, apart : ndarray of float64 or None
        Of the rows: near 1, and comparable with those of other batches (`rewire._moments.Weighed`).
    shards : list of Shard
    step, epoch : int
        The step that is being made, 1 for the first; epochs before this one.
    what : {"learn", "look", "probe"}
        Gradients; outputs alone, as where a rule skips the step; or what rules look at.
    bases : tuple of int or None
        Where the rows of each shard begin, if each has samples of its own: then a process has no others.
    """

    rows: NDArray[np.int64]
    weight: NDArray[np.float64] | None
    apart: NDArray[np.float64] | None
    shards: list[Shard]
    step: int
    epoch: int
    what: str
    bases: tuple[int, ...] | None = None


# --- the cut


def cut(samples: int, shards: int) -> list[tuple[int, int]]:
    """Where shards of a batch begin and end: as equal as can be, some empty where there are fewer samples."""
    at = [number * samples // shards for number in range(shards + 1)]
    return list(zip(at, at[1:], strict=False))


def shard_of(rows: NDArray[np.int64], bases: tuple[int, ...]) -> NDArray[np.int64]:
    """The shard of each row, where those of each shard begin at its base."""
    return np.searchsorted(bases, rows, side="right") - 1


def runs_of(rows: NDArray[np.int64], bases: tuple[int, ...]) -> list[tuple[int, int]]:
    """Where shards of a batch begin and end that have samples of their own; rows are in their order."""
    ends = np.searchsorted(shard_of(rows, bases), np.arange(len(bases)), side="right").tolist()
    return list(zip([0, *ends], ends, strict=False))


def usual_shards(processes: int) -> int:
    """Shards of a batch where nobody has said how many."""
    return max(_USUAL, 1 << (processes - 1).bit_length())


def shards_of_parts(processes: int, parts: int, batch: int | None) -> int:
    """The same where each shard has parts, and as many samples of a batch, if its size has been said."""
    most = min(usual_shards(processes), parts)
    return max(n for n in range(1, most + 1) if (batch or n) % n == 0)


def shards_for(rank: int, size: int, shards: int) -> range:
    """The shards that one of so many processes has."""
    return range(rank * shards // size, (rank + 1) * shards // size)


def task_of(
    rows: NDArray[np.int64], weight: NDArray[np.float64] | None, apart: NDArray[np.float64] | None,
    targets: Targets, loss: Loss, shards: int, *, step: int, epoch: int, what: str,
    bases: tuple[int, ...] | None = None,
) -> Task:  # fmt: skip
    """A batch in so many shards.

    A loss is a mean over the samples of what it is given. The fraction of a shard is what its mean has in
    that of the batch: its samples, their weights, or what else the loss weighs them by.
    """
    runs = cut(len(rows), shards) if bases is None else runs_of(rows, bases)
    weights, amounts = [], []
    for first, end in runs:
        near = None if weight is None else weight[first:end]
        weights.append(float(end - first if near is None else near.sum()))
        counts = loss.counts(Truth(targets, rows[first:end]), near) if weights[-1] else 0.0
        amounts.append(weights[-1] * counts)
    if not any(amounts):  # of classes without weight alone, which have a gradient of zero
        amounts = weights
    total = sum(amounts)
    found = [
        Shard(*place, amount / total, weight > 0.0)
        for place, weight, amount in zip(runs, weights, amounts, strict=True)
    ]
    return Task(rows, weight, apart, found, step, epoch, what, bases)


def weights_of(task: Task, shard: Shard) -> NDArray[np.float64] | None:
    """The weights of a shard's samples, near 1 again."""
    return None if task.weight is None else balanced(task.weight[shard.first : shard.end])[0]


# --- the tree


def halved(first: int, end: int) -> int:
    """Where the second half of a node begins."""
    return first + (1 << (end - first - 1).bit_length() - 1)


def nodes_of(first: int, end: int, shards: int) -> list[tuple[int, int]]:
    """The largest nodes of the tree over so many shards that lie in [first, end), in order."""
    found: list[tuple[int, int]] = []

    def descend(a: int, b: int) -> None:
        if first <= a and b <= end:
            found.append((a, b))
        elif a < end and first < b:
            half = halved(a, b)
            descend(a, half)
            descend(half, b)

    descend(0, shards)
    return found


def levels_of(shards: int) -> int:
    """How many sums wait at most while the shards are gone through one by one."""
    return max(0, (shards - 1).bit_length() - 1)


def summed(known: dict[tuple[int, int], T | None], shards: int, add: Callable[[T, T], T]) -> T | None:
    """The sum of all shards from those of ``known`` nodes; None where there is nothing to add."""

    def total(a: int, b: int) -> T | None:
        if (a, b) in known:
            return known[a, b]
        half = halved(a, b)
        left, right = total(a, half), total(half, b)
        if left is None or right is None:
            return right if left is None else left
        return add(left, right)

    return total(0, shards)
