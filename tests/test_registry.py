"""Names, objects and descriptions: nine kinds of things, one way to say which is meant."""

import pickle

import pytest

import rewire as rw
from rewire._registry import Registry
from rewire.callbacks import Callback, callback_from_config, register_callback
from rewire.layers import base, layer_from_config, register_layer
from rewire.optim import register_optimizer
from rewire.rewiring import Rule, register_rule, rewiring_class, rewiring_names

BUILDERS = {
    "activation": (rw.activations.activation, "all_relu", rw.AllReLU),
    "optimizer": (rw.optim.optimizer, "AdamW", rw.AdamW),
    "loss": (rw.losses.loss, "binary-cross-entropy", rw.BinaryCrossEntropy),
    "init": (rw.initializers.initializer, "Xavier", rw.Xavier),
    "connectivity": (rw.connectivity.connectivity, "small_world", rw.connectivity.SmallWorld),
    "rewiring": (rw.rewiring.rewiring, "RigL", rw.RigL),
}


@pytest.mark.parametrize("what", BUILDERS)
def test_an_object_a_name_or_a_description(what):
    build, word, cls = BUILDERS[what]
    thing = build(word)
    assert type(thing) is cls
    assert build(thing) is thing
    assert type(build({"name": cls.name})) is cls


@pytest.mark.parametrize("what", BUILDERS)
def test_what_is_none_of_them(what):
    build, _, cls = BUILDERS[what]
    with pytest.raises(ValueError, match=f"^{what} must be one of .*'{cls.name}'.*, got 'nonesuch'"):
        build("nonesuch")
    with pytest.raises(TypeError, match=f"^{what} must be one of .*'{cls.name}'.*, a dict.*, got \\["):
        build([cls.name])
    with pytest.raises(ValueError, match=f'^{what} must have a "name" where it is a dict'):
        build({})
    with pytest.raises(TypeError, match=f"^{what} '{cls.name}' takes .*, got 'nonesuch'"):
        build({"name": cls.name, "nonesuch": 1})


def test_words_that_stand_for_options():
    assert rw.initializers.initializer("he_uniform") == rw.He("uniform")
    assert rw.initializers.initializer("zeros") == rw.Zeros()
    assert rw.initializers.initializer(0.5) == rw.Fixed(0.5)
    assert rw.activations.activation("logistic") == rw.Sigmoid()
    assert isinstance(rw.rewiring.rewiring(lambda links: None), rw.rewiring.Custom)
    assert isinstance(rw.rewiring.rewiring(None), rw.Static)


def test_a_schedule_by_name_alone_would_have_a_length_that_nobody_chose():
    assert rw.schedules.schedule({"name": "cosine", "length": 7}) == rw.Cosine(7)
    assert rw.SGD(schedule="constant").schedule == rw.Constant()
    step = {"name": "step", "gamma": 0.5}
    for given, length in (("cosine", "length"), ("warmup", "length"), (step, "every")):
        with pytest.raises(ValueError, match=f"must say its {length}, the epochs .* give rewire.[A-Z]"):
            rw.SGD(schedule=given)
    known = "'constant', 'step', 'cosine', 'warmup'"
    with pytest.raises(ValueError, match=f"schedule must be one of {known}, got 'x'"):
        rw.schedules.schedule({"name": "x"})


def test_names_of_rules():
    assert rewiring_names() == sorted(rewiring_names())
    assert all(rewiring_class(name).name == name for name in rewiring_names())
    with pytest.raises(ValueError, match="rewiring must be one of .* got 'nonesuch'"):
        rewiring_class("nonesuch")


def test_classes_in_files_go_by_their_exact_names():
    with pytest.raises(ValueError, match="layer type must be one of .*'Sparse'.*got 'sparse'"):
        layer_from_config({"type": "sparse"})
    with pytest.raises(ValueError, match="callback must be one of .*, got 'checkpoint'; callbacks= takes"):
        callback_from_config({"name": "checkpoint"})
    with pytest.raises(TypeError, match="callback must be one of .*, got None"):
        callback_from_config({})


@pytest.mark.parametrize(
    ("cls", "error", "words"),
    [
        (3, TypeError, "cls must be a subclass of Rule, got 3"),
        (rw.SET(), TypeError, "cls must be a subclass of Rule, got SET"),
        (int, TypeError, "cls must be a subclass of Rule, got <class 'int'>"),
        (type("Mine", (Rule,), {}), ValueError, "cls.name must be a word such as 'my-rule', got ''"),
        (type("Mine", (Rule,), {"name": "my rule"}), ValueError, "cls.name .* got 'my rule'"),
        (type("Mine", (Rule,), {"name": "-"}), ValueError, "cls.name .* got '-'"),
        (type("Mine", (Rule,), {"name": 3}), TypeError, "cls.name must be a string, got 3"),
    ],
)
def test_what_is_registered_is_a_class_with_a_word_for_a_name(cls, error, words):
    before = rewiring_names()
    with pytest.raises(error, match=words):
        register_rule(cls)
    assert rewiring_names() == before


@pytest.mark.parametrize(
    ("register", "cls", "there"),
    [
        (register_rule, type("Mine", (rw.SET,), {}), "SET of rewire.rewiring.set"),
        (register_layer, type("Dropout", (rw.Dropout,), {}), "Dropout of rewire.layers.dropout"),
        (register_optimizer, type("Mine", (rw.Adam,), {}), "Adam of rewire.optim"),
        (register_callback, type("LinkLog", (Callback,), {}), "LinkLog of rewire.callbacks.link_log"),
    ],
)
def test_nobody_takes_the_name_of_another(register, cls, there):
    with pytest.raises(ValueError, match=f"cls must have another name: there is {there}"):
        register(cls)


def subclass(cls):
    """One that has its base's name."""
    return type("Mine", (cls,), {"__module__": __name__})


# What is made with a class of each kind, and the class.
PARTS = {
    "activation": (lambda cls: saved(layers=[rw.Sparse(6, 4, activation=cls())]), rw.LeakyReLU),
    "init": (lambda cls: saved(layers=[rw.Sparse(6, 4, init=cls())]), rw.He),
    "dense init": (lambda cls: saved(layers=[rw.Dense(6, 4, init=cls())]), rw.Zeros),
    "layer": (lambda cls: saved(layers=[rw.Sparse(6, 4), cls(0.5)]), rw.Dropout),
    "sparse layer": (lambda cls: saved(layers=[cls(6, 4)]), rw.Sparse),
    "optimizer": (lambda cls: saved(optimizer=cls()), rw.Adam),
    "schedule": (lambda cls: saved(optimizer=rw.SGD(schedule=cls(7))), rw.Cosine),
    "loss": (lambda cls: saved(loss=cls()), rw.MSE),
    "rewiring": (lambda cls: saved(rewiring=cls()), rw.SET),
    "a rule's init": (lambda cls: saved(rewiring=rw.SET(init=cls())), rw.He),
}


def saved(*, layers=None, **parts):
    net = rw.Sequential([*(layers or [rw.Sparse(6, 4)]), rw.Sparse(4, 2)])
    return net if layers else rw.Trainer(net, **{"loss": "mse", **parts})


@pytest.mark.parametrize("part", PARTS)
def test_a_file_brings_back_the_class_that_was_saved_or_none_is_written(part, tmp_path):
    make, cls = PARTS[part]
    make(cls).save(tmp_path / "a")
    pickle.loads(pickle.dumps(make(cls)))
    mine = make(subclass(cls))
    for save in (lambda: mine.save(tmp_path / "b"), lambda: pickle.dumps(mine)):
        with pytest.raises(NotImplementedError, match="Mine cannot be saved: by the name '.*' a file brings"):
            save()
    assert not (tmp_path / "b").exists()


def test_nobody_takes_its_base_s_name_within_a_module():
    registry = Registry("thing", rw.Callback, "a thing", by_class=False)
    first = registry.register(type("First", (rw.Callback,), {"name": "a"}))
    assert registry.register(type("First", (rw.Callback,), {"name": "a"})) is not first  # a cell run again
    with pytest.raises(ValueError, match="cls must have another name: there is First"):
        registry.register(type("Second", (first,), {}))


def test_a_registered_layer_whose_config_says_its_base_s_type(monkeypatch, tmp_path):
    monkeypatch.setattr(base.KINDS, "_makers", dict(base.KINDS._makers))
    mine = register_layer(type("MineToo", (rw.Sparse,), {}))
    with pytest.raises(NotImplementedError, match="MineToo cannot be saved: by the name 'Sparse'"):
        rw.Sequential([mine(6, 4)]).save(tmp_path / "a")
    config = rw.Sparse.config
    mine.config = lambda self: {**config(self), "type": "MineToo"}
    rw.Sequential([mine(6, 4)]).save(tmp_path / "a")
    assert type(rw.load(tmp_path / "a").layers[0]) is mine
