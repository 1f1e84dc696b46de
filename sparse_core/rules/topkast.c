/* topkast.c -- see topkast.h. */
#include "rules/topkast.h"

/* One slot changes sides, or stays: one of its two weights is 0. */
#define TURN(type)                                                        \
    do {                                                                  \
        type *w = (type *)(void *)weight->data + slot * s->group;         \
        type *kept = (type *)(void *)masked->data + slot * s->group;      \
        for (int32_t r = 0; r < s->group; r++) {                          \
            type v = w[r] + kept[r];                                      \
            w[r] = up ? v : 0;                                            \
            kept[r] = up ? 0 : v;                                         \
        }                                                                 \
    } while (0)

static void turn(const rw_store *s, const rw_field *masked, int64_t slot, bool up)
{
    const rw_field *weight = &s->field[RW_WEIGHT];
    if (weight->dtype == RW_F32)
        TURN(float);
    else
        TURN(double);
}

rw_status rw_topkast_select(rw_store *s, int32_t masked, int32_t mask, int64_t n,
                            const int32_t *group, const int32_t *source, const uint8_t *up)
{
    RW_ASSERT(rw_has_field(s, masked) && rw_has_field(s, mask) && n >= 0);
    const rw_field *kept = &s->field[masked], *is_up = &s->field[mask];
    if (masked == RW_WEIGHT || kept->dtype != s->field[RW_WEIGHT].dtype || kept->width != s->group
        || is_up->dtype != RW_U8 || is_up->width != 1)
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
                    is_up->data[s->start[g] + k] = up[i] != 0;
                    turn(s, kept, s->start[g] + k, up[i] != 0);
                }
            }
        }
    return RW_OK;
}
