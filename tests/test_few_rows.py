"""Early stopping on few rows: a split that makes sense, or a refusal in the words of our own parameters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn")

import rewire as rw
from rewire import SparseMLPClassifier, SparseMLPRegressor

RNG = np.random.default_rng(1)
X = RNG.normal(size=(120, 6))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
T = 3 * X[:, 0] - X[:, 1]
FAST = {"hidden_layer_sizes": (8,), "epsilon": 3, "max_iter": 2, "n_jobs": 1, "random_state": 0}
STEPS = {**FAST, "max_iter": 1, "batch_size": 1, "early_stopping": True}  # a step for every row to train on
FOREIGN = ("test_size", "train_size", "stratif", "least populated", "n_splits")


def refusal(model, x, y):
    """The words of a ValueError of ``fit``; None if it fits."""
    try:
        model.fit(x, y)
    except ValueError as error:
        return str(error)
    return None


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 5),
)
def test_classifier(labels, fraction, seed):
    x, y = X[: len(labels)], np.array(labels)
    clf = SparseMLPClassifier(**{**STEPS, "validation_fraction": fraction, "random_state": seed})
    words = refusal(clf, x, y)
    if words is not None:
        assert not any(foreign in words for foreign in FOREIGN)
        assert "early_stopping" in words and "validation_fraction" in words or "at least 2 classes" in words
        assert not hasattr(clf, "trainer_")
        return
    rows = clf.trainer_.step
    assert 2 <= len(y) - rows <= max(2, int(np.ceil(fraction * len(y))))
    assert rows >= max(2, len(np.unique(y)))  # one of every class, at least
    assert clf.classes_.tolist() == sorted(set(labels))
    assert all(0.0 <= score <= 1.0 for score in clf.validation_scores_)


@given(n=st.integers(1, 12), fraction=st.floats(0.01, 0.99), outputs=st.integers(1, 2))
def test_regressor(n, fraction, outputs):
    y = T[:n] if outputs == 1 else np.column_stack([T, -T])[:n]
    reg = SparseMLPRegressor(**STEPS, validation_fraction=fraction)
    words = refusal(reg, X[:n], y)
    wanted = max(2, int(np.ceil(fraction * n)))
    assert (words is None) == (n >= 4 and n - wanted >= 2)
    if words is not None:
        assert "early_stopping" in words and "validation_fraction" in words
        assert not any(foreign in words for foreign in FOREIGN)
    else:
        assert np.isfinite(reg.validation_scores_).all()
        assert reg.trainer_.step == n - wanted


@pytest.mark.parametrize(
    "kind, n, y, fraction, words",
    [
        (SparseMLPRegressor, 1, T, 0.1, "needs at least 4 samples, 2 to hold out and 2 to train on, got 1 s"),
        (SparseMLPRegressor, 3, T, 0.1, "needs at least 4 samples"),
        (SparseMLPRegressor, 10, T, 0.95, "leaves 0 to train on: validation_fraction must be at most 0.8"),
        (SparseMLPClassifier, 10, np.arange(120), 0.1, "classes that have at least two, got 10 samples"),
        (SparseMLPClassifier, 3, Y, 0.5, "needs at least 4 samples"),
    ],
)
def test_refusals_say_what_would_do(kind, n, y, fraction, words):
    model = kind(**FAST, early_stopping=True, validation_fraction=fraction)
    assert words in refusal(model, X[:n], y[:n])
    if "at most" in words:
        assert refusal(model.set_params(validation_fraction=0.8), X[:n], y[:n]) is None


def test_ten_rows():
    options = {**FAST, "hidden_layer_sizes": (30,), "max_iter": 60, "early_stopping": True}
    clf = SparseMLPClassifier(**options).fit(X[:10], [0, 1] * 5)
    assert set(clf.validation_scores_) <= {0.0, 0.5, 1.0}  # one row of either class
    reg = SparseMLPRegressor(**{**options, "n_iter_no_change": None}).fit(X[:10], T[:10])
    assert len(set(reg.validation_scores_)) > 10 and reg.score(X[:10], T[:10]) > 0


def test_classes_are_held_out_in_proportion():
    """Nothing is learnt (the rate is next to nothing), so what is held out shows in its accuracy."""
    y = np.repeat([0, 1, 2], [60, 39, 1])
    x = np.eye(3)[y]
    weight = np.array([1e3, 0.0, 0.0])[y] + np.array([0.0, 1.0, 1.0])[y]
    for seed in range(5):
        still = {"optimizer": rw.SGD(1e-12), "validation_fraction": 0.2, "random_state": seed}
        clf = SparseMLPClassifier(**{**STEPS, **still}).fit(x, y, weight)
        assert clf.trainer_.step == 80
        right = clf.predict(np.eye(3)) == [0, 1, 2]
        assert clf.validation_scores_[0] == pytest.approx(right @ [12e3, 8.0, 0.0] / (12e3 + 8.0), abs=1e-9)


@given(
    y=st.lists(st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0]), min_size=4, max_size=12),
    fraction=st.floats(0.1, 0.5),
    seed=st.integers(0, 5),
)
def test_targets_vary_on_either_side(y, fraction, seed):
    """R2 of targets that are all equal is 0 in every epoch, and nothing is learnt from such."""
    reg = SparseMLPRegressor(**{**STEPS, "validation_fraction": fraction, "random_state": seed})
    words = refusal(reg, X[: len(y)], y)
    commonest = max(y.count(value) for value in y)
    assert (words is None) == (commonest < len(y) - 1)
    if words is None:
        assert reg.validation_scores_ != [0.0]
    else:
        assert "early_stopping" in words and "validation_fraction" in words
        reg.set_params(early_stopping=False).fit(X[: len(y)], y)


def test_a_target_that_is_mostly_zero():
    a = np.random.default_rng(0).normal(size=(40, 4))
    t = np.maximum(0.0, 3 * a[:, 0] - 2)
    for seed in range(3):
        options = {**FAST, "epsilon": 1, "max_iter": 20, "random_state": seed}
        reg = SparseMLPRegressor(**options, early_stopping=True)
        assert len(set(reg.fit(a, t).validation_scores_)) > 5


def test_weights_of_zero_do_not_count_as_rows():
    weight = np.r_[np.ones(3), np.zeros(117)]
    with pytest.raises(ValueError, match="needs at least 4 samples.* got 3 samples"):
        SparseMLPRegressor(**FAST, early_stopping=True).fit(X, T, weight)


@pytest.mark.parametrize("kind", [SparseMLPClassifier, SparseMLPRegressor])
def test_no_partial_fit_with_early_stopping(kind):
    model = kind(**FAST, early_stopping=True)
    assert not hasattr(model, "partial_fit") and hasattr(kind, "partial_fit")
    with pytest.raises(AttributeError, match=f"{kind.__name__} has no partial_fit with early_stopping=True"):
        model.partial_fit(X, Y)
    model.set_params(early_stopping=False)
    more = {"classes": [0, 1]} if kind is SparseMLPClassifier else {}
    assert model.partial_fit(X, Y, **more).n_iter_ == 1
