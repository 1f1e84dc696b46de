/* gradient.c -- dW at the slots, and the optimizer step that follows. */
#include "ops/gradient.h"
#include "kernels/panels.h"
#include "ops/tasks.h"

#include <string.h>

/* Rows beyond n_out: group g's slots of a field, if it is the last group, made zero again. They
 * are zero by arithmetic, except where 0 meets an infinity or Adam divides 0 by 0. */
static void clear_padding(const rw_store *s, int32_t g, char *values)
{
    size_t size = rw_dtype_size(s->field[RW_WEIGHT].dtype), width = (size_t)s->group;
    size_t rows = (size_t)rw_group_rows(s, g);
    if (!values || rows == width)
        return;
    for (int32_t i = 0; i < s->len[g]; i++)
        memset(values + ((size_t)i * width + rows) * size, 0, (width - rows) * size);
}

/* Group g's part of a field of the weights' shape. */
static char *group_values(const rw_store *s, char *field, int32_t g)
{
    return field ? field + (size_t)s->start[g] * rw_slot_bytes(&s->field[RW_WEIGHT]) : NULL;
}

/* --- gradients ---------------------------------------------------------------- */

/* What all need that make gradients. */
typedef struct {
    rw_slots_op o;
    const rw_tiles *x, *dy;
} dw_op;

static dw_op dw_op_cut(const rw_kernels *k, const rw_store *s, const rw_tiles *x,
                       const rw_tiles *dy, const rw_run *run, int64_t work)
{
    dw_op d = { .x = x, .dy = dy };
    d.o = rw_slots_op_cut(k, s, run, rw_span_bytes(x), &k->tuning->dw, 1, work);
    return d;
}

/* The gradients of groups [g0, g1), at most RW_TASK_GROUPS: those of group g from slot
 * first[g - g0] of `grad` on. Spans of samples outside, panels of sources inside. */
static void make_gradients(const dw_op *d, int32_t g0, int32_t g1, const int64_t *first, char *grad)
{
    const rw_tiles *x = d->x, *dy = d->dy;
    int64_t span_tiles = rw_max64(1, RW_SPAN / x->tile);
    int32_t at[RW_TASK_GROUPS];
    for (int64_t tile = 0; tile < x->n_tiles; tile += span_tiles) {
        int64_t tiles = rw_min64(span_tiles, x->n_tiles - tile);
        rw_span span = {
            .x = rw_tile_at(x, tile), .dy = rw_tile_at(dy, tile),
            .x_step = (size_t)x->rows * (size_t)x->tile,
            .dy_step = (size_t)dy->rows * (size_t)dy->tile,
            .n_tiles = (int32_t)tiles, .tile = x->tile,
            .cols = rw_tile_cols(d->o.op.k, x, tile + tiles - 1), .add = tile > 0
        };
        memset(at, 0, (size_t)(g1 - g0) * sizeof *at);
        for (int32_t i = 0; i < d->o.cut.panels; i++) {
            rw_panel panel = rw_slots_op_panel(&d->o, i, 0, d->o.s->n_in, at, false);
            d->o.op.k->dw(&d->o.w, g0, g1, &panel, &span, first, grad);
        }
    }
}

/* Into a field. */
typedef struct {
    dw_op d;
    char *grad;
} gradient_op;

static void gradient_task(const void *arg, int64_t task)
{
    const gradient_op *r = arg;
    const rw_store *s = r->d.o.s;
    rw_part p = rw_op_part(&r->d.o.op, task);
    make_gradients(&r->d, p.first, p.end, s->start + p.first, r->grad);
    for (int32_t g = p.first; g < p.end; g++)
        clear_padding(s, g, group_values(s, r->grad, g));
}

static bool is_gradient_field(const rw_kernels *k, const rw_store *s, int32_t grad)
{
    return grad > RW_WEIGHT && grad < s->n_fields && s->field[grad].dtype == k->dtype
        && s->field[grad].width == s->group;
}

rw_status rw_backward_weights(const rw_kernels *k, rw_store *s, const rw_tiles *x,
                              const rw_tiles *dy, int32_t grad, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(dy) && rw_is_run(run));
    if (!is_gradient_field(k, s, grad) || !rw_layer_fits(k, s, x, dy))
        return RW_ESHAPE;
    int64_t work = rw_layer_work(s, x);
    gradient_op r = { .d = dw_op_cut(k, s, x, dy, run, work), .grad = s->field[grad].data };
    return rw_run_tasks(run, r.d.o.op.blocks, work, gradient_task, &r);
}

/* --- an optimizer's step ---------------------------------------------------------- */

/* The fields of a store that an update works on; NULL where it needs none. */
typedef struct {
    const rw_update *u;
    char *weight, *m, *v, *masked;
    const int32_t *born;
    const uint8_t *mask;
} step_fields;

/* A field of `group` values of the weights' dtype: *data, or a status. */
static rw_status find_values(const rw_store *s, const char *name, char **data)
{
    int32_t i = rw_store_field(s, name);
    if (i < 0)
        return RW_ENOENT;
    if (s->field[i].dtype != s->field[RW_WEIGHT].dtype || s->field[i].width != s->group)
        return RW_ESHAPE;
    *data = s->field[i].data;
    return RW_OK;
}

/* A field of one value a slot: its array, or a status. */
static rw_status find_slot_values(const rw_store *s, const char *name, rw_dtype dtype,
                                  const void **data)
{
    int32_t i = rw_store_field(s, name);
    if (i < 0)
        return RW_ENOENT;
    if (s->field[i].dtype != dtype || s->field[i].width != 1)
        return RW_ESHAPE;
    *data = s->field[i].data;
    return RW_OK;
}

static rw_status find_step_fields(const rw_store *s, const rw_update *u, step_fields *f)
{
    rw_status status = RW_OK;
    const void *mask = NULL, *born = NULL;
    *f = (step_fields){ .u = u, .weight = s->field[RW_WEIGHT].data };
    if (u->penalty) {
        if ((status = find_values(s, "masked_weight", &f->masked)) != RW_OK)
            return status;
        if ((status = find_slot_values(s, "mask", RW_U8, &mask)) != RW_OK)
            return status;
        f->mask = mask;
    }
    if (u->kind == RW_OPT_SGD)
        return u->momentum == 0 ? RW_OK : find_values(s, "momentum", &f->m);
    if ((status = find_values(s, "adam_m", &f->m)) != RW_OK)
        return status;
    if ((status = find_values(s, "adam_v", &f->v)) != RW_OK)
        return status;
    status = find_slot_values(s, "born", RW_I32, &born);
    f->born = born;
    return status == RW_ENOENT ? RW_OK : status; /* without it all are as old as the optimizer */
}

/* One step of group g, whose gradients lie at `grad`. */
static void update_group(const rw_kernels *k, const rw_store *s, const step_fields *f, int32_t g,
                         const char *grad)
{
    char *w = group_values(s, f->weight, g);
    char *m = group_values(s, f->m, g), *v = group_values(s, f->v, g);
    k->update(f->u, w, m, v, f->born ? f->born + s->start[g] : NULL, s->group, grad,
              (int64_t)s->len[g] * s->group);
    if (f->u->penalty)
        k->apply_mask(f->u->penalty, w, group_values(s, f->masked, g), f->mask + s->start[g],
                      s->group, s->len[g]);
    clear_padding(s, g, w);
    clear_padding(s, g, m);
    clear_padding(s, g, v);
}

/* From gradients in a field. */
typedef struct {
    rw_op op;
    const rw_store *s;
    step_fields fields;
    char *grad;
} update_op;

static void update_task(const void *arg, int64_t task)
{
    const update_op *r = arg;
    rw_part p = rw_op_part(&r->op, task);
    for (int32_t g = p.first; g < p.end; g++)
        update_group(r->op.k, r->s, &r->fields, g, group_values(r->s, r->grad, g));
}

rw_status rw_update_from(const rw_kernels *k, rw_store *s, int32_t grad, const rw_update *u,
                         const rw_run *run)
{
    RW_ASSERT(rw_is_update(u) && rw_is_run(run));
    if (!is_gradient_field(k, s, grad) || s->field[RW_WEIGHT].dtype != k->dtype)
        return RW_ESHAPE;
    int64_t work = RW_COST_UPDATE_VALUE * s->slots * s->group;
    update_op r = { .op = rw_op_cut(k, run, s->n_groups, 1, work), .s = s,
                    .grad = s->field[grad].data };
    rw_status status = find_step_fields(s, u, &r.fields);
    if (status != RW_OK)
        return status;
    return rw_run_tasks(run, r.op.blocks, work, update_task, &r);
}

/* --- both in one go ------------------------------------------------------------- */

/* Gradients go to scratch and from there into a step. */
typedef struct {
    dw_op d;
    step_fields fields;
    char *scratch;
    int64_t scratch_values; /* of each thread */
} fused_op;

/* As many groups at a time as the scratch holds. */
static void fused_task(const void *arg, int64_t task)
{
    const fused_op *r = arg;
    const rw_kernels *k = r->d.o.op.k;
    const rw_store *s = r->d.o.s;
    rw_part p = rw_op_part(&r->d.o.op, task);
    size_t size = rw_dtype_size(k->dtype), width = (size_t)s->group * size;
    char *grad = r->scratch + (size_t)rw_thread_index() * (size_t)r->scratch_values * size;
    int64_t first[RW_TASK_GROUPS], room = r->scratch_values / s->group;
    for (int32_t g0 = p.first, g1; g0 < p.end; g0 = g1) {
        int64_t slots = 0;
        for (g1 = g0; g1 < p.end && slots + s->len[g1] <= room; g1++) {
            first[g1 - g0] = slots;
            slots += s->len[g1];
        }
        make_gradients(&r->d, g0, g1, first, grad);
        for (int32_t g = g0; g < g1; g++) {
            char *mine = grad + (size_t)first[g - g0] * width;
            clear_padding(s, g, mine);
            update_group(k, s, &r->fields, g, mine);
        }
    }
}

/* One or two samples have a kernel that takes the step too. */
static bool has_small_batch(const fused_op *r)
{
    const rw_update *u = r->fields.u;
    return r->d.o.op.k->small_batch_sgd && u->kind == RW_OPT_SGD && !u->penalty
        && r->d.o.s->group == 1
        && r->d.x->n_tiles == 1 && r->d.x->tile <= 2;
}

static void small_batch_task(const void *arg, int64_t task)
{
    const fused_op *r = arg;
    const rw_tiles *x = r->d.x;
    rw_part p = rw_op_part(&r->d.o.op, task);
    rw_span span = { .x = x->data, .dy = r->d.dy->data, .n_tiles = 1,
                     .tile = x->tile, .cols = x->tile };
    r->d.o.op.k->small_batch_sgd(&r->d.o.w, p.first, p.end, &span, r->fields.u, r->fields.weight,
                                 r->fields.m);
}

int64_t rw_scratch_values(const rw_kernels *k, const rw_store *s)
{
    int64_t longest = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        longest = rw_max64(longest, s->len[g]);
    return rw_max64(longest * s->group, k->tuning->scratch);
}

rw_status rw_backward_update(const rw_kernels *k, rw_store *s, const rw_tiles *x,
                             const rw_tiles *dy, const rw_update *u, void *scratch,
                             const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(dy) && rw_is_run(run));
    RW_ASSERT(rw_is_update(u) && scratch);
    if (!rw_layer_fits(k, s, x, dy))
        return RW_ESHAPE;
    int64_t work = rw_layer_work(s, x);
    fused_op r = { .d = dw_op_cut(k, s, x, dy, run, work), .scratch = scratch,
                   .scratch_values = rw_scratch_values(k, s) };
    rw_status status = find_step_fields(s, u, &r.fields);
    if (status != RW_OK)
        return status;
    rw_task task = has_small_batch(&r) ? small_batch_task : fused_task;
    return rw_run_tasks(run, r.d.o.op.blocks, work, task, &r);
}
