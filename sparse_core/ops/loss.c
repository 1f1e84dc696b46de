#include "ops/loss.h"
#include "base/par.h"
#include "base/tuning.h"

#include <math.h>
#include <string.h>

/* A strip is up to so many samples of one tile. Of a block of its outputs, a kernel takes a
 * run of so many values: bounds of the stack. */
enum { STRIP = RW_TARGET_SAMPLES, PERIOD = STRIP * RW_SUM_LANES, RUN = 2048 };

/* What blocks leave for each other, by block and sample. */
enum { LARGEST, EXPONENTIALS, LOSS, MASS, QUANTITIES };

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
} job;

/* Outputs [i0, i1) of a strip of samples. */
typedef struct {
    int64_t tile, block, sample; /* the first sample of all, counted with padding */
    int32_t b0, width, live;     /* the first one in its tile; how many, how many are in use */
    int32_t i0, i1;
} part;

static int64_t padded(const rw_tiles *z) { return z->n_tiles * z->tile; }

static int64_t blocks_of(const rw_tiles *z)
{
    return (z->n + RW_LOSS_FEATURES - 1) / RW_LOSS_FEATURES;
}

/* Block number `blocks` is what all of them come to. */
size_t rw_loss_scratch(const rw_tiles *z)
{
    RW_ASSERT(rw_is_tiles(z));
    return (size_t)QUANTITIES * (size_t)(blocks_of(z) + 1) * (size_t)padded(z);
}

static double *left(const job *j, int quantity, int64_t block, int64_t sample)
{
    return j->scratch + ((size_t)quantity * (size_t)(j->blocks + 1) + (size_t)block) *
                            (size_t)padded(j->z) + (size_t)sample;
}

static double *whole(const job *j, int quantity, int64_t sample)
{
    return left(j, quantity, j->blocks == 1 ? 0 : j->blocks, sample);
}

static int64_t label_of(const job *j, int64_t sample)
{
    return rw_target_label(&j->targets, sample);
}

static part part_of(const job *j, int64_t tile, int64_t strip, int64_t block)
{
    int32_t width = (int32_t)rw_min64(j->z->tile, STRIP), b0 = (int32_t)strip * width;
    int64_t live = rw_max64(0, rw_min64(width, rw_tile_live(j->z, tile) - b0));
    int64_t i0 = block * RW_LOSS_FEATURES, i1 = rw_min64(i0 + RW_LOSS_FEATURES, j->z->n);
    return (part){ tile, block, tile * j->z->tile + b0, b0, width, (int32_t)live,
                   (int32_t)i0, (int32_t)i1 };
}

static size_t place_of(const job *j, const part *p, int32_t i, int32_t b)
{
    return ((size_t)p->tile * (size_t)j->z->rows + (size_t)i) * (size_t)j->z->tile +
           (size_t)(p->b0 + b);
}

static void *value_at(const rw_tiles *t, size_t place)
{
    return t->data + place * rw_dtype_size(t->dtype);
}

static double get(const rw_tiles *t, size_t place)
{
    const void *at = value_at(t, place);
    return t->dtype == RW_F32 ? (double)*(const float *)at : *(const double *)at;
}

static void set(rw_tiles *t, size_t place, double v)
{
    rw_put(t->dtype, value_at(t, place), 0, v);
}

/* --- runs of a part ---------------------------------------------------------- */

/* Rows of a run: its values are contiguous, and value k belongs to sample k % width. Rows of a
 * tile that is wider than a strip are runs of their own. */
static int32_t run_rows(const job *j, const part *p, int32_t i)
{
    int32_t most = j->z->tile > p->width ? 1 : RUN / p->width;
    return (int32_t)rw_min64(most, p->i1 - i);
}

/* Where the sums of a run that begins with row i begin. */
static int32_t lane_of(const part *p, int32_t i)
{
    return (i - p->i0) % RW_SUM_LANES * p->width;
}

/* A number of each sample, as often as a run's sums need it; of this dtype. */
static void spread(const part *p, const double *of, void *to, rw_dtype dtype)
{
    int32_t rows = (int32_t)rw_min64(RW_SUM_LANES, p->i1 - p->i0);
    for (int32_t b = 0; b < p->width; b++)
        rw_put(dtype, to, b, b < p->live ? of[b] : 0);
    size_t bytes = (size_t)p->width * rw_dtype_size(dtype);
    for (int32_t r = 1; r < rows; r++)
        memcpy((char *)to + (size_t)r * bytes, to, bytes);
}

static void clear(const part *p, double *sum)
{
    for (int32_t k = 0; k < RW_SUM_LANES * p->width; k++)
        sum[k] = 0;
}

/* A sample's sums, added in halves, go to where other blocks' are. */
static void leave(const job *j, const part *p, int quantity, double *sum)
{
    double *to = left(j, quantity, p->block, p->sample);
    for (int32_t lanes = RW_SUM_LANES / 2; lanes >= 1; lanes /= 2)
        for (int32_t k = 0; k < lanes * p->width; k++)
            sum[k] += sum[lanes * p->width + k];
    for (int32_t b = 0; b < p->width; b++)
        to[b] = sum[b];
}

/* --- targets ------------------------------------------------------------------- */

static rw_some_targets targets_of(const job *j, const part *p)
{
    return rw_targets_from(&j->targets, p->sample, p->live, p->width, p->i0);
}

/* The same for cross entropy: smoothed, and times the weights of classes. */
static void gather_classes(const job *j, const part *p, rw_some_targets *from, int32_t i,
                           int32_t rows, double *t)
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

/* --- gradients ---------------------------------------------------------------- */

static double factor_of(const job *j, const part *p, int32_t b)
{
    if (b >= p->live || j->total_weight == 0)
        return 0;
    return (j->weight ? j->weight[p->sample + b] : 1) / j->total_weight;
}

/* Padding has no gradient, and neither has a sample of no weight: 0 times its own could be NaN. */
static void clear_gradient(const job *j, const part *p)
{
    for (int32_t b = 0; b < p->width; b++)
        if (b >= p->live || (!j->softmax && factor_of(j, p, b) == 0))
            for (int32_t i = p->i0; i < p->i1; i++)
                set(j->dz, place_of(j, p, i, b), 0);
}

/* Losses that look at every output by itself. */
static void by_output(const job *j, const part *p)
{
    rw_dtype dtype = j->spec.kind == RW_LOSS_SIGMOID_BCE ? j->z->dtype : RW_F64;
    double sum[PERIOD], scale[PERIOD], factor[STRIP], t[RUN];
    rw_some_targets from = targets_of(j, p);
    for (int32_t b = 0; b < p->width; b++)
        factor[b] = factor_of(j, p, b) / j->z->n;
    spread(p, factor, scale, dtype);
    clear(p, sum);
    for (int32_t i = p->i0, rows; i < p->i1; i += rows) {
        rows = run_rows(j, p, i);
        rw_targets_gather(&from, i, rows, dtype, t);
        size_t at = place_of(j, p, i, 0);
        j->k->loss(j->spec.kind, j->spec.delta, value_at(j->z, at), t, scale,
                   j->dz ? value_at(j->dz, at) : NULL, sum + lane_of(p, i), rows * p->width,
                   RW_SUM_LANES * p->width);
    }
    leave(j, p, LOSS, sum);
    if (j->dz)
        clear_gradient(j, p);
}

/* Decisions of a yes or no that are right. */
static void agreement(const job *j, const part *p)
{
    double sum[PERIOD], t[RUN];
    rw_some_targets from = targets_of(j, p);
    clear(p, sum);
    for (int32_t i = p->i0, rows; i < p->i1; i += rows) {
        rows = run_rows(j, p, i);
        rw_targets_gather(&from, i, rows, j->z->dtype, t);
        j->k->agree(value_at(j->z, place_of(j, p, i, 0)), j->threshold, t, sum + lane_of(p, i),
                    rows * p->width, RW_SUM_LANES * p->width);
    }
    leave(j, p, LOSS, sum);
}

/* --- softmax ------------------------------------------------------------------ */

static void largest(const job *j, const part *p)
{
    double most[PERIOD], *to = left(j, LARGEST, p->block, p->sample);
    for (int32_t k = 0; k < RW_SUM_LANES * p->width; k++)
        most[k] = -(double)INFINITY;
    for (int32_t i = p->i0, rows; i < p->i1; i += rows) {
        rows = run_rows(j, p, i);
        j->k->largest(value_at(j->z, place_of(j, p, i, 0)), most + lane_of(p, i), rows * p->width,
                      RW_SUM_LANES * p->width);
    }
    for (int32_t b = 0; b < p->width; b++) {
        to[b] = most[b];
        for (int32_t l = 1; l < RW_SUM_LANES; l++)
            to[b] = fmax(to[b], most[l * p->width + b]);
    }
}

/* Does the label of a sample lie in this part? */
static bool has_label(const job *j, const part *p, int32_t b, int32_t *label)
{
    int64_t at = label_of(j, p->sample + b);
    *label = (int32_t)at;
    return at >= p->i0 && at < p->i1;
}

/* Is output `i` of this part, which is one of the largest, the first of these? */
static bool is_first(const job *j, const part *p, int32_t b, int32_t i)
{
    double most = *whole(j, LARGEST, p->sample + b);
    for (int64_t block = 0; block < p->block; block++)
        if (*left(j, LARGEST, block, p->sample + b) == most)
            return false;
    for (int32_t before = p->i0; before < i; before++)
        if (get(j->z, place_of(j, p, before, b)) == most)
            return false;
    return true;
}

/* What targets that are 1 at the label leave for other blocks. */
static void from_labels(const job *j, const part *p)
{
    double *loss = left(j, LOSS, p->block, p->sample), *mass = left(j, MASS, p->block, p->sample);
    for (int32_t b = 0, label; b < p->width; b++) {
        bool here = b < p->live && has_label(j, p, b, &label);
        loss[b] = here ? *whole(j, LARGEST, p->sample + b) - get(j->z, place_of(j, p, label, b)) : 0;
        mass[b] = here ? 1 : 0;
    }
}

static void find_right(const job *j, const part *p)
{
    for (int32_t b = 0, label; b < p->live; b++)
        if (has_label(j, p, b, &label))
            j->right[p->sample + b] =
                get(j->z, place_of(j, p, label, b)) == *whole(j, LARGEST, p->sample + b) &&
                is_first(j, p, b, label);
}

/* exp(z - largest) goes to dz; z may be gone then. */
static void exponentials(const job *j, const part *p)
{
    double most[PERIOD], most_own[PERIOD], sum[PERIOD], distance[PERIOD], mass[PERIOD], t[RUN];
    bool with_targets = !j->softmax && j->one_by_one;
    rw_some_targets from = targets_of(j, p);
    spread(p, whole(j, LARGEST, p->sample), most_own, j->z->dtype);
    clear(p, sum);
    if (j->right)
        find_right(j, p);
    if (with_targets) {
        spread(p, whole(j, LARGEST, p->sample), most, RW_F64);
        clear(p, distance);
        clear(p, mass);
    } else if (!j->softmax) {
        from_labels(j, p);
    }
    for (int32_t i = p->i0, rows; i < p->i1; i += rows) {
        rows = run_rows(j, p, i);
        int32_t n = rows * p->width, period = RW_SUM_LANES * p->width, lane = lane_of(p, i);
        size_t at = place_of(j, p, i, 0);
        if (with_targets) {
            gather_classes(j, p, &from, i, rows, t);
            j->k->distances(value_at(j->z, at), most, t, distance + lane, mass + lane, n, period);
        }
        j->k->exponentials(value_at(j->z, at), most_own, j->dz ? value_at(j->dz, at) : NULL,
                           sum + lane, n, period);
    }
    leave(j, p, EXPONENTIALS, sum);
    if (with_targets) {
        leave(j, p, LOSS, distance);
        leave(j, p, MASS, mass);
    }
}

/* From exp(z - largest) to the gradient, or to the softmax. */
static void softmax_back(const job *j, const part *p)
{
    const double *sum = whole(j, EXPONENTIALS, p->sample), *mass = whole(j, MASS, p->sample);
    double scale[PERIOD], times[PERIOD], factor[STRIP], share[STRIP], at_label[STRIP], t[RUN];
    bool with_targets = !j->softmax && j->one_by_one, labelled = !j->softmax && !j->one_by_one;
    rw_some_targets from = targets_of(j, p);
    int32_t label = 0;
    for (int32_t b = 0; b < p->width; b++) {
        bool live = b < p->live;
        factor[b] = j->softmax ? 1 : factor_of(j, p, b);
        share[b] = live ? (j->softmax ? 1 : mass[b]) / sum[b] : 0;
        at_label[b] = 0;
        if (labelled && live && has_label(j, p, b, &label))
            at_label[b] = get(j->dz, place_of(j, p, label, b));
    }
    spread(p, factor, scale, RW_F64);
    spread(p, share, times, RW_F64);
    for (int32_t i = p->i0, rows; i < p->i1; i += rows) {
        rows = run_rows(j, p, i);
        if (with_targets)
            gather_classes(j, p, &from, i, rows, t);
        j->k->softmax_back(times, with_targets ? t : NULL, scale,
                           value_at(j->dz, place_of(j, p, i, 0)), rows * p->width,
                           RW_SUM_LANES * p->width);
    }
    for (int32_t b = 0; labelled && b < p->live; b++)
        if (has_label(j, p, b, &label))
            set(j->dz, place_of(j, p, label, b), factor[b] * (share[b] * at_label[b] - 1));
    clear_gradient(j, p);
}

/* Blocks put together, for all samples: sums, or the largest. */
static void together(const job *j, int quantity)
{
    if (j->blocks == 1)
        return;
    double *to = whole(j, quantity, 0);
    memcpy(to, left(j, quantity, 0, 0), (size_t)j->z->batch * sizeof *to);
    for (int64_t block = 1; block < j->blocks; block++) {
        const double *from = left(j, quantity, block, 0);
        for (int64_t b = 0; b < j->z->batch; b++)
            to[b] = quantity == LARGEST ? fmax(to[b], from[b]) : to[b] + from[b];
    }
}

/* --- tasks --------------------------------------------------------------------- */

static part part_of_task(const job *j, int64_t task)
{
    int64_t strip = task / j->blocks;
    return part_of(j, strip / j->strips, strip % j->strips, task % j->blocks);
}

#define TASK(name)                                       \
    static void name##_task(const void *arg, int64_t task) \
    {                                                    \
        const job *j = arg;                              \
        part p = part_of_task(j, task);                  \
        if (p.live > 0)                                  \
            name(j, &p);                                 \
    }
TASK(by_output)
TASK(agreement)
TASK(largest)
TASK(exponentials)
TASK(softmax_back)

/* The three passes of samples whose outputs are one block. */
static void softmax_at_once(const job *j, const part *p)
{
    largest(j, p);
    exponentials(j, p);
    if (j->dz)
        softmax_back(j, p);
}
TASK(softmax_at_once)
#undef TASK

static rw_status softmax_passes(const job *j, int64_t work, const rw_run *run)
{
    int64_t n = j->z->n_tiles * j->strips * j->blocks;
    if (j->blocks == 1)
        return rw_run_tasks(run, n, work, softmax_at_once_task, j);
    rw_status st = rw_run_tasks(run, n, work, largest_task, j);
    if (st != RW_OK)
        return st;
    together(j, LARGEST);
    st = rw_run_tasks(run, n, work, exponentials_task, j);
    if (st != RW_OK)
        return st;
    together(j, EXPONENTIALS);
    if (!j->softmax) {
        together(j, LOSS);
        together(j, MASS);
    }
    return j->dz ? rw_run_tasks(run, n, work, softmax_back_task, j) : RW_OK;
}

static void cut(job *j)
{
    j->blocks = blocks_of(j->z);
    j->strips = (j->z->tile + STRIP - 1) / STRIP;
}

static int64_t work_of(const rw_tiles *z)
{
    return z->batch * z->n * RW_COST_LOSS_VALUE;
}

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
static bool weigh(job *j)
{
    double alone = 0;
    j->total_weight = 0;
    for (int64_t b = 0; b < j->z->batch; b++) {
        double w = j->weight ? j->weight[b] : 1;
        alone += w;
        if (j->targets.labels) {
            int64_t label = label_of(j, b);
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
    job j = { .k = k, .spec = *spec, .z = z, .dz = dz, .targets = *targets, .weight = weight,
              .scratch = scratch, .right = right,
              .one_by_one = !targets->labels || spec->smoothing != 0 || spec->class_weight };
    if (!weigh(&j))
        return RW_ERANGE;
    cut(&j);
    int64_t tasks = z->n_tiles * j.strips * j.blocks;
    rw_status st = softmax ? softmax_passes(&j, work_of(z), run)
                           : rw_run_tasks(run, tasks, work_of(z), by_output_task, &j);
    if (st != RW_OK)
        return st;
    if (!softmax)
        together(&j, LOSS);
    double share = softmax ? 1 : 1.0 / z->n, total = 0;
    for (int64_t b = 0; b < z->batch; b++) {
        double w = weight ? weight[b] : 1, l = *whole(&j, LOSS, b);
        if (softmax)
            l += *whole(&j, MASS, b) * log(*whole(&j, EXPONENTIALS, b));
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
    job j = { .k = k, .z = z, .targets = *targets, .scratch = scratch, .threshold = threshold };
    cut(&j);
    int64_t tasks = z->n_tiles * j.strips * j.blocks;
    rw_status st = rw_run_tasks(run, tasks, z->batch * z->n, agreement_task, &j);
    if (st != RW_OK)
        return st;
    together(&j, LOSS);
    memcpy(counts, whole(&j, LOSS, 0), (size_t)z->batch * sizeof *counts);
    return RW_OK;
}

rw_status rw_softmax(const rw_kernels *k, rw_tiles *z, double *scratch, const rw_run *run)
{
    RW_ASSERT(rw_is_tiles(z) && scratch && rw_is_run(run));
    if (z->dtype != k->dtype)
        return RW_ESHAPE;
    job j = { .k = k, .spec = { .kind = RW_LOSS_SOFTMAX_CE }, .z = z, .dz = z, .total_weight = 1,
              .scratch = scratch, .softmax = true };
    cut(&j);
    return softmax_passes(&j, work_of(z), run);
}
