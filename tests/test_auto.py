"""What estimators take from rows and features: weight decay, how long they train, when SET moves links."""

import numpy as np
import pytest
from scipy.sparse import csr_array

pytest.importorskip("sklearn")

import rewire as rw
from rewire import Epochs, SparseMLPClassifier, SparseMLPRegressor, Steps

FEW = {"hidden_layer_sizes": (12,), "epsilon": 3, "max_iter": 1, "n_jobs": 1, "random_state": 0}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((400, 5))
Y = (X[:, 0] > 0).astype(int)
KINDS = {SparseMLPClassifier: 2, SparseMLPRegressor: 1}  # of targets: classes, or numbers alone
MOST = 15 / 2**0.5  # times what rows say: of two classes, five features and more


def decay(model):
    return model.trainer_.optimizer.weight_decay


# --- weight decay ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", [SparseMLPClassifier, SparseMLPRegressor])
def test_more_features_decay_more_up_to_five(kind, sparse):
    """By their pairs."""
    for features, pairs in ((1, 1), (2, 3), (3, 6), (4, 10), (5, 15), (6, 15), (40, 15)):
        given = np.repeat(X, 8, axis=1)[:, :features]
        model = kind(**FEW, dtype="float64").fit(csr_array(given) if sparse else given, Y)
        assert decay(model) == pytest.approx(pairs / KINDS[kind] ** 0.5 / 400)
        several = {"classes": [0, 1]} if kind is SparseMLPClassifier else {}
        assert decay(kind(**FEW).partial_fit(given, Y, **several)) == decay(model)


def test_more_classes_decay_less():
    for classes in (2, 4, 16):
        model = SparseMLPClassifier(**FEW, warm_start=True).fit(X, np.arange(400) % classes)
        assert decay(model) == 15 / classes**0.5 / 400
        assert decay(model.fit(X, np.arange(400) % classes)) == 15 / classes**0.5 / 400


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_fewer_rows_decay_more(optimizer):
    for rows, expected in ((400, MOST / 400), (50, MOST / 50), (30, 0.3), (8, 0.3)):
        model = SparseMLPClassifier(**FEW, optimizer=optimizer).fit(X[:rows], np.arange(rows) % 2)
        assert decay(model) == expected


def test_decay_that_is_no_penalty_on_the_loss_stays():
    assert decay(SparseMLPClassifier(**FEW, optimizer="adamw").fit(X, Y)) == rw.AdamW().weight_decay


def test_a_number_is_taken_as_it_is():
    assert decay(SparseMLPClassifier(**FEW, weight_decay=0.0).fit(X, Y)) == 0.0
    own = SparseMLPClassifier(**FEW, optimizer=rw.Adam(weight_decay=0.03)).fit(X, Y)
    assert decay(own) == 0.03


@pytest.mark.parametrize("wrong", ["none", "Auto", ""])
def test_other_words_are_refused(wrong):
    with pytest.raises(ValueError, match="weight_decay must be a number >= 0 or 'auto', got"):
        SparseMLPClassifier(**FEW, weight_decay=wrong).fit(X, Y)


def test_every_target_of_a_row_counts():
    """The loss is a mean over outputs as well."""
    several = np.stack([Y, 1 - Y, Y, Y], axis=1)
    assert decay(SparseMLPClassifier(**FEW).fit(X, several)) == MOST / 1600
    assert decay(SparseMLPRegressor(**FEW).fit(X, X[:, :2])) == 15 / 800
    assert decay(SparseMLPRegressor(**FEW).fit(X, X[:, 0])) == 15 / 400


def test_rows_that_early_stopping_holds_out_do_not_count():
    model = SparseMLPClassifier(**FEW, early_stopping=True, validation_fraction=0.25).fit(X, Y)
    assert decay(model) == MOST / 300


@pytest.mark.parametrize(
    "weight, rows",
    [
        (np.where(np.arange(400) < 100, 2.0, 1.0), 500), (np.full(400, 1 / 400), 400),
        (np.arange(400) % 2 * 1.0, 200), (np.full(400, 1e308), 400), (np.r_[1e-9, np.ones(399)], 4000),
    ],
    ids=["some twice", "sum to 1", "half nowhere", "sum overflows", "one near zero"],
)  # fmt: skip
def test_a_row_counts_by_its_weight(weight, rows):
    assert decay(SparseMLPClassifier(**FEW).fit(X, Y, weight)) == pytest.approx(MOST / rows)


@pytest.mark.parametrize("standardize", [True, False])
def test_a_stream_counts_all_rows_so_far(standardize):
    model, found = SparseMLPClassifier(**FEW, standardize=standardize), []
    for start in range(0, 400, 40):
        rows = slice(start, start + 40)
        found.append(decay(model.partial_fit(X[rows], Y[rows], classes=[0, 1])))
    assert found[:3] == [MOST / 40, MOST / 40, MOST / 80]
    assert found[-1] == MOST / 360  # the latest piece not yet


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", [SparseMLPClassifier, SparseMLPRegressor])
def test_small_inputs_that_stay_as_they_are_decay_less(kind, sparse):
    ones, usual = np.where(X > 0, 1.0, -1.0), decay(kind(**FEW).fit(X, Y))
    for size, part in ((100.0, 1.0), (1.0, 1.0), (0.5, 1.0), (0.25, 0.5), (1e-3, 2e-3), (0.0, 0.0)):
        given = csr_array(size * ones) if sparse else size * ones
        model = kind(**FEW, standardize=False).fit(given, Y)
        assert decay(model) == pytest.approx(part * usual)
        if not sparse:
            assert decay(kind(**FEW).fit(given, Y)) == usual
            assert decay(kind(**FEW, standardize=False, weight_decay=0.1).fit(given, Y)) == 0.1


def test_a_stream_takes_the_size_of_inputs_from_its_first_call():
    model = SparseMLPClassifier(**FEW, standardize=False).partial_fit(X * 1e-3, Y, classes=[0, 1])
    small = decay(model)
    assert 0 < small < 1e-3 and decay(model.partial_fit(X, Y)) == pytest.approx(small / 1, rel=1e-9)


def test_rows_of_length_one_are_learnt():
    """As of TF-IDF: many features, few of them in a row."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 400)
    rows, words = np.repeat(np.arange(400), 40), rng.integers(0, 3000, 16_000)
    own = rng.random(16_000) < 0.25  # of the topic
    words = np.where(own, y[rows] * 300 + words % 300, words)
    x = csr_array((np.ones(16_000), (rows, words)), shape=(400, 3000))
    x = csr_array(x / np.sqrt(x.power(2).sum(axis=1))[:, None])
    options = {"hidden_layer_sizes": (50,), "standardize": False, "max_iter": 15, "batch_size": 32}
    model = SparseMLPClassifier(**options, random_state=0, n_jobs=1).fit(x[:250], y[:250])
    assert model.score(x[250:], y[250:]) > 0.7  # 0.29 with the decay of standardised inputs


def test_the_same_set_again_counts_once():
    model = SparseMLPRegressor(**FEW, warm_start=True)
    for call in (model.partial_fit, model.partial_fit, model.fit, model.fit):
        assert decay(call(X, X[:, 0])) == 15 / 400


def test_a_call_that_fails_leaves_the_decay():
    model = SparseMLPClassifier(**FEW, standardize=False).partial_fit(X[:40], Y[:40], classes=[0, 1])
    model.partial_fit(X[40:80], Y[40:80])
    twin = SparseMLPClassifier(**FEW, standardize=False).partial_fit(X[:40], Y[:40], classes=[0, 1])
    twin.partial_fit(X[40:80], Y[40:80])
    with pytest.raises(ArithmeticError):
        model.partial_fit(X * 1e30, Y)
    for m in (model, twin):
        m.partial_fit(X[80:120], Y[80:120])
    assert np.array_equal(model.predict_proba(X), twin.predict_proba(X)) and decay(model) == decay(twin)


# --- SET ------------------------------------------------------------------------------------------


def test_set_waits_for_a_hundred_steps():
    def period(**options):
        return SparseMLPClassifier(**{**FEW, **options}).fit(X, Y).trainer_.rewiring.every

    assert period() == Steps(100) == period(batch_size=5)  # 80 steps
    assert period(batch_size=4) == Epochs(1)  # 100 steps
    assert period(rewiring=rw.SET()) == Epochs(1)  # an object says itself when
    moved = SparseMLPClassifier(**{**FEW, "max_iter": 60}, n_iter_no_change=None).fit(X, Y)
    assert [row["epoch"] for row in moved.topology_history_] == [25, 50]  # epochs of 4 steps


def test_a_warm_start_with_more_rows_has_another_period():
    model = SparseMLPClassifier(**FEW, batch_size=4, warm_start=True).fit(X[:40], Y[:40])
    assert model.trainer_.rewiring.every == Steps(100)
    assert model.fit(X, Y).trainer_.rewiring.every == Epochs(1)
    assert model.fit(X[:40], Y[:40]).trainer_.rewiring.every == Steps(100)


def test_a_stream_moves_links_every_hundred_steps():
    model = SparseMLPClassifier(**FEW)
    for call in range(250):
        rows = slice(call % 10 * 40, call % 10 * 40 + 40)
        model.partial_fit(X[rows], Y[rows], classes=[0, 1])
    assert [row["epoch"] for row in model.topology_history_] == [100, 200]


# --- epochs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows, batch, epochs, patience",
    [
        (400, "auto", 375, 125),
        (40, "auto", 1000, 500),
        (400, 4, 100, 10),
        (300, "auto", 500, 167),
        (400, 50, 187, 63),
    ],  # 1,496 steps: links that move at step 1,500 would have no time to grow
)
def test_few_steps_an_epoch_take_more_epochs(rows, batch, epochs, patience, monkeypatch):
    asked = []
    fit = rw.Trainer.fit

    def noted(trainer, *data, epochs, **options):
        stops = [one.patience for one in trainer.callbacks if isinstance(one, rw.EarlyStopping)]
        asked.append((epochs, *stops))
        return fit(trainer, *data, epochs=1, **options)

    monkeypatch.setattr(rw.Trainer, "fit", noted)
    options = {**FEW, "max_iter": "auto", "batch_size": batch}
    SparseMLPClassifier(**options).fit(X[:rows], Y[:rows])
    SparseMLPClassifier(**options, n_iter_no_change=None).fit(X[:rows], Y[:rows])
    SparseMLPClassifier(**{**options, "max_iter": 7}, n_iter_no_change=3).fit(X[:rows], Y[:rows])
    SparseMLPClassifier(**options).partial_fit(X[:rows], Y[:rows], classes=[0, 1])
    assert asked == [(epochs, patience), (epochs,), (7, 3), (1,)]


def test_a_warm_start_with_more_rows_counts_anew():
    model = SparseMLPRegressor((3,), warm_start=True, batch_size=40, random_state=0, n_iter_no_change=None)
    few = model.set_params(max_iter="auto").fit(X[:40], X[:40, 0]).n_iter_
    assert few == 1000 and model.fit(X, X[:, 0]).n_iter_ == few + 150  # epochs of 10 steps


@pytest.mark.parametrize("name", ["max_iter", "n_iter_no_change"])
def test_other_words_than_auto_are_refused(name):
    for wrong in ("Auto", "none"):
        with pytest.raises(ValueError, match=f"{name} must be an integer >= 1(, None)? or 'auto', got"):
            SparseMLPClassifier(**{**FEW, name: wrong}).fit(X, Y)


# --- biases ---------------------------------------------------------------------------------------


def _first_biases(**options):
    still = {**FEW, "optimizer": rw.SGD(1e-30), "rewiring": None, "hidden_layer_sizes": (200, 30)}
    model = SparseMLPRegressor(**{**still, **options}).fit(X, X[:, 0])
    return model.intercepts_, [layer.store.fan_in() for layer in model.network_.weight_layers]


def test_biases_of_hidden_layers_spread_by_fan_in():
    for dtype in ("float32", "float64"):
        biases, fans = _first_biases(dtype=dtype, epsilon=1.5)
        for bias, fan in zip(biases[:2], fans[:2], strict=True):
            scaled = bias * np.sqrt(np.maximum(fan, 1))
            assert np.abs(scaled).max() <= 1.0 + 1e-6 and len(np.unique(fan)) > 2
            assert scaled.min() < -0.7 and scaled.max() > 0.7 and abs(scaled.mean()) < 0.4
        assert np.abs(biases[2]).max() < 1e-20  # after a step of next to nothing


def test_biases_follow_the_seed_and_the_option():
    first, again, other = (_first_biases(random_state=seed)[0][0] for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.array_equal(_first_biases(n_jobs=2)[0][0], first)
    assert all(np.abs(bias).max() < 1e-20 for bias in _first_biases(bias_init="zeros")[0])
    assert (_first_biases(bias_init=0.25)[0][0] == 0.25).all()


def test_published_settings_begin_with_biases_of_zero():
    found = SparseMLPClassifier.from_preset("set-2018")
    assert found.bias_init == "zeros" and found.max_iter == 100


# --- what for -------------------------------------------------------------------------------------


def test_noise_is_not_learnt_by_heart():
    X, noise = RNG.standard_normal((2, 120, 8))
    trained = [
        SparseMLPRegressor((300, 300), random_state=0, n_jobs=1, **options).fit(X, noise[:, 0])
        for options in ({}, {"weight_decay": 0.0})
    ]
    held, free = (model.score(X, noise[:, 0]) for model in trained)
    assert held < 0.75 < 0.95 < free


@pytest.mark.parametrize("kind", [SparseMLPClassifier, SparseMLPRegressor])
@pytest.mark.parametrize(
    "rows, features, most", [(120, 1, 0.75), (120, 2, 0.75), (120, 4, 0.75), (60, 8, 0.75), (300, 8, 0.85)]
)
def test_noise_in_up_to_eight_features_is_not_learnt_by_heart(kind, rows, features, most):
    """With a decay of 10 / rows the regressor ends at 0.8 of 60 rows, and at 0.85 to 0.9 of 300.

    Of many more features nothing is claimed: 30 of them tell 120 targets nearly all apart by a plane. Nor is
    it of many classes, each of which has few rows: noise in ten of 20 rows each is learnt to 0.88.
    """
    rng = np.random.default_rng(1)
    X, noise = rng.standard_normal((rows, features)), rng.standard_normal(rows)
    y = noise if kind is SparseMLPRegressor else noise > 0
    assert kind((60, 60), random_state=0, n_jobs=1).fit(X, y).score(X, y) < most


def test_noise_in_three_classes_is_not_learnt_by_heart():
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((120, 8)), rng.integers(0, 3, 120)
    assert SparseMLPClassifier((60, 60), random_state=0, n_jobs=1).fit(X, y).score(X, y) < 0.75


def test_arms_of_a_spiral_are_told_apart():
    """With a decay of 10 / rows 0.8 of the points are right."""
    rng = np.random.default_rng(1)
    turn, y = np.sqrt(rng.uniform(0, 1, 400)) * 3 * np.pi, rng.integers(0, 2, 400)
    spiral = np.stack([turn * np.cos(turn + np.pi * y), turn * np.sin(turn + np.pi * y)], axis=1)
    spiral += 0.4 * rng.standard_normal(spiral.shape)
    model = SparseMLPClassifier((50, 50), random_state=0, n_jobs=1).fit(spiral[:280], y[:280])
    assert model.score(spiral[280:], y[280:]) > 0.9


@pytest.mark.parametrize(
    "of", [lambda x: np.sin(3 * x), np.abs, np.square], ids=["sine", "distance", "square"]
)
def test_a_curve_over_one_feature(of):
    """With biases of zero all kinks lie at the mean, and the fit is two straight lines."""
    x = np.random.default_rng(0).uniform(-3, 3, (300, 1)) + 1.0
    y = of(x[:, 0])
    scores = [
        SparseMLPRegressor((100, 100), random_state=0, n_jobs=1, **options).fit(x[:200], y[:200])
        .score(x[200:], y[200:]) for options in ({}, {"bias_init": "zeros", "max_iter": 100})
    ]  # fmt: skip
    assert scores[0] > 0.8 and scores[0] > scores[1]
