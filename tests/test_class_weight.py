"""How much samples count by their class: `class_weight` of the classifier."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.utils.class_weight import compute_class_weight

from rewire import SparseMLPClassifier
from rewire._class_weight import class_weights
from rewire.estimators._base import BaseSparseMLP

RNG = np.random.default_rng(3)
X = RNG.normal(size=(90, 5))
Y = np.array(["rare", "some", "many"])[np.searchsorted([-1.0, -0.3], X[:, 0] + 0.3 * X[:, 1])]
FAST = {"hidden_layer_sizes": (20,), "epsilon": 2, "max_iter": 3, "n_jobs": 1, "random_state": 0,
        "weight_decay": 0.0}  # fmt: skip
BY_CLASS = {"rare": 4.0, "some": 0.5}  # and 1 for the others


def test_the_constructor_is_that_of_the_base_and_one_argument_more():
    parameters = dict(inspect.signature(SparseMLPClassifier.__init__).parameters)
    del parameters["class_weight"]
    assert parameters == dict(inspect.signature(BaseSparseMLP.__init__).parameters)
    assert SparseMLPClassifier(epsilon=3, class_weight=BY_CLASS).get_params()["class_weight"] is BY_CLASS


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("stopping", [False, True])
@pytest.mark.parametrize("loss", ["auto", "squared_hinge"])
def test_a_class_weighs_as_much_as_its_samples_would(form, stopping, loss):
    own = RNG.uniform(0.5, 2.0, len(X))
    options = {**FAST, "early_stopping": stopping, "loss": loss}
    one = SparseMLPClassifier(**options, class_weight=BY_CLASS).fit(form(X), Y, sample_weight=own)
    weight = own * np.array([BY_CLASS.get(label, 1.0) for label in Y])
    two = SparseMLPClassifier(**options).fit(form(X), Y, sample_weight=weight)
    assert one.loss_curve_ == two.loss_curve_
    assert one.validation_scores_ == two.validation_scores_
    np.testing.assert_array_equal(one.predict(X), two.predict(X))


def test_balanced_is_that_of_scikit_learn_for_weighted_samples_too():
    classes, targets = np.unique(Y, return_inverse=True)
    expected = compute_class_weight("balanced", classes=classes, y=Y)
    np.testing.assert_allclose(class_weights("balanced", classes, targets, None), expected)
    times = RNG.integers(0, 3, len(Y)) * (Y != "some")
    again = np.repeat(Y, times)
    expected = compute_class_weight("balanced", classes=np.unique(again), y=again)
    found = class_weights("balanced", classes, targets, times.astype(float))
    np.testing.assert_allclose(found[classes != "some"], expected)
    model = SparseMLPClassifier(**FAST, class_weight="balanced").fit(X, Y)
    two = SparseMLPClassifier(**FAST, class_weight=dict(zip(
        classes, class_weights("balanced", classes, targets, None), strict=True))).fit(X, Y)  # fmt: skip
    assert model.loss_curve_ == two.loss_curve_


def test_a_class_of_weight_zero_leaves_no_trace():
    left = Y != "some"
    one = SparseMLPClassifier(**FAST, class_weight={"some": 0}).fit(X, Y)
    two = SparseMLPClassifier(**FAST).fit(X, Y, sample_weight=left.astype(float))
    assert one.loss_curve_ == two.loss_curve_ and list(one.classes_) == ["many", "rare", "some"]


def test_rows_count_by_their_own_weights_where_decay_goes_by_them():
    """Else a class that is rare, and weighs the more, would switch the decay of few rows off."""
    options = {**FAST, "weight_decay": "auto"}
    decays = [
        SparseMLPClassifier(**options, class_weight=given).fit(X, Y).trainer_.optimizer.weight_decay
        for given in (None, "balanced", {"rare": 1e6})
    ]
    assert len({*decays}) == 1


def test_pieces_of_a_stream():
    classes = ["many", "rare", "some"]
    model = SparseMLPClassifier(**FAST, class_weight=BY_CLASS)
    other = SparseMLPClassifier(**FAST)
    weight = np.array([BY_CLASS.get(label, 1.0) for label in Y])
    for rows in (slice(0, 40), slice(40, 90)):
        model.partial_fit(X[rows], Y[rows], classes=classes)
        other.partial_fit(X[rows], Y[rows], weight[rows], classes=classes)
    assert model.loss_curve_ == other.loss_curve_
    model.set_params(class_weight={"rare": 0.0})
    before = pickle.dumps(model.network_)
    model.partial_fit(X[Y == "rare"], Y[Y == "rare"])  # nothing counts
    assert pickle.dumps(model.network_) == before
    model = SparseMLPClassifier(**FAST, class_weight="balanced")
    with pytest.raises(ValueError, match="^class_weight must be a dict or None in partial_fit"):
        model.partial_fit(X, Y, classes=classes)
    assert not hasattr(model, "trainer_")


def test_going_on_copies_and_pickles():
    model = SparseMLPClassifier(**FAST, class_weight=BY_CLASS, warm_start=True).fit(X, Y)
    assert clone(model).class_weight == BY_CLASS
    for kept in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        kept.fit(X, Y)
        assert kept.n_iter_ == 6
    model.set_params(class_weight="balanced").fit(X[Y != "some"], Y[Y != "some"])  # a class less is there
    assert model.n_iter_ == 6


@pytest.mark.parametrize(
    "given, kind, words",
    [
        ("balance", ValueError, "a dict of weights by class, 'balanced' or None, got 'balance'"),
        ([1, 2, 3], TypeError, r"a dict of weights by class, 'balanced' or None, got \[1, 2, 3\]"),
        ({0: 1.0, 1: 2.0}, ValueError, "classes of y as keys, 'many', 'rare', 'some', got 0"),
        ({"rare": 1.0, "Some": 2.0}, ValueError, "classes of y as keys, .*, got 'Some'"),
        (dict.fromkeys(("rare", "some", "many"), 0), ValueError, "give a class of y a weight > 0"),
    ],
)
def test_what_is_no_weight_of_a_class(given, kind, words):
    model = SparseMLPClassifier(**FAST, class_weight=given)
    with pytest.raises(kind, match=f"^class_weight must (be|have)? ?{words}"):
        model.fit(X, Y)
    assert not hasattr(model, "trainer_")


def test_numbers_and_labels_are_refused_by_name():
    with pytest.raises(ValueError, match=r"^class_weight\['rare'\] must be a number >= 0, got -1"):
        SparseMLPClassifier(**FAST, class_weight={"rare": -1}).fit(X, Y)
    with pytest.raises(ValueError, match="^class_weight must be None for labels, got 'balanced': give fit"):
        SparseMLPClassifier(**FAST, class_weight="balanced").fit(X, np.stack([Y == "rare", Y == "some"], 1))


@pytest.mark.parametrize(
    "given, large, words",
    [
        ({"rare": 1e300}, 1e300, r"^class_weight must leave .* got 1e\+300 times 1e\+300 in row"),
        ({"rare": 1e-300}, 1e-300, "^class_weight must leave .* got 1e-300 times 1e-300 in row"),
        ("balanced", 1e-320, "^sample_weight must be less unequal .* class 'rare' that are nothing"),
    ],
)
def test_weights_that_leave_the_numbers_are_refused(given, large, words):
    weight = np.where(Y == "rare", large, 1.0)
    with pytest.raises(ValueError, match=words):
        SparseMLPClassifier(**FAST, class_weight=given).fit(X, Y, sample_weight=weight)


def test_the_unit_of_sample_weights_makes_no_difference_to_balanced_classes():
    classes, targets = np.unique(Y, return_inverse=True)
    for unit in (1e307, 1e-307):
        found = class_weights("balanced", classes, targets, np.full(len(Y), unit))
        np.testing.assert_allclose(found, class_weights("balanced", classes, targets, None))


def test_classes_that_a_fold_lacks_may_have_weights():
    some = Y != "some"
    every = {**BY_CLASS, "many": 1.0}
    one = SparseMLPClassifier(**FAST, class_weight=every).fit(X[some], Y[some])
    assert list(one.classes_) == ["many", "rare"]
