"""What each of several ranks does that a launcher has started; the same in one process, to compare.

    mpiexec -n 2 python tests/ranks.py train FOLDER small          # or torchrun --nproc-per-node 2 ...

Each writes what it ends with to FOLDER/RANK-of-SIZE.json: a digest for every row of a table.
"""

import hashlib
import itertools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

import rewire as rw

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(70, 12)).astype("f4"), RNG.integers(0, 3, 70)
ENDS = [0, 6, 11, 21, 29, 38, 45, 54, 62, 66, 70]  # of parts
SHARDS = 8
OPENED = set()  # parts, in this process

STRATEGIES = {
    "sync": lambda: rw.Sync(), "parts": lambda: rw.Sync(), "local": lambda: rw.LocalSGD(3, workers=4),
    "wassp": lambda: rw.WASSP(0.5, workers=4), "local parts": lambda: rw.LocalSGD(3, workers=SHARDS),
    "wassp parts": lambda: rw.WASSP(0.5, workers=SHARDS),
}  # fmt: skip
LOOKING = ("sync", "parts", "local", "wassp", "wassp parts")  # where a rule may look at gradients
RULES = {"set": "set", "rigl": {"name": "rigl", "every": 2, "fraction": 0.4}, "static": None}
SMALL = [
    (strategy, "rigl" if strategy in ("sync", "parts", "local") else "set", 0.3, 0.3)
    for strategy in STRATEGIES
]
WHOLE = [
    row for row in itertools.product(STRATEGIES, RULES, (0.0, 0.3), (None, 0.3))
    if row[1] != "rigl" or row[0] in LOOKING
]  # fmt: skip
TABLES = {"small": SMALL, "whole": WHOLE}


def made(strategy, rule, dropout, clip):
    """A trainer for a row of the table."""
    layers = [
        rw.Sparse(12, 24, density=0.4, activation="relu"),
        *([rw.Dropout(dropout)] if dropout else []),
        rw.Sparse(24, 16, density=0.4, activation="relu"),
        rw.Sparse(16, 3, density=0.6, activation="softmax"),
    ]
    return rw.Trainer(
        rw.Sequential(layers, seed=3), loss="cross_entropy",
        optimizer=rw.SGD(0.1, momentum=0.9, clip_norm=clip), rewiring=RULES[rule],
        shards=None if strategy.startswith("local") else SHARDS, horizon=2,
    )  # fmt: skip


def digest(trainer):
    """Of all that a file would hold, but for times."""
    found = hashlib.sha256()
    for name, array in sorted(trainer.arrays().items()):
        found.update(name.encode() + np.ascontiguousarray(array).tobytes())
    found.update(repr([trainer.history["loss"], trainer.epoch, trainer.step]).encode())
    return found.hexdigest()[:16]


def part(number):
    """One of the parts of the data, counted."""
    OPENED.add(number)
    rows = slice(ENDS[number], ENDS[number + 1])
    return X[rows], Y[rows]


def slow(number):
    time.sleep(7.0 if number == SHARDS - 1 else 0.0)
    return part(number)


def parts_of(rank, size):
    """The parts that one of so many processes has to open."""
    own = range(rank * SHARDS // size, (rank + 1) * SHARDS // size)
    return {number for number in range(len(ENDS) - 1) if number % SHARDS in own}


def fitted(trainer, strategy, epochs=2, **options):
    options |= {"epochs": epochs, "batch_size": 8, "verbose": 0, "timeout": 120.0}
    given = (X, Y)
    if strategy.endswith("parts"):
        given = (rw.datasets.parts(range(len(ENDS) - 1), read=part),)
        options |= {} if strategy.startswith("wassp") else {"window": 24}
    trainer.fit(*given, strategy=STRATEGIES[strategy](), **options)
    return trainer


def digests(table, **options):
    """By row, what it ends with."""
    return {repr(row): digest(fitted(made(*row), row[0], **options)) for row in TABLES[table]}


def go_on(folder, **options):
    """With half a run of local steps: how many trainings there were is in the file."""
    trainer = rw.Trainer.resume(folder / "half")
    trainer.fit(X, Y, epochs=1, batch_size=8, verbose=0, strategy=rw.LocalSGD(3), timeout=120.0, **options)
    return trainer


def dies():
    """Let this process end in the middle of what it does alone."""
    import rewire._alone
    import rewire._wassp

    def gone(*_):
        os._exit(3)

    rewire._alone.RoundRunner._train = rewire._wassp.train_alone = gone


def main(what, folder, given):
    rank = int(os.environ.get("PMI_RANK", os.environ.get("RANK", "0")))
    size = int(os.environ.get("PMI_SIZE", os.environ.get("WORLD_SIZE", "1")))
    folder = Path(folder)
    if what == "train":
        found = digests(given)
        if OPENED != parts_of(rank, size):
            raise AssertionError(f"rank {rank} has opened the parts {sorted(OPENED)}")
    elif what == "slow":  # rank 1 needs longer for a part than a silence may take
        trainer = made("parts", given, 0.0, None)
        trainer.fit(rw.datasets.parts(range(len(ENDS) - 1), read=slow), batch_size=8, verbose=0, timeout=4.0)
        found = digest(trainer)
    elif what == "half":  # then others go on
        trainer = fitted(made("local", "set", 0.3, None), "local", epochs=1)
        if rank == 0:
            trainer.save(folder / "half")
        found = digest(trainer)
    elif what == "rest":
        found = digest(go_on(folder))
    elif what == "die":
        if rank == 1:
            dies()
        found = digest(fitted(made(given, "set", 0.3, None), given))
    (folder / f"{rank}-of-{size}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
