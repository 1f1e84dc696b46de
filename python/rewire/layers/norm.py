"""Normalisation: of a sample's values, and of a feature over the samples of a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import number
from rewire._geometry import padded
from rewire.layers.affine import Affine, diagonal
from rewire.layers.base import Layer, register_layer
from rewire.layers.elementwise import Elementwise
from rewire.layers.mixing import Mixing
from rewire.layers.passing import Pass, Report
from rewire.parameters import Buffer, DenseParameter

__all__ = ["BatchNorm", "LayerNorm"]


class Normalised(Layer):
    """What both normalisations share: a trained gain and shift for each feature.

    Attributes
    ----------
    weight : DenseParameter, shape (n,)
        The gain; it starts at 1 and does not decay.
    bias : DenseParameter, shape (n,)
        What is added; it starts at 0 and does not decay.
    """

    keeps = True

    weight: DenseParameter
    bias: DenseParameter
    eps: float

    def connect(self, n_in: int) -> None:
        super().connect(n_in)
        self.weight = DenseParameter(n_in, init=1.0, axes=("out",), decays=False)
        self.bias = DenseParameter(n_in, axes=("out",), decays=False)

    def terms(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Gain and shift, as kernels take them."""
        assert self.weight.padded is not None and self.bias.padded is not None
        return self.weight.padded, self.bias.padded

    def row(self, name: str, p: Pass) -> NDArray[Any]:
        """Memory for one number a feature, padded like a bias."""
        return p.ws.array((self.index, name), (padded(self.n_in),))

    def gradients(self, z: _core.Tiles, dy: _core.Tiles, p: Pass) -> tuple[NDArray[Any], NDArray[Any]]:
        """Those of gain and shift."""
        found = self.row("dgain", p), self.row("dshift", p)
        _core.norm_gradient(z, dy, *found, p.threads)
        return found

    def hand_over(self, dgain: NDArray[Any], dshift: NDArray[Any], p: Pass) -> None:
        """Give the gradients to the pass, after the last use of gain and shift."""
        p.learn(self.weight, dgain[: self.n_in])
        p.learn(self.bias, dshift[: self.n_in])


@register_layer
class LayerNorm(Normalised, Mixing):
    """(x - mean) / sqrt(variance + eps) over the values of a sample; times a gain, plus a shift.

    Parameters
    ----------
    eps : float > 0

    Notes
    -----
    Mean and variance are those of one sample, so training and prediction are the same. Every output depends
    on every input: where neurons are removed, those before and after it stay. It works tile by tile, so a
    batch of up to 64 samples (32 in float64) is the work of one thread.

    Ba, Kiros, Hinton, *Layer Normalization*, arXiv:1607.06450 (2016).

    Examples
    --------
    >>> import rewire as rw
    >>> net = rw.Sequential([rw.Sparse(64, 100), rw.LayerNorm(), rw.Sparse(100, 10, activation="softmax")])
    """

    def __init__(self, eps: float = 1e-5) -> None:
        self.eps = number("eps", eps, low=0.0, open_low=True)

    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        z, y = p.tiles((self.index, "z"), self.n_in), p.output(self)
        inverse = p.ws.array((self.index, "inverse"), (z.n_tiles * z.tile,))
        _core.layer_norm(x, *self.terms(), self.eps, z, inverse, y, p.threads)
        p.save(self, z, inverse)
        return y

    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        z, inverse = p.saved(self)
        dx = None
        found = self.gradients(z, dy, p)
        if need_dx:
            dx = p.ws.other(self.n_in, dy)
            _core.layer_norm_back(z, inverse, self.terms()[0], dy, dx, p.threads)
        self.hand_over(*found, p)
        return dx


@register_layer
class BatchNorm(Normalised, Elementwise):
    """(x - mean) / sqrt(variance + eps) over the samples of a batch; times a gain, plus a shift.

    Parameters
    ----------
    eps : float > 0
    momentum : float in [0, 1]
        How far running moments move towards those of each batch.

    Attributes
    ----------
    running_mean, running_var : Buffer, shape (n,)
        What prediction normalises by: averages over the batches of training, of the variance without bias.

    Notes
    -----
    A batch of a single sample has no variance: it is normalised by the running moments, in training too, and
    does not move them. Of a batch that is cut into shards, or into other parts, each is normalised by itself,
    and the running moments move once, towards the means over the shards of their moments.

    Ioffe, Szegedy, *Batch Normalization*, ICML 2015; running averages as in torch.

    Examples
    --------
    >>> import rewire as rw
    >>> net = rw.Sequential([rw.Sparse(64, 100), rw.BatchNorm(), rw.Sparse(100, 10, activation="softmax")])
    """

    def __init__(self, eps: float = 1e-5, *, momentum: float = 0.1) -> None:
        self.eps = number("eps", eps, low=0.0, open_low=True)
        self.momentum = number("momentum", momentum, low=0.0, high=1.0)

    def connect(self, n_in: int) -> None:
        super().connect(n_in)
        self.running_mean = Buffer(n_in, axes=("out",))
        self.running_var = Buffer(n_in, axes=("out",), fill=1.0, low=0.0)

    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        mean, inverse = self.row("mean", p), self.row("inverse", p)
        y, z, own = p.output(self), None, p.training and p.batch > 1
        if own:
            variance = self.row("variance", p)
            _core.batch_moments(x, self.eps, mean, variance, inverse, p.threads)
            if p.learning:
                p.report(self, np.stack([mean[: self.n_in], variance[: self.n_in]]))
        else:
            mean[: self.n_in] = self.running_mean.values
            inverse[: self.n_in] = 1.0 / np.sqrt(self.running_var.values + self.eps)
        if p.keeping:
            z = p.tiles((self.index, "z"), self.n_in)
            p.save(self, z, inverse, float(p.batch) if own else math.inf)
        _core.batch_norm(x, mean, inverse, *self.terms(), z, y, p.threads)
        return y

    def affine_at(self, x: NDArray[np.float64], *, final: bool = False) -> Affine:
        slope = self.weight.values / np.sqrt(self.running_var.values + self.eps)
        return diagonal(slope, self.bias.values - slope * self.running_mean.values)

    def follow(self, reports: Sequence[Report], epoch: int) -> None:
        samples = sum(report.samples for report in reports)
        for running, row in ((self.running_mean, 0), (self.running_var, 1)):
            now = np.zeros(self.n_in)
            for report in reports:
                found, batch = report.values[row], report.samples
                if row == 1:
                    found = found * (batch / (batch - 1.0))
                now += found if len(reports) == 1 else found.astype(np.float64) * (batch / samples)
            running.values += self.momentum * (now - running.values)

    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        z, inverse, count = p.saved(self)
        dx = None
        found = self.gradients(z, dy, p)
        if need_dx:
            dx = p.ws.other(self.n_in, dy)
            _core.batch_norm_back(z, inverse, self.terms()[0], *found, count, dy, dx, p.threads)
        self.hand_over(*found, p)
        return dx
