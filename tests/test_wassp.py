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
    for rule, words in (
        (rw.SRigL(every=rw.Steps(5)), "'srigl', which gives all neurons of a layer one fan-in"),
        (rw.ImportancePruning(rule=rw.SRigL()), "sizes of layers"),
        (rw.DeepR(), "'deepr', which keeps 'sign"),
        (rw.TopKAST(), "'top-kast', which keeps 'theta'"),
    ):
        with pytest.raises(ValueError, match=words):
            fitted(trainer(rule, shards=4))
    with pytest.raises(ValueError, match="1 training, which has nobody to merge with"):
        fitted(trainings=None)
    for name, value in (("workers", 1), ("alone", 0.0), ("alone", 1.5), ("how", "sum"), ("momentum", "max")):
        with pytest.raises(ValueError, match=name):
            rw.WASSP(**{name: value})


@pytest.mark.parametrize("event", ["on_epoch_begin", "on_step_end", "on_rewire", "on_epoch_end"])
def test_what_has_to_see_everything_is_refused(event):
    made = trainer(shards=4)
    made.callbacks.append(type("Mine", (), {event: lambda self, state: None})())
    with pytest.raises(ValueError, match=f"Mine, which has to be told of every epoch: it has {event}"):
        fitted(made)


def test_the_end_is_told_after_the_merge(tmp_path):
    class Log(rw.Callback):
        saves = True

        def __init__(self):
            self.events = []

        def on_fit_begin(self, state):
            self.events.append(("begin", state.epoch, state.last_epoch))

        def on_epoch_end(self, state):
            self.events.append(("epoch", state.epoch, state.row["epoch"]))

        def on_fit_end(self, state):
            self.events.append(("end", state.epoch, bits(state.trainer)[0].keys()))

    made, log = trainer(shards=4), Log()
    made.callbacks += [log, rw.Checkpoint(tmp_path / "run.st")]
    fitted(made)
    assert [event[:2] for event in log.events] == [
        ("begin", 0), ("epoch", 1), ("epoch", 2), ("epoch", 4), ("end", 4),
    ]  # fmt: skip
    assert log.events[0][2] == 4 and log.events[3][2] == 3
    saved = rw.Trainer.resume(tmp_path / "run.st", callbacks=())
    made.callbacks.clear()
    assert saved.epoch == 4 and bits(saved)[0] == bits(made)[0]


def test_all_epochs_alone():
    begun = []

    class Begin(rw.Callback):
        def on_fit_begin(self, state):
            begun.append(state.epoch)

    def run(workers):
        made = trainer(shards=4, standardize=True)
        made.callbacks.append(Begin())
        made.fit(
            10 * X + 3, Y, epochs=2, batch_size=16, verbose=0, workers=workers,
            strategy=rw.WASSP(1.0, workers=3),
        )  # fmt: skip
        made.callbacks.clear()
        return made

    made, together = run(1), run(2)
    assert bits(made) == bits(together) and begun == [0, 0] and made.epoch == 2
    plain = trainer(standardize=True)
    plain.fit(10 * X + 3, Y, epochs=1, batch_size=16, verbose=0)
    of_plain = {name: a for name, a in plain.network.arrays().items() if "standardizer" in name}
    of_made = made.network.arrays()
    assert of_plain and all(np.array_equal(a, of_made[name]) for name, a in of_plain.items())


def test_at_least_one_epoch_is_alone(capsys):
    made = trainer(shards=4)
    made.fit(X, Y, epochs=1, batch_size=16, verbose=1, workers=1, strategy=rw.WASSP(0.3, workers=3))
    assert made.step == -(-110 // 16)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "1 epoch of 3 trainings, each with links of its own" and said[1].startswith("epoch 1/1")
    assert [rw.WASSP(0.5).epochs_alone(n) for n in (1, 2, 3, 4, 5)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("workers", [1, 2])
def test_parts_without_samples_or_weight_are_left_out(workers):
    made = trainer(shards=4, norm=False)
    made.fit(
        X[:5], Y[:5], epochs=2, batch_size=2, verbose=0, workers=workers, strategy=rw.WASSP(0.5, workers=8)
    )
    assert made.epoch == 2 and np.isfinite(made.history[-1]["loss"])
    weight = np.zeros(330)
    weight[:3] = 1.0
    made = trainer(shards=4, norm=False)
    made.fit(
        X, Y, epochs=2, batch_size=16, sample_weight=weight, verbose=0, workers=workers,
        strategy=rw.WASSP(0.5, workers=64),
    )  # fmt: skip
    assert made.epoch == 2 and np.isfinite(made.history[-1]["loss"])


def test_links_that_move_between_layers():
    made = trainer(rw.DSR(0.4, every=rw.Steps(3), threshold=0.05), shards=4, norm=False)
    before = [parameter.nnz for parameter in made.network.sparse_parameters]
    fitted(made)
    after = [parameter.nnz for parameter in made.network.sparse_parameters]
    assert sum(after) == sum(before) and after != before


@pytest.mark.parametrize("kind", [rw.SparseMLPClassifier, rw.SparseMLPRegressor])
def test_estimators(kind):
    """They make all epochs, for nobody sees the last ones; what has to see them is refused in their words."""
    options = {"max_iter": 4, "batch_size": 16, "strategy": rw.WASSP(0.5, workers=3), "random_state": 0}
    y = Y if kind is rw.SparseMLPClassifier else X[:, 0]
    clf = kind((16,), tol=1e9, n_iter_no_change=1, **options).fit(X, y)
    assert clf.n_iter_ == 4 and len(clf.loss_curve_) == 4
    clf.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"early_stopping must be False with strategy WASSP\(.* got True"):
        kind((16,), early_stopping=True, **options).fit(X, y)


def test_layers_get_the_mean_number_of_links():
    from rewire._wassp import _means

    assert _means([[7, 7, 7], [5, 5, 5]]) == [7, 5]
    assert _means([[9, 3], [1, 7]]) == [6, 4]
    assert _means([[4, 3, 3], [3, 4, 4], [5, 5, 5]]) == [3, 4, 5]


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_in_the_merge_goes_back_to_before_the_last_epochs(workers, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    ends = []

    class End(rw.Callback):
        def on_fit_end(self, state):
            ends.append(state.epoch)

    plain = trainer(shards=4)
    plain.fit(X, Y, epochs=2, batch_size=16, verbose=0)
    made = trainer(shards=4, callbacks=[End()])
    monkeypatch.setattr("rewire._wassp.merge", interrupted)
    fitted(made, workers=workers)
    assert made.history.interrupted and made.epoch == 2 and ends == [2]
    made.callbacks.clear()
    weights, others = (one.network.arrays() for one in (made, plain))
    assert all(np.array_equal(weights[name], others[name]) for name in others if "values" in name)
