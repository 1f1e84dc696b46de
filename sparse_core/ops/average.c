/* average.c -- see average.h. */
#include "ops/average.h"
#include "store/blocks.h"

typedef struct {
    rw_store *s;
    int64_t blocks;
    const char *of;
    char *mean;
    int32_t *count;
    rw_dtype dtype;
    double least;
} averaging;

/* n slots of `width` values, which is a constant where it is 1. */
#define AVERAGE(type)                                                                              \
    static inline void average_##type(const type *restrict of, type *restrict mean,                \
                                      int32_t *restrict count, const int32_t width, int32_t n,     \
                                      type least)                                                  \
    {                                                                                              \
        for (int32_t k = 0; k < n; k++) {                                                          \
            int32_t age = count[k] += 1;                                                           \
            type rate = 1 / (type)age;                                                             \
            rate = rate > least ? rate : least;                                                    \
            for (int32_t r = 0; r < width; r++) {                                                  \
                int64_t i = (int64_t)k * width + r;                                                \
                type nearer = mean[i] + (of[i] - mean[i]) * rate;                                  \
                mean[i] = age == 1 ? of[i] : nearer;                                               \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    static void average_all_##type(const char *of, char *mean, int32_t *count, int64_t first,      \
                                   int32_t width, int32_t n, double least)                         \
    {                                                                                              \
        const type *from = (const type *)(const void *)of + first * width;                         \
        type *to = (type *)(void *)mean + first * width;                                           \
        if (width == 1)                                                                            \
            average_##type(from, to, count + first, 1, n, (type)least);                            \
        else                                                                                       \
            average_##type(from, to, count + first, width, n, (type)least);                        \
    }
AVERAGE(float)
AVERAGE(double)

static void average_block(const void *arg, int64_t block)
{
    const averaging *a = arg;
    const rw_store *s = a->s;
    int32_t end = rw_block_group(s, a->blocks, block + 1);
    for (int32_t g = rw_block_group(s, a->blocks, block); g < end; g++) {
        if (a->dtype == RW_F32)
            average_all_float(a->of, a->mean, a->count, s->start[g], s->group, s->len[g], a->least);
        else
            average_all_double(a->of, a->mean, a->count, s->start[g], s->group, s->len[g], a->least);
    }
}

rw_status rw_field_average(rw_store *s, int32_t of, int32_t mean, int32_t count, double least,
                           const rw_run *run)
{
    RW_ASSERT(rw_has_field(s, of) && rw_has_field(s, mean) && rw_has_field(s, count));
    RW_ASSERT(least >= 0 && least <= 1 && rw_is_run(run));
    const rw_field *from = &s->field[of], *to = &s->field[mean], *n = &s->field[count];
    if (of == mean || from->dtype != to->dtype || (to->dtype != RW_F32 && to->dtype != RW_F64)
        || from->width != s->group || to->width != s->group || n->dtype != RW_I32 || n->width != 1)
        return RW_ESHAPE;
    averaging a = { .s = s, .blocks = rw_block_count(s), .of = from->data, .mean = to->data,
                    .count = (int32_t *)(void *)n->data, .dtype = to->dtype, .least = least };
    return rw_each_block(s, average_block, &a, RW_COST_DERIVE_VALUE, run);
}
