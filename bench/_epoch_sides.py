"""The contestants of a Fashion-MNIST epoch, each in a process of its own (`_measure.Side`).

All train 784-1000-1000-1000-10 on standardised images: All-ReLU(0.6), cross entropy, SGD with momentum 0.9,
lr 0.01, batch 128, shuffled, float32; with dropout behind every hidden layer where `dropout` is above 0. An
operation ``step`` is one batch, its gathering included; ``rewire`` is one SET rewiring of the three hidden
layers (zeta 0.3); ``epoch`` is all of it as a user would call it. With `samples` it is so many random
images instead, to see that a script works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from _measure import Batch

SIZES = [784, 1000, 1000, 1000, 10]
SLOPES = [-0.6, 0.6, -0.6]  # All-ReLU: the left slope alternates
BATCH, LR, MOMENTUM, EPSILON, FRACTION = 128, 0.01, 0.9, 20, 0.3


def _images(samples: int | None) -> tuple[np.ndarray, np.ndarray]:
    if samples is not None:
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (samples, 784), np.uint8), rng.integers(0, 10, samples)
    from rewire.datasets import load

    data = load("fashion-mnist")
    return data.X.reshape(len(data.X), -1), data.y.astype(np.int64)


def _by_epochs(fit: Callable[[int], object], samples: int) -> Batch:
    """n training steps for libraries that only know epochs: `fit` takes the number of samples."""

    def run(n: int) -> None:
        while n > 0:
            most = min(n, samples // BATCH)
            fit(most * BATCH)
            n -= most

    return Batch(run)


def _standardised(samples: int | None) -> tuple[np.ndarray, np.ndarray]:
    x, y = _images(samples)
    x = x.astype(np.float32)
    deviation = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(deviation > 0, deviation, 1), y


def _random_links(n_in: int, n_out: int, rng: np.random.Generator) -> np.ndarray:
    """Places of an Erdos-Renyi layer, flat and sorted."""
    count = min(n_in * n_out, round(EPSILON * (n_in + n_out)))
    return np.sort(rng.choice(n_in * n_out, count, replace=False))


def _bound(links: int, n_out: int) -> float:
    """Where a uniform draw of variance 1 / fan-in ends, by the fan-in a neuron really has.

    Wider draws saturate the softmax; its gradients are then too small for normal numbers, and whoever has to
    compute with those becomes several times slower.
    """
    return (3 / (links / n_out)) ** 0.5


# --- rewire --------------------------------------------------------------------------------


def rewire(threads: int, group: int, dropout: float, rewiring: str, samples: int | None = None) -> dict:
    """rewire by its public face. ``epoch`` is `fit` over all data, with its rewiring; ``step`` without."""
    import rewire as rw

    x, y = _images(samples)

    def trainer(rule: str) -> rw.Trainer:
        layers: list = []
        for n, m in pairwise(SIZES[:-1]):
            layers.append(rw.Sparse(n, m, epsilon=EPSILON, activation=rw.AllReLU(0.6), group=group))
            if dropout:
                layers.append(rw.Dropout(dropout))
        layers.append(rw.Sparse(SIZES[-2], SIZES[-1], epsilon=EPSILON, activation="softmax"))
        net = rw.Sequential(layers, seed=0)
        net.standardizer = rw.Standardizer.fit(x)  # of all images, as on the other sides
        optimizer = rw.SGD(lr=LR, momentum=MOMENTUM)
        rule = rw.SET(fraction=FRACTION) if rule == "set" else rw.Static()
        return rw.Trainer(net, loss="cross_entropy", optimizer=optimizer, rewiring=rule, threads=threads)

    whole, still = trainer(rewiring), trainer("static")
    return {
        "epoch": lambda: whole.fit(x, y, epochs=1, batch_size=BATCH, verbose=0),
        "step": _by_epochs(lambda m: still.fit(x[:m], y[:m], epochs=1, batch_size=BATCH, verbose=0), len(x)),
        "facts": {"weights": whole.network.nnz},
    }


def rewire_and_torch(threads: int, when: str, samples: int) -> dict:
    """rewire with PyTorch imported "before" it, "after" it or not at all (""), and a probe of the machine.

    ``probe 1`` and ``probe 2`` make the same number of multiply-adds a thread on so many threads.
    """
    if when == "before":
        import torch  # noqa: F401
    from rewire import _core

    if when == "after":
        import torch  # noqa: F401
    probes = {f"probe {n}": lambda n=n: _core.measure_fma(200_000, n) for n in (1, 2)}
    return {**rewire(threads, 1, 0.3, "set", samples), **probes}


# --- PyTorch -------------------------------------------------------------------------------


def _torch_steps(
    layers: list,
    threads: int,
    dropout: float,
    samples: int | None,
    device: str = "cpu",
    by_feature: bool = False,
) -> Callable:
    """A function that runs one training step, as most people write it.

    With `by_feature` the layers take and give (features, batch).
    """
    import torch

    torch.set_num_threads(threads)
    x, y = (torch.from_numpy(array).to(device) for array in _standardised(samples))
    optimizer = torch.optim.SGD([p for layer in layers for p in layer.parameters()], lr=LR, momentum=MOMENTUM)

    def batches() -> Iterator:
        while True:
            yield from torch.randperm(len(x), device=device)[: len(x) // BATCH * BATCH].view(-1, BATCH)

    order = batches()

    def step() -> None:
        rows = next(order)
        a = x[rows].t().contiguous() if by_feature else x[rows]
        for layer, slope in zip(layers[:-1], SLOPES, strict=True):
            a = torch.nn.functional.leaky_relu(layer(a), slope)
            if dropout:
                a = torch.nn.functional.dropout(a, dropout)
        z = layers[-1](a)
        loss = torch.nn.functional.cross_entropy(z.t() if by_feature else z, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def torch_dense(threads: int, dropout: float, samples: int | None = None) -> dict:
    """nn.Linear."""
    import torch

    torch.manual_seed(0)
    layers = [torch.nn.Linear(n, m) for n, m in pairwise(SIZES)]
    weights = sum(layer.weight.numel() for layer in layers)
    return {"step": _torch_steps(layers, threads, dropout, samples), "facts": {"weights": weights}}


def torch_gpu(threads: int, dropout: float, samples: int | None = None) -> dict:
    """The same on the first GPU, data and all."""
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("no GPU that this torch can use")
    torch.manual_seed(0)
    layers = [torch.nn.Linear(n, m).to("cuda") for n, m in pairwise(SIZES)]
    step = _torch_steps(layers, threads, dropout, samples, "cuda")

    def run(n: int) -> None:
        for _ in range(n):
            step()
        torch.cuda.synchronize()

    facts = {"weights": sum(layer.weight.numel() for layer in layers), "gpu": torch.cuda.get_device_name()}
    return {"step": Batch(run), "facts": facts}


def torch_masks(threads: int, dropout: float, samples: int | None = None) -> dict:
    """Dense matrices times masks, as most code for dynamic sparse training has it."""
    import torch

    torch.manual_seed(0)
    rng = np.random.default_rng(0)

    class Masked(torch.nn.Linear):
        def __init__(self, n: int, m: int) -> None:
            super().__init__(n, m)
            mask = np.zeros(n * m, np.float32)
            links = _random_links(n, m, rng)
            mask[links] = 1
            bound = _bound(len(links), m)
            torch.nn.init.uniform_(self.weight, -bound, bound)
            self.mask = torch.from_numpy(mask.reshape(m, n))

        def forward(self, a: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.linear(a, self.weight * self.mask, self.bias)

        @torch.no_grad()
        def rewire(self) -> None:
            w, mask = self.weight.view(-1), self.mask.view(-1)
            links = mask.nonzero().view(-1)
            values = w[links]
            for sign in (1, -1):
                side = links[values * sign > 0]
                gone = side[(w[side] * sign).argsort()[: int(FRACTION * len(side))]]
                mask[gone] = 0
            free = (mask == 0).nonzero().view(-1)
            born = free[torch.randperm(len(free))[: len(links) - int(mask.sum())]]
            mask[born] = 1
            w.mul_(mask)
            w[born] = 0

    layers = [Masked(n, m) for n, m in pairwise(SIZES)]

    def rewiring() -> None:
        for layer in layers[:-1]:
            layer.rewire()

    step = _torch_steps(layers, threads, dropout, samples)
    weights = int(sum(layer.mask.sum() for layer in layers))
    return {"step": step, "rewire": rewiring, "facts": {"weights": weights}}


def torch_csr(threads: int, dropout: float, samples: int | None = None) -> dict:
    """torch.sparse_csr in an autograd function written by hand; its structure stays as it is."""
    import warnings

    import torch
    from _kernel_sides import transposed

    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    rng = np.random.default_rng(0)

    class Product(torch.autograd.Function):
        """W a, with activations (features, batch): the layout these kernels want."""

        @staticmethod
        def forward(ctx, a, values, layer):
            ctx.layer = layer
            ctx.save_for_backward(a, values)
            return torch.sparse_csr_tensor(layer.start, layer.columns, values, layer.shape) @ a

        @staticmethod
        def backward(ctx, g):
            layer, (a, values) = ctx.layer, ctx.saved_tensors
            g = g.contiguous()
            by_sample = a.t().contiguous()
            dw = torch.sparse.sampled_addmm(layer.pattern, g, by_sample, beta=0.0).values()
            da = None
            if ctx.needs_input_grad[0]:
                turned = (layer.t_start, layer.t_columns, values[layer.order], layer.shape[::-1])
                da = torch.sparse_csr_tensor(*turned) @ g
            return da, dw, None

    class Csr(torch.nn.Module):
        def __init__(self, n: int, m: int) -> None:
            super().__init__()
            self.shape = (m, n)
            links = _random_links(n, m, rng)
            start = np.searchsorted(links, np.arange(m + 1) * n).astype(np.int32)
            columns = (links % n).astype(np.int32)
            self.start, self.columns = torch.from_numpy(start), torch.from_numpy(columns)
            turned = transposed(start, columns, n)
            self.t_start, self.t_columns, self.order = map(torch.from_numpy, turned)
            self.pattern = torch.sparse_csr_tensor(
                self.start, self.columns, torch.zeros(len(links)), self.shape
            )
            bound = _bound(len(links), m)
            self.values = torch.nn.Parameter(torch.empty(len(links)).uniform_(-bound, bound))
            self.bias = torch.nn.Parameter(torch.zeros(m, 1))

        def forward(self, a: torch.Tensor) -> torch.Tensor:
            return Product.apply(a, self.values, self) + self.bias

    layers = [Csr(n, m) for n, m in pairwise(SIZES)]
    weights = sum(layer.values.numel() for layer in layers)
    step = _torch_steps(layers, threads, dropout, samples, by_feature=True)
    return {"step": step, "facts": {"weights": weights}}


# --- NumPy, SciPy, scikit-learn ------------------------------------------------------------


def scipy_numba(threads: int, dropout: float, dtype: str, samples: int | None = None) -> dict:
    """SciPy matrices and a few lines of Numba for the gradient, in the manner of the SET authors.

    Samples are rows, weights are CSR (n_in, n_out), and SET converts to COO and back, as in their code, which
    computes in float64. Ours uses every thread for the gradient.
    """
    import numba
    from scipy.sparse import coo_array, csr_array

    numba.set_num_threads(threads)
    rng = np.random.default_rng(0)
    x, y = _standardised(samples)
    x, real = x.astype(dtype), np.dtype(dtype).type

    zero = real(0)

    @numba.njit(parallel=True, fastmath=True)
    def gradient(a, delta, rows, columns, out):
        for i in numba.prange(len(out)):
            total = zero
            for j in range(a.shape[0]):
                total += a[j, rows[i]] * delta[j, columns[i]]
            out[i] = total

    def layer(n: int, m: int) -> csr_array:
        places = np.divmod(_random_links(m, n, rng), m)
        bound = _bound(len(places[0]), m)
        values = rng.uniform(-bound, bound, len(places[0])).astype(dtype)
        return csr_array((values, places), shape=(n, m))

    weights = [layer(n, m) for n, m in pairwise(SIZES)]
    biases = [np.zeros(m, dtype) for m in SIZES[1:]]
    speed = [np.zeros_like(w.data) for w in weights]
    bias_speed = [np.zeros_like(b) for b in biases]
    order = iter(())

    def step() -> None:
        nonlocal order
        rows = next(order, None)
        if rows is None:
            order = iter(rng.permutation(len(x))[: len(x) // BATCH * BATCH].reshape(-1, BATCH))
            rows = next(order)
        activations, slopes = [x[rows]], []
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            z = activations[-1] @ w + b
            if i < len(SLOPES):
                slope = np.where(z > 0, real(1), real(SLOPES[i]))
                if dropout:
                    slope *= (rng.random(z.shape, dtype) >= dropout) / real(1 - dropout)
                slopes.append(slope)
                z = z * slope
            activations.append(z)
        z = np.exp(activations[-1] - activations[-1].max(axis=1, keepdims=True))
        delta = z / z.sum(axis=1, keepdims=True)
        delta[np.arange(BATCH), y[rows]] -= 1
        delta /= real(BATCH)
        for i in reversed(range(len(weights))):
            w = weights[i]
            dw = np.empty_like(w.data)
            from_rows = np.repeat(np.arange(w.shape[0]), np.diff(w.indptr))
            gradient(activations[i], delta, from_rows, w.indices, dw)
            db = delta.sum(axis=0)
            if i:
                delta = (delta @ w.T) * slopes[i - 1]
            for value, v, g in ((w.data, speed[i], dw), (biases[i], bias_speed[i], db)):
                v *= real(MOMENTUM)
                v -= real(LR) * g
                value += v

    def rewiring() -> None:
        for i, w in enumerate(weights[:-1]):
            places = coo_array(w)
            values, n, m = w.data, *w.shape
            low = np.sort(-values[values < 0])[int(FRACTION * np.sum(values < 0))]
            high = np.sort(values[values > 0])[int(FRACTION * np.sum(values > 0))]
            keep = (values >= high) | (values <= -low)
            flat = places.row[keep].astype(np.int64) * m + places.col[keep]
            born = np.empty(0, np.int64)
            while len(born) < len(values) - len(flat):
                tried = rng.integers(0, n * m, 2 * (len(values) - len(flat)))
                born = np.unique(np.concatenate([born, tried[~np.isin(tried, flat)]]))
            born = rng.permutation(born)[: len(values) - len(flat)]
            everyone = np.concatenate([flat, born])
            fresh = np.concatenate([values[keep], np.zeros(len(born), dtype)])
            moving = np.concatenate([speed[i][keep], np.zeros(len(born), dtype)])
            weights[i] = csr_array((fresh, np.divmod(everyone, m)), shape=(n, m))
            speed[i] = csr_array((moving, np.divmod(everyone, m)), shape=(n, m)).data

    return {"step": step, "rewire": rewiring, "facts": {"weights": sum(w.nnz for w in weights)}}


def sklearn_mlp(threads: int, dropout: float, samples: int | None = None) -> dict:
    """scikit-learn's MLPClassifier with the same widths: ReLU, and no dropout, for it has none."""
    import warnings

    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    x, y = _standardised(samples)
    model = MLPClassifier(
        SIZES[1:-1],
        solver="sgd",
        batch_size=BATCH,
        learning_rate_init=LR,
        momentum=MOMENTUM,
        alpha=0,
        random_state=0,
    )
    classes = np.arange(10)
    weights = sum(n * m for n, m in pairwise(SIZES))
    run = _by_epochs(lambda m: model.partial_fit(x[:m], y[:m], classes=classes), len(x))
    return {"step": run, "facts": {"weights": weights}}
