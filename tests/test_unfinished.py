"""A run that is stopped anywhere, and gone on with, is the run that never stopped, to the bit."""

import json
import os
import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rewire as rw
from small import T, X, Y

EPOCHS = 3
STEPS = rw.Steps(2)

RULES = {
    "static": lambda: None,
    "set": lambda: rw.SET(),
    "set, steps": lambda: rw.SET(every=rw.Steps(3)),
    "set, remove": lambda: rw.SET(last_epoch="remove"),
    "magnitude": lambda: rw.Magnitude(every=STEPS, scope="global"),
    "rigl": lambda: rw.RigL(every=2),
    "dsr": lambda: rw.DSR(threshold=0.1, every=2, end=1.0),
    "snfs": lambda: rw.SNFS(every=STEPS),
    "gmp": lambda: rw.GMP(0.2, every=2, end=0.9),
    "granet": lambda: rw.GraNet(0.2, every=3),
    "mest": lambda: rw.MEST("em&s", every=STEPS),
    "deepr": lambda: rw.DeepR(),
    "soft-deepr": lambda: rw.SoftDeepR(every=3),
    "top-kast": lambda: rw.TopKAST(every=2),
    "cht": lambda: rw.CHT(every=STEPS),
    "chts": lambda: rw.CHTs(every=STEPS),
    "chtss": lambda: rw.CHTss(0.2, every=STEPS),
    "gse": lambda: rw.GSE(every=2),
    "itop": lambda: rw.ITOP(every=2),
    "srigl": lambda: rw.SRigL(every=2),
    "snip": lambda: rw.SNIP(0.3, step=1),
    "importance": lambda: rw.ImportancePruning(fraction=0.2, begin=0.4, every=rw.Epochs(1)),
}

OPTIMIZERS = {
    "sgd": lambda: rw.SGD(0.05, momentum=0.9, nesterov=True, schedule=rw.Cosine(length=EPOCHS)),
    "plain": lambda: rw.SGD(0.05, weight_decay=1e-3),
    "adam": lambda: rw.Adam(0.01, clip_norm=1.0),
    "adamw": lambda: rw.AdamW(0.01),
}


def trainer(rule, optimizer, dropout, regression, callbacks=()):
    n_out, final = (2, "linear") if regression else (3, "softmax")
    group = 4 if dropout else 1
    hidden = [rw.Sparse(8, 24, density=0.5, activation="all-relu", group=group), rw.Dropout(dropout)]
    net = rw.Sequential([*hidden, rw.Sparse(24, n_out, density=0.6, activation=final)], seed=5)
    return rw.Trainer(
        net, loss="mse" if regression else "cross_entropy", optimizer=OPTIMIZERS[optimizer](),
        rewiring=RULES[rule](), callbacks=[rw.LinkLog(), rw.EarlyStopping(99, monitor="loss"), *callbacks],
        standardize=True, threads=1, metrics=True,
    )  # fmt: skip


def fit(t, regression, weighted, **options):
    # Whole batches without weight are passed over. A fraction of the run counts them as steps before only.
    middle = 0.0 if t.rewiring.name in ("set", "static", "magnitude") else 0.5
    weight = np.repeat([1.0, middle, 2.5], 30) if weighted else None
    y = T if regression else Y
    options = {"batch_size": 13, "shuffle": not weighted, "validation_data": (X[:40], y[:40]), **options}
    return t.fit(X, y, epochs=EPOCHS - t.epoch, sample_weight=weight, verbose=0, **options)


def bits(t):
    """All that is saved, without times."""
    config = json.loads(json.dumps(t.config()))
    del config["callbacks"][1:]
    for row in [*config["state"]["history"]["epochs"], config["state"]["unfinished"] or {}]:
        for name in [name for name in row if name.startswith("seconds")]:
            del row[name]
    return config, {name: a.tobytes() for name, a in t.arrays().items()}


class SaveAt(rw.Callback):
    """Saves in the middle of an epoch."""

    saves = True

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_step_end(self, state):
        if state.step == self.step:
            state.trainer.save(self.path)


class StopAt(rw.Callback):
    """Ctrl-C, the hard way, after a step, or when an event comes."""

    def __init__(self, step, event="on_step_end"):
        self.step = step
        setattr(self, event, self.told)

    def told(self, state):
        if state.step >= self.step and state.epoch < EPOCHS:
            self.step = 10**9
            raise KeyboardInterrupt


cases = st.fixed_dictionaries(
    {
        "rule": st.sampled_from(sorted(RULES)),
        "optimizer": st.sampled_from(sorted(OPTIMIZERS)),
        "dropout": st.sampled_from([0.0, 0.4]),
        "regression": st.booleans(),
    }
)


@settings(max_examples=max(1, settings.default.max_examples // 4))  # each trains three or four times
@given(
    case=cases,
    weighted=st.booleans(),
    step=st.integers(1, 20),
    event=st.sampled_from(["on_step_end", "on_rewire"]),
)
def test_stopping_leaves_no_trace(tmp_path_factory, case, weighted, step, event):
    path = tmp_path_factory.mktemp("unfinished") / "half.st"
    whole = trainer(**case, callbacks=[SaveAt(step, path)])
    fit(whole, case["regression"], weighted)
    # From a file that was written while training went on.
    if path.exists():
        resumed = rw.Trainer.resume(path)
        assert (resumed.unfinished is None) == (resumed.step == 0)
        again = tmp_path_factory.mktemp("unfinished") / "again.st"
        resumed.save(again)
        assert bits(rw.Trainer.resume(again)) == bits(resumed)
        fit(resumed, case["regression"], weighted)
        assert bits(resumed) == bits(whole)
    # Interrupted, and on with the same object, or with its file.
    halves = trainer(**case, callbacks=[StopAt(step, event)])
    fit(halves, case["regression"], weighted)
    if halves.history.interrupted:
        halves.save(path)
        other = rw.Trainer.resume(path)
        fit(other, case["regression"], weighted)
        assert bits(other) == bits(whole)
        fit(halves, case["regression"], weighted)
    assert bits(halves) == bits(whole)


@pytest.mark.parametrize("event", ["on_fit_begin", "on_epoch_begin", "on_epoch_end", "on_rewire"])
@pytest.mark.parametrize("rule", ["set", "set, remove"])
def test_ctrl_c_in_other_events(rule, event):
    case = dict(rule=rule, optimizer="adam", dropout=0.4, regression=False)
    whole = trainer(**case)
    fit(whole, False, False)
    for step in (0, 7, 14, 20):
        t = trainer(**case, callbacks=[StopAt(step, event)])
        while t.epoch < EPOCHS:
            fit(t, False, False)
        assert bits(t) == bits(whole)


def test_another_kind_of_call_begins_the_epoch_anew():
    for change in ({"batch_size": 30}, {"shuffle": False}, {"X": X[:80], "y": Y[:80]}):
        t = trainer("set", "sgd", 0.0, False, [StopAt(3)])
        fit(t, False, False)
        assert t.unfinished is not None and t.step == 3 and len(t.history) == 0
        options = {"X": X, "y": Y, "batch_size": 13, "verbose": 0, **change}
        t.fit(epochs=1, **options)
        steps = -(-len(options["X"]) // options["batch_size"])
        assert t.unfinished is None and t.step == 3 + steps and t.epoch == 1


def test_other_data_in_an_unfinished_epoch_are_learnt_from():
    """Their features are in other units."""
    t = trainer("set", "sgd", 0.0, False, [StopAt(3)])
    fit(t, False, False)
    again = trainer("set", "sgd", 0.0, False, [StopAt(3)])
    fit(again, False, False)
    again.fit(X * 100 + 5, Y, batch_size=13, verbose=0)
    assert again.step == 7 and again.epoch == 1
    assert (again.network.standardizer.scale < t.network.standardizer.scale / 10).all()


def test_what_is_left_without_weight_begins_the_epoch_anew():
    class Stop(rw.Callback):
        def on_rewire(self, state):
            if state.step == 3:
                raise KeyboardInterrupt

    early, late = np.repeat([1.0, 0.0], [30, 60]), np.repeat([0.0, 1.0], [30, 60])
    t = trainer("set", "sgd", 0.0, False, [Stop()])
    options = {"batch_size": 10, "shuffle": False, "verbose": 0}
    t.fit(X, Y, sample_weight=early, **options)
    t.fit(X, Y, sample_weight=late, **options)
    assert t.history.interrupted and t.unfinished.done == 30
    t.callbacks.pop()
    assert np.isfinite(t.fit(X, Y, sample_weight=early, **options)["loss"]).all()
    assert (t.epoch, t.step) == (2, 6)


def test_a_place_that_could_not_be_read_is_not_saved(tmp_path):
    t = trainer("set", "sgd", 0.0, False, [StopAt(3)])
    fit(t, False, False)
    t.callbacks.pop()
    t.unfinished.done = 91
    with pytest.raises(ValueError, match="unfinished must have done <= n_samples"):
        t.save(tmp_path / "run.st")


def test_the_best_network_is_not_the_unfinished_one():
    t = trainer("set", "sgd", 0.0, False)
    t.callbacks = [rw.EarlyStopping(50, monitor="val_loss", restore_best=True), StopAt(17)]
    fit(t, False, False)
    assert t.history.interrupted and t.unfinished is None
    fit(t, False, False)
    assert t.epoch == EPOCHS


FORGED = {
    "n_samples": 0, "batch": 91, "done": 91, "epoch": 1, "first_step": 4, "total": float("nan"),
    "weights": "1", "shuffle": 1, "removed": [0], "grown": None, "metric": {}, "rewired": None, "new": 1,
}  # fmt: skip


@pytest.mark.parametrize("change", [{"weights": -1.0}, {"weights": 0.0, "done": 90}])
def test_a_forged_place_has_weight(change):
    t = trainer("set", "sgd", 0.0, False, [StopAt(3)])
    fit(t, False, False)
    t.callbacks.pop()
    config = json.loads(json.dumps(t.config()))
    config["state"]["unfinished"].update(change)
    with pytest.raises(ValueError, match="weights must be >= 0, and > 0 when all samples are done"):
        rw.Trainer.from_config(config, t.arrays())


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("regression", [False, True])
def test_a_forged_place_is_refused(name, regression):
    t = trainer("set", "sgd", 0.0, regression, [StopAt(3)])
    fit(t, regression, False)
    t.callbacks.pop()
    config = json.loads(json.dumps(t.config()))
    config["state"]["unfinished"][name] = FORGED[name]
    with pytest.raises((TypeError, ValueError)):
        rw.Trainer.from_config(config, t.arrays())
    del config["state"]["unfinished"][name]
    if name != "new":
        with pytest.raises(ValueError, match="unfinished must hold"):
            rw.Trainer.from_config(config, t.arrays())
    if regression:
        arrays = t.arrays()
        mean = next(name for name in arrays if name.startswith("state.unfinished."))
        config["state"]["unfinished"] = t.config()["state"]["unfinished"]
        for wrong in (arrays[mean][:1], arrays[mean].astype("f4"), arrays[mean] * np.nan):
            with pytest.raises(ValueError):
                rw.Trainer.from_config(config, {**arrays, mean: wrong})
        del arrays[mean]
        with pytest.raises(ValueError):
            rw.Trainer.from_config(config, arrays)


# --- signals ----------------------------------------------------------------------------


class Kill:
    """A real signal, sent from another thread at a random time."""

    def __init__(self, rng):
        self.rng = rng

    def on_epoch_begin(self, state):
        delay = self.rng.uniform(0.0, 0.01)
        self.thread = threading.Thread(
            target=lambda: (time.sleep(delay), os.kill(os.getpid(), signal.SIGINT))
        )
        self.thread.start()

    def on_epoch_end(self, state):
        self.thread.join()  # it comes within its epoch, however busy the machine is


def test_a_signal_waits_for_the_end_of_a_step():
    """Wherever Ctrl-C comes, the run goes on to the same bits."""
    case = dict(rule="set, steps", optimizer="adam", dropout=0.4, regression=False)
    whole = trainer(**case)
    fit(whole, False, False, batch_size=2)
    t = trainer(**case, callbacks=[Kill(np.random.default_rng(0))])
    calls = 0
    try:
        while t.epoch < EPOCHS and calls < 200:
            fit(t, False, False, batch_size=2)
            calls += 1
            if calls == 8:  # enough of them
                t.callbacks.pop()
    except KeyboardInterrupt:
        pytest.fail("it came outside of fit")
    assert bits(t) == bits(whole)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
