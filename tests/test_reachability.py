"""What reaches what, beside products of whole matrices; neurons that are removed."""

import numpy as np
import pytest

import rewire as rw
from rewire import analysis
from rewire.layers import Elementwise, Narrower, Pass, register_layer
from rewire.parameters import Buffer
from rewire.reachability import live_backward, live_forward, origins
from rewire.rewiring.chains import chain_links
from rewire.workspace import Workspace

# --- layers of one's own ----------------------------------------------------------------


class Plain(rw.Layer):
    """Values pass as NumPy sees them, (tiles, n_in, samples) -> (tiles, n_out, samples)."""

    def apply(self, values):
        raise NotImplementedError

    def forward(self, x, p):
        y = p.output(self)
        y.array()[...] = self.apply(x.array())
        return y

    def backward(self, dy, x, p, need_dx):
        dx = p.tiles((self.index, "dx"), self.n_in)
        dx.array()[...] = self.back(dy.array())
        return dx

    def back(self, gradient):
        """Not always the right one: it is about neurons here."""
        return gradient

    def config(self):
        return {"type": type(self).__name__}


class Shift(Elementwise, Plain):
    """x + 1: not zero where x is."""

    def apply(self, values):
        return values + 1


class Scale(Shift):
    """Its own number for every value."""

    axes = None

    def connect(self, n_in):
        super().connect(n_in)
        self.gain = Buffer(n_in, axes=self.axes)
        self.gain.values[:] = np.arange(1.0, n_in + 1)

    def apply(self, values):
        return values * self.gain.values[:, None]

    def buffers(self):
        return {"gain": self.gain}


class Gain(Scale):
    """Scale that says how it is made narrower."""

    axes = ("out",)


class Reverse(Plain):
    """The last comes first."""

    def apply(self, values):
        return values[:, ::-1]

    back = apply

    def live_outputs(self, inputs):
        return inputs[::-1]

    live_inputs = live_outputs


class NarrowingReverse(Reverse):
    """A permutation that hands on everything, so that neurons around it can be removed."""

    absorbs = None

    def constant(self, values):
        return values[::-1]

    def keepable(self, inputs, outputs):
        return inputs | outputs[::-1], outputs | inputs[::-1]

    def keep(self, inputs, outputs, values):
        return Narrower(self.config(), {}, {})


class Mix(Plain):
    """An orthonormal mixture (a reflection): every output depends on every input."""

    def apply(self, values):
        return values - 2 * values.mean(axis=1, keepdims=True)

    back = apply

    def live_outputs(self, inputs):
        return np.full(self.n_out, inputs.any())

    live_inputs = live_outputs


class Norm(Plain):
    """Normalises a sample's values, and does not say what depends on what."""

    def apply(self, values):
        mean, std = values.mean(axis=1, keepdims=True), values.std(axis=1, keepdims=True)
        return (values - mean) / (std + 1e-3)


class OpenNorm(Norm):
    """The same, and says it."""

    live_outputs, live_inputs = Mix.live_outputs, Mix.live_inputs


BETWEEN = {
    "nothing": [], "dropout": [rw.Dropout], "elementwise": [Shift, rw.Dropout], "permutation": [Reverse],
    "two permutations": [NarrowingReverse, rw.Dropout, Reverse], "arrays": [Gain], "mixing": [Mix],
    "normalisation": [OpenNorm],
}  # fmt: skip


def row_of_layers(between, group=1, seed=0, dtype="float64", dense=False, bias=True, activation="sigmoid"):
    """Three sparse layers with few links, perhaps a dense one, and others between them and in front."""
    sizes = (9, 24, 21, 5)
    net = []
    for k, (n, m) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        net += [kind() for kind in between]
        if dense and k == 1:
            net.append(rw.Dense(n, m, activation=activation, bias=bias))
        else:
            more = {"activation": activation, "group": group} if k < 2 else {"bias": True}
            net.append(rw.Sparse(n, m, density=(0.09, 0.06, 0.2)[k], **{"bias": bias, **more}))
    made = rw.Sequential(net, seed=seed, dtype=dtype)
    rng = np.random.default_rng(seed)
    for layer in made.weight_layers if bias else ():
        layer.bias[...] = rng.normal(size=layer.n_out)
    return made


def matrix(layer):
    """Which output depends on which input, (n_out, n_in) bool, by what the layer computes."""
    if isinstance(layer, rw.Dense):
        return np.ones((layer.n_out, layer.n_in), bool)
    if isinstance(layer, rw.Sparse):
        found = np.zeros((layer.n_out, layer.n_in), bool)
        rows, cols, _ = layer.store.to_arrays()
        found[rows, cols] = True
        return found
    base = np.random.default_rng(0).normal(size=layer.n_in)
    changed = base + np.eye(layer.n_in)
    return (run(layer, changed) != run(layer, base[None])).T


def run(layer, X):
    ws = Workspace(layer.dtype)
    ws.shape(len(X))
    x = ws.tiles("input", layer.n_in)
    x.pack(X)
    return layer.forward(x, Pass(ws)).unpack(None, 1)


cases = pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)


# --- paths ------------------------------------------------------------------------------


@pytest.mark.in_turn(3)
@cases
@pytest.mark.parametrize(("group", "dense"), [(1, False), (4, False), (1, True)])
@pytest.mark.parametrize("seed", range(3))
def test_live_values_are_those_of_matrix_products(between, group, dense, seed):
    net = row_of_layers(between, group, seed, dense=dense)
    masks = [matrix(layer) for layer in net.layers]
    some = np.random.default_rng(seed).random(net.n_in) < 0.5
    for inputs in (None, some):
        expected = [np.ones(net.n_in, bool) if inputs is None else inputs]
        for mask in masks:
            expected.append(mask @ expected[-1])
        found = live_forward(net.layers, inputs)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    # A group is asked as a whole: one neuron that is needed keeps the sources of all, which are the same.
    cut = {2: np.random.default_rng(seed).random(net.layers[1].n_out) < 0.5}
    for without in (None, cut):
        expected = [np.ones(net.n_out, bool)]
        for at in reversed(range(len(masks))):
            expected.append(masks[at].T @ expected[-1])
            if without and at in without:
                expected[-1] &= ~without[at]
        found = live_backward(net.layers, without=without)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected[::-1], strict=True))


@cases
def test_connections_are_what_a_layer_computes(between):
    for layer in row_of_layers(between).layers:
        rows, cols = layer.connections()
        expected = np.nonzero(matrix(layer))
        assert np.array_equal(rows, expected[0]) and np.array_equal(cols, expected[1])
        chosen = np.arange(1, layer.n_out, 2)
        assert np.array_equal(layer.sources_of(chosen), np.flatnonzero(matrix(layer)[chosen].any(axis=0)))


@cases
@pytest.mark.parametrize("seed", range(3))
def test_unused_inputs_and_components(between, seed):
    net = row_of_layers(between, seed=seed)
    masks = [matrix(layer).astype(int) for layer in net.layers]
    first = len(between) + 1
    to_first, to_end = np.eye(9, dtype=int), np.eye(9, dtype=int)
    for at, mask in enumerate(masks):
        to_end = mask @ to_end
        to_first = mask @ to_first if at < first else to_first
    assert np.array_equal(analysis.unused_inputs(net), np.flatnonzero(~to_first.any(axis=0)))
    assert np.array_equal(analysis.unused_inputs(net, dead_paths=True), np.flatnonzero(~to_end.any(axis=0)))
    found = analysis.components(net)
    assert [len(part) for part in found.labels] == [9, 24, 21, 5]
    # Pieces by spreading from each node over the whole graph, layers without weights included.
    ends = np.cumsum([9, *(len(mask) for mask in masks)])
    graph = np.eye(ends[-1], dtype=bool)
    for at, mask in enumerate(masks):
        rows, cols = np.nonzero(mask)
        graph[rows + ends[at], cols + (ends[at - 1] if at else 0)] = True
    graph |= graph.T
    while not np.array_equal(wider := graph @ graph, graph):
        graph = wider
    begins = [0, *ends[:-1]]
    shown = [0, *(layer.index + 1 for layer in net.weight_layers)]
    nodes = np.concatenate([np.arange(begins[k], ends[k]) for k in shown])
    label = np.concatenate(found.labels)
    assert np.array_equal(label[:, None] == label, graph[np.ix_(nodes, nodes)])
    assert found.count == label.max() + 1 and found.sizes.sum() == nodes.size
    assert np.array_equal(found.sizes, np.bincount(label))


class Blind(Shift):
    """Its first output depends on nothing."""

    def live_outputs(self, inputs):
        return inputs & (np.arange(self.n_in) > 0)

    live_inputs = live_outputs

    def connections(self):
        return 2 * (np.arange(1, self.n_in),)

    sources_of = rw.Layer.sources_of


def test_a_value_between_layers_is_no_piece_of_its_own():
    links = rw.connectivity.EdgeList([0, 1, 2], [0, 1, 2])
    net = rw.Sequential(
        [
            rw.Sparse(3, 3, connectivity=links),
            Blind(),
            rw.Sparse(3, 2, connectivity=rw.connectivity.EdgeList([1], [2])),
        ]
    )
    found = analysis.components(net)
    assert found.count == 4 and found.sizes.tolist() == [3, 2, 2, 1]
    assert analysis.unused_inputs(net, dead_paths=True).tolist() == [0, 1]


@pytest.mark.parametrize("kind", [rw.Dropout, Shift, Reverse])
def test_the_distance_of_topologies_looks_through_layers_that_only_hand_on(kind):
    """The same network with its hidden neurons in the order that the layer between turns round."""

    def net(between, turn):
        rows, cols = np.nonzero(np.random.default_rng(1).random((4, 20)) < 0.3)
        last = rw.Sparse(20, 4, connectivity=rw.connectivity.EdgeList(rows, 19 - cols if turn else cols))
        first = np.nonzero(np.random.default_rng(0).random((20, 8)) < 0.3)
        return rw.Sequential(
            [rw.Sparse(8, 20, connectivity=rw.connectivity.EdgeList(*first)), *between, last]
        )

    plain, other = net([], False), net([kind()], kind is Reverse)
    for matching in ("optimal", "greedy"):
        assert analysis.topology_distance(plain, other, matching=matching) == 0.0
        assert analysis.topology_distance(other, plain, matching=matching) == 0.0
    assert analysis.topology_distance(plain, net([kind()], kind is not Reverse)) > 0.1
    mixed = net([Mix()], False)
    with pytest.raises(TypeError, match=r"layer 1 \(Mix 20 -> 20\) mixes its inputs"):
        analysis.topology_distance(plain, mixed)


def test_origins():
    net = row_of_layers([NarrowingReverse, rw.Dropout])
    assert origins(net.layers[:2], 9).tolist() == list(range(8, -1, -1))
    assert origins([], 3).tolist() == [0, 1, 2]


@cases
@pytest.mark.parametrize("seed", range(3))
def test_chains_are_followed_through_layers_between(between, seed):
    """Links whose source or neuron lies on no path, by matrix products over the network after the plans."""
    net = row_of_layers(between, seed=seed)
    rng, plans, masks = np.random.default_rng(seed), [], [matrix(layer) for layer in net.layers]
    for layer in net.weight_layers:
        rows, cols, _ = layer.store.to_arrays()
        drop = rng.random(rows.size) < 0.3
        plan = rw._core.Plan(layer.core)
        none = np.zeros(0, np.int32)
        plan.pairs(rows[drop], cols[drop], none, none, None)
        plans.append(plan)
        masks[layer.index][rows[drop], cols[drop]] = False
    ahead, behind = [np.ones(9, bool)], [np.ones(5, bool)]
    for mask in masks:
        ahead.append(mask @ ahead[-1])
    for mask in reversed(masks):
        behind.insert(0, mask.T @ behind[0])
    found = chain_links(net, plans)
    for layer in net.weight_layers:
        at = layer.index
        dead = masks[at] & ~(behind[at + 1][:, None] & ahead[at])
        pairs = zip(*(a.tolist() for a in found[f"layers.{at}.weight"]), strict=True)
        assert set(pairs) == set(map(tuple, np.argwhere(dead)))


# --- neurons that are removed -----------------------------------------------------------


NARROWING = {
    **{name: BETWEEN[name] for name in ("nothing", "dropout", "elementwise", "arrays")},
    "permutation": [NarrowingReverse], "several": [Shift, NarrowingReverse, Gain, rw.Dropout],
}  # fmt: skip


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("between", NARROWING.values(), ids=NARROWING)
@pytest.mark.parametrize(("group", "dense"), [(1, False), (4, False), (1, True)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_narrower_network_computes_the_same(between, group, dense, bias, seed):
    activation = ("sigmoid", "relu", "tanh")[seed]
    net = row_of_layers(between, group, seed, dense=dense, bias=bias, activation=activation)
    masks = [matrix(layer) for layer in net.layers]
    ahead, behind = [np.ones(9, bool)], [np.ones(5, bool)]
    for mask in masks:
        ahead.append(mask @ ahead[-1])
    for mask in reversed(masks):
        behind.insert(0, mask.T @ behind[0])
    X = np.random.default_rng(seed).normal(size=(30, 9))
    before, names = net.predict(X), [layer.n_out for layer in net.weight_layers]
    found = rw.remove_neurons(net)
    np.testing.assert_allclose(net.predict(X), before, rtol=1e-12, atol=1e-12)
    assert sum(found.removed) > 4 and found.removed[-1] == 0
    for layer, kept, inputs, n in zip(net.weight_layers, found.kept, found.kept_inputs, names, strict=True):
        assert layer.n_out == kept.size and layer.n_in == inputs.size
        if layer is net.weight_layers[-1]:
            continue
        used = ahead[layer.index + 1] & behind[layer.index + 1]
        assert np.isin(np.flatnonzero(used), kept).all()
        if bias:  # without, constants that are not zero stay
            wanted = np.repeat(np.logical_or.reduceat(used, np.arange(0, n, getattr(layer, "group", 1))),
                               getattr(layer, "group", 1))[:n]  # fmt: skip
            assert np.array_equal(kept, np.flatnonzero(wanted))
    again = rw.remove_neurons(net)
    assert not any(again.removed)
    net.validate()


@pytest.mark.parametrize("kind", [Mix, OpenNorm])
def test_a_layer_that_needs_all_of_its_inputs_keeps_them(kind):
    net = row_of_layers([kind], seed=1)
    sizes = [layer.n_out for layer in net.layers]
    X = np.random.default_rng(0).normal(size=(10, 9))
    before = net.predict(X)
    assert rw.remove_neurons(net).removed == (0, 0, 0)
    assert [layer.n_out for layer in net.layers] == sizes and np.array_equal(net.predict(X), before)
    label = rf"layer 2 \({kind.__name__} 24 -> 24\)"
    with pytest.raises(TypeError, match=f"{label} needs input 3: it cannot be removed"):
        rw.remove_neurons(net, {0: [3, 4]})
    trainer = rw.Trainer(net, loss="mse", rewiring=rw.ImportancePruning(begin=0, every=rw.Epochs(1)))
    with pytest.raises(TypeError, match=f"{label} needs input 0"):
        trainer.fit(X, before, epochs=1, verbose=0)
    published = rw.ImportancePruning(begin=0, every={"steps": 1}, variant="published", rule="static")
    rw.Trainer(net, loss="mse", rewiring=published).fit(X, before, epochs=1, verbose=0)


@pytest.mark.parametrize(
    "act",
    [
        rw.remove_neurons, analysis.unused_inputs, analysis.components,
        lambda net: analysis.topology_distance(net, net),
        lambda net: chain_links(net, []),
        lambda net: train(net, rw.CHT()),
        lambda net: train(net, rw.ImportancePruning(begin=0, every=rw.Epochs(1))),
    ],
)  # fmt: skip
def test_a_layer_that_does_not_answer_is_refused_by_name(act):
    net = row_of_layers([Norm])
    before = net.arrays(None)
    words = r"layer \d \(Norm \d+ -> \d+\) cannot be seen through: it does not define live_"
    with pytest.raises(TypeError, match=words):
        act(net)
    after = net.arrays(None)
    assert all(np.array_equal(a, after[name]) for name, a in before.items())
    train(net, rw.SET())


def train(net, rule):
    X = np.random.default_rng(0).normal(size=(8, 9))
    rw.Trainer(net, loss="mse", rewiring=rule).fit(X, X[:, :5], epochs=2, verbose=0)


def test_what_cannot_be_asked_for():
    class Wrong(Shift):
        def live_outputs(self, inputs):
            return np.ones(3, bool)

    net = row_of_layers([Wrong])
    with pytest.raises(TypeError, match=r"layer 0 \(Wrong 9 -> 9\): live_outputs must give 9 values"):
        live_forward(net.layers)
    net = row_of_layers([Scale], seed=1)
    before = net.arrays()
    with pytest.raises(TypeError, match=r"layer 2 \(Scale .* narrower: its 'gain' does not say"):
        rw.remove_neurons(net)
    assert all(np.array_equal(a, before[name]) for name, a in net.arrays().items())


@pytest.mark.parametrize("optimizer", [lambda: rw.SGD(0.05, momentum=0.9), lambda: rw.Adam(0.01)])
def test_the_optimizers_state_follows_through_a_permutation(optimizer):
    """Without biases a neuron without a path changes nothing, so that all further steps agree."""
    X = np.random.default_rng(0).normal(size=(40, 9))
    y = X[:, :5] ** 2
    nets = [row_of_layers([NarrowingReverse, rw.Dropout], bias=False, activation="tanh") for _ in range(2)]
    trainers = []
    for net in nets:
        for layer in net.layers:
            layer.p = 0.0  # dropout hashes the number of a neuron
        trainers.append(rw.Trainer(net, loss="mse", optimizer=optimizer(), rewiring=None))
        trainers[-1].fit(X, y, epochs=2, batch_size=8, verbose=0)
    assert sum(rw.remove_neurons(nets[0]).removed) > 5
    for trainer in trainers:
        trainer.fit(X, y, epochs=3, batch_size=8, verbose=0)
    np.testing.assert_allclose(nets[0].predict(X), nets[1].predict(X), rtol=1e-9)
    assert nets[0].nnz < nets[1].nnz


def test_named_neurons_go_through_layers_between():
    """What is left of one that is named is the activation of its bias, handed on to the next biases."""
    net = row_of_layers([Shift, NarrowingReverse], seed=2)
    last = net.weight_layers[1]
    weight = np.zeros((last.n_out, last.n_in))
    rows, cols, values = last.store.to_arrays()
    weight[rows, cols] = values
    twin = row_of_layers([Shift, NarrowingReverse], seed=2)
    plain = rw.remove_neurons(twin)
    # A neuron that stays and whose output has another input as well, so that the bias of that output changes.
    into = weight[plain.kept[1]][:, 23 - plain.kept[0]] != 0
    one = int(plain.kept[0][np.argmax(into[into.sum(axis=1) > 1].any(axis=0))])
    constant = 1 / (1 + np.exp(-net.weight_layers[0].bias[one])) + 1
    found = rw.remove_neurons(net, {0: [one]})
    assert one in plain.kept[0] and one not in found.kept[0]
    both = np.intersect1d(plain.kept[1], found.kept[1])
    moved = net.weight_layers[1].bias[np.searchsorted(found.kept[1], both)]
    still = twin.weight_layers[1].bias[np.searchsorted(plain.kept[1], both)]
    np.testing.assert_allclose(moved - still, weight[both, 23 - one] * constant, rtol=1e-9, atol=1e-12)
    assert np.any(weight[both, 23 - one])


@pytest.mark.parametrize("between", [[], [rw.Dropout], [NarrowingReverse, rw.Dropout]])
def test_what_is_left_of_a_named_neuron_is_lost_where_there_are_no_biases(between):
    """The sigmoid of 0 is 1/2: one that is only constant stays, one that is named does not."""
    store = rw.connectivity.EdgeList([0, 1], [0, 1], [1.0, 1.0])
    net = rw.Sequential(
        [
            rw.Sparse(2, 3, activation="sigmoid", connectivity=store, bias=False),
            *(kind() for kind in between),
            rw.Sparse(3, 2, density=1.0, init=1.0, bias=False),
        ],
        dtype="float64",
    )  # fmt: skip
    X = np.array([[0.3, -2.0], [1.0, 0.5]])
    before = net.predict(X)
    assert rw.remove_neurons(net).removed == (0, 0)
    assert rw.remove_neurons(net, {0: [1]}).kept[0].tolist() == [0, 2]
    np.testing.assert_allclose(net.predict(X), before - 1 / (1 + np.exp(-X[:, 1:])), rtol=1e-12)


def test_the_best_epoch_comes_back_with_layers_of_ones_own(tmp_path):
    """Gain is registered nowhere, and the widths differ."""
    X = np.random.default_rng(0).normal(size=(40, 9))
    net = row_of_layers([Gain], activation="tanh")
    rule = rw.ImportancePruning(0.2, begin=0, every=rw.Epochs(1), rule="cht")
    stop = rw.EarlyStopping(patience=1, monitor="epoch", mode="min", restore_best=True)
    log = rw.LinkLog()
    rw.Trainer(net, loss="mse", optimizer=rw.SGD(1e-4), rewiring=rule, callbacks=[stop, log]).fit(
        X, X[:, :5], epochs=4, verbose=0
    )
    assert [layer.n_out for layer in net.weight_layers] == [24, 21, 5]
    assert np.array_equal(net.layers[2].gain.values, np.arange(1.0, 25))


def test_a_log_of_links_follows_through_a_permutation():
    """Explored places of what is left: those that are connected, for nothing else was ever tried."""
    net = row_of_layers([NarrowingReverse], seed=1)
    log = rw.LinkLog()
    rule = rw.ImportancePruning(0.2, begin=0, every={"steps": 1}, rule="static")
    X = np.random.default_rng(0).normal(size=(40, 9))
    rw.Trainer(net, loss="mse", optimizer=rw.SGD(1e-4), rewiring=rule, callbacks=[log]).fit(
        X, X[:, :5], epochs=1, batch_size=8, verbose=0
    )
    assert log.rewirings > 2 and net.layers[1].n_out < 24
    assert log["explored"][-1].tolist() == [layer.nnz for layer in net.weight_layers]


def test_inspect_says_what_it_cannot_know(tmp_path, capsys):
    from rewire.cli import main

    register_layer(Norm)
    row_of_layers([Norm]).save(tmp_path / "n.safetensors")
    assert main(["inspect", str(tmp_path / "n.safetensors")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "how many are used is not known (layer 0 (Norm 9 -> 9) cannot be seen through" in out
