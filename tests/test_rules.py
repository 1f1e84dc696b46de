"""Every rule beside its slow version, rewiring by rewiring, while a network trains."""

import pytest

import rewire as rw
from rules import budgets, guided, slow, walks
from rules.cht import cht, chtss
from rules.scene import follow

STEPS = {"steps": 2}
WALK, MASK = {"step": walks.walk}, {"step": walks.masked}

TWO = rw.Steps(2)
SOFT = {"score": "ch2", "removal": "importance", "soft_removal": True, "soft_growth": True, "overlap": None}

# Name -> the rule, its slow version (of a scene, or of a scene and the rule), and options of `follow`.
RULES = {
    "rigl": (lambda: rw.RigL(0.4, every=2, end=24), slow.rigl),
    "rigl, power": (lambda: rw.RigL(0.4, every=2, end=24, decay="power", skip_step=False), slow.rigl),
    "magnitude": (lambda: rw.Magnitude(every=STEPS), budgets.magnitude),
    "magnitude, global": (
        lambda: rw.Magnitude(every=STEPS, scope="global", decay="cosine"),
        budgets.magnitude,
    ),
    "dsr": (lambda: rw.DSR(every=2, threshold=0.05, end=1.0), budgets.dsr),
    "dsr, many": (lambda: rw.DSR(40, every=2, threshold=0.05, end=1.0), budgets.dsr),
    "dsr, no room": (lambda: rw.DSR(0.5, every=2, threshold=0.2, end=1.0), budgets.dsr, {"density": 0.9}),
    "snfs": (lambda: rw.SNFS(every=STEPS), budgets.snfs),
    "snfs, adam": (lambda: rw.SNFS(every=STEPS, batches=3), budgets.snfs, {"optimizer": rw.Adam(0.01)}),
    "snfs, sgd": (lambda: rw.SNFS(every=STEPS), budgets.snfs, {"optimizer": rw.SGD(0.1)}),
    "snfs, dense": (lambda: rw.SNFS(every=STEPS), budgets.snfs, {"density": 0.95}),
    "gmp": (lambda: rw.GMP(0.1, every=2, end=1.0), budgets.gmp, {"density": 0.8}),
    "gmp, layers": (
        lambda: rw.GMP(0.1, begin=3, end=0.97, every=2, scope="layer"),
        budgets.gmp,
        {"density": 1.0},
    ),
    "granet": (lambda: rw.GraNet(0.1, every=2), budgets.granet, {"density": 0.8}),
    "granet, layers": (lambda: rw.GraNet(0.2, every=2, scope="layer"), budgets.granet, {"density": 0.8}),
    "mest": (lambda: rw.MEST(every=STEPS), budgets.mest),
    "mest, gradient": (lambda: rw.MEST(every=STEPS, gradient=0.5), budgets.mest),
    "mest, soft": (lambda: rw.MEST("em&s", every=STEPS), budgets.mest),
    "deepr": (lambda: rw.DeepR(0.2, noise=0.3), walks.deepr, WALK),
    "deepr, adam": (
        lambda: rw.DeepR(2.0, temperature=0.02, every=2),
        walks.deepr,
        WALK | {"optimizer": rw.Adam(0.01)},
    ),
    "soft-deepr": (lambda: rw.SoftDeepR(0.02, noise=0.3), walks.soft_deepr, WALK),
    "soft-deepr, sgd": (
        lambda: rw.SoftDeepR(0.05, temperature=0.002, density=0.5, every=2),
        walks.soft_deepr,
        WALK | {"optimizer": rw.SGD(0.1, schedule=rw.Cosine(30, unit="step"))},
    ),
    "soft-deepr, full": (lambda: rw.SoftDeepR(0.1, noise=0.1), walks.soft_deepr, WALK | {"density": 1.0}),
    "top-kast": (lambda: rw.TopKAST(0.4, penalty=0.3, every=2), walks.top_kast, MASK),
    "top-kast, l1": (
        lambda: rw.TopKAST(0.7, fraction=1.0, penalty=0.05, norm="l1", every=2, end=25),
        walks.top_kast,
        MASK | {"optimizer": rw.Adam(0.01)},
    ),
    "top-kast, dense": (
        lambda: rw.TopKAST(0.1, fraction=0.5, penalty=0.0, every=1, end=1.0),
        walks.top_kast,
        MASK | {"density": 0.97, "optimizer": rw.SGD(0.1)},
    ),
    "mest, soft and dense": (lambda: rw.MEST("em&s", every=STEPS), budgets.mest, {"density": 0.8}),
    "gse": (lambda: rw.GSE(0.4, every=2, end=1.0), guided.gse, {"density": 0.2}),
    "gse, uniform": (
        lambda: rw.GSE(0.4, candidates="uniform", every=2, end=1.0, scope="layer"),
        guided.gse,
    ),
    "gse, few": (
        lambda: rw.GSE(0.6, candidates="grabo", gamma=0.3, every=2, end=1.0),
        guided.gse,
        {"density": 0.2},
    ),
    "itop": (lambda: rw.ITOP(every=2), guided.itop),
    "itop, rigl": (lambda: rw.ITOP("rigl", every=2), guided.itop),
    "snip": (lambda: rw.SNIP(0.2), guided.snip, {"density": 0.9, "least": 1}),
    "srigl": (lambda: rw.SRigL(0.4, every=2, end=1.0), guided.srigl),
    "srigl, ablates": (lambda: rw.SRigL(0.6, salient=0.7, every=2, end=1.0), guided.srigl),
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
    "chts": (
        lambda: rw.CHTs(0.4, every=2, temperature=(1, 3), decay="constant"),
        cht(score="ch2", soft_removal=True, soft_growth=True, chains=False, overlap=None),
    ),
    "chtss": (lambda: rw.CHTss(0.2, every=2, fraction=0.3), chtss, {"density": 0.6}),
    "chtss, importance": (
        lambda: rw.CHTss(0.1, begin=3, end=12, every=2, score="ch3", removal="importance"),
        chtss,
        {"density": 0.5},
    ),
}


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("name", RULES)
def test_a_rule_does_what_its_slow_version_does(name, group):
    make, expected, *options = RULES[name]
    options = {"least": 10, **(options[0] if options else {})}
    least = options.pop("least")
    assert follow(make(), expected, epochs=5, group=group, dtype="float64", **options) >= least
