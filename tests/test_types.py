"""The type checker has nothing to say: about the package, about the code in README and docs, and it finds
what is wrong on purpose."""

import ast
import inspect
import re
import subprocess
import sys

from pages import PAGES, ROOT, blocks
from rewire import _core

WRONG = '''\
import rewire as rw

rw.WeightStore(n_ot=3, n_in=5)  # a slip
rw.WeightStore(3, 5)  # not by keyword
rw.WeightStore(n_out=3, n_in=5).insert([0], [1], [0.5]) + 1  # gives nothing
rw.Sparse(3, 5, densty=0.5)
rw.Sequential([rw.Sparse(3, 5)]).predict()
rw.SGD(lr="fast")
rw.SET(fraction=None)
rw.Sequential([rw.Sparse(3, 5)]).layers[0].store.build_mirror()  # the core's
'''

RIGHT = '''\
import rewire as rw
from rewire.callbacks import State, TrainerLike


class Watch(rw.Callback):
    def on_epoch_end(self, state: State) -> None:
        state.trainer.save("run.safetensors", notes={"nnz": state.network.layers[0].store.nnz})

    def check(self, trainer: TrainerLike, network: rw.Sequential) -> None:
        network.layers[0].store.validate()


net = rw.Sequential.load("run.safetensors")
trainer = rw.Trainer(net, loss="mse", callbacks=[Watch()])
stands_for: TrainerLike = trainer
net.layers[0].store.insert([0], [1], [0.5])
'''


def test_types(tmp_path):
    """One run for all: most of its time goes into the libraries."""
    examples = tmp_path / "examples"  # a package, for which pyproject.toml asks less
    examples.mkdir()
    (examples / "__init__.py").touch()
    for page in PAGES:
        lines: list[str] = []
        for block in blocks(page):
            if block.language == "python" and not block.spared:
                lines += [""] * (block.line - 1 - len(lines))  # so that messages name the page's lines
                lines += block.text.splitlines()
        if lines:
            (examples / f"{page.stem}.py").write_text("\n".join(lines) + "\n")
    (tmp_path / "wrong.py").write_text(WRONG)
    (tmp_path / "right.py").write_text(RIGHT)
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml",
            "python/rewire", examples, tmp_path / "wrong.py", tmp_path / "right.py",
        ],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    said = done.stdout.splitlines()[:-1]
    wrong = [line for line in said if re.search(r"wrong\.py:\d+: error", line)]
    assert [line for line in said if "wrong.py" not in line] == [], done.stdout
    found = {int(re.search(r":(\d+): error", line)[1]) for line in wrong}
    assert found == set(range(3, len(WRONG.splitlines()) + 1)), done.stdout + done.stderr


def declared(node):
    """Name, kind and whether there is a default, of every parameter of a function in a stub."""
    a, kinds = node.args, inspect.Parameter
    assert not (a.posonlyargs or a.vararg or a.kwarg)
    for i, argument in enumerate(a.args):
        yield argument.arg, kinds.POSITIONAL_OR_KEYWORD, len(a.args) - i <= len(a.defaults)
    for argument, default in zip(a.kwonlyargs, a.kw_defaults, strict=True):
        yield argument.arg, kinds.KEYWORD_ONLY, default is not None


def test_core_stub():
    """What ``_core.pyi`` says is what the compiled module has."""
    stub = ast.parse((ROOT / "python" / "rewire" / "_core.pyi").read_text())
    bodies = [(_core, stub.body)]
    bodies += [(getattr(_core, node.name), node.body) for node in stub.body if isinstance(node, ast.ClassDef)]
    compared = 0
    for owner, body in bodies:
        for node in body:
            if isinstance(node, ast.AnnAssign):
                assert hasattr(owner, node.target.id) or owner is _core.LinkError
            if not isinstance(node, ast.FunctionDef) or node.name in ("__new__", "__init__"):
                continue
            found = getattr(owner, node.name)
            if node.decorator_list:  # a property
                assert not callable(found)
                continue
            real = inspect.signature(found).parameters.values()
            real = [(p.name, p.kind, p.default is not p.empty) for p in real]
            assert list(declared(node)) == real, node.name
            compared += 1
    assert compared > 60
