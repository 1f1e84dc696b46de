"""Callbacks, early stopping, and what a person sees while training."""

import io
import json
import math
import re
import sys
import types

import numpy as np
import pytest

import rewire as rw
from rewire.progress import Lines, RichBar, TqdmBar, bar
from small import NOISE, Log, X, Y, trainer

# --- callbacks --------------------------------------------------------------------------


def test_order_of_callbacks():
    log = Log()
    trainer(rewiring="set", callbacks=[log]).fit(X, Y, epochs=2, batch_size=45, verbose=0)
    assert log.seen == [
        "fit",
        "epoch 0",
        "step 1",
        "step 2",
        "end 1",
        "epoch 1",
        "rewire 1 2 True",
        "step 3",
        "step 4",
        "end 2",
        "done",
    ]


def test_a_callback_needs_no_base_class_and_may_stop():
    class Two:
        def on_epoch_end(self, state):
            state.stop = state.epoch == 2

    t = trainer(callbacks=[Two()])
    t.fit(X, Y, epochs=10, verbose=0)
    assert t.epoch == 2


def test_fit_inside_fit_is_refused():
    class Again:
        def on_epoch_end(self, state):
            state.trainer.fit(X, Y, verbose=0)

    with pytest.raises(RuntimeError, match="fit cannot run while fit runs on this network"):
        trainer(callbacks=[Again()]).fit(X, Y, verbose=0)


def test_early_stopping_follows_one_trainer_at_a_time():
    stop = rw.EarlyStopping(monitor="loss", restore_best=True)
    other = trainer(callbacks=[stop])

    class Meanwhile:
        def on_epoch_begin(self, state):
            other.fit(X, Y, verbose=0)

    t = trainer(callbacks=[Meanwhile(), stop])
    with pytest.raises(RuntimeError, match="EarlyStopping follows one trainer at a time"):
        t.fit(X, Y, epochs=2, verbose=0)
    assert t.epoch == 0 and other.epoch == 1
    t.callbacks = [stop]
    t.fit(X, Y, epochs=2, verbose=0)  # one after the other
    assert t.epoch == 2


def test_early_stopping():
    stop = rw.EarlyStopping(patience=3, monitor="val_loss")
    t = trainer(callbacks=[stop], optimizer=rw.SGD(0.3))
    t.fit(X, Y, epochs=100, validation_data=NOISE, batch_size=8, verbose=0)
    losses = t.history["val_loss"]
    assert (
        t.epoch < 100 and stop.best_epoch == int(np.argmin(losses)) and len(losses) == stop.best_epoch + 1 + 3
    )


@pytest.mark.parametrize("rewiring", [None, "set"])
def test_early_stopping_restores_the_best(rewiring):
    stop = rw.EarlyStopping(patience=4, monitor="val_accuracy", restore_best=True)
    t = trainer(callbacks=[stop], rewiring=rewiring)
    t.fit(X, Y, epochs=30, validation_data=NOISE, batch_size=8, verbose=0)
    assert t.evaluate(*NOISE)["accuracy"] == max(t.history["val_accuracy"])
    t.network.validate()
    t.fit(X, Y, validation_data=NOISE, verbose=0)


def test_min_delta_and_mode():
    stop = rw.EarlyStopping(patience=2, monitor="loss", min_delta=100.0)
    t = trainer(callbacks=[stop])
    t.fit(X, Y, epochs=50, verbose=0)
    assert t.epoch == 3
    up = rw.EarlyStopping(patience=2, monitor="loss", mode="max")
    t = trainer(callbacks=[up])
    t.fit(X, Y, epochs=50, verbose=0)
    assert t.epoch < 10


def test_early_stopping_goes_on_after_saving():
    def make():
        return trainer(callbacks=[rw.EarlyStopping(patience=3, monitor="val_loss", restore_best=True)])

    whole, first = make(), make()
    whole.fit(X, Y, epochs=60, validation_data=NOISE, batch_size=8, verbose=0)
    middle = whole.callbacks[0].best_epoch + 2
    first.callbacks[0].restore_best = False  # else the first piece would end at its best
    first.fit(X, Y, epochs=middle, validation_data=NOISE, batch_size=8, verbose=0)
    second = rw.Trainer.from_config(json.loads(json.dumps(first.config())), first.arrays())
    assert second.callbacks[0].waited == first.callbacks[0].waited == 1
    second.fit(X, Y, epochs=60 - middle, validation_data=NOISE, batch_size=8, verbose=0)
    assert second.history["val_loss"] == whole.history["val_loss"]


def test_early_stopping_says_what_is_missing():
    with pytest.raises(ValueError, match="watches 'val_loss', which needs validation_data"):
        trainer(callbacks=[rw.EarlyStopping()]).fit(X, Y, verbose=0)
    with pytest.raises(
        ValueError, match=r"monitor must be a column of the history \(epoch, loss, .*\), got 'f1'"
    ):
        trainer(callbacks=[rw.EarlyStopping(monitor="f1")]).fit(X, Y, verbose=0)


class Column:
    """Writes figures into the history, epoch by epoch."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, state):
        state.row["figure"] = self.values[state.epoch - 1]


def watcher(kind, path, column, mode="auto"):
    """Early stopping or a checkpoint that watches a column, and how to ask for its best value and epoch."""
    if kind == "monitor":
        stop = rw.EarlyStopping(99, monitor=column, mode=mode)
        return stop, lambda: (stop.best, stop.best_epoch)
    checkpoint = rw.Checkpoint(path / "run.st", None, best=column, mode=mode)
    return checkpoint, lambda: (checkpoint.best_value, checkpoint.best_epoch)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("kind", ["monitor", "best"])
@pytest.mark.parametrize(
    "mode, values, best",
    [
        ("auto", [0.5, 0.7, 0.7, 0.2], (0.7, 1)),  # of equals the first
        ("max", [-3, np.float64(-2), -4, -2], (-2.0, 1)),
        ("min", [0.5, 0.7, -0.7, 0.2], (-0.7, 2)),
        ("min", [NAN, 3.0, -INF, 4.0], (3.0, 1)),
        ("max", [INF, None, 1.0, NAN], (1.0, 2)),
        ("max", [None, NAN, INF, -INF], (None, None)),
        ("min", [1e308, -1e308, 5e-324, 0.0], (-1e308, 1)),
        ("max", [0.0, 5e-324, 0.0, 5e-324], (5e-324, 1)),
    ],
)
def test_the_best_is_the_same_for_all_who_watch(tmp_path, kind, mode, values, best):
    callback, found = watcher(kind, tmp_path, "figure", mode)
    trainer(callbacks=[Column(values), callback]).fit(X, Y, epochs=4, verbose=0)
    assert found() == best
    assert (tmp_path / "run.st").exists() == (kind == "best" and best[1] is not None)


@pytest.mark.parametrize("kind", ["monitor", "best"])
@pytest.mark.parametrize(
    "column, mode, words",
    [
        ("f1", "auto", r"{} must be a column of the history \(epoch, loss, .*\), got 'f1'"),
        ("figure", "auto", "{} must be a column of numbers, 'figure' has 'high'"),
        ("nnz", "min", r"{} must be a column of numbers, 'nnz' has \["),
        ("val_loss", "auto", "watches 'val_loss', which needs validation_data; .* use {}='loss'"),
        ("lr", "auto", "mode must be 'min' or 'max' with {}='lr', got 'auto'"),
        ("seconds_training", "auto", "mode must be 'min' or 'max' with {}="),
        ("loss", "down", "mode must be one of 'auto', 'min', 'max', got 'down'"),
        (3, "auto", "{} must be a string, got 3"),
    ],
)
def test_what_cannot_be_watched_is_refused_by_all(tmp_path, kind, column, mode, words):
    with pytest.raises((TypeError, ValueError), match=words.format(kind)):
        callback, _ = watcher(kind, tmp_path, column, mode)
        trainer(callbacks=[Column(["high"] * 4), callback]).fit(X, Y, verbose=0)


# --- what a person sees -----------------------------------------------------------------


def test_one_line_an_epoch(capsys):
    trainer(rewiring="set").fit(X, Y, epochs=2, validation_data=(X, Y))
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch 1/2  loss ") and "val_accuracy" in first and "183 links" in first
    assert "new" in second and re.search(r"  \d+(\.\d+)? m?s$", second)
    trainer().fit(X, Y, verbose=0)
    assert capsys.readouterr().out == ""


def test_bar_falls_back_to_lines(monkeypatch, capsys):
    assert type(bar()) is Lines  # standard error is no terminal here
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    for name in ("tqdm", "rich"):
        monkeypatch.setitem(sys.modules, name, None)
    assert type(bar()) is Lines
    trainer().fit(X, Y, verbose=2)
    assert capsys.readouterr().out.startswith("epoch 1/1")


def test_bar_in_a_notebook(monkeypatch):
    """Standard error of a notebook is no terminal, and can show a bar all the same."""
    pytest.importorskip("tqdm")
    stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stderr", stream)
    trainer().fit(X, Y, verbose=2)
    assert "1/1" in stream.getvalue() or "step" in stream.getvalue()


def test_bar_by_tqdm(capsys):
    calls = []
    fake = types.SimpleNamespace(
        update=lambda n: calls.append("step"),
        clear=lambda: calls.append("clear"),
        reset=lambda: calls.append("reset"),
        close=lambda: calls.append("close"),
    )
    bar = TqdmBar(lambda **options: fake)
    bar.end()  # interrupted before it began
    bar.begin(1, 0, 2)
    bar.step(0.5)
    bar.epoch(
        {
            "epoch": 0,
            "loss": 1.0,
            "nnz": [3],
            "links_grown": [0],
            "seconds_training": 1,
            "seconds_rewiring": 0,
            "seconds_evaluation": 0,
            "seconds_callbacks": 0,
        }
    )
    bar.end()
    assert calls == ["step", "clear", "reset", "close"]


def test_bar_by_rich():
    progress, rich = pytest.importorskip("rich.progress"), pytest.importorskip("rich.console")
    bar = RichBar(progress, rich.Console)
    bar.begin(1, 0, 2)
    bar.step(0.5)
    bar.end()
