/* topkast.c -- see topkast.h. */
#include "rules/topkast.h"
#include "store/blocks.h"

#include <math.h>
#include <string.h>

static bool are_master_and_mask(const rw_store *s, int32_t master, int32_t mask)
{
    RW_ASSERT(rw_has_field(s, master) && rw_has_field(s, mask));
    const rw_field *theta = &s->field[master], *is_up = &s->field[mask];
    return master != RW_WEIGHT && theta->dtype == s->field[RW_WEIGHT].dtype
        && theta->width == s->group && is_up->dtype == RW_U8 && is_up->width == 1;
}

/* --- after a step ------------------------------------------------------------------ */

typedef struct {
    rw_store *s;
    int64_t blocks;
    char *weight, *theta;
    const uint8_t *mask;
    const rw_topkast_penalty *by;
} derivation;

/* n slots of `width` values, which is a constant where it is 1, as `magnitudes` is. No branch
 * depends on the mask: a row's last slots are no vector, and would be mispredicted. */
#define DERIVE(type, bits, absolute, signed_as)                                                  \
    static inline void derive_##type(const rw_topkast_penalty *by, type *restrict w,             \
                                     type *restrict theta, const uint8_t *restrict mask,         \
                                     const int32_t width, int32_t n, const bool magnitudes)      \
    {                                                                                            \
        type rates[2] = { (type)by->backward, (type)by->forward };                               \
        bits outside, inside, word;                                                              \
        memcpy(&outside, &rates[0], sizeof outside);                                             \
        memcpy(&inside, &rates[1], sizeof inside);                                               \
        for (int32_t k = 0; k < n; k++)                                                          \
            for (int32_t r = 0; r < width; r++) {                                                \
                int64_t i = (int64_t)k * width + r;                                              \
                bits up = 0 - (bits)(mask[k] != 0);                                              \
                type v = theta[i], rate;                                                         \
                word = (inside & up) | (outside & ~up);                                          \
                memcpy(&rate, &word, sizeof rate);                                               \
                type size = absolute(v) - rate;                                                  \
                v = !magnitudes ? v - v * rate : size <= 0 ? 0 : signed_as(size, v);             \
                theta[i] = v;                                                                    \
                memcpy(&word, &v, sizeof word);                                                  \
                word &= up;                                                                      \
                memcpy(&w[i], &word, sizeof word);                                               \
            }                                                                                    \
    }                                                                                            \
    static void derive_all_##type(const rw_topkast_penalty *by, type *w, type *theta,            \
                                  const uint8_t *mask, int32_t width, int32_t n)                 \
    {                                                                                            \
        if (by->magnitudes && width == 1)                                                        \
            derive_##type(by, w, theta, mask, 1, n, true);                                       \
        else if (by->magnitudes)                                                                 \
            derive_##type(by, w, theta, mask, width, n, true);                                   \
        else if (width == 1)                                                                     \
            derive_##type(by, w, theta, mask, 1, n, false);                                      \
        else                                                                                     \
            derive_##type(by, w, theta, mask, width, n, false);                                  \
    }
DERIVE(float, uint32_t, fabsf, copysignf)
DERIVE(double, uint64_t, fabs, copysign)

static void derive_block(const void *arg, int64_t block)
{
    const derivation *d = arg;
    rw_store *s = d->s;
    bool f32 = s->field[RW_WEIGHT].dtype == RW_F32;
    int32_t end = rw_block_group(s, d->blocks, block + 1);
    for (int32_t g = rw_block_group(s, d->blocks, block); g < end; g++) {
        int64_t first = s->start[g] * s->group;
        const uint8_t *mask = d->mask + s->start[g];
        if (f32)
            derive_all_float(d->by, (float *)(void *)d->weight + first,
                             (float *)(void *)d->theta + first, mask, s->group, s->len[g]);
        else
            derive_all_double(d->by, (double *)(void *)d->weight + first,
                              (double *)(void *)d->theta + first, mask, s->group, s->len[g]);
        rw_weights_clip(s, g, s->start[g], s->len[g]); /* thetas may have come from anywhere */
    }
}

rw_status rw_topkast_derive(rw_store *s, int32_t master, int32_t mask, const rw_topkast_penalty *by,
                            const rw_run *run)
{
    RW_ASSERT(by->forward >= 0 && by->backward >= 0 && rw_is_run(run));
    if (!are_master_and_mask(s, master, mask))
        return RW_ESHAPE;
    derivation d = { .s = s, .blocks = rw_block_count(s), .weight = s->field[RW_WEIGHT].data,
                     .theta = s->field[master].data,
                     .mask = (const uint8_t *)s->field[mask].data, .by = by };
    return rw_each_block(s, derive_block, &d, RW_COST_DERIVE_VALUE, run);
}

/* --- at a refresh ------------------------------------------------------------------ */

static void select_slot(rw_store *s, int32_t master, int32_t g, int64_t slot, bool up)
{
    size_t size = rw_slot_bytes(&s->field[RW_WEIGHT]);
    char *weight = s->field[RW_WEIGHT].data + (size_t)slot * size;
    if (up)
        memcpy(weight, s->field[master].data + (size_t)slot * size, size);
    else
        memset(weight, 0, size);
    rw_weights_clip(s, g, slot, 1);
}

rw_status rw_topkast_select(rw_store *s, int32_t master, int32_t mask, int64_t n,
                            const int32_t *group, const int32_t *source, const uint8_t *up)
{
    RW_ASSERT(n >= 0);
    if (!are_master_and_mask(s, master, mask))
        return RW_ESHAPE;
    for (int change = 0; change < 2; change++) /* first see that all are there */
        for (int64_t i = 0; i < n;) {
            int32_t g = group[i], k = 0;
            if (g < 0 || g >= s->n_groups)
                return RW_ENOENT;
            const int32_t *row = s->source + s->start[g];
            for (; i < n && group[i] == g; i++, k++) {
                while (k < s->len[g] && row[k] < source[i])
                    k++;
                if (k == s->len[g] || row[k] != source[i])
                    return RW_ENOENT;
                if (change) {
                    s->field[mask].data[s->start[g] + k] = up[i] != 0;
                    select_slot(s, master, g, s->start[g] + k, up[i] != 0);
                }
            }
        }
    return RW_OK;
}
