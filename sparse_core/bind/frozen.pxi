# frozen.pxi -- layers in a row that no longer change, from users' arrays to outputs in one call.

cdef size_t _SMALL = 1 << 20, _LARGE = 64 << 20  # bytes of a block up to which many are kept, and up to which a few


cdef class Frozen:
    """The layers of a network, frozen; owns one ``rw_predictor``, and keeps its stores.

    Nobody can edit these stores any more, and nobody may write to their weights. Any number of threads may call
    ``run``: each takes a block of scratch, and leaves it for the next one. Small blocks and large ones are kept
    apart, so that a thread that mixes calls of both kinds allocates nothing either.
    """
    cdef c.rw_predictor *p
    cdef c.rw_dtype dtype
    cdef object numbers  # NumPy's name of the dtype
    cdef readonly int64_t n_in
    cdef list stores, small, large  # stores, and blocks that nobody works in
    cdef Array mean, scale
    cdef int64_t most

    def __cinit__(self, int64_t n_in, str dtype, mean=None, scale=None):
        self.dtype = dtype_code(dtype)
        self.numbers = _FLOATS[self.dtype]
        self.mean = borrow_optional(mean, "mean", "float64", n_in)
        self.scale = borrow_optional(scale, "scale", "float64", n_in)
        if (mean is None) != (scale is None):
            raise TypeError("mean and scale must be given together")
        self.p = c.rw_predictor_new(self.dtype, n_in)
        if self.p == NULL:
            raise MemoryError("could not allocate a predictor")
        self.n_in, self.stores, self.small, self.large, self.most = n_in, [], [], [], 1

    def __dealloc__(self):
        c.rw_predictor_free(self.p)

    def add_store(self, Store store not None, bias, str act, double slope, bint zeros):
        """The next layer, of a store that is frozen from now on. ``zeros``: whether many inputs are 0 as a rule."""
        cdef Array b = borrow_bias(bias, store.s.n_out, store.s.field[0].dtype)
        cdef const void *its = pointer(b)
        cdef c.rw_act code = act_code(act)
        cdef c.rw_status st
        store.enter(False)
        store.frozen = True  # for good, because the C side keeps its address
        self.stores.append(store)
        try:
            with nogil:
                st = c.rw_predictor_add_store(self.p, store.s, its, code, slope, zeros)
        finally:
            store.leave()
        check(st, "layer")

    def add_matrix(self, weights, bias, str act, double slope):
        """The next layer, of all weights (n_out, n_in): then samples are taken one at a time."""
        cdef Array w = borrow(weights, "weights", _NAMES[self.dtype], len(weights) * self.outputs)
        cdef int64_t n_out = len(weights)
        cdef Array b = borrow_bias(bias, n_out, self.dtype)
        cdef const void *its = pointer(b)
        cdef c.rw_act code = act_code(act)
        cdef c.rw_status st
        with nogil:
            st = c.rw_predictor_add_matrix(self.p, n_out, w.view.buf, its, code, slope)
        check(st, "layer")

    def finish(self, bint softmax):
        """All layers are there. Whether softmax comes last."""
        c.rw_predictor_softmax(self.p, softmax)
        self.most = c.rw_predictor_most(self.p)

    @property
    def outputs(self):
        """Values that the last layer gives."""
        return c.rw_predictor_outputs(self.p)

    @property
    def batches(self):
        """Whether a call may have more than one sample."""
        return self.most > 1

    @property
    def ways(self):
        """How one sample goes through each layer."""
        words, found = ("rows", "source", "matrix"), []
        while c.rw_predictor_way(self.p, <int32_t>len(found)) >= 0:
            found.append(words[c.rw_predictor_way(self.p, <int32_t>len(found))])
        return found

    @property
    def nbytes(self):
        """Bytes held beside the stores; without scratch."""
        return c.rw_predictor_bytes(self.p)

    cdef Block take(self, int64_t batch):
        cdef size_t need = c.rw_predictor_scratch(self.p, batch)
        cdef Block block
        if need == 0:
            raise MemoryError(f"could not allocate scratch for {batch} samples")
        try:  # one step, because several threads may do so
            block = (self.small if need <= _SMALL else self.large).pop()
        except IndexError:
            block = Block()
        block.reserve(need)
        return block

    cdef void leave_block(self, Block block):
        if block.bytes <= _SMALL:
            if len(self.small) < 64:
                self.small.append(block)
        elif block.bytes <= _LARGE and len(self.large) < 4:
            self.large.append(block)

    @property
    def kept(self):
        """Bytes of each block of scratch that waits for the next call."""
        return [(<Block>block).bytes for block in [*self.small, *self.large]]

    def one(self, x, out=None):
        """Outputs of one plain vector or row, on one thread, in ``out`` if that is plain, too.

        None for all else, and for numbers that are not finite; ``out`` is then as it was.
        """
        cdef c.rw_user_rows given
        cdef Array a, y
        cdef Block block
        cdef c.rw_status st
        cdef c.rw_numbers found
        cdef c.rw_run run = c.rw_run(1, poll, NULL)
        cdef const c.rw_kernels *k = KERNELS[<int>self.dtype]
        cdef Py_ssize_t size = c.rw_dtype_size(self.dtype)
        cdef int32_t outputs = c.rw_predictor_outputs(self.p)
        cdef Py_ssize_t step = size  # from one output to the next
        cdef int last
        cdef object shape
        if type(x) is not _Ndarray:
            return None
        kind = _INPUTS_BY_DTYPE.get(x.dtype)
        if kind is None:
            return None
        a = Array.__new__(Array)
        PyObject_GetBuffer(x, &a.view, PyBUF_STRIDES)
        a.held = True
        last = a.view.ndim - 1
        if last < 0 or last > 1 or a.view.shape[last] != self.n_in or (last == 1 and a.view.shape[0] != 1):
            return None
        given = c.rw_user_rows(kind, <const char *>a.view.buf, 0, a.view.strides[last], NULL,
                               <double *>pointer(self.mean), <double *>pointer(self.scale))
        y = Array.__new__(Array)
        if out is None:
            shape = outputs
            if last:
                shape = 1, outputs
            PyObject_GetBuffer(_empty(shape, self.numbers), &y.view, PyBUF_WRITABLE)
            y.held = True
        else:
            if type(out) is not _Ndarray or out.dtype is not self.numbers or not out.flags.writeable:
                return None
            PyObject_GetBuffer(out, &y.view, PyBUF_STRIDES | PyBUF_WRITABLE)
            y.held = True
            if y.view.ndim != last + 1 or y.view.shape[last] != outputs or (last and y.view.shape[0] != 1):
                return None
            step = y.view.strides[last]
            if outputs > 1 and -size < step < size:
                return None
        block = self.take(1)
        with nogil:
            st = c.rw_predictor_run(k, self.p, &given, 1, <char *>y.view.buf, 0, step, block.data, block.bytes, &found,
                                    &run)
        self.leave_block(block)
        if st != c.RW_OK:
            check(st, "predict")
        return <object>y.view.obj if found == c.RW_NUMBERS_FINE else None

    def run(self, x, out, int64_t first, int threads):
        """Outputs of rows ``first`` and on into ``out``, as many as it has; whether all numbers are finite.

        ``x`` is a 2-D array of any real dtype and strides, ``out`` a writable one of this dtype, strided too.
        """
        cdef c.rw_user_rows given
        cdef Array a = user_rows(x, "x", self.n_in, &given), y = Array.__new__(Array)
        cdef Block block
        cdef c.rw_status st
        cdef c.rw_numbers found
        cdef c.rw_run run = run_on(threads)
        cdef const c.rw_kernels *k = KERNELS[<int>self.dtype]
        cdef int64_t batch
        if not isinstance(out, np.ndarray) or out.dtype is not self.numbers:
            raise TypeError(f"out must be a {self.numbers.name} array")
        PyObject_GetBuffer(out, &y.view, PyBUF_STRIDES | PyBUF_WRITABLE)
        y.held = True
        batch = y.view.shape[0]
        if y.view.ndim != 2 or y.view.shape[1] != c.rw_predictor_outputs(self.p):
            raise ValueError(f"out must have shape (samples, {self.outputs}), got {out.shape}")
        if first < 0 or batch < 1 or batch > self.most or first + batch > a.view.shape[0]:
            raise ValueError(f"out must have as many rows as there are samples, at most {self.most}, got {batch}")
        given.x += first * given.row_stride
        given.mean, given.scale = <double *>pointer(self.mean), <double *>pointer(self.scale)
        block = self.take(batch)
        with nogil:
            st = c.rw_predictor_run(k, self.p, &given, batch, <char *>y.view.buf, y.view.strides[0], y.view.strides[1],
                                    block.data, block.bytes, &found, &run)
        self.leave_block(block)
        check(st, "predict")
        return found == c.RW_NUMBERS_FINE


def overlaps_itself(out):
    """Whether two values of an array of one or two axes lie at one address, or partly."""
    cdef Array a = Array.__new__(Array)
    cdef c.rw_user_out to
    PyObject_GetBuffer(out, &a.view, PyBUF_STRIDES)
    a.held = True
    if a.view.ndim < 1 or a.view.ndim > 2 or a.view.len == 0:
        return False
    cdef int last = a.view.ndim - 1
    to = c.rw_user_out(<char *>a.view.buf, a.view.strides[0] if last else 0, a.view.strides[last])
    return not c.rw_out_is_plain(&to, a.view.shape[0] if last else 1, a.view.shape[last], a.view.itemsize)
