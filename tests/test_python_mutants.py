"""Every broken variant of the package is caught by the test that it names, which the unbroken one passes."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import rewire as rw
from mutants.list import Mutant
from mutants.python import MUTANTS
from small import HANG_SECONDS

TESTS = Path(__file__).resolve().parent
PACKAGE = Path(rw.__file__).resolve().parent  # with the compiled core

# As for the core: whether tests are sharp does not depend on the day, so one runs every day, and the others
# wait for `make soak`.
FIRST = MUTANTS[:1]

Outcomes = dict[str, Future[subprocess.CompletedProcess[str]]]


def outcome(nodes: list[str], folder: Path, mutant: Mutant | None = None) -> subprocess.CompletedProcess[str]:
    """Tests under a copy of the package, with a line broken."""
    shutil.copytree(PACKAGE, folder / "rewire")
    if mutant is not None:
        file = folder / "rewire" / mutant.file
        file.write_text(file.read_text().replace(mutant.original, mutant.broken))
        for compiled in file.parent.glob(f"__pycache__/{file.stem}.*"):
            compiled.unlink()  # of the line before it was broken
    # The copy must be what is imported, and nothing of this run: not its reports, its processes, its --soak.
    code = (
        f"import sys, pytest, rewire; assert rewire.__file__.startswith({str(folder)!r}); "
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=line"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "HYPOTHESIS_PROFILE": "everyday"}
    environment = {k: v for k, v in environment.items() if not k.startswith(("PYTEST_", "COV_"))}
    return subprocess.run(
        [sys.executable, "-c", code, *options, *(f"tests/{node}" for node in nodes)],
        cwd=TESTS.parent, env=environment, capture_output=True, text=True, timeout=HANG_SECONDS,
    )  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """All mutants that are asked for at once, as many as there are cores."""
    wanted = MUTANTS if request.config.getoption("--soak") else FIRST
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield {
            m.name: pool.submit(outcome, [m.caught_by], tmp_path_factory.mktemp(m.name), m) for m in wanted
        }


@pytest.mark.soak  # every day these tests run among all others
def test_the_unbroken_package_passes(tmp_path):
    """A copy, with the tests that mutants name."""
    run = outcome(sorted({m.caught_by for m in MUTANTS}), tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "skipped" not in run.stdout  # what is left out catches nothing


def test_names_differ():
    assert len({m.name for m in MUTANTS}) == len(MUTANTS) >= 20


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_the_line_to_break_is_there_once(mutant: Mutant):
    assert (PACKAGE / mutant.file).read_text().count(
        mutant.original
    ) == 1 and mutant.broken != mutant.original
    file, test = mutant.caught_by.partition("[")[0].split("::")
    assert f"\ndef {test}(" in (TESTS / file).read_text()


@pytest.mark.parametrize(
    "mutant",
    [m if m in FIRST else pytest.param(m, marks=pytest.mark.soak) for m in MUTANTS],
    ids=lambda m: m.name,
)
def test_mutant_is_caught(mutant: Mutant, outcomes: Outcomes):
    run = outcomes[mutant.name].result()
    # 1: a test has failed; anything else is no verdict, such as a package that cannot be imported.
    assert run.returncode == 1, run.stdout + run.stderr
