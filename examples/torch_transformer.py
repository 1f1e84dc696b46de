"""A character transformer of PyTorch, made sparse by two lines, rewired while it trains.

    python examples/torch_transformer.py --steps 200

The text is Python's own documentation of its topics, which ships with it.
"""

import argparse
import time
from pydoc_data.topics import topics

import torch
from torch import nn
from torch.nn import functional as F

from rewire.torch import Residual, Rewirer, Tiled, sparsify


class Block(nn.Module):
    """Attention, then a branch of two linear layers with GELU between them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp: nn.Module = Residual(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        parts = self.qkv(self.norm(x)).split(width, -1)
        heads = (part.view(batch, length, self.heads, -1).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2)
        x = x + self.proj(mixed.reshape(batch, length, width))
        return self.mlp(x)  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Predicts the next character."""

    def __init__(self, letters: int, width: int, depth: int, length: int) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(letters, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[Block(width, max(1, width // 64)) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, letters)
        nn.init.normal_(self.token.weight, std=0.02)
        nn.init.normal_(self.position.weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        where = torch.arange(tokens.shape[1])
        return self.head(self.norm(self.blocks(self.token(tokens) + self.position(where))))


def main() -> None:
    """Train a while, and print the loss on text that was not trained on."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--density", type=float, default=0.1, help="1 leaves the model dense")
    options = parser.parse_args()
    torch.manual_seed(0)

    text = "\n".join(topics[name] for name in sorted(topics))
    letters = sorted(set(text))
    number = {letter: i for i, letter in enumerate(letters)}
    data = torch.tensor([number[letter] for letter in text])
    train, test = data[: len(data) * 9 // 10], data[len(data) * 9 // 10 :]

    def batch(source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        starts = torch.randint(len(source) - options.length - 1, (options.batch,))
        rows = torch.stack([source[at : at + options.length + 1] for at in starts])
        return rows[:, :-1], rows[:, 1:]

    def loss_on(source: torch.Tensor) -> torch.Tensor:
        tokens, wanted = batch(source)
        return F.cross_entropy(model(tokens).flatten(0, 1), wanted.flatten())

    model = Transformer(len(letters), options.width, options.depth, options.length)
    if options.density < 1.0:
        print(sparsify(model, options.density, skip="head"))
        for block in model.blocks:
            block.mlp = Tiled(block.mlp)  # what is sparse now stays in the kernels' layout
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01)
    rewirer = None
    if options.density < 1.0:
        every = max(1, options.steps // 10)
        rewirer = Rewirer(model, optimizer, "set", every=every, fraction=0.2, total_steps=options.steps)

    begin = time.process_time()
    for step in range(1, options.steps + 1):
        loss = loss_on(train)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if rewirer is not None:
            rewirer.step()
        if step % max(1, options.steps // 5) == 0:
            with torch.no_grad():
                held_out = sum(loss_on(test).item() for _ in range(4)) / 4
            print(f"step {step}: loss {held_out:.3f}, {time.process_time() - begin:.1f} s")


if __name__ == "__main__":
    main()
