"""README's comparison of networks, from what `networks.py` left: no figure is typed by hand."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

BEGIN = "<!-- networks beside each other, written by `python bench/targets.py --write` -->"
END = "<!-- end of networks -->"
ASKED = 5  # seeds
ENDS = "Best at an end"  # how the note on rates at an end of their grid begins
CLEAR = 2.0  # standard errors of a difference from which on it is said to be one


def put(page: str, run: dict[str, Any]) -> str:
    """README with the part between `BEGIN` and `END` written anew; as it was, without these."""
    if BEGIN not in page or END not in page:
        return page
    before, _, rest = page.partition(BEGIN)
    found = part(run["cells"], run["machine"], run["notes"])
    return f"{before}{BEGIN}\n{found}{END}{rest.partition(END)[2]}"


def part(found: dict[str, Any], machine: dict[str, str], notes: Sequence[str] = ()) -> str:
    """Both comparisons in one table, what they say, and whose rate may not be the best one."""
    ends = "".join(f" {note}" for note in notes if note.startswith(ENDS))
    equal, timed, base = found["weights"], found["time"], found["baseline"]
    seeds = found["seeds"]
    partial = "" if seeds >= ASKED else f", **fewer than the {ASKED} it takes to be believed**"
    lines = [
        f"| network | {equal[base]['weights']:,} weights, {equal[base]['epochs']} epochs "
        f"| {found['seconds']:.3g} s of one thread (epochs) |",
        "|---|---|---|",
        *(f"| {name} | {_cell(equal[name])} | {_timed(timed[name], equal[name])} |" for name in equal),
        "",
        f"Test accuracy in %, mean +- deviation of {seeds} seeds{partial}; the first {found['samples']:,} "
        f"samples of Fashion-MNIST, hidden layers of 500, defaults of commit {machine['commit']}, learning "
        f"rates chosen on other samples; {machine['cpu']}, {machine['instruction set']}. `make "
        f"bench-networks` measures it; `docs/networks.md` has all of it.{ends}",
        "",
        f"- Equal weights. {said(equal, base)}",
        f"- Equal time. {said(timed, base)}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any]) -> str:
    scores = row["scores"]
    if not scores:
        return "diverged"
    spread = f" +- {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
    return f"{statistics.mean(scores):.2f}{spread}"


def _timed(row: dict[str, Any], equal: dict[str, Any]) -> str:
    """With epochs, and weights where these are others than in the first column."""
    others = f", {row['weights']:,} weights" if row["weights"] != equal["weights"] else ""
    return f"{_cell(row)} ({row['epochs']}{others})" if row["scores"] else "diverged"


def said(rows: dict[str, dict[str, Any]], base: str) -> str:
    """Who is above the baseline, who below it, seed by seed, and by how many points."""
    ahead, behind, level = [], [], []
    for name, row in rows.items():
        if name == base:
            continue
        difference = above(row["scores"], rows[base]["scores"])
        if difference is None:
            behind.append(f"{name} (diverged)")
            continue
        points, error = difference
        kind = level if abs(points) <= CLEAR * error else ahead if points > 0 else behind
        kind.append(f"{name} ({points:+.2f})")
    words = [
        f"{what}: {'; '.join(names)}."
        for what, names in ((f"Above {base}", ahead), ("Level with it", level), ("Below it", behind))
        if names
    ]
    return " ".join(words)


def above(scores: list[float], base: list[float]) -> tuple[float, float] | None:
    """Points above the baseline, seed by seed, and the standard error; None where a run is missing."""
    if not scores or len(scores) != len(base):
        return None
    points = [a - b for a, b in zip(scores, base, strict=True)]
    spread = statistics.stdev(points) if len(points) > 1 else 0.0
    return statistics.mean(points), spread / len(points) ** 0.5
