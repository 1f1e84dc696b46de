"""Madelon: 500 features of which 20 matter, two classes (I. Guyon, NIPS 2003 feature selection challenge).

The labels of the challenge's own test set were never published with it, so the validation set serves as
test set, as in the literature.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewire._fileio import FileError, open_regular
from rewire.datasets import _locate
from rewire.datasets._dataset import Dataset

_SERVER = "https://archive.ics.uci.edu/ml/machine-learning-databases/madelon"
_FILES = (
    ("madelon_train.data", "MADELON/", "0b6e37711efdc7ab74250c51e7d6966bffd9f8f2b0e9971e882c3a7a380c2314"),
    ("madelon_train.labels", "MADELON/", "10bffcc3b017467cb810d326b931951adcbde2b4870faf981da2991993b48689"),
    ("madelon_valid.data", "MADELON/", "cb9a46475147de1a58d9f15ef4c318e5b85de344e0f9ab92626fa446aa815dc9"),
    ("madelon_valid.labels", "", "1aa311db914031ce44fc1dcf00fe4a0c31becb6c5c4e809db7fec13eead58fcc"),
)
_LIMIT = 1 << 23  # bytes of any of them
DOWNLOADS = tuple(
    _locate.Download(name, (f"{_SERVER}/{folder}{name}",), sha256, _LIMIT, _LIMIT)
    for name, folder, sha256 in _FILES
)
N_FEATURES = 500


def load_madelon(*, download: bool = True) -> Dataset:
    """2,000 samples to train on and 600 to test on, int16, 500 features.

    Looked for, in this order: ``$REWIRE_DATA`` (the four text files of the challenge, there or in its folder
    ``madelon``), the cache and the internet. There is no Debian package.

    Raises
    ------
    FileNotFoundError
        When none of them has it, saying what was tried.
    FileError
        When a file is there and is damaged.
    """
    names = [(name,) for name, _, _ in _FILES]
    folder = _locate.data_folder()
    if folder is None:
        tried = ["$REWIRE_DATA: not set"]
    else:
        paths = _locate.find_all([folder / "madelon", folder], names)
        if paths is not None:
            return _from_text([_read(path) for path in paths], f"$REWIRE_DATA, {paths[0].parent}")
        tried = [f"$REWIRE_DATA: not all of {', '.join(name for name, _, _ in _FILES)} in {folder}"]
    tried.append("a Debian package: there is none")
    try:
        files = _locate.fetch_all("madelon", DOWNLOADS, lambda content, *_: content, download=download)
    except OSError as error:
        tried.append(f"download: {error}")
        raise _locate.not_found(
            "madelon", tried, "Put its four files into a folder and name it in REWIRE_DATA."
        ) from None
    return _from_text(files, f"download, {files[0][0].parent}")


def _read(path: Path) -> tuple[Path, bytes]:
    with open_regular(path) as file:
        content = file.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise FileError(path, f"is longer than {_LIMIT} bytes, so it is not of Madelon")
    return path, content


def _from_text(files: list[tuple[Path, bytes]], source: str) -> Dataset:
    X, y = _pair(files[0], files[1])
    X_test, y_test = _pair(files[2], files[3])
    return Dataset("madelon", X, y, X_test, y_test, ("-1", "1"), (N_FEATURES,), source)


def _pair(
    data: tuple[Path, bytes], answers: tuple[Path, bytes]
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    (data_path, text), (labels_path, labels_text) = data, answers
    features, labels = _integers(data_path, text), _integers(labels_path, labels_text)
    if labels.size == 0:
        raise FileError(labels_path, "is empty")
    if not np.isin(labels, (-1, 1)).all():
        raise FileError(labels_path, "holds labels other than -1 and 1")
    if features.size != labels.size * N_FEATURES:
        raise FileError(
            data_path,
            f"holds {features.size} numbers; {labels.size} samples of {N_FEATURES} features were expected",
        )
    return features.reshape(-1, N_FEATURES), (labels > 0).astype(np.int64)


def _integers(path: Path, text: bytes) -> NDArray[np.int16]:
    try:
        return np.array(text.split(), dtype=np.int16)
    except (ValueError, OverflowError) as error:
        raise FileError(path, f"holds something that is not a small whole number: {error}") from error
