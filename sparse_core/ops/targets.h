/* targets.h -- what outputs should be, read where it lies.
 *
 * Labels, numbers or sparse rows of all samples that there are; nothing is copied. A batch is some
 * of these rows in any order, and what is gathered of it at a time stays in the first-level
 * cache: sparse rows never become dense ones. */
#ifndef RW_TARGETS_H
#define RW_TARGETS_H

#include "ops/tiles.h"

/* Sample b has row rows[b], or b where rows is NULL. One of three kinds, the other pointers are
 * NULL. The caller has checked that rows exist. Labels and CSR rows are the user's own, who may write to
 * them meanwhile: each number is read once and looked at where it is used. */
typedef struct {
    const int64_t *rows;
    const int64_t *labels;   /* a class each                                         */
    const char *values;      /* n numbers each, with byte strides                    */
    rw_input kind;
    ptrdiff_t row_stride, column_stride;
    const int64_t *indptr;   /* CSR rows: columns ascend in each, none stands twice  */
    const int32_t *columns;
    int64_t n_entries;       /* that there are                                       */
    const char *entries;     /* of this dtype; NULL for all 1                        */
    rw_dtype entry_dtype;
} rw_targets;

/* Samples that are gathered at a time, at most: a bound of the stack. */
enum { RW_TARGET_SAMPLES = 64 };

/* Targets of `live` samples from `sample` on, in rows of `width`. Of CSR rows, the entries that
 * were not gathered yet. */
typedef struct {
    const rw_targets *all;
    int64_t sample;
    int32_t live, width;
    int64_t next[RW_TARGET_SAMPLES], end[RW_TARGET_SAMPLES];
} rw_some_targets;

/* Those of outputs from i0 on. */
rw_some_targets rw_targets_from(const rw_targets *all, int64_t sample, int32_t live, int32_t width,
                                int32_t i0);

/* The targets of outputs [i, i + rows), which are the next ones: that of output i + r and sample
 * number b goes to place r * width + b of t, which is of this dtype. A label is a 1 among zeros;
 * where no sample is, 0. */
void rw_targets_gather(rw_some_targets *from, int32_t i, int32_t rows, rw_dtype dtype, void *t);

static inline int64_t rw_target_row(const rw_targets *t, int64_t sample)
{
    return t->rows ? t->rows[sample] : sample;
}

static inline int64_t rw_target_label(const rw_targets *t, int64_t sample)
{
    return rw_read_int64(t->labels + rw_target_row(t, sample));
}

/* to[place] = v, of this dtype. */
static inline void rw_put(rw_dtype dtype, void *to, int32_t place, double v)
{
    if (dtype == RW_F32)
        ((float *)to)[place] = (float)v;
    else
        ((double *)to)[place] = v;
}

#endif
