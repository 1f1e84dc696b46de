"""What every layer must do, whoever wrote it: the checks of one kind are one line in ``LAYERS``.

A case makes layers that stand first, in the middle or last in a network. Whatever a network may go through
is checked with each: training, differences of the loss, clipping, saving in the middle, rewiring, threads,
batches with odd ends, copies, counts, removed neurons, analysis.
"""

from typing import NamedTuple

import numpy as np

import rewire as rw
from outside.global_growth import GlobalRigL
from outside.k_winners import NumpyKWinners
from outside.layer_norm import NumpyLayerNorm
from outside.lion import Lion
from outside.re_zero import ReZero
from outside.reflection import Reflection
from outside.tied import TiedAutoencoder
from outside.two_stores import TwoStores
from rewire.layers import Concat, FreeEnergy, Residual, Row

RNG = np.random.default_rng(5)
X = RNG.normal(size=(90, 8)) + 0.2
LABELS = (X @ RNG.normal(size=(8, 3))).argmax(1)


class Case(NamedTuple):
    """A kind of layer."""

    make: object  # (n_in, group) -> a layer
    narrower: bool = False  # whether neurons before and after it can be removed
    ends: bool = True  # whether it may stand last
    once: bool = True  # whether every value comes out once
    by_sample: bool = True  # whether what a sample gives, in training, is the same in any batch


def residual(n, group):
    """Of three layers, one of them in NumPy."""
    return Residual([sparse(n, 14, group), NumpyLayerNorm(), sparse(14, n, group)])


def concat(n, group):
    """Of a row, a layer and the inputs."""
    return Concat([[sparse(n, 6, group), rw.Dropout(0.2)], sparse(n, 5, group), []])


def with_energy(n, group):
    """One value more than there were; a network must not have to squeeze all it knows through that one."""
    return Concat([FreeEnergy(n, 12, density=0.5, group=group), []])


def nested(n, group):
    """Composites of composites."""
    return Residual([Concat([[], [NumpyLayerNorm()]]), Residual([NumpyKWinners(n)]), sparse(2 * n, n, group)])


LAYERS = {
    "layer norm": Case(lambda n, group: NumpyLayerNorm()),
    "k-winners": Case(lambda n, group: NumpyKWinners(n // 2)),
    "reflection": Case(lambda n, group: Reflection(seed=3)),
    "two stores": Case(lambda n, group: TwoStores(n, n + 3, group=group)),
    "tied": Case(lambda n, group: TiedAutoencoder(n, 10, group=group)),
    "residual": Case(residual),
    "own residual": Case(lambda n, group: ReZero([sparse(n, 14, group), sparse(14, n, group)])),
    "concat": Case(concat),
    "nested": Case(nested),
    "sparse": Case(lambda n, group: sparse(n, 20, group), narrower=True),
    "own layer norm": Case(lambda n, group: rw.LayerNorm()),
    "batch norm": Case(lambda n, group: rw.BatchNorm(), narrower=True, by_sample=False),
    "srelu": Case(lambda n, group: rw.SReLU("published"), narrower=True, ends=False),
    "prelu": Case(lambda n, group: rw.PReLU(), narrower=True, ends=False),
    "free energy": Case(with_energy),
    "both sides": Case(lambda n, group: rw.TwoSided(n), narrower=True, ends=False, once=False),
    "own k-winners": Case(lambda n, group: rw.KWinners(k=n // 2, k_inference_factor=1.0), ends=False),
    "winners on both sides": Case(
        lambda n, group: rw.KWinners(k=n // 3, k_inference_factor=1.0, two_sided=True, n_in=n),
        ends=False,
        once=False,
    ),
    "wht": Case(lambda n, group: rw.Mix("wht", n, width=n + 1, flip=True)),
    "dct": Case(lambda n, group: rw.Mix("dct", n, width=n + 1)),
    "hartley": Case(lambda n, group: rw.Mix("hartley", n, flip=True)),
    "permutation": Case(lambda n, group: rw.Mix("permutation", n), narrower=True),
    "switches": Case(lambda n, group: rw.layers.Switches(4 if n % 4 == 0 else 1, n_in=n)),
    "switchnet4": Case(lambda n, group: rw.SwitchNet4(n, block=group, depth=2, dropout=0.2)),
    "dropout": Case(lambda n, group: rw.Dropout(0.2), narrower=True, ends=False),
}
STANDS = [(name, at) for name, case in LAYERS.items() for at in ("first", "middle", "last")[: 2 + case.ends]]
BY_SAMPLE = [(name, at) for name, at in STANDS if LAYERS[name].by_sample]
OPTIMIZERS = {
    "sgd": lambda **given: rw.SGD(0.05, momentum=0.9, **given),
    "adam": lambda **given: rw.Adam(0.005, **given),
    "lion": lambda **given: Lion(0.002, weight_decay=0.01, **given),
}
RULES = {
    "static": lambda: None,
    "set": lambda: rw.SET(every=2),
    "rigl": lambda: rw.RigL(every=2),
    "global": lambda: GlobalRigL(every=2),
}


def sparse(n_in, n_out, group=1, activation="relu"):
    """A layer that takes part in rewiring."""
    return rw.Sparse(n_in, n_out, density=0.4, activation=activation, group=group)


def network(name, place="middle", *, group=1, dtype="float64", seed=0):
    """A network with one layer of a kind."""

    def made(n_in):
        layer = LAYERS[name].make(n_in, group)
        width = Row([LAYERS[name].make(n_in, group)])
        width.connect(n_in)
        return layer, width.n_out

    if place == "first":
        layer, n = made(8)
        layers = [layer, sparse(n, 13, group), sparse(13, 3, group, "softmax")]
    elif place == "middle":
        layer, n = made(16)
        layers = [sparse(8, 16, group, "tanh"), layer, sparse(n, 3, group, "softmax")]
    else:
        layers = [sparse(8, 13, group), sparse(13, 9, group, "linear"), made(9)[0]]
    return rw.Sequential(layers, seed=seed, dtype=dtype)


def targets(net):
    """What a network is to learn: classes, or values that its outputs can have."""
    if net.n_out == 3:
        return LABELS
    other = np.random.default_rng(net.n_out)
    return np.tanh(X @ other.normal(size=(8, net.n_out)) / 3)


def trainer(net, optimizer="sgd", rule="static", **given):
    """A trainer for the task of :func:`targets`."""
    clip = {"clip_norm": given.pop("clip_norm")} if "clip_norm" in given else {}
    return rw.Trainer(
        net,
        loss="cross_entropy" if net.n_out == 3 else "mse",
        optimizer=OPTIMIZERS[optimizer](**clip),
        rewiring=RULES[rule](),
        **given,
    )


def fit(of, epochs=2, **given):
    """Batches of 32: the last one of an epoch has 26 samples."""
    return of.fit(X, targets(of.network), epochs=epochs, batch_size=32, verbose=0, **given)


def assert_equal(a, b):
    """The same arrays in two trainers or networks, bit for bit."""
    a, b = a.arrays(), b.arrays()
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
