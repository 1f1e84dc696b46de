"""What every rule promises, whatever it is combined with.

Rules x starts x sizes x dtypes x optimizers x groups, in pairs (a third of them every day) and all of them
with ``--soak``: after every rewiring the stores hold their invariants (so nothing is connected twice) and the
number of links is what the rule promises. Then, rule by rule: the same bits for any number of threads, and
for a run that was saved and resumed in the middle.
"""

import numpy as np
import pytest

import rewire as rw
from rewire.rewiring import rewiring_names
from rules.pairs import everything, pairwise
from rules.table import CASES, KEEPS
from small import SELDOM

OPTIMIZERS = {
    "sgd": lambda: rw.SGD(0.05),
    "momentum": lambda: rw.SGD(0.05, momentum=0.9),
    "adam": lambda: rw.Adam(0.01),
    "clipped": lambda: rw.SGD(0.05, momentum=0.9, clip_norm=1.0),
}
# What the middle layer is like; its neighbours are ordinary.
MIDDLES = ("random", "fan-in", "one neuron", "full", "empty", "nearly full", "equal", "zeros", "one sign")


# Where the links of the first layer begin.
STARTS = ("random", "small-world", "scale-free", "correlated", "edge list", "dense matrix")


def first(case, start, group):
    """The first layer."""
    rng = np.random.default_rng(8)
    options = {"activation": "all-relu", "group": group}
    if start == "dense matrix":
        return rw.Sparse.from_dense(rng.normal(size=(11, 9)), density=case.density, **options)
    if start == "edge list":
        chosen = np.repeat(rng.random((-(-11 // group), 9)) < case.density, group, axis=0)[:11]
        return rw.Sparse(9, 11, connectivity=rw.connectivity.EdgeList(*np.nonzero(chosen)), **options)
    where = rw.connectivity.connectivity(start, rng.normal(size=(20, 9)))
    return rw.Sparse(9, 11, density=case.density, connectivity=where, **options)


def layers(case, middle, start, group):
    """Three layers."""
    wide = 1 if middle == "one neuron" else 13
    count = {
        "full": {"density": 1.0},
        "empty": {"links": 0},
        "nearly full": {"links": 11 * 13 - 1},
        "fan-in": {"fan_in": 3},
    }.get(middle, {"density": case.density})
    init = {"equal": 0.25, "zeros": 0.0, "one sign": 0.5}.get(middle, "he")
    return [
        first(case, start, group),
        rw.Sparse(11, wide, activation="all-relu", group=group, init=init, **count),
        rw.Sparse(wide, 3, density=case.density, activation="softmax"),
    ]


def data(samples, features, dtype="float32"):
    rng = np.random.default_rng(samples)
    return rng.normal(size=(samples, features)).astype(dtype), rng.integers(0, 3, samples)


class Watch(rw.Callback):
    """Holds a rule to its word, rewiring by rewiring."""

    def __init__(self, network, keeps):
        self.keeps, self.rewirings = keeps, 0
        self.before = [layer.nnz for layer in network.layers]
        self.lacks = [layer.group - 1 for layer in network.layers]  # less than a slot

    def on_rewire(self, state):
        self.rewirings += 1
        state.network.validate()
        links = [layer.nnz for layer in state.network.layers]
        assert all(0 <= n <= layer.n_out * layer.n_in
                   for n, layer in zip(links, state.network.layers, strict=True))  # fmt: skip
        record = state.rewired
        names = [parameter.name for parameter in state.network.sparse_parameters]
        assert list(record.removed) == list(record.grown) == names and record.seconds > 0
        if self.keeps == "layer":
            for n, before, lacks in zip(links, self.before, self.lacks, strict=True):
                assert abs(n - before) <= lacks
        elif self.keeps == "network":
            assert sum(links) == sum(self.before)
        elif self.keeps == "falls":
            assert sum(links) <= sum(self.before) + sum(self.lacks)
            self.before = links


COMBINATIONS = {
    "case": list(CASES),
    "middle": list(MIDDLES),
    "start": list(STARTS),
    "dtype": ["float32", "float64"],
    "optimizer": list(OPTIMIZERS),
    "group": [1, 2, 4, 8],
}


def check(case, middle, start, dtype, optimizer, group):
    chosen = CASES[case]
    net = rw.Sequential(layers(chosen, middle, start, group), dtype=dtype, seed=3)
    watch = Watch(net, chosen.keeps)
    trainer = rw.Trainer(
        net, loss="cross_entropy", optimizer=OPTIMIZERS[optimizer](), rewiring=chosen.make(),
        callbacks=[watch],
    )  # fmt: skip
    trainer.fit(*data(64, 9, dtype), epochs=3, batch_size=8, verbose=0)
    assert watch.rewirings == trainer.rewirings
    assert watch.rewirings > 0 or case == "static"
    assert np.isfinite(net.predict(data(64, 9, dtype)[0])).all()


@pytest.mark.in_turn(3)
@pytest.mark.parametrize("options", pairwise(COMBINATIONS), ids=lambda o: "-".join(map(str, o.values())))
def test_promises_hold_in_pairs(options):
    check(**options)


@pytest.mark.soak
@pytest.mark.parametrize("case", CASES)
def test_promises_hold_in_all_combinations(case):
    for options in everything({**COMBINATIONS, "case": [case]}):
        check(**options)


def test_the_table_is_whole():
    """Every registered rule stands in the table, and pairs are pairs."""
    assert {case.name for case in CASES.values()} >= set(rewiring_names())
    assert all(case.keeps in KEEPS for case in CASES.values())
    found = pairwise(COMBINATIONS)
    for a, b in (("case", "middle"), ("middle", "group"), ("optimizer", "dtype")):
        pairs = {(options[a], options[b]) for options in found}
        assert len(pairs) == len(COMBINATIONS[a]) * len(COMBINATIONS[b])


# --- rule by rule -----------------------------------------------------------------------


def wide(case, threads, group=1):
    """A network large enough for threads to share its work."""
    net = rw.Sequential(
        [
            rw.Sparse(300, 400, density=case.density, activation="all-relu", group=group),
            rw.Sparse(400, 200, density=case.density, activation="all-relu", group=group),
            rw.Sparse(200, 3, density=0.5, activation="softmax"),
        ],
        seed=1,
    )
    return rw.Trainer(
        net, loss="cross_entropy", optimizer=rw.SGD(0.02, momentum=0.9), rewiring=case.make(), threads=threads
    )


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@SELDOM
@pytest.mark.in_turn(2)
@pytest.mark.parametrize("many", [2, 8])
@pytest.mark.parametrize("name", CASES)
def test_threads_change_nothing(name, many):
    results = []
    for threads in (1, many):
        trainer = wide(CASES[name], threads)
        trainer.fit(*data(160, 300), epochs=1, batch_size=32, verbose=0)  # a step beyond the longest period
        assert trainer.rewirings > 0 or name == "static"
        results.append(trainer.arrays())
    assert same(*results)


class Save(rw.Callback):
    """Saves the trainer after an epoch."""

    def __init__(self, path, epoch):
        self.path, self.epoch = path, epoch

    def on_epoch_end(self, state):
        if state.trainer.epoch == self.epoch:
            state.trainer.save(self.path)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("name", CASES)
def test_resuming_changes_nothing(name, optimizer, tmp_path):
    case, path = CASES[name], tmp_path / "trainer.safetensors"
    whole = rw.Trainer(
        rw.Sequential(layers(case, "random", "random", 2), seed=4), loss="cross_entropy",
        rewiring=case.make(), optimizer=OPTIMIZERS[optimizer](), callbacks=[Save(path, 2)],
    )  # fmt: skip
    whole.fit(*data(64, 9), epochs=4, batch_size=8, verbose=0)
    resumed = rw.Trainer.resume(path)
    resumed.fit(*data(64, 9), epochs=2, batch_size=8, verbose=0)
    assert resumed.rewirings == whole.rewirings
    assert same(resumed.arrays(), whole.arrays())
    assert resumed.config()["state"]["memory"] == whole.config()["state"]["memory"]


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_a_number_is_refused(name):
    case = CASES[name]
    net = rw.Sequential(layers(case, "random", "random", 1), seed=4)
    weights = net.layers[0].store.get_field("weight")
    weights[1] = np.nan
    net.layers[0].store.set_field("weight", weights)
    trainer = rw.Trainer(net, loss="cross_entropy", rewiring=case.make())
    with pytest.raises(rw.DivergenceError):
        trainer.fit(*data(64, 9), epochs=2, batch_size=8, verbose=0)
    net.validate()


@SELDOM
@pytest.mark.parametrize("name", CASES)
def test_a_view_stops_a_rule_and_nothing_is_lost(name):
    trainer = wide(CASES[name], 1)
    trainer.fit(*data(64, 300), epochs=1, batch_size=32, verbose=0)
    before = trainer.arrays()
    with trainer.network.layers[1].store.view():
        with pytest.raises(BufferError, match="layer 1"):
            trainer.fit(*data(64, 300), epochs=1, batch_size=32, verbose=0)
    assert same(trainer.arrays(), before)


@pytest.mark.parametrize("name", CASES)
def test_a_rule_reads_back(name):
    rule = CASES[name].make()
    twin = rw.rewiring.rewiring(rule.config())
    assert type(twin) is type(rule) and twin.config() == rule.config()
    assert repr(rule).startswith(type(rule).__name__ + "(")
