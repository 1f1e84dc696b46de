"""The sparse weights of one layer, as people use them.

``WeightStore`` has a store of the core, and a face for NumPy and SciPy: connections are named by
(row, column), everything comes out as copies, and what goes in is checked as a whole before
anything changes. It is put together from its parts: edits, items, products, and how it is built. How it
works inside is drawn and explained in ``sparse_core/store/store.h``.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from rewire import _checks, _core
from rewire._built import FLOATS, Built
from rewire._edit_plan import EditPlan
from rewire._edits import Edits
from rewire._geometry import Geometry
from rewire._items import Items
from rewire._links import fitting
from rewire._pickling import ReceivedStore, StreamedStore
from rewire._products import Products
from rewire._view import StoreView
from rewire.threads import resolve

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["EditPlan", "StoreView", "WeightStore"]

STATE_VERSION = 1  # of pickles


class WeightStore(Edits, Items, Products, Built):
    """Mutable sparse weights of shape ``(n_out, n_in)``.

    Row ``i`` holds the connections into output neuron ``i``. What is connected is a matter of
    structure alone: a stored 0.0 is a connection like any other.

    By connections it is a mapping: ``store[i, j]`` is a weight, ``store[i, j] = w`` sets or inserts it,
    ``del store[i, j]`` removes it, ``(i, j) in store`` asks, ``len(store)`` counts and a loop goes through
    ``(i, j, w)``. As a matrix it multiplies: ``store @ x``, ``x @ store``. The methods take many connections
    or samples at a time.

    Parameters
    ----------
    n_out, n_in : int
        Output neurons and inputs. By keyword only: swapping them must not pass silently.
    group : {1, 2, 4, 8}, default 1
        Neighbouring rows that share one list of inputs. More is faster to train; edits then
        name whole groups.
    dtype : {"float32", "float64"}, default "float32"
        Here and elsewhere as a string, as NumPy's dtype, or as a type.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the weights. Equal to its name: ``store.dtype == "float32"``.
    nnz : int
        Connections.
    nbytes : int
        Memory held, registered fields and fan-out mirror included.
    fields : dict of str to (dtype, values a slot, birth value)
        "weight" and whatever optimizers and rewiring rules have registered with ``add_field``.

    Examples
    --------
    >>> from rewire import WeightStore
    >>> store = WeightStore(n_out=2, n_in=3)
    >>> store.insert([0, 1, 1], [2, 0, 1], [0.5, -1.0, 0.25])
    >>> store.remove(1, 0)
    >>> store.nnz, store.fan_in().tolist()
    (2, [1, 1])
    >>> store[1, 1] += 0.5
    >>> store[1, 1], store[0, 1], (0, 1) in store
    (0.75, 0.0, False)
    >>> store @ [1.0, 2.0, 4.0]
    array([2. , 1.5], dtype=float32)
    """

    __slots__ = ("__weakref__", "_core")

    def __init__(self, *, n_out: int, n_in: int, group: int = 1, dtype: DTypeLike = "float32") -> None:
        name = _checks.dtype_name("dtype", dtype, FLOATS)
        self._core = _core.Store(n_out=n_out, n_in=n_in, group=group, dtype=name)

    # --- what there is ----------------------------------------------------------

    @property
    def n_out(self) -> int:
        """Output neurons: rows."""
        return self._core.n_out

    @property
    def n_in(self) -> int:
        """Inputs: columns."""
        return self._core.n_in

    @property
    def group(self) -> int:
        """Neighbouring rows that share one list of inputs."""
        return self._core.group

    @property
    def n_groups(self) -> int:
        """Groups of rows."""
        return self._core.n_groups

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the weights: float32 or float64."""
        return np.dtype(self._core.dtype)

    @property
    def slots(self) -> int:
        """Inputs of all groups: with ``group=1`` a slot is a connection."""
        return self._core.slots

    @property
    def nnz(self) -> int:
        """Connections."""
        return self._core.nnz

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._core.nbytes

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_out, n_in)``."""
        return self.n_out, self.n_in

    @property
    def density(self) -> float:
        """Connections as a fraction of ``n_out * n_in``."""
        return self.nnz / (self.n_out * self.n_in)

    def fan_in(self) -> NDArray[np.int64]:
        """Connections into each output neuron, shape (n_out,)."""
        return np.repeat(np.diff(self.indptr()), self.group)[: self.n_out]

    def fan_out(self) -> NDArray[np.int64]:
        """Connections out of each input, shape (n_in,)."""
        sources = self.sources()
        counts = np.bincount(sources, minlength=self.n_in) * self.group
        missing = Geometry.of(self).missing_rows
        if missing:  # the last group has fewer rows
            counts -= np.bincount(sources[self.indptr()[-2] :], minlength=self.n_in) * missing
        return counts

    def validate(self) -> None:
        """Verify every invariant of the structure; RuntimeError names the first that is broken."""
        self._core.check()

    def compact(self) -> None:
        """Pack the memory tight. BufferError while a view is open, as in `insert`."""
        self._core.compact()

    def __repr__(self) -> str:
        fields = ", ".join(name for name in self.fields if name != "weight")
        return (
            f"{type(self).__name__}(n_out={self.n_out}, n_in={self.n_in}, group={self.group}, "
            f"dtype={self._core.dtype!r}: {self.nnz} connections, density {self.density:.3g}"
            f"{', fields ' + fields if fields else ''})"
        )

    # --- arrays -----------------------------------------------------------------

    def _row_slots(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Row-major: connections before each row, and the row and the slot of each connection."""
        starts = self.indptr()
        before = np.zeros(self.n_out + 1, np.int64)
        np.cumsum(self.fan_in(), out=before[1:])
        rows = np.repeat(np.arange(self.n_out), np.diff(before))
        slots = np.arange(before[-1]) + (starts[rows // self.group] - before[rows])
        return before, rows, slots

    def to_arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any]]:
        """All connections in row-major order, as copies.

        Returns
        -------
        rows, cols : ndarray of int32, shape (nnz,)
        values : ndarray of the store's dtype, shape (nnz,)
        """
        _, rows, slots = self._row_slots()
        values = self.get_field("weight")[slots, rows % self.group]
        return rows.astype(np.int32), self.sources()[slots], values

    def to_dense(self) -> NDArray[Any]:
        """A copy as a matrix of shape ``(n_out, n_in)``, 0.0 where nothing is connected."""
        rows, cols, values = self.to_arrays()
        dense = np.zeros(self.shape, self.dtype)
        dense[rows, cols] = values
        return dense

    def to_csr(self) -> csr_array:
        """A copy as ``scipy.sparse.csr_array``; connections of weight zero are stored zeros."""
        try:
            from scipy.sparse import csr_array
        except ImportError as error:
            raise ImportError("to_csr needs SciPy: pip install 'rewire[sklearn]'") from error
        before, rows, slots = self._row_slots()
        values = self.get_field("weight")[slots, rows % self.group]
        return csr_array((values, self.sources()[slots], before), shape=self.shape)

    def view(self) -> StoreView:
        """Live arrays, no copies: ``with store.view() as v: v.weight *= 0.5``. See `StoreView`."""
        return StoreView(self._core)

    # --- canonical order: groups ascend, and in a group sources do ---------------

    def indptr(self) -> NDArray[np.int64]:
        """Slots before each group, shape (n_groups + 1,)."""
        return self._core.indptr()

    def sources(self) -> NDArray[np.int32]:
        """The input of each slot, shape (slots,)."""
        return self._core.sources()

    @property
    def fields(self) -> dict[str, tuple[str, int, float]]:
        """Registered fields by name: dtype, values a slot, birth value; "weight" first."""
        return self._core.fields

    def add_field(self, name: str, dtype: DTypeLike, *, per_slot: bool = False, birth: float = 0.0) -> None:
        """Register a field: one value for each row of a slot, or with ``per_slot`` one for the slot.

        Parameters
        ----------
        name : str
        dtype : {"float32", "float64", "int32", "int64", "uint8"}
        per_slot : bool
        birth : float
            What all slots hold now, and new ones from now on.

        Raises
        ------
        TypeError, ValueError
            For a field that is there already, another dtype, a birth value that the dtype cannot hold.
        BufferError
            While a view is open, as in `insert`.
        """
        kind = _checks.dtype_name("dtype", dtype, ("float32", "float64", "int32", "int64", "uint8"))
        self._core.add_field(name, kind, per_slot=per_slot, birth=birth)

    def drop_field(self, name: str) -> None:
        """Forget a field. KeyError if there is none; BufferError while a view is open."""
        self._core.drop_field(name)

    def set_birth(self, name: str, value: float) -> None:
        """What slots that are inserted from now on hold in a field. KeyError if there is none."""
        self._core.set_birth(name, value)

    def get_field(self, name: str) -> NDArray[Any]:
        """A copy of a field in canonical order, shape (slots, group), or (slots, 1) with one value a slot.

        KeyError for a field that is not there. `view` has live arrays, in the order of memory.
        """
        return self._core.get_field(name)

    def set_field(self, name: str, values: ArrayLike) -> None:
        """Write a field from canonical order, rounded to its dtype; weights of rows beyond n_out become zero.

        Raises
        ------
        KeyError, TypeError, ValueError
            For a field that is not there, values that are no real numbers, another number of them, or one
            that the field cannot hold; its position is named.
        """
        fields = self.fields
        if name in fields:
            values = np.ascontiguousarray(fitting("values", values, np.dtype(fields[name][0])))
        self._core.set_field(name, np.asarray(values))

    # --- the structure, for another process or another store ----------------------

    def structure_digest(self) -> int:
        """A number of 64 bits that says which links there are, whatever their weights and history.

        Stores of one shape and group with the same digest have the same links, but for a chance of 2**-64;
        whoever makes up links on purpose can make two with one digest. It is kept up to date by every edit,
        so asking costs nothing.
        """
        return _core.structure_digest(self._core)

    def structure_bytes(self) -> bytes:
        """The structure without values, in 1 or 2 bytes a slot in most layers: see `from_structure`."""
        return _core.structure_bytes(self._core)

    @classmethod
    def from_structure(
        cls, data: bytes | bytearray | memoryview, *, dtype: DTypeLike = "float32", weight: float = 0.0
    ) -> Self:
        """A store with the links of `structure_bytes`.

        Parameters
        ----------
        data : bytes
            Everything is checked: no bytes, wherever they come from, make an unsound store.
        dtype : {"float32", "float64"}
        weight : float
            Of all links; the other things that a link has are carried over by `carry`.

        Raises
        ------
        TypeError, ValueError
            For bytes that are no structure, are cut short, or damaged.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be bytes, got {_checks.describe(data)}")
        # A copy of what another thread may change while it is read, after it was checked.
        view = memoryview(data if isinstance(data, bytes) else bytes(data))
        n_out, n_in, group, _ = _core.structure_sizes(view)
        name = _checks.dtype_name("dtype", dtype, FLOATS)
        weight = _held("weight", weight, name)
        store = _empty(cls, n_out, n_in, group, name)
        store.set_birth("weight", weight)
        _core.structure_load(store._core, view)
        store.set_birth("weight", 0.0)
        return cast(Self, store)

    def carry(
        self,
        other: WeightStore,
        field: str = "weight",
        *,
        new: float | None = None,
        threads: int | None = None,
    ) -> None:
        """Take over the values that another store has, for links that both have.

        Parameters
        ----------
        other : WeightStore
            Of the same shape and group; its field has the dtype of this one's.
        field : str
            "weight", or a field that both have registered.
        new : float, optional
            What links hold that ``other`` does not have; by default the field's birth value.
        threads : int, optional

        Raises
        ------
        TypeError, ValueError, KeyError
            For anything else; nothing is changed then.
        MemoryError, KeyboardInterrupt
            Nothing is changed then either: the values are carried over into memory for one field more.
        """
        _checks.one_of_types("other", other, WeightStore, "a WeightStore")
        if (other.shape, other.group) != (self.shape, self.group):
            raise ValueError(
                f"other must have shape {self.shape} and group {self.group}, got {other.shape} and "
                f"{other.group}"
            )
        for store in (self, other):
            if field not in store.fields:
                raise KeyError(f"the store has no field {field!r}, only {list(store.fields)}")
        mine, its = self.fields[field], other.fields[field]
        if mine[:2] != its[:2]:
            raise ValueError(f"field {field!r} must be of one dtype and width, got {mine[:2]} and {its[:2]}")
        value = mine[2] if new is None else _held("new", new, mine[0])
        if other is not self:
            _core.blend(self._core, field, [other._core], "mean", value, resolve(threads))

    # --- copies -----------------------------------------------------------------

    @classmethod
    def _around(cls, core: _core.Store) -> Self:
        """The store that has this one of the core."""
        twin = cls.__new__(cls)
        twin._core = core
        return twin

    def copy(self) -> Self:
        """An equal store, packed tight; attributes that a subclass adds are the same objects."""
        twin = type(self).__new__(type(self))
        twin._core = self._core.clone()
        _own(twin).update(_own(self))
        return twin

    def __copy__(self) -> Self:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        memo[id(self)] = twin = self.copy()
        _own(twin).update(copy.deepcopy(_own(self), memo))
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        return _empty, (type(self), self.n_out, self.n_in, self.group, self._core.dtype), self.__getstate__()

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """As a stream, unless a subclass says itself what its pickles are."""
        kind = type(self)
        if any(
            getattr(kind, name) is not getattr(WeightStore, name)
            for name in ("__reduce__", "__getstate__", "__setstate__")
        ):
            return self.__reduce__()
        stream = StreamedStore(self._core, [name for name in self.fields if name != "weight"])
        stream.once = True
        own = _own(self)
        return _received, (type(self), stream), {"own": own} if own else None

    def __getstate__(self) -> dict[str, Any]:
        """Plain arrays in canonical order: all that a result depends on."""
        own = _own(self)
        return {
            "version": STATE_VERSION,
            "indptr": self.indptr(),
            "sources": self.sources(),
            "fields": {
                name: (dtype, width, birth, self.get_field(name))
                for name, (dtype, width, birth) in self.fields.items()
            },
            **({"own": own} if own else {}),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over :meth:`__getstate__`, or what a subclass has added beside a store that is there."""
        if state.keys() == {"own"}:
            _own(self).update(state["own"])
            return
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"cannot read a pickled WeightStore of version {state.get('version')!r}")
        fields = dict(state["fields"])
        _, _, birth, weights = fields.pop("weight")
        self._core.load(state["indptr"], state["sources"], weights)
        self.set_birth("weight", birth)
        for name, (dtype, width, birth, values) in fields.items():
            self.add_field(name, dtype, per_slot=width != self.group, birth=birth)
            self._core.set_field(name, values)
        self._core.check()
        _own(self).update(state.get("own", {}))


def _held(name: str, value: Any, dtype: str) -> float:
    """A number that a field of a dtype can hold."""
    if np.dtype(dtype).kind == "f":
        most = float(np.finfo(dtype).max)
        return _checks.number(name, value, low=-most, high=most)
    limits, number = np.iinfo(dtype), _checks.number(name, value)
    if not (number.is_integer() and limits.min <= number <= limits.max):
        raise ValueError(
            f"{name} must be an integer in [{limits.min}, {limits.max}] for a field of dtype {dtype}, "
            f"got {_checks.describe(value)}"
        )
    return number


def _own(store: WeightStore) -> dict[str, Any]:
    """The attributes that an instance of a subclass has; a store itself can have none."""
    return getattr(store, "__dict__", {})


def _received(cls: type[WeightStore], stream: ReceivedStore) -> WeightStore:
    return cls._around(stream.taken())


def _empty(cls: type[WeightStore], n_out: int, n_in: int, group: int, dtype: str) -> WeightStore:
    """An empty store of a subclass whose constructor may take other arguments."""
    store = cls.__new__(cls)
    store._core = _core.Store(n_out=n_out, n_in=n_in, group=group, dtype=dtype)
    return store
