# loader.pxi -- stores from flat arrays that come block by block.


cdef class Loader:
    """A store of so many slots that is nobody's until `finish` gives it away; after an error there is none."""
    cdef Store store
    cdef c.rw_loader loader

    def __cinit__(self, slots, *, n_out, n_in, group=1, dtype="float32"):
        cdef int64_t n = count_of(slots)
        self.store = Store(n_out=n_out, n_in=n_in, group=group, dtype=dtype)
        check(c.rw_loader_begin(&self.loader, self.store.s, n), "load")

    def __init__(self, slots, *, n_out, n_in, group=1, dtype="float32"):
        pass  # done in __cinit__; here for the signature

    cdef Store present(self):
        if self.store is None:
            raise ValueError("load: an array did not fit, or the store was given away")
        return self.store

    cdef int after(self, c.rw_status st, c.rw_fault *at) except -1:
        if st != c.RW_OK:
            self.store = None
        return check(st, "load", at)

    def add_field(self, str name, str dtype, *, per_slot=False, birth=0.0):
        """Register a field, as `Store.add_field`."""
        self.present().add_field(name, dtype, per_slot=per_slot, birth=birth)

    def set_birth(self, str name, double value):
        """Set what new slots hold, as `Store.set_birth`."""
        self.present().set_birth(name, value)

    def indptr(self, block):
        """The next entries of slots before each group."""
        cdef Store store = self.present()  # stays alive, whatever another thread finishes meanwhile
        cdef Array a = borrow(block, "indptr", "int64")
        cdef int64_t n = a.size()
        cdef c.rw_fault at
        cdef c.rw_status st
        store.enter(True)
        with nogil:
            st = c.rw_loader_indptr(&self.loader, <int64_t *>a.view.buf, n, &at)
        store.leave()
        self.after(st, &at)

    def sources(self, block):
        """The sources of the next slots."""
        cdef Store store = self.present()
        cdef Array a = borrow(block, "sources", "int32")
        cdef int64_t n = a.size()
        cdef c.rw_fault at
        cdef c.rw_status st
        store.enter(True)
        with nogil:
            st = c.rw_loader_sources(&self.loader, <int32_t *>a.view.buf, n, &at)
        store.leave()
        self.after(st, &at)

    def values(self, str field, block):
        """Values of the next slots, of a registered field: whole slots."""
        cdef Store store = self.present()
        cdef int32_t f = store.find_field(field)
        cdef c.rw_field *to = store.field_at(f)
        cdef Array a = borrow(block, "values", _NAMES[to.dtype])
        cdef int64_t n = a.size()
        cdef c.rw_status st = c.RW_ESHAPE
        store.enter(True)
        if n % to.width == 0:
            with nogil:
                st = c.rw_loader_values(&self.loader, f, a.view.buf, n // to.width)
        store.leave()
        self.after(st, NULL)

    def finish(self):
        """The store, once all has come, after a look at every invariant."""
        cdef Store store = self.present()
        if not c.rw_loader_complete(&self.loader):
            raise ValueError("load: an array is too short")
        self.store = None
        store.check()
        return store
