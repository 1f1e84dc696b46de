"""Errors in our own words, for what people bring along from other libraries."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import rewire as rw
from rewire import SparseMLPClassifier, SparseMLPRegressor
from rewire._foreign import ARGUMENTS, ATTRIBUTES, ForeignAttributes, HintedArguments
from rewire.estimators._base import BaseSparseMLP

RNG = np.random.default_rng(1)
X = RNG.normal(size=(60, 6))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
FAST = {"hidden_layer_sizes": (30,), "epsilon": 2, "max_iter": 2, "n_jobs": 1, "random_state": 0}
BOTH = pytest.mark.parametrize("kind", [SparseMLPClassifier, SparseMLPRegressor])


# --- values that are no numbers


@BOTH
@pytest.mark.parametrize("form", [list, np.array, "object", "category"])
def test_words_among_features_are_named_with_their_columns(kind, form):
    """By row and column, and with all columns of words in what makes numbers of them."""
    rows = [[0.5, "m", "S", "7"]] * 30 + [[1.5, "f", "C", "8"]] * 30
    names = [1, 2]
    if isinstance(form, str):
        pandas = pytest.importorskip("pandas")
        rows, names = pandas.DataFrame(rows, columns=["fare", "sex", "port", "deck"]), ["sex", "port"]
        rows = rows.astype({name: form for name in names})
        rows["deck"] = rows["deck"].astype(int)
    else:
        rows = form(rows) if form is list else form(rows, object)
    words = "^X must hold real numbers, got 'm' in row 0"
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        kind(**FAST).fit(rows, Y)
    assert f"column {names[0]!r}: " in str(caught.value) and f"'ignore'), {names!r})" in str(caught.value)
    model = kind(**FAST).fit(X[:, :4], Y)
    if not isinstance(form, str):
        with pytest.raises((TypeError, ValueError), match=words):
            model.predict(rows)


@BOTH
def test_text_behind_the_first_rows_and_numbers_as_text_are_named(kind):
    late = np.zeros((1300, 4)).astype(object)
    late[1200, 2] = "m"
    for rows in (late, late.astype("U8"), late.tolist()):
        with pytest.raises(ValueError, match="^X must hold real numbers, got 'm' in row 1200, column 2: "):
            kind(**FAST).fit(rows, np.arange(1300) % 2)
    with pytest.raises(ValueError, match=r"^X must hold real numbers, got <U5: give X.astype\(float\)$"):
        kind(**FAST).fit(X.astype("U5"), Y)


@pytest.mark.parametrize("form", [list, np.array])
def test_words_as_numbers_to_predict(form):
    with pytest.raises(ValueError, match="^y must hold real numbers, got 'low' in row 0: words are classes"):
        SparseMLPRegressor(**FAST).fit(X, form(["low", "high"] * 30))


@BOTH
@pytest.mark.parametrize("name", ["max_iter", "batch_size", "n_iter_no_change", "learning_rate_init"])
def test_words_in_the_place_of_numbers(kind, name):
    with pytest.raises(ValueError, match=rf"^{name} must be an? (integer|number) >=? .* or 'auto', got '10'"):
        kind(**{**FAST, name: "10"}).fit(X, Y)


# --- arguments that estimators do not take


@BOTH
@pytest.mark.parametrize(
    "name, advice",
    [
        ("alpha", "weight_decay"),
        ("solver", "optimizer"),
        ("callbacks", "Trainer"),
        ("hidden", "hidden_layer_sizes"),
        ("learning_rate", "learning_rate_init"),
        ("beta_1", "Adam"),
        ("hidden_layer_size", "did you mean 'hidden_layer_sizes'"),
        ("max_iters", "did you mean 'max_iter'"),
        ("randomstate", "did you mean 'random_state'"),
        ("xyz", "there are hidden_layer_sizes, activation"),
    ],
)
def test_unknown_arguments(kind, name, advice):
    for make in (kind, lambda **given: kind.from_preset("default", **given)):
        with pytest.raises(TypeError) as caught:
            make(**{name: 1})
        assert f"{kind.__name__} takes no argument {name!r}" in str(caught.value)
        assert advice in str(caught.value) and "Base" not in str(caught.value)


@BOTH
def test_too_many_positions(kind):
    with pytest.raises(TypeError, match=f"^{kind.__name__}: too many positional arguments"):
        kind((10,), "relu", 20)


def test_a_weight_for_classes_where_there_are_none():
    with pytest.raises(TypeError, match="there are no classes here"):
        SparseMLPRegressor(class_weight="balanced")


@BOTH
def test_sizes_that_can_be_walked_through_once_are_refused(kind):
    with pytest.raises(TypeError, match="^hidden_layer_sizes must be .* got <generator"):
        kind((n for n in (5, 4)), epsilon=2, max_iter=1).fit(X, Y)


@pytest.mark.parametrize("of", ["rewiring", "optimizer"])
def test_a_dict_needs_a_name(of):
    network = rw.Sequential([rw.Sparse(6, 2, activation="softmax")])
    with pytest.raises(ValueError, match=f'^{of} must have a "name" .* got {{'):
        rw.Trainer(network, loss="cross_entropy", **{of: {"fraction": 0.3}})


class Wide(SparseMLPClassifier):
    """Somebody's own estimator, with a constructor of its own."""

    def __init__(self, width, epsilon=20.0):
        super().__init__((width,), epsilon=epsilon)
        self.width = width


def test_signatures_and_subclasses_stay():
    assert [*inspect.signature(SparseMLPClassifier).parameters][:2] == ["hidden_layer_sizes", "activation"]
    assert str(inspect.signature(SparseMLPClassifier.fit)).startswith("(self, X: 'Any', y: 'Any'")
    assert pickle.loads(pickle.dumps(Wide(7))).get_params() == {"width": 7, "epsilon": 20.0}
    with pytest.raises(TypeError, match="Wide takes no argument 'widht': did you mean 'width'"):
        Wide(widht=3)


# --- what is no array


class Loader:
    """Like torch's DataLoader: it can be walked through, and has a length."""

    def __iter__(self):
        return iter([(X, Y)])

    def __len__(self):
        return 1


class Dataset:
    """Like torch's: samples by their number."""

    def __getitem__(self, i):
        return X[i], Y[i]

    def __len__(self):
        return len(X)


@pytest.mark.parametrize("pairs", [Dataset(), [(a, b) for a, b in zip(X, Y, strict=True)]])
def test_pairs_are_no_array(pairs):
    trainer = rw.Trainer(rw.Sequential([rw.Sparse(6, 2, activation="softmax")]), loss="cross_entropy")
    for call in (SparseMLPClassifier(**FAST).fit, SparseMLPRegressor(**FAST).fit, trainer.fit):
        with pytest.raises(TypeError, match="^X must be an array .* got pairs"):
            call(pairs, Y)
        with pytest.raises(TypeError, match="^y must be an array .* got an iterable"):
            call(X, (label for label in Y))


BATCHES = {  # each with what is wrong for a Trainer: without targets, without a length, no rows
    "rows": (lambda: (row for row in X), ValueError, "steps_per_epoch must be given"),
    "pairs": (lambda: zip(X, Y, strict=True), ValueError, "steps_per_epoch must be given"),
    "numbers": (lambda: {"a": (1, 2)}.values(), ValueError, r"X of batch 0 must be 2-D .* got shape \(\)"),
    "arrays": (lambda: {"a": X}.values(), TypeError, r"y must be there: X of batch 0 has come without it"),
}


@pytest.mark.parametrize("name", BATCHES)
def test_what_gives_no_batches(name):
    make, kind, words = BATCHES[name]
    trainer = rw.Trainer(rw.Sequential([rw.Sparse(6, 2, activation="softmax")]), loss="cross_entropy")
    with pytest.raises(kind, match=words):
        trainer.fit(make(), verbose=0)
    with pytest.raises(TypeError, match=r"^y must not be given where X gives batches"):
        trainer.fit(make(), Y)
    assert trainer.step == 0


ITERABLES = [lambda: (row for row in X), lambda: zip(X, Y, strict=True), lambda: map(list, X), Loader,
             lambda: {1.0, 2.0}, lambda: {"a": 1}.values(), lambda: {"a": X}, lambda: iter(X)]  # fmt: skip


@pytest.mark.parametrize("make", ITERABLES)
def test_iterables_are_no_arrays(make):
    fitted = SparseMLPClassifier(**FAST).fit(X, Y)
    calls = [
        lambda: SparseMLPClassifier(**FAST).fit(make()),
        lambda: SparseMLPClassifier(**FAST).fit(make(), Y),
        lambda: SparseMLPClassifier(**FAST).partial_fit(make()),
        lambda: SparseMLPRegressor(**FAST).fit(make()),
        lambda: SparseMLPRegressor(**FAST).partial_fit(make(), Y),
        lambda: fitted.predict(make()),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="^X must be an array .* got an iterable") as caught:
            call()
        assert "np.asarray(list(...))" in str(caught.value) and "partial_fit" in str(caught.value)


def test_y_is_missing():
    trainer = rw.Trainer(rw.Sequential([rw.Sparse(6, 2, activation="softmax")]), loss="cross_entropy")
    calls = [SparseMLPClassifier(**FAST).fit, SparseMLPRegressor(**FAST).fit, trainer.fit, trainer.evaluate,
             SparseMLPClassifier(**FAST).partial_fit, SparseMLPRegressor(**FAST).partial_fit]  # fmt: skip
    for call in calls:
        with pytest.raises((TypeError, ValueError), match=r"(^| )y ") as caught:
            call(X)
        assert "None" in str(caught.value) and "positional" not in str(caught.value)


class Tensor:
    """Like a PyTorch tensor that requires a gradient."""

    requires_grad = True

    def __init__(self, values):
        self.values, self.shape = np.asarray(values), np.shape(values)

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def __len__(self):
        return len(self.values)

    def detach(self):
        return self.values


def test_tensors_with_a_gradient():
    def bits(make):
        clf = SparseMLPClassifier(**FAST).fit(make(X), make(Y), make(np.ones(60)))
        reg = SparseMLPRegressor(**FAST).fit(make(X), make(Y))
        layer = rw.Sparse.from_dense(make(np.ones((2, 6))), make(np.ones(2)), activation="softmax")
        trainer = rw.Trainer(rw.Sequential([layer]), loss="cross_entropy")
        trainer.fit(make(X), make(Y), validation_data=(make(X), make(Y)), sample_weight=make(Y), verbose=0)
        found = [clf.predict_proba(make(X)), reg.predict(make(X)), trainer.network.predict(make(X))]
        return [a.tobytes() for a in found]

    assert bits(Tensor) == bits(np.asarray)


# --- words of other libraries


def network():
    return rw.Sequential([rw.Sparse(6, 2, activation="softmax")])


FOREIGN = [
    # what is called, and what the error names: what came, and what to do
    (lambda: rw.SGD(learning_rate=0.1), "SGD takes no argument 'learning_rate'", "called lr"),
    (lambda: rw.AdamW(beta_1=0.9), "AdamW takes no argument 'beta_1'", "betas="),
    (lambda: rw.Adam(lrr=0.1), "Adam takes no argument 'lrr'", "did you mean 'lr'"),
    (lambda: rw.Poisson(delta=1), "Poisson takes no argument 'delta'", "there are none"),
    (lambda: rw.Poisson(1), "Poisson: too many positional arguments", "it is Poisson()"),
    (lambda: rw.SET(zeta=0.3), "SET takes no argument 'zeta'", "called fraction"),
    (lambda: rw.EarlyStopping(restore_best_weights=True), "restore_best_weights", "restore_best here"),
    (lambda: rw.EarlyStopping("val_loss", patience=2), "multiple values for argument 'patience'",
     "EarlyStopping(patience=10, *, monitor='val_loss'"),
    (lambda: rw.Sequential([rw.Sparse(3, 4), rw.ReLU()]), "layers[1] must be", "activation=..."),
    (lambda: SparseMLPClassifier().save("x"), "SparseMLPClassifier has no 'save'", "joblib.dump"),
    (lambda: SparseMLPClassifier().coef_, "SparseMLPClassifier has no 'coef_'", "coefs_"),
    (lambda: network().to("cuda"), "Sequential has no 'to'", "on the CPU"),
    (lambda: network().to_onnx("x"), "Sequential has no 'to_onnx'", "to_csr()"),
    (lambda: rw.Trainer(network(), device="cuda"), "Trainer takes no argument 'device'", "threads"),
    (lambda: rw.datasets.load("digits").X_train, "Dataset has no 'X_train'", "called X here"),
    (lambda: rw.Sparse(6, units=2), "Sparse takes no argument 'units'", "called n_out"),
    (lambda: rw.Sparse(10), "missing a required argument: 'n_out'", "says both of its widths"),
    (lambda: rw.Dense(n_out=10), "missing a required argument: 'n_in'", "says both of its widths"),
    (lambda: rw.Dropout(rate=0.5), "Dropout takes no argument 'rate'", "called p"),
    (lambda: rw.Trainer(network(), loss="cross_entropy", lr=0.1), "no argument 'lr'", "optimizer=rewire.SGD"),
    (lambda: rw.Trainer(network(), loss="cross_entropy", metrics=["accuracy"]), "metrics must be True or "
     "False, got ['accuracy']", "follows from the loss"),
    (lambda: rw.Trainer(network(), loss="cross_entropy").fit(X, Y, validation_split=0.1),
     "Trainer.fit takes no argument 'validation_split'", "validation_data"),
    (lambda: rw.Trainer(network(), loss="cross_entropy").fit(X, Y, callbacks=[]), "'callbacks'",
     "to the Trainer"),
    (lambda: SparseMLPRegressor().fit(X, Y, epochs=3), "SparseMLPRegressor.fit takes no argument 'epochs'",
     "max_iter"),
    (lambda: network().fit, "Sequential has no 'fit'", "rewire.Trainer"),
    (lambda: network().count_params, "Sequential has no 'count_params'", "n_params"),
    (lambda: network().nothing, "'Sequential' object has no attribute 'nothing'", ""),
    (lambda: rw.Trainer(network(), loss="cross_entropy").predict, "Trainer has no 'predict'", "network"),
    (lambda: rw.history.History().history, "History has no 'history'", 'history["loss"]'),
]  # fmt: skip


@pytest.mark.parametrize("call, came, instead", FOREIGN)
def test_words_of_other_libraries(call, came, instead):
    with pytest.raises((TypeError, AttributeError)) as caught:
        call()
    assert came in str(caught.value) and instead in str(caught.value)


def test_what_is_hinted_at_is_there():
    for kinds in (ARGUMENTS, ATTRIBUTES):
        for name, words in kinds.items():
            kind, _, method = name.partition(".")
            thing = next(c for c in _classes() if c.__name__ == kind)
            assert not method or callable(getattr(thing, method))
            if kinds is ATTRIBUTES:
                assert not [word for word in words if hasattr(thing, word)]
                continue
            takers = [getattr(thing, method)] if method else [c for c in _classes() if issubclass(c, thing)]
            for word in words:  # else the table would be about an argument that there is
                assert not any(word in inspect.signature(taker).parameters for taker in takers)


def _classes():
    found, left = set(), [HintedArguments, ForeignAttributes, BaseSparseMLP]
    while left:
        kind = left.pop()
        found.add(kind)
        left += [sub for sub in kind.__subclasses__() if sub.__module__.startswith("rewire")]
    return found


def test_copies_and_pickles_need_no_arguments():
    trainer = rw.Trainer(network(), loss="cross_entropy", optimizer=rw.Adam(0.1), rewiring=rw.SET())
    for again in (copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))):
        assert again.optimizer.config() == trainer.optimizer.config()
    assert pickle.loads(pickle.dumps(rw.EarlyStopping(3))).patience == 3


# --- limits


def test_one_limit_of_widths():
    most = 2**31 - 16
    wide = sp.csr_array((np.ones(2), np.array([1, 2]), np.array([0, 1, 2])), shape=(2, 2**31 + 10))
    for model in (SparseMLPClassifier(**FAST), SparseMLPRegressor(**FAST)):
        with pytest.raises(ValueError, match=rf"X must have at most {most} features, got shape \(2, 21"):
            model.fit(wide, [0, 1])
    assert rw.Sparse(most, 1, links=1).n_in == most and rw.WeightStore(n_out=1, n_in=most).n_in == most
    for make in (lambda: rw.Sparse(most + 1, 1), lambda: rw.Dense(1, most + 1),
                 lambda: rw.WeightStore(n_out=1, n_in=most + 1),
                 lambda: rw.link_counts.erdos_renyi_links(most + 1, 1, 1.0),
                 lambda: SparseMLPClassifier(most + 1).fit(X, Y)):  # fmt: skip
        with pytest.raises(ValueError, match=str(most)):
            make()


@BOTH
def test_a_correlated_connectivity_needs_two_samples(kind):
    with pytest.raises(ValueError) as caught:
        kind(**FAST, connectivity="correlated").fit(X[:1], [1])
    words = str(caught.value)
    assert "at least 2 classes" in words or ("'correlated' needs an X of at least 2 samples" in words)
    assert "n_in" not in words


@BOTH
def test_a_piece_in_which_nothing_counts(kind):
    more = {"classes": [0, 1]} if kind is SparseMLPClassifier else {}
    with pytest.raises(ValueError, match="sample_weight must hold at least one weight > 0"):
        kind(**FAST).fit(X, Y, np.zeros(60))
    model = kind(**FAST)
    with pytest.raises(ValueError, match="sample_weight must hold at least one weight > 0"):
        model.partial_fit(X, Y, np.zeros(60), **more)  # there is nothing to standardise by yet
    twin = kind(**FAST).partial_fit(X, Y, **more).partial_fit(X, Y)
    model.partial_fit(X, Y, **more)
    before = model.predict(X)
    model.partial_fit(X + 100, Y, np.zeros(60))
    assert np.array_equal(model.predict(X), before) and (model.n_iter_, model.t_) == (1, 60)
    assert np.array_equal(model.partial_fit(X, Y).predict(X), twin.predict(X))
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:, :3], Y, np.zeros(60))  # it is looked at all the same


# --- parameters of objects that an estimator has


def test_parameters_of_optimizer_and_rule():
    clf = SparseMLPClassifier(**FAST, optimizer=rw.SGD(), rewiring=rw.SET())
    assert clf.get_params()["optimizer__lr"] == 0.01 and clf.get_params()["rewiring__fraction"] == 0.3
    assert (
        clf.set_params(optimizer__lr=0.5, optimizer__momentum=0.9, rewiring__fraction=0.1).optimizer.lr == 0.5
    )
    clf.fit(X, Y)
    assert clf.trainer_.optimizer.config() == rw.SGD(0.5, momentum=0.9).config()
    assert clf.trainer_.rewiring.config() == rw.SET(0.1).config()
    assert clf.set_params(optimizer=rw.Adam(), optimizer__eps=1e-3).optimizer.eps == 1e-3
    search = GridSearchCV(clf, {"optimizer__lr": [0.01, 0.02], "rewiring__fraction": [0.2, 0.4]}, cv=2,
                          error_score="raise").fit(X, Y)  # fmt: skip
    assert search.best_estimator_.optimizer.lr == search.best_params_["optimizer__lr"]
    assert clf.optimizer.lr == 0.001  # the estimator that was searched with is not touched


@pytest.mark.parametrize(
    "thing, changes",
    [
        (rw.SGD(0.1, momentum=0.9), {"nesterov": True}),
        (rw.Adam(1, betas=[0.5, 0.9], schedule=rw.Cosine(3)), {"lr": 0.5, "clip_norm": 1.0}),
        (rw.AdamW(), {"weight_decay": 0.1}),
        *((rw.rewiring.rewiring(name), {}) for name in rw.rewiring.rewiring_names()),
        (rw.rewiring.rewiring("gmp"), {"density": 0.5}),
        (rw.rewiring.rewiring("rigl"), {"every": 3, "end": 0.5}),
    ],
    ids=lambda value: getattr(value, "name", None) or str(value),
)
def test_parameters_of_any_optimizer_and_rule(thing, changes):
    again = type(thing)(**thing.get_params())
    assert again.config() == thing.config() == clone(thing).config()
    assert clone(thing) is not thing
    changed = clone(thing).set_params(**changes)
    assert changed.config() == type(thing)(**{**thing.get_params(), **changes}).config()
    with pytest.raises(TypeError, match=f"{type(thing).__name__} takes no argument 'zetta'"):
        thing.set_params(zetta=1)
    assert again.config() == thing.config()


def test_wrong_parameters_change_nothing():
    sgd = rw.SGD(0.1, momentum=0.5)
    with pytest.raises(ValueError, match="momentum must be"):
        sgd.set_params(lr=0.2, momentum=2.0)
    assert sgd.config() == rw.SGD(0.1, momentum=0.5).config()
    clf = SparseMLPClassifier()
    with pytest.raises(ValueError, match=r"optimizer__lr needs optimizer to be an object, such as .*Adam"):
        clf.set_params(optimizer__lr=0.5)
    with pytest.raises(ValueError, match=r"rewiring__fraction needs rewiring to be an object, such as .*SET"):
        clf.set_params(rewiring__fraction=0.5)
    with pytest.raises(ValueError, match="epsilon__x needs epsilon to be an object"):
        clf.set_params(epsilon__x=0.5)
    with pytest.raises(ValueError, match="'xyz'"):
        clf.set_params(xyz=1)
    assert clf.get_params() == SparseMLPClassifier().get_params()
