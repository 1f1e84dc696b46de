"""What follows from the sizes of a store, against a store that has them."""

import numpy as np
import pytest

import rewire as rw
from rewire._geometry import Geometry, item_bytes, padded


@pytest.mark.parametrize("group", [1, 2, 4, 8])
@pytest.mark.parametrize("n_out", [1, 3, 4, 7, 8, 13])
def test_geometry(n_out, group):
    store = rw.WeightStore(n_out=n_out, n_in=5, group=group)
    sizes = Geometry.of(store)
    rows = [range(n_out)[g * group : (g + 1) * group] for g in range(store.n_groups)]
    assert sizes == (5, n_out, group) and sizes.n_groups == store.n_groups
    assert sizes.n_rows == store.n_groups * group
    assert (sizes.last_rows, sizes.missing_rows) == (len(rows[-1]), group - len(rows[-1]))
    assert sizes.slot_links == (len(rows[0]) if len({len(r) for r in rows}) == 1 else 0)
    all_of_them = np.indices((n_out, 5)).reshape(2, -1)
    store.insert(*all_of_them, 1.0)
    assert sizes.n_positions == store.slots and store.nnz == n_out * 5


def test_bytes():
    assert [item_bytes(dtype) for dtype in ("float32", "float64")] == [4, 8]
    assert [padded(n) for n in (1, 8, 9)] == [8, 8, 16]
