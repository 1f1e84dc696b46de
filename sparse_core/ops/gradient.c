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
    const rw_nonzeros *few; /* or NULL: whose tiles x are, if it has any */
    bool streams; /* are panels read in the order of memory first, by blocks that touch enough of them? */
    rw_stop *stop; /* a block of panels is as many groups as they want, however large the batch */
} dw_op;

/* How a span goes through the sources. Where panels are read first and a rest lies behind the tiles, in lines
 * far from all others, groups of any size gain. `t`: the inputs, or the gradients of the outputs. */
static rw_cut cut_of_span(const rw_kernels *k, const rw_store *s, const rw_tiles *t)
{
    rw_panel_rule rule = k->tuning->dw;
    if (rw_rest_cols(k, t, s->group) && rw_streams(s, rw_line_bytes(t), k->tuning))
        rule.line = 0;
    return rw_cut_sources(s, rw_span_bytes(k, t), k->tuning, &rule);
}

static dw_op dw_op_cut(const rw_kernels *k, const rw_store *s, const rw_tiles *x,
                       const rw_tiles *dy, rw_stop *stop, int64_t work)
{
    dw_op d = { .x = x, .dy = dy, .stop = stop, .streams = rw_streams(s, rw_line_bytes(x), k->tuning) };
    d.o = rw_slots_op_cut(k, s, stop->run, cut_of_span(k, s, x), d.streams, 1, work);
    if (!rw_reading_pays(k, s, s->n_groups / d.o.op.blocks)) { /* nor do panels that nobody reads */
        rw_cut cut = rw_cut_sources(s, rw_span_bytes(k, x), k->tuning, &k->tuning->dw);
        d.o = rw_slots_op_cut(k, s, stop->run, cut, d.streams, 1, work);
    }
    return d;
}

/* The same of inputs of which few are not zero. */
static dw_op few_op_cut(const rw_kernels *k, const rw_store *s, const rw_nonzeros *x,
                        const rw_tiles *dy, rw_stop *stop, int64_t work)
{
    if (x->packed) {
        dw_op d = dw_op_cut(k, s, &x->tiles, dy, stop, work);
        d.few = x;
        return d;
    }
    dw_op d = { .dy = dy, .few = x, .stop = stop,
                .o = { .s = s, .op = rw_op_cut(k, stop->run, s->n_groups, 1, work) } };
    int64_t least = ((int64_t)s->n_groups + RW_TASK_GROUPS - 1) / RW_TASK_GROUPS;
    d.o.op.blocks = rw_max64(d.o.op.blocks, least);
    return d;
}

/* Tiles of a span. */
static int64_t tiles_of_span(const rw_tiles *x) { return rw_max64(1, RW_SPAN / x->tile); }

/* From tiles: the gradients of groups [g0, g1), at most RW_TASK_GROUPS: those of group g from slot
 * first[g - g0] of `grad` on, or added span by span to what is there. Spans of samples outside,
 * panels of sources inside. False if it was told to stop, which it asks by the work *done. */
static bool gradients_of_tiles(const dw_op *d, int32_t g0, int32_t g1, const int64_t *first,
                               char *grad, bool add, int64_t *done)
{
    const rw_store *s = d->o.s;
    const rw_tiles *x = d->x, *dy = d->dy;
    int64_t span_tiles = tiles_of_span(x), slots = s->slots * (g1 - g0) / s->n_groups;
    bool reads = d->streams && d->o.cut.panels > 1 && rw_reading_pays(d->o.op.k, s, g1 - g0);
    int32_t at[RW_TASK_GROUPS];
    for (int64_t tile = 0; tile < x->n_tiles; tile += span_tiles) {
        int64_t tiles = rw_min64(span_tiles, x->n_tiles - tile);
        rw_span span = {
            .x = rw_tile_at(x, tile), .dy = rw_tile_at(dy, tile),
            .x_step = (size_t)x->rows * (size_t)x->tile,
            .dy_step = (size_t)dy->rows * (size_t)dy->tile,
            .n_tiles = (int32_t)tiles, .tile = x->tile,
            .cols = rw_tile_cols(d->o.op.k, x, tile + tiles - 1), .add = add || tile > 0
        };
        memset(at, 0, (size_t)(g1 - g0) * sizeof *at);
        int64_t work = slots * s->group * tiles * x->tile / d->o.cut.panels;
        for (int32_t i = 0; i < d->o.cut.panels; i++) {
            rw_panel panel = rw_slots_op_panel(&d->o, i, 0, s->n_in, at, false);
            int32_t begin = rw_panel_begin(0, s->n_in, i, d->o.cut.panels);
            for (int64_t t = 0; t < tiles && reads; t++)
                rw_read_rows(d->o.op.k, x, tile + t, begin, panel.end);
            d->o.op.k->dw(&d->o.w, g0, g1, &panel, &span, first, grad);
            if (rw_stop_after(d->stop, done, work))
                return false;
        }
    }
    return true;
}

/* The same from whatever the inputs are; from few of them, never added. */
static bool make_gradients(const dw_op *d, int32_t g0, int32_t g1, const int64_t *first, char *grad,
                           bool add, int64_t *done)
{
    if ((!d->few || d->few->packed) && !gradients_of_tiles(d, g0, g1, first, grad, add, done))
        return false;
    if (!d->few)
        return true;
    RW_ASSERT(!add);
    for (int32_t g = g0; g < g1; g++) {
        const rw_store *s = d->o.s;
        char *mine = grad + (size_t)first[g - g0] * rw_slot_bytes(&s->field[RW_WEIGHT]);
        if (!d->few->packed)
            rw_nonzero_gradients(d->o.op.k, s, d->few, d->dy, g, mine);
        rw_nonzero_add_means(s, d->few, g, mine);
    }
    return true;
}

/* Gradients by way of scratch. */
typedef struct {
    dw_op d;
    char *scratch;
    int64_t scratch_values; /* of each thread */
} scratch_op;

static scratch_op scratch_op_of(dw_op d, void *scratch)
{
    return (scratch_op){ .d = d, .scratch = scratch,
                         .scratch_values = rw_scratch_values(d.o.op.k, d.o.s, d.dy) };
}

/* What becomes of the gradients of group g. */
typedef void (*use_gradients)(const void *arg, int32_t g, const char *grad);

/* As many groups at a time as the scratch holds. */
static void through_scratch(const scratch_op *r, int64_t task, use_gradients use, const void *arg)
{
    const rw_store *s = r->d.o.s;
    rw_part p = rw_op_part(&r->d.o.op, task);
    size_t size = rw_dtype_size(r->d.o.op.k->dtype), width = (size_t)s->group * size;
    char *grad = r->scratch + (size_t)rw_thread_index() * (size_t)r->scratch_values * size;
    int64_t first[RW_TASK_GROUPS], room = r->scratch_values / s->group, done = 0;
    for (int32_t g0 = p.first, g1; g0 < p.end; g0 = g1) {
        int64_t slots = 0;
        for (g1 = g0; g1 < p.end && slots + s->len[g1] <= room; g1++) {
            first[g1 - g0] = slots;
            slots += s->len[g1];
        }
        if (!make_gradients(&r->d, g0, g1, first, grad, false, &done))
            return;
        for (int32_t g = g0; g < g1; g++) {
            char *mine = grad + (size_t)first[g - g0] * width;
            clear_padding(s, g, mine);
            use(arg, g, mine);
        }
    }
}

int64_t rw_scratch_values(const rw_kernels *k, const rw_store *s, const rw_tiles *dy)
{
    const rw_tuning *t = k->tuning;
    int64_t longest = 0, beside = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        longest = rw_max64(longest, s->len[g]);
    if (cut_of_span(k, s, dy).panels > 1) {
        int64_t groups = rw_panel_groups(s, t, rw_streams(s, rw_line_bytes(dy), t));
        beside = rw_min64(groups * (s->slots / s->n_groups) * s->group, t->scratch_most);
    }
    return rw_max64(longest * s->group, rw_max64(beside, t->scratch));
}

/* Into a field. */
typedef struct {
    dw_op d;
    char *grad;
    bool add;
} gradient_op;

static void gradient_task(const void *arg, int64_t task)
{
    const gradient_op *r = arg;
    const rw_store *s = r->d.o.s;
    rw_part p = rw_op_part(&r->d.o.op, task);
    int64_t done = 0;
    if (!make_gradients(&r->d, p.first, p.end, s->start + p.first, r->grad, r->add, &done))
        return;
    for (int32_t g = p.first; g < p.end; g++)
        clear_padding(s, g, group_values(s, r->grad, g));
}

/* Into memory of the caller's, packed. */
typedef struct {
    dw_op d;
    const int64_t *before;
    char *out;
} packed_op;

static void packed_task(const void *arg, int64_t task)
{
    const packed_op *r = arg;
    const rw_store *s = r->d.o.s;
    rw_part p = rw_op_part(&r->d.o.op, task);
    int64_t done = 0;
    if (!make_gradients(&r->d, p.first, p.end, r->before + p.first, r->out, false, &done))
        return;
    for (int32_t g = p.first; g < p.end; g++)
        clear_padding(s, g, r->out + (size_t)r->before[g] * rw_slot_bytes(&s->field[RW_WEIGHT]));
}

rw_status rw_packed_gradients(const rw_kernels *k, const rw_store *s, const rw_tiles *x,
                              const rw_tiles *dy, const int64_t *before, void *out,
                              const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(dy) && rw_is_run(run) && before && (out || !s->slots));
    if (!rw_layer_fits(k, s, x, dy))
        return RW_ESHAPE;
    int64_t work = rw_layer_work(s, x);
    rw_stop stop = rw_stop_of(run);
    packed_op r = { .d = dw_op_cut(k, s, x, dy, &stop, work), .before = before, .out = out };
    return rw_run_stoppable(&stop, r.d.o.op.blocks, work, packed_task, &r);
}

/* Added to what a field holds. */
typedef struct {
    scratch_op r;
    char *grad;
} add_op;

static void use_for_sum(const void *arg, int32_t g, const char *grad)
{
    const add_op *a = arg;
    const rw_store *s = a->r.d.o.s;
    char *to = group_values(s, a->grad, g);
    int64_t n = (int64_t)s->len[g] * s->group;
    if (s->field[RW_WEIGHT].dtype == RW_F32)
        for (int64_t i = 0; i < n; i++)
            ((float *)(void *)to)[i] += ((const float *)(const void *)grad)[i];
    else
        for (int64_t i = 0; i < n; i++)
            ((double *)(void *)to)[i] += ((const double *)(const void *)grad)[i];
    clear_padding(s, g, to);
}

static void add_task(const void *arg, int64_t task)
{
    const add_op *a = arg;
    through_scratch(&a->r, task, use_for_sum, a);
}

static bool is_gradient_field(const rw_kernels *k, const rw_store *s, int32_t grad)
{
    return grad > RW_WEIGHT && grad < s->n_fields && s->field[grad].dtype == k->dtype
        && s->field[grad].width == s->group;
}

rw_status rw_backward_weights(const rw_kernels *k, rw_store *s, const rw_tiles *x,
                              const rw_tiles *dy, int32_t grad, bool add, void *scratch,
                              const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(x) && rw_is_tiles(dy) && rw_is_run(run) && (scratch || !add));
    if (!is_gradient_field(k, s, grad) || !rw_layer_fits(k, s, x, dy))
        return RW_ESHAPE;
    int64_t work = rw_layer_work(s, x);
    rw_stop stop = rw_stop_of(run);
    if (add && x->n_tiles > tiles_of_span(x)) { /* of one span, the kernel adds the whole */
        add_op a = { .r = scratch_op_of(dw_op_cut(k, s, x, dy, &stop, work), scratch),
                     .grad = s->field[grad].data };
        return rw_run_stoppable(&stop, a.r.d.o.op.blocks, work, add_task, &a);
    }
    gradient_op r = { .d = dw_op_cut(k, s, x, dy, &stop, work), .grad = s->field[grad].data,
                      .add = add };
    return rw_run_stoppable(&stop, r.d.o.op.blocks, work, gradient_task, &r);
}

rw_status rw_nonzero_backward_weights(const rw_kernels *k, rw_store *s, const rw_nonzeros *x,
                                      const rw_tiles *dy, int32_t grad, bool add, void *scratch,
                                      const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(dy) && rw_is_run(run) && (scratch || !add));
    if (!is_gradient_field(k, s, grad) || !rw_nonzero_fits(k, s, x, dy))
        return RW_ESHAPE;
    rw_status st = rw_nonzero_sum(k, x, dy, run);
    if (st)
        return st;
    int64_t work = rw_nonzero_work(s, x) + RW_COST_UPDATE_VALUE * s->slots * s->group;
    rw_stop stop = rw_stop_of(run);
    dw_op d = few_op_cut(k, s, x, dy, &stop, work);
    if (add) {
        add_op a = { .r = scratch_op_of(d, scratch), .grad = s->field[grad].data };
        return rw_run_stoppable(&stop, d.o.op.blocks, work, add_task, &a);
    }
    gradient_op r = { .d = d, .grad = s->field[grad].data };
    return rw_run_stoppable(&stop, d.o.op.blocks, work, gradient_task, &r);
}

/* --- an optimizer's step ---------------------------------------------------------- */

/* The fields of a store that an update works on; NULL where it needs none. */
typedef struct {
    const rw_update *u;
    char *target, *state[RW_STATE];
    const int32_t *born;
} step_fields;

/* A field of so many values a slot: its number, or a status. */
static rw_status find_field(const rw_store *s, const char *name, rw_dtype dtype, int32_t width,
                            int32_t *at)
{
    int32_t i = name ? rw_store_field(s, name) : -1;
    if (i < 0)
        return RW_ENOENT;
    *at = i;
    return s->field[i].dtype == dtype && s->field[i].width == width ? RW_OK : RW_ESHAPE;
}

/* Each must be a field of its own, and none of them `grad` (-1 where gradients lie elsewhere). */
static rw_status find_step_fields(const rw_store *s, const rw_update *u, int32_t grad,
                                  step_fields *f)
{
    enum { TARGET = 1, MOST = TARGET + 1 + RW_STATE }; /* `grad` is the first */
    rw_dtype dtype = s->field[RW_WEIGHT].dtype;
    int32_t at[MOST] = { grad, RW_WEIGHT }, keeps = rw_update_keeps(u), born = -1, n = TARGET + 1;
    rw_status status = RW_OK;
    if (u->target && (status = find_field(s, u->target, dtype, s->group, &at[TARGET])) != RW_OK)
        return status;
    for (int32_t i = 0; i < keeps; i++, n++)
        if ((status = find_field(s, u->state[i], dtype, s->group, &at[n])) != RW_OK)
            return status;
    for (int32_t i = 0; i < n; i++)
        for (int32_t k = 0; k < i; k++)
            if (at[i] == at[k])
                return RW_ESHAPE;
    if (u->age && (status = find_field(s, u->age, RW_I32, 1, &born)) != RW_OK)
        return status;
    *f = (step_fields){ .u = u, .target = s->field[at[TARGET]].data };
    for (int32_t i = 0; i < keeps; i++)
        f->state[i] = s->field[at[TARGET + 1 + i]].data;
    f->born = born < 0 ? NULL : (const int32_t *)(const void *)s->field[born].data;
    return RW_OK;
}

/* One step of group g, whose gradients lie at `grad`. */
static void update_group(const rw_kernels *k, const rw_store *s, const step_fields *f, int32_t g,
                         const char *grad)
{
    char *w = group_values(s, f->target, g);
    char *m = group_values(s, f->state[0], g), *v = group_values(s, f->state[1], g);
    k->update(f->u, w, m, v, f->born ? f->born + s->start[g] : NULL, s->group, grad,
              (int64_t)s->len[g] * s->group);
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
    rw_status status = find_step_fields(s, u, grad, &r.fields);
    if (status != RW_OK)
        return status;
    return rw_run_tasks(run, r.op.blocks, work, update_task, &r);
}

/* --- both in one go ------------------------------------------------------------- */

/* Gradients go to scratch and from there into a step. */
typedef struct {
    scratch_op r;
    step_fields fields;
} fused_op;

static void use_for_step(const void *arg, int32_t g, const char *grad)
{
    const fused_op *f = arg;
    update_group(f->r.d.o.op.k, f->r.d.o.s, &f->fields, g, grad);
}

static void fused_task(const void *arg, int64_t task)
{
    const fused_op *f = arg;
    through_scratch(&f->r, task, use_for_step, f);
}

/* One or two samples have a kernel that takes the step too. */
static bool has_small_batch(const fused_op *f)
{
    const rw_update *u = f->fields.u;
    const dw_op *d = &f->r.d;
    int32_t group = d->o.s->group;
    bool of_groups = group >= 4 && group <= d->o.op.k->widest_group;
    return (of_groups || (group == 1 && d->o.op.k->small_batch_sgd)) && u->kind == RW_OPT_SGD
        && d->x->n_tiles == 1 && d->x->tile <= 2;
}

static void small_batch_task(const void *arg, int64_t task)
{
    const fused_op *f = arg;
    const dw_op *d = &f->r.d;
    rw_part p = rw_op_part(&d->o.op, task);
    rw_span span = { .x = d->x->data, .dy = d->dy->data, .n_tiles = 1, .tile = d->x->tile,
                     .cols = d->x->tile };
    const rw_kernels *k = d->o.op.k;
    const step_fields *to = &f->fields;
    (d->o.s->group == 1 ? k->small_batch_sgd : k->sgd_by_rows)(&d->o.w, p.first, p.end, &span, to->u,
                                                               to->target, to->state[0]);
    clear_padding(d->o.s, p.end - 1, group_values(d->o.s, to->target, p.end - 1));
    clear_padding(d->o.s, p.end - 1, group_values(d->o.s, to->state[0], p.end - 1));
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
    rw_stop stop = rw_stop_of(run);
    fused_op f = { .r = scratch_op_of(dw_op_cut(k, s, x, dy, &stop, work), scratch) };
    rw_status status = find_step_fields(s, u, -1, &f.fields);
    if (status != RW_OK)
        return status;
    rw_task task = has_small_batch(&f) ? small_batch_task : fused_task;
    return rw_run_stoppable(&stop, f.r.d.o.op.blocks, work, task, &f);
}

rw_status rw_nonzero_backward_update(const rw_kernels *k, rw_store *s, const rw_nonzeros *x,
                                     const rw_tiles *dy, const rw_update *u, void *scratch,
                                     const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(dy) && rw_is_run(run) && rw_is_update(u) && scratch);
    if (!rw_nonzero_fits(k, s, x, dy))
        return RW_ESHAPE;
    if (x->packed && !x->zero) /* there are kernels for very few samples */
        return rw_backward_update(k, s, &x->tiles, dy, u, scratch, run);
    int64_t work = rw_nonzero_work(s, x) + RW_COST_UPDATE_VALUE * s->slots * s->group;
    rw_stop stop = rw_stop_of(run);
    fused_op f = { .r = scratch_op_of(few_op_cut(k, s, x, dy, &stop, work), scratch) };
    rw_status st = find_step_fields(s, u, -1, &f.fields);
    if (!st)
        st = rw_nonzero_sum(k, x, dy, run);
    if (st)
        return st;
    return rw_run_stoppable(&stop, f.r.d.o.op.blocks, work, fused_task, &f);
}
