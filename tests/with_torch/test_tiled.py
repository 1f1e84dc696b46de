"""`Tiled`: modules that hand tiles to each other compute what they compute one by one."""

import copy
import threading

import pytest
import torch
from test_linear import samples
from torch import nn
from torch.nn.utils import parametrize

from rewire.torch import Gated, Residual, Rewirer, SparseLinear, SparseMLP, Tiled, sparsify
from rewire.torch.tiled import _POINTWISE

ACTIVATIONS = [
    nn.ReLU(), nn.LeakyReLU(0.2), nn.LeakyReLU(-0.2), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Tanh(),
    nn.Sigmoid(),
    *[kind(0.5, 2.0) if kind is nn.Threshold else kind() for kind in _POINTWISE if kind is not nn.LeakyReLU],
]  # fmt: skip


def linear(n, m, **given):
    return SparseLinear(n, m, **({"density": 0.4, "dtype": torch.float64} | given))


def norm(n, **given):
    made = nn.LayerNorm(n, dtype=torch.float64, **given)
    for p in made.parameters():
        nn.init.normal_(p)
    return made


class LlamaRMSNorm(nn.Module):
    """As the package transformers has it, but for what it does to lower precision."""

    def __init__(self, n, eps=1e-6):
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.ones(n)), eps

    def forward(self, x):
        y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * y.to(x.dtype)


def rms(n, kind=nn.RMSNorm):
    made = kind(n, eps=0.1).double()
    nn.init.normal_(made.weight)
    return made


def block(p=0.0):
    """A branch within a branch, with everything that there is around it."""
    torch.manual_seed(0)
    inner = Residual(nn.GELU(), linear(14, 14), nn.Dropout(p), nn.Softplus())
    return Tiled(
        nn.Tanh(),
        Residual(
            norm(9), linear(9, 14), nn.ReLU(), inner, nn.Sequential(norm(14, bias=False)), linear(14, 9)
        ),
        nn.Identity(),
        Gated(
            nn.Sequential(linear(9, 9), nn.SiLU()), Residual(nn.Tanh(), Gated(linear(9, 9), nn.Dropout(p)))
        ),
        Residual(nn.Sigmoid(), rms(9)),
        rms(9, LlamaRMSNorm),
        norm(9, elementwise_affine=False, eps=1e-3),
        SparseMLP([9, 11, 6], "silu", density=0.5, dtype=torch.float64),
    )


def plain(module):
    """The same modules, one by one."""
    if type(module) is Tiled:
        return nn.Sequential(*[plain(part) for part in module])
    if type(module) is Residual:
        return Residual(*[plain(part) for part in module])
    if type(module) is Gated:
        return Gated(plain(module.gate), plain(module.value))
    return module


def pass_of(module, x, run):
    module.zero_grad()
    z = x.clone().requires_grad_()
    y = run(z)
    (y * torch.arange(1.0, y.shape[-1] + 1)).square().sum().backward()
    return [y.detach(), z.grad, *[p.grad.clone() for p in module.parameters()]]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_and_gradients_are_those_of_the_modules(dtype, threads, monkeypatch):
    monkeypatch.setattr("rewire.torch._kernels.ALONE", 0)
    module = block().to(dtype)
    before, tolerance = (
        torch.get_num_threads(),
        {} if dtype is torch.float64 else {"atol": 1e-2, "rtol": 1e-4},
    )
    torch.set_num_threads(threads)
    try:
        for shape in ((9,), (5, 9), (2, 70, 9)):
            x = samples(*shape).to(dtype)
            one, two = (pass_of(module, x, run) for run in (module, plain(module)))
            for a, b in zip(one, two, strict=True):
                torch.testing.assert_close(a, b, **tolerance)
        assert module(samples(0, 9).to(dtype)).shape == (0, 6)
        wide = samples(5, 18).to(dtype)[:, ::2]
        torch.testing.assert_close(module(wide), module(wide.contiguous()), rtol=0, atol=0)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("place", ["first", "after a layer", "after a norm"])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_activations(activation, place):
    torch.manual_seed(0)
    before = {"first": [], "after a layer": [linear(9, 9)], "after a norm": [norm(9)]}[place]
    module = Tiled(*before, activation, linear(9, 5))
    one, two = (pass_of(module, samples(70, 9), run) for run in (module, plain(module)))
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_equal_bits_of_activations_for_any_number_of_threads(activation):
    before, found = torch.get_num_threads(), []
    x, module = samples(1000, 200).float(), Tiled(activation)  # six blocks, and some more
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            found.append(pass_of(module, x, module))
    finally:
        torch.set_num_threads(before)
    for each in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(each, found[0], strict=True))


def test_derivatives_of_first_and_second_order():
    torch.manual_seed(0)
    module = Tiled(Residual(norm(3), linear(3, 5, group=2), nn.SiLU(), linear(5, 3)), nn.Mish())
    names, weights = zip(*module.named_parameters(), strict=True)

    def run(x, *weights):
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x,))

    x = samples(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(run, (x, *weights))
    assert torch.autograd.gradgradcheck(run, (x, *weights))


def test_a_layer_twice_in_a_graph():
    """Gradients go along every path once, at any order, where a layer is there twice or feeds itself."""
    torch.manual_seed(0)
    one = linear(3, 3, group=2)
    module = Tiled(one, nn.Tanh(), Residual(norm(3), one), nn.Sigmoid())
    names, weights = zip(*module.named_parameters(), strict=True)

    def run(x, *weights):
        given = dict(zip(names, weights, strict=True))
        once = torch.func.functional_call(module, given, (x,))
        return torch.func.functional_call(module, given, (once * weights[0].sum(),))

    x = samples(2, 3).requires_grad_()
    y = run(x, *weights).square().sum()
    wanted = torch.autograd.grad(y, [x, *weights], retain_graph=True)
    found = torch.autograd.grad(y, [x, *weights], create_graph=True)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.autograd.gradgradcheck(run, (x, *weights))


@pytest.mark.parametrize("p", [0.3, 0.999, 1.0])
def test_dropout(p):
    """Its draws follow torch's generator, are those of all orders of derivatives, and scale what is left."""
    torch.manual_seed(0)
    module, x = Tiled(nn.Dropout(p)), torch.ones(64, 200, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    y = module(x)
    torch.manual_seed(1)
    assert torch.equal(module(x), y)
    kept = y.detach() != 0
    assert abs(kept.double().mean() - (1 - p)) < 0.03
    scale = 2**16 / (2**16 - round(p * 2**16)) if p < 1 else 0.0  # by what is kept in truth, not by 1 - p
    assert torch.equal(y[kept], torch.full_like(y[kept], scale))
    first = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    assert torch.equal(first, y)
    dy = torch.ones_like(y, requires_grad=True)
    again = torch.autograd.grad(y, x, dy, create_graph=True)[0]
    assert torch.equal(torch.autograd.grad(again.sum(), dy)[0], y)
    for shape in ((100,), (2, 3, 100)):
        x = torch.ones(shape, dtype=torch.float64, requires_grad=True)
        y = module(x)
        dy = torch.ones_like(y, requires_grad=True)
        again = torch.autograd.grad(y, x, dy, create_graph=True)[0]
        assert torch.equal(again, y) and torch.equal(torch.autograd.grad(again.sum(), dy)[0], y)
    assert torch.equal(module.eval()(x), x)

    module = Tiled(Residual(norm(3), nn.Dropout(p), linear(3, 5, group=2), nn.Dropout(p), linear(5, 3)))
    names, weights = zip(*module.named_parameters(), strict=True)

    def run(x, *weights):
        torch.manual_seed(1)
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (samples(2, 3).requires_grad_(), *weights))


def test_only_gradients_that_somebody_needs(monkeypatch):
    from rewire.torch import _kernels

    asked, real = [], _kernels.gradients

    def spied(store, x, dy, threads, *, inputs, bias, **options):
        asked.append((inputs, x is not None, bias))
        return real(store, x, dy, threads, inputs=inputs, bias=bias, **options)

    monkeypatch.setattr(_kernels, "gradients", spied)
    module = Tiled(Residual(nn.GELU(), linear(9, 9)), linear(9, 4))
    module(samples(5, 9)).sum().backward()
    assert asked == [(True, True, True), (False, True, True)]
    asked.clear()
    module[0].requires_grad_(False)
    module(samples(5, 9)).sum().backward()
    assert asked == [(False, True, True)]
    asked.clear()
    module(samples(5, 9).requires_grad_()).sum().backward()
    assert asked == [(True, True, True), (True, False, False)]
    with torch.no_grad():
        assert not module(samples(5, 9)).requires_grad
    assert not module(samples(5, 9).requires_grad_(False)).isnan().any()


def test_a_branch_of_nothing():
    module, x = Tiled(Residual(nn.Identity()), Residual(Residual(nn.Identity()))), samples(5, 9)
    one, two = (pass_of(module, x, run) for run in (module, plain(module)))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_modules_that_would_write_over_their_inputs_do_not():
    """x + f(x) with an f in place would be 2 f(x)."""
    torch.manual_seed(0)
    x = samples(5, 9)
    for kind in (nn.ReLU, nn.ELU):
        within, without = (Tiled(Residual(kind(inplace=inplace))) for inplace in (True, False))
        one, two = (pass_of(module, x, module) for module in (within, without))
        for a, b in zip(one, two, strict=True):
            torch.testing.assert_close(a, b)
        for a, b in zip(two, pass_of(within, x, plain(within)), strict=True):
            torch.testing.assert_close(a, b)
    compiled = torch.compile(plain(within), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), within(x))


def test_a_branch_that_changes_the_shape_is_refused():
    with pytest.raises(ValueError, match=r"got \(5, 1\) for \(5, 9\)"):
        Residual(linear(9, 1))(samples(5, 9))
    torch.fx.symbolic_trace(nn.Sequential(Residual(linear(9, 9))))


def test_checkpoints_and_hooks_of_saved_tensors():
    from torch.utils.checkpoint import checkpoint

    module, x = block(0.5), samples(5, 9).requires_grad_()

    def gradients(run):
        torch.manual_seed(1)
        x.grad = None
        module.zero_grad()
        run().square().sum().backward()
        return [p.grad.clone() for p in (x, *module.parameters())]

    wanted = gradients(lambda: module(x))
    found = [
        gradients(lambda: checkpoint(module, x, use_reentrant=False)),
        gradients(lambda: checkpoint(module, x, use_reentrant=True)),
    ]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.detach().clone(), lambda t: t):
        found.append(gradients(lambda: module(x)))
    for each in found:
        assert all(torch.equal(a, b) for a, b in zip(each, wanted, strict=True))
    y, x.grad = module(x), None
    y.sum().backward(retain_graph=True)
    first = x.grad.clone()
    x.grad = None
    y.sum().backward()
    assert torch.equal(x.grad, first)


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")  # nn.RMSNorm's
@pytest.mark.parametrize("lower", [torch.bfloat16, torch.float16])
def test_autocast_gives_the_dtypes_of_the_modules(lower):
    float32 = {"dtype": torch.float32}
    for module in (
        Tiled(linear(9, 9, **float32), nn.GELU()),
        Tiled(Residual(norm(9).float(), linear(9, 9, **float32))),
        Tiled(Residual(linear(9, 9, **float32)), norm(9).float()),
        Tiled(nn.ReLU(), nn.Dropout(0.0)),
        Tiled(Residual(linear(9, 9, **float32)), nn.RMSNorm(9)),
        Tiled(linear(9, 9, **float32), LlamaRMSNorm(9)),
        Tiled(Gated(nn.ReLU(), linear(9, 9, **float32))),
        Tiled(linear(9, 9, **float32), SparseMLP([9, 12, 9], density=0.5)),
    ):
        for x in (samples(5, 9).float(), samples(5, 9).to(lower)):
            with torch.autocast("cpu", dtype=lower):
                y, wanted = module(x), plain(module)(x)
            assert y.dtype == wanted.dtype
            torch.testing.assert_close(y.float(), wanted.float(), atol=0.05, rtol=0.05)
    with torch.autocast("cpu", dtype=lower):
        module(x).float().sum().backward()
        assert block()(samples(5, 9)).dtype == torch.float64
    assert {p.grad.dtype for p in module.parameters()} == {torch.float32}


def test_where_the_modules_run_one_by_one():
    module, x = block().float(), samples(5, 9).float()
    y = module(x)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), y)
    compiled(x).sum().backward()
    torch.testing.assert_close(torch.vmap(module)(x), y)
    torch.testing.assert_close(torch.export.export(module, (x,)).module()(x), y)
    half = Tiled(linear(9, 6), nn.ReLU()).bfloat16()
    assert half(x.bfloat16()).dtype == torch.bfloat16
    module, apart = Tiled(nn.Dropout(0.5), linear(9, 6, dtype=torch.float32)), []
    handle = module[1].register_forward_hook(lambda *given: None)
    for run in (module, plain(module)):
        torch.manual_seed(1)
        apart.append(run(x))
    handle.remove()
    assert torch.equal(*apart)  # nobody has drawn a number in vain
    module, calls = block().float(), []
    handle = module[1][0].register_forward_hook(lambda *given: calls.append(1))
    module(x)
    handle.remove()
    module(x)
    assert calls == [1]

    class Twice(nn.Module):
        def forward(self, weight):
            return 2 * weight

    for part in (module[1][0], module[1][1]):
        parametrize.register_parametrization(part, "weight", Twice())
        torch.testing.assert_close(module(x), plain(module)(x))


def test_values_of_a_norm_that_are_no_parameters():
    """Those that its attributes name count, whatever put them there."""
    part, x = norm(9), samples(5, 9)
    weight, bias = (value.detach().clone().requires_grad_() for value in (part.weight, part.bias))
    del part.weight, part.bias
    part.weight, part.bias = 2 * weight, bias
    found = [
        torch.autograd.grad(run(x).square().sum(), [weight, bias], retain_graph=True)
        for run in (Tiled(part), part)
    ]
    torch.testing.assert_close(Tiled(part)(x), part(x))
    torch.testing.assert_close(*found)
    part.bias = samples(8)
    with pytest.raises(RuntimeError, match="bias"):  # of torch
        Tiled(part)(x)


def test_threads_keep_few_tiles(monkeypatch):
    """Of layers that are gone, too; a thread of many keeps less than the main one."""
    from rewire.torch import _kernels

    monkeypatch.setattr(_kernels, "OF_OTHERS", 1 << 16)
    kept = []

    def work():
        for width in (8, 64, 128):
            Tiled(linear(width, width), nn.ELU())(samples(200, width)).sum().backward()
            linear(width, width)(samples(200, width)).sum().backward()
        kept.extend((_kernels._spare.nbytes, _kernels._scratch.workspace.nbytes))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(kept) == 2 and max(kept) <= 1 << 16


def test_copies_states_and_rewiring():
    module, x = block().float(), samples(5, 9).float()
    row = nn.Sequential(*module)
    assert [*row.state_dict()] == [*module.state_dict()]
    assert torch.equal(copy.deepcopy(module)(x), module(x))
    other = block().float()
    other.load_state_dict(row.state_dict())
    assert torch.equal(other(x), module(x))
    found = []
    for together in (True, False):
        module = block().float()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
        rewirer = Rewirer(module, optimizer, "rigl", every=2, total_steps=99)
        for i in range(5):
            optimizer.zero_grad()
            run = module if together else plain(module)
            run(samples(8, 9).float() * (i + 1)).square().mean().backward()
            optimizer.step()
            rewirer.step()
        assert rewirer.rewirings == 2
        found.append([layer.sources.clone() for layer in rewirer.layers().values()])
    assert len(found[0]) == 7 and all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_links_and_weights_that_change_before_the_backward_pass_are_refused():
    module = block()
    loss = module(samples(5, 9)).sum()
    with torch.no_grad():
        module[1][1].sources.add_(0)
    with pytest.raises(RuntimeError, match="links have changed between the forward and the backward pass"):
        loss.backward()
    loss = module(samples(5, 9)).sum()
    with torch.no_grad():
        module[1][0].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_what_cannot_stay_in_tiles_is_refused_by_name():
    class Mine(nn.ReLU):
        def forward(self, x):
            return x

    for wrong in (
        nn.Softmax(-1),
        nn.BatchNorm1d(9),
        nn.PReLU(),
        nn.Flatten(),
        nn.RReLU(),
        Mine(),
        nn.Dropout1d(),
    ):
        with pytest.raises(
            TypeError, match=rf"modules must be SparseLinear, .* got .*{type(wrong).__name__}.* at 1"
        ):
            Tiled(linear(9, 9), wrong)
    with pytest.raises(TypeError, match=r"Linear.* at 0: sparsify it first"):
        Tiled(nn.Linear(9, 9))
    with pytest.raises(TypeError, match=r"modules\[0\] must be SparseLinear, .* got .*Softmax.* at 1"):
        Tiled(Residual(linear(9, 9), nn.Softmax(-1)))
    with pytest.raises(ValueError, match=r"modules\[1\] takes 8 features, and gets 9"):
        Tiled(linear(9, 9), linear(8, 9))
    with pytest.raises(ValueError, match=r"modules\[1\] takes 8 features, and gets 9"):
        Tiled(linear(9, 9), norm(8))
    with pytest.raises(ValueError, match=r"modules\[0\] must give as many features as it takes, got 8 for 9"):
        Tiled(Residual(linear(9, 8)))
    with pytest.raises(ValueError, match=r"normalized_shape \(3, 9\)"):
        Tiled(nn.LayerNorm((3, 9)))
    with pytest.raises(ValueError, match="modules must be one or more, got none"):
        Tiled()
    module = Tiled(linear(9, 9), nn.ReLU())
    with pytest.raises(ValueError, match="x must have 9 features"):
        module(samples(5, 8))
    module[1] = nn.Softmax(-1)
    with pytest.raises(TypeError, match="got .*Softmax.* at 1"):
        module(samples(5, 9))


def test_a_block_that_was_dense():
    torch.manual_seed(0)
    half = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16))
    sparsify(half, 0.3, seed=0)
    module, x = Tiled(Residual(*half)), torch.randn(2, 10, 16)
    torch.testing.assert_close(module(x), x + half(x))
    assert module[0][1] is half[1]


LEARNS = {  # which of the gate's and the value's parameters learn, and whether inputs do
    "all": (True, True, True),
    "parameters": (True, True, False),
    "gate": (True, False, False),
    "value": (False, True, False),
    "inputs": (False, False, True),
}


@pytest.mark.parametrize("which", LEARNS)
def test_a_gate_gives_gradients_to_what_learns(which):
    torch.manual_seed(0)
    module = Tiled(Gated(nn.Sequential(linear(9, 14), nn.GELU()), linear(9, 14)), linear(14, 5))
    gate, value, inputs = LEARNS[which]
    module[0].gate.requires_grad_(gate)
    module[0].value.requires_grad_(value)
    found = []
    for run in (module, plain(module)):
        x = samples(5, 9).requires_grad_(inputs)
        module.zero_grad()
        run(x).square().sum().backward()
        found.append([x.grad, *[p.grad for p in module.parameters()]])
    for one, two in zip(*found, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two)
    with torch.no_grad():
        torch.testing.assert_close(module(samples(5, 9)), plain(module)(samples(5, 9)))


def test_a_gate_of_llama_after_sparsify():
    """Its three layers as the model has them, in tiles; also alone, and where it does not fit."""
    gate, up, down = nn.Linear(16, 48), nn.Linear(16, 48), nn.Linear(48, 16)
    model = nn.Sequential(Gated(nn.Sequential(gate, nn.SiLU(inplace=True)), up), down)
    dense, x = model(torch.ones(3, 16)), torch.ones(3, 16)
    torch.testing.assert_close(dense, down(nn.functional.silu(gate(x)) * up(x)))
    sparsify(model, density=0.5)
    torch.testing.assert_close(Tiled(*model)(x), model(x))
    with pytest.raises(ValueError, match=r"modules\[0\] must have a gate as wide as its value, got 4 for 5"):
        Tiled(Gated(linear(9, 4), linear(9, 5)))
    with pytest.raises(ValueError, match=r"modules\[1\]\[value\] takes 8 features, and gets 9"):
        Tiled(nn.LayerNorm(9), Gated(linear(9, 4), linear(8, 4)))
    with pytest.raises(TypeError, match="got Softmax.* at gate"):
        Tiled(Gated(nn.Softmax(), nn.Identity()))
    with pytest.raises(ValueError, match=r"one shape, got \(2, 4\) and \(2, 5\)"):
        Gated(linear(9, 4), linear(9, 5))(samples(2, 9))
    with pytest.raises(TypeError, match="gate must be an nn.Module"):
        Gated("silu", linear(9, 4))


class OffsetNorm(LlamaRMSNorm):
    """Gemma's: the weights are about one."""

    def forward(self, x):
        return super().forward(x) * (1 + self.weight) / self.weight


class CenteredNorm(LlamaRMSNorm):
    """Cohere's: about the mean."""

    def forward(self, x):
        return super().forward(x - x.mean(-1, keepdim=True))


class NoisyNorm(LlamaRMSNorm):
    """With noise while it trains."""

    def forward(self, x):
        return super().forward(x) + (0.1 * torch.randn_like(x) if self.training else 0)


class MixingNorm(LlamaRMSNorm):
    """Over samples too, where there are three axes."""

    def forward(self, x):
        return super().forward(x) if x.ndim == 2 else super().forward(x.flatten(-2)).view(x.shape)


class DetachedNorm(LlamaRMSNorm):
    """The same values, other gradients."""

    def forward(self, x):
        inverse = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * x * inverse.detach()


@pytest.mark.parametrize("eps", [None, 1e-3])
@pytest.mark.parametrize("affine", [True, False])
def test_rms_norms_of_torch(eps, affine):
    module = Tiled(nn.RMSNorm(9, eps, affine, dtype=torch.float64), linear(9, 5))
    x = 1e-7 * samples(70, 9)  # eps counts
    for a, b in zip(*(pass_of(module, x, run) for run in (module, plain(module))), strict=True):
        torch.testing.assert_close(a, b)
    assert torch.autograd.gradgradcheck(module, samples(2, 9).requires_grad_())


@pytest.mark.parametrize("kind", [OffsetNorm, CenteredNorm, NoisyNorm, MixingNorm, DetachedNorm])
def test_norms_that_compute_something_else_are_refused(kind):
    parts, before = (linear(9, 9), kind(9)), torch.random.get_rng_state()
    with pytest.raises(TypeError, match=rf"norms over the features, .*got {kind.__name__}\(\) at 1"):
        Tiled(*parts)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_norms_are_asked_again_when_their_attributes_change():
    module, x = Tiled(linear(9, 9), LlamaRMSNorm(9)), samples(5, 9)
    module(x)
    module[1].variance_epsilon = 0.5
    torch.testing.assert_close(module(x), plain(module)(x))
    module[1].variance_epsilon = torch.tensor(0.5)  # nothing that tiles could go by
    with pytest.raises(TypeError, match=r"got LlamaRMSNorm\(\) at 1"):
        module(x)
