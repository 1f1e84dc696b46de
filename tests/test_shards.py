"""Batches in shards: what decides the bits, and that it is the same training as without."""

import copy
import itertools
import warnings

import numpy as np
import pytest

import rewire as rw
from rewire._shards import cut, levels_of, nodes_of, summed
from rewire.layers import Layer
from rewire.parameters import Buffer
from rewire.rewiring import RigL
from small import DEEP_X, DEEP_Y, NOISE, SELDOM, T, X, Y, bits, deep, network, trainer


def trained(net=None, *, X=DEEP_X, y=DEEP_Y, epochs=2, batch=24, sample_weight=None, **options):
    options = {"loss": "cross_entropy", "optimizer": rw.SGD(0.1, momentum=0.9), "rewiring": "set", **options}
    made = rw.Trainer(deep() if net is None else net, **options)
    made.fit(X, y, epochs=epochs, batch_size=batch, sample_weight=sample_weight, verbose=0)
    return made


def test_the_loss_of_a_step_is_that_of_the_moment():
    one, more = (trained(deep("float64"), epochs=1, batch=60, rewiring=None, shards=s) for s in (1, 4))
    for made in (one, more):
        made.loss = rw.losses.CrossEntropy(label_smoothing=0.5)
        made.train_step(DEEP_X, DEEP_Y)
        made.loss = rw.losses.CrossEntropy(label_smoothing=0.0)
        made.train_step(DEEP_X, DEEP_Y)
    np.testing.assert_allclose(more.network.get_vector(), one.network.get_vector(), rtol=1e-9, atol=1e-12)


# --- the cut and the tree


def test_a_batch_is_cut_into_runs_of_nearly_equal_length():
    for samples, shards in itertools.product(range(1, 40), range(1, 20)):
        places = cut(samples, shards)
        assert len(places) == shards and places[0][0] == 0 and places[-1][1] == samples
        assert all(a[1] == b[0] for a, b in itertools.pairwise(places))
        lengths = {end - first for first, end in places}
        assert max(lengths) - min(lengths) <= 1


def test_every_division_among_processes_gives_one_tree():
    def spoken(a, b):
        return f"({a}{b})"

    for shards in range(1, 18):
        alone = summed({(i, i + 1): str(i) for i in range(shards)}, shards, spoken)
        for size in range(1, shards + 1):
            known = {}
            for rank in range(size):
                for node in nodes_of(rank * shards // size, (rank + 1) * shards // size, shards):
                    part = {(i, i + 1): str(i) if node[0] <= i < node[1] else None for i in range(shards)}
                    known[node] = summed(part, shards, spoken)
            assert summed(known, shards, spoken) == alone


def test_the_tree_of_eight():
    assert (
        summed({(i, i + 1): str(i) for i in range(8)}, 8, lambda a, b: f"({a}{b})")
        == "(((01)(23))((45)(67)))"
    )
    assert [levels_of(n) for n in (1, 2, 3, 4, 8, 9)] == [0, 0, 1, 1, 2, 3]


# --- what a step is


@pytest.mark.parametrize("group", (1, 4))
def test_a_sharded_step_is_the_tree_of_its_parts(group):
    """The same as a loop of one's own makes of `gradients` of the parts, to the bit."""
    made = trained(deep(group=group), shards=5, rewiring=None, epochs=1, batch=23)
    own = rw.Trainer(deep(group=group), loss="cross_entropy", optimizer=rw.SGD(0.1, momentum=0.9))
    order = np.random.Generator(
        np.random.Philox(np.random.SeedSequence([own.seed, 0, 0x53687566]))
    ).permutation(60)
    for start in range(0, 60, 23):
        rows, known = order[start : start + 23], {}
        for i, (first, end) in enumerate(cut(len(rows), 5)):
            part, scale = rows[first:end], (end - first) / len(rows)
            own.gradients(DEEP_X[part], DEEP_Y[part], scale=scale, first_sample=first)
            known[i, i + 1] = own.network.get_vector("gradient")
            own.zero_gradients()
        own.apply(gradient=summed(known, 5, np.add))
    assert (own.network.get_vector() == made.network.get_vector()).all()
    assert (own.network.get_vector("momentum") == made.network.get_vector("momentum")).all()


def test_masks_of_dropout_are_those_of_the_whole_batch():
    one, more = (trained(deep("float64"), shards=s, rewiring=None) for s in (1, 8))
    np.testing.assert_allclose(more.network.get_vector(), one.network.get_vector(), rtol=1e-9, atol=1e-12)
    assert more.history["accuracy"] == one.history["accuracy"]
    np.testing.assert_allclose(more.history["loss"], one.history["loss"], rtol=1e-12)


def test_one_shard_is_no_shards():
    assert bits(trained(shards=1)) == bits(trained())


@pytest.mark.parametrize("rewiring", ("set", "rigl", "gse", "mest", "top-kast", "soft-deepr"))
def test_threads_leave_no_trace(rewiring):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of short runs
        rule = {"name": rewiring, "every": 2} if rewiring in ("rigl", "gse", "mest") else rewiring
        one, two = (trained(shards=4, rewiring=rule, threads=threads) for threads in (1, 2))
    assert bits(one) == bits(two)


@SELDOM
def test_a_probe_is_that_of_the_whole_batch():
    one, more = (trained(deep("float64"), shards=s, rewiring=RigL(every=2, fraction=0.4)) for s in (None, 8))
    for a, b in zip(one.network.sparse_parameters, more.network.sparse_parameters, strict=True):
        assert all((x == y).all() for x, y in zip(a.to_arrays()[:2], b.to_arrays()[:2], strict=True))


@pytest.mark.parametrize(
    "loss, net, target",
    (
        ("cross_entropy", "softmax", Y),
        (rw.losses.CrossEntropy(class_weight=[1.0, 0.0, 3.0]), "softmax", Y),
        ("mse", "linear", np.column_stack([T, T[:, :1]])),
        ("poisson", "linear", np.abs(np.column_stack([T, T[:, :1]]))),
    ),
)
@pytest.mark.parametrize("weighted", (False, True))
def test_means_over_shards_are_means_over_the_batch(loss, net, target, weighted):
    weight = np.random.default_rng(1).uniform(size=len(X)) if weighted else None
    if weighted:
        weight[:30] = 0.0
    one, more = (
        trained(
            network(net, dtype="float64"), X=X, y=target, loss=loss, shards=s, sample_weight=weight, batch=20,
            optimizer=rw.Adam(0.01, clip_norm=0.5),
        )
        for s in (1, 7)
    )  # fmt: skip
    np.testing.assert_allclose(more.network.get_vector(), one.network.get_vector(), rtol=1e-6, atol=1e-8)
    for name in ("loss", "accuracy", "r2"):
        if name in one.history.epochs[0]:
            np.testing.assert_allclose(more.history[name], one.history[name], rtol=1e-9)


def test_fewer_samples_than_shards():
    made = trained(X=DEEP_X[:50], y=DEEP_Y[:50], shards=32, batch=48)  # the last batch has two samples
    assert np.isfinite(made.network.get_vector()).all()
    few = trained(X=DEEP_X[:1], y=DEEP_Y[:1], shards=3)
    alone = trained(X=DEEP_X[:1], y=DEEP_Y[:1], shards=1)
    assert (few.network.get_vector() == alone.network.get_vector()).all()


# --- layers whose buffers follow samples


def test_duty_cycles_count_all_shards_at_once():
    def made(shards):
        net = rw.Sequential(
            [rw.Sparse(17, 30, density=0.4), rw.KWinners(0.2), rw.Sparse(30, 4, activation="softmax")], seed=1
        )
        return trained(net, shards=shards, epochs=1, batch=60, rewiring=None)

    one, more = (made(shards).network.layers[1] for shards in (1, 8))
    assert (one.duty.values == more.duty.values).all() and one.seen.values == more.seen.values == 60


def test_batch_norm_has_moments_of_each_shard():
    net = rw.Sequential(
        [rw.BatchNorm(momentum=0.5), rw.Sparse(17, 4, density=0.5, activation="softmax")],
        seed=1,
        dtype="float64",
    )
    made = trained(net, shards=4, epochs=1, batch=60, rewiring=None)
    parts = [DEEP_X[first:end].astype("f8") for first, end in cut(60, 4)]
    norm = made.network.layers[0]
    np.testing.assert_allclose(norm.running_mean.values, 0.5 * np.mean([p.mean(0) for p in parts], axis=0))
    np.testing.assert_allclose(
        norm.running_var.values, 0.5 + 0.5 * np.mean([p.var(0, ddof=1) for p in parts], axis=0)
    )


class Counting(Layer):
    """Counts samples behind everybody's back."""

    def connect(self, n_in):
        super().connect(n_in)
        self.samples = Buffer(())

    def forward(self, x, p):
        if p.learning:
            self.samples.values += p.batch
        return x

    def backward(self, dy, x, p, need_dx):
        return dy if need_dx else None


class Reporting(Counting):
    """Tells what it counts."""

    def forward(self, x, p):
        if p.learning:
            p.report(self, np.ones(1))
        return x

    def follow(self, reports, epoch):
        self.samples.values += sum(report.samples for report in reports)


def test_buffers_that_follow_samples_are_asked_for_reports():
    def net(kind):
        return rw.Sequential([kind(), rw.Sparse(17, 4, density=0.5, activation="softmax")], seed=1)

    assert trained(net(Counting), rewiring=None).network.layers[0].samples.values == 120
    with pytest.raises(RuntimeError, match=r"layer 0 \(Counting 17 -> 17\) changes buffers.*p.report"):
        trained(net(Counting), rewiring=None, shards=2)
    for shards in (1, 4):
        assert trained(net(Reporting), rewiring=None, shards=shards).network.layers[0].samples.values == 120


# --- saved, resumed, in other loops


class StopAt(rw.Callback):
    """Saves in the middle of an epoch."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_step_end(self, state):
        if state.step == self.step:
            state.trainer.save(self.path)


def test_a_run_resumes_in_the_middle_of_an_epoch(tmp_path):
    callbacks = [StopAt(2, tmp_path / "t.safetensors")]
    whole = trained(shards=6, callbacks=callbacks, rewiring="set")
    again = rw.Trainer.resume(tmp_path / "t.safetensors")
    assert again.shards == 6 and again.step_in_epoch == 2
    again.fit(DEEP_X, DEEP_Y, epochs=2, batch_size=24, verbose=0)
    whole.callbacks = []
    assert bits(again) == bits(whole)


def test_train_step_cuts_as_fit_does():
    fitted = trained(shards=3, epochs=1, batch=60)
    own = rw.Trainer(
        deep(), loss="cross_entropy", optimizer=rw.SGD(0.1, momentum=0.9), rewiring="set", shards=3
    )
    own.train_step(DEEP_X, DEEP_Y)
    own.end_epoch()
    assert (own.network.get_vector() == fitted.network.get_vector()).all()


def test_divergence_is_that_of_the_first_shard():
    made = trainer(optimizer=rw.SGD(1e30), shards=4)
    before = made.network.get_vector()
    with pytest.raises(rw.DivergenceError):
        made.fit(*NOISE, epochs=4, batch_size=16, verbose=0)
    assert (made.network.get_vector() == before).all()


def test_shards_are_checked():
    for wrong in (0, -1, 5000):
        with pytest.raises(ValueError, match="shards must be"):
            trainer(shards=wrong)
    with pytest.raises(TypeError, match="shards must be an integer"):
        trainer(shards=2.5)


class Unnamed(rw.SGD):
    """No file can hold this one: it is not registered."""


def test_copies_keep_shards_and_an_old_description_is_refused():
    """A copy of parts that no file holds, too."""
    assert copy.deepcopy(trainer(optimizer=Unnamed(0.1), shards=5)).shards == 5
    made = trainer(shards=5)
    config = made.config()
    del config["shards"]
    with pytest.raises(ValueError, match="config lacks 'shards': it is of an older version"):
        rw.Trainer.from_config(config, made.arrays())
