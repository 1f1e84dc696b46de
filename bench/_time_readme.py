"""README's first picture and its claim, from what `over_time.py` left: no figure is typed by hand."""

from __future__ import annotations

import statistics
from typing import Any

DATA = "fashion-mnist"
BEGIN = "<!-- accuracy over time, written by `python bench/targets.py --write` -->"
END = "<!-- end of accuracy over time -->"
SIDES = ("dense", "default", "sparse", "narrow")
ASKED = 3  # seeds
HEADER = {
    "dense": "dense PyTorch",
    "default": "`rewire train`, only `--epochs` changed",
    "sparse": "sparse, tuned",
    "narrow": "dense PyTorch, narrow",
}
TUNED = {
    "dense": "Dense networks are at the best setting of a grid, chosen on held-out samples",
    "sparse": "tuned sparse ones are at the best of as many settings",
    "narrow": "narrow ones, with as many weights as sparse ones, at their best of the dense grid",
}


def put(page: str, run: dict[str, Any]) -> str:
    """README with the part between `BEGIN` and `END` written anew; as it was, without these or figures."""
    found = run["cells"].get(DATA)
    if found is None or BEGIN not in page or END not in page:
        return page
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{part(found, run['machine'])}{END}{rest.partition(END)[2]}"


def part(found: dict[str, Any], machine: dict[str, str]) -> str:
    """The picture, a table, and what it says."""
    points = [point for point in found["points"] if point["scores"]]
    sides = [side for side in SIDES if any(point["side"] == side for point in points)]
    weights = {point["side"]: point["weights"] for point in reversed(points)}
    picture = f"over_time-{DATA}.png"
    lines = [
        f"![Test accuracy over seconds of training, dense and sparse](docs/figures/{picture})",
        "",
        "| seconds | " + " | ".join(f"{HEADER[side]}: {weights[side]:,} weights" for side in sides) + " |",
        "|---" * (len(sides) + 1) + "|",
    ]  # fmt: skip
    for length in sorted({point["length"] for point in points}):
        row = {point["side"]: point for point in points if point["length"] == length}
        seconds = max(point["seconds"] for point in row.values())
        lines.append(f"| {seconds:.3g} | " + " | ".join(_cell(row.get(side)) for side in sides) + " |")
    seeds = sorted({len(point["scores"]) for point in points})
    counted = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    partial = "" if seeds[0] >= ASKED else f", **fewer than the {ASKED} it takes to be believed**"
    lines += [
        "",
        f"Fashion-MNIST, test accuracy in % (mean, lowest..highest; epochs) of {counted} seeds{partial}, one "
        f"run for each length; {machine['cpu']}, {machine['instruction set']}, equal threads on both sides. "
        f"{'; '.join(TUNED[side] for side in sides if side in TUNED)}. "
        "`make bench-time` measures it; `docs/over_time.md` has every table.",
        "",
        *(f"- {sentence}" for sentence in found["words"]),
        "",
    ]
    return "\n".join(lines)


def _cell(point: dict[str, Any] | None) -> str:
    if point is None:
        return "-"
    scores = point["scores"]
    return f"{statistics.mean(scores):.2f} ({min(scores):.2f}..{max(scores):.2f}; {point['epochs']:g})"
