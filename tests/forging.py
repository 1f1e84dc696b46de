"""Files that somebody made up: good checkpoints of every kind, and changes that know what is in them.

Used by test_forged_files.py, and by itself for more: ``python tests/forging.py SEED COUNT FOLDER`` prints
what became of COUNT files; those that did what they should not stay in the folder.
"""

import copy
import json
import math
import re
import resource
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

import rewire as rw
from rewire import _container, files
from rewire._fileio import FileError
from rules.table import CASES

OPTIMIZERS = {
    "sgd": lambda: rw.SGD(0.05),
    "momentum": lambda: rw.SGD(0.05, momentum=0.9, nesterov=True, schedule=rw.Cosine(length=8)),
    "clipped": lambda: rw.SGD(0.05, momentum=0.9, clip_norm=1.0),
    "adam": lambda: rw.Adam(0.01, schedule=rw.Step(every=3)),
    "adamw": lambda: rw.AdamW(0.01, clip_norm=5.0),
}
CALLBACKS = {
    "none": lambda: [],
    "stop": lambda: [rw.EarlyStopping(5, monitor="loss")],
    "best": lambda: [rw.EarlyStopping(50, monitor="val_loss", restore_best=True)],
    "links": lambda: [rw.LinkLog()],
    "maps": lambda: [rw.MapLog(bins=8)],
    "saves": lambda: [rw.Checkpoint(f"{tempfile.gettempdir()}/forging.st", every=10**6)],
    "all": lambda: [rw.MapLog(1, bins=4), rw.EarlyStopping(9, restore_best=True), rw.LinkLog()],
}
ROWS = 48
WIDE = 4096  # networks with more inputs or outputs are not run here


def data(net, loss):
    """Samples of a network's sizes, the same whenever asked for."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(ROWS, net.n_in))
    if loss.name == "cross_entropy":
        return X, rng.integers(0, net.n_out, ROWS)
    return X, rng.random((ROWS, net.n_out))


def train(t):
    X, y = data(t.network, t.loss)
    t.fit(X, y, epochs=1, batch_size=16, validation_data=(X[:9], y[:9]), verbose=0)


class StopsAfterAStep:
    def on_step_end(self, state):
        raise KeyboardInterrupt


def original(rng):
    """``{"trainer": config, "notes": {}}`` and arrays of some trainer that has been trained, or not yet."""
    case = CASES[rng.choice(list(CASES))]
    group, dtype = int(rng.choice([1, 1, 2, 4, 8])), str(rng.choice(["float32", "float64"]))
    loss, final = [("cross_entropy", "softmax"), ("mse", "linear"), ("binary_cross_entropy", "sigmoid")][
        rng.choice(3, p=[0.6, 0.2, 0.2])
    ]
    middle = (
        rw.Dense(11, 9, activation="tanh")
        if rng.random() < 0.2
        else rw.Sparse(11, 9, density=case.density, activation="all-relu", group=group)
    )
    layers = [rw.Sparse(7, 11, density=case.density, activation="relu", group=group), middle]
    if rng.random() < 0.3:
        layers.insert(1, rw.Dropout(0.2))
    layers.append(rw.Sparse(9, 3, density=0.6, activation=final, bias=bool(rng.random() < 0.8)))
    t = rw.Trainer(
        rw.Sequential(layers, seed=int(rng.integers(100)), dtype=dtype),
        loss=loss,
        optimizer=OPTIMIZERS[rng.choice(list(OPTIMIZERS))](),
        rewiring=case.make(),
        callbacks=CALLBACKS[rng.choice(list(CALLBACKS))](),
        threads=1,
        standardize=bool(rng.random() < 0.5),
        standardize_targets=loss == "mse" and dtype == "float32",
    )
    for _ in range(rng.choice([0, 1, 2], p=[0.05, 0.35, 0.6])):
        train(t)
    if rng.random() < 0.2:  # and a part of an epoch
        t.callbacks.append(StopsAfterAStep())
        train(t)
        t.callbacks.pop()
    with tempfile.TemporaryDirectory() as folder:
        t.save(f"{folder}/t")
        read = files.read(f"{folder}/t")
    return {"trainer": read.config, "notes": {}}, read.arrays


OF_NETWORKS = "layers.", "standardizer.", "target_standardizer."  # how names of their arrays begin

# --- changes of the configuration -------------------------------------------------------

DEEP = 0
for _ in range(200):
    DEEP = [DEEP]
VALUES = [
    None, True, False, 0, 1, 2, 3, 7, -1, -7, 0.0, -0.5, 0.5, 1.0, 1.5, 1e-300, 1e30, -1e300, math.nan,
    math.inf, -math.inf, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, 10**40, "", "x", "adam", "set",
    "\x1b[2J", "9" * 99, [], {}, [1], [None], {"name": "sgd"}, {"epochs": 1}, DEEP, "long" * 5000,
]  # fmt: skip


def pick(rng, choices):
    return choices[int(rng.integers(len(choices)))]


def place(rng, tree):
    """A container in a JSON tree and a key of it, at any depth, every branch alike."""
    at, key = tree, None
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return None
        key = pick(rng, keys)
        below = at[key]
        if not isinstance(below, dict | list) or not below or rng.random() < 0.15:
            return at, key
        at = below


def replace(rng, tree, arrays, other):
    at, key = place(rng, tree)
    at[key] = copy.deepcopy(pick(rng, VALUES))


def nudge(rng, tree, arrays, other):
    at, key = place(rng, tree)
    value = at[key]
    if isinstance(value, bool):
        at[key] = not value
    elif isinstance(value, int):
        at[key] = pick(rng, [value + 1, value - 1, 2 * value, -value, float(value), str(value), value + 1000])
    elif isinstance(value, float):
        at[key] = pick(rng, [-value, value * 1e6, value * 1e-6, 1 - value, math.nan])
    elif isinstance(value, str):
        at[key] = pick(rng, [value + "x", value[:-1], value.upper(), value.replace("-", "_")])
    elif isinstance(value, list):
        at[key] = [value[i] for i in rng.permutation(len(value))]


def remove(rng, tree, arrays, other):
    at, key = place(rng, tree)
    del at[key]


def add(rng, tree, arrays, other):
    at, _ = place(rng, tree)
    value = copy.deepcopy(pick(rng, VALUES))
    if isinstance(at, dict):
        at[pick(rng, ["x", "name", "fields", "state", "stop", "place", "horizon", "0", "gain"])] = value
    else:
        at.insert(int(rng.integers(len(at) + 1)), copy.deepcopy(pick(rng, [*at, value])))


def rename(rng, tree, arrays, other):
    at, key = place(rng, tree)
    if isinstance(at, dict):
        at[pick(rng, [key.upper(), key + "s", "x", *at])] = at.pop(key)


def swap(rng, tree, arrays, other):
    (a, i), (b, j) = place(rng, tree), place(rng, tree)
    x, y = copy.deepcopy(a[i]), copy.deepcopy(b[j])
    b[j] = x
    a[i] = y


def graft(rng, tree, arrays, other):
    """A piece of another trainer, with its arrays."""
    theirs, their_arrays = other
    part = pick(rng, ["loss", "optimizer", "rewiring", "callbacks", "memory", "history", "network", "step"])
    mine, its = tree["trainer"], theirs["trainer"]
    if part in mine["state"]:
        mine, its = mine["state"], its["state"]
    mine[part] = copy.deepcopy(its[part])
    prefix = {"callbacks": "callbacks.", "memory": "state.memory.", "network": "layers."}.get(part)
    if prefix and rng.random() < 0.8:
        for name in [n for n in arrays if n.startswith(prefix)]:
            del arrays[name]
        arrays.update({n: a.copy() for n, a in their_arrays.items() if n.startswith(prefix)})
    if part == "rewiring" and rng.random() < 0.5:
        tree["trainer"]["state"]["memory"] = copy.deepcopy(theirs["trainer"]["state"]["memory"])


def best_network(rng, tree, arrays, other):
    """The network itself as the best one, or one of another trainer."""
    callbacks = [i for i, c in enumerate(tree["trainer"]["callbacks"]) if c["name"] == "EarlyStopping"]
    if not callbacks:
        return
    i, (config, theirs) = callbacks[0], pick(rng, [(tree, arrays), other])
    state = tree["trainer"]["callbacks"][i]["state"]
    state.update(best=0.5, best_epoch=0, network=copy.deepcopy(config["trainer"]["network"]))
    tree["trainer"]["callbacks"][i].update(restore_best=True)
    for name in [n for n in arrays if n.startswith(f"callbacks.{i}.")]:
        del arrays[name]
    own = {n: a.copy() for n, a in theirs.items() if n.startswith(OF_NETWORKS)}
    arrays.update({f"callbacks.{i}.{n}": a for n, a in own.items()})


def field(rng, tree, arrays, other):
    """One more field, or one of another kind, in the description and as an array."""
    name_of, parameter = pick(rng, list(tree["trainer"]["network"]["parameters"].items()))
    names = ["momentum", "adam_m", "adam_v", "birth_step", "sign", "theta", "mask", "cohort", "x", "weight"]
    name = pick(rng, names)
    dtype = pick(rng, ["float32", "float64", "int32", "uint8", tree["trainer"]["network"]["dtype"]])
    per_slot, values = bool(rng.integers(2)), arrays[f"{name_of}.values"]
    parameter["fields"][name] = {
        "dtype": pick(rng, [None, dtype]), "per_slot": per_slot,
        "birth": pick(rng, [0.0, 1.0, 2.0, -1.0, 1e9]),
        "power": pick(rng, [None, 0, 1, 2]), "state": bool(rng.integers(2)),
    }  # fmt: skip
    shape = (len(values), 1) if per_slot else values.shape
    arrays[f"{name_of}.field.{name}"] = rng.integers(0, 4, shape).astype(dtype)


def link(rng, tree, arrays, other):
    """One link less, everywhere."""
    name = pick(rng, [n for n in arrays if n.endswith(".indptr")])
    prefix, indptr = name.removesuffix("indptr"), arrays[name].copy()
    slots = int(indptr[-1])
    if slots == 0:
        return
    slot = int(rng.integers(slots))
    for n in arrays:
        if n.startswith((prefix + "field.", prefix + "values", prefix + "sources")):
            arrays[n] = np.delete(arrays[n], slot, axis=0)
    indptr[np.searchsorted(indptr, slot, side="right") :] -= 1
    arrays[name] = indptr


# --- changes of arrays ------------------------------------------------------------------


def values(rng, tree, arrays, other):
    name = pick(rng, list(arrays))
    a = arrays[name].copy()
    if a.size == 0:
        return
    at = rng.integers(a.size, size=int(rng.choice([1, 1, 3, a.size])))
    if a.dtype.kind == "f":
        new = pick(rng, [math.nan, math.inf, -1.0, 0.0, 1e30, 0.5, 1e-40])
    else:
        info = np.iinfo(a.dtype)
        new = pick(rng, [0, 1, 2, 3, info.max, info.min, int(a.reshape(-1)[0])])
    with np.errstate(over="ignore"):
        a.reshape(-1)[at] = np.array(new).astype(a.dtype)
    arrays[name] = a


def dtype(rng, tree, arrays, other):
    name = pick(rng, list(arrays))
    with np.errstate(invalid="ignore", over="ignore"):
        arrays[name] = arrays[name].astype(pick(rng, ["f4", "f8", "i4", "i8", "u1", "bool"]))


def shape(rng, tree, arrays, other):
    name = pick(rng, list(arrays))
    a = arrays[name]
    arrays[name] = pick(
        rng, [a[:-1], a[:0], a.reshape(-1), a[None], a.T, np.concatenate([a, a[-1:]]), np.concatenate([a, a])]
    ).copy()


def permute(rng, tree, arrays, other):
    name = pick(rng, list(arrays))
    arrays[name] = arrays[name][rng.permutation(len(arrays[name]))].copy()


def lose(rng, tree, arrays, other):
    del arrays[pick(rng, list(arrays))]


def extra(rng, tree, arrays, other):
    names = ["x", "layers.0.x", "layers.9.bias.values", "memory.x", "callbacks.0.x", "callbacks.7.maps"]
    names += ["place.x", "standardizer.x", "layers.0.weight.field.x", "layers.0.bias.field.x"]
    names += ["layers.0.weight.field.momentum", "layers.0.buffer.x", "target_standardizer.x"]
    arrays[pick(rng, names)] = arrays[pick(rng, list(arrays))].copy()


def exchange(rng, tree, arrays, other):
    a, b = pick(rng, list(arrays)), pick(rng, list(arrays))
    arrays[a], arrays[b] = arrays[b], arrays[a]


def move(rng, tree, arrays, other):
    a, b = pick(rng, list(arrays)), pick(rng, list(arrays))
    arrays[a] = arrays.pop(b)


CHANGES = [
    replace, replace, replace, nudge, nudge, nudge, remove, add, rename, swap, graft, graft, best_network,
    field, link, values, values, values, dtype, shape, permute, lose, extra, exchange, move,
]  # fmt: skip


# --- what becomes of a file -------------------------------------------------------------


def huge(tree, arrays):
    """Whether a file holds numbers from which training may rightly diverge.

    A value that is not finite, or a weight, moment or mean above 1e3, goes beyond what float32 holds within a
    few layers and steps; so do rates and scales of more than 10 in the description of the optimizer, the rule
    or a layer. Without any of these a divergence is a fault.
    """

    def numbers(part):
        if isinstance(part, dict):
            part = list(part.values())
        if isinstance(part, list):
            return [n for p in part for n in numbers(p)]
        return [part] if isinstance(part, float) else []

    optimizer = tree["trainer"]["optimizer"]
    found = numbers([tree["trainer"].get(part) for part in ("optimizer", "rewiring", "memory")])
    found += [n for n in optimizer.values() if isinstance(n, int)]
    found += numbers(tree["trainer"]["network"]["layers"])
    config = any(not abs(n) <= 10 for n in found)
    floats = {n: a for n, a in arrays.items() if a.dtype.kind == "f" and "maps" not in n and "rows" not in n}
    return config or any(not (np.abs(a) <= 1e3).all() for a in floats.values())


def ends(trainer, tree, arrays):
    """What a training comes to that a file's contents rightly end; None where it goes on.

    Units of targets may be as far from these data as a user's own were, and a callback may watch a metric
    that this run has not: then fit refuses it by its name.
    """
    try:
        train(trainer)
    except rw.DivergenceError:
        if not huge(tree, arrays):
            raise
        return "loads, diverges"
    except ValueError as error:
        out_of_units = "by the network's target_standardizer must lie within" in str(error)
        unknown = re.match("(monitor|best) must be a column of the history", str(error))
        if not unknown and not (out_of_units and huge(tree, arrays)):
            raise
        return "loads, fit refuses"
    return None


def overflows(net, X, tree, arrays):
    """Whether a network's outputs for X leave its dtype, as those of huge weights may."""
    try:
        net.predict(X)
    except ValueError as error:
        if not ("overflow" in str(error) or "not finite" in str(error)) or not huge(tree, arrays):
            raise
        return True
    return False


def use(path, tree, arrays):
    """Load a file and do everything with what it holds; a word for what became of it.

    Raises whatever should not have been raised.
    """
    try:
        t = rw.Trainer.resume(path)
    except FileError:
        try:
            net = rw.load(path)
        except FileError:
            return "refused"
        if net.n_in <= WIDE:
            overflows(net, np.ones((2, net.n_in)), tree, arrays)
        return "refused, network loads"
    net = t.network
    net.validate()
    if max(net.n_in, net.n_out) > WIDE:
        return "loads, too wide to train here"
    X, _ = data(net, t.loss)
    if overflows(net, X, tree, arrays):
        return "loads, overflows"
    if ended := ends(t, tree, arrays):
        return ended
    net.validate()
    if overflows(net, X, tree, arrays):
        return "loads, overflows"
    t.save(path)
    again = rw.Trainer.resume(path)
    assert again.network.predict(X).tobytes() == net.predict(X).tobytes()
    assert rw.load(path).predict(X).tobytes() == net.predict(X).tobytes()
    if ended := ends(again, tree, arrays):
        return ended
    return "fine"


def forge(rng, originals):
    """A changed copy of one of the originals, and what was changed."""
    tree, arrays = copy.deepcopy(pick(rng, originals))
    done = []
    for _ in range(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1])):
        change = pick(rng, CHANGES)
        change(rng, tree, arrays, pick(rng, originals))
        done.append(change.__name__)
        if not isinstance(tree.get("trainer"), dict) or not arrays:
            break
    return tree, arrays, done


def run(seed, count, originals, folder):
    """What became of ``count`` forged files, and a line for each that did what it should not."""
    rng = np.random.default_rng(seed)
    made = [original(np.random.default_rng([seed, i])) for i in range(originals)]
    path, found, faults = Path(folder) / f"forged-{seed}", Counter(), []
    for number in range(count):
        try:
            tree, arrays, done = forge(rng, made)
        except (TypeError, KeyError, AttributeError, IndexError, ValueError):
            continue  # a second change met what the first had broken
        try:
            _container.write(path, "trainer", tree, arrays, "0.0")
        except (TypeError, ValueError):
            continue  # nothing that a file can hold
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[use(path, tree, arrays)] += 1
        except Exception as error:  # whatever it is, it is a fault
            found["FAULT"] += 1
            at = error.__traceback__
            while at.tb_next is not None:
                at = at.tb_next
            where = f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}"
            faults.append(f"{seed}/{number} {done}: {type(error).__name__} {where}: {error}"[:300])
            keep = Path(folder) / f"fault-{seed}-{number}"
            _container.write(keep, "trainer", tree, arrays, "0.0")
    return found, faults


if __name__ == "__main__":
    seed, count, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found, faults = run(seed, count, 24, folder)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(json.dumps({"found": found, "faults": faults, "MiB grown": grown}))
