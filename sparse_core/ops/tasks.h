/* tasks.h -- how a layer's work is cut and handed out (internal to layer.c and gradient.c).
 *
 * Every operation has a struct of its own, with all that its tasks read and write. The struct
 * begins with rw_op, which says how the work is cut, or with rw_slots_op where the work is on
 * the slots of a store. A task is a block of groups, sources or rows, of one tile or of all.
 * Every output belongs to one task, so results do not depend on which thread runs it. */
#ifndef RW_TASKS_H
#define RW_TASKS_H

#include "base/order.h"
#include "base/tuning.h"
#include "kernels/panels.h"
#include "ops/layer.h"

typedef struct {
    const rw_kernels *k;
    int32_t n;       /* groups, sources or rows to be cut into blocks */
    int64_t blocks;
} rw_op;

typedef struct {
    rw_op op;
    const rw_store *s;
    rw_rows w;
    rw_cut cut;      /* how a block goes through the sources */
} rw_slots_op;

/* What one task works on: groups, sources or rows [first, end) of a tile. */
typedef struct {
    int64_t tile;    /* 0 where tasks take all tiles */
    int32_t first, end;
} rw_part;

/* --- cutting --------------------------------------------------------------- */

/* How many blocks n groups, sources or rows of one tile (or of all tiles: n_tiles = 1) are cut
 * into: each of the work that tuning says, but enough blocks for threads to share evenly. */
static inline int64_t rw_op_blocks(const rw_kernels *k, const rw_run *run, int64_t n,
                                   int64_t n_tiles, int64_t work)
{
    int64_t blocks = work / n_tiles / k->tuning->task_work;
    if (rw_threads_for(run->threads, work) > 1)
        blocks = rw_max64(blocks, 4 * run->threads / n_tiles);
    return rw_max64(1, rw_min64(blocks, n));
}

static inline rw_op rw_op_cut(const rw_kernels *k, const rw_run *run, int32_t n, int64_t n_tiles,
                              int64_t work)
{
    return (rw_op){ k, n, rw_op_blocks(k, run, n, n_tiles, work) };
}

static inline rw_part rw_op_part(const rw_op *op, int64_t task)
{
    int64_t block = task % op->blocks;
    return (rw_part){ task / op->blocks, (int32_t)(block * op->n / op->blocks),
                      (int32_t)((block + 1) * op->n / op->blocks) };
}

static inline rw_rows rw_rows_of(const rw_store *s)
{
    return (rw_rows){ s->start, s->len, s->source, s->field[RW_WEIGHT].data, s->group,
                      s->source_room };
}

/* The groups of one tile (or of all), which go through their sources by `cut`; its panels are read whole
 * where it `streams`. */
static inline rw_slots_op rw_slots_op_cut(const rw_kernels *k, const rw_store *s, const rw_run *run,
                                          rw_cut cut, bool streams, int64_t n_tiles, int64_t work)
{
    rw_slots_op o = { .op = rw_op_cut(k, run, s->n_groups, n_tiles, work), .s = s,
                      .w = rw_rows_of(s), .cut = cut };
    int64_t n = s->n_groups, blocks = o.op.blocks;
    if (o.cut.panels > 1) { /* many groups side by side, so that a panel is read often */
        int64_t most = rw_panel_groups(s, k->tuning, streams);
        int64_t share = n_tiles >= run->threads ? 1 : 4 * run->threads;
        blocks = rw_max64((n + most - 1) / most, share);
    }
    int64_t least = (n + RW_TASK_GROUPS - 1) / RW_TASK_GROUPS;
    o.op.blocks = rw_min64(rw_max64(blocks, least), n);
    return o;
}

/* Do the slots of `groups` groups touch as many sources as a pass over all reads? */
static inline bool rw_reading_pays(const rw_kernels *k, const rw_store *s, int64_t groups)
{
    return s->slots * groups / s->n_groups >= k->tuning->stream_touches * s->n_in;
}

/* Panel i of the sources [j0, j1). */
static inline rw_panel rw_slots_op_panel(const rw_slots_op *o, int32_t i, int32_t j0, int32_t j1,
                                         int32_t *at, bool more)
{
    int32_t end = rw_panel_end(j0, j1, i, o->cut.panels);
    return (rw_panel){ .at = at, .end = end, .more = more || i > 0, .far = o->cut.far,
                       .all = end == o->s->n_in, .slots = o->cut.slots };
}

/* --- shapes ---------------------------------------------------------------- */

/* Samples of a tile to compute: whole registers. */
static inline int32_t rw_tile_cols(const rw_kernels *k, const rw_tiles *t, int64_t tile)
{
    int32_t lanes = k->lanes < t->tile ? k->lanes : t->tile;
    return (rw_tile_live(t, tile) + lanes - 1) / lanes * lanes;
}

/* The same for forward and dX, which may go by less. */
static inline int32_t rw_product_cols(const rw_kernels *k, const rw_tiles *t, int64_t tile)
{
    int32_t step = k->step < t->tile ? k->step : t->tile;
    return (rw_tile_live(t, tile) + step - 1) / step * step;
}

/* Samples of the last tile that a product takes along with the one before it: none, or all it has. */
static inline int32_t rw_rest_cols(const rw_kernels *k, const rw_tiles *t, int32_t group)
{
    if (t->n_tiles < 2 || t->tile != rw_tile_size(t->batch, t->dtype))
        return 0;
    int32_t cols = rw_product_cols(k, t, t->n_tiles - 1);
    return cols <= (group > 1 ? k->rest_of_group : k->rest) ? cols : 0;
}

/* A product's strips: tiles, of which the last may be part of the one before. */
static inline int64_t rw_strips(const rw_kernels *k, const rw_tiles *t, int32_t group)
{
    return t->n_tiles - (rw_rest_cols(k, t, group) > 0);
}

static inline rw_strip rw_strip_of(const rw_kernels *k, const rw_tiles *in, const rw_tiles *out,
                                   int32_t group, int64_t i)
{
    int32_t rest = rw_rest_cols(k, in, group);
    return (rw_strip){ .in = rw_tile_at(in, i), .out = rw_tile_at(out, i),
                       .in_step = (size_t)in->rows * (size_t)in->tile,
                       .out_step = (size_t)out->rows * (size_t)out->tile, .tile = in->tile,
                       .cols = rw_product_cols(k, in, i), .rest = i == in->n_tiles - 2 ? rest : 0 };
}

/* The tiles of strip i: [i, this). */
static inline int64_t rw_strip_end(const rw_strip *s, int64_t i) { return i + 1 + (s->rest > 0); }

/* Bytes of one row of a tile. */
static inline int64_t rw_tile_row_bytes(const rw_tiles *t)
{
    return t->tile * (int64_t)rw_dtype_size(t->dtype);
}

static inline char *rw_tile_row(const rw_tiles *t, int64_t tile, int32_t row)
{
    return rw_tile_at(t, tile) + (size_t)row * (size_t)rw_tile_row_bytes(t);
}

/* Bytes of a source's samples in all tiles. */
static inline int64_t rw_line_bytes(const rw_tiles *t) { return t->n_tiles * rw_tile_row_bytes(t); }

/* Read rows [j0, j1) of a tile in the order of memory: a cache has them then, or had them. Nobody counts
 * it as work after which to ask whether to stop: it is much less than what follows. */
static inline void rw_read_rows(const rw_kernels *k, const rw_tiles *t, int64_t tile, int32_t j0,
                                int32_t j1)
{
    int64_t bytes = (j1 - j0) * rw_tile_row_bytes(t);
    (void)k->read(rw_tile_row(t, tile, j0), bytes / (int64_t)sizeof(uint64_t));
}

/* Bytes of a source's samples in a span: what dW reads again and again. */
static inline int64_t rw_span_bytes(const rw_kernels *k, const rw_tiles *x)
{
    int64_t batch = (x->n_tiles - 1) * x->tile + rw_tile_cols(k, x, x->n_tiles - 1);
    int64_t samples = rw_min64(batch, rw_max64(RW_SPAN, x->tile));
    return samples * (int64_t)rw_dtype_size(x->dtype);
}

/* How forward and dX go through the sources, whose samples are `t`. Of a batch longer than a span the strip
 * with a rest is a small part: it goes as the others do. */
static inline rw_cut rw_cut_strips(const rw_kernels *k, const rw_store *s, const rw_tiles *t,
                                   const rw_panel_rule *rule)
{
    int64_t bytes = rw_tile_row_bytes(t);
    if (t->batch <= RW_SPAN && rw_rest_cols(k, t, s->group) && rw_streams(s, rw_line_bytes(t), k->tuning)) {
        rw_cut cut = rw_cut_rest(s, bytes, k->tuning);
        if (cut.fills)
            return cut;
    }
    return rw_cut_sources(s, bytes, k->tuning, rule);
}

static inline bool rw_tiles_alike(const rw_tiles *a, const rw_tiles *b)
{
    return a->n == b->n && a->batch == b->batch && a->tile == b->tile && a->dtype == b->dtype;
}

/* Is it what kernels compute in, or what goes into their products? */
static inline bool rw_is_of(const rw_kernels *k, rw_dtype dtype)
{
    return dtype == k->dtype || dtype == k->operands;
}

/* Do a layer's inputs and outputs fit its store? */
static inline bool rw_layer_fits(const rw_kernels *k, const rw_store *s, const rw_tiles *in,
                                 const rw_tiles *out)
{
    return in->n == s->n_in && out->n == s->n_out && in->batch == out->batch &&
           in->tile == out->tile && rw_is_of(k, in->dtype) && rw_is_of(k, out->dtype) &&
           rw_is_of(k, s->field[RW_WEIGHT].dtype) && in->batch > 0;
}

/* Multiply-adds of a product with all slots. */
static inline int64_t rw_layer_work(const rw_store *s, const rw_tiles *t)
{
    return s->slots * s->group * t->batch;
}

#endif
