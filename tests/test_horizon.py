"""How long a run is: fractions of it mean the same in one call of fit and in many; periods fit or say so."""

import re
import warnings

import numpy as np
import pytest

import rewire as rw
from rewire import SparseMLPClassifier
from rewire.rewiring import DropSmallest, GrowRandom
from rules.trained import X, Y, network

# The epochs of each call; every run has 20, four steps each.
CALLS = [1] * 20, [5] * 4, [1, 12, 7]

SHARES = {
    "rigl": {"every": 2}, "srigl": {"every": 2}, "top-kast": {"every": 2}, "itop": {"every": 2},
    "dsr": {"every": 2}, "gse": {"every": 2}, "gmp": {}, "granet": {}, "snfs": {},
    "mest": {"every": {"epochs": 2}}, "importance": {"every": {"epochs": 3}},
    "cht": {"soft_removal": True}, "chts": {"every": 2}, "chtss": {"every": 2},
    "magnitude": {"decay": "cosine"},
}  # fmt: skip
NONE = {"set": {}, "deepr": {}, "soft-deepr": {}, "snip": {}, "static": {}}
ALL = SHARES | NONE
FIFTY = rw.SET(every=rw.Steps(50))


def trainer(name, horizon=20, **options):
    return rw.Trainer(
        network(*[{"density": 0.6}] * 3), loss="cross_entropy", optimizer=rw.SGD(0.1, momentum=0.9),
        rewiring={"name": name, **ALL[name], **options}, horizon=horizon,
    )  # fmt: skip


def fit(trainer, epochs, batch_size=16):
    trainer.fit(X, Y, epochs=epochs, batch_size=batch_size, verbose=0)
    return trainer


def same(one, other):
    a, b = one.arrays(), other.arrays()
    return (
        a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
        and one.rewirings == other.rewirings
        and one.config()["state"]["memory"] == other.config()["state"]["memory"]
        and one.history["links_grown"] == other.history["links_grown"]
    )  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_a_stated_run_is_the_same_in_any_number_of_calls(name, tmp_path, request):
    whole = fit(trainer(name), 20)
    assert same(fit(trainer(name, None), 20), whole)  # one call is the run, stated or not
    turn = [*ALL].index(name) % len(CALLS)  # one a rule every day, all with `make soak`
    for calls in CALLS if request.config.getoption("--soak") else CALLS[turn:][:1]:
        parts = trainer(name)
        for epochs in calls:
            fit(parts, epochs)
        assert same(parts, whole)
    half = fit(trainer(name), 7)
    half.save(tmp_path / "half.st")
    resumed = rw.Trainer.resume(tmp_path / "half.st")
    assert resumed.horizon == 20 and same(fit(resumed, 13), whole)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("name", ALL)
def test_estimators_keep_a_stated_horizon(name):
    """fit, calls of partial_fit and a warm start: the same links move."""

    def make(**options):
        return SparseMLPClassifier(
            (20,), epsilon=4, rewiring={"name": name, **ALL[name]}, n_iter_no_change=None, batch_size=16,
            random_state=0, n_jobs=1, horizon=20, **options,
        )  # fmt: skip

    whole, partial, warm = make(max_iter=20).fit(X, Y), make(), make(max_iter=5, warm_start=True)
    for _ in range(20):
        partial.partial_fit(X, Y, classes=[0, 1, 2])
    for _ in range(4):
        warm.fit(X, Y)
    for other in (partial, warm):
        assert same(other.trainer_, whole.trainer_)


def test_an_interrupted_run_goes_on_to_where_it_was_to_end(tmp_path):
    """Nothing stated: the call that was cut off says how long the run is, also in the file."""
    whole, cut = fit(trainer("rigl", None), 20), trainer("rigl", None)

    class Stop(rw.Callback):
        def on_epoch_end(self, state):
            state.stop = state.epoch == 7

    cut.callbacks = [Stop()]
    fit(cut, 20)
    cut.callbacks = []
    cut.save(tmp_path / "cut.st")
    assert same(fit(rw.Trainer.resume(tmp_path / "cut.st"), 20 - cut.epoch), whole)
    assert same(fit(cut, 20 - cut.epoch), whole)


@pytest.mark.parametrize("name", SHARES)
def test_a_run_that_grows_says_so_once(name):
    t = fit(trainer(name, None), 12)
    with pytest.warns(UserWarning, match=f"{name}.*was 12 epochs long and now is 18.*horizon=18") as caught:
        fit(t, 6)
    assert len(caught) == 1 and re.search(r"(end|ends|begin|temperature)=", str(caught[0].message))
    fit(t, 6)  # warnings are errors here
    fit(fit(trainer(name, 99), 12), 12)


@pytest.mark.parametrize("name", NONE)
def test_a_rule_without_fractions_says_nothing(name):
    fit(fit(trainer(name, None), 1), 1)


def test_partial_fit_takes_max_iter_for_the_run():
    model = SparseMLPClassifier(
        (20,), epsilon=4, rewiring={"name": "rigl", "every": 2}, max_iter=8, batch_size=16, random_state=0
    )
    for _ in range(8):
        model.partial_fit(X, Y, classes=[0, 1, 2])
    moved = [row["epoch"] for row in model.topology_history_]
    assert max(moved) == 5  # of 8: the last before three quarters
    with pytest.warns(UserWarning, match=r"end=0\.75 .* was 8 epochs long and now is 9"):
        model.partial_fit(X, Y)
    model.partial_fit(X, Y)


@pytest.mark.parametrize("value", [0, -1, 1.5, "20", True])
def test_a_horizon_is_a_number_of_epochs(value):
    for make in (
        lambda: trainer("set", value),
        lambda: setattr(trainer("set"), "horizon", value),
        lambda: SparseMLPClassifier((5,), max_iter=1, horizon=value).fit(X, Y),
    ):
        with pytest.raises((TypeError, ValueError), match="horizon must be an integer"):
            make()


@pytest.mark.parametrize("name", ["gmp", "granet", "top-kast", "mest"])
def test_an_end_that_is_jumped_over_is_made_up_for(name):
    """Longer batches in the second half: three quarters of the run lie behind all at once."""
    t = trainer(name, 20, **({"mode": "em&s"} if name == "mest" else {}))
    t.optimizer = rw.SGD(0.01)
    before = t.network.nnz
    fit(t, 13, batch_size=2)
    fit(t, 7, batch_size=64)
    if name == "mest":
        assert t.network.nnz == before
    elif name == "top-kast":
        assert t.network.nnz == sum(max(1, round(0.5 * n)) for n in t.history["nnz"][0])
    else:
        assert t.network.nnz == round(0.05 * t.network.size)


# --- periods ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gmp", "granet"])
@pytest.mark.parametrize("epochs", [1, 3, 7, 20, 150])
@pytest.mark.parametrize("options", [{}, {"begin": 0.3, "end": 0.9}], ids=["", "begin"])
def test_rules_that_come_down_to_a_density_act_often_enough(name, epochs, options):
    t = trainer(name, None, **options)
    steps, seen = [], 4 * epochs

    class Watch(rw.Callback):
        def on_rewire(self, state):
            steps.append(state.step)

    t.callbacks = [Watch()]
    fit(t, epochs)
    begin, end = (np.ceil(part * seen) for part in (options.get("begin", 0), options.get("end", 0.75)))
    if name == "granet" and not options:
        end = np.ceil(0.69 * seen)
    end = min(end, seen - 1)
    assert len([s for s in steps if s <= end]) >= min(20, end - max(begin, 1) + 1)
    assert t.network.nnz == round(0.05 * t.network.size)


@pytest.mark.parametrize("name", ["rigl", "srigl", "dsr", "gse", "itop", "top-kast", "mest", "importance"])
def test_a_published_period_that_does_not_fit_says_so_once(name):
    t = rw.Trainer(network(), loss="cross_entropy", rewiring=name)
    apart = " apart from steps 0 and 6" if name == "top-kast" else ""  # the first choice, and the end
    expected = f"'{name}' never acts{apart}: its period is .*the run has 8 steps in 2 epochs"
    with pytest.warns(UserWarning, match=expected) as caught:
        fit(t, 2)
    words = str(caught[0].message)
    advice = eval(re.search(r"rewiring=(\{.*?\}\})", words).group(1))
    assert len(caught) == 1 and advice["name"] == name and rw.rewiring.rewiring(advice)
    t = rw.Trainer(network(), loss="cross_entropy", rewiring=name, horizon=99_999)
    fit(t, 2)  # the beginning of a long run


def test_what_is_meant_to_be_never_or_seldom_is_not_spoken_of():
    rules = [
        rw.SET(), rw.SET(every=rw.Steps(9, stop=0)), rw.SNFS(), rw.Magnitude(), rw.CHT(), rw.DeepR(),
        rw.SNIP(), rw.Static(), rw.RigL(every=1),
    ]  # fmt: skip
    for rule in rules:
        fit(rw.Trainer(network(), loss="cross_entropy", rewiring=rule), 1)
    with pytest.warns(UserWarning, match="'snip' never acts: step=50, and the run has 4 steps"):
        fit(rw.Trainer(network(), loss="cross_entropy", rewiring=rw.SNIP(step=50)), 1)


def test_a_rule_that_begins_late_is_not_said_to_act_never():
    rule = rw.GMP(0.5, begin=0.95, end=0.99, every=2)
    t = rw.Trainer(network(), loss="cross_entropy", rewiring=rule, horizon=100_000)
    fit(t, 1)  # of 400,000 steps: the period passes 190,000 times before it begins
    with pytest.warns(UserWarning, match="its period is 2 steps") as caught:
        short = rw.GMP(0.5, begin=0.9, end=0.91, every=2)
        fit(rw.Trainer(network(), loss="cross_entropy", rewiring=short, horizon=25), 1)
    words = str(caught[0].message)
    assert "shorter" not in words and "every" not in words


def test_rules_without_a_name_are_named_by_what_they_do():
    """What the message proposes works."""

    def composed(n):
        rule = rw.Swap(rw.Steps(n), 0.3, DropSmallest(), GrowRandom(rw.Zeros()))
        return rw.Trainer(network(), loss="cross_entropy", rewiring=rule)

    named = r"rewiring Swap\(DropSmallest, GrowRandom\) acts once"
    with pytest.warns(UserWarning, match=named) as caught:
        fit(composed(5), 2)
    words = str(caught[0].message)
    n = re.search(r"such as every=Steps\((\d+)\), or", words)[1]
    assert "{" not in words
    fit(composed(int(n)), 2)


def test_a_run_is_as_long_as_its_calls_have_been():
    """A short call after a long one: the run has the steps of both, and the rule has acted."""

    def run(*calls):
        t = rw.Trainer(network(), loss="cross_entropy", optimizer=rw.SGD(1e-3), rewiring=FIFTY)
        for rows, epochs, horizon in calls:
            t.horizon = horizon
            t.fit(X[:rows], Y[:rows], epochs=epochs, batch_size=1, verbose=0)
        return t.rewirings

    assert run((len(X), 3, 99), (2, 1, None)) > 1
    with pytest.warns(UserWarning, match="'set' acts once: .* the run has 62 steps in 2 epochs"):
        assert run((60, 1, 99), (2, 1, None)) == 1


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("shape", ["one row", "no hidden layer", "full", "tiny", "groups", "long batch"])
def test_every_rule_takes_small_runs(name, shape):
    """One to three epochs of next to nothing: no failure, at most the words above, once a trainer."""
    layers = {
        "no hidden layer": [rw.Sparse(12, 3, density=0.5, activation="softmax")],
        "full": [rw.Sparse(12, 9, density=1.0), rw.Sparse(9, 3, density=1.0, activation="softmax")],
        "tiny": [rw.Sparse(12, 1, links=1), rw.Sparse(1, 3, links=2, activation="softmax")],
        "groups": [
            rw.Sparse(12, 9, density=0.5, group=4),
            rw.Sparse(9, 3, links=9, group=2, activation="softmax"),
        ],
    }.get(shape) or [rw.Sparse(12, 9, density=0.5), rw.Sparse(9, 3, density=0.5, activation="softmax")]
    rows = 1 if shape == "one row" else 30
    t = rw.Trainer(rw.Sequential(layers), loss="cross_entropy", optimizer="adam", rewiring=name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for epochs in (1, 2, 3):
            t.fit(X[:rows], Y[:rows], epochs=epochs, batch_size=64 if shape == "long batch" else 8, verbose=0)
            t.network.validate()
    said = [str(c.message) for c in caught]
    assert len(said) <= 2 and all(f"rewiring '{name}'" in words for words in said)
    assert np.isfinite(t.history["loss"]).all()


# --- how good they are --------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return rw.datasets.load("digits")


@pytest.fixture(scope="module")
def static(digits):
    return accuracy("static", digits)


def accuracy(name, digits):
    """The mean over five seeds, 15 epochs, 200-200, without a decay that prunes as well."""
    return np.mean([
        SparseMLPClassifier(
            (200, 200), rewiring=name, max_iter=15, weight_decay=0.0, random_state=seed, n_jobs=1
        )
        .fit(digits.X, digits.y).score(digits.X_test, digits.y_test)
        for seed in range(5)
    ])  # fmt: skip


@pytest.mark.parametrize("name", ["gmp", "granet", "snip"])
def test_rules_that_prune_by_name_come_within_two_points_of_static(name, digits, static):
    assert accuracy(name, digits) > static - 0.02
