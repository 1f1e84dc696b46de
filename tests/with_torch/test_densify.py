"""The way back: a dense copy for what knows no sparse layers."""

import pytest
import torch
from torch import nn

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
