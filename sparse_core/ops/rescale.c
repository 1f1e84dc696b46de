/* rescale.c -- rows and columns of a layer, scaled; and the layer times a vector. */
#include "ops/rescale.h"

/* `rows` and `cols` begin at the group's first row and at source 0. */
#define RESCALE(name, T)                                                            \
    static void name(T *v, const int32_t *source, int32_t len, int32_t width,       \
                     int32_t exist, const double *rows, const double *cols)         \
    {                                                                               \
        for (int32_t k = 0; k < len; k++, v += width) {                             \
            T by = cols ? (T)cols[source[k]] : (T)1;                                \
            for (int32_t r = 0; r < exist; r++) {                                   \
                if (rows)                                                           \
                    v[r] *= (T)rows[r];                                             \
                v[r] *= by;                                                         \
            }                                                                       \
        }                                                                           \
    }
RESCALE(rescale_f32, float)
RESCALE(rescale_f64, double)

void rw_field_rescale(rw_store *s, int32_t field, const double *rows, const double *cols)
{
    RW_ASSERT(rw_has_field(s, field) && s->field[field].width == s->group);
    const rw_field *f = &s->field[field];
    RW_ASSERT(f->dtype == RW_F32 || f->dtype == RW_F64);
    for (int32_t g = 0; g < s->n_groups; g++) {
        int64_t first = s->start[g];
        const int32_t *source = s->source + first;
        const double *by = rows ? rows + (int64_t)g * s->group : NULL;
        int32_t exist = rw_group_rows(s, g);
        char *at = f->data + (size_t)first * rw_slot_bytes(f);
        if (s->len[g] == 0)
            continue;
        if (f->dtype == RW_F32)
            rescale_f32((float *)(void *)at, source, s->len[g], f->width, exist, by, cols);
        else
            rescale_f64((double *)(void *)at, source, s->len[g], f->width, exist, by, cols);
    }
}

#define TIMES(name, T)                                                              \
    static void name(const T *w, const int32_t *source, int32_t len, int32_t width, \
                     int32_t exist, const double *x, double *y)                     \
    {                                                                               \
        for (int32_t k = 0; k < len; k++, w += width) {                             \
            double by = x[source[k]];                                               \
            for (int32_t r = 0; r < exist; r++)                                     \
                y[r] += (double)w[r] * by;                                          \
        }                                                                           \
    }
TIMES(times_f32, float)
TIMES(times_f64, double)

void rw_weight_times(const rw_store *s, const double *x, double *y)
{
    RW_ASSERT(x && y);
    const rw_field *f = &s->field[RW_WEIGHT];
    for (int32_t g = 0; g < s->n_groups; g++) {
        int32_t exist = rw_group_rows(s, g);
        double *out = y + (int64_t)g * s->group;
        for (int32_t r = 0; r < exist; r++)
            out[r] = 0;
        if (s->len[g] == 0)
            continue;
        const int32_t *source = s->source + s->start[g];
        const char *at = f->data + (size_t)s->start[g] * rw_slot_bytes(f);
        if (f->dtype == RW_F32)
            times_f32((const float *)(const void *)at, source, s->len[g], f->width, exist, x, out);
        else
            times_f64((const double *)(const void *)at, source, s->len[g], f->width, exist, x, out);
    }
}
