"""Where the files of a data set are looked for: $REWIRE_DATA, a system package, the cache, the internet."""

import contextlib
import hashlib
import http.client
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from rewire._checks import printable
from rewire._fileio import FileError, atomic_write, open_regular
from rewire._record import record

TIMEOUT = 10.0  # seconds without a byte after which a server counts as out of reach
PATIENCE = 30.0  # seconds for a whole file, and so many more as it takes at
SLOWEST = 20_000.0  # bytes a second


@record
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
    size : int
        Bytes of the content after `decode`; no more are unpacked.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    limit: int
    size: int


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
    name: str, files: Sequence[Download], decode: Callable[[bytes, str, int], bytes], *, download: bool
) -> list[tuple[Path, bytes]]:
    """The cached copies of `files`, downloaded first where they are missing or not what they were.

    Parameters
    ----------
    name : str
        The data set, a folder of the cache.
    files : sequence of Download
    decode : callable
        From the bytes of a file, its name and the number of bytes to expect at most to the content whose
        checksum is known.
    download : bool
        False: only what is in the cache.

    Returns
    -------
    list of (Path, bytes)
        Each file and its content, decoded; the checksum is that of these very bytes.

    Raises
    ------
    OSError
        If a file cannot be had; one line per server that was tried.
    """
    folder = cache_folder() / name
    found = {file.name: _cached(folder / file.name, file, decode) for file in files}
    bad = [error for error in found.values() if isinstance(error, FileError)]
    if not download and not all(isinstance(content, bytes) for content in found.values()):
        raise OSError(f"{bad[0] if bad else f'not in the cache {folder}'}, and downloading was not allowed")
    for file in files:
        if isinstance(found[file.name], bytes):
            continue
        content, found[file.name] = _fetch(file, decode)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / file.name) as temporary, open(temporary, "wb") as written:
            written.write(content)
    return [(folder / name, content) for name, content in found.items() if isinstance(content, bytes)]


def _cached(
    path: Path, file: Download, decode: Callable[[bytes, str, int], bytes]
) -> bytes | FileError | None:
    """The content of a copy in the cache; why it is not the file that was expected; None without a copy."""
    try:
        with open_regular(path) as copy:
            return _verified(copy.read(file.limit + 1), file, str(path), decode)
    except FileNotFoundError:
        return None
    except FileError as error:
        return error


def _verified(
    content: bytes, file: Download, where: str, decode: Callable[[bytes, str, int], bytes]
) -> bytes:
    """`content` decoded, after it has turned out to be that of `file`."""
    if len(content) > file.limit:
        raise FileError(where, f"is longer than {file.limit} bytes, so it is not {file.name}")
    decoded = decode(content, where, file.size)
    found = hashlib.sha256(decoded).hexdigest()
    if found != file.sha256:
        raise FileError(where, f"has the checksum {found[:16]}..., expected {file.sha256[:16]}...")
    return decoded


def _fetch(file: Download, decode: Callable[[bytes, str, int], bytes]) -> tuple[bytes, bytes]:
    """The file as it came, and decoded, from the first server that has it."""
    failures = []
    for url in file.urls:
        try:
            content = _Transfer(url, file.limit).wait()
            return content, _verified(content, file, url, decode)
        except FileError as error:
            failures.append(str(error))
        except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
            failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
    raise OSError(printable("; ".join(failures)))


class _Transfer(threading.Thread):
    """One answer of a server, read in a thread of its own.

    A server that sends a byte now and then keeps every timeout of a socket from running out; who waits for
    a thread can leave.
    """

    def __init__(self, url: str, limit: int) -> None:
        super().__init__(daemon=True)
        self.url, self.limit = url, limit
        self.received = bytearray()
        self.error: Exception | None = None
        self.left = False

    def run(self) -> None:
        try:
            with contextlib.closing(urllib.request.urlopen(self.url, timeout=TIMEOUT)) as answer:
                while not self.left and len(self.received) <= self.limit and (piece := answer.read1(1 << 16)):
                    self.received += piece
        except Exception as error:  # goes on in the thread that waits
            self.error = error

    def wait(self) -> bytes:
        """All bytes, or a few more than the limit; OSError if they come too slowly."""
        begin = time.monotonic()
        self.start()
        while self.is_alive():
            self.join(0.02)
            if time.monotonic() - begin > PATIENCE + len(self.received) / SLOWEST:
                self.left = True
                raise OSError(f"is too slow: {len(self.received)} bytes in {PATIENCE:g} seconds or more")
        if self.error is not None:
            raise self.error
        return bytes(self.received)


def not_found(name: str, tried: Sequence[str], hint: str) -> FileNotFoundError:
    """The error for a data set that is nowhere, listing what was tried."""
    attempts = "; ".join(f"({number}) {attempt}" for number, attempt in enumerate(tried, 1))
    return FileNotFoundError(f"{name} was not found. Tried {attempts}. {hint}")
