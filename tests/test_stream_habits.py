"""What people do with data that come in pieces: buffers that are used again, maps, arguments of functions."""

import decimal
import itertools
import pickle
import signal
import threading

import numpy as np
import pytest

import rewire as rw
from rewire._inputs import as_source
from rewire._mapped import is_mapped, mapped_source
from rewire.estimators import SparseMLPClassifier
from rewire.streams import pieces
from small import bits, network

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 8)).astype("f4")
Y = (X @ RNG.normal(size=(8, 3))).argmax(1)
W = RNG.integers(0, 3, 400).astype("f8")
BATCHES = [(X[at : at + 50], Y[at : at + 50]) for at in range(0, 400, 50)]


class Lazy:
    """A shape and slices, and nothing else."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, rows):
        return self.array[rows]


def trainer(**options):
    options = {"loss": "cross_entropy", "optimizer": rw.SGD(0.1, momentum=0.9), "rewiring": None, **options}
    return rw.Trainer(network(), **options)


def fitted(x, y=None, *, made=None, epochs=2, **options):
    made = trainer() if made is None else made
    made.fit(x, y, epochs=epochs, verbose=0, **options)
    return made


def same(a, b):
    return bits(a) == bits(b)


def memmap(tmp_path, array=X):
    np.save(tmp_path / "x.npy", array)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


# --- what is handed over belongs to whoever made it -----------------------------------------


def reusing(kind):
    """One buffer for all batches, which is wrong as soon as the generator goes on."""
    x, y, w = np.empty((50, 8), "f4"), np.empty(50, "i8"), np.empty(50)
    for at in range(0, 400, 50):
        x[:], y[:], w[:] = X[at : at + 50], Y[at : at + 50], W[at : at + 50]
        if kind == "csr":
            sparse = pytest.importorskip("scipy.sparse").csr_array(x)
            yield sparse, y, w
            sparse.data[:] = np.nan
        else:
            yield (Holds(x) if kind == "tensor" else x), y, w
        x[:], y[:], w[:] = np.nan, 99, -1


class Holds(Lazy):
    """Like a tensor: NumPy looks at its memory."""

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype) if copy else self.array

    __array_interface__ = property(lambda self: self.array.__array_interface__)


@pytest.mark.parametrize("kind", ["array", "csr", "tensor"])
def test_a_buffer_may_be_used_again(kind):
    batches = [(*pair, W[at : at + 50]) for at, pair in zip(range(0, 400, 50), BATCHES, strict=True)]
    for options in ({}, {"window": 50, "batch_size": 50}, {"batch_size": 32}):
        steps = 12 if "batch_size" in options else 8
        steps = 8 if "window" in options else steps
        own = fitted(lambda: batches, steps_per_epoch=steps, **options)
        found = fitted(lambda: reusing(kind), steps_per_epoch=steps, **options)
        assert np.allclose(own.network.get_vector(), found.network.get_vector(), rtol=1e-5)
        if kind != "csr":
            assert same(own, found)
    assert found.evaluate(lambda: reusing(kind)) == pytest.approx(own.evaluate(X, Y, sample_weight=W))
    only = (x for x, _, _ in reusing(kind))
    assert np.allclose(own.network.predict(only), own.network.predict(X), rtol=1e-5)


def test_slices_may_be_of_one_buffer():
    class Reader(Lazy):
        room = np.empty((400, 8), "f4")

        def __getitem__(self, rows):
            found = self.room[: rows.stop - rows.start]
            found[:] = self.array[rows]
            return found

    assert same(fitted(Reader(X), Y, window=96), fitted(X, Y, window=96))
    made = trainer().network
    assert np.array_equal(made.predict(Reader(X)), made.predict(X))


# --- arrays in memory -----------------------------------------------------------------------


def test_part_of_an_epoch_of_an_array():
    for x, y in ((X, Y), (X.tolist(), Y.tolist())):
        assert fitted(x, y, batch_size=64, steps_per_epoch=2).step == 4
        few = {"steps_per_epoch": 3, "batch_size": 32}
        assert same(fitted(x, y, **few), fitted(Lazy(X), Y, **few))
        with pytest.raises(ValueError, match="steps_per_epoch must be at most 13, .* got 99"):
            fitted(x, y, batch_size=32, steps_per_epoch=99)
        assert same(fitted(x, y, window=96), fitted(X, Y, window=96))
    assert not same(fitted(X, Y, window=96), fitted(X, Y))
    weight = np.where(np.arange(400) < 350, 0.0, 1.0)
    with pytest.raises(ValueError, match="sample_weight must have a positive sum, got 0 in epoch 0"):
        fitted(X, Y, sample_weight=weight, shuffle=False, steps_per_epoch=2)


def test_part_of_an_epoch_takes_no_copy(monkeypatch):
    monkeypatch.delattr("rewire._evaluating.Stream")  # what comes in pieces
    assert fitted(X, Y, batch_size=64, steps_per_epoch=2, window=400).step == 4


@pytest.mark.parametrize("standardize", [True, "scale"])
def test_standardising_in_one_window_gives_the_bits_of_an_array(tmp_path, monkeypatch, standardize):
    monkeypatch.setattr("rewire._inputs._BLOCK", 8 * 150)  # of an array: three blocks
    monkeypatch.setattr(pieces, "WINDOW", 8 * 420)

    def new():
        return trainer(standardize=standardize)

    array = fitted(X, Y, made=new())
    for x, options in [
        (Lazy(X), {}),
        (memmap(tmp_path), {}),
        (Lazy(X), {"window": 5000}),
        (X, {"window": 400}),
    ]:
        assert same(array, fitted(x, Y, made=new(), **options))
    part = fitted(X, Y, made=new(), steps_per_epoch=2)
    assert same(part, fitted(Lazy(X), Y, made=new(), steps_per_epoch=2))


# --- maps -----------------------------------------------------------------------------------


def test_a_copy_of_a_map_is_an_array(tmp_path):
    there = memmap(tmp_path)
    assert is_mapped(there) and is_mapped(there[3:]) and is_mapped(np.asarray(there))
    for copied in (there.copy(), there.astype("f4"), there.take([0, 1], 0), X):
        assert not is_mapped(copied)


@pytest.mark.parametrize("dtype", ["f4", "u1", "f2", ">f8"])
def test_estimators_do_not_see_that_an_array_is_a_map(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(pieces, "WINDOW", 8 * 90)
    x = (X * 10 + 50).astype(dtype)
    there = memmap(tmp_path, x)
    for options in ({}, {"early_stopping": True}, {"workers": 2}):
        if dtype != "f4" and options:
            continue
        options = {"epsilon": 4, "max_iter": 2, "random_state": 0, "n_jobs": 1, **options}
        for weight in (None, W):
            array = SparseMLPClassifier((20,), **options).fit(x, Y, sample_weight=weight)
            mapped = SparseMLPClassifier((20,), **options).fit(there, Y, sample_weight=weight)
            assert same(array.trainer_, mapped.trainer_)
    assert np.array_equal(array.predict_proba(x), mapped.predict_proba(there))
    going_on = [SparseMLPClassifier((20,), epsilon=4, random_state=0, n_jobs=1) for _ in range(2)]
    for made, given in zip(going_on, (x, there), strict=True):
        made.partial_fit(given, Y, classes=[0, 1, 2]).partial_fit(given, Y)
    assert same(going_on[0].trainer_, going_on[1].trainer_)


def test_what_is_wrong_in_a_map_is_named_by_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "WINDOW", 8 * 90)
    bad = X.copy()
    bad[123, 4] = np.nan
    there = memmap(tmp_path, bad)
    for options in ({}, {"early_stopping": True}):
        made = SparseMLPClassifier((20,), epsilon=4, max_iter=2, random_state=0, n_jobs=1, **options)
        with pytest.raises(ValueError, match="X must be finite, got nan in row 123, column 4"):
            made.fit(there, Y)


def test_rows_of_a_map_are_a_source(tmp_path):
    rows = np.array([5, 3, 399, 3])
    found = mapped_source(memmap(tmp_path), "X", rows)
    found.check_finite()
    array = as_source(X[rows], 8)
    again = pickle.loads(pickle.dumps(found))
    for one in (found, again):
        assert np.array_equal(one.rows(np.array([2, 0])), X[[399, 5]]) and one.largest == array.largest
        assert np.array_equal(one.moments().mean, array.moments().mean)


# --- functions and generators ---------------------------------------------------------------


class Holder:
    def required(self, epoch):
        self.seen = epoch
        return iter(BATCHES)


def test_the_epoch_is_given_where_it_is_asked_for():
    seen = []

    def batches(*given, **named):
        seen.append((given, named))
        return iter(BATCHES)

    holder = Holder()
    functions = [
        lambda batch_size=32: batches(batch_size),
        lambda data=7: batches(data),
        lambda: batches(),
        lambda epoch: batches(epoch),
        lambda anything: batches(anything),
        lambda *, epoch: batches(epoch=epoch),
        lambda data=7, epoch=None: batches(data, epoch=epoch),
        lambda *all_of: batches(*all_of),
        holder.required,
    ]
    for function in functions:
        fitted(function, steps_per_epoch=8, made=trainer(), epochs=2)
    expected = [((32,), {}), ((7,), {}), ((), {}), ((1,), {}), ((1,), {}), ((), {"epoch": 1})]
    assert seen[1::2] == [*expected, ((7,), {"epoch": 1}), ((1,), {})] and holder.seen == 1


def test_a_sequence_of_the_old_protocol():
    class Old:
        def __getitem__(self, i):
            return BATCHES[i]

    assert same(fitted(Old(), steps_per_epoch=8), fitted(BATCHES, steps_per_epoch=8))


def test_the_next_call_waits_for_a_generator_that_is_still_busy():
    hang, began = threading.Event(), threading.Event()

    def batches():
        yield from BATCHES[:2]
        began.set()
        hang.wait(60)
        yield from itertools.cycle(BATCHES)

    class Interrupt(rw.Callback):
        def on_step_end(self, state):
            if state.step == 2:
                began.wait(60)
                signal.raise_signal(signal.SIGINT)

    given, made = batches(), trainer(callbacks=[Interrupt()])
    fitted(given, made=made, steps_per_epoch=8)
    assert made.history.interrupted and made.step == 2
    made.callbacks = []
    threading.Timer(0.3, hang.set).start()
    fitted(given, made=made, steps_per_epoch=8, epochs=1)
    assert made.step == 8


def test_batches_without_weight_are_counted_where_a_generator_goes_on():
    none = np.zeros(50)

    def batches():
        for at in itertools.count():
            read.append(at)
            yield (*BATCHES[at % 8], none) if at % 4 == 1 else BATCHES[at % 8]

    class Interrupt(rw.Callback):
        def on_step_end(self, state):
            if state.step == 3:
                signal.raise_signal(signal.SIGINT)

    read, given, made = [], batches(), trainer(callbacks=[Interrupt()])
    fitted(given, made=made, steps_per_epoch=8)
    assert made.history.interrupted and made.step == 3
    made.callbacks = []
    before = len(read)
    fitted(given, made=made, steps_per_epoch=8, epochs=1)
    assert len(read) == before + 4  # four batches were behind it


def test_code_of_the_user_has_the_settings_of_the_user():
    def batches():
        seen.append((np.geterr()["divide"], decimal.getcontext().prec))
        yield from BATCHES

    seen = []
    with np.errstate(divide="raise"), decimal.localcontext(prec=7):
        fitted(batches, steps_per_epoch=8)
    assert seen == [("raise", 7)] * 2

    def log():
        yield from BATCHES[:2]
        yield X[:50], np.log(np.zeros(50))

    with np.errstate(divide="raise"), pytest.raises(FloatingPointError) as caught:
        fitted(log, steps_per_epoch=8)
    assert caught.value.__notes__ == ["raised by X while it was read ahead, in a thread of its own"]


# --- what is wrong --------------------------------------------------------------------------


class Unknown(Lazy):
    """Like a table of dask: its number of rows is not computed."""

    iloc = None

    def __init__(self, array):
        super().__init__(array)
        self.shape = (object(), *array.shape[1:])

    def to_dask_array(self):
        raise NotImplementedError


class Short(Lazy):
    def __getitem__(self, rows):
        return self.array[rows][:-1]


def test_what_is_wrong_is_said():
    unknown = Lazy(Y)
    unknown.shape = (float("nan"),)
    cases = [
        (Unknown(X), Y, {}, r"X must have a known shape, got \(\?, 8\); to_dask_array\(lengths=True\)"),
        (X, unknown, {}, r"y must have a known shape, got \(nan\); compute_chunk_sizes"),
        (X, Y, {"sample_weight": unknown}, "sample_weight must have a known shape"),
        (BATCHES, None, {"batch_size": 32}, "must be given to fit, for batches are cut anew"),
        (BATCHES, None, {"window": 32}, "must be given to fit, for batches are cut anew"),
        (
            X,
            Y,
            {"strategy": rw.WASSP(), "steps_per_epoch": 3},
            "steps_per_epoch must not be given with WASSP",
        ),
        (X, Y, {"strategy": rw.WASSP(), "window": 30}, "window must not be given with WASSP"),
        (Short(X), Y, {}, r"X\[0:\d+\] must have \d+ rows, got \d+"),
    ]
    for x, y, options, words in cases:
        with pytest.raises(ValueError, match=words):
            fitted(x, y, **options)
    with pytest.raises(ValueError, match=r"X\[0:\d+\] must have \d+ rows"):
        trainer().network.predict(Short(X))
    with pytest.raises(TypeError, match="X must give batches .X, y., got a dict of 'x', 'y' of batch 0"):
        fitted([{"x": X, "y": Y}])
