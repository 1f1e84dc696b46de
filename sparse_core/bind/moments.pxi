# moments.pxi -- columns of numbers: summed, merged, scaled.

SAFE = c.RW_SAFE  # numbers within 2^-SAFE and 2^SAFE can be squared, weighted and summed as they are


cdef c.rw_column_sums sums_into(Array memory, int64_t n) noexcept:
    """Room for the sums of n columns: five rows of them."""
    cdef double *at = <double *>memory.view.buf
    return c.rw_column_sums(at, at + n, at + 2 * n, at + 3 * n, at + 4 * n)


def largest(x):
    """The largest magnitude among numbers of float32 or float64; inf if one of them is not finite."""
    cdef c.rw_dtype kind = c.RW_F32 if getattr(x, "dtype", None) == _BY_NAME["float32"] else c.RW_F64
    cdef Array a = borrow(x, "x", _NAMES[kind])
    cdef int64_t n = a.size()
    cdef double found
    with nogil:
        found = c.rw_largest(a.view.buf, n, kind)
    return found


def column_sums(x):
    """Of a block (rows, n) of float64: counts, means, squared deviations, least and largest, (5, n)."""
    if not isinstance(x, np.ndarray) or x.ndim != 2 or x.shape[0] < 1:
        got = getattr(x, "shape", type(x).__name__)
        raise ValueError(f"x must be a 2-dimensional array with rows, got {got}")
    cdef Array given = borrow(x, "x", "float64")
    cdef int64_t rows = x.shape[0], n = x.shape[1]
    out = np.empty((5, n))
    cdef c.rw_column_sums to = sums_into(borrow(out, "out", "float64", -1, True), n)
    with nogil:
        c.rw_sum_columns(<double *>given.view.buf, rows, n, &to)
    return out


def entry_sums(columns, values, int64_t rows, int64_t n):
    """The same of what is stored of so many rows: columns in [0, n), none twice in a row, float64 values."""
    cdef Array i = borrow(columns, "columns", "int32")
    cdef Array v = borrow(values, "values", "float64", i.size())
    if rows < 1 or n < 0:
        raise ValueError(f"rows must be at least 1 and n at least 0, got {rows} and {n}")
    out = np.empty((5, n))
    cdef c.rw_column_sums to = sums_into(borrow(out, "out", "float64", -1, True), n)
    cdef int64_t entries = i.size()
    cdef bint inside
    with nogil:
        inside = c.rw_sum_entries(<int32_t *>i.view.buf, <double *>v.view.buf, entries, rows, n, &to)
    if not inside:
        raise IndexError(f"columns must be in [0, {n})")
    return out


def deviations(mean, squares, double total, double rounding):
    """Deviations of columns from their sums, 0 where one has not varied; whether all of them have."""
    cdef Array m = borrow(mean, "mean", "float64")
    cdef Array s = borrow(squares, "squares", "float64", m.size())
    out = np.empty(m.size())
    cdef Array to = borrow(out, "out", "float64", m.size(), True)
    cdef double *at = <double *>to.view.buf
    cdef int64_t n = m.size()
    cdef bint varies
    with nogil:
        varies = c.rw_deviations(n, total, rounding, <double *>m.view.buf, <double *>s.view.buf, at)
    return out, varies


def merge_moments(mean, deviation, more_mean, more_deviation, double fraction, double rounding):
    """Means and deviations (2, n) of two sets of samples; the second has this fraction of the weight."""
    cdef int64_t n = len(mean)
    out = np.array((mean, deviation), np.float64)
    cdef Array both = borrow(out, "out", "float64", 2 * n, True)
    cdef Array m = borrow(more_mean, "more_mean", "float64", n)
    cdef Array d = borrow(more_deviation, "more_deviation", "float64", n)
    cdef double *at = <double *>both.view.buf
    with nogil:
        c.rw_merge_moments(n, fraction, rounding, at, at + n, <double *>m.view.buf, <double *>d.view.buf)
    return out


def column_scales(center, mean, deviation, low, high, double rounding, double farthest):
    """What columns are multiplied by to be standardised; the largest |center * scale|; the largest scale."""
    cdef int64_t n = len(center)
    cdef Array s = borrow(center, "center", "float64", n)
    cdef Array m = borrow(mean, "mean", "float64", n)
    cdef Array d = borrow(deviation, "deviation", "float64", n)
    cdef Array l = borrow(low, "low", "float64", n)
    cdef Array h = borrow(high, "high", "float64", n)
    out = np.empty(n)
    cdef Array to = borrow(out, "out", "float64", n, True)
    cdef c.rw_seen_columns seen
    seen.center, seen.mean, seen.deviation = <double *>s.view.buf, <double *>m.view.buf, <double *>d.view.buf
    seen.low, seen.high = <double *>l.view.buf, <double *>h.view.buf
    cdef double reach, steepest
    with nogil:
        c.rw_column_scales(n, rounding, farthest, &seen, <double *>to.view.buf, &reach, &steepest)
    return out, reach, steepest


def change_units(before, after, double least, double most, double fresh):
    """Gain and offset (2, n) of standardised inputs; both sides are (means, scales, deviations)."""
    cdef Array m0 = borrow(before[0], "means", "float64")
    cdef int64_t n = m0.size()
    cdef Array s0 = borrow(before[1], "scales", "float64", n)
    cdef Array d0 = borrow(before[2], "deviations", "float64", n)
    cdef Array m1 = borrow(after[0], "means", "float64", n)
    cdef Array s1 = borrow(after[1], "scales", "float64", n)
    cdef Array d1 = borrow(after[2], "deviations", "float64", n)
    out = np.empty((2, n))
    cdef Array to = borrow(out, "out", "float64", 2 * n, True)
    cdef c.rw_units then = c.rw_units(<double *>m0.view.buf, <double *>s0.view.buf, <double *>d0.view.buf)
    cdef c.rw_units now = c.rw_units(<double *>m1.view.buf, <double *>s1.view.buf, <double *>d1.view.buf)
    cdef double *at = <double *>to.view.buf
    with nogil:
        c.rw_change_units(n, least, most, fresh, &then, &now, at, at + n)
    return out
