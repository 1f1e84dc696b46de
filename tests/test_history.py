"""The history is what people take it for: a table of epochs."""

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
