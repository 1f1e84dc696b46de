"""The history is what people take it for: a table of epochs."""

import json

import numpy as np
import pytest

import rewire as rw
from small import X, Y, trainer


@pytest.fixture(scope="module")
def history():
    t = trainer()
    t.fit(X, Y, epochs=2, verbose=0)
    return t.fit(X, Y, epochs=3, validation_data=(X, Y), verbose=0)


def test_rows(history):
    rows = list(history)
    assert rows == history.epochs and len(history) == 5
    assert [row["epoch"] for row in history] == [0, 1, 2, 3, 4]
    assert list(zip(history, rows, strict=True)) and list(reversed(history)) == rows[::-1]
    assert history[-1] is rows[4] and history[1:3] == rows[1:3] and list(rw.History()) == []
    with pytest.raises(IndexError):
        history[5]


def test_columns(history):
    assert history["epoch"] == [0, 1, 2, 3, 4]
    assert history["val_loss"][:2] == [None, None]  # there was no validation then
    assert "loss" in history and "nothing" not in history and 0 not in history
    with pytest.raises(KeyError, match="no column 'acc'; there are epoch, loss"):
        history["acc"]


def test_pandas(history):
    pandas = pytest.importorskip("pandas")
    for frame in (pandas.DataFrame(history), pandas.DataFrame(history.epochs)):
        assert list(frame.columns) == history.columns
        assert frame["loss"].tolist() == history["loss"]
        assert frame["val_loss"].isna().tolist() == [True, True, False, False, False]


class Measures(rw.Callback):
    """Adds figures as NumPy gives them, and takes the place of one of ours."""

    def on_epoch_end(self, state):
        loss = state.row["loss"]
        state.row |= {
            "loss": np.float32(loss), "norm": np.float32(0.1), "half": np.float16(0.5), "count": np.int64(3),
            "good": np.bool_(True), "word": np.str_("so"), "each": [np.float32(0.1), 2, np.uint8(7)],
            "double": np.float64(0.3),
        }  # fmt: skip


def test_figures_of_numpy_are_saved(tmp_path):
    """Whoever saves at the end of an epoch, of a run, or afterwards; the exact values come back."""
    during, after = tmp_path / "during.st", tmp_path / "after.st"
    stop = rw.EarlyStopping(9, monitor="norm", mode="min", restore_best=True)
    t = trainer(callbacks=[rw.Checkpoint(during, best="norm", mode="min"), Measures(), stop])
    t.fit(X, Y, epochs=2, verbose=0)
    t.save(after)
    for path in (during, after):
        with pytest.warns(UserWarning, match="none of callbacks takes it up"):
            found = rw.Trainer.resume(path, callbacks=[])
        ours = t.history.to_dict()["epochs"]
        for name in ours[0].keys() - {"seconds_callbacks"}:  # they go on
            assert found.history[name] == [row[name] for row in ours]
        row = found.history[-1]
        assert row["norm"] == float(np.float32(0.1)) and row["each"] == [row["norm"], 2, 7]
        assert row["good"] is True and row["word"] == "so" and row["count"] == 3 and row["double"] == 0.3
        assert {type(value) for value in row["each"]} == {float, int}
    assert json.loads(json.dumps(t.history.to_dict()))["epochs"][0]["half"] == 0.5


@pytest.mark.parametrize("figure", [np.ones(3), {"a": 1}, np.longdouble(1), np.datetime64("2000-01-01")])
def test_what_is_no_figure_is_refused_by_name(tmp_path, figure):
    class Adds(rw.Callback):
        def on_epoch_end(self, state):
            state.row["mine"] = figure

    t = trainer(callbacks=[Adds()])
    t.fit(X, Y, verbose=0)
    with pytest.raises(TypeError, match="history row 0: 'mine' must be numbers or words"):
        t.save(tmp_path / "run.st")


def test_rows_are_copied_unless_they_are_given_away(history):
    """A config that somebody holds stays his; what was read from a file is not kept twice."""
    found = history.to_dict()
    copy, same = rw.History.from_dict(found), rw.History.from_dict(found, copy=False)
    assert copy.epochs == same.epochs == found["epochs"]
    assert all(row is its for row, its in zip(same.epochs, found["epochs"], strict=True))
    assert not any(row is its for row, its in zip(copy.epochs, found["epochs"], strict=True))
    t = trainer()
    t.fit(X, Y, epochs=1, verbose=0)
    config = t.config()
    rw.Trainer.from_config(config, t.arrays()).history.epochs[0]["loss"] = 7.0
    assert config["state"]["history"]["epochs"] == t.history.epochs
