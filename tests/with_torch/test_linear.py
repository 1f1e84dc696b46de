"""`SparseLinear` is a module of torch like others: values, gradients, shapes, dtypes, states."""

import copy
import io
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import rewire as rw
from rewire.torch import SparseConv1x1, SparseLinear, SparseMLP, Tiled, _kernels, _ops, _structures, linear


def layer(n_in=9, n_out=10, **given):
    """A small ragged layer, with the same links and weights every time."""
    torch.manual_seed(given.pop("seed", 0))
    return SparseLinear(n_in, n_out, **({"density": 0.4, "group": 4, "dtype": torch.float64} | given))


def samples(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("group", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", [(9,), (1, 9), (5, 9), (2, 3, 9), (2, 0, 9), (0, 9)])
def test_values_and_gradients_are_those_of_the_dense_layer(group, shape):
    sparse = layer(group=group)
    dense = sparse.to_linear()
    x, y = [], []
    for module in (sparse, dense):
        x.append(samples(*shape).requires_grad_())
        y.append(module(x[-1]))
        (y[-1] * torch.arange(10.0)).square().sum().backward()
    torch.testing.assert_close(y[0], y[1])
    torch.testing.assert_close(x[0].grad, x[1].grad)
    torch.testing.assert_close(sparse.bias.grad, dense.bias.grad)
    rows, columns = sparse._positions()
    there = rows < 10
    at_links = torch.zeros_like(sparse.weight)
    at_links[there] = dense.weight.grad[rows[there], columns.expand_as(rows)[there]]
    torch.testing.assert_close(sparse.weight.grad, at_links)  # and zero where there is no output


@pytest.mark.parametrize("bias", [True, False])
def test_derivatives_of_first_and_second_order(bias):
    one = layer(5, 6, bias=bias)

    def run(x, weight, bias=None):
        given = {"weight": weight} | ({} if bias is None else {"bias": bias})
        return torch.func.functional_call(one, given, (x,))

    given = [samples(2, 3, 5).requires_grad_(), one.weight, *([one.bias] if bias else [])]
    assert torch.autograd.gradcheck(run, given)
    assert torch.autograd.gradgradcheck(run, given)


def test_a_layer_twice_in_a_graph():
    """Inputs that are made of the weights: gradients go along every path once, at any order."""
    one, x = layer(5, 5), samples(2, 5)
    y = one(torch.tanh(one(x))).square().sum()
    wanted = torch.autograd.grad(y, [*one.parameters()], retain_graph=True)
    found = torch.autograd.grad(y, [*one.parameters()], create_graph=True)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)

    def run(x, weight, bias):
        def once(x):
            return torch.func.functional_call(one, {"weight": weight, "bias": bias}, (x,))

        return once(torch.tanh(once(x) * weight.sum()))

    assert torch.autograd.gradgradcheck(run, (x.requires_grad_(), one.weight, one.bias))


def test_penalty_on_gradients_learns():
    """A gradient penalty (WGAN-GP) needs the second derivative for weights and inputs."""
    one, x = layer(), samples(4, 9).requires_grad_()
    (slope,) = torch.autograd.grad(one(x).tanh().sum(), x, create_graph=True)
    (slope.square().sum()).backward()
    dense = one.to_linear()
    z = x.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(dense(z).tanh().sum(), z, create_graph=True)
    slope.square().sum().backward()
    torch.testing.assert_close(x.grad, z.grad)
    torch.testing.assert_close(one.bias.grad, dense.bias.grad)


@pytest.mark.parametrize("way", ["eager", "operator"])
def test_gradients_that_nobody_wants_are_not_computed(way, monkeypatch):
    asked, real = [], (_kernels.linear_backward, _kernels.gradients)

    def spied(store, dy, x, threads, *, inputs, bias, **options):
        asked.append((inputs, x is not None, bias))
        return real[0](store, dy, x, threads, inputs=inputs, bias=bias, **options)

    def spied_in_tiles(store, x, dy, threads, *, inputs, bias, **options):
        asked.append((inputs, x is not None, bias))
        return real[1](store, x, dy, threads, inputs=inputs, bias=bias, **options)

    monkeypatch.setattr(_kernels, "linear_backward", spied)
    monkeypatch.setattr(_kernels, "gradients", spied_in_tiles)
    if way == "operator":
        monkeypatch.setattr(linear, "entered", lambda x: None)
    one = layer()
    one(samples(3, 9)).sum().backward()
    one.weight.requires_grad_(False)
    one(samples(3, 9).requires_grad_()).sum().backward()
    one.bias.requires_grad_(False)
    one(samples(3, 9).requires_grad_()).sum().backward()
    assert asked == [(False, True, True), (True, False, True), (True, False, False)]
    assert not one(samples(3, 9)).requires_grad
    with torch.no_grad():
        assert not one(samples(3, 9).requires_grad_()).requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(one(samples(3, 9)), one.to_linear()(samples(3, 9)))


def test_strided_inputs_and_gradients():
    one, dense = layer(), layer().to_linear()
    wide = samples(9, 7)
    for x in (wide.t(), samples(6, 18)[::2, ::2], samples(1, 9).expand(4, 9)):
        torch.testing.assert_close(one(x), dense(x))
    for module in (one, dense):
        y = module(samples(7, 9))
        y.backward(samples(10, 7).t())
    torch.testing.assert_close(one.bias.grad, dense.bias.grad)
    (expanded,) = torch.autograd.grad(one(samples(7, 9)).sum(), one.bias)  # ones of stride 0
    torch.testing.assert_close(expanded, torch.full((10,), 7.0, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_every_floating_dtype(dtype):
    one = layer().to(dtype)
    assert one.weight.dtype == dtype and one.indptr.dtype == torch.int64 and one.sources.dtype == torch.int32
    x = samples(5, 9, dtype=dtype).requires_grad_()
    y = one(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == one.weight.grad.dtype == one.bias.grad.dtype == dtype
    wanted = F.linear(x.double(), one.to_dense().double(), one.bias.double())
    torch.testing.assert_close(
        y.double(), wanted, rtol=4 * torch.finfo(dtype).eps, atol=torch.finfo(dtype).eps
    )


def test_wrong_inputs_are_refused_by_name():
    one = layer()
    with pytest.raises(
        ValueError, match=r"x must have 9 features in its last dimension, got shape \(3, 10\)"
    ):
        one(samples(3, 10))
    with pytest.raises(TypeError, match="x must have the dtype of the weights, float64, got float32"):
        one(samples(3, 9).float())
    with pytest.raises(TypeError, match="x must be of dtype float32, .*, got int64"):
        one(torch.zeros(3, 9, dtype=torch.int64))
    with pytest.raises(NotImplementedError, match="must be on the CPU, where .* got one on meta"):
        _ops._on_cpu("x", torch.empty(3, device="meta"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"in_features": 0}, "in_features must be an integer"),
        ({"density": 1.5}, r"density must be a number in \[0, 1\], got 1.5"),
        ({"density": 0.1, "epsilon": 3}, "give one of epsilon, density"),
        ({"group": 3}, "group must be one of 1, 2, 4, 8, got 3"),
        ({"dtype": torch.int32}, "dtype must be one of float32, float64, bfloat16, float16, got int32"),
        ({"dtype": "float32"}, "dtype must be a torch.dtype, got 'float32'"),
        ({"bias": 1}, "bias must be True or False"),
        ({"connectivity": "ring"}, "connectivity"),
    ],
)
def test_wrong_arguments_are_refused_by_name(given, words):
    with pytest.raises((TypeError, ValueError), match=words):
        SparseLinear(**({"in_features": 9, "out_features": 10} | given))


def test_sizes():
    assert layer(100, 48, density=0.1).nnz == 480
    assert SparseLinear(100, 48).density == 0.1
    assert layer(100, 48, density=None, epsilon=2).nnz == 296
    assert layer(100, 50, density=None, fan_in=7).fan_in().tolist() == [7] * 50
    assert layer(100, 48, density=None, links=444).nnz == 444
    assert layer(9, 10, density=1.0).nnz == 90  # the last group is not whole
    assert layer(9, 10, density=0.0)(samples(2, 9)).shape == (2, 10)
    edges = rw.connectivity.EdgeList([0, 1, 4], [2, 3, 8])
    one = layer(density=None, connectivity=edges, group=1)
    assert one.to_dense().nonzero().tolist() == [[0, 2], [1, 3], [4, 8]]
    assert repr(layer(784, 1000, density=0.045)) == (
        "SparseLinear(in_features=784, out_features=1000, bias=True, density=0.045, group=4)"
    )


def test_weights_begin_as_those_of_a_dense_layer():
    """Uniform in +-1 / sqrt(fan-in), over the fan-in that a neuron has; drawn by torch's generator."""
    one = layer(200, 400, density=None, fan_in=25, dtype=torch.float32)
    assert one.weight.abs().max() <= 0.2
    assert float(one.weight.detach().std()) == pytest.approx(0.2 / 3**0.5, rel=0.05)
    assert one.bias.abs().max() <= 200**-0.5
    again, other = layer(200, 400, density=None, fan_in=25, dtype=torch.float32), layer(200, 400, seed=1)
    assert torch.equal(one.weight, again.weight) and torch.equal(one.sources, again.sources)
    assert not torch.equal(one.sources[:50], other.sources[:50])
    links, before = one.sources.clone(), one.weight.detach().clone()
    one.reset_parameters()
    assert torch.equal(one.sources, links) and not torch.equal(one.weight, before)
    assert float(one.weight.detach().std()) == pytest.approx(0.2 / 3**0.5, rel=0.05)


def test_a_default_dtype_and_a_default_device_are_followed():
    torch.set_default_dtype(torch.float64)
    try:
        assert SparseLinear(9, 10).weight.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        bare = SparseLinear(9, 10, density=0.4)
    assert bare.weight.is_meta and bare.indptr.is_meta
    repr(bare)
    full = layer(dtype=torch.float32)
    bare.load_state_dict(full.state_dict(), assign=True)
    assert torch.equal(bare(samples(2, 9).float()), full(samples(2, 9).float()))


# --- dense layers -------------------------------------------------------------------------


def test_what_is_on_the_cpu_stays_there_whatever_the_default_device_is():
    torch.manual_seed(0)
    net = nn.Sequential(
        layer(9, 9), Tiled(nn.Dropout(0.5), nn.LayerNorm(9, dtype=torch.float64), layer(9, 9), nn.Mish())
    )
    convolution, x = SparseConv1x1(9, 3, dtype=torch.float64), samples(5, 9).requires_grad_()
    dense, images = nn.Linear(9, 9), samples(2, 9, 7, 5).requires_grad_()
    with torch.device("meta"):
        for y, given in ((net(x), x), (convolution(images), images), (net(x[:0]), x)):
            for value in (given, *torch.autograd.grad(y.sum(), given, create_graph=True)):
                assert value.is_cpu
            y.square().sum().backward()
        assert net[0].to_dense().is_cpu and net[0].to_linear().weight.is_cpu
        assert convolution.to_conv2d().weight.is_cpu
        made = SparseLinear.from_linear(dense)
        net[0].reset_parameters()
        copy.deepcopy(net).load_state_dict(net.state_dict())
    assert made(torch.ones(1, 9)).is_cpu


def test_tensors_that_are_negated_when_they_are_read():
    """The imaginary part of a conjugate is one, as inputs, as values and as a gradient."""
    one, x = layer(9, 9), samples(3, 9, 4, 8)
    part = nn.LayerNorm(9, dtype=torch.float64)
    tiled = Tiled(part, one)
    images = SparseConv1x1(9, 8, dtype=torch.float64), SparseConv1x1(8, 8, dtype=torch.float64)
    negated = torch._neg_view
    for run, given in ((one, x[:, :, 0, 0]), (tiled, x[:, :, 0, 0]), (images[0], x), (images[1], x[:, :8])):
        given = given.contiguous()
        values = dict(run.named_parameters())
        found = []
        for see in (negated, torch.neg):
            z = given.clone().requires_grad_()
            own = {name: see(-value.detach()).requires_grad_() for name, value in values.items()}
            assert z.is_neg() == 0 and (
                see is torch.neg or own["bias" if "bias" in own else "1.bias"].is_neg()
            )
            y = torch.func.functional_call(run, own, (see(z),))
            wanted = [z, *own.values()]
            found.append([y, *torch.autograd.grad(y, wanted, see(torch.ones_like(y)))])
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)
    part.weight = None
    z = torch.complex(x[:, :, 0, 0], tiled(x[:, :, 0, 0])).conj()
    (z * z).imag.sum().backward()
    half = layer(9, 9, dtype=torch.bfloat16)
    assert torch.equal(half(negated(x[:, :, 0, 0].bfloat16())), half(-x[:, :, 0, 0].bfloat16()))


@pytest.mark.parametrize(
    "wrong, words",
    [
        (lambda x: x.numpy(), "x must be a tensor, got "),
        (lambda x: x.to_sparse(), "x must be a dense tensor, got one of layout sparse_coo"),
        (lambda x: x.float().to_mkldnn(), "x must be a dense tensor, got one of layout mkldnn"),
        (lambda x: torch.nested.nested_tensor([*x]), "x must be a dense tensor, got one of layout nested"),
        (
            lambda x: torch.nested.nested_tensor([*x], layout=torch.jagged),
            "x must be a dense tensor, got one of layout nested",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
def test_inputs_that_are_no_dense_tensors_are_refused_by_name(wrong, words):
    for one in (layer(9, 9), Tiled(layer(9, 9), nn.Tanh()), SparseMLP([9, 9, 9], dtype=torch.float64)):
        with pytest.raises(TypeError, match=words):
            one(wrong(samples(2, 9)))
    with pytest.raises(TypeError, match=words):
        SparseConv1x1(9, 9, dtype=torch.float64)(wrong(samples(2, 9, 4, 8)))


def test_largest_weights_of_a_dense_layer_are_kept():
    torch.manual_seed(0)
    dense = nn.Linear(30, 20)
    one = SparseLinear.from_linear(dense, density=0.2, group=1)
    kept = one.to_dense()
    assert one.nnz == 120 == (kept != 0).sum()
    assert torch.equal(kept[kept != 0], dense.weight[kept != 0])
    assert dense.weight.abs()[kept == 0].max() <= kept[kept != 0].abs().min()
    assert torch.equal(one.bias, dense.bias) and one.bias.data_ptr() != dense.bias.data_ptr()
    assert SparseLinear.from_linear(dense, epsilon=2, group=1).nnz == 100
    with pytest.raises(ValueError, match="fan_in draws at random"):
        SparseLinear.from_linear(dense, fan_in=3)


def test_weights_at_drawn_positions_keep_the_variance_of_outputs():
    torch.manual_seed(0)
    dense = nn.Linear(400, 300, bias=False)
    one = SparseLinear.from_linear(dense, density=0.1, connectivity="random", seed=3)
    assert one.bias is None
    kept, fan_in = one.to_dense(), one.fan_in()
    row = int(fan_in.argmax())
    scale = (400 / fan_in[row]).sqrt()
    torch.testing.assert_close(kept[row][kept[row] != 0], dense.weight[row][kept[row] != 0] * scale)
    x = torch.randn(2000, 400)
    assert float(one(x).detach().std()) == pytest.approx(float(dense(x).detach().std()), rel=0.05)
    again = SparseLinear.from_linear(dense, density=0.1, connectivity="random", seed=3)
    assert torch.equal(one.sources, again.sources)


def test_what_is_no_dense_layer_is_refused():
    with pytest.raises(TypeError, match="linear must be an nn.Linear"):
        SparseLinear.from_linear(nn.Conv1d(3, 3, 1))
    with pytest.raises(ValueError, match="run a batch through a LazyLinear first"):
        SparseLinear.from_linear(nn.LazyLinear(3))


def test_the_dense_matrix_can_be_differentiated():
    one = layer(dtype=torch.float32)
    one.to_dense().square().sum().backward()
    torch.testing.assert_close(one.weight.grad[:-2], 2 * one.weight[:-2])


# --- saving --------------------------------------------------------------------------------


def saved(state):
    """A state that went through a file, as safe loading reads it."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("other", [{"seed": 1}, {"density": 0.7}, {"group": 2}, {"density": 0.1, "group": 1}])
@pytest.mark.parametrize("assign", [False, True])
def test_a_state_brings_its_links(other, assign):
    one, into = layer(), layer(**other)
    into.load_state_dict(saved(one.state_dict()), assign=assign)
    assert into.group == 4 and torch.equal(one.to_dense(), into.to_dense())
    x = samples(3, 9)
    assert torch.equal(one(x), into(x))
    into(x).sum().backward()
    assert into.weight.grad.shape == one.weight.shape


def test_an_optimizer_from_before_goes_on_with_the_loaded_layer():
    one, into = layer(), layer(density=0.7)
    optimizer = torch.optim.SGD(into.parameters(), lr=1.0)
    into(samples(3, 9)).sum().backward()
    into.load_state_dict(one.state_dict())
    assert into.weight.grad is None
    into(samples(3, 9)).sum().backward()
    optimizer.step()
    one(samples(3, 9)).sum().backward()
    torch.testing.assert_close(into.weight, one.weight - one.weight.grad)


def test_loading_links_into_a_layer_of_a_living_graph_is_refused():
    one, into = layer(), layer(density=0.7)
    loss = into(samples(3, 9)).sum()
    with pytest.raises(RuntimeError, match="while a graph of this layer is alive: delete losses"):
        into.load_state_dict(one.state_dict())
    del loss
    into.load_state_dict(one.state_dict())
    into(samples(3, 9)).sum().backward()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("sources", lambda t: t.flip(0), "indptr and sources must be the links of a layer of 9 inputs"),
        ("sources", lambda t: t + 100, "indptr and sources must be the links of a layer of 9 inputs"),
        ("sources", lambda t: t.long(), "sources must be of int32"),
        ("indptr", lambda t: t[:-1], "indptr must be .* shape .4,., for 10 outputs in groups of 4, got"),
        ("weight", lambda t: t[:, :3], "group must be one of 1, 2, 4, 8, got 3"),
    ],
)
def test_a_state_that_cannot_be_changes_nothing(name, value, words):
    one, into = layer(), layer(density=0.7)
    state, before = one.state_dict(), into.to_dense()
    state[name] = value(state[name])
    with pytest.raises(RuntimeError, match=words):
        into.load_state_dict(state)
    assert torch.equal(into.to_dense(), before)
    into(samples(3, 9))


def test_a_dense_state_is_refused_with_a_way_out():
    with pytest.raises(RuntimeError, match="load it into the dense model, and sparsify that"):
        layer().load_state_dict(nn.Linear(9, 10, dtype=torch.float64).state_dict())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies(copied):
    one = layer()
    x = samples(3, 9)
    y = one(x)
    two = copied(one)
    assert torch.equal(two(x), y)
    with torch.no_grad():
        two.weight.mul_(2)
        two.bias.zero_()
    assert torch.equal(one(x), y) and not torch.equal(two(x), y)


@pytest.mark.parametrize("computed", ["weight_norm", "spectral_norm"])
def test_copies_of_layers_with_computed_weights(computed):
    """Their class is one that PyTorch has made, without ``__getstate__``."""
    layer = getattr(nn.utils.parametrizations, computed)(SparseLinear(12, 10, density=0.4)).eval()
    x, copied = torch.randn(3, 12), copy.deepcopy(layer)
    assert torch.equal(copied(x), layer(x))
    assert copied.sources.data_ptr() != layer.sources.data_ptr()
    copied(x).sum().backward()
    assert all(p.grad is not None for p in copied.parameters())
    assert all(p.grad is None for p in layer.parameters())


def test_a_module_goes_through_a_file():
    file, one = io.BytesIO(), nn.Sequential(layer(), nn.ReLU())
    one(samples(2, 9))
    torch.save(one, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(samples(2, 9)), one(samples(2, 9)))


# --- what changes under its feet ------------------------------------------------------------


def test_every_way_of_changing_weights_is_seen():
    one, x = layer(bias=False), samples(3, 9)
    y = one(x)
    with torch.no_grad():
        one.weight.mul_(2)
    assert torch.equal(one(x), 2 * y)
    one.weight.data.mul_(2)  # which no version counts
    assert torch.equal(one(x), 4 * y)
    one.weight = nn.Parameter(one.weight.detach() / 4)
    assert torch.equal(one(x), y)
    torch.testing.assert_close(torch.func.functional_call(one, {"weight": one.weight * 3}, (x,)), 3 * y)


def test_links_that_another_process_sends_are_seen():
    """As DistributedDataParallel does with buffers: in place."""
    one, two = layer(), layer(seed=1)
    one(samples(3, 9))
    with torch.no_grad():
        one.sources.copy_(two.sources)
        one.indptr.copy_(two.indptr)
        one.weight.copy_(two.weight)
        one.bias.copy_(two.bias)
    assert torch.equal(one(samples(3, 9)), two(samples(3, 9)))


def test_memory_that_is_used_again_is_not_taken_for_old_links():
    x = samples(3, 9)
    for seed in range(30):
        one = layer(seed=seed)
        torch.testing.assert_close(one(x), one.to_linear()(x))


def test_parameters_are_ordinary():
    model = nn.Sequential(layer(), nn.ReLU(), layer(10, 3))
    mean = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    seen = []
    model[0].weight.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.shape))
    for _ in range(3):
        optimizer.zero_grad()
        model(samples(5, 9)).square().sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        mean.update_parameters(model)
    assert seen == [model[0].weight.shape] * 3
    assert model(samples(5, 9)).square().sum() != mean(samples(5, 9)).square().sum()
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert not any(weight.any() for weight in (model[0].weight[-1, 2:],))  # outputs that are not there


def test_checkpointed_gradients():
    from torch.utils.checkpoint import checkpoint

    one = layer()
    one(samples(4, 9)).tanh().sum().backward()
    plain = one.weight.grad.clone()
    one.weight.grad = None
    x = samples(4, 9).requires_grad_()
    checkpoint(lambda x: one(x).tanh(), x, use_reentrant=False).sum().backward()
    assert torch.equal(one.weight.grad, plain)


def test_threads_do_not_change_bits():
    one = layer(300, 400, density=0.2, dtype=torch.float32)
    x, before = samples(64, 300).float(), torch.get_num_threads()
    found = []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            one.weight.grad = None
            y = one(x.requires_grad_())
            y.square().sum().backward()
            found.append((y.detach(), one.weight.grad.clone(), x.grad.clone()))
            x.grad = None
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_many_python_threads_share_a_layer():
    from concurrent.futures import ThreadPoolExecutor

    one = layer(60, 80)
    inputs = [samples(5, 60) * i for i in range(40)]
    wanted = [one(x) for x in inputs]
    links = one.indptr, one.sources, 60, 80

    def doubled_weights(x):
        return torch.ops.rewire.linear(x, 2 * one.weight, 2 * one.bias, *links)

    with ThreadPoolExecutor(4) as pool:
        found, doubled = list(pool.map(one, inputs)), list(pool.map(doubled_weights, inputs))
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
    assert all(torch.equal(2 * a, b) for a, b in zip(wanted, doubled, strict=True))


def test_it_learns_as_the_trainer_does():
    """One layer, plain gradient descent: within rounding of rewire's own."""
    net = rw.Sequential([rw.Sparse(9, 10, density=0.4, group=4)], seed=0, dtype="float64")
    one = layer()
    rows = [torch.from_numpy(a) for a in (net.layers[0].store.indptr(), net.layers[0].store.sources())]
    one._relink(*rows, torch.from_numpy(net.layers[0].store.get_field("weight")))
    nn.init.zeros_(one.bias)
    x, t = samples(20, 9), samples(20, 10)
    trainer = rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.1), rewiring=None)
    optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
    for _ in range(5):
        trainer.train_step(x.numpy(), t.numpy())
        optimizer.zero_grad()
        F.mse_loss(one(x), t).backward()
        optimizer.step()
    torch.testing.assert_close(torch.from_numpy(net.layers[0].store.get_field("weight")), one.weight.detach())


def test_nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = layer()
        one(samples(2, 9)).sum().backward()
        np.asarray(one.sources)


def test_the_eager_way_and_the_operators_give_equal_bits(monkeypatch):
    one = layer(300, 400, density=0.2, dtype=torch.float32)
    found = []
    for way in (True, False):
        if not way:
            monkeypatch.setattr(linear, "entered", lambda x: None)
        one.zero_grad()
        x = samples(64, 300).float().requires_grad_()
        y = one(x)
        y.square().sum().backward()
        found.append((y.detach(), x.grad, one.weight.grad, one.bias.grad))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_graph_from_before_other_links_goes_its_way():
    """Of another number of links; those of the same number are changed in place, which autograd refuses."""
    one, other, same = layer(), layer(density=0.7), layer(seed=1)
    weight, x = one.weight, samples(3, 9)
    loss = one(x).square().sum()
    (wanted,) = torch.autograd.grad(one(x).square().sum(), weight)
    one._relink(other.indptr, other.sources, other.weight)
    loss.backward()
    assert torch.equal(weight.grad, wanted) and one.weight is not weight
    one = layer()
    loss = one(x).square().sum()
    one._relink(same.indptr, same.sources, same.weight)
    with pytest.raises(RuntimeError, match="modified by an inplace operation|links have changed"):
        loss.backward()


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_a_trace_follows_the_weights():
    one = layer(dtype=torch.float32)
    traced = torch.jit.trace(one, torch.zeros(3, 9))
    with torch.no_grad():
        one.weight.mul_(2)
    x = samples(4, 9).float()
    torch.testing.assert_close(traced(x), one(x))


def test_a_partial_state_leaves_the_mask():
    one = layer(dtype=torch.float32)
    one.mask = one.weight > 0
    one.load_state_dict({"bias": torch.ones(10)}, strict=False)
    assert one.mask is not None and torch.equal(one.mask, one.weight > 0)
    one.load_state_dict(layer(dtype=torch.float32).state_dict())
    assert one.mask is None


@pytest.mark.parametrize(
    ("bias", "words"),
    [
        (torch.zeros(12), r"bias must have shape \(10,\), got \(12,\)"),
        (
            torch.zeros(10, dtype=torch.float64),
            "bias must have the dtype of the weights, float32, got float64",
        ),
    ],
)
def test_a_bias_that_does_not_fit_is_refused(bias, words):
    one = layer(dtype=torch.float32)
    one.bias = nn.Parameter(bias)
    with pytest.raises((TypeError, ValueError), match=words):
        one(samples(3, 9).float())


def test_links_that_are_not_there_yet_are_not_drawn_weights_for():
    one = layer(device="meta", dtype=torch.float32).to_empty(device="cpu")
    for tensor in (one.indptr, one.sources):
        tensor.fill_(-5)
    with pytest.raises(ValueError, match="indptr and sources must be the links of a layer"):
        one.reset_parameters()
    one.load_state_dict(layer(dtype=torch.float32).state_dict())
    one.reset_parameters()
    assert one(samples(3, 9).float()).isfinite().all()


def test_links_without_a_layer_are_kept_within_bounds(monkeypatch):
    monkeypatch.setattr(_structures, "RECENT_SLOTS", 100)
    one = layer()
    buffers = dict(one.named_buffers())
    for _ in range(20):  # each time tensors of their own
        given = {name: tensor.clone() for name, tensor in buffers.items()}
        torch.func.functional_call(one, given, (samples(3, 9),))
    assert sum(len(kept.tensors[1]) for kept in _structures._recent) <= 100


def test_weights_without_links_are_warned_of():
    layer, other = SparseLinear(12, 8, density=0.5), SparseLinear(12, 8, density=0.5)
    weights = dict(layer.named_parameters())  # an average by hand, say
    with pytest.warns(UserWarning, match="weight comes without links"):
        nn.Sequential(other).load_state_dict({f"0.{k}": v for k, v in weights.items()}, strict=False)
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict(weights)
