"""What a process does that was started for one run: `pool.py` tells it, and reads its answer from a file."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from rewire._elsewhere import register_kinds
from rewire._fileio import write_json
from rewire.comparison.run import Interrupted, measure, run
from rewire.comparison.task import Task
from rewire.threads import set_num_threads

__all__ = ["failure", "main"]

COMMAND = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from rewire.comparison.child import main; main()"
)


def main() -> None:
    """Do the job in the folder and of the name that the command line says."""
    folder, name = Path(sys.argv[2]), sys.argv[3]
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    job: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    try:
        register_kinds(pickle.loads((folder / "kinds.pickle").read_bytes()))
        contender = pickle.loads((folder / f"contender-{job['contender']}.pickle").read_bytes())
        set_num_threads(job["threads"])
        task = Task.stored(folder)
        work = measure if job["measure"] else run
        answer = work(task, contender, **job["options"], threads=job["threads"])
    except (Interrupted, KeyboardInterrupt):
        sys.exit(1)
    except BaseException as error:
        answer = failure(error)
    write_json(folder / f"{name}.answer", answer)


def failure(error: BaseException) -> dict[str, Any]:
    """What is reported of a run that raised."""
    return {
        "error": f"{type(error).__name__}: {' '.join(str(error).split())}",
        "traceback": "".join(traceback.format_exception(error)),
    }


def _end_with_parent(folder: Path) -> None:
    """Nothing is ever written there: the end of standard input is the end of who has started us.

    Whoever was killed has left the folder behind.
    """
    try:
        while os.read(0, 1):
            pass
    except OSError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
