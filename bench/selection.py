"""Feature selection on Madelon: QuickSelection beside scikit-learn's selectors, with and without targets.

500 features, of which 5 are informative, 15 are combinations of these, and 480 are noise. Each selects 20.
What is counted: how many of the 20 that are no noise it finds; the accuracy of ExtraTrees with 50 trees on
the selected features (trained on the training samples, mean of three forests); the accuracy of K-means with
as many clusters as classes, on the test samples. The 20 are those that correlate with another feature by more
than 0.25, which is how they were found for these lists: nobody has published them.

A second table is of features that hardly vary: 600 digits, whose edges are nearly always 0, and breast cancer
beside constant columns. There strengths are also taken as they were published, without deviations.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REWIRE_NUM_THREADS"), "1")

import statistics
import time
import warnings
from typing import Any

import numpy as np
from _report import Report, options

SEEDS, RUNS, KEPT = 5, 3, 20
HITS, POINTS, SECONDS = 12, 20.0, 10.0  # asked for


def data(tiny: bool) -> tuple[np.ndarray, ...]:
    """X, y, X_test, y_test, standardised; with ``tiny`` a set of the same kind that is made up."""
    if tiny:
        from sklearn.datasets import make_classification

        X, y = make_classification(400, 60, n_informative=5, n_redundant=15, random_state=0)
        X, y, X_test, y_test = X[:300], y[:300], X[300:], y[300:]
    else:
        import rewire as rw

        found = rw.datasets.load("madelon")
        X, y, X_test, y_test = found.X.astype(float), found.y, found.X_test.astype(float), found.y_test
    mean, deviation = X.mean(axis=0), X.std(axis=0)
    return (X - mean) / deviation, y, (X_test - mean) / deviation, y_test


def correlation(X: np.ndarray) -> np.ndarray:
    """The largest |correlation| of each feature with another one."""
    found = np.abs(np.corrcoef(X.T))
    np.fill_diagonal(found, 0.0)
    return found.max(axis=0)


def judged(chosen: np.ndarray, sets: tuple[np.ndarray, ...], truth: np.ndarray) -> dict[str, float]:
    """Hits and accuracies of some features."""
    from sklearn.cluster import KMeans
    from sklearn.ensemble import ExtraTreesClassifier

    X, y, X_test, y_test = sets
    X, X_test = X[:, chosen], X_test[:, chosen]
    forests = [ExtraTreesClassifier(50, random_state=k).fit(X, y).score(X_test, y_test) for k in range(3)]
    agreed = np.mean(KMeans(2, n_init=10, random_state=0).fit_predict(X_test) == y_test)
    return {
        "hits": int(truth[chosen].sum()), "trees": 100 * statistics.mean(forests),
        "means": 100 * max(agreed, 1 - agreed),
    }  # fmt: skip


def best(scores: np.ndarray) -> np.ndarray:
    """The features of the largest scores."""
    return np.argsort(-scores, kind="stable")[:KEPT]


def quick(seed: int, sets: tuple[np.ndarray, ...], truth: np.ndarray, tiny: bool) -> dict[str, Any]:
    """QuickSelection, its single runs too."""
    from rewire import QuickSelection, SparseDenoisingAutoencoder

    coder = SparseDenoisingAutoencoder(n_jobs=1, **({"max_iter": 2, "n_components": 50} if tiny else {}))
    began = time.process_time()
    found = QuickSelection(KEPT, estimator=coder, n_runs=RUNS, random_state=seed).fit(sets[0])
    seconds = (time.process_time() - began) / RUNS
    single = [int(truth[best(one.strengths_)].sum()) for one in found.estimators_]
    return {**judged(best(found.strengths_), sets, truth), "single": single, "seconds": seconds}


def others(sets: tuple[np.ndarray, ...], seed: int) -> dict[str, np.ndarray]:
    """Features that scikit-learn's selectors choose, and a rule of one line."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.feature_selection import f_classif, mutual_info_classif

    X, y = sets[:2]
    rng = np.random.default_rng(seed)
    return {
        "ExtraTrees(50) importances": best(
            ExtraTreesClassifier(50, random_state=seed).fit(X, y).feature_importances_
        ),
        "mutual information": best(mutual_info_classif(X, y, random_state=seed)),
        "SelectKBest (F test)": best(f_classif(X, y)[0]),
        "|correlation| with another feature": best(correlation(X)),
        "at random": rng.permutation(X.shape[1])[:KEPT],
    }


def edges() -> dict[str, list[float]]:
    """Of each kind of score: accuracy by 20 features of digits, and how many of 4 features are constant."""
    from sklearn.datasets import load_breast_cancer, load_digits
    from sklearn.feature_selection import f_classif
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from rewire import SparseDenoisingAutoencoder

    X, y = (values[:600] for values in load_digits(return_X_y=True))
    columns = np.hstack([load_breast_cancer().data[:300, :8], np.ones((300, 8))])
    found: dict[str, list[float]] = {}
    for given in (X, columns):
        coder = SparseDenoisingAutoencoder(random_state=0, n_jobs=1).fit(given)
        scores = {
            "QuickSelection, a run": coder.strengths_,
            "sum of |w| alone": np.asarray(abs(coder.components_).sum(axis=0)).ravel(),
        }
        if given is X:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of constant features
                scores["SelectKBest (F test)"] = np.nan_to_num(f_classif(X, y)[0])
        for name, score in scores.items():
            if given is X:
                judge = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
                found[name] = [cross_val_score(judge, X[:, best(score)], y, cv=2).mean()]
            else:
                found[name].append(int((np.argsort(-score, kind="stable")[:4] >= 8).sum()))
    return found


TARGETS = ("ExtraTrees(50) importances", "mutual information", "SelectKBest (F test)")


def main() -> None:
    report = Report("selection", options(__doc__, share=240))
    tiny = report.arguments.tiny
    try:
        sets = data(tiny)
    except OSError as error:
        report.note(f"Madelon left out: {error}")
        report.save()
        return
    truth = correlation(sets[0]) > 0.25
    everything = np.arange(sets[0].shape[1])
    seeds = range(1 if tiny else SEEDS)
    table = report.table(
        f"{KEPT} of {len(everything)} features, {len(seeds)} seeds",
        [
            "selected by",
            "looks at targets",
            f"of the {truth.sum()}",
            "ExtraTrees, %",
            "K-means, %",
            "s a run",
        ],
    )
    cells = [report.cell(f"quick/{seed}", lambda seed=seed: quick(seed, sets, truth, tiny)) for seed in seeds]
    runs = [cell for cell in cells if cell is not None]
    whole = report.cell("all", lambda: judged(everything, sets, truth))
    if runs:
        hits, trees = ([run[name] for run in runs] for name in ("hits", "trees"))
        single = [count for run in runs for count in run["single"]]
        seconds = max(run["seconds"] for run in runs)
        table.row(
            f"QuickSelection, mean of {RUNS} runs", "no", f"{statistics.mean(hits):.1f} ({text(hits)})",
            f"{statistics.mean(trees):.1f}", f"{statistics.mean(run['means'] for run in runs):.1f}",
            f"{seconds:.1f}",
        )  # fmt: skip
        table.row(
            "a single run", "no", f"{statistics.mean(single):.1f} ({min(single)}..{max(single)})", "", "", ""
        )
    found: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        cell = report.cell(f"others/{seed}", lambda seed=seed: rivals(sets, truth, seed))
        for name, row in (cell or {}).items():
            found.setdefault(name, []).append(row)
    for name, rows in found.items():
        mean = {key: statistics.mean(row[key] for row in rows) for key in rows[0]}
        looks = "yes" if name in TARGETS else "no"
        table.row(name, looks, f"{mean['hits']:.1f}", f"{mean['trees']:.1f}", f"{mean['means']:.1f}", "")
    true = report.cell("true", lambda: judged(np.flatnonzero(truth), sets, truth))
    for name, cell in (("all features", whole), (f"the {truth.sum()}", true)):
        if cell is not None:
            table.row(name, "", str(cell["hits"]), f"{cell['trees']:.1f}", f"{cell['means']:.1f}", "")
    still = report.cell("edges", edges) if not tiny else None
    if still is not None:
        table = report.table(
            "Features that hardly vary",
            ["selected by", "digits: LogisticRegression on 20 of 64, %", "of 4 of 8 + 8 features constant"],
        )
        for name, (accuracy, *constant) in still.items():
            table.row(name, f"{100 * accuracy:.1f}", *(str(count) for count in constant or [""]))
    if runs and whole is not None:
        gained = statistics.mean(trees) - whole["trees"]
        report.judge(
            "QuickSelection", f"at least {HITS} of the {truth.sum()} in the mean of {len(seeds)} seeds",
            f"{statistics.mean(hits):.1f}", statistics.mean(hits) >= HITS,
        )  # fmt: skip
        report.judge(
            "QuickSelection", f"ExtraTrees at least {POINTS:g} points above all features",
            f"{gained:+.1f} points", gained >= POINTS,
        )  # fmt: skip
        report.judge(
            "QuickSelection", f"a run takes at most {SECONDS:g} s of processor time", f"{seconds:.1f} s",
            seconds <= SECONDS,
        )  # fmt: skip
    report.save()


def rivals(sets: tuple[np.ndarray, ...], truth: np.ndarray, seed: int) -> dict[str, dict[str, float]]:
    """What all others are worth."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: judged(chosen, sets, truth) for name, chosen in others(sets, seed).items()}


def text(counts: list[int]) -> str:
    return ", ".join(map(str, counts))


if __name__ == "__main__":
    main()
