/* fields.c -- sums and checks over a field's live values, and zeros where none are. */
#include "ops/fields.h"
#include "base/mem.h"
#include "base/order.h"

#include <math.h>
#include <string.h>

/* The values of group g that stand for rows that exist: `count` runs of `length`
 * values, `stride` apart. One run, but for the last group of a store it overhangs. */
typedef struct {
    char *at;
    int64_t count, length;
    size_t stride; /* bytes */
} runs;

static runs runs_of(const rw_store *s, const rw_field *f, int32_t g)
{
    size_t slot = rw_slot_bytes(f);
    char *at = f->data + (size_t)s->start[g] * slot;
    int32_t rows = rw_group_rows(s, g);
    if (f->width == 1 || f->width == rows)
        return (runs){ at, 1, (int64_t)s->len[g] * f->width, 0 };
    return (runs){ at, s->len[g], rows, slot };
}

/* Eight sums side by side, so that one addition need not wait for the last. */
#define SUMSQ(name, T)                                                         \
    static double name(const void *values, int64_t n)                          \
    {                                                                          \
        const T *v = values;                                                   \
        double sum[RW_SUM_LANES] = { 0 };                                      \
        int64_t i = 0;                                                         \
        for (; i + RW_SUM_LANES <= n; i += RW_SUM_LANES)                       \
            for (int l = 0; l < RW_SUM_LANES; l++)                             \
                sum[l] += (double)v[i + l] * (double)v[i + l];                 \
        for (int l = 0; i < n; i++, l++)                                       \
            sum[l] += (double)v[i] * (double)v[i];                             \
        return ((sum[0] + sum[4]) + (sum[2] + sum[6])) +                       \
               ((sum[1] + sum[5]) + (sum[3] + sum[7]));                        \
    }
SUMSQ(sumsq_f32, float)
SUMSQ(sumsq_f64, double)
SUMSQ(sumsq_i32, int32_t)
SUMSQ(sumsq_i64, int64_t)
SUMSQ(sumsq_u8, uint8_t)

static double sumsq(rw_dtype dtype, const void *values, int64_t n)
{
    switch (dtype) {
    case RW_F32: return sumsq_f32(values, n);
    case RW_F64: return sumsq_f64(values, n);
    case RW_I32: return sumsq_i32(values, n);
    case RW_I64: return sumsq_i64(values, n);
    case RW_U8:  return sumsq_u8(values, n);
    case RW_BF16: break;
    }
    return 0;
}

double rw_field_sumsq(const rw_store *s, int32_t field)
{
    RW_ASSERT(rw_has_field(s, field));
    const rw_field *f = &s->field[field];
    double sum = 0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        runs r = runs_of(s, f, g);
        for (int64_t i = 0; i < r.count; i++, r.at += r.stride)
            sum += sumsq(f->dtype, r.at, r.length);
    }
    return sum;
}

void rw_field_scale(rw_store *s, int32_t field, double factor)
{
    RW_ASSERT(rw_has_field(s, field));
    const rw_field *f = &s->field[field];
    for (int32_t g = 0; g < s->n_groups; g++) {
        runs r = runs_of(s, f, g);
        for (int64_t i = 0; i < r.count; i++, r.at += r.stride) {
            float *f32 = (float *)(void *)r.at, by = (float)factor;
            double *f64 = (double *)(void *)r.at;
            if (f->dtype == RW_F32)
                for (int64_t k = 0; k < r.length; k++)
                    f32[k] *= by;
            else if (f->dtype == RW_F64)
                for (int64_t k = 0; k < r.length; k++)
                    f64[k] *= factor;
            /* counts and signs have no scale */
        }
    }
}

void rw_field_add(rw_store *s, int32_t field, const void *values)
{
    RW_ASSERT(rw_has_field(s, field) && (values || !s->slots));
    const rw_field *f = &s->field[field];
    const float *f32 = values;
    const double *f64 = values;
    for (int32_t g = 0; g < s->n_groups; g++) {
        void *to = f->data + (size_t)s->start[g] * rw_slot_bytes(f);
        int64_t n = (int64_t)s->len[g] * f->width;
        if (f->dtype == RW_F32)
            for (int64_t k = 0; k < n; k++)
                ((float *)to)[k] += *f32++;
        else if (f->dtype == RW_F64)
            for (int64_t k = 0; k < n; k++)
                ((double *)to)[k] += *f64++;
    }
}

bool rw_field_finite(const rw_store *s, int32_t field)
{
    RW_ASSERT(rw_has_field(s, field));
    const rw_field *f = &s->field[field];
    if (f->dtype != RW_F32 && f->dtype != RW_F64)
        return true;
    for (int32_t g = 0; g < s->n_groups; g++) {
        runs r = runs_of(s, f, g);
        for (int64_t i = 0; i < r.count; i++, r.at += r.stride)
            for (int64_t k = 0; k < r.length; k++)
                if (f->dtype == RW_F32 ? !isfinite(((const float *)(const void *)r.at)[k])
                                       : !isfinite(((const double *)(const void *)r.at)[k]))
                    return false;
    }
    return true;
}

static void zero_slot(rw_store *s, int64_t slot)
{
    for (int32_t f = 0; f < s->n_fields; f++) {
        size_t bytes = rw_slot_bytes(&s->field[f]);
        memset(s->field[f].data + (size_t)slot * bytes, 0, bytes);
    }
}

/* Windows lie anywhere in the arena, and the smallest free ones are in no list: so the live slots are
 * noted, a bit each, and what is left is free. */
rw_status rw_free_slots_zero(rw_store *s)
{
    enum { BITS = 64 };
    size_t words = (size_t)s->arena / BITS + 1;
    uint64_t *live = rw_calloc_array(words, sizeof *live);
    if (!live)
        return RW_ENOMEM;
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int64_t k = s->start[g], end = k + s->len[g]; k < end; k++)
            live[k / BITS] |= UINT64_C(1) << k % BITS;
    for (int64_t k = 0; k < s->arena; k++)
        if (!(live[k / BITS] >> k % BITS & 1))
            zero_slot(s, k);
    rw_free(live, words * sizeof *live);
    return RW_OK;
}
