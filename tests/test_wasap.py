"""Gradients that are learnt from as they come, of links of before too. Which comes first is chance."""

import contextlib
import gc
import os
import signal
import sys
import time
import types

import numpy as np
import pytest

import rewire as rw
from rewire import _core
from rewire._wasap import AsyncFit, _put_valid
from rewire.parameters.base import GRADIENT
from rewire.workers import serving
from rewire.workers.pipes import Pipe
from rewire.workers.processes import Leader
from rewire.workers.team import Team
from small import normal
from test_local_sgd import bits

X = normal(400, 12).astype("f4")
Y = (X @ normal(12, 3)).argmax(1)
linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc and SIGSTOP")
quiet = pytest.mark.filterwarnings("ignore:rewiring '[^']*' (acts once|never acts)")


def trainer(rewiring=None, **options):
    layers = [rw.Sparse(12, 40, density=0.4, activation="relu", group=2), rw.BatchNorm(), rw.Dropout(0.1)]
    layers.append(rw.Sparse(40, 3, density=0.6, activation="softmax"))
    rewiring = rw.SET(every=rw.Steps(3)) if rewiring is None else rewiring
    options = {"loss": "cross_entropy", "optimizer": rw.SGD(0.1, momentum=0.9, clip_norm=5.0), **options}
    return rw.Trainer(rw.Sequential(layers, seed=3), rewiring=rewiring, **options)


def fitted(made, *, workers=3, epochs=8, alone=0.25, **options):
    made.fit(
        X, Y, epochs=epochs, batch_size=16, verbose=0, workers=workers, strategy=rw.WASAP(alone), **options
    )
    return made


def test_it_learns_with_as_many_links(monkeypatch):
    """Rewirings come between a worker's links and its gradient, and every link stays one of so many."""
    carried, busy = [], []
    put = _put_valid
    monkeypatch.setattr("rewire._wasap._put_valid", lambda q, *rest: carried.append(q.name) or put(q, *rest))
    learn = AsyncFit._learn
    monkeypatch.setattr(AsyncFit, "_learn", lambda self, *a: busy.append(len(self._out)) or learn(self, *a))
    made = trainer()
    before = [q.nnz for q in made.network.sparse_parameters]
    weight = np.where(np.arange(400) < 32, 0.0, 1.0)
    fitted(made, validation_data=(X, Y), sample_weight=weight)
    assert [q.nnz for q in made.network.sparse_parameters] == before
    assert made.epoch == 8 == len(made.history) and max(busy) == 1
    assert {*carried} == {"layers.0.weight", "layers.3.weight"}
    assert made.history["val_accuracy"][-1] > 0.8 and made.rewirings > 20
    assert 6 * 23 <= made.step - 2 * 9 <= 6 * 25
    assert made.exchanged_bytes > 0 and made.state.trainings is None
    for parameter in made.network.tree.sparse:
        parameter.store.validate()


@quiet
def test_rules_that_look_and_skip(tmp_path):
    class Look(rw.Callback):
        saves = True

        def on_step_end(self, state):
            steps.append(state.step)

    steps = []
    made = trainer(rw.RigL(every=rw.Steps(5)), callbacks=[Look()], optimizer=rw.Adam(0.01), horizon=4)
    fitted(made, workers=2, epochs=3, alone=0.3)
    assert steps == list(range(1, 51)) and made.rewirings > 5
    made.callbacks.clear()
    made.save(tmp_path / "run.st")
    again = rw.Trainer.resume(tmp_path / "run.st")
    for one in (made, again):
        one.fit(X, Y, epochs=1, batch_size=16, verbose=0, workers=1)
    assert bits(made) == bits(again)


def test_values_of_links_that_are_gone_are_dropped():
    net = rw.Sequential([rw.Sparse(9, 6, density=0.5, group=2)], seed=1)
    (parameter,) = net.tree.sparse
    structure = _core.structure_bytes(parameter.core)
    rows, cols, _ = parameter.store.to_arrays()
    values = np.arange(1.0, 1 + parameter.packed_size(), dtype="f4")
    parameter.unpack(GRADIENT, values)
    of_before = dict(zip(zip(rows, cols, strict=True), parameter.read(GRADIENT), strict=True))
    parameter.hold_gradient(False)
    gone = next(j for i, j in of_before if i == 0)
    free = next(j for j in range(9) if (0, j) not in of_before)
    parameter.store.remove([0, 1], [gone, gone])
    parameter.store.insert([0, 1], [free, free], 0.5)
    parameter.hold_gradient(True)
    _put_valid(parameter, structure, values)
    rows, cols, _ = parameter.store.to_arrays()
    found = dict(zip(zip(rows, cols, strict=True), parameter.read(GRADIENT), strict=True))
    kept = {(i, j): value for (i, j), value in of_before.items() if i > 1 or j != gone}
    assert found == kept | {(0, free): 0.0, (1, free): 0.0}


class Act(rw.Callback):
    """Kills a worker, or sends Ctrl-C, after ten steps."""

    saves = True

    def __init__(self, what):
        self.what = what

    def on_step_end(self, state):
        if state.step == 10 and self.what == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        elif state.step == 10:
            os.kill(self.what(), signal.SIGKILL)


@pytest.fixture
def leaders(monkeypatch):
    """Those who have started workers."""
    there = []
    enter = Leader.__enter__
    monkeypatch.setattr(Leader, "__enter__", lambda self: there.append(self) or enter(self))
    return there


@pytest.mark.parametrize("how", ["death", "error"])
def test_a_worker_that_ends_ends_the_call(how, leaders):
    made = trainer()
    if how == "death":
        made.callbacks.append(Act(lambda: leaders[0]._processes[2].pid))
        error, words = rw.WorkerError, "worker 2 of 3"
    else:
        made.optimizer.lr = 1e30
        error, words = rw.DivergenceError, "step"
    before = bits(made)
    with pytest.raises(error, match=words):
        fitted(made)
    assert bits(made) == before


@linux
def test_a_silent_worker_is_given_up_while_others_speak(leaders):
    class Stop(rw.Callback):
        saves = True

        def on_step_end(self, state):
            if state.step == 10:
                os.kill(leaders[0]._processes[2].pid, signal.SIGSTOP)
            elif state.step > 10:
                assert state.step < 110, "training goes on without it"
                time.sleep(0.03)  # so that the other one has always answered

    made = trainer(callbacks=[Stop()])
    with pytest.raises(rw.WorkerError, match="worker 2 of 3 .* no sign of life for 1.5 seconds"):
        fitted(made, epochs=40, timeout=1.5)
    assert made.step == 0


def test_links_that_a_callback_takes_away():
    class Take(rw.Callback):
        saves = True

        def on_step_end(self, state):
            if state.step in (10, 20, 21):
                store = state.network.sparse_parameters[0].store
                rows, cols, _ = store.to_arrays()
                pair = rows[0] // 2 * 2 + np.arange(2)  # of a group
                store.remove(pair, [cols[0], cols[0]])

    made = trainer(callbacks=[Take()])
    before = [q.nnz for q in made.network.sparse_parameters]
    fitted(made)
    assert [q.nnz for q in made.network.sparse_parameters] == [before[0] - 6, before[1]]


def test_structures_are_made_once_and_messages_lie_in_shared_memory(monkeypatch):
    """Each worker has a room for what it alone is told: through pipes go heads of messages."""
    made, calls, lengths = trainer(), [], []
    write = Pipe._write
    monkeypatch.setattr(Pipe, "_write", lambda self, data: lengths.append(len(data)) or write(self, data))
    of_core = _core.structure_bytes
    counted = types.SimpleNamespace(**vars(_core))
    counted.structure_bytes = lambda core: calls.append(core) or of_core(core)
    monkeypatch.setattr("rewire.workers.team._core", counted)
    fitted(made, epochs=2, alone=0.5)
    assert made.rewirings > 5 and len(calls) <= 2 * (made.rewirings + 1)
    assert len(lengths) > made.step / 2 and max(lengths) < 1000 < made.network.nbytes


@linux
@pytest.mark.parametrize("how", ["whole", "interrupt", "error"])
def test_memory_that_is_shared_goes_with_the_call(how):
    """Without a collection of cycles: data in a loop of fits would lie there twice."""

    class Raise(rw.Callback):
        saves = True

        def on_step_end(self, state):
            if state.step == 20:
                raise KeyError("mine")

    made = trainer(callbacks={"whole": [], "interrupt": [Act("interrupt")], "error": [Raise()]}[how])
    gc.collect()
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/fd"))
        with contextlib.suppress(KeyError):
            fitted(made, epochs=3)
        end = time.monotonic() + 60.0  # for a moment a thread knows where a signal has come
        while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < end:
            time.sleep(0.02)
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()


def test_errors_and_rewirings_are_of_the_step_at_hand(monkeypatch):
    """Not of a batch that was given away before; and a rewiring is a section of its own for Ctrl-C."""
    made, depths = trainer(), []
    rewire, receive, seen = AsyncFit.rewire, Team.receive, []

    def rewiring(self, *args, **options):
        depths.append(self.rewiring_whole._interrupts._depth)
        return rewire(self, *args, **options)

    def received(self, waiting):
        seen.append(receive(self, waiting))
        if len(seen) == 7:
            raise rw.DivergenceError(3, 99, "a layer", "weights that are not finite")
        return seen[-1]

    monkeypatch.setattr(AsyncFit, "rewire", rewiring)
    monkeypatch.setattr(Team, "receive", received)
    with pytest.raises(rw.DivergenceError, match="epoch 0 at step 7: a layer has weights") as found:
        fitted(made)
    assert found.value.step == 7 and {*depths} == {0}


def test_ctrl_c_leaves_an_epoch_to_go_on_with():
    made = trainer(callbacks=[Act("interrupt")])
    fitted(made)
    assert made.history.interrupted and made.step == 10 and made.unfinished is not None
    made.callbacks.clear()
    fitted(made, workers=2, epochs=2, alone=0.3)
    assert made.epoch == 2 and not made.history.interrupted


def test_refusals(monkeypatch):
    for options, words in (
        ({"workers": 1}, "1 process, which has nobody to hear of"),
        ({"workers": 4}, "4 processes: there are 3 trainings"),
    ):
        with pytest.raises(ValueError, match=words):
            trainer().fit(X, Y, strategy=rw.WASAP(workers=3), verbose=0, **options)
    with pytest.raises(ValueError, match="shards=4: workers that train alone have whole batches"):
        fitted(trainer(shards=4))
    with pytest.raises(ValueError, match="'deepr', which keeps 'sign"):
        fitted(trainer(rw.DeepR()))
    from rewire.workers.joining import cut_for

    with pytest.raises(ValueError, match=r"WASAP\(.*\) cannot be used under mpiexec, srun or torchrun"):
        cut_for(trainer(), 3, False, rw.WASAP(), launched=True)
    assert "GradientOrder" in serving.__all__ and repr(rw.WASAP()).startswith("WASAP(alone=0.3")
