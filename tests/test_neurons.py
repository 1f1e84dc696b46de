"""Neurons that are removed for good, by hand and by importance pruning, beside slow versions."""

import copy
import pickle
import sys

import numpy as np
import pytest

import rewire as rw
from rewire import analysis
from rewire import neurons as neurons_module
from rewire.connectivity import EdgeList
from rewire.rewiring import rewiring_names
from rules import neurons
from small import SELDOM


def build(group=1, dtype="float32", activation="all-relu", bias=True, density=0.05, sizes=(30, 101, 57, 5)):
    """A network in which many neurons have no say; biases are not zero."""
    layers = [
        rw.Sparse(n, m, density=0.3 if m == sizes[-1] else density, group=1 if m == sizes[-1] else group,
                  bias=bias, activation="softmax" if m == sizes[-1] else activation)
        for n, m in zip(sizes[:-1], sizes[1:], strict=True)
    ]  # fmt: skip
    net = rw.Sequential([layers[0], rw.Dropout(0.1), *layers[1:]], seed=1, dtype=dtype)
    rng = np.random.default_rng(0)
    for layer in net.weight_layers if bias else ():
        layer.bias[...] = rng.normal(size=layer.n_out)
    return net


def samples(count=20, n_in=30, n_out=5, dtype="float32"):
    rng = np.random.default_rng(count)
    X = rng.normal(size=(count, n_in)).astype(dtype)
    return X, (X @ rng.normal(size=(n_in, n_out))).argmax(1)


def groups_of(net):
    return [layer.group for layer in net.weight_layers]


def functions(net):
    """The hidden activations, as functions of a number."""

    def applied(layer):
        if layer.bound.code == "sigmoid":
            return lambda z: 1 / (1 + np.exp(-z))
        return lambda z: z if z > 0 else layer.bound.slope * z  # all-relu

    return [applied(layer) for layer in net.weight_layers[:-1]]


def expect(net, removed=None):
    """What should be left: neurons that stay, links, weights, biases."""
    live, weight = zip(*(neurons.dense(layer) for layer in net.weight_layers), strict=True)
    stays = neurons.connected_both_ways(live, removed or {}, groups_of(net))
    biases = [layer.bias for layer in net.weight_layers]
    bias = neurons.folded(weight, biases, stays, functions(net), removed or {})
    below = [np.ones(net.n_in, bool), *stays[:-1]]
    cut = [(a[np.ix_(r, c)], w[np.ix_(r, c)], b[r])
           for a, w, b, r, c in zip(live, weight, bias, stays, below, strict=True)]  # fmt: skip
    return stays, cut


def agree(net, found, stays, cut):
    for layer, kept, removed, stay, (live, weight, bias) in zip(
        net.weight_layers, found.kept, found.removed, stays, cut, strict=True
    ):
        assert np.array_equal(kept, np.flatnonzero(stay)) and removed == (~stay).sum()
        ours, values = neurons.dense(layer)
        assert np.array_equal(ours, live) and np.array_equal(values, weight)
        np.testing.assert_allclose(layer.bias, bias, rtol=1e-5, atol=1e-6)
    net.validate()


# --- remove_neurons ---------------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 2, 4, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["all-relu", "sigmoid"])
def test_what_is_left_computes_the_same(group, dtype, activation):
    net = build(group, dtype, activation)
    X, _ = samples(dtype=dtype)
    before, (stays, cut) = net.predict(X), expect(net)
    layers = list(net.layers)
    found = rw.remove_neurons(net)
    assert sum(found.removed) > 5 and found.removed[2] == 0
    agree(net, found, stays, cut)
    assert all(a is b for a, b in zip(net.layers, layers, strict=True))
    np.testing.assert_allclose(net.predict(X), before, rtol=1e-5, atol=1e-6)
    store = net.layers[0].store
    again = rw.remove_neurons(net)
    assert again.removed == (0, 0, 0) and net.layers[0].store is store  # nothing to do
    assert net.layers[1].n_in == net.layers[0].n_out


@pytest.mark.parametrize("group", [1, 4])
def test_named_neurons_are_removed(group):
    net = build(group, density=0.3)
    removed = {0: range(8, 24), 1: [56]}  # with groups of 4 the last one of the second layer is one neuron
    stays, cut = expect(net, removed)
    found = rw.remove_neurons(net, {0: np.arange(8, 24), 1: [56]})
    agree(net, found, stays, cut)
    assert not set(range(8, 24)) & set(found.kept[0].tolist()) and 56 not in found.kept[1]


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_named_neurons_first_lose_all_their_links(group, seed):
    """Also those from neurons that are removed with them: named ones, and ones that only named ones need."""
    net, rng = build(group, "float64", "sigmoid", density=0.03 * (seed + 1)), np.random.default_rng(seed)
    twin = copy.deepcopy(net)
    named = {
        i: (4 * rng.choice(net.weight_layers[i].n_out // 4, 9, replace=False)[:, None] + np.arange(4)).ravel()
        for i in (0, 1)
    }
    for i, lost in named.items():
        rows, cols, _ = twin.weight_layers[i].store.to_arrays()
        gone = np.isin(rows, lost)
        twin.weight_layers[i].store.remove(rows[gone], cols[gone])
    X, _ = samples(dtype="float64")
    rw.remove_neurons(net, named)
    np.testing.assert_allclose(net.predict(X), twin.predict(X), rtol=1e-12)


def test_a_named_neuron_counts_nothing_of_the_one_that_only_it_needs():
    net = rw.Sequential(
        [
            rw.Dense(3, 2, activation="tanh"), rw.Sparse(2, 2, density=1.0, activation="tanh"),
            rw.Dense(2, 1),
        ], seed=0, dtype="float64",
    )  # fmt: skip
    for layer in net.weight_layers:
        layer.bias[...] = 0.7
    net.weight_layers[1].store.remove([1], [0])
    twin = copy.deepcopy(net)
    twin.weight_layers[1].store.remove([0, 0], [0, 1])
    found = rw.remove_neurons(net, {1: [0]})
    assert found.removed == (1, 1, 0) and repr(found).startswith("<RemovedNeurons: removed (1, 1, 0), kept (")
    X, _ = samples(n_in=3, dtype="float64")
    np.testing.assert_allclose(net.predict(X), twin.predict(X), rtol=1e-14)


def test_a_chain_without_an_end_is_removed_as_a_whole():
    store = [([0, 1], [0, 1]), ([0, 1], [0, 1]), ([0], [0])]  # neuron 1 of the second layer speaks to nobody
    net = rw.Sequential(
        [rw.Sparse(2, 2, connectivity=EdgeList(rows, cols, np.ones(len(rows)))) for rows, cols in store]
    )
    assert rw.remove_neurons(net).removed == (1, 1, 0)
    assert net.predict([[3.0, 5.0]]).tolist() == [[3.0, 0.0]]
    assert analysis.unused_inputs(net).tolist() == [1]


def test_a_constant_is_added_to_the_next_bias_and_stays_where_there_is_none():
    def net(bias):
        made = rw.Sequential(
            [
                rw.Sparse(2, 3, links=0, activation="sigmoid"),
                rw.Sparse(3, 1, density=1.0, init=1.0, bias=bias),
            ]
        )
        made.layers[0].bias[...] = [0.0, 1.0, 2.0]
        return made

    folds, keeps = net(True), net(False)
    before = folds.predict([[1.0, 2.0]])
    assert rw.remove_neurons(folds).removed == (2, 0)  # a layer keeps one neuron
    assert rw.remove_neurons(keeps).removed == (0, 0)
    assert folds.predict([[1.0, 2.0]]) == pytest.approx(before) and before == pytest.approx(2.111855)
    assert keeps.predict([[1.0, 2.0]]) == pytest.approx(before)


def test_dense_layers_shrink_too():
    net = rw.Sequential(
        [
            rw.Dense(6, 40, activation="relu"), rw.Sparse(40, 30, links=40, activation="tanh"),
            rw.Dense(30, 2, activation="softmax"),
        ]
    )  # fmt: skip
    X, y = samples(32, 6, 2)
    trainer = rw.Trainer(net, loss="cross_entropy", optimizer=rw.Adam(0.01), rewiring=None)
    trainer.fit(X, y, epochs=2, verbose=0)
    before = net.predict(X)
    kept = np.unique(net.layers[1].store.to_arrays()[1])
    moments = net.layers[0].weight.state["adam_v"][kept]
    found = rw.remove_neurons(net)
    assert found.kept[0].tolist() == kept.tolist() and found.removed[1] > 0
    assert net.layers[0].weights.shape == (kept.size, 6)
    assert net.layers[2].weights.shape == (2, net.layers[1].n_out)
    assert np.array_equal(net.layers[0].weight.state["adam_v"], moments)
    np.testing.assert_allclose(net.predict(X), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", [lambda: rw.SGD(0.1, momentum=0.9), lambda: rw.Adam(0.01)])
@pytest.mark.parametrize("group", [1, 4])
def test_training_goes_on_as_if_they_had_never_been(optimizer, group):
    """Without biases a neuron without a say changes nothing, so that all steps agree."""
    X, y = samples(64)
    nets = [build(group, "float64", bias=False) for _ in range(2)]
    for net in nets:
        net.layers[1].p = 0.0  # dropout hashes the number of a neuron
    trainers = [rw.Trainer(net, loss="cross_entropy", optimizer=optimizer(), rewiring=None) for net in nets]
    for trainer in trainers:
        trainer.fit(X, y, epochs=2, batch_size=16, verbose=0)
    assert sum(rw.remove_neurons(nets[0]).removed) > 10
    for trainer in trainers:
        trainer.fit(X, y, epochs=3, batch_size=16, verbose=0)
    assert trainers[0].state.optimizer_step == 20
    np.testing.assert_allclose(nets[0].predict(X), nets[1].predict(X), rtol=1e-9)
    assert nets[0].nnz < nets[1].nnz


def test_a_smaller_network_is_saved_and_resumed(tmp_path):
    X, y = samples(64)
    net = build(4)
    trainer = rw.Trainer(net, loss="cross_entropy", optimizer=rw.Adam(0.01), rewiring="set")
    trainer.fit(X, y, epochs=2, verbose=0)
    rw.remove_neurons(net)
    trainer.save(tmp_path / "run.safetensors")
    twins = [rw.Trainer.resume(tmp_path / "run.safetensors"), pickle.loads(pickle.dumps(trainer)), trainer]
    assert twins[0].network.layers[0].n_out == net.layers[0].n_out < 101
    for one in twins:
        one.fit(X, y, epochs=2, verbose=0)
    results = [one.network.predict(X) for one in twins]
    assert np.array_equal(results[0], results[2]) and np.array_equal(results[1], results[2])


def test_the_best_epoch_comes_back_with_its_neurons():
    X, y = samples(64)
    net = build(density=0.3)
    rule = rw.ImportancePruning(0.3, begin=0, every=rw.Epochs(1), rule="static")
    stop = rw.EarlyStopping(patience=1, monitor="epoch", mode="min", restore_best=True)
    rw.Trainer(net, loss="cross_entropy", rewiring=rule, callbacks=[stop]).fit(X, y, epochs=5, verbose=0)
    assert net.layers[0].n_out == 101  # as in epoch 0, and it was smaller in between
    assert net.predict(X).shape == (64, 5)
    net.validate()


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("removed", "error", "words"),
    [
        ([1, 2], TypeError, "neurons must be a dict of layer positions and neurons, got"),
        ({2: [1]}, ValueError, "neurons must name hidden layers by 0 to 1, got 2"),
        ({"0": [1]}, ValueError, "neurons must name hidden layers by 0 to 1, got '0'"),
        ({0: [101]}, ValueError, "neurons[0] must hold numbers from 0 to 100, got 101 to 101"),
        ({0: [-1, 3]}, ValueError, "neurons[0] must hold numbers from 0 to 100, got -1 to 3"),
        ({1: [0.5]}, TypeError, "neurons[1] must be a 1-D array of neurons' numbers, got"),
        ({1: range(57)}, ValueError, "neurons[1] must leave at least one of 57 neurons, got all"),
        ({0: [4, 5, 6, 7, 9]}, ValueError, "whole groups of neurons, got only some of 8 to 11"),
    ],
)
def test_wrong_neurons_are_named(removed, error, words):
    net = build(4)
    before = net.arrays()
    with pytest.raises(error) as caught:
        rw.remove_neurons(net, removed)
    assert words in str(caught.value)
    assert all(np.array_equal(a, before[name]) for name, a in net.arrays().items())


def test_it_waits_for_nobody():
    net = build()
    X, y = samples()
    with pytest.raises(TypeError, match="network must be a Sequential"):
        rw.remove_neurons(net.layers[0])
    refused = "layer 0 .* cannot be made narrower while"
    with net.layers[0].store.view(), pytest.raises(BufferError, match=refused):
        rw.remove_neurons(net)

    class Removes(rw.Callback):
        def on_step_end(self, state):
            rw.remove_neurons(state.network)

    trainer = rw.Trainer(net, loss="cross_entropy", callbacks=[Removes()])
    with pytest.raises(RuntimeError, match="remove_neurons cannot run while fit runs"):
        trainer.fit(X, y, epochs=1, verbose=0)


def test_without_memory_nothing_has_changed(monkeypatch):
    net = build()
    before = net.arrays(None)

    def refuse(self, config, arrays):
        raise MemoryError

    monkeypatch.setattr(neurons_module.Sequential, "remade", refuse)
    with pytest.raises(MemoryError):
        rw.remove_neurons(net)
    assert all(np.array_equal(a, before[name]) for name, a in net.arrays(None).items())


def test_ctrl_c_finds_the_old_network_or_the_new_one():
    """Interrupted before every line of those that put the new layers in their place."""
    X, _ = samples()
    functions = {"remove_neurons", "take_out", "narrow", "take_over"}
    widths, lines = set(), 0
    while True:
        net, left = build(), lines
        before = net.predict(X)

        def trace(frame, event, arg):
            nonlocal left
            if frame.f_code.co_name in functions and event == "line":
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
            return trace

        previous = sys.gettrace()
        sys.settrace(trace)
        try:
            rw.remove_neurons(net)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(previous)
        net.validate()
        np.testing.assert_allclose(net.predict(X), before, rtol=1e-5, atol=1e-6)
        widths.add(net.layers[0].n_out)
        if left >= 0:  # it was through
            break
        lines += 1
    assert lines > 20 and len(widths) == 2 and 101 in widths


# --- importance -------------------------------------------------------------------------------


def test_importance_is_the_sum_of_magnitudes():
    net = build(4, density=0.3)
    for layer in net.weight_layers:
        expected = np.abs(neurons.dense(layer)[1]).sum(axis=1)
        np.testing.assert_allclose(analysis.neuron_importance(layer), expected, rtol=1e-6)
    dense = rw.Sequential([rw.Dense(7, 3)]).layers[0]
    np.testing.assert_allclose(
        analysis.neuron_importance(dense), np.abs(dense.weights.astype("f8")).sum(axis=1)
    )
    with pytest.raises(TypeError, match="layer must be a layer with weights"):
        analysis.neuron_importance(net)


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_corrected_pruning_agrees_with_the_slow_version(group, dtype):
    rule = rw.ImportancePruning(0.1, begin=6, every={"steps": 3}, rule="static")
    seen, correct = [], rule._correct

    def watched(parameters, network):
        live, weight = zip(*(neurons.dense(layer) for layer in network.weight_layers), strict=True)
        removed = neurons.least_important(live, weight, 0.1, groups_of(network))
        stays, cut = expect(network, removed)
        record = correct(parameters, network)
        found = record.neurons or neurons_module.RemovedNeurons(
            tuple(np.arange(layer.n_out) for layer in network.weight_layers),
            tuple(np.arange(layer.n_in) for layer in network.weight_layers),
            (0, 0, 0),
        )
        agree(network, found, stays, cut)
        removed, grown = record.by_layer(network.weight_names)
        assert removed == [int(a.sum() - b.sum()) for a, (b, _, _) in zip(live, cut, strict=True)]
        assert grown == [0, 0, 0]
        seen.append(found.removed)
        return record

    rule._correct = watched
    net = build(group, dtype, density=0.3)
    X, y = samples(96, dtype=dtype)
    rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.05, momentum=0.9), rewiring=rule).fit(
        X, y, epochs=8, batch_size=16, verbose=0
    )
    assert len(seen) >= 10 and seen[0][0] >= 10 // group * group - group + 1


@pytest.mark.parametrize("group", [1, 4])
def test_published_pruning_agrees_with_the_slow_version(group):
    rule = rw.ImportancePruning(
        0.15, begin=6, every={"steps": 3}, variant="published", rule={"name": "set", "every": {"steps": 3}}
    )
    seen, publish = [], rule._publish

    def watched(parameters, network, threads):
        before = [neurons.dense(layer) for layer in network.weight_layers]
        live, weight = zip(*before, strict=True)
        removed = neurons.at_most_the_percentile(live, weight, 0.15, groups_of(network))
        biases = [layer.bias.copy() for layer in network.weight_layers]
        record = publish(parameters, network, threads)
        for i, (layer, (was, w)) in enumerate(zip(network.weight_layers, before, strict=True)):
            was[removed.get(i, [])] = False
            now, values = neurons.dense(layer)
            assert np.array_equal(now, was) and np.array_equal(values, np.where(was, w, 0))
            assert np.array_equal(layer.bias, biases[i])
        seen.append(record.by_layer(network.weight_names)[0])
        return record

    rule._publish = watched
    net = build(group, density=0.3)
    X, y = samples(96)
    rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.05, momentum=0.9), rewiring=rule).fit(
        X, y, epochs=8, batch_size=16, verbose=0
    )
    assert len(seen) >= 10 and min(seen[0][:2]) > 0 and net.layers[0].n_out == 101


def test_nothing_regrows_into_removed_neurons_and_the_rest_is_rewired():
    rule = rw.ImportancePruning(0.2, begin=0, every=rw.Epochs(2), rule="set")
    net = build(density=0.3)
    X, y = samples(96)
    history = rw.Trainer(net, loss="cross_entropy", rewiring=rule).fit(X, y, epochs=9, verbose=0)
    links = [sum(n) for n in history["nnz"]]
    assert links[2] < links[1] == links[0] and links[4] < links[3] == links[2]
    assert net.layers[0].n_out < 60 and net.layers[2].n_out < 40
    assert all(sum(n) > 0 for n in history["links_grown"][1:])
    assert np.isfinite(history["loss"]).all()


@SELDOM
@pytest.mark.parametrize("name", sorted(set(rewiring_names()) - {"importance"}))
def test_neurons_are_removed_under_every_rule(name):
    net = build(density=0.3)
    X, y = samples(96)
    rule = rw.ImportancePruning(0.2, begin=0, every={"steps": 3}, rule=name)
    log = rw.LinkLog()
    trainer = rw.Trainer(net, loss="cross_entropy", rewiring=rule, callbacks=[log])
    trainer.fit(X, y, epochs=3, batch_size=16, verbose=0)
    net.validate()
    assert net.layers[0].n_out < 101 and log.rewirings >= 5
    assert rw.rewiring.rewiring(rule.config()).rule.name == name


def test_a_rule_with_gradients_waits_when_neurons_are_removed():
    rule = rw.ImportancePruning(0.2, begin=0, every={"steps": 4}, rule={"name": "rigl", "every": 2})
    net = build(density=0.3)
    seen = []

    class Watch(rw.Callback):
        def on_rewire(self, state):
            grown = sum(state.rewired.grown.values())
            seen.append((state.step, state.rewired.neurons is not None, grown > 0))

    X, y = samples(96)
    rw.Trainer(net, loss="cross_entropy", rewiring=rule, callbacks=[Watch()]).fit(
        X, y, epochs=2, batch_size=16, verbose=0
    )
    assert seen[:4] == [(2, False, True), (4, True, False), (6, False, True), (8, True, False)]


@SELDOM
@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_the_same_bits_for_any_threads_and_after_a_break(variant, tmp_path):
    X, y = samples(96)

    def trainer(threads):
        rule = rw.ImportancePruning(0.2, begin=0, every=rw.Epochs(2), variant=variant)
        net = build(4, density=0.3)
        return rw.Trainer(net, loss="cross_entropy", optimizer=rw.Adam(0.01), rewiring=rule, threads=threads)

    runs = [trainer(threads) for threads in (1, 2, 4, 8)]
    for run in runs:
        run.fit(X, y, epochs=6, verbose=0)
    broken = trainer(2)
    broken.fit(X, y, epochs=3, verbose=0)
    broken.save(tmp_path / "half.safetensors")
    runs.append(rw.Trainer.resume(tmp_path / "half.safetensors"))
    runs[-1].fit(X, y, epochs=3, verbose=0)
    first = runs[0].arrays()
    for run in runs[1:]:
        found = run.arrays()
        assert found.keys() == first.keys()
        assert all(np.array_equal(a, first[name]) for name, a in found.items())


def test_a_log_of_links_follows_the_removal_of_neurons():
    """Explored places, by the numbers that neurons had in the beginning."""
    log, net = rw.LinkLog(), build(density=0.2)
    names = [np.arange(30), *(np.arange(layer.n_out) for layer in net.weight_layers)]
    tried, explored = [set() for _ in range(3)], []

    class Follow(rw.Callback):
        def note(self, network):
            for i, layer in enumerate(network.weight_layers):
                rows, cols, _ = layer.store.to_arrays()
                tried[i] |= set(zip(names[i + 1][rows].tolist(), names[i][cols].tolist(), strict=True))

        def on_fit_begin(self, state):
            self.note(state.network)

        def on_rewire(self, state):
            if state.rewired.neurons is not None:
                for i, kept in enumerate(state.rewired.neurons.kept):
                    names[i + 1] = names[i + 1][kept]
            self.note(state.network)
            inside = [
                sum(r in set(names[i + 1].tolist()) and c in set(names[i].tolist()) for r, c in tried[i])
                for i in range(3)
            ]
            explored.append(inside)

    X, y = samples(96)
    rule = rw.ImportancePruning(0.1, begin=0, every=rw.Epochs(2))
    maps = rw.MapLog(bins=64)
    trainer = rw.Trainer(net, loss="cross_entropy", rewiring=rule, callbacks=[log, Follow(), maps])
    trainer.fit(X, y, epochs=7, verbose=0)
    assert log["explored"].tolist() == explored
    assert len({layer.n_out for layer in net.weight_layers[:2]} & {101, 57}) == 0
    assert maps.maps.shape == (8, 64, 30)
    trainer.fit(X, y, epochs=2, verbose=0)  # and it goes on
    assert log["explored"].tolist() == explored


def test_the_last_neuron_with_links_stays():
    net = rw.Sequential(
        [
            rw.Sparse(30, 8, connectivity=EdgeList([2, 5], [1, 7])),
            rw.Sparse(8, 5, activation="softmax"),
        ]
    )
    X, y = samples(32)
    rule = rw.ImportancePruning(1.0, begin=0, every={"steps": 1}, rule="static")
    trainer = rw.Trainer(net, loss="cross_entropy", rewiring=rule)
    trainer.fit(X, y, epochs=2, batch_size=16, verbose=0)
    assert [layer.n_out for layer in net.layers] == [1, 5] and net.layers[0].nnz == 1


def test_all_alike():
    """Equal importance: the published rule empties a layer, the corrected one keeps to its fraction."""
    X, y = samples(32)
    left = {}
    for variant in ("published", "corrected"):
        net = rw.Sequential(
            [rw.Sparse(30, 20, fan_in=4, init=0.5, bias=False), rw.Sparse(20, 5, activation="softmax")]
        )
        rule = rw.ImportancePruning(0.25, begin=0, every={"steps": 1}, variant=variant, rule="static")
        optimizer = rw.SGD(1e-20)
        rw.Trainer(net, loss="cross_entropy", optimizer=optimizer, rewiring=rule).fit(
            X, y, epochs=1, batch_size=16, verbose=0
        )
        left[variant] = net.layers[0].nnz, net.layers[0].n_out
    assert left == {"published": (0, 20), "corrected": (60, 15)}


@SELDOM
def test_a_new_rule_inside_remembers_nothing_of_the_one_before():
    net = build(density=0.2)
    X, y = samples()
    trainer = rw.Trainer(net, loss="cross_entropy", rewiring=rw.ImportancePruning(rule="top-kast"))
    trainer.fit(X, y, epochs=1, verbose=0)
    assert trainer.rule_memory()
    kept = trainer.rule_memory()
    trainer.rewiring = rw.ImportancePruning(0.1, rule="top-kast")
    assert trainer.rule_memory() is kept
    trainer.rewiring = rw.ImportancePruning(rule="cht")
    assert trainer.rule_memory() == {}


# --- neurons that a layer needs, and layers that cannot follow ----------------------------------


class Ordered(rw.layers.Mixing, rw.layers.ArrayLayer):
    """Values in ascending order."""

    def outputs(self, x, p):
        order = np.argsort(x, axis=1)
        p.save(self, order)
        return np.take_along_axis(x, order, 1)

    def gradients(self, dy, p):
        (order,) = p.saved(self)
        dx = np.empty_like(dy)
        np.put_along_axis(dx, order, dy, 1)
        return dx, {}


@pytest.mark.parametrize("between", [1, 2])
def test_who_needs_a_neuron_is_named_and_not_who_hands_it_on(between):
    through = [rw.Dropout(0.1) for _ in range(between)]
    net = rw.Sequential([rw.Sparse(12, 9, fan_in=3), *through, Ordered(), rw.Sparse(9, 3, fan_in=4)])
    label, way = rf"layer {between + 1} \(Ordered 9 -> 9\)", r"which leads to it through layer 1 \(Dropout"
    with pytest.raises(TypeError, match=f"{label} needs neuron 5, {way}"):
        rw.remove_neurons(net, {0: [5]})
    direct = rw.Sequential([rw.Sparse(12, 9, fan_in=3), Ordered(), rw.Sparse(9, 3, fan_in=4)])
    with pytest.raises(TypeError, match=r"layer 1 \(Ordered 9 -> 9\) needs input 5: it cannot be removed"):
        rw.remove_neurons(direct, {0: [5]})
    rule = rw.ImportancePruning(begin=0, every=rw.Epochs(1), variant="corrected", rule="static")
    trainer = rw.Trainer(net, loss="mse", rewiring=rule)
    with pytest.raises(TypeError, match=f"{label} needs neuron 0, {way}"):
        trainer.fit(np.ones((8, 12)), np.ones((8, 3)), epochs=2, verbose=0)


class Scaled(rw.layers.Elementwise, rw.layers.ArrayLayer):
    """x times a gain; its constructor's word for the width is not the one that is looked for."""

    def __init__(self, width):
        self.width = width
        self.n_in = self.n_out = width
        self.gain = rw.DenseParameter(width, init=0.5, axes=("out",))

    def outputs(self, x, p):
        p.save(self, x)
        return x * self.gain.values

    def gradients(self, dy, p):
        (x,) = p.saved(self)
        return dy * self.gain.values, {"gain": (dy * x).sum(axis=0)}


class Renamed(Scaled):
    def __init__(self, n_in):
        super().__init__(n_in)


def test_a_layer_whose_widths_have_other_names_says_what_to_do():
    def network(layer):
        return rw.Sequential([rw.Sparse(12, 9, density=1.0), layer, rw.Sparse(9, 3, density=1.0)])

    net = network(Scaled(9))
    before = {name: a.tolist() for name, a in net.arrays(None).items()}
    words = (
        r"layer 1 \(Scaled 9 -> 9\) cannot be made narrower: of {'width': 9} its constructor makes no layer "
        "of 8 -> 8: arguments that say widths must be called n_in and n_out, or the class must define keep"
    )
    with pytest.raises(TypeError, match=words):
        rw.remove_neurons(net, {0: [5]})
    assert {name: a.tolist() for name, a in net.arrays(None).items()} == before

    net = network(Renamed(9))
    assert rw.remove_neurons(net, {0: [5]}).removed == (1, 0) and net.layers[1].gain.shape == (8,)


class Place(rw.layers.Elementwise, rw.layers.ArrayLayer):
    """Each neuron has a factor of its own, which another neuron in its place would not have."""

    def outputs(self, x, p):
        return x * self.factors()

    def gradients(self, dy, p):
        return dy * self.factors(), {}

    def factors(self):
        return 1.0 + np.arange(self.n_in) / self.n_in


class Signs(Place):
    def connect(self, n_in):
        super().connect(n_in)
        self.signs = np.random.default_rng(n_in).choice([-1.0, 1.0], n_in)

    def factors(self):
        return self.signs


class Slopes(Place):
    def __init__(self, slopes):
        self.slopes = slopes

    def factors(self):
        return np.asarray(self.slopes)


class Shares(Place):
    """Says that output i is made of input i alone, and is wrong."""

    def factors(self):
        return 1.0

    def outputs(self, x, p):
        return x + x.mean(axis=1, keepdims=True)


class Caps(Place):
    """What it does to each neuron shows far out alone."""

    def outputs(self, x, p):
        return np.minimum(x, 5.0 + np.abs(np.arange(self.n_in) - self.n_in / 2))


class Kept(Place):
    """The same factors, in a buffer that says so: they stay with their neurons."""

    def connect(self, n_in):
        super().connect(n_in)
        self.own = rw.Buffer(n_in, axes=("out",))

    def start(self):
        self.own.values[...] = Place.factors(self)

    def factors(self):
        return self.own.values


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "make", [Place, Signs, lambda: Slopes(np.linspace(0.5, 2, 101).tolist()), Shares, Caps]
)
def test_a_layer_that_computes_something_else_without_its_neighbours_is_refused(make, dtype):
    def network(layer):
        return rw.Sequential([rw.Sparse(12, 101, links=90), layer, rw.Sparse(101, 3, links=90)], dtype=dtype)

    net, kept = network(make()), network(Kept())
    label = rf"layer 1 \({type(net.layers[1]).__name__} 101 -> 101\) cannot be made narrower: "
    before = {name: a.tolist() for name, a in net.arrays(None).items()}
    for named in ({}, {0: [100]}):
        with pytest.raises(TypeError, match=label + r".*axes=\(\"out\",\).*keep\(\)"):
            rw.remove_neurons(net, named)
    rule = rw.ImportancePruning(begin=9, every=rw.Epochs(9), variant="corrected", rule="static")
    trainer = rw.Trainer(net, loss="mse", rewiring=rule, horizon=20)
    with pytest.raises(TypeError, match=label):  # and not after days of training
        trainer.fit(np.ones((8, 12)), np.ones((8, 3)), epochs=1, verbose=0)
    assert {name: a.tolist() for name, a in net.arrays(None).items()} == before

    X = samples(n_in=12)[0]
    before = kept.predict(X)
    assert rw.remove_neurons(kept).removed[0] > 20
    np.testing.assert_allclose(kept.predict(X), before, rtol=1e-5, atol=1e-6)


class Root(Place):
    """Takes nothing below zero, or less still."""

    high = 1.0

    def outputs(self, x, p):
        if ((x < 0) | (x > self.high)).any():
            raise ValueError(f"x must be in 0..{self.high}")
        return np.sqrt(x)


class Draws(Place):
    """Noise that never ends, and a count of what it has seen."""

    def connect(self, n_in):
        super().connect(n_in)
        self.seen, self.draw = rw.Buffer(()), np.random.default_rng(0)

    def outputs(self, x, p):
        self.seen.values += len(x)
        return x + self.draw.normal(0.0, 0.1, x.shape)


def behind_a_sigmoid(layer):
    first = rw.Sparse(12, 101, links=90, activation="sigmoid")
    return rw.Sequential([first, layer, rw.Sparse(101, 3, links=90)])


def test_a_layer_is_tried_with_inputs_that_it_takes():
    net, X = behind_a_sigmoid(Root()), samples(n_in=12)[0]
    before = net.predict(X)
    assert rw.remove_neurons(net).removed[0] > 20
    np.testing.assert_allclose(net.predict(X), before, rtol=1e-5, atol=1e-6)

    net = behind_a_sigmoid(Root())
    net.layers[1].high = 0.5
    says = (
        r"layer 1 \(Root 101 -> 101\) cannot be made narrower: .*raises ValueError \(x must be in 0\.\.0\.5\)"
    )
    with pytest.raises(TypeError, match=says):
        rw.remove_neurons(net)


def test_a_layer_that_draws_when_it_predicts_is_made_narrower():
    net = behind_a_sigmoid(Draws())
    assert rw.remove_neurons(net).removed[0] > 20
    assert net.layers[1].seen.values == 0.0  # to try it leaves no trace
