"""The sparse convolution of 1 x 1 as a module of PyTorch: a sparse layer over the channels of every pixel."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import nn

from rewire._checks import MAX_NEURONS, describe, integer, one_of_types
from rewire.torch._chain import checked, entered
from rewire.torch._images import over_channels, run_images
from rewire.torch._ops import rounds, sparse_linear
from rewire.torch.linear import SparseLinear, weights_of

__all__ = ["SparseConv1x1", "why_not_1x1"]


def why_not_1x1(conv: nn.Conv2d) -> str | None:
    """Why a convolution is more than a layer over channels; None if it is none."""
    if tuple(conv.kernel_size) != (1, 1):
        return f"its kernel is {conv.kernel_size[0]} x {conv.kernel_size[1]}, not 1 x 1"
    if conv.groups != 1:
        return f"its channels are in {conv.groups} groups"
    if conv.padding not in ((0, 0), "valid", "same"):  # "same" pads a kernel of 1 x 1 by nothing
        return f"it pads its inputs, by {conv.padding}"
    return None


def _strides(stride: Any) -> tuple[int, int]:
    if isinstance(stride, tuple | list) and len(stride) == 2:
        return integer("stride[0]", stride[0], low=1), integer("stride[1]", stride[1], low=1)
    if isinstance(stride, tuple | list):
        raise ValueError(f"stride must be one number or two, got {describe(stride)}")
    return (integer("stride", stride, low=1),) * 2


class SparseConv1x1(SparseLinear):
    """A convolution of 1 x 1 whose kernel has only the connections that exist, between channels.

    Parameters
    ----------
    in_channels, out_channels : int
    stride : int or (int, int)
    bias : bool
    **options
        As for :class:`SparseLinear`: one of ``density``, ``epsilon``, ``fan_in``, ``links``; ``group``,
        ``connectivity``, ``init``, ``device``, ``dtype``.

    Attributes
    ----------
    in_channels, out_channels : int
    stride : (int, int)
    weight, bias, indptr, sources
        As those of a :class:`SparseLinear`, which this is, over channels.

    Notes
    -----
    Inputs are images (batch, channels, height, width) or (channels, height, width). In PyTorch's own layout
    they are computed where they lie if the number of channels is a multiple of 8 and that of pixels a power
    of two from 64 to 4096 (in float64 from 32); others are copied in runs of pixels. So are outputs. In
    ``torch.channels_last`` they are rows, and go the way of :class:`SparseLinear`, as do those of few pixels
    (up to about 4 x 4), after a transposition if there are several. Outputs have the layout of the inputs.

    Examples
    --------
    >>> import torch
    >>> from rewire.torch import SparseConv1x1
    >>> layer = SparseConv1x1(64, 128, density=0.1)
    >>> layer
    SparseConv1x1(in_channels=64, out_channels=128, stride=(1, 1), bias=True, density=0.1, group=4)
    >>> layer(torch.randn(2, 64, 16, 16)).shape
    torch.Size([2, 128, 16, 16])
    """

    stride: tuple[int, int]

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: Any = 1, bias: bool = True, **options: Any
    ) -> None:
        strides = _strides(stride)
        super().__init__(
            integer("in_channels", in_channels, low=1, high=MAX_NEURONS),
            integer("out_channels", out_channels, low=1, high=MAX_NEURONS),
            bias,
            **options,
        )
        self.stride = strides

    @property
    def in_channels(self) -> int:
        """Channels of the inputs."""
        return self.in_features

    @property
    def out_channels(self) -> int:
        """Channels of the outputs."""
        return self.out_features

    @classmethod
    def from_conv2d(cls, conv: nn.Conv2d, **options: Any) -> Self:
        """A sparse convolution in the place of a dense one of 1 x 1.

        Parameters
        ----------
        conv : nn.Conv2d
            Left as it is. Its kernel is 1 x 1, its channels are not in groups, and it does not pad.
        **options
            As for :meth:`SparseLinear.from_linear`.

        Raises
        ------
        TypeError, ValueError
            For another module or convolution, and for wrong arguments.
        """
        why = why_not_1x1(one_of_types("conv", conv, nn.Conv2d, "an nn.Conv2d"))
        if why is not None:
            raise ValueError(f"conv must be a convolution of 1 x 1 over all channels, got one where {why}")
        weight = weights_of("conv", conv)
        linear = nn.Linear(conv.in_channels, conv.out_channels, conv.bias is not None, device="meta")
        linear.weight = nn.Parameter(weight.detach().flatten(1))
        if conv.bias is not None:
            linear.bias = nn.Parameter(conv.bias.detach())
        made = cls.from_linear(linear, **options)
        made.stride = _strides(conv.stride)
        return made

    @classmethod
    def _from_dense(cls, weight: torch.Tensor, bias: torch.Tensor | None, key: Any, **options: Any) -> Self:
        made = super()._from_dense(weight.flatten(1), bias, key, **options)
        made.stride = (1, 1)
        return made

    def to_conv2d(self) -> nn.Conv2d:
        """An ``nn.Conv2d`` that computes the same; a copy."""
        linear = self.to_linear()
        made = nn.Conv2d(
            self.in_channels, self.out_channels, 1, self.stride, bias=self.bias is not None, device="meta"
        )
        made.weight = nn.Parameter(linear.weight.detach()[:, :, None, None])
        if self.bias is not None:
            made.bias = linear.bias
        return made.train(self.training)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Images (*, out_channels, height / stride, width / stride) of (*, in_channels, height, width)."""
        if isinstance(input, torch.fx.Proxy):
            values = self.effective_weight(), self.bias, self.indptr, self.sources
            return _traced(input, *values, self.in_features, self.out_features, *self.stride)
        if not torch.compiler.is_compiling():
            checked(input)
        if input.ndim not in (3, 4) or input.shape[-3] != self.in_channels:
            raise ValueError(
                f"x must be images (batch, {self.in_channels}, height, width) or one of them, "
                f"got shape {tuple(input.shape)}"
            )
        x = input
        if self.stride != (1, 1):
            x = x[..., :: self.stride[0], :: self.stride[1]]
        rows = x.ndim == 4 and _lies_in_rows(input)
        found = None if rows else entered(x)
        if found is not None:
            images, lower = found
            parts = self._parts(images.dtype)
            if parts is not None:
                whole = (images if x.ndim == 4 else images[None]).contiguous()
                y = run_images(whole, *parts, rounds(lower))
                y = y if x.ndim == 4 else y[0]
                return y if lower is None else y.to(lower)
        y = over_channels(x, super().forward)
        return y if rows else y.contiguous()

    def extra_repr(self) -> str:
        sizes = f"in_channels={self.in_channels}, out_channels={self.out_channels}, stride={self.stride}"
        return f"{sizes}, {super().extra_repr().split(', ', 2)[2]}"


def _traced(x: torch.Tensor, *given: Any) -> torch.Tensor:
    """The layer in graphs of ``torch.fx``, which call this and do not look into it."""
    *layer, down, right = given
    rows = x.ndim == 4 and _lies_in_rows(x)
    y = over_channels(x[..., ::down, ::right], lambda x: sparse_linear(x, *layer, False))
    return y if rows else y.contiguous()


torch.fx.wrap("_traced")


def _lies_in_rows(x: torch.Tensor) -> bool:
    """Whether images lie pixel by pixel and not channel by channel."""
    channels = x.shape[1]
    return not x.is_contiguous() and channels > 1 and x.stride(1) == 1 and x.stride(3) >= channels
