"""What `rewire select` and `rewire encode` share: samples, and estimators by the options that were given."""

from __future__ import annotations

import argparse
import contextlib
import warnings
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from rewire import datasets
from rewire.cli._common import STANDARDIZE
from rewire.cli._shared import UsageError, refuse_data
from rewire.cli.options import coder_options
from rewire.datasets._samples import Samples, load_samples, samples_of
from rewire.errors import InterruptedWarning

__all__ = ["coder_parameters", "heading", "learning", "load"]

# Parameters of estimators that have another name than their option; each estimator has one of these.
_NAMES = {
    "hidden": ("n_components",),
    "epochs": ("max_iter", "n_iter"),
    "lr": ("learning_rate_init", "learning_rate"),
}
_ELSEWHERE = ("rewiring_opt", "activation_opt", "connectivity_opt", "seed", "threads")  # no parameters


def load(name: str, y: str | int | None) -> Samples:
    """The samples of --data; ``y`` is a column of a table that is no feature."""
    refuse_data(name, y)
    return samples_of(datasets.load(name)) if name in datasets.NAMES else load_samples(name, y)


def heading(samples: Samples) -> str:
    """What there is to learn from, in words."""
    tested = 0 if samples.X_test is None else samples.X_test.shape[0]
    return (
        f"{samples.name}: {samples.X.shape[0]:,} samples, {tested:,} for the test, "
        f"{samples.X.shape[1]:,} features, from {samples.source}"
    )


def coder_parameters(kind: Any, arguments: Namespace) -> dict[str, Any]:
    """Parameters of an estimator's class, from what was given.

    Raises
    ------
    UsageError
        For an option that the estimator has no parameter for, or that does nothing beside the others.
    """
    usual = kind().get_params(deep=False)
    found = _rule(arguments) | _described("activation", arguments) | _described("connectivity", arguments)
    for option in _options():
        value = getattr(arguments, option, None)
        if value is None or option in _ELSEWHERE:
            continue
        name = next((one for one in _NAMES.get(option, (option,)) if one in usual), None)
        if name is None:
            raise UsageError(f"--{option.replace('_', '-')} does nothing with --model {arguments.model}")
        found.setdefault(name, STANDARDIZE[value] if option == "standardize" else value)
    return found


def _options() -> list[str]:
    parser = argparse.ArgumentParser(add_help=False)
    coder_options(parser, machine=True)
    return [action.dest for action in parser._actions]


def _rule(arguments: Namespace) -> dict[str, Any]:
    """A rule with options of its own; SET has its fraction alone, the rest of it estimators choose."""
    name, options = arguments.rewiring or "set", dict(arguments.rewiring_opt or ())
    if not options:
        return {}
    if name == "static":
        raise UsageError("--rewiring-opt does nothing without rewiring")
    if name != "set":
        return {"rewiring": {"name": name, **options}}
    for other in options.keys() - {"fraction"}:
        raise UsageError(f"--rewiring-opt of set takes fraction here, got {other!r}")
    return {"drop_fraction": options["fraction"]}


def _described(part: str, arguments: Namespace) -> dict[str, Any]:
    """A part by its name, with options of its own."""
    options = dict(getattr(arguments, f"{part}_opt", None) or ())
    if not options:
        return {}
    if getattr(arguments, part) is None:
        raise UsageError(f"--{part}-opt does nothing without --{part}")
    return {part: {"name": getattr(arguments, part), **options}}


@contextlib.contextmanager
def learning() -> Iterator[None]:
    """Ctrl-C ends the command: of what had less time to learn, nothing is written."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", InterruptedWarning)
        try:
            yield
        except InterruptedWarning:
            raise KeyboardInterrupt from None
