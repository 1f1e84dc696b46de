"""What a sparse matrix that changes can be kept in, each with the same operations in its own best words.

Every class is made from the same CSR matrix. An operation that a structure has no words for is None. Edits
leave the structure as they found it, so that they can be repeated: `EDITS` says how many a call makes.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from _kernel_sides import Descriptor

import rewire as rw

ONE, MANY, FEW, SHARE = 100, 1000, 20, 0.3
EDITS = {"one edit": 2 * ONE, "a thousand edits": 2}  # edits of a call; the second: thousands


class Store:
    """rewire's."""

    name = "`WeightStore`"

    def __init__(self, csr: sp.csr_array, rng: np.random.Generator) -> None:
        self.rng = rng
        self.s = rw.WeightStore.from_csr(csr)
        self.one, self.many = positions(csr, rng)
        self.rows, self.cols = (np.array(a) for a in zip(*self.many, strict=True))
        self.x, self.xs = vectors(csr)

    @property
    def nbytes(self) -> int:
        """With the mirror."""
        self.s.column(0)
        return self.s.nbytes

    def one_edit(self) -> None:
        s = self.s
        for i, j in self.one:
            s[i, j] = 0.5
        for i, j in self.one:
            del s[i, j]

    def thousand(self) -> None:
        self.s.insert(self.rows, self.cols, 0.5)
        self.s.remove(self.rows, self.cols)

    def edit_and_column(self) -> None:
        s, (i, j) = self.s, self.one[0]
        s[i, j] = 0.5
        s.column(j)
        del s[i, j]
        s.column(j)

    def row(self) -> object:
        return self.s.row(7)

    def column(self) -> object:
        return self.s.column(7)

    def product(self) -> object:
        return self.s @ self.x

    def products(self) -> object:
        return self.s @ self.xs

    def few(self) -> None:
        self.s.prune(count=FEW)
        self.s.grow(FEW, seed=self.rng, value=self.rng.standard_normal())

    def rewiring(self) -> None:
        count = int(SHARE * len(self.s))
        self.s.prune(count=count)
        self.s.grow(count, seed=self.rng, value=self.rng.standard_normal())


class Csr:
    """SciPy's CSR, which an edit builds anew."""

    name = "SciPy `csr`"

    def __init__(self, csr: sp.csr_array, rng: np.random.Generator) -> None:
        self.m, self.rng = csr.copy(), rng
        self.one, self.many = positions(csr, rng)
        self.rows, self.cols = (np.array(a) for a in zip(*self.many, strict=True))
        self.x, self.xs = vectors(csr)

    @property
    def nbytes(self) -> int:
        return self.m.data.nbytes + self.m.indices.nbytes + self.m.indptr.nbytes

    def one_edit(self) -> None:
        m = self.m.copy()
        for i, j in self.one:
            m[i, j] = 0.5
        for i, j in self.one:
            m[i, j] = 0.0
        m.eliminate_zeros()

    def thousand(self) -> None:
        m = (
            self.m
            + sp.coo_array((np.full(len(self.rows), 0.5, "f4"), (self.rows, self.cols)), self.m.shape).tocsr()
        )
        m[self.rows, self.cols] = 0.0
        m.eliminate_zeros()

    edit_and_column = None

    def row(self) -> object:
        m = self.m
        a, b = m.indptr[7], m.indptr[8]
        return m.indices[a:b].copy(), m.data[a:b].copy()

    def column(self) -> object:
        return self.m[:, [7]]

    def product(self) -> object:
        return self.m @ self.x

    def products(self) -> object:
        return self.m @ self.xs

    def few(self) -> None:
        self._rewire(FEW)

    def rewiring(self) -> None:
        self._rewire(int(SHARE * self.m.nnz))

    def _rewire(self, count: int) -> None:
        coo = self.m.tocoo()
        n = self.m.shape[1]
        kept = np.argpartition(np.abs(coo.data), count)[count:]
        keys = np.sort(coo.row[kept] * np.int64(n) + coo.col[kept])
        new = np.empty(0, np.int64)
        while new.size < count:
            drawn = np.unique(self.rng.integers(0, n * self.m.shape[0], count - new.size))
            new = np.union1d(
                new, drawn[keys[np.minimum(np.searchsorted(keys, drawn), keys.size - 1)] != drawn]
            )
        rows, cols = np.concatenate([coo.row[kept], new // n]), np.concatenate([coo.col[kept], new % n])
        data = np.concatenate([coo.data[kept], np.full(count, self.rng.standard_normal(), "f4")])
        self.m = sp.csr_array((data, (rows, cols)), self.m.shape)


class Lil:
    """SciPy's list of lists."""

    name = "SciPy `lil`"
    edit_and_column = few = rewiring = None

    def __init__(self, csr: sp.csr_array, rng: np.random.Generator) -> None:
        self.m = csr.tolil()
        self.one, self.many = positions(csr, rng)
        self.rows, self.cols = (np.array(a) for a in zip(*self.many, strict=True))
        self.x, self.xs = vectors(csr)

    @property
    def nbytes(self) -> int:
        lists = sum(sys.getsizeof(row) for rows in (self.m.rows, self.m.data) for row in rows)
        return lists + self.m.nnz * (sys.getsizeof(1.0) + sys.getsizeof(1000))

    def one_edit(self) -> None:
        m = self.m
        for i, j in self.one:
            m[i, j] = 0.5
        for i, j in self.one:
            m[i, j] = 0.0

    def thousand(self) -> None:
        self.m[self.rows, self.cols] = 0.5
        self.m[self.rows, self.cols] = 0.0

    def row(self) -> object:
        return np.array(self.m.rows[7]), np.array(self.m.data[7], "f4")

    def column(self) -> object:
        return self.m[:, [7]]

    def product(self) -> object:
        return self.m @ self.x

    def products(self) -> object:
        return self.m @ self.xs


class Dok(Lil):
    """SciPy's dictionary of keys."""

    name = "SciPy `dok`"

    def __init__(self, csr: sp.csr_array, rng: np.random.Generator) -> None:
        super().__init__(csr, rng)
        self.m = csr.todok()

    @property
    def nbytes(self) -> int:
        return sys.getsizeof(self.m._dict) + self.m.nnz * (sys.getsizeof((1, 1)) + sys.getsizeof(1.0))

    def row(self) -> object:
        return self.m[[7], :]


class Dicts:
    """A dict of dicts."""

    name = "dict of dicts"
    edit_and_column = products = None

    def __init__(self, csr: sp.csr_array, rng: np.random.Generator) -> None:
        self.rng, self.n = rng, csr.shape[1]
        self.d: dict[int, dict[int, float]] = {i: {} for i in range(csr.shape[0])}
        coo = csr.tocoo()
        for i, j, w in zip(coo.row.tolist(), coo.col.tolist(), coo.data.tolist(), strict=True):
            self.d[i][j] = w
        self.one, self.many = positions(csr, rng)
        self.x = vectors(csr)[0].tolist()

    @property
    def nbytes(self) -> int:
        links = sum(map(len, self.d.values()))
        return sum(map(sys.getsizeof, self.d.values())) + links * sys.getsizeof(1.0)

    def one_edit(self) -> None:
        d = self.d
        for i, j in self.one:
            d[i][j] = 0.5
        for i, j in self.one:
            del d[i][j]

    def thousand(self) -> None:
        d = self.d
        for i, j in self.many:
            d[i][j] = 0.5
        for i, j in self.many:
            del d[i][j]

    def row(self) -> object:
        return list(self.d[7].items())

    def column(self) -> object:
        return [(i, row[7]) for i, row in self.d.items() if 7 in row]

    def product(self) -> object:
        x = self.x
        return [sum([w * x[j] for j, w in row.items()]) for row in self.d.values()]

    def few(self) -> None:
        self._rewire(FEW)

    def rewiring(self) -> None:
        self._rewire(int(SHARE * sum(map(len, self.d.values()))))

    def _rewire(self, count: int) -> None:
        every = sorted((abs(w), i, j) for i, row in self.d.items() for j, w in row.items())
        for _, i, j in every[:count]:
            del self.d[i][j]
        value = self.rng.standard_normal()
        while count:
            for i, j in self.rng.integers(0, self.n, (count, 2)).tolist():
                if j not in self.d[i]:
                    self.d[i][j] = value
                    count -= 1


class DenseArray:
    """NumPy, zeros standing for what is not there."""

    name = "dense NumPy"
    edit_and_column = None

    def __init__(self, csr: sp.csr_array, rng: np.random.Generator) -> None:
        self.w, self.rng = csr.toarray(), rng
        self.one, self.many = positions(csr, rng)
        self.rows, self.cols = (np.array(a) for a in zip(*self.many, strict=True))
        self.x, self.xs = vectors(csr)

    @property
    def nbytes(self) -> int:
        return self.w.nbytes

    def one_edit(self) -> None:
        w = self.w
        for i, j in self.one:
            w[i, j] = 0.5
        for i, j in self.one:
            w[i, j] = 0.0

    def thousand(self) -> None:
        self.w[self.rows, self.cols] = 0.5
        self.w[self.rows, self.cols] = 0.0

    def row(self) -> object:
        there = np.flatnonzero(self.w[7])
        return there, self.w[7, there]

    def column(self) -> object:
        there = np.flatnonzero(self.w[:, 7])
        return there, self.w[there, 7]

    def product(self) -> object:
        return self.w @ self.x

    def products(self) -> object:
        return self.w @ self.xs

    def few(self) -> None:
        self._rewire(FEW)

    def rewiring(self) -> None:
        self._rewire(int(SHARE * np.count_nonzero(self.w)))

    def _rewire(self, count: int) -> None:
        flat = self.w.ravel()
        there = np.flatnonzero(flat)
        flat[there[np.argpartition(np.abs(flat[there]), count)[:count]]] = 0.0
        value = self.rng.standard_normal()
        while count:
            drawn = np.unique(self.rng.integers(0, flat.size, count))
            new = drawn[flat[drawn] == 0.0]
            flat[new] = value
            count -= new.size


class Mkl:
    """MKL's handle of a CSR matrix, optimized for these very products; it cannot be edited."""

    name = "MKL"
    one_edit = thousand = edit_and_column = row = column = few = rewiring = None

    def __init__(self, csr: sp.csr_array, rng: np.random.Generator) -> None:
        found = sorted(Path(sys.prefix, "lib").glob("libmkl_rt.so*"))
        if not found:
            raise ImportError("libmkl_rt.so is not here: pip install mkl")
        self.mkl = mkl = ctypes.CDLL(str(found[0]))
        mkl.MKL_Set_Num_Threads(1)
        self.m = csr.copy()
        self.x, self.xs = vectors(csr)
        n, m = csr.shape
        self.y, self.ys = np.empty(n, "f4"), np.empty((n, self.xs.shape[1]), "f4")
        self.handle, self.general = ctypes.c_void_p(), Descriptor(20, 42, 50)
        starts = self.m.indptr.astype(np.int32)
        self.kept = starts, self.m.indices.astype(np.int32), self.m.data
        at = [a.ctypes.data_as(ctypes.c_void_p) for a in self.kept]
        ends = ctypes.c_void_p(starts.ctypes.data + starts.itemsize)
        self._checked(
            mkl.mkl_sparse_s_create_csr(ctypes.byref(self.handle), 0, n, m, at[0], ends, at[1], at[2])
        )
        self._checked(mkl.mkl_sparse_set_mv_hint(self.handle, 10, self.general, 1000))
        self._checked(mkl.mkl_sparse_optimize(self.handle))

    @staticmethod
    def _checked(status: int) -> None:
        if status:
            raise RuntimeError(f"MKL says {status}")

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in self.kept)

    def product(self) -> object:
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        x, y = (ctypes.c_void_p(a.ctypes.data) for a in (self.x, self.y))
        self._checked(self.mkl.mkl_sparse_s_mv(10, one, self.handle, self.general, x, zero, y))
        return self.y

    def products(self) -> object:
        one, zero, k = ctypes.c_float(1), ctypes.c_float(0), self.xs.shape[1]
        x, y = (ctypes.c_void_p(a.ctypes.data) for a in (self.xs, self.ys))
        self._checked(self.mkl.mkl_sparse_s_mm(10, one, self.handle, self.general, 101, x, k, k, zero, y, k))
        return self.ys


STRUCTURES: tuple[Callable[..., Any], ...] = (Store, DenseArray, Lil, Dok, Csr, Dicts, Mkl)


def positions(
    csr: sp.csr_array, rng: np.random.Generator
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Empty positions: some for single edits, and a thousand."""
    n, m = csr.shape
    rows, cols, _ = sp.find(csr)
    taken = set(zip(rows.tolist(), cols.tolist(), strict=True))
    found: dict[tuple[int, int], None] = {}
    while len(found) < MANY:
        place = int(rng.integers(n)), int(rng.integers(m))
        if place not in taken:
            found[place] = None
    every = list(found)
    return every[:ONE], every


def vectors(csr: sp.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """One, and sixteen beside each other."""
    rng = np.random.default_rng(1)
    xs = rng.standard_normal((csr.shape[1], 16), dtype=np.float32)
    return xs[:, 0].copy(), xs
