"""A network of rewire as a module of PyTorch: any of its layers, in tiles from the first to the last."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from rewire import _core
from rewire._checks import boolean, one_of_types
from rewire._inputs import as_source
from rewire._moments import quiet
from rewire.activations import Softmax
from rewire.layers.passing import Keep, Pass
from rewire.layers.row import backward_through
from rewire.network import Sequential
from rewire.parameters import Parameter
from rewire.parameters.base import GRADIENT
from rewire.threads import resolve
from rewire.torch._ops import NAMES, rounds
from rewire.torch._resizing import resize

__all__ = ["Module"]

CAST = (torch.float32, torch.bfloat16, torch.float16)  # what autocast casts


class Module(nn.Module):
    """A :class:`rewire.Sequential` in a model of torch.

    Parameters
    ----------
    network : Sequential
        Any layers. The module has it, and what it learns is in it after :meth:`to_sequential`; nobody else
        should train it meanwhile.
    logits : bool
        Whether the last activation is left out, where it is a softmax: for ``nn.CrossEntropyLoss``, which has
        it in itself.

    Attributes
    ----------
    network : Sequential

    Notes
    -----
    A network of bfloat16 has parameters of float32, takes inputs of float32 and rounds the operands of its
    products. Under autocast inputs may be of lower precision, and outputs have autocast's dtype; to bfloat16
    the products of a network of float32 round as well.

    Its parameters are those of the network as vectors, in the order of ``Parameter.read()``, called
    ``layers_0_weight`` for ``"layers.0.weight"``. Inputs are (\\*, n_in). In training mode dropout and
    batch norm act as in a :class:`rewire.Trainer`, with masks that follow from the network's seed and the
    number of the pass; gradients are there in evaluation as well. Gradients of gradients
    (``create_graph=True``) and the transforms of ``torch.func`` are not. Threads that call it at once wait
    for each other.

    Outputs are in the units of the targets, as those of ``predict``, where the network has a
    ``target_standardizer``: train it on standardised ones by a :class:`rewire.Trainer`. They have the
    network's dtype then, under autocast too; ``predict`` gives float64, which tells more of outputs whose
    mean is large beside their deviation.

    A step converts inputs and outputs of the network, and nothing in between. ``torch.compile`` leaves it out
    of its graph, and :class:`Rewirer` does not see its layers: links stay as they are, unless
    ``rule.rewire(...)`` is called on the network itself, followed by :meth:`refresh`.

    Examples
    --------
    >>> import torch, rewire
    >>> from rewire.torch import Module
    >>> net = rewire.Sequential([rewire.Sparse(20, 30, activation="all-relu"), rewire.Sparse(30, 5)])
    >>> module = Module(net)
    >>> module(torch.randn(7, 20)).shape
    torch.Size([7, 5])
    """

    def __init__(self, network: Sequential, *, logits: bool = False) -> None:
        super().__init__()
        self.network = one_of_types("network", network, Sequential, "a rewire.Sequential")
        self.logits = boolean("logits", logits)
        self.steps = 0  # forward passes in training: names the masks of dropout
        self._lock = threading.RLock()
        self._names = {name: name.replace(".", "_") for name in network.parameters()}
        for name, parameter in network.parameters().items():
            values = torch.from_numpy(np.array(parameter.read()))
            self.register_parameter(self._names[name], nn.Parameter(values))

    # --- to and fro -----------------------------------------------------------------------

    def _pairs(self) -> list[tuple[Parameter, nn.Parameter]]:
        return [(q, getattr(self, self._names[name])) for name, q in self.network.parameters().items()]

    def to_sequential(self) -> Sequential:
        """The network with the values that the module has now."""
        self._write()
        return self.network

    def refresh(self) -> None:
        """Take the values of the network, whose links may be others than before."""
        for name, parameter in self.network.parameters().items():
            fresh = resize(getattr(self, self._names[name]), torch.from_numpy(np.array(parameter.read())))
            if fresh is not None:
                setattr(self, self._names[name], fresh)

    def _write(self) -> None:
        for parameter, value in self._pairs():
            parameter.write(value.detach().numpy())

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """TypeError for another dtype or device than the network's."""
        dtype = next((value.dtype for _, value in self._pairs()), None)
        if dtype is not None:
            probe = fn(torch.empty(0, dtype=dtype, device="cpu"))
            if probe.dtype != dtype or probe.device.type != "cpu":
                kept = self.network.variable_dtype
                raise TypeError(
                    f"a Module must stay of the dtype of its network, {kept}, on the CPU, got "
                    f"{str(probe.dtype)[6:]} on {probe.device}: make the network with another dtype"
                )
        return super()._apply(fn, recurse)

    # --- forward --------------------------------------------------------------------------

    @torch.compiler.disable
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (*, n_out)."""
        net = self.network
        if input.ndim == 0 or input.shape[-1] != net.n_in:
            raise ValueError(
                f"input must have {net.n_in} features in its last dimension, got {tuple(input.shape)}"
            )
        x, lower, kept = input, None, net.variable_dtype
        if torch.is_autocast_enabled("cpu") and kept == "float32" and x.dtype in CAST:
            x, lower = x.float(), torch.get_autocast_dtype("cpu")
        if NAMES.get(x.dtype) != kept:
            raise TypeError(f"input must have the dtype of the network, {kept}, got {str(x.dtype)[6:]}")
        values = [value for _, value in self._pairs()]
        rows = x.reshape(-1, net.n_in)
        if len(rows):
            out = _SparseNetwork.apply(self, torch.is_grad_enabled(), rounds(lower), rows, *values)
        else:
            out = rows.new_zeros((0, net.n_out)) + 0.0 * sum(value.sum() for value in values)
        if (by := net.target_standardizer) is not None:
            # Not rounded under autocast: in these units a bfloat16 may not tell two outputs apart.
            mean, scale = (torch.from_numpy(np.asarray(a)) for a in (by.mean, by.scale))
            out, lower = (out / scale + mean).to(out.dtype), None
        if isinstance(net.final, Softmax) and not self.logits:
            out = torch.softmax(out, -1)
        out = out.reshape(*x.shape[:-1], net.n_out)
        return out if lower is None else out.to(lower)

    def extra_repr(self) -> str:
        return f"{self.network!r}"

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock, which each copy has of its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._lock = threading.RLock()

    # --- saving ---------------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, Any]:
        """Layers and links, as ``state_dict`` has them."""
        self._write()
        arrays = {name: torch.from_numpy(np.array(a)) for name, a in self.network.arrays().items()}
        return {"config": json.dumps(self.network.config()), "arrays": arrays, "steps": self.steps}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Taken over before the parameters are."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        extra = state_dict.get(prefix + "_extra_state")
        if extra is not None:
            arrays = {name: tensor.numpy() for name, tensor in extra["arrays"].items()}
            config = json.loads(extra["config"])
            try:
                if not self.network.resembles(config):
                    raise ValueError("it is that of a network of other layers")
                self.network.restore(config, arrays)
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                args[-1].append(f"{prefix.rstrip('.') or 'module'}: {error}")
                return
            self.steps = int(extra["steps"])
            self.refresh()
        super()._load_from_state_dict(state_dict, prefix, *args)


class _SparseNetwork(torch.autograd.Function):
    """A forward pass through a network, and its backward pass."""

    @staticmethod
    def forward(
        ctx: Any, module: Module, keep: bool, bf16: bool, rows: torch.Tensor, *values: torch.Tensor
    ) -> torch.Tensor:
        net, threads = module.network, resolve(torch.get_num_threads())
        work = net.workspace()
        passing = net.passing(work, training=module.training, threads=threads)
        passing.keeping |= keep
        with module._lock, net.gate.writing("forward"), quiet(), _rounding(net, bf16):
            module._write()
            if module.training:
                module.steps += 1
                passing.step = module.steps
            source = as_source(rows.detach().numpy(), net.n_in)
            flow = net.forward(net.load_batch(work, source, np.arange(len(rows)), threads), passing)
            out = torch.from_numpy(flow[-1].unpack(None, threads))
        ctx.kept = module, bf16, passing, flow
        ctx.save_for_backward(*values)
        return out

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[Any, ...]:
        if torch.is_grad_enabled():  # what it gives would pass for a constant
            raise NotImplementedError(
                "gradients of a Module cannot be differentiated again (create_graph=True): make the layers "
                "that a penalty looks through of rewire.torch.SparseLinear"
            )
        module, bf16, passing, flow = ctx.kept
        given = ctx.saved_tensors  # under gradient checkpointing this is another forward pass
        net, needs = module.network, ctx.needs_input_grad
        with module._lock, net.gate.writing("backward"), quiet(), _rounding(net, bf16):
            for (parameter, _), value in zip(module._pairs(), given, strict=True):
                parameter.write(value.detach().numpy())
            return (None, None, None, *_gradients(net, passing, flow, dy, needs[3], needs[4:]))


@contextmanager
def _rounding(net: Sequential, bf16: bool) -> Iterator[None]:
    """With ``bf16`` products round their operands meanwhile, where a parameter has no dtype of its own."""
    follow = [q for q in net.parameters().values() if bf16 and q.wanted_dtype is None]
    before = [q.compute_dtype for q in follow]
    try:
        for parameter in follow:
            parameter.compute_dtype = "bfloat16"
        yield
    finally:
        for parameter, dtype in zip(follow, before, strict=True):
            parameter.compute_dtype = dtype


def _gradients(
    net: Sequential, passing: Pass, flow: list[_core.Tiles], dy: torch.Tensor, inputs: bool, wanted: Any
) -> list[torch.Tensor | None]:
    """The gradient for the inputs, then those of all parameters; None for what is not wanted."""
    dz = passing.ws.tiles("dz", net.n_out)
    dz.pack(dy.detach().numpy(), None, None, None, passing.threads)
    keep = passing.learner = Keep()
    for parameter in net.parameters().values():
        parameter.hold_gradient(True)
    found = backward_through(net.layers, dz, flow, passing, 0, need_dx=inputs)
    out: list[torch.Tensor | None] = [None]
    if found is not None:
        dx = torch.from_numpy(found.unpack(None, passing.threads))
        if net.standardizer is not None:
            dx /= torch.from_numpy(np.asarray(net.standardizer.scale)).to(dx.dtype)
        out = [dx]
    for (name, parameter), needed in zip(net.parameters().items(), wanted, strict=True):
        if not needed:
            out.append(None)
            continue
        if name not in keep.there:
            out.append(dy.new_zeros(parameter.size))
        else:
            out.append(torch.from_numpy(np.array(parameter.read(GRADIENT))))
    return out
