"""Rules made of a function: what it sees, what it may answer, and what happens when it is wrong."""

import pickle

import numpy as np
import pytest

import rewire as rw
from rewire.rewiring import Custom

X = np.random.default_rng(0).normal(size=(64, 9)).astype("f4")
Y = np.random.default_rng(1).integers(0, 3, 64)


def trainer(rule, group=1, optimizer=None):
    net = rw.Sequential(
        [
            rw.Sparse(9, 14, density=0.4, activation="relu", group=group),
            rw.Sparse(14, 3, density=0.5, activation="softmax"),
        ]
    )
    return rw.Trainer(
        net, loss="cross_entropy", optimizer=optimizer or rw.SGD(0.1, momentum=0.9), rewiring=rule
    )


def fit(trainer, epochs=3):
    trainer.fit(X, Y, epochs=epochs, batch_size=16, verbose=0)
    trainer.network.validate()
    return trainer


def positions(layer):
    store = layer.store
    groups = np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))
    return set(zip(groups.tolist(), store.sources().tolist(), strict=True))


@pytest.mark.parametrize("group", [1, 4])
def test_what_a_function_sees(group):
    seen = []

    def look(links):
        assert len(links) == links.parameter.store.slots == len(links.rows) == len(links.sources)
        shape = (len(links),) if links.parameter.group == 1 else (len(links), group)
        assert links.weights.shape == links.momentum.shape == links.gradient.shape == shape
        assert np.abs(links.gradient).sum() > 0 and np.abs(links.momentum).sum() > 0
        links.weights[...] = np.nan  # a copy
        seen.append(links.age.copy())

    fit(trainer(Custom(look, gradient=True, age=True), group))
    assert [int(a.max()) for a in seen] == [4, 4, 8, 8]  # two layers, after one epoch and after two


@pytest.mark.parametrize("group", [1, 4])
def test_drop_and_grow(group):
    def move(links):
        drop = np.zeros(len(links), bool)
        drop[:3] = True
        rows, sources = links.random_empty(2)
        values = np.full((2, links.parameter.group), 0.5)
        return drop, (rows, sources, values[:, 0] if links.parameter.group == 1 else values)

    made = trainer(move, group)  # a plain function
    before = [positions(layer) for layer in made.network.layers]
    fit(made, epochs=2)
    for layer, old in zip(made.network.layers, before, strict=True):
        new = positions(layer)
        assert len(new) == len(old) - 1 and len(old - new) == 3 and len(new - old) == 2
    assert isinstance(made.rewiring, Custom)


def test_age_starts_at_birth():
    ages = []

    def move(links):
        ages.append(np.sort(np.unique(links.age)))
        return [0, 1], links.random_empty(2)

    fit(trainer(Custom(move, age=True, layers="hidden")), epochs=4)
    assert [a.tolist() for a in ages] == [[4], [4, 8], [4, 8, 12]]


def test_the_same_seed_gives_the_same_links():
    def move(links):
        drop = links.rng.choice(len(links), 5, replace=False)
        return drop, links.random_empty(5)

    assert positions(fit(trainer(move)).network.layers[0]) == positions(fit(trainer(move)).network.layers[0])


def first(links):
    return links.rows[:1], links.sources[:1]


WRONG = [
    (lambda links: 3, TypeError, r"layer 0 .*must return drop, \(rows, sources\) or .*, got 3"),
    (lambda links: ([0, 0], ([], [])), ValueError, "drop names link 0 twice"),
    (lambda links: ([len(links)], ([], [])), ValueError, r"drop must be indices in \[0, "),
    (lambda links: ([0.5], ([], [])), TypeError, "drop must be indices or a mask"),
    (lambda links: ([], ([0], [99])), ValueError, r"sources must lie in \[0, 9\), got 99"),
    (lambda links: ([], ([-1], [0])), ValueError, r"rows must lie in \[0, 14\), got -1"),
    (lambda links: ([], ([0, 1], [0])), TypeError, "integers of equal length"),
    (lambda links: ([], first(links)), ValueError, "is grown twice, or is connected and not dropped"),
    (lambda links: ([], (*first(links), [np.nan])), ValueError, r"weights must be finite, of shape \(1,\)"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_wrong_answers_change_nothing(case):
    answer, kind, words = WRONG[case]
    made = trainer(answer)
    before = [positions(layer) for layer in made.network.layers]
    with pytest.raises(kind, match=words):
        fit(made)
    assert [positions(layer) for layer in made.network.layers] == before


def test_a_function_cannot_be_saved(tmp_path):
    with pytest.raises(NotImplementedError, match="cannot be saved"):
        fit(trainer(lambda links: None)).save(tmp_path / "t.safetensors")
    with pytest.raises(TypeError, match="function must be callable, got 3"):
        Custom(3)


# --- full layers, and errors that say where ---------------------------------------------


def full():
    """A hidden layer with room, and an output layer without."""
    return rw.Sequential([
        rw.Sparse(12, 20, density=0.3, activation="relu"),
        rw.Sparse(20, 3, density=1.0, activation="softmax"),
    ])  # fmt: skip


def trained_with(rule, net):
    rng = np.random.default_rng(0)
    trainer = rw.Trainer(net, loss="cross_entropy", rewiring=rule)
    trainer.fit(rng.normal(size=(40, 12)), rng.integers(0, 3, 40), epochs=3, batch_size=20, verbose=0)
    return trainer


def test_too_many_are_refused_with_layer_and_numbers():
    def greedy(links):
        count = len(links) // 10
        return np.argsort(abs(links.weights))[:count], links.random_empty(count)

    with pytest.raises(ValueError, match=r"greedy, layer 1 .*: 0 empty positions, and 6 were asked for"):
        trained_with(greedy, full())

    def modest(links):
        count = min(len(links) // 10, links.n_empty)
        return np.argsort(abs(links.weights))[:count], links.random_empty(count)

    trainer = trained_with(modest, full())
    assert trainer.history["links_grown"][1] == [7, 0] and trainer.network.nnz == 72 + 60


def test_what_was_not_asked_for_is_not_there():
    for name in "age", "gradient":
        with pytest.raises(AttributeError, match=rf"ask for it with Custom\(.*, {name}=True\)"):
            trained_with(lambda links, name=name: getattr(links, name), full())
    seen = []
    trained_with(lambda links: seen.append(repr(links)), full())
    assert seen[0].startswith("LayerLinks(")


def modest(links):
    """In a module, so that pickle finds it."""
    return np.argsort(abs(links.weights))[: min(3, links.n_empty)], ([], [])


def test_a_trainer_with_a_function_of_a_module_can_be_pickled():
    t = fit(trainer(modest))
    twin = pickle.loads(pickle.dumps(t))
    assert twin.rewiring.function is modest and twin.rewirings == t.rewirings
    found, expected = fit(twin).arrays(), fit(t).arrays()
    assert all(np.array_equal(a, found[name]) for name, a in expected.items())
    model = rw.SparseMLPClassifier((8,), epsilon=2, rewiring=modest, max_iter=2, random_state=0).fit(X, Y)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    with pytest.raises(NotImplementedError, match="register_rule.* or pickle"):
        t.config()


@pytest.mark.parametrize("count", [-1, 1.5, "3"])
def test_a_count_is_a_whole_number(count):
    with pytest.raises((TypeError, ValueError), match="count must be an integer"):
        trained_with(lambda links: ([], links.random_empty(count)), full())


def test_what_a_rule_raises_comes_with_its_place():
    def broken(links):
        return {}["weights"] if links.parameter.n_out == 3 else None

    with pytest.raises(KeyError) as caught:
        trained_with(broken, full())
    assert "broken, layer 1" in caught.value.__notes__[0]
