# many.pxi -- many links in one call, named by numbers, lists and vectors.
#
# As in links.pxi these functions take only what is plainly right: one number and a vector of integers, or two
# vectors of one length, all within the store. For everything else they change nothing and say so, and the
# caller goes the long way, which finds the words or brings arrays into this form.

cdef object _asarray = np.asarray
cdef object _BOOL = np.dtype("bool")
cdef object _FLOAT64 = np.dtype("float64")

cdef enum:
    WITHOUT_GIL = 4096  # links from which other threads may run meanwhile
    SMALL_EDIT = 65536  # links that an edit takes; more have time for the long way, which needs less memory


cdef object vector_of(object x, str kinds, object narrow, object wide):
    """A list or vector of numbers of some kinds as one of two dtypes; None for all else."""
    if type(x) is list:
        try:
            x = _asarray(x)
        except ValueError:
            return None
    if type(x) is not _Ndarray or x.ndim != 1:
        return None
    dtype = x.dtype
    if dtype is not narrow and dtype is not wide:
        if dtype.kind not in kinds or (dtype.itemsize > 4 and dtype != wide):  # wide holds the others exactly
            return None
        x = x.astype(wide)
    return x


cdef Array strided(object x):
    """The buffer of a vector, of whatever stride."""
    cdef Array a = Array.__new__(Array)
    PyObject_GetBuffer(x, &a.view, PyBUF_STRIDES)
    a.held = True
    return a


@cython.final
@cython.internal
cdef class Many:
    """The links of a call, and the weights that go with them."""
    cdef Block block
    cdef int64_t n
    cdef int64_t *row
    cdef int64_t *col
    cdef int64_t *origin  # what number each was in the call; NULL: they stand as they came
    cdef char *weight     # of the store's dtype
    cdef char *now        # weights as they are
    cdef char *fresh      # weights of links to be inserted
    cdef int32_t *group
    cdef int32_t *source
    cdef uint8_t *there

    cdef bint indices(self, object x, int32_t end, int64_t *out):
        """Copy integers; False for one that is not in [0, end)."""
        cdef Array a = strided(x)
        cdef const char *at = <const char *>a.view.buf
        cdef int64_t value, i, stride = a.view.strides[0]
        cdef int32_t narrow
        cdef bint wide = a.view.itemsize == 8
        if a.view.shape[0] != self.n:
            return False
        for i in range(self.n):
            if wide:
                memcpy(&value, at, 8)
            else:
                memcpy(&narrow, at, 4)
                value = narrow
            if value < 0 or value >= end:
                return False
            out[i] = value
            at += stride
        return True

    cdef bint once(self):
        """Is each link named once? They are in ascending order then."""
        cdef int64_t i
        for i in range(1, self.n):
            if self.row[i] < self.row[i - 1] or (self.row[i] == self.row[i - 1] and self.col[i] <= self.col[i - 1]):
                break
        else:
            return True
        if c.rw_links_sort(self.n, self.row, self.col, self.origin_room()) != c.RW_OK:
            return False
        self.origin = self.origin_room()
        for i in range(1, self.n):
            if self.row[i] == self.row[i - 1] and self.col[i] == self.col[i - 1]:
                return False
        return True

    cdef int64_t *origin_room(self) noexcept:
        return self.col + self.n

    cdef void room(self) noexcept:
        """Where the rest of an edit stands: 57 bytes a link with `row` and `col`."""
        cdef int64_t n = self.n
        self.weight = <char *>(self.origin_room() + n)
        self.now = self.weight + 8 * n
        self.fresh = self.now + 8 * n
        self.group = <int32_t *>(self.fresh + 8 * n)
        self.source = self.group + n
        self.there = <uint8_t *>(self.source + n)

    cdef bint weights(self, object x, c.rw_dtype dtype):
        """Round numbers to the dtype; False for one that is not finite then."""
        cdef double value = 0
        cdef float narrow
        cdef int64_t i, stride = 0
        cdef const char *at = NULL
        cdef bint wide = False
        cdef Array a = None
        if not is_weight(x, dtype, &value):
            x = vector_of(x, "fiu", _FLOATS[c.RW_F32], _FLOAT64)
            if x is None:
                return False
            a = strided(x)
            if a.view.shape[0] != self.n:
                return False
            at, stride, wide = <const char *>a.view.buf, a.view.strides[0], a.view.itemsize == 8
        for i in range(self.n):
            if at != NULL:
                if wide:
                    memcpy(&value, at + stride * (self.origin[i] if self.origin != NULL else i), 8)
                else:
                    memcpy(&narrow, at + stride * (self.origin[i] if self.origin != NULL else i), 4)
                    value = narrow
            if not self.put(i, value, dtype):
                return False
        return True

    cdef bint put(self, int64_t i, double value, c.rw_dtype dtype) noexcept:
        if dtype == c.RW_F64:
            (<double *>self.weight)[i] = value
            return isfinite(value)
        (<float *>self.weight)[i] = <float>value
        return isfinite(<float>value)

    cdef bint plus_now(self, c.rw_dtype dtype) noexcept:
        """Add the weights as they are; False for a sum that is not finite."""
        cdef int64_t i
        cdef float *w = <float *>self.weight
        for i in range(self.n):
            if dtype == c.RW_F64:
                if not self.put(i, (<double *>self.weight)[i] + (<double *>self.now)[i], dtype):
                    return False
            else:
                w[i] = w[i] + (<float *>self.now)[i]
                if not isfinite(w[i]):
                    return False
        return True

    cdef int64_t absent(self, size_t bytes) noexcept:
        """Note those that are not there, with their weights, and count them."""
        cdef int64_t i, n = 0
        for i in range(self.n):
            if not self.there[i]:
                self.group[n] = <int32_t>self.row[i]
                self.source[n] = <int32_t>self.col[i]
                memcpy(self.fresh + n * bytes, self.weight + i * bytes, bytes)
                n += 1
        return n


cdef Many take(Store store, object rows, object cols, bint edits):
    """The links of a call; None if they are not plainly right."""
    cdef int32_t i = 0, j = 0
    cdef bint one_row = is_index(rows, store.s.n_out, &i), one_col = is_index(cols, store.s.n_in, &j)
    cdef Many m
    cdef int64_t k
    if one_row and one_col:
        return None
    if not one_row:
        rows = vector_of(rows, "iu", _INT32, _INT64)
    if not one_col:
        cols = vector_of(cols, "iu", _INT32, _INT64)
    if rows is None or cols is None:
        return None
    m = Many.__new__(Many)
    m.n = len(cols) if one_row else len(rows)
    if edits and m.n > SMALL_EDIT:
        return None
    m.block = Block()
    m.block.reserve(m.n * (64 if edits else 16) + 1)
    m.row = <int64_t *>m.block.data
    m.col = m.row + m.n
    if edits:
        m.room()
    if one_row:
        for k in range(m.n):
            m.row[k] = i
    elif not m.indices(rows, store.s.n_out, m.row):
        return None
    if one_col:
        for k in range(m.n):
            m.col[k] = j
    elif not m.indices(cols, store.s.n_in, m.col):
        return None
    return m


cdef object looked_up(Store store, object rows, object cols, bint weights):
    cdef Many m = take(store, rows, cols, False)
    cdef Array out
    cdef void *w = NULL
    cdef uint8_t *t = NULL
    if m is None:
        return None
    out = fresh(m.n, _FLOATS[store.s.field[0].dtype] if weights else _BOOL)
    if weights:
        w = out.view.buf
    else:
        t = <uint8_t *>out.view.buf
    store.enter(False)
    if m.n < WITHOUT_GIL:
        c.rw_links_get(store.s, m.n, m.row, m.col, w, t)
    else:
        with nogil:
            c.rw_links_get(store.s, m.n, m.row, m.col, w, t)
    store.leave()
    return <object>out.view.obj


def weights_of(Store store not None, rows, cols):
    """The weights of links, 0.0 where there is none; None if it was not done."""
    return looked_up(store, rows, cols, True)


def which_of(Store store not None, rows, cols):
    """Which links are there; None if it was not done."""
    return looked_up(store, rows, cols, False)


cdef bint carry_out(Store store, int64_t n_del, int64_t n_ins, const int32_t *group, const int32_t *source,
                    const void *weights):
    """Remove links or insert them, in ascending order, all or none. False if it was not done."""
    cdef c.rw_plan *p = c.rw_plan_new(store.s)
    cdef c.rw_edit *edit = NULL
    cdef c.rw_fault at
    cdef bint done = p != NULL and c.rw_plan_pairs(p, n_del, group, source, n_ins, group, source, weights, &at) \
        == c.RW_OK and c.rw_edit_reserve(store.s, p, 1, &edit, &at) == c.RW_OK
    if done:
        c.rw_edit_commit(edit)
    c.rw_plan_free(p)
    return done


def insert_many(Store store not None, rows, cols, weights):
    """Insert links; None stands for the birth value. False if it was not done."""
    cdef c.rw_dtype dtype = store.s.field[0].dtype
    cdef Many m = take(store, rows, cols, True) if store.s.group == 1 else None
    if m is None or not m.once() or not m.weights(store.s.field[0].birth if weights is None else weights, dtype) \
            or not is_idle(store):
        return False
    memset(m.there, 0, m.n)
    m.absent(c.rw_dtype_size(dtype))
    return carry_out(store, 0, m.n, m.group, m.source, NULL if weights is None else m.weight)


def remove_many(Store store not None, rows, cols):
    """Remove links. False if it was not done."""
    cdef Many m = take(store, rows, cols, True) if store.s.group == 1 else None
    if m is None or not m.once() or not is_idle(store):
        return False
    memset(m.there, 0, m.n)
    m.absent(0)
    return carry_out(store, m.n, 0, m.group, m.source, NULL)


def set_many(Store store not None, rows, cols, weights, bint adds):
    """Set the weights of links, or add to them; those that are not there are inserted. False if it was not done."""
    cdef c.rw_dtype dtype = store.s.field[0].dtype
    cdef int64_t new
    cdef Many m = take(store, rows, cols, True)
    if m is None or not m.once() or not m.weights(weights, dtype) or store.borrows != 0:
        return False
    c.rw_links_get(store.s, m.n, m.row, m.col, m.now, m.there)
    if adds and not m.plus_now(dtype):
        return False
    new = m.absent(c.rw_dtype_size(dtype))
    if new and (store.s.group != 1 or not is_idle(store)
                or not carry_out(store, 0, new, m.group, m.source, m.fresh)):
        return False
    c.rw_links_put(store.s, m.n, m.row, m.col, m.weight)
    return True
