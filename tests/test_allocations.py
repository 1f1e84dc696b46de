"""Every allocation of the core fails once, by way of Python and for every rule: no half-done work, no leak.

Needs a module whose allocator counts blocks and refuses on demand (``RW_TEST``): `make asan-python` builds
one. For each operation an allocation fails, then a later one, and so on until none is left to fail. All of
them take an hour under sanitizers, so that `make asan-python` lets every `STEP`-th fail, from another one on
for each operation; ``REWIRE_EVERY_ALLOCATION=1``, as in `make soak`, leaves none out.
"""

import ctypes
import gc
import itertools
import os
import pickle

import numpy as np
import pytest

import rewire as rw
from rewire import _core
from rules.table import CASES

try:
    _library = ctypes.CDLL(_core.__file__)
    live = ctypes.c_int64.in_dll(_library, "rw_mem_live")  # blocks that are allocated
    fail_after = ctypes.c_int64.in_dll(_library, "rw_mem_fail_after")  # before one fails; < 0: never
except ValueError:
    pytest.skip("the allocator of this module never fails: make asan-python", allow_module_level=True)

# To act once is enough here, however short a run is for a rule's period.
pytestmark = pytest.mark.filterwarnings("ignore:rewiring .* acts once:UserWarning")

MOST = 5000  # allocations of one operation; more are a loop without end
STEP = 1 if os.environ.get("REWIRE_EVERY_ALLOCATION") == "1" else 4
begins = itertools.cycle(range(STEP))  # operations are much alike: together they come to all allocations
X = np.random.default_rng(0).normal(size=(24, 9)).astype("f4")
Y = np.arange(24) % 3


def build(name, group=1, optimizer="momentum", threads=1):
    case = CASES[name]
    net = rw.Sequential(
        [
            rw.Sparse(9, 11, density=case.density, activation="all-relu", group=group),
            rw.Dropout(0.1),
            rw.Sparse(11, 13, density=case.density, activation="all-relu", group=group),
            rw.Sparse(13, 3, density=case.density, activation="softmax"),
        ],
        seed=1,
    )
    chosen = rw.Adam(0.01, clip_norm=1.0) if optimizer == "adam" else rw.SGD(0.05, momentum=0.9)
    return rw.Trainer(net, loss="cross_entropy", optimizer=chosen, rewiring=case.make(), threads=threads)


def fit(trainer):
    trainer.fit(X, Y, epochs=2, batch_size=8, validation_data=(X[:7], Y[:7]), verbose=0)
    return trainer.arrays()


def same(one, other):
    return one.keys() == other.keys() and all(one[k].tobytes() == other[k].tobytes() for k in one)


def sweep(make, act, whole):
    """Let every `STEP`-th allocation of ``act(make())`` fail once; how many there were, to within `STEP`.

    ``act`` gives arrays: where a failure is coped with, they are those of a run without one. ``whole`` judges
    what a failed ``act`` has left behind.
    """
    expected = act(make())
    gc.collect()
    gc.freeze()  # collecting is what takes long here
    try:
        for n in range(next(begins), MOST, STEP):
            before = live.value
            subject, error = make(), None
            fail_after.value = n
            try:
                found = act(subject)
            except MemoryError as caught:
                error = caught.with_traceback(None)
            finally:
                failed, fail_after.value = fail_after.value < 0, -1
            assert failed or error is None, f"MemoryError with memory to spare: {error}"
            if error is None:
                assert same(found, expected), f"allocation {n} failed, and something else was done"
            else:
                whole(subject)
            subject = found = None
            gc.collect()
            assert live.value == before, f"{live.value - before} blocks leak when allocation {n} fails"
            if not failed:
                assert same(act(make()), expected)
                return n
    finally:
        gc.unfreeze()
    raise AssertionError("an operation that never succeeds")


def trains_on(trainer):
    """A fit that ran out of memory leaves a network that is whole, and that trains."""
    trainer.network.validate()
    assert np.isfinite(trainer.network.predict(X)).all()
    fit(trainer)
    trainer.network.validate()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("options", [(1, "momentum", 1), (4, "adam", 2)])
def test_fit(name, options):
    assert sweep(lambda: build(name, *options), fit, trains_on) > 20


@pytest.mark.parametrize("name", CASES)
def test_save_resume_predict(name, tmp_path):
    path, broken = tmp_path / "t.safetensors", tmp_path / "broken"
    trained = build(name)
    fit(trained)
    trained.save(path)

    def save(trainer):
        trainer.save(broken)
        return rw.Trainer.resume(broken).arrays()

    def resume(_):
        return rw.Trainer.resume(path).arrays()

    def use(trainer):
        copy = pickle.loads(pickle.dumps(trainer.network))
        return {"p": copy.predict(X), "q": np.float64(trainer.evaluate(X, Y)["loss"])}

    for act in (save, resume, use):
        assert sweep(lambda: trained, act, lambda trainer: trainer.network.validate()) > 0


@pytest.mark.parametrize("group", [1, 2])
def test_remove_neurons(group):
    def remove(network):
        rw.remove_neurons(network, {0: [0, 1, 2, 3], 1: [4, 5]})
        return network.arrays(None)

    def narrower():
        trainer = build("set", group)
        fit(trainer)
        return trainer.network

    before = narrower().arrays(None)

    def untouched(network):
        assert same(network.arrays(None), before)

    assert sweep(narrower, remove, untouched) > 20


def test_store():
    """Edits, fields, views and copies of one store."""

    def make():
        store = rw.WeightStore(n_out=9, n_in=12, group=1)
        positions = np.sort(np.random.default_rng(0).permutation(108)[:40])
        store.insert(positions // 12, positions % 12, np.arange(40, dtype="f4"))
        return store

    def edit(store):
        rows, cols, _ = store.to_arrays()
        store.add_field("age", "int32", birth=3.0)
        store.remove(rows[::2], cols[::2])
        store.insert(rows[::4], cols[::4], np.ones(len(rows[::4]), "f4"))
        store.compact()
        with store.view() as view:
            view.weight[...] *= 1
            del view
        copy = store.copy()
        return {"weight": copy.get_field("weight"), "age": copy.get_field("age"), "p": store.indptr()}

    assert sweep(make, edit, lambda store: store.validate()) > 5
