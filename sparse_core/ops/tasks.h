/* tasks.h -- how a layer's work is cut and handed out (internal to layer.c and gradient.c). */
#ifndef RW_TASKS_H
#define RW_TASKS_H

#include "base/order.h"
#include "base/tuning.h"
#include "kernels/panels.h"
#include "ops/layer.h"

/* All that any task reads. A task is a block of groups, sources or rows, of one
 * tile or of all. */
typedef struct {
    const rw_kernels *k;
    const rw_store *s;
    rw_rows w;
    const rw_tiles *x;   /* inputs   */
    const rw_tiles *dy;  /* gradients of outputs */
    rw_tiles *y, *z;     /* what is written */
    const void *bias;
    rw_act act;
    double slope, p;
    rw_key key;
    const rw_update *u;
    char *m, *v, *asleep;
    const int32_t *born;
    const uint8_t *awake;
    char *grad;          /* a field's array; or scratch, scratch_values a thread */
    int64_t scratch_values;
    char *sums;
    int32_t n;           /* what is cut: groups, sources or rows */
    int64_t blocks;      /* into how many blocks                 */
    rw_cut cut;          /* how a block goes through the sources */
    int32_t first_group, end_group; /* of the groups that are scattered now */
} job;

/* A layer's task, as rw_run_tasks calls it. */
typedef struct {
    void (*task)(const job *, int64_t);
    const job *j;
} layer_task;

static inline void run_one(const void *arg, int64_t i)
{
    const layer_task *t = arg;
    t->task(t->j, i);
}

/* rw_run_tasks. Every output belongs to one task, so who runs it does not matter. */
static inline rw_status run_tasks(const rw_run *run, int64_t n, int64_t work,
                                  void (*task)(const job *, int64_t), const job *j)
{
    layer_task t = { task, j };
    return rw_run_tasks(run, n, work, run_one, &t);
}

/* Blocks to cut n things of one tile (or of all: n_tiles = 1) into: of
 * the work that tuning says each, but enough for threads to share evenly. */
static inline int64_t blocks_for(const rw_kernels *k, const rw_run *run, int64_t n, int64_t n_tiles,
                                 int64_t work)
{
    int64_t blocks = work / n_tiles / k->tuning->task_work;
    if (rw_threads_for(run->threads, work) > 1)
        blocks = rw_max64(blocks, 4 * run->threads / n_tiles);
    return rw_max64(1, rw_min64(blocks, n));
}

/* Where block b of n things begins. */
static inline int32_t block_start(const job *j, int64_t b)
{
    return (int32_t)(b * j->n / j->blocks);
}

/* Cut a layer's groups of one tile (or of all) into blocks. */
static inline void cut_groups(job *j, const rw_run *run, int64_t n_tiles, int64_t work)
{
    j->n = j->s->n_groups;
    j->blocks = blocks_for(j->k, run, j->n, n_tiles, work);
    if (j->cut.panels > 1) { /* many groups together, so that a panel is read often */
        int64_t together = rw_panel_groups(j->s, j->k->tuning);
        int64_t share = n_tiles >= run->threads ? 1 : 4 * run->threads;
        j->blocks = rw_max64((j->n + together - 1) / together, share);
    }
    int64_t least = (j->n + RW_TASK_GROUPS - 1) / RW_TASK_GROUPS;
    j->blocks = rw_min64(rw_max64(j->blocks, least), j->n);
}

/* Panel i of the sources [j0, j1). */
static inline rw_panel panel_of(const job *j, int32_t i, int32_t j0, int32_t j1, int32_t *at,
                                bool more)
{
    int32_t end = rw_panel_end(j0, j1, i, j->cut.panels);
    return (rw_panel){ at, end, more || i > 0, j->cut.far, end == j->s->n_in, j->cut.slots };
}

static inline rw_rows rows_of(const rw_store *s)
{
    return (rw_rows){ s->start, s->len, s->source, s->field[RW_WEIGHT].data, s->group, s->source_room };
}

/* Samples of a tile to compute: whole registers. */
static inline int32_t cols_of(const rw_kernels *k, const rw_tiles *t, int64_t tile)
{
    int32_t lanes = k->lanes < t->tile ? k->lanes : t->tile;
    return (rw_tile_live(t, tile) + lanes - 1) / lanes * lanes;
}

static inline char *row_at(const rw_tiles *t, int64_t tile, int32_t row)
{
    return rw_tile_at(t, tile) + (size_t)row * (size_t)t->tile * rw_dtype_size(t->dtype);
}

/* Bytes of one row of a tile. */
static inline int64_t row_bytes(const rw_tiles *t)
{
    return t->tile * (int64_t)rw_dtype_size(t->dtype);
}

static inline bool same_shape(const rw_tiles *a, const rw_tiles *b)
{
    return a->n == b->n && a->batch == b->batch && a->tile == b->tile && a->dtype == b->dtype;
}

static inline bool fits(const rw_kernels *k, const rw_store *s, const rw_tiles *in, const rw_tiles *out)
{
    return in->n == s->n_in && out->n == s->n_out && in->batch == out->batch &&
           in->tile == out->tile && in->dtype == k->dtype && out->dtype == k->dtype &&
           s->field[RW_WEIGHT].dtype == k->dtype && in->batch > 0;
}

static inline int64_t products(const rw_store *s, const rw_tiles *t)
{
    return s->slots * s->group * t->batch;
}

/* Bytes of a source's samples in a span: what dW reads again and again. */
static inline int64_t span_bytes(const rw_tiles *x)
{
    return rw_min64(x->n_tiles * x->tile, rw_max64(RW_SPAN, x->tile)) * (int64_t)rw_dtype_size(x->dtype);
}

#endif
