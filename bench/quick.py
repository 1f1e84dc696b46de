"""One epoch of Fashion-MNIST: rewire against dense PyTorch, interleaved, 1 and 2 threads.

Prints seconds for an epoch's 468 training steps (scaled from blocks of about 0.8 s) and the ratio
to dense. A ratio below 1 means faster than dense. About a minute on 2 cores.
"""

from __future__ import annotations

import json
from pathlib import Path

from _duel import duel
from _machine import fingerprint

STEPS = 468  # of an epoch
NAMES = ["torch-dense", "rewire", "rewire-group4"]
TARGET = 0.3  # of dense, group 1


def main() -> None:
    machine = fingerprint()
    print("  ".join(f"{k} {v}" for k, v in machine.items()), "\n")
    print("Fashion-MNIST 784-1000-1000-1000-10, epsilon 20, batch 128, float32; seconds an epoch, x dense\n")
    lines = ["| threads | side | weights | s/epoch | x dense |", "|---|---|---|---|---|"]
    results = {"machine": machine, "rows": []}
    judged = []
    for threads in (1, 2):
        out = duel(NAMES, threads, rounds=9, max_rounds=14)
        for name in NAMES:
            seconds, ratio = out["seconds"][name], out["ratio"][name]
            epoch = "not measurable" if seconds.median is None else f"{seconds.median * STEPS:.2f}"
            lines.append(f"| {threads} | {name} | {out['facts'][name]['weights']:,} | {epoch} | {ratio} |")
            row = {"threads": threads, "side": name, "seconds": vars(seconds), "ratio": vars(ratio)}
            results["rows"].append(row)
            if name == "rewire":
                judged.append(ratio.median)
    print("\n".join(lines))
    if None in judged:
        verdict = "not measurable: others took more than 5 % of a core too often"
    else:
        verdict = "met" if max(judged) <= TARGET else "NOT met"
    print(f"\ntarget: rewire at most {TARGET} x dense at 1 and 2 threads: {verdict}")
    folder = Path(__file__).with_name("results")
    folder.mkdir(exist_ok=True)
    (folder / "quick.json").write_text(json.dumps(results, indent=2) + "\n")
    (folder / "quick.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
