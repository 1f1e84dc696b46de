# layers.pxi -- layers over a whole batch, optimizer steps.

# --- layers ---------------------------------------------------------------------

_ACTS = {"linear": c.RW_ACT_LINEAR, "relu": c.RW_ACT_RELU, "leaky": c.RW_ACT_LEAKY,
         "sigmoid": c.RW_ACT_SIGMOID, "tanh": c.RW_ACT_TANH, "thresholded": c.RW_ACT_THRESHOLDED,
         "gelu": c.RW_ACT_GELU, "gelu_tanh": c.RW_ACT_GELU_TANH, "silu": c.RW_ACT_SILU}
_DECAYS = {"l2": c.RW_DECAY_L2, "decoupled": c.RW_DECAY_DECOUPLED, "per_step": c.RW_DECAY_PER_STEP}


cdef class Corrections:
    """Adam's two tables of bias corrections for a pair of betas (``adam.h``); nothing changes them."""
    cdef Array table1, table2

    def __cinit__(self, double beta1, double beta2):
        cdef int64_t ages = c.rw_adam_ages(beta1, beta2)
        self.table1 = borrow(np.empty(ages), "table1", "float64", -1, True)
        self.table2 = borrow(np.empty(ages), "table2", "float64", -1, True)
        cdef double *to1 = <double *>self.table1.view.buf
        cdef double *to2 = <double *>self.table2.view.buf
        with nogil:
            c.rw_adam_corrections(beta1, ages, to1)
            c.rw_adam_corrections(beta2, ages, to2)


# Hundreds of kilobytes and a millisecond or two: built once for all that use the same betas.
corrections = functools.lru_cache(maxsize=8)(Corrections)


_OPTIMIZERS = {c.rw_opt_name(<c.rw_opt>i).decode(): i for i in range(<int>c.RW_OPT_COUNT)}


cdef class Update:
    """One optimizer step's constants: set ``lr``, ``decay`` and ``step`` before every step."""
    cdef c.rw_update u
    cdef Corrections tables
    cdef tuple names  # keep alive what u.state and u.age point to
    cdef readonly tuple state
    cdef bytes target_name

    def __cinit__(self, str kind, *, str decay_kind="l2", double momentum=0.0, bint nesterov=False,
                  double beta1=0.9, double beta2=0.999, double eps=1e-8, state=(), str age=None, str target=None):
        if kind not in _OPTIMIZERS:
            raise ValueError(f"kind must be one of {list(_OPTIMIZERS)}, got {kind!r}")
        if decay_kind not in _DECAYS:
            raise ValueError(f"decay_kind must be one of {list(_DECAYS)}, got {decay_kind!r}")
        self.u.kind = <c.rw_opt><int>_OPTIMIZERS[kind]
        self.u.decay_kind = _DECAYS[decay_kind]
        self.u.momentum, self.u.nesterov = momentum, nesterov
        self.u.beta1, self.u.beta2, self.u.eps = beta1, beta2, eps
        self.u.step = 1
        keeps = c.rw_update_keeps(&self.u)
        if len(state) != keeps:
            raise ValueError(f"state must name {keeps} fields, got {state!r}")
        self.state = tuple(state)
        self.names = tuple([name.encode() for name in (*state, age) if name is not None])
        for i in range(keeps):
            self.u.state[i] = <const char *><bytes>self.names[i]
        if age is not None:
            self.u.age = <const char *><bytes>self.names[keeps]
        self.target = target
        if kind == "adam":
            self.tables = corrections(beta1, beta2)
            self.u.correction1 = <double *>self.tables.table1.view.buf
            self.u.correction2 = <double *>self.tables.table2.view.buf
            self.u.n_correction = self.tables.table1.size()

    @property
    def lr(self): return self.u.lr
    @lr.setter
    def lr(self, double value): self.u.lr = value
    @property
    def decay(self): return self.u.decay
    @decay.setter
    def decay(self, double value): self.u.decay = value
    @property
    def step(self): return self.u.step
    @step.setter
    def step(self, int64_t value): self.u.step = value
    @property
    def target(self): return None if self.target_name is None else self.target_name.decode()
    @target.setter
    def target(self, str name):
        if name is None:
            self.u.target, self.target_name = NULL, None
        else:
            self.target_name = name.encode()
            self.u.target = <const char *>self.target_name


cdef c.rw_act act_code(str act) except *:
    if act not in _ACTS:
        raise ValueError(f"act must be one of {list(_ACTS)}, got {act!r}")
    return _ACTS[act]


cdef Array borrow_bias(bias, Py_ssize_t n, c.rw_dtype dtype):
    return borrow_optional(bias, "bias", _NAMES[dtype], (n + 7) // 8 * 8)


cdef c.rw_tiles *tiles_or_null(Tiles t) noexcept:
    return t.t if t is not None else NULL


cdef SparseInputs few_of(object x):
    """Inputs, where few of them are not zero; else None."""
    return x if isinstance(x, SparseInputs) else None


cdef c.rw_tiles *tiles_of(object x) except? NULL:
    """The tiles of inputs; NULL of those of which few are not zero."""
    if isinstance(x, SparseInputs):
        return NULL
    cdef Tiles t = x
    return t.t


def activate(bias, str act, double slope, Tiles y not None, Tiles z, int threads):
    """y = f(y + bias); z, if given, receives what `activate_back` needs instead of y: y + bias, or f' of it."""
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_act code = act_code(act)
    cdef Array b = borrow_bias(bias, y.t.n, y.t.dtype)
    cdef void *bp = pointer(b)
    cdef c.rw_tiles *zt = tiles_or_null(z)
    cdef c.rw_status st
    with nogil:
        st = c.rw_activate(KERNELS[<int>y.t.dtype], bp, code, slope, y.t, zt, &run)
    check(st, "activate")


def activate_back(str act, double slope, Tiles y_or_z not None, Tiles dy not None, int threads):
    """dy *= f'."""
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_act code = act_code(act)
    cdef c.rw_status st
    with nogil:
        st = c.rw_activate_back(KERNELS[<int>dy.t.dtype], code, slope, y_or_z.t, dy.t, &run)
    check(st, "activate_back")


def update_from(Store store not None, str field, Update update not None, int threads):
    """One optimizer step from the gradients in a field."""
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_update u = update.u
    cdef const c.rw_kernels *k = KERNELS[<int>store.s.field[0].dtype]
    cdef int32_t f = store.find_field(field)
    cdef c.rw_status st
    store.enter(True)
    try:
        with nogil:
            st = c.rw_update_from(k, store.s, f, &u, &run)
    finally:
        store.leave()
    check(st, "update_from")


def field_sumsq(Store store not None, str field):
    """Sum of squares of a field, in float64."""
    cdef int32_t f = store.find_field(field)
    cdef double out
    store.enter(False)
    with nogil:
        out = c.rw_field_sumsq(store.s, f)
    store.leave()
    return out


def field_scale(Store store not None, str field, double factor):
    """field *= factor."""
    cdef int32_t f = store.find_field(field)
    store.enter(True)
    with nogil:
        c.rw_field_scale(store.s, f, factor)
    store.leave()


def field_finite(Store store not None, str field):
    """Is every live value of a field finite?"""
    cdef int32_t f = store.find_field(field)
    cdef bint out
    store.enter(False)
    with nogil:
        out = c.rw_field_finite(store.s, f)
    store.leave()
    return out


def field_average(Store store not None, str of, str mean, str count, double least, int threads):
    """Every slot's ``count`` += 1; ``mean`` goes towards ``of`` by max(least, 1 / count): see ``average.h``."""
    cdef c.rw_run run = run_on(threads)
    cdef int32_t source = store.find_field(of)
    cdef int32_t into = store.find_field(mean)
    cdef int32_t n = store.find_field(count)
    cdef c.rw_status st
    if not 0 <= least <= 1:
        raise ValueError(f"least must be in [0, 1], got {least}")
    store.enter(True)
    try:
        with nogil:
            st = c.rw_field_average(store.s, source, into, n, least, &run)
    finally:
        store.leave()
    check(st, "field_average")


def field_rescale(Store store not None, str field, rows=None, cols=None):
    """field[row, source] *= rows[row] * cols[source], of float64; None: all 1. The field has one a weight."""
    cdef int32_t f = store.find_field(field)
    cdef Array r = borrow_optional(rows, "rows", "float64", store.s.n_out)
    cdef Array l = borrow_optional(cols, "cols", "float64", store.s.n_in)
    cdef const double *by_row = <const double *>pointer(r)
    cdef const double *by_col = <const double *>pointer(l)
    cdef c.rw_field *at = store.field_at(f)
    if at.width != store.s.group or at.dtype not in (c.RW_F32, c.RW_F64):
        raise ValueError(f"field must hold a floating number for each weight, got {field!r}")
    store.enter(True)
    with nogil:
        c.rw_field_rescale(store.s, f, by_row, by_col)
    store.leave()


def weight_times(Store store not None, x):
    """W x in float64, by ascending source: (n_out,)."""
    cdef Array given = borrow(x, "x", "float64", store.s.n_in)
    out = np.empty(store.s.n_out, "float64")
    cdef Array y = borrow(out, "out", "float64", -1, True)
    cdef const double *by = <const double *>pointer(given)
    cdef double *to = <double *>pointer(y)
    store.enter(False)
    with nogil:
        c.rw_weight_times(store.s, by, to)
    store.leave()
    return out


def bias_gradient(Tiles dy not None, out, int threads, bint add=False):
    """out = sum of dy over the batch, or out + sum; ``out`` is padded like a bias."""
    cdef c.rw_run run = run_on(threads)
    cdef Array a = borrow(out, "out", _NAMES[dy.t.dtype], (dy.t.n + 7) // 8 * 8, True)
    cdef c.rw_status st
    with nogil:
        st = c.rw_bias_gradient(KERNELS[<int>dy.t.dtype], dy.t, a.view.buf, add, &run)
    check(st, "bias_gradient")


cdef c.rw_drop drop_of(double p, seed, stream, step, int64_t first_sample) except *:
    if not 0 <= p < 1:
        raise ValueError(f"p must be in [0, 1), got {p}")
    if first_sample < 0:
        raise ValueError(f"first_sample must be at least 0, got {first_sample}")
    cdef c.rw_drop drop
    drop.p, drop.first_sample = p, first_sample
    drop.key = make_key(seed, stream, step)
    return drop


def activate_back_sums(str act, double slope, Tiles y_or_z not None, Tiles dy not None, out, int threads,
                       bint add=False, tuple drop=None):
    """`activate_back`, then `bias_gradient` of what comes of it, in one pass: the same bits.

    drop: `dropout` of dy comes first, with these p, seed, stream, step and first_sample.
    """
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_drop dropping
    cdef const c.rw_drop *first = NULL
    if drop is not None:
        rate, seed, stream, step, first_sample = drop
        dropping = drop_of(rate, seed, stream, step, first_sample)
        first = &dropping
    cdef c.rw_act code = act_code(act)
    cdef Array a = borrow(out, "out", _NAMES[dy.t.dtype], (dy.t.n + 7) // 8 * 8, True)
    cdef c.rw_status st
    with nogil:
        st = c.rw_activate_back_sums(KERNELS[<int>dy.t.dtype], first, code, slope, y_or_z.t, dy.t, a.view.buf, add,
                                     &run)
    check(st, "activate_back_sums")


def update_array(w, grad, Update update not None, m=None, v=None):
    """One optimizer step over plain arrays (biases, dense weights)."""
    dtype = "float64" if getattr(w, "dtype", None) == _BY_NAME["float64"] else "float32"
    cdef Array wa = borrow(w, "w", dtype, -1, True)
    cdef Array ga = borrow(grad, "grad", dtype, wa.size())
    cdef Array ma = borrow_optional(m, "m", dtype, wa.size(), True)
    cdef Array va = borrow_optional(v, "v", dtype, wa.size(), True)
    keeps = c.rw_update_keeps(&update.u)
    if (keeps > 0 and ma is None) or (keeps > 1 and va is None):
        raise TypeError(f"{c.rw_opt_name(update.u.kind).decode()} needs {'m and v' if keeps > 1 else 'm'} here")
    cdef void *mp = pointer(ma)
    cdef void *vp = pointer(va)
    cdef int64_t n = wa.size()
    with nogil:
        KERNELS[wa.view.itemsize == 8].update(&update.u, wa.view.buf, mp, vp, NULL, 1, ga.view.buf, n)


def dropout(Tiles x not None, Tiles y not None, double p, seed, stream, step, int threads, int64_t first_sample=0):
    """y = dropout(x); the same call on gradients is the backward pass."""
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_drop drop = drop_of(p, seed, stream, step, first_sample)
    cdef c.rw_status st
    with nogil:
        st = c.rw_dropout(KERNELS[<int>x.t.dtype], x.t, y.t, drop.p, drop.key, drop.first_sample, &run)
    check(st, "dropout")


def two_sides(Tiles x not None, Tiles sides not None, int threads):
    """sides = [max(x, 0), min(x, 0)], by feature."""
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_status st
    with nogil:
        st = c.rw_two_sides(KERNELS[<int>x.t.dtype], x.t, sides.t, &run)
    check(st, "two_sides")


def two_sides_back(Tiles x not None, Tiles dsides not None, Tiles dx not None, int threads):
    """dx = the gradient of the side of zero that x is on."""
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_status st
    with nogil:
        st = c.rw_two_sides_back(KERNELS[<int>x.t.dtype], x.t, dsides.t, dx.t, &run)
    check(st, "two_sides_back")


def winners(Tiles x not None, factor, double sign, int k, Tiles y not None, int row, int threads):
    """y[row:] = x where sign * factor * x is among the k largest of the sample, 0 elsewhere: see ``winners.h``."""
    cdef c.rw_run run = run_on(threads)
    cdef Array f = borrow(factor, "factor", _NAMES[<int>x.t.dtype], x.t.n)
    cdef void *fp = pointer(f)
    cdef c.rw_status st
    with nogil:
        st = c.rw_winners(KERNELS[<int>x.t.dtype], x.t, fp, sign, k, y.t, row, &run)
    check(st, "winners")


def winners_back(Tiles y not None, Tiles dy not None, int row, Tiles dx not None, bint add, int threads):
    """dx (+)= dy[row:] of what won, 0 elsewhere."""
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_status st
    with nogil:
        st = c.rw_winners_back(KERNELS[<int>dx.t.dtype], y.t, dy.t, row, dx.t, add, &run)
    check(st, "winners_back")


def count_winners(Tiles y not None, counts, int threads):
    """counts[i]: in how many samples feature i won, as float64."""
    cdef c.rw_run run = run_on(threads)
    cdef Array a = borrow(counts, "counts", "float64", y.t.n, True)
    cdef double *cp = <double *>pointer(a)
    cdef c.rw_status st
    with nogil:
        st = c.rw_count_winners(KERNELS[<int>y.t.dtype], y.t, cp, &run)
    check(st, "count_winners")


def srelu(Tiles x not None, shape, Tiles y not None, int threads):
    """y = f(x), of S-shapes: (4, n) knees and slopes, see ``srelu.h``."""
    cdef c.rw_run run = run_on(threads)
    cdef Array s = borrow(shape, "shape", _NAMES[x.t.dtype], 4 * x.t.n)
    cdef void *sp = pointer(s)
    cdef c.rw_status st
    with nogil:
        st = c.rw_srelu(KERNELS[<int>x.t.dtype], x.t, sp, y.t, &run)
    check(st, "srelu")


def srelu_back(Tiles x not None, shape, Tiles dy not None, Tiles dx not None, int threads):
    """dx = f'(x) dy."""
    cdef c.rw_run run = run_on(threads)
    cdef Array s = borrow(shape, "shape", _NAMES[x.t.dtype], 4 * x.t.n)
    cdef void *sp = pointer(s)
    cdef c.rw_status st
    with nogil:
        st = c.rw_srelu_back(KERNELS[<int>x.t.dtype], x.t, sp, dy.t, dx.t, &run)
    check(st, "srelu_back")


def srelu_gradient(Tiles x not None, shape, Tiles dy not None, gradient, int threads):
    """The gradient of the shapes, laid out as these; of ``gradient`` the first 4 n values are written."""
    cdef c.rw_run run = run_on(threads)
    cdef Array s = borrow(shape, "shape", _NAMES[x.t.dtype], 4 * x.t.n)
    cdef Array g = borrow(gradient, "gradient", _NAMES[x.t.dtype], -1, True)
    cdef void *sp = pointer(s)
    cdef void *gp = pointer(g)
    if g.size() < 4 * x.t.n:
        raise ValueError(f"gradient must have room for {4 * x.t.n} values, got {g.size()}")
    cdef c.rw_status st
    with nogil:
        st = c.rw_srelu_gradient(KERNELS[<int>x.t.dtype], x.t, sp, dy.t, gp, &run)
    check(st, "srelu_gradient")


def wht(Tiles x not None, Tiles y not None, int32_t first, int32_t last, int threads):
    """y = the Walsh-Hadamard transform of x, by stages first .. last - 1: see ``wht.h``. y may be x."""
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_status st
    with nogil:
        st = c.rw_wht(KERNELS[<int>x.t.dtype], x.t, y.t, first, last, &run)
    check(st, "wht")


def switches(Tiles x not None, weight, int32_t width, Tiles y not None, int threads):
    """Blocks of two-sided switches, of (n, 2 width) weights: see ``switches.h``."""
    cdef c.rw_run run = run_on(threads)
    cdef Array w = borrow(weight, "weight", _NAMES[x.t.dtype], 2 * <int64_t>x.t.n * width)
    cdef void *wp = pointer(w)
    cdef c.rw_status st
    with nogil:
        st = c.rw_switches(KERNELS[<int>x.t.dtype], x.t, wp, width, y.t, &run)
    check(st, "switches")


def switches_back(Tiles x not None, weight, int32_t width, Tiles dy not None, Tiles dx not None, int threads):
    """dx from dy; dx may be dy."""
    cdef c.rw_run run = run_on(threads)
    cdef Array w = borrow(weight, "weight", _NAMES[x.t.dtype], 2 * <int64_t>x.t.n * width)
    cdef void *wp = pointer(w)
    cdef c.rw_status st
    with nogil:
        st = c.rw_switches_back(KERNELS[<int>x.t.dtype], x.t, wp, width, dy.t, dx.t, &run)
    check(st, "switches_back")


def switches_gradient(Tiles x not None, Tiles dy not None, int32_t width, gradient, int threads):
    """The gradient of the weights; of ``gradient`` the first 2 n width values are written."""
    cdef c.rw_run run = run_on(threads)
    cdef Array g = borrow(gradient, "gradient", _NAMES[x.t.dtype], -1, True)
    cdef void *gp = pointer(g)
    if g.size() < 2 * <int64_t>x.t.n * width:
        raise ValueError(f"gradient must have room for {2 * <int64_t>x.t.n * width} values, got {g.size()}")
    cdef c.rw_status st
    with nogil:
        st = c.rw_switches_gradient(KERNELS[<int>x.t.dtype], x.t, dy.t, width, gp, &run)
    check(st, "switches_gradient")


cdef void *by_feature(values, str name, Tiles x, list kept, bint written=False) except NULL:
    """The address of one number a feature, padded like a bias; ``kept`` holds on to the array."""
    cdef Array found = borrow(values, name, _NAMES[x.t.dtype], (x.t.n + 7) // 8 * 8, written)
    kept.append(found)
    return found.view.buf


def layer_norm(Tiles x not None, gain, shift, double eps, Tiles z not None, inverse, Tiles y not None, int threads,
               bint centered=True):
    """Normalised samples in z, and gain * z + shift in y; ``inverse``: one number a sample of x's tiles.

    Unless ``centered``, by the root mean square alone.
    """
    cdef c.rw_run run = run_on(threads)
    cdef list kept = []
    cdef void *gp = by_feature(gain, "gain", x, kept)
    cdef void *sp = by_feature(shift, "shift", x, kept)
    cdef Array inv = borrow(inverse, "inverse", _NAMES[x.t.dtype], x.t.n_tiles * x.t.tile, True)
    cdef void *ip = inv.view.buf
    cdef c.rw_status st
    if not eps > 0:
        raise ValueError(f"eps must be > 0, got {eps}")
    with nogil:
        st = c.rw_layer_norm(KERNELS[<int>x.t.dtype], x.t, gp, sp, eps, centered, z.t, ip, y.t, &run)
    check(st, "layer_norm")


def layer_norm_back(Tiles z not None, inverse, gain, Tiles dy not None, Tiles dx not None, int threads,
                    bint centered=True):
    """The gradient for what was normalised."""
    cdef c.rw_run run = run_on(threads)
    cdef list kept = []
    cdef void *gp = by_feature(gain, "gain", z, kept)
    cdef Array inv = borrow(inverse, "inverse", _NAMES[z.t.dtype], z.t.n_tiles * z.t.tile)
    cdef void *ip = inv.view.buf
    cdef c.rw_status st
    with nogil:
        st = c.rw_layer_norm_back(KERNELS[<int>z.t.dtype], z.t, ip, gp, centered, dy.t, dx.t, &run)
    check(st, "layer_norm_back")


def norm_gradient(Tiles z not None, Tiles dy not None, dgain, dshift, int threads):
    """The gradients of gain and shift."""
    cdef c.rw_run run = run_on(threads)
    cdef list kept = []
    cdef void *gp = by_feature(dgain, "dgain", z, kept, True)
    cdef void *sp = by_feature(dshift, "dshift", z, kept, True)
    cdef c.rw_status st
    with nogil:
        st = c.rw_norm_gradient(KERNELS[<int>z.t.dtype], z.t, dy.t, gp, sp, &run)
    check(st, "norm_gradient")


def batch_moments(Tiles x not None, double eps, mean, variance, inverse, int threads):
    """Mean and variance over the samples, and 1 / sqrt(variance + eps), by feature."""
    cdef c.rw_run run = run_on(threads)
    cdef list kept = []
    cdef void *mp = by_feature(mean, "mean", x, kept, True)
    cdef void *vp = by_feature(variance, "variance", x, kept, True)
    cdef void *ip = by_feature(inverse, "inverse", x, kept, True)
    cdef c.rw_status st
    if not eps > 0:
        raise ValueError(f"eps must be > 0, got {eps}")
    with nogil:
        st = c.rw_batch_moments(KERNELS[<int>x.t.dtype], x.t, eps, mp, vp, ip, &run)
    check(st, "batch_moments")


def batch_norm(Tiles x not None, mean, inverse, gain, shift, Tiles z, Tiles y not None, int threads):
    """y = gain * z + shift with z = (x - mean) * inverse, which z, if given, receives."""
    cdef c.rw_run run = run_on(threads)
    cdef list kept = []
    cdef void *mp = by_feature(mean, "mean", x, kept)
    cdef void *ip = by_feature(inverse, "inverse", x, kept)
    cdef void *gp = by_feature(gain, "gain", x, kept)
    cdef void *sp = by_feature(shift, "shift", x, kept)
    cdef c.rw_tiles *zt = tiles_or_null(z)
    cdef c.rw_status st
    with nogil:
        st = c.rw_batch_norm(KERNELS[<int>x.t.dtype], x.t, mp, ip, gp, sp, zt, y.t, &run)
    check(st, "batch_norm")


def batch_norm_back(Tiles z not None, inverse, gain, dgain, dshift, double count, Tiles dy not None,
                    Tiles dx not None, int threads):
    """The gradient for what was normalised; infinite ``count``: by moments that did not come from it."""
    cdef c.rw_run run = run_on(threads)
    cdef list kept = []
    cdef void *ip = by_feature(inverse, "inverse", z, kept)
    cdef void *gp = by_feature(gain, "gain", z, kept)
    cdef void *dgp = by_feature(dgain, "dgain", z, kept)
    cdef void *dsp = by_feature(dshift, "dshift", z, kept)
    cdef c.rw_status st
    if not count >= 1:
        raise ValueError(f"count must be at least 1, got {count}")
    with nogil:
        st = c.rw_batch_norm_back(KERNELS[<int>z.t.dtype], z.t, ip, gp, dgp, dsp, count, dy.t, dx.t, &run)
    check(st, "batch_norm_back")
