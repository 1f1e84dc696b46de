"""``rewire inspect``: what a saved file holds, and whether it is whole."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import Any

from rewire import files
from rewire._fileio import write_json
from rewire._format import plural
from rewire.analysis import unused_inputs
from rewire.analysis.graph import used_inputs
from rewire.cli._shared import check_outputs, layer_rows, sized
from rewire.cli._text import brief, network_table, say
from rewire.network import Sequential
from rewire.reachability import refuse_opaque
from rewire.trainer import Trainer

MOST_NAMED = 10_000  # unused inputs; more are counted, for a small file may claim millions of them


def run(arguments: Namespace) -> int:
    """Check a file and print what is in it."""
    check_outputs(None, arguments.json, inputs=[arguments.file])
    with files.opened(arguments.file) as contents:
        trainer = Trainer.from_contents(contents) if contents.kind == "trainer" else None
        network = trainer.network if trainer else Sequential.from_contents(contents)
    network.validate()
    arrays = {name: [str(a.dtype), list(a.shape)] for name, a in contents.arrays.items()}

    size = os.path.getsize(arguments.file)
    say(f"{arguments.file}: {contents.kind}, {sized(size)}, written by rewire {contents.rewire}")
    print(network_table(network))
    kept = _kept(contents)
    if kept:
        say(f"kept per connection: {', '.join(kept)}")
    inputs = "standardised" if network.standardizer else "as they are"
    targets = ", targets standardised" if network.target_standardizer else ""
    unused, told = _unused(network)
    say(f"inputs {inputs}, {told}{targets}, seed {network.seed}, {_precision(network)}")
    if trainer:
        optimizer, rule = trainer.optimizer, trainer.rewiring
        counts = {"epoch": trainer.epoch, "step": trainer.step, "rewiring": trainer.rewirings}
        say(f"trained {', '.join(plural(count, thing) for thing, count in counts.items())}")
        say(f"loss {trainer.loss.name}, optimizer {brief(optimizer)}, rewiring {brief(rule)}")
    for name, value in contents.notes.items():
        if value is not None:
            say(f"{name}: {_short(value)}")
    say("digests ok, structure ok")
    if arguments.json is not None:
        write_json(arguments.json, {
            "file": arguments.file, "kind": contents.kind, "rewire": contents.rewire, "bytes": size,
            "dtype": network.dtype, "layers": layer_rows(network), "kept_per_connection": kept,
            "notes": contents.notes,
            "n_unused_inputs": unused, "unused_inputs": None if unused is None or unused > MOST_NAMED
            else unused_inputs(network, dead_paths=True).tolist(),
            "arrays": arrays,
        })  # fmt: skip
    return 0


def _unused(network: Sequential) -> tuple[int | None, str]:
    """How many inputs no output depends on; None if a layer does not say what depends on what."""
    try:
        refuse_opaque(network.layers)
    except TypeError as error:
        return None, f"how many are used is not known ({error})"
    unused = network.n_in - used_inputs(network, dead_paths=True).size
    return unused, f"{unused} of {network.n_in} not used"


def _precision(network: Sequential) -> str:
    """What products are computed in, and where that is another dtype, what is kept."""
    kept = network.variable_dtype
    return network.dtype if kept == network.dtype else f"{network.dtype} (weights in {kept})"


def _kept(contents: files.Contents) -> list[str]:
    """Names of what is kept beside the weights."""
    parts = contents.network_config["parameters"].values()
    found = [name for part in parts if part["kind"] == "sparse" for name in part["fields"]]
    return list(dict.fromkeys(found))


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 100 else text[:97] + "..."
