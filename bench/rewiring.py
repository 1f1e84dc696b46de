"""What a rewiring of one layer costs: stage by stage, in training steps, and beside SciPy.

SET with zeta 0.3 over a layer with momentum: prune by sign, grow at random, commit (reserve and merge; the
compaction is part of it), and with single rows the fan-out mirror anew. ns per connection of the whole layer,
not of those that change. A training step is forward, dX, dW and the momentum update at batch 128, in the same
turns and on the same threads. SciPy is our own few lines in the manner of the SET authors: CSR to COO, drop,
draw, back to CSR.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np
from _measure import Figure, measure
from _report import Report, options

import rewire as rw
from rewire import _core

BATCH, FRACTION = 128, 0.3
SCIPY_LINKS = 1_000_000  # SciPy's turn would fill the budget beyond
STAGES = ("prune", "grow", "commit", "mirror")


@dataclass(frozen=True)
class Cell:
    """One square layer."""

    width: int
    links: int
    group: int

    @property
    def name(self) -> str:
        share = self.links / self.width**2
        return f"{self.width:,} wide, " + (
            f"{share:.0%}" if share > 0.001 else f"{self.links // self.width} links each"
        )


def cells(full: bool, tiny: bool) -> list[Cell]:
    """The layers, the most important first."""
    if tiny:
        return [Cell(200, 2000, 1), Cell(200, 2000, 4)]
    shapes = [(1000, 0.05), (3000, 0.05), (8192, 0.01), (1000, 0.2), (1000, 0.01), (300_000, 20 / 300_000)]
    if full:
        shapes += [(3000, 0.01), (3000, 0.2), (8192, 0.05), (8192, 0.2)]
    both = shapes if full else shapes[:4]
    return [
        Cell(n, round(share * n * n), group)
        for n, share in shapes
        for group in ((1, 4) if (n, share) in both else (1,))
    ]


class Layer:
    """A layer in training, and everything that can be timed about it."""

    def __init__(self, cell: Cell, threads: int) -> None:
        n, self.threads = cell.width, threads
        net = rw.Sequential([rw.Sparse(n, n, links=cell.links, group=cell.group)], seed=0)
        self.store, self.public = net.layers[0].core, net.layers[0].store
        self.store.add_field("momentum", "float32")
        self.mirrored = cell.group == 1
        tile = _core.tile_size(BATCH, "float32")
        self.x, self.dy, self.y, self.dx = (_core.Tiles(n, BATCH, tile, "float32") for _ in range(4))
        rng = np.random.default_rng(0)
        self.x.pack(rng.standard_normal((BATCH, n), dtype=np.float32))
        self.dy.pack(rng.standard_normal((BATCH, n), dtype=np.float32))
        self.update, self.scratch = _core.Update("sgd", momentum=0.9, state=["momentum"]), _core.Scratch()
        self.update.lr = 1e-4
        self.ordinal = 0
        self.plan = _core.Plan(self.store)
        self.mirror()

    def step(self) -> None:
        _core.forward(self.store, self.x, None, "linear", 0.0, self.y, None, self.threads)
        _core.backward_input(self.store, self.dy, self.dx, self.threads)
        _core.backward_update(self.store, self.x, self.dy, self.update, self.scratch, self.threads)

    def prune(self) -> None:
        self.ordinal += 1
        self.plan = _core.Plan(self.store)
        self.plan.prune_set(FRACTION, 0, 0, self.ordinal, self.threads)

    def grow(self) -> None:
        self.plan.grow_random(self.plan.n_removed, 0, 0, self.ordinal, self.threads)
        self.plan.draw_weights("constant", 0.0, False, 0, 0, self.ordinal, self.threads)

    def commit(self) -> None:
        _core.commit([self.plan], self.threads)

    def mirror(self) -> None:
        if self.mirrored:
            self.store.build_mirror(self.threads)


class Rewiring:
    """Whole rewirings as a contestant. New links are trained for a step, untimed, before the next one."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.shares: list[dict[str, float]] = []  # of the stages, for every block

    def time(self, calls: int, warm: bool = True) -> float:
        if warm:
            self._block(1)
        spent = self._block(calls)
        total = sum(spent.values())
        self.shares.append({stage: seconds / total for stage, seconds in spent.items()})
        return total

    def _block(self, calls: int) -> dict[str, float]:
        spent = dict.fromkeys(STAGES, 0.0)
        for _ in range(calls):
            self.layer.step()
            for stage in STAGES:
                begin = time.perf_counter()
                getattr(self.layer, stage)()
                spent[stage] += time.perf_counter() - begin
        return spent

    def share(self, stage: str) -> float:
        """A stage's share of the whole: the median over blocks."""
        return statistics.median(block[stage] for block in self.shares)


class SciPy:
    """The same rewiring between formats; the momentum is a second matrix of the same structure."""

    def __init__(self, store: rw.WeightStore) -> None:
        self.rng = np.random.default_rng(0)
        self.weights = store.to_csr()
        self.momentum = self.weights * np.float32(0.1)

    def rewire(self) -> None:
        from scipy.sparse import coo_array

        w, v = self.weights.tocoo(), self.momentum.tocoo()
        positive, negative = np.sort(w.data[w.data >= 0]), np.sort(w.data[w.data < 0])
        high = positive[int(FRACTION * len(positive))] if len(positive) else 0.0
        low = negative[len(negative) - 1 - int(FRACTION * len(negative))] if len(negative) else 0.0
        keep = (w.data >= high) | ((w.data < 0) & (w.data <= low))
        n_out, n_in = w.shape
        places = w.coords[0][keep].astype(np.int64) * n_in + w.coords[1][keep]
        missing = w.nnz - len(places)
        while missing:
            places = np.concatenate([places, self.rng.integers(0, n_out * n_in, missing)])
            _, first = np.unique(places, return_index=True)
            places = places[np.sort(first)]
            missing = w.nnz - len(places)
        row, col = places // n_in, places % n_in
        new = np.zeros(w.nnz - int(keep.sum()), np.float32)
        self.weights = coo_array((np.concatenate([w.data[keep], new]), (row, col)), w.shape).tocsr()
        self.momentum = coo_array((np.concatenate([v.data[keep], new]), (row, col)), w.shape).tocsr()
        # A step of training, so that new links do not stay at zero.
        self.weights.data += self.rng.standard_normal(w.nnz, dtype=np.float32) * np.float32(1e-3)


def timed(cell: Cell, threads: int, budget: float) -> dict[str, Figure | None]:
    """Everything about one layer."""
    layer = Layer(cell, threads)
    rewiring = Rewiring(layer)
    contestants = {"step": layer.step, "rewiring": rewiring}
    if threads == 1:  # neither uses more
        contestants["compact"] = layer.store.compact
        if cell.links <= SCIPY_LINKS and cell.group == 1:
            contestants["scipy"] = SciPy(layer.public).rewire
    result = measure(contestants, budget=budget)
    ns = 1e9 / layer.store.nnz
    found: dict[str, Figure | None] = {name: result.figure(name).scaled(ns) for name in contestants}
    found |= {stage: found["rewiring"].scaled(rewiring.share(stage)) for stage in STAGES}
    found["steps"] = result.ratio("rewiring", "step")
    if "scipy" in contestants:
        found["scipy ratio"] = result.ratio("scipy", "rewiring")
    return found


def main() -> None:
    report = Report("rewiring", options(__doc__, share=95))
    arguments = report.arguments
    wanted = [
        (cell, threads) for cell in cells(arguments.full, arguments.tiny) for threads in arguments.threads
    ]
    table = report.table(
        "A SET rewiring of one layer, ns per connection",
        ["layer", "group", "threads", *STAGES, "whole", "in training steps", "compact()", "SciPy / rewire"],
    )
    worst: list[tuple[float, str]] = []
    missing = 0
    for i, (cell, threads) in enumerate(wanted):
        budget = 60.0 if arguments.full else max(0.5, report.left / (len(wanted) - i) - 0.3)
        key = f"{cell.name} group {cell.group} threads {threads}"
        found = report.cell(
            key, lambda cell=cell, threads=threads, budget=budget: timed(cell, threads, budget)
        )
        if found is None:
            continue
        table.row(
            cell.name, cell.group, threads, *(brief(found.get(stage)) for stage in (*STAGES, "rewiring")),
            found.get("steps") or "-", brief(found.get("compact")), brief(found.get("scipy ratio")),
        )  # fmt: skip
        median = (found.get("steps") or {"median": None})["median"]
        if median is None:
            missing += 1
        else:
            worst.append((median, key))
    report.note(
        "A step is forward, dX, dW and momentum update at batch 128. Commit reserves and packs the layer; "
        "compact() alone is for edits outside of rewirings."
    )
    if worst:
        most, where = max(worst)
        few = f", {missing} layers not measurable" if missing else ""
        met = False if most > 2 else None if missing else True
        report.judge("S5", "a rewiring costs at most 2 training steps", f"{most:.2f} ({where}){few}", met)
    else:
        report.judge("S5", "a rewiring costs at most 2 training steps", None, None)
    report.save()


def brief(figure: dict | str | None) -> str:
    """The median alone: the spread of every stage would make the table unreadable; it is in the JSON."""
    if not isinstance(figure, dict):
        return "-"
    return "not measurable" if figure["median"] is None else f"{figure['median']:.3g}"


if __name__ == "__main__":
    main()
