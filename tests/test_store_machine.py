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
from strategies import as_dict, dense, dtypes, groups, rows_of, seeds, weights

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
        slot = {f: np.full(self.width(f), float(birth)) for f, birth in self.births.items()}
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

    # --- as a tool -----------------------------------------------------------------

    def a_link(self, data, positions):
        """A connection of one of these slots."""
        g, j = data.draw(st.sampled_from(positions))
        return data.draw(st.sampled_from(list(rows_of(self.store, g)))), j

    def alone(self, row):
        """Whether a connection of this row may come or go by itself."""
        return len(rows_of(self.store, row // self.store.group)) == 1

    @idle
    @rule(data=st.data(), w=weights, how=st.sampled_from(["insert", "item", "array"]))
    def one_comes(self, data, w, how):
        assume(self.free())
        i, j = self.a_link(data, self.free())
        assert (i, j) not in self.store and self.store[i, j] == 0.0
        edit = {
            "insert": lambda: self.store.insert(i, j, w),
            "item": lambda: self.store.__setitem__((i, j), w),
            "array": lambda: self.store.set([i], np.int16(j), [w]),
        }[how]
        if not self.alone(i):
            self.refused(ValueError, edit, match=f"group={self.store.group}")
            return
        edit()
        self.bear((i // self.store.group, j), [w] + [0.0] * (self.store.group - 1))
        assert (i, j) in self.store and self.store[i, j] == w

    @idle
    @rule(data=st.data())
    def one_goes(self, data):
        assume(self.slots)
        i, j = self.a_link(data, sorted(self.slots))
        if self.alone(i):
            del self.store[i, j]
            del self.slots[i // self.store.group, j]
            assert (i, j) not in self.store
        else:
            self.refused(ValueError, self.store.__delitem__, (i, j), match=f"group={self.store.group}")

    @rule(data=st.data(), w=weights)
    def one_is_set(self, data, w):
        """Also while an array of a view is held: no structure changes."""
        assume(self.slots)
        i, j = self.a_link(data, sorted(self.slots))
        self.store[i, j] = w
        self.slots[i // self.store.group, j]["weight"][i % self.store.group] = w

    @idle
    @rule(data=st.data(), adds=st.booleans())
    def many_are_set(self, data, adds):
        """Some that are there, singly, and some that are not, by whole slots."""
        new, old = self.some(data, self.free()), self.some(data, sorted(self.slots))
        rows, cols = self.pairs(new)
        for g, j in old:
            rows.append(data.draw(st.sampled_from(list(rows_of(self.store, g)))))
            cols.append(j)
        values = data.draw(st.lists(weights, min_size=len(rows), max_size=len(rows)))
        expected = [
            (self.store[i, j] if adds else 0.0) + v for i, j, v in zip(rows, cols, values, strict=True)
        ]
        order = data.draw(st.permutations(range(len(rows))))
        change = self.store.add if adds else self.store.set
        change([rows[k] for k in order], [cols[k] for k in order], [values[k] for k in order])
        for p in new:
            self.bear(p, [0.0] * self.store.group)
        for i, j, v in zip(rows, cols, expected, strict=True):
            self.slots[i // self.store.group, j]["weight"][i % self.store.group] = np.dtype(
                self.store.dtype
            ).type(v)

    @idle
    @rule(data=st.data(), seed=seeds, below=st.sampled_from([0.0, 0.25, 1.0, 3.0, None]))
    def prune_and_grow(self, data, seed, below):
        """By the store's own methods, or by one plan, which may fill what it empties."""
        count = data.draw(st.integers(0, len(self.slots)))
        plan = self.store.plan() if data.draw(st.booleans()) else None
        kept = {"count": count} if below is None else {"below": below}
        links = self.store.nnz
        if plan is None:
            before = set(self.slots)
            removed = self.store.prune(**kept)
            assert removed == links - self.store.nnz
            left = {(i // self.store.group, j) for i, j, _ in self.store}
        else:
            plan.prune(**kept)
            rows, cols = plan.removed()
            left = set(self.slots) - {
                (i // self.store.group, j) for i, j in zip(rows.tolist(), cols.tolist(), strict=True)
            }
            before = set(self.slots)
        gone = before - left
        if below is None:
            worst = max(map(self.score, gone), default=0.0)
            assert len(gone) == count and all(worst <= self.score(p) for p in left)
        else:
            assert gone == {p for p in before if self.score(p) < below}
        n = data.draw(st.integers(0, len(self.positions()) - len(left)))
        value = data.draw(st.sampled_from([None, 0.5]))
        if plan is None:
            for p in gone:
                del self.slots[p]
            grown = self.store.grow(n, seed=seed, value=value)
            found = {(i // self.store.group, j) for i, j, _ in self.store}
            assert grown == self.store.nnz - links + removed
        else:
            plan.grow(n, seed=seed, value=value)
            assert (plan.n_removed, plan.n_inserted) == (len(gone), n)
            rows, cols = plan.inserted()
            plan.commit()
            for p in gone:
                del self.slots[p]
            found = set(self.slots) | {
                (i // self.store.group, j) for i, j in zip(rows.tolist(), cols.tolist(), strict=True)
            }
        born = found - set(self.slots)
        assert len(born) == n
        for p in born:
            self.bear(p, None if value is None else [value] * self.store.group)

    @rule(data=st.data())
    def look(self, data):
        """Items, rows and columns say what the model says; a column goes by way of the mirror."""
        store = self.store
        expected = {
            (r, j): float(slot["weight"][r - g * store.group])
            for (g, j), slot in self.slots.items()
            for r in rows_of(store, g)
        }
        assert len(store) == len(expected) and bool(store)
        assert {(i, j): w for i, j, w in store} == expected
        i, j = data.draw(st.integers(0, store.n_out - 1)), data.draw(st.integers(0, store.n_in - 1))
        cols, values = store.row(i)
        assert dict(zip(cols.tolist(), values.tolist(), strict=True)) == {
            c: w for (r, c), w in expected.items() if r == i
        }
        rows, values = store.column(j)
        assert store._core.has_mirror and np.all(rows[1:] > rows[:-1])
        assert dict(zip(rows.tolist(), values.tolist(), strict=True)) == {
            r: w for (r, c), w in expected.items() if c == j
        }
        assert ((i, j) in store) == ((i, j) in expected) and store[i, j] == expected.get((i, j), 0.0)
        both = np.array(list(np.ndindex(*store.shape))).reshape(-1, 2)
        there = store.contains(both[:, 0], both[:, 1])
        assert {tuple(p) for p in both[there].tolist()} == set(expected)
        assert np.array_equal(
            store[both[:, 0], both[:, 1]], [expected.get(tuple(p), 0.0) for p in both.tolist()]
        )

    @rule(seed=seeds, samples=st.integers(1, 3))
    def multiply(self, seed, samples):
        """Small integers: every sum is exact, so that dense NumPy gives the same."""
        store, rng = self.store, np.random.default_rng(seed)
        assume(all(abs(w) < 100 for _, _, w in store))
        matrix = dense(store)
        x, g = (rng.integers(-4, 5, (samples, n)).astype(float) for n in (store.n_in, store.n_out))
        assert np.allclose(store.forward(x), x @ matrix.T, rtol=1e-5, atol=1e-5)
        assert np.allclose(store.backward_input(g), g @ matrix, rtol=1e-5, atol=1e-5)
        assert np.array_equal(store @ x[0], store.forward(x)[0]) and np.array_equal(
            store @ x.T, store.forward(x).T
        )
        assert np.array_equal(g[0] @ store, store.backward_input(g)[0])
        found = np.zeros(store.shape)
        rows, cols, _ = store.to_arrays()
        group = store.group
        slot = {p: k for k, p in enumerate(sorted(self.slots))}
        gradient = store.gradient(x, g)
        for i, j in zip(rows.tolist(), cols.tolist(), strict=True):
            found[i, j] = gradient[slot[i // group, j], i % group]
        there = np.zeros(store.shape, bool)
        there[rows, cols] = True
        assert np.array_equal(found, np.where(there, g.T @ x, 0))

    @rule(how=st.sampled_from(["dense", "arrays"]))
    def build_again(self, how):
        store = self.store
        if how == "dense":
            back = WeightStore.from_dense(dense(store), group=store.group, fill=True, dtype=store.dtype)
            assert as_dict(back).items() >= {p: w for p, w in as_dict(store).items() if w}.items()
            assert np.array_equal(dense(back), dense(store))
        else:
            back = WeightStore.from_arrays(
                *store.to_arrays(), n_out=store.n_out, n_in=store.n_in, group=store.group
            )
            assert as_dict(back) == as_dict(store)
        back.validate()
        assert back.dtype == store.dtype

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
            self.refused(ValueError, store.insert, [*rows, 0], [*cols, 0, 0], 0.0)  # one alone stretches
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
