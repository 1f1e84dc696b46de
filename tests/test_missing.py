"""Values that are missing are refused by argument and place: what lies under a mask, NA, None, dates."""

import numpy as np
import pytest
import scipy.sparse as sp

import rewire as rw
from rewire.connectivity import Correlated
from small import X, Y

pytest.importorskip("sklearn")
from rewire import SparseMLPClassifier, SparseMLPRegressor

FAST = {"hidden_layer_sizes": (6,), "epsilon": 2, "max_iter": 1, "n_jobs": 1, "random_state": 0}
ROW, COLUMN = 2, 3
ONES = np.ones(len(X))


def masked(a):
    """One value hidden, under which a number lies."""
    mask = np.zeros(a.shape, bool)
    mask[(ROW, COLUMN)[: a.ndim]] = True
    return np.ma.array(a, mask=mask)


def trainer():
    layers = [rw.Sparse(X.shape[1], 6, epsilon=3), rw.Sparse(6, 3, activation="softmax")]
    return rw.Trainer(rw.Sequential(layers), loss="cross_entropy")


def classifier():
    return SparseMLPClassifier(**FAST).fit(X, Y)


def regressor():
    return SparseMLPRegressor(**FAST).fit(X, ONES)


def store():
    return rw.WeightStore.from_dense(np.eye(3, X.shape[1]))


# Who is given something, what it is called, and the array.
CALLS = {
    "fit X": (lambda a: SparseMLPClassifier(**FAST).fit(a, Y), "X", X),
    "fit y": (lambda a: SparseMLPClassifier(**FAST).fit(X, a), "y", Y),
    "fit targets": (lambda a: SparseMLPRegressor(**FAST).fit(X, a), "y", ONES),
    "fit weight": (lambda a: SparseMLPRegressor(**FAST).fit(X, Y, a), "sample_weight", ONES),
    "partial_fit": (lambda a: regressor().partial_fit(a, ONES), "X", X),
    "predict": (lambda a: classifier().predict(a), "X", X),
    "score y": (lambda a: classifier().score(X, a), "y", Y),
    "score targets": (lambda a: regressor().score(X, a), "y", ONES),
    "score weight": (lambda a: classifier().score(X, Y, a), "sample_weight", ONES),
    "trainer X": (lambda a: trainer().fit(a, Y, verbose=0), "X", X),
    "trainer y": (lambda a: trainer().fit(X, a, verbose=0), "y", Y),
    "trainer weight": (lambda a: trainer().fit(X, Y, sample_weight=a, verbose=0), "sample_weight", ONES),
    "validation": (lambda a: trainer().fit(X, Y, validation_data=(a, Y), verbose=0), "validation X", X),
    "batches": (lambda a: trainer().fit([(a, Y)], verbose=0), "X of batch 0", X),
    "step": (lambda a: trainer().train_step(a, Y), "X", X),
    "evaluate": (lambda a: trainer().evaluate(a, Y), "X", X),
    "network": (lambda a: trainer().network.predict(a), "X", X),
    "compiled": (lambda a: trainer().network.compile()(a), "X", X),
    "product": (lambda a: store() @ a.T, "x", X),
    "correlated": (Correlated, "X", X),
    "forward": (lambda a: store().forward(a), "X", X),
    "dense": (rw.WeightStore.from_dense, "array", X),
    "layer": (rw.Sparse.from_dense, "weights", X),
    "compare": (lambda a: rw.compare((X, Y, a, Y), {"SET": {}}, epochs=1), "X_test", X),
    "write": (lambda a: trainer().network.layers[1].bias_parameter.write(a), "values", ONES[:3]),
    "rows": (lambda a: store().add(a, [0, 1, 2], ONES[:3]), "rows", np.arange(3)),
    "links": (lambda a: store().add([0, 1, 2], [0, 1, 2], a), "values", ONES[:3]),
}


def place(call, a):
    """Where a value is hidden, in the words of an error."""
    if call == "product":  # it gets the array turned
        return f"row {COLUMN}, column {ROW}"
    return f"row {ROW}, column {COLUMN}" if a.ndim == 2 else f"row {ROW}"


@pytest.mark.parametrize("call", CALLS)
def test_what_lies_under_a_mask_is_not_used(call):
    function, name, a = CALLS[call]
    function(np.ma.array(a))  # where nothing is hidden it is an array like others
    with pytest.raises(TypeError) as caught:
        function(masked(a))
    assert str(caught.value).startswith(
        f"{name} must have no masked values, got one in {place(call, a)}: fill them"
    )


@pytest.mark.parametrize("call", [c for c in CALLS if c not in {"product", "batches", "rows", "links"}])
def test_nor_what_lies_under_the_masks_of_rows_in_a_list(call):
    function, name, a = CALLS[call]
    function([np.ma.array(row) for row in a])
    with pytest.raises(TypeError) as caught:
        function(list(masked(a)))  # of a vector: one is `np.ma.masked`
    assert str(caught.value).startswith(
        f"{name} must have no masked values, got one in {place(call, a)}: fill them"
    )


@pytest.mark.parametrize("missing", [object(), "?", {}])
def test_objects_that_are_no_numbers_are_named(missing):
    a = X.astype(object)
    a[ROW, COLUMN] = missing
    with pytest.raises(TypeError, match=f"^X must hold real numbers, .* in row {ROW}, column {COLUMN}$"):
        trainer().network.predict(a)
    a[ROW, COLUMN] = None  # which NumPy knows as NaN
    with pytest.raises(ValueError, match=f"^X must be finite, got nan in row {ROW}, column {COLUMN}$"):
        trainer().network.predict(a)


def test_labels_that_are_objects_are_labels():
    """As of a column of integers in which a value might have been missing; one that is, is named."""
    histories = []
    for labels in (Y, Y.astype(object), np.array([np.int8(label) for label in Y], object)):
        rows = trainer().fit(X, labels, verbose=0)
        histories.append(rows["loss"])
    assert histories[0] == histories[1] == histories[2]
    trainer().evaluate(X, (Y > 0).astype(object))
    for nothing in (None, np.nan):
        labels = Y.astype(object)
        labels[ROW] = nothing
        with pytest.raises(ValueError, match=f"^y must be finite, got nan in row {ROW}$"):
            trainer().fit(X, labels, verbose=0)


@pytest.mark.parametrize("unit", ["M8[s]", "m8[s]"])
def test_dates_are_no_targets(unit):
    y = np.arange(len(X)).astype(unit)
    y[ROW] = "NaT"  # -2^63 as a number
    with pytest.raises(TypeError, match="y must hold real numbers, got dtype (datetime|timedelta)64"):
        SparseMLPRegressor(**FAST).fit(X, y)
    with pytest.raises(TypeError, match="y must hold real numbers, got dtype (datetime|timedelta)64"):
        regressor().score(X, y)


@pytest.mark.parametrize("kind", ["nullable", "bool"])
def test_labels_of_nullable_columns_are_scored(kind):
    pandas = pytest.importorskip("pandas")
    labels = np.column_stack([Y == 0, Y == 1])
    y = pandas.DataFrame(labels).astype("boolean" if kind == "bool" else "Int64")
    model = SparseMLPClassifier(**FAST).fit(X, y)
    assert model.score(X, y) == model.score(X, labels.astype(int))


# What is no number, as X and as targets: the kind of error, and what it says between argument and place.
STRANGE = {
    "text": ("?", ValueError, "got '\\?'"),
    "bytes": (b"?", ValueError, "got dtype object: could not convert string to float: b'\\?'"),
    "object": (object(), TypeError, r"got dtype object: float\(\) argument must be.*"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_estimators_name_the_place_of_what_is_no_number(case):
    """scikit-learn's own words name neither argument nor place."""
    value, kind, words = STRANGE[case]
    x, y = X.astype(object), ONES.astype(object)
    x[ROW, COLUMN] = y[ROW] = value
    model, must = regressor(), "must hold real numbers,"
    for call in (model.fit, model.partial_fit):
        with pytest.raises(kind, match=f"^X {must} {words} in row {ROW}, column {COLUMN}"):
            call(x, ONES)
        with pytest.raises(kind, match=f"^y {must} {words} in row {ROW}"):
            call(X, y)
    with pytest.raises(kind, match=f"^X {must} {words} in row {ROW}, column {COLUMN}"):
        model.predict(x)


def test_sparse_targets_that_are_no_indicators_are_refused():
    column = sp.csr_array(np.arange(len(X))[:, None] % 3)
    with pytest.raises(TypeError, match="^y must be a dense array, got a sparse one: y.toarray"):
        SparseMLPRegressor(**FAST).fit(X, column)
    with pytest.raises(TypeError, match="^y must be an array of classes, or sparse 0-1 indicators"):
        SparseMLPClassifier(**FAST).fit(X, column)
