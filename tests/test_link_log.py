"""LinkLog and MapLog: what becomes of links, against plain sets and dicts that follow every plan."""

import json

import numpy as np
import pytest

import rewire as rw
from rewire import _core, analysis
from rewire.callbacks.link_log import FIELD
from rewire.rewiring import Epochs, Steps
from small import NOISE, X, Y

INTS = ("grown", "removed", "survived", "explored")
FIGURES = (*INTS, "age_mean", "age_median", "epoch", "step")
HISTORY = ("links_survived", "links_explored", "link_age_mean", "link_age_median", "exploration_rate")


class Truthful(rw.SET):
    """SET whose plans are kept, and which takes a link out and puts it back at once, where any may grow."""

    def plans(self, parameters, context):
        plans = super().plans(parameters, context)
        self.done = {}
        for i, (plan, layer) in enumerate(zip(plans, parameters, strict=True)):
            removed, grown = set(zip(*plan.removed(), strict=True)), set(zip(*plan.inserted(), strict=True))
            groups = np.repeat(np.arange(layer.store.n_groups), np.diff(layer.store.indptr()))
            here = set(zip(groups, layer.store.sources(), strict=True))
            again = {min(here - removed)} if context.regrow else set()
            plans[i] = _core.Plan(layer.core)
            plans[i].pairs(*arrays(removed | again), *arrays(grown | again), None)
            self.done[layer.name] = removed | again, grown | again
        return plans


def arrays(slots):
    """Groups and sources in order."""
    found = np.array(sorted(slots), np.int32).reshape(-1, 2)
    return np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(found[:, 1])


class Truth(rw.Callback):
    """Follows every link by a dict from (row, column) to the rewiring that brought it."""

    def __init__(self):
        self.birth = None

    def on_fit_begin(self, state):
        if self.birth is None:
            self.birth = [dict.fromkeys(links(layer.store), 0) for layer in state.network.weight_layers]
            self.seen = [set(births) for births in self.birth]
            self.start = [len(births) for births in self.birth]
            self.rows, self.alive = [], []

    def on_rewire(self, state):
        now, rows = len(self.rows) + 1, []
        for layer, births, seen in zip(state.network.weight_layers, self.birth, self.seen, strict=True):
            removed, grown = (
                {link for slot in slots for link in members(layer.store, slot)}
                for slots in state.trainer.rewiring.done.get(f"{layer.name}.weight", ((), ()))
            )
            for link in removed:
                del births[link]
            births.update(dict.fromkeys(grown, now))
            assert set(births) == set(links(layer.store))
            seen |= grown
            ages = [now - birth for birth in births.values()]
            survived = sum(birth == 0 for birth in births.values())
            rows.append([len(grown), len(removed), survived, len(seen), np.mean(ages), np.median(ages)])
        self.rows.append(rows)

    def on_epoch_end(self, state):
        self.alive.append([sorted(births.values()) for births in self.birth])


def links(store):
    rows, cols, _ = store.to_arrays()
    return list(zip(rows.tolist(), cols.tolist(), strict=True))


def members(store, slot):
    first = int(slot[0]) * store.group
    return [(row, int(slot[1])) for row in range(first, min(first + store.group, store.n_out))]


def make(*callbacks, group=1, rewiring="set", optimizer=None, seed=0):
    net = rw.Sequential(
        [
            rw.Sparse(8, 30, density=0.4, activation="relu", group=group),
            rw.Dropout(0.1),
            rw.Sparse(30, 3, density=0.5, activation="softmax", group=group),
        ],
        seed=seed,
    )
    return rw.Trainer(
        net, loss="cross_entropy", optimizer=optimizer or rw.SGD(0.1, momentum=0.9), rewiring=rewiring,
        callbacks=callbacks,
    )  # fmt: skip


def fit(trainer, epochs, batch_size=30, **options):
    trainer.fit(X, Y, epochs=epochs, batch_size=batch_size, verbose=0, **options)
    return trainer


def assert_same(one, other):
    for name in FIGURES:
        assert np.array_equal(one[name], other[name]), name
    assert np.array_equal(one.survival(), other.survival(), equal_nan=True)


@pytest.mark.parametrize("every", [Epochs(), Epochs(2), Steps(1)])
@pytest.mark.parametrize("group", [1, 4, 8])
def test_every_figure_is_that_of_plain_sets(group, every):
    log, truth = rw.LinkLog(), Truth()
    rule = Truthful(0.3, every=every, last_epoch="remove")
    trainer = fit(make(log, truth, group=group, rewiring=rule), 7)
    expected = np.array(truth.rows)
    assert len(expected) == log.rewirings == {Epochs(): 7, Epochs(2): 4}.get(every, 21)
    for i, name in enumerate(FIGURES[:6]):
        assert log[name] == pytest.approx(expected[:, :, i], rel=1e-12), name
        assert log[name].dtype == (np.int64 if name in INTS else np.float64)
    assert np.all(log["explored"][-1] > truth.start)
    last = trainer.history.epochs[-1]
    assert last["links_survived"] == expected[-1, :, 2].tolist()
    assert last["links_explored"] == expected[-1, :, 3].tolist()
    assert last["link_age_mean"] == pytest.approx(expected[-1, :, 4])
    assert last["link_age_median"] == expected[-1, :, 5].tolist()
    assert last["exploration_rate"] == expected[-1, :, 3].sum() / (8 * 30 + 30 * 3)
    assert sum(np.sum(trainer.history[name]) for name in ("links_removed", "links_grown")) == (
        log["removed"].sum() + log["grown"].sum()
    )
    check_survival(log, truth)


def check_survival(log, truth):
    """Cohort by cohort: the rewirings of an epoch are one."""
    n = len(truth.alive)
    for layer in (None, 0, 1):
        chosen = [0, 1] if layer is None else [layer]
        left = log.survival(layer)
        assert left.shape == (n, n + 1)
        for t, k in np.ndindex(left.shape):
            members = [0] if k == 0 else (1 + np.flatnonzero(log["epoch"] == k - 1)).tolist()
            came = sum(
                truth.start[i] if k == 0 else log["grown"][[m - 1 for m in members], i].sum() for i in chosen
            )
            alive = sum(birth in members for i in chosen for birth in truth.alive[t][i])
            if k > t + 1 or came == 0:
                assert np.isnan(left[t, k])
            else:
                assert left[t, k] == pytest.approx(alive / came, abs=1e-15)


def test_exploration_of_real_training():
    """SET on the digits: the union of all places, by a Python set."""
    data = rw.datasets.load("digits")
    net = rw.Sequential(
        [rw.Sparse(64, 200, density=0.05, activation="relu"), rw.Sparse(200, 10, density=0.2)], seed=1
    )
    seen = [set(links(layer.store)) for layer in net.layers]

    class Union(rw.Callback):
        def on_rewire(self, state):
            for places, layer in zip(seen, net.layers, strict=True):
                places.update(links(layer.store))

    log = rw.LinkLog()
    trainer = rw.Trainer(net, loss="mse", rewiring="set", callbacks=[Union(), log])
    trainer.fit(data.X / 16, np.eye(10)[data.y], epochs=12, verbose=0)
    assert log["explored"][-1].tolist() == list(map(len, seen))
    rate = sum(map(len, seen)) / (64 * 200 + 200 * 10)
    assert trainer.history["exploration_rate"][-1] == rate and rate > 2 * net.density


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("optimizer", [rw.SGD(0.1, momentum=0.9), rw.Adam(0.01)])
def test_training_is_the_same_with_and_without(group, optimizer):
    quiet, logged = (
        make(group=group, optimizer=optimizer),
        make(rw.LinkLog(), group=group, optimizer=optimizer),
    )
    for trainer in (quiet, logged):
        fit(trainer, 4)
    mine, theirs = quiet.network.arrays(), logged.network.arrays()
    assert mine.keys() == theirs.keys()
    assert all(np.array_equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.filterwarnings("ignore:rewiring 'set' acts once")  # in a first call of three steps
@pytest.mark.parametrize("group", [1, 8])
@pytest.mark.parametrize("middle", [1, 3])
def test_resumed_as_if_never_stopped(group, middle, tmp_path):
    rule = rw.SET(every=Steps(2))
    whole, first = (make(rw.LinkLog(), rw.MapLog(1, bins=7), group=group, rewiring=rule) for _ in "ab")
    fit(whole, 6)
    fit(first, middle).save(tmp_path / "t")
    second = rw.Trainer.resume(tmp_path / "t")
    assert_same(second.callbacks[0], first.callbacks[0])
    fit(second, 6 - middle)
    assert_same(second.callbacks[0], whole.callbacks[0])
    for name in HISTORY:
        assert second.history[name] == whole.history[name]
    assert np.array_equal(second.callbacks[1].maps, whole.callbacks[1].maps)
    assert second.callbacks[1].epochs == whole.callbacks[1].epochs == list(range(7))
    mine, theirs = second.arrays(), whole.arrays()
    assert mine.keys() == theirs.keys() and all(np.array_equal(mine[name], theirs[name]) for name in mine)


def test_fit_in_two_pieces_and_a_late_start():
    whole, halves = make(rw.LinkLog()), make(rw.LinkLog())
    fit(whole, 6)
    fit(fit(halves, 2), 4)
    assert_same(whole.callbacks[0], halves.callbacks[0])
    late = fit(make(), 3)
    late.callbacks.append(rw.LinkLog())
    fit(late, 3)
    log = late.callbacks[0]
    assert log["epoch"].tolist() == [3, 4, 5] and log.survival().shape == (3, 4)
    assert np.array_equal(log["grown"], whole.callbacks[0]["grown"][2:])
    assert late.history["exploration_rate"][:3] == [None] * 3


def test_dense_layers_and_static_ones():
    log = rw.LinkLog()
    net = rw.Sequential([rw.Dense(8, 5, activation="relu"), rw.Sparse(5, 3, density=0.4)], seed=0)
    trainer = rw.Trainer(net, loss="mse", rewiring="set", callbacks=[log])
    trainer.fit(X, np.eye(3)[Y], epochs=3, verbose=0)
    assert log["survived"][:, 0].tolist() == log["explored"][:, 0].tolist() == [40, 40]
    assert log["age_mean"][:, 0].tolist() == [1.0, 2.0]
    static = fit(make(rw.LinkLog(), rewiring=None), 2)
    assert static.callbacks[0].rewirings == 0 and static.callbacks[0]["grown"].shape == (0, 2)
    assert static.history["exploration_rate"][-1] == static.network.density
    assert static.callbacks[0].survival()[:, 0].tolist() == [1.0, 1.0]


def test_empty_layer():
    net = rw.Sequential([rw.Sparse(8, 3, density=0.0)], seed=0)
    trainer = rw.Trainer(net, loss="mse", rewiring="set", callbacks=[rw.LinkLog()])
    trainer.fit(X, np.eye(3)[Y], epochs=2, verbose=0)
    assert trainer.history["link_age_mean"] == [[0.0], [0.0]]
    assert trainer.history["exploration_rate"] == [0.0, 0.0]


def test_best_epoch_comes_back_and_training_goes_on():
    stop = rw.EarlyStopping(patience=2, monitor="val_loss", restore_best=True)
    trainer = fit(make(rw.LinkLog(), stop), 30, validation_data=NOISE)
    before = trainer.callbacks[0].rewirings
    assert before < 29
    fit(trainer, 2, validation_data=NOISE)
    born = [layer.store.get_field(FIELD) for layer in trainer.network.weight_layers]
    assert trainer.callbacks[0].rewirings > before and all(b.min() == 0 for b in born)
    trainer.network.validate()


def test_links_of_ones_own_belong_to_the_next_rewiring():
    trainer = fit(make(rw.LinkLog()), 2)
    store = trainer.network.layers[0].store
    free = sorted(set(np.ndindex(store.shape)) - set(links(store)))[0]
    explored = int(trainer.callbacks[0]["explored"][-1, 0])
    store.insert(*free, np.float32(0.5))
    assert store.get_field(FIELD).max() == 2
    fit(trainer, 1)
    assert trainer.callbacks[0]["explored"][-1, 0] > explored


def test_an_epoch_that_was_broken_off():
    """Ctrl-C in a callback before the log's turn: the row of that epoch is not known, all others are."""

    class Breaks(rw.Callback):
        def on_epoch_end(self, state):
            if state.epoch == 2:
                raise KeyboardInterrupt

    log = rw.LinkLog()
    trainer = make(Breaks(), log)
    fit(trainer, 5)
    assert trainer.history.interrupted
    fit(trainer, 3)
    left = log.survival()
    assert left.shape == (5, 6) and np.isnan(left[1]).all()
    assert np.isfinite(left[[0, 2, 3, 4], 0]).all() and np.isfinite(left[2, 2])


def test_what_cannot_be_followed_is_refused():
    with pytest.raises(ValueError, match="at most one LinkLog"):
        fit(make(rw.LinkLog(), rw.LinkLog()), 1)
    log = fit(make(rw.LinkLog()), 2).callbacks[0]
    with pytest.raises(RuntimeError, match="not the layers whose links it has followed"):
        fit(make(log), 1)
    trainer = fit(make(rw.LinkLog(), rewiring=None), 1)
    store = trainer.network.layers[0].store
    store.set_field(FIELD, np.full((store.slots, 1), 2**31 - 1, np.int32))
    with pytest.raises(RuntimeError, match="use a new one"):
        fit(trainer, 1)
    with pytest.raises(ValueError, match="name must be one of 'grown', .*, got 'dead'"):
        log["dead"]
    with pytest.raises(ValueError, match=r"layer must be an integer in \[0, 1\], got 2"):
        log.survival(2)


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("explored.0", lambda a: a[::-1].copy()),
        ("explored.0", lambda a: a + 10**6),
        ("explored.0", lambda a: a.astype(np.int32)),
        ("rows", lambda a: a[:, :1]),
        ("when", lambda a: a[:1]),
        ("alive", lambda a: a[:, :, 1:]),
        ("initial", lambda a: a.astype(float)),
    ],
)
def test_damaged_state_is_refused(name, wrong):
    log = fit(make(rw.LinkLog()), 3).callbacks[0]
    config, arrays = json.loads(json.dumps(log.config())), log.arrays()
    rw.LinkLog().restore(config, arrays)
    with pytest.raises(ValueError, match=f"LinkLog: array '{name}'"):
        rw.LinkLog().restore(config, {**arrays, name: wrong(arrays[name])})


def test_map_log():
    log = rw.MapLog(1, bins=5)
    assert log.maps.shape == (0, 0, 0)
    trainer = make(log)
    first = analysis.link_map(trainer.network.weight_layers[1], 5)
    fit(fit(trainer, 2), 1)
    last = analysis.link_map(trainer.network.weight_layers[1], 5)
    assert log.epochs == [0, 1, 2, 3] and log.maps.shape == (4, 3, 5)
    assert np.array_equal(log.maps[0], first) and np.array_equal(log.maps[-1], last)
    assert not np.array_equal(log.maps[1], log.maps[2])
    with pytest.raises(ValueError, match="layer must be an integer <= 1, got 2"):
        fit(make(rw.MapLog(2)), 1)
