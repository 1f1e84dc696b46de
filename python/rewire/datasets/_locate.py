"""Where the files of a data set are looked for: $REWIRE_DATA, a system package, the cache, the internet."""

import contextlib
import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewire._fileio import FileError, atomic_write

TIMEOUT = 10.0  # seconds without a byte after which a server counts as out of reach


@dataclass(frozen=True)
class Download:
    """One file on the internet.

    Attributes
    ----------
    name : str
        The file's name in the cache.
    urls : tuple of str
        The same file on several servers, tried in order.
    sha256 : str
        Of the content after `decode`.
    limit : int
        Bytes after which the transfer is given up as not being this file.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    limit: int


def data_folder() -> Path | None:
    """The folder named by ``REWIRE_DATA``, None if the variable is unset or empty.

    Raises
    ------
    FileNotFoundError
        If it names something that is not a folder.
    """
    value = os.environ.get("REWIRE_DATA", "")
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"REWIRE_DATA is {value}, which is not a folder")
    return folder


def cache_folder() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME/rewire``, by default ``~/.cache/rewire``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "rewire"


def find_all(folders: Sequence[Path], names: Sequence[Sequence[str]]) -> list[Path] | None:
    """The first folder's files that make the set complete.

    Parameters
    ----------
    folders : sequence of Path
        Tried in order.
    names : sequence of sequence of str
        For every file its possible names, best first.

    Returns
    -------
    list of Path or None
        One path per entry of `names`, all from one folder; None when no folder has them all.
    """
    for folder in folders:
        found = [next((folder / n for n in options if (folder / n).is_file()), None) for options in names]
        if all(path is not None for path in found):
            return found  # type: ignore[return-value]
    return None


def fetch_all(
    name: str, files: Sequence[Download], decode: Callable[[bytes, str], bytes], *, download: bool
) -> list[Path]:
    """The cached copies of `files`, downloaded first where they are missing.

    Parameters
    ----------
    name : str
        The data set, a folder of the cache.
    files : sequence of Download
    decode : callable
        From the bytes of a file and its name to the content whose checksum is known.
    download : bool
        False: only what is in the cache.

    Raises
    ------
    OSError
        If a file cannot be had; one line per server that was tried.
    """
    folder = cache_folder() / name
    missing = [file for file in files if not (folder / file.name).is_file()]
    if missing and not download:
        raise OSError(f"not in the cache {folder}, and downloading was not allowed")
    for file in missing:
        content = _fetch(file, decode)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / file.name) as temporary:
            temporary.write_bytes(content)
    return [folder / file.name for file in files]


def _fetch(file: Download, decode: Callable[[bytes, str], bytes]) -> bytes:
    failures = []
    for url in file.urls:
        try:
            with contextlib.closing(urllib.request.urlopen(url, timeout=TIMEOUT)) as answer:
                content = answer.read(file.limit + 1)
            if len(content) > file.limit:
                raise FileError(url, f"is longer than {file.limit} bytes, so it is not {file.name}")
            found = hashlib.sha256(decode(content, url)).hexdigest()
            if found != file.sha256:
                raise FileError(url, f"has the checksum {found[:16]}..., expected {file.sha256[:16]}...")
            return content
        except FileError as error:
            failures.append(str(error))
        except (urllib.error.URLError, OSError) as error:
            failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
    raise OSError("; ".join(failures))


def not_found(name: str, tried: Sequence[str], hint: str) -> FileNotFoundError:
    """The error for a data set that is nowhere, listing what was tried."""
    attempts = "; ".join(f"({number}) {attempt}" for number, attempt in enumerate(tried, 1))
    return FileNotFoundError(f"{name} was not found. Tried {attempts}. {hint}")
