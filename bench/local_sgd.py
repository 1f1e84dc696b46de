"""What it costs in accuracy to talk rarely: local steps and averages, own links and a merge.

Fashion-MNIST (the first samples of it, with --samples), 784-H-H-H-10 with epsilon 20, All-ReLU, SET, momentum
0.9; the test set is looked at once, after the last epoch. All rows see every sample once an epoch. Trainings
are made in one process: their bits do not depend on how many there are, and the bytes are those that each of
four workers would hand over, counted from the numbers that a mean is made of.

Four workers of batch 128, an average in every step or in every 32nd; one process at 128 and at 512. Then, at
a constant and at a falling rate, what the last epochs can be: WASSP's own links and merge; the same with
shared links (an average once an epoch); one run that goes on, with and without the mean over its last epochs.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REWIRE_NUM_THREADS"):
    os.environ[variable] = "1"  # before NumPy is loaded

import statistics  # noqa: E402
from dataclasses import replace  # noqa: E402
from typing import Any  # noqa: E402

from _report import Report, parser, settle  # noqa: E402

import rewire as rw  # noqa: E402

WORKERS, BATCH, EVERY, ALONE = 4, 128, 32, 0.3
RATE, EPSILON, HIDDEN = 0.05, 20, 1000
EPOCHS, SAMPLES, SEEDS = 30, 60_000, 3
WITHIN = 0.3  # points that rounds of 32 steps may lose beside an average in every step


def trainer(seed: int, sizes: list[int], rate: Any, epochs: int, callbacks: list[Any]) -> rw.Trainer:
    layers: list[rw.Layer] = [
        rw.Sparse(a, b, epsilon=EPSILON, activation=rw.AllReLU(0.6))
        for a, b in zip(sizes, sizes[1:-1], strict=False)
    ]
    layers.append(rw.Sparse(sizes[-2], sizes[-1], epsilon=EPSILON, activation="softmax"))
    return rw.Trainer(
        rw.Sequential(layers, seed=seed), loss="cross_entropy",
        optimizer=rw.SGD(lr=RATE, momentum=0.9, schedule=rate), rewiring="set",
        callbacks=callbacks, horizon=epochs, standardize=True,
    )  # fmt: skip


def accuracy(
    data: Any, seed: int, hidden: int, epochs: int, rate: Any, *, batch: int = BATCH, average: bool = False,
    plans: list[tuple[int, Any]],
) -> dict:  # fmt: skip
    """Test accuracy, and MiB that a worker hands over."""
    sizes = [data.X.shape[1], hidden, hidden, hidden, len(set(data.y.tolist()))]
    averages = [rw.WeightAverage(None, begin=1.0 - ALONE)] if average else []
    made = trainer(seed, sizes, rate, epochs, averages)
    handed = 0
    for count, plan in plans:
        if not count:
            continue
        steps = made.step
        try:
            made.fit(data.X, data.y, epochs=count, batch_size=batch, verbose=0, workers=1, strategy=plan)
        except rw.DivergenceError:
            return {"accuracy": None, "mib": None}
        numbers = 2 * sum(parameter.size for parameter in made.network.tree.parameters.values())
        if isinstance(plan, rw.LocalSGD):
            handed += numbers * count * -(-(made.step - steps) // (count * plan.every))
        elif isinstance(plan, rw.WASSP):
            handed += numbers
    found = made.evaluate(data.X_test, data.y_test)["accuracy"]
    return {"accuracy": 100 * found, "mib": 4 * handed / 2**20}


def main() -> None:
    asked = parser(__doc__, 3600)
    asked.add_argument("--samples", type=int, default=SAMPLES)
    asked.add_argument("--epochs", type=int, default=EPOCHS)
    asked.add_argument("--seeds", type=int, default=SEEDS)
    asked.add_argument("--hidden", type=int, default=HIDDEN)
    arguments = settle(asked.parse_args())
    report = Report("local_sgd", arguments)
    tiny = arguments.tiny
    epochs, seeds, hidden = (2, 1, 100) if tiny else (arguments.epochs, arguments.seeds, arguments.hidden)
    data = rw.datasets.load("digits" if tiny else "fashion-mnist")
    if not tiny:
        data = replace(data, X=data.X[: arguments.samples], y=data.y[: arguments.samples])
    last = round(ALONE * epochs)
    first, end = (epochs - last, rw.Sync()), epochs
    falling = rw.Cosine(epochs)
    together, rare = (rw.LocalSGD(every, workers=WORKERS) for every in (1, EVERY))
    rows: dict[str, dict[str, Any]] = {
        "one process, batch 128 (falling: one run that goes on)": {
            "rate": falling,
            "plans": [(end, rw.Sync())],
        },
        "one process, batch 512": {"rate": falling, "batch": BATCH * WORKERS, "plans": [(end, rw.Sync())]},
        "4 workers, an average in every step": {"rate": falling, "plans": [(end, together)]},
        f"4 workers, in every {EVERY}nd": {"rate": falling, "plans": [(end, rare)]},
    }
    for words, rate in (("falling", falling), ("constant", None)):
        if rate is None:
            rows[f"{words}: one run that goes on"] = {"rate": rate, "plans": [(end, rw.Sync())]}
        rows |= {
            f"{words}: (b) mean over its last epochs": {
                "rate": rate, "average": True, "plans": [(end, rw.Sync())],
            },
            f"{words}: (a) last epochs apart, shared links": {
                "rate": rate, "plans": [first, (last, rw.LocalSGD(10**6, workers=WORKERS))],
            },
            f"{words}: WASSP, sum / K": {
                "rate": rate, "plans": [(end, rw.WASSP(ALONE, workers=WORKERS, momentum="zero"))],
            },
            f"{words}: WASSP, mean of holders": {
                "rate": rate, "plans": [(end, rw.WASSP(ALONE, workers=WORKERS, how="holders"))],
            },
        }  # fmt: skip
    title = f"{len(data.X):,} samples, {epochs} epochs, 784-{hidden}x3-10: test accuracy, {seeds} seeds"
    table = report.table(title, ["", "mean", "each seed", "MiB a worker hands over"])
    means: dict[str, float] = {}
    for name, options in rows.items():
        cells = [
            report.cell(
                f"{name}, seed {seed}", lambda s=seed, o=options: accuracy(data, s, hidden, epochs, **o)
            )
            for seed in range(seeds)
        ]
        known = [cell["accuracy"] for cell in cells if cell and cell["accuracy"] is not None]
        if len(known) == seeds:
            means[name] = statistics.mean(known)
            each = ", ".join(f"{value:.2f}" for value in known)
            table.row(name, f"{means[name]:.2f}", each, f"{cells[0]['mib']:.2f}")
        elif any(cells):
            table.row(name, "diverged" if len(known) < len([c for c in cells if c]) else "-", "-", "-")
    names = list(rows)[2:4]
    if all(name in means for name in names):
        lost = means[names[0]] - means[names[1]]
        words = f"{EVERY} steps lose at most {WITHIN} points"
        report.judge("16 rounds", words, f"{lost:.2f}", lost <= WITHIN)
    report.save()


if __name__ == "__main__":
    main()
