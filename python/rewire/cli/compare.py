"""``rewire compare``: several networks from several seeds on one data set, in one table."""

from __future__ import annotations

import shlex
from argparse import Namespace
from typing import Any, NoReturn

from rewire import plots
from rewire._checks import printable
from rewire._fileio import write_json
from rewire._signals import terminating
from rewire.cli._shared import (
    INTERRUPTED,
    UsageError,
    check_outputs,
    data_file,
    environment,
    load_data,
    read_json,
    tell,
    usage,
    use_threads,
)
from rewire.cli._types import value_of
from rewire.cli.options import Parser, model_options, recipe_options, set_option
from rewire.comparison import Comparison, compare, grid
from rewire.plots._style import kind_of, kinds
from rewire.progress import print_beside

FAILED = 1


class _Words(Parser):
    """Options inside of an option: what is wrong is wrong usage of the command."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}")


def run(arguments: Namespace) -> int:
    """Compare; returns the exit code."""
    with terminating() as terminated:
        found = _run(arguments)
    if found.interrupted:
        left = (
            f"; go on with --save {arguments.save}"
            if arguments.save
            else "; nothing kept, for want of --save"
        )
        print_beside(
            f"rewire compare: {'terminated' if terminated.received else 'interrupted'}{printable(left)}"
        )
        return 128 + terminated.received if terminated.received else INTERRUPTED
    return FAILED if any("error" in row for row in found) else 0


def _run(arguments: Namespace) -> Comparison:
    inputs = [data_file(arguments.data), data_file(arguments.y), arguments.contenders, arguments.layers]
    check_outputs(arguments.save, arguments.json, inputs=inputs, replaces=arguments.save)
    if arguments.plot is not None:
        _check_picture(arguments)
    use_threads(arguments.threads)
    with usage():
        contenders = _contenders(arguments)
    data = load_data(arguments.data, recipe_options(arguments).get("loss"), arguments.y)
    # What is wrong with the question is wrong usage; what happens to a run is a row.
    with usage():
        found = compare(
            data, contenders, seeds=arguments.seeds, validation=arguments.validation,
            seconds=_number_or_name(arguments.seconds, float),
            weights=_number_or_name(arguments.weights, int),
            jobs=arguments.jobs, threads=arguments.threads, save=arguments.save,
            verbose=0 if arguments.quiet else 1, **recipe_options(arguments),
        )  # fmt: skip
    tell(("" if arguments.quiet else "\n") + str(found))
    if arguments.json is not None:
        write_json(arguments.json, {**found.to_dict(), **environment()})
        print(f"record    {arguments.json}")
    if arguments.plot is not None and any("error" not in row for row in found):
        plots.save(plots.comparison(found, over=arguments.over), arguments.plot)
        print(f"picture   {arguments.plot}")
    return found


# --- which networks


def _contenders(arguments: Namespace) -> dict[str, Any]:
    """All that are named, in the order of grid, --also, file."""
    found: dict[str, Any] = {}
    if arguments.grid:
        values: dict[str, Any] = {}
        for text in arguments.grid:
            name, several = _grid_values(text)
            if name in values:
                raise UsageError(f"--grid: {name} is given twice")
            values[name] = several
        found |= grid(values)
    for text in arguments.also or ():
        name, colon, words = text.partition(":")
        if not colon or not name.strip():
            raise UsageError(f"--also must look like 'dense: --dense --lr 0.01', got {text!r}")
        _add(found, "--also", name.strip(), _parsed(f"--also {name.strip()!r}", shlex.split(words)))
    if arguments.contenders is not None:
        for name, options in _from_file(arguments.contenders).items():
            _add(found, "--contenders", name, options)
    if not found:
        raise UsageError("no network to compare: give --grid, --also or --contenders")
    return found


def _add(found: dict[str, Any], option: str, name: str, options: Any) -> None:
    if name in found:
        raise UsageError(f"{option}: there is a {name!r} already")
    found[name] = options


def _from_file(path: str) -> dict[str, Any]:
    found = read_json("--contenders", path)
    if not isinstance(found, dict) or not all(isinstance(options, dict) for options in found.values()):
        raise UsageError(f"--contenders {path} must hold an object of names, each with an object of options")
    return found


def _grid_values(text: str) -> tuple[str, list[Any]]:
    """``rewiring=set,rigl``: an option and its values, each read as that option is."""
    name, equals, several = text.partition("=")
    if not (equals and several and all(part.isidentifier() for part in name.replace("-", "_").split("."))):
        raise UsageError(f"--grid must look like rewiring=set,rigl, got {text!r}")
    name = name.replace("-", "_")
    values = several.split(";" if ";" in several else ",")
    return name, [_grid_value(name, value.strip()) for value in values]


def _grid_value(name: str, text: str) -> Any:
    action = next((each for each in _words("--grid")._actions if each.dest == name), None)
    if action is None or action.nargs == 0:  # without an option of its own, or one that is there or not
        return value_of(text)
    return _parsed("--grid", [action.option_strings[0], text])[name]


def _words(prog: str) -> _Words:
    parser = _Words(prog=prog, add_help=False, allow_abbrev=False)
    model_options(parser)
    set_option(parser)
    return parser


def _parsed(prog: str, words: list[str]) -> dict[str, Any]:
    return recipe_options(_words(prog).parse_args(words))


# --- the rest


def _number_or_name(text: str | None, kind: type[int] | type[float]) -> Any:
    if text is None:
        return None
    try:
        return kind(text.replace(",", "_") if kind is int else text)
    except ValueError:
        return text


def _check_picture(arguments: Namespace) -> None:
    """Complain now about a picture that could not be drawn or written."""
    check_outputs(arguments.plot, None, inputs=[arguments.save, arguments.json])
    with usage():
        known = kinds()
    if kind_of(arguments.plot) not in known:
        raise UsageError(f"--plot must end with one of {', '.join(known)}, got {arguments.plot}")
    if arguments.over == "curve" and arguments.validation == 0:
        raise UsageError("--over curve needs samples that are held out: give --validation")
