#include "ops/bf16.h"
#include "ops/tasks.h"

/* --- room ------------------------------------------------------------------- */

/* Every copy begins where the allocator would have begun it. */
static bool add_copy(size_t *bytes, size_t more)
{
    size_t whole;
    return rw_add_size(more, RW_ALIGNMENT - 1, &whole)
        && rw_add_size(*bytes, whole / RW_ALIGNMENT * RW_ALIGNMENT, bytes);
}

static size_t operand_bytes(const rw_store *s)
{
    return (size_t)s->top * rw_slot_bytes(&s->field[RW_WEIGHT]); /* the arena has as many */
}

size_t rw_bf16_room(const rw_store *s, const rw_tiles *tiles)
{
    size_t in = rw_tiles_bytes(s->n_in, tiles->batch, tiles->tile, tiles->dtype);
    size_t out = rw_tiles_bytes(s->n_out, tiles->batch, tiles->tile, tiles->dtype), bytes = 0;
    if (!in || !out || !add_copy(&bytes, in > out ? in : out))
        return 0;
    size_t least = in < out ? in : out, weights = operand_bytes(s); /* a product has two operands */
    return add_copy(&bytes, least > weights ? least : weights) ? bytes : 0;
}

/* The next copy's memory. */
static char *take_room(char **room, size_t bytes)
{
    char *found = *room;
    *room += (bytes + RW_ALIGNMENT - 1) / RW_ALIGNMENT * RW_ALIGNMENT;
    return found;
}

/* --- rounded copies ------------------------------------------------------------ */

typedef struct {
    rw_op op;
    const rw_tiles *from;
    const rw_tiles *to;
} round_tiles_op;

static void round_tiles_task(const void *arg, int64_t task)
{
    const round_tiles_op *r = arg;
    rw_part p = rw_op_part(&r->op, task);
    r->op.k->round_bf16(rw_tile_row(r->from, p.tile, p.first), rw_tile_row(r->to, p.tile, p.first),
                        (int64_t)(p.end - p.first) * r->from->tile);
}

/* *to becomes tiles in `room`, which goes on behind them. Padding is copied, being zero. */
static rw_status round_tiles(const rw_kernels *k, const rw_tiles *from, rw_tiles *to, char **room,
                             const rw_run *run)
{
    size_t bytes = rw_tiles_bytes(from->n, from->batch, from->tile, from->dtype);
    rw_status st = rw_tiles_over(to, from->n, from->batch, from->tile, from->dtype,
                                 take_room(room, bytes), bytes);
    if (st)
        return st;
    int64_t work = (int64_t)from->rows * from->tile * from->n_tiles;
    round_tiles_op r = { .op = rw_op_cut(k, run, from->rows, from->n_tiles, work), .from = from,
                         .to = to };
    return rw_run_tasks(run, r.op.blocks * from->n_tiles, work, round_tiles_task, &r);
}

typedef struct {
    rw_op op;
    const rw_store *s;
    char *to;
} round_weights_op;

static void round_weights_task(const void *arg, int64_t task)
{
    const round_weights_op *r = arg;
    const rw_field *w = &r->s->field[RW_WEIGHT];
    rw_part p = rw_op_part(&r->op, task);
    for (int32_t g = p.first; g < p.end; g++) {
        size_t at = (size_t)r->s->start[g] * rw_slot_bytes(w);
        r->op.k->round_bf16(w->data + at, r->to + at, (int64_t)r->s->len[g] * w->width);
    }
}

/* *to becomes a look at the structure of s with other weights, which lie in `room`: for reading alone. */
static rw_status round_weights(const rw_kernels *k, const rw_store *s, rw_store *to, char **room,
                               const rw_run *run)
{
    *to = *s;
    to->field[RW_WEIGHT].data = take_room(room, operand_bytes(s));
    int64_t work = s->slots * s->group;
    round_weights_op r = { .op = rw_op_cut(k, run, s->n_groups, 1, work), .s = s,
                           .to = to->field[RW_WEIGHT].data };
    return rw_run_tasks(run, r.op.blocks, work, round_weights_task, &r);
}

/* --- the products ---------------------------------------------------------------- */

static bool is_narrowed(const rw_kernels *k, const rw_store *s, const rw_tiles *a, const rw_tiles *b)
{
    return k->dtype == RW_F32 && s->field[RW_WEIGHT].dtype == RW_F32 && a->dtype == RW_F32
        && b->dtype == RW_F32;
}

rw_status rw_bf16_forward(const rw_kernels *k, const rw_store *s, const rw_tiles *x,
                          const void *bias, rw_act act, double slope, rw_tiles *y, rw_tiles *z,
                          void *room, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(y) && rw_is_run(run) && room);
    if (!is_narrowed(k, s, x, y) || !rw_layer_fits(k, s, x, y))
        return RW_ESHAPE;
    char *at = room;
    rw_tiles inputs;
    rw_store weights;
    rw_status st = round_tiles(k, x, &inputs, &at, run);
    if (!st)
        st = round_weights(k, s, &weights, &at, run);
    return st ? st : rw_forward(k, &weights, &inputs, bias, act, slope, y, z, run);
}

rw_status rw_bf16_backward_input(const rw_kernels *k, const rw_store *s, const rw_tiles *dy,
                                 rw_tiles *dx, void *room, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(dy) && rw_is_tiles(dx) && rw_is_run(run) && room);
    if (!is_narrowed(k, s, dx, dy) || !rw_layer_fits(k, s, dx, dy))
        return RW_ESHAPE;
    char *at = room;
    rw_tiles gradients;
    rw_store weights;
    rw_status st = round_tiles(k, dy, &gradients, &at, run);
    if (!st)
        st = round_weights(k, s, &weights, &at, run);
    return st ? st : rw_backward_input(k, &weights, &gradients, dx, run);
}

rw_status rw_bf16_backward_weights(const rw_kernels *k, rw_store *s, const rw_tiles *x,
                                   const rw_tiles *dy, int32_t grad, bool add, void *scratch,
                                   void *room, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(dy) && rw_is_run(run) && room);
    if (!is_narrowed(k, s, x, dy) || !rw_layer_fits(k, s, x, dy))
        return RW_ESHAPE;
    char *at = room;
    rw_tiles inputs, gradients;
    rw_status st = round_tiles(k, x, &inputs, &at, run);
    if (!st)
        st = round_tiles(k, dy, &gradients, &at, run);
    return st ? st : rw_backward_weights(k, s, &inputs, &gradients, grad, add, scratch, run);
}

rw_status rw_bf16_backward_update(const rw_kernels *k, rw_store *s, const rw_tiles *x,
                                  const rw_tiles *dy, const rw_update *u, void *scratch,
                                  void *room, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(dy) && rw_is_run(run) && room);
    if (!is_narrowed(k, s, x, dy) || !rw_layer_fits(k, s, x, dy))
        return RW_ESHAPE;
    char *at = room;
    rw_tiles inputs, gradients;
    rw_status st = round_tiles(k, x, &inputs, &at, run);
    if (!st)
        st = round_tiles(k, dy, &gradients, &at, run);
    return st ? st : rw_backward_update(k, s, &inputs, &gradients, u, scratch, run);
}
