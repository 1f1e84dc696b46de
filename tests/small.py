"""A small task and a small trainer, for tests that need one to look at."""

from types import SimpleNamespace

import numpy as np
import pytest

import rewire as rw
from rewire.rewiring import RewiringContext

# When a program that a test has started is taken to hang. None takes a tenth of it on an idle machine; a busy
# one may be many times as slow, and that must not fail a test.
HANG_SECONDS = 900

# For runs too short for a rule's usual period, and for runs that grow although fractions of them count.
SELDOM = pytest.mark.filterwarnings("ignore:rewiring '[^']*' (acts once|never acts)")
GROWN = pytest.mark.filterwarnings("ignore:rewiring '[^']*'. .* a fraction of the run, which was .* long")


def normal(*shape):
    """Normal numbers, the same whenever asked for."""
    return np.random.default_rng(sum(shape)).normal(size=shape)


X = normal(90, 8).astype("f4")
Y = (X @ normal(8, 3)).argmax(1)  # class labels
T = X @ normal(8, 2) + 1  # regression targets
NOISE = normal(50, 8), np.random.default_rng(2).integers(0, 3, 50)  # nothing to learn: soon gets worse
VALUES = np.random.default_rng(3).integers(0, 100, (23, 17))  # inputs of `deep`


def network(final="softmax", n_out=3, seed=0, dtype="float32"):
    return rw.Sequential(
        [
            rw.Sparse(8, 30, density=0.5, activation="all-relu"),
            rw.Sparse(30, n_out, density=0.7, activation=final),
        ],
        seed=seed,
        dtype=dtype,
    )


def trainer(**options):
    return rw.Trainer(
        network(), **{"loss": "cross_entropy", "optimizer": rw.SGD(0.1, momentum=0.9), **options}
    )


def deep(dtype="float32", seed=0, **options):
    """All-ReLU, dropout, softmax and biases that are not zero."""
    net = rw.Sequential(
        [
            rw.Sparse(17, 30, epsilon=5, activation="all-relu", **options),
            rw.Dropout(0.4),
            rw.Sparse(30, 21, epsilon=5, activation="all-relu", **options),
            rw.Sparse(21, 4, epsilon=5, activation="softmax", **options),
        ],
        seed=seed,
        dtype=dtype,
    )
    for layer in net.weight_layers:
        layer.bias[...] = np.random.default_rng(layer.index).normal(size=layer.n_out)
    return net


DEEP_X = np.random.default_rng(5).normal(size=(60, 17)).astype("f4")  # samples for it
DEEP_Y = np.random.default_rng(6).integers(0, 4, 60)


def bits(made):
    """All that a trainer is, but for the times that things took, and what leaves no trace."""
    config = {k: v for k, v in made.config().items() if k not in ("threads", "shards", "state")}
    losses = [row["loss"] for row in made.history.epochs]
    return config, losses, {name: a.tobytes() for name, a in made.arrays().items()}


def rewired(rule, net, progress, ordinal=1, threads=1, **options):
    """Rewire a network once, without a trainer; removed and grown links, layer by layer."""
    record = rule.rewire(
        net.sparse_parameters, progress, ordinal, threads, seed=net.seed, network=net, **options
    )
    removed, grown = record.by_layer(net.weight_names)
    return SimpleNamespace(removed=removed, grown=grown)


def context_of(net, progress, ordinal=1, probe=None):
    """What a rule knows of a rewiring of a network."""
    return RewiringContext(net.sparse_parameters, net.seed, net, progress, ordinal, 1, _probe=probe)


class Log(rw.Callback):
    """Writes down what it is told."""

    def __init__(self):
        self.seen = []

    def on_fit_begin(self, state):
        self.seen.append("fit")

    def on_epoch_begin(self, state):
        self.seen.append(f"epoch {state.epoch}")

    def on_rewire(self, state):
        grown = state.rewired.grown["layers.0.weight"]
        self.seen.append(f"rewire {state.epoch} {state.step} {grown > 0}")

    def on_step_end(self, state):
        assert np.isfinite(state.loss)
        self.seen.append(f"step {state.step}")

    def on_epoch_end(self, state):
        assert state.row is state.trainer.history.epochs[-1]
        self.seen.append(f"end {state.epoch}")
        state.network.predict(X)  # reading is allowed
        state.trainer.evaluate(X, Y)

    def on_fit_end(self, state):
        self.seen.append("done")
