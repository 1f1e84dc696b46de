"""Every rule as the property tests run it: often, on small networks, and what it promises to count."""

from dataclasses import dataclass, field
from typing import Any

import rewire as rw

# What stays: "layer", links of every layer; "network", their sum; "falls", they never grow in number;
# "free", a rule that promises no number.
KEEPS = ("layer", "network", "falls", "free")


@dataclass
class Case:
    """A rule with its options, and a network it starts from."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    keeps: str = "layer"
    density: float = 0.3  # of the start

    def make(self):
        return rw.rewiring.rewiring({"name": self.name, **self.options})


EVERY_OTHER = {"steps": 2}

CASES = {
    "static": Case("static"),
    "set": Case("set", {"every": EVERY_OTHER}),
    "set, he": Case("set", {"every": EVERY_OTHER, "init": "he", "zeta": 0.5}),
    "rigl": Case("rigl", {"every": 2, "end": 1.0}),
    "cht": Case("cht", {"every": EVERY_OTHER}),
    "cht, soft": Case(
        "cht",
        {
            "every": EVERY_OTHER, "score": "ch2", "removal": "importance", "soft_removal": True,
            "soft_growth": True, "overlap": None,
        },
    ),
}
