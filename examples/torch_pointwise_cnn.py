"""A small convolutional network whose convolutions of 1 x 1 are sparse, on handwritten digits.

    python examples/torch_pointwise_cnn.py --steps 300

Depthwise convolutions look at neighbouring pixels and have few weights; those of 1 x 1 that mix channels have
nearly all, as in MobileNet. `sparsify` takes these.
"""

import argparse
import time

import torch
from torch import nn
from torch.nn import functional as F

import rewire
from rewire.torch import Rewirer, SparseConv1x1, sparsify


def block(n_in: int, n_out: int, stride: int) -> nn.Sequential:
    """A depthwise convolution of 3 x 3, then one of 1 x 1."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_in, 3, stride, padding=1, groups=n_in, bias=False),
        nn.BatchNorm2d(n_in),
        nn.ReLU(),
        nn.Conv2d(n_in, n_out, 1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    )


def main() -> None:
    """Train a while, and print the accuracy on digits that were not trained on."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--density", type=float, default=0.2, help="1 leaves the network dense")
    options = parser.parse_args()
    torch.manual_seed(0)

    data = rewire.datasets.load("digits")
    images, labels = torch.from_numpy(data.X / 16.0).float().view(-1, 1, 8, 8), torch.from_numpy(data.y)
    order = torch.randperm(len(images))
    train, test = order[:-360], order[-360:]

    width = options.width
    model = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        block(width, 2 * width, 1),
        block(2 * width, 4 * width, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, 10),
    )
    rewirer = None
    if options.density < 1.0:
        print(sparsify(model, options.density, skip=nn.Linear, seed=0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    if options.density < 1.0:
        every = max(1, options.steps // 10)
        rewirer = Rewirer(model, optimizer, "rigl", every=every, total_steps=options.steps)

    begin = time.process_time()
    for _ in range(options.steps):
        rows = train[torch.randint(len(train), (64,))]
        loss = F.cross_entropy(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if rewirer is not None:
            rewirer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(images[test]).argmax(1) == labels[test]).float().mean()
    links = sum(module.nnz for module in model.modules() if isinstance(module, SparseConv1x1))
    print(f"{links:,} links, accuracy {accuracy:.3f}, {time.process_time() - begin:.1f} s")


if __name__ == "__main__":
    main()
