"""Digests of small trained networks: the same before and after a rebuilding that must not show.

    python tests/digests.py >before.txt      # on the one side
    python tests/digests.py >after.txt       # on the other; then: diff before.txt after.txt

Rules by their names, in both dtypes, for two group sizes and two optimizers. Digests are those of one
machine: another instruction set or BLAS may round otherwise.
"""

import argparse
import hashlib
import itertools
import warnings

import numpy as np

import rewire as rw
from rewire.rewiring import rewiring_names

MUST = ("set", "rigl", "deepr", "top-kast", "importance")  # the others are asked for by --all
# Rules whose own period is longer than the run here.
OFTENER = {name: {"name": name, "every": 60} for name in ("gse", "itop")}
OPTIMIZERS = {"sgd": lambda: rw.SGD(0.05, momentum=0.9), "adam": lambda: rw.Adam(0.002)}
ROWS, BATCH, EPOCHS = 1500, 50, 12  # 360 steps: rules with a period of 100 steps act three times


def data():
    """Inputs of which a third matter, and labels."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(ROWS, 40)).astype("f4")
    return X, (X[:, ::3] @ rng.normal(size=(14, 6))).argmax(1)


def digest(rule, dtype, group, optimizer):
    """Of the links with their weights, the biases, what is predicted, and the history of the loss."""
    X, y = data()
    sizes = (40, 64, 48, 6)
    layers = [
        rw.Sparse(a, b, density=0.2, group=group, activation="relu")
        for a, b in itertools.pairwise(sizes[:-1])
    ]
    layers += [rw.Dropout(0.1), rw.Sparse(*sizes[-2:], density=0.5, group=group, activation="softmax")]
    network = rw.Sequential(layers, seed=3, dtype=dtype)
    trainer = rw.Trainer(
        network, loss="cross_entropy", optimizer=OPTIMIZERS[optimizer](), rewiring=OFTENER.get(rule, rule)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of short runs
        trainer.fit(X, y, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    hashed = hashlib.sha256()
    for layer in network.weight_layers:
        for array in (*layer.store.to_arrays(), layer.bias):
            hashed.update(np.ascontiguousarray(array).tobytes())
    hashed.update(np.ascontiguousarray(network.predict(X)).tobytes())
    hashed.update(repr([float(loss) for loss in trainer.history["loss"]]).encode())
    return hashed.hexdigest()[:16]


def main():
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="every rule, not only those that must not change")
    rules = [name for name in rewiring_names() if name != "custom"] if parser.parse_args().all else MUST
    for rule, dtype, group, optimizer in itertools.product(rules, ("float32", "float64"), (1, 4), OPTIMIZERS):
        print(f"{rule:12} {dtype} {group} {optimizer:4} {digest(rule, dtype, group, optimizer)}", flush=True)


if __name__ == "__main__":
    main()
