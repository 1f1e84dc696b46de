"""The contestants of `mixing.py`, each in a process of its own (`_measure.Side`)."""

from __future__ import annotations

from typing import Any

import numpy as np


def transforms(threads: int, n: int, batch: int) -> dict[str, Any]:
    """The mixes of a batch of n values, and a dense product of that size by NumPy's BLAS."""
    from rewire import _core
    from rewire.layers.mix import MIXES, Mix

    rng = np.random.default_rng(0)
    tile = _core.tile_size(batch, "float32")
    x, y = (_core.Tiles(n, batch, tile) for _ in "xy")
    x.pack(rng.standard_normal((batch, n)).astype(np.float32))
    found: dict[str, Any] = {}
    for mix in MIXES:
        layer = Mix(mix)
        layer.connect(n)
        layer.network_seed, layer.index = 0, 0
        layer.start()
        found[mix] = lambda layer=layer: layer.transform(x, y, threads)
    weights, samples = (rng.standard_normal((m, n)).astype(np.float32) for m in (n, batch))
    out = np.empty((batch, n), np.float32)
    found["dense"] = lambda: np.matmul(samples, weights, out=out)
    return found


def switches(threads: int, n: int, batch: int, block: int) -> dict[str, Any]:
    """Forward, backward and an SGD step of blocks of switches, and of two sides and a sparse layer.

    The sparse layer has the links of the blocks.
    """
    import rewire as rw
    from rewire import _core

    rng = np.random.default_rng(0)
    tile = _core.tile_size(batch, "float32")
    x, y, dy, dx = (_core.Tiles(n, batch, tile) for _ in range(4))
    sides, dsides = (_core.Tiles(2 * n, batch, tile) for _ in range(2))
    for tiles in (x, dy):
        tiles.pack(rng.standard_normal((batch, n)).astype(np.float32))
    update = _core.Update("sgd", momentum=0.9, state=("momentum",))
    update.lr = 1e-4
    weight, gradient, momentum = (_core.aligned_zeros((n, 2 * block), "float32") for _ in range(3))
    weight[...] = 0.5
    links = np.zeros((n, 2 * n), np.float32)
    rows = np.repeat(np.arange(n), block)
    cols = rows // block * block + np.tile(np.arange(block), n)
    links[rows, cols] = links[rows, n + cols] = 0.5
    layer = rw.Sparse.from_dense(links, group=block)
    network = rw.Sequential([layer])  # which gives it a store
    layer.store.add_field("momentum", "float32")
    store = network.layers[0].core
    scratch = _core.Scratch()

    def blocks() -> None:
        _core.switches(x, weight, block, y, threads)
        _core.switches_back(x, weight, block, dy, dx, threads)
        _core.switches_gradient(x, dy, block, gradient.reshape(-1), threads)
        _core.update_array(weight, gradient, update, momentum)

    def sparse() -> None:
        _core.two_sides(x, sides, threads)
        _core.forward(store, sides, None, "linear", 0.0, y, None, threads)
        _core.backward_input(store, dy, dsides, threads)
        _core.two_sides_back(x, dsides, dx, threads)
        _core.backward_update(store, sides, dy, update, scratch, threads)

    return {"blocks": blocks, "sparse": sparse}
