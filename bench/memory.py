"""Bytes that a connection takes, in every mode, after 100 rewirings: the store's count and the process's.

A square layer of a million connections and fan-in 40 is started, given the optimizer's state, rewired 100
times by SET, and asked for its size. Each mode has a process of its own, whose resident size (VmRSS) is read
before the layer is built and after: what the store does not count (fragments, page ends) shows there.
Bytes per neuron are those of a layer without connections.
"""

from __future__ import annotations

import gc
from dataclasses import asdict, dataclass
from typing import Any

from _apart import apart
from _report import Report, options

REWIRINGS, FAN_IN, WIDTH = 100, 40, 25_000


@dataclass(frozen=True)
class Mode:
    """What is kept beside the weights."""

    optimizer: str
    group: int = 1
    mirror: bool = False

    @property
    def name(self) -> str:
        return f"{self.optimizer}{', mirror' if self.mirror else ''}, group {self.group}"


MODES = [
    Mode("SGD with momentum"), Mode("SGD with momentum", mirror=True), Mode("SGD with momentum", group=4),
    Mode("SGD"), Mode("Adam"), Mode("SGD with momentum", group=2), Mode("SGD with momentum", group=8),
    Mode("Adam", group=4), Mode("Adam", mirror=True),
]  # fmt: skip
# S7: what it may come to.
LIMITS = {MODES[0].name: 14.0, MODES[1].name: 22.0, MODES[2].name: 10.5}


def resident() -> int:
    """VmRSS of this process, after its garbage has gone."""
    import ctypes

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024


def layer_of(mode: Mode, width: int, links: int) -> tuple:
    """A network of one layer with the optimizer's state."""
    import rewire as rw

    optimizers = {
        "SGD": rw.SGD(lr=0.1), "SGD with momentum": rw.SGD(lr=0.1, momentum=0.9), "Adam": rw.Adam(lr=0.001),
    }  # fmt: skip
    net = rw.Sequential([rw.Sparse(width, width, links=links, group=mode.group)], seed=0)
    net.layers[0].weight.prepare(optimizers[mode.optimizer].fields)
    return net, net.layers[0]


def worked(*, threads: int, mode: dict[str, Any], width: int, links: int, rewirings: int) -> dict[str, int]:
    """Bytes after the rewirings: run in a process of its own."""
    import rewire as rw
    from rewire.rewiring.base import TrainingProgress

    kept = Mode(**mode)
    layer_of(kept, 64, 640)  # imports and first allocations are not the layer's
    before = resident()
    net, layer = layer_of(kept, width, links)
    rule = rw.SET(fraction=0.3, init="he")  # weights that compete, as after training
    for ordinal in range(1, rewirings + 1):
        progress = TrainingProgress(ordinal, ordinal, True)
        rule.rewire(net.sparse_parameters, progress, ordinal, threads, seed=net.seed)
        if kept.mirror:
            layer.core.build_mirror(threads)
    after = resident()
    return {"links": layer.nnz, "counted": layer.nbytes, "resident": after - before}


def main() -> None:
    report = Report("memory", options(__doc__, share=40))
    width = 1000 if report.arguments.tiny else WIDTH
    connections(report, width)
    neurons(report)
    report.save()


def connections(report: Report, width: int) -> None:
    table = report.table(
        f"Bytes per connection after {REWIRINGS} SET rewirings: {width:,} x {width:,}, fan-in {FAN_IN}",
        ["mode", "counted by the store", "resident growth of the process"],
    )
    over, told = [], []
    for mode in MODES:
        found = report.cell(
            mode.name,
            lambda mode=mode: apart(
                "memory:worked", threads=report.arguments.threads[-1], mode=asdict(mode),
                width=width, links=FAN_IN * width, rewirings=REWIRINGS,
            ),
        )  # fmt: skip
        if found is None:
            continue
        counted, grown = found["counted"] / found["links"], found["resident"] / found["links"]
        table.row(mode.name, f"{counted:.2f}", f"{grown:.2f}")
        if mode.name in LIMITS:
            told.append(f"{counted:.2f} counted, {grown:.2f} resident ({mode.name})")
            if max(counted, grown) > LIMITS[mode.name]:
                over.append(mode.name)
    if len(told) == len(LIMITS):
        report.judge(
            "S7",
            "14 B a connection with momentum, 22 with the mirror, 10.5 in groups of 4",
            "; ".join(told),
            not over,
        )


def neurons(report: Report) -> None:
    width = 100_000
    table = report.table("Bytes per neuron (of the outputs; the mirror's are per input)", ["mode", "bytes"])
    for mode in MODES:
        _, layer = layer_of(mode, width, 0)
        if mode.mirror:
            layer.core.build_mirror()
        table.row(mode.name, f"{layer.nbytes / width:.1f}")


if __name__ == "__main__":
    main()
