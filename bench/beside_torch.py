"""An epoch of rewire in a process that has PyTorch, imported before it or after it, and in one without.

libgomp reads how long its threads wait actively when it is loaded. rewire asks for little (`_openmp.py`), but
whoever comes first decides; PyTorch asks for nothing and gets milliseconds. On an idle machine nobody minds;
beside a busy process a thread that waits actively takes the processor from the one it waits for. 60,000
random images, 784-1000-1000-1000-10, batch 128, SET after the epoch, 2 threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

from _measure import Side, SideError, measure
from _report import Report, options, text

SIDES = {
    "without PyTorch": {"torch": ""},
    "PyTorch imported after rewire": {"torch": "after"},
    "PyTorch imported before rewire": {"torch": "before"},
    "the same, GOMP_SPINCOUNT=3000 in the environment": {"torch": "before", "spins": "3000"},
}
ALONE = "without PyTorch"
BUSY = "while True: pass"


def epochs(report: Report, busy: int, budget: float) -> dict:
    """Seconds of an epoch on every side, beside so many busy processes, and their ratios to the first."""
    contestants, refused = {}, {}
    samples = 512 if report.arguments.tiny else 60_000
    with ExitStack() as stack:
        for name, how in SIDES.items():
            spins = {"GOMP_SPINCOUNT": how["spins"]} if "spins" in how else {}
            side = stack.enter_context(Side("_epoch_sides:rewire_and_torch", 2, **spins))
            try:
                operations = side.prepare(when=how["torch"], samples=samples)
            except SideError as error:
                refused[name] = str(error)
                continue
            contestants[name] = operations["epoch"]
            if name == ALONE:  # two processors are worth twice one, unless others sit on them
                contestants |= {f"{n} threads": operations[f"probe {n}"] for n in (1, 2)}
        others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
        try:
            result = measure(contestants, budget=budget, pids=[other.pid for other in others])
        finally:
            for other in others:
                other.kill()
                other.wait()
    return {
        "seconds": {name: result.figure(name) for name in SIDES if name in contestants},
        "ratios": {name: result.ratio(name, ALONE) for name in SIDES if name in contestants},
        "probe": result.ratio("1 threads", "2 threads").scaled(2.0),
        "refused": refused | result.left_out,
    }


def main() -> None:
    report = Report("beside_torch", options(__doc__, share=240))
    for busy in (0, 1):
        budget = 300.0 if report.arguments.full else 0.8 * report.left / (2 - busy)
        cell = report.cell(f"busy {busy}", lambda n=busy, b=budget: epochs(report, n, b))
        if not cell:
            continue
        beside = "an idle machine" if not busy else "beside one busy process"
        table = report.table(
            f"An epoch at 2 threads, {beside}, {os.cpu_count()} processors",
            ["", "seconds", "x without PyTorch"],
        )
        for name, seconds in cell["seconds"].items():
            table.row(name, seconds, cell["ratios"][name])
        report.note(f"{beside}: two threads multiply and add {text(cell['probe'])} times as fast as one")
        for name, why in cell["refused"].items():
            report.note(f"{name} left out: {why}")
    report.save()


if __name__ == "__main__":
    main()
