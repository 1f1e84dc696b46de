"""``rewire rules``: the rewiring rules by name, and what each can be told."""

from __future__ import annotations

import inspect
import re
import shlex
from argparse import Namespace

from rewire.cli._shared import usage
from rewire.cli._text import entry, say
from rewire.rewiring import rewiring_class, rewiring_names


def run(arguments: Namespace) -> int:
    """Print all rules in a line each, or everything about one; their docstrings say it."""
    if arguments.name is None:
        width = max(map(len, rewiring_names()))
        for name in rewiring_names():
            entry(name, _summary(name), width)
        print()
        say("All about one: rewire rules RULE. To use it: rewire train --rewiring RULE")
        return 0
    with usage():
        rule = rewiring_class(arguments.name)
    print(f"{rule.name}: {_docstring(rule.name)}")
    parameters = list(inspect.signature(rule).parameters.values())
    given = ["--rewiring-opt " + shlex.quote(f"{p.name}={p.default}") for p in parameters]
    print(f"\nDefaults\n--------\n{chr(10).join(given) or 'no options'}")
    return 0


def _summary(name: str) -> str:
    """The first paragraph of a rule's docstring."""
    return " ".join(_docstring(name).partition("\n\n")[0].split())


def _docstring(name: str) -> str:
    """A rule's docstring, without the marks of its markup."""
    text = inspect.getdoc(rewiring_class(name)) or ""
    return re.sub(r":[a-z]+:`~?([^`]+)`", r"\1", text).replace("``", "")
