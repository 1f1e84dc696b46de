"""A small network that trains with a rule, and what its rewirings left."""

import numpy as np

import rewire as rw

X = np.random.default_rng(0).normal(size=(64, 12)).astype("f4")
Y = np.random.default_rng(1).integers(0, 3, 64)
EVERY_OTHER = {"steps": 2}


def network(*layers, group=1, **options):
    """12 -> 20 -> 17 -> 3; ``layers`` are options of each, by default density 0.3."""
    layers = [*layers, *[{"density": 0.3}] * (3 - len(layers))]
    sizes = [12, 20, 17, 3]
    return rw.Sequential(
        [
            rw.Sparse(n, m, group=group, activation="softmax" if m == 3 else "all-relu", **layer)
            for n, m, layer in zip(sizes[:-1], sizes[1:], layers, strict=True)
        ],
        seed=0,
        **options,
    )


class Slots(rw.Callback):
    """The slots and links of every layer after each rewiring, and the step before which it came."""

    def __init__(self):
        self.rows, self.links, self.steps = [], [], []

    def on_rewire(self, state):
        self.rows.append(slots(state.network))
        self.links.append([layer.nnz for layer in state.network.weight_layers])
        self.steps.append(state.trainer.step)
        state.network.validate()


def trained(rule, net=None, epochs=5, optimizer=None, fits=1):
    """A trainer after ``fits`` calls of fit, four steps an epoch by default, and what its rewirings left."""
    seen = Slots()
    trainer = rw.Trainer(
        net or network(), loss="cross_entropy", optimizer=optimizer or rw.SGD(0.1, momentum=0.9),
        rewiring=rule, callbacks=[seen],
    )  # fmt: skip
    for _ in range(fits):
        trainer.fit(X, Y, epochs=epochs, batch_size=16, verbose=0)
    return trainer, seen


def slots(net):
    return [parameter.core.slots for parameter in net.sparse_parameters]


def positions(net):
    return [layer.store.n_groups * layer.n_in for layer in net.layers]


def weights(layer):
    """{(group, source): weights} of a layer."""
    store = layer.store
    groups = np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))
    values = store.get_field("weight")
    return {(int(g), int(j)): v for g, j, v in zip(groups, store.sources(), values, strict=True)}
