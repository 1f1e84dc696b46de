"""Several processes that train one network: the bits of one, and what becomes of them when one dies."""

import contextlib
import os
import pickle
import signal
import sys
import time
import types

import numpy as np
import pytest

import rewire as rw
import rewire._elsewhere
import rewire.workers.shared
import rewire.workers.starting
from ranks import digests
from rewire._inputs import as_source
from rewire._mapped import mapped, mapped_rows, mapped_source
from rewire.cli import main
from rewire.cli.train import _SaveWhenAsked
from rewire.layers import ArrayLayer
from rewire.losses import ArrayLoss
from rewire.streams import sliced
from rewire.workers.comm import parts_of, thing_of
from rewire.workers.processes import Leader
from rewire.workers.serving import Job
from rewire.workers.shared import SharedMemory, pipe_above_standard
from rewire.workers.starting import _shareable
from rewire.workers.team import Team
from small import DEEP_X, DEEP_Y, bits

RULES = {
    "set": "set", "rigl": {"name": "rigl", "every": 2, "fraction": 0.4}, "static": None,
    "top-kast": "top-kast", "deepr": "deepr",
}  # fmt: skip
quiet = pytest.mark.filterwarnings("ignore:rewiring '[^']*' (acts once|never acts)")


def network(dropout=0.3, layers=(), group=1):
    def sparse(n_in, n_out, activation):
        return rw.Sparse(n_in, n_out, density=0.4, group=group, activation=activation)

    drop = [rw.Dropout(dropout)] if dropout else []
    return rw.Sequential(
        [sparse(17, 32, "relu"), *layers, *drop, sparse(32, 20, "relu"), sparse(20, 4, "softmax")], seed=3
    )


def trainer(net=None, *, clip=1.0, **options):
    optimizer = rw.SGD(0.1, momentum=0.9, clip_norm=clip)
    options = {"loss": "cross_entropy", "optimizer": optimizer, "rewiring": "set", "shards": 7, **options}
    return rw.Trainer(network() if net is None else net, **options)


def fitted(made, workers=1, epochs=3, **options):
    made.fit(DEEP_X, DEEP_Y, epochs=epochs, batch_size=25, verbose=0, workers=workers, **options)
    return made


@pytest.fixture(scope="module")
def three():
    """Three processes, this one included, that know the data; tests share them."""
    targets = rw.losses.CrossEntropy().targets(DEEP_Y, 4)
    job = Job([], pickle.dumps(rw.losses.CrossEntropy()), True, as_source(DEEP_X, 17), targets)
    leader = Leader(3, parts_of(job), message=1 << 16, answer=1 << 16, threads=1, timeout=300.0)
    with leader:
        yield leader


@pytest.fixture
def shared(three, monkeypatch):
    """Let ``fit(workers=3)`` take these processes."""

    @contextlib.contextmanager
    def helpers(trainer, *_, **__):
        yield Team(three, trainer.network, trainer.loss, 3, patient=False)

    monkeypatch.setattr(rewire.workers.starting, "helpers_of", helpers)


# --- the same bits


@quiet
@pytest.mark.parametrize("group", (1, 4))
@pytest.mark.parametrize("rule", RULES)
def test_three_processes_have_the_bits_of_one(shared, rule, group):
    """Seven shards, which three do not divide; dropout, and clipping to a norm that is reached."""
    alone, together = (
        fitted(trainer(network(group=group), rewiring=RULES[rule], clip=0.3), workers) for workers in (1, 3)
    )
    assert bits(alone) == bits(together)


@quiet
@pytest.mark.soak
@pytest.mark.parametrize("shards", (3, 8, 64))
@pytest.mark.parametrize("clip", (None, 0.3))
@pytest.mark.parametrize("dropout", (0.0, 0.3))
@pytest.mark.parametrize("rule", rw.rewiring.rewiring_names())
def test_every_rule_has_the_bits_of_one(shared, rule, dropout, clip, shards):
    if rule == "custom":
        pytest.skip("needs a function")
    options = {"rewiring": RULES.get(rule, rule), "clip": clip, "shards": shards}
    alone, together = (fitted(trainer(network(dropout), **options), workers) for workers in (1, 3))
    assert bits(alone) == bits(together)


@quiet
@pytest.mark.soak
@pytest.mark.parametrize("workers", (2, 3, 4))
def test_every_strategy_has_the_bits_of_one(workers):
    """The table that `test_launched.py` and `with_torch/test_ranks.py` have of other engines."""
    assert digests("whole", workers=workers) == digests("whole", workers=1)


def test_buffers_follow_wherever_samples_are(shared):
    """Of k-winners and batch norm, whose layers are in all processes."""
    alone, together = (
        fitted(trainer(network(layers=[rw.BatchNorm(), rw.KWinners(0.4)]), callbacks=[Stop(2)]), workers)
        for workers in (1, 3)
    )
    assert alone.epoch == together.epoch == 2
    alone.callbacks = together.callbacks = []
    assert bits(alone) == bits(together)


@quiet
def test_neurons_and_averages_and_long_messages(shared):
    """Sizes change, a callback has fields of its own, and a message does not fit into shared memory."""
    wide = rw.Sequential([rw.Sparse(17, 900, density=0.9), rw.Sparse(900, 4, activation="softmax")], seed=1)
    for net, rule in ((network(), rw.ImportancePruning(every=1)), (wide, "set")):
        copies = [net, pickle.loads(pickle.dumps(net))]
        alone, together = (
            fitted(trainer(one, rewiring=rule, callbacks=[rw.WeightAverage(0.9)]), workers)
            for one, workers in zip(copies, (1, 3), strict=True)
        )
        assert bits(alone) == bits(together)


class Anneal(rw.Callback):
    """Drops less and less."""

    def on_epoch_end(self, state):
        state.network.layers[1].p /= 2.0


def test_layers_are_as_callbacks_have_left_them(shared):
    alone, together = (fitted(trainer(callbacks=[Anneal()]), workers) for workers in (1, 3))
    alone.callbacks = together.callbacks = []
    assert bits(alone) == bits(together)


class Scaled(ArrayLayer):
    """Multiplies by the first of its factors."""

    def __init__(self, factors):
        self.factors = factors

    def outputs(self, x, p):
        return x * self.factors[0]

    def gradients(self, dy, p):
        return dy * self.factors[0], {}


class Halve(rw.Callback):
    """Changes a list that a layer keeps."""

    def on_epoch_end(self, state):
        state.network.layers[1].factors[0] *= 0.5


class Alone:
    """A communicator of one, which keeps what is said of layers."""

    rank, size = 0, 1

    def __init__(self):
        self.said = []

    def bcast(self, parts):
        network = thing_of([bytes(part) for part in parts]).network
        self.said.append(None if network is None else network["config"]["layers"][1]["factors"][0])

    def gather(self, parts):
        return [parts]


def test_what_a_layer_keeps_in_a_list_is_told(monkeypatch):
    """The whole network at first, and after each epoch, whose end a callback changes it at."""
    comm = Alone()

    @contextlib.contextmanager
    def helpers(trainer, *_, **__):
        yield Team(comm, trainer.network, trainer.loss, 1, patient=False)

    monkeypatch.setattr(rewire.workers.starting, "helpers_of", helpers)
    fitted(trainer(network(layers=[Scaled([1.0, 2.0])]), rewiring=None, callbacks=[Halve()]), workers=2)
    assert [said for said in comm.said if said is not None] == [1.0, 0.5, 0.25]
    assert len(comm.said) == 9


class Stop(rw.Callback):
    """Ends training after some epochs."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, state):
        state.stop = state.epoch == self.epochs


# --- processes that are started for a call


class Act(rw.Callback):
    """Does something to the workers in the middle of an epoch."""

    def __init__(self, act, step=3):
        self.act, self.step, self.at = act, step, 0.0

    def on_step_end(self, state):
        if state.step == self.step:
            self.at = time.monotonic()
            self.act(children())


def children():
    """Processes that this one has started and not seen the end of."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
                if int(fields[1]) == os.getpid() and fields[0] != "Z":
                    found.append(int(name))
    return found


linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


@linux
def test_a_worker_is_killed_and_a_run_goes_on_without_it(tmp_path, capsys):
    """The error comes at once, nothing is left over, and the checkpoint leads to the bits of one process."""
    path = tmp_path / "t.safetensors"
    before = set(children())

    def kill(pids):
        os.kill(next(pid for pid in pids if pid not in before), signal.SIGKILL)

    act = Act(kill, step=5)
    made = trainer(callbacks=[rw.Checkpoint(str(path)), act], shards=None)
    with pytest.raises(rw.WorkerError, match=r"worker 1 of 2 \(process \d+\) was killed by SIGKILL"):
        fitted(made, workers=2)
    assert time.monotonic() - act.at < 10.0
    assert set(children()) == before and made.epoch == 0 and made.shards is None
    made = rw.Trainer.resume(path)
    assert made.shards == 8 and made.epoch == 1
    whole = fitted(trainer(shards=8))
    made.callbacks = []
    fitted(made, epochs=2)
    assert bits(made) == bits(whole)


@linux
@pytest.mark.soak
def test_a_worker_that_is_silent_is_given_up():
    made = trainer(callbacks=[Act(lambda pids: os.kill(max(pids), signal.SIGSTOP))])
    with pytest.raises(rw.WorkerError, match="no sign of life for 5 seconds"):
        fitted(made, workers=2, timeout=5.0)
    assert made.epoch == 0


class Raising(ArrayLayer):
    """Raises where it sees samples of a later shard."""

    def outputs(self, x, p):
        if p.first_sample > 20:
            raise KeyError("not with me")
        return x

    def gradients(self, dy, p):
        return dy, {}


@pytest.fixture
def raising():
    """A layer that is known for a while."""
    rw.layers.register_layer(Raising)
    yield Raising
    rw.layers.base.KINDS._makers.pop("Raising", None)


def test_what_a_worker_raises_is_raised_here(raising):
    made = trainer(network(layers=[raising()]))
    with pytest.raises(KeyError, match="not with me") as caught:
        fitted(made, workers=2)
    assert any("in worker 1 of 2" in note for note in caught.value.__notes__)
    assert made.epoch == 0


def test_what_cannot_travel_is_refused_by_name(monkeypatch):
    class Mine(ArrayLoss):
        logits = True

        def value_and_gradient(self, outputs, targets):
            return 0.0, outputs

    monkeypatch.setattr(rewire._elsewhere, "_cloudpickle", lambda: None)
    with pytest.raises(TypeError, match=r"workers=2: loss .*train with workers=1"):
        fitted(trainer(loss=Mine()), workers=2)
    with pytest.raises(TypeError, match=r"workers=2 takes the network into other processes: .*Raising"):
        fitted(trainer(network(layers=[Raising()])), workers=2)
    with pytest.raises(ValueError, match="workers must be at most the number of shards"):
        fitted(trainer(shards=3), workers=4)


@pytest.fixture
def hidden(monkeypatch):
    """A module that only this process has, with a registered layer and a loss."""
    module = types.ModuleType("hidden_from_others")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for base in (Scaled, rw.losses.CrossEntropy):
        name = f"Hidden{base.__name__}"
        kind = type(name, (base,), {"__module__": module.__name__, "name": name.lower()})
        setattr(module, name, kind)
    rw.layers.register_layer(module.HiddenScaled)
    yield module
    rw.layers.base.KINDS._makers.pop("HiddenScaled", None)


def test_what_others_would_not_find_matters_where_it_is_used(hidden):
    """A layer that is registered and used by nobody stays behind; one that is used is refused, a loss too."""
    assert b"Hidden" not in b"".join(data for _, data in rewire._elsewhere.foreign_kinds("", "stay"))
    net = network(layers=[hidden.HiddenScaled([1.0])])
    with pytest.raises(TypeError, match="HiddenScaled: .*no module 'hidden_from_others'"):
        fitted(trainer(net), workers=2)
    with pytest.raises(TypeError, match="loss .*no module 'hidden_from_others'"):
        fitted(trainer(loss=hidden.HiddenCrossEntropy()), workers=2)


def test_a_file_that_is_mapped_is_not_copied(tmp_path):
    """Others get its name and place, wherever the rows begin; what is not as the file says is copied."""
    values = np.arange(4000.0, dtype="f4").reshape(500, 8)
    values.tofile(tmp_path / "x")
    whole = np.memmap(tmp_path / "x", "f4", "r", 32, (499, 8))
    some = whole[:, ::2], whole[:, ::3], whole[7::3, 1:], whole[:1], whole[:, 7:], whole[:1, ::3]
    for x in (whole, whole[300:], whole[100:200][5:], *some):
        source = _shareable(as_source(x, x.shape[1]))
        data = pickle.dumps(source)
        again = pickle.loads(data)
        assert len(data) < 1000 and (again.x == x).all() and again.largest == source.largest
    for x in (whole[::-1], whole[:, ::-1], whole[:8].T):
        assert not hasattr(_shareable(as_source(x, 8)), "path")
    private = np.memmap(tmp_path / "x", "f4", "c", 0, (500, 8))
    assert mapped(as_source(private, 8)) is None and mapped(as_source(values, 8)) is None
    os.rename(tmp_path / "x", tmp_path / "y")
    assert mapped(as_source(whole, 8)) is None
    (values + 1.0).tofile(tmp_path / "x")
    assert mapped(as_source(whole, 8)) is None


def test_few_columns_of_a_wide_file_are_copied_and_maps_of_them_stay_small(tmp_path):
    """What comes into memory is whole rows of the file, 16 KiB each."""
    wide = np.memmap(tmp_path / "x", "f4", "w+", 0, (5000, 4096))
    wide[:, :3] = np.arange(15000.0).reshape(-1, 3)
    few, half = wide[:, :3], wide[:, ::2]
    source = _shareable(as_source(few, 3))
    assert not hasattr(source, "path") and (source.x == few).all()
    assert hasattr(_shareable(as_source(half, 2048)), "path")
    for x in (few, half):
        assert 1 <= mapped_source(x, "X").step() <= 1024
    rows, maps = np.arange(0, 5000, 7)[::-1], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sliced, "mapped_rows", lambda *said: maps.append(said) or mapped_rows(*said))
        assert (sliced.Rows(few, rows)[:] == few[rows]).all()
    assert len(maps) == 10 and all(b - a <= 512 for _, _, a, b in maps)


class Cutting:
    """A communicator whose message is cut by a handler that raises."""

    rank, size = 0, 2

    def bcast(self, parts):
        raise KeyboardInterrupt


@pytest.mark.skipif(os.name != "posix", reason="descriptors are handed on there alone")
def test_what_is_handed_on_is_nobodys_input_or_output():
    """A daemon may have these closed, and what is opened next gets their numbers."""
    kept = [os.dup(0), os.dup(1)]
    os.close(0)
    os.close(1)
    try:
        memory, ends = SharedMemory(8), pipe_above_standard()
        numbers = memory.handle, *ends
        memory.close()  # whose map has a descriptor of its own, of a number that is somebody's again below
    finally:
        for number, file in enumerate(kept):
            os.dup2(file, number)
            os.close(file)
    assert min(numbers) > 2
    os.write(ends[1], b"x")
    assert os.read(ends[0], 1) == b"x"
    for end in ends:
        os.close(end)


@pytest.mark.skipif(os.name != "posix", reason="descriptors are handed on there alone")
@pytest.mark.parametrize("opens", [pipe_above_standard, lambda: SharedMemory(8)], ids=["pipe", "memory"])
def test_nothing_stays_open_where_no_number_is_left(monkeypatch, opens):
    monkeypatch.setattr(rewire.workers.shared, "_STANDARD", 1 << 30)
    lowest = os.dup(0)
    os.close(lowest)
    with pytest.raises(OSError):
        opens()
    again = os.dup(0)
    os.close(again)
    assert again == lowest


def test_nothing_is_said_after_half_a_message(monkeypatch):
    teams = []

    @contextlib.contextmanager
    def helpers(trainer, *_, **__):
        teams.append(Team(Cutting(), trainer.network, trainer.loss, 2, patient=False))
        yield teams[0]
        teams[0].drain()

    monkeypatch.setattr(rewire.workers.starting, "helpers_of", helpers)
    made = trainer()
    with pytest.raises(rw.WorkerError, match="cut a message"):
        fitted(made, workers=2)
    assert made.epoch == 0


def test_a_message_is_what_was_sent():
    thing = {"a": np.arange(5.0), "b": [np.zeros((2, 3), "f4"), "word"], "c": np.empty(0)}
    again = thing_of([bytes(part) for part in parts_of(thing)])
    assert (again["a"] == thing["a"]).all() and again["b"][0].shape == (2, 3) and again["b"][1] == "word"


# --- the command line


def test_the_command_line_trains_with_workers(tmp_path, capsys):
    """It says how batches are cut, keeps that, and goes on with fewer to the same network."""
    first, second, whole = (str(tmp_path / name) for name in ("a", "b", "c"))
    options = ["train", "--data", "digits", "--hidden", "20", "--group", "1"]
    assert main([*options, "--epochs", "2", "--shards", "8", "--save", whole]) == 0
    assert "shards" not in capsys.readouterr().out
    assert main([*options, "--epochs", "1", "--horizon", "2", "--workers", "2", "--save", first]) == 0
    assert "workers=2: batches are cut into 8 shards" in capsys.readouterr().out
    assert main(["train", "--resume", first, "--epochs", "2", "--save", second]) == 0
    again, alone = rw.Trainer.resume(second), rw.Trainer.resume(whole)
    assert again.shards == alone.shards == 8
    assert again.history["loss"][0] == alone.history["loss"][0]
    assert main([*options, "--shards", "2", "--workers", "3"]) == 2
    assert "--workers 3 needs --shards 3 or more" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there is no such signal")
def test_a_signal_saves_and_training_goes_on(tmp_path):
    path = str(tmp_path / "t.safetensors")
    before = signal.getsignal(signal.SIGUSR1)
    ask = Act(lambda _: os.kill(os.getpid(), signal.SIGUSR1), step=4)
    made = fitted(trainer(callbacks=[ask, _SaveWhenAsked(path, 1, {"note": 1})]))
    assert made.step == 9 and signal.getsignal(signal.SIGUSR1) is before
    saved = rw.Trainer.resume(path)
    assert saved.step in (4, 5) and saved.shards == 7
    saved.callbacks = []
    assert bits(fitted(saved, epochs=3 - saved.epoch)) == bits(fitted(trainer()))


def test_estimators_have_workers():
    sklearn = pytest.importorskip("sklearn.base")
    one = rw.SparseMLPClassifier((30,), max_iter=2, random_state=0, shards=8, batch_size=30)
    two = sklearn.clone(one).set_params(shards=None, workers=2)
    one.fit(DEEP_X, DEEP_Y)
    two.fit(DEEP_X, DEEP_Y)
    assert two.trainer_.shards == 8
    assert (one.network_.get_vector() == two.network_.get_vector()).all()
    with pytest.raises(ValueError, match="workers must be"):
        sklearn.clone(one).set_params(workers=0).fit(DEEP_X, DEEP_Y)
