"""Several processes that train one model: every one of them must choose the same links.

Weights and optimizer state are equal on all ranks, and random numbers follow from seeds, so most rules choose
alike by themselves. Gradients of absent links are those of a rank's own samples: the inputs of a layer and
the gradients of its outputs are gathered, in the order of ranks, and every rank looks at all of them.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

__all__ = ["check_equal", "gathered"]


def gathered(rows: NDArray[Any], group: Any) -> NDArray[Any]:
    """The rows of all ranks, one below the other; their number may differ."""
    counts = [torch.zeros(1, dtype=torch.int64, device="cpu") for _ in range(dist.get_world_size(group))]
    dist.all_gather(counts, torch.tensor([len(rows)], device="cpu"), group=group)
    most = int(max(counts))
    mine = torch.zeros((most, rows.shape[1]), dtype=torch.from_numpy(rows).dtype, device="cpu")
    mine[: len(rows)] = torch.from_numpy(rows)
    found = [torch.empty_like(mine) for _ in counts]
    dist.all_gather(found, mine, group=group)
    return np.concatenate([part[: int(n)].numpy() for part, n in zip(found, counts, strict=True)])


def check_equal(arrays: list[NDArray[Any]], group: Any) -> None:
    """RuntimeError unless all ranks have equal arrays."""
    digest = 0
    for array in arrays:
        digest = zlib.crc32(np.ascontiguousarray(array).tobytes(), digest)
    found = [torch.zeros(1, dtype=torch.int64, device="cpu") for _ in range(dist.get_world_size(group))]
    dist.all_gather(found, torch.tensor([digest], device="cpu"), group=group)
    if any(int(other) != digest for other in found):
        raise RuntimeError(
            "ranks have chosen different links: they must begin with equal models, optimizers and seeds, "
            "and run on processors of one kind"
        )
