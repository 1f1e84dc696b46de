"""Text for terminals of any width; for pipes and files lines stay whole, so that tools can read them."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

from rewire._checks import printable
from rewire._format import percent
from rewire.link_counts import readable
from rewire.network import Sequential

__all__ = ["brief", "entry", "network_table", "say", "width"]


def width() -> int | None:
    """Columns of the terminal that standard output goes to (or of COLUMNS); None where it goes elsewhere."""
    if not os.environ.get("COLUMNS", "").isdigit() and not sys.stdout.isatty():
        return None
    return max(20, shutil.get_terminal_size().columns)


def say(text: str) -> None:
    """Print a line, maybe out of a file; what does not fit is broken between words and indented."""
    text, columns = printable(text), width()
    print(textwrap.fill(text, columns, subsequent_indent="  ") if columns and len(text) > columns else text)


def entry(name: str, text: str, room: int) -> None:
    """Print a name and what is said of it, side by side; below each other where there are few columns."""
    columns = width()
    beside = f"{name:{room}}  {text}"
    if columns is None or len(beside) <= columns:
        print(beside)
    elif columns >= room + 42:
        print(textwrap.fill(beside, columns, subsequent_indent=" " * (room + 2)))
    else:
        print(name)
        print(textwrap.fill(text, columns, initial_indent="  ", subsequent_indent="  "))


def network_table(network: Sequential) -> str:
    """The table of ``print(network)``, or where that is too wide some lines for every layer."""
    table, columns = str(network), width()
    if columns is None or max(map(len, table.splitlines())) <= columns:
        return table
    lines = []
    for layer in network.tree.layers.values():
        place = layer.name.removeprefix("layers.")
        if not layer.connects:
            lines.append(f"{place} {layer!r}")
            continue
        group = max(q.group for q in layer.parameters().values() if q.connects)
        kind = type(layer).__name__ + (f" x{group}" if group > 1 else "")
        lines += [
            f"{place} {kind} {layer.n_in} -> {layer.n_out}, {layer.activation.name}",
            f"  {_of(layer.nnz, layer.full)}, {readable(layer.nbytes)}",
        ]
    lines += [
        f"all {network.n_in} -> {network.n_out}",
        f"  {_of(network.nnz, network.size)}, {readable(network.nbytes)}",
    ]
    return "\n".join(lines)


def _of(links: int, size: int) -> str:
    return f"{links:,}/{size:,} ({percent(links / size, 3)})"


def brief(thing: Any) -> str:
    """An optimizer or rule by its name, with the options that are not the defaults."""
    config, usual = thing.config(), type(thing)().config()
    name = config.pop("name")
    told = [f"{key}={_plain(value)}" for key, value in config.items() if usual[key] != value]
    return name + (f"({', '.join(told)})" if told else "")


def _plain(value: Any) -> str:
    """``2 epochs``, ``normal(sigma=0.1)``."""
    if not isinstance(value, Mapping):
        return f"{value:g}" if isinstance(value, float) else str(value)
    there = {key: found for key, found in value.items() if found is not None}
    name = there.pop("name", None)
    if name is None:
        return " ".join(f"{_plain(found)} {key}" for key, found in there.items())
    words = ", ".join(f"{key}={_plain(found)}" for key, found in there.items())
    return f"{name}({words})" if words else str(name)
