"""Many files that a pattern of --data names: what is read of them, and by whom leaves no trace."""

import itertools
import json

import numpy as np
import pytest

import rewire as rw
from rewire.cli import main
from rewire.datasets import _pattern
from rewire.streams.kinds import joined
from small import bits, normal

X = normal(120, 6).astype("f4")
LABELS = (X @ normal(6, 3)).argmax(1)
WORDS = np.array(["low", "mid", "high"])[LABELS]
ENDS = [0, 31, 70, 95, 120]
NAMES = [f"f{i}" for i in range(6)]


def write(path, x, y):
    if path.suffix == ".npy":
        np.save(path, np.column_stack([x, y]))
    elif path.suffix == ".h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["X"], file["y"] = x, y.astype("S") if y.dtype.kind == "U" else y
    elif path.suffix == ".parquet":
        pytest.importorskip("pyarrow")
        pandas = pytest.importorskip("pandas")
        table = pandas.DataFrame({**dict(zip(NAMES, x.T, strict=True)), "kind": y})
        table.set_index(np.arange(len(x)) * 3).to_parquet(path)  # the index is a column there
    else:
        comma = "\t" if path.suffix == ".TSV" else ","
        rows = [[*NAMES, "kind"], *([*map(repr, map(float, a)), str(b)] for a, b in zip(x, y, strict=True))]
        path.write_text("".join(comma.join(row) + "\n" for row in rows))


def written(folder, kind, y=WORDS):
    """The pattern of four files."""
    for number, (a, b) in enumerate(itertools.pairwise(ENDS)):
        write(folder / f"part-{number}{kind}", X[a:b], y[a:b])
    return str(folder / f"part-*{kind}")


@pytest.fixture
def run(capsys):
    """Runs a command; gives the exit code, what was printed, and the errors."""

    def run(*words):
        return main([*map(str, words)]), *capsys.readouterr()

    return run


def trained(run, pattern, *words):
    small = ("--hidden", "16", "--density", "0.4", "--group", "1", "--batch-size", "16", "--threads", "1")
    return run("train", "--data", pattern, *small, *words)


@pytest.mark.parametrize("kind", [".csv", ".TSV", ".parquet", ".h5", ".npy"])
@pytest.mark.parametrize(
    "y", [WORDS, LABELS * 2 + 1, LABELS, X[:, 0] / 3], ids=["words", "odd", "from 0", "floats"]
)
def test_what_is_read_is_what_was_written(tmp_path, kind, y):
    if kind == ".npy" and y is WORDS:
        pytest.skip("a single array has no words")
    data = _pattern.load_pattern(written(tmp_path, kind, y), "numbers" if y.dtype.kind == "f" else "classes")
    classes, numbers = np.unique(y, return_inverse=True) if y.dtype.kind != "f" else (None, y)
    assert data.X.shape == X.shape and np.allclose(data.y, numbers, rtol=1e-6)
    assert data.classes == (None if classes is None else tuple(classes))
    pieces = joined(data.X, range(4))
    found = [piece for unit in range(len(pieces.units(9))) for piece in pieces.read(unit, 9, 0)]
    assert np.array_equal(np.concatenate([piece.x for piece in found]).astype("f4"), X)
    assert np.allclose(np.concatenate([piece.y for piece in found]), numbers, rtol=1e-6)


def test_classes_of_before_keep_their_numbers(tmp_path):
    pattern = written(tmp_path, ".csv")
    data = _pattern.load_pattern(pattern, classes=["high", "low", "lower", "mid"])
    assert np.array_equal(np.array(data.classes)[data.y], WORDS) and 2 not in data.y
    with pytest.raises(ValueError, match="y of .*part-0.csv must hold classes that are known, .* got 'mid'"):
        _pattern.load_pattern(pattern, classes=["high", "low"])


def test_workers_leave_no_trace_and_runs_go_on(run, tmp_path):
    pattern = written(tmp_path, ".csv")
    files = [str(tmp_path / name) for name in ("one", "two", "three")]
    whole, two, half = files
    code, printed, wrong = trained(run, pattern, "--epochs", "4", "--save", whole, "--json", tmp_path / "j")
    assert code == 0 and "120 samples, 0 for the test, 3 classes, from 4 files, CSV file" in printed, wrong
    assert trained(run, pattern, "--epochs", "4", "--workers", "2", "--save", two, "--quiet")[0] == 0
    assert trained(run, pattern, "--epochs", "2", "--save", half, "--quiet")[0] == 0
    again = ("--epochs", "4", "--data", pattern, "--save", half, "--quiet")
    assert run("train", "--resume", half, *again)[0] == 0
    one, other, resumed = map(rw.Trainer.resume, files)
    assert bits(one) == bits(other) and resumed.epoch == 4 and one.shards == 4
    found = json.loads((tmp_path / "j").read_text())["accuracy"]["train"]
    code, printed, _ = run("eval", whole, "--data", pattern)
    assert code == 0 and f"accuracy {found:.4f}  120 samples" in printed


def test_whole_files_are_held_out(run, tmp_path):
    """Of the three that are left a batch has as many samples each, and nearly the usual number in all."""
    pattern = written(tmp_path, ".npy", LABELS)
    record = tmp_path / "j"
    words = ("--loss", "cross_entropy", "--epochs", "2", "--validation", "0.25", "--json", record)
    code, printed, _ = run("train", "--data", pattern, "--hidden", "9", *words)
    assert code == 0 and "batches are cut into 3 shards from now on" in printed
    assert json.loads(record.read_text())["batch_size"] == 18  # where 16 are usual
    rest, held = _pattern.load_pattern(pattern, "classes").X.held_out(0.25)
    assert {*rest.names} | {*held.names} == {str(tmp_path / f"part-{k}.npy") for k in range(4)}
    assert len(held) == 1 and rest.shape[0] + held.shape[0] == 120
    found = json.loads(record.read_text())["accuracy"]
    assert len(found["per_epoch"]["validation"]) == 2 and found["validation"] is not None


def other_columns(folder):
    write(folder / "part-4.csv", X[:9], WORDS[:9])
    text = (folder / "part-4.csv").read_text()
    (folder / "part-4.csv").write_text(text.replace("f0,f1", "f1,f0"))


def other_kind(folder):
    write(folder / "part-4.npy", X[:9], LABELS[:9])


def fewer_features(folder):
    (folder / "part-4.csv").write_text("1.5,2.5,low\n2.5,3.5,low\n")


def numbers_for_words(folder):
    write(folder / "part-4.csv", X[:9], LABELS[:9])


def columns_behind_none(folder):
    other_columns(folder)
    (folder / "part-4.csv").rename(folder / "part-5.csv")
    (folder / "part-4.csv").write_text("1.5,2.5,1.5,2.5,1.5,2.5,low\n")


REFUSED = [
    (None, ["--validation", "0.05"], "validation 0.05 of 4 files leaves nothing on one of the two sides"),
    (None, ["--workers", "5"], "into, 4, got 5: each has some of 4 parts, and as many samples of a batch as"),
    (None, ["--workers", "3", "--batch-size", "10"], "into, 2, got 3: each has some of 4 parts, and as many"),
    (None, ["--shards", "5"], "leaves 4 files to learn from, and batches are cut into 5 shards"),
    (None, ["--y", "colour"], "y must name a column of"),
    (None, ["--connectivity", "correlated"], "X must be an array here, got Parts"),
    (other_columns, [], "must have the columns of"),
    (fewer_features, [], "part-4.csv: has 2 features, where"),
    (numbers_for_words, [], "part-4.csv: holds numbers for y, where"),
    (columns_behind_none, [], "part-5.csv must have the columns of"),
]


@pytest.mark.parametrize("change, words, said", REFUSED, ids=lambda one: getattr(one, "__name__", ""))
def test_what_does_not_go_together_is_named(run, tmp_path, change, words, said):
    pattern = written(tmp_path, ".csv")
    if change is not None:
        change(tmp_path)
    code, _, wrong = trained(run, pattern, "--epochs", "1", *words)
    assert code != 0 and said in wrong


def test_patterns_that_are_none(run, tmp_path):
    pattern = written(tmp_path, ".csv")
    for words, said in (
        (("train", "--data", tmp_path / "no*.csv"), "no file has a name like"),
        (("train", "--data", tmp_path / "part-*.npz"), "no file has a name like"),
        (("compare", "--data", pattern, "--grid", "rewiring=set"), "is a pattern of files, which train and"),
        (("encode", "--data", pattern, "--model", "rbm", "--out", tmp_path / "o.npz"), "is a pattern"),
        (("train", "--data", "a.csv", "b.csv"), "train and eval take many files by a pattern in quotes"),
    ):
        code, _, wrong = run(*words)
        assert code != 0 and said in wrong, words
    other_kind(tmp_path)
    with pytest.raises(ValueError, match="must be of one kind, of .*, got .csv, .npy"):
        _pattern.load_pattern(str(tmp_path / "part-*"))


def test_no_file_of_a_pattern_is_written_over(run, tmp_path):
    pattern = written(tmp_path, ".npy", LABELS)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    model = tmp_path / "model"
    rw.Sequential([rw.Sparse(6, 3, density=0.5, activation="softmax")]).save(model)
    for words in (
        ("train", "--data", pattern, "--save", tmp_path / "part-0.npy"),
        ("train", "--data", pattern, "--json", tmp_path / "part-1.npy"),
        ("eval", model, "--data", pattern, "--json", tmp_path / "part-3.npy"),
    ):
        code, _, wrong = run(*words)
        assert code != 0 and "this file is named for something else too" in wrong
    assert all(path.read_bytes() == held for path, held in files.items())


def test_the_usual_batch_is_cut_into_as_many_shards_as_workers_need(run, tmp_path):
    for number in range(10):
        write(tmp_path / f"p{number}.npy", X[12 * number : 12 * number + 12], LABELS[12 * number :][:12])
    model = tmp_path / "model"
    words = ("--loss", "cross_entropy", "--hidden", "9", "--epochs", "1", "--workers", "9", "--quiet")
    words = (*words, "--init", "he")  # keeps the 128 of many samples
    assert run("train", "--data", tmp_path / "p*.npy", *words, "--save", model)[0] == 0
    with rw.files.opened(model) as contents:
        assert contents.notes["batch_size"] == 130 and contents.config["shards"] == 10


@pytest.mark.filterwarnings("ignore:X. shard 0 of")
@pytest.mark.parametrize("strategy, each", [((), 18), (("--strategy", "local:2x2"), 5)])
def test_a_warmup_counts_the_steps_of_parts(run, tmp_path, strategy, each):
    """The longest shard says how many there are: 70 samples by 4, or 70 + 10 of the first training by 16."""
    for number, (a, b) in enumerate([(0, 70), (70, 90), (90, 100), (100, 120)]):
        write(tmp_path / f"p{number}.npy", X[a:b], LABELS[a:b])
    words = ("--loss", "cross_entropy", "--epochs", "2", "--warmup", "1", "--warmup-to", "2", *strategy)
    assert trained(run, tmp_path / "p*.npy", *words, "--save", tmp_path / "t", "--quiet")[0] == 0
    made = rw.Trainer.resume(tmp_path / "t")
    assert made.optimizer.schedule.length == each and made.step == 2 * each


def test_labels_of_rows_are_no_features(tmp_path):
    """Files with such a column and without it go together; one can be y, of many files as of one."""
    pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({**dict(zip(NAMES, X.T, strict=True)), "kind": WORDS})
    table[:60].to_parquet(tmp_path / "one.parquet")
    table[60:].set_index(np.arange(60) * 3).to_parquet(tmp_path / "two.parquet")
    assert _pattern.load_pattern(str(tmp_path / "*.parquet")).X.shape == X.shape
    for name in ("one", "two"):
        table.set_index("kind").to_parquet(tmp_path / f"{name}.parquet")
    data = _pattern.load_pattern(str(tmp_path / "*.parquet"), y="kind")
    one = rw.datasets.load(tmp_path / "one.parquet", y="kind")
    assert data.X.shape == (240, 6) and data.classes == one.classes


def test_wrong_columns_of_parquet_are_named_with_their_file(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    twice, null = ("aak", [0, 1], "has 2 columns of the name 'a'"), ("abk", [0, None], "holds 1 nulls")
    for names, kind, said in (twice, null):
        table = arrow.table([arrow.array([1.0, 2.0])] * 2 + [arrow.array(kind)], names=list(names))
        parquet.write_table(table, tmp_path / "p.parquet")
        with pytest.raises(rw.FileError, match=f"p.parquet: .*{said}"):
            _pattern.load_pattern(str(tmp_path / "*.parquet"))


def test_a_test_set_of_many_files_is_not_dropped_silently(tmp_path):
    pattern = written(tmp_path, ".h5")
    with pytest.importorskip("h5py").File(tmp_path / "part-0.h5", "a") as file:
        file["X_test"] = X[:3]
    with pytest.warns(UserWarning, match="part-0.h5 holds X_test, which nobody reads of many files"):
        data = _pattern.load_pattern(pattern)
    assert repr(data).endswith("120 samples, no test set, 6 features, 3 classes)")
