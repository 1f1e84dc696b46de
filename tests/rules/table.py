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
    "set, he": Case("set", {"every": EVERY_OTHER, "init": "he", "fraction": 0.5}),
    "set, annealed, momentum": Case(
        "set", {"every": EVERY_OTHER, "decay": "cosine", "end": 0.9, "redistribute": "momentum"}, "network"
    ),
    "rigl": Case("rigl", {"every": 2, "end": 1.0}),
    "rigl, batches, momentum": Case(
        "rigl", {"every": 2, "end": 1.0, "batches": 3, "beta": 0.9, "redistribute": "momentum"}, "network"
    ),
    "magnitude": Case("magnitude", {"every": EVERY_OTHER, "decay": "power"}),
    "magnitude, global": Case("magnitude", {"every": EVERY_OTHER, "scope": "global"}),
    "magnitude, survivors": Case(
        "magnitude", {"every": EVERY_OTHER, "scope": "global", "redistribute": "survivors"}, "network"
    ),
    "dsr": Case("dsr", {"every": 2, "threshold": 0.05}, "network"),
    "dsr, much": Case("dsr", {"every": 2, "fraction": 0.7, "threshold": 0.2}, "network", 0.6),
    "snfs": Case("snfs", {"every": EVERY_OTHER, "batches": 2}, "network"),
    "snfs, in layers": Case("snfs", {"every": EVERY_OTHER, "redistribute": None}),
    "gmp": Case("gmp", {"every": 2, "density": 0.1}, "falls", 0.7),
    "gmp, layers": Case("gmp", {"every": 2, "density": 0.2, "scope": "layer"}, "falls", 1.0),
    "granet": Case("granet", {"every": 2, "density": 0.1}, "falls", 0.7),
    "mest": Case("mest", {"every": EVERY_OTHER, "gradient": 0.1}),
    "mest, soft": Case("mest", {"every": EVERY_OTHER, "mode": "em&s"}, "free"),
    "gse": Case("gse", {"every": 2, "end": 1.0}, "network"),
    "gse, uniform": Case("gse", {"every": 2, "end": 1.0, "candidates": "uniform", "scope": "layer"}),
    "gse, grabo": Case(
        "gse", {"every": 2, "end": 1.0, "candidates": "grabo", "gamma": 0.2, "fraction": 0.5}, "network"
    ),
    "itop": Case("itop", {"every": 2}),
    "itop, rigl": Case("itop", {"every": 2, "mode": "rigl"}),
    "itop, momentum": Case("itop", {"every": 2, "redistribute": {"name": "momentum", "cap": 0.5}}, "network"),
    "snip": Case("snip", {"density": 0.2}, "falls", 1.0),
    "srigl": Case("srigl", {"every": 2, "end": 1.0}),
    "cht": Case("cht", {"every": EVERY_OTHER}),
    "cht, survivors": Case("cht", {"every": EVERY_OTHER, "redistribute": "survivors"}, "network"),
    "cht, soft": Case(
        "cht",
        {
            "every": EVERY_OTHER,
            "score": "ch2",
            "removal": "importance",
            "soft_removal": True,
            "soft_growth": True,
            "overlap": None,
        },
    ),
    "chts": Case("chts", {"every": 2}),
    "chtss": Case("chtss", {"every": 2, "density": 0.1}, "falls", 0.7),
    "importance": Case("importance", {"begin": 0, "every": {"steps": 4}, "fraction": 0.3}, "falls"),
    "importance, published": Case(
        "importance",
        {"begin": 0, "every": {"steps": 4}, "variant": "published", "rule": {"name": "itop", "every": 2}},
        "falls",
    ),
    "deepr": Case("deepr", {"l1": 0.1, "noise": 0.5}),
    "deepr, seldom": Case("deepr", {"l1": 0.1, "temperature": 1e-3, "every": 3}),
    "soft-deepr": Case("soft-deepr", {"l1": 0.02, "noise": 0.3}, "free"),
    "top-kast": Case("top-kast", {"forward_fraction": 0.6, "every": 2, "end": 1.0}),
    "top-kast, ended": Case("top-kast", {"every": 2, "end": 0.6, "norm": "l1"}, "falls"),
}
