"""Fifty million neurons for real: built, trained on images, evaluated, saved, killed, resumed, compared.

784-n-n-n-10 with ten links a neuron and momentum learns from 500 images of Fashion-MNIST in two halves, SET
between them, a few images at a time. It is saved; the network alone is loaded and evaluated. Then the run is
resumed and learns from more images, once as a whole, and once in a process that saves half way there and is
killed in the middle of a step: what resumes that one has to end with the same bits. Each part is a process
of its own, is kept in `bench/results/giant.json`, and is not made again by the same commit on the same
machine: a run that was stopped goes on. `--neurons` makes it smaller; below ten million the whole of the 500
images are learnt from again.

The full size takes 20 GiB of memory, 15 of disk and an hour of two cores: start it alone, in the background
`nice -n 19 make bench-giant > giant.log 2>&1 &`.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import scale
from _apart import apart
from _giant_runs import steps_before_the_kill
from _report import Report, parser, results, settle

FAN_IN = 10
AFTER = 64  # images that a large network learns from after it was resumed
LARGE = 10_000_000  # neurons
GIB = 2**30
LIMITS = {"memory": 20 * GIB, "disk": 15 * GIB, "seconds": 75 * 60}  # of the full size, on two cores


def measured(report: Report, part: str, **arguments: Any) -> dict[str, Any]:
    """A part, measured now or kept; SystemExit where it failed."""
    function = arguments.pop("function", part)
    cell = report.cell(part, lambda: apart(f"_giant_runs:{function}", **arguments))
    if cell is None or "error" in cell:
        raise SystemExit(f"giant: {part} failed: {'left out by --only' if cell is None else cell['error']}")
    return cell


def killed(**arguments: Any) -> dict[str, Any]:
    """Let a process be killed; whether it was."""
    found = apart("_giant_runs:go_on", stop=True, **arguments)
    return {"killed": True} if found.get("returncode") == -signal.SIGKILL else found


def giant(report: Report, file: Path) -> None:
    """All parts, and the table."""
    args = report.arguments
    width = (args.neurons - 10) // 3
    threads, batch = args.threads[-1], args.shards * args.micro
    after = args.images if args.neurons < LARGE else AFTER
    shared = {"threads": threads, "file": str(file), "data": args.data}
    run = {**shared, "batch": batch}
    more = {**run, "first": 0 if after == args.images else args.images, "samples": after}
    made = measured(
        report, "train", **run, width=width, fan_in=FAN_IN, samples=args.images, shards=args.shards
    )
    loaded = measured(report, "evaluate", **shared, samples=args.test, micro=args.micro)
    straight = measured(report, "straight on", function="go_on", **more)
    end = report.cell("killed", lambda: killed(**more))
    if end is None or "error" in end:
        raise SystemExit(f"giant: the process that should have been killed ended otherwise: {end}")
    resumed = measured(report, "resumed", function="go_on", **more)
    asked, begun = steps_before_the_kill(after, batch), resumed["begun"]
    if straight["begun"] or begun < asked:  # more where a kill had to be repeated: see `Stopping`
        raise SystemExit(
            f"giant: the run was resumed after {begun} steps of an epoch instead of {asked}, and straight on "
            f"after {straight['begun']} instead of 0: a process was killed elsewhere, maybe for want of "
            f"memory; remove {file} and begin anew"
        )

    table = report.table(
        f"{made['neurons']:,} neurons, {made['links']:,} links, SGD with momentum, SET, {threads} threads: "
        f"{args.images} images of {args.data} in batches of {batch}, {args.micro} at a time",
        ["part", "seconds", "a link and image, ns", "peak, GiB", "disk, GiB"],
    )
    seen = {"train": args.images, "evaluate": args.test, "go on": after}
    rest = after - batch * begun  # after the checkpoint
    peak = total = 0.0
    for name, cell in (("", made), ("", loaded), (", straight on", straight), (", after the kill", resumed)):
        for part, found in cell["parts"].items():
            count = rest if part == "go on" and cell is resumed else seen.get(part)
            each = 1e9 * found["seconds"] / made["links"] / count if count else None
            disk = found["disk"] / GIB if "disk" in found else None
            table.row(
                part + name, found["seconds"], "-" if each is None else each, found["peak"] / GIB,
                "-" if disk is None else disk,
            )  # fmt: skip
            peak, total = max(peak, found["peak"]), total + found["seconds"]
    rewiring, disk, links = made["parts"]["train"]["rewiring"], made["parts"]["save"]["disk"], made["links"]
    same = straight["digest"] == resumed["digest"]
    report.note(
        f"{made['bytes'] / links:.2f} bytes a link are held, {disk / links:.2f} saved; a rewiring took "
        f"{rewiring:.3g} s; training was counted as {made['counted'] / GIB:.3g} GiB beside the network. Loss "
        f"{made['loss']:.3g}, test accuracy after it {loaded['accuracy']:.3g} of {args.test} images. Killed "
        f"in the middle of a step and resumed, {after} images: "
        f"{'the same bits' if same else 'OTHER BITS'}."
    )
    if made["neurons"] > LARGE:
        asked = "50 million neurons: 20 GiB, 15 GiB of disk (two files while saving), 75 minutes, same bits"
        fits = peak <= LIMITS["memory"] and 2 * disk <= LIMITS["disk"] and total <= LIMITS["seconds"]
        took = f"{peak / GIB:.1f} GiB, {2 * disk / GIB:.1f} GiB, {total / 60:.0f} minutes"
        report.judge("Giant", asked, took, fits and same)
    if not same:
        raise SystemExit("giant: the run that was killed and resumed ends with other bits")


def main() -> None:
    made = parser(__doc__, share=75 * 60)
    made.add_argument("--neurons", type=int, default=50_000_000, metavar="N", help="(50,000,000)")
    made.add_argument("--images", type=int, default=500, metavar="N", help="that are learnt from (500)")
    made.add_argument("--test", type=int, default=100, metavar="N", help="that are evaluated (100)")
    made.add_argument("--micro", type=int, default=8, metavar="N", help="images at a time (8)")
    made.add_argument("--shards", type=int, default=2, metavar="N", help="of these make a batch (2)")
    made.add_argument("--alone", action="store_true", help="without the lung-shaped runs beside it")
    made.add_argument("--folder", type=Path, metavar="PATH", help="where networks are saved (the results')")
    args = settle(made.parse_args())
    args.data = "fashion-mnist"
    if args.tiny:
        args.data, args.neurons, args.images, args.test = "digits", 3010, 48, 16
    args.full = True  # every part is on disk before the next one begins
    folder = args.folder or results()
    file = folder / f"giant-{args.neurons}.safetensors"
    args.resume = file.exists()
    free = shutil.disk_usage(folder).free
    if args.neurons > LARGE and not args.resume and free < LIMITS["disk"]:
        raise SystemExit(f"giant needs 15 GiB in {folder}, of which {free / GIB:.1f} GiB are free: --folder")
    report = Report("giant", args)
    giant(report, file)
    if not (args.tiny or args.alone):
        args.full = False  # fewer epochs, one number of threads
        judged = list(report.judgements)
        scale.lung(report)
        report.judgements = judged  # `scale.py` judges these
    report.save()
    file.unlink()


if __name__ == "__main__":
    main()
