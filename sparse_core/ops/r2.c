#include "ops/r2.h"
#include "base/par.h"

#include <string.h>

/* Outputs whose targets are gathered at a time: a bound of the stack. */
enum { RUN_OUTPUTS = 32, R2_STRIP = RW_TARGET_SAMPLES };

typedef struct {
    const rw_kernels *k;
    const rw_tiles *z;
    rw_targets targets;
    const double *weight; /* or NULL */
    double *sums;         /* [span][quantity][output], */
    double *total;        /* [span]                    */
    int64_t spans, blocks;
    int32_t width;        /* samples of a strip */
} r2_job;

static int64_t spans_of(const rw_tiles *z) { return (z->batch + RW_SPAN - 1) / RW_SPAN; }

size_t rw_r2_scratch(const rw_tiles *z)
{
    RW_ASSERT(rw_is_tiles(z));
    return (size_t)spans_of(z) * (RW_R2_QUANTITIES * (size_t)z->n + 1);
}

/* The weights of a strip, 0 for padding. */
static double weights_of(const r2_job *j, int64_t sample, int32_t live, double *w)
{
    double total = 0;
    for (int32_t b = 0; b < j->width; b++) {
        w[b] = b >= live ? 0 : j->weight ? j->weight[sample + b] : 1;
        total += w[b];
    }
    return total;
}

/* What does not count gets the target of a sample that does: it is no extreme then, nor NaN. */
static void fill_in(double *t, const double *w, int32_t rows, int32_t width)
{
    int32_t first = 0;
    while (w[first] == 0)
        first++;
    for (int32_t b = 0; b < width; b++)
        for (int32_t r = 0; w[b] == 0 && r < rows; r++)
            t[r * width + b] = t[r * width + first];
}

/* The sums of `n` outputs and of samples that weigh `more`, added to those of samples that weigh
 * `total`. Quantities are so many values apart. */
static void merge_r2(double *to, size_t to_pitch, double total, const double *from,
                     size_t from_pitch, double more, int32_t n)
{
    if (total == 0) {
        for (int q = 0; q < RW_R2_QUANTITIES; q++)
            memcpy(to + (size_t)q * to_pitch, from + (size_t)q * from_pitch,
                   (size_t)n * sizeof *to);
        return;
    }
    double share = more / (total + more), apart = total * share;
    double *mean = to + RW_R2_MEAN * to_pitch, *deviations = to + RW_R2_DEVIATIONS * to_pitch;
    const double *other = from + RW_R2_MEAN * from_pitch;
    const double *theirs = from + RW_R2_DEVIATIONS * from_pitch;
    for (int32_t i = 0; i < n; i++) {
        double delta = other[i] - mean[i];
        deviations[i] += theirs[i] + delta * delta * apart;
        mean[i] += delta * share;
    }
    for (int q = 0; q < RW_R2_QUANTITIES; q++) {
        double *ours = to + (size_t)q * to_pitch;
        const double *add = from + (size_t)q * from_pitch;
        if (q == RW_R2_ERROR)
            for (int32_t i = 0; i < n; i++)
                ours[i] += add[i];
        else if (q == RW_R2_LOW)
            for (int32_t i = 0; i < n; i++)
                ours[i] = add[i] < ours[i] ? add[i] : ours[i];
        else if (q == RW_R2_HIGH || q == RW_R2_LARGEST)
            for (int32_t i = 0; i < n; i++)
                ours[i] = add[i] > ours[i] ? add[i] : ours[i];
    }
}

/* A block of outputs, over the strips of a span. */
static void r2_task(const r2_job *j, int64_t task)
{
    const rw_tiles *z = j->z;
    int64_t span = task / j->blocks, begin = span * RW_SPAN;
    int64_t end = rw_min64(begin + RW_SPAN, z->batch);
    int32_t i0 = (int32_t)(task % j->blocks) * RW_R2_TASK_OUTPUTS;
    int32_t i1 = (int32_t)rw_min64(i0 + RW_R2_TASK_OUTPUTS, z->n), width = j->width;
    size_t n = (size_t)z->n;
    double t[RUN_OUTPUTS * R2_STRIP], w[R2_STRIP], found[RW_R2_QUANTITIES * RUN_OUTPUTS];
    double total = 0;
    for (int64_t sample = begin; sample < end; sample += width) {
        int32_t live = (int32_t)rw_min64(width, end - sample);
        double more = weights_of(j, sample, live, w);
        if (more == 0)
            continue;
        bool whole = live == width;
        for (int32_t b = 0; j->weight && b < width; b++)
            whole = whole && w[b] != 0;
        rw_some_targets from = rw_targets_from(&j->targets, sample, live, width, i0);
        for (int32_t i = i0, rows; i < i1; i += rows) {
            rows = (int32_t)rw_min64(RUN_OUTPUTS, i1 - i);
            rw_targets_gather(&from, i, rows, RW_F64, t);
            if (!whole)
                fill_in(t, w, rows, width);
            const char *at = rw_tile_at(z, sample / z->tile) +
                             ((size_t)i * (size_t)z->tile + (size_t)(sample % z->tile)) *
                                 rw_dtype_size(z->dtype);
            j->k->r2(at, z->tile, t, w, more, found, RUN_OUTPUTS, rows, width);
            merge_r2(j->sums + (size_t)span * RW_R2_QUANTITIES * n + (size_t)i, n, total, found,
                     RUN_OUTPUTS, more, rows);
        }
        total += more;
    }
    if (i0 == 0)
        j->total[span] = total;
}

rw_status rw_r2(const rw_kernels *k, const rw_tiles *z, const rw_targets *targets,
                const double *weight, double *scratch, double *sums, double *total, int threads)
{
    RW_ASSERT(rw_is_tiles(z) && targets && scratch && sums && total && threads >= 1);
    bool one_kind = (targets->values != NULL) != (targets->indptr != NULL);
    if (z->dtype != k->dtype || targets->labels || !one_kind)
        return RW_ESHAPE;
    r2_job j = { .k = k, .z = z, .targets = *targets, .weight = weight, .spans = spans_of(z),
                 .width = (int32_t)rw_min64(z->tile, R2_STRIP),
                 .blocks = (z->n + RW_R2_TASK_OUTPUTS - 1) / RW_R2_TASK_OUTPUTS };
    j.total = scratch;
    j.sums = scratch + j.spans;
    /* Not rw_run_tasks, where subnormal numbers are 0: a target is as small as it likes. */
    threads = rw_threads_for(threads, z->batch * z->n * RW_COST_R2_VALUE);
    (void)threads; /* without OpenMP */
    RW_PARALLEL_FOR(threads)
    for (int64_t task = 0; task < j.spans * j.blocks; task++)
        r2_task(&j, task);
    *total = 0;
    for (int64_t span = 0; span < j.spans; span++) {
        if (j.total[span] == 0)
            continue;
        merge_r2(sums, (size_t)z->n, *total,
                 j.sums + (size_t)span * RW_R2_QUANTITIES * (size_t)z->n, (size_t)z->n,
                 j.total[span], z->n);
        *total += j.total[span];
    }
    return RW_OK;
}
