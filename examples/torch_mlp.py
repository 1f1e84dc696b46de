"""A sparse classifier in PyTorch, trained on handwritten digits, saved in the middle and resumed.

python examples/torch_mlp.py --steps 600
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import rewire
from rewire.torch import Rewirer, SparseLinear


def made(steps: int) -> tuple[nn.Module, torch.optim.Optimizer, Rewirer]:
    """A model, its optimizer, and what rewires it."""
    torch.manual_seed(0)
    model = nn.Sequential(
        SparseLinear(64, 300, epsilon=10),
        nn.ReLU(),
        SparseLinear(300, 300, epsilon=10),
        nn.ReLU(),
        SparseLinear(300, 10, density=0.5, group=2),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    return model, optimizer, Rewirer(model, optimizer, "rigl", every=50, total_steps=steps)


def main() -> None:
    """Train one half, save, begin anew from the file, train the other half."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=600)
    steps = parser.parse_args().steps

    data = rewire.datasets.load("digits")
    inputs, labels = torch.from_numpy(data.X / 16.0).float(), torch.from_numpy(data.y)
    parts: tuple[Any, ...] = made(steps)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "checkpoint.pt"
        for half in range(2):
            model, optimizer, rewirer = parts
            for _ in range(steps // 2):
                rows = torch.randint(len(inputs), (64,))
                loss = F.cross_entropy(model(inputs[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rewirer.step()
            if half == 0:
                torch.save([part.state_dict() for part in parts], file)
                parts = made(steps)
                for part, state in zip(parts, torch.load(file, weights_only=True), strict=True):
                    part.load_state_dict(state)
    accuracy = (model(inputs).argmax(1) == labels).float().mean()
    links = sum(module.nnz for module in model.modules() if isinstance(module, SparseLinear))
    print(
        f"{links:,} links, {rewirer.rewirings} rewirings, accuracy on what it was trained on {accuracy:.3f}"
    )


if __name__ == "__main__":
    main()
