"""Which layers take part, and rules that work on parameters without a network."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rewire as rw
from rewire.rewiring import GradientProbe, TrainingProgress, rewiring, rewiring_names
from rules.table import CASES
from small import SELDOM

SIZES = (12, 20, 17, 3)
X = np.random.default_rng(0).normal(size=(64, 12)).astype("f4")
Y = np.random.default_rng(1).integers(0, 3, 64)
NOW = TrainingProgress(1, 4, True, 3, 12, 0.1)
# Rules that have no `layers`: one does nothing, one is a function's.
OTHERS = {"static", "custom"}


def network(density=0.3, seed=4):
    """Sparse layers at the positions 0, 2 and 3; a dropout between."""
    layers = [
        rw.Sparse(n, m, density=density, activation="softmax" if m == 3 else "all-relu")
        for n, m in zip(SIZES[:-1], SIZES[1:], strict=True)
    ]
    return rw.Sequential([layers[0], rw.Dropout(0.1), *layers[1:]], seed=seed)


NAMES = [q.name for q in network().sparse_parameters]


def chosen(layers, net=None):
    net = network() if net is None else net
    return [q.name for q in rw.SET(layers=layers).participants(net.sparse_parameters, net)]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (None, [0, 1, 2]),
        (0, [0]),
        (-1, [2]),
        ([2, -1], [1, 2]),
        ((0, 0, -4), [0]),
        ("layers.2", [1]),
        ("layers.2.weight", [1]),
        (["layers.3", 0], [0, 2]),
        ("hidden", [0, 1]),
        (["hidden", "layers.3"], [0, 1, 2]),
        (lambda parameter: parameter.n_in > 12, [1, 2]),
        ([], []),
    ],
)
def test_layers_are_chosen_by_position_name_or_function(layers, expected):
    assert chosen(layers) == [NAMES[i] for i in expected]


@pytest.mark.parametrize("layers", [1, 4, -5, "layers.1", "layers.20", "layers", "weight", [0, "layer.0"]])
def test_layers_without_sparse_weights_are_refused_with_those_there_are(layers):
    trainer = rw.Trainer(network(), loss="cross_entropy", rewiring=rw.SET(layers=layers))
    if layers == "layers":  # the beginning of all names
        trainer.rewiring.layers = "layer"
    words = r"layers must name layers with sparse weights \('layers.0', 'layers.2', 'layers.3'\), got "
    with pytest.raises(ValueError, match=words):
        trainer.fit(X, Y, verbose=0)
    assert trainer.step == 0


@pytest.mark.parametrize("layers", [2.5, [0, None], True, {"a": 1}, [0.5]])
def test_what_names_no_layers_is_refused(layers):
    with pytest.raises(TypeError, match='layers must be None, "hidden", positions .*, got '):
        rw.SET(layers=layers)


def test_layers_are_saved_but_functions_are_not():
    for layers in (None, "hidden", 2, [0, -1], ["layers.2", 3]):
        rule = rw.RigL(layers=layers)
        assert rewiring(json.loads(json.dumps(rule.config()))).layers == rule.layers == layers
    assert rw.RigL(layers=(np.int64(1), "layers.0")).layers == [1, "layers.0"]
    with pytest.raises(NotImplementedError, match="RigL cannot be saved: its parameter 'layers' is a func"):
        rw.RigL(layers=lambda parameter: True).config()


def state_of(parameter):
    """Links, weights and all fields, but for the optimizer's, which trains them."""
    return parameter.core.indptr().tolist(), parameter.core.sources().tolist()


@SELDOM
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(set(CASES) - OTHERS - {name for name in CASES if name.startswith("importance")})),
    st.sets(st.sampled_from([0, 2, 3]), max_size=2),
)
def test_exempt_layers_keep_their_links_and_have_no_fields(name, taking):
    case = CASES[name]
    net = network(case.density)
    rule = rewiring({"name": case.name, **case.options, "layers": sorted(taking)})
    exempt = [net.layers[i].weight for i in (0, 2, 3) if i not in taking]
    before = [state_of(q) for q in exempt]
    rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.1), rewiring=rule).fit(
        X, Y, epochs=2, batch_size=16, verbose=0
    )
    assert [state_of(q) for q in exempt] == before
    assert all(not set(q.fields) & set(rule.fields) for q in exempt)


@pytest.mark.parametrize("name", sorted(set(rewiring_names()) - OTHERS))
def test_every_rule_says_which_layers(name):
    assert rewiring({"name": name, "layers": "hidden"}).config()["layers"] == "hidden"


def test_neurons_of_chosen_layers_alone_are_removed():
    net = network(0.9)  # so that no other neuron loses all its links
    rule = rw.ImportancePruning(0.3, begin=0, every=rw.Steps(2), layers=[2])
    rw.Trainer(net, loss="cross_entropy", rewiring=rule).fit(X, Y, epochs=2, batch_size=16, verbose=0)
    assert net.layers[0].n_out == 20 and net.layers[2].n_out < 17


# --- without a network ------------------------------------------------------------------


def bare(density=0.3, seed=4):
    """The parameters of `network`, built by hand."""
    gain = rw.Sparse(1, 1, activation="all-relu").activation.gain
    return [
        rw.SparseParameter(n, m, density=density, gain=1.0 if m == 3 else gain).build(
            name=name, seed=seed, stream=index
        )
        for n, m, name, index in zip(SIZES[:-1], SIZES[1:], NAMES, (0, 2, 3), strict=True)
    ]


def probe_of(parameters):
    """The same gradients for equal parameters."""
    rng = np.random.default_rng(7)
    return GradientProbe(
        {q.name: tuple(rng.normal(size=(16, n)) for n in (q.n_in, q.n_out)) for q in parameters}
    )


def rule_of(case):
    """The case's rule, without what needs a network."""
    published = {"variant": "published", "begin": 0, "every": 1}
    options = {"cht": {"chain_removal": False}, "importance": published}
    return rewiring({"name": case.name, **case.options, **options.get(case.name, {})})


@pytest.mark.parametrize("name", CASES)
def test_bare_parameters_are_rewired_as_those_of_a_network(name):
    case = CASES[name]
    net, alone = network(case.density), bare(case.density)
    found = []
    for parameters, place in ((net.sparse_parameters, {"network": net}), (alone, {})):
        rule, memory = rule_of(case), {}
        rule.prepare(parameters, **place)
        for ordinal in (1, 2, 3):
            progress = NOW._replace(step=NOW.step + ordinal)
            rule.stepped(parameters, progress, 1, seed=4, **place)
            record = rule.rewire(
                parameters, progress, ordinal, 1, seed=4, memory=memory, probe=probe_of(parameters), **place
            )
        rule.check_state(parameters, memory, NOW.step + 3)
        found.append(([q.arrays() for q in parameters], memory, record.removed, record.grown))
    (ours, *of_ours), (theirs, *of_theirs) = found
    assert of_ours == of_theirs and list(of_ours[1]) == NAMES
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_parameters_by_hand_have_names_and_random_numbers_of_their_own():
    a, b = (rw.SparseParameter(30, 20, density=0.2).build(name=name, seed=0) for name in ("a", "b"))
    again = rw.SparseParameter(30, 20, density=0.2).build(name="a", seed=0)
    assert state_of(a) == state_of(again) != state_of(b)
    with pytest.raises(ValueError, match="a has been built already"):
        a.build(name="c", seed=1)
    with pytest.raises(ValueError, match=r"parameters must have a name each, .*got \['a', 'a'\]"):
        rw.SET().rewire([a, again], NOW, 1, 1, seed=0)
    before = state_of(a), state_of(b)
    record = rw.RigL(layers="hidden", end=99, decay="constant").rewire(  # the last one gives the outputs
        [a, b], NOW, 1, 1, seed=0, probe=probe_of([a, b])
    )
    assert record.removed.keys() == record.grown.keys() == {"a", "b"}
    assert record.removed["b"] == record.grown["b"] == 0 < record.removed["a"] == record.grown["a"] <= 36
    assert state_of(a) != before[0] and state_of(b) == before[1]
    assert [q.name for q in rw.SET(layers=[-1]).participants([a, b])] == ["b"]


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        (rw.CHT(), "rewiring 'cht' needs the network .*, for the removal of chains"),
        (rw.ImportancePruning(every=1, begin=0), "rewiring 'importance' needs .* variant=\"corrected\""),
        (rw.ImportancePruning(every=1, variant="published", rule="cht"), "for the removal of chains"),
    ],
)
def test_a_rule_that_needs_the_network_is_refused_without_one(rule, what):
    parameters = bare()
    before = [state_of(q) for q in parameters]
    for call in (
        lambda: rule.prepare(parameters),
        lambda: rule.rewire(parameters, NOW, 1, 1, seed=0),
    ):
        with pytest.raises(ValueError, match=what):
            call()
    assert [state_of(q) for q in parameters] == before


# --- layers that compete for new links ---------------------------------------------------


class GrowLargest(rw.rewiring.Grow):
    """Where |gradient| is largest in all layers together: by public names alone."""

    probe_batches, refill, moves = 1, False, True

    def place_all(self, plans, parameters, counts, context):
        total = sum(counts)
        found = [context.probe.largest(q, total, context.key(q)) for q in parameters]
        sizes = np.concatenate([size for *_, size in found])
        best = np.zeros(len(sizes), bool)
        best[np.argsort(-sizes, kind="stable")[:total]] = True
        parts = np.split(best, np.cumsum([len(groups) for groups, *_ in found])[:-1])
        for plan, (groups, sources, _), mine in zip(plans, found, parts, strict=True):
            plan.insert(groups[mine], sources[mine])
        return plans


def dense_gradient(context, parameter):
    """|gradient| of every position that is empty, -1 elsewhere."""
    size = np.abs(context.probe.outputs(parameter).T.astype(float) @ context.probe.inputs(parameter))
    rows, columns, _ = parameter.store.to_arrays()
    size[rows, columns] = -1.0
    return size


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_growth_of_all_layers_at_once_takes_the_largest_of_all(scope):
    rule = rw.Swap(rw.Steps(2), 0.3, rw.rewiring.DropSmallest(scope), GrowLargest())
    net, moved = network(), []
    plans = rule.plans

    def watched(parameters, context):
        dense = [dense_gradient(context, q) for q in parameters]
        made = plans(parameters, context)
        total = sum(plan.n_removed for plan in made)
        least = np.sort(np.concatenate([size.ravel() for size in dense]))[-total]
        for plan, size in zip(made, dense, strict=True):
            grown = np.zeros(size.shape, bool)
            grown[plan.inserted()] = True
            assert size[grown].min(initial=np.inf) >= least * (1 - 1e-5)
            assert size[~grown].max() <= least * (1 + 1e-5)
        moved.append([plan.n_inserted - plan.n_removed for plan in made])
        return made

    rule.plans = watched
    trainer = rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.1), rewiring=rule)
    trainer.fit(X, Y, epochs=3, batch_size=16, verbose=0)
    assert len(moved) == 5 and any(any(row) for row in moved) and not any(map(sum, moved))
    assert net.nnz == network().nnz


@pytest.mark.parametrize("group", [2, 4])
def test_growth_of_all_layers_at_once_keeps_the_number_of_links_with_groups(group):
    sizes = ((12, 21), (21, 17), (17, 3))
    net = rw.Sequential([rw.Sparse(n, m, density=0.4, group=group) for n, m in sizes], seed=1)
    rule = rw.Swap(rw.Steps(2), 0.3, rw.rewiring.DropSmallest(), GrowLargest())
    before = net.nnz
    rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.02), rewiring=rule).fit(
        X, Y, epochs=3, batch_size=16, verbose=0
    )
    net.validate()
    assert net.nnz == before


@pytest.mark.parametrize("group", [1, 4])
def test_a_probe_of_arrays_has_the_gradients_of_their_product(group):
    weight = rw.SparseParameter(9, 6, density=0.5, group=group).build(name="one", seed=0, dtype="float64")
    rng = np.random.default_rng(0)
    x, dz = rng.normal(size=(70, 9)), rng.normal(size=(70, 6))
    probe = GradientProbe({"one": (x.tolist(), dz)}, 2)
    rows, cols, _ = weight.to_arrays()
    live = rw.SparseParameter(9, 6, density=0.5, group=group).build(name="one", seed=0, dtype="float64")
    live.core.set_field("weight", probe.live(weight))
    np.testing.assert_allclose(live.to_arrays()[2], (dz.T @ x)[rows, cols], rtol=1e-12)
    np.testing.assert_array_equal(probe.inputs(weight), x)
    np.testing.assert_array_equal(probe.outputs(weight), dz)


@pytest.mark.parametrize(
    ("pairs", "error", "says"),
    [
        ([], TypeError, "pairs must be a dict of names"),
        ({"other": ()}, ValueError, "probe must have inputs and gradients of 'one', got those of 'other'"),
        ({"one": np.ones((4, 9))}, TypeError, r"pairs\['one'\] must be inputs and gradients, got an array"),
        ({"one": (np.ones((4, 8)), np.ones((4, 6)))}, ValueError, r"\[0\] must have shape \(samples, 9\)"),
        ({"one": (np.ones((4, 9)), np.ones((3, 6)))}, ValueError, r"\[1\] must have shape \(samples, 6\)"),
        ({"one": (np.ones((0, 9)), np.ones((0, 6)))}, ValueError, r"\[0\] must have shape \(samples, 9\)"),
        ({"one": (np.ones((4, 9)), 1j * np.ones((4, 6)))}, TypeError, r"\[1\] must be an array of real"),
        ({"one": (np.full((4, 9), 1e300), np.ones((4, 6)))}, ValueError, r"\[0\] must be finite in float32"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_probe_of_other_arrays_is_refused(pairs, error, says):
    weight = rw.SparseParameter(9, 6, density=0.5).build(name="one", seed=0)
    rule = rw.RigL(every=1)
    rule.prepare([weight])
    before = weight.to_arrays()
    with pytest.raises(error, match=says):
        rule.rewire([weight], TrainingProgress(0, 1, False), 1, 1, seed=0, probe=GradientProbe(pairs))
    for a, b in zip(weight.to_arrays(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_of_a_rule_within_a_rule_are_checked_before_they_are_saved(tmp_path):
    """A file that says otherwise is refused, and not loaded to fail in the first fit."""
    layers = [rw.Sparse(8, 6), rw.Sparse(6, 3, activation="softmax")]
    rule = rw.ImportancePruning(0.1, rule=rw.SET(layers="absent"))
    trainer = rw.Trainer(rw.Sequential(layers), loss="cross_entropy", rewiring=rule)
    with pytest.raises(ValueError, match="layers must name layers with sparse weights .* got 'absent'"):
        trainer.save(tmp_path / "m")
