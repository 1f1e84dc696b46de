"""Two lines for a model that exists: which layers become sparse, and what stays."""

from types import MethodType

import pytest
import torch
from test_linear import samples
from torch import nn
from torch.nn.utils import prune

from rewire.torch import Rewirer, SparseLinear, densify, sparsify


class Block(nn.Module):
    def __init__(self, d=16, heads=2):
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        batch, length, d = x.shape
        parts = self.qkv(self.norm(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, length, d))
        return x + self.mlp(x)


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.tokens, self.blocks, self.head = (
            nn.Embedding(11, 16),
            nn.Sequential(Block(), Block()),
            nn.Linear(16, 11),
        )

    def forward(self, i):
        return self.head(self.blocks(self.tokens(i)))


def test_two_lines_make_a_transformer_sparse():
    model = Transformer()
    report = sparsify(model, density=0.25, skip="head", seed=0)
    sparse = {name for name, module in model.named_modules() if isinstance(module, SparseLinear)}
    assert sparse == {f"blocks.{i}.{name}" for i in (0, 1) for name in ("qkv", "proj", "mlp.0", "mlp.2")}
    assert [kept[::2] for kept in report.kept] == [("head", "skipped")]
    assert type(model.head) is nn.Linear
    row = report.replaced[0]
    assert row == ("blocks.0.qkv", (48, 16), 0.25, 768, 192)
    assert report.parameters_after == sum(p.numel() for p in model.parameters())
    assert "blocks.0.qkv 48 x 16 0.25 768 192" in " ".join(
        str(report).split()
    ) and "kept dense: head: skipped" in str(report)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    tokens = torch.randint(11, (4, 9), generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    again = Transformer()
    sparsify(again, density=0.25, skip="head", seed=0)
    assert torch.equal(again.blocks[1].proj.sources, model.blocks[1].proj.sources)


def mlp(*widths):
    torch.manual_seed(0)
    return nn.Sequential(*[nn.Linear(n, m) for n, m in zip(widths, widths[1:], strict=False)])


@pytest.mark.parametrize(
    ("skip", "left"),
    [
        ("2", [2]),
        (["0", "2"], [0, 2]),
        ("[01]", [0, 1]),
        (lambda name, module: module.out_features == 24, [1]),
        (nn.Linear, None),
        ((), []),
    ],
)
def test_what_is_skipped(skip, left):
    model = mlp(8, 16, 24, 8)
    if left is None:
        with pytest.raises(
            ValueError,
            match="an nn.Linear, or an nn.Conv2d of 1 x 1, that can become sparse, got 0: skipped",
        ):
            sparsify(model, skip=skip)
        assert all(type(module) is nn.Linear for module in model)
        return
    sparsify(model, 0.5, skip=skip)
    assert [i for i, module in enumerate(model) if type(module) is nn.Linear] == left
    model(torch.randn(2, 8))


def test_a_module_and_its_parts_are_skipped():
    model = nn.Sequential(mlp(8, 8, 8), mlp(8, 8))
    sparsify(model, 0.5, skip=model[0])
    assert [type(m) is nn.Linear for part in model for m in part] == [True, True, False]


def test_densities_by_name():
    model = nn.ModuleDict({"first": mlp(16, 16, 16), "second": mlp(16, 16), "third": mlp(16, 16)})
    report = sparsify(model, {"first.1": 0.5, "first": 0.25, "sec*": 1.0}, group=1)
    assert {row.name: row.after for row in report.replaced} == {
        "first.0": 64,
        "first.1": 128,
        "second.0": 256,
    }
    assert [kept[::2] for kept in report.kept] == [("third.0", "density names no value for it")]


def test_erk_makes_small_layers_denser():
    report = sparsify(mlp(64, 128, 16, 8), 0.1, group=4, distribution="erk")
    densities = [row.density for row in report.replaced]
    assert densities == sorted(densities) and densities[-1] > 5 * densities[0]
    assert sum(row.after for row in report.replaced) == pytest.approx(
        0.1 * (64 * 128 + 128 * 16 + 16 * 8), abs=4
    )


def test_a_trained_model_keeps_its_largest_weights():
    model = mlp(16, 24, 8)
    before = [module.weight.detach().clone() for module in model]
    sparsify(model, 0.25, group=1, connectivity="magnitude")
    for module, weight in zip(model, before, strict=True):
        kept = module.to_dense().detach()
        assert torch.equal(kept[kept != 0], weight[kept != 0])
        assert weight.abs()[kept == 0].max() <= kept[kept != 0].abs().min()


def test_what_cannot_become_sparse_is_named():
    class Own(nn.Linear):
        pass

    embedding = nn.Embedding(8, 8)
    tied = nn.Linear(8, 8)
    tied.weight = embedding.weight
    model = nn.ModuleDict(
        {
            "attention": nn.MultiheadAttention(8, 2),
            "lazy": nn.LazyLinear(8),
            "parametrized": nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)),
            "own": Own(8, 8),
            "pruned": prune.l1_unstructured(nn.Linear(8, 8), "weight", 3),
            "embedding": embedding,
            "tied": tied,
            "meta": nn.Linear(8, 8, device="meta"),
            "plain": nn.Linear(8, 8),
        }
    )
    report = sparsify(model, 0.5)
    assert [row.name for row in report.replaced] == ["plain"]
    why = {kept.name: kept.why for kept in report.kept}
    assert why == {
        "attention.out_proj": "nn.MultiheadAttention reads its weights directly",
        "lazy": "lazy: run a batch through the model first",
        "parametrized": "parametrized: its weights are computed from others",
        "own": f"a subclass of nn.Linear: {Own.__module__}.{Own.__qualname__}",
        "pruned": "its weights are computed from others (pruning, weight norm)",
        "tied": "tied weights: embedding.weight and tied.weight",
        "meta": "weights of float32 on meta",
    }
    model["attention"](*[torch.randn(3, 2, 8)] * 3)


def test_encoder_layers_of_torch_work_in_both_modes():
    """In evaluation `nn.TransformerEncoder` would read dense weights in its fast path."""
    torch.manual_seed(0)
    one = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    model = nn.TransformerEncoder(one, 2)
    report = sparsify(model, 0.5)
    assert [row.name for row in report.replaced] == [f"layers.{i}.linear{j}" for i in (0, 1) for j in (1, 2)]
    x, mask = torch.randn(3, 5, 8), torch.zeros(3, 5, dtype=torch.bool)
    mask[0, 3:] = True
    trained = model.train()(x, src_key_padding_mask=mask)
    with torch.no_grad():
        assert torch.allclose(model.eval()(x, src_key_padding_mask=mask), trained.detach(), atol=1e-6)


def test_flags_hooks_dtypes_and_places_are_kept():
    torch.manual_seed(0)
    shared = nn.Linear(8, 8, dtype=torch.float64)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    shared.weight.requires_grad_(False)
    model.eval()
    seen = []
    handle = shared.register_forward_hook(lambda module, given, out: seen.append(type(module)))
    report = sparsify(model, 0.5)
    assert model[0] is model[2] and isinstance(model[0], SparseLinear) and len(report.replaced) == 1
    assert not model[0].training and not model[0].weight.requires_grad and model[0].bias.requires_grad
    assert model(samples(2, 8)).dtype == torch.float64 and seen == [SparseLinear] * 2
    handle.remove()
    model(samples(2, 8))
    assert len(seen) == 2


def test_what_somebody_has_put_on_a_layer_stays():
    model = mlp(8, 8)
    layer = model[0]
    layer.weight.decay = layer.bias.decay = False
    layer.weight.main_grad, layer.weight.rate = torch.zeros(8, 8), torch.ones(())
    layer.scale = layer.groups = 2.0  # the latter is a name of convolutions alone
    layer.type = "first"  # the name of a method of all modules
    layer.forward = layer.forward  # as wrappers leave it behind that put it back
    layer.register_buffer("seen", torch.ones(1), persistent=False)
    layer.inside = nn.Linear(8, 8)
    report = sparsify(model, 0.5)
    assert [row.name for row in report.replaced] == ["0", "0.inside"]
    assert (model[0].weight.decay, model[0].bias.decay, model[0].scale) == (False, False, 2.0)
    assert (model[0].groups, model[0].type, model[0].weight.rate) == (2.0, "first", 1.0)
    assert isinstance(model[0].inside, SparseLinear)
    assert not hasattr(model[0].weight, "main_grad")  # of the matrix's shape
    assert torch.equal(model(torch.ones(2, 8)), SparseLinear.forward(model[0], torch.ones(2, 8)))
    assert "0.seen" in dict(model.named_buffers()) and "0.seen" not in model.state_dict()


@pytest.mark.parametrize(
    "register",
    [
        "register_forward_pre_hook",
        "register_forward_hook",
        "register_full_backward_pre_hook",
        "register_full_backward_hook",
        "register_state_dict_pre_hook",
        "register_load_state_dict_pre_hook",
        "register_load_state_dict_post_hook",
    ],
)
def test_hooks_of_modules_go_along(register):
    model, seen = mlp(8, 8), []
    handle = getattr(model[0], register)(lambda module, *given: seen.append(type(module)))
    sparsify(model, 0.5)
    for _ in range(2):  # the second time without
        model.load_state_dict(model.state_dict())
        model(torch.ones(2, 8, requires_grad=True)).sum().backward()
        assert seen == [SparseLinear]
        handle.remove()


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
@pytest.mark.parametrize("which", ["weight", "bias"])
def test_hooks_of_parameters_stay_behind_with_a_warning(register, which):
    model = mlp(8, 8)
    getattr(getattr(model[0], which), register)(lambda gradient: 1 / 0)
    with pytest.warns(UserWarning, match=f"hooks of 0.{which} do not go along"):
        sparsify(model, 0.5)
    model(torch.ones(2, 8)).sum().backward()


def test_optimizers_in_the_backward_pass_stay_behind_with_a_warning():
    """They hang on nodes of the graph; the attribute is what shows of them."""
    model = mlp(8, 8)
    model[0].weight._in_backward_optimizers = [torch.optim.SGD([model[0].weight], 0.1)]
    with pytest.warns(UserWarning, match="hooks of 0.weight do not go along"):
        sparsify(model, 0.5)
    assert not hasattr(model[0].weight, "_in_backward_optimizers")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"density": 0}, r"density must be a number in \(0, 1\]"),
        ({"density": {"0": 2}}, r"density\['0'\] must be a number"),
        ({"density": {"haed": 0.1}}, r"density must name linear layers or convolutions \(0, 1\), got 'haed'"),
        ({"skip": "haed"}, r"skip must name linear layers or convolutions \(0, 1\), got 'haed'"),
        ({"skip": [3]}, "skip must be names, types, modules or functions, got 3"),
        ({"group": 5}, "group must be one of"),
        ({"distribution": "er"}, "distribution must be one of 'uniform', 'erk'"),
        ({"distribution": "erk", "density": {"0": 0.1}}, "density must be a number with"),
        ({"connectivity": "magnitudes"}, "connectivity must"),
        ({"seed": -1}, "seed must be an integer"),
    ],
)
def test_wrong_arguments_change_nothing(given, words):
    model = mlp(8, 8, 8)
    with pytest.raises((TypeError, ValueError), match=words):
        sparsify(model, **given)
    assert all(type(module) is nn.Linear for module in model)


def test_what_is_no_model_of_layers_is_refused():
    with pytest.raises(ValueError, match="SparseLinear.from_linear"):
        sparsify(nn.Linear(3, 4))
    with pytest.raises(ValueError, match="that can become sparse, got none at all"):
        sparsify(nn.Sequential(nn.ReLU()))
    with pytest.raises(TypeError, match="model must be an nn.Module"):
        sparsify("model")
    sharded = type("FullyShardedDataParallel", (nn.Sequential,), {})(nn.Linear(3, 4))
    with pytest.raises(ValueError, match="0: in FullyShardedDataParallel, .*: sparsify first, then wrap"):
        sparsify(sharded)
    report = sparsify(nn.ModuleDict({"teacher": sharded, "student": nn.Linear(3, 4)}), 0.5)
    assert [row.name for row in report.replaced] == ["student"] and type(sharded[0]) is nn.Linear


def test_matrices_of_other_modules_are_in_the_report():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.ModuleList([nn.TransformerEncoder(layer, 2), nn.Embedding(5, 8), nn.LSTM(8, 4)])
    model[0].token, model.decoder = nn.Parameter(torch.ones(1, 1, 8)), model[1].weight  # no others
    report = sparsify(model, 0.5, skip="2")
    assert report.others[:2] == [
        (f"0.layers.{i}.self_attn.in_proj_weight", (24, 8), "of MultiheadAttention, which is no nn.Linear")
        for i in (0, 1)
    ]
    said = str(report).splitlines()
    assert said[-3:-1] == [
        "kept dense: 0.layers.0.self_attn.in_proj_weight and 1 more: of MultiheadAttention, which is no "
        "nn.Linear (384 weights)",
        "kept dense: 2.weight_ih_l0 and 1 more: of LSTM, which is no nn.Linear (192 weights)",
    ]
    with pytest.raises(ValueError, match=r"got weight_ih_l0 and 1 more: of LSTM, which is no nn.Linear"):
        sparsify(nn.LSTM(8, 4))


def hidden(name):
    return f"its own {name} would hide that of a sparse layer"


class Quantized(torch.Tensor):
    pass


COMPILED = "compiled by itself: call torch.compile after sparsify"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda layer: setattr(layer, "forward", nn.Linear(8, 8).forward), hidden("forward")),
        (lambda layer: setattr(layer, "reset_parameters", lambda: None), hidden("reset_parameters")),
        (lambda layer: layer.register_buffer("mask", torch.ones(8, 8)), hidden("mask")),
        (lambda layer: setattr(layer, "init", nn.Linear(2, 2)), hidden("init")),
        (lambda layer: setattr(layer, "density", 0.5), hidden("density")),
        (
            lambda layer: setattr(layer, "size", MethodType(lambda layer: layer.weight.shape, layer)),
            "its size is a method that is bound to it",
        ),
        (lambda layer: setattr(layer, "alias", layer.weight), "tied weights: 1.weight and 1.alias"),
        (lambda layer: setattr(layer, "alias", layer.bias), "tied bias: 1.bias and 1.alias"),
        (
            lambda layer: setattr(layer, "weight", nn.Parameter(torch.ones(8, 8).as_subclass(Quantized))),
            "weights in a Quantized, which is no plain tensor",
        ),
        (lambda layer: layer.compile(backend="eager"), COMPILED),
        (lambda layer: torch.compile(layer, backend="eager"), COMPILED),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_layers_that_would_not_be_the_same_stay_dense(change, why):
    layer = nn.Linear(8, 8)
    wrapper = change(layer)
    model = nn.Sequential(nn.Linear(8, 8), layer if wrapper is None else wrapper)
    before = {name: id(value) for name, value in vars(layer).items()}
    x = torch.ones(2, 8)
    y = model[1](x)
    report = sparsify(model, 0.5)
    assert [kept.why for kept in report.kept] == [why] and torch.equal(model[1](x), y)
    assert {name: id(value) for name, value in vars(layer).items()} == before


def test_a_model_that_was_compiled_runs_its_sparse_layers():
    model = mlp(8, 8)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    compiled(torch.ones(2, 8))
    sparsify(compiled, 0.5)
    assert torch.equal(compiled(torch.ones(2, 8)), model[0](torch.ones(2, 8)))


def test_a_layer_that_would_have_no_links_is_named():
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 1))
    with pytest.raises(
        ValueError, match=r"got 0.005, by which 1 \(1 x 64\) has none: give it 0.0156 \(one for"
    ):
        sparsify(model, 0.005)
    assert all(type(module) is nn.Linear for module in model)
    sparsify(model, {"1": 1 / 64, "*": 0.005})
    assert model[1].nnz == 1


def test_a_layer_whose_bias_is_pruned_stays_dense():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    prune.random_unstructured(model[0], "bias", 0.5)
    report = sparsify(model)
    assert [kept.why for kept in report.kept] == [
        "its weights are computed from others (pruning, weight norm)"
    ]
    assert model(torch.zeros(2, 8)).shape == (2, 8)


@pytest.mark.parametrize("name", ["0", "2"])
def test_a_layer_in_two_places_goes_by_both_names(name):
    def model():
        layer = nn.Linear(16, 16)
        return nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(16, 16))

    left = model()
    report = sparsify(left, 0.5, skip=name)
    assert (
        isinstance(left[0], nn.Linear) and left[2] is left[0] and [r.name for r in report.replaced] == ["3"]
    )
    made = model()
    report = sparsify(made, {name: 0.25})
    assert made[2] is made[0] and [(r.name, r.density) for r in report.replaced] == [("0", 0.25)]


def test_a_second_time_there_is_nothing_left():
    model = nn.Sequential(nn.Linear(16, 16))
    sparsify(model, 0.5)
    with pytest.raises(ValueError, match="got none at all .it has been made sparse already"):
        sparsify(model, 0.5)


class Conv1D(nn.Module):
    """As the package transformers has it for GPT-2."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight, self.bias = nn.Parameter(0.2 * torch.randn(nx, nf)), nn.Parameter(torch.randn(nf))

    def forward(self, x):
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(*x.shape[:-1], self.nf)


def transposed():
    torch.manual_seed(0)
    return nn.Sequential(Conv1D(48, 16), nn.GELU(), Conv1D(16, 48))


def test_conv1d_of_gpt2_is_a_linear_layer():
    model, x = transposed(), torch.randn(2, 3, 16)
    y = model(x)
    report = sparsify(model, {"0": 1.0, "2": 0.25}, connectivity="magnitude")
    assert [row[:2] for row in report.replaced] == [("0", (48, 16)), ("2", (16, 48))]
    assert not report.others and not report.kept
    torch.testing.assert_close(model[0](x), transposed()[0](x))
    assert (model[0].nf, model[0].nx) == (48, 16)
    dense = transposed()[2].weight.detach().T
    kept = model[2].to_dense().detach()
    assert torch.equal(kept[kept != 0], dense[kept != 0]) and not torch.equal(model(x), y)
    back, built = densify(model), transposed()
    assert [type(part) for part in back] == [Conv1D, nn.GELU, Conv1D]
    built.load_state_dict(back.state_dict())
    torch.testing.assert_close(built(x), model(x))
    with pytest.raises(RuntimeError, match="2.weight is that of a dense layer"):
        model.load_state_dict(transposed().state_dict())


def test_another_conv1d_is_left_alone():
    other = type("Conv1D", (Conv1D,), {"forward": lambda self, x: Conv1D.forward(self, x).relu()})
    model, x = nn.Sequential(other(8, 8), nn.Linear(8, 8)), torch.randn(3, 8)
    wanted = model[0](x)
    assert [row[0] for row in sparsify(model, 0.5).replaced] == ["1"]
    assert torch.equal(model[0](x), wanted)


def test_conv1d_keeps_its_attributes_on_the_way_back():
    model = transposed()
    model[0].tag = "first"
    sparsify(model, 0.5)
    assert densify(model)[0].tag == "first"


def test_conv1d_of_gpt2_rewires_and_says_why_it_stays():
    model = nn.ModuleDict({"row": transposed(), "skipped": Conv1D(8, 8), "pruned": Conv1D(8, 8)})
    prune.l1_unstructured(model["pruned"], "weight", 3)
    why = {kept.name: kept.why for kept in sparsify(model, 0.5, skip="skipped").kept}
    assert why == {
        "skipped": "skipped",
        "pruned": "its weights are computed from others (pruning, weight norm)",
    }
    optimizer = torch.optim.Adam(model["row"].parameters())
    rewirer = Rewirer(model["row"], optimizer, "set", every=1)
    model["row"](torch.randn(4, 16)).sum().backward()
    optimizer.step()
    assert set(rewirer.step().grown) == {"0", "2"}
