"""Under autocast to bfloat16: products of rounded operands, sums of float32, one rounding of outputs."""

import copy

import pytest
import torch
from torch import library, nn

import rewire as rw
from rewire.torch import Module, SparseConv1x1, SparseLinear, SparseMLP, Tiled

LOWER = torch.bfloat16


def autocast():
    return torch.autocast("cpu", dtype=LOWER)


def rounded(x):
    return x.detach().to(LOWER).float()


def samples(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pass_of(module, x, dy, cast=True):
    """Outputs, and the gradients of inputs and parameters."""
    module.zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=LOWER, enabled=cast):
        y = module(x)
    y.backward(dy.to(y.dtype))
    return [y.detach(), x.grad, *[p.grad.clone() for p in module.parameters()]]


LAYERS = {
    "layer": (lambda: SparseLinear(24, 10, density=0.3), (70, 24)),
    "one sample": (lambda: SparseLinear(24, 10, density=0.3, group=1), (24,)),
    "images": (lambda: SparseConv1x1(24, 10, density=0.3), (2, 24, 8, 8)),
    "few pixels": (lambda: SparseConv1x1(24, 10, density=0.3, bias=False), (3, 24, 2, 1)),
    "in tiles": (lambda: Tiled(SparseLinear(24, 10, density=0.3)), (3, 7, 24)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_products_are_those_of_rounded_operands(kind):
    """To the bit, forward and backward; a twin in float32 has the rounded values."""
    torch.manual_seed(0)
    make, shape = LAYERS[kind]
    module, x = make(), samples(*shape)
    twin = copy.deepcopy(module)
    with torch.no_grad():
        for name, value in twin.named_parameters():
            if name.endswith("weight"):
                value.copy_(rounded(value))
    dy = rounded(samples(*module(x).shape, seed=1))
    found, wanted = pass_of(module, x, dy), pass_of(twin, rounded(x), dy, cast=False)
    assert [a.dtype for a in found] == [LOWER] + [torch.float32] * (len(found) - 1)
    assert torch.equal(found[0], wanted[0].to(LOWER))
    assert all(torch.equal(a, b) for a, b in zip(found[1:], wanted[1:], strict=True))
    assert torch.equal(pass_of(module, x.to(LOWER), dy)[0], found[0])


def chain():
    """A network of bfloat16, and layers of torch with its links, weights and biases."""
    net = rw.Sequential(
        [rw.Sparse(24, 32, density=0.3, group=4, activation="relu"), rw.Sparse(32, 8, density=0.5, group=4)],
        seed=3,
        dtype="bfloat16",
    )
    layers = []
    for layer in net.layers:
        core = layer.core
        one = SparseLinear(layer.n_in, layer.n_out, density=0.1)
        state = {
            "indptr": core.indptr(), "sources": core.sources(), "weight": core.get_field("weight"),
            "bias": layer.bias_parameter.read(),
        }  # fmt: skip
        one.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in state.items()})
        layers.append(one)
    return net, layers


def test_a_model_has_the_bits_of_a_network_of_bfloat16():
    """Outputs and all gradients: of an MLP in tiles, and of a network of float32 in a module."""
    net, layers = chain()
    x = samples(70, 24)
    wide = rw.Sequential.from_config(net.config() | {"dtype": "float32"}, net.arrays())
    dy = rounded(samples(70, 8, seed=1))
    wanted = pass_of(Module(net), x, dy, cast=False)
    assert wanted[0].dtype == torch.float32
    assert wanted[0].numpy().tobytes() == net.predict(x.numpy()).tobytes()
    row = nn.Sequential(layers[0], nn.ReLU(), layers[1])
    for module in (SparseMLP.from_sequential(row), Tiled(*row), Module(wide), Module(net)):
        found = pass_of(module, x, dy)
        assert found[0].dtype == LOWER and torch.equal(found[0], wanted[0].to(LOWER))
        for a, b in zip(found[1:], wanted[1:], strict=True):
            assert a.dtype == torch.float32
            assert torch.equal(a.flatten().sort()[0], b.flatten().sort()[0])  # neurons in groups, or in turn
    after = [one.layers[0].weight.compute_dtype for one in (wide, net)]
    assert after == ["float32", "bfloat16"]


def test_a_module_takes_what_autocast_hands_on():
    net = rw.Sequential([rw.Sparse(24, 5, density=0.5, activation="softmax")], seed=0)
    module, x = Module(net), samples(6, 24)
    model = nn.Sequential(nn.Linear(24, 24), module, nn.Linear(5, 2))
    with autocast():
        assert module(x.to(LOWER)).dtype == module(x).dtype == module(x[:0]).dtype == LOWER
        model(x).float().sum().backward()
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}
    with torch.autocast("cpu", dtype=torch.float16):
        assert torch.equal(module(x), module(x).half())
    assert torch.equal(module(x), Module(net)(x))
    with pytest.raises(TypeError, match="input must have the dtype of the network, float32, got bfloat16"):
        module(x.to(LOWER))
    with autocast(), pytest.raises(TypeError, match="the dtype of the network, float32, got float64"):
        module(x.double())


def test_a_parameter_with_a_dtype_of_its_own_is_not_rounded():
    net, x = rw.Sequential([rw.Sparse(24, 5, density=0.5)], seed=0), samples(6, 24)
    module = Module(net)
    net.layers[0].weight.wanted_dtype = "float32"
    with autocast():
        assert torch.equal(module(x), torch.from_numpy(net.predict(x.numpy())).to(LOWER))


def test_without_autocast_dtypes_are_not_mixed():
    layer, x = SparseLinear(24, 10, density=0.3), samples(6, 24)
    with pytest.raises(TypeError, match="x must have the dtype of the weights, float32, got bfloat16"):
        layer(x.to(LOWER))
    half = copy.deepcopy(layer).to(LOWER)
    with pytest.raises(TypeError, match="x must have the dtype of the weights, bfloat16, got float32"):
        half(x)
    with autocast(), torch.no_grad():
        layer.bias.copy_(half.bias)
        assert torch.equal(half(x), layer(x))  # the same operands: float32 weights are rounded to these
    assert torch.equal(half(x.to(LOWER)), copy.deepcopy(half).float()(rounded(x)).to(LOWER))


def test_the_operators_pass_the_checks_of_torch():
    layer, x = SparseLinear(24, 10, density=0.3), samples(6, 24).requires_grad_()
    links = layer.indptr, layer.sources, 24, 10
    library.opcheck(torch.ops.rewire.linear.default, (x, layer.weight, layer.bias, *links, True))
    dy = samples(6, 10, seed=1).requires_grad_()
    given = dy, x, layer.weight, *links, 4, True, True, True
    library.opcheck(torch.ops.rewire.linear_backward.default, given)
    with pytest.raises(TypeError, match="bfloat16 need weights of float32"):
        torch.ops.rewire.linear(x.double(), layer.weight.double(), None, *links, True)


def test_compiled_and_exported_models_round_as_they_do():
    _, layers = chain()
    module, x, dy = nn.Sequential(*layers), samples(6, 24), rounded(samples(6, 8, seed=1))
    found = pass_of(module, x, dy)
    compiled = pass_of(torch.compile(module, fullgraph=True, backend="aot_eager"), x, dy)
    assert all(torch.equal(a, b) for a, b in zip(found, compiled, strict=True))
    with autocast():
        program = torch.export.export(module, (x,))
        assert torch.equal(program.module()(x), found[0])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch calls it itself
def test_transforms_see_the_rounding_too():
    layer, x = SparseLinear(24, 10, density=0.3), samples(6, 24)
    dy = samples(10, seed=2)

    def loss(weight, x):
        with autocast():
            return (torch.func.functional_call(layer, {"weight": weight}, (x,)).float() * dy).sum()

    weight = layer.weight.detach()
    each = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(weight, x)
    loss(layer.weight, x).backward()
    torch.testing.assert_close(each.sum(0), layer.weight.grad, atol=0.05, rtol=0.02)
    tangent = samples(6, 24, seed=3)
    with autocast():
        _, found = torch.func.jvp(layer, (x,), (tangent,))
        wanted = layer(tangent) - layer.bias
    torch.testing.assert_close(found.float(), wanted.float(), atol=0.05, rtol=0.05)


def test_gradients_of_gradients_are_those_of_float32_to_rounding():
    layer, x = SparseLinear(24, 10, density=0.3), samples(6, 24)
    found = []
    for cast in (True, False):
        layer.zero_grad()
        z = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype=LOWER, enabled=cast):
            y = layer(z).float()
        grad = torch.autograd.grad(y.square().sum(), z, create_graph=True)[0]
        grad.square().sum().backward()
        found.append([z.grad, layer.weight.grad.clone()])
    for a, b in zip(*found, strict=True):
        assert (a - b).norm() < 0.02 * b.norm() and not torch.equal(a, b)


def test_many_samples_go_through_a_few_at_a_time(monkeypatch):
    """Whose tiles end elsewhere; the bits of a sample do not depend on it."""
    monkeypatch.setattr("rewire.torch._kernels.ALONE", 0)
    layer, x = SparseLinear(24, 10, density=0.3), samples(1100, 24)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with autocast(), torch.no_grad():
                found += [layer(x), torch.cat([layer(x[:300]), layer(x[300:])]), Tiled(layer)(x)]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])
    with autocast(), torch.inference_mode():
        layer(x)
    with autocast():  # memory of that mode may not be written to in this one
        layer(x).float().sum().backward()
