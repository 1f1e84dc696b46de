"""Writing a file so that a crash leaves the old one or the new one, and the error for a file that is wrong.

A save goes to a temporary file in the same folder, is flushed to the disk, renamed over the target, and
the folder is flushed too: killed at any moment, the target holds the old content or the new one, never a
part of it. The temporary file is locked while it is written, so that the next save can tell an orphan
(its writer was killed, the lock went with it) from a save that another process has under way.

What exists and is no regular file is never replaced. Text goes straight into a device or a pipe, so that
``--json /dev/stdout`` is what one expects; a network cannot be saved there. Nothing but a regular file is
read, for a pipe would be waited for.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import stat
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn, TextIO

from rewire._checks import printable
from rewire._signals import of_handler

try:
    import fcntl
except ImportError:  # Windows: no advisory locks, and none needed, for an open file cannot be removed there
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

_TAG = ".rewire-"
_LONG_NAME = 100  # bytes; names of temporary files hold no longer one, so that they fit wherever names do
_KINDS = {
    stat.S_IFDIR: "folder", stat.S_IFCHR: "device", stat.S_IFBLK: "block device", stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
}  # fmt: skip
_STREAMS = (stat.S_IFCHR, stat.S_IFIFO)  # what text can be written to without replacing it


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
        return f"{printable(self.path)}: {printable(self.reason)}"  # both may come from a stranger


def foreign(error: BaseException) -> bool:
    """Whether a signal handler raised it, or its class is none of Python's, NumPy's or ours.

    While a file is read, only a signal handler of the user's raises such a class, and what it raises is no
    fault of the file. Frames outside of rewire alone do not tell: rules and callbacks of the user's refuse
    what a file holds as well.
    """
    if of_handler(error):
        return True
    top = type(error).__module__.partition(".")[0]
    return not (top in sys.stdlib_module_names or top in ("numpy", "rewire"))


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading; whatever else is there is refused, not waited for.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
    FileError
        If it is a device, a pipe or a socket.
    """
    try:
        _refuse_kind(path, os.stat(path).st_mode)
        # The file may have become a pipe since: not to wait is decided by the open itself.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {printable(os.fspath(path))}") from None
    file = os.fdopen(descriptor, "rb")
    try:
        _refuse_kind(path, os.fstat(descriptor).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "special file")


def _refuse_kind(path: str | os.PathLike[str], mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{printable(os.fspath(path))} is a folder, expected a file")
    if not stat.S_ISREG(mode):
        raise FileError(path, f"is a {_kind(mode)}, expected a regular file")


def writable_target(path: str | os.PathLike[str], *, text: bool = False) -> str:
    """The real file behind `path`, after checking that a file can be written there.

    Called before long work whose result will be saved, so that a typing error, a name that is too long or a
    read-only file system is reported in the first second: a temporary file is made there and removed.

    Parameters
    ----------
    path : path-like
    text : bool
        Whether `write_text` will write it, which can write to devices and pipes as well.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError, OSError
        Naming the folder or the path.
    """
    if text and is_stream(path):
        if _descriptor(path) is None and not os.access(path, os.W_OK):
            _refuse(path, PermissionError, "no permission")
        return os.fspath(path)
    target = _target(path)
    try:
        temporary, lock = _create(target)
        os.close(lock)
        os.unlink(temporary)
    except OSError as error:
        _refuse(path, type(error), error.strerror or str(error))
    return target


def _target(path: str | os.PathLike[str]) -> str:
    """The real file behind `path`, which exists as a regular file or not at all."""
    if not os.fspath(path):  # `realpath` takes it for the folder we are in
        raise FileNotFoundError("cannot write: the file name is empty")
    target = os.path.realpath(path)  # a link stays a link: what it points to is replaced
    parent = os.path.dirname(target)
    try:
        # Of `path`, not of `target`: the name behind /dev/stdout may be that of no file.
        found = os.stat(path)
    except FileNotFoundError:
        found = None
    except NotADirectoryError:
        _refuse(path, FileNotFoundError, f"the folder {parent} does not exist")
    except OSError as error:
        words = "its name is too long" if error.errno == errno.ENAMETOOLONG else error.strerror
        _refuse(path, type(error), words or str(error))
    if found is not None and stat.S_ISDIR(found.st_mode):
        _refuse(path, IsADirectoryError, "it is a folder, expected a file name")
    if found is not None and not stat.S_ISREG(found.st_mode):
        _refuse(path, OSError, f"it is a {_kind(found.st_mode)}, expected a regular file or a new name")
    if found is None and os.path.basename(path) in ("", ".", ".."):  # `realpath` forgets what follows a name
        _refuse(path, FileNotFoundError, "there is no such folder, expected a file name")
    if not os.path.isdir(parent):
        _refuse(path, FileNotFoundError, f"the folder {parent} does not exist")
    if not os.access(parent, os.W_OK | os.X_OK):
        _refuse(path, PermissionError, f"no permission to create files in {parent}")
    folder = os.stat(parent)
    if found is not None and folder.st_mode & stat.S_ISVTX and hasattr(os, "geteuid"):
        if os.geteuid() not in (0, found.st_uid, folder.st_uid):  # as in /tmp
            _refuse(path, PermissionError, f"{target} belongs to somebody else")
    return target


def _refuse(path: str | os.PathLike[str], kind: type[OSError], words: str) -> NoReturn:
    raise kind(printable(f"cannot write {os.fspath(path)}: {words}"))


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether text written to `path` goes to a device, a pipe or an open descriptor: nothing to replace."""
    if _descriptor(path) is not None:
        return True
    try:
        return stat.S_IFMT(os.stat(path).st_mode) in _STREAMS
    except OSError:
        return False


def is_standard_output(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a name of descriptor 1, as /dev/stdout is."""
    return _descriptor(path) == 1


def _descriptor(path: str | os.PathLike[str]) -> int | None:
    """The open descriptor that `path` is a name of, as /dev/stdout and /dev/fd/3 are."""
    own = (f"/proc/{os.getpid()}/fd", "/dev/fd")
    step = os.fspath(path)
    for _ in range(40):  # as many links as the kernel follows
        folder, name = os.path.split(os.path.abspath(step))
        folder = os.path.realpath(folder)
        if folder in own and name.isdigit():
            return int(name)
        try:
            step = os.path.join(folder, os.readlink(os.path.join(folder, name)))
        except OSError:
            return None
    return None


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give a temporary path to write to; on leaving, put it in the place of `path`, all or nothing.

    Parameters
    ----------
    path : path-like
        The target: a regular file, or none yet. Its permissions are kept, but not setuid and its likes; a
        new file gets those of the umask.

    Yields
    ------
    str
        The path of an empty file in the same folder. Rewrite it in place; do not replace it by another file.

    Raises
    ------
    OSError
        From the disk, or as `writable_target` refuses; the old file is then untouched.
    """
    target = _target(path)
    _remove_orphans(target)
    temporary, lock = _create(target)
    try:
        with _named(path):
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
        mode = _mode(target)
        if mode is not None and fcntl is not None:  # elsewhere `lock` is not the file's
            os.fchmod(lock, mode)  # only now, for it may forbid to write
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        os.close(lock)
    _fsync_folder(os.path.dirname(target))


@contextlib.contextmanager
def write_text(path: str | os.PathLike[str], *, newline: str | None = None) -> Iterator[TextIO]:
    """Give a text file to write to, UTF-8: a file is replaced all or nothing, a stream is written into.

    Parameters
    ----------
    path : path-like
        A file as for `atomic_write`, or a device, a pipe or an open descriptor (/dev/stdout).
    newline : str, optional
        As for `open`.

    Raises
    ------
    OSError
        If it cannot be written whole: a full disk or device too.
    """
    if not is_stream(path):
        with atomic_write(path) as temporary, open(temporary, "w", newline=newline, encoding="utf-8") as file:
            yield file
        return
    number = _descriptor(path)
    with _named(path):
        if number is None:
            descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
        else:
            sys.stdout.flush()  # what has been printed stands before this
            descriptor = os.dup(number)
        with os.fdopen(descriptor, "w", newline=newline, encoding="utf-8") as file:
            yield file


@contextlib.contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let an error of the system that names no file, as of a full disk, name this one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None and not of_handler(error):
            error.filename = os.fspath(path)
        raise


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `content` as JSON by `write_text`; NaN and the infinities, which JSON has not, become null."""
    text = json.dumps(_finite(content), indent=2, allow_nan=False)
    with write_text(path) as file:
        file.write(text + "\n")


def json_line(content: Any) -> str:
    """`content` as JSON in one line with its end; NaN and the infinities become null."""
    return json.dumps(_finite(content), allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """`value` with every float that JSON cannot say replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _create(target: str) -> tuple[str, int]:
    """A new temporary file beside `target` and the descriptor that holds its lock."""
    mode = _mode(target)
    secret = 0o666 if mode is None else mode & 0o666 | 0o600  # never more open than the file it replaces
    while True:
        temporary = os.path.join(os.path.dirname(target), f"{_prefix(target)}{os.urandom(6).hex()}.tmp")
        try:
            lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, secret)
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
        return temporary, lock


def _mode(target: str) -> int | None:
    """Permissions of what is there, without setuid and its likes, which were given to another content."""
    try:
        return os.stat(target).st_mode & 0o777
    except FileNotFoundError:
        return None


def _prefix(target: str) -> str:
    """How the names of temporary files for `target` begin."""
    name = os.path.basename(target)
    encoded = os.fsencode(name)
    short = name if len(encoded) <= _LONG_NAME else hashlib.blake2b(encoded, digest_size=16).hexdigest()
    return f".{short}{_TAG}"


def _remove_orphans(target: str) -> None:
    """Remove what killed saves of `target` have left."""
    ours = re.compile(re.escape(_prefix(target)) + r"[0-9a-f]{12}\.tmp")
    for entry in os.scandir(os.path.dirname(target)):
        if not (ours.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)):
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


def _fsync_folder(folder: str) -> None:
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
