# nonzeros.pxi -- batches of inputs of which few are not zero.

cdef class SparseInputs:
    """Rows of a CSR matrix as inputs of a layer; owns one ``rw_nonzeros``. Memory grows with what is loaded.

    ``forward``, ``backward_update``, ``backward_weights`` and ``Plan.grow_gradient`` take it in place of tiles. It
    has one user at a time.
    """
    cdef c.rw_nonzeros *x
    cdef Array zero        # what x points to
    cdef uint64_t reached  # the serial number of the store whose slots it knows, which it does not keep alive; or 0
    cdef uint64_t generation
    cdef int threads       # for as many
    cdef bint busy

    def __cinit__(self, int64_t n, str dtype="float32"):
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        self.x = c.rw_nonzeros_new(n, dtype_code(dtype))
        if self.x == NULL:
            raise MemoryError(f"could not allocate inputs of {n} features")

    def __dealloc__(self):
        c.rw_nonzeros_free(self.x)

    @property
    def n(self): return self.x.n
    @property
    def batch(self): return self.x.batch
    @property
    def tile(self): return self.x.tile
    @property
    def n_tiles(self): return self.x.n_tiles
    @property
    def dtype(self): return _NAMES[self.x.dtype]
    @property
    def nbytes(self): return c.rw_nonzeros_bytes(self.x)
    @property
    def packed(self):
        """Does it lie in tiles, because there are many values?"""
        return self.x.packed
    @property
    def values(self):
        """How many values there are: those of the rows, and one a sample of each ``whole`` source."""
        return self.x.values

    def load(self, indptr, columns, values, rows, *, shift=None, scale=None, zero=None, whole=None, part=None,
             int threads=1):
        """Rows of a CSR matrix, int64 ``rows``, whose columns ascend: (value - shift) * scale, plus ``zero``.

        ``shift`` and ``scale`` are float64, ``zero`` is of the dtype, one number a feature each. ``whole`` names,
        ascending, the features that have a shift: they count as stored in every row. ``part``: in lists where at
        most one input of so many is stored; by default where that pays.
        """
        cdef Array p = borrow(indptr, "indptr", "int64")
        cdef Array i = borrow(columns, "columns", "int32")
        cdef c.rw_dtype kind = dtype_code(getattr(values, "dtype", np.dtype("O")).name, True, "the dtype of values")
        cdef Array v = borrow(values, "values", _NAMES[kind], i.size())
        cdef Array r = borrow(rows, "rows", "int64")
        cdef Array h = borrow_optional(shift, "shift", "float64", self.x.n)
        cdef Array s = borrow_optional(scale, "scale", "float64", self.x.n)
        cdef Array z = borrow_optional(zero, "zero", _NAMES[self.x.dtype], self.x.n)
        cdef Array w = borrow_optional(whole, "whole", "int32")
        cdef int64_t batch = r.size(), most = 0 if part is None else part
        if batch < 1 or (part is not None and most < 1):
            raise ValueError(f"rows must name at least one row and part be at least 1, got {batch} and {most}")
        if h is not None and s is None or (w is None) != (h is None):
            raise TypeError("shift goes with scale and whole")
        if w is not None and w.size() > self.x.n:
            raise ValueError(f"whole must name at most {self.x.n} features, got {w.size()}")
        if not c.rw_rows_in_range(<int64_t *>r.view.buf, batch, p.size() - 1):
            raise IndexError(f"rows must be in [0, {p.size() - 1})")
        cdef c.rw_csr_input given
        given.kind, given.indptr, given.columns = kind, <int64_t *>p.view.buf, <int32_t *>i.view.buf
        given.values, given.entries, given.rows = <char *>v.view.buf, i.size(), <int64_t *>r.view.buf
        given.shift, given.scale, given.whole = <double *>pointer(h), <double *>pointer(s), <int32_t *>pointer(w)
        given.n_whole = 0 if w is None else <int32_t>w.size()
        cdef void *zp = pointer(z)
        cdef int32_t tile = c.rw_tile_size(batch, self.x.dtype)
        cdef c.rw_status st
        run_on(threads)
        self.enter()
        try:
            self.reached, self.zero = 0, z
            with nogil:
                st = c.rw_nonzeros_load(self.x, KERNELS[<int>self.x.dtype], &given, batch, tile, most, zp, threads)
        finally:
            self.busy = False
        if st == c.RW_ERANGE:
            raise IndexError(f"indptr must ascend within {i.size()} entries, and columns lie in [0, {self.x.n})")
        if st == c.RW_ESHAPE:
            raise ValueError("the columns of every row must ascend")
        check(st, f"inputs of {batch} samples")

    cdef int enter(self) except -1:
        if self.busy:
            raise RuntimeError("the inputs are in use by another thread")
        self.busy = True
        return 0

    cdef int loaded(self) except -1:
        if self.x.batch == 0:
            raise ValueError("nothing is loaded")
        return 0

    cdef int reach(self, Store store, int threads) except -1:
        """Find the slots of a store that is entered."""
        self.loaded()
        if self.reached == store.serial and self.generation == store.s.generation and self.threads >= threads:
            return 0
        cdef c.rw_status st
        self.reached = 0
        with nogil:
            st = c.rw_nonzeros_reach(self.x, store.s, threads)
        check(st, "the slots that inputs reach")
        self.reached, self.generation, self.threads = store.serial, store.s.generation, threads
        return 0

    def unpack(self, out=None, int threads=1):
        """The batch as a (batch, n) array."""
        self.loaded()
        if out is None:
            out = np.empty((self.x.batch, self.x.n), _NAMES[self.x.dtype])
        if out.shape != (self.x.batch, self.x.n):
            raise ValueError(f"out must have shape {(self.x.batch, self.x.n)}, got {out.shape}")
        cdef Array a = borrow(out, "out", _NAMES[self.x.dtype], -1, True)
        with nogil:
            c.rw_nonzeros_unpack(self.x, a.view.buf)
        return out

    def finite(self, int threads=1):
        """Whether all values are finite."""
        self.loaded()
        return c.rw_nonzeros_finite(self.x)
