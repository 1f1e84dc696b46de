"""Weights and buffers that nobody can compute with are refused by name: in files, and while training."""

import numpy as np
import pytest

import rewire as rw
from rewire import _saving
from rewire.parameters import Buffer
from small import X, Y


def trainer(**options):
    layers = [rw.Sparse(8, 6), rw.BatchNorm(), rw.Sparse(6, 3, activation="softmax")]
    found = rw.Trainer(rw.Sequential(layers), loss="cross_entropy", optimizer=rw.SGD(0.05), **options)
    found.train_step(X, Y) if not found.callbacks else None
    return found


NORM = r"layer 1 \(BatchNorm 6 -> 6\) has a value in its buffer "
FAULTS = {
    "weight": ("layers.0.weight.values", np.nan, r"layer 0 \(Sparse 8 -> 6\) has weights that are not"),
    "bias": ("layers.2.bias.values", np.inf, r"layer 2 \(Sparse 6 -> 3\) has weights that are not finite"),
    "gain": ("layers.1.weight.values", np.nan, r"layer 1 \(BatchNorm 6 -> 6\) has weights that are not"),
    "mean": ("layers.1.buffer.running_mean", np.inf, NORM + "'running_mean' that is inf, not finite"),
    "variance": ("layers.1.buffer.running_var", np.nan, NORM + "'running_var' that is nan, not finite"),
    "negative": ("layers.1.buffer.running_var", -1.0, NORM + "'running_var' that is -1, not finite >= 0"),
}


def spoil(network, name, value):
    if ".buffer." in name:
        network.tree.buffers[name].values[2] = value
        return
    parameter = network.parameters()[name.removesuffix(".values")]
    values = parameter.read()
    values[2] = value
    parameter.write(values)


@pytest.mark.parametrize("fault", FAULTS)
def test_they_are_neither_saved_nor_loaded(fault, tmp_path):
    name, value, says = FAULTS[fault]
    t = trainer()
    spoil(t.network, name, value)
    for save in (t.save, t.network.save):
        with pytest.raises(ValueError, match=says):
            save(tmp_path / "n")
    assert not list(tmp_path.iterdir())
    _saving.write(tmp_path / "t", "trainer", t.config(), t.arrays(), None)
    _saving.write(tmp_path / "n", "network", t.network.config(), t.network.arrays(), None)
    for load in (lambda: rw.Trainer.resume(tmp_path / "t"), lambda: rw.load(tmp_path / "n")):
        with pytest.raises(rw.FileError, match=says):
            load()


@pytest.mark.parametrize("fault", ["mean", "variance", "negative"])
def test_a_buffer_out_of_range_ends_the_epoch_and_not_the_data(fault):
    """In training each batch has moments of its own: the loss tells nothing."""
    name, value, says = FAULTS[fault]
    t = trainer()
    spoil(t.network, name, value)
    with np.errstate(all="ignore"):
        with pytest.raises(ValueError, match=says + ".*no prediction"):
            t.network.predict(X)
        with pytest.raises(rw.DivergenceError, match=NORM + repr(name.rpartition(".")[2])):
            rw.Trainer(t.network, loss="cross_entropy", optimizer=rw.SGD(0.0001)).fit(X, Y, verbose=0)


def test_a_best_network_with_one_is_not_resumed(tmp_path):
    t = trainer(callbacks=[rw.EarlyStopping(monitor="loss", restore_best=True)])
    t.fit(X, Y, verbose=0)
    arrays = t.arrays()
    arrays["callbacks.0.layers.1.buffer.running_var"][0] = -1.0
    _saving.write(tmp_path / "t", "trainer", t.config(), arrays, None)
    with pytest.raises(rw.FileError, match="of the best network, " + NORM):
        rw.Trainer.resume(tmp_path / "t")


@pytest.mark.parametrize("every", [rw.Steps(1), rw.Epochs(1)])
def test_a_checkpoint_keeps_the_last_good_network(every, tmp_path):
    class Spoil(rw.Callback):
        def on_step_end(self, state):
            if state.step == 20:
                spoil(state.network, "layers.0.weight.values", np.nan)

    t = trainer(callbacks=[Spoil(), rw.Checkpoint(tmp_path / "t", every=every)])
    with pytest.raises(rw.DivergenceError, match="layer 0"):
        t.fit(X, Y, epochs=4, batch_size=9, verbose=0)
    with pytest.warns(UserWarning, match="no path"):
        again = rw.Trainer.resume(tmp_path / "t")
        again.fit(X, Y, batch_size=9, verbose=0)
    assert again.step >= 19 and again.network.tree.fault() is None


def test_a_buffer_says_where_its_values_lie():
    for dtype in ("float64", "int32"):
        buffer = Buffer((2, 2), dtype=dtype, fill=1, low=0.0, high=3.0)
        assert buffer.fault() is None
        buffer.values[1, 0] = 4
        assert buffer.fault() == "4, not finite >= 0 <= 3"
        with pytest.raises(ValueError, match="fill must be a number in"):
            Buffer(2, dtype=dtype, fill=4, low=0, high=3)
    with pytest.raises(ValueError, match="high must be a number >= 1"):
        Buffer(2, low=1, high=0)
