"""`SparseConv1x1` computes what `nn.Conv2d` with a kernel of 1 x 1 computes, where images lie."""

import copy

import pytest
import torch
from test_linear import samples
from torch import nn

from rewire.torch import Rewirer, SparseConv1x1, SparseLinear, _kernels, sparsify
from rewire.torch._images import Cut

# Where images are tiles, where they are of several, and where pixels are missing to whole ones.
SHAPES = [
    (3, 16, 8, 8), (2, 16, 16, 32), (1, 16, 1, 1), (3, 16, 7, 7), (2, 16, 14, 14), (2, 16, 3, 67), (16, 5, 5),
    (70, 16, 1, 1), (1, 16, 64, 128), (0, 16, 8, 8), (16, 1, 1), (70, 16, 2, 1), (9, 16, 4, 4), (5, 16, 5, 4),
]  # fmt: skip


def conv(n_in=16, n_out=24, **given):
    torch.manual_seed(0)
    return SparseConv1x1(n_in, n_out, **({"density": 0.4, "dtype": torch.float64} | given))


def pass_of(module, x):
    x = x.detach().requires_grad_()
    y = module(x)
    weights = torch.arange(1.0, y.shape[-3] + 1).to(y.dtype)[:, None, None]
    (y * weights).square().sum().backward()
    return y.detach(), x.grad, module.bias.grad, module.weight.grad


def alike(sparse, x, **given):
    dense = sparse.to_conv2d()
    sparse.zero_grad()
    one, two = pass_of(sparse, x), pass_of(dense, x)
    for a, b in zip(one[:3], two[:3], strict=True):
        torch.testing.assert_close(a, b, **given)
    rows, columns = sparse._positions()
    there = rows < sparse.out_channels
    wanted = torch.zeros_like(sparse.weight)
    wanted[there] = two[3][rows[there], columns.expand_as(rows)[there], 0, 0]
    torch.testing.assert_close(one[3], wanted, **given)
    return one[0]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("channels", [(16, 24), (16, 10)])
def test_values_and_gradients_are_those_of_the_dense_convolution(channels, shape):
    sparse, x = conv(*channels), samples(*shape)
    y = alike(sparse, x)
    assert y.is_contiguous()
    alike(sparse.float(), x.float(), atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("stride", [2, (1, 3)])
def test_strides(stride):
    alike(conv(stride=stride), samples(3, 16, 9, 13))


def test_other_layouts():
    """Outputs lie as inputs do, and images of any strides are taken."""
    sparse, x = conv(), samples(3, 16, 8, 16)
    wanted = sparse(x)
    last = x.contiguous(memory_format=torch.channels_last)
    y = alike(sparse, last)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, wanted)
    for other in (x.transpose(2, 3).contiguous().transpose(2, 3), samples(3, 16, 8, 32)[..., ::2]):
        torch.testing.assert_close(sparse(other), sparse(other.contiguous()))
    wide = samples(3, 32, 8, 16).contiguous(memory_format=torch.channels_last)
    for part in (wide[:, 8:24], last[:, :, ::2], last[..., ::3]):
        y = sparse(part)
        assert y.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(y, sparse(part.contiguous()))
    sums = sparse(x).sum()  # gradients that are expanded
    sums.backward()
    assert torch.isfinite(sparse.weight.grad).all()


@pytest.mark.parametrize(
    "shape, dtype, pieces, whole",
    [
        ((3, 16, 8, 8), torch.float32, (64, 192), True),
        ((3, 16, 8, 4), torch.float64, (32, 96), True),
        ((3, 10, 8, 8), torch.float32, (64, 192), False),  # channels that tiles would pad
        ((3, 16, 56, 56), torch.float32, (64, 3 * 3136), False),
        ((3, 16, 14, 14), torch.float32, (32, 3 * 224), False),  # 256 with tiles of 64
        ((3, 16, 128, 128), torch.float32, (64, 3 * 16384), False),  # channels too long for a cache
    ],
)
def test_how_images_lie_in_tiles(shape, dtype, pieces, whole):
    x = torch.zeros(shape, dtype=dtype)
    cut = Cut(x)
    assert (cut.tile, cut.batch) == pieces and cut.fits(x) == whole
    assert not Cut(x).fits(torch.zeros(x.numel() + 1, dtype=dtype)[1:].view(shape))  # at any address
    if whole:
        tiles, holder = cut.take_in(x)
        assert holder is x and tiles.array().ctypes.data == x.data_ptr()


@pytest.mark.parametrize("shape", [(70, 16, 1, 1), (5, 16, 3, 3), (6, 16, 2, 2)])
def test_few_pixels_are_not_padded_to_tiles(shape, monkeypatch):
    seen, real = [], _kernels.linear

    def spied(store, x, *given):
        seen.append(x)
        real(store, x, *given)

    monkeypatch.setattr(_kernels, "linear", spied)
    sparse, x = conv(), samples(*shape)
    y = sparse(x)
    assert [rows.shape for rows in seen] == [(x.numel() // 16, 16)]
    if shape[-2:] == (1, 1):
        assert seen[0].ctypes.data == x.data_ptr()
    assert y.stride() == sparse.to_conv2d()(x).stride()
    assert not Cut(samples(2, 16, 5, 5).float()).few and not Cut(samples(2, 16, 4, 4)).few


def test_images_at_any_address():
    sparse, x = conv(), samples(2, 16, 8, 8)
    shifted = torch.empty(x.numel() + 1, dtype=x.dtype)[1:].view(x.shape).copy_(x)
    assert torch.equal(sparse(shifted), sparse(x))


def test_equal_bits_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr("rewire.torch._kernels.ALONE", 0)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append([pass_of(conv(), samples(*shape)) for shape in ((3, 16, 8, 8), (3, 16, 7, 9))])
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("shape", [(1, 8, 2, 4), (2, 8, 1, 3)])
def test_derivatives_of_first_and_second_order(shape):
    sparse = conv(8, 3, group=2)

    def run(x, weight, bias):
        return torch.func.functional_call(sparse, {"weight": weight, "bias": bias}, (x,))

    given = samples(*shape).requires_grad_(), sparse.weight, sparse.bias
    assert torch.autograd.gradcheck(run, given)
    assert torch.autograd.gradgradcheck(run, given)


def test_a_layer_twice_in_a_graph():
    """Gradients go along every path once, at any order."""
    sparse = conv(2, 2, group=1, density=0.75)

    def run(x, weight, bias):
        def once(x):
            return torch.func.functional_call(sparse, {"weight": weight, "bias": bias}, (x,))

        return once(torch.tanh(once(x) * weight.sum()))

    given = samples(1, 2, 4, 5).requires_grad_(), sparse.weight, sparse.bias
    y = run(*given).square().sum()
    wanted = torch.autograd.grad(y, given, retain_graph=True)
    for a, b in zip(torch.autograd.grad(y, given, create_graph=True), wanted, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.autograd.gradgradcheck(run, given)


def test_only_gradients_that_somebody_needs():
    sparse, x = conv(bias=False), samples(2, 16, 8, 8)
    sparse(x).sum().backward()
    assert sparse.weight.grad is not None
    sparse.requires_grad_(False)
    sparse.weight.grad = None
    x.requires_grad_()
    sparse(x).sum().backward()
    assert sparse.weight.grad is None and x.grad is not None
    with torch.no_grad():
        assert not sparse(x).requires_grad


def test_compiled_exported_mapped_and_under_autocast():
    sparse, x = conv(dtype=torch.float32), samples(2, 16, 8, 8).float()
    y = sparse(x)
    compiled = torch.compile(sparse, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), y)
    assert compiled(x).is_contiguous()
    compiled(x).sum().backward()
    torch.testing.assert_close(torch.export.export(sparse, (x,)).module()(x), y)
    torch.testing.assert_close(torch.vmap(sparse)(x), y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for image in (x, x.contiguous(memory_format=torch.channels_last), x.bfloat16()):
            assert sparse(image).dtype == torch.bfloat16
    half = copy.deepcopy(sparse).bfloat16()
    torch.testing.assert_close(half(x.bfloat16()).float(), y, atol=0.1, rtol=0.1)


def test_traced_by_fx():
    sparse, x = conv(stride=(2, 1)), samples(2, 16, 8, 8)
    traced = torch.fx.symbolic_trace(nn.Sequential(sparse, nn.ReLU()))
    for images in (x, x[0], x.contiguous(memory_format=torch.channels_last)):
        y = traced(images)
        torch.testing.assert_close(y, sparse(images).relu())
        assert y.stride() == sparse(images).stride()
    torch.testing.assert_close(copy.deepcopy(traced)(x), sparse(x).relu())
    traced(x).sum().backward()
    assert sparse.weight.grad is not None


def test_rewired_copied_saved():
    found = []
    for last in (False, True):
        sparse = conv(density=0.3, dtype=torch.float32)
        model = nn.Sequential(sparse)
        optimizer = torch.optim.SGD(sparse.parameters(), lr=0.01)
        rewirer = Rewirer(model, optimizer, "rigl", every=2, total_steps=99)
        for i in range(5):
            optimizer.zero_grad()
            x = samples(4, 16, 8, 8).float() * (i + 1)
            sparse(x.contiguous(memory_format=torch.channels_last) if last else x).square().mean().backward()
            optimizer.step()
            rewirer.step()
        assert rewirer.rewirings == 2
        found.append(sparse.sources.clone())
    assert torch.equal(*found)
    other = conv(density=0.7, stride=1, dtype=torch.float32)
    other.load_state_dict(sparse.state_dict())
    assert torch.equal(other(x), sparse(x)) and torch.equal(copy.deepcopy(sparse)(x), sparse(x))
    with pytest.raises(RuntimeError, match="weight is that of a dense layer: load it into the dense model"):
        sparse.load_state_dict(sparse.to_conv2d().state_dict())
    loss = sparse(x).sum()
    with torch.no_grad():
        sparse.sources.add_(0)
    with pytest.raises(RuntimeError, match="links have changed between the forward and the backward pass"):
        loss.backward()


def test_sparsify_takes_pointwise_convolutions():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 32, 1, stride=2, bias=False),
        nn.Conv2d(32, 32, 1, padding=1),
        nn.Conv2d(32, 32, 1, groups=2),
        nn.ConvTranspose2d(32, 32, 1),
        nn.Flatten(),
        nn.Linear(32 * 36, 5),
    )
    before, x = net[2], torch.randn(2, 16, 8, 8)
    report = sparsify(net, 0.5, connectivity="magnitude", seed=0)
    assert [each.name for each in report.replaced] == ["2", "7"] and report.replaced[0].shape == (32, 16)
    assert [(each.name, each.why) for each in report.kept] == [
        ("0", "its kernel is 3 x 3, not 1 x 1"),
        ("1", "its kernel is 3 x 3, not 1 x 1"),
        ("3", "it pads its inputs, by (1, 1)"),
        ("4", "its channels are in 2 groups"),
        (
            "5",
            "it is of type ConvTranspose2d: of convolutions only those of images can become sparse",
        ),
    ]
    made = net[2]
    assert type(made) is SparseConv1x1 and made.stride == (2, 2) and made.bias is None
    assert net(torch.randn(2, 3, 8, 8)).shape == (2, 5)
    there = made.to_conv2d().weight != 0
    assert torch.equal(made.to_conv2d().weight[there], before.weight[there])
    again = SparseConv1x1.from_conv2d(before, density=1.0)
    torch.testing.assert_close(again(x), before(x))
    assert type(net[7]) is SparseLinear


def test_the_place_of_a_kernel_size_is_not_that_of_a_stride():
    with pytest.raises(TypeError, match="positional arguments"):
        SparseConv1x1(8, 16, 2)


def test_wrong_arguments_are_named():
    for message, make in {
        "in_channels must be an integer": lambda: SparseConv1x1(0, 3),
        "out_channels must be": lambda: SparseConv1x1(3, 2.5),
        r"stride must be an integer >= 1, got 0": lambda: SparseConv1x1(3, 3, stride=0),
        r"stride must be one number or two": lambda: SparseConv1x1(3, 3, stride=(1, 2, 3)),
        "conv must be a convolution of 1 x 1 over all channels, got one where its kernel is 3 x 2": (
            lambda: SparseConv1x1.from_conv2d(nn.Conv2d(3, 3, (3, 2)))
        ),
        "conv must be an nn.Conv2d": lambda: SparseConv1x1.from_conv2d(nn.Linear(3, 3)),
        r"x must be images \(batch, 16, height, width\) or one of them, got shape \(2, 8, 4, 4\)": (
            lambda: conv()(samples(2, 8, 4, 4))
        ),
        "conv must have its weights: run a batch through a LazyConv2d first": (
            lambda: SparseConv1x1.from_conv2d(nn.LazyConv2d(8, 1))
        ),
        "conv must have weights of a floating dtype on the CPU, got torch.float32 on meta": (
            lambda: SparseConv1x1.from_conv2d(nn.Conv2d(3, 3, 1, device="meta"))
        ),
        "model is a convolution itself": lambda: sparsify(nn.Conv2d(3, 3, 1)),
        "weights, float64, got float32": lambda: conv()(samples(2, 16, 4, 4).float()),
    }.items():
        with pytest.raises((TypeError, ValueError), match=message):
            make()
    assert repr(conv()) == (
        "SparseConv1x1(in_channels=16, out_channels=24, stride=(1, 1), bias=True, density=0.396, group=4)"
    )
