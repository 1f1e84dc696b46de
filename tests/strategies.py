"""What several test files draw or build: sizes, stores, and a store as a plain dict."""

import numpy as np
from hypothesis import strategies as st

from rewire import WeightStore, _core

# Instruction sets to be forced, each with kernels of its own: one more adds products of bfloat16 alone, which
# test_bf16.py has.
ISAS = [name for name in _core.isa_available() if name != "avx512bf16"]

groups = st.sampled_from([1, 2, 4, 8])
dtypes = st.sampled_from(["float32", "float64"])
seeds = st.integers(0, 2**32 - 1)

# Numbers that float32 holds exactly, halved and doubled a few times too: a dict of Python
# floats can be compared with ==.
weights = st.one_of(
    st.integers(-8, 8).map(lambda k: k / 4),  # ties and zeros
    st.just(-0.0),
    st.floats(-6e4, 6e4, width=16),
)


def rows_of(store, group):
    """The rows of a group that exist."""
    return range(group * store.group, min((group + 1) * store.group, store.n_out))


def random_store(rng, n_out, n_in, group=1, dtype="float32", density=0.3, scale=1.0):
    """A store with random links; weights normal times ``scale``."""
    store = WeightStore(n_out=n_out, n_in=n_in, group=group, dtype=dtype)
    links = rng.random((store.n_groups, n_in)) < density
    indptr = np.concatenate([[0], np.cumsum(links.sum(axis=1))])
    sources = np.nonzero(links)[1].astype(np.int32)
    values = rng.normal(0, scale, (sources.size, group)).astype(dtype)
    store._core.load(indptr.astype(np.int64), sources, values)
    return store


def dense(store):
    """The weights as a float64 matrix, zero where nothing is connected."""
    matrix = np.zeros(store.shape)
    rows, cols, values = store.to_arrays()
    matrix[rows, cols] = values
    return matrix


def as_dict(store):
    """{(row, col): weight}."""
    rows, cols, values = store.to_arrays()
    return dict(zip(zip(rows.tolist(), cols.tolist(), strict=True), values.tolist(), strict=True))


def tiles_of(x, tile=None, dtype=None):
    """An array (batch, n) as tiles."""
    dtype = dtype or x.dtype.name
    tile = tile or _core.tile_size(x.shape[0], dtype)
    tiles = _core.Tiles(x.shape[1], x.shape[0], tile, dtype)
    tiles.pack(x)
    return tiles
