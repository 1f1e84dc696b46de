# cython: language_level=3, binding=True, embedsignature=True
# cython: boundscheck=False, wraparound=False
"""The binding: validate, release the GIL, call, translate the status.

No arithmetic over weights, activations or slots: that is in C. Each C status has one
exception (`check`), each array comes in through one door (`borrow`), and each long call
asks for signals through one poll, so Ctrl-C is seen within about 20 ms of work.
Typed signatures are in `rewire/_core.pyi`.
"""

import functools
import operator
import os

import numpy as np

cimport cython
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItemWithError, PyDict_Next, PyDict_Size
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.math cimport isfinite
from libc.string cimport memcpy, memset

cimport core as c


cdef extern from "Python.h":
    int PyErr_CheckSignals()  # deliberately not "except -1": see poll()
    void *PyErr_Occurred()
    bint PyLong_CheckExact(object x)
    bint PyFloat_Check(object x)
    double PyFloat_AS_DOUBLE(object x)
    Py_ssize_t PyList_GET_SIZE(object x)
    void *PyList_GET_ITEM(object x, Py_ssize_t i)  # that of cpython.list counts references
    long long PyLong_AsLongLongAndOverflow(object x, int *overflow)


cdef int FORKS = 0  # of which this process is a child: threads of before are gone


def _forked():
    global FORKS
    FORKS += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

cdef const c.rw_kernels *KERNELS[2]  # by dtype; chosen at import, changed only by force_isa

include "arrays.pxi"
include "store.pxi"
include "loader.pxi"
include "tiles.pxi"
include "merge.pxi"
include "nonzeros.pxi"
include "plan.pxi"
include "rules.pxi"
include "layers.pxi"
include "products.pxi"
include "rows.pxi"
include "losses.pxi"
include "moments.pxi"
include "links.pxi"
include "frozen.pxi"
include "many.pxi"
include "undo.pxi"


# --- the machine ----------------------------------------------------------------

def isa_available():
    """Instruction sets this machine can run, fastest first."""
    cdef int n = 0
    cdef const c.rw_kernels *const *table = c.rw_kernels_list(c.RW_F32, &n)
    return [table[i].name.decode() for i in range(n)]


def isa():
    """The instruction set in use."""
    return KERNELS[0].name.decode()


def force_isa(str name):
    """Use another instruction set from now on (tests and benchmarks); returns the previous one."""
    if name and name not in isa_available():
        raise ValueError(f"instruction set must be one of {isa_available()}, got {name!r}")
    before = isa() if KERNELS[0] != NULL else ""
    KERNELS[0] = c.rw_kernels_named(c.RW_F32, name.encode())
    KERNELS[1] = c.rw_kernels_named(c.RW_F64, name.encode())
    return before


def measure_fma(int64_t rounds, int threads):
    """Multiply-adds in registers, to be timed: how many floating-point operations they were."""
    if rounds < 64:
        raise ValueError(f"rounds must be at least 64, got {rounds}")
    cdef c.rw_run run = run_on(threads)
    cdef double flops
    with nogil:
        flops = c.rw_measure_fma(KERNELS[0], rounds, &run)
    return flops


def measure_read(array, int threads):
    """Read a contiguous array once, to be timed: the exclusive or of its words of 8 bytes."""
    cdef c.rw_run run = run_on(threads)
    cdef Array a = Array.__new__(Array)
    cdef uint64_t words
    PyObject_GetBuffer(array, &a.view, PyBUF_SIMPLE)
    a.held = True
    if <uintptr_t>a.view.buf % 8:
        raise ValueError("measure_read takes an array aligned to 8 bytes")
    with nogil:
        words = c.rw_measure_read(KERNELS[0], a.view.buf, a.view.len, &run)
    return words


def openmp():
    """Was the core built with OpenMP?"""
    return bool(c.rw_openmp())


def openmp_max_threads():
    """What OpenMP would use now (threadpool_limits changes it); 1 without it."""
    return c.rw_openmp_max_threads()


def philox(key, counter):
    """One block of Philox4x64-10, for the tests."""
    cdef c.rw_philox block
    for i in range(4):
        block.v[i] = counter[i]
    block = c.rw_philox_block(key[0], key[1], block)
    return block.v[0], block.v[1], block.v[2], block.v[3]


def stream(uint32_t number, uint32_t worker=0):
    """The random stream of a parameter or layer on a worker: see ``rng.h``."""
    return c.rw_stream(number, worker)


def hypergeometric(int64_t total, int64_t marked, int64_t draws, double u):
    """Quantile by inversion from the mode, for the tests."""
    return c.rw_hypergeometric(total, marked, draws, u)


try:
    force_isa(os.environ.get("REWIRE_ISA", ""))
except ValueError as error:
    raise ImportError(f"REWIRE_ISA: {error}") from None
