"""What is wrong with layers, fields and vectors from outside is refused by name, not computed with."""

import copy
import pickle
import re
import threading

import numpy as np
import pytest

import rewire as rw
from outside import registered
from outside.two_stores import TwoStores
from rewire.layers import ArrayLayer, Concat, Elementwise, Layer, Residual, Row, register_layer
from rewire.parameters import Buffer, DenseParameter, Field, SparseParameter
from small import X, Y

WIDTH = 6


def trainer(*layers, **options):
    """Outputs of these layers, which have WIDTH inputs and outputs, between two sparse ones."""
    ends = [rw.Sparse(8, WIDTH, density=0.5), rw.Sparse(WIDTH, 3, density=0.5, activation="softmax")]
    net = rw.Sequential([ends[0], *layers, ends[1]], seed=0)
    return rw.Trainer(net, loss="cross_entropy", **{"optimizer": rw.SGD(0.05, momentum=0.9), **options})


class Odd(Layer):
    """Gives what it is told to, as tiles."""

    def __init__(self, forward=None, backward=None):
        self.gives, self.gives_back = forward, backward

    def forward(self, x, p):
        return x if self.gives is None else self.gives(self, x, p)

    def backward(self, dy, x, p, need_dx):
        return dy if self.gives_back is None else self.gives_back(self, dy, p)


def narrow(layer, tiles, p):
    return p.tiles((layer.index, "one"), 1)


def array(layer, tiles, p):
    return p.numbers(tiles)


@pytest.mark.parametrize("within", [lambda a: a, lambda a: Residual([a]), lambda a: Concat([[a]])])
@pytest.mark.parametrize("method", ["forward", "backward"])
def test_tiles_of_another_width_are_refused(within, method):
    """Those of one feature would be spread over all by NumPy."""
    with pytest.raises(ValueError, match=rf"Odd 6 -> 6\): {method} must give tiles of 6 features, got 1"):
        trainer(within(Odd(**{method: narrow}))).train_step(X, Y)
    with pytest.raises(TypeError, match=rf"Odd 6 -> 6\): {method} must give tiles, got an array"):
        trainer(within(Odd(**{method: array}))).train_step(X, Y)


def test_a_branch_must_give_its_gradient():
    with pytest.raises(TypeError, match=r"layer 1\.0 \(Odd 6 -> 6\): backward must give tiles, got None"):
        trainer(Concat([Odd(backward=lambda *_: None)])).train_step(X, Y)


def test_map_is_value_by_value_and_leaves_no_samples_that_are_not_there():
    def part(layer, x, p):
        return p.map((layer.index, "y"), lambda a: a[:1, :1], x)

    def other(layer, x, p):
        return p.map((layer.index, "y"), np.add, x, narrow(layer, x, p))

    for wrong, says in ((part, "value by value"), (other, "equal width, got 6, 1")):
        with pytest.raises(ValueError, match=says):
            trainer(Odd(forward=wrong)).train_step(X, Y)
    seen = []

    def exp(layer, x, p):
        y = p.map((layer.index, "y"), np.exp, x)
        seen.append(y.array().transpose(0, 2, 1).reshape(-1, WIDTH))
        return y

    trainer(Odd(forward=exp)).forward(X[:7])
    assert (seen[0][:7] > 0).all() and len(seen[0]) > 7 and not seen[0][7:].any()


@pytest.mark.parametrize("name", ["keep", "start", "constant", "children", "tree", "config"])
@pytest.mark.parametrize("within", [lambda a: a, lambda a: Residual([a])])
def test_attributes_that_hide_a_method_are_refused(name, within):
    """At once, not when neurons are removed or the network is saved, after days of training."""
    layer = Odd()
    setattr(layer, name, 0.5)
    with pytest.raises(TypeError, match=rf"\(Odd\): its attribute '{name}' must have another name"):
        trainer(within(layer))


def test_rules_hide_no_method_either():
    rule = rw.SET()
    rule.due = True
    with pytest.raises(TypeError, match=r"rewiring 'set' \(SET\): its attribute 'due' must have"):
        trainer(rewiring=rule).train_step(X, Y)


def test_what_a_layer_says_of_itself_is_checked():
    layer = Odd()
    layer.activation = "relu"
    with pytest.raises(TypeError, match=r"layers\.1 \(Odd\): activation must be an Activation.* got 'relu'"):
        trainer(layer)
    for wrong in ("a", 2.5):
        layer = Odd()
        layer.n_out = wrong
        with pytest.raises(ValueError, match=rf"got 6 and {wrong!r}: its connect\(\) is wrong"):
            trainer(layer)


@pytest.mark.parametrize("values", [np.zeros((3, WIDTH)), np.zeros(WIDTH)])
def test_pack_wants_all_samples(values):
    with pytest.raises(ValueError, match=r"values must have shape \(90, features\)"):
        trainer(Odd(forward=lambda layer, x, p: p.pack((layer.index, "y"), values))).train_step(X, Y)


class Given(ArrayLayer, Elementwise):
    """Gives what it is told to, as arrays; has a matrix that does nothing."""

    def __init__(self, change=None, back=None):
        self.change, self.back = change, back

    def connect(self, n_in):
        super().connect(n_in)
        self.matrix = DenseParameter((2, 3))

    def outputs(self, x, p):
        return x if self.change is None else self.change(x)

    def gradients(self, dy, p):
        return (dy, {"matrix": np.zeros((2, 3))}) if self.back is None else self.back(dy)


@pytest.mark.parametrize(
    ("layer", "error", "says"),
    [
        (Given(change=lambda x: None), TypeError, "y must be an array of real numbers, got None"),
        (Given(change=lambda x: x * 1j), TypeError, "y must be an array of real .* complex64"),
        (Given(back=lambda dy: None), TypeError, "for the inputs and a dict of others, got None"),
        (Given(back=lambda dy: (None, {"matrix": np.zeros((2, 3))})), TypeError, "dx must be an array"),
        (Given(back=lambda dy: (dy, {"matrix": np.zeros((3, 2))})), ValueError, r"must have shape \(2, 3\)"),
        (Given(back=lambda dy: (dy, {"matrix": np.zeros(6)})), ValueError, r"must have shape \(2, 3\)"),
        (Given(back=lambda dy: (dy, {"matrix": 1j * np.zeros((2, 3))})), TypeError, "must be real numbers"),
    ],
)  # fmt: skip
def test_wrong_arrays_are_refused(layer, error, says):
    with pytest.raises(error, match=says):
        trainer(layer).train_step(X, Y)


class Unready(Given):
    """Cannot be started, or its matrix not be filled, the first time."""

    def __init__(self, where):
        super().__init__()
        self.where, self.tries = where, []

    def connect(self, n_in):
        super().connect(n_in)
        self.matrix = DenseParameter((2, 3), init=Fills(self))

    def start(self):
        self.refuse("start")

    def refuse(self, where):
        self.tries.append(where)
        if where == self.where and self.tries.count(where) == 1:
            raise ZeroDivisionError("not ready")


class Fills(rw.initializers.Initializer):
    """Asks the layer."""

    def __init__(self, layer):
        object.__setattr__(self, "layer", layer)

    def fill(self, weights, gain, rng):
        self.layer.refuse("fill")


@pytest.mark.parametrize("where", ["fill", "start"])
def test_layers_of_a_network_that_could_not_be_made_are_free(where):
    middle = Unready(where)
    layers = [rw.Sparse(8, WIDTH, density=0.5), middle, rw.Sparse(WIDTH, 3, density=0.5)]
    with pytest.raises(ZeroDivisionError, match="not ready"):
        rw.Sequential(layers, seed=0)
    assert not any(layer.built for layer in layers)
    found = rw.Sequential(layers, seed=0).layers[0].store
    ends = [rw.Sparse(8, WIDTH, density=0.5), rw.Sparse(WIDTH, 3, density=0.5)]
    fresh = rw.Sequential([ends[0], Given(), ends[1]], seed=0).layers[0].store
    for a, b in zip(found.to_arrays(), fresh.to_arrays(), strict=True):
        np.testing.assert_array_equal(a, b)


class Again(Layer):
    """W (W x), with one W: named as often as it is told."""

    def __init__(self, times):
        self.times = times

    def connect(self, n_in):
        super().connect(n_in)
        self.w = SparseParameter(n_in, n_in, density=0.5)

    def parameters(self):
        return {f"w{i}": self.w for i in range(self.times)}

    def forward(self, x, p):
        p.product((self.index, "h"), self.w, x)
        return p.product((self.index, "y"), self.w, p.tiles((self.index, "h"), self.n_in))

    def backward(self, dy, x, p, need_dx):
        dh = p.product_back((self.index, "dh"), self.w, dy)
        dx = p.product_back((self.index, "dx"), self.w, dh)
        p.learn_links(self.w, p.tiles((self.index, "h"), self.n_in), dy)
        p.learn_links(self.w, x, dh)
        return dx


def test_a_gradient_is_handed_over_as_often_as_its_parameter_is_named():
    """The optimizer would take two steps for one that comes twice."""
    with pytest.raises(RuntimeError, match=r"layers\.1\.w0 was handed over 2 times in one pass"):
        trainer(Again(1)).train_step(X, Y)
    whole, parts = trainer(Again(2)), trainer(Again(2))
    for _ in range(3):
        whole.train_step(X, Y)
        parts.gradients(X, Y)
        parts.apply()
    np.testing.assert_array_equal(whole.network.get_vector(), parts.network.get_vector())


class Fresh(Given):
    """Other parameters every time."""

    def parameters(self):
        return {"matrix": DenseParameter((2, 3))}


def test_parameters_must_stay_the_same():
    with pytest.raises(RuntimeError, match="the same object every time"):
        trainer(Fresh()).train_step(X, Y)


def test_gradients_belong_to_backward():
    def early(layer, x, p):
        p.learn(DenseParameter(3), np.zeros(3))

    with pytest.raises(RuntimeError, match="in a backward pass"):
        trainer(Odd(forward=early)).network.predict(X)


@pytest.mark.parametrize(
    ("what", "method"),
    [(DenseParameter(3), "parameters"), (Buffer(3), "buffers"), (rw.Dropout(0.1), "children")],
)
@pytest.mark.parametrize("within", [lambda a: [a], lambda a: (a,), lambda a: {"a": a}])
def test_what_no_layer_declares_is_refused(what, method, within):
    layer = Odd()
    layer.held = within(what)
    with pytest.raises(TypeError, match=rf"layers\.1 \(Odd\): its attribute 'held' holds .* by {method}\(\)"):
        trainer(layer)


class Listed(Given):
    """Names what stands in its list."""

    def connect(self, n_in):
        super().connect(n_in)
        self.means = [Buffer(n_in), Buffer(n_in)]

    def buffers(self):
        return {f"mean{i}": buffer for i, buffer in enumerate(self.means)}


def test_what_is_named_stands_in_a_list():
    assert set(trainer(Listed()).network.tree.buffers) == {"layers.1.buffer.mean0", "layers.1.buffer.mean1"}


@pytest.mark.parametrize("name", ["buffer", "a.b", ""])
def test_names_that_would_be_others_in_a_file_are_refused(name):
    layer = Odd()
    layer.parameters = lambda: {name: DenseParameter(3)}
    with pytest.raises(ValueError, match=r"layers\.1 \(Odd\): its parameters"):
        trainer(layer)


class Holds(Odd):
    """Keeps an argument, whatever it is."""

    def __init__(self, what):
        super().__init__()
        self.what = what


@pytest.mark.parametrize("what", [np.zeros(3), b"a", 1j, {1: 2}, len])
def test_arguments_that_no_file_holds_are_named(what):
    with pytest.raises(NotImplementedError, match="Holds cannot be saved: its 'what' must be a number"):
        Holds(what).config()


class Window:
    """What an argument may be: an object that describes itself."""

    def __init__(self, width):
        self.width = width

    def config(self):
        return {"width": self.width}


class Windowed(Given):
    """Keeps a window, or makes one of its description."""

    def __init__(self, window, makes=True):
        super().__init__()
        described = makes and isinstance(window, dict)
        self.window, self.makes = Window(**window) if described else window, makes


@pytest.fixture
def windowed():
    """Files may name the class, in these tests alone."""
    with registered():
        register_layer(Windowed)
        yield


@pytest.mark.usefixtures("windowed")
@pytest.mark.parametrize("inside", [lambda w: w, lambda w: [1, w], lambda w: {"first": w}])
def test_an_object_that_would_come_back_as_a_dict_is_refused(inside, tmp_path):
    net = rw.Sequential([Windowed(inside(Window(3)), makes=False), rw.Sparse(8, 3)])
    words = "Windowed cannot be saved: a file would give its constructor the dict of a config.. as 'window'"
    with pytest.raises(NotImplementedError, match=words):
        net.save(tmp_path / "n")
    with pytest.raises(NotImplementedError, match=words):
        pickle.dumps(net)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("windowed")
def test_an_object_that_the_constructor_makes_again_is_saved(tmp_path):
    net = rw.Sequential([Windowed(Window(3)), rw.Sparse(8, 3)])
    net.save(tmp_path / "n")
    window = rw.load(tmp_path / "n").layers[0].window
    assert isinstance(window, Window) and window.width == 3


class Twice(Given):
    """Keeps another number than it got."""

    def __init__(self, width):
        super().__init__()
        self.width = 2 * width


class Fewer(Given):
    """Describes itself by what its constructor does not take."""

    def __init__(self):
        super().__init__()

    def config(self):
        return {"type": "Fewer", "width": 3}


class Grows(Given):
    """Has another buffer after it was told to."""

    def __init__(self):
        super().__init__()

    def connect(self, n_in):
        super().connect(n_in)
        self.seen = Buffer(1)


class Late(Given):
    """Makes a buffer after the network was made."""

    def __init__(self):
        super().__init__()

    def start(self):
        self.seen = Buffer(1)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (Twice(2), r"layers\[1\].width must be 8, got 4"),
        (Fewer(), r"layers\[1\] \(Fewer\) cannot be saved, .* takes no argument 'width'"),
        (Late(), r"layers\.1\.buffer\.seen is not what it was when the network was made"),
    ],
)
def test_what_no_file_would_give_back_is_not_written(layer, says, tmp_path):
    """It would be found out when it is read, and be lost then."""
    with registered():
        register_layer(type(layer))
        t = trainer(layer)
        for save in (t.save, t.network.save):
            with pytest.raises(ValueError, match=says):
                save(tmp_path / "n")
    assert not list(tmp_path.iterdir())


def test_a_buffer_in_the_place_of_another_is_not_forgotten(tmp_path):
    with registered():
        register_layer(Grows)
        net = trainer(Grows()).network
        net.save(tmp_path / "n")
        net.layers[1].seen = Buffer(1)
        with pytest.raises(ValueError, match=r"layers\.1\.buffer\.seen is not what it was"):
            net.save(tmp_path / "n")


class Looks(rw.SET):
    """A rule that keeps what it is given."""

    name = "looks-for-this-test"

    def __init__(self, window=None, fraction=0.3):
        super().__init__(fraction)
        self.window = window


def test_a_rule_whose_object_would_come_back_as_a_dict_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(rw.rewiring.base.KINDS, "_makers", dict(rw.rewiring.base.KINDS._makers))
    rw.rewiring.register_rule(Looks)
    t = rw.Trainer(rw.Sequential([rw.Sparse(8, 3)]), loss="mse", rewiring=Looks(Window(3)))
    with pytest.raises(NotImplementedError, match="rewiring cannot be saved: a file would give .* of Looks"):
        t.save(tmp_path / "t")
    t.rewiring = Looks(3)
    t.save(tmp_path / "t")


def test_numbers_of_numpy_are_numbers():
    assert Holds([np.float64(0.5), np.int32(3), np.bool_(True)]).config()["what"] == [0.5, 3, True]


class Mean(Given):
    """A running mean; outputs are not finite where it is told so."""

    def __init__(self, fails=None):
        super().__init__()
        self.fails = fails

    def connect(self, n_in):
        super().connect(n_in)
        self.mean, self.count = Buffer(n_in), Buffer(1, dtype="int64")

    def outputs(self, x, p):
        if p.learning:
            self.mean.values = 0.9 * self.mean.values + 0.1 * x.mean(axis=0)
            self.count.values = self.count.values + 1
        return x * np.inf if self.count.values[0] == self.fails and p.training else x


@pytest.mark.parametrize("call", ["train_step", "gradients", "forward"])
def test_a_step_that_diverges_leaves_buffers_alone(call):
    t = trainer(Mean(fails=3))
    t.train_step(X, Y)
    t.train_step(X, Y)
    was, place = t.network.tree.arrays(None), t.config()
    with pytest.raises(rw.DivergenceError, match="layer 1"):
        getattr(t, call)(*((X,) if call == "forward" else (X, Y)))
    assert was["layers.1.buffer.count"] == 2 and was["layers.1.buffer.mean"].any()
    for name, values in t.network.tree.arrays(None).items():
        np.testing.assert_array_equal(values, was[name], err_msg=name)
    assert t.step_in_epoch == 2 and t.config() == place


def test_a_buffer_keeps_its_kind():
    buffer = Buffer(2, dtype="int64")
    live = buffer.values
    buffer.values = buffer.values + 3
    assert live is buffer.values and live.tolist() == [3, 3]
    for wrong in (np.zeros(2), np.zeros(3, int), 1, None):
        with pytest.raises(ValueError, match=r"values must be an array of shape \(2,\) and dtype int64"):
            buffer.values = wrong
    assert live.tolist() == [3, 3]
    for wrong in (
        {"fill": 1.5, "dtype": "int32"},
        {"fill": 300, "dtype": "uint8"},
        {"fill": [1, 2]},
        {"fill": np.nan},
    ):
        with pytest.raises((TypeError, ValueError), match="fill must be"):
            Buffer(2, **wrong)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"gradient": Field()}, "a name of its own, got 'gradient'"),
        ({"weight": Field()}, "a name of its own, got 'weight'"),
        ({"f": 3}, "a dict of names and Fields"),
        ([Field()], "a dict of names and Fields"),
        ({"f": Field(birth=float("nan"))}, "'f': birth must be a number"),
        ({"f": Field(birth=-1.0, low=0.0)}, "'f': birth must be a number >= 0"),
        ({"f": Field(birth=1.5, dtype="int32")}, "'f': birth must be an integer"),
        ({"f": Field(power=-1)}, "'f': power must be an integer in"),
        ({"f": Field(low=2.0, high=1.0)}, "'f': high must be a number >= 2"),
        ({"f": Field(dtype="float16")}, "'f': dtype must be one of"),
        ({"f": Field(per_slot=3)}, "'f': per_slot must be True or False"),
    ],
)
def test_fields_that_no_file_would_give_back_are_refused(fields, says):
    class Still(rw.Optimizer):
        name = "still"

        def step(self, values, gradient, fields, *, rate, decay, count):
            pass

    Still.fields = fields
    with pytest.raises((TypeError, ValueError), match=says):
        trainer(optimizer=Still(0.1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": 3},
        {"seed": -1},
        {"seed": 1.5},
        {"stream": -1},
        {"stream": "a"},
        {"dtype": "f2"},
    ],
)
@pytest.mark.parametrize("make", [lambda: SparseParameter(5, 4), lambda: DenseParameter(5)])
def test_build_checks_its_arguments(make, wrong):
    parameter = make()
    with pytest.raises((TypeError, ValueError), match=f"^{next(iter(wrong))} must"):
        parameter.build(**{"name": "x", "seed": 0, **wrong})
    assert not parameter.built and parameter.build(name="x", seed=0).built


def test_vectors_lie_in_the_range_of_the_field():
    t = trainer(optimizer=rw.Adam(0.01))
    t.train_step(X, Y)
    net = t.network
    fields = ("weight", "adam_v", "adam_m")
    was = {field: net.get_vector(field) for field in fields}
    wrong = {"weight": np.full(net.n_params, 1e300), "adam_v": np.r_[np.zeros(net.n_params - 1), -1.0]}
    for field, values in wrong.items():
        with pytest.raises(ValueError, match=f"for '{field}' of layers"):
            net.set_vector(values, field)
    with pytest.raises(KeyError, match="no parameter has 'speed'"):
        net.get_vector("speed")
    with net.layers[1].store.view(), pytest.raises(BufferError, match="layer 1"):
        net.set_vector(np.zeros(net.n_params), "gradient")
    with pytest.raises(ValueError, match="for 'gradient' of layers"):
        t.apply(gradient=np.full(net.n_params, 1e300))
    for field in fields:
        np.testing.assert_array_equal(net.get_vector(field), was[field])


@pytest.mark.parametrize("group", [1, 4])
def test_a_vector_has_links_by_row_and_column(group):
    parameter = SparseParameter(9, 10, density=0.4, group=group).build(name="w", seed=0)
    rows, columns, weights = parameter.to_arrays()
    assert (np.diff(rows * 9 + columns) > 0).all()
    np.testing.assert_array_equal(parameter.read(), weights)
    parameter.write(np.arange(len(weights)))
    np.testing.assert_array_equal(parameter.to_arrays()[2], np.arange(len(weights)))


@pytest.mark.parametrize("group", [1, 4])
def test_top_kast_keeps_weights_that_were_set(group):
    """It trains thetas, and would take the weights back from these."""
    net = rw.Sequential([rw.Sparse(8, 20, density=0.5, group=group), rw.Sparse(20, 3, activation="softmax")])
    rule = rw.TopKAST(every=50)
    t = rw.Trainer(
        net, loss="cross_entropy", optimizer=rw.SGD(1e-6), rewiring=rule, horizon=9, steps_per_epoch=99
    )
    for _ in range(3):
        t.train_step(X, Y)
    half = net.get_vector() / 2
    net.set_vector(half)
    t.train_step(X, Y)
    np.testing.assert_allclose(net.get_vector(), half, atol=1e-4)


def test_top_kast_takes_layers_of_two_stores():
    t = trainer(TwoStores(WIDTH, WIDTH, 2), rewiring=rw.TopKAST(every=2), horizon=2, steps_per_epoch=9)
    before = t.network.nnz
    for _ in range(9):
        t.train_step(X, Y)
    assert t.rewirings > 2 and t.network.nnz == before


@register_layer
class Forgets(Layer):
    """Hands over no gradient of its links, or none of its shift."""

    def __init__(self, forgets):
        self.forgets = forgets

    def connect(self, n_in):
        super().connect(n_in)
        self.w = SparseParameter(n_in, n_in, density=0.5)
        self.shift = DenseParameter(n_in)

    def forward(self, x, p):
        return p.product((self.index, "y"), self.w, x, self.shift)

    def backward(self, dy, x, p, need_dx):
        dx = p.product_back((self.index, "dx"), self.w, dy)
        if self.forgets != "w":
            p.learn_links(self.w, x, dy)
        if self.forgets != "shift":
            p.learn(self.shift, p.numbers(dy).sum(axis=0))
        return dx


@pytest.mark.parametrize("within", [lambda a: a, lambda a: Residual([a]), lambda a: Concat([[a]])])
@pytest.mark.parametrize(
    ("forgets", "call"), [("w", "learn_links(self.w, x, dy)"), ("shift", "learn(self.shift, gradient)")]
)
def test_a_layer_that_forgets_a_gradient_is_named_once_with_the_call(within, forgets, call):
    """It would never be trained, without a word."""
    t = trainer(within(Forgets(forgets)))
    mine = next(q for name, q in t.network.parameters().items() if name.endswith(forgets))
    before = mine.read()
    says = (
        rf"\(Forgets 6 -> 6\): backward handed over no gradient of '{forgets}': it is not trained; call p\."
    )
    with pytest.warns(UserWarning, match=says + re.escape(call)) as seen:
        t.fit(X, Y, epochs=2, batch_size=30, verbose=0)
    assert len(seen) == 1
    np.testing.assert_array_equal(mine.read(), before)
    trainer(within(Forgets("nothing"))).fit(X, Y, verbose=0)


def test_a_rule_that_needs_the_gradient_that_is_missing_says_so():
    t = trainer(Forgets("w"), rewiring=rw.RigL(every=1, end=9))
    with (
        pytest.warns(UserWarning, match="no gradient of 'w'"),
        pytest.raises(ValueError, match=r"probe must have inputs and gradients of 'layers\.1\.w'"),
    ):
        t.fit(X, Y, epochs=2, batch_size=30, verbose=0)


def test_a_layer_that_is_frozen_after_its_first_step_is_resumed_and_copied(tmp_path):
    layer = Forgets("nothing")
    t = trainer(layer)
    t.train_step(X, Y)
    layer.forgets = "w"
    t.train_step(X, Y)  # a layer that is known to learn says nothing
    t.save(tmp_path / "frozen.st")
    others = copy.deepcopy(t), pickle.loads(pickle.dumps(t)), rw.Trainer.resume(tmp_path / "frozen.st")
    t.train_step(X, Y)
    for again in others:
        with pytest.warns(UserWarning, match="no gradient of 'w'"):
            again.train_step(X, Y)
        assert np.array_equal(t.network.get_vector(), again.network.get_vector())


def test_a_parameter_that_may_be_frozen_says_so():
    layer = Forgets("w")
    t = trainer(layer, optimizer="adam")
    layer.w.trained = False
    before = layer.w.read()
    t.train_step(X, Y)
    assert np.array_equal(layer.w.read(), before)
    layer.forgets = "nothing"
    t.train_step(X, Y)
    assert not np.array_equal(layer.w.read(), before)


class Keyed(Layer):
    """tanh, with tiles of its own or with those of every layer of its kind."""

    def __init__(self, own):
        self.own = own

    def key(self, name):
        return (self.index, name) if self.own else name

    def forward(self, x, p):
        return p.map(self.key("y"), np.tanh, x)

    def backward(self, dy, x, p, need_dx):
        return p.map(self.key("dx"), lambda d, z: d * (1 - np.tanh(z) ** 2), dy, x)


@pytest.mark.parametrize(
    "layers",
    [
        lambda own: [Keyed(own), rw.Dropout(0.1), Keyed(own)],
        lambda own: [Residual([Keyed(own), Residual([Keyed(own)])])],
        lambda own: [Concat([Keyed(own), [Keyed(own)]]), rw.Sparse(2 * WIDTH, WIDTH)],
    ],
)
def test_tiles_of_two_layers_with_one_key_are_refused(layers):
    """What the second one writes, the first one's backward pass would read."""
    wrong = trainer(*layers(False))
    with pytest.raises(RuntimeError, match=r"tiles 'y' of layer \d are those of layer \d too.*self\.index"):
        wrong.fit(X, Y, verbose=0)
    with pytest.raises(RuntimeError, match="tiles 'y'"):
        wrong.network.predict(X)
    trainer(*layers(True)).fit(X, Y, verbose=0)


class Returns(rw.Optimizer):
    """Gives what it should write."""

    name = "returns"

    def step(self, values, gradient, fields, *, rate, decay, count):
        return values - rate * gradient


def test_a_step_that_returns_something_is_told_to_write():
    t = trainer(optimizer=Returns(0.1))
    before = t.network.get_vector()
    with pytest.raises(TypeError, match=r"step of Returns must write .* in place.*got an array"):
        t.train_step(X, Y)
    np.testing.assert_array_equal(t.network.get_vector(), before)


class Writes(Returns):
    """Gives what it has written."""

    name = "writes"

    def step(self, values, gradient, fields, *, rate, decay, count):
        values -= rate * gradient
        return values


def test_a_step_that_returns_what_it_has_written_is_taken():
    one, other = trainer(optimizer=Writes(0.1)), trainer(optimizer=rw.SGD(0.1))
    for t in (one, other):
        t.train_step(X, Y)
    np.testing.assert_allclose(one.network.get_vector(), other.network.get_vector(), rtol=1e-5, atol=1e-7)


class Halfway(rw.Optimizer):
    """Raises at the second parameter of a step, when it is told to."""

    name = "halfway"
    told = []
    fields = {"seen": Field()}

    def step(self, values, gradient, fields, *, rate, decay, count):
        values -= rate * gradient
        fields["seen"] += 1
        if self.told and self.told.pop() == "second":
            raise ZeroDivisionError("halfway")


@pytest.mark.parametrize("by", ["train_step", "apply"])
def test_a_step_of_an_own_optimizer_is_made_whole_or_not_at_all(by):
    t = trainer(optimizer=Halfway(0.1))

    def step():
        if by == "train_step":
            t.train_step(X, Y)
        else:
            t.gradients(X, Y)
            t.apply()

    step(), step()
    weights, seen = t.network.get_vector(), t.network.get_vector("seen")
    Halfway.told[:] = ["second", "first"]
    with pytest.raises(ZeroDivisionError, match="halfway"):
        step()
    np.testing.assert_array_equal(t.network.get_vector(), weights)
    np.testing.assert_array_equal(t.network.get_vector("seen"), seen)
    assert t.step == t.state.optimizer_step == t.step_in_epoch == 2
    step()
    assert t.step == 3 and (t.network.get_vector("seen") == 3).all()


class Applies(ArrayLayer, Elementwise):
    """A function that no file holds, times a gain; with a running mean."""

    def __init__(self, function):
        self.function = function

    def connect(self, n_in):
        super().connect(n_in)
        self.gain, self.mean = DenseParameter(n_in, init=1.0), Buffer(n_in)

    def outputs(self, x, p):
        if p.learning:
            self.mean.values += 0.1 * (x.mean(axis=0) - self.mean.values)
        p.save(self, x)
        return self.function(x) * self.gain.values

    def gradients(self, dy, p):
        (x,) = p.saved(self)
        return dy * self.gain.values, {"gain": (dy * self.function(x)).sum(axis=0)}


def test_a_layer_that_cannot_be_saved_is_copied_averaged_and_brought_back():
    t = trainer(
        Applies(lambda x: x + 0.5), optimizer=rw.Adam(0.05), rewiring="set",
        callbacks=[rw.WeightAverage(0.5), rw.EarlyStopping(2, monitor="best", mode="max", restore_best=True)],
    )  # fmt: skip
    seen = []

    class Best:
        def on_epoch_end(self, state):
            state.row["best"] = -float(state.epoch)  # the first epoch
            seen.append(state.network.get_vector())

    t.callbacks.insert(0, Best())
    t.fit(X, Y, epochs=3, verbose=0)
    np.testing.assert_array_equal(t.network.get_vector(), seen[0])
    assert len(seen) == 3 and (seen[0].size != seen[1].size or (seen[0] != seen[1]).any())
    averaged = t.evaluated_network()
    assert averaged is not t.network and not any(q.fields for q in averaged.parameters().values())
    assert averaged.layers[1].function is t.network.layers[1].function

    net = t.network
    twin = copy.deepcopy(net)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    for field in ("weight", "adam_m"):
        np.testing.assert_array_equal(twin.get_vector(field), net.get_vector(field))
    before = net.get_vector()
    rw.Trainer(twin, loss="cross_entropy", optimizer=rw.Adam(0.05)).fit(X, Y, verbose=0)
    np.testing.assert_array_equal(net.get_vector(), before)
    assert (twin.layers[1].mean.values != net.layers[1].mean.values).any()
    with pytest.raises(NotImplementedError, match="Applies cannot be saved: its 'function'"):
        pickle.dumps(net)


def test_a_trainer_of_what_cannot_be_saved_is_copied_with_all_that_it_carries():
    t = trainer(Applies(lambda x: x + 0.5), optimizer=rw.Adam(0.05), rewiring="set",
                callbacks=[rw.WeightAverage(0.5)])  # fmt: skip
    t.fit(X, Y, epochs=2, verbose=0)
    t.shards = 1
    twin = copy.deepcopy(t)
    assert twin.shards == 1
    assert twin.network is not t.network and twin.callbacks[0] is not t.callbacks[0]
    assert twin.network.layers[1].function is t.network.layers[1].function
    assert twin.history.epochs == t.history.epochs
    for each in (t, twin):
        each.fit(X, Y, epochs=2, verbose=0)
    for field in ("weight", "adam_m", "adam_v", "average"):
        np.testing.assert_array_equal(twin.network.get_vector(field), t.network.get_vector(field))
    pair = copy.deepcopy({"trainer": t, "network": t.network})
    assert pair["trainer"].network is pair["network"]


@register_layer
class Locked(ArrayLayer, Elementwise):
    """2 x, one at a time."""

    def __init__(self):
        self.lock = threading.Lock()

    def config(self):
        return {"type": "Locked"}

    def outputs(self, x, p):
        with self.lock:
            return 2 * x

    def gradients(self, dy, p):
        return 2 * dy, {}


def test_a_layer_with_a_lock_is_copied_as_a_file_would():
    t = trainer(Locked())
    t.train_step(X, Y)
    twin = copy.deepcopy(t.network)
    np.testing.assert_array_equal(twin.predict(X), t.network.predict(X))
    assert twin.layers[1].lock is not t.network.layers[1].lock


@register_layer
class Uses(Layer):
    """W x, with a W that it is given."""

    def __init__(self, weight=None):
        self.weight = SparseParameter(WIDTH, WIDTH, density=0.5) if weight is None else weight

    def config(self):
        return {"type": "Uses"}

    def forward(self, x, p):
        return p.product((self.index, "y"), self.weight, x)

    def backward(self, dy, x, p, need_dx):
        p.learn_links(self.weight, x, dy)
        return p.product_back((self.index, "dx"), self.weight, dy)


def test_a_tie_between_layers_of_the_row_is_not_torn_by_a_file(tmp_path):
    weight = SparseParameter(WIDTH, WIDTH, density=0.5)
    t = trainer(Uses(weight), rw.Dropout(0.1), Uses(weight))
    t.train_step(X, Y)
    words = r"layers\.1\.weight cannot be saved: .* layers\[1\] and layers\[3\].* put both into one layer"
    with pytest.raises(ValueError, match=words):
        t.save(tmp_path / "t")


@pytest.mark.parametrize("within, places", [
    (lambda a, b: Row([a, b]), r"layers\.1\.0 and layers\.1\.1"),
    (lambda a, b: Residual([a, Residual([b])]), r"layers\.1\.0 and layers\.1\.1\.0"),
    (lambda a, b: Residual([Concat([a, [b]]), rw.Sparse(2 * WIDTH, WIDTH)]), "layers.* and layers.*"),
])  # fmt: skip
def test_nor_is_one_between_layers_inside_of_one(tmp_path, within, places):
    weight = SparseParameter(WIDTH, WIDTH, density=0.5)
    t = trainer(within(Uses(weight), Uses(weight)))
    t.train_step(X, Y)
    words = rf"layers\.1.*weight cannot be saved: it is one parameter in {places}.* put both into one layer"
    with pytest.raises(ValueError, match=words):
        t.save(tmp_path / "t")
    twin = copy.deepcopy(t.network)  # which stays tied
    np.testing.assert_array_equal(twin.get_vector(), t.network.get_vector())
