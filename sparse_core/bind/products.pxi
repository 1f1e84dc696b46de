# products.pxi -- products of a layer with the tiles of a batch, in float32, float64 or rounded to bfloat16.

cdef class Scratch:
    """What products work in: gradients on their way from dW to where they are used, and rounded operands.

    Grows when asked; one for a network, and for one call at a time.
    """
    cdef Block block, rounded
    cdef bint busy

    def __cinit__(self):
        self.block, self.rounded = Block(), Block()

    cdef int enter(self) except -1:
        if self.busy:
            raise RuntimeError("the scratch is in use by another thread")
        self.busy = True
        return 0

    cdef int reserve(self, Store store, const c.rw_kernels *k, Tiles dy, int threads, bint bf16) except -1:
        cdef int64_t values = (c.rw_bf16_scratch_values if bf16 else c.rw_scratch_values)(k, store.s, dy.t)
        return self.block.reserve(threads * values * c.rw_dtype_size(store.s.field[0].dtype))

    cdef void *room(self, Store store, Tiles tiles, bint rounded) except NULL:
        """Memory for rounded operands of a product of these, but for tiles that are rounded already."""
        cdef size_t bytes = c.rw_bf16_room(KERNELS[<int>c.RW_F32], store.s, tiles.t, rounded)
        if bytes == 0:
            raise MemoryError(f"could not allocate operands of {tiles.t.batch} samples")
        self.rounded.reserve(bytes)
        return self.rounded.data

    @property
    def nbytes(self): return self.block.bytes + self.rounded.bytes


cdef class Rounded:
    """Tiles of float32 rounded to bfloat16 once, for several products of one pass.

    Nothing follows what becomes of the tiles: who hands it to a product vouches that they are as they were at
    `load`. Where the instruction set has no products for them it holds nothing, and products round by
    themselves: the bits are the same.
    """
    cdef Block block
    cdef c.rw_tiles t
    cdef Tiles of  # None where there is nothing

    def __cinit__(self):
        self.block = Block()

    def load(self, Tiles x not None, int threads):
        """Round these tiles."""
        cdef c.rw_run run = run_on(threads)
        cdef const c.rw_kernels *k = KERNELS[<int>c.RW_F32]
        cdef c.rw_status st
        cdef size_t bytes
        self.of = None
        if x.t.dtype != c.RW_F32 or not c.rw_bf16_has_kernels(k, x.t):
            return
        bytes = c.rw_tiles_bytes(x.t.n, x.t.batch, x.t.tile, c.RW_BF16)
        self.block.reserve(bytes)
        check(c.rw_tiles_over(&self.t, x.t.n, x.t.batch, x.t.tile, c.RW_BF16, self.block.data, bytes), "tiles")
        with nogil:
            st = c.rw_bf16_round(k, x.t, &self.t, &run)
        check(st, "load")
        self.of = x

    cdef const c.rw_tiles *tiles_of(self, Tiles x) except? NULL:
        """The rounded tiles; NULL where there are none."""
        if self.of is None:
            return NULL
        if self.of is not x or self.t.batch != x.t.batch or self.t.tile != x.t.tile:
            raise ValueError("these tiles are not those that were rounded")
        return &self.t

    @property
    def nbytes(self): return self.block.bytes


cdef const c.rw_tiles *rounded_or_null(Rounded rounded, Tiles x) except? NULL:
    if rounded is None:
        return NULL
    return rounded.tiles_of(x)


cdef int enter_both(Scratch scratch, SparseInputs few) except -1:
    """What a product writes into has one user at a time. Either may be None."""
    if scratch is not None:
        scratch.enter()
    if few is not None:
        try:
            few.enter()
        except BaseException:
            if scratch is not None:
                scratch.busy = False
            raise
    return 0


cdef void leave_both(Scratch scratch, SparseInputs few) noexcept:
    if scratch is not None:
        scratch.busy = False
    if few is not None:
        few.busy = False


cdef void *room_of(Scratch scratch, Store store, Tiles tiles, bint bf16, bint rounded,
                   SparseInputs few) except? NULL:
    """Memory for operands that are to be rounded; NULL where none are."""
    if not bf16:
        return NULL
    if few is not None:
        raise TypeError("products of bfloat16 take tiles, got SparseInputs")
    if store.s.field[0].dtype != c.RW_F32:
        raise TypeError("products of bfloat16 need weights of float32")
    return scratch.room(store, tiles, rounded)


def forward(Store store not None, x not None, bias, str act, double slope, Tiles y not None, Tiles z,
            int threads, bint bf16=False, Scratch scratch=None, Rounded rounded=None):
    """y = f(W x + bias); z, if given, receives what `activate_back` needs instead of y.

    x: Tiles or SparseInputs.

    bf16: weights and inputs are rounded to bfloat16 first, in ``scratch``, or have been: ``rounded`` is of x.
    So with the functions below.
    """
    if bf16 and scratch is None:
        scratch = Scratch()
    cdef SparseInputs few = few_of(x)
    cdef c.rw_tiles *xt = tiles_of(x)
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_act code = act_code(act)
    cdef Array b = borrow_bias(bias, store.s.n_out, store.s.field[0].dtype)
    cdef void *bp = pointer(b)
    cdef c.rw_tiles *zt = tiles_or_null(z)
    cdef const c.rw_kernels *k = KERNELS[<int>store.s.field[0].dtype]
    cdef const c.rw_tiles *narrow = rounded_or_null(rounded, x) if few is None else NULL
    cdef void *room
    cdef c.rw_status st
    enter_both(scratch if bf16 else None, few)
    try:
        store.enter(False)
        try:
            room = room_of(scratch, store, y, bf16, narrow != NULL, few)
            if few is not None:
                few.reach(store, threads)
            with nogil:
                if xt == NULL:
                    st = c.rw_nonzero_forward(k, store.s, few.x, bp, code, slope, y.t, zt, &run)
                elif bf16:
                    st = c.rw_bf16_forward(k, store.s, xt, narrow, bp, code, slope, y.t, zt, room, &run)
                else:
                    st = c.rw_forward(k, store.s, xt, bp, code, slope, y.t, zt, &run)
        finally:
            store.leave()
    finally:
        leave_both(scratch if bf16 else None, few)
    check(st, "forward")


def backward_input(Store store not None, Tiles dy not None, Tiles dx not None, int threads, bint bf16=False,
                   Scratch scratch=None, Rounded rounded=None):
    """dx = W^T dy. ``rounded`` is of dy."""
    if bf16 and scratch is None:
        scratch = Scratch()
    cdef c.rw_run run = run_on(threads)
    cdef const c.rw_kernels *k = KERNELS[<int>store.s.field[0].dtype]
    cdef const c.rw_tiles *narrow = rounded_or_null(rounded, dy)
    cdef void *room
    cdef c.rw_status st
    enter_both(scratch if bf16 else None, None)
    try:
        store.enter(False)
        try:
            room = room_of(scratch, store, dy, bf16, narrow != NULL, None)
            with nogil:
                if bf16:
                    st = c.rw_bf16_backward_input(k, store.s, dy.t, narrow, dx.t, room, &run)
                else:
                    st = c.rw_backward_input(k, store.s, dy.t, dx.t, &run)
        finally:
            store.leave()
    finally:
        leave_both(scratch if bf16 else None, None)
    check(st, "backward_input")


def gather_pays(Store store not None, int64_t batch):
    """Would `backward_input` use a mirror for so many samples?"""
    cdef bint out
    store.enter(False)
    out = c.rw_gather_pays(KERNELS[<int>store.s.field[0].dtype], store.s, batch)
    store.leave()
    return out


cdef c.rw_bf16_operands bf16_operands(x, Tiles dy, tuple rounded, SparseInputs few) except *:
    """The tiles of a weight gradient, and what they have been rounded to."""
    cdef c.rw_bf16_operands found = c.rw_bf16_operands(NULL, dy.t, NULL, NULL)
    if few is None:
        found.x, found.rounded_x = (<Tiles>x).t, rounded_or_null(rounded[0], x)
    found.rounded_dy = rounded_or_null(rounded[1], dy)
    return found


cdef bint are_rounded(const c.rw_bf16_operands *of) noexcept:
    return of.rounded_x != NULL and of.rounded_dy != NULL


def backward_update(Store store not None, x not None, Tiles dy not None, Update update not None,
                    Scratch scratch not None, int threads, bint bf16=False, tuple rounded=(None, None)):
    """Weight gradients, straight into one optimizer step. x: Tiles or SparseInputs. ``rounded`` is of x and dy."""
    cdef SparseInputs few = few_of(x)
    cdef c.rw_tiles *xt = tiles_of(x)
    cdef c.rw_run run = run_on(threads)
    cdef c.rw_update u = update.u
    cdef const c.rw_kernels *k = KERNELS[<int>store.s.field[0].dtype]
    cdef c.rw_bf16_operands operands = bf16_operands(x, dy, rounded, few)
    cdef void *room
    cdef c.rw_status st
    enter_both(scratch, few)
    try:
        store.enter(True)
        try:
            scratch.reserve(store, k, dy, threads, bf16)
            room = room_of(scratch, store, dy, bf16, are_rounded(&operands), few)
            if few is not None:
                few.reach(store, threads)
            with nogil:
                if xt == NULL:
                    st = c.rw_nonzero_backward_update(k, store.s, few.x, dy.t, &u, scratch.block.data, &run)
                elif bf16:
                    st = c.rw_bf16_backward_update(k, store.s, &operands, &u, scratch.block.data, room, &run)
                else:
                    st = c.rw_backward_update(k, store.s, xt, dy.t, &u, scratch.block.data, &run)
        finally:
            store.leave()
    finally:
        leave_both(scratch, few)
    check(st, "backward_update")


def backward_weights(Store store not None, x not None, Tiles dy not None, str field, int threads,
                     bint add=False, Scratch scratch=None, bint bf16=False, tuple rounded=(None, None)):
    """Weight gradients into a field, or added to what it holds. x: Tiles or SparseInputs."""
    cdef SparseInputs few = few_of(x)
    cdef c.rw_tiles *xt = tiles_of(x)
    cdef c.rw_run run = run_on(threads)
    cdef const c.rw_kernels *k = KERNELS[<int>store.s.field[0].dtype]
    cdef int32_t f = store.find_field(field)
    cdef c.rw_bf16_operands operands = bf16_operands(x, dy, rounded, few)
    cdef void *room
    cdef c.rw_status st
    if scratch is None:
        scratch = Scratch()
    enter_both(scratch, few)
    try:
        store.enter(True)
        try:
            if add:
                scratch.reserve(store, k, dy, threads, bf16)
            room = room_of(scratch, store, dy, bf16, are_rounded(&operands), few)
            if few is not None:
                few.reach(store, threads)
            with nogil:
                if xt == NULL:
                    st = c.rw_nonzero_backward_weights(k, store.s, few.x, dy.t, f, add, scratch.block.data, &run)
                elif bf16:
                    st = c.rw_bf16_backward_weights(k, store.s, &operands, f, add, scratch.block.data, room, &run)
                else:
                    st = c.rw_backward_weights(k, store.s, xt, dy.t, f, add, scratch.block.data, &run)
        finally:
            store.leave()
    finally:
        leave_both(scratch, few)
    check(st, "backward_weights")
