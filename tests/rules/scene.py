"""A network as dense arrays, before and after a rewiring: what the slow versions of rules work on.

A *position* is (group, source). `live` says what is connected; values of positions that are not
connected are zero. Slow versions use loops and whole matrices, and draw their random numbers by
the same names as the rules.
"""

import inspect
from dataclasses import dataclass, field

import numpy as np

import rewire as rw
from rewire import _core
from rewire.rewiring.context import WHOLE_SLOTS


@dataclass
class Layer:
    """The weights of one sparse layer."""

    name: str  # of its weights
    live: np.ndarray  # (groups, n_in) bool
    values: dict  # field -> (groups, n_in, width)
    store: object  # a clone, for draws that depend on the structure
    layer: object  # the parameter itself, which goes on changing: for its sizes only
    x: np.ndarray | None = None  # (batch, n_in), where the rule looked at gradients
    dz: np.ndarray | None = None  # (batch, n_out)

    @property
    def weight(self):
        return self.values["weight"]

    def magnitude(self):
        """|w| of a position, summed over its rows."""
        return np.abs(self.weight.astype(np.float64)).sum(axis=2)

    def gradient(self):
        """dL/dw of every position, connected or not: (groups, n_in, group)."""
        group, groups = self.store.group, self.store.n_groups
        dense = np.zeros((groups * group, self.store.n_in))
        dense[: self.store.n_out] = self.dz.astype(np.float64).T @ self.x
        return dense.reshape(groups, group, self.store.n_in).transpose(0, 2, 1)


@dataclass
class Scene:
    """A network at one point in time, and the context of its rewiring."""

    layers: list  # for which the rule plans
    context: object
    fraction: float = 0.0
    memory: dict = field(default_factory=dict)
    every_layer: list = field(default_factory=list)  # those for which it does not plan as well

    def owed(self, layer):
        """Links that the layer still lacks of its budget."""
        owed, links = self.memory.get("owed", {}).get(layer.name, (0, 0))
        return owed if links == links_of(layer) else 0

    def tie(self, layer, group, source):
        """The hash that breaks ties: of equals the smaller is dropped first, and the larger grown first."""
        seed, stream, step = self.context.key(layer.layer)
        return _core.philox((seed, stream), (source, group, step, 4))[0]  # 4: RW_DRAW_TIE


def layer_of(layer, probe=None):
    """A parameter as dense arrays."""
    store = layer.core
    groups = np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))
    sources = store.sources()
    live = np.zeros((store.n_groups, store.n_in), bool)
    live[groups, sources] = True
    values = {}
    for name, (dtype, width, _) in store.fields.items():
        values[name] = np.zeros((store.n_groups, store.n_in, width), dtype)
        values[name][groups, sources] = store.get_field(name)
    found = Layer(layer.name, live, values, store.clone(), layer)
    if probe is not None:
        found.x, found.dz = probe.inputs(layer), probe.outputs(layer)
    return found


def smallest(scene, layer, score, count, among=None):
    """The ``count`` positions of smallest score, live ones or others, as a set of (group, source)."""
    positions = np.argwhere(layer.live if among is None else among)
    order = sorted((score[g, j], scene.tie(layer, g, j), g, j) for g, j in positions.tolist())
    return {(g, j) for _, _, g, j in order[:count]}


def width(layer, group):
    """Links of a slot of this group."""
    return min(layer.store.group, layer.store.n_out - group * layer.store.group)


def links_of(layer, positions=None):
    """Links of these positions, or of all that are connected."""
    chosen = np.argwhere(layer.live).tolist() if positions is None else positions
    return sum(width(layer, g) for g, _ in chosen)


def empty_links(layer):
    return layer.store.n_out * layer.store.n_in - links_of(layer)


def alike(*layers):
    """The links of every slot of all these layers, or 0 where they differ."""
    found = {width(a, g) for a in layers for g in range(a.store.n_groups)}
    return found.pop() if len(found) == 1 else 0


def until(layer, positions, links):
    """The first of these positions, as long as a whole slot still finds room in so many links."""
    taken, most = [], alike(layer) or layer.store.group
    for position in positions:
        if links < most:
            break
        links -= width(layer, position[0])
        taken.append(position)
    return taken


def smallest_links(scene, layer, score, links):
    """The live positions of smallest score that hold at most so many links."""
    order = sorted((score[g, j], scene.tie(layer, g, j), g, j) for g, j in np.argwhere(layer.live).tolist())
    return set(until(layer, [(g, j) for _, _, g, j in order], links))


def largest(scene, layer, score, links, among):
    """The positions of largest score that hold at most so many links."""
    order = sorted((-score[g, j], -scene.tie(layer, g, j), g, j) for g, j in np.argwhere(among).tolist())
    return set(until(layer, [(g, j) for _, _, g, j in order], links))


def at_random(scene, layer, links, removed, refill=True):
    """As many links at random: where slots differ, the first of enough positions in a random order."""
    if alike(layer):
        return set(drawn(scene, layer, links // alike(layer), removed, refill))
    room = int((~layer.live).sum()) + (len(removed) if refill else 0)
    enough = min(-(-links // width(layer, layer.store.n_groups - 1)), room)
    positions = drawn(scene, layer, enough, removed, refill)
    order = scene.context.generator(layer.layer, WHOLE_SLOTS).permutation(len(positions))
    return set(until(layer, [positions[i] for i in order], links))


def drawn(scene, layer, count, removed, refill=True):
    """The positions that the store's own draw chooses: it is tested in test_link_counts.py."""
    plan = _core.Plan(layer.store)
    if refill and removed:
        at = np.array(sorted(removed), np.int32)
        none = np.zeros(0, np.int32)
        plan.pairs(at[:, 0].copy(), at[:, 1].copy(), none, none, None)
    plan.grow_random(count, *scene.context.key(layer.layer), 1)
    return list(zip(*(a.tolist() for a in plan.inserted()), strict=True))


def follow(
    rule, slow, *, step=None, epochs=4, group=1, dtype="float32", optimizer=None, sizes=(12, 20, 17, 3),
    density=0.3,
):  # fmt: skip
    """Train with a rule; before and after every rewiring compare with ``slow``.

    ``slow(scene)``, or ``slow(scene, rule)``, returns, for every layer that takes part (by name), what it
    drops and grows: two sets of positions, and optionally the weights of new links as a dict; zero otherwise.
    Links in neither set must hold what they held, in every field; new links hold birth values; except for
    fields that ``slow`` returns in full, as a fourth thing. Returns the number of rewirings.

    ``step(layer, progress, rule, seed)`` is for rules that do something after every step of the optimizer:
    what fields hold then.
    """
    rng = np.random.default_rng(5)
    X = rng.normal(size=(96, sizes[0])).astype(dtype)
    y = (X @ rng.normal(size=(sizes[0], sizes[-1]))).argmax(1)
    last = len(sizes) - 2
    net = rw.Sequential(
        [
            rw.Sparse(n, m, density=density if i < last else 0.6, group=group,
                      activation="softmax" if i == last else "all-relu")
            for i, (n, m) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))
        ],
        dtype=dtype,
    )  # fmt: skip
    trainer = rw.Trainer(
        net, loss="cross_entropy", optimizer=optimizer or rw.SGD(0.1, momentum=0.9), rewiring=rule
    )
    seen = []
    takes_rule = len(inspect.signature(slow).parameters) > 1
    rewire, plans = rule.rewire, rule.plans

    def watched_plans(parameters, context):
        probe = context._probe
        scene = Scene(
            [layer_of(parameter, probe) for parameter in parameters], context,
            rule.fraction_schedule.at(context.progress) if hasattr(rule, "fraction_schedule") else 0.0,
            dict(context.memory), [layer_of(parameter, probe) for parameter in context.parameters],
        )  # fmt: skip
        seen.append((scene, slow(scene, rule) if takes_rule else slow(scene)))
        return plans(parameters, context)

    def watched_rewire(parameters, *args, **options):
        record = rewire(parameters, *args, **options)
        scene, expected = seen[-1]
        for before in scene.layers:
            compare(before, layer_of(before.layer), *expected[before.name])
        net.validate()
        return record

    stepped = rule.stepped

    def watched_step(parameters, progress, threads, *, seed, network):
        before = [layer_of(parameter) for parameter in parameters]
        stepped(parameters, progress, threads, seed=seed, network=network)
        for layer in before:
            compare(layer, layer_of(layer.layer), set(), set(), {}, step(layer, progress, rule, seed))

    rule.plans, rule.rewire = watched_plans, watched_rewire
    if step is not None:
        rule.stepped = watched_step
    trainer.fit(X, y, epochs=epochs, batch_size=16, verbose=0)
    return len(seen)


def compare(before, after, drop, grow, weights=None, fields=None):
    """``after`` is ``before`` without ``drop`` and with ``grow``; and ``fields`` are as given."""
    weights, fields = weights or {}, fields or {}
    live = before.live.copy()
    for position in drop:
        assert live[position], f"{position} was not there"
        live[position] = False
    for position in grow:
        assert not live[position], f"{position} is there already"
        live[position] = True
    assert set(map(tuple, np.argwhere(after.live != live).tolist())) == set()
    births = {name: birth for name, (_, _, birth) in after.layer.core.fields.items()}
    for name, values in before.values.items():
        expected = values.copy()
        expected[~live] = 0
        for position in grow:
            expected[position] = births[name] if name != "weight" else weights.get(position, 0.0)
        expected = fields.get(name, expected)
        np.testing.assert_array_equal(after.values[name], expected, err_msg=name)
