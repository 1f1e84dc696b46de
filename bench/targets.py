"""The targets as one table: what was asked, what was measured, met or not.

Reads what the other scripts left in `bench/results/`, and measures nothing. A target whose script has not run
says so. `--write` also writes `docs/benchmarks.md`, `docs/rules.md`, `docs/over_time.md`, `docs/networks.md`,
the tables of `docs/store.md`, `docs/workers.md` and README's, as far as these files have them.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from _docs import write, write_networks, write_over_time, write_rules, write_store, write_workers
from _report import VERDICTS, markdown, results

# Target -> the script that judges it, and what it is about.
TARGETS = {
    "S1": ("kernels", "a training step beats dense"),
    "S2": ("kernels", "a training step beats every sparse library"),
    "S3": ("epoch", "an epoch of Fashion-MNIST with SET"),
    "S4": ("kernels", "two threads"),
    "S5": ("rewiring", "a rewiring costs at most 2 steps"),
    "S6": ("kernels", "batch-1 inference"),
    "S7": ("memory", "bytes per connection"),
    "S8": ("scale", "a random start of 10^8 connections"),
    "S9": ("scale", "lung-shaped networks"),
    "S10": ("scale", "50 million neurons in 24 GiB"),
    "S11": ("store", "one edit of the store"),
    "S12": ("store", "an edit, and a column through the mirror"),
    "S13": ("store", "a few links pruned and grown"),
    "S14": ("store", "store @ x beside SciPy's CSR"),
    "One sample": ("one_sample", "a compiled network, one sample at a time"),
    "bfloat16": ("kernels", "a step in bfloat16"),
    "Batches": ("kernels", "large batches, and batches with an odd end"),
    "Sparse X": ("sparse_inputs", "a step follows what is stored in X"),
    "QuickSelection": ("selection", "features of Madelon"),
    "Giant": ("giant", "fifty million neurons, trained, killed, resumed"),
    "RBM": ("boltzmann", "digits beside scikit-learn's"),
}
SCRIPTS = (
    "quick", "kernels", "epoch", "rewiring", "memory", "training", "online", "small_data", "selection",
    "boltzmann", "scale", "giant", "store", "sparse_inputs", "one_sample",
)  # fmt: skip
RULE_SCRIPTS = ("rules", "published")
TIME_SCRIPTS = ("over_time", "over_time-*", "densities")


def load(scripts: Sequence[str] = SCRIPTS) -> dict[str, dict[str, Any]]:
    """Script -> what it left; scripts that have not run, or left something unreadable, are missing.

    A name with ``*`` stands for all that fit.
    """
    found = {}
    for path in (path for script in scripts for path in sorted(results().glob(f"{script}.json"))):
        try:
            found[path.stem] = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
    return found


def rows(runs: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The table: target, asked, measured, verdict."""
    table = []
    for target, (script, about) in TARGETS.items():
        lines = [j for run in runs.values() for j in run["judgements"] if j["target"] == target]
        table += [[target, line["asked"], line["measured"], VERDICTS[line["met"]]] for line in lines]
        if not lines:
            table.append([target, about, f"bench/{script}.py has not judged it", "not run"])
    return table


def summary(runs: dict[str, dict[str, Any]]) -> str:
    """The table in Markdown, and from which commits and machines it comes."""
    text = markdown("", ["target", "asked", "measured", ""], rows(runs))
    machines = {(run["machine"]["cpu"], run["machine"]["commit"]) for run in runs.values()}
    if len(machines) > 1:
        text += (
            "\nNot one run: "
            + "; ".join(f"{cpu}, commit {commit}" for cpu, commit in sorted(machines))
            + ".\n"
        )
    return text


def main() -> None:
    made = ArgumentParser(description=__doc__.split("\n\n")[0])
    made.add_argument("--write", action="store_true", help="write docs/benchmarks.md from these results")
    arguments = made.parse_args()
    runs = load()
    table = summary(runs)
    print(table)
    (results() / "targets.md").write_text(table)
    if arguments.write:
        if runs:
            print(f"wrote {write(runs, table)}")
        pages = (
            write_rules(load(RULE_SCRIPTS)), write_over_time(load(TIME_SCRIPTS)), write_store(runs),
            write_networks(load(["networks"]).get("networks")),
            write_workers(load(["local_sgd"]).get("local_sgd")),
        )  # fmt: skip
        for page in pages:
            if page is not None:
                print(f"wrote {page}")


if __name__ == "__main__":
    main()
