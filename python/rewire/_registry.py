"""Classes by name, and what an argument stands for that may be a name, an object or a description."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from rewire import _checks

__all__ = ["Registry", "folded"]

T = TypeVar("T")
Class = TypeVar("Class", bound=type[Any])


class Registry(Generic[T]):
    """All kinds of one thing: activations, optimizers, rewiring rules and so on.

    Parameters
    ----------
    argument : str
        What messages call the argument.
    base : type
        Its instances stand for themselves.
    also : str
        What a message offers beside names, such as ``"a dict or an Optimizer"``.
    by_class : bool
        A class is called by ``__name__``, exactly; otherwise by its ``name``, whatever the case, hyphens and
        underscores.
    hint : str
        What to do about an unknown name. Messages list all names but those of classes that have a false
        ``offered``.
    to_save : str
        What makes an object of a class of one's own one that can be saved.

    Attributes
    ----------
    all : list of Registry
        Every one there is: what one's own classes are found in, to be known to another process too.
    argument : str
    """

    all: ClassVar[list[Registry[Any]]] = []

    def __init__(
        self, argument: str, base: type[T], also: str, *, by_class: bool = False, hint: str = "",
        to_save: str = "only those that come with rewire can be",
    ) -> None:  # fmt: skip
        self.argument, self._base, self._also = argument, base, also
        Registry.all.append(self)
        self._by_class, self._hint, self._to_save = by_class, hint, to_save
        self._makers: dict[str, tuple[str, Callable[..., T]]] = {}  # by folded word: the word, its maker
        self._adapters: list[tuple[Callable[[Any], bool], Callable[[Any], T]]] = []

    def register(self, cls: Class) -> Class:
        """Make a class known under its name; TypeError or ValueError for one that cannot be.

        As one without a name, or with the name of another class.
        """
        self._refuse_nameless(cls)
        name = self._name(cls)
        _, known = self._makers.get(self._fold(name), (name, cls))
        if not _same(known, cls):
            raise ValueError(f"cls must have another name: there is {known.__name__} of {known.__module__}")
        self.alias({name: cls})
        return cls

    def alias(self, words: Mapping[str, Callable[..., T]]) -> None:
        """More words, and what makes the objects that they name."""
        self._makers.update({self._fold(word): (word, make) for word, make in words.items()})

    def adapt(self, fits: Callable[[Any], bool], make: Callable[[Any], T]) -> None:
        """Let ``make`` turn arguments that are neither names nor descriptions into objects."""
        self._adapters.append((fits, make))

    def names(self) -> list[str]:
        """The classes' names, sorted, without aliases."""
        makers = self._makers.values()
        return sorted(word for word, make in makers if isinstance(make, type) and word == self._name(make))

    def classes(self) -> list[type[T]]:
        """The classes that have a name here."""
        return list(dict.fromkeys(make for _, make in self._makers.values() if isinstance(make, type)))

    def find(self, word: Any, argument: str | None = None) -> Callable[..., T]:
        """What makes the objects of this name; TypeError or ValueError if nothing does."""
        makers = self._makers.values()
        listed = ", ".join(repr(known) for known, make in makers if getattr(make, "offered", True))
        expected = f"{argument or self.argument} must be one of {listed}"
        if not isinstance(word, str):
            raise TypeError(f"{expected}, {self._also}, got {_checks.describe(word)}{self._hint}")
        if self._fold(word) not in self._makers:
            raise ValueError(f"{expected}, got {_checks.describe(word)}{self._hint}")
        return self._makers[self._fold(word)][1]

    def named(self, word: Any) -> type[T]:
        """The class of this name; TypeError or ValueError if there is none."""
        maker = self.find(word)
        assert isinstance(maker, type), "the word is an alias"
        return maker

    def saved_as(self, thing: T, word: str | None = None) -> str:
        """The class's name for a file, which brings back an object of the same class.

        Parameters
        ----------
        thing : object
        word : str, optional
            What the file will say instead.

        Raises
        ------
        NotImplementedError
            If it would bring back none, or one of another class: a subclass has its base's name until it gets
            one of its own.
        """
        cls = type(thing)
        # `Zeros` has an alias and the name of `Fixed`, which is the same with a value of 0.
        aliased = word is None and any(make is cls for _, make in self._makers.values())
        word = self._name(cls) if word is None else word
        _, known = self._makers.get(self._fold(word), (word, None))
        if aliased or (known is not None and _same(known, cls)):
            return word
        there = "no" if known is None else getattr(known, "__name__", "another")
        raise NotImplementedError(
            f"{cls.__name__} cannot be saved: by the name {word!r} a file brings back "
            f"{there} {self.argument}; {self._to_save}"
        )

    def build(self, given: Any, argument: str | None = None, **besides: Any) -> T:
        """The object that ``given`` stands for: itself, a name, a dict of a name and options.

        Parameters
        ----------
        given : object
        argument : str, optional
            What messages call it here.
        **besides
            Arguments for the constructors that take them; they are no options.

        Raises
        ------
        TypeError, ValueError
            If it is none of these; if an option is none that the constructor takes.
        """
        if isinstance(given, self._base):
            return given
        for fits, make in self._adapters:
            if fits(given):
                return make(given)
        options: dict[str, Any] = {}
        if isinstance(given, Mapping):
            given, options = _checks.named(argument or self.argument, given)
        maker = self.find(given, argument)
        _checks.options(f"{argument or self.argument} {given!r}", options, maker, besides=besides)
        takes = inspect.signature(maker).parameters
        return maker(**options, **{name: value for name, value in besides.items() if name in takes})

    def _refuse_nameless(self, cls: Any) -> None:
        """TypeError or ValueError for what is no class of this kind, or one that no word names."""
        if not (isinstance(cls, type) and issubclass(cls, self._base)):
            raise TypeError(f"cls must be a subclass of {self._base.__name__}, got {_checks.describe(cls)}")
        name = _checks.text("cls.name", self._name(cls) if self._by_class else getattr(cls, "name", None))
        if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name):
            raise ValueError(f"cls.name must be a word such as 'my-rule', got {_checks.describe(name)}")

    def _name(self, cls: type[Any]) -> str:
        return str(cls.__name__ if self._by_class else cls.name)

    def _fold(self, word: str) -> str:
        return word if self._by_class else folded(word)


def _same(known: Callable[..., Any], cls: type[Any]) -> bool:
    """Whether these are one class, or the same definition run twice, as a cell of a notebook is."""
    return known is cls or (known.__module__, getattr(known, "__qualname__", None)) == (
        cls.__module__, cls.__qualname__,
    )  # fmt: skip


def folded(word: str) -> str:
    """A word as it is compared with others: whatever its case, hyphens and underscores."""
    return word.lower().replace("-", "").replace("_", "")
