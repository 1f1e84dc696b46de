"""What a call of ``fit`` takes of memory, counted before it takes any.

What is counted is certain to be needed, and no more: tiles that layers are known to keep, and fields,
gradients and copies as far as none of an earlier call are there. Scratch of kernels, rewiring, and layers of
somebody's own come on top. So whoever is refused could not have trained; whoever is not may still run short.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from dataclasses import astuple
from typing import Any, NamedTuple

from rewire import _core
from rewire._geometry import item_bytes
from rewire._record import record
from rewire._resources import memory_available
from rewire._shards import levels_of
from rewire._training import TrainerLike
from rewire.callbacks import EarlyStopping, WeightAverage
from rewire.callbacks.weight_average import averaged_fields
from rewire.layers import Layer
from rewire.layers.weighted import WeightLayer
from rewire.link_counts import readable
from rewire.network import Sequential

__all__ = ["Basis", "Needs", "basis", "needs", "optimizer_bytes", "refuse_if_short"]

LITTLE = 16 << 20  # bytes: who took no more asks the machine no more, which takes longer than a small step


@record
class Needs:
    """Bytes that training takes beside the network, at the least.

    Attributes
    ----------
    state : int
        What optimizer, rule and averages keep for every weight, as far as it is not there yet.
    gradients : int
        Where all are needed before the optimizer's step: gradients, as far as they are not there yet, and
        sums that wait for those of other shards.
    activations : int
        Of a batch, or of the largest of its shards, on the way forward and backward.
    evaluation : int
        Of the batches of an evaluation after every epoch.
    copies : int
        Of the network: the best one, or the one with averages for weights, as far as none is there yet.
    """

    state: int
    gradients: int
    activations: int
    evaluation: int
    copies: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(astuple(self))

    def __str__(self) -> str:
        parts = {name: getattr(self, name) for name in ("activations", "gradients", "state", "evaluation")}
        parts["copies of the network"] = self.copies
        return ", ".join(f"{name} {readable(size)}" for name, size in parts.items() if size)


class Call(NamedTuple):
    """What a call of ``fit`` looks at, as far as its memory depends on it.

    Attributes
    ----------
    validation : int
        Samples that are evaluated after every epoch; 0: none.
    listed, validation_listed : bool
        Inputs may be a sparse X, of which only what is not 0 is packed.
    again : bool
        There is more than one epoch, so that evaluations come to stand beside the best network.
    """

    validation: int = 0
    listed: bool = False
    validation_listed: bool = False
    again: bool = True


def needs(trainer: TrainerLike, batch: int, call: Call) -> Needs:
    """What training with batches of so many samples takes."""
    net = trainer.network
    evaluation, best, averaged = 0, _best_copy(trainer), 0
    if call.validation:
        widths = _shared_widths(layer.n_out for layer in net.layers if _uses_shared(layer))
        inputs = 0 if call.validation_listed else net.n_in
        evaluation = _tile_bytes([*widths, inputs], net.batch_for(call.validation, None), net.variable_dtype)
        averaged = _averaged_copy(trainer)
    if not call.again:  # tiles are given back before the best network is copied
        evaluation, best = (evaluation, 0) if evaluation > best else (0, best)
    shard = -(-batch // (trainer.shards or 1))
    return Needs(
        _state(trainer), _gradients(trainer),
        _tile_bytes(_step_widths(trainer, call.listed), shard, net.variable_dtype),
        evaluation, best + averaged,
    )  # fmt: skip


class Basis(NamedTuple):
    """What :func:`needs` reads and the next call may have otherwise: where it is the same, so are needs."""

    values: tuple[Any, ...]
    objects: tuple[Any, ...]  # held, for others may come to stand where those of before stood in memory

    def same(self, other: Basis | None) -> bool:
        """Whether objects are the same ones: equal ones may have kept other arrays."""
        return (
            other is not None
            and self.values == other.values
            and len(self.objects) == len(other.objects)
            and all(map(operator.is_, self.objects, other.objects))
        )


def basis(trainer: TrainerLike, batch: int, call: Call, tiles: int) -> Basis:
    """What :func:`needs` of such a call, with tiles of an earlier one, follow from."""
    net, optimizer, rule = trainer.network, trainer.optimizer, trainer.rewiring
    copying = [kept for kept in trainer.callbacks if isinstance(kept, EarlyStopping | WeightAverage)]
    copies = [(kept.nbytes, isinstance(kept, EarlyStopping) and kept.restore_best) for kept in copying]
    values = (
        batch, call, tiles, net.nbytes, trainer.shards, trainer.fused, optimizer.clip_norm,
        tuple(optimizer.fields), tuple(rule.fields), copies,
    )  # fmt: skip
    return Basis(values, (net.trained_by, optimizer, rule, *copying))


def refuse_if_short(trainer: TrainerLike, batch: int, call: Call, *, tiles: int = 0) -> bool:
    """MemoryError if :func:`needs` is more than there is, naming the largest batch size that could fit.

    ``tiles`` bytes of an earlier call are used again for activations.

    Returns
    -------
    bool
        Whether it is so little that calls which are like this one need not be counted.
    """
    available = memory_available(swap=True)
    if available is None:
        return True

    def total(size: int) -> int:
        found = needs(trainer, size, call)
        return found.total - min(found.activations, tiles)

    needed = needs(trainer, batch, call)
    if total(batch) <= available:
        return needed.total <= LITTLE
    fits = 0
    for bit in reversed(range(batch.bit_length())):  # the largest, bit by bit: a batch takes more than a part
        if fits + (1 << bit) < batch and total(fits + (1 << bit)) <= available:
            fits += 1 << bit
    cure = f"at most batch_size={fits} could fit" if fits else "not even one sample at a time would fit"
    if trainer.shards in (None, 1) and batch > 1:
        cure += ", and Trainer(shards=) computes the parts of a batch one after the other"
    raise MemoryError(
        f"training with batch_size={batch} needs at least {readable(needed.total)} beside the network "
        f"({needed}) and {readable(available + min(needed.activations, tiles))} are available: {cure}"
    )


# --- what stays


def optimizer_bytes(trainer: TrainerLike) -> int:
    """Bytes of the optimizer's state and gradients, as far as they are not there yet."""
    return max(0, _optimizer_state(trainer)) + _gradients(trainer)


def _optimizer_state(trainer: TrainerLike) -> int:
    """Negative where the state of another optimizer takes more, which is given up."""
    if trainer.owns_state():
        return 0
    found = 0
    for parameter in trainer.network.tree.parameters.values():
        found -= sum(parameter.field_bytes(kind) for kind in parameter.fields.values() if kind.state)
        found += sum(parameter.field_bytes(kind) for kind in trainer.optimizer.fields.values())
    return found


def _state(trainer: TrainerLike) -> int:
    net, rule, found = trainer.network, trainer.rewiring, _optimizer_state(trainer)
    for parameter in net.tree.parameters.values():
        if any(isinstance(callback, WeightAverage) for callback in trainer.callbacks):
            kinds = averaged_fields(parameter)
            found += sum(parameter.field_bytes(kinds[name]) for name in kinds if not parameter.has(name))
    for sparse in rule.participants(net.sparse_parameters, net):
        found += sum(sparse.field_bytes(kind) for name, kind in rule.fields.items() if not sparse.has(name))
    return max(0, found)


def _gradients(trainer: TrainerLike) -> int:
    optimizer, shards = trainer.optimizer, trainer.shards or 1
    copies = int(optimizer.clip_norm is not None or not optimizer.in_core or shards > 1)
    copies += levels_of(shards)
    return sum(
        max(0, max(copies, int(q.uses > 1)) * q.packed_size() * item_bytes(q.dtype) - q.gradient_bytes())
        for q in trainer.network.tree.parameters.values()
    )


def _best_copy(trainer: TrainerLike) -> int:
    kept = trainer.optimizer.fields.values()
    size = sum(parameter.copy_bytes(kept) for parameter in trainer.network.tree.parameters.values())
    return sum(
        max(0, size - callback.nbytes)
        for callback in trainer.callbacks
        if isinstance(callback, EarlyStopping) and callback.restore_best
    )


def _averaged_copy(trainer: TrainerLike) -> int:
    size = sum(parameter.copy_bytes(()) for parameter in trainer.network.tree.parameters.values())
    return sum(
        max(0, size - callback.nbytes)
        for callback in trainer.callbacks
        if isinstance(callback, WeightAverage)
    )


# --- what a batch takes


def _tile_bytes(widths: Iterable[int], batch: int, dtype: str) -> int:
    """Of tiles of so many features each."""
    tile = _core.tile_size(max(1, batch), dtype)
    return sum(widths) * math.ceil(batch / tile) * tile * item_bytes(dtype)


def _step_widths(trainer: TrainerLike, listed: bool) -> list[int]:
    """Features of the tiles of a training step."""
    net = trainer.network
    last = net.layers[-1] if trainer.fused else None
    kept = [layer.kept_values(linear=layer is last) for layer in net.tree.layers.values()]
    return [*kept, *_backward_widths(net), net.n_out, 0 if listed else net.n_in]


def _backward_widths(net: Sequential) -> list[int]:
    """Widths of the tiles that gradients for inputs lie in: see `Workspace.other`."""
    first = next((i for i, layer in enumerate(net.layers) if layer.learns), 0)
    return _shared_widths(layer.n_in for layer in reversed(net.layers[first + 1 :]) if _uses_shared(layer))


def _uses_shared(layer: Layer) -> bool:
    """Whether it gives its results into the tiles of `Workspace.other`, as others may do as well."""
    return isinstance(layer, WeightLayer)


def _shared_widths(widths: Iterable[int]) -> list[int]:
    """One of each width, and another one of a width that comes twice in a row."""
    found: set[tuple[int, int]] = set()
    taken = 0, 0
    for width in widths:
        taken = width, int(taken == (width, 0))
        found.add(taken)
    return [width for width, _ in found]
