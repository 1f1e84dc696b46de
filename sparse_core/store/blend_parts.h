/* blend_parts.h -- what blend.c and merge.c share: blocks, tables of links, values as doubles. */
#ifndef RW_BLEND_PARTS_H
#define RW_BLEND_PARTS_H

#include <math.h>
#include <string.h>

#include "base/par.h"
#include "base/tuning.h"
#include "store/blend.h"

static inline bool rw_same_sizes(const rw_store *a, const rw_store *b)
{
    return a->n_out == b->n_out && a->n_in == b->n_in && a->group == b->group;
}

/* Do all blocks, and poll now and then. Not rw_run_tasks: there numbers that are nearly zero are
 * zero, and what is copied or chosen here would not be what is there. */
static inline rw_status rw_blocks_exactly(const rw_run *run, int threads, int64_t n, rw_task task,
                                         const void *arg)
{
    int64_t round = (int64_t)RW_MERGE_POLL_BLOCKS * threads;
    for (int64_t first = 0; first < n; first += round) {
        if (first > 0 && run->poll && run->poll(run->arg))
            return RW_EINTR;
        int64_t here = rw_min64(round, n - first);
        RW_PARALLEL_FOR(threads)
        for (int64_t i = 0; i < here; i++)
            task(arg, first + i);
    }
    return RW_OK;
}

/* Where the links of a group lie, by source: an entry counts if it is at least `base`, and is that
 * much more than the place. So nothing has to be cleared between two groups. */
typedef struct {
    uint32_t *entry; /* n_in */
    uint32_t base;
} rw_link_table;

/* Begin with another group, of up to `most` links; the one before had at most `had`. */
static inline void rw_table_next(rw_link_table *t, int32_t n_in, int64_t had, int64_t most)
{
    if ((int64_t)t->base + had + most < UINT32_MAX) {
        t->base += (uint32_t)had;
        return;
    }
    memset(t->entry, 0, (size_t)n_in * sizeof *t->entry);
    t->base = 1;
}

static inline void rw_values_read(const rw_field *f, int64_t slot, int64_t n, double *out)
{
    int64_t first = slot * f->width;
    n *= f->width;
#define READ_VALUES(type)                                                       \
    do {                                                                 \
        const type *in = (const type *)(const void *)f->data + first;    \
        for (int64_t i = 0; i < n; i++)                                  \
            out[i] = (double)in[i];                                      \
    } while (0)
    switch (f->dtype) {
    case RW_F32: READ_VALUES(float); break;
    case RW_F64: READ_VALUES(double); break;
    case RW_I32: READ_VALUES(int32_t); break;
    case RW_I64: READ_VALUES(int64_t); break;
    case RW_U8:  READ_VALUES(uint8_t); break;
    case RW_BF16: break;
    }
}

static inline void rw_values_write(rw_dtype dtype, void *array, int64_t first, int64_t n,
                                   const double *in)
{
#define WRITE_VALUES(type)                                \
    do {                                           \
        type *to = (type *)array + first;          \
        for (int64_t i = 0; i < n; i++)            \
            to[i] = (type)in[i];                   \
    } while (0)
    switch (dtype) {
    case RW_F32: WRITE_VALUES(float); break;
    case RW_F64: WRITE_VALUES(double); break;
    case RW_I32: WRITE_VALUES(int32_t); break;
    case RW_I64: WRITE_VALUES(int64_t); break;
    case RW_U8:  WRITE_VALUES(uint8_t); break;
    case RW_BF16: break;
    }
}

/* What a blend begins with: the first value replaces it bit by bit, also -0. */
static inline double rw_blend_start(rw_blend how)
{
    return how == RW_BLEND_MIN ? INFINITY : how == RW_BLEND_MAX ? -INFINITY : -0.0;
}

static inline double rw_blend_two(rw_blend how, double have, double value)
{
    switch (how) {
    case RW_BLEND_MIN: return value < have || value != value ? value : have;
    case RW_BLEND_MAX: return value > have || value != value ? value : have;
    default: return have + value;
    }
}

/* From sums to what is asked for. */
static inline void rw_blend_finish(rw_blend how, int32_t k, int32_t width, int64_t n,
                                   const int32_t *holders, double *sum)
{
    if (how == RW_BLEND_MEAN && k > 1) {
        if (k & (k - 1)) {
            for (int64_t i = 0; i < n * width; i++)
                sum[i] /= k;
        } else { /* a power of two has an inverse: the same numbers, sooner */
            const double part = 1.0 / k;
            for (int64_t i = 0; i < n * width; i++)
                sum[i] *= part;
        }
    }
    if (how == RW_BLEND_HOLDERS && k > 1)
        for (int64_t i = 0; i < n; i++)
            for (int32_t r = 0; r < width; r++)
                sum[i * width + r] /= holders[i];
}

#endif
