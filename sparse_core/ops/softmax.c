/* softmax.c -- the passes of softmax, and of cross entropy over it. See loss.h. */
#include "ops/loss_parts.h"

/* Targets of cross entropy: smoothed, and times the weights of classes. */
static void gather_classes(const rw_loss_job *j, const rw_loss_part *p, rw_some_targets *from,
                           int32_t i, int32_t rows, double *t)
{
    rw_targets_gather(from, i, rows, RW_F64, t);
    if (j->spec.smoothing == 0 && !j->spec.class_weight)
        return;
    double keep = 1 - j->spec.smoothing, even = j->spec.smoothing / j->z->n;
    for (int32_t r = 0; r < rows; r++, t += p->width) {
        double factor = j->spec.class_weight ? j->spec.class_weight[i + r] : 1;
        for (int32_t b = 0; b < p->width; b++)
            t[b] = factor * (keep * t[b] + even);
    }
}

static void largest(const rw_loss_job *j, const rw_loss_part *p)
{
    double most[RW_LOSS_PERIOD], *to = rw_loss_left(j, RW_LEFT_LARGEST, p->block, p->sample);
    for (int32_t k = 0; k < RW_SUM_LANES * p->width; k++)
        most[k] = -(double)INFINITY;
    for (int32_t i = p->i0, rows; i < p->i1; i += rows) {
        rows = rw_loss_run_rows(j, p, i);
        j->k->largest(rw_loss_value(j->z, rw_loss_place(j, p, i, 0)), most + rw_loss_lane(p, i),
                      rows * p->width, RW_SUM_LANES * p->width);
    }
    for (int32_t b = 0; b < p->width; b++) {
        to[b] = most[b];
        for (int32_t l = 1; l < RW_SUM_LANES; l++)
            to[b] = fmax(to[b], most[l * p->width + b]);
    }
}

/* Does the label of a sample lie in this part? */
static bool has_label(const rw_loss_job *j, const rw_loss_part *p, int32_t b, int32_t *label)
{
    int64_t at = rw_loss_label(j, p->sample + b);
    *label = (int32_t)at;
    return at >= p->i0 && at < p->i1;
}

/* Is output `i` of this part, which is one of the largest, the first of these? */
static bool is_first(const rw_loss_job *j, const rw_loss_part *p, int32_t b, int32_t i)
{
    double most = *rw_loss_whole(j, RW_LEFT_LARGEST, p->sample + b);
    for (int64_t block = 0; block < p->block; block++)
        if (*rw_loss_left(j, RW_LEFT_LARGEST, block, p->sample + b) == most)
            return false;
    for (int32_t before = p->i0; before < i; before++)
        if (rw_loss_get(j->z, rw_loss_place(j, p, before, b)) == most)
            return false;
    return true;
}

/* What targets that are 1 at the label leave for other blocks. */
static void from_labels(const rw_loss_job *j, const rw_loss_part *p)
{
    double *loss = rw_loss_left(j, RW_LEFT_LOSS, p->block, p->sample);
    double *mass = rw_loss_left(j, RW_LEFT_MASS, p->block, p->sample);
    const double *most = rw_loss_whole(j, RW_LEFT_LARGEST, p->sample);
    for (int32_t b = 0, label; b < p->width; b++) {
        bool here = b < p->live && has_label(j, p, b, &label);
        loss[b] = here ? most[b] - rw_loss_get(j->z, rw_loss_place(j, p, label, b)) : 0;
        mass[b] = here ? 1 : 0;
    }
}

static void find_right(const rw_loss_job *j, const rw_loss_part *p)
{
    const double *most = rw_loss_whole(j, RW_LEFT_LARGEST, p->sample);
    for (int32_t b = 0, label; b < p->live; b++)
        if (has_label(j, p, b, &label))
            j->right[p->sample + b] =
                rw_loss_get(j->z, rw_loss_place(j, p, label, b)) == most[b] &&
                is_first(j, p, b, label);
}

/* exp(z - largest) goes to dz; z may be gone then. */
static void exponentials(const rw_loss_job *j, const rw_loss_part *p)
{
    double most[RW_LOSS_PERIOD], most_own[RW_LOSS_PERIOD], t[RW_LOSS_RUN];
    double sum[RW_LOSS_PERIOD], distance[RW_LOSS_PERIOD], mass[RW_LOSS_PERIOD];
    bool with_targets = !j->softmax && j->one_by_one;
    rw_some_targets from = rw_loss_targets(j, p);
    rw_loss_spread(p, rw_loss_whole(j, RW_LEFT_LARGEST, p->sample), most_own, j->z->dtype);
    rw_loss_clear(p, sum);
    if (j->right)
        find_right(j, p);
    if (with_targets) {
        rw_loss_spread(p, rw_loss_whole(j, RW_LEFT_LARGEST, p->sample), most, RW_F64);
        rw_loss_clear(p, distance);
        rw_loss_clear(p, mass);
    } else if (!j->softmax) {
        from_labels(j, p);
    }
    for (int32_t i = p->i0, rows; i < p->i1; i += rows) {
        rows = rw_loss_run_rows(j, p, i);
        int32_t n = rows * p->width, period = RW_SUM_LANES * p->width, lane = rw_loss_lane(p, i);
        size_t at = rw_loss_place(j, p, i, 0);
        if (with_targets) {
            gather_classes(j, p, &from, i, rows, t);
            j->k->distances(rw_loss_value(j->z, at), most, t, distance + lane, mass + lane, n,
                            period);
        }
        j->k->exponentials(rw_loss_value(j->z, at), most_own,
                           j->dz ? rw_loss_value(j->dz, at) : NULL, sum + lane, n, period);
    }
    rw_loss_leave(j, p, RW_LEFT_EXPONENTIALS, sum);
    if (with_targets) {
        rw_loss_leave(j, p, RW_LEFT_LOSS, distance);
        rw_loss_leave(j, p, RW_LEFT_MASS, mass);
    }
}

/* From exp(z - largest) to the gradient, or to the softmax. */
static void softmax_back(const rw_loss_job *j, const rw_loss_part *p)
{
    const double *sum = rw_loss_whole(j, RW_LEFT_EXPONENTIALS, p->sample);
    const double *mass = rw_loss_whole(j, RW_LEFT_MASS, p->sample);
    double scale[RW_LOSS_PERIOD], times[RW_LOSS_PERIOD], t[RW_LOSS_RUN];
    double factor[RW_LOSS_STRIP], share[RW_LOSS_STRIP], at_label[RW_LOSS_STRIP];
    bool with_targets = !j->softmax && j->one_by_one, labelled = !j->softmax && !j->one_by_one;
    rw_some_targets from = rw_loss_targets(j, p);
    int32_t label = 0;
    for (int32_t b = 0; b < p->width; b++) {
        bool live = b < p->live;
        factor[b] = j->softmax ? 1 : rw_loss_factor(j, p, b);
        share[b] = live ? (j->softmax ? 1 : mass[b]) / sum[b] : 0;
        at_label[b] = 0;
        if (labelled && live && has_label(j, p, b, &label))
            at_label[b] = rw_loss_get(j->dz, rw_loss_place(j, p, label, b));
    }
    rw_loss_spread(p, factor, scale, RW_F64);
    rw_loss_spread(p, share, times, RW_F64);
    for (int32_t i = p->i0, rows; i < p->i1; i += rows) {
        rows = rw_loss_run_rows(j, p, i);
        if (with_targets)
            gather_classes(j, p, &from, i, rows, t);
        j->k->softmax_back(times, with_targets ? t : NULL, scale,
                           rw_loss_value(j->dz, rw_loss_place(j, p, i, 0)), rows * p->width,
                           RW_SUM_LANES * p->width);
    }
    for (int32_t b = 0; labelled && b < p->live; b++)
        if (has_label(j, p, b, &label))
            rw_loss_set(j->dz, rw_loss_place(j, p, label, b),
                        factor[b] * (share[b] * at_label[b] - 1));
    rw_loss_clear_gradient(j, p);
}

RW_LOSS_TASK(largest)
RW_LOSS_TASK(exponentials)
RW_LOSS_TASK(softmax_back)

/* The three passes of samples whose outputs are one block. */
static void softmax_at_once(const rw_loss_job *j, const rw_loss_part *p)
{
    largest(j, p);
    exponentials(j, p);
    if (j->dz)
        softmax_back(j, p);
}
RW_LOSS_TASK(softmax_at_once)

rw_status rw_softmax_passes(const rw_loss_job *j, int64_t work, const rw_run *run)
{
    int64_t n = j->z->n_tiles * j->strips * j->blocks;
    if (j->blocks == 1)
        return rw_run_tasks(run, n, work, softmax_at_once_task, j);
    rw_status st = rw_run_tasks(run, n, work, largest_task, j);
    if (st != RW_OK)
        return st;
    rw_loss_together(j, RW_LEFT_LARGEST);
    st = rw_run_tasks(run, n, work, exponentials_task, j);
    if (st != RW_OK)
        return st;
    rw_loss_together(j, RW_LEFT_EXPONENTIALS);
    if (!j->softmax) {
        rw_loss_together(j, RW_LEFT_LOSS);
        rw_loss_together(j, RW_LEFT_MASS);
    }
    return j->dz ? rw_run_tasks(run, n, work, softmax_back_task, j) : RW_OK;
}

rw_status rw_softmax(const rw_kernels *k, rw_tiles *z, double *scratch, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(z) && scratch && rw_is_run(run));
    if (z->dtype != k->dtype)
        return RW_ESHAPE;
    rw_loss_job j = { .k = k, .spec = { .kind = RW_LOSS_SOFTMAX_CE }, .z = z, .dz = z,
                      .total_weight = 1, .scratch = scratch, .softmax = true };
    rw_loss_cut(&j);
    return rw_softmax_passes(&j, rw_loss_work(z), run);
}
