"""Every rewiring rule beside its slow version, rewiring by rewiring."""

import pytest

import rewire as rw
from rules import slow
from rules.scene import follow

RULES = {
    "rigl": (lambda: rw.RigL(0.4, every=2, end=24), slow.rigl),
    "rigl, power": (lambda: rw.RigL(0.4, every=2, decay="power", skip_step=False), slow.rigl),
}


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("name", RULES)
def test_a_rule_does_what_its_slow_version_does(name, group):
    make, expected = RULES[name]
    assert follow(make(), expected, group=group, dtype="float64") >= 8
