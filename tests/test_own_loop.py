"""Loops of one's own: what `fit` does, step by step, to the bit; gradients first and the optimizer later."""

import gc
import inspect
import json
import pickle
import signal
import threading
import weakref

import numpy as np
import pytest

import rewire as rw
from rewire import _core
from rewire.layers import ArrayLayer, Elementwise
from rewire.optim import KINDS, Optimizer
from rewire.parameters import DenseParameter, Field
from small import T, X, Y, network, normal

BATCH = 16
STEPS = -(-len(X) // BATCH)

RULES = {
    "static": lambda: None,
    "set": lambda: rw.SET(0.3),
    "set, steps": lambda: rw.SET(0.3, every=rw.Steps(4)),
    "rigl": lambda: rw.RigL(every=4),
    "rigl, no step": lambda: rw.RigL(every=4, skip_step=True),
    "top-kast": lambda: rw.TopKAST(every=3),
    "mest": lambda: rw.MEST("em&s", every=rw.Steps(3)),
    "importance": lambda: rw.ImportancePruning(fraction=0.2, begin=0.3, every=rw.Epochs(1)),
    "deepr": lambda: rw.DeepR(),
}


class Plain(Optimizer):
    """Momentum, in NumPy."""

    name = "plain-numpy"
    fields = {"pace": Field(power=1)}

    def __init__(self, lr=0.05, clip_norm=None):
        super().__init__(lr, 0.0, "l2", clip_norm, None)

    def step(self, values, gradient, fields, *, rate, decay, count):
        fields["pace"] *= 0.5
        fields["pace"] += gradient
        values -= rate * fields["pace"]

    def config(self):
        return {"name": "plain-numpy", "lr": self.lr, "clip_norm": self.clip_norm}


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The optimizer can be read from files, in these tests alone."""
    monkeypatch.setattr(KINDS, "_makers", dict(KINDS._makers))
    KINDS.register(Plain)


OPTIMIZERS = {
    "sgd": lambda: rw.SGD(0.05, momentum=0.9),
    "adam, clipped": lambda: rw.Adam(0.01, clip_norm=0.5),
    "numpy": lambda: Plain(),
    "numpy, clipped": lambda: Plain(clip_norm=0.5),
}


def build(rule="static", optimizer="sgd", dropout=0.3, dtype="float32", **options):
    layers = [
        rw.Sparse(8, 24, density=0.5, activation="all-relu", group=4),
        rw.Dropout(dropout),
        rw.Sparse(24, 12, density=0.5, activation="relu"),
        rw.Sparse(12, 3, density=0.7, activation="softmax"),
    ]
    return rw.Trainer(
        rw.Sequential(layers, seed=3, dtype=dtype), loss="cross_entropy", optimizer=OPTIMIZERS[optimizer](),
        rewiring=RULES[rule](), **options,
    )  # fmt: skip


def batches(x=X, y=Y, size=BATCH):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def bits(trainer):
    """All that is saved, without times and without what `fit` alone says."""
    config = json.loads(json.dumps(trainer.config()))
    for row in [*config["state"]["history"]["epochs"], config["state"]["unfinished"] or {}]:
        for name in [name for name in row if name.startswith("seconds")]:
            del row[name]
    for name in ("horizon", "steps_per_epoch"):
        del config[name]
    del config["state"]["run_end"]
    return config, {name: a.tobytes() for name, a in trainer.arrays().items()}


def weights(trainer):
    return trainer.network.get_vector()


# --- the same as fit ----------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("rule", RULES)
def test_a_loop_over_steps_is_fit(rule, optimizer):
    """Of the same batches: weights, structure, state, history, rule's memory, all to the bit."""
    whole = build(rule, optimizer)
    whole.fit(X, Y, epochs=3, batch_size=BATCH, shuffle=False, verbose=0)
    t = build(rule, optimizer, horizon=3, steps_per_epoch=STEPS)
    for _ in range(3):
        for x, y in batches():
            t.train_step(x, y)
        row = t.end_epoch()
    assert bits(t) == bits(whole)
    assert row is t.history[-1] and t.epoch == 3 and t.step == 3 * STEPS


@pytest.mark.parametrize("optimizer", ["adam, clipped", "numpy"])
@pytest.mark.parametrize("rule", RULES)
def test_gradients_and_apply_are_a_step(rule, optimizer):
    """Where `fit` keeps gradients as well, to the bit."""
    whole = build(rule, optimizer)
    whole.fit(X, Y, epochs=3, batch_size=BATCH, shuffle=False, verbose=0)
    t = build(rule, optimizer, horizon=3, steps_per_epoch=STEPS)
    for _ in range(3):
        for x, y in batches():
            t.rewire_if_due(x, y)
            assert t.rewire_if_due(x, y) is None  # once is enough
            t.gradients(x, y)
            t.apply()
        t.end_epoch()
    assert bits(t) == bits(whole)


@pytest.mark.parametrize("rule", RULES)
def test_fused_kept_and_in_numpy_a_step_is_the_same(rule):
    """Whoever takes the step, and from which gradients: the same thetas, links and state."""
    fused, kept, plain = (build(rule, dtype="float64") for _ in range(3))
    fused.optimizer = rw.SGD(0.05, momentum=0.5)
    kept.optimizer = rw.SGD(0.05, momentum=0.5, clip_norm=1e9)  # never reached
    plain.optimizer = Plain(0.05)
    for t in (fused, kept, plain):
        t.fit(X, Y, epochs=3, batch_size=BATCH, shuffle=False, verbose=0)
    ours, others = fused.arrays(), kept.arrays()
    assert ours.keys() == others.keys() and all(np.array_equal(ours[key], others[key]) for key in ours)
    for a, b in zip(fused.network.sparse_parameters, plain.network.sparse_parameters, strict=True):
        assert np.array_equal(a.core.indptr(), b.core.indptr())
        assert np.array_equal(a.core.sources(), b.core.sources())
        close(b.read("pace"), a.read("momentum"), "float64")
    close(weights(plain), weights(fused), "float64")


def test_weights_of_samples_and_targets():
    w = np.random.default_rng(1).uniform(0, 2, len(X))
    whole = rw.Trainer(network("linear", 2), loss="mse", metrics=True)
    whole.fit(X, T, batch_size=BATCH, shuffle=False, sample_weight=w, verbose=0)
    t = rw.Trainer(network("linear", 2), loss="mse", metrics=True)
    for i in range(0, len(X), BATCH):
        found = t.train_step(X[i : i + BATCH], T[i : i + BATCH], sample_weight=w[i : i + BATCH])
        assert np.isfinite(found.loss) and found.lr == 0.05 and found.rewired is None
    row = t.end_epoch(val_loss=2.0, note="own")
    assert bits(t)[1] == bits(whole)[1] and row["loss"] == whole.history["loss"][0]
    assert row["r2"] == whole.history["r2"][0] and row["val_loss"] == 2.0 and row["note"] == "own"


def test_what_a_step_says():
    t = build("set, steps")
    found = [t.train_step(*batches()[i % STEPS]) for i in range(9)]
    acted = [i for i, step in enumerate(found) if step.rewired is not None]
    assert acted == [4, 8] and t.rewirings == 2
    assert sum(found[4].rewired.grown.values()) == sum(found[4].rewired.removed.values()) > 0


def test_epochs_are_those_that_were_ended():
    t = build("set")
    for _ in range(20):
        t.train_step(*batches()[0])
    assert t.rewirings == 0  # no epoch has ended yet
    t.end_epoch()
    assert t.train_step(*batches()[0]).rewired is not None
    assert t.train_step(*batches()[0]).rewired is None


def test_fit_and_steps_take_turns():
    """A step after `fit` begins an epoch, as another `fit` would."""
    whole, t = build("set"), build("set")
    for each in (whole, t):
        each.fit(X, Y, epochs=2, batch_size=BATCH, verbose=0)
    whole.fit(X, Y, batch_size=BATCH, shuffle=False, verbose=0)
    for x, y in batches():
        t.train_step(x, y)
    t.end_epoch()
    for each in (whole, t):
        each.fit(X, Y, batch_size=BATCH, verbose=0)
    assert bits(t) == bits(whole)


def test_a_run_that_grows_beyond_an_own_loop_says_so():
    """Epochs of the loop are part of the run that fractions count by."""
    t = build("importance", horizon=2, steps_per_epoch=STEPS)
    for _ in range(2):
        for x, y in batches():
            t.train_step(x, y)
        t.end_epoch()
    t.horizon = None
    with pytest.warns(UserWarning, match="a fraction of the run, which was 2 epochs long and now is 3"):
        t.fit(X, Y, batch_size=BATCH, verbose=0)


def test_the_end_of_a_run_may_remove():
    whole = build(rewired := "set")
    whole.rewiring = rw.SET(0.3, last_epoch="remove")
    whole.fit(X, Y, epochs=2, batch_size=BATCH, shuffle=False, verbose=0)
    t = build(rewired)
    t.rewiring = rw.SET(0.3, last_epoch="remove")
    for last in (False, True):
        for x, y in batches():
            t.train_step(x, y)
        t.end_epoch(last=last)
    assert bits(t) == bits(whole) and t.network.nnz < build().network.nnz


# --- accumulation -------------------------------------------------------------------------


def close(a, b, dtype):
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(a, b, rtol=0, atol=200 * eps * np.abs(b).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_parts_of_a_batch_are_the_batch(optimizer, dtype):
    whole, parts = (build("set, steps", optimizer, 0.0, dtype) for _ in range(2))
    for _ in range(6):
        whole.train_step(X, Y)
        parts.rewire_if_due()
        for first in range(0, len(X), 40):
            x, y = X[first : first + 40], Y[first : first + 40]
            parts.gradients(x, y, scale=len(x) / len(X), first_sample=first)
        parts.apply()
    assert whole.rewirings == parts.rewirings == 1 and parts.step == 6
    close(weights(parts), weights(whole), dtype)
    rows = [t.end_epoch() for t in (whole, parts)]
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-5)
    assert rows[0]["accuracy"] == rows[1]["accuracy"]


@pytest.mark.skipif(
    "first_sample" not in inspect.signature(_core.dropout).parameters,
    reason="the core's dropout does not know a first sample",
)
def test_parts_have_the_dropout_masks_of_the_whole():
    whole, parts = build(dropout=0.5, dtype="float64"), build(dropout=0.5, dtype="float64")
    whole.gradients(X, Y)
    for first in range(0, len(X), 32):
        x, y = X[first : first + 32], Y[first : first + 32]
        parts.gradients(x, y, scale=len(x) / len(X), first_sample=first)
    close(*(t.network.get_vector("gradient") for t in (parts, whole)), "float64")


def test_a_pass_by_hand_has_the_masks_of_its_samples_and_leaves_the_next_alone():
    whole, parts, again = (build(dropout=0.5, dtype="float64") for _ in range(3))
    z = whole.forward(X)
    for first in range(0, len(X), 32):
        part = parts.forward(X[first : first + 32], first_sample=first)
        close(part, z[first : first + 32], "float64")
    for t in (whole, parts):
        t.zero_gradients()
        t.train_step(X, Y)
    again.train_step(X, Y)
    assert np.array_equal(weights(parts), weights(again)) and np.array_equal(weights(whole), weights(again))


class Shift(ArrayLayer, Elementwise):
    """x + shift; while it is frozen it hands over no gradient."""

    frozen = False

    def connect(self, n_in):
        super().connect(n_in)
        self.shift = DenseParameter(n_in)

    def outputs(self, x, p):
        return x + self.shift.values

    def gradients(self, dy, p):
        return dy, {"shift": dy.sum(axis=0)}

    def backward(self, dy, x, p, need_dx):
        return dy if self.frozen else super().backward(dy, x, p, need_dx)


@pytest.mark.parametrize("optimizer", ["sgd", "numpy"])
def test_what_hands_over_no_gradient_has_none(optimizer):
    layer = Shift()
    net = rw.Sequential([rw.Sparse(8, 12), layer, rw.Sparse(12, 3, activation="softmax")])
    t = rw.Trainer(net, loss="cross_entropy", optimizer=OPTIMIZERS[optimizer]())
    t.gradients(X, Y)
    assert layer.shift.read("gradient").all()
    t.apply()
    before = layer.shift.read()
    layer.frozen = True
    t.gradients(X, Y)
    assert not layer.shift.read("gradient").any() and net.get_vector("gradient").any()
    t.apply()
    assert np.array_equal(layer.shift.read(), before) and before.any()


def test_a_factor_when_applied_is_a_factor_on_each():
    one, other = build(optimizer="adam, clipped", dropout=0.0), build(optimizer="adam, clipped", dropout=0.0)
    for x, y in batches(size=45):
        one.gradients(x, y, scale=0.5)
        other.gradients(x, y)
    one.apply()
    other.apply(scale=0.5)  # a power of two
    assert np.array_equal(weights(one), weights(other))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_workers_that_average_their_gradients(optimizer):
    """Two trainers, each with half of every batch, and the mean of their gradients."""
    whole = build(optimizer=optimizer, dropout=0.0, dtype="float64")
    workers = [build(optimizer=optimizer, dropout=0.0, dtype="float64") for _ in range(2)]
    for i in range(4):
        order = np.random.default_rng(i).permutation(len(X))
        whole.train_step(X[order], Y[order])
        halves = np.split(order, 2)
        for worker, rows in zip(workers, halves, strict=True):
            worker.gradients(X[rows], Y[rows])
        mean = np.mean([w.network.get_vector("gradient") for w in workers], axis=0)
        workers[0].network.set_vector(mean, "gradient")
        workers[0].apply()
        workers[1].apply(gradient=mean)
    assert np.array_equal(weights(workers[0]), weights(workers[1]))
    close(weights(workers[0]), weights(whole), "float64")


def test_a_worker_without_samples_takes_the_others_gradient():
    one, other = build(dropout=0.0), build(dropout=0.0)
    one.gradients(X, Y)
    other.apply(gradient=one.network.get_vector("gradient"))
    one.apply()
    assert np.array_equal(weights(one), weights(other)) and other.step == 1


# --- losses of one's own --------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "numpy"])
def test_a_loss_of_ones_own(optimizer):
    """Cross entropy from logits, in NumPy."""
    whole, t = (build(optimizer=optimizer, dropout=0.4, dtype="float64") for _ in range(2))
    for x, y in batches():
        whole.train_step(x, y)
        z = t.forward(x)
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        t.backward((p - np.eye(3)[y]) / len(x))
        t.apply()
    close(weights(t), weights(whole), "float64")
    row = t.end_epoch()
    assert "loss" not in row and row["lr"] == t.optimizer.lr and whole.end_epoch()["loss"] > 0


def test_two_losses_are_a_sum():
    """The gradient of a sum is the sum of gradients, whichever way each of them came."""
    y = np.random.default_rng(0).normal(size=(len(X), 3))

    def make():
        return rw.Trainer(network("linear", 3, dtype="float64"), loss="cross_entropy")

    t, one, two = make(), make(), make()
    t.gradients(X, Y)
    t.gradients(X, y, loss="mse", scale=0.25)
    z = t.forward(X)
    t.backward(np.sign(z), scale=1e-3)
    one.gradients(X, Y)
    two.gradients(X, y, loss=rw.MSE(), scale=0.25)
    z = two.forward(X)
    two.backward(np.sign(z) * 1e-3)
    vectors = [each.network.get_vector("gradient") for each in (t, one, two)]
    close(vectors[0], vectors[1] + vectors[2], "float64")
    t.apply()
    assert t.end_epoch()["loss"] == pytest.approx(one.evaluate(X, Y)["loss"])  # the trainer's loss alone


def test_another_loss_has_another_last_layer():
    """Binary cross entropy leaves the sigmoid out, a squared error does not."""
    t = rw.Trainer(network("sigmoid", 1, dtype="float64"), loss="binary_cross_entropy")
    y = (Y == 1).astype(float)
    t.gradients(X, y, loss="mse")
    mse = t.network.get_vector("gradient")
    other = rw.Trainer(network("sigmoid", 1, dtype="float64"), loss="mse")
    other.gradients(X, y)
    assert np.array_equal(mse, other.network.get_vector("gradient"))
    t.zero_gradients()
    t.gradients(X, y)
    bce = t.network.get_vector("gradient")
    assert not np.allclose(bce, mse)
    z = t.forward(X)
    t.zero_gradients()
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        t.backward(z)
    z = t.forward(X)
    t.backward((1 / (1 + np.exp(-z)) - y[:, None]) / len(X))
    close(t.network.get_vector("gradient"), bce, "float64")


def test_augmentation_in_a_loop():
    t = build(optimizer="adam, clipped", dropout=0.0)
    rng = np.random.default_rng(0)
    first = t.evaluate(X, Y)["loss"]
    for _ in range(20):
        for x, y in batches():
            t.train_step(x + rng.normal(scale=0.1, size=x.shape), y)
        t.end_epoch(val_loss=t.evaluate(X, Y)["loss"])
    assert t.history["val_loss"][-1] < 0.5 * first


# --- the place in an epoch ------------------------------------------------------------------


@pytest.mark.parametrize("how", ["file", "pickle"])
@pytest.mark.parametrize("rule", ["set", "rigl", "mest", "deepr"])
def test_a_loop_goes_on_in_the_middle(rule, how, tmp_path):
    whole = build(rule, "adam, clipped", horizon=3, steps_per_epoch=STEPS)
    t = build(rule, "adam, clipped", horizon=3, steps_per_epoch=STEPS)
    for epoch in range(3):
        for i, (x, y) in enumerate(batches()):
            whole.train_step(x, y)
            if (epoch, i) == (1, 3):
                if how == "pickle":
                    t = pickle.loads(pickle.dumps(t))
                else:
                    t.save(tmp_path / "half.st")
                    t = rw.Trainer.resume(tmp_path / "half.st")
                assert t.step_in_epoch == 3 and t.unfinished.done == 3 * BATCH
            t.train_step(x, y)
        for each in (whole, t):
            each.end_epoch()
        assert t.step_in_epoch == 0
    assert bits(t) == bits(whole)


def test_a_rewiring_before_a_save_is_not_made_twice(tmp_path):
    whole, t = build("set, steps"), build("set, steps")
    for i in range(4):
        for each in (whole, t):
            each.train_step(*batches()[i])
    assert t.rewire_if_due() is not None
    t.save(tmp_path / "t.st")
    t = rw.Trainer.resume(tmp_path / "t.st")
    assert t.rewire_if_due() is None
    for each in (whole, t):
        each.train_step(*batches()[4])
    assert bits(t) == bits(whole)


def test_gradients_that_wait_are_not_saved(tmp_path):
    t = build()
    t.gradients(X, Y)
    for attempt in (
        lambda: t.save(tmp_path / "t.st"), lambda: pickle.dumps(t), lambda: t.fit(X, Y, verbose=0),
        lambda: t.train_step(X, Y), lambda: t.rewire_if_due(), lambda: t.end_epoch(),
        lambda: t.learn_inputs(X),
    ):  # fmt: skip
        was = t.network.get_vector("gradient")
        with pytest.raises(RuntimeError, match="cannot run while gradients wait for the optimizer"):
            attempt()
        assert np.array_equal(t.network.get_vector("gradient"), was)
    assert not (tmp_path / "t.st").exists()
    t.network.save(tmp_path / "n.st")  # weights alone can be saved
    t.zero_gradients()
    t.save(tmp_path / "t.st")
    t.gradients(X, Y)
    t.apply()
    t.save(tmp_path / "t.st")


def test_forged_places_of_own_loops_are_refused():
    t = build()
    t.train_step(*batches()[0])
    config = json.loads(json.dumps(t.config()))
    assert rw.Trainer.from_config(config, t.arrays()).unfinished.in_own_loop
    for change in ({"n_samples": 90}, {"batch": 3}, {"shuffle": True}, {"done": -1}, {"weights": -1.0}):
        forged = json.loads(json.dumps(config))
        forged["state"]["unfinished"].update(change)
        with pytest.raises(ValueError):
            rw.Trainer.from_config(forged, t.arrays())


# --- what is refused, and changes nothing ---------------------------------------------------


def spoiled(what):
    bad = X.copy()
    bad[3, 2] = what
    return bad


REFUSED = {
    "nan": (lambda t: t.train_step(spoiled(np.nan), Y), ValueError, "X must be finite"),
    "rows": (lambda t: t.train_step(X, Y[1:]), ValueError, "X and y must have as many rows"),
    "labels": (lambda t: t.gradients(X, Y + 9), ValueError, "class labels in"),
    "no weight": (lambda t: t.train_step(X, Y, sample_weight=np.zeros(90)), ValueError, "positive sum"),
    "loss": (lambda t: t.gradients(X, Y, loss="mse"), ValueError, "loss 'mse' needs"),
    "scale": (lambda t: t.gradients(X, Y, scale=np.inf), ValueError, "scale must be a number"),
    "huge scale": (lambda t: t.gradients(X, Y, scale=1e300), ValueError, "scale must leave gradients, of up"),
    "first sample": (lambda t: t.gradients(X, Y, first_sample=-1), ValueError, "first_sample must be"),
    "factor": (lambda t: t.apply(scale=0), ValueError, "scale must be a number > 0"),
    "no gradients": (lambda t: t.apply(), RuntimeError, "apply needs gradients"),
    "gradient": (lambda t: t.apply(gradient=np.zeros(3)), ValueError, "gradient must have shape"),
    "no forward": (lambda t: t.backward(np.zeros((90, 3))), RuntimeError, "backward needs a forward"),
    "epoch": (lambda t: t.end_epoch(), RuntimeError, "end_epoch needs a step"),
}


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_call_changes_nothing(name, begun):
    call, kind, words = REFUSED[name]
    t = build("set", "adam, clipped")
    if begun:
        t.train_step(X, Y)
        t.end_epoch()
        t.rewire_if_due()
    was = bits(t)
    with pytest.raises(kind, match=words):
        call(t)
    assert bits(t) == was
    t.train_step(X, Y)


def test_dY_is_checked():
    t = build()
    t.forward(X)
    for bad, words in (
        (np.zeros((90, 2)), "dY must have 3 features"), (np.zeros((89, 3)), "dY must have 90 rows"),
        (np.full((90, 3), np.nan), "dY must be finite"), (np.full((90, 3), 1e200), "dY must lie within"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            t.backward(bad)
    t.backward(np.zeros((90, 3)))  # the forward pass still waits
    with pytest.raises(RuntimeError, match="backward needs a forward of its own"):
        t.backward(np.zeros((90, 3)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_factor_that_gradients_cannot_be_multiplied_by_is_refused(dtype):
    net = rw.Sequential([rw.Sparse(8, 3, fan_in=5, activation="softmax")], dtype=dtype)
    t = rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(1e-30))
    t.gradients(X, Y, scale=1e15)
    was, most = net.get_vector("gradient"), float(np.finfo(dtype).max)
    with pytest.raises(ValueError, match=rf"scale must leave gradients, .* within .*, the range of {dtype}"):
        t.apply(scale=most / 1e10)
    z = t.forward(X)
    with pytest.raises(ValueError, match="scale must leave gradients, of up to 3, within"):
        t.backward(np.full_like(z, -3), scale=-most / 2)
    np.testing.assert_array_equal(net.get_vector("gradient"), was)
    t.backward(np.zeros_like(z), scale=2)  # the forward pass still waits
    t.gradients(X, Y, scale=-1e15)
    np.testing.assert_allclose(net.get_vector("gradient"), 0, atol=1e10)
    t.apply(scale=1e10)


def test_a_step_that_diverges_changes_nothing():
    for clip in (None, 1.0):
        t = build()
        t.optimizer.clip_norm = clip
        t.train_step(X, Y)
        was = bits(t)
        huge = np.where(np.arange(8) == 3, np.float32(3e38), X)
        with np.errstate(all="raise"):
            for call in (t.train_step, t.gradients):
                with pytest.raises(rw.DivergenceError, match="layer 0"):
                    call(huge, Y)
                assert bits(t) == was
            with pytest.raises(rw.DivergenceError, match="layer 0"):
                t.forward(huge)
        assert bits(t) == was and t.network.gradients_of is None


def test_gradients_beyond_all_numbers_are_not_applied():
    t = build(optimizer="adam, clipped")
    t.train_step(X, Y)
    z = t.forward(X)
    t.backward(np.full(z.shape, 3e38))
    was = weights(t)
    for scale in (1.0, 0.5):
        with pytest.raises(rw.DivergenceError, match="gradient of norm"):
            t.apply(scale=scale)
        assert np.array_equal(weights(t), was) and t.step == 1
    t.zero_gradients()
    t.train_step(X, Y)


def test_end_epoch_finds_weights_that_are_not_finite():
    t = build()
    t.train_step(X, Y)
    t.network.layers[2].bias[0] = np.nan
    with pytest.raises(rw.DivergenceError, match="layer 2"):
        t.end_epoch()
    assert t.epoch == 0 and len(t.history) == 0


def test_figures_are_checked():
    t = build()
    t.train_step(X, Y)
    with pytest.raises(ValueError, match="names of their own, got 'loss'"):
        t.end_epoch(loss=3.0)
    with pytest.raises(TypeError, match="val_loss must be a number or null"):
        t.end_epoch(val_loss="low")
    assert t.epoch == 0 and t.unfinished.done == len(X)


def test_a_view_refuses_and_names_the_layer():
    t = build(optimizer="adam, clipped")
    t.train_step(X, Y)
    was = bits(t)
    with t.network.layers[2].store.view():
        for call in (t.train_step, t.gradients):
            with pytest.raises(BufferError, match=r"layer 2 .* cannot be trained"):
                call(X, Y)
    assert bits(t) == was
    t.gradients(X, Y)
    with t.network.layers[2].store.view(), pytest.raises(BufferError, match="layer 2"):
        t.apply()
    t.apply()
    assert t.step == 2


def test_a_rewiring_that_is_due_is_not_passed_over():
    t = build("set, steps")
    for i in range(4):
        t.train_step(*batches()[i])
    t.gradients(X, Y)
    was = weights(t)
    with pytest.raises(RuntimeError, match="a rewiring is due before step 5"):
        t.apply()
    assert np.array_equal(weights(t), was) and t.step == 4
    t.zero_gradients()
    t.rewire_if_due()
    t.gradients(X, Y)
    t.apply()
    assert t.step == 5 and t.rewirings == 1


def test_fractions_of_a_run_need_its_length():
    for options in ({}, {"horizon": 3}, {"steps_per_epoch": 6}):
        t = build("rigl", **options)
        with pytest.raises(ValueError, match=r"end=0.75 is a fraction of the run.*horizon=.*steps_per"):
            t.train_step(X, Y)
        assert t.step == 0 and t.unfinished is None
    for wrong in (0, 1.5, "6"):
        with pytest.raises((TypeError, ValueError), match="steps_per_epoch must be an integer"):
            build(steps_per_epoch=wrong)
    t = build()
    t.rewiring = rw.RigL(every=4, end=100, fraction=0.3)
    t.train_step(X, Y)  # no fraction of the run


def test_rules_that_look_at_gradients_need_the_batch():
    t = build("rigl", horizon=3, steps_per_epoch=STEPS)
    for i in range(4):
        t.train_step(*batches()[i])
    with pytest.raises(ValueError, match="'rigl' looks at gradients: give rewire_if_due the coming batch"):
        t.rewire_if_due()
    assert sum(t.rewire_if_due(*batches()[4]).grown.values()) > 0


def test_rules_that_look_at_several_batches():
    t = rw.Trainer(build().network, loss="cross_entropy", rewiring=rw.SNIP(0.3, step=1, batches=3))
    t.train_step(X, Y)
    with pytest.raises(ValueError, match=r"'snip' looks at 3 batches, and train_step has one"):
        t.train_step(X, Y)
    with pytest.raises(ValueError, match="of one size, the coming one first, got 89 samples"):
        t.rewire_if_due(X[:89], Y[:89])
    assert t.rewirings == 0
    assert sum(t.rewire_if_due(X, Y).removed.values()) > 0
    t.train_step(X[:30], Y[:30])
    assert t.rewirings == 1 and t.step == 2


def test_callbacks_belong_to_fit():
    t = build(callbacks=[rw.LinkLog()])
    with pytest.raises(ValueError, match="train_step tells no callbacks .* must be empty"):
        t.train_step(X, Y)
    t.callbacks = []
    t.train_step(X, Y)


def test_standardising_needs_the_training_set():
    whole, t = build(standardize=True), build(standardize=True)
    with pytest.raises(ValueError, match="train_step does not know the training set: call learn_inputs"):
        t.train_step(X, Y)
    whole.fit(X * 9 + 5, Y, batch_size=90, verbose=0)
    t.learn_inputs(X * 9 + 5)
    t.train_step(X * 9 + 5, Y)
    assert np.array_equal(weights(t), weights(whole))
    t.learn_inputs(normal(200, 8), sample_weight=np.ones(200))


@pytest.mark.parametrize("edit", ["links", "neurons", "rewired"])
def test_gradients_of_other_links_are_not_applied(edit):
    t = build("static")
    t.train_step(X, Y)
    t.gradients(X, Y)
    if edit == "links":
        store = t.network.layers[2].store
        rows, cols, _ = store.to_arrays()
        store.remove(rows[:2], cols[:2])
    elif edit == "neurons":
        rw.remove_neurons(t.network, {0: [0, 1, 2, 3]})
    else:
        other = rw.Trainer(t.network, loss="cross_entropy", rewiring=rw.SET(every=rw.Steps(1)))
        other.fit(X, Y, epochs=3, batch_size=45, verbose=0)
    for call in (lambda: t.gradients(X, Y), t.apply):
        with pytest.raises(RuntimeError, match="call zero_gradients"):
            call()
    t.zero_gradients()
    t.train_step(X, Y)


def test_another_optimizer_does_not_take_gradients_that_wait():
    t = build()
    t.gradients(X, Y)
    t.optimizer = rw.Adam(0.01)
    with pytest.raises(RuntimeError, match="another optimizer, rule or network"):
        t.apply()
    t.zero_gradients()
    t.gradients(X, Y)
    t.apply()
    assert t.state.optimizer_step == 1 and "adam_m" in t.network.layers[0].store.fields


# --- failures in the middle, signals, threads -----------------------------------------------


class Mishap(Exception):
    pass


def test_a_rule_that_raises_leaves_no_trace():
    class Raises(rw.SET):
        def committed(self, layers, context):
            raise Mishap

    t = build()
    t.rewiring = Raises(0.3, every=rw.Steps(2))
    for _ in range(2):
        t.train_step(X, Y)
    arrays = {name: a.tobytes() for name, a in t.arrays().items()}
    for call in (lambda: t.rewire_if_due(), lambda: t.train_step(X, Y)):
        with pytest.raises(Mishap):
            call()
        assert {name: a.tobytes() for name, a in t.arrays().items()} == arrays
        assert (t.step, t.rewirings, t.unfinished.rewired) == (2, 0, False)
    t.rewiring = rw.SET(0.3, every=rw.Steps(2))
    assert t.train_step(X, Y).rewired is not None


class Fails(Plain):
    """Raises in the middle of the third step."""

    calls = []

    def step(self, *arguments, **options):
        self.calls.append(1)
        if len(self.calls) == 14:
            raise Mishap
        super().step(*arguments, **options)


def test_a_step_of_an_own_optimizer_that_fails_in_the_middle_is_undone():
    t = build()
    t.optimizer = Fails()
    for _ in range(2):
        t.train_step(X, Y)
    was = weights(t)
    with pytest.raises(Mishap):
        t.train_step(X, Y)
    assert t.unfinished.first_step == 0 and t.step == 2 and np.array_equal(weights(t), was)
    t.network.validate()
    t.train_step(X, Y)
    assert t.step_in_epoch == 3


def test_gradients_are_given_up_where_an_own_optimizer_fails():
    t = build()
    t.optimizer = Fails()
    t.optimizer.calls = [1] * 8
    was = weights(t)
    t.gradients(X, Y)
    with pytest.raises(Mishap):
        t.apply(scale=0.5)
    assert t.step == 0 and np.array_equal(weights(t), was) and len(t.optimizer.calls) == 8
    with pytest.raises(RuntimeError, match="apply needs gradients"):
        t.apply()


def test_a_backward_pass_that_fails_leaves_no_gradients(monkeypatch):
    t = build()
    t.gradients(X, Y)
    was = weights(t)
    with monkeypatch.context() as patch:
        patch.setattr(rw.Dropout, "backward", lambda *a: (_ for _ in ()).throw(Mishap()))
        with pytest.raises(Mishap):
            t.gradients(X, Y)
    with pytest.raises(RuntimeError, match="apply needs gradients"):
        t.apply()
    assert np.array_equal(weights(t), was)
    t.train_step(X, Y)


def test_ctrl_c_waits_for_the_end_of_a_step():
    class Loss(rw.losses.CrossEntropy):
        def evaluate(self, *arguments):
            signal.raise_signal(signal.SIGINT)
            return super().evaluate(*arguments)

    whole, t = build(), build()
    whole.train_step(X, Y)
    t.loss = Loss()
    with pytest.raises(KeyboardInterrupt):
        t.train_step(X, Y)
    assert t.step == 1 and np.array_equal(weights(t), weights(whole)) and t.unfinished.done == len(X)
    with pytest.raises(KeyboardInterrupt):
        t.gradients(X, Y)
    whole.gradients(X, Y)
    assert np.array_equal(*(each.network.get_vector("gradient") for each in (t, whole)))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_at_a_time():
    inside, go = threading.Event(), threading.Event()

    class Loss(rw.losses.CrossEntropy):
        def evaluate(self, *arguments):
            inside.set()
            assert go.wait(60)
            return super().evaluate(*arguments)

    t = build()
    t.loss = Loss()
    thread = threading.Thread(target=t.train_step, args=(X, Y))
    thread.start()
    try:
        assert inside.wait(60)
        for call in (
            lambda: t.train_step(X, Y), lambda: t.gradients(X, Y), lambda: t.forward(X), t.apply,
            t.zero_gradients, t.rewire_if_due, t.end_epoch, lambda: t.network.predict(X),
        ):  # fmt: skip
            with pytest.raises(RuntimeError, match="cannot run while train_step runs on this network"):
                call()
    finally:
        go.set()
        thread.join()
    assert t.step == 1
    t.train_step(X, Y)  # in the main thread, after another one


def test_steps_do_not_keep_a_trainer_alive():
    t = build("set")
    t.train_step(X, Y)
    t.gradients(X, Y)
    seen = weakref.ref(t.network)
    gc.disable()
    try:
        del t
        assert seen() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "refused",
    [
        lambda t: t.apply(),
        lambda t: t.end_epoch(),
        lambda t: t.backward(np.zeros((BATCH, 3))),
        lambda t: t.train_step(1e300 * X.astype(float), Y),
        lambda t: t.forward(1e300 * X.astype(float)),
    ],
)
def test_a_refused_step_leaves_the_state_of_another_trainer(refused):
    net = network()
    first = rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.1, momentum=0.9))
    other = rw.Trainer(net, loss="cross_entropy", optimizer=rw.Adam(0.01))
    first.train_step(X, Y)
    was = first.arrays()
    with pytest.raises((RuntimeError, ValueError)):
        refused(other)
    now = first.arrays()
    assert first.owns_state() and now.keys() == was.keys() and "layers.0.weight.field.momentum" in now
    for name, values in was.items():
        np.testing.assert_array_equal(now[name], values, err_msg=name)
    other.train_step(X, Y)
    assert other.owns_state()


def test_another_trainer_may_take_the_network_over():
    one = build()
    one.gradients(X, Y)
    other = rw.Trainer(one.network, loss="cross_entropy", optimizer=rw.SGD(0.1, clip_norm=1.0))
    other.train_step(X, Y)
    with pytest.raises(RuntimeError, match="another trainer has used this network"):
        one.gradients(X, Y)
    one.zero_gradients()
    one.train_step(X, Y)
