"""Trainings that learn alone from parts of their own: `LocalSGD` and `WASSP`, in any processes."""

import os

import numpy as np
import pytest

import rewire as rw
from small import bits, deep

RNG = np.random.default_rng(2)
SIZES = (30, 41, 25, 37, 33, 29, 44, 30)
ENDS = np.cumsum((0, *SIZES))
X = RNG.normal(size=(ENDS[-1], 17)).astype("f4")
Y = RNG.integers(0, 4, len(X))
W = RNG.integers(0, 3, len(X)).astype("f8")


def part(number):
    """A part, with weights: in the order of the files a whole step has none."""
    rows = slice(ENDS[number], ENDS[number + 1])
    weight = W[rows].copy()
    weight[:8] *= number > 3
    return X[rows], Y[rows], weight


def noted(given):
    """The same, and a file that says which process has opened it."""
    folder, number = given
    with open(f"{folder}/{os.getpid()}", "a") as file:
        print(number, file=file)
    return part(number)


PARTS = rw.datasets.parts(range(len(SIZES)), read=part)


def trainer(**options):
    options = {"optimizer": rw.SGD(0.1, momentum=0.9, clip_norm=0.5), "rewiring": "set", **options}
    return rw.Trainer(deep(), loss="cross_entropy", **options)


def fitted(strategy, made=None, *, given=PARTS, epochs=2, **options):
    made = trainer() if made is None else made
    options = {"batch_size": 8, "verbose": 0, **options}
    made.fit(given, epochs=epochs, strategy=strategy, **options)
    return made


def local(every=3, workers=4):
    return rw.LocalSGD(every, workers=workers)


@pytest.mark.parametrize("window", [40, None])
def test_processes_leave_no_trace(window):
    one, two = (fitted(local(), window=window, workers=workers) for workers in (1, 2))
    assert bits(one) == bits(two) and one.shards is None


def test_trainings_have_the_samples_of_their_parts():
    """Steps are those of an array in which the batches of all trainings lie beside each other."""
    each, batch = 24, 8  # samples of a part
    parts = [(X[k * each : (k + 1) * each], Y[k * each : (k + 1) * each]) for k in range(4)]
    beside = np.concatenate(
        [k * each + np.arange(at, at + batch) for at in range(0, each, batch) for k in range(4)]
    )
    found = fitted(local(2), given=rw.datasets.parts(parts), shuffle=False)
    array = trainer()
    array.fit(X[beside], Y[beside], epochs=2, batch_size=batch, shuffle=False, verbose=0, strategy=local(2))
    assert found.step == array.step == 6
    mine, theirs = found.network.arrays(), array.network.arrays()
    assert all(np.array_equal(mine[name], theirs[name]) for name in theirs)


def test_trainings_exchange_as_rarely_when_one_is_at_its_end():
    """Of 16, 16 and 4 batches of 4: a round of 4 steps of all, and of the two that go on three of 4 each."""

    class Noting(rw.Callback):
        rounds = ()

        def on_step_end(self, state):
            self.rounds = *self.rounds, state.step

        def config(self):
            return None

    noting = Noting()
    parts = [(X[a:b], Y[a:b]) for a, b in ((0, 64), (64, 128), (128, 144))]
    fitted(local(4, workers=3), trainer(callbacks=[noting]), given=rw.datasets.parts(parts), batch_size=4)
    assert noting.rounds == (4, 8, 12, 16, 20, 24, 28, 32)


def test_an_epoch_is_gone_on_with_in_its_middle(tmp_path):
    class Saving(rw.Callback):
        def on_step_end(self, state):
            if 4 < state.step < 8:
                state.trainer.save(tmp_path / "t")

        def config(self):
            return None

    whole = fitted(local(), trainer(callbacks=[Saving()]), window=24, shuffle=False)
    whole.callbacks = []
    resumed = rw.Trainer.resume(tmp_path / "t")
    assert resumed.step_in_epoch and resumed.epoch == 0
    assert resumed.state.unfinished.passed
    assert bits(fitted(local(), resumed, window=24, shuffle=False)) == bits(whole)


@pytest.mark.parametrize("shards", [2, 4])
def test_last_epochs_alone_on_own_parts(tmp_path, shards):
    """The bits of one process; a process opens the parts of its own shards in all epochs, and no others."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    links = sum(p.nnz for p in deep().sparse_parameters)
    made = []
    for workers, folder in enumerate(folders, 1):
        given = rw.datasets.parts([(str(folder), k) for k in range(8)], read=noted)
        plan = rw.WASSP(0.4, workers=2)
        made.append(fitted(plan, trainer(shards=shards), given=given, epochs=3, workers=workers))
    assert bits(made[0]) == bits(made[1])
    assert sum(p.nnz for p in made[0].network.sparse_parameters) == links
    opened = [{*map(int, file.read_text().split())} for file in folders[1].iterdir()]
    first = [k for k in range(8) if k % shards < shards // 2]
    assert sorted(map(sorted, opened)) == [first, [k for k in range(8) if k not in first]]


@pytest.mark.filterwarnings("ignore:X. shard 0 of 2 has 60 samples")
@pytest.mark.parametrize("lacks", ["rows", "weight"])
def test_a_training_without_samples_or_weight_is_left_out(lacks):
    """As of arrays: the others are merged without it."""
    weights = [np.full(30, float(lacks == "rows" or number % 2 == 0)) for number in range(4)]
    rows = [slice(30 * k, 30 * k + (30 if lacks == "weight" or k % 2 == 0 else 0)) for k in range(4)]
    given = [(X[r], Y[r], w[: len(X[r])]) for r, w in zip(rows, weights, strict=True)]
    made = [
        fitted(rw.WASSP(0.5, workers=2), trainer(shards=2), given=rw.datasets.parts(given), workers=workers)
        for workers in (1, 2)
    ]
    assert bits(made[0]) == bits(made[1]) and made[0].epoch == 2


REFUSED = [
    (rw.LocalSGD(2, workers=9), {}, {}, "as there are shards, 9, or more, got 8 parts: LocalSGD"),
    (rw.WASSP(workers=9), {}, {}, "as there are shards, 9, or more, got 8 parts: WASSP"),
    (rw.WASSP(workers=4), {"shards": 2}, {}, r"workers of WASSP\(.*\) must be at most .*, 2, got 4: each"),
    (rw.LocalSGD(2, workers=2), {"rewiring": "rigl"}, {}, "'rigl' where X is in parts: it looks at"),
    (rw.WASAP(workers=2), {}, {"workers": 2}, r"used where X is in parts: .* WASSP\(\) and LocalSGD"),
    (rw.WASSP(workers=2), {}, {"window": 64}, "window must not be given with"),
]


@pytest.mark.parametrize("plan, made, options, words", REFUSED)
def test_what_does_not_go_together_is_named(plan, made, options, words):
    made = trainer(**made)
    before = bits(made)
    with pytest.raises(ValueError, match=words):
        fitted(plan, made, **options)
    assert bits(made) == before
