"""What every loader returns, and the loader of files: NumPy archives, and what `_tables.py` reads."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._fileio import FileError, foreign, open_regular
from rewire._foreign import ForeignAttributes
from rewire._record import record
from rewire._targets import is_whole
from rewire._warn import warn
from rewire.datasets._mapping import mapped_member
from rewire.datasets._tables import ARRAYS, TABLES, kind_of, read_hdf5, read_table
from rewire.streams.kinds import is_large

# More classes than both of these are hardly meant: so many, and so large a part of the samples.
MANY, PART = 50, 0.1
NUMBERS = (
    "if they are numbers to predict, store y as floating point, y.astype(float), or name a loss of numbers, "
    "such as --loss mse"
)

# What `scipy.sparse.save_npz` stores of any matrix, and of one in CSR.
_MATRIX = {"format", "shape", "data"}
_CSR = _MATRIX | {"indices", "indptr"}


@record
class Dataset(ForeignAttributes):
    """Features and targets, with a test set where there is one.

    Attributes
    ----------
    name : str
    X : ndarray or SciPy csr_array, shape (n, n_features)
        Training features, in the dtype they are stored in.
    y : ndarray of int64, shape (n,)
        Class numbers, positions in `classes`; for a regression the targets, float, (n,) or (n, n_targets);
        0-1 indicators (n, n_labels), integer or boolean, where a sample may have several labels.
    X_test, y_test : ndarray, csr_array or None
        The same for the test set.
    classes : tuple or None
        One name or label per class; None for a regression and for labels.
    feature_shape : tuple of int
        How the features of a sample are laid out: (28, 28) for an image, (500,) for a plain vector.
    source : str
        Where the data came from, in words.
    """

    name: str
    X: Any
    y: NDArray[Any]
    X_test: Any
    y_test: NDArray[Any] | None
    classes: tuple[Any, ...] | None
    feature_shape: tuple[int, ...]
    source: str

    def __repr__(self) -> str:
        test = "no test set" if self.X_test is None else f"{self.X_test.shape[0]} for the test"
        of = f" of {self.X.dtype}" if hasattr(self.X, "dtype") else ""  # each file has its own
        return (
            f"Dataset({self.name!r}: {self.X.shape[0]} samples, {test}, "
            f"{self.X.shape[1]} features{of}, {self.kind})"
        )

    @property
    def has_labels(self) -> bool:
        """Whether a sample may have several labels: y has columns of 0 and 1, integers or booleans."""
        y = self.y
        if self.classes is not None or y.ndim != 2 or y.dtype.kind not in "biu":
            return False
        return bool(y.max() <= 1 and y.min() >= 0)

    @property
    def kind(self) -> str:
        """What there is to predict, in words."""
        if self.classes is not None:
            return f"{len(self.classes)} classes"
        return f"{self.y.shape[1]} labels" if self.has_labels else "regression"


def load_features(path: str | os.PathLike[str], y: str | int = -1, width: int | None = None) -> Any:
    """``X_test`` of a file, or ``X`` where it has none: what to predict for. See `load_file`.

    A table of ``width`` columns, with none that is called ``y``, has features alone.
    """
    arrays, held = read_arrays(path, y, width)
    name = "X_test" if "X_test" in arrays else "X"
    if name not in arrays:
        raise lacks(path, "X", held)
    return _features(path, name, arrays[name])[0]


def load_file(path: str | os.PathLike[str], targets: str = "auto", y: str | int = -1) -> Dataset:
    """Read ``X``, ``y`` and, where present, ``X_test``, ``y_test`` from a NumPy archive or another file.

    Of a table, in CSV, Parquet or a single array of NumPy, ``y`` is a column, by its name or its number, the
    last one by default. An HDF5 file has data sets by the names of arrays.

    Features of more than one axis (images) are flattened; `Dataset.feature_shape` keeps their layout. For
    ``X`` there may be a CSR matrix, by the names under which `scipy.sparse.save_npz` stores its arrays.
    Integer, boolean or text targets are classes, numbered in sorted order, whether ``y`` is a vector or a
    column (n, 1); floating-point targets are a regression, and so are tables of integers, but those of 0 and
    1 alone, which are indicators of labels. With ``targets="numbers"`` integers are a regression, with
    ``"classes"`` floating-point numbers that are whole are classes. Nothing is ever unpickled. Features of
    more than 2^23 values that are not compressed are mapped, and read in pieces when they are used.

    Warns
    -----
    UserWarning
        For integers that are so many different ones that they may not be classes, unless ``targets`` says.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileError
        If it is not an archive, is damaged, lacks an array, or its arrays do not fit together.
    """
    arrays, held = read_arrays(path, y)
    for required in ("X", "y"):
        if required not in arrays:
            raise lacks(path, required, held)
    if ("X_test" in arrays) != ("y_test" in arrays):
        missing = "y_test" if "X_test" in arrays else "X_test"
        raise FileError(path, f"lacks the array {missing}: X_test and y_test come together")

    X, X_test, feature_shape = read_features(path, arrays)
    found, found_test, classes = read_targets(path, arrays["y"], arrays.get("y_test"), targets)
    refuse_lengths(path, X, found, X_test, found_test)
    return Dataset(name_of(path), X, found, X_test, found_test, classes, feature_shape, source_of(path))


def source_of(path: str | os.PathLike[str]) -> str:
    """Where data came from that lie in a file, in words."""
    kinds = {".npz": "NumPy archive", ".npy": "NumPy array", **dict.fromkeys(ARRAYS, "HDF5 file")}
    kind = kind_of(path)
    return f"{kinds.get(kind, f'{kind[1:].upper()} file')} {os.fspath(path)}"


def name_of(path: str | os.PathLike[str]) -> str:
    """What data are called that lie in a file."""
    return os.path.splitext(os.path.basename(path))[0]


def read_features(
    path: str | os.PathLike[str], arrays: dict[str, NDArray[Any]]
) -> tuple[Any, Any, tuple[int, ...]]:
    """``X``, ``X_test`` where there is one, and how the features of a sample are laid out."""
    X, feature_shape = _features(path, "X", arrays["X"])
    if "X_test" not in arrays:
        return X, None, feature_shape
    X_test, test_shape = _features(path, "X_test", arrays["X_test"])
    if test_shape != feature_shape:
        raise FileError(path, f"X has samples of shape {feature_shape}, X_test of shape {test_shape}")
    return X, X_test, feature_shape


def refuse_lengths(path: str | os.PathLike[str], X: Any, y: Any, X_test: Any, y_test: Any) -> None:
    """FileError for targets, where there are any, that are not as many as their samples."""
    for name, samples, values in (("", X, y), ("_test", X_test, y_test)):
        if samples is not None and values is not None and values.shape[:1] != (samples.shape[0],):
            count = len(values) if values.ndim else "no"
            raise FileError(path, f"X{name} has {samples.shape[0]} samples, y{name} has {count}")


def lacks(path: str | os.PathLike[str], name: str, held: list[str]) -> FileError:
    """The error for an array that is not there."""
    if name == "y" and _CSR <= set(held):
        return FileError(
            path,
            "lacks the array y beside its SciPy sparse matrix; numpy.savez(path, y=y, **numpy.load(path)) "
            "adds it",
        )
    return FileError(path, f"lacks the array {name}; it has {_listed(held)}")


def _listed(names: list[str]) -> str:
    """Names of arrays for a message, however many an archive holds."""
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "none"


def read_arrays(
    path: str | os.PathLike[str], y: str | int | None, width: int | None = None
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The arrays of a file that are ours to read, and the names of all; of a table see `read_table`."""
    kind = kind_of(path)
    if kind in TABLES:
        arrays = read_table(path, y, width)
        return arrays, list(arrays)
    return read_hdf5(path) if kind in ARRAYS else _read_archive(path)


def _read_archive(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], list[str]]:
    arrays: dict[str, NDArray[Any]] = {}
    with open_regular(path) as file:
        try:
            # NumPy would call anything else a pickle, and say how to load it all the same.
            if file.read(2) not in (b"PK", b"\x93N"):
                raise ValueError("it is neither .npz nor .npy")
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            held = list(getattr(archive, "files", ()))
            sparse = _CSR if "X" not in held and _MATRIX <= set(held) else set()
            names = [name for name in held if name in {"X", "y", "X_test", "y_test"} | sparse]
            for name in names:
                there = mapped_member(path, archive.zip, name)
                arrays[name] = archive[name] if there is None else there
        except Exception as error:  # damage shows as any of a dozen kinds, from zipfile, zlib and NumPy
            if isinstance(error, (TimeoutError, Warning)) or foreign(error):
                raise
            if "Object arrays" in str(error):
                raise FileError(path, _objects(next((n for n in names if n not in arrays), "y"))) from None
            raise FileError(path, f"is not a NumPy archive that can be read safely: {error}") from error
    if isinstance(archive, np.ndarray):
        raise FileError(path, "holds a single array; expected an .npz archive with X and y")
    if sparse:
        arrays["X"] = _csr(path, {name: arrays.pop(name) for name in sparse & arrays.keys()})
    return arrays, held


def _objects(name: str) -> str:
    """What to do about an array of objects: NumPy stores it as a pickle, which could run anything."""
    kind = "str) where it holds words, .astype(float" if name.startswith("y") else "float"
    return (
        f"{name} has dtype object, which is a pickle in a file, and none is ever loaded here (Object arrays "
        f"cannot be loaded safely): store {name}.astype({kind}) where it holds numbers"
    )


def _csr(path: str | os.PathLike[str], arrays: dict[str, NDArray[Any]]) -> Any:
    """The matrix whose arrays these are, checked through and through: what is done to it is done in C."""
    try:
        from scipy.sparse import csr_array
    except ImportError:
        raise FileError(path, "holds a SciPy sparse matrix, which takes SciPy to read") from None
    try:
        kind = arrays["format"].item()
        kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else kind
        if kind != "csr":  # others need other arrays, and their conversion to CSR does not check these
            raise FileError(
                path, f"holds a SciPy sparse matrix, whose format must be csr, got {kind!r}; see tocsr"
            )
        found = csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=arrays["shape"])
        found.check_format(full_check=True)
    except FileError:
        raise
    except Exception as error:  # what SciPy and NumPy say of arrays that are no matrix is of many kinds
        raise FileError(path, f"does not hold a valid SciPy sparse matrix: {error}") from error
    return found


def _unfinite(path: Any, name: str, *at: Any) -> FileError:
    """What to raise for NaN or infinity at this place."""
    return FileError(path, f"{name} holds NaN or infinity, first in sample {', column '.join(map(str, at))}")


def _features(path: Any, name: str, array: Any) -> tuple[Any, tuple[int, ...]]:
    if array.dtype.kind not in "buif":
        raise FileError(path, f"{name} must hold numbers, got dtype {array.dtype}")
    if array.ndim < 2 or 0 in array.shape:
        raise FileError(path, f"{name} must have shape (n, n_features) without a zero, got {array.shape}")
    if hasattr(array, "tocsr"):
        if not np.isfinite(array.data).all():
            at = int(np.argmin(np.isfinite(array.data)))
            row = int(np.searchsorted(array.indptr, at, side="right")) - 1
            raise _unfinite(path, name, row, array.indices[at])
        return array, array.shape[1:]
    if is_large(array.reshape(len(array), -1)):  # looked at when it is read, in pieces
        return array.reshape(len(array), -1), array.shape[1:]
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _unfinite(path, name, *np.argwhere(~np.isfinite(array.reshape(len(array), -1)))[0])
    return np.ascontiguousarray(array.reshape(len(array), -1)), array.shape[1:]


def read_targets(
    path: Any, y: NDArray[Any], y_test: NDArray[Any] | None, read: str
) -> tuple[NDArray[Any], NDArray[Any] | None, tuple[Any, ...] | None]:
    """Targets as a data set has them, those of the test set, and the classes, if they are such."""
    y = _plain_targets(path, "y", y, read)
    if y_test is not None:
        y_test = _plain_targets(path, "y_test", y_test, read)
        if (y.dtype.kind == "f") != (y_test.dtype.kind == "f") or y_test.shape[1:] != y.shape[1:]:
            raise FileError(
                path, f"y is {y.dtype} of shape {y.shape}, y_test {y_test.dtype} of shape {y_test.shape}"
            )
    if y.dtype.kind == "f" or y.ndim == 2:
        return y, y_test, None
    classes, numbers = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise FileError(path, f"y holds one class only ({classes.tolist()}); expected at least two")
    if y_test is not None:
        unknown = np.setdiff1d(y_test, classes)
        if unknown.size:
            raise FileError(path, unknown_classes(y, unknown))
        y_test = np.searchsorted(classes, y_test).astype(np.int64)
    if read == "auto":
        warn_of_many(y, len(classes))
    return numbers.reshape(-1).astype(np.int64), y_test, tuple(classes.tolist())


def _plain_targets(path: Any, name: str, y: NDArray[Any], read: str) -> NDArray[Any]:
    """A vector of labels, floating-point numbers, or 0-1 indicators (n, n_labels) of integers or booleans."""
    whole = y.dtype.kind in "biu"
    if y.ndim not in (1, 2) or 0 in y.shape or not (whole or y.dtype.kind in "fUS"):
        raise FileError(
            path,
            f"{name} must be a vector of class labels, an array of numbers, or 0-1 indicators of labels "
            f"(n, n_labels), got shape {y.shape} of {y.dtype}",
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise _unfinite(path, name, *np.argwhere(~np.isfinite(y))[0])
    if y.dtype.kind != "f" and y.ndim == 2 and y.shape[1] == 1:
        y = y.ravel()
    if y.dtype.kind == "S":
        try:
            y = np.char.decode(y, "utf-8")
        except UnicodeDecodeError as error:
            raise FileError(path, f"{name} holds bytes that are no text in UTF-8: {error}") from None
    if y.dtype.kind == "U" and y.ndim == 2:
        raise FileError(path, f"{name} must be a vector where it holds words, got shape {y.shape}")
    if whole and (read == "numbers" or (y.ndim == 2 and not ((y == 0) | (y == 1)).all())):
        return y.astype(np.float64)
    if read == "classes" and y.dtype.kind == "f" and y.size == len(y) and is_whole(y):
        return y.ravel().astype(np.int64)
    return y


def unknown_classes(y: NDArray[Any], unknown: NDArray[Any]) -> str:
    """What an error says of classes that are in a test set alone."""
    more = f" (nor {len(unknown) - 1} others of it)" if len(unknown) > 1 else ""
    words = f"y_test holds the class {unknown.tolist()[0]!r}, which y has not{more}"
    if y.dtype.kind in "iu":
        words += f": {NUMBERS}; a class needs samples to learn it from"
    return words


def warn_of_many(y: NDArray[Any], classes: int) -> None:
    """Warn of integers that may be counts or measurements, taken for classes."""
    if y.dtype.kind in "iu" and classes > MANY and classes > PART * len(y):
        words = f"y holds {classes} different integers in {len(y)} samples, taken for classes: {NUMBERS}"
        warn(words, UserWarning)
