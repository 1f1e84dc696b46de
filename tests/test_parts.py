"""Data in parts: each process reads its own, and their number leaves no trace."""

import collections
import contextlib
import copy
import itertools
import os
import pickle
import sys

import numpy as np
import pytest
import scipy.sparse

import rewire as rw
from rewire._parted import PartedStream
from rewire._shard_reader import ShardReader
from rewire._shards import runs_of
from rewire._stepper import Stepper
from rewire.streams.joined import OPEN
from rewire.streams.kinds import joined
from rewire.streams.parts import arrived
from rewire.workers.comm import parts_of, thing_of
from small import GROWN, SELDOM, bits, deep, network

RNG = np.random.default_rng(0)
SIZES = (30, 41, 25, 37, 33, 29, 44, 30, 12, 9)
X = RNG.normal(size=(sum(SIZES), 17)).astype("f4")
Y = RNG.integers(0, 4, len(X))
W = RNG.integers(0, 3, len(X)).astype("f8")
ENDS = np.cumsum((0, *SIZES))
RIGL = {"name": "rigl", "every": 5, "fraction": 0.4, "batches": 2}


def part(number):
    """A part, with weights."""
    rows = slice(ENDS[number], ENDS[number + 1])
    return X[rows], Y[rows], W[rows]


def noted(given):
    """The same, and a file that says which process has opened it."""
    folder, number = given
    with open(f"{folder}/{os.getpid()}", "a") as file:
        print(number, file=file)
    return part(number)


def batches(number):
    """A part that gives batches, of which nobody knows how many."""
    x, y, weight = part(number)

    def of_epoch(epoch):
        for at in range(0, len(x), 7):
            yield x[at : at + 7], y[at : at + 7], weight[at : at + 7]

    return of_epoch


PARTS = rw.datasets.parts(range(len(SIZES)), read=part)


def trainer(**options):
    options = {
        "loss": "cross_entropy", "optimizer": rw.SGD(0.1, momentum=0.9, clip_norm=0.5), "rewiring": RIGL,
        "shards": 4, "metrics": True, **options,
    }  # fmt: skip
    return rw.Trainer(deep(), **options)


def fitted(given=PARTS, made=None, *, epochs=2, batch_size=16, window=48, **options):
    made = trainer() if made is None else made
    made.fit(given, epochs=epochs, batch_size=batch_size, window=window, verbose=0, **options)
    return made


# --- the bits -------------------------------------------------------------------------------


@SELDOM
@pytest.mark.filterwarnings("error:X. shard")
@pytest.mark.parametrize("workers", [2, *(pytest.param(n, marks=pytest.mark.soak) for n in (3, 4))])
def test_workers_leave_no_trace_and_open_their_own_parts(workers, tmp_path):
    given = rw.datasets.parts([(str(tmp_path), number) for number in range(len(SIZES))], read=noted)
    one = fitted(made=trainer(standardize=True, loss=rw.losses.CrossEntropy(class_weight=[1, 2, 3, 4])))
    made = trainer(standardize=True, loss=rw.losses.CrossEntropy(class_weight=[1, 2, 3, 4]))
    assert bits(fitted(given, made, workers=workers)) == bits(one)
    opened = [{int(line) for line in file.read_text().split()} for file in tmp_path.iterdir()]
    shards = [{number % 4 for number in own} for own in opened]
    assert len(opened) == workers and sum(map(len, shards)) == 4  # no shard is with two
    assert set().union(*opened) == set(range(len(SIZES)))


@SELDOM
@GROWN
@pytest.mark.parametrize("step", [9, 18, 20])
def test_an_epoch_is_gone_on_with(step, tmp_path):
    whole = fitted(made=trainer(horizon=2))

    def save(state):
        if state.step == step:
            state.trainer.save(tmp_path / "t")

    keep = rw.Callback()
    keep.on_step_end = save
    fitted(made=trainer(horizon=2, callbacks=[keep]), workers=2 if step == 9 else 1)
    resumed = rw.Trainer.resume(tmp_path / "t", callbacks=[])
    assert resumed.step_in_epoch
    assert bits(fitted(made=resumed)) == bits(whole)


def test_what_is_known_too_late_gives_the_same_batches():
    """Batches, whose number nobody knows, against arrays; both in order, for windows are of other pieces."""
    options = {"shuffle": False, "steps_per_epoch": 17}
    unknown = rw.datasets.parts(range(len(SIZES)), read=batches)
    known, found = (fitted(given, trainer(rewiring=None), **options) for given in (PARTS, unknown))
    assert np.array_equal(known.network.get_vector(), found.network.get_vector())
    with pytest.raises(ValueError, match="steps_per_epoch must be given to fit, for nobody knows how many"):
        fitted(unknown)


# --- samples --------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [16, 64, 1000])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_sample_comes_once_an_epoch(window, shuffle, monkeypatch):
    numbered = np.zeros((len(X), 17))
    numbered[:, 0] = np.arange(len(X))
    given = rw.datasets.parts([(numbered[a:b], Y[a:b]) for a, b in itertools.pairwise(ENDS)])
    steps = []

    def in_shards(self, rows, *others):
        steps.append(self.source.rows(rows)[:, 0].astype(int))
        return original(self, rows, *others)

    original = Stepper.in_shards
    monkeypatch.setattr(Stepper, "in_shards", in_shards)
    fitted(given, trainer(rewiring=None), window=window, shuffle=shuffle)
    of = np.repeat(np.arange(len(SIZES)) % 4, SIZES)
    lengths = np.bincount(of)
    assert len(steps) == 2 * -(-lengths.max() // 4)
    first, second = steps[: len(steps) // 2], steps[len(steps) // 2 :]
    for epoch in (first, second):
        assert sorted(np.concatenate(epoch)) == list(range(len(X)))
        for number, batch in enumerate(epoch):
            left = np.clip(lengths - 4 * number, 0, 4)
            assert np.array_equal(np.bincount(of[batch], minlength=4), left)
            assert (np.diff(of[batch]) >= 0).all()
    assert np.array_equal(np.concatenate(first), np.concatenate(second)) == (not shuffle)


def test_runs_of_shards_without_samples_are_empty():
    rows = np.array([1, 0, 5, 7, 6])
    assert runs_of(rows, (0, 2, 2, 5, 8)) == [(0, 2), (2, 2), (2, 2), (2, 5), (5, 5)]


def test_moments_are_those_of_all_samples():
    made = fitted(made=trainer(rewiring=None, standardize=True), epochs=1)
    array = trainer(rewiring=None, standardize=True)
    array.fit(X, Y, sample_weight=W, epochs=1, verbose=0)
    for name in ("mean", "scale"):
        mine, theirs = (getattr(one.network.standardizer, name) for one in (made, array))
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


def test_targets_in_their_units():
    t = (X[:, :2] * 1e3 + 1e4).astype("f8")
    net = rw.Sequential([rw.Sparse(17, 20, density=0.5, activation="relu"), rw.Sparse(20, 2, density=1.0)])
    made = rw.Trainer(net, loss="mse", standardize_targets=True, shards=2)
    given = rw.datasets.parts([(X[a:b], t[a:b]) for a, b in ((0, 150), (150, 290))])
    made.fit(given, epochs=1, batch_size=32, verbose=0)
    np.testing.assert_allclose(net.target_standardizer.mean, t.mean(0), rtol=1e-12)
    assert made.evaluate(given) == pytest.approx(made.evaluate(X, t))


def test_evaluation_and_prediction_read_all_parts():
    made = fitted(validation_data=PARTS, epochs=1)
    found = made.evaluate(PARTS)
    assert found == pytest.approx(made.evaluate(X, Y, sample_weight=W))
    assert made.history["val_loss"][-1] == found["loss"]
    assert np.array_equal(made.network.predict(PARTS), made.network.predict(X))


# --- files ----------------------------------------------------------------------------------


def write(kind, path, x, y):
    if kind == ".npy":
        np.save(path, np.column_stack([x, y]))
    elif kind == ".h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["X"], file["y"] = x, y
    else:
        pyarrow = pytest.importorskip("pyarrow.parquet")
        columns = {**{f"f{i}": x[:, i] for i in range(17)}, "label": y}
        pyarrow.write_table(sys.modules["pyarrow"].table(columns), path, row_group_size=8)


@pytest.mark.parametrize("kind", [".npy", ".h5", ".parquet"])
def test_files_by_their_pattern(kind, tmp_path):
    of = np.full(len(X), 1.5) if kind == ".npy" else Y  # a table of one type has numbers
    for number, (a, b) in enumerate(itertools.pairwise(ENDS)):
        write(kind, tmp_path / f"{number:02}{kind}", X[a:b], of[a:b])
    given = rw.datasets.parts(tmp_path / f"*{kind}")
    assert given.names[3].endswith(f"03{kind}") and len(given) == len(SIZES)
    pieces = joined(given, [3, 1])
    found = [piece for unit in range(len(pieces.units(8))) for piece in pieces.read(unit, 8, 0)]
    rows = np.r_[ENDS[3] : ENDS[4], ENDS[1] : ENDS[2]]
    assert np.array_equal(np.concatenate([piece.x for piece in found]), X[rows])
    assert np.array_equal(np.concatenate([piece.y for piece in found]), of[rows])


def held():
    """Arrays that workers share, for each is a buffer of its own."""
    return [(X[:100], Y[:100]), (X[100:, ::2], Y[100:], W[100:])], 5


def mapped(folder):
    np.save(folder / "x.npy", X)
    there = np.load(folder / "x.npy", "r")
    one, other = (there[:100], Y[:100]), Pair(there[100:, 1:], Y[100:])  # which go by their place in the file
    return [one, other], 2


Pair = collections.namedtuple("Pair", "x y")


@pytest.mark.parametrize("kind", ["held", "mapped"])
def test_arrays_of_parts_are_not_pickled(kind, tmp_path):
    given, buffers = held() if kind == "held" else mapped(tmp_path)
    given = rw.datasets.parts(given)
    data = parts_of(given.sent(pickle.dumps))
    assert len(data) == 1 + buffers and len(data[0]) < 1500
    found = arrived(thing_of(data))
    for number in (0, 1):
        for mine, theirs in zip(found.opened(number)[:2], given.opened(number)[:2], strict=True):
            assert np.array_equal(mine, theirs)


def test_what_has_no_place_in_a_file_stays_here(tmp_path):
    np.save(tmp_path / "x.npy", X)
    there, changed = np.load(tmp_path / "x.npy", "r"), np.load(tmp_path / "x.npy", "c")
    for x in (there[::-1], changed):
        given = rw.datasets.parts([(x, Y)])
        with pytest.raises(TypeError, match="lies in a mapped file, and not row by row, or with changes"):
            given.sent(pickle.dumps)
        assert np.array_equal(copy.deepcopy(given).opened(0)[0], x)


EQUAL = {
    "numbers": lambda by: range(3 + by),
    "words": lambda by: ["a.npy", f"{by}.npy"],
    "arrays": lambda by: [(X, Y + by), (X, Y)],
    "a weight": lambda by: [(X, Y, W), (X, Y, W + by)],
    "tuples": lambda by: [("a", 1), ("b", by)],
    "order": lambda by: (1, 2) if by else (2, 1),
}


@pytest.mark.parametrize("name", EQUAL)
def test_ranks_tell_parts_from_others(name):
    one, same, other = (rw.datasets.parts(EQUAL[name](by), read=part).described() for by in (0, 0, 1))
    assert one == same != other and len(one) < 80
    assert one != rw.datasets.parts(EQUAL[name](0), read=noted).described()


# --- many, and none -------------------------------------------------------------------------


def counted(number):
    """Few samples, and a note that they were asked for."""
    OPENED.append(number)
    return X[number : number + 3], Y[number : number + 3]


OPENED = []


def test_a_part_is_opened_once_an_epoch():
    """And once to be counted; few are open at a time, whatever their number."""
    given = rw.datasets.parts(range(37), read=counted)
    del OPENED[:]
    fitted(given, trainer(rewiring=None), window=8, batch_size=4, epochs=3)
    times = np.bincount(OPENED)
    assert len(times) == 37 and times.min() >= 3 and times.max() <= 4
    pieces = joined(given, range(37))
    seen = []
    for unit in pieces.shuffled(1, lambda n, *words: np.random.default_rng(words).permutation(n)):
        seen += [int(piece.x.shape[0]) for piece in pieces.read(unit, 1, 0)]
        assert len(pieces._open) <= OPEN
    assert len(seen) == 3 * 37


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_more_files_than_may_be_open(tmp_path):
    import resource

    for number in range(60):
        np.save(tmp_path / f"{number:02}.npy", np.column_stack([X[:5], Y[:5]]))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    there = max(map(int, os.listdir("/dev/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + 40, limits[1]))
    try:
        made = fitted(rw.datasets.parts(tmp_path / "*.npy"), trainer(rewiring=None), epochs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert made.step == 19


def without_rows():
    """Parts with and without rows, which are left out."""
    nothing = (X[:0], Y[:0])
    return [nothing, (X[:30], Y[:30]), (X[30:60], Y[30:60]), nothing, nothing, (X[60:70], Y[60:70])]


def test_parts_without_rows_are_nothing():
    given = without_rows()
    made = trainer(shards=1, standardize=True, rewiring=None)
    some = trainer(shards=1, standardize=True, rewiring=None)
    fitted(rw.datasets.parts(given), made)
    fitted(rw.datasets.parts([one for one in given if len(one[0])]), some)
    assert bits(made) == bits(some)


@pytest.mark.filterwarnings("ignore:X. shard")
def test_shards_without_rows_are_nothing():
    given = [(X[:0], Y[:0]), (X[:30], Y[:30]), (X[:0], Y[:0]), (X[30:60], Y[30:60])]
    made = fitted(rw.datasets.parts(given), trainer(shards=2, standardize=True, rewiring=None))
    assert made.step == 2 * 8
    assert made.evaluate(rw.datasets.parts(given)) == pytest.approx(made.evaluate(X[:60], Y[:60]))


def test_whole_numbers_of_a_file_are_labels(tmp_path):
    for number, (a, b) in enumerate(itertools.pairwise(ENDS)):
        np.save(tmp_path / f"{number}.npy", np.column_stack([X[a:b], Y[a:b]]))
    made = fitted(rw.datasets.parts(tmp_path / "*.npy"), trainer(rewiring=None))
    known = rw.datasets.parts([(X[a:b], Y[a:b]) for a, b in itertools.pairwise(ENDS)])
    assert bits(made) == bits(fitted(known, trainer(rewiring=None)))
    assert made.evaluate(rw.datasets.parts(tmp_path / "*.npy")) == pytest.approx(made.evaluate(X, Y))


class Ranks:
    """Two processes, as `rewire._sharded.Helpers` asks them."""

    size = 2

    def __init__(self, given):
        self.other = ShardReader(given, rw.losses.CrossEntropy(), 1, 2)

    def read(self, reader, name, said):
        return [getattr(one, name)(*said) for one in (reader, self.other)]


def columns(*numbers):
    """A data frame of these columns, with their names."""
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({f"f{number}": X[:40, number] for number in numbers}), Y[:40]


APART = {
    "kind": (
        lambda: [TWO[0], (scipy.sparse.csr_array(X[:40]), Y[:40])], TypeError, "X must be sparse in all",
    ),
    "order": (
        lambda: [columns(*range(17)), columns(1, 0, *range(2, 17))],
        ValueError, "part 1 must have the columns of part 0, in their order, got 'f1' for 'f0' as column 0",
    ),
    "fewer": (
        lambda: [columns(*range(17)), columns(*range(16))], ValueError, "part 1 .* got 16 columns for 17",
    ),
    "none": (lambda: [(X[:0], Y[:0])] * 2, ValueError, "X must have at least one row, got Parts"),
}  # fmt: skip


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("name", APART)
def test_parts_of_other_kinds_are_refused_wherever_they_are(name, shards):
    given, kind, words = APART[name]
    stream = PartedStream(rw.datasets.parts(given()), trainer())
    stream.shards = shards
    ranks = Ranks(stream.parts)
    with pytest.raises(kind, match=words), contextlib.closing(ranks.other):
        cut = stream.cut(16, 100, None, True, 0, trainings=1, every=1)
        cut = stream.settled(cut, ranks if shards == 2 else None, contextlib.nullcontext())
        with stream.reading(cut, 0, 0, 0) as windows:
            next(windows)


# --- what is wrong --------------------------------------------------------------------------


def with_nan():
    x = X[:40].copy()
    x[33, 5] = np.nan
    return [(X[:40], Y[:40]), (x, Y[:40])]


FAR = X[:40].astype("f8")
FAR[33, 5] = 1e39
TWO = [(X[:40], Y[:40]), (X[40:80], Y[40:80])]
WRONG = {
    "nan": (with_nan(), {}, ValueError, r"^X of part 1\[.*\] must be finite, got nan in row \d+, column 5"),
    "range": (
        [(FAR, Y[:40]), TWO[0], TWO[0]], {}, ValueError,
        r"X of part 0\[.* must lie within .* in row \d+, column 5",
    ),
    "label": ([TWO[0], (X[:40], Y[:40] + 1)], {}, ValueError, r"y of part 1\[.* must hold class labels in"),
    "features": ([TWO[0], (X[:40, 1:], Y[:40])], {}, ValueError, r"X of part 1\[.* must have 17 features"),
    "rows": ([TWO[0], (X[:40], Y[:39])], {}, ValueError, "part 1: X and part 1: y must have as many rows"),
    "no y": ([TWO[0], X[:40]], {}, TypeError, r"y must be there: X of part 1\[.* has come without it"),
    "a vector": ([TWO[0], (X[:, 0], Y)], {}, ValueError, "part 1: X must be 2-D"),
    "a triple too many": ([TWO[0], (X, Y, W, W)], {}, TypeError, r"part 1 must be \(X, y\), .* a tuple of 4"),
    "once": ([TWO[0], iter(TWO)], {}, TypeError, "part 1 must be something that can be read in every epoch"),
    "parts": ([TWO[0], PARTS], {}, TypeError, "part 1: X must be no parts again"),
    "y beside": (TWO, {"y": Y}, TypeError, "y must not be given where X is in parts, which are"),
    "few parts": (TWO[:1], {}, ValueError, "X must be in as many parts as there are shards, 2"),
    "batch": (TWO, {"batch_size": 15}, ValueError, "batch_size must be a multiple of 2, the shards"),
    "steps": (TWO, {"steps_per_epoch": 6}, ValueError, "steps_per_epoch must be at most 5, .* got 6"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name):
    given, options, kind, words = WRONG[name]
    made = trainer(rewiring=None, shards=2)
    before = bits(made)
    with pytest.raises(kind, match=words):
        fitted(rw.datasets.parts(given), made, **options)
    assert bits(made) == before


def test_shards_of_their_own_length_are_said():
    long = [(X[:250], Y[:250]), (X[250:], Y[250:])]
    with pytest.warns(UserWarning, match="X: shard 0 of 2 has 250 samples, and the shortest 40"):
        fitted(rw.datasets.parts(long), trainer(shards=2, rewiring=None), epochs=1)


@pytest.mark.filterwarnings("ignore:X. shard")
@pytest.mark.parametrize("parts, batch_size, shards", [
    (1, None, 1), (3, None, 3), (5, None, 5), (7, None, 7), (8, None, 8), (20, None, 8),
    (3, 30, 3), (5, 64, 4), (7, 16, 4), (12, 31, 1),
])  # fmt: skip
def test_shards_where_nobody_says(parts, batch_size, shards, capsys):
    """As many as there are parts, up to 8, that a batch can be cut into; it need not be said either."""
    made = rw.Trainer(network(), loss="cross_entropy")
    each = [(X[:24, :8], Y[:24] % 3)] * parts
    made.fit(rw.datasets.parts(each), batch_size=batch_size)
    assert made.shards == shards and f"into {shards} shards from now on" in capsys.readouterr().out


def test_a_file_may_have_the_name_of_a_pattern(tmp_path):
    np.save(tmp_path / "p[1].npy", X)
    assert len(rw.datasets.parts(tmp_path / "p[1].npy")) == 1


def test_who_wants_arrays_says_that_parts_are_none():
    estimator = rw.SparseMLPClassifier(max_iter=1)
    fits = lambda: estimator.fit(PARTS), lambda: estimator.fit(PARTS, Y)
    for call in (*fits, lambda: trainer().train_step(PARTS, Y)):
        with pytest.raises(TypeError, match=r"X must be an array here, got Parts\(10: part 0 to part 9\)"):
            call()
