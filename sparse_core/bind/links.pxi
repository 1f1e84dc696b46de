# links.pxi -- the store as a tool: one link in a microsecond, rows, columns, products.
#
# The functions for one link take only what is plainly right: integers within the store, a finite number,
# a store that nobody views. For everything else they change nothing and say so, and the caller goes the
# long way, which finds the words. So the errors of both ways are the same.

cdef object _empty = np.empty
cdef object _Integer = np.integer
cdef object _Floating = np.floating
cdef type _Ndarray = np.ndarray
cdef object _INT32 = np.dtype("int32")
cdef object _INT64 = np.dtype("int64")
cdef dict _FLOATS = {c.RW_F32: np.dtype("float32"), c.RW_F64: np.dtype("float64")}


cdef inline bint is_index(object x, int32_t end, int32_t *out):
    """Is x an integer in [0, end)?"""
    cdef int overflow = 0
    cdef long long value
    out[0] = 0
    if PyLong_CheckExact(x):
        value = PyLong_AsLongLongAndOverflow(x, &overflow)
    elif isinstance(x, _Integer):
        value = PyLong_AsLongLongAndOverflow(int(x), &overflow)
    else:
        return False
    if overflow or value < 0 or value >= end:
        return False
    out[0] = <int32_t>value
    return True


cdef inline bint is_weight(object x, c.rw_dtype dtype, double *out):
    """Is x a number that a weight can be? `out` is not rounded yet."""
    out[0] = 0
    if not PyFloat_Check(x):
        if not (PyLong_CheckExact(x) or isinstance(x, (_Integer, _Floating))):
            return False
        try:
            x = float(x)
        except OverflowError:
            return False
    out[0] = PyFloat_AS_DOUBLE(x)
    return isfinite(<float>out[0]) if dtype == c.RW_F32 else isfinite(out[0])


cdef inline bint is_idle(Store store):
    """May this thread change it at once? It holds the GIL until it is done."""
    return store.borrows == 0 and store.s.pins == 0


cdef inline bint put_in(Store store, int32_t row, int32_t col, bint given, double weight):
    """Insert a link of a store without groups that is not there."""
    cdef float single = <float>weight
    cdef const void *values = NULL
    cdef c.rw_fault at
    if given:
        values = &single if store.s.field[0].dtype == c.RW_F32 else <const void *>&weight
    return c.rw_edit_insert(store.s, row, col, values, &at) == c.RW_OK


def insert_one(Store store not None, row, col, weight):
    """Insert a link; None stands for the birth value. False if it was not done."""
    cdef int32_t i, j
    cdef double w = 0
    if store.s.group != 1 or not is_idle(store) or not is_index(row, store.s.n_out, &i) \
            or not is_index(col, store.s.n_in, &j):
        return False
    if not is_weight(store.s.field[0].birth if weight is None else weight, store.s.field[0].dtype, &w):
        return False
    return put_in(store, i, j, weight is not None, w)


def remove_one(Store store not None, row, col):
    """Remove a link. False if it was not done."""
    cdef int32_t i, j
    cdef c.rw_fault at
    if store.s.group != 1 or not is_idle(store) or not is_index(row, store.s.n_out, &i) \
            or not is_index(col, store.s.n_in, &j):
        return False
    return c.rw_edit_remove(store.s, i, j, &at) == c.RW_OK


def set_one(Store store not None, row, col, weight):
    """Set the weight of a link, which is inserted if it is not there. False if it was not done."""
    cdef int32_t i, j
    cdef int64_t slot
    cdef double w
    if store.borrows != 0 or not is_index(row, store.s.n_out, &i) or not is_index(col, store.s.n_in, &j) \
            or not is_weight(weight, store.s.field[0].dtype, &w):
        return False
    slot = c.rw_link_slot(store.s, i, j)
    if slot >= 0:
        c.rw_slot_put(store.s, slot, i, w)
        return True
    return store.s.group == 1 and is_idle(store) and put_in(store, i, j, True, w)


def get_one(Store store not None, row, col):
    """The weight of a link, 0.0 where there is none; None if these are no indices."""
    cdef int32_t i, j
    cdef int64_t slot
    if store.borrows < 0 or not is_index(row, store.s.n_out, &i) or not is_index(col, store.s.n_in, &j):
        return None
    slot = c.rw_link_slot(store.s, i, j)
    return c.rw_slot_weight(store.s, slot, i) if slot >= 0 else 0.0


def has_one(Store store not None, row, col):
    """Is there such a link? None if these are no indices."""
    cdef int32_t i, j
    if store.borrows < 0 or not is_index(row, store.s.n_out, &i) or not is_index(col, store.s.n_in, &j):
        return None
    return c.rw_link_slot(store.s, i, j) >= 0


# --- many links -----------------------------------------------------------------

def get_links(Store store not None, rows, cols):
    """(weights, whether they are there) of links that lie within the store, as int64."""
    cdef Array r = borrow(rows, "rows", "int64")
    cdef Array j = borrow(cols, "cols", "int64", r.size())
    weights = np.empty(r.size(), _FLOATS[store.s.field[0].dtype])
    there = np.empty(r.size(), "uint8")
    cdef Array w = borrow(weights, "weights", store.dtype, -1, True)
    cdef Array t = borrow(there, "there", "uint8", -1, True)
    cdef int64_t n = r.size()
    store.enter(False)
    try:
        with nogil:
            c.rw_links_get(store.s, n, <int64_t *>r.view.buf, <int64_t *>j.view.buf, w.view.buf,
                           <uint8_t *>t.view.buf)
    finally:
        store.leave()
    return weights, there.view(bool)


def put_links(Plan plan not None, rows, cols, weights):
    """Insert what the plan inserts, then write the weights of links: readers see both or neither.

    The links must be there after the plan. RuntimeError if the store has changed since it was made.
    """
    cdef Store store = plan.store
    cdef Array r = borrow(rows, "rows", "int64")
    cdef Array j = borrow(cols, "cols", "int64", r.size())
    cdef Array w = borrow(weights, "weights", store.dtype, r.size())
    cdef int64_t n = r.size()
    cdef c.rw_edit *edit = NULL
    cdef c.rw_fault at
    store.enter(True)
    try:
        if plan.stale:
            store.refuse()  # another thread was quicker
        if plan.p.n_ins:
            store.refuse_views("commit")
            check(c.rw_edit_reserve(store.s, plan.p, 1, &edit, &at), "commit", &at)
        with nogil:
            if edit != NULL:
                c.rw_edit_commit(edit)
            c.rw_links_put(store.s, n, <int64_t *>r.view.buf, <int64_t *>j.view.buf, w.view.buf)
    finally:
        store.leave()


cdef Array fresh(int64_t n, object dtype):
    """An array of this process's own, and its buffer: nothing to check."""
    cdef Array a = Array.__new__(Array)
    PyObject_GetBuffer(_empty(n, dtype), &a.view, PyBUF_WRITABLE)
    a.held = True
    return a


def row_links(Store store not None, row):
    """(sources, weights) of a row; None if it is no row."""
    cdef int32_t i
    cdef Array cols, weights
    if not is_index(row, store.s.n_out, &i):
        return None
    store.enter(False)
    try:
        cols = fresh(store.s.len[i // store.s.group], _INT32)
        weights = fresh(cols.size(), _FLOATS[store.s.field[0].dtype])
        c.rw_row_links(store.s, i, <int32_t *>cols.view.buf, weights.view.buf)
    finally:
        store.leave()
    return <object>cols.view.obj, <object>weights.view.obj


def source_links(Store store not None, col):
    """(rows, weights) of a source, through the mirror, which is built where it pays; None if it is no source."""
    cdef int32_t j
    cdef Array rows, weights
    if not is_index(col, store.s.n_in, &j):
        return None
    if not store.s.mirror.valid and c.rw_mirror_pays(store.s) and not store.build_mirror():
        raise MemoryError("could not allocate the fan-out mirror")
    store.enter(False)
    try:
        rows = fresh(c.rw_source_count(store.s, j), _INT32)
        weights = fresh(rows.size(), _FLOATS[store.s.field[0].dtype])
        c.rw_source_links(store.s, j, <int32_t *>rows.view.buf, weights.view.buf)
    finally:
        store.leave()
    return <object>rows.view.obj, <object>weights.view.obj


# --- products -------------------------------------------------------------------

cdef object times(Store store, Array given, bint back, int threads):
    """W x of one sample, or W^T x."""
    cdef int32_t n = store.s.n_out if back else store.s.n_in, m = store.s.n_in if back else store.s.n_out
    cdef c.rw_dtype dtype = store.s.field[0].dtype
    cdef Array out = fresh(m, _FLOATS[dtype])
    cdef c.rw_tiles *x = c.rw_tiles_new(n, 1, 1, dtype)
    cdef c.rw_tiles *y = c.rw_tiles_new(m, 1, 1, dtype)
    cdef c.rw_run run
    cdef const c.rw_kernels *k = KERNELS[<int>dtype]
    cdef size_t bytes = c.rw_dtype_size(dtype)
    cdef c.rw_status st = c.RW_ENOMEM
    try:
        run = run_on(threads)
        store.enter(False)
        try:
            if x != NULL and y != NULL:
                with nogil:
                    memcpy(x.data, given.view.buf, n * bytes)
                    if back:
                        st = c.rw_backward_input(k, store.s, x, y, &run)
                    else:
                        st = c.rw_forward(k, store.s, x, NULL, c.RW_ACT_LINEAR, 0, y, NULL, &run)
                    if st == c.RW_OK:
                        memcpy(out.view.buf, y.data, m * bytes)
        finally:
            store.leave()
    finally:
        c.rw_tiles_free(x)
        c.rw_tiles_free(y)
    check(st, "product")
    return <object>out.view.obj


def times_one(Store store not None, x, bint back, int threads):
    """W x of one sample, or W^T x: of the store's dtype, contiguous."""
    cdef int32_t n = store.s.n_out if back else store.s.n_in
    return times(store, borrow(x, "x", _NAMES[store.s.field[0].dtype], n), back, threads)


def times_plain(Store store not None, x, bint back, int64_t worth):
    """The same on one thread for a plain vector, where that is less work than `worth`; None for all else."""
    cdef int32_t n = store.s.n_out if back else store.s.n_in
    cdef int64_t links = store.s.slots * store.s.group
    cdef Array a
    if type(x) is not _Ndarray or links > worth or x.dtype is not _FLOATS[store.s.field[0].dtype]:
        return None
    a = Array.__new__(Array)
    PyObject_GetBuffer(x, &a.view, PyBUF_STRIDES)
    a.held = True
    if a.view.ndim != 1 or a.view.shape[0] != n or (n > 1 and a.view.strides[0] != a.view.itemsize):
        return None
    return times(store, a, back, 1)


def link_gradient(Store store not None, Tiles x not None, Tiles dy not None, int threads, bint bf16=False,
                  Scratch scratch=None, tuple rounded=(None, None)):
    """Gradients of the weights, canonical order: (slots, group). The store is only read."""
    if bf16 and scratch is None:
        scratch = Scratch()
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_dtype dtype = store.s.field[0].dtype
    cdef const c.rw_kernels *k = KERNELS[<int>dtype]
    cdef Array before, out
    cdef c.rw_bf16_operands operands = bf16_operands(x, dy, rounded, None)
    cdef int64_t *starts
    cdef void *room
    cdef c.rw_status st
    enter_both(scratch if bf16 else None, None)
    try:
        store.enter(False)
        try:
            room = room_of(scratch, store, dy, bf16, are_rounded(&operands), None)
            shape = store.s.slots, store.s.group
            before = fresh(store.s.n_groups + 1, _INT64)
            out = fresh(store.s.slots * store.s.group, _FLOATS[dtype])
            starts = <int64_t *>before.view.buf
            with nogil:
                c.rw_csr_indptr(store.s, starts)
                if bf16:
                    st = c.rw_bf16_packed_gradients(k, store.s, &operands, starts, out.view.buf, room, &run)
                else:
                    st = c.rw_packed_gradients(k, store.s, x.t, dy.t, starts, out.view.buf, &run)
        finally:
            store.leave()
    finally:
        leave_both(scratch if bf16 else None, None)
    check(st, "gradient")
    return (<object>out.view.obj).reshape(shape)
