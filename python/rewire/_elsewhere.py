"""What it takes to do a part of the work in another process: things that travel there, and how it ended."""

from __future__ import annotations

import pickle
import signal
import sys
from collections.abc import Iterable
from typing import Any

from rewire._registry import Registry

__all__ = ["foreign_kinds", "how_it_ended", "pickled", "register_kinds"]


def pickled(thing: Any, cure: str) -> bytes:
    """By reference where another process can import it, else by value where cloudpickle is there.

    Raises
    ------
    TypeError
        Where neither works; ``cure`` says what else there is to do.
    """
    words = ""
    try:
        found = pickle.dumps(thing)
    except MemoryError:
        raise
    except Exception as error:  # a lambda, something local, whatever a class of somebody's says
        words = f"{type(error).__name__}: {error}"
    else:
        if b"__main__" not in found:
            _refuse_hidden(thing, cure)
            return found
        words = "it is defined in a notebook, a session or the script itself"
    by_value = _cloudpickle()
    if by_value is None:
        raise TypeError(
            f"it cannot be taken into a process that is started for it ({words}): put it into a module, "
            f"install cloudpickle, or {cure}"
        )
    try:
        return bytes(by_value.dumps(thing))
    except MemoryError:
        raise
    except Exception as error:
        raise TypeError(
            f"it cannot be taken into a process that is started for it ({type(error).__name__}: {error}); "
            f"{cure}"
        ) from error


def _refuse_hidden(thing: Any, cure: str) -> None:
    """TypeError for what comes from a module that this process has and another would not find."""
    package = str(getattr(thing, "__module__", None) or "builtins").partition(".")[0]
    if not any(finder.find_spec(package, None) for finder in sys.meta_path if hasattr(finder, "find_spec")):
        raise TypeError(
            f"it cannot be taken into a process that is started for it (no module {package!r} is found by an "
            f"import): put it into a module, or {cure}"
        )


def _cloudpickle() -> Any:
    """The module, or None: it comes with joblib, and in older ones is a part of that."""
    try:
        import cloudpickle
    except ImportError:
        try:
            from joblib.externals import cloudpickle
        except ImportError:
            return None
    return cloudpickle


def foreign_kinds(words: str, cure: str) -> list[tuple[str, bytes]]:
    """Classes that are registered here and do not come with rewire, pickled, each with its registry's word.

    Parameters
    ----------
    words : str
        Descriptions of what is built there: a class that cannot be pickled matters if its name is in there.
    cure : str
        As for :func:`pickled`.

    Raises
    ------
    TypeError
        For such a class.
    """
    found = []
    for kinds in Registry.all:
        for kind in kinds.classes():
            if kind.__module__.partition(".")[0] == "rewire":
                continue
            try:
                found.append((kinds.argument, pickled(kind, cure)))
            except TypeError as error:
                if kind.__name__ in words or f'"{getattr(kind, "name", kind.__name__)}"' in words:
                    raise TypeError(f"{kinds.argument} {kind.__name__}: {error}") from error
    return found


def register_kinds(kinds: Iterable[tuple[str, bytes]]) -> None:
    """Make classes known here that :func:`foreign_kinds` gave there.

    Those of modules that cannot be imported here are left out: who needs one is told that it is unknown.
    """
    known = {registry.argument: registry for registry in Registry.all}
    for argument, data in kinds:
        try:
            kind = pickle.loads(data)
        except Exception:
            continue
        if argument in known and kind not in known[argument].classes():
            known[argument].register(kind)


def how_it_ended(code: int) -> str:
    """Words for what the exit code of a process says."""
    if code >= 0:
        return f"ended with exit code {code}"
    names = {number.value: number.name for number in signal.Signals}
    memory = ", maybe for want of memory" if -code == getattr(signal, "SIGKILL", None) else ""
    return f"was killed by {names.get(-code, f'signal {-code}')}{memory}"
