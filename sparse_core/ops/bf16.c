#include "ops/bf16.h"
#include "kernels/kernels_bf16.h"
#include "ops/tasks.h"

/* --- which kernels --------------------------------------------------------------- */

bool rw_bf16_has_kernels(const rw_kernels *k, const rw_tiles *t)
{
    return k->bf16 && t->tile % RW_BF16_BLOCK == 0;
}

/* The set with its products of bfloat16 in the place of those of float32. */
static rw_kernels narrow_kernels(const rw_kernels *k)
{
    rw_kernels narrow = *k;
    narrow.tuning = k->bf16->tuning;
    narrow.operands = RW_BF16;
    narrow.forward = k->bf16->forward;
    narrow.dx_scatter = k->bf16->dx_scatter;
    narrow.dw = k->bf16->dw;
    narrow.lanes = RW_BF16_BLOCK;
    narrow.step = RW_BF16_BLOCK;
    narrow.rest = narrow.rest_of_group = 0;
    return narrow;
}

/* --- room ------------------------------------------------------------------------ */

/* Every copy begins where the allocator would have begun it. */
static bool add_copy(size_t *bytes, size_t more)
{
    size_t whole;
    return rw_add_size(more, RW_ALIGNMENT - 1, &whole)
        && rw_add_size(*bytes, whole / RW_ALIGNMENT * RW_ALIGNMENT, bytes);
}

static size_t operand_bytes(const rw_store *s, rw_dtype dtype)
{
    return (size_t)s->top * (size_t)s->group * rw_dtype_size(dtype); /* the arena has as many slots */
}

/* What kernels take. */
static rw_dtype operand_dtype(bool has_kernels) { return has_kernels ? RW_BF16 : RW_F32; }

/* Pairs of weights for dX are two rows of a group. */
static bool narrows_dx(const rw_kernels *k, const rw_store *s, const rw_tiles *dy)
{
    return rw_bf16_has_kernels(k, dy) && s->group > 1;
}

/* The room of a product of tiles with weights, or with tiles of `others`; never none. 0: too much. */
static size_t product_room(const rw_tiles *tiles, int32_t features, int32_t others, size_t weights,
                           rw_dtype dtype, bool rounded)
{
    size_t first = rw_tiles_bytes(features, tiles->batch, tiles->tile, dtype), bytes = RW_ALIGNMENT;
    size_t second = others ? rw_tiles_bytes(others, tiles->batch, tiles->tile, dtype) : 0;
    if (!first || (others && !second))
        return 0;
    bool copies = !rounded || dtype != RW_BF16; /* kernels of float32 have no use for what is narrow */
    bool fits = !copies || (add_copy(&bytes, first) && add_copy(&bytes, second));
    return fits && add_copy(&bytes, weights) ? bytes : 0;
}

size_t rw_bf16_room(const rw_kernels *k, const rw_store *s, const rw_tiles *tiles, bool rounded)
{
    rw_dtype dtype = operand_dtype(rw_bf16_has_kernels(k, tiles));
    rw_dtype of_dx = operand_dtype(narrows_dx(k, s, tiles));
    size_t forward = product_room(tiles, s->n_in, 0, operand_bytes(s, dtype), dtype, rounded);
    size_t dx = product_room(tiles, s->n_out, 0, operand_bytes(s, of_dx), of_dx, rounded);
    size_t dw = product_room(tiles, s->n_in, s->n_out, 0, dtype, rounded);
    if (!forward || !dx || !dw)
        return 0;
    size_t most = forward > dx ? forward : dx;
    return most > dw ? most : dw;
}

/* The next copy's memory. */
static char *take_room(char **room, size_t bytes)
{
    char *found = *room;
    *room += (bytes + RW_ALIGNMENT - 1) / RW_ALIGNMENT * RW_ALIGNMENT;
    return found;
}

int64_t rw_bf16_scratch_values(const rw_kernels *k, const rw_store *s, const rw_tiles *dy)
{
    int64_t values = rw_scratch_values(k, s, dy);
    if (!rw_bf16_has_kernels(k, dy))
        return values;
    rw_kernels narrow = narrow_kernels(k);
    rw_tiles rounded = *dy;
    rounded.dtype = RW_BF16;
    return rw_max64(values, rw_scratch_values(&narrow, s, &rounded));
}

/* --- rounded copies -------------------------------------------------------------- */

typedef struct {
    rw_op op;
    const rw_tiles *from, *to; /* of float32, or of bfloat16 for kernels that take that */
} round_tiles_op;

static void round_tiles_task(const void *arg, int64_t task)
{
    const round_tiles_op *r = arg;
    const rw_kernels *k = r->op.k;
    rw_part p = rw_op_part(&r->op, task);
    void *from = rw_tile_row(r->from, p.tile, p.first), *to = rw_tile_row(r->to, p.tile, p.first);
    int64_t n = (int64_t)(p.end - p.first) * r->from->tile;
    if (r->to->dtype == RW_BF16)
        k->bf16->narrow(from, to, n);
    else
        k->round_bf16(from, to, n);
}

/* Padding is copied, being zero. */
static rw_status round_tiles(const rw_kernels *k, const rw_tiles *from, const rw_tiles *to,
                             const rw_run *run)
{
    int64_t work = (int64_t)from->rows * from->tile * from->n_tiles;
    round_tiles_op r = { .op = rw_op_cut(k, run, from->rows, from->n_tiles, work), .from = from,
                         .to = to };
    return rw_run_tasks(run, r.op.blocks * from->n_tiles, work, round_tiles_task, &r);
}

rw_status rw_bf16_round(const rw_kernels *k, const rw_tiles *from, rw_tiles *to, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(from) && rw_is_tiles(to) && rw_is_run(run));
    if (!rw_bf16_has_kernels(k, from) || from->dtype != RW_F32 || to->dtype != RW_BF16
        || to->n != from->n || to->batch != from->batch || to->tile != from->tile)
        return RW_ESHAPE;
    return round_tiles(k, from, to, run);
}

/* *to becomes `from` rounded to a dtype: `rounded` if that is it, or a copy in `room`, which goes on
 * behind it. */
static rw_status rounded_tiles(const rw_kernels *k, const rw_tiles *from, const rw_tiles *rounded,
                               rw_dtype dtype, rw_tiles *to, char **room, const rw_run *run)
{
    RW_ASSERT(!rounded || (rounded->n == from->n && rounded->batch == from->batch
                           && rounded->tile == from->tile));
    if (rounded && rounded->dtype == dtype) {
        *to = *rounded;
        return RW_OK;
    }
    size_t bytes = rw_tiles_bytes(from->n, from->batch, from->tile, dtype);
    rw_status st = rw_tiles_over(to, from->n, from->batch, from->tile, dtype, take_room(room, bytes),
                                 bytes);
    return st ? st : round_tiles(k, from, to, run);
}

/* What the weights are a copy for. */
typedef enum { FLOAT32_PRODUCTS, NARROW_FORWARD, NARROW_DX } weights_for;

typedef struct {
    rw_op op;
    rw_rows w;
    weights_for what;
    char *to;
} round_weights_op;

static void round_weights_task(const void *arg, int64_t task)
{
    const round_weights_op *r = arg;
    const rw_kernels *k = r->op.k;
    rw_part p = rw_op_part(&r->op, task);
    if (r->what == NARROW_FORWARD)
        k->bf16->pair_slots(&r->w, p.first, p.end, (void *)r->to);
    else if (r->what == NARROW_DX)
        k->bf16->pair_rows(&r->w, p.first, p.end, (void *)r->to);
    else
        for (int32_t g = p.first; g < p.end; g++) {
            int64_t at = r->w.start[g] * r->w.group;
            k->round_bf16((const float *)r->w.weight + at, (float *)(void *)r->to + at,
                          (int64_t)r->w.len[g] * r->w.group);
        }
}

/* *to becomes a look at the structure of s with other weights, which lie in `room`: for reading alone. */
static rw_status rounded_weights(const rw_kernels *k, const rw_store *s, weights_for what,
                                 rw_store *to, char **room, const rw_run *run)
{
    *to = *s;
    rw_dtype dtype = operand_dtype(what != FLOAT32_PRODUCTS);
    to->field[RW_WEIGHT].data = take_room(room, operand_bytes(s, dtype));
    to->field[RW_WEIGHT].dtype = dtype;
    int64_t work = s->slots * s->group;
    round_weights_op r = { .op = rw_op_cut(k, run, s->n_groups, 1, work), .w = rw_rows_of(s),
                           .what = what, .to = to->field[RW_WEIGHT].data };
    return rw_run_tasks(run, r.op.blocks, work, round_weights_task, &r);
}

/* --- products ---------------------------------------------------------------------- */

static bool fits(const rw_kernels *k, const rw_store *s, const rw_tiles *in, const rw_tiles *out)
{
    return k->dtype == RW_F32 && rw_layer_fits(k, s, in, out);
}

rw_status rw_bf16_forward(const rw_kernels *k, const rw_store *s, const rw_tiles *x,
                          const rw_tiles *rounded, const void *bias, rw_act act, double slope,
                          rw_tiles *y, rw_tiles *z, void *room, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(y) && rw_is_run(run) && room);
    if (!fits(k, s, x, y))
        return RW_ESHAPE;
    bool has = rw_bf16_has_kernels(k, x);
    rw_kernels of = has ? narrow_kernels(k) : *k;
    rw_tiles inputs;
    rw_store weights;
    char *at = room;
    rw_status st = rounded_tiles(k, x, rounded, of.operands, &inputs, &at, run);
    if (!st)
        st = rounded_weights(k, s, has ? NARROW_FORWARD : FLOAT32_PRODUCTS, &weights, &at, run);
    return st ? st : rw_forward(&of, &weights, &inputs, bias, act, slope, y, z, run);
}

rw_status rw_bf16_backward_input(const rw_kernels *k, const rw_store *s, const rw_tiles *dy,
                                 const rw_tiles *rounded, rw_tiles *dx, void *room,
                                 const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(dy) && rw_is_tiles(dx) && rw_is_run(run) && room);
    if (!fits(k, s, dx, dy))
        return RW_ESHAPE;
    bool has = narrows_dx(k, s, dy);
    rw_kernels of = has ? narrow_kernels(k) : *k;
    rw_tiles gradients;
    rw_store weights;
    char *at = room;
    rw_status st = rounded_tiles(k, dy, rounded, of.operands, &gradients, &at, run);
    if (!st)
        st = rounded_weights(k, s, has ? NARROW_DX : FLOAT32_PRODUCTS, &weights, &at, run);
    return st ? st : rw_backward_input(&of, &weights, &gradients, dx, run);
}

/* What makes a weight gradient: kernels, and both operands. */
typedef struct {
    rw_kernels k;
    rw_tiles x, dy;
} dw_of;

static rw_status round_operands(const rw_kernels *k, const rw_bf16_operands *from, dw_of *to,
                                char *room, const rw_run *run)
{
    to->k = rw_bf16_has_kernels(k, from->x) ? narrow_kernels(k) : *k;
    rw_dtype dtype = to->k.operands;
    rw_status st = rounded_tiles(k, from->x, from->rounded_x, dtype, &to->x, &room, run);
    return st ? st : rounded_tiles(k, from->dy, from->rounded_dy, dtype, &to->dy, &room, run);
}

rw_status rw_bf16_backward_weights(const rw_kernels *k, rw_store *s, const rw_bf16_operands *of,
                                   int32_t grad, bool add, void *scratch, void *room,
                                   const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(of->x) && rw_is_tiles(of->dy) && rw_is_run(run) && room);
    if (!fits(k, s, of->x, of->dy))
        return RW_ESHAPE;
    dw_of d;
    rw_status st = round_operands(k, of, &d, room, run);
    return st ? st : rw_backward_weights(&d.k, s, &d.x, &d.dy, grad, add, scratch, run);
}

rw_status rw_bf16_backward_update(const rw_kernels *k, rw_store *s, const rw_bf16_operands *of,
                                  const rw_update *u, void *scratch, void *room,
                                  const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(of->x) && rw_is_tiles(of->dy) && rw_is_run(run) && room);
    if (!fits(k, s, of->x, of->dy))
        return RW_ESHAPE;
    dw_of d;
    rw_status st = round_operands(k, of, &d, room, run);
    return st ? st : rw_backward_update(&d.k, s, &d.x, &d.dy, u, scratch, run);
}

rw_status rw_bf16_packed_gradients(const rw_kernels *k, const rw_store *s,
                                   const rw_bf16_operands *of, const int64_t *before, void *out,
                                   void *room, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(of->x) && rw_is_tiles(of->dy) && rw_is_run(run) && room);
    if (!fits(k, s, of->x, of->dy))
        return RW_ESHAPE;
    dw_of d;
    rw_status st = round_operands(k, of, &d, room, run);
    return st ? st : rw_packed_gradients(&d.k, s, &d.x, &d.dy, before, out, run);
}
