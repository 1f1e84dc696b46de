"""What goes wrong while training: divergence, views, interrupts, others at work, wrong arguments."""

import pickle
import threading
import warnings

import numpy as np
import pytest

import rewire as rw
from rewire._elsewhere import pickled
from rewire._warn import says_interrupted
from small import Log, T, X, Y, network, trainer

# --- what goes wrong --------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_names_epoch_and_layer():
    t = rw.Trainer(network("linear", 2), loss="mse", optimizer=rw.SGD(1e6))
    with pytest.raises(
        rw.DivergenceError, match=r"training diverged in epoch 0 at step \d+: layer \d"
    ) as caught:
        t.fit(X, T, epochs=5, batch_size=8, verbose=0)
    assert caught.value.epoch == 0 and caught.value.layer.startswith("layer")
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    t.network.validate()


class Apart(rw.Dropout):
    """Has tiles of its own."""

    def forward(self, x, p):
        return super().forward(x, p)


@pytest.mark.parametrize(
    "dropout, named", [(rw.Dropout, r"layer 0 \(Sparse 1 -> 4\) or layer 1"), (Apart, "layer 1")]
)
def test_dropout_that_wrote_over_what_overflowed_is_named_beside_its_layer(dropout, named):
    """What is divided by 1 - p overflows, what it was made of does not."""
    first = rw.Sparse(1, 4, density=1, activation="linear", bias=False)
    net = rw.Sequential([first, dropout(0.9), rw.Sparse(4, 3, density=1, activation="softmax")], seed=1)
    first.store.set_field("weight", np.full_like(first.store.get_field("weight"), 2e38))
    t = rw.Trainer(net, loss="cross_entropy", rewiring=None, standardize=False)
    with pytest.raises(rw.DivergenceError, match=named + r" \(\w+ 4 -> 4\) has outputs") as caught:
        t.fit(np.ones((8, 1), "f4"), Y[:8], verbose=0)
    assert caught.value.layer.startswith(named[:7])


def test_weights_that_are_not_finite_are_named_even_when_the_loss_is():
    """ReLU turns a NaN into 0: the loss alone would not tell."""
    net = rw.Sequential([rw.Sparse(8, 30, activation="relu"), rw.Sparse(30, 3, activation="softmax")])
    weights = net.layers[0].store.get_field("weight")
    weights[3] = np.nan
    net.layers[0].store.set_field("weight", weights)
    t = rw.Trainer(net, loss="cross_entropy")
    with pytest.raises(
        rw.DivergenceError, match=r"layer 0 \(Sparse 8 -> 30\) has weights that are not finite"
    ):
        t.fit(X, Y, verbose=0)


class Short:
    """What is copied and pickled as long as there is memory."""

    def __reduce__(self):
        raise MemoryError("short of memory")


SHORT = {
    "a layer that is tried": ("rewire._narrowed._run", lambda net: rw.remove_neurons(net, {0: [0, 1]})),
    "a layer of a description": ("rewire.network.layer_from_config", lambda net: net.save("never")),
    "a network of these": ("rewire._assembled.Assembled._assemble", lambda net: net.save("never")),
    "a description beside another": ("rewire._saving.check_same", lambda net: net.save("never")),
    "what a worker gets": (None, lambda net: pickled(Short(), "")),
}


@pytest.mark.parametrize("what", SHORT)
def test_memory_that_runs_short_is_no_fault_of_a_layer(what, monkeypatch, tmp_path):
    """Code that asks what a class of somebody's can do takes its errors for an answer; this one is none."""
    monkeypatch.chdir(tmp_path)
    place, act = SHORT[what]
    net = network()

    def short(*_, **__):
        raise MemoryError("short of memory")

    if place is not None:
        monkeypatch.setattr(place, short)
    with pytest.raises(MemoryError, match="^short of memory$"):
        act(net)
    assert not list(tmp_path.iterdir())


def test_a_view_stops_the_step_and_names_the_layer():
    t = trainer()
    for _ in range(2):  # before the optimizer's state exists, and after
        with t.network.layers[1].store.view():
            with pytest.raises(
                BufferError, match=r"layer 1 \(Sparse 30 -> 3\) cannot be trained while a view"
            ):
                t.fit(X, Y, verbose=0)
        t.fit(X, Y, verbose=0)


def test_a_view_taken_while_training_stops_the_next_step():
    class Look:
        def on_step_end(self, state):
            if state.step == 2:
                self.view = state.network.layers[0].store.view()
                self.view.__enter__()

    look = Look()
    t = trainer(callbacks=[look], optimizer=rw.SGD(0.1, clip_norm=1.0))
    with pytest.raises(BufferError, match=r"layer 0 \(Sparse 8 -> 30\) cannot be trained while a view"):
        t.fit(X, Y, batch_size=16, verbose=0)
    assert t.step == 0  # and all is as before
    look.view.__exit__(None, None, None)
    t.callbacks = []
    t.fit(X, Y, verbose=0)
    assert "gradient" not in t.network.layers[0].store.fields


class Interrupt:
    def __init__(self, at):
        self.at = at

    def on_step_end(self, state):
        if state.step == self.at:
            raise KeyboardInterrupt


def test_interrupt_leaves_a_valid_model():
    t = trainer(callbacks=[Interrupt(9), log := Log()], rewiring="set")
    with pytest.warns(rw.InterruptedWarning, match="Trainer.fit was interrupted after 1 epochs and 9 steps"):
        history = t.fit(X, Y, epochs=10, batch_size=16, verbose=0)
    assert history.interrupted and len(history) == 1 and t.step == 9
    assert log.seen[-1] == "done"
    t.network.validate()
    t.network.predict(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error", rw.InterruptedWarning)
        assert not t.fit(X, Y, epochs=2, verbose=0).interrupted
    assert t.epoch == 3


def test_an_interrupt_can_end_a_loop_over_fits():
    with warnings.catch_warnings():
        warnings.simplefilter("error", rw.InterruptedWarning)
        t = trainer(callbacks=[Interrupt(9)])
        with pytest.raises(rw.InterruptedWarning):
            t.fit(X, Y, epochs=10, batch_size=16, verbose=0)
        assert t.step == 9 and t.history.interrupted  # what was learnt is kept
        assert np.isfinite(t.network.predict(X)).all()


def test_who_says_it_himself_is_not_warned():
    with warnings.catch_warnings():
        warnings.simplefilter("error", rw.InterruptedWarning)
        with says_interrupted():
            assert trainer(callbacks=[Interrupt(2)]).fit(X, Y, batch_size=16, verbose=0).interrupted


def test_interrupt_while_features_are_measured(monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    t = trainer(standardize=True)
    with monkeypatch.context() as patch:
        patch.setattr(rw.Standardizer, "fit", interrupt)
        assert t.fit(X, Y, verbose=0).interrupted
    assert t.network.standardizer is None
    assert not t.fit(X, Y, verbose=0).interrupted
    assert t.network.standardizer is not None


def test_a_second_interrupt_goes_through():
    class Twice(Interrupt):
        def on_fit_end(self, state):
            raise KeyboardInterrupt

    t = trainer(callbacks=[Twice(2)])
    with pytest.raises(KeyboardInterrupt):
        t.fit(X, Y, epochs=10, batch_size=16, verbose=0)
    t.callbacks = []
    t.fit(X, Y, verbose=0)  # the gate is open again


def test_training_beside_predicting_is_refused():
    t, errors = trainer(), []

    class Beside:
        def on_epoch_end(self, state):
            def work():
                for use in (lambda: state.network.predict(X), lambda: pickle.dumps(state.trainer)):
                    try:
                        use()
                    except RuntimeError as error:
                        errors.append(str(error))

            other = threading.Thread(target=work)
            other.start()
            other.join()

    t.callbacks = [Beside()]
    t.fit(X, Y, verbose=0)
    assert errors == [f"{what} cannot run while fit runs on this network" for what in ("predict", "pickle")]


# --- wrong arguments --------------------------------------------------------------------

PAIRS = [
    ("relu", "cross_entropy"),
    ("sigmoid", "cross_entropy"),
    ("tanh", "cross_entropy"),
    ("softmax", "binary_cross_entropy"),
    ("relu", "binary_cross_entropy"),
    ("tanh", "binary_cross_entropy"),
    ("softmax", "mse"),
]


@pytest.mark.parametrize(("final", "loss"), PAIRS)
def test_meaningless_pairs_are_refused_at_construction(final, loss):
    with pytest.raises(ValueError, match=f"loss '{loss}' needs a final layer that is .*, got '{final}': its"):
        rw.Trainer(network(final), loss=loss)


def test_cross_entropy_needs_two_outputs():
    with pytest.raises(ValueError, match="needs at least 2 outputs"):
        rw.Trainer(network("softmax", 1), loss="cross_entropy")


WRONG_TRAINER = [
    ({"loss": "mae"}, ValueError, "loss must be one of .*'cross_entropy', .* got 'mae'"),
    ({"loss": None}, TypeError, "loss must be one of .* got None"),
    ({"optimizer": "lbfgs"}, ValueError, "optimizer must be one of 'sgd', 'adam', 'adamw', got 'lbfgs'"),
    ({"rewiring": "rigged"}, ValueError, "rewiring must be one of .* got 'rigged'"),
    ({"threads": 0}, ValueError, "threads must be >= 1, or negative"),
    ({"seed": -1}, ValueError, "seed must be an integer in"),
    ({"standardize": "yes"}, ValueError, "standardize must be True, False or 'scale', got 'yes'"),
]


@pytest.mark.parametrize("case", range(len(WRONG_TRAINER)))
def test_wrong_trainer(case):
    options, kind, words = WRONG_TRAINER[case]
    with pytest.raises(kind, match=words):
        trainer(**options)


def test_wrong_network():
    with pytest.raises(TypeError, match="network must be a Sequential, got 3"):
        rw.Trainer(3, loss="mse")


def changed(y, at, value):
    y = np.array(y)
    y[at] = value
    return y


HOT = np.eye(3)[Y]
WRONG_FIT = [
    ({"y": changed(Y, 4, 3)}, ValueError, r"y must hold class labels in \[0, 2\], got 3 in row 4"),
    ({"y": Y + 1}, ValueError, r"y must hold class labels in \[0, 2\] .those from 1 on are y - 1., got 3"),
    ({"y": changed(Y, 4, -1)}, ValueError, r"y must hold class labels in \[0, 2\], got -1 in row 4"),
    (
        {"y": Y.astype(float)},
        TypeError,
        "y must hold integer class labels or rows of probabilities, got float64",
    ),
    ({"y": Y[:-1]}, ValueError, "X and y must have as many rows, got 90 and 89"),
    ({"y": Y[:, None]}, ValueError, r"y must have shape \(samples,\), or \(samples, 3\) .* y.ravel\(\)"),
    ({"y": HOT[:, :2]}, ValueError, r"y must have shape \(samples, 3\), got \(90, 2\)"),
    ({"y": changed(HOT, (7, 1), 5)}, ValueError, "y must have rows that sum to 1, got .* in row 7"),
    (
        {"y": changed(HOT, (7, 1), -1)},
        ValueError,
        "y must hold probabilities >= 0, got -1.0 in row 7, column 1",
    ),
    ({"y": changed(HOT, (7, 1), np.nan)}, ValueError, "y must be finite, got nan in row 7, column 1"),
    ({"y": ["a"] * 90}, TypeError, "y must hold real numbers"),
    ({"y": None}, TypeError, "y must hold real numbers, got None"),
    ({"X": X[:, :7]}, ValueError, r"X must have 8 features, got shape \(90, 7\)"),
    ({"X": changed(X, (3, 2), np.inf)}, ValueError, "X must be finite, got inf in row 3, column 2"),
    ({"epochs": 0}, ValueError, "epochs must be an integer >= 1, got 0"),
    ({"epochs": 2.0}, TypeError, "epochs must be an integer >= 1, got 2.0"),
    ({"batch_size": 0}, ValueError, "batch_size must be an integer >= 1, got 0"),
    ({"shuffle": 1}, TypeError, "shuffle must be True or False, got 1"),
    ({"verbose": 3}, ValueError, "verbose must be one of 0, 1, 2, got 3"),
    ({"validation_data": X}, TypeError, r"validation_data must be \(X, y\) or \(X, y, sample_weight\)"),
    ({"validation_data": (X, Y, None, None)}, TypeError, r"validation_data must be \(X, y\)"),
    ({"validation_data": (X[:, :3], Y)}, ValueError, "validation X must have 8 features"),
    ({"validation_data": (X, Y + 1)}, ValueError, r"validation y must hold class labels"),
    ({"sample_weight": np.ones(3)}, ValueError, r"sample_weight must have shape \(90,\), got \(3,\)"),
    (
        {"sample_weight": -np.ones(90)},
        ValueError,
        "sample_weight must be finite and >= 0, got -1.0 at position 0",
    ),
    ({"sample_weight": np.zeros(90)}, ValueError, "sample_weight must have a positive sum, got 0"),
    ({"sample_weight": ["a"] * 90}, TypeError, "sample_weight must hold real numbers"),
]


@pytest.mark.parametrize("case", range(len(WRONG_FIT)))
def test_wrong_fit(case):
    options, kind, words = WRONG_FIT[case]
    t = trainer()
    with pytest.raises(kind, match=words):
        t.fit(**{"X": X, "y": Y, "verbose": 0, **options})
    assert t.step == 0 and len(t.history) == 0


def test_wrong_targets_of_other_losses():
    t = rw.Trainer(network("sigmoid", 1), loss="binary_cross_entropy")
    with pytest.raises(ValueError, match=r"y must lie in \[0, 1\], got 2 in row 1, column 0"):
        t.fit(X[:3], [0, 2, 1], verbose=0)
    t = rw.Trainer(network("linear", 2), loss="mse")
    with pytest.raises(ValueError, match=r"y must have shape \(samples, 2\), got \(90,\)"):
        t.fit(X, T[:, 0], verbose=0)


WRONG_CALLBACK = [
    (lambda: rw.EarlyStopping(patience=0), ValueError, "patience must be an integer >= 1, got 0"),
    (lambda: rw.EarlyStopping(monitor=3), TypeError, "monitor must be a string, got 3"),
    (lambda: rw.EarlyStopping(min_delta=-1), ValueError, "min_delta must be a number >= 0, got -1"),
    (lambda: rw.EarlyStopping(restore_best=0), TypeError, "restore_best must be True or False, got 0"),
    (lambda: rw.EarlyStopping(mode="up"), ValueError, "mode must be one of 'auto', 'min', 'max', got 'up'"),
    (lambda: rw.preset("set-2019"), ValueError, "preset must be one of .* got 'set-2019'"),
    (lambda: rw.presets.mlp_layers(5), TypeError, "sizes must be a list of integers, got 5"),
    (lambda: rw.presets.mlp_layers([5]), ValueError, "sizes must hold at least inputs and outputs"),
    (lambda: rw.presets.mlp_layers([5, 0]), ValueError, r"sizes\[1\] must be an integer >= 1, got 0"),
]


@pytest.mark.parametrize("case", range(len(WRONG_CALLBACK)))
def test_wrong_callbacks_and_presets(case):
    call, kind, words = WRONG_CALLBACK[case]
    with pytest.raises(kind, match=words):
        call()
