"""The way back: a dense copy for what knows no sparse layers."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import rewire as rw
from rewire.torch import Module, Residual, SparseLinear, SparseMLP, Tiled, densify, sparsify


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 1, stride=2), nn.Flatten(), nn.Linear(16 * 9, 10)
    )


def test_the_dense_model_that_was_built_loads_the_state():
    model, x = convolutional(), torch.randn(4, 3, 8, 8)
    sparsify(model, density=0.2, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    dense = densify(model)
    assert [type(part) for part in dense] == [type(part) for part in convolutional()]
    torch.testing.assert_close(dense(x), model(x))
    built = convolutional()
    built.load_state_dict(dense.state_dict())
    assert torch.equal(built(x), dense(x))
    assert built[4].weight.count_nonzero() == model[4].nnz
    dense[4].weight.data.zero_()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_tiles_branches_and_a_layer_in_two_places():
    torch.manual_seed(0)
    twice = SparseLinear(16, 16, density=0.5)
    model = nn.Sequential(
        Tiled(Residual(nn.LayerNorm(16), twice, nn.GELU()), nn.Dropout(0.5)), twice, SparseMLP([16, 8, 4])
    ).eval()
    model[1].weight.requires_grad_(False)
    x, dense = torch.randn(5, 16), densify(model)
    torch.testing.assert_close(dense(x), model(x))
    assert type(dense[0]) is nn.Sequential and dense[0][0][1] is dense[1]
    assert not dense[1].weight.requires_grad and dense[1].bias.requires_grad
    assert not any(module.training or isinstance(module, SparseLinear) for module in dense.modules())
    assert type(densify(twice)) is nn.Linear  # a model that is one itself


def test_wherever_a_layer_is_held():
    torch.manual_seed(0)
    model = Tiled(SparseLinear(16, 16, density=0.5), nn.ReLU(), SparseLinear(16, 16, density=0.5))
    model.register_forward_hook(lambda module, given, y: y + 1)
    model.by_hand = [model[0]]  # not among the parts that PyTorch knows of
    model[2].bias = model[0].bias
    dense, x = densify(model), torch.randn(5, 16)
    assert type(dense) is nn.Sequential and dense.by_hand[0] is dense[0]
    assert dense[0].bias is dense[2].bias and dense[0].bias is not model[0].bias
    torch.testing.assert_close(dense(x), model(x))


@pytest.mark.parametrize("within", [torch.enable_grad, torch.no_grad])
@pytest.mark.parametrize(
    "compute",
    [
        parametrizations.weight_norm,
        lambda layer: prune.random_unstructured(layer, "weight", amount=0.5),
    ],
    ids=["parametrized", "pruned"],
)
def test_weights_that_are_computed_are_plain_afterwards(compute, within):
    model, x = nn.Sequential(SparseLinear(16, 16, density=0.5)), torch.randn(5, 16)
    compute(model[0])
    with within():
        dense = densify(model)
    torch.testing.assert_close(dense(x), model(x))
    assert {name: p.requires_grad for name, p in dense.named_parameters()} == {
        "0.weight": True,
        "0.bias": True,
    }


@pytest.mark.filterwarnings("ignore:.*jit.*:DeprecationWarning")
def test_exporters_that_know_no_operators_of_ours_take_it():
    model, x = convolutional(), torch.randn(4, 3, 8, 8)
    sparsify(model, density=0.2, seed=0)
    with pytest.raises(Exception, match="SparseLinear|annotation"):
        torch.jit.script(model)
    torch.testing.assert_close(torch.jit.script(densify(model))(x), model(x))


def test_what_has_no_dense_form_is_refused():
    with pytest.raises(TypeError, match="model must be an nn.Module, got"):
        densify([SparseLinear(4, 4)])
    wrapper = type("DistributedDataParallel", (nn.Sequential,), {})
    with pytest.raises(
        ValueError, match="model must not have 0.0 in DistributedDataParallel: give the module"
    ):
        densify(nn.Sequential(wrapper(SparseLinear(4, 4))))
    network = Module(rw.Sequential([rw.Sparse(4, 4, density=0.5)], seed=0))
    with pytest.raises(ValueError, match=r"model must have no Module, .*, got 0$"):
        densify(nn.Sequential(network))
    meta = SparseLinear(4, 4, device="meta")
    with pytest.raises(ValueError, match=r"model must have values in all layers, .* meta device .*, got 0$"):
        densify(nn.Sequential(meta))


class Doubled(SparseLinear):
    def forward(self, input):
        return 2.0 * super().forward(input)


class Skipping(Tiled):
    def forward(self, input):
        return input + super().forward(input)


def hooked():
    layer = SparseLinear(4, 4, density=0.5)
    layer.register_forward_hook(lambda module, given, y: 0 * y)
    return layer


@pytest.mark.parametrize(
    "layer, words",
    [
        (Doubled(4, 4, density=0.5), "no Doubled with a forward of its own"),
        (Skipping(SparseLinear(4, 4, density=0.5)), "no Skipping with a forward of its own"),
        (hooked(), "no SparseLinear with hooks"),
    ],
    ids=["layer", "tiles", "hooks"],
)
def test_what_a_dense_layer_would_not_do_is_refused(layer, words):
    with pytest.raises(ValueError, match=rf"model must have {words}, .*, got 0$"):
        densify(nn.Sequential(layer))
