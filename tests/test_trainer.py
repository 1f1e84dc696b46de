"""The trainer learns, tells what happened, repeats itself; weights of samples, copies, presets."""

import copy
import json
import pickle
import tracemalloc

import numpy as np
import pytest

import rewire as rw
from small import T, X, Y, network, trainer

# --- it learns, and tells ---------------------------------------------------------------


def test_history():
    t = trainer(rewiring="set")
    history = t.fit(X, Y, epochs=3, batch_size=16, validation_data=(X, Y), verbose=0)
    assert history is t.history and len(history) == 3 and not history.interrupted
    assert history.columns == [
        "epoch",
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
        "lr",
        "nnz",
        "links_removed",
        "links_grown",
        "seconds_training",
        "seconds_rewiring",
        "seconds_evaluation",
        "seconds_callbacks",
    ]
    assert history["epoch"] == [0, 1, 2]
    assert history["loss"][-1] < history["loss"][0]
    assert history["nnz"] == [[120, 63]] * 3
    assert all(row["seconds_training"] > 0 and row["seconds_evaluation"] > 0 for row in history.epochs)
    assert history["seconds_rewiring"][0] == 0 < history["seconds_rewiring"][1]
    t.fit(X, Y, epochs=1, verbose=0)
    assert history["epoch"] == [0, 1, 2, 3] and t.epoch == 4
    assert history["val_loss"][-1] is None
    assert "val_loss" in history and "r2" not in history
    with pytest.raises(KeyError, match="no column 'r2'; there are epoch, loss"):
        history["r2"]
    twin = rw.History.from_dict(json.loads(json.dumps(history.to_dict())))
    assert twin.epochs == history.epochs


def test_learns_to_classify_and_to_regress():
    t = trainer()
    t.fit(X, Y, epochs=40, batch_size=16, verbose=0)
    found = t.evaluate(X, Y)
    assert found["accuracy"] > 0.95
    assert (t.network.predict(X).argmax(1) == Y).mean() == pytest.approx(found["accuracy"])
    r = rw.Trainer(network("linear", 2), loss="mse", optimizer=rw.Adam(0.01))
    r.fit(X, T, epochs=60, batch_size=16, verbose=0)
    found = r.evaluate(X, T)
    error = r.network.predict(X) - T
    assert found["r2"] == pytest.approx(
        1 - ((error**2).sum(0) / ((T - T.mean(0)) ** 2).sum(0)).mean(), rel=1e-5
    )
    assert found["loss"] == pytest.approx((error**2).mean(), rel=1e-5) and found["r2"] > 0.9
    b = rw.Trainer(network("sigmoid", 1), loss="binary_cross_entropy", optimizer=rw.Adam(0.02))
    b.fit(X, Y == 1, epochs=60, batch_size=16, verbose=0)
    assert b.evaluate(X, Y == 1)["accuracy"] > 0.95
    assert ((b.network.predict(X)[:, 0] > 0.5) == (Y == 1)).mean() == pytest.approx(
        b.evaluate(X, Y == 1)["accuracy"]
    )


@pytest.mark.parametrize(
    ("final", "loss", "truth"),
    [
        ("softmax", "cross_entropy", Y),
        ("softmax", "cross_entropy", np.eye(3)[Y]),
        ("sigmoid", "binary_cross_entropy", np.eye(3)[Y]),
        ("tanh", "mse", np.eye(3)[Y]),
    ],
)
def test_evaluate_agrees_with_predict(final, loss, truth):
    t = rw.Trainer(network(final), loss=loss)
    p = t.network.predict(X).astype("f8")
    hot = truth if truth.ndim == 2 else np.eye(3)[truth]
    expected = {
        "cross_entropy": lambda: -(hot * np.log(p)).sum(1).mean(),
        "binary_cross_entropy": lambda: -(hot * np.log(p) + (1 - hot) * np.log(1 - p)).mean(),
        "mse": lambda: ((p - hot) ** 2).mean(),
    }[loss]()
    assert t.evaluate(X, truth)["loss"] == pytest.approx(expected, rel=1e-5)
    assert t.evaluate(X, truth, batch_size=7)["loss"] == pytest.approx(expected, rel=1e-5)


def test_logits_and_softmax_learn_the_same():
    with_softmax, logits = network("softmax"), network("linear")
    for net in (with_softmax, logits):
        rw.Trainer(net, loss="cross_entropy").fit(X, Y, epochs=2, verbose=0)
    assert all(np.array_equal(a, logits.arrays()[k]) for k, a in with_softmax.arrays().items())


def test_labels_and_one_hot_learn_the_same():
    nets = [network(), network()]
    for net, y in zip(nets, (Y, np.eye(3)[Y]), strict=True):
        rw.Trainer(net, loss="cross_entropy").fit(X, y, epochs=2, verbose=0)
    np.testing.assert_allclose(nets[0].predict(X), nets[1].predict(X), rtol=1e-5)


def test_csr_learns_the_same_as_an_array():
    sparse = pytest.importorskip("scipy.sparse")
    wide = X * (X > 0.5)
    found = []
    for data in (wide, sparse.csr_array(wide)):
        t = trainer(standardize=True)
        t.fit(data, Y, epochs=2, batch_size=16, validation_data=(data, Y), verbose=0)
        found.append(t.network.predict(data))
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_standardize():
    shifted = X * np.arange(1, 9) + 1000
    t, plain = trainer(standardize=True), trainer(standardize=True)
    t.fit(shifted, Y, epochs=2, verbose=0)
    plain.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_allclose(t.network.predict(shifted), plain.network.predict(X), rtol=1e-2, atol=1e-3)
    first = t.network.standardizer
    t.fit(shifted, Y, verbose=0)  # the same data again tell nothing new
    assert t.network.standardizer is first


# --- order of samples, weights of samples -----------------------------------------------


def test_steps_after_the_first_allocate_nothing_to_speak_of():
    class Watch(rw.Callback):
        seen = []

        def on_step_end(self, state):
            self.seen.append(tracemalloc.get_traced_memory())
            tracemalloc.reset_peak()

    net = rw.Sequential(
        [rw.Sparse(300, 2000, activation="relu"), rw.Dropout(0.2), rw.Sparse(2000, 3, activation="softmax")]
    )
    x = np.random.default_rng(0).normal(size=(6 * 256, 300)).astype("f4")
    watch = Watch()
    t = rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.1, momentum=0.9), callbacks=[watch])
    tracemalloc.start()
    try:
        t.fit(x, np.arange(len(x)) % 3, epochs=1, batch_size=256, verbose=0)
    finally:
        tracemalloc.stop()
    extra = [peak - before for (before, _), (_, peak) in zip(watch.seen, watch.seen[1:], strict=False)]
    assert len(extra) == 5
    assert max(extra) < 100_000  # one layer's activations are 2 MB; the C core has a test of its own


def test_shuffling_is_a_function_of_seed_and_epoch():
    def orders(seed, shuffle=True, pieces=(3,)):
        seen = []

        class Spy(rw.losses.CrossEntropy):
            def evaluate(self, z, truth, weight, dz, threads=1):
                if dz is not None:
                    seen.extend(truth.array().tolist())
                return super().evaluate(z, truth, weight, dz, threads)

        t = rw.Trainer(rw.Sequential([rw.Sparse(1, 90, activation="softmax")]), loss=Spy(), seed=seed)
        for n in pieces:
            t.fit(np.zeros((90, 1)), np.arange(90), epochs=n, batch_size=16, shuffle=shuffle, verbose=0)
        return np.array(seen).reshape(3, 90)

    a = orders(0)
    assert all(sorted(row) == list(range(90)) for row in a)
    assert not np.array_equal(a[0], a[1])
    assert np.array_equal(a, orders(0)) and np.array_equal(a, orders(0, pieces=(1, 2)))
    assert not np.array_equal(a, orders(1))
    assert np.array_equal(orders(0, shuffle=False), np.tile(np.arange(90), (3, 1)))


def test_weights_are_repetitions():
    """In one batch, weight 2 is a sample that comes twice and weight 0 one that does not come."""
    weight = np.random.default_rng(6).integers(0, 3, len(X))
    nets = [network(dtype="float64"), network(dtype="float64")]
    rw.Trainer(nets[0], loss="cross_entropy").fit(
        X, Y, epochs=5, batch_size=1000, sample_weight=weight, shuffle=False, verbose=0
    )
    again = np.repeat(np.arange(len(X)), weight)
    rw.Trainer(nets[1], loss="cross_entropy").fit(X[again], Y[again], epochs=5, batch_size=1000, verbose=0)
    np.testing.assert_allclose(nets[0].predict(X), nets[1].predict(X), rtol=1e-9)
    found = rw.Trainer(nets[0], loss="cross_entropy").evaluate(X, Y, sample_weight=weight)
    expected = rw.Trainer(nets[0], loss="cross_entropy").evaluate(X[again], Y[again])
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_batch_without_weight_is_passed_over():
    t = trainer()
    weight = np.r_[np.zeros(32), np.ones(len(X) - 32)]
    t.fit(X, Y, batch_size=16, sample_weight=weight, shuffle=False, verbose=0)
    assert t.step == 4  # of six
    assert np.isfinite(t.history["loss"][0])


# --- copies -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("optimizer", [rw.SGD(0.1, momentum=0.9), rw.Adam(0.01)], ids=["sgd", "adam"])
def test_copies_go_on_alike(how, optimizer):
    t = trainer(optimizer=optimizer, rewiring="set", standardize=True)
    t.fit(X, Y, epochs=2, verbose=0)
    twin = how(t)
    for each in (t, twin):
        each.fit(X, Y, epochs=2, verbose=0)
    assert np.array_equal(t.network.predict(X), twin.network.predict(X))
    assert twin.history["loss"] == t.history["loss"]


def test_own_callbacks_are_given_again():
    class Mine(rw.Callback):
        count = 0

        def on_epoch_end(self, state):
            self.count += 1

        def config(self):
            return {"name": "mine", "count": self.count}

        def restore(self, config, arrays):
            self.count = config["count"]

    t = trainer(callbacks=[Mine(), rw.EarlyStopping(monitor="loss")])
    t.fit(X, Y, epochs=3, verbose=0)
    twin = rw.Trainer.from_config(t.config(), t.arrays(), [Mine(), rw.EarlyStopping(monitor="loss")])
    assert twin.callbacks[0].count == 3 and twin.callbacks[1].best == t.callbacks[1].best


def test_resuming_with_wrong_callbacks_does_not_blame_the_file(tmp_path):
    trainer().save(tmp_path / "t.safetensors")
    for callbacks, words in ((5, "callbacks must be a list"), ([5], r"callbacks\[0\] must have one of")):
        with pytest.raises(TypeError, match=words):
            rw.Trainer.resume(tmp_path / "t.safetensors", callbacks)


# --- presets ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", rw.presets.PRESETS)
@pytest.mark.parametrize("rule", ["set", "static"])
def test_presets_train(name, rule):
    p = rw.preset(name)
    net = rw.Sequential(p.layers([8, 20, 20, 3]))
    t = rw.Trainer(net, loss="cross_entropy", optimizer=p.optimizer(epochs=2), rewiring=p.rewiring(rule))
    t.fit(X, Y, epochs=2, batch_size=p.batch_size, verbose=0)
    net.validate()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"density": 0.1, "distribution": "uniform"}, [8000, 10_000, 100]),
        ({"density": 0.1}, None),
        ({"links": 18_100}, None),
        ({"links": 18_100, "distribution": "uniform"}, [8000, 10_000, 100]),
        ({"epsilon": 5}, [3000, 3250, 1000]),
        ({"dense": True}, [80_000, 100_000, 1000]),
    ],
)
def test_layers_of_a_perceptron(options, expected):
    layers = rw.presets.mlp_layers([200, 400, 250, 4], dropout=0.2, **options)
    assert [type(layer).__name__ for layer in layers[1::2]] == ["Dropout"] * 2
    net = rw.Sequential(layers)
    counts = [layer.nnz for layer in net.weight_layers]
    if expected is None:
        assert sum(counts) == round(0.1 * net.size)
    else:
        assert counts == expected


def test_one_number_says_how_many_links_there_are():
    p = rw.preset("default").replace(dropout=0.0, group=1)
    for given, links in (({"density": 0.1}, 21), ({"links": 50}, 50), ({"epsilon": 1}, 51)):
        assert sum(layer.weight.nnz for layer in p.layers([5, 10, 10, 6], **given)) == links
        assert sum(layer.weight.nnz for layer in p.replace(**given).layers([5, 10, 10, 6])) == links
    with pytest.raises(
        ValueError, match="give one of epsilon, density and links, got density=0.1 and links=5"
    ):
        p.layers([5, 10, 6], density=0.1, links=5)
