"""Options that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from rewire import datasets
from rewire._precision import DTYPES
from rewire.cli._types import assignment, in_unit, number, whole, word
from rewire.connectivity import connectivity_names
from rewire.rewiring import rewiring_names

__all__ = [
    "STANDARDIZE", "YES_OR_NO", "add_activation", "add_choice", "add_command", "add_connectivity",
    "add_data", "add_density", "add_dropout", "add_dtype", "add_group", "add_imports", "add_init",
    "add_json", "add_registered", "add_rewiring", "add_samples", "add_seed", "add_standardize",
    "add_threads",
]  # fmt: skip

YES_OR_NO = {"yes": True, "no": False}
STANDARDIZE: dict[str, bool | str] = {**YES_OR_NO, "scale": "scale"}


def add_command(commands: Any, name: str, help_: str) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")


def add_data(parser: Any, help_: str, required: bool = False) -> None:
    names = ", ".join(datasets.NAMES)
    parser.add_argument(
        "--data",
        metavar="DATA",
        required=required,
        help=f"{help_}: {names} or FILE.npz (arrays X and y; X_test and y_test if there is a test set; "
        "for X also what scipy.sparse.save_npz stores of a CSR matrix), FILE.h5 (data sets of the same "
        "names), or a table, FILE.csv, .tsv, .parquet or .npy; train and eval take a pattern of many files, "
        "'DIR/*.parquet' in quotes, of which every worker reads its own. A y of integers, booleans or words "
        "holds classes, one of floating point numbers to predict, columns of 0 and 1 as integers labels; "
        "--loss goes before that: mse, huber and poisson read numbers, cross_entropy reads classes",
    )
    _add_column(parser, "(default: the last one)")


def _add_column(parser: Any, usual: str) -> None:
    parser.add_argument(
        "--y", metavar="COLUMN",
        help=f"column of a table that is y, by its name or its number, below 0 from the end {usual}; beside "
        "FILE.npy also another FILE.npy",
    )  # fmt: skip


def add_imports(parser: Any) -> None:
    parser.add_argument(
        "--import", dest="modules", action="append", metavar="MODULE",
        help="import a module or a FILE.py first, which runs it: what it registers (activations, rules, "
        "losses, layers, optimizers) can be named; may be repeated",
    )  # fmt: skip


def add_samples(parser: Any, help_: str) -> None:
    names = ", ".join(datasets.NAMES)
    parser.add_argument(
        "--data", metavar="DATA", required=True,
        help=f"{help_}: {names} or FILE.npz (array X, or what scipy.sparse.save_npz stores of a CSR matrix), "
        "FILE.h5, or a table, FILE.csv, .tsv, .parquet or .npy; X alone is learnt from, and X_test treated "
        "alike; y and y_test are carried along, where they are",
    )  # fmt: skip
    _add_column(parser, "(default: none, all are features)")


def add_density(network: Any, usual: str) -> Any:
    """Connections of a network; returns the group of options of which one alone may be given."""
    density = network.add_mutually_exclusive_group()
    words = "epsilon*(n_in+n_out) connections in a layer"
    density.add_argument("--epsilon", type=number(0), help=f"{words} {usual}")
    density.add_argument("--density", type=in_unit(above_zero=True),
        help="connections of the whole network, as a fraction of those of a dense one",
    )  # fmt: skip
    return density


def add_activation(network: Any, names: Sequence[str], help_: str) -> None:
    add_registered(network, "--activation", names, help_)
    network.add_argument(
        "--activation-opt", type=assignment, action="append", metavar="NAME=VALUE",
        help="option of the activation, such as fraction=0.3 of k-winners; may be repeated",
    )  # fmt: skip


def add_dropout(network: Any, usual: str) -> None:
    fraction = in_unit(below_one=True)
    network.add_argument("--dropout", type=fraction, help=f"after hidden layers {usual}")


def add_init(network: Any, usual: str) -> None:
    add_choice(network, "--init", ("he", "xavier", "normal", "fan-in"), f"of the weights {usual}")


def add_connectivity(network: Any) -> None:
    add_registered(
        network, "--connectivity", connectivity_names(), "where links are at first (default: random)"
    )
    network.add_argument(
        "--connectivity-opt", type=assignment, action="append", metavar="NAME=VALUE",
        help="option of the connectivity, such as beta=0.5; may be repeated",
    )  # fmt: skip


def add_group(network: Any, usual: str) -> None:
    network.add_argument(
        "--group", type=int, choices=(1, 2, 4, 8), help=f"neurons that share their sources {usual}"
    )


def add_dtype(network: Any) -> None:
    network.add_argument("--dtype", choices=DTYPES, help="of arithmetic (default: float32)")


def add_rewiring(parser: Any) -> None:
    rewiring = parser.add_argument_group("rewiring")
    rewiring.add_argument(
        "--rewiring", type=word(rewiring_names()), metavar="RULE",
        help=f"set (default), static for none, or {', '.join(_other_rules())}",
    )  # fmt: skip
    rewiring.add_argument(
        "--rewiring-opt", type=assignment, action="append", metavar="NAME=VALUE",
        help="option of the rule, such as fraction=0.3; may be repeated (`rewire rules RULE` lists them)",
    )  # fmt: skip


def add_standardize(training: Any) -> None:
    add_choice(
        training, "--standardize", tuple(STANDARDIZE),
        "bring every feature to mean 0 and deviation 1; scale: do not subtract the mean (default: yes)",
    )  # fmt: skip


def add_seed(training: Any) -> None:
    training.add_argument(
        "--seed", type=whole(0), help="of everything random; equal seeds give equal bits (default: 0)"
    )


def add_choice(parser: Any, option: str, words: Sequence[str], help_: str) -> None:
    parser.add_argument(option, type=word(words), choices=words, help=help_)


def add_registered(parser: Any, option: str, names: Sequence[str], help_: str) -> None:
    """A word that a registry knows when the option is used: a module may be imported before that."""
    metavar = option.removeprefix("--").upper()
    parser.add_argument(option, type=word(names), metavar=metavar, help=f"{', '.join(names)}; {help_}")


def add_threads(parser: Any, default: str = "see `rewire info`") -> None:
    parser.add_argument("--threads", type=int, metavar="N", help=f"-1 for all (default: {default})")


def add_json(parser: Any) -> None:
    parser.add_argument("--json", metavar="FILE", help="write what was measured, as JSON")


def _other_rules() -> list[str]:
    return [name for name in rewiring_names() if name not in ("set", "static")]
