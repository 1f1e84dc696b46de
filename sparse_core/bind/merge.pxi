# merge.pxi -- structures as bytes and as a number, stores merged, values carried over.

_BLENDS = {
    "sum": c.RW_BLEND_SUM, "mean": c.RW_BLEND_MEAN, "holders": c.RW_BLEND_HOLDERS, "min": c.RW_BLEND_MIN,
    "max": c.RW_BLEND_MAX,
}


def structure_digest(Store store not None):
    """A number of 64 bits that says which slots a store has."""
    store.enter(False)
    cdef uint64_t digest = c.rw_store_digest(store.s)
    store.leave()
    return digest


def structure_digest_counted(Store store not None):
    """The same number from all links, not from that which edits keep up to date."""
    cdef uint64_t total
    store.enter(False)
    with nogil:
        total = c.rw_digest_count(store.s)
    digest = c.rw_structure_digest(store.s, total)
    store.leave()
    return digest


def structure_bytes(Store store not None):
    """The structure, without values: `structure_load` reads it."""
    cdef size_t n
    cdef char *to
    store.enter(False)
    try:
        with nogil:
            n = c.rw_structure_size(store.s)
        out = PyBytes_FromStringAndSize(NULL, n)
        to = PyBytes_AS_STRING(out)
        with nogil:
            c.rw_structure_write(store.s, to)
    finally:
        store.leave()
    return out


def structure_sizes(const uint8_t[::1] data not None):
    """(n_out, n_in, group, slots) of a structure as bytes; ValueError if that cannot be one."""
    cdef c.rw_structure_head head
    if not data.shape[0] or c.rw_structure_read_head(&data[0], data.shape[0], &head) != c.RW_OK:
        raise ValueError("bytes are no structure of this version")
    return head.n_out, head.n_in, head.group, head.slots


def structure_load(Store store not None, const uint8_t[::1] data not None):
    """Fill an empty store; fields get their birth values. Damaged bytes leave it empty."""
    cdef c.rw_status st
    structure_sizes(data)
    store.enter(True)
    try:
        with nogil:
            st = c.rw_structure_load(store.s, &data[0], data.shape[0])
    finally:
        store.leave()
    if st == c.RW_ECORRUPT:
        raise ValueError("bytes are cut short or damaged: they are not the structure that was written")
    check(st, "structure")


cdef class StoreList:
    """Stores that are read together, each borrowed while this is."""
    cdef list stores
    cdef const c.rw_store **at
    cdef Block memory
    cdef int entered

    def __cinit__(self, stores):
        self.stores = list(stores)
        self.memory = Block()
        self.memory.reserve(max(1, len(self.stores)) * sizeof(c.rw_store *))
        self.at = <const c.rw_store **>self.memory.data
        if not 1 <= len(self.stores) <= c.RW_BLEND_MOST:
            raise ValueError(f"stores must be 1 to {c.RW_BLEND_MOST}, got {len(self.stores)}")

    cdef int enter(self) except -1:
        for i, store in enumerate(self.stores):
            (<Store?>store).enter(False)
            self.entered += 1
            self.at[i] = (<Store>store).s
        return 0

    cdef void leave(self) noexcept:
        for store in self.stores[:self.entered]:
            (<Store>store).leave()
        self.entered = 0


def merge(stores, str how, int64_t slots, int threads=1):
    """A store of the best ``slots`` slots of all, or of all if that is -1; ValueError if there are fewer."""
    cdef StoreList of = StoreList(stores)
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_blend blend = _BLENDS[how]
    cdef int32_t k = len(of.stores)
    cdef c.rw_status st
    cdef c.rw_store *s = NULL
    cdef Store first = of.stores[0]
    cdef Store out = Store(n_out=1, n_in=1, group=first.group, dtype=first.dtype)
    if slots < -1:
        raise ValueError(f"slots must be -1 or more, got {slots}")
    try:
        of.enter()
        with nogil:
            st = c.rw_store_merge(of.at, k, blend, slots, &run, &s)
    finally:
        of.leave()
    if st == c.RW_EFULL:
        raise ValueError("fewer links in all stores together than are to be kept")
    check(st, "merge")
    c.rw_store_free(out.s)
    out.s = s
    return out


def blend(Store to not None, str field, stores, str how, double none, int threads=1):
    """A field becomes the blend of what stores have in theirs; ``none`` for links that none of them has."""
    cdef StoreList of = StoreList(stores)
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_blend blend = _BLENDS[how]
    cdef int32_t k = len(of.stores), f = to.find_field(field)
    cdef c.rw_status st
    check_birth(_NAMES[to.field_at(f).dtype], none)
    fields = np.array([(<Store?>store).find_field(field) for store in of.stores], "int32")
    cdef Array numbers = borrow(fields, "fields", "int32")
    to.enter(True)
    try:
        of.enter()
        with nogil:
            st = c.rw_field_blend(to.s, f, of.at, <int32_t *>numbers.view.buf, k, blend, none, &run)
    finally:
        of.leave()
        to.leave()
    check(st, f"blend({field!r})")
