"""Transforms and SwitchNet4: what a mix costs beside a dense product, and whether it matters which one it is.

The first two tables are of time. ``--trials`` trains instead: SwitchNet4 with each mix, and with none between
its blocks, beside sparse networks of as many weights, on 12,000 samples of Fashion-MNIST. 10,000 other
training samples judge, after the last epoch: the test set is never looked at. Trials are kept in
`mixing_trials.jsonl` and none is run twice; ``--only TEXT`` runs those with this in their name.
"""

from __future__ import annotations

import statistics
from typing import Any

from _measure import Side, measure
from _report import Report, parser, results, settle

BATCH = 128
WIDTHS = (256, 1000, 1024, 4096)
PART = 0.2  # of a dense product, that a Walsh-Hadamard transform of 1024 values may cost
BLOCKS = (2, 4, 8)
SAMPLES, JUDGES, EPOCHS, SEEDS = 12_000, 10_000, 20, 5
SWITCH = {"activation": "switchnet4", "hidden": [1024] * 3, "epsilon": 20.0}


def partial(stages: int) -> dict[str, Any]:
    """The same with transforms after switches that stop early: a sparse transform."""
    layers = [{"type": "Mix", "mix": "wht", "width": 1024, "flip": True}]
    for _ in range(3):
        layers += [{"type": "Switches"}, {"type": "Dropout", "p": COMMON["dropout"]}]
        layers += [{"type": "Mix", "mix": "wht", "stages": stages, "skip": 2}]
    return {"layers": [*layers, {"type": "Sparse", "density": 1.0}]}


COMMON = {"lr": 0.05, "schedule": "cosine", "dropout": 0.1, "batch_size": 128}
# 34,816 weights each: 3 layers of 1024 outputs with 8 weights, and 10,240 to the classes.
CONTENDERS: dict[str, dict[str, Any]] = {
    "SwitchNet4, WHT": SWITCH,
    "- without stages that blocks have mixed": {**SWITCH, "activation.skip": True},
    "- stages 2 to 5 of 10 alone": partial(6),
    "- stages 2 and 3 alone": partial(4),
    "- without random signs": {**SWITCH, "activation.flip": False},
    "- DCT": {**SWITCH, "activation.mix": "dct"},
    "- Hartley": {**SWITCH, "activation.mix": "hartley"},
    "- permutation": {**SWITCH, "activation.mix": "permutation"},
    "- blocks of 2, 6 deep": {**SWITCH, "activation.block": 2, "hidden": [1024] * 6},
    "- blocks of 2, 6 deep, permutation": {
        **SWITCH, "activation.block": 2, "activation.mix": "permutation", "hidden": [1024] * 6,
    },
    "static, All-ReLU": {"rewiring": "static", "links": 34_816},
    "static, two-sided": {"rewiring": "static", "links": 34_816, "activation": "two-sided"},
    "SET, All-ReLU": {"links": 34_816},
}  # fmt: skip


def times(report: Report) -> None:
    """The two tables of time."""
    tiny = report.arguments.tiny
    columns = ["values", "threads", "WHT", "permutation", "DCT", "Hartley", "dense product", "WHT / dense"]
    table = report.table(f"A transform of {BATCH} samples, microseconds", columns)
    widths = WIDTHS[:1] if tiny else WIDTHS
    threads = sorted({1, *report.arguments.threads})
    for n, t in ((n, t) for n in widths for t in threads):

        def one(n: int = n, t: int = t) -> dict[str, Any]:
            with Side("_mixing_sides:transforms", t) as side:
                contestants = side.prepare(n=n, batch=BATCH)
                result = measure(contestants, budget=report.left / 8)
                found = {name: result.figure({name: 1e6}) for name in contestants}
                return found | {"part": result.ratio("wht", "dense")}

        cell = report.cell(f"transform {n} {t}", one)
        if cell:
            shown = [cell[name] for name in ("wht", "permutation", "dct", "hartley", "dense", "part")]
            table.row(n, t, *shown)
            if n == 1024 and cell["part"]["median"] is not None:
                asked = f"a WHT of {BATCH} x 1024 costs at most {PART} of a dense product, {t} threads"
                report.judge("WHT", asked, cell["part"]["median"], cell["part"]["median"] <= PART)
    columns = ["block", "threads", "blocks", "two sides and a sparse layer", "blocks / sparse"]
    table = report.table(
        f"Forward, backward and an SGD step of 1024 switches, {BATCH} samples, microseconds", columns
    )
    for block, t in ((b, t) for b in (BLOCKS[:1] if tiny else BLOCKS) for t in threads):

        def two(block: int = block, t: int = t) -> dict[str, Any]:
            with Side("_mixing_sides:switches", t) as side:
                contestants = side.prepare(n=64 if tiny else 1024, batch=BATCH, block=block)
                result = measure(contestants, budget=report.left / 8)
                found = {name: result.figure({name: 1e6}) for name in contestants}
                return found | {"part": result.ratio("blocks", "sparse")}

        cell = report.cell(f"switches {block} {t}", two)
        if cell:
            table.row(block, t, cell["blocks"], cell["sparse"], cell["part"])


def trials(report: Report) -> None:
    """Accuracy of each contender."""
    import rewire as rw

    tiny = report.arguments.tiny
    data = rw.datasets.load("fashion-mnist")
    X, y = data.X.reshape(len(data.X), -1), data.y
    X_test, y_test = X[-JUDGES:], y[-JUDGES:]
    samples = 600 if tiny else SAMPLES
    file = results() / "mixing_trials.jsonl"
    chosen = {name: one for name, one in CONTENDERS.items() if report.arguments.only in name}
    rw.compare(
        (X[:samples], y[:samples], X_test, y_test), chosen, seeds=1 if tiny else SEEDS, validation=0,
        epochs=1 if tiny else EPOCHS, jobs=1, threads=1, save=file, **COMMON,
    )  # fmt: skip
    found = rw.Comparison.load(file)  # what was run before, too
    columns = ["network", "weights", "accuracy, %", "by seed", "seconds an epoch"]
    title = f"Fashion-MNIST, {samples:,} samples, {EPOCHS} epochs, {SEEDS} seeds"
    table = report.table(title, columns)
    for name in CONTENDERS:
        runs = [run for run in found if run["contender"] == name and "error" not in run]
        if not runs:
            continue
        scores = [100 * run["test_accuracy"] for run in runs]
        seconds = statistics.median(run["seconds_per_epoch"] for run in runs)
        table.row(name, runs[0]["weights"], _mean(scores), " ".join(f"{s:.2f}" for s in scores), seconds)


def _mean(scores: list[float]) -> str:
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    return f"{statistics.mean(scores):.2f} +- {spread:.2f}"


def main() -> None:
    made = parser(__doc__, 120)
    made.add_argument("--trials", action="store_true", help="train for an hour or two instead of timing")
    arguments = settle(made.parse_args())
    report = Report("mixing_trials" if arguments.trials else "mixing", arguments)
    (trials if arguments.trials else times)(report)
    report.save()


if __name__ == "__main__":
    main()
