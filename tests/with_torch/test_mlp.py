"""`SparseMLP`: layers in a row that stay in tiles compute what they compute one by one."""

import copy
import gc

import pytest
import torch
from test_linear import samples
from torch import nn
from torch.nn.utils import prune

from rewire.torch import Rewirer, SparseLinear, SparseMLP
from rewire.torch._steps import KINDS


def mlp(activation="relu", widths=(9, 14, 11, 6), **given):
    torch.manual_seed(0)
    return SparseMLP(widths, activation, **({"density": 0.4, "dtype": torch.float64} | given))


def gradients(module, x, run):
    module.zero_grad()
    z = x.clone().requires_grad_()
    y = run(z)
    (y * torch.arange(y.shape[-1])).square().sum().backward()
    return [y.detach(), z.grad, *[p.grad.clone() for p in module.parameters()]]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", KINDS)
def test_values_and_gradients_are_those_of_the_layers(activation, bias):
    module = mlp(activation, bias=bias)
    for shape in ((9,), (5, 9), (2, 70, 9)):
        one, two = (gradients(module, samples(*shape), run) for run in (module, module._apart))
        for a, b in zip(one, two, strict=True):
            torch.testing.assert_close(a, b)
    assert module(samples(0, 9)).shape == (0, 6)


def test_derivatives_of_first_and_second_order():
    module, x = mlp("silu", (3, 4, 2), group=2), samples(2, 3).requires_grad_()
    weights = [layer.weight for layer in module.layers]

    def run(x, *weights):
        names = [f"layers.{i}.weight" for i in range(2)]
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *weights))
    assert torch.autograd.gradgradcheck(run, (x, *weights))


def test_what_nobody_wants_is_not_computed(monkeypatch):
    from rewire.torch import _kernels

    asked, real = [], _kernels.gradients

    def spied(store, x, dy, threads, *, inputs, bias, **options):
        asked.append((inputs, x is not None, bias))
        return real(store, x, dy, threads, inputs=inputs, bias=bias, **options)

    monkeypatch.setattr(_kernels, "gradients", spied)
    module = mlp()
    module(samples(5, 9)).sum().backward()
    assert asked == [(True, True, True)] * 2 + [(False, True, True)]
    asked.clear()
    module.layers[0].requires_grad_(False)
    module.layers[1].weight.requires_grad_(False)
    module(samples(5, 9)).sum().backward()
    assert asked == [(True, True, True), (False, False, True)]
    with torch.no_grad():
        assert not module(samples(5, 9)).requires_grad


def test_it_is_made_of_a_sequential_and_shares_its_layers():
    torch.manual_seed(0)
    row = nn.Sequential(SparseLinear(9, 12), nn.GELU(), SparseLinear(12, 4))
    module = SparseMLP.from_sequential(row)
    x = torch.randn(3, 9)
    torch.testing.assert_close(module(x), row(x))
    assert module.layers[0] is row[0] and module.activation == "gelu"
    for wrong in (
        [SparseLinear(9, 12), nn.Dropout(), SparseLinear(12, 4)],
        [SparseLinear(9, 12), nn.GELU(), nn.Linear(12, 4)],
        [SparseLinear(9, 12), nn.GELU()],
        [SparseLinear(9, 9), nn.GELU(), SparseLinear(9, 9), nn.ReLU(), SparseLinear(9, 9)],
    ):
        with pytest.raises(ValueError, match="modules must be SparseLinear layers with one"):
            SparseMLP.from_sequential(wrong)
    with pytest.raises(ValueError, match="one has 12 outputs and the next 11 inputs"):
        SparseMLP.from_sequential([SparseLinear(9, 12), nn.ReLU(), SparseLinear(11, 4)])
    with pytest.raises(ValueError, match="activation must be one of 'relu'"):
        mlp("swish")
    with pytest.raises(ValueError, match="widths must be two numbers or more"):
        SparseMLP([9])


def test_links_that_change_before_the_backward_pass_are_refused():
    module = mlp()
    loss = module(samples(5, 9)).sum()
    with torch.no_grad():
        module.layers[1].sources.add_(0)
    with pytest.raises(RuntimeError, match="links have changed between the forward and the backward pass"):
        loss.backward()
    loss = module(samples(5, 9)).sum()
    with torch.no_grad():
        module.layers[0].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_it_is_rewired_as_its_layers_are():
    found = []
    for together in (True, False):
        module = mlp(dtype=torch.float32, density=0.3)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
        rewirer = Rewirer(module, optimizer, "rigl", every=2, total_steps=99)
        for i in range(5):
            optimizer.zero_grad()
            run = module if together else module._apart
            run(samples(8, 9).float() * (i + 1)).square().mean().backward()
            optimizer.step()
            rewirer.step()
        assert rewirer.rewirings == 2
        found.append([layer.sources.clone() for layer in module.layers])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_hooks_and_computed_weights_of_its_layers_are_followed():
    module, x = mlp(), samples(5, 9)
    calls = []
    handle = module.layers[1].register_forward_hook(lambda *given: calls.append(1))
    module(x)
    handle.remove()
    module(x)
    assert calls == [1]
    prune.l1_unstructured(module.layers[0], "weight", 0.5)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        module(x).sum().backward()
        optimizer.step()
    before = module(x)
    with torch.no_grad():
        module.layers[0].weight_orig.mul_(3)
    assert not torch.equal(module(x), before)
    torch.testing.assert_close(module(x), module._apart(x))


def test_autograd_holds_what_the_backward_pass_needs():
    """Hooks of saved tensors see it, so checkpoints keep nothing; and it is free after the backward pass."""
    from torch.utils.checkpoint import checkpoint

    from rewire.torch import _kernels

    module, x = mlp("gelu"), samples(5, 9).requires_grad_()
    gc.collect()
    earlier = {id(each) for each in gc.get_objects() if type(each) is _kernels.Held}

    def held():
        return sum(type(each) is _kernels.Held and id(each) not in earlier for each in gc.get_objects())

    loss = module(x).square().sum()
    assert held() == 5  # what goes into each of three layers, and into two activations
    loss.backward()
    assert held() == 0
    plain = [p.grad.clone() for p in (x, *module.parameters())]
    for copied in (False, True):
        x.grad = None
        module.zero_grad()
        if copied:
            with torch.autograd.graph.saved_tensors_hooks(lambda t: t.detach().clone(), lambda t: t):
                loss = module(x).square().sum()
        else:
            loss = checkpoint(module, x, use_reentrant=False).square().sum()
        assert held() == 0
        loss.backward()
        assert all(torch.equal(p.grad, g) for p, g in zip((x, *module.parameters()), plain, strict=True))


def test_where_the_layers_run_one_by_one():
    module, x = mlp(dtype=torch.float32), samples(5, 9).float()
    y = module(x)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module(x).dtype == torch.bfloat16
    torch.testing.assert_close(torch.vmap(module)(x), y)
    assert module.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="x must have 9 features"):
        module(samples(5, 8).bfloat16())


def test_two_passes_at_a_time_and_copies():
    module = mlp()
    a, b = module(samples(5, 9)), module(samples(70, 9))
    (a.sum() + b.sum()).backward(retain_graph=True)
    first = module.layers[0].weight.grad.clone()
    (a.sum() + b.sum()).backward()
    torch.testing.assert_close(module.layers[0].weight.grad, 2 * first)
    assert torch.equal(copy.deepcopy(module)(samples(5, 9)), a)
    other = mlp(density=0.7)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(samples(5, 9)), module(samples(5, 9)))
    assert "activation='relu'" in repr(module)
