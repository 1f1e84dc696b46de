"""What training takes of memory is counted before it takes any, and what cannot fit is refused."""

import re
from functools import partial

import numpy as np
import pytest
from scipy.sparse import csr_array

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
    fits = int(re.search(r"at most batch_size=(\d+) could fit", str(error.value))[1])
    assert trainer.memory(fits).total <= limit < trainer.memory(fits + 1).total
    assert trainer.step == 0 and trainer.network.nbytes == before[1]
    assert all(np.array_equal(a, before[0][name]) for name, a in trainer.arrays().items())
    trainer.fit(*data, batch_size=fits, verbose=0)
    assert trainer.epoch == 1
    limit = trainer._workspace.nbytes // 2  # what a trainer holds it need not get again
    trainer.fit(*data, batch_size=fits, verbose=0)
    with pytest.raises(MemoryError, match=r"=\d+ could fit, and Trainer\(shards=\) computes the parts"):
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
    with pytest.raises(MemoryError, match="could fit"):
        whole.fit(*data, verbose=0)
    cut.fit(*data, verbose=0)


@pytest.mark.filterwarnings("ignore::rewire.errors.DensityWarning")
@pytest.mark.parametrize("name", ["relu", "sides", "dense"])
@pytest.mark.parametrize("listed", [False, True])
def test_evaluations_and_copies_are_counted_as_they_are_taken(name, listed, monkeypatch):
    """Also of a sparse X, of which the inputs of a wide first layer are no tile."""
    made, workspace = [], rw.Sequential.workspace
    monkeypatch.setattr(rw.Sequential, "workspace", lambda net: made.append(workspace(net)) or made[-1])
    first = LAYERS[name]()[0]
    layers = [type(first)(10_000, 100, **({"fan_in": 5} if name != "dense" else {})), *LAYERS[name]()]
    best, average = rw.EarlyStopping(monitor="val_loss", restore_best=True), rw.WeightAverage()
    trainer = trainer_of(layers, callbacks=[best, average])
    call = _memory.Call(40, listed, listed)
    needs = _memory.needs(trainer, 16, call)
    assert listed or needs == trainer.memory(16, n_validation=40)
    X, y = np.zeros((40, 10_000), "f4"), np.zeros(40, int)
    X = csr_array(X) if listed else X
    monkeypatch.setattr(_memory, "memory_available", lambda swap: needs.total)  # nobody is refused
    trainer.fit(X, y, batch_size=16, epochs=2, validation_data=(X, y), verbose=0)
    tiles, *evaluations = (ws.nbytes for ws in made)
    assert len(evaluations) == 2
    assert needs.activations <= tiles and needs.evaluation <= min(evaluations)
    assert listed or 0.8 * tiles < needs.activations and 0.5 * max(evaluations) < needs.evaluation
    assert 0.5 * (best.nbytes + average.nbytes) < needs.copies <= best.nbytes + average.nbytes


@pytest.mark.parametrize(
    "shards, clip_norm, copies, slack",
    [(None, None, True, 1.5), (None, 1.0, False, 1.1), (8, None, False, 1.4)],
)
def test_what_an_earlier_call_left_is_not_counted_again(shards, clip_norm, copies, slack, monkeypatch):
    best, average = rw.EarlyStopping(monitor="val_loss", restore_best=True), rw.WeightAverage()
    callbacks = [best, average] if copies else []
    optimizer = rw.SGD(1e-4, momentum=0.9, clip_norm=clip_norm)
    trainer = trainer_of(LAYERS["dense"](), optimizer=optimizer, shards=shards, callbacks=callbacks)
    data = np.zeros((64, 100), "f4"), np.zeros(64, int)

    def held():
        tiles = 0 if trainer._workspace is None else trainer._workspace.nbytes
        return trainer.network.nbytes + tiles + best.nbytes + average.nbytes

    room = held() + slack * trainer.memory(64, n_validation=64).total
    monkeypatch.setattr(_memory, "memory_available", lambda swap: int(room - held()))
    for _ in range(3):
        trainer.fit(*data, batch_size=64, validation_data=data, verbose=0)
    trainer.optimizer = rw.SGD(1e-4, clip_norm=clip_norm)  # gives back what the other one kept
    trainer.fit(*data, batch_size=64, validation_data=data, verbose=0)
    assert trainer.epoch == 4


def test_the_best_network_comes_after_the_evaluation_unless_there_is_another(monkeypatch):
    best = rw.EarlyStopping(monitor="val_loss", restore_best=True)
    data = np.zeros((64, 100), "f4"), np.zeros(64, int)
    trainer = trainer_of(LAYERS["relu"](), callbacks=[best])
    both, one = (_memory.needs(trainer, 8, _memory.Call(64, again=again)) for again in (True, False))
    assert one.total == both.total - min(both.evaluation, both.copies) < both.total
    monkeypatch.setattr(_memory, "memory_available", lambda swap: one.total)
    with pytest.raises(MemoryError, match="training with batch_size=8 needs at least"):
        trainer.fit(*data, batch_size=8, epochs=2, validation_data=data, verbose=0)
    trainer.fit(*data, batch_size=8, validation_data=data, verbose=0)


def test_a_stream_of_small_batches_is_counted_once_it_is_steady(monkeypatch):
    """To ask the machine takes longer than ten rows take; what is larger, or other, is counted every time."""
    asked = []
    monkeypatch.setattr(_memory, "memory_available", lambda swap: asked.append(swap) or 1 << 40)

    def small_trainer():
        return trainer_of([rw.Sparse(20, 30, links=200), rw.Sparse(30, 10, links=100, activation="softmax")])

    small = small_trainer()
    X, y = np.zeros((40, 20), "f4"), np.zeros(40, int)

    def counted(trainer, X=X, y=y, **options):
        before = len(asked)
        trainer.fit(X, y, batch_size=10, verbose=0, **options)
        return len(asked) > before

    assert counted(small)
    counted(small)  # what is kept between calls is there now
    assert not counted(small) and not counted(small)
    assert counted(small, validation_data=(X, y))
    assert counted(small, epochs=2)
    counted(small)
    small.callbacks.append(rw.EarlyStopping(monitor="loss", restore_best=True))
    assert counted(small)
    monkeypatch.setattr(_memory, "LITTLE", 0)  # whatever it takes is much now
    other = small_trainer()
    assert all([counted(other) for _ in range(4)])


CHANGES = {
    "optimizer": lambda t: setattr(t, "optimizer", rw.Adam(1e-4)),
    "momentum": lambda t: setattr(t.optimizer, "momentum", 0.9),
    "clipping": lambda t: setattr(t.optimizer, "clip_norm", 1.0),
    "shards": lambda t: setattr(t, "shards", 2),
    "rule": lambda t: setattr(t, "rewiring", rw.SET(0.1)),
    "another callback": lambda t: t.callbacks.__setitem__(
        0, rw.EarlyStopping(monitor="loss", restore_best=True)
    ),
    "the same callback": lambda t: setattr(t.callbacks[0], "restore_best", True),
    "an average": lambda t: t.callbacks.__setitem__(0, rw.WeightAverage(0.9)),
    "another trainer": lambda t: rw.Trainer(
        t.network, loss="cross_entropy", optimizer=rw.Adam(), rewiring=None
    ).fit(np.zeros((10, 20), "f4"), np.zeros(10, int), verbose=0),
    "sparse inputs": lambda t: None,
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_takes_other_memory_than_before_is_counted_again(monkeypatch, change):
    """Whatever is replaced, or changed inside: the number of callbacks, say, tells nothing of it."""
    asked = []
    monkeypatch.setattr(_memory, "memory_available", lambda swap: asked.append(swap) or 1 << 40)
    layers = [rw.Sparse(20, 30, links=200), rw.Sparse(30, 10, links=100, activation="softmax")]
    trainer = trainer_of(layers, optimizer=rw.SGD(1e-4), callbacks=[rw.EarlyStopping(monitor="loss")])
    X, y = np.zeros((10, 20), "f4"), np.zeros(10, int)
    for _ in range(3):
        before = len(asked)
        trainer.fit(X, y, batch_size=10, verbose=0)
    assert len(asked) == before
    CHANGES[change](trainer)
    before = len(asked)
    trainer.fit(csr_array(X) if change == "sparse inputs" else X, y, batch_size=10, verbose=0)
    assert len(asked) > before


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
    texts.clear()
    trainer = trainer_of(LAYERS["relu"]())
    texts["/proc/meminfo"] = "MemAvailable:  100 kB\nSwapFree:  5000000 kB\n"
    assert trainer.memory(32).state > 100 << 10  # there is one count, not another one of the state
    trainer.fit(np.zeros((32, 100), "f4"), np.zeros(32, int), batch_size=32, verbose=0)


@pytest.mark.parametrize("version", [1, 2])
def test_caches_that_are_in_use_count_where_the_most_is_asked_for(version, monkeypatch):
    files = {
        1: ("0:memory:/", "/sys/fs/cgroup/memory", "limit_in_bytes", "usage_in_bytes", "total_"),
        2: ("0::/", "/sys/fs/cgroup", "max", "current", ""),
    }
    group, folder, limit, used, prefix = files[version]
    stat = "\n".join(f"{prefix}{name} {size}" for name, size in (
        ("rss", 5), ("inactive_file", 30), ("active_file", 400), ("slab_reclaimable", 100),
    ))  # fmt: skip
    texts = {"/proc/self/cgroup": group, f"{folder}/memory.{limit}": "1000", f"{folder}/memory.{used}": "900"}
    texts[f"{folder}/memory.stat"] = f"inactive_file 7\n{stat}" if prefix else stat
    monkeypatch.setattr(_resources, "_read", lambda *parts: texts.get("/".join(parts)))
    monkeypatch.setattr(_resources, "_address_space", lambda: None)
    assert _resources.memory_available() == 100 + 30
    assert _resources.memory_available(swap=True) == 100 + 30 + 400 + 100
