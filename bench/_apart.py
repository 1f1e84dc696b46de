"""One function call in a process of its own: it starts from nothing, and its peak memory is its own.

``apart("_scale_runs:lung", width=30_000)`` calls ``lung`` of that module with these keywords and returns its
dict, with ``peak_bytes`` added. A process that fails (memory, a missing library) gives its last line as
``error``, and its ``returncode``: of a signal it is minus its number, whatever was printed before.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from _measure import quiet_threads

HERE = Path(__file__).resolve()


def apart(target: str, *, threads: int = 1, **arguments: Any) -> dict[str, Any]:
    """Call ``module:function`` with these keywords, `threads` among them, in a fresh process."""
    environment = {**os.environ, **quiet_threads(threads)}
    if not arguments.get("torch"):
        del environment["GOMP_SPINCOUNT"]  # rewire brings its own, the one its users get
    question = json.dumps({"target": target, "arguments": {"threads": threads, **arguments}})
    run = subprocess.run(
        [sys.executable, str(HERE)], input=question, capture_output=True, text=True, env=environment
    )
    lines = run.stdout.splitlines()
    if run.returncode != 0 or not lines:
        said = run.stderr.strip().splitlines() or [f"exit code {run.returncode}"]
        return {"error": said[-1], "returncode": run.returncode}
    return json.loads(lines[-1])


def peak_bytes() -> int:
    """The largest resident size of this process."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _answer() -> None:
    question = json.load(sys.stdin)
    module, _, function = question["target"].partition(":")
    found = getattr(importlib.import_module(module), function)(**question["arguments"])
    print(json.dumps({**found, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    _answer()
