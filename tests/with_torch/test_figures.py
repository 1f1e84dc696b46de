"""The benchmark of torch models, on tiny shapes; its figures mean nothing here."""

import importlib
import json
import os
import subprocess
import sys

import pytest
import torch

from pages import ROOT

BENCH = ROOT / "bench"
pytestmark = pytest.mark.skipif(not BENCH.is_dir(), reason="bench/ is not part of what is tested here")
PEERS = {"sparselab"}  # which need not be there


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    threads = torch.get_num_threads()
    yield importlib.import_module("torch_layers"), importlib.import_module("_torch_sides")
    torch.set_num_threads(threads)


def test_every_step_runs(scripts):
    script, sides = scripts
    for of, sizes, kinds in script.cells(tiny=True).values():
        ours = [*kinds, f"{kinds[-1]}, bf16"]
        made = [sides.dense(1, of, sizes), sides.rewire(1, of, ours, sizes)]
        if of == "layer":
            made.append(sides.csr(1, **sizes))
        for steps in made:
            facts = steps.pop("facts")
            assert {*steps} == {*facts} and all(facts.values())
            for step in steps.values():
                step()
    assert {*script.ASKED} <= {*script.cells(tiny=False)}


def test_losses_over_time(scripts, tmp_path, monkeypatch):
    """Every side is trained, tested and shown; what is there is not made twice."""
    monkeypatch.setenv("REWIRE_BENCH_RESULTS", str(tmp_path))
    script, runs = importlib.import_module("torch_quality"), importlib.import_module("_text_runs")
    made = []

    def here(target, **facts):
        made.append(facts.get("judged_by"))
        return getattr(runs, target.partition(":")[2])(threads=1, **facts)

    monkeypatch.setattr(script, "apart", here)
    for _ in range(2):
        script.main(["--tiny"])
        assert made == [None] + ["validation"] * len(runs.SIDES) + ["test"] * len(runs.SIDES)
    cells = json.loads((tmp_path / "torch_quality.json").read_text())["cells"]
    assert {*cells["test"]} == {*runs.SIDES} and len({str(loss) for loss in cells["test"].values()}) > 3
    assert all(seconds > 0 for by_length in cells["cpu_seconds"].values() for seconds in by_length["2"])
    weights = {side: pace["parameters"] for side, pace in cells["paces"].items()}
    assert weights["dense, as many weights"] <= weights["sparse, static"] < weights["dense"]
    other = runs.text_facts() | {"sha256": "another"}
    monkeypatch.setattr(script, "text_facts", lambda: other)
    with pytest.raises(SystemExit, match="another text"):
        script.main(["--tiny"])


def test_nobody_is_tested_on_what_was_read(scripts):
    text = importlib.import_module("_text_runs").Text()
    (train, judged), (all_but_last, last) = text.parts("validation"), text.parts("test")
    assert torch.equal(torch.cat([train, judged]), all_but_last)
    assert torch.equal(torch.cat([all_but_last, last]), text.data)
    for read, unseen in ((train, judged), (all_but_last, last)):
        known = {paragraph.strip() for paragraph in text.said(read).split("\n\n")}
        asked = [paragraph.strip() for paragraph in text.said(unseen).split("\n\n")]
        twice = sum(len(paragraph) for paragraph in asked if paragraph in known)
        assert len(asked) > 100 and twice < 0.01 * len(unseen)


@pytest.mark.soak
def test_script(tmp_path):
    command = [sys.executable, BENCH / "torch_layers.py", "--tiny", "--threads", "1"]
    variables = os.environ | {"REWIRE_BENCH_RESULTS": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    assert done.returncode == 0, done.stderr
    saved = json.loads((tmp_path / "torch_layers.json").read_text())
    assert len(saved["cells"]) == 5
    for cell in saved["cells"].values():
        assert {*cell["refused"]} <= PEERS, cell["refused"]
        assert all(ratio["median"] is not None for ratio in cell["float32"].values())
