# losses.pxi -- targets, losses, the sums of metrics.

_LOSSES = {"softmax_ce": c.RW_LOSS_SOFTMAX_CE, "sigmoid_bce": c.RW_LOSS_SIGMOID_BCE, "mse": c.RW_LOSS_MSE,
           "huber": c.RW_LOSS_HUBER, "poisson": c.RW_LOSS_POISSON, "squared_hinge": c.RW_LOSS_SQUARED_HINGE}


cdef class Targets:
    """What outputs should be, of all samples: labels, values, or CSR rows. Borrows; nothing is copied."""
    cdef c.rw_targets t
    cdef tuple kept
    cdef readonly int64_t samples
    cdef int32_t n        # numbers a sample; 0 for labels

    def __cinit__(self, *, labels=None, values=None, indptr=None, columns=None, entries=None, int32_t n=0):
        cdef Array p, i, e
        if labels is not None:
            p = borrow(labels, "labels", "int64")
            self.t.labels, self.samples, self.kept = <int64_t *>p.view.buf, p.size(), (p,)
        elif values is not None:
            kind = _INPUTS_BY_DTYPE.get(values.dtype) if isinstance(values, np.ndarray) else None
            if kind is None or values.ndim != 2 or not values.dtype.isnative:
                got = f"{values.ndim}-dimensional {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
                raise TypeError(f"values must be a 2-dimensional array of {list(_INPUTS)}, got {got}")
            self.t.values = <const char *><uintptr_t>values.__array_interface__["data"][0]
            self.t.kind, self.t.row_stride, self.t.column_stride = kind, values.strides[0], values.strides[1]
            self.samples, self.n, self.kept = values.shape[0], values.shape[1], (values,)
        else:
            p, i = borrow(indptr, "indptr", "int64"), borrow(columns, "columns", "int32")
            self.t.indptr, self.t.columns = <int64_t *>p.view.buf, <int32_t *>i.view.buf
            self.samples, self.t.n_entries, self.n, self.kept = p.size() - 1, i.size(), n, (p, i)
            if entries is not None:
                self.t.entry_dtype = dtype_code(getattr(entries, "dtype", np.dtype("O")).name, True, "the dtype of entries")
                e = borrow(entries, "entries", _NAMES[self.t.entry_dtype], i.size())
                self.t.entries, self.kept = <char *>e.view.buf, (p, i, e)


cdef Array rows_of(Targets targets, Tiles z, rows, c.rw_targets *t):
    """The rows of a batch, checked and put into ``t``; keep what this gives as long as ``t`` is used."""
    cdef Array r = z._rows(rows, targets.samples)
    t[0] = targets.t
    t.rows = <int64_t *>pointer(r)
    if targets.n not in (0, z.t.n):
        raise ValueError(f"targets must have {z.t.n} columns, got {targets.n}")
    if t.indptr != NULL and not c.rw_csr_in_range(t.indptr, t.columns, t.n_entries, t.rows, z.t.batch, z.t.n):
        raise IndexError(f"indptr must ascend within {t.n_entries} entries, and columns lie in [0, {z.t.n})")
    return r


cdef Block loss_scratch(Tiles z):
    cdef Block scratch = Block()
    scratch.reserve(c.rw_loss_scratch(z.t) * sizeof(double))
    return scratch


def loss(str kind, Tiles z not None, Targets targets not None, rows, weight, Tiles dz, int threads=1, *,
         double delta=1.0, double smoothing=0.0, class_weight=None, right=None):
    """Loss of a batch, whose samples have these rows of all targets; its gradient into ``dz`` if given."""
    if kind not in _LOSSES:
        raise ValueError(f"kind must be one of {list(_LOSSES)}, got {kind!r}")
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_targets t
    cdef Array r = rows_of(targets, z, rows, &t)
    cdef Array w = borrow_optional(weight, "weight", "float64", z.t.batch)
    cdef Array cw = borrow_optional(class_weight, "class_weight", "float64", z.t.n)
    cdef Array hits = borrow_optional(right, "right", "bool", z.t.batch, True)
    cdef Block scratch = loss_scratch(z)
    cdef c.rw_loss_spec spec
    spec.kind, spec.delta, spec.smoothing = <c.rw_loss><int>_LOSSES[kind], delta, smoothing
    spec.class_weight = <const double *>pointer(cw)
    cdef double *wp = <double *>pointer(w)
    cdef uint8_t *hp = <uint8_t *>pointer(hits)
    cdef c.rw_tiles *dt = tiles_or_null(dz)
    cdef double value = 0
    cdef c.rw_status st
    with nogil:
        st = c.rw_loss_eval(KERNELS[<int>z.t.dtype], &spec, z.t, &t, wp, dt, <double *>scratch.data, hp, &value, &run)
    check(st, "loss")
    return value


def agreement(Tiles z not None, Targets targets not None, rows, double threshold, int threads=1):
    """Of each sample, how many outputs are above the threshold just as their targets are above 1/2."""
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_targets t
    cdef Array r = rows_of(targets, z, rows, &t)
    cdef Block scratch = loss_scratch(z)
    counts = np.empty(z.t.batch)
    cdef Array a = borrow(counts, "counts", "float64", -1, True)
    cdef double *cp = <double *>a.view.buf
    cdef c.rw_status st
    with nogil:
        st = c.rw_agreement(KERNELS[<int>z.t.dtype], z.t, &t, threshold, <double *>scratch.data, cp, &run)
    check(st, "agreement")
    return counts


def r2_sums(Tiles z not None, Targets targets not None, rows, weight, int threads=1):
    """Weight and sums of R2 (``r2.h``), (quantities, n), of the samples of a batch whose weight is not 0."""
    run_on(threads)
    cdef c.rw_targets t
    cdef Array r = rows_of(targets, z, rows, &t)
    cdef Array w = borrow_optional(weight, "weight", "float64", z.t.batch)
    cdef Block scratch = Block()
    scratch.reserve(c.rw_r2_scratch(z.t) * sizeof(double))
    found = np.empty((c.RW_R2_QUANTITIES, z.t.n))
    cdef Array a = borrow(found, "found", "float64", -1, True)
    cdef double *sums = <double *>a.view.buf
    cdef double *wp = <double *>pointer(w)
    cdef double total = 0
    cdef c.rw_status st
    with nogil:
        st = c.rw_r2(KERNELS[<int>z.t.dtype], z.t, &t, wp, <double *>scratch.data, sums, &total, threads)
    check(st, "r2_sums")
    return total, found


def softmax(Tiles z not None, int threads=1):
    """Softmax over features, in place."""
    cdef c.rw_run run = run_on(threads)
    cdef Block scratch = loss_scratch(z)
    cdef c.rw_status st
    with nogil:
        st = c.rw_softmax(KERNELS[<int>z.t.dtype], z.t, <double *>scratch.data, &run)
    check(st, "softmax")
