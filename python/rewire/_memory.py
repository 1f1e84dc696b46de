"""What a call of ``fit`` takes of memory, counted before it takes any.

What is counted is certain to be needed, and no more: tiles that layers are known to keep, fields that are not
there yet. Scratch of kernels, rewiring, and layers of somebody's own come on top. So whoever is refused could
not have trained; whoever is not may still run short.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import astuple

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

__all__ = ["Needs", "needs", "refuse_if_short"]


@record
class Needs:
    """Bytes that training takes beside the network, at the least.

    Attributes
    ----------
    state : int
        What optimizer, rule and averages keep for every weight, as far as it is not there yet.
    gradients : int
        Where all are needed before the optimizer's step: gradients, and sums that wait for those of other
        shards.
    activations : int
        Of a batch, or of the largest of its shards, on the way forward and backward.
    evaluation : int
        Of the batches of an evaluation after every epoch.
    copies : int
        Of the network: the best one, or the one with averages for weights.
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


def needs(trainer: TrainerLike, batch: int, validation: int = 0, *, listed: bool = False) -> Needs:
    """What training with batches of so many samples takes, and evaluating so many (0: none).

    ``listed``: inputs are a sparse X, of which only what is not 0 is packed.
    """
    net = trainer.network
    dtype, evaluation = net.variable_dtype, 0
    if validation:
        widths = [*_shared_widths(layer.n_out for layer in net.layers if _uses_shared(layer)), net.n_in]
        evaluation = _tile_bytes(widths, net.batch_for(validation, None), dtype)
    shard = -(-batch // (trainer.shards or 1))
    return Needs(
        _state(trainer), _gradients(trainer), _tile_bytes(_step_widths(trainer, listed), shard, dtype),
        evaluation, _copies(trainer, validates=validation > 0),
    )  # fmt: skip


def refuse_if_short(
    trainer: TrainerLike, batch: int, validation: int, *, listed: bool = False, held: int = 0
) -> None:
    """MemoryError if :func:`needs` is more than there is, naming the batch size that would fit.

    ``held`` bytes of it are held already.
    """
    available = memory_available(swap=True)
    if available is None:
        return

    def total(size: int) -> int:
        return needs(trainer, size, validation, listed=listed).total - held

    needed = needs(trainer, batch, validation, listed=listed)
    if needed.total - held <= available:
        return
    fits = 0
    for bit in reversed(range(batch.bit_length())):  # the largest, bit by bit: a batch takes more than a part
        if fits + (1 << bit) < batch and total(fits + (1 << bit)) <= available:
            fits += 1 << bit
    cure = f"batch_size={fits} would fit" if fits else "not even one sample at a time would fit"
    if trainer.shards in (None, 1) and batch > 1:
        cure += ", and Trainer(shards=) computes the parts of a batch one after the other"
    raise MemoryError(
        f"training with batch_size={batch} needs at least {readable(needed.total)} beside the network "
        f"({needed}) and {readable(available + held)} are available: {cure}"
    )


# --- what stays


def _state(trainer: TrainerLike) -> int:
    net, optimizer, rule = trainer.network, trainer.optimizer, trainer.rewiring
    fresh, found = not trainer.owns_state(), 0
    for parameter in net.tree.parameters.values():
        if fresh:
            found -= sum(parameter.field_bytes(kind) for kind in parameter.fields.values() if kind.state)
            found += sum(parameter.field_bytes(kind) for kind in optimizer.fields.values())
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
        max(copies, int(q.uses > 1)) * q.packed_size() * item_bytes(q.dtype)
        for q in trainer.network.tree.parameters.values()
    )


def _copies(trainer: TrainerLike, *, validates: bool) -> int:
    found, parameters = 0, trainer.network.tree.parameters.values()
    kept = trainer.optimizer.fields.values()
    for callback in trainer.callbacks:
        if isinstance(callback, EarlyStopping) and callback.restore_best:
            found += sum(parameter.copy_bytes(kept) for parameter in parameters)
        if isinstance(callback, WeightAverage) and validates:
            found += sum(parameter.copy_bytes(()) for parameter in parameters)
    return found


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
