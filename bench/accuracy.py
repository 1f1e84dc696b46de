"""Accuracy on Fashion-MNIST after ten epochs: published settings, ours, static, dense; three seeds.

Every run is one `rewire train` command, as a user would type it; the table is made from its JSON.
The test set is looked at after every epoch and never chosen by: the figure is that of the last epoch.
About ten minutes on 2 cores, most of it for the dense network.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _fingerprint import fingerprint

COMMON = "train --data fashion-mnist --hidden 1000,1000,1000 --epochs 10 --batch-size 128 --quiet".split()
SPARSE = "--epsilon 20 --activation all-relu".split()
OURS = [*SPARSE, "--dropout", "0"]
CONSTANT = "--rewiring set --rewiring-opt decay=constant --rewiring-opt end=none".split()
RUNS = {
    "SET, no dropout": [*OURS, *CONSTANT],
    "SET, no dropout, group 4": [*OURS, *CONSTANT, "--group", "4"],
    "static sparse, no dropout": [*OURS, "--rewiring", "static"],
    "SET, --preset tsnn-2021": [*SPARSE, "--rewiring", "set", "--preset", "tsnn-2021"],
    # At our sparse default, lr 0.05, the dense network diverges: it gets the rate that suits it.
    "dense, lr 0.01": "--dense --activation all-relu --lr 0.01 --dropout 0".split(),
    "dense, the published settings": "--dense --activation all-relu --preset tsnn-2021".split(),
}
SEEDS = (0, 1, 2)


def one(options: list[str], seed: int, threads: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.json")
        command = [sys.executable, "-m", "rewire", *COMMON, *options, "--seed", str(seed)]
        command += ["--threads", str(threads), "--json", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.loads(out.read_text())


def main() -> None:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    only = sys.argv[2] if len(sys.argv) > 2 else ""  # of the names: a part of one
    machine = fingerprint()
    print("  ".join(f"{k} {v}" for k, v in machine.items()), "\n", flush=True)
    lines = [
        f"| 784-1000-1000-1000-10, 10 epochs, {threads} thread(s) "
        "| test accuracy | spread | weights | s/epoch | MiB |",
        "|---|---|---|---|---|---|",
    ]
    rows = {}
    print("\n".join(lines), flush=True)
    for name, options in RUNS.items():
        if only not in name:
            continue
        runs = [one(options, seed, threads) for seed in SEEDS]
        accuracy = [100 * run["accuracy"]["test"] for run in runs]
        weights = sum(layer["nnz"] for layer in runs[0]["layers"])
        seconds = statistics.median(s for run in runs for s in run["seconds"]["per_epoch"]["training"])
        memory = max(run["peak_memory_bytes"] for run in runs) / 2**20
        lines.append(
            f"| {name} | {statistics.mean(accuracy):.2f} % | {min(accuracy):.2f}..{max(accuracy):.2f} "
            f"| {weights:,} | {seconds:.2f} | {memory:.0f} |"
        )
        print(lines[-1], flush=True)
        rows[name] = {"accuracy": accuracy, "weights": weights, "seconds": seconds, "peak_mib": memory}
    folder = Path(__file__).with_name("results")
    folder.mkdir(exist_ok=True)
    (folder / "accuracy.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    (folder / "accuracy.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
