"""The other end of a `Side` (`_measure.py`): `_sides.py MODULE:FUNCTION THREADS`.

Answers questions, one line of JSON each: ``{"prepare": {...}}`` calls the function and says the names of the
operations it made; ``{"time": name, "calls": n, "warm": true}`` answers with seconds. What a library
prints goes to standard error, and an exception comes back as ``{"error": why}``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print would garble the answers
    target, threads = sys.argv[1], int(sys.argv[2])
    module, _, function = target.partition(":")

    from _measure import Call

    def answer(**line: object) -> None:
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    operations: dict[str, Call] = {}
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if "clear" in question:
                operations.clear()
                answer(answer=None)
            elif "prepare" in question:
                operations.clear()  # before the next cell takes its memory
                made = getattr(importlib.import_module(module), function)(
                    threads=threads, **question["prepare"]
                )
                facts = made.pop("facts", None)
                operations.update((k, f if hasattr(f, "time") else Call(f)) for k, f in made.items())
                del made
                answer(answer=[list(operations), facts])
            else:
                operation = operations[question["time"]]
                answer(answer=operation.time(question["calls"], question["warm"]))
        except Exception as error:  # whatever a library raises is the reason its row is skipped
            answer(
                error=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(
                    ": "
                )
            )


if __name__ == "__main__":
    main()
