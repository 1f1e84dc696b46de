"""What training takes of memory is counted before it takes any, and what cannot fit is refused."""

import re
from functools import partial

import numpy as np
import pytest

import rewire as rw
import rewire.cli
from rewire import _memory, _resources

WIDE = 20_000
S = partial(rw.Sparse, fan_in=5)


def output(n_in):
    return rw.Sparse(n_in, 10, links=1000, activation="softmax")


LAYERS = {
    "relu": lambda: [S(100, WIDE, activation="relu"), S(WIDE, WIDE, activation="relu"), output(WIDE)],
    "gelu": lambda: [S(100, WIDE, activation="gelu"), S(WIDE, WIDE, activation="silu"), output(WIDE)],
    "dropout": lambda: [
        S(100, WIDE), rw.Dropout(0.2), S(WIDE, WIDE // 2, activation="relu"), rw.Dropout(0.0),
        output(WIDE // 2),
    ],
    "norms": lambda: [S(100, WIDE), rw.LayerNorm(), S(WIDE, WIDE), rw.BatchNorm(), output(WIDE)],
    "sides": lambda: [S(100, WIDE), rw.TwoSided(), S(2 * WIDE, WIDE), rw.SReLU(), output(WIDE)],
    "winners": lambda: [S(100, WIDE), rw.KWinners(0.1), S(WIDE, WIDE), rw.PReLU(), output(WIDE)],
    "switches": lambda: [rw.SwitchNet4(64, width=4096, depth=2), output(4096)],
    "residual": lambda: [S(100, WIDE), rw.layers.Residual([S(WIDE, WIDE), S(WIDE, WIDE)]), output(WIDE)],
    "concat": lambda: [S(100, WIDE), rw.layers.Concat([S(WIDE, WIDE), S(WIDE, 9)]), output(WIDE + 9)],
    "dense": lambda: [rw.Dense(100, 2000), rw.Dense(2000, 10, activation="softmax")],
}  # fmt: skip


def trainer_of(layers, **options):
    net = rw.Sequential(layers, seed=0)
    options = {"optimizer": rw.SGD(1e-4, momentum=0.9), "rewiring": None} | options
    return rw.Trainer(net, loss="cross_entropy", **options)


def holds(parameter):
    return parameter.has("gradient") or getattr(parameter, "gradient", None) is not None


def held_after_training(trainer, batch):
    """Bytes of the tiles and the kept gradients of a fit."""
    seen = []

    class Watching(rw.Callback):
        def on_step_end(self, state):
            kept = [q.read("gradient").nbytes for q in state.network.parameters().values() if holds(q)]
            seen[:] = [trainer._workspace.nbytes, sum(kept)]

    trainer.callbacks.append(Watching())
    n_in = trainer.network.n_in
    trainer.fit(np.zeros((batch, n_in), "f4"), np.zeros(batch, int), batch_size=batch, verbose=0)
    return seen


@pytest.mark.filterwarnings("ignore::rewire.errors.DensityWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_counted_is_taken(name):
    """No less is taken; and of layers in a row it is most of what is taken."""
    for batch, shards in ((3, None), (16, None), (16, 4)):
        trainer = trainer_of(LAYERS[name](), shards=shards)
        before = trainer.network.nbytes
        needs = trainer.memory(batch)
        tiles, gradients = held_after_training(trainer, batch)
        assert needs.activations <= tiles
        assert needs.state <= trainer.network.nbytes - before
        assert trainer.memory(batch).state == 0  # it is there now
        if shards:
            assert needs.gradients >= 2 * gradients > 0  # a sum waits, too
            assert needs.activations < trainer_of(LAYERS[name]()).memory(batch).activations / 3
        elif name in ("relu", "gelu", "sides", "dense") and batch == 16:
            assert needs.activations > 0.8 * tiles


def test_counts_of_a_network():
    """1000 inputs of 10 links a neuron; ReLU."""
    trainer = trainer_of([rw.Sparse(50, 1000, fan_in=10, activation="relu"), output(1000)])
    links, biases = 10_000 + 1000, 1010
    assert trainer.memory(64).activations == 4 * 64 * (50 + 1000 + 10 + 1000 + 10)
    assert trainer.memory(65).activations == trainer.memory(128).activations  # tiles are whole
    assert trainer.memory().state == 4 * (links + biases)
    assert trainer.memory().gradients == trainer.memory().evaluation == trainer.memory().copies == 0
    assert trainer.memory(n_validation=5).evaluation == 4 * 8 * (50 + 1000 + 10)
    trainer.optimizer = rw.Adam(0.01, clip_norm=1.0)
    assert trainer.memory().state == 4 * (3 * links + 2 * biases)  # a link has its age, too
    assert trainer.memory().gradients == 4 * (links + biases)
    trainer.shards = 8
    assert trainer.memory().gradients == 3 * 4 * (links + biases)
    trainer.callbacks.append(rw.EarlyStopping(restore_best=True))
    copies = 4 * 2 * links + 8 * 1012 + 4 * biases + 4 * (3 * links + 2 * biases)
    assert trainer.memory().copies == copies
    trainer.callbacks.append(rw.WeightAverage())
    assert trainer.memory().state == 4 * (3 * links + 2 * biases) + 8 * (links + biases)
    assert trainer.memory(n_validation=5).copies == copies + 4 * 2 * links + 8 * 1012 + 4 * biases
    assert trainer.memory().total == sum(
        getattr(trainer.memory(), part)
        for part in ("state", "gradients", "activations", "evaluation", "copies")
    )


def test_what_cannot_fit_is_refused_with_the_batch_that_would(monkeypatch):
    data = np.zeros((128, 100), "f4"), np.zeros(128, int)
    trainer = trainer_of(LAYERS["relu"]())
    limit = trainer.memory(40).total
    monkeypatch.setattr(_memory, "memory_available", lambda swap: limit)
    assert trainer.memory(32).total <= limit < trainer.memory(65).total
    before = trainer.arrays(), trainer.network.nbytes
    with pytest.raises(MemoryError, match="batch_size=128 needs at least .* MiB beside") as error:
        trainer.fit(*data, verbose=0)
    fits = int(re.search(r"batch_size=(\d+) would fit", str(error.value))[1])
    assert trainer.memory(fits).total <= limit < trainer.memory(fits + 1).total
    assert trainer.step == 0 and trainer.network.nbytes == before[1]
    assert all(np.array_equal(a, before[0][name]) for name, a in trainer.arrays().items())
    trainer.fit(*data, batch_size=fits, verbose=0)
    assert trainer.epoch == 1
    limit = trainer._workspace.nbytes // 2  # what a trainer holds it need not get again
    trainer.fit(*data, batch_size=fits, verbose=0)
    with pytest.raises(MemoryError, match=r"\d+ would fit, and Trainer\(shards=\) computes the parts"):
        trainer_of(LAYERS["relu"](), optimizer=rw.SGD(0.1, momentum=0.0)).fit(*data, verbose=0)
    limit = 1000
    with pytest.raises(MemoryError, match="not even one sample at a time would fit"):
        trainer_of(LAYERS["relu"]()).fit(*data, verbose=0)
    with pytest.raises(MemoryError, match="not even one sample"):
        rw.SparseMLPClassifier((500,), max_iter=1).fit(data[0], np.arange(128) % 3)
    monkeypatch.setattr(_memory, "memory_available", lambda swap: None)  # nobody says
    trainer_of(LAYERS["relu"]()).fit(*data, verbose=0)


def test_parts_of_a_batch_fit_where_it_does_not(monkeypatch):
    data = np.zeros((128, 100), "f4"), np.zeros(128, int)
    whole, cut = trainer_of(LAYERS["relu"]()), trainer_of(LAYERS["relu"](), shards=16)
    monkeypatch.setattr(_memory, "memory_available", lambda swap: cut.memory().total)
    with pytest.raises(MemoryError, match="would fit"):
        whole.fit(*data, verbose=0)
    cut.fit(*data, verbose=0)


def test_the_command_says_so(monkeypatch, capsys):
    monkeypatch.setattr(_memory, "memory_available", lambda swap: 100_000)
    command = ["train", "--data", "digits", "--hidden", "500", "--epochs", "1", "--batch-size", "128"]
    assert rewire.cli.main(command) != 0
    assert "training with batch_size=128 needs at least" in capsys.readouterr().err


def test_what_can_be_swapped_out_counts(tmp_path, monkeypatch):
    texts = {"/proc/meminfo": "MemAvailable:  100 kB\nSwapFree:  50 kB\n"}
    monkeypatch.setattr(_resources, "_read", lambda *parts: texts.get("/".join(parts)))
    monkeypatch.setattr(_resources, "_address_space", lambda: None)
    assert _resources.memory_available() == 100 << 10
    assert _resources.memory_available(swap=True) == 150 << 10
