"""Wrong input to every public function: the error names the argument, what came and what was expected.

The table below is the test. A row says what is called, with what mistake, which error must come and
which words must be in it. Tests at the end hold the table against ``rewire.__all__``.
"""

import inspect
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

import rewire as rw

NAN, INF = np.nan, np.inf
X = np.random.default_rng(0).standard_normal((20, 4))
Y = np.arange(20) % 3
R = np.linspace(0.0, 1.0, 20)
CSR = sp.csr_array(np.eye(3, 5))
DROP, GROW = rw.rewiring.DropSmallest(), rw.rewiring.GrowRandom(rw.Zeros())


def layers(**options):
    return [rw.Sparse(4, 6, activation="relu", **options), rw.Sparse(6, 3, activation="softmax")]


def net(final="softmax", n_out=3):
    return rw.Sequential([rw.Sparse(4, 6, activation="relu"), rw.Sparse(6, n_out, activation=final)], seed=0)


def trainer(loss="cross_entropy", final="softmax", n_out=3):
    return rw.Trainer(net(final, n_out), loss=loss, threads=1)


def gone_forward():
    found = trainer()
    found.forward(X)
    return found


def store(**options):
    s = rw.WeightStore(n_out=3, n_in=5, **options)
    if s.group == 1:
        s.insert([0, 1], [2, 4], [1.0, 2.0])
    return s


def small(kind="SparseMLPClassifier", **options):
    return getattr(rw, kind)(**{"hidden_layer_sizes": (5,), "max_iter": 1, "n_jobs": 1, **options})


def coder(**options):
    return rw.SparseDenoisingAutoencoder(
        **{"n_components": 9, "epsilon": 1, "max_iter": 1, "random_state": 0, **options}
    )


def selector(**options):
    return rw.QuickSelection(**{"estimator": coder(), "n_runs": 1, "random_state": 0, **options})


def rbm(**options):
    return rw.SparseBernoulliRBM(
        **{"n_components": 9, "epsilon": 1, "n_iter": 1, "random_state": 0, **options}
    )


CODER = coder(n_jobs=1).fit(X)
B = (X > 0) * 1.0  # for those that learn bits


def with_value(a, value):
    a = np.array(a, dtype=float)
    a.flat[7] = value
    return a


def row(call, name, error, *words, what=""):
    """``call`` raises ``error`` with ``words`` in its message."""
    return pytest.param(name, call, error, words, id=f"{name}: {what or words[0]} {words[-1]}"[:80])


def rows_of(name, make, *cases):
    """Rows for one callable: each case is (arguments, error, words)."""
    return [row(lambda a=a: make(**a), name, error, *words) for a, error, *words in cases]


V, T = ValueError, TypeError

TABLE = [
    # --- layers -----------------------------------------------------------------------
    *rows_of(
        "Sparse", lambda **k: rw.Sparse(**{"n_in": 4, "n_out": 3, **k}),
        ({"n_in": 0}, V, "n_in", "integer", "got 0"),
        ({"n_in": 2.0}, T, "n_in", "integer", "got 2.0"),
        ({"n_out": True}, T, "n_out", "integer", "got True"),
        ({"n_out": 2**31}, V, "n_out", "integer", "got 2147483648"),
        ({"n_out": np.array([3, 4])}, T, "n_out", "integer", "shape (2,)"),
        ({"epsilon": 0}, V, "epsilon", "> 0", "got 0"),
        ({"epsilon": "20"}, T, "epsilon", "number", "got '20'"),
        ({"epsilon": NAN}, V, "epsilon", "> 0", "got nan"),
        ({"epsilon": INF}, V, "epsilon", "> 0", "got inf"),
        ({"density": 1.5}, V, "density", "[0, 1]", "got 1.5"),
        ({"density": -0.1}, V, "density", "[0, 1]", "got -0.1"),
        ({"fan_in": 5}, V, "fan_in", "[0, 4]", "got 5"),
        ({"links": 13}, V, "links", "[0, 12]", "got 13"),
        ({"epsilon": 3, "density": 0.1}, V, "epsilon", "density", "one of"),
        ({"activation": "mish"}, V, "activation", "relu", "got 'mish'"),
        ({"activation": 3}, T, "activation", "relu", "got 3"),
        ({"bias": 1}, T, "bias", "True or False", "got 1"),
        ({"init": "she"}, V, "init", "'he'", "got 'she'"),
        ({"init": NAN}, V, "init", "number", "got nan"),
        ({"init": []}, T, "init", "Initializer", "got []"),
        ({"group": 3}, V, "group", "1, 2, 4, 8", "got 3"),
        ({"group": 2.0}, T, "group", "1, 2, 4, 8", "got 2.0"),
    ),
    *rows_of(
        "Sparse.from_dense", lambda **k: rw.Sparse.from_dense(**{"weights": np.eye(3, 4), **k}),
        ({"weights": np.ones(3)}, V, "weights", "2-D", "got shape (3,)"),
        ({"weights": np.ones((2, 3, 4))}, V, "weights", "2-D", "got shape (2, 3, 4)"),
        ({"weights": np.ones((0, 4))}, V, "weights", "not empty", "got shape (0, 4)"),
        ({"weights": [["a"]]}, T, "weights", "real numbers", "got dtype <U1"),
        ({"weights": np.eye(3, 4) * 1j}, T, "weights", "real numbers", "got dtype complex128"),
        ({"weights": with_value(np.eye(3, 4), NAN)}, V, "weights", "finite", "got nan at (1, 3)"),
        ({"weights": with_value(np.eye(3, 4), INF)}, V, "weights", "finite", "got inf at (1, 3)"),
        ({"weights": None}, T, "weights", "real numbers", "got"),
        ({"weights": [[1.0, 2.0], [3.0]]}, T, "weights", "real numbers", "got [[1.0, 2.0], [3.0]]"),
        ({"bias": np.ones(4)}, V, "bias", "(3,)", "got (4,)"),
        ({"bias": np.ones((3, 1))}, V, "bias", "(3,)", "got (3, 1)"),
        ({"bias": [1.0, NAN, 1.0]}, V, "bias", "finite", "got nan at position 1"),
        ({"bias": ["a", "b", "c"]}, T, "bias", "real numbers", "got dtype <U1"),
        ({"threshold": -1.0}, V, "threshold", ">= 0", "got -1.0"),
        ({"density": 2.0}, V, "density", "[0, 1]", "got 2.0"),
        ({"density": 0.5, "threshold": 0.1}, V, "threshold", "density", "both"),
        ({"group": 5}, V, "group", "1, 2, 4, 8", "got 5"),
    ),
    *rows_of(
        "Dense", lambda **k: rw.Dense(**{"n_in": 4, "n_out": 3, **k}),
        ({"n_in": -1}, V, "n_in", "integer", "got -1"),
        ({"n_out": "3"}, T, "n_out", "integer", "got '3'"),
        ({"activation": None}, T, "activation", "relu", "got None"),
        ({"bias": None}, T, "bias", "True or False", "got None"),
        ({"init": "zero"}, V, "init", "'zeros'", "got 'zero'"),
    ),
    *rows_of(
        "Dropout", rw.Dropout,
        ({"p": 1.0}, V, "p", "[0, 1)", "got 1.0"),
        ({"p": -0.1}, V, "p", "[0, 1)", "got -0.1"),
        ({"p": NAN}, V, "p", "[0, 1)", "got nan"),
        ({"p": "half"}, T, "p", "number", "got 'half'"),
        ({"p": np.ones(2)}, T, "p", "number", "shape (2,)"),
    ),
    *rows_of(
        "TwoSided", rw.TwoSided,
        ({"n_in": 0}, V, "n_in", "integer", "got 0"),
        ({"n_in": "3"}, T, "n_in", "integer", "got '3'"),
    ),
    *rows_of(
        "KWinners", rw.KWinners,
        ({"fraction": 0}, V, "fraction", "(0, 1]", "got 0"),
        ({"fraction": "few"}, T, "fraction", "number", "got 'few'"),
        ({"k": 0}, V, "k", "integer", "got 0"),
        ({"k": 2.5}, T, "k", "integer", "got 2.5"),
        ({"k_inference_factor": 0.5}, V, "k_inference_factor", ">= 1", "got 0.5"),
        ({"boost": -1}, V, "boost", "[0, 50]", "got -1"),
        ({"boost_factor": 1.5}, V, "boost_factor", "[0, 1]", "got 1.5"),
        ({"duty_cycle_period": 0}, V, "duty_cycle_period", "integer", "got 0"),
        ({"two_sided": 1}, T, "two_sided", "True or False", "got 1"),
        ({"n_in": -3}, V, "n_in", "integer", "got -3"),
    ),
    *rows_of(
        "ThresholdedReLU", rw.ThresholdedReLU,
        ({"theta": -0.5}, V, "theta", ">= 0", "got -0.5"),
        ({"theta": "high"}, T, "theta", "number", "got 'high'"),
    ),
    *rows_of(
        "GELU", rw.GELU,
        ({"approximate": "erf"}, V, "approximate", "'tanh'", "got 'erf'"),
        ({"approximate": True}, T, "approximate", "'tanh'", "got True"),
    ),
    *rows_of(
        "SReLU", rw.SReLU,
        ({"start": "he"}, V, "start", "'published'", "got 'he'"),
        ({"slope": -1}, V, "slope", ">= 0", "got -1"),
        ({"slope": NAN}, V, "slope", "number", "got nan"),
    ),
    *rows_of(
        "PReLU", rw.PReLU,
        ({"start": "he"}, V, "start", "a number or 'all-relu'", "got 'he'"),
        ({"start": NAN}, V, "start", "number", "got nan"),
    ),
    *rows_of(
        "Mix", rw.Mix,
        ({"mix": "fft"}, V, "mix", "'permutation'", "got 'fft'"),
        ({"n_in": 0}, V, "n_in", "integer", "got 0"),
        ({"width": 2.5}, T, "width", "integer", "got 2.5"),
        ({"n_in": 9, "width": 8}, V, "width", "in [9, ", "got 8"),
        ({"flip": 1}, T, "flip", "True or False", "got 1"),
        ({"stages": -1}, V, "stages", "integer", "got -1"),
        ({"skip": "two"}, T, "skip", "integer", "got 'two'"),
        ({"mix": "dct", "stages": 2}, V, "stages", "mix='wht'", "'dct'"),
    ),
    *rows_of(
        "layers.Switches", rw.layers.Switches,
        ({"block": 3}, V, "block", "1, 2, 4, 8", "got 3"),
        ({"start": "zeros"}, V, "start", "'identity'", "got 'zeros'"),
        ({"n_in": 0}, V, "n_in", "integer", "got 0"),
    ),
    *rows_of(
        "SwitchNet4", rw.SwitchNet4,
        ({"depth": 0}, V, "depth", "integer", "got 0"),
        ({"width": 18}, V, "width", "multiple of block 4", "got 18"),
        ({"n_in": 20, "width": 16}, V, "width", "in [20, ", "got 16"),
        ({"mix": "fft"}, V, "mix", "'permutation'", "got 'fft'"),
        ({"skip": 1}, T, "skip", "True or False", "got 1"),
        ({"dropout": 1.0}, V, "dropout", "[0, 1)", "got 1.0"),
    ),
    *rows_of(
        "LayerNorm", rw.LayerNorm,
        ({"eps": 0}, V, "eps", "> 0", "got 0"),
        ({"eps": "tiny"}, T, "eps", "number", "got 'tiny'"),
    ),
    *rows_of(
        "BatchNorm", rw.BatchNorm,
        ({"eps": NAN}, V, "eps", "> 0", "got nan"),
        ({"momentum": 1.5}, V, "momentum", "[0, 1]", "got 1.5"),
    ),
    *rows_of(
        "WeightAverage", rw.WeightAverage,
        ({"decay": "ema"}, T, "decay", "[0, 1)", "got 'ema'"),
        ({"decay": 3}, V, "decay", "[0, 1)", "got 3"),
    ),
    # --- comparisons -----------------------------------------------------------------
    *rows_of(
        "grid", rw.grid,
        ({"density": 3}, T, "density", "list", "got 3"),
        ({"densty": [1, 2]}, T, "'densty'", "'density'"),
        ({"density": []}, V, "density", "at least one", "none"),
    ),
    *rows_of(
        "compare", lambda **k: rw.compare(**{"data": "digits", "contenders": {"a": {}}, **k}),
        ({"contenders": {}}, V, "contenders", "at least one", "none"),
        ({"contenders": "set"}, T, "contenders", "dict", "got 'set'"),
        ({"contenders": {"a": {"densty": 1}}}, T, "'a'", "'densty'", "'density'"),
        ({"seeds": 0}, V, "seeds", ">= 1", "got 0"),
        ({"data": 3}, T, "data", "(X, y)", "got 3"),
    ),
    # --- activations, initialisers, losses, schedules ---------------------------------
    *rows_of(
        "Huber", rw.Huber,
        ({"delta": 0}, V, "delta", "> 0", "got 0"),
        ({"delta": "one"}, T, "delta", "number", "got 'one'"),
    ),
    *rows_of(
        "AllReLU", rw.AllReLU,
        ({"slope": -0.6}, V, "slope", ">= 0", "got -0.6"),
        ({"slope": NAN}, V, "slope", "number", "got nan"),
        ({"slope": "0.6"}, T, "slope", "number", "got '0.6'"),
    ),
    row(
        lambda: rw.Sequential([rw.Sparse(4, 3, activation="all-relu")]),
        "AllReLU", V, "activation", "output layer",
    ),
    *rows_of(
        "LeakyReLU", rw.LeakyReLU,
        ({"slope": INF}, V, "slope", "number", "got inf"),
        ({"slope": None}, T, "slope", "number", "got None"),
    ),
    row(
        lambda: rw.Sequential([rw.Sparse(4, 3, activation="softmax"), rw.Sparse(3, 3)]),
        "Softmax", V, "activation", "hidden layer",
    ),
    *rows_of(
        "He", rw.He,
        ({"distribution": "cauchy"}, V, "distribution", "'normal', 'uniform'", "got 'cauchy'"),
        ({"fan": "out"}, V, "fan", "'real', 'dense'", "got 'out'"),
        ({"fan": 3}, T, "fan", "'real', 'dense'", "got 3"),
        ({"gain": -1}, V, "gain", ">= 0", "got -1"),
    ),
    *rows_of(
        "Xavier", rw.Xavier,
        ({"distribution": None}, T, "distribution", "'uniform'", "got None"),
        ({"fan": "in"}, V, "fan", "'real', 'dense'", "got 'in'"),
        ({"gain": NAN}, V, "gain", "number", "got nan"),
    ),
    *rows_of(
        "Normal", rw.Normal,
        ({"std": -0.1}, V, "std", ">= 0", "got -0.1"),
        ({"std": "0.1"}, T, "std", "number", "got '0.1'"),
    ),
    *rows_of("Fixed", rw.Fixed, ({"value": INF}, V, "value", "number", "got inf")),
    row(
        lambda: rw.Trainer(net(n_out=1), loss=rw.CrossEntropy()),
        "CrossEntropy", V, "cross_entropy", "2 outputs", "got 1",
    ),
    row(lambda: rw.Trainer(net("relu"), loss="cross_entropy"), "CrossEntropy", V, "softmax", "got 'relu'"),
    row(
        lambda: rw.Trainer(net(), loss="binary_cross_entropy"),
        "BinaryCrossEntropy", V, "sigmoid", "got 'softmax'",
    ),
    row(lambda: rw.Trainer(net(), loss=rw.MSE()), "MSE", V, "mse", "got 'softmax'"),
    *rows_of("Constant", rw.Constant, ({"value": -1}, V, "value", ">= 0", "got -1")),
    *rows_of(
        "Step", rw.Step,
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"every": 1.5}, T, "every", "integer", "got 1.5"),
        ({"gamma": 1.5}, V, "gamma", "[0, 1]", "got 1.5"),
        ({"unit": "batch"}, V, "unit", "'epoch', 'step'", "got 'batch'"),
    ),
    *rows_of(
        "Cosine", rw.Cosine,
        ({"length": 0}, V, "length", ">= 1", "got 0"),
        ({"floor": -0.1}, V, "floor", "[0, 1]", "got -0.1"),
        ({"warmup": -1}, V, "warmup", ">= 0", "got -1"),
        ({"unit": 1}, T, "unit", "'epoch', 'step'", "got 1"),
    ),
    *rows_of(
        "Warmup", rw.Warmup,
        ({"to": 0}, V, "to", "> 0", "got 0"),
        ({"length": 0}, V, "length", ">= 1", "got 0"),
        ({"decay": 3}, T, "decay", "a Schedule", "got 3"),
        ({"decay": "cosine"}, V, "decay", "length"),
        ({"unit": "batch"}, V, "unit", "'epoch', 'step'", "got 'batch'"),
    ),
    # --- optimizers, rewiring, callbacks ----------------------------------------------
    *rows_of(
        "SGD", rw.SGD,
        ({"lr": 0.0}, V, "lr", "> 0", "got 0.0"),
        ({"lr": NAN}, V, "lr", "> 0", "got nan"),
        ({"lr": "0.1"}, T, "lr", "number", "got '0.1'"),
        ({"lr": [0.1]}, T, "lr", "number", "got [0.1]"),
        ({"momentum": 1.0}, V, "momentum", "[0, 1)", "got 1.0"),
        ({"nesterov": True}, V, "nesterov", "momentum > 0", "momentum=0"),
        ({"nesterov": "yes", "momentum": 0.9}, T, "nesterov", "True or False", "got 'yes'"),
        ({"weight_decay": -1}, V, "weight_decay", ">= 0", "got -1"),
        ({"decay": "l1"}, V, "decay", "'l2', 'decoupled', 'per_step'", "got 'l1'"),
        ({"clip_norm": 0}, V, "clip_norm", "> 0", "got 0"),
        ({"schedule": "cosine"}, V, "schedule", "its length", "rewire.Cosine(length=...)"),
    ),
    *rows_of(
        "Adam", rw.Adam,
        ({"lr": -1}, V, "lr", "> 0", "got -1"),
        ({"betas": 0.9}, T, "betas", "pair", "got 0.9"),
        ({"betas": (0.9, 1.0)}, V, "betas[1]", "[0, 1)", "got 1.0"),
        ({"betas": (0.9, 0.99, 0.999)}, T, "betas", "pair", "got (0.9, 0.99, 0.999)"),
        ({"eps": 0}, V, "eps", "> 0", "got 0"),
    ),
    *rows_of(
        "AdamW", rw.AdamW,
        ({"weight_decay": NAN}, V, "weight_decay", ">= 0", "got nan"),
        ({"clip_norm": -1}, V, "clip_norm", "> 0", "got -1"),
    ),
    *rows_of(
        "SET", rw.SET,
        ({"fraction": 1.1}, V, "fraction", "[0, 1]", "got 1.1"),
        ({"fraction": NAN}, V, "fraction", "[0, 1]", "got nan"),
        ({"fraction": None}, T, "fraction", "number", "got None"),
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"every": "epoch"}, V, "every", "Epochs(n), Steps(n)", "got 'epoch'"),
        ({"decay": "linear"}, V, "decay", "'constant', 'cosine', 'power'", "got 'linear'"),
        ({"end": 1.5}, V, "end", "[0, 1]", "got 1.5"),
        ({"redistribute": "evenly"}, V, "redistribute", "'momentum', 'survivors'", "got 'evenly'"),
        ({"redistribute": {"name": "momentum", "cap": 2}}, V, "cap", "[0, 1]", "got 2"),
        ({"init": "random"}, V, "init", "'zeros'", "got 'random'"),
        ({"layers": 1.5}, T, "layers", "None, \"hidden\", positions", "got 1.5"),
        ({"last_epoch": "keep"}, V, "last_epoch", "'skip', 'remove'", "got 'keep'"),
    ),
    *rows_of(
        "RigL", rw.RigL,
        ({"fraction": 1.1}, V, "fraction", "[0, 1]", "got 1.1"),
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"end": 1.5}, V, "end", "[0, 1]", "got 1.5"),
        ({"decay": "linear"}, V, "decay", "'constant', 'cosine', 'power'", "got 'linear'"),
        ({"batches": 0}, V, "batches", "[1, 1024]", "got 0"),
        ({"beta": 1.5}, V, "beta", "[0, 1]", "got 1.5"),
        ({"redistribute": True}, T, "redistribute", "'momentum', 'survivors'", "got True"),
        ({"skip_step": 1}, T, "skip_step", "True or False", "got 1"),
    ),
    *rows_of(
        "Magnitude", rw.Magnitude,
        ({"fraction": -0.1}, V, "fraction", "[0, 1]", "got -0.1"),
        ({"every": 1.5}, T, "every", "Epochs(n), Steps(n)", "got 1.5"),
        ({"scope": "network"}, V, "scope", "'layer', 'global'", "got 'network'"),
        ({"decay": None}, T, "decay", "'constant', 'cosine', 'power'", "got None"),
        ({"end": -1}, V, "end", ">= 0", "got -1"),
        ({"end": "late"}, T, "end", "integer", "got 'late'"),
        ({"init": "random"}, V, "init", "'zeros'", "got 'random'"),
        ({"layers": 1.5}, T, "layers", "None, \"hidden\", positions", "got 1.5"),
    ),
    *rows_of(
        "DSR", rw.DSR,
        ({"fraction": 0}, V, "fraction", ">= 1", "got 0"),
        ({"fraction": 0.0}, V, "fraction", "(0, 1]", "got 0.0"),
        ({"fraction": 1.5}, V, "fraction", "(0, 1]", "got 1.5"),
        ({"fraction": "many"}, T, "fraction", "integer", "got 'many'"),
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"end": -0.5}, V, "end", "[0, 1]", "got -0.5"),
        ({"threshold": 0}, V, "threshold", "> 0", "got 0"),
        ({"threshold": INF}, V, "threshold", "> 0", "got inf"),
        ({"tolerance": 1}, V, "tolerance", "[0, 1)", "got 1"),
        ({"layers": 1.5}, T, "layers", "None, \"hidden\", positions", "got 1.5"),
    ),
    *rows_of(
        "SNFS", rw.SNFS,
        ({"fraction": 2}, V, "fraction", "[0, 1]", "got 2"),
        ({"floor": NAN}, V, "floor", "[0, 1]", "got nan"),
        ({"every": "epoch"}, V, "every", "Epochs(n), Steps(n)", "got 'epoch'"),
        ({"end": 2.0}, V, "end", "[0, 1]", "got 2.0"),
        ({"batches": 0}, V, "batches", "[1, 1024]", "got 0"),
        ({"beta": 1.0}, V, "beta", "[0, 1)", "got 1.0"),
        ({"layers": 1.5}, T, "layers", "None, \"hidden\", positions", "got 1.5"),
    ),
    *rows_of(
        "GMP", rw.GMP,
        ({"density": 0}, V, "density", "(0, 1]", "got 0"),
        ({"density": "5 %"}, T, "density", "number", "got '5 %'"),
        ({"begin": -1}, V, "begin", ">= 0", "got -1"),
        ({"end": 0}, V, "end", ">= 1", "got 0"),
        ({"begin": 0.8, "end": 0.5}, V, "begin", "end", "begin=0.8 and end=0.5"),
        ({"begin": 90, "end": 50}, V, "begin", "end", "begin=90 and end=50"),
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"scope": 1}, T, "scope", "'global', 'layer'", "got 1"),
        ({"layers": 1.5}, T, "layers", "None, \"hidden\", positions", "got 1.5"),
    ),
    *rows_of(
        "GraNet", rw.GraNet,
        ({"density": 1.5}, V, "density", "(0, 1]", "got 1.5"),
        ({"fraction": -1}, V, "fraction", "[0, 1]", "got -1"),
        ({"floor": 2}, V, "floor", "[0, 1]", "got 2"),
        ({"end": "never"}, T, "end", "integer", "got 'never'"),
    ),
    *rows_of(
        "MEST", rw.MEST,
        ({"mode": "es"}, V, "mode", "'em', 'em&s'", "got 'es'"),
        ({"fractions": 0.2}, T, "fractions", "list of numbers", "got 0.2"),
        ({"fractions": [0.2, -0.1, 0.0]}, V, "fractions", "[0, 1]", "got -0.1"),
        ({"fractions": [0.2, 0.0]}, V, "fractions", "one more than ends", "got 2 fractions and 2 ends"),
        ({"ends": "late"}, T, "ends", "list of numbers", "got 'late'"),
        ({"ends": [0.5, 1.5]}, V, "ends", "[0, 1]", "got 1.5"),
        ({"ends": [0.75, 0.5]}, V, "ends", "ascend", "got [0.75, 0.5]"),
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"gradient": -1}, V, "gradient", ">= 0", "got -1"),
        ({"layers": 1.5}, T, "layers", "None, \"hidden\", positions", "got 1.5"),
    ),
    *rows_of(
        "CHTs", rw.CHTs,
        ({"fraction": 1.5}, V, "fraction", "[0, 1]", "got 1.5"),
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"score": "l3n"}, V, "score", "'ch3', 'ch2'", "got 'l3n'"),
        ({"temperature": (1, -1)}, V, "temperature", ">= 0", "got -1.0 at position 1"),
        ({"overlap": 2}, V, "overlap", "[0, 1]", "got 2"),
    ),
    *rows_of(
        "CHTss", rw.CHTss,
        ({"density": 0}, V, "density", "(0, 1]", "got 0"),
        ({"begin": -1}, V, "begin", ">= 0", "got -1"),
        ({"begin": 0.8, "end": 0.5}, V, "begin", "end", "begin=0.8 and end=0.5"),
        ({"fraction": 1.5}, V, "fraction", "[0, 1]", "got 1.5"),
        ({"decay": "linear"}, V, "decay", "'constant', 'cosine', 'power'", "got 'linear'"),
        ({"layers": 1.5}, T, "layers", "None, \"hidden\", positions", "got 1.5"),
    ),
    *rows_of(
        "CHT", rw.CHT,
        ({"fraction": 1.5}, V, "fraction", "[0, 1]", "got 1.5"),
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"decay": "linear"}, V, "decay", "'constant', 'cosine', 'power'", "got 'linear'"),
        ({"score": "ch1"}, V, "score", "'ch3', 'ch2'", "got 'ch1'"),
        ({"removal": "weight"}, V, "removal", "'magnitude', 'importance'", "got 'weight'"),
        ({"soft_removal": 1}, T, "soft_removal", "True or False", "got 1"),
        ({"soft_growth": "yes"}, T, "soft_growth", "True or False", "got 'yes'"),
        ({"temperature": 1.0}, V, "temperature", "(2,)", "got ()"),
        ({"temperature": (1, -1)}, V, "temperature", ">= 0", "got -1.0 at position 1"),
        ({"temperature": "hot"}, T, "temperature", "real numbers", "got dtype"),
        ({"chain_removal": None}, T, "chain_removal", "True or False", "got None"),
        ({"overlap": 2}, V, "overlap", "[0, 1]", "got 2"),
        ({"layers": 1.5}, T, "layers", "None, \"hidden\", positions", "got 1.5"),
    ),
    *rows_of(
        "GSE", rw.GSE,
        ({"fraction": 2}, V, "fraction", "[0, 1]", "got 2"),
        ({"candidates": "all"}, V, "candidates", "'graest', 'grabo', 'uniform'", "got 'all'"),
        ({"gamma": 0}, V, "gamma", "> 0", "got 0"),
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"end": 1.5}, V, "end", "[0, 1]", "got 1.5"),
        ({"scope": "all"}, V, "scope", "'layer', 'global'", "got 'all'"),
        ({"layers": 1.5}, T, "layers", "None, \"hidden\", positions", "got 1.5"),
    ),
    *rows_of(
        "ITOP", rw.ITOP,
        ({"mode": "random"}, V, "mode", "'set', 'rigl'", "got 'random'"),
        ({"fraction": -1}, V, "fraction", "[0, 1]", "got -1"),
        ({"floor": 2}, V, "floor", "[0, 1]", "got 2"),
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"end": "late"}, T, "end", "integer", "got 'late'"),
    ),
    *rows_of(
        "SNIP", rw.SNIP,
        ({"density": 0}, V, "density", "(0, 1]", "got 0"),
        ({"scope": "all"}, V, "scope", "'global', 'layer'", "got 'all'"),
        ({"batches": 0}, V, "batches", "[1, 1024]", "got 0"),
        ({"step": -1}, V, "step", ">= 0", "got -1"),
    ),
    *rows_of(
        "SRigL", rw.SRigL,
        ({"fraction": 2}, V, "fraction", "[0, 1]", "got 2"),
        ({"salient": -1}, V, "salient", "[0, 1]", "got -1"),
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"decay": "linear"}, V, "decay", "'constant', 'cosine', 'power'", "got 'linear'"),
        ({"skip_step": 1}, T, "skip_step", "True or False", "got 1"),
    ),
    *rows_of(
        "ImportancePruning", rw.ImportancePruning,
        ({"fraction": 1.5}, V, "fraction", "[0, 1]", "got 1.5"),
        ({"rule": "importance"}, V, "rule", "another rule"),
        ({"rule": "sett"}, V, "rule", "'set'", "got 'sett'"),
        ({"begin": -1}, V, "begin", ">= 0", "got -1"),
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"variant": "best"}, V, "variant", "'corrected', 'published'", "got 'best'"),
    ),
    *rows_of(
        "DeepR", rw.DeepR,
        ({"l1": -1e-5}, V, "l1", ">= 0", "got -1e-05"),
        ({"noise": "much"}, T, "noise", ">= 0", "got 'much'"),
        ({"temperature": NAN}, V, "temperature", ">= 0", "got nan"),
        ({"noise": 1e-5, "temperature": 1e-9}, V, "noise", "temperature", "got noise=1e-05"),
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"layers": 1.5}, T, "layers", "None, \"hidden\", positions", "got 1.5"),
    ),
    *rows_of(
        "SoftDeepR", rw.SoftDeepR,
        ({"l1": 0}, V, "l1", "> 0", "got 0"),
        ({"noise": 0.0}, V, "noise", "> 0", "got 0.0"),
        ({"temperature": 0}, V, "temperature", "> 0", "got 0"),
        ({"density": 1.5}, V, "density", "[0, 1]", "got 1.5"),
        ({"noise": 1e-5, "temperature": 1e-9}, V, "noise", "temperature", "got noise=1e-05"),
        ({"every": 2.5}, T, "every", "Epochs(n), Steps(n)", "got 2.5"),
    ),
    *rows_of(
        "TopKAST", rw.TopKAST,
        ({"forward_fraction": 0}, V, "forward_fraction", "(0, 1]", "got 0"),
        ({"fraction": 2}, V, "fraction", "[0, 1]", "got 2"),
        ({"penalty": -1}, V, "penalty", ">= 0", "got -1"),
        ({"norm": "l3"}, V, "norm", "'l2', 'l1'", "got 'l3'"),
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"end": -1}, V, "end", ">= 0", "got -1"),
        ({"end": 1.5}, V, "end", "[0, 1]", "got 1.5"),
    ),
    *rows_of(
        "Epochs", rw.Epochs,
        ({"n": 0}, V, "n", ">= 1", "got 0"),
        ({"n": True}, T, "n", ">= 1", "got True"),
        ({"stop": -1}, V, "stop", ">= 0", "got -1"),
        ({"stop": 1.5}, V, "stop", "[0, 1]", "got 1.5"),
    ),
    *rows_of(
        "Steps", lambda n=1, **k: rw.Steps(n, **k),
        ({"n": 0}, V, "n", ">= 1", "got 0"),
        ({"n": 2.5}, T, "n", "integer", "got 2.5"),
        ({"stop": -1}, V, "stop", ">= 0", "got -1"),
    ),
    *rows_of(
        "Rule",
        lambda **k: rw.Rule(**{**dict(every=None), **k}),
        ({"layers": [0, 1.5]}, T, "layers", "None, \"hidden\", positions", "got [0, 1.5]"),
        ({"layers": True}, T, "layers", "None, \"hidden\", positions", "got True"),
        ({"end": -1}, V, "end", ">= 0", "got -1"),
        ({"last_epoch": "x"}, V, "last_epoch", "'skip', 'remove'", "got 'x'"),
    ),
    *rows_of(
        "Swap",
        lambda **k: rw.Swap(**{**dict(every=None, fraction=0.0, drop=DROP, grow=GROW), **k}),
        ({"layers": 1.5}, T, "layers", "None, \"hidden\", positions", "got 1.5"),
        ({"fraction": 2}, V, "fraction", "[0, 1]", "got 2"),
        ({"every": {"epochs": 1, "steps": 1}}, V, "every", "Epochs(n), Steps(n)", "got {'epochs': 1"),
        ({"every": "2 weeks"}, V, "every", "a number of steps", "got '2 weeks'"),
        ({"every": "epochs"}, V, "every", "a number of steps", "got 'epochs'"),
        ({"last_epoch": None}, T, "last_epoch", "'skip', 'remove'", "got None"),
    ),
    *rows_of(
        "MapLog", rw.MapLog,
        ({"layer": -1}, V, "layer", ">= 0", "got -1"),
        ({"bins": 0}, V, "bins", ">= 1", "got 0"),
    ),
    *rows_of(
        "Checkpoint", lambda **k: rw.Checkpoint(**{"path": "run.st", **k}),
        ({"path": 3}, T, "path", "string or a path", "got 3"),
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"every": rw.Epochs(stop=3)}, V, "every", "without a stop", "got Epochs"),
        ({"best": 3}, T, "best", "string", "got 3"),
        ({"mode": "best"}, V, "mode", "'auto', 'min', 'max'", "got 'best'"),
    ),
    *rows_of(
        "EarlyStopping", rw.EarlyStopping,
        ({"patience": 0}, V, "patience", ">= 1", "got 0"),
        ({"monitor": 3}, T, "monitor", "string", "got 3"),
        ({"min_delta": -1}, V, "min_delta", ">= 0", "got -1"),
        ({"restore_best": 1}, T, "restore_best", "True or False", "got 1"),
        ({"mode": "best"}, V, "mode", "'auto', 'min', 'max'", "got 'best'"),
    ),
    row(
        lambda: rw.Trainer(net(), loss="cross_entropy", callbacks=[rw.EarlyStopping()]).fit(X, Y, verbose=0),
        "EarlyStopping", V, "val_loss", "validation_data",
    ),
    row(
        lambda: rw.Trainer(
            net(), loss="cross_entropy", callbacks=[rw.EarlyStopping(monitor="los")]
        ).fit(X, Y, verbose=0),
        "EarlyStopping", V, "monitor", "accuracy", "got 'los'",
    ),
    row(
        lambda: rw.History.from_dict([]), "History.from_dict", T, "found", "dict", "got []",
    ),
    row(lambda: rw.History()["loss"], "History", KeyError, "loss", "no rows yet"),
    # --- networks ---------------------------------------------------------------------
    *rows_of(
        "Sequential", lambda **k: rw.Sequential(**{"layers": layers(), **k}),
        ({"layers": []}, V, "layers", "at least one", "got none"),
        ({"layers": rw.Sparse(4, 3)}, T, "layers", "list of layers", "got Sparse"),
        ({"layers": None}, T, "layers", "list of layers", "got None"),
        ({"layers": [rw.Sparse(4, 3), "relu"]}, T, "layers[1]", "another layer", "got 'relu'"),
        ({"layers": [rw.Sparse(4, 3), rw.Sparse(4, 3)]}, V, "layer 1", "takes 4 inputs", "gives 3 outputs"),
        ({"layers": [rw.Sparse(4, 3), rw.Dropout()]}, V, "last layer", "Sparse or Dense", "got Dropout"),
        ({"seed": -1}, V, "seed", "[0, 18446744073709551615]", "got -1"),
        ({"seed": 1.5}, T, "seed", "integer", "got 1.5"),
        ({"dtype": "float16"}, V, "dtype", "'float32', 'float64'", "got 'float16'"),
        ({"dtype": None}, T, "dtype", "'float32', 'float64'", "got None"),
    ),
    row(lambda: rw.Sequential(net().layers), "Sequential", V, "layers[0]", "already belongs"),
    row(lambda: net().get_vector("hook"), "Sequential.get_vector", KeyError, "hook"),
    row(lambda: net().set_vector([1.0]), "Sequential.set_vector", V, "values", "(51,)", "got (1,)"),
    # --- parameters
    *rows_of(
        "Buffer", lambda **k: rw.Buffer(**{"shape": 3, **k}),
        ({"shape": 0}, V, "shape[0]", "integer in [1", "got 0"),
        ({"dtype": "f2"}, V, "dtype", "got 'f2'"),
        ({"shape": (3, 2), "axes": ("in",)}, V, "axes", "2 of", "got ('in',)"),
    ),
    *rows_of(
        "DenseParameter", lambda **k: rw.DenseParameter(**{"shape": 3, **k}),
        ({"shape": "x"}, T, "shape[0]", "integer", "got 'x'"),
        ({"rate": 0}, V, "rate", "> 0", "got 0"),
        ({"connects": True}, V, "(n_out, n_in)", "got shape (3,)"),
        ({"axes": ("up",)}, V, "axes[0]", "'in', 'out'", "got 'up'"),
    ),
    *rows_of(
        "SparseParameter", lambda **k: rw.SparseParameter(**{"n_in": 4, "n_out": 3, **k}),
        ({"n_in": 0}, V, "n_in", "integer", "got 0"),
        ({"group": 3}, V, "group", "1, 2, 4, 8", "got 3"),
        ({"density": 2}, V, "density", "[0, 1]", "got 2"),
        ({"decays": 1}, T, "decays", "True or False", "got 1"),
    ),
    row(lambda: rw.Optimizer(-1.0), "Optimizer", V, "lr", "> 0", "got -1.0"),
    row(lambda: rw.Optimizer(0.1, clip_norm=-1), "Optimizer", V, "clip_norm", "> 0", "got -1"),
    *rows_of(
        "Sequential.predict", lambda X=X, **k: net().predict(X, **k),
        ({"X": X.T}, V, "X", "4 features", "got shape (4, 20)"),
        ({"X": X[0]}, V, "X", "2-D", "got shape (4,)"),
        ({"X": X[None]}, V, "X", "2-D", "got shape (1, 20, 4)"),
        ({"X": X[:0]}, V, "X", "at least one row", "got shape (0, 4)"),
        ({"X": X[:, :0]}, V, "X", "4 features", "got shape (20, 0)"),
        ({"X": with_value(X, NAN)}, V, "X", "finite", "got nan in row 1, column 3"),
        ({"X": with_value(X, -INF)}, V, "X", "finite", "got -inf in row 1, column 3"),
        ({"X": sp.csr_array(with_value(X, NAN))}, V, "X", "finite", "got nan in row 1, column 3"),
        ({"X": sp.csr_array(X.T)}, V, "X", "4 features", "got shape (4, 20)"),
        ({"X": X * 1j}, T, "X", "real numbers", "got dtype complex128"),
        ({"X": sp.csr_array(X * 1j)}, T, "X", "real numbers", "got dtype complex128"),
        ({"X": X.astype(str)}, T, "X", "real numbers", "got dtype <U"),
        ({"X": np.array([["a", {}, 1, 2]], object)}, T, "X", "real numbers", "object"),
        ({"X": [[1, 2], [3]]}, T, "X", "2-D array of real numbers"),
        ({"X": None}, T, "X", "2-D array of real numbers", "got None"),
        ({"X": "data.csv"}, T, "X", "real numbers", "got dtype <U"),
        ({"X": 3.0}, V, "X", "2-D", "got shape ()"),
        ({"X": np.full((2, 4), "2020-01-01", "M8[D]")}, T, "X", "real numbers", "datetime64"),
        ({"batch_size": 0}, V, "batch_size", ">= 1", "got 0"),
        ({"batch_size": 2.5}, T, "batch_size", "integer", "got 2.5"),
        ({"threads": 0}, V, "threads", ">= 1", "got 0"),
        ({"threads": "all"}, T, "threads", "integer", "got 'all'"),
    ),
    row(lambda: net().save(3), "Sequential.save", T, "path", "got 3"),
    row(lambda: net().save(""), "Sequential.save", OSError, "", what="empty path"),
    row(lambda: rw.Sequential.from_config([], {}), "Sequential.from_config", T, "config", "got []"),
    row(lambda: rw.Sequential.from_config({}, {}), "Sequential.from_config", KeyError, "seed"),
    row(
        lambda: rw.Sequential.from_config(net().config(), {}),
        "Sequential.from_config", V, "layers.0.weight", "missing",
    ),
    *rows_of(
        "remove_neurons", lambda **k: rw.remove_neurons(**{"network": net(), **k}),
        ({"network": rw.Sparse(4, 3)}, T, "network", "Sequential", "got Sparse"),
        ({"neurons": [1]}, T, "neurons", "dict", "got [1]"),
        ({"neurons": {7: [1]}}, V, "neurons", "hidden layers", "got 7"),
        ({"neurons": {0: [99]}}, V, "neurons[0]", "numbers from 0 to", "got 99"),
        ({"neurons": {0: [0.5]}}, T, "neurons[0]", "1-D array", "got [0.5]"),
    ),
    # --- training ---------------------------------------------------------------------
    *rows_of(
        "Trainer", lambda **k: rw.Trainer(**{"network": net(), "loss": "cross_entropy", **k}),
        ({"network": [rw.Sparse(4, 3)]}, T, "network", "Sequential", "got [Sparse"),
        ({"loss": "hinge"}, V, "loss", "'cross_entropy'", "got 'hinge'"),
        ({"loss": 3}, T, "loss", "'cross_entropy'", "got 3"),
        ({"optimizer": "rmsprop"}, V, "optimizer", "'sgd'", "got 'rmsprop'"),
        ({"optimizer": 0.1}, T, "optimizer", "'sgd'", "got 0.1"),
        ({"rewiring": "rigl?"}, V, "rewiring", "'set'", "got 'rigl?'"),
        ({"rewiring": 0.3}, T, "rewiring", "'set'", "got 0.3"),
        ({"callbacks": 3}, T, "callbacks", "got 3"),
        ({"callbacks": [3]}, T, "callbacks[0]", "got 3"),
        ({"threads": 0}, V, "threads", ">= 1", "got 0"),
        ({"threads": 1.0}, T, "threads", "integer", "got 1.0"),
        ({"seed": -1}, V, "seed", "[0, ", "got -1"),
        ({"standardize": 1}, T, "standardize", "True, False or 'scale'", "got 1"),
        ({"standardize_targets": 1}, T, "standardize_targets", "True or False", "got 1"),
        ({"standardize_targets": True}, V, "standardize_targets", "'mse'", "got loss 'cross_entropy'"),
    ),
    *rows_of(
        "Trainer.fit", lambda X=X, y=Y, **k: trainer().fit(X, y, verbose=k.pop("verbose", 0), **k),
        ({"X": X.T}, V, "X", "4 features", "got shape (4, 20)"),
        ({"X": X.ravel()}, V, "X", "2-D", "got shape (80,)"),
        ({"X": with_value(X, NAN)}, V, "X", "finite", "got nan in row 1, column 3"),
        ({"X": X[:0], "y": Y[:0]}, V, "X", "at least one row", "got shape (0, 4)"),
        ({"y": Y[:-1]}, V, "X", "y", "20 and 19"),
        ({"y": Y + 1}, V, "y", "[0, 2]", "got 3 in row 2"),
        ({"y": Y - 1}, V, "y", "[0, 2]", "got -1 in row 0"),
        ({"y": Y.astype(float)}, T, "y", "integer class labels", "float64"),
        ({"y": Y.astype(str)}, T, "y", "real numbers", "dtype <U"),
        ({"y": None}, T, "y", "real numbers", "got"),
        ({"y": Y.reshape(1, -1)}, V, "y", "(samples, 3)", "got (1, 20)"),
        ({"y": Y.reshape(5, 2, 2)}, V, "y", "(samples,)", "got (5, 2, 2)"),
        ({"y": np.eye(3)[Y].T}, V, "y", "(samples, 3)", "got (3, 20)"),
        ({"y": np.eye(3)[Y] * 2}, V, "y", "sum to 1", "got 2.0 in row 0"),
        ({"y": with_value(np.eye(3)[Y], NAN)}, V, "y", "finite", "got nan in row 2, column 1"),
        ({"y": with_value(np.eye(3)[Y], -1)}, V, "y", ">= 0", "got -1.0 in row 2, column 1"),
        ({"epochs": 0}, V, "epochs", ">= 1", "got 0"),
        ({"epochs": 1.5}, T, "epochs", "integer", "got 1.5"),
        ({"batch_size": -1}, V, "batch_size", ">= 1", "got -1"),
        ({"validation_data": X}, T, "validation_data", "(X, y)", "shape (20, 4)"),
        ({"validation_data": (X,)}, T, "validation_data", "(X, y)", "got"),
        ({"validation_data": (X.T, Y)}, V, "validation X", "4 features", "got shape (4, 20)"),
        ({"validation_data": (X, Y + 9)}, V, "validation y", "[0, 2]", "got 9"),
        ({"validation_data": (X, Y, -R)}, V, "validation sample_weight", ">= 0", "got -"),
        ({"sample_weight": R[:-1]}, V, "sample_weight", "(20,)", "got (19,)"),
        ({"sample_weight": R[:, None]}, V, "sample_weight", "(20,)", "got (20, 1)"),
        ({"sample_weight": R - 0.5}, V, "sample_weight", ">= 0", "got -0.5 at position 0"),
        ({"sample_weight": with_value(R, NAN)}, V, "sample_weight", "finite", "got nan at position 7"),
        ({"sample_weight": R * 0}, V, "sample_weight", "positive", "got 0"),
        ({"sample_weight": list("a" * 20)}, T, "sample_weight", "real numbers", "got dtype <U1"),
        ({"shuffle": 1}, T, "shuffle", "True or False", "got 1"),
        ({"verbose": 3}, V, "verbose", "0, 1, 2", "got 3"),
        ({"verbose": None}, T, "verbose", "0, 1, 2", "got None"),
    ),
    *rows_of(
        "datasets.parts", lambda **k: rw.datasets.parts(**{"what": [(X, Y)], **k}),
        ({"what": "no/*.npy"}, V, "what", "pattern that names of files have", "got 'no/*.npy'"),
        ({"what": []}, V, "what", "at least one part", "got none"),
        ({"what": 3}, T, "what", "pattern or one thing for each part", "got 3"),
        ({"what": b"*.npy"}, T, "what", "pattern or one thing for each part", "got b'*.npy'"),
        ({"what": {"a.npy"}}, T, "what", "pattern or one thing for each part", "got {'a.npy'}"),
        ({"what": {"a": X}}, T, "what", "pattern or one thing for each part", "got"),
        ({"what": ["a.npz"]}, V, "what", ".npy", "got 'a.npz'"),
        ({"read": 1}, T, "read", "function that opens a part", "got 1"),
        ({"read": len, "y": 1}, V, "y", "read", "got 1"),
        ({"y": 1.5}, T, "y", "integer", "got 1.5"),
    ),
    *rows_of(
        "BinaryCrossEntropy",
        lambda y: trainer("binary_cross_entropy", "sigmoid").fit(X, y, verbose=0),
        ({"y": np.eye(3)[Y] * 2}, V, "y", "[0, 1]", "got 2.0 in row 0"),
        ({"y": Y}, V, "y", "(samples, 3)", "got (20,)"),
    ),
    *rows_of(
        "MSE", lambda y: trainer("mse", "linear", 1).fit(X, y, verbose=0),
        ({"y": with_value(R, NAN)}, V, "y", "finite", "got nan in row 7"),
        ({"y": R[:, None] @ [[1.0, 2.0]]}, V, "y", "(samples, 1)", "got (20, 2)"),
        ({"y": R * 1j}, T, "y", "real numbers", "complex128"),
        ({"y": list("abcdefghijklmnopqrst")}, T, "y", "real numbers", "got ['a', 'b'"),
    ),
    *rows_of(
        "Trainer.evaluate", lambda X=X, y=Y, **k: trainer().evaluate(X, y, **k),
        ({"X": X[:, :3]}, V, "X", "4 features", "got shape (20, 3)"),
        ({"y": Y[:3]}, V, "y", "20 and 3"),
        ({"sample_weight": R[:2]}, V, "sample_weight", "(20,)", "got (2,)"),
        ({"batch_size": 0}, V, "batch_size", ">= 1", "got 0"),
    ),
    row(lambda: trainer().memory(0), "Trainer.memory", V, "batch_size", "in [1, ", "got 0"),
    row(lambda: trainer().memory(10**30), "Trainer.memory", V, "batch_size", "in [1, "),
    row(lambda: trainer().memory(n_validation=1.5), "Trainer.memory", T, "n_validation", "got 1.5"),
    # --- a loop of one's own
    row(lambda: trainer().train_step(X[:, :3], Y), "Trainer.train_step", V, "X", "got shape (20, 3)"),
    row(lambda: trainer().rewire_if_due(X[:, :2], Y), "Trainer.rewire_if_due", V, "X", "got shape (20, 2)"),
    row(lambda: trainer().gradients(X, Y[:3]), "Trainer.gradients", V, "X and y", "20 and 3"),
    row(lambda: trainer().gradients(X, Y, scale="x"), "Trainer.gradients", T, "scale", "number", "got 'x'"),
    row(lambda: trainer().forward(X[:, :2]), "Trainer.forward", V, "X", "4 features", "got shape (20, 2)"),
    row(lambda: gone_forward().backward(np.zeros((3, 3))), "Trainer.backward", V, "dY", "20 rows", "got 3"),
    row(lambda: trainer().backward(np.zeros((20, 3))), "Trainer.backward", RuntimeError, "needs a forward"),
    row(lambda: trainer().apply(), "Trainer.apply", RuntimeError, "needs gradients"),
    row(lambda: trainer().apply(scale=NAN), "Trainer.apply", V, "scale", "> 0", "got nan"),
    row(lambda: trainer().end_epoch(last="x"), "Trainer.end_epoch", T, "last", "True or False", "got 'x'"),
    row(lambda: trainer().end_epoch(), "Trainer.end_epoch", RuntimeError, "needs a step before it"),
    row(lambda: trainer().learn_inputs(X[:, :2]), "Trainer.learn_inputs", V, "X", "got shape (20, 2)"),
    row(lambda: trainer().learn_targets(Y), "Trainer.learn_targets", V, "is for a trainer", "got False"),
    row(lambda: trainer().save(None), "Trainer.save", T, "path", "got None"),
    row(lambda: rw.Sequential.load(3), "Sequential.load", T, "path", "got 3"),
    row(lambda: rw.Sequential.load(__file__), "Sequential.load", V, __file__),
    row(lambda: rw.Trainer.resume(3), "Trainer.resume", T, "path", "got 3"),
    row(lambda: rw.Trainer.resume("no/such/file"), "Trainer.resume", FileNotFoundError, "no/such/file"),
    row(lambda: rw.Trainer.resume(__file__), "Trainer.resume", V, __file__),
    row(lambda: rw.Trainer.from_config([], {}), "Trainer.from_config", T, "config", "got []"),
    row(lambda: rw.Trainer.from_config({}, {}), "Trainer.from_config", KeyError, "callbacks"),
    *rows_of(
        "Standardizer", lambda **k: rw.Standardizer(**{"mean": np.zeros(3), "scale": np.ones(3), **k}),
        ({"mean": [0.0, NAN, 0.0]}, V, "mean", "finite", "got nan at position 1"),
        ({"scale": np.ones(4)}, V, "scale", "(3,)", "got (4,)"),
        ({"scale": ["a", "b", "c"]}, T, "scale", "real numbers", "<U1"),
        ({"mean": np.zeros((3, 1))}, V, "mean", "(3,)", "got (3, 1)"),
    ),
    *rows_of(
        "Standardizer.fit", lambda X=X, **k: rw.Standardizer.fit(X, **k),
        ({"X": X[0]}, V, "X", "2-D", "got shape (4,)"),
        ({"X": X[:0]}, V, "X", "at least one row", "got shape (0, 4)"),
        ({"X": with_value(X, NAN)}, V, "X", "finite", "got nan in row 1, column 3"),
        ({"X": "table"}, T, "X", "real numbers", "<U5"),
        ({"weight": R[:3]}, V, "weight", "(20,)", "got (3,)"),
        ({"weight": -R}, V, "weight", ">= 0", "got -"),
        ({"center": 1}, T, "center", "True or False", "got 1"),
    ),
    # --- without targets
    *rows_of(
        "SparseDenoisingAutoencoder", lambda **k: coder(**k).fit(X),
        ({"n_components": 0}, V, "n_components", "integer in [1", "got 0"),
        ({"activation": "swoosh"}, V, "activation", "relu", "got 'swoosh'"),
        ({"activation": "softmax"}, V, "activation", "hidden layer"),
        ({"epsilon": 0}, V, "epsilon", "> 0", "got 0"),
        ({"density": 1.5}, V, "density", "(0, 1]", "got 1.5"),
        ({"group": 3}, V, "group", "1, 2, 4, 8", "got 3"),
        ({"init": "she"}, V, "init", "'he'", "got 'she'"),
        ({"rewiring": "sett"}, V, "rewiring", "'set'", "got 'sett'"),
        ({"drop_fraction": 2}, V, "drop_fraction", "[0, 1]", "got 2"),
        ({"noise": -1}, V, "noise", ">= 0", "got -1"),
        ({"noise": "much"}, T, "noise", "number", "got 'much'"),
        ({"dropout": 1}, V, "dropout", "[0, 1)", "got 1"),
        ({"learning_rate_init": 0}, V, "learning_rate_init", "> 0", "got 0"),
        ({"momentum": 1}, V, "momentum", "[0, 1)", "got 1"),
        ({"weight_decay": -1}, V, "weight_decay", ">= 0", "got -1"),
        ({"optimizer": "adam"}, T, "optimizer", "an Optimizer or None", "got 'adam'"),
        ({"batch_size": 0}, V, "batch_size", ">= 1", "got 0"),
        ({"max_iter": 1.5}, T, "max_iter", "integer", "got 1.5"),
        ({"standardize": 1}, T, "standardize", "True, False or 'scale'", "got 1"),
        ({"random_state": "x"}, T, "random_state", "Generator", "got 'x'"),
        ({"n_jobs": 0}, V, "n_jobs", ">= 1", "got 0"),
        ({"verbose": 3}, V, "verbose", "0, 1, 2", "got 3"),
        ({"dtype": "float16"}, V, "dtype", "'float32', 'float64'", "got 'float16'"),
        ({"hidden": 9}, T, "SparseDenoisingAutoencoder", "hidden"),
    ),
    *rows_of(
        "SparseDenoisingAutoencoder.fit", lambda X: coder().fit(X),
        ({"X": with_value(X, NAN)}, V, "contains NaN"),
        ({"X": X[0]}, V, "2D array", "1D array"),
        ({"X": iter(X)}, T, "X", "(samples, features)", "iterable"),
    ),
    row(lambda: coder().partial_fit(X[:0]), "SparseDenoisingAutoencoder.partial_fit", V, "0 sample"),
    row(lambda: coder().fit(X).partial_fit(X[:, 1:]), "SparseDenoisingAutoencoder.partial_fit", V, "feature"),
    row(lambda: coder().fit(X).transform(X[:, :3]), "SparseDenoisingAutoencoder.transform", V, "3 features"),
    *rows_of(
        "SparseDenoisingAutoencoder.inverse_transform", lambda X: CODER.inverse_transform(X),
        ({"X": X}, V, "X", "9 features", "got shape (20, 4)"),
        ({"X": None}, T, "X", "2-D array of real numbers", "got None"),
        ({"X": np.full((2, 9), NAN)}, V, "X", "finite", "got nan in row 0"),
    ),
    row(lambda: coder().fit(X).score(X[:, :3]), "SparseDenoisingAutoencoder.score", V, "3 features"),
    *rows_of(
        "QuickSelection", lambda **k: selector(**k).fit(X),
        ({"n_features_to_select": 5}, V, "n_features_to_select", "[1, 4]", "got 5"),
        ({"n_features_to_select": 1.0}, V, "n_features_to_select", "(0, 1)", "got 1.0"),
        ({"n_features_to_select": "half"}, T, "n_features_to_select", "integer", "got 'half'"),
        ({"estimator": "coder"}, T, "estimator", "SparseDenoisingAutoencoder", "got 'coder'"),
        ({"estimator": coder(noise=-1)}, V, "noise", ">= 0", "got -1"),
        ({"n_runs": 0}, V, "n_runs", ">= 1", "got 0"),
        ({"random_state": -1}, V, "random_state", "[0, 18446744073709551615]", "got -1"),
        ({"runs": 3}, T, "QuickSelection", "'runs'", "'n_runs'"),
    ),
    row(lambda: selector().fit(with_value(X, INF)), "QuickSelection.fit", V, "infinity"),
    *rows_of(
        "SparseBernoulliRBM", lambda **k: rbm(**k).fit(B),
        ({"n_components": 0}, V, "n_components", "integer in [1", "got 0"),
        ({"learning_rate": 0}, V, "learning_rate", "> 0", "got 0"),
        ({"batch_size": 0}, V, "batch_size", ">= 1", "got 0"),
        ({"n_iter": "ten"}, T, "n_iter", "integer", "got 'ten'"),
        ({"verbose": -1}, V, "verbose", ">= 0", "got -1"),
        ({"verbose": "yes"}, T, "verbose", "integer", "got 'yes'"),
        ({"random_state": 0.5}, T, "random_state", "integer", "got 0.5"),
        ({"epsilon": NAN}, V, "epsilon", "> 0", "got nan"),
        ({"density": 2}, V, "density", "[0, 1]", "got 2"),
        ({"links": 37}, V, "links", "[0, 36]", "got 37"),
        ({"links": 3, "density": 0.5}, V, "density", "links", "got density=0.5 and links=3"),
        ({"group": 5}, V, "group", "1, 2, 4, 8", "got 5"),
        ({"init": []}, T, "init", "Initializer", "got []"),
        ({"connectivity": "star"}, V, "connectivity", "'random'", "got 'star'"),
        ({"rewiring": 3}, T, "rewiring", "Rule", "got 3"),
        ({"drop_fraction": -1}, V, "drop_fraction", "[0, 1]", "got -1"),
        ({"gibbs_steps": 0}, V, "gibbs_steps", ">= 1", "got 0"),
        ({"persistent": 1}, T, "persistent", "True or False", "got 1"),
        ({"momentum": -1}, V, "momentum", "[0, 1)", "got -1"),
        ({"weight_decay": "l2"}, T, "weight_decay", "number", "got 'l2'"),
        ({"optimizer": rw.SGD}, T, "optimizer", "an Optimizer or None", "SGD"),
        ({"n_jobs": 1.5}, T, "n_jobs", "integer", "got 1.5"),
        ({"dtype": "bfloat16"}, V, "dtype", "'float32', 'float64'", "got 'bfloat16'"),
        ({"cd_k": 3}, T, "SparseBernoulliRBM", "'cd_k'"),
    ),
    row(lambda: rbm().fit(with_value(B, NAN)), "SparseBernoulliRBM.fit", V, "contains NaN"),
    row(lambda: rbm().partial_fit(B[:0]), "SparseBernoulliRBM.partial_fit", V, "0 sample"),
    row(lambda: rbm().fit(B).partial_fit(B[:, :2]), "SparseBernoulliRBM.partial_fit", V, "2 features"),
    row(lambda: rbm().fit(B).transform(B[:, :2]), "SparseBernoulliRBM.transform", V, "2 features"),
    row(lambda: rbm().fit(B).gibbs(B[:, :2]), "SparseBernoulliRBM.gibbs", V, "2 features"),
    row(lambda: rbm().fit(B).gibbs(B, n_steps=0), "SparseBernoulliRBM.gibbs", V, "n_steps", ">= 1", "got 0"),
    row(lambda: rbm().fit(B).free_energy(B[:, :2]), "SparseBernoulliRBM.free_energy", V, "2 features"),
    row(lambda: rbm().fit(B).score_samples(B[:, :2]), "SparseBernoulliRBM.score_samples", V, "2 features"),
    row(lambda: rbm().fit(B).score(B[:, :2]), "SparseBernoulliRBM.score", V, "2 features"),
    *rows_of(
        "SparseBernoulliRBM.log_partition", lambda **k: rbm().fit(B).log_partition(**k),
        ({"method": "sum"}, V, "method", "'auto', 'exact', 'ais'", "got 'sum'"),
        ({"method": "ais", "n_chains": 0}, V, "n_chains", ">= 1", "got 0"),
        ({"method": "ais", "n_temperatures": 1.5}, T, "n_temperatures", "integer", "got 1.5"),
    ),
    row(
        lambda: rbm(n_components=30, density=0.1).fit(np.ones((3, 30))).log_partition("exact"),
        "SparseBernoulliRBM.log_partition", V, "at most 24", "got 30 and 30", "method='ais'",
    ),
    # --- stores -----------------------------------------------------------------------
    *rows_of(
        "WeightStore", lambda **k: rw.WeightStore(**{"n_out": 3, "n_in": 5, **k}),
        ({"n_out": 0}, V, "n_out", "0"),
        ({"n_in": -5}, V, "n_in", "-5"),
        ({"n_in": 2.5}, T, "n_in", "integer", "2.5"),
        ({"n_out": "3"}, T, "n_out", "integer", "'3'"),
        ({"n_in": 2**31}, V, "n_in", "2147483648"),
        ({"group": 3}, V, "group", "1, 2, 4", "3"),
        ({"group": 1.0}, T, "group", "integer", "1.0"),
        ({"dtype": "float16"}, V, "dtype", "float32", "'float16'"),
        ({"dtype": np.float16}, V, "dtype", "float32", "got 'float16'"),
        ({"dtype": object}, V, "dtype", "float32", "got 'object'"),
        ({"dtype": None}, T, "dtype", "float32", "got None"),
    ),
    row(lambda: rw.WeightStore(3, 5), "WeightStore", T, "positional argument"),
    row(lambda: rw.WeightStore(3, n_out=3, n_in=5), "WeightStore", T, "positional argument"),
    row(lambda: rw.WeightStore(n_ot=3, n_in=5), "WeightStore", T, "unexpected", "n_ot"),
    *rows_of(
        "WeightStore.insert",
        lambda **k: store().insert(**{"rows": [2], "cols": [0], "values": [1.0], **k}),
        ({"rows": [3]}, IndexError, "(row 3, col 0)", "(3, 5)"),
        ({"rows": [-1]}, IndexError, "(row -1, col 0)", "(3, 5)"),
        ({"cols": [5]}, IndexError, "(row 2, col 5)", "(3, 5)"),
        ({"rows": [2**70]}, IndexError, "rows", "[0, 3)", f"got {2**70}"),
        ({"rows": [0], "cols": [2]}, V, "(row 0, col 2)", "already there"),
        ({"rows": [2, 2], "cols": [0, 0], "values": [1.0, 2.0]}, V, "(row 2, col 0)", "named twice"),
        ({"rows": [2.0]}, T, "rows", "integers", "got dtype float64"),
        ({"cols": [True]}, T, "cols", "integers", "got dtype bool"),
        ({"cols": ["0"]}, T, "cols", "integers", "got dtype <U1"),
        ({"rows": [[1, 2]], "cols": [[0, 1, 2]]}, V, "rows", "broadcast", "shapes (1, 2) and (1, 3)"),
        ({"rows": [[2], [1, 2]]}, T, "rows", "integers", "got [[2], [1, 2]]"),
        ({"rows": [1, 2], "cols": [0, 1, 2]}, V, "rows", "same length", "got 2 and 3"),
        ({"values": [1.0, 2.0]}, V, "values", "1 connections", "got 2"),
        ({"values": [NAN]}, V, "values", "finite", "got nan for (row 2, col 0)"),
        ({"values": [1e300]}, V, "values", "fit float32", "got 1e+300 for (row 2, col 0)"),
        ({"values": np.array([-1e300])}, V, "values", "fit float32", "got -1e+300 for (row 2, col 0)"),
        ({"values": ["a"]}, T, "values", "real numbers", "got dtype <U1"),
        ({"values": [None]}, T, "values", "real numbers", "got dtype object"),
        ({"values": [[1.0]]}, V, "values", "one dimension", "got shape (1, 1)"),
    ),
    row(
        lambda: store(group=2).insert([0], [0], [1.0]),
        "WeightStore.insert", V, "group=2", "(row 0, col 0)", "(1, 0)",
    ),
    *rows_of(
        "WeightStore.remove", lambda **k: store().remove(**{"rows": [0], "cols": [2], **k}),
        ({"rows": [1]}, KeyError, "(row 1, col 2)", "not there"),
        ({"rows": [9]}, IndexError, "(row 9, col 2)", "(3, 5)"),
        ({"cols": [2.5]}, T, "cols", "integers", "got dtype float64"),
        ({"rows": [0, 0], "cols": [2, 2]}, V, "(row 0, col 2)", "named twice"),
        ({"rows": None}, T, "rows", "integers", "got"),
    ),
    *rows_of(
        "WeightStore.set",
        lambda **k: store().set(**{"rows": [0, 2], "cols": [2, 0], "values": [1.0, 2.0], **k}),
        ({"rows": [3, 2]}, IndexError, "(row 3, col 2)", "(3, 5)"),
        ({"rows": [0, 0], "cols": [2, 2]}, V, "(row 0, col 2)", "named twice"),
        ({"rows": [2, 2], "cols": [0, 0]}, V, "(row 2, col 0)", "named twice"),
        ({"values": [1.0, INF]}, V, "values", "finite", "got inf for (row 2, col 0)"),
        ({"values": "a"}, T, "values", "real numbers", "got dtype <U1"),
        ({"values": [1.0]}, V, "values", "2 connections", "got 1"),
    ),
    *rows_of(
        "WeightStore.add",
        lambda **k: [s.add(**{"rows": [0, 2], "cols": [2, 0], "values": [1.0, 2.0], **k})
                     for s in [store()] * 2],
        ({"cols": [2, 5]}, IndexError, "(row 2, col 5)", "(3, 5)"),
        ({"rows": [0, 0], "cols": [2, 2]}, V, "(row 0, col 2)", "named twice"),
        ({"values": [NAN, 1.0]}, V, "values", "finite", "got nan for (row 0, col 2)"),
        ({"rows": 1, "cols": 4, "values": 3.4028234e38}, V, "values", "finite", "got inf for (row 1, col 4)"),
    ),
    *rows_of(
        "WeightStore.contains", lambda **k: store().contains(**{"rows": [0], "cols": [2], **k}),
        ({"rows": [-1]}, IndexError, "(row -1, col 2)", "(3, 5)"),
        ({"cols": [2.0]}, T, "cols", "integers", "got dtype float64"),
    ),
    *rows_of(
        "WeightStore.row", lambda **k: store().row(**k),
        ({"i": 3}, IndexError, "row", "[0, 3)", "got 3"),
        ({"i": -1}, IndexError, "row", "[0, 3)", "got -1"),
        ({"i": 1.0}, T, "row", "an integer", "got 1.0"),
        ({"i": [1]}, T, "row", "an integer", "got [1]"),
        ({"i": True}, T, "row", "an integer", "got True"),
    ),
    *rows_of(
        "WeightStore.column", lambda **k: store().column(**k),
        ({"j": 5}, IndexError, "column", "[0, 5)", "got 5"),
        ({"j": 2**80}, IndexError, "column", "[0, 5)", f"got {2**80}"),
        ({"j": "a"}, T, "column", "an integer", "got 'a'"),
    ),
    *rows_of(
        "WeightStore.carry", lambda **k: store().carry(**{"other": store(), **k}),
        ({"other": 3}, T, "other", "WeightStore", "got 3"),
        ({"other": rw.WeightStore(n_out=4, n_in=5)}, V, "other", "shape", "(4, 5)"),
        ({"field": "momentum"}, KeyError, "'momentum'"),
        ({"new": "1"}, T, "new", "number", "got '1'"),
        ({"new": NAN}, V, "new", "nan"),
        ({"threads": 0}, V, "threads", ">= 1", "got 0"),
    ),
    *rows_of(
        "WeightStore.from_structure",
        lambda **k: rw.WeightStore.from_structure(**{"data": store().structure_bytes(), **k}),
        ({"data": "abc"}, T, "data", "bytes", "got 'abc'"),
        ({"data": b"abc"}, V, "structure"),
        ({"data": store().structure_bytes()[:-1]}, V, "structure"),
        ({"dtype": "float16"}, V, "dtype", "'float64'", "got 'float16'"),
        ({"weight": "1"}, T, "weight", "number", "got '1'"),
    ),
    *rows_of(
        "merge", lambda **k: rw.merge(**{"stores": [store(), store()], **k}),
        ({"stores": []}, T, "stores", "at least one WeightStore", "got []"),
        ({"stores": store()}, T, "stores", "at least one WeightStore in a list"),
        ({"stores": [store(), 3]}, T, "stores[1]", "WeightStore", "got 3"),
        ({"stores": [store(), rw.WeightStore(n_out=4, n_in=5)]}, V, "stores", "shape", "stores[1]"),
        ({"how": "median"}, V, "how", "'mean'", "got 'median'"),
        ({"links": 5}, V, "links", "at most", "got 5"),
        ({"links": 3}, V, "links", "at most those of the union", "got 3"),
        ({"links": 1.0}, T, "links", "integer", "got 1.0"),
        ({"fields": ["momentum"]}, T, "fields", "mapping"),
        ({"fields": {"momentum": "mean"}}, KeyError, "momentum"),
        ({"threads": 0}, V, "threads", ">= 1", "got 0"),
    ),
    *rows_of(
        "LocalSGD", rw.LocalSGD,
        ({"every": 0}, V, "every", ">= 1", "got 0"),
        ({"every": 1.5}, T, "every", "integer", "got 1.5"),
        ({"workers": 0}, V, "workers", "[1, ", "got 0"),
    ),
    *rows_of(
        "WASSP", rw.WASSP,
        ({"alone": 0.0}, V, "alone", "number", "got 0.0"),
        ({"alone": 1.5}, V, "alone", "got 1.5"),
        ({"how": "sum"}, V, "how", "'holders'", "got 'sum'"),
        ({"momentum": "sum"}, V, "momentum", "'zero'", "got 'sum'"),
        ({"workers": 1}, V, "workers", "[2, ", "got 1"),
    ),
    *rows_of(
        "Predictor", rw.Predictor,
        ({"network": "net"}, T, "network", "Sequential", "got 'net'"),
        ({"network": None}, T, "network", "Sequential", "got None"),
    ),
    *rows_of(
        "WASAP", rw.WASAP,
        ({"alone": 0.0}, V, "alone", "number", "got 0.0"),
        ({"how": "sum"}, V, "how", "'holders'", "got 'sum'"),
        ({"workers": 1}, V, "workers", "[2, ", "got 1"),
    ),
    *rows_of(
        "WeightStore.prune", lambda **k: store().prune(**k),
        ({}, T, "below=", "count="),
        ({"below": 1.0, "count": 1}, T, "below=", "count="),
        ({"below": -1}, V, "below", ">= 0", "got -1"),
        ({"below": NAN}, V, "below", ">= 0", "got nan"),
        ({"below": "1"}, T, "below", "number", "got '1'"),
        ({"count": 3}, V, "count", "[0, 2]", "got 3"),
        ({"count": 1.0}, T, "count", "integer", "got 1.0"),
        ({"count": 1, "threads": 0}, V, "threads", ">= 1", "got 0"),
    ),
    *rows_of(
        "WeightStore.grow", lambda **k: store().grow(**{"count": 1, "seed": 0, **k}),
        ({"count": 14}, V, "count", "[0, 13]", "got 14"),
        ({"count": -1}, V, "count", "[0, 13]", "got -1"),
        ({"count": None}, T, "count", "integer", "got None"),
        ({"seed": -1}, V, "seed", "got -1"),
        ({"seed": 1.5}, T, "seed", "integer", "got 1.5"),
        ({"value": INF}, V, "value", "number", "got inf"),
        ({"value": 1e300}, V, "value", "3.40282e+38]", "got 1e+300"),
    ),
    *rows_of(
        "WeightStore.forward", lambda **k: store().forward(**k),
        ({"X": np.ones(4)}, V, "X", "(5,)", "got shape (4,)"),
        ({"X": np.ones((5, 3))}, V, "X", "(samples, 5)", "got shape (5, 3)"),
        ({"X": np.ones((1, 2, 5))}, V, "X", "(samples, 5)", "got shape (1, 2, 5)"),
        ({"X": 3.0}, V, "X", "(5,)", "got shape ()"),
        ({"X": np.ones(5) * 1j}, T, "X", "real numbers", "dtype complex128"),
        ({"X": ["a"] * 5}, T, "X", "real numbers", "dtype <U1"),
        ({"X": [[1.0], [1.0, 2.0]]}, T, "X", "array of numbers", "got [[1.0], [1.0, 2.0]]"),
        ({"X": sp.csr_array(np.ones((2, 4)))}, V, "X", "5", "4"),
    ),
    *rows_of(
        "WeightStore.backward_input", lambda **k: store().backward_input(**k),
        ({"G": np.ones(5)}, V, "G", "(3,)", "got shape (5,)"),
        ({"G": None}, T, "G", "real numbers", "got"),
        ({"G": np.ones(3), "threads": "2"}, T, "threads", "integer", "got '2'"),
    ),
    *rows_of(
        "WeightStore.gradient",
        lambda **k: store().gradient(**{"X": np.ones((2, 5)), "G": np.ones((2, 3)), **k}),
        ({"X": np.ones((2, 3))}, V, "X", "(samples, 5)", "got shape (2, 3)"),
        ({"G": np.ones((3, 3))}, V, "X and G", "same number of samples", "got 2 and 3"),
        ({"G": np.ones(3)}, V, "X and G", "got 2 and 1"),
    ),
    *rows_of(
        "WeightStore.matvec", lambda **k: store().matvec(**k),
        ({"x": np.ones(3)}, V, "x", "(5,)", "got shape (3,)"),
        ({"x": np.ones((2, 5))}, V, "x", "(5, k)", "got shape (2, 5)"),
    ),
    *rows_of(
        "WeightStore.rmatvec", lambda **k: store().rmatvec(**k),
        ({"x": np.ones(5)}, V, "x", "(3,)", "got shape (5,)"),
    ),
    row(lambda: store()[3, 0], "WeightStore", IndexError, "(row 3, col 0)", what="item"),
    row(lambda: store()[0, -1], "WeightStore", IndexError, "(row 0, col -1)", what="item"),
    row(lambda: store()[0, 1.0], "WeightStore", T, "cols", "integers", what="item"),
    row(lambda: (0, 1.0) in store(), "WeightStore", T, "two integers", "got (0, 1.0)"),
    row(lambda: 7 in store(), "WeightStore", T, "(row, col) in store", "got 7"),
    *rows_of(
        "WeightStore.from_arrays",
        lambda **k: rw.WeightStore.from_arrays(
            **{"rows": [0], "cols": [2], "values": [1.0], "n_out": 3, "n_in": 5, **k}),
        ({"rows": [0, 0], "cols": [2, 2], "values": 1.0}, V, "(row 0, col 2)", "named twice"),
        ({"n_out": 0}, V, "n_out", "0"),
        ({"cols": [5]}, IndexError, "(row 0, col 5)", "(3, 5)"),
        ({"values": [NAN]}, V, "values", "finite", "(row 0, col 2)"),
        ({"group": 2}, V, "group=2", "fill=True"),
        ({"fill": 1}, T, "fill", "True or False", "got 1"),
        ({"dtype": "f4"}, V, "dtype", "'float32', 'float64'", "got 'f4'"),
    ),
    *rows_of(
        "WeightStore.from_dense", lambda **k: rw.WeightStore.from_dense(**{"array": np.eye(3, 5), **k}),
        ({"array": np.ones(3)}, V, "array", "two dimensions", "got shape (3,)"),
        ({"array": np.ones((0, 3))}, V, "array", "two dimensions", "got shape (0, 3)"),
        ({"array": np.eye(3) * 1j}, T, "array", "real numbers", "complex128"),
        ({"array": [[1.0], [1.0, 2.0]]}, T, "array", "matrix of numbers", "got"),
        ({"array": with_value(np.eye(3, 5), INF)}, V, "values", "finite", "(row 1, col 2)"),
        ({"group": 2}, V, "group=2", "fill=True"),
    ),
    *rows_of(
        "WeightStore.from_csr",
        lambda csr=CSR, **k: rw.WeightStore.from_csr(csr, **k),
        ({"csr": np.eye(3, 5)}, T, "csr", "sparse", "shape (3, 5)"),
        ({"csr": None}, T, "csr", "sparse", "got None"),
        ({"csr": sp.csr_array(np.eye(3, 5, dtype=int) * (2**24 + 1))}, V, "csr", "exactly", "got 16777217"),
        ({"csr": sp.csr_array(np.eye(3, 5) * 1j)}, T, "csr", "real", "got dtype complex128"),
        ({"csr": sp.csr_array(with_value(np.eye(3, 5), NAN))}, V, "values", "finite", "(row 1, col 2)"),
        ({"csr": sp.coo_array(np.ones(3))}, V, "csr", "two dimensions", "got shape (3,)"),
        ({"csr": sp.csr_array((np.ones(2), [1, 1], [0, 2]))}, V, "(row 0, col 1)", "named twice"),
        ({"group": 2}, V, "group=2", "fill=True"),
        ({"group": 7}, V, "group", "7"),
        ({"fill": 1}, T, "fill", "True or False", "got 1"),
        ({"dtype": "int8"}, V, "dtype", "'float32', 'float64'", "got 'int8'"),
    ),
    # --- functions --------------------------------------------------------------------
    *rows_of(
        "set_num_threads", rw.set_num_threads,
        ({"n": 0}, V, "n ", ">= 1", "got 0"),
        ({"n": 1.5}, T, "n ", "integer", "got 1.5"),
        ({"n": True}, T, "n ", "integer", "got True"),
        ({"n": 10**6}, V, "n ", "1024", "got 1000000"),
        ({"n": "2"}, T, "n ", "integer", "got '2'"),
    ),
    *rows_of(
        "erk_links", lambda **k: rw.erk_links(**{"shapes": [(4, 3)], "density": 0.5, **k}),
        ({"shapes": []}, V, "shapes", "at least one", "got none"),
        ({"shapes": 3}, T, "shapes", "got 3"),
        ({"shapes": [4, 3]}, T, "shapes[0]", "pair", "got 4"),
        ({"shapes": [(4, 0)]}, V, "n_out", "got 0"),
        ({"density": 0.0}, V, "density", "(0, 1]", "got 0.0"),
        ({"density": NAN}, V, "density", "(0, 1]", "got nan"),
        ({"power": -1}, V, "power", ">= 0", "got -1"),
        ({"links": 5}, V, "give density or links", "density=0.5 and links=5"),
        ({"density": None}, V, "give density or links", "density=None and links=None"),
        ({"density": None, "links": 13}, V, "links", "[1, 12]", "got 13"),
        ({"density": None, "links": 0.5}, T, "links", "integer", "got 0.5"),
        ({"group": 3}, V, "group", "1, 2, 4, 8", "got 3"),
    ),
    *rows_of(
        "preset", rw.preset,
        ({"name": "set-1999"}, V, "preset", "'set-2018'", "got 'set-1999'"),
        ({"name": None}, T, "preset", "'set-2018'", "got None"),
    ),
    *rows_of(
        "load", rw.load,
        ({"path": 3}, T, "path", "got 3"),
        ({"path": None}, T, "path", "got None"),
        ({"path": "no/such/file"}, FileNotFoundError, "no/such/file"),
        ({"path": __file__}, V, __file__),
    ),
    # --- estimators (their parameters: test_estimators.py) ----------------------------
    *[
        r
        for kind in ("SparseMLPClassifier", "SparseMLPRegressor")
        for r in [
            *rows_of(
                kind, lambda kind=kind, **k: small(kind, **k).fit(X, Y),
                ({"epsilon": -1}, V, "epsilon", "> 0", "got -1"),
                ({"hidden_layer_sizes": (5, 0)}, V, "hidden_layer_sizes[1]", "integer", "got 0"),
                ({"dtype": "half"}, V, "dtype", "'auto'", "got 'half'"),
                ({"random_state": "a"}, T, "random_state", "integer", "got 'a'"),
            ),
            row(
                lambda kind=kind: getattr(rw, kind).from_preset("x"),
                f"{kind}.from_preset", V, "preset", "'set-2018'", "got 'x'",
            ),
            row(
                lambda kind=kind: getattr(rw, kind).from_preset("default", eps=1),
                f"{kind}.from_preset", T, "eps",
            ),
            *[
                r
                for method in ("fit", "partial_fit")
                for r in rows_of(
                    f"{kind}.{method}",
                    lambda kind=kind, method=method, X=X, y=Y, **k: getattr(small(kind), method)(
                        X, y, **({"classes": [0, 1, 2]} if (kind, method) == CLASSES_NEEDED else {}), **k
                    ),
                    ({"X": X[0]}, V, "2D array", "got 1D array"),
                    ({"X": X[None]}, V, "dim 3", "dim <= 2"),
                    ({"X": X[:0], "y": Y[:0]}, V, "0 sample", "minimum of 1"),
                    ({"X": X[:, :0]}, V, "0 feature", "minimum of 1"),
                    ({"X": with_value(X, NAN)}, V, "X contains NaN"),
                    ({"X": with_value(X, INF)}, V, "X contains infinity"),
                    ({"X": X * 1j}, V, "Complex data not supported"),
                    ({"X": X.T}, V, "inconsistent numbers of samples", "[4, 20]"),
                    ({"X": [["a", "b"]] * 20}, V, "X must hold real", "row 0, column 0"),
                    ({"y": None}, V, "y", "None"),
                    ({"y": Y[:-1]}, V, "inconsistent numbers of samples", "[20, 19]"),
                    ({"y": with_value(R, NAN)}, V, "y contains NaN"),
                    ({"y": np.zeros((20, 2, 2))}, V, "dim 3"),
                    ({"sample_weight": R[:-1]}, V, "sample_weight", "(20,)", "got (19,)"),
                    ({"sample_weight": -R}, V, "sample_weight", ">= 0", "got -"),
                    ({"sample_weight": R * 0}, V, "sample_weight", "at least one", "zero"),
                    ({"sample_weight": with_value(R, INF)}, V, "sample_weight", "finite", "got inf"),
                    ({"sample_weight": [None] * 20}, T, "sample_weight", "real numbers", "object"),
                )
            ],
            *[
                r
                for method in ("predict", "predict_proba", "predict_log_proba", "decision_function")
                if hasattr(getattr(rw, kind), method)
                for options in [{"loss": "squared_hinge"} if method == "decision_function" else {}]
                for r in [
                    row(
                        lambda kind=kind, method=method, o=options: getattr(small(kind, **o), method)(X),
                        f"{kind}.{method}", V, "not fitted yet", "fit",
                    ),
                    *rows_of(
                        f"{kind}.{method}",
                        lambda kind=kind, method=method, o=options, **k: getattr(
                            small(kind, **o).fit(X, Y), method
                        )(**k),
                        ({"X": X[0]}, V, "2D array", "got 1D array"),
                        ({"X": X.T}, V, "X has 20 features", "expecting 4"),
                        ({"X": X[:0]}, V, "0 sample", "minimum of 1"),
                        ({"X": with_value(X, NAN)}, V, "X contains NaN"),
                        ({"X": X * 1j}, V, "Complex data not supported"),
                    ),
                ]
            ],
        ]
    ],
    *rows_of(
        "SparseMLPClassifier.fit", lambda y: small().fit(X, y),
        ({"y": R}, V, "label type", "continuous"),
        ({"y": Y * 0}, V, "y", "at least 2 classes", "got 1 class"),
        ({"y": np.column_stack([Y, Y])}, V, "y", "indicators", "shape (20, 2)"),
    ),
    *rows_of(
        "SparseMLPClassifier.partial_fit", lambda y=Y, **k: small().partial_fit(X, y, **k),
        ({"classes": None}, V, "classes", "first call", "got None"),
        ({"classes": [0, 1]}, V, "y", "[0, 1]", "got [2]"),
        ({"classes": [[0, 1]]}, V, "1d array", "(1, 2)"),
    ),
    row(
        lambda: small("SparseMLPRegressor").fit(X, np.array(list("abcdefghijklmnopqrst"))),
        "SparseMLPRegressor.fit", V, "y must hold real numbers, got",
    ),
]  # fmt: skip

CLASSES_NEEDED = ("SparseMLPClassifier", "partial_fit")


@pytest.mark.parametrize("name, call, error, words", TABLE)
def test_refused_with_a_useful_message(name, call, error, words):
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"


# --- what must work ------------------------------------------------------------------------------


def read_only(a):
    a = np.array(a)
    a.flags.writeable = False
    return a


def strided(a):
    """Every second element of something twice as wide."""
    a = np.asarray(a)
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def fortran(a):
    return np.asfortranarray(a)


def backwards(a):
    return np.ascontiguousarray(np.asarray(a)[::-1])[::-1]


def swapped_bytes(a):
    a = np.asarray(a)
    return a.astype(a.dtype.newbyteorder())


LAYOUTS = [read_only, strided, fortran, backwards]
W = R + 0.5

GOOD = {
    "Sparse.from_dense": lambda f: rw.Sequential([rw.Sparse.from_dense(f(X), f(R[:20]))]).predict(np.eye(4)),
    "Sequential.predict": lambda f: net().predict(f(X)),
    "Trainer.fit": lambda f: trainer().fit(f(X), f(Y), sample_weight=f(W), verbose=0)["loss"],
    "Trainer.fit one-hot": lambda f: trainer().fit(f(X), f(np.eye(3)[Y]), verbose=0)["loss"],
    "Trainer.evaluate": lambda f: list(trainer().evaluate(f(X), f(Y), sample_weight=f(W)).values()),
    "Standardizer": lambda f: rw.Standardizer(f(R), f(W)).mean,
    "Standardizer.fit": lambda f: rw.Standardizer.fit(f(X), f(W)).scale,
    "WeightStore.insert": lambda f: _inserted(f),
    "WeightStore products": lambda f: _products(f),
    "WeightStore.from_dense": lambda f: rw.WeightStore.from_dense(f(X)).to_arrays()[2],
    "WeightStore.from_csr": lambda f: rw.WeightStore.from_csr(_csr(f)).to_arrays()[2],
    "Sequential.predict CSR": lambda f: net().predict(_csr(f)),
    "SparseMLPClassifier": lambda f: small(random_state=0).fit(f(X), f(Y), f(W)).predict_proba(f(X)),
    "SparseMLPRegressor": lambda f: (
        small("SparseMLPRegressor", random_state=0).fit(f(X), f(R), f(W)).predict(f(X))
    ),
}


def _inserted(f):
    s = rw.WeightStore(n_out=20, n_in=5)
    s.insert(f(np.arange(20)), f(np.arange(20) % 5), f(R.astype(np.float32)))
    s.remove(f(np.arange(10)), f(np.arange(10) % 5))
    return s.to_arrays()[2]


def _products(f):
    s, x = rw.WeightStore.from_dense(X), R.repeat(4).reshape(20, 4)
    made = s @ f(R[:4]), f(R) @ s, s @ f(x.T), f(x.T) @ s, s.forward(f(x)), s.gradient(f(x), f(X @ X.T))
    return np.concatenate([a.ravel() for a in made])


def _csr(f):
    csr = sp.csr_array(X)
    csr.data, csr.indices, csr.indptr = f(csr.data), f(csr.indices), f(csr.indptr)
    return csr


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", GOOD)
def test_any_layout_works_and_gives_the_same(name, layout):
    assert np.array_equal(GOOD[name](layout), GOOD[name](np.asarray))


@pytest.mark.parametrize("name", [n for n in GOOD if "CSR" not in n and "csr" not in n and "insert" not in n])
def test_swapped_bytes_work(name):
    assert np.array_equal(GOOD[name](swapped_bytes), GOOD[name](np.asarray))


def test_inputs_are_left_as_they_were():
    before = pickle.dumps((X, Y, W, R))
    for call in GOOD.values():
        call(np.asarray)
    assert pickle.dumps((X, Y, W, R)) == before


def test_a_refused_edit_changes_nothing():
    s = store()
    before = [a.tolist() for a in s.to_arrays()]
    for rows, cols, values in ([2, 0], [0, 2], [1.0, 1.0]), ([2, 9], [0, 0], [1.0, 1.0]), ([2], [0], [NAN]):
        with pytest.raises((ValueError, IndexError)):
            s.insert(rows, cols, values)
    with pytest.raises(KeyError):
        s.remove([0, 2], [2, 2])
    assert [a.tolist() for a in s.to_arrays()] == before
    s.validate()


# --- the table against the package -----------------------------------------------------------------

# Between modules, not for users: arguments come from rewire itself.
INNER = {
    "Sequential": "arrays backward batch_for change_outputs check_inputs check_outputs config forward "
    "from_contents in_target_units learn_inputs learn_targets load_batch outputs parts pickled_arrays "
    "refuse_views remade resembles restorable_config restore take_over truth "
    "threads_for passing position_of",
    "SparseMLPRegressor": "score",  # refusals are those of predict and of scikit-learn's r2_score
    "SparseMLPClassifier": "score",  # and of its accuracy_score
    "Standardizer": "apply check_of_targets fits folded from_config learn of_targets restored",
    "Trainer": "bring_back check_network check_range evaluate_checked from_contents",
    "History": "check to_dict",
    "WeightStore": "add_field drop_field get_field set_birth set_field",  # tests/test_store_arrays.py
}
USED = ["WeightStore", "Sequential", "Trainer", "History", "Standardizer"]
USED += ["SparseMLPClassifier", "SparseMLPRegressor", "SparseDenoisingAutoencoder", "QuickSelection"]
USED += ["SparseBernoulliRBM"]

# Nothing can be handed over, or only by those who write a rule of their own; a field is checked in its use.
WITHOUT_ARGUMENTS = {
    "Callback", "Comparison", "Field", "Layer", "DivergenceError", "FileError", "InterruptedWarning",
}  # fmt: skip


def covered():
    return {p.values[0] for p in TABLE}


def takes_something(f):
    try:
        return any(p.name not in ("self", "cls") for p in inspect.signature(f).parameters.values())
    except ValueError:
        return False


def test_every_public_callable_has_rows():
    callables = {name for name in rw.__all__ if callable(getattr(rw, name))}
    needed = {name for name in callables if takes_something(getattr(rw, name))} - WITHOUT_ARGUMENTS
    missing = needed - covered()
    assert not missing, f"no row for {sorted(missing)}"


@pytest.mark.parametrize("kind", USED)
def test_every_public_method_has_rows(kind):
    cls = getattr(rw, kind)
    missing = []
    for name, f in inspect.getmembers(cls, callable):
        owner = next((c for c in cls.__mro__ if name in vars(c)), object)
        if (
            name.startswith(("_", "set_"))
            or not owner.__module__.startswith("rewire")
            or not takes_something(f)
        ):
            continue
        if name not in INNER.get(kind, "").split() and f"{kind}.{name}" not in covered():
            missing.append(name)
    assert not missing, f"{kind}: no row for {missing}"


def test_no_row_names_what_is_not_there():
    for name in covered():
        thing = rw
        for part in name.split("."):
            thing = getattr(thing, part)
        assert callable(thing)
