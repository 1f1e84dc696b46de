"""`Rewirer`: rules of rewire on a model of torch, and what the optimizer has moves with the links."""

import copy
import io
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import rewire as rw
from rewire.rewiring import rewiring_names
from rewire.torch import Rewirer, SparseLinear, sparsify

SIZES, STEPS = [(12, 16), (16, 20), (20, 8)], 8
# Each rule so that it acts within eight steps; the last entry: whether a gradient decides where links are.
RULES = {
    "cht": ({"every": 2, "chain_removal": False}, False),
    "chts": ({"every": 2, "fraction": 0.3}, False),
    "chtss": ({"every": 2, "density": 0.2}, False),
    "deepr": ({"noise": 0.3}, False),
    "dsr": ({"every": 2, "threshold": 0.2}, False),
    "gmp": ({"every": 2, "density": 0.2}, False),
    "granet": ({"every": 2, "density": 0.2}, True),
    "gse": ({"every": 2}, True),
    "importance": (
        {"every": 3, "begin": 0, "variant": "published", "rule": {"name": "set", "every": 2}},
        False,
    ),
    "itop": ({"every": 2}, False),
    "magnitude": ({"every": 2}, False),
    "mest": ({"every": 2}, False),
    "rigl": ({"every": 2}, True),
    "set": ({"every": 2}, False),
    "snfs": ({"every": 2}, True),
    "snip": ({"density": 0.2}, True),
    "soft-deepr": ({"noise": 0.3, "l1": 0.3}, False),
    "srigl": ({"every": 2}, True),
    "top-kast": ({"every": 2}, False),
}


def rule_of(name):
    return {"name": name, **RULES[name][0]}


def network(density=0.4, group=2):
    layers = [rw.Sparse(n, m, density=density, group=group) for n, m in SIZES]
    return rw.Sequential(layers, seed=3)


def model_of(net):
    """The same layers in torch, in a row."""
    layers = []
    for layer in net.layers:
        made = SparseLinear(layer.n_in, layer.n_out, group=layer.group)
        links = torch.from_numpy(layer.store.indptr()), torch.from_numpy(layer.store.sources())
        made._relink(*links, torch.from_numpy(layer.store.get_field("weight")))
        nn.init.zeros_(made.bias)
        made.init = layer.init
        layers.append(made)
    return nn.Sequential(*layers)


def data(steps=STEPS):
    g = torch.Generator().manual_seed(0)
    return [(torch.randn(6, 12, generator=g), torch.randn(6, 8, generator=g)) for _ in range(steps)]


def trained(model, optimizer, rewirer, batches):
    for x, t in batches:
        loss = (model(x) - t).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rewirer.step()
    return model


def links(model):
    return [(m.indptr.clone(), m.sources.clone(), m.weight.detach().clone()) for m in model]


def test_every_rule_is_tried():
    assert {*rewiring_names()} - {"static", "none"} == {*RULES}


@pytest.mark.parametrize("name", RULES)
def test_links_move_and_the_model_still_learns(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rw.DensityWarning)
        model = model_of(network(1.0 if name in ("gmp", "granet", "snip") else 0.4))
    before = links(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    rewirer = Rewirer(model, optimizer, rule_of(name), total_steps=STEPS + 1, seed=3)
    trained(model, optimizer, rewirer, data())
    assert rewirer.rewirings >= 1
    assert any(
        a[1].shape != b[1].shape or not torch.equal(a[1], b[1])
        for a, b in zip(before, links(model), strict=True)
    )
    for module in model:
        assert module.weight.grad is None or module.weight.grad.shape == module.weight.shape
        assert set(optimizer.state[module.weight]) == {"step", "exp_avg", "exp_avg_sq"}
        assert optimizer.state[module.weight]["exp_avg"].shape == module.weight.shape
        torch.testing.assert_close(
            module(torch.ones(2, module.in_features)), module.to_linear()(torch.ones(2, module.in_features))
        )


@pytest.mark.parametrize("name", [name for name, (_, guided) in RULES.items() if not guided])
def test_the_structure_is_that_of_a_sequential(name):
    """Bit for bit, where weights are moved by the rule alone: the loss has no gradient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rw.DensityWarning)
        net = network(1.0 if name in ("gmp",) else 0.4)
    model = model_of(net)
    trainer = rw.Trainer(
        net, loss="mse", optimizer=rw.SGD(0.1), rewiring=rule_of(name), horizon=1, steps_per_epoch=STEPS + 1
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rewirer = Rewirer(model, optimizer, rule_of(name), total_steps=STEPS + 1, epochs=1, seed=net.seed)
    x = torch.zeros(6, 12)
    for _ in range(STEPS):
        trainer.train_step(x.numpy(), np.zeros((6, 8), np.float32))
        optimizer.zero_grad()
        (model(x) * 0.0).sum().backward()
        optimizer.step()
        rewirer.step()
    trainer.rewire_if_due()  # torch has made the one that is due before the next step
    assert rewirer.rewirings == trainer.state.rewirings > 0
    for layer, module in zip(net.layers, model, strict=True):
        assert np.array_equal(layer.store.indptr(), module.indptr.numpy())
        assert np.array_equal(layer.store.sources(), module.sources.numpy())
        assert np.array_equal(layer.store.get_field("weight"), module.effective_weight().detach().numpy())


# --- what optimizers keep ------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "sgd plain": lambda p: torch.optim.SGD(p, lr=0.01),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw plain": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=False),
    "adamw foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "adamw fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01, initial_accumulator_value=0.25),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=0.01),
    "adamax": lambda p: torch.optim.Adamax(p, lr=0.01),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
    "radam": lambda p: torch.optim.RAdam(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.01),
}
BIRTHS = {("adagrad", "sum"): 0.25, ("rprop", "step_size"): 0.01}


def positions(module):
    groups = torch.arange(len(module.indptr) - 1).repeat_interleave(torch.diff(module.indptr))
    return (groups * module.in_features + module.sources).tolist()


@pytest.mark.parametrize("rule", ["set", "snfs"])  # one keeps the sizes of layers, one changes them
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_state_moves_slot_by_slot(kind, rule):
    model = model_of(network())
    optimizer = OPTIMIZERS[kind](model.parameters())
    rewirer = Rewirer(model, optimizer, rule, every=3, total_steps=100)
    trained(model, optimizer, rewirer, data(2))
    x, t = data(3)[2]
    optimizer.zero_grad()
    (model(x) - t).square().mean().backward()
    optimizer.step()
    weights = [m.weight.detach().clone() for m in model]
    before = [
        (positions(m), {k: v.clone() for k, v in optimizer.state[m.weight].items() if torch.is_tensor(v)})
        for m in model
    ]
    assert rewirer.step() is not None
    new = 0
    for module, weight, (old, state) in zip(model, weights, before, strict=True):
        now, place = positions(module), {p: i for i, p in enumerate(old)}
        for key, value in state.items():
            after = optimizer.state[module.weight][key]
            if value.ndim == 0 or value.shape[0] != len(old):
                assert torch.equal(after, value)
                continue
            assert len(after) == len(now) == len(module.weight)
            for i, position in enumerate(now):
                kept = position in place and torch.equal(module.weight[i], weight[place[position]])
                if kept:  # one that SET drops and grows again is a new link
                    assert torch.equal(after[i], value[place[position]]), key
                else:
                    new += 1
                    birth = module.weight.detach()[i] if key == "ax" else BIRTHS.get((kind, key), 0.0)
                    assert (after[i] == birth).all(), key
    assert new > 0 or kind == "sgd plain"
    trained(model, optimizer, rewirer, data())


def test_state_that_cannot_follow_is_refused_by_name():
    model = model_of(network())
    for optimizer in (
        torch.optim.LBFGS(model.parameters()),
        torch.optim.SparseAdam(list(model.parameters())),
    ):
        with pytest.raises(NotImplementedError, match=f"another one than {type(optimizer).__name__}"):
            Rewirer(model, optimizer, "set", every=2)
    muon = torch.optim.Muon([m.weight for m in model], lr=0.01)
    with pytest.raises(NotImplementedError, match="another one than Muon: it orthogonalizes"):
        Rewirer(model, muon, "set", every=2)

    class Blocked(torch.optim.SGD):
        """An optimizer with state in blocks, as those of 8 bits have it."""

    optimizer = Blocked(model.parameters(), lr=0.01, momentum=0.9)
    rewirer = Rewirer(model, optimizer, "set", every=1)
    before = links(model)
    x, t = data()[0]
    (model(x) - t).square().mean().backward()
    optimizer.step()
    optimizer.state[model[0].weight]["absmax"] = torch.zeros(5, 3)
    after = links(model)
    with pytest.raises(
        NotImplementedError, match=r"state 'absmax' of Blocked for 0 has shape \(5, 3\), whose first"
    ):
        rewirer.step()
    assert all(torch.equal(a[1], b[1]) for a, b in zip(before, links(model), strict=True))
    assert all(torch.equal(a[2], b[2]) for a, b in zip(after, links(model), strict=True))
    with pytest.raises(TypeError, match="optimizer must be a torch.optim.Optimizer"):
        Rewirer(model, "adam", "set")


def test_sizes_change_while_a_loss_is_held():
    model = model_of(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    rewirer = Rewirer(model, optimizer, "snfs", every=1, total_steps=100)
    hooked = []
    model[0].weight.register_post_accumulate_grad_hook(lambda p: hooked.append(p.grad.shape == p.shape))
    held, sizes = [], []
    for x, t in data():
        loss = (model(x) - t).square().mean()
        held.append(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rewirer.step()
        sizes.append([len(m.weight) for m in model])
        parameters = [p for g in optimizer.param_groups for p in g["params"]]
        assert all(any(p is m.weight for p in parameters) for m in model)
    assert len({*map(tuple, sizes)}) > 3 and hooked == [True] * STEPS
    assert len(optimizer.param_groups[0]["params"]) == 6 and len(optimizer.state) == 6


def test_parameters_stay_the_same_objects_where_nothing_is_held():
    model = model_of(network())
    weights = [m.weight for m in model]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    rewirer = Rewirer(model, optimizer, "snfs", every=1, total_steps=100)
    sizes = [len(w) for w in weights], []
    for x, t in data():
        optimizer.zero_grad()
        (model(x) - t).square().mean().backward()  # nobody keeps the loss
        optimizer.step()
        rewirer.step()
    assert [len(w) for w in weights] != sizes
    assert all(m.weight is w for m, w in zip(model, weights, strict=True))


# --- schedules -------------------------------------------------------------------------------


def test_epochs_and_steps_say_when():
    model = model_of(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    rewirer = Rewirer(model, optimizer, "set", every="2 epochs", epochs=4)
    acted = []
    for _ in range(4):
        trained(model, optimizer, rewirer, data(3))
        acted.append(rewirer.end_epoch() is not None)
    assert acted == [False, True, False, False] and rewirer.epoch == 4  # not after the last
    rewirer = Rewirer(model, optimizer, rw.SET(every=1, last_epoch="remove"), total_steps=4, epochs=1)
    count = sum(len(m.weight) for m in model)
    trained(model, optimizer, rewirer, data(4))
    assert rewirer.rewirings == 3 and sum(len(m.weight) for m in model) == count
    record = rewirer.end_epoch()
    assert sum(record.removed.values()) > 0 == sum(record.grown.values())
    assert sum(len(m.weight) for m in model) < count


def test_a_rule_by_epochs_sees_gradients_of_the_last_batch():
    model = model_of(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    rewirer = Rewirer(model, optimizer, "rigl", every="1 epochs", total_steps=100, epochs=9)
    for _ in range(2):
        trained(model, optimizer, rewirer, data(3))
        assert sum(rewirer.end_epoch().grown.values()) > 0


def test_a_rewiring_of_ones_own_schedule():
    model = model_of(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    rewirer = Rewirer(model, optimizer, rw.RigL(every=10**6, end=10**6))
    with pytest.raises(
        RuntimeError, match="looks at the gradients of the last backward pass, and there was none"
    ):
        rewirer.rewire()
    rewirer.watch()
    x, t = data()[0]
    for part in (slice(0, 2), slice(2, 6)):  # gradients are accumulated
        (model(x[part]) - t[part]).square().sum().backward()
    record = rewirer.rewire()
    assert sum(record.grown.values()) == sum(record.removed.values()) > 0


def test_growth_by_gradient_takes_the_largest():
    """Of all empty positions, over all samples of the step; in one part or in two."""
    found = []
    for parts in ([slice(0, 6)], [slice(0, 2), slice(2, 6)]):
        model = model_of(network(group=1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        rewirer = Rewirer(model, optimizer, rw.RigL(every=1, fraction=0.2, end=9))
        x, t = data()[0]
        dense = nn.Sequential(*[m.to_linear() for m in model])
        for part in parts:
            (model(x[part]) - t[part]).square().sum().backward()
        (dense(x) - t).square().sum().backward()
        before = [m.to_dense() != 0 for m in model]
        optimizer.step()
        rewirer.step()
        for module, linear, there in zip(model, dense, before, strict=True):
            rows, columns = module._positions()
            now = torch.zeros_like(there)
            now[rows[:, 0], columns[:, 0]] = True
            grown, gradient = now & ~there, linear.weight.grad.abs()
            assert grown.any()
            assert gradient[grown].min() >= gradient[~there & ~grown].max()
        found.append([m.sources.clone() for m in model])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_frozen_layers_and_dense_layers_take_no_part():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.Linear(16, 20), nn.Linear(20, 8))
    sparsify(model, 0.4, skip="2")
    model[0].weight.requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    rewirer = Rewirer(model, optimizer, "set", every=1)
    before = model[0].sources.clone()
    assert set(rewirer.layers()) == {"1"}
    trained(model, optimizer, rewirer, data(3))
    assert torch.equal(model[0].sources, before)


@pytest.mark.parametrize("name", ["set", "rigl"])
def test_a_model_that_is_one_sparse_layer(name):
    layer = SparseLinear(20, 12, density=0.2)
    average = torch.optim.swa_utils.AveragedModel(layer)
    optimizer = torch.optim.AdamW(layer.parameters())
    rewirer = Rewirer(layer, optimizer, name, every=1, total_steps=9, averages=nn.ModuleList([average]))
    layer(torch.randn(8, 20)).square().mean().backward()
    optimizer.step()
    record = rewirer.step()
    assert record.removed["model"] == record.grown["model"] > 0
    assert torch.equal(average.module.sources, layer.sources)
    copied = copy.deepcopy(layer)
    again = Rewirer(copied, torch.optim.AdamW(copied.parameters()), name, every=1, total_steps=9)
    again.load_state_dict(rewirer.state_dict())
    assert again.rewirings == rewirer.rewirings


@pytest.mark.parametrize("name", ["set", "rigl", "snfs"])
def test_all_frozen_for_a_while(name):
    model = model_of(network())
    head = nn.Linear(8, 8)
    optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], lr=0.01)
    rewirer = Rewirer(model, optimizer, name, every=1, total_steps=99)
    whole = nn.Sequential(model, head)
    for frozen, rewirings in ((False, 2), (True, 2), (False, 4)):
        for layer in model:
            layer.requires_grad_(not frozen)
        trained(whole, optimizer, rewirer, data(2))
        assert rewirer.rewirings == rewirings and rewirer.steps % 2 == 0


def test_a_compiled_model_is_rewired():
    model = model_of(network())
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    optimizer = torch.optim.AdamW(compiled.parameters(), lr=0.01)
    rewirer = Rewirer(compiled, optimizer, "rigl", every=2, total_steps=100)
    trained(compiled, optimizer, rewirer, data(5))
    assert rewirer.rewirings == 2
    x = data()[0][0]
    torch.testing.assert_close(compiled(x), model(x))


def test_half_precision_weights_are_rewired():
    model = model_of(network()).bfloat16()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    rewirer = Rewirer(model, optimizer, "rigl", every=2, total_steps=100)
    trained(model, optimizer, rewirer, [(x.bfloat16(), t.bfloat16()) for x, t in data(5)])
    assert rewirer.rewirings == 2 and model[0].weight.dtype == torch.bfloat16


# --- rules that follow paths -----------------------------------------------------------------


def test_rules_that_follow_paths_need_a_wiring():
    model = model_of(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with pytest.raises(
        ValueError, match=r"'cht' follows paths .* wiring=\[names in a row\], .*chain_removal=False"
    ):
        Rewirer(model, optimizer, "cht", every=1, total_steps=9)
    with pytest.raises(NotImplementedError, match="'importance' makes layers narrower"):
        Rewirer(model, optimizer, "importance", every=1, total_steps=9, epochs=1)
    for wiring, words in (
        (["0", "2"], "0 has 16 outputs and 2 has 20 inputs"),
        (["0", "9"], r"wiring must name sparse layers, each once \(0, 1, 2\), got '9'"),
        (["0", "0"], "each once"),
        ("0", "wiring must be a list of names"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            Rewirer(model, optimizer, "cht", every=1, total_steps=9, wiring=wiring)


def test_chains_are_removed_as_in_a_sequential():
    net = network(0.15, group=1)
    model = model_of(net)
    trainer = rw.Trainer(
        net, loss="mse", optimizer=rw.SGD(0.1), rewiring=rw.CHT(every=1), horizon=1, steps_per_epoch=9
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    rewirer = Rewirer(model, optimizer, rw.CHT(every=1), total_steps=9, wiring=["0", "1", "2"], seed=net.seed)
    for _ in range(4):
        trainer.train_step(np.zeros((2, 12), np.float32), np.zeros((2, 8), np.float32))
        rewirer.step()
    trainer.rewire_if_due()
    for layer, module in zip(net.layers, model, strict=True):
        assert np.array_equal(layer.store.sources(), module.sources.numpy())
    apart = model_of(network(0.15, group=1))
    optimizer = torch.optim.SGD(apart.parameters(), lr=0.0)
    two = Rewirer(apart, optimizer, rw.CHT(every=1), total_steps=9, wiring=[["0", "1"], ["2"]], seed=net.seed)
    assert two.step() is not None


# --- saving ------------------------------------------------------------------------------------


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("name", RULES)
def test_a_run_goes_on_with_the_same_bits(name):
    def fresh():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rw.DensityWarning)
            model = model_of(network(1.0 if name in ("gmp", "granet", "snip") else 0.4))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
        return model, optimizer, Rewirer(model, optimizer, rule_of(name), total_steps=STEPS + 1, seed=3)

    whole = fresh()
    trained(*whole, data())
    first = fresh()
    trained(*first, data()[:3])
    states = [saved(part.state_dict()) for part in first]
    second = fresh()
    for part, state in zip(second, states, strict=True):
        part.load_state_dict(state)
    trained(*second, data()[3:])
    for a, b in zip(links(whole[0]), links(second[0]), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert whole[2].rewirings == second[2].rewirings


def test_a_state_of_another_rule_is_refused():
    model = model_of(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    one, two = (
        Rewirer(model, optimizer, "set", every=2),
        Rewirer(model, optimizer, "rigl", every=2, total_steps=9),
    )
    with pytest.raises(ValueError, match="state must be of rule 'rigl', got 'set'"):
        two.load_state_dict(one.state_dict())
    with pytest.raises((KeyError, ValueError, TypeError), match="state"):
        one.load_state_dict({"version": 1})
    with pytest.raises(ValueError, match="state must be of version 1, got 2"):
        one.load_state_dict(one.state_dict() | {"version": 2})
    assert "3 layers" in repr(one)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rule": "sett"}, "rewiring must be"),
        ({"rule": rw.SET(), "every": 3}, "every must be given to the rule itself"),
        ({"rule": "rigl"}, r"end=0.75 is a fraction of the run, whose length must be said: give total_steps"),
        ({"rule": "set", "evry": 3}, "evry"),
        (
            {"rule": "set"},
            r"'set' counts epochs \(every 1 epoch\).* say every=100 .* or give epochs and call end_",
        ),
        (
            {
                "rule": "importance",
                "every": 3,
                "variant": "published",
                "total_steps": 9,
                "wiring": ["0", "1"],
            },
            r"for its part .*set.* counts epochs \(every 1 epoch\).* say rule=.*every.: 100",
        ),
        ({"averages": 3, "every": 3}, "averages must be an nn.Module or a list of them, got 3"),
        ({"averages": nn.Linear(1, 1), "every": 3}, r"averages\[0\] must be a copy of the model"),
        ({"averages": [3], "every": 3}, r"averages\[0\] must be an nn.Module, got 3"),
        ({"seed": -1}, "seed must be an integer"),
        ({"total_steps": 0}, "total_steps must be an integer >= 1"),
    ],
)
def test_wrong_arguments_are_refused(given, words):
    model = model_of(network())
    with pytest.raises((TypeError, ValueError), match=words):
        Rewirer(model, torch.optim.SGD(model.parameters(), lr=0.01), **given)


def test_models_without_sparse_layers_and_sharded_ones_are_refused():
    dense = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="call sparsify first"):
        Rewirer(dense, torch.optim.SGD(dense.parameters(), lr=0.01))

    class FullyShardedDataParallel(nn.Module):
        """Stands for FSDP, which needs a process group."""

        def __init__(self, module):
            super().__init__()
            self.module = module

    sharded = FullyShardedDataParallel(model_of(network()))
    with pytest.raises(NotImplementedError, match="must not be in FSDP .FullyShardedDataParallel"):
        Rewirer(sharded, torch.optim.SGD(sharded.parameters(), lr=0.01))
