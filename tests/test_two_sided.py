"""Two-sided switching: what it is a special case of, and what follows a neuron's two sides."""

import numpy as np
import pytest

import rewire as rw

RNG = np.random.default_rng(3)
X = RNG.normal(size=(37, 9))
Y = RNG.normal(size=(37, 3))


def matrices(group):
    """A first matrix, and a second one with gaps: (12, 9), (3, 12)."""
    first, second = RNG.normal(size=(12, 9)), RNG.normal(size=(3, 12))
    for begin in range(0, 3, group):  # rows of a group share their sources
        second[begin : begin + group, RNG.choice(12, 5, replace=False)] = 0
    return first, second


def one_sided(first, second, activation, group):
    return rw.Sequential(
        [
            rw.Sparse.from_dense(first, np.full(12, 0.1), activation=activation, group=group),
            rw.Sparse.from_dense(second, np.zeros(3), group=group),
        ],
        dtype="float64",
    )


def two_sided(first, second, slope, group):
    """The same with a pattern for each side; a slope of 0 leaves the lower side without links."""
    return rw.Sequential(
        [
            rw.Sparse.from_dense(first, np.full(12, 0.1), group=group),
            rw.TwoSided(),
            rw.Sparse.from_dense(np.hstack([second, slope * second]), np.zeros(3), group=group),
        ],
        dtype="float64",
    )


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize(
    "activation, slope",
    [
        ("relu", 0.0),
        (rw.LeakyReLU(0.25), 0.25),
        (rw.LeakyReLU(-1.0), -1.0),  # abs
        (rw.AllReLU(0.6), -0.6),  # the first hidden layer's
        ("linear", 1.0),
    ],
)
def test_one_pattern_for_both_sides_is_an_activation(activation, slope, group):
    first, second = matrices(group)
    nets = one_sided(first, second, activation, group), two_sided(first, second, slope, group)
    ours, theirs = (net.predict(X) for net in nets)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    gradients = []
    for net in nets:
        trainer = rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.1))
        trainer.gradients(X, Y)
        gradients.append(net.parameters()["layers.0.weight"].read("gradient"))
    np.testing.assert_allclose(*gradients, rtol=0, atol=1e-12)


def test_each_side_has_links_of_its_own():
    """10 from the upper side of the first value, 100 from the lower sides of both."""
    lower = np.array([[10.0, 0, 100, 100]])
    net = rw.Sequential([rw.TwoSided(2), rw.Sparse.from_dense(lower)], dtype="float64")
    assert net.predict(np.array([[2.0, -3.0]])).item() == 10 * 2 + 100 * -3
    assert net.predict(np.array([[-2.0, 3.0]])).item() == 100 * -2
    assert net.predict(np.array([[0.0, 0.0]])).item() == 0


def test_rewiring_moves_links_between_the_sides():
    net = rw.Sequential(
        [rw.Sparse(9, 40, epsilon=4), rw.TwoSided(), rw.Sparse(80, 3, links=60, activation="softmax")], seed=1
    )
    before = {*zip(*(a.tolist() for a in net.layers[2].store.to_arrays()[:2]), strict=True)}
    trainer = rw.Trainer(net, loss="cross_entropy", rewiring=rw.SET(0.5, every=1))
    trainer.fit(X, Y.argmax(1), epochs=10, batch_size=8, verbose=0)
    after = {*zip(*(a.tolist() for a in net.layers[2].store.to_arrays()[:2]), strict=True)}
    assert len(after) == len(before) == 60
    for side in (0, 1):
        assert any(source // 40 == side for _, source in after - before)


def test_a_neuron_goes_with_both_of_its_sides():
    """Neurons 1 and 3 have no links onwards; 2 has one from its lower side alone."""
    onwards = np.array([[1.0, 0, 0, 0, 0, 0, 2.0, 0]])
    first = RNG.normal(size=(4, 9))
    net = rw.Sequential(
        [rw.Sparse.from_dense(first, np.ones(4)), rw.TwoSided(), rw.Sparse.from_dense(onwards, np.zeros(1))],
        dtype="float64",
    )
    before = net.predict(X)
    found = rw.remove_neurons(net)
    assert found.kept[0].tolist() == [0, 2]
    assert [layer.n_out for layer in net.layers] == [2, 4, 1]
    np.testing.assert_array_equal(net.predict(X), before)


def test_a_constant_goes_on_from_the_side_where_it_is():
    first = RNG.normal(size=(3, 9))
    first[1] = 0  # the bias alone: -0.5 for every sample
    net = rw.Sequential(
        [
            rw.Sparse.from_dense(first, np.array([0.1, -0.5, 0.2])),
            rw.TwoSided(),
            rw.Sparse.from_dense(RNG.normal(size=(2, 6)), np.zeros(2)),
        ],
        dtype="float64",
    )
    before = net.predict(X)
    assert rw.remove_neurons(net).kept[0].tolist() == [0, 2]
    np.testing.assert_allclose(net.predict(X), before, rtol=0, atol=1e-12)


def test_visits_of_each_side_are_counted():
    """In a composite too, over several batches, with whatever else there is."""
    first = RNG.normal(size=(4, 9))
    first[2] = 0  # on neither side
    net = rw.Sequential(
        [
            rw.Dropout(0.5),
            rw.layers.Concat([[rw.Sparse.from_dense(first), rw.TwoSided()], rw.Sparse(9, 3)]),
            rw.LayerNorm(),
            rw.Sparse(11, 2),
        ],
        dtype="float64",
    )
    many = np.tile(X, (60, 1))
    found = rw.analysis.visited_sides(net, many)
    (name, counts), sums = *found.items(), many @ first.T
    assert name == next(key for key, layer in net.tree.layers.items() if isinstance(layer, rw.TwoSided))
    np.testing.assert_array_equal(counts, [(sums > 0).sum(axis=0), (sums < 0).sum(axis=0)])
    with pytest.raises(ValueError, match="network must have a TwoSided layer"):
        rw.analysis.visited_sides(rw.Sequential([rw.Sparse(9, 3)]), X)


def test_it_cannot_stand_last():
    with pytest.raises(ValueError, match="last layer must be"):
        rw.Sequential([rw.Sparse(9, 4), rw.TwoSided()])
