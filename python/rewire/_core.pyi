"""Typed face of the compiled core: thin functions over ``sparse_core/*.h``.

Nothing here is public API; ``rewire.WeightStore`` and the layers are. Arrays
must already have the dtype and order named (the callers convert): a wrong one
is refused with a ``TypeError`` or ``ValueError`` that names the argument.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

class Store:
    """Mutable sparse weights; owns one ``rw_store``. A ``rewire.WeightStore`` has one."""

    def __init__(self, *, n_out: int, n_in: int, group: int = 1, dtype: str = "float32") -> None: ...
    n_out: int
    n_in: int
    group: int
    n_groups: int
    dtype: str  # "float32" | "float64"
    slots: int  # live slots
    nnz: int  # connections: group a slot, only rows that exist
    arena: int  # slots that have memory
    wasted: int  # slots of free windows: in the pool, or lost until the next repacking
    nbytes: int
    generation: int
    pins: int
    held: int  # arrays of views whose `with` block has not ended
    has_mirror: bool

    def viewed(self) -> str: ...  # for a message: how many arrays of views are alive, and what to do
    def check(self) -> None: ...  # RuntimeError naming the broken invariant
    def clone(self) -> Self: ...
    def revert(self, then: Store) -> None: ...  # what it was when `then` was cloned from it
    def compact(self) -> None: ...
    def build_mirror(self, threads: int = 1) -> bool: ...  # False where it does not pay or memory is short
    def drop_mirror(self) -> None: ...

    # canonical order: groups ascending, sources ascending within a group
    def indptr(self) -> NDArray[np.int64]: ...  # (n_groups + 1,)
    def sources(self) -> NDArray[np.int32]: ...  # (slots,)
    def load(self, indptr: NDArray[np.int64], sources: NDArray[np.int32], weights: NDArray[Any]) -> None: ...
    def add_field(self, name: str, dtype: str, *, per_slot: bool = False, birth: float = 0.0) -> None: ...
    def drop_field(self, name: str) -> None: ...
    def set_birth(self, name: str, value: float) -> None: ...
    @property
    def fields(
        self,
    ) -> dict[str, tuple[str, int, float]]: ...  # name -> (dtype, width, birth), "weight" first
    @property
    def layout(self) -> object: ...  # another one whenever a field has come or gone
    def field_kind(self, name: object) -> tuple[str, int] | None: ...
    def has_field(self, name: object) -> bool: ...
    def get_field(self, name: str, out: NDArray[Any] | None = ...) -> NDArray[Any]: ...  # (slots, width)
    def set_field(self, name: str, values: NDArray[Any]) -> None: ...
    def zero_free_slots(self) -> None: ...
    def lend(self) -> dict[str, NDArray[Any]]: ...
    # live arrays "start" (int64), "length" (int32), "source", all three read-only, and every field as
    # (arena, width): each pins the store until it is garbage collected; edits meanwhile raise BufferError

class Loader:
    """A store from flat arrays that come block by block; a wrong one leaves no store to finish."""

    def __init__(
        self, slots: int, *, n_out: int, n_in: int, group: int = 1, dtype: str = "float32"
    ) -> None: ...
    def add_field(self, name: str, dtype: str, *, per_slot: bool = False, birth: float = 0.0) -> None: ...
    def set_birth(self, name: str, value: float) -> None: ...
    # in this order, each in as many blocks as one likes: n_groups + 1, slots, and slots of each field
    def indptr(self, block: NDArray[np.int64]) -> None: ...
    def sources(self, block: NDArray[np.int32]) -> None: ...
    def values(self, field: str, block: NDArray[Any]) -> None: ...
    def finish(self) -> Store: ...  # ValueError unless all has come

def read_links(store: Store, field: str, out: NDArray[Any]) -> None: ...  # (nnz,) of the field's dtype
def write_links(store: Store, field: str, values: NDArray[Any]) -> None: ...
def structure_digest(store: Store) -> int: ...  # 64 bits
def structure_digest_counted(store: Store) -> int: ...
def structure_bytes(store: Store) -> bytes: ...

# n_out, n_in, group, slots
def structure_sizes(data: bytes | bytearray | memoryview) -> tuple[int, int, int, int]: ...
def structure_load(store: Store, data: bytes | bytearray | memoryview) -> None: ...
def merge(stores: Sequence[Store], how: str, slots: int, threads: int = 1) -> Store: ...  # -1: all slots
def blend(
    to: Store, field: str, stores: Sequence[Store], how: str, none: float, threads: int = 1
) -> None: ...

# link by link in the order of WeightStore.to_arrays: rows ascend, and in a row sources do. ValueError for a
# field of one value a slot where a slot is more than one link.
def packed_slots(slots: int, n_groups: int) -> int: ...  # the most that live slots take, slack included
def mirror_room(slots: int) -> int: ...  # entries, of 8 bytes, of the mirror of so many

class Plan:
    """A change of one store's structure; owns one ``rw_plan``."""

    def __new__(cls, store: Store) -> Self: ...
    store: Store
    n_removed: int  # slots
    n_inserted: int  # slots
    nbytes: int
    stale: bool  # whether links of the store have changed since the plan was made
    def pairs(
        self,
        del_group: NDArray[np.int32],
        del_source: NDArray[np.int32],
        ins_group: NDArray[np.int32],
        ins_source: NDArray[np.int32],
        ins_weight: NDArray[Any] | None,
    ) -> None: ...  # sorted by (group, source); ins_weight (n, group); LinkError subclasses below
    def insert(
        self, group: NDArray[np.int32], source: NDArray[np.int32], weight: NDArray[Any] | None = None
    ) -> None: ...  # to a plan without insertions; sorted; LinkError subclasses below
    def keep_common(self) -> None: ...  # what is removed and inserted again stays; before weights are drawn
    def removed(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]: ...  # RuntimeError if stale
    def marked(self) -> NDArray[np.bool_]: ...  # which slots go, canonical order; RuntimeError if stale
    def mapping(self) -> NDArray[np.int64]: ...  # slots after the commit, before it or then: which they were
    def inserted(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]: ...  # (groups, sources)
    # rules; seed, stream (layer), step name the random numbers
    def prune_set(self, zeta: float, seed: int, stream: int, step: int, threads: int = 1) -> None: ...
    def prune_smallest(self, count: int, seed: int, stream: int, step: int, threads: int = 1) -> None: ...
    def prune_scores(
        self, score: NDArray[np.float64], count: int, seed: int, stream: int, step: int, threads: int = 1
    ) -> None: ...  # (slots,), >= 0 and no NaN, canonical order
    def prune_zeros(self, threads: int = 1) -> None: ...  # slots that hold zeros alone
    def prune_below(self, threshold: float, threads: int = 1) -> None: ...  # of smaller sums of magnitudes
    def grow_random(self, count: int, seed: int, stream: int, step: int, threads: int = 1) -> None: ...
    def grow_fan_in(self, fan_in: int, seed: int, stream: int, step: int, threads: int = 1) -> None: ...
    def grow_paths(
        self,
        count: int,
        score: str,  # "ch2" | "ch3"
        sample: bool,  # draw places, or take the best
        seed: int,
        stream: int,
        step: int,
        threads: int = 1,
    ) -> None: ...
    def grow_gradient(
        self,
        count: int | NDArray[np.int32],  # of the layer, or of each group
        x: Tiles | SparseInputs,
        dy: Tiles,
        returns: bool,  # whether places that the plan empties compete
        seed: int,
        stream: int,
        step: int,
        threads: int = 1,
    ) -> None: ...
    def draw_weights(
        self, kind: str, scale: float, real_fan: bool, seed: int, stream: int, step: int, threads: int = 1
    ) -> None: ...  # kind: "constant" | "uniform" | "normal" | "sign" | "overshoot"

def commit(plans: Sequence[Plan], threads: int = 1) -> None:
    """Carry out all plans or none (each store at most once). BufferError if a store is viewed,
    RuntimeError if one has changed since its plan was made, MemoryError."""

# for some rules; the fields are described in deepr.h and topkast.h
def deepr_signs(store: Store, field: str) -> None: ...
def deepr_step(
    store: Store, field: str, drift: float, noise: float, seed: int, stream: int, step: int, threads: int
) -> None: ...  # ValueError if the field is not one of signs
def topkast_derive(
    store: Store,
    master: str,
    mask: str,
    forward_rate: float,
    backward_rate: float,
    magnitudes: bool,  # L1, not L2
    threads: int,
) -> None: ...  # ValueError if a field is not of its kind
def topkast_select(
    store: Store,
    master: str,
    mask: str,
    group: NDArray[np.int32],
    source: NDArray[np.int32],
    up: NDArray[np.uint8],
) -> None: ...  # LinkAbsent if one of the slots is not there

class LinkError(Exception):
    """Carries .group and .source of the first offending slot. Never raised itself:"""

    group: int
    source: int
    def __init__(self, message: str, group: int = -1, source: int = -1) -> None: ...

class LinkExists(LinkError, ValueError): ...
class LinkAbsent(LinkError, KeyError): ...
class LinkRange(LinkError, IndexError): ...

class SparseInputs:
    """Inputs of which few are not zero; owns one ``rw_nonzeros``."""

    def __new__(cls, n: int, dtype: str = "float32") -> Self: ...
    n: int
    batch: int  # 0 before anything is loaded
    tile: int
    n_tiles: int
    dtype: str
    nbytes: int
    packed: bool  # in tiles, because there are many values?
    values: int
    def load(
        self,
        indptr: NDArray[np.int64],
        columns: NDArray[np.int32],  # ascending in each row
        values: NDArray[Any],  # float32 or float64
        rows: NDArray[np.int64],
        *,
        shift: NDArray[np.float64] | None = None,
        scale: NDArray[np.float64] | None = None,
        zero: NDArray[Any] | None = None,
        whole: NDArray[np.int32] | None = None,
        part: int | None = None,
        threads: int = 1,
    ) -> None: ...
    def unpack(self, out: NDArray[Any] | None = None, threads: int = 1) -> NDArray[Any]: ...
    def finite(self, threads: int = 1) -> bool: ...

class Tiles:
    """Activations of a batch; owns one ``rw_tiles``."""

    def __new__(
        cls,
        n: int,
        batch: int,
        tile: int,
        dtype: str = "float32",
        memory: Any = None,  # where they lie, if not in memory of their own: aligned to 64 bytes, kept alive
    ) -> Self: ...
    n: int
    batch: int
    tile: int
    n_tiles: int
    dtype: str
    nbytes: int
    padding_is_clear: bool  # zeros where no sample or feature is?
    def clear_padding(self) -> None: ...
    def shape_to(self, batch: int, tile: int) -> None: ...  # ValueError when it does not fit
    def pack(
        self,
        x: NDArray[Any],  # (m, n): float32/64, (u)int8/16, int32/64, bool; any strides
        rows: NDArray[np.int64] | None = None,
        mean: NDArray[np.float64] | None = None,
        scale: NDArray[np.float64] | None = None,
        threads: int = 1,
    ) -> None: ...
    def pack_csr(
        self,
        indptr: NDArray[np.int64],
        columns: NDArray[np.int32],
        values: NDArray[Any],
        rows: NDArray[np.int64] | None = None,
        mean: NDArray[np.float64] | None = None,
        scale: NDArray[np.float64] | None = None,
        threads: int = 1,
    ) -> None: ...
    def finite(self, threads: int = 1) -> bool: ...
    def unpack(self, out: NDArray[Any] | None = None, threads: int = 1) -> NDArray[Any]: ...  # (batch, n)
    def array(self) -> NDArray[Any]: ...  # live (n_tiles, n, tile) view, rows contiguous; for Dense
    def zero(self) -> None: ...

def tile_size(batch: int, dtype: str) -> int: ...

class Update:
    """One optimizer step's constants; owns an ``rw_update``. Equal betas share their correction tables."""

    def __new__(
        cls,
        kind: str,  # "sgd" | "adam"
        *,
        decay_kind: str = "l2",  # "l2" | "decoupled" | "per_step"
        momentum: float = 0.0,
        nesterov: bool = False,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        state: Sequence[str] = (),  # fields of m and v, as many as the step keeps
        age: str | None = None,  # field of birth steps, int32, one a slot; None: all as old as `step`
        target: str | None = None,
    ) -> Self: ...
    lr: float  # set before every step
    decay: float
    step: int  # 1 for the first step
    state: tuple[str, ...]  # the fields that `update_array` takes, in its order
    target: str | None  # the field that the step changes; None: the weights. Of slots: `update_array` is told

class Scratch:
    """Aligned workspace of products, for one call at a time: grows when asked, one for a network."""

    def __init__(self) -> None: ...
    nbytes: int

class Rounded:
    """Tiles rounded to bfloat16 once, for several products of one pass, by who knows that they stay."""

    def __init__(self) -> None: ...
    def load(self, x: Tiles, threads: int) -> None: ...
    nbytes: int

# --- layers. act: "linear" | "relu" | "leaky" | "sigmoid" | "tanh" | "thresholded" | "gelu" | "gelu_tanh" |
# "silu". bias: (n_out padded to a multiple of 8,) of the store's dtype, or None. All release the GIL and
# raise KeyboardInterrupt on Ctrl-C.
def forward(
    store: Store,
    x: Tiles | SparseInputs,
    bias: NDArray[Any] | None,
    act: str,
    slope: float,
    y: Tiles,
    z: Tiles | None,
    threads: int,
    bf16: bool = False,  # operands are rounded to bfloat16: in the functions below too
    scratch: Scratch | None = None,
    rounded: Rounded | None = None,  # of x
) -> None: ...
def activate(
    bias: NDArray[Any] | None, act: str, slope: float, y: Tiles, z: Tiles | None, threads: int
) -> None: ...
def activate_back(act: str, slope: float, y_or_z: Tiles, dy: Tiles, threads: int) -> None: ...
def backward_input(
    store: Store,
    dy: Tiles,
    dx: Tiles,
    threads: int,
    bf16: bool = False,
    scratch: Scratch | None = None,
    rounded: Rounded | None = None,  # of dy
) -> None: ...
def gather_pays(store: Store, batch: int) -> bool: ...
def backward_update(
    store: Store,
    x: Tiles | SparseInputs,
    dy: Tiles,
    update: Update,
    scratch: Scratch,
    threads: int,
    bf16: bool = False,
    rounded: tuple[Rounded | None, Rounded | None] = (None, None),  # of x and dy
) -> None: ...
def backward_weights(
    store: Store,
    x: Tiles | SparseInputs,
    dy: Tiles,
    field: str,
    threads: int,
    add: bool = False,  # to what the field holds: old + new, in one rounding
    scratch: Scratch | None = None,  # with add or bf16: memory that is not asked for anew
    bf16: bool = False,
    rounded: tuple[Rounded | None, Rounded | None] = (None, None),  # of x and dy
) -> None: ...
def update_from(store: Store, field: str, update: Update, threads: int) -> None: ...
def field_sumsq(store: Store, field: str) -> float: ...
def field_scale(store: Store, field: str, factor: float) -> None: ...
def field_add(store: Store, field: str, values: NDArray[Any]) -> None: ...
def field_average(store: Store, of: str, mean: str, count: str, least: float, threads: int) -> None: ...
def field_finite(store: Store, field: str) -> bool: ...
def field_rescale(
    store: Store, field: str, rows: NDArray[Any] | None = None, cols: NDArray[Any] | None = None
) -> None: ...
def weight_times(store: Store, x: NDArray[Any]) -> NDArray[Any]: ...
def bias_gradient(dy: Tiles, out: NDArray[Any], threads: int, add: bool = False) -> None: ...  # out (+)= sum
def activate_back_sums(
    act: str,
    slope: float,
    y_or_z: Tiles,
    dy: Tiles,
    out: NDArray[Any],
    threads: int,
    add: bool = False,
    drop: tuple[float, int, int, int, int] | None = None,  # dropout of dy first
) -> None: ...  # activate_back, then bias_gradient
def update_array(
    w: NDArray[Any],
    grad: NDArray[Any],
    update: Update,
    m: NDArray[Any] | None = None,
    v: NDArray[Any] | None = None,
) -> None: ...  # C-contiguous, equal size, any shape: biases and dense layers
def dropout(
    x: Tiles,
    y: Tiles,
    p: float,
    seed: int,
    stream: int,
    step: int,
    threads: int,
    first_sample: int = 0,  # the number of x's first sample in its step
) -> None: ...
def two_sides(x: Tiles, sides: Tiles, threads: int) -> None: ...  # [max(x, 0), min(x, 0)], by feature
def two_sides_back(x: Tiles, dsides: Tiles, dx: Tiles, threads: int) -> None: ...
def winners(
    x: Tiles, factor: NDArray[Any], sign: float, k: int, y: Tiles, row: int, threads: int
) -> None: ...
def winners_back(y: Tiles, dy: Tiles, row: int, dx: Tiles, add: bool, threads: int) -> None: ...
def count_winners(y: Tiles, counts: NDArray[np.float64], threads: int) -> None: ...
def srelu(x: Tiles, shape: NDArray[Any], y: Tiles, threads: int) -> None: ...  # shape: (4, n)
def srelu_back(x: Tiles, shape: NDArray[Any], dy: Tiles, dx: Tiles, threads: int) -> None: ...
def srelu_gradient(
    x: Tiles, shape: NDArray[Any], dy: Tiles, gradient: NDArray[Any], threads: int
) -> None: ...
def wht(x: Tiles, y: Tiles, first: int, last: int, threads: int) -> None: ...  # stages; y may be x
def switches(x: Tiles, weight: NDArray[Any], width: int, y: Tiles, threads: int) -> None: ...
def switches_back(x: Tiles, weight: NDArray[Any], width: int, dy: Tiles, dx: Tiles, threads: int) -> None: ...
def switches_gradient(x: Tiles, dy: Tiles, width: int, gradient: NDArray[Any], threads: int) -> None: ...
def layer_norm(
    x: Tiles,
    gain: NDArray[Any],  # by feature, padded like a bias, as all of these
    shift: NDArray[Any],
    eps: float,
    z: Tiles,
    inverse: NDArray[Any],  # by sample, of whole tiles
    y: Tiles,
    threads: int,
    centered: bool = True,  # or by the root mean square
) -> None: ...
def layer_norm_back(
    z: Tiles,
    inverse: NDArray[Any],
    gain: NDArray[Any],
    dy: Tiles,
    dx: Tiles,
    threads: int,
    centered: bool = True,
) -> None: ...
def norm_gradient(z: Tiles, dy: Tiles, dgain: NDArray[Any], dshift: NDArray[Any], threads: int) -> None: ...

SAFE: int

def largest(x: NDArray[Any]) -> float: ...  # inf where one is not finite
def column_sums(x: NDArray[np.float64]) -> NDArray[np.float64]: ...  # (5, n): moments.h
def entry_sums(
    columns: NDArray[np.int32], values: NDArray[np.float64], rows: int, n: int
) -> NDArray[np.float64]: ...  # (5, n)
def deviations(
    mean: NDArray[np.float64], squares: NDArray[np.float64], total: float, rounding: float
) -> tuple[NDArray[np.float64], bool]: ...
def block_moments(
    x: NDArray[np.float64], rounding: float, least: float, most: float
) -> NDArray[np.float64] | None: ...  # (5, n)
def merge_moments(
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
    total: float,
    more_mean: NDArray[np.float64],
    more_deviation: NDArray[np.float64],
    more: float,
    rounding: float,
) -> NDArray[np.float64]: ...  # (2, n)
def column_scales(
    center: NDArray[np.float64],
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    rounding: float,
    farthest: float,
) -> tuple[NDArray[np.float64], float, float]: ...
def learn_columns(
    known: tuple[NDArray[np.float64], ...],  # centers, scales
    seen: tuple[Any, ...],  # weight, means, deviations, least and largest values
    found: tuple[Any, ...],
    centers: bool,
    rounding: float,
    farthest: float,
    least: float,
    most: float,
    fresh: float,
) -> tuple[NDArray[np.float64], float, float]: ...  # (7, n): see moments.pxi
def elsewhere(before: tuple[Any, ...], found: tuple[Any, ...], apart: float) -> NDArray[np.bool_]: ...
def follow_targets(
    before: tuple[Any, ...],  # `Moments`
    found: tuple[Any, ...],
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    rules: tuple[float, float, float],  # apart, behind, tolerance: target_units.h
    rounding: float,
    stream: bool,
) -> tuple[NDArray[np.float64], bool, bool]: ...  # (6, n); whether both count alike, whether units can stay
def batch_moments(
    x: Tiles,
    eps: float,
    mean: NDArray[Any],
    variance: NDArray[Any],
    inverse: NDArray[Any],
    threads: int,
) -> None: ...
def batch_norm(
    x: Tiles,
    mean: NDArray[Any],
    inverse: NDArray[Any],
    gain: NDArray[Any],
    shift: NDArray[Any],
    z: Tiles | None,
    y: Tiles,
    threads: int,
) -> None: ...
def batch_norm_back(
    z: Tiles,
    inverse: NDArray[Any],
    gain: NDArray[Any],
    dgain: NDArray[Any],
    dshift: NDArray[Any],
    count: float,  # samples; infinite for moments that were given
    dy: Tiles,
    dx: Tiles,
    threads: int,
) -> None: ...

class Targets:  # of all samples; borrows the arrays
    def __init__(
        self,
        *,
        labels: NDArray[np.int64] | None = None,  # (m,)
        values: NDArray[Any] | None = None,  # (m, n)
        indptr: NDArray[np.int64] | None = None,  # or CSR rows of n columns
        columns: NDArray[np.int32] | None = None,
        entries: NDArray[Any] | None = None,  # float32 or float64; None: all are 1
        n: int = 0,
    ) -> None: ...
    @property
    def samples(self) -> int: ...

def loss(
    kind: str,  # "softmax_ce" | "sigmoid_bce" | "mse" | "huber" | "poisson" | "squared_hinge"
    z: Tiles,
    targets: Targets,
    rows: NDArray[np.int64] | None,  # of each sample, in targets
    weight: NDArray[np.float64] | None,
    dz: Tiles | None,
    threads: int = 1,
    *,
    delta: float = 1.0,  # of "huber"
    smoothing: float = 0.0,  # of "softmax_ce", and so are
    class_weight: NDArray[np.float64] | None = None,  # (n,)
    right: NDArray[np.bool_] | None = None,  # (batch,): whether the first largest output is the label's
) -> float: ...
def agreement(
    z: Tiles, targets: Targets, rows: NDArray[np.int64] | None, threshold: float, threads: int = 1
) -> NDArray[np.float64]: ...
def r2_sums(
    z: Tiles,
    targets: Targets,
    rows: NDArray[np.int64] | None,
    weight: NDArray[np.float64] | None,
    threads: int = 1,
) -> tuple[float, NDArray[np.float64]]: ...  # the weight of all samples; (6, n): r2.h
def softmax(z: Tiles, threads: int = 1) -> None: ...

# --- the store as a tool. Of the first five, False or None: nothing was done, for the arguments are not
# plainly right; the long way then finds the words.
def insert_one(store: Store, row: Any, col: Any, weight: Any) -> bool: ...  # weight None: the birth value
def remove_one(store: Store, row: Any, col: Any) -> bool: ...
def set_one(store: Store, row: Any, col: Any, weight: Any) -> bool: ...
def get_one(store: Store, row: Any, col: Any) -> float | None: ...  # 0.0 where there is no link
def has_one(store: Store, row: Any, col: Any) -> bool | None: ...
def get_links(
    store: Store, rows: NDArray[np.int64], cols: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.bool_]]: ...  # weights, and whether the links are there; within the store
def put_links(  # what the plan inserts and these weights, both or neither
    plan: Plan, rows: NDArray[np.int64], cols: NDArray[np.int64], weights: NDArray[Any]
) -> None: ...

# The same for many: numbers, lists and vectors; None or False unless these are plainly right.
def weights_of(store: Store, rows: Any, cols: Any) -> Any: ...  # 0.0 where there is no link
def which_of(store: Store, rows: Any, cols: Any) -> Any: ...
def insert_many(store: Store, rows: Any, cols: Any, weights: Any) -> bool: ...  # None: the birth value
def remove_many(store: Store, rows: Any, cols: Any) -> bool: ...
def set_many(store: Store, rows: Any, cols: Any, weights: Any, adds: bool) -> bool: ...
def row_links(store: Store, row: Any) -> tuple[NDArray[np.int32], NDArray[Any]] | None: ...
def source_links(store: Store, col: Any) -> tuple[NDArray[np.int32], NDArray[Any]] | None: ...
def times_one(store: Store, x: NDArray[Any], back: bool, threads: int) -> NDArray[Any]: ...  # W x, or W^T x
def times_plain(store: Store, x: Any, back: bool, worth: int) -> NDArray[Any] | None: ...  # None: not done
def array_at(
    address: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],  # bytes
    dtype: str,
    owner: object = None,  # kept alive
    writable: bool = True,
) -> NDArray[Any]: ...

class Frozen:
    """The layers of a network that no longer change; owns one ``rw_predictor``."""

    n_in: int
    outputs: int
    batches: bool
    ways: list[str]
    nbytes: int
    kept: list[int]
    def __new__(
        cls,
        n_in: int,
        dtype: str,
        mean: NDArray[np.float64] | None = None,
        scale: NDArray[np.float64] | None = None,
    ) -> Self: ...
    def add_store(
        self, store: Store, bias: NDArray[Any] | None, act: str, slope: float, zeros: bool
    ) -> None: ...
    def add_matrix(
        self, weights: NDArray[Any], bias: NDArray[Any] | None, act: str, slope: float
    ) -> None: ...
    def finish(self, softmax: bool) -> None: ...
    def one(self, x: Any, out: Any = None) -> NDArray[Any] | None: ...  # None: not done
    def run(self, x: NDArray[Any], out: NDArray[Any], first: int, threads: int) -> bool: ...

def overlaps_itself(out: NDArray[Any]) -> bool: ...

class Workspace:
    """Scratch of ``rows_forward`` and ``rows_backward``: grows when asked; for one call at a time."""

    nbytes: int

# x, y, g and so on: arrays, or what has DLPack or a buffer; samples in rows, any strides
def rows_forward(
    store: Store,
    x: Any,  # (batch, n_in), any real dtype
    y: Any,  # (batch, n_out): written
    bias: Any = None,  # (n_out,), contiguous
    workspace: Workspace | None = None,
    threads: int = 1,
) -> None: ...
def rows_backward(
    store: Store,
    x: Any,  # (batch, n_in), any real dtype; None without dw
    g: Any,  # (batch, n_out), any real dtype
    dx: Any = None,  # (batch, n_in): written
    dw: Any = None,  # (slots, group), contiguous, canonical order: written
    dbias: Any = None,  # (n_out,), contiguous: written
    workspace: Workspace | None = None,
    threads: int = 1,
) -> None: ...
def link_gradient(  # (slots, group)
    store: Store,
    x: Tiles,
    dy: Tiles,
    threads: int,
    bf16: bool = False,
    scratch: Scratch | None = None,
    rounded: tuple[Rounded | None, Rounded | None] = (None, None),  # of x and dy
) -> NDArray[Any]: ...

# --- the machine
def aligned_zeros(shape: int | tuple[int, ...], dtype: str) -> NDArray[Any]: ...  # 64-byte aligned
def isa_available() -> list[str]: ...  # best first
def isa() -> str: ...
def force_isa(name: str) -> str: ...  # returns the previous one; ValueError
def measure_fma(rounds: int, threads: int) -> float: ...  # flops; to be timed
def measure_read(array: NDArray[Any], threads: int) -> int: ...  # to be timed
def openmp() -> bool: ...
def openmp_max_threads() -> int: ...  # what libgomp would use (threadpool_limits changes it); 1 without
def stream(number: int, worker: int = 0) -> int: ...  # the random stream of a parameter or layer on a worker
def philox(key: tuple[int, int], counter: tuple[int, int, int, int]) -> tuple[int, int, int, int]: ...
def normals(count: int, seed: int, stream: int, step: int, row: int) -> NDArray[np.float32]: ...
def hypergeometric(total: int, marked: int, draws: int, u: float) -> int: ...

# --- what is put back after an error

class Kept: ...

def keep(
    thing: Any, kinds: Mapping[type, str], undo: list[Any], shallow: Container[str] | None = (),
    before: Kept | None = None,
) -> Kept: ...  # fmt: skip
def keep_items(container: Any, holds: str, undo: list[Any]) -> None: ...
def keep_rows(rows: list[Any], before: list[Any], undo: list[Any]) -> list[Any]: ...
def set_attributes(thing: Any, values: dict[str, Any]) -> None: ...
