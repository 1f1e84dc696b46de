"""A rewiring rule of one's own, on a model of PyTorch.

The rule drops the weakest tenth of the links of each layer, and grows links from its strongest inputs.

    python examples/torch_own_rule.py --steps 400
"""

import argparse
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import rewire
from rewire.rewiring import Custom
from rewire.torch import Rewirer, sparsify


def follow_the_strong(links: Any) -> Any:
    """Positions to drop, as indices of links, and positions to grow, as rows and sources."""
    count = min(len(links) // 10, links.n_empty // 4)
    drop = np.argsort(np.abs(links.weights))[:count]
    strength = np.bincount(links.sources, np.abs(links.weights), links.n_in) + 1e-3
    rows, sources = links.random_empty(4 * count)
    best = np.argsort(-strength[sources])[:count]
    return drop, (rows[best], sources[best])


def main() -> None:
    """Train, and show to how many of the pixels the first layer is still connected."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=400)
    steps = parser.parse_args().steps
    torch.manual_seed(0)

    data = rewire.datasets.load("digits")
    inputs, labels = torch.from_numpy(data.X / 16.0).float(), torch.from_numpy(data.y)
    model = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 10))
    print(sparsify(model, density=0.1, group=1, skip="2"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    rewirer = Rewirer(
        model, optimizer, Custom(follow_the_strong, every=max(1, steps // 10)), total_steps=steps
    )
    for _ in range(steps):
        rows = torch.randint(len(inputs), (64,))
        loss = F.cross_entropy(model(inputs[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        record = rewirer.step()
        if record is not None:
            used = model[0].sources.unique().numel()
            print(
                f"step {rewirer.steps}: {sum(record.grown.values())} links grown, {used} of 64 pixels in use"
            )


if __name__ == "__main__":
    main()
