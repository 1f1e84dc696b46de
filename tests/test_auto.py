"""What estimators take from the number of rows: weight decay, and when SET moves links."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import rewire as rw
from rewire import Epochs, SparseMLPClassifier, SparseMLPRegressor, Steps

FEW = {"hidden_layer_sizes": (12,), "epsilon": 3, "max_iter": 1, "n_jobs": 1, "random_state": 0}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((400, 5))
Y = (X[:, 0] > 0).astype(int)


def decay(model):
    return model.trainer_.optimizer.weight_decay


# --- weight decay ---------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_fewer_rows_decay_more(optimizer):
    for rows, expected in ((400, 0.025), (50, 0.2), (20, 0.5), (8, 0.5)):
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
    with pytest.raises(ValueError, match="weight_decay must be one of 'auto', got"):
        SparseMLPClassifier(**FEW, weight_decay=wrong).fit(X, Y)


def test_every_target_of_a_row_counts():
    """The loss is a mean over outputs as well."""
    several = np.stack([Y, 1 - Y, Y, Y], axis=1)
    assert decay(SparseMLPClassifier(**FEW).fit(X, several)) == 10 / 1600
    assert decay(SparseMLPRegressor(**FEW).fit(X, X[:, :2])) == 10 / 800
    assert decay(SparseMLPRegressor(**FEW).fit(X, X[:, 0])) == 10 / 400


def test_rows_that_early_stopping_holds_out_do_not_count():
    model = SparseMLPClassifier(**FEW, early_stopping=True, validation_fraction=0.25).fit(X, Y)
    assert decay(model) == 10 / 300


@pytest.mark.parametrize(
    "weight, rows",
    [
        (np.where(np.arange(400) < 100, 2.0, 1.0), 500), (np.full(400, 1 / 400), 400),
        (np.arange(400) % 2 * 1.0, 200), (np.full(400, 1e308), 400), (np.r_[1e-9, np.ones(399)], 4000),
    ],
    ids=["some twice", "sum to 1", "half nowhere", "sum overflows", "one near zero"],
)  # fmt: skip
def test_a_row_counts_by_its_weight(weight, rows):
    assert decay(SparseMLPClassifier(**FEW).fit(X, Y, weight)) == pytest.approx(10 / rows)


@pytest.mark.parametrize("standardize", [True, False])
def test_a_stream_counts_all_rows_so_far(standardize):
    model, found = SparseMLPClassifier(**FEW, standardize=standardize), []
    for start in range(0, 400, 40):
        rows = slice(start, start + 40)
        found.append(decay(model.partial_fit(X[rows], Y[rows], classes=[0, 1])))
    assert found[:3] == [0.25, 0.25, 0.125] and found[-1] == 10 / 360  # the latest piece not yet


def test_the_same_set_again_counts_once():
    model = SparseMLPRegressor(**FEW, warm_start=True)
    for call in (model.partial_fit, model.partial_fit, model.fit, model.fit):
        assert decay(call(X, X[:, 0])) == 10 / 400


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


# --- what for -------------------------------------------------------------------------------------


def test_noise_is_not_learnt_by_heart():
    X, noise = RNG.standard_normal((2, 120, 8))
    trained = [
        SparseMLPRegressor((300, 300), random_state=0, n_jobs=1, **options).fit(X, noise[:, 0])
        for options in ({}, {"weight_decay": 0.0})
    ]
    held, free = (model.score(X, noise[:, 0]) for model in trained)
    assert held < 0.75 < 0.95 < free
