"""Fashion-MNIST: 70,000 grey pictures of clothing, 28 x 28, ten classes (Xiao, Rasul, Vollgraf, 2017)."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._fileio import FileError
from rewire.datasets import _locate
from rewire.datasets._dataset import Dataset, load_file
from rewire.datasets._idx import decompress, parse_idx, read_idx

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

_PARTS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_AXES = (3, 1, 3, 1)
_SERVERS = (
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",  # without https
)
_SIZES = (16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000)  # bytes of each part, unpacked
# Of the content without its gzip layer: archives are repacked now and then, the images never change.
_SHA256 = (
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
DOWNLOADS = tuple(
    _locate.Download(f"{part}.gz", tuple(f"{server}/{part}.gz" for server in _SERVERS), sha256, 1 << 25, size)
    for part, sha256, size in zip(_PARTS, _SHA256, _SIZES, strict=True)
)


def load_fashion_mnist(*, download: bool = True) -> Dataset:
    """60,000 images to train on and 10,000 to test on, uint8.

    Looked for, in this order: ``$REWIRE_DATA`` (``fashion-mnist.npz``, or the four idx files, plain or
    ``.gz``, there or in its folder ``fashion-mnist``), Debian's package ``dataset-fashion-mnist``, the
    cache and the internet.

    Raises
    ------
    FileNotFoundError
        When none of them has it, saying what was tried.
    FileError
        When a file is there and is damaged.
    """
    names = [(f"{part}.gz", part) for part in _PARTS]
    folder = _locate.data_folder()
    if folder is None:
        tried = ["$REWIRE_DATA: not set"]
    else:
        archive = folder / "fashion-mnist.npz"
        if archive.is_file():
            return _from_archive(archive)
        paths = _locate.find_all([folder / "fashion-mnist", folder], names)
        if paths is not None:
            return _from_idx(paths, f"$REWIRE_DATA, {paths[0].parent}")
        tried = [f"$REWIRE_DATA: neither fashion-mnist.npz nor all of {', '.join(_PARTS)} in {folder}"]

    paths = _locate.find_all([DEBIAN_FOLDER], names)
    if paths is not None:
        return _from_idx(paths, f"Debian's package dataset-fashion-mnist, {DEBIAN_FOLDER}")
    tried.append(f"Debian's package dataset-fashion-mnist: no {DEBIAN_FOLDER}")

    try:
        files = _locate.fetch_all("fashion-mnist", DOWNLOADS, decompress, download=download)
    except OSError as error:
        tried.append(f"download: {error}")
        raise _locate.not_found(
            "fashion-mnist", tried, "On Debian and Ubuntu: apt-get install dataset-fashion-mnist"
        ) from None
    paths = [path for path, _ in files]
    arrays = [parse_idx(content, path, n_axes) for (path, content), n_axes in zip(files, _AXES, strict=True)]
    return _from_arrays(paths, arrays, f"download, {paths[0].parent}")


def _from_idx(paths: list[Path], source: str) -> Dataset:
    arrays = [read_idx(path, n_axes, size) for path, n_axes, size in zip(paths, _AXES, _SIZES, strict=True)]
    return _from_arrays(paths, arrays, source)


def _from_arrays(paths: list[Path], arrays: list[NDArray[np.uint8]], source: str) -> Dataset:
    images, labels, test_images, test_labels = arrays
    X, y = _check(paths[0], paths[1], images, labels)
    X_test, y_test = _check(paths[2], paths[3], test_images, test_labels)
    return Dataset("fashion-mnist", X, y, X_test, y_test, CLASSES, (28, 28), source)


def _check(
    images_path: Path, labels_path: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if images.shape[1:] != (28, 28):
        raise FileError(
            images_path, f"holds images of {images.shape[1]} x {images.shape[2]} pixels, expected 28 x 28"
        )
    if len(images) != len(labels):
        raise FileError(labels_path, f"holds {len(labels)} labels for {len(images)} images")
    if labels.size == 0:
        raise FileError(labels_path, "is empty")
    if labels.max() >= len(CLASSES):
        raise FileError(labels_path, f"holds the label {labels.max()}, expected 0 to 9")
    return images.reshape(len(images), -1), labels.astype(np.int64)


def _from_archive(path: Path) -> Dataset:
    data = load_file(path)
    shapes: list[Any] = [data.X.shape[1], len(data.classes or ()), data.X_test is not None]
    if shapes != [784, 10, True]:
        raise FileError(path, "is not Fashion-MNIST: expected 784 features, ten classes and a test set")
    return Dataset(
        "fashion-mnist", data.X, data.y, data.X_test, data.y_test, CLASSES, (28, 28), f"$REWIRE_DATA, {path}"
    )
