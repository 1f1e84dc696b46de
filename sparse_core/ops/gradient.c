/* gradient.c -- dW at the slots, and the optimizer step that follows. */
#include "ops/gradient.h"
#include "kernels/panels.h"
#include "ops/tasks.h"

#include <string.h>

/* Rows beyond n_out: `count` slots of the last group, made zero again. They are
 * zero by arithmetic, except where 0 meets an infinity or Adam divides 0 by 0. */
static void clear_padding(const job *j, int32_t g, char *values)
{
    size_t size = rw_dtype_size(j->k->dtype), width = (size_t)j->s->group;
    size_t rows = (size_t)rw_group_rows(j->s, g);
    if (!values || rows == width)
        return;
    for (int32_t i = 0; i < j->s->len[g]; i++)
        memset(values + ((size_t)i * width + rows) * size, 0, (width - rows) * size);
}

static char *slice(const job *j, char *field, int32_t g)
{
    size_t bytes = rw_slot_bytes(&j->s->field[RW_WEIGHT]);
    return field ? field + (size_t)j->s->start[g] * bytes : NULL;
}

/* The gradients of groups [g0, g1), at most RW_TASK_GROUPS: those of group g from slot
 * first[g - g0] of `grad` on. Spans of samples outside, panels of sources inside. */
static void gradients(const job *j, int32_t g0, int32_t g1, const int64_t *first, char *grad)
{
    int64_t together = rw_max64(1, RW_SPAN / j->x->tile), n_tiles = j->x->n_tiles;
    int32_t at[RW_TASK_GROUPS];
    for (int64_t tile = 0; tile < n_tiles; tile += together) {
        int64_t tiles = rw_min64(together, n_tiles - tile);
        rw_span span = {
            rw_tile_at(j->x, tile), rw_tile_at(j->dy, tile),
            (size_t)j->x->rows * (size_t)j->x->tile, (size_t)j->dy->rows * (size_t)j->dy->tile,
            (int32_t)tiles, j->x->tile, cols_of(j->k, j->x, tile + tiles - 1), tile > 0
        };
        memset(at, 0, (size_t)(g1 - g0) * sizeof *at);
        for (int32_t i = 0; i < j->cut.panels; i++) {
            rw_panel p = panel_of(j, i, 0, j->s->n_in, at, false);
            j->k->dw(&j->w, g0, g1, &p, &span, first, grad);
        }
    }
}

static void group_update(const job *j, int32_t g, const char *grad)
{
    char *w = slice(j, j->s->field[RW_WEIGHT].data, g);
    char *m = slice(j, j->m, g), *v = slice(j, j->v, g);
    j->k->update(j->u, w, m, v, j->born ? j->born + j->s->start[g] : NULL, j->s->group, grad,
                 (int64_t)j->s->len[g] * j->s->group);
    if (j->u->settle)
        j->k->settle(j->u->settle, w, slice(j, j->asleep, g), j->awake + j->s->start[g],
                     j->s->group, j->s->len[g]);
    clear_padding(j, g, w);
    clear_padding(j, g, m);
    clear_padding(j, g, v);
}

/* One or two samples: dW and the step go together. */
static bool few(const job *j)
{
    return j->k->few_sgd && j->u->kind == RW_OPT_SGD && !j->u->settle && j->s->group == 1
        && j->x->n_tiles == 1 && j->x->tile <= 2;
}

static void few_task(const job *j, int64_t block)
{
    rw_span span = { j->x->data, j->dy->data, 0, 0, 1, j->x->tile, j->x->tile, false };
    j->k->few_sgd(&j->w, block_start(j, block), block_start(j, block + 1), &span, j->u,
                  j->s->field[RW_WEIGHT].data, j->m);
}

/* Gradients go to scratch and from there into a step, as many groups at a time
 * as the scratch holds. */
static void fused_task(const job *j, int64_t block)
{
    size_t size = rw_dtype_size(j->k->dtype), width = (size_t)j->s->group * size;
    char *grad = j->grad + (size_t)rw_thread_index() * (size_t)j->scratch_values * size;
    int64_t first[RW_TASK_GROUPS], room = j->scratch_values / j->s->group;
    int32_t end = block_start(j, block + 1);
    for (int32_t g0 = block_start(j, block), g1; g0 < end; g0 = g1) {
        int64_t slots = 0;
        for (g1 = g0; g1 < end && slots + j->s->len[g1] <= room; g1++) {
            first[g1 - g0] = slots;
            slots += j->s->len[g1];
        }
        gradients(j, g0, g1, first, grad);
        for (int32_t g = g0; g < g1; g++) {
            char *mine = grad + (size_t)first[g - g0] * width;
            clear_padding(j, g, mine);
            group_update(j, g, mine);
        }
    }
}

static void gradient_task(const job *j, int64_t block)
{
    int32_t g0 = block_start(j, block), g1 = block_start(j, block + 1);
    gradients(j, g0, g1, j->s->start + g0, j->grad);
    for (int32_t g = g0; g < g1; g++)
        clear_padding(j, g, slice(j, j->grad, g));
}

static void update_task(const job *j, int64_t block)
{
    int32_t end = block_start(j, block + 1);
    for (int32_t g = block_start(j, block); g < end; g++)
        group_update(j, g, slice(j, j->grad, g));
}

/* A field of `group` values of the weights' dtype: *data, or a status. */
static rw_status state_field(const rw_store *s, const char *name, char **data)
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
static rw_status slot_field(const rw_store *s, const char *name, rw_dtype dtype, const void **data)
{
    int32_t i = rw_store_field(s, name);
    if (i < 0)
        return RW_ENOENT;
    if (s->field[i].dtype != dtype || s->field[i].width != 1)
        return RW_ESHAPE;
    *data = s->field[i].data;
    return RW_OK;
}

/* The fields an update needs, into the job. */
static rw_status find_state(job *j, const rw_update *u)
{
    rw_status status = RW_OK;
    const void *awake = NULL, *born = NULL;
    j->u = u;
    if (u->settle) {
        if ((status = state_field(j->s, "asleep", &j->asleep)) != RW_OK)
            return status;
        if ((status = slot_field(j->s, "awake", RW_U8, &awake)) != RW_OK)
            return status;
        j->awake = awake;
    }
    if (u->kind == RW_OPT_SGD)
        return u->momentum == 0 ? RW_OK : state_field(j->s, "momentum", &j->m);
    if ((status = state_field(j->s, "adam_m", &j->m)) != RW_OK)
        return status;
    if ((status = state_field(j->s, "adam_v", &j->v)) != RW_OK)
        return status;
    status = slot_field(j->s, "born", RW_I32, &born);
    j->born = born;
    return status == RW_ENOENT ? RW_OK : status; /* without it all are as old as the optimizer */
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
    if (!fits(k, s, x, dy))
        return RW_ESHAPE;
    int64_t work = products(s, x);
    job j = { .k = k, .s = s, .w = rows_of(s), .x = x, .dy = dy, .grad = scratch,
              .scratch_values = rw_scratch_values(k, s) };
    rw_status status = find_state(&j, u);
    if (status != RW_OK)
        return status;
    j.cut = rw_cut_sources(s, span_bytes(x), k->tuning, &k->tuning->dw);
    cut_groups(&j, run, 1, work);
    return run_tasks(run, j.blocks, work, few(&j) ? few_task : fused_task, &j);
}

rw_status rw_backward_weights(const rw_kernels *k, rw_store *s, const rw_tiles *x,
                              const rw_tiles *dy, int32_t grad, const rw_run *run)
{
    if (grad <= RW_WEIGHT || grad >= s->n_fields || s->field[grad].dtype != k->dtype ||
        s->field[grad].width != s->group || !fits(k, s, x, dy))
        return RW_ESHAPE;
    int64_t work = products(s, x);
    job j = { .k = k, .s = s, .w = rows_of(s), .x = x, .dy = dy, .grad = s->field[grad].data };
    j.cut = rw_cut_sources(s, span_bytes(x), k->tuning, &k->tuning->dw);
    cut_groups(&j, run, 1, work);
    return run_tasks(run, j.blocks, work, gradient_task, &j);
}

rw_status rw_update_from(const rw_kernels *k, rw_store *s, int32_t grad, const rw_update *u,
                         const rw_run *run)
{
    if (grad <= RW_WEIGHT || grad >= s->n_fields || s->field[grad].dtype != k->dtype ||
        s->field[grad].width != s->group || s->field[RW_WEIGHT].dtype != k->dtype)
        return RW_ESHAPE;
    int64_t work = RW_COST_UPDATE_VALUE * s->slots * s->group;
    job j = { .k = k, .s = s, .grad = s->field[grad].data, .n = s->n_groups,
              .blocks = blocks_for(k, run, s->n_groups, 1, work) };
    rw_status status = find_state(&j, u);
    if (status != RW_OK)
        return status;
    return run_tasks(run, j.blocks, work, update_task, &j);
}
