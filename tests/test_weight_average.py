"""Averages of weights over steps: what they are, links that are born and dropped, files, evaluation."""

import itertools
import pickle

import numpy as np
import pytest

import rewire as rw
from rewire._inputs import as_source
from rewire.callbacks import weight_average
from rules.table import CASES

RNG = np.random.default_rng(5)
X = RNG.normal(size=(48, 9)).astype("f4")
Y = RNG.integers(0, 3, 48)


def network(group=1, dtype="float32", density=0.4, dense=False):
    middle = rw.Dense(11, 13, activation="relu") if dense else rw.Sparse(11, 13, density=density, group=group)
    layers = [rw.Sparse(9, 11, density=density, group=group, activation="relu"), middle]
    return rw.Sequential([*layers, rw.Sparse(13, 3, density=0.7, activation="softmax")], dtype=dtype, seed=2)


def trainer(net=None, average=None, rule=None, callbacks=(), **options):
    return rw.Trainer(
        net or network(), loss="cross_entropy", optimizer=rw.SGD(0.1, momentum=0.9), rewiring=rule,
        callbacks=[*callbacks, average or rw.WeightAverage(0.75)], **options,
    )  # fmt: skip


class Slow(rw.Callback):
    """The same averages, by dicts of positions, in float64."""

    def __init__(self, decay, begin=0, every=1):
        self.decay, self.begin, self.every = decay, begin, every
        self.mean, self.count = {}, {}

    @staticmethod
    def values(net):
        found = {}
        for name, q in net.parameters().items():
            if q.connects:
                rows, cols, values = q.to_arrays()
                found |= {(name, r, c): v for r, c, v in zip(rows, cols, values, strict=True)}
            else:
                found |= {(name, i): v for i, v in enumerate(q.read().tolist())}
        return found

    def on_rewire(self, state):
        there = self.values(state.network)
        for position in [p for p in self.mean if p not in there]:
            del self.mean[position], self.count[position]

    def on_step_end(self, state):
        if state.epoch < self.begin or state.step % self.every:
            return
        for position, w in self.values(state.network).items():
            n = self.count[position] = self.count.get(position, 0) + 1
            rate = 1 / n if self.decay is None else max(1 / n, 1 - self.decay)
            old = self.mean.get(position, 0.0)
            self.mean[position] = old + rate * (w - old)

    def check(self, averaged, trained, tolerance):
        found, raw = self.values(averaged), self.values(trained)
        assert found.keys() == raw.keys()
        expected = [self.mean.get(position, w) for position, w in raw.items()]
        np.testing.assert_allclose(list(found.values()), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options", [{"decay": 0.75}, {"decay": None, "begin": 1}, {"decay": 0.5, "every": 3}]
)
def test_averages_are_those_of_their_definition(group, dtype, options):
    slow = Slow(**options)
    net = network(group, dtype, dense=group == 1)
    t = trainer(net, rw.WeightAverage(**options), "static", [slow])
    t.fit(X, Y, epochs=3, batch_size=12, verbose=0)
    slow.check(t.evaluated_network(), net, 2e-6 if dtype == "float32" else 1e-13)
    assert t.evaluated_network() is t.evaluated_network() is not net


@pytest.mark.parametrize("case", ["set", "rigl", "snfs", "dsr", "cht", "srigl", "gmp", "set, he"])
def test_a_link_has_the_average_of_its_own_life(case):
    """Grown links begin anew, dropped ones leave nothing, and survivors keep theirs."""
    slow, chosen = Slow(0.9), CASES[case]
    net = network(density=chosen.density)
    t = trainer(net, rw.WeightAverage(0.9), chosen.make(), [slow])
    t.fit(X, Y, epochs=3, batch_size=8, verbose=0)
    assert t.rewirings > 1
    ages = np.concatenate([q.read("averaged") for q in net.sparse_parameters])
    assert ages.max() == t.step - (t.rewirings if t.rewiring.skip_step else 0) or ages.max() == t.step
    assert case == "gmp" or ages.min() < ages.max()
    # A link that was dropped and grown at once is another one, which positions alone do not tell.
    assert t.evaluated_network().nnz == net.nnz
    if case in ("rigl", "snfs", "cht", "gmp"):
        slow.check(t.evaluated_network(), net, 2e-6)


@pytest.mark.parametrize("case", CASES)
def test_every_rule_trains_the_same_with_and_without(case):
    """Averages change nothing in training, and are finite; the network with them is sound."""
    chosen, nets = CASES[case], []
    for average in ([], [rw.WeightAverage(0.9)]):
        net = network(group=2, density=chosen.density)
        t = rw.Trainer(net, loss="cross_entropy", optimizer=rw.Adam(0.01), rewiring=chosen.make(),
                       callbacks=average)  # fmt: skip
        t.fit(X, Y, epochs=2, batch_size=8, verbose=0)
        nets.append(net)
    assert np.array_equal(nets[0].get_vector(), nets[1].get_vector())
    averaged = t.evaluated_network()
    averaged.validate()
    assert averaged.nnz == nets[0].nnz and np.isfinite(averaged.predict(X)).all()
    for own, q in zip(averaged.sparse_parameters, nets[1].sparse_parameters, strict=True):
        assert not own.read()[q.read() == 0].any()  # as links outside of the forward set are


def test_threads_change_no_bits():
    found = []
    for threads in (1, 3):
        t = trainer(network(group=4), rule=rw.SET(every=rw.Steps(3)), threads=threads)
        t.fit(X, Y, epochs=2, batch_size=8, verbose=0)
        found.append(t.evaluated_network().get_vector())
    assert np.array_equal(*found)


def test_validation_and_evaluation_are_by_averages():
    t = trainer()
    t.fit(X, Y, epochs=3, batch_size=12, validation_data=(X, Y), verbose=0)
    plain = rw.Trainer(t.network, loss="cross_entropy").evaluate(X, Y)
    averaged = rw.Trainer(t.evaluated_network(), loss="cross_entropy").evaluate(X, Y)
    assert t.evaluate(X, Y) == averaged != plain
    assert t.history["val_loss"][-1] == averaged["loss"]


@pytest.mark.parametrize("rule", [rw.SET(every=rw.Steps(5)), rw.TopKAST(every=4, end=1.0), rw.RigL(every=3)])
def test_resumed_with_the_same_bits(rule, tmp_path):
    whole = trainer(network(group=2), rule=rule)
    whole.fit(X, Y, epochs=4, batch_size=12, verbose=0)
    half = trainer(network(group=2), rule=rule, horizon=4)
    half.fit(X, Y, epochs=2, batch_size=12, verbose=0)
    half.save(tmp_path / "half")
    for again in (rw.Trainer.resume(tmp_path / "half"), pickle.loads(pickle.dumps(half))):
        assert np.array_equal(again.evaluated_network().get_vector(), half.evaluated_network().get_vector())
        again.fit(X, Y, epochs=2, batch_size=12, verbose=0)
        assert np.array_equal(again.network.get_vector(), whole.network.get_vector())
        assert np.array_equal(again.evaluated_network().get_vector(), whole.evaluated_network().get_vector())


def test_a_file_that_was_made_up_is_refused(tmp_path):
    t = trainer()
    t.fit(X, Y, epochs=1, batch_size=12, verbose=0)
    config, arrays = t.config(), t.arrays()
    name = "layers.0.weight.field.averaged"
    arrays[name] = arrays[name] + t.step
    with pytest.raises(ValueError, match="'averaged' must lie in"):
        rw.Trainer.from_config(config, arrays)
    config["callbacks"][0]["decay"] = 2
    with pytest.raises(ValueError, match="decay must be a number in"):
        rw.Trainer.from_config(config, t.arrays())


def test_another_average_begins_anew():
    net = network()
    trainer(net).fit(X, Y, epochs=2, batch_size=12, verbose=0)
    t = trainer(net)
    assert t.evaluated_network() is net  # those that are there are of another average
    t.fit(X, Y, epochs=1, batch_size=12, verbose=0)
    assert net.sparse_parameters[0].read("averaged").max() == 4
    with pytest.raises(ValueError, match="at most one WeightAverage"):
        trainer(network(), callbacks=[rw.WeightAverage()]).fit(X, Y, verbose=0)


def test_the_best_epoch_comes_back_with_its_averages():
    stop = rw.EarlyStopping(5, monitor="val_loss", mode="max", restore_best=True)
    t = trainer(callbacks=[stop])
    t.fit(X, Y, epochs=4, batch_size=12, validation_data=(X, Y), verbose=0)
    assert stop.best_epoch < 3 and t.evaluate(X, Y)["loss"] == pytest.approx(stop.best, rel=1e-6)


def test_a_fraction_of_the_run_is_one_of_epochs():
    for epochs, horizon, counted in ((4, None, 4), (4, 8, 0), (8, 8, 8)):
        t = trainer(average=rw.WeightAverage(None, begin=0.75), horizon=horizon)
        t.fit(X, Y, epochs=epochs, batch_size=12, verbose=0)
        assert t.network.sparse_parameters[0].read("averaged").max() == counted
        if not counted:
            assert np.array_equal(t.evaluated_network().get_vector(), t.network.get_vector())


def test_units_of_inputs_and_removed_neurons():
    """Averages follow a new standardisation; neurons that go take theirs along."""
    t = trainer(network(dtype="float64"), standardize=True)
    t.fit(X, Y, epochs=2, batch_size=12, verbose=0)
    nets = t.network, t.evaluated_network()
    before = [net.predict(X) for net in nets]
    t.network.learn_inputs(as_source(X / 10 + 0.3, 9, "X"), None)
    nets = t.network, t.evaluated_network()
    assert nets[1].standardizer.config() == nets[0].standardizer.config()
    for net, expected in zip(nets, before, strict=True):
        np.testing.assert_allclose(net.predict(X), expected, rtol=1e-9)
    rule = rw.ImportancePruning(0.2, begin=0, every=rw.Epochs(1), rule="set")
    pruned = trainer(network(density=0.6), rule=rule)
    pruned.fit(X, Y, epochs=4, batch_size=12, verbose=0)
    assert pruned.network.layers[1].n_in < 11
    assert pruned.evaluated_network().nnz == pruned.network.nnz
    assert pruned.network.layers[0].bias_parameter.values_of("averaged").max() < pruned.step


def test_an_own_loop_updates_by_itself():
    average, t = rw.WeightAverage(0.75), trainer()
    t.callbacks.clear()
    for start in range(0, 48, 12):
        t.train_step(X[start : start + 12], Y[start : start + 12])
        average.update(t.network)
    fitted = trainer()
    fitted.fit(X, Y, epochs=1, batch_size=12, shuffle=False, verbose=0)
    found = average.evaluated_network(t.network).get_vector()
    assert np.array_equal(found, fitted.evaluated_network().get_vector())


@pytest.mark.parametrize(
    ("what", "decay", "begin"),
    [("ema", 0.999, 0.0), ("SWA", None, 0.75), ({"name": "ema", "decay": 0.5, "begin": 2}, 0.5, 2)],
)
def test_averages_by_their_words(what, decay, begin):
    found = weight_average(what if isinstance(what, dict) else what.lower())
    assert (found.decay, found.begin) == (decay, begin)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: weight_average("mean"), ValueError, "average must be one of 'ema', 'swa', got 'mean'"),
        (lambda: weight_average(3), TypeError, "average must be one of"),
        (
            lambda: weight_average({"name": "ema", "rate": 1}),
            TypeError,
            "takes decay, begin, every, got 'rate'",
        ),
        (lambda: rw.WeightAverage(1.0), ValueError, r"decay must be a number in \[0, 1\), got 1.0"),
        (lambda: rw.WeightAverage(begin=1.5), ValueError, r"begin must be a number in \[0, 1\], got 1.5"),
        (lambda: rw.WeightAverage(begin=-1), ValueError, "begin must be an integer >= 0, got -1"),
        (lambda: rw.WeightAverage(every=0), ValueError, "every must be an integer >= 1, got 0"),
    ],
)
def test_wrong_averages_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


# --- estimators ---------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["SparseMLPClassifier", "SparseMLPRegressor"])
def test_estimators_predict_with_averages(model):
    options = {"hidden_layer_sizes": (20,), "epsilon": 3, "max_iter": 4, "batch_size": 12, "random_state": 0}
    plain, averaged = (getattr(rw, model)(**options, average=a) for a in (None, "ema"))
    predict = "predict_proba" if model.endswith("Classifier") else "predict"
    plain.fit(X, Y)
    averaged.fit(X, Y)
    assert np.array_equal(plain.network_.get_vector(), averaged.trainer_.network.get_vector())
    assert not np.array_equal(getattr(plain, predict)(X), getattr(averaged, predict)(X))
    assert averaged.network_.n_in == 9 and averaged.nnz_ == plain.nnz_
    again = pickle.loads(pickle.dumps(averaged))
    assert np.array_equal(getattr(again, predict)(X), getattr(averaged, predict)(X))
    for one in (averaged, again):
        one.set_params(warm_start=True).fit(X, Y)
    assert np.array_equal(getattr(again, predict)(X), getattr(averaged, predict)(X))
    assert averaged.trainer_.network.sparse_parameters[0].read("averaged").max() == 32
    averaged.partial_fit(X, Y)
    averaged.set_params(average={"name": "swa", "begin": 0}).partial_fit(X, Y)
    assert averaged.trainer_.network.sparse_parameters[0].read("averaged").max() == 4
    assert averaged.set_params(average=None).partial_fit(X, Y).network_ is averaged.trainer_.network
    with pytest.raises(ValueError, match="average must be one of"):
        averaged.set_params(average="polyak").fit(X, Y)


def test_pairs_of_words_are_no_surprise():
    """All steps alike: the plain mean."""
    t, seen = trainer(average=rw.WeightAverage(None)), []

    class Watch(rw.Callback):
        def on_step_end(self, state):
            seen.append(state.network.get_vector().astype("f8"))

    t.callbacks.append(Watch())
    t.fit(X, Y, epochs=2, batch_size=12, verbose=0)
    assert len(seen) == 8 and all(not np.array_equal(a, b) for a, b in itertools.pairwise(seen))
    np.testing.assert_allclose(t.evaluated_network().get_vector(), np.mean(seen, axis=0), atol=1e-6)
