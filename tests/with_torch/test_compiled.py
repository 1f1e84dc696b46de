"""The operators behind the layer: what compilers, exporters, autocast and vmap make of them."""

import shutil

import pytest
import torch
import torch._inductor.config
from test_linear import layer, samples
from torch import library, nn
from torch.utils.flop_counter import FlopCounterMode

from rewire.torch import Residual, SparseConv1x1, SparseLinear, SparseMLP, Tiled, _kernels

COMPILER = shutil.which("g++") or shutil.which("c++")


@pytest.fixture(autouse=True)
def one_process():
    """For inductor, which would start some of its own."""
    with torch._inductor.config.patch(compile_threads=1):
        yield


def given(one, x):
    return x, one.weight, one.bias, one.indptr, one.sources, one.in_features, one.out_features


def model():
    torch.manual_seed(0)
    return nn.Sequential(SparseLinear(12, 20, density=0.3), nn.GELU(), SparseLinear(20, 5, density=0.5))


def test_operators_pass_the_checks_of_torch():
    one, dy = layer(), samples(2, 3, 10).requires_grad_()
    x = samples(2, 3, 9).requires_grad_()
    library.opcheck(torch.ops.rewire.linear.default, given(one, x))
    library.opcheck(torch.ops.rewire.linear.default, (x, one.weight, None, *given(one, x)[3:]))
    links = one.indptr, one.sources, 9, 10, 4
    for of_x, of_weight, bias in ((x, one.weight, True), (x, None, False), (None, one.weight, True)):
        arguments = dy, of_x, of_weight, *links, bias, True
        library.opcheck(torch.ops.rewire.linear_backward.default, arguments)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inductor's own
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.soak)])
def test_compiled_in_one_graph_with_equal_bits(backend):
    if backend == "inductor" and COMPILER is None:
        pytest.skip("inductor needs a C++ compiler")
    net, x = model(), torch.randn(4, 3, 12, generator=torch.Generator().manual_seed(1))
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    found = []
    for run in (net, compiled):
        net.zero_grad()
        z = x.clone().requires_grad_()
        y = run(z)
        y.square().sum().backward()
        found.append([y.detach(), z.grad, *[p.grad.clone() for p in net.parameters()]])
    exact = torch.equal if backend == "aot_eager" else torch.allclose  # GELU is inductor's own
    assert all(exact(a, b) for a, b in zip(*found, strict=True))
    del y
    with torch.no_grad():
        net[0].weight.mul_(0.5)
        assert torch.allclose(compiled(x), net(x))
    into = model()
    into[0] = SparseLinear(12, 20, density=0.7)
    net.load_state_dict(into.state_dict())  # other links, and more of them
    assert torch.allclose(compiled(x), into(x), atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inductor's own
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.soak)])
@pytest.mark.parametrize("kind", ["layer", "tiled"])
def test_hooks_of_weights_are_called_under_a_compiler(kind, backend):
    """Those that were there when the layer was compiled, and later ones."""
    if backend == "inductor" and COMPILER is None:
        pytest.skip("inductor needs a C++ compiler")
    torch.manual_seed(0)
    one = SparseLinear(12, 12, density=0.3)
    net = Tiled(Residual(one, nn.ReLU())) if kind == "tiled" else one
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    x, seen = torch.randn(4, 12), []

    def gradient(run):
        one.weight.grad = None
        run(x).square().sum().backward()
        return one.weight.grad

    plain = gradient(net)
    for calls in (1, 2):
        one.weight.register_hook(lambda gradient: 2 * gradient)
        one.weight.register_post_accumulate_grad_hook(lambda weight: seen.append(weight.grad.clone()))
        seen.clear()
        found = gradient(compiled)
        torch.testing.assert_close(found, 2**calls * plain)
        assert len(seen) == calls and all(torch.equal(each, found) for each in seen)


@pytest.mark.soak
@pytest.mark.skipif(COMPILER is None, reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inductor's own
@pytest.mark.parametrize("kind", ["mlp", "tiled"])
def test_blocks_are_compiled_in_one_graph(kind):
    torch.manual_seed(0)
    mlp = SparseMLP([12, 20, 12], "gelu", density=0.5)
    net = mlp if kind == "mlp" else Tiled(Residual(nn.LayerNorm(12), mlp))
    x = torch.randn(4, 3, 12, generator=torch.Generator().manual_seed(1))
    found = []
    for run in (net, torch.compile(net, fullgraph=True)):
        net.zero_grad()
        z = x.clone().requires_grad_()
        y = run(z)
        y.square().sum().backward()
        found.append([y.detach(), z.grad, *[p.grad.clone() for p in net.parameters()]])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", ["row", "mlp", "tiled", "images"])
def test_flops_are_those_of_the_slots(kind):
    """Those of the links, and of outputs that fill up a group."""
    row, x = model(), torch.randn(4, 3, 12)
    if kind == "images":
        row[0], row[2] = SparseConv1x1(12, 20, density=0.3), SparseConv1x1(20, 5, density=0.5)
        x = torch.randn(2, 12, 3, 2)
    net = {"mlp": SparseMLP.from_sequential, "tiled": Tiled}.get(kind, lambda row: row)(row)
    assert row[2].weight.numel() > row[2].nnz
    with FlopCounterMode(display=False) as counter:
        net(x)
    assert counter.get_total_flops() == 2 * 12 * (row[0].weight.numel() + row[2].weight.numel())
    with FlopCounterMode(display=False) as counter:
        net(x).sum().backward()
    assert counter.get_total_flops() == 2 * 12 * (2 * row[0].weight.numel() + 3 * row[2].weight.numel())


def test_exported_program_has_its_links():
    net, x = model(), torch.randn(4, 12)
    program = torch.export.export(net, (x,))
    assert [str(node.target) for node in program.graph.nodes if "rewire" in str(node.target)] == [
        "rewire.linear.default"
    ] * 2
    assert torch.equal(program.module()(x), net(x))
    batch = torch.export.Dim("batch", min=1, max=100)
    any_batch = torch.export.export(net, (x,), dynamic_shapes=({0: batch},))
    assert any_batch.module()(torch.randn(7, 12)).shape == (7, 5)


def test_an_exported_program_goes_through_a_file(tmp_path):
    net, x = model(), torch.randn(4, 12)
    torch.export.save(torch.export.export(net, (x,)), tmp_path / "net.pt2")
    assert torch.equal(torch.export.load(tmp_path / "net.pt2").module()(x), net(x))


@pytest.mark.parametrize("lower", [torch.bfloat16, torch.float16])
def test_autocast_gives_its_dtype(lower):
    net, x = model(), torch.randn(4, 12)
    with torch.autocast("cpu", dtype=lower):
        y = net[0](x)
        assert y.dtype == lower and net[0](x.to(lower)).dtype == lower
        net(x).float().square().mean().backward()
    wanted = net[0](x)  # float16 is rounded to at the end; of bfloat16 are the operands already
    assert torch.equal(y, wanted.to(lower)) == (lower is torch.float16)
    torch.testing.assert_close(y.float(), wanted, atol=0.02, rtol=0.02)
    assert net[0].weight.grad.dtype == net[0].bias.grad.dtype == torch.float32
    wide = layer()
    with torch.autocast("cpu", dtype=lower):
        assert wide(samples(2, 9)).dtype == torch.float64
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", dtype=lower):
        assert torch.equal(compiled(x), net(x))


def test_vmap_over_samples_and_over_weights():
    one, x = layer(), samples(4, 9)
    assert torch.equal(torch.vmap(one)(x), one(x))
    assert torch.equal(torch.vmap(one, in_dims=1)(x.t()), one(x))
    weights = torch.stack([one.weight.detach(), 2 * one.weight.detach()])

    def run(weight):
        return torch.func.functional_call(one, {"weight": weight}, (x,))

    both = torch.vmap(run)(weights)
    assert torch.equal(both[0], one(x)) and torch.equal(both[1], run(weights[1]))
    links = torch.stack([one.sources, one.sources])
    with pytest.raises(NotImplementedError, match="vmap over the links"):
        torch.vmap(lambda sources: torch.func.functional_call(one, {"sources": sources}, (x,)))(links)


def test_a_jacobian_is_one_backward_pass(monkeypatch):
    one, x, passes = layer(), samples(4, 9), []
    backward = _kernels.linear_backward
    monkeypatch.setattr(
        _kernels, "linear_backward", lambda *given, **how: passes.append(1) or backward(*given, **how)
    )
    of_one, of_each = torch.func.jacrev(one)(x[0]), torch.vmap(torch.func.jacrev(one))(x)
    assert len(passes) == 2
    assert torch.equal(of_one, one.to_dense()) and torch.equal(of_each, of_one.expand(4, -1, -1))

    def run(bias, x):
        return torch.func.functional_call(one, {"bias": bias}, (x,))

    of_bias, of_x = torch.func.jacrev(run, argnums=(0, 1))(one.bias.detach(), x[0])
    assert len(passes) == 3
    assert torch.equal(of_bias, torch.eye(*of_bias.shape, dtype=x.dtype)) and torch.equal(of_x, of_one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_mapped_gradients_have_the_bits_of_each(dtype):
    """Of inputs and biases, which are made all at once, and of weights."""
    one, x = layer().to(dtype), samples(5, 70, 9).to(dtype)
    leaves = {name: leaf.detach() for name, leaf in one.named_parameters()}

    def loss(leaves, x):
        return torch.func.functional_call(one, leaves, (x,)).square().sum()

    found, of_x = torch.vmap(torch.func.grad(loss, argnums=(0, 1)), in_dims=(None, 0))(leaves, x)
    for i in range(5):
        wanted, wanted_x = torch.func.grad(loss, argnums=(0, 1))(leaves, x[i])
        assert torch.equal(of_x[i], wanted_x)
        assert torch.equal(found["bias"][i], wanted["bias"])
        assert torch.equal(found["weight"][i], wanted["weight"])


def test_vmap_over_nothing():
    """No samples, and no models: gradients and outputs have the shapes that they have of some."""
    one = layer()
    leaves = {name: leaf.detach() for name, leaf in one.named_parameters()}

    def loss(leaves, x):
        return torch.func.functional_call(one, leaves, (x,)).square().sum()

    found, of_x = torch.vmap(torch.func.grad(loss, argnums=(0, 1)), in_dims=(None, 0))(leaves, samples(0, 9))
    assert of_x.shape == (0, 9) and {n: leaf.shape[1:] for n, leaf in found.items()} == {
        name: leaf.shape for name, leaf in leaves.items()
    }
    none = {name: leaf.new_empty(0, *leaf.shape) for name, leaf in leaves.items()}
    x = samples(4, 9)
    outputs = torch.vmap(lambda own: torch.func.functional_call(one, own, (x,)))(none)
    assert outputs.shape == (0, 4, one.out_features)


def test_gradients_by_sample():
    """`torch.func` over a layer: the gradient of every sample by itself."""
    one, x = layer(), samples(4, 9)
    weight = one.weight.detach()

    def loss(weight, x):
        return torch.func.functional_call(one, {"weight": weight}, (x,)).square().sum()

    each = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(weight, x)
    for i in range(4):
        one.weight.grad = None
        one(x[i]).square().sum().backward()
        torch.testing.assert_close(each[i], one.weight.grad)
    jacobian = torch.func.jacrev(one)(x[0])
    torch.testing.assert_close(jacobian, one.to_dense().detach())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch calls it itself
@pytest.mark.parametrize("kind", ["layer", "tiled", "convolution", "few pixels"])
def test_gradients_of_many_outputs_at_a_time(kind):
    """Jacobians and Hessians by backward passes over mapped gradients."""
    shape = {"convolution": (1, 9, 4, 8), "few pixels": (1, 9, 2, 1)}.get(kind, (2, 9))
    if kind == "tiled":
        one = Tiled(Residual(layer(9, 9), nn.LayerNorm(9, dtype=torch.float64)), nn.GELU(), layer())
    else:
        one = layer() if kind == "layer" else SparseConv1x1(9, 3, density=0.4, dtype=torch.float64)
    x = samples(*shape)
    wanted = torch.autograd.functional.jacobian(one, x)
    torch.testing.assert_close(torch.autograd.functional.jacobian(one, x, vectorize=True), wanted)
    x.requires_grad_()
    y = one(x)
    rows = torch.eye(y.numel(), dtype=y.dtype).view(-1, *y.shape)
    mapped = torch.vmap(lambda dy: torch.autograd.grad(y, x, dy, retain_graph=True)[0])(rows)
    torch.testing.assert_close(mapped.view(wanted.shape), wanted)
    by_weight = torch.autograd.grad(y, [*one.parameters()], rows, is_grads_batched=True, retain_graph=True)
    for i in range(0, len(rows), 7):
        found = torch.autograd.grad(y, [*one.parameters()], rows[i], retain_graph=True)
        for a, b in zip(by_weight, found, strict=True):
            torch.testing.assert_close(a[i], b)
    with torch.autograd.forward_ad.dual_level():  # a tangent that only the gradient has
        dy = torch.autograd.forward_ad.make_dual(rows[0], rows[1])
        found = torch.autograd.forward_ad.unpack_dual(torch.autograd.grad(y, x, dy, retain_graph=True)[0])
    torch.testing.assert_close(found.tangent, mapped[1])

    def loss(x):
        return one(x).square().sum()

    if x.numel() < 20:
        wanted = torch.autograd.functional.hessian(loss, x.detach())
        found = torch.autograd.functional.hessian(loss, x.detach(), vectorize=True)
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("learns", [True, False])
def test_forward_mode_of_what_does_not_learn(learns):
    for one, x in (
        (layer(), samples(2, 9)),
        (Tiled(layer(), nn.Tanh()), samples(2, 9)),
        (SparseConv1x1(9, 3, dtype=torch.float64), samples(2, 9, 4, 8)),
    ):
        one.requires_grad_(learns)
        with torch.set_grad_enabled(learns), torch.autograd.forward_ad.dual_level():
            dual = one(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))
            tangent = torch.autograd.forward_ad.unpack_dual(dual).tangent
        wanted = torch.autograd.functional.jvp(one, x, torch.ones_like(x))[1]
        torch.testing.assert_close(tangent, wanted)


def test_forward_mode():
    """Directional derivatives, by `torch.func` and by dual numbers, and over reverse mode."""
    one, x, direction = layer(), samples(4, 9), samples(4, 9).flip(0)
    dense = one.to_dense().detach()
    torch.testing.assert_close(torch.func.jvp(one, (x,), (direction,))[1], direction @ dense.t())
    with torch.autograd.forward_ad.dual_level():
        dual = one(torch.autograd.forward_ad.make_dual(x, direction))
        tangent = torch.autograd.forward_ad.unpack_dual(dual).tangent
    torch.testing.assert_close(tangent, direction @ dense.t())
    torch.testing.assert_close(torch.func.jacfwd(one)(x[0]), dense)

    def run(x, weight, bias):
        return torch.func.functional_call(one, {"weight": weight, "bias": bias}, (x,))

    given = samples(2, 9).requires_grad_(), one.weight, one.bias
    assert torch.autograd.gradcheck(run, given, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(run, given, check_fwd_over_rev=True)
    net = nn.Sequential(layer(), nn.Tanh(), layer(10, 3))

    def loss(x):
        return net(x).square().sum()

    wanted = torch.func.jacrev(torch.func.jacrev(loss))(x[0])
    torch.testing.assert_close(torch.func.hessian(loss)(x[0]), wanted)


def test_a_trained_step_moves_what_was_compiled():
    net, x = model(), torch.randn(8, 12)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = compiled(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
