"""What people do with a model in training, with a `Rewirer` beside it."""

import ast
import copy
import pickle
import re
import warnings

import pytest
import torch
from test_rewirer import data, links, model_of, network, trained
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import rewire as rw
from rewire.torch import Rewirer, SparseConv1x1, SparseLinear, Tiled, sparsify


def sgd(model, **given):
    return torch.optim.SGD(model.parameters(), **({"lr": 0.05, "momentum": 0.9} | given))


def by_position(module):
    """The weights of each slot, by where it is."""
    rows, columns = module._positions()
    keys = (rows[:, 0] * module.in_features + columns[:, 0]).tolist()
    return dict(zip(keys, module.weight.detach().clone(), strict=True))


def changed(before, model):
    return [
        a[1].shape != b[1].shape or not torch.equal(a[1], b[1])
        for a, b in zip(before, links(model), strict=True)
    ]


def test_graphs_and_profiles_name_what_was_computed():
    x = torch.randn(4, 16, 8, 8)
    layer, conv = SparseLinear(16, 16), SparseConv1x1(16, 16)
    tiled = Tiled(layer, torch.nn.ReLU())
    rows = x[:, :, 0, 0]
    outputs = {"_SparseLinear": layer(rows), "_SparseConv1x1": conv(x), "_SparseTiles": tiled(rows)}
    assert {name: y.grad_fn.name() for name, y in outputs.items()} == {
        name: f"{name}Backward" for name in outputs
    }


@pytest.mark.parametrize(
    ("rule", "given", "words"),
    [
        (
            "rigl",
            {"total_steps": 50},
            "'rigl' never acts: .* 100 steps, the run has 50, end=0.75; .*'steps': 3}",
        ),
        (
            "rigl",
            {"total_steps": 200},
            None,
        ),
        (
            "mest",
            {"epochs": 4, "total_steps": 40},
            "'mest' never acts: its period is 5 epochs, the run has 4",
        ),
        ("rigl", {"total_steps": 50, "every": 10}, None),
        ("set", {"epochs": 1}, None),
        ("set", {"epochs": 4, "every": {"epochs": 2}}, None),  # once, as it was asked for
        ("set", {"every": 100}, None),  # nobody has said how long the run is
    ],
)
def test_a_period_that_does_not_fit_the_run_is_said(rule, given, words):
    model = model_of(network())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Rewirer(model, sgd(model), rule, **given)
    assert len(caught) == (words is not None)
    if words is not None:
        message = str(caught[0].message)
        assert re.search(words, message)
        advice = ast.literal_eval(re.search(r"every=(\{.*\})", message).group(1))
        Rewirer(model, sgd(model), rule, **given, every=advice)  # warns no more, which would be an error


# --- averages of weights ---------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["set", "snfs", "top-kast"])  # sizes stay, sizes change, weights are masked
def test_averages_follow_the_links(rule):
    model = model_of(network())
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer = sgd(model)
    rewirer = Rewirer(model, optimizer, rule, every=2, total_steps=99, averages=average)
    means, births = [by_position(m) for m in model], 0
    for i, (x, t) in enumerate(data()):
        loss = (model(x) - t).square().mean()  # it is held in the next step
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        earlier = [by_position(m) for m in model]
        rewirer.step()
        average.update_parameters(model)
        for at, (module, other) in enumerate(zip(model, average.module, strict=True)):
            assert torch.equal(module.sources, other.sources)
            assert (module.mask is None) == (other.mask is None) == (rule != "top-kast")
            assert module.mask is None or torch.equal(module.mask, other.mask)
            mean, found = means[at], by_position(other)
            for key, value in by_position(module).items():
                same = key in earlier[at] and torch.equal(value, earlier[at][key])
                if same and i:
                    torch.testing.assert_close(found[key], mean[key] + 0.1 * (value - mean[key]))
                elif rule != "top-kast":  # which changes all weights by itself
                    births += bool(i)
                    assert torch.equal(found[key], value)  # a new link, or the first of all means
            means[at] = found
    assert rewirer.rewirings >= 2 and (births > 0 or rule == "top-kast")
    assert average(x).isfinite().all()


def test_what_is_no_average_of_the_model_is_refused():
    model = model_of(network())
    with pytest.raises(ValueError, match=r"averages\[0\] must be made with use_buffers=False"):
        Rewirer(model, sgd(model), "set", every=1, averages=[AveragedModel(model, use_buffers=True)])
    with pytest.raises(ValueError, match=r"averages\[0\] must have the links of the model, got others in 0"):
        Rewirer(model, sgd(model), "set", every=1, averages=[model_of(network(0.3))])
    with pytest.raises(ValueError, match=r"averages\[0\] must be a copy of the model, and has no layer 0"):
        Rewirer(model, sgd(model), "set", every=1, averages=[model])
    rewirer = Rewirer(model, sgd(model), "set", every=1)
    trained(model, rewirer.optimizer, rewirer, data(2))
    with pytest.raises(TypeError, match="averages must be an nn.Module or a list of them, got 3"):
        rewirer.averages = 3
    rewirer.averages = model_of(network())  # of the beginning
    rewirer.averages.append(model_of(network()))
    before = links(model)
    with pytest.raises(ValueError, match="must have the links of the model"):
        rewirer.rewire()
    assert not any(changed(before, model))


# --- which layers ------------------------------------------------------------------------------


def test_an_optimizer_made_before_sparsify_is_refused():
    model = nn.Sequential(nn.Linear(12, 16), nn.Linear(16, 8))
    optimizer = sgd(model)
    sparsify(model, 0.4)
    with pytest.raises(ValueError, match="optimizer must have the weights .* make it after sparsify"):
        Rewirer(model, optimizer, "set", every=1)


def test_layers_of_another_optimizer_take_no_part():
    model = model_of(network())
    one, two = sgd(model[0]), sgd(model[1:])
    first, second = (Rewirer(model, each, "set", every=1) for each in (one, two))
    assert [*first.layers()] == ["0"] and [*second.layers()] == ["1", "2"]
    x, t = data()[0]
    (model(x) - t).square().mean().backward()
    one.step()
    two.step()
    before = links(model)
    first.step()
    assert changed(before, model) == [True, False, False]
    model = model_of(network())
    optimizer = sgd(model[0])
    rewirer = Rewirer(model, optimizer, "set", every=1)
    optimizer.add_param_group({"params": list(model[1].parameters())})
    assert [*rewirer.layers()] == ["0", "1"]


class Doubled(nn.Module):
    """A parametrization."""

    def forward(self, weight):
        return 2 * weight

    def right_inverse(self, weight):
        return weight / 2


@pytest.mark.parametrize("how", ["parametrized", "pruned", "tied"])
def test_weights_that_are_not_of_a_layer_alone_are_refused(how):
    model = model_of(network())
    optimizer = sgd(model)
    rewirer = Rewirer(model, optimizer, "set", every=1)
    if how == "parametrized":
        parametrize.register_parametrization(model[1], "weight", Doubled())
    elif how == "pruned":
        prune.l1_unstructured(model[1], "weight", 0.5)
    else:
        model.append(copy.deepcopy(model[1]))
        model[3].weight = model[1].weight
    words = {
        "parametrized": "weights of 1 are computed from others",
        "pruned": "weights of 1 are computed from others",
        "tied": "sparse layers must have weights of their own, got one for 1 and 3",
    }[how]
    with pytest.raises(ValueError, match=words):
        Rewirer(model, optimizer, "set", every=1)
    before = model[0].sources.clone()
    with pytest.raises(ValueError, match=words):
        rewirer.step()
    assert torch.equal(model[0].sources, before)


@pytest.mark.parametrize("rule", ["mest", "set", "top-kast"])
def test_a_layer_is_frozen_and_thawed_in_the_middle(rule):
    model = model_of(network())
    optimizer = sgd(model)
    rewirer = Rewirer(model, optimizer, rule, every=1, total_steps=99)
    trained(model, optimizer, rewirer, data(2))
    model[0].weight.requires_grad_(False)
    model[0].weight.grad = None
    before = links(model)
    trained(model, optimizer, rewirer, data(4)[2:])
    assert changed(before, model)[0] is False and any(changed(before, model))
    state = rewirer.state_dict()
    rewirer.load_state_dict(state)
    model[0].weight.requires_grad_(True)
    before = links(model)
    trained(model, optimizer, rewirer, data(6)[4:])
    assert any(changed(before, model)) and rewirer.rewirings >= 6


# --- optimizers -----------------------------------------------------------------------------------


def test_optimizers_whose_state_is_elsewhere_or_of_pairs_of_slots_are_refused():
    class Around(torch.optim.SGD):
        """An optimizer around another, which keeps the state."""

        def __init__(self, inner):
            super().__init__(inner.param_groups, lr=0.1)
            self.inner = inner

    class ZeroRedundancyOptimizer(torch.optim.SGD):
        """Stands for that of torch, which needs processes."""

    model = model_of(network())
    with pytest.raises(NotImplementedError, match="must keep its state itself, got Around, .* in 'inner'"):
        Rewirer(model, Around(sgd(model)), "set", every=1)
    with pytest.raises(NotImplementedError, match="another one than ZeroRedundancyOptimizer"):
        Rewirer(model, ZeroRedundancyOptimizer(model.parameters()), "set", every=1)
    optimizer = sgd(model)
    rewirer = Rewirer(model, optimizer, "set", every=1)
    n, before = len(model[0].weight), links(model)
    optimizer.state[model[0].weight]["precond"] = torch.eye(n)
    with pytest.raises(NotImplementedError, match="state 'precond' of SGD for 0 has shape .* cannot follow"):
        rewirer.step()
    assert not any(changed(before, model))


# --- modes, gradients -----------------------------------------------------------------------------


def test_a_rewiring_in_inference_mode():
    model = model_of(network())
    optimizer = sgd(model)
    rewirer = Rewirer(model, optimizer, "snfs", every=1, total_steps=99)
    for x, t in data(4):
        loss = (model(x) - t).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.inference_mode():
            rewirer.step()
    assert rewirer.rewirings == 4
    trained(model, optimizer, rewirer, data(2))


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_gradients_that_are_not_finite_say_nothing(bad):
    model = model_of(network())
    optimizer = sgd(model)
    rewirer = Rewirer(model, optimizer, "rigl", every=1, total_steps=99)
    before = links(model)
    x, t = data()[0]
    ((model(x) - t).square().mean() * bad).backward()  # GradScaler leaves out the optimizer's step
    optimizer.zero_grad()
    with pytest.warns(RuntimeWarning, match="those of 0 are not finite: left out at step 1"):
        assert rewirer.step() is None
    assert not any(changed(before, model))
    trained(model, optimizer, rewirer, data(1))
    assert rewirer.rewirings == 1


def test_two_rewirers_look_at_gradients():
    model = model_of(network())
    optimizer = sgd(model)
    one, two = (Rewirer(model, optimizer, "rigl", every=n, total_steps=99) for n in (2, 3))
    for x, t in data(6):
        optimizer.zero_grad()
        (model(x) - t).square().mean().backward()
        optimizer.step()
        one.step()
        two.step()
    assert one.rewirings == 3 and two.rewirings == 2


def test_gradients_are_looked_at_after_other_links_are_loaded():
    model = model_of(network())
    optimizer = sgd(model)
    rewirer = Rewirer(model, optimizer, "rigl", every=1, total_steps=99)
    model.load_state_dict(model_of(network(0.3)).state_dict())
    trained(model, optimizer, rewirer, data(1))
    assert rewirer.rewirings == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda all_: pickle.loads(pickle.dumps(all_))])
def test_copies_go_on_alike(copied):
    model = model_of(network())
    optimizer = sgd(model)
    rewirer = Rewirer(model, optimizer, rw.RigL(every=2, end=99))
    trained(model, optimizer, rewirer, data(3))
    other = copied((model, optimizer, rewirer))
    trained(model, optimizer, rewirer, data(6)[3:])
    trained(*other, data(6)[3:])
    for a, b in zip(links(model), links(other[0]), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
