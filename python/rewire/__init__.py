"""Train neural networks that are sparse from start to finish, on the CPU you have."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from rewire._collector import held

with held():
    from rewire import _openmp  # noqa: F401  first: it loads the core
    from rewire._merging import merge
    from rewire._strategies import WASAP, WASSP, LocalSGD, Sync
    from rewire._version import __version__
    from rewire.activations import (
        GELU,
        Abs,
        AllReLU,
        LeakyReLU,
        Linear,
        ReLU,
        Sigmoid,
        SiLU,
        Softmax,
        Tanh,
        ThresholdedReLU,
    )
    from rewire.callbacks import Callback, Checkpoint, EarlyStopping, LinkLog, MapLog, WeightAverage
    from rewire.errors import DensityWarning, DivergenceError, InterruptedWarning, WorkerError
    from rewire.files import FileError, load
    from rewire.history import History
    from rewire.initializers import Fixed, He, Normal, Xavier, Zeros
    from rewire.layers import (
        BatchNorm,
        Dense,
        Dropout,
        KWinners,
        Layer,
        LayerNorm,
        Mix,
        PReLU,
        Sparse,
        SReLU,
        SwitchNet4,
        TwoSided,
    )
    from rewire.link_counts import erk_links
    from rewire.losses import MSE, BinaryCrossEntropy, CrossEntropy, Huber, Poisson, SquaredHinge
    from rewire.network import Sequential
    from rewire.neurons import remove_neurons
    from rewire.optim import SGD, Adam, AdamW, Optimizer
    from rewire.parameters import Buffer, DenseParameter, Field, SparseParameter
    from rewire.predictor import Predictor
    from rewire.rewiring import (
        CHT,
        DSR,
        GMP,
        GSE,
        ITOP,
        MEST,
        SET,
        SNFS,
        SNIP,
        CHTs,
        CHTss,
        DeepR,
        Epochs,
        GraNet,
        ImportancePruning,
        Magnitude,
        RigL,
        Rule,
        SoftDeepR,
        SRigL,
        Static,
        Steps,
        Swap,
        TopKAST,
    )
    from rewire.schedules import Constant, Cosine, Step, Warmup
    from rewire.standardizer import Standardizer
    from rewire.store import WeightStore
    from rewire.threads import get_num_threads, set_num_threads
    from rewire.trainer import Trainer

# Estimators stand on scikit-learn: imported when somebody asks for one.
_ESTIMATORS = (
    "QuickSelection", "SparseBernoulliRBM", "SparseDenoisingAutoencoder", "SparseMLPClassifier",
    "SparseMLPRegressor",
)  # fmt: skip
# What few ask for, and takes its time to import.
_LATER = {"preset": "rewire.presets", **dict.fromkeys(("Comparison", "compare", "grid"), "rewire.comparison")}
_MODULES = ("analysis", "connectivity", "datasets", "plots", "presets")  # without imports of one's own

__all__ = [
    "CHT", "DSR", "GELU", "GMP", "GSE", "ITOP", "MEST", "MSE", "SET", "SGD", "SNFS", "SNIP", "WASAP", "WASSP",
    "Abs", "Adam", "AdamW", "AllReLU", "BatchNorm", "BinaryCrossEntropy", "Buffer", "CHTs", "CHTss",
    "Callback", "Checkpoint", "Comparison", "Constant", "Cosine", "CrossEntropy", "DeepR", "Dense",
    "DenseParameter", "DensityWarning", "DivergenceError", "Dropout", "EarlyStopping", "Epochs", "Field",
    "FileError", "Fixed", "GraNet", "He", "History", "Huber", "ImportancePruning", "InterruptedWarning",
    "KWinners", "Layer", "LayerNorm", "LeakyReLU", "Linear", "LinkLog", "LocalSGD", "Magnitude", "MapLog",
    "Mix", "Normal", "Optimizer", "PReLU", "Poisson", "Predictor", "QuickSelection", "ReLU", "RigL", "Rule",
    "SReLU", "SRigL", "Sequential", "SiLU", "Sigmoid", "SoftDeepR", "Softmax", "Sparse", "SparseBernoulliRBM",
    "SparseDenoisingAutoencoder", "SparseMLPClassifier", "SparseMLPRegressor", "SparseParameter",
    "SquaredHinge", "Standardizer", "Static", "Step", "Steps", "Swap", "SwitchNet4", "Sync", "Tanh",
    "ThresholdedReLU", "TopKAST", "Trainer", "TwoSided", "Warmup", "WeightAverage", "WeightStore",
    "WorkerError", "Xavier", "Zeros", "__version__", "compare", "erk_links", "get_num_threads", "grid",
    "load", "merge", "preset", "remove_neurons", "set_num_threads",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"rewire.{name}")
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    if name in _ESTIMATORS:
        try:
            return getattr(import_module("rewire.estimators"), name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("sklearn", "scipy"):
                raise
            raise ImportError(
                f'{name} needs scikit-learn, which is not installed: pip install "rewire[sklearn]"'
            ) from error
    raise AttributeError(f"module 'rewire' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
