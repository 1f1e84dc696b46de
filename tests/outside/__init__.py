"""Pieces from outside the package: public names alone, a file each, as users write them.

What they register is known to those tests alone that ask for it: the tables of other tests are of the
package's own names.
"""

from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from rewire import optim
from rewire.layers import base as layers
from rewire.rewiring import base as rules

REGISTRIES = (layers.KINDS, optim.KINDS, rules.KINDS)
_inside = [dict(kinds._makers) for kinds in REGISTRIES]
for _path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
    if _path.stem != "checks":
        import_module(f"outside.{_path.stem}")
_all = [dict(kinds._makers) for kinds in REGISTRIES]
for _kinds, _makers in zip(REGISTRIES, _inside, strict=True):
    _kinds._makers = _makers


@contextmanager
def registered():
    """Their names are known inside."""
    with pytest.MonkeyPatch.context() as patch:
        for kinds, makers in zip(REGISTRIES, _all, strict=True):
            patch.setattr(kinds, "_makers", dict(makers))
        yield
