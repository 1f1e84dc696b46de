"""Losses: right values whatever targets look like, the same bits on any machine, losses of one's own."""

import itertools
import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit, log_softmax
from sklearn.metrics import r2_score

import rewire as rw
from rewire import _core
from rewire.losses import ArrayLoss, Truth, register_loss
from rewire.losses.base import KINDS
from strategies import ISAS

RNG = np.random.default_rng(14)
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}
ELEMENTWISE = ["binary_cross_entropy", "mse", "huber", "poisson", "squared_hinge"]


def tiles_of(z, dtype):
    tiles = _core.Tiles(z.shape[1], len(z), _core.tile_size(len(z), dtype), dtype)
    tiles.pack(z)
    return tiles


def found(loss, z, y, weight=None, dtype="float64", rows=None, threads=1):
    """Value and gradient for outputs ``z``."""
    loss = rw.losses.loss(loss)
    out = tiles_of(z, dtype)
    rows = np.arange(len(z)) if rows is None else rows
    truth = Truth(loss.targets(y, z.shape[1]), rows)
    dz = tiles_of(np.zeros_like(z), dtype)
    value = loss.evaluate(out, truth, weight, dz, threads)
    assert loss.evaluate(out, truth, weight, None, threads) == value
    return value, dz.unpack(), truth


def terms(name, z, t):
    """The formula of each output, in float64."""
    if name == "binary_cross_entropy":
        return np.logaddexp(0, z) - t * z
    if name == "mse":
        return (z - t) ** 2
    if name == "huber":
        e = np.abs(z - t)
        return np.where(e <= 1, e * e / 2, e - 0.5)
    if name == "poisson":
        return np.exp(z) - t * z
    return np.maximum(0, 1 - (2 * t - 1) * z) ** 2


def sizes(name, z, t):
    """Sums of the magnitudes of what a term adds, which its error is a fraction of."""
    if name == "poisson":
        return np.exp(z) + np.abs(t * z)
    if name == "binary_cross_entropy":
        return np.abs(z) + 1
    if name == "squared_hinge":
        return (1 + np.abs(z)) ** 2
    return (np.abs(z) + np.abs(t)) ** 2


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (70, 9), (130, 1030)])
def test_values_are_right_to_the_bound(name, shape, dtype):
    z = (4 * RNG.normal(size=shape)).astype(dtype).astype(np.float64)
    y = RNG.poisson(0.7, shape) if name == "poisson" else RNG.random(shape) < 0.3
    weight = RNG.random(len(z)) + 0.1
    value, gradient, _ = found(name, z, y, weight, dtype)
    of_rows = weight[:, None] / weight.sum() / shape[1]
    assert abs(value - (of_rows * terms(name, z, y * 1.0)).sum()) <= (
        8 * EPS[dtype] * (of_rows * sizes(name, z, y * 1.0)).sum()
    )
    exact = {
        "binary_cross_entropy": expit(z) - y, "mse": 2 * (z - y), "huber": np.clip(z - y, -1, 1),
        "poisson": np.exp(z) - y,
        "squared_hinge": -2 * (2 * y - 1.0) * np.maximum(0, 1 - (2 * y - 1.0) * z),
    }[name]  # fmt: skip
    bound = 8 * EPS[dtype] * of_rows * (np.exp(z) + y if name == "poisson" else 1 + np.abs(exact))
    assert (np.abs(gradient - of_rows * exact) <= bound).all()


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("n_out", [3, 1030])
def test_cross_entropy_smoothed_and_weighted_by_class(n_out, dtype):
    z = (4 * RNG.normal(size=(70, n_out))).astype(dtype).astype(np.float64)
    labels, of_class = RNG.integers(0, n_out, 70), RNG.random(n_out)
    weight = RNG.random(70)
    for smoothing, classes, samples in itertools.product((0.0, 0.1, 1.0), (None, of_class), (None, weight)):
        loss = rw.CrossEntropy(label_smoothing=smoothing, class_weight=classes)
        value, gradient, truth = found(loss, z, labels, samples, dtype)
        t = (1 - smoothing) * np.eye(n_out)[labels] + smoothing / n_out
        c = np.ones(n_out) if classes is None else classes
        of_rows = (1.0 if samples is None else samples) * np.ones(70)
        of_rows /= (of_rows * c[labels]).sum()
        expected = -(of_rows[:, None] * c * t * log_softmax(z, axis=1)).sum()
        assert value == pytest.approx(expected, rel=30 * EPS[dtype])
        p = np.exp(log_softmax(z, axis=1))
        exact = of_rows[:, None] * (p * (c * t).sum(axis=1, keepdims=True) - c * t)
        np.testing.assert_allclose(gradient, exact, rtol=0, atol=10 * EPS[dtype] * np.abs(exact).max())
        assert np.array_equal(truth.right, z.argmax(axis=1) == labels)
    whole = rw.CrossEntropy(0.1).config()
    assert whole == {"name": "cross_entropy", "label_smoothing": 0.1, "class_weight": None}


def test_targets_of_any_type_layout_and_order_give_the_same_bits():
    z = RNG.normal(size=(70, 530))
    y = RNG.random((90, 530)) < 0.02
    y[7] = False
    rows = RNG.permutation(90)[:70]
    every_other = np.zeros((90, 1060), np.float32)
    every_other[:, ::2] = y
    forms = [y.astype(t) for t in ("u1", "i8", "f2", "f4", "f8", ">f8")]
    forms += [np.asfortranarray(y), every_other[:, ::2], y[::-1].copy()[::-1]]
    forms += [sparse.csr_array(y), sparse.csr_matrix(y.astype(np.float32)), sparse.coo_array(y * 1)]
    for name, dtype in itertools.product([*ELEMENTWISE, "mse"], EPS):
        first = found(name, z, y[rows], None, dtype)
        for form in forms:
            again = found(name, z, form, None, dtype, rows, threads=2)
            assert first[0] == again[0] and np.array_equal(first[1], again[1]), (name, dtype)


@pytest.mark.parametrize("isa", ISAS)
def test_every_instruction_set_and_any_threads_give_the_same_bits(isa):
    z = 5 * RNG.normal(size=(130, 1030))
    y = RNG.random(z.shape) < 0.1
    labels = RNG.integers(0, 1030, 130)
    cases = [(name, y) for name in ELEMENTWISE] + [("cross_entropy", labels), ("squared_hinge", labels)]
    y[:, 0] = True
    cases += [("cross_entropy", y / y.sum(axis=1, keepdims=True))]
    for (name, target), dtype in itertools.product(cases, EPS):
        first = found(name, z, target, None, dtype)
        before = _core.force_isa(isa)
        try:
            for threads in (1, 2, 5):
                value, gradient, _ = found(name, z, target, None, dtype, threads=threads)
                assert value == first[0] and np.array_equal(gradient, first[1])
        finally:
            _core.force_isa(before)


@pytest.mark.parametrize("dtype", EPS)
def test_extreme_outputs(dtype):
    far = 3e4 if dtype == "float32" else 3e200
    z = np.array([[far, -far], [-far, far], [0.0, -0.0]])
    value, gradient, _ = found("binary_cross_entropy", z, [[1, 0], [1, 0], [1, 0]], None, dtype)
    assert value == pytest.approx((0 + 2 * far + 2 * np.log(2)) / 6, rel=1e-6)
    np.testing.assert_allclose(6 * gradient, [[0, 0], [-1, 1], [-0.5, 0.5]], rtol=1e-6)
    value, gradient, truth = found("cross_entropy", z, [0, 0, 1], None, dtype)
    assert value == pytest.approx((2 * far + np.log(2)) / 3, rel=1e-6) and truth.right.tolist() == [1, 0, 0]
    np.testing.assert_allclose(3 * gradient, [[0, 0], [-1, 1], [0.5, -0.5]], rtol=1e-6)
    value, gradient, _ = found("huber", z[:2], np.zeros((2, 2)), None, dtype)
    assert value == pytest.approx(far - 0.5) and (np.abs(gradient) == 0.25).all()
    value, gradient, _ = found("poisson", -np.abs(z), np.zeros((3, 2)), None, dtype)
    assert value == pytest.approx(2 / 6) and (gradient >= 0).all()
    assert found("poisson", np.array([[800.0]]), [[1.0]], None, dtype)[0] == np.inf


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: rw.CrossEntropy(label_smoothing=1.5), ValueError, r"smoothing must be .*\[0, 1\], got 1.5"),
        (lambda: rw.CrossEntropy(class_weight=[]), ValueError, "class_weight must"),
        (lambda: rw.CrossEntropy(class_weight=[0, 0]), ValueError, "class_weight must have a positive sum"),
        (lambda: rw.CrossEntropy(class_weight=[1, -1]), ValueError, "class_weight must be .*>= 0, got -1"),
        (lambda: rw.CrossEntropy(0, [1, 2]).check_outputs(3), ValueError, "class_weight must have 3"),
        *((lambda given=given: rw.CrossEntropy(class_weight=given), TypeError,
           "list of numbers, one for each .*compute_sample_weight") for given in ("balanced", {0: 1})),
        (lambda: rw.CrossEntropy().targets([[0], [1]], 3), ValueError,
         r"\(samples,\), or \(samples, 3\) for probabilities, got \(2, 1\): .* y.ravel\(\)"),
        (lambda: rw.CrossEntropy().targets([0.0, 1.0], 2), TypeError, r"got float64: give y.astype\(int\)"),
        (lambda: rw.SquaredHinge().targets([0.0, 1.0], 2), TypeError, r"got float64: give y.astype\(int\)"),
        (lambda: rw.CrossEntropy().targets(["a", "b"], 2), TypeError, "numpy.unique.* numbers classes"),
        (lambda: rw.losses.loss("contrast2"), ValueError, "^loss must be one of 'cross_entropy', 'binary"),
        (lambda: rw.Huber(0), ValueError, "delta must be a number > 0, got 0"),
        (lambda: rw.losses.loss({"name": "huber", "beta": 1}), TypeError, "huber.*beta"),
        (lambda: rw.losses.loss("poison"), ValueError, "loss must be one of .*'poisson'.*, got 'poison'"),
        (lambda: rw.Poisson().targets([1.0, -2.0], 1), ValueError, "counts >= 0, got -2.0 in row 1"),
        (lambda: rw.Poisson().fused(rw.ReLU()), ValueError, "poisson.*'linear'"),
        (lambda: rw.SquaredHinge().targets([[2, 0]], 2), ValueError, "1 and -1, got 2 in row 0, column 0"),
        (lambda: rw.SquaredHinge().targets([[-1, 0]], 2), ValueError, "1 and -1, got 0 in row 0, column 1"),
        (lambda: rw.SquaredHinge().targets([0, 3], 3), ValueError, r"\[0, 2\], got 3 in row 1"),
        (lambda: rw.BinaryCrossEntropy().targets(sparse.csr_array([[0, 1], [0, 1.5]]), 2), ValueError,
         r"lie in \[0, 1\], got 1.5 in row 1, column 1"),
        (lambda: rw.BinaryCrossEntropy().targets(sparse.csr_array([[0, np.nan]]), 2), ValueError,
         "finite, got nan in row 0, column 1"),
        (lambda: rw.BinaryCrossEntropy().targets(sparse.csr_array([[0, 1]]), 3), ValueError,
         r"shape \(samples, 3\), got \(1, 2\)"),
        (lambda: rw.CrossEntropy().targets(sparse.csr_array([[0, 0.5]]), 2), ValueError,
         "sum to 1, got 0.5 in row 0"),
        (lambda: rw.MSE().targets(sparse.csr_array([[0, 1]]), 1), ValueError, r"shape \(samples, 1\)"),
    ],
)  # fmt: skip
def test_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


# --- sparse targets -------------------------------------------------------------------------


def test_training_on_sparse_labels_is_training_on_dense_ones():
    X = RNG.normal(size=(90, 12)).astype(np.float32)
    y = RNG.random((90, 40)) < 0.05
    rows = []
    for target in (y, sparse.csr_matrix(y)):
        layers = [rw.Sparse(12, 30, activation="relu"), rw.Sparse(30, 40, activation="sigmoid")]
        net = rw.Sequential(layers, seed=1)
        trainer = rw.Trainer(
            net, loss="binary_cross_entropy", rewiring=rw.RigL(every=rw.Steps(4)), metrics=True
        )
        history = trainer.fit(
            X, target, epochs=3, batch_size=16, verbose=0, validation_data=(X[:20], target[:20]),
            sample_weight=np.arange(1.0, 91.0),
        )  # fmt: skip
        columns = [history[c] for c in ("loss", "accuracy", "val_loss", "val_accuracy")]
        rows.append((columns, net.get_vector()))
    assert rows[0][0] == rows[1][0] and np.array_equal(rows[0][1], rows[1][1])


def test_sparse_labels_are_never_dense():
    n_out, samples = 200_000, 64
    columns = RNG.integers(0, n_out, (samples, 5))
    y = sparse.csr_array((np.ones(samples * 5), columns.ravel(), np.arange(0, samples * 5 + 1, 5)),
                         (samples, n_out))  # fmt: skip
    X = RNG.normal(size=(samples, 4)).astype(np.float32)
    layers = [rw.Sparse(4, 8, activation="relu"), rw.Sparse(8, n_out, fan_in=1, activation="sigmoid")]
    net = rw.Sequential(layers)
    trainer = rw.Trainer(net, loss="binary_cross_entropy")
    trainer.fit(X, y, batch_size=16, verbose=0)
    tracemalloc.start()
    trainer.fit(X, y, batch_size=16, verbose=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < samples * n_out  # bytes of a dense array of booleans


# --- metrics --------------------------------------------------------------------------------


def test_metrics_are_told_when_asked_for(tmp_path):
    X = RNG.normal(size=(60, 6))
    for loss, y, name in (("mse", X[:, :2], "r2"), ("binary_cross_entropy", X[:, :2] > 0, "accuracy")):
        rows = []
        for asked in (None, True):
            final = "linear" if loss == "mse" else "sigmoid"
            net = rw.Sequential([rw.Sparse(6, 30, activation="relu"), rw.Sparse(30, 2, activation=final)])
            trainer = rw.Trainer(net, loss=loss, metrics=asked)
            trainer.fit(X, y, epochs=2, batch_size=60, verbose=0, validation_data=(X, y))
            trainer.save(tmp_path / "t.safetensors")
            assert rw.Trainer.resume(tmp_path / "t.safetensors").metrics is asked
            rows.append(trainer.history[-1])
        assert name not in rows[0] and rows[0][f"val_{name}"] == rows[1][f"val_{name}"]
        assert 0 < rows[1][name] < rows[1][f"val_{name}"] <= 1
    with pytest.raises(TypeError, match="metrics must be"):
        rw.Trainer(net, loss="mse", metrics="r2")


def test_accuracy_of_decisions_counts_them():
    z, y = RNG.normal(size=(70, 530)), RNG.random((70, 530)) < 0.4
    weight = RNG.random(70)
    for target in (y, sparse.csr_array(y)):
        truth = Truth(rw.BinaryCrossEntropy().targets(target, 530), np.arange(70))
        for threads in (1, 3):
            metric = rw.BinaryCrossEntropy().metric(rw.Sigmoid())
            metric.count(metric.look(tiles_of(z, "float32"), truth, threads), truth, weight)
            by_hand = rw.BinaryCrossEntropy().metric(rw.Sigmoid())
            by_hand.update(z.astype(np.float32), y, weight)
            assert metric.value() == by_hand.value()


@pytest.mark.parametrize("target", ["labels", "signs"])
def test_squared_hinge_learns_to_tell_classes(target):
    data = rw.datasets.load("digits")
    y = data.y if target == "labels" else np.where(data.y < 5, 1, -1)
    n_out = 10 if target == "labels" else 1
    net = rw.Sequential([rw.Sparse(64, 100, epsilon=10, activation="relu"), rw.Sparse(100, n_out)])
    trainer = rw.Trainer(net, loss="squared_hinge", optimizer=rw.Adam(0.003), standardize=True)
    trainer.fit(data.X, y, epochs=4, batch_size=64, verbose=0)
    assert trainer.evaluate(data.X, y)["accuracy"] > 0.85


def test_class_weights_count_in_the_mean_over_batches():
    X, y = RNG.normal(size=(50, 5)), np.arange(50) % 3
    loss = rw.CrossEntropy(class_weight=[1.0, 0.0, 5.0])
    net = rw.Sequential([rw.Sparse(5, 3, activation="softmax")])
    trainer = rw.Trainer(net, loss=loss)
    whole = trainer.evaluate(X, y)["loss"]
    assert trainer.evaluate(X, y, batch_size=7)["loss"] == pytest.approx(whole, rel=1e-12)
    trainer.fit(X[y == 1], y[y == 1], verbose=0)  # which counts for nothing
    assert trainer.evaluate(X, y)["loss"] == whole


# --- losses of one's own --------------------------------------------------------------------


class LogCosh(ArrayLoss):
    """log(cosh(a e)) / a."""

    name = "log-cosh"

    def __init__(self, a=1.0):
        self.a = a

    def value_and_gradient(self, outputs, targets):
        e = self.a * (outputs - targets)
        return (np.logaddexp(e, -e) - np.log(2)).mean(axis=1) / self.a, np.tanh(e) / outputs.shape[1]


class Focal(ArrayLoss):
    """Cross entropy of labels, times (1 - p)^2."""

    name = "focal"
    logits = True

    def value_and_gradient(self, outputs, targets):
        log_p = log_softmax(outputs.astype(np.float64), axis=1)
        p, rows = np.exp(log_p), np.arange(len(outputs))
        own = p[rows, targets]
        slope = 2 * (1 - own) * own * log_p[rows, targets] - (1 - own) ** 2
        gradient = -slope[:, None] * p
        gradient[rows, targets] += slope
        return -((1 - own) ** 2) * log_p[rows, targets], gradient


@pytest.fixture
def registered():
    register_loss(LogCosh)
    yield
    KINDS._makers.pop("logcosh")


def network(final="linear", n_out=2, **options):
    layers = [rw.Sparse(5, 20, activation="tanh"), rw.Sparse(20, n_out, activation=final)]
    return rw.Sequential(layers, seed=3, **options)


@pytest.mark.parametrize("loss", [LogCosh(0.7), Focal()], ids=repr)
def test_gradients_of_own_losses(loss):
    final, n_out = ("softmax", 3) if loss.logits else ("tanh", 2)
    net = network(final, n_out, dtype="float64")
    X = RNG.normal(size=(9, 5))
    y = RNG.integers(0, 3, 9) if loss.logits else RNG.normal(size=(9, 2))
    trainer = rw.Trainer(net, loss=loss)
    weight = RNG.random(9)
    trainer.gradients(X, y, sample_weight=weight)
    gradient, start = net.get_vector("gradient"), net.get_vector()
    trainer.zero_gradients()
    for at in range(0, start.size, 5):
        values = []
        for step in (1e-6, -1e-6):
            moved = start.copy()
            moved[at] += step
            net.set_vector(moved)
            values.append(trainer.evaluate(X, y, sample_weight=weight)["loss"])
        assert gradient[at] == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-7)


def test_an_own_loss_is_trained_saved_and_resumed(registered, tmp_path):
    X = RNG.normal(size=(80, 5))
    y = X[:, :2] ** 2
    trainers = [rw.Trainer(network(), loss={"name": "log-cosh", "a": 2.0}, rewiring="set") for _ in "12"]
    trainers[0].fit(X, y, epochs=6, batch_size=16, verbose=0, validation_data=(X, y))
    assert set(trainers[0].history[-1]) >= {"loss", "val_loss"} and trainers[0].history["loss"][-1] < (
        0.8 * trainers[0].history["loss"][0]
    )
    trainers[1].horizon = 6
    trainers[1].fit(X, y, epochs=3, batch_size=16, verbose=0, validation_data=(X, y))
    trainers[1].save(tmp_path / "own.safetensors")
    again = rw.Trainer.resume(tmp_path / "own.safetensors")
    assert again.loss.a == 2.0
    again.fit(X, y, epochs=3, batch_size=16, verbose=0, validation_data=(X, y))
    assert again.history["loss"] == trainers[0].history["loss"]
    assert np.array_equal(again.network.get_vector(), trainers[0].network.get_vector())


def test_an_own_loss_that_nobody_has_registered_is_not_saved(tmp_path):
    trainer = rw.Trainer(network("softmax", 3), loss=Focal())
    trainer.fit(RNG.normal(size=(9, 5)), np.arange(9) % 3, verbose=0)
    with pytest.raises(NotImplementedError, match="Focal cannot be saved.*register_loss"):
        trainer.save(tmp_path / "own.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("gives", "error", "words"),
    [
        (lambda z, t: 1.0, TypeError, r"Mine.value_and_gradient must give \(value, gradient\)"),
        (lambda z, t: (1.0, z[:, :1]), ValueError, r"gradient must have shape \(9, 2\), got \(9, 1\)"),
        (lambda z, t: (z, z), ValueError, r"value must have shape \(9,\) or \(\), got \(9, 2\)"),
        (lambda z, t: (0.0, z / 0), ValueError, "gradient must be finite"),
        (lambda z, t: ("a", z), TypeError, "real numbers"),
        (lambda z, t: (np.nan, z), rw.DivergenceError, "loss of nan"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_what_an_own_loss_may_not_give(gives, error, words):
    class Mine(ArrayLoss):
        name = "mine"

        def value_and_gradient(self, outputs, targets):
            return gives(outputs, targets)

    net = network()
    before = net.get_vector()
    with pytest.raises(error, match=words):
        rw.Trainer(net, loss=Mine()).fit(RNG.normal(size=(9, 5)), np.zeros((9, 2)), verbose=0)
    assert np.array_equal(net.get_vector(), before)


def test_an_own_loss_without_values_of_samples_takes_no_weights():
    class Mean(ArrayLoss):
        name = "mean"

        def value_and_gradient(self, outputs, targets):
            e = outputs - targets
            return np.square(e).mean(), 2 * e / e.size

    X, y = RNG.normal(size=(9, 5)), RNG.normal(size=(9, 2))
    nets = network(), network()
    rw.Trainer(nets[0], loss=Mean()).fit(X, y, epochs=3, verbose=0)
    rw.Trainer(nets[1], loss="mse").fit(X, y, epochs=3, verbose=0)
    np.testing.assert_allclose(nets[0].get_vector(), nets[1].get_vector(), atol=1e-6)
    with pytest.raises(ValueError, match="Mean: value must be a number for each sample"):
        rw.Trainer(network(), loss=Mean()).fit(X, y, sample_weight=np.ones(9), verbose=0)
    with pytest.raises(ValueError, match="set logits = True in Mean"):
        rw.Trainer(network("softmax"), loss=Mean())


# --- where losses are named -------------------------------------------------------------------


def test_estimators_take_losses():
    data = rw.datasets.load("digits")
    options = {"hidden_layer_sizes": (40,), "epsilon": 5, "max_iter": 8, "random_state": 0}
    y = np.array(data.X[:, 20], dtype=float)
    y[::50] += 300  # outliers
    plain = rw.SparseMLPRegressor(**options).fit(data.X, y)
    robust = rw.SparseMLPRegressor(**options, loss=rw.Huber(0.02)).fit(data.X, y)
    errors = [np.median(np.abs(model.predict(data.X) - data.X[:, 20])) for model in (plain, robust)]
    assert errors[1] < 0.7 * errors[0]
    assert robust.set_params(loss__delta=0.5).loss.delta == 0.5
    with pytest.raises(ValueError, match="loss must stay Huber"):
        robust.set_params(warm_start=True).fit(data.X, y)
    smooth, options["learning_rate_init"] = rw.CrossEntropy(label_smoothing=0.3), 0.03
    models = [rw.SparseMLPClassifier(**options, loss=loss).fit(data.X, data.y) for loss in ("auto", smooth)]
    sure = [model.predict_proba(data.X).max(axis=1).mean() for model in models]
    assert sure[1] < sure[0] - 0.1 and models[1].score(data.X, data.y) > 0.85
    for wrong in ("mse", "binary_cross_entropy", LogCosh()):
        with pytest.raises(ValueError, match="'auto', 'cross_entropy', 'squared_hinge' or an ArrayLoss of"):
            rw.SparseMLPClassifier(**options, loss=wrong).fit(data.X, data.y)
    with pytest.raises(ValueError, match="loss must be 'auto', 'mse', 'huber', 'poisson' or an ArrayLoss"):
        rw.SparseMLPRegressor(**options, loss="squared_hinge").fit(data.X, y)
    for kind, listed in (
        (rw.SparseMLPRegressor, "'poisson' or an Arr"),
        (rw.SparseMLPClassifier, "'squared_h"),
    ):
        with pytest.raises(ValueError, match=f"loss must be 'auto', '.*{listed}.*, got 'msee'"):
            kind(**options, loss="msee").fit(data.X, data.y)
    own = rw.SparseMLPRegressor(**options, loss=LogCosh()).fit(data.X, y)
    assert np.isfinite(own.predict(data.X)).all()


def test_early_stopping_watches_the_loss_where_it_has_no_metric():
    X = RNG.normal(size=(80, 4))
    options = {"hidden_layer_sizes": (10,), "epsilon": 3, "max_iter": 6, "random_state": 0}
    with pytest.warns(rw.DensityWarning):
        model = rw.SparseMLPRegressor(**options, loss=LogCosh(), early_stopping=True).fit(X, X[:, 0])
    assert model.best_validation_score_ == max(model.validation_scores_) < 0  # losses, with another sign
    assert len(model.validation_scores_) == 6


COUNTS = {"hidden_layer_sizes": (20,), "epsilon": 8, "max_iter": 40, "random_state": 0, "batch_size": 16}
COUNTS |= {"weight_decay": 0.0, "learning_rate_init": 0.01}


@pytest.mark.filterwarnings("ignore::rewire.DensityWarning")
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e6])
def test_a_regressor_of_counts_predicts_rates_in_any_units(scale):
    X, w = RNG.normal(size=(400, 5)), np.arange(400) % 3
    rates = np.exp(X[:, :2] * [1.0, -0.5] + [1.0, 3.0])
    y = RNG.poisson(rates) * scale
    model = rw.SparseMLPRegressor(**COUNTS, loss="poisson").fit(X, y, sample_weight=w)
    found = model.predict(X)
    assert found.min() > 0 and np.abs(np.log(found / scale / rates)).mean() < 0.3
    assert model.score(X, y) == pytest.approx(r2_score(y, found))
    assert (model.target_mean_ == 0).all()
    np.testing.assert_allclose(model.target_scale_, np.average(y, axis=0, weights=w))
    # Dividing all targets by a number does not change what is learnt.
    other = rw.SparseMLPRegressor(**COUNTS, loss=rw.Poisson()).fit(X, y * 4, sample_weight=w)
    assert (other.predict(X) == 4 * found).all()
    assert other.trainer_.evaluate(X, y / model.target_scale_)["r2"] > 0.5


@pytest.mark.filterwarnings("ignore::rewire.DensityWarning")
@pytest.mark.parametrize("before, after", [(0.0, 1000.0), (1000.0, 1.0), (0.3, 0.3)])
def test_a_stream_of_counts_finds_their_level(before, after):
    rng = np.random.default_rng(0)

    def piece(rows, rate):
        X = rng.normal(size=(rows, 4))
        return X, rng.poisson(rate * np.exp(X[:, 0] / 2)), rate * np.exp(X[:, 0] / 2)

    model = rw.SparseMLPRegressor(**COUNTS, loss="poisson").partial_fit(*piece(20, before)[:2])
    for _ in range(60):
        model.partial_fit(*piece(50, after)[:2])
    X, _, rates = piece(500, after)
    assert 0.5 < model.predict(X).mean() / rates.mean() < 2.0
    assert model.target_scale_ < 2 * after + before / 10


@pytest.mark.filterwarnings("ignore::rewire.DensityWarning")
def test_units_of_counts_change_and_rates_stay_but_for_their_level():
    X, rng = RNG.normal(size=(50, 4)), np.random.default_rng(0)
    model = rw.SparseMLPRegressor(**{**COUNTS, "batch_size": 50}, loss="poisson", dtype="float64")
    model.partial_fit(X, rng.poisson(3.0, 50))
    scale, rates = model.target_scale_, model.predict(X)
    near, far = rng.geometric(1 / 200, 50), rng.poisson(3000.0, 50)
    model.set_params(learning_rate_init=1e-12).partial_fit(X, near)  # of a deviation as large as their mean
    assert model.target_scale_ > 10 * scale
    moved = rates * (1 + 0.5 * (near.mean() / rates.mean() - 1))  # 50 rows came before, as many now
    np.testing.assert_allclose(model.predict(X), moved, rtol=1e-6)
    model.partial_fit(X, far)  # more than some deviations from all before, so that their level is all of it
    np.testing.assert_allclose(model.predict(X), moved * (far.mean() / moved.mean()), rtol=1e-6)


@pytest.mark.filterwarnings("ignore::rewire.DensityWarning")
def test_counts_come_in_streams_and_as_nothing():
    X = RNG.normal(size=(60, 3))
    y = RNG.poisson(np.exp(X[:, 0]) * 20)
    model = rw.SparseMLPRegressor(**COUNTS, loss="poisson")
    for _ in range(30):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.5 and model.target_scale_ == y.mean()
    early = rw.SparseMLPRegressor(**COUNTS, loss="poisson", early_stopping=True).fit(X, y)
    assert early.best_validation_score_ == max(early.validation_scores_) <= 1
    none = rw.SparseMLPRegressor(**COUNTS, loss="poisson").fit(X, np.zeros(60))
    assert none.target_scale_ == 1 and (none.predict(X) > 0).all() and none.predict(X).max() < 1.5
    with pytest.raises(ValueError, match="y must hold counts >= 0 for loss 'poisson', got -3.0 in row 2"):
        model.partial_fit(X, np.where(np.arange(60) == 2, -3.0, y))
    plain = rw.SparseMLPRegressor(**COUNTS, loss="poisson", standardize=False).fit(X, y)
    assert plain.target_scale_ == 1 and plain.predict(X[:1]) == np.exp(
        plain.network_.predict(X[:1]).astype(float)
    )


@pytest.mark.filterwarnings("ignore::rewire.DensityWarning")
def test_a_classifier_of_margins_has_scores_and_no_probabilities():
    data = rw.datasets.load("digits")
    options = {"hidden_layer_sizes": (40,), "epsilon": 5, "max_iter": 8, "random_state": 0}
    options |= {"learning_rate_init": 0.02, "max_iter": 25}
    model = rw.SparseMLPClassifier(**options, loss="squared_hinge")
    assert hasattr(model, "decision_function") and not hasattr(model, "predict_proba")
    model.fit(data.X, data.y)
    scores = model.decision_function(data.X)
    assert scores.shape == (len(data.y), 10) and model.out_activation_ == "identity"
    assert (model.classes_[scores.argmax(axis=1)] == model.predict(data.X)).all()
    assert model.score(data.X, data.y) > 0.85
    words = "SparseMLPClassifier has no predict_proba with loss='squared_hinge'"
    with pytest.raises(AttributeError, match=words):
        model.predict_proba(data.X)
    some = data.y < 2
    two = rw.SparseMLPClassifier(**options, loss={"name": "squared_hinge"}, early_stopping=True)
    two.fit(data.X[some], np.array(["no", "yes"])[data.y[some]])
    found = two.decision_function(data.X[some])
    assert found.shape == (some.sum(),)
    assert (two.predict(data.X[some]) == np.where(found > 0, "yes", "no")).all()
    labels = data.X[:, [20, 30, 40]] > 5
    several = rw.SparseMLPClassifier(**options, loss=rw.SquaredHinge()).fit(data.X, labels.astype(int))
    assert (several.predict(data.X) == (several.decision_function(data.X) > 0)).all()
    assert several.score(data.X, labels) > 0.7
    with pytest.raises(AttributeError, match="has no decision_function but with loss='squared_hinge'"):
        rw.SparseMLPClassifier().decision_function(data.X)


def test_a_classifier_learns_from_sparse_labels():
    X = RNG.normal(size=(150, 10))
    y = (X[:, :6] > 0.8).astype(int)
    options = {"hidden_layer_sizes": (30,), "epsilon": 3, "max_iter": 4, "random_state": 0}
    options |= {"early_stopping": True}
    dense, of_csr = (
        rw.SparseMLPClassifier(**options).fit(X, target, sample_weight=np.arange(150) % 7)
        for target in (y, sparse.csr_matrix(y))
    )
    assert dense.loss_curve_ == of_csr.loss_curve_
    assert dense.validation_scores_ == of_csr.validation_scores_
    assert np.array_equal(dense.predict_proba(X), of_csr.predict_proba(X))
    assert of_csr.score(X, sparse.csr_matrix(y)) == dense.score(X, y)
