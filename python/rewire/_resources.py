"""What this process may use of the machine: processors and memory, control groups included.

Everything is read when asked and every source may be missing (another
operating system, an unusual mount): then the next best answer counts.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]  # a module elsewhere

__all__ = ["cpu_count", "memory_available"]

_CGROUP = "/sys/fs/cgroup"


def _read(*parts: str) -> str | None:
    try:
        with open(os.path.join(*parts)) as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None


class _Odd(Exception):
    """The kernel says something else than a number; no ValueError, which might be a signal handler's."""


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _Odd from None


def _own_groups(controller: str) -> Iterator[str]:
    """Folders of this process's control group and its ancestors, version 2 and 1."""
    text = _read("/proc/self/cgroup")
    for line in (text or "").splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3:
            continue
        _, controllers, path = parts
        if controllers == "":
            root = _CGROUP
        elif controller in controllers.split(","):
            root = os.path.join(_CGROUP, controller)
        else:
            continue
        names = [name for name in path.split("/") if name]
        for depth in range(len(names), -1, -1):
            yield os.path.join(root, *names[:depth])


def _quota(folder: str) -> float | None:
    """Processors that one control group grants, or None for no limit."""
    text = _read(folder, "cpu.max")
    if text is not None:
        quota, _, period = text.strip().partition(" ")
        return None if quota == "max" or not period else _int(quota) / _int(period)
    granted, within = _read(folder, "cpu.cfs_quota_us"), _read(folder, "cpu.cfs_period_us")
    if granted is None or within is None or _int(granted) <= 0:
        return None
    return _int(granted) / _int(within)


def cpu_count() -> int:
    """Processors this process may run on: the smaller of its affinity and its control group's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else (os.cpu_count() or 1)
    for folder in _own_groups("cpu"):
        try:
            quota = _quota(folder)
        except _Odd:
            continue
        if quota is not None:
            count = min(count, int(-(-quota // 1)))
    return max(1, count)


def _meminfo(name: str) -> int | None:
    """Bytes of an entry of the kernel's, or None if it does not say."""
    for line in (_read("/proc/meminfo") or "").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return None


_UNUSED = ("inactive_file",)  # pages of files that nobody has looked at lately: they are given up at once
_RECLAIMABLE = (*_UNUSED, "active_file", "slab_reclaimable")  # given up too, though somebody may want them


def _group_memory(folder: str, clean: Collection[str]) -> int | None:
    """Bytes left under one control group's limit, with clean pages of these kinds; None for no limit."""
    for limit_name, used_name in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        limit, used = _read(folder, limit_name), _read(folder, used_name)
        if limit is None or used is None or limit.strip() == "max":
            continue
        if _int(limit) >= 1 << 60:  # version 1 says "no limit" with a huge number
            continue
        # The page cache counts as used but goes when memory is needed.
        said: dict[str, int] = {}
        for line in (_read(folder, "memory.stat") or "").splitlines():
            name, _, size = line.partition(" ")
            if name.removeprefix("total_") in clean:  # version 1 says both: with groups below it, and without
                said[name] = _int(size)
        cache = sum(said.get(f"total_{name}", said.get(name, 0)) for name in clean)
        return max(0, min(_int(limit), _int(limit) - _int(used) + cache))
    return None


def _address_space() -> int | None:
    """Bytes left under RLIMIT_AS, or None for no limit."""
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    text = _read("/proc/self/statm")
    used = int(text.split()[0]) * resource.getpagesize() if text else 0
    return max(0, limit - used)


def memory_available(*, swap: bool = False) -> int | None:
    """Bytes this process can still get, or None where nobody says.

    The smallest of the kernel's ``MemAvailable``, the control groups' limits and ``RLIMIT_AS``. With ``swap``
    it is the most that there can be: of the first two with what can be swapped out, and of the second with
    caches that are in use.
    """
    found: list[int] = []
    more = (_meminfo("SwapFree") or 0) if swap else 0
    free = _meminfo("MemAvailable")
    if free is not None:
        found.append(free + more)
    for folder in _own_groups("memory"):
        try:
            left = _group_memory(folder, _RECLAIMABLE if swap else _UNUSED)
        except _Odd:
            continue
        if left is not None:
            found.append(left + more)
    limit = _address_space()
    if limit is not None:
        found.append(limit)
    return min(found) if found else None
