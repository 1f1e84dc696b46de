# rows.pxi -- a layer on users' arrays: samples in rows, any strides, one call a direction.

cdef class Workspace:
    """Scratch of ``rows_forward`` and ``rows_backward``: grows when asked; for one call at a time."""
    cdef Block block
    cdef bint busy

    def __cinit__(self):
        self.block = Block()

    cdef int enter(self, size_t bytes, int64_t batch) except -1:
        if bytes == 0:
            raise MemoryError(f"could not allocate scratch for {batch} samples")
        if self.busy:
            raise RuntimeError("the workspace is in use by another thread")
        self.busy = True
        try:
            self.block.reserve(bytes)
        except BaseException:
            self.busy = False
            raise
        return 0

    @property
    def nbytes(self): return self.block.bytes


cdef Array user_out(object x, str name, str dtype, int64_t rows, int64_t columns, c.rw_user_out *out):
    """An array to be written, of any strides that leave each value a place of its own."""
    if not isinstance(x, np.ndarray) or x.dtype != dtype or x.shape != (rows, columns):
        got = f"{x.dtype} of shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"{name} must be a {dtype} array of shape {(rows, columns)}, got {got}")
    if not x.flags.writeable:
        raise ValueError(f"{name} must be writable")
    cdef Array a = Array.__new__(Array)
    PyObject_GetBuffer(x, &a.view, PyBUF_STRIDES | PyBUF_WRITABLE)
    a.held = True
    out[0] = c.rw_user_out(<char *>a.view.buf, a.view.strides[0], a.view.strides[1])
    if rows and not c.rw_out_is_plain(out, rows, columns, a.view.itemsize):
        raise ValueError(f"{name} must not overlap itself, got strides {x.strides}")
    return a


cdef Array flat_out(object x, str name, str dtype, int64_t size):
    """A contiguous array to be written, as the kernels write it."""
    cdef Array a = borrow(x, name, dtype, size, True)
    if size and <uintptr_t>a.view.buf % a.view.itemsize:
        raise ValueError(f"{name} must be aligned to its dtype")
    return a


def rows_forward(Store store not None, x, y, bias=None, Workspace workspace=None, int threads=1):
    """y = x W^T + bias for x of shape (batch, n_in), of any real dtype and strides.

    y: (batch, n_out) of the store's dtype, writable, any strides; it may be x's memory where each sample is
    as large in both. bias: (n_out,), contiguous, or None. All may be arrays, or have DLPack or a buffer. Products have
    the bits of ``forward``, whatever the strides, the number of threads and the number of samples.
    """
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_dtype dtype = store.s.field[0].dtype
    cdef const c.rw_kernels *k = KERNELS[<int>dtype]
    cdef c.rw_user_rows rows
    cdef c.rw_user_out out
    cdef Array given = user_rows(array_of(x, "x"), "x", store.s.n_in, &rows)
    cdef int64_t batch = given.view.shape[0]
    cdef Array made = user_out(array_of(y, "y"), "y", _NAMES[dtype], batch, store.s.n_out, &out)
    cdef Array b = None if bias is None else borrow(array_of(bias, "bias"), "bias", _NAMES[dtype], store.s.n_out)
    cdef void *bp = pointer(b)
    cdef c.rw_status st
    if batch == 0:
        return
    if workspace is None:
        workspace = Workspace()
    workspace.enter(c.rw_rows_forward_scratch(store.s, batch, threads), batch)
    try:
        store.enter(False)
        try:
            with nogil:
                st = c.rw_rows_forward(k, store.s, &rows, batch, bp, &out, workspace.block.data,
                                       workspace.block.bytes, &run)
        finally:
            store.leave()
    finally:
        workspace.busy = False
    check(st, "forward")


def rows_backward(Store store not None, x, g, dx=None, dw=None, dbias=None, Workspace workspace=None,
                  int threads=1):
    """From g, the gradients of the outputs, (batch, n_out), those that are asked for.

    dx: (batch, n_in), writable, any strides: g W. dw: contiguous, (slots, group) in canonical order: the
    gradient at the slots, from x of shape (batch, n_in); without it x may be None. dbias: (n_out,), contiguous:
    the sum over samples. All of the store's dtype; x and g of any real dtype and strides. Nothing is added to
    what the arrays hold.
    """
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_dtype dtype = store.s.field[0].dtype
    cdef const c.rw_kernels *k = KERNELS[<int>dtype]
    cdef str name = _NAMES[dtype]
    cdef c.rw_user_rows inputs, gradients
    cdef c.rw_user_out out
    cdef c.rw_user_out *to = NULL
    cdef Array given = user_rows(array_of(g, "g"), "g", store.s.n_out, &gradients)
    cdef int64_t batch = given.view.shape[0]
    cdef Array xs = None, dxs = None, dws = None, dbs = None
    cdef c.rw_status st = c.RW_OK
    if dw is not None:
        dws = flat_out(array_of(dw, "dw"), "dw", name, store.s.slots * store.s.group)
        xs = user_rows(array_of(x, "x"), "x", store.s.n_in, &inputs)
        if xs.view.shape[0] != batch:
            raise ValueError(f"x and g must have the same number of samples, got {xs.view.shape[0]} and {batch}")
    if dbias is not None:
        dbs = flat_out(array_of(dbias, "dbias"), "dbias", name, store.s.n_out)
    if dx is not None:
        dxs = user_out(array_of(dx, "dx"), "dx", name, batch, store.s.n_in, &out)
        to = &out
    if batch == 0:
        for sums in (dws, dbs):
            if sums is not None:
                memset((<Array>sums).view.buf, 0, (<Array>sums).view.len)
        return
    cdef void *wp = pointer(dws)
    cdef void *bp = pointer(dbs)
    if workspace is None:
        workspace = Workspace()
    workspace.enter(c.rw_rows_backward_scratch(store.s, batch), batch)
    try:
        store.enter(False)
        try:
            if dws is not None and dws.size() != store.s.slots * store.s.group:
                store.refuse()  # another thread was quicker
            with nogil:
                st = c.rw_rows_backward(k, store.s, &inputs, &gradients, batch, to, wp, bp,
                                        workspace.block.data, workspace.block.bytes, &run)
        finally:
            store.leave()
    finally:
        workspace.busy = False
    check(st, "backward")
