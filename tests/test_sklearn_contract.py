"""scikit-learn's own checks of all estimators, and the tools estimators travel through."""

import copy
import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import joblib
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

from rewire import (
    SET,
    SGD,
    DensityWarning,
    QuickSelection,
    SparseBernoulliRBM,
    SparseDenoisingAutoencoder,
    SparseMLPClassifier,
    SparseMLPRegressor,
)

# Default arguments but for one thread (results do not depend on that one) and as few epochs as are enough for
# what the checks ask of scores.
CHECKED = {
    "classifier": SparseMLPClassifier(max_iter=10, n_jobs=1),
    "regressor": SparseMLPRegressor(max_iter=20, n_jobs=1),
}
TOO_EXACT = (
    "outputs are compared at rtol 1e-7, below the precision of float32 sums in another order; "
    'with dtype="auto" (float64 here) the check passes'
)
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": TOO_EXACT,
    "check_sample_weight_equivalence_on_sparse_data": TOO_EXACT,
}
GOES_ON = "a second fit goes on from the first, as asked; scikit-learn's own MLP fails this check as well"
EXPECTED_WARM = {
    "classifier": {
        **EXPECTED,
        "check_supervised_y_2d": GOES_ON,
        "check_classifiers_multilabel_representation_invariance": GOES_ON,
    },
    "regressor": {**EXPECTED, "check_supervised_y_2d": GOES_ON},
}
# What else is checked; narrow layers need more epochs for some checks.
SMALL = {"hidden_layer_sizes": (50,), "max_iter": 40}
QUICK = [{**SMALL, "early_stopping": True}]
LONG = [
    {**SMALL, "warm_start": True},
    {"early_stopping": True},
    {"warm_start": True},
    {"early_stopping": True, "warm_start": True},
    SMALL,
    {**SMALL, "rewiring": "rigl", "optimizer": "adamw", "dropout": 0.1, "group": 4, "max_iter": 100},
    {**SMALL, "rewiring": "magnitude", "connectivity": "small-world"},
    {**SMALL, "connectivity": "correlated"},
    {**SMALL, "optimizer": "sgd", "learning_rate_init": 0.01, "max_iter": 100},
]

FAST = {"hidden_layer_sizes": (40,), "max_iter": 4, "n_jobs": 1, "random_state": 0}


def outcomes(estimator, expected):
    results = check_estimator(estimator, expected_failed_checks=expected, on_fail=None, on_skip=None)
    assert len(results) > 50
    return {
        status: {r["check_name"]: r["exception"] for r in results if r["status"] == status}
        for status in ("passed", "skipped", "xfail", "failed")
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHECKED)
def test_check_estimator(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DensityWarning)  # few features, and none for the default widths
        found = outcomes(CHECKED[kind], EXPECTED)
    assert not found["failed"], found["failed"]
    assert set(found["xfail"]) == set(EXPECTED)


CODER = SparseDenoisingAutoencoder(20, epsilon=1, max_iter=3, n_jobs=1)
UNSUPERVISED = [
    CODER,
    QuickSelection(estimator=CODER, n_runs=2),
    SparseBernoulliRBM(10, epsilon=1, n_iter=2, n_jobs=1),
    SparseBernoulliRBM(10, density=1.0, n_iter=2, persistent=True, rewiring=None, dtype="float64"),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:SparseBernoulliRBM. X should hold 0 and 1")  # the checks do not
@pytest.mark.parametrize("estimator", UNSUPERVISED, ids=lambda e: type(e).__name__)
def test_check_unsupervised_estimator(estimator):
    results = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(results) > 40
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed, failed


@pytest.mark.slow
@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    "changes", [*QUICK, *(pytest.param(changes, marks=pytest.mark.soak) for changes in LONG)], ids=str
)
@pytest.mark.parametrize("kind", CHECKED)
def test_check_estimator_with_other_parameters(kind, changes):
    expected = EXPECTED_WARM[kind] if changes.get("warm_start") else EXPECTED
    found = outcomes(clone(CHECKED[kind]).set_params(**changes), expected)
    assert not found["failed"], found["failed"]
    assert set(found["xfail"]) == set(expected)


def precise(kind):
    return clone(CHECKED[kind]).set_params(dtype="auto", hidden_layer_sizes=(200,), max_iter=50)


@pytest.mark.parametrize("kind", CHECKED)
def test_in_double_precision_what_was_expected_to_fail_passes(kind):
    passed = set()
    for estimator, check in estimator_checks_generator(precise(kind)):
        if check.func.__name__ in EXPECTED:
            check(estimator)
            passed.add(check.func.__name__)
    assert passed == set(EXPECTED)


@pytest.mark.soak
@pytest.mark.parametrize("kind", CHECKED)
def test_in_double_precision_nothing_is_expected_to_fail(kind):
    found = outcomes(precise(kind), None)
    assert not found["failed"], found["failed"]
    assert not found["xfail"]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


@pytest.fixture(scope="module")
def fitted(digits):
    return SparseMLPClassifier(**FAST).fit(*digits)


def test_tags():
    classifier, regressor = get_tags(SparseMLPClassifier()), get_tags(SparseMLPRegressor())
    assert classifier.estimator_type == "classifier" and regressor.estimator_type == "regressor"
    assert classifier.classifier_tags.multi_label and classifier.classifier_tags.multi_class
    assert regressor.target_tags.multi_output
    for tags in (classifier, regressor):
        assert tags.input_tags.sparse and not tags.input_tags.allow_nan
        assert tags.target_tags.required and tags.requires_fit and not tags.non_deterministic


def test_clone_keeps_parameters():
    first = SparseMLPClassifier((3, 4), rewiring=SET(0.2), optimizer=SGD(lr=0.1), random_state=3)
    second = clone(first)
    assert not hasattr(second, "trainer_")
    assert repr(first) == repr(second)
    assert second.optimizer is not first.optimizer


@pytest.mark.parametrize("travel", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])
def test_a_copy_is_equal_and_goes_on_equally(fitted, digits, travel):
    X, y = digits
    twin, other = travel(fitted), travel(fitted)
    assert twin.network_ is not fitted.network_
    assert np.array_equal(twin.predict_proba(X), fitted.predict_proba(X))
    assert twin.loss_curve_ == fitted.loss_curve_
    before = fitted.predict_proba(X)
    twin.partial_fit(X, y)
    other.partial_fit(X, y)
    assert np.array_equal(twin.predict_proba(X), other.predict_proba(X))
    assert not np.array_equal(twin.predict_proba(X), before)
    assert np.array_equal(fitted.predict_proba(X), before)


def test_joblib_file(fitted, digits, tmp_path):
    joblib.dump(fitted, tmp_path / "model")
    for mode in (None, "r"):  # "r": arrays come back as read-only maps of the file
        twin = joblib.load(tmp_path / "model", mmap_mode=mode)
        assert np.array_equal(twin.predict_proba(digits[0]), fitted.predict_proba(digits[0]))
        twin.partial_fit(*digits)


def test_loky_workers(digits):
    X, y = digits
    scores = [
        cross_val_score(SparseMLPClassifier(**FAST), X, y, cv=2, n_jobs=n, error_score="raise")
        for n in (1, 2)
    ]
    assert np.array_equal(*scores)


def test_grid_search_in_a_pipeline(digits):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), SparseMLPClassifier(**FAST)),
        {
            "sparsemlpclassifier__epsilon": [1, 6],
            "sparsemlpclassifier__rewiring": ["set", "static", SET(0.1)],
            "sparsemlpclassifier__max_iter": [60],
        },
        cv=2,
        error_score="raise",
    ).fit(*digits)
    assert search.best_score_ > 0.6
    assert search.best_params_["sparsemlpclassifier__epsilon"] == 6
    assert search.best_estimator_[-1].nnz_ == 6 * (64 + 40) + 6 * (40 + 10)


def test_fitted_names_are_missing_before_fit():
    for estimator in (SparseMLPClassifier(), SparseMLPRegressor()):
        for name in "coefs_ intercepts_ nnz_ density_ network_ history_ topology_history_".split():
            assert not hasattr(estimator, name)
        with pytest.raises(NotFittedError):
            estimator.predict(np.zeros((1, 2)))
