#include "asleep.h"
#include "blocks.h"

#include <math.h>

typedef struct {
    const rw_store *s;
    int64_t blocks;
    char *asleep;
    const uint8_t *awake;
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

static void settle_block(const void *arg, int64_t block)
{
    const pass *p = arg;
    const rw_store *s = p->s;
    int32_t end = rw_block_group(s, p->blocks, block + 1);
    for (int32_t g = rw_block_group(s, p->blocks, block); g < end; g++) {
        if (s->field[RW_WEIGHT].dtype == RW_F32)
            settle_float(p, s->start[g], s->len[g]);
        else
            settle_double(p, s->start[g], s->len[g]);
    }
}

rw_status rw_settle(rw_store *s, int32_t asleep, int32_t awake, rw_penalty by, const rw_run *run)
{
    enum { WORK = 4 }; /* of a value, in units of rw_threads_for */
    const rw_field *kept = &s->field[asleep], *up = &s->field[awake], *w = &s->field[RW_WEIGHT];
    if (asleep == RW_WEIGHT || kept->dtype != w->dtype || kept->width != s->group || up->dtype != RW_U8
        || up->width != 1)
        return RW_ESHAPE;
    pass p = { s, rw_block_count(s), kept->data, (const uint8_t *)up->data, by };
    return rw_each_block(s, settle_block, &p, WORK, run);
}
