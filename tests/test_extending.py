"""The operation in C that docs/extending.md adds: its files compile and pass, and the core takes them."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from pages import ROOT, blocks
from small import HANG_SECONDS

PATH = ROOT / "docs/extending.md"
PAGE = PATH.read_text()
KERNEL = PAGE[PAGE.index("\n## A kernel\n") :]
# By the path in its first line, and by its language.
FILES = dict(re.findall(r"^```c\n(/\* ([\w/.]+).*?)^```$", KERNEL, re.M | re.S))
FILES = {path: text for text, path in FILES.items()}
ADDED = dict(re.findall(r"^```(?:cython|pyi)\n# ([\w/.]+)\n(.*?)^```$", KERNEL, re.M | re.S))
NEEDS_C = pytest.mark.skipif(
    shutil.which("gcc") is None or not (ROOT / "sparse_core").is_dir(), reason="needs gcc and the sources"
)


def copy_with_edits(folder):
    """The sources with all that the page adds."""
    for name in ("sparse_core", "python"):
        left_out = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info", "_core.c")
        shutil.copytree(ROOT / name, folder / name, ignore=left_out)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    for path, text in FILES.items():
        (folder / path).write_text(text)
    for path, text in ADDED.items():
        with (folder / path).open("a") as file:
            file.write(f"\n\n{text}")


def test_the_page_names_the_files_that_it_takes():
    assert list(FILES) == ["sparse_core/ops/clip.h", "sparse_core/ops/clip.c", "try_clip.c"]
    assert list(ADDED) == [
        "sparse_core/bind/core.pxd",
        "sparse_core/bind/layers.pxi",
        "python/rewire/_core.pyi",
    ]
    row = PAGE[PAGE.index("| an operation over weights in C |") :].splitlines()[0]
    for path in (*list(FILES)[1:2], "sparse_core/README.md", *ADDED):
        assert path.split("/")[-1].replace("clip.c", "<name>.c") in row


@NEEDS_C
def test_the_operation_compiles_and_passes(tmp_path):
    """By the commands of the page."""
    copy_with_edits(tmp_path)
    (commands,) = re.findall(r"^```bash\n(gcc .*?)^```$", KERNEL, re.M | re.S)
    build, run = commands.splitlines()
    words = [
        path
        for word in shlex.split(build)
        for path in (map(str, sorted(tmp_path.glob(word))) if "*" in word else [word])
    ]
    assert len(words) > 20
    subprocess.run([*words, "-O1"], cwd=tmp_path, check=True, timeout=HANG_SECONDS)
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=HANG_SECONDS)
    assert (done.returncode, done.stdout) == (0, "passed\n")


@NEEDS_C
@pytest.mark.soak
def test_the_core_takes_the_operation(tmp_path):
    """A module is built with the page's edits, and the page's rule trains with it."""
    pytest.importorskip("Cython")
    copy_with_edits(tmp_path)
    env = {**os.environ, "REWIRE_CFLAGS": "-O1", "PYTHONPATH": str(tmp_path / "python")}
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(build, cwd=tmp_path, env=env, check=True, capture_output=True)
    examples = [block for block in blocks(PATH) if block.language == "python"]
    (last,) = [block for block in examples if block.spared]
    (tmp_path / "page.py").write_text(examples[0].text + last.text)
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr
