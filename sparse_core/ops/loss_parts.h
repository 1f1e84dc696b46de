/* loss_parts.h -- how losses are cut, and what tasks share (internal to softmax.c and loss.c).
 *
 * A task takes a strip of samples and a block of outputs. It goes through them in runs, whose
 * values are contiguous, and leaves what it has summed of each sample to other tasks. */
#ifndef RW_LOSS_PARTS_H
#define RW_LOSS_PARTS_H

#include "base/par.h"
#include "ops/loss.h"

#include <math.h>
#include <string.h>

/* A strip is up to so many samples of one tile. Of a block of its outputs, a kernel takes a
 * run of so many values: bounds of the stack. */
enum {
    RW_LOSS_STRIP = RW_TARGET_SAMPLES,
    RW_LOSS_PERIOD = RW_LOSS_STRIP * RW_SUM_LANES,
    RW_LOSS_RUN = 2048
};

/* What blocks leave for each other, by block and sample. */
enum { RW_LEFT_LARGEST, RW_LEFT_EXPONENTIALS, RW_LEFT_LOSS, RW_LEFT_MASS, RW_LEFT_QUANTITIES };

/* One evaluation: what all its tasks share. */
typedef struct {
    const rw_kernels *k;
    rw_loss_spec spec;
    const rw_tiles *z;
    rw_tiles *dz;           /* or NULL                                     */
    rw_targets targets;
    const double *weight;   /* or NULL                                     */
    double total_weight;    /* 0: no sample counts                         */
    double *scratch;        /* [quantity][block][sample, padding included] */
    uint8_t *right;         /* or NULL                                     */
    int64_t blocks, strips; /* of a tile                                   */
    bool one_by_one;        /* softmax with targets other than labels' 0, 1 */
    bool softmax;           /* no loss: dz becomes the softmax             */
    double threshold;       /* of rw_agreement                             */
} rw_loss_job;

/* Outputs [i0, i1) of a strip of samples. */
typedef struct {
    int64_t tile, block, sample; /* the first sample of all, counted with padding */
    int32_t b0, width, live;     /* the first one in its tile; how many, how many are in use */
    int32_t i0, i1;
} rw_loss_part;

static inline int64_t rw_loss_padded(const rw_tiles *z) { return z->n_tiles * z->tile; }

static inline int64_t rw_loss_blocks(const rw_tiles *z)
{
    return (z->n + RW_LOSS_FEATURES - 1) / RW_LOSS_FEATURES;
}

/* Block number `blocks` is what all of them come to. */
static inline double *rw_loss_left(const rw_loss_job *j, int quantity, int64_t block,
                                   int64_t sample)
{
    return j->scratch + ((size_t)quantity * (size_t)(j->blocks + 1) + (size_t)block) *
                            (size_t)rw_loss_padded(j->z) + (size_t)sample;
}

static inline double *rw_loss_whole(const rw_loss_job *j, int quantity, int64_t sample)
{
    return rw_loss_left(j, quantity, j->blocks == 1 ? 0 : j->blocks, sample);
}

static inline int64_t rw_loss_label(const rw_loss_job *j, int64_t sample)
{
    return rw_target_label(&j->targets, sample);
}

static inline size_t rw_loss_place(const rw_loss_job *j, const rw_loss_part *p, int32_t i,
                                   int32_t b)
{
    return ((size_t)p->tile * (size_t)j->z->rows + (size_t)i) * (size_t)j->z->tile +
           (size_t)(p->b0 + b);
}

static inline void *rw_loss_value(const rw_tiles *t, size_t place)
{
    return t->data + place * rw_dtype_size(t->dtype);
}

static inline double rw_loss_get(const rw_tiles *t, size_t place)
{
    const void *at = rw_loss_value(t, place);
    return t->dtype == RW_F32 ? (double)*(const float *)at : *(const double *)at;
}

static inline void rw_loss_set(rw_tiles *t, size_t place, double v)
{
    rw_put(t->dtype, rw_loss_value(t, place), 0, v);
}

/* --- runs of a part ---------------------------------------------------------- */

/* Rows of a run: its values are contiguous, and value k belongs to sample k % width. Rows of a
 * tile that is wider than a strip are runs of their own. */
static inline int32_t rw_loss_run_rows(const rw_loss_job *j, const rw_loss_part *p, int32_t i)
{
    int32_t most = j->z->tile > p->width ? 1 : RW_LOSS_RUN / p->width;
    return (int32_t)rw_min64(most, p->i1 - i);
}

/* Where the sums of a run that begins with row i begin. */
static inline int32_t rw_loss_lane(const rw_loss_part *p, int32_t i)
{
    return (i - p->i0) % RW_SUM_LANES * p->width;
}

/* A number of each sample, as often as a run's sums need it; of this dtype. */
static inline void rw_loss_spread(const rw_loss_part *p, const double *of, void *to,
                                  rw_dtype dtype)
{
    int32_t rows = (int32_t)rw_min64(RW_SUM_LANES, p->i1 - p->i0);
    for (int32_t b = 0; b < p->width; b++)
        rw_put(dtype, to, b, b < p->live ? of[b] : 0);
    size_t bytes = (size_t)p->width * rw_dtype_size(dtype);
    for (int32_t r = 1; r < rows; r++)
        memcpy((char *)to + (size_t)r * bytes, to, bytes);
}

static inline void rw_loss_clear(const rw_loss_part *p, double *sum)
{
    for (int32_t k = 0; k < RW_SUM_LANES * p->width; k++)
        sum[k] = 0;
}

/* A sample's sums, added in halves, go to where other blocks' are. */
static inline void rw_loss_leave(const rw_loss_job *j, const rw_loss_part *p, int quantity,
                                 double *sum)
{
    double *to = rw_loss_left(j, quantity, p->block, p->sample);
    for (int32_t lanes = RW_SUM_LANES / 2; lanes >= 1; lanes /= 2)
        for (int32_t k = 0; k < lanes * p->width; k++)
            sum[k] += sum[lanes * p->width + k];
    for (int32_t b = 0; b < p->width; b++)
        to[b] = sum[b];
}

/* --- targets ------------------------------------------------------------------- */

static inline rw_some_targets rw_loss_targets(const rw_loss_job *j, const rw_loss_part *p)
{
    return rw_targets_from(&j->targets, p->sample, p->live, p->width, p->i0);
}

/* --- gradients ---------------------------------------------------------------- */

static inline double rw_loss_factor(const rw_loss_job *j, const rw_loss_part *p, int32_t b)
{
    if (b >= p->live || j->total_weight == 0)
        return 0;
    return (j->weight ? j->weight[p->sample + b] : 1) / j->total_weight;
}

/* Padding has no gradient, and neither has a sample of no weight: 0 times its own could be NaN. */
static inline void rw_loss_clear_gradient(const rw_loss_job *j, const rw_loss_part *p)
{
    for (int32_t b = 0; b < p->width; b++)
        if (b >= p->live || (!j->softmax && rw_loss_factor(j, p, b) == 0))
            for (int32_t i = p->i0; i < p->i1; i++)
                rw_loss_set(j->dz, rw_loss_place(j, p, i, b), 0);
}

/* Blocks put together, for all samples: sums, or the largest. */
static inline void rw_loss_together(const rw_loss_job *j, int quantity)
{
    if (j->blocks == 1)
        return;
    double *to = rw_loss_whole(j, quantity, 0);
    memcpy(to, rw_loss_left(j, quantity, 0, 0), (size_t)j->z->batch * sizeof *to);
    for (int64_t block = 1; block < j->blocks; block++) {
        const double *from = rw_loss_left(j, quantity, block, 0);
        for (int64_t b = 0; b < j->z->batch; b++)
            to[b] = quantity == RW_LEFT_LARGEST ? fmax(to[b], from[b]) : to[b] + from[b];
    }
}

/* --- tasks --------------------------------------------------------------------- */

static inline rw_loss_part rw_loss_part_of(const rw_loss_job *j, int64_t task)
{
    int64_t all = task / j->blocks, tile = all / j->strips, block = task % j->blocks;
    int32_t width = (int32_t)rw_min64(j->z->tile, RW_LOSS_STRIP);
    int32_t b0 = (int32_t)(all % j->strips) * width;
    int64_t live = rw_max64(0, rw_min64(width, rw_tile_live(j->z, tile) - b0));
    int64_t i0 = block * RW_LOSS_FEATURES, i1 = rw_min64(i0 + RW_LOSS_FEATURES, j->z->n);
    return (rw_loss_part){ tile, block, tile * j->z->tile + b0, b0, width, (int32_t)live,
                           (int32_t)i0, (int32_t)i1 };
}

static inline void rw_loss_cut(rw_loss_job *j)
{
    j->blocks = rw_loss_blocks(j->z);
    j->strips = (j->z->tile + RW_LOSS_STRIP - 1) / RW_LOSS_STRIP;
}

static inline int64_t rw_loss_work(const rw_tiles *z)
{
    return z->batch * z->n * RW_COST_LOSS_VALUE;
}

#define RW_LOSS_TASK(name)                                 \
    static void name##_task(const void *arg, int64_t task) \
    {                                                      \
        const rw_loss_job *j = arg;                        \
        rw_loss_part p = rw_loss_part_of(j, task);         \
        if (p.live > 0)                                    \
            name(j, &p);                                   \
    }

/* The passes of softmax: of a loss, or of j->softmax. */
rw_status rw_softmax_passes(const rw_loss_job *j, int64_t work, const rw_run *run);

#endif
