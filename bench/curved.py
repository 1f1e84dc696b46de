"""Few features and targets that bend: default estimators beside those of before, and scikit-learn's MLP.

Every set of `_curved_sets.py` is made three times from other random numbers, and split into 70 % to train on
and 30 % to test on. "Decay 10" are the defaults of before: a weight decay of 10 / rows, however many features
there are, and an end after 200 steps without improvement.
The MLPs have scikit-learn's defaults, (100,) and (200, 200), behind a StandardScaler; targets of a regression
are standardised for them too. Accuracy, or R2 of a regression, and CPU seconds of `fit`, as means.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REWIRE_NUM_THREADS"), "1")

import statistics
import time
import warnings
from typing import Any

from _curved_sets import CHOSEN_BY, CURVED, REPORTED
from _report import Report, options

SEEDS = 3
COLUMNS = ["linear", "MLP (100,)", "MLP (200, 200)", "decay 10", "rewire"]


def before(rows: int) -> dict[str, Any]:
    """The arguments that give what defaults were."""
    return {"weight_decay": min(0.5, 10 / rows), "n_iter_no_change": max(10, -(-200 // -(-rows // 128)))}


def models(rows: int, regression: bool, seed: int, **training: Any) -> dict[str, Any]:
    """Of each contestant a model that is not fitted."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from rewire import SparseMLPClassifier, SparseMLPRegressor

    ours, peer = (SparseMLPRegressor, MLPRegressor) if regression else (SparseMLPClassifier, MLPClassifier)
    found = {"linear": make_pipeline(StandardScaler(), Ridge() if regression else LogisticRegression())}
    for name, sizes in (("MLP (100,)", (100,)), ("MLP (200, 200)", (200, 200))):
        mlp = peer(hidden_layer_sizes=sizes, random_state=seed, **training)
        if regression:
            mlp = TransformedTargetRegressor(mlp, transformer=StandardScaler())
        found[name] = make_pipeline(StandardScaler(), mlp)
    found["decay 10"] = ours(random_state=seed, n_jobs=1, **(before(rows) | training))
    found["rewire"] = ours(random_state=seed, n_jobs=1, **training)
    return found


def run(name: str, seeds: int, **training: Any) -> dict[str, Any]:
    """Of each contestant scores and CPU seconds, one a seed."""
    from sklearn.model_selection import train_test_split

    found: dict[str, Any] = {}
    for seed in range(seeds):
        task = CURVED[name](seed)
        X, X_test, y, y_test = train_test_split(
            task.X, task.y, test_size=0.3, random_state=seed, stratify=None if task.regression else task.y
        )
        found["shape"], found["regression"] = X.shape, task.regression
        for model_name, model in models(len(X), task.regression, seed, **training).items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an MLP that has not converged is what users get
                began = time.process_time()
                model.fit(X, y)
            cell = found.setdefault("models", {}).setdefault(model_name, {"test": [], "seconds": []})
            cell["seconds"].append(time.process_time() - began)
            cell["test"].append(model.score(X_test, y_test))
    return found


def main() -> None:
    report = Report("curved", options(__doc__, share=300))
    tiny = report.arguments.tiny
    seeds, training = (1, {"max_iter": 2}) if tiny else (SEEDS, {})
    for title, names in (("Sets the defaults were chosen by", CHOSEN_BY), ("Sets reported on", REPORTED)):
        seconds_of = ["MLP (200, 200)", "decay 10", "rewire"]
        header = ["set", "rows x features", *COLUMNS, f"s: {', '.join(seconds_of)}"]
        table = report.table(title, header)
        for name in list(names)[:1] if tiny else names:
            cell = report.cell(name, lambda name=name: run(name, seeds, **training))
            if cell is None:
                continue
            mean = {
                model: {key: statistics.mean(values) for key, values in one.items()}
                for model, one in cell["models"].items()
            }
            seconds = (f"{mean[model]['seconds']:.1f}" for model in seconds_of)
            table.row(
                name + (" (R2)" if cell["regression"] else ""),
                " x ".join(map(str, cell["shape"])),
                *(f"{mean[model]['test']:.3f}" for model in COLUMNS),
                ", ".join(seconds),
            )
    report.save()


if __name__ == "__main__":
    main()
