# rules.pxi -- what some rewiring rules do to weights beside the optimizer.

cdef c.rw_normal NORMAL  # tables, made at import and only read since
c.rw_normal_start(&NORMAL)


def deepr_signs(Store store not None, str field):
    """Weights that are not zero and have no sign yet in ``field`` take that of their value."""
    cdef int32_t f = store.find_field(field)
    cdef c.rw_status st
    store.enter(True)
    try:
        with nogil:
            st = c.rw_deepr_signs(store.s, f)
    finally:
        store.leave()
    check(st, "deepr_signs")


def deepr_step(Store store not None, str field, double drift, double noise, seed, stream, step, int threads):
    """One step of DEEP R's random walk: see ``deepr.h``."""
    cdef c.rw_key key = make_key(seed, stream, step)
    cdef c.rw_run run = run_on(threads)
    cdef int32_t f = store.find_field(field)
    cdef c.rw_status st
    if not (drift >= 0 and noise >= 0):
        raise ValueError(f"drift and noise must be at least 0, got {drift} and {noise}")
    store.enter(True)
    try:
        with nogil:
            st = c.rw_deepr_step(store.s, f, drift, noise, &NORMAL, key, &run)
    finally:
        store.leave()
    check(st, "deepr_step")


def topkast_derive(Store store not None, str master, str mask, double forward_rate, double backward_rate,
                   bint magnitudes, int threads):
    """After a step: the penalty on the master field, and the weights that follow: see ``topkast.h``."""
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_topkast_penalty by = c.rw_topkast_penalty(forward_rate, backward_rate, magnitudes)
    cdef int32_t theta = store.find_field(master)
    cdef int32_t at = store.find_field(mask)
    cdef c.rw_status st
    if not (forward_rate >= 0 and backward_rate >= 0):
        raise ValueError(f"rates must be at least 0, got {forward_rate} and {backward_rate}")
    store.enter(True)
    try:
        with nogil:
            st = c.rw_topkast_derive(store.s, theta, at, &by, &run)
    finally:
        store.leave()
    check(st, "topkast_derive")


def topkast_select(Store store not None, str master, str mask, group, source, up):
    """Slots, ascending, that are in the forward set from now on (1) or outside it (0): see ``topkast.h``."""
    cdef int32_t theta = store.find_field(master)
    cdef int32_t at = store.find_field(mask)
    cdef Array g = borrow(group, "group", "int32")
    cdef Array j = borrow(source, "source", "int32", g.size())
    cdef Array u = borrow(up, "up", "uint8", g.size())
    cdef int64_t n = g.size()
    cdef c.rw_status st
    store.enter(True)
    try:
        with nogil:
            st = c.rw_topkast_select(store.s, theta, at, n, <int32_t *>g.view.buf, <int32_t *>j.view.buf,
                                     <uint8_t *>u.view.buf)
    finally:
        store.leave()
    check(st, "topkast_select")


def normals(int64_t count, seed, stream, step, row):
    """The first ``count`` normal numbers of a row, for the tests: float32."""
    cdef c.rw_key key = make_key(seed, stream, step)
    cdef uint64_t r = row
    out = np.empty(count + count % 2, "float32")
    cdef Array a = borrow(out, "out", "float32", -1, True)
    with nogil:
        c.rw_normals(&NORMAL, key, r, 0, count, <float *>a.view.buf)
    return out[:count]
