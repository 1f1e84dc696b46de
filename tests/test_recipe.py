"""A recipe builds what its options say, as ``rewire train`` does, and refuses what would do nothing."""

import argparse
from dataclasses import replace

import numpy as np
import pytest

import rewire as rw
from rewire import recipe
from rewire.cli.options import model_options
from rewire.datasets import Dataset
from rewire.layers import base as layers
from rewire.recipe import Recipe, beside, dotted
from small import T, X, Y

CLASSES = Dataset("small", X, Y, None, None, (0, 1, 2), (8,), "here")
NUMBERS = Dataset("numbers", X, T, None, None, None, (8,), "here")
SMALL = {"hidden": [30, 20], "density": 0.3}
LABELS = Dataset("labels", X, np.stack([Y == 0, Y == 1], 1), None, None, None, (8,), "here")


def made(options, data=CLASSES, **more):
    return Recipe({**SMALL, **options}).trainer(data, seed=0, **more)


@pytest.mark.parametrize(
    "options, check",
    [
        ({"group": 1}, lambda t: t.network.nnz == round(0.3 * (8 * 30 + 30 * 20 + 20 * 3))),
        ({}, lambda t: t.optimizer.config()
         == rw.SGD(0.1, momentum=0.9, schedule=rw.Cosine(20), clip_norm=5.0).config()),
        ({"epochs": 4}, lambda t: t.optimizer.schedule == rw.Cosine(length=4)),
        ({"schedule": "step", "epochs": 6}, lambda t: t.optimizer.schedule == rw.Step(every=2)),
        ({"warmup": 3}, lambda t: t.optimizer.schedule == rw.Cosine(length=17, warmup=3)),
        ({"warmup": 3, "warmup_to": 4, "epochs": 6, "schedule": "step"},
         lambda t: t.optimizer.schedule
         == rw.Warmup(4, 3 * -(-len(CLASSES.y) // 16), unit="step", decay=rw.Step(every=2))),
        ({"warmup": 3, "warmup_to": 4, "schedule": "constant", "batch_size": 20},
         lambda t: t.optimizer.schedule == rw.Warmup(4, 3 * -(-len(CLASSES.y) // 20), unit="step")),
        ({"schedule": "constant"}, lambda t: t.optimizer.schedule == rw.Constant()),
        ({"schedule": rw.Cosine(7)}, lambda t: t.optimizer.schedule == rw.Cosine(7)),
        ({"schedule": {"name": "cosine", "length": 3}}, lambda t: t.optimizer.schedule == rw.Cosine(3)),
        ({"schedule": "cosine", "schedule.floor": 0.1, "epochs": 4},
         lambda t: t.optimizer.schedule == rw.Cosine(4, floor=0.1)),
        ({"schedule": {"name": "step", "gamma": 0.5}, "epochs": 6},
         lambda t: t.optimizer.schedule == rw.Step(2, gamma=0.5)),
        ({"optimizer.momentum": 0.5}, lambda t: (t.optimizer.lr, t.optimizer.momentum) == (0.1, 0.5)),
        ({"optimizer": {"name": "sgd", "lr": 0.2}},
         lambda t: t.optimizer.config() == rw.SGD(0.2, schedule=rw.Cosine(20)).config()),
        ({"optimizer": "adam", "betas": [0.5, 0.9]}, lambda t: t.optimizer.betas == (0.5, 0.9)),
        ({"optimizer": rw.AdamW(0.1)}, lambda t: t.optimizer.config() == rw.AdamW(0.1).config()),
        ({"activation": "leaky-relu", "slope": 0.2}, lambda t: t.network.layers[0].activation.slope == 0.2),
        ({"activation.slope": 0.3}, lambda t: t.network.layers[0].activation == rw.AllReLU(0.3)),
        ({"activation": rw.AllReLU(0.1)}, lambda t: t.network.layers[0].activation == rw.AllReLU(0.1)),
        ({"rewiring": "rigl", "rewiring__every": 7}, lambda t: t.rewiring.every == rw.Steps(7)),
        ({"rewiring": rw.SET(0.1)}, lambda t: t.rewiring.config() == rw.SET(0.1).config()),
        ({"rewiring": {"name": "set", "fraction": 0.2}}, lambda t: t.rewiring.fraction == 0.2),
        ({"preset": "set-2018"}, lambda t: t.rewiring.last_epoch == "remove"),
        ({"dense": True, "density": None}, lambda t: t.network.density == 1 and t.rewiring.name == "static"),
        ({"group": 8}, lambda t: t.network.layers[0].group == 8),
        ({}, lambda t: t.network.layers[0].group == 4 and abs(t.network.nnz - 270) <= 6),
        ({"init": "xavier"}, lambda t: t.network.layers[0].init.name == "xavier"),
        ({"connectivity": "small-world", "connectivity.beta": 0.5}, lambda t: t.network.nnz > 0),
        ({"connectivity": "correlated"}, lambda t: t.network.nnz > 0),
        ({"dtype": "float64"}, lambda t: t.network.dtype == "float64"),
        ({"standardize": False}, lambda t: not t.standardize),
        ({"links": 100, "density": None, "distribution": "uniform", "group": 1},
         lambda t: t.network.nnz == 100),
        ({"callbacks": [rw.LinkLog()]}, lambda t: isinstance(t.callbacks[0], rw.LinkLog)),
        ({"average": "swa"}, lambda t: (t.callbacks[0].decay, t.callbacks[0].begin) == (None, 0.75)),
        ({"average": "ema", "average.decay": 0.9}, lambda t: t.callbacks[0].decay == 0.9),
        ({}, lambda t: (t.rewiring.decay, t.rewiring.end, t.callbacks) == ("cosine", 0.75, [])),
        ({"hidden": 25}, lambda t: [layer.n_out for layer in t.network.weight_layers] == [25, 3]),
    ],
    ids=lambda value: str(value)[:50] if isinstance(value, dict) else "",
)  # fmt: skip
def test_options_arrive(options, check):
    assert check(made(options))


def test_losses_have_their_outputs():
    assert made({}).network.final.name == "softmax"
    assert made({}, NUMBERS).network.final.name == "linear"
    yes = Dataset("yes", X, (T > 0).astype(float), None, None, None, (8,), "here")
    assert made({"loss": "binary_cross_entropy"}, yes).network.final.name == "sigmoid"
    assert made({"loss": "mse", "output": "tanh"}, NUMBERS).network.final.name == "tanh"


@pytest.mark.parametrize(
    "options, dropout, standardized",
    [
        ({}, [], True),
        ({"loss": "huber"}, [], True),
        ({"loss": "poisson"}, [], False),
        ({"output": "sigmoid"}, [], False),
        ({"standardize_targets": False}, [], False),
        ({"dropout": 0.1}, [0.1, 0.1], True),
        ({"preset": "tsnn-2021"}, [0.3, 0.3], True),
    ],
)
def test_numbers_have_no_dropout_and_units_of_their_own(options, dropout, standardized):
    counts = Dataset("counts", X, np.abs(T), None, None, None, (8,), "here")
    t = made(options, counts)
    assert [layer.p for layer in t.network.layers if isinstance(layer, rw.Dropout)] == dropout
    assert t.standardize_targets is standardized


def test_first_weights_go_by_what_is_predicted():
    counts = Dataset("counts", X, np.abs(T), None, None, None, (8,), "here")
    he, within, both = rw.He(), rw.initializers.initializer("fan-in"), rw.Xavier()
    for options, data, init in [
        ({}, NUMBERS, within),
        ({"loss": "poisson"}, counts, within),
        ({"dense": True, "density": None}, NUMBERS, within),
        ({"activation": "relu"}, NUMBERS, within),
        ({"hidden": []}, NUMBERS, within),
        ({"activation": "sigmoid"}, NUMBERS, he),
        ({"activation": "thresholded-relu"}, NUMBERS, he),
        ({"init": "he"}, NUMBERS, he),
        ({"init": "he", "init.gain": 1.0}, NUMBERS, rw.He(gain=1.0)),
        ({"preset": "set-2018"}, NUMBERS, rw.Normal(0.1)),
        ({}, CLASSES, both),
        ({"activation": "relu", "hidden": [9] * 3}, CLASSES, both),
        ({"activation": "relu", "hidden": [9] * 6}, CLASSES, rw.Xavier(gain=2.0**0.25)),
        ({"loss": "squared_hinge"}, CLASSES, both),
        ({"activation": "tanh"}, CLASSES, he),
        ({"init": "he"}, CLASSES, he),
        ({"preset": "set-2018"}, CLASSES, rw.Normal(0.1)),
    ]:
        assert {layer.init for layer in made(options, data).network.weight_layers} == {init}


def plane():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(512, 10))
    return Dataset("plane", rows, rows @ rng.normal(size=10), None, None, None, (10,), "here")


@pytest.mark.parametrize("seed", range(3))
def test_the_first_steps_on_numbers_are_less_violent(seed):
    """He's scale begins far outside of targets of deviation 1."""
    data = plane()
    by_default, he = (
        Recipe({"hidden": [300, 300], **options})
        .trainer(data, seed=seed, threads=1)
        .fit(data.X, data.y, epochs=1, batch_size=64, verbose=0)
        for options in ({}, {"init": "he"})
    )
    assert by_default["loss"][0] < 2.0 < 5.0 < he["loss"][0]


@pytest.mark.parametrize(
    "options", [{"hidden": [60] * 12}, {"hidden": [60] * 12, "activation": "relu"}, {"activation": "sigmoid"}]
)
def test_first_weights_of_numbers_leave_a_signal(options):
    """What is too small to be told from nothing stays so: outputs are constant, and R2 is 0 for ever."""
    data, recipe = plane(), Recipe({"hidden": [60] * 3, **options})
    trainer = recipe.trainer(data, seed=0, threads=1)
    trainer.fit(data.X, data.y, epochs=10, batch_size=32, verbose=0)
    assert trainer.evaluate(data.X, data.y)["r2"] > 0.3


def sides_of_a_plane():
    data = plane()
    return replace(data, y=(data.y > 0.0).astype(np.int64), classes=(0, 1))


@pytest.mark.parametrize("seed", range(3))
def test_the_first_steps_on_classes_are_less_violent(seed):
    """Behind ten features of He's scale: a network that knows nothing has a loss of log 2."""
    data = sides_of_a_plane()
    by_default, he = (
        Recipe({"hidden": [1000, 1000, 1000], **options})
        .trainer(data, seed=seed, threads=1)
        .fit(data.X, data.y, epochs=1, batch_size=128, verbose=0)
        for options in ({}, {"init": "he"})
    )
    assert by_default["loss"][0] < 1.0 < 2.0 < he["loss"][0]


@pytest.mark.parametrize("depth, kind", [(12, "all-relu"), (12, "relu")])
def test_first_weights_of_classes_leave_a_signal(depth, kind):
    data, recipe = sides_of_a_plane(), Recipe({"hidden": [60] * depth, "activation": kind})
    trainer = recipe.trainer(data, seed=0, threads=1)
    trainer.fit(data.X, data.y, epochs=10, batch_size=32, verbose=0)
    assert trainer.evaluate(data.X, data.y)["accuracy"] > 0.85


def test_balanced_classes_are_counted():
    rare = replace(CLASSES, y=np.repeat([0, 1, 2], [len(Y) - 30, 20, 10]))
    loss = Recipe({"loss.class_weight": "balanced"}).loss(rare)
    np.testing.assert_allclose(np.bincount(rare.y) * loss.class_weight, len(Y) / 3)
    for options, data, kind, words in [
        ({}, rare, TypeError, "must be a list of numbers, .* or 'balanced', got 'balance'"),
        ({}, LABELS, ValueError, r"='balanced' counts classes, .* has 2 labels: .* y.argmax\(axis=1\)"),
        ({"loss": "cross_entropy"}, LABELS, ValueError, "='balanced' counts classes"),
        ({"loss": "squared_hinge"}, rare, ValueError, "of the loss 'cross_entropy', got 'squared_hinge'"),
    ]:
        given = "balance" if kind is TypeError else "balanced"
        with pytest.raises(kind, match=f"^class_weight.*{words}"):
            Recipe({**options, "loss.class_weight": given}).loss(data)


def test_classes_have_dropout():
    t = made({})
    assert [layer.p for layer in t.network.layers if isinstance(layer, rw.Dropout)] == [0.2, 0.2]
    assert not t.standardize_targets


@pytest.mark.parametrize(
    "samples, batch",
    [(1, 16), (959, 16), (960, 32), (1919, 32), (1920, 64), (3839, 64), (3840, 128), (60_000, 128)],
)
def test_few_samples_of_classes_come_in_smaller_batches(samples, batch):
    def size(options, data=CLASSES):
        return Recipe(options).fit_options(data, samples)["batch_size"]

    assert size({}) == size({"loss": "squared_hinge"}) == batch
    assert size({"batch_size": 100}) == 100
    assert size({"hidden": [9] * 3}) == size({"density": 0.5, "dense": False}) == batch


@pytest.mark.parametrize("loss, both", [({}, True), ({"loss": "mse"}, False), ({"loss": "huber"}, False)])
def test_labels_have_the_defaults_of_classes_unless_they_are_numbers(loss, both):
    batch = Recipe(loss).fit_options(LABELS, 100)["batch_size"]
    inits = {layer.init for layer in made(loss, LABELS).network.weight_layers}
    within = rw.initializers.initializer("fan-in")
    assert (batch, inits) == ((16, {rw.Xavier()}) if both else (128, {within}))


@pytest.mark.parametrize(
    "options, data",
    [
        ({}, NUMBERS),
        ({"preset": "set-2018"}, CLASSES),
        ({"activation": "gelu"}, CLASSES),
        ({"init": "he"}, CLASSES),
        ({"init": "xavier"}, CLASSES),
        ({"layers": [{"type": "Dense"}]}, CLASSES),
        ({"hidden": [9] * 4}, CLASSES),
    ],
)
def test_what_was_not_studied_keeps_its_batches(options, data):
    assert Recipe(options).fit_options(data, 100)["batch_size"] == 128


def test_a_batch_that_is_given_leaves_the_weights():
    assert {layer.init for layer in made({"batch_size": 100}).network.weight_layers} == {rw.Xavier()}


def test_objects_are_not_shared():
    rule, optimizer = rw.SET(0.1), rw.SGD(0.1)
    one, two = (made({"rewiring": rule, "optimizer": optimizer}) for _ in range(2))
    assert len({id(rule), id(one.rewiring), id(two.rewiring)}) == 3
    assert len({id(optimizer), id(one.optimizer), id(two.optimizer)}) == 3


def test_layers_are_described():
    described = [
        {"type": "Sparse", "n_out": 30, "density": 0.5, "activation": "relu"},
        {"type": "Dropout", "p": 0.1},
        {"type": "Residual", "layers": [{"type": "Sparse", "n_out": 30, "links": 50}]},
        {
            "type": "Concat",
            "layers": [[{"type": "Sparse", "n_out": 4, "fan_in": 2}], {"type": "Row", "layers": []}],
        },
        rw.Dropout(0.2),
        {"type": "Dense"},
    ]
    network = Recipe({"layers": described}).trainer(CLASSES, seed=0).network
    assert [layer.n_out for layer in network.layers] == [30, 30, 30, 34, 34, 3]
    assert (network.final.name, network.layers[2].layers[0].nnz) == ("softmax", 50)
    given = {"layers": lambda n_in, n_out: [rw.Sparse(n_in, n_out, links=9, activation="softmax")]}
    assert Recipe(given).trainer(CLASSES, seed=0).network.nnz == 9


def test_what_is_registered_can_be_named(monkeypatch):
    for kinds in (layers.KINDS, rw.rewiring.base.KINDS, rw.optim.KINDS):
        monkeypatch.setattr(kinds, "_makers", dict(kinds._makers))

    @layers.register_layer
    class Doubled(rw.layers.ArrayLayer, rw.layers.Elementwise):
        def outputs(self, x, p):
            return 2 * x

        def gradients(self, dy, p):
            return 2 * dy, {}

    @rw.optim.register_optimizer
    class Plain(rw.Optimizer):
        name = "plain"

        def __init__(self, lr=0.1, boost=1.0, weight_decay=0.0, clip_norm=None, schedule=None):
            self.boost = boost
            super().__init__(lr, weight_decay, clip_norm=clip_norm, schedule=schedule)

        def step(self, values, gradient, fields, *, rate, decay, count):
            values -= self.boost * rate * gradient

    trainer = Recipe(
        {
            "layers": [{"type": "Sparse", "n_out": 9, "links": 40}, {"type": "Doubled"}, {"type": "Sparse"}],
            "optimizer": "plain", "boost": 2.0,
        }
    ).trainer(CLASSES, seed=0)  # fmt: skip
    assert isinstance(trainer.network.layers[1], Doubled) and trainer.optimizer.boost == 2.0
    before = trainer.evaluate(X, Y)["loss"]
    trainer.fit(X, Y, epochs=3, verbose=0)
    assert trainer.evaluate(X, Y)["loss"] < before


@pytest.mark.parametrize(
    "options, words",
    [
        ({"densty": 0.1}, "a network takes no argument 'densty': did you mean 'density'"),
        ({"density.x": 0.1}, "density.x must be an option of one of activation"),
        ({"rewiring.fraction": 1, "rewiring__fraction": 1}, "rewiring.fraction is given twice"),
        ({"epsilon": 3}, "give one of links, density, epsilon, got density=0.3 and epsilon=3"),
        ({"density": None, "distribution": "uniform"}, "distribution does nothing without density or links"),
        ({"dense": True}, "density does nothing with dense"),
        ({"dense": True, "density": None, "rewiring": "set"}, "rewiring does nothing with dense"),
        ({"dense": True, "density": None, "dtype": "bfloat16"}, "dtype='bfloat16' does nothing with dense"),
        ({"rewiring": "static", "rewiring.fraction": 0.1}, "rewiring.fraction does nothing without rewiring"),
        ({"rewiring": rw.SET(), "rewiring.fraction": 0.1}, "rewiring.fraction is an option of the object"),
        ({"rewiring": "set", "rewiring.zeta": 0.1}, "rewiring 'set' takes fraction, .*, got 'zeta'"),
        ({"rewiring.name": "set"}, "rewiring.name is rewiring itself"),
        ({"connectivity.beta": 0.1}, "connectivity.beta does nothing without connectivity"),
        ({"init.gain": 5.0}, "init.gain does nothing without init"),
        ({"optimizer": "adam", "momentum": 0.5}, "optimizer 'adam' takes lr, .*, got 'momentum'"),
        ({"optimizer": rw.SGD(), "lr": 0.5}, "lr is an option of the object that optimizer is"),
        ({"activation": "sigmoid", "slope": 1}, "activation 'sigmoid' takes no options, got 'slope'"),
        ({"layers": [{"type": "Sparse"}]}, "hidden does nothing beside layers"),
        (
            {"layers": [{"type": "Sparse"}], "hidden": None, "density": None, "activation.k": 3},
            "activation.k does nothing beside layers",
        ),
        ({"warmup": 20}, "warmup must be less than the 20 epochs of the run"),
        ({"warmup_to": 2.0}, "warmup_to needs warmup, the epochs over which"),
        ({"warmup": 20, "warmup_to": 2}, "warmup must be less than the 20 epochs of the run"),
        ({"warmup": 2, "warmup_to": 0.5}, "warmup_to must be a number >= 1, got 0.5"),
        ({"warmup": 1, "schedule": "step"}, "warmup belongs to the cosine schedule, not to 'step'"),
        ({"hidden": "30"}, "hidden must be a list of integers"),
        ({"hidden": [30, 0]}, r"hidden\[1\] must be an integer >= 1, got 0"),
        ({"dense": "yes"}, "dense must be True or False"),
        ({"callbacks": "x"}, "callbacks must be a list"),
        ({"loss": "hinges"}, "loss must be one of"),
        ({"preset": "none"}, "preset must be one of"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        made(options)


@pytest.mark.parametrize(
    "described, words",
    [
        ([{"typ": "Sparse"}], r"layers\[0\]: type must be one of .*'Sparse'"),
        ([{"type": "Sparse"}, {"type": "Sparse"}], r"layers\[0\], a Sparse, must say its n_out"),
        ([{"type": "Sparse", "dens": 1}], r"layers\[0\], a Sparse, takes no argument 'dens': did you mean"),
        (["Sparse"], r"layers\[0\] must be a dict with a type, or a Layer, got 'Sparse'"),
        ("Sparse", "layers must be a list of descriptions"),
    ],
)
def test_wrong_layers_are_named(described, words):
    with pytest.raises((TypeError, ValueError), match=words):
        Recipe({"layers": described}).trainer(CLASSES, seed=0)


def test_common_options_stay_where_they_mean_something():
    common = dotted({"density": 0.1, "group": 4, "rewiring": "set", "rewiring.fraction": 0.2, "lr": 0.1,
                     "momentum": 0.5, "hidden": [30], "slope": 0.3})  # fmt: skip
    assert beside(common, {}) == common
    assert beside(common, {"dense": True}) == {
        "lr": 0.1, "momentum": 0.5, "hidden": [30], "slope": 0.3, "dense": True
    }  # fmt: skip
    assert "density" not in beside(common, {"epsilon": 3})
    assert "rewiring.fraction" not in beside(common, {"rewiring": "static"})
    assert beside(common, {"rewiring": "rigl"})["rewiring.fraction"] == 0.2
    adam = beside(common, {"optimizer": "adam"})
    assert adam["lr"] == 0.1 and "momentum" not in adam
    assert "lr" not in beside(common, {"optimizer": rw.Adam()})
    assert not {"hidden", "density", "slope"} & {*beside(common, {"layers": []})}
    assert "slope" not in beside(common, {"activation": "relu"})
    assert "layers" not in beside({"layers": []}, {"hidden": [3]})
    for own in ({"dense": True}, {"rewiring": "static"}, {"optimizer": "adam"}):
        Recipe(beside(common, own)).trainer(CLASSES, seed=0)


def test_every_option_of_the_command_line_is_known():
    """What is added to ``rewire train`` is understood here, so that ``rewire compare`` knows it."""
    parser = argparse.ArgumentParser(add_help=False)
    model_options(parser)
    names = {action.dest.removesuffix("_opt") for action in parser._actions}
    assert names <= {*recipe.option_names()} and len(names) > 20


def test_correlated_connectivity_sees_the_data():
    rng = np.random.default_rng(0)
    twins = np.repeat(rng.normal(size=(90, 4)), 2, axis=1)
    data = Dataset("twins", twins, Y, None, None, (0, 1, 2), (8,), "here")
    nets = [made({"connectivity": "correlated"}, one).network for one in (CLASSES, data)]
    assert (
        nets[0].layers[0].store.to_csr().indices.tolist() != nets[1].layers[0].store.to_csr().indices.tolist()
    )
