"""The contestants of `torch_layers.py`: steps of PyTorch models.

A step is a forward pass, a backward pass to parameters and, for a single layer, to inputs, and for a whole
model the optimizer's step. A side is a process (`_measure.Side`) that makes several steps of one cell: dense
ones, ours, torch CSR's, SparseLab's. Those with ``bf16`` in their names run under autocast.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

Step = dict[str, Any]
Made = tuple[Callable[[], None], int]  # a step, and the number of parameters
LETTERS = 96


def _step(run: Callable[[], torch.Tensor], model: nn.Module, optimizer: Any, bf16: bool) -> Made:
    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else contextlib.nullcontext():
            loss = run()
        if optimizer is None:
            model.zero_grad()
        else:
            optimizer.zero_grad()
        loss.backward()
        if optimizer is not None:
            optimizer.step()

    return step, sum(p.numel() for p in model.parameters())


def _made(dense: nn.Module, kind: str, density: float, skip: Any = ()) -> nn.Module:
    if kind != "dense":
        from rewire.torch import sparsify

        sparsify(dense, density, skip=skip, seed=0)
    return dense


# --- whole models ---------------------------------------------------------------------------


def mlp(kind: str, bf16: bool, widths: list[int], batch: int, density: float) -> Made:
    """Layers with ReLU between them, SGD with momentum."""
    parts: list[nn.Module] = []
    for n, m in zip(widths, widths[1:], strict=False):
        parts += [nn.Linear(n, m), nn.ReLU()]
    model = _made(nn.Sequential(*parts[:-1]), kind, density)
    if kind == "tiled":
        from rewire.torch import Tiled

        model = Tiled(*model)
    x, labels = torch.randn(batch, widths[0]), torch.randint(widths[-1], (batch,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    return _step(lambda: F.cross_entropy(model(x).float(), labels), model, optimizer, bf16)


class Branch(nn.Sequential):
    """x + f(x), as anybody writes it."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input + super().forward(input)


class Block(nn.Module):
    """Attention, and a branch of two layers with GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads, self.norm = max(1, width // 64), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp: nn.Module = Branch(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        # Parts that are split, and not unbound, have gradients that are put beside each other as they lie.
        parts = self.qkv(self.norm(x)).split(width, -1)
        heads = (part.view(batch, length, self.heads, -1).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2)
        return self.mlp(x + self.proj(mixed.reshape(batch, length, width)))


def in_tiles(blocks: Iterable[Any]) -> None:
    """Let sparse layers of blocks stay in tiles with what is around them."""
    from rewire.torch import Residual, Tiled

    for block in blocks:
        block.norm = Tiled(block.norm, block.qkv)  # the norm goes with the layer that follows it
        block.qkv, block.mlp = nn.Identity(), Tiled(Residual(*block.mlp))


def transformer(
    kind: str, bf16: bool, width: int, depth: int, batch: int, length: int, density: float
) -> Made:
    """Predicts characters; all linear layers but the head are sparse, AdamW."""
    model = nn.Sequential(
        nn.Embedding(LETTERS, width), *[Block(width) for _ in range(depth)], nn.LayerNorm(width),
        nn.Linear(width, LETTERS),
    )  # fmt: skip
    _made(model, kind, density, skip=model[-1])
    if kind == "tiled":
        in_tiles(model[1 : 1 + depth])
    tokens = torch.randint(LETTERS, (batch, length + 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def loss() -> torch.Tensor:
        return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1).float(), tokens[:, 1:].flatten())

    return _step(loss, model, optimizer, bf16)


class Gate(nn.Module):
    """The feed-forward half of a block as Llama and its kin have it."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


def gated(kind: str, bf16: bool, width: int, hidden: int, batch: int, density: float) -> Made:
    """One of these."""
    model = _made(Gate(width, hidden), kind, density)
    if kind == "tiled":
        from rewire.torch import Gated, Residual, Tiled

        product = Gated(nn.Sequential(model.gate, nn.SiLU()), model.up)
        model = Tiled(Residual(model.norm, product, model.down))
    return _with_gradients(model, torch.randn(batch, width), bf16)


# --- single layers --------------------------------------------------------------------------


def _with_gradients(model: nn.Module, x: torch.Tensor, bf16: bool) -> Made:
    with torch.no_grad():
        dy = torch.randn_like(model(x))
    x.requires_grad_()

    def loss() -> torch.Tensor:
        x.grad = None
        return (model(x).float() * dy).sum()

    return _step(loss, model, None, bf16)


def layer(kind: str, bf16: bool, n_in: int, n_out: int, batch: int, density: float) -> Made:
    """A linear layer."""
    model = _made(nn.Sequential(nn.Linear(n_in, n_out)), kind, density)
    return _with_gradients(model, torch.randn(batch, n_in), bf16)


def pointwise(
    kind: str, bf16: bool, n_in: int, n_out: int, batch: int, side: int, density: float, last: bool
) -> Made:
    """A convolution of 1 x 1; ``last``: images lie pixel by pixel."""
    model = _made(nn.Sequential(nn.Conv2d(n_in, n_out, 1)), kind, density)
    x = torch.randn(batch, n_in, side, side)
    if last:
        x = x.to(memory_format=torch.channels_last)
        if kind == "dense":
            model = model.to(memory_format=torch.channels_last)
    return _with_gradients(model, x, bf16)


def _links(n_in: int, n_out: int, density: float) -> Any:
    from _kernel_sides import _csr, _csr_transposed

    first, second = _csr(n_in, n_out, density), _csr_transposed(n_in, n_out, density)
    return [torch.from_numpy(array) for array in (*first, *second)]


def csr(threads: int, n_in: int, n_out: int, batch: int, density: float) -> Step:
    """torch.sparse_csr with gradients by hand, dX through a transposed copy whose values follow W's."""
    import warnings

    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    start, columns, values, t_start, t_columns, order = _links(n_in, n_out, density)
    pattern = torch.sparse_csr_tensor(start, columns, torch.zeros_like(values), (n_out, n_in))

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x, values)
            return (torch.sparse_csr_tensor(start, columns, values, (n_out, n_in)) @ x.t()).t()

        @staticmethod
        def backward(ctx: Any, dy: torch.Tensor) -> Any:
            x, values = ctx.saved_tensors
            turned = torch.sparse_csr_tensor(t_start, t_columns, values[order], (n_in, n_out))
            dx = (turned @ dy.t()).t()
            dw = torch.sparse.sampled_addmm(pattern, dy.t().contiguous(), x, beta=0.0)
            return dx, dw.values()

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.values, self.bias = nn.Parameter(values), nn.Parameter(torch.zeros(n_out))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Product.apply(x, self.values) + self.bias

    torch.manual_seed(0)
    step, parameters = _with_gradients(Layer(), torch.randn(batch, n_in), False)
    return {"torch CSR by hand": step, "facts": {"torch CSR by hand": parameters}}


def sparselab(threads: int, n_in: int, n_out: int, batch: int, density: float) -> Step:
    """SparseLab's autograd function, on activations turned over to its layout and back."""
    import warnings

    from sparselab import PaddedCSR
    from sparselab.ops import _SpMMFunction

    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    start, columns, values, *_ = _links(n_in, n_out, density)
    w = PaddedCSR.from_torch_sparse_csr(torch.sparse_csr_tensor(start, columns, values, (n_out, n_in)))

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.values = nn.Parameter(torch.as_tensor(w.values))
            self.bias = nn.Parameter(torch.zeros(n_out))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return _SpMMFunction.apply(self.values, w, x.t().contiguous(), "simd").t() + self.bias

    torch.manual_seed(0)
    step, parameters = _with_gradients(Layer(), torch.randn(batch, n_in), False)
    return {"SparseLab": step, "facts": {"SparseLab": parameters}}


MODELS = {"layer": layer, "mlp": mlp, "gated": gated, "transformer": transformer, "pointwise": pointwise}


def _steps(of: str, threads: int, kinds: dict[str, dict[str, Any]], sizes: dict[str, Any]) -> Step:
    """A step for each name, by what it has in another way; `facts`: parameters by name."""
    torch.set_num_threads(threads)
    made: Step = {"facts": {}}
    for name, how in kinds.items():
        torch.manual_seed(0)
        made[name], made["facts"][name] = MODELS[of](bf16="bf16" in name, **{**sizes, **how})
    return made


def rewire(threads: int, of: str, kinds: list[str], sizes: dict[str, Any]) -> Step:
    """Ours; by its name threads wait as those of users do."""
    return _steps(of, threads, {kind: {"kind": kind.partition(",")[0]} for kind in kinds}, sizes)


def dense(threads: int, of: str, sizes: dict[str, Any]) -> Step:
    """The dense model; images also in the layout that may suit it better."""
    kinds: dict[str, dict[str, Any]] = {name: {"kind": "dense"} for name in ("dense", "dense, bf16")}
    if of == "pointwise":
        kinds["dense, channels last"] = {"kind": "dense", "last": True}
    return _steps(of, threads, kinds, sizes)
