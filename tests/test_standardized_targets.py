"""Targets in units of their own: learnt standardised, predicted as they were given, whatever their scale."""

import copy
import json
import pickle
import tracemalloc

import numpy as np
import pytest

import rewire as rw
from rewire import _saving, files
from rewire.cli import main
from small import network, normal

X = normal(240, 8)
# Of different units: the second is a million times the first, which hardly varies around 10.
T = np.stack([10 + 0.4 * np.tanh(X[:, 0] + X[:, 1]), 1e6 * (X[:, 2] - X[:, 3])], axis=1)
ONE = T[:, :1]


def trainer(n_out=2, dtype="float32", loss="mse", seed=0, **options):
    options = {"optimizer": rw.SGD(0.05, momentum=0.9, clip_norm=5.0), **options}
    return rw.Trainer(network("linear", n_out, seed, dtype), loss=loss, standardize_targets=True, **options)


def fitted(y=T, x=X, made=None, epochs=8, **options):
    made = trainer(y.shape[1] if isinstance(y, np.ndarray) else 2) if made is None else made
    made.fit(x, y, epochs=epochs, **{"batch_size": 32, "verbose": 0, **options})
    return made


def r2(net, y=T):
    return 1 - np.square(net.predict(X) - y).mean(0) / y.var(0)


def weights(t):
    return t.network.get_vector()


# --- what is learnt ---------------------------------------------------------------------------


def test_outputs_of_different_units_are_learnt_alike():
    t = fitted()
    assert (r2(t.network) > 0.8).all()
    plain = rw.Trainer(network("linear", 2), loss="mse", optimizer=t.optimizer)
    assert r2(fitted(made=plain).network)[0] < 0  # all steps are for the second one
    found = t.network.target_standardizer
    np.testing.assert_allclose(found.mean, T.mean(0), rtol=1e-12, atol=1e-6)
    np.testing.assert_allclose(found.scale, 1 / T.std(0), rtol=1e-12)


@pytest.mark.parametrize(("scale", "offset"), [(2.0**-20, 0.0), (2.0**20, 0.0), (2.0**90, 0.0)])
def test_units_that_are_powers_of_two_leave_no_trace(scale, offset):
    base, other = (fitted(ONE * by, made=trainer(1, "float64"), epochs=2) for by in (1.0, scale))
    np.testing.assert_array_equal(weights(base), weights(other))
    np.testing.assert_array_equal(base.network.predict(X) * scale, other.network.predict(X))
    assert base.history["loss"] == other.history["loss"]


@pytest.mark.parametrize(("scale", "offset"), [(1e-6, 0.0), (1e6, 0.0), (1.0, 1e4), (1e-3, -7.0)])
def test_scale_and_offset_make_no_difference(scale, offset):
    base, other = fitted(ONE), fitted(ONE * scale + offset)
    found = (other.network.predict(X).astype(np.float64) - offset) / scale
    # Outputs are float32: as far as these can tell numbers at the offset apart.
    apart = 1e-5 + 1e-6 * abs(offset) / scale
    np.testing.assert_allclose(found, base.network.predict(X), rtol=1e-4, atol=apart)
    assert other.evaluate(X, ONE * scale + offset)["r2"] == pytest.approx(
        base.evaluate(X, ONE)["r2"], abs=1e-3
    )


def test_losses_are_of_standardised_targets_and_r2_is_the_same():
    t = trainer(metrics=True)
    fitted(made=t, validation_data=(X, T))
    error = np.square((t.network.predict(X) - T) / T.std(0)).mean()
    found = t.evaluate(X, T)
    assert found["loss"] == pytest.approx(error, rel=1e-4)
    assert found["r2"] == pytest.approx(r2(t.network).mean(), abs=1e-4)
    assert t.history[-1]["val_loss"] == found["loss"] and t.history[-1]["val_r2"] == found["r2"]
    assert t.history["r2"][-1] > 0.7


def test_hubers_delta_counts_deviations():
    far = T.copy()
    far[::40] += 1e9  # a few that a square would follow
    t = fitted(far, made=trainer(loss=rw.losses.Huber(0.1)))
    error = np.abs((t.network.predict(X) - far) / far.std(0))
    loss = np.where(error < 0.1, error**2 / 2, 0.1 * (error - 0.05)).mean()
    assert t.evaluate(X, far)["loss"] == pytest.approx(loss, rel=1e-4)


def test_a_constant_target_is_predicted():
    t = fitted(np.column_stack([np.full(240, 1e6), T[:, 1]]), epochs=20)
    assert t.network.target_standardizer.scale[0] == 1.0
    np.testing.assert_allclose(t.network.predict(X)[:, 0], 1e6, atol=2.0)


def test_weights_of_samples_count():
    weight = np.where(np.arange(240) < 100, 2.0, 0.0)
    by = fitted(sample_weight=weight, epochs=1).network.target_standardizer
    np.testing.assert_allclose(by.mean, T[:100].mean(0))
    np.testing.assert_allclose(by.scale, 1 / T[:100].std(0))


def test_a_sparse_y_is_learnt_like_a_dense_one():
    sparse = pytest.importorskip("scipy.sparse")
    y = np.where(normal(240, 2) > 0, T, 0.0)
    # Sums over what is stored have other last bits: but for these the units, and so the bits, are the same.
    dense, found = fitted(y), fitted(sparse.csr_array(y), made=trainer())
    of_dense, of_sparse = (t.network.target_standardizer for t in (dense, found))
    np.testing.assert_allclose(of_sparse.mean, of_dense.mean, rtol=1e-12)
    np.testing.assert_allclose(of_sparse.scale, of_dense.scale, rtol=1e-12)
    assert found.history["loss"] == pytest.approx(dense.history["loss"], rel=1e-4)
    alike = []
    for given in (y, sparse.csr_array(y)):
        t = trainer()
        t.network.target_standardizer = of_dense
        alike.append(weights(fitted(given, made=t, epochs=2)))
    assert np.array_equal(*alike)


def test_units_stay_those_of_the_first_call():
    t = fitted()
    before = t.network.target_standardizer
    fitted(T * 1.1, made=t)
    assert t.network.target_standardizer is before
    assert (r2(t.network, T * 1.1) > 0.8).all()


@pytest.mark.parametrize("own_loop", [False, True])
def test_what_was_learnt_of_targets_as_they_are_stays(own_loop):
    y, gentle = np.column_stack([ONE, 3 * (X[:, 2] - X[:, 3])]), rw.SGD(0.01, clip_norm=1.0)
    plain = fitted(y, made=rw.Trainer(network("linear", 2), loss="mse", optimizer=gentle), epochs=4)
    before = plain.network.predict(X)
    t = rw.Trainer(plain.network, loss="mse", optimizer=rw.SGD(1e-30), standardize_targets=True)
    if own_loop:
        t.learn_targets(y)
    else:
        fitted(y, made=t, epochs=1)
    assert t.network.target_standardizer is not None
    np.testing.assert_allclose(t.network.predict(X), before, rtol=1e-4, atol=1e-3)
    far = fitted(y, made=rw.Trainer(network("linear", 2), loss="mse", optimizer=gentle), epochs=1)
    before = weights(far)
    t = rw.Trainer(far.network, loss="mse", standardize_targets=True)
    with pytest.raises(ValueError, match="cannot rescale what the last layer has learnt .* new network"):
        fitted(y * 1e12, made=t, epochs=1)
    assert t.network.target_standardizer is None and np.array_equal(weights(t), before)
    with pytest.raises(ValueError, match="learn_targets is for a trainer that standardises targets"):
        plain.learn_targets(y)


@pytest.mark.parametrize(
    ("by", "error", "words"),
    [
        ("x", TypeError, "target_standardizer must be a rewire.Standardizer, got 'x'"),
        (rw.Standardizer(np.zeros(3), np.ones(3)), ValueError, "of 2 outputs, got 3"),
        (rw.Standardizer(np.zeros(2), np.array([1.0, 0.0])), ValueError, "scale must be > 0, .* got 0"),
        (rw.Standardizer(np.zeros(2), np.array([1.0, -1.0])), ValueError, "scale must be > 0, .* got -1"),
        (rw.Standardizer(np.zeros(2), np.array([1e-320, 1.0])), ValueError, "scale must .* got 9.99989e-321"),
    ],
)
def test_units_that_cannot_be_are_refused(by, error, words):
    net = network("linear", 2)
    with pytest.raises(error, match=words):
        net.target_standardizer = by
    assert net.target_standardizer is None


def test_a_call_that_fails_leaves_no_units():
    class Fails(rw.Callback):
        def on_epoch_end(self, state):
            raise ZeroDivisionError

    t = trainer(callbacks=[Fails()])
    with pytest.raises(ZeroDivisionError):
        fitted(made=t)
    assert t.network.target_standardizer is None


# --- what is predicted ------------------------------------------------------------------------


def test_all_predict_alike(tmp_path):
    t = fitted()
    expected = t.network.predict(X)
    frozen = t.network.compile()
    out = np.empty_like(expected)
    assert frozen.predict(X, out=out) is out
    t.network.save(tmp_path / "m.st")
    for found in (
        out, frozen(X), np.stack([frozen(x) for x in X]), pickle.loads(pickle.dumps(frozen))(X),
        frozen.predict(X[3], out=np.empty(2))[None],
        t.network.predict(x for x in (X[:100], X[100:])),
        copy.deepcopy(t.network).predict(X), rw.load(tmp_path / "m.st").predict(X),
        t.evaluated_network().predict(X, batch_size=7),
    ):  # fmt: skip
        np.testing.assert_array_equal(found, expected[3:4] if len(found) == 1 else expected)
    assert "in one call" in repr(frozen)
    linear = rw.analysis.linear_at(t.network, X[0])
    np.testing.assert_allclose(linear(X[0]), expected[0], rtol=1e-4)


def test_predictions_have_what_r2_claims_far_from_zero(tmp_path, capsys):
    seconds = 1.6e9 + 30 * ONE  # float32 tells such numbers 128 apart
    t = fitted(seconds, epochs=20)
    claimed = t.evaluate(X, seconds)["r2"]
    assert claimed > 0.8
    for predict in (t.network.predict, t.network.compile()):
        found = predict(X)
        assert found.dtype == np.float64
        assert 1 - np.square(found - seconds).mean() / seconds.var() == pytest.approx(claimed, abs=1e-4)
    assert t.network.compile().dtype == predict(X[0]).dtype == "float64"
    assert rw.Trainer(network("linear", 1), loss="mse").network.predict(X).dtype == np.float32
    np.savez(tmp_path / "x.npz", X=X)
    t.network.save(tmp_path / "m.st")
    assert main(["predict", str(tmp_path / "m.st"), "--data", str(tmp_path / "x.npz")]) == 0
    printed = [float(line) for line in capsys.readouterr().out.split()]
    np.testing.assert_allclose(printed, found[:, 0], rtol=1e-14)


def test_outputs_that_overflow_in_their_units_are_refused():
    net = network("linear", 1)
    net.target_standardizer = rw.Standardizer(np.zeros(1), np.full(1, 1e-307))
    far = X * 1e6
    for predict in (net.predict, net.compile()):
        with pytest.raises(ValueError, match="X makes outputs overflow float64 in row 0"):
            predict(far)
        assert predict(np.zeros((1, 8))) == 0.0


# --- kept and gone on with --------------------------------------------------------------------


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path):
    whole, t = (trainer(callbacks=[rw.EarlyStopping(9, monitor="loss", restore_best=True)]) for _ in "ab")
    fitted(made=whole, epochs=4)
    fitted(made=t, epochs=2)
    t.save(tmp_path / "t.st")
    resumed = rw.Trainer.resume(tmp_path / "t.st")
    assert resumed.standardize_targets
    for again in (resumed, copy.deepcopy(t), pickle.loads(pickle.dumps(t))):
        fitted(made=again, epochs=2)
        assert np.array_equal(weights(again), weights(whole))
        assert np.array_equal(again.network.predict(X), whole.network.predict(X))
    network_alone = rw.Trainer(rw.load(tmp_path / "t.st"), loss="mse")
    assert network_alone.evaluate(X, T) == t.evaluate(X, T)


def test_files_without_units_are_as_before(tmp_path):
    t = rw.Trainer(network("linear", 2), loss="mse")
    assert "target_standardizer" not in t.config()["network"] and "standardize_targets" not in t.config()
    t.save(tmp_path / "t.st")
    assert rw.load(tmp_path / "t.st").target_standardizer is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c, a: a.pop("target_standardizer.mean"), "lacks the entry 'mean'"),
        (lambda c, a: a.update({"target_standardizer.mean": np.zeros(3)}), r"shape \(2,\)"),
        (lambda c, a: a.update({"target_standardizer.scale": np.array([1.0, 0.0])}), "scale must be > 0"),
        (lambda c, a: a.update({"target_standardizer.scale": np.array([1e-320, 1.0])}), "scale must be > 0"),
        (lambda c, a: a.update({"target_standardizer.x": np.zeros(2)}), "belongs together"),
        (lambda c, a: c["network"].update(target_standardizer=3), "must be a dict"),
        (lambda c, a: c["network"].pop("target_standardizer"), "'target_standardizer.mean' is unknown"),
        (lambda c, a: c.update(standardize_targets="yes"), "True or False, got 'yes'"),
    ],
)
def test_forged_units_are_refused(tmp_path, change, words):
    path = tmp_path / "t.st"
    fitted(epochs=1).save(path)
    held = files.read(path)
    config, arrays = held.config, dict(held.arrays)
    change(config, arrays)
    _saving.write(path, "trainer", config, arrays, {})
    with pytest.raises(rw.FileError, match=words):
        rw.Trainer.resume(path)


def test_averages_and_best_networks_have_the_units():
    average = rw.WeightAverage(0.5)
    best = rw.EarlyStopping(1, monitor="val_loss", restore_best=True)
    t = trainer(callbacks=[average, best])
    fitted(made=t, validation_data=(X, T))
    assert (r2(t.evaluated_network()) > 0.8).all()
    assert t.evaluate(X, T)["r2"] == pytest.approx(r2(t.evaluated_network()).mean(), abs=1e-4)


# --- several, and in pieces -------------------------------------------------------------------


def test_workers_have_the_bits_of_one():
    one, two = (fitted(made=trainer(shards=4), epochs=2, workers=n) for n in (1, 2))
    assert np.array_equal(weights(one), weights(two))
    assert np.array_equal(one.network.predict(X), two.network.predict(X))
    assert one.history["loss"][-1] < 1.0


@pytest.mark.parametrize("strategy", [rw.LocalSGD(2, workers=2), rw.WASSP(0.3, workers=2)])
def test_trainings_that_learn_alone_have_the_units(strategy):
    t = fitted(made=trainer(metrics=True), strategy=strategy, epochs=12)
    assert (r2(t.network) > 0.5).all() and t.history["r2"][-1] > 0.5
    np.testing.assert_allclose(t.network.target_standardizer.mean, T.mean(0), rtol=1e-9, atol=1e-6)


def test_data_in_pieces():
    batches = [(X[at : at + 32], T[at : at + 32]) for at in range(0, 240, 32)]
    found = fitted(None, batches, trainer(), batch_size=None)
    by, array = found.network.target_standardizer, fitted(epochs=1).network.target_standardizer
    np.testing.assert_allclose([by.mean, by.scale], [array.mean, array.scale], rtol=1e-9)
    assert found.evaluate(batches)["r2"] == pytest.approx(r2(found.network).mean(), abs=1e-4)
    one = trainer()
    with pytest.raises(ValueError, match="standardize_targets takes a pass over y, .* call learn_targets"):
        fitted(None, iter(batches), one, steps_per_epoch=4, epochs=1, batch_size=None)
    one.learn_targets(T)
    fitted(None, iter(batches), one, steps_per_epoch=4, epochs=1, batch_size=None)
    np.testing.assert_array_equal(one.network.target_standardizer.mean, array.mean)


def test_loops_of_ones_own():
    whole, t = trainer(), trainer()
    with pytest.raises(ValueError, match="train_step does not know the targets: call learn_targets"):
        t.train_step(X, T)
    assert t.step == 0
    fitted(made=whole, epochs=1, batch_size=240)
    t.learn_targets(T)
    by = t.network.target_standardizer
    loss = t.train_step(X, T).loss
    t.learn_targets(T * 3)  # on with what there is, as in a resumed loop
    assert t.network.target_standardizer is by
    assert loss == whole.history["loss"][0] and np.array_equal(weights(t), weights(whole))
    # Raw outputs of training are those that the loss compares with standardised targets.
    np.testing.assert_allclose(by.restored(t.forward(X)), t.network.predict(X), rtol=1e-5)


# --- what is refused --------------------------------------------------------------------------


def test_losses_and_outputs_without_units_are_refused():
    for loss, final, words in (
        ("poisson", "linear", "is for losses of numbers, 'mse' and 'huber', .* got loss 'poisson'"),
        ("cross_entropy", "softmax", "got loss 'cross_entropy'"),
        ("mse", "tanh", "needs a final layer that is 'linear', .* got 'tanh'"),
    ):
        with pytest.raises(ValueError, match=words):
            rw.Trainer(network(final), loss=loss, standardize_targets=True)
    net = fitted(epochs=1).network
    with pytest.raises(ValueError, match="got loss 'squared_hinge'"):
        rw.Trainer(net, loss="squared_hinge")
    with pytest.raises(ValueError, match="got loss 'squared_hinge'"):
        rw.Trainer(net, loss="mse").gradients(X, T, loss="squared_hinge")


def test_targets_too_far_from_those_of_the_first_call_are_refused():
    t = fitted(ONE * 1e-9, epochs=1)
    with pytest.raises(ValueError, match="y by the network's target_standardizer must .* in row 7, column 0"):
        t.evaluate(X, np.where(np.arange(240) == 7, 1e18, 0.0))
    for least in (-(2**63), -(2**63) + 1):  # the first has no magnitude in int64
        with pytest.raises(ValueError, match="y by the network's .* got -9.22337e.18 in row 0, column 0"):
            t.evaluate(X, np.full(240, least, np.int64))


def test_the_range_of_targets_is_that_of_standardised_ones():
    base, far = (fitted(ONE * by, made=trainer(1), epochs=2) for by in (1.0, 2.0**70))
    np.testing.assert_array_equal(weights(base), weights(far))
    assert base.evaluate(X, ONE) == far.evaluate(X, ONE * 2.0**70)
    new = trainer(1)
    with pytest.raises(ValueError, match="y must lie within .*scale the targets"):
        new.evaluate(X, ONE * 2.0**70)  # which takes them as they are
    with pytest.raises(ValueError, match="validation y by the network's target_standardizer must lie within"):
        fitted(ONE, made=new, validation_data=(X, ONE * 2.0**70))
    assert new.network.target_standardizer is None and new.step == 0


def test_targets_are_not_copied_whole_to_look_at_their_range():
    sparse = pytest.importorskip("scipy.sparse")
    t = trainer(200)
    y = np.zeros((20_000, 200), np.float32)
    y[-1, -1] = 1e18  # times the largest scale it is too far, for all that `fits` can tell
    t.network.target_standardizer = rw.Standardizer(np.zeros(200), np.r_[np.full(199, 1e9), 1e-9])
    for given in (y, sparse.csr_array(y)):
        tracemalloc.start()
        try:
            t._check_targets(given, "y")
            assert tracemalloc.get_traced_memory()[1] < 0.8 * y.nbytes
        finally:
            tracemalloc.stop()


# --- the command line -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Few rows whose targets hardly vary, as in Hedonic: the default command ended far below 0 on them."""
    path = tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(path, X=X[:180], y=ONE[:180, 0], X_test=X[180:], y_test=ONE[180:, 0])
    return str(path)


def test_the_default_command_learns_numbers_of_any_units(data, tmp_path, capsys):
    saved, out = str(tmp_path / "m.st"), str(tmp_path / "p.npz")
    words = ["train", "--data", data, "--save", saved, "--json", str(tmp_path / "r.json"), "--threads", "1"]
    assert main(words) == 0
    rw.set_num_threads(None)
    printed = capsys.readouterr().out
    assert "losses are of targets brought to mean 0 and deviation 1" in printed
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["r2"]["test"] > 0.5 and record["dropout"] == 0 and record["standardize_targets"]
    assert main(["eval", saved, "--data", data]) == 0
    told = capsys.readouterr().out
    assert "losses are of targets brought" in told and f"r2 {record['r2']['test']:.4f}" in told
    assert main(["predict", saved, "--data", data, "--out", out]) == 0
    np.testing.assert_array_equal(np.load(out)["prediction"], rw.load(saved).predict(X[180:]))
    assert abs(np.load(out)["prediction"].mean() - 10) < 0.2
    assert main(["inspect", saved]) == 0 and "targets standardised" in capsys.readouterr().out
    again = ["train", "--resume", saved, "--data", data, "--epochs", "21", "--quiet", "--threads", "1"]
    assert main([*again, "--standardize-targets", "no"]) == 2
    assert "--standardize-targets cannot be changed with --resume" in capsys.readouterr().err
    assert main(again) == 0
    rw.set_num_threads(None)


def test_targets_as_they_are_if_asked_for(data, tmp_path, capsys):
    saved = str(tmp_path / "m.st")
    words = ["train", "--data", data, "--hidden", "20", "--epochs", "1", "--threads", "1", "--save", saved]
    assert main([*words, "--standardize-targets", "no"]) == 0
    assert "losses are of" not in capsys.readouterr().out
    assert rw.load(saved).target_standardizer is None
    assert main([*words, "--loss", "poisson"]) == 0
    assert main([*words, "--loss", "poisson", "--standardize-targets", "yes"]) == 2
    assert "standardize_targets is for losses of numbers" in capsys.readouterr().err
    rw.set_num_threads(None)
