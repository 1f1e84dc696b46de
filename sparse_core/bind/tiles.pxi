# tiles.pxi -- activations in tiles.

# --- users' arrays --------------------------------------------------------------

def array_at(address, shape, strides, str dtype, owner=None, bint writable=True):
    """An ndarray of memory at an address, of 1 to 3 dimensions; strides in bytes. It keeps ``owner`` alive.

    Nobody can check an address: whoever gives it vouches for it.
    """
    cdef uintptr_t data = address
    if data == 0 and 0 not in shape:
        raise ValueError("address must not be 0")
    if len(shape) != len(strides) or not 1 <= len(shape) <= 3 or min(shape) < 0:
        raise ValueError(f"shape and strides must be 1 to 3 numbers each, got {shape} and {strides}")
    code = dtype_code(dtype, False)
    return lease(owner, None, <void *>data, code, tuple(shape), tuple(strides), not writable)


cdef object array_of(object x, str name):
    """An ndarray of what has one, DLPack or a buffer."""
    if isinstance(x, np.ndarray):
        return x
    if hasattr(x, "__dlpack__"):
        return np.from_dlpack(x)
    try:
        return np.asarray(memoryview(x))
    except TypeError:
        raise TypeError(f"{name} must be an array, or have DLPack or a buffer, got {type(x).__name__}") from None


cdef Array user_rows(object x, str name, int64_t columns, c.rw_user_rows *rows):
    """Numbers that users hand over, samples in rows: any real dtype and strides. The buffer is to be held."""
    kind = _INPUTS_BY_DTYPE.get(x.dtype) if isinstance(x, np.ndarray) else None
    if kind is None or x.ndim != 2 or not x.dtype.isnative:
        got = f"{x.ndim}-dimensional {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"{name} must be a 2-dimensional array of {list(_INPUTS)}, got {got}")
    if x.shape[1] != columns:
        raise ValueError(f"{name} must have {columns} columns, got {x.shape[1]}")
    cdef Array a = Array.__new__(Array)
    PyObject_GetBuffer(x, &a.view, PyBUF_STRIDES)
    a.held = True
    rows[0] = c.rw_user_rows(kind, <const char *>a.view.buf, a.view.strides[0], a.view.strides[1], NULL, NULL, NULL)
    return a


# --- tiles ----------------------------------------------------------------------

def tile_size(int64_t batch, str dtype):
    """Samples a tile should have: see ``tiles.h``."""
    return c.rw_tile_size(batch, dtype_code(dtype))


cdef class Tiles:
    """Activations of a batch, feature by feature in tiles; owns one ``rw_tiles``.

    With ``memory`` they lie there and keep it alive: a contiguous, writable array of this dtype that begins at
    a multiple of 64 bytes, its shape does not matter. What lies there stays, but for padding, which becomes
    zero: rows from ``n`` up to a multiple of 8, and samples up to the end of the last tile. A batch of images
    (batch, n, height, width) with n a multiple of 8 is such tiles of height * width samples, a power of two.
    Whoever writes there by other means leaves zeros in the padding, or calls ``clear_padding``.
    """
    cdef c.rw_tiles *t
    cdef c.rw_tiles over
    cdef Array memory

    def __cinit__(self, int64_t n, int64_t batch, int32_t tile, str dtype="float32", memory=None):
        cdef c.rw_dtype code = dtype_code(dtype)
        if n < 1 or batch < 1 or not 1 <= tile <= c.RW_MAX_TILE or tile & (tile - 1):
            raise ValueError(f"tiles must be of n >= 1 features, batch >= 1 samples and a power of two up to "
                             f"{c.RW_MAX_TILE}, got {n}, {batch} and {tile}")
        if memory is not None:
            self._lie_over(n, batch, tile, code, array_of(memory, "memory"))
            return
        self.t = c.rw_tiles_new(n, batch, tile, code)
        if self.t == NULL:
            raise MemoryError(f"could not allocate tiles for {batch} samples of {n} features")

    cdef int _lie_over(self, int64_t n, int64_t batch, int32_t tile, c.rw_dtype code, memory) except -1:
        cdef size_t need = c.rw_tiles_bytes(n, batch, tile, code)
        if not memory.flags.writeable:
            raise ValueError("memory must be writable")
        cdef Array a = borrow(memory, "memory", _NAMES[code], -1, True)
        if need == 0 or <size_t>a.view.len < need:
            raise ValueError(f"memory must have {need // c.rw_dtype_size(code)} values for {batch} samples of {n} "
                             f"features in tiles of {tile}, got {a.size()}")
        if <uintptr_t>a.view.buf % 64:
            raise ValueError(f"memory must begin at a multiple of 64 bytes, got one {<uintptr_t>a.view.buf % 64} "
                             "bytes behind")
        check(c.rw_tiles_over(&self.over, n, batch, tile, code, a.view.buf, a.view.len), "tiles")
        self.t = &self.over
        self.memory = a
        c.rw_tiles_clear_padding(self.t)

    def __dealloc__(self):
        if self.t != &self.over:
            c.rw_tiles_free(self.t)

    def clear_padding(self):
        """Zeros where no sample or feature is."""
        c.rw_tiles_clear_padding(self.t)

    @property
    def padding_is_clear(self): return c.rw_tiles_padding_is_clear(self.t)
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
        cdef c.rw_user_rows given
        cdef Array data = user_rows(x, "x", self.t.n, &given)
        cdef Array r = self._rows(rows, x.shape[0])
        cdef Array m = borrow_optional(mean, "mean", "float64", self.t.n)
        cdef Array s = borrow_optional(scale, "scale", "float64", self.t.n)
        if (m is None) != (s is None):
            raise TypeError("mean and scale must be given together")
        given.rows = <int64_t *>pointer(r)
        given.mean, given.scale = <double *>pointer(m), <double *>pointer(s)
        run_on(threads)
        with nogil:
            c.rw_tiles_pack(KERNELS[<int>self.t.dtype], self.t, &given, threads)

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
        cdef int64_t entries = i.size()
        run_on(threads)
        if not c.rw_csr_in_range(<int64_t *>p.view.buf, <int32_t *>i.view.buf, entries, rp, self.t.batch, self.t.n):
            raise IndexError(f"indptr must ascend within {entries} entries, and columns lie in [0, {self.t.n})")
        with nogil:
            c.rw_tiles_pack_csr(self.t, kind, <int64_t *>p.view.buf, <int32_t *>i.view.buf, <char *>v.view.buf,
                                entries, rp, mp, sp, threads)

    cdef Array _rows(self, rows, int64_t available):
        """The row numbers of a batch, checked; None if the batch is the first rows."""
        if isinstance(rows, _ARRAY) and rows.dtype == _BY_NAME["int64"] and not rows.flags.c_contiguous:
            rows = np.ascontiguousarray(rows)
        cdef Array r = borrow_optional(rows, "rows", "int64", self.t.batch)
        if r is None:
            if available < self.t.batch:
                raise ValueError(f"x must have at least {self.t.batch} rows, got {available}")
        elif not c.rw_rows_in_range(<int64_t *>r.view.buf, self.t.batch, available):
            raise IndexError(f"rows must be in [0, {available})")
        return r

    def finite(self, int threads=1):
        """Whether all values are finite."""
        cdef bint found
        run_on(threads)
        with nogil:
            found = c.rw_tiles_finite(self.t, threads)
        return found

    def unpack(self, out=None, int threads=1):
        """The batch as a (batch, n) array."""
        if out is None:
            out = np.empty((self.t.batch, self.t.n), _NAMES[self.t.dtype])
        if out.shape != (self.t.batch, self.t.n):
            raise ValueError(f"out must have shape {(self.t.batch, self.t.n)}, got {out.shape}")
        cdef Array a = borrow(out, "out", _NAMES[self.t.dtype], -1, True)
        cdef Py_ssize_t value = c.rw_dtype_size(self.t.dtype)
        run_on(threads)
        with nogil:
            c.rw_tiles_unpack(KERNELS[<int>self.t.dtype], self.t, <char *>a.view.buf, self.t.n * value, value,
                              threads)
        return out
