"""What this installation is and runs on: for `rewire info`, bug reports and the records of a run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]  # a module elsewhere

from rewire import _core, _openmp, threads
from rewire._resources import cpu_count
from rewire._version import __version__

__all__ = ["describe", "instruction_set", "peak_memory", "report", "versions"]

REQUIRED = ("numpy",)
OPTIONAL = ("scipy", "scikit-learn", "matplotlib", "tqdm", "rich", "threadpoolctl")
_SERIAL = "serial: built without OpenMP"


def describe() -> dict[str, str]:
    """One line of text for every fact worth a line in a bug report."""
    found = versions()
    isa, why_isa = instruction_set()
    n_threads, why_threads = thread_count()
    lines = {
        "rewire": f"{__version__}, {Path(__file__).parent}",
        "python": f"{found['python']}, {sys.executable}",
        "system": f"{platform.platform()}, {platform.machine()}",
        "processor": f"{processor()}, {cpu_count()} usable",
        "instruction set": f"{isa}, {why_isa}",
        "bfloat16": bfloat16(isa),
        "threads": f"{n_threads}, {why_threads}",
        "parallel code": f"OpenMP; threads wait {_openmp.waiting()}" if _core.openmp() else _SERIAL,
    }
    lines |= {name: found.get(name, "MISSING") for name in REQUIRED}
    lines["optional"] = ", ".join(f"{name} {found.get(name, '-')}" for name in OPTIONAL)
    return lines


def report() -> str:
    """`describe` as a table of text."""
    lines = describe()
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {line}" for name, line in lines.items())


def versions() -> dict[str, str]:
    """Versions of rewire, Python and every package it can use that is installed. Imports none of them."""
    found = {"rewire": __version__, "python": platform.python_version()}
    for name in (*REQUIRED, *OPTIONAL):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def instruction_set() -> tuple[str, str]:
    """The instruction set of the kernels, and why this one."""
    isa, available = _core.isa(), _core.isa_available()
    forced = os.environ.get("REWIRE_ISA", "").strip()
    why = f"forced by REWIRE_ISA={forced}" if forced else "the best this processor has"
    if not forced and isa != available[0]:
        why = "chosen by force_isa"
    return isa, f"{why}; available: {', '.join(available)}"


def bfloat16(isa: str) -> str:
    """How kernels of this instruction set multiply numbers of bfloat16."""
    if isa.endswith("bf16"):
        return "products by instructions of their own"
    return "right, not fast: operands are rounded, and multiplied as float32"


def thread_count() -> tuple[int, str]:
    """The number of threads where no other is given, and who decided it (the order of `rewire.threads`)."""
    n = threads.get_num_threads()
    if n == 1 and not _core.openmp():
        return n, "built without OpenMP"
    own, shared = (os.environ.get(name, "").strip() for name in ("REWIRE_NUM_THREADS", "OMP_NUM_THREADS"))
    shared = shared if threads.from_environment() else ""  # one that makes no sense decides nothing
    if threads._chosen is not None:
        return n, "chosen by set_num_threads"
    if own:
        return n, f"REWIRE_NUM_THREADS={own}"
    if shared:
        return n, f"OMP_NUM_THREADS={shared}"
    return n, "the processors this process may use (affinity and control group)"


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def peak_memory() -> int | None:
    """Largest resident memory of this process so far in bytes, None where the system does not tell."""
    try:
        # Not getrusage first: there a process begins with the peak of the one it was forked from.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
