"""One of those that are compared: its name, its options or its function, and how it gets into a process."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rewire._checks import describe, one_of_types
from rewire._elsewhere import pickled
from rewire.datasets import Dataset
from rewire.network import Sequential
from rewire.recipe import Recipe, beside, dotted
from rewire.trainer import Trainer

__all__ = ["Contender", "contenders_of", "grid", "naming"]

_PARTS = ("activation", "connectivity", "init", "loss", "optimizer", "preset", "rewiring", "schedule")


@dataclass
class Contender:
    """A network to be built and trained, under a name.

    Attributes
    ----------
    name : str
    options : dict
        See `rewire.recipe.Recipe`; with ``build`` those of training alone count.
    own : frozenset of str
        The options that are not common to all.
    build : callable, optional
        ``build(data, seed)`` gives a Trainer, a Sequential or layers; it gets ``epochs`` and ``weights`` too
        if it has parameters of these names.
    weights : int, optional
        Weights that it must not have more of.
    """

    name: str
    options: dict[str, Any]
    own: frozenset[str] = frozenset()
    build: Callable[..., Any] | None = None
    weights: int | None = None
    note: str = field(default="", compare=False)  # what was done to it, for the table

    @property
    def recipe(self) -> Recipe:
        """The options, checked."""
        return Recipe(self.options)

    def trainer(
        self, data: Dataset, *, seed: int, epochs: int | None = None, threads: int | None = None
    ) -> Trainer:
        """A new network and its trainer, for a run of so many epochs."""
        recipe = self.recipe
        epochs = recipe.epochs if epochs is None else epochs
        if self.build is None:
            return recipe.trainer(data, seed=seed, epochs=epochs, threads=threads)
        takes = inspect.signature(self.build).parameters
        also = {"epochs": epochs, "weights": self.weights}
        found = self.build(data, seed, **{name: value for name, value in also.items() if name in takes})
        if isinstance(found, Trainer):
            found.threads = threads
            return found
        if isinstance(found, list | tuple):
            found = list(found)
        elif not isinstance(found, Sequential):
            raise TypeError(
                f"{described(self.build)['function']} must give a Trainer, a Sequential or a list of layers, "
                f"got {describe(found)}"
            )
        return recipe.trainer(data, seed=seed, epochs=epochs, threads=threads, network=found)

    def check_weights(self, weights: int) -> None:
        """ValueError if a function has made a network with more weights than it may have."""
        if self.build is not None and self.weights is not None and weights > self.weights:
            raise ValueError(
                f"its network must have at most {self.weights:,} weights, got {weights:,}: a function that "
                "has a parameter called weights is told how many"
            )

    def description(self) -> dict[str, Any]:
        """JSON-able: what tells this contender from another.

        Raises
        ------
        TypeError
            For an option that has no description; it is named.
        """
        said = {}
        for name, value in sorted(self.options.items()):
            try:
                said[name] = described(value)
            except TypeError as error:
                raise TypeError(f"{name} {error}") from None
        if self.build is not None:
            said["build"] = described(self.build)
        return said

    def pickled(self) -> bytes:
        """The contender for another process.

        Raises
        ------
        TypeError
            If it holds what no other process can find.
        """
        return pickled(self, "give jobs=0, which runs everything in this process")


def contenders_of(contenders: Any, common: Mapping[str, Any]) -> list[Contender]:
    """From names with options or functions, each beside what is common to all.

    Raises
    ------
    TypeError, ValueError
        For something else; the name is in the message.
    """
    expected = "a dict of names and options, such as {'SET': {'rewiring': 'set'}}, or what rewire.grid gives"
    one_of_types("contenders", contenders, Mapping, expected)
    if not contenders:
        raise ValueError("contenders must hold at least one, got none")
    common = dotted(common)
    found = []
    for name, given in contenders.items():
        if not isinstance(name, str) or not name.strip():
            raise TypeError(f"contenders must have words for names, got {describe(name)}")
        if not callable(given):
            one_of_types(f"contenders[{name!r}]", given, Mapping, "a dict of options or a function")
        with naming(name):
            if callable(given):
                # The network is the function's: what says how to build another one means nothing.
                options = beside(common, {"layers": given})
                del options["layers"]
                found.append(Contender(name, options, build=given))
            else:
                own = dotted(given)
                found.append(Contender(name, beside(common, own), frozenset(own)))
    return found


def grid(options: Mapping[str, Iterable[Any]] | None = None, /, **more: Iterable[Any]) -> dict[str, Any]:
    """Contenders for `rewire.compare`: every combination of some values of some options.

    Parameters
    ----------
    options, **more : iterable
        Values of each option, by its name: ``grid(rewiring=["set", "rigl"], density=[0.01, 0.05])``. A name
        with a dot, such as ``rewiring.fraction``, is a key of ``options`` or written with two underscores.

    Returns
    -------
    dict of str to dict
        Options by name: ``{"set, density=0.01": {"rewiring": "set", "density": 0.01}, ...}``. Dicts of this
        kind are joined by ``|``.

    Raises
    ------
    TypeError, ValueError
        For an unknown name, and for values that are none or not in a list.

    Examples
    --------
    >>> import rewire as rw
    >>> list(rw.grid(rewiring=["static", "set"], hidden=[[300], [100, 100]]))
    ['static, hidden=300', 'static, hidden=100-100', 'set, hidden=300', 'set, hidden=100-100']
    """
    given = dotted({**(options or {}), **more})
    values = {}
    for name, several in given.items():
        if isinstance(several, str) or not isinstance(several, Iterable):
            raise TypeError(f"{name} must be a list of values, got {describe(several)}")
        values[name] = list(several)
        if not values[name]:
            raise ValueError(f"{name} must have at least one value, got none")
    found: dict[str, Any] = {}
    for chosen in itertools.product(*values.values()):
        point = dict(zip(values, chosen, strict=True))
        words = ", ".join(_label(name, value) for name, value in point.items())
        if words in found:
            words = ", ".join(f"{name}={value!r}" for name, value in point.items())
        if words in found:
            raise ValueError(f"values must differ, got {words} twice")
        found[words] = point
    return found


def _label(name: str, value: Any) -> str:
    """An option in the name of a contender."""
    if isinstance(value, str) and name in _PARTS:
        return value
    if isinstance(value, bool) and name == "dense":
        return "dense" if value else "sparse"
    if isinstance(value, list | tuple):
        return f"{name}={'-'.join(map(str, value))}"
    if isinstance(value, float):
        return f"{name}={value:g}"
    if value is None or isinstance(value, str | int):
        return f"{name}={value}"
    return type(value).__name__ if hasattr(value, "config") else f"{name}={value!r}"


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Errors inside say which contender they are about."""
    kinds = (TypeError, ValueError, MemoryError, NotImplementedError)
    try:
        yield
    except kinds as error:
        kind = next(kind for kind in kinds if isinstance(error, kind))
        raise kind(f"contender {name!r}: {error}") from error


# --- what it is, in JSON


def described(value: Any) -> Any:
    """JSON-able: what tells a value from another; TypeError for one that has no description."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [described(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): described(each) for key, each in value.items()}
    config = getattr(value, "config", None)
    if callable(config):
        try:
            return described(config())
        except NotImplementedError:  # of a class or a function of one's own
            return {
                "type": f"{type(value).__module__}.{type(value).__qualname__}",
                "value": repr(value)[:200],
            }
    if callable(value):
        word = getattr(value, "__qualname__", type(value).__qualname__)
        said = {"function": f"{getattr(value, '__module__', '')}.{word}"}
        try:
            text = inspect.getsource(value)
        except (OSError, TypeError):
            return said
        return {**said, "source": hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}
    if not isinstance(value, np.ndarray) and (params := getattr(value, "__dict__", None)) is not None:
        return {"type": type(value).__qualname__, **{name: described(each) for name, each in params.items()}}
    raise TypeError(
        f"must be a number, a word, a function or something with a config(), got {describe(value)}"
    )
