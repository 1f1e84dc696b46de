"""Small files cost little memory: at most 64 MiB and twice the file, whatever it claims."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

import rewire as rw
from rewire import _container, files
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
    metadata = {"format": "rewire", "version": "1", "rewire": "0", "kind": "network", "config": config}
    metadata["checksum"] = _container._ALGORITHM + _container._digest(metadata, net.arrays())
    save_file(net.arrays(), path, metadata=metadata)


def repeated(piece, count):
    return lambda path: with_config(path, "[" + piece * count + "0]")


def keys(path):
    with_config(path, "{" + ",".join(f'"{i:x}":0' for i in range(315_000)) + "}")


def escaped(path):
    """Brackets that are seen only once the header has been parsed."""
    repeated("[],", 500_000)(path)
    raw = path.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    header = raw[8:end].replace(b"[],", rb"\u005b\u005d,")
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + raw[end:])


def many_arrays(path, count=31_000):
    arrays = {f"x{i}": np.zeros(0, "f4") for i in range(count)}
    _container.write(path, "network", {"network": small().config(), "notes": {}}, arrays, "0")


def wide(path, n_in=10**8, **options):
    """A few links of a layer with many inputs."""
    net = rw.Sequential([rw.Sparse(n_in, 2, density=0.0), rw.Sparse(2, 2, density=1.0)], **options)
    net.layers[0].store.insert([0, 0, 0, 1, 1, 1, 1], [0, 5, 9, 1, 2, 3, n_in - 1])
    net.save(path)


def large(group):
    return lambda path: rw.Sequential([rw.Sparse(2000, 4000, density=0.5, group=group)]).save(path)


def long_history(path, epochs=55_000):
    """A trainer after many epochs: 22 MB, nearly all of it JSON."""
    X = np.random.default_rng(0).normal(size=(8, 3))
    trainer = rw.Trainer(small(), loss="cross_entropy", optimizer=rw.Adam(0.001), rewiring="set")
    trainer.fit(X, [0, 1] * 4, epochs=2, validation_data=(X, [1, 0] * 4), verbose=0)
    figures = np.random.default_rng(1).random((epochs, 7)).tolist()
    names = [name for name, value in trainer.history[-1].items() if isinstance(value, float)][:7]
    trainer.history.epochs = [
        {**trainer.history[-1], **dict(zip(names, row, strict=True)), "epoch": epoch}
        for epoch, row in enumerate(figures)
    ]
    trainer.epoch = trainer.reach = epochs
    trainer.save(path)


FILES = {
    "lists": (repeated("[],", 1_000_000), "refused"),
    "few lists": (repeated("[],", 99_000), "refused"),
    "objects": (repeated("{},", 400_000), "refused"),
    "objects with an entry": (repeated('{"a":0},', 105_000), "refused"),
    "keys": (keys, "refused"),
    "strings": (repeated('"\u0101\U0001f600",', 170_000), "refused"),
    "many strings": (repeated('"\u0101\U0001f600",', 900_000), "refused"),
    "numbers": (repeated("1.5,", 1_000_000), "refused"),
    "escaped brackets": (escaped, "refused"),
    "arrays": (many_arrays, None),
    "more arrays": (lambda path: many_arrays(path, 60_000), "refused"),
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
    row = min(contents.config["history"]["epochs"], key=lambda row: len(json.dumps(row)))
    contents.config["history"]["epochs"] = [row] * 20_000
    config = {"trainer": contents.config, "notes": {}}
    _container.write(tmp_path / "long", "trainer", config, contents.arrays, "0")
    assert len(files.read(tmp_path / "long").config["history"]["epochs"]) == 20_000


def test_what_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    trainer = rw.Trainer(small(), loss="cross_entropy")
    trainer.fit(np.zeros((8, 3)), [0, 1] * 4, epochs=30, verbose=0)
    trainer.save(tmp_path / "t")
    before = (tmp_path / "t").read_bytes()
    monkeypatch.setattr(_container, "_HEADER_LIMIT", 4000)
    with pytest.raises(ValueError, match=r"cannot save: .* `del trainer.history.epochs\[:-1000\]`"):
        trainer.save(tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == before
    with pytest.raises(rw.FileError, match="claims a header of"):
        rw.load(tmp_path / "t")
    del trainer.history.epochs[:-1]
    trainer.save(tmp_path / "t")
    assert rw.Trainer.resume(tmp_path / "t").epoch == 30


@given(st.dictionaries(st.text(), st.text(), max_size=4), st.integers(1, 5))
def test_a_checksum_does_not_depend_on_pieces(metadata, size):
    """It is that of the whole text, as files of before have it."""
    said, described = sorted(metadata.items()), [["weights", "F32", [3, 2]]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_container, "_PIECE", size)
        found = b"".join(_container._canonical(said, described))
    assert found == json.dumps([said, described], separators=(",", ":")).encode()
