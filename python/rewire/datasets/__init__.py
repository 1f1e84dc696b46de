"""Data sets by name, or from a file.

`digits` ships with the package; `fashion_mnist` and `madelon` are looked for on the machine, then
downloaded with a checksum; a path loads a NumPy archive or another file; `parts` takes many of them.
`_dataset.py` says what comes back, `_tables.py` what files there are, `_parts.py` which of them are read by
several processes, `_pattern.py` how the command line has them, `_locate.py` where data sets are looked for.
"""

import os

from rewire._checks import choice, integer
from rewire.datasets._dataset import Dataset, load_features, load_file
from rewire.datasets._hold_out import hold_out
from rewire.datasets._parts import parts
from rewire.datasets._tables import ARRAYS, TABLES, kind_of
from rewire.datasets.digits import load_digits
from rewire.datasets.fashion_mnist import load_fashion_mnist
from rewire.datasets.madelon import load_madelon

__all__ = ["FILES", "NAMES", "Dataset", "hold_out", "load", "load_features", "parts"]

_LOADERS = {"digits": load_digits, "fashion-mnist": load_fashion_mnist, "madelon": load_madelon}
NAMES = tuple(_LOADERS)
FILES = (".npz", *TABLES, *ARRAYS)  # what names of files end with that can be read


def load(
    name: str | os.PathLike[str],
    *,
    download: bool = True,
    targets: str = "auto",
    y: str | int | os.PathLike[str] | None = None,
) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    name : str or path-like
        ``"digits"``, ``"fashion-mnist"``, ``"madelon"``, or the path of an ``.npz`` file with arrays
        ``X`` and ``y`` and, if there is a test set, ``X_test`` and ``y_test``. ``X`` may be a SciPy CSR
        matrix, as `scipy.sparse.save_npz` stores it: ``numpy.savez(path, y=y, **numpy.load(path))`` adds
        the targets. An HDF5 file (``.h5``, ``.hdf5``; needs h5py) has data sets of the same names. Of a
        table, ``.csv`` or ``.tsv`` with a line of names or without, ``.parquet`` (needs pyarrow) or
        ``.npy``, all columns but that of y are features, in their order. Large arrays that lie in a ``.npz``,
        ``.npy`` or ``.h5`` file in one piece are mapped, and read in pieces when they are used; all else
        is read whole.
    download : bool, default True
        Whether the internet may be asked for a set that is not on this machine.
    targets : {"auto", "numbers", "classes"}
        How ``y`` of a file is read. By default vectors of integers, booleans or words are classes, tables of
        0 and 1 as integers or booleans are labels, of which a sample may have several, and all else is
        numbers of a regression. ``"numbers"`` takes integers for numbers too, ``"classes"`` floating-point
        numbers that are whole for classes.
    y : str, int or path-like, optional
        The column of a table that is y, by its name or its number, below 0 from the end; by default the last
        one. Of a ``.npy`` file also the path of another one.

    Returns
    -------
    Dataset
        Features as they are stored (uint8 images stay uint8).

    Raises
    ------
    ValueError
        For a name that is neither a data set nor the path of such a file; for a column that is not there,
        or is named where there is no table;
        `rewire.FileError`, a subclass, for a file that is corrupt or does not hold what it should.
    ImportError
        For a file whose package is not installed: ``pip install "rewire[data]"``.
    FileNotFoundError
        When the data is nowhere to be had; the message lists the places that were tried.

    Examples
    --------
    >>> import rewire as rw
    >>> data = rw.datasets.load("digits")
    >>> data.X.shape, data.X_test.shape, data.X.dtype
    ((1200, 64), (597, 64), dtype('uint8'))
    """
    if not isinstance(name, (str, os.PathLike)):
        raise TypeError(
            f"name must be a data set's name or the path of an .npz or other file, got {type(name).__name__}"
        )
    choice("targets", targets, ("auto", "numbers", "classes"))
    if isinstance(y, os.PathLike):
        y = os.fspath(y)
    elif y is not None and not isinstance(y, str):
        y = integer("y", y)
    text = os.fspath(name)
    if y is not None and (text in NAMES or kind_of(text) in (".npz", *ARRAYS)):
        raise ValueError(f"y names a column of a table, which {text!r} is not, got {y!r}")
    loader = _LOADERS.get(text)
    if loader is not None:
        return loader(download=download)
    if kind_of(text) in FILES:
        return load_file(text, targets, -1 if y is None else y)
    raise ValueError(
        f"name must be one of {', '.join(NAMES)} or the path of an .npz file, or of one that ends in "
        f"{', '.join(FILES[1:])}, got {text!r}"
    )
