"""Equal seeds give equal bits: whatever the threads, in one piece or two, on every instruction set."""

import hashlib
from functools import partial

import numpy as np
import pytest

import rewire as rw
from rewire import _core
from strategies import ISAS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 90)).astype("f4")
Y = RNG.integers(0, 5, 300)

OPTIMIZERS = {
    "momentum": lambda: rw.SGD(0.05, momentum=0.9, weight_decay=1e-4),
    "adam": lambda: rw.Adam(0.01),
    "clipped": lambda: rw.SGD(0.05, momentum=0.9, nesterov=True, clip_norm=0.5),
}


def trainer(group=1, optimizer="momentum", dtype="float32", threads=1, seed=0, **options):
    """Wide enough that products are really split; of its rewirings only weights of new links are drawn so."""
    net = rw.Sequential(
        [
            rw.Dropout(0.1),
            rw.Sparse(90, 500, epsilon=10, activation="all-relu", group=group),
            rw.Dropout(0.3),
            rw.Sparse(500, 400, epsilon=10, activation="all-relu", group=group),
            rw.Sparse(400, 5, epsilon=5, activation="softmax"),
        ],
        seed=seed,
        dtype=dtype,
    )
    return rw.Trainer(
        net,
        loss="cross_entropy",
        optimizer=OPTIMIZERS[optimizer](),
        rewiring=rw.SET(0.3, init="he"),
        threads=threads,
        standardize=True,
        **options,
    )


def digest(arrays):
    h = hashlib.sha256()
    for name in sorted(arrays):
        h.update(name.encode() + str(arrays[name].dtype).encode() + str(arrays[name].shape).encode())
        h.update(np.ascontiguousarray(arrays[name]).tobytes())
    return h.hexdigest()


def run(epochs=3, batch_size=64, **options):
    t = trainer(**options)
    t.fit(X, Y, epochs=epochs, batch_size=batch_size, verbose=0)
    t.network.validate()
    return digest(t.arrays()) + digest({"out": t.network.predict(X)}) + repr(t.history["loss"])


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_change_no_bit(group, optimizer, dtype):
    options = {"group": group, "optimizer": optimizer, "dtype": dtype}
    expected = run(threads=1, **options)
    for n in (2, 4, 8):
        assert run(threads=n, **options) == expected, f"{n} threads"


def test_threads_change_no_bit_of_a_rewiring():
    """Of as many links as commits and mirrors need for a second thread."""

    def rewired(threads):
        net = rw.Sequential(
            [
                rw.Sparse(90, 2000, epsilon=5),
                rw.Sparse(2000, 2000, links=405_000),
                rw.Sparse(2000, 5, epsilon=5, activation="softmax"),
            ],
            seed=0,
        )
        t = rw.Trainer(
            net,
            loss="cross_entropy",
            optimizer=rw.SGD(0.05, momentum=0.9),
            rewiring=rw.SET(0.3),
            threads=threads,
        )
        t.fit(X, Y, epochs=2, batch_size=64, verbose=0)
        assert net.layers[1].core.generation > 0 and net.layers[1].core.has_mirror
        return digest(t.arrays())

    assert rewired(1) == rewired(3)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("group", [1, 2, 8])
def test_threads_change_no_bit_on_any_instruction_set(isa, group):
    before = _core.force_isa(isa)
    try:
        assert run(threads=1, group=group, epochs=2) == run(threads=3, group=group, epochs=2)
    finally:
        _core.force_isa(before)


def test_instruction_sets_agree_closely():
    outputs, before = [], _core.isa()
    try:
        for isa in ISAS:
            _core.force_isa(isa)
            t = trainer(dtype="float64")
            t.fit(X, Y, epochs=1, batch_size=64, verbose=0)
            outputs.append(t.network.predict(X))
    finally:
        _core.force_isa(before)
    for other in outputs[1:]:
        np.testing.assert_allclose(other, outputs[0], rtol=1e-9)


def test_seeds_matter():
    assert run(seed=0, epochs=1) == run(seed=0, epochs=1)
    assert run(seed=0, epochs=1) != run(seed=1, epochs=1)


def test_batch_1():
    options = {"epochs": 2, "batch_size": 1, "optimizer": "clipped"}
    assert run(threads=1, **options) == run(threads=2, **options)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("group", [1, 4])
def test_in_two_pieces_as_in_one(group, optimizer):
    whole = trainer(group, optimizer)
    whole.fit(X, Y, epochs=5, batch_size=64, verbose=0)
    first = trainer(group, optimizer)
    first.fit(X, Y, epochs=2, batch_size=64, verbose=0)
    second = rw.Trainer.from_config(first.config(), first.arrays())
    second.fit(X, Y, epochs=3, batch_size=64, verbose=0)
    assert digest(second.arrays()) == digest(whole.arrays())
    assert second.history["loss"] == whole.history["loss"]
    # The one that was copied goes on just as well.
    first.fit(X, Y, epochs=3, batch_size=64, verbose=0)
    assert digest(first.arrays()) == digest(whole.arrays())


def test_resumed_from_a_file_on_other_threads(tmp_path):
    whole = trainer()
    whole.fit(X, Y, epochs=4, batch_size=64, verbose=0)
    first = trainer(threads=2)
    first.fit(X, Y, epochs=2, batch_size=64, verbose=0)
    first.save(tmp_path / "t.safetensors")
    second = rw.Trainer.resume(tmp_path / "t.safetensors")
    second.threads = 3
    second.fit(X, Y, epochs=2, batch_size=64, verbose=0)
    assert digest(second.arrays()) == digest(whole.arrays())


def test_edit_history_leaves_no_trace():
    """A store that was edited back and forth, cloned and compacted trains like one that never was."""
    expected = trainer()
    expected.fit(X, Y, epochs=2, batch_size=64, verbose=0)
    edited = trainer()
    for layer in edited.network.weight_layers:
        store = layer.store
        rows, columns, values = store.to_arrays()
        store.remove(rows[::2], columns[::2])
        store.insert(rows[::2], columns[::2], values[::2])
        store.compact()
    edited.fit(X, Y, epochs=2, batch_size=64, verbose=0)
    assert digest(edited.arrays()) == digest(expected.arrays())


def scattered(weight, dy, dx, batch, threads, scratch, rounded):
    """The product without a look at whether a mirror pays."""
    _core.backward_input(weight.core, dy, dx, threads)


def test_mirror_leaves_no_trace():
    expected = trainer()
    expected.fit(X, Y, epochs=2, batch_size=64, verbose=0)
    without = trainer()
    for layer in without.network.weight_layers:
        layer.weight.backward_input = partial(scattered, layer.weight)
    without.fit(X, Y, epochs=2, batch_size=64, verbose=0)
    assert not any(layer.core.has_mirror for layer in without.network.weight_layers)
    assert digest(without.arrays()) == digest(expected.arrays())
