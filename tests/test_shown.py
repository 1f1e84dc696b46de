"""Layers print as the call that makes them: two that differ never look alike."""

import inspect

import pytest

import rewire as rw
from rewire.layers.base import KINDS

# Of each class: arguments that are not its defaults, in calls that name each of its parameters somewhere.
HOW_MANY = [{"epsilon": 3.0}, {"density": 0.5}, {"fan_in": 2}, {"links": 8}]
LINKS = {"init": rw.initializers.Normal(0.3), "connectivity": "small-world", "group": 4}
OTHERS = {
    "BatchNorm": [{"eps": 0.1, "momentum": 0.2}],
    "Concat": [{"layers": [rw.layers.Row([])], "n_in": 8}],
    "Dense": [
        {"n_in": 8, "n_out": 4, "activation": rw.LeakyReLU(0.3), "bias": False, "init": 0.5},
        {"n_in": 8, "n_out": 4, "bias_init": "fan-in"},
    ],
    "Dropout": [{"p": 0.25}],
    "FreeEnergy": [{"n_in": 8, "n_hidden": 4, **each} for each in [*HOW_MANY, LINKS]],
    "KWinners": [
        {"fraction": 0.3, "k_inference_factor": 2.0, "boost": 1.0, "boost_factor": 0.5},
        {"k": 3, "duty_cycle_period": 10, "two_sided": True, "n_in": 8},
    ],
    "LayerNorm": [{"eps": 0.1}],
    "Mix": [
        {"mix": "wht", "n_in": 8, "width": 16, "flip": True, "stages": 3, "skip": 1},
        {"mix": "permutation"},
    ],
    "PReLU": [{"start": "all-relu"}],
    "Residual": [{"layers": [rw.PReLU(0.5)], "n_in": 8}],
    "Row": [{"layers": [], "n_in": 8}],
    "SReLU": [{"start": "published", "slope": 0.3}],
    "Sparse": [
        *({"n_in": 8, "n_out": 4, **each} for each in HOW_MANY),
        {"n_in": 8, "n_out": 4, "activation": rw.ReLU(), "bias": False, **LINKS},
        {"n_in": 8, "n_out": 4, "bias_init": "fan-in"},
    ],
    "SwitchNet4": [
        {"n_in": 8, "width": 16, "depth": 2, "block": 2, "mix": "wht", "flip": False, "skip": True},
        {"mix": "hartley", "start": "identity", "dropout": 0.25},
    ],
    "Switches": [{"block": 2, "start": "identity", "n_in": 8}],
    "TwoSided": [{"n_in": 8}],
}  # fmt: skip
NAMES = {
    **vars(rw), **vars(rw.layers), **vars(rw.initializers), **vars(rw.connectivity), **vars(rw.activations),
}  # fmt: skip


def given(kind):
    """Parameters of a class's constructor."""
    return set(inspect.signature(kind).parameters)


def own():
    """The classes that come with the package: other tests register theirs."""
    return [kind for kind in KINDS.classes() if kind.__module__.startswith("rewire.")]


def test_all_layers_and_all_of_their_arguments_are_here():
    assert {kind.__name__ for kind in own()} == set(OTHERS)
    for kind in own():
        assert {name for call in OTHERS[kind.__name__] for name in call} == given(kind), kind


@pytest.mark.parametrize("name", OTHERS)
def test_a_layer_prints_as_the_call_that_makes_it(name):
    kind = KINDS.named(name)
    for call in OTHERS[name]:
        layer = kind(**call)
        if name in ("Concat", "Residual", "Row"):  # layers that stand in one cannot stand in another
            assert all(repr(inner) in repr(layer) for inner in layer.layers)
        twin = eval(repr(layer), NAMES)
        assert type(twin) is kind and twin.config() == layer.config() and repr(twin) == repr(layer)
        plain = {
            key: value for key, value in call.items() if key in ("n_in", "n_out", "n_hidden", "layers", "p")
        }
        for argument in call.keys() - plain.keys():  # alone: none hides behind another one
            if (argument, call[argument]) == ("mix", "wht"):  # the default
                continue
            assert repr(kind(**plain, **{argument: call[argument]})) != repr(kind(**plain)), argument


def test_what_is_the_default_is_not_said():
    assert repr(rw.Sparse(8, 4)) == "Sparse(8, 4)"
    assert repr(rw.Sparse(8, 4, epsilon=20)) == "Sparse(8, 4, epsilon=20.0)"
    assert [repr(layer) for layer in (rw.KWinners(), rw.Mix(), rw.SReLU(), rw.TwoSided())] == [
        "KWinners(0.1)", "Mix('wht')", "SReLU('all-relu')", "TwoSided()",
    ]  # fmt: skip


def test_a_class_that_cannot_be_described_has_its_name():
    class Mine(rw.layers.ArrayLayer):
        def __init__(self, secret):
            self.hidden = secret

        def forward_array(self, x):
            return x

    assert repr(Mine(3)) == "Mine"
