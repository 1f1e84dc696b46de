#include "ops/loss_parts.h"

size_t rw_loss_scratch(const rw_tiles *z)
{
    RW_ASSERT(rw_is_tiles(z));
    return (size_t)RW_LEFT_QUANTITIES * (size_t)(rw_loss_blocks(z) + 1) * (size_t)rw_loss_padded(z);
}

/* Losses that look at every output by itself. */
static void by_output(const rw_loss_job *j, const rw_loss_part *p)
{
    rw_dtype dtype = j->spec.kind == RW_LOSS_SIGMOID_BCE ? j->z->dtype : RW_F64;
    double sum[RW_LOSS_PERIOD], scale[RW_LOSS_PERIOD], factor[RW_LOSS_STRIP], t[RW_LOSS_RUN];
    rw_some_targets from = rw_loss_targets(j, p);
    for (int32_t b = 0; b < p->width; b++)
        factor[b] = rw_loss_factor(j, p, b) / j->z->n;
    rw_loss_spread(p, factor, scale, dtype);
    rw_loss_clear(p, sum);
    for (int32_t i = p->i0, rows; i < p->i1; i += rows) {
        rows = rw_loss_run_rows(j, p, i);
        rw_targets_gather(&from, i, rows, dtype, t);
        size_t at = rw_loss_place(j, p, i, 0);
        j->k->loss(j->spec.kind, j->spec.delta, rw_loss_value(j->z, at), t, scale,
                   j->dz ? rw_loss_value(j->dz, at) : NULL, sum + rw_loss_lane(p, i),
                   rows * p->width, RW_SUM_LANES * p->width);
    }
    rw_loss_leave(j, p, RW_LEFT_LOSS, sum);
    if (j->dz)
        rw_loss_clear_gradient(j, p);
}

/* Decisions of a yes or no that are right. */
static void agreement(const rw_loss_job *j, const rw_loss_part *p)
{
    double sum[RW_LOSS_PERIOD], t[RW_LOSS_RUN];
    rw_some_targets from = rw_loss_targets(j, p);
    rw_loss_clear(p, sum);
    for (int32_t i = p->i0, rows; i < p->i1; i += rows) {
        rows = rw_loss_run_rows(j, p, i);
        rw_targets_gather(&from, i, rows, j->z->dtype, t);
        j->k->agree(rw_loss_value(j->z, rw_loss_place(j, p, i, 0)), j->threshold, t,
                    sum + rw_loss_lane(p, i), rows * p->width, RW_SUM_LANES * p->width);
    }
    rw_loss_leave(j, p, RW_LEFT_LOSS, sum);
}

RW_LOSS_TASK(by_output)
RW_LOSS_TASK(agreement)

static bool shapes_fit(const rw_kernels *k, rw_loss kind, const rw_tiles *z, const rw_targets *t,
                       const rw_tiles *dz, const uint8_t *right)
{
    bool softmax = kind == RW_LOSS_SOFTMAX_CE;
    int kinds = (t->labels != NULL) + (t->values != NULL) + (t->indptr != NULL);
    if (z->batch < 1 || z->dtype != k->dtype || kinds != 1)
        return false;
    if (t->labels && !softmax && kind != RW_LOSS_SQUARED_HINGE)
        return false;
    if (right && !(t->labels && softmax))
        return false;
    return !dz || (dz->n == z->n && dz->batch == z->batch && dz->tile == z->tile &&
                   dz->dtype == z->dtype);
}

/* The weights of all samples; false where they, or labels, are out of range. */
static bool weigh(rw_loss_job *j)
{
    double alone = 0;
    j->total_weight = 0;
    for (int64_t b = 0; b < j->z->batch; b++) {
        double w = j->weight ? j->weight[b] : 1;
        alone += w;
        if (j->targets.labels) {
            int64_t label = rw_loss_label(j, b);
            if (label < 0 || label >= j->z->n)
                return false;
            w *= j->spec.class_weight ? j->spec.class_weight[label] : 1;
        }
        j->total_weight += w;
    }
    return alone > 0;
}

rw_status rw_loss_eval(const rw_kernels *k, const rw_loss_spec *spec, const rw_tiles *z,
                       const rw_targets *targets, const double *weight, rw_tiles *dz,
                       double *scratch, uint8_t *right, double *loss, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(z) && (!dz || rw_is_tiles(dz)) && targets && scratch && loss);
    RW_ASSERT(rw_is_run(run));
    bool softmax = spec->kind == RW_LOSS_SOFTMAX_CE;
    if (!shapes_fit(k, spec->kind, z, targets, dz, right))
        return RW_ESHAPE;
    rw_loss_job j = { .k = k, .spec = *spec, .z = z, .dz = dz, .targets = *targets,
                      .weight = weight, .scratch = scratch, .right = right,
                      .one_by_one = !targets->labels || spec->smoothing != 0 ||
                                    spec->class_weight };
    if (!weigh(&j))
        return RW_ERANGE;
    rw_loss_cut(&j);
    int64_t tasks = z->n_tiles * j.strips * j.blocks;
    rw_status st = softmax ? rw_softmax_passes(&j, rw_loss_work(z), run)
                           : rw_run_tasks(run, tasks, rw_loss_work(z), by_output_task, &j);
    if (st != RW_OK)
        return st;
    if (!softmax)
        rw_loss_together(&j, RW_LEFT_LOSS);
    double share = softmax ? 1 : 1.0 / z->n, total = 0;
    for (int64_t b = 0; b < z->batch; b++) {
        double w = weight ? weight[b] : 1, l = *rw_loss_whole(&j, RW_LEFT_LOSS, b);
        if (softmax)
            l += *rw_loss_whole(&j, RW_LEFT_MASS, b) *
                 log(*rw_loss_whole(&j, RW_LEFT_EXPONENTIALS, b));
        if (j.total_weight != 0 && w / j.total_weight != 0)
            total += w * (share * l);
    }
    *loss = j.total_weight == 0 ? 0 : total / j.total_weight;
    return RW_OK;
}

rw_status rw_agreement(const rw_kernels *k, const rw_tiles *z, const rw_targets *targets,
                       double threshold, double *scratch, double *counts, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(z) && targets && scratch && counts && rw_is_run(run));
    if (targets->labels || !shapes_fit(k, RW_LOSS_SIGMOID_BCE, z, targets, NULL, NULL))
        return RW_ESHAPE;
    rw_loss_job j = { .k = k, .z = z, .targets = *targets, .scratch = scratch,
                      .threshold = threshold };
    rw_loss_cut(&j);
    int64_t tasks = z->n_tiles * j.strips * j.blocks;
    rw_status st = rw_run_tasks(run, tasks, z->batch * z->n, agreement_task, &j);
    if (st != RW_OK)
        return st;
    rw_loss_together(&j, RW_LEFT_LOSS);
    memcpy(counts, rw_loss_whole(&j, RW_LEFT_LOSS, 0), (size_t)z->batch * sizeof *counts);
    return RW_OK;
}
