"""Every rewiring rule beside its slow version, rewiring by rewiring."""

import pytest

import rewire as rw
from rules import slow
from rules.cht import cht
from rules.scene import follow

TWO = rw.Every(steps=2)
SOFT = {"score": "ch2", "removal": "importance", "soft_removal": True, "soft_growth": True, "overlap": None}

RULES = {
    "rigl": (lambda: rw.RigL(0.4, every=2, end=24), slow.rigl),
    "rigl, power": (lambda: rw.RigL(0.4, every=2, decay="power", skip_step=False), slow.rigl),
    "cht": (lambda: rw.CHT(every=TWO), cht()),
    "cht, never stops": (lambda: rw.CHT(every=TWO, overlap=None), cht(overlap=None)),
    "cht, importance": (
        lambda: rw.CHT(0.5, every=TWO, removal="importance", overlap=None),
        cht(removal="importance", overlap=None),
    ),
    "cht, ch2": (
        lambda: rw.CHT(every=TWO, score="ch2", decay="cosine", chain_removal=False, overlap=None),
        cht(score="ch2", chains=False, overlap=None),
    ),
    "cht, soft": (lambda: rw.CHT(0.4, every=TWO, **SOFT), cht(**SOFT)),
}


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("name", RULES)
def test_a_rule_does_what_its_slow_version_does(name, group):
    make, expected = RULES[name]
    assert follow(make(), expected, group=group, dtype="float64") >= 8
