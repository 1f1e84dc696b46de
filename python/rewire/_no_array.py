"""What a store is not: each operator of an array says where the store keeps what was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ["NoArray"]

_WAY = {
    "array": "store.to_csr() is SciPy's sparse matrix, store.to_csr().toarray() a dense copy",
    "product": "store.to_csr() @ x multiplies, store.to_csr().T @ y goes back",
    "sum": "store.to_csr() computes with a copy, `with store.view() as v: v.weight *= 2` changes the weights",
    "length": "store.nnz counts its connections, store.shape has rows and columns",
    "item": "store.to_csr()[i, j] and store.to_arrays() read, insert and remove change",
}
# Attributes of arrays and sparse matrices.
_NAMES = {
    "T": "product", "transpose": "product", "dot": "product", "toarray": "array", "todense": "array",
    "tocsr": "array", "tocoo": "array", "sum": "sum", "multiply": "sum",
}  # fmt: skip


def _refuse(self: object, what: str) -> NoReturn:
    raise TypeError(f"a {type(self).__name__} is no array: {_WAY[what]}")


class NoArray:
    """Refuses to be taken for an array, with words that help."""

    __slots__ = ()

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        _refuse(self, "array")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> NoReturn:
        _refuse(self, "product" if ufunc.__name__ in ("matmul", "vecdot", "matvec", "vecmat") else "sum")

    def __matmul__(self, other: object) -> NoReturn:
        _refuse(self, "product")

    def _sum(self, other: object) -> NoReturn:
        _refuse(self, "sum")

    __rmatmul__ = __matmul__
    __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __add__ = __radd__ = __sub__ = __rsub__ = __pow__ = _sum

    def __neg__(self) -> NoReturn:
        _refuse(self, "sum")

    __abs__ = __pos__ = __neg__

    if not TYPE_CHECKING:  # which would then take any name for an attribute

        def __getattr__(self, name):
            what = _NAMES.get(name)
            words = f"is no array and has no {name}: {_WAY[what]}" if what else f"has no attribute {name!r}"
            raise AttributeError(f"a {type(self).__name__} {words}", name=name, obj=self)

    def __len__(self) -> int:
        _refuse(self, "length")

    def __bool__(self) -> bool:
        return True  # it is there; Python would ask for its length

    def __iter__(self) -> NoReturn:
        _refuse(self, "item")

    def __contains__(self, item: object) -> NoReturn:
        _refuse(self, "item")

    def __getitem__(self, item: object) -> NoReturn:
        _refuse(self, "item")

    def __setitem__(self, item: object, value: object) -> NoReturn:
        _refuse(self, "item")
