# store.pxi -- the store, and the one way to change its structure.

# --- the store ------------------------------------------------------------------

cdef uint64_t STORES = 0  # made so far in this process
cdef tuple CLONE = (object(),)  # in place of sizes: what nobody else can give


cdef class Store:
    """Mutable sparse weights of shape ``(n_out, n_in)``; owns one C store.

    Readers and one editor exclude each other: ``borrows`` is 0 when idle, n > 0
    with n readers at work, -1 with an editor. An overlap raises RuntimeError
    instead of corrupting memory. In a forked child the readers of before are gone;
    an editor is gone as well, but has left its work half done. A ``frozen`` store
    is never edited again: somebody reads it without asking.
    """
    cdef c.rw_store *s
    cdef uint64_t serial  # from 1 on, and of no other store
    cdef readonly object layout  # another object, of no other store, whenever a field has come or gone
    cdef int borrows
    cdef int forks  # FORKS when somebody last borrowed
    cdef bint frozen
    cdef public int64_t held  # arrays of views whose `with` block has not ended
    cdef Pin pin
    cdef object __weakref__

    def __cinit__(self, *args, n_out=None, n_in=None, group=1, dtype="float32", **kwargs):
        global STORES
        STORES += 1
        self.serial = STORES
        self.layout = object()
        if args == CLONE:
            return  # which gets its store from `clone`
        sizes = {}
        for name, value in (("n_out", n_out), ("n_in", n_in), ("group", group)):
            if value is None or isinstance(value, bool):
                raise TypeError(f"{name} must be an integer, got {value!r}")
            try:
                sizes[name] = operator.index(value)
            except TypeError:
                raise TypeError(f"{name} must be an integer, got {value!r}") from None
        for name in ("n_out", "n_in"):
            if not 1 <= sizes[name] <= c.RW_MAX_WIDTH:
                raise ValueError(f"{name} must be in [1, {c.RW_MAX_WIDTH}], got {sizes[name]}")
        if sizes["group"] not in (1, 2, 4, 8):
            raise ValueError(f"group must be 1, 2, 4 or 8, got {sizes['group']}")
        self.s = c.rw_store_new(sizes["n_out"], sizes["n_in"], sizes["group"], dtype_code(dtype))
        if self.s == NULL:
            raise MemoryError("could not allocate the store")

    def __init__(self, *, n_out, n_in, group=1, dtype="float32"):
        pass  # done in __cinit__; here for the signature

    def __dealloc__(self):
        c.rw_store_free(self.s)

    cdef int enter(self, bint edit) except -1:
        if self.borrows > 0 and self.forks != FORKS:
            self.borrows = 0
        if self.borrows < 0 or (edit and (self.borrows > 0 or self.frozen)):
            self.refuse()
        self.borrows = -1 if edit else self.borrows + 1
        self.forks = FORKS
        return 0

    cdef void leave(self) noexcept:
        self.borrows = 0 if self.borrows <= 0 else self.borrows - 1

    cdef int refuse(self) except -1:
        if self.frozen:
            raise RuntimeError("the store is frozen: a predictor reads it")
        if self.forks != FORKS:
            raise RuntimeError("this process was forked while another thread was changing the store, so that its copy "
                               "is half changed: fork between fits, or load a saved network in the child")
        raise RuntimeError("the store is in use by another thread")

    cdef int refuse_views(self, str what) except -1:
        """BufferError that says how many arrays of views are alive and what to do."""
        if self.s.pins:
            raise BufferError(f"{what}: {self.viewed()}")
        return 0

    cdef c.rw_field *field_at(self, int32_t f) noexcept:
        return &self.s.field[f]

    cdef int32_t find_field(self, str name) except -1:
        cdef int32_t f = c.rw_store_field(self.s, name.encode())
        if f < 0:
            raise KeyError(f"the store has no field {name!r}, only {list(self.fields)}")
        return f

    @property
    def n_out(self):
        """Output neurons: rows."""
        return self.s.n_out

    @property
    def n_in(self):
        """Sources: columns."""
        return self.s.n_in

    @property
    def group(self):
        """Neighbouring rows that share one list of sources."""
        return self.s.group

    @property
    def n_groups(self):
        """Groups of rows."""
        return self.s.n_groups

    @property
    def dtype(self):
        """"float32" or "float64"."""
        return _NAMES[self.s.field[0].dtype]

    @property
    def slots(self):
        """Live slots."""
        return self.s.slots

    @property
    def nnz(self):
        """Connections: ``group`` a slot, but only rows that exist."""
        return c.rw_store_nnz(self.s)

    @property
    def arena(self):
        """Slots that have memory."""
        return self.s.arena

    @property
    def wasted(self):
        """Slots that hold neither a live link nor a window's slack."""
        return self.s.pooled + self.s.lost

    @property
    def nbytes(self):
        """Bytes held."""
        return c.rw_store_bytes(self.s)

    @property
    def generation(self):
        """Grows with every change of structure."""
        return self.s.generation

    @property
    def pins(self):
        """Views alive."""
        return self.s.pins

    def viewed(self):
        """What keeps the structure from being edited, for a message."""
        others = self.s.pins - self.held
        if self.held and others <= 0:
            return "the `with` block of a view is not over: this belongs after it"
        arrays = "1 array of a view is" if others == 1 else f"{others} arrays of a view are"
        also = ", and the `with` block of another view is not over" if self.held else ""
        return (f"{arrays} still referenced{also}: `del` the names that were bound to them "
                "(in a notebook `_` and `Out` hold some too)")

    @property
    def has_mirror(self):
        """Is the fan-out mirror built?"""
        return self.s.mirror.valid

    def check(self):
        """Verify every invariant of ``store.h``; RuntimeError names the first that is broken."""
        cdef const char *why = b""
        cdef c.rw_status st
        self.enter(False)
        try:
            with nogil:
                st = c.rw_store_check(self.s, &why)
        finally:
            self.leave()
        if st == c.RW_ECORRUPT:
            raise RuntimeError(f"the store is corrupt: {why.decode()}")
        check(st)

    def clone(self):
        """An equal store, packed tight, of the same type."""
        cls = type(self)
        cdef Store copy = cls.__new__(cls, *CLONE)
        cdef c.rw_store *s
        self.enter(False)
        try:
            with nogil:
                s = c.rw_store_clone(self.s)
        finally:
            self.leave()
        if s == NULL:
            raise MemoryError("could not allocate the copy")
        copy.s = s
        return copy

    def revert(self, Store then not None):
        """Become again what one was when ``then`` was cloned, which is of no use afterwards; needs no memory.

        Views see the old values where the structure and the fields are those of then. Else they keep what they
        see, and pin the store no longer.
        """
        cdef c.rw_status st
        cdef int64_t *start = self.s.start
        cdef int32_t pins = self.s.pins
        self.enter(True)
        try:
            then.enter(True)
            self.s.pins = 0  # the GIL is held meanwhile: no view can die and count below that
            st = c.rw_store_revert(self.s, then.s)
            self.layout = object()
            if self.s.start == start:  # copied
                self.s.pins = pins
            elif pins:
                self.pin.arrays, self.pin = then, None
            then.leave()
        finally:
            self.leave()
        check(st, "revert")

    def compact(self):
        """Pack all windows in the order of the groups and cut the arena to size."""
        cdef c.rw_status st
        self.enter(True)
        try:
            self.refuse_views("compact")
            with nogil:
                st = c.rw_store_compact(self.s)
        finally:
            self.leave()
        check(st)

    def build_mirror(self, int threads=1):
        """Build the fan-out mirror; False where it does not pay or memory is short (backprop then scatters)."""
        if not c.rw_mirror_pays(self.s):
            return False
        cdef c.rw_run run = run_on(threads)
        cdef c.rw_status st
        self.enter(True)
        try:
            with nogil:
                st = c.rw_mirror_build(self.s, run.threads)
        finally:
            self.leave()
        return st == c.RW_OK

    def drop_mirror(self):
        """Give the mirror's memory back."""
        self.enter(True)
        c.rw_store_drop_mirror(self.s)
        self.leave()

    def indptr(self):
        """Slots before each group, canonical order: int64, (n_groups + 1,)."""
        out = np.empty(self.n_groups + 1, "int64")
        cdef Array a = borrow(out, "out", "int64", -1, True)
        self.enter(False)
        c.rw_csr_indptr(self.s, <int64_t *>a.view.buf)
        self.leave()
        return out

    def sources(self):
        """Sources of all slots, canonical order: int32, (slots,)."""
        cdef Array a
        self.enter(False)
        try:
            out = np.empty(self.slots, "int32")
            a = borrow(out, "out", "int32", -1, True)
            c.rw_csr_sources(self.s, <int32_t *>a.view.buf)
        finally:
            self.leave()
        return out

    def load(self, indptr, sources, weights):
        """Fill an empty store from canonical arrays; all is checked before anything is written."""
        cdef Array p = borrow(indptr, "indptr", "int64", self.n_groups + 1)
        cdef int64_t slots = indptr[self.s.n_groups]
        cdef Array i = borrow(sources, "sources", "int32", slots)
        cdef Array w = borrow(weights, "weights", self.dtype, slots * self.s.group)
        cdef c.rw_status st
        cdef c.rw_fault at
        self.enter(True)
        try:
            with nogil:
                st = c.rw_csr_load(self.s, <int64_t *>p.view.buf, <int32_t *>i.view.buf, w.view.buf, &at)
        finally:
            self.leave()
        check(st, "load", &at)

    def add_field(self, str name, str dtype, *, per_slot=False, birth=0.0):
        """Register a field: ``group`` values a slot, or one; every slot gets ``birth``."""
        cdef c.rw_dtype code = dtype_code(dtype, False)
        if name in ("start", "length", "source") or "\0" in name:
            raise ValueError(f"name must not be \"start\", \"length\" or \"source\", got {name!r}")
        check_birth(dtype, birth)
        self.enter(True)
        try:
            self.refuse_views("add_field")
            if c.rw_store_field(self.s, name.encode()) >= 0:
                raise ValueError(f"the store has a field {name!r} already")
            check(c.rw_store_add_field(self.s, name.encode(), code, 1 if per_slot else self.s.group, birth),
                  f"add_field({name!r})")
            self.layout = object()
        finally:
            self.leave()

    def drop_field(self, str name):
        """Forget a field."""
        self.enter(True)
        try:
            self.refuse_views("drop_field")
            check(c.rw_store_drop_field(self.s, name.encode()), f"drop_field({name!r})")
            self.layout = object()
        finally:
            self.leave()

    def set_birth(self, str name, double value):
        """What slots born from now on hold in a field."""
        cdef c.rw_field *field = self.field_at(self.find_field(name))
        check_birth(_NAMES[field.dtype], value)
        field.birth = value

    @property
    def fields(self):
        """Registered fields: name -> (dtype, values a slot, birth value); "weight" first."""
        out = {}
        for f in range(self.s.n_fields):
            field = self.field_at(f)
            out[field.name.decode()] = (_NAMES[field.dtype], field.width, field.birth)
        return out

    def field_kind(self, name):
        """Dtype and values a slot of a field; None where there is none of this name, which may be anything."""
        cdef bytes wanted
        cdef c.rw_field *field
        if not isinstance(name, str):
            return None
        wanted = str(name).encode(errors="surrogatepass")
        for f in range(self.s.n_fields):
            field = self.field_at(f)
            if field.name == wanted:
                return _NAMES[field.dtype], field.width
        return None

    def has_field(self, name):
        """Is there a field of this name?"""
        return self.field_kind(name) is not None

    def get_field(self, str name, out=None):
        """Copy of a field, canonical order: (slots, width); into ``out``, where it is given."""
        cdef int32_t f
        cdef c.rw_field *field
        cdef Array a
        self.enter(False)
        try:
            f = self.find_field(name)
            field = self.field_at(f)
            if out is None:
                out = np.empty((self.slots, field.width), _NAMES[field.dtype])
            a = borrow(out, "out", _NAMES[field.dtype], self.slots * field.width, True)
            with nogil:
                c.rw_csr_get(self.s, f, a.view.buf)
        finally:
            self.leave()
        return out

    def set_field(self, str name, values):
        """Write a field from canonical order; weights of rows beyond n_out become zero."""
        cdef int32_t f
        cdef c.rw_field *field
        cdef Array a
        self.enter(True)
        try:
            f = self.find_field(name)
            field = self.field_at(f)
            a = borrow(values, "values", _NAMES[field.dtype], self.slots * field.width)
            c.rw_csr_set(self.s, f, a.view.buf)
        finally:
            self.leave()

    def zero_free_slots(self):
        """Zero every field where no slot is live: nobody reads there, so readers may go on meanwhile."""
        cdef c.rw_status st
        self.enter(False)
        with nogil:
            st = c.rw_free_slots_zero(self.s)
        self.leave()
        check(st)

    def lend(self):
        """Live arrays, the structure read-only; each pins it until it is garbage collected."""
        if self.borrows < 0:
            self.refuse()
        out = {
            "start": lease(self, self, self.s.start, c.RW_I64, (self.n_groups,), None, True),
            "length": lease(self, self, self.s.len, c.RW_I32, (self.n_groups,), None, True),
            "source": lease(self, self, self.s.source, c.RW_I32, (self.arena,), None, True),
        }
        for f in range(self.s.n_fields):
            field = self.field_at(f)
            out[field.name.decode()] = lease(self, self, field.data, field.dtype, (self.arena, field.width))
        return out


cdef int32_t find_links(Store store, str name) except -1:
    """The field of that name, which must have a value for every link."""
    cdef int32_t f = store.find_field(name)
    if store.field_at(f).width != store.s.group:
        raise ValueError(f"field {name!r} has one value a slot, not one a link")
    return f


def read_links(Store store not None, str field, out):
    """A field into ``out``, link by link: rows ascend, and in a row sources do."""
    cdef int32_t f
    cdef Array a
    store.enter(False)
    try:
        f = find_links(store, field)
        a = borrow(out, "out", _NAMES[store.field_at(f).dtype], c.rw_store_nnz(store.s), True)
        with nogil:
            c.rw_csr_get_links(store.s, f, a.view.buf)
    finally:
        store.leave()


def write_links(Store store not None, str field, values):
    """A field from ``values``, in the order of `read_links`."""
    cdef int32_t f
    cdef Array a
    store.enter(True)
    try:
        f = find_links(store, field)
        a = borrow(values, "values", _NAMES[store.field_at(f).dtype], c.rw_store_nnz(store.s))
        with nogil:
            c.rw_csr_set_links(store.s, f, a.view.buf)
    finally:
        store.leave()


def field_add(Store store not None, str field, values):
    """field += values, in the order and shape of ``get_field``."""
    cdef int32_t f = store.find_field(field)
    cdef c.rw_field *at = store.field_at(f)
    cdef Array a = borrow(values, "values", _NAMES[at.dtype], store.s.slots * at.width)
    store.enter(True)
    with nogil:
        c.rw_field_add(store.s, f, a.view.buf)
    store.leave()


@functools.lru_cache(maxsize=None)
def birth_range(dtype):
    """The integers that a field can hold, as far as a double can say them."""
    return int(np.iinfo(dtype).min), min(int(np.iinfo(dtype).max), 2**53)


def packed_slots(int64_t slots, int64_t n_groups):
    """The most slots that a layer of so many live slots takes, slack included."""
    return c.rw_packed_slots(slots, n_groups)


def mirror_room(int64_t slots):
    """Entries that the mirror of so many slots has memory for."""
    return c.rw_mirror_room(slots)


cdef int check_birth(str dtype, double birth) except -1:
    """A birth value must be one that the field can hold."""
    if dtype in ("float32", "float64"):
        return 0
    low, high = birth_range(dtype)
    if not low <= birth <= high or birth != int(birth):
        raise ValueError(f"birth must be an integer in [{low}, {high}] for a field of dtype {dtype}, got {birth}")
    return 0
