"""What is saved, loaded or pickled comes out of stores, and into them, a little at a time."""

import copy
import io
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import rewire as rw
from rewire import _core, _pickling, _streaming
from rewire._container import Parts
from small import HANG_SECONDS, SELDOM


def whole(array):
    """An array, of its parts if it comes in these."""
    if not isinstance(array, Parts):
        return array
    return np.concatenate([part.reshape(-1) for part in array.parts()]).reshape(array.shape)


@SELDOM
@pytest.mark.parametrize("groups, values", [(1 << 13, 1 << 17), (3, 50), (1 << 13, 7), (1, 1)])
@pytest.mark.parametrize("group, dtype", [(1, "float32"), (4, "float64"), (8, "float32")])
def test_parts_are_the_arrays(group, dtype, groups, values, monkeypatch):
    monkeypatch.setattr(_streaming, "_GROUPS", groups)
    monkeypatch.setattr(_streaming, "_VALUES", values)
    rng = np.random.default_rng(0)
    for n_out, n_in, density in ((40, 30, 0.3), (37, 200, 0.9), (7, 3, 0.0)):
        layers = [rw.Sparse(n_in, n_out, density=density, group=group), rw.Sparse(n_out, 3, density=1.0)]
        net = rw.Sequential(layers, seed=1, dtype=dtype)
        rule = rw.rewiring.SET(every=2)
        trainer = rw.Trainer(net, loss="mse", optimizer=rw.Adam(0.01), rewiring=rule)
        trainer.fit(rng.normal(size=(30, n_in)), rng.normal(size=(30, 3)), batch_size=10, verbose=0)
        arrays, parts = net.arrays(None), net.parts(None)
        assert list(arrays) == list(parts) and any(isinstance(part, Parts) for part in parts.values())
        for name, array in arrays.items():
            found = whole(parts[name])
            assert found.dtype == array.dtype == parts[name].dtype and found.shape == array.shape
            assert np.array_equal(found, array)


def test_a_part_that_is_not_taken_pins_nothing():
    net = rw.Sequential([rw.Sparse(30, 40, density=0.3), rw.Sparse(40, 3, density=1.0)])
    parts = net.parts(None)["layers.0.weight.values"].parts()
    next(iter(parts))
    assert net.layers[0].store._core.pins == 0


PEAKS = """
import copy, os, pickle, sys
import numpy as np
import rewire as rw
def kib(name):
    with open("/proc/self/status") as file:
        return int(file.read().split(name + ":")[1].split()[0])
def peak(what, act):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        before = kib("VmRSS")
        made = act()
        print(links, what, kib("VmHWM") - before, flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("a child failed")
def dump(thing, name):
    with open(name, "wb") as file:
        pickle.dump(thing, file)
def load(name):
    with open(name, "rb") as file:
        return pickle.load(file)
net_file, trainer_file, net_pickle, trainer_pickle = (f"{sys.argv[1]}/{k}" for k in range(4))
for links in (1000, 2_500_000):
    layers = [rw.Sparse(1000, 100_000, links=links, activation="relu"), rw.Sparse(100_000, 2, links=1000)]
    trainer = rw.Trainer(rw.Sequential(layers, seed=0), loss="mse", optimizer=rw.SGD(0.01, momentum=0.9))
    trainer.fit(np.zeros((2, 1000), "f4"), np.zeros((2, 2)), epochs=1, verbose=0)
    net = trainer.network
    print(links, "network", net.nbytes // 1024)
    for what, thing, file, pickled in (
        ("net", net, net_file, net_pickle), ("trainer", trainer, trainer_file, trainer_pickle)
    ):
        peak(f"{what}.save", lambda: thing.save(file))
        peak(f"{what}.dump", lambda: dump(thing, pickled))
        peak(f"{what}.deepcopy", lambda: copy.deepcopy(thing))
        peak(f"{what}.unpickle", lambda: load(pickled))
    peak("net.load", lambda: rw.load(net_file))
    peak("trainer.resume", lambda: rw.Trainer.resume(trainer_file))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the peak from /proc")
def test_memory_beside_the_network_does_not_grow_with_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PEAKS, str(tmp_path)],
        capture_output=True, text=True, timeout=HANG_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    taken = {(links, what): int(kib) / 1024 for links, what, kib in map(str.split, done.stdout.splitlines())}
    assert len(taken) == 2 * 11
    for (links, what), mib in taken.items():
        makes = what.rpartition(".")[2] not in ("save", "dump", "network")
        network = taken[links, "network"] if makes else 0  # a copy of any of it would be 19 or 29 more
        if what != "network":
            assert mib < network + (40 if what.endswith("unpickle") else 16), (what, taken)


# --- pickles ----------------------------------------------------------------------------------


def small(group=4, dtype="float32", rewiring="set"):
    layers = [rw.Sparse(30, 37, density=0.3, group=group, activation="relu"), rw.Sparse(37, 3, density=0.5)]
    net = rw.Sequential(layers, seed=1, dtype=dtype)
    trainer = rw.Trainer(net, loss="mse", optimizer=rw.Adam(0.01), rewiring=rewiring)
    rng = np.random.default_rng(0)
    return trainer, (rng.normal(size=(30, 30)), rng.normal(size=(30, 3)))


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("group, dtype", [(1, "float32"), (4, "float64"), (8, "float32")])
def test_every_pickle_gives_the_same_back(group, dtype, monkeypatch):
    monkeypatch.setattr(_pickling, "_CHUNK", 64)
    trainer, data = small(group, dtype)
    trainer.fit(*data, epochs=2, verbose=0)
    arrays = trainer.arrays()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        found = io.BytesIO()
        pickle._Pickler(found, protocol).dump(trainer)  # in Python: joblib's is one of these
        for text in (pickle.dumps(trainer, protocol), found.getvalue()):
            again = pickle.loads(text)
            assert same(arrays, again.arrays()) and again.config() == trainer.config()
            again.network.validate()
    assert same(arrays, pickle._Unpickler(io.BytesIO(text)).load().arrays())
    again.fit(*data, epochs=1, verbose=0)
    trainer.fit(*data, epochs=1, verbose=0)
    assert same(trainer.arrays(), again.arrays())


def test_copies_of_any_kind_share_nothing():
    trainer, data = small()
    net = trainer.network
    before = net.arrays(None)
    for twin in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert same(before, twin.arrays(None))
        twin.layers[1].store.remove(*(index[0] for index in twin.layers[1].store.to_arrays()[:2]))
        assert same(before, net.arrays(None)) and not same(before, twin.arrays(None))


def test_pickles_with_plain_arrays_are_still_read():
    trainer, data = small()
    trainer.fit(*data, epochs=1, verbose=0)
    net = trainer.network
    twin = rw.Sequential.__new__(rw.Sequential)
    twin.__setstate__({"config": net.config(None), "arrays": net.arrays(None)})
    assert same(net.arrays(None), twin.arrays(None))
    store, again = net.layers[0].store, rw.WeightStore(n_out=37, n_in=30, group=4)
    again.__setstate__(store.__getstate__())
    assert pickle.dumps(again) == pickle.dumps(store)


class Meddling(io.BytesIO):
    """A file into which nothing is written before something else has happened."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def write(self, data):
        act, self.act = self.act, lambda: None
        act()
        return super().write(data)


def test_what_changes_while_it_is_pickled_is_refused():
    layers = [rw.Sparse(2000, 500, links=200_000, activation="relu"), rw.Sparse(500, 3, density=0.5)]
    trainer = rw.Trainer(rw.Sequential(layers), loss="mse")
    data = np.zeros((2, 2000), "f4"), np.zeros((2, 3))
    store = trainer.network.layers[0].store
    missing = np.setdiff1d(np.arange(2000), store.sources()[: store.indptr()[1]])[0]
    for thing, act in (
        (trainer, lambda: trainer.fit(*data, epochs=1, verbose=0)),
        (trainer.network, lambda: trainer.fit(*data, epochs=1, verbose=0)),
        (store, lambda: store.insert([0], [missing])),
    ):
        with pytest.raises(RuntimeError, match="changed while it was pickled"):
            pickle.dump(thing, Meddling(act))
    trainer.fit(*data, epochs=1, verbose=0)  # nobody holds it any more


class Trains(rw.Callback):
    """Trains while it is pickled, once."""

    def __init__(self, act):
        self.act = act

    def __getstate__(self):
        act, self.act = self.act, None
        if act is not None:
            act()
        return {"act": None}


def test_callbacks_are_not_pickled_beside_an_earlier_network():
    trainer, data = small()
    trainer.callbacks = [Trains(lambda: trainer.fit(*data, epochs=1, verbose=0))]
    with pytest.raises(RuntimeError, match="changed while it was pickled"):
        pickle.dumps(trainer)
    assert trainer.epoch == 1 and same(pickle.loads(pickle.dumps(trainer)).arrays(), trainer.arrays())


def test_values_that_change_while_they_are_pickled_are_refused():
    """Also where nothing but the values tells: through a view, or in a store that another one shares."""
    layers = [rw.Sparse(2000, 500, links=200_000, activation="relu"), rw.Sparse(500, 3, density=0.5)]
    net = rw.Sequential(layers, seed=1)
    store = net.layers[0].store
    fields = store.add_field("mine", "int32"), store.get_field("mine")

    def change(view):
        with np.errstate(invalid="ignore"):  # free slots may hold anything
            view.weight[...] = 0.5 * view.weight + 1.0

    with store.view() as view:
        for thing, act in (
            (store, lambda: store.set_field("weight", np.zeros((200_000, 1)))),
            (store, lambda: store.set_field("mine", fields[1] + 1)),
            (store, lambda: change(view)),
            (net, lambda: net.layers[1].store.set_field("weight", np.zeros((750, 1)))),
        ):
            with pytest.raises(RuntimeError, match="changed while it was pickled"):
                pickle.dump(thing, Meddling(act))
    assert np.array_equal(pickle.loads(pickle.dumps(store)).get_field("mine"), store.get_field("mine"))


@pytest.mark.parametrize("make", [copy.deepcopy, copy.copy])
@pytest.mark.parametrize("what", ["network", "trainer"])
def test_nobody_trains_while_a_copy_is_made(make, what, monkeypatch):
    trainer, data = small()
    trainer.fit(*data, epochs=1, verbose=0)
    before, refused = trainer.arrays(), []

    def fit():
        with pytest.raises(RuntimeError, match="fit cannot run while .* runs on this network") as error:
            trainer.fit(*data, epochs=1, verbose=0)
        refused.append(error)

    def meddling(*arguments):
        thread = threading.Thread(target=fit)
        thread.start()
        thread.join()
        put(*arguments)

    put = _streaming.put
    for module in (_streaming, _pickling):
        monkeypatch.setattr(module, "put", meddling)
    twin = make(trainer if what == "trainer" else trainer.network)
    assert refused and same(before, trainer.arrays())
    assert same(before if what == "trainer" else trainer.network.arrays(None),
                twin.arrays() if what == "trainer" else twin.arrays(None))  # fmt: skip


def test_a_state_is_of_one_moment():
    """It is set as often as anybody likes, and not after the network has changed, unless it is a copy."""
    trainer, data = small()
    trainer.fit(*data, epochs=1, verbose=0)
    net = trainer.network
    before, state = net.arrays(None), net.__getstate__()
    states = [state, copy.deepcopy(state), pickle.loads(pickle.dumps(state))]
    states += [copy.deepcopy(states[2]), pickle.loads(pickle.dumps(states[2]))]

    def made(state):
        twin = rw.Sequential.__new__(rw.Sequential)
        twin.__setstate__(state)
        return twin

    for each in states:
        first = made(each)
        first.layers[0].store.set_field("weight", np.zeros(first.layers[0].store.slots * 4))
        assert same(before, made(each).arrays(None))
    trainer.fit(*data, epochs=1, verbose=0)
    for each in states[1:]:
        assert same(before, made(each).arrays(None))
    for use in (made, copy.deepcopy, pickle.dumps):
        with pytest.raises(RuntimeError, match=r"layer 0 \(Sparse 30 -> 37\) has changed while it was pick"):
            use(state)
    state, before = trainer.__getstate__(), trainer.arrays()
    twin = rw.Trainer.__new__(rw.Trainer)
    for _ in range(2):
        twin.__setstate__(pickle.loads(pickle.dumps(state)))
        assert same(before, twin.arrays())


class Tagged(rw.WeightStore):
    """Puts a tag beside the state, which it keeps in a slot."""

    __slots__ = ("tag",)

    def __getstate__(self):
        return super().__getstate__() | {"tag": self.tag}

    def __setstate__(self, state):
        self.tag = state.pop("tag")
        super().__setstate__(state)


class Reduced(rw.WeightStore):
    def __reduce__(self):
        return rebuilt, (self.to_dense(),)


def rebuilt(dense):
    return Reduced.from_dense(dense + (dense != 0))


class Noted(rw.Sequential):
    """Keeps a note, and the state that it was made of."""

    note = "none"

    def __getstate__(self):
        return {"note": self.note, "rest": super().__getstate__()}

    def __setstate__(self, state):
        self.note, self.made_of = state["note"], state["rest"]
        super().__setstate__(state["rest"])


class Renamed(rw.Sequential):
    def __reduce__(self):
        return small_network, ()


def small_network():
    return rw.Sequential([rw.Sparse(3, 2, density=1.0)], seed=7)


def test_subclasses_say_themselves_what_their_pickles_are():
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):

        def again(thing, protocol=protocol):
            return pickle.loads(pickle.dumps(thing, protocol))

        store = Tagged.from_dense(np.eye(3))
        store.tag = 7
        assert again(store).tag == 7 and np.array_equal(again(store).to_dense(), np.eye(3))
        assert np.array_equal(again(Reduced.from_dense(np.eye(3))).to_dense(), 2 * np.eye(3))
        net = Noted([rw.Sparse(3, 2, density=0.5)], seed=3)
        net.note = "mine"
        twin = again(net)
        assert twin.note == "mine" and same(twin.arrays(), net.arrays())
        twin.__setstate__({"note": "other", "rest": twin.made_of})
        assert twin.note == "other" and same(twin.arrays(), net.arrays())
        assert again(Renamed([rw.Sparse(9, 2)])).n_in == 3
    assert copy.copy(net).note == copy.deepcopy(net).note == "mine"
    assert copy.copy(Renamed([rw.Sparse(9, 2)])).n_in == 3


def test_a_pickle_of_another_store_is_refused():
    trainer, _ = small()
    state = trainer.network.__getstate__()
    other = rw.Sequential([rw.Sparse(30, 37, density=0.3, group=2), rw.Sparse(37, 3, density=0.5)])
    state["arrays"]["layers.0.weight.store"] = other.__getstate__()["arrays"]["layers.0.weight.store"]
    with pytest.raises(ValueError, match="layers.0.weight: the store is not what its description says"):
        pickle.loads(pickle.dumps(trainer.network)).__setstate__(state)
    stream = other.__getstate__()["arrays"]["layers.0.weight.store"]
    received, arguments, _, chunks = stream.__reduce_ex__(4)
    chunks = list(chunks)
    first, second, *more = chunks  # both of indptr
    for wrong in ([first, second], [*chunks[:-1], *chunks], [second, *more], [first, 2 * second, *more]):
        with pytest.raises(ValueError):
            stream = received(*arguments)
            stream.extend(wrong)
            stream.taken()


# --- loading ----------------------------------------------------------------------------------


def test_nothing_of_a_damaged_file_is_taken_for_whole(tmp_path):
    """Not even where a network does not need what is damaged: momentum, say."""
    layers = [rw.Sparse(1000, 400, links=300_000, activation="relu"), rw.Sparse(400, 3, density=0.5)]
    trainer = rw.Trainer(rw.Sequential(layers), loss="mse", optimizer=rw.SGD(0.1, momentum=0.9))
    trainer.fit(np.zeros((2, 1000), "f4"), np.zeros((2, 3)), epochs=1, verbose=0)
    path = tmp_path / "t"
    trainer.save(path)
    whole = path.read_bytes()
    for at in range(1 << 19, len(whole), 1 << 20):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        for read in (rw.load, rw.Trainer.resume):
            with pytest.raises(rw.FileError, match="do not fit their digest"):
                read(path)


def test_an_array_that_makes_no_store_is_named():
    trainer, _ = small()
    net = trainer.network
    for array, wrong, why in (
        ("indptr", lambda a: np.append(a[:-1], a[-1] - 1), "the arrays break an invariant"),
        ("indptr", lambda a: -a, "the arrays break an invariant"),
        ("sources", lambda a: a + 30, r"outside the store \(group 0"),
        ("sources", lambda a: 0 * a, "already there"),
    ):
        arrays = net.arrays(None)
        arrays[f"layers.0.weight.{array}"] = wrong(arrays[f"layers.0.weight.{array}"])
        said = rf"^layer 0 \(Sparse 30 -> 37\): array '{array}' does not fit: .*{why}"
        with pytest.raises(ValueError, match=said):
            rw.Sequential.from_config(net.config(None), arrays)


def test_a_store_in_blocks_is_made_of_all_of_them_or_not_at_all():
    indptr, sources = np.array([0, 2, 3]), np.array([1, 4, 0], "i4")
    values = np.arange(3, dtype="f4")

    def loader():
        return _core.Loader(3, n_out=2, n_in=5)

    made = loader()
    made.indptr(indptr[:1])
    made.indptr(indptr[1:])
    for part in (sources[:1], sources[1:1], sources[1:]):
        made.sources(part)
    with pytest.raises(ValueError, match="too short"):
        made.finish()
    with pytest.raises(KeyError):
        made.values("momentum", values)
    made.values("weight", values)
    store = made.finish()
    assert store.sources().tolist() == [1, 4, 0] and store.get_field("weight").ravel().tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="given away"):
        made.finish()
    for error, act in (
        (TypeError, lambda made: made.indptr(indptr.astype("i4"))),
        (ValueError, lambda made: made.indptr(indptr + 1)),
        (ValueError, lambda made: made.indptr(np.array([0, 2, 4]))),
        (ValueError, lambda made: made.sources(sources)),
        (ValueError, lambda made: (made.indptr(indptr), made.values("weight", values))),
        (_core.LinkRange, lambda made: (made.indptr(indptr), made.sources(sources + 1))),
        (_core.LinkExists, lambda made: (made.indptr(indptr), made.sources(0 * sources))),
    ):
        made = loader()
        with pytest.raises(error):
            act(made)
        with pytest.raises(ValueError, match="too short|given away"):
            made.finish()
