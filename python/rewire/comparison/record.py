"""The file that a comparison goes on from: JSON lines, the first of which says what was asked.

Every line is whole on the disk before the next run begins. A last line that was cut off, by a kill or a power
failure, is as if it had not been written. Later lines of a run take the place of earlier ones.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

from rewire._checks import describe
from rewire._fileio import FileError, atomic_write, json_line, open_regular, writable_target

try:
    import fcntl
except ImportError:  # Windows: nothing keeps a second comparison from the same file
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

__all__ = ["Record", "read_record"]

FORMAT = "rewire comparison 1"
_KINDS = ("asked", "contender", "measured", "run")


class Record:
    """What was found so far, and where more is added.

    Parameters
    ----------
    path : str
        A file that is made, or one that was.
    asked : dict
        What must be equal for runs to stand in one table.

    Attributes
    ----------
    contenders, measured : dict of str to dict
        By name of the contender: its description, its measurement.
    runs : dict of (str, int) to dict
        By contender and seed.

    Raises
    ------
    FileError
        If the file is none of a comparison, or of one that asked something else.
    OSError
        If it cannot be written, or another process is writing it.
    """

    def __init__(self, path: str, asked: Mapping[str, Any]) -> None:
        self.path = path
        asked = json.loads(json_line(asked))
        writable_target(path)
        if not os.path.exists(path) or os.path.getsize(path) == 0:
            with atomic_write(path) as temporary, open(temporary, "w") as file:
                file.write(json_line({"format": FORMAT, "asked": asked}))
        self._file = open(path, "r+b")
        try:
            self._lock()
            lines, end = _lines(path, self._file)
            found = _sorted(path, lines)
            _compare(path, "", found["asked"], asked)
            self._file.seek(end)
            self._file.truncate()  # only now, for until now it may have been a file of somebody else's
        except BaseException:
            self._file.close()
            raise
        self.contenders, self.measured, self.runs = found["contenders"], found["measured"], found["runs"]

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"cannot write {self.path}: another comparison is writing it") from None
        except OSError:  # a file system without locks
            pass

    def close(self) -> None:
        """Nothing more comes."""
        self._file.close()

    def add_contender(self, name: str, description: Mapping[str, Any]) -> None:
        """Take in a contender, or see that it is the one that has this name in the file."""
        said = json.loads(json_line(description))
        if name in self.contenders:
            _compare(self.path, f"contender {name!r} ", self.contenders[name], said)
            return
        self.contenders[name] = said
        self._add({"contender": name, "options": said})

    def add_measured(self, name: str, found: Mapping[str, Any]) -> None:
        """Seconds an epoch, and the epochs that follow."""
        self.measured[name] = dict(found)
        self._add({"measured": name, **found})

    def add_run(self, name: str, row: Mapping[str, Any]) -> None:
        """One run is done."""
        self.runs[name, row["seed"]] = dict(row)
        self._add({"run": name, **row})

    def _add(self, content: Mapping[str, Any]) -> None:
        self._file.write(json_line(content).encode())
        self._file.flush()
        with contextlib.suppress(OSError):  # some file systems cannot
            os.fsync(self._file.fileno())


def read_record(path: str) -> dict[str, Any]:
    """What a file holds: ``asked``, ``contenders``, ``measured``, ``runs``.

    Raises
    ------
    FileNotFoundError, FileError
    """
    with open_regular(path) as file:
        lines, _ = _lines(path, file)
    return _sorted(path, lines)


def _lines(path: str, file: BinaryIO) -> tuple[list[dict[str, Any]], int]:
    """All whole lines, and where the last of them ends."""
    content = file.read()
    end = content.rfind(b"\n") + 1
    lines = []
    for number, line in enumerate(content[:end].splitlines(), 1):
        try:
            found = json.loads(line)
            if not isinstance(found, dict):
                raise ValueError("no object")
        except (ValueError, RecursionError) as error:
            raise FileError(path, f"line {number} is no JSON object: {error}") from None
        if number == 1 and found.get("format") != FORMAT:
            raise FileError(path, f"is no file of a comparison: its first line must say {FORMAT!r}")
        lines.append(found)
    if not lines:
        raise FileError(path, "is no file of a comparison: it has no line")
    return lines, end


def _sorted(path: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"asked": lines[0].get("asked"), "contenders": {}, "measured": {}, "runs": {}}
    for number, line in enumerate(lines[1:], 2):
        kind = next((kind for kind in _KINDS[1:] if isinstance(line.get(kind), str)), None)
        if kind == "contender" and isinstance(line.get("options"), dict):
            found["contenders"][line["contender"]] = line["options"]
        elif kind == "measured" and isinstance(line.get("epochs"), int):
            found["measured"][line["measured"]] = {k: v for k, v in line.items() if k != "measured"}
        elif kind == "run" and isinstance(line.get("seed"), int):
            found["runs"][line["run"], line["seed"]] = {k: v for k, v in line.items() if k != "run"}
        else:
            raise FileError(path, f"line {number} is nothing that a comparison writes: {describe(line)}")
    if not isinstance(found["asked"], dict):
        raise FileError(path, "does not say what was asked")
    return found


def _compare(path: str, what: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """FileError naming the first thing that differs."""
    for name in {**was, **now}:
        before, after = was.get(name), now.get(name)
        if before == after:
            continue
        if name == "data" and isinstance(before, dict) and isinstance(after, dict):
            inner = next(key for key in {**before, **after} if before.get(key) != after.get(key))
            before, after, name = before.get(inner), after.get(inner), f"data of another {inner},"
        raise FileError(
            path,
            f"{what}was made with {name} {_word(before)}, asked is {_word(after)}: name another file, or ask "
            "the same again",
        )


def _word(value: Any) -> str:
    return "none" if value is None else describe(value)
