"""What workers with structures of their own hand over and put together: merges, digests, bytes, values.

Four stores of 2 x 10^6 links each in 20,000 x 20,000, float32, one thread. Their links are drawn by
themselves, which share next to none, or share 71 of 100, as after a few rewirings of one network.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REWIRE_NUM_THREADS"):
    os.environ[variable] = "1"  # before NumPy is loaded

import numpy as np  # noqa: E402
from _measure import measure  # noqa: E402
from _report import Report, options  # noqa: E402

import rewire as rw  # noqa: E402

WIDTH, LINKS, STORES, SHARED = 20_000, 2_000_000, 4, 0.71
# Words of the table, and what the issue that asked for them allows: ns a link.
TARGETS = {"merge": 5.0, "digest, counted anew": 1.0, "bytes out": 2.0, "bytes in": 4.0}


def drawn(width: int, links: int, common: float) -> list[rw.WeightStore]:
    """Stores that have a part of their links in common."""
    rng = np.random.default_rng(0)
    kept = rng.choice(width * width, int(common * links), replace=False)
    stores = []
    for _ in range(STORES):
        own = np.setdiff1d(rng.choice(width * width, links - len(kept), replace=False), kept)
        at = np.concatenate([kept, own])
        values = rng.standard_normal(len(at), dtype=np.float32)
        stores.append(rw.WeightStore.from_arrays(at // width, at % width, values, n_out=width, n_in=width))
    return stores


def figures(stores: list[rw.WeightStore], links: int, budget: float) -> dict:
    """Nanoseconds a link of each operation."""
    one, data = stores[0], stores[0].structure_bytes()
    incoming = sum(store.nnz for store in stores)
    fresh = np.random.default_rng(1).integers(0, one.n_in, 20_000)
    rows = np.arange(20_000) % one.n_out
    added = [
        (i, j) for i, j in sorted({*zip(rows.tolist(), fresh.tolist(), strict=True)}) if (i, j) not in one
    ]
    i, j = (np.array(part) for part in zip(*added, strict=True))

    def edits() -> None:
        one.insert(i, j, 0.5)
        one.remove(i, j)

    sides = {
        "merge": lambda: rw.merge(stores, links=links, threads=1),
        "merge, all links": lambda: rw.merge(stores, threads=1),
        "bytes out": one.structure_bytes,
        "bytes in": lambda: rw.WeightStore.from_structure(data),
        "a field carried over": lambda: one.carry(stores[1], new=0.0, threads=1),
        "a copy, to compare": one.copy,
        "digest, counted anew": lambda: rw._core.structure_digest_counted(one._core),
        "edits, digest kept": edits,
    }
    counts = dict.fromkeys(sides, one.nnz) | dict.fromkeys(("merge", "merge, all links"), incoming)
    counts["edits, digest kept"] = 2 * len(added)
    result = measure(sides, budget=budget)
    return {
        "ns": {name: result.figure({name: 1e9 / counts[name]}) for name in sides},
        "bytes": len(data) / one.nnz,
    }


def main() -> None:
    report = Report("merge", options(__doc__, share=90))
    width, links = (200, 2_000) if report.arguments.tiny else (WIDTH, LINKS)
    table = report.table(
        f"{STORES} stores of {links:,} links, ns a link", ["", "of their own", "71 % shared"]
    )
    found = {}
    for common in (0.0, SHARED):
        found[common] = report.cell(
            f"shared {common:g}",
            lambda c=common: figures(drawn(width, links, c), links, report.left / (2 if c == 0.0 else 1)),
        )
    if all(found.values()):
        for name in found[0.0]["ns"]:
            table.row(name, found[0.0]["ns"][name], found[SHARED]["ns"][name])
        table.row("bytes a link, structure", found[0.0]["bytes"], found[SHARED]["bytes"])
        for name, limit in TARGETS.items():
            median = found[0.0]["ns"][name]["median"]
            met = None if median is None else median <= limit
            report.judge(
                f"16 {name}", f"at most {limit:g} ns a link", median if met is not None else "-", met
            )
    report.save()


if __name__ == "__main__":
    main()
