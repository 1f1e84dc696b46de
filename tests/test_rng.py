"""Philox agrees with NumPy bit for bit, the hypergeometric distribution with SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewire import _core

words = st.integers(0, 2**64 - 1)


@given(key=st.tuples(words, words), counter=st.tuples(words, words, words, words))
def test_philox_is_numpy_s(key, counter):
    # NumPy counts up before it draws: its first block is that of counter + 1.
    low = (counter[0] - 1) % 2**64
    borrow = low == 2**64 - 1
    before = [low, *counter[1:]]
    for i in (1, 2, 3):
        before[i] = (before[i] - borrow) % 2**64
        borrow = borrow and before[i] == 2**64 - 1
    numpy = np.random.Philox(
        key=np.array(key, np.uint64), counter=np.array(before, np.uint64)
    )
    assert _core.philox(key, counter) == tuple(int(w) for w in numpy.random_raw(4))


def test_philox_known_answer():
    ones = 2**64 - 1
    assert _core.philox((ones, ones), (ones,) * 4) == (
        0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0,
    )  # fmt: skip


def quantiles(total, marked, draws, n):
    return np.array([_core.hypergeometric(total, marked, draws, (i + 0.5) / n) for i in range(n)])


@pytest.mark.parametrize(
    ("total", "marked", "draws"),
    [(10, 3, 4), (50, 25, 25), (1000, 20, 300), (784, 700, 400), (10**6, 1000, 2000), (10**12, 10**7, 10**6)],
)
def test_hypergeometric_has_scipy_s_masses(total, marked, draws):
    stats = pytest.importorskip("scipy.stats")
    n = 20_000
    x, count = np.unique(quantiles(total, marked, draws, n), return_counts=True)
    exact = stats.hypergeom(total, marked, draws).pmf(x)
    # Each value owns one stretch of u, of length pmf: a grid counts it to within one or two points,
    # and neighbours push it by theirs.
    np.testing.assert_allclose(count / n, exact, atol=3 / n)
    assert exact.sum() > 0.999


@given(data=st.data())
def test_hypergeometric_stays_in_its_support(data):
    total = data.draw(st.integers(1, 2**52))
    # Not wider than a few million: a walk over all of the support takes as long as it is wide.
    marked = data.draw(st.integers(0, min(total, 10**6)))
    draws = data.draw(st.integers(0, total))
    u = data.draw(st.floats(0, 1, exclude_max=True))
    x = _core.hypergeometric(total, marked, draws, u)
    assert max(0, draws - (total - marked)) <= x <= min(draws, marked)


def test_hypergeometric_of_a_vast_layer_is_quick():
    """The end of the unit interval ends, too: the walk stops where no mass is left."""
    for u in (0.0, 0.5, 1 - 2**-53):
        assert 0 <= _core.hypergeometric(10**13, 5 * 10**12, 4 * 10**12, u) <= 4 * 10**12
