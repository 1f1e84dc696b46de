"""Checkpoints: what is written when, and that a run which was killed goes on from the last one."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import rewire as rw
from rewire.cli import main
from small import HANG_SECONDS, NOISE, Log, X, Y, trainer
from test_unfinished import StopAt, bits


class Times(rw.Checkpoint):
    """Writes down when something is saved, and where."""

    def write(self, state, target):
        super().write(state, target)
        resumed = rw.Trainer.resume(target)
        assert (resumed.epoch, resumed.step) == (state.epoch, state.step)
        self.seen.append((state.epoch, state.step, os.path.basename(target)))

    seen = ()


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, [(1, 3), (2, 6), (3, 9), (4, 12)]),
        ({"every": {"epochs": 3}}, [(3, 9), (4, 12)]),
        ({"every": rw.Steps(5)}, [(1, 5), (3, 10), (4, 12)]),
        ({"every": {"epochs": 2}}, [(2, 6), (4, 12)]),
        ({"every": rw.Steps(100)}, [(4, 12)]),
    ],
)
def test_when(tmp_path, options, expected):
    checkpoint = Times(tmp_path / "run.st", **options)
    checkpoint.seen = []
    t = trainer(callbacks=[checkpoint], rewiring="set")
    t.fit(X, Y, epochs=4, batch_size=30, verbose=0)
    assert [(epoch, step) for epoch, step, _ in checkpoint.seen] == expected
    assert [p.name for p in tmp_path.iterdir()] == ["run.st"]


@pytest.mark.parametrize("every", [rw.Epochs(), None])
@pytest.mark.parametrize("best", ["val_accuracy", "val_loss", "loss"])
def test_the_best_is_kept(tmp_path, best, every):
    checkpoint = rw.Checkpoint(tmp_path / "run.st", every, best=best)
    t = trainer(callbacks=[checkpoint], optimizer=rw.SGD(0.5))
    t.fit(X, Y, epochs=12, batch_size=8, validation_data=NOISE, verbose=0)
    column = np.array(t.history[best])
    at = int((column.argmin if best.endswith("loss") else column.argmax)())
    assert checkpoint.best_epoch == at and checkpoint.best_value == column[at]
    assert checkpoint.best_path == str(tmp_path / ("run.st" if every is None else "run.best.st"))
    found = rw.Trainer.resume(checkpoint.best_path)
    assert len(found.history) == found.epoch == at + 1
    if best == "val_accuracy":
        assert found.evaluate(*NOISE)["accuracy"] == column[at]
    # A resumed one knows how good the best was.
    again = rw.Checkpoint(tmp_path / "run.st", every, best=best)
    resumed = rw.Trainer.resume(checkpoint.best_path, callbacks=[again])
    assert (again.best_epoch, again.best_value) == (at, column[at]) and resumed.callbacks == [again]


def test_what_others_keep_is_up_to_date(tmp_path):
    """Wherever a checkpoint stands in the list, it is told last, and a resumed run is one never stopped."""
    path = tmp_path / "run.st"
    for first in (True, False):
        checkpoint = rw.Checkpoint(path, rw.Epochs(2))
        log, stop = rw.LinkLog(), rw.EarlyStopping(30, monitor="loss")
        order = [checkpoint, log, stop] if first else [log, stop, checkpoint]
        t = trainer(callbacks=order, rewiring="set")
        t.fit(X, Y, epochs=2, batch_size=16, verbose=0)
        again = {checkpoint: rw.Checkpoint(path, rw.Epochs(2)), log: rw.LinkLog()}
        fresh = [again.get(one) or rw.EarlyStopping(30, monitor="loss") for one in order]
        resumed = rw.Trainer.resume(path, callbacks=fresh)
        assert bits(resumed) == bits(t) and "exploration_rate" in resumed.history
        for one in (t, resumed):
            one.fit(X, Y, epochs=3, batch_size=16, verbose=0)
        assert bits(resumed) == bits(t)


def test_files_do_not_say_where_to_write(tmp_path):
    path = tmp_path / "run.st"
    trainer(callbacks=[rw.Checkpoint(path)]).fit(X, Y, verbose=0)
    content = path.read_bytes()
    assert str(tmp_path).encode() not in content
    t = rw.Trainer.resume(path)
    assert t.callbacks[0].path is None
    with pytest.warns(UserWarning, match="Checkpoint has no path and saves nothing"):
        t.fit(X, Y, verbose=0)
    assert path.read_bytes() == content
    t.callbacks[0].path = path
    t.fit(X, Y, verbose=0)
    assert rw.Trainer.resume(path).epoch == 3


def test_a_disk_that_is_full_does_not_end_the_run(tmp_path):
    class Full(rw.Checkpoint):
        def write(self, state, target):
            if state.epoch == 2:
                raise OSError(28, "No space left on device")
            super().write(state, target)

    t = trainer(callbacks=[Full(tmp_path / "run.st")])
    with pytest.warns(UserWarning, match="epoch 2, step 2 could not be written, training goes on"):
        t.fit(X, Y, epochs=3, verbose=0)
    assert t.epoch == rw.Trainer.resume(tmp_path / "run.st").epoch == 3


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda p: rw.Checkpoint(p, None), "every and best must not both be None"),
        (lambda p: rw.Checkpoint(p, rw.Epochs(stop=5)), "every must be .* without a stop"),
        (lambda p: rw.Checkpoint(p, 0), "every must be an integer >= 1, got 0"),
        (lambda p: rw.Checkpoint(3), "path must be a string or a path, got 3"),
        (lambda p: rw.Checkpoint(p / "no" / "x.st"), "does not exist"),
        (lambda p: rw.Checkpoint(p), "it is a folder"),
        (lambda p: rw.Checkpoint(p / "x.st", best="val_loss"), "needs validation_data"),
        (lambda p: rw.Checkpoint(p / "x.st", best="f1"), "best must be a column of the history"),
        (lambda p: rw.Checkpoint(p / "x.st", best="nnz"), "best must be a column of numbers, 'nnz' has"),
        (lambda p: rw.Checkpoint(p / "x.st", best="lr"), "mode must be 'min' or 'max' with best='lr'"),
        (lambda p: rw.Checkpoint(p / "x.st", best="seconds_training"), "mode must be 'min' or 'max'"),
    ],
)
def test_what_is_refused(tmp_path, make, words):
    with pytest.raises((TypeError, ValueError, OSError), match=words):
        trainer(callbacks=[make(tmp_path)]).fit(X, Y, verbose=0)
    assert not list(tmp_path.iterdir())


def test_a_rule_that_cannot_be_saved_is_refused_before_the_first_step(tmp_path):
    log = Log()
    t = trainer(callbacks=[rw.Checkpoint(tmp_path / "run.st"), log], rewiring=lambda links: None)
    with pytest.raises(NotImplementedError):
        t.fit(X, Y, epochs=2, verbose=0)
    assert not [one for one in log.seen if one.startswith("step")]


def test_the_best_of_another_figure_is_not_taken_over(tmp_path):
    path = tmp_path / "run.st"
    trainer(callbacks=[rw.Checkpoint(path, best="accuracy")]).fit(X, Y, epochs=3, verbose=0)
    same = rw.Trainer.resume(path, callbacks=[rw.Checkpoint(path, best="accuracy", mode="max")])
    assert same.callbacks[0].best_value is not None
    for other in (rw.Checkpoint(path, best="accuracy", mode="min"), rw.Checkpoint(path, best="loss")):
        with pytest.warns(UserWarning, match="none of callbacks takes it up"):
            t = rw.Trainer.resume(path, callbacks=[other])
        assert other.best_value is None
    assert other.best_value is None
    t.fit(X, Y, epochs=2, verbose=0)
    assert other.best_value == min(t.history["loss"][3:])


def test_the_best_of_another_trainer_is_not_taken_over(tmp_path):
    checkpoint = rw.Checkpoint(tmp_path / "run.st", best="loss")
    trainer(callbacks=[checkpoint]).fit(X, Y, epochs=4, verbose=0)
    t = trainer(callbacks=[checkpoint], optimizer=rw.SGD(1e-6))
    t.fit(X, Y, epochs=2, verbose=0)
    assert checkpoint.best_value == min(t.history["loss"])


def test_a_forged_best_epoch_is_refused(tmp_path):
    t = trainer(callbacks=[rw.Checkpoint(tmp_path / "run.st", best="loss")])
    t.fit(X, Y, epochs=2, verbose=0)
    config = t.config()
    config["callbacks"][0]["state"]["best_epoch"] = 2
    with pytest.raises(ValueError, match="best_epoch must be < 2, got 2"):
        rw.Trainer.from_config(config, t.arrays())


@pytest.mark.parametrize("every", [rw.Epochs(), rw.Epochs(4)])
@pytest.mark.parametrize("stop", [None, 17])
def test_beside_early_stopping_the_file_is_where_the_run_stopped(tmp_path, every, stop):
    """Whatever network is brought back at the end: the run goes on to the bits of one that never stopped."""

    def run(*more):
        return trainer(callbacks=[rw.EarlyStopping(50, restore_best=True), *more], optimizer=rw.SGD(0.5))

    options = {"batch_size": 13, "validation_data": NOISE, "verbose": 0}
    whole = run()
    whole.fit(X, Y, epochs=6, **options)
    path = tmp_path / "run.st"
    t = run(rw.Checkpoint(path, every), *([StopAt(stop)] if stop else []))
    if stop:
        t.fit(X, Y, epochs=6, **options)
        assert t.history.interrupted
    else:
        t.fit(X, Y, epochs=3, **options)
    assert t.callbacks[0].best_epoch < t.epoch - (stop is None)
    again = rw.Trainer.resume(path)
    assert (again.unfinished is not None) is (stop is not None)
    again.callbacks.pop()
    again.fit(X, Y, epochs=6 - again.epoch, **options)
    assert bits(again) == bits(whole)


def test_warnings_point_at_the_call_of_fit(tmp_path):
    class Full(rw.Checkpoint):
        def write(self, state, target):
            raise OSError(28, "No space left on device")

    for checkpoint in (rw.Checkpoint(None), Full(tmp_path / "run.st")):
        with pytest.warns(UserWarning, match="heckpoint") as found:
            trainer(callbacks=[checkpoint]).fit(X, Y, verbose=0)
        assert {one.filename for one in found} == {__file__}


# --- the command line -------------------------------------------------------------------

TRAIN = [
    "train", "--data", "digits", "--hidden", "60", "--dropout", "0.2", "--optimizer", "adam",
    "--schedule", "constant", "--threads", "1",
    "--rewiring-opt", "decay=constant", "--rewiring-opt", "end=None",
]  # fmt: skip


def rewire(*arguments, **options):
    command = [sys.executable, "-m", "rewire", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, number):
    path, whole = tmp_path / "run.st", tmp_path / "whole.st"
    with rewire(*TRAIN, "--epochs", 1000, "--save", path, "--save-every", 2) as process:
        for _ in range(6):  # three epochs or more, then anywhere
            line = process.stdout.readline()
            assert line and process.poll() is None
        process.send_signal(number)
        _, error = process.communicate(timeout=HANG_SECONDS)
    expected = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}
    assert process.returncode == expected[number], error
    assert (f"--resume {path}" in error) == (number != signal.SIGKILL)
    epoch = rw.Trainer.resume(path).epoch
    assert epoch >= 2
    more = ["--epochs", epoch + 2, "--quiet"]
    for command in (
        ["train", "--resume", path, *more, "--save", path, "--threads", "1"],
        [*TRAIN, *more, "--save", whole],
    ):
        assert main([str(argument) for argument in command]) == 0
    rw.set_num_threads(None)
    resumed, again = rw.Trainer.resume(path), rw.Trainer.resume(whole)
    # The run was to be as long, and with a fraction of it a rule would know.
    assert resumed.state.run_end == 1000
    again.state.run_end = 1000
    assert (resumed.horizon, again.horizon) == (epoch + 2, None)  # it was given another length
    again.horizon = resumed.horizon
    assert bits(resumed) == bits(again)


def test_save_every_needs_save(capsys):
    assert main([*TRAIN, "--save-every", "1"]) == 2
    assert "--save-every needs --save" in capsys.readouterr().err
