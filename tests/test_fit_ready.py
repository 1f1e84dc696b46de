"""A call of `fit` that takes over what the last one has found sees whatever has changed since."""

import copy
import gc
import weakref

import numpy as np
import pytest

import rewire as rw
from rewire._ready import Ready

X = np.random.default_rng(0).normal(size=(12, 5))
Y = X[:, :2] - X[:, 2:4]


def trainer_of(optimizer=None, rewiring="set", net=None, dense=False):
    layers = [rw.Sparse(5, 8, density=0.5), rw.Sparse(8, 2, density=0.6)]
    if dense:
        layers = [rw.Dense(5, 8), rw.Dense(8, 2)]
    net = rw.Sequential(layers, seed=3) if net is None else net
    return rw.Trainer(net, loss="mse", optimizer=optimizer or rw.Adam(0.01), rewiring=rewiring)


def drop_links_field(t):
    t.network.layers[0].weight.drop_field("adam_m")


def drop_bias_field(t):
    t.network.layers[1].bias_parameter.drop_field("adam_v")


def replace_bias_field(t):
    parameter = t.network.layers[1].bias_parameter
    parameter.state["adam_v"] = np.zeros(3)  # not of its shape


def field_of_another_kind(t):
    weight = t.network.layers[0].weight
    weight.drop_field("adam_v")
    weight.store._core.add_field("adam_v", "float64")


def another_optimizer(t):
    t.optimizer = rw.SGD(0.01, momentum=0.9)


def clip(t):
    t.optimizer.clip_norm = 0.1


def another_rule(t):
    t.rewiring = rw.rewiring.rewiring({"name": "deepr"})


def another_trainer(t):
    trainer_of(rw.SGD(0.01, momentum=0.5), net=t.network).fit(X, Y, epochs=1, verbose=0)


def shards(t):
    t.shards = 2


def other_weights(t):
    t.bring_back(*t.network_state(), t.state.optimizer_step)


def fresh_state(t):
    t.state.optimizer_step = 0


def state_of_other_fields(t):
    t.state.optimizer_fields = ("momentum",)


def fields_of_another_rule(t):
    t.state.rule_fields_of = "another"


def no_rule(t):
    t.rewiring = rw.rewiring.Static()


def rename_bias_field(t):
    state = t.network.layers[1].bias_parameter.state
    state["other"] = state.pop("adam_v")  # the last one: the values are those of before, in their order


def a_rule_of_an_own_loop(t):
    """Weights that follow a field are of the rule that says so."""
    rw.TopKAST().prepare(t.network.sparse_parameters, t.network)


CHANGES = [
    drop_links_field, drop_bias_field, replace_bias_field, rename_bias_field, field_of_another_kind,
    another_optimizer, clip, another_rule, no_rule, another_trainer, shards, other_weights, fresh_state,
    state_of_other_fields, fields_of_another_rule, a_rule_of_an_own_loop,
]  # fmt: skip


def learnt(change):
    t = trainer_of()
    for epoch in range(12):
        t.fit(X, Y, epochs=1, verbose=0)
        if epoch in (4, 7):
            change(t)
    found = {name: a.tobytes() for name, a in t.network.arrays().items()}
    return found | {"step": t.state.optimizer_step, "rule": t.state.rule_fields_of}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_between_two_calls_is_found(change, monkeypatch):
    found = learnt(change)
    monkeypatch.setattr(Ready, "holds", lambda *_: False)  # every call looks at everything
    assert learnt(change) == found


def test_another_trainer_without_state_is_found():
    """It leaves nothing but its name."""
    t = trainer_of(rw.SGD(0.01))
    for _ in range(3):
        t.fit(X, Y, epochs=1, verbose=0)
    trainer_of(rw.SGD(0.01), net=t.network).fit(X, Y, epochs=1, verbose=0)
    t.fit(X, Y, epochs=1, verbose=0)
    assert t.network.trained_by() is t and t.state.optimizer_step == 1


def test_another_network_is_found():
    t = trainer_of(rw.SGD(0.01), None, dense=True)
    first, second = t.network, trainer_of(dense=True).network
    for net in (first, second, second):
        t.network = net
        t.fit(X, Y, epochs=1, verbose=0)
    assert t._fit_ready.holds(t)
    t.network = first
    assert not t._fit_ready.holds(t)


def test_no_trainer_holds_state_that_others_have_given_up():
    first = trainer_of(dense=True)
    first.fit(X, Y, epochs=1, verbose=0)
    parameters = first.network.tree.parameters.values()
    state = [weakref.ref(a) for parameter in parameters for a in parameter.state.values()]
    trainer_of(net=first.network).fit(X, Y, epochs=1, verbose=0)
    gc.collect()
    assert len(state) == 8 and not any(a() is not None for a in state)


WRONG = {
    "fields": (["a"], None, {"a": 5}),
    "memory": (["m"], None, {"m": 5}),
    "probe_batches": (-1, True),
    "due": (5,),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_rule_says_later_is_refused_as_it_would_be_at_once(name):
    for value in WRONG[name]:
        said = []
        for calls in (0, 2):
            t = trainer_of(rewiring=rw.rewiring.Static())
            if name == "due":
                t.rewiring.due = lambda progress: False  # a method may be one's own; a number is none
            for _ in range(calls):
                t.fit(X, Y, epochs=1, verbose=0)
            setattr(t.rewiring, name, value)
            with pytest.raises((TypeError, ValueError), match="rewiring 'static'") as caught:
                t.fit(X, Y, epochs=1, verbose=0)
            said.append(str(caught.value))
        assert said[0] == said[1]


@pytest.mark.parametrize("name", ["prepare", "check_network", "check_declarations", "participants"])
def test_a_check_of_the_rule_itself_is_asked_in_every_call(name):
    t, asked = trainer_of(rewiring=None), []
    check = getattr(t.rewiring, name)
    t.fit(X, Y, epochs=1, verbose=0)
    setattr(t.rewiring, name, lambda *given: asked.append(1) or check(*given))
    counts = [t.fit(X, Y, epochs=1, verbose=0) and len(asked) for _ in range(3)]
    assert 0 < counts[0] < counts[1] < counts[2]


def test_a_call_that_finds_all_as_it_was_looks_at_nothing_again(monkeypatch):
    t = trainer_of(rewiring=None)  # a rewiring looks by itself
    looks = []
    check = rw.rewiring.Rule.check_declarations
    monkeypatch.setattr(rw.rewiring.Rule, "check_declarations", lambda rule: looks.append(1) or check(rule))
    counts = []
    for _ in range(4):
        t.fit(X, Y, epochs=1, verbose=0)
        counts.append(len(looks))
    assert counts[0] > 0 and counts == [counts[0]] * 4


def test_a_rule_with_checks_of_its_own_is_asked_in_every_call():
    class Asked(rw.rewiring.Static):
        asked = 0

        def check_network(self, network):
            Asked.asked += 1

    t = trainer_of(rewiring=Asked())
    counts = [t.fit(X, Y, epochs=1, verbose=0) and Asked.asked for _ in range(4)]
    assert counts == sorted({*counts}) and len({*counts}) == 4


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("rule", ["set", rw.rewiring.Static()], ids=["set", "none"])
def test_a_rule_that_becomes_wrong_is_refused(late, rule):
    t = trainer_of(rewiring=copy.copy(rule))
    for _ in range(3 * late):
        t.fit(X, Y, epochs=1, verbose=0)
    t.rewiring.layers = [7]
    with pytest.raises(ValueError, match="layers must name layers"):
        t.fit(X, Y, epochs=1, verbose=0)
    t.rewiring.layers = None
    t.rewiring.fields = {"adam_m": rw.parameters.Field()}
    with pytest.raises(ValueError, match="other names than the optimizer's"):
        t.fit(X, Y, epochs=1, verbose=0)


def test_an_error_brings_back_what_there_was_before_this_call_and_not_before_an_earlier_one():
    """Copies of attributes are kept from call to call: what has changed between two calls stays changed."""

    class Breaks:
        breaks = False

        def on_epoch_end(self, state):
            state.network.layers[0].note = "of this call"
            state.trainer.optimizer.lr = 9.0
            del state.network.layers[1].other
            if self.breaks:
                raise OSError

    t = trainer_of()
    first, last = t.network.layers
    t.callbacks = [Breaks()]
    for epoch in range(4):
        first.note, last.other, t.optimizer.lr = epoch, [epoch], 0.01
        t.fit(X, Y, epochs=1, verbose=0)
    first.note, last.other, t.optimizer.lr, first.fresh = "before", ["a"], 0.02, {"b": 1}
    weights = {name: a.copy() for name, a in t.network.arrays().items()}
    t.callbacks[0].breaks = True
    for _ in range(2):
        with pytest.raises(OSError):
            t.fit(X, Y, epochs=1, verbose=0)
        assert (first.note, last.other, t.optimizer.lr, first.fresh) == ("before", ["a"], 0.02, {"b": 1})
        for name, a in t.network.arrays().items():
            assert a.tobytes() == weights[name].tobytes()
