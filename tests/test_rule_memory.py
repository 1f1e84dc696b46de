"""What a rule declares to keep: checked, saved and refused in one place."""

import numpy as np
import pytest

import rewire as rw
from rewire.rewiring import Entry, Facts, rewiring, rewiring_names

FACTS = Facts(["a", "b"], 7)


@pytest.mark.parametrize(
    ("entry", "good", "bad", "error", "words"),
    [
        (Entry.number(low=0.0, open_low=True), 0.5, 0.0, ValueError, "x must be a number > 0, got 0.0"),
        (Entry.integer(), 3, -1, ValueError, r"x must be an integer in \[0, .*, got -1"),
        (Entry.integer(high=2), 2, 3, ValueError, "x must be an integer in .0, 2., got 3"),
        (Entry.flag(), True, 1, TypeError, "x must be True or False, got 1"),
        (Entry.step(), 7, 8, ValueError, r"x must be an integer in \[0, 7\], got 8"),
        (Entry.names(), ["b"], ["c"], ValueError, "a parameter of x must be one of 'a', 'b', got 'c'"),
        (Entry.names(), [], {}, TypeError, "x must be a list, got {}"),
        (Entry.integer().by_parameter(), {"a": 1}, {"a": -1}, ValueError, "x of a must be an integer"),
        (Entry.flag().by_parameter(), {}, {"c": True}, ValueError, "a parameter of x must be one of 'a', "),
    ],
)
def test_entries_say_what_fits(entry, good, bad, error, words):
    entry.check("x", good, FACTS)
    with pytest.raises(error, match=words):
        entry.check("x", bad, FACTS)


@pytest.mark.parametrize("name", rewiring_names())
def test_what_a_rule_does_not_declare_is_refused(name):
    rule = rewiring(name) if name != "custom" else rw.rewiring.Custom(len)
    net = rw.Sequential([rw.Sparse(6, 4, density=0.5)])
    rule.check_state(net.sparse_parameters, {"owed": {"layers.0.weight": [1, 12]}}, 0)
    for memory in ({"other": 1}, {"owed": {"layers.1.weight": [1, 12]}}, {"owed": {"layers.0.weight": [1]}}):
        with pytest.raises((TypeError, ValueError), match="memory"):
            rule.check_state(net.sparse_parameters, memory, 0)


class Counts(rw.SET):
    """Counts its rewirings, and remembers how many links each layer had first."""

    name = "counts-for-this-test"
    memory = {"times": Entry.integer(), "first": Entry.integer().by_parameter()}

    def plans(self, parameters, context):
        context.remember("times", context.recall("times", 0) + 1)
        context.first("first", parameters, lambda parameter: parameter.nnz)
        return super().plans(parameters, context)


def test_a_rule_of_ones_own_declares_and_remembers(monkeypatch, tmp_path):
    monkeypatch.setattr(rw.rewiring.base.KINDS, "_makers", dict(rw.rewiring.base.KINDS._makers))
    rw.rewiring.register_rule(Counts)
    X, y = np.random.default_rng(0).normal(size=(64, 12)), np.arange(64) % 3
    net = rw.Sequential([rw.Sparse(12, 20, density=0.3), rw.Sparse(20, 3, density=0.4)])
    trainer = rw.Trainer(net, loss="cross_entropy", rewiring=Counts(every=rw.Steps(2), layers=0))
    trainer.fit(X, y, epochs=2, batch_size=16, verbose=0)
    assert trainer.rule_memory() == {"times": 3, "first": {"layers.0.weight": 72}}
    with net.layers[0].store.view(), pytest.raises(BufferError):
        trainer.fit(X, y, epochs=1, batch_size=16, verbose=0)
    assert trainer.rule_memory()["times"] == 3
    trainer.save(tmp_path / "t")
    assert rw.Trainer.resume(tmp_path / "t").rule_memory() == trainer.rule_memory()
    trainer.rule_memory()["times"] = -1
    with pytest.raises(ValueError, match="memory: times must be an integer in .*, got -1"):
        trainer.save(tmp_path / "t")
