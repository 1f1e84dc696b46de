"""Networks beside each other: on one data set, from several seeds, at equal epochs, time or weights.

`_compare.py` is the comparison; `task.py` is what all are measured on, `contender.py` one of those that are
compared, `sizing.py` makes their weights equal; `run.py` is one run, `child.py` and `pool.py` have it in a
process of its own; `record.py` is the file that a comparison goes on from, `result.py` what it found.
"""

from rewire.comparison._compare import compare
from rewire.comparison.contender import grid
from rewire.comparison.result import Comparison

__all__ = ["Comparison", "compare", "grid"]
