"""The runs of `torch_quality.py`: a character transformer of PyTorch, dense and sparse, on Python's manual.

The text is what ``help()`` prints of its topics, which ships with every Python, each with its own. Paragraphs
that topics have in common are there once, so that nobody is tested on what they have read; those that differ
in blank lines alone are there twice, less than a hundredth of the test text (0.7 % in Python 3.11). The last
tenth is the test set, the tenth before it is what settings are chosen by.
"""

from __future__ import annotations

import hashlib
import math
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pydoc_data.topics import topics
from typing import Any

import torch
from _torch_sides import Block, in_tiles
from torch import nn
from torch.nn import functional as F

from rewire.torch import Rewirer, SparseLinear, sparsify

SIDES: dict[str, tuple[str, bool, str | None]] = {  # width, whether it is sparse, rule
    "dense": ("wide", False, None),
    "dense, as many weights": ("narrow", False, None),
    "sparse, static": ("wide", True, None),
    "sparse, RigL": ("wide", True, "rigl"),
    "sparse, CHTs": ("wide", True, "chts"),
}
DENSITY, GROUP = 0.1, 4
WARM_UP = 0.05  # fraction of the steps in which the learning rate rises
MULTIPLE = 8  # of which the narrow width is one
JUDGED = 32  # samples at a time, when a loss is looked at


@dataclass(frozen=True)
class Sizes:
    """Of the model, and of its batches.

    Attributes
    ----------
    width, depth, length, batch : int
        Features, blocks, characters of a sample, samples of a batch.
    rewirings : int
        Of a run, evenly spread over it.
    """

    width: int = 256
    depth: int = 2
    length: int = 128
    batch: int = 8
    rewirings: int = 30


class Text:
    """Numbers of characters, in parts."""

    def __init__(self) -> None:
        paragraphs = dict.fromkeys(p for name in sorted(topics) for p in topics[name].split("\n\n"))
        text = "\n\n".join(paragraphs)
        self.letters = sorted(set(text))
        number = {letter: i for i, letter in enumerate(self.letters)}
        self.data = torch.tensor([number[letter] for letter in text])

    def said(self, part: torch.Tensor) -> str:
        """The characters of a part."""
        return "".join(self.letters[i] for i in part.tolist())

    def parts(self, judged_by: str) -> tuple[torch.Tensor, torch.Tensor]:
        """What to train on, and the text that judges: "validation" or "test"."""
        tenth = len(self.data) // 10
        end = len(self.data) - (0 if judged_by == "test" else tenth)
        return self.data[: end - tenth], self.data[end - tenth : end]


def text_facts() -> dict[str, Any]:
    """What tells this text from that of another Python."""
    text = Text()
    train, test = text.parts("test")
    return {
        "sha256": hashlib.sha256(text.said(text.data).encode()).hexdigest(),
        "training": len(train), "test": len(test), "python": platform.python_version(),
    }  # fmt: skip


class Transformer(nn.Module):
    """Predicts the next character."""

    def __init__(self, letters: int, width: int, sizes: Sizes) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(letters, width), nn.Embedding(sizes.length, width)
        self.blocks = nn.Sequential(*[Block(width) for _ in range(sizes.depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, letters)
        for embedding in (self.token, self.position):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        where = torch.arange(tokens.shape[1])
        return self.head(self.norm(self.blocks(self.token(tokens) + self.position(where))))


def parameters(model: nn.Module) -> int:
    """How many there are."""
    return sum(p.numel() for p in model.parameters())


def sparse(letters: int, sizes: Sizes, seed: int) -> Transformer:
    """All linear layers but the head are sparse, and stay in tiles where they can."""
    model = Transformer(letters, sizes.width, sizes)
    sparsify(model, DENSITY, group=GROUP, skip="head", seed=seed)
    in_tiles(model.blocks)
    return model


def narrow_width(letters: int, sizes: Sizes) -> int:
    """The largest width at which a dense model has no more parameters than the sparse one."""
    most, width = parameters(sparse(letters, sizes, 0)), MULTIPLE
    with torch.device("meta"):
        while parameters(Transformer(letters, width + MULTIPLE, sizes)) <= most:
            width += MULTIPLE
    return width


class Run:
    """A model of a side in training, its batches named by the seed alone."""

    def __init__(self, side: str, sizes: Sizes, steps: int, seed: int, text: Text, judged_by: str) -> None:
        width, is_sparse, rule = SIDES[side]
        self.sizes, self.steps, self.done = sizes, steps, 0
        self.train, self.held_out = text.parts(judged_by)
        torch.manual_seed(seed)
        letters = len(text.letters)
        if is_sparse:
            self.model = sparse(letters, sizes, seed)
        else:
            features = narrow_width(letters, sizes) if width == "narrow" else sizes.width
            torch.manual_seed(seed)  # whatever it took to find the width
            self.model = Transformer(letters, features, sizes)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), betas=(0.9, 0.95), weight_decay=0.01)
        self.rewirer = None
        if rule is not None:
            # CHTs looks at paths within each layer alone.
            layers = [name for name, part in self.model.named_modules() if isinstance(part, SparseLinear)]
            wiring = [[name] for name in layers] if rule == "chts" else None
            every = max(1, steps // (sizes.rewirings + 1))
            self.rewirer = Rewirer(
                self.model, self.optimizer, rule, every=every, total_steps=steps, wiring=wiring, seed=seed
            )
        self.draws = torch.Generator().manual_seed(seed)
        self.seconds = 0.0  # of the processor

    def _rate(self, highest: float) -> float:
        """The learning rate of this step: it rises along a line, and falls along a cosine."""
        warm_up = max(1, round(WARM_UP * self.steps))
        if self.done < warm_up:
            return highest * (self.done + 1) / warm_up
        return highest * (1 + math.cos(math.pi * (self.done - warm_up) / (self.steps - warm_up))) / 2

    def step(self, rate: float) -> bool:
        """One step, with this as the highest learning rate; whether a rewiring was due after it."""
        begin = time.process_time()
        length = self.sizes.length
        starts = torch.randint(len(self.train) - length - 1, (self.sizes.batch,), generator=self.draws)
        rows = torch.stack([self.train[at : at + length + 1] for at in starts])
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(rate)
        loss = self._loss(rows)
        self.optimizer.zero_grad()
        loss.backward()
        del loss  # a rewiring may change sizes, which a graph that is alive would not let it
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.done += 1
        record = None if self.rewirer is None else self.rewirer.step()
        self.seconds += time.process_time() - begin
        return record is not None

    def _loss(self, rows: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())

    def loss(self) -> float:
        """Nats a character of the text that judges, in samples that follow each other."""
        length = self.sizes.length
        rows = self.held_out.unfold(0, length + 1, length).split(JUDGED)
        with torch.no_grad():
            return sum(self._loss(part).item() * len(part) for part in rows) / sum(map(len, rows))


def paces(threads: int, sides: Sequence[str], sizes: dict[str, int], turns: int) -> dict[str, Any]:
    """Processor seconds of a step, and of what a rewiring adds to one, by side; sides take turns."""
    torch.set_num_threads(threads)
    steps, text = 4 * turns, Text()  # rules that stop before the end of a run do not do so here
    shape = Sizes(**{**sizes, "rewirings": steps // 2 - 1})
    runs = {side: Run(side, shape, steps, 0, text, "validation") for side in sides}
    spent: dict[str, dict[bool, list[float]]] = {side: {False: [], True: []} for side in sides}
    for turn in range(2 * turns + 1):
        for side, run in runs.items():
            before = run.seconds
            rewired = run.step(1e-5)
            if turn:  # the first one warms up
                spent[side][rewired].append(run.seconds - before)
    found = {}
    for side, run in runs.items():
        plain, acted = (statistics.median(spent[side][rewired] or [0.0]) for rewired in (False, True))
        found[side] = {
            "step": plain, "rewiring": max(0.0, acted - plain), "parameters": parameters(run.model),
            "width": run.model.token.embedding_dim,
        }  # fmt: skip
    return found


def train(
    threads: int, side: str, sizes: dict[str, int], steps: int, rate: float, seed: int, judged_by: str
) -> dict[str, Any]:
    """The loss at the end of a run of so many steps; None if it is not finite."""
    torch.set_num_threads(threads)
    run = Run(side, Sizes(**sizes), steps, seed, Text(), judged_by)
    for _ in range(steps):
        run.step(rate)
    loss = run.loss()
    rewirings = 0 if run.rewirer is None else run.rewirer.rewirings
    return {
        "loss": loss if math.isfinite(loss) else None, "cpu_seconds": run.seconds, "rewirings": rewirings,
    }  # fmt: skip
