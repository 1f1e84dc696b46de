"""What a call of ``fit`` is told of workers: how many there are, and who helps."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, cast

from rewire import _checks
from rewire._format import plural
from rewire._parted import PartedStream
from rewire._sharded import Helpers
from rewire._shards import MOST, shards_of_parts, usual_shards
from rewire._strategies import WASAP, WASSP, LocalSGD, Strategy, check_strategy, trainings_of
from rewire._training import TrainerLike
from rewire.progress import print_now
from rewire.streams.joining import Samples
from rewire.streams.stream import Stream
from rewire.workers.world import World, alone, world

__all__ = ["cut_for", "following", "helpers", "processes_of"]


def processes_of(workers: Any) -> tuple[World | None, int]:
    """The processes that a launcher has started, if they train together, and how many there are to be."""
    if workers is None:
        comm = world()
        return comm, 1 if comm is None else comm.size
    count = _checks.integer("workers", workers, low=1, high=MOST)
    alone()
    return None, count


def cut_for(
    trainer: TrainerLike, workers: int, say: bool, strategy: Strategy, *, launched: bool = False,
    data: Samples | Stream | None = None, batch: int | None = None,
) -> None:  # fmt: skip
    """Cut batches into shards where nobody has said how many; ValueError if they are too few.

    Of parts there are as many shards as a batch of so many samples, if that has been said, can be cut into.
    """
    check_strategy(trainer, strategy, workers)
    parts = data if isinstance(data, PartedStream) else None
    if parts is not None and isinstance(strategy, WASAP):
        raise ValueError(
            f"strategy {strategy!r} cannot be used where X is in parts: a batch goes to whoever is first, "
            "and each process has samples of its own; WASSP() and LocalSGD() can"
        )
    if isinstance(strategy, WASAP):
        if launched:
            raise ValueError(
                f"strategy {strategy!r} cannot be used under mpiexec, srun or torchrun, where rank 0 cannot "
                "hear who is first: fit(workers=N) starts processes, and WASSP() works there"
            )
        return
    if isinstance(strategy, LocalSGD):
        if say and trainings_of(strategy, workers) == 1:
            print_now(
                f"{strategy!r}: there is one training, so nothing is averaged; give it workers=2 or more"
            )
        if parts is not None:
            if any(rule.probe_batches for rule in trainer.rewiring.parts()):
                raise ValueError(
                    f"strategy {strategy!r} cannot be used with {trainer.rewiring.label} where X is in "
                    "parts: it looks at gradients of samples that rank 0 may not have"
                )
            parts.shards, parts.apart = trainings_of(strategy, workers), True
            _refuse_few(parts, "LocalSGD(workers=...)", parts.shards)
        return
    if (workers > 1 or parts is not None) and trainer.shards is None:
        if parts is None:
            trainer.shards = usual_shards(workers)
        else:
            alone = 1 if not isinstance(strategy, WASSP) else strategy.workers or workers
            trainer.shards = shards_of_parts(max(workers, alone), len(parts.parts), batch)
        if say:
            print_now(
                f"workers={workers}: batches are cut into {trainer.shards} shards from now on, as by "
                f"Trainer(shards={trainer.shards})"
            )
    if parts is not None and isinstance(strategy, WASSP):
        trainings = strategy.workers or workers
        _refuse_few(parts, "WASSP(workers=...)", trainings)
        _refuse_more(trainings, f"workers of {strategy!r}", trainer.shards or 1, parts, batch)
    _refuse_more(workers, "workers", trainer.shards or 1, parts, batch)
    if parts is not None:
        parts.shards = trainer.shards or 1
        _refuse_few(parts, "Trainer(shards=...)", parts.shards)


def _refuse_more(workers: int, what: str, shards: int, parts: PartedStream | None, batch: int | None) -> None:
    """ValueError where a process, or a training of parts, would have no shard."""
    if workers <= shards:
        return
    why = ""
    if parts is not None:
        why = f": each has some of {plural(len(parts.parts), 'part')}"
        if batch is not None:
            why += f", and as many samples of a batch as others, whose batch_size is {batch}"
    raise ValueError(
        f"{what} must be at most the number of shards that a batch is cut into, {shards}, got {workers}{why}"
    )


def _refuse_few(parts: PartedStream, what: str, least: int) -> None:
    """ValueError where a shard, or a training, would have no part."""
    if least > len(parts.parts):
        raise ValueError(
            f"X must be in as many parts as there are shards, {least}, or more, got "
            f"{plural(len(parts.parts), 'part')}: {what} says another number"
        )


def helpers(
    trainer: TrainerLike, comm: World | None, workers: int, data: Samples | Stream,
    call: Mapping[str, Any], timeout: float,
) -> contextlib.AbstractContextManager[Helpers | None]:  # fmt: skip
    """Processes beside this one, as long as the block lasts; None where there is to be no other."""
    if comm is not None:
        found = _engine("launched").leading(comm, trainer, data, call, timeout)
    elif workers == 1:
        found = contextlib.nullcontext()
    else:
        plan, trainings, arrays = call["strategy"], 0, 0
        if isinstance(plan, LocalSGD):
            trainings, arrays = plan.workers or workers, 1 + len(trainer.optimizer.fields)
        found = _engine("starting").helpers_of(
            trainer, workers, data, call["cut"].batch, timeout, trainings=trainings, arrays=arrays,
            apart=isinstance(plan, WASAP),
        )  # fmt: skip
    return cast(contextlib.AbstractContextManager[Helpers | None], found)


def following(
    comm: World, trainer: TrainerLike, data: Samples | Stream, call: Mapping[str, Any], timeout: float
) -> None:
    """The whole call in a rank other than 0: it does what rank 0 asks for until that has ended."""
    _engine("launched").following(comm, trainer, data, call, timeout)


def _engine(name: str) -> ModuleType:
    """Imported when a call needs it: most train in one process, and starting others needs much to import."""
    return import_module(f"rewire.workers.{name}")
