"""Whatever is finite gives the right answer or one error by name: scales, dtypes, weights, error states."""

import itertools
import math
import sys
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, r2_score

import rewire as rw
from rewire import SparseMLPClassifier, SparseMLPRegressor, Trainer, _core
from rewire.losses import Targets, Truth
from rewire.metrics import R2

EPS = np.finfo(float).eps
TINY, MOST = np.finfo(float).tiny, np.finfo(float).max
FAST = {"hidden_layer_sizes": (12,), "max_iter": 2, "random_state": 0, "n_jobs": 1}
rng = np.random.default_rng(0)
X = rng.normal(size=(60, 6))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
T = 3 * X[:, 0] - X[:, 1]
exponents = st.integers(-1000, 1000)


def network(n_out=1, final="linear", dtype="float32"):
    return rw.Sequential(
        [
            rw.Sparse(6, 12, density=0.5, activation="relu"),
            rw.Sparse(12, n_out, density=1.0, activation=final),
        ],
        dtype=dtype,
    )


# --- moments against fractions ----------------------------------------------------------


def root(x: Fraction) -> float:
    """The square root of a fraction of any size."""
    shift = 64 - (x.numerator.bit_length() - x.denominator.bit_length()) // 2
    by = Fraction(4) ** shift
    whole = math.isqrt(int(x * by))
    return float(Fraction(whole) / Fraction(2) ** shift)


def exact_moments(x, weight):
    """Mean and deviation of one column, by fractions."""
    values, w = [Fraction(float(v)) for v in x], [Fraction(float(v)) for v in weight]
    total = sum(w)
    mean = sum(a * b for a, b in zip(w, values, strict=True)) / total
    return float(mean), root(sum(a * (b - mean) ** 2 for a, b in zip(w, values, strict=True)) / total)


@st.composite
def tables(draw):
    """1 to 12 rows of some columns, each of a scale of its own; perhaps weights, perhaps sparse."""
    rows, columns = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    mantissas = st.sampled_from([0.0, 1.0, -1.0, 3.0, 0.7, -2.5, 1.0 + EPS, 1.9])
    x = np.array([[draw(mantissas) for _ in range(columns)] for _ in range(rows)])
    x = np.ldexp(x, [draw(st.integers(-1060, 1022)) for _ in range(columns)])
    dtype = draw(st.sampled_from(["f8", "f4", "f2", "g", "i8", "u1", "?"]))
    with np.errstate(all="ignore"):
        cast = x.astype(dtype)
    x = cast if np.isfinite(cast.astype(float)).all() else x
    weight = None
    if draw(st.booleans()):
        level = draw(st.integers(-1070, 1020))
        weight = np.ldexp([draw(st.sampled_from([0.0, 1.0, 0.5, 3.0])) for _ in range(rows)], level)
        if not weight.any():
            weight = None
    makers = [np.asarray, sp.csr_array] if x.dtype.str[1:] in ("f4", "f8") else [np.asarray]
    make = draw(st.sampled_from(makers))
    return make(x), x.astype(float), weight


@given(tables(), st.sampled_from(["raise", "ignore"]))
@settings(max_examples=100, deadline=None)
def test_moments_are_those_of_fractions(table, errors):
    given_x, x, weight = table
    with np.errstate(all=errors):
        found = rw.Standardizer.fit(given_x, weight)
    w = np.ones(len(x)) if weight is None else weight
    for j, column in enumerate(x.T):
        mean, deviation = exact_moments(column, w)
        largest, n = np.abs(column[w > 0]).max(), len(column)
        assert abs(found.mean[j] - mean) <= 4 * n * EPS * largest
        assert math.isfinite(found.scale[j]) and found.scale[j] > 0
        if deviation <= n * EPS * abs(mean) / 4:
            assert found.moments.deviation[j] == 0
            assert 1 / found.scale[j] == pytest.approx(max(1.0, n * EPS * abs(mean)), rel=1e-12)
        elif deviation > 4 * n * EPS * abs(mean) and deviation > TINY:
            # a scale near 1e-308 is subnormal and has fewer bits
            assert 1 / found.scale[j] == pytest.approx(deviation, rel=1e-12, abs=8 * n * EPS * largest) or (
                deviation > 2.0**1000
            )


@pytest.mark.parametrize("scale", [1.0, 2.0**-1000, 2.0**1000, 1e-160, 1e160])
def test_a_column_is_constant_for_csr_as_for_an_array(scale):
    x = np.zeros((9, 5))
    x[:, 1], x[::2, 2], x[:, 3], x[:, 4] = 0.1, 0.1, -0.0, np.arange(9)
    x *= scale
    s = sp.csr_array(x)
    s.data[0] = s.data[0]  # explicit values stay
    verdicts = [rw.Standardizer.fit(data).moments.deviation == 0 for data in (x, s)]
    assert verdicts[0].tolist() == [True, True, False, True, False]
    assert np.array_equal(*verdicts)


def check_same(make, *predictions):
    """The same bits; of sparse inputs, from which no mean is subtracted one by one, within rounding."""
    if make is np.asarray:
        np.testing.assert_array_equal(*predictions)
    else:
        np.testing.assert_allclose(*predictions, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("value", [1.764423176123456789e18, 3.3e37, 1.1e100, 1e299, 1.7e308, -0.1])
def test_a_constant_column_of_any_size_is_one_of_zeros(make, value):
    none, some = np.c_[X, np.zeros(60)], make(np.c_[X, np.full(60, value)])
    plain = SparseMLPClassifier(**FAST).fit(none, Y).predict_proba(none)
    check_same(make, SparseMLPClassifier(**FAST).fit(some, Y).predict_proba(some), plain)
    streams = [SparseMLPClassifier(**FAST) for _ in range(2)]
    for clf, x in zip(streams, (none, some), strict=True):
        for start in range(0, 60, 20):
            clf.partial_fit(x[start : start + 20], Y[start : start + 20], classes=[0, 1])
    check_same(make, streams[0].predict_proba(none), streams[1].predict_proba(some))


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_the_mean_of_a_constant_is_what_has_weight(make):
    x, w = np.full((9, 1), 1e33), np.ones(9)
    x[0], w[0], w[1] = 7.0, 0.0, 3.0
    assert rw.Standardizer.fit(make(x), w).mean == 1e33
    x[0], w[0] = 3.0, 1e-300  # as good as nothing
    assert rw.Standardizer.fit(make(x), w).mean == 1e33


@pytest.mark.parametrize("value", [3.3e37, 1.7e308, -0.1])
def test_a_constant_target_of_any_size_is_predicted(value):
    reg = SparseMLPRegressor(**FAST).fit(X, np.full(60, value), np.arange(60.0))
    np.testing.assert_allclose(reg.predict(X), value, rtol=1e-6, atol=9)
    assert reg.target_mean_ == value


def test_what_varies_by_the_least_number_is_no_constant():
    """Its deviation, half of that number, is none of float64."""
    least = np.arange(60) % 2 * math.ulp(0.0)
    reg = SparseMLPRegressor(**FAST | {"max_iter": 60}).fit(X, least)
    assert np.unique(reg.predict(X)).max() < 3 * math.ulp(0.0)
    assert reg.target_scale_ == math.ulp(0.0)
    for make in (np.asarray, sp.csr_array):
        column = make(least[:, None])
        clf = SparseMLPClassifier(**FAST | {"max_iter": 60}).fit(column, least > 0)
        assert clf.score(column, least > 0) == 1.0


# --- powers of two change nothing -------------------------------------------------------


@given(
    st.lists(exponents, min_size=6, max_size=6),
    exponents,
    exponents,
    st.integers(2, 12),
    st.sampled_from([np.asarray, sp.csr_array]),
)
@settings(max_examples=10, deadline=None)
def test_estimators_give_the_same_bits_in_any_units(by_column, by_target, by_weight, rows, make):
    x, t, y = X[:rows], T[:rows], np.arange(rows) % 2
    w = 1.0 + np.arange(rows) % 3
    far, far_w = np.ldexp(x, by_column), np.ldexp(w, by_weight)
    plain = SparseMLPClassifier(**FAST).fit(make(x), y, sample_weight=w)
    other = SparseMLPClassifier(**FAST).fit(make(far), y, sample_weight=far_w)
    check_same(make, plain.predict_proba(make(x)), other.predict_proba(make(far)))
    plain = SparseMLPRegressor(**FAST).fit(make(x), t, sample_weight=w)
    other = SparseMLPRegressor(**FAST).fit(make(far), np.ldexp(t, by_target), sample_weight=far_w)
    check_same(make, plain.predict(make(x)), np.ldexp(other.predict(make(far)), -by_target))
    scores = plain.score(make(x), t, w), other.score(make(far), np.ldexp(t, by_target), far_w)
    close = {"rel": 1e-12} if make is np.asarray else {"rel": 1e-5, "abs": 1e-5}
    assert scores[0] == pytest.approx(scores[1], **close)
    assert plain.loss_ == pytest.approx(other.loss_, **close)


@pytest.mark.parametrize("exponent", [-900, -260, -200, 198, 203, 900])
@pytest.mark.parametrize("rows", [2, 12, 60])
def test_regressors_of_float64_give_the_same_bits_in_any_units(exponent, rows):
    """Few rows and many are summed in different ways, but the same way in all units."""
    options = {**FAST, "optimizer": "sgd", "dtype": "float64", "batch_size": 5}
    target = np.random.default_rng(rows).normal(size=rows)
    near, far = (
        SparseMLPRegressor(**options).fit(X[:rows], y).predict(X)
        for y in (target, np.ldexp(target, exponent))
    )
    np.testing.assert_array_equal(np.ldexp(far, -exponent), near)


@pytest.mark.parametrize("scale", [1e300, 1e307, 1e-300, 2.0**-1060])
def test_far_targets_and_features(scale):
    found = SparseMLPRegressor(**FAST | {"max_iter": 60}).fit(X, T * scale)
    near = SparseMLPRegressor(**FAST | {"max_iter": 60}).fit(X, T)
    assert np.isfinite(found.predict(X)).all()
    assert found.score(X, T * scale) == pytest.approx(near.score(X, T), abs=1e-3)
    classes = [SparseMLPClassifier(**FAST).fit(x, Y).predict_proba(x) for x in (X, X * scale)]
    np.testing.assert_allclose(*classes, atol=1e-3)


def test_features_at_the_edge_of_float64():
    edge = np.where(np.arange(60) % 3, 1.0, -1.0) * MOST
    for column in (np.full(60, MOST / 2), edge, np.where(np.arange(60) % 2, 5e-324, 0.0)):
        clf = SparseMLPClassifier(**FAST).fit(np.c_[X, column], Y)
        assert np.isfinite(clf.predict_proba(np.c_[X, column])).all()
    s = rw.Standardizer.fit(edge[:, None])
    assert s.mean[0] == pytest.approx(MOST / 3, rel=1e-12)
    reg = SparseMLPRegressor(**FAST).fit(X, edge)
    assert np.isfinite(reg.predict(X)).all()


@pytest.mark.parametrize("dtype", "f2 f4 f8 g i1 u1 i2 u2 i4 u4 i8 u8 O ?".split())
def test_the_same_numbers_in_any_dtype(dtype):
    x = (X > 0).astype(float) if dtype == "?" else np.abs(np.round(X * 9))
    expected = SparseMLPClassifier(**FAST).fit(x, Y).predict_proba(x)
    given_x = x.astype(dtype)
    assert np.array_equal(SparseMLPClassifier(**FAST).fit(given_x, Y).predict_proba(given_x), expected)
    t = x[:, 0].astype(dtype)
    found = SparseMLPRegressor(**FAST).fit(given_x, t).predict(given_x)
    assert np.array_equal(found, SparseMLPRegressor(**FAST).fit(x, x[:, 0]).predict(x))


# --- weights ----------------------------------------------------------------------------


def test_a_batch_of_one_does_not_depend_on_its_weight():
    found = []
    for w in (None, 10.0 ** np.random.default_rng(2).integers(-320, 308, 60)):
        t = Trainer(network(2, "softmax"), loss="cross_entropy", optimizer="adam")
        t.fit(X, Y, epochs=2, batch_size=1, sample_weight=w, verbose=0)
        found.append(t.network.predict(X))
        assert math.isfinite(t.history.epochs[-1]["loss"])
    assert np.array_equal(*found)


@pytest.mark.parametrize("unit", [5e-324, 1e-300, 1e300, MOST])
def test_equal_weights_are_none(unit):
    found = []
    for w in (None, np.full(60, unit)):
        t = Trainer(network(), loss="mse", optimizer="adam", standardize=True, metrics=True)
        t.fit(X, T, epochs=2, sample_weight=w, validation_data=(X, T, w), verbose=0)
        found.append(
            [t.evaluate(X, T, sample_weight=w)]
            + [{k: row[k] for k in ("loss", "r2", "val_loss", "val_r2")} for row in t.history.epochs]
        )
    for a, b in zip(*found, strict=True):
        assert a == pytest.approx(b, rel=1e-6)


# --- metrics ----------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [-900, -400, -100, 0, 100, 400])
def test_r2_of_targets_of_any_size(exponent):
    t = Trainer(network(dtype="float64"), loss="mse")
    target = np.ldexp(T, exponent)
    out = t.network.predict(X)[:, 0]
    values = [Fraction(float(v)) for v in target]
    mean = sum(values) / len(values)
    error = sum((Fraction(float(o)) - v) ** 2 for o, v in zip(out, values, strict=True))
    exact = 1 - error / sum((v - mean) ** 2 for v in values)
    expected = max(float(max(exact, Fraction(-MOST))), -MOST)
    assert t.evaluate(X, target, batch_size=7)["r2"] == pytest.approx(expected, rel=1e-9)


def test_r2_of_batches_of_any_sizes_in_any_order():
    scales = [(1, 0), (1e-200, 1e-250), (1e200, 1e-245), (0, 1e-250), (1, 1)]
    batches = [rng.normal(size=(2, 6, 2)) * s for s in scales]
    for number, order in enumerate([*itertools.permutations(range(5), 4)][::9]):
        metric, seen = R2(), []
        for i in order:
            out, y = batches[i]
            w = None if number % 2 else rng.random(6) * (np.arange(6) != i)
            z = _core.Tiles(2, 6, 8, "float64")
            z.pack(out)
            truth = Truth(Targets(values=y), np.arange(6))
            seen.append((metric.look(z, truth, w), truth, w))  # some batches wait, as in a loop of one's own
        for batch in seen:
            metric.count(*batch)
        expected = []
        for column in range(2):
            found = [
                tuple(Fraction(float(v)) for v in (1.0 if w is None else w[r], *batches[i][:2, r, column]))
                for i, (_, _, w) in zip(order, seen, strict=True)
                for r in range(6)
            ]
            mean = sum(w * t for w, _, t in found) / sum(w for w, _, _ in found)
            error = sum(w * (z - t) ** 2 for w, z, t in found)
            expected.append(1 - error / sum(w * (t - mean) ** 2 for w, _, t in found))
        assert metric.value() == pytest.approx(float(sum(expected) / 2), rel=1e-9), order


def test_r2_of_sparse_targets_and_of_samples_that_do_not_count():
    y = np.where(rng.random((60, 3)) < 0.3, rng.normal(size=(60, 3)), 0.0)
    w = (np.arange(60) % 4).astype(float)
    t = Trainer(network(3), loss="mse")
    dense = t.evaluate(X, y, sample_weight=w, batch_size=23)
    assert dense["r2"] == pytest.approx(r2_score(y, t.network.predict(X), sample_weight=w), rel=1e-6)
    assert t.evaluate(X, sp.csr_matrix(y), sample_weight=w, batch_size=23) == dense
    for threads in (1, 3):
        t.threads = threads
        assert t.evaluate(X, y, sample_weight=w, batch_size=23) == dense


def test_r2_of_one_row_and_of_targets_that_never_vary():
    t = Trainer(network(), loss="mse")
    assert math.isnan(t.evaluate(X[:1], T[:1])["r2"])
    assert math.isnan(t.evaluate(X[:3], T[:3], sample_weight=[0, 2, 0])["r2"])
    for batch in (1, 2, 7):  # 0.1 has no exact mean
        assert t.evaluate(X[:7], np.full(7, 0.1), batch_size=batch)["r2"] == 0.0


def test_accuracy_under_weights_of_any_size():
    clf, w = SparseMLPClassifier(**FAST).fit(X, Y), 1.0 + np.arange(60) % 3
    expected = accuracy_score(Y, clf.predict(X), sample_weight=w)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for scale in (1.0, 5e307, 2.0**-1074):
            assert clf.score(X, Y, w * scale) == pytest.approx(expected, rel=1e-12)
        assert clf.score(X, Y) == accuracy_score(Y, clf.predict(X))


@pytest.mark.parametrize("kind", [SparseMLPClassifier, SparseMLPRegressor])
def test_weights_may_be_decimals_or_large_integers(kind):
    w = 1 + np.arange(60) % 3
    plain = kind(**FAST).fit(X, Y, w.astype(float))
    for given_w in ([Decimal(int(v)) for v in w], [int(v) * 2**80 for v in w]):
        found = kind(**FAST).fit(X, Y, given_w)
        assert np.array_equal(found.predict(X), plain.predict(X))
        assert found.score(X, Y, given_w) == pytest.approx(plain.score(X, Y, w), rel=1e-12)
    with pytest.raises(TypeError, match="sample_weight must hold real numbers"):
        kind(**FAST).fit(X, Y, [object()] * 60)
    with pytest.raises(ValueError, match="sample_weight must be finite in float64"):
        kind(**FAST).fit(X, Y, [10**400] * 60)


# --- one error, by name -----------------------------------------------------------------


def refusal(call):
    with pytest.raises(ValueError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_what_float32_cannot_hold_is_refused_by_row_and_column(make):
    bad = X.copy()
    bad[7, 2] = 1e39
    clf, reg = SparseMLPClassifier(**FAST).fit(X, Y), SparseMLPRegressor(**FAST).fit(X, T)
    plain = Trainer(network(2, "softmax"), loss="cross_entropy")
    calls = {
        "predict": lambda: clf.predict(make(bad)),
        "predict_proba": lambda: clf.predict_proba(make(bad)),
        "score": lambda: clf.score(make(bad), Y),
        "regressor": lambda: reg.predict(make(bad)),
        "network": lambda: clf.network_.predict(make(bad), batch_size=3),
        "fit": lambda: plain.fit(make(bad), Y, verbose=0),
        "evaluate": lambda: plain.evaluate(make(bad), Y),
        "unscaled": lambda: SparseMLPClassifier(**FAST, standardize=False).fit(make(bad), Y),
    }
    for call in calls.values():
        message = refusal(call)
        assert message.startswith("X must lie within 3.4e+38") and "1e+39 in row 7, column 2" in message
    message = refusal(lambda: plain.fit(X, Y, validation_data=(make(bad), Y), verbose=0))
    assert message.startswith("validation X must lie within")
    assert plain.step == 0
    wide = SparseMLPClassifier(**FAST, dtype="float64").fit(X, Y)
    assert np.isfinite(wide.predict_proba(make(bad))).all()


def test_outputs_that_overflow_are_refused_by_row():
    bad = X.copy()
    bad[3, 1] = 3e38
    net = rw.Sequential([rw.Sparse(6, 1, density=1.0, init=5.0)])
    assert "X makes outputs overflow float32 in row 3" in refusal(lambda: net.predict(bad))
    words = "row 3, whose largest value is 3e+38 in column 1"
    assert words in refusal(lambda: net.predict(bad, batch_size=2))
    assert "in row 3" in refusal(lambda: Trainer(net, loss="mse").evaluate(bad, T))


@pytest.mark.parametrize(
    "x, y, words",
    [
        (np.array([[1, 2], [3, 10**400]], dtype=object), [0, 1], ("X must", "row 1, column 1")),
        (np.array([[1, 2], [3, np.longdouble("1e400")]]), [0, 1], ("X must", "row 1, column 1")),
        (np.array([[1.0, 2], [3, np.inf]]), [0, 1], ("X", "inf")),
    ],
)
def test_what_float64_cannot_hold(x, y, words):
    if np.isfinite(np.longdouble("1e400")):
        message = refusal(lambda: SparseMLPClassifier(**FAST).fit(x, y))
        assert all(word in message for word in words)
        message = refusal(lambda: rw.Standardizer.fit(x))
        assert all(word in message for word in words)


BITS = (np.random.default_rng(0).random((20, 4)) > 0.5).astype(float)
HUGE = BITS.astype(object)
HUGE[3, 1] = 10**400
CALLS = {
    "fit": lambda m: m.fit(HUGE, Y[:20]),
    "partial_fit": lambda m: m.fit(BITS, Y[:20]).partial_fit(HUGE, Y[:20]),
    "predict": lambda m: m.fit(BITS, Y[:20]).predict(HUGE.tolist()),
    "score": lambda m: m.fit(BITS, Y[:20]).score(HUGE, Y[:20]),
    "transform": lambda m: m.fit(BITS).transform(HUGE),
    "inverse_transform": lambda m: m.fit(BITS).inverse_transform(HUGE),
    "score_samples": lambda m: m.fit(BITS).score_samples(HUGE),
    "free_energy": lambda m: m.fit(BITS).free_energy(HUGE),
    "gibbs": lambda m: m.fit(BITS).gibbs(HUGE),
}
CODERS = {
    "autoencoder": lambda: rw.SparseDenoisingAutoencoder(4, max_iter=1, epsilon=1, random_state=0),
    "rbm": lambda: rw.SparseBernoulliRBM(4, n_iter=1, epsilon=1, random_state=0),
    "selection": lambda: rw.QuickSelection(
        estimator=rw.SparseDenoisingAutoencoder(4, max_iter=1, epsilon=1), n_runs=1, random_state=0
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", CALLS)
def test_an_integer_beyond_every_float_is_named_wherever_it_comes(call):
    """NumPy says of it that an int is too large to convert, and not where it is."""
    kinds = {
        "classifier": lambda: SparseMLPClassifier(**FAST),
        "regressor": lambda: SparseMLPRegressor(**FAST),
    }
    for make in (kinds | CODERS).values():
        model = make()
        if hasattr(model, call) and (call == "fit" or not isinstance(model, rw.QuickSelection)):
            message = refusal(lambda model=model: CALLS[call](model))
            assert "X must" in message and "row 3, column 1" in message, (model, message)
    huge = [*Y[:3].tolist(), 10**400, *Y[4:20].tolist()]
    if call == "score":
        for make in kinds.values():
            message = refusal(lambda make=make: make().fit(BITS, Y[:20]).score(BITS, Y[:20], huge))
            assert "sample_weight must" in message and "row 3" in message
    if call in ("fit", "partial_fit", "score"):
        for make in kinds.values():
            model = make().fit(BITS, Y[:20])
            message = refusal(lambda model=model: getattr(model, call)(BITS, huge))
            assert "y must" in message and "row 3" in message
    made = rw.Standardizer.fit(BITS)
    assert "x must" in refusal(lambda: made.apply(HUGE))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_a_machine_of_binary_units_refuses_what_it_cannot_compute_with(dtype, make):
    """Sums of numbers beyond all probabilities overflow, and inf - inf was the energy."""
    rbm = rw.SparseBernoulliRBM(4, n_iter=1, epsilon=5, dtype=dtype, random_state=0).fit(make(BITS))
    far = BITS.copy()
    most = {"float32": 1e18, "float64": 1e150}[dtype]
    for value, good in ((-most, True), (most * 10, False), (-1.7e308, False)):
        far[3, 1] = value
        for method in ("transform", "score_samples", "free_energy", "gibbs", "partial_fit", "fit"):
            model = rw.SparseBernoulliRBM(**rbm.get_params()) if method == "fit" else rbm
            if not good:
                message = refusal(lambda m=model, name=method: getattr(m, name)(make(far)))
                assert "X must hold 0 and 1" in message and "row 3, column 1" in message
            elif method not in ("partial_fit", "fit"):
                assert np.isfinite(getattr(model, method)(make(far))).all()


def doubled(first, second):
    """CSR with two values at one place: they mean their sum."""
    return sp.csr_array((np.array([first, second, 1.0]), np.array([1, 1, 2]), np.array([0, 2, 3])), (2, 4))


@pytest.mark.parametrize("method", ["transform", "score_samples", "gibbs", "partial_fit", "fit"])
def test_what_stands_twice_at_a_place_is_summed_up_in_a_copy(method):
    rbm = rw.SparseBernoulliRBM(4, n_iter=1, epsilon=5, random_state=0).fit(BITS)
    call = getattr(rw.SparseBernoulliRBM(**rbm.get_params()) if method == "fit" else rbm, method)
    for first, second in ((1e200, -1e200), (1e20, 1.0), (1e308, 1e308)):
        X = doubled(first, second)
        if first + second:
            assert "row 0, column 1" in refusal(lambda X=X: call(X))
        else:
            call(X)
        assert X.nnz == 3 and X.data.tolist() == [first, second, 1.0]


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_an_autoencoder_refuses_what_it_cannot_compute_with(make, standardize):
    """It gave infinities for finite activations, and NaN for the score of finite samples."""
    options = {"max_iter": 1, "epsilon": 5, "random_state": 0, "standardize": standardize}
    coder, far = rw.SparseDenoisingAutoencoder(4, **options).fit(BITS), BITS.copy()
    for value, good in ((1e17, True), (-1e20, False), (1e200, False)):
        far[3, 1] = value
        for method in ("transform", "inverse_transform", "score"):
            if good:
                assert np.isfinite(getattr(coder, method)(make(far))).all()
            else:
                message = refusal(lambda name=method: getattr(coder, name)(make(far)))
                assert "X must lie within 1.2e+18 in float32" in message and "row 3, column 1" in message


@pytest.mark.parametrize("dtype, most", [("float32", 1e18), ("float64", 1e150)])
def test_targets_of_mse(dtype, most):
    t = Trainer(network(dtype=dtype), loss="mse", optimizer="adam")
    t.fit(X, np.clip(T * most, -most, most), verbose=0)
    assert math.isfinite(t.history.epochs[-1]["loss"])
    for call in (t.fit, t.evaluate):
        far = T.copy()
        far[5] = -1e200
        assert "y must lie within" in (message := refusal(lambda call=call, far=far: call(X, far)))
        assert "-1e+200 in row 5, column 0" in message


# --- error states -----------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_numpys_error_state_does_not_matter(optimizer):
    found = []
    for state in ("raise", "ignore", "warn"):
        with np.errstate(all=state):
            clf = SparseMLPClassifier(**FAST, optimizer=optimizer).fit(X, Y)
            clf.partial_fit(np.ldexp(X, -500), Y)
            found.append(clf.predict_proba(X))
            reg = SparseMLPRegressor(**FAST, optimizer=optimizer, connectivity="correlated")
            reg.fit(X * 1e-200, T * 1e200)
            reg.partial_fit(X[:3] * 1e100, T[:3] * 1e-100)
            found.append(reg.predict(X[:5]))
            assert math.isfinite(reg.score(X, T))
    assert all(np.array_equal(a, b) for a, b in zip(found, found[2:], strict=False))


def test_callbacks_see_the_callers_error_state():
    seen = []

    class Look(rw.Callback):
        def on_epoch_end(self, state):
            seen.append(np.geterr()["under"])

    with np.errstate(under="raise"):
        Trainer(network(), loss="mse", callbacks=[Look()]).fit(X, T, verbose=0)
    assert seen == ["raise"]


@pytest.mark.parametrize("state", ["ignore", "warn"])
def test_error_states_that_callbacks_set_end_with_them(state):
    seen = []

    class Raise(rw.Callback):
        def on_step_end(self, state):
            seen.append(np.geterr()["under"])
            np.seterr(all="raise")

    with np.errstate(all=state):
        Trainer(network(), loss="mse", callbacks=[Raise()]).fit(X, T, epochs=2, verbose=0)
    assert len(seen) > 1
    assert set(seen) == {state}


@pytest.mark.parametrize("scale", [2.0**-1000, 1.0, 2.0**900])
def test_correlations_do_not_depend_on_units(scale):
    links = [
        SparseMLPClassifier(**FAST | {"max_iter": 1}, epsilon=1.0, connectivity="correlated", rewiring=None)
        .fit(x, Y)
        .network_.layers[0]
        .store.to_arrays()[1]
        for x in (X, X * scale)
    ]
    assert np.array_equal(*links)


# --- columns that hardly vary -----------------------------------------------------------


@pytest.mark.parametrize("level", [1e8, 1e15, 1e20, -1e100, 1e300])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_a_column_that_varies_within_rounding_is_constant_and_does_no_harm(level, kind):
    g = np.random.default_rng(0)
    x = g.normal(size=(300, 6))
    y = (x[:, 0] > x[:, 1]).astype(int)
    x[:, 5] = level * (1 + g.integers(-2, 3, 300) * 2.3e-16)
    made = rw.Standardizer.fit(kind(x))
    assert made.moments.deviation[5] == 0
    assert np.abs(made.apply(x)[:, 5]).max() <= 1
    clf = rw.SparseMLPClassifier((30,), epsilon=3, random_state=0, max_iter=40, learning_rate_init=0.01)
    assert clf.fit(kind(x), y).score(kind(x), y) > 0.9


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("center", [True, False])
def test_a_row_far_away_that_hardly_counts_is_brought_near(kind, center):
    """Its weight is too small to make a deviation, but it is in a batch as well as all others."""
    x, w = np.full((5, 2), 2.0**63), np.array([1e-300, 1.0, 1.0, 2.0, 1.0])
    x[0] = 3.0, -2e18
    made = rw.Standardizer.fit(kind(x), w, center=center)
    assert (made.moments.deviation == 0).all()
    assert 1.0 < np.abs(made.apply(x)).max() <= 5.001


def test_what_varies_more_than_rounding_is_no_constant():
    x = 1e8 + np.arange(50.0)[:, None] * 1e-5
    assert rw.Standardizer.fit(x).scale == pytest.approx(1 / x.std(), rel=1e-3)


# --- counts ---------------------------------------------------------------------------


COUNTED = {
    "epochs": lambda n: Trainer(network(), loss="mse").fit(X, T, epochs=n, verbose=0),
    "batch_size": lambda n: Trainer(network(), loss="mse").fit(X, T, batch_size=n, verbose=0),
    "steps_per_epoch": lambda n: Trainer(network(), loss="mse").fit(X, T, steps_per_epoch=n, verbose=0),
    "horizon": lambda n: Trainer(network(), loss="mse", horizon=n),
    "max_iter": lambda n: SparseMLPRegressor(**FAST | {"max_iter": n}).fit(X, T),
    "n_iter_no_change": lambda n: SparseMLPClassifier(**FAST, n_iter_no_change=n).fit(X, Y),
    "every": lambda n: rw.SET(every=n),
    "patience": lambda n: rw.EarlyStopping(n),
    "length": lambda n: rw.Cosine(n),
}


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("digits", [20, 400, 5000])
def test_counts_beyond_int64_are_refused_by_name(name, digits):
    """They would train for ever, or fail where a file is written; Python prints none of 5,000 digits."""
    with pytest.raises(ValueError, match=rf"^{name} must be an integer in \[1, {2**63 - 1}\], got "):
        COUNTED[name](10**digits)


def test_the_largest_count_means_no_end(tmp_path):
    class Stop:
        def on_epoch_end(self, state):
            state.stop = True

    trainer = Trainer(network(), loss="mse", callbacks=[Stop()])
    for epoch in (1, 2):
        assert len(trainer.fit(X, T, epochs=sys.maxsize, verbose=0).epochs) == epoch
    trainer.save(tmp_path / "endless.safetensors")
    again = Trainer.resume(tmp_path / "endless.safetensors", callbacks=[Stop()])
    assert len(again.fit(X, T, epochs=sys.maxsize, verbose=0).epochs) == 3


def test_integers_that_python_does_not_print_are_described():
    huge = 10**5000
    with pytest.raises(
        TypeError, match="^epochs must be an integer >= 1, got a list that cannot be printed$"
    ):
        Trainer(network(), loss="mse").fit(X, T, epochs=[huge], verbose=0)
    with pytest.raises(ValueError, match=r"^every\['steps'\] must be an integer in \[1, .* of 16610 bits$"):
        rw.rewiring.rewiring({"name": "set", "every": {"steps": huge}})
    with pytest.raises(ValueError, match="^lr must be a number > 0 within the range of float64, got an int"):
        rw.SGD(huge)
