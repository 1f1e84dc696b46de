"""Writing a file so that a crash leaves the old one or the new one, and the error for a file that is wrong.

A save goes to a temporary file in the same folder, is flushed to the disk, renamed over the target, and
the folder is flushed too: killed at any moment, the target holds the old content or the new one, never a
part of it. The temporary file is locked while it is written, so that the next save can tell an orphan
(its writer was killed, the lock went with it) from a save that another process has under way.
"""

import contextlib
import json
import math
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: no advisory locks, and none needed, for an open file cannot be removed there
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

_TAG = ".rewire-"


class FileError(ValueError):
    """A file is corrupt, unsafe or not what it was taken for.

    Attributes
    ----------
    path : str
        The file.
    reason : str
        What is wrong with it.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(os.fspath(path), reason)
        self.path = os.fspath(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def writable_target(path: str | os.PathLike[str]) -> Path:
    """The real file behind `path`, after checking that a file can be written there.

    Called before long work whose result will be saved, so that a typing error is reported in the first
    second.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        Naming the folder or the path.
    """
    target = Path(os.path.realpath(path))  # a link stays a link: what it points to is replaced
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {os.fspath(path)}: it is a folder, expected a file name")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {os.fspath(path)}: the folder {target.parent} does not exist")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(
            f"cannot write {os.fspath(path)}: no permission to create files in {target.parent}"
        )
    return target


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to; on leaving, put it in the place of `path`, all or nothing.

    Parameters
    ----------
    path : path-like
        The target. Its permissions are kept; a new file gets those of the umask.

    Yields
    ------
    pathlib.Path
        An empty file in the same folder. Rewrite it in place; do not replace it by another file.
    """
    target = writable_target(path)
    _remove_orphans(target)
    temporary, lock = _create(target)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    finally:
        os.close(lock)
    _fsync_folder(target.parent)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `content` as JSON, atomically; NaN and the infinities, which JSON has not, become null."""
    text = json.dumps(_finite(content), indent=2, allow_nan=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    """`value` with every float that JSON cannot say replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _create(target: Path) -> tuple[Path, int]:
    """A new temporary file beside `target` and the descriptor that holds its lock."""
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        mode = None
    while True:
        temporary = target.with_name(f".{target.name}{_TAG}{secrets.token_hex(6)}.tmp")
        try:
            lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
        except FileExistsError:
            continue
        if fcntl is None:
            os.close(lock)  # an open file could not be renamed there
            lock = os.open(os.devnull, os.O_RDONLY)
        else:
            with contextlib.suppress(
                OSError
            ):  # a file system without locks: orphans are then removed by hand
                fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink == 0:  # taken for an orphan between its creation and the lock
                os.close(lock)
                continue
            if mode is not None:
                os.fchmod(lock, mode)
        return temporary, lock


def _remove_orphans(target: Path) -> None:
    """Remove what killed saves of `target` have left."""
    prefix = f".{target.name}{_TAG}"
    for entry in os.scandir(target.parent):
        if not (entry.name.startswith(prefix) and entry.name.endswith(".tmp")):
            continue
        with contextlib.suppress(OSError):
            if fcntl is None:
                os.unlink(entry.path)
                continue
            descriptor = os.open(entry.path, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused: a save is under way
                os.unlink(entry.path)
            finally:
                os.close(descriptor)


def _fsync_folder(folder: Path) -> None:
    """Make the rename itself survive a power failure, where folders can be flushed."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(
            OSError
        ):  # some network file systems refuse; the data is on the disk already
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
