/* machine.h -- the limits of this machine, as its kernels can reach them.
 *
 * Functions to be timed: multiply-adds in registers alone, and a stream of reads.
 * A product of a layer can go no faster than both allow. */
#ifndef RW_MACHINE_H
#define RW_MACHINE_H

#include "kernels/kernels.h"

/* Multiply-adds on every thread, for some microseconds per thousand rounds. Returns how
 * many floating-point operations that was, two each. At least 64 rounds. */
double rw_measure_fma(const rw_kernels *k, int64_t rounds, const rw_run *run);

/* Read `bytes` once, in order, every thread its share; the exclusive or of their
 * whole words, so that no compiler leaves the reading out. Aligned to 8. */
uint64_t rw_measure_read(const rw_kernels *k, const void *data, size_t bytes, const rw_run *run);

#endif
