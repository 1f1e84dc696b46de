"""Optimizers against their formulas in NumPy, clipping, schedules."""

import copy
import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import rewire as rw
from outside import registered
from outside.lion import Lion
from rewire.parameters import Field

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 5)), RNG.normal(size=(24, 3))
EPOCHS = 4


class Reference:
    """One linear layer y = W x + b under MSE, full batch, dense NumPy: obviously correct and slow."""

    def __init__(self, W, b, mask):
        self.W, self.b, self.mask = W.copy(), b.copy(), mask
        self.state = [[np.zeros_like(p), np.zeros_like(p)] for p in (self.W, self.b)]

    def gradients(self):
        error = X @ self.W.T + self.b - Y
        scale = 2.0 / error.size
        return scale * error.T @ X * self.mask, scale * error.sum(axis=0)

    def step(self, t, rule):
        for i, (p, g) in enumerate(zip((self.W, self.b), self.gradients(), strict=True)):
            rule(t, p, g, self.state[i], decays=i == 0)
        self.W *= self.mask


def sgd(lr, momentum=0.0, nesterov=False, weight_decay=0.0, decay="l2"):
    def rule(t, p, g, state, decays):
        wd = weight_decay if decays else 0.0
        old = p.copy()
        if decay == "l2":
            g = g + wd * p
        state[0][...] = momentum * state[0] + g
        p -= lr * (g + momentum * state[0] if nesterov else state[0])
        if decay == "decoupled":
            p -= lr * wd * old
        elif decay == "per_step":
            p -= wd * old

    return rule


def adam(lr, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0, decoupled=False):
    def rule(t, p, g, state, decays):
        wd = weight_decay if decays else 0.0
        old = p.copy()
        if not decoupled:
            g = g + wd * p
        m, v = state
        m[...] = b1 * m + (1 - b1) * g
        v[...] = b2 * v + (1 - b2) * g * g
        p -= lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        if decoupled:
            p -= lr * wd * old

    return rule


CASES = {
    "plain": (rw.SGD(0.1), sgd(0.1)),
    "momentum": (rw.SGD(0.1, momentum=0.9), sgd(0.1, 0.9)),
    "nesterov": (rw.SGD(0.1, momentum=0.9, nesterov=True), sgd(0.1, 0.9, True)),
    **{
        f"decay {d} momentum {m}": (
            rw.SGD(0.1, momentum=m, weight_decay=0.05, decay=d),
            sgd(0.1, m, False, 0.05, d),
        )
        for d in ("l2", "decoupled", "per_step")
        for m in (0.0, 0.9)
    },
    "adam": (rw.Adam(0.05), adam(0.05)),
    "adam l2": (rw.Adam(0.05, betas=(0.8, 0.95), weight_decay=0.1), adam(0.05, 0.8, 0.95, weight_decay=0.1)),
    "adamw": (rw.AdamW(0.05, weight_decay=0.1), adam(0.05, weight_decay=0.1, decoupled=True)),
}


def network(kind, dtype="float64"):
    layer = (
        rw.Dense(5, 3)
        if kind == "dense"
        else rw.Sparse(5, 3, density=0.6, group=4 if kind == "group4" else 1)
    )
    return rw.Sequential([layer], dtype=dtype)


def dense(layer):
    if isinstance(layer, rw.Dense):
        return layer.weights.copy(), np.ones(layer.weights.shape, bool)
    W, mask = np.zeros((layer.n_out, layer.n_in)), np.zeros((layer.n_out, layer.n_in), bool)
    store, values = layer.store, layer.store.get_field("weight")
    groups = np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))
    for k, (g, j) in enumerate(zip(groups, store.sources(), strict=True)):
        for r in range(min(store.group, store.n_out - g * store.group)):
            W[g * store.group + r, j], mask[g * store.group + r, j] = values[k, r], True
    return W, mask


@pytest.mark.parametrize("kind", ["sparse", "group4", "dense"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("clip", [None, 1e9], ids=["fused", "in halves"])
def test_against_numpy(kind, case, clip):
    optimizer, rule = CASES[case]
    optimizer = rw.optim.optimizer({**optimizer.config(), "clip_norm": clip})
    net = network(kind)
    reference = Reference(*dense(net.layers[0])[:1], net.layers[0].bias, dense(net.layers[0])[1])
    trainer = rw.Trainer(net, loss="mse", optimizer=optimizer)
    trainer.fit(X, Y, epochs=EPOCHS, batch_size=len(X), shuffle=False, verbose=0)
    for t in range(1, EPOCHS + 1):
        reference.step(t, rule)
    W, mask = dense(net.layers[0])
    assert np.array_equal(mask, reference.mask)
    np.testing.assert_allclose(W, reference.W, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(net.layers[0].bias, reference.b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["sparse", "group4", "dense"])
@pytest.mark.parametrize("case", CASES)
def test_clipping_that_does_nothing_changes_no_bit(kind, case):
    optimizer, _ = CASES[case]
    found = []
    for clip in (None, 1e9):
        net = network(kind, "float32")
        trainer = rw.Trainer(
            net, loss="mse", optimizer=rw.optim.optimizer({**optimizer.config(), "clip_norm": clip})
        )
        trainer.fit(X, Y, epochs=EPOCHS, batch_size=5, verbose=0)
        found.append(net.arrays(None))
    assert found[0].keys() == found[1].keys()
    for name in found[0]:
        assert np.array_equal(found[0][name], found[1][name]), name


@pytest.mark.parametrize("kind", ["sparse", "group4", "dense"])
def test_clipping_limits_the_joint_norm(kind):
    net = network(kind)
    (W, mask), b = dense(net.layers[0]), net.layers[0].bias.copy()
    gW, gb = Reference(W, b, mask).gradients()
    norm = math.sqrt((gW**2).sum() + (gb**2).sum())
    trainer = rw.Trainer(net, loss="mse", optimizer=rw.SGD(1.0, clip_norm=norm / 3))
    trainer.fit(X, Y, batch_size=len(X), shuffle=False, verbose=0)
    np.testing.assert_allclose(dense(net.layers[0])[0], W - gW / 3, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(net.layers[0].bias, b - gb / 3, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["sparse", "group4", "dense"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
@settings(max_examples=10)
def test_gradients_of_every_size_are_clipped(kind, dtype, data):
    """Also where their squares, or the factor by itself, are out of range, and NumPy is told to raise."""
    most, less = (110, 50) if dtype == "float32" else (1000, 480)
    of_y = data.draw(st.integers(-most, less))
    of_x = data.draw(st.integers(max(-most, -most - of_y), min(most, most - of_y)))
    layer = network(kind).layers[0].config() | {"init": 0.0}
    net = rw.Sequential([type(network(kind).layers[0]).from_config(layer)], dtype=dtype)
    (W, mask), b = dense(net.layers[0]), net.layers[0].bias
    gW, gb = Reference(W, b, mask).gradients()  # at zero weights both are linear in X and in Y
    top = max(of_x, 0)
    gW, gb = np.ldexp(gW, of_x - top), np.ldexp(gb, -top)
    norm = math.sqrt((gW**2).sum() + (gb**2).sum())  # of gradients without 2 ** (of_y + top)
    ratio = 2.0 ** -data.draw(st.integers(1, 150))
    limit = float(np.ldexp(norm * ratio, of_y + top))
    tiny = 2 * float(np.finfo(dtype).tiny)  # below it threads may take numbers for zero
    assume(tiny < limit < np.inf)
    trainer = rw.Trainer(net, loss="mse", optimizer=rw.SGD(1.0, clip_norm=limit))
    with np.errstate(all="raise"):
        trainer.fit(np.ldexp(X, of_x), np.ldexp(Y, of_y), batch_size=len(X), shuffle=False, verbose=0)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    for found, expected in ((dense(net.layers[0])[0], -gW), (net.layers[0].bias, -gb)):
        step = np.ldexp(expected * ratio, of_y + top)
        np.testing.assert_allclose(found, step, rtol=rtol, atol=max(limit * rtol, tiny))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_infinite_gradient_is_no_large_one(dtype):
    net = rw.Sequential([rw.Sparse(1, 1, density=1.0, init=0.0)], dtype=dtype)
    trainer = rw.Trainer(net, loss="mse", optimizer=rw.SGD(1.0, clip_norm=1.0))
    large = 2.0 ** (120 if dtype == "float32" else 1000)
    with pytest.raises(rw.DivergenceError, match="a gradient of norm inf"):
        trainer.fit([[large]], [[math.sqrt(large)]], verbose=0)


def test_gradient_memory_is_given_back():
    net = network("sparse")
    trainer = rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.1, clip_norm=1.0))
    trainer.fit(X, Y, verbose=0)
    assert "gradient" not in net.layers[0].store.fields


@pytest.mark.parametrize("kind", ["sparse", "group4", "dense"])
@pytest.mark.parametrize(
    "optimizer",
    [
        rw.SGD(0.1, momentum=0.9),
        rw.SGD(0.1, clip_norm=1e9, weight_decay=0.05),
        rw.AdamW(0.05, weight_decay=0.1),
        Lion(0.05, weight_decay=0.1),
    ],
    ids=["fused", "kept", "adamw", "numpy"],
)
def test_a_parameter_has_its_factor_on_the_rate(kind, optimizer):
    """A first step is as many times as long, and that of other parameters as long as ever."""
    moved = []
    for rates in ((1.0, 1.0), (0.25, 2.0), (1.0, 3.0)):
        net = network(kind)
        for parameter, rate in zip(net.parameters().values(), rates, strict=True):
            parameter.rate = rate
        before = [parameter.read() for parameter in net.parameters().values()]
        rw.Trainer(net, loss="mse", optimizer=optimizer).fit(X, Y, batch_size=len(X), verbose=0)
        steps = [q.read() - old for q, old in zip(net.parameters().values(), before, strict=True)]
        assert all(step.any() for step in steps)
        moved.append([step / rate for step, rate in zip(steps, rates, strict=True)])
    for each in moved[1:]:
        for found, expected in zip(each, moved[0], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-9)


class Drift(rw.optim.Optimizer):
    """In NumPy: every value goes up, whatever its gradient, as much as its field says."""

    name = "drift"
    fields = {"pace": Field(birth=0.5)}

    def step(self, values, gradient, fields, *, rate, decay, count):
        values += fields["pace"]
        fields["pace"] += 1


def test_fields_begin_with_their_birth_value_and_missing_rows_stay_zero():
    net = network("group4")  # three rows in a group of four
    before = [parameter.read() for parameter in net.parameters().values()]
    trainer = rw.Trainer(net, loss="mse", optimizer=Drift(0.1))
    trainer.fit(X, Y, epochs=2, batch_size=len(X), verbose=0)
    for parameter, old in zip(net.parameters().values(), before, strict=True):
        np.testing.assert_allclose(parameter.read() - old, 0.5 + 1.5)
        assert (parameter.read("pace") == 2.5).all()
    core = net.sparse_parameters[0].core
    assert not core.get_field("weight")[:, 3].any() and not core.get_field("pace")[:, 3].any()
    net.validate()


def test_newborn_links_of_adam_are_corrected_by_their_own_age():
    """A link that comes after some steps moves as in a first step: by lr, whatever its gradient."""
    net = network("sparse")
    trainer = rw.Trainer(net, loss="mse", optimizer=rw.Adam(0.01))
    trainer.fit(X, Y, epochs=7, batch_size=len(X), verbose=0)
    store = net.layers[0].store
    row, column = np.argwhere(~dense(net.layers[0])[1])[0]
    store.insert(row, column, 0.0)
    assert set(np.unique(store.get_field("birth_step"))) == {1, 8}
    trainer.fit(X, Y, epochs=1, batch_size=len(X), verbose=0)
    assert abs(dense(net.layers[0])[0][row, column]) == pytest.approx(0.01, rel=1e-4)


def test_another_trainer_starts_with_fresh_state():
    net = network("sparse")
    first = rw.Trainer(net, loss="mse", optimizer=rw.Adam(0.01))
    first.fit(X, Y, verbose=0)
    second = rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.1, momentum=0.9))
    second.fit(X, Y, verbose=0)
    assert set(net.layers[0].store.fields) == {"weight", "momentum"}
    assert set(net.parameters()["layers.0.bias"].state) == {"momentum"}
    first.fit(X, Y, verbose=0)  # its own is gone: fresh again
    assert set(net.layers[0].store.fields) == {"weight", "adam_m", "adam_v", "birth_step"}
    assert first.state.optimizer_step == 1


def test_another_trainers_state_of_the_same_kind_is_not_gone_on_with():
    net = network("sparse")
    first, second = (rw.Trainer(net, loss="mse", optimizer=rw.Adam(0.01)) for _ in range(2))
    for each in (first, second, first):
        each.fit(X, Y, batch_size=len(X), verbose=0)
    assert (first.step, first.state.optimizer_step) == (2, 1)
    assert not second.owns_state()


def test_another_optimizer_starts_with_fresh_state():
    trainer = rw.Trainer(network("sparse"), loss="mse", optimizer=rw.SGD(0.1, momentum=0.9))
    trainer.fit(X, Y, verbose=0)
    trainer.optimizer = rw.SGD(0.01, momentum=0.5)  # keeps the same
    trainer.fit(X, Y, verbose=0)
    assert trainer.state.optimizer_step == 2
    trainer.optimizer = rw.Adam(0.01)
    assert trainer.config()["state"]["optimizer_step"] == 0
    trainer.fit(X, Y, verbose=0)
    assert set(trainer.network.layers[0].store.fields) == {"weight", "adam_m", "adam_v", "birth_step"}
    assert (trainer.step, trainer.state.optimizer_step) == (3, 1)


def test_state_that_was_taken_half_way_is_given_back(monkeypatch):
    net = network("sparse")
    first = rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.1, momentum=0.9))
    first.fit(X, Y, verbose=0)

    def no_memory(optimizer):
        raise MemoryError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(net.layers[-1].weight, "prepare", no_memory)
        with pytest.raises(MemoryError, match="no memory"):
            rw.Trainer(net, loss="mse", optimizer=rw.Adam(0.01)).fit(X, Y, verbose=0)
    first.fit(X, Y, verbose=0)
    assert first.state.optimizer_step == 2
    assert set(net.layers[0].store.fields) == {"weight", "momentum"}


# --- schedules --------------------------------------------------------------------------


def test_constant():
    assert rw.Constant(0.5).factor(7, 1000) == 0.5


def test_step():
    s = rw.Step(every=3, gamma=0.1)
    assert [s.factor(e, 99) for e in range(7)] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01])
    assert rw.Step(every=3, gamma=0.1, unit="step").factor(99, 4) == pytest.approx(0.1)


def test_cosine():
    s = rw.Cosine(length=4, floor=0.2)
    assert [s.factor(e, 0) for e in (0, 2, 4, 9)] == pytest.approx([1, 0.6, 0.2, 0.2])
    w = rw.Warmup(4, length=3)
    assert [w.factor(e, 9) for e in range(5)] == pytest.approx([1, 2, 3, 4, 4])
    assert rw.Warmup(4, length=3, unit="step").factor(9, 1) == 2
    w = rw.Warmup(3, length=4, unit="step", decay=rw.Cosine(2))
    assert [w.factor(e, 4 * e) for e in range(3)] == pytest.approx([1, 1.5, 0])
    assert w.factor(0, 2) == 2
    assert rw.Warmup(3, 1, decay={"name": "constant", "value": 0.5}).factor(1, 0) == 1.5
    w = rw.Cosine(length=4, warmup=3)
    assert [w.factor(e, 0) for e in (0, 1, 2, 3)] == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_schedule_moves_the_rate_and_goes_on_in_the_next_call():
    net = network("sparse")
    trainer = rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.1, schedule=rw.Step(every=2, gamma=0.5)))
    trainer.fit(X, Y, epochs=3, verbose=0)
    trainer.fit(X, Y, epochs=2, verbose=0)
    assert trainer.history["lr"] == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025])


def test_a_schedule_counts_the_trainers_steps_not_those_of_the_state():
    trainer = rw.Trainer(network("sparse"), loss="mse", optimizer=rw.SGD(0.1, momentum=0.9))
    trainer.fit(X, Y, epochs=3, batch_size=len(X), verbose=0)
    trainer.optimizer = rw.Adam(1.0, schedule=rw.Step(1, gamma=0.5, unit="step"))
    assert [trainer.train_step(X, Y).lr for _ in range(3)] == [0.5**3, 0.5**4, 0.5**5]
    assert trainer.state.optimizer_step == 3


@pytest.mark.parametrize(
    "schedule",
    [
        rw.Constant(0.5), rw.Step(3, 0.2, "step"), rw.Cosine(5, 0.1, 2), rw.Warmup(4),
        rw.Warmup(4, decay=rw.Step(3)),
    ],
)  # fmt: skip
def test_schedules_survive_config(schedule):
    assert rw.schedules.schedule(schedule.config()) == schedule


@pytest.mark.parametrize("schedule", [rw.Step(np.int64(3)), rw.Cosine(np.int64(5), warmup=np.int16(2))])
def test_schedules_of_numpy_integers_can_be_saved(schedule):
    assert rw.schedules.schedule(json.loads(json.dumps(schedule.config()))) == schedule


@pytest.mark.parametrize("case", CASES)
def test_optimizers_survive_config(case):
    optimizer = CASES[case][0]
    twin = rw.optim.optimizer(optimizer.config())
    assert type(twin) is type(optimizer) and twin.config() == optimizer.config()


# --- constants that are changed between two steps -----------------------------------------

CHANGED = {
    "lr": (rw.SGD(0.05), 0.5),
    "momentum": (rw.SGD(0.05, momentum=0.9), 0.1),
    "momentum from none": (rw.SGD(0.05), 0.9),
    "nesterov": (rw.SGD(0.05, momentum=0.9), True),
    "weight_decay": (rw.SGD(0.05), 0.2),
    "decay": (rw.SGD(0.05, momentum=0.9, weight_decay=0.3), "per_step"),
    "clip_norm": (rw.SGD(0.05), 0.01),
    "betas": (rw.Adam(0.01), (0.5, 0.6)),
    "eps": (rw.Adam(0.01), 0.1),
}


@pytest.mark.parametrize("case", CHANGED)
def test_constants_may_be_changed_between_two_steps(case, tmp_path):
    """They count at once, and from a file as well."""
    given, value = CHANGED[case]

    def made():
        net = rw.Sequential([rw.Sparse(5, 3, density=0.8)], seed=0)
        return rw.Trainer(net, loss="mse", optimizer=rw.optim.optimizer(given.config()))

    plain, changed = made(), made()
    for t in (plain, changed):
        t.train_step(X, Y)
        t.train_step(X, Y)
    setattr(changed.optimizer, case.split()[0], value)
    changed.save(tmp_path / "t")
    resumed = rw.Trainer.resume(tmp_path / "t")
    for t in (plain, changed, resumed):
        t.train_step(X, Y)
        t.train_step(X, Y)
    np.testing.assert_array_equal(resumed.network.get_vector(), changed.network.get_vector())
    assert (plain.network.get_vector() != changed.network.get_vector()).any()


@pytest.mark.parametrize("clip", [False, True])
def test_a_callback_may_change_constants(clip, tmp_path):
    """In the middle of an epoch: what it saves goes on as the run does."""

    class Change(rw.Callback):
        def on_step_end(self, state):
            if state.step == 2:
                state.trainer.optimizer.momentum = 0.2
                state.trainer.optimizer.clip_norm = 0.01 if clip else None
                state.trainer.save(tmp_path / "t")

    net = rw.Sequential([rw.Sparse(5, 3, density=0.8)], seed=0)
    t = rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.05, momentum=0.9), callbacks=[Change()])
    t.fit(X, Y, epochs=1, batch_size=4, verbose=0)
    resumed = rw.Trainer.resume(tmp_path / "t")
    resumed.fit(X, Y, epochs=1, batch_size=4, verbose=0)
    np.testing.assert_array_equal(resumed.network.get_vector(), net.get_vector())


def test_fields_do_not_change_in_the_middle_of_fit():
    class Stop(rw.Callback):
        def on_step_end(self, state):
            state.trainer.optimizer.momentum = 0.0

    net = rw.Sequential([rw.Sparse(5, 3, density=0.8)], seed=0)
    t = rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.05, momentum=0.9), callbacks=[Stop()])
    with pytest.raises(RuntimeError, match="keeps other fields than in the step before"):
        t.fit(X, Y, epochs=1, batch_size=4, verbose=0)
    assert t.step == 0 and t.optimizer.momentum == 0.9


# --- wrong arguments --------------------------------------------------------------------


class Still(rw.Optimizer):
    """One without a step."""


class Hides(Lion):
    """One whose attribute hides a method."""

    def __init__(self):
        super().__init__()
        self.rate = 0.1


WRONG = [
    (lambda: rw.SGD(lr=0), ValueError, r"lr must be a number > 0, got 0"),
    (lambda: rw.SGD(lr="1"), TypeError, r"lr must be a number > 0, got '1'"),
    (lambda: rw.SGD(lr=float("nan")), ValueError, r"lr must be a number > 0, got nan"),
    (lambda: rw.SGD(momentum=1), ValueError, r"momentum must be a number in \[0, 1\), got 1"),
    (lambda: rw.SGD(nesterov=True), ValueError, r"nesterov needs momentum"),
    (lambda: rw.SGD(nesterov=1, momentum=0.9), TypeError, r"nesterov must be True or False, got 1"),
    (lambda: rw.SGD(weight_decay=-1), ValueError, r"weight_decay must be a number >= 0, got -1"),
    (lambda: rw.SGD(decay="l1"), ValueError, r"decay must be one of 'l2', 'decoupled', 'per_step', got 'l1'"),
    (lambda: rw.SGD(clip_norm=0), ValueError, r"clip_norm must be a number > 0, got 0"),
    (lambda: rw.SGD(schedule=0.5), TypeError, r"schedule must be one of 'const.* or None, got 0.5"),
    (lambda: rw.Adam(betas=0.9), TypeError, r"betas must be a pair of numbers, got 0.9"),
    (lambda: rw.Adam(betas=(0.9, 1.0)), ValueError, r"betas\[1\] must be a number in \[0, 1\), got 1.0"),
    (lambda: rw.Adam(eps=0), ValueError, r"eps must be a number > 0, got 0"),
    (lambda: rw.AdamW(weight_decay=None), TypeError, r"weight_decay must be a number >= 0, got None"),
    (lambda: rw.Constant(-1), ValueError, r"value must be a number >= 0, got -1"),
    (lambda: rw.Step(every=0), ValueError, r"every must be an integer >= 1, got 0"),
    (lambda: rw.Step(unit="batch"), ValueError, r"unit must be one of 'epoch', 'step', got 'batch'"),
    (lambda: rw.Warmup(0.0), ValueError, r"to must be a number > 0, got 0.0"),
    (lambda: rw.Cosine(length=1.5), TypeError, r"length must be an integer >= 1, got 1.5"),
    (lambda: rw.optim.optimizer("adamx"), ValueError, r"optimizer must be one of .* got 'adamx'"),
    (lambda: rw.optim.optimizer(3), TypeError, r"optimizer must be one of .* got 3"),
    (lambda: setattr(rw.SGD(), "lr", -1), ValueError, r"lr must be a number > 0, got -1"),
    (lambda: setattr(rw.Adam(), "betas", 0.9), TypeError, r"betas must be a pair of numbers, got 0.9"),
    (lambda: rw.optim.optimizer(Still(0.1)), TypeError, r"optimizer \(Still\) must define step\(\)"),
    (lambda: rw.optim.optimizer(Hides()), TypeError, r"attribute 'rate' must .* method; got 0.1"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_wrong_arguments(case):
    call, kind, words = WRONG[case]
    with pytest.raises(kind, match=words):
        call()


def test_a_constructor_that_no_file_could_call_is_refused_at_once():
    class Short(rw.Optimizer):
        name = "short-for-this-test"

        def __init__(self, lr=0.1):
            super().__init__(lr)

        def step(self, values, gradient, fields, *, rate, decay, count):
            values -= rate * gradient

    net = rw.Sequential([rw.Sparse(3, 2)])
    rw.Trainer(net, loss="mse", optimizer=Short())  # cannot be saved anyway
    with registered():
        rw.optim.register_optimizer(Short)
        words = r"optimizer \(Short\) could not be read .*says weight_decay, clip_norm, schedule, which its"
        with pytest.raises(TypeError, match=words):
            rw.Trainer(net, loss="mse", optimizer=Short())


def test_constants_that_were_changed_for_a_while_are_those_of_now():
    """What is kept between calls of fit is of the constants that are there when a call begins."""

    def trained(change):
        net = rw.Sequential([rw.Sparse(4, 6, density=1.0), rw.Sparse(6, 1, density=1.0)], seed=0)
        t = rw.Trainer(net, loss="mse", optimizer=rw.Adam(0.01))
        x = np.random.default_rng(0).normal(size=(8, 4))
        for call in range(4):
            if change:
                t.callbacks = [Betas((0.5, 0.6))] if call == 1 else []
                t.optimizer.betas = (0.9, 0.999)
            t.fit(x, x[:, :1], batch_size=8, epochs=1 if call != 1 else 2, verbose=0)
        return t

    class Betas(rw.Callback):
        def __init__(self, betas):
            self.betas = betas

        def on_epoch_end(self, state):
            state.trainer.optimizer.betas = self.betas if state.epoch == 2 else (0.9, 0.999)

    changed, plain = trained(True), trained(False)
    assert changed.optimizer.betas == plain.optimizer.betas == (0.9, 0.999)
    twin = rw.Trainer.from_config(changed.config(), changed.arrays())
    x = np.random.default_rng(1).normal(size=(8, 4))
    for t in (changed, twin):
        t.fit(x, x[:, :1], batch_size=8, verbose=0)
    assert changed.network.predict(x).tobytes() == twin.network.predict(x).tobytes()
    assert changed.network.predict(x).tobytes() != plain.network.predict(x).tobytes()


def _small_trainer(optimizer):
    net = rw.Sequential([rw.Sparse(4, 6, density=1.0), rw.Sparse(6, 1, density=1.0)], seed=0)
    return rw.Trainer(net, loss="mse", optimizer=optimizer)


def _learnt(t, change=lambda t: None):
    """Answers, to the bit, after two calls with a change in between."""
    x = np.random.default_rng(0).normal(size=(8, 4))
    t.fit(x, x[:, :1], batch_size=8, epochs=1, verbose=0)
    change(t)
    t.fit(x, x[:, :1], batch_size=8, epochs=3, verbose=0)
    return t.network.predict(x).tobytes()


def test_an_optimizer_may_give_one_dict_that_it_changes():
    class Own(rw.Adam):
        there = None

        def constants(self):
            self.there = super().constants() if self.there is None else self.there
            return self.there

    def set_beta(t, beta):
        if isinstance(t.optimizer, Own):
            t.optimizer.there["beta1"] = beta
        else:
            t.optimizer.betas = (beta, 0.999)

    class InACall(rw.Callback):
        def on_epoch_end(self, state):
            set_beta(state.trainer, 0.4 / state.epoch)

    def changed(t):
        set_beta(t, 0.1)

    def changed_twice(t):
        t.callbacks.append(InACall())

    for change in (changed, changed_twice):
        own, plain = (_learnt(_small_trainer(kind(0.01)), change) for kind in (Own, rw.Adam))
        assert own == plain != _learnt(_small_trainer(rw.Adam(0.01)))


def test_an_equal_optimizer_in_the_place_of_another_is_the_one_that_is_asked():
    class Betas(rw.Callback):
        def on_epoch_end(self, state):
            state.trainer.optimizer.betas = (0.1, 0.2)

    def alone(t):
        t.callbacks.append(Betas())

    def replaced(t):
        t.optimizer = copy.deepcopy(t.optimizer)
        alone(t)

    found = [_learnt(_small_trainer(rw.Adam(0.01)), change) for change in (alone, replaced)]
    assert found[0] == found[1]


def test_rates_of_before_are_forgotten():
    t = _small_trainer(rw.Adam(0.01))
    parameters = t.network.tree.parameters
    x = np.random.default_rng(0).normal(size=(8, 4))
    for call in range(20):
        next(iter(parameters.values())).rate = 1 + call / 100
        t.fit(x, x[:, :1], verbose=0)
        assert len(t.updates()) <= len(parameters)
