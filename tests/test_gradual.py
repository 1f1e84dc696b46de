"""Budgets that follow a schedule: what GMP, GraNet and MEST promise."""

import math

import numpy as np
import pytest

import rewire as rw
from rewire.rewiring import TrainingProgress
from rules.trained import EVERY_OTHER, network, positions, slots, trained, weights
from small import GROWN, SELDOM, rewired

# --- gradual pruning --------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("group", [1, 4])
def test_gradual_pruning_follows_the_cubic(scope, group):
    net = network(*[{"density": 1.0}] * 3, group=group)
    size = [layer.nnz for layer in net.layers]
    assert positions(net) == slots(net)  # full layers take part
    _, seen = trained(rw.GMP(0.1, begin=4, end=16, every=3, scope=scope), net)
    assert seen.steps == [6, 9, 12, 15, 16]
    for step, row in zip(seen.steps, seen.links, strict=True):
        density = 0.1 + 0.9 * (1 - (step - 4) / 12) ** 3
        if scope == "global":
            assert 0 <= sum(row) - math.floor(density * sum(size) + 0.5) < group
        else:
            for links, n in zip(row, size, strict=True):
                assert -group < links - math.floor(density * n + 0.5) < group
                if group == 1:
                    assert links == math.floor(density * n + 0.5)


@SELDOM
@pytest.mark.parametrize(
    ("options", "epochs", "steps"),
    [
        ({"every": 100}, 5, [15]),  # a period longer than the run
        ({"every": 4, "end": 1.0}, 5, [4, 8, 12, 16, 19]),  # before the last step at the latest
        ({"every": 4, "end": 13}, 5, [4, 8, 12, 13]),
        ({"every": 4, "begin": 9, "end": 9}, 5, [9]),  # at once
        ({"every": {"epochs": 1}, "begin": 0.3, "end": 0.7}, 5, [8, 12, 14]),
        ({"every": 1}, 1, [1, 2, 3]),
    ],
)
def test_the_final_density_is_always_met(options, epochs, steps):
    net = network({"density": 0.8}, {"density": 0.5})
    trainer, seen = trained(rw.GMP(0.1, **options), net, epochs=epochs)
    assert seen.steps == steps
    assert sum(slots(net)) == math.floor(0.1 * sum(positions(net)) + 0.5)
    assert trainer.rewirings == len(steps)


@GROWN
def test_the_start_of_pruning_is_remembered():
    """A second call of fit goes on from where the first began, and gives nothing back."""
    net = network(*[{"density": 1.0}] * 3)
    trainer, seen = trained(rw.GMP(0.2, every=2), net, fits=2, epochs=3)
    initial = trainer.config()["state"]["memory"]["initial_links"]
    assert initial == {"layers.0.weight": 240, "layers.1.weight": 340, "layers.2.weight": 51}
    totals = [sum(row) for row in seen.rows]
    assert totals == sorted(totals, reverse=True) and totals[-1] == math.floor(0.2 * 631 + 0.5)


def test_one_slot_stays_and_weight_layers_are_left_alone():
    net = network({"links": 1}, {"links": 0}, {"density": 1.0})
    rewired(rw.GMP(0.001, scope="layer"), net, TrainingProgress(1, 4, True), 1, 1)
    assert slots(net) == [1, 0, 1]
    net = network()
    net.layers[1].store.set_field("weight", np.zeros((slots(net)[1], 1), "f4"))
    rewired(rw.GMP(0.02, reserve=0), net, TrainingProgress(1, 4, True), 1, 1
    )  # 13 of all, and all of these would go
    assert slots(net)[1] == 1 and sum(slots(net)) == 13
    net = network({"density": 0.1}, {"density": 0.9})
    before = slots(net)
    rewired(rw.GMP(0.3, scope="layer"), net, TrainingProgress(1, 4, True), 1, 1)
    assert slots(net) == [before[0], math.floor(0.3 * 340 + 0.5), before[2]]


def test_granet_begins_where_it_is_told_to():
    _, seen = trained(rw.GraNet(0.1, begin=0.4, every=2), network({"density": 0.8}))
    assert seen.steps == [8, 10, 12, 14, 16, 18]


def test_granet_prunes_as_gmp_does_and_moves_links_to_the_end():
    nets = [network(*[{"density": 0.8}] * 3) for _ in range(2)]
    _, pruned = trained(rw.GMP(0.1, every=2, end=0.5), nets[0])
    trainer, seen = trained(rw.GraNet(0.1, every=2, end=0.5), nets[1])
    assert pruned.steps == [2, 4, 6, 8, 10]
    assert seen.steps == list(range(2, 20, 2))
    assert [sum(row) for row in seen.rows[:5]] == [sum(row) for row in pruned.rows]
    assert seen.rows[4:] == [seen.rows[4]] * 5  # what moves stays in its layer
    assert all(sum(row["links_grown"]) > 0 for row in trainer.history.epochs)


# --- MEST -------------------------------------------------------------------------------


def test_elastic_mutation_keeps_its_budget():
    net = network()
    before = slots(net)
    trainer, seen = trained(rw.MEST(every=EVERY_OTHER), net)
    # 20 steps: 0.2 of the budget until step 12 (11.25), 0.1 until 15, then nothing.
    assert seen.steps == [2, 4, 6, 8, 10, 12, 14] and seen.rows == [before] * 7
    removed = np.array([row["links_removed"] for row in trainer.history.epochs])
    first, second = ([int(fraction * n) for n in before] for fraction in (0.2, 0.1))
    assert removed[1].tolist() == [2 * n for n in first]  # steps 4 and 6
    assert removed[3].tolist() == [2 * n for n in second]
    assert removed[4].tolist() == [0, 0, 0]


def test_the_soft_bound_is_left_and_kept_in_the_end():
    net = network()
    before = slots(net)
    _, seen = trained(rw.MEST("em&s", every={"steps": 5}), net)
    above = {fraction: [n + int(fraction * n) for n in before] for fraction in (0.5, 0.25, 0.0)}
    assert seen.steps == [5, 10, 12, 15]
    assert seen.rows == [above[0.5], above[0.5], above[0.25], above[0.0]]
    assert slots(net) == before


@SELDOM
@pytest.mark.parametrize("epochs", [1, 2, 7, 10])
def test_the_soft_bound_is_kept_after_runs_of_any_length(epochs):
    """Every five epochs would come once or never."""
    net = network()
    before = slots(net)
    _, seen = trained(rw.MEST("em&s"), net, epochs=epochs)
    assert slots(net) == before
    assert all(row[i] > before[i] for row in seen.rows[:-1] for i in range(3))


def test_a_layer_that_the_soft_bound_fills_comes_back_and_a_full_one_is_left_alone():
    net = network({"density": 0.8}, {"density": 1.0})
    before, full = slots(net), [v.tolist() for v in weights(net.layers[1]).values()]
    _, seen = trained(rw.MEST("em&s", every=EVERY_OTHER), net, optimizer=rw.SGD(1e-30))
    assert seen.rows[0][:2] == positions(net)[:2]
    assert slots(net) == before
    assert [v.tolist() for v in weights(net.layers[1]).values()] == full


def test_stages_of_ones_own():
    net = network()
    before = slots(net)
    _, seen = trained(rw.MEST("em&s", fractions=[0.1], ends=[], every={"steps": 8}), net)
    assert seen.rows == [[n + int(0.1 * n) for n in before]] * 2
    _, seen = trained(rw.MEST(fractions=[0.5, 0.0], ends=[7], every={"steps": 3}))
    assert seen.steps == [3, 6]
    net = network()
    _, seen = trained(rw.MEST("em&s", fractions=[0.5, 0.0], ends=[1.0], every={"steps": 8}), net)
    assert seen.steps == [8, 16, 19] and seen.rows[-1] == before == slots(net)
