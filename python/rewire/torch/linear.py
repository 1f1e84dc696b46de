"""The sparse linear layer as a module of PyTorch."""

from __future__ import annotations

import copy
import math
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from rewire import _core
from rewire._checks import MAX_NEURONS, boolean, choice, integer, one_of_types
from rewire._geometry import Geometry
from rewire._warn import warn
from rewire.connectivity import Connectivity, EdgeList, Random
from rewire.initializers import He, Initializer
from rewire.parameters import SparseParameter
from rewire.parameters.initial import GROUPS, Wanted
from rewire.torch._chain import entered, run_one
from rewire.torch._ops import COMPUTED_IN, NAMES, rounds, sparse_linear
from rewire.torch._resizing import resize
from rewire.torch._structures import Structure, Watch, structure_of

__all__ = ["LINEAR", "SparseLinear", "weights_of"]

# The law of nn.Linear, uniform in +-1 / sqrt(fan-in), over the fan-in that a neuron really has.
LINEAR = He("uniform", gain=1.0 / math.sqrt(3.0))
DENSITY = 0.1


def _seed() -> int:
    """A seed of torch's generator."""
    return int(torch.randint(2**62, (), device="cpu"))


def weights_of(name: str, dense: nn.Module) -> torch.Tensor:
    """Weights of a dense layer that can become sparse; ValueError for others."""
    weight = getattr(dense, "weight", None)
    if weight is None or isinstance(weight, nn.parameter.UninitializedParameter):
        lazy = "LazyConv2d" if isinstance(dense, nn.Conv2d) else "LazyLinear"
        raise ValueError(f"{name} must have its weights: run a batch through a {lazy} first")
    if weight.device.type != "cpu" or weight.dtype not in COMPUTED_IN:
        raise ValueError(
            f"{name} must have weights of a floating dtype on the CPU, got {weight.dtype} on {weight.device}"
        )
    found: torch.Tensor = weight
    return found


class SparseLinear(nn.Module):
    """y = x W' + b, where W has only the connections that exist.

    Give at most one of ``density``, ``epsilon``, ``fan_in``, ``links``; without any, the density is 0.1.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    density : float in [0, 1], optional
        Fraction of all in_features * out_features links.
    epsilon : float, optional
        Erdos-Renyi: epsilon * (in_features + out_features) links.
    fan_in : int, optional
        Every output gets exactly this many inputs.
    links : int, optional
        The number of links itself.
    group : {1, 2, 4, 8}
        Neighbouring outputs that share one list of inputs. 4 is about twice as fast as 1.
    connectivity : str or Connectivity
        Where the links are: ``"random"``, ``"small-world"``, ``"scale-free"``, or an object of
        ``rewire.connectivity``.
    init : str, float or Initializer, optional
        Initial weights; by default the law of ``nn.Linear`` over the fan-in that a neuron really has.
    device : torch.device, optional
        The CPU, or "meta" for a layer without values that waits for ``load_state_dict(..., assign=True)``.
    dtype : torch.dtype, optional
        float32 or float64; bfloat16 and float16 are kept as such and computed in float32.

    Attributes
    ----------
    weight : nn.Parameter, shape (slots, group)
        The weights of the connections that exist, and nothing else: a slot is one input of ``group``
        neighbouring outputs. Slots are sorted by outputs, then by inputs. Where ``out_features`` is no
        multiple of ``group``, weights of outputs that are not there are zero and have no gradient.
    bias : nn.Parameter or None, shape (out_features,)
    indptr : Tensor of int64, shape (groups + 1,)
        Slots before each group of outputs; a buffer. To be changed by rewiring and loading only.
    sources : Tensor of int32, shape (slots,)
        The input of each slot; a buffer.

    Notes
    -----
    Positions and weights are drawn by the generator of ``torch.manual_seed``. As many threads are used as
    ``torch.get_num_threads()`` says; the bits do not depend on it.

    The state (``state_dict``) has the links as tensors: it loads into a layer of the same sizes whatever its
    links are, and brings its own. An optimizer that was made before goes on with the layer; what it has kept
    of other links does not fit, so load its state as well.

    Functions of ``nn.init`` that go by the shape of a matrix take (slots, group) for one: initialize dense
    layers before :func:`sparsify`, or call :meth:`reset_parameters`.

    Examples
    --------
    >>> import torch
    >>> from rewire.torch import SparseLinear
    >>> layer = SparseLinear(784, 1000, density=0.045)
    >>> layer
    SparseLinear(in_features=784, out_features=1000, bias=True, density=0.045, group=4)
    >>> layer(torch.randn(32, 784)).shape
    torch.Size([32, 1000])
    """

    __constants__ = ["in_features", "out_features"]
    in_features: int
    out_features: int
    weight: nn.Parameter
    bias: nn.Parameter | None
    indptr: torch.Tensor
    sources: torch.Tensor
    mask: torch.Tensor | None  # of weights that the forward pass uses; None: all

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        density: float | None = None,
        epsilon: float | None = None,
        fan_in: int | None = None,
        links: int | None = None,
        group: int = 4,
        connectivity: str | Connectivity = "random",
        init: str | float | Initializer | dict[str, Any] | None = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if density is None and epsilon is None and fan_in is None and links is None:
            if not isinstance(connectivity, EdgeList):  # which says how many there are
                density = DENSITY
        drawn = SparseParameter(
            integer("in_features", in_features, low=1, high=MAX_NEURONS),
            integer("out_features", out_features, low=1, high=MAX_NEURONS),
            density=density,
            epsilon=epsilon,
            fan_in=fan_in,
            links=links,
            group=group,
            connectivity=connectivity,
            init=LINEAR if init is None else init,
        )
        self._begin(drawn, boolean("bias", bias), device, dtype, None)

    # --- how it begins ------------------------------------------------------------------

    def _begin(
        self, drawn: SparseParameter, bias: bool, device: Any, dtype: torch.dtype | None, key: Any
    ) -> None:
        """Take links and weights of a parameter, drawn by ``key``, (seed, stream), or torch's generator."""
        super().__init__()
        dtype = torch.get_default_dtype() if dtype is None else one_of_types(
            "dtype", dtype, torch.dtype, "a torch.dtype"
        )  # fmt: skip
        if dtype not in COMPUTED_IN:
            known = ", ".join(str(each)[6:] for each in COMPUTED_IN)
            raise ValueError(f"dtype must be one of {known}, got {str(dtype)[6:]}")
        where = torch.get_default_device() if device is None else torch.device(device)
        if where.type not in ("cpu", "meta"):
            raise ValueError(f'device must be "cpu", where sparse layers compute, or "meta", got {where}')
        self.in_features, self.out_features, self.group = drawn.n_in, drawn.n_out, drawn.group
        self.init = drawn.init
        options: Any = {"device": where, "dtype": dtype}
        if where.type == "meta":
            slots = drawn.wanted_slots
            indptr = torch.empty(drawn.geometry.n_groups + 1, dtype=torch.int64, device="meta")
            sources = torch.empty(slots, dtype=torch.int32, device="meta")
            weight = torch.empty(slots, drawn.group, **options)
        else:
            seed, stream = (_seed(), 0) if key is None else key
            drawn.build(name="weight", seed=seed, stream=stream, dtype=NAMES[COMPUTED_IN[dtype]])
            core = drawn.core
            indptr, sources = torch.from_numpy(core.indptr()), torch.from_numpy(core.sources())
            weight = torch.from_numpy(core.get_field("weight")).to(dtype)
        self.weight = nn.Parameter(weight)
        self.register_buffer("indptr", indptr)
        self.register_buffer("sources", sources)
        self.register_buffer("mask", None)
        if bias:
            self.bias = nn.Parameter(torch.empty(self.out_features, **options))
            self._draw_bias()
        else:
            self.register_parameter("bias", None)
        self._structure: Structure | None = None
        self._hold()

    @classmethod
    def from_linear(
        cls,
        linear: nn.Linear,
        *,
        density: float | None = None,
        epsilon: float | None = None,
        fan_in: int | None = None,
        links: int | None = None,
        group: int = 4,
        connectivity: str | Connectivity = "magnitude",
        seed: int | None = None,
    ) -> Self:
        """A sparse layer in the place of a dense one, with its biases and some of its weights.

        Parameters
        ----------
        linear : nn.Linear
            Left as it is.
        density, epsilon, fan_in, links : optional
            How many links, as for :class:`SparseLinear`.
        group : {1, 2, 4, 8}
        connectivity : str or Connectivity
            ``"magnitude"`` keeps the largest weights as they are, of a trained layer; with groups by the sum
            of |w| over the group. Any other chooses positions whatever the weights are, for a layer to be
            trained: weights there are those of the dense layer times sqrt(in_features / fan-in of the
            output), by which the layer's outputs keep their variance.
        seed : int, optional
            For positions that are drawn; by default torch's generator says.

        Raises
        ------
        TypeError, ValueError
            For another module, one whose weights are computed or not there yet, and for wrong arguments.
        """
        weight = weights_of("linear", one_of_types("linear", linear, nn.Linear, "an nn.Linear"))
        key = None if seed is None else (integer("seed", seed, low=0, high=2**63 - 1), 0)
        return cls._from_dense(
            weight, linear.bias, key, connectivity=connectivity, group=group, density=density,
            epsilon=epsilon, fan_in=fan_in, links=links,
        )  # fmt: skip

    @classmethod
    def _from_dense(
        cls,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        key: tuple[int, int] | None,
        *,
        connectivity: str | Connectivity,
        group: int,
        **sizes: Any,
    ) -> Self:
        n_out, n_in = weight.shape
        group, init = choice("group", group, GROUPS), LINEAR
        if all(value is None for value in sizes.values()) and not isinstance(connectivity, EdgeList):
            sizes["density"] = DENSITY
        dense = weight.detach().to(COMPUTED_IN[weight.dtype])
        largest = isinstance(connectivity, str) and connectivity == "magnitude"
        if largest:
            geometry = Geometry(n_in, n_out, group)
            if sizes.get("fan_in") is not None:
                raise ValueError('fan_in draws at random: leave it out with connectivity="magnitude"')
            every = {"epsilon": None, "density": None, "fan_in": None, "links": None} | sizes
            density = min(1.0, Wanted.of(geometry, Random(), **every).links(geometry) / (n_in * n_out))
            drawn = SparseParameter.from_dense(dense.numpy(), density=density, group=group, init=init)
        else:
            drawn = SparseParameter(n_in, n_out, connectivity=connectivity, group=group, init=init, **sizes)
        made = cls.__new__(cls)
        made._begin(drawn, bias is not None, weight.device, weight.dtype, key)
        with torch.no_grad():
            if not largest:
                made.weight.copy_(made._taken(dense))
            if bias is not None and made.bias is not None:
                made.bias.copy_(bias)
        return made

    def _taken(self, dense: torch.Tensor) -> torch.Tensor:
        """The weights of a matrix at the links, scaled as if the other links were among them."""
        rows, columns = self._positions()
        values = dense.new_zeros(rows.shape)
        there = rows < self.out_features
        values[there] = dense[rows[there], columns.expand_as(rows)[there]]
        fan_in = torch.diff(self.indptr).repeat_interleave(torch.diff(self.indptr))
        return values * torch.sqrt(self.in_features / fan_in.to(dense.dtype))[:, None]

    def reset_parameters(self) -> None:
        """Draw all weights and biases anew, on the links there are.

        Links come from ``load_state_dict``: after ``to_empty`` there are none, which is a ValueError.
        """
        Structure(self.indptr, self.sources, self.in_features, self.out_features, self.group).store("float32")
        dtype = NAMES[COMPUTED_IN[self.weight.dtype]]
        core = _core.Store(n_out=self.out_features, n_in=self.in_features, group=self.group, dtype=dtype)
        plan, fan_in = _core.Plan(core), np.diff(self.indptr.numpy())
        plan.insert(np.repeat(np.arange(len(fan_in), dtype=np.int32), fan_in), self.sources.numpy())
        self.init.draw(plan, self.nnz, 1.0, seed=_seed(), stream=0, step=0)
        _core.commit([plan])
        with torch.no_grad():
            self.weight.copy_(torch.from_numpy(core.get_field("weight")))
        self._draw_bias()

    def _draw_bias(self) -> None:
        if self.bias is not None and not self.bias.is_meta:
            bound = 1.0 / math.sqrt(self.in_features)  # as nn.Linear has it
            nn.init.uniform_(self.bias, -bound, bound)

    # --- what it is ---------------------------------------------------------------------

    @property
    def nnz(self) -> int:
        """Connections."""
        missing = -self.out_features % self.group
        last = int(self.indptr[-1] - self.indptr[-2]) if missing else 0
        return int(self.sources.shape[0]) * self.group - last * missing

    @property
    def density(self) -> float:
        """Connections over in_features * out_features."""
        return self.nnz / (self.in_features * self.out_features)

    def fan_in(self) -> torch.Tensor:
        """Connections into each output, shape (out_features,)."""
        return torch.diff(self.indptr).repeat_interleave(self.group)[: self.out_features]

    def _positions(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows (slots, group), also such as are not there, and columns (slots, 1) of the weights."""
        indptr = self.indptr
        groups = torch.arange(len(indptr) - 1, device=indptr.device).repeat_interleave(torch.diff(indptr))
        rows = groups[:, None] * self.group + torch.arange(self.group, device=indptr.device)
        return rows, self.sources.long()[:, None]

    def effective_weight(self) -> torch.Tensor:
        """The weights of the forward pass, shape (slots, group): `weight`, unless a rule masks some."""
        if self.mask is None:
            return self.weight
        # The gradient is that of all weights, masked or not: w + 0 and w + (-w) are exact.
        return self.weight + (self.weight * self.mask - self.weight).detach()

    def to_dense(self) -> torch.Tensor:
        """W, shape (out_features, in_features), with zeros where there is no link; differentiable."""
        rows, columns = self._positions()
        weight = self.effective_weight()
        padded = (len(self.indptr) - 1) * self.group
        full = weight.new_zeros(padded, self.in_features)
        return full.index_put((rows, columns.expand_as(rows)), weight)[: self.out_features]

    def to_linear(self) -> nn.Linear:
        """An ``nn.Linear`` that computes the same; a copy."""
        made = nn.Linear(
            self.in_features, self.out_features, self.bias is not None, device="meta", dtype=self.weight.dtype
        ).to_empty(device="cpu")
        with torch.no_grad():
            made.weight.copy_(self.to_dense())
            if self.bias is not None:
                made.bias.copy_(self.bias)
        return made.train(self.training)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (*, out_features), for inputs of shape (*, in_features)."""
        found = entered(input)
        if found is not None and input.shape[-1] == self.in_features:
            x, lower = found
            parts = self._parts(x.dtype)
            if parts is not None:
                y = run_one(x, *parts, rounds(lower))
                return y if lower is None else y.to(lower)
        return sparse_linear(
            input, self.effective_weight(), self.bias, self.indptr, self.sources, self.in_features,
            self.out_features, False,
        )  # fmt: skip

    def _parts(self, dtype: torch.dtype) -> tuple[Structure, torch.Tensor, torch.Tensor | None] | None:
        """Links, weights and biases of now; None unless all is of this dtype on the CPU."""
        fields = self.__dict__
        parameters, buffers = fields["_parameters"], fields["_buffers"]
        weight = parameters.get("weight")
        if weight is None or buffers.get("mask") is not None:
            weight = self.effective_weight()
        bias = parameters["bias"] if "bias" in parameters else self.bias
        if weight.dtype is not dtype or not weight.is_cpu:
            return None
        if bias is not None and not (
            bias.dtype is dtype and bias.is_cpu and bias.shape == (self.out_features,)
        ):
            return None
        indptr, sources = buffers["indptr"], buffers["sources"]
        if not indptr.is_cpu:
            return None
        structure = fields["_structure"]
        if structure is None or structure.group != weight.shape[-1] or not structure.is_of(indptr, sources):
            sizes = self.in_features, self.out_features, self.group
            structure = structure_of(indptr, sources, *sizes)  # of other tensors than its own
        return structure, weight, bias

    def extra_repr(self) -> str:
        density = "?" if self.indptr.is_meta else f"{self.density:.3g}"
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, density={density}, group={self.group}"
        )

    # --- links that change ----------------------------------------------------------------

    def _hold(self) -> None:
        """Keep what is known of these links as long as they are there."""
        sizes = self.in_features, self.out_features, self.group
        meta = self.indptr.is_meta  # the one there is stays until it is known whether it is the same
        before = self._structure
        self._structure = None if meta else structure_of(self.indptr, self.sources, *sizes, held=True)
        if before is not None and self._structure is not None and self._structure is not before:
            self._structure.watched.update({who: Watch() for who in before.watched})

    def _relink(self, indptr: torch.Tensor, sources: torch.Tensor, weight: torch.Tensor) -> bool:
        """Take other links and weights; True where `weight` has become another Parameter for that.

        Tensors of the same size are changed in place.
        """
        fresh = resize(self.weight, weight)  # all that can fail
        if sources.shape == self.sources.shape:
            with torch.no_grad():
                self.indptr.copy_(indptr)
                self.sources.copy_(sources)
        else:  # a graph from before has the old ones
            self.indptr, self.sources = indptr.clone(), sources.clone()
        if fresh is not None:
            self.weight = fresh
        self._hold()
        return fresh is not None

    # --- saving ---------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_structure": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._hold()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """As that of all objects, of which `parametrize` takes ``__getstate__`` away."""
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__setstate__(copy.deepcopy(SparseLinear.__getstate__(self), memo))
        return made

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._hold()
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, *args: Any) -> None:
        """Take the links of the state first, whatever there were: the values then fit."""
        errors = args[-1]
        weight = state_dict.get(prefix + "weight")
        if weight is not None:
            indptr, sources = (state_dict.get(prefix + name) for name in ("indptr", "sources"))
            if torch.is_tensor(indptr) and torch.is_tensor(sources):
                try:
                    self._take_links(indptr, sources, weight, local_metadata)
                except (TypeError, ValueError) as error:
                    errors.append(f"{prefix.rstrip('.')}: {error}")
                    return
            elif weight.shape != self.weight.shape and (
                sorted(weight.shape[:2]) == sorted((self.out_features, self.in_features))
                and weight.shape[2:].numel() == 1
            ):
                errors.append(
                    f"{prefix}weight is that of a dense layer: "
                    "load it into the dense model, and sparsify that"
                )
                return
            else:  # where a key that is missing is an error, that follows
                warn(
                    f"{prefix}weight comes without links (indptr, sources): its values go to the links that "
                    "the layer has, which may be others than those that they were learnt for",
                    UserWarning,
                )
        if weight is not None:
            mask = state_dict.get(prefix + "mask")
            self.mask = None if mask is None else torch.ones_like(mask)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)
        self._hold()

    def _take_links(
        self, indptr: torch.Tensor, sources: torch.Tensor, weight: torch.Tensor, metadata: Any
    ) -> None:
        """Make room for other links. TypeError or ValueError if they are not links of this layer."""
        group = weight.shape[1] if weight.ndim == 2 else 0
        geometry = Geometry(self.in_features, self.out_features, choice("group", group, GROUPS))
        for name, tensor, dtype, shape in (
            ("indptr", indptr, torch.int64, (geometry.n_groups + 1,)),
            ("sources", sources, torch.int32, (weight.shape[0],)),
        ):
            if tensor.dtype != dtype or tuple(tensor.shape) != shape:
                raise ValueError(
                    f"{name} must be of {str(dtype)[6:]} and shape {shape}, for {self.out_features} outputs "
                    f"in groups of {group}, got {str(tensor.dtype)[6:]} and {tuple(tensor.shape)}"
                )
        if not indptr.is_meta:
            found = Structure(indptr.cpu(), sources.cpu(), self.in_features, self.out_features, group)
            found.store("float32")  # ValueError if they are none
        if (group, tuple(sources.shape)) == (self.group, tuple(self.sources.shape)):
            return  # the same sizes: values alone
        if metadata.get("assign_to_params_buffers", False):
            self.group = group
            self.weight = nn.Parameter(torch.empty_like(weight), self.weight.requires_grad)
            self.indptr, self.sources = torch.empty_like(indptr), torch.empty_like(sources)
            return
        fresh = resize(self.weight, weight.detach().to(self.weight.dtype))
        if fresh is not None:
            raise ValueError(
                "weights of another number of links cannot be loaded while a graph of this layer is alive: "
                "delete losses and outputs that were computed with it"
            )
        self.group = group
        self.indptr, self.sources = indptr.clone(), sources.clone()
