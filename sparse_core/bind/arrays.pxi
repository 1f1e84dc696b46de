# arrays.pxi -- statuses as exceptions, signals, and the one door for arrays.

# --- statuses and signals -------------------------------------------------------

class LinkError(Exception):
    """An edit that names a link it cannot be about: ``group`` and ``source`` of the first one."""

    def __init__(self, message, group=-1, source=-1):
        super().__init__(message)
        self.group, self.source = group, source

    def __reduce__(self):
        return type(self), (self.args[0], self.group, self.source)


class LinkExists(LinkError, ValueError):
    """The connection is already there, or named twice."""


class LinkAbsent(LinkError, KeyError):
    """The connection is not there."""

    __str__ = Exception.__str__  # KeyError would show the message in quotes


class LinkRange(LinkError, IndexError):
    """The connection lies outside the store."""


_EXCEPTIONS = {
    c.RW_ENOMEM: MemoryError, c.RW_ERANGE: IndexError, c.RW_EEXIST: ValueError, c.RW_ENOENT: KeyError,
    c.RW_ESHAPE: ValueError, c.RW_EPINNED: BufferError, c.RW_ESTALE: RuntimeError, c.RW_EFULL: ValueError,
    c.RW_ECORRUPT: ValueError,
}
_LINK_EXCEPTIONS = {c.RW_ERANGE: LinkRange, c.RW_EEXIST: LinkExists, c.RW_ENOENT: LinkAbsent}


cdef int poll(void *unused) noexcept with gil:
    """Let Python handle signals. If a handler raises, the exception stays set in
    this thread; the operation returns RW_EINTR and `check` lets it through."""
    return PyErr_CheckSignals() != 0


cdef int check(c.rw_status status, str what="", c.rw_fault *at=NULL) except -1:
    """Raise the Python exception that belongs to a C status."""
    if status == c.RW_OK:
        return 0
    if status == c.RW_EINTR and PyErr_Occurred() != NULL:
        return -1
    message = c.rw_status_str(status).decode()
    if what:
        message = f"{what}: {message}"
    if at != NULL and status in _LINK_EXCEPTIONS:
        raise _LINK_EXCEPTIONS[status](f"{message} (group {at.group}, source {at.source})", at.group, at.source)
    raise _EXCEPTIONS.get(status, RuntimeError)(message)


cdef c.rw_run run_on(int threads) except *:
    if not 1 <= threads <= c.RW_MAX_THREADS:
        raise ValueError(f"threads must be an integer in [1, {c.RW_MAX_THREADS}], got {threads}")
    return c.rw_run(threads, poll, NULL)


cdef c.rw_key make_key(seed, stream, step) except *:
    return c.rw_key(seed & 0xFFFFFFFFFFFFFFFF, stream, step)


cdef int64_t count_of(object count) except -1:
    """A number of slots, from any integer but True and False."""
    if not isinstance(count, bool) and hasattr(count, "__index__"):
        n = count.__index__()
        if 0 <= n < 2**62:
            return n
        raise ValueError(f"count must be an integer >= 0, got {count!r}")
    raise TypeError(f"count must be an integer >= 0, got {count!r}")


# --- arrays ---------------------------------------------------------------------

_DTYPES = {"float32": c.RW_F32, "float64": c.RW_F64, "int32": c.RW_I32, "int64": c.RW_I64, "uint8": c.RW_U8}
_NAMES = {code: name for name, code in _DTYPES.items()}
_FORMATS = {c.RW_F32: b"f", c.RW_F64: b"d", c.RW_I32: b"i", c.RW_I64: b"q", c.RW_U8: b"B"}
_INPUTS = {
    "float32": c.RW_IN_F32, "float64": c.RW_IN_F64, "uint8": c.RW_IN_U8, "int8": c.RW_IN_I8,
    "uint16": c.RW_IN_U16, "int16": c.RW_IN_I16, "int32": c.RW_IN_I32, "int64": c.RW_IN_I64, "bool": c.RW_IN_BOOL,
}
_BY_NAME = {name: np.dtype(name) for name in _INPUTS}  # a dtype is compared with a name by making one of it
_INPUTS_BY_DTYPE = {np.dtype(name): code for name, code in _INPUTS.items()}  # its name takes NumPy longer than packing


cdef c.rw_dtype dtype_code(name, bint floating=True, str what="dtype") except *:
    code = _DTYPES.get(name) if isinstance(name, str) else None
    if code is None or (floating and code not in (c.RW_F32, c.RW_F64)):
        allowed = ["float32", "float64"] if floating else list(_DTYPES)
        raise ValueError(f"{what} must be one of {allowed}, got {name!r}")
    return code


@cython.final
@cython.internal
cdef class Array:
    """A borrowed buffer: the one door through which arrays come in."""
    cdef Py_buffer view
    cdef bint held

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    cdef int64_t size(self):
        return self.view.len // self.view.itemsize if self.view.itemsize else 0


cdef type _ARRAY = np.ndarray  # where every call finds it at once


cdef Array borrow(object x, str name, str dtype, Py_ssize_t size=-1, bint writable=False):
    """The buffer of a C-contiguous array of exactly this dtype."""
    # NumPy has one object for each of its dtypes, but a copy may be equal too.
    if not isinstance(x, _ARRAY) or (x.dtype is not _BY_NAME[dtype] and x.dtype != _BY_NAME[dtype]):
        refuse_array(x, name, dtype)
    cdef Array a = Array.__new__(Array)
    PyObject_GetBuffer(x, &a.view, PyBUF_FORMAT | PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0))
    a.held = True
    if not PyBuffer_IsContiguous(&a.view, c'C'):
        refuse_array(x, name, dtype)
    if size >= 0 and a.size() != size:
        raise ValueError(f"{name} must have {size} values, got {a.size()}")
    return a


cdef int refuse_array(object x, str name, str dtype) except -1:
    got = f"{x.dtype} array" if isinstance(x, np.ndarray) else type(x).__name__
    raise TypeError(f"{name} must be a C-contiguous {dtype} array, got {got}"
                    + (" that is not contiguous" if getattr(x, "dtype", None) == dtype else ""))


cdef Array borrow_optional(object x, str name, str dtype, Py_ssize_t size=-1, bint writable=False):
    """The same, where None gives None."""
    return None if x is None else borrow(x, name, dtype, size, writable)


cdef void *pointer(Array a) noexcept:
    return a.view.buf if a is not None else NULL


@cython.final
@cython.internal
cdef class Pin:
    """What all leases of one store have in common, until `Store.revert` takes its arrays away from under them."""
    cdef Store arrays  # then: who keeps these alive for the leases, and the store is not pinned any more


@cython.no_gc_clear  # or the collector could take `store` away before it is unpinned
cdef class Lease:
    """Memory of the core as a buffer for NumPy. Pins `store` while it lives, if given."""
    cdef object owner
    cdef Store store
    cdef Pin pin
    cdef char *data
    cdef bytes format
    cdef Py_ssize_t shape[3]
    cdef Py_ssize_t strides[3]
    cdef Py_ssize_t itemsize
    cdef int ndim
    cdef bint readonly
    cdef char nothing[8]

    def __dealloc__(self):
        if self.store is not None and self.pin.arrays is None:
            c.rw_store_unpin(self.store.s)

    def __getbuffer__(self, Py_buffer *b, int flags):
        if self.readonly and flags & PyBUF_WRITABLE:
            raise BufferError("the structure of a store is read-only")
        b.buf = self.data if self.data != NULL else self.nothing
        b.obj = self
        b.itemsize = self.itemsize
        b.len = b.itemsize
        for d in range(self.ndim):
            b.len *= self.shape[d]
        b.ndim = self.ndim
        b.format = self.format
        b.shape = self.shape
        b.strides = self.strides
        b.suboffsets = NULL
        b.readonly = self.readonly
        b.internal = NULL

    def __releasebuffer__(self, Py_buffer *b):
        pass


cdef object lease(object owner, Store pinned, void *data, c.rw_dtype dtype, tuple shape, tuple strides=None,
                  bint readonly=False):
    """An ndarray of 1 to 3 dimensions over memory of the core that keeps `owner` alive (and pins a store)."""
    cdef Lease l = Lease.__new__(Lease)
    cdef Py_ssize_t stride = c.rw_dtype_size(dtype)
    l.owner = owner
    l.data = <char *>data
    l.format = _FORMATS[dtype]
    l.itemsize = stride
    l.ndim = len(shape)
    l.readonly = readonly
    for d in reversed(range(l.ndim)):
        l.shape[d] = shape[d]
        l.strides[d] = stride if strides is None else strides[d]
        stride *= shape[d]
    if pinned is not None:
        if pinned.pin is None:
            pinned.pin = Pin.__new__(Pin)
        c.rw_store_pin(pinned.s)
        l.store, l.pin = pinned, pinned.pin
    return np.asarray(l)


cdef class Block:
    """Aligned memory of the core's allocator."""
    cdef void *data
    cdef size_t bytes

    def __dealloc__(self):
        c.rw_free(self.data, self.bytes)

    cdef int reserve(self, size_t bytes, bint zero=False) except -1:
        """At least `bytes`; contents are lost when it grows."""
        if bytes <= self.bytes:
            return 0
        cdef void *fresh = c.rw_calloc(bytes) if zero else c.rw_alloc(bytes)
        if fresh == NULL:
            raise MemoryError(f"could not allocate {bytes} bytes")
        c.rw_free(self.data, self.bytes)
        self.data, self.bytes = fresh, bytes
        return 0


def aligned_zeros(shape, str dtype):
    """Zeros, 64-byte aligned, C order, in 1 to 3 dimensions."""
    cdef Block block = Block()
    cdef c.rw_dtype code = dtype_code(dtype, False)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if not 1 <= len(shape) <= 3 or min(shape) < 0:
        raise ValueError(f"shape must be 1 to 3 numbers >= 0, got {shape}")
    count = 1
    for n in shape:
        count *= n
    block.reserve(max(count, 1) * c.rw_dtype_size(code), zero=True)
    return lease(block, None, block.data, code, shape)
