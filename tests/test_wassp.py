"""The last epochs with structures of one's own, and their merge: in any processes the same."""

import numpy as np
import pytest

import rewire as rw
from test_local_sgd import X, Y, bits, trainer


def fitted(made=None, *, workers=1, epochs=4, trainings=3, **options):
    made = trainer(shards=4) if made is None else made
    plan = rw.WASSP(0.5, workers=trainings, **options)
    made.fit(X, Y, epochs=epochs, batch_size=16, verbose=0, workers=workers, strategy=plan)
    return made


def test_the_number_of_links_stays():
    plain, merged = trainer(shards=4), fitted()
    before = [parameter.nnz for parameter in plain.network.sparse_parameters]
    assert [parameter.nnz for parameter in merged.network.sparse_parameters] == before
    assert merged.epoch == 4 == len(merged.history)
    assert merged.step == 2 * -(-330 // 16) + 2 * -(-110 // 16)
    assert merged.rewirings >= 3 and np.isfinite(merged.history["loss"]).all()
    for parameter in merged.network.tree.sparse:
        parameter.store.validate()


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_leave_no_trace(processes):
    assert bits(fitted()) == bits(fitted(workers=processes))


def test_the_merge_is_that_of_trainings_apart():
    whole = fitted(how="holders", momentum="zero")
    for parameter in whole.network.tree.sparse:
        assert not parameter.store.get_field("momentum").any()
    assert bits(whole)[0] != bits(fitted())[0]


def test_adam_and_going_on(tmp_path):
    made = fitted(trainer(rw.RigL(every=rw.Steps(5)), rw.Adam(lr=0.01), shards=4, horizon=5))
    made.save(tmp_path / "run.st")
    again = rw.Trainer.resume(tmp_path / "run.st")
    for one in (made, again):
        one.fit(X, Y, epochs=1, batch_size=16, verbose=0, workers=1)
    assert bits(made) == bits(again)


def test_validation_comes_after_the_merge():
    made = trainer(shards=4)
    made.fit(
        X, Y, epochs=2, batch_size=16, verbose=0, workers=1, validation_data=(X, Y),
        strategy=rw.WASSP(0.5, workers=2),
    )  # fmt: skip
    assert made.history["val_loss"][-1] == made.evaluate(X, Y)["loss"]


def test_refusals():
    made = trainer(shards=4)
    made.callbacks.append(rw.LinkLog())
    with pytest.raises(ValueError, match="LinkLog, which has to be told of every epoch"):
        fitted(made)
    with pytest.raises(ValueError, match="4 processes: there are 3 trainings"):
        fitted(workers=4)
    with pytest.raises(ValueError, match="sizes of layers"):
        fitted(trainer(rw.ImportancePruning(rule="set"), shards=4))
    for name, value in (("alone", 1.5), ("how", "sum"), ("momentum", "max")):
        with pytest.raises(ValueError, match=name):
            rw.WASSP(**{name: value})
