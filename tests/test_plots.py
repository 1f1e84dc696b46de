"""rewire.plots: every picture shows the figures it was given, and none is drawn from wrong ones."""

import sys

import numpy as np
import pytest

import rewire as rw
from rewire import analysis, plots
from small import X, Y, trainer

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def logged():
    """A trainer with both logs after five epochs of SET."""
    t = trainer(rewiring="set", callbacks=[rw.LinkLog(), rw.MapLog(bins=6)])
    t.fit(X, Y, epochs=5, batch_size=30, verbose=0)
    return t


def lines(figure):
    """Values of all curves of the only axes."""
    (axes,) = figure.axes
    return [line.get_ydata() for line in axes.get_lines()]


def test_all_can_be_saved(logged, tmp_path):
    log, maps = logged.callbacks
    degrees = analysis.degrees(logged.network)[0]
    figures = [
        plots.exploration_curves({"SET": logged.history["exploration_rate"]}),
        plots.link_survival(log.survival()),
        plots.link_map(maps.maps[-1]),
        plots.degree_histograms({"fan-in": degrees.fan_in, "fan-out": degrees.fan_out}),
        plots.accuracy_by_rule({"static": [0.8, 0.9], "set": 0.95}, against="static"),
    ]
    for i, figure in enumerate(figures):
        plots.save(figure, tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").read_bytes().startswith(b"\x89PNG")


def test_exploration_starts_from_zero(logged):
    rates = logged.history["exploration_rate"]
    figure = plots.exploration_curves({"SET": rates, "twice": [rates, np.array(rates) / 2]})
    first, second = lines(figure)
    assert np.array_equal(first, rates)
    assert second == pytest.approx(0.75 * np.array(rates))
    assert figure.axes[0].get_ylim()[0] == 0.0


def test_curves_of_a_history():
    one = trainer().fit(X, Y, epochs=8, verbose=0)
    two = trainer().fit(X, Y, epochs=8, validation_data=(X, Y), verbose=0)
    both = lines(plots.accuracy_curves(two))
    assert [list(values) for values in both] == [two["accuracy"], two["val_accuracy"]]
    (only,) = lines(plots.accuracy_curves(one))
    assert list(only) == one["accuracy"]
    drawn = lines(plots.accuracy_curves({"a": two, "b": [one, two], "c": [0.5, None, 0.7]}))
    assert list(drawn[0]) == two["val_accuracy"]
    assert drawn[1] == pytest.approx(np.mean([one["accuracy"], two["accuracy"]], axis=0))
    assert np.array_equal(drawn[2], [0.5, np.nan, 0.7], equal_nan=True)


@pytest.mark.parametrize("n", [1, 2, 8, 100])
def test_all_of_a_curve_is_in_the_picture(n):
    curve = 0.9 - 0.8 * np.exp(-np.arange(n))  # the first epochs are far below the others
    figure = plots.accuracy_curves({"a": curve, "b": curve / 2, "seeds": [curve, curve - 0.05]})
    low, high = figure.axes[0].get_ylim()
    assert low <= 0.05 and high >= curve.max()
    assert figure.axes[0].get_xlim()[0] == 1


@pytest.mark.parametrize(
    "wrong, kind, words",
    [
        ([0.1, 0.2], TypeError, "curves must be a History, or a mapping of names to curves"),
        (0.5, TypeError, "curves must be a History, or a mapping"),
        ({}, ValueError, "at least one curve"),
        ({"SET": "x"}, TypeError, r"curves\['SET'\] must be an array of numbers"),
        ({"SET": [[0.1], [0.1, 0.2]]}, TypeError, r"curves\['SET'\] must be an array of numbers"),
        ({"SET": []}, ValueError, r"curves\['SET'\] must have shape"),
        ({"SET": [None, None]}, ValueError, r"curves\['SET'\] must have shape .* and a finite value"),
        ({"SET": np.ones((2, 2, 2))}, ValueError, r"curves\['SET'\] must have shape"),
        (rw.History(), ValueError, "curves must have accuracy or val_accuracy, got one with no rows"),
        ({"SET": rw.History()}, ValueError, r"curves\['SET'\] must be a History with accuracy"),
        ({"SET": [rw.History(), 3]}, ValueError, r"curves\['SET'\] must be a History with accuracy"),
    ],
)
def test_wrong_curves_are_named(wrong, kind, words):
    with pytest.raises(kind, match=words):
        plots.accuracy_curves(wrong)


def test_other_wrong_curves():
    history = trainer().fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="rates must have exploration_rate, got one with epoch, loss"):
        plots.exploration_curves(history)
    with pytest.raises(TypeError, match="accuracy must be a mapping of rules"):
        plots.accuracy_by_rule([0.5])
    longer = trainer().fit(X, Y, epochs=2, verbose=0)
    with pytest.raises(ValueError, match=r"as many epochs in every run, got \[1, 2\]"):
        plots.accuracy_curves({"SET": [history, longer]})


def test_more_curves_than_colours():
    many = {str(i): [0.1 * i, 0.1 * i + 0.05] for i in range(9)}
    assert len(lines(plots.accuracy_curves(many))) == 9


def test_survival(logged):
    fractions = logged.callbacks[0].survival()
    drawn = lines(plots.link_survival(fractions))
    assert np.array_equal(drawn[-1], fractions[:, 0])  # the start, above all others
    assert np.array_equal(drawn[0], fractions[:, 2], equal_nan=True)  # the first epoch rewires nothing
    assert len(drawn) == 2 * 4 + 1
    wide = np.full((200, 201), 0.5)
    assert len(lines(plots.link_survival(wide))) == 2 * plots._curves.COHORTS + 1
    only = np.full((3, 4), np.nan)
    only[:, 0] = 1.0
    assert len(lines(plots.link_survival(only))) == 1  # nothing was ever grown
    words = r"fractions must have shape \(n_epochs, n_epochs \+ 1\), got \(4, 4\)"
    with pytest.raises(ValueError, match=words):
        plots.link_survival(np.ones((4, 4)))


def test_link_map_and_its_scale(logged):
    fractions = analysis.link_map(logged.network.layers[0], 6)
    figure = plots.link_map(fractions)
    (image,) = figure.axes[0].get_images()
    assert np.array_equal(image.get_array(), 100 * fractions)
    assert image.get_clim() == (0, 100 * fractions.max())
    plots.link_map(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"fractions must have shape \(rows, columns\) and not be empty"):
        plots.link_map(np.zeros((2, 0)))


def test_animation(logged, tmp_path):
    image = pytest.importorskip("PIL.Image")
    maps = logged.callbacks[1]
    plots.animate(maps.maps, tmp_path / "a.gif", epochs=maps.epochs, fps=2)
    with image.open(tmp_path / "a.gif") as film:
        assert film.format == "GIF" and film.n_frames == 6
        assert film.info["duration"] == 500
    assert [p.name for p in tmp_path.iterdir()] == ["a.gif"]
    with pytest.raises(ValueError, match="epochs must name each of the 6 maps, got 2"):
        plots.animate(maps.maps, tmp_path / "b.gif", epochs=[1, 2])
    with pytest.raises(FileNotFoundError, match="cannot write"):
        plots.animate(maps.maps, tmp_path / "no" / "b.gif")
    with pytest.raises(ValueError, match=r"maps must have shape \(n, rows, columns\)"):
        plots.animate(rw.MapLog().maps, tmp_path / "b.gif")


def test_degree_histograms():
    values = np.random.default_rng(0).integers(3, 500, 400)
    figure = plots.degree_histograms({"one": [2, 2, 5], "two": values})
    one, two = figure.axes
    assert [bar.get_height() for bar in one.patches] == [2, 0, 0, 1]
    assert sum(bar.get_height() for bar in two.patches) == 400 and len(two.patches) <= 60


def test_degrees_with_a_fit():
    values = np.concatenate([np.random.default_rng(0).zipf(2.5, 500), [0, 0, 0]])
    fit = analysis.power_law(values)
    figure = plots.degree_histograms({"fan-out": values}, fits={"fan-out": fit})
    (axes,) = figure.axes
    dots, line = axes.get_lines()
    assert dots.get_ydata()[0] == 1.0 and dots.get_ydata()[-1] == 1 / 500
    assert line.get_ydata()[0] == pytest.approx(np.mean(values[:500] >= fit.xmin))
    assert axes.get_title(loc="left") == "fan-out; 3 neurons without links"
    assert axes.texts[0].get_text() == f"alpha = {fit.alpha:.2f} \u00b1 {fit.sigma:.2f} from {fit.xmin} on"
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_rules_stand_from_worst_to_best():
    figure = plots.accuracy_by_rule({"set": [0.9, 0.92], "static": [0.8], "rigl": [0.85, 0.99]})
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["static", "set", "rigl"]
    with pytest.raises(ValueError, match="against must be one of 'set', got 'dense'"):
        plots.accuracy_by_rule({"set": [0.9]}, against="dense")


def test_into_given_axes():
    figure = plots._style.new_figure(6, 3)
    left, right = figure.subplots(1, 2)
    assert plots.accuracy_curves({"a": [0.1, 0.2]}, axes=left) is figure
    assert plots.link_map(np.eye(3), axes=right, title="I") is figure
    assert left.get_lines() and right.get_images() and right.get_title(loc="left") == "I"


def test_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (
        lambda: plots.link_map(np.eye(2)),
        lambda: plots.animate(np.ones((1, 2, 2)), tmp_path / "a.gif"),
        lambda: plots.degree_histograms({"a": [1, 2]}),
        lambda: plots.exploration_curves({"a": [0.1]}),
    ):
        with pytest.raises(ImportError, match=r'pip install "rewire\[plot\]"'):
            draw()
    assert not list(tmp_path.iterdir())


def test_any_column_of_a_history(logged):
    history = logged.history
    figure = plots.curves(history)
    np.testing.assert_array_equal(lines(figure)[0], history["loss"])
    assert figure.axes[0].get_title(loc="left") == "loss" and len(lines(figure)) == 1
    low, high = figure.axes[0].get_ylim()
    assert low < min(history["loss"]) and max(history["loss"]) < high
    far = plots.curves({"a": [500.0, 400.0], "b": [[7.0, 6.0], [9.0, 8.0]]}, "lr", title="rates")
    assert len(lines(far)) == 2 and far.axes[0].get_ylim()[0] < 6 and far.axes[0].get_ylim()[1] > 500
    plots.curves({"same": [3.0, 3.0]})  # no range
    with pytest.raises(ValueError, match="runs must have r2 or val_r2, got one with epoch, loss"):
        plots.curves(history, "r2")
    with pytest.raises(TypeError, match="column must be a string"):
        plots.curves(history, ["loss"])


def test_what_is_listed_can_be_called():
    shown = [name for name in dir(plots) if not name.startswith("_")]
    assert sorted(shown) == sorted(plots.__all__) and all(callable(getattr(plots, name)) for name in shown)
