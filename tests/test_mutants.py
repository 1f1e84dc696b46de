"""Every broken variant of the core is caught by the C test that it names, which the unbroken one passes."""

import os
import random
import re
import shutil
import signal
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from mutants.arithmetic import MUTANTS as ARITHMETIC
from mutants.list import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "sparse_core"
# The structure only: no kernels, no threads.
FILES = (
    "base/base base/mem base/normal base/hypergeometric base/topk "
    "store/store store/mirror store/links store/check store/plan store/shift store/edit store/csr "
    "store/loader store/structure store/blend store/merge "
    "rules/prune rules/prune_below rules/prune_few rules/grow_random rules/grow_paths rules/deepr "
    "rules/topkast ops/average"
).split()
# The kernels of one instruction set are enough to ask whether their tests are sharp.
KERNELS = {"#define RW_X86 1": "#define RW_X86 0", "#define RW_NEON 1": "#define RW_NEON 0"}
FLAGS = ["-std=c11", "-DRW_TEST", "-ffp-contract=off", "-Itests"]
# Of processor time, of which no test of the unbroken program takes more than a few. A broken store may loop
# for ever; one that is stopped is not caught.
SECONDS = 120

# Mutants ask whether the C tests are sharp, which a change of the core alone does not alter. One of each C
# file runs every day, so that no chapter of the C tests falls silent; the others wait for `make soak`.
FIRST = list({m.file: m for m in reversed(MUTANTS) if not m.file.endswith(".h")}.values())

CC = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
pytestmark = pytest.mark.skipif(
    CC is None or not CORE.is_dir(), reason="needs a C compiler and the sources beside the tests"
)


def compile_core(source: Path, build: Path, names: list[str]) -> None:
    """Objects of ``names``, of which test programs begin with "test_", from the sources in ``source``."""
    for name in names:
        ours = name.startswith("test_")  # to optimise it would take longer than it saves
        file = ROOT / f"tests/{name}.c" if ours else source / f"{name}.c"
        level = "-O0" if ours else "-O1"
        command = [CC, level, *FLAGS, f"-I{source}", "-c", str(file), "-o", str(object_of(build, name))]
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)


def object_of(build: Path, name: str) -> Path:
    """Where the object of a source lies: names of files are unique over the folders of the core."""
    return build / f"{Path(name).name}.o"


def link(objects: dict[str, Path], program: Path) -> Path:
    subprocess.run([CC, *map(str, objects.values()), "-o", str(program), "-lm"], check=True, cwd=ROOT)
    return program


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> dict[str, Path]:
    """Objects of the unbroken core, compiled once: those of `make test-c` where they are up to date."""
    build, there = tmp_path_factory.mktemp("sound"), ROOT / "build" / "c" / "serial"
    newest = max(path.stat().st_mtime for folder in (CORE, ROOT / "tests") for path in folder.rglob("*.[ch]"))
    objects = {name: object_of(there, name) for name in [*FILES, "test_core"]}
    objects = {k: path for k, path in objects.items() if path.exists() and path.stat().st_mtime > newest}
    missing = [name for name in [*FILES, "test_core"] if name not in objects]
    compile_core(CORE, build, missing)
    return objects | {name: object_of(build, name) for name in missing}


def outcome(mutant: Mutant, sound: dict[str, Path], build: Path) -> str:
    """What its test said of a mutant: "passed", "failed" (a crash is a failure), or "hung" at the limit."""
    text = (CORE / mutant.file).read_text()
    source = build / "sparse_core"
    shutil.copytree(CORE, source)
    (source / mutant.file).write_text(text.replace(mutant.original, mutant.broken))
    changed = [*FILES, "test_core"] if mutant.file.endswith(".h") else [mutant.file.removesuffix(".c")]
    compile_core(source, build, changed)
    program = link(sound | {name: object_of(build, name) for name in changed}, build / "test_core")
    command = ["sh", "-c", f"ulimit -S -t {SECONDS}; exec {program} {mutant.caught_by}"]
    run = subprocess.run(command, cwd=build, capture_output=True)
    if run.returncode == -signal.SIGXCPU:
        return "hung"
    return "passed" if run.returncode == 0 else "failed"


@pytest.fixture(scope="module")
def outcomes(request, sound, tmp_path_factory):
    """All mutants that are asked for at once, as many as there are cores."""
    wanted = MUTANTS if request.config.getoption("--soak") else FIRST
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield {m.name: pool.submit(outcome, m, sound, tmp_path_factory.mktemp(m.name)) for m in wanted}


@pytest.mark.soak  # every day `make test-c` runs these tests among all others
def test_the_unbroken_core_passes(sound, tmp_path):
    """The tests that mutants name."""
    program = link(sound, tmp_path / "test_core")
    for name in sorted({m.caught_by for m in MUTANTS}):
        run = subprocess.run([program, name], capture_output=True, text=True)
        assert run.returncode == 0, run.stdout
        assert int(re.fullmatch(r"(\d+) passed, 0 failed", run.stdout.strip().splitlines()[-1])[1]) >= 1


@pytest.mark.soak
def test_ten_million_random_edits(sound, tmp_path):
    program = link(sound, tmp_path / "test_core")
    seed = str(random.randrange(2**64))
    command = [program, "--soak", "2500000", "--seed", seed, "soak"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, f"--seed {seed}\n{run.stdout}"


def test_names_differ():
    names = [m.name for m in (*MUTANTS, *ARITHMETIC)]
    assert len(set(names)) == len(names) >= 10


@pytest.mark.parametrize("mutant", [*MUTANTS, *ARITHMETIC], ids=lambda m: m.name)
def test_the_line_to_break_is_there_once(mutant: Mutant):
    program = "test_core" if mutant in MUTANTS else "test_kernels"
    assert (CORE / mutant.file).read_text().count(mutant.original) == 1
    assert f"RUN({mutant.caught_by});" in (ROOT / f"tests/{program}.c").read_text()


@pytest.mark.parametrize(
    "mutant",
    [m if m in FIRST else pytest.param(m, marks=pytest.mark.soak) for m in MUTANTS],
    ids=lambda m: m.name,
)
def test_mutant_is_caught(mutant: Mutant, outcomes: dict[str, Future]):
    assert outcomes[mutant.name].result() == "failed"


# --- arithmetic ------------------------------------------------------------------------------


def one_set(source: Path) -> None:
    """A copy of the core whose only kernels are the scalar ones."""
    shutil.copytree(CORE, source)
    isa = source / "kernels/kernels_isa.h"
    text = isa.read_text()
    for line, other in KERNELS.items():
        assert line in text
        text = text.replace(line, other)
    isa.write_text(text)


@pytest.fixture(scope="module")
def sound_kernels(tmp_path_factory) -> dict[str, Path]:
    """Objects of all of the unbroken core, with the scalar kernels."""
    build = tmp_path_factory.mktemp("kernels")
    one_set(build / "sparse_core")
    names = [
        path.relative_to(CORE).with_suffix("").as_posix()
        for folder in ("base", "store", "kernels", "ops", "rules")
        for path in sorted((CORE / folder).glob("*.c"))
    ]
    compile_core(build / "sparse_core", build, [*names, "test_kernels"])
    return {name: object_of(build, name) for name in [*names, "test_kernels"]}


@pytest.mark.soak
def test_the_unbroken_kernels_pass(sound_kernels, tmp_path):
    program = link(sound_kernels, tmp_path / "test_kernels")
    for name in sorted({m.caught_by for m in ARITHMETIC}):
        run = subprocess.run([program, name], capture_output=True, text=True)
        assert run.returncode == 0, run.stdout


@pytest.mark.soak
@pytest.mark.parametrize("mutant", ARITHMETIC, ids=lambda m: m.name)
def test_arithmetic_that_is_wrong_is_caught(mutant: Mutant, sound_kernels, tmp_path):
    one_set(tmp_path / "sparse_core")
    broken = tmp_path / "sparse_core" / mutant.file
    broken.write_text(broken.read_text().replace(mutant.original, mutant.broken))
    if mutant.file.startswith("kernels/"):
        changed = ["kernels/kernels_scalar"]
    elif mutant.file == "ops/loss_parts.h":
        changed = ["ops/loss", "ops/softmax"]
    else:
        changed = [mutant.file.removesuffix(".c")]
    compile_core(tmp_path / "sparse_core", tmp_path, changed)
    program = link(sound_kernels | {n: object_of(tmp_path, n) for n in changed}, tmp_path / "test_kernels")
    command = ["sh", "-c", f"ulimit -S -t {SECONDS}; exec {program} {mutant.caught_by}"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert run.returncode not in (0, -signal.SIGXCPU)
