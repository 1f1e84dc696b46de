"""Files cost little memory: 64 MiB and twice the file, whatever it claims; 64 MiB beside large arrays."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import rewire as rw
from rewire import _blocks, _container, files
from small import HANG_SECONDS

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the peak from /proc")

# One process imports; for every file a fork of it, whose peak begins where the fork began, reads the file.
READER = """
import os, sys
import rewire as rw
import rewire.cli, rewire.cli.inspect
def kib(name):
    with open("/proc/self/status") as file:
        return int(file.read().split(name + ":")[1].split()[0])
def inspect(path):
    sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if rewire.cli.main(["inspect", path, "--json", os.devnull]) not in (0, 3):
        raise SystemExit("inspect failed")
rw.load(sys.argv[1])
for path in sys.argv[2:]:
    for read in (rw.load, inspect):
        sys.stdout.flush()
        child = os.fork()
        if not child:
            before, out = kib("VmRSS"), os.dup(1)
            try:
                read(path)
                end = "read"
            except rw.FileError:
                end = "refused"
            os.write(out, f"{read.__name__} {end} {kib('VmHWM') - before}\\n".encode())
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            raise SystemExit("a child failed")
"""


def small():
    return rw.Sequential([rw.Sparse(3, 2, density=1.0)])


def with_config(path, extra):
    """A valid network beside whose entries the JSON text ``extra`` stands: refused, if only as unknown."""
    net = small()
    config = f'{{"network":{json.dumps(net.config())[:-1]},"x":{extra}}},"notes":{{}}}}'
    _container._write(path, "network", config, net.arrays(), "0")


LARGE = 5_000_000  # bytes of a configuration, up to which the bound holds whatever is in it


def repeated(piece, count):
    return lambda path: with_config(path, "[" + piece * count + "0]")


def padded(piece, signs):
    """As many as may be there, so many bytes long that the signs are as rare as they must be."""
    piece += " " * (max(36 * (piece.count("[") + piece.count("{")), 9 * signs) - len(piece))
    return repeated(piece, LARGE // len(piece))


def keys(path):
    with_config(path, "{" + ",".join(f'"{i:x}":0'.ljust(18) for i in range(LARGE // 19)) + "}")


def rows(count):
    """A trainer with a history of small rows that take much memory, with blanks to get through."""

    def make(path):
        trainer = rw.Trainer(small(), loss="cross_entropy")
        trainer.save(path)
        contents = files.read(path)
        text = json.dumps({"trainer": contents.config, "notes": {}})
        forged = text.replace('"epochs": []', '"epochs": [' + ('{"a":0}' + 29 * " " + ",") * count + "{}]")
        assert forged != text
        _container._write(path, "trainer", forged, contents.arrays, "0")

    return make


def header(piece, count):
    """A file with right digests, and a header in which ``piece`` is repeated, within or beside an entry."""

    def make(path):
        said = json.dumps(dict(zip(_container._KEYS, ("rewire", "2", "0", "network"), strict=True)))
        text = f'{{"__metadata__":{said},"x":{piece("", count)}}}'.replace(" ", "").encode()
        with open(path, "wb") as file:
            blocks = _blocks.Writer(file)
            blocks.write(len(text).to_bytes(8, "little") + text)
            blocks.finish()

    return make


def listed(item):
    return lambda _, count: "[" + item * count + "0]"


def shaped(item):
    return lambda _, count: '{"dtype":"F32","shape":[' + item * count + '0],"data_offsets":[0,0]}'


def many_arrays(path, count=31_000):
    arrays = {f"x{i}": np.zeros(0, "f4") for i in range(count)}
    config = json.dumps({"network": small().config(), "notes": {}})
    _container._write(path, "network", config, arrays, "0")


def wide(path, n_in=10**8, **options):
    """A few links of a layer with many inputs."""
    net = rw.Sequential([rw.Sparse(n_in, 2, density=0.0), rw.Sparse(2, 2, density=1.0)], **options)
    net.layers[0].store.insert([0, 0, 0, 1, 1, 1, 1], [0, 5, 9, 1, 2, 3, n_in - 1])
    net.save(path)


def large(group):
    return lambda path: rw.Sequential([rw.Sparse(2000, 4000, density=0.5, group=group)]).save(path)


def long_history(path, epochs=75_000):
    """A trainer after many epochs: 30 MB, nearly all of it JSON."""
    X = np.random.default_rng(0).normal(size=(8, 3))
    trainer = rw.Trainer(small(), loss="cross_entropy", optimizer=rw.Adam(0.001), rewiring="set")
    trainer.fit(X, [0, 1] * 4, epochs=2, validation_data=(X, [1, 0] * 4), verbose=0)
    trainer.save(path)
    contents = files.read(path)
    state = contents.config["state"]
    state["epoch"] = state["run_end"] = epochs
    row = json.dumps(state["history"]["epochs"][1], separators=(",", ":"))
    state["history"]["epochs"].clear()
    assert '"epoch":1,' in row
    rows = ",".join(row.replace('"epoch":1,', f'"epoch":{epoch},') for epoch in range(epochs))
    text = json.dumps({"trainer": contents.config, "notes": {}}, separators=(",", ":"))
    assert text.count('"epochs":[]') == 1
    text = text.replace('"epochs":[]', f'"epochs":[{rows}]')
    _container._write(path, "trainer", text, contents.arrays, "0")


FILES = {
    "lists": (repeated("[],", 1_000_000), "refused"),
    "few lists": (repeated("[],", 9_900), "refused"),
    "lists with blanks": (padded("[],", 0), "refused"),
    "objects": (padded("{},", 0), "refused"),
    "objects with an entry": (padded('{"a":0},', 2), "refused"),
    "keys": (keys, "refused"),
    "strings": (padded('"\\u0101\\ud83d",', 2), "refused"),
    "many strings": (repeated('"\\u0101\\ud83d",', 900_000), "refused"),
    "numbers": (repeated("1.5,", LARGE // 4), "refused"),
    "rows": (rows(LARGE // 37), None),
    "lists in the header": (header(listed("[],"), 1_900_000), "refused"),
    "few lists in the header": (header(listed("[],"), 99_000), "refused"),
    "strings in the header": (header(listed('"\\ud800",'), 174_000), "refused"),
    "numbers in the header": (header(listed("1.5,"), 1_400_000), "refused"),
    "long shape in the header": (header(shaped("999,"), 1_400_000), "refused"),
    "arrays": (many_arrays, None),
    "more arrays": (lambda path: many_arrays(path, 40_000), "refused"),
    "long history": (long_history, "read"),
    "wide layer": (wide, "read"),
    "wider layer": (lambda path: wide(path, 2**31 - 17, dtype="float64"), "read"),
    "large layer": (large(1), "read"),
    "large layer in groups": (large(8), "read"),
}


def test_memory_for_reading_is_bounded_by_the_file(tmp_path):
    paths = [tmp_path / name for name in FILES]
    for path, (make, _) in zip(paths, FILES.values(), strict=True):
        make(path)
    small().save(tmp_path / "first")
    command = [sys.executable, "-c", READER, str(tmp_path / "first"), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_SECONDS)
    assert done.returncode == 0, done.stderr
    results = [line.split() for line in done.stdout.splitlines()]
    assert len(results) == 2 * len(paths)
    for k, (path, (_, wanted)) in enumerate(zip(paths, FILES.values(), strict=True)):
        for what, end, kib in results[2 * k : 2 * k + 2]:
            allowed = 64 * 1024 + 2 * path.stat().st_size / 1024
            assert int(kib) <= allowed, f"{path.name}: {what} took {kib} KiB, allowed are {allowed:.0f}"
            assert what == "inspect" or wanted in (end, None), f"{path.name} was {end}"


# What is measured is done in a fork, as above. Two arrays, each of which would be too much.
STREAM = """
import json, os, sys
import numpy as np
from rewire import _container
from rewire._fileio import open_regular
ITEMS, PARTS = 24 << 20, 96
def kib(name):
    with open("/proc/self/status") as file:
        return int(file.read().split(name + ":")[1].split()[0])
def part(k):
    return np.full(ITEMS // PARTS, k, "f4")
def in_parts(path, arrays):
    parts = _container.Parts("<f4", (ITEMS,), lambda: map(part, range(PARTS)))
    _container.write(path, "network", {}, {"a": parts, "b": parts}, "0")
def whole(path, arrays):
    _container.write(path, "network", {}, arrays, "0")
def turned(path, arrays):
    _container.write(path, "network", {}, {name: a.reshape(2, -1).T for name, a in arrays.items()}, "0")
def read(path, arrays):
    for found in _container.read(path)[2].values():
        assert all((row == k).all() for k, row in enumerate(found.reshape(PARTS, -1)))
def in_pieces(path, arrays):
    with open_regular(path) as file:
        reader = _container.Reader(path, file)
        total = sum(float(piece.sum(dtype="f8")) for name in "ab" for piece in reader.pieces(name))
    assert total == 2 * sum(range(PARTS)) * ITEMS // PARTS
path = sys.argv[1]
_container.write(path, "network", {}, {"a": np.zeros(2, "f4")}, "0")
_container.read(path)
arrays = dict.fromkeys("ab", np.concatenate([part(k) for k in range(PARTS)]))
for what in (turned, in_parts, read, whole, in_pieces):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        before = kib("VmRSS")
        what(path, arrays)
        print(what.__name__, kib("VmHWM") - before, flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise SystemExit(f"{what.__name__} failed")
"""


def test_large_arrays_are_written_and_read_without_copies(tmp_path):
    command = [sys.executable, "-c", STREAM, str(tmp_path / "f")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_SECONDS)
    assert done.returncode == 0, done.stderr
    taken = {name: int(kib) / 1024 for name, kib in map(str.split, done.stdout.splitlines())}
    arrays = 2 * 96
    allowed = {"turned": 64, "in_parts": 64, "read": arrays + 64, "whole": 64, "in_pieces": 64}
    assert taken.keys() == allowed.keys() and (tmp_path / "f").stat().st_size > arrays << 20
    assert all(taken[what] <= mib for what, mib in allowed.items()), taken


def test_long_histories_and_deep_networks_are_read(tmp_path):
    """The signs that are counted do not get in the way of what training writes."""
    layers = [rw.Sparse(4, 4, density=0.5, activation=rw.AllReLU(0.6)) for _ in range(400)]
    net = rw.Sequential([*layers, rw.Sparse(4, 2, density=1.0)])
    options = {"optimizer": rw.Adam(0.001), "rewiring": rw.SET(), "standardize": True}
    trainer = rw.Trainer(net, loss="cross_entropy", **options)
    X = np.random.default_rng(0).normal(size=(8, 4))
    trainer.fit(X, [0, 1] * 4, epochs=1, verbose=0)
    trainer.save(tmp_path / "deep")
    assert len(rw.Trainer.resume(tmp_path / "deep").network.layers) == 401

    trainer = rw.Trainer(small(), loss="cross_entropy")
    trainer.fit(X[:, :3], [0, 1] * 4, epochs=1, verbose=0)
    trainer.save(tmp_path / "short")
    contents = files.read(tmp_path / "short")
    row = min(contents.config["state"]["history"]["epochs"], key=lambda row: len(json.dumps(row)))
    contents.config["state"]["history"]["epochs"] = [row] * 20_000
    config = {"trainer": contents.config, "notes": {}}
    _container.write(tmp_path / "long", "trainer", config, contents.arrays, "0")
    assert len(files.read(tmp_path / "long").config["state"]["history"]["epochs"]) == 20_000


def test_what_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    trainer = rw.Trainer(small(), loss="cross_entropy")
    trainer.fit(np.zeros((8, 3)), [0, 1] * 4, epochs=30, verbose=0)
    trainer.save(tmp_path / "t")
    before = (tmp_path / "t").read_bytes()
    monkeypatch.setattr(_container, "_CONFIG_LIMIT", 4000)
    with pytest.raises(ValueError, match=r"cannot save: .* `del trainer.history.epochs\[:-1000\]`"):
        trainer.save(tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == before
    with pytest.raises(rw.FileError, match="claims a configuration of"):
        rw.load(tmp_path / "t")
    del trainer.history.epochs[:-1]
    trainer.save(tmp_path / "t")
    assert rw.Trainer.resume(tmp_path / "t").epoch == 30
