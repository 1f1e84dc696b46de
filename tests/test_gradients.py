"""Gradients agree with central differences in float64: every layer, activation and loss."""

import contextlib
import dataclasses

import numpy as np
import pytest

import rewire as rw
from rewire import _core
from rewire._inputs import as_source
from rewire.layers import Row
from rewire.layers.passing import Keep, Pass
from rewire.losses import Truth
from rewire.losses.base import KINDS
from rewire.parameters.sparse import PATIENCE
from rewire.units import Unit
from strategies import ISAS

STEP = 1e-6  # of the differences
BOUND = 1e-6  # relative to the larger of 1 and the gradient
KINK = 1e-3  # how far inputs of piecewise linear activations stay from their kink

VALUES = {
    "slope": (-0.3, 0.0, 0.2),  # below, at and above what tells the two sides of a leaky activation apart
    "theta": (0.0, 0.3),
    "approximate": ("tanh",),
}


def registered():
    """Every activation that a layer can be given: with its defaults, and with others that matter."""
    for name in rw.activations.KINDS.names():
        if isinstance(rw.activations.activation(name), Unit):
            continue  # a layer of its own: outside/checks.py
        yield (default := rw.activations.activation(name))
        for parameter in dataclasses.fields(default):
            assert parameter.name in VALUES, f"say with which values of {parameter.name} to check {name}"
            for value in VALUES[parameter.name]:
                with contextlib.suppress(ValueError):  # one that this activation does not take
                    yield type(default)(value)


def hidden(activation):
    """Whether a hidden layer can have it."""
    with contextlib.suppress(ValueError):
        return bool(activation.bind(1).code)
    return False


HIDDEN = list(filter(hidden, registered()))
OUTPUTS = [
    ("cross_entropy", "softmax"),
    ("cross_entropy", "linear"),
    ("binary_cross_entropy", "sigmoid"),
    ("binary_cross_entropy", "linear"),
    ("mse", "linear"),
    ("mse", "relu"),
    ("mse", "sigmoid"),
    ("mse", "tanh"),
    ("mse", rw.LeakyReLU(-0.5)),
    ({"name": "cross_entropy", "label_smoothing": 0.2, "class_weight": (2.0, 0.5, 0.0)}, "softmax"),
    ("huber", "tanh"),
    ({"name": "huber", "delta": 0.25}, "linear"),
    ("poisson", "linear"),
    ("squared_hinge", "linear"),
]
LAYERS = {
    "sparse": lambda n, m, f: rw.Sparse(n, m, density=0.6, activation=f),
    "group4": lambda n, m, f: rw.Sparse(n, m, density=0.6, activation=f, group=4),
    "group8": lambda n, m, f: rw.Sparse(n, m, density=0.6, activation=f, group=8),
    "no bias": lambda n, m, f: rw.Sparse(n, m, density=0.6, activation=f, bias=False),
    "dense": lambda n, m, f: rw.Dense(n, m, activation=f),
}


class Probe:
    """A network, a batch and a loss: value and gradients at a fixed training step."""

    def __init__(self, net, X, y, loss, weight=None, step=3):
        self.net, self.loss, self.weight, self.step = net, rw.losses.loss(loss), weight, step
        self.fused = self.loss.fused(net.layers[-1].activation)
        self.source, self.rows = as_source(X, net.n_in), np.arange(len(X))
        self.truth = Truth(self.loss.targets(y, net.n_out), self.rows)
        self.ws = net.workspace()

    def forward(self):
        x = self.net.load_batch(self.ws, self.source, self.rows, 1)
        self.passing = self.net.passing(self.ws, fused=self.fused, training=True, step=self.step)
        return self.net.forward(x, self.passing)

    def value(self):
        return self.loss.evaluate(self.forward()[-1], self.truth, self.weight, None)

    def backward(self):
        flow = self.forward()
        dz = self.ws.tiles("dz", self.net.n_out)
        self.loss.evaluate(flow[-1], self.truth, self.weight, dz)
        self.net.backward(dz, flow, self.passing, Keep())

    def parameters(self):
        """(read, write, gradient) of every parameter, as vectors."""
        for parameter in self.net.parameters().values():
            yield parameter.read, parameter.write, parameter.read("gradient")

    def near_kink(self):
        """Whether an input of a piecewise linear activation lies near its kink."""
        flow, spare = self.forward(), self.net.workspace()
        spare.shape(len(self.rows))
        for layer in self.net.weight_layers:
            if layer.bound.switch is not None:
                z = layer.forward(flow[layer.index], Pass(spare, linear=layer))
                if np.abs(z.unpack() - layer.bound.switch[0]).min() < KINK:
                    return True
        return False

    def check(self):
        self.backward()
        for read, write, gradient in list(self.parameters()):
            start = read()
            for at in range(start.size):
                found = []
                for sign in (1, -1):
                    moved = start.copy()
                    moved[at] += sign * STEP
                    write(moved)
                    found.append(self.value())
                write(start)
                numeric = (found[0] - found[1]) / (2 * STEP)
                assert abs(gradient[at] - numeric) <= BOUND * max(1.0, abs(numeric)), (
                    at,
                    gradient[at],
                    numeric,
                )


def batch(loss, n_out, samples=6, n_in=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(samples, n_in))
    name = rw.losses.loss(loss).name
    if name == "cross_entropy":
        return X, rng.integers(0, n_out, samples)
    if name == "binary_cross_entropy":
        return X, rng.random((samples, n_out))
    if name == "poisson":
        return X, rng.poisson(2.0, (samples, n_out))
    if name == "squared_hinge":
        return X, rng.random((samples, n_out)) < 0.5
    return X, rng.normal(size=(samples, n_out))


def probe(make, loss, **options):
    """A probe whose piecewise linear activations stay away from their kinks: the first of some seeds."""
    for seed in range(200):
        net = make(seed)
        rng = np.random.default_rng(seed)
        for layer in net.weight_layers:
            if layer.bias is not None:
                layer.bias[...] = rng.normal(size=layer.n_out)
        found = Probe(net, *batch(loss, net.n_out, seed=seed), loss, **options)
        if not found.near_kink():
            return found
    raise AssertionError("no seed keeps away from the kinks")


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("hidden", HIDDEN, ids=repr)
def test_layers_and_activations(kind, hidden):
    layer = LAYERS[kind]
    net = probe(
        lambda seed: rw.Sequential(
            [layer(5, 6, hidden), layer(6, 5, hidden), layer(5, 3, "softmax")], seed=seed, dtype="float64"
        ),
        "cross_entropy",
    )
    net.check()


def test_an_activation_says_what_its_derivative_reads():
    with pytest.raises(TypeError, match="needs_z"):
        rw.activations.Bound("tanh")
    assert {a.bind(1).code for a in HIDDEN} == {
        "linear", "relu", "leaky", "sigmoid", "tanh", "thresholded", "gelu", "gelu_tanh", "silu",
    }  # fmt: skip
    never = [a for a in registered() if not hidden(a)]
    assert never == [rw.Softmax()]  # whose derivative is the loss's: test_losses_and_final_activations


@pytest.mark.parametrize("kind", ["sparse", "group4", "dense"])
@pytest.mark.parametrize(("loss", "final"), OUTPUTS, ids=str)
def test_losses_and_final_activations(kind, loss, final):
    layer = LAYERS[kind]
    probe(
        lambda seed: rw.Sequential([layer(5, 6, "tanh"), layer(6, 3, final)], seed=seed, dtype="float64"),
        loss,
    ).check()


def test_every_loss_of_the_core_is_among_them():
    known = {name for name in KINDS.names() if KINDS.named(name).kind}
    assert {rw.losses.loss(loss).name for loss, _ in OUTPUTS} == known


@pytest.mark.parametrize("kind", LAYERS)
def test_dropout_with_its_mask_fixed(kind):
    layer = LAYERS[kind]
    net = rw.Sequential(
        [rw.Dropout(0.2), layer(5, 6, "tanh"), rw.Dropout(0.5), layer(6, 3, "softmax")], dtype="float64"
    )
    X, y = batch("cross_entropy", 3)
    found = Probe(net, X, y, "cross_entropy")
    found.check()
    first = found.value()
    assert found.value() == first
    found.step += 1
    assert found.value() != first  # another step, another mask


def test_dropout_before_and_in_the_pass_of_the_layer_before():
    class Apart(rw.Dropout):
        def backward(self, dy, x, p, need_dx):
            return super().backward(dy, x, p, need_dx)

    class Looks(rw.Sparse):
        def backward(self, dy, x, p, need_dx):
            seen.append(dy.unpack().copy())
            return super().backward(dy, x, p, need_dx)

    def trained(dropout, layer, rule="static", **options):
        layers = [
            layer(9, 33, density=0.5, activation=rw.AllReLU(0.6), bias=rule == "static"),
            dropout(0.4),
            rw.Dense(33, 20, activation="relu"), dropout(0.2), rw.Sparse(20, 3, activation="softmax"),
        ]  # fmt: skip
        net = rw.Sequential(layers, seed=3)
        optimizer = rw.SGD(0.1, momentum=0.9)
        trainer = rw.Trainer(
            net, loss="cross_entropy", optimizer=optimizer, rewiring=rule, standardize=True, **options
        )
        trainer.fit(X, y, epochs=2, batch_size=75, verbose=0)
        return net.get_vector(), np.array(seen[-1:])

    rng, seen = np.random.default_rng(0), []
    X, y = rng.normal(size=(150, 9)).astype("f4"), rng.integers(0, 3, 150)
    for options in ({}, {"shards": 2}, {"rule": {"name": "rigl", "every": {"steps": 1}}}):
        apart = trained(Apart, rw.Sparse, **options)
        assert np.array_equal(apart[0], trained(rw.Dropout, rw.Sparse, **options)[0])
    once, apart = trained(rw.Dropout, Looks), trained(Apart, Looks)
    assert np.array_equal(once[1], apart[1]) and (once[1] == 0).mean() > 0.3  # it is dropped before


ACTIVATIONS = [*{kind.name: kind for kind in HIDDEN}, rw.AllReLU(0.6), rw.LeakyReLU(0.2)]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_dropout_writes_over_what_nobody_reads_again(kind, activation):
    class Apart(rw.Dropout):
        def forward(self, x, p):
            return super().forward(x, p)

    def trained(dropout):
        layers = [LAYERS[kind](7, 40, activation), dropout(0.4), LAYERS[kind](40, 3, "softmax")]
        trainer = rw.Trainer(rw.Sequential(layers, seed=3), loss="cross_entropy", rewiring=None)
        trainer.fit(X, y, epochs=2, batch_size=70, verbose=0)  # 70: a tile ends in the middle
        return trainer.network.get_vector(), trainer._workspace.nbytes

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(140, 7)).astype("f4"), rng.integers(0, 3, 140)
    over, apart = trained(rw.Dropout), trained(Apart)
    assert np.array_equal(over[0], apart[0])
    assert apart[1] - over[1] == (0 if activation in ("tanh", "sigmoid") else 4 * 40 * 128)


class Inside(Row):
    """Looks at what its first layer gave, after dropout."""

    def forward(self, x, p):
        found = super().forward(x, p)
        self.outputs = p.saved(self)[0][1].unpack().copy()
        return found


def watched(layer, see):
    """The layer, with a forward of its own put in place of the one of its class."""
    own = layer.forward

    def look(x, p):
        y = own(x, p)
        see(x, y, p)
        return y

    layer.forward = look
    return layer


@pytest.mark.parametrize("who", ["a subclass", "a hook", "a row", "a hook on a row"])
def test_who_looks_behind_dropout_sees_what_it_took(who):
    class Looks(rw.Dropout):
        def forward(self, x, p):
            y = super().forward(x, p)
            see(x, y, p)
            return y

    def see(x, y, p):
        seen.append((x.unpack().copy(), y.unpack().copy()))

    def see_inside(x, y, p):
        seen.append((p.saved(row)[0][1].unpack().copy(), y.unpack().copy()))

    seen = []
    dropout = Looks(0.5) if who == "a subclass" else rw.Dropout(0.5)
    row = (Inside if who == "a row" else Row)([rw.Sparse(5, 40, density=1, activation="linear"), dropout])
    net = rw.Sequential([row, rw.Sparse(40, 3, activation="softmax")], seed=1)
    if who == "a hook":
        watched(dropout, see)
    elif who == "a hook on a row":
        watched(row, see_inside)
    trainer = rw.Trainer(net, loss="cross_entropy", rewiring=None)
    trainer.fit(np.ones((16, 5), "f4"), np.arange(16) % 3, epochs=1, batch_size=16, verbose=0)
    before = row.outputs if who == "a row" else seen[0][0]
    assert before.shape == (16, 40) and before.all()  # nothing is dropped from it
    assert not seen or 0.4 < np.mean(seen[0][1] == 0) < 0.6


def test_dropout_in_a_residual_writes_over_what_nobody_reads_again():
    def nbytes(make):
        net = rw.Sequential([make(), rw.Sparse(40, 3, activation="softmax")], seed=1)
        trainer = rw.Trainer(net, loss="cross_entropy", rewiring=None)
        trainer.fit(np.ones((16, 40), "f4"), np.arange(16) % 3, epochs=1, batch_size=16, verbose=0)
        return trainer._workspace.nbytes, net.get_vector()

    def block():
        return rw.layers.Residual([rw.Sparse(40, 40, activation="relu"), rw.Dropout(0.5)])

    over, apart = nbytes(block), nbytes(lambda: watched(block(), lambda x, y, p: None))
    assert apart[0] - over[0] == 4 * 40 * 16 and np.array_equal(over[1], apart[1])


class Doubles(Row):
    """Runs its layers backward by itself, and doubles the gradient between dropout and what is before it."""

    def backward(self, dy, x, p, need_dx):
        (flow,) = p.saved(self)
        self.outputs = flow[1].unpack().copy()
        for layer, inputs in zip(self.layers[::-1], flow[-2::-1], strict=True):
            dy = layer.backward(dy, inputs, p, True)
            if isinstance(layer, rw.Dropout):
                self.seen = dy.unpack().copy()
                dy.array()[...] *= 2
        return dy


def test_a_composite_that_runs_its_layers_itself_gets_a_gradient_that_is_dropped():
    row = Doubles([rw.Sparse(5, 40, density=0.5, activation="linear"), rw.Dropout(0.5)])
    net = rw.Sequential([rw.Sparse(4, 5, density=0.9), row, rw.Sparse(40, 3, activation="softmax")])
    trainer = rw.Trainer(net, loss="cross_entropy", rewiring=None)
    trainer.fit(np.ones((16, 4), "f4"), np.arange(16) % 3, epochs=1, batch_size=16, verbose=0)
    assert row.seen.shape == (16, 40) and 0.4 < np.mean(row.seen == 0) < 0.6
    assert row.outputs.all()  # they are not


@pytest.mark.parametrize("where", ["a layer", "its class", "the dropout"])
def test_who_puts_a_backward_pass_in_place_of_another_sees_a_gradient_that_is_dropped(where, monkeypatch):
    layers = [rw.Sparse(5, 40, density=0.5), rw.Dropout(0.5), rw.Sparse(40, 3, activation="softmax")]
    looked_at = {"a layer": layers[0], "its class": rw.Sparse, "the dropout": layers[1]}[where]
    own, seen = looked_at.backward, []

    def look(*given):
        taken = given[-4].unpack().copy()
        found = own(*given)
        seen.append(found.unpack().copy() if where == "the dropout" else taken)
        return found

    trainer = rw.Trainer(rw.Sequential(layers), loss="cross_entropy", rewiring=None)
    monkeypatch.setattr(looked_at, "backward", look)
    trainer.fit(np.ones((16, 5), "f4"), np.arange(16) % 3, epochs=1, batch_size=16, verbose=0)
    assert seen[-1].shape == (16, 40) and 0.4 < np.mean(seen[-1] == 0) < 0.6


def test_soft_targets_and_sample_weights():
    net = rw.Sequential(
        [rw.Sparse(5, 6, activation="tanh"), rw.Sparse(6, 3, activation="softmax")], dtype="float64"
    )
    rng = np.random.default_rng(1)
    X = rng.normal(size=(6, 5))
    y = rng.dirichlet(np.ones(3), 6)
    Probe(net, X, y, "cross_entropy", weight=np.array([1.0, 0.0, 2.5, 1.0, 0.1, 3.0])).check()


@pytest.mark.parametrize("samples", [1, 3, 33, 70])
@pytest.mark.parametrize("kind", ["sparse", "group4", "dense"])
def test_batches_of_several_tiles(kind, samples):
    layer = LAYERS[kind]
    net = rw.Sequential([layer(5, 6, "tanh"), layer(6, 3, "softmax")], dtype="float64")
    X, y = batch("cross_entropy", 3, samples)
    Probe(net, X, y, "cross_entropy").check()


def test_mirror_and_scatter_give_the_same_bits():
    # Rows of 7 links: longer ones of so small a layer are scattered anyway.
    net = rw.Sequential([rw.Sparse(50, 40, activation="tanh"), rw.Sparse(40, 30, fan_in=7), rw.Sparse(30, 3)])
    X, y = batch("cross_entropy", 3, 40, 50)
    found = Probe(net, X, y, "cross_entropy")
    for _ in range(PATIENCE):
        assert not net.layers[1].core.has_mirror
        found.backward()
    assert net.layers[1].core.has_mirror and not net.layers[0].core.has_mirror
    with_mirror = [g.copy() for _, _, g in found.parameters()]
    for layer in net.layers:
        layer.core.drop_mirror()
        layer.weight._no_mirror_at = layer.core.generation
    found.backward()
    assert not net.layers[1].core.has_mirror
    for a, (_, _, b) in zip(with_mirror, found.parameters(), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("isa", ISAS)
def test_every_instruction_set(isa):
    before = _core.force_isa(isa)
    try:
        test_layers_and_activations("sparse", rw.AllReLU(0.6))
        test_layers_and_activations("group4", rw.Tanh())
    finally:
        _core.force_isa(before)
