"""One sample through a sparse layer whose inputs are partly zero: does leaving out what they multiply pay?

A layer's links are kept by output, so every link is looked at: ``store @ x``. Kept by source, as in a store
of the transposed matrix, the links of sources that are zero could be left out; but sums go to memory then,
one after the other. Here the best that this can give is measured: ``x @ store`` on a transposed store that
has no other links than those of sources that are not zero, as if finding them cost nothing. Beside it stands
what groups of four outputs do for the same number of links. One thread, processor time, in turns.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REWIRE_NUM_THREADS"), "1")

import statistics
from typing import Any

import numpy as np
from _report import Report, options
from _turns import ratio, turns

import rewire as rw

SHAPES = [(1000, 0.045), (1000, 0.3), (4096, 0.01), (4096, 0.1)]  # neurons on both sides, density
NOT_ZERO = (1.0, 0.5, 0.3, 0.1, 0.02)
ALL, GROUPS, SOME = "by output", "by output, groups of 4", "by source, without zeros"


def random_store(n: int, density: float, group: int) -> Any:
    """The store of a layer."""
    return rw.Sequential([rw.Sparse(n, n, density=density, group=group)], seed=0).layers[0].store


def by_source(links: Any, n: int, active: Any) -> Any:
    """The transposed store of the links of some sources."""
    rows, cols, weights = links
    kept = active[cols]
    return rw.WeightStore.from_arrays(cols[kept], rows[kept], weights[kept], n_out=n, n_in=n)


def main() -> None:
    arguments = options(__doc__, 60)
    report = Report("one_sample", arguments)
    columns = ["neurons", "density", "links", "not zero", ALL, GROUPS, SOME, f"{SOME} / {ALL}"]
    table = report.table("One sample, microseconds of one thread", columns)
    for n, density in [(64, 0.1)] if arguments.tiny else SHAPES:
        store, grouped = (random_store(n, density, group) for group in (1, 4))
        links = store.to_arrays()
        rng = np.random.default_rng(0)
        for part in NOT_ZERO[:2] if arguments.tiny else NOT_ZERO:
            active = rng.permutation(n) < round(part * n)
            x = np.where(active, rng.standard_normal(n), 0).astype(np.float32)
            transposed = by_source(links, n, active)
            np.testing.assert_allclose(x @ transposed, store @ x, rtol=1e-3, atol=1e-4)
            contestants = {
                ALL: lambda x=x, store=store: store @ x,
                GROUPS: lambda x=x, grouped=grouped: grouped @ x,
                SOME: lambda x=x, transposed=transposed: x @ transposed,
            }

            def one(contestants: Any = contestants) -> dict[str, Any]:
                found = turns(contestants, 3 if arguments.tiny else 15)
                seconds = {name: statistics.median(each) for name, each in found.items()}
                return {"seconds": seconds, "ratio": ratio(found, SOME, ALL)}

            cell = report.cell(f"{n} {density} {part}", one)
            if cell:
                each = [1e6 * cell["seconds"][name] for name in contestants]
                table.row(n, f"{100 * density:g} %", store.nnz, f"{100 * part:g} %", *each, cell["ratio"])
    report.save()


if __name__ == "__main__":
    main()
