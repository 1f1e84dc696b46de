"""How newcomers are spread over layers when budgets move between them."""

from __future__ import annotations

from collections.abc import Sequence

from rewire.topology import largest_remainder

__all__ = ["split"]


def split(total: int, shares: Sequence[float], most: Sequence[int]) -> list[int]:
    """``total`` in proportion to ``shares``, none above ``most``; what does not fit is spread over the others.

    Rounded by largest remainder, ties to the lower index. Where all shares that have room are zero, room
    itself is the share.

    Raises
    ------
    ValueError
        If there is room for fewer than ``total``.
    """
    counts = [0] * len(shares)
    while total > 0:
        room = [limit - n for limit, n in zip(most, counts, strict=True)]
        if sum(room) < total:
            raise ValueError(f"cannot place {total} more links where there is room for {sum(room)}")
        weights = [share if r > 0 else 0.0 for share, r in zip(shares, room, strict=True)]
        if sum(weights) <= 0.0:
            weights = [float(r) for r in room]
        wanted = [total * w / sum(weights) for w in weights]
        if all(w <= r for w, r in zip(wanted, room, strict=True)):
            more = largest_remainder(wanted, total, room)
        else:  # fill those that overflow, and spread the rest again
            more = [r if w > r else 0 for w, r in zip(wanted, room, strict=True)]
        counts = [n + m for n, m in zip(counts, more, strict=True)]
        total -= sum(more)
    return counts
