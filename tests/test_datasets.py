"""Data sets: what comes back, where it is looked for, and what is said when it is not there or damaged."""

import gzip
import hashlib
import http.server
import socket
import struct
import threading
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest

from rewire._fileio import FileError
from rewire.datasets import Dataset, _locate, fashion_mnist, load, load_features, madelon
from rewire.datasets._idx import decompress, parse_idx

SHIPPED = {module: module.DOWNLOADS for module in (fashion_mnist, madelon)}


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A machine without data: no REWIRE_DATA, no Debian package, an empty cache, servers out of reach."""
    monkeypatch.delenv("REWIRE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "no-such-folder")
    for module in (fashion_mnist, madelon):
        nowhere = [
            _locate.Download(d.name, ("http://127.0.0.1:9/" + d.name,), d.sha256, d.limit, d.size)
            for d in module.DOWNLOADS
        ]
        monkeypatch.setattr(module, "DOWNLOADS", tuple(nowhere))
    return tmp_path


def idx(array, kind=0x08):
    """The bytes of an idx file."""
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def small_fashion(seed=0):
    """Content of the four files, in the order of fashion_mnist._PARTS, with 30 and 10 images."""
    rng = np.random.default_rng(seed)
    parts = []
    for n in (30, 10):
        parts.append(idx(rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)))
        parts.append(idx((np.arange(n) % 10).astype(np.uint8)))
    return parts


def put_fashion(folder, contents=None, suffix=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(fashion_mnist._PARTS, contents or small_fashion(), strict=True):
        (folder / (name + suffix)).write_bytes(gzip.compress(content) if suffix else content)


def small_madelon():
    """Content of the four files with 6 and 4 samples."""
    rng = np.random.default_rng(0)
    parts = []
    for n in (6, 4):
        rows = rng.integers(400, 600, (n, 500))
        parts.append("\n".join(" ".join(map(str, row)) for row in rows).encode())
        parts.append("\n".join(str(label) for label in (-1, 1) * (n // 2)).encode())
    return parts


def put_madelon(folder, contents=None):
    folder.mkdir(parents=True, exist_ok=True)
    for (name, _, _), content in zip(madelon._FILES, contents or small_madelon(), strict=True):
        (folder / name).write_bytes(content)


# --- digits


def test_digits_are_the_1797_images_of_uci():
    data = load("digits")
    assert isinstance(data, Dataset) and data.name == "digits"
    assert data.X.shape == (1200, 64) and data.X_test.shape == (597, 64)
    assert data.X.dtype == data.X_test.dtype == np.uint8
    assert data.y.dtype == data.y_test.dtype == np.int64
    assert data.feature_shape == (8, 8) and data.classes == tuple("0123456789")
    assert data.X.max() == 16 and data.X.min() == 0
    assert np.concatenate([data.X, data.X_test]).sum(dtype=np.int64) == 561718
    assert "CC BY 4.0" in data.source


def test_digits_split_is_stratified():
    data = load("digits")
    train, test = np.bincount(data.y), np.bincount(data.y_test)
    assert train.sum() == 1200 and test.sum() == 597
    assert np.abs(train - (train + test) * 1200 / 1797).max() < 1
    seen = {row.tobytes() for row in data.X}
    assert not any(row.tobytes() in seen for row in data.X_test), "a test image is among the training images"


def test_digits_equal_scikit_learns():
    original = pytest.importorskip("sklearn.datasets").load_digits()
    data = load("digits")
    images, labels = np.concatenate([data.X, data.X_test]), np.concatenate([data.y, data.y_test])
    ours = sorted(zip(map(bytes, images), labels, strict=True))
    theirs = sorted(zip(map(bytes, original.data.astype(np.uint8)), original.target, strict=True))
    assert ours == theirs


# --- names


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("mnist", ValueError, "digits, fashion-mnist, madelon or the path of an .npz file, or of one that"),
        ("data.xlsx", ValueError, "got 'data.xlsx'"),
        ("", ValueError, "got ''"),
        (7, TypeError, "got int"),
        (None, TypeError, "got NoneType"),
        ("absent.npz", FileNotFoundError, "there is no file absent.npz"),
    ],
)
def test_wrong_name_is_named(name, error, words):
    with pytest.raises(error, match=words.replace("(", r"\(")):
        load(name)


# --- where files are looked for


@pytest.mark.parametrize("name", ["fashion-mnist", "madelon"])
def test_nowhere_says_the_three_things_tried(alone, name):
    with pytest.raises(FileNotFoundError) as caught:
        load(name)
    message = str(caught.value)
    assert "\n" not in message
    assert "(1) $REWIRE_DATA: not set; (2) " in message and "Debian" in message
    assert "; (3) download: http://127.0.0.1:9/" in message


def test_download_can_be_forbidden(alone):
    with pytest.raises(FileNotFoundError, match="downloading was not allowed"):
        load("fashion-mnist", download=False)


def test_rewire_data_must_be_a_folder(alone, monkeypatch):
    monkeypatch.setenv("REWIRE_DATA", str(alone / "typo"))
    with pytest.raises(FileNotFoundError, match="typo, which is not a folder"):
        load("fashion-mnist")


@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("subfolder", ["", "fashion-mnist"])
def test_fashion_from_rewire_data(alone, monkeypatch, suffix, subfolder):
    monkeypatch.setenv("REWIRE_DATA", str(alone))
    put_fashion(alone / subfolder, suffix=suffix)
    data = load("fashion-mnist")
    assert data.X.shape == (30, 784) and data.X_test.shape == (10, 784) and data.X.dtype == np.uint8
    assert data.y.tolist() == [*range(10)] * 3 and data.feature_shape == (28, 28)
    assert data.classes[9] == "Ankle boot" and str(alone) in data.source


def test_fashion_from_an_archive_in_rewire_data(alone, monkeypatch):
    monkeypatch.setenv("REWIRE_DATA", str(alone))
    X = np.arange(20 * 784, dtype=np.uint16).astype(np.uint8).reshape(20, 28, 28)
    np.savez(alone / "fashion-mnist.npz", X=X, y=np.arange(20) % 10, X_test=X[:10], y_test=np.arange(10))
    data = load("fashion-mnist")
    assert data.X.shape == (20, 784) and data.classes[0] == "T-shirt/top"


def test_fashion_from_the_debian_package(alone, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", alone / "package")
    put_fashion(alone / "package")
    assert "Debian" in load("fashion-mnist").source


def test_incomplete_rewire_data_is_said(alone, monkeypatch):
    monkeypatch.setenv("REWIRE_DATA", str(alone))
    put_fashion(alone)
    (alone / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=".1. .REWIRE_DATA: neither fashion-mnist.npz nor all of"):
        load("fashion-mnist")


@pytest.fixture
def server(alone):
    """A web server over the folder alone/web."""
    (alone / "web").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(alone / "web"))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def served(server, contents, names, limit=1 << 20):
    return tuple(
        _locate.Download(
            name,
            ("http://127.0.0.1:9/first", f"{server}/{name}"),
            hashlib.sha256(c).hexdigest(),
            limit,
            len(c),
        )
        for name, c in zip(names, contents, strict=True)
    )


def test_download_is_checked_cached_and_used_again(alone, server, monkeypatch):
    put_fashion(alone / "web")
    names = [f"{part}.gz" for part in fashion_mnist._PARTS]
    monkeypatch.setattr(fashion_mnist, "DOWNLOADS", served(server, small_fashion(), names))
    first = load("fashion-mnist")
    assert sorted(p.name for p in (alone / "cache/rewire/fashion-mnist").iterdir()) == sorted(names)
    for name in names:
        (alone / "web" / name).unlink()
    again = load("fashion-mnist", download=False)
    assert np.array_equal(first.X, again.X) and "download" in again.source


def test_download_with_a_wrong_checksum_is_refused(alone, server, monkeypatch):
    put_fashion(alone / "web", small_fashion(seed=1))
    names = [f"{part}.gz" for part in fashion_mnist._PARTS]
    monkeypatch.setattr(fashion_mnist, "DOWNLOADS", served(server, small_fashion(seed=0), names))
    with pytest.raises(FileNotFoundError, match="has the checksum .* expected"):
        load("fashion-mnist")
    assert not list((alone / "cache").rglob("*ubyte*")), "an unchecked file reached the cache"


def test_download_that_does_not_end_is_given_up(alone, server, monkeypatch):
    put_madelon(alone / "web")
    names = [name for name, _, _ in madelon._FILES]
    monkeypatch.setattr(madelon, "DOWNLOADS", served(server, small_madelon(), names, limit=100))
    with pytest.raises(FileNotFoundError, match="longer than 100 bytes"):
        load("madelon")


@pytest.mark.parametrize("change", ["exchanged", "cut", "longer", "bomb"])
@pytest.mark.parametrize("download", [True, False])
def test_the_cache_is_checked_again(alone, server, monkeypatch, change, download):
    put_fashion(alone / "web")
    names = [f"{part}.gz" for part in fashion_mnist._PARTS]
    monkeypatch.setattr(fashion_mnist, "DOWNLOADS", served(server, small_fashion(), names))
    first = load("fashion-mnist")
    copy = alone / "cache/rewire/fashion-mnist" / names[2]
    good = copy.read_bytes()
    copy.write_bytes(
        {
            "exchanged": gzip.compress(small_fashion(seed=1)[2]),
            "cut": good[:-9],
            "longer": good + bytes(1 << 20),
            "bomb": gzip.compress(bytes(1 << 26)),
        }[change]
    )
    if download:
        assert np.array_equal(load("fashion-mnist").X_test, first.X_test) and copy.read_bytes() == good
    else:
        with pytest.raises(FileNotFoundError, match=f"{names[2]}: .* downloading was not allowed"):
            load("fashion-mnist", download=False)


def test_no_more_is_unpacked_than_expected(alone, server, monkeypatch):
    """A small answer that unpacks to 100 times what the file has; the same in a folder of the user's."""
    contents, bomb = small_fashion(), idx(np.zeros((61_000, 28, 28), np.uint8))
    put_fashion(alone / "web", [bomb, *contents[1:]])
    names = [f"{part}.gz" for part in fashion_mnist._PARTS]
    monkeypatch.setattr(fashion_mnist, "DOWNLOADS", served(server, contents, names))
    tracemalloc.start()
    with pytest.raises(FileNotFoundError, match=f"holds more than the {len(contents[0])} bytes"):
        load("fashion-mnist")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20 < len(bomb)
    monkeypatch.setenv("REWIRE_DATA", str(alone / "web"))
    with pytest.raises(FileError, match="holds more than the 47040016 bytes"):
        load("fashion-mnist")


@pytest.mark.parametrize("where", ["status", "headers", "body"])
def test_a_server_that_drips_is_left(alone, monkeypatch, where):
    """A byte now and then keeps a socket's timeout from running out."""
    monkeypatch.setattr(_locate, "PATIENCE", 0.3)
    answer = b"HTTP/1.0 200 OK\r\nContent-Length: 9999\r\nX-Long: "
    sent = {"status": b"", "headers": answer, "body": answer + b"x\r\n\r\n"}[where]
    stop = threading.Event()

    def drip(listener):
        with listener.accept()[0] as connection:
            connection.sendall(sent)
            while not stop.wait(0.02):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        files = (_locate.Download("x", (url,), "0" * 64, 1 << 20, 1 << 20),) * 4
        monkeypatch.setattr(madelon, "DOWNLOADS", files)
        with pytest.raises(FileNotFoundError, match="is too slow: "):
            load("madelon")
        stop.set()
        thread.join()


def test_https_is_asked_first():
    for file in (*SHIPPED[fashion_mnist], *SHIPPED[madelon]):
        assert file.urls[0].startswith("https://") and file.size <= 47_040_016


def test_madelon_download(alone, server, monkeypatch):
    put_madelon(alone / "web")
    names = [name for name, _, _ in madelon._FILES]
    monkeypatch.setattr(madelon, "DOWNLOADS", served(server, small_madelon(), names))
    assert load("madelon").X.shape == (6, 500)


def test_madelon_from_rewire_data(alone, monkeypatch):
    monkeypatch.setenv("REWIRE_DATA", str(alone))
    put_madelon(alone / "madelon")
    data = load("madelon")
    assert data.X.shape == (6, 500) and data.X_test.shape == (4, 500) and data.X.dtype == np.int16
    assert data.y.tolist() == [0, 1] * 3 and data.classes == ("-1", "1")


# --- damage


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "does not begin with two zero bytes"),
        (b"\0\0\x08", "does not begin with two zero bytes"),
        (b"PK\x03\x04 and so on", "does not begin with two zero bytes"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "elements of type 0x0d, expected 0x08"),
        (b"\0\0\x08\x03\0\0\0\x01", "3 axes, expected 1"),
        (b"\0\0\x08\x01\0\0", "ends inside its header: 6 bytes, expected at least 8"),
        (b"\0\0\x08\x01\0\0\0\x05abcd", "says it holds 5 bytes, but 4 follow"),
        (b"\0\0\x08\x01\0\0\0\x03abcd", "says it holds 3 bytes, but 4 follow"),
        (b"\0\0\x08\x01\xff\xff\xff\xffabcd", "says it holds 4294967295 bytes, but 4 follow"),
    ],
)
def test_damaged_idx_says_what_is_wrong(content, words):
    with pytest.raises(FileError, match=words) as caught:
        parse_idx(content, "labels.idx", 1)
    assert str(caught.value).startswith("labels.idx: ")


@pytest.mark.parametrize("keep", [10, 20, 60, -1])
def test_cut_gzip_is_refused(keep):
    whole = gzip.compress(idx(np.arange(200, dtype=np.uint8)))
    with pytest.raises(FileError, match="damaged gzip file"):
        decompress(whole[:keep], "labels.gz", 1 << 20)


def test_any_flipped_byte_of_a_gzip_is_noticed_or_harmless():
    content = idx(np.arange(200, dtype=np.uint8))
    whole = gzip.compress(content)
    for position in range(len(whole)):
        broken = bytearray(whole)
        broken[position] ^= 0x10
        try:
            array = parse_idx(decompress(bytes(broken), "x", 1 << 20), "x", 1)
        except FileError:
            continue
        assert idx(array) == content


@pytest.mark.parametrize(
    ("part", "content", "words"),
    [
        (0, idx(np.zeros((30, 28, 27), np.uint8)), "28 x 27 pixels, expected 28 x 28"),
        (1, idx(np.zeros(29, np.uint8)), "29 labels for 30 images"),
        (1, idx(np.full(30, 10, np.uint8)), "the label 10, expected 0 to 9"),
        (2, b"\0\0", "does not begin"),
    ],
)
def test_wrong_fashion_files_are_named(alone, monkeypatch, part, content, words):
    monkeypatch.setenv("REWIRE_DATA", str(alone))
    contents = small_fashion()
    contents[part] = content
    put_fashion(alone, contents)
    with pytest.raises(FileError, match=words) as caught:
        load("fashion-mnist")
    assert fashion_mnist._PARTS[part] in str(caught.value)


@pytest.mark.parametrize(
    ("part", "content", "words"),
    [
        (0, b"1 2 3", "holds 3 numbers; 6 samples of 500 features were expected"),
        (0, b"1 2 x", "not a small whole number"),
        (0, b"1 99999", "not a small whole number"),
        (1, b"1 2 1 1 1 1", "labels other than -1 and 1"),
        (3, b"", "is empty"),
    ],
)
def test_wrong_madelon_files_are_named(alone, monkeypatch, part, content, words):
    monkeypatch.setenv("REWIRE_DATA", str(alone))
    contents = small_madelon()
    contents[part] = content
    put_madelon(alone, contents)
    with pytest.raises(FileError, match=words) as caught:
        load("madelon")
    assert madelon._FILES[part][0] in str(caught.value)


# --- FILE.npz

GOOD = {
    "X": np.arange(12, dtype=np.uint8).reshape(4, 3),
    "y": np.array([7, 3, 7, 3]),
    "X_test": np.zeros((2, 3), np.uint8),
    "y_test": np.array([3, 7]),
}


def save(tmp_path, **arrays):
    np.savez_compressed(tmp_path / "d.npz", **arrays)
    return str(tmp_path / "d.npz")


def test_npz_classes_are_numbered_in_order(tmp_path):
    data = load(save(tmp_path, **GOOD))
    assert data.classes == (3, 7) and data.y.tolist() == [1, 0, 1, 0] and data.y_test.tolist() == [0, 1]
    assert data.X.dtype == np.uint8 and data.name == "d" and data.feature_shape == (3,)


def test_npz_text_labels_images_and_no_test_set(tmp_path):
    data = load(save(tmp_path, X=np.zeros((2, 4, 5, 3), np.float32), y=np.array(["ja", "nein"])))
    assert data.classes == ("ja", "nein") and data.X.shape == (2, 60) and data.feature_shape == (4, 5, 3)
    assert data.X_test is None and data.y_test is None


def test_npz_float_targets_are_a_regression(tmp_path):
    data = load(save(tmp_path, X=GOOD["X"], y=np.array([0.5, 1.0, 2.0, 3.0])))
    assert data.classes is None and data.y.dtype == np.float64


def sparse_arrays(**changed):
    """What `scipy.sparse.save_npz` stores of a matrix of 4 rows and 3 columns, and targets."""
    stored = {"format": b"csr", "shape": (4, 3), "data": [1.0, 2.0, 3.0], "indices": [0, 2, 1],
              "indptr": [0, 1, 1, 3, 3], "_is_array": True, "y": [7, 3, 7, 3]} | changed  # fmt: skip
    return {name: np.array(values) for name, values in stored.items() if values is not None}


def test_npz_of_a_scipy_matrix(tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    data = load(save(tmp_path, **sparse_arrays(X_test=np.eye(3), y_test=[3, 3, 7])))
    assert data.X.format == "csr" and data.feature_shape == (3,) and data.classes == (3, 7)
    assert data.X.toarray().tolist() == [[1, 0, 0], [0, 0, 0], [0, 3, 2], [0, 0, 0]]
    assert repr(data).startswith("Dataset('d': 4 samples, 3 for the test, 3 features of float64")
    for made in (sparse.csr_array, sparse.csr_matrix):
        sparse.save_npz(tmp_path / "x.npz", made(data.X))
        found = load_features(tmp_path / "x.npz")
        assert (found != data.X).nnz == 0 and found.shape == (4, 3)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"y": None}, r"lacks the array y beside its SciPy sparse matrix; numpy.savez\(path, y=y, \*\*numpy"),
        ({"y": [1, 2, 1]}, "X has 4 samples, y has 3"),
        ({"format": b"csc"}, "whose format must be csr, got 'csc'; see tocsr"),
        ({"indices": None}, "does not hold a valid SciPy sparse matrix"),
        ({"indices": [0, 3, 1]}, "does not hold a valid SciPy sparse matrix"),
        ({"indices": [0, -1, 1]}, "does not hold a valid SciPy sparse matrix"),
        ({"indptr": [0, 2, 1, 3, 3]}, "does not hold a valid SciPy sparse matrix"),
        ({"indptr": [0, 1, 1, 3, 9]}, "does not hold a valid SciPy sparse matrix"),
        ({"shape": [5, 3]}, "does not hold a valid SciPy sparse matrix"),
        ({"shape": [4.5, 3]}, "does not hold a valid SciPy sparse matrix"),
        ({"data": [1.0, np.nan, 3.0]}, "X holds NaN or infinity, first in sample 2, column 2"),
        ({"data": [1j, 2j, 3j]}, "X must hold numbers, got dtype complex128"),
        (
            {"shape": [4, 0], "data": [], "indices": np.zeros(0, int), "indptr": [0] * 5},
            "without a zero, got \\(4, 0\\)",
        ),
        ({"X_test": np.eye(4), "y_test": [3, 3, 7, 7]}, "X has samples of shape"),
    ],
)
def test_wrong_scipy_matrices_say_what_is_wrong(tmp_path, changed, words):
    pytest.importorskip("scipy")
    path = save(tmp_path, **sparse_arrays(**changed))
    with pytest.raises(FileError, match=words):
        load(path)


class Trap:
    """An object that runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("the file has run code",))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"X": None}, "lacks the array X; it has y, X_test, y_test"),
        ({"y": None}, "lacks the array y"),
        ({"X": None, "x_train": np.zeros(2)}, "lacks the array X; it has .*x_train"),
        ({"y_test": None}, "lacks the array y_test"),
        ({"X_test": None}, "lacks the array X_test"),
        ({"X": np.zeros(4)}, r"got \(4,\)"),
        ({"X": np.zeros((0, 3))}, r"got \(0, 3\)"),
        ({"X": np.array([["a", "b"]] * 4)}, "must hold numbers, got dtype <U1"),
        ({"X": np.zeros((4, 3), complex)}, "must hold numbers, got dtype complex128"),
        (
            {"X": np.array([[1, 2, 3], [1, 2, 3], [1, np.nan, 3], [1, 2, 3]])},
            "NaN or infinity, first in sample 2, column 1",
        ),
        ({"X": np.zeros((5, 3))}, "X has 5 samples, y has 4"),
        ({"y_test": np.array([3])}, "X_test has 2 samples, y_test has 1"),
        ({"X_test": np.zeros((2, 4))}, r"X has samples of shape \(3,\), X_test of shape \(4,\)"),
        ({"y": np.array([[["a"]]] * 4)}, r"got shape \(4, 1, 1\)"),
        ({"y": np.array([["a", "b"]] * 4)}, "must be a vector where it holds words"),
        ({"y": np.array(3)}, r"got shape \(\)"),
        ({"y": np.array([3, 3, 3, 3])}, "one class only"),
        ({"y_test": np.array([3, 4])}, "the class 4, which y has not"),
        ({"y": np.array([0.1, 0.2, np.inf, 0.3])}, "y holds NaN or infinity, first in sample 2"),
        ({"y": np.array([0.1, 0.2, 0.2, 0.3])}, "y is float64"),
        ({"X": np.array([[Trap()]], dtype=object)}, "Object arrays cannot be loaded"),
        ({"y": np.array([Trap()] * 4, dtype=object)}, "y has dtype object, .*Object arrays cannot"),
        ({"y": np.array(["a", "b"] * 2, dtype=object)}, r"store y.astype\(str\) where it holds words"),
        ({"y_test": np.array([4, 5])}, r"the class 4, which y has not \(nor 1 others .* y.astype\(float\)"),
    ],
)
def test_wrong_npz_says_what_is_wrong(tmp_path, change, words):
    arrays = {name: array for name, array in (GOOD | change).items() if array is not None}
    path = save(tmp_path, **arrays)
    with pytest.raises(FileError, match=words):
        load(path)


LABELS = np.array([[0, 1], [1, 1], [0, 0], [1, 0]])
READ = [
    # y, how it is read, and what comes of it: classes, values
    (np.array([3, 5, 3, 5]), "auto", (3, 5), [0, 1, 0, 1]),
    (np.array([[3], [5], [3], [5]]), "auto", (3, 5), [0, 1, 0, 1]),
    (np.array([3, 5, 3, 5]), "numbers", None, [3.0, 5.0, 3.0, 5.0]),
    (np.array([True, False, True, True]), "numbers", None, [1.0, 0.0, 1.0, 1.0]),
    (np.array([3.0, 5.0, 3.0, 5.0]), "auto", None, [3.0, 5.0, 3.0, 5.0]),
    (np.array([3.0, 5.0, 3.0, 5.0]), "classes", (3, 5), [0, 1, 0, 1]),
    (np.array([3.0, 5.5, 3.0, 5.0]), "classes", None, [3.0, 5.5, 3.0, 5.0]),
    (np.array(["a", "b", "a", "b"]), "numbers", ("a", "b"), [0, 1, 0, 1]),
    (LABELS, "auto", None, LABELS.tolist()),
    (LABELS.astype(bool), "auto", None, LABELS.tolist()),
    (LABELS, "numbers", None, LABELS.tolist()),
    (LABELS + 1, "auto", None, (LABELS + 1.0).tolist()),
]


@pytest.mark.parametrize("y, read, classes, wanted", READ)
def test_how_targets_are_read(tmp_path, y, read, classes, wanted):
    path = save(tmp_path, X=np.eye(4), y=y, X_test=np.eye(4)[:2], y_test=y[:2])
    found = load(path, targets=read)
    assert found.classes == classes and found.y.tolist() == wanted and found.y_test.tolist() == wanted[:2]
    assert found.has_labels == (y.ndim == 2 and read == "auto" and y.max() < 2 and y.shape[1] > 1)
    if classes is None and not found.has_labels:
        assert found.y.dtype.kind == "f" and "regression" in repr(found)


def test_many_integers_may_be_numbers(tmp_path):
    y = np.r_[np.arange(51), np.zeros(400, int)]
    path = save(tmp_path, X=np.zeros((451, 2)), y=y)
    with pytest.warns(UserWarning, match="51 different integers in 451 samples, .* y.astype.float."):
        load(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(path, targets="numbers").classes is None
        for few in (np.arange(50), np.r_[y, np.zeros(100, int)]):  # no more than 50, than a tenth of the rows
            load(save(tmp_path, X=np.zeros((len(few), 2)), y=few))
        load(save(tmp_path, X=np.zeros((451, 2)), y=y.astype(str)))  # words are no numbers
    with pytest.raises(ValueError, match="targets must be one of 'auto', 'numbers', 'classes', got 'x'"):
        load(path, targets="x")


def test_npz_that_is_no_archive(tmp_path):
    path = tmp_path / "x.npz"
    for content in (b"", b"hello", b"\x93NUMPY", b"PK\x03\x04" + bytes(40)):
        path.write_bytes(content)
        with pytest.raises(FileError, match="x.npz: "):
            load(path)
    np.save(tmp_path / "x.npy", np.zeros((2, 2)))
    (tmp_path / "x.npy").rename(path)
    with pytest.raises(FileError, match="single array"):
        load(path)


def test_any_damage_of_an_npz_is_refused_or_harmless(tmp_path):
    whole = Path(save(tmp_path, **GOOD)).read_bytes()
    good = load(tmp_path / "d.npz")
    rng = np.random.default_rng(0)
    path = tmp_path / "broken.npz"
    for trial in range(300):
        broken = bytearray(whole)
        position = int(rng.integers(len(broken)))
        if trial % 3 == 0:
            broken = broken[:position]
        else:
            broken[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            data = load(path)
        except FileError:
            continue
        assert np.array_equal(data.X, good.X) and np.array_equal(data.y, good.y)
