"""Narrower layers in the place of wider ones, once it is known that they compute the same.

A layer says itself what is left of it (`Layer.keep`), and one from outside may be wrong: its outputs may
depend on a neuron's number, or on numbers that it keeps outside of parameters and buffers. So every narrower
layer runs once beside the old one, before anything changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._structure import Mask
from rewire.layers import Layer
from rewire.layers.base import outputs_alone
from rewire.layers.dependence import Narrower
from rewire.layers.tree import Tree
from rewire.network import Sequential

__all__ = ["Values", "narrow", "refuse_unlike"]

Values = NDArray[np.float64]  # of one boundary: the constant that a value is, nan where it varies

REMEDY = (
    'keep what belongs to single neurons in a Buffer or a DenseParameter with axes=("out",), or let the '
    "class define keep() (see rewire.Layer)"
)
SCALES = (1.0, 0.1, 10.0, 100.0)  # of the inputs that a layer is tried with: what it does far out shows too
NEARBY = 2.0**10  # how far other inputs are, in rounding errors: their outputs tell what rounding may do


def narrow(network: Sequential, stays: Sequence[Mask], values: Sequence[Values]) -> None:
    """Make the narrower layers beside the old ones, compare, and put them in their place.

    Parameters
    ----------
    network : Sequential
    stays : sequence of ndarray of bool
        By boundary, the neurons that stay.
    values : sequence of ndarray of float64
        By boundary, the constants.

    Raises
    ------
    TypeError
        Naming a layer that cannot be narrower. Nothing has changed.
    """
    config, arrays, changed = network.config(None), {}, []
    for at, layer in enumerate(network.layers):
        inputs, outputs, name = stays[at], stays[at + 1], f"layers.{at}"
        if inputs.all() and outputs.all():
            continue
        found = _kept(layer, inputs, outputs, values[at])
        changed.append(at)
        config["layers"][at] = found.config
        for part, described in found.parts.items():
            config["buffers" if part.startswith("buffer.") else "parameters"][f"{name}.{part}"] = described
        arrays.update({f"{name}.{key}": a for key, a in found.arrays.items()})
    made = network.remade(config, {**network.arrays(None), **arrays})
    for at in changed:
        _refuse_other_outputs(network.layers[at], made.layers[at], stays[at], stays[at + 1], values[at])
    network.take_over(made)


def refuse_unlike(layers: Sequence[Layer], stays: Sequence[Mask]) -> None:
    """TypeError naming one of these layers without connections that cannot be narrower; nothing changes."""
    for at, layer in enumerate(layers):
        inputs, outputs, values = stays[at], stays[at + 1], np.full(layer.n_in, np.nan)
        if (inputs.all() and outputs.all()) or not (inputs.any() and outputs.any()):
            continue
        made = _built(layer, _kept(layer, inputs, outputs, values), int(inputs.sum()))
        _refuse_other_outputs(layer, made, inputs, outputs, values)


def _kept(layer: Layer, inputs: Mask, outputs: Mask, values: Values) -> Narrower:
    """What is left of a layer; TypeError unless its constructor makes a layer of these widths of it."""
    found = layer.keep(inputs, outputs, np.where(inputs | np.isnan(values), 0.0, values))
    n_in, n_out = int(inputs.sum()), int(outputs.sum())
    made, why = None, ""
    try:
        made = type(layer).from_config(found.config)
        made.connect(n_in)
        shapes = {name: list(q.shape) for name, q in made.parameters().items()}
        shapes |= {f"buffer.{name}": list(buffer.shape) for name, buffer in made.buffers().items()}
        same = shapes == {name: part["shape"] for name, part in found.parts.items()}
    except (TypeError, ValueError) as error:
        same, why = False, f" ({error})"
    if made is None or not same or (made.n_in, made.n_out) != (n_in, n_out):
        given = {name: value for name, value in found.config.items() if name != "type"}
        raise TypeError(
            f"{layer.label} cannot be made narrower: of {given} its constructor makes no layer of {n_in} "
            f"-> {n_out}{why}: arguments that say widths must be called n_in and n_out, or the class must "
            "define keep() (see rewire.Layer)"
        )
    return found


def _built(layer: Layer, found: Narrower, n_in: int) -> Layer:
    """A layer without connections, alone, of what :func:`_kept` gave."""
    made = type(layer).from_config(found.config)
    made.connect(n_in)
    tree, seed, dtype = Tree([made]), layer.network_seed, layer.compute_dtype
    for name, each in tree.layers.items():
        each.build(seed=seed, index=layer.index, name=name, depth=None, dtype=dtype)
    for name, parameter in tree.parameters.items():
        parameter.build(name=name, owner=made, seed=seed, dtype=dtype, draw=False)
    config: dict[str, dict[str, Any]] = {"parameters": {}, "buffers": {}}
    for part, described in found.parts.items():
        config["buffers" if part.startswith("buffer.") else "parameters"][f"layers.0.{part}"] = described
    tree.restore(config, {f"layers.0.{key}": a for key, a in found.arrays.items()})
    made.name = layer.name
    return made


def _refuse_other_outputs(old: Layer, new: Layer, inputs: Mask, outputs: Mask, values: Values) -> None:
    """TypeError unless outputs that stay are what they were, for inputs from a stream of their own.

    Of a layer that draws when it predicts, values tell nothing: it has to run.
    """
    removed = ~inputs
    varying = removed & np.isnan(values)
    compared = outputs & ~old.live_outputs(varying) if varying.any() else outputs
    part = float(NEARBY * np.finfo(old.dtype).eps)
    x, nearby = _tried(old, removed & ~varying, values, part)
    before, again, beside = (_run(old, rows)[:, compared] for rows in (x, x, nearby))
    try:
        after = _run(new, x[:, inputs])[:, compared[outputs]]
    except MemoryError:
        raise
    except Exception as error:  # of somebody's layer
        raise TypeError(
            f"{old.label} cannot be made narrower: with {new.n_in} of its inputs it raises "
            f"{type(error).__name__} ({error}): {REMEDY}"
        ) from error
    if not _same(before, again).all():
        return
    with np.errstate(all="ignore"):
        difference = np.abs(beside - before) + part * np.abs(before)
        room = np.where(np.isfinite(difference), difference, 0.0).max(axis=1, initial=0.0, keepdims=True)
        edge = np.isfinite(before) != np.isfinite(beside)  # of where the layer has finite values
        wrong = ~((np.abs(after - before) <= room) | _same(after, before) | edge)
    if wrong.any():
        row, column = (int(n[0]) for n in np.nonzero(wrong))
        number = int(np.flatnonzero(compared)[column])
        raise TypeError(
            f"{old.label} cannot be made narrower: for the same inputs its output {number} would be "
            f"{after[row, column]:.6g} in the place of {before[row, column]:.6g}: {REMEDY}"
        )


def _tried(layer: Layer, constant: Mask, values: Values, part: float) -> tuple[Values, Values]:
    """Inputs that a layer takes, of several scales, and others nearby; TypeError if it takes none.

    One that raises for them gets inputs in [0, 1], as it has behind a sigmoid.
    """
    draw = np.random.default_rng([layer.index, layer.n_in])
    scales = np.repeat(SCALES, 2)[:, None]
    numbers = scales * draw.standard_normal((len(scales), layer.n_in))
    for x in (numbers, draw.uniform(size=numbers.shape)):
        nearby = x * (1.0 + part * draw.choice([-1.0, 1.0], x.shape))
        for rows, by in ((x, 1.0), (nearby, 1.0 + part)):
            rows[:, constant] = by * values[constant]
        try:
            _run(layer, x)
            _run(layer, nearby)
        except MemoryError:
            raise
        except Exception as error:  # of somebody's layer
            refused = error
        else:
            return x, nearby
    raise TypeError(
        f"{layer.label} cannot be made narrower: whether it would compute the same cannot be tried, for it "
        f"raises {type(refused).__name__} ({refused}) for inputs in [0, 1], as for normal ones"
    ) from refused


def _run(layer: Layer, x: Values) -> NDArray[Any]:
    with np.errstate(all="ignore"):
        return outputs_alone(layer, x)


def _same(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (a == b) | (np.isnan(a) & np.isnan(b))
    return found
