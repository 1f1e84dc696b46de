"""Writes `docs/benchmarks.md` and its sisters: the text is here, every figure comes from the results."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _networks_readme
import _time_readme
from _report import VERDICTS, markdown, results

DOCS = Path(__file__).resolve().parent.parent / "docs"

OPENING = """\
# Benchmarks

Written by `python bench/targets.py --write` from the results of one `make bench`; nothing here is typed by
hand. How figures are measured, and when one is not believed, is in `bench/README.md`.

{machine}

## Targets

"Met" compares the median with what was asked before a line was written. A target with several parts has
several lines. "x dense" is time over the time of the fastest dense step: below 1 sparse wins.

{targets}
"""

SECTIONS = {
    "quick": (
        "The first table",
        "`make bench-quick`: training steps of a Fashion-MNIST epoch beside dense PyTorch, structure fixed.",
    ),
    "epoch": (
        "A whole epoch",
        "Fashion-MNIST with dropout 0.3, All-ReLU and SET after every epoch. The hand-written torch CSR row "
        "has no rewiring at all; scikit-learn's MLP has neither All-ReLU nor dropout.",
    ),
    "kernels": (
        "One layer",
        "GFLOP/s count connections only. The best combination of libraries takes the faster forward and dX "
        "of MKL's optimized handles and torch's CSR, and torch's `sampled_addmm` for the gradient at the "
        "links; that MKL's copies would have to be refreshed after every update is not counted against it. "
        "SparseProp and SparseLab run by their own kernels, without the transposes their layers do around "
        "them.",
    ),
    "rewiring": ("Rewiring", "What changing the structure costs."),
    "training": ("Accuracy and time to it", "Every row at its best of a small learning-rate grid."),
    "small_data": (
        "Small and noisy data",
        "Default estimators on public sets, ten random splits each, one thread. MLP and linear model are "
        "scikit-learn's, with its defaults behind a StandardScaler; in brackets the score on training rows.",
    ),
    "selection": (
        "Feature selection",
        "QuickSelection on Madelon beside scikit-learn's selectors; only those that look at no targets are "
        "its rivals.",
    ),
    "boltzmann": (
        "Boltzmann machines",
        "Sparse restricted Boltzmann machines on the digits beside scikit-learn's dense one.",
    ),
    "online": (
        "A stream in small pieces",
        "`partial_fit` of ten rows, one thread each: the pieces that the stream of an online learner has.",
    ),
    "sparse_inputs": (
        "A sparse X",
        "A step of a network with many features, few of them not 0 in a row; one thread, processor time.",
    ),
    "one_sample": (
        "One sample",
        "Layers and networks that take one sample at a time: as they are in training, and compiled. One "
        "thread, processor time.",
    ),
    "giant": ("Fifty million neurons", "Each part in a process of its own; `make bench-giant`."),
    "scale": ("Scale", "The SET authors' lung-shaped networks, and how cost grows."),
    "memory": ("Memory", "Bytes per connection and per neuron."),
}


RULES = """\
# Rules beside each other

Written by `python bench/targets.py --write` from what `make bench-rules` measured; nothing here is typed by
hand. What the rules are is in [Rewiring](rewiring.md).

{machine}
"""
RULE_SECTIONS = {
    "rules": (
        "At the same budget",
        "Few epochs of one task at one setting: whoever is first here need not be on another.",
    ),
    "published": ("Published directions", "The same code at settings as published."),
}


def write_rules(runs: dict[str, dict[str, Any]]) -> Path | None:
    """Write the page about rules, where they have been measured; returns its path.

    A section that was not measured this time stays as it is, and says itself where it comes from.
    """
    found = [script for script in RULE_SECTIONS if script in runs]
    if not found:
        return None
    page = DOCS / "rules.md"
    before = page.read_text() if page.exists() else ""
    machine = runs[found[0]]["machine"]
    parts = [RULES.format(machine=_facts(machine))]
    for script, (title, text) in RULE_SECTIONS.items():
        if script in runs:
            parts += _section(runs[script], title, text)
        else:
            parts += [f"## {kept}" for kept in before.split("\n## ") if kept.startswith(f"{title}\n")]
    page.write_text("\n".join(parts))
    return page


OVER_TIME = """\
# Accuracy over time

Written by `python bench/targets.py --write` from what `make bench-time` measured; nothing here is typed by
hand. One run for each length, so that every run's learning rate falls over just that run. Settings are
chosen on held-out training samples, dense and sparse alike; the figures are those of the test set at the end
of a run, and nothing is chosen by them. How: `bench/over_time.py` and `bench/_grids.py`.

Machines differ in what they do best: dense products in bfloat16 are quick only where the processor has
instructions for them. So each part says where it was measured.
"""
OVER_TIME_SECTIONS = {
    "over_time": (
        "Dense beside sparse",
        "Lengths are in times of ten epochs of the dense network at its best setting. Every row is the mean "
        "over seeds of runs of that length; it is ahead by points, with the standard error over seeds.",
    ),
    "densities": ("Fewer and fewer weights", "The default network with a share of its links, rule by rule."),
}
MEASURED = "Measured at commit "


@dataclass
class _Part:
    """What one run says on the page about accuracy over time."""

    text: str

    @classmethod
    def of(cls, run: dict[str, Any]) -> _Part:
        commit, torch, cpu, features = (run["machine"][k] for k in ("commit", "torch", "cpu", "features"))
        measured = f"{MEASURED}{commit}, PyTorch {torch}, on {cpu}, {features}:\n"
        return cls("\n".join([measured, *_tables(run)]))

    @property
    def about(self) -> tuple[str, set[str]]:
        """The machine, and the data sets."""
        machine = self.text.partition("\n")[0].partition(" on ")[2]
        return machine, set(re.findall(r"^### (\S+): ", self.text, re.MULTILINE))

    def gives_way_to(self, other: _Part) -> bool:
        """Is all of it measured anew, on such a machine?"""
        (machine, data), (its, theirs) = self.about, other.about
        return machine == its and data <= theirs

    def without_pictures_of(self, other: _Part) -> _Part:
        """Of a data set there is one picture: the last run's."""
        shared = self.about[1] & other.about[1]
        lines = self.text.splitlines(keepends=True)
        pictures = tuple(f"-{data}.png)\n" for data in shared)
        return _Part("".join(line for line in lines if not line.endswith(pictures)))


def write_over_time(runs: dict[str, dict[str, Any]]) -> Path | None:
    """Write the page of `make bench-time`, and README's part of it; None where it has not run.

    What was not measured this time, or only on another kind of machine, stays as it is.
    """
    if not runs:
        return None
    page, parts = DOCS / "over_time.md", [OVER_TIME]
    before = page.read_text() if page.exists() else ""
    for section, (title, text) in OVER_TIME_SECTIONS.items():
        new = [_Part.of(run) for script, run in runs.items() if script.partition("-")[0] == section]
        old = before.partition(f"## {title}\n")[2].partition("\n## ")[0].split(f"\n{MEASURED}")[1:]
        here = [_Part(MEASURED + part) for part in old]
        for part in new:  # before what there is of the same data; of other data behind all
            at = next((i for i, other in enumerate(here) if other.about[1] & part.about[1]), len(here))
            behind = [other.without_pictures_of(part) for other in here[at:] if not other.gives_way_to(part)]
            here = [*here[:at], part, *behind]
        if here:
            parts += [f"## {title}\n", f"{text}\n", *(f"{part.text.rstrip()}\n" for part in here)]
    page.write_text("\n".join(parts))
    readme = DOCS.parent / "README.md"
    if readme.exists() and "over_time" in runs:
        readme.write_text(_time_readme.put(readme.read_text(), runs["over_time"]))
    return page


NETWORKS = """\
# Networks beside each other

Written by `python bench/targets.py --write` from what `make bench-networks` measured; nothing here is typed
by hand. What the networks are made of is in [Layers](layers.md) and [Transforms](transforms.md), the rules
are in [Rewiring](rewiring.md).

{machine}

## Fashion-MNIST, {samples:,} samples

Nine networks with the defaults that the package had at this commit, each at the best of a few learning rates,
chosen by other training samples. At equal weights the dense network is narrower than the others; at equal
time it has their widths, and no other network is changed. Time is that of one thread's processor; how many
epochs go into it is measured beforehand. "Points above static" compares seed by seed, and what is nearer to 0
than two standard errors is called level:

- Equal weights. {equal}
- Equal time. {timed}
"""


def write_networks(run: dict[str, Any] | None) -> Path | None:
    """Write the page of `make bench-networks`, and README's part of it; None where it has not run."""
    if run is None:
        return None
    found = run["cells"]
    said = {
        key: _networks_readme.said(found[part], found["baseline"])
        for key, part in (("equal", "weights"), ("timed", "time"))
    }
    opening = NETWORKS.format(machine=_facts(run["machine"]), samples=found["samples"], **said)
    page = DOCS / "networks.md"
    page.write_text("\n".join([opening, *_tables(run)]))
    readme = DOCS.parent / "README.md"
    if readme.exists():
        readme.write_text(_networks_readme.put(readme.read_text(), run))
    return page


STORE_BEGIN = "<!-- figures of bench/store.py, written by `python bench/targets.py --write` -->"
STORE_END = "<!-- end of figures -->"


def write_store(runs: dict[str, dict[str, Any]]) -> Path | None:
    """Write the table of `docs/store.md`; None where it has not been measured."""
    page = DOCS / "store.md"
    text = page.read_text() if page.exists() else ""
    if "store" not in runs or STORE_BEGIN not in text:
        return None
    before, _, rest = text.partition(STORE_BEGIN)
    page.write_text(
        f"{before}{STORE_BEGIN}\n{store_part(runs['store'])}{STORE_END}{rest.partition(STORE_END)[2]}"
    )
    return page


WORKERS_BEGIN = "<!-- figures of bench/local_sgd.py, written by `python bench/targets.py --write` -->"


def write_workers(run: dict[str, Any] | None) -> Path | None:
    """Write the table of `docs/workers.md`; None where it has not been measured."""
    page = DOCS / "workers.md"
    text = page.read_text() if page.exists() else ""
    if run is None or WORKERS_BEGIN not in text:
        return None
    before, _, rest = text.partition(WORKERS_BEGIN)
    tables = "\n".join(
        f"{table['title']}:\n\n{markdown('', table['header'], table['rows'])}" for table in run["tables"]
    )
    judged = "".join(
        f"\nAsked: {line['asked']}; measured: {line['measured']}: {VERDICTS[line['met']]}.\n"
        for line in run["judgements"]
    )
    page.write_text(f"{before}{WORKERS_BEGIN}\n{tables}{judged}{STORE_END}{rest.partition(STORE_END)[2]}")
    return page


def store_part(run: dict[str, Any]) -> str:
    """The tables, medians alone, and where they come from."""
    tables = [
        markdown("", table["header"], [[cell.partition(" (")[0] for cell in row] for row in table["rows"]])
        for table in run["tables"]
        if table["rows"]
    ]
    titles = [table["title"] for table in run["tables"] if table["rows"]]
    machine = run["machine"]
    parts = [f"{title}:\n\n{table}" for title, table in zip(titles, tables, strict=True)]
    facts = f"Medians on one thread of {machine['cpu']} ({machine['instruction set']})."
    notes = [f"{note}\n" for note in run["notes"]]
    return "\n".join([*parts, *notes, f"{facts} `make bench` measures it.\n"])


def _facts(machine: dict[str, str]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in machine.items() if value)


def write(runs: dict[str, dict[str, Any]], targets: str) -> Path:
    """Write the page; returns its path."""
    machine: dict[str, str] = next((run["machine"] for run in runs.values()), {})
    parts = [OPENING.format(machine=_facts(machine) or "No results.", targets=targets)]
    for script, (title, text) in SECTIONS.items():
        if script in runs:
            parts += _section(runs[script], title, text)
    page = DOCS / "benchmarks.md"
    page.write_text("\n".join(parts))
    return page


def _section(run: dict[str, Any], title: str, text: str) -> list[str]:
    return [f"## {title}\n", f"{text}\n", *_tables(run)]


def _tables(run: dict[str, Any]) -> list[str]:
    """Tables, figures and notes of a script."""
    parts = []
    for table in run["tables"]:
        if table["rows"]:
            parts.append(markdown(table["title"], table["header"], table["rows"]))
    for file in run["plots"]:
        figures = DOCS / "figures"
        figures.mkdir(exist_ok=True)
        shutil.copy(results() / file, figures / file)
        parts.append(f"![{run['script']}](figures/{file})\n")
    if run["notes"]:
        parts.append("\n".join(f"- {note}" for note in run["notes"]) + "\n")
    return parts
