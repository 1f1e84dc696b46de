"""Argument checks with one voice: what the argument is called, what was expected, what came.

Every public function checks its arguments here, so that a wrong one reads the
same everywhere: ``epsilon must be a number > 0, got -3``. A wrong kind of
thing is a ``TypeError``, a wrong value a ``ValueError``.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import operator
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "boolean", "choice", "describe", "detached", "entries", "float_vector", "integer", "named", "noted",
    "number", "one_of_types", "options", "path", "position", "printable", "refuse_iterables",
    "refuse_shadowed", "refuse_sparse", "refuse_word", "seed", "shadowed", "text", "unknown_argument",
]  # fmt: skip

_LONG = 256  # bits of an integer that is not printed: Python refuses it for thousands of digits
_MOST_BITS = sys.float_info.max_exp  # of an integer that float64 can hold
NEAR = 0.6  # a likeness of words from which on one may have been meant by the other
INT64 = 2**63 - 1
MAX_NEURONS = 2**31 - 16  # RW_MAX_WIDTH of sparse_core/store/store.h: sources are int32


def describe(value: Any) -> str:
    """What came, short enough for a message."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, int) and value.bit_length() > _LONG:
        return f"an integer of {value.bit_length()} bits"
    try:
        words = repr(value)
    except ValueError:  # of such an integer within
        return f"a {type(value).__name__} that cannot be printed"
    return words if len(words) <= 80 else words[:77] + "..."


def detached(value: Any, name: str = "the array") -> Any:
    """``value`` itself, or a PyTorch tensor without its gradient, which NumPy would refuse to read.

    TypeError for a masked array that hides values, or a list of such rows: NumPy would read what lies under
    the mask.
    """
    ma = sys.modules.get("numpy.ma")  # importing it takes longer than a small fit
    if ma is not None and (at := _masked(value, ma)) is not None:
        raise TypeError(
            f"{name} must have no masked values, got one {position(at)}: "
            "fill them (numpy.ma.filled), impute them, or leave their rows out"
        )
    if getattr(value, "requires_grad", False) is True and hasattr(value, "detach"):
        return value.detach()
    return value


def _masked(value: Any, ma: ModuleType) -> tuple[int, ...] | None:
    """Where the first value is that a mask hides, in an array or in a list of arrays; None if nowhere."""
    if isinstance(value, ma.MaskedArray):
        if not ma.is_masked(value):
            return None
        return tuple(map(int, np.unravel_index(int(np.argmax(ma.getmaskarray(value))), value.shape)))
    if isinstance(value, list | tuple):
        for i, item in enumerate(value):
            if isinstance(item, ma.MaskedArray) and (at := _masked(item, ma)) is not None:
                return i, *at
    return None


def position(index: Iterable[Any]) -> str:
    """Where in an array: ``in row 3, column 2``."""
    numbers = [str(int(i)) for i in index]
    return ", ".join(f"{of} {i}" for of, i in zip(("in row", "column", "place"), numbers, strict=False))


@contextlib.contextmanager
def noted(words: str) -> Iterator[None]:
    """What code of somebody's raises inside comes with a note: whose code it is, and when."""
    try:
        yield
    except Exception as error:
        error.add_note(words)
        raise


def refuse_shadowed(name: str, thing: Any) -> None:
    """TypeError for an attribute that stands where the class of an object has a method.

    It would be called long afterwards, as a number or whatever it is.
    """
    for word in shadowed(thing):
        value = vars(thing)[word]
        if not callable(value):
            raise TypeError(
                f"{name} ({type(thing).__name__}): its attribute {word!r} must have another name, "
                f"for {word}() is a method; got {describe(value)}"
            )


def shadowed(thing: Any) -> set[str]:
    """The attributes of an object that stand where its class has a method."""
    return vars(thing).keys() & _callables(cast(Any, type(thing)))


@functools.lru_cache(maxsize=256)
def _callables(kind: Any) -> frozenset[str]:
    """Names of what a class has that can be called: its methods above all."""
    return frozenset(word for word in dir(kind) if callable(getattr(kind, word, None)))


def refuse_iterables(name: str, value: Any, shape: str = "(samples, features)") -> None:
    """TypeError for what can only be walked through, such as a generator or a DataLoader, not an array.

    NumPy would make an array of one object of it, and find no shape for a list of pairs.
    """
    if _pairs(value):
        raise TypeError(
            f"{name} must be an array of shape {shape}, got pairs, {describe(value)}: "
            "make one array of the first of each pair and another of the second, and give them as X and y, "
            "or a DataLoader, which makes batches of them"
        )
    if hasattr(value, "__iter__") and (isinstance(value, Mapping) or not hasattr(value, "__getitem__")):
        array_like = ("__array__", "__array_interface__", "__dlpack__", "__dataframe__", "tocsr")
        if not any(hasattr(value, attribute) for attribute in array_like):
            raise TypeError(
                f"{name} must be an array of shape {shape}, got an iterable, "
                f"{describe(value)}: make one array of its pieces (np.concatenate, np.asarray(list(...))), "
                "or train on one piece after the other (partial_fit of an estimator); "
                "Trainer.fit and evaluate, and Sequential.predict, take what gives batches as it is"
            )


def refuse_sparse(name: str, value: Any, instead: str) -> None:
    """TypeError for a sparse matrix, of which NumPy would make an array of one object."""
    if hasattr(value, "tocsr"):
        raise TypeError(f"{name} must be a dense array, got a sparse one: {instead}")


def _pairs(value: Any) -> bool:
    """Whether this is a list of ``(x, y)``, or a Dataset of PyTorch's that gives such pairs."""
    if hasattr(value, "__array__") or not (hasattr(value, "__getitem__") and hasattr(value, "__len__")):
        return False
    try:
        first = value[0]
        return isinstance(first, (list, tuple)) and len(first) == 2 and np.ndim(first[0]) != np.ndim(first[1])
    except Exception:  # whatever a class of somebody's says: then it is no list of pairs
        return False


def unknown_argument(what: str, name: str, known: Iterable[str], instead: Mapping[str, str]) -> TypeError:
    """The error for an argument that ``what`` does not take: with ``instead``, or a near match."""
    known = list(known)
    hint = instead.get(name)
    if hint is None:
        near = max(known, key=lambda word: likeness(name, word), default="")
        found = likeness(name, near) >= NEAR
        hint = f"did you mean {near!r}?" if found else f"there are {', '.join(known) or 'none'}"
    return TypeError(f"{what} takes no argument {name!r}: {hint}")


def likeness(a: str, b: str) -> float:
    """How much two words have in common, in [0, 1]: letters of a longest common subsequence, over all.

    difflib's ratio does as much, and takes a twentieth of the time of importing this package.
    """
    lengths = [0] * (len(b) + 1)
    for letter in a:
        before = 0
        for i, other in enumerate(b, start=1):
            before, lengths[i] = lengths[i], before + 1 if letter == other else max(lengths[i - 1 : i + 1])
    return 2.0 * lengths[-1] / max(1, len(a) + len(b))


def named(argument: str, what: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Name and options in a dict that stands for an object, such as ``{"name": "set", "fraction": 0.2}``."""
    if "name" not in what:
        raise ValueError(f'{argument} must have a "name" where it is a dict, got {describe(what)}')
    return what["name"], {key: value for key, value in what.items() if key != "name"}


def printable(text: str) -> str:
    """``text`` with all but printable characters escaped: what a file says must not steer a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _range(low: float | None, high: float | None, open_low: bool, open_high: bool) -> str:
    """`` > 0``, `` in [0, 1)`` and so on; empty without bounds."""
    if low is not None and high is not None:
        return f" in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
    if low is not None:
        return f" {'>' if open_low else '>='} {low:g}"
    if high is not None:
        return f" {'<' if open_high else '<='} {high:g}"
    return ""


def number(
    name: str,
    value: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """A finite real number between ``low`` and ``high`` (bounds included unless open), as ``float``."""
    kind: type[Exception] = TypeError
    if not isinstance(value, (bool, np.bool_, str, bytes, complex, np.complexfloating)):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            x, kind = float(value), ValueError
            above = low is None or (x > low if open_low else x >= low)
            if math.isfinite(x) and above and (high is None or (x < high if open_high else x <= high)):
                return x
    span = _range(low, high, open_low, open_high)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        kind, span = ValueError, f"{span} within the range of float64"
    raise kind(f"{name} must be a number{span}, got {describe(value)}")


def integer(name: str, value: Any, *, low: int | None = None, high: int | None = None) -> int:
    """An integer between ``low`` and ``high`` (both included), as ``int``. ``True`` is not one.

    What has no bound of its own is bounded by int64: a count beyond it is a slip of the pen, and whoever
    compares it with another one, divides by it or writes it into a file would notice much later.
    """
    least, most = -INT64 - 1 if low is None else low, INT64 if high is None else high
    if type(value) is int and least <= value <= most:
        return value
    kind: type[Exception] = TypeError
    n = None
    if not isinstance(value, (bool, np.bool_)):
        with contextlib.suppress(TypeError):
            n, kind = operator.index(value), ValueError
            if least <= n <= most:
                return n
    beyond = n is not None and not -INT64 - 1 <= n <= INT64  # a bound on one side tells nothing then
    if (low is not None and high is not None) or beyond:
        span = f" in [{least}, {most}]"
    else:
        span = f" >= {low}" if low is not None else f" <= {high}" if high is not None else ""
    raise kind(f"{name} must be an integer{span}, got {describe(value)}")


def seed(name: str, value: Any) -> int:
    """A seed: an integer in [0, 2^64), or ``None`` for a fresh one from the system."""
    if value is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    return integer(name, value, low=0, high=2**64 - 1)


def boolean(name: str, value: Any) -> bool:
    """``True`` or ``False``."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {describe(value)}")
    return bool(value)


def standardizing(name: str, value: Any) -> bool | str:
    """``True``, ``False`` or ``"scale"``."""
    if isinstance(value, str) and value != "scale":
        raise ValueError(f"{name} must be True, False or 'scale', got {value!r}")
    if not isinstance(value, (bool, np.bool_, str)):
        raise TypeError(f"{name} must be True, False or 'scale', got {describe(value)}")
    return value if isinstance(value, str) else bool(value)


def text(name: str, value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {describe(value)}")
    return value


def choice(name: str, value: Any, options: Iterable[Any]) -> Any:
    """One of ``options``."""
    options = tuple(options)
    for option in options:
        if value is option or (isinstance(value, str) and isinstance(option, str) and value == option):
            return option
    listed = ", ".join(repr(o) for o in options)
    kind = ValueError if isinstance(value, str) else TypeError
    if any(isinstance(o, int) for o in options) and isinstance(value, (int, np.integer)):
        kind = ValueError
        if int(value) in options and not isinstance(value, bool):
            return int(value)
    raise kind(f"{name} must be one of {listed}, got {describe(value)}")


def refuse_word(name: str, value: str, expected: str) -> None:
    """ValueError for a word where only ``"auto"`` may stand for a number."""
    if value != "auto":
        raise ValueError(f"{name} must be {expected} or 'auto', got {describe(value)}")


def dtype_name(name: str, value: Any, options: Iterable[str]) -> str:
    """The name of one of some dtypes, given as that, as NumPy's dtype or as a type such as float."""
    if isinstance(value, (type, np.dtype)):
        with contextlib.suppress(TypeError):
            value = np.dtype(value).name
    return str(choice(name, value, options))


def path(name: str, value: Any) -> str:
    """Where a file is: a string or a path."""
    try:
        found = os.fsdecode(value)
        possible = b"\0" not in os.fsencode(found)
    except TypeError:
        raise TypeError(f"{name} must be a string or a path, got {describe(value)}") from None
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise ValueError(f"{name} must be a name that a file can have, got {describe(value)}")
    return found


def one_of_types(name: str, value: Any, types: type | tuple[type, ...], expected: str) -> Any:
    """An instance of one of ``types``, described by ``expected``."""
    if not isinstance(value, types):
        raise TypeError(f"{name} must be {expected}, got {describe(value)}")
    return value


def float_vector(name: str, value: Any, length: int, *, low: float | None = None) -> NDArray[np.float64]:
    """``length`` finite real numbers, as a contiguous float64 array.

    Raises
    ------
    TypeError
        If ``value`` does not hold real numbers.
    ValueError
        For another shape, a value that is not finite, or one below ``low``; position and value are named.
    """
    value = detached(value, name)
    try:
        x = np.asarray(value)
    except ValueError as error:
        raise TypeError(f"{name} must be an array of {length} numbers, got {describe(value)}") from error
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {x.dtype}")
    if x.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},), got {x.shape}")
    x = np.ascontiguousarray(x, dtype=np.float64)
    bad = ~np.isfinite(x) if low is None else ~(np.isfinite(x) & (x >= low))
    if bad.any():
        at = int(np.argmax(bad))
        bound = "" if low is None else f" and >= {low:g}"
        raise ValueError(f"{name} must be finite{bound}, got {x[at]} at position {at}")
    return x


def options(
    what: str, given: Iterable[str], takes: Callable[..., Any], *, besides: Iterable[str] = ()
) -> None:
    """That every name is that of a parameter, but for those ``besides``; a TypeError lists them."""
    known: list[str] | None = None
    for name in given:
        if known is None:  # signatures take half a millisecond to read: not where nothing was given
            known = [key for key in inspect.signature(takes).parameters if key not in besides]
        if name not in known:
            raise TypeError(f"{what} takes {', '.join(known) or 'no options'}, got {name!r}")


def entries(what: str, given: Any, known: Iterable[str]) -> Mapping[str, Any]:
    """A mapping with exactly these keys, as files hold them; ValueError names the first odd one."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} must be a dict, got {describe(given)}")
    known = tuple(known)
    for name in given:
        if name not in known:
            raise ValueError(f"{what} holds {describe(name)}, which is unknown")
    for name in known:
        if name not in given:
            raise ValueError(f"{what} lacks {name!r}")
    return given
