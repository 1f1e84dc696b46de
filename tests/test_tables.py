"""Files other than archives: tables in CSV, Parquet and single arrays, named arrays in HDF5."""

import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import rewire as rw
from rewire import _inputs
from rewire.cli import main
from rewire.cli.train import _SaveWhenAsked
from rewire.datasets import _tables
from rewire.streams import pieces

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 4)).round(3)
WORDS = np.array(["low", "mid", "high"])[(X @ RNG.normal(size=4) > 0).astype(int) + (X[:, 0] > 0.5)]
NAMES = ["width", "height", "depth", "mass"]


def csv_of(path, y, names=(*NAMES, "kind"), comma=","):
    rows = [[*map(repr, row.tolist()), str(target)] for row, target in zip(X, y, strict=True)]
    path.write_text("".join(comma.join(row) + "\n" for row in ([[*map(str, names)]] if names else []) + rows))
    return path


# --- what comes back --------------------------------------------------------------------------


@pytest.mark.parametrize("name, comma", [("d.csv", ","), ("D.TSV", "\t")])
@pytest.mark.parametrize("names", [(*NAMES, "kind"), (0, 1, 2, 3, "kind"), None])
def test_csv_with_names_or_without(tmp_path, name, comma, names):
    data = rw.datasets.load(csv_of(tmp_path / name, WORDS, names, comma))
    assert (data.X == X).all() and data.classes == ("high", "low", "mid")
    assert [data.classes[k] for k in data.y] == WORDS.tolist() and data.X_test is None
    assert data.source.startswith(name[2:].upper() + " file ")


@pytest.mark.parametrize("y, kind", [(np.arange(60) % 3, "3 classes"), (X[:, 1] / 3, "regression")])
def test_targets_are_as_they_are_written(tmp_path, y, kind):
    data = rw.datasets.load(csv_of(tmp_path / "d.csv", y))
    assert data.kind == kind and (data.y == y).all()
    assert rw.datasets.load(tmp_path / "d.csv", targets="numbers").kind == "regression"


@pytest.mark.parametrize("text, samples", [
    ("0,1\n1,0\n2,1\n", 3),
    ("0,spam\n1,ham\n2,spam\n", 3),
    ("0,1,2,3\n4,5,6,7\n8,9,10,11\n", 3),
    ("1,2\n2.5,1\n3.5,2\n", 3),
    ("0,1\n1.5,0\n2.5,1\n", 2),
    ("0,1,kind\n1.0,2,u\n2.0,1,v\n", 2),
    (",".join(map(str, range(10))) + "\n1,2,3,4,5,6,7,8,9,0\n1,2,3,4,5,6,7,8,9,1\n", 2),
    ("\n\"a\nq\",b\n\n1,0\n2,1\n", 2),
    ("a,b\r1,0\r2,1\r", 2),
    ("a,b,2020\n1,2,0\n2,3,1\n", 2),
])  # fmt: skip
def test_a_first_line_is_one_of_names_or_a_sample(tmp_path, text, samples):
    """Words above numbers are names; so are numbers that count columns, above fractions or ten of them."""
    (tmp_path / "d.csv").write_bytes(text.encode())
    assert rw.datasets.load(tmp_path / "d.csv").X.shape[0] == samples


def test_a_column_by_name_and_number(tmp_path):
    path = csv_of(tmp_path / "d.csv", np.arange(60) % 3)
    for y in ("height", 1, -4):
        data = rw.datasets.load(path, y=y)
        assert (data.y == X[:, 1]).all() and (data.X[:, -1] == np.arange(60) % 3).all()
        assert (data.X[:, :3] == X[:, [0, 2, 3]]).all()
    with pytest.raises(ValueError, match="y must name a column of .*, 'width', 'height', .*got 'weight'"):
        rw.datasets.load(path, y="weight")
    with pytest.raises(ValueError, match=r"y must be an integer in \[-5, 4\], got 5"):
        rw.datasets.load(path, y=5)
    with pytest.raises(ValueError, match="5 columns without names, which are numbered from 0, got 'mass'"):
        rw.datasets.load(csv_of(tmp_path / "d.csv", WORDS, None), y="mass")
    (tmp_path / "d.csv").write_text("a,b,c,d,2020,1,a\n1,7,3,4,2,0.5,4\n2,8,4,5,4,1.5,5\n")
    found = [rw.datasets.load(tmp_path / "d.csv", y=y).y.tolist() for y in ("2020", "1", 1, "0")]
    assert found == [[0, 1], [0.5, 1.5], [0, 1], [0, 1]]
    with pytest.raises(ValueError, match="y must name one column of .*, got 'a', which 2 are called"):
        rw.datasets.load(tmp_path / "d.csv", y="a")
    with pytest.raises(ValueError, match=r"y must be an integer in \[-7, 6\], got 2021"):
        rw.datasets.load(tmp_path / "d.csv", y="2021")


def test_arrays(tmp_path, monkeypatch):
    y = np.arange(60) % 3
    np.save(tmp_path / "t.npy", np.c_[X, X[:, 0]])
    np.save(tmp_path / "x.npy", X.astype("f4"))
    np.save(tmp_path / "y.npy", y)
    table = rw.datasets.load(tmp_path / "t.npy")
    assert (table.X == X).all() and (table.y == X[:, 0]).all() and table.kind == "regression"
    pair = rw.datasets.load(tmp_path / "x.npy", y=str(tmp_path / "y.npy"))
    assert (pair.X == X.astype("f4")).all() and pair.kind == "3 classes" and not isinstance(pair.X, np.memmap)
    monkeypatch.setattr(pieces, "WINDOW", 100)  # of a window: now it is large
    mapped = rw.datasets.load(tmp_path / "x.npy", y=tmp_path / "y.npy")
    assert isinstance(mapped.X, np.memmap) and (mapped.X == pair.X).all()


def test_parquet(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {name: X[:, k] for k, name in enumerate(NAMES)}
    parquet.write_table(pa.table({"kind": WORDS, **columns}), tmp_path / "d.parquet", row_group_size=7)
    data = rw.datasets.load(tmp_path / "d.parquet", y="kind")
    assert (data.X == X).all() and [data.classes[k] for k in data.y] == WORDS.tolist()
    with pytest.raises(rw.FileError, match="column 'kind' of .* must hold real numbers, got string"):
        rw.datasets.load(tmp_path / "d.parquet")
    twice = pa.table([X[:, 0], X[:, 1], WORDS], names=["a", "a", "y"])
    parquet.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(rw.FileError, match=r"twice.parquet: has 2 columns of the name 'a'"):
        rw.datasets.load(tmp_path / "twice.parquet")
    parquet.write_table(twice.select([2]), tmp_path / "one.parquet")
    with pytest.raises(rw.FileError, match=r"one.parquet: has one column, which is y, and none for X"):
        rw.datasets.load(tmp_path / "one.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(rw.FileError, match="is no Parquet file that can be read"):
        rw.datasets.load(tmp_path / "bad.parquet")


def test_bytes_that_are_text_are_words(tmp_path):
    """As of strings of one length in HDF5: JSON, which files keep classes in, has no bytes."""
    np.savez(tmp_path / "d.npz", X=X, y=np.char.encode(WORDS), X_test=X, y_test=WORDS)
    data = rw.datasets.load(tmp_path / "d.npz")
    assert data.classes == ("high", "low", "mid") and (data.y == data.y_test).all()
    np.savez(tmp_path / "d.npz", X=X, y=np.array([b"\xff", b"a"] * 30))
    with pytest.raises(rw.FileError, match="y holds bytes that are no text in UTF-8"):
        rw.datasets.load(tmp_path / "d.npz")


def test_what_pandas_calls_rows_in_parquet_is_no_column(tmp_path):
    """Such as what is left of their numbers when rows have been left out, unless it is asked for."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = pandas.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": WORDS})
    table[table.a > 0].to_parquet(tmp_path / "d.parquet")
    data = rw.datasets.load(tmp_path / "d.parquet")
    assert data.kind == "3 classes" and (data.X == X[X[:, 0] > 0, :2]).all()
    table.set_index("b").drop(columns="kind").to_parquet(tmp_path / "d.parquet")
    assert (rw.datasets.load(tmp_path / "d.parquet", y="b").y == X[:, 1]).all()


def test_hdf5(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["X"], file["y"] = X, WORDS.astype(object)
        file.create_dataset("X_test", data=X[:9], chunks=(3, 4), compression="gzip")
        file["y_test"] = WORDS[:9].astype(object)
    data = rw.datasets.load(tmp_path / "d.h5")
    assert (data.X == X).all() and (data.X_test == X[:9]).all()
    assert [data.classes[k] for k in data.y_test] == WORDS[:9].tolist()
    monkeypatch.setattr(pieces, "WINDOW", 100)
    mapped = rw.datasets.load(tmp_path / "d.h5")
    assert isinstance(mapped.X, np.memmap) and (mapped.X == X).all() and (mapped.X_test == X[:9]).all()
    with h5py.File(tmp_path / "d.h5", "a") as file:
        del file["y"]
    with pytest.raises(rw.FileError, match="lacks the array y; it has X, X_test, y_test"):
        rw.datasets.load(tmp_path / "d.h5")
    (tmp_path / "bad.h5").write_bytes(b"nothing")
    with pytest.raises(rw.FileError, match="is no HDF5 file that can be read"):
        rw.datasets.load(tmp_path / "bad.h5")


def test_hdf5_that_is_not_this_files_bytes_is_read(tmp_path, monkeypatch):
    """A link to another file, and numbers that NumPy shows wider than they are stored."""
    h5py = pytest.importorskip("h5py")
    monkeypatch.setattr(pieces, "WINDOW", 100)
    bfloat16 = h5py.h5t.IEEE_F32LE.copy()
    bfloat16.set_fields(15, 7, 8, 0, 7)
    bfloat16.set_size(2)
    bfloat16.set_ebias(127)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["X"] = X
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["before"], file["y"] = -X, WORDS.astype(object)
        file["X"] = h5py.ExternalLink("other.h5", "X")
    with h5py.File(tmp_path / "short.h5", "w") as file:
        file["before"], file["y"] = -X, WORDS.astype(object)
        short = h5py.h5d.create(file.id, b"X", bfloat16, h5py.h5s.create_simple(X.shape))
        h5py.Dataset(short)[...] = X.round()
    assert (rw.datasets.load(tmp_path / "link.h5").X == X).all()
    assert (rw.datasets.load(tmp_path / "short.h5").X == X.round()).all()


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("text, words", [
    ("a,b,y\n1,2,x\n3,,y\n", "has '' in column 1 ('b') of line 3, where a number should be"),
    ("1,2,x\n3,q,y\n", "has 'q' in column 1 of line 2, where a number should be"),
    ("a,b,y\n1,2,x\n3,4\n", "has 2 cells in line 3, where the first line has 3"),
    ("a,y\n1,2,0\n2,3,1\n", "has 3 cells in line 2, where the first line has 2"),
    ("a,y\n1,0,\n2,1,\n", "has 3 cells in line 2, where the first line has 2"),
    ("# comment\na,y\n1,0\n2,1\n", "has 2 cells in line 2, where the first line has 1"),
    ("a,b,y\n1,2,x\n\n\"\n\",2,y\n", "has '\\n' in column 0 ('a') of line 4, where a number should be"),
    ("a,y\n1,u\n2,\n3,v\n", "has '' in column 1 ('y') of line 3, where y should be"),
    ("1,NA,NA\n2,3,4\n3,4,5\n", "has 'NA' in column 1 of line 1, where a number should be"),
    ("a,y\n1,2.5\n\n2, \n3,4.5\n", "has ' ' in column 1 ('y') of line 4, where y should be"),
    ("a;b;y\n1;2;0\n", "has one column, which is y, and none for X: cells are between commas"),
    ("a,b\n\n", "holds no row of numbers"),
    ("a,b,y\n", "holds no row of numbers"),
    ("", "holds no row of numbers"),
    ("1,nan,x\n2,3,y\n", "X holds NaN or infinity, first in sample 0, column 1"),
    (b"\xff\xfe1,2\n", "is no text in UTF-8"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_csv_that_is_no_table(tmp_path, text, words):
    path = tmp_path / "d.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises((rw.FileError, ValueError)) as caught:
        rw.datasets.load(path)
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_a_table_of_words_and_gaps_says_the_line_that_makes_numbers_of_it(tmp_path, monkeypatch, kind):
    """Words to columns; without rows that have gaps, and without names, of which each row has its own."""
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    comma = {"csv": ",", "tsv": "\t"}[kind]
    rows = [["sex", "age", "name", "label"]]
    rows += [
        ["mf"[i % 2], str(i) if i % 7 else "?", f"name {i}", ["yes", "no"][i % 3 == 0]] for i in range(50)
    ]
    path = Path(f"passengers.{kind}")
    path.write_text("".join(comma.join(row) + "\n" for row in rows))
    with pytest.raises(rw.FileError, match="has 'm' in column 0 .'sex'. of line 2, where") as caught:
        rw.datasets.load(path, y="label")
    line = re.search("import pandas; (.*); y is 'label' there$", str(caught.value))[1]
    exec(line, {"pandas": pandas})
    made = rw.datasets.load("numbers.csv", y="label")
    assert made.X.shape == (50 - 8, 3) and made.classes == ("no", "yes")
    assert pandas.read_csv("numbers.csv").columns.tolist() == ["age", "label", "sex_f", "sex_m"]


def test_the_line_drops_what_is_mostly_empty_and_takes_gaps_as_they_stand(tmp_path, monkeypatch):
    """A column without values, or nearly, would take all rows along; blanks belong to the mark."""
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{'mf'[i % 2]},{i if i % 7 else ' ? '},{i if i % 5 else 'NONE'},,{i if i == 3 else ''},{i % 2}\n"
        for i in range(50)
    ]
    Path("t.csv").write_text("sex,age,fare,cabin,boat,label\n" + "".join(rows))
    with pytest.raises(rw.FileError, match="leave out columns that are mostly empty") as caught:
        rw.datasets.load("t.csv", y="label")
    exec(re.search("import pandas; (.*); y is", str(caught.value))[1], {"pandas": pandas})
    made = rw.datasets.load("numbers.csv", y="label")
    assert made.X.shape == (sum(i % 7 > 0 and i % 5 > 0 for i in range(50)), 4)
    Path("t.csv").write_text("sex,age,age,label\n" + "m,1,2,0\nf,2,3,1\n" * 9)
    with pytest.raises(rw.FileError, match="columns need names of their own: 'age' is twice there"):
        rw.datasets.load("t.csv", y="label")


def test_arrays_that_are_none(tmp_path):
    np.save(tmp_path / "cube.npy", np.zeros((3, 4, 5)))
    with pytest.raises(rw.FileError, match="must be a table where a column of it is y"):
        rw.datasets.load(tmp_path / "cube.npy")
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    np.save(tmp_path / "objects.npy", np.array([[object()]]), allow_pickle=True)
    (tmp_path / "empty.npy").write_bytes(b"")
    for name in ("bad", "objects", "empty"):
        with pytest.raises(rw.FileError, match="is no array that can be read safely"):
            rw.datasets.load(tmp_path / f"{name}.npy")
    (tmp_path / "zip.npy").write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(rw.FileError, match="zip.npy: holds several arrays, as an archive does"):
        rw.datasets.load(tmp_path / "zip.npy")
    with pytest.raises(FileNotFoundError):
        rw.datasets.load(tmp_path / "none.npy")


@pytest.mark.parametrize("name", ["digits", "d.npz", "D.HDF5"])
def test_a_column_of_what_is_no_table(name):
    with pytest.raises(ValueError, match=f"y names a column of a table, which '{name}' is not, got 2"):
        rw.datasets.load(name, y=2)


@pytest.mark.parametrize("name, package", [("d.parquet", "pyarrow"), ("d.h5", "h5py")])
def test_a_package_that_is_not_there_is_named(tmp_path, monkeypatch, name, package):
    (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ImportError, match=rf'{name} needs {package} to be read: pip install "rewire\[data\]"'
    ):
        rw.datasets.load(tmp_path / name)


# --- the command line ---------------------------------------------------------------------------


def test_a_network_is_trained_resumed_and_asked_with_a_table(tmp_path, capsys):
    path, model = str(csv_of(tmp_path / "d.csv", WORDS, ("kind", *NAMES[1:], "mass"))), str(tmp_path / "m")
    rows = (tmp_path / "d.csv").read_text().splitlines()
    rows = [",".join([row.split(",")[-1], *row.split(",")[:-1]]) for row in rows[1:]]
    (tmp_path / "d.csv").write_text("\n".join([",".join(["kind", *NAMES]), *rows]))
    (tmp_path / "new.csv").write_text("\n".join([",".join(NAMES), *(row.partition(",")[2] for row in rows)]))
    new = ["train", "--data", path, "--hidden", "20", "--epsilon", "5", "--epochs", "2", "--y", "kind"]
    assert main([*new, "--validation", "0.2", "--save", model]) == 0
    assert "48 samples, 0 for the test, 3 classes, from CSV file" in capsys.readouterr().out
    assert main(["train", "--resume", model, "--data", path, "--epochs", "3", "--save", model]) == 0
    assert main(["eval", model, "--data", path]) == 0
    capsys.readouterr()
    found = []
    for name in ("d.csv", "new.csv"):  # with y and without
        assert main(["predict", model, "--data", str(tmp_path / name)]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1] and {*found[0].split()} <= {"low", "mid", "high"}
    assert main(["train", "--data", path, "--save", path]) == 2
    assert main(["select", "--data", path, "--y", "kind", "--features", "2", "--epochs", "2", "--runs", "1",
                 "--out", str(tmp_path / "s.npz")]) == 0  # fmt: skip
    assert np.load(tmp_path / "s.npz")["y"].tolist() == WORDS.tolist()
    capsys.readouterr()
    assert main(["train", "--data", "digits", "--y", "2"]) == 2
    assert "--y does nothing with --data digits" in capsys.readouterr().err


def test_a_file_of_targets_is_asked_for_again(tmp_path, capsys, monkeypatch):
    """As data are: the last column of the features would be taken for y."""
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", WORDS)
    model, x, y = (str(tmp_path / name) for name in ("m", "x.npy", "y.npy"))
    hint = f"go on with --resume {model} --data {x} --y {y}\n"

    def stop(self, state):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(_SaveWhenAsked, "on_step_end", stop)
    new = ["train", "--data", x, "--y", y, "--hidden", "20", "--epsilon", "5", "--quiet", "--save", model]
    assert main(new) == 130 and hint in capsys.readouterr().err
    monkeypatch.undo()
    for words in (["train", "--resume", model], ["eval", model]):
        assert main([*words, "--data", x]) == 2
        assert f"--y is needed: {model} was trained with y of '{y}'" in capsys.readouterr().err
    assert main(["eval", model, "--data", x, "--y", y]) == main(["predict", model, "--data", x]) == 0
    for words in (["eval", model, "--json", y], ["compare", "--save", y]):
        assert main([*words, "--data", x, "--y", y]) == 2
        assert f"cannot write {y}: this file is named for something else too" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".h5", ".npz", ".npy"])
def test_what_is_read_whole_says_so(kind, tmp_path, monkeypatch):
    path = tmp_path / f"d{kind}"
    table = np.random.default_rng(0).normal(size=(50, 4))
    if kind == ".csv":
        np.savetxt(path, table, delimiter=",")
    elif kind == ".npy":
        np.save(path, table)
    elif kind == ".npz":
        np.savez_compressed(path, X=table[:, :3], y=table[:, 3])
    elif kind == ".h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file.create_dataset("X", data=table[:, :3], chunks=(10, 3))
            file["y"] = table[:, 3]
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        columns = {name: table[:, i] for i, name in enumerate("abcy")}
        parquet.write_table(sys.modules["pyarrow"].table(columns), path)
    options = {"y": 1} if kind == ".npy" else {}
    rw.datasets.load(path, **options)  # which is small
    monkeypatch.setattr(_inputs, "_LARGE", 1000)
    with pytest.warns(UserWarning, match=rf"d\{kind} is read into memory as a whole here, 0 MiB; "):
        rw.datasets.load(path, **options)


def test_kinds_of_files_are_those_that_are_told():
    assert {*rw.datasets.FILES} == {".npz", *_tables.TABLES, *_tables.ARRAYS}
