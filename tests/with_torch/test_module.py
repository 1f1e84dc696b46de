"""A network of rewire in a model of torch, and back."""

import copy
import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import rewire as rw
from rewire.torch import Module

LAYERS = {
    "sparse": lambda: [rw.Sparse(6, 12, density=0.5, activation="all-relu"), rw.Sparse(12, 4, density=0.5)],
    "dense": lambda: [rw.Dense(6, 8, activation="gelu"), rw.Sparse(8, 4, density=0.5, group=4)],
    "norm": lambda: [
        rw.Sparse(6, 8, density=0.5),
        rw.LayerNorm(8),
        rw.Dropout(0.3),
        rw.Sparse(8, 4, density=0.5),
    ],
    "two-sided": lambda: [rw.Sparse(6, 8), rw.TwoSided(), rw.Sparse(16, 4, density=0.5)],
    "switchnet": lambda: [rw.SwitchNet4(6, width=8, depth=1), rw.Sparse(8, 4, density=0.5)],
}


MORE = {
    "batch norm": lambda: [rw.Sparse(6, 8), rw.BatchNorm(), rw.Dropout(0.3), rw.Sparse(8, 4)],
    "winners": lambda: [rw.Sparse(6, 8, activation="tanh"), rw.KWinners(0.5), rw.Sparse(8, 4)],
}


def network(kind="sparse", **given):
    return rw.Sequential((LAYERS | MORE)[kind](), seed=0, **({"dtype": "float64"} | given))


@pytest.mark.parametrize("kind", LAYERS)
def test_values_and_gradients(kind):
    net = network(kind)
    module, x = Module(net), torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    module.eval()
    with torch.no_grad():
        assert np.allclose(module(x).numpy(), net.predict(x.numpy()))
    module.train()

    def run(x, *values):
        module.steps = 3  # the same masks of dropout each time
        names = [name for name, _ in module.named_parameters()]
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *module.parameters()))


def test_it_learns_as_a_trainer_does():
    net = network()
    module = Module(copy.deepcopy(net))
    x, t = np.random.default_rng(0).normal(size=(20, 6)), np.random.default_rng(1).normal(size=(20, 4))
    trainer = rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.1, momentum=0.9), rewiring=None)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    for _ in range(5):
        trainer.train_step(x, t)
        optimizer.zero_grad()
        nn.functional.mse_loss(module(torch.from_numpy(x)), torch.from_numpy(t)).backward()
        optimizer.step()
    back = module.to_sequential()
    for name, parameter in net.parameters().items():
        np.testing.assert_allclose(back.parameters()[name].read(), parameter.read(), rtol=1e-9, atol=1e-12)


def test_softmax_and_logits():
    layers = [rw.Sparse(6, 4, density=0.5, activation="softmax")]
    net = rw.Sequential(layers, seed=0, dtype="float64")
    x = torch.randn(5, 6, dtype=torch.float64)
    assert np.allclose(Module(net)(x).detach().numpy(), net.predict(x.numpy()))
    assert torch.allclose(torch.softmax(Module(net, logits=True)(x), -1), Module(net)(x))


def test_shapes_among_other_modules():
    model = nn.Sequential(nn.Linear(3, 6), Module(network(dtype="float32")), nn.Linear(4, 2))
    for shape in ((3,), (5, 3), (2, 5, 3), (0, 3)):
        y = model(torch.randn(*shape))
        assert y.shape == (*shape[:-1], 2)
        y.sum().backward()
    assert model[0].weight.grad.any() and model[1].layers_0_weight.grad.any()
    y, z = (
        model(torch.randn(5, 3)),
        model(torch.randn(7, 3)),
    )  # one after the other
    (y.sum() + z.sum()).backward()


def test_states_and_copies():
    one, two = Module(network()), Module(network())
    rule = rw.SET(every=1)
    q = two.network.sparse_parameters
    rule.rewire(q, rw.rewiring.TrainingProgress(0, 1, False), 1, 1, seed=5, network=two.network)
    two.refresh()
    x = torch.randn(5, 6, dtype=torch.float64)
    file = io.BytesIO()
    torch.save(two.state_dict(), file)
    file.seek(0)
    assert not torch.equal(one(x), two(x))
    one.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(one(x), two(x))
    assert torch.equal(copy.deepcopy(one)(x), one(x))
    other = Module(rw.Sequential([rw.Sparse(6, 4)], dtype="float64"))
    with pytest.raises(RuntimeError, match="a network of other layers"):
        other.load_state_dict(one.state_dict())


def test_what_is_refused():
    module = Module(network())
    with pytest.raises(TypeError, match="network must be a rewire.Sequential"):
        Module(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="input must have 6 features"):
        module(torch.zeros(2, 5, dtype=torch.float64))
    with pytest.raises(TypeError, match="input must have the dtype of the network, float64, got float32"):
        module(torch.zeros(2, 6))
    x = torch.zeros(2, 6, dtype=torch.float64, requires_grad=True)
    for loss in (module(x).sum(), module(x).square().sum()):  # the first with a gradient that is a constant
        with pytest.raises(NotImplementedError, match="cannot be differentiated again"):
            torch.autograd.grad(loss, x, create_graph=True)


@pytest.mark.parametrize("kind", ["batch norm", "winners", *LAYERS])
def test_gradients_in_evaluation(kind):
    net = network(kind)
    module, x = Module(net), torch.randn(5, 6, dtype=torch.float64)
    nn.functional.mse_loss(module(x), torch.ones(5, 4)).backward()  # running moments and duty cycles move
    module.eval()
    x.requires_grad_()
    buffers = {name: np.array(values) for name, values in net.arrays().items()}

    def run(x, *values):
        names = [name for name, _ in module.named_parameters()]
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))

    assert np.allclose(module(x).detach().numpy(), net.predict(x.detach().numpy()))
    assert torch.autograd.gradcheck(run, (x, *module.parameters()))
    module.to_sequential()
    assert all(np.array_equal(values, net.arrays()[name]) for name, values in buffers.items())


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(reentrant):
    net = network()
    x = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    found = []
    for call in (lambda m: m(x), lambda m: checkpoint(m, x, use_reentrant=reentrant)):
        module = Module(copy.deepcopy(net))
        x.grad = None
        call(module).square().sum().backward()
        found.append([x.grad, *(value.grad for value in module.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_threads_wait_for_each_other():
    module, x = Module(network("norm")).eval(), torch.randn(50, 6, dtype=torch.float64)
    y = module(x)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(y, found) for found in pool.map(lambda _: module(x), range(40)))
    assert torch.equal(pickle.loads(pickle.dumps(module))(x), y)


def test_another_dtype_than_the_networks_is_refused():
    module = Module(rw.Sequential([rw.Sparse(4, 3)]))
    for change in (module.double, module.bfloat16, lambda: module.to("meta")):
        with pytest.raises(TypeError, match="must stay of the dtype of its network, float32, on the CPU"):
            change()
    assert module.float()(torch.zeros(2, 4)).dtype == torch.float32


def test_outputs_are_in_the_units_of_the_targets():
    net = network()
    X = np.random.default_rng(0).normal(size=(20, 6))
    plain = Module(net)(torch.tensor(X)).detach().numpy()
    net.target_standardizer = rw.Standardizer(np.array([10.0, 0, 0, -1]), np.array([2.0, 1e-6, 1, 1e3]))
    module, inputs = Module(net), torch.tensor(X, requires_grad=True)
    found = module(inputs)
    np.testing.assert_allclose(found.detach().numpy(), net.predict(X), rtol=1e-12)
    np.testing.assert_allclose(found.detach().numpy(), plain * [0.5, 1e6, 1, 1e-3] + [10, 0, 0, -1])
    found[:, 0].sum().backward()
    before = torch.tensor(X, requires_grad=True)
    Module(network())(before)[:, 0].sum().backward()
    np.testing.assert_allclose(inputs.grad, before.grad / 2)
    again = Module(network())
    again.load_state_dict(module.state_dict())
    assert torch.equal(again(inputs), found)


def test_autocast_does_not_round_in_the_units_of_the_targets():
    net = rw.Sequential([rw.Dense(6, 1, activation="linear")], seed=0)
    net.target_standardizer = rw.Standardizer(np.array([1000.0]), np.array([1.0]))  # bfloat16s are 4 apart
    X = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = Module(net)(torch.tensor(X)).detach()
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), net.predict(X), atol=0.05)
