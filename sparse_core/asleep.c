#include "asleep.h"
#include "blocks.h"

#include <math.h>

typedef struct {
    const rw_store *s;
    int64_t blocks;
    char *asleep;
    uint8_t *awake;
    rw_penalty by;
} pass;

/* n slots from `slot` on. `group` is a constant where this is called. NaN stays NaN:
 * training is to notice it. */
#define SETTLE(type, group, fabs, copysign)                                   \
    do {                                                                      \
        type *w = (type *)(void *)p->s->field[RW_WEIGHT].data + slot * (group); \
        type *kept = (type *)(void *)p->asleep + slot * (group);              \
        const uint8_t *awake = p->awake + slot;                               \
        type up = (type)p->by.awake, down = (type)p->by.asleep;               \
        for (int32_t k = 0; k < n; k++)                                       \
            for (int32_t r = 0; r < (group); r++) {                           \
                int32_t i = k * (group) + r;                                  \
                type v = w[i] + kept[i], rate = awake[k] ? up : down; /* one of the two is 0 */ \
                type size = fabs(v) - rate;                                   \
                v = !p->by.magnitudes ? v - v * rate : size <= 0 ? 0 : copysign(size, v); \
                w[i] = awake[k] ? v : 0;                                      \
                kept[i] = awake[k] ? 0 : v;                                   \
            }                                                                 \
    } while (0)

#define SETTLE_GROUPS(type, fabs, copysign)                                   \
    static void settle_##type(const pass *p, int64_t slot, int32_t n)         \
    {                                                                         \
        switch (p->s->group) {                                                \
        case 1: SETTLE(type, 1, fabs, copysign); break;                       \
        case 2: SETTLE(type, 2, fabs, copysign); break;                       \
        case 4: SETTLE(type, 4, fabs, copysign); break;                       \
        default: SETTLE(type, 8, fabs, copysign); break;                      \
        }                                                                     \
    }
SETTLE_GROUPS(float, fabsf, copysignf)
SETTLE_GROUPS(double, fabs, copysign)

static void settle_slots(const pass *p, int64_t slot, int32_t n)
{
    if (p->s->field[RW_WEIGHT].dtype == RW_F32)
        settle_float(p, slot, n);
    else
        settle_double(p, slot, n);
}

static void settle_block(const void *arg, int64_t block)
{
    const pass *p = arg;
    const rw_store *s = p->s;
    int32_t end = rw_block_group(s, p->blocks, block + 1);
    for (int32_t g = rw_block_group(s, p->blocks, block); g < end; g++)
        settle_slots(p, s->start[g], s->len[g]);
}

static rw_status pass_over(pass *p, rw_store *s, int32_t asleep, int32_t awake, rw_penalty by)
{
    const rw_field *kept = &s->field[asleep], *up = &s->field[awake], *w = &s->field[RW_WEIGHT];
    if (asleep == RW_WEIGHT || kept->dtype != w->dtype || kept->width != s->group || up->dtype != RW_U8
        || up->width != 1)
        return RW_ESHAPE;
    *p = (pass){ s, rw_block_count(s), kept->data, (uint8_t *)up->data, by };
    return RW_OK;
}

rw_status rw_settle(rw_store *s, int32_t asleep, int32_t awake, rw_penalty by, const rw_run *run)
{
    enum { WORK = 4 }; /* of a value, in units of rw_threads_for */
    pass p;
    rw_status st = pass_over(&p, s, asleep, awake, by);
    return st ? st : rw_each_block(s, settle_block, &p, WORK, run);
}

rw_status rw_wake(rw_store *s, int32_t asleep, int32_t awake, int64_t n, const int32_t *group,
                  const int32_t *source, const uint8_t *up)
{
    pass p;
    rw_status st = pass_over(&p, s, asleep, awake, (rw_penalty){ 0, 0, true }); /* |v| - 0 is |v| */
    if (st)
        return st;
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
                    p.awake[s->start[g] + k] = up[i] != 0;
                    settle_slots(&p, s->start[g] + k, 1);
                }
            }
        }
    return RW_OK;
}
