"""The sparse Bernoulli RBM: likelihoods against all states, training, scikit-learn's interface."""

import copy
import itertools
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline

import rewire as rw
from rewire import SparseBernoulliRBM
from rewire.boltzmann import Machine
from rewire.layers import FreeEnergy
from rewire.losses import Contrast
from small import SELDOM

FAST = {"n_components": 40, "epsilon": 5, "n_iter": 2, "random_state": 0, "n_jobs": 1}


@pytest.fixture(scope="module")
def digits():
    return load_digits().data[:200] / 16.0


@pytest.fixture(scope="module")
def fitted(digits):
    return SparseBernoulliRBM(**FAST).fit(digits)


def states(n):
    return np.array(list(itertools.product([0.0, 1.0], repeat=n)))


def small(n_in=7, n_hidden=5, seed=0, size=1.5, **options):
    """A machine with weights and biases far from zero, as an estimator."""
    X = np.random.default_rng(seed).integers(0, 2, (8, n_in)).astype(float)
    found = SparseBernoulliRBM(n_hidden, density=0.5, random_state=seed, dtype="float64", **options)
    found.partial_fit(X)
    rng = np.random.default_rng(seed)
    for parameter in found.network_.parameters().values():
        parameter.write(rng.normal(0, size, parameter.size))
    return found


def energies(rbm, v):
    """Free energies from dense arrays."""
    W, b, c = rbm.components_.toarray(), rbm.intercept_visible_, rbm.intercept_hidden_
    return -(v @ b) - np.logaddexp(0, v @ W.T + c).sum(axis=1)


def bits(rbm):
    return {name: a.tobytes() for name, a in rbm.network_.arrays(None).items()} | {
        "chains": rbm.h_samples_.tobytes()
    }


# --- how likely -----------------------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 4])
def test_likelihoods_by_hand(group):
    rbm = small(group=group)
    v = states(7)
    F = energies(rbm, v)
    assert np.allclose(rbm.free_energy(v), F, rtol=1e-12)
    assert np.allclose(rbm.network_.predict(v)[:, 0], F, rtol=1e-12)
    flipped = [energies(rbm, np.where(np.arange(7) == i, 1 - v, v)) for i in range(7)]
    assert np.allclose(rbm.score_samples(v), -sum(np.logaddexp(0, F - one) for one in flipped), rtol=1e-10)
    assert rbm.score(v) == pytest.approx(rbm.score_samples(v).mean())
    h = 1 / (1 + np.exp(-(v @ rbm.components_.toarray().T + rbm.intercept_hidden_)))
    assert np.allclose(rbm.transform(v), h, rtol=1e-12)


def test_units_without_links_have_their_bias_alone():
    rbm = small()
    store = rbm.network_.layers[0].store
    rows, cols, _ = store.to_arrays()
    store.remove(rows[cols == 2], cols[cols == 2])
    v, b = states(7), rbm.intercept_visible_[2]
    without, F = np.delete(rbm.intercept_visible_, 2), energies(rbm, v)
    assert len(without) == 6
    flipped = [energies(rbm, np.where(np.arange(7) == i, 1 - v, v)) for i in range(7)]
    assert np.allclose(flipped[2] - F, -(1 - 2 * v[:, 2]) * b)
    assert np.allclose(rbm.score_samples(v), -sum(np.logaddexp(0, F - one) for one in flipped), rtol=1e-10)
    empty = Machine(rw.Sequential([FreeEnergy(3, 2, links=0)], seed=0))
    assert np.allclose(empty.pseudo_likelihood(states(3)), 3 * np.log(0.5))


@pytest.mark.parametrize("sizes", [(7, 5), (5, 7), (1, 1), (6, 6)])
def test_the_partition_function_is_the_sum_over_all_states(sizes):
    rbm = small(*sizes)
    v = states(sizes[0])
    whole = np.logaddexp.reduce(-energies(rbm, v))
    W, b, c = rbm.components_.toarray(), rbm.intercept_visible_, rbm.intercept_hidden_
    joint = [v @ b + v @ W.T @ h + c @ h for h in states(sizes[1])]
    assert whole == pytest.approx(np.logaddexp.reduce(np.ravel(joint)), rel=1e-12)
    assert rbm.log_partition("exact") == (pytest.approx(whole, rel=1e-12), 0.0)
    assert rbm.log_partition() == rbm.log_partition("exact")
    p = np.exp(-rbm.free_energy(v) - rbm.log_partition().value)
    assert p.sum() == pytest.approx(1.0, rel=1e-12)


def test_many_states_are_gone_through_in_pieces(monkeypatch):
    rbm = small(9, 11)
    whole = rbm.log_partition("exact").value
    monkeypatch.setattr("rewire.boltzmann.STATES", 100)
    assert rbm.log_partition("exact").value == pytest.approx(whole, rel=1e-13)


@pytest.mark.parametrize("seed", range(2))
def test_annealing_estimates_the_partition_function(seed):
    rbm = small(8, 12, seed=seed)
    exact = rbm.log_partition("exact").value
    found = rbm.log_partition("ais", n_chains=200, n_temperatures=300, random_state=seed)
    assert 0.0 < found.error < 0.15
    assert abs(found.value - exact) < 4 * found.error
    assert found == rbm.log_partition("ais", n_chains=200, n_temperatures=300, random_state=seed)
    # One temperature: the mean over independent units of exp(sums), known exactly in the limit.
    assert rbm.log_partition("ais", n_chains=1, n_temperatures=1).error == np.inf


def test_pseudo_likelihood_is_what_scikit_learn_estimates(fitted, digits):
    theirs = BernoulliRBM(40, random_state=np.random.RandomState(0))
    theirs.partial_fit(digits[:10])
    theirs.components_ = fitted.components_.toarray().astype(np.float64)
    theirs.intercept_hidden_ = fitted.intercept_hidden_.astype(np.float64)
    theirs.intercept_visible_ = fitted.intercept_visible_.astype(np.float64)
    v = (digits[:50] > 0.5).astype(float)
    draws = [theirs.score_samples(v).mean() for _ in range(300)]
    assert abs(np.mean(draws) - fitted.score(v)) < 4 * np.std(draws) / np.sqrt(len(draws))
    assert np.array_equal(fitted.score_samples(v), fitted.score_samples(v))
    assert np.allclose(fitted.transform(digits), theirs.transform(digits), atol=1e-5)


# --- training -------------------------------------------------------------------------------


def test_a_step_is_that_of_contrastive_divergence():
    rng = np.random.default_rng(1)
    net = rw.Sequential([FreeEnergy(6, 4, density=0.6, init=rw.Normal(1.0))], seed=0, dtype="float64")
    trainer = rw.Trainer(net, loss=Contrast(), optimizer=rw.SGD(0.1), threads=1)
    v0, v1 = rng.random((5, 6)), rng.random((3, 6))
    layer = net.layers[0]
    W, b, c = layer.store.to_csr().toarray(), layer.visible.read(), layer.bias.read()
    h0, h1 = (1 / (1 + np.exp(-(v @ W.T + c))) for v in (v0, v1))
    trainer.train_step(np.concatenate([v0, v1]), Contrast.signs(5, 3))
    step = (h0.T @ v0 / 5 - h1.T @ v1 / 3) * (W != 0)
    assert np.allclose(layer.store.to_csr().toarray(), W + 0.1 * step, atol=1e-12)
    assert np.allclose(layer.visible.values, b + 0.1 * (v0.mean(axis=0) - v1.mean(axis=0)), atol=1e-12)
    assert np.allclose(layer.bias.values, c + 0.1 * (h0.mean(axis=0) - h1.mean(axis=0)), atol=1e-12)


@pytest.mark.parametrize(
    "least, options",
    [(-2.2, {}), (-2.2, {"gibbs_steps": 3}), (-3.5, {"persistent": True, "learning_rate": 0.02})],
    ids=str,
)
def test_learns_a_distribution(least, options):
    """Four patterns of eight units; exact log-likelihoods, beside units that are independent."""
    patterns = np.repeat(np.eye(4), 2, axis=1)
    X = np.random.default_rng(0).permutation(np.repeat(patterns, 25, axis=0))
    given = {"density": 0.5, "n_iter": 50, "random_state": 0, "n_jobs": 1, **options}
    rbm = SparseBernoulliRBM(24, **given).fit(X)
    found = (-rbm.free_energy(patterns) - rbm.log_partition("exact").value).mean()
    assert -8 * (0.25 * np.log(4) + 0.75 * np.log(4 / 3)) == pytest.approx(-4.5, abs=0.01)  # independent
    assert np.log(0.25) >= found > least


def test_chains(digits):
    away = SparseBernoulliRBM(**FAST).fit(digits)
    assert away.h_samples_.shape == (10, 40) and not away.h_samples_.any()
    persistent = SparseBernoulliRBM(**FAST, persistent=True, batch_size=16).fit(digits)
    assert persistent.h_samples_.shape == (16, 40)
    assert set(np.unique(persistent.h_samples_)) == {0.0, 1.0}
    before = persistent.h_samples_.copy()
    persistent.partial_fit(digits[:5])
    assert persistent.h_samples_.shape == (16, 40) and not np.array_equal(persistent.h_samples_, before)


def test_gibbs(fitted, digits):
    v = (digits[:30] > 0.5).astype(float)
    twin = copy.deepcopy(fitted)
    first, second = twin.gibbs(v), twin.gibbs(v)
    assert first.dtype == bool and first.shape == v.shape and not np.array_equal(first, second)
    assert np.array_equal(copy.deepcopy(fitted).gibbs(v), first)
    rbm = small(4, 6, size=0.7)
    p = np.exp(-rbm.free_energy(states(4)) - rbm.log_partition().value)
    drawn = rbm.gibbs(np.zeros((20000, 4)), n_steps=30) @ (8, 4, 2, 1)
    counts = np.bincount(drawn, minlength=16) / 20000
    assert np.abs(counts - p).max() < 5 * np.sqrt(p.max() / 20000)


@SELDOM
@pytest.mark.parametrize(
    "rule",
    ["set", "rigl", "magnitude", "snfs", "dsr", "deepr", "soft-deepr", "mest", "gse", "itop", "cht", "srigl",
     "top-kast", None],
)  # fmt: skip
def test_rules(digits, rule):
    kinds = {"every": 4} if rule not in (None, "set", "soft-deepr", "deepr") else {}
    chosen = None if rule is None else {"name": rule, **kinds}
    rbm = SparseBernoulliRBM(**{**FAST, "rewiring": chosen}).fit(digits)
    history = rbm.trainer_.history.epochs
    moved = sum(sum(row["links_grown"]) for row in history)
    assert bool(moved) == (rule not in (None, "soft-deepr", "top-kast", "deepr")) or rule is not None
    if rule in ("set", "rigl", "magnitude", "snfs", "itop", "gse", "cht", "mest"):
        assert rbm.nnz_ == 5 * (64 + 40) and moved
    rbm.network_.validate()


def test_set_moves_links_after_passes_of_enough_steps(digits):
    X = np.tile(digits, (5, 1))
    rows = SparseBernoulliRBM(**FAST).fit(X).trainer_.history.epochs
    assert [bool(row["links_grown"][0]) for row in rows] == [False, True]
    short = SparseBernoulliRBM(**FAST).fit(digits).trainer_.history.epochs
    assert not any(row["links_grown"][0] for row in short)


def test_fractions_of_the_run(digits):
    rule = rw.SET(0.3, end=0.5, every=2, decay="cosine")
    rows = SparseBernoulliRBM(**{**FAST, "n_iter": 4, "rewiring": rule}).fit(digits).trainer_.history.epochs
    assert [bool(row["links_grown"][0]) for row in rows] == [True, True, False, False]


def test_fractions_of_a_stream(digits):
    rule = rw.SET(0.3, end=0.5, every=2)
    moved = {}
    for horizon in (None, 8):
        rbm = SparseBernoulliRBM(**{**FAST, "n_iter": 4, "rewiring": rule, "horizon": horizon})
        for _ in range(6):
            rbm.partial_fit(digits)
        moved[horizon] = [bool(row["links_grown"][0]) for row in rbm.trainer_.history.epochs]
    assert moved == {None: [True, True, False, False, False, False], 8: [True] * 4 + [False] * 2}
    whole = SparseBernoulliRBM(**{**FAST, "n_iter": 4, "rewiring": rule, "horizon": 8}).fit(digits)
    assert all(row["links_grown"][0] for row in whole.trainer_.history.epochs)
    SparseBernoulliRBM(**{**FAST, "rewiring": "rigl"}).partial_fit(digits).partial_fit(digits[:7])
    with pytest.raises(ValueError, match="horizon must be an integer >= 1"):
        SparseBernoulliRBM(**FAST, horizon=0).partial_fit(digits)


def test_visible_biases_start_at_the_log_odds(digits):
    rbm = SparseBernoulliRBM(**{**FAST, "learning_rate": 1e-9}).fit(digits)
    assert np.allclose(1 / (1 + np.exp(-rbm.intercept_visible_)), (digits.sum(axis=0) + 1) / 202, atol=1e-4)


# --- scikit-learn's interface ---------------------------------------------------------------


def test_attributes(fitted, digits):
    assert fitted.nnz_ == 5 * (64 + 40) == fitted.components_.nnz
    assert fitted.components_.shape == (40, 64) and fitted.density_ == fitted.nnz_ / (64 * 40)
    assert fitted.intercept_hidden_.shape == (40,) and fitted.intercept_visible_.shape == (64,)
    assert fitted.transform(digits).dtype == np.float32
    assert fitted.get_feature_names_out()[1] == "sparsebernoullirbm1"
    for name in "components_ nnz_ density_ network_ intercept_hidden_".split():
        assert not hasattr(SparseBernoulliRBM(), name)


@pytest.mark.parametrize(
    "sizes, links", [({"density": 0.1}, 256), ({"links": 99}, 99), ({"epsilon": 2}, 208)], ids=str
)
def test_how_many_links(digits, sizes, links):
    assert SparseBernoulliRBM(**{**FAST, "n_iter": 1, **sizes}).fit(digits).nnz_ == links


@pytest.mark.parametrize("options", [{}, {"persistent": True, "group": 4, "gibbs_steps": 2}], ids=str)
def test_same_seed_same_bits(digits, options):
    first = bits(SparseBernoulliRBM(**{**FAST, **options}).fit(digits))
    assert bits(SparseBernoulliRBM(**{**FAST, **options}).fit(digits)) == first
    assert bits(SparseBernoulliRBM(**{**FAST, **options, "n_jobs": 2}).fit(digits)) == first
    assert bits(SparseBernoulliRBM(**{**FAST, **options}).fit(sp.csr_matrix(digits))) == first
    assert bits(SparseBernoulliRBM(**{**FAST, **options, "random_state": 1}).fit(digits)) != first


def test_threads_do_not_change_bits_where_there_is_work_for_them():
    X = np.random.default_rng(0).random((300, 400))
    options = {**FAST, "n_components": 500, "density": 0.1, "batch_size": 150, "n_iter": 1}
    one, two = (SparseBernoulliRBM(**{**options, "n_jobs": n}).fit(X) for n in (1, 2))
    assert one.network_.threads_for(300, 2) == 2
    assert bits(one) == bits(two)
    assert np.array_equal(one.score_samples(X[:20]), two.score_samples(X[:20]))


def test_copies_go_on_alike(fitted, digits, tmp_path):
    twin = pickle.loads(pickle.dumps(fitted))
    other = copy.deepcopy(fitted)
    assert bits(twin) == bits(fitted)
    assert bits(twin.partial_fit(digits)) == bits(other.partial_fit(digits)) != bits(fitted)
    fitted.network_.save(tmp_path / "rbm.st")
    net = rw.load(tmp_path / "rbm.st")
    assert np.array_equal(net.predict(digits)[:, 0], fitted.network_.predict(digits)[:, 0])
    assert np.array_equal(Machine(net).hidden(digits), fitted.transform(digits))
    fitted.trainer_.save(tmp_path / "trainer.st")
    resumed = rw.Trainer.resume(tmp_path / "trainer.st")
    assert isinstance(resumed.loss, Contrast) and resumed.step == fitted.trainer_.step


def test_a_stream(digits):
    rbm = SparseBernoulliRBM(**FAST)
    for _ in range(3):
        rbm.partial_fit(digits[:95])
    assert rbm.trainer_.step == 30 and rbm.trainer_.epoch == 3
    with pytest.raises(ValueError, match="65 features"):
        rbm.partial_fit(np.zeros((3, 65)))
    assert rbm.trainer_.step == 30
    before = rbm.intercept_hidden_
    rbm.set_params(learning_rate=1e-12, momentum=0.0, batch_size=95).partial_fit(digits[:95])
    assert rbm.trainer_.step == 31 and np.allclose(rbm.intercept_hidden_, before, atol=1e-9)
    with pytest.raises(ValueError, match="gibbs_steps"):
        rbm.set_params(gibbs_steps=0).partial_fit(digits)


def test_a_fit_that_fails_leaves_what_was_there(digits):
    rbm = SparseBernoulliRBM(**FAST).fit(digits)
    before = bits(rbm)
    for change in ({"n_iter": 0}, {"momentum": 2}, {"gibbs_steps": 0}, {"rewiring": "sett"}):
        with pytest.raises(ValueError, match=next(iter(change))):
            clone(rbm).set_params(**change).fit(digits)
        with pytest.raises(ValueError, match=next(iter(change))):
            rbm.set_params(**change).fit(digits[:, :9])
        rbm.set_params(**clone(SparseBernoulliRBM(**FAST)).get_params())
        assert bits(rbm) == before and rbm.n_features_in_ == 64


@pytest.mark.parametrize("persistent", [False, True])
def test_divergence_has_its_name_and_leaves_what_was_there(digits, persistent):
    wild = {**FAST, "learning_rate": 1e6, "n_iter": 30, "persistent": persistent}
    rbm = SparseBernoulliRBM(**wild)
    with pytest.raises(rw.DivergenceError):
        rbm.fit(digits)
    assert not hasattr(rbm, "trainer_")
    with pytest.raises(rw.DivergenceError):
        rbm.partial_fit(np.tile(digits, (9, 1)))
    assert not hasattr(rbm, "trainer_")
    rbm.set_params(learning_rate=0.05).partial_fit(digits)
    before, trainer = bits(rbm), rbm.trainer_
    rate, step = trainer.optimizer.lr, trainer.step
    with pytest.raises(rw.DivergenceError):
        rbm.set_params(learning_rate=1e6).partial_fit(np.tile(digits, (9, 1)))
    assert rbm.trainer_ is trainer and bits(rbm) == before
    assert (trainer.optimizer.lr, trainer.step, trainer.epoch) == (rate, step, 1)
    rbm.set_params(learning_rate=0.05).partial_fit(digits)
    twin = SparseBernoulliRBM(**{**wild, "learning_rate": 0.05}).partial_fit(digits).partial_fit(digits)
    assert bits(rbm) == bits(twin)


def test_interrupted(digits, monkeypatch):
    one_pass, done = SparseBernoulliRBM._one_pass, []

    def stopped(self, X, *, last):
        if len(done) == stop_at:
            raise KeyboardInterrupt
        done.append(one_pass(self, X, last=last))

    monkeypatch.setattr(SparseBernoulliRBM, "_one_pass", stopped)
    rbm, stop_at = SparseBernoulliRBM(**{**FAST, "n_iter": 5}), 0
    with pytest.raises(KeyboardInterrupt):
        rbm.fit(digits)
    assert not hasattr(rbm, "trainer_")
    stop_at = 3
    with pytest.warns(rw.InterruptedWarning, match="after 3 passes"):
        rbm.fit(digits)
    assert rbm.trainer_.epoch == 3


def cut(monkeypatch, at):
    """Ctrl-C in the middle of a pass, before a step."""
    step, calls = rw.Trainer.train_step, []

    def stopped(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(rw.Trainer, "train_step", stopped)


def test_an_epoch_that_is_cut_is_not_joined_by_the_next(digits, monkeypatch):
    cut(monkeypatch, at=31)
    with pytest.warns(rw.InterruptedWarning, match="after 1 passes"):
        rbm = SparseBernoulliRBM(**FAST).fit(digits)
    assert rbm.trainer_.step == 30 and rbm.trainer_.epoch == 1 and rbm.trainer_.unfinished is None
    cut(monkeypatch, at=3)
    before = bits(rbm)
    with pytest.raises(KeyboardInterrupt):
        rbm.partial_fit(digits)
    assert rbm.trainer_.step == 32 and bits(rbm) != before  # what has been learnt stays
    twin = copy.deepcopy(rbm)
    twin.trainer_.state.unfinished = None
    losses = [one.partial_fit(digits[:50]).trainer_.history.epochs[-1]["loss"] for one in (rbm, twin)]
    assert rbm.trainer_.step == 37 and rbm.trainer_.epoch == 2
    assert losses[0] == losses[1] and bits(rbm) == bits(twin)


def test_rates_are_those_of_its_own_optimizer(digits):
    foreign = SparseBernoulliRBM(**FAST, optimizer=rw.SGD(lr=0.003, momentum=0.5)).partial_fit(digits)
    foreign.set_params(optimizer=None, learning_rate=0.1).partial_fit(digits)
    assert (foreign.trainer_.optimizer.lr, foreign.trainer_.optimizer.momentum) == (0.003, 0.5)
    own = pickle.loads(pickle.dumps(SparseBernoulliRBM(**FAST).partial_fit(digits)))
    for model in (own, clone(own).partial_fit(digits), copy.deepcopy(own)):
        model.set_params(learning_rate=0.2).partial_fit(digits)
        assert model.trainer_.optimizer.lr == 0.2


def test_threads_are_checked_and_changed_after_the_first_fit(fitted, digits):
    rbm = copy.deepcopy(fitted).set_params(n_jobs=0)
    for act in (rbm.partial_fit, rbm.transform, rbm.score_samples, rbm.gibbs):
        with pytest.raises(ValueError, match="n_jobs must be >= 1"):
            act(digits)
    assert rbm.set_params(n_jobs=2).partial_fit(digits).trainer_.threads == 2


def test_chains_are_those_of_the_first_batch_size(digits):
    rbm = SparseBernoulliRBM(**FAST, persistent=True, batch_size=8).partial_fit(digits[:40])
    rbm.set_params(batch_size=20).partial_fit(digits)
    assert rbm.h_samples_.shape == (8, 40) and rbm.h_samples_.any() and rbm.trainer_.step == 15


def test_verbose(digits, capsys):
    SparseBernoulliRBM(**{**FAST, "verbose": 1}).fit(digits)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "Iteration 2, pseudo-likelihood = -" in lines[1]


def test_verbose_says_nothing_of_the_names_of_a_frame(digits, capsys):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(digits, columns=[f"pixel {i}" for i in range(64)])
    SparseBernoulliRBM(**{**FAST, "verbose": 1}).fit(frame)  # a warning is an error here
    SparseBernoulliRBM(**{**FAST, "verbose": 1}).fit(digits)
    named, bare = np.array_split(capsys.readouterr().out.splitlines(), 2)
    assert [line.split(", time")[0] for line in named] == [line.split(", time")[0] for line in bare]


def test_in_a_pipeline_and_a_search():
    X, y = load_digits(return_X_y=True)
    steps = make_pipeline(SparseBernoulliRBM(**FAST), LogisticRegression(C=100, max_iter=500))
    search = GridSearchCV(steps, {"sparsebernoullirbm__n_components": [5, 80]}, cv=2, error_score="raise")
    search.fit(X[:400] / 16.0, y[:400])
    assert search.best_params_["sparsebernoullirbm__n_components"] == 80
    assert search.best_score_ > 0.8
    scores = GridSearchCV(SparseBernoulliRBM(**FAST), {"learning_rate": [1e-6, 0.05]}, cv=2)
    scores.fit(X[:200] / 16.0)
    assert scores.best_params_["learning_rate"] == 0.05


def test_nothing_of_the_size_of_all_pairs_is_made():
    """Links are few, and 6,000 x 6,000 weights would take 137 MiB."""
    n = 6000
    X = sp.random(20, n, density=0.01, format="csr", random_state=0, data_rvs=lambda size: np.ones(size))
    rbm = SparseBernoulliRBM(n, links=3 * n, n_iter=1, random_state=0, n_jobs=1)
    tracemalloc.start()
    try:
        rbm.fit(X)
        rbm.transform(X)
        rbm.score_samples(X)
        rbm.gibbs(X)
        rbm.log_partition("ais", n_chains=2, n_temperatures=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rbm.network_.nbytes < 2 << 20
    assert peak < 40 << 20


def test_values_that_are_no_probabilities_are_told_of_once(digits):
    rbm = SparseBernoulliRBM(**FAST)
    with pytest.warns(UserWarning, match=r"X should hold 0 and 1, or probabilities in \[0, 1\], got 16: "):
        rbm.partial_fit(digits * 16)
    rbm.partial_fit(digits * 16)  # told
    with pytest.warns(UserWarning, match="got -1: "):
        rbm.fit(sp.csr_array(-digits))
    SparseBernoulliRBM(**FAST).fit(digits * (1 + 1e-9))  # rounding
    fresh = SparseBernoulliRBM(**FAST)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            fresh.fit(digits * 2)
    assert not hasattr(fresh, "trainer_")
