"""Rules and criteria from outside may give back anything: what does not fit changes nothing."""

import numpy as np
import pytest

import rewire as rw
from rewire import _core
from rewire.parameters import Field, SparseParameter
from rewire.rewiring import (
    Custom,
    Drop,
    DropSmallest,
    Entry,
    Fraction,
    Grow,
    GrowRandom,
    Redistribute,
    Rule,
    Steps,
    Swap,
    TrainingProgress,
)

X = np.random.default_rng(0).normal(size=(64, 9))
Y = np.arange(64) % 3


class Own(Rule):
    """Drops a slot of each layer and remembers how often, until it is told what else to do."""

    name = "own-for-this-test"
    memory = {"times": Entry.integer(high=99), "first": Entry.integer().by_parameter()}
    fields = {"since": Field("int32", per_slot=True, ages=True)}

    def __init__(self, wrong=None):
        super().__init__(1)
        self.wrong, self.earlier = wrong, None

    def plans(self, parameters, context):
        good = [context.plan(parameter) for parameter in parameters]
        for plan, parameter in zip(good, parameters, strict=True):
            plan.prune_smallest(1, *context.key(parameter), context.threads)
        context.remember("times", context.recall("times", 0) + 1)
        self.earlier, earlier = good, self.earlier
        if self.wrong is None or earlier is None:
            return good
        return self.wrong(good, parameters, context, earlier)


def trainer_of(rule, **given):
    net = rw.Sequential(
        [
            rw.Sparse(9, 14, density=0.4, activation="relu"),
            rw.Sparse(14, 12, density=0.4, activation="relu", group=4),
            rw.Sparse(12, 3, density=0.5, activation="softmax"),
        ]
    )
    optimizer = rw.SGD(0.1, momentum=0.9)
    return rw.Trainer(net, loss="cross_entropy", optimizer=optimizer, rewiring=rule, **given)


def fit(trainer, epochs=1):
    trainer.fit(X, Y, epochs=epochs, batch_size=32, verbose=0)


def state(trainer):
    """All that a refused call must leave as it was."""
    births = [{name: q.birth_of(name) for name in q.fields} for q in trainer.network.sparse_parameters]
    arrays = {name: a.tolist() for name, a in trainer.network.arrays(None).items()}
    memory = dict(trainer.rule_memory())
    counts = trainer.epoch, trainer.step, trainer.rewirings, trainer.step_in_epoch, trainer.history.to_dict()
    return births, arrays, memory, counts, trainer.state.optimizer_step


def refused(trainer, error, words, act=fit):
    before = state(trainer)
    with pytest.raises(error, match=words) as caught:
        act(trainer)
    assert state(trainer) == before
    trainer.network.validate()
    named = [str(caught.value), *getattr(caught.value, "__notes__", ())]
    assert any(repr(trainer.rewiring.name) in line or trainer.rewiring.label in line for line in named)


def clone(plan):
    return _core.Plan(plan.store.clone())


def grow_now(parameters, context):
    """What a rule must not do by itself."""
    plan = context.plan(parameters[0])
    plan.grow_random(1, *context.key(parameters[0]))
    _core.commit([plan])


def remember(name, value):
    return lambda good, parameters, context, earlier: context.remember(name, value) or good


def wanted(value):
    return lambda good, parameters, context, earlier: context.wanted.update(value) or good


def call(method, *given):
    """A plan's method with these arguments instead of right ones; what it raises is seen."""
    return lambda good, parameters, context, earlier: getattr(context.plan(parameters[0]), method)(*given)


KEY = (0, 0, 1)
NAMES = r"one for each of \['layers.0.weight', 'layers.1.weight', 'layers.2.weight'\] in this order, got "
WRONG = {
    "none": (lambda good, *_: None, TypeError, NAMES + "None"),
    "a number": (lambda good, *_: 3, TypeError, NAMES + "3"),
    "generator": (lambda good, *_: (plan for plan in good), TypeError, NAMES + "<generator"),
    "dict": (lambda good, *_: dict.fromkeys(good), TypeError, NAMES + "{"),
    "no plans": (lambda good, *_: [None] * 3, TypeError, NAMES + "None at position 0"),
    "one is no plan": (lambda good, *_: [*good[:2], "x"], TypeError, NAMES + "'x' at position 2"),
    "too few": (lambda good, *_: good[:2], ValueError, NAMES + "2 of them"),
    "too many": (lambda good, *_: [*good, good[0]], ValueError, NAMES + "4 of them"),
    "empty": (lambda good, *_: [], ValueError, NAMES + "0 of them"),
    "swapped": (
        lambda good, *_: good[::-1],
        ValueError,
        NAMES + "that of layers.2.weight in the place of layers.0.weight",
    ),
    "twice": (
        lambda good, *_: [good[0], good[0], good[2]],
        ValueError,
        "got that of layers.0.weight in the place of layers.1.weight",
    ),
    "of a copy": (
        lambda good, *_: [clone(good[0]), *good[1:]],
        ValueError,
        "got that of a store that takes no part in the place of layers.0.weight",
    ),
    "of the step before": (
        lambda good, p, c, earlier: earlier,
        ValueError,
        "that of layers.0.weight was made before its links",
    ),
    "changes the links itself": (
        lambda good, p, c, e: grow_now(p, c) or good,
        ValueError,
        "that of layers.0.weight was made before",
    ),
    "raises": (lambda good, *_: good.no_such_thing, AttributeError, "no_such_thing"),
    "remembers what it does not declare": (
        remember("other", 1),
        ValueError,
        "memory: an entry must be one of 'times', 'first', got 'other'",
    ),
    "remembers under no word": (remember(3, 1), ValueError, "memory: an entry must be one of .*, got 3"),
    "remembers what is owed": (remember("owed", {}), ValueError, "memory: an entry must be .*, got 'owed'"),
    "remembers too much": (
        remember("times", 100),
        ValueError,
        r"memory: times must be an integer in \[0, 99",
    ),
    "remembers another kind": (remember("times", [1]), TypeError, "memory: times must be an integer"),
    "remembers nothing": (remember("times", None), TypeError, "memory: times must be an integer"),
    "remembers of another layer": (
        remember("first", {"layers.9.weight": 1}),
        ValueError,
        "a parameter of memory: first must be one of",
    ),
    "remembers an object": (
        remember("first", {"layers.0.weight": object()}),
        TypeError,
        "memory: first must be numbers, words, li",
    ),
    "remembers a set": (remember("first", {1}), TypeError, "memory: first must be numbers, words, lists and"),
    "wants of another layer": (wanted({"x": 1}), ValueError, "context.wanted must be of .*, got 'x'"),
    "wants words": (
        wanted({"layers.0.weight": "many"}),
        TypeError,
        r"context.wanted\['layers.0.weight'\] mus",
    ),
    "wants less than nothing": (
        wanted({"layers.0.weight": -1}),
        ValueError,
        "must be an integer in .*, got -1",
    ),
    "NaN scores": (
        lambda good, p, c, e: c.plan(p[0]).prune_scores(np.full(p[0].store.slots, np.nan), 1, *KEY),
        ValueError,
        "score must be >= 0, got nan for slot 0",
    ),
    "a NaN score": (
        lambda good, p, c, e: c.plan(p[0]).prune_scores(
            np.where(np.arange(p[0].store.slots) == 2, np.nan, 1.0), 1, *KEY
        ),
        ValueError,
        "score must be >= 0, got nan for slot 2",
    ),
    "negative scores": (
        lambda good, p, c, e: c.plan(p[0]).prune_scores(-np.ones(p[0].store.slots), 1, *KEY),
        ValueError,
        "score must be >= 0, got -1.0 for slot 0",
    ),
    "scores of another dtype": (
        lambda good, p, c, e: c.plan(p[0]).prune_scores(np.ones(p[0].store.slots, "f4"), 1, *KEY),
        TypeError,
        "score must be a C-contiguous float64 array, got float32 array",
    ),
    "scores in a list": (call("prune_scores", [1.0], 1, *KEY), TypeError, "float64 array, got list"),
    "too few scores": (
        call("prune_scores", np.ones(2), 1, *KEY),
        ValueError,
        "score must have .* values, got 2",
    ),
    "drops less than nothing": (
        call("prune_smallest", -1, *KEY),
        ValueError,
        "count must be an integer >= 0, got -1",
    ),
    "drops more than there are": (call("prune_smallest", 10**6, *KEY), ValueError, "prune_smallest: "),
    "drops half a slot": (
        call("prune_smallest", 1.5, *KEY),
        TypeError,
        "count must be an integer >= 0, got 1.5",
    ),
    "drops half a slot by scores": (
        lambda good, p, c, e: c.plan(p[0]).prune_scores(np.ones(p[0].store.slots), 1.5, *KEY),
        TypeError,
        "count must be an integer >= 0, got 1.5",
    ),
    "grows less than nothing": (call("grow_random", -1, *KEY), ValueError, "count must be an integer >= 0"),
    "grows half a slot": (
        call("grow_random", 0.5, *KEY),
        TypeError,
        "count must be an integer >= 0, got 0.5",
    ),
    "grows True": (call("grow_random", True, *KEY), TypeError, "count must be an integer >= 0, got True"),
    "grows more than there is room": (call("grow_random", 10**6, *KEY), ValueError, "grow_random: "),
    "grows outside": (
        call("insert", np.array([99], "i4"), np.array([0], "i4")),
        IndexError,
        r"\(group 99, source 0\)",
    ),
    "grows at positions of another dtype": (
        call("insert", np.array([0]), np.array([0])),
        TypeError,
        "group must be a C-contiguous int32 array",
    ),
    "takes no Tiles": (call("grow_gradient", 1, None, None, True, *KEY), TypeError, "x"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_plans_change_nothing(name):
    wrong, error, words = WRONG[name]
    trainer = trainer_of(Own())
    fit(trainer)
    assert trainer.rewirings == 1 and trainer.rule_memory()["times"] == 1
    trainer.rewiring.wrong = wrong
    refused(trainer, error, words)
    refused(trainer, error, words, lambda t: t.train_step(X[:32], Y[:32]))
    trainer.rewiring.wrong = None
    fit(trainer)
    assert trainer.rewirings == 3 and trainer.rule_memory()["times"] == 3


@pytest.mark.parametrize(
    "name", ["none", "swapped", "of the step before", "remembers another kind", "raises"]
)
def test_a_program_without_a_trainer_finds_everything_as_it_was(name):
    wrong, error, words = WRONG[name]
    rule, memory = Own(), {}
    parameters = [
        SparseParameter(n_in, n_out, density=0.4).build(name=f"layers.{i}.weight", seed=0)
        for i, (n_in, n_out) in enumerate([(9, 14), (14, 12), (12, 3)])
    ]
    rule.prepare(parameters)

    def rewire(ordinal):
        rule.rewire(parameters, TrainingProgress(0, 7 * ordinal, False), ordinal, 1, seed=0, memory=memory)

    def found():
        arrays = [[a.tolist() for a in q.arrays().values()] for q in parameters]
        return arrays, [q.birth_of("since") for q in parameters], dict(memory)

    rewire(1)
    assert [q.birth_of("since") for q in parameters] == [7, 7, 7]
    before, rule.wrong = found(), wrong
    with pytest.raises(error, match=words):
        rewire(2)
    assert found() == before


@pytest.mark.parametrize(
    ("parameters", "error", "words"),
    [
        (lambda q: iter([q]), TypeError, "parameters must be a list of SparseParameter, got <list_iterator"),
        (lambda q: q, TypeError, "parameters must be a list of SparseParameter, got SparseParameter"),
        (lambda q: [q.store], TypeError, r"parameters\[0\] must be a SparseParameter, got "),
        (lambda q: [q, q], ValueError, "parameters must have a name each, by build.*, got .'one', 'one'."),
        (lambda q: [SparseParameter(3, 4)], ValueError, "parameters must have a name each, .*, got .''."),
    ],
)
def test_parameters_are_a_list_of_named_ones(parameters, error, words):
    given = parameters(SparseParameter(9, 14, density=0.4).build(name="one", seed=0))
    with pytest.raises(error, match=words):
        rw.SET(0.3).prepare(given)
    with pytest.raises(error, match=words):
        rw.SET(0.3).rewire(given, TrainingProgress(0, 7, False), 1, 1, seed=0)


def test_a_commit_that_fails_leaves_the_birth_values():
    rule = Own()
    parameter = SparseParameter(9, 14, density=0.4).build(name="one", seed=0)
    rule.prepare([parameter])
    views = []
    rule.wrong = lambda good, p, c, e: views.append(p[0].store.view().__enter__()) or good
    rule.earlier = ()
    with pytest.raises(BufferError):
        rule.rewire([parameter], TrainingProgress(0, 7, False), 1, 1, seed=0)
    views.clear()
    assert parameter.birth_of("since") == 0.0


def test_nothing_may_grow_at_the_end_of_training():
    def grows(good, parameters, context, earlier):
        if not context.regrow:
            good = [context.plan(parameter) for parameter in parameters]
            good[0].grow_random(2, *context.key(parameters[0]))
        return good

    rule = Own(grows)
    rule.last_epoch = "remove"
    trainer = trainer_of(rule)
    words = "nothing may grow where context.regrow is False, got {'layers.0.weight': 2}"
    refused(trainer, ValueError, words, lambda t: fit(t, 2))


# --- what a class declares --------------------------------------------------------------

DECLARED = {
    "the weight's name": (
        "fields",
        {"weight": Field()},
        ValueError,
        "fields: a field must have a name of its own",
    ),
    "the gradient's name": (
        "fields",
        {"gradient": Field()},
        ValueError,
        "a field must have a name of its own",
    ),
    "no field": ("fields", {"f": 3}, TypeError, "fields must be a dict of names and Fields, got 'f': 3"),
    "no name": ("fields", {3: Field()}, TypeError, "fields must be a dict of names and Fields, got 3: Field"),
    "no dict": ("fields", [Field()], TypeError, r"fields must be a dict of names and Fields, got \[Field"),
    "a long name": (
        "fields",
        {"f" * 24: Field()},
        ValueError,
        "a field must have a name of at most 23 bytes",
    ),
    "an odd dtype": ("fields", {"f": Field("int8")}, ValueError, "field 'f': dtype must be one of"),
    "a birth out of range": (
        "fields",
        {"f": Field(low=1.0)},
        ValueError,
        "field 'f': birth must be a number",
    ),
    "the optimizer's": (
        "fields",
        {"momentum": Field()},
        ValueError,
        "fields must have other names than the optimizer's, got 'momentum'",
    ),
    "memory without a check": ("memory", {"n": int}, TypeError, "memory must be a dict of names and Entries"),
    "memory in a list": (
        "memory",
        ["n"],
        TypeError,
        r"memory must be a dict of names and Entries, got \['n'\]",
    ),
    "memory that every rule has": (
        "memory",
        {"owed": Entry.integer()},
        ValueError,
        "memory must have other names than 'owed'",
    ),
    "half a batch": ("probe_batches", 0.5, TypeError, "probe_batches must be an integer >= 0, got 0.5"),
    "less than no batch": ("probe_batches", -1, ValueError, "probe_batches must be an integer >= 0, got -1"),
}


@pytest.mark.parametrize("name", DECLARED)
def test_wrong_declarations_are_refused_before_anything_changes(name):
    attribute, value, error, words = DECLARED[name]
    rule = type("Declares", (Own,), {attribute: value, "name": "declares-for-this-test"})()
    refused(trainer_of(rule), error, f"rewiring 'declares-for-this-test': .*{words}")
    refused(trainer_of(rule), error, words, lambda t: t.train_step(X[:32], Y[:32]))
    refused(trainer_of(rule), error, words, lambda t: t.rewire_if_due(X[:32], Y[:32]))


@pytest.mark.parametrize(
    ("layers", "error", "words"),
    [
        (
            "layers.9",
            ValueError,
            r"layers must name layers with sparse weights \('layers.0', .*got 'layers.9'",
        ),
        (7, ValueError, "layers must name layers with sparse weights .*, got 7"),
        ([0, -9], ValueError, "layers must name layers with sparse weights .*, got -9"),
        (lambda q: False, ValueError, "layers must choose some of 'layers.0.weight', .*, got False for each"),
        (lambda q: None, TypeError, r"layers\(layers.0.weight\) must be True or False, got None"),
        (lambda q: q.nowhere, AttributeError, "nowhere"),
    ],
)
def test_layers_that_name_nothing(layers, error, words):
    before = state(trainer := trainer_of(rw.SET(0.3, every=1, layers=layers)))
    with pytest.raises(error, match=words):
        fit(trainer)
    assert state(trainer) == before
    with pytest.raises(error, match=words):
        trainer.train_step(X[:32], Y[:32])
    assert state(trainer) == before


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        ([1.0], ValueError, r"probe_weights must have shape \(2,\), got \(1,\)"),
        ([1.0, np.nan], ValueError, "probe_weights must be finite and >= 0, got nan"),
        ([1.0, -1.0], ValueError, "probe_weights must be finite and >= 0, got -1"),
        (None, TypeError, "probe_weights must hold real numbers"),
    ],
)
def test_weights_of_a_probe(weights, error, words):
    rule = Own()
    rule.probe_batches, rule.probe_weights = 2, lambda batches: weights
    refused(trainer_of(rule), error, f"rewiring 'own-for-this-test': {words}", fit)
    again = trainer_of(rule)
    again.train_step(X[:32], Y[:32])
    refused(again, error, words, lambda t: t.rewire_if_due(X, Y))


# --- criteria ---------------------------------------------------------------------------


class DropsWrongly(DropSmallest):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def mark_all(self, plans, parameters, fraction, context):
        return self.answer(super().mark_all(plans, parameters, fraction, context))


class GrowsWrongly(GrowRandom):
    def __init__(self, answer):
        super().__init__(rw.Zeros())
        self.answer = answer

    def place_all(self, plans, parameters, counts, context):
        return self.answer(super().place_all(plans, parameters, counts, context))


class CountsWrongly(Redistribute):
    def __init__(self, answer):
        self.answer = answer

    def counts(self, plans, parameters, context):
        return self.answer(super().counts(plans, parameters, context))


class TakesWrongly(Redistribute):
    def __init__(self, answer):
        self.answer = answer

    def workable(self, parameters):
        return self.answer(list(parameters))


class DropsLate(DropSmallest):
    """Fails at the second layer, when the first has its plan."""

    def mark(self, plan, parameter, fraction, context):
        super().mark(plan, parameter, fraction, context)
        if parameter.name == "layers.1.weight":
            raise OSError("a disk is full")


class OddFraction(Fraction):
    def at(self, progress):
        return self.odd


class Undefined(Drop):
    pass


class UndefinedGrow(Grow):
    pass


def odd(value):
    fraction = OddFraction(0.3)
    object.__setattr__(fraction, "odd", value)
    return Swap(Steps(1), fraction, DropSmallest(), GrowRandom(rw.Zeros()))


def swap(drop=None, grow=None, redistribute=None):
    drop, grow = drop or DropSmallest(), grow or GrowRandom(rw.Zeros())
    return Swap(Steps(1), 0.3, drop, grow, redistribute=redistribute)


PLANS = "must be a list of plans, one for each of .* in this order, got "
COUNTS = "must be a list of numbers of links, one for each of .*, got "
CRITERIA = {
    "drop nothing back": (
        lambda: swap(DropsWrongly(lambda p: None)),
        TypeError,
        "mark_all of DropsWrongly " + PLANS,
    ),
    "drop too few": (lambda: swap(DropsWrongly(lambda p: p[1:])), ValueError, PLANS + "2 of them"),
    "drop swapped": (lambda: swap(DropsWrongly(lambda p: p[::-1])), ValueError, PLANS + "that of layers.2"),
    "drop in a generator": (lambda: swap(DropsWrongly(iter)), TypeError, PLANS + "<list_iterator"),
    "drop of a copy": (
        lambda: swap(DropsWrongly(lambda p: [*p[:2], clone(p[2])])),
        ValueError,
        "a store that takes no part",
    ),
    "drop undefined": (lambda: swap(Undefined()), NotImplementedError, "Undefined must define mark"),
    "grow nothing back": (
        lambda: swap(grow=GrowsWrongly(lambda p: None)),
        TypeError,
        "place_all of GrowsWrongly " + PLANS + "None",
    ),
    "grow swapped": (
        lambda: swap(grow=GrowsWrongly(lambda p: p[::-1])),
        ValueError,
        PLANS + "that of layers.2",
    ),
    "drop fails at the second layer": (lambda: swap(DropsLate()), OSError, "a disk is full"),
    "grow undefined": (
        lambda: swap(grow=UndefinedGrow()),
        NotImplementedError,
        "UndefinedGrow must define pl",
    ),
    "too few counts": (
        lambda: swap(redistribute=CountsWrongly(lambda n: n[:2])),
        ValueError,
        "counts of CountsWrongly " + COUNTS,
    ),
    "no counts": (lambda: swap(redistribute=CountsWrongly(lambda n: None)), TypeError, COUNTS + "None"),
    "counts in a generator": (
        lambda: swap(redistribute=CountsWrongly(iter)),
        TypeError,
        COUNTS + "<list_iter",
    ),
    "negative counts": (
        lambda: swap(redistribute=CountsWrongly(lambda n: [-1, *n[1:]])),
        ValueError,
        "that of layers.0.weight must be an integer >= 0, got -1",
    ),
    "counts with fractions": (
        lambda: swap(redistribute=CountsWrongly(lambda n: [0.5, *n[1:]])),
        TypeError,
        "integer >= 0, got 0.5",
    ),
    "NaN counts": (
        lambda: swap(redistribute=CountsWrongly(lambda n: np.full(3, np.nan))),
        TypeError,
        "integer >= 0, got nan",
    ),
    "takes none": (
        lambda: swap(redistribute=TakesWrongly(lambda q: None)),
        TypeError,
        "must be a list of some of",
    ),
    "takes one twice": (
        lambda: swap(redistribute=TakesWrongly(lambda q: [q[0], q[0]])),
        ValueError,
        "each once, got",
    ),
    "takes another's": (
        lambda: swap(redistribute=TakesWrongly(lambda q: [SparseParameter(3, 4).build(name="x", seed=0)])),
        ValueError,
        r"each once, got \['x'\]",
    ),
    "a fraction that is no number": (
        lambda: odd(np.nan),
        ValueError,
        r"fraction of .* must be a number in \[0, 1",
    ),
    "a fraction above 1": (lambda: odd(1.5), ValueError, r"must be a number in \[0, 1\], got 1.5"),
    "a fraction in words": (lambda: odd("half"), TypeError, r"must be a number in \[0, 1\], got 'half'"),
}


@pytest.mark.parametrize("name", CRITERIA)
def test_wrong_criteria_change_nothing(name):
    make, error, words = CRITERIA[name]
    refused(trainer_of(make()), error, words)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (lambda links: ([], (*links.random_empty(1), ["a"])), TypeError, "weights must hold real numbers"),
        (lambda links: ([], (*links.random_empty(1), [1j])), TypeError, "weights must hold real numbers"),
        (lambda links: ([], (*links.random_empty(1), [1e300])), ValueError, "in the range of float32"),
        (lambda links: (iter([0]), ([], [])), TypeError, "drop must be indices or a mask"),
        (lambda links: ([0], [[], []]), TypeError, "must return drop"),
        (lambda links: ([0], (None, None)), TypeError, "rows and sources must be integers of equal length"),
    ],
)
def test_odd_answers_of_a_function(answer, error, words):
    refused(trainer_of(Custom(answer, every=1, layers=0)), error, words)


def test_a_function_may_write_into_what_it_gets():
    def scribbles(links):
        links.rows[...], links.sources[...] = 99, -5
        return [0, 3], ([], [])

    trainer, twin = (
        trainer_of(Custom(f, every=1, layers=0)) for f in (scribbles, lambda links: ([0, 3], ([], [])))
    )
    fit(trainer), fit(twin)
    assert state(trainer)[:3] == state(twin)[:3] and trainer.network.layers[0].nnz == 50 - 2


def test_what_is_remembered_is_a_copy_that_a_file_can_hold(tmp_path):
    kept = {"layers.0.weight": np.int64(7)}
    trainer = trainer_of(Own(lambda good, p, context, e: context.remember("first", kept) or good))
    trainer.rewiring.earlier = ()
    fit(trainer)
    kept["layers.0.weight"] = object()
    assert trainer.rule_memory()["first"] == {"layers.0.weight": 7}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rw.rewiring.base.KINDS, "_makers", dict(rw.rewiring.base.KINDS._makers))
        rw.rewiring.register_rule(Own)
        del trainer.rewiring.wrong
        trainer.rewiring.wrong = None
        trainer.save(tmp_path / "t")
        assert rw.Trainer.resume(tmp_path / "t").rule_memory() == trainer.rule_memory()


def test_a_rewiring_whose_end_fails_is_undone_by_the_trainer():
    fails = [False]

    def committed(self, parameters, context):
        context.remember("times", 50)
        if fails[0]:
            parameters[1].store.set_field("since", np.full((parameters[1].store.slots, 1), 9, "i4"))
            raise OSError("a disk is full")

    trainer = trainer_of(type("Ends", (Own,), {"committed": committed})())
    fit(trainer)
    assert trainer.rule_memory()["times"] == 50
    fails[0] = True
    refused(trainer, OSError, "a disk is full")
    refused(trainer, OSError, "a disk is full", lambda t: t.train_step(X[:32], Y[:32]))


def test_what_a_rule_raises_after_a_step_names_it():
    rule = type("Fails", (Own,), {"stepped": lambda *given, **named: 1 / 0})()
    with pytest.raises(ZeroDivisionError, match="while rewiring 'own-for-this-test' followed step 1"):
        fit(trainer_of(rule))


@pytest.mark.parametrize(
    "name", ["set", "rigl", "dsr", "snfs", "gmp", "granet", "mest", "deepr", "cht", "top-kast"]
)
def test_a_rule_that_two_trainers_share_gives_what_two_rules_give(name):
    shared, single = (rw.rewiring.rewiring({"name": name, "every": 1}) for _ in range(2))
    one, two, alone = (trainer_of(rule, horizon=3) for rule in (shared, shared, single))
    for _ in range(3):
        for trainer in (one, two, alone):
            fit(trainer)
    expected = [a.tolist() for a in alone.network.arrays(None).values()]
    for trainer in (one, two):
        assert [a.tolist() for a in trainer.network.arrays(None).values()] == expected
        assert trainer.rule_memory() == alone.rule_memory()


def test_weights_that_are_no_numbers_are_a_divergence():
    trainer = trainer_of(rw.rewiring.MEST(every=1), horizon=3)
    fit(trainer)
    vector = trainer.network.get_vector()
    vector[3] = 0.0
    trainer.network.set_vector(vector)
    trainer.network.layers[0].store.set_field(
        "weight", np.full((trainer.network.layers[0].nnz, 1), np.nan, "f4")
    )
    with pytest.raises(rw.DivergenceError, match="layer 0"):
        fit(trainer)
