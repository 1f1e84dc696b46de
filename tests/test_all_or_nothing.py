"""Whatever raises in a fit: trainer, network, callbacks, estimator answer as before, to the bit."""

import json
import signal
import time

import numpy as np
import pytest

import rewire as rw
from rewire.callbacks import EVENTS
from small import GROWN, NOISE, SELDOM, X, Y

K = {"hidden_layer_sizes": (20,), "n_jobs": 1, "random_state": 0, "max_iter": 4, "batch_size": 16}


class Mishap(Exception):
    pass


# --- what raises ------------------------------------------------------------------------


class Raises(rw.Callback):
    """Spoils what a callback can reach, then raises when an event comes the second time (if it can)."""

    def __init__(self, event, error=Mishap, spoil=None):
        self.error, self.spoil, self.count = error, spoil, {}
        self.times = 1 if event in ("on_fit_begin", "on_fit_end") else 2
        setattr(self, event, self.told)

    def told(self, state):
        state.trainer.optimizer.lr *= 2.0
        state.trainer.callbacks.append(rw.Callback())
        if self.spoil is not None:
            self.spoil(self, state)
        self.count["told"] = self.count.get("told", 0) + 1
        if self.count["told"] == self.times:
            raise self.error

    def config(self):
        return {"name": "Raises", "count": dict(self.count)}

    def restore(self, config, arrays):
        self.count = dict(config["count"])


def view(callback, state):
    """Somebody still holds a view when the next step begins."""
    with state.network.layers[0].store.view() as v:
        callback.held = v.weight


def cut(callback, state):
    """Links that no rule knows of, and a field."""
    store = state.network.layers[0].store
    rows, cols, _ = store.to_arrays()
    store.remove(rows[:3], cols[:3])
    state.network.layers[0].bias[...] = 7.0


class Rule(rw.SET):
    """A rule of the user's that raises in one of its methods, the second time."""

    def __init__(self, method):
        super().__init__(0.3, every=rw.Steps(2))
        self.method, self.calls, self.seen = method, 0, []

    def _perhaps(self, method):
        if method == self.method:
            self.calls += 1
            self.seen.append(self.calls)
            if self.calls == 2:
                raise Mishap(method)


def _overridden(name):
    def method(self, *args, **options):
        self._perhaps(name)
        return getattr(rw.SET, name)(self, *args, **options)

    return method


METHODS = ("due", "plans", "committed", "stepped")
for _name in METHODS:
    setattr(Rule, _name, _overridden(_name))


CAUSES = {
    **{f"callback, {event}": dict(callbacks=lambda e=event: [Raises(e)]) for event in EVENTS},
    "callback, MemoryError": dict(callbacks=lambda: [Raises("on_step_end", MemoryError)]),
    "callback, SystemExit": dict(callbacks=lambda: [Raises("on_step_end", SystemExit)]),
    "callback, links edited": dict(callbacks=lambda: [Raises("on_step_end", spoil=cut)]),
    "view held": dict(callbacks=lambda: [Raises("on_step_end", spoil=view)]),
    "view held after rewiring": dict(callbacks=lambda: [Raises("on_rewire", spoil=view)]),
    **{f"rule, {m}": dict(rewiring=lambda m=m: Rule(m)) for m in METHODS},
    "neurons gone": dict(
        rewiring=lambda: rw.ImportancePruning(fraction=0.3, begin=0, every=rw.Epochs(1)),
        callbacks=lambda: [Raises("on_rewire")],
    ),
    "top-kast": dict(rewiring=lambda: rw.TopKAST(every=2), callbacks=lambda: [Raises("on_epoch_end")]),
    "gmp": dict(rewiring=lambda: rw.GMP(0.1, every=2), callbacks=lambda: [Raises("on_epoch_end")]),
    "divergence": dict(optimizer=lambda: rw.SGD(1e25, momentum=0.5)),
    "another optimizer, clipped": dict(
        optimizer=lambda: rw.Adam(0.01, clip_norm=1.0), callbacks=lambda: [Raises("on_epoch_end")]
    ),
    "monitor": dict(callbacks=lambda: [rw.EarlyStopping(monitor="f1")]),
    "epochs": dict(fit=dict(epochs=0)),
    "validation": dict(fit=dict(validation_data=(X[:, 1:], Y))),
    "sample_weight": dict(fit=dict(sample_weight=-np.ones(len(X)))),
}  # fmt: skip


def layers():
    return [
        rw.Sparse(8, 24, density=0.5, activation="all-relu", group=4),
        rw.Dropout(0.3),
        rw.Dense(24, 12, activation="relu"),
        rw.Sparse(12, 3, density=0.7, activation="softmax"),
    ]


def everything(trainer):
    """All that can be asked of a trainer, comparable."""
    net = trainer.network
    arrays = {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in trainer.arrays().items()}
    answers = net.predict(X).tobytes(), json.dumps(trainer.evaluate(X, Y)), net.nnz
    stores = [(id(q.store), list(q.store.fields)) for q in net.sparse_parameters]
    callbacks = [id(callback) for callback in trainer.callbacks]
    counts = trainer.epoch, trainer.step, trainer.rewirings, trainer.state.optimizer_step
    rule = dict(vars(trainer.rewiring))
    return json.dumps(trainer.config()), arrays, answers, stores, callbacks, counts, rule


@GROWN
@pytest.mark.parametrize("before", ["new", "unfinished"])
@pytest.mark.parametrize("cause", CAUSES)
def test_trainer(cause, before):
    changes = dict(CAUSES[cause])
    options = changes.pop("fit", {})
    net = rw.Sequential(layers(), seed=1)
    log = rw.LinkLog()
    t = rw.Trainer(
        net, loss="cross_entropy", optimizer=rw.SGD(0.1, momentum=0.9), rewiring="set", callbacks=[log],
        standardize=True,
    )  # fmt: skip
    if before == "unfinished":
        t.callbacks = [log, Stop(9)]
        t.fit(X, Y, epochs=2, batch_size=16, verbose=0)
        assert t.history.interrupted and t.unfinished is not None
    if "rewiring" in changes:
        t.callbacks = []  # what it would have missed
    for name, make in changes.items():
        if name == "callbacks":
            t.callbacks = [*t.callbacks, *make()]
        else:
            setattr(t, name, make())
    was, callbacks = everything_that_can_be(t), t.callbacks
    with np.errstate(all="ignore"), pytest.raises((Exception, SystemExit)):
        t.fit(X, Y, **{"epochs": 4, "batch_size": 16, "verbose": 0, **options})
    assert everything_that_can_be(t) == was and t.callbacks is callbacks
    net.validate()
    t.callbacks = [c for c in t.callbacks if c is log]
    t.rewiring, t.optimizer = rw.SET(), rw.SGD(0.1, momentum=0.9)
    if "rewiring" in changes:
        t.callbacks = []
    t.fit(X, Y, epochs=2, batch_size=16, verbose=0)  # and it goes on


def everything_that_can_be(trainer):
    """The same where a rule of the user's cannot be saved."""
    rule = trainer.rewiring
    if not isinstance(rule, Rule):
        return everything(trainer)
    trainer.rewiring = rw.SET()
    try:
        return [*everything(trainer)[:-1], {**vars(rule), "seen": list(rule.seen)}]
    finally:
        trainer.rewiring = rule


class Stop:
    """Ctrl-C after a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, state):
        if state.step == self.step:
            raise KeyboardInterrupt


@SELDOM
@GROWN
def test_a_refused_call_is_as_if_it_had_never_been():
    """The same run with and without a call that raises ends in the same bits."""
    ends = []
    for mishap in (False, True):
        t = rw.Trainer(
            rw.Sequential(layers()), loss="cross_entropy", optimizer="adam", rewiring="rigl",
            callbacks=[rw.LinkLog(), rw.EarlyStopping(50, monitor="loss")],
        )  # fmt: skip
        t.fit(X, Y, epochs=2, batch_size=8, verbose=0)
        if mishap:
            t.callbacks.append(Raises("on_epoch_end"))
            with pytest.raises(Mishap):
                t.fit(X, Y, epochs=5, batch_size=8, verbose=0)
            t.callbacks.pop()
        t.fit(X, Y, epochs=2, batch_size=8, verbose=0)
        ends.append(without_times(t))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("kept", [True, False])
def test_an_error_is_not_hidden_by_ctrl_c(monkeypatch, kept):
    """A signal that waits for the end of what raises: nothing is kept, so the error must be seen."""
    if not kept:
        monkeypatch.setattr("rewire._snapshot.KEPT_BYTES", 0)

    class Both(rw.Callback):
        def on_step_end(self, state):
            signal.raise_signal(signal.SIGINT)
            raise Mishap

    t = rw.Trainer(rw.Sequential(layers()), loss="cross_entropy", callbacks=[Both()])
    with pytest.raises(Mishap):
        t.fit(X, Y, verbose=0)
    time.sleep(0.15)  # nor does it come later
    assert t.step == (0 if kept else 1)


@SELDOM
def test_a_rule_inside_another_goes_back_too():
    class Counts(rw.SET):
        count = 0

        def rewire(self, *arguments, **options):
            self.count += 1
            return super().rewire(*arguments, **options)

    inner = Counts()
    rule = rw.ImportancePruning(rule=inner)
    raises = Raises("on_rewire")
    t = rw.Trainer(rw.Sequential(layers()), loss="cross_entropy", rewiring=rule, callbacks=[raises])
    with pytest.raises(Mishap):
        t.fit(X, Y, epochs=5, verbose=0)
    assert inner.count == 0


def without_times(trainer):
    config = trainer.config()
    for row in config["state"]["history"]["epochs"]:
        for name in [name for name in row if name.startswith("seconds")]:
            del row[name]
    if config["state"]["unfinished"]:
        for name in [name for name in config["state"]["unfinished"] if name.startswith("seconds")]:
            del config["state"]["unfinished"][name]
    return json.dumps(config), {name: a.tobytes() for name, a in trainer.arrays().items()}


# --- estimators -------------------------------------------------------------------------


def of_estimator(m):
    """Everything public of an estimator."""
    found = {n: v for n, v in vars(m).items() if n.endswith("_") and n != "trainer_"}
    found = {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in found.items()}
    if hasattr(m, "trainer_"):
        found["trainer"] = id(m.trainer_), everything(m.trainer_)
        found["predicted"] = m.predict(X.astype(float)).tobytes()
    return repr(found), {n: repr(v) for n, v in m.get_params().items()}


def huge(a):
    return np.where(np.arange(a.shape[1]) == 2, np.nan, a)


def _rule_that_raises(links):
    raise Mishap


BAD_RULE = rw.rewiring.Custom(_rule_that_raises, every=rw.Steps(2))

# Data, and parameters that go with them.
ESTIMATOR_CAUSES = {
    "nan": (huge(X), Y, {}),
    "other features": (np.c_[huge(X), X], Y, {}),
    "lengths": (X, Y[1:], {}),
    "no number": (X, np.array(["a", None] * 45, dtype=object), {}),
    "weights": (X, Y, {"sample_weight": -np.ones(len(X))}),
    "diverges": (X, Y, {"optimizer": rw.SGD(1e30, momentum=0.9), "standardize": False}),
    "max_iter": (X, Y, {"max_iter": 0}),
    "sizes": (X, Y, {"epsilon": "many", "hidden_layer_sizes": (20, -1)}),
    "rule": (X, Y, {"rewiring": BAD_RULE}),
    "early stopping": (X, Y, {"early_stopping": True, "validation_fraction": 2.0}),
}


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("fitted", [False, True], ids=["new", "fitted"])
@pytest.mark.parametrize("how", ["fit", "warm fit", "partial_fit"])
@pytest.mark.parametrize("kind", ["SparseMLPClassifier", "SparseMLPRegressor"])
def test_estimator(kind, how, fitted):
    pytest.importorskip("sklearn")
    first = {"classes": [0, 1, 2]} if how == "partial_fit" and kind == "SparseMLPClassifier" else {}
    for cause, (bad_X, bad_y, changes) in ESTIMATOR_CAUSES.items():
        if how == "partial_fit" and "early_stopping" in changes:
            continue  # there is no such method then
        source = np.random.RandomState(3)
        m = getattr(rw, kind)(**{**K, "warm_start": how == "warm fit", "random_state": source})
        if fitted:
            m.fit(X.astype(float), Y)
        kept, changes = m.get_params(), dict(changes)
        weight = changes.pop("sample_weight", None)
        was = of_estimator_and(m.set_params(**changes), source)
        call = m.partial_fit if how == "partial_fit" else m.fit
        with np.errstate(all="ignore"), pytest.raises((ValueError, TypeError, Mishap, ArithmeticError)):
            call(bad_X, bad_y, sample_weight=weight, **first)
        assert of_estimator_and(m, source) == was, cause
        m.set_params(**kept).fit(X, Y)  # and it goes on
        assert m.n_features_in_ == X.shape[1]


def _moved_regressor():
    """One that is to go on with targets in other units, what it predicts, and those targets."""
    pytest.importorskip("sklearn")
    y = X[:, 0] + X[:, 1]
    m = rw.SparseMLPRegressor(**K, warm_start=True, learning_rate_init=1e-9).fit(X, y)
    return m, m.predict(X), 10_000 * y + 3e4  # not so far away that their level would be taken at once


def test_ctrl_c_before_the_first_step_leaves_outputs_in_their_units(monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    for place in ("_check_data", "_refuse_if_short"):
        m, before, y = _moved_regressor()
        with monkeypatch.context() as patch, pytest.warns(rw.errors.InterruptedWarning) as found:
            patch.setattr(rw.Trainer, place, interrupt)
            m.fit(X, y)
        assert found[0].filename == __file__
        np.testing.assert_array_equal(m.predict(X), before)
        m.fit(X, y)
        np.testing.assert_allclose(m.predict(X), before, atol=0.01 * np.ptp(y))


def test_a_large_regressor_that_raises_keeps_its_units(monkeypatch):
    monkeypatch.setattr("rewire._snapshot.KEPT_BYTES", 0)
    monkeypatch.setattr("rewire.estimators._base.KEPT_BYTES", 0)
    m, before, y = _moved_regressor()
    with pytest.raises(Mishap):
        m.set_params(rewiring=BAD_RULE).fit(X, y)
    assert m.target_mean_[0] > 1e4
    np.testing.assert_allclose(m.predict(X), before, atol=0.01)


def test_ctrl_c_after_the_last_step_leaves_nothing_by_halves(monkeypatch, tmp_path):
    m, _, y = _moved_regressor()
    record, calls = rw.SparseMLPRegressor._record, []

    def interrupt(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return record(*arguments)

    monkeypatch.setattr(rw.SparseMLPRegressor, "_record", interrupt)
    with pytest.warns(rw.errors.InterruptedWarning):
        m.fit(X, y)
    assert m.n_iter_ == len(m.loss_curve_) == len(m.history_) == m.trainer_.epoch == 8
    m.trainer_.save(tmp_path / "run.st")


def of_estimator_and(m, source):
    return of_estimator(m), repr(source.get_state(legacy=False))


BAD_PIECES = {
    "nan": lambda x, y: (np.where(np.arange(x.size).reshape(x.shape) == x.size - 1, np.nan, x), y, None),
    "out of range": lambda x, y: (x * 1e300, y, None),
    "wider": lambda x, y: (np.c_[x, x], y, None),
    "fewer targets": lambda x, y: (x, y[:-1], None),
    "a strange target": lambda x, y: (x, np.where(np.arange(len(y)) == 1, np.inf, y), None),
    "negative weights": lambda x, y: (x, y, -np.ones(len(y))),
    "more weights": lambda x, y: (x, y, np.ones(len(y) + 1)),
    "words": lambda x, y: (np.where(x > 1, "x", x.astype(object)), y, None),
}


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("standardize", [True, False, "scale"])
@pytest.mark.parametrize("kind", [rw.SparseMLPClassifier, rw.SparseMLPRegressor])
def test_refused_pieces_of_a_stream_leave_no_trace(kind, standardize, optimizer):
    """Not in what follows from how many rows have come, either."""
    g = np.random.default_rng(0)
    options = {"hidden_layer_sizes": (7,), "epsilon": 2, "n_jobs": 1, "random_state": 0}
    with_them, without = (kind(**options, standardize=standardize, optimizer=optimizer) for _ in range(2))

    def all_of(model):
        trainer = model.trainer_
        told = {key: value for key, value in vars(model).items() if key not in ("trainer_", "_checked")}
        settings = json.dumps([trainer.optimizer.config(), trainer.rewiring.config(), trainer.step])
        return {name: a.tobytes() for name, a in trainer.arrays().items()}, settings, str(told)

    refused = 0
    for rows in (7, 2, 11, 5, 3):
        x = g.normal(size=(rows, 4))
        y = (np.arange(rows) % 2) if kind is rw.SparseMLPClassifier else np.abs(x[:, 0])
        first = {"classes": [0, 1]} if kind is rw.SparseMLPClassifier and not refused else {}
        for model in (with_them, without):
            model.partial_fit(x, y, **first)
        before = all_of(with_them)
        for spoil in BAD_PIECES.values():
            piece, targets, weight = spoil(x, y)
            try:
                with_them.partial_fit(piece, targets, weight)
            except (ValueError, TypeError):
                refused += 1
                assert all_of(with_them) == before
            else:  # what standardising brings into range is no mishap
                without.partial_fit(piece, targets, weight)
                before = all_of(with_them)
    assert refused > 20
    assert all_of(with_them) == all_of(without)


def test_names_of_features_stay():
    pd = pytest.importorskip("pandas")
    m = rw.SparseMLPClassifier(**K).fit(pd.DataFrame(X, columns=list("abcdefgh")), Y)
    names = list(m.feature_names_in_)
    with pytest.raises(ValueError, match="NaN"):
        m.fit(huge(X), Y)
    assert list(m.feature_names_in_) == names
    new = rw.SparseMLPClassifier(**K)
    with pytest.raises(ValueError, match="NaN"):
        new.fit(pd.DataFrame(huge(X), columns=list("abcdefgh")), Y)
    assert not [name for name in vars(new) if name.endswith("_")]


# --- looking changes nothing --------------------------------------------------------------


@SELDOM
def test_evaluating_predicting_and_saving_change_nothing(tmp_path):
    t = rw.Trainer(rw.Sequential(layers()), loss="cross_entropy", rewiring="dsr")
    t.fit(X, Y, epochs=3, batch_size=16, verbose=0)
    was = everything(t)
    for call in (
        lambda: t.evaluate(X[:, :3], Y),
        lambda: t.evaluate(X, Y[:4]),
        lambda: t.network.predict(huge(X)),
        lambda: t.save(tmp_path / "no" / "folder.st"),
        lambda: rw.Trainer.resume(tmp_path / "none.st"),
    ):
        with pytest.raises((ValueError, OSError)):
            call()
    t.evaluate(*NOISE)
    dsr, t.rewiring = t.rewiring, rw.SET()
    t.save(tmp_path / "other.st")  # under another rule, which has no memory
    t.rewiring = dsr
    assert everything(t) == was


class Clears:
    """Data that take all rows out of the history, and raise."""

    def __init__(self, trainer):
        self.trainer = trainer

    def __len__(self):
        return 2

    def __iter__(self):
        yield X[:20], Y[:20]
        self.trainer.history.epochs.clear()
        raise Mishap


def _clears_rows(trainer, how):
    """Let a call of fit take rows out of the history and raise."""

    def clear(callback, state=None):
        trainer.history.epochs.clear()
        if state is None:
            raise Mishap

    if how == "own callback":
        trainer.callbacks.append(Raises("on_epoch_end", spoil=clear))
    elif how == "hook of an instance":
        trainer.callbacks.append(rw.Callback())
        trainer.callbacks[-1].on_epoch_end = clear
    elif how == "callback of the package":
        trainer.callbacks.append(rw.EarlyStopping(monitor="none such"))
    elif how == "data":
        return trainer.fit(Clears(trainer), epochs=2, verbose=0)
    return trainer.fit(X, Y, epochs=3, verbose=0)


@pytest.mark.parametrize("how", ["callback of the package", "own callback", "hook of an instance", "data"])
def test_rows_of_the_history_come_back(how):
    t = rw.Trainer(rw.Sequential(layers()), loss="cross_entropy")
    t.fit(X, Y, epochs=3, verbose=0)
    t.fit(X, Y, epochs=1, verbose=0)
    rows = t.history.epochs
    rows[1] = dict(rows[1], note="somebody's own")  # between calls rows may be replaced, and taken out
    for kept in (slice(0, 4), slice(1, 4)):
        rows[:] = rows[kept]
        there = list(rows)
        with pytest.raises((Mishap, ValueError)):
            _clears_rows(t, how)
        t.callbacks.clear()
        assert t.history.epochs is rows and len(rows) == len(there)
        assert all(row is before for row, before in zip(rows, there, strict=True))


def test_a_callback_may_hold_tuples_of_any_depth():
    """What an error would bring back is looked for without a call in a call."""

    class Chain(rw.Callback):
        def config(self):
            return {}

        def restore(self, config, arrays):
            pass

        def on_epoch_end(self, state):
            inmost[0] = 2
            raise Mishap

    one, inmost = Chain(), [1]
    chain = (inmost,)
    for _ in range(200_000):
        chain = (chain,)
    one.chain = chain
    t = rw.Trainer(rw.Sequential(layers()), loss="cross_entropy", callbacks=[one])
    with pytest.raises(Mishap):
        t.fit(X, Y, verbose=0)
    assert inmost == [1]
