"""k-winners: who wins, who learns, what boosting and duty cycles do."""

import math

import numpy as np
import pytest

import rewire as rw
from rewire.analysis import linear_at

RNG = np.random.default_rng(13)
X = RNG.normal(size=(90, 12))
Y = RNG.integers(0, 3, 90)


def alone(dtype="float64", n=12, **given):
    """Winners among the inputs, and what they become: the identity after them."""
    twice = 2 if given.get("two_sided") else 1
    layer = rw.KWinners(**given, n_in=n)
    return rw.Sequential([layer, rw.Sparse.from_dense(np.eye(twice * n))], dtype=dtype)


def largest(x, k):
    """By sorting: the first of equal ones is ahead."""
    order = np.argsort(-x, axis=1, kind="stable")[:, :k]
    wins = np.zeros(x.shape, bool)
    np.put_along_axis(wins, order, True, axis=1)
    return wins


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 3, 8, 12])
def test_the_largest_win(k, dtype):
    net = alone(dtype, k=k, k_inference_factor=1.0)
    x = np.round(X, 1).astype(dtype)  # with ties
    np.testing.assert_array_equal(net.predict(x), np.where(largest(x, k), x, 0))
    for rows in (1, 2, 3, 17, 70):  # tiles of every kind
        np.testing.assert_array_equal(net.predict(x[:rows]), net.predict(x)[:rows])


def test_more_win_after_training():
    net = alone(fraction=0.25)
    layer = net.layers[0]
    assert (layer.winners, layer.winners_after) == (3, 4)
    np.testing.assert_array_equal((net.predict(X) != 0).sum(axis=1), 4)
    assert alone(fraction=0.01).layers[0].winners == 1
    assert alone(fraction=0.9).layers[0].winners_after == 12


def test_those_that_seldom_won_are_helped():
    """0.9 is ahead of 1.0 once its factor makes up for it; what comes out is the value itself."""
    net = alone(n=2, k=1, k_inference_factor=1.0, boost=2.0)
    x = np.array([[1.0, 0.9]])
    assert net.predict(x).tolist() == [[1.0, 0.0]]
    net.layers[0].duty.values[...] = [0.53, 0.47]  # exp(2 * 0.06) > 1 / 0.9
    assert net.predict(x).tolist() == [[0.0, 0.9]]
    net.layers[0].strength.values[...] = 0.5
    assert net.predict(x).tolist() == [[1.0, 0.0]]


def test_duty_cycles_and_the_boost_follow_training():
    hidden = rw.KWinners(0.2, boost=1.2, boost_factor=0.5, duty_cycle_period=10**6)
    net = rw.Sequential([rw.Sparse(12, 30, density=0.5), hidden, rw.Sparse(30, 3, activation="softmax")])
    trainer = rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.05))
    trainer.evaluate(X, Y)
    assert hidden.seen.values == 0 and not hidden.duty.values.any()
    trainer.fit(X, Y, epochs=3, batch_size=32, verbose=0)
    assert hidden.seen.values == 270
    assert hidden.duty.values.sum() == pytest.approx(6)  # winners of a sample
    assert hidden.strength.values == 0.3  # the third epoch's
    fresh = rw.KWinners(0.2, boost=0.0, duty_cycle_period=45)
    net = rw.Sequential([fresh, rw.Sparse(12, 3, activation="softmax")], dtype="float64")
    trainer = rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.05))
    wins = largest(X, 2)
    trainer.train_step(X[:30], Y[:30])
    np.testing.assert_allclose(fresh.duty.values, wins[:30].mean(axis=0))
    trainer.train_step(X[30:45], Y[30:45])
    np.testing.assert_allclose(fresh.duty.values, wins[:45].mean(axis=0))  # so far, a plain mean
    trainer.train_step(X[45:60], Y[45:60])
    mean = wins[:45].mean(axis=0) * 2 / 3 + wins[45:60].mean(axis=0) / 3
    np.testing.assert_allclose(fresh.duty.values, mean)


def test_gradients_go_to_winners_alone():
    """To one whose value is zero as well: a neuron without links wins with its bias of 0."""
    first = np.array([[1.0, 0], [0, 1.0], [0, 0], [-1.0, -1.0]])
    net = rw.Sequential(
        [
            rw.Sparse.from_dense(first, np.zeros(4)),
            rw.KWinners(k=2, boost=0.0),
            rw.Sparse.from_dense(np.ones((1, 4)), np.zeros(1)),
        ],
        dtype="float64",
    )
    trainer = rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.1))
    trainer.gradients(np.array([[3.0, -2.0]]), np.array([[0.0]]))
    bias = net.parameters()["layers.0.bias"].read("gradient")
    np.testing.assert_array_equal(bias != 0, [True, False, True, False])


def test_winners_on_both_sides():
    """All of them: both sets of weights see the value. Two of them: each sees its own."""
    x = np.round(X, 1)
    both = alone(fraction=1.0, two_sided=True).predict(x)
    np.testing.assert_array_equal(both, np.hstack([x, x]))
    few = alone(k=2, k_inference_factor=1.0, two_sided=True)
    up, down = np.where(largest(x, 2), x, 0), np.where(largest(-x, 2), x, 0)
    np.testing.assert_array_equal(few.predict(x), np.hstack([up, down]))


@pytest.mark.parametrize("two_sided", [False, True])
def test_gradients_agree_with_differences(two_sided):
    def loss(shift):
        net.layers[0].bias_parameter.values[...] = bias + shift
        return trainer.evaluate(X[:20], Y[:20])["loss"]

    hidden = rw.KWinners(k=4, k_inference_factor=1.0, boost=0.0, two_sided=two_sided)
    last = rw.Sparse(30 if two_sided else 15, 3, activation="softmax")
    net = rw.Sequential([rw.Sparse(12, 15, density=0.6), hidden, last], seed=2, dtype="float64")
    trainer = rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.1))
    bias = net.layers[0].bias.copy()
    trainer.gradients(X[:20], Y[:20])
    found = net.parameters()["layers.0.bias"].read("gradient")
    for at in range(15):
        step = 1e-6 * (np.arange(15) == at)
        assert found[at] == pytest.approx((loss(step) - loss(-step)) / 2e-6, abs=1e-8)


def test_initial_weights_know_how_many_stay():
    wide = rw.Dense(4, 6000, init=rw.He())
    rw.Sequential([wide, rw.KWinners(0.1), rw.Sparse(6000, 1, links=9)], seed=1)
    z = np.sort(RNG.normal(size=1_000_000))[-100_000:]
    gain = 1 / math.sqrt((z**2).sum() / 1_000_000)
    np.testing.assert_allclose(wide.weight.read().std() * np.sqrt(4), gain, rtol=0.03)
    assert rw.Sequential([rw.Sparse(4, 8), rw.KWinners(1.0), rw.Sparse(8, 1)]).layers[1].input_gain == 1.0


def test_saved_with_its_duty_cycles_and_the_map_it_is(tmp_path):
    net = rw.Sequential([rw.Sparse(12, 30, density=0.5), rw.KWinners(0.2), rw.Sparse(30, 3)], dtype="float64")
    rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.02)).fit(X, X[:, :3], epochs=2, batch_size=16, verbose=0)
    net.save(tmp_path / "n.safetensors")
    again = rw.load(tmp_path / "n.safetensors")
    assert again.layers[1].duty.values.tolist() == net.layers[1].duty.values.tolist()
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    for x in X[:9]:
        found = linear_at(net, x)
        np.testing.assert_allclose(found(x), net.predict(x[None])[0], rtol=1e-10, atol=1e-12)
        assert found.switches[0].sum() == net.layers[1].winners_after


def test_what_cannot_be():
    with pytest.raises(ValueError, match="give fraction or k, got fraction=0.2 and k=3"):
        rw.KWinners(0.2, k=3)
    with pytest.raises(ValueError, match="give fraction or k"):
        rw.activations.activation({"name": "k-winners", "fraction": 0.1, "k": 3})
    with pytest.raises(ValueError, match="k must be at most the number of values, 5, got 6"):
        rw.Sequential([rw.Sparse(9, 5), rw.KWinners(k=6), rw.Sparse(5, 3)])
    with pytest.raises(ValueError, match="last layer must be"):
        rw.Sequential([rw.Sparse(9, 5), rw.KWinners()])
    net = rw.Sequential([rw.Sparse(9, 5), rw.KWinners(0.4), rw.Sparse(5, 3)])
    assert rw.remove_neurons(net).removed[0] == 0  # a neuron that never wins takes part
