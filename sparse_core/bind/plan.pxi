# plan.pxi -- Plan and commit: how a structure is changed, all or nothing.

@cython.no_gc_clear  # a plan needs its store until it is freed
cdef class Plan:
    """A change of one store's structure, to be carried out by `commit`.

    Whoever works on a plan reads its store; another thread's overlap with that raises RuntimeError.
    """
    cdef c.rw_plan *p
    cdef readonly Store store
    cdef bint busy
    cdef uint64_t after  # generation of the store when it had been carried out; 0: it was not

    def __cinit__(self, Store store not None):
        self.store = store
        self.p = c.rw_plan_new(store.s)
        if self.p == NULL:
            raise MemoryError("could not allocate the plan")

    def __dealloc__(self):
        c.rw_plan_free(self.p)

    cdef int enter(self) except -1:
        if self.busy:
            raise RuntimeError("the plan is in use by another thread")
        self.store.enter(False)
        self.busy = True
        return 0

    cdef void leave(self) noexcept:
        self.busy = False
        self.store.leave()

    @property
    def n_removed(self):
        """Slots that go."""
        return self.p.n_del

    @property
    def n_inserted(self):
        """Slots that come."""
        return self.p.n_ins

    @property
    def nbytes(self):
        """Bytes held."""
        return c.rw_plan_bytes(self.p)

    @property
    def stale(self):
        """Whether links of the store have changed since the plan was made."""
        return self.p.generation != self.store.s.generation

    def pairs(self, del_group, del_source, ins_group, ins_source, ins_weight):
        """Fill an empty plan from pairs sorted by (group, source)."""
        cdef Array dg = borrow(del_group, "del_group", "int32")
        cdef Array ds = borrow(del_source, "del_source", "int32", dg.size())
        cdef Array ig = borrow(ins_group, "ins_group", "int32")
        cdef Array js = borrow(ins_source, "ins_source", "int32", ig.size())
        cdef Array w = borrow_optional(ins_weight, "ins_weight", self.store.dtype, ig.size() * self.store.s.group)
        cdef c.rw_fault at
        self.enter()
        try:
            check(c.rw_plan_pairs(self.p, dg.size(), <int32_t *>dg.view.buf, <int32_t *>ds.view.buf, ig.size(),
                                  <int32_t *>ig.view.buf, <int32_t *>js.view.buf, pointer(w), &at), "edit", &at)
        finally:
            self.leave()

    def insert(self, group, source, weight=None):
        """Add insertions, sorted by (group, source), to a plan that has none."""
        cdef Array g = borrow(group, "group", "int32")
        cdef Array j = borrow(source, "source", "int32", g.size())
        cdef Array w = borrow_optional(weight, "weight", self.store.dtype, g.size() * self.store.s.group)
        cdef c.rw_fault at
        self.enter()
        try:
            check(c.rw_plan_insert(self.p, g.size(), <int32_t *>g.view.buf, <int32_t *>j.view.buf, pointer(w), &at),
                  "insert", &at)
        finally:
            self.leave()

    def keep_common(self):
        """Links that would be removed and inserted again stay as they are."""
        self.enter()
        try:
            check(c.rw_plan_keep_common(self.p), "keep_common")
        finally:
            self.leave()

    def removed(self):
        """(groups, sources) of the slots that go; RuntimeError once the store has changed."""
        cdef Array a
        self.enter()
        try:
            source = np.empty(self.p.n_del, "int32")
            a = borrow(source, "source", "int32", -1, True)
            check(c.rw_plan_removed_sources(self.p, <int32_t *>a.view.buf), "removed")
            return _copy_int32(self.p.del_group, self.p.n_del), source
        finally:
            self.leave()

    def marked(self):
        """Which slots go: bool, (slots,), canonical order; RuntimeError once the store has changed."""
        cdef Array a
        self.enter()
        try:
            out = np.empty(self.store.slots, "uint8")
            a = borrow(out, "out", "uint8", -1, True)
            check(c.rw_plan_removed_marks(self.p, <uint8_t *>a.view.buf), "marked")
            return out.view(bool)
        finally:
            self.leave()

    def mapping(self):
        """Of each slot after the commit, the slot that it was: int64, -1 for new ones; canonical order.

        RuntimeError once the store has changed in any other way.
        """
        cdef Array a
        cdef c.rw_fault at
        self.enter()
        try:
            if self.after > self.p.generation and self.after == self.store.s.generation:
                out = np.empty(self.store.slots, "int64")
                a = borrow(out, "out", "int64", -1, True)
                c.rw_plan_mapping_after(self.p, <int64_t *>a.view.buf)
                return out
            out = np.empty(max(0, self.store.slots - self.p.n_del + self.p.n_ins), "int64")  # < 0: stale
            a = borrow(out, "out", "int64", -1, True)
            check(c.rw_plan_mapping(self.p, <int64_t *>a.view.buf, &at), "mapping", &at)
            return out
        finally:
            self.leave()

    def inserted(self):
        """(groups, sources) of the slots that come."""
        self.enter()
        try:
            return _copy_int32(self.p.ins_group, self.p.n_ins), _copy_int32(self.p.ins_source, self.p.n_ins)
        finally:
            self.leave()

    def prune_set(self, double zeta, seed, stream, step, int threads=1):
        """Removals of SET: see ``prune.h``."""
        cdef c.rw_key key = make_key(seed, stream, step)
        cdef c.rw_run run = run_on(threads)
        cdef c.rw_status st
        self.enter()
        try:
            with nogil:
                st = c.rw_plan_prune_set(self.p, zeta, key, &run)
        finally:
            self.leave()
        check(st, "prune_set")

    def prune_smallest(self, count, seed, stream, step, int threads=1):
        """Remove the ``count`` slots of smallest magnitude."""
        cdef int64_t n = count_of(count)
        cdef c.rw_key key = make_key(seed, stream, step)
        cdef c.rw_run run = run_on(threads)
        cdef c.rw_status st
        self.enter()
        try:
            with nogil:
                st = c.rw_plan_prune_smallest(self.p, n, key, &run)
        finally:
            self.leave()
        check(st, "prune_smallest")

    def prune_scores(self, score, count, seed, stream, step, int threads=1):
        """Remove the ``count`` slots of smallest score; scores >= 0 in canonical order."""
        cdef int64_t n = count_of(count)
        cdef Array a = borrow(score, "score", "float64", self.store.s.slots)
        if score.size and not score.min() >= 0:  # NaN as well
            at = int(np.argmin(score >= 0))
            raise ValueError(f"score must be >= 0, got {score.flat[at]} for slot {at}")
        cdef c.rw_key key = make_key(seed, stream, step)
        cdef c.rw_run run = run_on(threads)
        cdef c.rw_status st
        self.enter()
        try:
            with nogil:
                st = c.rw_plan_prune_scores(self.p, <double *>a.view.buf, n, key, &run)
        finally:
            self.leave()
        check(st, "prune_scores")

    def prune_zeros(self, int threads=1):
        """Remove the slots that hold zeros alone."""
        cdef c.rw_run run = run_on(threads)
        cdef c.rw_status st
        self.enter()
        try:
            with nogil:
                st = c.rw_plan_prune_zeros(self.p, &run)
        finally:
            self.leave()
        check(st, "prune_zeros")

    def prune_below(self, double threshold, int threads=1):
        """Remove the slots whose sum of magnitudes is below a threshold."""
        cdef c.rw_run run = run_on(threads)
        cdef c.rw_status st
        self.enter()
        try:
            with nogil:
                st = c.rw_plan_prune_below(self.p, threshold, &run)
        finally:
            self.leave()
        check(st, "prune_below")

    def grow_random(self, count, seed, stream, step, int threads=1):
        """Insert ``count`` slots at uniformly random empty places."""
        cdef int64_t n = count_of(count)
        cdef c.rw_key key = make_key(seed, stream, step)
        cdef c.rw_run run = run_on(threads)
        cdef c.rw_status st
        self.enter()
        try:
            with nogil:
                st = c.rw_plan_grow_random(self.p, n, key, &run)
        finally:
            self.leave()
        check(st, "grow_random")

    def grow_fan_in(self, int32_t fan_in, seed, stream, step, int threads=1):
        """Insert slots at random until every group has ``fan_in``."""
        cdef c.rw_key key = make_key(seed, stream, step)
        cdef c.rw_run run = run_on(threads)
        cdef c.rw_status st
        self.enter()
        try:
            with nogil:
                st = c.rw_plan_grow_fan_in(self.p, fan_in, key, &run)
        finally:
            self.leave()
        check(st, "grow_fan_in")

    def grow_paths(self, count, str score, bint sample, seed, stream, step, int threads=1):
        """Insert ``count`` slots where many paths of three links lead: see ``grow_paths.h``."""
        cdef int64_t n = count_of(count)
        scores = {"ch2": c.RW_CH2, "ch3": c.RW_CH3}
        if score not in scores:
            raise ValueError(f"score must be one of {list(scores)}, got {score!r}")
        cdef c.rw_path_score code = scores[score]
        cdef c.rw_key key = make_key(seed, stream, step)
        cdef c.rw_run run = run_on(threads)
        cdef c.rw_status st
        self.enter()
        try:
            with nogil:
                st = c.rw_plan_grow_paths(self.p, n, code, sample, key, &run)
        finally:
            self.leave()
        check(st, "grow_paths")

    def grow_gradient(self, count, x not None, Tiles dy not None, bint returns, seed, stream, step,
                      int threads=1):
        """Insert where |gradient| is largest: ``count`` places of the layer, or an array of them for each group.

        x: Tiles or SparseInputs.
        """
        cdef SparseInputs few = x if isinstance(x, SparseInputs) else None
        cdef Tiles tiles = None if few is not None else x
        cdef c.rw_nonzeros *fp = NULL
        cdef c.rw_tiles *xt = NULL
        if few is not None:
            few.loaded()
            fp = few.x
        else:
            xt = tiles.t
        cdef c.rw_key key = make_key(seed, stream, step)
        cdef c.rw_run run = run_on(threads)
        cdef const c.rw_kernels *k = KERNELS[<int>self.store.s.field[0].dtype]
        cdef Array each = None
        cdef const int32_t *wanted = NULL
        cdef int64_t total = 0
        cdef c.rw_status st
        if isinstance(count, np.ndarray):
            each = borrow(count, "count", "int32", self.store.n_groups)
            wanted = <int32_t *>each.view.buf
        else:
            total = count_of(count)
        self.enter()
        try:
            with nogil:
                if wanted != NULL:
                    st = c.rw_plan_grow_gradient_each(self.p, wanted, k, xt, fp, dy.t, returns, key, &run)
                else:
                    st = c.rw_plan_grow_gradient(self.p, total, k, xt, fp, dy.t, returns, key, &run)
        finally:
            self.leave()
        check(st, "grow_gradient")

    def draw_weights(self, str kind, double scale, bint real_fan, seed, stream, step, int threads=1):
        """Weights of the new links: constant, uniform in [-scale, scale), normal, scale with a random sign, overshoot."""
        kinds = {"constant": c.RW_VALUE_CONSTANT, "uniform": c.RW_VALUE_UNIFORM, "normal": c.RW_VALUE_NORMAL,
                 "sign": c.RW_VALUE_SIGN, "overshoot": c.RW_VALUE_OVERSHOOT}
        if kind not in kinds:
            raise ValueError(f"kind must be one of {list(kinds)}, got {kind!r}")
        cdef c.rw_value code = kinds[kind]
        cdef c.rw_key key = make_key(seed, stream, step)
        cdef c.rw_fan fan = c.RW_FAN_REAL if real_fan else c.RW_FAN_NONE
        cdef c.rw_run run = run_on(threads)
        cdef c.rw_status st
        self.enter()
        try:
            with nogil:
                st = c.rw_plan_values(self.p, code, scale, fan, key, &run)
        finally:
            self.leave()
        check(st, "draw_weights")


cdef object _copy_int32(int32_t *data, int64_t n):
    if n == 0:
        return np.empty(0, "int32")
    return np.array(<int32_t[:n]>data)


def commit(plans, int threads=1):
    """Carry out all plans, or none: everything is checked and reserved before anything changes."""
    plans = list(plans)
    cdef Plan plan
    cdef Block edits = Block()
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_edit **reserved
    cdef c.rw_fault at
    cdef int i, n = len(plans), entered = 0, done = 0
    if len({id(p.store) for p in plans}) != n:
        raise ValueError("plans must name each store at most once")
    edits.reserve(max(n, 1) * sizeof(c.rw_edit *), zero=True)
    reserved = <c.rw_edit **>edits.data
    try:
        for plan in plans:
            plan.store.enter(True)
            entered += 1
        for plan in plans:
            plan.store.refuse_views("commit")
            check(c.rw_edit_reserve(plan.store.s, plan.p, run.threads, &reserved[done], &at), "commit", &at)
            done += 1
        with nogil:
            for i in range(n):
                c.rw_edit_commit(reserved[i])
        done = 0
        for plan in plans:
            plan.after = plan.store.s.generation
    finally:
        for i in range(done):
            c.rw_edit_cancel(reserved[i])
        for i in range(entered):
            plan = plans[i]
            plan.store.leave()
