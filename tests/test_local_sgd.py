"""Trainings that learn alone for some steps and are averaged: the bits of their number, in any processes."""

import copy
import os
import signal

import numpy as np
import pytest

import rewire as rw
from rewire._alone import RoundRunner
from rewire._strategies import settled
from rewire.progress import Silent

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(330, 20)).astype(np.float32), RNG.integers(0, 4, 330)


def trainer(rewiring="set", optimizer=None, norm=True, **options):
    layers = [rw.Sparse(20, 24, density=0.3, activation="relu"), rw.Dropout(0.2)]
    if norm:
        layers.append(rw.BatchNorm(24))
    net = rw.Sequential([*layers, rw.Sparse(24, 4, density=0.5, activation="softmax")], seed=3)
    optimizer = optimizer or rw.SGD(lr=0.05, momentum=0.9)
    return rw.Trainer(net, loss="cross_entropy", optimizer=optimizer, rewiring=rewiring, **options)


def bits(made):
    """All that a file would hold but for times."""
    arrays = {name: a.tobytes() for name, a in made.arrays().items()}
    rows = [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in made.history]
    return arrays, rows, made.step, made.rewirings


def fitted(made=None, *, every=4, trainings=3, workers=1, epochs=2, **options):
    made = trainer() if made is None else made
    plan = rw.LocalSGD(every, workers=trainings)
    made.fit(X, Y, epochs=epochs, batch_size=16, verbose=0, workers=workers, strategy=plan, **options)
    return made


@pytest.mark.parametrize("every", [1, 5, 1000])
@pytest.mark.parametrize("rewiring", ["set", rw.SET(every=rw.Steps(7)), None])
def test_one_training_is_training_as_ever(every, rewiring):
    plain = trainer(copy.deepcopy(rewiring))
    plain.fit(X, Y, epochs=2, batch_size=16, verbose=0, workers=1)
    alone = fitted(trainer(copy.deepcopy(rewiring)), every=every, trainings=1)
    a, b = bits(plain), bits(alone)
    assert a[0] == b[0] and a[2:] == b[2:]
    for one, other in zip(a[1], b[1], strict=True):
        assert {**one, "loss": 0} == {**other, "loss": 0} and one["loss"] == pytest.approx(other["loss"])


def test_the_mean_is_that_of_trainings_by_hand():
    def made():
        net = rw.Sequential([rw.Sparse(20, 4, density=0.5, activation="softmax")], seed=3)
        return rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(lr=0.05, momentum=0.9))

    found = made()
    found.fit(
        X[:96], Y[:96], epochs=1, batch_size=16, shuffle=False, verbose=0, workers=1,
        strategy=rw.LocalSGD(3, workers=2),
    )  # fmt: skip
    sides = [made(), made()]
    for number, side in enumerate(sides):
        for step in range(3):
            at = 32 * step + 16 * number
            side.train_step(X[at : at + 16], Y[at : at + 16])
    one, other, mean = (side.arrays() for side in (*sides, found))
    for name in mean:
        if name.endswith(("weight", "momentum", "bias")):
            np.testing.assert_allclose(mean[name], (one[name] + other[name]) / 2, rtol=1e-6, atol=1e-8)
    assert found.step == 3 and found.state.optimizer_step == 3


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_leave_no_trace(processes):
    alone, together = fitted(), fitted(workers=processes)
    assert bits(alone) == bits(together)
    assert alone.exchanged_bytes == 0 < together.exchanged_bytes
    rounds = 2 * -(-330 // (3 * 16 * 4))
    least = rounds * (processes - 1) * 2 * sum(q.size for q in together.network.tree.parameters.values())
    assert together.exchanged_bytes > 2 * 4 * least


def test_other_rules_optimizers_weights_and_dtypes():
    def made():
        optimizer = rw.Adam(lr=0.01, clip_norm=0.5)
        return trainer(rw.RigL(every=rw.Steps(5)), optimizer, norm=False)

    weight = np.where(np.arange(330) % 7, 1.0, 0.0)
    alone, together = (fitted(made(), workers=n, sample_weight=weight) for n in (1, 2))
    assert bits(alone) == bits(together) and (alone.step, alone.rewirings) == (14, 2)


@pytest.mark.parametrize("trainings", [1, 2, 3, 4])
def test_fractions_of_a_run_are_of_its_steps_in_a_row(trainings):
    made = fitted(trainer(rw.GraNet(0.05, every=rw.Steps(1))), every=2, trainings=trainings, epochs=1)
    assert sum(made.history[-1]["nnz"]) == sum(round(0.05 * n) for n in (20 * 24, 24 * 4))

    class Log(rw.Callback):
        def on_rewire(self, state):
            self.last = state.step

    log = Log()
    made = trainer(rw.RigL(every=rw.Steps(2), end=0.75), callbacks=[log])
    fitted(made, trainings=trainings, epochs=4)
    steps = 4 * -(-330 // (16 * trainings))
    assert made.step == steps and 0.75 * steps - 2 <= log.last <= 0.75 * steps


def test_a_period_that_does_not_fit_the_steps_in_a_row_is_said():
    every = rw.Steps(20)
    fitted(trainer(rw.SET(every=every)), trainings=1)
    with pytest.warns(UserWarning, match="acts once: its period is 20 steps, the run has 22 steps"):
        fitted(trainer(rw.SET(every=every)), trainings=2)
    options = {"hidden_layer_sizes": (8,), "max_iter": 1, "random_state": 0, "batch_size": 3}
    for strategy, unit in ((None, "epochs"), (rw.LocalSGD(4, workers=2), "steps")):
        found = rw.SparseMLPClassifier(**options, strategy=strategy, workers=1).fit(X, Y)
        assert found.trainer_.rewiring.every.unit == unit


@pytest.mark.parametrize("every", [1, 3, 100])
def test_a_bar_is_full_after_an_epoch(every, monkeypatch):
    class Bar(Silent):
        def begin(self, epochs, first, steps):
            self.total, self.done, self.full = steps, 0, []

        def step(self, loss, steps=1):
            self.done += steps

        def epoch(self, row):
            self.full.append(self.done)
            self.done = 0

    bar = Bar()
    monkeypatch.setattr("rewire.trainer.progress", lambda verbose: bar)
    weight = np.where(np.arange(330) < 200, 0.0, 1.0)  # steps at the start are passed over
    fitted(every=every, sample_weight=weight, shuffle=False)
    assert bar.total == 7 and bar.full == [7, 7]


def test_a_rewiring_waits_for_a_sample_with_weight():
    class Looks(rw.RigL):
        def rewire(self, parameters, progress, *rest, **more):
            asked.append(progress.step)
            return super().rewire(parameters, progress, *rest, **more)

    asked: list[int] = []
    weight = np.where(np.arange(330) % 48 < 16, 0.0, 1.0)  # nothing of it goes to the first training
    made = trainer(Looks(every=rw.Steps(3), end=1.0), norm=False)
    fitted(made, sample_weight=weight, shuffle=False)
    assert asked == [3, 6, 9, 12] and made.step == 14


def test_a_round_of_any_length_ends_with_the_epoch():
    class Asked(rw.SET):
        def due(self, progress):
            assert progress.step < 14, "asked of steps that no epoch has"
            return super().due(progress)

    made = fitted(trainer(Asked(every=rw.Epochs(1))), every=10**9)
    assert made.step == 14 and made.rewirings == 1


def test_what_follows_steps_misses_none_in_a_round(tmp_path):
    class Kept(rw.Checkpoint):
        def _save(self, state):
            saved.append(state.step)

    saved: list[int] = []
    kept = Kept(tmp_path / "kept.st", every=rw.Steps(10))
    fitted(trainer(callbacks=[kept]), every=3, trainings=1)
    assert saved == [12, 21, 30, 42, 42]  # rounds begin anew with an epoch; the last is of the end of fit


def test_averages_count_every_step_of_a_round():
    class Average(rw.WeightAverage):
        def _update(self, network, threads, times=1):
            counted.append(times)
            super()._update(network, threads, times)

    counted: list[int] = []
    fitted(trainer(callbacks=[Average(0.9, every=2)], norm=False), every=5, trainings=1, epochs=1)
    assert sum(counted) == 21 // 2 and max(counted) > 1


def test_an_optimizer_that_becomes_another_is_refused():
    class Change(rw.Callback):
        def on_epoch_end(self, state):
            state.trainer.optimizer.momentum = 0.0

    for workers in (1, 2):
        with pytest.raises(RuntimeError, match="keeps other fields than in the step before"):
            fitted(trainer(None, callbacks=[Change()]), workers=workers, epochs=2)


def test_more_trainings_than_samples():
    made = trainer(norm=False)
    made.fit(X[:5], Y[:5], epochs=2, batch_size=2, verbose=0, workers=1, strategy=rw.LocalSGD(3, workers=8))
    assert made.step == 2 and np.isfinite(made.history[-1]["loss"])


def test_a_run_that_is_gone_on_with(tmp_path):
    whole = fitted(trainer(horizon=3), epochs=3)
    first = fitted(trainer(horizon=3), epochs=1, workers=2)
    first.save(tmp_path / "run.st")
    second = fitted(rw.Trainer.resume(tmp_path / "run.st"), epochs=2)
    assert bits(second) == bits(whole)


def test_a_run_goes_on_with_as_many_trainings(tmp_path):
    """Nobody has to remember the number: it is in the file, and a copy has it."""
    whole = fitted(trainer(horizon=3), epochs=3)
    fitted(trainer(horizon=3), epochs=1).save(tmp_path / "run.st")
    first = rw.Trainer.resume(tmp_path / "run.st")
    for made in (copy.deepcopy(first), first):
        assert bits(fitted(made, epochs=2, trainings=None)) == bits(whole)
    words = r"4 processes: there are 3 trainings, as many as in the call before, .* LocalSGD\(workers=\)"
    with pytest.raises(ValueError, match=words):
        fitted(first, workers=4, trainings=None)
    first.fit(X, Y, epochs=1, batch_size=16, verbose=0, strategy=rw.WASSP(workers=2))
    assert first.state.trainings == 3  # another strategy, whose trainings end as one network
    for kind in (rw.WASSP, rw.WASAP):
        for before, processes in ((2, 3), (8, 2)):
            assert settled(kind(), before, processes).workers == processes
    assert settled(rw.LocalSGD(), 8, 2).workers == 8
    assert fitted(first, trainings=2).state.trainings == 2


def test_ctrl_c_leaves_the_state_before_the_round():
    class Interrupt(rw.Callback):
        def on_step_end(self, state):
            if state.step >= 8:
                os.kill(os.getpid(), signal.SIGINT)

    whole, cut = fitted(), trainer()
    cut.callbacks.append(Interrupt())
    fitted(cut)
    assert cut.history.interrupted and cut.unfinished is not None
    cut.callbacks.clear()
    fitted(cut, epochs=2 - cut.epoch)
    assert bits(cut) == bits(whole)


@pytest.mark.parametrize("second", [KeyboardInterrupt, ArithmeticError])
def test_what_ends_a_round_in_its_middle_leaves_its_beginning(second, monkeypatch):
    whole, cut = fitted(), trainer()
    train = RoundRunner._train

    def broken(self, task, number):
        found = train(self, task, number)
        if task.step >= 4 and number == 1:
            raise second
        return found

    monkeypatch.setattr(RoundRunner, "_train", broken)
    if second is not KeyboardInterrupt:
        before = bits(cut)
        with pytest.raises(second):
            fitted(cut)
        assert bits(cut) == before
        return
    fitted(cut)
    assert cut.history.interrupted and cut.step == 4 and cut.unfinished is not None
    monkeypatch.undo()
    fitted(cut, epochs=2)
    assert bits(cut) == bits(whole)


def test_what_an_error_undoes():
    class Fault(rw.Callback):
        def on_epoch_end(self, state):
            raise KeyError("mine")

    made = trainer()
    made.callbacks.append(Fault())
    before = bits(made)
    with pytest.raises(KeyError, match="mine"):
        fitted(made)
    assert bits(made) == before


@pytest.mark.parametrize(
    ("made", "options", "words"),
    [
        (lambda: trainer(rw.DeepR()), {}, "deepr.*every step"),
        (lambda: trainer(shards=4), {}, "shards=4"),
        (trainer, {"workers": 4}, "4 processes: there are 3 trainings"),
    ],
)
def test_what_cannot_be_is_refused_by_name(made, options, words):
    with pytest.raises(ValueError, match=words):
        fitted(made(), **options)


def test_arguments():
    with pytest.raises(ValueError, match="every must be"):
        rw.LocalSGD(0)
    with pytest.raises(TypeError, match=r"strategy must be rewire.Sync\(\), rewire.LocalSGD\(every=32\), "):
        trainer().fit(X, Y, strategy="local")
    assert repr(rw.LocalSGD(8, workers=2)) == "LocalSGD(every=8, workers=2)"
    assert rw.LocalSGD(8) == rw.LocalSGD(8) != rw.LocalSGD(9) and rw.Sync() == rw.Sync()
    plain, sync = trainer(), trainer()
    plain.fit(X, Y, verbose=0)
    sync.fit(X, Y, verbose=0, strategy=rw.Sync())
    assert bits(plain) == bits(sync)


def test_one_training_is_said(capsys):
    for workers, said in ((1, True), (2, False)):
        trainer().fit(X, Y, strategy=rw.LocalSGD(4, workers=workers))
        assert ("one training, so nothing is averaged" in capsys.readouterr().out) == said


def test_estimators_and_the_command_line(tmp_path, capsys):
    from rewire.cli import main

    options = {"hidden_layer_sizes": (16,), "max_iter": 2, "random_state": 0, "batch_size": 16}
    plan = rw.LocalSGD(4, workers=3)
    found = rw.SparseMLPClassifier(**options, strategy=plan, workers=1).fit(X, Y)
    plain = rw.SparseMLPClassifier(**options).fit(X, Y)
    assert found.trainer_.step < plain.trainer_.step and found.get_params()["strategy"] is plan
    np.savez(tmp_path / "data.npz", X=X, y=Y, X_test=X[:30], y_test=Y[:30])
    command = ["train", "--data", str(tmp_path / "data.npz"), "--hidden", "16", "--epochs", "2", "--quiet"]
    command += ["--batch-size", "128"]
    for name, more in (("a", []), ("b", ["--strategy", "local:3", "--workers", "2"])):
        assert main([*command, "--save", str(tmp_path / name), *more]) == 0
    steps = {name: rw.Trainer.resume(tmp_path / name).step for name in "ab"}
    assert steps["b"] == 2 * -(-330 // (2 * 128)) < steps["a"]
    for wrong in ("local:0", "local:3x0", "local:x2", "local:3x", "global"):
        assert main([*command, "--strategy", wrong]) == 2
        assert "sync, local-sgd, wassp, wasap, local, local:N or local:NxM" in capsys.readouterr().err


def test_the_command_line_goes_on_with_as_many_trainings(tmp_path, capsys):
    from rewire.cli import main

    np.savez(tmp_path / "data.npz", X=X, y=Y, X_test=X[:30], y_test=Y[:30])
    data = ["--data", str(tmp_path / "data.npz"), "--quiet"]
    new = ["train", *data, "--hidden", "16", "--batch-size", "16", "--horizon", "2"]
    asked = [*new, "--strategy", "local:3", "--workers", "2"]
    assert main([*asked, "--epochs", "2", "--save", str(tmp_path / "whole")]) == 0
    assert main([*asked, "--epochs", "1", "--save", str(tmp_path / "half")]) == 0
    half = ["train", *data, "--resume", str(tmp_path / "half"), "--epochs", "2"]
    assert main([*half, "--save", str(tmp_path / "rest")]) == 0
    whole, rest = (rw.Trainer.resume(tmp_path / name) for name in ("whole", "rest"))
    assert bits(whole) == bits(rest)
    capsys.readouterr()
    assert main([*half, "--workers", "3"]) == 1
    assert "3 processes: there are 2 trainings" in capsys.readouterr().err


def test_an_exponential_average_forgets_by_steps():
    class Rates(rw.Callback):
        def on_step_end(self, state):
            seen.append(state.steps)
            weights.append(state.network.arrays()["layers.0.bias.values"].astype(float))

    seen, weights = [], []
    made = trainer(None, norm=False)
    made.callbacks += [Rates(), rw.WeightAverage(0.5)]
    fitted(made, epochs=4)
    mean = weights[0]
    for count, (steps, weight) in enumerate(zip(seen[1:], weights[1:], strict=True), 2):
        mean = mean + (weight - mean) * max(1 / count, 1 - 0.5**steps)
    assert max(seen) == 4 > min(seen)
    found = made.evaluated_network().arrays()["layers.0.bias.values"]
    np.testing.assert_allclose(found, mean, rtol=1e-5, atol=1e-7)
