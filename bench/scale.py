"""Large networks: the SET authors' lung-shaped runs, random starts, 50 million neurons, and how cost grows.

Every run is made in a process of its own, so that its peak memory is its own. An epoch of half a minute is
not made seven times: seconds are the median of the epochs kept, and one in which others took more than 5 % of
a core is left out. `--full` makes more epochs, and gives the network of 50 million neurons momentum too.
"""

from __future__ import annotations

import os
import statistics

from _apart import apart
from _measure import Batch, Figure, measure
from _report import Report, options

LUNG = {30_000: 0.8, 300_000: 12.0, 600_000: 25.0}  # S9: width -> seconds an epoch
RUNS = ((3_000, 1), (30_000, 1), (30_000, 4), (300_000, 1), (300_000, 4), (600_000, 1))  # width, group
GIANT = {"width": 16_700_000, "fan_in": 10, "batch": 2, "steps": 4}
GIB = 2**30
SIZES = (1_000, 10_000, 100_000, 300_000, 1_000_000)  # neurons of the layer that grows
SMALL = 100_000  # neurons, below which an epoch has several steps: its begin takes as long as one of a few
NEAR = "neurons, near sources"  # what grows, where sources lie side by side


def lung(report: Report) -> None:
    """S9."""
    args = report.arguments
    table = report.table(
        "Lung-shaped: 3312-n-n-n-5, epsilon 20, 135 samples, batch 2, SET after every epoch, momentum",
        ["n", "group", "threads", "connections", "training, s/epoch", "rewiring, s/epoch", "epochs kept",
         "start, s", "bytes/connection", "peak, MiB"],
    )  # fmt: skip
    for width, group in ((300, 4),) if args.tiny else RUNS:
        counts = args.threads if width == 30_000 or args.full else args.threads[-1:]
        for threads in counts:
            enough = 9 if args.full else 7 if width <= 30_000 else 3 if group == 4 else 2
            cell = report.cell(
                f"lung/{width}/group {group}/{threads} threads",
                lambda w=width, g=group, t=threads, n=enough: apart(
                    "_scale_runs:lung", threads=t, width=w, group=g, epochs=n
                ),
            )
            if cell is None:
                continue
            if "error" in cell:
                table.row(width, group, threads, cell["error"], *["-"] * 6)
                continue
            kept = [e for e in cell["epochs"] if e["clean"] or args.foreign > 1]
            training, rewiring = (
                statistics.median(epoch[name] for epoch in kept) if kept else None
                for name in ("training", "rewiring")
            )
            table.row(
                width, group, threads, cell["nnz"], training, rewiring,
                f"{len(kept)} of {len(cell['epochs'])}", cell["start"], cell["bytes"] / cell["nnz"],
                cell["peak_bytes"] / 2**20,
            )  # fmt: skip
            if width in LUNG and group == 1 and threads == args.threads[-1]:
                seconds = training + rewiring if kept else None
                report.judge(
                    "S9",
                    f"lung-shaped, {width:,} a layer, under {LUNG[width]:g} s an epoch with rewiring",
                    None if seconds is None else f"{seconds:.2f} s",
                    None if seconds is None else seconds < LUNG[width],
                )


def starts(report: Report) -> None:
    """S8."""
    args = report.arguments
    links = 100_000 if args.tiny else 100_000_000
    table = report.table(
        f"A random start of {links:,} connections, {args.threads[-1]} threads",
        ["layer", "seconds", "bytes/connection kept", "at the peak"],
    )
    seconds = []
    for width in (links // 100, round((100 * links) ** 0.5))[: 1 if args.tiny else 2]:  # 100 a neuron; 1 %
        cell = report.cell(
            f"start/{width}",
            lambda w=width: apart("_scale_runs:start", threads=args.threads[-1], width=w, links=links),
        )
        if cell is None:
            continue
        shape = f"{width:,} x {width:,}"
        if "error" in cell:
            table.row(shape, cell["error"], "-", "-")
            continue
        table.row(shape, cell["seconds"], cell["kept"] / links, cell["grown"] / links)
        seconds.append(cell["seconds"])
    if seconds and not args.tiny:
        report.judge(
            "S8", "a random start of 10^8 connections in under 10 s", f"{max(seconds):.1f} s",
            max(seconds) < 10,
        )  # fmt: skip


def giant(report: Report) -> None:
    """S10."""
    args = report.arguments
    shape = {"width": 1000, "fan_in": 10, "batch": 2, "steps": 4} if args.tiny else GIANT
    table = report.table(
        "50 million neurons: 1000-n-n-n-10, 10 links a neuron, SGD, batch 2",
        ["neurons", "connections", "momentum", "start, s", "s/step", "bytes/connection", "peak, GiB"],
    )
    for momentum in (0.0, 0.9) if args.full else (0.0,):
        cell = report.cell(
            f"giant/momentum {momentum}",
            lambda m=momentum: apart("_scale_runs:giant", threads=args.threads[-1], momentum=m, **shape),
        )
        if cell is None:
            continue
        if "error" in cell:
            table.row("-", "-", momentum, cell["error"], "-", "-", "-")
            continue
        peak = cell["peak_bytes"] / GIB
        table.row(
            cell["neurons"], cell["nnz"], momentum, cell["start"], cell["step"],
            cell["bytes"] / cell["nnz"], peak,
        )  # fmt: skip
        if not args.tiny and momentum == 0.0:
            report.judge(
                "S10", "50 million neurons and 5 x 10^8 connections train in 24 GiB", f"peak {peak:.1f} GiB",
                peak < 24 and cell["loss"] == cell["loss"],
            )  # fmt: skip


def growth(report: Report) -> None:
    """What a training step costs a connection, as one thing grows and the others stay.

    Neurons once more with sources that lie side by side: what it costs that they lie anywhere.
    """
    import numpy as np

    import rewire as rw
    from rewire.connectivity import SmallWorld

    args = report.arguments
    base = {"neurons": 10_000, "links a neuron": 30, "batch": 32}
    sweeps = {
        "neurons": SIZES,
        "links a neuron": (10, 30, 100, 300),
        "batch": (1, 2, 8, 32, 128, 512),
        NEAR: SIZES,
    }
    if args.tiny:
        base, sweeps = {"neurons": 200, "links a neuron": 5, "batch": 4}, {"batch": (1, 4)}

    def one(shape: dict[str, int], near: bool, seconds: float) -> dict[str, Figure]:
        n, batch = shape["neurons"], shape["batch"]
        rng = np.random.default_rng(0)
        steps = max(1, SMALL // n)
        samples = steps * batch
        x, y = rng.standard_normal((samples, 100), dtype=np.float32), rng.integers(0, 10, samples)
        links = shape["links a neuron"]
        where = {"links": links * n, "connectivity": SmallWorld(0.0)} if near else {"fan_in": links}
        layers = [rw.Sparse(100, n, fan_in=10), rw.Sparse(n, n, **where)]
        layers.append(rw.Sparse(n, 10, links=10 * min(n, 1000), activation="softmax"))
        net = rw.Sequential(layers, seed=0)
        contestants = {}
        for threads in args.threads:
            optimizer = rw.SGD(lr=1e-4, momentum=0.9)
            trainer = rw.Trainer(
                net, loss="cross_entropy", optimizer=optimizer, rewiring=None, threads=threads
            )
            contestants[str(threads)] = Batch(
                lambda k, t=trainer: t.fit(x, y, epochs=k, batch_size=batch, verbose=0)
            )
        result = measure(contestants, budget=seconds)
        return {name: result.figure(name).scaled(1e9 / net.nnz / samples) for name in contestants}

    table = report.table(
        "How a step's cost grows: ns per connection and sample, forward, backward and update with momentum",
        ["grows", "neurons a layer", "links a neuron", "batch", *(f"{t} threads" for t in args.threads)],
    )
    cells = [
        (name, {**base, "neurons" if name == NEAR else name: value})
        for name, values in sweeps.items()
        for value in values
    ]
    for i, (name, shape) in enumerate(cells):
        seconds = min(5.0, max(report.left, 10.0) / (len(cells) - i))
        cell = report.cell(
            f"growth/{name}/{shape}", lambda s=shape, t=seconds, near=name == NEAR: one(s, near, t)
        )
        if cell is not None:
            table.row(name, *shape.values(), *cell.values())


def busy(report: Report) -> None:
    """What threads that wait cost when somebody else is at work."""
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        report.note("Threads beside a busy core: needs Linux and two processors.")
        return
    shape = {"samples": 256, "rounds": 1} if report.arguments.tiny else {}
    cells = {
        threads: report.cell(
            f"busy/{threads} threads",
            lambda t=threads: apart("_scale_runs:beside_a_busy_core", threads=t, **shape),
        )
        for threads in (1, 2)
    }
    if None in cells.values():
        return
    for cell in cells.values():
        if "error" in cell:
            report.note(f"Threads beside a busy core: {cell['error']}")
            return
    table = report.table(
        "100 steps of the Fashion-MNIST network beside an endless loop on the last processor, seconds",
        ["threads", "alone", "beside the loop", "x one thread alone"],
    )
    for threads, cell in cells.items():
        table.row(threads, cell["alone"], cell["beside"], cell["beside"] / cells[1]["alone"])


def main() -> None:
    report = Report("scale", options(__doc__, share=280))
    lung(report)
    starts(report)
    busy(report)
    growth(report)
    giant(report)
    report.save()


if __name__ == "__main__":
    main()
