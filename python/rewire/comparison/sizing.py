"""Equal weights: each contender gets as many as it can have without exceeding a number.

Weights are connections, biases do not count. What is changed is what says how many there are: the density or
epsilon of a sparse network, the widths of the hidden layers of a dense one, the density that a pruning rule
ends at, the sizes in a list of layers. Counting needs no network: layers know their numbers before they have
memory.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rewire._format import plural
from rewire.comparison.contender import Contender
from rewire.datasets import Dataset
from rewire.layers import Layer
from rewire.layers.base import KINDS as LAYERS
from rewire.layers.row import connect_row
from rewire.layers.tree import Tree
from rewire.parameters import SparseParameter
from rewire.recipe import COUNTS, Recipe, outputs_of

__all__ = ["resized", "weights_of"]

_LEAST, _MOST = 2.0**-40, 2.0**40  # factors on what a contender asks for
_HALVINGS = 120
_EPSILON = 20.0  # of a sparse layer that says nothing


def weights_of(layers: Sequence[Layer], n_in: int) -> int:
    """The most connections that unbuilt layers in a row will have; they are connected by it.

    Where outputs are no multiple of the group, it depends on the draw how many slots are short ones. Then it
    is the mean with three deviations: one seed in a thousand has more.
    """
    connect_row(layers, n_in)
    total = 0
    for q in Tree(layers).parameters.values():
        if isinstance(q, SparseParameter):
            total += _most_links(q)
        elif q.connects:
            total += q.size
    return total


def _most_links(q: SparseParameter) -> int:
    slots, lacking = q.wanted_slots, -q.n_out % q.group
    if not lacking:
        return slots * q.group
    groups, positions = q.geometry.n_groups, q.geometry.n_positions
    mean = slots * (q.n_in * q.n_out) / positions
    if groups == 1 or positions == 1:
        return round(mean)
    # Slots of the last group are hypergeometric; each lacks so many links.
    variance = slots * (1 / groups) * (1 - 1 / groups) * (positions - slots) / (positions - 1)
    return math.ceil(min(slots * q.group, mean + 3 * lacking * math.sqrt(variance)))


def resized(contender: Contender, data: Dataset, weights: int) -> Contender:
    """The contender with as many weights as it can have, at most ``weights``; its ``note`` says what changed.

    Raises
    ------
    ValueError
        If it cannot have so few, or nothing in it says how many there are.
    """
    found = dataclasses.replace(contender, weights=weights)
    if contender.build is not None:
        return found  # told by its argument, and counted once the network is there
    options, recipe = contender.options, contender.recipe
    rule = recipe.rewiring()
    if rule.starts_full and "density" in inspect.signature(type(rule)).parameters:
        return _pruned(found, recipe, data, weights)
    if options.get("layers") is not None:
        change: Callable[[float], dict[str, Any]] = _scaled_layers(options["layers"])
        said = "sizes of layers"
    elif recipe.dense:
        hidden, between, n_in = recipe.hidden, recipe.activation, int(data.X.shape[1])

        def change(scale: float) -> dict[str, Any]:
            wanted = [min(2**31 - 16, math.floor(n * scale)) for n in hidden]
            return {"hidden": [between.width(n, n_in) for n in wanted]}

        said = "hidden"
    else:
        said, value = _count(options, recipe)
        sizes = [int(data.X.shape[1]), *recipe.hidden, outputs_of(data, recipe.loss(data))]
        full = sum(n * m for n, m in zip(sizes, sizes[1:], strict=False))
        most = {"density": 1.0, "links": full}.get(said, math.inf)

        def change(scale: float) -> dict[str, Any]:
            scaled = min(most, value * scale)
            return {said: max(1, math.floor(scaled)) if said == "links" else scaled}

    def count(scale: float) -> int:
        # Where links are does not matter here, and may take its time to find out.
        left = {name: v for name, v in options.items() if name.partition(".")[0] != "connectivity"}
        return weights_of(Recipe({**left, **change(scale)}).layers(data), int(data.X.shape[1]))

    scale = _largest(count, weights)
    if scale is None:
        raise ValueError(
            f"weights must be at least {count(_LEAST):,}, as few as it can have by its {said}, "
            f"got {weights:,}"
        )
    changed = change(scale)
    note = f"{said} {_shown(changed[said])}" if said in changed else f"{said} x {scale:.3g}"
    if (there := count(scale)) == count(2.0 * scale) < weights:
        note += f", which is all that it can have ({there:,})"
    return dataclasses.replace(found, options={**options, **changed}, note=note)


def _count(options: Mapping[str, Any], recipe: Recipe) -> tuple[str, float]:
    """The option that says how many links a perceptron has: its own, else the preset's."""
    given = {name: options[name] for name in COUNTS if options.get(name) is not None}
    found = given or {name: getattr(recipe.preset, name) for name in COUNTS}
    return next((name, value) for name, value in found.items() if value is not None)


def _largest(count: Callable[[float], int], most: int) -> float | None:
    """The largest factor that leaves at most so many, of a count that never falls; None if none does."""
    low = high = 1.0
    if count(1.0) <= most:
        while count(high) <= most:
            low, high = high, 2.0 * high
            if high > _MOST:
                return _smallest(count, count(low))  # it is full
    else:
        while count(low) > most:
            low, high = 0.5 * low, low
            if low < _LEAST:
                return None
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        there = count(middle)
        low, high = (middle, high) if there <= most else (low, middle)
        if there == most:
            break
    return low


def _smallest(count: Callable[[float], int], most: int) -> float:
    """About the smallest factor that gives so many, which larger ones do not exceed."""
    low, high = 1.0, 1.0
    while count(high) < most:
        low, high = high, 2.0 * high
    for _ in range(_HALVINGS if high > low else 0):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (low, middle) if count(middle) == most else (middle, high)
    return high


def _pruned(contender: Contender, recipe: Recipe, data: Dataset, weights: int) -> Contender:
    """A contender whose rule brings the density down: it ends at so many weights."""
    options = dict(contender.options)
    if not {*COUNTS, "layers"} & contender.own:  # what others begin with is what it is to end with
        options = {name: value for name, value in options.items() if name not in COUNTS}
        if options.get("layers") is None:
            options["density"] = 1.0
    layers = Recipe(options).layers(data)
    connect_row(layers, int(data.X.shape[1]))
    full = sum(q.n_in * q.n_out for q in Tree(layers).sparse)
    rest = sum(
        q.size for q in Tree(layers).parameters.values() if q.connects and not isinstance(q, SparseParameter)
    )
    if weights <= rest:
        raise ValueError(f"weights must be more than {rest:,}, those of its dense layers, got {weights:,}")
    density = min(1.0, (weights - rest) / full)
    options = {name: value for name, value in options.items() if name != "rewiring.density"}
    what = options.get("rewiring")
    if isinstance(what, str):
        options["rewiring.density"] = density
    elif isinstance(what, Mapping):
        options["rewiring"] = {**what, "density": density}
    else:
        options["rewiring"] = recipe.rewiring().set_params(density=density)
    return dataclasses.replace(contender, options=options, note=f"rewiring.density {density:.3g}")


def _scaled_layers(given: Any) -> Callable[[float], dict[str, Any]]:
    """How to bring the sizes in descriptions of layers up or down together."""
    if callable(given) or not any(_sized(one) for one in given):
        raise ValueError(
            "weights needs layers that are described and say how many links they have (density, epsilon, "
            f"links, fan_in), got {'a function' if callable(given) else plural(len(given), 'layer')}"
        )
    return lambda scale: {"layers": [_scaled(one, scale) for one in given]}


def _sized(one: Any) -> bool:
    """Whether a description, or one inside, is of a layer with so many links."""
    if isinstance(one, list | tuple):
        return any(map(_sized, one))
    if not isinstance(one, Mapping) or "type" not in one:
        return False
    takes = inspect.signature(LAYERS.find(one["type"])).parameters
    return "epsilon" in takes or any(_sized(value) for value in one.values())


def _scaled(one: Any, scale: float) -> Any:
    if isinstance(one, list | tuple):
        return [_scaled(each, scale) for each in one]
    if not isinstance(one, Mapping) or "type" not in one:
        return one
    found = {name: _scaled(value, scale) for name, value in one.items()}
    if "epsilon" in inspect.signature(LAYERS.find(one["type"])).parameters:
        if one.get("density") is not None:
            found["density"] = min(1.0, one["density"] * scale)
        elif one.get("links") is not None or one.get("fan_in") is not None:
            name = "links" if one.get("links") is not None else "fan_in"
            found[name] = math.floor(one[name] * scale)
        else:
            found["epsilon"] = (one.get("epsilon") or _EPSILON) * scale
    return found


def _shown(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else f"{value:.4g}"
