"""A call of `fit` that takes over what the last one has found sees whatever has changed since."""

import numpy as np
import pytest

import rewire as rw
from rewire._ready import Ready

X = np.random.default_rng(0).normal(size=(12, 5))
Y = X[:, :2] - X[:, 2:4]


def trainer_of(optimizer=None, rewiring="set", net=None):
    layers = [rw.Sparse(5, 8, density=0.5), rw.Sparse(8, 2, density=0.6)]
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


CHANGES = [
    drop_links_field, drop_bias_field, replace_bias_field, field_of_another_kind, another_optimizer, clip,
    another_rule, another_trainer, shards, other_weights,
]  # fmt: skip


def learnt(change):
    t = trainer_of()
    for epoch in range(8):
        t.fit(X, Y, epochs=1, verbose=0)
        if epoch == 4:
            change(t)
    return {name: a.tobytes() for name, a in t.network.arrays().items()}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_between_two_calls_is_found(change, monkeypatch):
    found = learnt(change)
    monkeypatch.setattr(Ready, "holds", lambda *_: False)  # every call looks at everything
    assert learnt(change) == found


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
def test_a_rule_that_becomes_wrong_is_refused(late):
    t = trainer_of()
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
