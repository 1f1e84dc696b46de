"""What a store is not: operators of arrays, and names of theirs and of dicts, say what does that here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ["NoArray", "refuse"]

_WAY = {
    "array": "store.to_csr() is SciPy's sparse matrix, store.to_dense() a dense copy",
    "product": "store @ x and x @ store multiply by vectors and matrices, store.to_csr() @ x by sparse ones",
    "back": "y @ store multiplies by its transpose, store.backward_input(Y) does so for samples in rows",
    "sum": "store.to_csr() computes with a copy, `with store.view() as v: v.weight *= 2` changes the weights",
    "item": "store[i, j] is one connection and store[rows, cols] several of them, store.row(i) and "
    "store.column(j) are whole ones, store[np.ix_(rows, cols)] is a block, store.to_csr() can be sliced",
    "mask": "store[np.nonzero(mask)] are the connections at a mask's positions",
    "all": "store.to_arrays() is (rows, columns, weights), a loop over the store gives (row, column, weight)",
    "get": "store[i, j] is a weight, 0.0 where nothing is connected, which `(i, j) in store` tells",
    "set": "store.set(rows, cols, values) sets weights and connects what is not connected yet",
    "default": "`if (i, j) not in store: store.set([i], [j], [value])` connects one unless it is connected",
    "count": "store.nnz is the number of connections, store.shape that of all rows and columns",
    "del": "`del store[i, j]` disconnects one, store.remove(rows, cols) several of them",
}
# Attributes of arrays, sparse matrices and dicts.
_NAMES = {
    "T": "back", "transpose": "back", "dot": "product", "toarray": "array", "todense": "array",
    "tocsr": "array", "tocsc": "array", "tocoo": "array", "tolil": "array", "todok": "array",
    "data": "array", "indices": "array", "indptr": "array", "astype": "array", "sum": "sum",
    "multiply": "sum", "getrow": "item", "getcol": "item", "nonzero": "all", "keys": "all", "values": "all",
    "items": "all", "get": "get", "setdefault": "default", "update": "set", "pop": "del", "clear": "del",
    "popitem": "del", "tobsr": "array", "todia": "array", "asformat": "array", "tolist": "array",
    "diagonal": "array", "mean": "sum", "max": "sum", "min": "sum", "power": "sum", "getnnz": "count",
    "count_nonzero": "count", "size": "count", "H": "back", "getH": "back", "mT": "back",
}  # fmt: skip


def refuse(store: object, what: str) -> NoReturn:
    """TypeError that says where the store keeps what was meant."""
    raise TypeError(f"a {type(store).__name__} is no array: {_WAY[what]}")


class NoArray:
    """Refuses to be taken for an array, with words that help."""

    __slots__ = ()

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        refuse(self, "array")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc.__name__ == "matmul" and method == "__call__" and not options and len(inputs) == 2:
            left, right = inputs
            return left.__matmul__(right) if left is self else self.__rmatmul__(left)
        refuse(self, "product" if ufunc.__name__ in ("matmul", "vecdot", "matvec", "vecmat") else "sum")

    def __matmul__(self, other: Any) -> Any:
        refuse(self, "product")

    def __rmatmul__(self, other: Any) -> Any:
        refuse(self, "product")

    def _sum(self, other: object) -> NoReturn:
        refuse(self, "sum")

    __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __add__ = __radd__ = __sub__ = __rsub__ = __pow__ = _sum

    def __neg__(self) -> NoReturn:
        refuse(self, "sum")

    __abs__ = __pos__ = __neg__

    if not TYPE_CHECKING:  # which would then take any name for an attribute

        def __getattr__(self, name):
            what = _NAMES.get(name)
            words = f"has no {name}: {_WAY[what]}" if what else f"has no attribute {name!r}"
            raise AttributeError(f"a {type(self).__name__} {words}", name=name, obj=self)

    def __bool__(self) -> bool:
        return True  # it is there; Python would ask for its length
