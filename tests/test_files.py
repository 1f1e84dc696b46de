"""Saved files: nothing is lost, damage is refused, nothing is run, a crash leaves the old or the new file."""

import inspect
import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import rewire as rw
from rewire import _blocks, _container, _saving, files, layers
from rewire._fileio import FileError, atomic_write, writable_target, write_json
from rewire.cli import main
from rewire.datasets import load
from small import HANG_SECONDS

OPTIMIZERS = {
    "sgd": lambda: rw.SGD(0.05, momentum=0.9, weight_decay=1e-3, schedule=rw.Cosine(length=8)),
    "plain": lambda: rw.SGD(0.1),
    "clipped": lambda: rw.SGD(0.05, momentum=0.9, nesterov=True, clip_norm=1.0),
    "adam": lambda: rw.Adam(0.005, schedule=rw.Step(every=3, unit="epoch")),
    "adamw": lambda: rw.AdamW(0.005),
}


def data(n=200, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 256, (n, 20)).astype(np.uint8)
    return X, (X.astype(float) @ rng.normal(size=(20, 4))).argmax(1)


def trainer(optimizer="sgd", group=1, dtype="float32", dense=False, threads=None, callbacks=()):
    hidden = (
        rw.Dense(30, 30, activation="relu")
        if dense
        else rw.Sparse(30, 30, density=0.3, activation="all-relu", group=group)
    )
    layers = [
        rw.Sparse(20, 30, epsilon=5, activation="all-relu", group=group),
        rw.Dropout(0.3),
        hidden,
        rw.Sparse(30, 4, density=0.6, activation="softmax", bias=False),
    ]
    return rw.Trainer(
        rw.Sequential(layers, seed=3, dtype=dtype),
        loss="cross_entropy",
        optimizer=OPTIMIZERS[optimizer](),
        rewiring=rw.SET(fraction=0.3),
        threads=threads,
        standardize=True,
        callbacks=callbacks,
    )


def fit(t, epochs, **options):
    return t.fit(*data(), epochs=epochs, batch_size=32, verbose=0, **options)


def timeless(config):
    """A trainer's config without wall-clock seconds and the number of threads."""
    config = json.loads(json.dumps(config))
    del config["threads"]
    for row in config["state"]["history"]["epochs"]:
        for name in list(row):
            if name.startswith("seconds"):
                del row[name]
    return config


def same(a, b):
    """Two trainers equal bit for bit."""
    assert timeless(a.config()) == timeless(b.config())
    ours, theirs = a.arrays(), b.arrays()
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name].dtype == theirs[name].dtype, name
        assert ours[name].tobytes() == theirs[name].tobytes(), name


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A trained trainer and its file."""
    t = trainer()
    fit(t, 2)
    path = tmp_path_factory.mktemp("saved") / "t.safetensors"
    t.save(path)
    return t, path


# --- nothing is lost


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trainer_round_trip(tmp_path, optimizer, group, dtype):
    t = trainer(optimizer, group, dtype)
    fit(t, 2)
    t.save(tmp_path / "t")
    same(t, rw.Trainer.resume(tmp_path / "t"))


def test_network_round_trip(tmp_path):
    t = trainer()
    fit(t, 2)
    t.network.save(tmp_path / "n")
    loaded = rw.load(tmp_path / "n")
    X, _ = data()
    assert loaded.predict(X).tobytes() == t.network.predict(X).tobytes()
    assert loaded.config() == t.network.config()
    loaded.validate()


def test_network_of_a_trainers_file_has_no_optimizer_state(saved):
    t, path = saved
    loaded = rw.load(path)
    assert list(loaded.layers[0].store.fields) == ["weight"]
    assert loaded.predict(data()[0]).tobytes() == t.network.predict(data()[0]).tobytes()


def test_untrained_trainer_round_trip(tmp_path):
    t = trainer()
    t.save(tmp_path / "t")
    resumed = rw.Trainer.resume(tmp_path / "t")
    fit(t, 1)
    fit(resumed, 1)
    same(t, resumed)


def test_early_stopping_goes_on_where_it_was(tmp_path):
    def build():
        return trainer(callbacks=[rw.EarlyStopping(2, monitor="loss", restore_best=True)])

    whole, half = build(), build()
    fit(whole, 2)
    fit(half, 2)
    half.save(tmp_path / "t")
    resumed = rw.Trainer.resume(tmp_path / "t")
    assert resumed.callbacks[0].best == whole.callbacks[0].best
    fit(whole, 2)
    fit(resumed, 2)
    same(whole, resumed)


def test_any_safetensors_reader_can_read_it(saved):
    t, path = saved
    arrays = load_file(path)
    config, digests = bytes(arrays.pop("config")), arrays.pop("digests")
    assert json.loads(config) == {"trainer": json.loads(json.dumps(t.config())), "notes": {}}
    assert digests.shape == (2, 32) and digests.dtype == np.uint8
    ours = t.arrays()
    assert arrays.keys() == ours.keys()
    assert all(np.array_equal(arrays[name], ours[name]) for name in ours)
    with safe_open(path, framework="numpy") as file:
        found = file.metadata()
    assert found == {"format": "rewire", "version": "2", "rewire": rw.__version__, "kind": "trainer"}


# --- resume, bit for bit


RESUME = """
import sys
sys.path.insert(0, {folder!r})
import rewire as rw
from test_files import fit
t = rw.Trainer.resume({path!r})
t.threads = {threads}
fit(t, 2)
t.save({path!r})
"""


@pytest.mark.parametrize(
    "optimizer, group, threads", [("sgd", 1, 1), ("sgd", 4, 2), ("adam", 1, 3), ("clipped", 1, 2)]
)
def test_resume_in_a_new_process_gives_the_bits_of_one_run(tmp_path, optimizer, group, threads):
    path = str(tmp_path / "t.safetensors")
    whole, half = (trainer(optimizer, group, threads=1) for _ in range(2))
    fit(whole, 4)
    fit(half, 2)
    half.save(path)
    code = RESUME.format(folder=str(Path(__file__).parent), path=path, threads=threads)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=HANG_SECONDS)
    same(whole, rw.Trainer.resume(path))


def test_saving_does_not_change_what_follows(tmp_path):
    class Saver(rw.Callback):
        def on_epoch_end(self, state):
            state.trainer.save(tmp_path / "t")

    quiet, saving = trainer(), trainer(callbacks=[Saver()])
    fit(quiet, 3)
    fit(saving, 3)
    assert all(
        a.tobytes() == b.tobytes()
        for a, b in zip(quiet.arrays().values(), saving.arrays().values(), strict=True)
    )
    resumed = rw.Trainer.resume(tmp_path / "t")
    assert resumed.epoch == 3


# --- damage


def mutants(whole, count, seed):
    """Damaged copies: flipped bits, cut, stretched, blocks swapped, zeroed, repeated."""
    rng = random.Random(seed)
    header = 8 + int.from_bytes(whole[:8], "little")
    for number in range(count):
        b = bytearray(whole)
        # Half of the damage goes to the header, which is small and where it is most interesting.
        end = header if number % 2 else len(b)
        at = rng.randrange(end)
        n = rng.randrange(1, 40)
        kind = rng.randrange(7)
        if kind == 0:
            b[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del b[at:]
        elif kind == 2:
            b[at:at] = rng.randbytes(n)
        elif kind == 3:
            other = rng.randrange(len(b) - n)
            at = min(at, len(b) - n)
            b[at : at + n], b[other : other + n] = b[other : other + n], b[at : at + n]
        elif kind == 4:
            b[at : at + n] = bytes(len(b[at : at + n]))
        elif kind == 5:
            b[at:at] = b[at : at + n]
        else:
            del b[at : at + n]
        yield bytes(b)


def check_mutants(saved, folder, count, seed):
    t, path = saved
    whole, broken = path.read_bytes(), folder / "broken.safetensors"
    equal = 0
    for mutant in mutants(whole, count, seed):
        broken.write_bytes(mutant)
        try:
            loaded = rw.Trainer.resume(broken)
        except FileError as error:
            assert str(error).startswith(f"{broken}: ") and len(str(error)) > len(str(broken)) + 10
            continue
        same(t, loaded)
        equal += 1
    assert equal < count / 20  # blanks in the header, blocks swapped with themselves


def test_a_thousand_mutated_files_are_refused_or_equal(saved, tmp_path):
    check_mutants(saved, tmp_path, 1000, seed=1)


@pytest.mark.soak
def test_a_hundred_thousand_mutated_files(saved, tmp_path):
    check_mutants(saved, tmp_path, 100_000, seed=time.time_ns())


def check_sealed_mutants(saved, folder, count, seed):
    """Damage that somebody has made digests for: refused, or what is read is valid."""
    whole, broken = saved[1].read_bytes(), folder / "broken.safetensors"
    refused = 0
    for mutant in mutants(whole[: _blocks.content_size(len(whole))], count, seed):
        with open(broken, "wb") as file:
            blocks = _blocks.Writer(file)
            blocks.write(mutant or b"0")
            blocks.finish()
        try:
            rw.Trainer.resume(broken).network.validate()
        except FileError:
            refused += 1
    assert count / 2 < refused < count


def test_five_hundred_mutated_files_with_right_digests(saved, tmp_path):
    check_sealed_mutants(saved, tmp_path, 500, seed=2)


@pytest.mark.soak
def test_a_hundred_thousand_mutated_files_with_right_digests(saved, tmp_path):
    check_sealed_mutants(saved, tmp_path, 100_000, seed=time.time_ns())


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100, -1])
def test_cut_files(saved, tmp_path, size):
    (tmp_path / "some").write_bytes(saved[1].read_bytes()[:size])
    words = "is not a safetensors file: it has" if 0 <= size < 8 else "is cut short or damaged"
    with pytest.raises(FileError, match=words):
        rw.load(tmp_path / "some")


def test_foreign_files(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"w": np.zeros(3)}, path)
    with pytest.raises(FileError, match="not one that rewire has written"):
        rw.load(path)
    path.write_bytes(b"PK\x03\x04 and so on, long enough")
    with pytest.raises(FileError, match="not a safetensors file"):
        rw.load(path)
    with pytest.raises(FileNotFoundError, match="there is no file .*absent"):
        rw.load(tmp_path / "absent")
    with pytest.raises(IsADirectoryError):
        rw.load(tmp_path)


def test_file_error_is_a_value_error():
    error = FileError("a/b", "is odd")
    assert isinstance(error, ValueError) and str(error) == "a/b: is odd"
    assert (error.path, error.reason) == ("a/b", "is odd")


# --- files with a right checksum that somebody made up


def forge(saved, tmp_path, change, kind="trainer"):
    """Rewrite a good file after `change(config, arrays)`; its checksum is right."""
    contents = files.read(saved[1])
    config = json.loads(json.dumps({"trainer": contents.config, "notes": {}}))
    arrays = {name: array.copy() for name, array in contents.arrays.items()}
    changed = change(config, arrays)
    path = tmp_path / "forged.safetensors"
    _container.write(path, kind, config if changed is None else changed, arrays, "0.0")
    return path


def entry(*path_and_value):
    """A change of one entry of the trainer's config."""
    *path, value = path_and_value

    def change(config, arrays):
        at = config["trainer"]
        for key in path[:-1]:
            at = at[key]
        if value is None:
            del at[path[-1]]
        else:
            at[path[-1]] = value

    return change


def array(name, edit):
    """A change of one array; None removes it."""

    def change(config, arrays):
        new = None if edit is None else edit(arrays[name])
        if new is None:
            del arrays[name]
        else:
            arrays[name] = new

    return change


def put(index, value):
    def edit(a):
        a[index] = value
        return a

    return edit


FIELDS = ("network", "parameters", "layers.0.weight", "fields")
FORGERIES = {
    "other shape": entry("network", "parameters", "layers.0.weight", "shape", [3, 3]),
    "other kind": entry("network", "parameters", "layers.0.weight", "kind", "dense"),
    "other group": entry("network", "parameters", "layers.0.weight", "group", 8),
    "no parameters": entry("network", "parameters", {}),
    "parameters not a dict": entry("network", "parameters", 3),
    "a buffer that nobody has": entry("network", "buffers", {"layers.0.buffer.x": {}}),
    "unknown layer": entry("network", "layers", 0, "type", "os.system"),
    "layer of no type": entry("network", "layers", 0, "type", None),
    "layer with unknown option": entry("network", "layers", 0, "hook", "x"),
    "layers not a list": entry("network", "layers", 5),
    "no layers": entry("network", "layers", []),
    "layer is a number": entry("network", "layers", [1, 2]),
    "huge n_out": entry("network", "layers", 0, "n_out", 2**31 - 1),
    "huge n_in": entry("network", "layers", 3, "n_in", 2**31 - 1),
    "negative n_in": entry("network", "layers", 0, "n_in", -1),
    "group 3": entry("network", "layers", 0, "group", 3),
    "group 0": entry("network", "layers", 0, "group", 0),
    "group as text": entry("network", "layers", 0, "group", "1"),
    "unknown activation": entry("network", "layers", 0, "activation", {"name": "eval"}),
    "unknown dtype": entry("network", "dtype", "float16"),
    "other dtype": entry("network", "dtype", "float64"),
    "no seed": entry("network", "seed", None),
    "seed out of range": entry("network", "seed", 2**64),
    "unknown loss": entry("loss", {"name": "exec"}),
    "unfit loss": entry("loss", {"name": "binary_cross_entropy"}),
    "unknown optimizer": entry("optimizer", {"name": "__class__"}),
    "optimizer without lr": entry("optimizer", "lr", "fast"),
    "other optimizer": entry("optimizer", {"name": "adam"}),
    "unknown rewiring": entry("rewiring", {"name": "rm"}),
    "rewiring with odd zeta": entry("rewiring", "fraction", 7),
    "unknown callback": entry("callbacks", [{"name": "Popen"}]),
    "negative step": entry("state", "step", -1),
    "step not finite": entry("state", "step", float("inf")),
    "epoch not whole": entry("state", "epoch", 1.5),
    "history a number": entry("state", "history", 3),
    "no history": entry("state", "history", None),
    "unknown field dtype": entry(*FIELDS, "momentum", "dtype", "object"),
    "odd field width": entry(*FIELDS, "momentum", "per_slot", 7),
    "other field power": entry(*FIELDS, "momentum", "power", 2),
    "more rewirings than steps": entry("state", "rewirings", 999),
    "no fields": entry(*FIELDS, {}),
    "no standardizer": array("standardizer.mean", None),
    "short standardizer": array("standardizer.scale", lambda a: a[:-1].copy()),
    "no weights": array("layers.0.weight.values", None),
    "no indptr": array("layers.0.weight.indptr", None),
    "no sources": array("layers.2.weight.sources", None),
    "no bias": array("layers.0.bias.values", None),
    "no bias state": array("layers.0.bias.field.momentum", None),
    "no momentum": array("layers.0.weight.field.momentum", None),
    "short weights": array("layers.0.weight.values", lambda a: a[:-1].copy()),
    "wide weights": array("layers.0.weight.values", lambda a: np.repeat(a, 2, axis=1)),
    "other weight dtype": array("layers.0.weight.values", lambda a: a.astype("f8")),
    "other index dtype": array("layers.0.weight.sources", lambda a: a.astype("i8")),
    "source too large": array("layers.0.weight.sources", put(3, 20)),
    "source negative": array("layers.0.weight.sources", put(3, -1)),
    "source twice": array(
        "layers.0.weight.sources", lambda a: np.where(np.arange(len(a)) == 1, a[0], a).astype("i4")
    ),
    "sources unsorted": array("layers.0.weight.sources", lambda a: a[::-1].copy()),
    "indptr falls": array("layers.0.weight.indptr", put(2, 0)),
    "indptr negative": array("layers.0.weight.indptr", put(1, -5)),
    "indptr huge": array("layers.0.weight.indptr", put(1, 2**62)),
    "indptr end": array("layers.0.weight.indptr", put(-1, 3)),
    "indptr begin": array("layers.0.weight.indptr", put(0, 1)),
}


@pytest.mark.parametrize("change", FORGERIES.values(), ids=FORGERIES)
def test_forged_file_is_refused(saved, tmp_path, change):
    path = forge(saved, tmp_path, change)
    with pytest.raises(FileError) as caught:
        rw.Trainer.resume(path)
    assert caught.value.path == str(path) and caught.value.reason


@pytest.mark.parametrize(
    "kind, change, words",
    [
        ("pickle", None, "holds a 'pickle', expected a network or a trainer"),
        ("network", None, "has a configuration of trainer, notes, expected the objects network, notes"),
        ("trainer", lambda config, arrays: {}, "has a configuration of nothing"),
        (
            "trainer",
            lambda config, arrays: {"trainer": [], "notes": {}},
            "expected the objects trainer, notes",
        ),
        ("trainer", lambda config, arrays: {**config, "code": "x"}, "trainer, notes, code"),
    ],
)
def test_forged_kind_is_refused(saved, tmp_path, kind, change, words):
    path = forge(saved, tmp_path, change or (lambda config, arrays: None), kind)
    with pytest.raises(FileError, match=words):
        rw.load(path)


class Elsewhere(rw.Dropout):
    """A layer that some module registers when it is imported."""

    def config(self):
        return {**super().config(), "type": "Elsewhere"}


def test_a_layer_that_nobody_has_registered_names_the_way(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(layers.base.KINDS, "_makers", dict(layers.base.KINDS._makers))
    layers.register_layer(Elsewhere)
    rw.Sequential([rw.Sparse(4, 5), Elsewhere(0.1), rw.Sparse(5, 2)]).save(tmp_path / "own")
    assert isinstance(rw.load(tmp_path / "own").layers[1], Elsewhere)
    del layers.base.KINDS._makers["Elsewhere"]
    with pytest.raises(FileError, match="got 'Elsewhere'; .* import the module that registers it"):
        rw.load(tmp_path / "own")
    assert main(["inspect", str(tmp_path / "own")]) == 3
    assert "import the module that registers it" in capsys.readouterr().err


def test_later_version_is_said(saved, tmp_path):
    later = saved[1].read_bytes().replace(b'"version":"2"', b'"version":"10"')
    (tmp_path / "later").write_bytes(later)
    with pytest.raises(FileError, match="format version '10'; this rewire reads '2': update rewire"):
        rw.load(tmp_path / "later")


@pytest.mark.parametrize("blanks", [0, 20_000_000])
def test_drafts_are_refused_with_a_clear_word(tmp_path, blanks):
    """However long the header is: drafts kept the history there."""
    said = {"format": "rewire", "version": "1", "rewire": "0", "kind": "network", "config": "{}"}
    header = json.dumps({"__metadata__": said}, separators=(",", ":")).encode() + b" " * blanks
    (tmp_path / "old").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(FileError, match="was written by a draft of rewire, before the format of 0.1.0"):
        rw.load(tmp_path / "old")


def test_network_file_cannot_be_resumed(saved, tmp_path):
    saved[0].network.save(tmp_path / "n")
    with pytest.raises(FileError, match="rewire.load reads it"):
        rw.Trainer.resume(tmp_path / "n")


@pytest.mark.parametrize("config", ["[" * 200_000, '{"a":', "[1]", "", '{"network":1' + "0" * 10_000 + "}"])
def test_odd_json_is_refused(tmp_path, config):
    _container._write(tmp_path / "odd", "network", config, {}, "0")
    with pytest.raises(FileError, match="has a configuration"):
        rw.load(tmp_path / "odd")


def test_loading_runs_nothing(saved, tmp_path):
    """A loader in a process whose pickle and exec are traps."""
    code = """
import builtins, pickle, sys
import rewire as rw
def trap(*args, **kwargs):
    raise SystemExit("something was run")
pickle.load = pickle.loads = pickle.Unpickler = trap
builtins.eval = builtins.exec = trap
rw.Trainer.resume(sys.argv[1])
"""
    subprocess.run([sys.executable, "-c", code, str(saved[1])], check=True, timeout=HANG_SECONDS)
    source = "".join(Path(module.__file__).read_text() for module in (files, _saving, _container, _blocks))
    assert "import pickle" not in source and "eval(" not in source and "exec(" not in source


# --- exceptions of others


class Alarm(Exception):
    """What a signal handler of a user's raises."""


class OddAlarm(OverflowError):
    """One that looks like a fault of the file."""


@pytest.mark.parametrize("kind", [Alarm, OddAlarm, TimeoutError, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("what", ["trainer", "archive"])
def test_what_a_signal_handler_raises_comes_through(saved, tmp_path, kind, what):
    """Raised at one after the other of our own functions that reading a file calls."""
    np.savez(tmp_path / "d.npz", X=np.zeros((4, 2)), y=[0, 1, 0, 1])
    read, path = {"trainer": (rw.Trainer.resume, saved[1]), "archive": (load, tmp_path / "d.npz")}[what]
    ours = str(Path(rw.__file__).parent)

    def reading(number):
        """The calls of ours; the one of this number is interrupted."""
        count = 0

        def watch(frame, event, _):
            nonlocal count
            # A generator that nobody goes on with is closed by a call that can raise nothing.
            generator = frame.f_code.co_flags & inspect.CO_GENERATOR
            if event == "call" and frame.f_code.co_filename.startswith(ours) and not generator:
                count += 1
                if count == number:
                    signal.raise_signal(signal.SIGALRM)

        sys.setprofile(watch)
        try:
            read(path)
        finally:
            sys.setprofile(None)
        return count

    def handler(*_):
        raise kind("enough")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        calls = reading(0)
        for number in range(1, calls + 1, max(1, calls // 20)):
            with pytest.raises(kind, match="enough"):
                reading(number)
    finally:
        signal.signal(signal.SIGALRM, before)


# --- the old file or the new one


def test_permissions_are_kept(saved, tmp_path):
    t, _ = saved
    path = tmp_path / "t"
    old = os.umask(0o027)
    try:
        t.network.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        t.network.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(old)


def test_a_link_stays_a_link(saved, tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    saved[0].network.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    rw.load(tmp_path / "real")


def test_permissions_that_forbid_to_write_are_kept_and_setuid_is_not(saved, tmp_path):
    path = tmp_path / "t"
    for before, after in ((0o444, 0o444), (0o4755, 0o755), (0o2640, 0o640), (0o1600, 0o600)):
        path.write_text("old")
        path.chmod(before)
        saved[0].save(path)
        assert stat.S_IMODE(path.stat().st_mode) == after
        path.unlink()


@pytest.mark.parametrize("name", ["no/such/folder/t", ".", "file/t", "x" * 256, "loop"])
def test_impossible_targets(saved, tmp_path, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OSError, match="cannot write"):
        saved[0].save(tmp_path / name)
    with pytest.raises(OSError, match="cannot write"):
        writable_target(tmp_path / name)


@pytest.mark.parametrize("name", ["", "new/", "new/.", "new/.."])
def test_a_name_that_is_none_is_refused(saved, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    begin = rw.Checkpoint(name).on_fit_begin
    for save in (saved[0].save, saved[0].network.save, lambda path: begin(None)):
        with pytest.raises(FileNotFoundError, match="cannot write.*: .*(name is empty|no such folder)"):
            save(name)
    assert not os.listdir()


@pytest.mark.parametrize("name", ["x" * 99, "x" * 226, "x" * 255, "é" * 127])
def test_names_may_be_as_long_as_the_file_system_takes(saved, tmp_path, name):
    writable_target(tmp_path / name)
    for _ in range(2):
        saved[0].save(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    rw.load(tmp_path / name)


def special(path, kind):
    """Something at `path` that is no regular file."""
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(path))
    elif kind == "device":
        try:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except OSError:
            pytest.skip("device nodes cannot be made here")
    else:
        os.mkfifo(path.with_name("real") if kind == "link" else path)
        if kind == "link":
            path.symlink_to(path.with_name("real"))
    return path


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link"])
def test_what_is_no_regular_file_is_neither_replaced_nor_waited_for(saved, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # the names of sockets are short
    path = special(Path("s.npz"), kind)
    before, names = path.stat(), os.listdir()
    for save in (saved[0].save, saved[0].network.save, writable_target):
        with pytest.raises(OSError, match="cannot write s.npz: it is a .*, expected a regular file"):
            save(path)
    for read in (rw.load, rw.Trainer.resume, rw.datasets.load, rw.datasets.load_features):
        with pytest.raises(FileError, match="s.npz: is a .*, expected a regular file"):
            read(path)
    after = path.stat()
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino) and os.listdir() == names


def test_failed_save_leaves_the_old_file_and_no_rubbish(saved, tmp_path, monkeypatch):
    t, _ = saved
    path = tmp_path / "t"
    t.save(path)
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        t.network.save(path)
    assert caught.value.filename == str(path)  # which of several is not to be guessed
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("name", ["a\0b", b"a\0b", "\ud800"])
def test_names_that_no_file_can_have_are_refused_by_argument(saved, name):
    t, _ = saved
    for call in (t.save, t.network.save, rw.load, rw.Trainer.resume, rw.Checkpoint):
        with pytest.raises(ValueError, match="^path must be a name that a file can have, got "):
            call(name)


def test_orphans_go_and_saves_under_way_stay(saved, tmp_path):
    path = tmp_path / "t"
    orphan = tmp_path / ".t.rewire-0123456789ab.tmp"
    orphan.write_bytes(b"half")
    others = [".u.rewire-0123456789ab.tmp", ".t.rewire-notes.tmp", ".t.rewire-0123456789abc.tmp"]
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    with atomic_write(path) as temporary:
        saved[0].network.save(path)
        assert os.path.exists(temporary), "a save under way was taken for an orphan"
        assert not orphan.exists() and all((tmp_path / name).exists() for name in others)
        Path(temporary).write_bytes(b"later")
    assert path.read_bytes() == b"later"


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "j", {"a": [float("nan"), 1.5, (float("inf"),)], 3: None})
    assert json.loads((tmp_path / "j").read_text()) == {"a": [None, 1.5, [None]], "3": None}


KILLED = """
import os, sys
import numpy as np
import rewire as rw
path = sys.argv[1]
nets = [rw.Sequential([rw.Sparse(800, 800, density=0.5)], seed=seed) for seed in (0, 1)]
nets[0].save(path)
for _ in sys.stdin:  # a line asks for a child that saves until it is killed
    child = os.fork()
    while not child:
        for net in nets:
            net.save(path)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


def check_kills(tmp_path, rounds):
    """Kill a process that saves two networks by turns: the file holds one of them, whole."""
    path = tmp_path / "net.safetensors"
    rng = np.random.default_rng(rounds)
    good = {
        rw.Sequential([rw.Sparse(800, 800, density=0.5)], seed=s).layers[0].store.sources().tobytes()
        for s in (0, 1)
    }
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as parent:
        for _ in range(rounds):
            parent.stdin.write(b"\n")
            child = int(parent.stdout.readline())
            time.sleep(rng.uniform(0, 0.05))
            os.kill(child, signal.SIGKILL)
            assert parent.stdout.readline() == b"gone\n"
            assert rw.load(path).layers[0].store.sources().tobytes() in good
    rw.load(path).save(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "orphans of killed saves are left"


def test_killed_while_saving(tmp_path):
    check_kills(tmp_path, 20)


@pytest.mark.soak
def test_killed_while_saving_many_times(tmp_path):
    check_kills(tmp_path, 500)


@pytest.mark.parametrize("name", ["trainings", "history"])
def test_a_state_of_another_version_says_so(name):
    made = rw.Trainer(rw.Sequential([rw.Sparse(4, 3, density=0.5)]), loss="mse")
    config = made.config()
    del config["state"][name]
    with pytest.raises(ValueError, match=f"state lacks '{name}': another version of rewire has written it"):
        rw.Trainer.from_config(config, made.arrays())
