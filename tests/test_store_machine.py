"""The store and a plain dict tell the same story, whatever happens to them.

The model is ``{(group, source): {field: values}}``: slots, since these are what edits are about.
"""

import copy
import gc
import pickle

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rewire import WeightStore, _core
from strategies import as_dict, dtypes, groups, rows_of, seeds, weights

FIELD_KINDS = {
    "momentum": ("float32", False), "adam_v": ("float64", False), "born": ("int32", True),
    "stamp": ("int64", True), "flag": ("uint8", True), "score": ("float32", True),
}  # fmt: skip
small = st.integers(0, 100)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.store = None
        self.held = None  # an array that outlived its view

    @initialize(n_out=st.integers(1, 14), n_in=st.integers(1, 14), group=groups, dtype=dtypes)
    def start(self, n_out, n_in, group, dtype):
        self.store = WeightStore(n_out=n_out, n_in=n_in, group=group, dtype=dtype)
        self.slots = {}
        self.births = {"weight": 0.0}

    # --- the model ---------------------------------------------------------------

    def width(self, field):
        return self.store.group if field == "weight" or not FIELD_KINDS[field][1] else 1

    def bear(self, position, values=None):
        """A new slot: weights as given, or as born; rows beyond n_out have none."""
        slot = {f: np.full(self.width(f), birth) for f, birth in self.births.items()}
        if values is not None:
            slot["weight"] = np.array(values, float)
        slot["weight"][len(rows_of(self.store, position[0])) :] = 0
        self.slots[position] = slot

    def positions(self):
        return [(g, j) for g in range(self.store.n_groups) for j in range(self.store.n_in)]

    def free(self):
        return [p for p in self.positions() if p not in self.slots]

    def pairs(self, slots):
        """Slots as (rows, cols)."""
        both = [(r, j) for g, j in slots for r in rows_of(self.store, g)]
        return [r for r, _ in both], [j for _, j in both]

    def some(self, data, positions):
        if not positions:
            return []
        return data.draw(st.lists(st.sampled_from(positions), max_size=12, unique=True))

    def values_for(self, data, position):
        n = len(rows_of(self.store, position[0]))
        return data.draw(st.lists(weights, min_size=n, max_size=n)) + [0.0] * (self.store.group - n)

    def refused(self, error, call, *args, match=None):
        before, generation = pickle.dumps(self.store.__getstate__()), self.store._core.generation
        with pytest.raises(error, match=match):
            call(*args)
        assert pickle.dumps(self.store.__getstate__()) == before
        assert self.store._core.generation == generation

    idle = precondition(lambda self: self.held is None)

    # --- edits -------------------------------------------------------------------

    @idle
    @rule(data=st.data())
    def insert(self, data):
        new = self.some(data, self.free())
        values = {p: self.values_for(data, p) for p in new}
        rows, cols = self.pairs(new)
        group = self.store.group
        flat = [values[r // group, c][r % group] for r, c in zip(rows, cols, strict=True)]
        order = data.draw(st.permutations(range(len(rows))))
        self.store.insert([rows[i] for i in order], [cols[i] for i in order], [flat[i] for i in order])
        for p in new:
            self.bear(p, values[p])

    @idle
    @rule(data=st.data())
    def remove(self, data):
        old = self.some(data, sorted(self.slots))
        rows, cols = self.pairs(old)
        self.store.remove(np.array(rows, np.int16), np.array(cols, np.uint8))
        for p in old:
            del self.slots[p]

    @idle
    @rule(data=st.data())
    def both_at_once(self, data):
        """A plan that removes and inserts; positions it empties may be filled again."""
        old = self.some(data, sorted(self.slots))
        new = sorted(self.some(data, sorted({*self.free(), *old})))
        values = [self.values_for(data, p) for p in new] if data.draw(st.booleans()) else None
        old.sort()
        plan = _core.Plan(self.store._core)
        columns = [np.array([p[i] for p in positions], np.int32) for positions in (old, new) for i in (0, 1)]
        given = None if values is None else np.array(values, self.store.dtype).reshape(-1, self.store.group)
        plan.pairs(*columns, given)
        assert (plan.n_removed, plan.n_inserted) == (len(old), len(new))
        _core.commit([plan])
        for p in old:
            del self.slots[p]
        for i, p in enumerate(new):
            self.bear(p, None if values is None else values[i])

    def carry_out(self, plan, drawn):
        """Commit a rule's plan and follow it in the model."""
        removed = list(zip(*(a.tolist() for a in plan.removed()), strict=True))
        inserted = list(zip(*(a.tolist() for a in plan.inserted()), strict=True))
        assert removed == sorted(set(removed)) and set(removed) <= set(self.slots)
        assert inserted == sorted(set(inserted)) and not set(inserted) & (set(self.slots) - set(removed))
        _core.commit([plan])
        for p in removed:
            del self.slots[p]
        for p in inserted:
            self.bear(p, drawn)
        return removed, inserted

    def score(self, position):
        return float(np.abs(self.slots[position]["weight"]).sum())

    @idle
    @rule(fraction=st.sampled_from([0.0, 0.25, 0.5, 1.0]), seed=seeds, threads=st.integers(1, 3))
    def rewire_set(self, fraction, seed, threads):
        plan = _core.Plan(self.store._core)
        plan.prune_set(fraction, seed, 0, 1, threads)
        one = self.store.group == 1
        negative = {p for p in self.slots if one and self.slots[p]["weight"][0] < 0}
        positive = set(self.slots) - negative
        removed = set(zip(*(a.tolist() for a in plan.removed()), strict=True))
        for kind in (positive, negative):
            assert len(removed & kind) == int(fraction * len(kind))
            worst = max(map(self.score, removed & kind), default=0.0)
            assert all(worst <= self.score(p) for p in kind - removed)
        plan.grow_random(plan.n_removed, seed, 0, 1, threads)
        plan.draw_weights("constant", 0.5, False, seed, 0, 1)
        before = len(self.slots)
        self.carry_out(plan, np.full(self.store.group, 0.5))
        assert len(self.slots) == before

    @idle
    @rule(data=st.data(), seed=seeds)
    def prune_smallest(self, data, seed):
        count = data.draw(st.integers(0, len(self.slots)))
        plan = _core.Plan(self.store._core)
        plan.prune_smallest(count, seed, 0, 1)
        removed = set(zip(*(a.tolist() for a in plan.removed()), strict=True))
        worst = max(map(self.score, removed), default=0.0)
        assert len(removed) == count and all(worst <= self.score(p) for p in set(self.slots) - removed)
        self.carry_out(plan, None)

    @idle
    @rule(data=st.data(), seed=seeds, threads=st.integers(1, 3))
    def grow_random(self, data, seed, threads):
        count = data.draw(st.integers(0, len(self.free())))
        plan = _core.Plan(self.store._core)
        plan.grow_random(count, seed, 0, 1, threads)
        _, inserted = self.carry_out(plan, None)
        assert len(inserted) == count

    @idle
    @rule(data=st.data(), seed=seeds)
    def grow_fan_in(self, data, seed):
        fan_in = data.draw(st.integers(0, self.store.n_in))
        lengths = np.diff(self.store.indptr())
        plan = _core.Plan(self.store._core)
        plan.grow_fan_in(fan_in, seed, 0, 1)
        self.carry_out(plan, None)
        assert np.array_equal(np.diff(self.store.indptr()), np.maximum(lengths, fan_in))

    # --- refusals ------------------------------------------------------------------

    @rule(data=st.data())
    def bad_inserts(self, data):
        store = self.store
        if self.slots:
            p = data.draw(st.sampled_from(sorted(self.slots)))
            others = self.some(data, self.free())
            rows, cols = self.pairs([*others, p])
            name = rf"\(row {p[0] * store.group}, col {p[1]}\)"
            self.refused(ValueError, store.insert, rows, cols, 0.0, match=name)
        if self.free():
            p = data.draw(st.sampled_from(self.free()))
            rows, cols = self.pairs([p, p])
            self.refused(ValueError, store.insert, rows, cols, 0.0, match=rf"\(row {p[0] * store.group}, col")
            rows, cols = self.pairs([p])
            self.refused(ValueError, store.insert, rows, cols, np.inf)
            beyond = store.n_out
            self.refused(IndexError, store.insert, [*rows, beyond], [*cols, 0], 0.0, match=f"row {beyond}")
            self.refused(IndexError, store.insert, [*rows, 0], [*cols, -1], 0.0, match="col -1")
            self.refused(ValueError, store.insert, rows, [*cols, 0], 0.0)
            self.refused(TypeError, store.insert, np.array(rows, float), cols, 0.0)
            if len(rows) > 1:
                missing = rf"\({rows[-1]}, {p[1]}\)"
                self.refused(ValueError, store.insert, rows[:-1], cols[:-1], 0.0, match=missing)
            self.refused(KeyError, store.remove, rows, cols, match=rf"\(row {rows[0]}, col {p[1]}\)")
        plan = _core.Plan(store._core)
        self.refused(ValueError, plan.grow_random, len(self.free()) + 1, 0, 0, 0)
        self.refused(ValueError, plan.prune_smallest, len(self.slots) + 1, 0, 0, 0)

    @idle
    @rule(seed=seeds)
    def a_stale_plan_stops_all(self, seed):
        """Of two plans one is stale: neither is carried out."""
        twin = self.store.copy()
        stale, fresh = _core.Plan(twin._core), _core.Plan(self.store._core)
        fresh.grow_random(min(2, len(self.free())), seed, 0, 0)
        twin.compact()
        self.refused(RuntimeError, _core.commit, [fresh, stale])
        self.refused(RuntimeError, _core.commit, [stale, fresh])

    # --- what must change nothing ----------------------------------------------------

    @idle
    @rule()
    def compact(self):
        self.store.compact()
        assert self.store._core.wasted == 0

    @rule()
    def build_mirror(self):
        assert self.store._core.build_mirror() and self.store._core.has_mirror

    @rule()
    def drop_mirror(self):
        self.store._core.drop_mirror()

    @idle
    @rule(how=st.sampled_from(["clone", "copy", "deepcopy", "pickle"]), protocol=st.integers(2, 5))
    def go_on_with_a_copy(self, how, protocol):
        old = self.store
        if how == "clone":
            self.store = old.copy()
        elif how == "pickle":
            self.store = pickle.loads(pickle.dumps(old, protocol))
        else:
            self.store = getattr(copy, how)(old)
        assert type(self.store) is WeightStore and self.store.fields == old.fields
        old_nnz = old.nnz
        if self.slots:  # the two are apart
            rows, cols = self.pairs([next(iter(self.slots))])
            old.remove(rows, cols)
            assert self.store.nnz > old.nnz or old_nnz == 0

    @rule(kind=st.sampled_from(["csr", "csc", "coo"]))
    def csr_round_trip(self, kind):
        pytest.importorskip("scipy.sparse")
        csr = self.store.to_csr()
        assert csr.has_canonical_format and csr.nnz == self.store.nnz
        back = WeightStore.from_csr(csr.asformat(kind), group=self.store.group)
        assert as_dict(back) == as_dict(self.store) and back.dtype == self.store.dtype
        single = WeightStore.from_csr(csr)
        assert as_dict(single) == as_dict(self.store)
        for s in (back, single):
            s.validate()

    # --- fields and views ---------------------------------------------------------------

    @idle
    @rule(name=st.sampled_from(sorted(FIELD_KINDS)), birth=small)
    def add_field(self, name, birth):
        dtype, per_slot = FIELD_KINDS[name]
        if name in self.births:
            self.refused(ValueError, lambda: self.store.add_field(name, dtype, per_slot=per_slot))
            return
        self.store.add_field(name, dtype, per_slot=per_slot, birth=float(birth))
        self.births[name] = birth
        for slot in self.slots.values():
            slot[name] = np.full(self.width(name), float(birth))

    @idle
    @rule(data=st.data())
    def drop_field(self, data):
        assume(len(self.births) > 1)
        name = data.draw(st.sampled_from(sorted(set(self.births) - {"weight"})))
        self.store.drop_field(name)
        del self.births[name]
        for slot in self.slots.values():
            del slot[name]

    @rule(data=st.data(), birth=small)
    def set_birth(self, data, birth):
        name = data.draw(st.sampled_from(sorted(self.births)))
        self.store.set_birth(name, birth)
        self.births[name] = birth

    @rule(data=st.data())
    def set_field(self, data):
        name = data.draw(st.sampled_from(sorted(self.births)))
        dtype = self.store.fields[name][0]
        values = np.random.default_rng(data.draw(seeds)).integers(0, 100, (len(self.slots), self.width(name)))
        self.store.set_field(name, values.astype(dtype))
        for p, row in zip(sorted(self.slots), values, strict=True):
            self.slots[p][name] = row.astype(float)
            if name == "weight":
                self.slots[p][name][len(rows_of(self.store, p[0])) :] = 0

    @rule(factor=st.sampled_from([0.5, -1.0, 2.0]))
    def change_values_in_a_view(self, factor):
        with self.store.view() as v:
            for g in range(self.store.n_groups):
                slots = slice(v.start[g], v.start[g] + v.length[g])
                assert v.source[slots].tolist() == [j for k, j in sorted(self.slots) if k == g]
                v.weight[slots] *= factor
            self.refused(BufferError, self.store.compact)
            self.refused(BufferError, lambda: self.store.add_field("extra", "float32"))
        for slot in self.slots.values():
            slot["weight"] = slot["weight"] * factor
        assert (self.store._core.pins > 0) == (self.held is not None)

    @idle
    @rule(name=st.sampled_from(["start", "source", "weight"]))
    def hold_an_array(self, name):
        with self.store.view() as v:
            self.held = getattr(v, name)
            if name == "weight":
                self.held = self.held[:0]  # a slice of it will do
        with pytest.raises(RuntimeError, match="closed"):
            v.weight  # noqa: B018
        assert self.store._core.pins > 0

    @precondition(lambda self: self.held is not None)
    @rule()
    def let_go(self):
        self.refused(BufferError, self.store.compact)
        for slots, edit in ((self.free(), lambda p: self.store.insert(*p, 0.0)),
                            (sorted(self.slots), lambda p: self.store.remove(*p))):  # fmt: skip
            if slots:
                self.refused(BufferError, edit, self.pairs(slots[:1]))
        self.held = None
        gc.collect()
        assert self.store._core.pins == 0

    # --- always -----------------------------------------------------------------------

    @invariant()
    def agrees(self):
        if self.store is None:
            return
        store = self.store
        store.validate()
        expected = {}
        for (g, j), slot in self.slots.items():
            for r in rows_of(store, g):
                expected[r, j] = float(slot["weight"][r - g * store.group])
        assert store.slots == len(self.slots) and store.nnz == len(expected)
        found = as_dict(store)
        assert list(found) == sorted(expected) and found == expected
        assert {n: b for n, (_, _, b) in store.fields.items()} == self.births
        order = sorted(self.slots)
        for name in self.births:
            values = store.get_field(name)
            assert values.shape == (len(order), self.width(name))
            if order:
                assert np.array_equal(values, np.array([self.slots[p][name] for p in order]))

    @invariant()
    def sums_up(self):
        if self.store is None:
            return
        store = self.store
        rows, cols, _ = store.to_arrays()
        assert np.array_equal(store.fan_in(), np.bincount(rows, minlength=store.n_out))
        assert np.array_equal(store.fan_out(), np.bincount(cols, minlength=store.n_in))
        assert store.density == store.nnz / (store.n_out * store.n_in)
        assert store.nbytes > 0 and store._core.wasted >= 0


TestStoreMachine = StoreMachine.TestCase
