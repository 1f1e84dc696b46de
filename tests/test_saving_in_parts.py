"""What is saved comes out of the stores a little at a time, and is what a copy of them holds."""

import os
import subprocess
import sys

import numpy as np
import pytest

import rewire as rw
from rewire._container import Parts
from rewire.parameters import streaming
from small import HANG_SECONDS, SELDOM


def whole(array):
    """An array, of its parts if it comes in these."""
    if not isinstance(array, Parts):
        return array
    return np.concatenate([part.reshape(-1) for part in array.parts()]).reshape(array.shape)


@SELDOM
@pytest.mark.parametrize("groups, values", [(1 << 13, 1 << 17), (3, 50), (1 << 13, 7), (1, 1)])
@pytest.mark.parametrize("group, dtype", [(1, "float32"), (4, "float64"), (8, "float32")])
def test_parts_are_the_arrays(group, dtype, groups, values, monkeypatch):
    monkeypatch.setattr(streaming, "_GROUPS", groups)
    monkeypatch.setattr(streaming, "_VALUES", values)
    rng = np.random.default_rng(0)
    for n_out, n_in, density in ((40, 30, 0.3), (37, 200, 0.9), (7, 3, 0.0)):
        layers = [rw.Sparse(n_in, n_out, density=density, group=group), rw.Sparse(n_out, 3, density=1.0)]
        net = rw.Sequential(layers, seed=1, dtype=dtype)
        rule = rw.rewiring.SET(every=2)
        trainer = rw.Trainer(net, loss="mse", optimizer=rw.Adam(0.01), rewiring=rule)
        trainer.fit(rng.normal(size=(30, n_in)), rng.normal(size=(30, 3)), batch_size=10, verbose=0)
        arrays, parts = net.arrays(None), net.parts(None)
        assert list(arrays) == list(parts) and any(isinstance(part, Parts) for part in parts.values())
        for name, array in arrays.items():
            found = whole(parts[name])
            assert found.dtype == array.dtype == parts[name].dtype and found.shape == array.shape
            assert np.array_equal(found, array)


def test_a_part_that_is_not_taken_pins_nothing():
    net = rw.Sequential([rw.Sparse(30, 40, density=0.3), rw.Sparse(40, 3, density=1.0)])
    parts = net.parts(None)["layers.0.weight.values"].parts()
    next(iter(parts))
    assert net.layers[0].store._core.pins == 0


PEAKS = """
import os, sys
import numpy as np
import rewire as rw
def kib(name):
    with open("/proc/self/status") as file:
        return int(file.read().split(name + ":")[1].split()[0])
def peak(links):
    layers = [rw.Sparse(1000, 100_000, links=links, activation="relu"), rw.Sparse(100_000, 2, links=1000)]
    trainer = rw.Trainer(rw.Sequential(layers, seed=0), loss="mse", optimizer=rw.SGD(0.01, momentum=0.9))
    trainer.fit(np.zeros((2, 1000), "f4"), np.zeros((2, 2)), epochs=1, verbose=0)
    for save in (trainer.save, trainer.network.save):
        sys.stdout.flush()
        child = os.fork()
        if not child:
            before = kib("VmRSS")
            save(sys.argv[1])
            print(links, save.__qualname__, kib("VmHWM") - before, flush=True)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            raise SystemExit("a child failed")
peak(1000)
peak(2_500_000)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the peak from /proc")
def test_memory_for_saving_does_not_grow_with_the_network(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PEAKS, str(tmp_path / "f")],
        capture_output=True, text=True, timeout=HANG_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    taken = {(links, save): int(kib) / 1024 for links, save, kib in lines}
    assert len(taken) == 4 and all(mib < 16 for mib in taken.values()), taken  # a copy takes 19 or 29
