# moments.pxi -- columns of numbers: summed, merged, scaled; the units of targets.

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


def block_moments(x, double rounding, double least, double most):
    """Of a block (rows, n) of float64: counts, means, deviations, least and largest, (5, n).

    None if the block is so far from 1 that a sum of squares is not within [least, most].
    """
    if not isinstance(x, np.ndarray) or x.ndim != 2 or x.shape[0] < 1:
        got = getattr(x, "shape", type(x).__name__)
        raise ValueError(f"x must be a 2-dimensional array with rows, got {got}")
    cdef Array given = borrow(x, "x", "float64")
    cdef int64_t rows = x.shape[0], n = x.shape[1]
    out = np.empty((5, n))
    cdef c.rw_column_sums to = sums_into(borrow(out, "out", "float64", -1, True), n)
    cdef bint known
    with nogil:
        known = c.rw_block_moments(<double *>given.view.buf, rows, n, rounding, least, most, &to)
    return out if known else None


def merge_moments(mean, deviation, double total, more_mean, more_deviation, double more, double rounding):
    """Means and deviations (2, n) of two sets of samples of these weights."""
    cdef int64_t n = len(mean)
    out = np.array((mean, deviation), np.float64)
    cdef Array both = borrow(out, "out", "float64", 2 * n, True)
    cdef Array m = borrow(more_mean, "more_mean", "float64", n)
    cdef Array d = borrow(more_deviation, "more_deviation", "float64", n)
    cdef double *at = <double *>both.view.buf
    cdef double part
    with nogil:
        part = c.rw_weight_share(total, more)
        c.rw_merge_moments(n, part, rounding, at, at + n, <double *>m.view.buf, <double *>d.view.buf)
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


def learn_columns(known, seen, found, bint centers, double rounding, double farthest, double least,
                  double most, double fresh):
    """What a standardiser becomes by more samples.

    ``known`` are its centers and scales; ``seen`` and ``found`` are weight, means, deviations, least and
    largest values of the samples before and of these. With ``centers`` means become the centers. For the
    last three numbers see ``rw_change_units``.

    Gives means, deviations, least and largest values, scales, gains and offsets of inputs, (7, n); and the
    largest |center * scale| and scale.
    """
    cdef int64_t n = len(known[0])
    cdef Array middle = borrow(known[0], "centers", "float64", n)
    cdef Array scale = borrow(known[1], "scales", "float64", n)
    cdef Array deviation = borrow(seen[2], "deviations", "float64", n)
    cdef Array m = borrow(found[1], "more means", "float64", n)
    cdef Array d = borrow(found[2], "more deviations", "float64", n)
    out = np.empty((7, n))
    out[0], out[1] = seen[1], seen[2]
    np.minimum(seen[3], found[3], out=out[2])
    np.maximum(seen[4], found[4], out=out[3])
    cdef Array held = borrow(out, "out", "float64", 7 * n, True)
    cdef double *at = <double *>held.view.buf
    cdef double *center = at if centers else <double *>middle.view.buf
    cdef c.rw_seen_columns both = c.rw_seen_columns(center, at, at + n, at + 2 * n, at + 3 * n)
    cdef c.rw_units then, now = c.rw_units(center, at + 4 * n, at + n)
    then = c.rw_units(<double *>middle.view.buf, <double *>scale.view.buf, <double *>deviation.view.buf)
    cdef double total = seen[0], more = found[0], reach, steepest, part
    with nogil:
        part = c.rw_weight_share(total, more)
        c.rw_merge_moments(n, part, rounding, at, at + n, <double *>m.view.buf, <double *>d.view.buf)
        c.rw_column_scales(n, rounding, farthest, &both, at + 4 * n, &reach, &steepest)
        c.rw_change_units(n, least, most, fresh, &then, &now, at + 5 * n, at + 6 * n)
    return out, reach, steepest


cdef class _TargetMoments:
    """Moments of targets, (total, means, deviations, rows), lent to the core."""
    cdef Array mean, deviation
    cdef c.rw_target_moments core

    def __cinit__(self, moments, int64_t n):
        self.mean = borrow(moments[1], "means", "float64", n)
        self.deviation = borrow(moments[2], "deviations", "float64", n)
        self.core.total, self.core.rows = moments[0], moments[3]
        self.core.mean, self.core.deviation = <double *>self.mean.view.buf, <double *>self.deviation.view.buf


def elsewhere(before, found, double apart):
    """Columns in which the latest of two moments of targets are further away than either varies."""
    cdef int64_t n = len(before[1])
    cdef _TargetMoments then = _TargetMoments(before, n), now = _TargetMoments(found, n)
    out = np.empty(n, np.uint8)
    cdef Array to = borrow(out, "out", "uint8", n, True)
    with nogil:
        c.rw_elsewhere(n, apart, &then.core, &now.core, <uint8_t *>to.view.buf)
    return out.view(np.bool_)


def follow_targets(before, found, mean, scale, rules, double rounding, bint stream):
    """Moments of targets, and their units, ``mean`` and ``scale``, after the latest: see ``target_units.h``.

    ``rules`` are apart, behind, tolerance. Gives means, deviations, scales, gains, shifts, fractions, (6, n);
    whether both sets count alike, and whether units can stay.
    """
    cdef int64_t n = len(mean)
    cdef Array m = borrow(mean, "mean", "float64", n)
    cdef Array s = borrow(scale, "scale", "float64", n)
    cdef _TargetMoments then = _TargetMoments(before, n), now = _TargetMoments(found, n)
    cdef c.rw_unit_rules by
    by.apart, by.behind, by.tolerance = rules
    by.stream = stream
    out = np.empty((6, n))
    cdef Array held = borrow(out, "out", "float64", 6 * n, True)
    cdef double *at = <double *>held.view.buf
    cdef c.rw_new_units to
    to.mean, to.deviation, to.scale = at, at + n, at + 2 * n
    to.gain, to.shift, to.fraction = at + 3 * n, at + 4 * n, at + 5 * n
    cdef double *old_mean = <double *>m.view.buf
    cdef double *old_scale = <double *>s.view.buf
    with nogil:
        c.rw_follow_targets(n, &by, rounding, &then.core, &now.core, old_mean, old_scale, &to)
    return out, to.equal, to.near
