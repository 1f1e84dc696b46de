"""The last epochs of `rewire.WASSP`: trainings with structures of their own, and their merge.

Each training is a copy of the trainer on its own part of the samples, with random numbers of its own for
rewiring and for the order of samples. What it ends with comes back as arrays. Who makes it leaves no trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._fit import Fit
from rewire._format import plural
from rewire._inputs import Source
from rewire._merging import merge
from rewire._parted import PartedStream
from rewire._sharded import Helpers
from rewire._shards import cut, summed
from rewire._signals import Interrupts
from rewire._strategies import WASSP
from rewire._training import TrainerLike
from rewire.link_counts import largest_remainder
from rewire.losses import Targets
from rewire.parameters import Field
from rewire.progress import line, print_now, progress
from rewire.store import WeightStore
from rewire.streams.joining import Samples
from rewire.streams.kinds import joined
from rewire.streams.parts import Parts
from rewire.streams.stream import Stream, in_order
from rewire.streams.windows import Cut

__all__ = ["Alone", "Ended", "finish", "train_alone"]

_PARTS, _SEEDS = 0x50617274, 0x53656564  # "Part", "Seed": keep these random numbers apart from others
Arrays = dict[str, NDArray[Any]]


class Alone(NamedTuple):
    """What all trainings begin with; ``told`` is what the trainer has warned of."""

    kind: Any  # the trainer's class
    config: dict[str, Any]
    arrays: Arrays
    weight: NDArray[np.float64] | None
    trainings: int
    epochs: int
    cut: Cut
    told: set[tuple[str, str]]


class Ended(NamedTuple):
    """What a training ends with."""

    arrays: Arrays  # of the network
    state: dict[str, Any]
    state_arrays: Arrays
    rows: list[dict[str, Any]]
    interrupted: bool


class AloneFit(Fit):
    """A call of ``fit`` on some of the samples."""

    part: NDArray[np.int64]

    def on(self, part: NDArray[np.int64]) -> Self:
        """Learn from these."""
        self.part, self.samples = part, len(part)
        return self

    def order(self) -> NDArray[np.int64]:
        """The training's samples in the order of this epoch."""
        if not self.shuffle:
            return self.part
        words = np.random.SeedSequence([self.trainer.seed, self.state.epoch, _PARTS])
        return np.random.Generator(np.random.Philox(words)).permutation(self.part)


def train_alone(
    said: Alone, number: int, source: Source | Parts, targets: Targets | None, threads: int
) -> Ended | None:
    """One training, from its beginning to its end; None if its part of the samples has no weight."""
    trainer = said.kind.from_config(said.config, said.arrays, callbacks=())
    if isinstance(source, Parts):
        shards = trainer.shards or 1
        parts = source.of_shards(*cut(shards, said.trainings)[number], shards)
        trainer.shards = 1
        if not _has_weight(parts, trainer.network.n_in):
            return None
    else:
        words = np.random.SeedSequence([trainer.seed, trainer.epoch, _PARTS])
        every = np.random.Generator(np.random.Philox(words)).permutation(source.n_samples)
        first, end = cut(source.n_samples, said.trainings)[number]
        part = np.sort(every[first:end])
        if not part.size or (said.weight is not None and not said.weight[part].any()):
            return None
    drawn = np.random.SeedSequence([trainer.seed, trainer.network.seed, trainer.epoch, number, _SEEDS])
    trainer.seed, trainer.network.seed = (int(word) for word in drawn.generate_state(2, np.uint32))
    trainer.threads, trainer.standardize = threads, False  # scales are those of all samples
    trainer.state.told = set(said.told)
    trainer.take_state()  # it may be that no step was made before
    with trainer.network.gate.writing("fit"), Interrupts() as interrupts:
        ws = trainer.network.workspace()
        if isinstance(source, Parts):
            own, batch = PartedStream(parts, trainer), said.cut.batch
            division = own.cut(batch, None, None, said.cut.shuffle, trainer.seed, trainings=1, every=1)
            run = Fit(trainer, ws, own, None, division, interrupts)
        else:
            assert targets is not None
            samples = Samples(source, targets, said.weight)
            run = AloneFit(trainer, ws, samples, None, said.cut, interrupts).on(part)
        before = len(trainer.history)
        run.epochs(said.epochs, progress(0))
    _, arrays = trainer.network_state()
    rule = trainer.rewiring.remembers_as
    return Ended(
        arrays, trainer.state.config(rule, owns_state=True), trainer.state.arrays(rule),
        trainer.history[before:], trainer.history.interrupted,
    )  # fmt: skip


def _has_weight(parts: Parts, n_in: int) -> bool:
    """Whether a sample has some: mostly the first piece tells. Who learns from weights checks them."""
    pieces = joined(parts, range(len(parts)))
    return pieces.n_samples != 0 and any(
        piece.samples() and (piece.weight is None or np.any(piece.weight)) for piece in in_order(pieces, n_in)
    )


def finish(
    trainer: TrainerLike, plan: WASSP, helpers: Helpers | None, data: Samples | PartedStream,
    validation: Samples | Stream | None, division: Cut, epochs: int, threads: int,
    *, whole: AbstractContextManager[None], say: bool,
) -> None:  # fmt: skip
    """The last epochs: every training by itself, then their merge. Ctrl-C leaves the trainer as it was.

    It waits in ``whole``, where the trainer becomes what was merged.
    """
    source, targets, weight = data if isinstance(data, Samples) else (data.parts, None, None)
    trainings = plan.workers or (1 if helpers is None else helpers.size)
    config = {**trainer.config(), "callbacks": []}
    arrays = {name: a for name, a in trainer.arrays().items() if not name.startswith("callbacks.")}
    said = Alone(type(trainer), config, arrays, weight, trainings, epochs, division, trainer.state.told)
    if say:
        print_now(f"{plural(epochs, 'epoch')} of {trainings} trainings, each with links of its own")
    if helpers is None:
        each = [train_alone(said, number, source, targets, threads) for number in range(trainings)]
    else:
        each = helpers.alone(train_alone, said, trainings, source, targets, threads)
    ended = [one for one in each if one is not None]
    if not ended:
        raise ValueError(f"sample_weight must have a positive sum, got 0 in epoch {trainer.epoch}")
    if any(one.interrupted for one in ended):
        trainer.history.interrupted = True
        return
    network, rule = trainer.network, trainer.rewiring
    merged = _merged(trainer, plan, [one.arrays for one in ended])
    rows = _rows([one.rows for one in ended])
    state = {**ended[0].state, "history": {**ended[0].state["history"]}}
    history = trainer.history
    with whole:
        trainer.state.restore(
            state, ended[0].state_arrays, metric=trainer.training_metric(),
            layers=len(network.weight_layers), n_out=network.n_out,
        )  # fmt: skip
        trainer.state.history = history
        trainer.state.rule_fields_of = rule.remembers_as
        # Of the state as it is now: an optimizer that has made no step has no fields.
        network.restore(trainer.network_state()[0], merged)
        history.epochs.extend(rows)
    if validation is not None:
        found = trainer.evaluate_checked(validation)
        history.epochs[-1] = {**rows[-1], **{f"val_{name}": value for name, value in found.items()}}
    if say:
        for row in history.epochs[-epochs:]:
            print_now(line(row, trainer.epoch))


def _rows(each: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of the history: those of the first training, with means of figures over all."""
    found = []
    for rows in zip(*each, strict=True):
        figures = {
            name: float(np.mean([row[name] for row in rows]))
            for name, value in rows[0].items() if isinstance(value, float) and name != "lr"
        }  # fmt: skip
        found.append({**rows[0], **figures})
    return found


def _merged(trainer: TrainerLike, plan: WASSP, each: list[Arrays]) -> Arrays:
    """The arrays of one network: links merged, all else averaged."""
    found: Arrays = {}
    sparse = trainer.network.tree.sparse
    slots = [[int(arrays[f"{parameter.name}.indptr"][-1]) for arrays in each] for parameter in sparse]
    for parameter, count in zip(sparse, _means(slots), strict=True):
        prefix, fields = f"{parameter.name}.", parameter.fields
        stores = [_store(parameter, prefix, fields, arrays) for arrays in each]
        blends = {name: _blend(plan, field) for name, field in fields.items()}
        store = merge(stores, plan.how, links=count * parameter.group, fields=blends, threads=1)
        found |= {prefix + "indptr": store.indptr(), prefix + "sources": store.sources()}
        found[prefix + "values"] = store.get_field("weight")
        for name, field in fields.items():
            values = store.get_field(name)
            zero = plan.momentum == "zero" and not field.per_slot
            found[f"{prefix}field.{name}"] = np.zeros_like(values) if zero else values
    for name, first in each[0].items():
        if name.startswith(("standardizer.", "target_standardizer.")):
            # One for all: a mean of equal numbers is rounded.
            found[name] = first
        elif name not in found:
            zero = plan.momentum == "zero" and ".field." in name
            found[name] = np.zeros_like(first) if zero else _mean([arrays[name] for arrays in each])
    return {name: found[name] for name in each[0]}


def _means(counts: list[list[int]]) -> list[int]:
    """The mean number of slots of every layer, so rounded that the sum is that of a training.

    A union is never smaller: a mean that is rounded up is below the largest of its numbers.
    """
    totals = [sum(of_layer) for of_layer in counts]
    trainings = len(counts[0]) if counts else 1
    return largest_remainder(
        totals, sum(totals) // trainings, [max(of_layer) for of_layer in counts], over=trainings
    )


def _blend(plan: WASSP, field: Field) -> str:
    """How a field is merged: the oldest birth; what the optimizer keeps as the plan says."""
    if field.per_slot:
        return "min"
    return "mean" if plan.momentum == "zero" else plan.momentum


def _store(parameter: Any, prefix: str, fields: Mapping[str, Field], arrays: Arrays) -> WeightStore:
    store = WeightStore(
        n_out=parameter.n_out, n_in=parameter.n_in, group=parameter.group, dtype=parameter.dtype
    )
    core: _core.Store = store._core
    core.load(arrays[prefix + "indptr"], arrays[prefix + "sources"], arrays[prefix + "values"])
    for name, field in fields.items():
        values = arrays[f"{prefix}field.{name}"]
        store.add_field(name, values.dtype.name, per_slot=field.per_slot, birth=field.birth)
        core.set_field(name, values)
    return store


def _mean(each: list[NDArray[Any]]) -> NDArray[Any]:
    """The mean of arrays, added in the tree of shards; of whole numbers, those of the first."""
    if each[0].dtype.kind != "f":
        return each[0]
    known: dict[tuple[int, int], NDArray[Any] | None]
    known = {(i, i + 1): a.astype(np.float64) for i, a in enumerate(each)}
    total = summed(known, len(each), np.add)
    assert total is not None
    return (total / len(each)).astype(each[0].dtype)
