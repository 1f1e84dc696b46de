"""State that is carried belongs to its run: early stopping, best networks, memory, fields; what is saved."""

import contextlib
import copy
import json
import math
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rewire as rw
from forging import CALLBACKS, OPTIMIZERS, data
from rewire import _container, files
from rules.table import CASES
from small import GROWN, SELDOM, X, Y
from small import trainer as small_trainer


def build(rule="set", optimizer="sgd", callbacks=(), group=1, dtype="float32", seed=3, density=None):
    case = CASES[rule]
    density = case.density if density is None else density
    layers = [
        rw.Sparse(7, 11, density=density, activation="relu", group=group),
        rw.Dropout(0.1),
        rw.Sparse(11, 9, density=density, activation="all-relu", group=group),
        rw.Sparse(9, 3, density=0.6, activation="softmax"),
    ]
    return rw.Trainer(
        rw.Sequential(layers, seed=seed, dtype=dtype),
        loss="cross_entropy",
        optimizer=OPTIMIZERS[optimizer](),
        rewiring=case.make(),
        callbacks=callbacks,
        threads=1,
        standardize=True,
    )


def fit(t, epochs=1, **options):
    inputs, labels = data(t.network, t.loss)
    t.fit(inputs, labels, epochs=epochs, batch_size=16, validation_data=(inputs[:9], labels[:9]), verbose=0,
          **options)  # fmt: skip


def said(t):
    """A trainer's description, without what differs from run to run."""
    found = json.loads(json.dumps(t.config()))
    for row in found["state"]["history"]["epochs"]:
        for name in [n for n in row if n.startswith("seconds")]:
            del row[name]
    return found


def same(a, b):
    assert said(a) == said(b)
    ours, theirs = a.arrays(), b.arrays()
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name].dtype == theirs[name].dtype and ours[name].tobytes() == theirs[name].tobytes(), name


@pytest.fixture(scope="module")
def rich():
    """A trainer with memory, fields and all callbacks."""
    t = build("dsr", "adam", [rw.LinkLog(), rw.MapLog(bins=4), rw.EarlyStopping(20, restore_best=True)])
    fit(t, 2)
    return t


# --- early stopping and its runs --------------------------------------------------------


class Scores(rw.Callback):
    """Puts figures into the history, one an epoch."""

    def __init__(self, *values):
        self.values = list(values)

    def on_epoch_end(self, state):
        state.row["score"] = self.values.pop(0)


def stopping(patience=100, **options):
    return rw.EarlyStopping(patience, **{"monitor": "score", "mode": "max", **options})


@pytest.mark.parametrize("values, best, epoch, waited", [
    ((0.1, 0.3, 0.2), 0.3, 1, 1),
    ((math.nan, math.nan, math.nan), None, None, 3),
    ((math.nan, 0.1, math.nan), 0.1, 1, 1),
    ((0.2, math.nan, 0.1), 0.2, 0, 2),
    ((None, 0.2, None), 0.2, 1, 1),
    ((math.inf, 0.2, -math.inf), 0.2, 1, 1),
    ((-math.inf, -3.0, 1), 1.0, 2, 0),
    ((np.float32(0.5), np.float64("nan"), 0), 0.5, 0, 2),
])  # fmt: skip
@pytest.mark.parametrize("restore_best", [False, True])
def test_what_is_no_figure_is_never_best(values, best, epoch, waited, restore_best):
    stop = stopping(restore_best=restore_best)
    t = small_trainer(callbacks=[Scores(*values), stop])
    t.fit(X, Y, epochs=3, verbose=0)
    assert (stop.best, stop.best_epoch, stop.waited) == (best, epoch, waited)


def test_without_a_best_nothing_is_brought_back_and_waiting_ends():
    never = [Scores(*[math.nan] * 9), stopping(2, restore_best=True)]
    plain, t = small_trainer(), small_trainer(callbacks=never)
    t.fit(X, Y, epochs=9, verbose=0)
    plain.fit(X, Y, epochs=2, verbose=0)
    assert t.epoch == 2
    assert t.network.predict(X).tobytes() == plain.network.predict(X).tobytes()


@pytest.mark.parametrize("value", ["0.5", True, [1.0, 2.0]])
def test_a_column_that_is_no_figure_is_refused(value):
    with pytest.raises(ValueError, match="monitor must be a column of numbers, 'score' has"):
        small_trainer(callbacks=[Scores(value), stopping()]).fit(X, Y, verbose=0)


CHANGES = {
    "nothing": lambda t: t,
    "optimizer": lambda t: setattr(t, "optimizer", rw.Adam(0.01)) or t,
    "rule": lambda t: setattr(t, "rewiring", rw.rewiring.rewiring("rigl")) or t,
    "trainer": lambda t: small_trainer(callbacks=t.callbacks, rewiring="set"),
    "copied": copy.deepcopy,
    "pickled": lambda t: pickle.loads(pickle.dumps(t)),
}


@SELDOM
@GROWN
@pytest.mark.parametrize("change", CHANGES)
def test_a_second_run_of_early_stopping_begins_anew(change):
    t = small_trainer(callbacks=[Scores(0.9, 0.1, 0.2, 0.3), stopping(3, restore_best=True)], rewiring="set")
    t.fit(X, Y, epochs=2, verbose=0)
    assert t.callbacks[1].best == 0.9
    t = CHANGES[change](t)
    t.fit(X, Y, epochs=2, verbose=0)
    assert (t.callbacks[1].best, t.callbacks[1].waited) == (0.3, 0)
    t.network.validate()


def test_a_best_network_without_a_new_callbacks_fields_is_not_brought_back(tmp_path):
    t = small_trainer(callbacks=[Scores(0.9, 0.1), stopping(3, restore_best=True)], rewiring="set")
    t.fit(X, Y, epochs=2, verbose=0)
    t.save(tmp_path / "t")
    callbacks = [Scores(0.2, 0.3, 0.1), stopping(3, restore_best=True), rw.LinkLog()]
    again = rw.Trainer.resume(tmp_path / "t", callbacks=callbacks)
    again.fit(X, Y, epochs=2, verbose=0)
    assert again.callbacks[1].best in (0.2, 0.3)
    again.fit(X, Y, epochs=1, verbose=0)  # its links still have what the log looks at
    again.network.validate()


def test_a_resumed_run_goes_on_and_the_next_begins_anew(tmp_path):
    values = [0.5, 0.9, 0.1, 0.2, 0.3, 0.4]
    whole = small_trainer(callbacks=[stopping(3), Scores(*values)][::-1])
    whole.fit(X, Y, epochs=4, verbose=0)
    half = small_trainer(callbacks=[stopping(3), Scores(*values)][::-1])
    half.fit(X, Y, epochs=3, verbose=0)
    half.save(tmp_path / "t")
    t = rw.Trainer.resume(tmp_path / "t", callbacks=[Scores(*values[3:]), stopping(3)])
    assert (t.callbacks[1].best, t.callbacks[1].waited) == (0.9, 1)
    t.save(tmp_path / "again")  # nothing is used up by saving
    assert rw.Trainer.resume(tmp_path / "again", callbacks=[Scores(), stopping(3)]).callbacks[1].waited == 1
    t.fit(X, Y, epochs=1, verbose=0)
    assert (t.callbacks[1].best, t.callbacks[1].waited) == (0.9, 2) == (
        whole.callbacks[1].best, whole.callbacks[1].waited
    )  # fmt: skip
    t.fit(X, Y, epochs=2, verbose=0)
    assert (t.callbacks[1].best, t.callbacks[1].best_epoch, t.callbacks[1].waited) == (0.4, 5, 0)


@pytest.mark.parametrize("given, best", [
    (stopping(3), 0.9),
    (stopping(1), 0.9),
    (stopping(3, mode="min"), None),
    (stopping(3, monitor="loss", mode="auto"), None),
    (rw.MapLog(), None),
])  # fmt: skip
def test_a_callback_takes_up_what_is_of_its_kind(tmp_path, given, best):
    t = small_trainer(callbacks=[Scores(0.9, 0.1), stopping(3)])
    t.fit(X, Y, epochs=2, verbose=0)
    t.save(tmp_path / "t")
    left = pytest.warns(UserWarning, match="the state of EarlyStopping was saved and none")
    with left if best is None else contextlib.nullcontext():
        t = rw.Trainer.resume(tmp_path / "t", callbacks=[Scores(0.2), given])
    assert getattr(given, "best", None) == best
    t.fit(X, Y, verbose=0)


def test_a_run_that_has_ended_is_not_gone_on_with(tmp_path):
    t = small_trainer(callbacks=[rw.EarlyStopping(1, monitor="loss", mode="max")])
    t.fit(X, Y, epochs=50, verbose=0)
    assert t.epoch < 50
    t.save(tmp_path / "t")
    t = rw.Trainer.resume(tmp_path / "t")
    assert t.callbacks[0].best is not None
    before = t.epoch
    t.fit(X, Y, epochs=1, verbose=0)
    assert t.callbacks[0].best_epoch == before and t.callbacks[0].waited == 0


# --- a best network whose state is of another optimizer ---------------------------------


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("second", OPTIMIZERS)
@pytest.mark.parametrize("first", OPTIMIZERS)
def test_a_best_network_and_another_optimizer(tmp_path, first, second):
    t = build(optimizer=first, callbacks=[rw.EarlyStopping(100, monitor="loss", restore_best=True)])
    fit(t, 3)
    t.save(tmp_path / "first")
    resumed = rw.Trainer.resume(tmp_path / "first")  # goes on with the best network of the first optimizer
    for trainer in (t, resumed):
        trainer.optimizer = OPTIMIZERS[second]()
        trainer.optimizer.lr = 1e3  # gets worse, so that the best one comes back
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                fit(trainer, 2)
            except rw.DivergenceError:
                continue
        trainer.optimizer.lr = 0.01
        trainer.save(tmp_path / "second")
        again = rw.Trainer.resume(tmp_path / "second")
        again.callbacks = trainer.callbacks = []
        same(again, trainer)
        fit(again, 2)
        fit(trainer, 2)
        same(again, trainer)


@SELDOM
@GROWN
@pytest.mark.parametrize("rule", ["deepr", "top-kast", "soft-deepr"])
def test_a_rule_that_comes_back_begins_with_fresh_fields(rule, tmp_path):
    t, stranger = build(rule), build("set")
    fit(t, 2)
    own = set(t.network.layers[0].store.fields) & {"sign", "theta", "mask"}
    t.rewiring = CASES["set"].make()
    t.save(tmp_path / "t")
    assert not any("field.a" in n or "field.sign" in n for n in rw.Trainer.resume(tmp_path / "t").arrays())
    fit(t)
    assert own and not own & set(t.network.layers[0].store.fields)
    t.rewiring = CASES[rule].make()
    fit(t)
    assert own <= set(t.network.layers[0].store.fields)
    fit(stranger)


@SELDOM
@GROWN
def test_a_rule_has_nothing_of_what_another_one_remembers():
    t = build("dsr")
    fit(t, 2)
    first = dict(t.rule_memory())
    assert first and t.config()["state"]["memory"] == first
    t.rewiring = CASES["top-kast"].make()
    assert t.rule_memory() == {} == t.config()["state"]["memory"]
    fit(t, 2)
    second = t.rule_memory()
    assert second and not first.keys() & second.keys() and t.config()["state"]["memory"] == second
    t.rewiring = CASES["dsr"].make()
    assert t.rule_memory() == {}


# --- whatever is done, it trains, saves and resumes -------------------------------------


def change_callbacks(t, name):
    t.callbacks = CALLBACKS[name]()
    return t


def change_rule(t, name):
    t.rewiring = CASES[name].make()
    return t


def change_optimizer(t, name):
    t.optimizer = OPTIMIZERS[name]()
    return t


def trained(t, epochs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        fit(t, epochs)
    return t


def resumed(t, folder):
    t.save(folder / "t")
    again = rw.Trainer.resume(folder / "t")
    same(t, again)
    return again


def copied(t, _):
    twin = pickle.loads(pickle.dumps(t))
    same(t, twin)
    same(trained(copy.deepcopy(t), 1), trained(twin, 1))
    return t


STEPS = st.one_of(
    st.tuples(st.just(trained), st.integers(1, 2)),
    st.tuples(st.just(change_optimizer), st.sampled_from(list(OPTIMIZERS))),
    st.tuples(st.just(change_rule), st.sampled_from(list(CASES))),
    st.tuples(st.just(change_callbacks), st.sampled_from(list(CALLBACKS))),
    st.tuples(st.just(resumed), st.none()),
    st.tuples(st.just(copied), st.none()),
)


@SELDOM
@GROWN
@settings(max_examples=max(1, settings.default.max_examples // 4))
@given(
    rule=st.sampled_from(list(CASES)),
    optimizer=st.sampled_from(list(OPTIMIZERS)),
    callbacks=st.sampled_from(list(CALLBACKS)),
    group=st.sampled_from([1, 4]),
    steps=st.lists(STEPS, max_size=8),
)
def test_whatever_is_done_it_trains_saves_and_resumes(
    tmp_path_factory, rule, optimizer, callbacks, group, steps
):
    folder = tmp_path_factory.getbasetemp()
    t = build(rule, optimizer, CALLBACKS[callbacks](), group)
    for step, argument in [*steps, (resumed, None), (trained, 1), (resumed, None)]:
        t = step(t, folder if step is resumed else argument)
        t.network.validate()


# --- what a file holds is looked at when it is read -------------------------------------


def at(*path, value):
    """A change of one entry of the trainer's description; `...` removes it."""

    def change(config, arrays):
        place = config["trainer"]
        for key in path[:-1]:
            place = place[key]
        if value is ...:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return change


def array(name, edit):
    """A change of one array, or a new one."""

    def change(config, arrays):
        arrays[name] = edit(arrays[name] if name in arrays else np.zeros((2, 1), "f4"))

    return change


def all_set(value):
    return lambda a: np.full_like(a, value)


LOG, MAPS, STOP = (("callbacks", i) for i in range(3))
BEST = (*STOP, "state", "network")
FIELDS = ("network", "parameters", "layers.0.weight", "fields")


def kind(**given):
    """A field as a file describes it."""
    return {"dtype": None, "per_slot": False, "birth": 0.0, "power": None, "state": False, **given}


FORGED = {
    "unknown entry": at("hook", value="x"),
    "unknown entry of the network": at("network", "hook", value=1),
    "unknown entry of a schedule": at("optimizer", "schedule", "hook", value=1),
    "unknown entry of the loss": at("loss", "hook", value=1),
    "unknown entry of a callback": at(*STOP, "hook", value=1),
    "unknown entry of a callback's state": at(*STOP, "state", "hook", value=1),
    "no memory": at("state", "memory", value=...),
    "no mode": at(*STOP, "mode", value=...),
    "no nesterov": at("optimizer", "eps", value=...),
    "a name spelt otherwise": at("optimizer", "name", value="ADAM"),
    "unknown array": array("hook", lambda a: a),
    "unknown array of a layer": array("layers.0.hook", lambda a: a),
    "unknown array of a callback": array("callbacks.1.hook", lambda a: a),
    "unknown array of no callback": array("callbacks.7.maps", lambda a: a),
    "unknown array of the rule": array("state.memory.hook", lambda a: a),
    "unknown state": array("layers.0.bias.field.hook", lambda a: np.zeros(11, "f4")),
    "undescribed field": array("layers.0.weight.field.hook", lambda a: a),
    "unknown field": lambda config, arrays: (
        config["trainer"]["network"]["parameters"]["layers.0.weight"]["fields"].update(hook=kind()),
        arrays.update({"layers.0.weight.field.hook": np.zeros_like(arrays["layers.0.weight.values"])}),
    ),
    "field of two entries": at(*FIELDS, "birth_step", value={"dtype": "int32", "per_slot": True}),
    "birth of a moment": at(*FIELDS, "adam_m", value=kind(birth=1e30, power=1, state=True)),
    "birth in the future": at(*FIELDS, "birth_step", value=kind(dtype="int32", per_slot=True, birth=900.0)),
    "power of no sense": at(*FIELDS, "adam_m", value=kind(power=-1)),
    "state of no sense": at(*FIELDS, "adam_m", value=kind(state="yes")),
    "born in the future": array("layers.0.weight.field.birth_step", all_set(900)),
    "squares below zero": array("layers.0.weight.field.adam_v", all_set(-1)),
    "squares of a bias below zero": array("layers.0.bias.field.adam_v", all_set(-1)),
    "moments of no numbers": array("layers.0.weight.field.adam_m", all_set(math.nan)),
    "moments of a bias of no numbers": array("layers.0.bias.field.adam_m", all_set(math.inf)),
    "monitor of no column": at(*STOP, "monitor", value="VAL_LOSS"),
    "cohort of no rewiring": array("layers.0.weight.field.cohort", all_set(77)),
    "memory a list": at("state", "memory", value=[]),
    "memory of another rule": at("state", "memory", value={"initial_links": {"0": 3}}),
    "memory of a wrong kind": at("state", "memory", value={"threshold": "low"}),
    "memory of no sense": at("state", "memory", value={"threshold": -1.0}),
    "more epochs than steps": at("state", "optimizer_step", value=10**6),
    "epoch before the history's": at("state", "epoch", value=1),
    "huge epoch": at("state", "epoch", value=2**60),
    "row of words": at("state", "history", "epochs", 0, "loss", value="low"),
    "row without a loss": at("state", "history", "epochs", 0, "loss", value=None),
    "row twice": at("state", "history", "epochs", 1, "epoch", value=0),
    "row of other layers": at("state", "history", "epochs", 0, "nnz", value=[1, 2]),
    "row not a row": at("state", "history", "epochs", 0, value=3),
    "interrupted by a number": at("state", "history", "interrupted", value=1),
    "best a word": at(*STOP, "state", "best", value="x"),
    "best not finite": at(*STOP, "state", "best", value=math.nan),
    "best without an epoch": at(*STOP, "state", "best_epoch", value=None),
    "best epoch to come": at(*STOP, "state", "best_epoch", value=99),
    "waited a word": at(*STOP, "state", "waited", value="long"),
    "waited below zero": at(*STOP, "state", "waited", value=-1),
    "best network a word": at(*BEST, value="x"),
    "best network empty": at(*BEST, value={}),
    "best network of other inputs": at(*BEST, "layers", 0, "n_in", value=8),
    "best network of another activation": at(*BEST, "layers", 0, "activation", value={"name": "tanh"}),
    "best network of another dtype": at(*BEST, "dtype", value="float64"),
    "best network without a layer": lambda config, arrays: config["trainer"]["callbacks"][2]["state"][
        "network"
    ]["layers"].pop(1),
    "best network without its figure": lambda config, arrays: config["trainer"]["callbacks"][2][
        "state"
    ].update(best=None, best_epoch=None),
    "best network not asked for": at(*STOP, "restore_best", value=False),
    "best network with an unknown array": array("callbacks.2.layers.0.hook", lambda a: a),
    "best network of no numbers": array("callbacks.2.layers.0.weight.values", all_set(math.nan)),
    "best network with links of no cohort": array("callbacks.2.layers.0.weight.field.cohort", all_set(-1)),
    "best network of unsorted links": array("callbacks.2.layers.0.weight.sources", lambda a: a[::-1].copy()),
    "log of another network": at(*LOG, "state", "shapes", 0, value=[0, 11, 8, 1]),
    "log of layers that are no lists": at(*LOG, "state", "shapes", 0, value=7),
    "log that begins later": at(*LOG, "state", "first_epoch", value=50),
    "log of negative counts": array("callbacks.0.alive", all_set(-7)),
    "log of infinite ages": array("callbacks.0.rows", all_set(math.inf)),
    "log of steps to come": array("callbacks.0.when", all_set(999)),
    "maps of no layer": at(*MAPS, "layer", value=5),
    "maps of epochs that fall": at(*MAPS, "state", "epochs", value=[2, 1, 0]),
    "maps of epochs to come": at(*MAPS, "state", "epochs", value=[0, 1, 99]),
    "maps too large": at(*MAPS, "bins", value=1),
    "maps of no shares": array("callbacks.1.maps", all_set(1.5)),
}


@pytest.fixture(scope="module")
def right(rich, tmp_path_factory):
    """A file of it, which is no other for being read and written again."""
    folder = tmp_path_factory.mktemp("right")
    rich.save(folder / "good")
    found = files.read(folder / "good")
    _container.write(folder / "same", "trainer", {"trainer": found.config, "notes": {}}, found.arrays, "0.0")
    rw.Trainer.resume(folder / "same")
    return folder / "same"


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_forged_state_is_refused(right, tmp_path, change):
    found = files.read(right)
    config, arrays = {"trainer": found.config, "notes": {}}, dict(found.arrays)
    change(config, arrays)
    _container.write(tmp_path / "bad", "trainer", config, arrays, "0.0")
    with pytest.raises(rw.FileError) as caught:
        rw.Trainer.resume(tmp_path / "bad")
    assert caught.value.path == str(tmp_path / "bad") and caught.value.reason


def test_a_file_of_a_network_alone_is_as_strict(rich, tmp_path):
    rich.network.save(tmp_path / "n")
    found = files.read(tmp_path / "n")
    for name, edit in {
        "x": lambda c, a: a.update(x=np.zeros(1)),
        "memory.x": lambda c, a: a.update({"memory.x": np.zeros(1)}),
        "bias.field": lambda c, a: a.update({"layers.0.bias.field.x": np.zeros(11, "f4")}),
        "hook": lambda c, a: c.update(hook=1),
        "fields": lambda c, a: c["layers"][0].update(fields={}),
    }.items():
        config, arrays = copy.deepcopy(found.config), dict(found.arrays)
        edit(config, arrays)
        _container.write(tmp_path / "bad", "network", {"network": config, "notes": {}}, arrays, "0.0")
        with pytest.raises(rw.FileError, match=name):
            rw.load(tmp_path / "bad")


# --- what resume would refuse is not written --------------------------------------------


def drop(t, name):
    t.network.layers[0].store.drop_field(name)


def set_values(t, name, value):
    store = t.network.layers[0].store
    store.set_field(name, np.full_like(store.get_field(name), value))


MISFITS = {
    "rate": (lambda t: vars(t.optimizer).update(lr=-1.0), "optimizer cannot be saved"),
    "momentum": (lambda t: vars(t.optimizer).update(eps=0.0), "optimizer cannot be saved"),
    "epoch": (lambda t: setattr(t.state, "epoch", -1), "epoch must be an integer"),
    "epoch before the history's": (lambda t: setattr(t.state, "epoch", 1), "history row 1: epoch"),
    "step": (lambda t: setattr(t.state, "step", 0), "optimizer_step must be an integer"),
    "row": (lambda t: t.history.epochs[0].update(loss="low"), "history row 0: loss"),
    "row of other layers": (lambda t: t.history.epochs[0].update(nnz=[1]), "history row 0: nnz"),
    "column": (lambda t: t.history.epochs[0].update(x={"a": 1}), "history row 0: 'x'"),
    "memory": (lambda t: t.rule_memory().update(x=1), "memory: an entry must be one of 'threshold'"),
    "memory's value": (lambda t: t.rule_memory().update(threshold=-1.0), "memory: threshold"),
    "squares": (lambda t: set_values(t, "adam_v", -1.0), "adam_v"),
    "age": (lambda t: set_values(t, "birth_step", 99), "birth_step"),
    "log": (lambda t: drop(t, "cohort"), "LinkLog: these are not the layers"),
    "map": (lambda t: setattr(t.callbacks[1], "layer", 7), "layer must be an integer"),
    "best": (lambda t: setattr(t.callbacks[2], "best_epoch", 9), "best_epoch"),
}  # fmt: skip


@pytest.mark.parametrize("change, words", MISFITS.values(), ids=MISFITS)
def test_what_resume_would_refuse_is_not_written(rich, tmp_path, change, words):
    t = copy.deepcopy(rich)
    t.save(tmp_path / "good")
    change(t)
    with pytest.raises((TypeError, ValueError), match=words):
        t.save(tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


@GROWN
def test_lost_optimizer_state_is_made_anew(tmp_path):
    t = build("dsr", "adam")  # nobody brings back a best network, which would have its own state
    fit(t, 2)
    drop(t, "adam_m")
    t.save(tmp_path / "t")
    again = rw.Trainer.resume(tmp_path / "t")
    fit(t)
    fit(again)
    assert t.state.optimizer_step == again.state.optimizer_step == 3


@SELDOM
def test_fields_nobody_declares_stay_out_of_files(tmp_path):
    class Keeper(rw.Callback):
        fields = ("kept",)

        def on_epoch_end(self, state):
            pass

        def config(self):
            return {"name": "Keeper"}

    t = build(callbacks=[Keeper()])
    for name in ("kept", "lost"):
        t.network.layers[0].store.add_field(name, "float64", birth=2.0)
    fit(t)
    t.save(tmp_path / "t")
    again = rw.Trainer.resume(tmp_path / "t", callbacks=[Keeper()])
    fields = again.network.layers[0].store.fields
    assert "kept" in fields and "lost" not in fields
    fit(again)


def with_callbacks(tmp_path, *callbacks):
    t = small_trainer(callbacks=[*callbacks])
    t.fit(X, Y, epochs=3, verbose=0)
    t.save(tmp_path / "t")
    return t


def again(tmp_path, *callbacks):
    t = rw.Trainer.resume(tmp_path / "t", callbacks=callbacks)
    t.fit(X, Y, epochs=1, verbose=0)
    return t


def patient(n, monitor="loss"):
    return rw.EarlyStopping(n, monitor=monitor, mode="min")


@pytest.mark.filterwarnings("ignore:Checkpoint has no path")
def test_callbacks_take_up_their_state_wherever_they_stand(tmp_path):
    was = with_callbacks(tmp_path, rw.WeightAverage(0.5), patient(9), patient(8, "lr"), rw.Checkpoint(None))
    states = [callback.config()["state"] for callback in was.callbacks]
    found = rw.Trainer.resume(
        tmp_path / "t", callbacks=[rw.Checkpoint(None), patient(9), rw.WeightAverage(0.5), patient(8, "lr")]
    ).callbacks
    assert [found[i].config()["state"] for i in (2, 1, 3, 0)] == states
    assert states[1] != states[2] and found[1].waited == 0 < found[3].waited
    one = again(tmp_path, rw.WeightAverage(0.5), patient(9), patient(8, "lr"))
    other = again(tmp_path, patient(9), patient(8, "lr"), rw.WeightAverage(0.5))
    np.testing.assert_array_equal(one.network.get_vector("average"), other.network.get_vector("average"))
    assert one.network.get_vector("averaged")[0] == one.step


def test_of_two_of_a_kind_each_takes_up_what_it_watches(tmp_path):
    was = with_callbacks(tmp_path, patient(9), patient(9, "lr"), patient(8, "lr")).callbacks
    states = [callback.config()["state"] for callback in was]
    assert states[0] != states[1]
    given = [patient(8, "lr"), patient(7, "lr"), patient(6)]  # the same arguments first, then by order
    found = rw.Trainer.resume(tmp_path / "t", callbacks=given).callbacks
    assert [callback.config()["state"] for callback in found] == [states[i] for i in (2, 1, 0)]
    with pytest.warns(UserWarning, match="the state of EarlyStopping was saved and none of") as seen:
        found = rw.Trainer.resume(tmp_path / "t", callbacks=[patient(9, "lr")]).callbacks
    assert len(seen) == 2 and found[0].config()["state"] == states[1]


@pytest.mark.filterwarnings("ignore:Checkpoint has no path")
def test_state_that_nobody_takes_up_is_named(tmp_path):
    was = with_callbacks(tmp_path, rw.WeightAverage(0.5), patient(9), rw.Checkpoint(None))
    with pytest.warns(UserWarning) as seen:
        t = again(tmp_path, rw.Checkpoint(tmp_path / "c"))
    words = [str(each.message) for each in seen]
    assert len(words) == 2 and words[1].startswith("the state of EarlyStopping was saved and none of")
    assert words[0].startswith("the state of WeightAverage was saved and none of callbacks takes it up")
    assert "its fields of the weights (average, averaged) are" in words[0]
    assert not any(q.has("average") for q in t.network.parameters().values())
    t.save(tmp_path / "t")  # what is left fits together
    assert rw.Trainer.resume(tmp_path / "t", callbacks=[]).step > was.step


class Follower(rw.Callback):
    """Keeps a field, and is not registered."""

    fields = ("followed",)

    def on_fit_begin(self, state):
        state.network.layers[0].store.add_field("followed", "float64", birth=2.0)

    def config(self):
        return {"name": "Follower"}


def test_fields_of_a_callback_that_is_unknown_are_named(tmp_path):
    with_callbacks(tmp_path, Follower())
    words = "callbacks must take up the fields followed of the weights: .* the state of Follower"
    with pytest.raises(rw.FileError, match=words):
        rw.Trainer.resume(tmp_path / "t", callbacks=[rw.Checkpoint(None)])
