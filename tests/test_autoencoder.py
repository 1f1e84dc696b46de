"""The sparse denoising autoencoder, and QuickSelection by the strength of its inputs."""

import copy
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

import scipy.sparse
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import rewire as rw
from rewire import QuickSelection, SparseDenoisingAutoencoder

SMALL = {"n_components": 60, "epsilon": 5, "max_iter": 20, "learning_rate_init": 0.03}
SMALL |= {"random_state": 0, "n_jobs": 1}


def related(seed=0, rows=400, features=100, informative=5):
    """Madelon's kind: X, y, and which features are informative, or combinations of such; others are noise."""
    X, y = make_classification(
        rows, features, n_informative=informative, n_redundant=15, n_clusters_per_class=4, shuffle=False,
        random_state=seed,
    )  # fmt: skip
    order = np.random.default_rng(seed).permutation(features)
    return X[:, order], y, np.isin(order, np.arange(informative + 15))


@pytest.fixture(scope="module")
def digits():
    return load_digits().data[:500] * 3.0 + 7.0


@pytest.fixture(scope="module")
def coder(digits):
    return SparseDenoisingAutoencoder(**SMALL).fit(digits)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def bits(coder):
    return {name: a.tobytes() for name, a in coder.network_.arrays(None).items()}


# --- the autoencoder ------------------------------------------------------------------------


def test_there_and_back_by_hand(coder, digits):
    z = (digits - coder.mean_) / coder.scale_
    farthest = np.abs(z).max(axis=0)
    varies = (coder.scale_ != 1) & (farthest < 4.999)
    assert np.allclose(z.mean(axis=0), 0) and np.allclose(z.std(axis=0)[varies], 1)
    assert farthest.max() == pytest.approx(5) and 0 < np.count_nonzero(varies) < 64
    encode, decode = coder.network_.layers
    hidden = sigmoid(z @ coder.components_.toarray().T + encode.bias)
    assert np.allclose(coder.transform(digits), hidden, atol=1e-5)
    back = (hidden @ decode.store.to_csr().toarray().T + decode.bias) * coder.scale_ + coder.mean_
    assert np.allclose(coder.inverse_transform(hidden), back, atol=1e-3)
    assert np.allclose(coder.network_.predict(z), (back - coder.mean_) / coder.scale_, atol=1e-4)
    errors = np.square(digits - back) / np.square(coder.scale_)
    assert coder.score(digits) == pytest.approx(1 - errors.sum() / np.square(z).sum(), abs=1e-5)


def test_it_learns_and_says_so(coder, digits):
    assert len(coder.loss_curve_) == coder.n_iter_ == 20
    assert coder.loss_curve_[-1] < 0.75 * coder.loss_curve_[0]
    assert 0.3 < coder.score(digits) <= 1.0
    assert coder.nnz_ == 2 * 5 * (64 + 60)
    assert coder.density_ == coder.nnz_ / (2 * 64 * 60)
    assert coder.get_feature_names_out()[0] == "sparsedenoisingautoencoder0"
    assert len(coder.get_feature_names_out()) == 60


def test_scores_are_the_same_whatever_transform_gives(coder, digits):
    pytest.importorskip("pandas")
    assert copy.deepcopy(coder).set_output(transform="pandas").score(digits) == coder.score(digits)
    with config_context(transform_output="pandas"):
        assert coder.transform(digits).shape == (len(digits), coder.n_components)
        assert coder.score(digits) == coder.score(digits.astype(np.float64))


def _with_constants(X, *, first):
    constants = np.tile([[1.0, 0.1, -3e5, 0.0, 1e300, 5.0, 2.0, 0.7]], (len(X), 1))
    return np.hstack([constants, X] if first else [X, constants])


@pytest.mark.parametrize(
    "first, sparse, options",
    [
        (False, False, {}),
        (True, False, {}),
        (True, True, {}),
        (True, False, {"rewiring": None}),
        (True, False, {"noise": 0.0}),
        (True, False, {"group": 4, "dtype": "float64"}),
        (True, False, {"standardize": "scale"}),
        (True, False, {"standardize": False, "learning_rate_init": 1e-4}),
    ],
)
def test_constant_features_are_the_last_to_be_selected(first, sparse, options):
    X = load_breast_cancer().data[:200, :8]
    if options.get("standardize") is False:
        X = X / X.std(axis=0)
    X = _with_constants(X, first=first)
    if "standardize" in options:
        X[X == 1e300], X[X == -3e5] = 1.0, -3.0
    coder = SparseDenoisingAutoencoder(60, max_iter=10, n_jobs=1, **options)
    for k in (4, 8):
        found = QuickSelection(k, estimator=coder, n_runs=1, random_state=0).fit(
            scipy.sparse.csr_array(X) if sparse else X
        )
        assert X[:, found.get_support()].std(axis=0).min() > 1e-6
    assert QuickSelection(12, estimator=coder, n_runs=1).fit(X).get_support().sum() == 12


def test_a_feature_without_links_goes_before_constant_ones():
    X = _with_constants(load_breast_cancer().data[:60, :2], first=True)
    coder = SparseDenoisingAutoencoder(5, max_iter=1, density=1e-9, rewiring=None, n_jobs=1)
    with pytest.warns(rw.errors.DensityWarning):
        found = QuickSelection(2, estimator=coder, n_runs=1, random_state=0).fit(X)
    assert not found.strengths_.any() and np.flatnonzero(found.get_support()).tolist() == [8, 9]


def test_features_that_hardly_vary_do_not_win_by_their_first_weights():
    """The edges of digits are 0 but in a few images: nothing trains their weights, and nothing follows."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:600], y[:600]
    coder = SparseDenoisingAutoencoder(300, max_iter=40, n_jobs=1)
    found = QuickSelection(20, estimator=coder, n_runs=1, random_state=0).fit(X)
    assert (X[:, found.get_support()].std(axis=0) > 1.0).all()
    judge = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    assert cross_val_score(judge, found.transform(X), y, cv=2).mean() > 0.6  # 0.3 by the edges


def test_a_stream_may_begin_with_a_feature_that_is_constant(digits):
    X = digits[:, digits.std(axis=0) > 1.0].copy()
    begun = X.copy()
    begun[:, 3] = 5.0
    coder = SparseDenoisingAutoencoder(40, n_jobs=1, random_state=0).partial_fit(begun)
    assert coder.strengths_[3] == 0.0 and np.all(np.delete(coder.strengths_, 3) > 0.0)
    assert np.all(coder.partial_fit(X).strengths_ > 0.0)


def test_strengths_are_sums_over_outgoing_links(coder, digits):
    deviations = ((digits - coder.mean_) / coder.scale_).std(axis=0)
    assert (deviations == 0.0).any() and (np.abs(deviations - 1.0) < 1e-6).any()
    by_hand = np.abs(coder.components_.toarray()).sum(axis=0) * deviations
    assert np.allclose(coder.strengths_, by_hand)
    assert np.allclose(coder.feature_importances_, by_hand / by_hand.sum())
    assert SelectFromModel(coder, prefit=True, max_features=9).transform(np.ones((1, 64))).shape == (1, 9)


def test_a_step_is_one_on_half_the_sum_of_squares():
    """The rate of papers: with a mean over features it would be n_features / 2 times too small."""
    X = np.random.default_rng(0).standard_normal((20, 30))
    options = {"n_components": 10, "epsilon": 4, "noise": 0.0, "random_state": 3, "rewiring": None}
    options |= {"learning_rate_init": 0.01, "momentum": 0.0, "weight_decay": 0.0, "dtype": "float64"}
    one = SparseDenoisingAutoencoder(**options, max_iter=1, batch_size=20).fit(X)
    two = SparseDenoisingAutoencoder(**options, max_iter=2, batch_size=20).fit(X)
    z, (encode, decode) = (X - one.mean_) / one.scale_, one.network_.layers
    h = sigmoid(z @ encode.store.to_csr().toarray().T + encode.bias)
    error = h @ decode.store.to_csr().toarray().T + decode.bias - z
    step = -0.01 * (error.T @ h) / len(X)
    links = decode.store.to_csr().toarray() != 0
    moved = (two.network_.layers[1].store.to_csr() - decode.store.to_csr()).toarray()
    assert np.allclose(moved, step * links, atol=1e-12)
    assert np.allclose(two.network_.layers[1].bias - decode.bias, -0.01 * error.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"group": 4, "density": 0.2},
        {"rewiring": rw.RigL(every=5), "dropout": 0.2},
        {"optimizer": rw.Adam(0.003), "activation": "relu", "init": "he", "rewiring": None},
        {"rewiring": None, "standardize": False, "dtype": "float64", "learning_rate_init": 1e-5},
        {"noise": 0.0, "drop_fraction": 0.5},
        {"dtype": "bfloat16"},
    ],
    ids=str,
)
def test_parameters_do_what_they_say(digits, options):
    found = SparseDenoisingAutoencoder(**{**SMALL, "max_iter": 5, **options}).fit(digits)
    assert found.loss_curve_[-1] < found.loss_curve_[0]
    assert found.network_.dtype == options.get("dtype", "float32")
    assert found.transform(digits).dtype == found.network_.variable_dtype
    assert found.network_.layers[0].group == options.get("group", 1)
    moved = sum(row["links_grown"][0] for row in found.trainer_.history.epochs)
    assert bool(moved) == (options.get("rewiring", 1) is not None)
    if not options.get("standardize", True):
        assert not found.mean_.any() and (found.scale_ == 1).all()


def test_noise_is_of_the_size_asked_for(monkeypatch, digits):
    seen = {}
    fit = rw.Trainer.fit

    def watched(self, X, y, **options):
        seen["noise"] = X - y
        return fit(self, X, y, **options)

    monkeypatch.setattr(rw.Trainer, "fit", watched)
    SparseDenoisingAutoencoder(**{**SMALL, "max_iter": 1, "noise": 0.5}).fit(digits)
    assert seen["noise"].std() == pytest.approx(0.5, rel=0.02)


def test_same_seed_same_bits_for_any_threads(coder, digits):
    for n_jobs in (1, 2):
        assert bits(SparseDenoisingAutoencoder(**{**SMALL, "n_jobs": n_jobs}).fit(digits)) == bits(coder)
    other = SparseDenoisingAutoencoder(**{**SMALL, "random_state": 1}).fit(digits)
    assert bits(other) != bits(coder)
    rng = np.random.default_rng(0)
    model = SparseDenoisingAutoencoder(**{**SMALL, "max_iter": 1, "random_state": rng})
    assert bits(clone(model).fit(digits)) == bits(clone(model).fit(digits))


def test_pickle(coder, digits):
    twin = pickle.loads(pickle.dumps(coder))
    assert bits(twin) == bits(coder)
    assert np.array_equal(twin.transform(digits), coder.transform(digits))


def test_a_fit_that_fails_leaves_what_was_there(digits):
    model = SparseDenoisingAutoencoder(**{**SMALL, "max_iter": 1}).fit(digits)
    before, network = bits(model), model.network_
    model.set_params(learning_rate_init=1e9, max_iter=9)
    with pytest.raises(rw.DivergenceError) as caught:
        model.fit(digits[:, :30])
    assert "learning_rate_init=1000000000.0" in "".join(caught.value.__notes__)
    assert model.network_ is network and bits(model) == before and model.n_features_in_ == 64


def test_features_out_of_range_are_those_of_x(digits):
    model = SparseDenoisingAutoencoder(**{**SMALL, "max_iter": 1, "standardize": False})
    with pytest.raises(ValueError, match=r"^X must lie within 1.2e\+18 .*standardize=True.*, got "):
        model.fit(digits * 1e30)
    assert not hasattr(model, "trainer_") and not hasattr(model, "n_features_in_")
    model.set_params(standardize=True).fit(digits * 1e30)


def test_threads_are_checked_after_fit(coder, digits):
    model = copy.deepcopy(coder).set_params(n_jobs=0)
    for act in (model.transform, model.score, lambda X: model.inverse_transform(X[:, :60])):
        with pytest.raises(ValueError, match="n_jobs must be >= 1"):
            act(digits)


def test_what_is_interrupted(digits, monkeypatch):
    """Ctrl-C leaves a shorter training; a selection by fewer or shorter runs would be another one."""
    model = SparseDenoisingAutoencoder(**{**SMALL, "max_iter": 1})
    selector = QuickSelection(estimator=model, n_runs=1, random_state=0).fit(digits)
    before, fit = selector.strengths_, rw.Trainer.fit

    def stopped(self, X, y, **options):
        history = fit(self, X, y, **options)
        history.interrupted = True
        return history

    monkeypatch.setattr(rw.Trainer, "fit", stopped)
    with pytest.warns(rw.InterruptedWarning, match="after 1 epochs"):
        assert model.fit(digits).n_iter_ == 1
    with pytest.warns(rw.InterruptedWarning), pytest.raises(KeyboardInterrupt):
        selector.fit(digits * 2)
    assert selector.strengths_ is before


def test_constant_features_and_one_row(digits):
    X = np.column_stack([digits[:, 20:24], np.full(len(digits), 5.0)])
    model = SparseDenoisingAutoencoder(**{**SMALL, "epsilon": 2, "max_iter": 2}).fit(X)
    assert np.isfinite(model.transform(X)).all() and model.scale_[-1] == 1.0
    with np.errstate(all="raise"):
        assert model.score(X[:1]) <= 1.0
    one = r"1 sample\(s\).*minimum of 2 is required by SparseDenoisingAutoencoder"
    for learn in (clone(model).fit, clone(model).partial_fit):
        with pytest.raises(ValueError, match=one):
            learn(X[:1])


@pytest.mark.parametrize("unit", ["srelu", "two-sided", rw.units.KWinnersUnit(k=12)], ids=str)
def test_hidden_units_that_are_layers(digits, unit):
    model = SparseDenoisingAutoencoder(**{**SMALL, "activation": unit, "dropout": 0.1}).fit(digits)
    hidden = model.transform(digits)
    assert hidden.shape == (500, 120 if unit == "two-sided" else 60)
    assert len(model.get_feature_names_out()) == hidden.shape[1] and model.score(digits) > 0.2
    z = (digits - model.mean_) / model.scale_
    back = model.network_.predict(z) * model.scale_ + model.mean_
    np.testing.assert_allclose(model.inverse_transform(hidden), back, atol=1e-3)


def test_activations_that_are_no_hidden_units_are_refused_by_name(digits):
    with pytest.raises(ValueError, match="activation must be one of hidden neurons that have links, got 'sw"):
        SparseDenoisingAutoencoder(activation="switchnet4").fit(digits)


def test_sparse_samples_are_those_of_the_array(coder, digits):
    X = csr_array(digits)
    assert bits(SparseDenoisingAutoencoder(**SMALL).fit(X)) == bits(coder)
    assert np.array_equal(coder.transform(X), coder.transform(digits))
    assert coder.score(X) == coder.score(digits)


def test_a_stream(digits):
    model = SparseDenoisingAutoencoder(**SMALL, batch_size=50)
    for _ in range(25):
        model.partial_fit(digits)
    assert model.n_iter_ == 25 and model.trainer_.step == 250
    assert [sum(row["links_grown"]) > 0 for row in model.trainer_.history.epochs] == [
        i in (10, 20) for i in range(25)
    ]
    assert model.score(digits) > 0.25 and model.loss_curve_[-1] < model.loss_curve_[0]
    twin = pickle.loads(pickle.dumps(model))
    for one in (model, twin):
        one.partial_fit(digits[:1])  # of any size, in the units of the first call
    assert bits(twin) == bits(model) and np.array_equal(model.mean_, digits.mean(axis=0))


def test_noise_is_new_in_every_call(digits, monkeypatch):
    seen, fit = [], rw.Trainer.fit

    def watched(self, X, y, **options):
        seen.append(X - y)
        return fit(self, X, y, **options)

    monkeypatch.setattr(rw.Trainer, "fit", watched)
    model = SparseDenoisingAutoencoder(**SMALL).partial_fit(digits).partial_fit(digits)
    model.set_params(noise=0.0).partial_fit(digits)
    assert not np.array_equal(seen[0], seen[1]) and not seen[2].any()


def test_a_stream_goes_on_where_a_fit_ended_and_a_call_that_fails_changes_nothing(coder, digits):
    model = copy.deepcopy(coder).partial_fit(digits[:100])  # its step is the 101st
    assert any(model.trainer_.history.epochs[-1]["links_grown"])
    assert not any(model.partial_fit(digits[:100]).trainer_.history.epochs[-1]["links_grown"])
    before, rate = bits(model), model.trainer_.optimizer.lr
    for change, words in (
        ({"learning_rate_init": 1e9}, "diverged"), ({"momentum": 2}, "momentum"), ({"n_jobs": 0}, "n_jobs"),
        ({"batch_size": 0}, "batch_size"), ({"noise": -1}, "noise"), ({"horizon": 0}, "horizon"),
    ):  # fmt: skip
        with pytest.raises((ValueError, ArithmeticError), match=words):
            model.set_params(**change).partial_fit(digits)
        model.set_params(**clone(coder).get_params())
        assert bits(model) == before and model.trainer_.optimizer.lr == rate and model.n_iter_ == 22
    with pytest.raises(ValueError, match="63 features"):
        model.partial_fit(digits[:, :63])


def test_fractions_of_a_stream(digits):
    rule = {"name": "rigl", "every": {"steps": 5}, "end": 0.5}
    model = SparseDenoisingAutoencoder(**{**SMALL, "rewiring": rule, "horizon": 8})
    for _ in range(10):
        model.partial_fit(digits)
    moved = [sum(row["links_grown"]) > 0 for row in model.trainer_.history.epochs]
    assert any(moved[:4]) and not any(moved[5:])


# --- QuickSelection -------------------------------------------------------------------------

CODER = SparseDenoisingAutoencoder(100, max_iter=40, n_jobs=1, learning_rate_init=0.02)


def hits(selector, truth):
    return int(truth[selector.get_support()].sum())


def test_finds_what_is_related_without_targets():
    found, runs = [], []
    for seed in range(2):
        X, _, truth = related(seed)
        selector = QuickSelection(20, estimator=CODER, random_state=seed).fit(X)
        found.append(hits(selector, truth))
        runs += [int(truth[np.argsort(-one.strengths_)[:20]].sum()) for one in selector.estimators_]
    assert np.mean(found) >= 16, found  # by chance it is 4
    assert np.mean(found) >= np.mean(runs)


def test_a_rate_that_is_meant_for_a_mean_selects_by_chance():
    X, _, truth = related()
    slow = clone(CODER).set_params(learning_rate_init=0.02 * 2 / X.shape[1])
    assert hits(QuickSelection(20, estimator=slow, n_runs=1, random_state=0).fit(X), truth) <= 12


@pytest.fixture(scope="module")
def fitted():
    X, y, _ = related()
    coder = clone(CODER).set_params(max_iter=3)
    return QuickSelection(7, estimator=coder, n_runs=2, random_state=0).fit(X), X, y


def test_selector(fitted):
    selector, X, _ = fitted
    mean = np.mean([one.strengths_ for one in selector.estimators_], axis=0)
    assert len(selector.estimators_) == 2 and np.array_equal(selector.strengths_, mean)
    best = np.sort(np.argsort(-mean)[:7])
    assert np.array_equal(selector.get_support(indices=True), best) and selector.n_features_ == 7
    assert np.array_equal(selector.transform(X), X[:, best])
    assert np.array_equal(selector.inverse_transform(X[:, best])[:, best], X[:, best])
    assert selector.get_feature_names_out().tolist() == [f"x{i}" for i in best]
    assert sorted(selector.ranking_.tolist()) == [1] * 7 + list(range(2, 95))
    assert selector.ranking_[np.argsort(-mean)[7]] == 2
    assert selector.estimator.random_state is None and not hasattr(selector.estimator, "trainer_")


def test_frames_keep_their_names(fitted):
    pd = pytest.importorskip("pandas")
    selector, X, _ = fitted
    frame = pd.DataFrame(X, columns=[f"gene {i}" for i in range(X.shape[1])])
    twin = clone(selector).set_output(transform="pandas").fit(frame)
    out = twin.transform(frame)
    assert list(out.columns) == [f"gene {i}" for i in selector.get_support(indices=True)]


@pytest.mark.parametrize(
    "asked, count",
    [(None, 50), (0.2, 20), (1e-9, 1), (0.29, 29), (np.float32(0.57), 57), (0.299, 29), (100, 100),
     (np.int64(3), 3)],
)  # fmt: skip
def test_how_many(fitted, asked, count):
    selector, X, _ = fitted
    model = clone(selector).set_params(n_features_to_select=asked, n_runs=1, estimator__max_iter=1).fit(X)
    assert model.n_features_ == count == model.get_support().sum()


def test_in_a_search(fitted):
    selector, X, y = fitted
    steps = make_pipeline(clone(selector).set_params(n_runs=1), LogisticRegression())
    grid = {"quickselection__n_features_to_select": [5, 60], "quickselection__estimator__max_iter": [1, 2]}
    search = GridSearchCV(steps, grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["quickselection__n_features_to_select"] in (5, 60)


def test_same_state_same_selection(fitted):
    selector, X, _ = fitted
    twin = clone(selector).fit(X)
    assert np.array_equal(twin.strengths_, selector.strengths_)
    assert np.array_equal(pickle.loads(pickle.dumps(twin)).get_support(), selector.get_support())
    other = clone(selector).set_params(random_state=1).fit(X)
    assert not np.array_equal(other.strengths_, selector.strengths_)


@pytest.mark.soak
def test_published_protocol_on_madelon():
    folder = Path(os.environ.get("REWIRE_DATA", ""))
    if not any((folder / part / "madelon_train.data").is_file() for part in ("madelon", "")):
        pytest.skip("needs Madelon in $REWIRE_DATA")
    data = rw.datasets.load("madelon")
    X = data.X.astype(np.float64)
    related = np.abs(np.corrcoef(X.T) - np.eye(500)).max(axis=0) > 0.25
    assert related.sum() == 20
    assert hits(QuickSelection(20, random_state=0).fit(X), related) >= 10


def test_samples_that_say_nothing_are_refused_and_sparse_ones_taken(digits):
    model = QuickSelection(5, estimator=SparseDenoisingAutoencoder(**SMALL), n_runs=1, random_state=0)
    with pytest.raises(ValueError, match=r"1 sample\(s\).*minimum of 2 is required by QuickSelection"):
        model.fit(digits[:1])
    for alike in (np.tile(digits[:1], (9, 1)), csr_array(np.tile(digits[:1], (9, 1)))):
        with pytest.raises(
            ValueError, match="X must hold features that vary, got samples that are all alike"
        ):
            model.fit(alike)
    dense = clone(model).fit(digits)
    sparse = model.fit(csr_array(digits))
    assert np.array_equal(sparse.strengths_, dense.strengths_)
    assert np.array_equal(sparse.transform(csr_array(digits)).toarray(), dense.transform(digits))
