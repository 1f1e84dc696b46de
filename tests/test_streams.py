"""Data that are read in pieces: from files, tables and loaders, to the bits of an array where they can be."""

import signal
import threading
import time
import tracemalloc

import numpy as np
import pytest

import rewire as rw
from rewire._inputs import as_source
from rewire._mapped import mapped_source
from rewire.streams.kinds import pieces_of
from rewire.streams.pieces import UNITS, window_of
from small import GROWN, SELDOM, bits, network

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 8)).astype("f4")
Y = (X @ RNG.normal(size=(8, 3))).argmax(1)
W = RNG.integers(0, 3, 400).astype("f8")
BATCHES = [(X[at : at + 50], Y[at : at + 50]) for at in range(0, 400, 50)]


class Lazy:
    """A shape and slices, and nothing else; counts the rows of the largest slice."""

    def __init__(self, array, chunks=None):
        self.array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0
        if chunks is not None:
            self.chunks = chunks

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        found = self.array[rows]
        self.most = max(self.most, len(found))
        return found


def trainer(**options):
    options = {"loss": "cross_entropy", "optimizer": rw.SGD(0.1, momentum=0.9), "rewiring": "set", **options}
    return rw.Trainer(network(), **options)


def fitted(x, y=None, *, made=None, epochs=2, batch_size=32, **options):
    made = trainer() if made is None else made
    made.fit(x, y, epochs=epochs, batch_size=batch_size, verbose=0, **options)
    return made


def same(a, b):
    return bits(a) == bits(b)


# --- where data lie leaves no trace ---------------------------------------------------------


@pytest.fixture(params=["lazy", "h5py", "zarr", "dask", "pyarrow", "memmap"])
def held(request, tmp_path):
    """X and Y, held by somebody."""
    if request.param == "lazy":
        return Lazy(X), Lazy(Y)
    if request.param == "memmap":
        np.save(tmp_path / "x.npy", X)
        return np.load(tmp_path / "x.npy", mmap_mode="r"), Y
    module = pytest.importorskip(request.param)
    if request.param == "h5py":
        file = module.File(tmp_path / "f.h5", "w")
        request.addfinalizer(file.close)
        return file.create_dataset("x", data=X), file.create_dataset("y", data=Y)
    if request.param == "zarr":
        return tuple(module.array(a, chunks=(37, *a.shape[1:])) for a in (X, Y))
    if request.param == "dask":
        array = pytest.importorskip("dask.array")
        return array.from_array(X, chunks=(100, 8)), array.from_array(Y, chunks=100)
    table = module.table({**{f"f{i}": X[:, i] for i in range(8)}, "label": Y})
    return table, "label"


def test_one_window_gives_the_bits_of_an_array(held):
    found, array = fitted(*held), fitted(X, Y)
    assert same(found, array)
    assert found.evaluate(*held) == pytest.approx(array.evaluate(X, Y), rel=1e-12)
    if not isinstance(held[1], str):  # of a table all columns are features
        assert np.array_equal(found.network.predict(held[0]), array.network.predict(X))


@pytest.mark.parametrize("threads", [1, 2])
def test_windows_do_not_depend_on_where_data_lie(tmp_path, threads):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    lazy, y = Lazy(X), Lazy(Y)
    runs = [
        fitted(x, target, made=trainer(threads=threads), window=96, sample_weight=w)
        for x, target, w in [(X, Y, W), (lazy, y, Lazy(W)), (mapped, Y, W), (mapped[:], Y, list(W))]
    ]
    assert all(same(runs[0], other) for other in runs[1:])
    assert not same(runs[0], fitted(X, Y, sample_weight=W))  # they are shuffled otherwise
    assert 1 < lazy.most <= 96 // UNITS + 1


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import dataset, parquet

    table = pa.table({**{f"f{i}": X[:, i] for i in range(8)}, "label": Y, "w": W})
    for part in range(2):
        parquet.write_table(
            table.slice(200 * part, 200), tmp_path / f"{part}.parquet", row_group_size=60 + part
        )
    files = dataset.dataset(tmp_path, format="parquet")
    whole, found = (fitted(X, Y, sample_weight=W), fitted(files, "label", sample_weight="w"))
    assert same(whole, found)
    assert found.evaluate(files, "label", sample_weight="w") == pytest.approx(
        whole.evaluate(X, Y, sample_weight=W)
    )
    shuffled = fitted(files, "label", sample_weight="w", window=64)
    assert shuffled.step == whole.step and not same(whole, shuffled)
    assert same(shuffled, fitted(files, "label", sample_weight="w", window=64))
    vectors = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 8), "label": Y})
    parquet.write_table(vectors, tmp_path / "v")
    file = parquet.ParquetFile(tmp_path / "v")
    assert same(fitted(X, Y), fitted(file, "label"))
    few = files.filter(dataset.field("f0") > 0)
    rows = X[:, 0] > 0
    assert same(fitted(X[rows], Y[rows], sample_weight=W[rows]), fitted(few, "label", sample_weight="w"))
    for y, kind, words in [
        (None, TypeError, "y must be there"),
        ("lable", ValueError, "y must name columns of the table that X is, 'f0'.* got 'lable'"),
        (Y, TypeError, "y must name columns of the table that X is, got an array of"),
    ]:
        with pytest.raises(kind, match=words):
            trainer(rewiring=None).fit(table.drop(["w"]), y, verbose=0)
    holes = table.drop(["w"]).set_column(3, "f3", pa.array([None, *X[1:, 3].tolist()]))
    with pytest.raises(ValueError, match=r"column 'f3' of X\[0:.*\] must hold numbers, got 1 nulls"):
        fitted(holes, "label")


# --- batches of somebody else's -------------------------------------------------------------


class Loader:
    """Like a DataLoader: batches as lists, in each epoch anew."""

    def __iter__(self):
        return ([x, y] for x, y in BATCHES)

    def __len__(self):
        return len(BATCHES)


def endless():
    while True:
        yield from BATCHES


KINDS = {
    "loader": (Loader(), {}),
    "list": (BATCHES, {}),
    "generator": (endless(), {"steps_per_epoch": 8}),
    "function": (lambda: iter(BATCHES), {"steps_per_epoch": 8}),
    "of the epoch": (lambda epoch: iter(BATCHES), {"steps_per_epoch": 8}),
}


@pytest.mark.parametrize("name", KINDS)
def test_batches_are_learnt_from_as_they_are(name):
    x, options = KINDS[name]
    array = fitted(X, Y, batch_size=50, shuffle=False)
    found = fitted(x, batch_size=None, **options)
    assert same_weights(found, array) and found.history["loss"] == array.history["loss"]


def same_weights(a, b):
    return np.array_equal(a.network.get_vector(), b.network.get_vector()) and a.step == b.step


def test_batches_are_cut_anew():
    cut = fitted(Loader(), batch_size=32, steps_per_epoch=12)
    assert same_weights(cut, fitted(X[: 12 * 32], Y[: 12 * 32], shuffle=False))
    shuffled = fitted(Loader(), batch_size=32, window=96, steps_per_epoch=13)
    assert shuffled.step == 26 and same_weights(shuffled, fitted(Loader(), window=96, steps_per_epoch=13))
    assert not same_weights(shuffled, fitted(Loader(), steps_per_epoch=13))


def test_less_than_an_epoch():
    made = fitted(X, Y, steps_per_epoch=3)
    assert made.step == 6 and same(made, fitted(Lazy(X), Y, steps_per_epoch=3))
    assert fitted(X, Y, steps_per_epoch=3, window=64).step == 6


def test_sparse_batches():
    sparse = pytest.importorskip("scipy.sparse")
    few = np.where(np.abs(X) > 1, X, 0)
    csr = sparse.csr_array(few)
    given = [(csr[at : at + 50], Y[at : at + 50]) for at in range(0, 400, 50)]
    dense = fitted(few, Y, shuffle=False, batch_size=40)
    assert same_weights(dense, fitted(given, batch_size=40, steps_per_epoch=10))
    windows = [fitted(x, Y, window=80) for x in (few, csr)]
    assert same(*windows)


# --- evaluating, predicting, standardising --------------------------------------------------


def test_validation_and_figures():
    array = fitted(X, Y, validation_data=(X[:100], Y[:100]))
    for held in (BATCHES[:2], (Lazy(X[:100]), Y[:100])):
        found = fitted(X, Y, validation_data=held)
        assert found.history["val_loss"] == pytest.approx(array.history["val_loss"])
    assert found.evaluate(endless(), steps=8) == pytest.approx(array.evaluate(X, Y))
    assert np.array_equal(array.network.predict(BATCHES), array.network.predict(X))
    assert np.array_equal(array.network.predict(x for x, _ in BATCHES), array.network.predict(X))


def test_standardising():
    array = fitted(X, Y, made=trainer(standardize=True))
    assert same(array, fitted(Lazy(X), Y, made=trainer(standardize=True)))
    for given, options in [((Lazy(X), Y), {"window": 64}), ((Loader(),), {"batch_size": None})]:
        found = fitted(*given, made=trainer(standardize=True), **options).network.standardizer
        assert np.allclose(found.mean, array.network.standardizer.mean, rtol=1e-12)
        assert np.allclose(found.scale, array.network.standardizer.scale, rtol=1e-12)
    with pytest.raises(ValueError, match="standardize takes a pass over X, .* call learn_inputs"):
        fitted(endless(), made=trainer(standardize=True), batch_size=None, steps_per_epoch=8)
    made = trainer(standardize=True)
    made.learn_inputs(Lazy(X))
    assert fitted(endless(), made=made, batch_size=None, steps_per_epoch=8).step == 16


def test_what_is_large_and_read_as_a_whole_is_said():
    class Large(Lazy):
        def __array__(self, *_, **__):
            return np.zeros((1, 8))

    large = Large(np.broadcast_to(np.float32(0), (1 << 22, 8)))
    with pytest.warns(UserWarning, match="X, .*Large of .* is read into memory as a whole here, 128 MiB"):
        trainer().forward(large)


def test_chunks_that_are_read_many_times_are_said():
    """As often as they have blocks; not where a window holds one, or all there is."""
    with pytest.warns(UserWarning, match=r"chunks of 100 rows, .* a window of 64 .*: each is read 50 times"):
        fitted(Lazy(X, (100, 8)), Y, epochs=1, window=64)
    x = Lazy(X, (100, 8))
    fitted(x, Y, epochs=1, window=100)
    assert x.most == 100
    fitted(Lazy(X, (400, 8)), Y, epochs=1)


def test_a_slice_costs_as_much_wherever_the_rest_is():
    """No list of all units is made for one of them: an epoch would take the square of their number."""
    x = Lazy(np.broadcast_to(np.float32(0), (1_000_000, 8)))
    pieces = pieces_of(x, np.broadcast_to(0, 1_000_000))
    tracemalloc.start()
    (piece,) = pieces.read(7, 4, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert piece.place == "[28:32]" and peak < 1 << 16


# --- stopping and going on ------------------------------------------------------------------


class StopAt(rw.Callback):
    """Saves at a step, and then Ctrl-C."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_step_end(self, state):
        if state.step == self.step:
            state.trainer.save(self.path)
            signal.raise_signal(signal.SIGINT)


GIVEN = {
    "window": ((Lazy(X), Y), {"batch_size": 32, "window": 96}),
    "one window": ((Lazy(X), Y), {"batch_size": 32}),
    "chunks": ((Lazy(X, (30, 8)), Y), {"batch_size": 32, "window": 64}),
    "loader": ((Loader(),), {"batch_size": None}),
    "cut anew": ((Loader(),), {"batch_size": 32, "window": 64, "steps_per_epoch": 12}),
}


@SELDOM
@GROWN
@pytest.mark.parametrize("step", [1, 5, 8, 12, 15])
@pytest.mark.parametrize("name", GIVEN)
def test_an_epoch_is_gone_on_with(name, step, tmp_path):
    given, options = GIVEN[name]
    whole = fitted(*given, made=trainer(horizon=3), epochs=3, **options)
    stopped = trainer(horizon=3, callbacks=[StopAt(step, tmp_path / "t")])
    fitted(*given, made=stopped, epochs=3, **options)
    assert stopped.history.interrupted and stopped.step == step
    stopped.callbacks = []
    resumed = rw.Trainer.resume(tmp_path / "t")
    for made in (stopped, resumed):
        fitted(*given, made=made, epochs=3 - made.epoch, **options)
        assert same(made, whole), (made.step, whole.step)


def test_other_data_begin_an_epoch_anew(tmp_path):
    made = trainer(callbacks=[StopAt(3, tmp_path / "t")])
    fitted(Lazy(X), Y, made=made, window=96)
    made.callbacks = []
    fitted(Lazy(X), Y, made=made, window=128, epochs=1)
    assert made.step == 3 + 13
    made = trainer(callbacks=[StopAt(3, tmp_path / "t")])
    fitted(Loader(), made=made, batch_size=None)
    made.callbacks = []
    others = [(X[at : at + 40], Y[at : at + 40]) for at in range(0, 320, 40)]
    with pytest.raises(ValueError, match="X must give the batches of epoch 0 as before: 150 samples"):
        fitted(others, made=made, batch_size=None)
    assert made.step == 3


def test_a_generator_goes_on_where_it_stands(tmp_path):
    given = iter(endless())
    made = trainer(callbacks=[StopAt(3, tmp_path / "t")])
    fitted(given, made=made, batch_size=None, steps_per_epoch=8)
    made.callbacks = []
    fitted(given, made=made, batch_size=None, steps_per_epoch=8, epochs=1)
    assert made.step == 8 and made.epoch == 1
    whole = fitted(endless(), batch_size=None, steps_per_epoch=8, epochs=1)
    resumed = rw.Trainer.resume(tmp_path / "t")
    again = fitted(endless(), made=resumed, batch_size=None, steps_per_epoch=8, epochs=1)
    assert same_weights(again, whole)  # a fresh one is taken to begin with the epoch


# --- what fails -----------------------------------------------------------------------------


def failing(after, error):
    def batches():
        yield from BATCHES[:after]
        raise error

    return batches


def no_thread():
    return not any("look-ahead" in thread.name for thread in threading.enumerate())


def test_an_error_of_the_reader_is_raised_where_data_are_used():
    made = trainer()
    with pytest.raises(ZeroDivisionError, match="mine"):
        fitted(failing(3, ZeroDivisionError("mine")), made=made, batch_size=None, steps_per_epoch=8)
    assert made.step == 0 and no_thread()  # all is undone
    assert fitted(X, Y, made=made).step == 26


def test_ctrl_c_does_not_wait_for_data():
    hang = threading.Event()

    def batches():
        yield from BATCHES[:2]
        hang.wait(60)

    main, made = threading.main_thread().ident, trainer()
    timer = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    begin = time.process_time()
    fitted(batches, made=made, batch_size=None, steps_per_epoch=8)
    assert made.history.interrupted and made.step == 2 and time.process_time() - begin < 30
    hang.set()
    for thread in threading.enumerate():
        if "look-ahead" in thread.name:
            thread.join(60)
    assert no_thread()


bad = X.copy()
bad[130, 4] = np.nan
far = X.astype("f8")
far[130, 4] = 1e39
narrow = [*BATCHES[:2], (X[:50, :7], Y[:50])]
WRONG = {
    "nan": (
        (Lazy(bad), Y), {"window": 64},
        ValueError, r"X\[\d+:\d+\] must be finite, got nan in row \d, column 4",
    ),
    "range": (
        (Lazy(far), Y), {"window": 64},
        ValueError, r"X\[\d+:\d+\] must lie within 3.4e\+38, .* got 1e\+39 in row \d, column 4",
    ),
    "label": ((Lazy(X), Y * 2), {}, ValueError, r"y\[0:\d+\] must hold class labels in \[0, 2\], got 4"),
    "rows": ((Lazy(X), Y[:-1]), {}, ValueError, "X and y must have as many rows, got 400 and 399"),
    "features": ((Lazy(X[:, :7]), Y), {}, ValueError, r"X must have 8 features, got shape \(400, 7\)"),
    "rank": ((Lazy(X[None]), Y), {}, ValueError, r"X must be 2-D .* got shape \(1, 400, 8\)"),
    "text": ((Lazy(X.astype("U3")), Y), {}, TypeError, "X must hold real numbers, got dtype <U3"),
    "no y": ((Lazy(X), None), {}, TypeError, r"y must be there: X\[0:\d+\] has come without it"),
    "unknown shape": ((Lazy(X), Y), {}, ValueError, "X must have a known shape"),
    "width": (
        (narrow,), {"batch_size": None},
        ValueError, r"X of batch 2 must have 8 features, got shape \(50, 7\)",
    ),
    "no steps": (
        (endless(),), {},
        ValueError, "steps_per_epoch must be given to fit, for builtins.generator has no len",
    ),
    "early": (
        (iter(BATCHES),), {"batch_size": None, "steps_per_epoch": 5}, ValueError,
        "steps_per_epoch must be at most what X gives, 3 batches in epoch 1, got 5; it is at its end",
    ),
    "too many": (
        (Lazy(X), Y), {"steps_per_epoch": 14},
        ValueError, "steps_per_epoch must be at most 13, .* got 14",
    ),
    "more than len": (
        (BATCHES,), {"batch_size": None, "steps_per_epoch": 9},
        ValueError, "at most 8, .* got 9",
    ),
    "dict": (
        ([{"x": X, "y": Y}].__iter__,), {"steps_per_epoch": 1},
        TypeError, "got a dict of 'x', 'y' of batch 0",
    ),
    "four": (([(X, Y, W, W)].__iter__,), {"steps_per_epoch": 1}, TypeError, "got 4 things of batch 0"),
    "y beside": ((BATCHES, Y), {}, TypeError, "y must not be given where X gives batches"),
    "no iterable": (
        (lambda: 3,), {"steps_per_epoch": 1},
        TypeError, "a function that gives an iterable .* gives 3",
    ),
    "window": ((X, Y), {"window": 0}, ValueError, "window must be an integer >= 1, got 0"),
    "steps": (
        (X, Y), {"steps_per_epoch": 1.5},
        TypeError, "steps_per_epoch must be an integer >= 1, got 1.5",
    ),
    "weights": (
        (Lazy(X), Y), {"sample_weight": np.zeros(400)}, ValueError, "sample_weight must have a positive sum",
    ),
    "weight": (
        (Lazy(X), Y), {"sample_weight": np.full(400, 1e90)},
        ValueError, r"sample_weight\[0:\d+\] must be 0 or within",
    ),
    "wassp": ((Lazy(X), Y), {"strategy": rw.WASSP()}, ValueError, "needs all samples in memory"),
    "local": (
        (BATCHES,), {"strategy": rw.LocalSGD(2, workers=2), "batch_size": None},
        ValueError, "batch_size must be",
    ),
    "validation": (
        (X, Y), {"validation_data": endless()},
        TypeError, "validation_data must be something that can",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name):
    given, options, kind, words = WRONG[name]
    if name == "unknown shape":
        given[0].shape = (float("nan"), 8)
    made = trainer(rewiring=None)
    before = bits(made)
    with pytest.raises(kind, match=words):
        fitted(*given, made=made, **options)
    assert bits(made) == before and no_thread()


class Tensor(Lazy):
    """Like a PyTorch tensor that requires a gradient, and says so of its slices."""

    requires_grad = True

    def __getitem__(self, rows):
        return Tensor(super().__getitem__(rows))

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def detach(self):
        return self.array


def test_tensors_that_need_gradients():
    given = [(Tensor(x), y) for x, y in BATCHES]
    assert same_weights(fitted(given, batch_size=None), fitted(BATCHES, batch_size=None))


# --- workers --------------------------------------------------------------------------------


@SELDOM
def test_workers_leave_no_trace():
    given = [((Lazy(X), Y), {"window": 96, "sample_weight": W}), ((Loader(),), {"batch_size": None})]
    for data, options in given:
        one = fitted(*data, made=trainer(shards=4), **options)
        assert same(one, fitted(*data, made=trainer(shards=4), workers=2, **options))
    rounds = {"strategy": rw.LocalSGD(2, workers=2), "window": 128}
    assert same(fitted(Lazy(X), Y, **rounds), fitted(Lazy(X), Y, workers=2, **rounds))


@SELDOM
@GROWN
@pytest.mark.parametrize("rule", ["rigl", rw.rewiring.GSE(every=3)], ids=["rigl", "gse"])
def test_rules_that_look_at_gradients(rule):
    rule = rw.rewiring.RigL(every=3) if rule == "rigl" else rule
    made = fitted(Lazy(X), Y, made=trainer(rewiring=rule))
    assert made.rewirings > 0 and same(made, fitted(X, Y, made=trainer(rewiring=rule)))


def test_the_usual_window():
    assert window_of(784) == 10_699 and window_of(1 << 30) == 1


# --- the command line -----------------------------------------------------------------------


def test_the_command_line_maps_what_is_large(tmp_path, monkeypatch):
    from rewire import _mapped
    from rewire.cli import main
    from rewire.streams import pieces

    np.savez(tmp_path / "d.npz", X=X.reshape(400, 2, 4), y=Y)
    np.savez_compressed(tmp_path / "c.npz", X=X, y=Y)
    command = "train --hidden 20 --density 0.5 --epochs 2 --validation 0.25 --quiet --data"
    ends = []
    for name, values in [("d", 8 * 90), ("d", 1 << 23), ("c", 8 * 90)]:
        monkeypatch.setattr(pieces, "WINDOW", values)
        data = rw.datasets.load_file(tmp_path / f"{name}.npz")
        assert _mapped.is_mapped(data.X) == ((name, values) == ("d", 8 * 90))
        assert np.array_equal(data.X, X) and data.feature_shape == ((2, 4) if name == "d" else (8,))
        saved = str(tmp_path / "net")
        assert main([*command.split(), str(tmp_path / f"{name}.npz"), "--save", saved]) == 0
        ends.append(rw.Trainer.resume(saved))
        out = str(tmp_path / "out.npz")
        assert main(["predict", saved, "--data", str(tmp_path / f"{name}.npz"), "--out", out]) == 0
        assert np.array_equal(np.load(out)["output"], ends[-1].network.predict(X))
    assert ends[0].step == ends[1].step and not same_weights(ends[0], ends[1])
    assert same_weights(ends[1], ends[2])

    monkeypatch.setattr(pieces, "WINDOW", 8)
    whole = (tmp_path / "d.npz").read_bytes()
    at = whole.index(X[200].tobytes())
    (tmp_path / "d.npz").write_bytes(whole[:at] + b"x" + whole[at + 1 :])
    with pytest.raises(rw.FileError, match="Bad CRC-32"):
        rw.datasets.load_file(tmp_path / "d.npz")


def test_moments_of_some_rows_of_a_file_are_those_of_these_rows(tmp_path):
    x, some = np.random.default_rng(0).normal(size=(40, 3)), np.array([1, 5, 7])
    np.save(tmp_path / "x.npy", x)
    source = mapped_source(np.load(tmp_path / "x.npy", mmap_mode="r"), "X", some)
    found, expected = source.seen(), as_source(x[some], 3).seen()
    assert all(
        np.array_equal(a, b) for a, b in zip(found[0] + found[1], expected[0] + expected[1], strict=True)
    )
