# tiles.pxi -- activations in tiles.

# --- tiles ----------------------------------------------------------------------

def tile_size(int64_t batch, str dtype):
    """Samples a tile should have: see ``tiles.h``."""
    return c.rw_tile_size(batch, dtype_code(dtype))


cdef class Tiles:
    """Activations of a batch, feature by feature in tiles; owns one ``rw_tiles``."""
    cdef c.rw_tiles *t

    def __cinit__(self, int64_t n, int64_t batch, int32_t tile, str dtype="float32"):
        if n < 1 or batch < 1 or not 1 <= tile <= c.RW_MAX_TILE or tile & (tile - 1):
            raise ValueError(f"tiles must be of n >= 1 features, batch >= 1 samples and a power of two up to "
                             f"{c.RW_MAX_TILE}, got {n}, {batch} and {tile}")
        self.t = c.rw_tiles_new(n, batch, tile, dtype_code(dtype))
        if self.t == NULL:
            raise MemoryError(f"could not allocate tiles for {batch} samples of {n} features")

    def __dealloc__(self):
        c.rw_tiles_free(self.t)

    @property
    def n(self): return self.t.n
    @property
    def batch(self): return self.t.batch
    @property
    def tile(self): return self.t.tile
    @property
    def n_tiles(self): return self.t.n_tiles
    @property
    def dtype(self): return _NAMES[self.t.dtype]
    @property
    def nbytes(self): return self.t.bytes

    def shape_to(self, int64_t batch, int32_t tile):
        """Use the memory for another number of samples or another tile."""
        check(c.rw_tiles_shape(self.t, batch, tile), f"{batch} samples in tiles of {tile}")

    def zero(self):
        """Set everything to zero."""
        memset(self.t.data, 0, self.t.bytes)

    def array(self):
        """Live view (n_tiles, n, tile)."""
        cdef Py_ssize_t value = c.rw_dtype_size(self.t.dtype), row = self.t.tile * value
        strides = (self.t.rows * row, row, value)
        return lease(self, None, self.t.data, self.t.dtype, (self.t.n_tiles, self.t.n, self.t.tile), strides)

    def pack(self, x, rows=None, mean=None, scale=None, int threads=1):
        """Fill from rows of an (m, n) array of any real dtype and strides; ``rows`` are int64, of any stride."""
        kind = _INPUTS_BY_DTYPE.get(x.dtype) if isinstance(x, np.ndarray) else None
        if kind is None or x.ndim != 2 or not x.dtype.isnative:
            got = f"{x.ndim}-dimensional {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
            raise TypeError(f"x must be a 2-dimensional array of {list(_INPUTS)}, got {got}")
        if x.shape[1] != self.t.n:
            raise ValueError(f"x must have {self.t.n} columns, got {x.shape[1]}")
        cdef Array r = self._rows(rows, x.shape[0])
        cdef Array m = borrow_optional(mean, "mean", "float64", self.t.n)
        cdef Array s = borrow_optional(scale, "scale", "float64", self.t.n)
        if (m is None) != (s is None):
            raise TypeError("mean and scale must be given together")
        cdef const char *data = <const char *><uintptr_t>x.__array_interface__["data"][0]
        cdef Py_ssize_t down = x.strides[0], across = x.strides[1]
        cdef c.rw_input code = kind
        cdef int64_t *rp = <int64_t *>pointer(r)
        cdef double *mp = <double *>pointer(m)
        cdef double *sp = <double *>pointer(s)
        run_on(threads)
        with nogil:
            c.rw_tiles_pack(self.t, code, data, down, across, rp, mp, sp, threads)

    def pack_csr(self, indptr, columns, values, rows=None, mean=None, scale=None, int threads=1):
        """Fill from CSR rows."""
        cdef Array p = borrow(indptr, "indptr", "int64")
        cdef Array i = borrow(columns, "columns", "int32")
        cdef c.rw_dtype kind = dtype_code(getattr(values, "dtype", np.dtype("O")).name, True, "the dtype of values")
        cdef Array v = borrow(values, "values", _NAMES[kind], i.size())
        cdef Array r = self._rows(rows, p.size() - 1)
        cdef Array m = borrow_optional(mean, "mean", "float64", self.t.n)
        cdef Array s = borrow_optional(scale, "scale", "float64", self.t.n)
        if (m is None) != (s is None):
            raise TypeError("mean and scale must be given together")
        cdef int64_t *rp = <int64_t *>pointer(r)
        cdef double *mp = <double *>pointer(m)
        cdef double *sp = <double *>pointer(s)
        run_on(threads)
        if not c.rw_csr_in_range(<int64_t *>p.view.buf, <int32_t *>i.view.buf, i.size(), rp, self.t.batch, self.t.n):
            raise IndexError(f"indptr must ascend within {i.size()} entries, and columns lie in [0, {self.t.n})")
        with nogil:
            c.rw_tiles_pack_csr(self.t, kind, <int64_t *>p.view.buf, <int32_t *>i.view.buf, <char *>v.view.buf,
                                rp, mp, sp, threads)

    cdef Array _rows(self, rows, int64_t available):
        """The row numbers of a batch, checked; None if the batch is the first rows."""
        if isinstance(rows, np.ndarray) and rows.dtype == "int64":
            rows = np.ascontiguousarray(rows)
        cdef Array r = borrow_optional(rows, "rows", "int64", self.t.batch)
        if r is None:
            if available < self.t.batch:
                raise ValueError(f"x must have at least {self.t.batch} rows, got {available}")
        elif not c.rw_rows_in_range(<int64_t *>r.view.buf, self.t.batch, available):
            raise IndexError(f"rows must be in [0, {available})")
        return r

    def unpack(self, out=None, int threads=1):
        """The batch as a (batch, n) array."""
        if out is None:
            out = np.empty((self.t.batch, self.t.n), _NAMES[self.t.dtype])
        if out.shape != (self.t.batch, self.t.n):
            raise ValueError(f"out must have shape {(self.t.batch, self.t.n)}, got {out.shape}")
        cdef Array a = borrow(out, "out", _NAMES[self.t.dtype], -1, True)
        cdef Py_ssize_t stride = self.t.n * c.rw_dtype_size(self.t.dtype)
        run_on(threads)
        with nogil:
            c.rw_tiles_unpack(self.t, <char *>a.view.buf, stride, threads)
        return out
