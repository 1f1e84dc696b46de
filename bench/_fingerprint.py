"""The fingerprint printed with every table."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "rewire", "numpy", "scipy", "torch", "mkl", "numba", "scikit-learn", "sparselab", "sparseprop",
    "onnxruntime",
)  # fmt: skip

# Of all that a processor says of itself, what a kernel of somebody's may use.
FEATURES = (
    "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_tile",
    "asimd", "sve",
)  # fmt: skip


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _cpuinfo(*keys: str) -> str:
    """The first processor's value under any of these keys of /proc/cpuinfo."""
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in keys:
            return value.strip()
    return ""


def caches() -> dict[str, str]:
    """Level -> size of the first core's data caches, as Linux prints it."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if _read(f"{folder}/type").strip() != "Instruction":
            found["L" + _read(f"{folder}/level").strip()] = _read(f"{folder}/size").strip()
    return found


def commit() -> str:
    """The commit of the working tree, marked where it has changes; "unknown" outside a clone."""
    here = Path(__file__).resolve().parent
    try:
        run = subprocess.run(
            ["git", "-C", here, "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def fingerprint() -> dict[str, str]:
    """What a reader needs to judge a figure."""
    import rewire
    from rewire import _core

    flags = set(_cpuinfo("flags", "Features").split())
    memory = _read("/proc/meminfo").split()
    versions = {name: _version(name) for name in PACKAGES}
    if versions["rewire"] == "absent":  # built in place
        versions["rewire"] = rewire.__version__
    return {
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "features": " ".join(name for name in FEATURES if name in flags),
        "caches": " ".join(f"{level} {size}" for level, size in caches().items()),
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if len(memory) > 1 else "",
        "system": f"{platform.system()} {platform.release()}",
        "instruction set": _core.isa(),
        "python": platform.python_version(),
        **versions,
        "commit": commit(),
    }
