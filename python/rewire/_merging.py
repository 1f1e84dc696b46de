"""Several stores of one shape become one: what workers with structures of their own come back with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rewire import _checks, _core
from rewire.store import WeightStore
from rewire.threads import resolve

__all__ = ["HOW", "merge"]

HOW = ("mean", "sum", "holders", "min", "max")
MOST = 4096  # stores, as the core has it


def merge(
    stores: Iterable[WeightStore],
    how: str = "mean",
    *,
    links: int | None = None,
    fields: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> WeightStore:
    """One store of several: the union of their links, or the best of these.

    Parameters
    ----------
    stores : iterable of WeightStore
        Of one shape, group and dtype. Bits depend on their order, for rounding is all that an order changes.
    how : {"mean", "sum", "holders", "min", "max"}
        What becomes of a link's weights: their sum divided by the number of stores, so that a link that few
        of them have is weak (Curci, Mocanu and Pechenizkiy, *Truly Sparse Neural Networks at Scale*,
        arXiv:2102.01732); their sum; their mean, or the smallest or largest, over the stores that have it.
    links : int, optional
        Keep exactly so many: those whose merged weights are largest in magnitude; of equal ones the first in
        canonical order. With ``group`` > 1 whole slots are kept, by the sum of magnitudes, and ``links`` must
        be a multiple of it. By default all are kept.
    fields : mapping of str to str, optional
        Fields that are merged as well, each as ``how`` is said: ``{"momentum": "mean"}``. Fields of whole
        numbers have "min" and "max". A field of the result has dtype and birth value of the first store's.
        By default there is no other field than the weights.
    threads : int, optional
        The bits do not depend on it.

    Returns
    -------
    WeightStore

    Raises
    ------
    TypeError, ValueError
        For stores that do not fit each other, that together have fewer than ``links``, or whose weights are
        not finite.
    KeyError
        For a field that one of the stores lacks.

    Examples
    --------
    >>> import rewire as rw
    >>> one = rw.WeightStore.from_dense([[0.5, 0.0, 2.0]])
    >>> two = rw.WeightStore.from_dense([[0.0, 3.0, 2.0]])
    >>> rw.merge([one, two]).to_csr().toarray()
    array([[0.25, 1.5 , 2.  ]], dtype=float32)
    >>> rw.merge([one, two], links=2).to_csr().toarray()
    array([[0. , 1.5, 2. ]], dtype=float32)
    """
    single = isinstance(stores, WeightStore) or not isinstance(stores, Iterable)
    if single or not (given := list(stores)):
        raise TypeError(f"stores must be at least one WeightStore in a list, got {_checks.describe(stores)}")
    if len(given) > MOST:
        raise ValueError(f"stores must be at most {MOST}, got {len(given)}")
    for number, store in enumerate(given):
        _checks.one_of_types(f"stores[{number}]", store, WeightStore, "a WeightStore")
        for name in ("shape", "group", "dtype"):
            if getattr(store, name) != getattr(given[0], name):
                raise ValueError(
                    f"stores must have one {name}, got {getattr(given[0], name)} and in stores[{number}] "
                    f"{getattr(store, name)}"
                )
    how = _checks.choice("how", how, HOW)
    slots = -1
    if links is not None:
        count, group = _checks.integer("links", links, low=0), given[0].group
        if count % group:
            raise ValueError(f"links must be a multiple of group, {group}, got {count}")
        slots = count // group
        most = sum(store.slots for store in given)
        if slots > most:
            raise ValueError(
                f"links must be at most what all stores have together, {most * group}, got {count}"
            )
    # What is not finite makes a sum that is not, which is among the largest: the result tells of all stores.
    shows = how not in ("min", "max") and given[0].dtype == "float32" and slots != 0
    if not shows:
        _refuse_not_finite(given)
    asked = {} if fields is None else dict(_checks.one_of_types("fields", fields, Mapping, "a mapping"))
    for name, blend in asked.items():
        _check_field(given, name, blend)
    count = resolve(threads)
    cores = [store._core for store in given]
    try:
        found = WeightStore._around(_core.merge(cores, how, slots, count))
    except ValueError as error:
        raise ValueError(f"links must be at most those of the union, got {links}: {error}") from None
    if shows and not _core.field_finite(found._core, "weight"):
        _refuse_not_finite(given)
    for name, blend in asked.items():
        dtype, width, birth = given[0].fields[name]
        found.add_field(name, dtype, per_slot=width != found.group, birth=birth)
        _core.blend(found._core, name, cores, blend, birth, count)
    for name, blend in {"weight": how, **asked}.items():
        if blend == "sum" and not _core.field_finite(found._core, name):
            raise ValueError(f"stores must have sums of {name!r} that are finite as {found.fields[name][0]}")
    return found


def _refuse_not_finite(stores: list[WeightStore]) -> None:
    for number, store in enumerate(stores):
        if not _core.field_finite(store._core, "weight"):
            raise ValueError(f"stores[{number}] must have weights that are finite, of which one is not")


def _check_field(stores: list[WeightStore], name: str, how: Any) -> None:
    """Refuse a field that cannot be merged so."""
    how = _checks.choice(f"fields[{name!r}]", how, HOW)
    if name == "weight":
        raise ValueError('fields must be others than "weight", which `how` is for')
    for number, store in enumerate(stores):
        if name not in store.fields:
            raise KeyError(f"stores[{number}] has no field {name!r}")
        if store.fields[name][:2] != stores[0].fields[name][:2]:
            raise ValueError(
                f"field {name!r} must have one dtype and width, which it has not in stores[{number}]"
            )
    dtype = stores[0].fields[name][0]
    if len(stores) > 1 and (dtype == "int64" or (dtype in ("int32", "uint8") and how not in ("min", "max"))):
        raise ValueError(f"field {name!r} of dtype {dtype} cannot be merged by {how!r}")
