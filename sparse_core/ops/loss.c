#include "ops/loss.h"

#include <math.h>

/* Samples that are worked on side by side, so that rows are read along: a bound of the stack.
 * Losses are added sample by sample, however many these are. */
enum { SIDE = 64 };

/* Samples [b0, b0 + n) of one tile; all arrays start at the first of them. */
typedef struct {
    const rw_tiles *z;
    rw_tiles *dz;           /* or NULL                    */
    size_t first;           /* place of feature 0 in data */
    int32_t n;
    const int64_t *labels;  /* or NULL                    */
    const double *targets;  /* rows of z->n; or NULL      */
} strip;

static double get(const rw_tiles *t, size_t place)
{
    return t->dtype == RW_F32 ? (double)((const float *)(const void *)t->data)[place]
                              : ((const double *)(const void *)t->data)[place];
}

static void set(rw_tiles *t, size_t place, double v)
{
    if (t->dtype == RW_F32)
        ((float *)(void *)t->data)[place] = (float)v;
    else
        ((double *)(void *)t->data)[place] = v;
}

static size_t value_index(const strip *s, int32_t i, int32_t b)
{
    return s->first + (size_t)i * (size_t)s->z->tile + (size_t)b;
}

static double target(const strip *s, int32_t i, int32_t b)
{
    if (s->labels)
        return s->labels[b] == i ? 1.0 : 0.0;
    return s->targets[(size_t)b * (size_t)s->z->n + (size_t)i];
}

/* Largest z of each sample, and the sum of exp(z - largest). */
static void softmax_sums(const strip *s, double *largest, double *sum)
{
    for (int32_t b = 0; b < s->n; b++) {
        largest[b] = get(s->z, value_index(s, 0, b));
        sum[b] = 0;
    }
    for (int32_t i = 1; i < s->z->n; i++)
        for (int32_t b = 0; b < s->n; b++)
            largest[b] = fmax(largest[b], get(s->z, value_index(s, i, b)));
    for (int32_t i = 0; i < s->z->n; i++)
        for (int32_t b = 0; b < s->n; b++)
            sum[b] += exp(get(s->z, value_index(s, i, b)) - largest[b]);
}

/* Each of these adds to loss[b] (0 at entry) and writes gradient * factor[b]. */

static void cross_entropy(const strip *s, const double *factor, double *loss)
{
    double largest[SIDE], sum[SIDE], mass[SIDE] = { 0 };
    softmax_sums(s, largest, sum);
    for (int32_t i = 0; i < s->z->n; i++) {
        for (int32_t b = 0; b < s->n; b++) {
            double t = target(s, i, b);
            mass[b] += t;
            if (t != 0) /* a class that cannot be may have z = -inf */
                loss[b] += t * (log(sum[b]) + largest[b] - get(s->z, value_index(s, i, b)));
        }
    }
    if (!s->dz)
        return;
    for (int32_t i = 0; i < s->z->n; i++) {
        for (int32_t b = 0; b < s->n; b++) {
            double p = exp(get(s->z, value_index(s, i, b)) - largest[b]) / sum[b];
            set(s->dz, value_index(s, i, b), factor[b] * (p * mass[b] - target(s, i, b)));
        }
    }
}

static void binary_cross_entropy(const strip *s, const double *factor, double *loss)
{
    double share = 1.0 / s->z->n;
    for (int32_t i = 0; i < s->z->n; i++) {
        for (int32_t b = 0; b < s->n; b++) {
            double z = get(s->z, value_index(s, i, b)), t = target(s, i, b);
            double e = exp(-fabs(z)), p = z >= 0 ? 1 / (1 + e) : e / (1 + e);
            loss[b] += share * (fmax(z, 0) - z * t + log1p(e));
            if (s->dz)
                set(s->dz, value_index(s, i, b), factor[b] * share * (p - t));
        }
    }
}

static void squared_error(const strip *s, const double *factor, double *loss)
{
    double share = 1.0 / s->z->n;
    for (int32_t i = 0; i < s->z->n; i++) {
        for (int32_t b = 0; b < s->n; b++) {
            double error = get(s->z, value_index(s, i, b)) - target(s, i, b);
            loss[b] += share * error * error;
            if (s->dz)
                set(s->dz, value_index(s, i, b), factor[b] * 2 * share * error);
        }
    }
}

/* A sample of no weight has no gradient: 0 times its own could be NaN. */
static void clear_gradient(const strip *s, int32_t b)
{
    for (int32_t i = 0; s->dz && i < s->z->n; i++)
        set(s->dz, value_index(s, i, b), 0);
}

static bool shapes_fit(rw_loss kind, const rw_tiles *z, const int64_t *labels,
                       const double *targets, const rw_tiles *dz)
{
    if (z->batch < 1 || (labels != NULL) == (targets != NULL))
        return false;
    if (labels && kind != RW_LOSS_SOFTMAX_CE)
        return false;
    return !dz || (dz->n == z->n && dz->batch == z->batch && dz->tile == z->tile &&
                   dz->dtype == z->dtype);
}

rw_status rw_loss_eval(rw_loss kind, const rw_tiles *z, const int64_t *labels,
                       const double *targets, const double *weight, rw_tiles *dz, double *loss)
{
    RW_ASSERT(rw_is_tiles(z) && (!dz || rw_is_tiles(dz)) && loss);
    if (!shapes_fit(kind, z, labels, targets, dz))
        return RW_ESHAPE;
    double total_weight = 0, total = 0;
    for (int64_t b = 0; b < z->batch; b++) {
        if (labels && (labels[b] < 0 || labels[b] >= z->n))
            return RW_ERANGE;
        total_weight += weight ? weight[b] : 1;
    }
    if (!(total_weight > 0))
        return RW_ERANGE;
    size_t size = (size_t)z->rows * (size_t)z->tile;
    for (int64_t tile = 0; tile < z->n_tiles; tile++) {
        int32_t live = rw_tile_live(z, tile);
        for (int32_t b0 = 0; b0 < live; b0 += SIDE) {
            int64_t sample = tile * z->tile + b0;
            double part[SIDE] = { 0 }, factor[SIDE] = { 0 };
            strip s = { z, dz, (size_t)tile * size + (size_t)b0,
                        (int32_t)rw_min64(SIDE, live - b0), labels ? labels + sample : NULL,
                        targets ? targets + (size_t)sample * (size_t)z->n : NULL };
            for (int32_t b = 0; b < s.n; b++)
                factor[b] = (weight ? weight[sample + b] : 1) / total_weight;
            switch (kind) {
            case RW_LOSS_SOFTMAX_CE:  cross_entropy(&s, factor, part); break;
            case RW_LOSS_SIGMOID_BCE: binary_cross_entropy(&s, factor, part); break;
            case RW_LOSS_MSE:         squared_error(&s, factor, part); break;
            }
            for (int32_t b = 0; b < s.n; b++) {
                if (factor[b] != 0)
                    total += (weight ? weight[sample + b] : 1) * part[b];
                else
                    clear_gradient(&s, b);
            }
        }
    }
    *loss = total / total_weight;
    return RW_OK;
}

void rw_softmax(rw_tiles *z)
{
    RW_ASSERT(rw_is_tiles(z));
    size_t size = (size_t)z->rows * (size_t)z->tile;
    for (int64_t tile = 0; tile < z->n_tiles; tile++) {
        int32_t live = rw_tile_live(z, tile);
        for (int32_t b0 = 0; b0 < live; b0 += SIDE) {
            double largest[SIDE], sum[SIDE];
            strip s = { z, NULL, (size_t)tile * size + (size_t)b0,
                        (int32_t)rw_min64(SIDE, live - b0), NULL, NULL };
            softmax_sums(&s, largest, sum);
            for (int32_t i = 0; i < z->n; i++)
                for (int32_t b = 0; b < s.n; b++) {
                    size_t place = value_index(&s, i, b);
                    set(z, place, exp(get(z, place) - largest[b]) / sum[b]);
                }
        }
    }
}
