"""Rewiring: exact counts, what survives, what new links hold, when it happens, and rules of one's own."""

import inspect
import json
import pickle

import numpy as np
import pytest

import rewire as rw
from rewire import _core
from rewire.rewiring import (
    Drop,
    DropNearestZero,
    DropSmallest,
    Fraction,
    Grow,
    GrowRandom,
    TrainingProgress,
    base,
    rewiring_class,
    rewiring_names,
)
from small import rewired

X = np.random.default_rng(0).normal(size=(60, 12)).astype("f4")
Y = np.random.default_rng(1).integers(0, 3, 60)


def network(group=1, seed=0, dtype="float32", n_hidden=20):
    return rw.Sequential(
        [
            rw.Sparse(12, n_hidden, density=0.3, activation="all-relu", group=group),
            rw.Sparse(n_hidden, 17, density=0.25, activation="all-relu", group=group),
            rw.Sparse(17, 3, density=0.5, activation="softmax"),
        ],
        seed=seed,
        dtype=dtype,
    )


def links(layer, field="weight"):
    """{(group, source): values} of a layer."""
    store = layer.store
    groups = np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))
    values = store.get_field(field)
    return {(int(g), int(j)): v for g, j, v in zip(groups, store.sources(), values, strict=True)}


def trained(rule, optimizer=None, epochs=1, group=1, **options):
    net = network(group)
    trainer = rw.Trainer(
        net, loss="cross_entropy", optimizer=optimizer or rw.SGD(0.1, momentum=0.9), rewiring=rule
    )
    trainer.fit(X, Y, epochs=epochs, batch_size=16, verbose=0, **options)
    return trainer


def rewire(trainer, rule, ordinal=1, regrow=True):
    return rewired(rule, trainer.network, TrainingProgress(1, 4, True), ordinal, 1, regrow=regrow)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.3, 0.5, 1.0])
def test_drop_counts_are_exact(fraction):
    """floor(zeta n+) and floor(zeta n-) of each layer, the ones nearest zero; as many come."""
    trainer = trained(rw.SET())
    before = [{k: float(v[0]) for k, v in links(layer).items()} for layer in trainer.network.layers]
    record = rewire(trainer, rw.SET(fraction))
    for layer, old, removed, grown in zip(
        trainer.network.layers, before, record.removed, record.grown, strict=True
    ):
        new = links(layer)
        positive = sorted(k for k, v in old.items() if v >= 0)
        negative = sorted(k for k, v in old.items() if v < 0)
        n_positive, n_negative = int(fraction * len(positive)), int(fraction * len(negative))
        assert removed == grown == n_positive + n_negative
        assert len(new) == len(old) == layer.nnz
        for positions, count in ((positive, n_positive), (negative, n_negative)):
            by_size = sorted(positions, key=lambda k: abs(old[k]))
            for k in by_size[count:]:
                assert new[k] == old[k]  # survivors keep their weights
            for k in by_size[:count]:
                assert k not in new or new[k] == 0.0  # dropped, or regrown at zero
        assert sum(k not in old or (k in old and new[k] != old[k]) for k in new) <= removed
    trainer.network.validate()


@pytest.mark.parametrize("group", [1, 2, 4, 8])
def test_counts_never_change(group):
    trainer = trained(rw.SET(0.4), epochs=8, group=group)
    for layer, start in zip(trainer.network.layers, network(group).layers, strict=True):
        assert 0 <= start.nnz - layer.nnz < (group if layer.n_out % group else 1)
    trainer.network.validate()
    for row in trainer.history.epochs[1:]:
        assert sum(row["links_removed"]) > 0
        if group == 1:
            assert row["links_removed"] == row["links_grown"]


@pytest.mark.parametrize("group", [1, 4])
def test_momentum_stays_with_survivors_and_new_links_have_none(group):
    trainer = trained(rw.Static(), group=group)
    before = [(links(layer), links(layer, "momentum")) for layer in trainer.network.layers]
    rewire(trainer, rw.SET(0.3))
    for layer, (weights, momenta) in zip(trainer.network.layers, before, strict=True):
        new = 0
        for k, m in links(layer, "momentum").items():
            if k in weights and np.array_equal(links(layer)[k], weights[k]) and weights[k].any():
                assert np.array_equal(m, momenta[k])
            else:
                new += 1
                assert not m.any() and not links(layer)[k].any()
        assert new > 0


def test_adam_moments_and_ages():
    trainer = trained(rw.SET(0.3), rw.Adam(0.01), epochs=3)
    steps_before_last = 8  # four a epoch, the last rewiring came after two epochs
    for layer in trainer.network.layers:
        born = set(np.unique(layer.store.get_field("birth_step")))
        assert born <= {1, 5, steps_before_last + 1}
        assert {1, steps_before_last + 1} <= born
    rewire(trainer, rw.SET(0.3))  # not through the trainer: births were set when the epoch ended
    assert 13 in np.unique(trainer.network.layers[0].store.get_field("birth_step"))


def test_links_that_grow_within_an_epoch_are_as_old_as_that():
    trainer = trained(rw.SET(0.3, every=rw.Steps(3)), rw.Adam(0.01), epochs=2)  # before steps 4 and 7
    for layer in trainer.network.layers:
        assert {1, 7} <= set(np.unique(layer.store.get_field("birth_step"))) <= {1, 4, 7}


@pytest.mark.parametrize(
    ("init", "check"),
    [
        ("zeros", lambda w: (w == 0).all()),
        (0.25, lambda w: (w == 0.25).all()),
        (rw.Normal(1.0), lambda w: 0.5 < w.std() < 1.5 and len(set(w)) == len(w)),
        ("he-uniform", lambda w: len(set(w)) == len(w) and np.abs(w).max() < 3),
    ],
)
def test_initial_weights_of_new_links(init, check):
    trainer = trained(rw.Static())
    before = links(trainer.network.layers[0])
    rewire(trainer, rw.SET(0.3, init=init))
    new = np.array([v[0] for k, v in links(trainer.network.layers[0]).items() if k not in before])
    assert len(new) > 10 and check(new)


def test_seed_and_ordinal_name_the_draw():
    def positions(seed, ordinal):
        net = network(seed=seed)
        net.layers[0].store.set_field("weight", np.ones((net.layers[0].store.slots, 1), "f4"))
        rewired(rw.SET(0.3), net, TrainingProgress(1, 1, True), ordinal, 1)
        return sorted(links(net.layers[0]))

    assert positions(0, 1) == positions(0, 1)
    assert positions(0, 1) != positions(0, 2)
    assert positions(0, 1) != positions(1, 1)


# --- when, and which layers -------------------------------------------------------------


def test_every_epoch_but_not_after_the_last():
    trainer = trained(rw.SET(0.3), epochs=4)
    assert trainer.rewirings == 3
    assert [sum(row["links_removed"]) > 0 for row in trainer.history.epochs] == [False, True, True, True]
    trainer.fit(X, Y, epochs=2, batch_size=16, verbose=0)  # goes on where it stopped
    assert trainer.rewirings == 5


def test_every_other_epoch_with_an_end():
    trainer = trained(rw.SET(0.3, every=rw.Epochs(2, stop=5)), epochs=8)
    assert [sum(row["links_removed"]) > 0 for row in trainer.history.epochs] == [
        False,
        False,
        True,
        False,
        True,
        False,
        False,
        False,
    ]
    assert trained(rw.SET(0.3, every=rw.Epochs(3)), epochs=7).rewirings == 2


def test_every_so_many_steps():
    trainer = trained(rw.SET(0.3, every=rw.Steps(3)), epochs=3)  # twelve steps: before 3, 6, 9
    assert trainer.rewirings == 3


def test_a_batch_without_weight_is_no_step_to_rewire_at():
    net = rw.Sequential([rw.Sparse(8, 30, density=0.5), rw.Sparse(30, 3, density=0.5)])
    trainer = rw.Trainer(net, loss="cross_entropy", rewiring=rw.SET(every=rw.Steps(1)))
    data = np.random.default_rng(0).normal(size=(64, 8)), np.arange(64) % 3
    weight = np.repeat([0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0], 8)
    trainer.fit(*data, batch_size=8, sample_weight=weight, shuffle=False, verbose=0)
    assert (trainer.step, trainer.rewirings) == (3, 2)


def test_every_of_numpy_integers_can_be_saved():
    rule = rw.SET(every=rw.Steps(np.int64(3), stop=np.int32(9)))
    assert rw.rewiring.rewiring(json.loads(json.dumps(rule.config()))).every == rule.every


def test_static_and_none():
    for rule in (rw.Static(), None, "static"):
        trainer = trained(rule, epochs=3)
        assert trainer.rewirings == 0
        assert [sorted(links(a)) for a in trainer.network.layers] == [
            sorted(links(a)) for a in network().layers
        ]


def test_output_layer_may_be_left_out():
    trainer = trained(rw.SET(0.3, layers="hidden"), epochs=3)
    start = network()
    assert sorted(links(trainer.network.layers[2])) == sorted(links(start.layers[2]))
    assert all(row["links_removed"][2] == 0 for row in trainer.history.epochs)
    assert sorted(links(trainer.network.layers[0])) != sorted(links(start.layers[0]))


def test_removal_after_the_last_epoch():
    trainer = trained(rw.SET(0.3, last_epoch="remove"), epochs=3, validation_data=(X, Y))
    row = trainer.history.epochs[-1]
    for now, start, removed, grown in zip(
        row["nnz"],
        [layer.nnz for layer in network().layers],
        row["links_removed"],
        row["links_grown"],
        strict=True,
    ):
        assert now == start - (removed - grown) < start
    # What was validated is what is left.
    assert trainer.evaluate(X, Y)["accuracy"] == row["val_accuracy"]


def test_a_full_layer_is_left_alone():
    net = rw.Sequential(
        [rw.Sparse(12, 8, density=0.5, activation="relu"), rw.Sparse(8, 3, activation="softmax")]
    )
    weights = net.layers[1].store.get_field("weight")
    record = rewired(rw.SET(0.3), net, TrainingProgress(1, 1, True), 1, 1)
    assert record.removed[0] > 0 and record.removed[1] == 0
    assert np.array_equal(net.layers[1].store.get_field("weight"), weights)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: rw.Sparse(1, 1),
        lambda: rw.Sparse(5, 4, links=0),
        lambda: rw.Sparse(5, 4, links=1),
        lambda: rw.Sparse(5, 4, links=19),
        lambda: rw.Sparse(5, 4, links=10, init=1.0),
        lambda: rw.Sparse(5, 4, links=10, init=-1.0),
        lambda: rw.Sparse(5, 4, links=10, init=0.0),
        lambda: rw.Sparse(5, 3, links=10, group=8),
        lambda: rw.Dense(5, 4),
    ],
)
def test_degenerate_layers_survive(layer):
    net = rw.Sequential([layer()])
    nnz = net.nnz
    for ordinal in range(1, 20):
        rewired(rw.SET(0.5, init=rw.Normal(1)), net, TrainingProgress(1, 1, True), ordinal, 1)
        net.validate()
        assert net.nnz == nnz


# --- all or nothing ---------------------------------------------------------------------


def test_a_view_anywhere_stops_the_whole_rewiring():
    net = network()
    before = [sorted(links(layer)) for layer in net.layers]
    with net.layers[1].store.view():
        with pytest.raises(BufferError, match=r"layer 1 \(Sparse 20 -> 17\) cannot be rewired"):
            rewired(rw.SET(0.3), net, TrainingProgress(1, 1, True), 1, 1)
    assert [sorted(links(layer)) for layer in net.layers] == before
    rewired(rw.SET(0.3), net, TrainingProgress(1, 1, True), 1, 1)
    assert [sorted(links(layer)) for layer in net.layers] != before


# --- rules of one's own -----------------------------------------------------------------


class Smallest(Drop):
    """The smallest in magnitude, whatever their sign."""

    def mark(self, plan, layer, fraction, context):
        plan.prune_smallest(int(fraction * layer.store.slots), *context.key(layer), context.threads)


class Diagonal(Grow):
    """Newcomers on the diagonal first: by pairs, in NumPy."""

    def place(self, plan, layer, count, context):
        store = layer.store
        kept = set(links(layer)) - set(zip(*map(list, plan.removed()), strict=True))
        empty = sorted(
            ((g, j) for g in range(store.n_groups) for j in range(store.n_in) if (g, j) not in kept),
            key=lambda p: abs(p[0] - p[1]),
        )
        chosen = sorted(empty[:count])
        plan.insert(*(np.array([p[i] for p in chosen], np.int32) for i in (0, 1)))


class Chooser(rw.Rule):
    def plans(self, parameters, context):
        plans = [context.plan(parameter) for parameter in parameters]
        for plan, parameter in zip(plans, parameters, strict=True):
            Smallest().mark(plan, parameter, 0.2, context)
            Diagonal().place(plan, parameter, plan.n_removed, context)
        return plans


def test_composing_a_rule():
    rule = rw.Swap(rw.Steps(2), Fraction(0.2), Smallest(), GrowRandom(rw.Zeros()))
    trainer = trained(rule, epochs=3)
    assert trainer.rewirings == 5
    trainer.network.validate()
    assert [layer.nnz for layer in trainer.network.layers] == [layer.nnz for layer in network().layers]


def test_a_rule_that_plans_by_itself():
    rule = Chooser(rw.Epochs())
    trainer = trained(rule, epochs=6)
    trainer.network.validate()
    store = trainer.network.layers[1].store
    assert sum((i, i) in links(trainer.network.layers[1]) for i in range(17)) > 10
    assert store.slots == network().layers[1].store.slots


def test_rules_are_told_apart_by_name():
    rule = rw.SET(0.2, every=rw.Steps(5, stop=50), init="he-uniform", layers="hidden", last_epoch="remove")
    twin = rw.rewiring.rewiring(rule.config())
    assert twin.config() == rule.config()
    assert rw.rewiring.rewiring("set").config() == rw.SET().config()
    assert isinstance(rw.rewiring.rewiring(None), rw.Static)
    assert DropNearestZero in {type(rule.drop)}


WRONG = [
    (lambda: rw.SET(fraction=1.5), ValueError, r"fraction must be a number in \[0, 1\], got 1.5"),
    (lambda: rw.SET(fraction="a"), TypeError, r"fraction must be a number in \[0, 1\], got 'a'"),
    (lambda: rw.SET(every=0), ValueError, "every must be an integer >= 1, got 0"),
    (lambda: rw.SET(every="epoch"), ValueError, r"every must be Epochs\(n\), Steps\(n\) or .* got 'epoch'"),
    (lambda: rw.SET(every="0 epochs"), ValueError, "every must be Epochs.* got '0 epochs'"),
    (lambda: rw.SET(every="often"), ValueError, 'every must be .*"2 epochs" or "100 steps", got \'often\''),
    (lambda: rw.GMP(every="often"), ValueError, 'every must be "auto", Epochs.* got \'often\''),
    (lambda: rw.GraNet(every=None), TypeError, 'every must be "auto", Epochs.* got None'),
    (lambda: rw.rewiring.Custom(len, every=None), TypeError, "every must be Epochs.* got None"),
    (lambda: rw.SET(every={"step": 2, "stop": 3}), ValueError, "every must be Epochs.* got {'step': 2"),
    (lambda: rw.SET(every={"steps": 0}), ValueError, r"every\['steps'\] must be an integer >= 1, got 0"),
    (lambda: rw.ImportancePruning(rule="nope"), ValueError, "^rule must be one of .* got 'nope'"),
    (lambda: rw.SET(init="she"), ValueError, "init must be one of .* got 'she'"),
    (lambda: rw.SET(layers=1.5), TypeError, "layers must be None, \"hidden\", positions .*, got 1.5"),
    (lambda: rw.SET(last_epoch="no"), ValueError, "last_epoch must be one of 'skip', 'remove', got 'no'"),
    (lambda: rw.Epochs(0), ValueError, "n must be an integer >= 1, got 0"),
    (lambda: rw.Steps(0), ValueError, "n must be an integer >= 1, got 0"),
    (lambda: rw.Epochs(stop=-1), ValueError, "stop must be an integer >= 0, got -1"),
    (lambda: rw.rewiring.rewiring("sets"), ValueError, "rewiring must be one of .* got 'sets'"),
    (lambda: rw.rewiring.rewiring(3), TypeError, "rewiring must be one of .* got 3"),
]


@pytest.mark.parametrize("name", sorted(set(rewiring_names()) - {"itop"}))
def test_no_rule_can_be_switched_off_by_its_schedule(name):
    """Rule(None) never rewires, and is called "static"; "itop" has a schedule of its own for None."""
    rule = rewiring_class(name)
    if "every" not in inspect.signature(rule).parameters:
        return
    made = rule()
    before = made.every
    for call in (lambda: rule(every=None), lambda: made.set_params(every=None)):
        with pytest.raises(TypeError, match=r"every must be .*Epochs\(n\), Steps\(n\) .* got None"):
            call()
    assert made.every == before and before is not None


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_wrong_arguments(case):
    call, kind, words = WRONG[case]
    with pytest.raises(kind, match=words):
        call()


@pytest.mark.parametrize("every", [2, {"steps": 2}, rw.Steps(2), rw.Epochs(1)])
@pytest.mark.parametrize("end", [0.5, 12])
def test_a_rule_ends_where_it_says_whatever_its_schedule(every, end):
    """And no optimizer step is skipped for a rewiring that has nothing to move."""
    steps = []

    class Note(rw.Callback):
        def on_rewire(self, state):
            steps.append(state.step)

    net = network()
    rule = rw.RigL(every=every, end=end)
    trainer = rw.Trainer(net, loss="cross_entropy", rewiring=rule, callbacks=[Note()])
    trainer.fit(X, Y, epochs=6, batch_size=16, verbose=0)  # 24 steps
    assert steps and max(steps) < 12
    assert trainer.state.optimizer_step == trainer.step - len(steps)


def test_a_registered_rule_is_saved_by_its_parameters(monkeypatch):
    class Mine(rw.Magnitude):
        name = "mine"

        def __init__(self, fraction=0.1, *, kept=2, lost=3):
            super().__init__(fraction, every=rw.Steps(5))
            self.kept = kept

    with pytest.raises(NotImplementedError, match="Mine cannot be saved: .*register_rule"):
        Mine().config()
    monkeypatch.setattr(base.KINDS, "_makers", dict(base.KINDS._makers))  # for this test alone
    rw.rewiring.register_rule(Mine)
    with pytest.raises(NotImplementedError, match="it has no attribute 'lost'"):
        Mine().config()
    rule = Mine(0.2, kept=4)
    rule.lost = 7
    assert rule.config() == {"name": "mine", "fraction": 0.2, "kept": 4, "lost": 7}
    assert rw.rewiring.rewiring(rule.config()).kept == 4


def test_a_subclass_without_a_name_of_its_own_is_not_saved_as_its_base(tmp_path):
    class Quiet(rw.RigL):
        """Its name is "rigl", and a file would bring back a RigL."""

    trainer, path = trained(Quiet(every=2), epochs=2), tmp_path / "t"
    for save in (trainer.rewiring.config, lambda: trainer.save(path), lambda: pickle.dumps(trainer)):
        with pytest.raises(NotImplementedError, match="Quiet cannot be .*'rigl' .* RigL rewiring; give it"):
            save()
    assert not path.exists()


@pytest.mark.parametrize("part", ["drop", "grow", "redistribute"])
@pytest.mark.parametrize("early", [True, False])
def test_a_parameter_with_the_name_of_a_criterion_is_refused(part, early):
    class Mine(rw.SET):
        def __init__(self):
            if early:
                setattr(self, part, 0.3)
            super().__init__()
            setattr(self, part, 0.3)

    with pytest.raises(TypeError, match=f"Mine.{part} must be a {part.title()}, .*got 0.3; .*another name"):
        Mine()
    with pytest.raises(TypeError, match=f"{part} must be .*a {part.title()}"):
        rw.Swap(**{"every": 3, "fraction": 0.3, "drop": Smallest(), "grow": Diagonal(), part: 3})


def test_a_criterion_as_a_parameter_is_no_description(monkeypatch):
    class Mine(rw.Swap):
        name = "mine"

        def __init__(self, drop):
            super().__init__(3, 0.3, drop, Diagonal())

    monkeypatch.setattr(base.KINDS, "_makers", dict(base.KINDS._makers))
    rw.rewiring.register_rule(Mine)
    with pytest.raises(NotImplementedError, match="its parameter 'drop' is a Smallest, which has no name"):
        Mine(Smallest()).config()


def test_every_rule_and_its_parts_can_be_shown():
    rules = [rw.rewiring.rewiring(name) for name in rw.rewiring.rewiring_names()]
    rules.append(rw.Swap(rw.Steps(10), 0.3, DropSmallest(), GrowRandom(rw.Zeros())))
    for rule in rules:
        parts = [rule]
        parts += [rule.drop, rule.grow, rule.redistribute] if isinstance(rule, rw.Swap) else []
        assert all(repr(part).startswith(type(part).__name__ + "(") for part in parts)
    assert "drop=DropSmallest(scope='layer'), grow=GrowRandom(init=Zeros()" in repr(rules[-1])


def test_scores_and_gradients_say_what_they_need():
    layer = network().layers[0]
    score = np.ones(layer.store.slots)
    score[3] = -0.5
    with pytest.raises(ValueError, match="score must be >= 0, got -0.5 for slot 3"):
        _core.Plan(layer.core).prune_scores(score, 2, 0, 0, 0)
    with pytest.raises(ValueError, match="prune_scores: sizes"):
        _core.Plan(layer.core).prune_scores(np.abs(score), layer.store.slots + 1, 0, 0, 0)

    class Asks(Drop):
        def mark(self, plan, layer, share, context):
            context.probe.live(layer)

    with pytest.raises(RuntimeError, match=r"set probe_batches = 1 on the Drop or Grow \(or the rule\)"):
        trained(rw.Swap(3, 0.2, Asks(), Diagonal()), epochs=2)
