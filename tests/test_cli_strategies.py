"""Strategies of workers on the command line: their names, what files keep of them, what is refused."""

import json
import os
import signal

import numpy as np
import pytest

import rewire as rw
from rewire.cli import main
from rewire.cli._strategy import of_this_call
from rewire.cli.train import _SaveWhenAsked
from small import bits, normal

X = normal(120, 12).astype("f4")
Y = (X @ normal(12, 3)).argmax(1)


@pytest.fixture
def train(tmp_path, capsys):
    """Runs ``rewire train`` on small data; gives the exit code, what was printed, and the errors."""
    np.savez(tmp_path / "data.npz", X=X, y=Y)

    def run(*words):
        code = main(["train", "--data", str(tmp_path / "data.npz"), *words])
        return code, *capsys.readouterr()

    return run


NEW = ("--hidden", "16,16", "--density", "0.4", "--batch-size", "16", "--epochs", "4", "--group", "1")
WASSP = ("--strategy", "wassp", "--strategy-opt", "alone=0.5", "--strategy-opt", "workers=2")


@pytest.mark.parametrize("step", [5, 20])
def test_wassp_is_saved_and_gone_on_with(train, tmp_path, monkeypatch, step):
    """Whether an epoch before the last ones was interrupted or not, the last two of four are alone."""
    whole, half, rest, record = (str(tmp_path / name) for name in ("whole", "half", "rest", "record"))
    code, printed, _ = train(*NEW, *WASSP, "--save", whole, "--json", record)
    assert code == 0 and "WASSP(alone=0.5, how='mean', momentum='mean', workers=2), 1 process\n" in printed
    assert "2 epochs of 2 trainings" in printed
    with open(record) as file:
        said = {"name": "wassp", "alone": 0.5, "how": "mean", "momentum": "mean", "workers": 2}
        assert json.load(file)["strategy"] == said

    def stop(self, state):
        if state.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    if step < 16:
        monkeypatch.setattr(_SaveWhenAsked, "on_step_end", stop)
        assert train(*NEW, *WASSP, "--save", half)[0] == 130
        assert rw.Trainer.resume(half).step == step
        monkeypatch.undo()
        code, printed, _ = train("--resume", half, "--save", rest)
        assert "2 epochs of 2 trainings" in printed
        ends = [rw.load(path).arrays() for path in (rest, whole)]  # a resumed trainer knows its horizon
        assert all((ends[0][name] == ends[1][name]).all() for name in ends[1])
    else:
        code, printed, _ = train("--resume", whole, "--epochs", "8", "--save", rest)
        assert "4 epochs of 2 trainings" in printed and rw.Trainer.resume(rest).epoch == 8
    assert code == 0


def test_local_sgd_has_its_python_names(train, tmp_path):
    """With options, in short, and by the name of the class."""
    ways = (
        ("--strategy", "local-sgd", "--strategy-opt", "every=3", "--strategy-opt", "workers=2"),
        ("--strategy", "local:3x2"),
        ("--strategy", "LocalSGD", "--strategy-opt", "every=3", "--strategy-opt", "workers=2"),
    )
    found = []
    for way in ways:
        assert train(*NEW, *way, "--quiet", "--save", str(tmp_path / "a"))[0] == 0
        found.append(bits(rw.Trainer.resume(tmp_path / "a")))
    assert found[0] == found[1] == found[2]


def test_a_file_with_shards_is_gone_on_with_in_whole_batches(train, tmp_path):
    """``--workers`` makes shards, and with --resume nothing could take them away."""
    path = str(tmp_path / "a")
    assert train(*NEW, "--shards", "4", "--quiet", "--save", path)[0] == 0
    resume = ("--resume", path, "--epochs", "5", "--strategy", "local:2x2", "--save", path)
    code, printed, _ = train(*resume)
    assert code == 0
    assert f"LocalSGD(every=2, workers=2), 1 process; no shards, of which {path} has 4" in printed
    assert rw.Trainer.resume(path).shards is None
    code, printed, _ = train("--resume", path, "--epochs", "6", "--strategy-opt", "every=3")
    assert code == 0 and "LocalSGD(every=3, workers=2), 1 process\n" in printed


def test_wasap_trains_with_processes(train, tmp_path):
    words = ("--strategy", "wasap", "--workers", "2", "--warmup", "2", "--warmup-to", "2")
    code, printed, wrong = train(*NEW, *words, "--save", str(tmp_path / "a"))
    assert code == 0 and "WASAP(alone=0.3, how='mean', momentum='mean', workers=2), 2 processes" in printed, (
        wrong
    )
    code, _, wrong = train("--resume", str(tmp_path / "a"), "--epochs", "5")
    assert code == 2 and "--strategy wasap needs --workers 2 or more" in wrong


def test_the_rise_counts_steps_of_a_training(train, tmp_path):
    """Of the samples that are not held out: 96 in batches of 16 are 6 steps, or 3 of two trainings."""
    path = str(tmp_path / "a")
    words = ("--validation", "0.2", "--warmup", "2", "--warmup-to", "3", "--quiet", "--save", path)
    for strategy, steps in ((), 6), (("--strategy", "local:2x2"), 3):
        assert train(*NEW, *words, *strategy)[0] == 0
        rate = rw.Trainer.resume(path).optimizer.schedule
        assert (rate.to, rate.length, rate.unit) == (3.0, 2 * steps, "step")


@pytest.mark.parametrize(
    "words, said",
    [
        (["--strategy", "wassp"], "--strategy wassp needs --workers 2 or more, or --strategy-opt workers=N"),
        (["--strategy", "wasap"], "--strategy wasap needs --workers 2 or more"),
        (["--strategy", "wasap", "--workers", "2", "--shards", "2"], "--shards does nothing with"),
        (["--strategy", "local", "--shards", "2"], "--shards does nothing with --strategy local-sgd"),
        ([*WASSP, "--average", "ema"], "--average does nothing with --strategy wassp"),
        (["--strategy-opt", "every=3"], "--strategy-opt does nothing without --strategy"),
        (["--strategy", "sync", "--strategy-opt", "every=3"], "'sync' takes no options"),
        ([*WASSP, "--strategy-opt", "every=3"], "takes alone, how, momentum, workers, got 'every'"),
        ([*WASSP, "--strategy-opt", "alone=2"], "alone must be a number in (0, 1], got 2"),
        ([*WASSP, "--strategy-opt", "name=wasap"], "options of a strategy, got name: --strategy says which"),
        (["--warmup", "4", "--warmup-to", "2"], "warmup must be less than the 4 epochs of the run, got 4"),
        (["--warmup", "2", "--warmup-to", "0.5"], "must be a number >= 1, got 0.5"),
        (["--strategy", "wassp:3"], "must be sync, local-sgd, wassp, wasap"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_by_name(train, words, said):
    code, _, wrong = train(*NEW, *words)
    assert code == 2 and said in wrong


def test_a_strategy_of_a_file_that_is_none_is_named(train, tmp_path):
    path = str(tmp_path / "a")
    assert train(*NEW, "--quiet", "--save", path)[0] == 0
    trainer = rw.Trainer.resume(path)
    for strategy in ({"name": "gone"}, {"name": "wassp", "alone": "x"}, {}, "nothing", 3, {"name": ["sync"]}):
        trainer.save(path, notes={"strategy": strategy, "epochs": 5})
        code, _, wrong = train("--resume", path)
        assert code == 2 and "the strategy of the file" in wrong and "give --strategy" in wrong, strategy


def test_the_last_epochs_are_those_of_the_run():
    for epochs in range(1, 30):
        for plan in (rw.WASSP(0.3), rw.WASAP(0.71)):
            last = plan.epochs_alone(epochs)
            for remaining in range(1, epochs + 1):
                left = of_this_call(plan, epochs, remaining)
                assert left.epochs_alone(remaining) == min(last, remaining)
                assert type(left) is type(plan)
