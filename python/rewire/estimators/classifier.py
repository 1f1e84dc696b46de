"""The classifier: softmax over classes, or one sigmoid for every label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from rewire._checks import describe, detached
from rewire._class_weight import class_weights, weighed
from rewire._moments import quiet
from rewire._registry import folded
from rewire._strategies import Strategy
from rewire.activations import Activation
from rewire.callbacks import WeightAverage
from rewire.connectivity import Connectivity
from rewire.estimators import _parameters
from rewire.estimators._arguments import Conditional, without_early_stopping
from rewire.estimators._base import BaseSparseMLP
from rewire.initializers import Initializer
from rewire.layers import Layer
from rewire.losses import BinaryCrossEntropy, CrossEntropy, Loss, SquaredHinge
from rewire.optim import Optimizer
from rewire.rewiring import Rule

__all__ = ["SparseMLPClassifier"]

# Names inside of the constructor that are no parameters of the base.
_NOT_OF_BASE = ("self", "__class__", "class_weight")


def _of_hinge(model: SparseMLPClassifier) -> bool:
    """Whether it is, or is to be, trained by the squared hinge."""
    given = model.trainer_.loss if hasattr(model, "trainer_") else model.loss
    word = given.get("name") if isinstance(given, dict) else given
    return isinstance(given, SquaredHinge) or (
        isinstance(word, str) and folded(word) == folded(SquaredHinge.name)
    )


def _scores(method: Callable[..., Any]) -> Any:
    """A method that is there where outputs are scores."""
    return Conditional(
        method, lambda model, name: None if _of_hinge(model) else
        f"has no {name} but with loss='squared_hinge': its outputs are probabilities, predict_proba",
    )  # fmt: skip


def _probabilities(method: Callable[..., Any]) -> Any:
    """A method that is there where outputs are probabilities."""
    return Conditional(
        method, lambda model, name: None if not _of_hinge(model) else
        f"has no {name} with loss='squared_hinge': its outputs are scores, decision_function",
    )  # fmt: skip


class SparseMLPClassifier(ClassifierMixin, BaseSparseMLP):
    """Classifier: a multilayer perceptron that is truly sparse while it trains.

    Only connections that exist are stored and computed with. After every epoch, but not before 100 steps, SET
    moves some of them (``rewiring="set"``). Binary and multiclass targets get a softmax with one output a
    class, multilabel indicators one sigmoid a label.

    Parameters
    ----------
    hidden_layer_sizes : int or tuple of int
        Neurons of every hidden layer. Width is cheap: connections grow with n_in + n_out, not n_in * n_out.
    activation : str or Activation
        Of hidden layers: ``"all-relu"``, ``"relu"``, ``"leaky-relu"``, ``"thresholded-relu"``, ``"abs"``,
        ``"gelu"``, ``"silu"``, ``"tanh"``, ``"sigmoid"``, ``"linear"``, or an object such as
        ``AllReLU(0.75)``; or a layer that takes its place: ``"srelu"``, ``"prelu"``, ``"two-sided"``,
        ``"k-winners"``, ``"two-sided-winners"``, ``"switchnet4"``.
    layers : list or callable, optional
        The network layer by layer, in the place of a perceptron: descriptions such as ``{"type": "Sparse",
        "n_out": 100, "density": 0.1, "activation": "relu"}`` or ``{"type": "LayerNorm"}``, or layers, which
        are copied; widths that are left out follow, and the last layer has the outputs and the activation
        that the targets ask for. Or a function of the numbers of inputs and outputs that gives layers. Sizes,
        activation, connections, groups, initial weights, biases and dropout are then unused.
    epsilon : float
        Every layer starts with epsilon * (n_in + n_out) connections, at most n_in * n_out. With few features
        that may be all of them: a DensityWarning then names a smaller epsilon. Unused with ``density`` or
        ``links``.
    density : float in (0, 1], optional
        Instead: connections of the whole network, as a fraction of those of a dense one. 0.01 is 1 % of the
        dense network's weights, to the connection.
    links : int, optional
        Instead: connections of the whole network.
    distribution : {"erk", "uniform"}
        How ``density`` or ``links`` is divided among layers: Erdos-Renyi over the network, denser where
        layers are small (:func:`rewire.link_counts.erk_links`), or with one density for all.
    group : {1, 2, 4, 8}
        Neighbouring neurons that share their sources: faster, a little less freedom.
    init : str, float or Initializer
        Initial weights; ``"he"`` over the fan-in a neuron really has.
    bias_init : str, float or Initializer
        Initial biases of hidden layers: ``"fan-in"`` is uniform within +-1 / sqrt(fan-in). Where they are all
        zero, neurons behind few features all have their kinks at the features' means.
    connectivity : str, dict or Connectivity
        Where the connections begin: ``"random"``, ``"small-world"``, ``"scale-free"``, or ``"correlated"``,
        which looks at X for the first layer. ``{"name": "small-world", "beta": 0.5}`` says more.
    rewiring : str, dict, Rule or None
        A rule by name, such as ``"set"`` or ``"rigl"`` (``rewire.rewiring.rewiring_names()`` lists them); a
        dict of its name and options, ``{"name": "rigl", "fraction": 0.2}``; an object such as
        ``SET(0.3, every=Epochs(5))``. ``"static"`` and None keep the structure. ``"set"`` moves links after
        every epoch, or every 100 steps where an epoch has fewer: a new link needs steps to grow.
    drop_fraction : float in [0, 1]
        Fraction of connections that ``rewiring="set"`` moves. Unused for an object.
    optimizer : str or Optimizer
        ``"adam"``, ``"adamw"``, ``"sgd"`` or the name of one that is registered.
        Adam needs no tuning; SGD needs less memory and a learning rate that fits widths and data. An object
        brings its own learning rate, momentum and decay; the next three are then unused.
    learning_rate_init : float or "auto"
        Auto is 0.003, and 0.05 for SGD.
    momentum : float in [0, 1)
        Of SGD.
    weight_decay : float or "auto"
        L2 for SGD and Adam, decoupled for AdamW. Auto is the number of pairs of features, f (f + 1) / 2 and
        at most 15, over the number of rows and the root of the number of classes (of labels 2, of a regressor
        1): so that noise in few rows is not learnt by heart, and curves of one or two features are learnt. It
        is at most 0.3; divided by the number of outputs where a row has several targets; 0.01 for AdamW. A
        row counts as often as its sample weight over the least says, together at most ten times. With
        ``standardize=False``, auto is less for small inputs, which need large weights: twice their root mean
        square times as much where that is below 1/2, 0.016 for rows of length 1 with 16,000 features.
    dropout : float in [0, 1)
        After every hidden layer.
    loss : "auto", str, dict or Loss
        Auto is the cross entropy, of labels one for each. ``CrossEntropy(label_smoothing=0.1)`` says more,
        and so does ``{"name": "cross_entropy", "class_weight": [1, 5]}``; an own
        :class:`~rewire.losses.ArrayLoss` of logits is taken too. ``"squared_hinge"`` gives scores, as a
        support vector machine does: ``decision_function`` instead of probabilities.
    class_weight : dict, "balanced" or None
        How much a sample counts by its class, times its ``sample_weight``: ``{"yes": 5.0}``, 1 for classes
        that are not in it. ``"balanced"`` lets every class count alike, n_samples / (n_classes * count of
        the class) a sample, in each call of ``fit``; ``partial_fit`` and labels refuse it. What early
        stopping holds out is weighed likewise.
    average : {"ema", "swa"}, dict, WeightAverage or None
        Predict with averages of weights over steps: exponential ones, or the mean over the last quarter of
        the run; ``{"name": "ema", "decay": 0.99}`` says more, see :class:`~rewire.WeightAverage`. Validation
        scores are by them too; ``trainer_.network`` has the weights that training goes on with.
    batch_size : int or "auto"
        Auto is 128. Never more than there are samples.
    horizon : int, optional
        Epochs that a whole run takes, over all calls of ``fit`` with ``warm_start`` and of ``partial_fit``,
        each of which is one: what fractions of the run, such as ``end=0.75`` of ``rewiring="rigl"``, count
        by. By default ``max_iter`` (in ``partial_fit`` 100 for auto), and as long as it gets where calls go
        on beyond that: then a warning says so.
    max_iter : int or "auto"
        Epochs at most. It is a budget: using it up gives no warning. Auto is 100, and where an epoch has few
        steps as many as fit into 1,500, at most 1,000.
    shuffle : bool
        Whether the order of samples is drawn anew in every epoch.
    tol : float
        Least improvement of the loss (or of the validation score) that counts.
    n_iter_no_change : int, "auto" or None
        Stop after so many epochs without improvement; None never stops early. Auto is 10, and where an epoch
        has few steps as many as make 500.
    early_stopping : bool
        Hold out ``validation_fraction`` of the samples, watch the accuracy on them and bring back the best
        network at the end. There is no ``partial_fit`` then.
    validation_fraction : float in (0, 1)
        At least two samples are held out and two stay. Classes are held out in proportion; one sample of
        each stays in training.
    standardize : bool or "scale"
        Bring features to mean 0 and deviation 1, or less where a training value would be further than 5
        from 0, by what the training sets say, inside the network and without a copy of X. Constant
        features and zeros of a sparse X need no care: the mean of what is not stored is in the biases, so
        that time follows what is. ``"scale"`` subtracts no mean.
    warm_start : bool
        ``fit`` goes on with the network there is. What that is built with (sizes, activation, epsilon,
        density, links, distribution, group, init, bias_init, connectivity, dropout, loss, standardize, dtype)
        stays, there and with ``partial_fit``.
    random_state : int, RandomState, Generator, SeedSequence or None
        An integer is the network's seed. Initial links and weights depend on it and on sizes alone.
    n_jobs : int or None
        Threads; results do not depend on it. None leaves it to :func:`rewire.set_num_threads`, environment
        and processor count; negative counts from the end.
    shards : int, optional
        Cut every batch into so many parts, whose gradients are added in a fixed order, as
        :class:`~rewire.Trainer` does: activations then take the memory of a part.
    workers : int, optional
        Processes that train together, this one included, with the bits of one; ``shards`` is 8 then, unless
        it says otherwise. They are started in every call of ``fit``, which takes about a second, and of
        ``partial_fit``. Threads of each are the processors divided among them, or ``n_jobs``.
    strategy : Sync, LocalSGD, WASSP or WASAP, optional
        What workers do between two exchanges; see :class:`~rewire.Trainer`. By default every step is made
        together. With WASSP and WASAP ``fit`` goes on for ``max_iter`` epochs, whatever ``n_iter_no_change``
        says, and there is no ``early_stopping``; each call of ``partial_fit`` is one of their last epochs.
    verbose : bool or {0, 1, 2}
        Silent, a line an epoch, a bar.
    dtype : {"float32", "float64", "bfloat16", "auto"}
        Of weights and arithmetic, whatever X is; auto takes float64 for float64 X. With bfloat16 products
        round their operands and all that is kept, given or saved is of float32, as in a
        :class:`~rewire.Sequential` of it.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        For multilabel targets, 0 to n_labels - 1.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where X had names.
    n_iter_ : int
        Epochs this network has been trained, over all calls.
    t_ : int
        Samples it has seen.
    n_layers_, n_outputs_ : int
        Layers of neurons, inputs included; outputs (two for a binary target).
    out_activation_ : {"softmax", "logistic", "identity"}
        Identity with ``loss="squared_hinge"``.
    loss_, best_loss_ : float
        Of the last epoch, and the lowest; over training batches. ``best_loss_`` is None with early stopping.
    loss_curve_ : list of float
    validation_scores_, best_validation_score_ : list of float, float
        Accuracy on what was held out (of single decisions for multilabel targets); None without early
        stopping.
    feature_importances_ : ndarray of float64, shape (n_features,)
        Products of |w| along all paths from a feature to the outputs, times its deviation as the network
        sees it (1 with ``standardize``, 0 for a constant), with a sum of 1: what ``SelectFromModel`` and
        ``RFE`` ask for. After few epochs it tells little.
    coefs_ : list of csr_array, shape (n_in, n_out)
        Copies, made at every access.
    intercepts_ : list of ndarray, shape (n_out,)
    nnz_ : int
    density_ : float
    history_ : History
        One row an epoch, with times and connections.
    topology_history_ : list of dict
        One for every epoch with a rewiring.
    network_ : Sequential
    trainer_ : Trainer

    Notes
    -----
    Ctrl-C ends ``fit`` with an :class:`~rewire.errors.InterruptedWarning`; the estimator can be used. Any
    number of threads may predict at a time; fitting meanwhile raises RuntimeError.

    A sample of weight 0 is treated as if it were not there. The loss of a batch is divided by the sum of its
    weights.

    References
    ----------
    Mocanu et al., *Scalable training of artificial neural networks with adaptive sparse connectivity
    inspired by network science*, Nature Communications 9:2383 (2018).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from rewire import SparseMLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = SparseMLPClassifier((300, 300), epsilon=10, max_iter=10, random_state=0).fit(X[:1200], y[:1200])
    >>> clf.score(X[1200:], y[1200:]) > 0.9
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: int | tuple[int, ...] = (1000, 1000),
        activation: str | Activation = "all-relu",
        *,
        layers: Sequence[Any] | Callable[[int, int], Sequence[Layer]] | None = None,
        epsilon: float = 20.0,
        density: float | None = None,
        links: int | None = None,
        distribution: str = "erk",
        group: int = 1,
        init: str | float | Initializer = "he",
        bias_init: str | float | Initializer = "fan-in",
        connectivity: str | dict[str, Any] | Connectivity = "random",
        rewiring: str | dict[str, Any] | Rule | None = "set",
        drop_fraction: float = 0.3,
        optimizer: str | Optimizer = "adam",
        learning_rate_init: float | str = "auto",
        momentum: float = 0.9,
        weight_decay: float | str = "auto",
        dropout: float = 0.0,
        loss: str | dict[str, Any] | Loss = "auto",
        class_weight: Mapping[Any, float] | str | None = None,
        average: str | dict[str, Any] | WeightAverage | None = None,
        batch_size: int | str = "auto",
        max_iter: int | str = "auto",
        horizon: int | None = None,
        shuffle: bool = True,
        tol: float = 1e-4,
        n_iter_no_change: int | float | str | None = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        standardize: bool | str = True,
        warm_start: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        shards: int | None = None,
        workers: int | None = None,
        strategy: Strategy | None = None,
        verbose: bool | int = False,
        dtype: str = "float32",
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in _NOT_OF_BASE}
        super().__init__(**given)
        self.class_weight = class_weight

    @without_early_stopping
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train one epoch on this data.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`; but weights may all be 0 in any call but the first, which then does nothing.
        classes : array-like, shape (n_classes,)
            All classes there will ever be; needed in the first call (not for multilabel indicators).

        Returns
        -------
        self

        Notes
        -----
        Every call is an epoch. ``rewiring="set"`` moves connections every 100 steps, counted over all calls,
        and ``weight_decay="auto"`` goes by all rows so far, in which the same set again counts once (without
        ``standardize``: by all samples seen). No call is taken for the last: ``last_epoch="remove"`` has no
        effect. Rules that count by a fraction of the run take ``horizon`` calls, or ``max_iter``, for the
        run: state how many there will be. With ``standardize`` means and deviations are those of all calls so
        far, and the first layer is rescaled as they move (see :class:`~rewire.Trainer`).
        """
        if classes is None and y is not None and not hasattr(self, "trainer_"):
            if not type_of_target(_labels("y", y), input_name="y").startswith("multilabel"):
                raise ValueError("classes must be given in the first call of partial_fit, got None")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight must be a dict or None in partial_fit, which does not see all samples, got "
                f"{self.class_weight!r}: sklearn.utils.class_weight.compute_class_weight('balanced', "
                "classes=classes, y=y) gives the numbers"
            )
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    def predict(self, X: Any) -> NDArray[Any]:
        """The most likely class, or every label with a probability above 1/2.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_labels)
        """
        with self._fitted_network() as network:
            p = self._raw_predict(network, X)
            if self._multilabel:
                return (p > (0.5 if self.out_activation_ == "logistic" else 0.0)).astype(np.int64)
            return self.classes_[p.argmax(axis=1)]

    @_scores
    def decision_function(self, X: Any) -> NDArray[Any]:
        """Scores of the classes, or of every label; there with ``loss="squared_hinge"``.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray of the network's dtype, shape (n_samples,) or (n_samples, n_outputs)
            One number a sample for two classes: above 0 the second one is predicted.
        """
        with self._fitted_network() as network:
            scores = self._raw_predict(network, X)
            if self._multilabel or self.n_outputs_ > 2:
                return scores
            return scores[:, 1] - scores[:, 0]

    @_probabilities
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Probabilities of the classes in the order of ``classes_``, or of every label.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray of the network's dtype, shape (n_samples, n_outputs)
        """
        with self._fitted_network() as network:
            return self._raw_predict(network, X)

    @_probabilities
    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Logarithms of :meth:`predict_proba`; minus infinity where that is 0."""
        p = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return np.log(p, out=p)

    @quiet()
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of the predictions, scikit-learn's ``accuracy_score``.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,), or indicators, shape (n_samples, n_labels)
        sample_weight : array-like, shape (n_samples,), optional

        Returns
        -------
        float
            Between 0 and 1. For multilabel targets the fraction of rows of which every label is right.
        """
        return float(super().score(X, _labels("y", y), sample_weight=_parameters.score_weight(sample_weight)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # --- targets --------------------------------------------------------------------------

    def _validate_X_y(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        return super()._validate_X_y(X, _labels("y", y), reset)

    def _encode(
        self, y: Any, first: bool, weight: Any, classes: Any, stream: bool
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        if not issparse(y) and y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not issparse(y) and y.ndim == 1 and y.dtype.kind in "iub":
            kind = "multiclass"  # a third of the time of a small partial_fit went into finding that out
        else:
            check_classification_targets(y)
            kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError(
                f"y must hold classes, shape (n_samples,), or 0-1 indicators of labels, got {describe(y)}"
            )
        multilabel = kind == "multilabel-indicator"
        if issparse(y) and not multilabel:
            raise TypeError(
                f"y must be an array of classes, or sparse 0-1 indicators of labels, got {describe(y)}"
            )
        if not first:
            return self._encode_more(y, multilabel, classes), {}
        if multilabel:
            y = _indicators(y)
            labels = np.arange(y.shape[1])
            if classes is not None and not np.array_equal(np.asarray(classes), labels):
                raise ValueError(
                    f"classes must be 0 to {len(labels) - 1} for {len(labels)} labels, got {classes!r}"
                )
            return y, {"classes_": labels, "n_outputs_": len(labels), "_multilabel": True}
        known = np.unique(y if classes is None else _classes(classes))
        if len(known) < 2:
            raise ValueError(f"y must hold at least 2 classes, got {len(known)} class: {known[:1].tolist()}")
        fitted = {"classes_": known, "n_outputs_": len(known), "_multilabel": False}
        return _indices(y, known), fitted

    def _encode_more(self, y: Any, multilabel: bool, classes: Any) -> NDArray[Any]:
        """Targets for a network that exists."""
        if classes is not None and not np.array_equal(np.unique(_classes(classes)), self.classes_):
            raise ValueError(
                f"classes must be those of the first call, {self.classes_.tolist()}, got {classes!r}"
            )
        if multilabel != self._multilabel or (multilabel and y.shape[1] != self.n_outputs_):
            was = f"{self.n_outputs_} labels" if self._multilabel else "classes"
            raise ValueError(f"y must hold {was} as in the first call, got {describe(y)}")
        return _indicators(y) if multilabel else _indices(y, self.classes_)

    def _weigh_classes(
        self, targets: NDArray[Any], weight: NDArray[np.float64] | None, fitted: dict[str, Any], some: bool
    ) -> NDArray[np.float64] | None:
        if self.class_weight is None:
            return weight
        if fitted.get("_multilabel", getattr(self, "_multilabel", False)):
            raise ValueError(
                f"class_weight must be None for labels, got {describe(self.class_weight)}: give fit a weight "
                "for each sample, sample_weight=..."
            )
        classes = fitted["classes_"] if fitted else self.classes_
        found = weighed(class_weights(self.class_weight, classes, targets, weight)[targets], weight)
        if not some and not found.any():
            raise ValueError(
                f"class_weight must give a class of y a weight > 0, got {describe(self.class_weight)}"
            )
        return found

    def _output(self, fitted: dict[str, Any]) -> tuple[str, str, str]:
        usual = BinaryCrossEntropy.name if fitted["_multilabel"] else CrossEntropy.name
        if _of_hinge(self):
            return "identity", "linear", usual
        return ("logistic", "sigmoid", usual) if fitted["_multilabel"] else ("softmax", "softmax", usual)

    def _fitting(self, usual: str) -> str:
        kind = "labels" if usual == BinaryCrossEntropy.name else "classes"
        return f"'auto', {usual!r}, 'squared_hinge' or an ArrayLoss of logits for {kind}"

    def _check_loss(self, loss: Loss, usual: str) -> None:
        labels = usual == BinaryCrossEntropy.name
        fits = isinstance(loss, (BinaryCrossEntropy if labels else CrossEntropy, SquaredHinge))
        if not (fits or getattr(loss, "logits", False)):
            raise ValueError(f"loss must be {self._fitting(usual)}, got {describe(self.loss)}")

    def _stratify(self, targets: NDArray[Any]) -> NDArray[Any] | None:
        return targets if targets.ndim == 1 else None


def _labels(name: str, labels: Any) -> Any:
    """Classes that scikit-learn's checks can tell apart, as they are; numbers among objects as numbers.

    ValueError naming two rows, or one, for those of several kinds, which have no order, and for what is
    neither text nor a number.
    """
    if (type(labels) is np.ndarray and labels.dtype != object) or issparse(labels):
        return labels
    try:
        values = np.asarray(detached(labels, name))
    except ValueError:
        return labels  # ragged, which scikit-learn refuses
    if values.dtype != object or values.ndim not in (1, 2):
        return labels
    items = values.ravel().tolist()
    kinds = [_kind(item) for item in items]
    if values.ndim == 2 and values.shape[1] != 1:
        # Indicators in a table with columns for missing values, of which scikit-learn's scores know nothing.
        return np.array(items).reshape(values.shape) if {*kinds} <= {Real, bool} else labels
    other = next((row for row, kind in enumerate(kinds) if kind != kinds[0]), None)
    must = f"{name} must hold classes of one kind, text or numbers"
    if other is not None:
        raise ValueError(f"{must}, got {items[0]!r} in row 0 and {items[other]!r} in row {other}")
    if not items or kinds[0] is str:
        return labels
    numbers = np.array(items) if kinds[0] in (Real, bool) else values
    if numbers.dtype == object:
        large = [isinstance(item, Integral) and abs(int(item)) >= 2**63 for item in items]
        row = int(np.argmax(large))
        got = "an integer beyond 64 bits" if large[row] else repr(items[row])
        raise ValueError(f"{must}, got {got} in row {row}")
    return numbers


def _kind(label: Any) -> type:
    """What may be compared with each other."""
    return next((kind for kind in (str, bool, Real) if isinstance(label, kind)), type(label))


def _indicators(y: Any) -> Any:
    """An array, or CSR: of many labels a sample has few."""
    return y.tocsr() if issparse(y) else np.asarray(y)


def _classes(classes: Any) -> NDArray[Any]:
    found: NDArray[Any] = column_or_1d(_labels("classes", classes), warn=False)
    return found


def _indices(y: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int64]:
    """Where each target stands in ``classes`` (ascending)."""
    if y.dtype.kind in "iub" and classes.dtype.kind in "iub":
        at = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
        if np.array_equal(classes[at], y):
            return at.astype(np.int64, copy=False)
    present, inverse = np.unique(y, return_inverse=True)
    strange = np.setdiff1d(present, classes, assume_unique=True)
    if len(strange):
        raise ValueError(f"y must hold classes in {classes.tolist()}, got {strange.tolist()}")
    return np.searchsorted(classes, present)[inverse].astype(np.int64)
