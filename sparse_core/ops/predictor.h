/* predictor.h -- layers that are frozen: users' rows in, outputs out, in one call.
 *
 * A predictor has the layers of a network in a row, each y = f(W x + b). Batches go through the rows
 * of a store, tile by tile, as in training. One sample goes through whichever is quickest:
 *
 *      by rows      as in a batch: each row reads its sources
 *      by source    each source that is not zero adds to its rows: half of the links of a ReLU's
 *                   layer are not looked at
 *      by matrix    all weights of each source that is not zero, absent ones as 0: where many of
 *                   them exist, a register of rows costs no more than one link
 *
 *      slot    ...  |  4 |  9 | 17 |  0 |  9 | ...     of sources 5 and 6
 *              start[5]               start[6]
 *      row     ...  | 16 | 36 | 68 |  0 | 36 | ...     the first of the slot's group
 *      weight  ...  |    |    |    |    |    | ...     `group` values a slot
 *
 * All three add the terms of a sum in the canonical order (kernels.h), and those that are left out or
 * are 0 * x add nothing: they give the same bits, but for the sign of a zero (and a bias that is not
 * a normal number is flushed where it is added to). So a sample's outputs do not depend on its batch,
 * nor on what is copied here. Every weight is finite: whoever
 * adds layers sees to it.
 *
 * Ownership: stores are borrowed, must outlive the predictor and not change meanwhile. All else is
 * copied. Memory beside the stores: by source 4 bytes and `group` weights a slot and 8 a source, or
 * all weights of a matrix.
 * Threads: a predictor that has all its layers is only read, so any number of calls may run at once,
 * each in scratch of its own. */
#ifndef RW_PREDICTOR_H
#define RW_PREDICTOR_H

#include "ops/tiles.h"

typedef struct rw_predictor rw_predictor;

/* Without layers yet. NULL when there is no memory or a width is out of range. */
rw_predictor *rw_predictor_new(rw_dtype dtype, int64_t n_in);
void rw_predictor_free(rw_predictor *p);

/* The next layer, of as many sources as there were rows so far, from a store. bias: by row, or NULL.
 * `zeros`: whether many of its inputs are 0 as a rule, so that it may pay to leave these out.
 * RW_ESHAPE for another width or dtype, RW_ENOMEM; the predictor is then as it was. */
rw_status rw_predictor_add_store(rw_predictor *p, const rw_store *s, const void *bias, rw_act act,
                                 double slope, bool zeros);
/* The same from all weights, (n_out, n_in) in C order. Such a predictor takes one sample at a time. */
rw_status rw_predictor_add_matrix(rw_predictor *p, int64_t n_out, const void *weights,
                                  const void *bias, rw_act act, double slope);

/* Whether softmax comes last. */
void rw_predictor_softmax(rw_predictor *p, bool softmax);

/* The most samples of one call. */
int64_t rw_predictor_most(const rw_predictor *p);
int32_t rw_predictor_outputs(const rw_predictor *p);
/* Bytes held, stores not counted. */
size_t rw_predictor_bytes(const rw_predictor *p);

/* How one sample goes through layer i: 0 by rows, 1 by source, 2 by matrix, as far as its inputs allow;
 * -1 if there is no such layer. For tests and the curious. */
int rw_predictor_way(const rw_predictor *p, int32_t i);

/* Bytes of scratch, from rw_alloc, that a call with so many samples works in; 0 when they are too many. */
size_t rw_predictor_scratch(const rw_predictor *p, int64_t batch);

/* What is the matter with the numbers of a call. */
typedef enum { RW_NUMBERS_FINE = 0, RW_NUMBERS_IN = 1, RW_NUMBERS_OUT = 2 } rw_numbers;

/* Outputs of rows 0 .. batch - 1 (in->rows may name others), at `out` with byte strides, samples in
 * rows. An input that is not finite, as given or once it is standardised, and an output that is not,
 * are told by `found`; what lies at `out` is then unspecified. RW_ESHAPE for more samples than
 * rw_predictor_most, or no layers; RW_EINTR. */
rw_status rw_predictor_run(const rw_kernels *k, const rw_predictor *p, const rw_user_rows *in,
                           int64_t batch, char *out, ptrdiff_t row_stride, ptrdiff_t column_stride,
                           void *scratch, size_t bytes, rw_numbers *found, const rw_run *run);

#endif
